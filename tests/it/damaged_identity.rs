//! Damage to the small files that say whose drive this is and who is signed in. Whatever a flipped bit makes of them:
//! nothing of what waits is lost, nothing goes anywhere else, and the program says what to do.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use onedrive_mount::emulator::{DriveHandle, Network};

use crate::cli_auth::{begin, follow};
use crate::starting::{send_at_once, sign_in_as};
use crate::world::model::Node;
use crate::world::mount::{Mount, Refused, Start};
use crate::world::ops::cloud_tree;
use crate::world::service::{Service, places, wait_until_uploaded};
use crate::world::shell::Shell;
use crate::world::side::Side;

/// A drive with work that waits, of a daemon that has died; and somebody else's drive on the same service.
struct Scene {
    shell: Shell,
    other: DriveHandle,
    before: BTreeMap<String, Node>,
    what: String,
}

impl Scene {
    fn new(side: Side, what: String) -> Self {
        let service = Service::new(side);
        let drive = service.drive().clone();
        for name in ["edited", "doomed", "old"] {
            drive.create_file(&format!("/docs/{name}"), name.as_bytes().to_vec());
        }
        let other = service.emulator().add_account(7, "Other Person");
        let shell = Shell { home: service.home("upload:\n  debounce: 1h\n"), service };
        let mount = shell.service.mount(&shell.home);
        assert_eq!(fs::read(mount.path("docs/edited")).expect("readable"), b"edited");
        fs::write(mount.path("docs/edited"), "edited here").expect("written");
        fs::write(mount.path("docs/new"), "new").expect("written");
        fs::write(mount.path("at the top"), "new").expect("written");
        fs::rename(mount.path("docs/old"), mount.path("renamed")).expect("renamed");
        fs::remove_file(mount.path("docs/doomed")).expect("removed");
        mount.crash();
        send_at_once(&shell.home);
        Self { before: cloud_tree(&drive), shell, other, what }
    }

    fn file(&self, name: &str) -> PathBuf {
        places(&self.shell.home).state.join(name)
    }

    fn start(&self) -> Result<Mount, Refused> {
        Start::with(Vec::<String>::new()).try_mount(&self.shell.home)
    }

    fn cloud(&self) -> BTreeMap<String, Node> {
        cloud_tree(self.shell.service.drive())
    }

    fn nothing_was_sent(&self) {
        assert_eq!(self.cloud(), self.before, "{}: something was sent", self.what);
        assert!(self.other.tree().is_empty(), "{}: {:?}", self.what, self.other.tree().keys());
    }

    fn everything_was_sent(&self) {
        let file = |text: &str| Node::File(text.into());
        let wanted = [
            ("docs", Node::Folder),
            ("docs/edited", file("edited here")),
            ("docs/new", file("new")),
            ("at the top", file("new")),
            ("renamed", file("old")),
        ];
        let wanted: BTreeMap<String, Node> = wanted.map(|(path, node)| (path.to_owned(), node)).into();
        assert_eq!(self.cloud(), wanted, "{}", self.what);
        assert!(self.other.tree().is_empty(), "{}: {:?}", self.what, self.other.tree().keys());
    }
}

/// With the lowest bit of a byte flipped.
fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

/// Where the value of a member begins.
fn value_of(bytes: &[u8], member: &str) -> usize {
    let text = std::str::from_utf8(bytes).expect("text");
    let at = text.find(&format!("\"{member}\":")).unwrap_or_else(|| panic!("no {member} in it")) + member.len() + 3;
    at + text[at..].find(|c: char| c.is_ascii_alphanumeric()).expect("a value")
}

#[test]
fn a_flipped_bit_in_what_says_whose_drive_it_is_sends_nothing_elsewhere_and_keeps_the_queue() {
    let length = {
        let scene = Scene::new(Side::PERSONAL, "nothing".into());
        fs::read(scene.file("drive.json")).expect("readable").len()
    };
    for (number, at) in (0..length).step_by(11).enumerate() {
        let side = [Side::PERSONAL, Side::BUSINESS][number % 2];
        let scene = Scene::new(side, format!("{side:?}, byte {at}"));
        let good = fs::read(scene.file("drive.json")).expect("readable");
        fs::write(scene.file("drive.json"), flipped(&good, at.min(good.len() - 1))).expect("written");
        let mount = scene.start().unwrap_or_else(|refused| panic!("{}: {}", scene.what, refused.log));
        wait_until_uploaded(&scene.shell.home);
        scene.everything_was_sent();
        assert!(mount.stop().success());
    }
}

#[test]
fn a_damaged_drive_id_leads_to_no_other_account_and_to_no_work_lost_without_a_network() {
    for side in [Side::PERSONAL, Side::LIVE] {
        let scene = Scene::new(side, format!("{side:?}"));
        let good = fs::read(scene.file("drive.json")).expect("readable");
        let bad = flipped(&good, value_of(&good, "drive"));
        assert!(serde_json::from_slice::<serde_json::Value>(&bad).is_ok(), "it is a drive that it names");
        fs::write(scene.file("drive.json"), &bad).expect("written");
        // Nobody can be asked.
        scene.shell.service.emulator().set_network(Network::Refusing);
        std::thread::sleep(Duration::from_millis(100));
        let refused = scene.start().map(drop).expect_err("nobody knows which drive it is");
        assert_eq!(refused.status.code(), Some(12), "{}", refused.log);
        scene.nothing_was_sent();
        scene.shell.service.emulator().set_network(Network::Up);
        // Who is asked has been signed in since.
        sign_in_as(&scene.shell, side, &scene.other);
        let refused = scene.start().map(drop).expect_err("the work is not theirs");
        assert_eq!(refused.status.code(), Some(13), "{}", refused.log);
        scene.nothing_was_sent();
        sign_in_as(&scene.shell, side, scene.shell.service.drive());
        let mount = scene.start().expect("in order");
        wait_until_uploaded(&scene.shell.home);
        scene.everything_was_sent();
        assert!(mount.stop().success());
    }
}

