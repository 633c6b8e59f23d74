//! Which object the command line means when an argument can be read in two ways, and which local file when the service
//! takes two names for one.

use std::fs;
use std::time::{Duration, SystemTime};

use onedrive_mount::emulator::Flavour;

use crate::world::shell::Shell;

/// The three kinds of account on Graph, and the old protocol.
fn every_shell() -> Vec<(&'static str, Shell)> {
    vec![
        ("work", Shell::new(Flavour::Business)),
        ("personal", Shell::new(Flavour::PersonalNew)),
        ("old personal", Shell::new(Flavour::PersonalOld)),
        ("old protocol", Shell::live("")),
    ]
}

#[test]
fn a_folder_whose_name_looks_like_the_root_of_an_account_is_found_by_its_name() {
    for (kind, shell) in every_shell() {
        let drive = shell.service.drive();
        drive.create_file("/a", b"the old one".to_vec());
        shell.file("a", b"new");
        for command in [&["put", "a", "folder.2024"][..], &["ls", "folder.2024"], &["-i", "ls", "folder.2024"]] {
            let said = shell.fails(40, command);
            assert!(said.contains("\"folder.2024\""), "{kind}: {said}");
        }
        assert_eq!(drive.read_file("/a").expect("there"), b"the old one", "{kind}");
        shell.ok(&["mkdir", "folder.2024"]);
        shell.ok(&["put", "a", "folder.2024"]);
        assert_eq!(drive.read_file("/a").expect("there"), b"the old one", "{kind}");
        assert_eq!(drive.read_file("/folder.2024/a").expect("there"), b"new", "{kind}");
        assert_eq!(shell.ok(&["ls", "folder.2024"]), "- a\n", "{kind}");
        shell.fails(40, &["-i", "ls", "folder.2024"]);
        shell.ok(&["rm", "folder.2024"]);
        assert_eq!(drive.read_file("/folder.2024/a"), None, "{kind}");
    }
}

#[test]
fn the_id_of_the_own_root_means_the_root_with_and_without_its_zeros() {
    for (kind, shell) in every_shell() {
        shell.stock();
        let cid = shell.service.drive().drive_id();
        if kind == "work" {
            // Such an account never had an id of the old service.
            shell.fails(40, &["-i", "ls", "folder.7c1e0b5a93d2f648"]);
            continue;
        }
        let long = format!("folder.{:0>16}", cid.to_ascii_lowercase());
        let short = format!("folder.{}", cid.trim_start_matches('0').to_ascii_uppercase());
        for id in [&long, &short] {
            assert_eq!(shell.ok(&["ls", id]), shell.ok(&["ls"]), "{kind}");
            assert_eq!(shell.ok(&["-i", "ls", id]), shell.ok(&["ls"]), "{kind}");
            shell.fails(40, &["-p", "ls", id]);
        }
    }
}

#[test]
fn files_at_the_end_of_an_old_path_is_a_name_except_where_the_old_service_listed() {
    for (kind, shell) in every_shell() {
        let drive = shell.service.drive();
        drive.create_file("/Projects/plan.txt", b"plan".to_vec());
        shell.file("a", b"new");
        let said = shell.fails(40, &["rm", "me/skydrive/Projects/files"]);
        assert!(said.contains("Projects/files"), "{kind}: {said}");
        assert!(drive.stat("/Projects/plan.txt").is_some(), "{kind}");
        drive.create_file("/Projects/files/old.txt", b"old".to_vec());
        assert_eq!(shell.ok(&["ls", "me/skydrive/Projects/files"]), "- old.txt\n", "{kind}");
        shell.ok(&["rm", "me/skydrive/Projects/files"]);
        assert_eq!(shell.ok(&["ls", "Projects"]), "- plan.txt\n", "{kind}");
    }
}

#[test]
fn the_listing_of_a_folder_is_for_looking_and_nothing_is_changed_through_it() {
    for (kind, shell) in every_shell() {
        let drive = shell.service.drive();
        drive.create_file("/plan.txt", b"plan".to_vec());
        shell.file("a", b"new");
        assert_eq!(shell.ok(&["ls", "me/skydrive/files"]), "- plan.txt\n", "{kind}");
        for command in [
            &["put", "a", "me/skydrive/files"][..],
            &["mkdir", "b", "me/skydrive/files"],
            &["mv", "plan.txt", "me/skydrive/files"],
            &["rm", "me/skydrive/files"],
        ] {
            let said = shell.fails(40, command);
            assert!(said.contains("there is no \"files\""), "{kind}: {said}");
        }
        drive.create_folder("/files");
        shell.ok(&["put", "a", "me/skydrive/files"]);
        assert_eq!(drive.read_file("/files/a").expect("there"), b"new", "{kind}");
        assert_eq!(drive.read_file("/a"), None, "{kind}");
        assert_eq!(shell.ok(&["ls", "me/skydrive/files"]), "- files\n- plan.txt\n", "{kind}");
        shell.ok(&["rm", "me/skydrive/files"]);
        assert_eq!(shell.ok(&["ls"]), "- plan.txt\n", "{kind}");
    }
}

#[test]
fn of_local_names_that_differ_only_in_case_the_first_is_sent_and_the_others_are_told() {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_400_000_000);
    for jobs in ["1", "8"] {
        for (kind, shell) in every_shell() {
            for (name, content) in [
                ("in/Read.txt", "first"),
                ("in/read.TXT", "other"),
                ("in/Long.txt", "first"),
                ("in/long.txt", "a longer one"),
                ("in/Sub/a.txt", "first"),
                ("in/sub/a.txt", "other"),
                ("in/sub/b.txt", "other"),
                ("in/Été.txt", "first"),
                ("in/été.txt", "other"),
                ("in/deep/Thing", "first"),
                ("in/deep/thing/below", "other"),
            ] {
                let path = shell.file(name, content.as_bytes());
                fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(then)).expect("a time");
            }
            for round in 0..2 {
                let said = shell.fails(50, &["put", "-r", "-j", jobs, "in"]);
                for (left, kept) in [
                    ("in/read.TXT", "in/Read.txt"),
                    ("in/long.txt", "in/Long.txt"),
                    ("in/sub", "in/Sub"),
                    ("in/été.txt", "in/Été.txt"),
                    ("in/deep/thing", "in/deep/Thing"),
                ] {
                    let sentence = format!("{left} is left out: to the service its name is that of {kept}");
                    assert!(said.contains(&sentence), "{kind}, {jobs} jobs, round {round}: {said}");
                }
                assert!(said.contains("5 of"), "each is told once: {said}");
            }
            let drive = shell.service.drive();
            for name in ["Read.txt", "Long.txt", "Sub/a.txt", "Été.txt", "deep/Thing"] {
                let content = drive.read_file(&format!("/in/{name}")).expect(name);
                assert_eq!(content, b"first", "{kind}, {jobs} jobs: {name}");
                let former = drive.versions(&format!("/in/{name}"));
                assert!(former.iter().all(|old| old == b"first"), "{kind}, {jobs} jobs: {name}");
            }
            assert_eq!(drive.read_file("/in/Sub/b.txt"), None, "{kind}: what is below is left out with it");
            let dry = shell.output(&["put", "-r", "--dry-run", "in"]);
            assert_eq!(dry.status.code(), Some(50), "{kind}: {dry:?}");
            assert!(String::from_utf8_lossy(&dry.stdout).contains("send 5 files"), "{kind}: {dry:?}");
        }
    }
}
