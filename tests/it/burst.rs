//! A burst of deletions or overwrites by one process is held until the user says so.

use std::fs;
use std::process::Command;
use std::time::Duration;

use onedrive_mount::base::caller::on_behalf_of;
use onedrive_mount::daemon::control::Request;
use onedrive_mount::daemon::control::protocol::Choice;
use onedrive_mount::emulator::Flavour;
use onedrive_mount::journal::burst::Limit;

use crate::world::desk::Desk;
use crate::world::mount::Home;
use crate::world::service::Service;
use crate::world::{World, settle};

const LIMIT: Limit = Limit { files: 5, window: Duration::from_secs(600) };

/// Threads that no machine has.
const CULPRIT: u32 = 3_000_000_001;
const OTHER: u32 = 3_000_000_002;

async fn guarded(world: &World) -> Desk {
    let desk = Desk::open(world).await;
    desk.running.core.journal.set_burst_limit(Some(LIMIT));
    desk
}

async fn world_of_files() -> World {
    let mut world = World::new(Flavour::Business).await;
    // Long enough that nothing of a burst has gone before it is noticed.
    world.debounce = Duration::from_secs(1);
    for folder in ["Docs", "Other"] {
        for number in 0..8 {
            world.emulator.drive().create_file(&format!("/{folder}/{number}.txt"), format!("{folder} {number}"));
        }
    }
    world
}

