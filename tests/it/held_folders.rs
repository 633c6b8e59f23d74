//! A shell that stands in a folder holds it: the kernel does not forget it, and what the kernel once took for removed
//! stays so for everybody. A folder that lives must never be shown empty, for a backup would then delete its copy.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use onedrive_mount::emulator::Network;

use crate::world::service::{Service, wait_until_uploaded};
use crate::world::side::Side;
use crate::world::until;

const SIDES: [Side; 2] = [Side::PERSONAL, Side::LIVE];

/// A program whose working directory this is, until it is dropped.
struct Holder(Child);

impl Holder {
    fn of(folder: &Path) -> Self {
        Self(Command::new("sleep").arg("120").current_dir(folder).spawn().expect("sleep runs"))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is in a folder that lives, and always has something in it.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return vec!["(cannot be listed)".into()] };
    let entries: std::io::Result<Vec<_>> = entries.collect();
    let Ok(entries) = entries else { return vec!["(cannot be listed)".into()] };
    assert!(!entries.is_empty(), "{} is shown empty", folder.display());
    let mut names: Vec<String> = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn folders_that_change_their_names_elsewhere_are_not_shown_empty() {
    for side in SIDES {
        let service = Service::new(side);
        service.drive().write_file("/a/in a", "a");
        service.drive().write_file("/b/in b", "b");
        let home = service.home("");
        let mount = service.mount(&home);
        assert_eq!((names(&mount.path("a")), names(&mount.path("b"))), (vec!["in a".into()], vec!["in b".into()]));
        let holders = [Holder::of(&mount.path("a")), Holder::of(&mount.path("b"))];
        for (from, to) in [("/a", "/c"), ("/b", "/a"), ("/c", "/b")] {
            service.drive().rename(from, to);
        }
        let swapped =
            || (names(&mount.path("a")), names(&mount.path("b"))) == (vec!["in b".into()], vec!["in a".into()]);
        until("both have each other's name", swapped);
        for folder in ["a", "b"] {
            fs::write(mount.path(format!("{folder}/new")), "new").expect("a file in it");
            fs::remove_file(mount.path(format!("{folder}/new"))).expect("removes it");
        }
        drop(holders);
        assert!(swapped(), "{side:?}: and after nobody stands in them any more");
        wait_until_uploaded(&home);
        assert!(mount.stop().success());
    }
}

#[test]
fn a_folder_that_is_back_because_others_put_something_into_it_is_not_shown_empty() {
    for side in SIDES {
        let service = Service::new(side);
        service.drive().write_file("/d/ours", "ours");
        let home = service.home("upload:\n  debounce: 0s\n");
        let mount = service.mount(&home);
        assert_eq!(names(&mount.path("d")), ["ours"]);
        let holder = Holder::of(&mount.path("d"));
        service.emulator().set_network(Network::Refusing);
        fs::remove_file(mount.path("d/ours")).expect("removes");
        fs::remove_dir(mount.path("d")).expect("removes the folder");
        service.drive().write_file("/d/theirs", "theirs");
        service.emulator().set_network(Network::Up);
        until("it is back", || names(&mount.path("d")) == ["theirs"]);
        fs::write(mount.path("d/new"), "new").expect("a file in it");
        drop(holder);
        assert_eq!(names(&mount.path("d")), ["new", "theirs"], "{side:?}");
        wait_until_uploaded(&home);
        assert!(mount.stop().success());
    }
}
