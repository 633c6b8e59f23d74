//! Operations on names: lookup, listing, making, removing, renaming.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::names::{Admitted, for_lookup, shown};
use super::tree::Seen;
use super::{
    Attributes, DirEntry, Entry, KernelNotice, Listing, NodeKind, OpenHow, Opened, RenameHow, Snapshot, Stamp, Volume,
    VolumeError, VolumeResult, locked,
};
use crate::base::ids::{Fh, Ino};

impl Volume {
    /// Counts a lookup that the kernel will forget.
    pub fn count_lookup(&self, ino: Ino) {
        locked(&self.lookups).add(ino);
    }

    /// The kernel forgot an inode `count` times.
    pub fn forget(&self, ino: Ino, count: u64) {
        if locked(&self.lookups).remove(ino, count) {
            locked(&self.open).forget_pages(ino);
            locked(&self.generations).remove(&ino);
        }
    }

    fn writable_folder(&self, ino: Ino) -> VolumeResult<Seen> {
        let folder = self.see(ino)?.folder()?;
        if self.settings.read_only || folder.foreign {
            return Err(VolumeError::ReadOnly);
        }
        if folder.closed {
            return Err(VolumeError::Denied("OneDrive does not let programs into this folder".into()));
        }
        if folder.links == 0 {
            return Err(VolumeError::NotFound);
        }
        Ok(folder)
    }

    /// The entry of a name, its spelling compared exactly.
    ///
    /// # Errors
    ///
    /// [`VolumeError`]; that the name does not exist is an answer, not an error.
    pub async fn lookup(&self, parent: Ino, name: &OsStr) -> VolumeResult<Entry> {
        let folder = self.see(parent)?.folder()?;
        if folder.closed {
            return Err(VolumeError::Denied("OneDrive does not let programs into this folder".into()));
        }
        let absent = Entry::Absent { ttl: self.ttl() };
        let Some(remote) = for_lookup(name)? else { return Ok(absent) };
        self.ensure_listed(parent).await?;
        match self.child(parent, &remote)? {
            Some(seen) if shown(&seen.name) == name => {
                let attributes = self.attributes(&seen);
                self.count_lookup(seen.ino);
                Ok(Entry::Found { attributes, ttl: self.ttl() })
            }
            _ => Ok(absent),
        }
    }

    /// The entries of a listing from a position on, at most `most`, with attributes of this moment and the position
    /// after each. Empty means the end. A program must see every name that is there all the time, and the kernel must not
    /// hear of one that is not:
    ///
    /// | since the listing was taken, what had the name | the entry |
    /// | --- | --- |
    /// | has it still | as it is now |
    /// | went, or has another name or place, and something else has the name (a file was saved by renaming) | that |
    /// | the same, and nothing has it | is left out |
    ///
    /// # Errors
    ///
    /// [`VolumeError`]; that an entry has gone is an answer, not an error.
    pub fn entries_now(
        &self,
        folder: Ino,
        listing: &Listing,
        from: usize,
        most: usize,
    ) -> VolumeResult<Vec<(OsString, usize, Attributes)>> {
        let mut entries = Vec::with_capacity(most.min(listing.len()));
        let (stands, ttl) = (listing.stamp == self.stamp(), self.ttl());
        for (at, entry) in listing.iter().enumerate().skip(from) {
            // What the kernel is told of an open file depends on who has it open.
            let is_steady = entry.steady && !locked(&self.open).is_open(entry.attributes.ino);
            let attributes = match stands && is_steady {
                true => Some(Attributes { ttl, ..entry.attributes }),
                false => self.still_in(folder, &entry.name, entry.attributes.ino)?,
            };
            entries.extend(attributes.map(|attributes| (entry.name.clone(), at + 1, attributes)));
            if entries.len() == most {
                break;
            }
        }
        Ok(entries)
    }

    /// The attributes of what stands in this folder under this name now: most likely what did.
    fn still_in(&self, folder: Ino, name: &OsStr, ino: Ino) -> VolumeResult<Option<Attributes>> {
        let absent = |error| if matches!(error, VolumeError::NotFound) { Ok(None) } else { Err(error) };
        let is_special = name == "." || name == "..";
        let is_placed = |seen: &Seen| {
            seen.links > 0
                && seen.parent == folder
                && shown(&seen.name) == name
                && !seen.row.as_ref().is_some_and(|row| self.is_covered(row))
        };
        let seen = match self.see(ino).map(Some).or_else(absent)? {
            Some(seen) if is_special || is_placed(&seen) => Some(seen),
            None if is_special => None,
            _ => self.named(folder, name).map(Some).or_else(absent)?,
        };
        Ok(seen.map(|seen| self.attributes(&seen)))
    }

