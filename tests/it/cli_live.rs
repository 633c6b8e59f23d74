//! `onedrive-cli` on the old protocol, Live v5.0 with BITS: the same commands as on Graph, whole, and what only it has.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use onedrive_mount::emulator::{Course, Fault, Host, LiveHandle, RequestRecord, Rule, When};

use crate::cli_cloud;
use crate::world::generated;
use crate::world::shell::{Shell, pattern};

const MIB: usize = 1 << 20;

#[test]
fn looking_around() {
    cli_cloud::looking(&Shell::live(""), "cli-looking-live.txt");
}

#[test]
fn changing_things() {
    cli_cloud::changing(&Shell::live(""), "cli-changing-live.txt");
}

#[test]
fn content_both_ways() {
    cli_cloud::content(&Shell::live(""), "cli-content-live.txt");
}

#[test]
fn beyond_a_file_system() {
    cli_cloud::beyond(&Shell::live(""), "cli-beyond-live.txt");
}

/// BITS packets by name.
fn packets(shell: &Shell) -> Vec<RequestRecord> {
    shell.service.emulator().requests().into_iter().filter(|request| request.host == Host::Bits).collect()
}

fn names(shell: &Shell) -> Vec<String> {
    packets(shell).into_iter().map(|packet| packet.method).collect()
}

/// Bytes of fragments that arrived.
fn sent(shell: &Shell) -> u64 {
    packets(shell).iter().filter(|packet| packet.method == "Fragment").map(|packet| packet.bytes_in).sum()
}

#[test]
fn what_put_decides() {
    let shell = Shell::live("live:\n  put_limit: 1 MiB\n");
    let requests = |arguments: &[&str]| {
        shell.service.emulator().forget_requests();
        shell.ok(arguments);
        names(&shell)
    };
    for (size, by_bits) in [(0, false), (MIB - 1, false), (MIB, true), (MIB + 1, true)] {
        let content = pattern(size);
        shell.file("f.bin", &content);
        let packets = requests(&["put", "f.bin"]);
        assert_eq!(!packets.is_empty(), by_bits, "{size}: {packets:?}");
        assert_eq!(shell.service.drive().read_file("/f.bin").expect("there"), content);
        shell.ok(&["rm", "f.bin"]);
    }
    shell.file("small.bin", b"abcdefghij");
    let whole = ["Create-Session", "Fragment", "Close-Session"];
    assert_eq!(requests(&["put", "-b", "small.bin"]), whole);
    assert_eq!(requests(&["put", "-b", "--bits-frag-bytes", "0", "small.bin"]), whole, "0 counts as not given");
    let sizes = || -> Vec<u64> {
        packets(&shell).iter().filter(|packet| packet.method == "Fragment").map(|packet| packet.bytes_in).collect()
    };
    requests(&["put", "-b", "--bits-frag-bytes", "4", "small.bin"]);
    assert_eq!(sizes(), [4, 4, 2]);
    requests(&["put", "-b", "--bits-frag-bytes", "5", "small.bin"]);
    assert_eq!(sizes(), [5, 5], "no fragment of nothing after an exact multiple");
    // An empty file cannot go by BITS, and does not.
    shell.file("empty", b"");
    assert_eq!(requests(&["put", "-b", "empty"]), Vec::<String>::new());
    assert_eq!(shell.service.drive().read_file("/empty").expect("there"), b"");
    // Without overwriting, also by BITS, which could not refuse by itself.
    for arguments in [&["put", "-n", "small.bin"][..], &["put", "-n", "-b", "small.bin"]] {
        shell.fails(41, arguments);
    }
    // A name with everything in it, by both ways.
    for name in ["100% #1 & more?.txt", "über été 😀.txt", "a+b=c;d,e.txt"] {
        let name = name.replace('?', "");
        shell.file(&name, name.as_bytes());
        for way in [&["put"][..], &["put", "-b"]] {
            shell.ok(&[way, &[name.as_str()]].concat());
            assert_eq!(shell.service.drive().read_file(&format!("/{name}")).expect(&name), name.as_bytes());
        }
    }
}

#[test]
fn pictures_are_never_shrunk() {
    let shell = Shell::live("");
    let picture = [&[0xff, 0xd8, 0xff, 0xe0][..], &pattern(20_000)].concat();
    shell.file("pier.jpg", &picture);
    for arguments in [&["put", "pier.jpg"][..], &["put", "-d", "pier.jpg"], &["put", "-b", "pier.jpg"]] {
        shell.ok(arguments);
        assert_eq!(shell.service.drive().read_file("/pier.jpg").expect("there"), picture, "{arguments:?}");
    }
}

