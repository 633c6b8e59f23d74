//! Clean bytes on the local disk: content that the cloud has, kept so that it need not be fetched twice.
//!
//! A cache in front of a slow service is worth having only if it can never hurt. So it may be deleted at
//! any moment, and always true here:
//!
//! - content is kept by item *and* version, so bytes of two versions never meet;
//! - wrong bytes (a torn write, a bad disk) are a miss, never an answer;
//! - no failure of the cache fails a read: it just keeps less, and after a full disk nothing for a while;
//! - it stays under its size limit and above the floor of free space, and gives up what was not used
//!   longest ([`evict`]); content of open handles stays ([`ChunkCache::pin`]).
//!
//! [`ChunkCache`] is the store and blocks on the disk only. [`Fetcher`] stands before it, fetches what is
//! missing and reads ahead; almost everybody wants that one.
//!
//! Locks: one mutex over the tables, never held across reading or writing content. The order is: tables of
//! the fetcher, then tables of the cache.
//!
//! Not here: bytes that the cloud does not have yet; those are precious and belong to the journal.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::base::clock::Clock;
use crate::base::disk::{Disk, DiskFile, Room};
use crate::base::ranges::RangeSet;

mod adopt;
mod compared;
mod doubt;
mod download;
pub mod evict;
mod fetch;
mod file;
mod key;
mod map;
mod pin;
mod scan;
mod stream;
mod tables;
#[cfg(test)]
mod tests;
mod turn;

pub use doubt::{Judgement, judge};
pub use evict::{Level, Limits};
pub use fetch::{FetchError, Fetcher, Settings, Sink};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use file::fuzz as fuzz_map;
pub use key::CacheKey;
pub use pin::PinGuard;
pub use stream::ReadStream;

use file::{Begin, CacheFile, Paths};
use key::Digest;
use tables::{Record, Tables};

/// The unit of caching, in bytes: a chunk is completely here or not at all. 128 KiB is what the kernel asks
/// for at first touch.
pub const CHUNK: u64 = 128 << 10;

/// The largest file that is kept, in bytes. A map in memory goes with each, so a size that no service stores (a server
/// may say what it likes) must not decide how large it is. Larger files can be read, and are not kept.
const LARGEST: u64 = 1 << 40;

/// For how long nothing is kept after the disk was full or failed.
const PAUSE: Duration = Duration::from_secs(30);

/// For how long nothing is kept after no room could be made.
const CROWDED: Duration = Duration::from_secs(1);

/// What a lookup finds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// All the bytes asked for.
    Hit(Bytes),
    /// What has to be fetched first, in whole chunks.
    Missing(RangeSet),
}

/// How much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Bytes of cached content.
    pub bytes: u64,
    /// Files with cached content.
    pub files: u64,
    /// Bytes that others have reserved under the same limit.
    pub reserved: u64,
    /// Free bytes of the file system, if it says.
    pub free: Option<u64>,
    /// The limits.
    pub limits: Limits,
    /// Whether new content is kept at the moment; not after a full disk.
    pub keeping: bool,
    /// Whether the files of an earlier run are all counted yet.
    pub counted: bool,
}

