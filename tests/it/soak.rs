//! A long day: a real mount under random load, with random trouble and a second device, and a rest now and then.
//!
//! While it works no call on metadata may be slow and the daemon answers its control socket at any time. At each rest
//! the tree is exactly the one that everybody has made, here and in the cloud, nothing waits, and the daemon has not
//! grown: not its memory, not its open files, not its threads.
//!
//! Not part of the usual run yet: it still finds faults that are open. Under lasting trouble names that our user has
//! renamed are sometimes found under the name before, and when the service shows states from before our own change
//! (`ReadLag`, delayed feeds) our own versions are taken for somebody else's and kept as conflict copies. No content was
//! lost in any run.
//!
//! `SOAK_MINUTES` says for how long (`contrib/soak.sh MINUTES`), `SOAK_SEED` repeats a run as far as threads allow.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use onedrive_mount::emulator::Flavour;

use crate::kills::{Work, difference, step};
use crate::mount_model::local_tree;
use crate::world::generated::{self, Dice, Source};
use crate::world::model::{Model, Node};
use crate::world::mount::{Home, Mount, Start};
use crate::world::ops::{Op, Remote, call, cloud_tree, op, play_elsewhere};
use crate::world::service::{Service, wait_until_uploaded};
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
    tally: &'a Tally,
}

impl Shift<'_> {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
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
        let aims =
            [("*", "*", onedrive_mount::emulator::Host::Graph), ("*", "*", onedrive_mount::emulator::Host::Storage)];
        let made = service.block_on(async { trouble.begin(service.emulator(), issued, &aims, extent) });
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

/// Waits until everybody sees the same.
fn come_to_rest(home: &Home, service: &Service, mount: &Mount, expected: &BTreeMap<String, Node>) {
    let retried = home.command(env!("CARGO_BIN_EXE_onedrive-cli")).arg("retry").output().expect("onedrive-cli runs");
    assert!(retried.status.success(), "{}", String::from_utf8_lossy(&retried.stderr));
    wait_until_uploaded(home);
    let expected = Model(expected.clone());
    let began = Instant::now();
    loop {
        let here = local_tree(mount.at());
        let cloud = cloud_tree(service.drive());
        if here.as_ref().is_ok_and(|here| *here == expected.0) && cloud == expected.0 {
            return;
        }
        if began.elapsed() > Duration::from_secs(90) {
            panic!(
                "not the same everywhere\nhere: {}\ncloud: {}\n{}",
                here.map_or_else(|error| error.to_string(), |here| difference(&here, &expected)),
                difference(&cloud, &expected),
                mount.log().lines().rev().take(60).collect::<Vec<_>>().join("\n")
            );
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn soak(flavour: Flavour, long: Duration) {
    let seed = generated::seed("SOAK_SEED");
    let service = Service::new(flavour);
    let home = service.home("upload:\n  debounce: 100ms\nguard:\n  burst: 1000000\n");
    let watchdog = long * 2 + Duration::from_secs(600);
    let mount = Start::with(Vec::<String>::new()).watchdog(watchdog).mount(&home);
    let issued = Issued::new(service.emulator());
    let troubles: Vec<Trouble> = trouble::all()
        .into_iter()
        .filter(|trouble| {
            !trouble.parks
                && !trouble.damages
                && !matches!(
                    trouble.means,
                    Means::TokensRevoked | Means::ReadLag | Means::Delta(_) | Means::PatchIgnored
                )
        })
        .collect();

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

    let phase = (long / 8).clamp(Duration::from_secs(6), Duration::from_secs(150));
    let started = Instant::now();
    let mut uses: Vec<(Duration, Use)> = Vec::new();
    let mut turn = 0;
    while started.elapsed() < long {
        turn += 1;
        let work = Mutex::new(Work { model: mine, under_way: None });
        let shift = Shift { top: mount.at(), until: Instant::now() + phase, tally: &tally };
        let drawn = seed ^ turn << 8;
        let mut dice: Vec<Dice> = (0..3).map(|who| Dice(drawn ^ who << 40)).collect();
        let [streams, trees, devils] = dice.as_mut_slice() else { unreachable!("three were made") };
        std::thread::scope(|scope| {
            scope.spawn(|| editor(&shift, drawn, &work));
            scope.spawn(|| streamer(&shift, streams, &mut films));
            scope.spawn(|| builder(&shift, trees, &mut builds));
            scope.spawn(|| guest(&shift, drawn, &service, &mut guests));
            scope.spawn(|| devil(&shift, &service, &issued, &troubles, devils));
            scope.spawn(|| watcher(&shift, &home));
        });
        mine = work.into_inner().expect("no panic").model;
        let mut expected = mine.0.clone();
        expected.extend(guests.0.clone());
        expected.insert("stream".into(), Node::Folder);
        expected.insert("tree".into(), Node::Folder);
        expected.extend(films.clone());
        expected.extend(builds.clone());
        come_to_rest(&home, &service, &mount, &expected);
        service.emulator().forget_requests();
        uses.push((started.elapsed(), Use::of(mount.process())));
    }

    println!("soak, {flavour:?}: {} minutes, {} rests, the same everywhere at each", long.as_secs() / 60, uses.len());
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
    for (at, used) in &uses {
        println!(
            "  after {:>5} s: {:>6} KiB resident, {:>3} descriptors, {:>3} threads",
            at.as_secs(),
            used.resident_kib,
            used.descriptors,
            used.threads
        );
    }
    // The first two rests belong to warming up: caches fill, connections open.
    match uses.as_slice() {
        [_, (_, warm), .., (_, last)] => assert!(!last.has_grown(*warm), "it grows: {uses:?}"),
        _ => println!("too short to say whether it grows: that takes three rests"),
    }
    assert!(mount.stop().success());
    println!("soak, {flavour:?}: 0 lost");
}

#[test]
#[ignore = "finds faults that are open, see above; run it with contrib/soak.sh"]
fn a_day_of_work_trouble_and_a_second_device_ends_with_the_same_tree_everywhere() {
    let minutes: f64 = generated::asked("SOAK_MINUTES").unwrap_or(0.4);
    soak(Flavour::PersonalNew, Duration::from_secs_f64(minutes * 60.0));
}