fn cloud(world: &World, folder: &str) -> usize {
    world.emulator.drive().list(folder).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_deletions_is_held_shown_and_approved_and_the_rest_goes_on() {
    let world = world_of_files().await;
    let desk = guarded(&world).await;
    let user = desk.user();
    user.list("Docs").await.expect("list");
    user.list("Other").await.expect("list");
    for number in 0..8 {
        on_behalf_of(CULPRIT, user.unlink(&format!("Docs/{number}.txt"))).await.expect("unlink");
    }
    on_behalf_of(CULPRIT, user.rmdir("Docs")).await.expect("rmdir");
    // Another process, new files and work that nobody asked for are not concerned.
    on_behalf_of(OTHER, user.unlink("Other/0.txt")).await.expect("unlink");
    on_behalf_of(CULPRIT, user.write("Other/new.txt", b"new")).await.expect("write");
    assert!(user.walk("Docs").await.is_err(), "programs see what they did");
    let status = desk.status();
    assert_eq!((status.held, status.parked), (9, 9), "{:?}", desk.entries());

    tokio::time::timeout(Duration::from_secs(60), async {
        while desk.progress(Some("Other")).waiting > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("what is not held goes on");
    assert_eq!((cloud(&world, "/Docs"), cloud(&world, "/Other")), (8, 8));
    let held = desk.queue(Some("Docs/3.txt")).entries.remove(0);
    assert_eq!((held.state.as_str(), held.what.as_str(), held.reason.as_deref()), ("held", "delete", Some("burst")));
    assert!(held.error.expect("why").contains("more than 5 files within 600 s"));
    assert!(held.advice.expect("advice").contains("onedrive-cli approve"));
    assert_eq!(desk.why("Docs/3.txt").state, "held");
    assert_eq!(desk.progress(Some("Docs")).parked, 9);

    // Trying again is not the same as saying that it was meant.
    let retried = desk.done(&Request::Retry { path: None });
    assert_eq!((retried.changes, retried.held), (0, 9));
    assert_eq!(desk.status().held, 9);
    assert_eq!(desk.done(&Request::Approve { path: Some("Docs/0.txt".into()) }).changes, 1);
    assert_eq!(desk.status().held, 8);
    assert_eq!(desk.done(&Request::Approve { path: None }).changes, 8);
    settle(&desk.running.core).await;
    assert!(world.emulator.drive().stat("/Docs").is_none());

    // The process was approved: it may finish what it does.
    for number in 1..8 {
        on_behalf_of(CULPRIT, user.unlink(&format!("Other/{number}.txt"))).await.expect("unlink");
    }
    assert_eq!(desk.status().held, 0);
    settle(&desk.running.core).await;
    assert_eq!(cloud(&world, "/Other"), 1);
    desk.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overwriting_renaming_over_and_writing_again_do_not_slip_through() {
    let world = world_of_files().await;
    let desk = guarded(&world).await;
    let user = desk.user();
    user.list("Docs").await.expect("list");
    let culprit = async {
        // Each in another of the ways in which content is replaced.
        for number in 0..3 {
            user.write(&format!("Docs/{number}.txt"), b"ransom").await.expect("write");
        }
        user.patch("Docs/3.txt", 0, b"ransom").await.expect("patch");
        for number in 4..6 {
            user.write("Docs/new", b"ransom").await.expect("write");
            user.rename("Docs/new", &format!("Docs/{number}.txt")).await.expect("rename");
        }
        user.unlink("Docs/6.txt").await.expect("unlink");
        user.write("Docs/6.txt", b"ransom").await.expect("write");
        // What is held stays held, whatever is done to it later.
        user.rename("Docs/0.txt", "Docs/0.locked").await.expect("rename");
        user.write("Docs/1.txt", b"more ransom").await.expect("write");
    };
    on_behalf_of(CULPRIT, culprit).await;
    on_behalf_of(OTHER, user.write("Docs/2.txt", b"somebody else")).await.expect("write");
    assert_eq!(desk.status().held, 7, "{:#?}", desk.entries());
    assert!(desk.entries().contains(&"held update Docs/0.locked".to_owned()), "{:#?}", desk.entries());
    // Longer than the debounce: nothing of it may go.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for number in 0..8 {
        let there = world.emulator.drive().read_file(&format!("/Docs/{number}.txt"));
        assert_eq!(there.as_deref(), Some(format!("Docs {number}").as_bytes()), "{number}");
    }

    let done = desk.done(&Request::Discard { what: Choice::Held(String::new()), ask_only: false });
    assert_eq!((done.changes, done.refused.len()), (7, 0), "{done:?}");
    assert_eq!(desk.queue(None).total, 0, "{:?}", desk.entries());
    for number in 0..8 {
        let here = user.read(&format!("Docs/{number}.txt")).await.expect("read");
        assert_eq!(here, format!("Docs {number}").as_bytes());
    }
    assert_eq!(user.list("Docs").await.expect("list").len(), 8);
    desk.running.stop().await;
}

/// A file whose bytes go to another name leaves its own item behind. That goes when the bytes have arrived.
#[tokio::test(flavor = "multi_thread")]
async fn files_moved_over_others_lose_neither_the_one_nor_the_other() {
    let world = world_of_files().await;
    let desk = guarded(&world).await;
    let user = desk.user();
    for folder in ["Docs", "Other"] {
        for name in user.list(folder).await.expect("list") {
            user.read(&format!("{folder}/{name}")).await.expect("read");
        }
    }
    for number in 0..8 {
        let (from, to) = (format!("Docs/{number}.txt"), format!("Other/{number}.txt"));
        on_behalf_of(CULPRIT, user.rename(&from, &to)).await.expect("rename");
    }
    // Longer than the debounce: nothing of it may go.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let as_before = |what: &str| {
        for (folder, number) in
            ["Docs", "Other"].into_iter().flat_map(|folder| (0..8).map(move |number| (folder, number)))
        {
            let there = world.emulator.drive().read_file(&format!("/{folder}/{number}.txt"));
            assert_eq!(there.as_deref(), Some(format!("{folder} {number}").as_bytes()), "{what}: {folder}/{number}");
        }
    };
    as_before("held");
    desk.done(&Request::Discard { what: Choice::Held(String::new()), ask_only: false });
    settle(&desk.running.core).await;
    as_before("taken back");
    for folder in ["Docs", "Other"] {
        for number in 0..8 {
            let here = user.read(&format!("{folder}/{number}.txt")).await.expect("read");
            assert_eq!(here, format!("{folder} {number}").as_bytes());
        }
    }
    desk.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_deleted_and_written_anew_counts_once() {
    let world = world_of_files().await;
    let desk = guarded(&world).await;
    let user = desk.user();
    user.list("Docs").await.expect("list");
    // What git checkout does, five times, and then a sixth.
    for number in 0..6 {
        let file = format!("Docs/{number}.txt");
        let checkout = async {
            user.unlink(&file).await.expect("unlink");
            user.write(&file, b"of another branch").await.expect("write");
        };
        assert_eq!(desk.status().held, 0, "{:#?}", desk.entries());
        on_behalf_of(CULPRIT, checkout).await;
    }
    assert_eq!(desk.entries(), (0..6).map(|number| format!("held update Docs/{number}.txt")).collect::<Vec<_>>());
    desk.done(&Request::Approve { path: None });
    settle(&desk.running.core).await;
    assert_eq!(world.emulator.drive().read_file("/Docs/5.txt").as_deref(), Some(&b"of another branch"[..]));
    desk.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_survives_a_restart_and_comes_back_with_its_folders() {
    let world = world_of_files().await;
    world.emulator.drive().create_file("/Docs/Deep/er/x.txt", b"x".to_vec());
    let desk = guarded(&world).await;
    let user = desk.user();
    for path in ["Docs", "Docs/Deep", "Docs/Deep/er", "Other"] {
        user.list(path).await.expect("list");
    }
    let culprit = async {
        for number in 0..8 {
            user.unlink(&format!("Docs/{number}.txt")).await.expect("unlink");
        }
        user.unlink("Docs/Deep/er/x.txt").await.expect("unlink");
        for path in ["Docs/Deep/er", "Docs/Deep", "Docs"] {
            user.rmdir(path).await.expect("rmdir");
        }
    };
    on_behalf_of(CULPRIT, culprit).await;
    assert_eq!(desk.status().held, 12);
    desk.away().kill().await;

    let desk = guarded(&world).await;
    let user = desk.user();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(desk.status().held, 12, "{:#?}", desk.entries());
    assert_eq!(cloud(&world, "/Docs"), 9);
    assert!(user.walk("Docs").await.is_err());
    // One file alone brings back the folders that it lies in.
    let one = desk.done(&Request::Discard { what: Choice::Path("Docs/Deep/er/x.txt".into()), ask_only: false });
    assert_eq!(one.changes, 1);
    assert_eq!(user.read("Docs/Deep/er/x.txt").await.expect("read"), b"x");
    assert_eq!(user.list("Docs").await.expect("list"), ["Deep"]);
    let rest = desk.done(&Request::Discard { what: Choice::Held("Docs".into()), ask_only: false });
    assert_eq!((rest.changes, rest.refused.len()), (8, 0), "{rest:?}");
    assert_eq!(user.list("Docs").await.expect("list").len(), 9);
    assert_eq!((desk.queue(None).total, world.emulator.drive().recycle_bin().len()), (0, 0));
    desk.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_folder_where_a_held_one_was_waits_without_asking_the_service_again_and_again() {
    let world = world_of_files().await;
    let desk = guarded(&world).await;
    let user = desk.user();
    user.list("Docs").await.expect("list");
    let culprit = async {
        for number in 0..8 {
            user.unlink(&format!("Docs/{number}.txt")).await.expect("unlink");
        }
        user.rmdir("Docs").await.expect("rmdir");
    };
    on_behalf_of(CULPRIT, culprit).await;
    on_behalf_of(OTHER, user.mkdir("Docs")).await.expect("mkdir");
    on_behalf_of(OTHER, user.write("Docs/0.txt", b"fresh")).await.expect("write");
    world.emulator.forget_requests();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let writes = world.emulator.requests().iter().filter(|request| request.method != "GET").count();
    assert_eq!(writes, 0, "{:#?}", world.emulator.requests());
    assert_eq!(desk.done(&Request::Approve { path: None }).changes, 9);
    settle(&desk.running.core).await;
    assert_eq!(world.emulator.drive().read_file("/Docs/0.txt").as_deref(), Some(&b"fresh"[..]));
    assert_eq!(cloud(&world, "/Docs"), 1);
    desk.running.stop().await;
}

fn cli(home: &Home, arguments: &[&str]) -> (i32, String, String) {
    let output = home.command(env!("CARGO_BIN_EXE_onedrive-cli")).args(arguments).output().expect("onedrive-cli runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// All of it once, with a real mount, real processes and the programs as they are shipped.
#[test]
fn rm_is_held_over_a_crash_and_undone_or_approved_by_a_person() {
    let service = Service::new(Flavour::PersonalNew);
    for number in 0..30 {
        service.drive().create_file(&format!("/Photos/{number:02}.jpg"), format!("photo {number}").into_bytes());
    }
    let home = service.home("guard:\n  burst: 10\n");
    let mount = service.mount(&home);
    let photos = mount.path("Photos");
    let remove = || {
        let output = Command::new("rm").arg("-r").arg(mount_path(&home)).output().expect("rm runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    fn mount_path(home: &Home) -> std::path::PathBuf {
        home.mount_point().join("Photos")
    }
    let at = photos.to_str().expect("text").to_owned();
    // Below the limit by different processes: nobody is asked.
    for number in 0..12 {
        let file = photos.join(format!("{number:02}.jpg"));
        assert!(Command::new("rm").arg(file).status().expect("rm runs").success());
    }
    let (code, _, errors) = cli(&home, &["wait", "--timeout", "60s"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(service.drive().list("/Photos").len(), 18);

    remove();
    assert!(!photos.exists());
    let (code, _, errors) = cli(&home, &["wait", "--timeout", "60s", &at]);
    assert_eq!(code, 35, "{errors}");
    assert!(errors.contains("held") && errors.contains("onedrive-cli approve"), "{errors}");
    let (_, status, _) = cli(&home, &["status"]);
    assert!(status.contains("19 changes held until you say so"), "{status}");
    let (_, queue, _) = cli(&home, &["queue"]);
    assert!(queue.contains("held     delete     Photos/12.jpg") && queue.contains("rm (process "), "{queue}");

    mount.crash();
    let mount = service.mount(&home);
    let photos = mount.path("Photos");
    assert!(!photos.exists() && service.drive().list("/Photos").len() == 18);
    let (code, _, errors) = cli(&home, &["discard", "--held", &at]);
    assert_eq!(code, 2, "nobody can be asked: {errors}");
    let (code, said, errors) = cli(&home, &["discard", "--held", "--yes", &at]);
    assert_eq!((code, said.as_str()), (0, "19 changes taken back\n"), "{errors}");
    // The kernel is told right after the person is.
    let told = std::time::Instant::now();
    while fs::read(photos.join("29.jpg")).ok().as_deref() != Some(&b"photo 29"[..]) {
        assert!(told.elapsed() < Duration::from_secs(60), "it does not come back");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(fs::read_dir(&photos).expect("listed").count(), 18);

    remove();
    let (code, said, _) = cli(&home, &["approve", "--json"]);
    assert_eq!(code, 0);
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["changes"], 19, "{said}");
    let (code, _, errors) = cli(&home, &["wait", "--timeout", "60s"]);
    assert_eq!(code, 0, "{errors}");
    assert!(service.drive().stat("/Photos").is_none());
    drop(mount);
}
