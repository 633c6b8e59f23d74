//! Finding item rows: by number, by identity, by name, by folder.
//!
//! Always true: what is found is what was written (see `stored`), and what has no place is not found but by who asks for it.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::Row;
use super::packed::fold_sum;
use super::stored::{COLUMNS, packed_key, row_of};
use crate::base::ids::{DriveId, Ino, ItemId};
use crate::base::name::fold;

pub(super) fn by_ino(sql: &Connection, drive: &DriveId, ino: Ino) -> rusqlite::Result<Option<Row>> {
    sql.prepare_cached(&format!("SELECT {COLUMNS} FROM items WHERE ino = ?1 AND (parent <> 0 OR ino = 1)"))?
        .query_row([ino.0 as i64], |row| row_of(drive, row))
        .optional()
}

/// As [`by_ino`], with a place or without.
pub(super) fn held(sql: &Connection, drive: &DriveId, ino: Ino) -> rusqlite::Result<Option<Row>> {
    sql.prepare_cached(&format!("SELECT {COLUMNS} FROM items WHERE ino = ?1"))?
        .query_row([ino.0 as i64], |row| row_of(drive, row))
        .optional()
}

pub(super) fn by_id(sql: &Connection, drive: &DriveId, id: &ItemId) -> rusqlite::Result<Option<Row>> {
    let key = packed_key(drive, id);
    sql.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM items WHERE id_sum = ?2 AND id = ?1 AND (parent <> 0 OR ino = 1)"
    ))?
    .query_row(params![key, key.sum()], |row| row_of(drive, row))
    .optional()
}

pub(super) fn child(sql: &Connection, drive: &DriveId, parent: Ino, name: &str) -> rusqlite::Result<Option<Row>> {
    let wanted = fold(name);
    let mut statement =
        sql.prepare_cached(&format!("SELECT {COLUMNS} FROM items WHERE parent = ?1 AND fold = ?2 AND ino <> 1"))?;
    let mut rows = statement.query([parent.0 as i64, fold_sum(name)])?;
    while let Some(row) = rows.next()? {
        let row = row_of(drive, row)?;
        if fold(&row.name) == wanted {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

pub(super) fn children(sql: &Connection, drive: &DriveId, parent: Ino) -> rusqlite::Result<Vec<Row>> {
    sql.prepare_cached(&format!("SELECT {COLUMNS} FROM items WHERE parent = ?1 AND ino <> 1"))?
        .query_map([parent.0 as i64], |row| row_of(drive, row))?
        .collect()
}
