//! A service that is behind: for some minutes it may show what was there before our own changes, by id, by path, in
//! listings and in its feed. Nothing that it shows then is somebody else's; and what really is somebody else's is kept
//! all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use onedrive_mount::base::clock::{Clock, SystemClock};
use onedrive_mount::daemon::core::Core;
use onedrive_mount::emulator::{Course, DeltaBehaviour, Fault, Flavour, Host, Moment, ReadLag, Rule, When};
use onedrive_mount::journal::Intent;
use onedrive_mount::volume::SetAttributes;

use crate::world::clock::FastClock;
use crate::world::model::Node;
use crate::world::ops::cloud_tree;
use crate::world::side::Side;
use crate::world::{User, World};

pub const FLAVOURS: [Flavour; 2] = [Flavour::PersonalNew, Flavour::Business];

/// Longer than any test runs.
const LONG: Duration = Duration::from_secs(3600);

/// A drive whose uploader makes single steps.
pub struct Bench {
    pub world: World,
    core: Option<Core>,
}

impl Bench {
    pub async fn new(side: impl Into<Side>) -> Self {
        Self::on_clock(side.into(), Arc::new(SystemClock::new())).await
    }

    /// On a clock that makes short work of pauses between attempts.
    pub async fn in_a_hurry(side: impl Into<Side>) -> Self {
        Self::on_clock(side.into(), Arc::new(FastClock::new(30))).await
    }

    async fn on_clock(side: Side, clock: Arc<dyn Clock>) -> Self {
        let mut world = World::new(side).await;
        (world.debounce, world.clock) = (Duration::ZERO, clock);
        let _ = onedrive_mount::base::telemetry::start("onedrive_mount::journal=debug");
        let core = world.open().await;
        core.poller.prepare().await.expect("a cursor");
        Self { world, core: Some(core) }
    }

    pub fn core(&self) -> &Core {
        self.core.as_ref().expect("it runs")
    }

