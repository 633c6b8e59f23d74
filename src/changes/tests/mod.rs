//! The poller against a feed made of a list, and a real index.

mod believed;
mod feed;
mod inquiry;
mod resync;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use self::feed::{Feed, file, folder, id, root};
use super::*;
use crate::base::clock::ManualClock;
use crate::base::ids::{ContentTag, Cursor, Ino, InoSource, ItemId, MetaTag};
use crate::index::What;
use crate::remote::{Item, ItemKind};

#[derive(Default)]
struct Heard(Mutex<Vec<Notice>>);

impl NoticeSink for Heard {
    fn absorb(&self, notices: Vec<Notice>) {
        self.0.lock().expect("not poisoned").extend(notices);
    }
}

struct Counter(AtomicU64);

impl InoSource for Counter {
    fn next_ino(&self) -> Ino {
        Ino(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

struct World {
    feed: Arc<Feed>,
    index: Arc<Index>,
    heard: Arc<Heard>,
    clock: ManualClock,
    poller: Arc<Poller>,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::of(ChangeSource::Native)
    }

    fn of(changes: ChangeSource) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let counter = Arc::new(Counter(AtomicU64::new(100)));
        let index = Arc::new(Index::open(folder.path(), &id("root"), &[], counter).expect("opens"));
        Self::with(Feed::of(changes), index, folder)
    }

    fn with(feed: Arc<Feed>, index: Arc<Index>, folder: tempfile::TempDir) -> Self {
        let clock = ManualClock::new(Timestamp::from_seconds(1_700_000_000));
        let heard = Arc::new(Heard::default());
        let (sink, time) = (heard.clone(), Arc::new(clock.clone()));
        let poller = Arc::new(Poller::new(feed.clone(), index.clone(), sink, time, Settings::default()));
        Self { feed, index, heard, clock, poller, _folder: folder }
    }

    /// A daemon that starts again on the same index.
    fn restart(self) -> Self {
        Self::with(self.feed, self.index, self._folder)
    }

    async fn poll(&self) -> usize {
        self.poller.poll_now().await.expect("polls")
    }

    /// Runs an enumeration that is due to its end.
    async fn enumerate(&self) {
        while self.poller.has_pages_to_fetch().await {
            assert_eq!(self.poller.page_in_turn().await, Outcome::News);
        }
    }

    /// The service forgets the position in its feed.
    async fn expire(&self) {
        self.feed.state().forgotten = usize::MAX;
        assert_eq!(self.poll().await, 0);
        self.feed.state().forgotten = 0;
    }

    /// Gets to know the drive, as a daemon does that starts for the first time.
    async fn learn(&self) {
        self.poller.prepare().await.expect("prepared");
        self.enumerate().await;
    }

    /// The whole tree as the index has it: paths, and versions of files.
    fn tree(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut stack = vec![(Ino::ROOT, String::new())];
        while let Some((ino, path)) = stack.pop() {
            for row in self.index.children(ino).expect("reads") {
                let path = format!("{path}/{}", row.name);
                lines.push(format!("{path} {}", row.meta_tag.0));
                stack.push((row.ino, path));
            }
        }
        lines.sort();
        lines
    }

    fn truth(&self) -> Vec<String> {
        let live = self.feed.state().live();
        let path = |item: &Item| {
            let (mut path, mut at) = (String::new(), Some(item));
            while let Some(item) = at.filter(|item| item.parent.is_some()) {
                path = format!("/{}{path}", item.name);
                at = item.parent.as_ref().and_then(|parent| live.get(parent));
            }
            path
        };
        let mut lines: Vec<String> = live
            .values()
            .filter(|item| item.parent.is_some())
            .map(|item| format!("{} {}", path(item), item.meta_tag.0))
            .collect();
        lines.sort();
        lines
    }

    fn take_heard(&self) -> Vec<Notice> {
        std::mem::take(&mut self.heard.0.lock().expect("not poisoned"))
    }
}

#[tokio::test]
async fn a_chain_is_followed_over_all_its_pages_and_stored_with_its_cursor() {
    let world = World::new();
    world.poller.prepare().await.expect("prepared");
    assert_eq!(world.feed.take_asked(), ["now"]);
    world.feed.is(folder("docs", "root"));
    for name in ["a", "b", "c", "d"] {
        world.feed.is(file(name, "docs", 1));
    }
    assert_eq!(world.poll().await, 5);
    assert_eq!(world.tree(), world.truth());
    assert_eq!(world.take_heard().len(), 5);
    assert_eq!(world.index.cursor().expect("reads"), Some(Cursor("cursor:5".into())));
    assert_eq!(world.feed.take_asked().len(), 3);
    assert_eq!(world.poll().await, 0);
    assert_eq!(world.feed.take_asked(), ["cursor:5"]);
}

#[tokio::test]
async fn a_chain_that_breaks_changes_nothing_and_is_asked_for_again() {
    let world = World::new();
    world.poller.prepare().await.expect("prepared");
    for name in ["a", "b", "c"] {
        world.feed.is(file(name, "root", 1));
    }
    // The first page arrives, the second does not.
    world.feed.state().page = 1;
    let poller = world.poller.clone();
    let mut health = poller.health();
    let failing = async {
        world.feed.state().circle = true;
        let outcome = poller.poll_now().await;
        world.feed.state().circle = false;
        outcome
    };
    assert!(matches!(failing.await, Err(Trouble::Remote(error)) if error.kind == RemoteErrorKind::Protocol));
    assert!(world.tree().is_empty());
    let ailment = health.borrow_and_update().trouble.clone().expect("unwell");
    assert_eq!((ailment.kind, ailment.since), (Some(RemoteErrorKind::Protocol), world.clock.now()));
    assert_eq!(world.poll().await, 3);
    assert_eq!(world.tree(), world.truth());
    assert_eq!(health.borrow().trouble, None);
}

#[tokio::test]
async fn repeats_ancestors_and_unknown_tombstones_make_no_news() {
    let world = World::new();
    world.poller.prepare().await.expect("prepared");
    world.feed.is(root());
    world.feed.is(folder("docs", "root"));
    world.feed.is(file("a", "docs", 1));
    world.poll().await;
    world.take_heard();
    world.feed.is(root());
    world.feed.is(folder("docs", "root"));
    world.feed.is(file("a", "docs", 7));
    world.feed.is(file("a", "docs", 2));
    world.feed.gone("never heard of");
    world.poll().await;
    let heard = world.take_heard();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!((heard[0].name.as_str(), &heard[0].what), ("a", &What::Content));
    assert_eq!(world.tree(), world.truth());
}

#[tokio::test]
async fn what_moved_out_of_a_deleted_folder_survives_in_any_order() {
    for tombstone_first in [true, false] {
        let world = World::new();
        world.poller.prepare().await.expect("prepared");
        world.feed.is(folder("old", "root"));
        world.feed.is(file("kept", "old", 1));
        world.feed.is(file("lost", "old", 1));
        world.poll().await;
        if tombstone_first {
            world.feed.gone("old");
        }
        world.feed.is(Item { parent: Some(id("root")), ..file("kept", "root", 2) });
        if !tombstone_first {
            world.feed.gone("old");
        }
        world.poll().await;
        assert_eq!(world.tree(), ["/kept m2"]);
    }
}

#[tokio::test]
async fn names_may_be_swapped_and_taken_over_in_one_chain() {
    let world = World::new();
    world.poller.prepare().await.expect("prepared");
    for name in ["a", "b", "c"] {
        world.feed.is(file(name, "root", 1));
    }
    world.poll().await;
    let ino = world.index.by_id(&id("a")).expect("reads").expect("known").ino;
    world.feed.is(Item { name: "b".into(), ..file("a", "root", 2) });
    world.feed.is(Item { name: "a".into(), ..file("b", "root", 2) });
    // The one that had the name comes after the one that takes it.
    world.feed.is(Item { name: "c".into(), ..file("new", "root", 1) });
    world.feed.gone("c");
    world.poll().await;
    assert_eq!(world.tree(), world.truth());
    assert_eq!(world.index.by_id(&id("a")).expect("reads").expect("known").ino, ino, "the number stays");
}

#[tokio::test]
async fn a_state_from_before_our_own_change_is_ignored() {
    let world = World::new();
    world.poller.prepare().await.expect("prepared");
    let now = world.clock.now();
    world
        .index
        .write(|txn| {
            txn.upsert(&file("mine", "root", 2))?;
            txn.expect_echo(&id("mine"), &MetaTag("m1".into()), false, now.plus(Duration::from_secs(120)))
        })
        .expect("written");
    world.feed.is(file("mine", "root", 1));
    world.poll().await;
    assert_eq!(world.tree(), ["/mine m2"]);
    world.feed.is(file("mine", "root", 3));
    world.poll().await;
    assert_eq!(world.tree(), ["/mine m3"], "a newer one is not");
}

#[tokio::test]
async fn what_we_have_deleted_does_not_come_back_as_a_ghost_but_does_if_it_was_restored() {
    let world = World::new();
    world.feed.is(folder("a", "root"));
    world.learn().await;
    let delete_here = |world: &World| {
        let until = world.clock.now().plus(Duration::from_secs(120));
        let written = world.index.write(|txn| {
            txn.remove(&id("a"))?;
            txn.expect_echo(&id("a"), &MetaTag("m0".into()), true, until)
        });
        written.expect("written");
    };
    // The chain has a state of it that we never saw, and does not have our deletion yet.
    world.feed.is(Item { meta_tag: MetaTag("m9".into()), ..folder("a", "root") });
    delete_here(&world);
    world.feed.state().gone_unnoticed = vec![id("a")];
    world.poll().await;
    assert!(world.tree().is_empty());

    world.feed.state().gone_unnoticed.clear();
    world.feed.is(Item { meta_tag: MetaTag("m0".into()), ..folder("a", "root") });
    world.poll().await;
    assert_eq!(world.tree(), ["/a m0"], "restored in exactly the old state");
}

/// Else a program that makes files and deletes them holds up all news, and each of the files is asked for at every poll.
#[tokio::test]
async fn what_we_have_made_and_deleted_a_moment_ago_holds_up_no_news() {
    let world = World::new();
    world.poller.prepare().await.expect("prepared");
    let until = world.clock.now().plus(Duration::from_secs(300));
    let made_and_deleted = world.index.write(|txn| {
        txn.expect_echo(&id("short"), &MetaTag(String::new()), false, until)?;
        txn.expect_echo(&id("short"), &MetaTag("m1".into()), true, until)
    });
    made_and_deleted.expect("written");
    world.feed.is(Item { meta_tag: MetaTag("between".into()), ..file("short", "root", 1) });
    world.feed.is(file("theirs", "root", 1));
    world.feed.state().gone_unnoticed = vec![id("short")];
    world.poll().await;
    assert_eq!(world.tree(), ["/theirs m1"]);
    let all = Cursor(format!("cursor:{}", world.feed.state().log.len()));
    assert_eq!(world.index.cursor().expect("reads"), Some(all), "the next poll asks for what comes after it");
}

#[tokio::test]
async fn what_we_delete_while_it_is_asked_about_does_not_come_back() {
    let world = World::new();
    world.poller.prepare().await.expect("prepared");
    let until = world.clock.now().plus(Duration::from_secs(120));
    let known = world.index.write(|txn| {
        txn.upsert(&file("mine", "root", 2))?;
        txn.expect_echo(&id("mine"), &MetaTag("m1".into()), false, until)
    });
    known.expect("written");
    world.feed.is(file("mine", "root", 3));
    let index = world.index.clone();
    world.feed.state().meanwhile = Some(Box::new(move || {
        let deleted = index.write(|txn| {
            txn.remove(&id("mine"))?;
            txn.expect_echo(&id("mine"), &MetaTag("m3".into()), true, until)
        });
        deleted.expect("written");
    }));
    world.poll().await;
    assert!(world.feed.state().meanwhile.is_none(), "it was asked about");
    assert!(world.tree().is_empty(), "{:?}", world.tree());
}

/// A change of ours is acknowledged: an item is known as it is now, and was something else before.
fn land(world: &World, item: Item, before: &str) {
    let until = world.clock.now().plus(Duration::from_secs(300));
    let written = world.index.write(|txn| {
        txn.upsert_with(&item, Some((item.modified, item.modified)))?;
        txn.expect_echo(&item.id, &MetaTag(before.into()), false, until)
    });
    written.expect("written");
}

/// Between the question about an item and the writing of the chain we may change it.
#[tokio::test]
async fn what_we_change_while_a_chain_is_on_its_way_stays_and_the_chain_is_read_again() {
    let world = World::new();
    world.feed.is(folder("docs", "root"));
    world.feed.is(file("a", "root", 1));
    world.learn().await;
    let [from, to] = ["cursor:2", "cursor:9"].map(|cursor| Cursor(cursor.into()));
    land(&world, file("a", "docs", 3), "m1");
    let old = vec![Change::Is(file("a", "root", 2)), Change::Is(file("b", "root", 1))];
    let now = world.clock.now();
    apply::apply_chain(&world.index, old.clone(), &[], [&from, &to], now).expect("written");
    assert_eq!(world.tree(), ["/b m1", "/docs m0", "/docs/a m3"]);
    assert_eq!(world.index.cursor().expect("reads"), Some(from.clone()));
    // What was asked about, and has not changed since, is taken.
    let asked = world.index.write(|txn| apply::doubted(txn, &old, now)).expect("reads").0;
    apply::apply_chain(&world.index, old, &asked, [&from, &to], now).expect("written");
    assert_eq!(world.tree(), ["/a m2", "/b m1", "/docs m0"]);
    assert_eq!(world.index.cursor().expect("reads"), Some(to));
}

/// The last word of a chain counts, also where an earlier one is about something that we have changed.
#[tokio::test]
async fn a_state_that_the_same_chain_says_is_over_is_not_asked_for() {
    let world = World::new();
    world.feed.is(file("a", "root", 1));
    world.learn().await;
    land(&world, file("a", "root", 2), "m1");
    let there = world.feed.state().log.len();
    world.feed.is(Item { name: "other".into(), ..file("a", "root", 3) });
    world.feed.gone("a");
    world.feed.state().stat_shows = Some(there + 1);
    world.feed.take_looked_up();
    assert_eq!(world.poll().await, 1);
    assert!(world.tree().is_empty(), "{:?}", world.tree());
    assert!(world.feed.take_looked_up().is_empty());
}

#[tokio::test]
async fn the_task_polls_in_its_rhythm_backs_off_and_wakes_up() {
    let world = World::new();
    world.learn().await;
    world.feed.take_asked();
    let (switch, stop) = Stop::channel();
    let task = tokio::spawn(world.poller.clone().run(stop));
    let polls = async |world: &World, advance: u64| {
        world.clock.advance(Duration::from_secs(advance));
        // What can happen without time passing happens; writing is done by another thread.
        for _ in 0..20 {
            tokio::task::spawn_blocking(std::thread::yield_now).await.expect("runs");
        }
        world.feed.take_asked().len()
    };
    assert_eq!(polls(&world, 0).await, 1, "at once at the start");
    assert_eq!(polls(&world, 59).await, 0);
    assert_eq!(polls(&world, 1).await, 1);

    world.poller.wake();
    assert_eq!(polls(&world, 0).await, 0, "a burst of wake-ups is one poll");
    world.poller.wake();
    assert_eq!(polls(&world, 1).await, 1);
    assert_eq!(polls(&world, 5).await, 1, "and it looks again");

    world.feed.state().failures.push_back(RemoteError::offline("no line"));
    assert_eq!(polls(&world, 20).await, 1);
    assert!(world.poller.health().borrow().trouble.is_some());
    assert_eq!(polls(&world, 4).await, 0);
    assert_eq!(polls(&world, 1).await, 1);
    assert!(world.poller.health().borrow().trouble.is_none());

    // After many failures the pause is minutes; that somebody else is answered shortens it, and not below a quarter of one.
    let busy = || RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, "an error page");
    for pause in [60, 5, 10, 20, 40, 80] {
        world.feed.state().failures.push_back(busy());
        assert_eq!(polls(&world, pause).await, 1);
    }
    assert_eq!(polls(&world, 3).await, 0);
    world.poller.reached();
    assert_eq!(polls(&world, 11).await, 0);
    world.feed.state().failures.push_back(busy());
    assert_eq!(polls(&world, 1).await, 1);
    world
        .feed
        .state()
        .failures
        .push_back(RemoteError { advice: Advice::RetryAfter(Duration::from_secs(400)), ..busy() });
    world.poller.reached();
    assert_eq!(polls(&world, 0).await, 0);
    assert_eq!(polls(&world, 15).await, 1);
    world.poller.reached();
    assert_eq!(polls(&world, 399).await, 0, "what the service asks for comes first");
    assert_eq!(polls(&world, 1).await, 1);
    world.poller.reached();
    assert_eq!(polls(&world, 59).await, 0, "nothing has failed");

