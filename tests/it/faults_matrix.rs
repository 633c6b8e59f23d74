//! Every trouble of network and service against every operation of use.
//!
//! For each pair: a drive in use, the trouble, the operation, what a user does beside it, the end of the trouble,
//! rest; then both sides have exactly the tree of the reference, nothing is in the recycle bin that nobody
//! deleted, and no version of any file in the cloud is one that nobody wrote.
//!
//! `FAULT_MATRIX=full` tries each pair with each extent of the trouble (once, several times, for a while); without
//! it each pair is tried with one of them, behind Live Connect every other pair. `FAULT_MATRIX_ONLY=text` keeps the cases whose name has the text.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use onedrive_mount::base::clock::Clock;
use onedrive_mount::base::ids::Ino;
use onedrive_mount::base::tasks::TaskGroup;
use onedrive_mount::emulator::{Content, Emulator, Flavour, Host, Options};
use onedrive_mount::journal::Progress;
use onedrive_mount::remote::http::system_entropy;
use onedrive_mount::remote::stack::{self, RemoteOptions};
use onedrive_mount::remote::{DriveIdentity, Remote as _, URGENCY, Urgency};
use onedrive_mount::volume::{OpenHow, VolumeError, VolumeResult};

use crate::volume_model::local_tree_of;
use crate::world::asked::Asked;
use crate::world::clock::FastClock;
use crate::world::model::{Model, Node};
use crate::world::ops::cloud_tree;
use crate::world::side::Side;
use crate::world::trouble::{self, Aim, EXTENTS, Extent, Issued, LARGE, Means, Trouble};
use crate::world::{MANY_FRAGMENTS, Running, User, World, eventually};

const SPEED: u32 = 15;

/// How long trouble lasts that lasts, by the fast clock.
const LASTING: Duration = Duration::from_secs(20);

/// What a user does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    ListFolder,
    ColdRead,
    ReadMiddle,
    CreateSmall,
    OverwriteSmall,
    UploadLarge,
    SaveByRename,
    MakeFolder,
    Rename,
    Move,
    DeleteFile,
    DeleteFolder,
    Poll,
    Quota,
    FirstMount,
    EditPart,
}

const OPERATIONS: [Operation; 16] = [
    Operation::ListFolder,
    Operation::ColdRead,
    Operation::ReadMiddle,
    Operation::CreateSmall,
    Operation::OverwriteSmall,
    Operation::UploadLarge,
    Operation::SaveByRename,
    Operation::MakeFolder,
    Operation::Rename,
    Operation::Move,
    Operation::DeleteFile,
    Operation::DeleteFolder,
    Operation::Poll,
    Operation::Quota,
    Operation::FirstMount,
    Operation::EditPart,
];

impl Operation {
    /// The requests it is about.
    fn aims(self, side: Side) -> &'static [Aim] {
        if side.live { self.aims_live() } else { self.aims_graph() }
    }

    fn aims_live(self) -> &'static [Aim] {
        match self {
            Self::ListFolder | Self::Poll => &[("GET", "*/files*", Host::Live)],
            Self::ColdRead | Self::ReadMiddle | Self::EditPart => {
                &[("GET", "*/content*", Host::Live), ("GET", "*", Host::Storage)]
            }
            Self::CreateSmall | Self::OverwriteSmall | Self::SaveByRename | Self::Rename => &[("PUT", "*", Host::Live)],
            Self::UploadLarge => &[
                ("Create-Session", "*", Host::Bits),
                ("Fragment", "*", Host::Bits),
                ("Close-Session", "*", Host::Bits),
            ],
            Self::MakeFolder => &[("POST", "*", Host::Live)],
            Self::Move => &[("MOVE", "*", Host::Live)],
            Self::DeleteFile | Self::DeleteFolder => &[("DELETE", "*", Host::Live)],
            Self::Quota => &[("GET", "*quota*", Host::Live)],
            Self::FirstMount => &[("GET", "*", Host::Live)],
        }
    }

    fn aims_graph(self) -> &'static [Aim] {
        match self {
            Self::ListFolder => &[("GET", "*children*", Host::Graph)],
            Self::ColdRead | Self::ReadMiddle | Self::EditPart => {
                &[("GET", "*downloadUrl*", Host::Graph), ("GET", "*", Host::Storage)]
            }
            Self::CreateSmall | Self::OverwriteSmall | Self::SaveByRename => &[("PUT", "*/content*", Host::Graph)],
            Self::UploadLarge => &[("POST", "*createUploadSession", Host::Graph), ("PUT", "*", Host::Storage)],
            Self::MakeFolder => &[("POST", "*/children", Host::Graph)],
            Self::Rename | Self::Move => &[("PATCH", "*", Host::Graph)],
            Self::DeleteFile | Self::DeleteFolder => &[("DELETE", "*", Host::Graph)],
            Self::Poll => &[("GET", "*/delta*", Host::Graph)],
            Self::Quota => &[("GET", "*quota*", Host::Graph)],
            Self::FirstMount => &[("GET", "*", Host::Graph)],
        }
    }
}

