//! Attributes: what `stat` says, what may be set, and for how long the kernel may believe it.
//!
//! | attribute | where it lives |
//! | --- | --- |
//! | size, modification time of files | cloud and journal |
//! | permission bits | this machine only, as long as the node exists; the umask of the mount applies until somebody sets others |
//! | owner, group | the mount's, for everything |
//! | times of folders that move because of their contents | this machine's memory |
//! | access times | nowhere |

use std::ffi::{OsStr, OsString};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::tree::Seen;
use super::{AttributeValue, Attributes, NodeKind, SetAttributes, Space, Volume, VolumeError, VolumeResult, locked};
use crate::base::clock::Timestamp;
use crate::base::ids::{Fh, Ino};
use crate::journal::Progress;
use crate::remote::Quota;

/// Times that moved here and are not the cloud's business.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalTimes {
    /// For folders: when a name in it changed.
    pub modified: Option<Timestamp>,
    /// When anything about it changed.
    pub changed: Timestamp,
}

/// How long the kernel may believe what it was told: long while changes elsewhere are pushed to it, short while
/// they are not.
pub(super) fn time_to_live(fresh: bool) -> Duration {
    if fresh { Duration::from_secs(300) } else { Duration::from_secs(1) }
}

impl Volume {
    pub(super) fn ttl(&self) -> Duration {
        time_to_live(self.fresh.load(Ordering::Relaxed))
    }

    /// Tells the volume whether changes elsewhere reach it soon (the poller is well).
    pub fn set_fresh(&self, fresh: bool) {
        self.fresh.store(fresh, Ordering::Relaxed);
    }

    pub(super) fn attributes(&self, seen: &Seen) -> Attributes {
        let mut modified = seen.modified;
        let mut changed = seen.changed.max(seen.modified.min(seen.changed));
        if let Some(local) = locked(&self.times).peek(&seen.ino) {
            if let Some(time) = local.modified {
                modified = time;
            }
            changed = changed.max(local.changed);
        }
        let mut permissions = self.journal.mode(seen.ino).unwrap_or(self.usual_mode(seen.kind));
        if seen.closed {
            permissions = 0;
        }
        if seen.foreign {
            permissions &= !0o222;
        }
        let generation = match seen.kind {
            NodeKind::Folder => locked(&self.generations).get(&seen.ino).copied().unwrap_or(0),
            NodeKind::File => 0,
        };
        Attributes {
            ino: seen.ino,
            kind: seen.kind,
            size: if seen.kind == NodeKind::File { seen.size } else { 0 },
            mtime: modified,
            ctime: changed,
            crtime: seen.created,
            permissions,
            links: seen.links,
            uid: self.settings.uid,
            gid: self.settings.gid,
            // What one handle is told is not so for another.
            ttl: if self.is_open_otherwise(seen) { Duration::ZERO } else { self.ttl() },
            generation,
        }
    }

    /// A name in a folder changed: its times move.
    pub(super) fn touch_folder(&self, ino: Ino) {
        let now = self.clock.now();
        locked(&self.times).put(ino, LocalTimes { modified: Some(now), changed: now });
        self.touch();
    }

    /// Something about an inode changed that neither the cloud nor the journal keeps the time of.
    pub(super) fn touch_changed(&self, ino: Ino) {
        let now = self.clock.now();
        let mut times = locked(&self.times);
        let modified = times.peek(&ino).and_then(|times| times.modified);
        times.put(ino, LocalTimes { modified, changed: now });
        drop(times);
        self.touch();
    }

    /// What `stat` says; see [`Volume::getattr_through`].
    ///
    /// # Errors
    ///
    /// [`VolumeError::NotFound`] for inodes that are gone.
    pub async fn getattr(&self, ino: Ino) -> VolumeResult<Attributes> {
        Ok(self.attributes(&self.see(ino)?))
    }

    /// The bits that are to be stored for a mode, or why not.
    ///
    /// The service stores no modes; the nine bits are kept on this machine because `cp -p`, `tar` and `git`
    /// would fail otherwise. Bits that change who a program runs as are refused on files.
    fn storable_mode(kind: NodeKind, mode: u32) -> VolumeResult<u16> {
        if kind == NodeKind::File && mode & 0o6000 != 0 {
            return Err(VolumeError::NotStorable("set-user-id and set-group-id bits"));
        }
        Ok((mode & 0o777) as u16)
    }

    /// The bits of what nobody has set any for.
    fn usual_mode(&self, kind: NodeKind) -> u16 {
        let most = if kind == NodeKind::Folder { 0o777 } else { 0o666 };
        most & !self.settings.umask
    }

    /// Stores the mode a new node was created with.
    pub(super) fn initial_mode(&self, ino: Ino, kind: NodeKind, mode: u32) -> VolumeResult<()> {
        self.keep_mode(ino, kind, (mode & 0o777) as u16 & !self.settings.umask)
    }

    /// Stores a mode, if it differs from what the node has anyway.
    fn keep_mode(&self, ino: Ino, kind: NodeKind, mode: u16) -> VolumeResult<()> {
        if mode != self.usual_mode(kind) {
            self.journal.set_mode(ino, mode)?;
        } else if self.journal.mode(ino).is_some() {
            self.journal.forget_mode(ino);
        } else {
            return Ok(());
        }
        self.touch();
        Ok(())
    }

    /// The bits of what is gone go, too. Those who still have it open see them until they close it.
    pub(super) fn forget_mode_if_gone(&self, ino: Ino) {
        let is_open = locked(&self.open).is_open(ino);
        if !is_open {
            self.journal.forget_mode_if_gone(ino);
        }
    }

