//! Another program's idea of OneDrive: rclone, unmodified, against the emulator.
//!
//! The emulator and the client were written by the same people; where both misread the service alike, their tests
//! agree. rclone has talked to the real service for years and knows nothing of us, so it is asked for a second
//! opinion: it hard-codes the real hosts, and gets to the emulator through the proxy of a lab.
//!
//! Run by `./contrib/test.sh`, which installs rclone and says where it is (`ONEDRIVE_RCLONE`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use onedrive_mount::emulator::{Content, Emulator, Flavour, Options};
use tokio::runtime::Runtime;

use crate::world::mount::Home;

/// rclone, signed in to an emulated drive.
struct Other {
    home: Home,
    emulator: Emulator,
    // Dropped last: the emulator's connections live on it.
    _runtime: Runtime,
}

/// How long one command may take.
const PATIENCE: &str = "120";

impl Other {
    fn new(flavour: Flavour) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let lab = Some("127.0.0.1:0".parse().expect("an address"));
        let options = Options { flavour, content: Content::Empty, lab, ..Options::default() };
        let emulator = runtime.block_on(Emulator::start(options)).expect("the emulator starts");
        let home = Home::new();
        fs::write(home.path("ca.pem"), emulator.lab().expect("a lab was asked for").authority())
            .expect("a certificate");
        let tokens = emulator.oauth().issue_tokens();
        let token = serde_json::json!({
            "access_token": tokens.access, "token_type": "Bearer", "refresh_token": tokens.refresh,
            "expiry": "2999-01-01T00:00:00Z",
        });
        let kind = match flavour {
            Flavour::PersonalOld | Flavour::PersonalNew => "personal",
            Flavour::Business => "business",
            Flavour::DocumentLibrary => "documentLibrary",
        };
        let drive = emulator.drive().drive_id();
        let config = format!("[cloud]\ntype = onedrive\ndrive_id = {drive}\ndrive_type = {kind}\ntoken = {token}\n");
        fs::write(home.path("rclone.conf"), config).expect("a settings file");
        Self { home, emulator, _runtime: runtime }
    }

    fn command(&self) -> Command {
        let program = std::env::var_os("ONEDRIVE_RCLONE")
            .expect("ONEDRIVE_RCLONE is not set: run ./contrib/test.sh, which installs rclone");
        let mut command = self.home.command("timeout");
        command
            .args(["--kill-after=10", PATIENCE])
            .arg(program)
            .arg("--config")
            .arg(self.home.path("rclone.conf"))
            .args(["--retries", "1", "--low-level-retries", "2"])
            .env("HTTPS_PROXY", self.emulator.lab().expect("a lab was asked for").proxy())
            .env("SSL_CERT_FILE", self.home.path("ca.pem"));
        command
    }

    /// Runs rclone to its end; what it printed.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command().args(arguments).output().expect("rclone starts");
        let said = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "rclone {arguments:?} ended with {status}:\n{said}");
        String::from_utf8_lossy(&stdout).into_owned()
    }

    fn path(&self, part: &str) -> PathBuf {
        self.home.path(part)
    }
}

