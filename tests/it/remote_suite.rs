//! What every remote must do, run against the emulator in the flavours that differ.
//!
//! Each check is a function over `Arc<dyn Remote>` and the emulator's own view of the drive, so that what
//! the client believes is compared with what the service holds. At the end of each, the rules that hold for
//! every request are checked.

pub mod bench;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use onedrive_mount::base::hash::QuickXorHash;
use onedrive_mount::base::ids::{ContentTag, DriveId, ItemId};
use onedrive_mount::emulator::{DeltaBehaviour, Flavour, Resync};
use onedrive_mount::remote::{
    Ack, Advice, At, Change, ChangeSource, Item, ItemKind, Offset, Patch, Place, Precondition, RemoteErrorKind, Start,
    Target, list_all,
};

use self::bench::{Bench, UNIT, WHEN, chain, kind, pattern, read, replace, send_from, stale, unchanged};
use crate::world::side::Side;

async fn the_root_is_where_the_service_says(bench: &Bench) {
    let identity = bench.remote.identity().await.expect("a drive");
    assert_eq!(identity.drive, DriveId::new(&bench.drive.drive_id()));
    assert_eq!(identity.root, bench.root);
    assert!(identity.owner.contains("Ada Example"));
    let root = bench.remote.stat(At::Id(&bench.root)).await.expect("the root");
    assert_eq!((root.kind, root.parent, root.id.clone()), (ItemKind::Folder, None, bench.root.clone()));
    assert!(list_all(&*bench.remote, &bench.root).await.expect("a listing").is_empty());
}

async fn a_listing_is_complete_however_long(bench: &Bench) {
    bench.emulator.set_strict(|strict| strict.page_max = 7);
    for number in 0..50 {
        bench.drive.create_file(&format!("/many/file {number}"), format!("{number}"));
    }
    let folder = bench.at("/many").await;
    let listed = list_all(&*bench.remote, &folder.id).await.expect("a listing");
    let held = bench.drive.list("/many");
    assert_eq!(listed.len(), 50);
    let tag = |tag: String| if bench.caps.hashes { tag } else { String::new() };
    let shape = |item: &Item| (item.name.clone(), item.size, tag(item.meta_tag.0.clone()));
    let listed: BTreeSet<_> = listed.iter().map(shape).collect();
    let held: BTreeSet<_> = held.into_iter().map(|view| (view.name, view.size, tag(view.etag))).collect();
    assert_eq!(listed, held);
}

async fn items_are_found_by_id_and_by_name_in_any_case(bench: &Bench) {
    bench.drive.create_file("/Docs/Notes.txt", "hello world\n");
    let folder = bench.at("/docs").await;
    assert_eq!((folder.kind, folder.name.as_str()), (ItemKind::Folder, "Docs"));
    let file = bench.at("/DOCS/notes.TXT").await;
    assert_eq!((file.name.as_str(), file.size, file.parent.as_ref()), ("Notes.txt", 12, Some(&folder.id)));
    bench.assert_version(&file, b"hello world\n");
    assert_eq!(bench.remote.stat(At::Id(&file.id)).await.expect("the same"), file);
    let absent = bench.remote.stat(At::Child(&folder.id, "absent")).await;
    assert_eq!(kind(absent), Some(RemoteErrorKind::NotFound));
}

async fn names_survive_whatever_they_hold(bench: &Bench) {
    for name in ["a#b", "100%", "%41", "a+b", "it's", "a&b=c", "söß", "日本語", "😀", "x~1", "a;b,c@d!$()[]{}^`"]
    {
        let folder = bench.remote.make_folder(&bench.root, name).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        let to = Target { place: Place::New { parent: folder.id.clone(), name: name.into() }, ..bench.new_file("") };
        bench.remote.put_small(&to, Bytes::from_static(b"x"), &Precondition::MustNotExist).await.expect("created");
        let found = bench.remote.stat(At::Child(&folder.id, name)).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(found.name, name);
        assert_eq!(bench.drive.read_file(&format!("/{name}/{name}")), Some(b"x".to_vec()));
    }
}

