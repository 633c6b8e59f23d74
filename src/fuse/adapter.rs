//! The kernel's requests in the volume's words, and the volume's answers in the kernel's.
//!
//! Nothing is decided here but how the two vocabularies meet. What is answered without asking the volume
//! is what the service can never do and the kernel or the program has an answer to (hard and symbolic
//! links, special files, `ioctl`, `poll`, foreign attribute namespaces); those must cost nothing, because
//! `ls -l` alone asks three of them for every entry. What the kernel never sends to this mount is not here at
//! all: permission checks and locks (it does both itself), symbolic links, block maps.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek,
    ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::FileType as RawFileType;
use tracing::debug_span;

use super::answer::{Answerer, Call, Class, Refuse};
use super::attr::{self, from_kernel_ino, generation, to_kernel, to_kernel_ino, to_kernel_kind};
use super::translate::{
    Listed, WrittenTo, by, fresh_entries, moment, open_flags, open_how, rename_how, rest, written_to,
};
use super::{errno, xattr};
use crate::base::ids::Fh;
use crate::volume::{Entry, SetAttributes, Snapshot, Volume, VolumeError};

mod calls;

/// What is absent has none, nor have files: a number is never given to another.
const GENERATION: Generation = Generation(0);

/// Requests the kernel may have under way in the background (read-ahead and asynchronous I/O share it); the
/// library's 16 would hold a network source down.
const MAX_BACKGROUND: u16 = 64;

/// The unit in which `statfs` counts, in bytes.
const SPACE_BLOCK: u32 = 4096;

/// The longest name in bytes that `statfs` announces. Names of 255 UTF-16 units can be longer and work too.
const NAME_LENGTH: u32 = 255;

/// `lseek(2)`: `SEEK_DATA` and `SEEK_HOLE`, the only two that reach a file system.
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

/// A volume as the kernel library sees it.
pub struct Adapter {
    volume: Arc<Volume>,
    answerer: Answerer,
}

impl Adapter {
    /// Serves `volume` to the kernel.
    pub fn new(volume: Arc<Volume>, answerer: Answerer) -> Self {
        Self { volume, answerer }
    }
}

