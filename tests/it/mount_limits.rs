//! What a mount cannot do is refused in the words of the system, changes nothing, and is the only thing refused; and where
//! a file stands is told to whoever asks the file.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use onedrive_mount::emulator::{Fault, Flavour, Host, Network, Rule, When};

use crate::world::mount::{Home, Mount};
use crate::world::service::{Service, wait_until_uploaded};
use crate::world::side::Side;
use crate::world::until;

const SIDES: [Side; 2] = [Side::PERSONAL, Side::LIVE];

/// The errno of a call that must fail.
fn errno<T>(result: std::io::Result<T>) -> i32 {
    result.err().expect("it is refused").raw_os_error().expect("a number of the system's")
}

fn attribute(file: &Path, name: &str) -> Option<String> {
    let asked = Command::new("getfattr").args(["--only-values", "-n", name]).arg(file).output().expect("getfattr runs");
    asked.status.success().then(|| String::from_utf8(asked.stdout).expect("text"))
}

/// Whether these words of Bash succeed in this folder.
fn succeeds(folder: &Path, script: &str) -> bool {
    Command::new("bash").args(["-euc", script]).current_dir(folder).output().expect("bash runs").status.success()
}

/// They are to be dropped in the opposite order.
fn mounted(side: Side, prepare: impl FnOnce(&Service)) -> (Service, Home, Mount) {
    let service = Service::new(side);
    prepare(&service);
    let home = service.home("upload:\n  debounce: 0s\n");
    let mount = service.mount(&home);
    (service, home, mount)
}

#[test]
fn a_file_tells_where_it_stands() {
    for side in SIDES {
        let (service, home, mount) = mounted(side, |service| {
            service.drive().create_file("/far", vec![1; 300_000]);
            service.drive().create_file("/refused", b"as it was".to_vec());
        });
        let state = |name: &str| attribute(&mount.path(name), "user.onedrive.state").expect("it always has one");
        let of = |name: &str, what: &str| attribute(&mount.path(name), &format!("user.onedrive.{what}"));

        assert_eq!(state("far"), "online", "{side:?}");
        assert_eq!(fs::read(mount.path("far")).expect("reads"), vec![1; 300_000]);
        until("all of it is here", || state("far") == "cached");
        assert!(service.drive().stat_id(&of("far", "id").expect("an id")).is_some_and(|item| item.name == "far"));
        assert_eq!(of("far", "error"), None, "{side:?}");

        service.emulator().set_network(Network::Refusing);
        fs::write(mount.path("new"), "new").expect("writes");
        fs::write(mount.path("scratch.part"), "part").expect("writes");
        assert_eq!((state("new"), state("scratch.part")), ("pending".into(), "local".into()), "{side:?}");
        assert_eq!(of("new", "id"), None, "{side:?}: it is not there yet");
        until("an attempt has failed", || of("new", "error").is_some_and(|why| why.contains("no connection")));
        service.emulator().set_network(Network::Up);
        wait_until_uploaded(&home);
        until("it is in the cloud", || state("new") == "cached");
        assert!(service.drive().stat_id(&of("new", "id").expect("an id")).is_some_and(|item| item.name == "new"));

        let code = if side.live { "request_token_unauthorized" } else { "accessDenied" };
        let refuse = Fault::status(When::Before, 403, code);
        let rule = service.emulator().faults().add(Rule::always("PUT", "*", refuse));
        fs::write(mount.path("refused"), "as we would have it").expect("writes");
        until("it waits for the user", || state("refused") == "parked");
        assert!(of("refused", "error").is_some_and(|why| !why.is_empty()), "{side:?}");
        service.emulator().faults().remove(rule);
        let retry = home.command(env!("CARGO_BIN_EXE_onedrive-cli")).arg("retry").output().expect("onedrive-cli runs");
        assert!(retry.status.success());
        wait_until_uploaded(&home);
        assert_eq!(service.drive().read_file("/refused").as_deref(), Some(&b"as we would have it"[..]));
        assert!(mount.stop().success());
    }
}