    // What it is answered itself, before an attempt fails, is no reason to try again.
    world.poller.failing.store(true, Ordering::Relaxed);
    let turn = world.poller.turn.lock().await;
    world.poller.reached();
    drop(turn);
    assert!(world.poller.failing.load(Ordering::Relaxed));
    assert_eq!(polls(&world, 1).await, 1, "the usual interval");
    assert!(!world.poller.failing.load(Ordering::Relaxed));
    assert_eq!(polls(&world, 59).await, 0);

    // What is shown and is not there any more.
    let somewhere = ItemId::new(&crate::base::ids::DriveId::new("d"), "somewhere");
    world.poller.doubt(&somewhere);
    assert_eq!(polls(&world, 1).await, 1);
    world.poller.doubt(&somewhere);
    world.poller.doubt(&somewhere);
    assert_eq!(polls(&world, 14).await, 0, "however often it is said");
    assert_eq!(polls(&world, 1).await, 1);

    switch.stop();
    task.await.expect("ends");
}

/// A step somebody elsewhere takes. Names come from few, so that they meet.
#[derive(Clone, Debug)]
enum Act {
    Make { id: u8, parent: u8, folder: bool },
    Move { id: u8, parent: u8, name: u8 },
    Edit { id: u8 },
    Delete { id: u8 },
    Poll,
}

