//! The journal's file: rows for intents and spools, written in the same step in which they become true.
//!
//! A commit reaches the kernel before the call returns, so it survives the death of this process at once. It
//! survives power loss after the next [`Store::sync`], which the group commit calls. SQLite's write-ahead log
//! is append-only between checkpoints and its frames carry checksums, so syncing the log file makes every
//! commit before that moment durable, without taking SQLite's lock. The log is carried over into the file by the same
//! thread (`shorten`), never by a commit.
//!
//! Never dropped, only migrated: what is in it is the only copy of somebody's work. SQLite has no checksums for what is
//! in its pages, so each row carries one of its own, the rows together have a census (see [`Census`]), and a file that
//! does not agree with them is salvaged row by row (`opening`).

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

mod log;
mod opening;
mod shorten;

pub(super) use opening::Opened;

use super::intent::{Base, Intent, Kind, Progress, Sent, SpoolId};
use super::spool::Durable;
use crate::base::checksum::RowSum;
use crate::base::clock::Timestamp;
use crate::base::disk::{Disk, DiskFile};
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
    /// The file is not as the caller has seen it, who is to look again.
    #[error("the file has just changed")]
    NotAsSeen,
    /// The folder that something was to be put into has gone elsewhere.
    #[error("the folder has just been removed elsewhere")]
    NoFolder,
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
    /// Those of them that came from the base and were not compared with its hash; missing in rows of older versions.
    #[serde(default, skip_serializing_if = "RangeSet::is_empty")]
    pub borrowed: RangeSet,
    /// If it is what another file had that this one was renamed over: the how many-th of those, from 1. To go back to only if
    /// nothing of its own is whole (0), nor what it was renamed over before. Older versions wrote none, or `true`.
    #[serde(default, skip_serializing_if = "is_its_own", deserialize_with = "replaced_by")]
    pub replaced: u32,
    /// Up to where missing bytes come from the base.
    pub base_limit: u64,
    /// The version that missing bytes come from.
    pub base: Option<SpoolBase>,
    /// QuickXorHash of the content, if it is known.
    pub hash: Option<String>,
    /// Checksums of its blocks; missing in rows of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sums: Option<String>,
    /// Whether a program was told that this content is safe (closed, or synced).
    pub promised: bool,
    /// Whether the bytes were synced to the disk when the row was written.
    pub synced: bool,
    /// If they were not: what was promised before and is on the disk. Missing in rows of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable: Option<Durable>,
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

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_its_own(replaced: &u32) -> bool {
    *replaced == 0
}

fn replaced_by<'de, D: serde::Deserializer<'de>>(source: D) -> Result<u32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Older(bool),
        Now(u32),
    }
    Ok(match Written::deserialize(source)? {
        Written::Older(replaced) => u32::from(replaced),
        Written::Now(replaced) => replaced,
    })
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
    /// Intents of those to drop, as they were when nothing was left of them to do: that is where they stood at last. Not
    /// stored.
    pub settled: Vec<Intent>,
    /// Content that is replaced, and what replaces it: the old is kept until the new survives power loss. Not stored;
    /// the rows of both say it by being of one inode.
    pub supersede: Vec<(SpoolId, SpoolId)>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.drop.is_empty() && self.spools.is_empty() && self.retire.is_empty()
    }
}

/// Everything that was stored.
#[derive(Default)]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unsent: Option<Timestamp>,
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

/// What the rows of intents and spools are, all together: the number of the last step, and the checksums of the rows
/// XORed. A row that vanished without a trace, or came back, does not escape it.
#[derive(Clone, Default, Debug)]
struct Census {
    seq: i64,
    sums: HashMap<(&'static str, i64), i64>,
    value: i64,
}

impl Census {
    fn set(&mut self, table: &'static str, key: i64, sum: Option<i64>) {
        let old = match sum {
            Some(sum) => self.sums.insert((table, key), sum),
            None => self.sums.remove(&(table, key)),
        };
        self.value ^= old.unwrap_or(0) ^ sum.unwrap_or(0);
    }