    fn snapshot(&self, ino: Ino) -> VolumeResult<Snapshot> {
        let stamp = self.stamp();
        if let Some(listing) = locked(&self.listings).get(ino).filter(|listing| listing.stamp == stamp) {
            return Ok(listing.clone());
        }
        let listing = self.take_listing(ino, stamp)?;
        locked(&self.listings).put(ino, listing.clone());
        Ok(listing)
    }

    fn take_listing(&self, folder: Ino, stamp: Stamp) -> VolumeResult<Snapshot> {
        let folder = self.see(folder)?;
        if folder.links == 0 {
            return Ok(Arc::default());
        }
        let children = self.children(folder.ino)?;
        let mut entries = Vec::with_capacity(children.len() + 2);
        let parent = if folder.ino == Ino::ROOT { None } else { self.see(folder.parent).ok() };
        let above = parent.as_ref().unwrap_or(&folder);
        let mut add = |name, seen: &Seen| {
            entries.push(DirEntry { name, attributes: self.attributes(seen), steady: seen.row.is_some() });
        };
        add(OsString::from("."), &folder);
        add(OsString::from(".."), above);
        for child in &children {
            add(shown(&child.name), child);
        }
        Ok(Arc::new(Listing { entries, stamp }))
    }

    /// Opens a folder; the listing is taken now.
    ///
    /// # Errors
    ///
    /// [`VolumeError::Offline`] if it was never listed and cannot be now.
    pub async fn open_dir(&self, ino: Ino) -> VolumeResult<Fh> {
        let folder = self.see(ino)?.folder()?;
        if folder.closed {
            return Err(VolumeError::Denied("OneDrive does not let programs into this folder".into()));
        }
        self.in_use();
        self.ensure_listed(ino).await?;
        let snapshot = self.snapshot(ino)?;
        Ok(self.register_dir(ino, snapshot))
    }

    /// The listing of an open folder. `rewind` takes a new one, as reading from the start must show what has
    /// changed; the first read after opening keeps the one that was just taken.
    ///
    /// # Errors
    ///
    /// [`VolumeError::BadHandle`]
    pub async fn read_dir(&self, ino: Ino, fh: Fh, rewind: bool) -> VolumeResult<Snapshot> {
        let handle = self.dir_handle(fh)?;
        if handle.ino != ino {
            return Err(VolumeError::BadHandle);
        }
        if rewind && !handle.unread.swap(false, Ordering::Relaxed) {
            let fresh = self.snapshot(ino)?;
            *locked(&handle.snapshot) = Some(fresh.clone());
            return Ok(fresh);
        }
        locked(&handle.snapshot).clone().ok_or(VolumeError::BadHandle)
    }

    /// Makes a folder.
    ///
    /// # Errors
    ///
    /// [`VolumeError`]
    pub async fn make_folder(&self, parent: Ino, name: &OsStr, mode: u32) -> VolumeResult<Attributes> {
        self.writable_folder(parent)?;
        let admitted = self.admit(parent, name, true)?;
        self.ensure_listed(parent).await?;
        let ino = {
            let _names = self.name_lock();
            self.writable_folder(parent)?;
            if self.child(parent, &admitted.remote)?.is_some() {
                return Err(VolumeError::Exists);
            }
            self.journal.create_folder(parent, &admitted.remote)?
        };
        self.initial_mode(ino, NodeKind::Folder, mode)?;
        self.touch_folder(parent);
        self.count_lookup(ino);
        self.getattr(ino).await
    }

    /// Makes and opens a file.
    ///
    /// # Errors
    ///
    /// [`VolumeError::Exists`] if a name that is the same without case exists, or the same name and `how` asks
    /// for a new one.
    pub async fn create(
        &self,
        parent: Ino,
        name: &OsStr,
        mode: u32,
        how: OpenHow,
    ) -> VolumeResult<(Attributes, Opened)> {
        self.writable_folder(parent)?;
        let admitted = self.admit(parent, name, false)?;
        self.ensure_listed(parent).await?;
        self.check_room(0)?;
        let made = {
            let _names = self.name_lock();
            self.writable_folder(parent)?;
            match self.child(parent, &admitted.remote)? {
                Some(seen) if how.exclusive || shown(&seen.name) != name => return Err(VolumeError::Exists),
                Some(seen) => Err(seen.file()?),
                None => Ok(self.journal.create_file(parent, &admitted.remote, admitted.local_only)?),
            }
        };
        let ino = match made {
            Ok(ino) => {
                self.initial_mode(ino, NodeKind::File, mode)?;
                self.touch_folder(parent);
                ino
            }
            // It appeared elsewhere since the kernel looked: open(O_CREAT) opens it.
            Err(seen) => seen.ino,
        };
        let opened = self.open_now(ino, how)?;
        self.count_lookup(ino);
        Ok((self.getattr(ino).await?, opened))
    }

