//! Where folders were that are gone, for those whose unsent work was in them.

use rusqlite::{OptionalExtension as _, params};

use super::items::Txn;
use super::stored::{as_damage, checked};
use super::{Index, IndexResult};
use crate::base::checksum::RowSum;
use crate::base::ids::Ino;

fn sum(ino: Ino, parent: Ino, name: &str) -> RowSum {
    RowSum::of("gone").number(ino.0 as i64).number(parent.0 as i64).text(name)
}

impl Index {
    /// Where a folder was, and its name, that has gone since [`Txn::forget_gone`].
    ///
    /// # Errors
    ///
    /// [`IndexError`](super::IndexError)
    pub fn gone(&self, ino: Ino) -> IndexResult<Option<(Ino, String)>> {
        self.read(|sql| {
            sql.prepare_cached("SELECT parent, name, sum FROM gone WHERE ino = ?1")?
                .query_row([ino.0 as i64], |row| {
                    let (parent, name) = (Ino(row.get::<_, i64>(0)? as u64), row.get::<_, String>(1)?);
                    let sum = sum(ino, parent, &name);
                    checked((parent, name), sum, row.get(2)?)
                })
                .optional()
                .map_err(as_damage)
        })
    }
}

impl Txn<'_> {
    /// Remembers where a folder was; see [`Index::gone`].
    pub(super) fn note_gone(&self, ino: Ino, parent: Ino, name: &str) -> IndexResult<()> {
        self.sql
            .prepare_cached("INSERT OR REPLACE INTO gone(ino, parent, name, sum) VALUES(?1, ?2, ?3, ?4)")?
            .execute(params![ino.0 as i64, parent.0 as i64, name, sum(ino, parent, name).finish()])?;
        Ok(())
    }

    /// Whether a folder has gone that had this number; see [`Index::gone`].
    pub(super) fn is_gone(&self, ino: Ino) -> IndexResult<bool> {
        Ok(self.sql.prepare_cached("SELECT 1 FROM gone WHERE ino = ?1")?.exists([ino.0 as i64])?)
    }

    /// Forgets where folders were that are gone.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn forget_gone(&mut self) -> IndexResult<()> {
        // Mostly there is none, and a start that writes nothing need not tidy up what the last run has left in the log.
        if self.sql.prepare_cached("SELECT 1 FROM gone LIMIT 1")?.exists([])? {
            self.sql.prepare_cached("DELETE FROM gone")?.execute([])?;
        }
        Ok(())
    }
}
