//! The files of drafts, opened when they are needed.
//!
//! A descriptor for each draft would end with the limit of open files: a user who is offline writes as many files as
//! they like. So a draft knows where its file is, and a few files that were used last are open. Always true: what can
//! lose its name while somebody still reads it is held open ([`SpoolFile::hold`]).

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::base::disk::{Disk, DiskFile, Open, Room};
use crate::journal::intent::SpoolId;

/// How many are open at a time, beside those that are held.
const OPEN: usize = 128;

/// The spool files of one journal.
pub(in crate::journal) struct SpoolFiles {
    disk: Arc<dyn Disk>,
    open: Mutex<OpenFiles>,
}

#[derive(Default)]
struct OpenFiles {
    files: HashMap<PathBuf, (u64, Arc<dyn DiskFile>)>,
    /// Counts uses, for telling which was used last.
    uses: u64,
}

impl SpoolFiles {
    pub(in crate::journal) fn new(disk: Arc<dyn Disk>) -> Arc<Self> {
        Arc::new(Self { disk, open: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, OpenFiles> {
        // The table is whole between any two of its steps.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new file.
    pub(super) fn create(self: &Arc<Self>, path: PathBuf) -> io::Result<SpoolFile> {
        let file = self.with_room(|disk| disk.open(&path, Open::New))?;
        Ok(self.kept(path, file))
    }

    /// A file that is there.
    pub(super) fn find(self: &Arc<Self>, path: PathBuf) -> io::Result<SpoolFile> {
        let file = SpoolFile { files: self.clone(), path, held: OnceLock::new() };
        file.get()?;
        Ok(file)
    }

    /// A new file that is a copy.
    pub(super) fn copy(self: &Arc<Self>, from: &Path, to: PathBuf, room: Room<'_>) -> io::Result<SpoolFile> {
        let file = self.with_room(|disk| disk.clone_file(from, &to, room))?;
        Ok(self.kept(to, file))
    }

    fn kept(self: &Arc<Self>, path: PathBuf, file: Arc<dyn DiskFile>) -> SpoolFile {
        self.lock().keep(&path, file);
        SpoolFile { files: self.clone(), path, held: OnceLock::new() }
    }

    /// Opens something; if there are too many open files, closes those that are open here first.
    fn with_room(&self, open: impl Fn(&dyn Disk) -> io::Result<Arc<dyn DiskFile>>) -> io::Result<Arc<dyn DiskFile>> {
        const TOO_MANY: [i32; 2] = [23, 24]; // ENFILE, EMFILE
        match open(&*self.disk) {
            Err(error) if error.raw_os_error().is_some_and(|code| TOO_MANY.contains(&code)) => {
                self.lock().files.clear();
                open(&*self.disk)
            }
            other => other,
        }
    }

    /// Closes a file that is about to be removed.
    pub(in crate::journal) fn close(&self, path: &Path) {
        self.lock().files.remove(path);
    }
}

impl SpoolFiles {
    /// Closes all that are open only because they were used.
    pub(in crate::journal) fn close_all(&self) {
        self.lock().files.clear();
    }

    #[cfg(test)]
    pub(super) fn open_files(&self) -> usize {
        self.lock().files.len()
    }
}

impl OpenFiles {
    fn find(&mut self, path: &Path) -> Option<Arc<dyn DiskFile>> {
        self.uses += 1;
        let uses = self.uses;
        self.files.get_mut(path).map(|(used, file)| {
            *used = uses;
            file.clone()
        })
    }

    fn keep(&mut self, path: &Path, file: Arc<dyn DiskFile>) {
        self.uses += 1;
        if self.files.len() >= OPEN {
            // Half of them at once, so that this is done seldom.
            let mut uses: Vec<u64> = self.files.values().map(|(used, _)| *used).collect();
            let (_, middle, _) = uses.select_nth_unstable(OPEN / 2);
            let middle = *middle;
            self.files.retain(|_, (used, _)| *used > middle);
        }
        self.files.insert(path.to_owned(), (self.uses, file));
    }
}

/// One spool file.
pub(super) struct SpoolFile {
    files: Arc<SpoolFiles>,
    path: PathBuf,
    /// Open for as long as this lives.
    held: OnceLock<Arc<dyn DiskFile>>,
}

impl SpoolFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn files(&self) -> &Arc<SpoolFiles> {
        &self.files
    }

    /// The open file.
    pub(super) fn get(&self) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.held.get() {
            return Ok(file.clone());
        }
        let known = self.files.lock().find(&self.path);
        match known {
            Some(file) => Ok(file),
            None => {
                let file = self.files.with_room(|disk| disk.open(&self.path, Open::ReadWrite))?;
                self.files.lock().keep(&self.path, file.clone());
                Ok(file)
            }
        }
    }

    /// From now on the file can be read and written though it has no name any more.
    pub(super) fn hold(&self) -> io::Result<()> {
        let file = self.get()?;
        let _ = self.held.set(file);
        self.files.close(&self.path);
        Ok(())
    }
}

/// The name of a spool file: its number, and what it is for, so that a person who finds it knows.
pub(super) fn file_name(id: SpoolId, hint: &str) -> String {
    let hint: String = hint
        .chars()
        .map(|c| if c.is_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' })
        .take(48)
        .collect();
    format!("{:010}.{hint}", id.0)
}

/// The number in the name of a spool file.
pub(in crate::journal) fn id_of(file_name: &str) -> Option<SpoolId> {
    file_name.split('.').next()?.parse().ok().map(SpoolId)
}
