//! Completions and manual pages: the ones in `contrib` are those that the programs make of themselves, and `doctor`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use onedrive_mount::emulator::Flavour;

use crate::world::mount::Home;
use crate::world::service::places;
use crate::world::shell::{Shell, same};

fn contrib(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(part)
}

fn cli(home: &Home, arguments: &[&str]) -> String {
    let output = home.command(env!("CARGO_BIN_EXE_onedrive-cli")).args(arguments).output().expect("runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Compares with what lies in `contrib`, or renews that.
fn fresh(name: &str, text: &str) {
    let path = contrib(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        return fs::write(&path, text).expect("written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "contrib/{name} is stale; UPDATE_SNAPSHOTS=1 cargo test --test it -- cli_generated renews it"
    );
}

#[test]
fn completions_are_fresh_and_shells_understand_them() {
    let home = Home::new();
    for (shell, name) in [("bash", "onedrive.bash"), ("zsh", "_onedrive"), ("fish", "onedrive.fish")] {
        let text = cli(&home, &["completions", shell]);
        assert!(text.contains("onedrive-mount") && text.contains("auth_refresh"), "{shell}");
        fresh(&format!("completions/{name}"), &text);
    }
    let checked = Command::new("bash").arg("-n").arg(contrib("completions/onedrive.bash")).status().expect("bash");
    assert!(checked.success());
    let output = home.command(env!("CARGO_BIN_EXE_onedrive-cli")).args(["completions", "dos"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn manual_pages_are_fresh_and_all_there() {
    let home = Home::new();
    let folder = home.path("man");
    cli(&home, &["man", folder.to_str().expect("text")]);
    let names = |folder: &Path| -> BTreeSet<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().into_string().expect("text")).collect()
    };
    let made = names(&folder);
    assert!(made.contains("onedrive-mount.1") && made.contains("onedrive-cli-put.1") && made.len() > 45, "{made:?}");
    for name in &made {
        fresh(&format!("man/{name}"), &fs::read_to_string(folder.join(name)).expect("a page"));
    }
    assert_eq!(names(&contrib("man")), made, "a page in contrib/man belongs to no command");
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let shell = Shell::new(Flavour::PersonalNew);
    let healthy = shell.json(&["doctor"]);
    let findings = healthy.as_array().expect("a list");
    for what in ["settings", "FUSE", "state", "cache", "network", "clock", "sign-in", "mounts"] {
        let finding = findings.iter().find(|finding| finding["what"] == what);
        let finding = finding.unwrap_or_else(|| panic!("nothing about {what}: {healthy}"));
        // How much room this machine's disk has is nobody's business here.
        assert!(finding["state"] == "good" || ["state", "cache"].contains(&what), "{finding}");
    }
    let said = shell.ok(&["doctor"]);
    assert!(said.lines().any(|line| line.starts_with("good  sign-in")), "{said}");

    fs::remove_file(places(&shell.home).token_file()).expect("removed");
    let output = shell.output(&["doctor"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(10), "{said}");
    assert!(said.contains("bad   sign-in") && said.contains("what to do: onedrive-cli auth"), "{said}");

    fs::write(places(&shell.home).settings, "tenant: [").expect("written");
    let output = shell.output(&["doctor"]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_doctor_notices_that_the_network_is_gone() {
    let shell = Shell::new(Flavour::PersonalNew);
    shell.service.emulator().set_online(false);
    let output = shell.output(&["doctor"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(12), "{said}");
    assert!(said.contains("bad   network"), "{said}");
}

/// The table of exit codes in the README, in `--help` and in the program is one table.
#[test]
fn exit_codes_are_told_the_same_everywhere() {
    let readme = fs::read_to_string(contrib("../README.md")).expect("the README");
    let table = readme.split("## Exit codes").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a table");
    let source = fs::read_to_string(contrib("../src/cli/error.rs")).expect("the source");
    let codes: BTreeSet<u32> =
        source.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = ")?.1.parse().ok()).collect();
    assert!(codes.len() > 30, "{codes:?}");
    let told: BTreeSet<u32> = table.lines().filter_map(|line| line.split('|').nth(1)?.trim().parse().ok()).collect();
    let missing: Vec<_> = codes.difference(&told).collect();
    assert!(missing.is_empty(), "the README does not tell {missing:?}");
    let help = cli(&Home::new(), &["--help"]);
    for code in codes.iter().filter(|code| !(20..=30).contains(*code)) {
        assert!(help.contains(&format!("{code:>2}  ")), "--help does not tell {code}");
    }
    same("exit-codes.txt", help.split("Exit codes").nth(1).expect("the table"));
}
