//! The tables, and when an index is thrown away: other schema, other drive, damage. Never migrated, because
//! building it again costs a few requests and a bug in a migration costs trust.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::stored::{COLUMNS, insert_bare, key_of, packed_key, row_of};
use super::{IndexResult, meta};
use crate::base::ids::{Ino, ItemId};

const VERSION: i64 = 6;

/// Identities and tags are packed (see `packed`). Identities and names are found through checksums of them (of names
/// without case), which a few rows may share: that halves the indices, and identities come in no order, so the smaller
/// the index is the fewer of its pages a transaction has to write. Times that are the same as `modified` are NULL.
/// Every row has a sum of all that it says (see `stored`).
const TABLES: &str = "
CREATE TABLE items(
    ino INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    id_sum INTEGER NOT NULL,
    parent INTEGER NOT NULL,
    fold INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    size INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    created INTEGER,
    changed INTEGER,
    meta_tag BLOB NOT NULL,
    content_tag BLOB,
    complete INTEGER NOT NULL,
    link_to BLOB,
    sum INTEGER
);
CREATE INDEX items_by_id ON items(id_sum);
CREATE INDEX items_by_name ON items(parent, fold);
CREATE TABLE gone(ino INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name TEXT NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE echoes(id TEXT NOT NULL, tag TEXT NOT NULL, gone INTEGER NOT NULL, until INTEGER NOT NULL,
    sum INTEGER NOT NULL, PRIMARY KEY(id, tag)) WITHOUT ROWID;
";

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "temp_store", "memory")?;
    // In KiB and pages: while a large drive is enumerated most pages are written again by the next transaction. The
    // memory is given back afterwards.
    connection.pragma_update(None, "cache_size", -16_000)?;
    connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    connection.pragma_update(None, "journal_size_limit", 4 << 20)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.busy_timeout(std::time::Duration::from_secs(10))
}

/// The index at `path`, if it can be used: sound, of this schema, of this root.
pub(super) fn open_existing(path: &Path, root: &ItemId) -> Option<Connection> {
    if std::fs::metadata(path).is_ok_and(|facts| facts.len() == 0) {
        return None;
    }
    match try_open(path, root) {
        Ok(Some(connection)) => Some(connection),
        Ok(None) => {
            tracing::info!("the index is of another version or drive; building a new one from the cloud");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "the index is damaged; building a new one from the cloud");
            None
        }
    }
}

fn try_open(path: &Path, root: &ItemId) -> rusqlite::Result<Option<Connection>> {
    let connection = Connection::open(path)?;
    tune(&connection)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != VERSION {
        return Ok(None);
    }
    // The check reads every page and row, and whether the indices lead to the rows; on a large index that would delay the start (4 MiB take about 50 ms), and
    // damage met later is answered in the same way (drop and rebuild), so only small ones are checked up front.
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages < 1024 {
        let verdict: String = connection.pragma_query_value(None, "integrity_check", |row| row.get(0))?;
        if verdict != "ok" {
            return Err(rusqlite::Error::InvalidParameterName(verdict));
        }
        let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM items"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            row_of(&root.drive, row)?;
        }
    }
    meta::check(&connection)?;
    let stored = meta::stored(&connection, meta::ROOT)?;
    Ok((stored.as_deref() == Some(root.to_key().as_str())).then_some(connection))
}

impl super::Index {
    /// The root that the index in `folder` is of, as far as it tells; nothing is changed there.
    pub fn root_in(folder: &Path) -> Option<ItemId> {
        let connection = reader(&folder.join("index.db")).ok()?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).ok()?;
        let root = match version {
            VERSION => meta::stored(&connection, meta::ROOT).ok()?,
            // Older ones have no sum, and say what they were of all the same.
            _ => connection.query_row("SELECT value FROM meta WHERE key = ?1", [meta::ROOT], |row| row.get(0)).ok(),
        };
        ItemId::from_key(&root.filter(|key: &String| !key.is_empty())?)
    }
}

/// A new, empty index: the root, nothing else. Whatever was at `path` is removed.
pub(super) fn create(path: &Path, root: &ItemId) -> IndexResult<Connection> {
    for end in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(end);
        let _ = std::fs::remove_file(file);
    }
    // Made by us with its mode, because SQLite would take the umask's. If it fails, opening it says why.
    let _ = crate::base::private::file(path);
    let connection = Connection::open(path)?;
    tune(&connection)?;
    connection.execute_batch(TABLES)?;
    let key = packed_key(&root.drive, root);
    meta::store(&connection, meta::ROOT, Some(&root.to_key()))?;
    insert_bare(&connection, Ino::ROOT, &key_of(&root.drive, root), &key)?;
    meta::store(&connection, meta::COUNT, Some("1"))?;
    connection.pragma_update(None, "user_version", VERSION)?;
    Ok(connection)
}

/// The highest number that stands for something, or has.
pub(super) fn highest(connection: &Connection) -> IndexResult<Ino> {
    let of = |table| connection.query_row(&format!("SELECT max(ino) FROM {table}"), [], |row| row.get(0));
    let (items, gone): (Option<i64>, Option<i64>) = (of("items")?, of("gone")?);
    Ok(Ino(items.max(gone).unwrap_or(0) as u64))
}

/// How many rows there are, as noted by the last transaction that changed it; counted if it is not known.
pub(super) fn count(connection: &Connection) -> IndexResult<i64> {
    match meta::stored(connection, meta::COUNT)?.and_then(|text| text.parse().ok()) {
        Some(count) => Ok(count),
        None => Ok(connection.query_row("SELECT count(*) FROM items", [], |row| row.get(0))?),
    }
}

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> IndexResult<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(connection)
}
