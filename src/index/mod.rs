//! What we believe the cloud looks like: every item we have heard of, which folders we know completely, and
//! how far we have read the service's stream of changes.
//!
//! It exists so that no metadata call ever waits for the network. It is *disposable*: one SQLite file that
//! can be dropped and built again from the cloud; a schema change or damage does exactly that. Therefore
//! nothing lives here that the cloud does not know (that is the journal's job).
//!
//! Always true:
//!
//! - A cursor is stored in the same transaction as everything it speaks for.
//! - A folder is marked complete only in the transaction that holds its last child.
//! - An item keeps its inode number for as long as it is known, whatever happens to its name.
//! - Absence here means "unknown", never "deleted in the cloud".
//! - Every row has a sum of all that it says, and what does not fit it is an error, never an answer.
//!
//! One writer, many readers; readers never wait for the writer (write-ahead log).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, TransactionBehavior};

use crate::base::clock::Timestamp;
use crate::base::disk::log_of;
use crate::base::ids::{ContentTag, DriveId, Ino, InoSource, ItemId, MetaTag};
use crate::base::private;
use crate::remote::ItemKind;

mod echoes;
mod find;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod gone;
mod items;
pub mod meta;
mod namesakes;
mod packed;
mod schema;
mod stored;
#[cfg(test)]
mod tests;
mod watch;

pub use watch::FolderWatch;
use watch::Watches;

pub use items::Txn;

/// How many items are remembered between two transactions.
const RECENT: usize = 256;

/// Why the index failed. It can always be rebuilt; nothing of the user's is in it.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// SQLite said so.
    #[error("the index of the drive failed: {0}")]
    Sql(#[from] rusqlite::Error),
    /// The folder for it is not usable.
    #[error("the index folder {0} is not usable: {1}")]
    Folder(PathBuf, std::io::Error),
}

impl IndexError {
    /// Whether it says that what is stored is not what was written. A number that two rows want is such a thing: one of
    /// them was not found where it is.
    fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{ConstraintViolation, DatabaseCorrupt, NotADatabase};
        let Self::Sql(rusqlite::Error::SqliteFailure(code, _)) = self else { return false };
        matches!(code.code, ConstraintViolation | DatabaseCorrupt | NotADatabase)
    }
}

/// The result of index calls.
pub type IndexResult<T> = Result<T, IndexError>;

/// One item as the index knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its inode number.
    pub ino: Ino,
    /// Its identity in the cloud.
    pub id: ItemId,
    /// The inode of its folder; 0 for the root.
    pub parent: Ino,
    /// Its name in the spelling of the service.
    pub name: String,
    /// What it is.
    pub kind: ItemKind,
    /// Size in bytes.
    pub size: u64,
    /// Modification time; finer than the service's seconds where this machine set it.
    pub modified: Timestamp,
    /// Creation time.
    pub created: Timestamp,
    /// Last change of any kind, as far as this machine knows.
    pub changed: Timestamp,
    /// Identity of its state.
    pub meta_tag: MetaTag,
    /// Identity of its bytes.
    pub content_tag: Option<ContentTag>,
    /// Whether every child is known.
    pub complete: bool,
    /// For a shortcut: the folder elsewhere.
    pub link_to: Option<ItemId>,
}

/// What happened to an item, for whoever shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Its inode.
    pub ino: Ino,
    /// Its folder now (for a removal: its last).
    pub parent: Ino,
    /// Its name now (for a removal: its last), in the spelling of the service.
    pub name: String,
    /// What happened.
    pub what: What,
}

/// The kinds of news.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// It was not known before.
    Added,
    /// It is gone.
    Removed,
    /// It has another name or folder now; here are the old ones.
    Moved {
        /// The folder it left.
        from: Ino,
        /// The name it had.
        name: String,
    },
    /// Times or tags changed, not the bytes.
    Meta,
    /// The bytes changed.
    Content,
}

