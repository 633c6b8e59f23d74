//! Every promise of the README names the tests that hold it; they are there, they are tests, and somebody runs them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const README: &str = include_str!("../../README.md");

/// The promises that are made in sentences; those of the tables are looked up there.
const IN_PROSE: &[&str] = &[
    "`close` and `fsync` with another `durability`",
    "a power cut while something is on its way loses nothing, and nothing stands twice after it",
    "a closed lid, however long, needs no restart",
    "a network that goes half-way through a file",
    "only what the sign-in service says for good is a sign-out; trouble is not",
    "what OneDrive still shows from before your own change is nobody else's version",
    "what you deleted or renamed does not stand there again",
    "what OneDrive says once, in a bad moment or a moment too late, takes nothing away",
    "a file that never rests, such as a log, is sent as well",
    "what you made stays in sight, whatever the network does",
    "what you do while a request is on its way counts, not what its answer says",
    "a folder that lives is never shown empty",
    "a copy of a large file stops nobody",
    "a program that is killed leaves nobody hanging",
    "more new files than a program may have open",
    "what only you can help with is told on the desktop, once, and nothing else is",
    "all of it at once, for as long as you like",
    "`wait` ends well only when everything that was asked about is in the cloud",
    "sending never gives up",
    "changes made elsewhere appear",
    "an open file keeps showing the version it was opened on",
    "what is written goes into the version that was opened; an edit of a part arrives with the rest, from the file's history if need be",
    "a name that stays on this machine keeps nothing from the cloud that belongs there",
    "a full disk, a full drive",
    "the cache keeps to its size and leaves the disk its room",
    "very many deletions or overwrites at once are held until you have been asked",
    "the list of all files can be deleted, and no work goes with it",
    "nobody ever sees half a file in the cloud, or an empty one in its place",
    "a change says which version it is meant for",
    "what cannot be stored, folders of other drives, what cannot be entered, locks; where a file stands",
    "what waits for room in the drive is sent when there is some",
    "an end that is asked for: twenty seconds for what is on its way, five for programs, none after a second signal",
    "somebody who waits goes before what is sent, and that before the rest; patience that the service asks for is kept by all",
    "damage on the local disk is never served",
    "what is damaged on its way here does not go back to the cloud with an edit",
    "what the service sends does no harm",
];

/// The rows of the first table after a line that begins so, without its head.
fn table(after: &str) -> Vec<Vec<String>> {
    let mut lines =
        README.lines().skip_while(|line| !line.starts_with(after)).skip_while(|line| !line.starts_with('|'));
    let rows = lines.by_ref().take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// A test: the file it belongs to, and why `cargo test` passes over it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Test {
    module: String,
    ignored: Option<String>,
}

/// The tests of a source by name. A function is one if an attribute says so; or if it is handed to a macro of this source
/// that makes tests, for which it stands alone on a line.
fn tests_of(module: &str, text: &str) -> BTreeMap<String, Test> {
    let makes_tests = |line: &str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    let (mut tests, mut attributes) = (BTreeMap::new(), Vec::new());
    // The macro that is being defined or used, and those that make tests.
    let (mut defined, mut used, mut makers) = (None, false, Vec::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("macro_rules! ") {
            defined = name.split(' ').next();
        } else if line.starts_with('}') {
            (defined, used) = (None, false);
        } else if let Some((name, "")) = line.split_once("! {") {
            used = makers.contains(&name);
        }
        let line = line.trim_start().trim_start_matches("$(");
        let test = Test { module: module.to_owned(), ignored: None };
        if line.starts_with("#[") {
            attributes.push(line);
            if makes_tests(line) {
                makers.extend(defined);
            }
        } else if let Some(rest) = line.trim_start_matches("pub ").trim_start_matches("async ").strip_prefix("fn ") {
            if attributes.iter().any(|line| makes_tests(line)) {
                let reason = attributes.iter().find_map(|line| line.strip_prefix("#[ignore"));
                let ignored = reason.map(str::to_owned);
                tests.insert(rest.split('(').next().expect("a beginning").to_owned(), Test { ignored, ..test });
            }
            attributes.clear();
        } else if !line.starts_with("///") {
            attributes.clear();
            let name = line.trim_end_matches(',');
            if used && !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                tests.insert(name.to_owned(), test);
            }
        }
    }
    tests
}

