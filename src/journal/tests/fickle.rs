//! A disk that forgets what was not synced, refuses to sync when told to, and then behaves as Linux does: it says so once,
//! and takes the bytes for written from then on.
//!
//! SQLite writes past it; what is durable of its log is what was there when the log was last synced here, without what a
//! sync that failed has lost, unless that was written again.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::base::disk::{Disk, DiskFile, Entry, Open, RealDisk, Room};
use crate::base::ranges::RangeSet;

enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

fn arrive(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Length(length) => content.resize(*length as usize, 0),
        Change::Write(at, bytes) => {
            let end = *at as usize + bytes.len();
            content.resize(content.len().max(end), 0);
            content[*at as usize..end].copy_from_slice(bytes);
        }
    }
}

#[derive(Default)]
struct Platter {
    durable: HashMap<PathBuf, Vec<u8>>,
    open: HashMap<PathBuf, Vec<Change>>,
    /// Bytes of SQLite's log that a failed sync has lost.
    lost: RangeSet,
    refusing: HashSet<String>,
    /// Done in the middle of the next sync of a draft.
    meanwhile: Option<Box<dyn FnOnce() + Send>>,
}

/// The disk; clones are the same one.
#[derive(Clone, Default)]
pub(super) struct FickleDisk(Arc<Mutex<Platter>>);

struct FickleFile(Arc<dyn DiskFile>, PathBuf, FickleDisk);

fn is_log(path: &Path) -> bool {
    path.to_string_lossy().ends_with("-wal")
}

fn is_of_sqlite(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.to_string_lossy().starts_with("db"))
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() { found.extend(files_in(&entry)) } else { found.push(entry) }
    }
    found
}

fn put(from: &Path, path: &Path, to: &Path, content: &[u8]) {
    let target = to.join(path.strip_prefix(from).expect("below"));
    std::fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
    std::fs::write(target, content).expect("a copy");
}

impl FickleDisk {
    fn lock(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().expect("no panic with it")
    }

    /// What is there now is durable.
    pub(super) fn holding(folder: &Path) -> Self {
        let drafts = files_in(folder).into_iter().filter(|path| !is_of_sqlite(path));
        let durable = drafts.map(|path| (path.clone(), std::fs::read(path).expect("a file of ours"))).collect();
        Self(Arc::new(Mutex::new(Platter { durable, ..Platter::default() })))
    }

    /// Syncs of files whose path has this in it fail from now on.
    pub(super) fn refuse(&self, part: &str) {
        self.lock().refusing.insert(part.to_owned());
    }

    pub(super) fn allow(&self) {
        self.lock().refusing.clear();
    }

    pub(super) fn meanwhile(&self, what: impl FnOnce() + Send + 'static) {
        self.lock().meanwhile = Some(Box::new(what));
    }

    /// The daemon dies; the machine, and with it what was not synced, lives. The folder goes on elsewhere.
    pub(super) fn after_death(&self, from: &Path, to: &Path) -> Self {
        let platter = self.lock();
        let mut now = Platter::default();
        for path in files_in(from) {
            let content = std::fs::read(&path).expect("a file of ours");
            put(from, &path, to, &content);
            let target = to.join(path.strip_prefix(from).expect("below"));
            if let Some(durable) = platter.durable.get(&path) {
                now.durable.insert(target.clone(), durable.clone());
            }
            let same = platter.durable.get(&path) == Some(&content);
            if !same && !is_of_sqlite(&path) {
                let changes = vec![Change::Length(content.len() as u64), Change::Write(0, content)];
                now.open.insert(target, changes);
            }
        }
        Self(Arc::new(Mutex::new(now)))
    }

    /// The power fails; of what was not synced so many changes of each file arrive. `log`: all of SQLite's log does.
    pub(super) fn power_loss(&self, from: &Path, to: &Path, arriving: usize, log: bool) {
        let platter = self.lock();
        for path in files_in(from) {
            let content = match platter.durable.get(&path) {
                Some(durable) if is_log(&path) && !log => durable.clone(),
                _ if is_of_sqlite(&path) => std::fs::read(&path).expect("a file of ours"),
                None if !path.components().any(|part| part.as_os_str() == "spool") => {
                    std::fs::read(&path).expect("a file of ours")
                }
                durable => {
                    let mut content = durable.cloned().unwrap_or_default();
                    for change in platter.open.get(&path).into_iter().flatten().take(arriving) {
                        arrive(&mut content, change);
                    }
                    content
                }
            };
            put(from, &path, to, &content);
        }
    }

    fn file(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FickleFile(file, path.to_owned(), self.clone()))
    }
}

impl Disk for FickleDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(path, RealDisk.open(path, how)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir(path)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_dir_private(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_private(path)
    }

    fn replace_atomically(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        RealDisk.replace_atomically(path, bytes, mode)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealDisk.read(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        RealDisk.list_dir(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_space(path)
    }

    fn clone_file(&self, from: &Path, to: &Path, room: Room<'_>) -> io::Result<Arc<dyn DiskFile>> {
        let file = RealDisk.clone_file(from, to, room)?;
        let content = RealDisk.read(to)?;
        self.lock().open.insert(to.to_owned(), vec![Change::Write(0, content)]);
        Ok(self.file(to, file))
    }
}

impl FickleFile {
    fn changed(&self, change: Change) {
        let mut platter = self.2.lock();
        if let (true, Change::Write(at, bytes)) = (is_log(&self.1), &change) {
            platter.lost.remove(*at..*at + bytes.len() as u64);
        }
        platter.open.entry(self.1.clone()).or_default().push(change);
    }
}

impl DiskFile for FickleFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_at(bytes, at)?;
        self.changed(Change::Write(at, bytes.to_vec()));
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)?;
        self.changed(Change::Length(len));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.2.lock();
        let refused = platter.refusing.iter().any(|part| self.1.to_string_lossy().contains(part.as_str()));
        let mut durable = platter.durable.remove(&self.1).unwrap_or_default();
        let changes = platter.open.remove(&self.1).unwrap_or_default();
        if is_log(&self.1) {
            let now = RealDisk.read(&self.1)?;
            if refused {
                for at in (0..now.len()).filter(|at| durable.get(*at) != Some(&now[*at])) {
                    platter.lost.insert(at as u64..at as u64 + 1);
                }
            } else {
                durable.resize(now.len(), 0);
                for kept in platter.lost.missing(0..now.len() as u64).iter() {
                    let kept = kept.start as usize..kept.end as usize;
                    durable[kept.clone()].copy_from_slice(&now[kept]);
                }
            }
        } else if !refused {
            changes.iter().for_each(|change| arrive(&mut durable, change));
        }
        platter.durable.insert(self.1.clone(), durable);
        let meanwhile = if is_log(&self.1) { None } else { platter.meanwhile.take() };
        drop(platter);
        if let Some(what) = meanwhile {
            what();
        }
        if refused { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }

    fn punch_hole(&self, range: Range<u64>) -> io::Result<()> {
        self.0.punch_hole(range.clone())?;
        self.changed(Change::Write(range.start, vec![0; (range.end - range.start) as usize]));
        Ok(())
    }
}
