//! Damage to the journal's file, on real SQLite files.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use std::{fs, io};

use super::super::intent::{Intent, Kind};
use super::opening::Opened;
use super::*;
use crate::base::disk::RealDisk;
use crate::base::ids::DriveId;

const NOW: Timestamp = Timestamp(1_700_000_000_000_000_000);

fn open(folder: &Path) -> Opened {
    Store::open(RealDisk::shared(), folder, 0, "this boot", NOW).expect("opens")
}

fn intent(number: u64, name: &str) -> Intent {
    Intent::new(Ino(number), Kind::File, Ino::ROOT, name, Timestamp(5))
}

fn put(store: &Store, intents: Vec<Intent>) {
    store.write(&Batch { put: intents, ..Batch::default() }).expect("writes");
}

fn names(store: &Store) -> Vec<String> {
    let mut names: Vec<String> = store.load().expect("reads").intents.into_iter().map(|intent| intent.name).collect();
    names.sort();
    names
}

/// What a killed process leaves: its files as they are, the log not merged.
fn killed(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().expect("temp");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        if entry.file_type().expect("known").is_file() {
            fs::copy(entry.path(), to.path().join(entry.file_name())).expect("copies");
        }
    }
    to
}

fn damage(path: &Path, f: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("reads");
    f(&mut bytes);
    fs::write(path, bytes).expect("writes");
}

#[test]
fn a_flipped_bit_in_the_log_does_not_undo_what_followed() {
    let dir = tempfile::tempdir().expect("temp");
    let opened = open(dir.path());
    for number in 0..30 {
        put(&opened.store, vec![intent(100 + number, &format!("file {number:02}"))]);
    }
    opened.store.write(&Batch { drop: vec![Ino(100)], ..Batch::default() }).expect("writes");
    let expected = names(&opened.store);
    let size = fs::metadata(dir.path().join("journal.db-wal")).expect("a log").len();
    assert!(size > 30 * 4096);
    for at in (0..size).step_by(1711) {
        let copy = killed(dir.path());
        damage(&copy.path().join("journal.db-wal"), |bytes| bytes[at as usize] ^= 0x10);
        let again = open(copy.path());
        let found = names(&again.store);
        // The last step may be what was hit; then it is said.
        let complete = found == expected;
        assert!(complete || !again.damage.is_empty(), "byte {at}: {found:?}");
        assert!(found.len() >= 28, "byte {at}: {found:?} {:?}", again.damage);
        drop(again);
        assert!(open(copy.path()).damage.is_empty(), "byte {at}: said once, sound afterwards");
    }
}

#[test]
fn every_row_that_is_whole_survives_the_loss_of_any_page() {
    let dir = tempfile::tempdir().expect("temp");
    let long = "n".repeat(9000);
    {
        let opened = open(dir.path());
        for number in 0..60 {
            put(&opened.store, vec![intent(100 + number, &format!("file {number:02}"))]);
        }
        put(&opened.store, vec![Intent { last_error: Some(long.clone()), ..intent(500, "with overflow pages") }]);
        opened.store.reserve_inos(10_000).expect("reserves");
    }
    let size = fs::metadata(dir.path().join("journal.db")).expect("there").len();
    let (mut lost_nothing, mut tried) = (0, 0);
    for sector in 0..size / 512 {
        let copy = killed(dir.path());
        damage(&copy.path().join("journal.db"), |bytes| {
            bytes[sector as usize * 512..(sector as usize + 1) * 512].fill(0);
        });
        let before = open(dir.path());
        let again = open(copy.path());
        let found = names(&again.store);
        tried += 1;
        if found == names(&before.store) {
            lost_nothing += 1;
        } else {
            assert!(!again.damage.is_empty(), "sector {sector}: {} rows and no word", found.len());
            assert!(found.len() >= 30, "sector {sector}: {}", found.len());
            let aside = fs::read_dir(copy.path()).expect("lists").filter_map(Result::ok);
            let aside: Vec<_> = aside.filter(|e| e.file_name().to_string_lossy().starts_with("damaged-")).collect();
            assert_eq!(aside.len(), 1, "the damaged file is kept");
            assert!(aside[0].path().join("what-happened.txt").exists());
        }
        if !again.damage.is_empty() {
            assert!(again.store.reserve_inos(1).expect("reserves") >= 10_016, "no number is handed out twice");
        }
    }
    assert!(lost_nothing > 0 && lost_nothing < tried, "{lost_nothing} of {tried}");
}

