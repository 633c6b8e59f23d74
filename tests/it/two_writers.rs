//! Two writers at once: our user works online, offline and across restarts, while another device creates, edits,
//! renames, moves and deletes the same things, between any two requests of ours, before or after the service acted, and
//! while the service shows its readers what was there before.
//!
//! The one rule: **no version of any content is lost.** A version ends only if somebody who saw it replaced it or
//! deleted it. The ledger knows for each version who saw what; whatever is not ended must be in the cloud when
//! all has come to rest, whole, once, and the mount must show the same.

mod ledger;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use onedrive_mount::daemon::core::Core;
use onedrive_mount::emulator::{Course, Fault, Flavour, ReadLag, Rule, When};
use onedrive_mount::journal::Progress;
use onedrive_mount::volume::VolumeResult;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestError};

use self::ledger::{Local, MARK, Remote, Shared, Size, book, elsewhere, here};
use crate::world::generated;
use crate::world::kernel::Believer;
use crate::world::model::Node;
use crate::world::ops::cloud_tree;
use crate::world::side::Side;
use crate::world::{MANY_FRAGMENTS, User, World, time_passes};

/// Few, so that they meet.
const NAMES: [&str; 4] = ["a", "b", "A", "c.txt"];

/// What happens in the middle of one of our requests.
#[derive(Clone, Debug)]
enum Act {
    Local(Local),
    Remote(Remote),
    /// Our daemon dies and is started again.
    Kill,
}

#[derive(Clone, Debug)]
enum Op {
    Local(Local),
    Remote(Remote),
    Poll,
    /// One step of the uploader. In its exchanges, counted from the first, before or after the service acts, this
    /// happens.
    Step(Vec<(usize, bool, Act)>),
    /// One step, and the answer to one of its requests is lost.
    LoseAnswer(u64),
    Offline(Vec<Local>),
    /// From now on, or no longer, readers are shown what was there before, and new items not at all.
    Late(bool),
    Kill,
}

fn path() -> impl Strategy<Value = String> {
    let [a, b, other_a, c] = NAMES;
    let name = prop_oneof![4 => Just(a), 4 => Just(b), 1 => Just(other_a), 2 => Just(c)];
    prop::collection::vec(name, 1..=3).prop_map(|names| names.join("/"))
}

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![30 => Just(Size::Small), 1 => Just(Size::Large)]
}

fn local() -> impl Strategy<Value = Local> {
    prop_oneof![
        3 => path().prop_map(Local::Mkdir),
        6 => (path(), size()).prop_map(|(path, size)| Local::Write(path, size)),
        2 => path().prop_map(Local::Patch),
        3 => (path(), size()).prop_map(|(path, size)| Local::Save(path, size)),
        2 => path().prop_map(Local::Unlink),
        1 => path().prop_map(Local::Rmdir),
        4 => (path(), path()).prop_map(|(from, to)| Local::Rename(from, to)),
    ]
}