async fn names_the_service_refuses_are_refused_by_name(bench: &Bench) {
    let bad: &[RemoteErrorKind] = &[RemoteErrorKind::BadName, RemoteErrorKind::TooLong];
    let long = "n".repeat(300);
    for name in ["a:b", "a*b", "a?b", "a|b", "a\"b", "a<b", "trailing.", " leading", "CON", "desktop.ini", &long] {
        let failure = kind(bench.remote.make_folder(&bench.root, name).await);
        assert!(failure.is_some_and(|kind| bad.contains(&kind)), "{name:?}: {failure:?}");
    }
    let failure = bench.remote.make_folder(&bench.root, "a/b").await;
    assert_eq!(kind(failure), Some(RemoteErrorKind::BadName));
    assert!(bench.drive.list("/").is_empty());
}

async fn small_files_are_created_once(bench: &Bench) {
    let item = bench.put("f.txt", b"hello world\n").await;
    bench.assert_version(&item, b"hello world\n");
    assert_eq!(item.parent.as_ref(), Some(&bench.root));
    let again = bench.remote.put_small(&bench.new_file("F.TXT"), Bytes::new(), &Precondition::MustNotExist).await;
    assert_eq!(kind(again), Some(RemoteErrorKind::Exists));
    assert_eq!(bench.drive.read_file("/f.txt"), Some(b"hello world\n".to_vec()));
    let nowhere = match bench.caps.changes {
        ChangeSource::Native => format!("{}0", bench.root.id),
        // The form in which Live Connect names folders, with a number that it has not given out.
        ChangeSource::Listed => format!("{0}.{1}!987654", bench.root.id, bench.root.drive.as_str().to_uppercase()),
    };
    let nowhere = ItemId::new(&bench.root.drive, nowhere);
    let to = Target { place: Place::New { parent: nowhere, name: "g".into() }, ..bench.new_file("") };
    let orphan = bench.remote.put_small(&to, Bytes::new(), &Precondition::MustNotExist).await;
    assert!(matches!(kind(orphan), Some(RemoteErrorKind::NotFound | RemoteErrorKind::BadName)));
}

async fn a_replaced_file_stays_itself(bench: &Bench) {
    let first = bench.put("f.txt", b"one").await;
    let good = unchanged(&first);
    bench.tick();
    let second =
        bench.remote.put_small(&replace(&first.id), Bytes::from_static(b"two"), &good).await.expect("replaced");
    assert_eq!(second.id, first.id);
    assert_ne!(second.content_tag, first.content_tag);
    for pre in [good, stale()] {
        let refused = bench.remote.put_small(&replace(&first.id), Bytes::from_static(b"three"), &pre).await;
        assert_eq!(kind(refused), Some(RemoteErrorKind::Changed));
    }
    assert_eq!(bench.drive.read_file("/f.txt"), Some(b"two".to_vec()));
    assert_eq!(bench.drive.versions("/f.txt"), [b"one".to_vec()]);
    bench.drive.remove("/f.txt");
    let gone = bench.remote.put_small(&replace(&first.id), Bytes::from_static(b"four"), &Precondition::None).await;
    assert_eq!(kind(gone), Some(RemoteErrorKind::NotFound));
}

async fn an_empty_file_is_a_file(bench: &Bench) {
    let item = bench.put("empty", b"").await;
    assert_eq!(item.content_tag, Some(ContentTag::from_hash(&QuickXorHash::of(b""), 0)));
    assert_eq!(bench.drive.read_file("/empty"), Some(Vec::new()));
    assert!(read(&*bench.remote, &item, 0..4096).await.expect("nothing").is_empty());
    let session = bench.remote.begin_upload(&bench.new_file("other"), 0, &Precondition::MustNotExist).await;
    assert!(session.is_err());
}

