//! What changes a drive: create, replace, rename, move, delete, restore.
//!
//! Each operation checks everything before it changes anything, so a refusal leaves no trace; each one
//! that succeeds moves the eTag of exactly the items it is about and puts them into the change log.
//! The tests' "other device" and the HTTP routes both come through here.

use super::content::Content;
use super::drive::{Body, ClientTimes, Conflict, Drive, DriveError, Item, Version};
use super::ident::{Index, ROOT};
use super::names;
use crate::base::clock::Timestamp;

/// Versions kept beside the current one.
const VERSIONS_KEPT: usize = 500;

/// A rename, a move, or both, and what may come with them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relocation {
    pub(crate) parent: Option<Index>,
    pub(crate) name: Option<String>,
}

/// Whether a write made an item or found one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Written {
    pub(crate) index: Index,
    pub(crate) created: bool,
}

impl Drive {
    /// Adds an item under a free name. The caller has checked the name.
    fn add(&mut self, parent: Index, name: &str, body: Body, times: ClientTimes, now: Timestamp) -> Index {
        let index = self.items.len() as Index;
        let position = self.log.len() as u32;
        let bytes = match &body {
            Body::File(content) => content.size(),
            _ => 0,
        };
        self.items.push(Item {
            name: Some(name.into()),
            body,
            parent,
            changed: position,
            etag: 1,
            ctag: 1,
            deletion: 0,
            times: ClientTimes { created: self.kept(times.created), modified: self.kept(times.modified) },
            created: self.kept(now),
            modified: self.kept(now),
            extras: None,
        });
        self.attach(index);
        self.relog(index, now);
        self.account(index, bytes, 0);
        index
    }

    fn free_name(&self, parent: Index, name: &str) -> Result<String, DriveError> {
        for number in 1.. {
            let candidate = names::numbered(name, number);
            if self.child(parent, &candidate)?.is_none() {
                return Ok(candidate);
            }
        }
        Err(DriveError::Taken)
    }

    /// Creates a folder, or returns the existing one when `conflict` is `Replace`.
    pub(crate) fn make_folder(
        &mut self,
        parent: Index,
        name: &str,
        conflict: Conflict,
        times: ClientTimes,
        now: Timestamp,
    ) -> Result<Written, DriveError> {
        self.folder(parent)?;
        self.check_name(parent, name, true)?;
        let mut name = name.to_owned();
        if let Some(existing) = self.child(parent, &name)? {
            match conflict {
                Conflict::Fail => return Err(DriveError::Taken),
                Conflict::Replace if self.folder(existing).is_ok() => {
                    return Ok(Written { index: existing, created: false });
                }
                Conflict::Replace => return Err(DriveError::Taken),
                Conflict::Rename => name = self.free_name(parent, &name)?,
            }
        }
        let index = self.add(parent, &name, Body::Folder(Box::default()), times, now);
        Ok(Written { index, created: true })
    }

    /// Adds something that is neither file nor folder, for tests.
    pub(crate) fn make_odd(
        &mut self,
        parent: Index,
        name: &str,
        body: Body,
        now: Timestamp,
    ) -> Result<Index, DriveError> {
        if self.child(parent, name)?.is_some() {
            return Err(DriveError::Taken);
        }
        Ok(self.add(parent, name, body, ClientTimes { created: now, modified: now }, now))
    }

    /// Whether content of this size may come to be under this name, and which file it would replace.
    pub(crate) fn may_write(
        &self,
        parent: Index,
        name: &str,
        size: u64,
        conflict: Conflict,
    ) -> Result<Option<Index>, DriveError> {
        self.folder(parent)?;
        self.check_name(parent, name, false)?;
        let existing = self.child(parent, name)?;
        if let Some(existing) = existing {
            match conflict {
                Conflict::Fail => return Err(DriveError::Taken),
                Conflict::Replace => self.may_replace(existing, size)?,
                Conflict::Rename => {}
            }
        }
        let freed = match (existing, conflict) {
            (Some(existing), Conflict::Replace) => self.weight(existing),
            _ => 0,
        };
        if self.used.saturating_sub(freed).saturating_add(size) > self.total {
            return Err(DriveError::Full);
        }
        Ok(existing)
    }

    /// Whether an existing item may get content of this size.
    pub(crate) fn may_replace(&self, index: Index, size: u64) -> Result<(), DriveError> {
        let item = self.item(index)?;
        if !matches!(item.body, Body::File(_)) {
            return Err(DriveError::Taken);
        }
        if item.extras.as_ref().is_some_and(|extras| extras.locked) {
            return Err(DriveError::Locked);
        }
        if self.used.saturating_sub(self.weight(index)).saturating_add(size) > self.total {
            return Err(DriveError::Full);
        }
        Ok(())
    }