#[test]
fn folders_of_other_drives_are_read_and_nothing_in_them_is_changed() {
    const EROFS: i32 = 30;
    for flavour in [Flavour::PersonalNew, Flavour::Business] {
        let mut theirs = None;
        let (service, home, mount) = mounted(flavour.into(), |service| {
            let drive = service.emulator().add_drive(flavour, 2, "Bob");
            drive.create_file("/Theirs/plan", b"their plan".to_vec());
            drive.create_file("/Theirs/inner/deep", b"deep".to_vec());
            service.drive().add_shortcut("/From Bob", &drive, "/Theirs");
            theirs = Some(drive);
        });
        let theirs = theirs.expect("made");
        let (top, at) = (mount.path("From Bob"), |name: &str| mount.path(format!("From Bob/{name}")));
        let mut names: Vec<_> =
            fs::read_dir(&top).expect("a listing").flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        assert_eq!(names, ["inner", "plan"]);
        assert_eq!(fs::read(at("plan")).expect("reads"), b"their plan");
        assert_eq!(fs::read(at("inner/deep")).expect("reads"), b"deep");
        fs::write(mount.path("ours"), "ours").expect("writes");
        fs::create_dir(mount.path("our folder")).expect("makes");
        wait_until_uploaded(&home);
        let before = (theirs.tree(), service.drive().tree());

        let existing = |how: &mut fs::OpenOptions| how.open(at("plan")).map(drop);
        let refused = [
            ("a new file", fs::write(at("new"), "new")),
            ("a new file further down", fs::write(at("inner/new"), "new")),
            ("a new folder", fs::create_dir(at("folder"))),
            ("writing", existing(fs::OpenOptions::new().write(true))),
            ("cutting", existing(fs::OpenOptions::new().write(true).truncate(true))),
            ("adding", existing(fs::OpenOptions::new().append(true))),
            ("removing", fs::remove_file(at("plan"))),
            ("removing further down", fs::remove_file(at("inner/deep"))),
            ("removing a folder", fs::remove_dir(at("inner"))),
            ("another name", fs::rename(at("plan"), at("plans"))),
            ("a move out", fs::rename(at("plan"), mount.path("plan"))),
            ("a move in", fs::rename(mount.path("ours"), at("ours"))),
            ("a folder moved in", fs::rename(mount.path("our folder"), at("our folder"))),
            ("permission bits", fs::set_permissions(at("plan"), fs::Permissions::from_mode(0o600))),
            ("a time", File::open(at("plan")).and_then(|file| file.set_modified(std::time::SystemTime::UNIX_EPOCH))),
        ];
        for (what, result) in refused {
            assert_eq!(errno(result), EROFS, "{flavour:?}: {what}");
        }
        wait_until_uploaded(&home);
        assert!((theirs.tree(), service.drive().tree()) == before, "{flavour:?}: something was changed");
        assert_eq!(fs::read(at("plan")).expect("reads"), b"their plan");
        assert_eq!(fs::read(mount.path("ours")).expect("reads"), b"ours");
        assert!(mount.stop().success());
    }
}

#[test]
fn what_cannot_be_entered_is_shown_and_left_alone() {
    const EACCES: i32 = 13;
    let (service, home, mount) = mounted(Side::PERSONAL, |service| {
        service.drive().add_opaque("/Personal Vault");
        service.drive().add_package("/Notebook");
        service.drive().add_bundle("/Album");
    });
    let before = service.drive().list("/").len();
    for name in ["Personal Vault", "Notebook", "Album"] {
        let at = mount.path(name);
        assert!(fs::metadata(&at).expect("it is shown").is_dir(), "{name}");
        assert_eq!(errno(fs::read_dir(&at)), EACCES, "{name}");
        assert_eq!(errno(fs::write(at.join("new"), "new")), EACCES, "{name}");
        assert_eq!(errno(fs::create_dir(at.join("new"))), EACCES, "{name}");
        assert_eq!(errno(fs::remove_dir(&at)), EACCES, "{name}");
        assert_eq!(errno(fs::rename(&at, mount.path("elsewhere"))), EACCES, "{name}");
    }
    wait_until_uploaded(&home);
    assert_eq!(service.drive().list("/").len(), before);
    assert!(mount.stop().success());
}

