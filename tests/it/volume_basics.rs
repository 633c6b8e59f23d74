//! What a program does, straight on a volume: no kernel, a real (emulated) service.

use std::sync::{Arc, Mutex};

use onedrive_mount::base::ids::Ino;
use onedrive_mount::emulator::{Fault, Flavour, Host, Rule, When};
use onedrive_mount::volume::{KernelNotice, KernelSink, OpenHow, PageUse, VolumeError};

use crate::world::clock::FastClock;
use crate::world::side::Side;
use crate::world::{User, World, eventually};

const FLAVOURS: [Side; 3] = [Side::PERSONAL, Side::BUSINESS, Side::LIVE];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_here_arrives_there_and_reads_back_from_there() {
    for flavour in FLAVOURS {
        let world = World::new(flavour).await;
        let running = world.run().await;
        let user = User(&running.core);
        user.mkdir("Docs").await.expect("mkdir");
        user.mkdir("Docs/Deep").await.expect("mkdir");
        let large: Vec<u8> = (0..9_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        user.write("Docs/Deep/a.txt", b"hello").await.expect("write");
        user.write("Docs/empty", b"").await.expect("write");
        user.write("Docs/large.bin", &large).await.expect("write");
        assert_eq!(user.read("Docs/Deep/a.txt").await.expect("read"), b"hello");
        running.settle().await;
        let drive = world.emulator.drive();
        assert_eq!(drive.read_file("/Docs/Deep/a.txt").as_deref(), Some(&b"hello"[..]));
        assert_eq!(drive.read_file("/Docs/empty").as_deref(), Some(&b""[..]));
        assert!(drive.read_file("/Docs/large.bin").as_deref() == Some(&large[..]));
        assert!(user.read("Docs/large.bin").await.expect("read") == large);
        running.stop().await;
        std::fs::remove_dir_all(world.home.path().join("cache")).expect("wipe");
        let running = world.run().await;
        let user = User(&running.core);
        assert!(user.read("Docs/large.bin").await.expect("read from the service") == large);
        assert_eq!(user.list("Docs").await.expect("list"), ["Deep", "empty", "large.bin"]);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn saving_by_rename_is_one_new_version_of_the_same_item() {
    for flavour in FLAVOURS {
        let world = World::new(flavour).await;
        let drive = world.emulator.drive();
        let id = drive.create_file("/report.odt", b"first");
        let running = world.run().await;
        let user = User(&running.core);
        assert_eq!(user.read("report.odt").await.expect("read"), b"first");
        user.write(".report.tmp", b"second").await.expect("write");
        user.rename(".report.tmp", "report.odt").await.expect("rename");
        assert_eq!(user.read("report.odt").await.expect("read"), b"second");
        running.settle().await;
        let now = drive.stat("/report.odt").expect("still there");
        assert_eq!(now.id, id);
        assert_eq!(drive.read_file("/report.odt").as_deref(), Some(&b"second"[..]));
        assert_eq!(drive.list("/").len(), 1);

        // The way of vim with a backup: the original steps aside, a new file takes its name, the backup goes.
        user.rename("report.odt", "report.odt~").await.expect("rename");
        user.write("report.odt", b"third").await.expect("write");
        user.unlink("report.odt~").await.expect("unlink");
        running.settle().await;
        assert_eq!(drive.stat("/report.odt").expect("still there").id, id);
        assert_eq!(drive.read_file("/report.odt").as_deref(), Some(&b"third"[..]));
        assert_eq!(user.list("").await.expect("list"), ["report.odt"]);
        running.stop().await;
    }
}

/// To keep the other's identity a clean file is sent again, which is worth it for a document and not for a film.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_that_is_renamed_over_another_is_neither_copied_nor_sent_again() {
    for flavour in FLAVOURS {
        let world = World::new(flavour).await;
        let drive = world.emulator.drive();
        let content = |length: usize| (0..length).map(|at| (at >> 9) as u8 ^ at as u8).collect::<Vec<u8>>();
        let (film, note) = (content(33 << 20), content(1 << 20));
        let film_id = drive.create_file("/film.part.mkv", film.clone());
        drive.create_file("/note.new", note.clone());
        for name in ["/film.mkv", "/note.txt"] {
            drive.create_file(name, b"what was there");
        }
        let note_id = drive.stat("/note.txt").expect("there").id;
        let running = world.run().await;
        let user = User(&running.core);
        assert!(user.read("film.part.mkv").await.expect("read") == film);
        assert!(user.read("note.new").await.expect("read") == note);
        world.emulator.forget_requests();
        user.rename("film.part.mkv", "film.mkv").await.expect("rename");
        let ino = user.walk("film.mkv").await.expect("there");
        assert!(running.core.journal.content(ino).is_none(), "{flavour:?}: it was copied");
        assert!(user.read("film.mkv").await.expect("read") == film);
        running.settle().await;
        let sent: u64 = world.emulator.requests().iter().map(|request| request.bytes_in).sum();
        assert!(sent < 100_000, "{flavour:?}: {sent} bytes were sent");
        assert_eq!(drive.stat("/film.mkv").expect("there").id, film_id);
        user.rename("note.new", "note.txt").await.expect("rename");
        running.settle().await;
        assert_eq!(drive.stat("/note.txt").expect("there").id, note_id, "{flavour:?}: links to it go on working");
        assert!(drive.read_file("/film.mkv").as_deref() == Some(&film[..]));
        assert!(drive.read_file("/note.txt").as_deref() == Some(&note[..]));
        assert!(user.read("film.mkv").await.expect("read") == film);
        assert_eq!(user.list("").await.expect("list"), ["film.mkv", "note.txt"]);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_in_the_middle_of_a_large_file_keeps_the_rest() {
    let world = World::new(Flavour::Business).await;
    let mut content: Vec<u8> = (0..6_000_000u32).map(|i| (i % 251) as u8).collect();
    world.emulator.drive().create_file("/big.bin", content.clone());
    let running = world.run().await;
    let user = User(&running.core);
    user.patch("big.bin", 3_000_000, b"changed here").await.expect("write");
    content[3_000_000..3_000_012].copy_from_slice(b"changed here");
    assert!(user.read("big.bin").await.expect("read") == content);
    running.settle().await;
    assert!(world.emulator.drive().read_file("/big.bin").as_deref() == Some(&content[..]));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_and_deleted_at_once_never_causes_a_request() {
    let mut world = World::new(Flavour::Business).await;
    world.debounce = std::time::Duration::from_secs(2);
    let running = world.run().await;
    let user = User(&running.core);
    user.list("").await.expect("list");
    world.emulator.forget_requests();
    user.write("scratch", b"x").await.expect("write");
    user.write("~$lock.docx", b"x").await.expect("write");
    user.unlink("scratch").await.expect("unlink");
    running.settle().await;
    let writes: Vec<_> = world.emulator.requests().into_iter().filter(|r| r.method != "GET").collect();
    assert!(writes.is_empty(), "{writes:?}");
    assert_eq!(user.list("").await.expect("list"), ["~$lock.docx"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_renamed_moved_and_deleted() {
    let world = World::new(Flavour::PersonalNew).await;
    let running = world.run().await;
    let user = User(&running.core);
    user.mkdir("a").await.expect("mkdir");
    user.mkdir("b").await.expect("mkdir");
    user.write("a/f", b"1").await.expect("write");
    running.settle().await;
    user.rename("a", "b/c").await.expect("rename");
    assert!(matches!(user.rmdir("b").await, Err(VolumeError::NotEmpty)));
    assert!(matches!(user.rename("b", "b/c/d").await, Err(VolumeError::Invalid(_))));
    assert_eq!(user.read("b/c/f").await.expect("read"), b"1");
    running.settle().await;
    assert_eq!(world.emulator.drive().read_file("/b/c/f").as_deref(), Some(&b"1"[..]));
    user.unlink("b/c/f").await.expect("unlink");
    user.rmdir("b/c").await.expect("rmdir");
    user.rmdir("b").await.expect("rmdir");
    running.settle().await;
    assert!(world.emulator.drive().list("/").is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_listing_does_not_show_any_more_is_asked_for_before_it_is_given_up() {
    let world = World::new(Flavour::Business).await;
    let drive = world.emulator.drive();
    for folder in ["/A", "/A/X", "/A/X/deep", "/A/gone", "/B"] {
        drive.create_folder(folder);
    }
    drive.create_file("/A/X/deep/f.txt", b"known");
    drive.create_file("/A/gone/g.txt", b"known");
    // Nobody follows the changes.
    let core = world.open().await;
    let user = User(&core);
    for folder in ["", "A", "A/X", "A/X/deep", "A/gone", "B"] {
        user.list(folder).await.expect("list");
    }
    let (a, b) = (user.walk("A").await.expect("there"), user.walk("B").await.expect("there"));
    let (x, f) = (user.walk("A/X").await.expect("there"), user.walk("A/X/deep/f.txt").await.expect("there"));
    let forget = |folder| core.index.write(|txn| txn.set_complete(folder, false)).expect("writes");
    drive.rename("/A/X", "/B/Y");
    drive.remove("/A/gone");
    forget(a);

    // As long as it cannot be asked for it stays.
    let x_id = drive.id("/B/Y").expect("there");
    let pattern = format!("*items/{x_id}?*");
    let rule =
        world.emulator.faults().add(Rule::always("GET", &pattern, Fault::status(When::Before, 403, "accessDenied")));
    assert_eq!(user.list("A").await.expect("list"), ["X"]);
    world.emulator.faults().remove(rule);

    forget(a);
    assert!(user.list("A").await.expect("list").is_empty());
    assert!(core.index.by_ino(f).expect("reads").is_some(), "what is below was not given up");
    world.emulator.forget_requests();
    assert_eq!(user.walk("B/Y").await.expect("it is there without a listing of B"), x);
    assert_eq!(user.walk("B/Y/deep/f.txt").await.expect("there"), f);
    assert_eq!(world.emulator.requests().len(), 0);
    forget(b);
    assert_eq!(user.list("B").await.expect("list"), ["Y"]);
    assert_eq!(user.walk("B/Y/deep/f.txt").await.expect("there"), f);
}

/// A kernel that keeps what it is told.
#[derive(Default)]
struct Ear(Mutex<Vec<KernelNotice>>);

impl KernelSink for Ear {
    fn post(&self, notice: KernelNotice) {
        self.0.lock().expect("whole").push(notice);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_keeps_no_pages_of_content_that_turns_out_to_be_wrong() {
    let world = World::new(Flavour::Business).await;
    let bytes: Vec<u8> = (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    world.emulator.drive().create_file("/a.bin", bytes.clone());
    world.emulator.drive().create_file("/b.bin", b"another one");
    let ear = Arc::new(Ear::default());
    let core = world.open_heard(ear.clone()).await;
    let (user, volume) = (User(&core), &core.volume);
    let how = OpenHow { read: true, ..OpenHow::default() };
    let other = user.walk("b.bin").await.expect("there");
    let beside = volume.open(other, how).await.expect("opens");
    let rule = Rule::always("GET", "*", Fault::Corrupt { at: 100 }).on(Host::Storage);
    let rule = world.emulator.faults().add(rule);
    let ino = user.walk("a.bin").await.expect("there");
    let first = volume.open(ino, how).await.expect("opens");
    assert_eq!(first.pages, PageUse::Drop);
    let read = async |fh| volume.read(ino, fh, 0, 1 << 20).await.expect("reads");
    assert!(read(first.fh).await != bytes, "it is noticed only when the file is complete");
    world.emulator.faults().remove(rule);
    let told = KernelNotice::Pages(ino);
    eventually("told", async || ear.0.lock().expect("whole").contains(&told)).await;
    // The first handle is still open, on the same version.
    let second = volume.open(ino, how).await.expect("opens");
    assert_eq!(second.pages, PageUse::Drop);
    assert!(read(second.fh).await == bytes && read(first.fh).await == bytes);
    assert_eq!(volume.open(ino, how).await.expect("opens").pages, PageUse::Keep, "and right from then on");
    assert_eq!(ear.0.lock().expect("whole").iter().filter(|notice| **notice == told).count(), 1);
    assert_eq!(volume.open(other, how).await.expect("opens").pages, PageUse::Keep, "others are not concerned");
    volume.release(other, beside.fh);
}

#[tokio::test(flavor = "multi_thread")]
async fn swapped_names_arrive_swapped() {
    let world = World::new(Flavour::Business).await;
    let running = world.run().await;
    let user = User(&running.core);
    user.write("a", b"was a").await.expect("write");
    user.write("b", b"was b").await.expect("write");
    running.settle().await;
    user.rename("a", "t").await.expect("rename");
    user.rename("b", "a").await.expect("rename");
    user.rename("t", "b").await.expect("rename");
    running.settle().await;
    let drive = world.emulator.drive();
    assert_eq!(drive.read_file("/a").as_deref(), Some(&b"was b"[..]));
    assert_eq!(drive.read_file("/b").as_deref(), Some(&b"was a"[..]));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_lose_nothing() {
    for flavour in FLAVOURS {
        let world = World::new(flavour).await;
        let drive = world.emulator.drive();
        drive.create_file("/plan.txt", b"base");
        let running = world.run().await;
        let user = User(&running.core);
        assert_eq!(user.read("plan.txt").await.expect("read"), b"base");
        drive.write_file("/plan.txt", b"theirs");
        user.write("plan.txt", b"ours").await.expect("write");
        running.settle().await;
        let mut contents: Vec<Vec<u8>> =
            drive.list("/").iter().filter_map(|item| drive.read_file(&format!("/{}", item.name))).collect();
        contents.sort();
        assert_eq!(contents, [b"ours".to_vec(), b"theirs".to_vec()]);
        assert_eq!(drive.read_file("/plan.txt").as_deref(), Some(&b"theirs"[..]));
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_index_orphans_no_work() {
    let mut world = World::new(Flavour::Business).await;
    let running = world.run().await;
    User(&running.core).mkdir("d").await.expect("mkdir");
    running.settle().await;
    running.stop().await;
    // Long enough that nothing is sent before the death.
    world.debounce = std::time::Duration::from_secs(3600);
    let running = world.run().await;
    User(&running.core).write("d/f", b"work").await.expect("write");
    running.kill().await;
    std::fs::remove_dir_all(world.home.path().join("state/index")).expect("the index is dropped");
    world.debounce = std::time::Duration::from_millis(20);
    let running = world.run().await;
    assert_eq!(User(&running.core).read("d/f").await.expect("read"), b"work");
    running.settle().await;
    assert_eq!(world.emulator.drive().read_file("/d/f").as_deref(), Some(&b"work"[..]));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn saving_by_rename_keeps_the_item_even_if_the_temporary_file_is_on_its_way() {
    for flavour in FLAVOURS {
        let mut world = World::new(flavour).await;
        world.debounce = std::time::Duration::ZERO;
        let drive = world.emulator.drive();
        let id = drive.create_file("/report.odt", b"first");
        let running = world.run().await;
        let user = User(&running.core);
        user.read("report.odt").await.expect("read");
        for round in 0..20u8 {
            user.write("report.tmp", &[round; 100]).await.expect("write");
            if round % 4 == 0 {
                // It has arrived by the time of the rename.
                running.settle().await;
            } else if round % 4 == 1 {
                tokio::time::sleep(std::time::Duration::from_millis(3)).await;
            }
            user.rename("report.tmp", "report.odt").await.expect("rename");
            assert_eq!(user.read("report.odt").await.expect("read"), [round; 100]);
        }
        running.settle().await;
        assert_eq!(drive.stat("/report.odt").expect("still there").id, id);
        assert_eq!(drive.read_file("/report.odt").as_deref(), Some(&[19u8; 100][..]));
        let left: Vec<String> = drive.list("/").iter().map(|item| format!("{} {}", item.name, item.id)).collect();
        assert_eq!(left.len(), 1, "the temporary file is gone: {left:?}");
        running.stop().await;
    }
}

/// The service's hash cannot tell two blocks of 160 bytes from the same two swapped.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_keeps_the_hash_is_sent_all_the_same() {
    let world = World::new(Flavour::Business).await;
    let block = |seed: u8| (0..160u8).map(|i| i.wrapping_mul(7) ^ seed).collect::<Vec<u8>>();
    let (before, after) = ([block(1), block(2)].concat(), [block(2), block(1)].concat());
    world.emulator.drive().create_file("/records.db", before.clone());
    let running = world.run().await;
    let user = User(&running.core);
    assert_eq!(user.read("records.db").await.expect("read"), before);
    user.write("records.db", &after).await.expect("write");
    running.settle().await;
    assert_eq!(world.emulator.drive().read_file("/records.db"), Some(after.clone()));
    assert_eq!(user.read("records.db").await.expect("read"), after);
    running.stop().await;
    let running = world.run().await;
    assert_eq!(User(&running.core).read("records.db").await.expect("read"), after);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_deleted_elsewhere_comes_back_for_what_is_unsent_in_it() {
    for flavour in FLAVOURS {
        let mut world = World::new(flavour).await;
        world.debounce = std::time::Duration::ZERO;
        let drive = world.emulator.drive();
        drive.create_file("/a/b/kept.txt", b"theirs");
        drive.create_file("/a/b/edited.txt", b"before");
        let core = world.open().await;
        core.prepare().await;
        let user = User(&core);
        assert_eq!(user.list("a/b").await.expect("list"), ["edited.txt", "kept.txt"]);
        user.write("a/b/edited.txt", b"after").await.expect("write");
        user.write("a/b/new.txt", b"new").await.expect("write");
        drive.remove("/a");
        core.poller.poll_now().await.expect("polls");
        assert_eq!(user.list("a/b").await.expect("still there"), ["edited.txt", "new.txt"]);
        assert_eq!(user.read("a/b/edited.txt").await.expect("read"), b"after");
        while core.uploader.step().await {}
        assert_eq!(drive.read_file("/a/b/edited.txt").as_deref(), Some(&b"after"[..]));
        assert_eq!(drive.read_file("/a/b/new.txt").as_deref(), Some(&b"new"[..]));
        assert_eq!(drive.list("/a/b").len(), 2, "what nobody changed here stays deleted");
        assert_eq!(core.journal.backlog(), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_moves_into_each_other_ours_is_given_up() {
    for flavour in FLAVOURS {
        let mut world = World::new(flavour).await;
        world.debounce = std::time::Duration::ZERO;
        let drive = world.emulator.drive();
        drive.create_file("/a/in a", b"1");
        drive.create_file("/b/in b", b"2");
        let core = world.open().await;
        core.prepare().await;
        let user = User(&core);
        assert_eq!(user.list("").await.expect("list"), ["a", "b"]);
        assert_eq!((user.list("a").await.expect("list").len(), user.list("b").await.expect("list").len()), (1, 1));
        user.rename("a", "b/a").await.expect("rename");
        drive.rename("/b", "/a/b");
        core.poller.poll_now().await.expect("polls");
        assert_eq!(user.list("").await.expect("list"), ["a"]);
        assert_eq!(user.list("a").await.expect("list"), ["b", "in a"]);
        assert_eq!(user.list("a/b").await.expect("list"), ["in b"]);
        assert_eq!(core.journal.backlog(), (0, 0), "nothing is left to be sent");
        while core.uploader.step().await {}
        assert_eq!(drive.path_of(&drive.id("/a/b").expect("theirs stands")).as_deref(), Some("/a/b"));
    }
}

/// On Live Connect a rename moves what a version is known by; what is here stays here.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_renamed_is_still_on_this_machine() {
    for flavour in FLAVOURS {
        let world = World::new(flavour).await;
        let bytes: Vec<u8> = (0..700_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        world.emulator.drive().create_file("/film", bytes.clone());
        let running = world.run().await;
        let user = User(&running.core);
        assert!(user.read("film").await.expect("fetched") == bytes);
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        user.rename("film", "holidays").await.expect("renamed");
        running.settle().await;
        running.core.poller.poll_now().await.expect("polls");
        assert!(world.emulator.drive().stat("/holidays").is_some());
        world.emulator.set_online(false);
        assert!(user.read("holidays").await.expect("without a network") == bytes, "{flavour:?}");
        world.emulator.set_online(true);
        running.stop().await;
    }
}

/// The kernel tells of the end of a handle when it has time; a program may have opened the file again since.
#[tokio::test(flavor = "multi_thread")]
async fn a_handle_that_ends_late_does_not_seal_what_another_is_writing() {
    let world = World::new(Flavour::PersonalNew).await;
    let core = world.open().await;
    core.prepare().await;
    User(&core).write("a", b"whole").await.expect("writes");
    let ino = User(&core).walk("a").await.expect("there");
    let volume = &core.volume;
    let how = |truncate| OpenHow { write: true, truncate, ..OpenHow::default() };
    let first = volume.open(ino, how(false)).await.expect("opens").fh;
    volume.flush(ino, first).await.expect("closes");
    let second = volume.open(ino, how(true)).await.expect("opens").fh;
    volume.write(ino, Some(second), 0, b"hal").await.expect("writes");
    volume.release(ino, first);
    drop(core);
    let core = world.open().await;
    assert_eq!(User(&core).read("a").await.expect("reads"), b"whole");
}

/// Names that come free only when others have been taken: no order of the requests does it without a third name.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_wait_for_each_other_get_to_the_cloud() {
    for flavour in FLAVOURS {
        let mut world = World::new(flavour).await;
        // All of it is wanted before any of it is sent.
        world.debounce = std::time::Duration::from_millis(500);
        let drive = world.emulator.drive();
        for path in ["/into", "/one", "/two", "/whole/a", "/whole/b", "/deep/down/x", "/over/o", "/over/under/u"] {
            drive.create_file(path, path.as_bytes());
        }
        let running = world.run().await;
        let user = User(&running.core);
        for (from, to) in [("into", "t"), ("one", "u"), ("two", "one"), ("u", "two")] {
            user.rename(from, to).await.expect("renames");
        }
        // A file becomes what is in a folder of its name.
        user.mkdir("into").await.expect("mkdir");
        user.rename("t", "into/it").await.expect("renames");
        // A folder is rebuilt: what was in it moves over, it goes, and the new one takes its name.
        user.mkdir("new").await.expect("mkdir");
        user.rename("whole/a", "new/a").await.expect("renames");
        user.rename("whole/b", "new/b").await.expect("renames");
        user.rmdir("whole").await.expect("rmdir");
        user.rename("new", "whole").await.expect("renames");
        // A folder goes below a new one of its name.
        user.rename("deep", "v").await.expect("renames");
        user.mkdir("deep").await.expect("mkdir");
        user.rename("v", "deep/deep").await.expect("renames");
        // What was above is below, and has the other's name.
        user.rename("over/under", "w").await.expect("renames");
        user.rename("over", "w/under").await.expect("renames");
        user.rename("w", "over").await.expect("renames");
        running.settle().await;
        let tree: Vec<(String, Vec<u8>)> = crate::world::ops::cloud_tree(drive)
            .into_iter()
            .filter_map(|(path, node)| match node {
                crate::world::model::Node::File(bytes) => Some((path, bytes)),
                crate::world::model::Node::Folder => None,
            })
            .collect();
        let wanted = [
            ("deep/deep/down/x", "/deep/down/x"),
            ("into/it", "/into"),
            ("one", "/two"),
            ("over/u", "/over/under/u"),
            ("over/under/o", "/over/o"),
            ("two", "/one"),
            ("whole/a", "/whole/a"),
            ("whole/b", "/whole/b"),
        ];
        let wanted: Vec<_> =
            wanted.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.as_bytes().to_vec())).collect();
        assert_eq!(tree, wanted, "{flavour:?}");
        running.stop().await;
    }
}

/// A session is not begun anew because the service is ill for a while: what it has got it has got.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_outlasts_a_service_that_takes_nothing_for_a_while() {
    let mut world = World::new(Side::BUSINESS).await;
    world.clock = std::sync::Arc::new(FastClock::new(30));
    let ill = Fault::status(When::Before, 503, "serviceNotAvailable");
    world.emulator.faults().add(Rule::always("PUT", "*", ill).on(Host::Storage).skip(1).times(8));
    let running = world.run().await;
    let content: Vec<u8> = (0..21_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    User(&running.core).write("large.bin", &content).await.expect("write");
    running.settle().await;
    assert!(world.emulator.drive().read_file("/large.bin").as_deref() == Some(&content[..]));
    let requests = world.emulator.requests();
    let sessions = requests.iter().filter(|request| request.path.ends_with("createUploadSession")).count();
    assert_eq!(sessions, 1);
    let stored = requests.iter().filter(|r| r.method == "PUT" && r.status.is_some_and(|s| s < 300));
    assert_eq!(stored.map(|request| request.bytes_in).sum::<u64>(), content.len() as u64, "nothing twice");
    running.stop().await;
}

/// Two devices make the same folder with the same folder in it. What stands on ours stays.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_out_of_a_folder_of_ours_because_others_have_made_it_too() {
    for flavour in FLAVOURS {
        let mut world = World::new(flavour).await;
        world.debounce = std::time::Duration::ZERO;
        let ear = Arc::new(Ear::default());
        let core = world.open_heard(ear.clone()).await;
        core.prepare().await;
        core.poller.prepare().await.expect("a cursor");
        let user = User(&core);
        user.list("").await.expect("the root");
        user.mkdir("N").await.expect("made");
        user.mkdir("N/sub").await.expect("made");
        let folder = user.walk("N").await.expect("there");
        user.walk("N/sub").await.expect("there");
        world.emulator.drive().create_folder("/N");
        world.emulator.drive().create_folder("/N/sub");
        world.emulator.drive().create_folder("/N/theirs");
        ear.0.lock().expect("whole").clear();
        for _ in 0..4 {
            while core.uploader.step().await {}
            core.poller.poll_now().await.expect("polls");
        }
        assert_eq!(core.journal.backlog(), (0, 0));
        assert_eq!(user.list("N").await.expect("lists"), ["sub", "theirs"]);
        let told = |of: &str| {
            let ear = ear.0.lock().expect("whole");
            let is = |notice: &&KernelNotice| matches!(notice, KernelNotice::Entry { parent, name } if *parent == folder && name == of);
            ear.iter().filter(is).count()
        };
        assert_eq!(told("sub"), 0, "{flavour:?}");
        assert!(told("theirs") > 0, "{flavour:?}: what is new comes to light");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_known_what_can_be_read_without_the_network() {
    let world = World::new(Flavour::Business).await;
    world.emulator.drive().create_file("/d/cold", vec![7; 1 << 20]);
    let core = world.open().await;
    core.prepare().await;
    let (user, volume) = (User(&core), &core.volume);
    assert!(!volume.knows_listing(Ino::ROOT));
    user.list("").await.expect("lists");
    assert!(volume.knows_listing(Ino::ROOT));
    let (ino, fh) = user.open("d/cold").await.expect("opens");
    assert!(!volume.is_here(ino, fh, 0, 4096));
    volume.read(ino, fh, 0, 4096).await.expect("reads");
    eventually("it is kept", async || volume.is_here(ino, fh, 0, 4096)).await;
    assert!(!volume.is_here(ino, fh, 1 << 19, 4096));
    volume.write(ino, Some(fh), 1 << 19, &[8; 4096]).await.expect("writes");
    assert!(volume.is_here(ino, fh, 1 << 19, 4096) && !volume.is_here(ino, fh, (1 << 19) - 1, 4096));
    volume.flush(ino, fh).await.expect("closes");
    volume.release(ino, fh);
}
