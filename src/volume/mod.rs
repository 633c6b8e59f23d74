//! File-system meaning: what every name, attribute and byte of the mount is.
//!
//! What a user sees is always the index (what we believe the cloud looks like) overlaid with the journal
//! (what the cloud has not acknowledged yet). The kernel is one client among others: there are no kernel
//! types here, and the tests drive a volume without a mount.

use std::collections::HashMap;
use std::ffi::OsString;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;

use crate::base::clock::{Clock, Mono, Timestamp};
use crate::base::ids::{Fh, Ino, ItemId};
use crate::cache::{ChunkCache, Fetcher};
use crate::index::{Index, IndexError};
use crate::journal::{Journal, StoreError};
use crate::remote::{Quota, Remote};

mod attrs;
mod content;
mod dirs;
pub mod error;
mod files;
mod handles;
pub mod inspect;
mod lookups;
mod names;
mod news;
mod through;
mod tree;
mod turns;
pub mod verify;

pub use content::CachedVersions;
pub use error::{VolumeError, VolumeResult};
pub use files::CLOUD_PATIENCE;

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
    /// The nine permission bits as users see them: the umask of the mount is applied.
    pub permissions: u16,
    /// Links: 1 for files and folders, 0 for an open file that was unlinked.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// How long the kernel may believe the attributes.
    pub ttl: Duration,
    /// How often programs of this machine have removed it, as long as the kernel knows it: what the kernel has removed
    /// stays empty for everybody, and a folder that is back is another to it.
    pub generation: u64,
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
    /// It has no work that waits for the cloud, so nothing moves its attributes that the stamp of the listing would
    /// not show.
    steady: bool,
}

/// The names of a folder at one moment. The cookie of an entry is its position plus one.
#[derive(Debug, Default)]
pub struct Listing {
    entries: Vec<DirEntry>,
    stamp: Stamp,
}

impl std::ops::Deref for Listing {
    type Target = [DirEntry];

    fn deref(&self) -> &[DirEntry] {
        &self.entries
    }
}

/// How often each of the places had changed that a listing is made of: index, journal, what only this machine knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Stamp(u64, u64, u64);

/// A listing taken when the directory was opened or rewound.
pub type Snapshot = Arc<Listing>;

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
    /// The attributes and pages of an inode that nobody has open, or whose pages are wrong.
    Pages(Ino),
}

/// Where notices for the kernel go.
pub trait KernelSink: Send + Sync + 'static {
    /// Takes a notice; never blocks, never fails, may be called with locks held.
    fn post(&self, notice: KernelNotice);

    /// Whether the kernel has heard all that was posted.
    fn has_heard(&self) -> bool {
        true
    }
}

/// A range of bytes within a file, half-open.
pub type Extent = Range<u64>;

/// One extended attribute's value.
pub type AttributeValue = Bytes;

/// What close and fsync wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// close: the daemon may die; fsync: the power may fail.
    Local,
    /// Both: the power may fail.
    Strict,
    /// Both wait until the cloud has the file.
    Remote,
}

/// How a volume behaves.
#[derive(Clone, Debug)]
pub struct VolumeSettings {
    /// Owner of everything.
    pub uid: u32,
    /// Group of everything.
    pub gid: u32,
    /// Permission bits that nothing has.
    pub umask: u16,
    /// Nothing may be changed.
    pub read_only: bool,
    /// What close and fsync wait for.
    pub durability: Durability,
    /// How long a reader waits for the network before it gets an error.
    pub patience: Duration,
    /// How often listings of folders that no stream of changes covers are taken again.
    pub listing_age: Duration,
}

/// What a volume stands on.
pub struct Parts {
    /// What the cloud has not acknowledged.
    pub journal: Arc<Journal>,
    /// What we believe the cloud looks like.
    pub index: Arc<Index>,
    /// The cloud, for folders that were never listed.
    pub remote: Arc<dyn Remote>,
    /// Clean bytes.
    pub cache: ChunkCache,
    /// Fetches clean bytes.
    pub fetcher: Fetcher,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The kernel's caches.
    pub kernel: Arc<dyn KernelSink>,
    /// How it behaves.
    pub settings: VolumeSettings,
}

/// Hears of an item that the service does not have as it is shown here.
type Doubted = Box<dyn Fn(&ItemId) + Send + Sync>;

