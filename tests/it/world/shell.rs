//! A user at a shell: runs `onedrive-cli` in a signed-in home and writes down what it says.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use onedrive_mount::base::clock::Timestamp;
use onedrive_mount::emulator::{Flavour, Host, LiveHandle, RuleId};

use super::mount::{Home, Mount};
use super::service::Service;
use super::side::Side;

/// The time that every object of [`Shell::stock`] has.
const THEN: i64 = 1_375_715_884;

/// A service, a home that is signed in to it, and the program.
pub struct Shell {
    pub service: Service,
    pub home: Home,
}

impl Shell {
    pub fn new(flavour: Flavour) -> Self {
        Self::with(flavour, "")
    }

    /// With these settings beside those that lead to the service.
    pub fn with(flavour: Flavour, settings: &str) -> Self {
        let service = Service::new(flavour);
        let home = service.home(settings);
        Self { service, home }
    }

    /// On the old protocol, with these settings beside those that lead to the service.
    pub fn live(settings: &str) -> Self {
        let service = Service::new(Side::LIVE);
        let home = service.home(settings);
        Self { service, home }
    }

    /// A few folders and files, all of the same age.
    pub fn stock(&self) {
        let drive = self.service.drive();
        for folder in ["/Documents", "/Documents/Letters", "/Pics"] {
            drive.create_folder(folder);
        }
        for (path, text) in [
            ("/Documents/notes.txt", "twelve bytes"),
            ("/Documents/Letters/a.txt", "Dear A,"),
            ("/Documents/Letters/b.txt", "Dear B, how are you?"),
            ("/Pics/pier.jpg", "not really a picture"),
            ("/note to self.txt", "buy milk"),
        ] {
            drive.create_file(path, text.as_bytes().to_vec());
            drive.set_times(path, Timestamp::from_seconds(THEN), Timestamp::from_seconds(THEN + 60));
        }
        for folder in ["/Documents/Letters", "/Documents", "/Pics", "/"] {
            drive.set_times(folder, Timestamp::from_seconds(THEN), Timestamp::from_seconds(THEN + 60));
        }
    }

    /// The program, in the home.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.command(env!("CARGO_BIN_EXE_onedrive-cli"));
        command.args(arguments).current_dir(self.home.path(""));
        command
    }

    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("onedrive-cli runs")
    }

    /// Runs a command that must succeed; its standard output.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs a command that must fail with this code; its standard error.
    #[track_caller]
    pub fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        error
    }

    /// What a command prints with `--json`.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let text = self.ok(&[&["--json"], arguments].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// Runs a command with something on its standard input.
    pub fn fed(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        // A program that needs no input may be gone already.
        let _ = child.stdin.take().expect("a pipe").write_all(input);
        child.wait_with_output().expect("ends")
    }

    /// A file in the home.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.home.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder of the home");
        fs::write(&path, content).expect("a file of the home");
        path
    }

    /// Every address that was asked for so far carries nothing that it must not.
    #[track_caller]
    pub fn check_addresses(&self) {
        let emulator = self.service.emulator();
        // What carries its own permission is an address itself; tokens, codes and verifiers are none.
        let secrets: Vec<String> =
            emulator.secrets().into_iter().filter(|secret| !secret.starts_with("http")).collect();
        let requests = emulator.requests();
        assert!(!secrets.is_empty() && requests.iter().any(|request| request.had_authorization), "nothing to look at");
        for request in requests {
            if let Some(fault) = address_fault(&request.path, &secrets) {
                panic!("{fault}: {}", request.path);
            }
        }
    }

    /// The settings file of python-onedrive in the home, which leads to the service, with these further lines.
    pub fn lcrc(&self, more: &str) -> String {
        let endpoints = self.service.emulator().endpoints();
        let text = format!(
            "# mine\nclient:\n  id: '{}'\nendpoints:\n  live: {}\n  bits: {}\n  login: {}\n{more}",
            LiveHandle::CLIENT,
            endpoints.live,
            endpoints.bits,
            endpoints.login
        );
        self.file(".lcrc", text.as_bytes()).to_str().expect("text").to_owned()
    }

    /// Waits until a fault has struck.
    #[track_caller]
    pub fn until_struck(&self, fault: RuleId, limit: Duration) {
        let begun = Instant::now();
        while self.service.emulator().faults().struck(fault) == 0 {
            assert!(begun.elapsed() < limit, "it never came so far");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where the requests for content began.
    pub fn starts(&self) -> Vec<u64> {
        let requests = self.service.emulator().requests();
        let ranges = requests.iter().filter(|seen| seen.host == Host::Storage).filter_map(|seen| seen.range.clone());
        let start =
            |range: String| range.trim_start_matches("bytes=").split('-').next().unwrap().parse().expect("a number");
        ranges.map(start).collect()
    }

    pub fn record(&self) -> Record<'_> {
        self.record_beside(None)
    }

    /// Beside a mount: its path, and how long ago something was, differ from run to run.
    pub fn record_beside(&self, mount: Option<&Mount>) -> Record<'_> {
        let mount = mount.map(|mount| mount.at().to_str().expect("a plain path").to_owned());
        Record { shell: self, mount, said: String::new() }
    }
}

