//! A file that is never left alone, such as a log, reaches the cloud as well; and no service is asked more often for that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use onedrive_mount::emulator::{Fault, Rule, When};

use crate::world::clock::FastClock;
use crate::world::side::Side;
use crate::world::{MANY_FRAGMENTS, Running, User, World};

/// Times as fast as the machine's clock.
const SPEED: u32 = 20;

/// A running drive that waits for two seconds of rest before it sends anything.
async fn start(side: Side) -> (World, Running) {
    let mut world = World::new(side).await;
    (world.debounce, world.clock, world.how) =
        (Duration::from_secs(2), Arc::new(FastClock::new(SPEED)), MANY_FRAGMENTS);
    let core = world.open().await;
    let running = world.run_core(core).await;
    User(&running.core).list("").await.expect("the root");
    (world, running)
}

/// Somebody adds a line every second of that clock, until `enough`, or for so many minutes of it.
async fn append(running: &Running, mut at: u64, minutes: u64, mut enough: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !enough() && begun.elapsed() * SPEED < Duration::from_secs(60 * minutes) {
        User(&running.core).patch("log", at, b"a line\n").await.expect("writes");
        at += 7;
        tokio::time::sleep(Duration::from_secs(1) / SPEED).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_never_rests_is_sent_as_it_is() {
    for side in [Side::PERSONAL, Side::BUSINESS, Side::LIVE] {
        for size in [100, 9_000_000_usize] {
            let case = format!("{side:?}, {size} bytes");
            let (world, running) = start(side).await;
            let drive = world.emulator.drive();
            // A large one takes longer than it rests.
            let slow = Fault::Stall { when: When::Before, duration: Duration::from_secs(3) / SPEED };
            world.emulator.faults().add(Rule::always("*", "*", slow));
            User(&running.core).write("log", &vec![b'.'; size]).await.expect("writes");
            let mut seen = Vec::new();
            // Five would do, on a machine that has nothing else to do.
            append(&running, size as u64, 20, || {
                let there = drive.read_file("/log").map_or(0, |bytes| bytes.len());
                if there >= size && seen.last() != Some(&there) {
                    seen.push(there);
                }
                seen.len() == 3
            })
            .await;
            assert_eq!(seen.len(), 3, "{case}: {seen:?}");
            world.emulator.faults().clear();
            running.settle().await;
            let here = User(&running.core).read("log").await.expect("reads");
            assert!(drive.read_file("/log") == Some(here), "{case}");
            running.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_never_rests_is_not_refused_more_often_than_another() {
    for status in [403, 503] {
        let (world, running) = start(Side::BUSINESS).await;
        User(&running.core).write("log", b"").await.expect("writes");
        running.settle().await;
        let refused = Fault::status(When::Before, status, "no");
        let refused = world.emulator.faults().add(Rule::always("PUT", "*", refused));
        append(&running, 0, 5, || false).await;
        let times = world.emulator.faults().struck(refused);
        // Five minutes of patience of half a minute each, and what is tried again by itself.
        assert!((3..=25).contains(&times), "{status}: {times} times");
        world.emulator.faults().clear();
        running.core.journal.retry_all().expect("tries again");
        running.settle().await;
        running.stop().await;
    }
}
