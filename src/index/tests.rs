//! What the cloud says arrives in any order, twice and late; the index stays one tree with stable numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::stored::{COLUMNS, row_of};
use super::*;
use crate::remote::Item;

struct Counter(AtomicU64);
impl InoSource for Counter {
    fn next_ino(&self) -> Ino {
        Ino(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

fn drive() -> DriveId {
    DriveId::new("b!drive")
}

fn id(text: &str) -> ItemId {
    ItemId::new(&drive(), text)
}

fn item(name: &str, parent: &str, tag: &str) -> Item {
    Item {
        id: id(name),
        parent: Some(id(parent)),
        name: name.to_owned(),
        kind: ItemKind::File,
        size: 3,
        modified: Timestamp::from_seconds(100),
        created: Timestamp::from_seconds(50),
        meta_tag: MetaTag(tag.to_owned()),
        content_tag: Some(ContentTag::from_service(tag, 3)),
        link_to: None,
    }
}

fn folder(name: &str, parent: &str) -> Item {
    Item { kind: ItemKind::Folder, content_tag: None, size: 0, ..item(name, parent, "f") }
}

fn open(dir: &Path, anchors: &[(Ino, ItemId)]) -> Index {
    Index::open(dir, &id("root"), anchors, Arc::new(Counter(AtomicU64::new(100)))).expect("opens")
}

#[test]
fn a_child_may_arrive_before_its_folder_and_numbers_survive_a_restart() {
    let dir = tempfile::tempdir().expect("temp");
    let ino = {
        let index = open(dir.path(), &[]);
        let ((), notices) = index
            .write(|txn| {
                txn.upsert(&item("a.txt", "docs", "1"))?;
                assert!(txn.by_id(&id("docs"))?.is_none(), "a folder we only heard of has no place");
                txn.upsert(&folder("docs", "root"))?;
                Ok(())
            })
            .expect("writes");
        assert_eq!(notices.len(), 2);
        index.child(Ino::ROOT, "DOCS").expect("reads").expect("found without case").ino
    };
    let index = open(dir.path(), &[]);
    let docs = index.by_ino(ino).expect("reads").expect("still there");
    assert_eq!(docs.name, "docs");
    assert_eq!(index.children(docs.ino).expect("reads").len(), 1);
    assert!(index.has_children(docs.ino).expect("reads"));
}

#[test]
fn an_unchanged_item_makes_no_news_and_a_local_fraction_of_a_second_survives() {
    let dir = tempfile::tempdir().expect("temp");
    let index = open(dir.path(), &[]);
    let fine = Timestamp(100_000_000_123);
    index.write(|txn| txn.upsert_with(&item("a", "root", "1"), Some((fine, Timestamp(7))))).expect("writes");
    let (_, notices) = index.write(|txn| txn.upsert(&item("a", "root", "1"))).expect("writes");
    assert_eq!(notices, []);
    let (_, notices) = index.write(|txn| txn.upsert(&item("a", "root", "2"))).expect("writes");
    assert_eq!(notices[0].what, What::Content);
    assert_eq!(index.by_id(&id("a")).expect("reads").expect("there").modified, fine);
}

#[test]
fn a_newcomer_displaces_the_old_holder_of_its_name_which_keeps_its_number() {
    let dir = tempfile::tempdir().expect("temp");
    let index = open(dir.path(), &[]);
    index.write(|txn| txn.upsert(&item("a", "root", "1"))).expect("writes");
    let old = index.by_id(&id("a")).expect("reads").expect("there").ino;
    let newcomer = Item { id: id("other"), name: "A".to_owned(), ..item("a", "root", "9") };
    let (_, notices) = index.write(|txn| txn.upsert(&newcomer)).expect("writes");
    let leads_nowhere =
        |n: &Notice| matches!(&n.what, What::Moved { name, .. } if name == "a") && n.parent.0 == NOWHERE;
    assert!(notices.iter().any(|n| n.ino == old && leads_nowhere(n)), "it lives, and nobody knows where");
    assert!(index.by_ino(old).expect("reads").is_none());
    let moved = Item { name: "b".to_owned(), ..item("a", "root", "1") };
    index.write(|txn| txn.upsert(&moved)).expect("writes");
    assert_eq!(index.by_ino(old).expect("reads").expect("back").name, "b");
}

#[test]
fn removing_a_folder_removes_what_is_below() {
    let dir = tempfile::tempdir().expect("temp");
    let index = open(dir.path(), &[]);
    let (_, notices) = index
        .write(|txn| {
            txn.upsert(&folder("d", "root"))?;
            txn.upsert(&folder("e", "d"))?;
            txn.upsert(&item("f", "e", "1"))?;
            txn.remove(&id("d"))?;
            txn.remove(&id("never heard of"))
        })
        .expect("writes");
    assert_eq!(notices.iter().filter(|n| n.what == What::Removed).count(), 3);
    assert_eq!(index.count(), 1);
}

#[test]
fn an_index_of_another_drive_or_a_damaged_one_starts_empty_but_keeps_anchors() {
    let dir = tempfile::tempdir().expect("temp");
    open(dir.path(), &[]).write(|txn| txn.upsert(&item("a", "root", "1"))).expect("writes");
    std::fs::write(dir.path().join("index.db"), b"not a database at all, but long enough to be read as one")
        .expect("damage");
    let index = open(dir.path(), &[(Ino(42), id("a"))]);
    assert!(index.by_id(&id("a")).expect("reads").is_none());
    index.write(|txn| txn.upsert(&item("a", "root", "1"))).expect("writes");
    assert_eq!(index.by_id(&id("a")).expect("reads").expect("there").ino, Ino(42));
}

#[test]
fn taking_over_an_item_moves_its_identity_to_the_new_inode() {
    let dir = tempfile::tempdir().expect("temp");
    let index = open(dir.path(), &[]);
    index.write(|txn| txn.upsert(&item("a", "root", "1"))).expect("writes");
    index.write(|txn| txn.bind(Ino(77), &id("a"))).expect("writes");
    assert_eq!(index.by_id(&id("a")).expect("reads").expect("there").ino, Ino(77));
    assert_eq!(index.count(), 2);
}

#[test]
fn a_report_of_the_state_before_our_own_change_is_recognised_for_a_while() {
    let dir = tempfile::tempdir().expect("temp");
    let index = open(dir.path(), &[]);
    let now = Timestamp::from_seconds(1000);
    let later = Timestamp::from_seconds(1120);
    index
        .write(|txn| {
            txn.expect_echo(&id("a"), &MetaTag("old".into()), false, later)?;
            assert!(txn.is_stale_echo(&id("a"), &MetaTag("old".into()), now)?);
            assert!(!txn.is_stale_echo(&id("a"), &MetaTag("new".into()), now)?);
            assert!(!txn.is_stale_echo(&id("a"), &MetaTag("old".into()), later)?);
            txn.expect_echo(&id("a"), &MetaTag("older".into()), false, later)?;
            txn.forget_echo_of(&id("a"), &MetaTag("old".into()))?;
            assert!(!txn.is_stale_echo(&id("a"), &MetaTag("old".into()), now)?, "it is the present state again");
            assert!(txn.is_stale_echo(&id("a"), &MetaTag("older".into()), now)?);
            Ok(())
        })
        .expect("writes");
}

#[test]
fn a_row_that_is_not_what_was_written_is_never_shown_and_the_next_start_builds_a_new_index() {
    let dir = tempfile::tempdir().expect("temp");
    let spoil = |sql: &str| {
        let other = Connection::open(dir.path().join("index.db")).expect("opens");
        assert_eq!(other.execute(sql, []).expect("spoils"), 1);
    };
    let fill = |index: &Index| index.write(|txn| txn.upsert(&item("a", "root", "1")).map(|_| ())).expect("writes");
    for column in [
        "size = 4",
        "name = 'b'",
        "content_tag = 'x'",
        "meta_tag = '2'",
        "kind = 1",
        "sum = NULL",
        "id_sum = 1",
        "fold = 1",
        // A folder that nobody has listed would be shown empty, and an item in a folder where it is not.
        "complete = 1",
        "parent = 7",
        "ino = 7",
    ] {
        {
            let index = open(dir.path(), &[]);
            assert_eq!(index.count(), 1, "{column}: an index with damage is dropped");
            fill(&index);
            spoil(&format!("UPDATE items SET {column} WHERE id = 'a'"));
            let met = index.children(Ino::ROOT).and_then(|_| index.by_id(&id("a")));
            met.expect_err("damage met in use is an error");
        }
        assert!(dir.path().join("index.damaged").exists(), "{column}");
        let index = open(dir.path(), &[]);
        assert_eq!(index.count(), 1, "{column}: only the root");
        fill(&index);
        drop(index);
        spoil(&format!("UPDATE items SET {column} WHERE id = 'a'"));
    }
}

#[test]
fn a_value_that_is_not_what_was_written_is_damage_wherever_it_stands() {
    type Meets<'a> = &'a dyn Fn(&Index) -> bool;
    let later = Timestamp::from_seconds(2000);
    let now = Timestamp::from_seconds(1000);
    let tag = MetaTag("old".into());
    let met: [(&str, Meets<'_>); 7] = [
        ("UPDATE meta SET value = 'another' WHERE key = 'cursor'", &|index| index.cursor().is_err()),
        ("UPDATE meta SET key = 'enumerated' WHERE key = 'quota'", &|index| index.is_enumerated().is_err()),
        ("UPDATE gone SET parent = 7", &|index| index.gone(Ino(100)).is_err()),
        ("UPDATE gone SET name = 'e'", &|index| index.gone(Ino(100)).is_err()),
        ("UPDATE echoes SET until = 1 << 62", &|index| index.is_overtaken(&id("a"), &tag, now).is_err()),
        ("UPDATE echoes SET gone = 1", &|index| index.is_deleted_here(&id("a"), now).is_err()),
        ("UPDATE echoes SET tag = ''", &|index| index.is_newborn(&id("a"), now).is_err()),
    ];
    for (damage, meets) in met {
        let dir = tempfile::tempdir().expect("temp");
        let index = open(dir.path(), &[]);
        let fill = index.write(|txn| {
            let ino = txn.upsert(&folder("d", "root"))?;
            assert_eq!(ino, Ino(100));
            txn.remove(&id("d"))?;
            txn.expect_echo(&id("a"), &tag, false, later)?;
            txn.set_meta(meta::CURSOR, Some("here"))?;
            txn.set_meta(meta::QUOTA, Some("much"))
        });
        fill.expect("writes");
        assert!(!meets(&index), "{damage}: nothing has happened yet");
        let other = Connection::open(dir.path().join("index.db")).expect("opens");
        assert_eq!(other.execute(damage, []).expect("spoils"), 1);
        assert!(meets(&index), "{damage}");
        drop((index, other));
        assert!(dir.path().join("index.damaged").exists(), "{damage}");
        assert_eq!(open(dir.path(), &[]).cursor().expect("reads"), None, "{damage}: a new index");
    }
}

/// Whatever moves an item, numbers it anew or says what is known of it keeps its sum with it.
#[test]
fn a_row_is_sound_after_everything_that_changes_a_part_of_it() {
    let dir = tempfile::tempdir().expect("temp");
    let index = open(dir.path(), &[]);
    let sound = |what: &str| {
        let reader = Connection::open(dir.path().join("index.db")).expect("opens");
        let mut query = reader.prepare(&format!("SELECT {COLUMNS} FROM items")).expect("asks");
        let rows = query.query_map([], |row| row_of(&drive(), row)).expect("reads");
        rows.map(|row| row.unwrap_or_else(|error| panic!("after {what}: {error}"))).collect::<Vec<_>>()
    };
    let step = |what: &str, f: &dyn Fn(&mut Txn<'_>) -> IndexResult<()>| {
        index.write(f).unwrap_or_else(|error| panic!("{what}: {error}"));
        sound(what)
    };
    step("nothing", &|_| Ok(()));
    step("the root's listing", &|txn| txn.set_complete(Ino::ROOT, true));
    step("items before their folder", &|txn| {
        txn.upsert(&item("in d", "d", "1"))?;
        txn.upsert(&item("too", "d", "1")).map(drop)
    });
    step("the folder", &|txn| txn.upsert(&folder("d", "root")).map(drop));
    let d = index.by_id(&id("d")).expect("reads").expect("there").ino;
    step("its listing", &|txn| txn.set_complete(d, true));
    step("news of it", &|txn| txn.upsert(&Item { meta_tag: MetaTag("g".into()), ..folder("d", "root") }).map(drop));
    assert!(index.by_ino(d).expect("reads").expect("there").complete, "what is known stays known");
    step("another number", &|txn| txn.bind(Ino(7000), &id("d")));
    assert_eq!(index.children(Ino(7000)).expect("reads").len(), 2);
    step("a claim", &|txn| txn.claim(Ino(7000), &id("in d")));
    step("a namesake in its place", &|txn| txn.upsert(&Item { name: "d".into(), ..folder("e", "root") }).map(drop));
    let rows = step("the whole drive", &|txn| txn.set_all_complete());
    assert!(rows.iter().any(|row| row.name == "e" || row.complete));
    step("its new place", &|txn| txn.upsert(&Item { name: "f".into(), ..folder("d", "root") }).map(drop));
    assert!(index.by_id(&id("d")).expect("reads").expect("there").complete, "and it is known as before");
    step("forgetting it", &|txn| txn.set_complete(Ino::ROOT, false));
    index.keep_namesakes();
    step("one of its name", &|txn| txn.upsert(&Item { name: "f".into(), ..folder("g", "root") }).map(drop));
    step("its name back", &|txn| txn.remove(&id("g")));
}

#[test]
fn where_two_may_have_one_name_both_are_shown_and_the_name_comes_back() {
    let dir = tempfile::tempdir().expect("temp");
    let index = open(dir.path(), &[]);
    index.keep_namesakes();
    let file = |number: u32| Item {
        id: id(&format!("file.cid.CID!{number}")),
        name: "a.txt".into(),
        ..item("x", "root", "1")
    };
    let names = |index: &Index| -> Vec<String> {
        let mut names: Vec<_> = index.children(Ino::ROOT).expect("reads").into_iter().map(|row| row.name).collect();
        names.sort();
        names
    };
    let take = |number: u32| index.write(|txn| txn.upsert(&file(number))).expect("writes");
    let (first, _) = take(231);
    let (second, notices) = take(232);
    assert_eq!(names(&index), ["a (231).txt", "a.txt"]);
    assert!(notices.iter().any(|n| n.ino == first && n.name == "a (231).txt"));
    // Heard of again it stays where it is.
    assert_eq!(take(231).1, []);
    assert_eq!(take(232).1, []);
    assert_eq!(index.child(Ino::ROOT, "a.txt").expect("reads").expect("there").ino, second);
    index.write(|txn| txn.remove(&file(232).id)).expect("writes");
    assert_eq!(names(&index), ["a.txt"]);
    assert_eq!(index.child(Ino::ROOT, "a.txt").expect("reads").expect("there").ino, first);
    // The rows are sound: another process reads them.
    drop(index);
    assert_eq!(names(&open(dir.path(), &[])), ["a.txt"]);
}

#[test]
fn a_large_folder_goes_quickly_where_two_may_have_one_name() {
    const MANY: u32 = 20_000;
    let file = |number: u32| Item {
        id: id(&format!("file.cid.CID!{number}")),
        name: format!("picture ({number}0).jpg"),
        ..item("x", "large", "1")
    };
    let fill = |index: &Index| {
        index.keep_namesakes();
        let fill = |txn: &mut Txn<'_>| {
            txn.upsert(&folder("large", "root"))?;
            (0..MANY).try_for_each(|number| txn.upsert(&file(number)).map(drop))
        };
        index.write(fill).expect("writes");
        assert_eq!(index.count(), u64::from(MANY) + 2);
    };
    // As one folder, and as a feed tells it: one after the other.
    for whole in [true, false] {
        let dir = tempfile::tempdir().expect("temp");
        let index = open(dir.path(), &[]);
        fill(&index);
        let began = std::time::Instant::now();
        let ((), notices) = index
            .write(|txn| match whole {
                true => txn.remove(&id("large")),
                false => (0..MANY).try_for_each(|number| txn.remove(&file(number).id)),
            })
            .expect("writes");
        assert_eq!(notices.len(), MANY as usize + usize::from(whole));
        // With a look at all that is left for each that goes these were minutes.
        let took = began.elapsed();
        assert!(took < std::time::Duration::from_secs(30), "{took:?}");
    }
}

#[test]
fn a_name_comes_back_within_the_transaction_that_took_it() {
    let dir = tempfile::tempdir().expect("temp");
    let index = open(dir.path(), &[]);
    index.keep_namesakes();
    let file = |number: u32, name: &str| Item {
        id: id(&format!("file.cid.CID!{number}")),
        name: name.into(),
        ..item("x", "root", "1")
    };
    index
        .write(|txn| {
            txn.upsert(&file(1, "a"))?;
            // A look at the folder before anybody stands aside in it.
            txn.upsert(&file(9, "b"))?;
            txn.remove(&file(9, "b").id)?;
            txn.upsert(&file(2, "a"))?;
            txn.upsert(&file(3, "a"))?;
            txn.remove(&file(3, "a").id)?;
            assert_eq!(txn.by_id(&file(1, "a").id)?.expect("there").name, "a");
            assert_eq!(txn.by_id(&file(2, "a").id)?.expect("there").name, "a (2)");
            // Under another number, and it still waits for its name.
            txn.renumber(&file(2, "a").id)?;
            txn.remove(&file(1, "a").id)?;
            assert_eq!(txn.by_id(&file(2, "a").id)?.expect("there").name, "a");
            // What comes to stand aside of itself, because the name is worked on.
            index.note_wanted([(file(2, "a").id, Some(Some((Ino::ROOT, "a".to_owned()))))]);
            txn.upsert(&file(4, "a"))?;
            assert_eq!(txn.by_id(&file(4, "a").id)?.expect("there").name, "a (4)");
            txn.remove(&file(2, "a").id)?;
            assert_eq!(txn.by_id(&file(4, "a").id)?.expect("there").name, "a");
            Ok(())
        })
        .expect("writes");
}

#[test]
fn what_is_not_seen_takes_no_name_from_what_is_and_what_is_worked_on_keeps_its_own() {
    let dir = tempfile::tempdir().expect("temp");
    let index = open(dir.path(), &[]);
    index.keep_namesakes();
    let file = |number: u32, name: &str| Item {
        id: id(&format!("file.cid.CID!{number}")),
        name: name.into(),
        ..item("x", "root", &format!("{number} {name}"))
    };
    let take = |number: u32, name: &str| index.write(|txn| txn.upsert(&file(number, name))).expect("writes").0;
    let at = |name: &str| index.child(Ino::ROOT, name).expect("reads").map(|row| row.ino);
    let wanted = |number: u32, place: Option<Option<&str>>| {
        let place = place.map(|place| place.map(|name| (Ino::ROOT, name.to_owned())));
        index.note_wanted([(file(number, "").id, place)]);
    };
    // Deleted here, and heard of under another name and back: it stands where the service has it, and is not seen.
    let gone = take(1, "a");
    wanted(1, Some(None));
    take(1, "b");
    let seen = take(2, "a");
    take(1, "a");
    assert_eq!((at("a"), at("a (1)")), (Some(seen), Some(gone)));
    // It is not waited for by a name that becomes free, as long as somebody waits who is seen.
    let third = take(3, "a");
    assert_eq!((at("a"), at("a (2)")), (Some(third), Some(seen)));
    index.write(|txn| txn.remove(&file(3, "a").id)).expect("writes");
    assert_eq!((at("a"), at("a (1)")), (Some(seen), Some(gone)));
    // An edit keeps its name, whatever else comes to have it; and what it makes of its item has it, too.
    wanted(2, Some(Some("A")));
    let newcomer = take(4, "a");
    assert_eq!((at("a"), at("a (4)")), (Some(seen), Some(newcomer)));
    wanted(1, Some(Some("a")));
    wanted(2, None);
    take(1, "a");
    assert_eq!((at("a"), at("a (2)")), (Some(gone), Some(seen)));
}

#[test]
fn an_index_whose_items_cannot_be_found_any_more_is_built_anew_at_the_start() {
    let dir = tempfile::tempdir().expect("temp");
    open(dir.path(), &[]).write(|txn| txn.upsert(&item("a", "root", "1"))).expect("writes");
    let index = open(dir.path(), &[]);
    let ino = index.by_id(&id("a")).expect("reads").expect("there").ino;
    drop(index);
    let other = Connection::open(dir.path().join("index.db")).expect("opens");
    other.pragma_update(None, "writable_schema", true).expect("allows");
    // The root page of one index becomes that of the other: each search looks in the wrong place.
    let swapped = "UPDATE sqlite_schema SET rootpage = (SELECT sum(rootpage) FROM sqlite_schema WHERE type = 'index'
                   AND name LIKE 'items%') - rootpage WHERE type = 'index' AND name LIKE 'items%'";
    assert_eq!(other.execute(swapped, []).expect("spoils"), 2);
    drop(other);
    let index = open(dir.path(), &[(ino, id("a"))]);
    assert_eq!(index.count(), 2, "the root, and what the journal holds on to");
    index.write(|txn| txn.upsert(&item("a", "root", "1"))).expect("writes");
    assert_eq!(index.by_id(&id("a")).expect("reads").expect("there").ino, ino);
}

#[test]
fn where_a_folder_was_is_known_though_another_has_taken_its_name() {
    for namesakes in [false, true] {
        let dir = tempfile::tempdir().expect("temp");
        let index = open(dir.path(), &[]);
        if namesakes {
            index.keep_namesakes();
        }
        let (old, _) = index.write(|txn| txn.upsert(&folder("old", "root"))).expect("writes");
        let named = |id: &str| Item { name: "old".into(), ..folder(id, "root") };
        let (new, _) = index.write(|txn| txn.upsert(&named("new"))).expect("writes");
        index.write(|txn| txn.remove(&id("old"))).expect("writes");
        assert_eq!(index.gone(old).expect("reads"), Some((Ino::ROOT, "old".to_owned())));
        assert_eq!(index.child(Ino::ROOT, "old").expect("reads").map(|row| row.ino), Some(new));
        assert!(!index.is_bound(old).expect("reads"), "it is asked for only then");
    }
}

/// What becomes of such a folder elsewhere nobody has listed.
#[test]
fn a_folder_without_a_place_is_not_completely_known_because_the_drive_was_enumerated() {
    let dir = tempfile::tempdir().expect("temp");
    let index = open(dir.path(), &[]);
    let folder = |id: &str, name: &str| Item {
        kind: ItemKind::Folder,
        content_tag: None,
        name: name.into(),
        ..item(id, "root", "1")
    };
    let written = index.write(|txn| {
        txn.upsert(&folder("first", "name"))?;
        txn.upsert(&folder("second", "name"))?;
        txn.set_all_complete()?;
        txn.upsert(&folder("first", "another"))
    });
    written.expect("writes");
    for (id_of, complete) in [("first", false), ("second", true), ("root", true)] {
        assert_eq!(index.by_id(&id(id_of)).expect("reads").expect("there").complete, complete, "{id_of}");
    }
}
