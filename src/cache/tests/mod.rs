//! The cache against a real disk and a cloud made of a table.

/// What a [`Disk`](crate::base::disk::Disk) does like the machine's that is another one only in opening, renaming and
/// copying files, and in how full it is.
macro_rules! otherwise_real {
    () => {
        fn link(&self, from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
            crate::base::disk::RealDisk.link(from, to)
        }
        fn remove(&self, path: &std::path::Path) -> std::io::Result<()> {
            crate::base::disk::RealDisk.remove(path)
        }
        fn remove_dir(&self, path: &std::path::Path) -> std::io::Result<()> {
            crate::base::disk::RealDisk.remove_dir(path)
        }
        fn sync_dir(&self, path: &std::path::Path) -> std::io::Result<()> {
            crate::base::disk::RealDisk.sync_dir(path)
        }
        fn create_dir_private(&self, path: &std::path::Path) -> std::io::Result<()> {
            crate::base::disk::RealDisk.create_dir_private(path)
        }
        fn replace_atomically(&self, path: &std::path::Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
            crate::base::disk::RealDisk.replace_atomically(path, bytes, mode)
        }
        fn read(&self, path: &std::path::Path) -> std::io::Result<Vec<u8>> {
            crate::base::disk::RealDisk.read(path)
        }
        fn list_dir(&self, path: &std::path::Path) -> std::io::Result<Vec<crate::base::disk::Entry>> {
            crate::base::disk::RealDisk.list_dir(path)
        }
    };
}

mod adopting;
mod cloud;
mod damage;
mod reading;
mod store;

use std::sync::Arc;

use crate::base::clock::{ManualClock, Timestamp};
use crate::base::disk::RealDisk;
use crate::base::ids::{ContentTag, DriveId, ItemId};
use crate::cache::{CacheKey, ChunkCache, Limits};

const ROOMY: Limits = Limits { max_size: 1 << 30, min_free: 0 };

fn key(name: &str, version: &str) -> CacheKey {
    CacheKey::new(&ItemId::new(&DriveId::new("b!drive"), name), &ContentTag(version.to_owned()))
}

/// Bytes in which every chunk and every offset looks different.
fn content(size: u64, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size as usize + 8);
    while (bytes.len() as u64) < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size as usize);
    bytes
}

struct Place {
    folder: tempfile::TempDir,
    clock: ManualClock,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            clock: ManualClock::new(Timestamp::from_seconds(1_700_000_000)),
        }
    }

    fn open(&self, limits: Limits) -> ChunkCache {
        let folder = self.folder.path().join("content");
        let cache = ChunkCache::open(&folder, limits, RealDisk::shared(), Arc::new(self.clock.clone()))
            .expect("the cache opens");
        cache.wait_counted();
        cache
    }

    /// The files of the cache whose name ends so.
    fn files(&self, ending: &str) -> Vec<std::path::PathBuf> {
        let mut found = Vec::new();
        for shard in std::fs::read_dir(self.folder.path().join("content")).expect("there").flatten() {
            for file in std::fs::read_dir(shard.path()).into_iter().flatten().flatten() {
                if file.file_name().to_string_lossy().ends_with(ending) {
                    found.push(file.path());
                }
            }
        }
        found
    }
}
