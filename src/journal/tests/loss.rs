//! What is there after a loss of power or the death of the daemon, on a disk that forgets what was not synced.

use super::fickle::FickleDisk;
use super::*;
use crate::base::ranges::RangeSet;

/// A folder, a disk and a journal on them, as long as the daemon lives.
struct Life {
    dir: tempfile::TempDir,
    disk: FickleDisk,
    journal: Arc<Journal>,
}

impl Life {
    fn begin() -> Self {
        Self::on(tempfile::tempdir().expect("a folder"), FickleDisk::default(), "this boot")
    }

    fn on(dir: tempfile::TempDir, disk: FickleDisk, boot: &str) -> Self {
        let journal = open(dir.path(), Arc::new(disk.clone()), boot);
        Self { dir, disk, journal }
    }

    /// Another daemon begins with what this one has left when it dies now. `prepare` may change the disk first.
    fn die(&self, prepare: impl FnOnce(&FickleDisk)) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = {
            // Nothing is written to the journal meanwhile.
            let _state = self.journal.lock();
            self.disk.after_death(self.dir.path(), dir.path())
        };
        prepare(&disk);
        Self::on(dir, disk, &self.journal.boot)
    }

    /// The same after a loss of power; of what was not synced so many changes of each file have arrived.
    fn lose_power(&self, arriving: usize, log: bool) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        {
            let _state = self.journal.lock();
            self.disk.power_loss(self.dir.path(), dir.path(), arriving, log);
        }
        let disk = FickleDisk::holding(dir.path());
        // No two of a test are the same.
        let boot = dir.path().to_string_lossy().into_owned();
        Self::on(dir, disk, &boot)
    }

    fn create(&self, name: &str) -> Ino {
        let ino = self.journal.create_file(Ino::ROOT, name, false).expect("makes");
        self.journal.add_writer(ino);
        ino
    }

    fn write(&self, ino: Ino, at: u64, bytes: &[u8]) {
        let draft = self.journal.writable(subject(ino), false).expect("a draft");
        draft.write(at, bytes, self.journal.now()).expect("writes");
    }

    fn cut(&self, ino: Ino, size: u64) {
        let draft = self.journal.writable(subject(ino), size == 0).expect("a draft");
        self.journal.cut(&draft, size).expect("cuts");
    }

    async fn fsync(&self, ino: Ino) -> JournalResult<()> {
        let recorded = self.journal.checkpoint(ino)?;
        self.journal.sync_content(recorded).await
    }

    fn close(&self, ino: Ino) {
        assert!(self.journal.seal(ino).expect("seals").is_some());
        self.journal.remove_writer(ino);
    }

    fn read(&self, ino: Ino) -> Option<Vec<u8>> {
        read(&self.journal, ino)
    }
}

