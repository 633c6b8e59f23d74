//! What a mutation that cannot be written leaves behind: nothing.

use crate::base::clock::SystemClock;
use crate::base::disk::RealDisk;
use crate::base::ids::DriveId;

use super::*;

/// A journal on an index of an empty drive.
fn journal(folder: &Path) -> Arc<Journal> {
    let (journal, _) = Journal::open(Opening {
        folder: folder.join("journal"),
        disk: RealDisk::shared(),
        clock: Arc::new(SystemClock::new()),
        settings: JournalSettings { debounce: Duration::from_secs(3600), min_free: 0 },
        boot: "this boot".into(),
    })
    .expect("opens");
    let root = ItemId::new(&DriveId::new("b!drive"), "root");
    let index = Index::open(&folder.join("index"), &root, &[], journal.inos()).expect("opens");
    journal.attach(Arc::new(index));
    journal
}

fn write(journal: &Journal, name: &str, bytes: &[u8]) -> Ino {
    let ino = journal.create_file(Ino::ROOT, name, false).expect("makes");
    journal.content(ino).expect("a draft").write(0, bytes, journal.now()).expect("writes");
    assert!(journal.seal(ino).expect("seals"));
    ino
}

fn read(journal: &Journal, ino: Ino) -> Option<Vec<u8>> {
    let draft = journal.content(ino)?;
    draft.read_complete(0..draft.size()).ok().map(|bytes| bytes.to_vec())
}

fn subject(ino: Ino) -> Subject {
    Subject { ino, known: None, real_size: None }
}

#[tokio::test]
async fn a_replacement_that_could_not_be_recorded_leaves_the_old_content() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = journal(dir.path());
    let document = write(&journal, "document", b"the only copy");
    let temporary = write(&journal, "temporary", b"the new one");
    let over = || journal.rename(subject(temporary), Ino::ROOT, "document", false, Some(subject(document)), true);

    journal.store.refuse(true);
    over().expect_err("nothing can be written");
    journal.store.refuse(false);
    // The new content becomes safe; that is no reason to drop what it has not replaced.
    journal.sync().await.expect("durable");
    journal.sync().await.expect("durable");
    assert_eq!(read(&journal, document).as_deref(), Some(b"the only copy".as_slice()));

    assert!(over().expect("there is room again"));
    assert_eq!(read(&journal, temporary).as_deref(), Some(b"the new one".as_slice()));
}

#[tokio::test]
async fn a_seal_that_could_not_be_recorded_leaves_the_one_before() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = journal(dir.path());
    let document = write(&journal, "document", b"the only copy");
    journal.sync().await.expect("durable");
    // As long as a handle is open the same draft would be written on.
    journal.add_writer(document);
    journal.remove_writer(document);
    let first = journal.get(document).and_then(|intent| intent.sealed).expect("sealed");
    journal.writable(subject(document), true).expect("a draft").write(0, b"torn", journal.now()).expect("writes");
    journal.checkpoint(document).expect("recorded");
    journal.store.refuse(true);
    journal.seal(document).expect_err("nothing can be written");
    journal.store.refuse(false);
    journal.sync().await.expect("durable");
    journal.sync().await.expect("durable");
    assert!(journal.draft(first).is_some_and(|draft| draft.path().exists()), "the seal that counts has its content");
}
