//! The item rows: finding them, and the one transaction type through which they change.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{COLUMNS, IndexResult, NOWHERE, Notice, Row, What, key_of, row_of, row_sum, set_meta};
use crate::base::clock::Timestamp;
use crate::base::ids::{DriveId, Ino, InoSource, ItemId, MetaTag};
use crate::base::name::fold;
use crate::remote::{Item, ItemKind};

pub(super) fn by_ino(sql: &Connection, drive: &DriveId, ino: Ino) -> rusqlite::Result<Option<Row>> {
    sql.prepare_cached(&format!("SELECT {COLUMNS} FROM items WHERE ino = ?1 AND (parent <> 0 OR ino = 1)"))?
        .query_row([ino.0 as i64], |row| row_of(drive, row))
        .optional()
}

pub(super) fn by_id(sql: &Connection, drive: &DriveId, id: &ItemId) -> rusqlite::Result<Option<Row>> {
    sql.prepare_cached(&format!("SELECT {COLUMNS} FROM items WHERE id = ?1 AND (parent <> 0 OR ino = 1)"))?
        .query_row([key_of(drive, id)], |row| row_of(drive, row))
        .optional()
}

pub(super) fn child(sql: &Connection, drive: &DriveId, parent: Ino, name: &str) -> rusqlite::Result<Option<Row>> {
    sql.prepare_cached(&format!("SELECT {COLUMNS} FROM items WHERE parent = ?1 AND fold = ?2 LIMIT 1"))?
        .query_row(params![parent.0 as i64, fold(name)], |row| row_of(drive, row))
        .optional()
}

pub(super) fn children(sql: &Connection, drive: &DriveId, parent: Ino) -> rusqlite::Result<Vec<Row>> {
    sql.prepare_cached(&format!("SELECT {COLUMNS} FROM items WHERE parent = ?1 AND ino <> 1 ORDER BY fold"))?
        .query_map([parent.0 as i64], |row| row_of(drive, row))?
        .collect()
}

/// A transaction under way.
pub struct Txn<'a> {
    sql: &'a Transaction<'a>,
    drive: &'a DriveId,
    inos: &'a dyn InoSource,
    notices: Vec<Notice>,
}

impl<'a> Txn<'a> {
    pub(super) fn new(sql: &'a Transaction<'a>, drive: &'a DriveId, inos: &'a dyn InoSource) -> Self {
        Self { sql, drive, inos, notices: Vec::new() }
    }

    pub(super) fn into_notices(self) -> Vec<Notice> {
        self.notices
    }

    /// The item of this identity, if it has a place.
    ///
    /// # Errors
    ///
    /// [`IndexError`](super::IndexError), as for every method here.
    pub fn by_id(&self, id: &ItemId) -> IndexResult<Option<Row>> {
        Ok(by_id(self.sql, self.drive, id)?)
    }