async fn large_files_arrive_in_fragments(bench: &Bench) {
    let bytes = pattern(3 * UNIT + 11);
    let to = bench.new_file("big.bin");
    let ticket =
        bench.remote.begin_upload(&to, bytes.len() as u64, &Precondition::MustNotExist).await.expect("a session");
    assert_eq!(bench.remote.upload_offset(&ticket).await.expect("an offset"), Offset::At(0));
    let ack = bench.remote.put_fragment(&ticket, 0, bytes.slice(..UNIT)).await.expect("taken");
    assert_eq!(ack, Ack::Next(UNIT as u64));
    assert_eq!(bench.remote.upload_offset(&ticket).await.expect("an offset"), Offset::At(UNIT as u64));
    let early = bench.remote.put_fragment(&ticket, 2 * UNIT as u64, bytes.slice(2 * UNIT..3 * UNIT)).await;
    assert_eq!(kind(early), Some(RemoteErrorKind::Range));
    assert_eq!(bench.drive.read_file("/big.bin"), None, "nothing is seen before the end");
    let item = send_from(&*bench.remote, &ticket, &bytes, UNIT as u64).await.expect("done");
    bench.assert_version(&item, &bytes);
    if bench.caps.set_times {
        assert_eq!(item.modified.seconds(), WHEN.seconds(), "the time travels with the session");
    }
    assert_eq!(bench.drive.read_file("/big.bin").expect("there"), bytes);
    assert!(bench.drive.versions("/big.bin").is_empty(), "one version");
    assert_eq!(bench.remote.finish_upload(&ticket).await.expect("found").item, item);
    assert!(matches!(bench.remote.upload_offset(&ticket).await.expect("found"), Offset::Done(done) if *done == item));
    bench.remote.abandon_upload(&ticket).await.expect("nothing to abandon");
    assert_eq!(bench.drive.open_sessions(), 0);
}

async fn a_session_over_a_file_replaces_it_or_leaves_it(bench: &Bench) {
    let first = bench.put("f.bin", b"old").await;
    let bytes = pattern(UNIT + 1);
    let begin =
        async |pre: &Precondition| bench.remote.begin_upload(&replace(&first.id), bytes.len() as u64, pre).await;
    assert_eq!(kind(begin(&stale()).await), Some(RemoteErrorKind::Changed));
    let ticket = begin(&unchanged(&first)).await.expect("a session");
    let created = bench.drive.stat("/f.bin").expect("there").crtime;
    let item = send_from(&*bench.remote, &ticket, &bytes, 0).await.expect("done");
    assert_eq!((item.id.clone(), item.size), (first.id.clone(), bytes.len() as u64));
    assert_eq!(item.created.seconds(), created.seconds(), "the creation time stays");
    assert_eq!(bench.drive.read_file("/f.bin").expect("there"), bytes);
}

async fn a_session_for_a_taken_name_never_replaces(bench: &Bench) {
    bench.put("f.bin", b"theirs").await;
    let bytes = pattern(UNIT + 1);
    // Some backends refuse at the beginning, some only at the end.
    let refused = match bench
        .remote
        .begin_upload(&bench.new_file("F.bin"), bytes.len() as u64, &Precondition::MustNotExist)
        .await
    {
        Err(failure) => failure.kind,
        Ok(ticket) => {
            let failure = send_from(&*bench.remote, &ticket, &bytes, 0).await.expect_err("refused");
            bench.remote.abandon_upload(&ticket).await.expect("abandoned");
            failure.kind
        }
    };
    assert_eq!(refused, RemoteErrorKind::Exists);
    assert_eq!(bench.drive.read_file("/f.bin"), Some(b"theirs".to_vec()));
    assert_eq!(bench.drive.open_sessions(), 0);
}

async fn an_abandoned_session_leaves_nothing(bench: &Bench) {
    let bytes = pattern(2 * UNIT);
    let to = bench.new_file("f.bin");
    let ticket =
        bench.remote.begin_upload(&to, bytes.len() as u64, &Precondition::MustNotExist).await.expect("a session");
    bench.remote.put_fragment(&ticket, 0, bytes.slice(..UNIT)).await.expect("taken");
    bench.remote.abandon_upload(&ticket).await.expect("abandoned");
    assert_eq!(bench.drive.open_sessions(), 0);
    assert!(bench.drive.list("/").is_empty());
    assert_eq!(bench.remote.upload_offset(&ticket).await.expect("an answer"), Offset::Gone);
    let late = bench.remote.put_fragment(&ticket, UNIT as u64, bytes.slice(UNIT..)).await;
    assert_eq!(kind(late), Some(RemoteErrorKind::UploadGone));
    assert_eq!(kind(bench.remote.finish_upload(&ticket).await), Some(RemoteErrorKind::UploadGone));
}

