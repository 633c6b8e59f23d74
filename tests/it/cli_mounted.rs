//! What `onedrive-cli` says of a mount, of the sign-in and of the machine, word for word and on both protocols: what went
//! where, and the exit code.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use onedrive_mount::emulator::{Fault, Flavour, Rule, When};

use crate::control::flip_one_bit;
use crate::world::service::places;
use crate::world::shell::{Shell, same};
use crate::world::until;

/// What is written stays in the queue.
const SLOW: &str = "upload:\n  debounce: 1h\nguard:\n  burst: 5\n";

fn beside_a_mount(shell: &Shell, snapshot: &str) {
    let drive = shell.service.drive();
    drive.create_file("/report.txt", b"the report".to_vec());
    drive.create_file("/far.bin", vec![1; 2_000]);
    for number in 0..6 {
        drive.create_file(&format!("/old/{number}.txt"), format!("old {number}").into_bytes());
    }
    let mount = shell.service.mount(&shell.home);
    let inside = |name: &str| mount.path(name).to_str().expect("text").to_owned();
    assert_eq!(fs::read(mount.path("report.txt")).expect("readable"), b"the report");
    // Content is kept a moment after it was read, and the quota is asked for by a task.
    until("the quota came and the content is kept", || {
        !shell.json(&["status"])["quota"]["total"].is_null()
            && shell.json(&["why", &inside("report.txt")])["state"] == "cached"
    });
    let mut record = shell.record_beside(Some(&mount));
    record.run(&["why", &inside("report.txt")]);
    record.run(&["why", &inside("far.bin")]);
    record.run(&["why", &inside("nothing")]);
    record.run(&["verify"]);
    record.run(&["wait"]);
    record.run(&["retry"]);
    record.run(&["approve"]);
    fs::write(mount.path("draft.txt"), "a draft").expect("written");
    record.run(&["status"]);
    record.run(&["queue", &inside("draft.txt")]);
    record.run(&["why", &inside("draft.txt")]);
    record.run(&["wait", "--timeout", "1s", &inside("report.txt")]);
    record.run(&["wait", "--timeout", "1s"]);
    record.run(&["export", &inside("draft.txt"), "out.txt"]);
    record.run(&["export", &inside("draft.txt"), "out.txt"]);
    assert_eq!(fs::read(shell.home.path("out.txt")).expect("readable"), b"a draft");
    record.run(&["export", "9999", "x"]);
    record.run(&["discard", &inside("draft.txt")]);
    record.run(&["discard", "--yes", &inside("draft.txt")]);
    assert!(!mount.path("draft.txt").exists());
    record.run(&["discard", "--yes", &inside("draft.txt")]);

    record.run(&["status", "/"]);
    record.run(&["unmount", "/nowhere"]);
    record.run(&["unmount", mount.at().to_str().expect("text")]);
    record.run(&["status"]);
    record.same(snapshot);
}

