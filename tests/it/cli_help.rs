//! The help texts, word for word, and the shape of what `--json` prints beside a mount.
//!
//! Scripts and people rely on both. A change shows here as a difference of a file in `tests/it/snapshots`; if it is
//! meant, run the test once with `UPDATE_SNAPSHOTS=1` and look at the difference in the commit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::world::mount::{Home, program};
use crate::world::service::Service;
use crate::world::shell::same;
use onedrive_mount::emulator::Flavour;

/// Every command, as the overview lists them.
fn commands(overview: &str) -> Vec<String> {
    let listed = overview.split("Commands:").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("commands");
    let entries = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    entries.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn help_of(home: &Home, program: &Path, arguments: &[&str]) -> String {
    let output = home.command(program).args(arguments).arg("--help").output().expect("runs");
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn every_command_explains_itself_as_it_always_did() {
    let home = Home::new();
    let cli = PathBuf::from(env!("CARGO_BIN_EXE_onedrive-cli"));
    same("help-onedrive-mount.txt", &help_of(&home, &program(), &[]));
    let overview = help_of(&home, &cli, &[]);
    let commands = commands(&overview);
    assert!(commands.len() > 40, "{commands:?}");
    for command in &commands {
        same(&format!("help-{command}.txt"), &help_of(&home, &cli, &[command]));
    }
    same("help-onedrive-cli.txt", &overview);
}

/// A value reduced to its shape: the names of its members with the kinds of their values.
fn shape(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(members) => {
            text.push_str("object\n");
            for (name, member) in members {
                text.push_str(&format!("{indent}  {name}: "));
                shape(member, depth + 1, text);
            }
        }
        Value::Array(items) => {
            text.push_str("list of ");
            match items.first() {
                Some(item) => shape(item, depth, text),
                None => text.push_str("nothing\n"),
            }
        }
        Value::String(_) => text.push_str("text\n"),
        Value::Number(_) => text.push_str("number\n"),
        Value::Bool(_) => text.push_str("yes or no\n"),
        Value::Null => text.push_str("nothing\n"),
    }
}

struct Mounted {
    home: Home,
}

impl Mounted {
    fn cli(&self) -> Command {
        let mut command = self.home.command(env!("CARGO_BIN_EXE_onedrive-cli"));
        command.current_dir(self.home.path(""));
        command
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.cli().args(arguments).output().expect("onedrive-cli runs");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

#[test]
fn what_is_printed_for_programs_has_the_shape_it_always_had() {
    let service = Service::new(Flavour::Business);
    service.drive().create_file("/report.txt", b"the report".to_vec());
    service.drive().create_file("/far.bin", vec![1; 2_000]);
    // Longer than the test: what is written stays in the queue.
    let mounted = Mounted { home: service.home("upload:\n  debounce: 1h\n") };
    let mount = service.mount(&mounted.home);
    let at = mount.at().to_str().expect("text").to_owned();
    let inside = |name: &str| format!("{at}/{name}");
    assert_eq!(fs::read(mount.path("report.txt")).expect("readable"), b"the report");
    let quota = std::time::Instant::now();
    // Content is kept a moment after it was read, and the quota is asked for by a task.
    while mounted.json(&["status", "--json"])["quota"]["total"].is_null()
        || mounted.json(&["why", "--json", &inside("report.txt")])["state"] != "cached"
    {
        assert!(quota.elapsed().as_secs() < 60, "the quota never came");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    fs::write(mount.path("draft.txt"), "a draft").expect("written");
    let mut shapes = String::new();
    let mut record_shape = |title: &str, arguments: &[&str]| {
        shapes.push_str(&format!("onedrive-cli {title}: "));
        shape(&mounted.json(arguments), 0, &mut shapes);
        shapes.push('\n');
    };
    record_shape("status --json", &["status", "--json"]);
    record_shape("queue --json", &["queue", "--json"]);
    record_shape("why --json draft.txt", &["why", "--json", &inside("draft.txt")]);
    record_shape("why --json report.txt", &["why", "--json", &inside("report.txt")]);
    record_shape("wait --json report.txt", &["wait", "--json", &inside("report.txt")]);
    record_shape("verify --json", &["verify", "--json"]);
    record_shape("retry --json", &["retry", "--json"]);
    let other = mounted.home.path("other.txt");
    record_shape(
        "export --json draft.txt FILE",
        &["export", "--json", &inside("draft.txt"), other.to_str().expect("text")],
    );
    record_shape("discard --json --yes draft.txt", &["discard", "--json", "--yes", &inside("draft.txt")]);
    assert!(!mount.path("draft.txt").exists());
    drop(mount);
    same("json-shapes.txt", &shapes);
}

/// Commands that print the same whatever the service is.
const OF_NO_SERVICE: [&str; 4] = ["completions", "man", "emulator", "print-config"];

/// What every command prints, to whom, and how it ends is written down on both protocols.
#[test]
fn every_command_has_its_words_written_down_on_both_protocols() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots");
    let typed = |live: bool| -> String {
        let files = fs::read_dir(&folder).expect("snapshots").flatten().map(|entry| entry.path());
        let told = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("cli-") && name.ends_with("-live.txt") == live
        };
        files.filter(told).map(|path| fs::read_to_string(path).expect("a snapshot")).collect()
    };
    let overview = fs::read_to_string(folder.join("help-onedrive-cli.txt")).expect("the overview");
    for live in [false, true] {
        let typed = typed(live);
        let is_typed = |command: &str| {
            let mut lines = typed.lines().filter_map(|line| line.strip_prefix("$ onedrive-cli "));
            lines.any(|line| line.split_whitespace().any(|word| word == command))
        };
        let missing: Vec<String> = commands(&overview)
            .into_iter()
            .filter(|command| !OF_NO_SERVICE.contains(&command.as_str()) && !is_typed(command))
            .collect();
        assert!(missing.is_empty(), "live: {live}; no snapshot of {missing:?}");
    }
}
