//! The one transaction type through which the item rows change.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Transaction, params};

use super::find::{by_id, by_ino, children, held};
use super::namesakes::{Aside, Wanted};
use super::packed::{Packed, PackedTime, fold_sum, pack, unpack};
use super::stored::{damaged, id_of, insert_bare, key_of, packed_key, row_sum, sum_change};
use super::{IndexResult, NOWHERE, Notice, Row, What, meta, namesakes};
use crate::base::clock::Timestamp;
use crate::base::ids::{DriveId, Ino, InoSource, ItemId};
use crate::base::name::fold;
use crate::remote::{Item, ItemKind};

/// A transaction under way.
pub struct Txn<'a> {
    pub(super) sql: &'a Transaction<'a>,
    pub(super) drive: &'a DriveId,
    inos: &'a dyn InoSource,
    /// Two items of a folder can have one name, and where the journal wants items.
    pub(super) namesakes: Option<&'a Wanted>,
    /// Who may stand aside for a namesake, in each folder of which that was asked.
    pub(super) aside: HashMap<Ino, Aside>,
    pub(super) notices: Vec<Notice>,
    /// Rows added, less those removed.
    grown: i64,
    /// The folder that was looked up last, with its inode: items come folder by folder.
    last_folder: Option<(ItemId, Ino)>,
    /// Whether any of our own changes is remembered; looked up once.
    pub(super) echoes: Option<bool>,
    /// Folders whose new place was in themselves.
    refused: Vec<ItemId>,
}

impl<'a> Txn<'a> {
    pub(super) fn new(
        sql: &'a Transaction<'a>,
        drive: &'a DriveId,
        inos: &'a dyn InoSource,
        namesakes: Option<&'a Wanted>,
    ) -> Self {
        let (aside, notices, refused) = (HashMap::new(), Vec::new(), Vec::new());
        Self { sql, drive, inos, namesakes, aside, notices, grown: 0, last_folder: None, echoes: None, refused }
    }

    /// Folders that stayed where they were, because the place that was said of them is in themselves: what makes that
    /// true has not been heard of yet. Each is named once.
    pub fn take_refused(&mut self) -> Vec<ItemId> {
        std::mem::take(&mut self.refused)
    }

    /// What the transaction means for those who watch, and by how many rows the index has grown.
    pub(super) fn finish(self) -> IndexResult<(Vec<Notice>, i64)> {
        if self.grown != 0
            && let Some(count) = meta::stored(self.sql, meta::COUNT)?.and_then(|count| count.parse::<i64>().ok())
        {
            meta::store(self.sql, meta::COUNT, Some(&(count + self.grown).to_string()))?;
        }
        Ok((self.notices, self.grown))
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

    /// Whether an inode stands for this identity, be its place known or not.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn holds(&self, id: &ItemId) -> IndexResult<bool> {
        Ok(self.holder(&packed_key(self.drive, id))?.is_some())
    }

