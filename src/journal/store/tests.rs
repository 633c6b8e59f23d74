//! Damage to the journal's file, on real SQLite files.

use std::fs;
use std::path::Path;

use super::super::intent::{Intent, Kind};
use super::opening::Opened;
use super::*;
use crate::base::disk::RealDisk;

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
