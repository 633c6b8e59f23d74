//! Transfers of `onedrive-cli` that are broken off, changed on the way, or meet what is hostile.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use onedrive_mount::emulator::{Fault, Flavour, Host, Rule, When};

use crate::world::shell::{Shell, address_fault, pattern};

const UNIT: usize = 320 * 1024;

/// Bytes of upload fragments that arrived at the storage host.
fn sent(shell: &Shell) -> u64 {
    let requests = shell.service.emulator().requests();
    requests.iter().filter(|request| request.method == "PUT" && request.host == Host::Storage).map(|r| r.bytes_in).sum()
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_was() {
    cut_download(&Shell::new(Flavour::Business));
}

pub fn cut_download(shell: &Shell) {
    let content = pattern(3_000_000);
    shell.service.drive().create_file("/large.bin", content.clone());
    let faults = shell.service.emulator().faults();
    for reset in [false, true, false] {
        let cut = Fault::CutDownload { after: 700_000, reset };
        faults.add(Rule::once("GET", "*", cut).on(Host::Storage));
    }
    shell.ok(&["get", "large.bin", "large.bin"]);
    assert_eq!(fs::read(shell.home.path("large.bin")).expect("there"), content);
    // A reset takes bytes with it that were still on the way.
    let starts = shell.starts();
    assert!(starts.len() == 4 && starts.is_sorted() && starts[..2] == [0, 700_000], "{starts:?}");
}

#[test]
fn a_download_that_was_given_up_goes_on_at_the_next_try() {
    given_up_download(&Shell::new(Flavour::Business));
}

pub fn given_up_download(shell: &Shell) {
    let content = pattern(3_000_000);
    shell.service.drive().create_file("/large.bin", content.clone());
    shell.file("large.bin", b"the old one");
    let faults = shell.service.emulator().faults();
    faults.add(Rule::once("GET", "*", Fault::CutDownload { after: 2_000_000, reset: false }).on(Host::Storage));
    let refuse =
        faults.add(Rule::always("GET", "*", Fault::status(When::Before, 403, "accessDenied")).on(Host::Storage));
    let error = shell.output(&["get", "large.bin", "large.bin"]);
    assert!(!error.status.success());
    assert_eq!(fs::read(shell.home.path("large.bin")).expect("there"), b"the old one", "replaced whole or not at all");
    faults.remove(refuse);
    shell.service.emulator().forget_requests();
    shell.ok(&["get", "large.bin", "large.bin"]);
    assert_eq!(fs::read(shell.home.path("large.bin")).expect("there"), content);
    assert_eq!(shell.starts(), [2_000_000]);
    let left = fs::read_dir(shell.home.path("")).expect("a folder").flatten();
    assert!(!left.into_iter().any(|entry| entry.file_name().to_string_lossy().ends_with(".part")));
}

#[test]
fn a_part_that_suffered_is_fetched_again() {
    let shell = Shell::new(Flavour::Business);
    let content = pattern(3_000_000);
    shell.service.drive().create_file("/f.bin", content.clone());
    let faults = shell.service.emulator().faults();
    faults.add(Rule::once("GET", "*", Fault::CutDownload { after: 2_000_000, reset: false }).on(Host::Storage));
    let refuse =
        faults.add(Rule::always("GET", "*", Fault::status(When::Before, 403, "accessDenied")).on(Host::Storage));
    shell.output(&["get", "f.bin", "f.bin"]);
    faults.remove(refuse);
    let part = fs::read_dir(shell.home.path("")).expect("a folder").flatten().map(|entry| entry.path());
    let part = part.into_iter().find(|path| path.extension().is_some_and(|e| e == "part")).expect("a part is left");
    let size = fs::metadata(&part).expect("there").len() as usize;
    assert!(size > 0);
    // A power cut leaves zeros where nothing had been written yet.
    fs::write(&part, vec![0; size]).expect("written");
    shell.ok(&["get", "f.bin", "f.bin"]);
    assert_eq!(fs::read(shell.home.path("f.bin")).expect("there"), content);
}

#[test]
fn a_file_that_is_replaced_keeps_its_mode_and_a_link_its_target() {
    let shell = Shell::new(Flavour::Business);
    shell.service.drive().create_file("/f", b"new".to_vec());
    let real = shell.file("real", b"old");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).expect("changed");
    std::os::unix::fs::symlink(&real, shell.home.path("link")).expect("a link");
    shell.ok(&["get", "f", "link"]);
    assert!(shell.home.path("link").is_symlink());
    assert_eq!(fs::read(&real).expect("there"), b"new");
    assert_eq!(fs::metadata(&real).expect("there").permissions().mode() & 0o777, 0o640);
    shell.ok(&["get", "f", "/dev/null"]);
    assert!(!fs::metadata("/dev/null").expect("there").is_file());
    let denied = shell.fails(48, &["get", "f", "real/below"]);
    assert!(denied.contains("real"), "{denied}");
}

