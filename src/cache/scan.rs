//! Counting what an earlier run has left, without making the start wait for it.
//!
//! One thread lists the folders while the cache is in use. It looks at names, sizes and times only; a map
//! is read when its content is first asked for. What is no pair of a data file and its map is deleted, unless it is just
//! being made.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use super::Shared;
use super::key::Digest;
use super::tables::Record;
use crate::base::clock::Timestamp;
use crate::base::disk::{Disk, Entry, is_begun};

/// Marks a folder as a cache of ours, and tells backup programs to leave it out: a convention described at
/// <https://bford.info/cachedir/>.
const TAG_FILE: &str = "CACHEDIR.TAG";
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# Cached content of onedrive-mount. May be deleted.\n";

/// How the name of a copy ends that is being made.
const COPY: &str = "copy";

/// Half or whole of a cached file.
#[derive(Default)]
struct Found {
    data: Option<u64>,
    map: Option<Timestamp>,
}

/// Starts the count.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let weak = Arc::downgrade(shared);
    std::thread::Builder::new().name("cache-count".into()).spawn(move || {
        let mut found = Vec::new();
        if let Err(error) = list(&weak, &mut found) {
            tracing::warn!(%error, "the cache folder cannot be listed completely");
        }
        if let Some(shared) = weak.upgrade() {
            enter(&shared, found);
        }
    })?;
    Ok(())
}

fn list(weak: &Weak<Shared>, found: &mut Vec<(Digest, u64, Timestamp)>) -> io::Result<()> {
    let Some((root, disk)) = weak.upgrade().map(|shared| (shared.root.clone(), shared.disk.clone())) else {
        return Ok(());
    };
    for entry in disk.list_dir(&root)? {
        if entry.name == TAG_FILE {
            continue;
        }
        let path = root.join(&entry.name);
        let shard = entry.name.to_str().filter(|name| is_shard(name)).map(str::to_owned);
        match shard {
            Some(shard) if entry.is_dir => list_shard(weak, &*disk, &path, &shard, found)?,
            _ => delete(&*disk, &path, &entry),
        }
    }
    Ok(())
}

fn list_shard(
    weak: &Weak<Shared>,
    disk: &dyn Disk,
    folder: &Path,
    shard: &str,
    found: &mut Vec<(Digest, u64, Timestamp)>,
) -> io::Result<()> {
    let mut pairs: HashMap<Digest, Found> = HashMap::new();
    for entry in disk.list_dir(folder)? {
        let name = entry.name.to_str().unwrap_or_default();
        let parsed = name.split_once('.').filter(|(stem, _)| stem.starts_with(shard));
        match parsed.and_then(|(stem, kind)| Some((Digest::from_hex(stem)?, kind))) {
            Some((digest, "data")) if !entry.is_dir => {
                pairs.entry(digest).or_default().data = Some(entry.allocated.min(entry.len));
            }
            Some((digest, "map")) if !entry.is_dir => {
                pairs.entry(digest).or_default().map = Some(entry.modified);
            }
            Some((digest, COPY)) if !entry.is_dir => delete_copy(weak, disk, &folder.join(&entry.name), &digest),
            _ => delete(disk, &folder.join(&entry.name), &entry),
        }
    }
    for (digest, pair) in pairs {
        match (pair.data, pair.map) {
            (Some(bytes), Some(used)) => found.push((digest, bytes, used)),
            _ => delete_half(weak, disk, folder, &digest),
        }
    }
    Ok(())
}

/// Deletes half a pair, unless it is just being made.
fn delete_half(weak: &Weak<Shared>, disk: &dyn Disk, folder: &Path, digest: &Digest) {
    let Some(shared) = weak.upgrade() else { return };
    let tables = shared.lock();
    if tables.files.contains(digest) || tables.dying.contains(digest) {
        return;
    }
    // Under the lock, under which files are made: so nobody makes them meanwhile.
    for kind in ["map", "data"] {
        let path: PathBuf = folder.join(format!("{}.{kind}", digest.hex()));
        warn_of(&path, disk.remove(&path));
    }
}

/// Deletes a copy that was never finished, unless it is just being made.
fn delete_copy(weak: &Weak<Shared>, disk: &dyn Disk, path: &Path, digest: &Digest) {
    let Some(shared) = weak.upgrade() else { return };
    let tables = shared.lock();
    // Under the lock, so that none is begun meanwhile.
    if !tables.copying.contains(digest) {
        warn_of(path, disk.remove(path));
    }
}

fn delete(disk: &dyn Disk, path: &Path, entry: &Entry) {
    warn_of(path, if entry.is_dir { delete_tree(disk, path) } else { disk.remove(path) });
}

fn warn_of(path: &Path, deleted: io::Result<()>) {
    if let Err(error) = deleted {
        tracing::warn!(path = %path.display(), %error, "a stray file in the cache cannot be deleted");
    }
}

fn delete_tree(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
    for entry in disk.list_dir(folder)? {
        let path = folder.join(&entry.name);
        if entry.is_dir { delete_tree(disk, &path)? } else { disk.remove(&path)? }
    }
    disk.remove_dir(folder)
}

fn is_shard(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Puts what was found behind everything that is in use already.
fn enter(shared: &Shared, mut found: Vec<(Digest, u64, Timestamp)>) {
    found.sort_by_key(|(_, _, used)| std::cmp::Reverse(*used));
    let mut tables = shared.lock();
    for (digest, bytes, used) in found {
        if tables.files.contains(&digest) || tables.dying.contains(&digest) {
            continue;
        }
        tables.files.push(digest, Record { bytes, used, generation: 0 });
        // Newest first, each one to the end of the line.
        tables.files.demote(&digest);
        tables.total += bytes;
    }
    tables.scanned = true;
    shared.counted.notify_all();
}

/// Makes the folder, or makes sure that it is ours.
pub(super) fn claim_folder(folder: &Path, disk: &dyn Disk) -> io::Result<()> {
    disk.create_dir_private(folder)?;
    let tag = folder.join(TAG_FILE);
    match disk.read(&tag) {
        Ok(bytes) if bytes == TAG.as_bytes() => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ if disk.list_dir(folder)?.iter().all(is_unfinished_tag) => {
            disk.replace_atomically(&tag, TAG.as_bytes(), 0o600)
        }
        Ok(_) if holds_only_ours(folder, disk)? => {
            tracing::warn!(path = %tag.display(), "the cache's tag file is damaged; writing it again");
            disk.replace_atomically(&tag, TAG.as_bytes(), 0o600)
        }
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the folder holds files of somebody else; choose an empty one",
        )),
    }
}

/// The tag file as it is written before it gets its name: what a death in the middle of the very first start leaves.
fn is_unfinished_tag(entry: &Entry) -> bool {
    !entry.is_dir && is_begun(&entry.name, TAG_FILE)
}

/// Whether a folder has a tag file, whatever is in it, and beside it nothing but what a cache makes.
fn holds_only_ours(folder: &Path, disk: &dyn Disk) -> io::Result<bool> {
    for entry in disk.list_dir(folder)? {
        if entry.name == TAG_FILE || is_unfinished_tag(&entry) {
            continue;
        }
        if !entry.is_dir || !entry.name.to_str().is_some_and(is_shard) {
            return Ok(false);
        }
        for entry in disk.list_dir(&folder.join(&entry.name))? {
            let name = entry.name.to_str().and_then(|name| name.split_once('.'));
            if !name
                .is_some_and(|(stem, kind)| Digest::from_hex(stem).is_some() && matches!(kind, "data" | "map" | COPY))
            {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