fn pattern(seed: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| ((at * 31 + seed * 7) ^ (at >> 8)) as u8).collect()
}

const BIG: usize = 3 << 20;

/// What is in the cloud before.
fn standing() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("docs/a.txt", pattern(1, 6000)),
        ("docs/b.txt", pattern(2, 4000)),
        ("photos/big.bin", pattern(3, BIG)),
        ("old/x", pattern(4, 2000)),
        ("old/y", pattern(5, 2100)),
        ("keep.txt", pattern(6, 2500)),
    ]
}

/// One drive and its trouble.
struct Case {
    world: World,
    clock: FastClock,
    tokens: Arc<Issued>,
    remote: Arc<Asked>,
    model: Model,
    /// Every content that was ever wanted at a path.
    written: BTreeMap<String, Vec<Vec<u8>>>,
    deleted: Vec<&'static str>,
}

impl Case {
    async fn new(side: Side) -> Self {
        let clock = FastClock::new(SPEED);
        let options = Options {
            flavour: side.flavour,
            content: Content::Empty,
            clock: Arc::new(clock.clone()),
            ..Options::default()
        };
        let emulator = Emulator::start(options).await.expect("the emulator starts");
        let tokens = Issued::new(&emulator, side);
        let mut options = RemoteOptions::speaking(side.protocol(&emulator));
        options.patience.connect = Duration::from_millis(700);
        let remote = stack::open(&options, tokens.clone(), Arc::new(clock.clone()), system_entropy());
        let world = World {
            side,
            emulator,
            home: tempfile::tempdir().expect("a folder"),
            clock: Arc::new(clock.clone()),
            debounce: Duration::from_millis(500),
            how: MANY_FRAGMENTS,
        };
        let mut case = Self {
            world,
            clock,
            tokens,
            remote: Asked::new(remote.expect("the remote opens").remote),
            model: Model::default(),
            written: BTreeMap::new(),
            deleted: Vec::new(),
        };
        for folder in ["docs", "photos", "old", "target"] {
            case.world.emulator.drive().create_folder(folder);
            case.model.mkdir(folder).expect("free");
        }
        for (path, bytes) in standing() {
            case.world.emulator.drive().create_file(path, bytes.clone());
            case.wrote(path, &bytes);
        }
        case
    }

    fn wrote(&mut self, path: &str, bytes: &[u8]) {
        self.model.write(path, bytes).expect("the reference takes it");
        self.written.entry(path.to_owned()).or_default().push(bytes.to_vec());
    }

    async fn identity(&self) -> Result<DriveIdentity, VolumeError> {
        Ok(URGENCY.scope(Urgency::Interactive, self.remote.identity()).await?)
    }

    /// Opens the drive without its tasks.
    async fn open(&self) -> Running {
        let identity = loop {
            // On a busy machine a deadline of the fast clock is soon over.
            if let Ok(identity) = self.identity().await {
                break identity;
            }
        };
        let core = self.world.open_as(self.remote.clone(), identity, self.world.home.path());
        core.prepare().await;
        Running { core, tasks: TaskGroup::new(self.world.clock.clone()) }
    }

    async fn known(&self, running: &Running) {
        eventually("the drive is known", || async { running.core.index.is_enumerated().expect("an index") }).await;
    }

