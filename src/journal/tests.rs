//! What a mutation that cannot be written leaves behind: nothing.

use std::path::Path;

use crate::base::clock::SystemClock;
use crate::base::disk::RealDisk;
use crate::base::ids::{ContentTag, DriveId, MetaTag};
use crate::remote::Item;

use super::*;

mod fickle;
mod loss;

/// A journal on an index of an empty drive.
fn journal(folder: &Path) -> Arc<Journal> {
    open(folder, RealDisk::shared(), "this boot")
}

fn open(folder: &Path, disk: Arc<dyn Disk>, boot: &str) -> Arc<Journal> {
    let (journal, _) = Journal::open(Opening {
        folder: folder.join("journal"),
        disk,
        clock: Arc::new(SystemClock::new()),
        settings: JournalSettings { debounce: Duration::from_secs(3600), min_free: 0 },
        boot: boot.into(),
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
    assert!(journal.seal(ino).expect("seals").is_some());
    ino
}

fn read(journal: &Journal, ino: Ino) -> Option<Vec<u8>> {
    let draft = journal.content(ino)?;
    draft.read_complete(0..draft.size()).ok().map(|bytes| bytes.to_vec())
}

fn subject(ino: Ino) -> Subject {
    Subject { ino, known: None, real_size: None, opened_on: None, saw: None }
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

/// Between the moment when a draft is handed out to be written and the write, another descriptor of the same open file may
/// be closed.
#[test]
fn what_is_written_after_a_seal_is_not_written_past_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let before = journal(dir.path());
    let ino = before.create_file(Ino::ROOT, "document", false).expect("makes");
    before.add_writer(ino);
    let handed_out = before.writable(subject(ino), false).expect("a draft");
    handed_out.write(0, b"the beginning", before.now()).expect("writes");
    assert!(before.seal(ino).expect("seals").is_some());
    for change in [
        handed_out.write(13, b" and the end", before.now()),
        handed_out.truncate(5, before.now()),
        handed_out.zero(0..5, before.now()),
    ] {
        assert!(SealedDraft::is_behind(&change.expect_err("it is sealed")));
    }
    assert_eq!(read(&before, ino).as_deref(), Some(b"the beginning".as_slice()));
    // Whoever asks again is told to go on with it.
    let again = before.writable(subject(ino), false).expect("a draft");
    assert_eq!(again.id, handed_out.id);
    again.write(13, b" and the end", before.now()).expect("writes");
    before.store.refuse(true);
    before.seal(ino).expect_err("nothing can be written");
    before.store.refuse(false);
    again.write(25, b".", before.now()).expect("what could not be sealed is not");
    assert!(before.seal(ino).expect("seals").is_some());
    drop((before, again, handed_out));
    let after = journal(dir.path());
    assert_eq!(read(&after, ino).as_deref(), Some(b"the beginning and the end.".as_slice()));
}

fn in_the_cloud(id: &str, name: &str, tag: &str) -> Item {
    let drive = DriveId::new("b!drive");
    Item {
        id: ItemId::new(&drive, id),
        parent: Some(ItemId::new(&drive, "root")),
        name: name.into(),
        kind: crate::remote::ItemKind::File,
        size: 1,
        modified: Timestamp::from_seconds(5),
        created: Timestamp::from_seconds(5),
        meta_tag: MetaTag(tag.into()),
        content_tag: Some(ContentTag(tag.into())),
        link_to: None,
    }
}

/// A new file that has landed and has been written again.
fn edited(journal: &Journal, name: &str) -> Ino {
    let ino = write(journal, name, b"1");
    journal.acknowledge(ino, &in_the_cloud(name, name, "1"), None, false).expect("lands");
    let subject = Subject { known: journal.known(&journal.lock(), ino), ..subject(ino) };
    journal.writable(subject, true).expect("a draft").write(0, b"2", journal.now()).expect("writes");
    journal.seal(ino).expect("seals");
    ino
}

/// `a` is on its way when it is renamed over `b`, whose own second version may have arrived unseen. That version stays
/// known as ours when the answer about `a` comes.
#[tokio::test]
async fn an_answer_about_what_was_taken_over_from_forgets_nothing_about_what_was_taken_over() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = journal(dir.path());
    let (a, b) = (edited(&journal, "a"), edited(&journal, "b"));
    let unseen = ContentTag("unseen".into());
    journal.note_sending(b, None, None, Some(&unseen)).expect("noted");
    journal.note_sending(a, None, None, Some(&ContentTag("on its way".into()))).expect("noted");
    journal.lock().busy.insert(a, UnderWay { item: None, place: None, picked: Timestamp(0) });
    journal.rename(subject(a), Ino::ROOT, "b", false, Some(subject(b)), true).expect("renames");
    journal.acknowledge(a, &in_the_cloud("a", "a", "2"), None, false).expect("lands");
    let now = journal.get(a).expect("it has work");
    assert_eq!(now.item.map(|item| item.id), Some("b".into()));
    assert_eq!(now.sent.map(|sent| sent.versions), Some(vec![unseen]));
}

/// The worker has taken up a new file, and has not noted yet that it sends it. Whatever the user makes of the file in that
/// moment, a second one of the name waits for the answer: otherwise two are made at one place.
#[tokio::test]
async fn a_place_that_something_is_being_sent_to_is_taken_whatever_becomes_of_what_is_sent() {
    for case in ["renamed", "renamed over another", "deleted", "replaced"] {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = journal(dir.path());
        let document = edited(&journal, "document");
        let ino = write(&journal, "new", b"1");
        let root = ItemId::new(&DriveId::new("b!drive"), "root");
        let place = Some((root.clone(), "new".to_owned()));
        journal.lock().busy.insert(ino, UnderWay { item: None, place: place.clone(), picked: Timestamp(0) });
        match case {
            "renamed" => {
                assert!(journal.rename(subject(ino), Ino::ROOT, "other", false, None, false).expect("renames"))
            }
            "deleted" => journal.delete(subject(ino)).expect("deletes"),
            "replaced" => {
                let (other, target) = (write(&journal, "other", b"2"), Some(subject(ino)));
                assert!(journal.rename(subject(other), Ino::ROOT, "new", false, target, true).expect("renames"));
            }
            _ => {
                let target = Some(subject(document));
                assert!(journal.rename(subject(ino), Ino::ROOT, "document", false, target, true).expect("renames"));
            }
        }
        // Of one that took an item over, what it leaves behind.
        let holds = journal.view(|overlay| overlay.holders(&root, "new").any(|holder| holder.item.is_none()));
        assert!(holds, "{case}");
    }
}

/// What was closed before, and is kept until what replaced it is safe, is nothing to go back to once that has landed.
#[tokio::test]
async fn a_version_before_the_one_that_landed_does_not_come_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = journal(dir.path());
    let ino = edited(&first, "a");
    first.writable(subject(ino), true).expect("a draft").write(0, b"3", first.now()).expect("writes");
    first.seal(ino).expect("seals");
    let sealed = first.get(ino).and_then(|intent| intent.sealed);
    first.acknowledge(ino, &in_the_cloud("a", "a", "2"), sealed, true).expect("lands");
    let subject = Subject { known: first.known(&first.lock(), ino), ..subject(ino) };
    first.writable(subject, true).expect("a draft").write(0, b"4", first.now()).expect("writes");
    // Dies in the middle of the fourth.
    drop(first);
    let again = journal(dir.path());
    assert_eq!(again.get(ino).and_then(|intent| intent.sealed), None, "the third is in the cloud");
}