#[test]
fn a_cut_log_is_noticed() {
    let dir = tempfile::tempdir().expect("temp");
    let opened = open(dir.path());
    put(&opened.store, vec![intent(100, "first")]);
    let early = fs::metadata(dir.path().join("journal.db-wal")).expect("a log").len();
    put(&opened.store, vec![intent(101, "second")]);
    opened.store.sync().expect("syncs");
    let copy = killed(dir.path());
    damage(&copy.path().join("journal.db-wal"), |bytes| bytes.truncate(early as usize));
    let again = open(copy.path());
    assert_eq!(names(&again.store), ["first"]);
    assert!(again.damage.iter().any(|line| line.contains("1 steps")), "{:?}", again.damage);
    let copy = killed(dir.path());
    damage(&copy.path().join("journal.db-wal"), Vec::clear);
    assert!(!open(copy.path()).damage.is_empty());
    // Steps that were never synced may go with the power, without a word.
    let copy = killed(dir.path());
    put(&opened.store, vec![intent(102, "third")]);
    assert!(open(copy.path()).damage.is_empty());
}

#[test]
fn a_file_of_the_first_version_gets_checksums_and_one_of_a_newer_version_is_left_alone() {
    let dir = tempfile::tempdir().expect("temp");
    let row = serde_json::to_string(&IntentRow::of(&intent(1, "x"), None)).expect("a row");
    {
        let old = Connection::open(dir.path().join("journal.db")).expect("opens");
        old.execute_batch(
            "PRAGMA journal_mode = wal;
             CREATE TABLE intents(ino INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name TEXT NOT NULL, row TEXT NOT NULL);
             CREATE TABLE spools(id INTEGER PRIMARY KEY, row TEXT NOT NULL);
             CREATE TABLE retired(id INTEGER PRIMARY KEY);
             CREATE TABLE modes(ino INTEGER PRIMARY KEY, item TEXT, mode INTEGER NOT NULL);
             CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
             INSERT INTO meta VALUES('next_ino', 10016);
             INSERT INTO modes VALUES(100, NULL, 448);
             INSERT INTO retired VALUES(3);
             PRAGMA user_version = 1;",
        )
        .expect("makes");
        old.execute("INSERT INTO intents VALUES(100, 1, 'old work', ?1)", [row]).expect("writes");
    }
    let opened = open(dir.path());
    assert!(opened.damage.is_empty(), "{:?}", opened.damage);
    assert_eq!(names(&opened.store), ["old work"]);
    assert_eq!(opened.store.reserve_inos(1).expect("reserves"), 10_016);
    let loaded = opened.store.load().expect("reads");
    assert_eq!((loaded.retired, loaded.modes), (vec![SpoolId(3)], vec![(Ino(100), 448)]));
    put(&opened.store, vec![intent(101, "new work")]);
    drop(opened);
    let opened = open(dir.path());
    assert_eq!(names(&opened.store), ["new work", "old work"]);
    {
        let sql = opened.store.sql();
        sql.connection.pragma_update(None, "user_version", 3).expect("sets");
        sql.connection
            .execute("UPDATE meta SET value = 3, sum = ?1 WHERE key = 'schema'", [meta_sum("schema", 3)])
            .expect("sets");
    }
    drop(opened);
    let before = fs::read(dir.path().join("journal.db")).expect("reads");
    assert!(matches!(Store::open(RealDisk::shared(), dir.path(), 0, "this boot", NOW), Err(StoreError::TooNew(3))));
    assert_eq!(fs::read(dir.path().join("journal.db")).expect("reads"), before);
    // The same number in one place only is damage, and the work survives it.
    damage(&dir.path().join("journal.db"), |bytes| bytes[63] = 67);
    let opened = open(dir.path());
    assert_eq!(names(&opened.store), ["new work", "old work"]);
    assert!(!opened.damage.is_empty());
}