    /// Does it; each outcome of a call that may need the network, and panics if one that may not fails.
    async fn act(&mut self, operation: Operation, running: &Running, damages: bool) -> Vec<VolumeResult<()>> {
        let user = User(&running.core);
        let content = |result: VolumeResult<Vec<u8>>, expected: &[u8], damages: bool| match result {
            Ok(bytes) if bytes == expected || damages => Ok(()),
            Ok(bytes) => panic!("wrong bytes: {} instead of {}", bytes.len(), expected.len()),
            Err(error) => Err(error),
        };
        let mut outcomes = Vec::new();
        match operation {
            Operation::ListFolder => outcomes.push(user.list("docs").await.map(|names| {
                assert!(damages || names == ["a.txt", "b.txt"], "{names:?}");
            })),
            Operation::ColdRead => outcomes.push(content(user.read("docs/a.txt").await, &pattern(1, 6000), false)),
            Operation::ReadMiddle => {
                let range = BIG / 2..BIG / 2 + 65_536;
                let read = read_range(&user, "photos/big.bin", range.clone()).await;
                // Of a part of a file only TLS can tell that it is right.
                outcomes.push(content(read, &pattern(3, BIG)[range], damages));
            }
            Operation::CreateSmall => {
                let bytes = pattern(10, 7000);
                user.write("docs/new.txt", &bytes).await.expect("writing is local");
                self.wrote("docs/new.txt", &bytes);
            }
            Operation::OverwriteSmall => {
                let bytes = pattern(11, 6500);
                user.write("docs/a.txt", &bytes).await.expect("writing is local");
                self.wrote("docs/a.txt", &bytes);
            }
            Operation::UploadLarge => {
                let bytes = pattern(12, LARGE);
                user.write("photos/large.bin", &bytes).await.expect("writing is local");
                self.wrote("photos/large.bin", &bytes);
            }
            Operation::SaveByRename => {
                let bytes = pattern(13, 6600);
                user.write("docs/a.txt.new", &bytes).await.expect("writing is local");
                user.rename("docs/a.txt.new", "docs/a.txt").await.expect("renaming is local");
                self.written.entry("docs/a.txt.new".into()).or_default().push(bytes.clone());
                self.wrote("docs/a.txt", &bytes);
            }
            Operation::MakeFolder => {
                user.mkdir("docs/made").await.expect("making folders is local");
                self.model.mkdir("docs/made").expect("free");
            }
            Operation::Rename => {
                user.rename("docs/b.txt", "docs/c.txt").await.expect("renaming is local");
                self.model.rename("docs/b.txt", "docs/c.txt").expect("there");
            }
            Operation::Move => {
                user.rename("docs/b.txt", "target/b.txt").await.expect("moving is local");
                self.model.rename("docs/b.txt", "target/b.txt").expect("there");
            }
            Operation::DeleteFile => {
                user.unlink("docs/b.txt").await.expect("deleting is local");
                self.model.unlink("docs/b.txt").expect("there");
                self.deleted.push("b.txt");
            }
            Operation::DeleteFolder => {
                for path in ["old/x", "old/y"] {
                    user.unlink(path).await.expect("deleting is local");
                }
                user.rmdir("old").await.expect("deleting is local");
                self.model.remove_all("old");
                self.deleted.extend(["x", "y", "old"]);
            }
            Operation::Poll => {
                let bytes = pattern(14, 5000);
                self.world.emulator.drive().write_file("docs/elsewhere.txt", bytes.clone());
                self.world.emulator.drive().rename("keep.txt", "docs/kept.txt");
                self.wrote("docs/elsewhere.txt", &bytes);
                self.model.rename("keep.txt", "docs/kept.txt").expect("there");
                // Its errors are the poller's own affair; nobody sees them but in the status.
                let _ = running.core.poller.poll_now().await;
            }
            Operation::Quota => {
                let asked = URGENCY.scope(Urgency::Interactive, running.core.remote.quota()).await;
                outcomes.push(asked.map(drop).map_err(VolumeError::from));
            }
            Operation::EditPart => {
                let mut bytes = pattern(3, BIG);
                bytes[BIG / 2..BIG / 2 + 700].copy_from_slice(&pattern(15, 700));
                user.patch("photos/big.bin", BIG as u64 / 2, &pattern(15, 700)).await.expect("writing is local");
                self.wrote("photos/big.bin", &bytes);
            }
            Operation::FirstMount => unreachable!("it has a way of its own"),
        }
        outcomes
    }

