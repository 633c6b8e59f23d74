//! What python-onedrive offered, line by line, and where it is tested that this program offers it too; and the defects
//! that were found in it, with the test that each is not here.
//!
//! A line without a test of its own elsewhere has one below. The tables are read by a test: a function that is named and
//! does not exist fails.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use onedrive_mount::auth::StaticToken;
use onedrive_mount::base::clock::SystemClock;
use onedrive_mount::drive::{Drive, How, Ids};
use onedrive_mount::emulator::{Fault, Flavour, Rule, When};
use onedrive_mount::remote::http::system_entropy;
use onedrive_mount::remote::stack::{self, RemoteOptions};

use crate::world::service::Service;
use crate::world::shell::Shell;
use crate::world::side::Side;

/// What there was, and the file and function that tests it.
const OFFERED: &[(&str, &str, &str)] = &[
    ("-c, -p, -i, -k, -e, --debug, -V, both -p and -i", "tests/it/seed_parity.rs", "global_options"),
    ("-e with another encoding, and detect", "tests/it/seed_parity.rs", "names_in_another_encoding"),
    ("ids and paths guessed by their look", "src/drive/target.rs", "ids_are_known_by_their_look"),
    ("ids of an account with a leading zero, old and new", "tests/it/seed_parity.rs", "ids_in_every_form"),
    ("auth, typed", "tests/it/cli_auth.rs", "with_the_address_typed_at_the_prompt"),
    ("auth URL", "tests/it/cli_auth.rs", "with_the_address_as_an_argument"),
    ("auth URL with an error", "tests/it/cli_auth.rs", "a_refusal_is_told_in_the_services_words"),
    ("auth URL with a fragment", "tests/it/cli_auth.rs", "with_the_answer_behind_a_hash"),
    ("auth of another account", "tests/it/cli_auth.rs", "a_new_sign_in_takes_the_place_of_the_old_one"),
    ("auth_refresh", "tests/it/cli_auth.rs", "a_refresh_is_stored_and_says_what_was_granted"),
    ("quota, info, ls in all forms, tree, tree -o", "tests/it/cli_cloud.rs", "looking_around"),
    ("user, recent, link of three types, cp, comments", "tests/it/cli_cloud.rs", "beyond_a_file_system"),
    ("info_set, mkdir in all forms, mv, rm of several", "tests/it/cli_cloud.rs", "changing_things"),
    ("mkdir -m", "tests/it/cli_cloud.rs", "descriptions_where_they_are_kept"),
    ("info_set and mkdir -m of every property", "tests/it/cli_special.rs", "properties_of_the_old_service"),
    ("special paths", "tests/it/cli_special.rs", "special_paths_on_graph"),
    ("special paths on the old protocol", "tests/it/cli_special.rs", "special_paths_on_the_old_protocol"),
    ("get in all forms, put in all forms", "tests/it/cli_cloud.rs", "content_both_ways"),
    ("put --bits-frag-bytes", "tests/it/seed_parity.rs", "fragments_have_the_size_that_was_asked_for"),
    ("put: threshold, -b, -n, fragment size, on the old protocol", "tests/it/cli_live.rs", "what_put_decides"),
    ("put -d", "tests/it/cli_live.rs", "pictures_are_never_shrunk"),
    ("put with the commit hack", "tests/it/cli_live.rs", "the_sign_in_is_renewed_before_the_commit_only_when_asked"),
    (
        "put of a large file, cut three times",
        "tests/it/cli_live.rs",
        "a_large_file_that_is_cut_three_times_arrives_whole",
    ),
    ("every command on the old protocol", "tests/it/cli_live.rs", "looking_around"),
    ("and what it changes", "tests/it/cli_live.rs", "changing_things"),
    ("and content", "tests/it/cli_live.rs", "content_both_ways"),
    ("and links, copies, comments", "tests/it/cli_live.rs", "beyond_a_file_system"),
    ("ids on the old protocol", "tests/it/cli_live.rs", "ids_in_every_form"),
    ("comments, comment_add, comment_delete", "tests/it/cli_live.rs", "comments_come_and_go"),
    ("tree with albums", "tests/it/cli_live.rs", "albums_are_folders_with_their_own_type"),
    ("tree and get with two of one name", "tests/it/cli_live.rs", "two_of_one_name_are_both_kept"),
    ("auth with the old settings file", "tests/it/cli_live.rs", "signing_in_with_the_old_settings_file"),
    ("-c ~/.lcrc", "tests/it/cli_live.rs", "the_settings_file_of_the_old_program"),
    ("tree with two of one name", "src/cli/print.rs", "one_name_twice_is_printed_twice"),
    ("-k on objects and lists", "src/cli/print.rs", "a_template_takes_the_place_of_each_object"),
    ("the printed forms", "src/cli/print.rs", "every_form_of_the_old_printer"),
    (
        "configuration: the keys, and unknown ones kept",
        "src/config/lcrc/tests.rs",
        "a_rewrite_changes_the_sign_in_and_nothing_else",
    ),
    ("configuration: request.*", "src/config/lcrc/tests.rs", "settings_and_sign_in_are_read"),
    (
        "configuration: one timeout, redirect_uri",
        "src/config/lcrc/tests.rs",
        "one_number_of_seconds_is_for_both_timeouts_and_a_redirect_is_of_the_web",
    ),
    (
        "configuration: adapter_settings, proxies, verify",
        "src/config/lcrc/tests.rs",
        "what_has_no_effect_is_told_and_louder_if_somebody_counts_on_it",
    ),
    (
        "configuration: the file without -c",
        "tests/it/cli_special.rs",
        "who_has_only_the_old_settings_is_told_how_to_use_them",
    ),
    ("what others share, on the old protocol", "tests/it/cli_special.rs", "what_others_share_on_the_old_protocol"),
    ("configuration: a concurrent change", "src/config/lcrc/tests.rs", "what_others_changed_meanwhile_stays"),
    (
        "configuration: python's lock",
        "src/config/lcrc/tests.rs",
        "a_writer_waits_for_python_onedrive_and_starts_over_when_it_replaced_the_file",
    ),
    ("configuration: conf_save", "src/config/lcrc/tests.rs", "conf_save_says_where_it_goes"),
    (
        "configuration: the sign-in in it",
        "src/auth/live_tests.rs",
        "the_sign_in_of_the_old_program_is_taken_over_and_kept_where_it_was",
    ),
    ("auth on the old service", "src/auth/live_tests.rs", "the_page_is_empty_and_its_address_is_brought_back"),
    ("the library", "tests/it/seed_parity.rs", "the_library_page_names_every_member_and_only_what_exists"),
    ("quota units", "src/cli/cmd/quota.rs", "units_are_those_of_the_old_program"),
];