fn fill(store: &Store, numbers: std::ops::Range<u64>) {
    for number in numbers {
        put(store, vec![intent(100 + number % 500, &format!("file {number}"))]);
    }
}

fn length(folder: &Path, file: &str) -> u64 {
    fs::metadata(folder.join(file)).map_or(0, |facts| facts.len())
}

/// Long enough to be carried over.
const MANY: u64 = 1_500;

#[test]
fn a_commit_leaves_the_log_alone_however_long_it_is() {
    let dir = tempfile::tempdir().expect("temp");
    let store = open(dir.path()).store;
    let asked = store.sql().connection.pragma_query_value(None, "wal_autocheckpoint", |row| row.get::<_, i64>(0));
    assert_eq!(asked.expect("reads"), 0);
    fill(&store, 0..MANY);
    assert!(length(dir.path(), "journal.db-wal") > shorten::LONG);
    assert_eq!(length(dir.path(), "journal.db"), 4096, "it is as it was made");
}

#[test]
fn the_log_begins_anew_once_it_was_long() {
    let dir = tempfile::tempdir().expect("temp");
    let store = open(dir.path()).store;
    put(&store, vec![intent(1, "first")]);
    store.sync().expect("syncs");
    store.shorten_log().expect("nothing to do");
    assert_eq!(length(dir.path(), "journal.db"), 4096, "it was short");
    let reaches = |frame| {
        let log = store.log_file.lock().expect("no panic").clone().expect("it was synced");
        shorten::reaches(&*log, frame).expect("reads")
    };
    for turn in 0..3 {
        fill(&store, 0..MANY);
        assert!(reaches(1_000), "turn {turn}");
        store.sync().expect("syncs");
        store.shorten_log().expect("shortens");
        put(&store, vec![intent(2, &format!("turn {turn}"))]);
        assert!(reaches(1) && !reaches(100), "turn {turn}");
        assert!(length(dir.path(), "journal.db-wal") <= shorten::LONG + 4096, "turn {turn}");
        let copy = killed(dir.path());
        let again = open(copy.path());
        assert!(again.damage.is_empty(), "turn {turn}: {:?}", again.damage);
        assert_eq!(names(&again.store), names(&store), "turn {turn}");
    }
}

/// Whoever never pauses is always ahead of what was carried over.
#[test]
fn the_log_of_one_who_never_pauses_does_not_grow_for_ever() {
    let dir = tempfile::tempdir().expect("temp");
    let store = open(dir.path()).store;
    put(&store, vec![intent(1, "first")]);
    store.sync().expect("syncs");
    // On a busy machine it is not ahead of a single turn by more than that: the bound is on the log, not on the scheduler.
    let (written, turn_began) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..20_000u64 {
                while number.saturating_sub(turn_began.load(Ordering::Relaxed)) > MANY {
                    std::thread::yield_now();
                }
                fill(&store, number..number + 1);
                written.store(number, Ordering::Relaxed);
            }
        });
        while !writer.is_finished() {
            turn_began.store(written.load(Ordering::Relaxed), Ordering::Relaxed);
            let turn = store.sync().map(drop).and_then(|()| store.shorten_log());
            // Nobody waits for one that is not coming.
            turn_began.fetch_max(if turn.is_err() { u64::MAX } else { 0 }, Ordering::Relaxed);
            turn.expect("syncs and shortens");
        }
    });
    let longest = length(dir.path(), "journal.db-wal");
    assert!(longest < 2 * shorten::TOO_LONG, "{longest}");
    put(&store, vec![intent(2, "last")]);
    drop(store);
    assert_eq!(length(dir.path(), "journal.db-wal"), 0, "nothing is left of it at the end");
    assert!(names(&open(dir.path()).store).contains(&"last".to_owned()));
}

#[test]
fn a_long_log_that_an_earlier_run_left_is_emptied_at_the_start() {
    let dir = tempfile::tempdir().expect("temp");
    let store = open(dir.path()).store;
    fill(&store, 0..MANY);
    let copy = killed(dir.path());
    assert!(length(copy.path(), "journal.db-wal") > shorten::LONG);
    let again = open(copy.path());
    assert!(again.damage.is_empty(), "{:?}", again.damage);
    assert_eq!(length(copy.path(), "journal.db-wal"), 0);
    assert_eq!(names(&again.store), names(&store));
}