/// Somebody who tidies up deletes both files that know it, and leaves the work.
#[test]
fn work_whose_drive_is_told_by_nothing_but_itself_goes_to_no_other_account() {
    for side in [Side::PERSONAL, Side::BUSINESS, Side::LIVE] {
        let scene = Scene::new(side, format!("{side:?}"));
        fs::remove_file(scene.file("drive.json")).expect("removed");
        fs::remove_dir_all(scene.file("index")).expect("removed");
        sign_in_as(&scene.shell, side, &scene.other);
        let refused = scene.start().map(drop).expect_err("the work is not theirs");
        assert_eq!(refused.status.code(), Some(13), "{}", refused.log);
        scene.nothing_was_sent();
        sign_in_as(&scene.shell, side, scene.shell.service.drive());
        let mount = scene.start().unwrap_or_else(|refused| panic!("{}", refused.log));
        wait_until_uploaded(&scene.shell.home);
        scene.everything_was_sent();
        assert!(mount.stop().success());
    }
}

#[test]
fn what_an_older_version_wrote_of_the_drive_is_believed_without_a_network() {
    let scene = Scene::new(Side::PERSONAL, "no checksum".into());
    let good = fs::read(scene.file("drive.json")).expect("readable");
    let mut value: serde_json::Value = serde_json::from_slice(&good).expect("an object");
    value.as_object_mut().expect("an object").remove("check").expect("a checksum");
    fs::write(scene.file("drive.json"), value.to_string()).expect("written");
    scene.shell.service.emulator().set_network(Network::Refusing);
    std::thread::sleep(Duration::from_millis(100));
    let mount = scene.start().unwrap_or_else(|refused| panic!("{}", refused.log));
    scene.nothing_was_sent();
    scene.shell.service.emulator().set_network(Network::Up);
    wait_until_uploaded(&scene.shell.home);
    scene.everything_was_sent();
    assert!(mount.stop().success());
}

#[test]
fn a_flipped_bit_in_the_sign_in_keeps_the_queue_until_somebody_signs_in_again() {
    for (side, member) in [
        (Side::PERSONAL, "version"),
        (Side::BUSINESS, "identity"),
        (Side::LIVE, "access_token"),
        (Side::PERSONAL, "access_token"),
        (Side::BUSINESS, "refresh_token"),
        (Side::PERSONAL, "expires_at"),
        (Side::LIVE, "scope"),
    ] {
        let scene = Scene::new(side, format!("{side:?}, {member}"));
        let good = fs::read(scene.file("token.json")).expect("readable");
        let at = if member == "scope" { 0 } else { value_of(&good, member) };
        fs::write(scene.file("token.json"), flipped(&good, at)).expect("written");
        let mount = match scene.start() {
            Ok(mount) => Some(mount),
            Err(refused) => {
                assert!(matches!(refused.status.code(), Some(10 | 32)), "{}: {}", scene.what, refused.log);
                assert!(refused.log.contains("onedrive-cli auth"), "{}: {}", scene.what, refused.log);
                scene.nothing_was_sent();
                if refused.log.contains("remove it and run: onedrive-cli auth") {
                    fs::remove_file(scene.file("token.json")).expect("removed");
                }
                None
            }
        };
        sign_in_as(&scene.shell, side, scene.shell.service.drive());
        let mount = mount.unwrap_or_else(|| scene.shell.service.mount(&scene.shell.home));
        wait_until_uploaded(&scene.shell.home);
        scene.everything_was_sent();
        assert!(mount.stop().success());
    }
}

/// A sign-in that is under way is remembered until its answer is pasted. Damaged, it fails or succeeds with the account that
/// was meant, and the next one begins anew.
#[test]
fn a_flipped_bit_in_a_sign_in_under_way_spoils_that_one_at_most() {
    let shell = Shell::new(Side::PERSONAL.flavour);
    shell.service.emulator().oauth().set_auto_approve(true);
    let pending = places(&shell.home).pending_sign_in();
    let (mut at, mut failed) = (0, 0);
    loop {
        let end = follow(&begin(&shell));
        let good = fs::read(&pending).expect("a sign-in is under way");
        if at >= good.len() {
            shell.ok(&["auth", &end]);
            break;
        }
        fs::write(&pending, flipped(&good, at)).expect("written");
        let output = shell.output(&["auth", &end]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 10 | 11 | 12)), "byte {at}: {:?} {said}", output.status);
        failed += u32::from(!output.status.success());
        // What was stored before is as it was.
        shell.ok(&["quota"]);
        at += 13;
    }
    assert!(failed > 3, "{failed} failed");
    shell.ok(&["quota"]);
}
