//! A long day: a real mount under random load, with random trouble, a second device, a folder that somebody shares with
//! our user, deaths of the daemon, and a rest now and then.
//!
//! While it works no call on metadata may be slow and the daemon answers its control socket at any time. At each rest
//! the tree is exactly the one that everybody has made, here and in the cloud, nothing waits, and the daemon has not
//! grown: not its memory, not its open files, not its threads.
//!
//! `SOAK_MINUTES` says for how long (`contrib/soak.sh MINUTES`). `SOAK_SEED` draws the same operations, troubles and
//! contents for each of those who work; how these meet is up to the machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use onedrive_mount::emulator::DriveHandle;

use crate::kills::{Case, TALKATIVE, Work, difference, step};
use crate::mount_model::local_tree;
use crate::world::generated::{self, Dice, Source};
use crate::world::model::{Model, Node};
use crate::world::mount::{Home, Mount, Start};
use crate::world::ops::{Op, Remote, call, cloud_tree, op, play_elsewhere};
use crate::world::service::Service;
use crate::world::side::Side;
use crate::world::trouble::{self, EXTENTS, Extent, Issued, Means, Trouble};

/// Longer than any call on metadata may take on a busy machine; what is really met is reported.
const PATIENCE: Duration = Duration::from_secs(20);

/// What happened, for the report.
#[derive(Default)]
struct Tally {
    calls: AtomicU64,
    bytes: AtomicU64,
    elsewhere: AtomicU64,
    troubles: AtomicU64,
    struck: AtomicU64,
    asked: AtomicU64,
    /// The longest call on metadata, in microseconds.
    longest: AtomicU64,
}

/// What the daemon uses.
#[derive(Clone, Copy, Debug)]
struct Use {
    resident_kib: u64,
    descriptors: usize,
    threads: usize,
}

impl Use {
    fn of(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the daemon lives");
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0");
            line.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        Self {
            resident_kib: number("VmRSS:"),
            descriptors: fs::read_dir(format!("/proc/{process}/fd")).expect("the daemon lives").count(),
            threads: number("Threads:") as usize,
        }
    }

    /// Whether it has grown since it was warm: by more than half and what one more cached listing or connection takes.
    fn has_grown(self, warm: Self) -> bool {
        self.resident_kib > warm.resident_kib * 3 / 2 + (40 << 10)
            || self.descriptors > warm.descriptors + 20
            || self.threads > warm.threads + 10
    }
}

/// One who works until the rest.
struct Shift<'a> {
    top: &'a Path,
    until: Instant,
    /// Somebody has found a fault: the others end, so that what led to it stays at the end of the log.
    ends: AtomicBool,
    tally: &'a Tally,
}

