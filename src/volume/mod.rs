//! File-system meaning: what every name, attribute and byte of the mount is.
//!
//! What a user sees is always the index (what we believe the cloud looks like) overlaid with the journal
//! (what the cloud has not acknowledged yet). The kernel is one client among others: there are no kernel
//! types here, and the tests drive a volume without a mount.

use std::ffi::OsString;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::base::clock::Timestamp;
use crate::base::ids::{Fh, Ino};

pub mod error;

pub use error::{VolumeError, VolumeResult};

/// What an inode is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
}

/// The attributes of an inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// The inode.
    pub ino: Ino,
    /// File or folder.
    pub kind: NodeKind,
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Timestamp,
    /// Time of the last change of any kind that this machine knows of.
    pub ctime: Timestamp,
    /// Creation time.
    pub crtime: Timestamp,
    /// The nine permission bits, without the umask of the mount applied.
    pub permissions: u16,
    /// Links: 1 for files and folders, 0 for an open file that was unlinked.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// How long the kernel may believe the attributes.
    pub ttl: Duration,
}

/// The answer to a lookup: an entry, or for how long the kernel may believe that there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// It exists.
    Found {
        /// Its attributes.
        attributes: Attributes,
        /// How long the kernel may believe the name.
        ttl: Duration,
    },
    /// It does not.
    Absent {
        /// How long the kernel may believe that.
        ttl: Duration,
    },
}

/// One entry of a directory snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// The name as users see it.
    pub name: OsString,
    /// What it is; `.` and `..` included, first.
    pub attributes: Attributes,
}

/// A listing taken when the directory was opened or rewound. The cookie of an entry is its position plus one.
pub type Snapshot = Arc<Vec<DirEntry>>;

/// What the kernel may do with the pages of an opened file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageUse {
    /// Keep the pages it has: they are of this version.
    Keep,
    /// Drop them and fill again.
    Drop,
    /// Do not cache: other handles are open on another version.
    Direct,
}

/// An opened file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The handle.
    pub fh: Fh,
    /// What the kernel may do with its pages.
    pub pages: PageUse,
}

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OpenHow {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Emptied first.
    pub truncate: bool,
    /// Must not exist (creation only).
    pub exclusive: bool,
}

/// What `setattr` shall change; `None` members stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SetAttributes {
    /// New size in bytes.
    pub size: Option<u64>,
    /// New modification time; the inner `None` means now.
    pub mtime: Option<Option<Timestamp>>,
    /// New access time; accepted and not stored.
    pub atime: Option<Option<Timestamp>>,
    /// New permission bits (all twelve as given).
    pub mode: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
}

/// How a rename treats an existing target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RenameHow {
    /// Replace it.
    Replace,
    /// Fail if there is one.
    NoReplace,
    /// Swap the two.
    Exchange,
}

/// The space of the drive as `statfs` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Total bytes.
    pub total: u64,
    /// Free bytes.
    pub free: u64,
    /// Inodes in use.
    pub files: u64,
}

/// What the kernel shall forget.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KernelNotice {
    /// A name in a folder (also a negative one).
    Entry {
        /// The folder.
        parent: Ino,
        /// The name.
        name: OsString,
    },
    /// A name whose inode is gone.
    Deleted {
        /// The folder.
        parent: Ino,
        /// What it named.
        child: Ino,
        /// The name.
        name: OsString,
    },
    /// The attributes of an inode.
    Attributes(Ino),
    /// The attributes and pages of an inode that nobody has open.
    Pages(Ino),
}

/// Where notices for the kernel go.
pub trait KernelSink: Send + Sync + 'static {
    /// Takes a notice; never blocks, never fails, may be called with locks held.
    fn post(&self, notice: KernelNotice);
}

/// A range of bytes within a file, half-open.
pub type Extent = Range<u64>;

/// One extended attribute's value.
pub type AttributeValue = Bytes;