async fn folders_are_made_once(bench: &Bench) {
    let folder = bench.remote.make_folder(&bench.root, "New").await.expect("made");
    assert_eq!((folder.kind, folder.parent.as_ref()), (ItemKind::Folder, Some(&bench.root)));
    assert_eq!(kind(bench.remote.make_folder(&bench.root, "new").await), Some(RemoteErrorKind::Exists));
    bench.put("file", b"").await;
    assert_eq!(kind(bench.remote.make_folder(&bench.root, "file").await), Some(RemoteErrorKind::Exists));
    let inner = bench.remote.make_folder(&folder.id, "inner").await.expect("made");
    assert_eq!(inner.parent, Some(folder.id));
}

async fn items_are_renamed_moved_and_dated(bench: &Bench) {
    let file = bench.put("old", b"x").await;
    let folder = bench.remote.make_folder(&bench.root, "folder").await.expect("made");
    let rename = Patch { name: Some("new".into()), ..Patch::default() };
    let renamed = bench.remote.change(&file.id, &rename, &unchanged(&file)).await.expect("renamed");
    assert_eq!((renamed.name.as_str(), &renamed.id), ("new", &file.id));
    let both = Patch { name: Some("New".into()), parent: Some(folder.id.clone()), ..Patch::default() };
    let moved = bench.remote.change(&file.id, &both, &unchanged(&renamed)).await.expect("moved");
    assert_eq!((moved.name.as_str(), moved.parent.as_ref()), ("New", Some(&folder.id)));
    let case = Patch { name: Some("NEW".into()), ..Patch::default() };
    let moved = bench.remote.change(&file.id, &case, &unchanged(&moved)).await.expect("only the case");
    assert_eq!(moved.name, "NEW");
    let dated = Patch { modified: Some(WHEN), ..Patch::default() };
    let dated = bench.remote.change(&file.id, &dated, &unchanged(&moved)).await.expect("dated");
    if bench.caps.set_times {
        assert_eq!(dated.modified.seconds(), WHEN.seconds());
    }
    assert_eq!(dated.created.seconds(), file.created.seconds(), "the creation time stays");
    assert_eq!(bench.drive.path_of(&bench.drive.id("/folder/NEW").expect("there")).as_deref(), Some("/folder/NEW"));
    assert_eq!(bench.drive.read_file("/folder/NEW"), Some(b"x".to_vec()));
}

async fn changes_that_cannot_be_are_refused(bench: &Bench) {
    let one = bench.put("one", b"1").await;
    bench.put("two", b"2").await;
    let onto = Patch { name: Some("TWO".into()), ..Patch::default() };
    let taken = bench.remote.change(&one.id, &onto, &Precondition::None).await;
    assert_eq!(kind(taken), Some(RemoteErrorKind::Exists));
    let rename = Patch { name: Some("three".into()), ..Patch::default() };
    assert_eq!(kind(bench.remote.change(&one.id, &rename, &stale()).await), Some(RemoteErrorKind::Changed));
    let dated = Patch { modified: Some(WHEN), ..Patch::default() };
    assert_eq!(kind(bench.remote.change(&one.id, &dated, &stale()).await), Some(RemoteErrorKind::Changed));
    let outer = bench.remote.make_folder(&bench.root, "outer").await.expect("made");
    let inner = bench.remote.make_folder(&outer.id, "inner").await.expect("made");
    let into_itself = Patch { parent: Some(inner.id.clone()), ..Patch::default() };
    assert!(bench.remote.change(&outer.id, &into_itself, &Precondition::None).await.is_err());
    let abroad = Patch { parent: Some(ItemId::new(&DriveId::new("b!elsewhere"), "x")), ..Patch::default() };
    assert_eq!(
        kind(bench.remote.change(&one.id, &abroad, &Precondition::None).await),
        Some(RemoteErrorKind::Unsupported)
    );
    bench.drive.remove("/one");
    assert_eq!(kind(bench.remote.change(&one.id, &rename, &Precondition::None).await), Some(RemoteErrorKind::NotFound));
    let names: BTreeSet<_> = bench.drive.tree().into_keys().collect();
    assert_eq!(names, ["/outer", "/outer/inner", "/two"].map(str::to_owned).into());
}

