//! The command line on the old protocol when things go wrong: what breaks off, changes on the way, is refused, or does not
//! fit into the memory; and beside a mount that uses the same sign-in.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use onedrive_mount::emulator::{Fault, Host, Rule, When};

use crate::world::mount::Start;
use crate::world::shell::{Shell, pattern};
use crate::{cli_auth, cli_transfer};

#[test]
fn a_download_that_is_cut_or_given_up_goes_on_where_it_was() {
    cli_transfer::cut_download(&Shell::live(""));
    cli_transfer::given_up_download(&Shell::live(""));
}

#[test]
fn a_local_file_that_changes_while_it_is_sent_replaces_nothing() {
    let shell = Shell::live("live:\n  put_limit: 1 MiB\n  bits_fragment: 1 MiB\n");
    cli_transfer::changed_while_sent(&shell, 1 << 20, "Fragment", Host::Bits);
}

#[test]
fn every_refusal_has_its_exit_code() {
    let shell = Shell::live("");
    shell.stock();
    let faults = shell.service.emulator().faults();
    faults.add(Rule::once("GET", "*", Fault::status(When::Before, 503, "server_busy")));
    faults.add(Rule::once("GET", "*", Fault::throttled_live()));
    shell.ok(&["info", "Pics"]);
    faults.clear();
    faults.add(Rule::always("GET", "*", Fault::status(When::Before, 503, "server_busy")));
    let said = shell.fails(47, &["ls"]);
    assert!(said.contains("503"), "{said}");
    faults.clear();
    shell.service.drive().set_quota(1_000);
    shell.file("large.bin", &vec![1; 100_000]);
    let said = shell.fails(44, &["put", "large.bin"]);
    assert!(said.starts_with("error: "), "{said}");
    faults.add(Rule::always("GET", "*", Fault::status(When::Before, 401, "request_token_invalid")).on(Host::Live));
    let said = shell.fails(10, &["ls"]);
    assert!(said.contains("onedrive-cli auth"), "{said}");
    faults.clear();
    shell.service.emulator().set_online(false);
    shell.fails(12, &["ls"]);
}

/// A file goes by BITS, and so does what comes through a pipe and has no end that is known.
#[test]
fn content_larger_than_the_memory() {
    const SIZE: u64 = 320 << 20;
    let shell = Shell::live("");
    shell.service.drive().create_generated("/large.bin", 1, SIZE);
    let limited = |line: &str| {
        let program = env!("CARGO_BIN_EXE_onedrive-cli");
        let mut command: Command = shell.home.command("bash");
        // In KiB, and far below the size.
        command.args(["-o", "pipefail", "-c", &format!("ulimit -v 250000; cli() {{ '{program}' \"$@\"; }}; {line}")]);
        command.current_dir(shell.home.path("")).stdout(Stdio::null()).process_group(0);
        let output = command.stderr(Stdio::piped()).output().expect("runs");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    };
    limited("cli get large.bin local.bin");
    assert_eq!(fs::metadata(shell.home.path("local.bin")).expect("there").len(), SIZE);
    limited("cli put --name bits.bin local.bin");
    limited("cli cat large.bin | cli put --name piped.bin -");
    for name in ["bits.bin", "piped.bin"] {
        assert_eq!(shell.service.drive().stat(&format!("/{name}")).expect("there").size, SIZE, "{name}");
    }
}

#[test]
fn several_files_go_at_the_same_time() {
    let shell = Shell::live("");
    for number in 0..6 {
        shell.service.drive().create_file(&format!("/many/{number}.bin"), pattern(50_000 + number));
    }
    let stall = Fault::Stall { when: When::Before, duration: Duration::from_secs(1) };
    shell.service.emulator().faults().add(Rule::always("GET", "*", stall).on(Host::Storage));
    let took = |jobs: &str, to: &str| {
        let begun = Instant::now();
        shell.ok(&["get", "-r", "--jobs", jobs, "many", to]);
        begun.elapsed()
    };
    let (one, six) = (took("1", "one"), took("6", "six"));
    // Each waits for a second: one after the other six of them, side by side one.
    assert!(one >= Duration::from_secs(6) && six < one - Duration::from_secs(2), "{one:?}, {six:?}");
    for number in 0..6 {
        let path = shell.home.path(format!("six/{number}.bin"));
        assert_eq!(fs::read(path).expect("there"), pattern(50_000 + number));
    }
}

#[test]
fn a_mount_and_a_command_share_the_sign_in() {
    let shell = Shell::live("");
    shell.stock();
    let mount = shell.service.mount(&shell.home);
    cli_auth::share_the_sign_in(&shell, &mount, &[]);
}

/// `onedrive-mount --config ~/.lcrc`, as the page for movers says.
#[test]
fn the_settings_file_of_the_old_program_mounts() {
    let shell = Shell::live("");
    shell.stock();
    let tokens = shell.service.emulator().live().issue_tokens();
    let file = &shell.lcrc(&format!(
        "auth:\n  access_token: {:?}\n  refresh_token: {:?}\nmine: kept\n",
        tokens.access, tokens.refresh
    ));
    let mount = Start::with(["--config", file]).mount(&shell.home);
    cli_auth::share_the_sign_in(&shell, &mount, &["-c", file]);
    let after = fs::read_to_string(file).expect("there");
    assert!(after.contains("mine: kept") && !after.contains(&tokens.refresh), "{after}");
}
