//! One cached file on disk: a sparse file of content and a map of checksums that proves it.
//!
//! Nothing here is synced, because everything here can be fetched again. After a power failure a chunk
//! may be torn, or its map entry may be on disk and its bytes not; so each chunk carries a checksum, each
//! map entry proves itself, and the map's header names the content it belongs to. Whatever does not add
//! up is absent. Always true:
//!
//! - a chunk's bytes are written before its map entry;
//! - bytes are handed out only after they matched their checksum once since somebody last opened the file, or were
//!   written since then: a disk may lose a bit at any time, and a daemon runs for months;
//! - wrong bytes are a miss, never an error and never an answer.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};

use super::compared::Seal;
use super::key::Digest;
use super::map::{self, ENTRY, Entry};
use super::{CHUNK, chunks_of};
use crate::base::checksum::crc32c;
use crate::base::disk::{Disk, DiskFile, Open, Room, pieces};
use crate::base::ranges::RangeSet;

/// What is known about a chunk.
mod chunk_state {
    /// Not here.
    pub const ABSENT: u32 = 0;
    /// Here according to the map; never compared with its checksum by this process.
    pub const UNVERIFIED: u32 = 1;
    /// Here, from a file that was durable before it was adopted; its checksum is still to be made.
    pub const UNSUMMED: u32 = 2;
    /// Here, and right when the file was opened for the first time here. Each further opening is the next number, and so
    /// is what was found right in it: none of all the chunks has to be touched when a file is opened.
    pub const VERIFIED: u32 = 3;
}
use chunk_state::{ABSENT, UNSUMMED, UNVERIFIED, VERIFIED};

/// No seal.
const UNSEALED: u64 = u64::MAX;

/// Where a cached file lives.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    pub(super) shard: PathBuf,
    pub(super) data: PathBuf,
    pub(super) map: PathBuf,
    /// Content on its way here from another file system.
    pub(super) copy: PathBuf,
}

impl Paths {
    pub(super) fn of(root: &Path, digest: &Digest) -> Self {
        let hex = digest.hex();
        let shard = root.join(&hex[..2]);
        let [data, map, copy] = ["data", "map", "copy"].map(|kind| shard.join(format!("{hex}.{kind}")));
        Self { shard, data, map, copy }
    }
}

/// An open cached file. Lock-free: the state of each chunk is one atomic.
pub(super) struct CacheFile {
    pub(super) digest: Digest,
    /// Tells this incarnation from an earlier one of the same key.
    pub(super) generation: u64,
    pub(super) size: u64,
    /// Whether it was read since its map was last touched.
    used: AtomicBool,
    /// Bytes that turned out damaged and are not yet taken off the books.
    lost: AtomicU64,
    data: Arc<dyn DiskFile>,
    map: Arc<dyn DiskFile>,
    entries_at: u64,
    /// The state of chunks that were found right since somebody last opened the file.
    opening: AtomicU32,
    states: Vec<AtomicU32>,
    sums: Vec<AtomicU32>,
    /// That of the content that was compared with its hash, whether or not it is still this.
    seal: AtomicU64,
}

/// How a new cached file begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Begin<'a> {
    /// With no content.
    Empty,
    /// With a complete data file that is in its place already, and the checksums of its chunks if they are known: then
    /// it is what somebody meant, and needs no comparing.
    Complete(Option<&'a [u32]>),
}