async fn what_is_deleted_is_gone_and_what_changed_is_not(bench: &Bench) {
    let file = bench.put("f", b"x").await;
    bench.drive.create_file("/folder/deep/file", "y");
    assert_eq!(kind(bench.remote.delete(&file.id, &stale()).await), Some(RemoteErrorKind::Changed));
    bench.tick();
    bench.drive.write_file("/f", "newer");
    assert_eq!(kind(bench.remote.delete(&file.id, &unchanged(&file)).await), Some(RemoteErrorKind::Changed));
    let now = bench.at("/f").await;
    bench.remote.delete(&now.id, &unchanged(&now)).await.expect("deleted");
    bench.remote.delete(&now.id, &unchanged(&now)).await.expect("gone is deleted");
    let folder = bench.at("/folder").await;
    bench.remote.delete(&folder.id, &Precondition::None).await.expect("deleted");
    assert!(bench.drive.tree().is_empty());
    assert_eq!(bench.drive.recycle_bin().len(), 2);
    assert_eq!(kind(bench.remote.delete(&bench.root, &Precondition::None).await), Some(RemoteErrorKind::Denied));
}

async fn ranges_are_the_bytes_of_their_place(bench: &Bench) {
    bench.drive.create_generated("/big", 42, 9 << 20);
    let whole = bench.drive.read_file("/big").expect("there");
    let item = bench.at("/big").await;
    for range in [0..1, 0..131_072, 5_000_000..5_131_072, (9 << 20) - 1..9 << 20, 0..9 << 20, 9_000_000..99_000_000] {
        let expected = &whole[range.start as usize..whole.len().min(range.end as usize)];
        assert!(read(&*bench.remote, &item, range.clone()).await.expect("bytes") == expected, "{range:?}");
    }
    assert!(read(&*bench.remote, &item, 9 << 20..10 << 20).await.expect("past the end is nothing").is_empty());
    let backwards = Range { start: 5, end: 5 };
    assert!(read(&*bench.remote, &item, backwards).await.is_err());
}

async fn versions_are_never_mixed(bench: &Bench) {
    bench.drive.create_file("/f", "version one of it");
    let one = bench.at("/f").await;
    assert_eq!(read(&*bench.remote, &one, 0..7).await.expect("bytes"), b"version");
    bench.tick();
    bench.drive.write_file("/f", "VERSION TWO OF IT");
    // Behind the URL at hand there are other bytes now, as many as before.
    assert_eq!(kind(read(&*bench.remote, &one, 8..11).await), Some(RemoteErrorKind::Changed));
    assert_eq!(kind(read(&*bench.remote, &one, 0..17).await), Some(RemoteErrorKind::Changed));
    let two = bench.at("/f").await;
    assert_eq!(read(&*bench.remote, &two, 8..11).await.expect("bytes"), b"TWO");
    bench.drive.drift("/f");
    assert_eq!(read(&*bench.remote, &two, 0..7).await.expect("a new eTag is no new version"), b"VERSION");
    bench.drive.remove("/f");
    let gone = kind(read(&*bench.remote, &two, 0..17).await);
    assert!(matches!(gone, Some(RemoteErrorKind::NotFound | RemoteErrorKind::Changed)), "{gone:?}");
}

/// What a chain says, applied: the last word on each id.
fn applied(changes: &[Change]) -> BTreeMap<ItemId, Option<Item>> {
    changes
        .iter()
        .map(|change| match change {
            Change::Is(item) => (item.id.clone(), Some(item.clone())),
            Change::Gone(id) => (id.clone(), None),
        })
        .collect()
}