#[test]
fn the_sign_in_is_renewed_before_the_commit_only_when_asked() {
    let shell = Shell::live("");
    shell.file("f.bin", b"something");
    let renewals = |arguments: &[&str]| {
        shell.service.emulator().forget_requests();
        shell.ok(arguments);
        let requests = shell.service.emulator().requests();
        let order: Vec<String> = requests
            .iter()
            .filter(|request| request.path.contains("oauth20_token") || request.host == Host::Bits)
            .map(|request| if request.host == Host::Bits { request.method.clone() } else { "renewal".to_owned() })
            .collect();
        order
    };
    assert_eq!(renewals(&["put", "-b", "f.bin"]), ["Create-Session", "Fragment", "Close-Session"]);
    assert_eq!(
        renewals(&["put", "-b", "--bits-do-auth-refresh-before-commit-hack", "f.bin"]),
        ["Create-Session", "Fragment", "renewal", "Close-Session"]
    );
}

/// The size of the file of [`a_large_file_that_is_cut_three_times_arrives_whole`], and of its fragments.
/// `LIVE_MEGABYTES=300` takes a file of that size, here and through a mount.
fn large() -> (usize, usize) {
    match generated::asked::<u32>("LIVE_MEGABYTES") {
        Some(megabytes) => (usize::try_from(megabytes).expect("it fits") * 1_000_000, 10 * MIB),
        None => (24 * MIB, MIB),
    }
}

#[test]
fn a_large_file_that_is_cut_three_times_arrives_whole() {
    let (size, fragment) = large();
    let shell = Shell::live(&format!("live:\n  put_limit: 8 MiB\n  bits_fragment: {fragment}\n"));
    let content = pattern(size);
    shell.file("large.bin", &content);
    let faults = shell.service.emulator().faults();
    let fragments = size.div_ceil(fragment) as u64;
    // The connection breaks; the service has the fragment, and nobody knows it.
    faults.add(Rule::once("Fragment", "*", Fault::Reset { when: When::After }).on(Host::Bits).skip(fragments / 5));
    // The program is killed while a fragment is on its way.
    let stall = Fault::Stall { when: When::Before, duration: Duration::from_secs(600) };
    let stall = faults.add(Rule::always("Fragment", "*", stall).on(Host::Bits).skip(fragments / 2));
    let mut child = shell.command(&["put", "large.bin"]).stderr(Stdio::null()).spawn().expect("starts");
    let begun = Instant::now();
    while faults.struck(stall) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(240), "it never came so far");
        assert!(child.try_wait().expect("looked at").is_none(), "it ended before");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert_eq!(shell.service.drive().read_file("/large.bin"), None, "nothing is visible before the commit");
    faults.remove(stall);
    // The token ends when all is sent, which the service tells with 500 at the commit.
    let (oauth, ended) = (shell.service.emulator().oauth().clone(), AtomicBool::new(false));
    shell.service.emulator().set_witness(Some(Arc::new(move |moment| {
        if moment.host == Host::Bits && moment.method == "Close-Session" && !ended.swap(true, Ordering::SeqCst) {
            oauth.expire_access_tokens();
        }
        Course::Go
    })));
    shell.ok(&["put", "large.bin"]);
    let closes = packets(&shell).into_iter().filter(|packet| packet.method == "Close-Session");
    assert_eq!(closes.map(|packet| packet.status).collect::<Vec<_>>(), [Some(500), Some(201)]);
    assert_eq!(shell.service.drive().read_file("/large.bin").expect("there"), content);
    let most = (size + 3 * fragment) as u64;
    assert!(sent(&shell) <= most, "{} bytes were sent, {most} at most", sent(&shell));
    let kept = fs::read_dir(shell.home.path("state/onedrive-mount/default/uploads")).expect("a folder").count();
    assert_eq!(kept, 0, "a finished upload is forgotten");
    println!("large uploads, put: {size} bytes; {} were sent, cut three times", sent(&shell));
}