/// A burst overwrites files of which an upload is under way. Neither the answer nor anything else that the worker notes
/// lets go what is held for the user's word.
#[tokio::test]
async fn what_is_held_stays_held_whatever_becomes_of_what_was_under_way() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = journal(dir.path());
    let ino = edited(&journal, "a");
    let sealed = journal.get(ino).expect("it has work").sealed;
    journal.writable(subject(ino), true).expect("a draft").write(0, b"3", journal.now()).expect("writes");
    journal.seal(ino).expect("seals");
    {
        let mut state = journal.lock();
        let held = state.overlay.get(ino).cloned().expect("it has work");
        let held = Intent { progress: Progress::Parked(ParkReason::Burst), ..held };
        journal.apply(&mut state, Batch { put: vec![held], ..Batch::default() }).expect("stored");
    }
    let is_held = || journal.get(ino).is_some_and(|intent| intent.is_held());
    journal.note_progress(ino, Progress::Waiting).expect("noted");
    assert!(is_held(), "a note");
    journal.acknowledge(ino, &in_the_cloud("a", "a", "2"), sealed, true).expect("lands");
    assert!(is_held(), "the answer");
    assert_eq!(journal.approve(&[ino]).expect("approves"), 1);
    assert!(!is_held());
}

/// The worker has taken up an edit of an item, and another file is saved over it before the worker notes what it sends.
/// It sends nothing then: the answer might be lost, and what it sent be taken for somebody else's.
#[tokio::test]
async fn what_was_taken_over_before_it_was_noted_as_sent_is_not_sent() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = journal(dir.path());
    let (document, temporary) = (edited(&journal, "document"), write(&journal, "temporary", b"3"));
    let item = journal.get(document).and_then(|intent| intent.item).expect("it has landed");
    journal.lock().busy.insert(document, UnderWay { item: Some(item.clone()), place: None, picked: Timestamp(0) });
    journal.rename(subject(temporary), Ino::ROOT, "document", false, Some(subject(document)), true).expect("renames");
    let tag = ContentTag("on its way".into());
    assert!(!journal.note_sending(document, Some(&item), None, Some(&tag)).expect("noted"));
    assert!(journal.note_sending(temporary, Some(&item), None, Some(&tag)).expect("noted"));
}

