//! A user at a shell: runs `onedrive-cli` in a signed-in home and writes down what it says.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use onedrive_mount::base::clock::Timestamp;
use onedrive_mount::emulator::Flavour;

use super::mount::Home;
use super::service::Service;

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

    pub fn record(&self) -> Record<'_> {
        Record { shell: self, said: String::new() }
    }
}

/// What was typed and what came.
pub struct Record<'a> {
    shell: &'a Shell,
    said: String,
}

impl Record<'_> {
    pub fn run(&mut self, arguments: &[&str]) {
        let output = self.shell.output(arguments);
        self.add(arguments, "", &output);
    }

    /// With something on the standard input.
    pub fn fed(&mut self, arguments: &[&str], input: &str) {
        let output = self.shell.fed(arguments, input.as_bytes());
        self.add(arguments, &format!(" < {input:?}"), &output);
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
        let text = replaced(&text, "(request ", |c| c != ')', "ID");
        let year = &onedrive_mount::cli::object::time(onedrive_mount::base::clock::Timestamp::from_system_time(
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
