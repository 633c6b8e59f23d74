//! Uploads of `onedrive-cli` that could end with the wrong content: of a file that was changed between two tries or on the
//! way, and over a file that looks like the new one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use onedrive_mount::auth::StaticToken;
use onedrive_mount::base::clock::{SystemClock, Timestamp};
use onedrive_mount::drive::{Drive, Ids};
use onedrive_mount::emulator::{Fault, Flavour, Host, Rule, RuleId, When};
use onedrive_mount::remote::http::system_entropy;
use onedrive_mount::remote::stack::{self, RemoteOptions};

use crate::world::service::Service;
use crate::world::shell::{Shell, pattern};
use crate::world::side::Side;

const THEN: i64 = 1_400_000_000;

/// A service on which files go in fragments of this size, and how a fragment is sent there.
struct Way {
    shell: Shell,
    fragment: usize,
    method: &'static str,
    host: Host,
}

fn ways() -> [Way; 4] {
    let graph = |flavour| Way {
        shell: Shell::with(flavour, "upload:\n  fragment_size: 320 KiB\n"),
        fragment: 320 << 10,
        method: "PUT",
        host: Host::Storage,
    };
    let live = Shell::live("live:\n  put_limit: 1 MiB\n  bits_fragment: 1 MiB\n");
    [
        graph(Flavour::Business),
        graph(Flavour::PersonalNew),
        graph(Flavour::PersonalOld),
        Way { shell: live, fragment: 1 << 20, method: "Fragment", host: Host::Bits },
    ]
}

impl Way {
    /// The fragments of an upload come to rest after the first few.
    fn rest(&self, duration: Duration) -> RuleId {
        let stall = Fault::Stall { when: When::Before, duration };
        self.shell.service.emulator().faults().add(Rule::once(self.method, "*", stall).on(self.host).skip(5))
    }

    /// Begins to send the file `f.bin`, and is killed on the way.
    fn break_off(&self) {
        let rest = self.rest(Duration::from_secs(600));
        let mut child = self.shell.command(&["put", "f.bin"]).stderr(Stdio::null()).spawn().expect("starts");
        self.shell.until_struck(rest, Duration::from_secs(30));
        child.kill().expect("killed");
        child.wait().expect("ended");
        self.shell.service.emulator().faults().remove(rest);
        assert_eq!(self.kept(), 1, "the upload is remembered");
    }

    /// How many uploads are remembered.
    fn kept(&self) -> usize {
        fs::read_dir(self.shell.home.path("state/onedrive-mount/default/uploads")).map_or(0, Iterator::count)
    }

    #[track_caller]
    fn stored(&self, content: &[u8]) {
        assert!(self.shell.service.drive().read_file("/f.bin").expect("there") == content, "{:?}", self.host);
        assert_eq!(self.kept(), 0, "a finished upload is forgotten");
    }
}

/// Other bytes than [`pattern`]. Not its complement, for which the service's hash may be the same.
fn other(size: usize) -> Vec<u8> {
    pattern(size + 1).split_off(1)
}

fn set_time(path: &Path) {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(THEN.unsigned_abs());
    fs::File::options().write(true).open(path).and_then(|file| file.set_modified(then)).expect("a time");
}

#[test]
fn an_upload_that_broke_off_is_not_gone_on_with_when_the_bytes_are_others() {
    for way in ways() {
        let path = way.shell.file("f.bin", &pattern(way.fragment * 14));
        set_time(&path);
        way.break_off();
        fs::write(&path, other(way.fragment * 14)).expect("written");
        set_time(&path);
        way.shell.ok(&["put", "f.bin"]);
        way.stored(&other(way.fragment * 14));
    }
}

#[test]
fn nor_with_another_file_of_the_same_name_size_and_time() {
    for way in ways() {
        let path = way.shell.file("f.bin", &pattern(way.fragment * 14));
        let beside = way.shell.file("beside.bin", &other(way.fragment * 14));
        set_time(&path);
        set_time(&beside);
        way.break_off();
        fs::rename(&beside, &path).expect("renamed");
        way.shell.ok(&["put", "f.bin"]);
        way.stored(&other(way.fragment * 14));
    }
}