/// For a script, which goes by the code, and by the object.
#[test]
fn verify_ends_with_its_code_and_names_what_is_corrupt() {
    let shell = Shell::with(Flavour::Business, SLOW);
    for (name, fill) in [("told.bin", 2), ("counted.bin", 3)] {
        shell.service.drive().create_file(&format!("/{name}"), vec![fill; 400_000]);
    }
    let mount = shell.service.mount(&shell.home);
    for (name, fill) in [("told.bin", 2), ("counted.bin", 3)] {
        assert_eq!(fs::read(mount.path(name)).expect("readable"), vec![fill; 400_000]);
        let path = mount.path(name).to_str().expect("text").to_owned();
        until("the content is kept", || shell.json(&["why", &path])["state"] == "cached");
    }
    shell.ok(&["verify"]);
    let cache = shell.home.path("cache");
    assert_eq!(flip_one_bit(&cache, 2), 1);
    let output = shell.output(&["verify"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(36), "{said}");
    assert!(said.contains("told.bin") && !said.contains("counted.bin"), "{said}");
    // It has been dropped, so that nothing is corrupt any more until the next bit goes.
    shell.ok(&["verify"]);
    assert_eq!(flip_one_bit(&cache, 3), 1);
    let output = shell.output(&["--json", "verify"]);
    assert_eq!(output.status.code(), Some(36), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
    let findings = found["findings"].as_array().expect("a list");
    let corrupt: Vec<_> = findings.iter().filter(|one| one["verdict"] == "corrupt").map(|one| &one["path"]).collect();
    assert!(found["corrupt"] == 1 && corrupt == ["counted.bin"], "{found}");
}

/// What waits for the user: what the service refuses, and what is held because it is so much.
fn what_waits_for_the_user(shell: &Shell, snapshot: &str) {
    let drive = shell.service.drive();
    for number in 0..6 {
        drive.create_file(&format!("/old/{number}.txt"), format!("old {number}").into_bytes());
    }
    let mount = shell.service.mount(&shell.home);
    assert_eq!(fs::read_dir(mount.path("old")).expect("listed").count(), 6);
    let refused = Fault::status(When::Before, 403, "accessDenied");
    let rule = shell.service.emulator().faults().add(Rule::always("PUT", "*", refused));
    fs::write(mount.path("refused.txt"), "refused").expect("written");
    let refused = mount.path("refused.txt").to_str().expect("text").to_owned();
    until("it is parked", || shell.json(&["why", &refused])["state"] == "parked");
    let mut record = shell.record_beside(Some(&mount));
    record.run(&["status"]);
    record.run(&["queue"]);
    record.run(&["why", &refused]);
    record.run(&["wait", "--timeout", "1s"]);
    shell.service.emulator().faults().remove(rule);
    record.run(&["retry", &refused]);
    until("it is sent", || drive.read_file("/refused.txt").is_some());
    shell.ok(&["wait", "--timeout", "60s"]);
    for number in 0..6 {
        fs::remove_file(mount.path(format!("old/{number}.txt"))).expect("removed");
    }
    until("they are held", || shell.json(&["queue"])["entries"][0]["state"] == "held");
    record.run(&["queue"]);
    record.run(&["wait", "--timeout", "1s"]);
    record.run(&["approve"]);
    until("they are gone", || drive.list("/old").is_empty());
    record.same(snapshot);
}

#[test]
fn beside_a_mount_on_graph() {
    beside_a_mount(&Shell::with(Flavour::Business, SLOW), "cli-mounted.txt");
}

#[test]
fn beside_a_mount_on_live_connect() {
    beside_a_mount(&Shell::live(SLOW), "cli-mounted-live.txt");
}

/// Long enough that no deletion is sent before the sixth has made a burst of them.
const GUARDED: &str = "upload:\n  debounce: 3s\nguard:\n  burst: 5\n";

#[test]
fn what_waits_for_the_user_on_graph() {
    what_waits_for_the_user(&Shell::with(Flavour::Business, GUARDED), "cli-waiting.txt");
}

#[test]
fn what_waits_for_the_user_on_live_connect() {
    what_waits_for_the_user(&Shell::live(GUARDED), "cli-waiting-live.txt");
}

fn signing_in(shell: &Shell, snapshot: &str) {
    let mut record = shell.record();
    record.run(&["auth_refresh"]);
    record.run(&["auth", "http://127.0.0.1/?error=access_denied&error_description=The+user+said+no"]);
    record.run_cut(&["doctor"], 14);
    fs::remove_file(places(&shell.home).token_file()).expect("removed");
    record.run(&["quota"]);
    record.run(&["auth_refresh"]);
    record.run_cut(&["doctor"], 14);
    record.run(&["auth", "--no-browser"]);
    record.same(snapshot);
}

#[test]
fn signing_in_on_graph() {
    signing_in(&Shell::new(Flavour::PersonalNew), "cli-signing-in.txt");
}

#[test]
fn signing_in_on_live_connect() {
    signing_in(&Shell::live(""), "cli-signing-in-live.txt");
}

/// What has nothing to do with any service.
#[test]
fn of_the_program_itself() {
    let shell = Shell::new(Flavour::PersonalNew);
    let mut record = shell.record();
    record.run(&["print-config"]);
    record.run(&["completions", "dos"]);
    record.run(&["man", "/proc/nowhere"]);
    record.run(&["emulator", "--flavour", "none"]);
    record.same("itself.txt");

    let mut emulator = shell.command(&["emulator"]).stdout(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(emulator.stdout.take().expect("a pipe")).lines();
    let said: Vec<String> = lines.by_ref().take(6).map(|line| line.expect("text")).collect();
    emulator.kill().expect("killed");
    emulator.wait().expect("ended");
    let without_port = |line: &String| match line.rsplit_once(':') {
        Some((rest, port)) if port.parse::<u16>().is_ok() => format!("{rest}:PORT\n"),
        _ => format!("{line}\n"),
    };
    same("emulator.txt", &said.iter().map(without_port).collect::<String>());
}