async fn changes_say_what_happened(bench: &Bench) {
    bench.drive.create_file("/a/one", "1");
    bench.drive.create_file("/a/two", "2");
    let (nothing, cursor) = chain(&*bench.remote, Start::Now).await.expect("a cursor");
    assert!(nothing.is_empty());
    let (one, two, folder) = (bench.at("/a/one").await, bench.at("/a/two").await, bench.at("/a").await);
    bench.drive.remove("/a/one");
    bench.drive.rename("/a/two", "/a/three");
    bench.drive.create_file("/b/new", "3");
    bench.drive.set_delta(DeltaBehaviour {
        repeat_every: 2,
        shuffle: Some(5),
        empty_page_every: 2,
        ..DeltaBehaviour::default()
    });
    let (changes, after) = chain(&*bench.remote, Start::Cursor(&cursor)).await.expect("a chain");
    let said = applied(&changes);
    assert_eq!(said.get(&one.id), Some(&None));
    assert_eq!(
        said[&two.id].as_ref().map(|item| (item.name.as_str(), item.parent.as_ref())),
        Some(("three", Some(&folder.id)))
    );
    let new = bench.at("/b/new").await;
    assert_eq!(said[&new.id].as_ref().and_then(|item| item.content_tag.clone()), new.content_tag);
    let (rest, _) = chain(&*bench.remote, Start::Cursor(&after)).await.expect("a chain");
    assert!(applied(&rest).keys().all(|id| *id == bench.root || said.contains_key(id)), "nothing new: {rest:?}");
}

async fn the_beginning_lists_everything(bench: &Bench) {
    bench.emulator.set_strict(|strict| (strict.page_max, strict.delta_page) = (9, 9));
    for number in 0..40 {
        bench.drive.create_file(&format!("/d{}/f{number}", number % 7), "x");
    }
    let (changes, cursor) = chain(&*bench.remote, Start::Beginning).await.expect("a chain");
    let said = applied(&changes);
    assert_eq!(said.len(), bench.drive.count());
    let mut paths = BTreeSet::new();
    for item in said.values().flatten().filter(|item| item.id != bench.root) {
        let mut path = format!("/{}", item.name);
        let mut above = item.parent.clone().expect("everything but the root has a parent");
        while above != bench.root {
            let folder = said[&above].as_ref().expect("a folder that is there");
            path = format!("/{}{path}", folder.name);
            above = folder.parent.clone().expect("a parent");
        }
        paths.insert(path);
    }
    assert_eq!(paths, bench.drive.tree().into_keys().collect());
    let (rest, _) = chain(&*bench.remote, Start::Cursor(&cursor)).await.expect("a chain");
    assert!(applied(&rest).len() <= 1, "at most the root: {rest:?}");
}

async fn an_expired_cursor_asks_to_start_over(bench: &Bench) {
    for how in [Resync::ApplyDifferences, Resync::UploadDifferences, Resync::WithoutLocation] {
        let (_, cursor) = chain(&*bench.remote, Start::Now).await.expect("a cursor");
        let remote = bench.expire(how);
        let failure = remote.changes(Start::Cursor(&cursor)).await.expect_err("expired");
        assert_eq!((failure.kind, failure.advice), (RemoteErrorKind::Expired, Advice::Resync), "{how:?}");
        chain(&*remote, Start::Beginning).await.expect("a chain");
    }
}

async fn the_space_of_the_drive_is_told_or_not(bench: &Bench) {
    bench.drive.create_generated("/f", 1, 1000);
    let quota = bench.remote.quota().await.expect("a quota");
    assert_eq!((quota.total, quota.used), (Some(1 << 40), Some(1000)));
    bench.emulator.set_strict(|strict| strict.quota_members_missing = true);
    let quota = bench.remote.quota().await.expect("a quota");
    assert!(quota.total.is_none_or(|total| total > 0) && quota.remaining.is_none_or(|left| left <= 1 << 40));
}

/// A folder of several pages, of which one shifts while the next is asked for, and a service that gives shorter pages than
/// it is asked for.
async fn pages_that_shift_or_are_short_lose_nothing(bench: &Bench) {
    for number in 0..250 {
        bench.drive.create_file(&format!("/many/file {number}"), format!("{number}"));
    }
    let folder = bench.at("/many").await;
    for (most, shift) in [(None, 0), (Some(100), 0), (Some(100), -1), (Some(100), 1), (None, -1)] {
        bench.emulator.set_strict(|strict| strict.live.listing_limit_max = most);
        bench.emulator.live().shift_listings(shift);
        let listed = list_all(&*bench.remote, &folder.id).await.expect("a listing");
        let names: BTreeSet<_> = listed.iter().map(|item| item.name.as_str()).collect();
        assert_eq!((listed.len(), names.len()), (250, 250), "{most:?}, {shift}");
    }
}