impl CacheFile {
    /// Opens what is on disk; `None` if there is nothing that proves to be this content.
    pub(super) fn load(
        disk: &dyn Disk,
        paths: &Paths,
        (digest, key, generation): (Digest, &str, u64),
        size: u64,
    ) -> io::Result<Option<Self>> {
        let map = match disk.open(&paths.map, Open::ReadWrite) {
            Ok(map) => map,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let data = match disk.open(&paths.data, Open::ReadWrite) {
            Ok(data) => data,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let expected = map::header(key, size);
        let chunks = chunks_of(&(0..size)).end;
        let mut bytes = vec![0; expected.len() + ((chunks + 1) * ENTRY) as usize];
        let got = map.read_at(&mut bytes, 0)?;
        if got < expected.len() || bytes[..expected.len()] != expected[..] {
            return Ok(None);
        }
        let (mut states, mut sums) = (Vec::new(), Vec::new());
        let (entries, seal) = bytes[expected.len()..].split_at((chunks * ENTRY) as usize);
        for (index, entry) in entries.chunks_exact(ENTRY as usize).enumerate() {
            let (state, sum) = match map::parse_entry(index as u64, entry) {
                Entry::Absent => (ABSENT, 0),
                Entry::Summed(sum) => (UNVERIFIED, sum),
                Entry::Unsummed => (UNSUMMED, 0),
            };
            states.push(AtomicU32::new(state));
            sums.push(AtomicU32::new(sum));
        }
        let seal = map::parse_seal(chunks, seal).map_or(UNSEALED, |seal| u64::from(seal.0));
        let entries_at = expected.len() as u64;
        Ok(Some(Self {
            digest,
            generation,
            size,
            used: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            data,
            map,
            entries_at,
            opening: AtomicU32::new(VERIFIED),
            states,
            sums,
            seal: AtomicU64::new(seal),
        }))
    }

    /// Makes a new one, in place of whatever is there.
    pub(super) fn create(
        disk: &dyn Disk,
        paths: &Paths,
        (digest, key, generation): (Digest, &str, u64),
        size: u64,
        begin: Begin<'_>,
    ) -> io::Result<Self> {
        disk.remove(&paths.map)?;
        let data = match begin {
            Begin::Empty => {
                disk.remove(&paths.data)?;
                match disk.open(&paths.data, Open::New) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        disk.create_dir_private(&paths.shard)?;
                        disk.open(&paths.data, Open::New)?
                    }
                    other => other?,
                }
            }
            Begin::Complete(_) => disk.open(&paths.data, Open::ReadWrite)?,
        };
        let map = disk.open(&paths.map, Open::New)?;
        let mut bytes = map::header(key, size);
        let entries_at = bytes.len() as u64;
        let chunks = chunks_of(&(0..size));
        let mut states = Vec::new();
        let mut checksums = Vec::new();
        for index in chunks {
            let known = match begin {
                Begin::Complete(Some(known)) => known.get(index as usize),
                _ => None,
            };
            let (state, sum) = match (begin, known) {
                (Begin::Empty, _) => (ABSENT, 0),
                (Begin::Complete(_), Some(sum)) => (UNVERIFIED, *sum),
                (Begin::Complete(_), None) => (UNSUMMED, 0),
            };
            match state {
                UNVERIFIED => bytes.extend_from_slice(&map::summed(index, sum)),
                UNSUMMED => bytes.extend_from_slice(&map::unsummed(index)),
                _ => {}
            }
            states.push(AtomicU32::new(state));
            checksums.push(AtomicU32::new(sum));
        }
        let mut seal = UNSEALED;
        if let Begin::Complete(Some(known)) = begin
            && known.len() == states.len()
        {
            let made = Seal::of(known.iter().copied());
            bytes.extend_from_slice(&map::sealed(known.len() as u64, made));
            seal = u64::from(made.0);
        }
        map.write_at(&bytes, 0)?;
        Ok(Self {
            digest,
            generation,
            size,
            used: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            data,
            map,
            entries_at,
            opening: AtomicU32::new(VERIFIED),
            states,
            sums: checksums,
            seal: AtomicU64::new(seal),
        })
    }

    /// Reads a range inside the file; on a miss, what has to be fetched, in whole chunks.
    pub(super) fn read(&self, range: Range<u64>) -> Result<Bytes, RangeSet> {
        self.used.store(true, Ordering::Relaxed);
        let opening = self.opening.load(Ordering::Acquire);
        let chunks = chunks_of(&range);
        let mut missing = RangeSet::new();
        // Noted before the bytes are read: what somebody finds right meanwhile says nothing of these.
        let mut unsure = Vec::new();
        for index in chunks.clone() {
            match self.state(index) {
                ABSENT => missing.insert(self.chunk_range(index)),
                state if state == opening => {}
                _ => unsure.push(index),
            }
        }
        if !missing.is_empty() {
            return Err(missing);
        }
        let whole = chunks.start * CHUNK..(chunks.end * CHUNK).min(self.size);
        let span = if unsure.is_empty() { range.clone() } else { whole };
        let mut buffer = BytesMut::zeroed((span.end - span.start) as usize);
        match self.data.read_at(&mut buffer, span.start) {
            Ok(got) if got == buffer.len() => {}
            Ok(_) | Err(_) => {
                // A file that is shorter than its map says, or unreadable, has lost these chunks.
                for index in chunks {
                    self.lose(index);
                    missing.insert(self.chunk_range(index));
                }
                return Err(missing);
            }
        }
        for index in unsure {
            let place = self.chunk_range(index);
            let bytes = &buffer[(place.start - span.start) as usize..(place.end - span.start) as usize];
            if !self.verify(index, bytes, opening) {
                missing.insert(place);
            }
        }
        if !missing.is_empty() {
            return Err(missing);
        }
        let bytes = buffer.freeze();
        Ok(bytes.slice((range.start - span.start) as usize..(range.end - span.start) as usize))
    }

