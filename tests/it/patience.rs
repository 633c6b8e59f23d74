//! Sending never gives up: whatever may pass is outlasted, for as long as it takes, and asks for nobody's word when it
//! is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use onedrive_mount::emulator::{Fault, FaultBody, Rule, When};

use crate::meanwhile::SIDES;
use crate::world::clock::FastClock;
use crate::world::side::Side;
use crate::world::{Running, User, World, eventually};

/// Pauses grow to five minutes, so that this many attempts take more than half an hour of the clock.
const ATTEMPTS: u32 = 15;

/// The most attempts that anything which waits has behind it.
fn attempts(running: &Running) -> u32 {
    running.core.journal.view(|all| all.iter().map(|intent| intent.attempts).max().unwrap_or_default())
}

async fn outlasts(side: Side, what: &str, fault: Fault) {
    let case = format!("{side:?}, {what}");
    let mut world = World::new(side).await;
    world.clock = Arc::new(FastClock::new(300));
    let core = world.open().await;
    let running = world.run_core(core).await;
    let rule = world.emulator.faults().add(Rule::always("PUT", "*", fault));
    eventually("it is written", || async { User(&running.core).write("notes", b"all of it").await.is_ok() }).await;
    let begun = Instant::now();
    while attempts(&running) < ATTEMPTS {
        assert_eq!(running.core.journal.backlog(), (1, 0), "{case}: after {} attempts", attempts(&running));
        assert!(begun.elapsed() < Duration::from_secs(120), "{case}: {} attempts", attempts(&running));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let why = running.core.journal.view(|all| all.iter().find_map(|intent| intent.last_error.clone()));
    assert!(why.is_some_and(|why| !why.is_empty()), "{case}: nobody is told why");
    world.emulator.faults().remove(rule);
    running.settle().await;
    assert_eq!(world.emulator.drive().read_file("/notes").as_deref(), Some(&b"all of it"[..]), "{case}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lasts_is_outlasted_and_nothing_waits_for_a_word() {
    let json = |status| Fault::status(When::Before, status, "somethingNobodyHasHeardOf");
    let page =
        |status| Fault::Answer { when: When::Before, status, body: FaultBody::Html, retry_after: None, location: None };
    let faults = [
        ("a refusal without a known reason", json(406)),
        ("a sign-in that is refused", json(401)),
        ("an answer that is none", page(200)),
        ("a redirection to nowhere", page(302)),
        ("a front end", page(411)),
        ("a service that is ill", page(503)),
    ];
    let mut cases = tokio::task::JoinSet::new();
    for side in SIDES {
        for (what, fault) in &faults {
            cases.spawn(outlasts(side, what, fault.clone()));
        }
    }
    cases.join_all().await;
}