fn act() -> impl Strategy<Value = Act> {
    let n = || 0u8..6;
    prop_oneof![
        3 => (n(), n(), any::<bool>()).prop_map(|(id, parent, folder)| Act::Make { id, parent, folder }),
        3 => (n(), n(), n()).prop_map(|(id, parent, name)| Act::Move { id, parent, name }),
        2 => n().prop_map(|id| Act::Edit { id }),
        2 => n().prop_map(|id| Act::Delete { id }),
        2 => Just(Act::Poll),
    ]
}

/// Carries a step out if the service would allow it.
fn carry_out(feed: &Feed, act: &Act, step: u32) {
    let live = feed.state().live();
    let name_of = |n: u8| format!("n{n}");
    let folder_of = |n: u8| if n == 0 { id("root") } else { id(&format!("i{n}")) };
    let is_folder = |id: &ItemId| live.get(id).is_some_and(|item| item.kind == ItemKind::Folder);
    let is_free = |parent: &ItemId, name: &str| {
        !live.values().any(|item| item.parent.as_ref() == Some(parent) && item.name == name)
    };
    let below = |id: &ItemId, of: &ItemId| {
        let mut at = Some(id.clone());
        while let Some(id) = at {
            if id == *of {
                return true;
            }
            at = live.get(&id).and_then(|item| item.parent.clone());
        }
        false
    };
    match *act {
        Act::Make { id: n, parent, folder: as_folder } => {
            let (new, parent, name) = (format!("i{n}"), folder_of(parent), name_of(n));
            // An id is never used again.
            let used = feed.state().log.iter().any(|change| match change {
                Change::Is(item) => item.id == id(&new),
                Change::Gone(gone) => *gone == id(&new),
            });
            if !used && n != 0 && is_folder(&parent) && is_free(&parent, &name) {
                let made = if as_folder { folder(&new, &parent.id) } else { file(&new, &parent.id, step) };
                feed.is(Item { name, meta_tag: MetaTag(format!("m{step}")), ..made });
            }
        }
        Act::Move { id: n, parent, name } => {
            let (moved, parent, name) = (id(&format!("i{n}")), folder_of(parent), name_of(name));
            if let Some(item) = live.get(&moved)
                && is_folder(&parent)
                && is_free(&parent, &name)
                && !below(&parent, &moved)
            {
                feed.is(Item { parent: Some(parent), name, meta_tag: MetaTag(format!("m{step}")), ..item.clone() });
            }
        }
        Act::Edit { id: n } => {
            if let Some(item) = live.get(&id(&format!("i{n}"))).filter(|item| item.kind == ItemKind::File) {
                let tag = Some(ContentTag::from_service(&step.to_string(), 3));
                feed.is(Item { content_tag: tag, meta_tag: MetaTag(format!("m{step}")), ..item.clone() });
            }
        }
        Act::Delete { id: n } => {
            if live.contains_key(&id(&format!("i{n}"))) {
                feed.gone(&format!("i{n}"));
            }
        }
        Act::Poll => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn after_any_chain_the_index_is_the_drive(acts in prop::collection::vec(act(), 1..40), expire in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let world = World::new();
            world.learn().await;
            for (step, act) in acts.iter().enumerate() {
                carry_out(&world.feed, act, step as u32 + 1);
                if matches!(act, Act::Poll) {
                    world.poll().await;
                    prop_assert_eq!(world.tree(), world.truth());
                }
            }
            if expire {
                let len = world.feed.state().log.len();
                world.feed.state().forgotten = len + 1;
                world.poll().await;
                world.feed.state().forgotten = 0;
                world.enumerate().await;
            }
            world.poll().await;
            prop_assert_eq!(world.tree(), world.truth());
            Ok(())
        })?;
    }
}
