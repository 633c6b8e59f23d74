//! Foreign file-system test suites against a mount: other people's idea of what must hold.
//!
//! Run by `./contrib/test.sh`, which installs them and says where they are (`ONEDRIVE_SUITES`); ignored in a
//! plain `cargo test`, because they come from outside and take minutes.
//!
//! - pjdfstest checks what each system call must do and with which errno. What the service cannot store makes
//!   some of its cases impossible; `contrib/suites/pjdfstest.toml` lists each of them under the reason. A case
//!   that fails and is not listed fails the test, and so does one that is listed and passes.
//! - fsx does random reads, writes, truncates, mappings and more on one file and compares every byte with
//!   what it should be.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::world::mount::{Home, Start};

/// Operations of one fsx run.
const OPERATIONS: u32 = 10_000;

fn suite(name: &str) -> PathBuf {
    let folder = std::env::var_os("ONEDRIVE_SUITES")
        .expect("ONEDRIVE_SUITES is not set: run ./contrib/test.sh, which installs the suites");
    let program = PathBuf::from(folder).join(name);
    assert!(program.is_file(), "{} is missing: run ./contrib/test.sh, which installs it", program.display());
    program
}

fn settings(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/suites").join(name)
}

/// Runs fsx with a seed on a file of a fresh mount that was started with these settings.
fn fsx(seeds: &[u32], yaml: &str) {
    let home = Home::new();
    let config = home.path("config.yaml");
    fs::write(&config, yaml).expect("a settings file");
    let mount = Start::demo().argument("--config").argument(config).watchdog(Duration::from_secs(900)).mount(&home);
    // At the same time, so that they meet in the daemon.
    let runs: Vec<_> = seeds
        .iter()
        .map(|seed| {
            let child = Command::new(suite("fsx"))
                .args(["-f".as_ref(), settings("fsx.toml").as_os_str()])
                .args(["-N", &OPERATIONS.to_string(), "-S", &seed.to_string()])
                .arg("-P")
                .arg(home.path(""))
                .arg(mount.path(format!("fsx-{seed}")))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("fsx starts");
            (seed, child)
        })
        .collect();
    let mut failed = String::new();
    for (seed, child) in runs {
        let output = child.wait_with_output().expect("fsx ends");
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            let lines: Vec<&str> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(40)..].join("\n");
            writeln!(failed, "seed {seed}, {}:\n{last}", output.status).expect("a string grows");
        }
    }
    assert!(failed.is_empty(), "{failed}");
}

#[test]
#[ignore = "needs fsx; run by contrib/test.sh"]
fn fsx_alone() {
    fsx(&[1], "");
}

#[test]
#[ignore = "needs fsx; run by contrib/test.sh"]
fn fsx_on_several_files_at_once() {
    fsx(&[20, 21, 22], "");
}

/// Every close is followed by an upload, so that content changes hands between journal, cloud and cache all
/// the time.
#[test]
#[ignore = "needs fsx; run by contrib/test.sh"]
fn fsx_while_everything_is_uploaded_at_once() {
    fsx(&[300, 301], "upload:\n  debounce: 0s\npoll_interval: 1s\n");
}

/// A cache that can keep nothing.
#[test]
#[ignore = "needs fsx; run by contrib/test.sh"]
fn fsx_with_hardly_any_cache() {
    fsx(&[4000], "upload:\n  debounce: 0s\ncache:\n  max_size: 1 MiB\n");
}

#[test]
#[ignore = "needs pjdfstest and root; run by contrib/test.sh"]
fn pjdfstest() {
    assert!(rustix::process::geteuid().is_root(), "pjdfstest switches between users, which only root can");
    let home = Home::new();
    let config = home.path("config.yaml");
    // The mask must not take away what the cases set, and the other users must get in.
    fs::write(&config, "umask: \"000\"\n").expect("a settings file");
    fs::set_permissions(home.path(""), fs::Permissions::from_mode(0o755)).expect("a mode");
    let mount = Start::demo()
        .argument("--allow-other")
        .argument("--config")
        .argument(config)
        .watchdog(Duration::from_secs(900))
        .mount(&home);
    let folder = mount.path("pjdfstest");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("a mode");

    let text = fs::read_to_string(settings("pjdfstest.toml")).expect("the list of cases");
    let groups = fs::read_to_string("/etc/group").expect("/etc/group");
    // Debian's group of nobody has another name than Fedora's.
    let text =
        if groups.lines().any(|line| line.starts_with("nogroup:")) { text } else { text.replace("nogroup", "nobody") };
    let list = home.path("pjdfstest.toml");
    fs::write(&list, text).expect("a copy of the list");
    let output = Command::new(suite("pjdfstest"))
        .arg("-c")
        .arg(&list)
        .arg("-p")
        .arg(&folder)
        .current_dir(home.path(""))
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("pjdfstest starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let summary = said.lines().find(|line| line.starts_with("Summary")).unwrap_or("no summary");
    println!("{summary}");
    let wrong: Vec<&str> = said
        .lines()
        .enumerate()
        .filter(|(_, line)| line.contains("::") && (line.contains("FAILED") || line.contains("unexpected")))
        .map(|(_, line)| line)
        .collect();
    assert!(output.status.success(), "{summary}\n{}\n\nin full:\n{said}", wrong.join("\n"));
    // A pattern that matches nothing also succeeds.
    assert!(summary.contains("398 total"), "{summary}");
}