/// Where notices go: implemented by the volume, called by whoever applies changes, with no lock held.
pub trait NoticeSink: Send + Sync + 'static {
    /// Takes notices.
    fn absorb(&self, notices: Vec<Notice>);
}

/// The index of one drive.
pub struct Index {
    drive: DriveId,
    writer: Mutex<Connection>,
    readers: Vec<Mutex<Connection>>,
    next_reader: AtomicUsize,
    watches: Watches,
    inos: Arc<dyn InoSource>,
    /// Items that were looked up since the last transaction, by inode; and how many transactions there had been.
    recent: Mutex<(u64, HashMap<Ino, Option<Row>>)>,
    /// How many rows there are: counting them takes longer than anybody who asks wants to wait.
    count: AtomicI64,
    /// Moves with every transaction, before its notices are handed on.
    generation: AtomicU64,
    /// SQLite's log of it.
    log: PathBuf,
    /// Made when damage is met, so that the next start builds a new index.
    marker: PathBuf,
    met_damage: AtomicBool,
    /// Two items of a folder can have one name.
    namesakes: AtomicBool,
    wanted: namesakes::Wanted,
}

impl Index {
    /// Opens the index in `folder` (created if missing), or starts a new one if there is none, if it is
    /// damaged, of another schema, or of another drive.
    ///
    /// `anchors` are the inode numbers that the journal holds on to: they keep standing for their items even
    /// if the index starts empty.
    ///
    /// # Errors
    ///
    /// [`IndexError`] if not even an empty index can be made.
    pub fn open(
        folder: &Path,
        root: &ItemId,
        anchors: &[(Ino, ItemId)],
        inos: Arc<dyn InoSource>,
    ) -> IndexResult<Self> {
        let path = folder.join("index.db");
        // SQLite gives the files beside it the mode of this one. An empty file is an index of no version.
        private::folder(folder)
            .and_then(|()| private::file(&path))
            .map_err(|error| IndexError::Folder(folder.to_owned(), error))?;
        let marker = folder.join("index.damaged");
        let existing = if marker.exists() { None } else { schema::open_existing(&path, root) };
        let build = |writer| Self::build(writer, &path, root, &marker, anchors, &inos);
        let index = match existing.map(build) {
            Some(Ok(index)) => index,
            Some(Err(error)) if error.is_damage() => {
                tracing::warn!(%error, "the index is damaged; building a new one from the cloud");
                build(schema::create(&path, root)?)?
            }
            Some(Err(error)) => return Err(error),
            None => build(schema::create(&path, root)?)?,
        };
        if marker.exists() {
            std::fs::remove_file(&marker).map_err(|error| IndexError::Folder(folder.to_owned(), error))?;
        }
        Ok(index)
    }

    fn build(
        writer: Connection,
        path: &Path,
        root: &ItemId,
        marker: &Path,
        anchors: &[(Ino, ItemId)],
        inos: &Arc<dyn InoSource>,
    ) -> IndexResult<Self> {
        let readers = (0..4).map(|_| schema::reader(path).map(Mutex::new)).collect::<Result<_, _>>()?;
        let count = schema::count(&writer)?;
        inos.is_stored(schema::highest(&writer)?);
        let index = Self {
            drive: root.drive.clone(),
            writer: Mutex::new(writer),
            readers,
            next_reader: AtomicUsize::new(0),
            watches: Watches::default(),
            inos: inos.clone(),
            recent: Mutex::default(),
            count: AtomicI64::new(count),
            generation: AtomicU64::new(0),
            log: log_of(path),
            marker: marker.to_owned(),
            met_damage: AtomicBool::new(false),
            namesakes: AtomicBool::new(false),
            wanted: namesakes::Wanted::default(),
        };
        // Not with a note of the damage that may be met: the caller answers it at once.
        index.write_all(|txn| {
            for (ino, id) in anchors {
                // What has gone with unsent work in it is not there again: whoever looks after that work finds it gone.
                if txn.is_gone(*ino)? && !txn.holds(id)? {
                    continue;
                }
                txn.claim(*ino, id)?;
            }
            Ok(())
        })?;
        Ok(index)
    }