/// A file system whose times tell nothing: the service's hash does.
#[test]
fn what_arrived_is_compared_with_what_was_read() {
    for way in ways() {
        // What the first half is, the old protocol cannot be asked.
        if way.host == Host::Bits {
            continue;
        }
        let path = way.shell.file("f.bin", &pattern(way.fragment * 14));
        set_time(&path);
        way.break_off();
        fs::write(&path, other(way.fragment * 14)).expect("written");
        set_time(&path);
        let uploads = way.shell.home.path("state/onedrive-mount/default/uploads");
        let kept = fs::read_dir(uploads).expect("a folder").flatten().next().expect("one").path();
        let mut stored: serde_json::Value =
            serde_json::from_slice(&fs::read(&kept).expect("there")).expect("it is JSON");
        let now = fs::metadata(&path).expect("there");
        stored["errand"]["stamp"]["changed"] = serde_json::json!([now.ctime(), now.ctime_nsec()]);
        fs::write(&kept, stored.to_string()).expect("written");
        // What arrived wrong is our own, and replaced also where nothing else may be.
        way.shell.ok(&["put", "-n", "f.bin"]);
        way.stored(&other(way.fragment * 14));
    }
}

#[test]
fn an_old_file_of_the_same_size_and_time_is_not_taken_for_the_new_one() {
    for killed in [false, true] {
        for way in ways() {
            let size = way.fragment * 14;
            let drive = way.shell.service.drive();
            drive.create_file("/f.bin", pattern(size));
            drive.set_times("/f.bin", Timestamp::from_seconds(THEN), Timestamp::from_seconds(THEN));
            set_time(&way.shell.file("f.bin", &other(size)));
            if killed {
                way.break_off();
                way.shell.service.emulator().drive().lose_sessions();
                way.shell.ok(&["put", "f.bin"]);
            } else {
                let rest = way.rest(Duration::from_secs(2));
                let child = way.shell.command(&["put", "f.bin"]).stderr(Stdio::piped()).spawn().expect("starts");
                way.shell.until_struck(rest, Duration::from_secs(30));
                way.shell.service.emulator().drive().lose_sessions();
                let output = child.wait_with_output().expect("ended");
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
            way.stored(&other(size));
        }
    }
}

/// The other side of it: what has become the file though nobody heard of it is not sent again.
#[test]
fn a_file_that_has_arrived_though_the_answer_was_lost_is_not_sent_again() {
    for way in ways() {
        if way.host == Host::Bits {
            continue;
        }
        let (size, emulator) = (way.fragment * 14, way.shell.service.emulator());
        way.shell.service.drive().create_file("/f.bin", pattern(size));
        set_time(&way.shell.file("f.bin", &other(size)));
        let lost = Fault::Reset { when: When::After };
        let lost = emulator.faults().add(Rule::once(way.method, "*", lost).on(way.host).skip(13));
        way.shell.ok(&["put", "f.bin"]);
        assert_eq!(emulator.faults().struck(lost), 1);
        way.stored(&other(size));
        let sent: u64 = emulator.requests().iter().filter(|r| r.method == "PUT").map(|r| r.bytes_in).sum();
        assert_eq!(sent, size as u64);
    }
}

#[test]
fn a_local_file_that_shrinks_while_it_is_sent_replaces_nothing() {
    for way in ways() {
        way.shell.service.drive().create_file("/f.bin", b"the old one".to_vec());
        let path = way.shell.file("f.bin", &pattern(way.fragment * 14));
        let rest = way.rest(Duration::from_secs(2));
        let child = way.shell.command(&["put", "f.bin"]).stderr(Stdio::piped()).spawn().expect("starts");
        way.shell.until_struck(rest, Duration::from_secs(30));
        fs::File::options().write(true).open(&path).and_then(|file| file.set_len(5)).expect("shrunk");
        let output = child.wait_with_output().expect("ended");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(46) && said.contains("nothing was changed in the cloud"), "{said}");
        way.stored(b"the old one");
        assert_eq!(way.shell.service.drive().open_sessions(), 0, "the session is given up");
    }
}

