//! The only writer of files.
//!
//! Power loss takes every write that was not synced, may tear one in the middle, and may keep a later one
//! while losing an earlier one. To test that, everything that must survive goes through [`Disk`] and
//! [`DiskFile`], so that a simulated disk can forget exactly what a real one may.
//!
//! What is durable, and when:
//!
//! - bytes of a file: once [`DiskFile::sync_data`] has returned;
//! - a created, renamed or removed name: once [`Disk::sync_dir`] of its folder has returned;
//! - a file written by [`Disk::replace_atomically`]: on return, and at every moment before that it is
//!   completely the old one or completely the new one.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, SeekFrom};

use crate::base::clock::Timestamp;
use crate::base::ranges::RangeSet;

/// Says whether so many bytes more may be written. Who copies much asks again and again: others write meanwhile.
pub type Room<'a> = &'a dyn Fn(u64) -> bool;

/// How many bytes are copied before room is asked for again.
pub const COPIED_AT_ONCE: u64 = 16 << 20;

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    ReadWrite,
    /// For reading and writing; created with mode 0600 if it does not exist.
    OrCreate,
    /// For reading and writing; created with mode 0600, and it must not have existed.
    New,
}

/// What a folder holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The name, without the folder.
    pub name: OsString,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Length in bytes.
    pub len: u64,
    /// Bytes of disk really in use; less than `len` for a sparse file.
    pub allocated: u64,
    /// Time of the last write.
    pub modified: Timestamp,
}

/// Where files live. Object-safe; shared as `Arc<dyn Disk>`. All methods block.
pub trait Disk: Send + Sync + 'static {
    /// Opens or creates a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name in the same file system, replacing what is there.
    /// [`io::ErrorKind::CrossesDevices`] if it is another file system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name, which must not exist.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Success if it is not there.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder. Success if it is not there.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Creates a folder and its missing parents, readable by this user only (mode 0700). One that is there already
    /// is closed to others; [`io::ErrorKind::PermissionDenied`] if it is not ours to close.
    fn create_dir_private(&self, path: &Path) -> io::Result<()>;

    /// Writes a file of the given mode so that every reader, and every start after a crash, sees the old
    /// content or the new one and nothing else. Durable on return.
    fn replace_atomically(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()>;

    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// What a folder holds, in no order. [`io::ErrorKind::NotFound`] if there is no such folder.
    fn list_dir(&self, path: &Path) -> io::Result<Vec<Entry>>;

    /// Bytes that this user may still write to the file system of this path.
    fn free_space(&self, path: &Path) -> io::Result<u64>;

    /// Makes `to`, which must not exist, a copy of `from`: sharing its blocks where the file system can, which needs no
    /// room; otherwise by copying what is not a hole. Not durable until synced.
    ///
    /// Room is asked for once for all of it and then again for each piece; [`io::ErrorKind::StorageFull`], with nothing
    /// left behind, if there is none.
    fn clone_file(&self, from: &Path, to: &Path, room: Room<'_>) -> io::Result<Arc<dyn DiskFile>>;
}

/// An open file with positioned I/O. Object-safe; shared as `Arc<dyn DiskFile>`. All methods block.
pub trait DiskFile: Send + Sync + 'static {
    /// Reads at an offset until the buffer is full or the file ends; returns how many bytes were read.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes all the bytes at an offset; a gap before it becomes a hole. On failure a part of them may
    /// have been written.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Cuts the file or extends it by a hole.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes the bytes and the length durable.
    fn sync_data(&self) -> io::Result<()>;

    /// Gives the blocks of a range back; it reads as zeros afterwards. The length stays. May do nothing
    /// but write zeros where the file system cannot.
    fn punch_hole(&self, range: Range<u64>) -> io::Result<()>;

    /// The next range at or after `at` that may hold something else than zeros; `None` if there is only a
    /// hole until the end. A disk that does not know answers with everything up to the end.
    fn next_data(&self, at: u64) -> io::Result<Option<Range<u64>>> {
        let len = self.len()?;
        Ok((at < len).then_some(at..len))
    }

    /// The descriptor, if a kernel file is behind it.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Lets another file, of which nothing is needed, have all blocks of this one as they are now; what one of the two
    /// writes later the other does not see. Needs no room and hardly any time. `false`, with nothing done, where the file
    /// system cannot. The other one is as long as this afterwards, or as long as it was.
    fn share_all_with(&self, to: &dyn DiskFile) -> bool {
        match (self.descriptor(), to.descriptor()) {
            (Some(source), Some(sink)) => rustix::fs::ioctl_ficlone(sink, source).is_ok(),
            _ => false,
        }
    }

    /// Copies a range to the same offset of another file, in the kernel where that is possible (sharing
    /// blocks on file systems that can). Fails with [`io::ErrorKind::UnexpectedEof`] if this file is
    /// shorter.
    fn copy_range_to(&self, range: Range<u64>, to: &dyn DiskFile) -> io::Result<()> {
        let mut at = range.start;
        if let (Some(source), Some(sink)) = (self.descriptor(), to.descriptor()) {
            while at < range.end {
                let (mut from_at, mut to_at) = (at, at);
                let want = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(1 << 30);
                match rustix::fs::copy_file_range(source, Some(&mut from_at), sink, Some(&mut to_at), want) {
                    Ok(0) => break,
                    Ok(count) => at += count as u64,
                    Err(rustix::io::Errno::INTR) => {}
                    // Not every pair of file systems can; the loop below always can.
                    Err(_) => break,
                }
            }
        }
        let mut buffer = vec![0; usize::try_from((range.end - at).min(1 << 20)).unwrap_or(1 << 20)];
        while at < range.end {
            let want = buffer.len().min(usize::try_from(range.end - at).unwrap_or(usize::MAX));
            let got = self.read_at(&mut buffer[..want], at)?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            to.write_at(&buffer[..got], at)?;
            at += got as u64;
        }
        Ok(())
    }
}

