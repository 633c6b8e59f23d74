//! What can happen to a drive: the alphabet of the model tests.

use std::collections::BTreeMap;

use onedrive_mount::emulator::{self, DriveHandle};
use proptest::prelude::*;

use super::model::{Model, Node};

/// What can happen. Paths come from a tiny alphabet, so that names collide often.
#[derive(Clone, Debug)]
pub enum Op {
    Mkdir(String),
    Write(String, Vec<u8>),
    Patch(String, usize, Vec<u8>),
    Unlink(String),
    Rmdir(String),
    Rename(String, String),
    Read(String),
    /// Saves as careful programs do: a new file, renamed over the old one.
    Save(String, Vec<u8>),
    /// Everything comes to rest; then the other device acts.
    Elsewhere(Remote),
    Settle,
    /// A clean stop and start.
    Restart,
    /// The daemon dies without a word and is started again.
    Kill,
}

#[derive(Clone, Debug)]
pub enum Remote {
    Write(String, Vec<u8>),
    Mkdir(String),
    Remove(String),
    Rename(String, String),
}

fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![4 => Just("a"), 4 => Just("b"), 1 => Just("A"), 2 => Just("c.txt"), 1 => Just("x:y")];
    prop::collection::vec(name, 1..=3).prop_map(|names| names.join("/"))
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..40),
        1 => any::<u8>().prop_map(|seed| (0..400_000u32).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect()),
    ]
}

/// Any operation.
pub fn op() -> impl Strategy<Value = Op> {
    let remote = prop_oneof![
        3 => (path(), bytes()).prop_map(|(p, b)| Remote::Write(p, b)),
        1 => path().prop_map(Remote::Mkdir),
        1 => path().prop_map(Remote::Remove),
        2 => (path(), path()).prop_map(|(a, b)| Remote::Rename(a, b)),
    ];
    prop_oneof![
        3 => path().prop_map(Op::Mkdir),
        5 => (path(), bytes()).prop_map(|(p, b)| Op::Write(p, b)),
        2 => (path(), 0..60usize, prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(p, at, b)| Op::Patch(p, at, b)),
        2 => path().prop_map(Op::Unlink),
        1 => path().prop_map(Op::Rmdir),
        4 => (path(), path()).prop_map(|(a, b)| Op::Rename(a, b)),
        2 => path().prop_map(Op::Read),
        2 => (path(), bytes()).prop_map(|(p, b)| Op::Save(p, b)),
        2 => remote.prop_map(Op::Elsewhere),
        1 => Just(Op::Settle),
        1 => Just(Op::Restart),
        1 => Just(Op::Kill),
    ]
}

/// The tree in the cloud, in the names that users see.
pub fn cloud_tree(drive: &DriveHandle) -> BTreeMap<String, Node> {
    drive
        .tree()
        .into_iter()
        .map(|(path, node)| {
            let node = match node {
                emulator::Node::Folder => Node::Folder,
                emulator::Node::File(bytes) => Node::File(bytes.to_vec()),
            };
            let local: Vec<String> =
                path.trim_start_matches('/').split('/').map(onedrive_mount::base::name::to_local).collect();
            (local.join("/"), node)
        })
        .collect()
}

fn remote_path(path: &str) -> String {
    let names: Vec<String> = path
        .split('/')
        .map(|name| onedrive_mount::base::name::to_remote(name.as_ref()).expect("a storable name"))
        .collect();
    format!("/{}", names.join("/"))
}

/// Another device acts, on the drive and on the reference alike; what the reference refuses does not happen.
pub fn play_elsewhere(drive: &DriveHandle, model: &mut Model, remote: &Remote) {
    match remote {
        Remote::Write(path, bytes) => {
            if model.write(path, bytes).is_ok() {
                drive.write_file(&remote_path(path), bytes.clone());
            }
        }
        Remote::Mkdir(path) => {
            if model.mkdir(path).is_ok() {
                drive.create_folder(&remote_path(path));
            }
        }
        Remote::Remove(path) => {
            if model.0.contains_key(path) {
                model.remove_all(path);
                drive.remove(&remote_path(path));
            }
        }
        Remote::Rename(from, to) => {
            // A device renames to names that are free.
            let mut after = model.clone();
            if !after.0.contains_key(to) && after.rename(from, to).is_ok() {
                *model = after;
                drive.rename(&remote_path(from), &remote_path(to));
            }
        }
    }
}

/// The states that may be found after an operation was cut: before it, after it, and in between for what is two calls.
pub fn outcomes(model: &Model, op: &Op) -> Vec<Model> {
    let mut after = model.clone();
    let mut between = model.clone();
    match op {
        Op::Mkdir(path) => {
            let _ = after.mkdir(path);
        }
        Op::Write(path, bytes) => {
            let _ = after.write(path, bytes);
            // A new file is there, empty, from its creation on; until it is closed nobody was told that it is safe.
            let _ = between.write(path, &[]);
        }
        Op::Patch(path, at, bytes) => {
            let _ = after.patch(path, *at, bytes);
        }
        Op::Unlink(path) => {
            let _ = after.unlink(path);
        }
        Op::Rmdir(path) => {
            let _ = after.rmdir(path);
        }
        Op::Rename(from, to) => {
            let _ = after.rename(from, to);
        }
        Op::Save(path, bytes) => {
            let temporary = format!("{path}.tmp");
            if after.write(&temporary, bytes).is_ok() {
                between = after.clone();
                let _ = after.rename(&temporary, path);
            }
        }
        _ => {}
    }
    vec![model.clone(), after, between]
}
