//! Signing in with `onedrive-cli auth`, as a person and as a script do it.

use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use onedrive_mount::emulator::Flavour;

use crate::world::mount::Mount;
use crate::world::service::places;
use crate::world::shell::Shell;

/// Where a browser would end up after the person has said yes on the page of this address.
pub fn follow(address: &str) -> String {
    let rest = address.strip_prefix("http://").expect("plain http on this machine");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(host).expect("the service");
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let location =
        answer.lines().find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("location")));
    location.unwrap_or_else(|| panic!("no redirect: {answer}")).1.trim().to_owned()
}

/// Prints the address to sign in at; the sign-in is then under way.
pub fn begin(shell: &Shell) -> String {
    let output = shell.output(&["auth", "--no-browser"]);
    assert_eq!(output.status.code(), Some(10), "nobody answers, so it waits for the address");
    let text = String::from_utf8(output.stdout).expect("text");
    let address = text.split_whitespace().find(|word| word.starts_with("http://") && word.contains("authorize"));
    address.unwrap_or_else(|| panic!("no address in: {text}")).to_owned()
}

fn signed_out() -> Shell {
    let shell = Shell::new(Flavour::PersonalNew);
    shell.service.emulator().oauth().set_auto_approve(true);
    fs::remove_file(places(&shell.home).token_file()).expect("removed");
    shell.fails(10, &["quota"]);
    shell
}

#[test]
fn with_the_address_as_an_argument() {
    let shell = signed_out();
    let end = follow(&begin(&shell));
    let said = shell.ok(&["auth", &end]);
    assert!(said.starts_with("Signed in."), "{said}");
    assert!(said.contains("It is the OneDrive of Ada Example"), "{said}");
    shell.ok(&["quota"]);
    // The code is used up, and nothing is under way any more.
    let said = shell.fails(11, &["auth", &end]);
    assert!(said.contains("no sign-in under way"), "{said}");
}

#[test]
fn with_the_answer_behind_a_hash() {
    let shell = signed_out();
    let end = follow(&begin(&shell)).replacen('?', "#", 1);
    shell.ok(&["auth", &end]);
    shell.ok(&["quota"]);
}

/// Starts a sign-in that is typed, waits for its address, and types what `answer` makes of it. What it printed, and how
/// it ended.
fn typed(shell: &Shell, arguments: &[&str], answer: impl Fn(&str) -> String) -> (Output, String) {
    let aside = arguments.contains(&"--json");
    let mut child = shell
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut talk: Box<dyn BufRead> = if aside {
        Box::new(BufReader::new(child.stderr.take().expect("a pipe")))
    } else {
        Box::new(BufReader::new(child.stdout.take().expect("a pipe")))
    };
    let mut said = String::new();
    let address = loop {
        let before = said.len();
        assert!(talk.read_line(&mut said).expect("readable") > 0, "it ended without an address: {said}");
        let word =
            said[before..].split_whitespace().find(|word| word.starts_with("http://") && word.contains("authorize"));
        if let Some(word) = word {
            break word.to_owned();
        }
    };
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(answer(&address).as_bytes()).expect("typed");
    // It goes on as soon as the line is there, and not only at the end of all input.
    let begun = Instant::now();
    while child.try_wait().expect("looked at").is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it waits for more: {said}");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(stdin);
    talk.read_to_string(&mut said).expect("readable");
    (child.wait_with_output().expect("ended"), said)
}

#[test]
fn with_the_address_typed_at_the_prompt() {
    let shell = signed_out();
    // A slip is forgiven, and asked about.
    let (output, said) = typed(&shell, &["auth", "--no-browser"], |address| format!("nonsense\n{}\n", follow(address)));
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("is not the address") && said.contains("Signed in. The tokens are in "), "{said}");
    shell.ok(&["quota"]);
    // For a program, the result is an object, and the talk is elsewhere.
    let (output, said) = typed(&shell, &["--json", "auth", "--no-browser"], |address| format!("{}\n", follow(address)));
    assert!(output.status.success(), "{said}");
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(result["signed_in"], true);
    assert_eq!(result["tokens"], places(&shell.home).token_file().to_str().expect("text"));
    shell.ok(&["quota"]);
}

#[test]
fn with_the_address_typed() {
    let shell = signed_out();
    let address = begin(&shell);
    // A person sees the address first; here the answer of an earlier one is a slip that is forgiven.
    let output = shell.fed(&["auth", "--no-browser"], format!("nonsense\n{}\n", follow(&address)).as_bytes());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(10), "{text}");
    assert!(text.contains("is not the address") && text.contains("belongs to another sign-in"), "{text}");
    shell.fails(10, &["quota"]);
}

