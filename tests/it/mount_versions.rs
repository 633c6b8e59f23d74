//! Files that are open on a mount while another version of them arrives: what each handle reads, where its writes go, and
//! what of it the kernel, which has one size and one set of pages for an inode, makes of that.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::world::mount::{Home, Mount};
use crate::world::service::{Service, wait_until_uploaded};
use crate::world::side::Side;
use crate::world::until;

const SIDES: [Side; 2] = [Side::PERSONAL, Side::LIVE];

fn pattern(seed: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| ((at * 31 + seed * 7) ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

/// Another device replaces a file; the mount shows it as soon as a path is asked for its size.
fn replaced(service: &Service, mount: &Mount, name: &str, bytes: &[u8]) {
    if service.side().live {
        // It tells seconds apart.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    service.drive().write_file(&format!("/{name}"), bytes.to_vec());
    until("the new version", || fs::metadata(mount.path(name)).is_ok_and(|now| now.len() == bytes.len() as u64));
}

/// Reads as `cp` does, while somebody looks at the folder.
fn read_beside_others(open: &File, path: &Path, piece: usize) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let _ = fs::metadata(path);
        let mut buffer = vec![0; piece];
        match open.read_at(&mut buffer, all.len() as u64).expect("its version is here") {
            0 => return all,
            length => all.extend_from_slice(&buffer[..length]),
        }
    }
}

/// A Python program that does its next step for every line it is given, and says what came of it.
struct Steps {
    program: Child,
    tell: ChildStdin,
    hear: BufReader<ChildStdout>,
}

impl Steps {
    fn begin(folder: &Path, script: &str) -> Self {
        let says =
            "import mmap, os, sys\ndef step(said='done'):\n    print(said, flush=True)\n    sys.stdin.readline()\n";
        let mut program = Command::new("python3")
            .args(["-c", &format!("{says}{script}")])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs; ./contrib/test.sh installs it");
        let tell = program.stdin.take().expect("piped");
        let hear = BufReader::new(program.stdout.take().expect("piped"));
        Self { program, tell, hear }
    }

    fn heard(&mut self) -> String {
        let mut line = String::new();
        self.hear.read_line(&mut line).expect("it speaks");
        line.trim_end().to_owned()
    }

    fn go_on(&mut self) {
        self.tell.write_all(b"\n").expect("it listens");
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// A mount of a drive that has this file. They are to be dropped in the opposite order.
fn mounted_with(side: Side, name: &str, content: &[u8], settings: &str) -> (Service, Home, Mount) {
    let service = Service::new(side);
    service.drive().write_file(&format!("/{name}"), content.to_vec());
    let home = service.home(settings);
    let mount = service.mount(&home);
    (service, home, mount)
}

/// What the service has, beside the file of this name: one conflict copy.
fn conflict_copy(service: &Service, name: &str) -> Vec<u8> {
    let names: Vec<String> = service.drive().tree().into_keys().filter(|found| found[1..] != *name).collect();
    let [copy] = &names[..] else { panic!("beside {name} there is {names:?}") };
    service.drive().read_file(copy).expect("a file")
}

#[test]
fn a_file_that_is_being_read_does_not_end_where_a_shorter_version_does() {
    for side in SIDES {
        let first = pattern(1, 300_000);
        let (service, _home, mount) = mounted_with(side, "book", &first, "");
        let path = mount.path("book");
        assert!(fs::read(&path).expect("reads") == first);
        let open = File::open(&path).expect("opens");
        let mut head = [0; 100];
        open.read_exact_at(&mut head, 0).expect("reads");
        for second in [pattern(2, 10), pattern(3, 400_000)] {
            replaced(&service, &mount, "book", &second);
            assert!(read_beside_others(&open, &path, 50_000) == first, "{side:?}: a part of its version");
            assert_eq!(fs::metadata(&path).expect("there").len(), second.len() as u64, "{side:?}: its path");
            assert!(fs::read(&path).expect("reads") == second, "{side:?}: the new version");
        }
    }
}

#[test]
fn a_program_that_appends_to_the_version_it_has_open_appends_at_its_end() {
    for (side, length) in [(Side::PERSONAL, 10), (Side::PERSONAL, 9000), (Side::LIVE, 9000)] {
        let (first, second) = (pattern(1, 5000), pattern(2, length));
        let (service, home, mount) = mounted_with(side, "log", &first, "");
        assert!(fs::read(mount.path("log")).expect("reads") == first);
        let mut log = File::options().append(true).read(true).open(mount.path("log")).expect("opens");
        replaced(&service, &mount, "log", &second);
        log.write_all(b"one more line\n").expect("its version is here");
        let wanted = [&first[..], b"one more line\n"].concat();
        assert!(read_beside_others(&log, &mount.path("log"), 1 << 16) == wanted, "{side:?}: what it reads");
        log.write_all(b"and another\n").expect("writes");
        drop(log);
        let wanted = [&wanted[..], b"and another\n"].concat();
        wait_until_uploaded(&home);
        assert!(service.drive().read_file("/log") == Some(second), "{side:?}: theirs");
        assert!(conflict_copy(&service, "log") == wanted, "{side:?}: ours");
    }
}

/// `tail -f` reads at the end of the version it has open; the kernel takes that for the end of the file.
#[test]
fn what_is_appended_to_the_new_version_comes_after_its_end_though_somebody_reads_the_old_one() {
    for side in SIDES {
        let (first, second) = (pattern(1, 5000), pattern(2, 9000));
        let (service, home, mount) = mounted_with(side, "log", &first, "upload:\n  debounce: 0s\n");
        let mut tail = File::open(mount.path("log")).expect("opens");
        let mut read = Vec::new();
        tail.read_to_end(&mut read).expect("reads");
        assert!(read == first);
        replaced(&service, &mount, "log", &second);
        assert_eq!(tail.read(&mut [0; 100]).expect("reads"), 0, "the end of its version");
        let mut log = File::options().append(true).open(mount.path("log")).expect("opens");
        assert_eq!(tail.read(&mut [0; 100]).expect("reads"), 0, "the end of its version");
        log.write_all(b"one more line\n").expect("writes");
        drop(log);
        let wanted = [&second[..], b"one more line\n"].concat();
        assert!(fs::read(mount.path("log")).expect("reads") == wanted, "{side:?}");
        wait_until_uploaded(&home);
        assert!(service.drive().read_file("/log") == Some(wanted), "{side:?}");
        assert_eq!(service.drive().list("/").len(), 1, "{side:?}");
    }
}

#[test]
fn a_file_that_is_deleted_elsewhere_stays_readable_while_it_is_open() {
    for side in SIDES {
        for replaced_first in [true, false] {
            let first = pattern(1, 300_000);
            let (service, _home, mount) = mounted_with(side, "book", &first, "");
            let path = mount.path("book");
            let open = File::options().read(true).write(true).open(&path).expect("opens");
            assert!(read_beside_others(&open, &path, 50_000) == first);
            if replaced_first {
                replaced(&service, &mount, "book", &pattern(2, 10));
            }
            service.drive().remove("/book");
            until("the removal", || !path.exists());
            // So long that the kernel believes nothing any more.
            for _ in 0..2 {
                let case = format!("{side:?}, replaced first: {replaced_first}");
                let now = open.metadata().unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!((now.nlink(), now.len()), (0, first.len() as u64), "{case}");
                assert!(read_beside_others(&open, &path, 50_000) == first, "{case}");
                std::thread::sleep(std::time::Duration::from_millis(1100));
            }
            let same = format!("/proc/self/fd/{}", open.as_raw_fd());
            assert!(fs::read(&same).expect("opens once more") == first);
            // Nobody would ever see it.
            let refused = open.write_at(b"MINE", 0).expect_err("written to nowhere");
            assert_eq!(refused.raw_os_error(), Some(116), "ESTALE");
            let refused = File::options().append(true).open(&same).expect_err("opened for nothing");
            assert_eq!(refused.raw_os_error(), Some(116), "ESTALE");
        }
    }
}

#[test]
fn a_page_of_a_mapping_goes_into_the_version_that_was_mapped() {
    let script = r#"
fd = os.open("sheet", os.O_RDWR)
shared = mmap.mmap(fd, 12288)
step()
shared[4096:4100] = b"MINE"
step()
shared.flush()
shared.close()
os.close(fd)
step()
"#;
    for side in SIDES {
        // The page is dirtied before the other version arrives, and after.
        for late in [false, true] {
            let (first, second) = (pattern(1, 12_288), pattern(2, 12_388));
            let (service, home, mount) = mounted_with(side, "sheet", &first, "");
            assert!(fs::read(mount.path("sheet")).expect("reads") == first);
            let mut steps = Steps::begin(mount.at(), script);
            steps.heard();
            if late {
                replaced(&service, &mount, "sheet", &second);
            }
            steps.go_on();
            steps.heard();
            if !late {
                replaced(&service, &mount, "sheet", &second);
                // The kernel drops the pages of what has other attributes, and sends back what was written into them.
                let _ = fs::metadata(mount.path("sheet"));
            }
            steps.go_on();
            assert_eq!(steps.heard(), "done", "{side:?}, late: {late}");
            steps.go_on();
            wait_until_uploaded(&home);
            let mut mine = first.clone();
            mine[4096..4100].copy_from_slice(b"MINE");
            assert!(service.drive().read_file("/sheet") == Some(second), "{side:?}, late: {late}: theirs");
            assert!(conflict_copy(&service, "sheet") == mine, "{side:?}, late: {late}: ours");
        }
    }
}

/// The same for a version that this mount has made itself a moment ago.
#[test]
fn a_page_of_a_mapping_of_what_has_landed_goes_into_that() {
    let script = r#"
fd = os.open("sheet", os.O_RDWR)
shared = mmap.mmap(fd, 12288)
shared[0:4] = b"HERE"
shared.flush()
os.fsync(fd)
step()
shared[4096:4100] = b"MINE"
shared.flush()
shared.close()
os.close(fd)
step()
"#;
    for side in SIDES {
        let (first, second) = (pattern(1, 12_288), pattern(2, 12_388));
        let (service, home, mount) =
            mounted_with(side, "sheet", &first, "durability: remote\nupload:\n  debounce: 0s\n");
        let mut steps = Steps::begin(mount.at(), script);
        steps.heard();
        let mut mine = first.clone();
        mine[..4].copy_from_slice(b"HERE");
        assert!(service.drive().read_file("/sheet").as_ref() == Some(&mine), "{side:?}: it has landed");
        replaced(&service, &mount, "sheet", &second);
        steps.go_on();
        assert_eq!(steps.heard(), "done", "{side:?}");
        steps.go_on();
        wait_until_uploaded(&home);
        mine[4096..4100].copy_from_slice(b"MINE");
        assert!(service.drive().read_file("/sheet") == Some(second), "{side:?}: theirs");
        assert!(conflict_copy(&service, "sheet") == mine, "{side:?}: ours");
    }
}