/// The machine's own file systems.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl RealDisk {
    /// For sharing.
    pub fn shared() -> Arc<dyn Disk> {
        Arc::new(Self)
    }
}

/// A file of the machine.
#[derive(Debug)]
struct RealFile(File);

/// How the name of a file ends that has been begun in place of another.
const BEGUN: &str = ".new";

/// Makes the names of temporary files differ inside this process.
static TEMPORARY: AtomicU64 = AtomicU64::new(0);

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(0o600);
        match how {
            Open::Read => {}
            Open::ReadWrite => {
                options.write(true);
            }
            Open::OrCreate => {
                options.write(true).create(true).truncate(false);
            }
            Open::New => {
                options.write(true).create_new(true);
            }
        }
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        ignore_absence(fs::remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        ignore_absence(fs::remove_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn create_dir_private(&self, path: &Path) -> io::Result<()> {
        super::private::folder(path)
    }

    fn replace_atomically(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temporary = temporary_beside(path)?;
        let written = (|| {
            let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
            file.write_all_at(bytes, 0)?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        })();
        if written.is_err() {
            // The error that counts is the first one.
            let _ = fs::remove_file(&temporary);
        }
        written?;
        self.sync_dir(parent)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let facts = match entry.metadata() {
                Ok(facts) => facts,
                // Removed since the listing.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            entries.push(Entry {
                name: entry.file_name(),
                is_dir: facts.is_dir(),
                len: facts.len(),
                allocated: facts.blocks() * 512,
                modified: facts.modified().map(Timestamp::from_system_time).unwrap_or_default(),
            });
        }
        Ok(entries)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let facts = rustix::fs::statvfs(path)?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    fn clone_file(&self, from: &Path, to: &Path, room: Room<'_>) -> io::Result<Arc<dyn DiskFile>> {
        let source = RealFile(File::open(from)?);
        let copy = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(to)?;
        let copy = RealFile(copy);
        let filled = (|| {
            if source.share_all_with(&copy) {
                return Ok(());
            }
            let mut data = RangeSet::new();
            let mut at = 0;
            while let Some(range) = source.next_data(at)? {
                at = range.end;
                data.insert(range);
            }
            ask(room, data.total())?;
            copy.set_len(source.len()?)?;
            for piece in data.iter().flat_map(pieces) {
                ask(room, piece.end - piece.start)?;
                source.copy_range_to(piece, &copy)?;
            }
            Ok(())
        })();
        match filled {
            Ok(()) => Ok(Arc::new(copy)),
            Err(error) => {
                // The error that counts is the first one.
                let _ = fs::remove_file(to);
                Err(error)
            }
        }
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn punch_hole(&self, range: Range<u64>) -> io::Result<()> {
        let range = range.start..range.end.min(self.len()?);
        if range.is_empty() {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.0, flags, range.start, range.end - range.start) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP) => {
                let zeros = vec![0; 64 << 10];
                let mut at = range.start;
                while at < range.end {
                    let count = zeros.len().min(usize::try_from(range.end - at).unwrap_or(usize::MAX));
                    self.write_at(&zeros[..count], at)?;
                    at += count as u64;
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn next_data(&self, at: u64) -> io::Result<Option<Range<u64>>> {
        // Seeking moves the descriptor's own position, which nobody uses: all I/O here is positioned.
        let start = match rustix::fs::seek(&self.0, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(&self.0, SeekFrom::Hole(start))?;
        Ok(Some(start..end))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

/// The log that SQLite keeps beside a database (<https://sqlite.org/wal.html>): what was written and is not carried over yet.
pub fn log_of(database: &Path) -> PathBuf {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    PathBuf::from(log)
}

/// A range in the pieces that are copied at once.
pub fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    let starts = range.step_by(usize::try_from(COPIED_AT_ONCE).unwrap_or(usize::MAX));
    starts.map(move |start| start..end.min(start + COPIED_AT_ONCE))
}

fn ask(room: Room<'_>, bytes: u64) -> io::Result<()> {
    if room(bytes) { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
}

fn ignore_absence(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether a name is one under which [`Disk::replace_atomically`] has begun a file of the other name: what a death in the
/// middle leaves.
pub fn is_begun(name: &OsStr, of: &str) -> bool {
    let end = name.to_str().and_then(|name| name.strip_prefix('.')?.strip_prefix(of));
    end.is_some_and(|end| end.starts_with('.') && end.ends_with(BEGUN))
}

fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.{}{BEGUN}", std::process::id(), TEMPORARY.fetch_add(1, Ordering::Relaxed)));
    Ok(path.with_file_name(temporary))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn scratch() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn replacing_keeps_one_file_with_the_new_bytes_and_mode() {
        let dir = scratch();
        let path = dir.path().join("token");
        RealDisk.replace_atomically(&path, b"old", 0o600).expect("written");
        RealDisk.replace_atomically(&path, b"newer", 0o600).expect("replaced");
        assert_eq!(RealDisk.read(&path).expect("readable"), b"newer");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(RealDisk.list_dir(dir.path()).expect("listed").len(), 1, "no temporary file stays");
    }

    #[test]
    fn a_failed_replacement_leaves_nothing_behind() {
        let dir = scratch();
        let path = dir.path().join("folder");
        fs::create_dir(&path).expect("made");
        assert!(RealDisk.replace_atomically(&path, b"x", 0o600).is_err());
        assert_eq!(RealDisk.list_dir(dir.path()).expect("listed").len(), 1);
    }

    #[test]
    fn reads_stop_at_the_end_and_gaps_are_zeros() {
        let dir = scratch();
        let file = RealDisk.open(&dir.path().join("f"), Open::New).expect("created");
        file.write_at(b"tail", 10).expect("written");
        let mut buffer = [1u8; 20];
        assert_eq!(file.read_at(&mut buffer, 0).expect("read"), 14);
        assert_eq!(&buffer[..14], b"\0\0\0\0\0\0\0\0\0\0tail");
        assert_eq!(file.read_at(&mut buffer, 14).expect("read"), 0);
        assert_eq!(
            RealDisk.open(&dir.path().join("f"), Open::New).err().map(|e| e.kind()),
            Some(io::ErrorKind::AlreadyExists)
        );
    }

    #[test]
    fn a_clone_has_the_bytes_and_the_holes() {
        let dir = scratch();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let file = RealDisk.open(&from, Open::New).expect("created");
        file.write_at(&[7; 5000], 8 << 20).expect("written");
        file.set_len(16 << 20).expect("extended");
        let copy = RealDisk.clone_file(&from, &to, &|bytes| bytes < 1 << 20).expect("cloned");
        assert_eq!(RealDisk.read(&from).expect("read"), RealDisk.read(&to).expect("read"));
        copy.write_at(&[8; 10], 8 << 20).expect("written");
        let mut byte = [0];
        file.read_at(&mut byte, 8 << 20).expect("read");
        assert_eq!(byte, [7], "the original stays");
        let sparse = RealDisk.list_dir(dir.path()).expect("listed").iter().all(|e| e.allocated < 1 << 20);
        assert!(sparse, "16 MiB of holes take no space");
    }

    #[test]
    fn a_clone_for_which_there_is_no_room_or_none_any_more_leaves_nothing_behind() {
        let dir = scratch();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let file = RealDisk.open(&from, Open::New).expect("created");
        file.write_at(&vec![7; 2 * COPIED_AT_ONCE as usize + 1], 0).expect("written");
        if file.share_all_with(&*RealDisk.open(&to, Open::New).expect("created")) {
            println!("this file system shares blocks: a clone needs no room");
            return;
        }
        RealDisk.remove(&to).expect("removed");
        let asked = std::cell::RefCell::new(Vec::new());
        let whole = 2 * COPIED_AT_ONCE + 1;
        // The answer to the first question, to the second, and so on.
        for (answers, questions) in
            [(vec![false], vec![whole]), (vec![true, true, false], vec![whole, COPIED_AT_ONCE, COPIED_AT_ONCE])]
        {
            asked.borrow_mut().clear();
            let room = |bytes| {
                asked.borrow_mut().push(bytes);
                answers[asked.borrow().len() - 1]
            };
            let refused = RealDisk.clone_file(&from, &to, &room).err().map(|error| error.kind());
            assert_eq!(refused, Some(io::ErrorKind::StorageFull));
            assert_eq!(*asked.borrow(), questions);
            assert!(!to.exists());
        }
        assert_eq!(pieces(5..whole).map(|piece| piece.end - piece.start).sum::<u64>(), whole - 5);
    }

    #[test]
    fn copied_ranges_keep_their_offset_and_a_short_source_is_an_error() {
        let dir = scratch();
        let from = RealDisk.open(&dir.path().join("from"), Open::New).expect("created");
        let to = RealDisk.open(&dir.path().join("to"), Open::New).expect("created");
        from.write_at(&[5; 100], 0).expect("written");
        from.copy_range_to(20..60, &*to).expect("copied");
        let mut buffer = [9; 60];
        assert_eq!(to.read_at(&mut buffer, 0).expect("read"), 60);
        assert_eq!((&buffer[..20], &buffer[20..]), (&[0; 20][..], &[5; 40][..]));
        let error = from.copy_range_to(50..200, &*to).expect_err("too short");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn punched_ranges_read_as_zeros_and_keep_the_length() {
        let dir = scratch();
        let file = RealDisk.open(&dir.path().join("f"), Open::New).expect("created");
        file.write_at(&[3; 20_000], 0).expect("written");
        file.punch_hole(4096..8192).expect("punched");
        let mut buffer = vec![1; 20_000];
        assert_eq!(file.read_at(&mut buffer, 0).expect("read"), 20_000);
        assert!(buffer[4096..8192].iter().all(|b| *b == 0));
        assert!(buffer[..4096].iter().chain(&buffer[8192..]).all(|b| *b == 3));
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let dir = scratch();
        RealDisk.remove(&dir.path().join("nothing")).expect("no error");
        RealDisk.remove_dir(&dir.path().join("nothing")).expect("no error");
        RealDisk.create_dir_private(&dir.path().join("a/b")).expect("made");
        RealDisk.create_dir_private(&dir.path().join("a/b")).expect("already there");
        assert_eq!(fs::metadata(dir.path().join("a/b")).expect("there").permissions().mode() & 0o777, 0o700);
        assert!(RealDisk.free_space(dir.path()).expect("known") > 0);
    }
}
