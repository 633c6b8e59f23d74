//! Secrets stay where they belong: a real daemon and a real command line, as talkative as they can be made, through
//! signing in, renewing, uploading, downloading and the failure of each; then everything they wrote is searched for
//! everything that the service ever handed out.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use onedrive_mount::emulator::{Fault, FaultBody, Flavour, Host, LiveHandle, Rule, When};

use crate::world::mount::{Home, Start, program, require_fuse};
use crate::world::service::{Service, places};
use crate::world::side::Side;

/// Every library at its most talkative, not only this program.
const EVERYTHING: &str = "trace,onedrive_mount=trace,hyper=trace,hyper_util=trace,reqwest=trace,rustls=trace,h2=trace";

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(90), "never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the programs said so far.
#[derive(Default)]
struct Heard(Vec<(String, Vec<u8>)>);

impl Heard {
    fn output(&mut self, what: &str, output: &Output) {
        self.0.push((format!("standard output of {what}"), output.stdout.clone()));
        self.0.push((format!("standard error of {what}"), output.stderr.clone()));
    }

    fn cli(&mut self, home: &Home, arguments: &[&str]) -> Output {
        let output = home.command(env!("CARGO_BIN_EXE_onedrive-cli")).args(arguments).output().expect("it runs");
        self.output(&format!("onedrive-cli {}", arguments[0]), &output);
        output
    }
}

/// One GET without a library, so that nothing is followed: the `Location` of the answer.
fn location(url: &str) -> String {
    let rest = url.strip_prefix("http://").expect("the emulator's address");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(host).expect("the emulator answers");
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let line = answer.lines().find(|line| line.to_ascii_lowercase().starts_with("location:")).expect(&answer);
    line.split_once(':').expect("a header").1.trim().to_owned()
}