    /// Where everything is that was written and not carried over yet: what makes that file durable makes all of it so.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The drive this index is of.
    pub fn drive(&self) -> &DriveId {
        &self.drive
    }

    /// Runs a transaction; everything in it happens or nothing does. Returns what it made and what it means
    /// for those who watch. The caller hands the notices on, after it has dropped its locks.
    ///
    /// # Errors
    ///
    /// [`IndexError`], with nothing written.
    pub fn write<T>(&self, f: impl FnOnce(&mut Txn<'_>) -> IndexResult<T>) -> IndexResult<(T, Vec<Notice>)> {
        self.write_all(f).inspect_err(|error| self.note(error))
    }

    /// From now on two items of a folder can have one name, as on services that allow it: the one that was heard of last
    /// has it, the others are shown with the number of their identity behind theirs.
    pub fn keep_namesakes(&self) {
        self.namesakes.store(true, Ordering::Relaxed);
    }

    /// Whether two items of a folder can have one name.
    pub fn keeps_namesakes(&self) -> bool {
        self.namesakes.load(Ordering::Relaxed)
    }

    fn write_all<T>(&self, f: impl FnOnce(&mut Txn<'_>) -> IndexResult<T>) -> IndexResult<(T, Vec<Notice>)> {
        let mut writer = lock(&self.writer);
        // At once, and not with its first change: an index that another one still writes to is waited for.
        let sql = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let namesakes = self.namesakes.load(Ordering::Relaxed).then_some(&self.wanted);
        let mut txn = Txn::new(&sql, &self.drive, &*self.inos, namesakes);
        let value = f(&mut txn)?;
        let (notices, grown) = txn.finish()?;
        sql.commit()?;
        self.count.fetch_add(grown, Ordering::Relaxed);
        self.watches.note(&notices);
        self.generation.fetch_add(1, Ordering::Release);
        Ok((value, notices))
    }

    /// Tidies up after a long piece of work: what it left in the log goes to its place, and the pages that are held in
    /// memory are freed. Blocks on the disk.
    pub fn rest(&self) {
        // It can be done at any other time, and is by itself.
        let _ = lock(&self.writer).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        for connection in std::iter::once(&self.writer).chain(&self.readers) {
            let _ = lock(connection).execute_batch("PRAGMA shrink_memory");
        }
    }

    fn read<T>(&self, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> IndexResult<T> {
        let free = self.readers.iter().find_map(|reader| reader.try_lock().ok());
        let reader = free.unwrap_or_else(|| {
            let turn = self.next_reader.fetch_add(1, Ordering::Relaxed) % self.readers.len();
            lock(&self.readers[turn])
        });
        f(&reader).map_err(IndexError::from).inspect_err(|error| self.note(error))
    }

    /// Whether damage was met since it was opened; the next start builds a new one.
    pub fn is_damaged(&self) -> bool {
        self.met_damage.load(Ordering::Relaxed)
    }

    /// Damage that is met while the index is in use is answered with an error, never with a guess; a new index is built
    /// at the next start.
    fn note(&self, error: &IndexError) {
        if error.is_damage() && !self.met_damage.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "the index of the drive is damaged; mount the drive again to build a new one");
            if let Err(error) = std::fs::write(&self.marker, b"") {
                tracing::warn!(%error, "the damaged index could not be marked");
            }
        }
    }

    /// The item of this inode.
    ///
    /// # Errors
    ///
    /// [`IndexError`]
    pub fn by_ino(&self, ino: Ino) -> IndexResult<Option<Row>> {
        let generation = self.generation();
        if let Some(row) = self.recently(generation, |rows| rows.get(&ino).cloned()) {
            return Ok(row);
        }
        let row = self.read(|sql| find::by_ino(sql, &self.drive, ino))?;
        self.recently(generation, |rows| {
            if rows.len() >= RECENT {
                rows.clear();
            }
            rows.insert(ino, row.clone());
            Some(())
        });
        Ok(row)
    }

    /// Looks at the items that are remembered, or remembers one, of this generation. A walk asks for the folder of each
    /// name several times.
    fn recently<T>(&self, generation: u64, f: impl FnOnce(&mut HashMap<Ino, Option<Row>>) -> Option<T>) -> Option<T> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.0 != generation {
            // What was read of an older one may be outdated, and a newer one must not get it.
            if recent.0 > generation {
                return None;
            }
            recent.1.clear();
            recent.0 = generation;
        }
        f(&mut recent.1)
    }