/// Why a cache cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the cache folder {} cannot be used", path.display())]
pub struct CacheError {
    /// The folder.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Cached content on disk. Cheap to clone; all clones are one cache.
///
/// Methods block on the local disk, never on the network. Two processes must not open the same folder.
#[derive(Clone)]
pub struct ChunkCache {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    tables: Mutex<Tables>,
    generation: AtomicU64,
    counted: Condvar,
    /// Whether the tables know of content that is to be compared; asked at each read, and nearly always not.
    to_compare: AtomicBool,
}

impl ChunkCache {
    /// Opens the cache in a folder of its own, which is created if missing. A folder that holds something and
    /// was not made by this is refused, because whatever is no cached content in it gets deleted. Returns at once: files of an earlier run can be used right away, and are counted
    /// and ordered by last use in the background.
    pub fn open(folder: &Path, limits: Limits, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Self, CacheError> {
        let failed = |source| CacheError { path: folder.to_owned(), source };
        scan::claim_folder(folder, &*disk).map_err(failed)?;
        let shared = Arc::new(Shared {
            root: folder.to_owned(),
            disk,
            clock,
            tables: Mutex::new(Tables::new(limits)),
            generation: AtomicU64::new(1),
            counted: Condvar::new(),
            to_compare: AtomicBool::new(false),
        });
        scan::start(&shared).map_err(failed)?;
        Ok(Self { shared })
    }

    /// Reads a range of a file of `size` bytes; what lies beyond its end is left out. A chunk is compared
    /// with its checksum at its first read since [`ChunkCache::opened`] was last called.
    pub fn read_at(&self, key: &CacheKey, size: u64, range: Range<u64>) -> Lookup {
        let range = range.start.min(size)..range.end.min(size);
        if range.is_empty() {
            return Lookup::Hit(Bytes::new());
        }
        match self.find(key, size) {
            None => Lookup::Missing(whole_chunks(&range, size)),
            Some(file) => file.read(range).map_or_else(Lookup::Missing, Lookup::Hit),
        }
    }

    /// What of a range is not here, in whole chunks. Reads no content, so a damaged chunk counts as here.
    pub fn missing(&self, key: &CacheKey, size: u64, range: Range<u64>) -> RangeSet {
        let range = range.start.min(size)..range.end.min(size);
        match self.find(key, size) {
            None => whole_chunks(&range, size),
            Some(file) => file.missing(range),
        }
    }

    /// Keeps bytes that start at a chunk and end at the end of one or of the file; other bytes are left
    /// out. Returns whether they are kept: not if there is no room, or the disk has just failed. That is no
    /// error for anybody.
    pub fn insert(&self, key: &CacheKey, size: u64, at: u64, bytes: &[u8]) -> bool {
        let end = at + bytes.len() as u64;
        let fits_grid = at.is_multiple_of(CHUNK) && (end.is_multiple_of(CHUNK) || end == size) && end <= size;
        debug_assert!(fits_grid, "{at}..{end} of {size} is not made of whole chunks");
        if bytes.is_empty() || !fits_grid || !self.make_room(bytes.len() as u64) {
            return false;
        }
        let written = self.find_or_create(key, size).and_then(|file| match file {
            None => Ok(false),
            Some(file) => {
                let added = file.write(at, bytes)?;
                self.count(&file, added);
                Ok(true)
            }
        });
        written.unwrap_or_else(|error| {
            self.pause(&error);
            false
        })
    }

    /// Keeps what is here of one version under the tag that it has now: the same bytes under another name. The old name
    /// stays for those who read by it. Best effort, and as slow as the disk.
    pub fn carry_over(&self, from: &CacheKey, to: &CacheKey, size: u64) {
        const PIECE: u64 = 8 * CHUNK;
        for range in self.present(from, size).iter() {
            let mut at = range.start;
            while at < range.end {
                let end = range.end.min(at + PIECE);
                let Lookup::Hit(bytes) = self.read_at(from, size, at..end) else { return };
                if !self.insert(to, size, at, &bytes) {
                    return;
                }
                at = end;
            }
        }
        self.carry_over_comparison(from, to, size);
    }

    /// Puts what is here and right at the same offsets of another file, of which nothing is needed: by sharing blocks
    /// where the file system can, otherwise by copying, if there is room. Returns what is there. Fails only if the other
    /// file does.
    pub fn copy_ranges_into(
        &self,
        key: &CacheKey,
        size: u64,
        to: &dyn DiskFile,
        room: Room<'_>,
    ) -> io::Result<RangeSet> {
        self.find(key, size).map_or_else(|| Ok(RangeSet::new()), |file| file.copy_into(to, room))
    }

    /// Which bytes are here. Reads no content, so a damaged chunk counts as here.
    pub fn present(&self, key: &CacheKey, size: u64) -> RangeSet {
        self.find(key, size).map_or_else(RangeSet::new, |file| file.present())
    }

    /// Whether the whole file is here; always true for an empty one. Reads no content.
    pub fn is_complete(&self, key: &CacheKey, size: u64) -> bool {
        // The count is quick and says no for nearly every file; the map has the last word.
        size == 0
            || (self.cached_bytes(key) >= size || !self.lock().scanned)
                && self.find(key, size).is_some_and(|file| file.missing(0..size).is_empty())
    }

    /// How many bytes of this content are here.
    pub fn cached_bytes(&self, key: &CacheKey) -> u64 {
        self.lock().files.peek(&key.digest()).map_or(0, |record| record.bytes)
    }

    /// Somebody opens the file of which this is the content. What was found right for earlier readers may have been damaged
    /// on the disk since: it is compared with its checksums once more as it is read.
    pub fn opened(&self, key: &CacheKey) {
        // A file that is not open here has nothing that was compared.
        if let Some(file) = self.lock().open.peek(key) {
            file.note_opening();
        }
    }

    /// Keeps this content from being evicted or forgotten until the guard is dropped, whether any of it is
    /// here yet or not.
    pub fn pin(&self, key: &CacheKey) -> PinGuard {
        let digest = key.digest();
        self.lock().pins.entry(digest).or_default().count += 1;
        PinGuard { cache: self.clone(), digest }
    }

    /// Drops content that is of no more use (another version has replaced it): at once, or when the last
    /// pin goes.
    pub fn forget(&self, key: &CacheKey) {
        let digest = key.digest();
        if let Some(pin) = self.lock().pins.get_mut(&digest) {
            pin.doomed = true;
            return;
        }
        self.remove(digest);
    }

    /// Drops content that has turned out to be wrong: at once, pinned or not.
    pub fn discard(&self, key: &CacheKey) {
        self.remove(key.digest());
    }

    /// How much is kept, for people and for `statfs`.
    pub fn usage(&self) -> Usage {
        let free = self.free_space();
        let now = self.shared.clock.monotonic();
        let tables = self.lock();
        Usage {
            bytes: tables.total,
            files: tables.files.len() as u64,
            reserved: tables.reserved,
            free,
            limits: tables.limits,
            keeping: tables.paused_until.is_none_or(|until| until <= now),
            counted: tables.scanned,
        }
    }

    /// Counts this many bytes of others (content waiting for its upload) under the size limit; evicts if that leaves
    /// too little.
    pub fn set_reserved(&self, bytes: u64) {
        let before = std::mem::replace(&mut self.lock().reserved, bytes);
        if bytes > before {
            self.make_room(0);
        }
    }

    /// Drops content until at most this many bytes are left, the longest unused first. Pinned content
    /// stays. Returns how many bytes were freed.
    pub fn evict_now(&self, down_to: u64) -> u64 {
        let goal = self.lock().total.saturating_sub(down_to);
        self.evict(goal)
    }

    /// Waits until the files of an earlier run are counted.
    pub fn wait_counted(&self) {
        let mut tables = self.lock();
        while !tables.scanned {
            tables = self.shared.counted.wait(tables).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Evicts if the limits ask for it, and says whether `wanted` more bytes may be kept.
    fn make_room(&self, wanted: u64) -> bool {
        let free = self.free_space();
        let now = self.shared.clock.monotonic();
        let (level, limits) = {
            let mut tables = self.lock();
            match tables.paused_until {
                Some(until) if now < until => return false,
                _ => tables.paused_until = None,
            }
            (tables.level(free), tables.limits)
        };
        let goal = evict::excess(level, limits, wanted);
        let freed = if goal == 0 { 0 } else { self.evict(goal) };
        let level = Level {
            cached: level.cached.saturating_sub(freed),
            reserved: level.reserved,
            free: level.free.map(|free| free.saturating_add(freed)),
        };
        let fits = evict::fits(level, limits, wanted);
        if !fits {
            // Everything is pinned or reserved. Looking again for every chunk would help nobody.
            self.lock().paused_until = Some(now.plus(CROWDED));
        }
        fits
    }

    fn evict(&self, goal: u64) -> u64 {
        let (doomed, freed) = {
            let mut tables = self.lock();
            let candidates = tables.files.iter().rev().map(|(digest, record)| evict::Candidate {
                key: *digest,
                bytes: record.bytes,
                used: record.used,
                pinned: tables.pins.contains_key(digest),
            });
            let doomed = evict::choose(candidates, goal);
            let before = tables.total;
            for digest in &doomed {
                tables.take_out(digest);
            }
            (doomed, before - tables.total)
        };
        if !doomed.is_empty() {
            tracing::debug!(files = doomed.len(), bytes = freed, "evicting cached content");
        }
        for digest in doomed {
            self.delete_files(digest);
        }
        freed
    }

    fn remove(&self, digest: Digest) {
        if self.lock().take_out(&digest) {
            self.delete_files(digest);
        }
    }

    /// Deletes the files of a record that was taken out.
    fn delete_files(&self, digest: Digest) {
        let paths = self.paths(&digest);
        for path in [&paths.map, &paths.data] {
            if let Err(error) = self.shared.disk.remove(path) {
                tracing::warn!(path = %path.display(), %error, "a cached file cannot be deleted");
            }
        }
        self.lock().dying.remove(&digest);
    }

    fn count(&self, file: &CacheFile, added: u64) {
        let mut tables = self.lock();
        // Evicted while it was being written: its bytes are gone with its name.
        if let Some(record) = tables.files.get_mut(&file.digest)
            && record.generation == file.generation
        {
            let lost = file.take_lost().min(record.bytes + added);
            record.bytes = record.bytes + added - lost;
            tables.total = tables.total + added - lost;
        }
    }

    fn pause(&self, error: &io::Error) {
        tracing::warn!(%error, "content cannot be cached; reading goes on without keeping it for a while");
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            self.evict(64 << 20);
        }
        self.lock().paused_until = Some(self.shared.clock.monotonic().plus(PAUSE));
    }

    /// The file of a key, opened if it was not; `None` if nothing of it is here.
    fn find(&self, key: &CacheKey, size: u64) -> Option<Arc<CacheFile>> {
        if size > LARGEST {
            return None;
        }
        let now = self.shared.clock.now();
        {
            let mut tables = self.lock();
            if let Some(file) = tables.open.get(key).cloned() {
                // `get` moves it to the front.
                if let Some(record) = tables.files.get_mut(&file.digest) {
                    record.used = now;
                }
                return if file.size == size { Some(file) } else { None };
            }
        }
        let digest = key.digest();
        {
            let tables = self.lock();
            if tables.dying.contains(&digest) || (tables.scanned && !tables.files.contains(&digest)) {
                return None;
            }
        }
        let generation = self.next_generation();
        let loaded = CacheFile::load(&*self.shared.disk, &self.paths(&digest), (digest, &key.text(), generation), size);
        let file = match loaded {
            Ok(Some(file)) => Arc::new(file),
            Ok(None) => return None,
            Err(error) => {
                tracing::warn!(%error, "a cached file cannot be opened");
                return None;
            }
        };
        let bytes = file.present().total();
        let mut tables = self.lock();
        if let Some(other) = tables.open.get(key) {
            return Some(other.clone()).filter(|file| file.size == size);
        }
        if tables.dying.contains(&digest) || (tables.scanned && !tables.files.contains(&digest)) {
            return None;
        }
        let before = tables.files.push(digest, Record { bytes, used: now, generation }).map_or(0, |(_, old)| old.bytes);
        tables.total = tables.total + bytes - before;
        let pushed_out = tables.open.push(key.clone(), file.clone());
        drop(tables);
        touch(pushed_out);
        self.compare_if_needed(key, &file);
        Some(file)
    }

    /// As [`ChunkCache::find`], but makes it if missing; `None` while the old one is being deleted.
    fn find_or_create(&self, key: &CacheKey, size: u64) -> io::Result<Option<Arc<CacheFile>>> {
        if size > LARGEST {
            return Ok(None);
        }
        if let Some(file) = self.find(key, size) {
            return Ok(Some(file));
        }
        let digest = key.digest();
        let now = self.shared.clock.now();
        let mut tables = self.lock();
        if tables.dying.contains(&digest) {
            return Ok(None);
        }
        if let Some(other) = tables.open.get(key).filter(|other| other.size == size) {
            return Ok(Some(other.clone()));
        }
        // What the record stands for did not prove to be this content; the new file replaces it.
        tables.take_out(&digest);
        tables.dying.remove(&digest);
        let generation = self.next_generation();
        let paths = self.paths(&digest);
        // Under the lock, so that a key has one file: two small files are made, nothing is read.
        let made =
            CacheFile::create(&*self.shared.disk, &paths, (digest, &key.text(), generation), size, Begin::Empty)?;
        let file = Arc::new(made);
        tables.files.push(digest, Record { bytes: 0, used: now, generation });
        let pushed_out = tables.open.push(key.clone(), file.clone());
        drop(tables);
        touch(pushed_out);
        Ok(Some(file))
    }

    fn paths(&self, digest: &Digest) -> Paths {
        Paths::of(&self.shared.root, digest)
    }

    fn next_generation(&self) -> u64 {
        self.shared.generation.fetch_add(1, Ordering::Relaxed)
    }

    fn free_space(&self) -> Option<u64> {
        self.shared.disk.free_space(&self.shared.root).ok()
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.shared.lock()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for (_, file) in self.lock().open.iter() {
            file.touch_if_used();
        }
    }
}

/// The chunks that hold any byte of a range, by number.
fn chunks_of(range: &Range<u64>) -> Range<u64> {
    if range.is_empty() { 0..0 } else { range.start / CHUNK..range.end.div_ceil(CHUNK) }
}

/// A range extended to whole chunks of a file.
fn whole_chunks(range: &Range<u64>, size: u64) -> RangeSet {
    let chunks = chunks_of(range);
    RangeSet::of(chunks.start * CHUNK..(chunks.end * CHUNK).min(size))
}

/// Records the last use of a file that is about to be closed.
fn touch(pushed_out: Option<(CacheKey, Arc<CacheFile>)>) {
    if let Some((_, file)) = pushed_out {
        file.touch_if_used();
    }
}