#[test]
fn an_upload_that_is_cut_goes_on_where_it_was() {
    let shell = Shell::with(Flavour::Business, "upload:\n  fragment_size: 320 KiB\n");
    let content = pattern(UNIT * 20);
    shell.file("large.bin", &content);
    let faults = shell.service.emulator().faults();
    for (skip, when) in [(3, When::Before), (7, When::After), (11, When::Before)] {
        faults.add(Rule::once("PUT", "*", Fault::Reset { when }).on(Host::Storage).skip(skip));
    }
    shell.ok(&["put", "large.bin"]);
    assert_eq!(shell.service.drive().read_file("/large.bin").expect("there"), content);
    assert!(sent(&shell) <= (content.len() + 3 * UNIT) as u64, "{} bytes were sent", sent(&shell));
}

#[test]
fn an_upload_that_was_killed_goes_on_at_the_next_try() {
    let shell = Shell::with(Flavour::Business, "upload:\n  fragment_size: 320 KiB\n");
    let content = pattern(UNIT * 20);
    let path = shell.file("large.bin", &content);
    let faults = shell.service.emulator().faults();
    let stall = Fault::Stall { when: When::Before, duration: Duration::from_secs(600) };
    let stall = faults.add(Rule::always("PUT", "*", stall).on(Host::Storage).skip(9));
    let mut child = shell.command(&["put", "large.bin"]).stderr(Stdio::null()).spawn().expect("starts");
    shell.until_struck(stall, Duration::from_secs(120));
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert_eq!(shell.service.drive().read_file("/large.bin"), None);
    faults.remove(stall);
    shell.service.emulator().forget_requests();
    shell.service.emulator().oauth().expire_access_tokens();
    shell.ok(&["put", "large.bin"]);
    assert_eq!(shell.service.drive().read_file("/large.bin").expect("there"), content);
    assert!(sent(&shell) <= 12 * UNIT as u64, "{} bytes were sent again", sent(&shell));
    let kept = fs::read_dir(shell.home.path("state/onedrive-mount/default/uploads")).expect("a folder").count();
    assert_eq!(kept, 0, "a finished upload is forgotten");
    // And one of a file that has changed meanwhile starts anew.
    fs::write(&path, pattern(UNIT * 3)).expect("written");
    shell.ok(&["put", "large.bin"]);
    assert_eq!(shell.service.drive().read_file("/large.bin").expect("there").len(), UNIT * 3);
}

#[test]
fn what_somebody_else_wrote_meanwhile_is_replaced_knowingly() {
    let shell = Shell::new(Flavour::Business);
    shell.file("f", b"mine");
    let faults = shell.service.emulator().faults();
    // The service has it, the answer is lost.
    faults.add(Rule::once("PUT", "*", Fault::Reset { when: When::After }));
    shell.ok(&["put", "f"]);
    assert_eq!(shell.service.drive().read_file("/f").expect("there"), b"mine");
    let refused = shell.fails(41, &["put", "-n", "f"]);
    assert!(refused.contains("already"), "{refused}");
}

#[test]
fn an_empty_file_and_names_with_every_character() {
    let shell = Shell::new(Flavour::PersonalNew);
    shell.file("empty", b"");
    shell.ok(&["put", "-b", "empty"]);
    assert_eq!(shell.service.drive().read_file("/empty").expect("there"), b"");
    for name in ["100% #1 & more.txt", "über été 😀.txt", "a+b=c;d,e.txt", "it's.txt", "%41.txt"] {
        shell.file(&format!("in/{name}"), name.as_bytes());
    }
    shell.ok(&["put", "-b", "-r", "in"]);
    shell.ok(&["get", "-r", "in", "out"]);
    for entry in fs::read_dir(shell.home.path("in")).expect("a folder").flatten() {
        let name = entry.file_name().into_string().expect("text");
        assert_eq!(shell.service.drive().read_file(&format!("/in/{name}")).expect(&name), name.as_bytes());
        assert_eq!(fs::read(shell.home.path("out").join(&name)).expect(&name), name.as_bytes());
        assert_eq!(shell.ok(&["cat", &format!("in/{name}")]), name);
    }
}

