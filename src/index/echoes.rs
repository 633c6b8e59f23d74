//! What the service may still show from before our own changes.
//!
//! Lookups and feeds are answered by replicas that lag. For a while after each of our changes a state that we have
//! overtaken is no news, an item that we have made is not gone because it is not found, and one that we have deleted is
//! not back because it is listed.

use rusqlite::{Connection, params};

use super::items::Txn;
use super::stored::{as_damage, checked, id_of, key_of};
use super::{Index, IndexResult};
use crate::base::checksum::RowSum;
use crate::base::clock::Timestamp;
use crate::base::ids::{DriveId, ItemId, MetaTag};

/// The tag under which it is remembered that we made an item; no state has it.
static NEWBORN: MetaTag = MetaTag(String::new());

/// One expectation.
struct Echo {
    id: String,
    tag: String,
    gone: bool,
    until: Timestamp,
}

impl Echo {
    const COLUMNS: &str = "id, tag, gone, until, sum";

    /// One that lasted for ever would keep the news of its item away.
    fn sum(&self) -> RowSum {
        RowSum::of("echoes").text(&self.id).text(&self.tag).number(i64::from(self.gone)).number(self.until.0)
    }

    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let echo = Self { id: row.get(0)?, tag: row.get(1)?, gone: row.get(2)?, until: Timestamp(row.get(3)?) };
        let sum = echo.sum();
        checked(echo, sum, row.get(4)?)
    }
}

/// What is expected of an item at this time.
fn echoes_of(sql: &Connection, drive: &DriveId, id: &ItemId, now: Timestamp) -> rusqlite::Result<Vec<Echo>> {
    let mut query = sql.prepare_cached(&format!("SELECT {} FROM echoes WHERE id = ?1", Echo::COLUMNS))?;
    let found: rusqlite::Result<Vec<Echo>> = query.query_map([key_of(drive, id)], Echo::read)?.collect();
    let mut found = found.map_err(as_damage)?;
    found.retain(|echo| echo.until > now);
    Ok(found)
}

/// Whether there is an expectation about an item, of this tag or of any.
fn has_echo(
    sql: &Connection,
    drive: &DriveId,
    id: &ItemId,
    tag: Option<&MetaTag>,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let found = echoes_of(sql, drive, id, now)?;
    Ok(found.iter().any(|echo| tag.is_none_or(|tag| echo.tag == tag.0)))
}

/// Whether we have overtaken this state of an item ourselves.
pub(super) fn is_overtaken(
    sql: &Connection,
    drive: &DriveId,
    id: &ItemId,
    tag: &MetaTag,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    Ok(*tag != NEWBORN && has_echo(sql, drive, id, Some(tag), now)?)
}

/// Until when it counts that we have deleted an item, if it does.
fn deleted_until(
    sql: &Connection,
    drive: &DriveId,
    id: &ItemId,
    now: Timestamp,
) -> rusqlite::Result<Option<Timestamp>> {
    let found = echoes_of(sql, drive, id, now)?;
    Ok(found.iter().filter(|echo| echo.gone).map(|echo| echo.until).max())
}

/// Whether we have made an item a moment ago.
pub(super) fn is_newborn(sql: &Connection, drive: &DriveId, id: &ItemId, now: Timestamp) -> rusqlite::Result<bool> {
    has_echo(sql, drive, id, Some(&NEWBORN), now)
}

impl Index {
    /// See [`Txn::is_ours_lately`].
    ///
    /// # Errors
    ///
    /// [`IndexError`](super::IndexError)
    pub fn is_ours_lately(&self, id: &ItemId, now: Timestamp) -> IndexResult<bool> {
        self.read(|sql| has_echo(sql, &self.drive, id, None, now))
    }

    /// See [`Txn::deleted_until`].
    ///
    /// # Errors
    ///
    /// [`IndexError`](super::IndexError)
    pub fn deleted_until(&self, id: &ItemId, now: Timestamp) -> IndexResult<Option<Timestamp>> {
        self.read(|sql| deleted_until(sql, &self.drive, id, now))
    }
}

