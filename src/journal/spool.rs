//! A draft: the content of a file while it is being written, and after that until the cloud has it.
//!
//! The bytes are in a spool file of their own, at their own offsets. A draft of an existing file starts with
//! few or none of the old bytes: what is missing is read from the version it was made from (its base), and
//! filled in before it is sent. Bytes at or beyond `base_limit` are never the base's; where nothing was
//! written they are zeros.
//!
//! Always true: a sealed draft does not change: whoever comes to write it then is told so ([`SealedDraft`]) and asks the
//! journal what to write to. Filling in missing bytes does not count as change. Bytes that a disk
//! has changed on its own are not handed out, to nobody: each block has a checksum (see `sums`), kept in the draft's
//! row, and is compared with it before it is sent, and at the first read after a start.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use super::intent::SpoolId;
use super::store::{SpoolBase, SpoolRow};
use super::sums::{self, BlockSums, DamagedDraft, Verdict};
use crate::base::clock::Timestamp;
use crate::base::hash::QuickXorHash;
use crate::base::ids::Ino;
use crate::base::ranges::RangeSet;

mod base;
mod begin;
mod durable;
mod files;

pub use durable::Durable;
pub(super) use durable::{Flushed, Found};

use files::SpoolFile;
pub(super) use files::{SpoolFiles, id_of};

/// The content of one draft.
pub struct Draft {
    /// Its number.
    pub id: SpoolId,
    file: SpoolFile,
    inner: Mutex<Inner>,
    /// Held by whoever changes the file, for as long as that takes; taken before `inner`, which others need to look.
    changing: Mutex<()>,
    /// Held by whoever syncs the file; taken before `changing`.
    flushing: Mutex<()>,
    /// How many bytes are present, for those who must not wait while somebody copies into the file.
    present: AtomicU64,
}

struct Inner {
    ino: Ino,
    size: u64,
    present: RangeSet,
    /// Those of the bytes present that came from the base and that nobody has compared with its hash.
    borrowed: RangeSet,
    /// See [`SpoolRow::replaced`](super::store::SpoolRow).
    replaced: u32,
    base_limit: u64,
    base: Option<SpoolBase>,
    /// Keeps the bytes of the base on this machine for as long as this needs them.
    kept_base: Option<KeptBase>,
    /// The hash of the first bytes, while they have come in order.
    running: Option<QuickXorHash>,
    hash: Option<String>,
    sums: BlockSums,
    modified: Timestamp,
    promised: bool,
    frozen: bool,
    /// Moves with every change of the content.
    generation: u64,
    /// Counts every change of the file, what is filled in included.
    changes: durable::Changes,
}

/// Whatever keeps the bytes of a base on this machine while it lives.
pub type KeptBase = Arc<dyn Send + Sync>;

/// The draft was sealed between the moment when it was handed out to be written and the write: a program has closed another
/// descriptor of the same open file. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the content was closed while it was being written")]
pub struct SealedDraft;