/// Holds the look at the cloud up that comes before the file is read.
fn hold_the_look_up(shell: &Shell, times: u64) -> RuleId {
    let stall = Fault::Stall { when: When::Before, duration: Duration::from_millis(1_500) };
    shell.service.emulator().faults().add(Rule::always("GET", "*f.txt*", stall).times(times))
}

#[test]
fn a_small_file_that_changes_before_it_goes_is_read_again() {
    for new in ["a longer one than before", "short"] {
        let shell = Shell::new(Flavour::Business);
        shell.service.drive().create_file("/f.txt", b"the good one".to_vec());
        let path = shell.file("f.txt", b"half of it ");
        let held = hold_the_look_up(&shell, 1);
        let child = shell.command(&["put", "f.txt"]).stderr(Stdio::piped()).spawn().expect("starts");
        shell.until_struck(held, Duration::from_secs(60));
        fs::write(&path, new).expect("written");
        let output = child.wait_with_output().expect("ended");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(shell.service.drive().read_file("/f.txt").expect("there"), new.as_bytes());
        // Setting the time makes a version, too.
        let former = shell.service.drive().versions("/f.txt");
        assert!(
            former.iter().all(|old| old == b"the good one" || old == new.as_bytes()),
            "only the whole one was sent"
        );
    }
}

#[test]
fn a_small_file_that_never_rests_replaces_nothing() {
    let shell = Shell::new(Flavour::Business);
    shell.service.drive().create_file("/f.txt", b"the good one".to_vec());
    let path = shell.file("f.txt", b"0");
    hold_the_look_up(&shell, 100);
    let mut child = shell.command(&["put", "f.txt"]).stderr(Stdio::piped()).spawn().expect("starts");
    let mut round = 0;
    while child.try_wait().expect("asked").is_none() {
        round += 1;
        fs::write(&path, format!("torn {}", "x".repeat(round % 50))).expect("written");
        std::thread::sleep(Duration::from_millis(30));
    }
    let output = child.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(46) && said.contains("nothing was changed in the cloud"), "{said}");
    assert_eq!(shell.service.drive().read_file("/f.txt").expect("there"), b"the good one");
}

#[test]
fn two_ranges_that_are_fetched_at_once_into_one_folder_do_not_meet() {
    let service = Service::new(Side::BUSINESS);
    let emulator = service.emulator();
    emulator.drive().create_file("/f.bin", pattern(3_000_000));
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let stall = Fault::Stall { when: When::Before, duration: Duration::from_millis(300) };
    emulator.faults().add(Rule::always("GET", "*", stall).on(Host::Storage));
    let (clock, options) = (Arc::new(SystemClock::new()), RemoteOptions::speaking(service.side().protocol(emulator)));
    service.block_on(async {
        let token = Arc::new(StaticToken::new(service.side().access_token(emulator)));
        let opened = stack::open(&options, token, clock.clone(), system_entropy()).expect("opened");
        let drive = Drive::new(&opened, clock, Ids::Graph);
        let file = drive.find("f.bin").await.expect("there");
        let (first, second) = futures_util::future::join(
            drive.download_range(&file, 0..1_500_000, &one, &|_| {}),
            drive.download_range(&file, 1_500_000..3_000_000, &two, &|_| {}),
        )
        .await;
        first.expect("fetched");
        second.expect("fetched");
    });
    assert!(fs::read(&one).expect("there") == pattern(3_000_000)[..1_500_000]);
    assert!(fs::read(&two).expect("there") == pattern(3_000_000)[1_500_000..]);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2, "nothing is left");
    let usual = folder.path().join("usual");
    fs::write(&usual, b"").expect("written");
    let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
    assert_eq!(mode(&one), mode(&usual), "whoever may read new files may read it");
}
