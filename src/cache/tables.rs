//! What the cache knows without asking the disk: which files there are, which are open, which must stay.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use super::evict::{Level, Limits};
use super::file::CacheFile;
use super::key::{CacheKey, Digest};
use crate::base::clock::{Mono, Timestamp};

/// How many cached files are kept open (two descriptors each; the usual limit of a process is 1024).
const OPEN_FILES: NonZeroUsize = NonZeroUsize::new(128).expect("invariant: 128 is not zero");

/// The tables of a cache, under its lock.
pub(super) struct Tables {
    pub(super) limits: Limits,
    /// Every file with cached content; the least recently used one is the next to go.
    pub(super) files: LruCache<Digest, Record>,
    /// The open ones. A record may be without, but not the other way round.
    pub(super) open: LruCache<CacheKey, Arc<CacheFile>>,
    pub(super) pins: HashMap<Digest, Pin>,
    /// Records that are gone while their files are still being deleted: not to be made again meanwhile.
    pub(super) dying: HashSet<Digest>,
    /// Content that is being copied here from another file system; see [`super::adopt`].
    pub(super) copying: HashSet<Digest>,
    /// Complete content that was never compared with the hash of its version, with its size; see [`super::compared`].
    pub(super) to_compare: HashMap<CacheKey, u64>,
    pub(super) total: u64,
    pub(super) reserved: u64,
    pub(super) paused_until: Option<Mono>,
    pub(super) scanned: bool,
}

/// A cached file as the tables know it.
pub(super) struct Record {
    pub(super) bytes: u64,
    pub(super) used: Timestamp,
    /// That of the open file; 0 until it is opened.
    pub(super) generation: u64,
}

#[derive(Default)]
pub(super) struct Pin {
    pub(super) count: usize,
    /// To be forgotten when the last pin goes.
    pub(super) doomed: bool,
}

impl Tables {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            files: LruCache::unbounded(),
            open: LruCache::new(OPEN_FILES),
            pins: HashMap::new(),
            dying: HashSet::new(),
            copying: HashSet::new(),
            to_compare: HashMap::new(),
            total: 0,
            reserved: 0,
            paused_until: None,
            scanned: false,
        }
    }

    /// How full the cache is on a file system with so many free bytes.
    pub(super) fn level(&self, free: Option<u64>) -> Level {
        Level { cached: self.total, reserved: self.reserved, free }
    }

    /// Takes a record out; its files are dying from then on. Returns whether it was there.
    pub(super) fn take_out(&mut self, digest: &Digest) -> bool {
        let Some(record) = self.files.pop(digest) else { return false };
        self.total -= record.bytes;
        // Found by its digest, because an evicted record has no key at hand; the table is small.
        let key = self.open.iter().find(|(_, file)| file.digest == *digest).map(|(key, _)| key.clone());
        if let Some(key) = key {
            self.open.pop(&key);
        }
        self.dying.insert(*digest);
        true
    }
}