fn done((): (), reply: ReplyEmpty) {
    reply.ok();
}

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Asked for one by one: asking for several refuses all of them if an older kernel lacks one.
        // Not asked for, each on purpose: the writeback cache (the kernel would ignore sizes that change
        // elsewhere), lock forwarding (the kernel's own local locks are right and free), POSIX ACLs, and
        // O_TRUNC as part of the open: the kernel would let it through before it refuses the open of a running
        // program, whose pages are gone then. Truncation comes as a second request and fetches nothing either.
        for wanted in [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_AUTO_INVAL_DATA,
            // Without it every write(2) is preceded by a request for security.capability.
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
            InitFlags::FUSE_ASYNC_DIO,
        ] {
            if config.add_capabilities(wanted).is_err() {
                tracing::debug!(?wanted, "this kernel lacks a capability");
            }
        }
        config.set_max_background(MAX_BACKGROUND).map(drop).map_err(|_| io::ErrorKind::InvalidInput.into())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let span = debug_span!("lookup", parent = parent.0, ?name);
        let (volume, late, name) = (Arc::clone(&self.volume), Arc::clone(&self.volume), name.to_owned());
        let parent = from_kernel_ino(parent);
        self.answerer.answer(
            Call { operation: "lookup", class: Class::Local, span },
            reply,
            async move { volume.lookup(parent, &name).await },
            |entry, reply| match entry {
                Entry::Found { attributes, ttl } => {
                    reply.entry_with_ttls(&attributes.ttl, &ttl, &to_kernel(&attributes), generation(&attributes));
                }
                Entry::Absent { ttl } => reply.entry(&ttl, &attr::absent(), GENERATION),
            },
            move |entry| {
                if let Entry::Found { attributes, .. } = entry {
                    late.forget(attributes.ino, 1);
                }
            },
        );
    }

    fn forget(&self, _request: &Request, ino: INodeNo, count: u64) {
        self.answerer.run("forget", || self.volume.forget(from_kernel_ino(ino), count));
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        let (volume, ino, fh) = (Arc::clone(&self.volume), from_kernel_ino(ino), fh.map(|fh| Fh(fh.0)));
        self.local(
            "getattr",
            debug_span!("getattr", ino = ino.0, ?fh),
            reply,
            async move { volume.getattr_through(ino, fh).await },
            |attributes, reply| reply.attr(&attributes.ttl, &to_kernel(&attributes)),
        );
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (volume, ino) = (Arc::clone(&self.volume), from_kernel_ino(ino));
        let set = SetAttributes { size, mtime: mtime.map(moment), atime: atime.map(moment), mode, uid, gid };
        let fh = fh.map(|fh| Fh(fh.0));
        let long = size.is_some() && self.volume.change_may_take_long(ino);
        self.change(
            "setattr",
            debug_span!("setattr", ino = ino.0, ?set),
            long,
            reply,
            by(request, async move { volume.setattr(ino, fh, set).await }),
            |attributes, reply| reply.attr(&attributes.ttl, &to_kernel(&attributes)),
        );
    }

    fn mknod(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        if RawFileType::from_raw_mode(mode) != RawFileType::RegularFile {
            return reply.error(Errno::EPERM);
        }
        let span = debug_span!("mknod", parent = parent.0, ?name);
        let (volume, parent, name) = (Arc::clone(&self.volume), from_kernel_ino(parent), name.to_owned());
        self.made("mknod", span, reply, async move { volume.make_node(parent, &name, mode).await });
    }

    fn mkdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        let span = debug_span!("mkdir", parent = parent.0, ?name);
        let (volume, parent, name) = (Arc::clone(&self.volume), from_kernel_ino(parent), name.to_owned());
        self.made("mkdir", span, reply, async move { volume.make_folder(parent, &name, mode).await });
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let span = debug_span!("unlink", parent = parent.0, ?name);
        let (volume, parent, name) = (Arc::clone(&self.volume), from_kernel_ino(parent), name.to_owned());
        self.local("unlink", span, reply, by(request, async move { volume.unlink(parent, &name).await }), done);
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let span = debug_span!("rmdir", parent = parent.0, ?name);
        let (volume, parent, name) = (Arc::clone(&self.volume), from_kernel_ino(parent), name.to_owned());
        self.local("rmdir", span, reply, by(request, async move { volume.remove_folder(parent, &name).await }), done);
    }

    fn symlink(&self, _request: &Request, _parent: INodeNo, _name: &OsStr, _target: &Path, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn link(&self, _request: &Request, _ino: INodeNo, _parent: INodeNo, _name: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let Some(how) = rename_how(flags) else {
            return reply.error(Errno::EINVAL);
        };
        let span = debug_span!("rename", parent = parent.0, ?name, new_parent = new_parent.0, ?new_name, ?how);
        let volume = Arc::clone(&self.volume);
        let (parent, name) = (from_kernel_ino(parent), name.to_owned());
        let (new_parent, new_name) = (from_kernel_ino(new_parent), new_name.to_owned());
        let work = by(request, async move { volume.rename(parent, &name, new_parent, &new_name, how).await });
        self.local("rename", span, reply, work, done);
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (volume, late, ino) = (Arc::clone(&self.volume), Arc::clone(&self.volume), from_kernel_ino(ino));
        let how = open_how(flags.0);
        self.answerer.answer(
            Call { operation: "open", class: Class::Local, span: debug_span!("open", ino = ino.0, ?how) },
            reply,
            by(request, async move { volume.open(ino, how).await }),
            move |opened, reply| reply.opened(FileHandle(opened.fh.0), open_flags(opened, how)),
            move |opened| late.release(ino, opened.fh),
        );
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let (volume, ino, fh) = (Arc::clone(&self.volume), from_kernel_ino(ino), Fh(fh.0));
        let span = debug_span!("read", ino = ino.0, fh = fh.0, offset, size);
        let class = self.answerer.class_of(Class::Content, || volume.is_here(ino, fh, offset, size));
        self.answerer.answer(
            Call { operation: "read", class, span },
            reply,
            async move { volume.read(ino, fh, offset, size).await },
            |bytes: Bytes, reply| reply.data(&bytes),
            drop,
        );
    }

    fn write(
        &self,
        _request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let to = written_to(write_flags, flags, Fh(fh.0));
        let (span, ino) = (debug_span!("write", ino = ino.0, ?to, offset, size = data.len()), from_kernel_ino(ino));
        let write = move |volume: &Volume, bytes: &[u8]| match to {
            WrittenTo::Place(fh) => volume.write_now(ino, Some(fh), offset, bytes),
            WrittenTo::End(fh) => volume.append_now(ino, fh, offset, bytes),
            WrittenTo::Page => volume.write_now(ino, None, offset, bytes),
        };
        if self.volume.change_may_take_long(ino) {
            let (volume, bytes) = (Arc::clone(&self.volume), Bytes::copy_from_slice(data));
            let work = async move { write(&volume, &bytes) };
            return self.change("write", span, true, reply, work, |written, reply| reply.written(written));
        }
        let _span = span.entered();
        // Not as a task that could outlive the buffer, which is only lent: the bytes would have to be copied.
        let mut written = Err(VolumeError::Failed("write panicked".to_owned()));
        self.answerer.run("write", || written = write(&self.volume, data));
        match written {
            Ok(written) => reply.written(written),
            Err(error) => reply.error(errno::log_and_translate("write", &error)),
        }
    }

    fn flush(&self, _request: &Request, ino: INodeNo, fh: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        let (volume, ino, fh) = (Arc::clone(&self.volume), from_kernel_ino(ino), Fh(fh.0));
        let span = debug_span!("flush", ino = ino.0, fh = fh.0);
        self.durable("flush", span, reply, async move { volume.flush(ino, fh).await });
    }

    fn release(
        &self,
        _request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let _span = debug_span!("release", ino = ino.0, fh = fh.0).entered();
        self.answerer.run("release", || self.volume.release(from_kernel_ino(ino), Fh(fh.0)));
        reply.ok();
    }

    fn fsync(&self, _request: &Request, ino: INodeNo, fh: FileHandle, data_only: bool, reply: ReplyEmpty) {
        let (volume, ino, fh) = (Arc::clone(&self.volume), from_kernel_ino(ino), Fh(fh.0));
        let span = debug_span!("fsync", ino = ino.0, fh = fh.0);
        self.durable("fsync", span, reply, async move { volume.fsync(ino, Some(fh), data_only).await });
    }

    fn opendir(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let (volume, late, ino) = (Arc::clone(&self.volume), Arc::clone(&self.volume), from_kernel_ino(ino));
        let class = self.answerer.class_of(Class::Listing, || volume.knows_listing(ino));
        self.answerer.answer(
            Call { operation: "opendir", class, span: debug_span!("opendir", ino = ino.0) },
            reply,
            async move { volume.open_dir(ino).await },
            |fh, reply| reply.opened(FileHandle(fh.0), FopenFlags::empty()),
            move |fh| late.release_dir(fh),
        );
    }

    fn readdir(&self, _request: &Request, ino: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectory) {
        let (volume, ino, fh) = (Arc::clone(&self.volume), from_kernel_ino(ino), Fh(fh.0));
        let span = debug_span!("readdir", ino = ino.0, fh = fh.0, offset);
        self.answerer.answer(
            Call { operation: "readdir", class: Class::Local, span },
            reply,
            async move { volume.read_dir(ino, fh, offset == 0).await },
            move |snapshot: Snapshot, mut reply: ReplyDirectory| {
                for (entry, cookie) in rest(&snapshot, offset) {
                    let attributes = &entry.attributes;
                    let kind = to_kernel_kind(attributes.kind);
                    if reply.add(to_kernel_ino(attributes.ino), cookie, kind, &entry.name) {
                        break;
                    }
                }
                reply.ok();
            },
            drop,
        );
    }

    fn readdirplus(&self, _request: &Request, ino: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        let (volume, counting) = (Arc::clone(&self.volume), Arc::clone(&self.volume));
        let (ino, fh) = (from_kernel_ino(ino), Fh(fh.0));
        let span = debug_span!("readdirplus", ino = ino.0, fh = fh.0, offset);
        self.answerer.answer(
            Call { operation: "readdirplus", class: Class::Local, span },
            reply,
            async move {
                let snapshot = volume.read_dir(ino, fh, offset == 0).await?;
                fresh_entries(&volume, ino, &snapshot, offset)
            },
            move |entries, mut reply: ReplyDirectoryPlus| {
                for Listed { name, cookie, attributes } in entries {
                    let attr = to_kernel(&attributes);
                    if reply.add(attr.ino, cookie, &name, &attributes.ttl, &attr, generation(&attributes)) {
                        break;
                    }
                    // Before the reply is sent, because the kernel may forget it at once; and not for these
                    // two, which the kernel does not count either.
                    if name != "." && name != ".." {
                        counting.count_lookup(attributes.ino);
                    }
                }
                reply.ok();
            },
            drop,
        );
    }

    fn releasedir(&self, _request: &Request, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.answerer.run("releasedir", || self.volume.release_dir(Fh(fh.0)));
        reply.ok();
    }

    fn fsyncdir(&self, _request: &Request, ino: INodeNo, _fh: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        let (volume, ino) = (Arc::clone(&self.volume), from_kernel_ino(ino));
        let span = debug_span!("fsyncdir", ino = ino.0);
        self.durable("fsyncdir", span, reply, async move { volume.sync_dir(ino).await });
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let space = self.volume.space();
        let unit = u64::from(SPACE_BLOCK);
        let (total, free) = (space.total / unit, space.free.min(space.total) / unit);
        // There is no limit on the number of files; free ones must not be 0, or installers refuse to copy.
        reply.statfs(total, free, free, space.files.saturating_add(free), free, SPACE_BLOCK, NAME_LENGTH, SPACE_BLOCK);
    }

    fn setxattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        if !xattr::is_kept(name) {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let (volume, ino, name) = (Arc::clone(&self.volume), from_kernel_ino(ino), name.to_owned());
        let (value, rule) = (Bytes::copy_from_slice(value), xattr::Rule::from_flags(flags));
        self.local(
            "setxattr",
            debug_span!("setxattr", ino = ino.0, ?name),
            reply,
            async move {
                if let Some(wanted) = rule.existing() {
                    match (volume.get_attribute(ino, &name).await, wanted) {
                        (Ok(_), false) => return Err(VolumeError::Exists),
                        (Err(VolumeError::NoAttribute), false) | (Ok(_), true) => {}
                        (Err(error), _) => return Err(error),
                    }
                }
                volume.set_attribute(ino, &name, &value).await
            },
            done,
        );
    }

    fn getxattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if !xattr::is_kept(name) {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let (volume, ino, name) = (Arc::clone(&self.volume), from_kernel_ino(ino), name.to_owned());
        self.answerer.answer(
            Call { operation: "getxattr", class: Class::Local, span: debug_span!("getxattr", ino = ino.0, ?name) },
            reply,
            async move { volume.get_attribute(ino, &name).await },
            move |value: Bytes, reply| xattr::reply(&value, size, reply),
            drop,
        );
    }

    fn listxattr(&self, _request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let (volume, ino) = (Arc::clone(&self.volume), from_kernel_ino(ino));
        self.answerer.answer(
            Call { operation: "listxattr", class: Class::Local, span: debug_span!("listxattr", ino = ino.0) },
            reply,
            async move { volume.list_attributes(ino).await },
            move |names: Vec<OsString>, reply| xattr::reply(&xattr::joined(&names), size, reply),
            drop,
        );
    }

    fn removexattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        if !xattr::is_kept(name) {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let (volume, ino, name) = (Arc::clone(&self.volume), from_kernel_ino(ino), name.to_owned());
        let span = debug_span!("removexattr", ino = ino.0, ?name);
        self.local("removexattr", span, reply, async move { volume.remove_attribute(ino, &name).await }, done);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let how = open_how(flags);
        let span = debug_span!("create", parent = parent.0, ?name, ?how);
        let (volume, late, name) = (Arc::clone(&self.volume), Arc::clone(&self.volume), name.to_owned());
        let parent = from_kernel_ino(parent);
        self.answerer.answer(
            Call { operation: "create", class: Class::Local, span },
            reply,
            by(request, async move { volume.create(parent, &name, mode, how).await }),
            move |(attributes, opened), reply| {
                let (attr, fh) = (to_kernel(&attributes), FileHandle(opened.fh.0));
                reply.created(&attributes.ttl, &attr, GENERATION, fh, open_flags(opened, how));
            },
            move |(attributes, opened)| {
                late.release(attributes.ino, opened.fh);
                late.forget(attributes.ino, 1);
            },
        );
    }

    // Python and sed ask whether every file they open is a terminal.
    fn ioctl(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _input: &[u8],
        _output_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    // Said once, the kernel then answers "always ready" by itself.
    fn poll(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _notifier: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        _request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let Some(end) = offset.checked_add(length).filter(|end| i64::try_from(*end).is_ok()) else {
            return reply.error(Errno::EFBIG);
        };
        let (volume, ino, fh) = (Arc::clone(&self.volume), from_kernel_ino(ino), Fh(fh.0));
        let span = debug_span!("fallocate", ino = ino.0, offset, length, mode);
        let long = self.volume.change_may_take_long(ino);
        let work = async move { volume.allocate(ino, fh, mode, offset..end).await };
        self.change("fallocate", span, long, reply, work, done);
    }

    fn lseek(&self, _request: &Request, ino: INodeNo, fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let hole = match whence {
            SEEK_DATA => false,
            SEEK_HOLE => true,
            _ => return reply.error(Errno::EINVAL),
        };
        let Ok(offset) = u64::try_from(offset) else {
            return reply.error(Errno::ENXIO);
        };
        let mut answer = Err(VolumeError::Failed("lseek panicked".to_owned()));
        self.answerer.run("lseek", || answer = self.volume.seek(from_kernel_ino(ino), Fh(fh.0), offset, hole));
        match answer {
            // The size of a file fits i64, because the kernel's own does.
            Ok(at) => reply.offset(i64::try_from(at).unwrap_or(i64::MAX)),
            Err(error) => reply.error(errno::log_and_translate("lseek", &error)),
        }
    }

    // Said once, the kernel then copies by itself.
    fn copy_file_range(
        &self,
        _request: &Request,
        _ino_in: INodeNo,
        _fh_in: FileHandle,
        _offset_in: u64,
        _ino_out: INodeNo,
        _fh_out: FileHandle,
        _offset_out: u64,
        _length: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::ENOSYS);
    }
}
