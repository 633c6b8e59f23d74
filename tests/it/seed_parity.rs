//! What python-onedrive offered, line by line, and where it is tested that this program offers it too; and the defects
//! that were found in it, with the test that each is not here.
//!
//! A line without a test of its own elsewhere has one below. The tables are read by a test: a function that is named and
//! does not exist fails.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use onedrive_mount::emulator::{Fault, Flavour, Rule, When};

use crate::world::shell::Shell;

/// What there was, and the file and function that tests it.
const OFFERED: &[(&str, &str, &str)] = &[
    ("-c, -p, -i, -k, -e, --debug, -V, both -p and -i", "tests/it/seed_parity.rs", "global_options"),
    ("ids and paths guessed by their look", "src/cli/target.rs", "ids_are_known_by_their_look"),
    ("ids of an account with a leading zero, old and new", "tests/it/seed_parity.rs", "ids_in_every_form"),
    ("auth, typed", "tests/it/cli_auth.rs", "with_the_address_typed"),
    ("auth URL", "tests/it/cli_auth.rs", "with_the_address_as_an_argument"),
    ("auth URL with an error", "tests/it/cli_auth.rs", "a_refusal_is_told_in_the_services_words"),
    ("auth URL with a fragment", "tests/it/cli_auth.rs", "with_the_answer_behind_a_hash"),
    ("auth of another account", "tests/it/cli_auth.rs", "a_new_sign_in_takes_the_place_of_the_old_one"),
    ("auth_refresh", "tests/it/cli_auth.rs", "a_refresh_is_stored_and_says_what_was_granted"),
    ("quota, info, ls in all forms, tree, tree -o", "tests/it/cli_cloud.rs", "looking_around"),
    ("user, recent, link of three types, cp, comments", "tests/it/cli_cloud.rs", "beyond_a_file_system"),
    ("info_set, mkdir in all forms, mv, rm of several", "tests/it/cli_cloud.rs", "changing_things"),
    ("mkdir -m", "tests/it/cli_cloud.rs", "descriptions_where_they_are_kept"),
    ("get in all forms, put in all forms", "tests/it/cli_cloud.rs", "content_both_ways"),
    ("put --bits-frag-bytes", "tests/it/seed_parity.rs", "fragments_have_the_size_that_was_asked_for"),
    ("tree with two of one name", "src/cli/print.rs", "one_name_twice_is_printed_twice"),
    ("-k on objects and lists", "src/cli/print.rs", "a_template_takes_the_place_of_each_object"),
    ("the printed forms", "src/cli/print.rs", "every_form_of_the_old_printer"),
    ("quota units", "src/cli/cmd/quota.rs", "units_are_those_of_the_old_program"),
];

/// The defects of python-onedrive, and the file and function that tests that they are not here.
const NOT_INHERITED: &[(&str, &str, &str)] = &[
    ("1: a new code is ignored", "tests/it/cli_auth.rs", "a_new_sign_in_takes_the_place_of_the_old_one"),
    ("3: ls -r 5- and -20 fail", "src/cli/cmd/ls.rs", "every_form_of_a_range"),
    ("4: metadata is sent as a form", "tests/it/cli_cloud.rs", "descriptions_where_they_are_kept"),
    ("5: names are not encoded", "tests/it/cli_transfer.rs", "an_empty_file_and_names_with_every_character"),
    ("6: no resume", "tests/it/cli_transfer.rs", "an_upload_that_was_killed_goes_on_at_the_next_try"),
    ("7: progress above 100 %", "src/cli/progress.rs", "it_never_passes_the_size"),
    ("8: an empty file in fragments", "tests/it/cli_transfer.rs", "an_empty_file_and_names_with_every_character"),
    ("9: ids of accounts with a leading zero", "tests/it/seed_parity.rs", "ids_in_every_form"),
    ("10: a new refresh token may be lost", "src/auth/tests.rs", "a_cancelled_request_does_not_lose_the_new_token"),
    ("11: content is held in memory", "tests/it/seed_parity.rs", "content_larger_than_the_memory"),
    ("12: two of one name become one", "src/cli/cmd/get.rs", "two_of_one_name_are_both_kept"),
    ("13: the token is in addresses", "tests/it/cli_transfer.rs", "the_secret_token_is_never_in_an_address"),
    ("14: other link types and bad JSON crash", "tests/it/cli_cloud.rs", "beyond_a_file_system"),
    ("15: a second 401 is another error", "tests/it/seed_parity.rs", "a_sign_in_that_is_refused_for_good"),
    ("16: addresses end in a question mark", "tests/it/cli_transfer.rs", "the_secret_token_is_never_in_an_address"),
    ("17: others can read the tokens", "tests/it/cli_auth.rs", "a_token_file_that_others_can_read_is_closed"),
    ("18: mkdir makes no parents", "tests/it/cli_cloud.rs", "changing_things"),
];

#[test]
fn every_line_of_the_tables_has_its_test() {
    for (what, file, function) in OFFERED.iter().chain(NOT_INHERITED) {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_default();
        assert!(text.contains(&format!("fn {function}()")), "{what}: {file} has no test {function}");
    }
}