    /// Makes an empty file without opening it.
    ///
    /// # Errors
    ///
    /// [`VolumeError`]
    pub async fn make_node(&self, parent: Ino, name: &OsStr, mode: u32) -> VolumeResult<Attributes> {
        const FILE: u32 = 0o100_000;
        if mode & 0o170_000 != FILE && mode & 0o170_000 != 0 {
            return Err(VolumeError::NotStorable("special files"));
        }
        let how = OpenHow { read: false, write: true, truncate: false, exclusive: true };
        let (attributes, opened) = self.create(parent, name, mode, how).await?;
        let flushed = self.flush(attributes.ino, opened.fh).await;
        self.release(attributes.ino, opened.fh);
        flushed.map(|()| attributes)
    }

    fn named(&self, parent: Ino, name: &OsStr) -> VolumeResult<Seen> {
        let remote = for_lookup(name)?.ok_or(VolumeError::NotFound)?;
        self.child(parent, &remote)?.filter(|seen| shown(&seen.name) == name).ok_or(VolumeError::NotFound)
    }

    /// The node that loses its name by `recording` goes: handles keep it. If that cannot be recorded it stays.
    fn let_go_of<T>(&self, seen: &Seen, recording: impl FnOnce() -> VolumeResult<T>) -> VolumeResult<T> {
        // At once, so that no handle leaves an edit in between that the others go on in.
        let lives_on = self.journal.at_once(|now| self.orphan_if_open(seen, now.content(seen.ino).cloned()));
        if lives_on && seen.kind == NodeKind::File {
            // What is open stays readable, so the cloud keeps it until the last handle is closed.
            self.journal.add_writer(seen.ino);
        }
        let recorded = recording();
        if recorded.is_err() && lives_on {
            locked(&self.open).unorphan(seen.ino);
            if seen.kind == NodeKind::File {
                self.journal.remove_writer(seen.ino);
            }
        }
        if recorded.is_ok() {
            locked(&self.times).pop(&seen.ino);
            if seen.kind == NodeKind::Folder {
                *locked(&self.generations).entry(seen.ino).or_default() += 1;
            }
        }
        self.touch();
        recorded
    }

    /// Removes a file's name.
    ///
    /// # Errors
    ///
    /// [`VolumeError`]
    pub async fn unlink(&self, parent: Ino, name: &OsStr) -> VolumeResult<()> {
        self.writable_folder(parent)?;
        self.ensure_listed(parent).await?;
        let _names = self.name_lock();
        let seen = self.named(parent, name)?.file()?;
        self.let_go_of(&seen, || Ok(self.journal.delete(self.subject(&seen))?))?;
        self.touch_folder(parent);
        Ok(())
    }

    /// Removes an empty folder.
    ///
    /// # Errors
    ///
    /// [`VolumeError::NotEmpty`]
    pub async fn remove_folder(&self, parent: Ino, name: &OsStr) -> VolumeResult<()> {
        self.writable_folder(parent)?;
        self.ensure_listed(parent).await?;
        let seen = self.named(parent, name)?.folder()?;
        if seen.closed || seen.foreign {
            return Err(VolumeError::Denied("OneDrive does not let programs into this folder".into()));
        }
        self.ensure_listed(seen.ino).await?;
        let _names = self.name_lock();
        let seen = self.named(parent, name)?.folder()?;
        if !self.is_empty(seen.ino)? {
            return Err(VolumeError::NotEmpty);
        }
        self.let_go_of(&seen, || Ok(self.journal.delete(self.subject(&seen))?))?;
        self.touch_folder(parent);
        Ok(())
    }