#[test]
fn locks_work_between_programs() {
    let (_service, _home, mount) = mounted(Side::PERSONAL, |_| {});
    fs::write(mount.path("file"), "x").expect("writes");
    let tries = "flock --nonblock file true";
    assert!(succeeds(mount.at(), tries), "nobody has it");
    assert!(succeeds(mount.at(), &format!("exec 9<file; flock --nonblock 9; ! {tries}")), "it is taken");
    assert!(succeeds(mount.at(), tries), "and given back");
    assert!(succeeds(mount.at(), "exec 9<file; flock --shared --nonblock 9; flock --shared --nonblock file true"));

    let lock = "import fcntl, sys\nfile = open('file', 'r+b')\n\
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, int(sys.argv[1]))\n";
    let python = |at: u32| {
        let program = Command::new("python3").args(["-c", lock, &at.to_string()]).current_dir(mount.at()).output();
        program.expect("python3 runs").status.success()
    };
    assert!(python(0), "nobody has it");
    let file = fs::OpenOptions::new().read(true).write(true).open(mount.path("file")).expect("opens");
    rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).expect("locks all of it");
    assert!(!python(0), "it is taken");
    drop(file);
    assert!(python(0), "and given back");
}

#[test]
fn owners_attributes_and_names_that_nobody_can_store_are_refused() {
    const EPERM: i32 = 1;
    const EINVAL: i32 = 22;
    const EOPNOTSUPP: i32 = 95;
    let (_service, home, mount) = mounted(Side::PERSONAL, |_| {});
    let file = mount.path("file");
    fs::write(&file, "x").expect("writes");
    let facts = fs::metadata(&file).expect("there");
    std::os::unix::fs::chown(&file, Some(facts.uid()), Some(facts.gid())).expect("the present ones");
    // Only root may ask for another at all.
    if rustix::process::geteuid().is_root() {
        assert_eq!(errno(std::os::unix::fs::chown(&file, Some(4711), None)), EPERM);
        assert_eq!(errno(std::os::unix::fs::chown(&file, None, Some(4711))), EPERM);
    }
    for bit in [0o4755, 0o2755] {
        assert_eq!(errno(fs::set_permissions(&file, fs::Permissions::from_mode(bit))), EPERM, "{bit:o}");
    }
    let set = |name: &str| rustix::fs::setxattr(&file, name, b"x", rustix::fs::XattrFlags::empty());
    for name in ["user.comment", "user.onedrive.state", "security.something"] {
        assert_eq!(errno(set(name).map_err(std::io::Error::from)), EOPNOTSUPP, "{name}");
    }
    for name in ["CON", "nul", "COM0", "lpt9.txt", "desktop.ini", ".lock", "a_vti_b"] {
        assert_eq!(errno(fs::write(mount.path(name), "x")), EINVAL, "{name}");
        assert_eq!(errno(fs::create_dir(mount.path(name))), EINVAL, "{name}");
        assert_eq!(errno(fs::rename(&file, mount.path(name))), EINVAL, "{name}");
    }
    assert!(mount.log().contains("OneDrive reserves the name CON"), "{}", mount.log());
    let not_text = mount.at().join(OsStr::from_bytes(b"\xff\xfe"));
    assert_eq!(errno(File::create(&not_text).and_then(|mut file| file.write_all(b"x"))), EINVAL);
    for name in ["console", "lock", ".locked", "com10", "desktop.ini.bak", "vti"] {
        fs::write(mount.path(name), name).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    wait_until_uploaded(&home);
    assert!(mount.stop().success());
}

#[test]
fn what_keeps_content_away_has_a_number_that_tells_it() {
    for side in SIDES {
        let (denied, gone) = if side.live {
            ("request_token_unauthorized", "resource_not_found")
        } else {
            ("accessDenied", "itemNotFound")
        };
        // EACCES; ESTALE, but where an address that finds nothing may be one that is not ready yet: ETIMEDOUT; EIO.
        let nothing = if side.live { 110 } else { 116 };
        for (status, code, number) in [(403, denied, 13), (404, gone, nothing), (406, "somethingNobodyHasHeardOf", 5)] {
            let (service, _home, mount) = mounted(side, |service| {
                service.drive().create_file("/far", vec![1; 300_000]);
            });
            assert_eq!(fs::metadata(mount.path("far")).expect("it is known").len(), 300_000);
            let fault = Fault::status(When::Before, status, code);
            for host in [Host::Graph, Host::Live, Host::Storage] {
                service.emulator().faults().add(Rule::always("GET", "*", fault.clone()).on(host));
            }
            assert_eq!(errno(fs::read(mount.path("far"))), number, "{side:?}, {status}:\n{}", mount.log());
            assert_eq!(fs::metadata(mount.path("far")).expect("it is still known").len(), 300_000);
            service.emulator().faults().clear();
            until("it is read again", || fs::read(mount.path("far")).is_ok_and(|all| all == vec![1; 300_000]));
            assert!(mount.stop().success());
        }
    }
}