/// The volume of one drive: all file-system operations. See the files of this module, one for each group of
/// them.
///
/// The asynchronous operations are ready at their first poll whenever no network is needed.
///
/// Lock order: `names`, then the journal's, then the index's, then the small tables below. None is held across
/// an await.
pub struct Volume {
    journal: Arc<Journal>,
    index: Arc<Index>,
    remote: Arc<dyn Remote>,
    cache: ChunkCache,
    fetcher: Fetcher,
    clock: Arc<dyn Clock>,
    kernel: Arc<dyn KernelSink>,
    settings: VolumeSettings,
    /// Serialises what looks at names and then changes them.
    names: Mutex<()>,
    open: Mutex<handles::Table>,
    next_handle: AtomicU64,
    /// What the kernel may have cached, so what it must be told of.
    lookups: Mutex<lookups::Lookups>,
    /// Times of folders and of clean files that changed here; they are not the cloud's business.
    times: Mutex<lru::LruCache<Ino, attrs::LocalTimes>>,
    /// See [`Attributes::generation`]; of folders that were removed.
    generations: Mutex<HashMap<Ino, u64>>,
    /// Listings that were taken lately, for whoever opens the same folders again while nothing has changed.
    listings: Mutex<handles::Listings>,
    /// Moves with the times, modes and sizes that only this machine knows.
    touched: AtomicU64,
    /// Versions whose bytes are more or fewer than the service reports.
    real_sizes: Mutex<lru::LruCache<crate::cache::CacheKey, u64>>,
    /// How many there are; mostly none, and then nobody looks.
    wrong_sizes: std::sync::atomic::AtomicUsize,
    /// The folders that are being listed.
    turns: turns::Turns,
    /// When folders were listed that no stream of changes covers.
    listed: Mutex<HashMap<Ino, Mono>>,
    quota: RwLock<Quota>,
    /// Whether changes elsewhere reach us soon, so that the kernel may trust its caches for long.
    fresh: AtomicBool,
    /// Bytes that may be written before the local disk's free space is looked at again.
    room: AtomicI64,
    /// Called when somebody looks at the drive.
    used: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// Called when the service does not have what the index shows.
    doubted: OnceLock<Doubted>,
}

impl Volume {
    /// A volume; the daemon plugs it into the kernel and the change engine.
    pub fn new(parts: Parts) -> Arc<Self> {
        let capacity = std::num::NonZeroUsize::new(65_536).expect("invariant: a constant above zero");
        let volume = Arc::new(Self {
            journal: parts.journal,
            index: parts.index,
            remote: parts.remote,
            cache: parts.cache,
            fetcher: parts.fetcher,
            clock: parts.clock,
            kernel: parts.kernel,
            settings: parts.settings,
            names: Mutex::new(()),
            open: Mutex::default(),
            next_handle: AtomicU64::new(1),
            lookups: Mutex::default(),
            times: Mutex::new(lru::LruCache::new(capacity)),
            generations: Mutex::default(),
            listings: Mutex::default(),
            touched: AtomicU64::new(0),
            real_sizes: Mutex::new(lru::LruCache::new(capacity)),
            wrong_sizes: Default::default(),
            turns: turns::Turns::default(),
            listed: Mutex::default(),
            quota: RwLock::default(),
            fresh: AtomicBool::new(false),
            room: AtomicI64::new(0),
            used: OnceLock::new(),
            doubted: OnceLock::new(),
        });
        volume.keep_bases();
        // What the volume fetches with must not keep it alive.
        let told = Arc::downgrade(&volume);
        volume.fetcher.on_disowned(move |key| {
            if let Some(volume) = told.upgrade() {
                volume.disown_pages(key);
            }
        });
        let told = Arc::downgrade(&volume);
        volume.journal.on_revealed(move |parent, name| {
            if let Some(volume) = told.upgrade() {
                volume.tell_revealed(parent, name);
            }
        });
        let told = Arc::downgrade(&volume);
        volume.journal.on_landed(move |ino, item, version| {
            if let Some(volume) = told.upgrade() {
                volume.leave_edit(ino, item, version);
            }
        });
        volume
    }

    /// Sets what is called, often and from any thread, when somebody looks at the drive. Once.
    pub fn on_use(&self, f: impl Fn() + Send + Sync + 'static) {
        let _ = self.used.set(Box::new(f));
    }

    /// Sets what is called, from any thread, when the service does not have what is shown here of an item. Once.
    pub fn on_doubt(&self, f: impl Fn(&ItemId) + Send + Sync + 'static) {
        let _ = self.doubted.set(Box::new(f));
    }

    fn in_doubt(&self, item: &ItemId) {
        if let Some(doubted) = self.doubted.get() {
            doubted(item);
        }
    }

    fn in_use(&self) {
        if let Some(used) = self.used.get() {
            used();
        }
    }

    /// What was read after this stands as long as it is the same.
    fn stamp(&self) -> Stamp {
        Stamp(self.index.generation(), self.journal.generation(), self.touched.load(Ordering::Acquire))
    }

    /// Attributes have changed of which neither index nor journal knows.
    fn touch(&self) {
        self.touched.fetch_add(1, Ordering::Release);
    }

    fn name_lock(&self) -> MutexGuard<'_, ()> {
        locked(&self.names)
    }
}

/// The tables behind these locks are changed in single steps; a panic elsewhere leaves them whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<IndexError> for VolumeError {
    fn from(error: IndexError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<StoreError> for VolumeError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoFolder => Self::NotFound,
            StoreError::NotAsSeen => Self::Busy,
            full if full.is_full() => Self::DiskFull,
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<std::io::Error> for VolumeError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::DiskFull,
            std::io::ErrorKind::FileTooLarge => Self::TooLarge,
            _ => Self::Failed(error.to_string()),
        }
    }
}
