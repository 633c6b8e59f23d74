//! A daemon that was killed and cannot die, because the kernel keeps one of its threads: its mount is cut.
//!
//! What keeps a thread of a real daemon is a lock that is held for microseconds, so the daemon here is played: a process
//! that begins the undertaker as the daemon does, loses its first thread, and stays.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use onedrive_mount::emulator::Flavour;
use onedrive_mount::fuse::{mounts, unmount};

use crate::world::service::Service;

const DAEMON: &str = r#"
import ctypes, subprocess, sys, threading, time, os
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
subprocess.Popen([sys.argv[1], "--undertaker", str(os.getpid()), sys.argv[2]])
print("it stands beside me", flush=True)
sys.stdin.readline()
ctypes.CDLL(None).pthread_exit(None)
"#;

/// Ends with the test.
struct Played(Child);

impl Drop for Played {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_mount_of_a_daemon_that_cannot_die_is_cut() {
    let service = Service::new(Flavour::PersonalNew);
    service.drive().write_file("/document.txt", b"its words".to_vec());
    let home = service.home("");
    let mount = service.mount(&home);
    let minor = rustix::fs::minor(fs::metadata(mount.at()).expect("a mount").dev());
    let played = Command::new("python3")
        .args(["-c", DAEMON, env!("CARGO_BIN_EXE_onedrive-mount"), &minor.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut played = Played(played.expect("python3"));
    let mut told = String::new();
    BufReader::new(played.0.stdout.take().expect("piped")).read_line(&mut told).expect("it says so");
    assert_eq!(told, "it stands beside me\n");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(fs::read(mount.at().join("document.txt")).expect("it lives, and so does the mount"), b"its words");

    played.0.stdin.take().expect("piped").write_all(b"\n").expect("it reads");
    let begun = Instant::now();
    while fs::metadata(mount.at().join("document.txt")).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody cuts it");
        std::thread::sleep(Duration::from_millis(50));
    }
    mount.crash();
    let mount = service.mount(&home);
    assert_eq!(fs::read(mount.at().join("document.txt")).expect("healed"), b"its words");
    assert!(mount.stop().success());
}

/// As it is where the kernel's control files are not mounted. Only root may do it; contrib/test.sh says so to others.
#[test]
fn a_connection_can_be_cut_by_force() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root may unmount by force");
        return;
    }
    let service = Service::new(Flavour::PersonalNew);
    service.drive().write_file("/document.txt", b"its words".to_vec());
    let home = service.home("");
    let mount = service.mount(&home);
    let minor = rustix::fs::minor(fs::metadata(mount.at()).expect("a mount").dev());
    let daemon = rustix::process::Pid::from_raw(mount.pid() as i32).expect("a process");
    rustix::process::kill_process(daemon, rustix::process::Signal::STOP).expect("it stands still");
    let (document, begun) = (mount.at().join("document.txt"), Instant::now());
    let user = std::thread::spawn(move || fs::read(document));
    std::thread::sleep(Duration::from_millis(500));
    assert!(!user.is_finished(), "who stands still answers nothing");
    unmount::force(minor).expect("root may");
    user.join().expect("no panic").expect_err("the connection is gone");
    assert!(begun.elapsed() < Duration::from_secs(60));
    rustix::process::kill_process(daemon, rustix::process::Signal::CONT).expect("it goes on");
    mount.crash();
}

/// A service manager starts the next daemon at once, and that one may ask a mount whose connection is just being closed.
#[test]
fn a_mount_whose_daemon_dies_while_it_is_asked_is_dead() {
    let service = Service::new(Flavour::PersonalNew);
    let home = service.home("");
    let mount = service.mount(&home);
    let daemon = rustix::process::Pid::from_raw(mount.pid() as i32).expect("a process");
    rustix::process::kill_process(daemon, rustix::process::Signal::STOP).expect("it stands still");
    let at = mount.at().to_owned();
    let asked = std::thread::spawn(move || mounts::pulse(&at, Duration::from_secs(60)));
    std::thread::sleep(Duration::from_millis(500));
    assert!(!asked.is_finished(), "who stands still answers nothing");
    mount.crash();
    assert_eq!(asked.join().expect("no panic"), mounts::Pulse::Dead);
    assert!(service.mount(&home).stop().success());
}

/// The undertaker must not hold what the daemon holds: the mount would outlive it.
#[test]
fn nothing_of_a_daemon_is_left_when_it_is_killed() {
    let service = Service::new(Flavour::PersonalNew);
    let home = service.home("");
    let mount = service.mount(&home);
    let daemon = mount.pid();
    let children = || -> Vec<u32> {
        let tasks = fs::read_dir(format!("/proc/{daemon}/task")).expect("threads").flatten();
        let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        lists.flat_map(|pids| pids.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
    };
    let watches =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("--undertaker"));
    let begun = Instant::now();
    let beside = loop {
        if let Some(pid) = children().into_iter().find(watches) {
            break pid;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody watches");
        std::thread::sleep(Duration::from_millis(20));
    };
    let held = fs::read_dir(format!("/proc/{}/fd", beside)).expect("its files").flatten();
    let held: Vec<_> = held.filter_map(|file| fs::read_link(file.path()).ok()).collect();
    assert!(!held.iter().any(|file| file.ends_with("fuse") || file.to_string_lossy().contains(".db")), "{held:?}");
    mount.crash();
    let begun = Instant::now();
    while fs::metadata(format!("/proc/{}", beside)).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}
