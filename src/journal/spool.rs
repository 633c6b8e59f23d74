//! A draft: the content of a file while it is being written, and after that until the cloud has it.
//!
//! The bytes are in a spool file of their own, at their own offsets. A draft of an existing file starts with
//! few or none of the old bytes: what is missing is read from the version it was made from (its base), and
//! filled in before it is sent. Bytes at or beyond `base_limit` are never the base's; where nothing was
//! written they are zeros.
//!
//! Always true: a sealed draft does not change. Filling in missing bytes does not count as change.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use super::intent::SpoolId;
use super::store::{SpoolBase, SpoolRow};
use crate::base::clock::Timestamp;
use crate::base::disk::{Disk, DiskFile, Open};
use crate::base::hash::QuickXorHash;
use crate::base::ids::Ino;
use crate::base::ranges::RangeSet;

/// The content of one draft.
pub struct Draft {
    /// Its number.
    pub id: SpoolId,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    inner: Mutex<Inner>,
}

struct Inner {
    ino: Ino,
    size: u64,
    present: RangeSet,
    base_limit: u64,
    base: Option<SpoolBase>,
    /// The hash of the first bytes, while they have come in order.
    running: Option<QuickXorHash>,
    hash: Option<String>,
    modified: Timestamp,
    promised: bool,
    /// Moves with every change of the bytes.
    generation: u64,
    synced: u64,
}

/// A part of a read: from the draft, or to be fetched from the base.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// These bytes.
    Here(Bytes),
    /// This range of the base.
    Base(Range<u64>),
}

impl Draft {
    /// An empty draft in a new file.
    pub(super) fn create(
        disk: &dyn Disk,
        folder: &Path,
        id: SpoolId,
        ino: Ino,
        hint: &str,
        now: Timestamp,
    ) -> io::Result<Self> {
        let path = folder.join(file_name(id, hint));
        let file = disk.open(&path, Open::New)?;
        Ok(Self {
            id,
            path,
            file,
            inner: Mutex::new(Inner {
                ino,
                size: 0,
                present: RangeSet::default(),
                base_limit: 0,
                base: None,
                running: Some(QuickXorHash::new()),
                hash: None,
                modified: now,
                promised: false,
                generation: 1,
                synced: 0,
            }),
        })
    }