/// All tests; those of a folder of `tests/it` belong to the file of its name, those of the program to their own file.
fn all_tests() -> BTreeMap<String, Test> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut tests, mut folders) = (BTreeMap::new(), vec![root.join("src"), root.join("tests/it")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the tests") {
            let path = entry.expect("a test").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let within = path.strip_prefix(root).expect("below").to_str().expect("text");
                let module = within
                    .strip_prefix("tests/it/")
                    .map_or(within, |below| below.split(['/', '.']).next().expect("a name"));
                // Of two of one name the one that goes through the whole program is meant.
                for (name, test) in tests_of(module, &fs::read_to_string(&path).expect("a source")) {
                    tests.entry(name).or_insert(test);
                }
            }
        }
    }
    tests
}

/// What is wrong with a name in the table, which may be followed by the script that runs it.
fn fault(tests: &BTreeMap<String, Test>, cell: &str) -> Option<String> {
    let (name, runner) = match cell.split_once(" (by ") {
        Some((name, runner)) => (name, Some(runner.trim_end_matches(')').trim_matches('`'))),
        None => (cell, None),
    };
    let name = name.trim_matches('`');
    let meant: Vec<&Test> =
        tests.iter().filter(|(test, of)| *test == name || of.module == name).map(|(_, of)| of).collect();
    if meant.is_empty() {
        return Some("there is no such test".to_owned());
    }
    let reasons: Option<Vec<&String>> = meant.iter().map(|test| test.ignored.as_ref()).collect();
    match (reasons, runner) {
        (None, None) => None,
        (None, Some(_)) => Some("cargo runs it anyhow".to_owned()),
        (Some(reasons), None) => Some(format!("it is ignored, and nothing is said of who runs it: {reasons:?}")),
        (Some(reasons), Some(runner)) => {
            let script = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(runner)).unwrap_or_default();
            let runs = script.contains(&format!("{}::", meant[0].module)) && script.contains("ignored");
            let told = reasons.iter().all(|reason| reason.contains(runner));
            (!runs || !told).then(|| format!("{runner} does not run it, or it does not say so: {reasons:?}"))
        }
    }
}

#[test]
fn every_promise_names_tests_that_are_run() {
    let tests = all_tests();
    let held = table("### Which test holds which promise");
    assert!(held.len() > 15, "{held:?}");
    for row in &held {
        let [promise, names] = row.as_slice() else { panic!("{row:?}") };
        for name in names.split(", ") {
            if let Some(fault) = fault(&tests, name) {
                panic!("{promise}: {name}: {fault}");
            }
        }
    }
    let held: Vec<&str> = held.iter().map(|row| row[0].as_str()).collect();
    for promise in IN_PROSE {
        assert!(held.contains(promise), "nobody holds the promise “{promise}”");
    }
    for row in table("## What is promised") {
        assert!(held.contains(&row[0].as_str()), "nobody holds the promise “{}”", row[0]);
    }
    for row in table("**Conflicts** lose nothing") {
        let promise = format!("{}, and {} elsewhere", row[0], row[1].replace("changed to", "changed elsewhere to"));
        let promise =
            promise.replace("changed elsewhere to the same bytes elsewhere", "changed elsewhere to the same bytes");
        assert!(held.contains(&promise.as_str()), "nobody holds the promise “{promise}”");
    }
}

#[test]
fn helpers_are_no_tests_and_ignored_ones_need_somebody_who_runs_them() {
    let text = "
#[test]
/// What it shows.
fn a_test() {
    fn inside() {}
}

fn a_helper() {}

#[tokio::test(flavor = \"multi_thread\")]
#[ignore = \"needs fsx; run by contrib/test.sh\"]
async fn ignored() {}

macro_rules! suite {
    ($($name:ident)*) => {
        $(#[tokio::test]
        async fn $name() {})*
    };
}

suite! {
    handed_over,
}

other! {
    not_handed_over,
}
";
    let tests = tests_of("suites", text);
    for (name, is_right) in [
        ("`a_test`", true),
        ("`inside`", false),
        ("`a_helper`", false),
        ("`handed_over`", true),
        ("`not_handed_over`", false),
        ("`suites`", true),
        ("`ignored`", false),
        ("`ignored` (by `contrib/test.sh`)", true),
        ("`ignored` (by `contrib/soak.sh`)", false),
        ("`a_test` (by `contrib/test.sh`)", false),
    ] {
        assert_eq!(fault(&tests, name).is_none(), is_right, "{name}: {:?}", fault(&tests, name));
    }
}
