//! A mount and the cloud behind it: what arrives there, what arrives from there, and what outlives the daemon.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use onedrive_mount::emulator::{Flavour, Node};

use crate::world::service::{Service, places, wait_until_uploaded};
use crate::world::side::Side;
use crate::world::until;

/// Waits for something that takes a poll of the daemon; the limit only tells a hang from slowness.
/// Bytes that do not compress and tell one file from another.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// A tree in the proportions of vendored sources: many small files in many folders, a few large ones.
fn plant_sources(top: &Path, files: u64) -> u64 {
    let mut total = 0;
    for number in 0..files {
        let folder = top.join(format!("crate-{:03}/src/{}", number / 30, ["", "deep", "deep/er"][number as usize % 3]));
        fs::create_dir_all(&folder).expect("a folder");
        let length = match number % 100 {
            0 => 0,
            1 => 2_500_000,
            2 => 300_000,
            other => 60 * other as usize,
        };
        fs::write(folder.join(format!("module_{number}.rs")), noise(number, length)).expect("a file");
        total += length as u64;
    }
    total
}

fn same(one: &Path, other: &Path) {
    let output = Command::new("diff").arg("-r").args([one, other]).output().expect("diff runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn copy(from: &Path, to: &Path) {
    let output = Command::new("cp").arg("-a").args([from, to]).output().expect("cp runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_source_tree_comes_back_identical_from_the_mount_and_from_the_cloud() {
    let service = Service::new(Flavour::PersonalNew);
    let home = service.home("");
    let source = home.path("source");
    let total = plant_sources(&source, 3_600);
    assert!(total > 100_000_000, "{total}");

    let mount = service.mount(&home);
    copy(&source, &mount.path("tree"));
    copy(&mount.path("tree"), &home.path("back"));
    same(&source, &home.path("back"));
    wait_until_uploaded(&home);
    assert!(mount.stop().success());
    let files = service.drive().tree().values().filter(|node| matches!(node, Node::File(_))).count();
    assert_eq!(files, 3_600);

    // Another machine would have nothing but the sign-in.
    let keep = places(&home).token_file();
    fs::remove_dir_all(places(&home).cache).expect("the cache");
    for entry in fs::read_dir(places(&home).state).expect("the state") {
        let path = entry.expect("an entry").path();
        if path != keep {
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removes");
        }
    }
    let mount = service.mount(&home);
    same(&source, &mount.path("tree"));
    drop(mount);
}

#[test]
fn what_was_closed_survives_a_killed_daemon() {
    for side in [Side::PERSONAL, Side::BUSINESS, Side::LIVE] {
        let service = Service::new(side);
        // Long enough that nothing is sent before the crash.
        let home = service.home("upload:\n  debounce: 1h\n");
        let mount = service.mount(&home);
        fs::create_dir(mount.path("folder")).expect("a folder");
        fs::write(mount.path("folder/letter"), "dear reader").expect("a file");
        fs::write(mount.path("large"), noise(5, 3_000_000)).expect("a file");
        let number = fs::metadata(mount.path("large")).expect("there").ino();
        mount.crash();
        assert_eq!(service.drive().read_file("/large"), None, "nothing had been sent");

        let mount = service.mount(&home);
        assert_eq!(fs::read(mount.path("folder/letter")).expect("readable"), b"dear reader");
        assert_eq!(fs::read(mount.path("large")).expect("readable"), noise(5, 3_000_000));
        assert_eq!(fs::metadata(mount.path("large")).expect("there").ino(), number, "inode numbers are kept");
        mount.crash();

        let settings = places(&home).settings;
        let text = fs::read_to_string(&settings).expect("settings").replace("1h", "0s");
        fs::write(&settings, text).expect("settings");
        let mount = service.mount(&home);
        until("the upload", || service.drive().read_file("/large") == Some(noise(5, 3_000_000)));
        until("the upload", || service.drive().read_file("/folder/letter").as_deref() == Some(b"dear reader"));
        drop(mount);
    }
}

#[test]
fn changes_elsewhere_show_without_remounting() {
    for side in [Side::PERSONAL, Side::LIVE] {
        changes_elsewhere_show_without_remounting_on(side);
    }
}

fn changes_elsewhere_show_without_remounting_on(side: Side) {
    let service = Service::new(side);
    service.drive().write_file("/shared/report", "first");
    service.drive().write_file("/shared/gone soon", "x");
    let home = service.home("");
    let mount = service.mount(&home);
    let shared = mount.path("shared");
    let names = || {
        let mut names: Vec<String> = fs::read_dir(&shared)
            .expect("a listing")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    // Everything below is in the kernel's caches before it changes: names, absent names, attributes, pages.
    assert_eq!(names(), ["gone soon", "report"]);
    assert_eq!(fs::read(shared.join("report")).expect("readable"), b"first");
    assert!(!shared.join("new").exists());

    service.drive().write_file("/shared/report", "second version");
    until("new content", || fs::read(shared.join("report")).is_ok_and(|bytes| bytes == b"second version"));
    if side.live {
        // It tells seconds apart, where the size stays.
        std::thread::sleep(Duration::from_millis(1100));
    }
    service.drive().write_file("/shared/report", "SECOND VERSION");
    until("content of the same size", || fs::read(shared.join("report")).is_ok_and(|bytes| bytes == b"SECOND VERSION"));
    service.drive().write_file("/shared/new", "here");
    until("a new name", || fs::read(shared.join("new")).is_ok_and(|bytes| bytes == b"here"));
    service.drive().remove("/shared/gone soon");
    until("a removal", || !shared.join("gone soon").exists());
    service.drive().rename("/shared/new", "/shared/renamed");
    until("a rename", || shared.join("renamed").exists() && !shared.join("new").exists());
    assert_eq!(names(), ["renamed", "report"]);
    service.drive().create_folder("/shared/folder/inside");
    until("folders", || shared.join("folder/inside").is_dir());
}

#[test]
fn an_open_file_keeps_its_version_while_it_is_replaced_elsewhere() {
    for side in [Side::PERSONAL, Side::LIVE] {
        an_open_file_keeps_its_version_while_it_is_replaced_elsewhere_on(side);
    }
}

fn an_open_file_keeps_its_version_while_it_is_replaced_elsewhere_on(side: Side) {
    let service = Service::new(side);
    service.drive().write_file("/book", vec![b'a'; 300_000]);
    let home = service.home("");
    let mount = service.mount(&home);
    let open = fs::File::open(mount.path("book")).expect("opens");
    let mut head = vec![0; 100_000];
    std::os::unix::fs::FileExt::read_exact_at(&open, &mut head, 0).expect("reads");
    service.drive().write_file("/book", vec![b'b'; 200_000]);
    until("the new version", || {
        fs::read(mount.path("book")).is_ok_and(|bytes| bytes.len() == 200_000 && bytes.iter().all(|byte| *byte == b'b'))
    });
    // What is still readable through the old handle is the old version; what is not is refused.
    let (mut chunk, mut at) = (vec![0; 50_000], 0);
    while at < 300_000 {
        match std::os::unix::fs::FileExt::read_at(&open, &mut chunk, at) {
            Ok(0) => panic!("the end of another version at {at}"),
            Ok(length) => {
                assert!(chunk[..length].iter().all(|byte| *byte == b'a'), "a mixture at {at}");
                at += length as u64;
            }
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(116), "ESTALE");
                at += 50_000;
            }
        }
    }
}

#[test]
fn saving_by_rename_keeps_the_item_and_its_history() {
    for side in [Side::PERSONAL, Side::LIVE] {
        saving_by_rename_keeps_the_item_and_its_history_on(side);
    }
}

fn saving_by_rename_keeps_the_item_and_its_history_on(side: Side) {
    let service = Service::new(side);
    service.drive().write_file("/report.odt", "first");
    let id = service.drive().id("/report.odt");
    let home = service.home("upload:\n  debounce: 500ms\n");
    let mount = service.mount(&home);
    fs::write(mount.path("report.tmp"), "second").expect("a temporary file");
    fs::rename(mount.path("report.tmp"), mount.path("report.odt")).expect("renames over");
    until("the upload", || service.drive().read_file("/report.odt").as_deref() == Some(b"second"));
    wait_until_uploaded(&home);
    assert_eq!(service.drive().id("/report.odt"), id);
    assert_eq!(service.drive().versions("/report.odt"), [b"first".to_vec()]);
    assert_eq!(service.drive().list("/").len(), 1);
}

#[test]
fn times_that_were_set_survive_the_round_trip() {
    for side in [Side::PERSONAL, Side::LIVE] {
        times_that_were_set_survive_the_round_trip_on(side);
    }
}

fn times_that_were_set_survive_the_round_trip_on(side: Side) {
    let service = Service::new(side);
    let home = service.home("upload:\n  debounce: 0s\n");
    let mount = service.mount(&home);
    let file = fs::File::create(mount.path("old")).expect("creates");
    let time = std::time::UNIX_EPOCH + Duration::from_secs(1_234_567_890);
    file.set_modified(time).expect("a time");
    drop(file);
    wait_until_uploaded(&home);
    assert_eq!(fs::metadata(mount.path("old")).expect("there").mtime(), 1_234_567_890);
    if side.live {
        // The service cannot be told; this machine remembers it, also when it hears of the file again.
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(fs::metadata(mount.path("old")).expect("there").mtime(), 1_234_567_890);
        return;
    }
    assert_eq!(service.drive().stat("/old").expect("uploaded").mtime.seconds(), 1_234_567_890);
}