    fn row_sum(&self) -> i64 {
        state_sum(self.seq, self.value)
    }
}

fn intent_sum(ino: i64, parent: i64, name: &str, row: &str, seq: i64) -> i64 {
    RowSum::of("intents").number(ino).number(parent).text(name).text(row).number(seq).finish()
}

fn spool_sum(id: i64, row: &str, seq: i64) -> i64 {
    RowSum::of("spools").number(id).text(row).number(seq).finish()
}

fn retired_sum(id: i64) -> i64 {
    RowSum::of("retired").number(id).finish()
}

fn mode_sum(ino: i64, item: Option<&str>, mode: i64) -> i64 {
    RowSum::of("modes").number(ino).maybe(item).number(mode).finish()
}

fn meta_sum(key: &str, value: i64) -> i64 {
    RowSum::of("meta").text(key).number(value).finish()
}

fn state_sum(seq: i64, census: i64) -> i64 {
    RowSum::of("state").number(seq).number(census).finish()
}

/// The journal's SQLite file.
pub struct Store {
    sql: Mutex<Sql>,
    /// Made when the log is long for the first time.
    carrier: Mutex<Option<shorten::Carrier>>,
    file: PathBuf,
    /// Through which the log is synced, so that a simulated loss of power knows when.
    disk: Arc<dyn Disk>,
    log: PathBuf,
    log_file: Mutex<Option<Arc<dyn DiskFile>>>,
    /// A sync of the log has failed.
    unsure: AtomicBool,
    /// A sync of the main file has failed: the log is not carried over any more.
    stays: AtomicBool,
    /// Remembers, outside the SQLite file, how far it was durable.
    seen: PathBuf,
}

struct Sql {
    connection: Connection,
    census: Census,
}

impl Store {
    fn sql(&self) -> MutexGuard<'_, Sql> {
        // A panic inside a transaction rolled it back when the transaction was dropped.
        self.sql.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a batch; all of it or nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`], with nothing written.
    pub fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut sql = self.sql();
        let Sql { connection, census } = &mut *sql;
        let seq = census.seq + 1;
        let mut rows: Vec<(&'static str, i64, Option<i64>)> = Vec::new();
        let txn = connection.transaction()?;
        for ino in &batch.drop {
            txn.prepare_cached("DELETE FROM intents WHERE ino = ?1")?.execute([ino.0 as i64])?;
            rows.push(("intents", ino.0 as i64, None));
        }
        for intent in &batch.put {
            let row = serde_json::to_string(&IntentRow::of(intent, batch.parents.get(&intent.parent)))?;
            let (ino, parent) = (intent.ino.0 as i64, intent.parent.0 as i64);
            let sum = intent_sum(ino, parent, &intent.name, &row, seq);
            txn.prepare_cached(
                "INSERT OR REPLACE INTO intents(ino, parent, name, row, seq, sum) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![ino, parent, intent.name, row, seq, sum])?;
            rows.push(("intents", ino, Some(sum)));
        }
        for spool in &batch.spools {
            let (id, row) = (spool.id.0 as i64, serde_json::to_string(spool)?);
            let sum = spool_sum(id, &row, seq);
            txn.prepare_cached("INSERT OR REPLACE INTO spools(id, row, seq, sum) VALUES(?1, ?2, ?3, ?4)")?
                .execute(params![id, row, seq, sum])?;
            rows.push(("spools", id, Some(sum)));
        }
        for id in &batch.retire {
            let id = id.0 as i64;
            txn.prepare_cached("DELETE FROM spools WHERE id = ?1")?.execute([id])?;
            txn.prepare_cached("INSERT OR IGNORE INTO retired(id, sum) VALUES(?1, ?2)")?
                .execute([id, retired_sum(id)])?;
            rows.push(("spools", id, None));
        }
        let before: Vec<_> =
            rows.iter().map(|(table, key, _)| (*table, *key, census.sums.get(&(*table, *key)).copied())).collect();
        for (table, key, sum) in rows {
            census.set(table, key, sum);
        }
        census.seq = seq;
        let committed = txn
            .prepare_cached("INSERT OR REPLACE INTO state(id, seq, census, sum) VALUES(1, ?1, ?2, ?3)")
            .and_then(|mut statement| statement.execute(params![census.seq, census.value, census.row_sum()]))
            .and_then(|_| txn.commit());
        if committed.is_err() {
            // Backwards, because one row may have changed twice.
            for (table, key, sum) in before.into_iter().rev() {
                census.set(table, key, sum);
            }
            census.seq = seq - 1;
        }
        Ok(committed?)
    }

    /// Forgets retired spools whose files are gone.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub fn forget_retired(&self, ids: &[SpoolId]) -> Result<(), StoreError> {
        let mut sql = self.sql();
        let txn = sql.connection.transaction()?;
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
        let sql = &self.sql().connection;
        match mode {
            Some(mode) => {
                let (ino, item) = (ino.0 as i64, item.map(ItemId::to_key));
                let sum = mode_sum(ino, item.as_deref(), i64::from(mode));
                sql.prepare_cached("INSERT OR REPLACE INTO modes(ino, item, mode, sum) VALUES(?1, ?2, ?3, ?4)")?
                    .execute(params![ino, item, mode, sum])?
            }
            None => sql.prepare_cached("DELETE FROM modes WHERE ino = ?1")?.execute([ino.0 as i64])?,
        };
        Ok(())
    }

    /// Reserves inode numbers: returns the first of `count` numbers that were never handed out. Durable on return:
    /// after a loss of power the index may know numbers of which the journal would know nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub fn reserve_inos(&self, count: u64) -> Result<u64, StoreError> {
        let start = self.reserve("next_ino", 16, count)?;
        self.sync()?;
        Ok(start)
    }

    /// Reserves a spool number.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub fn reserve_spools(&self, count: u64) -> Result<u64, StoreError> {
        self.reserve("next_spool", 1, count)
    }

    /// No spool number up to this one is handed out any more: there is a file of that number, though its reservation
    /// may have been lost with the power.
    fn skip_spools(&self, highest: u64) -> Result<(), StoreError> {
        let next = next_of(&self.sql().connection, "next_spool", 1)? as u64;
        if next <= highest {
            self.reserve_spools(highest + 1 - next)?;
        }
        Ok(())
    }

    fn reserve(&self, key: &str, first: i64, count: u64) -> Result<u64, StoreError> {
        let mut sql = self.sql();
        let txn = sql.connection.transaction()?;
        let start = next_of(&txn, key, first)?;
        let next = start + count as i64;
        txn.execute(
            "INSERT OR REPLACE INTO meta(key, value, sum) VALUES(?1, ?2, ?3)",
            params![key, next, meta_sum(key, next)],
        )?;
        txn.commit()?;
        Ok(start as u64)
    }

    /// Makes every write fail, as a full disk does, or ends that.
    #[cfg(test)]
    pub(super) fn refuse(&self, on: bool) {
        self.sql().connection.pragma_update(None, "query_only", on).expect("sets");
    }

    /// Reads everything.
    ///
    /// # Errors
    ///
    /// [`StoreError::Sql`]; single rows that make no sense are reported, not fatal.
    pub fn load(&self) -> Result<Loaded, StoreError> {
        let sql = &self.sql().connection;
        let mut loaded = Loaded::default();
        let mut statement = sql.prepare("SELECT ino, parent, name, row FROM intents")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            loaded.take_intent(row.get(0)?, row.get(1)?, row.get(2)?, &row.get::<_, String>(3)?);
        }
        let mut statement = sql.prepare("SELECT id, row FROM spools")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            match serde_json::from_str::<SpoolRow>(&row.get::<_, String>(1)?) {
                Ok(spool) => loaded.spools.push(SpoolRow { id: SpoolId(id as u64), ..spool }),
                Err(error) => loaded
                    .unreadable
                    .push(format!("the journal's record of draft {id} cannot be read ({error}); it is left as it is")),
            }
        }
        let mut statement = sql.prepare("SELECT id FROM retired")?;
        loaded.retired =
            statement.query_map([], |row| Ok(SpoolId(row.get::<_, i64>(0)? as u64)))?.collect::<Result<_, _>>()?;
        let mut statement = sql.prepare("SELECT ino, item, mode FROM modes")?;
        let mut rows = statement.query([])?;
        // Whoever has an intent stands for what that says, and so does a folder of which one in it says what it is.
        let intents = loaded.intents.iter().map(|intent| intent.ino);
        let said: HashSet<Ino> = intents.chain(loaded.anchors.iter().map(|(ino, _)| *ino)).collect();
        while let Some(row) = rows.next()? {
            let ino = Ino(row.get::<_, i64>(0)? as u64);
            let item = row.get::<_, Option<String>>(1)?;
            if let Some(item) = item.as_deref().and_then(ItemId::from_key).filter(|_| !said.contains(&ino)) {
                loaded.anchors.push((ino, item));
            }
            loaded.modes.push((ino, row.get(2)?));
        }
        Ok(loaded)
    }
}

/// The number that is handed out next.
fn next_of(sql: &Connection, key: &str, first: i64) -> rusqlite::Result<i64> {
    let next = sql.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()?;
    Ok(next.unwrap_or(first))
}

impl Loaded {
    /// Every inode number that is stored.
    pub(super) fn inos(&self) -> impl Iterator<Item = Ino> {
        let intents = self.intents.iter().flat_map(|intent| [intent.ino, intent.parent]);
        let named = self.modes.iter().map(|(ino, _)| *ino).chain(self.anchors.iter().map(|(ino, _)| *ino));
        intents.chain(self.spools.iter().map(|row| row.ino)).chain(named)
    }

    fn take_intent(&mut self, ino: i64, parent: i64, name: String, text: &str) {
        let row = match serde_json::from_str::<IntentRow>(text) {
            Ok(row) => row,
            Err(error) => {
                let what = format!("the journal's record of “{name}” (inode {ino}) cannot be read ({error})");
                self.unreadable.push(format!("{what}; it is left as it is"));
                return;
            }
        };
        if let Some(item) = row.parent_item {
            self.anchors.push((Ino(parent as u64), item));
        }
        if let Some(item) = &row.item {
            self.anchors.push((Ino(ino as u64), item.clone()));
        }
        self.intents.push(Intent {
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
            unsent: row.unsent,
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
}

impl IntentRow {
    fn of(intent: &Intent, parent_item: Option<&ItemId>) -> Self {
        Self {
            parent_item: parent_item.cloned(),
            kind: intent.kind,
            item: intent.item.clone(),
            base: intent.base.clone(),
            modified: intent.modified,
            set_modified: intent.set_modified,
            created: intent.created,
            changed: intent.changed,
            unsent: intent.unsent,
            deleted: intent.deleted,
            local_only: intent.local_only,
            sealed: intent.sealed,
            drafting: intent.drafting,
            sent: intent.sent.clone(),
            progress: intent.progress.clone(),
            attempts: intent.attempts,
            not_before: intent.not_before,
            last_error: intent.last_error.clone(),
        }
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
        super::sums::fuzz(row.sums.as_deref().unwrap_or_default(), row.size);
    }
    for size in [0, 1, u64::MAX] {
        super::sums::fuzz(text, size);
    }
    opening::fuzz(text);
}

#[cfg(test)]
mod tests;