    /// Compares a chunk's bytes, read in this opening, with its checksum, or makes the checksum if it has none.
    fn verify(&self, index: u64, bytes: &[u8], opening: u32) -> bool {
        let at = index as usize;
        match self.state(index) {
            ABSENT => false,
            UNSUMMED => {
                let sum = crc32c(bytes);
                self.sums[at].store(sum, Ordering::Relaxed);
                self.states[at].store(opening, Ordering::Release);
                // Without this entry the chunk stays unsummed on disk, which is no harm.
                let _ = self.map.write_at(&map::summed(index, sum), self.entries_at + index * ENTRY);
                true
            }
            _ => {
                let right = crc32c(bytes) == self.sums[at].load(Ordering::Relaxed);
                if right {
                    self.states[at].store(opening, Ordering::Release);
                } else {
                    tracing::warn!(file = %self.digest.hex(), chunk = index, "a cached chunk is damaged; fetching it again");
                    self.lose(index);
                }
                right
            }
        }
    }

    /// Writes whole chunks, starting at the first byte of one; returns how many bytes are new here.
    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> io::Result<u64> {
        let mut added = 0;
        let mut run: Option<(Range<u64>, Vec<u8>)> = None;
        for (offset, piece) in (at..).step_by(CHUNK as usize).zip(bytes.chunks(CHUNK as usize)) {
            let index = offset / CHUNK;
            let whole = self.chunk_range(index) == (offset..offset + piece.len() as u64);
            debug_assert!(whole, "only whole chunks are inserted");
            if !whole || self.state(index) >= VERIFIED {
                self.finish_run(run.take())?;
                continue;
            }
            let sum = crc32c(piece);
            self.data.write_at(piece, offset)?;
            self.sums[index as usize].store(sum, Ordering::Relaxed);
            let entry = map::summed(index, sum);
            match &mut run {
                Some((chunks, entries)) => {
                    chunks.end += 1;
                    entries.extend_from_slice(&entry);
                }
                None => run = Some((index..index + 1, entry.to_vec())),
            }
            if self.state(index) == ABSENT {
                added += piece.len() as u64;
            }
        }
        self.finish_run(run)?;
        Ok(added)
    }

    fn finish_run(&self, run: Option<(Range<u64>, Vec<u8>)>) -> io::Result<()> {
        let Some((chunks, entries)) = run else { return Ok(()) };
        self.map.write_at(&entries, self.entries_at + chunks.start * ENTRY)?;
        let opening = self.opening.load(Ordering::Acquire);
        for index in chunks {
            self.states[index as usize].store(opening, Ordering::Release);
        }
        Ok(())
    }

    /// Which of these bytes are not here, in whole chunks. Looks at the map only.
    pub(super) fn missing(&self, range: Range<u64>) -> RangeSet {
        chunks_of(&range).filter(|index| self.state(*index) == ABSENT).map(|index| self.chunk_range(index)).collect()
    }

    /// Which bytes are here, in whole chunks, verified or not.
    pub(super) fn present(&self) -> RangeSet {
        let all = chunks_of(&(0..self.size));
        all.filter(|index| self.state(*index) != ABSENT).map(|index| self.chunk_range(index)).collect()
    }

