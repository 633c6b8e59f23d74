//! Bits flip, sectors go blank, files are cut, blocks change places, in every file the program keeps; then it starts
//! again, with work pending. Whatever happens:
//!
//! - no wrong byte is read and none is sent: what a path reads is what was once written there;
//! - it starts;
//! - what the cloud has a copy of comes back from it: cached content, its maps, the index;
//! - pending work arrives, or it is parked or kept where the user sees it, or the loss of its record is said aloud;
//! - nothing is deleted that nobody deleted.
//!
//! `FLIPS=2000 FLIP_SEED=1 cargo test --test it -- bit_flips --nocapture` tries more and prints the table.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onedrive_mount::emulator::{DriveHandle, Fault, Rule, When};

use crate::volume_model::local_tree_of;
use crate::world::generated::{Dice, asked};
use crate::world::model::Node;
use crate::world::ops::cloud_tree;
use crate::world::side::Side;
use crate::world::{Running, User, World, eventually};

fn content(length: usize, seed: u32) -> Vec<u8> {
    (0..length as u32).map(|i| ((i ^ seed).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 23) as u8).collect()
}

/// What may be read and stored, anywhere.
struct Contents {
    large: Vec<u8>,
    patched: Vec<u8>,
    doc: Vec<u8>,
    doc_new: Vec<u8>,
    moved: Vec<u8>,
    doomed: Vec<u8>,
    deep: Vec<u8>,
    new: Vec<u8>,
    inner: Vec<u8>,
    upload: Vec<u8>,
}

impl Contents {
    fn new() -> Self {
        let large = content(700_000, 1);
        let mut patched = large.clone();
        patched[300_000..300_500].fill(0xee);
        Self {
            large,
            patched,
            doc: content(3000, 2),
            doc_new: content(4000, 3),
            moved: content(2000, 4),
            doomed: content(2500, 5),
            deep: content(150_000, 6),
            new: content(400_000, 7),
            inner: content(100, 8),
            upload: content(11_000_000, 9),
        }
    }

    fn all(&self) -> HashSet<&[u8]> {
        [
            &self.large,
            &self.patched,
            &self.doc,
            &self.doc_new,
            &self.moved,
            &self.doomed,
            &self.deep,
            &self.new,
            &self.inner,
            &self.upload,
        ]
        .into_iter()
        .map(Vec::as_slice)
        .collect()
    }

    /// What may be read at a path, or stored there.
    fn legit(&self, path: &str) -> Vec<&[u8]> {
        let path = path.trim_start_matches('/');
        let contents: &[&Vec<u8>] = match path {
            "large.bin" => &[&self.large, &self.patched],
            "doc.txt" => &[&self.doc, &self.doc_new],
            "move-me" | "moved" => &[&self.moved],
            "doomed" => &[&self.doomed],
            "dir/deep.bin" => &[&self.deep],
            "new.bin" => &[&self.new],
            "newdir/inner" | "late.txt" | "later.txt" => &[&self.inner],
            "upload.bin" => &[&self.upload],
            _ => &[],
        };
        contents.iter().map(|content| content.as_slice()).collect()
    }

    fn is_legit(&self, path: &str, bytes: &[u8]) -> bool {
        let here = self.legit(path);
        // Under a name that was chosen to lose nothing there is no wrong place for what somebody has written.
        if here.is_empty() { self.all().contains(bytes) } else { here.contains(&bytes) }
    }

    /// Whole content that exists only here until it is sent.
    fn unsent(&self) -> [&[u8]; 4] {
        [&self.doc_new, &self.new, &self.inner, &self.upload]
    }
}