/// What Live Connect shows and does not let anybody into is a notebook; an album is a folder there.
async fn notebooks_are_closed(bench: &Bench) {
    bench.drive.add_package("/Notebook");
    let listed = list_all(&*bench.remote, &bench.root).await.expect("a listing");
    let seen: Vec<_> = listed.iter().map(|item| (item.kind, item.size, item.content_tag.clone())).collect();
    assert_eq!(seen, [(ItemKind::Closed, 0, None)]);
}

async fn odd_items_are_closed(bench: &Bench) {
    let odd =
        [bench.drive.add_package("/Notebook"), bench.drive.add_bundle("/Album"), bench.drive.add_opaque("/Vault")];
    let listed = list_all(&*bench.remote, &bench.root).await.expect("a listing");
    assert_eq!(listed.len(), odd.len());
    for item in &listed {
        assert_eq!((item.kind, item.size, item.content_tag.as_ref()), (ItemKind::Closed, 0, None), "{}", item.name);
    }
}

async fn a_shortcut_leads_to_somebody_elses_folder(bench: &Bench) {
    let flavour = if bench.drive.drive_id().starts_with("b!") { Flavour::Business } else { Flavour::PersonalNew };
    let other = bench.emulator.add_drive(flavour, 99, "Bo Example");
    other.create_file("/Plans/plan.txt", "hello world\n");
    bench.drive.add_shortcut("/Team plans", &other, "/Plans");
    let shortcut = list_all(&*bench.remote, &bench.root).await.expect("a listing").pop().expect("the shortcut");
    assert_eq!((shortcut.name.as_str(), shortcut.kind), ("Team plans", ItemKind::Folder));
    let target = shortcut.link_to.expect("it leads somewhere");
    assert_eq!(target.drive, DriveId::new(&other.drive_id()));
    let inside = list_all(&*bench.remote, &target).await.expect("a listing").pop().expect("the file");
    assert_eq!((inside.name.as_str(), inside.parent.as_ref()), ("plan.txt", Some(&target)));
    assert_eq!(read(&*bench.remote, &inside, 0..12).await.expect("bytes"), b"hello world\n");
    bench.remote.delete(&shortcut.id, &Precondition::None).await.expect("deleted");
    assert!(other.stat("/Plans/plan.txt").is_some(), "only the shortcut is gone");
}

macro_rules! suite {
    (for $module:ident, $side:expr, { $($check:ident),* $(,)? }) => {
        mod $module {
            use super::*;
            $(#[tokio::test]
            async fn $check() {
                let bench = Bench::start($side).await;
                super::$check(&bench).await;
                bench.check();
            })*
        }
    };
    (all { $($all:ident),* $(,)? } graph { $($graph:ident),* $(,)? } live { $($live:ident),* $(,)? }) => {
        suite!(for personal, Flavour::PersonalNew, { $($all,)* $($graph),* });
        suite!(for business, Flavour::Business, { $($all,)* $($graph),* });
        suite!(for personal_old, Flavour::PersonalOld, { $($all,)* $($graph),* });
        suite!(for live, Side::LIVE, { $($all,)* $($live),* });
    };
}

suite! {
    all {
        the_root_is_where_the_service_says,
        a_listing_is_complete_however_long,
        items_are_found_by_id_and_by_name_in_any_case,
        names_survive_whatever_they_hold,
        names_the_service_refuses_are_refused_by_name,
        small_files_are_created_once,
        a_replaced_file_stays_itself,
        an_empty_file_is_a_file,
        large_files_arrive_in_fragments,
        a_session_over_a_file_replaces_it_or_leaves_it,
        a_session_for_a_taken_name_never_replaces,
        an_abandoned_session_leaves_nothing,
        folders_are_made_once,
        items_are_renamed_moved_and_dated,
        changes_that_cannot_be_are_refused,
        what_is_deleted_is_gone_and_what_changed_is_not,
        ranges_are_the_bytes_of_their_place,
        versions_are_never_mixed,
        changes_say_what_happened,
        the_beginning_lists_everything,
        an_expired_cursor_asks_to_start_over,
        the_space_of_the_drive_is_told_or_not,
    }
    graph {
        odd_items_are_closed,
        a_shortcut_leads_to_somebody_elses_folder,
    }
    live {
        notebooks_are_closed,
        pages_that_shift_or_are_short_lose_nothing,
    }
}