    /// Creates or replaces a file by name.
    pub(crate) fn write_named(
        &mut self,
        parent: Index,
        name: &str,
        content: Content,
        conflict: Conflict,
        times: ClientTimes,
        now: Timestamp,
    ) -> Result<Written, DriveError> {
        match (self.may_write(parent, name, content.size(), conflict)?, conflict) {
            (Some(existing), Conflict::Replace) => {
                self.replace(existing, content, times, now)?;
                Ok(Written { index: existing, created: false })
            }
            (Some(_), _) => {
                let name = self.free_name(parent, name)?;
                Ok(Written { index: self.add(parent, &name, Body::File(content), times, now), created: true })
            }
            (None, _) => Ok(Written { index: self.add(parent, name, Body::File(content), times, now), created: true }),
        }
    }

    /// Adds a file whether or not its name is taken: drives of the Live era could hold two children of one name.
    pub(crate) fn add_beside(
        &mut self,
        parent: Index,
        name: &str,
        content: Content,
        now: Timestamp,
    ) -> Result<Index, DriveError> {
        self.folder(parent)?;
        self.check_name(parent, name, false)?;
        if self.used.saturating_add(content.size()) > self.total {
            return Err(DriveError::Full);
        }
        Ok(self.add(parent, name, Body::File(content), ClientTimes { created: now, modified: now }, now))
    }

    /// Gives an existing file new content; the old becomes a version. The created time stays unless
    /// the client set it.
    pub(crate) fn replace(
        &mut self,
        index: Index,
        content: Content,
        times: ClientTimes,
        now: Timestamp,
    ) -> Result<(), DriveError> {
        self.may_replace(index, content.size())?;
        self.keep_stale(index);
        self.push_version(index)?;
        let times = ClientTimes { created: self.kept(times.created), modified: self.kept(times.modified) };
        let (old, new) = (self.weight(index), content.size());
        let modified = self.kept(now);
        let item = self.item_mut(index)?;
        item.body = Body::File(content);
        item.times = times;
        item.modified = modified;
        item.ctag += 1;
        if let Some(extras) = &mut item.extras {
            extras.claimed_size = None;
        }
        self.touch(index, now);
        self.account(index, new, old);
        Ok(())
    }

    fn push_version(&mut self, index: Index) -> Result<(), DriveError> {
        let item = self.item(index)?;
        let (modified, ctag, content) = (item.modified, item.ctag, self.content(index)?.clone());
        let versions = &mut self.extras_mut(index)?.versions;
        let number = versions.last().map_or(1, |version| version.number + 1);
        versions.push(Version { number, ctag, content, modified });
        if versions.len() > VERSIONS_KEPT {
            versions.remove(0);
        }
        Ok(())
    }

    /// Sets the client's times. On work drives this makes a version, as it does on the service
    /// (onedrive-api-docs issue 877).
    pub(crate) fn set_times(&mut self, index: Index, times: ClientTimes, now: Timestamp) -> Result<(), DriveError> {
        self.item(index)?;
        self.keep_stale(index);
        if !self.flavour().is_personal() && self.content(index).is_ok() {
            self.push_version(index)?;
        }
        let times = ClientTimes { created: self.kept(times.created), modified: self.kept(times.modified) };
        let modified = self.kept(now);
        let item = self.item_mut(index)?;
        item.times = times;
        item.modified = modified;
        self.touch(index, now);
        Ok(())
    }

    /// Moves the tags without a change of bytes, as the service does after it looked into a file.
    pub(crate) fn drift(&mut self, index: Index, now: Timestamp) -> Result<(), DriveError> {
        self.keep_stale(index);
        self.item_mut(index)?.ctag += 1;
        self.touch(index, now);
        Ok(())
    }

    /// Renames, moves, or both. Returns whether anything changed.
    pub(crate) fn relocate(
        &mut self,
        index: Index,
        to: &Relocation,
        conflict: Conflict,
        now: Timestamp,
    ) -> Result<bool, DriveError> {
        let item = self.item(index)?;
        if index == ROOT {
            return Err(DriveError::Root);
        }
        if item.extras.as_ref().is_some_and(|extras| extras.locked) {
            return Err(DriveError::Locked);
        }
        let parent = to.parent.unwrap_or(item.parent);
        let mut name = to.name.clone().unwrap_or_else(|| self.name(index).into_owned());
        if parent == item.parent && name == self.name(index) {
            return Ok(false);
        }
        self.folder(parent)?;
        if self.is_within(parent, index) {
            return Err(DriveError::Cycle);
        }
        let folder = matches!(item.body, Body::Folder(_));
        self.check_name(parent, &name, folder)?;
        if let Some(other) = self.child(parent, &name)?.filter(|&other| other != index) {
            match conflict {
                Conflict::Fail => return Err(DriveError::Taken),
                Conflict::Rename => name = self.free_name(parent, &name)?,
                Conflict::Replace => {
                    let both_files = self.content(other).is_ok() && self.content(index).is_ok();
                    if !both_files || !self.rename_replaces {
                        return Err(DriveError::Taken);
                    }
                    self.remove(other, now)?;
                }
            }
        }
        self.keep_stale(index);
        let bytes = self.weight(index);
        self.account(index, 0, bytes);
        self.detach(index);
        let (position, from) = (self.log.len() as u32, self.items[index as usize].parent);
        if from != parent {
            self.moves.push((position, index, from));
        }
        let touched = self.renames_touch;
        let item = self.item_mut(index)?;
        item.parent = parent;
        item.name = Some(name.into());
        if touched {
            item.modified = now;
        }
        self.attach(index);
        self.account(index, bytes, 0);
        self.touch(index, now);
        Ok(true)
    }