impl Shift<'_> {
    fn is_over(&self) -> bool {
        self.ends.load(Ordering::Relaxed) || Instant::now() >= self.until
    }

    /// What one of them does in a shift.
    fn work(&self, work: impl FnOnce()) {
        struct Alarm<'a>(&'a AtomicBool);
        impl Drop for Alarm<'_> {
            fn drop(&mut self) {
                self.0.fetch_or(std::thread::panicking(), Ordering::Relaxed);
            }
        }
        let _alarm = Alarm(&self.ends);
        work();
    }

    fn count(&self, bytes: usize) {
        self.tally.calls.fetch_add(1, Ordering::Relaxed);
        self.tally.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Operations below a folder.
fn below(folder: &str, op: Op) -> Option<Op> {
    let at = |path: String| format!("{folder}/{path}");
    Some(match op {
        Op::Mkdir(path) => Op::Mkdir(at(path)),
        Op::Write(path, bytes) => Op::Write(at(path), bytes),
        Op::Patch(path, offset, bytes) => Op::Patch(at(path), offset, bytes),
        Op::Unlink(path) => Op::Unlink(at(path)),
        Op::Rmdir(path) => Op::Rmdir(at(path)),
        Op::Rename(from, to) => Op::Rename(at(from), at(to)),
        Op::Save(path, bytes) => Op::Save(at(path), bytes),
        _ => return None,
    })
}

fn elsewhere_below(folder: &str, op: Op) -> Option<Remote> {
    let at = |path: String| format!("{folder}/{path}");
    let Op::Elsewhere(remote) = op else { return None };
    Some(match remote {
        Remote::Write(path, bytes) => Remote::Write(at(path), bytes),
        Remote::Mkdir(path) => Remote::Mkdir(at(path)),
        Remote::Remove(path) => Remote::Remove(at(path)),
        Remote::Rename(from, to) => Remote::Rename(at(from), at(to)),
    })
}

/// Edits, saves, moves and deletes, as the model says.
fn editor(shift: &Shift<'_>, seed: u64, work: &Mutex<Work>) {
    let mut source = Source::new(call(), seed);
    while !shift.is_over() {
        if let Some(op) = below("mine", source.draw()) {
            assert!(step(shift.top, &op, work), "the mount died");
            shift.count(40);
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Writes large files from one end to the other, reads them again, keeps the last three.
fn streamer(shift: &Shift<'_>, dice: &mut Dice, files: &mut BTreeMap<String, Node>) {
    while !shift.is_over() {
        let (seed, length) = (dice.index(251) as u8, (1 << 20) * (1 + dice.index(12)) + dice.index(5000));
        let bytes: Vec<u8> = (0..length as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 23) as u8 ^ seed).collect();
        let path = format!("stream/film {}", dice.index(1000));
        fs::write(shift.top.join(&path), &bytes).expect("writing never needs the network");
        assert!(
            fs::read(shift.top.join(&path)).expect("its bytes are here") == bytes,
            "{path} is not what was written"
        );
        shift.count(2 * length);
        files.insert(path, Node::File(bytes));
        while files.len() > 3 {
            let oldest = files.keys().nth(dice.index(files.len())).cloned().expect("one");
            fs::remove_file(shift.top.join(&oldest)).expect("removes");
            files.remove(&oldest);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Makes trees of many small files, walks them, removes them, as builds and checkouts do.
fn builder(shift: &Shift<'_>, dice: &mut Dice, files: &mut BTreeMap<String, Node>) {
    while !shift.is_over() {
        if dice.index(3) == 0 && !files.is_empty() {
            fs::remove_dir_all(shift.top.join("tree/build")).expect("removes a tree");
            shift.count(0);
            files.clear();
        }
        for folder in 0..4 {
            let folder = format!("tree/build/part {folder}");
            fs::create_dir_all(shift.top.join(&folder)).expect("makes a folder");
            files.insert("tree/build".into(), Node::Folder);
            files.insert(folder.clone(), Node::Folder);
            for number in 0..12 {
                let bytes = format!("{} {}", dice.index(1 << 30), "x".repeat(dice.index(3000))).into_bytes();
                let path = format!("{folder}/object {number}.o");
                fs::write(shift.top.join(&path), &bytes).expect("writes");
                shift.count(bytes.len());
                files.insert(path, Node::File(bytes));
            }
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The second device; and our user looks at what it does, which may fail while there is trouble.
fn guest(shift: &Shift<'_>, seed: u64, service: &Service, model: &mut Model) {
    let mut source = Source::new(op(), seed);
    while !shift.is_over() {
        if let Some(remote) = elsewhere_below("guest", source.draw()) {
            play_elsewhere(service.drive(), model, &remote);
            shift.tally.elsewhere.fetch_add(1, Ordering::Relaxed);
            let _ = local_tree(&shift.top.join("guest"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One trouble after the other.
fn devil(shift: &Shift<'_>, service: &Service, issued: &Issued, troubles: &[Trouble], dice: &mut Dice) {
    while !shift.is_over() {
        let trouble = &troubles[dice.index(troubles.len())];
        let extent = EXTENTS[dice.index(EXTENTS.len())];
        let made = service.block_on(async { trouble.begin(service.emulator(), issued, trouble::EVERYTHING, extent) });
        let long = if extent == Extent::Lasting { 1500 } else { 400 };
        std::thread::sleep(Duration::from_millis(long + dice.index(1000) as u64));
        let struck = service.block_on(async { made.end(service.emulator(), issued) });
        shift.tally.troubles.fetch_add(1, Ordering::Relaxed);
        shift.tally.struck.fetch_add(u64::from(struck), Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(dice.index(800) as u64));
    }
}

/// Somebody with a file manager open, and one who asks how it is going.
fn watcher(shift: &Shift<'_>, home: &Home) {
    let mut next = Instant::now();
    while !shift.is_over() {
        let began = Instant::now();
        let _ = fs::read_dir(shift.top.join("mine")).map(Iterator::count);
        let _ = fs::symlink_metadata(shift.top.join("tree/build/part 1/object 3.o"));
        let took = began.elapsed();
        assert!(took < PATIENCE, "a look at metadata took {took:?}");
        shift.tally.longest.fetch_max(took.as_micros() as u64, Ordering::Relaxed);
        if Instant::now() >= next {
            next = Instant::now() + Duration::from_secs(5);
            let began = Instant::now();
            let said = home.command(env!("CARGO_BIN_EXE_onedrive-cli")).args(["status", "--json"]).output();
            let said = said.expect("onedrive-cli runs");
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
            assert!(began.elapsed() < PATIENCE, "status took {:?}", began.elapsed());
            shift.tally.asked.fetch_add(1, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The folder that somebody shares with our user, as it is in their drive and as our user sees it.
struct Shared {
    drive: DriveHandle,
}

impl Shared {
    const NAME: &str = "From Bob";

    /// None over Live Connect, where what others share is not part of the drive.
    fn new(service: &Service, side: Side) -> Option<Self> {
        if side.live {
            return None;
        }
        let drive = service.emulator().add_drive(side.flavour, 2, "Bob");
        drive.create_folder("/Theirs");
        service.drive().add_shortcut(&format!("/{}", Self::NAME), &drive, "/Theirs");
        Some(Self { drive })
    }

    /// What our user shall see of it.
    fn tree(&self) -> BTreeMap<String, Node> {
        cloud_tree(&self.drive)
            .into_iter()
            .filter_map(|(path, node)| Some((path.strip_prefix("Theirs/")?.to_owned(), node)))
            .collect()
    }
}

/// Bob works in the folder, and our user reads what he has.
fn bob(shift: &Shift<'_>, dice: &mut Dice, shared: &Shared) {
    while !shift.is_over() {
        let path = format!("/Theirs/note {}", dice.index(6));
        if dice.index(4) == 0 {
            shared.drive.remove(&path);
        } else {
            shared.drive.write_file(&path, "words ".repeat(1 + dice.index(400)));
        }
        shift.tally.elsewhere.fetch_add(1, Ordering::Relaxed);
        // May fail while there is trouble.
        let _ = local_tree(&shift.top.join(Shared::NAME));
        std::thread::sleep(Duration::from_millis(60));
    }
}

/// What our user sees, without what belongs to somebody else.
fn own_tree(top: &Path) -> std::io::Result<BTreeMap<String, Node>> {
    let below = format!("{}/", Shared::NAME);
    let tree = local_tree(top)?;
    Ok(tree.into_iter().filter(|(path, _)| path != Shared::NAME && !path.starts_with(&below)).collect())
}

/// Waits until everybody sees the same.
fn come_to_rest(
    (home, service, shared): (&Home, &Service, Option<&Shared>),
    (mount, said): (&Mount, &str),
    expected: &BTreeMap<String, Node>,
    history: &[String],
) {
    let says = |arguments: &[&str]| {
        let said =
            home.command(env!("CARGO_BIN_EXE_onedrive-cli")).args(arguments).output().expect("onedrive-cli runs");
        said.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&said.stderr).into_owned())
    };
    let told =
        |what: String| format!("{what}{}", Case { service, home, history }.told(&format!("{said}{}", mount.log())));
    let rest = || {
        says(&["retry"])?;
        if says(&["wait", "--timeout", "60s"]).is_err() {
            // A work drive keeps a name taken for a quarter of an hour by an upload session whose address was lost with
            // the answer. That time is over now.
            service.drive().lose_sessions();
            says(&["retry"])?;
        }
        says(&["wait", "--timeout", "240s"])
    };
    rest().unwrap_or_else(|error| panic!("{}", told(error)));
    let expected = Model(expected.clone());
    let began = Instant::now();
    loop {
        let here = own_tree(mount.at());
        let mut cloud = cloud_tree(service.drive());
        cloud.remove(Shared::NAME);
        let theirs = shared.map_or(Ok(BTreeMap::new()), |_| local_tree(&mount.path(Shared::NAME)));
        let bobs = shared.map(Shared::tree).unwrap_or_default();
        if here.as_ref().is_ok_and(|here| *here == expected.0)
            && cloud == expected.0
            && theirs.as_ref().is_ok_and(|theirs| *theirs == bobs)
        {
            return;
        }
        if began.elapsed() > Duration::from_secs(90) {
            let differs = |tree: std::io::Result<BTreeMap<String, Node>>, wanted: &Model| {
                tree.map_or_else(|error| error.to_string(), |tree| difference(&tree, wanted))
            };
            let (here, cloud) = (differs(here, &expected), difference(&cloud, &expected));
            let shared = differs(theirs, &Model(bobs));
            panic!("{}", told(format!("not the same everywhere\nhere: {here}\ncloud: {cloud}\nshared: {shared}")));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Which troubles there can be: all but those after which our user has to sign in again, or that change bytes so that
/// nobody but TLS can tell.
fn troubles(side: Side) -> Vec<Trouble> {
    let all = if side.live { trouble::live() } else { trouble::all() };
    all.into_iter().filter(|trouble| !trouble.damages && !matches!(trouble.means, Means::TokensRevoked)).collect()
}

fn soak(side: Side, long: Duration) {
    /// How many rests there are at least; a daemon lives through half of them.
    const RESTS: u32 = 8;
    let seed = generated::seed("SOAK_SEED");
    let service = Service::new(side);
    let home = service.home("upload:\n  debounce: 100ms\n  fragment_size: 640 KiB\nguard:\n  burst: 1000000\n");
    let watchdog = long * 3 + Duration::from_secs(900);
    let start = || Start::with(TALKATIVE).watchdog(watchdog).mount(&home);
    let shared = Shared::new(&service, side);
    let mut mount = start();
    let issued = Issued::new(service.emulator(), side);
    let troubles = troubles(side);

    let tally = Tally::default();
    let mut mine = Model::default();
    let mut guests = Model::default();
    guests.mkdir("guest").expect("a folder");
    service.drive().create_folder("/guest");
    let (mut films, mut builds) = (BTreeMap::new(), BTreeMap::new());
    for folder in ["mine", "stream", "tree"] {
        fs::create_dir(mount.path(folder)).expect("a folder");
    }
    mine.mkdir("mine").expect("a folder");

    let phase = (long / RESTS).clamp(Duration::from_secs(3), Duration::from_secs(150));
    let started = Instant::now();
    // What the daemon used at each rest since it was started last.
    let mut uses: Vec<(Duration, Use)> = Vec::new();
    let (mut turn, mut deaths) = (0u64, 0);
    // What the daemon that was killed had said.
    let mut said = String::new();
    while started.elapsed() < long || turn < u64::from(RESTS) {
        turn += 1;
        let work = Mutex::new(Work::on(mine));
        let (until, ends) = (Instant::now() + phase, AtomicBool::new(false));
        let shift = Shift { top: mount.at(), until, ends, tally: &tally };
        let drawn = seed ^ turn << 8;
        let mut dice: Vec<Dice> = (0..4).map(|who| Dice(drawn ^ who << 40)).collect();
        let [streams, trees, devils, bobs] = dice.as_mut_slice() else { unreachable!("four were made") };
        let all_work = || {
            std::thread::scope(|scope| {
                scope.spawn(|| shift.work(|| editor(&shift, drawn, &work)));
                scope.spawn(|| shift.work(|| streamer(&shift, streams, &mut films)));
                scope.spawn(|| shift.work(|| builder(&shift, trees, &mut builds)));
                scope.spawn(|| shift.work(|| guest(&shift, drawn, &service, &mut guests)));
                scope.spawn(|| shift.work(|| shared.iter().for_each(|shared| bob(&shift, bobs, shared))));
                scope.spawn(|| shift.work(|| devil(&shift, &service, &issued, &troubles, devils)));
                scope.spawn(|| shift.work(|| watcher(&shift, &home)));
            })
        };
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(all_work)) {
            let work = work.lock().unwrap_or_else(PoisonError::into_inner);
            eprintln!("{}", Case { service: &service, home: &home, history: &work.done }.told(&mount.log()));
            std::panic::resume_unwind(panic);
        }
        let Work { model, mut done, .. } = work.into_inner().expect("no panic");
        mine = model;
        // In the first half the daemon dies in the middle of its uploads, every second time; then it has to live.
        let half = if turn <= u64::from(RESTS) { turn * 2 <= u64::from(RESTS) } else { started.elapsed() < long / 2 };
        if half && turn.is_multiple_of(2) {
            said = mount.log();
            mount.crash();
            mount = start();
            deaths += 1;
            uses.clear();
            done.push("killed".into());
        }
        let mut expected = mine.0.clone();
        expected.extend(guests.0.clone());
        expected.insert("stream".into(), Node::Folder);
        expected.insert("tree".into(), Node::Folder);
        expected.extend(films.clone());
        expected.extend(builds.clone());
        come_to_rest((&home, &service, shared.as_ref()), (&mount, &said), &expected, &done);
        service.emulator().forget_requests();
        said.clear();
        let mut used = Use::of(mount.process());
        if let [_, (_, warm), ..] = uses.as_slice() {
            // On a busy machine more work that blocks is under way at a time; its threads end ten seconds after the last.
            for _ in 0..20 {
                if !used.has_grown(*warm) {
                    break;
                }
                std::thread::sleep(Duration::from_secs(1));
                used = Use::of(mount.process());
            }
        }
        uses.push((started.elapsed(), used));
    }

    for (at, used) in &uses {
        println!(
            "  after {:>5} s: {:>6} KiB resident, {:>3} descriptors, {:>3} threads",
            at.as_secs(),
            used.resident_kib,
            used.descriptors,
            used.threads
        );
    }
    // The first two rests of a life belong to warming up: caches fill, connections open.
    let [_, (_, warm), .., (_, last)] = uses.as_slice() else {
        panic!("too few rests to say whether it grows: {uses:?}")
    };
    assert!(uses.len() >= 4 && !last.has_grown(*warm), "it grows: {uses:?}");
    assert!(mount.stop().success());
    println!(
        "soak, {side:?}: {} seconds, {turn} rests, the same everywhere at each, {deaths} deaths, 0 lost",
        started.elapsed().as_secs()
    );
    println!(
        "  {} calls, {} MiB; {} changes elsewhere; {} troubles, {} of them met; status asked {} times; longest look at \
         metadata {} ms",
        tally.calls.into_inner(),
        tally.bytes.into_inner() >> 20,
        tally.elsewhere.into_inner(),
        tally.troubles.into_inner(),
        tally.struck.into_inner(),
        tally.asked.into_inner(),
        tally.longest.into_inner() / 1000
    );
}

/// How long each of the tests below works.
fn asked_for() -> Duration {
    // They run one after the other or at the same time, as the machine has it; together they are as long as was asked.
    Duration::from_secs_f64(generated::asked("SOAK_MINUTES").unwrap_or(1.2) * 60.0 / 3.0)
}

#[test]
#[ignore = "as long as is asked for, and never twice the same; contrib/soak.sh runs it"]
fn a_day_of_work_trouble_and_others_ends_with_the_same_tree_everywhere_on_a_personal_drive() {
    soak(Side::PERSONAL, asked_for());
}

#[test]
#[ignore = "as long as is asked for, and never twice the same; contrib/soak.sh runs it"]
fn a_day_of_work_trouble_and_others_ends_with_the_same_tree_everywhere_on_a_business_drive() {
    soak(Side::BUSINESS, asked_for());
}

#[test]
#[ignore = "as long as is asked for, and never twice the same; contrib/soak.sh runs it"]
fn a_day_of_work_trouble_and_others_ends_with_the_same_tree_everywhere_on_live_connect() {
    soak(Side::LIVE, asked_for());
}
