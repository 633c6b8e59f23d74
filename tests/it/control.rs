//! What the daemon says about itself, asked through its socket: no kernel, a real (emulated) service.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use onedrive_mount::base::ids::Ino;
use onedrive_mount::daemon::control::protocol::{Choice, DraftPlace};
use onedrive_mount::daemon::control::{Answer, Request};
use onedrive_mount::emulator::{Fault, Flavour, Rule, When};
use onedrive_mount::volume::OpenHow;

use crate::world::desk::{Desk, MOUNT};
use crate::world::service::Service;
use crate::world::{World, settle};

/// Waits for something that the daemon does by itself; the limit only tells a hang from slowness.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..1_200 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never happened: {what}");
}

fn draft_of(desk: &Desk, what: Choice) -> DraftPlace {
    match desk.ask(&Request::Draft { what }) {
        Answer::Draft(place) => place,
        other => panic!("{other:?}"),
    }
}

fn discard(what: Choice) -> Request {
    Request::Discard { what, ask_only: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_queue_tell_what_waits_why_and_when_it_goes_on() {
    let world = World::new(Flavour::Business).await;
    world.emulator.drive().create_file("/old.txt", b"old".to_vec());
    let desk = Desk::open(&world).await;
    let user = desk.user();
    user.list("").await.expect("list");
    eventually("online", || desk.status().state == "online").await;
    let well = desk.status();
    assert_eq!((well.waiting, well.parked, well.held, well.bytes_waiting), (0, 0, 0, 0));
    assert!(well.last_poll.is_some() && well.errors.is_empty() && well.kept.is_empty());
    assert_eq!(well.mountpoint.to_str(), Some(MOUNT));
    eventually("the quota", || desk.status().quota.total == Some(1 << 40)).await;
    assert_eq!(well.cache.limit, 1 << 30);

    world.emulator.set_online(false);
    user.mkdir("New").await.expect("mkdir");
    user.write("New/a.txt", b"12345").await.expect("write");
    user.rename("old.txt", "new name.txt").await.expect("rename");
    eventually("offline", || desk.status().state == "offline").await;
    eventually("an attempt of each", || {
        let tried = desk.queue(None).entries.iter().filter(|entry| entry.attempts > 0).count();
        // The file waits for its folder, so nothing was tried about it.
        tried == 2
    })
    .await;
    let status = desk.status();
    assert_eq!((status.waiting, status.parked, status.bytes_waiting), (3, 0, 5));
    assert!(status.detail.is_some() && !status.errors.is_empty(), "{status:?}");
    let queue = desk.queue(None);
    assert_eq!(queue.total, 3);
    let entry = |path: &str| queue.entries.iter().find(|entry| entry.path == path).expect("listed").clone();
    let folder = entry("New");
    assert_eq!((folder.what.as_str(), folder.state.as_str()), ("new-folder", "waiting"));
    assert!(folder.error.is_some() && folder.next_attempt.is_some(), "{folder:?}");
    let file = entry("New/a.txt");
    assert_eq!((file.what.as_str(), file.size, file.attempts), ("upload", 5, 0));
    assert!(file.draft.is_some());
    let renamed = entry("new name.txt");
    assert_eq!((renamed.what.as_str(), renamed.from.as_deref()), ("rename", Some("old.txt")));

    // A path selects what lies below it, and what it cannot do without.
    assert_eq!(desk.queue(Some("New")).total, 2);
    assert_eq!(desk.queue(Some("New/a.txt")).total, 1);
    assert_eq!(desk.progress(Some("New/a.txt")).waiting, 2, "the file and the folder that it is in");
    assert_eq!(desk.progress(Some("elsewhere")).waiting, 0);
    let limited = desk.ask(&Request::Queue { path: None, limit: Some(1) });
    assert!(matches!(limited, Answer::Queue(queue) if queue.total == 3 && queue.entries.len() == 1));

    world.emulator.set_online(true);
    let done = desk.done(&Request::Retry { path: None });
    assert!(done.changes <= 2 && done.held == 0, "{done:?}");
    settle(&desk.running.core).await;
    eventually("online again", || desk.status().state == "online").await;
    assert_eq!((desk.queue(None).total, desk.progress(None).waiting), (0, 0));
    assert_eq!(world.emulator.drive().read_file("/New/a.txt").as_deref(), Some(&b"12345"[..]));
    desk.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_comes_with_the_id_of_its_request() {
    let world = World::new(Flavour::Business).await;
    let desk = Desk::open(&world).await;
    let rule =
        world.emulator.faults().add(Rule::always("PUT", "*", Fault::status(When::Before, 503, "serviceNotAvailable")));
    desk.user().write("a.txt", b"content").await.expect("write");
    eventually("a failed attempt", || desk.queue(None).entries.iter().any(|entry| entry.attempts > 0)).await;
    let entry = desk.queue(None).entries.remove(0);
    let id = entry.request_id.expect("an id");
    assert!(id.len() > 8, "{id}");
    assert!(!entry.error.expect("an error").contains(&id), "told once is enough");
    let why = desk.why("a.txt");
    assert_eq!(why.state, "pending");
    assert!(why.change.expect("a change").request_id.is_some());
    assert!(desk.status().errors.iter().any(|trouble| trouble.request_id.is_some()));
    world.emulator.faults().remove(rule);
    desk.done(&Request::Retry { path: Some("a.txt".into()) });
    settle(&desk.running.core).await;
    desk.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_and_signed_out_are_told_apart_from_offline() {
    let world = World::new(Flavour::PersonalNew).await;
    let desk = Desk::open(&world).await;
    eventually("online", || desk.status().state == "online").await;
    world.emulator.throttle(Duration::from_secs(20));
    eventually("throttled", || desk.status().state == "throttled").await;
    assert!(desk.status().detail.expect("a detail").contains("seconds"));
    drop(desk);
    let world = World::new(Flavour::PersonalNew).await;
    let desk = Desk::open(&world).await;
    eventually("online", || desk.status().state == "online").await;
    world.emulator.oauth().expire_access_tokens();
    eventually("signed out", || desk.status().state == "signed-out").await;
    assert!(desk.status().detail.expect("a detail").contains("onedrive-cli auth"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_user_says_why_and_goes_on_when_told() {
    let world = World::new(Flavour::Business).await;
    let desk = Desk::open(&world).await;
    let user = desk.user();
    // What is known of the space is minutes old: the write passes, the upload does not.
    eventually("the quota", || desk.status().quota.total.is_some()).await;
    world.emulator.drive().set_quota(10);
    user.mkdir("Docs").await.expect("mkdir");
    user.write("Docs/large.bin", &[7; 4096]).await.expect("write");
    eventually("parked", || desk.status().parked == 1).await;
    assert_eq!(desk.status().state, "quota-full");
    let progress = desk.progress(Some("Docs"));
    assert_eq!((progress.parked, progress.waiting), (1, 0));
    let first = progress.first_parked.expect("the first");
    assert_eq!((first.path.as_str(), first.state.as_str()), ("Docs/large.bin", "parked"));
    assert_eq!(first.reason.as_deref(), Some("quota-full"));
    assert!(first.advice.expect("advice").contains("onedrive-cli retry"));
    assert_eq!(desk.why("Docs/large.bin").state, "parked");
    assert_eq!(desk.why("Docs").below, 1);
    assert_eq!(desk.progress(Some("Docs/other")).parked, 0, "another file is not concerned");

    world.emulator.drive().set_quota(1 << 30);
    assert_eq!(desk.done(&Request::Retry { path: Some("Elsewhere".into()) }).changes, 0);
    let done = desk.done(&Request::Retry { path: Some("Docs".into()) });
    assert_eq!((done.changes, done.first.as_deref()), (1, Some("Docs/large.bin")));
    settle(&desk.running.core).await;
    assert!(world.emulator.drive().read_file("/Docs/large.bin").is_some());
    desk.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_read_or_say_nothing_lock_nobody_out() {
    let world = World::new(Flavour::Business).await;
    let desk = Desk::quiet(&world).await;
    let mut clients = Vec::new();
    for number in 0..64 {
        let mut client = UnixStream::connect(&desk.socket).expect("it listens");
        // Answers to this many questions do not fit into what the socket holds.
        if number % 2 == 0 {
            let questions = "{\"protocol\":1,\"ask\":\"status\"}\n".repeat(2_000);
            client.set_nonblocking(true).expect("set");
            client.write_all(questions.as_bytes()).expect("it takes them");
        }
        clients.push(client);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let state = desk.status().state;
    assert!(!state.is_empty());
    drop(clients);
    desk.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_made_where_another_could_not_be_deleted_waits_quietly() {
    let world = World::new(Flavour::Business).await;
    world.emulator.drive().create_folder("/Docs");
    let desk = Desk::open(&world).await;
    let user = desk.user();
    user.list("Docs").await.expect("list");
    let rule =
        world.emulator.faults().add(Rule::always("DELETE", "*", Fault::status(When::Before, 403, "accessDenied")));
    user.rmdir("Docs").await.expect("rmdir");
    eventually("parked", || desk.status().parked == 1).await;
    user.mkdir("Docs").await.expect("mkdir");
    world.emulator.forget_requests();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let attempts = world.emulator.requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!(attempts, 0, "the service was asked again and again");
    let entries = desk.entries();
    assert_eq!(entries, ["parked delete Docs", "waiting new-folder Docs"]);
    world.emulator.faults().remove(rule);
    desk.done(&Request::Retry { path: None });
    settle(&desk.running.core).await;
    assert_eq!(user.list("").await.expect("list"), ["Docs"]);
    assert!(world.emulator.drive().stat("/Docs").is_some());
    desk.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn why_knows_every_state_and_never_asks_the_network() {
    let world = World::new(Flavour::PersonalNew).await;
    let drive = world.emulator.drive();
    drive.create_folder("/Far");
    drive.create_file("/Far/inside.txt", b"inside".to_vec());
    drive.create_file("/here.bin", vec![1; 300_000]);
    drive.create_file("/part.bin", vec![2; 3_000_000]);
    drive.create_file("/gone.txt", b"gone".to_vec());
    let desk = Desk::quiet(&world).await;
    let user = desk.user();
    user.list("").await.expect("list");
    assert_eq!(user.read("here.bin").await.expect("read").len(), 300_000);
    // It is handed out before it is kept.
    eventually("it is kept", || desk.why("here.bin").state == "cached").await;
    let ino = user.walk("part.bin").await.expect("there");
    let volume = &desk.running.core.volume;
    let fh = volume.open(ino, OpenHow { read: true, ..OpenHow::default() }).await.expect("opens").fh;
    volume.read(ino, fh, 0, 4096).await.expect("reads");
    volume.release(ino, fh);
    world.emulator.set_online(false);
    let asked = world.emulator.requests().len();
    user.write("new:name.txt", b"new").await.expect("write");
    user.write("notes.swp.part", b"scratch").await.expect("write");
    user.unlink("gone.txt").await.expect("unlink");

    let state = |path: &str| {
        let why = desk.why(path);
        (why.kind, why.state)
    };
    let pair = |kind: &str, state: &str| (kind.to_owned(), state.to_owned());
    assert_eq!(state(""), pair("folder", "cached"));
    assert_eq!(state("here.bin"), pair("file", "cached"));
    assert_eq!(state("part.bin"), pair("file", "partly-cached"));
    assert_eq!(state("Far/inside.txt"), pair("unlisted", "unknown"));
    assert_eq!(state("nothing.txt"), pair("nothing", "unknown"));
    assert_eq!(state("here.bin/below"), pair("nothing", "unknown"));
    assert_eq!(state("gone.txt"), pair("nothing", "deleted"));
    assert_eq!(state("notes.swp.part"), pair("file", "local"));
    assert_eq!(state("new:name.txt"), pair("file", "pending"));
    let here = desk.why("/here.bin/");
    assert_eq!((here.size, here.cached, here.path.as_str()), (300_000, 300_000, "here.bin"));
    assert!(here.version.expect("a version").starts_with("q:") && here.id.is_some());
    let part = desk.why("part.bin");
    assert!(part.cached > 0 && part.cached < part.size, "{part:?}");
    assert_eq!(desk.why("gone.txt").change.expect("a deletion").what, "delete");
    assert_eq!(desk.why("new:name.txt").name_in_cloud, None, "it is not there yet");
    assert_eq!(desk.why("").below, 2, "the scratch file is no change");
    let own = |request: &String| !request.contains("delta");
    let later: Vec<String> =
        world.emulator.requests().iter().skip(asked).map(|r| format!("{r:?}")).filter(own).collect();
    assert!(later.iter().all(|request| !request.contains("Far")), "{later:#?}");

    world.emulator.set_online(true);
    desk.start();
    settle_but_local(&desk).await;
    assert_eq!(desk.why("new:name.txt").name_in_cloud.as_deref(), Some("new：name.txt"));
    assert_eq!(state("gone.txt"), pair("nothing", "unknown"));
    desk.running.stop().await;
}

async fn settle_but_local(desk: &Desk) {
    eventually("everything is in the cloud", || desk.queue(None).total == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_taken_back_and_its_content_can_be_copied_out_before() {
    let world = World::new(Flavour::Business).await;
    let drive = world.emulator.drive();
    for name in ["edited", "deleted", "renamed"] {
        drive.create_file(&format!("/Docs/{name}.txt"), format!("{name} there").into_bytes());
    }
    drive.create_folder("/Docs/Empty");
    let desk = Desk::quiet(&world).await;
    let user = desk.user();
    let before = user.list("Docs").await.expect("list");
    user.list("Docs/Empty").await.expect("list");
    user.write("Docs/edited.txt", b"edited here").await.expect("write");
    user.unlink("Docs/deleted.txt").await.expect("unlink");
    user.rename("Docs/renamed.txt", "Docs/another.txt").await.expect("rename");
    user.rmdir("Docs/Empty").await.expect("rmdir");
    user.write("Docs/new.txt", b"new here").await.expect("write");
    user.mkdir("Docs/Folder").await.expect("mkdir");
    user.write("Docs/Folder/inside.txt", b"inside").await.expect("write");

    let place = draft_of(&desk, Choice::Path("Docs/edited.txt".into()));
    assert_eq!((place.size, place.missing, place.name.as_str()), (11, 0, "edited.txt"));
    assert_eq!(std::fs::read(&place.file).expect("readable"), b"edited here");
    assert_eq!(draft_of(&desk, Choice::Draft(place.draft)), place);
    for wrong in [Choice::Path("Docs/deleted.txt".into()), Choice::Draft(9999), Choice::Path("nothing".into())] {
        assert!(matches!(desk.ask(&Request::Draft { what: wrong }), Answer::Refused { .. }));
    }

    let count = desk.queue(None).total;
    let asked = desk.done(&Request::Discard { what: Choice::Path("Docs/new.txt".into()), ask_only: true });
    assert_eq!((asked.changes, desk.queue(None).total), (1, count), "asking changes nothing");
    let folder = desk.done(&discard(Choice::Path("Docs/Folder".into())));
    assert_eq!((folder.changes, folder.refused.len()), (0, 1));
    assert!(folder.refused[0].error.contains("there is something in it"), "{folder:?}");
    for path in ["edited.txt", "deleted.txt", "another.txt", "Empty", "new.txt", "Folder/inside.txt", "Folder"] {
        let done = desk.done(&discard(Choice::Path(format!("Docs/{path}"))));
        assert_eq!((done.changes, done.refused.len()), (1, 0), "{path}: {done:?}");
    }
    assert_eq!(user.list("Docs").await.expect("list"), before);
    assert_eq!(user.read("Docs/edited.txt").await.expect("read"), b"edited there");
    assert_eq!(user.read("Docs/deleted.txt").await.expect("read"), b"deleted there");
    assert_eq!(desk.queue(None).total, 0);
    assert!(matches!(desk.ask(&discard(Choice::Path("Docs/edited.txt".into()))), Answer::Refused { .. }));
    desk.running.stop().await;
    assert_eq!(world.emulator.drive().list("/Docs").len(), 4, "nothing has reached the cloud");
    assert_eq!(world.emulator.drive().recycle_bin().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_has_open_is_not_taken_back() {
    let world = World::new(Flavour::Business).await;
    let desk = Desk::open(&world).await;
    let volume = &desk.running.core.volume;
    let how = OpenHow { write: true, ..OpenHow::default() };
    let (attributes, opened) =
        volume.create(onedrive_mount::base::ids::Ino::ROOT, "open.txt".as_ref(), 0o644, how).await.expect("creates");
    volume.write(attributes.ino, Some(opened.fh), 0, b"half").await.expect("writes");
    let entry = desk.queue(None).entries.remove(0);
    assert_eq!((entry.state.as_str(), entry.what.as_str(), entry.size), ("open", "upload", 4));
    let done = desk.done(&discard(Choice::Path("open.txt".into())));
    assert!(done.changes == 0 && done.refused[0].error.contains("has it open"), "{done:?}");
    volume.flush(attributes.ino, opened.fh).await.expect("closes");
    volume.release(attributes.ino, opened.fh);
    settle(&desk.running.core).await;
    desk.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_that_no_file_owns_is_kept_shown_exported_and_thrown_away() {
    let world = World::new(Flavour::Business).await;
    let desk = Desk::open(&world).await;
    let volume = &desk.running.core.volume;
    let how = OpenHow { write: true, ..OpenHow::default() };
    let (attributes, opened) = volume
        .create(onedrive_mount::base::ids::Ino::ROOT, "never:closed".as_ref(), 0o644, how)
        .await
        .expect("creates");
    volume.write(attributes.ino, Some(opened.fh), 0, b"unfinished").await.expect("writes");
    desk.running.core.journal.sync().await.expect("syncs");
    let running = desk.away();
    running.kill().await;

    let desk = Desk::open(&world).await;
    let kept = desk.status().kept;
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0].name, "never:closed");
    let place = draft_of(&desk, Choice::Draft(kept[0].draft));
    assert_eq!(std::fs::read(&place.file).expect("readable"), b"unfinished");
    assert_eq!(desk.done(&discard(Choice::Draft(kept[0].draft))).changes, 1);
    assert!(desk.status().kept.is_empty());
    desk.running.core.journal.sync().await.expect("syncs");
    eventually("the file goes", || !place.file.exists()).await;
    desk.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_damage_without_downloading() {
    let mut world = World::new(Flavour::Business).await;
    world.debounce = Duration::from_secs(3600);
    let drive = world.emulator.drive();
    for (name, fill) in [("good", 1), ("bad", 2), ("far", 3)] {
        drive.create_file(&format!("/{name}.bin"), vec![fill; 400_000]);
    }
    drive.create_file("/part.bin", vec![4; 3_000_000]);
    drive.create_file("/empty", Vec::new());
    let desk = Desk::open(&world).await;
    let user = desk.user();
    user.read("good.bin").await.expect("read");
    user.read("bad.bin").await.expect("read");
    let ino = user.walk("part.bin").await.expect("there");
    let volume = &desk.running.core.volume;
    let fh = volume.open(ino, OpenHow { read: true, ..OpenHow::default() }).await.expect("opens").fh;
    volume.read(ino, fh, 0, 4096).await.expect("reads");
    volume.release(ino, fh);
    user.write("draft.txt", b"waits for its upload").await.expect("write");
    user.write("rotten.txt", b"waits as well").await.expect("write");

    // What was read is kept a moment later.
    eventually("everything is kept", || desk.verify(None).ok == 5 && desk.verify(None).unknown == 1).await;
    let found = desk.verify(None);
    assert_eq!((found.ok, found.corrupt, found.unknown, found.not_here), (5, 0, 1, 1), "{found:?}");
    assert!(found.bytes > 800_000);
    assert!(desk.verify(Some("good.bin")).ok == 1 && desk.verify(Some("far.bin")).not_here == 1);
    let nowhere = Request::Verify { path: Some("nowhere".into()) };
    let patience = Duration::from_secs(60);
    let answer = tokio::task::block_in_place(|| {
        onedrive_mount::daemon::control::ask_at_length(&desk.socket, &nowhere, patience, |_| {})
    });
    assert!(matches!(answer, Ok(Answer::Refused { .. })), "{answer:?}");

    // A bad disk: one bit of a cached file and one of a draft.
    assert_eq!(flip_one_bit(&world.home.path().join("cache"), 2), 1);
    assert_eq!(flip_one_bit(&draft_of(&desk, Choice::Path("rotten.txt".into())).file, b'w'), 1);
    world.emulator.forget_requests();
    let found = desk.verify(None);
    assert_eq!((found.ok, found.corrupt, found.unknown, found.not_here), (3, 2, 1, 1), "{found:?}");
    let mut corrupt: Vec<&str> = found
        .findings
        .iter()
        .filter(|finding| finding.verdict == "corrupt")
        .map(|finding| finding.path.as_str())
        .collect();
    corrupt.sort_unstable();
    assert_eq!(corrupt, ["bad.bin", "rotten.txt"]);
    // The feed of changes is followed beside it.
    let asked: Vec<String> = world
        .emulator
        .requests()
        .iter()
        .map(|request| format!("{request:?}"))
        .filter(|request| !request.contains("delta"))
        .collect();
    assert!(asked.is_empty(), "something was asked for: {asked:#?}");
    // What the cloud has is fetched again, whole.
    assert_eq!(desk.verify(Some("bad.bin")).not_here, 1);
    assert_eq!(user.read("bad.bin").await.expect("read"), vec![2; 400_000]);
    eventually("it is kept again", || desk.verify(Some("bad.bin")).ok == 1).await;
    assert_eq!(desk.verify(Some("rotten.txt")).corrupt, 1, "a draft is never dropped");
    desk.running.stop().await;
}

/// Flips a bit of the first byte of this value in the first file below a path that is made of such bytes. Returns how
/// many files were changed.
pub fn flip_one_bit(at: &std::path::Path, byte: u8) -> usize {
    if at.is_dir() {
        let entries = std::fs::read_dir(at).expect("a folder");
        return entries.map(|entry| flip_one_bit(&entry.expect("an entry").path(), byte)).sum();
    }
    let mut bytes = std::fs::read(at).expect("readable");
    if bytes.first() != Some(&byte) || bytes.len() < 10 {
        return 0;
    }
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(at, bytes).expect("writable");
    1
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_the_owners_alone_and_speaks_one_version() {
    let world = World::new(Flavour::Business).await;
    let desk = Desk::open(&world).await;
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&desk.socket), 0o600);
    assert_eq!(mode(desk.socket.parent().expect("a folder")), 0o700);
    let say = |line: &str| {
        let mut stream = UnixStream::connect(&desk.socket).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        stream.write_all(line.as_bytes()).expect("says");
        stream.write_all(b"\n").expect("says");
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).expect("hears");
        answer
    };
    assert!(say(r#"{"protocol":1,"ask":"status"}"#).starts_with(r#"{"protocol":1,"answer":"status""#));
    for line in [r#"{"protocol":2,"ask":"status"}"#, r#"{"ask":"status"}"#, "status", "{}", "[]", "", "\u{0}"] {
        let answer = tokio::task::block_in_place(|| say(line));
        assert!(answer.contains(r#""answer":"refused""#), "{line:?}: {answer}");
    }
    // Somebody who says nothing but very much is cut off, and the others are heard all the same.
    let mut endless = UnixStream::connect(&desk.socket).expect("connects");
    let noise = vec![b'x'; 1 << 20];
    let _ = tokio::task::block_in_place(|| endless.write_all(&noise));
    assert_eq!(desk.status().waiting, 0);
    desk.running.stop().await;
}

/// With a kernel, its caches, and the programs as they are shipped.
#[test]
fn a_person_takes_changes_back_in_a_mount() {
    let service = Service::new(Flavour::Business);
    service.drive().create_file("/Docs/report.txt", b"as it is in the cloud".to_vec());
    service.drive().create_file("/Docs/old name.txt", b"old".to_vec());
    let home = service.home("upload:\n  debounce: 1h\n");
    let mount = service.mount(&home);
    let cli = |arguments: &[&str]| {
        let output =
            home.command(env!("CARGO_BIN_EXE_onedrive-cli")).args(arguments).output().expect("onedrive-cli runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
    };
    let report = mount.path("Docs/report.txt");
    assert_eq!(fs::read(&report).expect("readable"), b"as it is in the cloud");
    fs::write(&report, "edited").expect("written");
    assert_eq!(fs::read(&report).expect("readable"), b"edited");
    fs::rename(mount.path("Docs/old name.txt"), mount.path("Docs/new name.txt")).expect("renamed");
    fs::write(mount.path("Docs/new.txt"), "new").expect("written");

    // A link from outside leads to the same file.
    std::os::unix::fs::symlink(mount.path("Docs"), home.path("link")).expect("a link");
    let link = home.path("link/report.txt");
    let (code, text) = cli(&["why", link.to_str().expect("text")]);
    assert!(code == 0 && text.starts_with("Docs/report.txt: safe on this machine"), "{text}");
    for name in ["report.txt", "new name.txt", "new.txt"] {
        let path = mount.path("Docs").join(name);
        let (code, text) = cli(&["discard", "--yes", path.to_str().expect("text")]);
        assert_eq!((code, text.as_str()), (0, "1 change taken back\n"), "{name}");
    }
    // The kernel is told right after the person is.
    let told = std::time::Instant::now();
    while fs::read(&report).expect("readable") != b"as it is in the cloud" {
        assert!(told.elapsed() < Duration::from_secs(60), "it does not come back");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(fs::metadata(&report).expect("there").len(), 21);
    let mut names: Vec<_> =
        fs::read_dir(mount.path("Docs")).expect("listed").map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["old name.txt", "report.txt"]);
    assert!(!mount.path("Docs/new name.txt").exists() && !mount.path("Docs/new.txt").exists());
    let (code, text) = cli(&["wait", "--timeout", "30s"]);
    assert_eq!(code, 0, "{text}");
    // What was taken back can be changed again.
    fs::write(&report, "edited again").expect("written");
    assert_eq!(fs::read(&report).expect("readable"), b"edited again");
    let (code, text) = cli(&["verify", "--json"]);
    assert!(code == 0 && text.contains("\"corrupt\":0"), "{text}");
    drop(mount);
}

/// What the daemon has found out about itself is not for the log alone.
#[tokio::test(flavor = "multi_thread")]
async fn status_tells_of_damage_and_of_parts_that_have_ended() {
    let world = World::new(Flavour::Business).await;
    world.emulator.drive().create_file("/old.txt", b"old".to_vec());
    let state = world.home.path().join("state");
    let spoil = |file: &str, how: &str| {
        let stored = rusqlite::Connection::open(state.join(file)).expect("a database");
        assert_eq!(stored.execute(how, []).expect("spoils"), 1);
    };
    let told = |desk: &Desk| desk.status().errors.into_iter().map(|trouble| trouble.error).collect::<Vec<_>>();
    let desk = Desk::quiet(&world).await;
    desk.user().list("").await.expect("lists");
    desk.user().write("new.txt", b"new").await.expect("writes");
    assert_eq!(told(&desk), [""; 0]);
    desk.away().stop().await;

    spoil("journal/journal.db", "UPDATE intents SET row = 'x'");
    let desk = Desk::quiet(&world).await;
    let errors = told(&desk);
    for part in ["the journal was damaged", "new.txt"] {
        assert!(errors.iter().any(|error| error.contains(part)), "{part}: {errors:?}");
    }

    spoil("index/index.db", "UPDATE items SET size = size + 1 WHERE name = 'old.txt'");
    desk.running.core.index.children(Ino::ROOT).expect_err("it is damaged");
    let errors = told(&desk);
    assert!(errors.iter().any(|error| error.contains("mount the drive again")), "{errors:?}");

    for _ in 0..2 {
        desk.running.tasks.spawn("upload", |_| async { panic!("out of cheese") });
    }
    eventually("it is told", || told(&desk).iter().any(|error| error.contains("out of cheese"))).await;
    let errors = told(&desk);
    assert_eq!(errors.iter().filter(|error| error.contains("upload")).count(), 1, "each once: {errors:?}");
    desk.away().stop().await;
}