#[test]
fn a_refusal_is_told_in_the_services_words() {
    let shell = signed_out();
    let address = begin(&shell);
    let state = address.split("state=").nth(1).and_then(|rest| rest.split('&').next()).expect("a state");
    let end = format!("http://localhost:27419/?error=access_denied&error_description=The+person+said+no&state={state}");
    let said = shell.fails(11, &["auth", &end]);
    assert!(said.contains("The person said no (access_denied)"), "{said}");
    shell.fails(10, &["quota"]);
}

#[test]
fn a_new_sign_in_takes_the_place_of_the_old_one() {
    let shell = Shell::new(Flavour::PersonalNew);
    shell.service.emulator().oauth().set_auto_approve(true);
    let file = places(&shell.home).token_file();
    let before = fs::read_to_string(&file).expect("tokens");
    let owner = shell.ok(&["-k", "name", "user"]);
    let other = shell.service.emulator().add_account(7, "Other Person");
    other.create_file("/theirs.txt", b"x".to_vec());
    shell.service.emulator().oauth().sign_in_as(&other);
    assert_eq!(shell.ok(&["-k", "name", "user"]), owner, "nobody has signed in anew yet");
    let end = follow(&begin(&shell));
    // Seen at once.
    let said = shell.ok(&["auth", &end]);
    assert!(said.contains("It is the OneDrive of Other Person"), "{said}");
    let after = fs::read_to_string(&file).expect("tokens");
    assert_ne!(before, after);
    // Had the old refresh token been used instead of the code, the account would still be the old one.
    for _ in 0..2 {
        assert_eq!(shell.ok(&["-k", "name", "user"]), "Other Person\n");
        assert_eq!(shell.ok(&["ls"]), "- theirs.txt\n");
        shell.service.emulator().oauth().expire_access_tokens();
        shell.ok(&["auth_refresh"]);
    }
}

#[test]
fn a_refresh_is_stored_and_says_what_was_granted() {
    let shell = Shell::new(Flavour::PersonalNew);
    let file = places(&shell.home).token_file();
    let before = fs::read_to_string(&file).expect("tokens");
    assert_eq!(shell.ok(&["auth_refresh"]), "");
    assert_ne!(before, fs::read_to_string(&file).expect("tokens"));
    let granted = shell.json(&["auth-refresh"]);
    assert!(granted["scope_granted"].as_array().is_some_and(|scopes| !scopes.is_empty()), "{granted}");
    shell.service.emulator().oauth().revoke_refresh();
    let said = shell.fails(10, &["auth_refresh"]);
    assert!(said.contains("onedrive-cli auth"), "{said}");
}

#[test]
fn a_token_file_that_others_can_read_is_closed() {
    use std::os::unix::fs::PermissionsExt as _;
    let shell = Shell::new(Flavour::PersonalNew);
    let file = places(&shell.home).token_file();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("opened");
    shell.ok(&["quota"]);
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_mount_and_a_command_share_the_sign_in() {
    let shell = Shell::new(Flavour::PersonalNew);
    shell.stock();
    let mount = shell.service.mount(&shell.home);
    share_the_sign_in(&shell, &mount, &[]);
}

/// Each spends the refresh token of the other, and neither signs the other out. `settings` leads to those of the mount.
pub fn share_the_sign_in(shell: &Shell, mount: &Mount, settings: &[&str]) {
    let ok = |arguments: &[&str]| shell.ok(&[settings, arguments].concat());
    assert_eq!(fs::read(mount.path("Documents/notes.txt")).expect("readable"), b"twelve bytes");
    for round in 0..3 {
        shell.service.emulator().oauth().expire_access_tokens();
        ok(&["auth_refresh"]);
        shell.file("new", format!("round {round}").as_bytes());
        ok(&["put", "--name", &format!("{round}.txt"), "new"]);
        shell.service.emulator().oauth().expire_access_tokens();
        fs::write(mount.path(format!("mounted {round}.txt")), "x").expect("written");
        ok(&["wait", "--timeout", "120s"]);
    }
    assert_eq!(ok(&["cat", "mounted 2.txt"]), "x");
    let begun = std::time::Instant::now();
    while fs::read(mount.path("2.txt")).ok().as_deref() != Some(b"round 2") {
        assert!(begun.elapsed().as_secs() < 60, "the mount does not see what the command sent");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
