//! The journal's file: rows for intents and spools, written in the same step in which they become true.
//!
//! A commit reaches the kernel before the call returns, so it survives the death of this process at once. It
//! survives power loss after the next [`Store::sync`], which the group commit calls. SQLite's write-ahead log
//! is append-only between checkpoints and its frames carry checksums, so syncing the log file makes every
//! commit before that moment durable, without taking SQLite's lock.
//!
//! Never dropped, only migrated: what is in it is the only copy of somebody's work.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::intent::{Base, Intent, Kind, Progress, Sent, SpoolId};
use crate::base::clock::Timestamp;
use crate::base::ids::{ContentTag, Ino, ItemId};
use crate::base::ranges::RangeSet;

/// Why the journal failed. A mutation that fails has not happened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite said so.
    #[error("the journal failed: {0}")]
    Sql(#[from] rusqlite::Error),
    /// A row makes no sense; it is kept as it is.
    #[error("the journal has a row that cannot be read: {0}")]
    Row(#[from] serde_json::Error),
    /// The disk said so.
    #[error("the journal's files failed: {0}")]
    Disk(#[from] std::io::Error),
    /// The journal was written by a newer version of this program.
    #[error("the journal was written by a newer version ({0}); install that version to go on, nothing was touched")]
    TooNew(i64),
}

impl StoreError {
    /// Whether it is for lack of disk space.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Sql(rusqlite::Error::SqliteFailure(error, _)) => error.code == rusqlite::ErrorCode::DiskFull,
            Self::Disk(error) => {
                matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }
}

/// The row of a spool file.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SpoolRow {
    /// The spool.
    #[serde(skip, default = "no_spool")]
    pub id: SpoolId,
    /// Whose content it is.
    pub ino: Ino,
    /// The file's name in the spool folder.
    pub file: String,
    /// Size of the content in bytes.
    pub size: u64,
    /// Which bytes are in the file; below `base_limit` the others are those of the base.
    pub present: RangeSet,
    /// Up to where missing bytes come from the base.
    pub base_limit: u64,
    /// The version that missing bytes come from.
    pub base: Option<SpoolBase>,
    /// QuickXorHash of the content, if it is known.
    pub hash: Option<String>,
    /// Whether a program was told that this content is safe (closed, or synced).
    pub promised: bool,
    /// Whether the bytes were synced to the disk when the row was written.
    pub synced: bool,
    /// The boot in which it was written; bytes that were not synced survive only within it.
    pub boot: String,
    /// Kept for the user: not part of any file any more.
    pub kept: Option<KeptFor>,
}

/// The version a draft was made from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SpoolBase {
    /// The item.
    pub item: ItemId,
    /// The version of its bytes.
    pub tag: ContentTag,
    /// The size of that version.
    pub size: u64,
}

/// What a draft was for that is kept for the user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeptFor {
    /// Its name when it was kept.
    pub name: String,
    /// Why it was kept.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

fn no_spool() -> SpoolId {
    SpoolId(0)
}

/// One atomic step of the journal.
#[derive(Default)]
pub struct Batch {
    /// Intents to write.
    pub put: Vec<Intent>,
    /// What the folders that intents name stand for in the cloud. Stored along with them, because the index,
    /// which knows it too, may be dropped.
    pub parents: HashMap<Ino, ItemId>,
    /// Intents to drop.
    pub drop: Vec<Ino>,
    /// Spools to write.
    pub spools: Vec<SpoolRow>,
    /// Spools whose file is to be removed: their content is acknowledged or discarded.
    pub retire: Vec<SpoolId>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.drop.is_empty() && self.spools.is_empty() && self.retire.is_empty()
    }
}