#[test]
fn ids_in_every_form() {
    let shell = Shell::live("");
    shell.stock();
    let id = shell.json(&["-k", "id", "info", "Documents/notes.txt"]).as_str().expect("an id").to_owned();
    let parts: Vec<&str> = id.split('.').collect();
    let [prefix, cid, short] = parts.as_slice() else { panic!("{id}") };
    assert!(*prefix == "file" && cid.len() == 16 && cid.starts_with('0'), "this account has a leading zero: {id}");
    assert!(!short.starts_with('0'), "the number of the account is shorter there: {id}");
    for argument in [id.as_str(), short] {
        assert_eq!(shell.ok(&["get", argument]), "twelve bytes", "{argument}");
        assert_eq!(shell.ok(&["-i", "get", argument]), "twelve bytes", "{argument}");
        shell.fails(40, &["-p", "get", argument]);
    }
    let root = format!("folder.{cid}");
    for argument in [root.as_str(), "me/skydrive", "me/skydrive/files", "/"] {
        assert_eq!(shell.ok(&["ls", argument]), shell.ok(&["ls"]), "{argument}");
    }
    let folder = shell.json(&["-k", "id", "info", "Documents"]).as_str().expect("an id").to_owned();
    assert!(folder.starts_with("folder."), "{folder}");
    assert_eq!(shell.ok(&["ls", &folder]), shell.ok(&["ls", "Documents"]));
    assert_eq!(shell.ok(&["ls", folder.rsplit('.').next().expect("a short id")]), shell.ok(&["ls", "Documents"]));
    shell.file("f", b"x");
    shell.ok(&["put", "f", &folder]);
    assert_eq!(shell.service.drive().read_file("/Documents/f").expect("there"), b"x");
    shell.fails(40, &["info", "file.0123456789abcdef.123456789ABCDEF!99999"]);
}

#[test]
fn two_of_one_name_are_both_kept() {
    let shell = Shell::live("");
    let drive = shell.service.drive();
    drive.create_folder("/twins");
    drive.create_file("/twins/a.txt", b"one".to_vec());
    drive.add_duplicate("/twins/a.txt", b"two".to_vec());
    assert_eq!(shell.ok(&["ls", "twins"]), "- a.txt\n- a.txt\n");
    assert_eq!(shell.ok(&["tree", "twins"]), "twins:\n  a.txt: file\n  a.txt: file\n");
    // With objects too, and both with their own.
    let objects = shell.ok(&["tree", "-o", "twins"]);
    assert_eq!(objects.matches("  a.txt:\n    - file\n").count(), 2, "{objects}");
    let ids: Vec<&str> = objects.lines().filter_map(|line| line.trim().strip_prefix("id: file.")).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1], "{objects}");
    shell.ok(&["get", "-r", "twins", "here"]);
    let mut found: Vec<Vec<u8>> =
        ["here/a.txt", "here/a (2).txt"].iter().map(|path| fs::read(shell.home.path(path)).expect(path)).collect();
    found.sort();
    assert_eq!(found, [b"one", b"two"]);
}

