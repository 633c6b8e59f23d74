//! Where folders were that are gone, for those whose unsent work was in them.

use rusqlite::params;

use super::IndexResult;
use super::items::Txn;
use crate::base::ids::Ino;

impl Txn<'_> {
    /// Remembers where a folder was; see [`Index::gone`](super::Index::gone).
    pub(super) fn note_gone(&self, ino: Ino, parent: Ino, name: &str) -> IndexResult<()> {
        self.sql
            .prepare_cached("INSERT OR REPLACE INTO gone(ino, parent, name) VALUES(?1, ?2, ?3)")?
            .execute(params![ino.0 as i64, parent.0 as i64, name])?;
        Ok(())
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