    pub fn user(&self) -> User<'_> {
        User(self.core())
    }

    /// The daemon dies and is started again.
    pub async fn kill(&mut self) {
        drop(self.core.take());
        self.core = Some(self.world.open().await);
    }

    /// So many steps of the uploader, none of which waits for its time.
    pub async fn steps(&self, most: usize) {
        for _ in 0..most {
            let _ = self.core().journal.retry_all();
            if !self.core().uploader.step().await {
                return;
            }
        }
    }

    /// What is still to be sent, with what the last attempt said.
    pub fn left(&self) -> Vec<String> {
        let brief = |intent: &Intent| format!("{}: {:?}, {:?}", intent.name, intent.last_error, intent.progress);
        self.core().journal.view(|all| all.iter().map(brief).collect())
    }

    pub fn read_lag(&self, on: bool) {
        let lag = if on { LONG } else { Duration::ZERO };
        self.world.emulator.drive().set_read_lag(ReadLag::everywhere(lag));
    }

    pub fn lose_answer(&self, method: &str) {
        self.world.emulator.faults().add(Rule::once(method, "*", Fault::Reset { when: When::After }));
    }

    /// Another device does something as soon as the service has acted on the first request of a kind.
    pub fn once_after(
        &self,
        is_it: impl Fn(&Moment<'_>) -> bool + Send + Sync + 'static,
        act: impl Fn() + Send + Sync + 'static,
    ) {
        let done = AtomicBool::new(false);
        self.world.emulator.set_witness(Some(Arc::new(move |moment| {
            if moment.when == When::After && is_it(&moment) && !done.swap(true, Ordering::SeqCst) {
                act();
            }
            Course::Go
        })));
    }

    /// The service catches up, everything comes to rest, and this is what both sides have.
    pub async fn rests_with(&self, wanted: &[(&str, &[u8])]) {
        self.read_lag(false);
        self.world.emulator.drive().set_delta(DeltaBehaviour::default());
        for _ in 0..10 {
            self.core().poller.poll_now().await.expect("polls");
            self.steps(30).await;
        }
        assert_eq!(self.left(), [""; 0]);
        let cloud = cloud_tree(self.world.emulator.drive());
        let wanted = wanted.iter().map(|(path, bytes)| ((*path).to_owned(), Node::File(bytes.to_vec()))).collect();
        assert_eq!(cloud, wanted, "the cloud");
        let local = crate::volume_model::local_tree_of(self.core()).await.expect("lists");
        assert_eq!(local, wanted, "the mount");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_what_the_service_does_not_find_yet_is_no_conflict() {
    for flavour in FLAVOURS {
        let bench = Bench::new(flavour).await;
        bench.read_lag(true);
        bench.user().write("a", b"first").await.expect("writes");
        bench.steps(1).await;
        bench.user().write("a", b"second").await.expect("writes");
        bench.steps(5).await;
        bench.user().rename("a", "b").await.expect("renames");
        bench.steps(5).await;
        bench.user().write("b", b"third").await.expect("writes");
        bench.steps(5).await;
        assert_eq!(bench.user().list("").await.expect("lists"), ["b"]);
        bench.rests_with(&[("b", b"third")]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_before_the_service_showed_it_does_not_come_back() {
    for flavour in FLAVOURS {
        let bench = Bench::new(flavour).await;
        bench.read_lag(true);
        bench.user().write("a", b"first").await.expect("writes");
        bench.steps(1).await;
        bench.user().unlink("a").await.expect("removes");
        bench.steps(5).await;
        bench.rests_with(&[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_and_a_late_replica_make_no_conflict_copy() {
    for flavour in FLAVOURS {
        for killed in [false, true] {
            let mut bench = Bench::new(flavour).await;
            bench.user().write("a", b"first").await.expect("writes");
            bench.steps(1).await;
            bench.read_lag(true);
            bench.user().write("a", b"second").await.expect("writes");
            bench.lose_answer("PUT");
            bench.steps(1).await;
            bench.user().write("a", b"third").await.expect("writes");
            bench.lose_answer("PUT");
            if killed {
                bench.kill().await;
            }
            bench.steps(5).await;
            bench.user().write("a", b"fourth").await.expect("writes");
            bench.steps(5).await;
            bench.rests_with(&[("a", b"fourth")]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_whose_answer_was_lost_and_that_is_not_seen_yet_stays_one_file() {
    for flavour in FLAVOURS {
        for killed in [false, true] {
            let mut bench = Bench::new(flavour).await;
            bench.read_lag(true);
            bench.user().write("a", b"first").await.expect("writes");
            bench.lose_answer("PUT");
            bench.steps(2).await;
            if killed {
                bench.kill().await;
            }
            bench.user().write("a", b"second").await.expect("writes");
            bench.steps(5).await;
            bench.rests_with(&[("a", b"second")]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_without_an_answer_is_seen_only_where_it_is_wanted() {
    for flavour in FLAVOURS {
        for renamed in [false, true] {
            let bench = Bench::new(flavour).await;
            bench.read_lag(true);
            bench.user().write("a", b"first").await.expect("writes");
            bench.lose_answer("PUT");
            bench.steps(1).await;
            bench.read_lag(false);
            let seen = if renamed {
                bench.user().rename("a", "b").await.expect("renames");
                vec!["b"]
            } else {
                bench.user().unlink("a").await.expect("removes");
                vec![]
            };
            // The feed brings it as a file of its own.
            bench.core().poller.poll_now().await.expect("polls");
            assert_eq!(bench.user().list("").await.expect("lists"), seen);
            assert!(bench.user().read("a").await.is_err(), "it is found by a name that it has no more");
            let wanted: &[(&str, &[u8])] = if renamed { &[("b", b"first")] } else { &[] };
            bench.rests_with(wanted).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_was_taken_back_is_taken_back_in_the_cloud_though_its_answer_was_lost() {
    for flavour in FLAVOURS {
        for (killed, heard) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut bench = Bench::new(flavour).await;
            bench.user().write("a", b"first").await.expect("writes");
            bench.steps(3).await;
            bench.user().rename("a", "b").await.expect("renames");
            bench.lose_answer("PATCH");
            bench.steps(1).await;
            if killed {
                bench.kill().await;
            }
            if heard {
                bench.core().poller.poll_now().await.expect("polls");
            }
            bench.user().rename("b", "a").await.expect("renames");
            assert_eq!(bench.user().list("").await.expect("lists"), ["a"]);
            bench.rests_with(&[("a", b"first")]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_name_stays_though_the_answer_was_lost_and_the_feed_is_late() {
    for flavour in FLAVOURS {
        let bench = Bench::new(flavour).await;
        bench.user().mkdir("d").await.expect("makes");
        bench.user().write("a", b"first").await.expect("writes");
        bench.steps(5).await;
        for (from, to) in [("a", "b"), ("d", "e")] {
            bench.user().rename(from, to).await.expect("renames");
            bench.lose_answer("PATCH");
            bench.steps(6).await;
        }
        assert_eq!(bench.core().journal.backlog(), (0, 0));
        // No poll since: what the mount shows comes from the answers to the uploader.
        assert_eq!(bench.user().list("").await.expect("lists"), ["b", "e"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_shows_the_state_before_two_changes_of_ours_is_not_believed() {
    const LAG: Duration = Duration::from_millis(1500);
    for flavour in FLAVOURS {
        let bench = Bench::new(flavour).await;
        bench.world.emulator.drive().set_delta(DeltaBehaviour { lag: LAG, ..DeltaBehaviour::default() });
        bench.user().write("a", b"first").await.expect("writes");
        bench.user().mkdir("d").await.expect("makes");
        bench.steps(5).await;
        tokio::time::sleep(LAG + Duration::from_millis(50)).await;
        // The feed may show these two now, and nothing younger.
        for (content, name) in [("second", "b"), ("third", "c")] {
            let before = if name == "b" { "a" } else { "b" };
            bench.user().write(before, content.as_bytes()).await.expect("writes");
            bench.steps(3).await;
            bench.user().rename(before, name).await.expect("renames");
            bench.steps(3).await;
        }
        bench.user().rename("d", "e").await.expect("renames");
        bench.steps(3).await;
        bench.user().write("e/inside", b"x").await.expect("writes");
        bench.steps(3).await;
        bench.core().poller.poll_now().await.expect("polls");
        assert_eq!(bench.user().list("").await.expect("lists"), ["c", "e"]);
        assert_eq!(bench.user().read("c").await.expect("reads"), b"third");
        bench.user().write("c", b"fourth").await.expect("writes");
        bench.steps(5).await;
        bench.world.emulator.drive().set_delta(DeltaBehaviour::default());
        bench.core().poller.poll_now().await.expect("polls");
        bench.steps(5).await;
        assert_eq!(bench.user().list("").await.expect("lists"), ["c", "e"]);
        let cloud = cloud_tree(bench.world.emulator.drive());
        assert_eq!(cloud.keys().collect::<Vec<_>>(), ["c", "e", "e/inside"]);
        assert_eq!(cloud.get("c"), Some(&Node::File(b"fourth".to_vec())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_version_is_kept_though_the_service_is_behind() {
    for flavour in FLAVOURS {
        let bench = Bench::new(flavour).await;
        bench.user().write("a", b"first").await.expect("writes");
        bench.steps(2).await;
        bench.read_lag(true);
        bench.user().write("a", b"second").await.expect("writes");
        bench.steps(2).await;
        bench.world.emulator.drive().write_file("/a", "theirs");
        bench.user().write("a", b"third").await.expect("writes");
        // All that can be seen is what we had before: nothing may be concluded from it.
        bench.steps(8).await;
        assert_eq!(bench.world.emulator.drive().read_file("/a").as_deref(), Some(b"theirs".as_slice()));
        bench.read_lag(false);
        for _ in 0..5 {
            bench.core().poller.poll_now().await.expect("polls");
            bench.steps(10).await;
        }
        let cloud = cloud_tree(bench.world.emulator.drive());
        assert_eq!(cloud.get("a"), Some(&Node::File(b"theirs".to_vec())), "{:?}", cloud.keys());
        assert_eq!(cloud.values().filter(|node| **node == Node::File(b"third".to_vec())).count(), 1);
        assert_eq!(cloud.len(), 2, "{:?}", cloud.keys());
        assert_eq!(crate::volume_model::local_tree_of(bench.core()).await.expect("lists"), cloud);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_was_also_renamed_does_not_replace_what_somebody_else_wrote() {
    for flavour in FLAVOURS {
        let bench = Bench::new(flavour).await;
        bench.user().write("a", b"first").await.expect("writes");
        bench.steps(3).await;
        bench.user().write("a", b"ours").await.expect("writes");
        bench.user().rename("a", "b").await.expect("renames");
        bench.world.emulator.drive().write_file("/a", "theirs");
        for _ in 0..5 {
            bench.steps(10).await;
            bench.core().poller.poll_now().await.expect("polls");
        }
        let cloud = cloud_tree(bench.world.emulator.drive());
        for version in ["ours", "theirs"] {
            let kept = cloud.values().filter(|node| **node == Node::File(version.into())).count();
            assert_eq!(kept, 1, "{version} in {:?}", cloud.keys());
        }
        assert_eq!(crate::volume_model::local_tree_of(bench.core()).await.expect("lists"), cloud);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_after_newer_news_does_not_hide_them() {
    for flavour in FLAVOURS {
        let bench = Bench::new(flavour).await;
        bench.user().write("a", b"first").await.expect("writes");
        bench.steps(3).await;
        bench.core().poller.poll_now().await.expect("polls");
        bench.user().rename("a", "b").await.expect("renames");
        let drive = bench.world.emulator.drive().clone();
        let (asked, ask) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let told = std::sync::Mutex::new(told);
        bench.world.emulator.set_witness(Some(Arc::new(move |moment| {
            if moment.method == "PATCH" && moment.when == When::After {
                // Renamed by us; and before we hear of that, renamed by somebody else, and the feed says so.
                drive.rename("/b", "/c");
                let _ = asked.send(());
                tokio::task::block_in_place(|| {
                    let _ = told.lock().expect("one").recv_timeout(Duration::from_secs(20));
                });
            }
            Course::Go
        })));
        let uploader = bench.core().uploader.clone();
        let step = tokio::spawn(async move { uploader.step().await });
        tokio::task::block_in_place(|| ask.recv_timeout(Duration::from_secs(20)).expect("the request was made"));
        bench.core().poller.poll_now().await.expect("polls");
        tell.send(()).expect("the witness waits");
        assert!(step.await.expect("no panic"));
        bench.world.emulator.set_witness(None);
        bench.steps(5).await;
        assert_eq!(bench.user().list("").await.expect("lists"), ["c"]);
    }
}

/// An encrypted container keeps its size and its time when it is changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_keeps_size_and_time_is_not_taken_for_sent() {
    for flavour in FLAVOURS {
        let bench = Bench::in_a_hurry(flavour).await;
        let before: Vec<u8> = (0..5_000_000u32).map(|i| (i >> 8) as u8 ^ i as u8).collect();
        bench.user().write("container", &before).await.expect("writes");
        bench.steps(5).await;
        assert_eq!(bench.core().journal.backlog(), (0, 0));
        let volume = &bench.core().volume;
        let ino = bench.user().walk("container").await.expect("there");
        let time = volume.getattr(ino).await.expect("there").mtime;
        bench.user().patch("container", 1000, b"a secret").await.expect("writes");
        let same_time = SetAttributes { mtime: Some(Some(time)), ..SetAttributes::default() };
        volume.setattr(ino, None, same_time).await.expect("sets the time");
        for _ in 0..3 {
            // The session is gone each time before anything has arrived.
            let faults = bench.world.emulator.faults();
            for method in ["PUT", "GET"] {
                faults.add(Rule::once(method, "*", Fault::status(When::Before, 404, "itemNotFound")).on(Host::Storage));
            }
            bench.steps(1).await;
            faults.clear();
            bench.world.emulator.drive().lose_sessions();
        }
        let mut after = before.clone();
        after[1000..1008].copy_from_slice(b"a secret");
        bench.rests_with(&[("container", &after)]).await;
    }
}

/// The same on two machines at once: each has a version, and both are kept.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_file_of_the_same_size_and_time_is_not_taken_for_ours() {
    use onedrive_mount::base::clock::Timestamp;
    for flavour in FLAVOURS {
        let bench = Bench::in_a_hurry(flavour).await;
        let time = Timestamp::from_seconds(1_700_000_000);
        let ours: Vec<u8> = (0..5_000_000u32).map(|i| (i >> 8) as u8 ^ i as u8).collect();
        let theirs: Vec<u8> = ours.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == 1000)).collect();
        bench.user().write("container", &ours).await.expect("writes");
        let ino = bench.user().walk("container").await.expect("there");
        let at = SetAttributes { mtime: Some(Some(time)), ..SetAttributes::default() };
        bench.core().volume.setattr(ino, None, at).await.expect("sets the time");
        // The session is opened, theirs arrives, and nothing of ours.
        let drive = bench.world.emulator.drive().clone();
        let (other, bytes) = (drive.clone(), theirs.clone());
        bench.once_after(
            |moment| moment.target.contains("createUploadSession"),
            move || {
                other.write_file("/container", bytes.clone());
                other.set_times("/container", time, time);
            },
        );
        let faults = bench.world.emulator.faults();
        faults.add(Rule::always("*", "*", Fault::status(When::Before, 404, "itemNotFound")).on(Host::Storage));
        bench.steps(2).await;
        faults.clear();
        drive.lose_sessions();
        for _ in 0..5 {
            bench.core().poller.poll_now().await.expect("polls");
            bench.steps(10).await;
        }
        assert_eq!(bench.left(), [""; 0]);
        let cloud = cloud_tree(bench.world.emulator.drive());
        let there = |bytes: &Vec<u8>| cloud.values().filter(|node| **node == Node::File(bytes.clone())).count();
        assert_eq!((there(&theirs), there(&ours)), (1, 1), "{:?}", cloud.keys());
        assert_eq!(crate::volume_model::local_tree_of(bench.core()).await.expect("lists"), cloud);
    }
}

/// A listing may be behind the feed. Until the file is asked for it could not be read, and the feed has no more to say of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_late_listing_shows_as_it_was_before_can_be_read_soon() {
    for flavour in FLAVOURS {
        let bench = Bench::new(flavour).await;
        bench.read_lag(true);
        let drive = bench.world.emulator.drive();
        drive.create_folder("/d");
        drive.write_file("/d/a", "first");
        drive.write_file("/d/a", "and the second");
        bench.core().poller.poll_now().await.expect("polls");
        assert_eq!(bench.user().list("d").await.expect("lists"), ["a"]);
        bench.read_lag(false);
        bench.core().poller.poll_now().await.expect("polls");
        // Who reads first is told that there is something else, which is looked for then.
        let _ = bench.user().read("d/a").await;
        bench.core().poller.poll_now().await.expect("polls");
        assert_eq!(bench.user().read("d/a").await.expect("reads"), b"and the second", "{flavour:?}");
    }
}