/// A drive with a past, cached content, and work of every kind pending; killed, or (`merged`) stopped so that SQLite has
/// merged its logs.
async fn build(side: Side, contents: &Contents, merged: bool) -> World {
    let mut world = World::new(side).await;
    let drive = world.emulator.drive();
    drive.create_file("/large.bin", contents.large.clone());
    drive.create_file("/doc.txt", contents.doc.clone());
    drive.create_file("/move-me", contents.moved.clone());
    drive.create_file("/doomed", contents.doomed.clone());
    drive.create_folder("/dir");
    drive.create_file("/dir/deep.bin", contents.deep.clone());
    let running = world.run().await;
    let user = User(&running.core);
    for path in ["large.bin", "doc.txt", "move-me", "doomed", "dir/deep.bin"] {
        user.read(path).await.expect("reads");
    }
    // The second fragment does not get through.
    let stall = Fault::Stall { when: When::Before, duration: Duration::from_secs(3600) };
    let rule = Rule::always(if side.live { "Fragment" } else { "PUT" }, "*", stall).skip(1);
    world.emulator.faults().add(rule);
    user.write("upload.bin", &contents.upload).await.expect("writes");
    let half_way = || {
        running
            .core
            .journal
            .view(|overlay| overlay.iter().any(|intent| format!("{:?}", intent.progress).contains("acked: 10")))
    };
    for _ in 0..2000 {
        if half_way() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(half_way(), "the upload is half-way");
    running.kill().await;
    world.emulator.faults().clear();
    world.debounce = Duration::from_secs(3600);
    let core = world.open().await;
    let user = User(&core);
    // So that there is something in the log of the index, which is merged when a whole drive was listed.
    for path in ["late.txt", "later.txt"] {
        drive.create_file(&format!("/{path}"), contents.inner.clone());
        for _ in 0..50 {
            core.poller.poll_now().await.expect("follows");
            if user.walk(path).await.is_ok() {
                break;
            }
        }
        user.walk(path).await.expect("known");
    }
    user.write("new.bin", &contents.new).await.expect("writes");
    user.write("doc.txt", &contents.doc_new).await.expect("writes");
    user.patch("large.bin", 300_000, &[0xee; 500]).await.expect("writes");
    user.rename("move-me", "moved").await.expect("renames");
    user.unlink("doomed").await.expect("deletes");
    user.mkdir("newdir").await.expect("makes");
    user.write("newdir/inner", &contents.inner).await.expect("writes");
    core.journal.sync().await.expect("syncs");
    let killed = tempfile::tempdir().expect("a folder");
    let log = world.home.path().join("state/journal/journal.db-wal");
    if merged {
        core.journal.close();
        drop(core);
        for _ in 0..400 {
            if !log.exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        copy_tree(world.home.path(), killed.path());
    } else {
        // Its files as they are, the logs not merged.
        copy_tree(world.home.path(), killed.path());
        core.journal.close();
        drop(core);
    }
    world.home = killed;
    world.debounce = Duration::from_millis(20);
    world
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copies");
        }
    }
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            files_below(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
}

const CLASSES: [&str; 9] = [
    "journal file",
    "journal log",
    "spool",
    "index file",
    "index log",
    "cached chunks",
    "chunk map",
    "cache tag",
    "other small files",
];

fn class_of(path: &Path) -> &'static str {
    let text = path.to_string_lossy();
    match () {
        () if text.ends_with("journal.db") => CLASSES[0],
        () if text.ends_with("journal.db-wal") => CLASSES[1],
        () if text.contains("/spool/") => CLASSES[2],
        () if text.ends_with("index.db") => CLASSES[3],
        () if text.ends_with("index.db-wal") => CLASSES[4],
        () if text.ends_with(".data") => CLASSES[5],
        () if text.ends_with(".map") => CLASSES[6],
        () if text.ends_with("CACHEDIR.TAG") => CLASSES[7],
        () => CLASSES[8],
    }
}

/// Of what such a file holds, the cloud has everything.
const COMES_BACK: [&str; 5] = ["index file", "index log", "cached chunks", "chunk map", "cache tag"];

const KINDS: [&str; 5] = ["one bit", "eight bits", "blank sector", "cut", "swapped blocks"];