#[test]
fn times_go_both_ways_and_a_second_run_sends_nothing() {
    let shell = Shell::new(Flavour::PersonalNew);
    let path = shell.file("in/a/b.txt", b"x");
    let then = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_400_000_000);
    fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(then)).expect("a time");
    shell.ok(&["put", "-r", "in"]);
    shell.ok(&["get", "in/a/b.txt", "back.txt"]);
    assert_eq!(fs::metadata(shell.home.path("back.txt")).and_then(|m| m.modified()).expect("a time"), then);
    let again = shell.output(&["put", "-r", "in"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("0 files sent, 1 file already there"));
    shell.ok(&["get", "-r", "in", "out"]);
    let again = shell.output(&["get", "-r", "in", "out"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("0 files fetched, 1 file already here"));
}

#[test]
fn of_a_folder_all_that_can_be_done_is_done() {
    let shell = Shell::new(Flavour::PersonalNew);
    shell.file("in/good.txt", b"x");
    shell.file("in/con<.txt", b"x");
    std::os::unix::fs::symlink("good.txt", shell.home.path("in/link")).expect("a link");
    let said = shell.fails(50, &["put", "-r", "in"]);
    assert!(said.contains("con<.txt") && said.contains("link is neither file nor folder"), "{said}");
    assert_eq!(shell.service.drive().read_file("/in/good.txt").expect("there"), b"x");
    assert_eq!(shell.service.drive().read_file("/in/link"), None, "links are not followed");
}

#[test]
fn a_service_that_cannot_be_reached_is_told_soon() {
    let shell = Shell::new(Flavour::PersonalNew);
    shell.stock();
    shell.service.emulator().set_online(false);
    let said = shell.fails(12, &["ls"]);
    assert!(said.starts_with("error: "), "{said}");
}

#[test]
fn the_secret_token_is_never_in_an_address() {
    let shell = Shell::new(Flavour::PersonalNew);
    shell.stock();
    shell.file("large.bin", &pattern(5 << 20));
    for command in [&["tree"][..], &["get", "Documents/notes.txt"], &["put", "large.bin"], &["quota"]] {
        shell.ok(command);
    }
    shell.service.emulator().oauth().expire_access_tokens();
    shell.ok(&["quota"]);
    shell.check_addresses();
}

#[test]
fn a_token_in_an_address_would_be_seen() {
    use std::io::{Read as _, Write as _};
    let shell = Shell::new(Flavour::PersonalNew);
    let token = shell.service.emulator().oauth().issue_tokens().access;
    let origin = shell.service.emulator().endpoints().graph;
    let host = origin.trim_start_matches("http://").trim_end_matches('/');
    let half = token.split_at(token.len() / 2);
    let escaped = format!("{}%{:02x}{}", half.0, half.1.as_bytes()[0], &half.1[1..]);
    for (path, fault) in [
        ("/v1.0/me/drive?".to_owned(), "a question mark with nothing behind it"),
        (format!("/v1.0/me/drive?t={token}"), "a token in a query"),
        (format!("/v1.0/me/drive?t={escaped}"), "a token in a query"),
        ("/v1.0/me/drive?access_token=x".to_owned(), "a token in a query"),
        (format!("/v1.0/me/drive/items/{token}"), "a token in an address"),
    ] {
        shell.service.emulator().forget_requests();
        let mut stream = std::net::TcpStream::connect(host).expect("the service");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("asked");
        stream.read_to_string(&mut String::new()).expect("answered");
        let requests = shell.service.emulator().requests();
        assert_eq!(requests.iter().map(|request| request.path.as_str()).collect::<Vec<_>>(), [path.as_str()]);
        assert_eq!(address_fault(&path, std::slice::from_ref(&token)), Some(fault), "{path}");
    }
    assert_eq!(address_fault("/v1.0/me/drive?$select=id", &[token]), None);
}

#[test]
fn a_file_that_changes_while_it_is_fetched_is_left_alone() {
    let shell = Shell::new(Flavour::Business);
    shell.service.drive().create_file("/f.bin", pattern(4_000_000));
    shell.file("f.bin", b"the old one");
    let faults = shell.service.emulator().faults();
    faults.add(Rule::once("GET", "*", Fault::CutDownload { after: 2_000_000, reset: false }).on(Host::Storage));
    let pause = Fault::Stall { when: When::Before, duration: Duration::from_secs(3) };
    let pause = faults.add(Rule::once("GET", "*", pause).on(Host::Storage));
    let child = shell.command(&["get", "f.bin", "f.bin"]).stderr(Stdio::piped()).spawn().expect("starts");
    shell.until_struck(pause, Duration::from_secs(120));
    shell.service.drive().write_file("/f.bin", pattern(4_000_001));
    let output = child.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(46), "{said}");
    assert_eq!(fs::read(shell.home.path("f.bin")).expect("there"), b"the old one");
    shell.ok(&["get", "f.bin", "f.bin"]);
    assert_eq!(fs::read(shell.home.path("f.bin")).expect("there"), pattern(4_000_001));
}

#[test]
fn a_local_file_that_changes_while_it_is_sent_replaces_nothing() {
    let shell = Shell::with(Flavour::Business, "upload:\n  fragment_size: 320 KiB\n");
    changed_while_sent(&shell, UNIT, "PUT", Host::Storage);
}