/// A second version is closed, and the daemon dies before anything makes it safe.
#[tokio::test]
async fn what_was_closed_before_a_death_is_made_safe_after_it_and_the_version_before_stays_until_then() {
    let first = Life::begin();
    let ino = first.create("f");
    first.write(ino, 0, b"the first version");
    first.close(ino);
    first.journal.sync().await.expect("safe");
    first.disk.refuse("spool");
    first.journal.add_writer(ino);
    first.cut(ino, 0);
    first.write(ino, 0, b"the second");
    first.close(ino);

    let second = first.die(|disk| disk.refuse("spool"));
    assert_eq!(second.read(ino).as_deref(), Some(b"the second".as_slice()));
    assert_eq!(second.lose_power(0, true).read(ino).as_deref(), Some(b"the first version".as_slice()));
    second.disk.allow();
    // A copy, so that a file that was removed too early is not written again.
    let third = second.die(|_| {});
    let ended = std::time::Instant::now() + Duration::from_secs(20);
    while third.lose_power(0, true).read(ino).as_deref() != Some(b"the second".as_slice()) {
        assert!(std::time::Instant::now() < ended, "it is never made safe");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// No power is lost at all: the machine is restarted after the daemon was. An edit that was written in pieces has no sums
/// in the row of its seal.
#[tokio::test]
async fn an_edit_in_pieces_outlives_a_death_and_an_ordinary_restart() {
    let first = Life::begin();
    let ino = first.create("f");
    first.disk.refuse("spool");
    first.write(ino, 5000, b"the end");
    first.write(ino, 100, b"the beginning");
    first.close(ino);
    let second = first.die(|_| {});
    second.journal.sync().await.expect("safe");
    let third = second.lose_power(usize::MAX, true);
    assert_eq!(third.read(ino).map(|bytes| bytes.len()), Some(5007));
}

/// Through one handle: written, fsynced, written on, and fsynced again or closed; the power fails before that is safe.
#[tokio::test]
async fn what_was_fsynced_survives_whatever_is_written_over_it() {
    for closes in [false, true] {
        let life = Life::begin();
        let ino = life.create("f");
        life.write(ino, 0, &[1; 300]);
        life.fsync(ino).await.expect("safe");
        life.disk.refuse("spool");
        life.write(ino, 100, &[2; 100]);
        life.write(ino, 300, &[2; 5000]);
        if closes {
            life.close(ino);
        } else {
            life.journal.checkpoint(ino).expect("recorded");
        }
        for arriving in 0..3 {
            let after = life.lose_power(arriving, true);
            let found = after.read(ino).unwrap_or_else(|| panic!("it is lost: {closes}, {arriving}"));
            let middle = if arriving == 0 { 1 } else { 2 };
            let wanted = [[1; 100], [middle; 100], [1; 100]].concat();
            assert!(found == wanted || arriving == 2 && found.len() == 5300, "{closes}, {arriving}");
        }
    }
}

/// The daemon dies after an fsync, and the power fails before the next one has made anything safe.
#[tokio::test]
async fn what_was_fsynced_survives_a_death_and_a_loss_of_power_after_it() {
    let first = Life::begin();
    let ino = first.create("f");
    first.write(ino, 0, &[1; 300]);
    first.fsync(ino).await.expect("safe");
    first.disk.refuse("spool");
    first.write(ino, 200, &[2; 300]);
    let second = first.die(|disk| disk.refuse("spool"));
    assert_eq!(second.read(ino).map(|found| found.len()), Some(500));
    let third = second.lose_power(0, true);
    assert_eq!(third.read(ino), Some(vec![1; 300]));
    // And once more, as it is.
    assert_eq!(third.lose_power(usize::MAX, true).read(ino), Some(vec![1; 300]));
}

/// It is written on through another descriptor while the close of the first is made safe.
#[tokio::test]
async fn what_was_closed_survives_what_is_written_while_it_is_made_safe() {
    let life = Life::begin();
    let ino = life.create("f");
    life.journal.sync().await.expect("safe");
    life.write(ino, 0, b"closed");
    let journal = life.journal.clone();
    life.disk.meanwhile(move || {
        let draft = journal.writable(subject(ino), false).expect("a draft");
        draft.write(2, b"and more", journal.now()).expect("writes");
    });
    assert!(life.journal.seal(ino).expect("seals").is_some());
    life.journal.sync().await.expect("safe");
    for arriving in 0..2 {
        let found = life.lose_power(arriving, true).read(ino);
        let wanted = [b"closed".as_slice(), b"cland more".as_slice(), b"cland "];
        assert!(found.as_ref().is_some_and(|found| wanted.contains(&found.as_slice())), "{arriving}: {found:?}");
    }
}

/// A handle goes on writing what is safe, and its bytes reach the disk before the log that says so.
#[tokio::test]
async fn what_is_written_on_after_a_close_is_no_damage() {
    let life = Life::begin();
    let ino = life.create("f");
    life.write(ino, 0, b"closed");
    assert!(life.journal.seal(ino).expect("seals").is_some());
    life.journal.sync().await.expect("safe");
    life.write(ino, 2, b"and more");
    let found = life.lose_power(usize::MAX, false).read(ino);
    assert_eq!(found.as_deref(), Some(b"cland ".as_slice()));
}

/// A file that is open and fsynced is renamed over by one that is not safe yet.
#[tokio::test]
async fn what_was_fsynced_and_is_open_stays_until_what_was_renamed_over_it_is_safe() {
    let life = Life::begin();
    let ino = life.create("old");
    life.write(ino, 0, b"the old one");
    life.fsync(ino).await.expect("safe");
    life.disk.refuse("spool");
    let new = life.create("new");
    life.write(new, 0, b"the new one");
    life.close(new);
    life.journal.rename(subject(new), Ino::ROOT, "old", false, Some(subject(ino)), true).expect("renames");
    let after = life.lose_power(0, true);
    assert_eq!(after.read(new).as_deref(), Some(b"the old one".as_slice()));
}

/// After an fsync the file is cut and written anew, and the daemon dies.
#[tokio::test]
async fn a_file_that_became_shorter_after_its_fsync_is_not_filled_up_after_a_death() {
    let first = Life::begin();
    let ino = first.create("f");
    first.write(ino, 0, &[1; 100_000]);
    first.fsync(ino).await.expect("safe");
    first.cut(ino, 0);
    first.write(ino, 0, &[2; 10_000]);
    let found = first.die(|_| {}).read(ino).expect("it is there");
    assert!(found == [2; 10_000], "{} bytes", found.len());
}

/// After an fsync it is written where nothing was, and the daemon dies.
#[tokio::test]
async fn what_was_written_into_a_hole_after_an_fsync_is_no_damage_after_a_death() {
    let first = Life::begin();
    let ino = first.create("f");
    first.cut(ino, 10 << 20);
    first.write(ino, 0, &[1; 4096]);
    first.fsync(ino).await.expect("safe");
    first.write(ino, 5 << 20, &[2; 4096]);
    let after = first.die(|_| {});
    let found = after.read(ino).expect("it can be read");
    assert!(found.len() == 10 << 20 && found[5 << 20] == 2 && found[0] == 1);
}

/// Linux reports a failed sync once; the next one succeeds and has written nothing.
#[tokio::test]
async fn a_failed_fsync_says_so_and_the_next_one_writes_again() {
    let life = Life::begin();
    let (ino, other) = (life.create("f"), life.create("g"));
    life.write(ino, 0, b"the only copy");
    life.write(other, 0, b"another file");
    let draft = life.journal.being_written(ino).expect("a draft");
    life.disk.refuse(&draft.path().file_name().expect("a name").to_string_lossy());
    let failed = life.fsync(ino).await;
    life.fsync(other).await.expect("it has nothing to do with the other");
    assert_eq!(life.lose_power(0, false).read(other).as_deref(), Some(b"another file".as_slice()));
    life.disk.allow();
    life.fsync(ino).await.expect("safe");
    assert_eq!(life.lose_power(0, false).read(ino).as_deref(), Some(b"the only copy".as_slice()));
    assert!(failed.is_err(), "a program was told that it is safe");
}

/// The same of the journal's log.
#[tokio::test]
async fn a_log_whose_sync_failed_is_written_again() {
    let life = Life::begin();
    life.journal.sync().await.expect("safe");
    life.disk.refuse("-wal");
    let ino = life.create("f");
    life.write(ino, 0, b"the only copy");
    let failed = life.fsync(ino).await;
    life.disk.allow();
    life.fsync(ino).await.expect("safe");
    assert_eq!(life.lose_power(0, false).read(ino).as_deref(), Some(b"the only copy".as_slice()));
    assert!(failed.is_err(), "a program was told that it is safe");
}

/// Numbers that were made up when the journal could not be written are stored when it can be again; the next run, in the
/// same trouble, makes up others.
#[tokio::test]
async fn a_made_up_number_is_made_up_once() {
    for stored_in in ["the index", "the journal"] {
        // No block is open in a new run.
        let life = Life::begin().die(|_| {});
        life.journal.store.refuse(true);
        let (made_up, _) = life.journal.index().write(|txn| txn.upsert(&in_the_cloud("a", "a", "1"))).expect("writes");
        assert!(made_up.0 >= MADE_UP, "{stored_in}");
        life.journal.store.refuse(false);
        assert!(life.journal.inos().next_ino().0 < MADE_UP, "{stored_in}: there is room again");
        if stored_in == "the journal" {
            let journal = &life.journal;
            let intent = Intent::about(made_up, journal.known(&journal.lock(), made_up).expect("known"), journal.now());
            let intent = Intent { deleted: true, ..intent };
            journal.apply(&mut journal.lock(), Batch { put: vec![intent], ..Batch::default() }).expect("stored");
            std::fs::remove_dir_all(life.dir.path().join("index")).expect("the index is lost");
        }
        let again = life.die(|_| {});
        again.journal.store.refuse(true);
        let next = again.journal.inos().next_ino();
        assert!(next.0 >= MADE_UP && next != made_up, "{stored_in}: it stands for something");
    }
}

/// Somebody else's round makes it safe, and it is written on before the fsync asks what has become of it.
#[tokio::test]
async fn an_fsync_is_about_what_there_was_when_it_was_called() {
    let life = Life::begin();
    let ino = life.create("f");
    life.write(ino, 0, b"asked for");
    let fsynced = life.journal.checkpoint(ino).expect("recorded");
    life.journal.sync().await.expect("safe");
    life.write(ino, 0, b"and more, later");
    life.journal.sync_content(fsynced).await.expect("nothing has failed");
    // The same of a close, and a copy of what was closed that another handle has begun.
    let closed = life.journal.seal(ino).expect("seals");
    life.journal.remove_writer(ino);
    life.journal.sync().await.expect("safe");
    life.write(ino, 0, b"in a copy");
    life.journal.sync_content(closed).await.expect("nothing has failed");
}

/// After a death there are two: one that was closed, and a newer one that was fsynced. The newer lands, and a third is lost
/// with the power before it is safe.
#[tokio::test]
async fn what_was_closed_before_what_was_taken_after_a_death_does_not_come_back() {
    let first = Life::begin();
    let ino = first.create("f");
    first.write(ino, 0, b"closed");
    first.close(ino);
    first.journal.add_writer(ino);
    first.cut(ino, 0);
    first.write(ino, 0, b"fsynced");
    first.fsync(ino).await.expect("safe");

    let second = first.die(|disk| disk.refuse("spool"));
    assert_eq!(second.read(ino).as_deref(), Some(b"fsynced".as_slice()));
    assert_eq!(second.lose_power(0, true).read(ino).as_deref(), Some(b"fsynced".as_slice()));

    let third = first.die(|_| {});
    third.journal.sync().await.expect("safe");
    let sealed = third.journal.get(ino).and_then(|intent| intent.sealed);
    third.journal.acknowledge(ino, &in_the_cloud("f", "f", "1"), sealed, true).expect("lands");
    third.disk.refuse("spool");
    let known = third.journal.known(&third.journal.lock(), ino);
    let draft = third.journal.writable(Subject { known, ..subject(ino) }, true).expect("a draft");
    draft.write(0, b"lost", third.journal.now()).expect("writes");
    assert!(third.journal.seal(ino).expect("seals").is_some());
    assert_eq!(third.lose_power(0, true).read(ino), None, "it is older than what is in the cloud");
}

/// The journal cannot be written at the moment when what replaced a version has become safe.
#[tokio::test]
async fn what_was_replaced_goes_later_if_it_could_not_go_at_once() {
    let life = Life::begin();
    let ino = life.create("f");
    life.write(ino, 0, b"the first");
    life.close(ino);
    life.journal.sync().await.expect("safe");
    let first = life.journal.get(ino).and_then(|intent| intent.sealed).expect("sealed");
    life.disk.refuse("spool");
    life.cut(ino, 0);
    life.write(ino, 0, b"the second");
    assert!(life.journal.seal(ino).expect("seals").is_some());
    let second = life.journal.content(ino).expect("sealed");
    life.disk.allow();
    life.journal.store.refuse(true);
    let flushed = second.flush().expect("syncs").expect("it was not safe");
    second.note_durable(flushed);
    life.journal.retire_superseded().expect_err("nothing can be written");
    life.journal.store.refuse(false);
    life.journal.sync().await.expect("safe");
    assert!(life.journal.draft(first).is_none(), "nobody needs it any more");
}

/// An edit of a part of a file is fsynced, cut, and grows again before the daemon dies.
#[tokio::test]
async fn what_was_cut_off_after_an_fsync_is_not_read_from_the_version_before() {
    for cut in [5, 0] {
        let life = Life::begin();
        let ino = life.create("f");
        life.write(ino, 0, b"the version before");
        life.close(ino);
        let sealed = life.journal.get(ino).and_then(|intent| intent.sealed);
        let landed = Item { size: 3000, ..in_the_cloud("f", "f", "1") };
        life.journal.acknowledge(ino, &landed, sealed, true).expect("lands");
        life.journal.add_writer(ino);
        let known = life.journal.known(&life.journal.lock(), ino);
        let draft = life.journal.writable(Subject { known, ..subject(ino) }, false).expect("a draft");
        draft.write(10, b"edited", life.journal.now()).expect("writes");
        life.fsync(ino).await.expect("safe");
        life.cut(ino, cut);
        life.write(ino, 2000, b"and more");
        let after = life.die(|_| {});
        let draft = after.journal.content(ino).expect("it is there");
        assert_eq!((draft.size(), draft.missing()), (2008, RangeSet::of(0..cut)));
        let found = draft.read(cut..3000).expect("reads");
        let wanted = [vec![0; 2000 - cut as usize], b"and more".to_vec()].concat();
        assert_eq!(found, [Piece::Here(wanted.into())], "{cut}");
    }
}