/// What the damaged file then holds, and where it was damaged; nothing if it is too small for this kind.
fn damaged(old: &[u8], kind: &str, dice: &mut Dice) -> Option<(Vec<u8>, String)> {
    let (mut bytes, length) = (old.to_vec(), old.len() as u64);
    let mut said = Vec::new();
    match kind {
        "one bit" | "eight bits" => {
            for _ in 0..if kind == "one bit" { 1 } else { 8 } {
                let (at, bit) = (dice.below(length), dice.below(8));
                *bytes.get_mut(at as usize)? ^= 1 << bit;
                said.push(format!("{at}.{bit}"));
            }
        }
        "blank sector" => {
            let sector = dice.below(length.div_ceil(512)) as usize;
            let end = bytes.len().min((sector + 1) * 512);
            bytes[sector * 512..end].fill(0);
            said.push(format!("{sector}"));
        }
        "cut" => {
            bytes.truncate(dice.below(length) as usize);
            said.push(format!("to {} of {length}", bytes.len()));
        }
        _ => {
            let blocks = length / 4096;
            let (a, b) = (dice.below(blocks) as usize, dice.below(blocks) as usize);
            if blocks < 2 {
                return None;
            }
            for at in 0..4096 {
                bytes.swap(a * 4096 + at, b * 4096 + at);
            }
            said.push(format!("{a} and {b}"));
        }
    }
    Some((bytes, said.join(" ")))
}

/// Damages a file in this way, and not only in name: a blank sector that is blank already is no damage.
fn damage(path: &Path, kind: &str, dice: &mut Dice) -> Option<String> {
    let old = fs::read(path).expect("reads");
    for _ in 0..200 {
        let (bytes, said) = damaged(&old, kind, dice)?;
        if bytes != old {
            fs::write(path, bytes).expect("writes");
            return Some(format!("{kind} {said} in {}", path.display()));
        }
    }
    None
}

/// Whether files of a class have the two blocks that can change places.
fn can_happen(class: &str, kind: &str) -> bool {
    kind != "swapped blocks" || !["chunk map", "cache tag", "other small files"].contains(&class)
}

fn cloud(drive: &DriveHandle, folder: &str, found: &mut Vec<(String, String, Option<Vec<u8>>)>) {
    for item in drive.list(folder) {
        let path = format!("{}/{}", folder.trim_end_matches('/'), item.name);
        let bytes = drive.read_file(&path);
        let is_folder = bytes.is_none();
        found.push((path.clone(), item.id.clone(), bytes));
        if is_folder {
            cloud(drive, &path, found);
        }
    }
}

/// Reads everything that can be seen; whatever is not an error must be something that was written there by somebody.
async fn read_all(running: &Running, contents: &Contents, folder: String, what: &str) {
    let user = User(&running.core);
    for name in user.list(&folder).await.unwrap_or_default() {
        let path = format!("{folder}/{name}");
        match user.read(&path).await {
            Ok(bytes) => assert!(contents.is_legit(&path, &bytes), "{what}: {path} reads {} wrong bytes", bytes.len()),
            Err(onedrive_mount::volume::VolumeError::IsAFolder) => {
                Box::pin(read_all(running, contents, path, what)).await;
            }
            // Work that was damaged cannot be read, and what is shown of an index that is being made anew may be gone. What
            // has to be readable in the end is looked at in the end.
            Err(_) => {}
        }
    }
}