/// Everything that was stored.
pub struct Loaded {
    /// All intents.
    pub intents: Vec<Intent>,
    /// All spools.
    pub spools: Vec<SpoolRow>,
    /// Spools that were retired but whose file may still be there.
    pub retired: Vec<SpoolId>,
    /// Permission bits by inode.
    pub modes: Vec<(Ino, u16)>,
    /// Inode numbers that stand for items, for the index.
    pub anchors: Vec<(Ino, ItemId)>,
    /// Rows that could not be read; they are left alone.
    pub unreadable: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct IntentRow {
    #[serde(default)]
    parent_item: Option<ItemId>,
    kind: Kind,
    item: Option<ItemId>,
    base: Option<Base>,
    modified: Timestamp,
    set_modified: bool,
    created: Timestamp,
    changed: Timestamp,
    deleted: bool,
    local_only: bool,
    sealed: Option<SpoolId>,
    drafting: Option<SpoolId>,
    #[serde(default)]
    sent: Option<Sent>,
    progress: Progress,
    attempts: u32,
    not_before: Timestamp,
    last_error: Option<String>,
}

/// The journal's SQLite file.
pub struct Store {
    sql: Mutex<Connection>,
    log: PathBuf,
    log_file: Mutex<Option<File>>,
}

const VERSION: i64 = 1;

impl Store {
    /// Opens or creates the file.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; a damaged journal is never replaced.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("journal.db");
        // SQLite gives the files beside it the mode of this one.
        crate::base::private::file(&path)?;
        let sql = Connection::open(&path)?;
        sql.pragma_update(None, "journal_mode", "wal")?;
        sql.pragma_update(None, "synchronous", "normal")?;
        sql.busy_timeout(std::time::Duration::from_secs(10))?;
        sql.set_prepared_statement_cache_capacity(32);
        let version: i64 = sql.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match version {
            0 => {
                sql.execute_batch(
                    "BEGIN;
                     CREATE TABLE intents(ino INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name TEXT NOT NULL, row TEXT NOT NULL);
                     CREATE TABLE spools(id INTEGER PRIMARY KEY, row TEXT NOT NULL);
                     CREATE TABLE retired(id INTEGER PRIMARY KEY);
                     CREATE TABLE modes(ino INTEGER PRIMARY KEY, item TEXT, mode INTEGER NOT NULL);
                     CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
                     PRAGMA user_version = 1;
                     COMMIT;",
                )?;
            }
            VERSION => {}
            newer => return Err(StoreError::TooNew(newer)),
        }
        let mut log = path.into_os_string();
        log.push("-wal");
        Ok(Self { sql: Mutex::new(sql), log: PathBuf::from(log), log_file: Mutex::new(None) })
    }

    fn sql(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.sql.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a batch; all of it or nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`], with nothing written.
    pub fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut sql = self.sql();
        let txn = sql.transaction()?;
        for ino in &batch.drop {
            txn.prepare_cached("DELETE FROM intents WHERE ino = ?1")?.execute([ino.0 as i64])?;
        }
        for intent in &batch.put {
            let row = IntentRow {
                parent_item: batch.parents.get(&intent.parent).cloned(),
                kind: intent.kind,
                item: intent.item.clone(),
                base: intent.base.clone(),
                modified: intent.modified,
                set_modified: intent.set_modified,
                created: intent.created,
                changed: intent.changed,
                deleted: intent.deleted,
                local_only: intent.local_only,
                sealed: intent.sealed,
                drafting: intent.drafting,
                sent: intent.sent.clone(),
                progress: intent.progress.clone(),
                attempts: intent.attempts,
                not_before: intent.not_before,
                last_error: intent.last_error.clone(),
            };
            txn.prepare_cached("INSERT OR REPLACE INTO intents(ino, parent, name, row) VALUES(?1, ?2, ?3, ?4)")?
                .execute(params![
                    intent.ino.0 as i64,
                    intent.parent.0 as i64,
                    intent.name,
                    serde_json::to_string(&row)?
                ])?;
        }
        for spool in &batch.spools {
            txn.prepare_cached("INSERT OR REPLACE INTO spools(id, row) VALUES(?1, ?2)")?
                .execute(params![spool.id.0 as i64, serde_json::to_string(spool)?])?;
        }
        for id in &batch.retire {
            txn.prepare_cached("DELETE FROM spools WHERE id = ?1")?.execute([id.0 as i64])?;
            txn.prepare_cached("INSERT OR IGNORE INTO retired(id) VALUES(?1)")?.execute([id.0 as i64])?;
        }
        txn.commit()?;
        Ok(())
    }

    /// Forgets retired spools whose files are gone.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub fn forget_retired(&self, ids: &[SpoolId]) -> Result<(), StoreError> {
        let mut sql = self.sql();
        let txn = sql.transaction()?;
        for id in ids {
            txn.prepare_cached("DELETE FROM retired WHERE id = ?1")?.execute([id.0 as i64])?;
        }
        txn.commit()?;
        Ok(())
    }

    /// Stores permission bits.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub fn set_mode(&self, ino: Ino, item: Option<&ItemId>, mode: Option<u16>) -> Result<(), StoreError> {
        let sql = self.sql();
        match mode {
            Some(mode) => sql
                .prepare_cached("INSERT OR REPLACE INTO modes(ino, item, mode) VALUES(?1, ?2, ?3)")?
                .execute(params![ino.0 as i64, item.map(ItemId::to_key), mode])?,
            None => sql.prepare_cached("DELETE FROM modes WHERE ino = ?1")?.execute([ino.0 as i64])?,
        };
        Ok(())
    }

    /// Reserves inode numbers: returns the first of `count` numbers that were never handed out.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub fn reserve_inos(&self, count: u64) -> Result<u64, StoreError> {
        self.reserve("next_ino", 16, count)
    }

    /// Reserves a spool number.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub fn reserve_spools(&self, count: u64) -> Result<u64, StoreError> {
        self.reserve("next_spool", 1, count)
    }

    fn reserve(&self, key: &str, first: i64, count: u64) -> Result<u64, StoreError> {
        let mut sql = self.sql();
        let txn = sql.transaction()?;
        let start: i64 = txn
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
            .optional()?
            .unwrap_or(first);
        txn.execute("INSERT OR REPLACE INTO meta(key, value) VALUES(?1, ?2)", params![key, start + count as i64])?;
        txn.commit()?;
        Ok(start as u64)
    }

    /// Makes every write so far durable. Takes no lock that writers need.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`]
    pub fn sync(&self) -> Result<(), StoreError> {
        let mut file = self.log_file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() {
            *file = Some(File::open(&self.log)?);
        }
        if let Some(file) = file.as_ref() {
            file.sync_data()?;
        }
        Ok(())
    }

