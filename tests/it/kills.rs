//! Real deaths: the daemon of a real mount is killed at random moments of random system calls, or while it starts on
//! what the death before left; then the next one heals the mount point and goes on.
//!
//! After each death every call that had returned is found, whole and in its place; the one that was under way is there
//! or not. Now and then everything comes to rest, and the cloud has the same tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use onedrive_mount::emulator::Flavour;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use crate::mount_model::local_tree;
use crate::world::model::{Model, Node, Refusal};
use crate::world::mount::Start;
use crate::world::ops::{Op, cloud_tree, op, outcomes};
use crate::world::power::Dice;
use crate::world::service::{Service, wait_until_uploaded};

/// What the user has done so far, and what is under way.
pub struct Work {
    pub model: Model,
    pub under_way: Option<Op>,
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).open(path)?.write_all(bytes)
}

/// A call as a program makes it.
fn call(top: &Path, op: &Op) -> io::Result<()> {
    let at = |path: &str| top.join(path);
    match op {
        Op::Mkdir(path) => fs::create_dir(at(path)),
        Op::Write(path, bytes) => write(&at(path), bytes),
        Op::Patch(path, offset, bytes) => {
            OpenOptions::new().read(true).write(true).open(at(path))?.write_all_at(bytes, *offset as u64)
        }
        Op::Unlink(path) => fs::remove_file(at(path)),
        Op::Rmdir(path) => fs::remove_dir(at(path)),
        Op::Rename(from, to) => fs::rename(at(from), at(to)),
        Op::Save(path, bytes) => {
            let temporary = at(&format!("{path}.tmp"));
            write(&temporary, bytes)?;
            fs::rename(temporary, at(path))
        }
        _ => Ok(()),
    }
}

/// The same in the reference. A save that is refused at its second call has made its first.
fn play(model: &mut Model, op: &Op) -> Result<(), Refusal> {
    match op {
        Op::Mkdir(path) => model.mkdir(path),
        Op::Write(path, bytes) => model.write(path, bytes),
        Op::Patch(path, at, bytes) => model.patch(path, *at, bytes),
        Op::Unlink(path) => model.unlink(path),
        Op::Rmdir(path) => model.rmdir(path),
        Op::Rename(from, to) => model.rename(from, to),
        Op::Save(path, bytes) => {
            let temporary = format!("{path}.tmp");
            model.write(&temporary, bytes)?;
            model.rename(&temporary, path)
        }
        _ => Ok(()),
    }
}

/// One call, here and in the reference; `false` if the mount has died.
pub fn step(top: &Path, op: &Op, state: &Mutex<Work>) -> bool {
    state.lock().expect("no panic").under_way = Some(op.clone());
    let result = call(top, op);
    // The error of a close is told to nobody, so that the daemon is asked once more: what it has answered this after,
    // it has seen.
    if rustix::fs::statvfs(top).is_err() {
        return false;
    }
    let mut state = state.lock().expect("no panic");
    if let Err(error) = &result {
        const REFUSALS: [i32; 6] = [2, 17, 20, 21, 22, 39]; // ENOENT EEXIST ENOTDIR EISDIR EINVAL ENOTEMPTY
        let code = error.raw_os_error().unwrap_or_default();
        assert!(REFUSALS.contains(&code), "{}: {error}", brief(op));
    }
    let reference = play(&mut state.model, op);
    assert_eq!(result.is_ok(), reference.is_ok(), "{}: {result:?}, the reference says {reference:?}", brief(op));
    state.under_way = None;
    true
}

/// What is under way, without long contents.
fn brief(op: &Op) -> String {
    format!("{op:?}").chars().take(120).collect()
}

/// Where two trees differ.
pub fn difference(found: &BTreeMap<String, Node>, model: &Model) -> String {
    let brief = |node: Option<&Node>| match node {
        None => "nothing".to_owned(),
        Some(Node::Folder) => "a folder".to_owned(),
        Some(Node::File(bytes)) => format!("{} bytes {:?}", bytes.len(), &bytes[..bytes.len().min(4)]),
    };
    let paths: BTreeSet<&String> = found.keys().chain(model.0.keys()).collect();
    let differ = paths.into_iter().filter(|path| found.get(*path) != model.0.get(*path));
    differ
        .map(|path| format!("{path}: found {}, wanted {}; ", brief(found.get(path)), brief(model.0.get(path))))
        .collect()
}

fn run(flavour: Flavour, deaths: u32) {
    let deaths = std::env::var("KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(deaths);
    let seed = std::env::var("KILL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).expect("random numbers");
        u64::from_le_bytes(bytes) >> 1
    });
    println!("KILL_SEED={seed}");
    let mut dice = Dice::new(seed);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let ours = op()
        .prop_filter("calls", |op| !matches!(op, Op::Elsewhere(_) | Op::Restart | Op::Kill | Op::Settle | Op::Read(_)));
    let sequence = prop::collection::vec(ours, 80);

    let service = Service::new(flavour);
    let home = service.home("upload:\n  debounce: 20ms\n");
    let mut possible = vec![Model::default()];
    let (mut starting, mut last) = (0, None);
    for death in 0..deaths {
        if dice.below(5) == 0 {
            starting += 1;
            Start::with(Vec::<String>::new()).kill_while_starting(&home, Duration::from_millis(dice.below(250) as u64));
        }
        let mount = service.mount(&home);
        let found = local_tree(mount.at()).unwrap_or_else(|error| panic!("death {death}: {error}\n{}", mount.log()));
        let Some(at) = possible.iter().position(|model| model.0 == found) else {
            let differences: Vec<String> = possible.iter().map(|model| difference(&found, model)).collect();
            panic!("death {death}: found is none of what was possible: {differences:#?}\n{last:?}\n{}", mount.log());
        };
        let model = possible.swap_remove(at);
        if death % 25 == 24 {
            wait_until_uploaded(&home);
            assert_eq!(cloud_tree(service.drive()), model.0, "death {death}: the cloud");
        }
        let state = Mutex::new(Work { model, under_way: None });
        let ops = sequence.new_tree(&mut runner).expect("operations").current();
        let top = mount.at().to_owned();
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| ops.iter().all(|op| step(&top, op, &state)));
            std::thread::sleep(Duration::from_millis(dice.below(160) as u64));
            mount.crash();
            worker.join().expect("the worker is content");
        });
        let Work { model, under_way } = state.into_inner().expect("no panic");
        last = under_way.as_ref().map(brief);
        possible = match under_way {
            Some(op) => outcomes(&model, &op),
            None => vec![model],
        };
    }
    let mount = service.mount(&home);
    let found = local_tree(mount.at()).expect("the tree");
    let differences: Vec<String> = possible.iter().map(|model| difference(&found, model)).collect();
    assert!(differences.iter().any(String::is_empty), "at the end: {differences:#?}");
    wait_until_uploaded(&home);
    assert_eq!(cloud_tree(service.drive()), found, "the cloud");
    assert!(mount.stop().success());
    println!("real kills, {flavour:?}: {deaths}, and {starting} more while starting, nothing lost");
}

#[test]
fn a_daemon_that_is_killed_again_and_again_loses_nothing_on_a_personal_drive() {
    run(Flavour::PersonalNew, 15);
}

#[test]
fn a_daemon_that_is_killed_again_and_again_loses_nothing_on_a_business_drive() {
    run(Flavour::Business, 15);
}