    /// Puts everything that is here and right at the same offsets of another file, of which nothing is needed; returns what
    /// that was. Fails only if the other file does. What does not get there leaves no blocks in use.
    ///
    /// | the blocks | are |
    /// | --- | --- |
    /// | can be shared by both files | shared: that needs no room |
    /// | cannot, and there is room for all of them to the end | copied |
    /// | cannot, and there is no room, or none any more | left where they are |
    pub(super) fn copy_into(&self, to: &dyn DiskFile, room: Room<'_>) -> io::Result<RangeSet> {
        let here = self.present();
        if here.is_empty() {
            return Ok(here);
        }
        let length = to.len()?;
        let sure = self.verified();
        if self.data.share_all_with(to) {
            return self.keep_what_is_right(to, length, &here, sure);
        }
        if !room(here.total()) {
            return Ok(RangeSet::new());
        }
        match self.copy_pieces(to, &here, room) {
            Ok(Some(copied)) => Ok(copied),
            Ok(None) => to.set_len(0).and_then(|()| to.set_len(length)).map(|()| RangeSet::new()),
            Err(error) => {
                // The error that counts is the first one.
                let _ = to.set_len(0).and_then(|()| to.set_len(length));
                Err(error)
            }
        }
    }

    /// The chunks that were compared with their checksums since somebody last opened the file: nobody writes them again.
    fn verified(&self) -> RangeSet {
        let opening = self.opening.load(Ordering::Acquire);
        let all = chunks_of(&(0..self.size));
        all.filter(|index| self.state(*index) == opening).map(|index| self.chunk_range(index)).collect()
    }

    /// Of blocks that were shared when so much was here and so much sure, leaves those that are right.
    fn keep_what_is_right(
        &self,
        to: &dyn DiskFile,
        length: u64,
        here: &RangeSet,
        sure: RangeSet,
    ) -> io::Result<RangeSet> {
        to.set_len(length)?;
        let mut right = sure;
        let mut shared = vec![0; CHUNK as usize];
        for index in chunks_of(&(0..self.size)) {
            let place = self.chunk_range(index);
            if right.contains(place.clone()) || !here.contains(place.clone()) {
                continue;
            }
            // Reading it makes the checksum that it does not have.
            if self.state(index) == UNSUMMED && self.read(place.clone()).is_err() {
                continue;
            }
            // A damaged chunk may have been fetched again since: then it is right here, and not there.
            let shared = &mut shared[..(place.end - place.start) as usize];
            if to.read_at(shared, place.start)? == shared.len()
                && crc32c(shared) == self.sums[index as usize].load(Ordering::Relaxed)
            {
                right.insert(place);
            }
        }
        for gap in right.missing(0..length).iter() {
            to.punch_hole(gap)?;
        }
        Ok(right)
    }

    /// `None` if there was no room for all of it any more.
    fn copy_pieces(&self, to: &dyn DiskFile, here: &RangeSet, room: Room<'_>) -> io::Result<Option<RangeSet>> {
        let mut copied = RangeSet::new();
        for piece in here.iter().flat_map(pieces) {
            if !room(piece.end - piece.start) {
                return Ok(None);
            }
            self.copy_piece(piece, to, &mut copied)?;
        }
        Ok(Some(copied))
    }

    fn copy_piece(&self, piece: Range<u64>, to: &dyn DiskFile, copied: &mut RangeSet) -> io::Result<()> {
        let mut sure = RangeSet::new();
        let opening = self.opening.load(Ordering::Acquire);
        for index in chunks_of(&piece) {
            let place = self.chunk_range(index);
            match self.state(index) {
                ABSENT => {}
                state if state == opening => sure.insert(place),
                _ => self.copy_chunk(place, to, copied)?,
            }
        }
        for range in sure.iter() {
            // Errors of the two sides cannot be told apart here; a second copy through memory can.
            if self.data.copy_range_to(range.clone(), to).is_ok() {
                copied.insert(range);
                continue;
            }
            for index in chunks_of(&range) {
                self.copy_chunk(self.chunk_range(index), to, copied)?;
            }
        }
        Ok(())
    }

    fn copy_chunk(&self, place: Range<u64>, to: &dyn DiskFile, copied: &mut RangeSet) -> io::Result<()> {
        if let Ok(bytes) = self.read(place.clone()) {
            to.write_at(&bytes, place.start)?;
            copied.insert(place);
        }
        Ok(())
    }