/// A folder with what makes trouble: an empty file, one above the limit of a simple upload, names that a URL or the
/// service does not take as they are.
fn fill(folder: &Path) {
    let files: &[(&str, Vec<u8>)] = &[
        ("empty", Vec::new()),
        ("letter.txt", b"Dear Sir or Madam\n".to_vec()),
        ("sub/folder/20 % & more #1.txt", b"percent".to_vec()),
        ("sub/Crème brûlée.md", b"Patience, then fire.\n".to_vec()),
        ("sub/12 MiB.bin", (0..12 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
    ];
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder above")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
}

fn trip(flavour: Flavour) {
    let other = Other::new(flavour);
    let drive = other.emulator.drive();
    fill(&other.path("up"));
    let (up, down) = (other.path("up"), other.path("down"));
    let (up, down) = (up.to_str().expect("a name"), down.to_str().expect("a name"));

    other.run(&["copy", up, "cloud:box"]);
    assert_eq!(drive.read_file("box/letter.txt").expect("it is in the cloud"), b"Dear Sir or Madam\n");
    assert_eq!(drive.stat("box/sub/12 MiB.bin").expect("it is in the cloud").size, 12 << 20);
    let mut listed: Vec<_> = other.run(&["lsf", "-R", "cloud:box"]).lines().map(str::to_owned).collect();
    listed.sort();
    assert_eq!(
        listed,
        [
            "empty",
            "letter.txt",
            "sub/",
            "sub/12 MiB.bin",
            "sub/Crème brûlée.md",
            "sub/folder/",
            "sub/folder/20 % & more #1.txt"
        ]
    );
    // By the hashes that the service gives, then by content.
    other.run(&["check", up, "cloud:box"]);
    other.run(&["check", "--download", up, "cloud:box"]);
    other.run(&["copy", "cloud:box", down]);
    assert_eq!(
        fs::read(other.path("down/sub/12 MiB.bin")).unwrap(),
        fs::read(other.path("up/sub/12 MiB.bin")).unwrap()
    );
    assert_eq!(fs::read(other.path("down/empty")).unwrap(), b"");
    // Nothing is left to do: times and hashes agree.
    let before = other.emulator.requests().iter().filter(|request| request.method == "PUT").count();
    other.run(&["copy", up, "cloud:box"]);
    assert_eq!(other.emulator.requests().iter().filter(|request| request.method == "PUT").count(), before);

    other.run(&["moveto", "cloud:box/letter.txt", "cloud:box/sub/moved.txt"]);
    assert_eq!(drive.read_file("box/sub/moved.txt").expect("it was moved"), b"Dear Sir or Madam\n");
    assert!(drive.stat("box/letter.txt").is_none());
    other.run(&["copyto", "cloud:box/sub/moved.txt", "cloud:box/again.txt"]);
    assert_eq!(drive.read_file("box/again.txt").expect("it was copied"), b"Dear Sir or Madam\n");
    other.run(&["deletefile", "cloud:box/again.txt"]);
    assert!(drive.stat("box/again.txt").is_none());
    other.run(&["moveto", "cloud:box/sub/folder", "cloud:box/other/place"]);
    assert!(drive.stat("box/other/place/20 % & more #1.txt").is_some(), "a folder is moved as a whole");
    assert!(drive.stat("box/sub/folder").is_none());
    other.run(&["delete", "cloud:box/sub"]);
    assert!(drive.stat("box/sub/12 MiB.bin").is_none(), "delete removes the files");
    other.run(&["purge", "cloud:box"]);
    assert!(drive.stat("box").is_none());
    assert!(other.run(&["about", "cloud:"]).contains("Total:"));
}

#[test]
#[ignore = "needs rclone; run by contrib/test.sh"]
fn rclone_works_on_a_personal_drive() {
    trip(Flavour::PersonalNew);
}

#[test]
#[ignore = "needs rclone; run by contrib/test.sh"]
fn rclone_works_on_a_legacy_personal_drive() {
    trip(Flavour::PersonalOld);
}

#[test]
#[ignore = "needs rclone; run by contrib/test.sh"]
fn rclone_works_on_a_work_drive() {
    trip(Flavour::Business);
}

/// The mount of rclone is also what the bench compares with.
#[test]
#[ignore = "needs rclone and FUSE; run by contrib/test.sh"]
fn rclone_mounts() {
    let other = Other::new(Flavour::PersonalNew);
    let drive = other.emulator.drive();
    drive.create_file("here/before.txt", "made elsewhere");
    let at = other.home.mount_point();
    let cache = other.path("cache");
    let mut command = other.command();
    command.args(["mount", "--vfs-cache-mode", "full", "--vfs-write-back", "100ms", "--cache-dir"]).arg(&cache);
    let mut child = command.arg("cloud:").arg(&at).spawn().expect("rclone starts");
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let wait = |what: &str, done: &dyn Fn() -> bool| {
            let begun = Instant::now();
            while !done() {
                assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        wait("rclone has mounted", &|| at.join("here").exists());
        assert_eq!(fs::read(at.join("here/before.txt")).unwrap(), b"made elsewhere");
        fs::create_dir(at.join("new")).unwrap();
        fs::write(at.join("new/after.txt"), "made here").unwrap();
        wait("it is in the cloud", &|| drive.read_file("new/after.txt").as_deref() == Some(b"made here"));
        fs::rename(at.join("new/after.txt"), at.join("new/renamed.txt")).unwrap();
        wait("the rename is in the cloud", &|| drive.read_file("new/renamed.txt").as_deref() == Some(b"made here"));
        fs::rename(at.join("new"), at.join("old")).unwrap();
        wait("so is that of the folder", &|| drive.read_file("old/renamed.txt").as_deref() == Some(b"made here"));
        fs::remove_file(at.join("here/before.txt")).unwrap();
        wait("the removal is in the cloud", &|| drive.stat("here/before.txt").is_none());
    }));
    // `timeout` passes the signal on, and rclone unmounts itself.
    let pid = rustix::process::Pid::from_child(&child);
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    let _ = child.wait();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}