    /// Whether an inode stands for an item, be its place known or not.
    ///
    /// # Errors
    ///
    /// [`IndexError`]
    pub fn is_bound(&self, ino: Ino) -> IndexResult<bool> {
        self.read(|sql| sql.prepare_cached("SELECT 1 FROM items WHERE ino = ?1")?.exists([ino.0 as i64]))
    }

    /// The item of this identity.
    ///
    /// # Errors
    ///
    /// [`IndexError`]
    pub fn by_id(&self, id: &ItemId) -> IndexResult<Option<Row>> {
        self.read(|sql| find::by_id(sql, &self.drive, id))
    }

    /// The child of a folder whose name is the same without case. The row tells the exact spelling.
    ///
    /// # Errors
    ///
    /// [`IndexError`]
    pub fn child(&self, parent: Ino, name: &str) -> IndexResult<Option<Row>> {
        self.read(|sql| find::child(sql, &self.drive, parent, name))
    }

    /// The known children of a folder, in an order that means nothing. Complete only if the folder's row says so.
    ///
    /// # Errors
    ///
    /// [`IndexError`]
    pub fn children(&self, parent: Ino) -> IndexResult<Vec<Row>> {
        self.read(|sql| find::children(sql, &self.drive, parent))
    }

    /// Whether a folder has a known child.
    ///
    /// # Errors
    ///
    /// [`IndexError`]
    pub fn has_children(&self, parent: Ino) -> IndexResult<bool> {
        self.read(|sql| {
            sql.prepare_cached("SELECT 1 FROM items WHERE parent = ?1 AND ino <> ?1 LIMIT 1")?.exists([parent.0 as i64])
        })
    }

    /// How many items are known. From memory.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed).max(0) as u64
    }

    /// A number that moves with every transaction, before its notices are handed on: what was read after a look at it
    /// stands as long as it is the same.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether a state of an item that the service shows is one that we have overtaken ourselves; see
    /// [`Txn::expect_echo`].
    ///
    /// # Errors
    ///
    /// [`IndexError`]
    pub fn is_overtaken(&self, id: &ItemId, tag: &MetaTag, now: Timestamp) -> IndexResult<bool> {
        self.read(|sql| echoes::is_overtaken(sql, &self.drive, id, tag, now))
    }

    /// Whether we have deleted an item so recently that the service may still show it.
    ///
    /// # Errors
    ///
    /// [`IndexError`]
    pub fn is_deleted_here(&self, id: &ItemId, now: Timestamp) -> IndexResult<bool> {
        Ok(self.deleted_until(id, now)?.is_some())
    }

    /// Whether we have made an item so recently that the service may not show it yet, and nothing has said since that
    /// it is gone.
    ///
    /// # Errors
    ///
    /// [`IndexError`]
    pub fn is_newborn(&self, id: &ItemId, now: Timestamp) -> IndexResult<bool> {
        self.read(|sql| echoes::is_newborn(sql, &self.drive, id, now))
    }
}

fn lock(mutex: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // A panic inside a transaction rolled it back when the transaction was dropped.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A row without a place: an identity that holds an inode number but is not known to be anywhere.
const NOWHERE: u64 = 0;