#[test]
fn the_settings_file_of_the_old_program() {
    let shell = Shell::live("");
    shell.stock();
    let live = shell.service.emulator().live();
    let tokens = live.issue_tokens();
    let auth =
        format!("auth:\n  access_token: {:?}\n  refresh_token: {:?}\nother: kept\n", tokens.access, tokens.refresh);
    let file = shell.lcrc(&auth);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("opened to others");
    let with = |arguments: &[&str]| shell.ok(&[&["-c", &file], arguments].concat());
    assert_eq!(with(&["ls"]), "- Documents\n- Pics\n- note to self.txt\n");
    assert_eq!(with(&["get", "Documents/notes.txt"]), "twelve bytes");
    // The time of the token was not in the file, so it was renewed; and stored where it was.
    let after = fs::read_to_string(&file).expect("there");
    assert!(after.starts_with("# mine\n") && after.contains("other: kept\n"), "{after}");
    assert!(!after.contains(&tokens.refresh) && after.contains("access_expires: 20"), "{after}");
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    shell.service.emulator().oauth().expire_access_tokens();
    assert_eq!(with(&["ls", "Pics"]), "- pier.jpg\n");
    assert_ne!(fs::read_to_string(&file).expect("there"), after);
    let before = fs::read_to_string(&file).expect("there");
    assert_eq!(with(&["-k", "scope_granted", "auth_refresh"]).lines().count(), 1);
    assert_ne!(fs::read_to_string(&file).expect("there"), before);
    // An id like an octal number reaches nobody.
    let octal = shell.file("octal/.lcrc", b"client:\n  id: 0000000012345670\n");
    let said = shell.fails(3, &["-c", octal.to_str().expect("text"), "ls"]);
    assert!(said.contains("line 2") && said.contains("\"0000000012345670\""), "{said}");
    shell.fails(3, &["-c", "missing/.lcrc", "ls"]);
    // What somebody counts on and has no effect is said each time, unless nothing is to be said.
    let auth = format!("auth:\n  refresh_token: {:?}\n", live.issue_tokens().refresh);
    let file =
        shell.lcrc(&format!("{auth}request: {{extra_keywords: {{verify: false}}, adapter_settings: {{a: 1}}}}\n"));
    let output = shell.output(&["-c", &file, "ls"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("WARN") && said.contains("SSL_CERT_FILE"), "{said}");
    assert!(!said.contains("adapter_settings"), "{said}");
    assert!(shell.output(&["-q", "-c", &file, "ls"]).stderr.is_empty());
}

#[test]
fn signing_in_with_the_old_settings_file() {
    let shell = Shell::live("");
    let live = shell.service.emulator().live();
    let old = live.issue_tokens();
    let file = shell.lcrc(&format!("auth:\n  code: old\n  refresh_token: {:?}\n", old.refresh));
    shell.fails(43, &["-c", &file, "auth", "--device-code"]);
    let output = shell.output(&["-c", &file, "auth", "--no-browser"]);
    assert_eq!(output.status.code(), Some(10), "it waits for the address");
    let said = String::from_utf8(output.stdout).expect("text");
    let address = said.split_whitespace().find(|word| word.contains("oauth20_authorize.srf")).expect("an address");
    let state = address.split("state=").nth(1).and_then(|rest| rest.split('&').next()).expect("a state");
    let end = live.consent(LiveHandle::CLIENT, LiveHandle::SCOPE, LiveHandle::DESKTOP);
    let refused = shell.fails(11, &["-c", &file, "auth", &format!("{end}&state=another")]);
    assert!(refused.contains("another sign-in"), "{refused}");
    let refused = format!("{}?error=access_denied&error_description=No&state={state}", LiveHandle::DESKTOP);
    assert!(shell.fails(11, &["-c", &file, "auth", &refused]).contains("No (access_denied)"));
    // Behind a hash, with its state, is as good as behind a question mark.
    let end = format!("{}&state={state}", end.replacen('?', "#", 1));
    let said = shell.ok(&["-c", &file, "auth", &end]);
    assert!(
        said.starts_with(&format!("Signed in. The tokens are in {file}.\nIt is the OneDrive of Ada Example.")),
        "{said}"
    );
    let text = fs::read_to_string(&file).expect("there");
    assert!(text.contains("  code: old\n") && !text.contains(&old.refresh), "the new code took its place: {text}");
    shell.ok(&["-c", &file, "quota"]);
    // And without a state, as a script of the old program brought it; of another account.
    let other = shell.service.emulator().add_account(7, "Other Person");
    live.sign_in_as(&other);
    let end = live.consent(LiveHandle::CLIENT, LiveHandle::SCOPE, LiveHandle::DESKTOP);
    shell.ok(&["-c", &file, "auth", &end]);
    assert_eq!(shell.ok(&["-c", &file, "-k", "name", "user"]), "Other Person\n");
    // What was granted is too little: stored, and said.
    live.set_granted_scope(Some("wl.skydrive wl.offline_access"));
    let end = live.consent(LiveHandle::CLIENT, LiveHandle::SCOPE, LiveHandle::DESKTOP);
    let before = fs::read_to_string(&file).expect("there");
    let said = shell.fails(11, &["-c", &file, "auth", &end]);
    assert!(said.contains("wl.skydrive_update"), "{said}");
    assert_ne!(fs::read_to_string(&file).expect("there"), before);
}

#[test]
fn a_sign_in_that_is_refused_for_good() {
    let shell = Shell::live("");
    shell.stock();
    let refused = Fault::status(When::Before, 401, "request_token_invalid");
    shell.service.emulator().faults().add(Rule::always("GET", "*", refused).on(Host::Live));
    for command in [&["ls"][..], &["user"], &["get", "Documents/notes.txt"], &["quota"], &["recent"]] {
        let said = shell.fails(10, command);
        assert!(said.contains("onedrive-cli auth"), "{command:?}: {said}");
    }
}

#[test]
fn the_secret_token_is_never_in_an_address() {
    let shell = Shell::live("live:\n  put_limit: 1 MiB\n");
    shell.stock();
    shell.file("large.bin", &pattern(2 * MIB));
    for command in [&["tree"][..], &["get", "Documents/notes.txt"], &["put", "large.bin"], &["quota"], &["user"]] {
        shell.ok(command);
    }
    shell.service.emulator().oauth().expire_access_tokens();
    shell.ok(&["quota"]);
    shell.check_addresses();
}

#[test]
fn comments_come_and_go() {
    let shell = Shell::live("");
    shell.stock();
    assert_eq!(shell.ok(&["comments", "Documents/notes.txt"]), "");
    let added = shell.ok(&["comment_add", "Documents/notes.txt", "well said: \"yes\" & über"]);
    assert!(added.contains("message: well said: \"yes\" & über\n"), "{added}");
    let listed = shell.json(&["comments", "Documents/notes.txt"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    let id = listed[0]["id"].as_str().expect("an id");
    assert_eq!(
        shell.ok(&["-k", "{0[from][name]}: {0[message]}", "comments", "Documents/notes.txt"]).lines().count(),
        1
    );
    assert_eq!(shell.ok(&["comment_delete", id]), "");
    assert_eq!(shell.ok(&["comments", "Documents/notes.txt"]), "");
    shell.fails(40, &["comment_delete", id]);
    // What is no id of a comment reaches nobody, least of all the file that it is the id of.
    let file = shell.json(&["-k", "id", "info", "Documents/notes.txt"]);
    for wrong in ["nonsense", "comment.nonsense", "comment.", "a/b?c", file.as_str().expect("an id")] {
        shell.fails(40, &["comment_delete", wrong]);
    }
    assert_eq!(shell.ok(&["get", "Documents/notes.txt"]), "twelve bytes");
}

#[test]
fn albums_are_folders_with_their_own_type() {
    let shell = Shell::live("");
    let drive = shell.service.drive();
    drive.create_folder("/Pics");
    drive.create_folder("/Pics/Holiday");
    drive.create_file("/Pics/Holiday/pier.jpg", b"a picture".to_vec());
    drive.make_album("/Pics/Holiday");
    assert_eq!(shell.ok(&["-k", "{0[type]} {0[name]}", "ls", "-o", "Pics"]), "- album Holiday\n");
    assert_eq!(shell.ok(&["tree", "Pics"]), "Pics:\n  Holiday:\n    pier.jpg: photo\n");
    let objects = shell.ok(&["tree", "-o", "Pics"]);
    assert!(objects.starts_with("Pics:\n  Holiday:\n    pier.jpg:\n      - photo\n"), "{objects}");
    assert_eq!(shell.ok(&["get", "Pics/Holiday/pier.jpg"]), "a picture");
}

#[test]
fn folders_are_copied_file_by_file_where_the_service_copies_files_only() {
    let shell = Shell::live("");
    shell.stock();
    shell.ok(&["cp", "-r", "Documents", "Pics"]);
    assert_eq!(
        shell.ok(&["cat", "Pics/Documents/notes.txt", "Pics/Documents/Letters/b.txt"]),
        "twelve bytesDear B, how are you?"
    );
    shell.fails(41, &["cp", "-r", "Documents", "Pics"]);
    assert_eq!(shell.ok(&["cat", "Documents/notes.txt"]), "twelve bytes");
}

#[test]
fn what_this_protocol_lacks_is_said_with_its_own_code() {
    let shell = Shell::live("");
    shell.stock();
    for command in [
        &["trash"][..],
        &["undelete", "file.1.1!1"],
        &["versions", "Documents/notes.txt"],
        &["restore", "Documents/notes.txt", "1.0"],
        &["permissions", "Documents"],
        &["share", "Documents", "bob@example.com"],
        &["unshare", "--all", "Documents"],
        &["info_set", "Documents/notes.txt", "{\"client_updated_time\": \"2013-08-05T15:18:04+0000\"}"],
        &["info", "me/skydrive/approot"],
    ] {
        let said = shell.fails(43, command);
        assert!(
            said.starts_with("error: ") && said.lines().next().is_some_and(|line| line.len() > 20),
            "{command:?}: {said}"
        );
    }
}

#[test]
fn listings_whose_pages_come_wrong_are_made_again() {
    let shell = Shell::live("");
    let drive = shell.service.drive();
    drive.create_folder("/many");
    for number in 0..1200 {
        drive.create_file(&format!("/many/{number:04}.txt"), b"x".to_vec());
    }
    for shift in [1, -1] {
        shell.service.emulator().live().shift_listings(shift);
        let listed = shell.ok(&["ls", "many"]);
        assert_eq!(listed.lines().count(), 1200, "shifted by {shift}");
        assert!(listed.starts_with("- 0000.txt\n") && listed.ends_with("- 1199.txt\n"));
    }
    assert_eq!(shell.ok(&["ls", "-r", "1198-", "many"]), "- 1198.txt\n- 1199.txt\n");
}
