//! Content that was made on this machine becomes cached content.
//!
//! When an upload is over, all bytes of the new version are in a file of the journal, and fetching them again would be a
//! waste. On one file system the file only gets another name. On two it has to be copied, which takes as long as the
//! disks need for it: a minute for a film. So, always true here:
//!
//! - the tables are locked while a name is changed, never while bytes are copied;
//! - a copy is made under a name that no lookup knows, and gets its own when it is complete and on the disk; one that a
//!   death has left behind goes at the next start;
//! - it is made only if there is room for all of it, and goes as soon as the floor of free space is reached all the
//!   same, because others write too.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::file::{Begin, CacheFile};
use super::key::Digest;
use super::tables::Record;
use super::{CacheKey, ChunkCache, evict, touch};
use crate::base::disk::Open;

impl ChunkCache {
    /// Takes over a file that holds exactly this content, by renaming it, or if it is on another file system
    /// by copying and removing it. On failure it is where it was. Content of the same key that was here
    /// before is dropped.
    ///
    /// `sums` are the CRC-32C of its chunks. Without them checksums are made when the chunks are first read. Blocks for
    /// as long as it takes to make the bytes durable, because until then no checksum would tell that a power failure
    /// took them, and to copy them, if they have to be.
    pub fn adopt(&self, key: &CacheKey, size: u64, spool: &Path, sums: Option<&[u32]>) -> io::Result<()> {
        let disk = &*self.shared.disk;
        let file = disk.open(spool, Open::ReadWrite)?;
        let len = file.len()?;
        if len != size {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a file of {len} bytes cannot be content of {size} bytes"),
            ));
        }
        file.sync_data()?;
        let digest = key.digest();
        self.remove(digest);
        disk.create_dir_private(&self.paths(&digest).shard)?;
        match self.enter(key, size, spool, sums) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => self.adopt_copy(key, size, spool, sums),
            other => other,
        }
    }

    /// The same across file systems.
    fn adopt_copy(&self, key: &CacheKey, size: u64, spool: &Path, sums: Option<&[u32]>) -> io::Result<()> {
        let disk = &*self.shared.disk;
        let copying = Copying::begin(self, key.digest())?;
        let limits = {
            let (free, tables) = (self.free_space(), self.lock());
            if !evict::fits(tables.level(free).emptied(), tables.limits, size) {
                // Nothing has to go for what would not fit then either.
                return Err(io::ErrorKind::StorageFull.into());
            }
            tables.limits
        };
        if !self.make_room(size) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let room = |more: u64| self.free_space().is_none_or(|free| free >= limits.min_free.saturating_add(more));
        let copy = self.paths(&copying.digest).copy;
        disk.remove(&copy)?;
        let copied = disk.clone_file(spool, &copy, &room).and_then(|file| file.sync_data());
        if let Err(error) = copied.and_then(|()| self.enter(key, size, &copy, sums)) {
            // The error that counts is the first one; the next start would find and delete the file anyway.
            let _ = disk.remove(&copy);
            return Err(error);
        }
        if let Err(error) = disk.remove(spool) {
            tracing::warn!(path = %spool.display(), %error, "a file that was copied into the cache cannot be deleted");
        }
        Ok(())
    }

    /// Gives a file on the cache's file system its place in the cache.
    fn enter(&self, key: &CacheKey, size: u64, from: &Path, sums: Option<&[u32]>) -> io::Result<()> {
        let disk = &*self.shared.disk;
        let digest = key.digest();
        let paths = self.paths(&digest);
        // The lock is held so that nobody makes the same file meanwhile; a rename is quick, and the map is small.
        let mut tables = self.lock();
        if tables.dying.contains(&digest) || tables.files.contains(&digest) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "the same content is being cached already"));
        }
        disk.rename(from, &paths.data)?;
        let generation = self.next_generation();
        // From here on the file has lost its old name; without a map its content is lost to the cache only.
        let made = CacheFile::create(disk, &paths, (digest, &key.text(), generation), size, Begin::Complete(sums));
        match made {
            Ok(file) => {
                let used = self.shared.clock.now();
                tables.files.push(digest, Record { bytes: size, used, generation });
                tables.total += size;
                let pushed_out = tables.open.push(key.clone(), Arc::new(file));
                drop(tables);
                touch(pushed_out);
                self.make_room(0);
            }
            Err(error) => {
                drop(tables);
                tracing::warn!(%error, "uploaded content could not be kept in the cache");
                // The next start would find and delete it anyway.
                let _ = disk.remove(&paths.data);
            }
        }
        Ok(())
    }
}

/// A copy that is being made: nobody else makes the same, or takes its file for a stray.
struct Copying<'a> {
    cache: &'a ChunkCache,
    digest: Digest,
}

impl<'a> Copying<'a> {
    fn begin(cache: &'a ChunkCache, digest: Digest) -> io::Result<Self> {
        if !cache.lock().copying.insert(digest) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "the same content is being copied already"));
        }
        Ok(Self { cache, digest })
    }
}

impl Drop for Copying<'_> {
    fn drop(&mut self) {
        self.cache.lock().copying.remove(&self.digest);
    }
}