fn remote() -> impl Strategy<Value = Remote> {
    prop_oneof![
        2 => path().prop_map(Remote::Mkdir),
        5 => path().prop_map(Remote::Write),
        2 => path().prop_map(Remote::Remove),
        3 => (path(), path()).prop_map(|(from, to)| Remote::Rename(from, to)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let act = prop_oneof![
        5 => remote().prop_map(Act::Remote),
        3 => local().prop_map(Act::Local),
        1 => Just(Act::Kill),
    ];
    prop_oneof![
        10 => local().prop_map(Op::Local),
        5 => remote().prop_map(Op::Remote),
        3 => Just(Op::Poll),
        8 => prop::collection::vec((0..4usize, any::<bool>(), act), 0..3).prop_map(Op::Step),
        1 => (0..3u64).prop_map(Op::LoseAnswer),
        1 => prop::collection::vec(local(), 1..4).prop_map(Op::Offline),
        1 => any::<bool>().prop_map(Op::Late),
        1 => Just(Op::Kill),
    ]
}

struct Play {
    world: World,
    core: Option<Core>,
    kernel: Arc<Believer>,
    flavour: Side,
    ledger: Shared,
    trace: bool,
    /// An answer may be lost, or be no more than an id that is not found yet (on Live Connect), and what was made then be
    /// renamed by somebody else before it was seen: then our user's file is made again under the name that our user gave it.
    may_double: bool,
}

/// Whether an answer to us may get lost in these, or say too little, and somebody else renames.
fn may_double(ops: &[Op], live: bool) -> bool {
    let acts = |is: &dyn Fn(&Act) -> bool| {
        ops.iter().any(|op| matches!(op, Op::Step(acts) if acts.iter().any(|(.., act)| is(act))))
    };
    let loses =
        acts(&|act| matches!(act, Act::Kill)) || ops.iter().any(|op| matches!(op, Op::Kill | Op::LoseAnswer(_)));
    let unseen = live && ops.iter().any(|op| matches!(op, Op::Late(true)));
    let renames = acts(&|act| matches!(act, Act::Remote(Remote::Rename(..))))
        || ops.iter().any(|op| matches!(op, Op::Remote(Remote::Rename(..))));
    (loses || unseen) && renames
}

impl Play {
    async fn restart(&mut self) {
        drop(self.core.take());
        self.kernel = Arc::default();
        self.core = Some(self.world.open_heard(self.kernel.clone()).await);
        let _ = self.core().poller.prepare().await;
    }

    fn core(&self) -> &Core {
        self.core.as_ref().expect("it runs")
    }

    /// Our user does something, on a kernel that believes what it was told.
    async fn mine(&self, core: &Core, local: &Local) -> VolumeResult<()> {
        let paths = local.paths();
        self.kernel.does(core, &paths).await;
        let outcome = here(&User(core), &self.ledger, local).await;
        self.kernel.does(core, &paths).await;
        outcome
    }

    /// What programs have been told is still so, or they have been told otherwise; and they look again.
    async fn believed(&self) -> Result<(), TestCaseError> {
        let errors = self.kernel.errors(self.core()).await;
        prop_assert!(errors.is_empty(), "the kernel believes what is not so: {errors:#?}");
        self.kernel.look(self.core(), &NAMES).await;
        Ok(())
    }

    /// One step of the uploader, with what happens in the middle of its requests; whether there was anything to do.
    async fn step(&mut self, acts: Vec<(usize, bool, Act)>) -> bool {
        self.rouse();
        self.turn(acts).await
    }

    /// What has failed is due again.
    fn rouse(&self) {
        if let Some(core) = &self.core {
            let _ = core.journal.retry_all();
        }
    }

    async fn turn(&mut self, acts: Vec<(usize, bool, Act)>) -> bool {
        let Some(core) = &self.core else { return false };
        let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel::<Act>();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let seen = Mutex::new((0usize, acts));
        let drive = self.world.emulator.drive().clone();
        let ledger = self.ledger.clone();
        let busy = std::sync::atomic::AtomicBool::new(false);
        self.world.emulator.set_witness(Some(Arc::new(move |moment| {
            use std::sync::atomic::Ordering;
            // What is done in the middle of a request asks things itself; only the uploader's requests count.
            if busy.load(Ordering::Acquire) {
                return Course::Go;
            }
            let now: Vec<Act> = {
                let mut seen = seen.lock().expect("counts");
                let at = seen.0;
                if moment.when == When::After {
                    seen.0 += 1;
                }
                let after = moment.when == When::After;
                seen.1.iter().filter(|(n, late, _)| *n == at && *late == after).map(|(_, _, act)| act.clone()).collect()
            };
            for act in now {
                match act {
                    Act::Remote(remote) => elsewhere(&drive, &ledger, &remote),
                    act => {
                        busy.store(true, Ordering::Release);
                        if ask.send(act).is_ok() {
                            tokio::task::block_in_place(|| {
                                let _ = wait.lock().expect("one at a time").recv_timeout(Duration::from_secs(20));
                            });
                        }
                        busy.store(false, Ordering::Release);
                    }
                }
            }
            Course::Go
        })));
        let mut killed = false;
        let worked = {
            let step = core.uploader.step();
            tokio::pin!(step);
            loop {
                tokio::select! {
                    worked = &mut step => break worked,
                    Some(act) = asked.recv() => {
                        match act {
                            Act::Local(local) => {
                                let outcome = self.mine(core, &local).await;
                                if self.trace { eprintln!("    in the middle: {local:?}: {outcome:?}"); }
                            }
                            _ => {
                                killed = true;
                                break true;
                            }
                        }
                        let _ = done.send(());
                    }
                }
            }
        };
        if killed {
            drop(self.core.take());
            let _ = done.send(());
            self.world.forget_connections().await;
            self.world.emulator.set_witness(None);
            self.restart().await;
        }
        self.world.emulator.set_witness(None);
        worked
    }

    async fn play(&mut self, op: Op) {
        if self.trace {
            eprintln!("{op:?}");
        }
        match op {
            Op::Local(local) => {
                let outcome = self.mine(self.core(), &local).await;
                if self.trace {
                    eprintln!("    {outcome:?}");
                }
            }
            Op::Remote(remote) => elsewhere(self.world.emulator.drive(), &self.ledger, &remote),
            Op::Poll => {
                let _ = self.core().poller.poll_now().await;
            }
            Op::Step(acts) => {
                self.step(acts).await;
            }
            Op::LoseAnswer(skip) => {
                let rule = self
                    .world
                    .emulator
                    .faults()
                    .add(Rule::once("*", "*", Fault::Reset { when: When::After }).skip(skip));
                self.step(Vec::new()).await;
                self.world.emulator.faults().remove(rule);
            }
            Op::Offline(locals) => {
                self.world.emulator.set_online(false);
                for local in locals {
                    let outcome = self.mine(self.core(), &local).await;
                    if self.trace {
                        eprintln!("    offline: {local:?}: {outcome:?}");
                    }
                }
                self.world.emulator.set_online(true);
            }
            Op::Late(on) => self.late(on),
            Op::Kill => self.restart().await,
        }
        if self.trace {
            self.core().journal.view(|overlay| overlay.iter().for_each(|intent| eprintln!("      {}", brief(intent))));
        }
    }

    fn late(&self, on: bool) {
        // For less than something that was sent is looked for; on a busy machine longer would be too long.
        let lag = Duration::from_secs(if on { 4 } else { 0 });
        self.world.emulator.drive().set_read_lag(ReadLag::everywhere(lag));
    }

    /// Lets everything reach the cloud that can.
    async fn rest(&mut self) -> Result<(), TestCaseError> {
        self.late(false);
        for round in 0..60 {
            if round == 20 {
                // A work drive keeps a name taken for a quarter of an hour by an upload session whose address was lost
                // with the answer. That time is over now.
                self.world.emulator.drive().lose_sessions();
                // Nor is what we have made lately young for ever: that it is not found may mean now that it is gone.
                time_passes(self.core());
            }
            // A service that was out of reach is believed to be so for a moment.
            let mut patience = 100;
            while let Err(error) = self.core().poller.poll_now().await {
                patience -= 1;
                prop_assert!(patience > 0, "polling: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            let mut worked = false;
            // What fails waits for its next round: what it waits for may be due after it.
            self.rouse();
            for _ in 0..50 {
                if !self.turn(Vec::new()).await {
                    break;
                }
                worked = true;
            }
            let (waiting, _) = self.core().journal.backlog();
            if !worked && waiting == 0 {
                return Ok(());
            }
            // What was sent without an answer is looked for over some seconds before it is taken for lost.
            tokio::time::sleep(Duration::from_millis(if waiting == 0 { 0 } else { 150 })).await;
        }
        let left: Vec<String> = self.core().journal.view(|overlay| overlay.iter().map(brief).collect());
        Err(TestCaseError::fail(format!("the queue does not drain: {left:#?}")))
    }

    /// Whether what is replaced in the moment of an upload may be found in the item's history only, in the recycle bin if
    /// the item is deleted after that: an upload session on a work drive cannot carry a precondition that holds to its
    /// end, and Live Connect knows none at all.
    fn keeps_history(&self) -> bool {
        self.flavour.live || self.flavour.flavour == Flavour::Business
    }

    /// Compares what is in the cloud with the ledger.
    fn audit(&self, cloud: &BTreeMap<String, Node>) -> Result<(), TestCaseError> {
        let ledger = book(&self.ledger);
        let mut found: HashSet<&[u8]> = HashSet::new();
        for (path, node) in cloud {
            let Node::File(bytes) = node else { continue };
            let whole = bytes.get(..MARK).and_then(|mark| ledger.versions.get(mark));
            prop_assert_eq!(whole, Some(bytes), "{} is no version that anybody wrote: {:?}", path, head(bytes));
            let first = found.insert(&bytes[..MARK]);
            prop_assert!(first || self.may_double, "{path} is there twice: {:?}", head(bytes));
        }
        let history: HashSet<Vec<u8>> = cloud
            .iter()
            .filter(|(_, node)| matches!(node, Node::File(_)))
            .flat_map(|(path, _)| self.world.emulator.drive().versions(path))
            .chain(self.world.emulator.drive().recycled_versions())
            .filter_map(|bytes| bytes.get(..MARK).map(<[u8]>::to_vec))
            .collect();
        for (mark, how) in &ledger.live {
            let there = found.contains(mark.as_slice()) || (self.keeps_history() && history.contains(mark));
            prop_assert!(there, "lost: {:?} ({how}); the cloud has {:#?}", head(mark), names(cloud));
        }
        Ok(())
    }

    async fn check(&mut self) -> Result<(), TestCaseError> {
        self.rest().await?;
        let parked: Vec<String> = self.core().journal.view(|overlay| {
            overlay.iter().filter(|intent| matches!(intent.progress, Progress::Parked(_))).map(brief).collect()
        });
        prop_assert!(parked.is_empty(), "nothing here needs a person, but parked: {parked:#?}");
        prop_assert!(self.core().journal.kept().is_empty(), "kept: {:?}", self.core().journal.kept());
        let cloud = cloud_tree(self.world.emulator.drive());
        self.audit(&cloud)?;
        // A service that was out of reach is believed to be so for a moment, and what is missing from a listing though we
        // have made it lately may only not be shown yet.
        let begun = Instant::now();
        let local = loop {
            let local = super::volume_model::local_tree_of(self.core()).await;
            if local.as_ref().is_ok_and(|local| *local == cloud) || begun.elapsed() > Duration::from_secs(20) {
                break local.map_err(|error| TestCaseError::fail(format!("listing: {error}")))?;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            time_passes(self.core());
            let _ = self.core().poller.poll_now().await;
        };
        prop_assert_eq!(names(&local), names(&cloud), "the mount differs from the cloud");
        prop_assert!(local == cloud, "the mount has other bytes than the cloud");
        Ok(())
    }
}

fn brief(intent: &onedrive_mount::journal::Intent) -> String {
    format!(
        "{:?} {} in {} as {:?} item={:?} base={:?} deleted={} sealed={:?} drafting={:?} sent={:?} {:?} error={:?}",
        intent.kind,
        intent.ino,
        intent.parent,
        intent.name,
        intent.item.as_ref().map(|item| &item.id),
        intent.base.as_ref().map(|base| (&base.parent.id, &base.name)),
        intent.deleted,
        intent.sealed,
        intent.drafting,
        intent.sent,
        match &intent.progress {
            Progress::Sending { acked, .. } => format!("sending {acked}"),
            other => format!("{other:?}"),
        },
        intent.last_error,
    )
}

fn head(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(MARK)]).into_owned()
}

fn names(tree: &BTreeMap<String, Node>) -> Vec<String> {
    tree.iter()
        .map(|(path, node)| match node {
            Node::Folder => format!("{path}/"),
            Node::File(bytes) => format!("{path} = {}", head(bytes)),
        })
        .collect()
}

async fn play(flavour: Side, ops: Vec<Op>, trace: bool) -> Result<(), TestCaseError> {
    let mut world = World::new(flavour).await;
    world.debounce = Duration::ZERO;
    world.how = MANY_FRAGMENTS;
    let may_double = may_double(&ops, flavour.live);
    let mut play =
        Play { world, core: None, kernel: Arc::default(), flavour, ledger: Shared::default(), trace, may_double };
    play.restart().await;
    for op in ops {
        play.play(op).await;
        play.believed().await?;
    }
    play.check().await?;
    play.believed().await
}

fn run(flavour: Side, cases: u32) {
    let trace = std::env::var_os("WRITERS_TRACE").is_some();
    let (inputs, runtime) = (prop::collection::vec(op(), 1..30), generated::runtime(4));
    let outcome = generated::run("WRITERS_CASES", cases, if trace { 2000 } else { 100 }, &inputs, |ops| {
        runtime.block_on(play(flavour, ops, false))
    });
    match outcome {
        Ok(cases) => println!("two writers, {flavour:?}: {cases} interleavings, no version lost"),
        Err(error) => {
            if trace && let TestError::Fail(_, ops) = &error {
                eprintln!("{:?}", runtime.block_on(play(flavour, ops.clone(), true)));
            }
            panic!("{error}");
        }
    }
}

#[test]
fn no_version_is_lost_between_two_writers_on_a_personal_drive() {
    run(Flavour::PersonalNew.into(), 60);
}

#[test]
fn no_version_is_lost_between_two_writers_on_a_business_drive() {
    run(Flavour::Business.into(), 60);
}

#[test]
fn no_version_is_lost_between_two_writers_on_live_connect() {
    run(Side::LIVE, 40);
}

/// Plays one sequence on drives of these kinds.
fn on(sides: &[Side], ops: &[Op]) {
    let runtime = generated::runtime(4);
    for side in sides {
        let outcome = runtime.block_on(play(*side, ops.to_vec(), false));
        outcome.unwrap_or_else(|error| panic!("{side:?}, {ops:?}: {error}"));
    }
}

const SIDES: [Side; 3] = [Side::PERSONAL, Side::BUSINESS, Side::LIVE];

/// What somebody has looked for in our folder in vain is there when it turns out that theirs is the same one.
#[test]
fn what_is_in_a_folder_that_both_have_made_is_there_for_who_has_looked_before() {
    for polls in 0..2 {
        let mut ops = vec![
            Op::Local(Local::Mkdir("a".into())),
            Op::Remote(Remote::Mkdir("a".into())),
            Op::Remote(Remote::Write("a/b".into())),
        ];
        ops.extend((0..polls).map(|_| Op::Poll));
        on(&SIDES, &ops);
    }
}

/// What the generator finds once in a thousand cases.
#[test]
fn a_session_whose_address_was_lost_holds_its_name_only_for_a_while() {
    for lost in 0..4 {
        on(&SIDES, &[Op::Local(Local::Write("a".into(), Size::Large)), Op::LoseAnswer(lost)]);
    }
}

/// What the generator found once in ten thousand cases: their version is replaced in the moment of our upload, into the
/// history, and then our user deletes the file.
#[test]
fn what_an_upload_has_replaced_goes_into_the_recycle_bin_with_the_file() {
    let write = || Local::Write("b".into(), Size::Small);
    let ops = [
        Op::Local(write()),
        Op::Offline(vec![write()]),
        Op::Step(vec![(0, false, Act::Local(write()))]),
        Op::Step(vec![(1, false, Act::Remote(Remote::Write("b".into())))]),
        Op::Offline(vec![Local::Unlink("b".into())]),
    ];
    on(&SIDES, &ops);
}

/// What the generator found once in some thousand cases: what has arrived of ours without an answer is hidden when it is
/// deleted here, and comes to light when it turns into somebody else's.
#[test]
fn what_others_make_of_a_file_that_was_deleted_before_its_answer_came_to_light() {
    for after in [false, true] {
        let ops = [
            Op::Local(Local::Save("b".into(), Size::Small)),
            Op::Step(vec![(0, after, Act::Kill)]),
            Op::Poll,
            Op::Local(Local::Unlink("b".into())),
            Op::Remote(Remote::Write("b".into())),
            Op::Poll,
        ];
        on(&SIDES, &ops);
    }
}

/// What the generator found once in two thousand cases.
#[test]
fn what_takes_the_place_of_a_file_of_ours_stands_there_alone() {
    let ops = [
        Op::Local(Local::Write("b".into(), Size::Small)),
        Op::Step(Vec::new()),
        Op::Remote(Remote::Remove("b".into())),
        Op::Remote(Remote::Write("b".into())),
    ];
    on(&SIDES, &ops);
}

/// What the generator found once in two thousand cases.
#[test]
fn a_file_that_is_gone_there_is_shown_no_longer_where_it_was_moved_here() {
    let ops = [
        Op::Local(Local::Mkdir("a".into())),
        Op::Step(Vec::new()),
        Op::Local(Local::Write("b".into(), Size::Small)),
        Op::Step(Vec::new()),
        Op::Remote(Remote::Remove("b".into())),
        Op::Local(Local::Rename("b".into(), "a/a".into())),
    ];
    // Live Connect has no feed that says what is gone: what was made a moment ago is looked for over minutes there.
    on(&[Side::PERSONAL, Side::BUSINESS], &ops);
}

/// What the generator found once in five thousand cases.
#[test]
fn a_version_that_comes_under_a_name_we_have_left_outlives_a_folder_made_there() {
    for (exchange, after) in [(0, false), (0, true), (1, false), (1, true), (2, false), (2, true)] {
        let ops = [
            Op::Local(Local::Write("a".into(), Size::Small)),
            Op::Step(vec![(exchange, after, Act::Kill)]),
            Op::Local(Local::Rename("a".into(), "b".into())),
            Op::Step(Vec::new()),
            Op::Remote(Remote::Write("a".into())),
            Op::Local(Local::Mkdir("a".into())),
            Op::Local(Local::Rmdir("a".into())),
        ];
        on(&SIDES, &ops);
    }
}