/// The same of a new file that is saved over a document: what it may have sent under its own name is to be cleaned up, and
/// the document is at no other place for that.
#[tokio::test]
async fn what_is_under_way_as_new_and_takes_over_an_item_leaves_its_remains_where_it_was_sent() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = journal(dir.path());
    let (document, temporary) = (edited(&journal, "document"), write(&journal, "temporary", b"3"));
    let place = (ItemId::new(&DriveId::new("b!drive"), "root"), "temporary".to_owned());
    journal.lock().busy.insert(temporary, UnderWay { item: None, place: Some(place.clone()), picked: Timestamp(0) });
    journal.rename(subject(temporary), Ino::ROOT, "document", false, Some(subject(document)), true).expect("renames");
    let place_of = |intent: &Intent| intent.sent.as_ref().and_then(|sent| sent.place.clone());
    assert_eq!(journal.get(temporary).and_then(|intent| place_of(&intent)), None);
    let remains: Vec<Intent> = journal.view(|all| all.iter().filter(|one| one.deleted).cloned().collect());
    assert_eq!(remains.iter().map(place_of).collect::<Vec<_>>(), [Some(place.clone())]);
    // It has an item now, so that the worker has nothing new to make.
    let tag = ContentTag("3".into());
    assert!(!journal.note_sending(temporary, None, Some(place), Some(&tag)).expect("noted"));
}

/// After a death two look for what was sent, and one of them deletes it while the answer to the other's look is on its way.
/// What was looked at is gone, and nobody waits for it.
#[tokio::test]
async fn what_was_found_as_ours_and_is_deleted_by_now_is_not_waited_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = journal(dir.path());
    let (finder, deleter) = (write(&journal, "a", b"1"), edited(&journal, "b"));
    let found = in_the_cloud("b", "b", "1");
    journal
        .note_sending(finder, None, Some((found.parent.clone().expect("a folder"), "b".into())), None)
        .expect("noted");
    for ino in [finder, deleter] {
        journal.delete(subject(ino)).expect("deletes");
        journal.lock().busy.insert(ino, UnderWay { item: None, place: None, picked: Timestamp(0) });
    }
    journal.acknowledge_deletion(deleter).expect("lands");
    journal.acknowledge(finder, &found, None, false).expect("lands");
    let step = journal.get(finder).map(|intent| super::intent::next_step(&intent, None));
    assert_eq!(step, Some(super::intent::Step::Settled));
    assert!(!journal.index().is_newborn(&found.id, journal.now()).expect("known"));
}