#[test]
fn global_options() {
    let shell = Shell::new(Flavour::PersonalNew);
    shell.stock();
    let settings = shell.file("other.yaml", b"tenant: [");
    shell.fails(3, &["-c", settings.to_str().expect("text"), "quota"]);
    shell.fails(3, &["quota", "--config", settings.to_str().expect("text")]);
    assert_eq!(shell.ok(&["-V"]), format!("onedrive-cli {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(shell.ok(&["--version"]), shell.ok(&["-V"]));
    shell.fails(2, &["-p", "-i", "ls"]);
    shell.fails(2, &["-e", "koi8-r", "ls"]);
    assert_eq!(shell.ok(&["-e", "detect", "ls"]), shell.ok(&["-e", "UTF-8", "ls"]));
    assert_eq!(shell.ok(&["-k", "name", "info", "Pics"]), shell.ok(&["info", "Pics", "--object-key", "name"]));
    assert_eq!(shell.ok(&["mkdir", "Said"]), "", "what only changes something prints nothing");
    let output = shell.output(&["--debug", "mkdir", "Told"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("name: Told\n"), "--debug prints the result");
    assert!(String::from_utf8_lossy(&output.stderr).contains("DEBUG"), "and tells what goes on");
    for secret in shell.service.emulator().secrets() {
        assert!(!String::from_utf8_lossy(&output.stderr).contains(&secret), "but no secrets");
    }
}

#[test]
fn its_settings_file_is_known_and_its_secrets_are_not_printed() {
    let shell = Shell::new(Flavour::PersonalNew);
    for text in ["auth:\n  access_token: s3cret\n", "auth.access_token: s3cret\n", "request: {base_headers: {}}\n"] {
        let file = shell.file("lcrc", text.as_bytes());
        let said = shell.fails(3, &["-c", file.to_str().expect("text"), "quota"]);
        assert!(said.contains("python-onedrive") && !said.contains("s3cret"), "{said}");
    }
}

#[test]
fn ids_in_every_form() {
    let shell = Shell::new(Flavour::PersonalNew);
    shell.stock();
    let id = shell.json(&["-k", "id", "info", "Documents/notes.txt"]).as_str().expect("an id").to_owned();
    assert!(id.starts_with('0'), "this account has a leading zero: {id}");
    let (cid, rest) = id.split_once('!').expect("a personal id");
    let short = cid.trim_start_matches('0');
    let old = format!("file.{}.{}!{rest}", cid.to_lowercase(), cid);
    let root = format!("folder.{}", short.to_lowercase());
    for argument in [id.as_str(), old.as_str()] {
        assert_eq!(shell.ok(&["get", argument]), "twelve bytes", "{argument}");
        assert_eq!(shell.ok(&["-i", "get", argument]), "twelve bytes", "{argument}");
        shell.fails(40, &["-p", "get", argument]);
    }
    assert_eq!(shell.ok(&["ls", &root]), shell.ok(&["ls"]));
    assert_eq!(shell.ok(&["-i", "ls", "me/skydrive"]), shell.ok(&["ls"]));
    assert_eq!(shell.ok(&["ls", "me/skydrive/files"]), shell.ok(&["ls"]));
    // A file whose name looks like an id is reached with -p.
    shell.service.drive().create_file("/file.a.1!1", b"odd".to_vec());
    assert_eq!(shell.ok(&["-p", "get", "file.a.1!1"]), "odd");
    shell.fails(40, &["get", "file.a.1!1"]);
}

#[test]
fn fragments_have_the_size_that_was_asked_for() {
    const UNIT: u64 = 320 * 1024;
    let shell = Shell::new(Flavour::Business);
    shell.file("f.bin", &vec![7; 5 * UNIT as usize]);
    let sizes = |arguments: &[&str]| -> Vec<u64> {
        shell.service.emulator().forget_requests();
        shell.ok(arguments);
        let requests = shell.service.emulator().requests();
        requests
            .iter()
            .filter(|request| request.method == "PUT" && request.range.is_some())
            .map(|r| r.bytes_in)
            .collect()
    };
    assert_eq!(sizes(&["put", "f.bin"]), Vec::<u64>::new(), "a small file goes with one request");
    assert_eq!(sizes(&["put", "-b", "f.bin"]), [5 * UNIT]);
    // What the service does not take is rounded down.
    assert_eq!(sizes(&["put", "-b", "--bits-frag-bytes", "700000", "f.bin"]), [2 * UNIT, 2 * UNIT, UNIT]);
    for ignored in ["0", "-5"] {
        assert_eq!(sizes(&["put", "-b", "--bits-frag-bytes", ignored, "f.bin"]), [5 * UNIT]);
    }
}

#[test]
fn content_larger_than_the_memory() {
    const SIZE: u64 = 320 << 20;
    let shell = Shell::new(Flavour::Business);
    shell.service.drive().create_generated("/large.bin", 1, SIZE);
    let limited = |arguments: &str| {
        let program = env!("CARGO_BIN_EXE_onedrive-cli");
        let mut command: Command = shell.home.command("bash");
        // In KiB, and far below the size.
        command.args(["-c", &format!("ulimit -v 250000; exec '{program}' {arguments}")]);
        command.current_dir(shell.home.path("")).stdout(Stdio::null()).process_group(0);
        let output = command.stderr(Stdio::piped()).output().expect("runs");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    limited("get large.bin");
    limited("get large.bin local.bin");
    assert_eq!(fs::metadata(shell.home.path("local.bin")).expect("there").len(), SIZE);
    limited("put --name back.bin local.bin");
    assert_eq!(shell.service.drive().stat("/back.bin").expect("there").size, SIZE);
}

#[test]
fn a_sign_in_that_is_refused_for_good() {
    let shell = Shell::new(Flavour::PersonalNew);
    shell.stock();
    let refused = Fault::status(When::Before, 401, "InvalidAuthenticationToken");
    shell.service.emulator().faults().add(Rule::always("GET", "/v1.0/*", refused));
    for command in [&["ls"][..], &["user"], &["get", "Documents/notes.txt"], &["quota"], &["recent"]] {
        let said = shell.fails(10, command);
        assert!(said.contains("onedrive-cli auth"), "{command:?}: {said}");
    }
}
