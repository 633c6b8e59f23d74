//! Real deaths: the daemon of a real mount is killed at random moments of random system calls, or while it starts on
//! what the death before left; then the next one heals the mount point and goes on.
//!
//! After each death every call that had returned is found, whole and in its place; the one that was under way is there
//! or not. Now and then everything comes to rest, and the cloud has the same tree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use onedrive_mount::emulator::Flavour;
use proptest::prelude::*;

use crate::mount_model::local_tree;
use crate::world::generated::{self, Dice, Source};
use crate::world::model::{Model, Node};
use crate::world::mount::Start;
use crate::world::ops::{Op, call, cloud_tree, outcomes, play, system_calls};
use crate::world::service::{Service, wait_until_uploaded};

/// What the user has done so far, and what is under way.
pub struct Work {
    pub model: Model,
    pub under_way: Option<Op>,
}

/// One call, here and in the reference; `false` if the mount has died.
pub fn step(top: &Path, op: &Op, state: &Mutex<Work>) -> bool {
    state.lock().expect("no panic").under_way = Some(op.clone());
    let result = system_calls(top, op);
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
    let deaths = generated::asked("KILLS").unwrap_or(deaths);
    let seed = generated::seed("KILL_SEED");
    let mut dice = Dice(seed);
    let mut source = Source::new(prop::collection::vec(call(), 80), seed);

    let service = Service::new(flavour);
    let home = service.home("upload:\n  debounce: 20ms\n");
    let mut possible = vec![Model::default()];
    let (mut starting, mut last) = (0, None);
    for death in 0..deaths {
        if dice.below(5) == 0 {
            starting += 1;
            Start::with(Vec::<String>::new()).kill_while_starting(&home, Duration::from_millis(dice.below(250)));
        }
        let mount = service.mount(&home);
        let found = local_tree(mount.at()).unwrap_or_else(|error| panic!("death {death}: {error}\n{}", mount.log()));
        let Some(at) = possible.iter().position(|model| model.0 == found) else {
            let differences: Vec<String> = possible.iter().map(|model| difference(&found, model)).collect();
            panic!("death {death}: found is none of what was possible: {differences:#?}\n{last:?}\n{}", mount.log());
        };
        let model = possible.swap_remove(at);
        if death % 5 == 4 {
            wait_until_uploaded(&home);
            assert_eq!(cloud_tree(service.drive()), model.0, "death {death}: the cloud");
        }
        let state = Mutex::new(Work { model, under_way: None });
        let ops = source.draw();
        let top = mount.at().to_owned();
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| ops.iter().all(|op| step(&top, op, &state)));
            std::thread::sleep(Duration::from_millis(dice.below(160)));
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