/// The defects of python-onedrive, and the file and function that tests that they are not here.
const NOT_INHERITED: &[(&str, &str, &str)] = &[
    ("1: a new code is ignored", "tests/it/cli_auth.rs", "a_new_sign_in_takes_the_place_of_the_old_one"),
    ("2: an octal client id", "src/config/lcrc/tests.rs", "an_id_like_an_octal_number_has_to_be_quoted"),
    ("3: ls -r 5- and -20 fail", "src/cli/cmd/ls.rs", "every_form_of_a_range"),
    ("4: metadata is sent as a form", "tests/it/cli_cloud.rs", "descriptions_where_they_are_kept"),
    ("5: names are not encoded", "tests/it/cli_transfer.rs", "an_empty_file_and_names_with_every_character"),
    ("5, on BITS", "tests/it/cli_live.rs", "what_put_decides"),
    ("6, on BITS", "tests/it/cli_live.rs", "a_large_file_that_is_cut_three_times_arrives_whole"),
    ("9, on the old protocol", "tests/it/cli_live.rs", "ids_in_every_form"),
    ("12, on the old protocol", "tests/it/cli_live.rs", "two_of_one_name_are_both_kept"),
    ("13 and 16, on the old protocol", "tests/it/cli_live.rs", "the_secret_token_is_never_in_an_address"),
    ("15, on the old protocol", "tests/it/cli_live.rs", "a_sign_in_that_is_refused_for_good"),
    ("6: no resume", "tests/it/cli_transfer.rs", "an_upload_that_was_killed_goes_on_at_the_next_try"),
    ("7: progress above 100 %", "tests/it/seed_parity.rs", "progress_never_passes_the_size"),
    ("7, as it is shown", "src/cli/progress.rs", "it_never_passes_the_size"),
    ("8: an empty file in fragments", "tests/it/cli_transfer.rs", "an_empty_file_and_names_with_every_character"),
    ("9: ids of accounts with a leading zero", "tests/it/seed_parity.rs", "ids_in_every_form"),
    (
        "10: a new refresh token may be lost",
        "src/auth/live_tests.rs",
        "permissions_may_be_more_but_not_less_and_what_came_is_stored_first",
    ),
    ("11: content is held in memory", "tests/it/seed_parity.rs", "content_larger_than_the_memory"),
    ("12: two of one name become one", "src/drive/fetch_folder.rs", "two_of_one_name_are_both_kept"),
    ("13: the token is in addresses", "tests/it/cli_transfer.rs", "the_secret_token_is_never_in_an_address"),
    ("13 and 16, that the check would see it", "tests/it/cli_transfer.rs", "a_token_in_an_address_would_be_seen"),
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
    shell.fails(2, &["-e", "klingon", "ls"]);
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
fn progress_never_passes_the_size() {
    const UNIT: u64 = 320 * 1024;
    // The last fragment is a small one, and one is sent twice because its acknowledgement is lost.
    for (side, size, fragment, verb) in
        [(Side::BUSINESS, 3 * UNIT + 7, UNIT, "PUT"), (Side::LIVE, 1_007, 250, "Fragment")]
    {
        let service = Service::new(side);
        let emulator = service.emulator();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f.bin");
        fs::write(&path, vec![7; size as usize]).expect("written");
        let (clock, options) = (Arc::new(SystemClock::new()), RemoteOptions::speaking(side.protocol(emulator)));
        let ids = if side.live { Ids::Live } else { Ids::Graph };
        let lost = Fault::Reset { when: When::After };
        let lost = emulator.faults().add(Rule::once(verb, "*", lost).skip(1));
        let seen = Mutex::new(Vec::new());
        service.block_on(async {
            let token = Arc::new(StaticToken::new(side.access_token(emulator)));
            let opened = stack::open(&options, token, clock.clone(), system_entropy()).expect("opened");
            let drive = Drive::new(&opened, clock, ids);
            let how = How { no_overwrite: false, fragments: true, fragment };
            let watch = |done: u64| seen.lock().expect("unharmed").push(done);
            let root = drive.root().await.expect("a root");
            drive.upload(&path, &root, "f.bin", &how, &watch).await.expect("sent");
        });
        let seen = seen.into_inner().expect("unharmed");
        assert_eq!(emulator.faults().struck(lost), 1);
        assert!(seen.len() >= 4 && seen.is_sorted(), "{seen:?}");
        assert_eq!((seen.iter().max(), seen.last()), (Some(&size), Some(&size)), "{seen:?}");
    }
}

#[test]
fn names_in_another_encoding() {
    use std::os::unix::ffi::OsStrExt as _;
    let shell = Shell::new(Flavour::PersonalNew);
    let latin = |text: &'static [u8]| std::ffi::OsStr::from_bytes(text);
    let run = |arguments: &[&std::ffi::OsStr]| shell.command(&["-e", "latin1"]).args(arguments).output().expect("runs");
    fs::write(shell.home.path("").join(latin(b"caf\xe9.txt")), "bytes \u{e9}").expect("written");
    assert!(run(&[latin(b"put"), latin(b"caf\xe9.txt")]).status.success());
    assert_eq!(shell.service.drive().read_file("/caf\u{e9}.txt").expect("there"), "bytes \u{e9}".as_bytes());
    assert_eq!(run(&[latin(b"ls")]).stdout, b"- caf\xe9.txt\n");
    let fetched = run(&[latin(b"get"), latin(b"caf\xe9.txt"), latin(b"\xe0.txt")]);
    assert!(fetched.status.success() && fetched.stderr.starts_with(b"\xe0.txt: fetched"), "{fetched:?}");
    // Content is what it is, and the name on the disk has the bytes that were typed.
    assert_eq!(fs::read(shell.home.path("").join(latin(b"\xe0.txt"))).expect("there"), "bytes \u{e9}".as_bytes());
    assert_eq!(run(&[latin(b"cat"), latin(b"caf\xe9.txt")]).stdout, "bytes \u{e9}".as_bytes());
    let missing = run(&[latin(b"info"), latin(b"\xfc")]);
    assert!(missing.stderr.starts_with(b"error: there is no \"\xfc\""), "{missing:?}");
    // Without -e the name is refused, and nothing is done.
    let refused = shell.command(&["info"]).arg(latin(b"\xfc")).output().expect("runs");
    assert_eq!(refused.status.code(), Some(2));
    let guessed = shell.command(&["-e", "detect", "info"]).arg(latin(b"caf\xe9.txt")).output().expect("runs");
    assert!(guessed.status.success(), "{guessed:?}");
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

/// Every class and member of python-onedrive's module: <https://github.com/mk-fg/python-onedrive>, version 15.10.5.
const MEMBERS: &[&str] = &[
    "OneDriveInteractionError",
    "ProtocolError",
    "AuthenticationError",
    "AuthMissingError",
    "APIAuthError",
    "NoAPISupportError",
    "DoesNotExists",
    "OneDriveHTTPClient",
    "request",
    "request_extra_keywords",
    "request_adapter_settings",
    "request_base_headers",
    "OneDriveAuth",
    "client_id",
    "client_secret",
    "auth_url_user",
    "auth_url_token",
    "auth_redirect_uri_mobile",
    "auth_redirect_uri",
    "auth_scope",
    "auth_access_expires",
    "auth_access_data_raw",
    "auth_code",
    "auth_refresh_token",
    "auth_access_token",
    "__init__",
    "auth_user_get_url",
    "auth_user_process_url",
    "auth_get_token",
    "OneDriveAPIWrapper",
    "api_url_base",
    "api_put_max_bytes",
    "api_bits_url_by_id",
    "api_bits_url_by_path",
    "api_bits_protocol_id",
    "api_bits_default_frag_bytes",
    "api_bits_auth_refresh_before_commit_hack",
    "__call__",
    "get_quota",
    "get_user_data",
    "get_user_id",
    "listdir",
    "info",
    "get",
    "put",
    "put_bits",
    "chunk_callback",
    "overwrite",
    "downsize",
    "bits_api_fallback",
    "mkdir",
    "delete",
    "info_update",
    "link",
    "copy",
    "move",
    "comments",
    "comment_add",
    "comment_delete",
    "OneDriveAPI",
    "resolve_path",
    "PersistentOneDriveAPI",
    "ConfigMixin",
    "from_conf",
    "sync",
    "conf_path_default",
    "conf_save",
    "conf_raise_structure_errors",
    "conf_update_keys",
    "BITSFragment",
    "portalocker.lock",
    "portalocker.unlock",
    "LOCK_SH",
    "LOCK_EX",
    "LOCK_NB",
    "print_result",
    "decode_obj",
    "size_units",
    "id_match",
];

#[test]
fn the_library_page_names_every_member_and_only_what_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/library.md")).expect("the page");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with('|')).collect();
    let quoted = |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let named: Vec<String> = rows
        .iter()
        .flat_map(|row| quoted(row))
        .chain(page.lines().filter(|line| line.starts_with('#')).flat_map(quoted))
        .collect();
    for member in MEMBERS {
        assert!(named.iter().any(|name| name == member), "docs/library.md does not say what became of {member}");
    }
    let mut checked = 0;
    for path in rows.iter().filter_map(|row| row.split(" | ").nth(1)).flat_map(quoted) {
        let mut parts = path.split("::");
        let (Some(module), Some(last)) = (parts.next(), path.rsplit("::").next()) else { continue };
        let home = root.join("src").join(module);
        if !path.contains("::") || !home.is_dir() {
            continue;
        }
        let definitions = [
            format!("fn {last}("),
            format!("fn {last}<"),
            format!("pub {last}:"),
            format!("struct {last}"),
            format!("enum {last}"),
            format!("trait {last}"),
            format!("type {last}"),
            format!("    {last} {{"),
            format!("    {last},"),
            format!("    {last}("),
            format!("mod {last}"),
        ];
        let found = sources_below(&home).iter().any(|text| definitions.iter().any(|form| text.contains(form)));
        assert!(found, "docs/library.md names {path}, and src/{module} has no {last}");
        checked += 1;
    }
    assert!(checked > 60, "only {checked} names were found");
}

fn sources_below(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            texts.extend(sources_below(&path));
        } else {
            texts.push(fs::read_to_string(&path).unwrap_or_default());
        }
    }
    texts
}

/// What `docs/library.md` shows. It is not run, because it is the account of whoever calls it; the example of
/// `drive::Account`, which does the same, is.
#[allow(dead_code, reason = "compiled only")]
async fn the_example_of_the_library_page(local: &Path, copy: &Path) -> Result<(), Box<dyn std::error::Error>> {
    use onedrive_mount::drive::Account;

    let account = Account::from_config(None)?; // or Some(Path::new("/home/ada/.lcrc"))
    let folder = account.drive.find("Documents/Recipes").await?;
    let sent =
        account.drive.upload(local, &folder, "Bread.md", &account.how(), &|done| println!("{done} bytes")).await?;
    account.drive.download(sent.item(), copy, &|_| {}).await?;
    account.close().await;
    Ok(())
}

#[test]
fn the_example_of_the_library_page_compiles() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/library.md")).expect("the page");
    let shown = page.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let compiled: String = include_str!("seed_parity.rs").split_whitespace().collect();
    for line in shown.lines().filter(|line| !line.is_empty()) {
        let line: String = line.split_whitespace().collect();
        assert!(compiled.contains(&line), "not in the test that compiles it: {line}");
    }
}
