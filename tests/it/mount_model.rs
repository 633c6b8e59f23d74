//! The model test through the kernel: random operations by system calls on a real mount, and on another device,
//! against the reference tree; the daemon is stopped, killed and started again at random points.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use onedrive_mount::emulator::Flavour;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::world::generated;
use crate::world::model::{Model, Node, Refusal};
use crate::world::mount::{Home, Mount};
use crate::world::ops::{self, Op, cloud_tree, op, play_elsewhere};
use crate::world::service::{Service, wait_until_uploaded};
use crate::world::side::Side;

/// Both refuse or both agree.
fn same<T: std::fmt::Debug>(
    op: &Op,
    real: io::Result<T>,
    reference: Result<(), Refusal>,
) -> Result<Option<T>, TestCaseError> {
    match (real, reference) {
        (Ok(value), Ok(())) => Ok(Some(value)),
        (Err(error), Err(_)) => {
            const EXPECTED: [i32; 6] = [2, 17, 20, 21, 22, 39]; // ENOENT EEXIST ENOTDIR EISDIR EINVAL ENOTEMPTY
            let code = error.raw_os_error().unwrap_or_default();
            prop_assert!(EXPECTED.contains(&code), "{:?}: {}", op, error);
            Ok(None)
        }
        (real, reference) => {
            Err(TestCaseError::fail(format!("{op:?}: the mount says {real:?}, the reference {reference:?}")))
        }
    }
}

/// The tree as programs see it.
pub fn local_tree(top: &Path) -> io::Result<BTreeMap<String, Node>> {
    let mut tree = BTreeMap::new();
    let mut folders = vec![String::new()];
    let at = |path: &str| {
        let path = path.to_owned();
        move |error: io::Error| io::Error::new(error.kind(), format!("{path}: {error}"))
    };
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(top.join(&folder)).map_err(at(&folder))? {
            let entry = entry.map_err(at(&folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if entry.file_type().map_err(at(&path))?.is_dir() {
                tree.insert(path.clone(), Node::Folder);
                folders.push(path);
            } else {
                let bytes = fs::read(entry.path()).map_err(at(&path))?;
                tree.insert(path, Node::File(bytes));
            }
        }
    }
    Ok(tree)
}

fn here(mount: &Mount, model: &Model) -> Result<(), TestCaseError> {
    let local = local_tree(mount.at()).map_err(|error| TestCaseError::fail(format!("listing: {error}")))?;
    prop_assert_eq!(&local, &model.0, "here");
    Ok(())
}

/// What another device did shows after a poll; the limit only tells a loss from slowness.
fn soon_here(mount: &Mount, model: &Model) -> Result<(), TestCaseError> {
    let started = Instant::now();
    while local_tree(mount.at()).ok().as_ref() != Some(&model.0) {
        if started.elapsed() > Duration::from_secs(30) {
            return here(mount, model);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn at_rest(service: &Service, home: &Home, model: &Model) -> Result<(), TestCaseError> {
    wait_until_uploaded(home);
    prop_assert_eq!(&cloud_tree(service.drive()), &model.0, "the cloud");
    Ok(())
}

/// What another device has made and nobody here has changed since.
///
/// A service without a feed only ceases to show what was removed elsewhere, and of what we have changed ourselves that
/// is not believed for five minutes (`volume_model` has a clock that gets there). So there another device removes nothing
/// but this, which has to go at once.
#[derive(Default)]
struct Theirs(BTreeSet<String>);

impl Theirs {
    fn is_at(path: &str, top: &str) -> bool {
        path == top || path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether everything at and below this place is.
    fn hold(&self, top: &str, model: &Model) -> bool {
        model.0.keys().filter(|path| Self::is_at(path, top)).all(|path| self.0.contains(path))
    }

    fn forget(&mut self, top: &str) {
        self.0.retain(|path| !Self::is_at(path, top));
    }

    /// Before the operation is done.
    fn note(&mut self, op: &Op, model: &Model) {
        match op {
            Op::Elsewhere(ops::Remote::Write(path, _) | ops::Remote::Mkdir(path)) => {
                if !model.0.contains_key(path) {
                    self.0.insert(path.clone());
                }
            }
            Op::Elsewhere(ops::Remote::Rename(path, _) | ops::Remote::Remove(path))
            | Op::Mkdir(path)
            | Op::Write(path, _)
            | Op::Patch(path, ..)
            | Op::Unlink(path)
            | Op::Rmdir(path) => self.forget(path),
            Op::Rename(from, to) => {
                self.forget(from);
                self.forget(to);
            }
            Op::Save(path, _) => {
                self.forget(path);
                self.forget(&format!("{path}.tmp"));
            }
            Op::Read(_) | Op::Settle | Op::Restart | Op::Kill => {}
        }
    }
}

fn play(flavour: Side, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let service = Service::new(flavour);
    let home = service.home("upload:\n  debounce: 20ms\n");
    let mut mount = service.mount(&home);
    let mut model = Model::default();
    let mut theirs = Theirs::default();
    for op in &ops {
        if let Op::Elsewhere(ops::Remote::Remove(path)) = op
            && flavour.live
            && !theirs.hold(path, &model)
        {
            continue;
        }
        theirs.note(op, &model);
        let at = |path: &str| mount.path(path);
        match op {
            Op::Save(path, bytes) => {
                let temporary = format!("{path}.tmp");
                let reference = model.clone().write(&temporary, bytes);
                if same(op, fs::write(at(&temporary), bytes), reference)?.is_some() {
                    let _ = model.write(&temporary, bytes);
                    same(op, fs::rename(at(&temporary), at(path)), model.rename(&temporary, path))?;
                }
            }
            Op::Read(path) => {
                let reference = match model.0.get(path) {
                    Some(Node::File(_)) => Ok(()),
                    Some(Node::Folder) => Err(Refusal::IsAFolder),
                    None => Err(Refusal::NotFound),
                };
                if let Some(bytes) = same(op, fs::read(at(path)), reference)? {
                    prop_assert_eq!(Some(&Node::File(bytes)), model.0.get(path));
                }
            }
            Op::Elsewhere(remote) => {
                at_rest(&service, &home, &model)?;
                play_elsewhere(service.drive(), &mut model, remote);
                soon_here(&mount, &model)?;
            }
            Op::Settle => at_rest(&service, &home, &model)?,
            Op::Restart => {
                prop_assert!(mount.stop().success());
                mount = service.mount(&home);
                here(&mount, &model)?;
            }
            Op::Kill => {
                mount.crash();
                mount = service.mount(&home);
                here(&mount, &model)?;
            }
            call => {
                same(op, ops::system_calls(mount.at(), call), ops::play(&mut model, call))?;
            }
        }
    }
    at_rest(&service, &home, &model)?;
    here(&mount, &model)?;
    prop_assert!(mount.stop().success());
    Ok(())
}

fn run(flavour: Side, cases: u32) {
    let inputs = prop::collection::vec(op(), 20..40);
    generated::run("MODEL_CASES", cases, 30, &inputs, |ops| play(flavour, ops))
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn random_system_calls_agree_with_the_reference_on_a_personal_drive() {
    run(Flavour::PersonalNew.into(), 6);
}

#[test]
fn random_system_calls_agree_with_the_reference_on_a_business_drive() {
    run(Flavour::Business.into(), 6);
}

#[test]
fn random_system_calls_agree_with_the_reference_on_live_connect() {
    run(Side::LIVE, 4);
}