    /// Sets attributes. Owners other than the mount's cannot be stored.
    ///
    /// # Errors
    ///
    /// [`VolumeError`]; an error leaves the other attributes as they were.
    pub async fn setattr(&self, ino: Ino, fh: Option<Fh>, set: SetAttributes) -> VolumeResult<Attributes> {
        let seen = self.see(ino)?;
        if self.settings.read_only || seen.foreign {
            return Err(VolumeError::ReadOnly);
        }
        if seen.closed {
            return Err(VolumeError::Denied("OneDrive does not let programs into this item".into()));
        }
        if set.uid.is_some_and(|uid| uid != self.settings.uid) || set.gid.is_some_and(|gid| gid != self.settings.gid) {
            return Err(VolumeError::NotStorable("another owner"));
        }
        let mode = set.mode.map(|mode| Self::storable_mode(seen.kind, mode)).transpose()?;
        if let Some(size) = set.size {
            self.resize(ino, fh, size).await?;
        }
        if let Some(mode) = mode {
            self.keep_mode(ino, seen.kind, mode)?;
        }
        if mode.is_some() || set.uid.is_some() || set.gid.is_some() || set.atime.is_some() {
            self.touch_changed(ino);
        }
        if let Some(mtime) = set.mtime {
            self.set_modified(ino, mtime.unwrap_or_else(|| self.clock.now()))?;
        }
        self.getattr_through(ino, fh).await
    }

    fn set_modified(&self, ino: Ino, modified: Timestamp) -> VolumeResult<()> {
        let seen = self.see(ino)?;
        let now = self.clock.now();
        if seen.kind == NodeKind::Folder || ino == Ino::ROOT {
            locked(&self.times).put(ino, LocalTimes { modified: Some(modified), changed: now });
            self.touch();
        } else {
            self.touch_changed(ino);
        }
        if ino == Ino::ROOT {
            return Ok(());
        }
        if let Some(draft) = locked(&self.open).orphan(ino).and_then(|orphan| orphan.draft.clone()) {
            draft.set_modified(modified);
            return Ok(());
        }
        if seen.links == 0 {
            return Ok(());
        }
        self.journal.set_modified(self.subject(&seen), modified)?;
        Ok(())
    }

    /// The space of the drive, from memory. A service that does not say gets a large guess, because programs
    /// refuse to copy to a full disk.
    pub fn space(&self) -> Space {
        const GUESS: u64 = 1 << 40;
        let quota = *self.quota.read().unwrap_or_else(PoisonError::into_inner);
        let free = quota.remaining.or_else(|| Some(quota.total?.saturating_sub(quota.used?)));
        let total = quota.total.unwrap_or_else(|| quota.used.unwrap_or(0) + free.unwrap_or(GUESS));
        Space { total, free: free.unwrap_or(GUESS).min(total), files: self.index.count() }
    }

    /// Takes the drive's quota as last reported.
    pub fn set_quota(&self, quota: Quota) {
        *self.quota.write().unwrap_or_else(PoisonError::into_inner) = quota;
    }

    /// An extended attribute. Ours tell where a file stands; their names are at [`Volume::list_attributes`].
    ///
    /// # Errors
    ///
    /// [`VolumeError::NoAttribute`]
    pub async fn get_attribute(&self, ino: Ino, name: &OsStr) -> VolumeResult<AttributeValue> {
        let seen = self.see(ino)?;
        let intent = self.journal.get(ino);
        let value = match name.to_str() {
            Some("user.onedrive.state") => match &intent {
                Some(intent) if intent.local_only => "local",
                Some(intent) if matches!(intent.progress, Progress::Parked(_)) => "parked",
                Some(_) => "pending",
                None => match &seen.version {
                    Some((item, tag, size)) => {
                        let key = crate::cache::CacheKey { item: item.clone(), tag: tag.clone() };
                        if self.cache.is_complete(&key, *size) { "cached" } else { "online" }
                    }
                    None => "online",
                },
            }
            .to_owned(),
            Some("user.onedrive.id") => seen.item.map(|item| item.id).ok_or(VolumeError::NoAttribute)?,
            Some("user.onedrive.error") => {
                intent.and_then(|intent| intent.last_error).ok_or(VolumeError::NoAttribute)?
            }
            _ => return Err(VolumeError::NoAttribute),
        };
        Ok(Bytes::from(value))
    }

    /// The names of the extended attributes of an inode: none. Ours can be asked for by name
    /// (`user.onedrive.state`: `online`, `cached`, `pending`, `parked`, `local`; `user.onedrive.id`;
    /// `user.onedrive.error`), but a program that copies all attributes of a file must not carry them elsewhere.
    ///
    /// # Errors
    ///
    /// [`VolumeError::NotFound`]
    pub async fn list_attributes(&self, ino: Ino) -> VolumeResult<Vec<OsString>> {
        self.see(ino)?;
        Ok(Vec::new())
    }

    /// Extended attributes cannot be stored.
    ///
    /// # Errors
    ///
    /// Always.
    pub async fn set_attribute(&self, _ino: Ino, _name: &OsStr, _value: &[u8]) -> VolumeResult<()> {
        Err(VolumeError::Unsupported)
    }

    /// Extended attributes cannot be stored, nor ours removed.
    ///
    /// # Errors
    ///
    /// Always.
    pub async fn remove_attribute(&self, ino: Ino, name: &OsStr) -> VolumeResult<()> {
        self.get_attribute(ino, name).await?;
        Err(VolumeError::Denied("this attribute tells where the file stands; it cannot be removed".into()))
    }
}
