//! The real disk, with somebody in between: to count what is done to it, or to make it fail as real ones do.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use onedrive_mount::base::disk::{Disk, DiskFile, Entry, Open, RealDisk, Room};

/// Who stands in between. All bytes pass [`Between::write`]; nothing is copied behind its back.
pub trait Between: Send + Sync + 'static {
    /// Something is about to change that is no writing of bytes.
    fn change(&self) {}

    /// Bytes are to be written.
    fn write(&self, file: &dyn DiskFile, bytes: &[u8], at: u64) -> io::Result<()> {
        self.change();
        file.write_at(bytes, at)
    }

    /// A file is about to be copied.
    fn copy(&self, _from: &Path) {
        self.change();
    }

    /// What the disk says of its free space.
    fn free_space(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_space(path)
    }
}

/// The real disk behind somebody.
pub struct Behind<B>(pub Arc<B>);

struct FileBehind<B>(Arc<dyn DiskFile>, Arc<B>);

impl<B: Between> Behind<B> {
    fn file(&self, file: io::Result<Arc<dyn DiskFile>>) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(FileBehind(file?, self.0.clone())))
    }
}

impl<B: Between> Disk for Behind<B> {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        if matches!(how, Open::OrCreate | Open::New) {
            self.0.change();
        }
        self.file(RealDisk.open(path, how))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.change();
        RealDisk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.change();
        RealDisk.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.change();
        RealDisk.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.change();
        RealDisk.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.change();
        RealDisk.sync_dir(path)
    }

    fn create_dir_private(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_private(path)
    }

    fn replace_atomically(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.0.change();
        RealDisk.replace_atomically(path, bytes, mode)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealDisk.read(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        RealDisk.list_dir(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.0.free_space(path)
    }

    fn clone_file(&self, from: &Path, to: &Path, room: Room<'_>) -> io::Result<Arc<dyn DiskFile>> {
        self.0.copy(from);
        self.file(RealDisk.clone_file(from, to, room))
    }
}

impl<B: Between> DiskFile for FileBehind<B> {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.1.write(&*self.0, bytes, at)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.1.change();
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.1.change();
        self.0.sync_data()
    }

    fn punch_hole(&self, range: Range<u64>) -> io::Result<()> {
        self.1.change();
        self.0.punch_hole(range)
    }

    fn next_data(&self, at: u64) -> io::Result<Option<Range<u64>>> {
        self.0.next_data(at)
    }
}

/// Is called before each change of the disk: the moments at which a program can die.
pub struct Counter<F>(pub F);

impl<F: Fn() + Send + Sync + 'static> Between for Counter<F> {
    fn change(&self) {
        (self.0)();
    }
}

/// A disk of limited size: writes fail as on a full one, in the middle if that is where it is full. Counts what is
/// written, once and for all: nothing is given back by removing.
pub struct SmallDisk {
    left: AtomicU64,
    /// Whether it says truly how much is free; a disk that others fill says too much.
    honest: bool,
}

impl SmallDisk {
    pub fn new(bytes: u64, honest: bool) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(bytes), honest })
    }

    pub fn left(&self) -> u64 {
        self.left.load(Ordering::SeqCst)
    }

    pub fn set_left(&self, bytes: u64) {
        self.left.store(bytes, Ordering::SeqCst);
    }
}

impl Between for SmallDisk {
    fn write(&self, file: &dyn DiskFile, bytes: &[u8], at: u64) -> io::Result<()> {
        let wanted = bytes.len() as u64;
        let had = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(wanted)))
            .unwrap_or(0);
        file.write_at(&bytes[..wanted.min(had) as usize], at)?;
        if had < wanted { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        if self.honest { Ok(self.left.load(Ordering::SeqCst)) } else { RealDisk.free_space(path) }
    }
}