    /// The item of this inode, if it has a place.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn by_ino(&self, ino: Ino) -> IndexResult<Option<Row>> {
        Ok(by_ino(self.sql, self.drive, ino)?)
    }

    /// The known children of a folder.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn children(&self, parent: Ino) -> IndexResult<Vec<Row>> {
        Ok(children(self.sql, self.drive, parent)?)
    }

    /// The inode number of an identity; a new one, without a place, if it was never heard of.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn ino_of(&mut self, id: &ItemId) -> IndexResult<Ino> {
        let key = key_of(self.drive, id);
        if let Some(ino) = self.holder(&key)? {
            return Ok(ino);
        }
        let ino = self.inos.next_ino();
        self.reserve(ino, &key)?;
        Ok(ino)
    }

    /// The inode number that stands for an identity, with a place or without.
    fn holder(&self, key: &str) -> IndexResult<Option<Ino>> {
        let ino: Option<i64> = self
            .sql
            .prepare_cached("SELECT ino FROM items WHERE id = ?1")?
            .query_row([key], |row| row.get(0))
            .optional()?;
        Ok(ino.map(|ino| Ino(ino as u64)))
    }

    fn reserve(&mut self, ino: Ino, key: &str) -> IndexResult<()> {
        self.sql
            .prepare_cached(
                "INSERT INTO items(ino, id, parent, fold, name, kind, size, modified, created, changed, meta_tag, complete)
                 VALUES(?1, ?2, ?3, '', '', 1, 0, 0, 0, 0, '', 0)",
            )?
            .execute(params![ino.0 as i64, key, NOWHERE as i64])?;
        Ok(())
    }

    /// Makes an inode number stand for an identity, taking it from whichever held it.
    ///
    /// This is how a file that was saved under a temporary name takes over the item it replaced.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn bind(&mut self, ino: Ino, id: &ItemId) -> IndexResult<()> {
        let key = key_of(self.drive, id);
        let holder = self.holder(&key)?;
        if holder == Some(ino) {
            return Ok(());
        }
        self.sql
            .prepare_cached("DELETE FROM items WHERE ino = ?1 AND id <> ?2")?
            .execute(params![ino.0 as i64, key])?;
        match holder {
            Some(Ino(old)) => {
                let numbers = [ino.0 as i64, old as i64];
                self.sql.prepare_cached("UPDATE items SET ino = ?1 WHERE ino = ?2")?.execute(numbers)?;
                self.sql.prepare_cached("UPDATE items SET parent = ?1 WHERE parent = ?2")?.execute(numbers)?;
            }
            None => self.reserve(ino, &key)?,
        }
        Ok(())
    }

    /// Like [`Txn::bind`], but an item that held the number gets another instead of vanishing.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn claim(&mut self, ino: Ino, id: &ItemId) -> IndexResult<()> {
        if self.holder(&key_of(self.drive, id))? == Some(ino) {
            return Ok(());
        }
        self.make_way(ino)?;
        self.bind(ino, id)
    }

    /// Gives the item that this inode number stands for, if any, another number: after a loss of power the index may
    /// know more than the journal, and what the journal does not know must not vanish when its number is used for
    /// something new.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn make_way(&mut self, ino: Ino) -> IndexResult<()> {
        match self.by_ino(ino)? {
            Some(row) if ino != Ino::ROOT => self.renumber(&row.id).map(drop),
            _ => Ok(()),
        }
    }

    /// Gives an item a new inode number, freeing the old one for something else. Returns the new number.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn renumber(&mut self, id: &ItemId) -> IndexResult<Ino> {
        let ino = self.inos.next_ino();
        self.bind(ino, id)?;
        Ok(ino)
    }

    /// Takes an item as the service reports it. `None` if nothing about it was new; else its inode.
    ///
    /// The sub-second part of a modification time that this machine set survives, because the service keeps
    /// whole seconds and a time that moves by itself confuses `make` and `git`.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn upsert(&mut self, item: &Item) -> IndexResult<Ino> {
        self.upsert_with(item, None)
    }

    /// Like [`Txn::upsert`], with the exact times that this machine has for it: modification and change.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn upsert_with(&mut self, item: &Item, local: Option<(Timestamp, Timestamp)>) -> IndexResult<Ino> {
        let ino = self.ino_of(&item.id)?;
        let old = by_ino(self.sql, self.drive, ino)?.filter(|row| row.parent.0 != NOWHERE || ino == Ino::ROOT);
        let parent = match &item.parent {
            _ if ino == Ino::ROOT => Ino(NOWHERE),
            Some(parent) => self.ino_of(parent)?,
            // An item of another drive may come without its folder; what is known of its place stays.
            None => match &old {
                Some(row) => row.parent,
                None => return Ok(ino),
            },
        };
        let placed_anew = ino != Ino::ROOT && old.as_ref().is_none_or(|row| row.parent != parent);
        if placed_anew && self.would_close_a_circle(parent, ino)? {
            tracing::warn!(item = ?item.id, "the service puts a folder into itself; it stays where it was");
            return Ok(ino);
        }
        let mut modified = item.modified;
        let mut changed = item.modified;
        if let Some((mtime, ctime)) = local {
            if mtime.seconds() == modified.seconds() {
                modified = mtime;
            }
            changed = ctime;
        } else if let Some(row) = &old {
            if row.modified.seconds() == modified.seconds() {
                modified = row.modified;
            }
            if row.content_tag == item.content_tag && row.modified == modified {
                changed = row.changed;
            }
        }
        // A root that says it is something else would take the whole mount away.
        let (kind, link_to) =
            if ino == Ino::ROOT { (ItemKind::Folder, None) } else { (item.kind, item.link_to.as_ref()) };
        // The name of the root is the service's business; ours is the mount point's.
        let name = if ino == Ino::ROOT { "" } else { item.name.as_str() };
        let what = match &old {
            None => What::Added,
            Some(row) if ino != Ino::ROOT && (row.parent != parent || row.name != name) => {
                What::Moved { from: row.parent, name: row.name.clone() }
            }
            Some(row) if row.content_tag != item.content_tag || row.kind != kind => What::Content,
            Some(row)
                if row.meta_tag != item.meta_tag
                    || row.modified != modified
                    || row.size != item.size && kind == ItemKind::File
                    || row.link_to.as_ref() != link_to =>
            {
                What::Meta
            }
            Some(_) => return Ok(ino),
        };
        let moved_content =
            matches!(&what, What::Moved { .. }) && old.as_ref().is_some_and(|row| row.content_tag != item.content_tag);
        if ino != Ino::ROOT {
            self.displace(parent, name, ino)?;
        }
        let kind = match kind {
            ItemKind::File => 0,
            ItemKind::Folder => 1,
            ItemKind::Closed => 2,
        };
        let (key, content_tag) = (key_of(self.drive, &item.id), item.content_tag.as_ref().map(|tag| tag.0.as_str()));
        let link_to = link_to.map(|id| key_of(self.drive, id));
        let sum = row_sum(
            (&key, name, &item.meta_tag.0),
            (kind, item.size as i64, modified.0, item.created.0, changed.0),
            (content_tag, link_to.as_deref()),
        );
        self.sql
            .prepare_cached(
                "UPDATE items SET parent = ?2, fold = ?3, name = ?4, kind = ?5, size = ?6, modified = ?7, created = ?8,
                 changed = ?9, meta_tag = ?10, content_tag = ?11, link_to = ?12, sum = ?13 WHERE ino = ?1",
            )?
            .execute(params![
                ino.0 as i64,
                parent.0 as i64,
                fold(name),
                name,
                kind,
                item.size as i64,
                modified.0,
                item.created.0,
                changed.0,
                item.meta_tag.0,
                content_tag,
                link_to,
                sum,
            ])?;
        self.notices.push(Notice { ino, parent, name: name.to_owned(), what });
        if moved_content {
            self.notices.push(Notice { ino, parent, name: name.to_owned(), what: What::Content });
        }
        Ok(ino)
    }

    /// Whether a folder would be in itself. What lies in a circle cannot be reached from the root, so a service that
    /// reports one would make whole folders vanish.
    fn would_close_a_circle(&self, parent: Ino, ino: Ino) -> IndexResult<bool> {
        if parent == ino {
            return Ok(true);
        }
        let has_children =
            self.sql.prepare_cached("SELECT 1 FROM items WHERE parent = ?1 LIMIT 1")?.exists([ino.0 as i64])?;
        if !has_children {
            return Ok(false);
        }
        let mut up = self.sql.prepare_cached("SELECT parent FROM items WHERE ino = ?1")?;
        let mut at = parent.0 as i64;
        // Nothing real is deeper: a path has 400 characters.
        for _ in 0..1000 {
            match up.query_row([at], |row| row.get::<_, i64>(0)).optional()? {
                Some(above) if above == ino.0 as i64 => return Ok(true),
                Some(above) if above != 0 => at = above,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Two items cannot have one name; the one that was here first has gone somewhere we have not heard of
    /// yet. It keeps its inode, without a place, until we do.
    fn displace(&mut self, parent: Ino, name: &str, by: Ino) -> IndexResult<()> {
        let squatters: Vec<(i64, String)> = self
            .sql
            .prepare_cached("SELECT ino, name FROM items WHERE parent = ?1 AND fold = ?2 AND ino <> ?3")?
            .query_map(params![parent.0 as i64, fold(name), by.0 as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        for (ino, name) in squatters {
            self.sql.prepare_cached("UPDATE items SET parent = ?2 WHERE ino = ?1")?.execute([ino, NOWHERE as i64])?;
            self.notices.push(Notice { ino: Ino(ino as u64), parent, name, what: What::Removed });
        }
        Ok(())
    }

    /// Forgets where folders were that are gone.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn forget_gone(&mut self) -> IndexResult<()> {
        self.sql.prepare_cached("DELETE FROM gone")?.execute([])?;
        Ok(())
    }

    /// Forgets an item and everything below it. Unknown ids are fine. Where its folders were is remembered for those
    /// who still need them; see [`Index::gone`](super::Index::gone).
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn remove(&mut self, id: &ItemId) -> IndexResult<()> {
        let key = key_of(self.drive, id);
        let found: Option<i64> = self
            .sql
            .prepare_cached("SELECT ino FROM items WHERE id = ?1 AND ino <> 1")?
            .query_row([&key], |row| row.get(0))
            .optional()?;
        let mut stack: Vec<i64> = found.into_iter().collect();
        while let Some(ino) = stack.pop() {
            let row = by_ino(self.sql, self.drive, Ino(ino as u64))?;
            let below: Vec<i64> = self
                .sql
                .prepare_cached("SELECT ino FROM items WHERE parent = ?1 AND ino <> 1")?
                .query_map([ino], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            stack.extend(below);
            self.sql.prepare_cached("DELETE FROM items WHERE ino = ?1")?.execute([ino])?;
            if let Some(row) = row {
                if row.kind == ItemKind::Folder {
                    self.sql
                        .prepare_cached("INSERT OR REPLACE INTO gone(ino, parent, name) VALUES(?1, ?2, ?3)")?
                        .execute(params![ino, row.parent.0 as i64, row.name])?;
                }
                self.notices.push(Notice { ino: row.ino, parent: row.parent, name: row.name, what: What::Removed });
            }
        }
        Ok(())
    }

    /// Marks whether every child of a folder is known.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn set_complete(&mut self, ino: Ino, complete: bool) -> IndexResult<()> {
        self.sql
            .prepare_cached("UPDATE items SET complete = ?2 WHERE ino = ?1")?
            .execute(params![ino.0 as i64, complete])?;
        Ok(())
    }

    /// Marks every folder as completely known: the whole drive was enumerated.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn set_all_complete(&mut self) -> IndexResult<()> {
        self.sql.execute("UPDATE items SET complete = 1 WHERE kind = 1 AND link_to IS NULL", [])?;
        Ok(())
    }

    /// Every identity that has a place, for comparing with an enumeration.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn all_ids(&self) -> IndexResult<Vec<ItemId>> {
        let mut statement = self.sql.prepare_cached("SELECT id FROM items WHERE parent <> 0 AND ino <> 1")?;
        let keys = statement.query_map([], |row| row.get::<_, String>(0))?;
        Ok(keys.map(|key| key.map(|key| super::id_of(self.drive, key))).collect::<Result<_, _>>()?)
    }

    /// Stores or clears a single value; the names are in [`super::meta`].
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn set_meta(&mut self, key: &str, value: Option<&str>) -> IndexResult<()> {
        Ok(set_meta(self.sql, key, value)?)
    }

    /// Remembers that we have just changed an item ourselves: until then the stream of changes may still show
    /// the state before, and such a report is to be ignored. `stale` is the tag of that state; `gone` says
    /// that we deleted the item.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn expect_echo(&mut self, id: &ItemId, stale: &MetaTag, gone: bool, until: Timestamp) -> IndexResult<()> {
        self.sql
            .prepare_cached(
                "INSERT INTO echoes(id, stale_tag, gone, until) VALUES(?1, ?2, ?3, ?4)
                 ON CONFLICT(id) DO UPDATE SET stale_tag = ?2, gone = ?3, until = ?4",
            )?
            .execute(params![key_of(self.drive, id), stale.0, gone, until.0])?;
        Ok(())
    }

    /// Whether a reported state is one that we have overtaken ourselves (see [`Txn::expect_echo`]).
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn is_stale_echo(&mut self, id: &ItemId, tag: &MetaTag, now: Timestamp) -> IndexResult<bool> {
        let found: Option<(String, bool, i64)> = self
            .sql
            .prepare_cached("SELECT stale_tag, gone, until FROM echoes WHERE id = ?1")?
            .query_row([key_of(self.drive, id)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        Ok(found.is_some_and(|(stale, _, until)| until > now.0 && stale == tag.0 && !stale.is_empty()))
    }

    /// Items that we have deleted ourselves so recently that the service may still report them as living.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn deleted_here(&self, now: Timestamp) -> IndexResult<Vec<ItemId>> {
        let mut statement = self.sql.prepare_cached("SELECT id FROM echoes WHERE gone AND until > ?1")?;
        let keys = statement.query_map([now.0], |row| row.get::<_, String>(0))?;
        Ok(keys.map(|key| key.map(|key| super::id_of(self.drive, key))).collect::<Result<_, _>>()?)
    }

    /// Takes an expectation back: the item was seen to be otherwise.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn forget_echo(&mut self, id: &ItemId) -> IndexResult<()> {
        self.sql.prepare_cached("DELETE FROM echoes WHERE id = ?1")?.execute([key_of(self.drive, id)])?;
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