/// Signs in by pasting, after pasting the answer to another sign-in.
fn sign_in(heard: &mut Heard, home: &Home, service: &Service) -> String {
    let mut child = home
        .command(env!("CARGO_BIN_EXE_onedrive-cli"))
        .args(["auth", "--no-browser"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut said = Vec::new();
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let url = loop {
        let mut line = String::new();
        assert!(output.read_line(&mut line).expect("text") > 0, "no address: {}", String::from_utf8_lossy(&said));
        said.extend_from_slice(line.as_bytes());
        if line.trim().starts_with("http://127") {
            break line.trim().to_owned();
        }
    };
    let answer = if service.side().live {
        // Where the page of the old sign-in leads is an empty one, from which the address is copied.
        let state = url.split("state=").nth(1).and_then(|rest| rest.split('&').next()).expect("a state");
        let live = service.emulator().live();
        let end = live.consent(LiveHandle::CLIENT, LiveHandle::SCOPE, LiveHandle::DESKTOP);
        format!("{end}&state={state}")
    } else {
        location(&url)
    };
    let wrong = answer.replace("state=", "state=another");
    let mut input = child.stdin.take().expect("a pipe");
    write!(input, "{wrong}\n{answer}\n").expect("typed");
    drop(input);
    output.read_to_end(&mut said).expect("text");
    let output = child.wait_with_output().expect("it ends");
    heard.0.push(("standard output of auth".into(), said));
    heard.output("auth", &output);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    answer
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            match fs::symlink_metadata(&path) {
                Ok(facts) if facts.is_dir() => open.push(path),
                Ok(facts) if facts.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    found
}

/// What gives a secret away: itself, and of a URL the part that is the permission.
fn needles(service: &Service) -> Vec<Vec<u8>> {
    let secrets = service.emulator().secrets();
    assert!(secrets.len() > 20, "only {} secrets", secrets.len());
    let permission = |text: &String| match text.split_once("tempauth=") {
        Some((_, permission)) => permission.to_owned(),
        None => text.clone(),
    };
    let plain: Vec<String> = secrets.iter().map(permission).collect();
    // Tokens of the old sign-in have characters in them that forms and addresses write otherwise.
    let escaped = |text: &String| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let escaped: Vec<String> = plain.iter().map(escaped).collect();
    let mut needles: Vec<Vec<u8>> = plain.into_iter().chain(escaped).map(String::into_bytes).collect();
    needles.sort();
    needles.dedup();
    assert!(needles.iter().all(|needle| needle.len() >= 20), "a secret that is short would be found everywhere");
    needles
}

fn holds(text: &[u8], needle: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == needle[0]) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

#[test]
fn no_secret_is_written_anywhere_but_to_its_own_file() {
    search(Side::PERSONAL);
}

#[test]
fn no_secret_of_live_connect_is_written_anywhere_but_to_its_own_file() {
    search(Side::LIVE);
}

fn search(side: Side) {
    require_fuse();
    let service = Service::new(side);
    let home = service.home("upload:\n  debounce: 0s\nlive:\n  put_limit: 1000000\n  bits_fragment: 1 MiB\n");
    let (downloads, fragment, uploads) =
        if side.live { ("/y2m/*", "Fragment", Host::Bits) } else { ("/download*", "PUT", Host::Storage) };
    let token_file = places(&home).token_file();
    fs::remove_file(&token_file).expect("the sign-in of the helper");
    let mut heard = Heard::default();
    heard.cli(&home, &["status"]);
    heard.cli(&home, &["auth", "http://localhost:27419/?code=demo-code-nobody-asked-for-this-one&state=x"]);
    let used = sign_in(&mut heard, &home, &service);
    // The code has been used; and once more after that, when no sign-in is under way.
    assert!(!heard.cli(&home, &["auth", &used]).status.success());
    // The old sign-in has no such thing.
    assert_ne!(heard.cli(&home, &["auth", "--device-code"]).status.success(), side.live);

    let drive = service.drive();
    drive.create_file("/read me", "content".repeat(1000));
    drive.create_file("/large", vec![7; 3 << 20]);
    drive.create_file("/moved", vec![8; 2 << 20]);
    drive.create_file("/gone", vec![9; 2 << 20]);
    let faults = service.emulator().faults();
    let answer = |status, message: &str| Fault::Answer {
        when: When::Before,
        status,
        body: FaultBody::Json { code: "no".into(), inner: None, message: message.into() },
        retry_after: None,
        location: Some("http://127.0.0.1:9/somewhere?tempauth=v1.from-a-redirect-of-the-service".into()),
    };
    let start = || Start::with(["--log-level", EVERYTHING]);
    let mount = start().mount(&home);
    let read = |name: &str| fs::read(mount.path(name));

    assert_eq!(read("read me").expect("readable").len(), 7000);
    for (status, what) in [(401, "expired"), (404, "gone"), (403, "refused"), (302, "moved"), (500, "broken")] {
        let echo = format!("{what}: see https://x.example/?tempauth=v1.from-a-message-of-the-service for more");
        faults.add(Rule::once("GET", downloads, answer(status, &echo)).on(Host::Storage));
    }
    for name in ["large", "moved", "gone"] {
        // Whether a reader outlives all of these is not the question here.
        let _ = read(name);
    }
    // The token is refused, and renewed.
    service.emulator().oauth().expire_access_tokens();
    fs::write(mount.path("small"), "small").expect("a file");
    eventually("a small upload", || drive.read_file("/small").is_some());
    // Sessions that break in every way.
    for (status, what) in [(401, "expired"), (503, "broken"), (404, "gone"), (302, "moved")] {
        let echo = format!("{what}: https://x.example/?tempauth=v1.from-a-message-of-the-service");
        faults.add(Rule::once(fragment, "*", answer(status, &echo)).on(uploads));
    }
    let large: Vec<u8> = (0..6_000_000u32).map(|at| (at % 251) as u8).collect();
    fs::write(mount.path("session"), &large).expect("a file");
    heard.cli(&home, &["queue"]);
    heard.cli(&home, &["status"]);
    eventually("an upload by session", || drive.read_file("/session").as_ref() == Some(&large));
    // An upload that stays open while the daemon dies, so that its address is on the disk.
    let stall = Fault::Stall { when: When::Before, duration: Duration::from_secs(600) };
    let stalled = faults.add(Rule::always(fragment, "*", stall).on(uploads));
    fs::write(mount.path("unfinished"), &large).expect("a file");
    eventually("a session is open", || service.emulator().drive().open_sessions() > 0);
    std::thread::sleep(Duration::from_millis(500));
    heard.cli(&home, &["queue"]);
    let journal = places(&home).state.join("journal");
    let in_journal =
        |needle: &[u8]| files(&journal).iter().any(|path| holds(&fs::read(path).unwrap_or_default(), needle));
    // Of an upload by BITS that is the name of a session, which is good for nothing without a token.
    let address: &[u8] = if side.live { b"session" } else { b"tempauth=v1." };
    assert!(in_journal(address), "the address of an upload under way survives a crash");
    mount.crash();
    let _ = stalled;
    faults.clear();

    let mount = start().mount(&home);
    eventually("the upload goes on", || drive.read_file("/unfinished").as_ref() == Some(&large));
    // The sign-in is withdrawn.
    service.emulator().oauth().revoke_refresh();
    service.emulator().oauth().expire_access_tokens();
    fs::write(mount.path("after the end"), "kept here").expect("still writable");
    eventually("somebody notices", || mount.log().contains("cannot renew the sign-in"));
    heard.cli(&home, &["queue"]);
    heard.cli(&home, &["status"]);
    let log = mount.log();
    assert!(log.contains("TRACE") && log.contains("checkout"), "the log was as talkative as it can be");
    heard.cli(&home, &["unmount", &home.mount_point().display().to_string()]);
    let mut mount = mount;
    mount.wait_for_end();
    // Nobody is there to sign in again, and the sign-in is over.
    let output = home.command(program()).arg(home.mount_point()).output().expect("it runs");
    heard.output("onedrive-mount", &output);
    let _ = onedrive_mount::fuse::unmount::detach(&home.mount_point(), None);

    let stored = fs::read(&token_file).expect("the token file");
    assert!(holds(&stored, b"demo-rt-"), "this test finds what is there");
    let needles = needles(&service);
    let mut leaks = Vec::new();
    for path in files(home.path("").as_path()) {
        if path.starts_with(home.path("mnt")) || path == token_file {
            continue;
        }
        let bytes = fs::read(&path).expect("readable");
        for needle in &needles {
            let upload = !side.live && path.starts_with(&journal) && needle.starts_with(b"v1.");
            if holds(&bytes, needle) && !upload {
                leaks.push(format!("{}: {}", path.display(), String::from_utf8_lossy(needle)));
            }
        }
        if holds(&bytes, b"v1.from-a-") {
            leaks.push(format!("{}: an address that the service echoed", path.display()));
        }
    }
    for (what, bytes) in &heard.0 {
        for needle in needles.iter().filter(|needle| holds(bytes, needle)) {
            leaks.push(format!("{what}: {}", String::from_utf8_lossy(needle)));
        }
    }
    assert!(leaks.is_empty(), "secrets leaked:\n{}", leaks.join("\n"));
    println!(
        "secrets looked for: {}, files: {}, outputs: {}",
        needles.len(),
        files(&home.path("")).len(),
        heard.0.len()
    );
    closed_to_others(&home);
}

/// Every folder of the program has mode 0700, every file 0600.
fn closed_to_others(home: &Home) {
    let places = places(home);
    let mut open = Vec::new();
    for top in [&places.state, &places.cache, &places.runtime] {
        let mut folders = vec![top.clone()];
        while let Some(folder) = folders.pop() {
            let mode = fs::symlink_metadata(&folder).expect("a folder").permissions().mode() & 0o7777;
            if mode != 0o700 {
                open.push(format!("{mode:o} {}", folder.display()));
            }
            for entry in fs::read_dir(&folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                let facts = fs::symlink_metadata(&path).expect("there");
                if facts.is_dir() {
                    folders.push(path);
                } else if facts.permissions().mode() & 0o7777 != 0o600 {
                    open.push(format!("{:o} {}", facts.permissions().mode() & 0o7777, path.display()));
                }
            }
        }
    }
    assert!(open.is_empty(), "open to others:\n{}", open.join("\n"));
}

/// A script that runs the program under test with this file mode mask.
fn with_mask(home: &Home, mask: &str) -> PathBuf {
    let script = home.path(format!("with-umask-{mask}"));
    fs::write(&script, format!("#!/bin/sh\numask {mask}\nexec '{}' \"$@\"\n", program().display())).expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
    script
}

#[test]
fn whatever_the_mask_and_whatever_was_there_others_are_shut_out() {
    require_fuse();
    let service = Service::new(Flavour::PersonalNew);
    service.drive().create_file("/a", vec![1; 500_000]);
    let home = service.home("upload:\n  debounce: 1h\n");
    for mask in ["000", "077", "027"] {
        let mount = Start::with(Vec::<String>::new()).through(with_mask(&home, mask)).mount(&home);
        assert_eq!(fs::read(mount.path("a")).expect("readable").len(), 500_000);
        fs::write(mount.path(format!("draft-{mask}")), "waits here").expect("a file");
        closed_to_others(&home);
        // What waits for its upload would hold up a clean end.
        mount.crash();
        // As a backup brings them back.
        let places = places(&home);
        for top in [&places.state, &places.runtime] {
            let output = Command::new("chmod").args(["-R", "a+rX,g+w"]).arg(top).output().expect("chmod runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        // What is cached lies behind two closed folders; it may be much, and is not walked through at every start.
        for folder in [&places.cache, &places.chunks_folder()] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("ours");
        }
    }
}

#[test]
fn a_folder_of_everybody_is_refused_with_a_sentence() {
    require_fuse();
    let service = Service::new(Flavour::PersonalNew);
    let home = service.home("");
    let shared = home.path("everybody");
    fs::create_dir(&shared).expect("a folder");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).expect("ours");
    let refused = Start::with(["--cache-dir".into(), shared.clone().into_os_string()]).try_mount(&home);
    let refused = refused.err().expect("refused");
    assert!(refused.log.contains("other users may enter this folder"), "{}", refused.log);
    assert_eq!(refused.status.code(), Some(32), "{}", refused.log);
    assert_eq!(fs::metadata(&shared).expect("there").permissions().mode() & 0o7777, 0o1777);
}

/// The number of nobody, everywhere.
const NOBODY: u32 = 65534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command as somebody else, with a copy of the program that they can reach.
fn as_nobody(home: &Home, program: &Path) -> Command {
    for folder in [home.path(""), home.path("run"), home.path("config")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("ours");
    }
    let copy = home.path(program.file_name().expect("a name"));
    fs::copy(program, &copy).expect("copied");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("ours");
    let mut command = home.command("setpriv");
    command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".into()]).arg(copy);
    command
}

#[test]
fn the_control_socket_answers_its_owner_only() {
    require_fuse();
    if !is_root() {
        println!("only root can be two users; the check of the peer is not tried");
        return;
    }
    let service = Service::new(Flavour::PersonalNew);
    let home = service.home("upload:\n  debounce: 1h\n");
    let mount = service.mount(&home);
    fs::write(mount.path("confidential"), "x").expect("a file");
    let cli = Path::new(env!("CARGO_BIN_EXE_onedrive-cli"));
    let queue = as_nobody(&home, cli).arg("queue").output().expect("it runs");
    let text = String::from_utf8_lossy(&queue.stdout).into_owned() + &String::from_utf8_lossy(&queue.stderr);
    assert!(!queue.status.success() && !text.contains("confidential"), "{text}");
    // With every door open the daemon itself says no.
    let socket = places(&home).control_sockets().remove(0);
    for (path, mode) in [(socket.parent().expect("a folder"), 0o755), (&*socket, 0o666)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    }
    for command in ["queue", "status"] {
        let output = as_nobody(&home, cli).arg(command).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && !text.contains("confidential"), "{text}");
    }
    let stopped = as_nobody(&home, cli).args(["unmount", &home.mount_point().display().to_string()]).output();
    assert!(!stopped.expect("it runs").status.success());
    assert!(mount.path("confidential").exists(), "nobody stopped it");
    let own = home.command(cli).arg("queue").output().expect("it runs");
    assert!(String::from_utf8_lossy(&own.stdout).contains("confidential"), "its owner is heard");
}

#[test]
fn the_memory_of_the_daemon_is_its_own() {
    require_fuse();
    let service = Service::new(Flavour::PersonalNew);
    let home = service.home("");
    let mount = service.mount(&home);
    let text = fs::read_to_string(format!("/proc/{}/limits", mount.process())).expect("a process");
    let core = text.lines().find(|line| line.starts_with("Max core file size")).expect("a limit").to_owned();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    drop(mount);
    if !is_root() {
        println!("only root can be two users; who may look at the memory is not tried");
        return;
    }
    let state = home.path("of-nobody");
    fs::create_dir(&state).expect("a folder");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).expect("ours");
    // What a process may not dump belongs to root in /proc, whoever runs it.
    for (closed, arguments) in [(true, &["auth", "--no-browser"][..]), (false, &["emulator"][..])] {
        let mut child = as_nobody(&home, Path::new(env!("CARGO_BIN_EXE_onedrive-cli")))
            .args(arguments)
            .env("XDG_STATE_HOME", &state)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("it says something");
        let owner = fs::metadata(format!("/proc/{}/environ", child.id())).expect("a process").uid();
        child.kill().expect("ours");
        child.wait().expect("it ends");
        assert_eq!(owner, if closed { 0 } else { NOBODY }, "{arguments:?}: {line}");
    }
}