/// What is wrong with an address: a question mark with nothing behind it, or a token, however it is written.
pub fn address_fault(address: &str, secrets: &[String]) -> Option<&'static str> {
    let query = address.split_once('?').map(|(_, query)| query);
    if query == Some("") {
        return Some("a question mark with nothing behind it");
    }
    let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    if pairs.any(|(key, value)| key == "access_token" || secrets.iter().any(|secret| value.contains(secret.as_str()))) {
        return Some("a token in a query");
    }
    secrets.iter().any(|secret| address.contains(secret.as_str())).then_some("a token in an address")
}

/// Bytes that are nowhere the same.
pub fn pattern(size: usize) -> Vec<u8> {
    (0..size as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8).collect()
}

/// What was typed and what came.
pub struct Record<'a> {
    shell: &'a Shell,
    mount: Option<String>,
    said: String,
}

impl Record<'_> {
    pub fn run(&mut self, arguments: &[&str]) {
        let output = self.shell.output(arguments);
        self.add(arguments, "", &output);
    }

    /// What has no order: its lines sorted.
    pub fn run_sorted(&mut self, arguments: &[&str]) {
        let mut output = self.shell.output(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        output.stdout = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"]).flatten().copied().collect();
        self.add(arguments, "", &output);
    }

    /// With something on the standard input.
    pub fn fed(&mut self, arguments: &[&str], input: &str) {
        let output = self.shell.fed(arguments, input.as_bytes());
        self.add(arguments, &format!(" < {input:?}"), &output);
    }

    /// Of each line only the beginning, because the rest speaks of this machine; as does how much room its disks have.
    pub fn run_cut(&mut self, arguments: &[&str], at: usize) {
        let mut output = self.shell.output(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let cut = text.lines().map(|line| line.chars().take(at).collect::<String>());
        let cut = cut.map(|line| match line.split_once(' ') {
            Some((_, of)) if [" state", " cache"].contains(&of.trim_end()) => format!(".... {of}"),
            _ => line,
        });
        output.stdout = cut.flat_map(|line| format!("{}\n", line.trim_end()).into_bytes()).collect();
        self.add(arguments, "", &output);
    }

    fn add(&mut self, arguments: &[&str], input: &str, output: &Output) {
        let typed: Vec<String> = arguments.iter().map(|argument| quoted(argument)).collect();
        self.said.push_str(&format!("$ onedrive-cli {}{input}\n", self.usual(&typed.join(" "))));
        self.said.push_str(&self.usual(&String::from_utf8_lossy(&output.stdout)));
        for line in self.usual(&String::from_utf8_lossy(&output.stderr)).lines() {
            self.said.push_str(&format!("2> {line}\n"));
        }
        assert_ne!(output.status.code(), Some(101), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        self.said.push_str(&format!("[exit code {}]\n\n", output.status.code().unwrap_or(-1)));
    }

    /// Replaces what differs from run to run: the home, the service's address, request ids, and times of today.
    fn usual(&self, text: &str) -> String {
        let text = match &self.mount {
            Some(mount) => uncounted(&text.replace(mount, "MOUNT")),
            None => text.to_owned(),
        };
        let mut text = text.replace(self.shell.home.path("").to_str().expect("a plain path"), "HOME/");
        let endpoints = self.shell.service.emulator().endpoints();
        let storage = self.shell.service.emulator().storage_url();
        for (address, name) in
            [(&endpoints.graph, "http://GRAPH"), (&endpoints.login, "http://LOGIN"), (&storage, "http://STORAGE")]
        {
            text = text.replace(address.trim_end_matches('/'), name);
        }
        let text = replaced(&text, "http://STORAGE/", |c| !c.is_whitespace() && c != '"', "...");
        let text = replaced(&text, "http://GRAPH/s/", |c| !c.is_whitespace() && c != '"', "...");
        let text = replaced(&text, "authorize?", |c| !c.is_whitespace(), "...");
        let text = replaced(&text, "oauth20_authorize.srf?", |c| !c.is_whitespace(), "...");
        let text = replaced(&text, "authkey=!", |c| c.is_ascii_alphanumeric() || "-_".contains(c), "KEY");
        let text = replaced(&text, "(request ", |c| c != ')', "ID");
        // Comments are numbered by the requests before them, of which some are sent side by side.
        let text = replaced(&text, ".qT0x", |c| c.is_ascii_hexdigit(), "NUMBER");
        let year = &onedrive_mount::drive::object::time(onedrive_mount::base::clock::Timestamp::from_system_time(
            std::time::SystemTime::now(),
        ))[..5];
        replaced(&text, year, |c| c.is_ascii_alphanumeric() || ":+-.".contains(c), "TODAY")
            .replace(&format!("{year}TODAY"), "TODAY")
    }

    #[track_caller]
    pub fn same(self, name: &str) {
        same(name, &self.said);
    }
}

/// Without numbers of seconds and minutes, and without identities that are drawn anew in each run.
fn uncounted(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for index in 0..words.len() {
            let unit = words.get(index + 1).map_or("", String::as_str);
            let counted = ["s", "min", "min,", "s,", "s)", "s;"].contains(&unit);
            if counted && words[index].parse::<u64>().is_ok() {
                words[index] = "N".to_owned();
            }
        }
        if ["  id ", "  version "].iter().any(|key| line.starts_with(key)) {
            words.truncate(line.split(' ').take_while(|word| word.is_empty()).count() + 1);
            words.push("ID".to_owned());
        }
        out.push_str(words.join(" ").trim_end());
        out.push('\n');
    }
    if !text.ends_with('\n') {
        out.pop();
    }
    let out = replaced(&out, "(process ", |c| c.is_ascii_digit(), "N");
    replaced(&out, "held: it", |c| c == '-' || c.is_ascii_hexdigit(), "")
}

/// With everything that belongs to a word of `kind` after each `mark` replaced.
fn replaced(text: &str, mark: &str, kind: impl Fn(char) -> bool, by: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(mark) {
        let after = &rest[at + mark.len()..];
        let end = after.find(|c| !kind(c)).unwrap_or(after.len());
        out.push_str(&rest[..at + mark.len()]);
        out.push_str(by);
        rest = &after[end..];
    }
    out + rest
}

fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=,:!".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) { argument.to_owned() } else { format!("'{argument}'") }
}

/// Compares with the snapshot of this name.
#[track_caller]
pub fn same(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        return fs::write(path, text).expect("a snapshot");
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    if wanted != text {
        let differs = wanted.lines().zip(text.lines()).position(|(one, other)| one != other).unwrap_or(0);
        let around = |text: &str| text.lines().skip(differs.saturating_sub(3)).take(12).collect::<Vec<_>>().join("\n");
        panic!(
            "{name} differs from its snapshot, first in line {}. If that is meant: UPDATE_SNAPSHOTS=1 cargo test --test \
             it -- cli_\n--- snapshot\n{}\n--- now\n{}",
            differs + 1,
            around(&wanted),
            around(text)
        );
    }
}
