//! Every promise of the README names the tests that hold it, and they are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const README: &str = include_str!("../../README.md");

/// The rows of the first table after a line that begins so, without its head.
fn table(after: &str) -> Vec<Vec<String>> {
    let mut lines =
        README.lines().skip_while(|line| !line.starts_with(after)).skip_while(|line| !line.starts_with('|'));
    let rows = lines.by_ref().take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn every_promise_names_tests_that_exist() {
    let mut known = BTreeSet::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it")).expect("the tests") {
        let path = entry.expect("a test").path();
        if path.extension().is_none_or(|end| end != "rs") {
            continue;
        }
        known.insert(path.file_stem().expect("a name").to_string_lossy().into_owned());
        let text = fs::read_to_string(&path).expect("a source");
        known.extend(text.lines().filter_map(|line| {
            let rest = line.trim_start_matches("async ").strip_prefix("fn ")?;
            Some(rest.split('(').next()?.to_owned())
        }));
    }
    let held = table("### Which test holds which promise");
    assert!(held.len() > 15, "{held:?}");
    for row in &held {
        let [promise, tests] = row.as_slice() else { panic!("{row:?}") };
        let names: Vec<&str> = tests.split(", ").map(|name| name.trim_matches('`')).collect();
        for name in &names {
            assert!(known.contains(*name), "{promise}: there is no test {name}");
        }
    }
    let held: BTreeSet<&str> = held.iter().map(|row| row[0].as_str()).collect();
    for row in table("## What is promised") {
        assert!(held.contains(row[0].as_str()), "nobody holds the promise “{}”", row[0]);
    }
    for row in table("**Conflicts** lose nothing") {
        let promise = format!("{}, and {} elsewhere", row[0], row[1].replace("changed to", "changed elsewhere to"));
        let promise =
            promise.replace("changed elsewhere to the same bytes elsewhere", "changed elsewhere to the same bytes");
        assert!(held.contains(promise.as_str()), "nobody holds the promise “{promise}”");
    }
}