/// A log that only ever grows would make every start slower, and fill the disk.
#[test]
fn twenty_thousand_mutations_leave_no_long_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = journal(dir.path());
    let log = || std::fs::metadata(dir.path().join("journal/journal.db-wal")).map_or(0, |facts| facts.len());
    let ino = journal.create_folder(Ino::ROOT, "folder").expect("makes");
    let mut longest = 0;
    for number in 0..20_000 {
        journal.set_modified(subject(ino), Timestamp(number)).expect("sets");
        longest = longest.max(log());
    }
    assert!(longest < 96 << 20, "{longest}");
    // The rounds go on, and the log comes to its usual length.
    let begun = std::time::Instant::now();
    for number in 20_000.. {
        journal.set_modified(subject(ino), Timestamp(number)).expect("sets");
        if log() < 5 << 20 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{} bytes stay", log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Between the look at a folder and what is put into it a poll may have removed it. Whoever sheltered what was in it has
/// been there already: what comes now would be in no folder at all.
#[tokio::test]
async fn nothing_is_put_into_a_folder_that_has_just_gone() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = journal(dir.path());
    let index = journal.index().clone();
    let folder = |id: &str| Item { kind: crate::remote::ItemKind::Folder, ..in_the_cloud(id, id, "1") };
    let inside = Item { parent: Some(folder("gone").id), ..in_the_cloud("inside", "inside", "1") };
    let ((gone, stays, inside), _) = index
        .write(|txn| Ok((txn.upsert(&folder("gone"))?, txn.upsert(&folder("stays"))?, txn.upsert(&inside)?)))
        .expect("writes");
    let seen = Subject { known: journal.known(&journal.lock(), inside), ..subject(inside) };
    let ours = write(&journal, "ours", b"work");
    index.write(|txn| txn.remove(&folder("gone").id)).expect("writes");

    let into = |folder| journal.rename(subject(ours), folder, "ours", false, None, false);
    assert!(matches!(into(gone), Err(StoreError::NoFolder)));
    assert!(matches!(journal.create_folder(gone, "new"), Err(StoreError::NoFolder)));
    assert!(matches!(journal.create_file(gone, "new", false), Err(StoreError::NoFolder)));
    assert!(matches!(journal.writable(seen.clone(), true), Err(StoreError::NoFolder)));
    assert!(matches!(journal.set_modified(seen, Timestamp::from_seconds(7)), Err(StoreError::NoFolder)));
    assert_eq!(journal.view(|all| all.len()), 1);
    assert_eq!(journal.place_of(ours), Some((Ino::ROOT, "ours".into())), "nothing has happened");

    assert!(into(stays).expect("it is there"));
    let new = journal.create_folder(stays, "new").expect("makes");
    assert!(into(new).expect("what is only here is there, too"));
    // What is in it when it goes is sheltered; then it is there again.
    index.write(|txn| txn.remove(&folder("stays").id)).expect("writes");
    journal.shelter().expect("writes");
    assert_eq!(journal.place_of(stays), Some((Ino::ROOT, "stays".into())));
    journal.create_file(stays, "another", false).expect("makes");
}

/// Between the look at a file and what is written to it an edit may land, and a poll bring somebody else's version: that is
/// not what the writer has read.
#[tokio::test]
async fn an_edit_begins_on_what_was_seen_or_not_at_all() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = journal(dir.path());
    let file = write(&journal, "file", b"1");
    let tag = |tag: &str| Saw::Version(ContentTag(tag.into()));
    let begin = |saw: Saw| journal.writable(Subject { saw: Some(saw), ..subject(file) }, false);
    let modified = journal.get(file).expect("it has work").modified;
    let as_it_is = |tag: &str| Item { modified, ..in_the_cloud("file", "file", tag) };
    assert!(matches!(begin(tag("1")), Err(StoreError::NotAsSeen)), "an edit stands before it");
    let spool = journal.get(file).and_then(|intent| intent.sealed);
    journal.acknowledge(file, &as_it_is("1"), spool, true).expect("lands");
    assert!(matches!(begin(Saw::Edit), Err(StoreError::NotAsSeen)), "it has landed");
    journal.index().write(|txn| txn.upsert(&as_it_is("2"))).expect("writes");
    assert!(matches!(begin(tag("1")), Err(StoreError::NotAsSeen)), "somebody has replaced it");
    assert!(journal.get(file).is_none(), "nothing has happened");
    begin(tag("2")).expect("as it was seen");
    assert!(matches!(begin(tag("2")), Err(StoreError::NotAsSeen)), "another has begun");
    begin(Saw::Edit).expect("as it was seen");
}
