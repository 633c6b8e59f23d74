//! A feed that shows nothing younger than a minute: all that time it shows what was there before our own changes, and the
//! mount never does; what somebody else did appears when the feed shows it, and stays.

use std::sync::Arc;
use std::time::Duration;

use onedrive_mount::base::clock::Clock as _;
use onedrive_mount::emulator::DeltaBehaviour;

use crate::late::FLAVOURS;
use crate::network::{open, world};
use crate::volume_model::local_tree_of;
use crate::world::clock::FastClock;
use crate::world::model::Model;
use crate::world::ops::cloud_tree;
use crate::world::{User, eventually, settle};

const LAG: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deed {
    SaveByRename,
    Rename,
    DeleteFile,
    /// Nothing of ours: only what somebody else does.
    Poll,
}

/// The feed is read all the time until ten seconds after the lag.
async fn no_old_state_is_shown(deed: Deed) {
    for flavour in FLAVOURS {
        let clock = FastClock::new(20);
        let (world, options, tokens) = world(Arc::new(clock.clone()), flavour.into()).await;
        let drive = world.emulator.drive();
        let mut ours = Model::default();
        ours.mkdir("docs").expect("free");
        drive.create_folder("docs");
        for path in ["docs/a", "docs/b", "docs/theirs"] {
            drive.create_file(path, format!("{path}, first"));
            ours.write(path, format!("{path}, first").as_bytes()).expect("free");
        }
        let running = open(&world, &options, &tokens).await;
        let core = &running.core;
        core.spawn_tasks(&running.tasks);
        eventually("the drive is known", || async { core.index.is_enumerated().expect("an index") }).await;
        assert_eq!(local_tree_of(core).await.expect("lists"), ours.0, "{deed:?} {flavour:?}");
        // What stands there is old enough to be shown, by the clock that the service goes by as well.
        clock.suspend(LAG * 2);
        drive.set_delta(DeltaBehaviour { lag: LAG, ..DeltaBehaviour::default() });

        let user = User(core);
        // Twice, so that the feed has a state between to show, too.
        for (round, (old, new)) in [("docs/b", "docs/c"), ("docs/c", "docs/d")].into_iter().enumerate() {
            match deed {
                Deed::SaveByRename => {
                    let bytes = format!("a, saved {round}");
                    user.write("docs/a.new", bytes.as_bytes()).await.expect("writes");
                    user.rename("docs/a.new", "docs/a").await.expect("renames");
                    ours.write("docs/a", bytes.as_bytes()).expect("there");
                }
                Deed::Rename => {
                    user.rename(old, new).await.expect("renames");
                    ours.rename(old, new).expect("there");
                }
                Deed::DeleteFile => {
                    // Changed before, so that the feed has something to show of it.
                    let path = ["docs/a", "docs/b"][round];
                    user.write(path, b"soon gone").await.expect("writes");
                    settle(core).await;
                    clock.sleep(Duration::from_secs(3)).await;
                    user.unlink(path).await.expect("removes");
                    ours.unlink(path).expect("there");
                }
                Deed::Poll => {}
            }
            settle(core).await;
            let seen = local_tree_of(core).await.expect("lists");
            assert_eq!(seen, ours.0, "{deed:?} {flavour:?}, after round {round}");
            clock.sleep(Duration::from_secs(3)).await;
        }
        drive.write_file("docs/theirs", "theirs, second");
        let mut both = ours.clone();
        both.write("docs/theirs", b"theirs, second").expect("there");

        let (begun, mut polls, mut theirs) = (clock.monotonic(), 0, false);
        loop {
            let passed = clock.monotonic().since(begun);
            core.poller.poll_now().await.expect("polls");
            polls += 1;
            let seen = local_tree_of(core).await.expect("reads");
            theirs |= seen == both.0;
            let wanted = if theirs { &both.0 } else { &ours.0 };
            assert_eq!(seen, *wanted, "{deed:?} {flavour:?}, after {passed:?} and {polls} polls");
            // By then the last look has seen all of it with the lag as it was.
            if passed > LAG + Duration::from_secs(10) {
                break;
            }
        }
        assert!(theirs, "{deed:?} {flavour:?}: what somebody else did is not shown after {polls} polls");
        assert!(polls >= 10, "{polls} polls");
        drive.set_delta(DeltaBehaviour::default());
        core.poller.poll_now().await.expect("polls");
        settle(core).await;
        assert_eq!(local_tree_of(core).await.expect("lists"), both.0, "{deed:?} {flavour:?}");
        assert_eq!(cloud_tree(drive), both.0, "{deed:?} {flavour:?}: the cloud");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_is_a_minute_behind_shows_no_file_as_it_was_before_it_was_saved() {
    no_old_state_is_shown(Deed::SaveByRename).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_is_a_minute_behind_shows_no_former_name() {
    no_old_state_is_shown(Deed::Rename).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_is_a_minute_behind_brings_back_no_deleted_file() {
    no_old_state_is_shown(Deed::DeleteFile).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_is_a_minute_behind_shows_what_somebody_else_did_when_it_is_there_and_for_good() {
    no_old_state_is_shown(Deed::Poll).await;
}
