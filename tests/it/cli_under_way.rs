//! What is said of transfers while they are under way: `status`, in both forms, and the bar of `wait` on a terminal.

use std::fs;
use std::time::Duration;

use onedrive_mount::emulator::{Fault, Flavour, Host, Rule, RuleId, When};
use serde_json::Value;

use crate::cli_transfer::on_a_terminal;
use crate::world::mount::{Mount, require_fuse};
use crate::world::service::wait_until_uploaded;
use crate::world::shell::{Shell, pattern};
use crate::world::until;

/// The length of a fragment, in bytes.
const UNIT: usize = 320 << 10;

/// So small that a file has many.
const FRAGMENTS: &str =
    "upload:\n  debounce: 0s\n  fragment_size: 320 KiB\nlive:\n  put_limit: 1000000\n  bits_fragment: 320 KiB\n";

const UP: usize = 40 * UNIT;
const DOWN: usize = 12_000_000;

/// Fragments of uploads take their time.
fn slow_uploads(shell: &Shell) -> RuleId {
    let live = shell.service.side().live;
    let (method, host) = if live { ("Fragment", Host::Bits) } else { ("PUT", Host::Storage) };
    let pause = Fault::Stall { when: When::Before, duration: Duration::from_millis(500) };
    shell.service.emulator().faults().add(Rule::always(method, "*", pause).on(host))
}

/// The transfer in this direction: its bytes so far.
fn transfer(status: &Value, direction: &str, path: &str, size: usize) -> Option<u64> {
    let transfers = status["transfers"].as_array().expect("a list");
    let found = transfers.iter().find(|transfer| transfer["direction"] == direction)?;
    let mut keys: Vec<&String> = found.as_object().expect("an object").keys().collect();
    keys.sort();
    assert_eq!(keys, ["direction", "done", "path", "size"]);
    assert_eq!((&found["path"], &found["size"]), (&path.into(), &size.into()), "{status}");
    let done = found["done"].as_u64().expect("a number");
    assert!(done <= size as u64, "{status}");
    Some(done)
}

fn both_ways(shell: &Shell) {
    require_fuse();
    shell.service.drive().create_file("/far/down.bin", pattern(DOWN));
    let mount = shell.service.mount(&shell.home);
    let faults = shell.service.emulator().faults();
    faults.add(Rule::always("GET", "*", Fault::Slow { bytes_per_second: 1_000_000 }).on(Host::Storage));
    let slow = slow_uploads(shell);
    fs::write(mount.path("up.bin"), pattern(UP)).expect("written");
    let far = mount.path("far/down.bin");
    let reader = std::thread::spawn(move || fs::read(far));

    let mut seen: Vec<(u64, u64)> = Vec::new();
    until("both go on, and go on", || {
        let status = shell.json(&["status"]);
        let up = transfer(&status, "up", "up.bin", UP);
        let down = transfer(&status, "down", "far/down.bin", DOWN);
        if let (Some(up), Some(down)) = (up, down) {
            seen.push((up, down));
            assert_eq!((&status["waiting"], &status["parked"]), (&1.into(), &0.into()), "{status}");
            let left = status["bytes_waiting"].as_u64().expect("a number");
            assert!(left <= UP as u64 - up, "{left} bytes wait after {up} of {UP}");
        }
        let moved = |of: fn(&(u64, u64)) -> u64| {
            let mut values: Vec<u64> = seen.iter().map(of).filter(|done| *done > 0).collect();
            assert!(values.is_sorted(), "it goes back: {seen:?}");
            values.dedup();
            values.len() > 2
        };
        moved(|both| both.0) && moved(|both| both.1)
    });
    let plain = shell.ok(&["status"]);
    let line = |label: &str, path: &str| {
        let begin = format!("  {label:<9} {path}, ");
        let line = plain.lines().find_map(|line| line.strip_prefix(&begin)).unwrap_or_else(|| panic!("{plain}"));
        assert!(line.contains(" of ") && line.ends_with(" %)"), "{plain}");
    };
    line("sending", "up.bin");
    line("fetching", "far/down.bin");
    assert!(plain.contains("1 change on the way to the cloud"), "{plain}");

    faults.remove(slow);
    assert!(reader.join().expect("ended").expect("readable") == pattern(DOWN));
    wait_until_uploaded(&shell.home);
    assert!(shell.service.drive().read_file("/up.bin").expect("there") == pattern(UP));
    until("nothing is under way any more", || shell.json(&["status"])["transfers"] == Value::Array(Vec::new()));
    unmount(mount);
}

fn unmount(mount: Mount) {
    assert!(mount.stop().success());
}

#[test]
fn status_tells_of_transfers_under_way_on_graph() {
    both_ways(&Shell::with(Flavour::Business, FRAGMENTS));
}

#[test]
fn status_tells_of_transfers_under_way_on_live_connect() {
    both_ways(&Shell::live(FRAGMENTS));
}

#[test]
fn waiting_on_a_terminal_shows_a_bar_that_fills() {
    require_fuse();
    let shell = Shell::with(Flavour::Business, FRAGMENTS);
    let mount = shell.service.mount(&shell.home);
    slow_uploads(&shell);
    fs::write(mount.path("up.bin"), pattern(10 * UNIT)).expect("written");
    let said = on_a_terminal(&shell, &["wait"]);
    assert!(shell.service.drive().read_file("/up.bin").is_some(), "it came back when everything is there");
    assert!(said.contains("/3.12 MiB  1 change left") && said.contains("\u{1b}["), "{said:?}");
    let shown = |part: &&str| part.contains("/3.12 MiB");
    let mut positions: Vec<&str> = said
        .split(['\r', '\n', '\u{1b}'])
        .filter(shown)
        .filter_map(|part| part.rsplit_once('/'))
        .map(|(done, _)| done)
        .collect();
    positions.dedup();
    assert!(positions.len() > 2, "it does not move: {positions:?}");
    // Who reads it with a program gets no bar, on a terminal neither.
    fs::write(mount.path("again.bin"), pattern(2 * UNIT)).expect("written");
    let said = on_a_terminal(&shell, &["--json", "wait"]);
    assert!(!said.contains("left") && !said.contains('\u{1b}'), "{said:?}");
    let answer: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert_eq!(answer["waiting"], 0);
    unmount(mount);
}