    /// Moves the map's time of change to now, if the file was read: the trace of its last use that the
    /// next start finds.
    pub(super) fn touch_if_used(&self) {
        if self.used.swap(false, Ordering::Relaxed) {
            // Losing this costs a place in the order of eviction, nothing else.
            let _ = self.map.write_at(map::MAGIC, 0);
        }
    }

    /// Somebody opens the file: each chunk is compared with its checksum when it is read next.
    pub(super) fn note_opening(&self) {
        // Beyond the last number there is none that is no other state; four thousand million openings are enough.
        let _ = self.opening.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| last.checked_add(1));
    }

    /// Whether all of it is here, and is what was compared with the hash of its version; `None` if it is not all here.
    pub(super) fn is_compared(&self) -> Option<bool> {
        let states = self.states.iter().map(|state| state.load(Ordering::Acquire));
        let sums = self.sums.iter().map(|sum| sum.load(Ordering::Relaxed));
        let mut summed = true;
        for state in states {
            match state {
                ABSENT => return None,
                UNSUMMED => summed = false,
                _ => {}
            }
        }
        Some(summed && self.seal() == Some(Seal::of(sums)))
    }

    /// The seal of content that was compared, whether or not it is still this.
    pub(super) fn seal(&self) -> Option<Seal> {
        u32::try_from(self.seal.load(Ordering::Relaxed)).ok().map(Seal)
    }

    /// Content with this seal was compared with the hash of its version.
    pub(super) fn note_compared(&self, seal: Seal) {
        self.seal.store(u64::from(seal.0), Ordering::Relaxed);
        let chunks = self.states.len() as u64;
        // Without this it is compared once more.
        let _ = self.map.write_at(&map::sealed(chunks, seal), self.entries_at + chunks * ENTRY);
    }

    fn state(&self, index: u64) -> u32 {
        self.states[index as usize].load(Ordering::Acquire)
    }

    /// Bytes found damaged since this was last asked.
    pub(super) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    fn lose(&self, index: u64) {
        if self.states[index as usize].swap(ABSENT, Ordering::AcqRel) != ABSENT {
            let place = self.chunk_range(index);
            self.lost.fetch_add(place.end - place.start, Ordering::Relaxed);
        }
        // If this fails, the next start finds the damage again by itself.
        let _ = self.map.write_at(&[0; ENTRY as usize], self.entries_at + index * ENTRY);
    }

    fn chunk_range(&self, index: u64) -> Range<u64> {
        index * CHUNK..((index + 1) * CHUNK).min(self.size)
    }
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any bytes as the map of a cached file: whatever they are, no chunk is believed that its checksum does not prove.
pub(crate) fn fuzz(input: &[u8], folder: &Path) -> io::Result<()> {
    let disk = crate::base::disk::RealDisk;
    let digest = Digest::from_hex(&"0".repeat(64)).expect("invariant: sixty-four digits");
    let [data, map, copy] = ["x.data", "x.map", "x.copy"].map(|name| folder.join(name));
    let paths = Paths { shard: folder.to_owned(), data, map, copy };
    // Three chunks, of which the last is short; the first two bytes choose how much of the data is there.
    let size = 2 * CHUNK + 5;
    let (choice, entries) = input.split_at(input.len().min(2));
    let length = choice.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte)) * 5 % (size + 1);
    let file = disk.open(&paths.data, Open::OrCreate)?;
    file.set_len(length)?;
    let written = disk.open(&paths.map, Open::OrCreate)?;
    written.set_len(0)?;
    let mut bytes = map::header("key", size);
    // Half of the inputs begin with a right header, so that what follows it is reached.
    if choice.first().is_some_and(|byte| byte % 2 == 0) {
        bytes.extend_from_slice(entries);
    } else {
        bytes = entries.to_vec();
    }
    written.write_at(&bytes, 0)?;
    if let Some(file) = CacheFile::load(&disk, &paths, (digest, "key", 1), size)? {
        if let Ok(read) = file.read(0..size) {
            assert_eq!(read.len() as u64, size);
            assert_eq!(length, size, "bytes that are not there were read");
        }
        let _ = (file.present(), file.missing(0..size), file.take_lost(), file.is_compared());
    }
    Ok(())
}