    /// Renames or moves.
    ///
    /// # Errors
    ///
    /// [`VolumeError`]; then nothing has changed.
    pub async fn rename(
        &self,
        parent: Ino,
        name: &OsStr,
        new_parent: Ino,
        new_name: &OsStr,
        how: RenameHow,
    ) -> VolumeResult<()> {
        self.writable_folder(parent)?;
        self.writable_folder(new_parent)?;
        self.ensure_listed(parent).await?;
        self.ensure_listed(new_parent).await?;
        let source = self.named(parent, name)?;
        if source.kind == NodeKind::Folder && how == RenameHow::Replace {
            // Only an empty folder may be replaced, so what is in it must be known.
            if let Ok(target) = self.named(new_parent, new_name)
                && target.kind == NodeKind::Folder
            {
                self.ensure_listed(target.ino).await?;
            }
        }
        let admitted = self.admit(new_parent, new_name, source.kind == NodeKind::Folder)?;
        let _names = self.name_lock();
        self.writable_folder(new_parent)?;
        let source = self.named(parent, name)?;
        if source.closed || source.foreign {
            return Err(VolumeError::Denied("OneDrive does not let programs move this item".into()));
        }
        if source.item.is_some() && admitted.local_only {
            // It is in the cloud and goes on being there; only a name that the service refuses is in the way.
            crate::base::name::to_remote(new_name).map_err(|error| VolumeError::BadName(error.to_string()))?;
        }
        if source.kind == NodeKind::Folder && self.is_below(new_parent, source.ino) {
            return Err(VolumeError::Invalid("a folder cannot be moved into itself"));
        }
        if source.kind == NodeKind::Folder && !admitted.local_only {
            self.check_depth(&source, new_parent, &admitted.remote)?;
        }
        // The service compares names without case, so another spelling of the same name is the same place; a
        // rename of a file to another spelling of its own name is a rename.
        let target = self.child(new_parent, &admitted.remote)?.filter(|target| target.ino != source.ino);
        match (&target, how) {
            (Some(_), RenameHow::NoReplace) => return Err(VolumeError::Exists),
            (None, RenameHow::Exchange) => return Err(VolumeError::NotFound),
            (Some(target), RenameHow::Exchange) => {
                if shown(&target.name) != new_name {
                    return Err(VolumeError::NotFound);
                }
                if target.closed || target.foreign {
                    return Err(VolumeError::Denied("OneDrive does not let programs move this item".into()));
                }
                if target.kind == NodeKind::Folder && self.is_below(parent, target.ino) {
                    return Err(VolumeError::Invalid("a folder cannot be moved into itself"));
                }
                let back = self.admit(parent, name, target.kind == NodeKind::Folder)?;
                if target.item.is_some() && back.local_only {
                    crate::base::name::to_remote(name).map_err(|error| VolumeError::BadName(error.to_string()))?;
                }
                if target.kind == NodeKind::Folder && !back.local_only {
                    self.check_depth(target, parent, &back.remote)?;
                }
                let local_only = [admitted.local_only, back.local_only];
                self.journal.exchange(self.subject(&source), self.subject(target), local_only)?;
                self.touch_folder(parent);
                self.touch_folder(new_parent);
                return Ok(());
            }
            (Some(target), RenameHow::Replace) => {
                if shown(&target.name) != new_name {
                    return Err(VolumeError::Exists);
                }
                match (source.kind, target.kind) {
                    (NodeKind::Folder, NodeKind::File) => return Err(VolumeError::NotAFolder),
                    (NodeKind::File, NodeKind::Folder) => return Err(VolumeError::IsAFolder),
                    (NodeKind::Folder, NodeKind::Folder) if !self.is_empty(target.ino)? => {
                        return Err(VolumeError::NotEmpty);
                    }
                    _ => {}
                }
                if target.closed || target.foreign {
                    return Err(VolumeError::Denied("OneDrive does not let programs replace this item".into()));
                }
            }
            (None, _) => {}
        }
        if source.parent == new_parent && source.name == admitted.remote {
            return Ok(());
        }
        self.move_over(&source, target.as_ref(), new_parent, &admitted)?;
        if let Some(target) = &target
            && !locked(&self.open).is_open(target.ino)
        {
            self.kernel.post(KernelNotice::Attributes(target.ino));
        }
        self.touch_folder(parent);
        self.touch_folder(new_parent);
        self.touch_changed(source.ino);
        Ok(())
    }

    /// Records the rename. A file that takes the place of another shall take its identity too, for which its bytes
    /// must be here; they may reach the cloud at any moment, and be clean then.
    fn move_over(&self, source: &Seen, target: Option<&Seen>, parent: Ino, to: &Admitted) -> VolumeResult<()> {
        match target {
            Some(gone) => self.let_go_of(gone, || self.record_move(source, target, parent, to)),
            None => self.record_move(source, target, parent, to),
        }
    }

    fn record_move(&self, source: &Seen, target: Option<&Seen>, parent: Ino, to: &Admitted) -> VolumeResult<()> {
        // While it is held no new request about it begins, so the second turn finds what the first one left.
        self.journal.add_writer(source.ino);
        let recorded = (0..3).try_fold(false, |done, _| {
            if done {
                return Ok(true);
            }
            let now = self.see(source.ino)?;
            let has_bytes = match target {
                Some(target) => self.bring_bytes_for_takeover(&now, target)?,
                None => false,
            };
            let now = self.see(source.ino)?;
            let target = target.map(|target| self.subject(target));
            let subject = self.subject(&now);
            Ok(self.journal.rename(subject, parent, &to.remote, to.local_only, target, has_bytes)?)
        });
        self.journal.remove_writer(source.ino);
        match recorded {
            Ok(true) => Ok(()),
            Ok(false) => Err(VolumeError::Busy),
            Err(error) => Err(error),
        }
    }
}