impl SealedDraft {
    /// Whether that is what is behind a failure.
    pub fn is_behind(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|error| error.is::<Self>())
    }
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
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, inner: &Inner) {
        self.present.store(inner.present.total(), Ordering::Relaxed);
    }

    /// Its row, as of now.
    pub(super) fn row(&self, boot: &str) -> SpoolRow {
        let inner = self.lock();
        let (synced, durable) = inner.durable();
        SpoolRow {
            id: self.id,
            ino: inner.ino,
            file: self.path().file_name().unwrap_or_default().to_string_lossy().into_owned(),
            size: inner.size,
            present: inner.present.clone(),
            borrowed: inner.borrowed.clone(),
            replaced: inner.replaced,
            base_limit: inner.base_limit,
            base: inner.base.clone(),
            hash: inner.hash.clone(),
            sums: Some(inner.sums.settled(inner.size).to_text()),
            promised: inner.promised,
            synced,
            durable,
            boot: boot.to_owned(),
            kept: None,
        }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Its file is about to lose its name: whoever still uses this draft can go on.
    pub(super) fn hold(&self) -> io::Result<()> {
        self.file.hold()
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.lock().size
    }

    /// Moves with every change of its bytes.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// When it was last written.
    pub fn modified(&self) -> Timestamp {
        self.lock().modified
    }

    /// Sets the time of the last write, as a program asked for.
    pub fn set_modified(&self, modified: Timestamp) {
        self.lock().modified = modified;
    }

    /// Bytes of content in its file.
    pub fn present_bytes(&self) -> u64 {
        self.present.load(Ordering::Relaxed)
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
        self.lock().promise();
    }

    /// It is sealed, and does not change from now on.
    pub(super) fn freeze(&self) {
        self.lock().frozen = true;
    }

    /// It is written again: by the handle that began it, or because it has lost its name and nobody will send it.
    pub(crate) fn thaw(&self) {
        self.lock().frozen = false;
    }

    /// What [`Draft::write`], [`Draft::truncate`] and [`Draft::zero`] begin with.
    fn to_change(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let inner = self.lock();
        if inner.frozen { Err(io::Error::other(SealedDraft)) } else { Ok(inner) }
    }

    /// Writes bytes. A gap before them becomes zeros.
    ///
    /// # Errors
    /// The disk's, [`DamagedDraft`] and [`SealedDraft`].
    pub fn write(&self, at: u64, bytes: &[u8], now: Timestamp) -> io::Result<()> {
        let _turn = self.turn();
        let mut inner = self.to_change()?;
        let end = at + bytes.len() as u64;
        // A damaged block that is only partly replaced would be summed with its damage.
        self.trust_edges(&mut inner, at..end)?;
        let file = self.file.get()?;
        if let Err(error) = file.write_at(bytes, at) {
            // A part may have been written: of these bytes nothing is known but that they were being replaced.
            let size = inner.size;
            inner.note_change(at..end);
            inner.sums.disturb(at..end.min(size).max(at));
            if end > size {
                // What follows the end must read as zeros if the file grows later.
                let _ = file.set_len(size);
            }
            inner.running = None;
            inner.hash = None;
            inner.generation += 1;
            return Err(error);
        }
        // A gap becomes zeros.
        let before = inner.size;
        inner.note_change(before.min(at)..before.min(at) + 1);
        inner.note_change(at..end);
        inner.sums.wrote(at, bytes);
        inner.present.insert(at..end);
        inner.borrowed.remove(at..end);
        self.count(&inner);
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
    ///
    /// # Errors
    /// As [`Draft::write`].
    pub fn truncate(&self, size: u64, now: Timestamp) -> io::Result<()> {
        let _turn = self.turn();
        let mut inner = self.to_change()?;
        if size < inner.size && !size.is_multiple_of(sums::BLOCK) {
            self.trust(&mut inner, size - 1..size)?;
        }
        self.file.get()?.set_len(size)?;
        let before = inner.size;
        // What a file ends in, and begins with anew if it grows: of what it gets beyond that there was nothing before.
        inner.note_change(before.min(size)..before.max(size.min(before + 1)));
        inner.sums.cut(size);
        inner.present.truncate(size);
        inner.borrowed.truncate(size);
        self.count(&inner);
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
    ///
    /// # Errors
    /// As [`Draft::write`].
    pub fn zero(&self, range: Range<u64>, now: Timestamp) -> io::Result<()> {
        let _turn = self.turn();
        let mut inner = self.to_change()?;
        let end = range.end.min(inner.size);
        if range.start < end {
            self.trust_edges(&mut inner, range.start..end)?;
            inner.note_change(range.start..end);
            inner.sums.disturb(range.start..end);
            self.file.get()?.punch_hole(range.start..end)?;
            inner.present.insert(range.start..end);
            inner.borrowed.remove(range.start..end);
            self.count(&inner);
        }
        inner.running = None;
        inner.hash = None;
        inner.modified = now;
        inner.generation += 1;
        Ok(())
    }

    /// The pieces of a range, in order; short at the end of the file.
    pub fn read(&self, range: Range<u64>) -> io::Result<Vec<Piece>> {
        let mut inner = self.lock();
        let range = range.start..range.end.min(inner.size);
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        self.trust(&mut inner, range.clone())?;
        let missing = inner.present.missing(range.start..range.end.min(inner.base_limit).max(range.start));
        let mut pieces = Vec::new();
        let mut at = range.start;
        for gap in missing.iter() {
            if at < gap.start {
                pieces.push(Piece::Here(self.read_here(&inner, at..gap.start)?));
            }
            pieces.push(Piece::Base(gap.clone()));
            at = gap.end;
        }
        if at < range.end {
            pieces.push(Piece::Here(self.read_here(&inner, at..range.end)?));
        }
        Ok(pieces)
    }

    /// Bytes whose written blocks were compared; where nothing was written there must be zeros.
    fn read_here(&self, inner: &Inner, range: Range<u64>) -> io::Result<Bytes> {
        let bytes = self.read_file(range.clone())?;
        for hole in inner.sums.never_written(&range) {
            let hole = hole.start.max(range.start)..hole.end.min(range.end);
            let held = &bytes[(hole.start - range.start) as usize..(hole.end - range.start) as usize];
            if held.iter().any(|byte| *byte != 0) {
                return Err(DamagedDraft { at: hole.start }.into());
            }
        }
        Ok(bytes)
    }

    fn read_file(&self, range: Range<u64>) -> io::Result<Bytes> {
        let mut buffer = BytesMut::zeroed((range.end - range.start) as usize);
        // A file shorter than its size ends in zeros that were never written.
        self.file.get()?.read_at(&mut buffer, range.start)?;
        Ok(buffer.freeze())
    }

    /// Compares the blocks of a range that nobody has compared since the start.
    fn trust(&self, inner: &mut Inner, range: Range<u64>) -> io::Result<()> {
        for index in inner.sums.untrusted(&range) {
            let place = sums::place_of(index, inner.size);
            let bytes = self.read_file(place.clone())?;
            if inner.sums.compare(index, &bytes) == Verdict::Wrong {
                return Err(DamagedDraft { at: place.start }.into());
            }
        }
        Ok(())
    }

    /// Compares the blocks at the ends of a range of which only a part is replaced.
    fn trust_edges(&self, inner: &mut Inner, range: Range<u64>) -> io::Result<()> {
        for edge in [range.start, range.end] {
            if edge < inner.size && !edge.is_multiple_of(sums::BLOCK) {
                self.trust(inner, edge..edge + 1)?;
            }
        }
        Ok(())
    }

    /// Bytes for sending; the draft must be complete. Every byte is compared with its checksum, whoever wrote it; fails
    /// with [`DamagedDraft`] if the disk has changed it. Blocks on the disk.
    pub fn read_complete(&self, range: Range<u64>) -> io::Result<Bytes> {
        let mut inner = self.lock();
        let range = range.start.min(inner.size)..range.end.min(inner.size);
        let blocks = sums::blocks_of(&range);
        let span = blocks.start * sums::BLOCK..(blocks.end * sums::BLOCK).min(inner.size);
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let bytes = self.read_file(span.clone())?;
        let size = inner.size;
        for index in blocks {
            let place = sums::place_of(index, size);
            let block = &bytes[(place.start - span.start) as usize..(place.end - span.start) as usize];
            if inner.sums.compare(index, block) == Verdict::Wrong {
                return Err(DamagedDraft { at: place.start }.into());
            }
        }
        Ok(bytes.slice((range.start - span.start) as usize..(range.end - span.start) as usize))
    }

    /// Hands out the first `size` bytes in order, a piece at a time; see [`Draft::read_complete`].
    ///
    /// # Errors
    ///
    /// Those of [`Draft::read_complete`], after the pieces before.
    pub fn read_all(&self, size: u64, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        const PIECE: u64 = 1 << 20;
        let mut at = 0;
        while at < size {
            let end = size.min(at + PIECE);
            take(&self.read_complete(at..end)?);
            at = end;
        }
        Ok(())
    }

    /// Compares everything that is here with its checksums: where damaged blocks begin, in bytes. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn damage(&self) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.size() {
            if let Err(error) = self.read_complete(at..at + sums::BLOCK) {
                match DamagedDraft::behind(&error) {
                    Some(damage) => found.push(damage.at),
                    None => return Err(error),
                }
            }
            at += sums::BLOCK;
        }
        Ok(found)
    }

    /// The CRC-32C of each block of the complete content, as far as they are all known.
    pub fn block_sums(&self) -> Option<Vec<u32>> {
        let inner = self.lock();
        inner.sums.all(inner.size)
    }

    /// Sums the blocks that were written in pieces.
    fn close_sums(&self) -> io::Result<()> {
        let open = {
            let inner = self.lock();
            inner.sums.open(inner.size)
        };
        for index in open {
            let mut inner = self.lock();
            let place = sums::place_of(index, inner.size);
            // Cut or written again meanwhile.
            if !place.is_empty() && inner.sums.is_open(index, inner.size) {
                let bytes = self.read_file(place)?;
                inner.sums.close(index, &bytes);
            }
        }
        Ok(())
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
        self.read_all(size, |bytes| hash.update(bytes))?;
        let text = hash.finish_base64();
        let mut inner = self.lock();
        if inner.generation == generation {
            inner.hash = Some(text.clone());
        }
        Ok(text)
    }

    pub(super) fn ino(&self) -> Ino {
        self.lock().ino
    }

    pub(super) fn replaced(&self) -> u32 {
        self.lock().replaced
    }

    /// Whose it is by its row, and the how many-th of what that file was renamed over.
    pub(super) fn set_ino(&self, ino: Ino, replaced: u32) {
        let mut inner = self.lock();
        (inner.ino, inner.replaced) = (ino, replaced);
    }
}

#[cfg(test)]
mod tests;
