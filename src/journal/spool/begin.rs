//! Where drafts come from: nothing, a version in the cloud, another draft, the disk after a start.

use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, TryLockError};

use super::durable::Changes;
use super::files::{SpoolFile, SpoolFiles, file_name};
use super::{Draft, Inner};
use crate::base::clock::Timestamp;
use crate::base::disk::Room;
use crate::base::hash::QuickXorHash;
use crate::base::ids::Ino;
use crate::base::ranges::RangeSet;
use crate::journal::intent::SpoolId;
use crate::journal::store::{SpoolBase, SpoolRow};
use crate::journal::sums::BlockSums;

impl Draft {
    /// An empty draft in a new file.
    pub(in crate::journal) fn create(
        files: &Arc<SpoolFiles>,
        folder: &Path,
        id: SpoolId,
        ino: Ino,
        hint: &str,
        now: Timestamp,
    ) -> io::Result<Self> {
        let file = files.create(folder.join(file_name(id, hint)))?;
        Ok(Self {
            id,
            file,
            changing: Mutex::default(),
            flushing: Mutex::default(),
            present: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                ino,
                size: 0,
                present: RangeSet::default(),
                borrowed: RangeSet::default(),
                replaced: 0,
                base_limit: 0,
                base: None,
                kept_base: None,
                running: Some(QuickXorHash::new()),
                hash: None,
                sums: BlockSums::default(),
                modified: now,
                promised: false,
                frozen: false,
                generation: 1,
                changes: Changes::of_new(),
            }),
        })
    }

    /// A draft whose bytes are, so far, those of a version in the cloud; none of them is here.
    pub(in crate::journal) fn with_base(self, base: SpoolBase, modified: Timestamp) -> io::Result<Self> {
        self.file.get()?.set_len(base.size)?;
        {
            let mut inner = self.lock();
            inner.size = base.size;
            inner.base_limit = base.size;
            inner.base = Some(base);
            inner.running = None;
            inner.modified = modified;
        }
        Ok(self)
    }

    /// A copy that can be written while the original is being sent. Copying may take long; the original can be read
    /// meanwhile, and is not changed. [`io::ErrorKind::StorageFull`], with nothing left behind, if there is no room for it.
    pub(in crate::journal) fn duplicate(
        &self,
        folder: &Path,
        id: SpoolId,
        hint: &str,
        room: Room<'_>,
    ) -> io::Result<Self> {
        let _turn = self.turn();
        let file = self.file.files().copy(self.path(), folder.join(file_name(id, hint)), room)?;
        Ok(Self::of_copy(id, file, &self.lock()))
    }

    /// Whether somebody changes the file at this moment, or copies into it or from it: whoever wants to change it waits.
    pub fn is_being_changed(&self) -> bool {
        matches!(self.changing.try_lock(), Err(TryLockError::WouldBlock))
    }

    fn of_copy(id: SpoolId, file: SpoolFile, inner: &Inner) -> Self {
        Self {
            id,
            file,
            changing: Mutex::default(),
            flushing: Mutex::default(),
            present: AtomicU64::new(inner.present.total()),
            inner: Mutex::new(Inner {
                ino: inner.ino,
                size: inner.size,
                present: inner.present.clone(),
                borrowed: inner.borrowed.clone(),
                replaced: inner.replaced,
                base_limit: inner.base_limit,
                base: inner.base.clone(),
                kept_base: inner.kept_base.clone(),
                running: None,
                hash: None,
                sums: inner.sums.of_copy(),
                modified: inner.modified,
                promised: false,
                frozen: false,
                generation: 1,
                changes: Changes::of_copy(),
            }),
        }
    }

    /// A draft found at start-up; what was begun before is not written on.
    pub(in crate::journal) fn reopen(
        files: &Arc<SpoolFiles>,
        folder: &Path,
        row: &SpoolRow,
        modified: Timestamp,
    ) -> io::Result<Self> {
        let draft = Self::as_recorded(files, folder, row, modified)?;
        let file = draft.file.get()?;
        let length = file.len()?;
        if length < row.size {
            // What was cut off reads as zeros, which its checksums refuse: the rest of the file can still be had.
            file.set_len(row.size)?;
        }
        // Bytes of the base are filled in piece by piece, and the row is written after the last one.
        let gaps = draft.missing();
        gaps.iter().for_each(|gap| draft.lock().sums.doubt(gap, length));
        Ok(draft)
    }

    /// As [`Draft::reopen`], to see whether the file is what its row says: nothing is changed, and every sum counts.
    pub(in crate::journal) fn as_recorded(
        files: &Arc<SpoolFiles>,
        folder: &Path,
        row: &SpoolRow,
        modified: Timestamp,
    ) -> io::Result<Self> {
        let spool = files.find(folder.join(&row.file))?;
        let file = spool.get()?;
        let known = row.sums.as_deref().and_then(|text| BlockSums::from_text(text, row.size));
        if file.len()? < row.size && known.as_ref().is_none_or(|sums| !sums.open(row.size).is_empty()) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the spool file is shorter than its row says"));
        }
        Ok(Self {
            id: row.id,
            file: spool,
            changing: Mutex::default(),
            flushing: Mutex::default(),
            present: AtomicU64::new(row.present.total()),
            inner: Mutex::new(Inner {
                ino: row.ino,
                size: row.size,
                present: row.present.clone(),
                borrowed: row.borrowed.clone(),
                replaced: row.replaced,
                base_limit: row.base_limit,
                base: row.base.clone(),
                kept_base: None,
                running: None,
                hash: row.hash.clone(),
                sums: known.unwrap_or_else(|| BlockSums::unknown(row.present.iter())),
                modified,
                promised: row.promised,
                frozen: true,
                generation: 1,
                changes: Changes::of_row(row),
            }),
        })
    }
}