    /// Reads everything.
    ///
    /// # Errors
    ///
    /// [`StoreError::Sql`]; single rows that make no sense are reported, not fatal.
    pub fn load(&self) -> Result<Loaded, StoreError> {
        let sql = self.sql();
        let mut loaded = Loaded {
            intents: Vec::new(),
            spools: Vec::new(),
            retired: Vec::new(),
            modes: Vec::new(),
            anchors: Vec::new(),
            unreadable: Vec::new(),
        };
        let mut statement = sql.prepare("SELECT ino, parent, name, row FROM intents")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (ino, parent): (i64, i64) = (row.get(0)?, row.get(1)?);
            let name: String = row.get(2)?;
            let text: String = row.get(3)?;
            match serde_json::from_str::<IntentRow>(&text) {
                Ok(row) => {
                    if let Some(item) = row.parent_item {
                        loaded.anchors.push((Ino(parent as u64), item));
                    }
                    if let Some(item) = &row.item {
                        loaded.anchors.push((Ino(ino as u64), item.clone()));
                    }
                    loaded.intents.push(Intent {
                        ino: Ino(ino as u64),
                        kind: row.kind,
                        item: row.item,
                        base: row.base,
                        parent: Ino(parent as u64),
                        name,
                        modified: row.modified,
                        set_modified: row.set_modified,
                        created: row.created,
                        changed: row.changed,
                        deleted: row.deleted,
                        local_only: row.local_only,
                        sealed: row.sealed,
                        drafting: row.drafting,
                        sent: row.sent,
                        progress: row.progress,
                        attempts: row.attempts,
                        not_before: row.not_before,
                        last_error: row.last_error,
                    });
                }
                Err(error) => loaded.unreadable.push(format!("intent {ino} ({name}): {error}")),
            }
        }
        drop(rows);
        let mut statement = sql.prepare("SELECT id, row FROM spools")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            match serde_json::from_str::<SpoolRow>(&row.get::<_, String>(1)?) {
                Ok(spool) => loaded.spools.push(SpoolRow { id: SpoolId(id as u64), ..spool }),
                Err(error) => loaded.unreadable.push(format!("spool {id}: {error}")),
            }
        }
        drop(rows);
        let mut statement = sql.prepare("SELECT id FROM retired")?;
        loaded.retired =
            statement.query_map([], |row| Ok(SpoolId(row.get::<_, i64>(0)? as u64)))?.collect::<Result<_, _>>()?;
        let mut statement = sql.prepare("SELECT ino, item, mode FROM modes")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let ino = Ino(row.get::<_, i64>(0)? as u64);
            if let Some(item) = row.get::<_, Option<String>>(1)?.as_deref().and_then(ItemId::from_key) {
                loaded.anchors.push((ino, item));
            }
            loaded.modes.push((ino, row.get(2)?));
        }
        Ok(loaded)
    }
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any bytes as a row of the journal.
pub(crate) fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(row) = serde_json::from_str::<IntentRow>(text) {
        let again = serde_json::to_string(&row).expect("invariant: what was read can be written");
        serde_json::from_str::<IntentRow>(&again).expect("invariant: and read again");
        assert!(!format!("{:?}", row.progress).contains("tempauth"), "an upload address is printed");
    }
    if let Ok(row) = serde_json::from_str::<SpoolRow>(text) {
        let _ = row.present.missing(0..row.base_limit.min(row.size));
        let again = serde_json::to_string(&row).expect("invariant: what was read can be written");
        assert_eq!(serde_json::from_str::<SpoolRow>(&again).expect("invariant: and read again"), row);
    }
}
