//! A disk that counts what is done to it, and tells somebody before each thing: the moments at which a program can die.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use onedrive_mount::base::disk::{Disk, DiskFile, Entry, Open, RealDisk};

/// Called before everything that changes the disk.
pub type Tick = Arc<dyn Fn() + Send + Sync>;

/// The real disk, with a tick before each change.
pub struct CountedDisk(pub Tick);

struct CountedFile(Arc<dyn DiskFile>, Tick);

impl CountedDisk {
    fn file(&self, file: io::Result<Arc<dyn DiskFile>>) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(CountedFile(file?, self.0.clone())))
    }
}

impl Disk for CountedDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        if matches!(how, Open::OrCreate | Open::New) {
            (self.0)();
        }
        self.file(RealDisk.open(path, how))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        (self.0)();
        RealDisk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        (self.0)();
        RealDisk.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        (self.0)();
        RealDisk.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        (self.0)();
        RealDisk.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        (self.0)();
        RealDisk.sync_dir(path)
    }

    fn create_dir_private(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_private(path)
    }

    fn replace_atomically(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        (self.0)();
        RealDisk.replace_atomically(path, bytes, mode)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealDisk.read(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        RealDisk.list_dir(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_space(path)
    }

    fn clone_file(&self, from: &Path, to: &Path) -> io::Result<Arc<dyn DiskFile>> {
        (self.0)();
        self.file(RealDisk.clone_file(from, to))
    }
}

impl DiskFile for CountedFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        (self.1)();
        self.0.write_at(bytes, at)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        (self.1)();
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        (self.1)();
        self.0.sync_data()
    }

    fn punch_hole(&self, range: Range<u64>) -> io::Result<()> {
        (self.1)();
        self.0.punch_hole(range)
    }

    fn next_data(&self, at: u64) -> io::Result<Option<Range<u64>>> {
        self.0.next_data(at)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.descriptor()
    }

    fn copy_range_to(&self, range: Range<u64>, to: &dyn DiskFile) -> io::Result<()> {
        (self.1)();
        self.0.copy_range_to(range, to)
    }
}