    /// A draft whose bytes are, so far, those of a version in the cloud; none of them is here.
    pub(super) fn with_base(self, base: SpoolBase, modified: Timestamp) -> io::Result<Self> {
        self.file.set_len(base.size)?;
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

    /// A copy that can be written while the original is being sent.
    pub(super) fn duplicate(&self, disk: &dyn Disk, folder: &Path, id: SpoolId, hint: &str) -> io::Result<Self> {
        let path = folder.join(file_name(id, hint));
        let inner = self.lock();
        let file = disk.clone_file(&self.path, &path)?;
        Ok(Self {
            id,
            path,
            file,
            inner: Mutex::new(Inner {
                ino: inner.ino,
                size: inner.size,
                present: inner.present.clone(),
                base_limit: inner.base_limit,
                base: inner.base.clone(),
                running: None,
                hash: None,
                modified: inner.modified,
                promised: false,
                generation: 1,
                synced: 0,
            }),
        })
    }

    /// A draft found at start-up.
    pub(super) fn reopen(disk: &dyn Disk, folder: &Path, row: &SpoolRow, modified: Timestamp) -> io::Result<Self> {
        let path = folder.join(&row.file);
        let file = disk.open(&path, Open::ReadWrite)?;
        if file.len()? < row.size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the spool file is shorter than its row says"));
        }
        Ok(Self {
            id: row.id,
            path,
            file,
            inner: Mutex::new(Inner {
                ino: row.ino,
                size: row.size,
                present: row.present.clone(),
                base_limit: row.base_limit,
                base: row.base.clone(),
                running: None,
                hash: row.hash.clone(),
                modified,
                promised: row.promised,
                generation: 1,
                synced: u64::from(row.synced),
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its row, as of now.
    pub(super) fn row(&self, boot: &str) -> SpoolRow {
        let inner = self.lock();
        SpoolRow {
            id: self.id,
            ino: inner.ino,
            file: self.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            size: inner.size,
            present: inner.present.clone(),
            base_limit: inner.base_limit,
            base: inner.base.clone(),
            hash: inner.hash.clone(),
            promised: inner.promised,
            synced: inner.synced == inner.generation,
            boot: boot.to_owned(),
            kept: None,
        }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.lock().size
    }

    /// When it was last written.
    pub fn modified(&self) -> Timestamp {
        self.lock().modified
    }

    /// Sets the time of the last write, as a program asked for.
    pub fn set_modified(&self, modified: Timestamp) {
        self.lock().modified = modified;
    }

    /// The version that missing bytes come from.
    pub fn base(&self) -> Option<SpoolBase> {
        self.lock().base.clone()
    }

    /// Bytes of disk that may be needed to complete it.
    pub fn missing(&self) -> RangeSet {
        let inner = self.lock();
        inner.present.missing(0..inner.base_limit.min(inner.size))
    }

    /// Its QuickXorHash, if it is known without reading the file.
    pub fn hash(&self) -> Option<String> {
        self.lock().hash.clone()
    }

    /// Whether a program was told that this content is safe.
    pub(super) fn is_promised(&self) -> bool {
        self.lock().promised
    }

    pub(super) fn promise(&self) {
        self.lock().promised = true;
    }

    /// Writes bytes. A gap before them becomes zeros.
    pub fn write(&self, at: u64, bytes: &[u8], now: Timestamp) -> io::Result<()> {
        let mut inner = self.lock();
        self.file.write_at(bytes, at)?;
        let end = at + bytes.len() as u64;
        inner.present.insert(at..end);
        inner.size = inner.size.max(end);
        let in_order = inner.running.as_ref().is_some_and(|hash| hash.length() == at);
        if in_order {
            if let Some(hash) = &mut inner.running {
                hash.update(bytes);
            }
        } else {
            inner.running = None;
        }
        inner.hash = None;
        inner.modified = now;
        inner.generation += 1;
        Ok(())
    }

    /// Cuts or extends (with zeros).
    pub fn truncate(&self, size: u64, now: Timestamp) -> io::Result<()> {
        let mut inner = self.lock();
        self.file.set_len(size)?;
        inner.present.truncate(size);
        inner.base_limit = inner.base_limit.min(size);
        if size == 0 {
            inner.base = None;
            inner.running = Some(QuickXorHash::new());
        } else if size != inner.size {
            inner.running = None;
        }
        inner.size = size;
        inner.hash = None;
        inner.modified = now;
        inner.generation += 1;
        Ok(())
    }

    /// Makes a range zeros.
    pub fn zero(&self, range: Range<u64>, now: Timestamp) -> io::Result<()> {
        let mut inner = self.lock();
        let end = range.end.min(inner.size);
        if range.start < end {
            self.file.punch_hole(range.start..end)?;
            inner.present.insert(range.start..end);
        }
        inner.running = None;
        inner.hash = None;
        inner.modified = now;
        inner.generation += 1;
        Ok(())
    }

    /// Puts bytes of the base where nothing was written since. Does not count as change.
    pub fn fill(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.lock();
        let wanted = inner.present.missing(at..(at + bytes.len() as u64).min(inner.base_limit));
        for range in wanted.iter() {
            let (from, to) = ((range.start - at) as usize, (range.end - at) as usize);
            self.file.write_at(&bytes[from..to], range.start)?;
            inner.present.insert(range);
        }
        Ok(())
    }

    /// Lets `copy` write bytes of the base into the file, and takes what it says as present.
    pub fn fill_with(&self, copy: impl FnOnce(&dyn DiskFile) -> RangeSet) {
        let mut inner = self.lock();
        // Once written or cut, what the base had beyond the cut must not come back.
        let untouched =
            inner.present.is_empty() && inner.base.as_ref().is_some_and(|base| base.size == inner.base_limit);
        if untouched {
            let filled = copy(&*self.file);
            inner.present.extend(&filled);
        }
    }

    /// The pieces of a range, in order; short at the end of the file.
    pub fn read(&self, range: Range<u64>) -> io::Result<Vec<Piece>> {
        let inner = self.lock();
        let range = range.start..range.end.min(inner.size);
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let missing = inner.present.missing(range.start..range.end.min(inner.base_limit).max(range.start));
        let mut pieces = Vec::new();
        let mut at = range.start;
        for gap in missing.iter() {
            if at < gap.start {
                pieces.push(Piece::Here(self.read_file(at..gap.start)?));
            }
            pieces.push(Piece::Base(gap.clone()));
            at = gap.end;
        }
        if at < range.end {
            pieces.push(Piece::Here(self.read_file(at..range.end)?));
        }
        Ok(pieces)
    }

    fn read_file(&self, range: Range<u64>) -> io::Result<Bytes> {
        let mut buffer = BytesMut::zeroed((range.end - range.start) as usize);
        // A file shorter than its size ends in zeros that were never written.
        self.file.read_at(&mut buffer, range.start)?;
        Ok(buffer.freeze())
    }

    /// Bytes for sending; the draft must be complete. Blocks on the disk.
    pub fn read_complete(&self, range: Range<u64>) -> io::Result<Bytes> {
        self.read_file(range)
    }

    /// Finishes the hash if the bytes came in order. Called when the draft is sealed.
    pub(super) fn settle_hash(&self) {
        let mut inner = self.lock();
        if inner.hash.is_none() {
            inner.hash = match &inner.running {
                Some(hash) if hash.length() == inner.size => Some(hash.finish_base64()),
                _ => None,
            };
        }
    }

    /// The QuickXorHash, reading the whole file if it has to; the draft must be complete. Blocks on the disk.
    pub fn compute_hash(&self) -> io::Result<String> {
        if let Some(hash) = self.hash() {
            return Ok(hash);
        }
        let (size, generation) = {
            let inner = self.lock();
            (inner.size, inner.generation)
        };
        let mut hash = QuickXorHash::new();
        let mut at = 0;
        while at < size {
            let end = size.min(at + (1 << 20));
            hash.update(&self.read_file(at..end)?);
            at = end;
        }
        let text = hash.finish_base64();
        let mut inner = self.lock();
        if inner.generation == generation {
            inner.hash = Some(text.clone());
        }
        Ok(text)
    }

    /// The hash of what is really in the file, whatever the row says.
    pub(super) fn rehash(&self) -> io::Result<String> {
        self.lock().hash = None;
        self.compute_hash()
    }

    pub(super) fn is_synced(&self) -> bool {
        let inner = self.lock();
        inner.synced == inner.generation
    }

    /// Makes the bytes durable; returns whether anything had to be done.
    pub(super) fn sync(&self) -> io::Result<bool> {
        let generation = {
            let inner = self.lock();
            if inner.synced == inner.generation {
                return Ok(false);
            }
            inner.generation
        };
        self.file.sync_data()?;
        self.lock().synced = generation;
        Ok(true)
    }
}

/// The name of a spool file: its number, and what it is for, so that a person who finds it knows.
fn file_name(id: SpoolId, hint: &str) -> String {
    let hint: String = hint
        .chars()
        .map(|c| if c.is_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' })
        .take(48)
        .collect();
    format!("{:010}.{hint}", id.0)
}

/// The number in the name of a spool file.
pub(super) fn id_of(file_name: &str) -> Option<SpoolId> {
    file_name.split('.').next()?.parse().ok().map(SpoolId)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::disk::RealDisk;
    use crate::base::ids::{ContentTag, DriveId, ItemId};

    fn draft(dir: &Path) -> Draft {
        Draft::create(&RealDisk, dir, SpoolId(1), Ino(2), "a/b.txt", Timestamp(0)).expect("creates")
    }

    fn base(size: u64) -> SpoolBase {
        SpoolBase { item: ItemId::new(&DriveId::new("d"), "i"), tag: ContentTag("t".into()), size }
    }

    #[test]
    fn bytes_in_order_are_hashed_on_the_way() {
        let dir = tempfile::tempdir().expect("temp");
        let draft = draft(dir.path());
        draft.write(0, b"hello ", Timestamp(1)).expect("writes");
        draft.write(6, b"world\n", Timestamp(2)).expect("writes");
        draft.settle_hash();
        assert_eq!(draft.hash().as_deref(), Some("aCgDG9jwBhDc4Q1ybAMZFAAAAAA="));
        draft.write(0, b"J", Timestamp(3)).expect("writes");
        draft.settle_hash();
        assert_eq!(draft.hash(), None);
        assert_eq!(draft.compute_hash().expect("reads"), QuickXorHash::of(b"Jello world\n"));
    }

    #[test]
    fn missing_bytes_come_from_the_base_but_never_beyond_a_cut() {
        let dir = tempfile::tempdir().expect("temp");
        let draft = draft(dir.path()).with_base(base(10), Timestamp(0)).expect("sizes");
        draft.write(4, b"XX", Timestamp(1)).expect("writes");
        assert_eq!(
            draft.read(0..100).expect("reads"),
            [Piece::Base(0..4), Piece::Here(Bytes::from_static(b"XX")), Piece::Base(6..10)]
        );
        draft.truncate(7, Timestamp(2)).expect("cuts");
        draft.truncate(9, Timestamp(3)).expect("extends");
        assert_eq!(draft.missing().iter().collect::<Vec<_>>(), [0..4, 6..7]);
        draft.fill(0, b"0123456789").expect("fills");
        assert_eq!(draft.read(0..9).expect("reads"), [Piece::Here(Bytes::from_static(b"0123XX6\0\0"))]);
        assert!(draft.missing().is_empty());
    }

    #[test]
    fn a_duplicate_does_not_change_its_original() {
        let dir = tempfile::tempdir().expect("temp");
        let draft = draft(dir.path());
        draft.write(0, b"one", Timestamp(1)).expect("writes");
        let copy = draft.duplicate(&RealDisk, dir.path(), SpoolId(2), "x").expect("copies");
        copy.write(0, b"two", Timestamp(2)).expect("writes");
        assert_eq!(draft.read(0..3).expect("reads"), [Piece::Here(Bytes::from_static(b"one"))]);
        assert_eq!(copy.read(0..3).expect("reads"), [Piece::Here(Bytes::from_static(b"two"))]);
    }

    #[test]
    fn spool_names_tell_their_number_and_purpose() {
        assert_eq!(file_name(SpoolId(42), "my report.odt"), "0000000042.my_report.odt");
        assert_eq!(id_of("0000000042.my_report.odt"), Some(SpoolId(42)));
        assert_eq!(id_of("stray"), None);
    }
}
