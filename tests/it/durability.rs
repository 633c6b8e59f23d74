//! What `close` and `fsync` have promised when they return, in each setting of `durability`.
//!
//! Power fails on a filmed disk: what was not synced by then may be gone or torn.

use std::sync::Arc;
use std::time::Duration;

use onedrive_mount::base::ids::Ino;
use onedrive_mount::emulator::{Fault, Flavour, Network, Rule, When};
use onedrive_mount::journal::report::Standing;
use onedrive_mount::volume::{Durability, OpenHow, VolumeError};

use crate::world::generated::Dice;
use crate::world::power::{Film, FilmedDisk};
use crate::world::side::Side;
use crate::world::{How, Running, User, World, settle};

async fn world(side: impl Into<Side>, durability: Durability, patience: Duration) -> World {
    let mut world = World::new(side).await;
    world.how = How { durability, patience, ..How::default() };
    world
}

/// Writes a file and closes it, waits as told, and lets the power fail in many ways: how often the file was whole.
async fn survives(durability: Durability, wait: Duration) -> usize {
    let world = world(Flavour::PersonalNew, durability, Duration::from_secs(5)).await;
    let remote = world.remote();
    let identity = onedrive_mount::remote::Remote::identity(&*remote).await.expect("a drive");
    {
        let running = world.run().await;
        User(&running.core).list("").await.expect("the root");
        running.stop().await;
    }
    let film = Film::begin(world.home.path());
    let core = world.open_with(remote.clone(), world.home.path(), Arc::new(FilmedDisk::of(&film)), 0).await;
    User(&core).write("report", b"the only copy").await.expect("written");
    tokio::time::sleep(wait).await;
    film.stop();
    let moment = film.now();
    core.journal.close();
    drop(core);
    let mut whole = 0;
    for seed in 0..40 {
        let home = tempfile::tempdir().expect("a folder");
        film.survive(moment, &mut Dice(seed), &[], home.path());
        let core = world.open_after_boot(remote.clone(), identity.clone(), home.path());
        let found = User(&core).read("report").await;
        whole += usize::from(found.as_deref().is_ok_and(|bytes| bytes == b"the only copy"));
        core.journal.close();
    }
    whole
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_file_survives_power_loss_at_once_if_strict_and_else_within_a_second() {
    assert_eq!(survives(Durability::Strict, Duration::ZERO).await, 40);
    // A busy machine may keep the thread that makes it safe from running for longer than that, so it may try again: what
    // needs more than a second by itself needs it each time.
    let mut within_a_second = Vec::new();
    while within_a_second.len() < 4 && !within_a_second.contains(&40) {
        within_a_second.push(survives(Durability::Local, Duration::from_secs(1)).await);
    }
    assert!(within_a_second.contains(&40), "of 40 power losses it survived {within_a_second:?}");
    let at_once = survives(Durability::Local, Duration::ZERO).await;
    assert!(at_once < 40, "it was safe at once, so that this test could not tell whether anything made it safe later");
}

const SIDES: [Side; 3] = [Side::PERSONAL, Side::BUSINESS, Side::LIVE];

async fn open(running: &Running, path: &str) -> (Ino, onedrive_mount::base::ids::Fh) {
    let ino = User(&running.core).walk(path).await.expect("there");
    let how = OpenHow { read: true, write: true, ..OpenHow::default() };
    (ino, running.core.volume.open(ino, how).await.expect("opens").fh)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_remote_durability_close_returns_when_the_cloud_has_it() {
    for side in SIDES {
        let world = world(side, Durability::Remote, Duration::from_secs(15)).await;
        let running = world.run().await;
        let user = User(&running.core);
        for content in [&b"first"[..], b"second, longer"] {
            user.write("note", content).await.expect("closed");
            assert_eq!(world.emulator.drive().read_file("/note").as_deref(), Some(content), "{side:?}");
        }
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_remote_durability_fsync_sends_what_an_open_file_holds_now() {
    for side in SIDES {
        let world = world(side, Durability::Remote, Duration::from_secs(15)).await;
        let running = world.run().await;
        User(&running.core).write("log", b"").await.expect("made");
        let volume = &running.core.volume;
        let (ino, fh) = open(&running, "log").await;
        for (at, line) in [b"one ", b"two ", b"six "].into_iter().enumerate() {
            volume.write(ino, Some(fh), 4 * at as u64, line).await.expect("written");
            volume.fsync(ino, Some(fh), false).await.expect("in the cloud");
            let there = world.emulator.drive().read_file("/log").expect("in the cloud");
            assert_eq!(there, &b"one two six "[..4 * (at + 1)], "{side:?}");
        }
        // Another program has it open for writing too: a close does not wait for that one.
        let (_, other) = open(&running, "log").await;
        volume.write(ino, Some(other), 12, b"ten").await.expect("written");
        volume.flush(ino, other).await.expect("in the cloud");
        assert_eq!(world.emulator.drive().read_file("/log").expect("there"), b"one two six ten", "{side:?}");
        volume.release(ino, other);
        volume.release(ino, fh);
        settle(&running.core).await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_remote_durability_close_says_what_the_cloud_says() {
    for (side, code) in [
        (Side::PERSONAL, "quotaLimitReached"),
        (Side::BUSINESS, "insufficientStorage"),
        (Side::LIVE, "resource_quota_exceeded"),
    ] {
        let world = world(side, Durability::Remote, Duration::from_secs(15)).await;
        let running = world.run().await;
        let user = User(&running.core);
        user.list("").await.expect("the root");
        world.emulator.faults().add(Rule::always("PUT", "*", Fault::status(When::Before, 507, code)));
        let closed = user.write("wanted", b"no room for this").await;
        assert!(matches!(closed, Err(VolumeError::QuotaFull)), "{side:?}: {closed:?}");
        assert_eq!(user.read("wanted").await.expect("still here"), b"no room for this");
        world.emulator.faults().clear();
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_remote_durability_a_close_that_waits_in_vain_says_so_and_the_file_is_sent_later() {
    for side in SIDES {
        let world = world(side, Durability::Remote, Duration::from_millis(300)).await;
        let running = world.run().await;
        let user = User(&running.core);
        user.list("").await.expect("the root");
        world.emulator.set_network(Network::Refusing);
        let closed = user.write("later", b"written without a network").await;
        assert!(matches!(closed, Err(VolumeError::TimedOut)), "{side:?}: {closed:?}");
        assert_eq!(user.read("later").await.expect("still here"), b"written without a network");
        let pending = running.core.journal.pending();
        assert!(pending.iter().all(|one| one.standing != Standing::Open), "nobody has it open: {pending:?}");
        world.emulator.set_network(Network::Up);
        running.core.journal.retry_all().expect("the network is back");
        settle(&running.core).await;
        assert_eq!(world.emulator.drive().read_file("/later").as_deref(), Some(&b"written without a network"[..]));
        running.stop().await;
    }
}