/// A file of twenty fragments, which go to this host.
pub fn changed_while_sent(shell: &Shell, fragment: usize, method: &str, host: Host) {
    shell.service.drive().create_file("/f.bin", b"the old one".to_vec());
    let path = shell.file("f.bin", &pattern(fragment * 20));
    let faults = shell.service.emulator().faults();
    let pause = Fault::Stall { when: When::Before, duration: Duration::from_secs(3) };
    let pause = faults.add(Rule::once(method, "*", pause).on(host).skip(2));
    let child = shell.command(&["put", "f.bin"]).stderr(Stdio::piped()).spawn().expect("starts");
    shell.until_struck(pause, Duration::from_secs(120));
    fs::write(&path, pattern(fragment * 21)).expect("written");
    let output = child.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(46) && said.contains("nothing was changed in the cloud"), "{said}");
    assert_eq!(shell.service.drive().read_file("/f.bin").expect("there"), b"the old one");
    assert_eq!(shell.service.emulator().drive().open_sessions(), 0, "the session is given up");
}

/// Runs a command on a terminal of its own; everything that it writes there.
pub fn on_a_terminal(shell: &Shell, arguments: &[&str]) -> String {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).expect("granted");
    unlockpt(&master).expect("unlocked");
    let name = ptsname(&master, Vec::new()).expect("a name").into_string().expect("text");
    let open = || fs::File::options().read(true).write(true).open(&name).expect("the other end");
    let mut child =
        shell.command(arguments).env("TERM", "xterm").stdout(open()).stderr(open()).spawn().expect("starts");
    let mut reader = fs::File::from(master);
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    // Ends with an error when nobody has the other end open any more.
    while let Ok(count) = std::io::Read::read(&mut reader, &mut buffer) {
        said.extend_from_slice(&buffer[..count]);
    }
    child.wait().expect("ended");
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn a_name_cannot_steer_a_terminal_and_is_itself_in_a_pipe() {
    let shell = Shell::new(Flavour::PersonalNew);
    let name = "evil\u{202e}gpj.exe";
    shell.service.drive().create_file(&format!("/{name}"), b"x".to_vec());
    shell.service.drive().create_file("/\u{85}next", b"x".to_vec());
    for command in [&["ls"][..], &["tree"], &["-k", "name", "ls", "-o"], &["find"], &["info", name]] {
        let said = on_a_terminal(&shell, command);
        assert!(said.contains("evil\\u{202e}gpj.exe"), "{command:?}: {said:?}");
        assert!(!said.contains(['\u{202e}', '\u{85}']), "{command:?}: {said:?}");
        assert!(shell.ok(command).contains(name), "{command:?}");
    }
    let said = shell.fails(41, &["mkdir", name]);
    assert!(!said.contains('\u{202e}'), "errors are for people: {said:?}");
}

#[test]
fn bars_on_a_terminal_and_nothing_when_quiet() {
    let shell = Shell::new(Flavour::PersonalNew);
    shell.service.drive().create_generated("/f.bin", 1, 3 << 20);
    let said = on_a_terminal(&shell, &["get", "f.bin", "f.bin"]);
    assert!(said.contains("of 3.00 MiB") && said.contains("\u{1b}["), "{said:?}");
    assert_eq!(on_a_terminal(&shell, &["--quiet", "get", "f.bin", "f.bin"]), "");
    assert_eq!(on_a_terminal(&shell, &["put", "-q", "f.bin"]), "");
}

#[test]
fn parts_of_an_older_version_do_not_stay() {
    let shell = Shell::new(Flavour::Business);
    shell.service.drive().create_file("/f.bin", pattern(3_000_000));
    let faults = shell.service.emulator().faults();
    faults.add(Rule::once("GET", "*", Fault::CutDownload { after: 2_000_000, reset: false }).on(Host::Storage));
    let refuse =
        faults.add(Rule::always("GET", "*", Fault::status(When::Before, 403, "accessDenied")).on(Host::Storage));
    shell.output(&["get", "f.bin", "f.bin"]);
    faults.remove(refuse);
    let parts = || -> Vec<_> {
        let entries = fs::read_dir(shell.home.path("")).expect("a folder").flatten().map(|entry| entry.file_name());
        entries.filter(|name| name.to_string_lossy().ends_with(".part")).collect()
    };
    assert_eq!(parts().len(), 1, "a part is left");
    shell.service.drive().write_file("/f.bin", pattern(1_000_000));
    shell.ok(&["get", "f.bin", "f.bin"]);
    assert_eq!(fs::read(shell.home.path("f.bin")).expect("there"), pattern(1_000_000));
    assert_eq!(parts(), Vec::<std::ffi::OsString>::new());
}