    /// The inode number of an identity; a new one, without a place, if it was never heard of.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn ino_of(&mut self, id: &ItemId) -> IndexResult<Ino> {
        let key = packed_key(self.drive, id);
        if let Some(ino) = self.holder(&key)? {
            return Ok(ino);
        }
        let ino = self.inos.next_ino();
        self.reserve(ino, id, &key)?;
        Ok(ino)
    }

    /// As [`Txn::ino_of`], for the folder of an item.
    fn folder_of(&mut self, id: &ItemId) -> IndexResult<Ino> {
        if let Some((last, ino)) = &self.last_folder
            && last == id
        {
            return Ok(*ino);
        }
        let ino = self.ino_of(id)?;
        self.last_folder = Some((id.clone(), ino));
        Ok(ino)
    }

    /// The inode number that stands for an identity, with a place or without.
    fn holder(&self, key: &Packed) -> IndexResult<Option<Ino>> {
        let ino: Option<i64> = self
            .sql
            .prepare_cached("SELECT ino FROM items WHERE id_sum = ?2 AND id = ?1")?
            .query_row(params![key, key.sum()], |row| row.get(0))
            .optional()?;
        Ok(ino.map(|ino| Ino(ino as u64)))
    }

    fn reserve(&mut self, ino: Ino, id: &ItemId, key: &Packed) -> IndexResult<()> {
        insert_bare(self.sql, ino, &key_of(self.drive, id), key)?;
        self.grown += 1;
        Ok(())
    }

    /// Makes an inode number stand for an identity, taking it from whichever held it; those who watch hear of it as of a
    /// move that leads nowhere.
    ///
    /// This is how a file that was saved under a temporary name takes over the item it replaced.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn bind(&mut self, ino: Ino, id: &ItemId) -> IndexResult<()> {
        let key = packed_key(self.drive, id);
        let holder = self.holder(&key)?;
        if holder == Some(ino) {
            return Ok(());
        }
        self.last_folder = None;
        self.aside.clear();
        self.grown -= self
            .sql
            .prepare_cached("DELETE FROM items WHERE ino = ?1 AND id <> ?2")?
            .execute(params![ino.0 as i64, key])? as i64;
        match holder {
            Some(Ino(old)) => {
                let (nowhere, before) = (Ino(NOWHERE), Ino(old));
                let change = sum_change((before, nowhere, false), (ino, nowhere, false));
                self.sql
                    .prepare_cached("UPDATE items SET ino = ?1, sum = (sum | ?3) - (sum & ?3) WHERE ino = ?2")?
                    .execute([ino.0 as i64, old as i64, change])?;
                let change = sum_change((nowhere, before, false), (nowhere, ino, false));
                self.sql
                    .prepare_cached("UPDATE items SET parent = ?1, sum = (sum | ?3) - (sum & ?3) WHERE parent = ?2")?
                    .execute([ino.0 as i64, old as i64, change])?;
                // Whoever has looked it up knows it by its old number, or does not see it where an intent had that; and
                // what is in it was in a folder of another number.
                for row in self.by_ino(ino)?.into_iter().chain(self.children(ino)?) {
                    let what = What::Moved { from: row.parent, name: row.name.clone() };
                    self.notices.push(Notice { ino: row.ino, parent: row.parent, name: row.name, what });
                }
            }
            None => self.reserve(ino, id, &key)?,
        }
        Ok(())
    }

    /// Like [`Txn::bind`], but an item that held the number gets another instead of vanishing.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn claim(&mut self, ino: Ino, id: &ItemId) -> IndexResult<()> {
        if self.holder(&packed_key(self.drive, id))? == Some(ino) {
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

    /// Like [`Txn::upsert`], with the exact times that this machine has for it: modification and change. The first counts
    /// if the service has the same, to the second.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn upsert_with(&mut self, item: &Item, local: Option<(Timestamp, Timestamp)>) -> IndexResult<Ino> {
        let key = packed_key(self.drive, &item.id);
        let holder = self.holder(&key)?;
        // Its row is written once, at the end, if nothing stands in its way.
        let is_new = holder.is_none() && item.parent.as_ref().is_some_and(|parent| *parent != item.id);
        let ino = match holder {
            Some(ino) => ino,
            None if is_new => self.inos.next_ino(),
            None => self.ino_of(&item.id)?,
        };
        let old = if is_new { None } else { held(self.sql, self.drive, ino)? };
        let complete = old.as_ref().is_some_and(|row| row.complete);
        let old = old.filter(|row| row.parent.0 != NOWHERE || ino == Ino::ROOT);
        let parent = match &item.parent {
            _ if ino == Ino::ROOT => Ino(NOWHERE),
            Some(parent) => self.folder_of(parent)?,
            // An item of another drive may come without its folder; what is known of its place stays.
            None => match &old {
                Some(row) => row.parent,
                None => return Ok(ino),
            },
        };
        // Nothing can lie in what was never heard of.
        let placed_anew = !is_new && ino != Ino::ROOT && old.as_ref().is_none_or(|row| row.parent != parent);
        if placed_anew && self.would_close_a_circle(parent, ino)? {
            tracing::warn!(item = ?item.id, "the service puts a folder into itself; it stays where it was");
            self.refused.push(item.id.clone());
            return Ok(ino);
        }
        let mut modified = item.modified;
        let mut changed = item.modified;
        if let Some((mtime, ctime)) = local {
            changed = ctime;
            if mtime.seconds() == modified.seconds() {
                modified = mtime;
            }
        }
        if local.is_none_or(|(mtime, _)| mtime != modified)
            && let Some(row) = &old
        {
            // The same state with another time: the service cannot be told one, and this machine remembers it.
            let untold = !row.meta_tag.0.is_empty() && row.meta_tag == item.meta_tag;
            if row.modified.seconds() == modified.seconds() || untold && row.content_tag == item.content_tag {
                modified = row.modified;
            }
            if local.is_none() && row.content_tag == item.content_tag && row.modified == modified {
                changed = row.changed;
            }
        }
        // A root that says it is something else would take the whole mount away.
        let (kind, link_to) =
            if ino == Ino::ROOT { (ItemKind::Folder, None) } else { (item.kind, item.link_to.as_ref()) };
        // The name of the root is the service's business; ours is the mount point's.
        let name = if ino == Ino::ROOT { "" } else { item.name.as_str() };
        let shown = namesakes::shown(self, old.as_ref(), &item.id, parent, name)?;
        let name = shown.as_deref().unwrap_or(name);
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
        let content_tag = item.content_tag.as_ref().map(|tag| tag.0.as_str());
        let link_to = link_to.map(|id| key_of(self.drive, id));
        let sum = row_sum(
            (&key_of(self.drive, &item.id), name, &item.meta_tag.0),
            (kind, item.size as i64, modified.0, item.created.0, changed.0),
            (content_tag, link_to.as_deref()),
            (ino, parent, complete),
        );
        let created = (item.created != modified).then_some(PackedTime(item.created));
        let changed = (changed != modified).then_some(PackedTime(changed));
        let id_sum = key.sum();
        let values = params![
            ino.0 as i64,
            key,
            parent.0 as i64,
            fold_sum(name),
            name,
            kind,
            item.size as i64,
            PackedTime(modified),
            created,
            changed,
            pack(&item.meta_tag.0),
            content_tag.map(pack),
            link_to.as_deref().map(pack),
            sum,
            id_sum,
        ];
        // A statement that names no column of an index leaves the indices alone.
        let stays = old.as_ref().is_some_and(|row| row.parent == parent && row.name == name);
        let sql = match (is_new, stays) {
            (true, _) => {
                "INSERT INTO items(ino, id, parent, fold, name, kind, size, modified, created, changed, meta_tag,
                 content_tag, link_to, sum, id_sum, complete)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, 0)"
            }
            (false, false) => {
                "UPDATE items SET parent = ?3, fold = ?4, name = ?5, kind = ?6, size = ?7, modified = ?8, created = ?9,
                 changed = ?10, meta_tag = ?11, content_tag = ?12, link_to = ?13, sum = ?14 WHERE ino = ?1 AND id_sum = ?15"
            }
            (false, true) => {
                "UPDATE items SET kind = ?6, size = ?7, modified = ?8, created = ?9, changed = ?10, meta_tag = ?11,
                 content_tag = ?12, link_to = ?13, sum = ?14 WHERE ino = ?1 AND id_sum = ?15"
            }
        };
        self.sql.prepare_cached(sql)?.execute(values)?;
        self.grown += i64::from(is_new);
        namesakes::note(self, parent, ino, name, &item.id);
        self.notices.push(Notice { ino, parent, name: name.to_owned(), what });
        if moved_content {
            self.notices.push(Notice { ino, parent, name: name.to_owned(), what: What::Content });
        }
        Ok(ino)
    }

    /// Sets the times of an item, modification and change, where the service has the same to the second.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn set_times(&mut self, ino: Ino, times: (Timestamp, Timestamp)) -> IndexResult<()> {
        let Some(row) = self.by_ino(ino)? else { return Ok(()) };
        let parent = self.by_ino(row.parent)?.map(|parent| parent.id);
        let item = Item {
            name: row.plain_name(),
            id: row.id,
            parent,
            kind: row.kind,
            size: row.size,
            modified: row.modified,
            created: row.created,
            meta_tag: row.meta_tag,
            content_tag: row.content_tag,
            link_to: row.link_to,
        };
        self.upsert_with(&item, Some(times)).map(drop)
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
    /// yet. It keeps its inode, without a place, until we do. Where two can have one name, it is shown under another.
    ///
    /// Mostly it has gone, and that is told next. Where it was is not known any more by then, so it is remembered now for
    /// those who still need the folder; nobody asks for as long as the inode stands for something.
    fn displace(&mut self, parent: Ino, name: &str, by: Ino) -> IndexResult<()> {
        let wanted = fold(name);
        let squatters: Vec<(i64, String, bool)> = self
            .sql
            .prepare_cached("SELECT ino, name, kind = 1 FROM items WHERE parent = ?1 AND fold = ?2 AND ino <> ?3")?
            .query_map([parent.0 as i64, fold_sum(name), by.0 as i64], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .filter(|found| found.as_ref().map_or(true, |(_, name, _): &(i64, String, bool)| fold(name) == wanted))
            .collect::<Result<_, _>>()?;
        for (ino, name, is_folder) in squatters {
            if self.namesakes.is_some() {
                namesakes::step_aside(self, Ino(ino as u64))?;
                continue;
            }
            if is_folder {
                self.note_gone(Ino(ino as u64), parent, &name)?;
            }
            let (before, nowhere) = (Ino(ino as u64), Ino(NOWHERE));
            let change = sum_change((before, parent, false), (before, nowhere, false));
            self.sql
                .prepare_cached("UPDATE items SET parent = ?2, sum = (sum | ?3) - (sum & ?3) WHERE ino = ?1")?
                .execute([ino, NOWHERE as i64, change])?;
            // That it is gone would be too much: a folder that the kernel has heard that of stays empty for everybody.
            let what = What::Moved { from: parent, name: name.clone() };
            self.notices.push(Notice { ino: Ino(ino as u64), parent: Ino(NOWHERE), name, what });
        }
        Ok(())
    }

    /// Forgets an item and everything below it. Unknown ids are fine. Where its folders were is remembered for those
    /// who still need them; see [`Index::gone`](super::Index::gone).
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn remove(&mut self, id: &ItemId) -> IndexResult<()> {
        let found = self.holder(&packed_key(self.drive, id))?.filter(|ino| *ino != Ino::ROOT);
        self.last_folder = None;
        // Whoever says that it has gone has seen it, and what was in it: that is not to be waited for.
        self.forget_newborn(id)?;
        let mut stack: Vec<i64> = found.into_iter().map(|ino| ino.0 as i64).collect();
        // Only of the topmost: what stood aside below it goes, too.
        let mut freed = None;
        while let Some(ino) = stack.pop() {
            let row = by_ino(self.sql, self.drive, Ino(ino as u64))?;
            let below: Vec<i64> = self
                .sql
                .prepare_cached("SELECT ino FROM items WHERE parent = ?1 AND ino <> 1")?
                .query_map([ino], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            stack.extend(below);
            self.grown -= self.sql.prepare_cached("DELETE FROM items WHERE ino = ?1")?.execute([ino])? as i64;
            if let Some(row) = row {
                if row.kind == ItemKind::Folder {
                    // Under the name that the service had it under: it may have stood aside for what took its place.
                    self.note_gone(row.ino, row.parent, &row.plain_name())?;
                }
                if found == Some(row.ino) {
                    freed = Some((row.parent, row.name.clone()));
                } else {
                    self.forget_newborn(&row.id)?;
                }
                self.notices.push(Notice { ino: row.ino, parent: row.parent, name: row.name, what: What::Removed });
            } else {
                // Nobody sees it. But there may be unsent work in it, which has to be seen.
                let (parent, name) = (Ino(NOWHERE), String::new());
                self.notices.push(Notice { ino: Ino(ino as u64), parent, name, what: What::Removed });
            }
        }
        match freed {
            Some((parent, name)) => namesakes::come_back(self, parent, &name),
            None => Ok(()),
        }
    }

    /// Marks whether every child of a folder is known.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn set_complete(&mut self, ino: Ino, complete: bool) -> IndexResult<()> {
        let change = sum_change((ino, Ino(NOWHERE), !complete), (ino, Ino(NOWHERE), complete));
        self.sql
            .prepare_cached(
                "UPDATE items SET complete = ?2, sum = (sum | ?3) - (sum & ?3) WHERE ino = ?1 AND complete <> ?2",
            )?
            .execute(params![ino.0 as i64, complete, change])?;
        Ok(())
    }

    /// Marks every folder as completely known: the whole drive was enumerated. What has no place may get one that nobody
    /// has listed.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn set_all_complete(&mut self) -> IndexResult<()> {
        let change = sum_change((Ino::ROOT, Ino(NOWHERE), false), (Ino::ROOT, Ino(NOWHERE), true));
        self.sql.execute(
            "UPDATE items SET complete = 1, sum = (sum | ?1) - (sum & ?1)
             WHERE kind = 1 AND complete = 0 AND link_to IS NULL AND (parent <> 0 OR ino = 1)",
            [change],
        )?;
        Ok(())
    }

    /// The identities for which `wanted` says so of those that have a place, or had one until another took their name, for
    /// comparing with an enumeration: of a million only the few that are wanted are ever in memory.
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn ids_where(&self, wanted: impl Fn(&ItemId) -> bool) -> IndexResult<Vec<ItemId>> {
        let mut statement =
            self.sql.prepare_cached("SELECT id FROM items WHERE (parent <> 0 OR name <> '') AND ino <> 1")?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let key = unpack(row.get_ref(0)?).ok_or_else(damaged)?;
            found.extend(Some(id_of(self.drive, key)).filter(&wanted));
        }
        Ok(found)
    }

    /// Stores or clears a single value; the names are in [`super::meta`].
    ///
    /// # Errors
    ///
    /// See [`Txn::by_id`].
    pub fn set_meta(&mut self, key: &str, value: Option<&str>) -> IndexResult<()> {
        Ok(meta::store(self.sql, key, value)?)
    }
}
