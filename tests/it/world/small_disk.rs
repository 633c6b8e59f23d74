//! A disk of limited size: writes fail as on a full one, in the middle if that is where it is full.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use onedrive_mount::base::disk::{Disk, DiskFile, Entry, Open, RealDisk};

/// Counts what is written, once and for all: nothing is given back by removing.
#[derive(Clone)]
pub struct SmallDisk {
    left: Arc<AtomicU64>,
    /// Whether it says truly how much is free; a disk that others fill says too much.
    honest: bool,
}

impl SmallDisk {
    pub fn new(bytes: u64, honest: bool) -> Self {
        Self { left: Arc::new(AtomicU64::new(bytes)), honest }
    }

    pub fn set_left(&self, bytes: u64) {
        self.left.store(bytes, Ordering::SeqCst);
    }

    fn file(&self, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(SmallFile { inner, left: self.left.clone() })
    }
}

struct SmallFile {
    inner: Arc<dyn DiskFile>,
    left: Arc<AtomicU64>,
}

impl Disk for SmallDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(RealDisk.open(path, how)?))
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
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
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
        if self.honest { Ok(self.left.load(Ordering::SeqCst)) } else { RealDisk.free_space(path) }
    }
    fn clone_file(&self, from: &Path, to: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(RealDisk.clone_file(from, to)?))
    }
}

impl DiskFile for SmallFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, at)
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let wanted = bytes.len() as u64;
        let had = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(wanted)))
            .unwrap_or(0);
        self.inner.write_at(&bytes[..wanted.min(had) as usize], at)?;
        if had < wanted { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }
    fn punch_hole(&self, range: Range<u64>) -> io::Result<()> {
        self.inner.punch_hole(range)
    }
    fn next_data(&self, at: u64) -> io::Result<Option<Range<u64>>> {
        self.inner.next_data(at)
    }
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