    /// What a desktop does all the time, in a folder that is known. None of it may notice the network: it comes to its end
    /// while no answer of the service reaches anybody. (Its time says nothing: the fast clock runs away from a busy machine.)
    async fn use_metadata(&self, running: &Running, folder: &str, file: &str) {
        let user = User(&running.core);
        let _silence = self.remote.silence();
        let used = async {
            let ino = user.walk(file).await.expect("lookups are local");
            running.core.volume.getattr(ino).await.expect("attributes are local");
            user.list(folder).await.expect("listing a known folder is local");
            running.core.volume.space();
            user.write("scratch.txt", b"scratch").await.expect("creating is local");
            user.rename("scratch.txt", "scratch2.txt").await.expect("renaming is local");
            user.mkdir("scratch").await.expect("making folders is local");
            user.rmdir("scratch").await.expect("removing folders is local");
            user.unlink("scratch2.txt").await.expect("removing is local");
        };
        tokio::time::timeout(Duration::from_secs(60), used).await.expect("metadata waits for the network");
    }

    /// Both sides have what the reference has, and nothing happened that nobody wanted.
    async fn converge(&self, running: &Running, trouble: &Trouble) {
        let core = &running.core;
        let over = Instant::now();
        let mut session_may_hold = self.world.side.flavour == Flavour::Business;
        eventually("the queue drains", || {
            if session_may_hold && over.elapsed() > Duration::from_secs(20) {
                // A work drive keeps a name taken for a quarter of an hour by an upload session whose address was lost on
                // the way. That time is over now.
                session_may_hold = false;
                self.world.emulator.drive().lose_sessions();
            }
            let (waiting, parked_now) = core.journal.backlog();
            if parked_now > 0 {
                let texts: Vec<String> = core.journal.view(|overlay| {
                    let stuck = overlay.iter().filter(|intent| matches!(intent.progress, Progress::Parked(_)));
                    stuck.map(|intent| format!("{}: {:?}", intent.name, intent.last_error)).collect()
                });
                // A service that refuses the rest of an edited file, or has it no more, is believed: it waits for the user.
                let refuses = |error: VolumeError| (trouble.fits)(&error);
                let is_of_rest = |text: &String| {
                    (text.contains("replaced elsewhere before the part of it") && refuses(VolumeError::Stale))
                        || (text.contains("cannot read content") && refuses(VolumeError::Denied(String::new())))
                };
                assert!(trouble.parks || texts.iter().all(is_of_rest), "parked: {texts:?}");
                assert!(texts.iter().all(|text| !text.ends_with("None")), "parked without a word: {texts:?}");
                let inos: Vec<Ino> = core.journal.view(|overlay| overlay.iter().map(|intent| intent.ino).collect());
                for ino in inos {
                    core.journal.retry(ino).expect("the journal takes it");
                }
            }
            std::future::ready(waiting + parked_now == 0)
        })
        .await;
        let begun = Instant::now();
        while cloud_tree(self.world.emulator.drive()) != self.model.0 {
            if begun.elapsed() > Duration::from_secs(60) {
                let cloud = cloud_tree(self.world.emulator.drive());
                panic!("the cloud never has the tree: {}", crate::kills::difference(&cloud, &self.model));
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        eventually("this side has the tree", || async {
            let _ = core.poller.poll_now().await;
            local_tree_of(&running.core).await.is_ok_and(|tree| tree == self.model.0)
        })
        .await;
        // What was damaged on the way here is no excuse for what is sent.
        self.nothing_unwanted(trouble.damages && !matches!(trouble.means, Means::Corrupt));
    }

    fn nothing_unwanted(&self, damages: bool) {
        let drive = self.world.emulator.drive();
        for (path, node) in &self.model.0 {
            if let Node::Folder = node {
                continue;
            }
            let contents: Vec<&Vec<u8>> = self.written.values().flatten().collect();
            for version in drive.versions(path) {
                assert!(
                    damages || contents.contains(&&version),
                    "{path} had a version of {} bytes nobody wrote",
                    version.len()
                );
            }
        }
        for item in drive.recycle_bin() {
            // A temporary file that was slower than the debounce on a busy machine, and then gave its bytes to another.
            let gave_way = self.written.contains_key("docs/a.txt.new") && item.name == "a.txt.new";
            let scratch = item.name.starts_with("scratch") || gave_way;
            assert!(scratch || self.deleted.contains(&item.name.as_str()), "{} was deleted", item.name);
        }
        let ours = |name: &&str| drive.recycle_bin().iter().any(|item| item.name == **name);
        assert!(self.deleted.iter().all(ours), "not everything went to the recycle bin");
    }
}

/// Whether the error is one that this trouble explains. A deadline explains itself: on a busy machine the fast clock
/// runs ahead of everything.
fn fits(trouble: &Trouble, error: &VolumeError) -> bool {
    (trouble.fits)(error) || matches!(error, VolumeError::TimedOut | VolumeError::Offline)
}

async fn read_range(user: &User<'_>, path: &str, range: std::ops::Range<usize>) -> VolumeResult<Vec<u8>> {
    let volume = &user.0.volume;
    let ino: Ino = user.walk(path).await?;
    let fh = volume.open(ino, OpenHow { read: true, ..OpenHow::default() }).await?.fh;
    let read = volume.read(ino, fh, range.start as u64, range.len() as u32).await;
    volume.release(ino, fh);
    read.map(|bytes| bytes.to_vec())
}

/// What came of a case that failed nowhere.
struct Met {
    /// The trouble met a request.
    trouble: bool,
    /// Metadata was used while it lasted.
    metadata: bool,
}

/// One case.
async fn play(side: Side, trouble: &Trouble, operation: Operation, extent: Extent) -> Met {
    let mut case = Case::new(side).await;
    let aims = operation.aims(side);
    case.remote.take();
    let (running, struck, metadata) = if operation == Operation::FirstMount {
        let made = trouble.begin(&case.world.emulator, &case.tokens, aims, extent);
        let begun = case.clock.monotonic();
        let mut made = Some(made);
        let (mut struck, mut over) = (false, None);
        let identity = loop {
            match case.identity().await {
                Ok(identity) => break identity,
                Err(error) => {
                    // A host that was out of reach is tried again within a second or two.
                    let late = over.is_some_and(|over: Instant| over.elapsed() > Duration::from_secs(10));
                    assert!(!late, "the trouble is over: {error}");
                    assert!(fits(trouble, &error), "{error:?}");
                    case.clock.sleep(Duration::from_secs(1)).await;
                    if case.clock.monotonic().since(begun) > LASTING
                        && let Some(made) = made.take()
                    {
                        struck = made.end(&case.world.emulator, &case.tokens);
                        over = Some(Instant::now());
                    }
                }
            }
        };
        let core = case.world.open_as(case.remote.clone(), identity, case.world.home.path());
        core.prepare().await;
        let running = Running { core, tasks: TaskGroup::new(case.world.clock.clone()) };
        running.core.spawn_tasks(&running.tasks);
        let known = User(&running.core).list("").await;
        assert!(known.as_ref().err().is_none_or(|error| fits(trouble, error)), "{known:?}");
        // What is known of a drive that was listed wrong is not what is in it.
        let metadata = known.is_ok() && !trouble.damages;
        if metadata {
            case.use_metadata(&running, "", "keep.txt").await;
        }
        let rest = LASTING.saturating_sub(case.clock.monotonic().since(begun));
        case.clock.sleep(rest).await;
        struck |= made.is_some_and(|made| made.end(&case.world.emulator, &case.tokens));
        (running, struck, metadata)
    } else {
        let running = case.open().await;
        if operation == Operation::ListFolder {
            while User(&running.core).list("").await.is_err() {}
        } else {
            running.core.spawn_tasks(&running.tasks);
            case.known(&running).await;
        }
        // What stands in the cloud shall be old by then.
        case.clock.sleep(Duration::from_secs(8)).await;
        let made = trouble.begin(&case.world.emulator, &case.tokens, aims, extent);
        // Doors open and close a moment later.
        tokio::time::sleep(Duration::from_millis(10)).await;
        case.remote.take();
        let begun = case.clock.monotonic();
        let mut done = true;
        for outcome in case.act(operation, &running, trouble.damages).await {
            if let Err(error) = outcome {
                assert!(fits(trouble, &error), "{error:?}");
                done = false;
            }
        }
        if operation != Operation::ListFolder {
            case.use_metadata(&running, "photos", "photos/big.bin").await;
        } else {
            let right = done && !trouble.damages;
            let (folder, file) = if right { ("docs", "docs/a.txt") } else { ("", "keep.txt") };
            case.use_metadata(&running, folder, file).await;
            running.core.spawn_tasks(&running.tasks);
        }
        let wanted = if extent == Extent::Lasting { LASTING } else { Duration::from_secs(3) };
        case.clock.sleep(wanted.saturating_sub(case.clock.monotonic().since(begun))).await;
        if matches!(operation, Operation::UploadLarge | Operation::EditPart) {
            // On a busy machine the fragment that it waits for, or the download, may not have had its turn.
            let late = Instant::now() + Duration::from_secs(20);
            while !made.struck(&case.world.emulator)
                && running.core.journal.backlog() != (0, 0)
                && Instant::now() < late
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        (running, made.end(&case.world.emulator, &case.tokens), true)
    };
    let asked: Vec<_> = case.remote.take().into_iter().map(|(asked, _)| asked).collect();
    case.converge(&running, trouble).await;
    running.stop().await;
    Met { trouble: struck && trouble.meets(&asked), metadata }
}

#[test]
fn nothing_is_lost_whatever_fails() {
    try_all(Side::PERSONAL, trouble::all());
}

#[test]
fn nothing_is_lost_whatever_fails_on_a_work_drive() {
    try_all(Side::BUSINESS, trouble::all());
}

#[test]
fn nothing_is_lost_whatever_fails_behind_live_connect() {
    try_all(Side::LIVE, trouble::live());
}

fn try_all(side: Side, troubles: Vec<Trouble>) {
    let full = std::env::var("FAULT_MATRIX").is_ok_and(|value| value == "full");
    let only = std::env::var("FAULT_MATRIX_ONLY").unwrap_or_default();
    let mut cases = Vec::new();
    for (row, trouble) in troubles.into_iter().map(Arc::new).enumerate() {
        for (column, operation) in OPERATIONS.into_iter().enumerate() {
            for (number, extent) in EXTENTS.into_iter().enumerate() {
                let name = format!("{} / {operation:?} / {extent:?}", trouble.name);
                // What is behind them is the same, and each further kind of drive costs as much time as the first.
                let aimed = matches!(trouble.means, Means::At(..));
                let one_in = match (side.live, side.flavour) {
                    (true, _) => 2,
                    (false, Flavour::Business) => 4,
                    (false, _) => 1,
                };
                let drawn = aimed || (row + column / 3) % one_in == 0;
                let turn = (row + column) % EXTENTS.len() == number && drawn;
                if (full || turn) && name.contains(&only) {
                    cases.push((name, trouble.clone(), operation, extent));
                }
            }
        }
    }
    let total = cases.len();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (mut met, mut used, mut failures) = (0, 0, Vec::new());
    // A row that never meets a request tries nothing.
    let mut met_by_row: BTreeMap<&'static str, bool> = BTreeMap::new();
    runtime.block_on(async {
        let mut running = futures_util::stream::iter(cases)
            .map(|(name, trouble, operation, extent)| async move {
                let row = trouble.name;
                (row, name, tokio::spawn(async move { play(side, &trouble, operation, extent).await }).await)
            })
            .buffer_unordered(8);
        while let Some((row, name, outcome)) = running.next().await {
            match outcome {
                Ok(case) => {
                    *met_by_row.entry(row).or_default() |= case.trouble;
                    met += usize::from(case.trouble);
                    used += usize::from(case.metadata);
                }
                Err(lost) => failures.push(match lost.try_into_panic() {
                    Ok(panic) => format!("{name}: {}", text(&*panic)),
                    Err(lost) => format!("{name}: {lost}"),
                }),
            }
        }
    });
    println!("faults x operations, {side:?}: {met} cases met by the trouble, {} failed", failures.len());
    println!("{total} cases tried; metadata was used without any answer of the service in {used}");
    failures.sort();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let never: Vec<&str> = met_by_row.iter().filter(|(_, met)| !**met).map(|(row, _)| *row).collect();
    assert!(never.is_empty() || !only.is_empty(), "no request ever met {never:?}");
}

fn text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
