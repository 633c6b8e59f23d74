//! What can happen to a drive: the alphabet of the model tests.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use onedrive_mount::emulator::{self, DriveHandle};
use proptest::prelude::*;

use super::generated::Dice;
use super::model::{Model, Node, Refusal};

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
            let before = model.0.get(path).cloned();
            if model.write(path, bytes).is_ok() {
                if matches!(before, Some(Node::File(old)) if old.len() == bytes.len() && old != *bytes) {
                    let_another_second_begin();
                }
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

/// Live Connect knows a version by a whole second and a size: two of one size are told apart only if they were stored in
/// different seconds, and the reference does not know of that.
fn let_another_second_begin() {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set");
    std::thread::sleep(Duration::from_nanos(1_000_000_000 - u64::from(since_epoch.subsec_nanos())));
}

/// Operations that are calls of our user's programs and change something.
pub fn call() -> impl Strategy<Value = Op> {
    op().prop_filter("calls", |op| !matches!(op, Op::Elsewhere(_) | Op::Restart | Op::Kill | Op::Settle | Op::Read(_)))
}

/// Makes one in so many contents a long one, which goes in fragments.
pub fn lengthen(op: &mut Op, one_in: u64, dice: &mut Dice) {
    if let Op::Write(_, bytes) | Op::Save(_, bytes) = op
        && dice.below(one_in) == 0
    {
        let (seed, length) = (dice.below(251) as u8, (4 << 20) + dice.index(3 << 20));
        *bytes = (0..length as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 23) as u8 ^ seed).collect();
    }
}

/// Our user acts on a mount, as programs do.
pub fn system_calls(top: &Path, op: &Op) -> io::Result<()> {
    let at = |path: &str| top.join(path);
    match op {
        Op::Mkdir(path) => fs::create_dir(at(path)),
        Op::Write(path, bytes) => fs::write(at(path), bytes),
        Op::Patch(path, offset, bytes) => {
            File::options().read(true).write(true).open(at(path))?.write_all_at(bytes, *offset as u64)
        }
        Op::Unlink(path) => fs::remove_file(at(path)),
        Op::Rmdir(path) => fs::remove_dir(at(path)),
        Op::Rename(from, to) => fs::rename(at(from), at(to)),
        Op::Save(path, bytes) => {
            let temporary = at(&format!("{path}.tmp"));
            fs::write(&temporary, bytes)?;
            fs::rename(temporary, at(path))
        }
        Op::Read(_) | Op::Elsewhere(_) | Op::Settle | Op::Restart | Op::Kill => Ok(()),
    }
}

/// Our user acts on the reference. A save that is refused at its second call has made its first; what is no call changes
/// nothing.
pub fn play(model: &mut Model, op: &Op) -> Result<(), Refusal> {
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
        Op::Read(_) | Op::Elsewhere(_) | Op::Settle | Op::Restart | Op::Kill => Ok(()),
    }
}

/// The states that may be found after an operation was cut: before it, after it, and in between for what is two calls.
pub fn outcomes(model: &Model, op: &Op) -> Vec<Model> {
    let (mut after, mut between) = (model.clone(), model.clone());
    let _ = play(&mut after, op);
    let _ = match op {
        // A new file is there, empty, from its creation on; until it is closed nobody was told that it is safe.
        Op::Write(path, _) => between.write(path, &[]),
        Op::Save(path, bytes) => between.write(&format!("{path}.tmp"), bytes),
        _ => Ok(()),
    };
    vec![model.clone(), after, between]
}
