//! How an item is stored, and how damage shows.
//!
//! SQLite finds out that a page is no page, but not that a bit of a value in it is another. So each row carries a sum of
//! everything that it says, what the service said as well as what is ours, and whoever reads one gets what was written or
//! [`damaged`].

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row as SqlRow, params};

use super::packed::{self, Packed, pack, unpack, unpack_time};
use super::{NOWHERE, Row};
use crate::base::checksum::RowSum;
use crate::base::ids::{ContentTag, DriveId, Ino, ItemId, MetaTag};
use crate::remote::ItemKind;

/// Identities of the mount's own drive are stored without their drive: most of the index is identities.
pub(super) fn key_of(drive: &DriveId, id: &ItemId) -> String {
    if id.drive == *drive { id.id.clone() } else { id.to_key() }
}

pub(super) fn packed_key(drive: &DriveId, id: &ItemId) -> Packed {
    if id.drive == *drive { pack(&id.id) } else { pack(&id.to_key()) }
}

pub(super) fn id_of(drive: &DriveId, key: String) -> ItemId {
    match ItemId::from_key(&key) {
        Some(id) => id,
        None => ItemId { drive: drive.clone(), id: key },
    }
}

/// What [`row_of`] reads.
pub(super) const COLUMNS: &str = "ino, id, parent, name, kind, size, modified, created, changed, meta_tag, content_tag, complete, link_to, sum, \
     id_sum, fold";

/// What is ours in a row: inode, folder, and whether every child is known.
pub(super) type Place = (Ino, Ino, bool);

/// The checksum of a row: SQLite has none for its pages, and a flipped bit in a size, a name or a tag must not be shown
/// as the truth; nor one that makes a folder completely known of which nothing is.
pub(super) fn row_sum(
    (id, name, meta_tag): (&str, &str, &str),
    (kind, size, modified, created, changed): (i64, i64, i64, i64, i64),
    (content_tag, link_to): (Option<&str>, Option<&str>),
    place: Place,
) -> i64 {
    let numbers = [kind, size, modified, created, changed];
    let sum = RowSum::of("items").text(id).text(name).text(meta_tag).maybe(content_tag).maybe(link_to);
    placed(numbers.into_iter().fold(sum, RowSum::number), place)
}

/// Stores an identity of which nothing else is known yet: a folder without name and place.
pub(super) fn insert_bare(sql: &Connection, ino: Ino, id: &str, key: &Packed) -> rusqlite::Result<()> {
    let sum = row_sum((id, "", ""), (1, 0, 0, 0, 0), (None, None), (ino, Ino(NOWHERE), false));
    sql.prepare_cached(
        "INSERT INTO items(ino, id, id_sum, parent, fold, name, kind, size, modified, meta_tag, complete, sum)
         VALUES(?1, ?2, ?3, ?4, 0, '', 1, 0, 0, '', 0, ?5)",
    )?
    .execute(params![ino.0 as i64, key, key.sum(), NOWHERE as i64, sum])?;
    Ok(())
}

/// The place is last in the sum; see [`sum_change`].
fn placed(sum: RowSum, (ino, parent, complete): Place) -> i64 {
    sum.number(ino.0 as i64).number(parent.0 as i64).number(i64::from(complete)).finish()
}

/// What a row's sum changes by, bit by bit, when its place does: `sum = (sum | ?) - (sum & ?)`, as SQLite has no
/// exclusive or. It is the same for all rows, and of the parts of the place only those matter that change: that is how a
/// CRC is made. So rows can be moved by the thousand without a look at them, and one that was damaged stays so.
pub(super) fn sum_change(before: Place, after: Place) -> i64 {
    let of = |place| placed(RowSum::of("items"), place);
    of(before) ^ of(after)
}

/// The row, if it is what was written.
pub(super) fn row_of(drive: &DriveId, row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    decode(drive, row).map_err(as_damage)
}

/// A value of a kind that is never written there is damage.
pub(super) fn as_damage(error: rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => damaged(),
        other => other,
    }
}

/// What was read with a sum, if it is its own.
pub(super) fn checked<T>(value: T, sum: RowSum, stored: i64) -> rusqlite::Result<T> {
    if sum.finish() == stored { Ok(value) } else { Err(damaged()) }
}

fn decode(drive: &DriveId, row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let text = |column| unpack(row.get_ref(column)?).ok_or_else(damaged);
    let maybe_text = |column| match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        stored => unpack(stored).map(Some).ok_or_else(damaged),
    };
    let (id, name, meta_tag): (String, String, String) = (text(1)?, row.get(3)?, text(9)?);
    // What it is found by: a row that is there and cannot be found would be taken for missing.
    let (id_sum, fold): (i64, i64) = (row.get(14)?, row.get(15)?);
    if id_sum != packed::sum_of(row.get_ref(1)?) || fold != packed::fold_sum(&name) {
        return Err(damaged());
    }
    let (kind, size): (i64, i64) = (row.get(4)?, row.get(5)?);
    let modified = unpack_time(row.get_ref(6)?).ok_or_else(damaged)?;
    // The times of most items are all the same.
    let time = |column| match row.get_ref(column)? {
        ValueRef::Null => Ok(modified),
        stored => unpack_time(stored).ok_or_else(damaged),
    };
    let (created, changed) = (time(7)?, time(8)?);
    let (content_tag, link_to) = (maybe_text(10)?, maybe_text(12)?);
    let complete = match row.get::<_, i64>(11)? {
        0 => false,
        1 => true,
        _ => return Err(damaged()),
    };
    let place = (Ino(row.get::<_, i64>(0)? as u64), Ino(row.get::<_, i64>(2)? as u64), complete);
    let numbers = (kind, size, modified.0, created.0, changed.0);
    let sum = row_sum((&id, &name, &meta_tag), numbers, (content_tag.as_deref(), link_to.as_deref()), place);
    if sum != row.get::<_, i64>(13)? {
        return Err(damaged());
    }
    Ok(Row {
        ino: place.0,
        id: id_of(drive, id),
        parent: place.1,
        name,
        kind: match kind {
            0 => ItemKind::File,
            1 => ItemKind::Folder,
            _ => ItemKind::Closed,
        },
        size: size as u64,
        modified,
        created,
        changed,
        meta_tag: MetaTag(meta_tag),
        content_tag: content_tag.map(ContentTag),
        complete,
        link_to: link_to.map(|key| id_of(drive, key)),
    })
}

/// What SQLite says of damage that it finds itself.
pub(super) fn damaged() -> rusqlite::Error {
    let code = rusqlite::ffi::Error { code: rusqlite::ErrorCode::DatabaseCorrupt, extended_code: 11 };
    rusqlite::Error::SqliteFailure(code, Some("a row is not what was written".into()))
}