    /// Deletes an item and all below it into the recycle bin.
    ///
    /// Work drives log the top only, personal drives every item: their delta lists the descendants.
    pub(crate) fn remove(&mut self, index: Index, now: Timestamp) -> Result<(), DriveError> {
        self.item(index)?;
        if index == ROOT {
            return Err(DriveError::Root);
        }
        let subtree = self.subtree(index);
        let locked = |&i: &Index| self.items[i as usize].extras.as_ref().is_some_and(|extras| extras.locked);
        if subtree.iter().any(locked) {
            return Err(DriveError::Locked);
        }
        let bytes = self.weight(index);
        self.account(index, 0, bytes);
        self.deleted_bytes += bytes;
        self.detach(index);
        self.deletions += 1;
        let lost = self.tombstones_to_lose > 0;
        self.tombstones_to_lose = self.tombstones_to_lose.saturating_sub(1);
        let personal = self.flavour().is_personal();
        for &item in &subtree {
            self.keep_stale(item);
            self.items[item as usize].deletion = self.deletions;
            if lost {
                // No log position names it any more, so no delta shows it.
                self.items[item as usize].changed = u32::MAX;
            } else if item == index || personal {
                self.touch(item, now);
            } else {
                self.items[item as usize].changed = u32::MAX;
            }
        }
        self.recycle_bin.push(index);
        Ok(())
    }

    /// Takes a deleted item, and all that was deleted with it, back to a folder.
    pub(crate) fn restore(
        &mut self,
        index: Index,
        parent: Option<Index>,
        name: Option<&str>,
        now: Timestamp,
    ) -> Result<(), DriveError> {
        let at = self.recycle_bin.iter().position(|&top| top == index).ok_or(DriveError::Missing)?;
        let parent = parent.unwrap_or(self.items[index as usize].parent);
        let name = name.map_or_else(|| self.name(index).into_owned(), str::to_owned);
        self.check_name(parent, &name, false)?;
        if self.child(parent, &name)?.is_some() {
            return Err(DriveError::Taken);
        }
        let bytes = self.weight(index);
        if self.used.saturating_add(bytes) > self.total {
            return Err(DriveError::Full);
        }
        self.recycle_bin.remove(at);
        let deletion = self.items[index as usize].deletion;
        for item in self.subtree(index) {
            if self.items[item as usize].deletion == deletion {
                self.items[item as usize].deletion = 0;
                self.touch(item, now);
            }
        }
        self.items[index as usize].parent = parent;
        self.items[index as usize].name = Some(name.into());
        self.attach(index);
        self.account(index, bytes, 0);
        self.deleted_bytes = self.deleted_bytes.saturating_sub(bytes);
        Ok(())
    }

    /// Copies an item and all below it.
    pub(crate) fn copy(
        &mut self,
        index: Index,
        parent: Index,
        name: &str,
        conflict: Conflict,
        now: Timestamp,
    ) -> Result<Index, DriveError> {
        let body = self.item(index)?.body.clone();
        let times = ClientTimes { created: now, modified: now };
        match body {
            Body::File(content) => Ok(self.write_named(parent, name, content, conflict, times, now)?.index),
            Body::Folder(folder) => {
                if self.is_within(parent, index) {
                    return Err(DriveError::Cycle);
                }
                if self.used.saturating_add(folder.bytes) > self.total {
                    return Err(DriveError::Full);
                }
                let top = self.make_folder(parent, name, conflict, times, now)?.index;
                for child in folder.children {
                    let name = self.name(child).into_owned();
                    self.copy(child, top, &name, Conflict::Replace, now)?;
                }
                Ok(top)
            }
            _ => Err(DriveError::NotFile),
        }
    }
}

impl Drive {
    /// Empties a deleted item out of the recycle bin; its bytes are gone, its tombstone stays.
    pub(crate) fn purge(&mut self, index: Index) {
        let Some(at) = self.recycle_bin.iter().position(|&top| top == index) else { return };
        self.recycle_bin.remove(at);
        self.deleted_bytes = self.deleted_bytes.saturating_sub(self.weight(index));
        for item in self.subtree(index) {
            let item = &mut self.items[item as usize];
            item.extras = None;
            if let Body::File(content) = &mut item.body {
                *content = Content::from_bytes(Vec::new());
            }
        }
    }
}
