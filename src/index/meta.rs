//! The single values that the index keeps beside its rows, and their names.
//!
//! Always true: a value is what was stored under its name, or damage. A flipped bit in the cursor would leave out what
//! happened, one in a name would make a drive enumerated that is not.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::stored::{as_damage, checked};
use super::{Index, IndexResult};
use crate::base::checksum::RowSum;
use crate::base::ids::Cursor;

/// The service's position in the stream of changes; see [`Index::cursor`](super::Index::cursor).
pub const CURSOR: &str = "cursor";
/// Set once the whole drive was enumerated.
pub const ENUMERATED: &str = "enumerated";
/// Where an enumeration under way continues (a link of the service, which may hold a credential).
pub const ENUMERATION: &str = "enumeration";
/// When the index was last compared with a full enumeration: seconds since 1970.
pub const RECONCILED: &str = "reconciled";
/// How many rows there are.
pub const COUNT: &str = "count";
/// The root's identity: an index of another drive is not used.
pub const ROOT: &str = "root";
/// The drive's last known quota, as JSON.
pub const QUOTA: &str = "quota";

fn sum(key: &str, value: &str) -> RowSum {
    RowSum::of("meta").text(key).text(value)
}

/// The value of this name, if there is one.
pub(super) fn stored(sql: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    sql.prepare_cached("SELECT value, sum FROM meta WHERE key = ?1")?
        .query_row([key], |row| {
            let value: String = row.get(0)?;
            let sum = sum(key, &value);
            checked(value, sum, row.get(1)?)
        })
        .optional()
        .map_err(as_damage)
}

/// Stores a value, or forgets it.
pub(super) fn store(sql: &Connection, key: &str, value: Option<&str>) -> rusqlite::Result<()> {
    match value {
        Some(value) => sql
            .prepare_cached("INSERT OR REPLACE INTO meta(key, value, sum) VALUES(?1, ?2, ?3)")?
            .execute(params![key, value, sum(key, value).finish()])?,
        None => sql.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute([key])?,
    };
    Ok(())
}

/// Fails if any of the values is not what was stored.
pub(super) fn check(sql: &Connection) -> rusqlite::Result<()> {
    let keys =
        sql.prepare("SELECT key FROM meta")?.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>();
    keys.map_err(as_damage)?.iter().try_for_each(|key| stored(sql, key).map(drop))
}

impl Index {
    /// Whether the whole drive was enumerated once, so that every folder is completely known.
    ///
    /// # Errors
    ///
    /// [`IndexError`](super::IndexError)
    pub fn is_enumerated(&self) -> IndexResult<bool> {
        Ok(self.meta(ENUMERATED)?.is_some())
    }

    /// The stored cursor.
    ///
    /// # Errors
    ///
    /// [`IndexError`](super::IndexError)
    pub fn cursor(&self) -> IndexResult<Option<Cursor>> {
        Ok(self.meta(CURSOR)?.map(Cursor))
    }

    /// A stored value; the names are in [this module](self).
    ///
    /// # Errors
    ///
    /// [`IndexError`](super::IndexError)
    pub fn meta(&self, key: &str) -> IndexResult<Option<String>> {
        self.read(|sql| stored(sql, key))
    }
}
