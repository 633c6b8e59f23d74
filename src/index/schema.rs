//! The tables, and when an index is thrown away: other schema, other drive, damage. Never migrated, because
//! building it again costs a few requests and a bug in a migration costs trust.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, params};

use super::{COLUMNS, IndexResult, NOWHERE, key_of, meta, row_of, set_meta};
use crate::base::ids::{Ino, ItemId};

const VERSION: i64 = 2;

const TABLES: &str = "
CREATE TABLE items(
    ino INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    parent INTEGER NOT NULL,
    fold TEXT NOT NULL,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    size INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    created INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    meta_tag TEXT NOT NULL,
    content_tag TEXT,
    complete INTEGER NOT NULL,
    link_to TEXT,
    sum INTEGER
);
CREATE INDEX items_by_name ON items(parent, fold);
CREATE TABLE gone(ino INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name TEXT NOT NULL);
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE echoes(id TEXT PRIMARY KEY, stale_tag TEXT NOT NULL, gone INTEGER NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
";

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "temp_store", "memory")?;
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
    // The quick check reads every page; on a large index that would delay the start, and damage met later is
    // answered in the same way (drop and rebuild), so only small ones are checked up front.
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages < 8192 {
        let verdict: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
        if verdict != "ok" {
            return Err(rusqlite::Error::InvalidParameterName(verdict));
        }
        let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM items"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            row_of(&root.drive, row)?;
        }
    }
    let stored: Option<String> = {
        use rusqlite::OptionalExtension as _;
        connection.query_row("SELECT value FROM meta WHERE key = ?1", [meta::ROOT], |row| row.get(0)).optional()?
    };
    Ok((stored.as_deref() == Some(root.to_key().as_str())).then_some(connection))
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
    set_meta(&connection, meta::ROOT, Some(&root.to_key()))?;
    connection.execute(
        "INSERT INTO items(ino, id, parent, fold, name, kind, size, modified, created, changed, meta_tag, complete)
         VALUES(?1, ?2, ?3, '', '', 1, 0, 0, 0, 0, '', 0)",
        params![Ino::ROOT.0 as i64, key_of(&root.drive, root), NOWHERE as i64],
    )?;
    connection.pragma_update(None, "user_version", VERSION)?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> IndexResult<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(connection)
}