/// With the network up, everything that is in the cloud is here, at its place and with its bytes, and nothing else.
async fn comes_back(world: &World, running: &Running, what: &str) {
    const PATIENCE: u32 = 600;
    let wanted = cloud_tree(world.emulator.drive());
    let mut differs = String::new();
    for _ in 0..PATIENCE {
        running.core.poller.poll_now().await.unwrap_or_else(|error| panic!("{what}: polling: {error}"));
        match local_tree_of(&running.core).await {
            Ok(here) if here == wanted => return,
            Ok(here) => {
                let of = |tree: &BTreeMap<_, _>, other: &BTreeMap<_, _>| {
                    let only = tree.iter().filter(|(path, node)| other.get(*path) != Some(*node));
                    only.map(|(path, _): (&String, &Node)| path.clone()).collect::<Vec<_>>()
                };
                differs = format!("here {:?}, in the cloud {:?}", of(&here, &wanted), of(&wanted, &here));
            }
            Err(error) => differs = error.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: what the cloud has does not come back: {differs}");
}

#[derive(Default, Clone, Copy)]
struct Tally {
    tried: u32,
    complete: u32,
    shown: u32,
    said: u32,
}

/// One world, one damage.
async fn try_one(side: Side, contents: &Contents, class: &str, kind: &str, dice: &mut Dice) -> Option<Tally> {
    // The log is there only where nothing was merged, and a file may have no second block before.
    let merged = kind == "swapped blocks" || dice.below(3) > 0;
    let world = build(side, contents, !class.ends_with("log") && merged).await;
    let drive = world.emulator.drive();
    let (mut before, mut files) = (Vec::new(), Vec::new());
    cloud(drive, "/", &mut before);
    let doomed = drive.stat("/doomed").expect("there").id;
    files_below(world.home.path(), &mut files);
    let least = if kind == "swapped blocks" { 8192 } else { 1 };
    files.retain(|path| class_of(path) == class && fs::metadata(path).is_ok_and(|facts| facts.len() >= least));
    let path = files.get(dice.below(files.len() as u64) as usize)?;
    let what = damage(path, kind, dice)?;

    let running = world.run().await;
    read_all(&running, contents, String::new(), &what).await;
    let mut quiet = false;
    for turn in 0..3000 {
        if running.core.journal.backlog().0 == 0 {
            quiet = true;
            break;
        }
        if turn == 1000 {
            // A work drive keeps a name taken for a quarter of an hour by an upload session whose address was lost with the
            // journal's last lines. That time is over now.
            drive.lose_sessions();
            running.core.journal.retry_all().expect("the journal takes it");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if !quiet {
        let left: Vec<_> =
            running.core.journal.view(|overlay| overlay.iter().map(|intent| format!("{intent:?}")).collect());
        panic!("{what}: work that neither goes on nor is parked: {left:#?}");
    }
    read_all(&running, contents, String::new(), &what).await;

    let mut after = Vec::new();
    cloud(drive, "/", &mut after);
    let ids: HashSet<&String> = after.iter().map(|(_, id, _)| id).collect();
    for (path, id, _) in &before {
        assert!(*id == doomed || ids.contains(id), "{what}: {path} was deleted, and nobody asked for it");
    }
    for (path, _, bytes) in &after {
        if let Some(bytes) = bytes {
            assert!(contents.is_legit(path, bytes), "{what}: {path} was sent with wrong bytes");
        }
    }
    if COMES_BACK.contains(&class) {
        comes_back(&world, &running, &what).await;
    }
    let stored = |path: &str| after.iter().find(|(at, ..)| at == path).and_then(|(.., bytes)| bytes.as_deref());
    let complete = stored("/new.bin") == Some(&contents.new)
        && stored("/doc.txt") == Some(&contents.doc_new)
        && stored("/large.bin") == Some(&contents.patched)
        && stored("/moved") == Some(&contents.moved)
        && stored("/newdir/inner") == Some(&contents.inner)
        && stored("/upload.bin") == Some(&contents.upload)
        && !ids.contains(&doomed);
    let parked = running.core.journal.backlog().1 > 0;
    let kept = !running.core.journal.kept().is_empty();
    let said = !running.core.recovered.unreadable.is_empty();
    let states: Vec<_> = running.core.journal.view(|overlay| overlay.iter().map(|i| format!("{i:?}")).collect());
    assert!(
        complete || parked || kept || said,
        "{what}: work was dropped without a word: {:?} {states:#?}",
        after.iter().map(|(p, ..)| p).collect::<Vec<_>>()
    );
    if class != "spool" {
        // The bytes themselves were not touched, so they are in the cloud or still here.
        let mut here = Vec::new();
        files_below(&world.home.path().join("state/journal/spool"), &mut here);
        let here: Vec<Vec<u8>> = here.iter().filter_map(|path| fs::read(path).ok()).collect();
        for wanted in contents.unsent() {
            let sent = after.iter().any(|(.., bytes)| bytes.as_deref() == Some(wanted));
            assert!(sent || here.iter().any(|held| held == wanted), "{what}: {} bytes are gone", wanted.len());
        }
    }
    running.stop().await;
    Some(Tally {
        tried: 1,
        complete: u32::from(complete && !said),
        shown: u32::from(!complete && (parked || kept)),
        said: u32::from(said),
    })
}

/// Every kind of damage to every class of files, once.
const ONCE: u64 = (CLASSES.len() * KINDS.len()) as u64;

fn try_all(side: Side) {
    let (flips, seed): (u64, u64) = (asked("FLIPS").unwrap_or(ONCE), asked("FLIP_SEED").unwrap_or(20_240_611));
    eprintln!("FLIPS={flips} FLIP_SEED={seed}");
    let contents = Contents::new();
    let mut table: BTreeMap<(usize, usize), Tally> = BTreeMap::new();
    for flip in 0..flips {
        let mut dice = Dice(seed ^ (flip << 32));
        let (class, kind) = ((flip % 9) as usize, (flip / 9 % 5) as usize);
        if !can_happen(CLASSES[class], KINDS[kind]) {
            continue;
        }
        // A runtime for each, so that nothing of one world runs on into the next.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let outcome = runtime.block_on(try_one(side, &contents, CLASSES[class], KINDS[kind], &mut dice));
        runtime.shutdown_timeout(Duration::from_secs(5));
        let outcome = outcome.unwrap_or_else(|| panic!("no {} has a {}", CLASSES[class], KINDS[kind]));
        let sum = table.entry((class, kind)).or_default();
        sum.tried += outcome.tried;
        sum.complete += outcome.complete;
        sum.shown += outcome.shown;
        sum.said += outcome.said;
    }
    let mut tried = 0;
    eprintln!("| file | damage | tried | all work arrived | damage reported | some parked or kept | lost silently |");
    eprintln!("| --- | --- | --- | --- | --- | --- | --- |");
    for ((class, kind), sum) in &table {
        tried += sum.tried;
        eprintln!(
            "| {} | {} | {} | {} | {} | {} | 0 |",
            CLASSES[*class], KINDS[*kind], sum.tried, sum.complete, sum.said, sum.shown
        );
    }
    eprintln!("bit flips tried: {tried}, wrong bytes served or sent: 0, lost without a word: 0");
}

#[test]
fn bit_flips_never_lose_or_corrupt_anything_without_a_word() {
    try_all(Side::BUSINESS);
}

#[test]
fn bit_flips_never_lose_or_corrupt_anything_of_live_connect_without_a_word() {
    try_all(Side::LIVE);
}

/// Not at a start, but under a daemon that has read the file already and runs on.
#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_flips_under_a_running_daemon_is_not_read_by_whoever_opens_the_file_then() {
    for side in [Side::PERSONAL, Side::BUSINESS, Side::LIVE] {
        let world = World::new(side).await;
        let bytes = content(700_000, 11);
        world.emulator.drive().create_file("/large.bin", bytes.clone());
        let running = world.run().await;
        let user = User(&running.core);
        for at in [5, 300_000, 699_999] {
            assert!(user.read("large.bin").await.expect("reads") == bytes);
            eventually("all of it is kept", async || running.core.cache.usage().bytes == bytes.len() as u64).await;
            // It is compared after that, and what flips before is found by its hash.
            tokio::time::sleep(Duration::from_millis(400)).await;
            let mut files = Vec::new();
            files_below(world.home.path(), &mut files);
            let chunks = files.iter().find(|path| class_of(path) == "cached chunks").expect("it is cached");
            let file = fs::File::options().write(true).open(chunks).expect("opens");
            file.write_all_at(&[bytes[at] ^ 8], at as u64).expect("writes");
            assert!(user.read("large.bin").await.expect("reads") == bytes, "{side:?}: a flipped bit at {at} was read");
        }
        running.stop().await;
    }
}