impl Txn<'_> {
    /// Remembers that we have just changed an item ourselves: until then the service may still show the states
    /// before, each of which is to be ignored. `stale` is the tag of the state that we overtook, empty if we made the
    /// item; `gone` says that we deleted it.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn expect_echo(&mut self, id: &ItemId, stale: &MetaTag, gone: bool, until: Timestamp) -> IndexResult<()> {
        self.echoes = None;
        let echo = Echo { id: key_of(self.drive, id), tag: stale.0.clone(), gone, until };
        self.sql
            .prepare_cached("INSERT OR REPLACE INTO echoes(id, tag, gone, until, sum) VALUES(?1, ?2, ?3, ?4, ?5)")?
            .execute(params![echo.id, echo.tag, echo.gone, echo.until.0, echo.sum().finish()])?;
        Ok(())
    }

    /// Whether a reported state is one that we have overtaken ourselves (see [`Txn::expect_echo`]).
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn is_stale_echo(&mut self, id: &ItemId, tag: &MetaTag, now: Timestamp) -> IndexResult<bool> {
        Ok(self.has_echoes()? && is_overtaken(self.sql, self.drive, id, tag, now)?)
    }

    /// Whether we have made the item so recently that the service may not show it yet.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn is_newborn(&self, id: &ItemId, now: Timestamp) -> IndexResult<bool> {
        Ok(is_newborn(self.sql, self.drive, id, now)?)
    }

    /// The item is not waited for any longer: it has been seen, or deleted.
    pub(super) fn forget_newborn(&mut self, id: &ItemId) -> IndexResult<()> {
        self.sql.prepare_cached("DELETE FROM echoes WHERE id = ?1 AND tag = ''")?.execute([key_of(self.drive, id)])?;
        Ok(())
    }

    /// Whether we have made or changed the item so recently that the service may show a state from before that.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn is_ours_lately(&mut self, id: &ItemId, now: Timestamp) -> IndexResult<bool> {
        Ok(self.has_echoes()? && has_echo(self.sql, self.drive, id, None, now)?)
    }

    /// Whether there is any expectation at all: mostly there is none, and a chain has many items.
    fn has_echoes(&mut self) -> IndexResult<bool> {
        let any = match self.echoes {
            Some(any) => any,
            None => self.sql.prepare_cached("SELECT 1 FROM echoes LIMIT 1")?.exists([])?,
        };
        self.echoes = Some(any);
        Ok(any)
    }

    /// Items that we have deleted ourselves so recently that the service may still report them as living.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn deleted_here(&self, now: Timestamp) -> IndexResult<Vec<ItemId>> {
        let query = format!("SELECT {} FROM echoes WHERE gone AND until > ?1", Echo::COLUMNS);
        let mut statement = self.sql.prepare_cached(&query)?;
        let found = statement.query_map([now.0], Echo::read)?;
        let ids = found.map(|echo| echo.map(|echo| id_of(self.drive, echo.id)));
        Ok(ids.collect::<Result<_, _>>().map_err(as_damage)?)
    }

    /// Until when the service may still report an item as living, because we have deleted it ourselves; `None` if we
    /// have not, or it is long ago. A later deletion has another end.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn deleted_until(&self, id: &ItemId, now: Timestamp) -> IndexResult<Option<Timestamp>> {
        Ok(deleted_until(self.sql, self.drive, id, now)?)
    }

    /// Takes the expectation back that an item is gone: it was seen alive.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn forget_echo(&mut self, id: &ItemId) -> IndexResult<()> {
        self.sql.prepare_cached("DELETE FROM echoes WHERE id = ?1 AND gone")?.execute([key_of(self.drive, id)])?;
        Ok(())
    }

    /// Takes back that a state of an item is one that we have overtaken: it is the present one.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn forget_echo_of(&mut self, id: &ItemId, tag: &MetaTag) -> IndexResult<()> {
        self.sql
            .prepare_cached("DELETE FROM echoes WHERE id = ?1 AND tag = ?2")?
            .execute(params![key_of(self.drive, id), tag.0])?;
        Ok(())
    }

    /// Drops what is remembered of our own changes before `now`.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn forget_echoes(&mut self, now: Timestamp) -> IndexResult<()> {
        self.sql.prepare_cached("DELETE FROM echoes WHERE until <= ?1")?.execute([now.0])?;
        Ok(())
    }
}