/// The main file of a disk that takes its time: a flush begins, and ends when it is told to.
struct Slow(mpsc::SyncSender<()>, Mutex<mpsc::Receiver<()>>);

impl DiskFile for Slow {
    fn sync_data(&self) -> io::Result<()> {
        let _ = self.0.send(());
        let _ = self.1.lock().expect("no panic").recv();
        Ok(())
    }

    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        unreachable!("SQLite reads it")
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        unreachable!("SQLite writes it")
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        unreachable!("SQLite writes it")
    }

    fn len(&self) -> io::Result<u64> {
        unreachable!("SQLite reads it")
    }

    fn punch_hole(&self, _: std::ops::Range<u64>) -> io::Result<()> {
        unreachable!("it has no holes")
    }
}

#[test]
fn nobody_who_writes_waits_for_a_disk_that_takes_its_time_with_the_log() {
    let dir = tempfile::tempdir().expect("temp");
    let store = open(dir.path()).store;
    fill(&store, 0..MANY / 2);
    // Somebody who reads keeps the second half in the log, so that it is tried again.
    let reader = Connection::open(dir.path().join("journal.db")).expect("opens");
    reader.execute_batch("BEGIN; SELECT count(*) FROM intents").expect("reads");
    fill(&store, 0..MANY / 2);
    store.sync().expect("syncs");
    let ((begun, begins), (go_on, told)) = (mpsc::sync_channel(1), mpsc::channel());
    let slow = Arc::new(Slow(begun, Mutex::new(told)));
    *store.carrier.lock().expect("no panic") =
        Some(shorten::Carrier { file: slow, ..shorten::Carrier::of(&store).expect("opens") });
    std::thread::scope(|scope| {
        let shortens = scope.spawn(|| store.shorten_log());
        begins.recv().expect("it flushes");
        let (done, written) = mpsc::channel();
        let store = &store;
        scope.spawn(move || {
            put(store, vec![intent(1, "meanwhile")]);
            let _ = done.send(());
        });
        let waited = written.recv_timeout(Duration::from_secs(20)).is_err();
        // Ends every flush.
        drop(go_on);
        drop(begins);
        assert!(!waited, "the write waits for the flush");
        shortens.join().expect("no panic").expect("shortens");
    });
    assert!(names(&store).contains(&"meanwhile".to_owned()));
}

#[test]
fn permission_bits_say_what_their_inode_is_unless_an_intent_does() {
    let dir = tempfile::tempdir().expect("temp");
    let store = open(dir.path()).store;
    let item = |id| ItemId::new(&DriveId::new("d"), id);
    for (ino, id) in [(7, "file"), (8, "before"), (9, "before too")] {
        store.set_mode(Ino(ino), Some(&item(id)), Some(0o600)).expect("writes");
    }
    // What is kept of a file for its user says nothing of what the file is.
    let kept = SpoolRow {
        id: SpoolId(1),
        ino: Ino(7),
        file: "1".into(),
        size: 0,
        present: RangeSet::new(),
        borrowed: RangeSet::new(),
        replaced: 0,
        base_limit: 0,
        base: None,
        hash: None,
        sums: None,
        promised: true,
        synced: true,
        durable: None,
        boot: String::new(),
        kept: Some(KeptFor { name: "file".into(), why: "a test".into(), at: NOW }),
    };
    let inside = Intent { parent: Ino(9), ..intent(10, "in a folder") };
    let put = vec![intent(8, "begun anew"), inside];
    let parents = HashMap::from([(Ino(9), item("now"))]);
    store.write(&Batch { put, parents, spools: vec![kept], ..Batch::default() }).expect("writes");
    let mut anchors = store.load().expect("reads").anchors;
    anchors.sort_by_key(|(ino, _)| ino.0);
    assert_eq!(anchors, [(Ino(7), item("file")), (Ino(9), item("now"))]);
}
