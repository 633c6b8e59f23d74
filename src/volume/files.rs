//! Operations on content: open, read, write, truncate, flush, sync, release.

use std::cell::Cell;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::{Bytes, BytesMut};

use super::handles::FileHandle;
use super::tree::Seen;
use super::{Durability, Extent, KernelNotice, OpenHow, Opened, Volume, VolumeError, VolumeResult, locked};
use crate::base::caller::on_behalf_of_now;
use crate::base::ids::{Fh, Ino};
use crate::cache::CacheKey;
use crate::journal::{Draft, ParkReason, Piece, Progress, SealedDraft};

/// How many bytes may be written before the free space of the local disk is looked at again.
const ROOM_STEP: i64 = 16 << 20;

/// How many bytes may be copied while the others who ask something of the mount wait.
const SHORT_COPY: u64 = 8 << 20;

/// How often an open looks again at a file that changes under its eyes.
const LOOKS: usize = 4;

/// With `durability: remote`, a close waits for the cloud that many times as long as anybody waits for content.
pub const CLOUD_PATIENCE: u32 = 4;

const KEEP_SIZE: i32 = 0x01;
const PUNCH_HOLE: i32 = 0x02;
const ZERO_RANGE: i32 = 0x10;

/// Whoever reads has the file; what is gone is the version that it was.
fn is_stale(error: VolumeError) -> VolumeError {
    if matches!(error, VolumeError::NotFound) { VolumeError::Stale } else { error }
}

impl Volume {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// [`VolumeError`]
    pub async fn open(&self, ino: Ino, how: OpenHow) -> VolumeResult<Opened> {
        self.in_use();
        self.open_now(ino, how)
    }

    pub(super) fn open_now(&self, ino: Ino, how: OpenHow) -> VolumeResult<Opened> {
        let mut seen = self.see(ino)?.file()?;
        if how.write || how.truncate {
            if self.settings.read_only || seen.foreign {
                return Err(VolumeError::ReadOnly);
            }
            if self.is_gone_elsewhere(&seen) {
                return Err(VolumeError::Stale);
            }
            self.check_room(0)?;
        }
        let (mut fh, mut pages) = self.register_file(&seen, how.read, how.write);
        // An edit has begun, or landed, before the handle could follow it, and nobody has told it what that has become. What
        // is only here and has lost its content is as it is however often it is looked at.
        for _ in 0..LOOKS {
            if self.edit_of(ino).is_some() != seen.version.is_some() {
                break;
            }
            self.release(ino, fh);
            seen = self.see(ino)?.file()?;
            (fh, pages) = self.register_file(&seen, how.read, how.write);
        }
        if how.truncate && seen.size > 0 {
            let emptied = self.change(&seen, None, true, |draft| self.journal.cut(draft, 0));
            if let Err(error) = emptied {
                self.release(ino, fh);
                return Err(error);
            }
        }
        Ok(Opened { fh, pages })
    }

    /// Changes content. A program that closes another descriptor of the same open file seals what there is of it, and what
    /// was seen of the file may have landed, or been replaced, before an edit of it begins. Whoever was about to write it
    /// then looks again what to write to: nothing is written that no seal speaks of, and nothing into what nobody has seen.
    fn change(
        &self,
        seen: &Seen,
        handle: Option<&FileHandle>,
        fresh: bool,
        how: impl Fn(&Draft) -> io::Result<()>,
    ) -> VolumeResult<()> {
        let mut seen = seen.clone();
        loop {
            match self.edit(&seen, fresh) {
                Err(VolumeError::Busy) => {}
                draft => match how(&*draft?) {
                    Err(error) if SealedDraft::is_behind(&error) => {}
                    done => return Ok(done?),
                },
            }
            seen = self.see_through(seen.ino, handle, fresh)?;
        }
    }

    /// The draft that writes go to; see [`crate::journal::Journal::writable`]. [`VolumeError::Busy`] if the file is not as
    /// it was seen any more.
    fn edit(&self, seen: &Seen, fresh: bool) -> VolumeResult<Arc<Draft>> {
        if seen.links == 0 {
            return self.edit_orphan(seen, fresh);
        }
        let had_draft = self.journal.get(seen.ino).is_some_and(|intent| intent.drafting.is_some());
        let to_copy = || self.journal.content(seen.ino).filter(|_| !fresh).map_or(0, |draft| draft.present_bytes());
        let draft = match self.journal.writable(self.subject(seen), fresh) {
            // What is waiting for its upload has to be copied. Clean bytes make way for that as for any write.
            Err(error) if error.is_full() && self.make_way(to_copy()) => {
                self.journal.writable(self.subject(seen), fresh)?
            }
            other => other?,
        };
        if !had_draft {
            let base = seen.version.clone().map(|(item, tag, _)| CacheKey { item, tag });
            // The handles that follow the edit from here on let go of the version; the edit may need it.
            let _kept = base.as_ref().map(|key| self.cache.pin(key));
            self.follow_edit(seen.ino, base.as_ref());
            self.fill_from_cache(&draft);
        }
        Ok(draft)
    }

    /// A file without a name can be written as long as it is open.
    fn edit_orphan(&self, seen: &Seen, fresh: bool) -> VolumeResult<Arc<Draft>> {
        if let Some(draft) = locked(&self.open).orphan(seen.ino).and_then(|orphan| orphan.draft.clone()) {
            draft.thaw();
            return Ok(draft);
        }
        if self.is_gone_elsewhere(seen) {
            return Err(VolumeError::Stale);
        }
        let base = seen.version.clone().filter(|_| !fresh);
        let draft = self.journal.nameless_draft(seen.ino, base)?;
        let key = seen.version.clone().map(|(item, tag, _)| CacheKey { item, tag });
        let _kept = key.as_ref().map(|key| self.cache.pin(key));
        // First of all: who reads from now on finds it, and nobody the version before.
        locked(&self.open).set_orphan_draft(seen.ino, draft.clone());
        self.follow_edit(seen.ino, key.as_ref());
        self.fill_from_cache(&draft);
        Ok(draft)
    }

    /// Fails if the local disk is nearly full: nothing is torn that way.
    pub(super) fn check_room(&self, more: u64) -> VolumeResult<()> {
        let more = i64::try_from(more).unwrap_or(i64::MAX);
        if self.room.fetch_sub(more, Ordering::Relaxed) - more > 0 {
            return Ok(());
        }
        if !self.journal.has_room(ROOM_STEP as u64) {
            // Clean bytes can be had again; they make way.
            let goal = self.cache.usage().bytes.saturating_sub(4 * ROOM_STEP as u64);
            if self.cache.evict_now(goal) == 0 || !self.journal.has_room(ROOM_STEP as u64) {
                return Err(VolumeError::DiskFull);
            }
        }
        self.room.store(ROOM_STEP, Ordering::Relaxed);
        Ok(())
    }

    /// Fails if a file grows to `size` bytes and the drive, as last heard, has no room for what the file has more than
    /// in the cloud: better now than in an upload that nobody watches. Other files that wait for their upload are not
    /// counted, so this is a warning in time, not a guarantee.
    fn check_quota(&self, seen: &Seen, size: u64) -> VolumeResult<()> {
        let quota = *self.quota.read().unwrap_or_else(PoisonError::into_inner);
        let Some(remaining) = quota.remaining.filter(|remaining| size > seen.size && size > *remaining) else {
            return Ok(());
        };
        let stored = match self.journal.get(seen.ino) {
            Some(intent) => intent.base.map_or(0, |base| base.size),
            None => seen.version.as_ref().map_or(0, |(.., size)| *size),
        };
        if seen.links > 0 && size.saturating_sub(stored) > remaining { Err(VolumeError::QuotaFull) } else { Ok(()) }
    }

    pub(super) fn handle_of(&self, ino: Ino, fh: Fh) -> VolumeResult<Arc<FileHandle>> {
        let handle = self.file_handle(fh)?;
        if handle.ino == ino { Ok(handle) } else { Err(VolumeError::BadHandle) }
    }

    /// Reads; short only at the end of the file.
    ///
    /// # Errors
    ///
    /// [`VolumeError::Stale`] if the version the handle was opened on is gone from the service and the bytes are
    /// not here; [`VolumeError::Offline`] if they are not here and the service cannot be reached.
    pub async fn read(&self, ino: Ino, fh: Fh, offset: u64, size: u32) -> VolumeResult<Bytes> {
        let handle = self.handle_of(ino, fh)?;
        if !handle.read {
            return Err(VolumeError::BadHandle);
        }
        let wanted = offset..offset.saturating_add(u64::from(size));
        if let Some(draft) = self.edit_for(&handle) {
            return self.read_draft(&handle, &draft, wanted).await;
        }
        let mut pin = locked(&handle.pin).clone();
        if pin.is_none() {
            // The edit it followed was taken back: what there is instead is what it reads from now on. Looked at with
            // nothing locked: those who hold the table of handles lock what they read.
            let now = self.pin_seen(&self.see(ino)?);
            let mut held = locked(&handle.pin);
            if held.is_none() {
                *held = now;
            }
            pin = held.clone();
        }
        let Some(mut pin) = pin else {
            // An edit has begun since it was looked for.
            if let Some(draft) = self.edit_for(&handle) {
                return self.read_draft(&handle, &draft, wanted).await;
            }
            // A file that is only here and has no content: the disk lost it. Nothing is not what was written.
            if self.journal.content(ino).is_none() && self.journal.get(ino).is_some_and(|intent| intent.item.is_none())
            {
                return Err(VolumeError::Failed("the unsent content of this file was lost on the local disk".into()));
            }
            return Ok(Bytes::new());
        };
        let size = pin.size;
        let bytes = self.read_version(ino, &mut pin, wanted, &handle.stream).await.map_err(is_stale)?;
        // It may follow an edit by now.
        if pin.size != size
            && let Some(held) = locked(&handle.pin).as_mut().filter(|held| held.key == pin.key)
        {
            held.size = pin.size;
        }
        Ok(bytes)
    }

    /// Whether a read needs nothing but this machine, as far as is known before it is made.
    pub fn is_here(&self, ino: Ino, fh: Fh, offset: u64, size: u32) -> bool {
        let Ok(handle) = self.handle_of(ino, fh) else { return true };
        let wanted = offset..offset.saturating_add(u64::from(size));
        let is_cached = |key: &CacheKey, size, range| self.cache.missing(key, size, range).is_empty();
        match self.edit_for(&handle) {
            Some(draft) => draft.base().is_none_or(|base| {
                let key = CacheKey { item: base.item, tag: base.tag };
                draft.missing().within(wanted).iter().all(|range| is_cached(&key, base.size, range.clone()))
            }),
            None => {
                let pin = locked(&handle.pin);
                pin.as_ref().is_none_or(|pin| is_cached(&pin.key, pin.size, wanted))
            }
        }
    }

    async fn read_draft(&self, handle: &FileHandle, draft: &Arc<Draft>, wanted: Extent) -> VolumeResult<Bytes> {
        let mut pieces = draft.read(wanted)?;
        if let [Piece::Here(_)] = pieces.as_slice()
            && let Some(Piece::Here(bytes)) = pieces.pop()
        {
            return Ok(bytes);
        }
        let mut joined = BytesMut::new();
        for piece in pieces {
            match piece {
                Piece::Here(bytes) => joined.extend_from_slice(&bytes),
                Piece::Base(range) => {
                    let base =
                        draft.base().ok_or_else(|| VolumeError::Failed("a draft misses bytes of nothing".into()))?;
                    let mut pin = self.pin(CacheKey { item: base.item, tag: base.tag }, base.size);
                    let read = self.read_version(handle.ino, &mut pin, range.clone(), &handle.stream).await;
                    let bytes = read.map_err(is_stale)?;
                    if bytes.len() as u64 != range.end - range.start {
                        return Err(VolumeError::Stale);
                    }
                    joined.extend_from_slice(&bytes);
                }
            }
        }
        Ok(joined.freeze())
    }

    /// Whether a change of a file's content may take so long that it is not for a thread on which others wait.
    ///
    /// | the file | a change |
    /// | --- | --- |
    /// | has an edit, which somebody is changing at this moment | waits for that |
    /// | has an edit | is quick |
    /// | has none, and more than 8 MiB | may begin with a copy of what is here of it |
    /// | has none, and no more | is quick enough |
    pub fn change_may_take_long(&self, ino: Ino) -> bool {
        let draft = match self.journal.being_written(ino) {
            None => locked(&self.open).orphan(ino).and_then(|orphan| orphan.draft.clone()),
            written => written,
        };
        match draft {
            Some(draft) => draft.is_being_changed(),
            None => self.see(ino).is_ok_and(|seen| seen.size > SHORT_COPY),
        }
    }

    /// Writes all the bytes. They are visible at once and survive the daemon once the file is closed.
    ///
    /// # Errors
    ///
    /// [`VolumeError::DiskFull`] before the local disk is full; [`VolumeError::TooLarge`] beyond what the service
    /// stores.
    pub async fn write(&self, ino: Ino, fh: Option<Fh>, offset: u64, bytes: &[u8]) -> VolumeResult<u32> {
        self.write_now(ino, fh, offset, bytes)
    }

    /// As [`Volume::write`]: nothing in it waits for the network. Without a handle it is a page of a mapping that the kernel
    /// writes back.
    ///
    /// # Errors
    ///
    /// See [`Volume::write`].
    pub fn write_now(&self, ino: Ino, fh: Option<Fh>, offset: u64, bytes: &[u8]) -> VolumeResult<u32> {
        let handle = match fh {
            Some(fh) => Some(self.writable_handle(ino, fh)?),
            None => self.page_writer(ino)?,
        };
        let end = offset.checked_add(bytes.len() as u64).ok_or(VolumeError::TooLarge)?;
        let seen = self.about_to_write(ino, handle.as_deref(), |_| end, bytes.len())?;
        self.change(&seen, handle.as_deref(), false, |draft| draft.write(offset, bytes, self.clock.now()))?;
        Ok(bytes.len() as u32)
    }

    /// Writes at the end of what the handle reads. `offset` is where the kernel believes that to be, which may be the end
    /// of another version.
    ///
    /// # Errors
    ///
    /// See [`Volume::write`].
    pub fn append_now(&self, ino: Ino, fh: Fh, offset: u64, bytes: &[u8]) -> VolumeResult<u32> {
        let handle = self.writable_handle(ino, fh)?;
        let end = |size: u64| size.saturating_add(bytes.len() as u64);
        let seen = self.about_to_write(ino, Some(&handle), end, bytes.len())?;
        let begun = Cell::new(offset);
        self.change(&seen, Some(&handle), false, |draft| {
            // Nobody else makes it longer meanwhile: the kernel lets one after the other append, or cut.
            begun.set(draft.size());
            draft.write(begun.get(), bytes, self.clock.now())
        })?;
        if begun.get() != offset {
            // It has put the bytes into its pages where it believed the end to be.
            self.kernel.post(KernelNotice::Pages(ino));
        }
        Ok(bytes.len() as u32)
    }

    fn writable_handle(&self, ino: Ino, fh: Fh) -> VolumeResult<Arc<FileHandle>> {
        let handle = self.handle_of(ino, fh)?;
        if handle.write { Ok(handle) } else { Err(VolumeError::BadHandle) }
    }

    /// What `more` bytes are to be written to, if there is room for them and for a file that `end` tells from its size.
    fn about_to_write(
        &self,
        ino: Ino,
        handle: Option<&FileHandle>,
        end: impl Fn(u64) -> u64,
        more: usize,
    ) -> VolumeResult<Seen> {
        self.check_room(more as u64)?;
        let seen = self.see_through(ino, handle, false)?;
        let end = end(seen.size);
        if end > self.remote.caps().max_file {
            return Err(VolumeError::TooLarge);
        }
        self.check_quota(&seen, end)?;
        Ok(seen)
    }

    /// Cuts or extends a file.
    pub(super) async fn resize(&self, ino: Ino, fh: Option<Fh>, size: u64) -> VolumeResult<()> {
        let handle = fh.map(|fh| self.handle_of(ino, fh)).transpose()?;
        let seen = self.see_through(ino, handle.as_deref(), size == 0)?;
        if handle.as_ref().is_some_and(|handle| !handle.write) {
            return Err(VolumeError::Invalid("the handle was not opened for writing"));
        }
        if size > self.remote.caps().max_file {
            return Err(VolumeError::TooLarge);
        }
        if seen.size == size {
            // POSIX still wants the times to move.
            if seen.links > 0 {
                self.journal.set_modified(self.subject(&seen), self.clock.now())?;
            }
            return Ok(());
        }
        self.check_room(0)?;
        self.check_quota(&seen, size)?;
        self.change(&seen, handle.as_deref(), size == 0, |draft| self.journal.cut(draft, size))?;
        if !locked(&self.open).has_writer(ino) && seen.links > 0 {
            // truncate(2) without a handle: there will be no close.
            self.journal.seal(ino)?;
        }
        Ok(())
    }

    /// A descriptor of the file was closed. What was written until now survives the daemon on return (and more,
    /// by the mount's durability).
    ///
    /// # Errors
    ///
    /// [`VolumeError`]: what close(2) returns.
    pub async fn flush(&self, ino: Ino, fh: Fh) -> VolumeResult<()> {
        let handle = self.handle_of(ino, fh)?;
        if !handle.write {
            return Ok(());
        }
        let sealed = on_behalf_of_now(handle.opened_by, || self.journal.seal(ino))?;
        match self.settings.durability {
            Durability::Local => {}
            Durability::Strict if sealed.is_some() => self.journal.sync_content(sealed).await?,
            Durability::Remote => self.reach_cloud(ino).await?,
            Durability::Strict => {}
        }
        Ok(())
    }

    /// What was written until now survives power loss on return.
    ///
    /// # Errors
    ///
    /// [`VolumeError`]: what fsync(2) returns.
    pub async fn fsync(&self, ino: Ino, _fh: Option<Fh>, _data_only: bool) -> VolumeResult<()> {
        if self.settings.durability == Durability::Remote {
            // Whoever asks for this wants what there is now to be a version in the cloud, closed or not.
            self.journal.seal(ino)?;
            return self.reach_cloud(ino).await;
        }
        let recorded = self.journal.checkpoint(ino)?;
        self.journal.sync_content(recorded).await?;
        Ok(())
    }

    /// What was done to names until now survives power loss on return.
    ///
    /// # Errors
    ///
    /// [`VolumeError`]
    pub async fn sync_dir(&self, ino: Ino) -> VolumeResult<()> {
        self.see(ino)?;
        self.journal.sync().await?;
        Ok(())
    }

    /// Waits until the content that is sealed of an inode is in the cloud, or a newer one, for as long as the mount's
    /// patience lasts. It is sent although this handle, and perhaps others, may still write.
    async fn reach_cloud(&self, ino: Ino) -> VolumeResult<()> {
        self.journal.sync().await?;
        let mut changes = self.journal.watch();
        let limit = self.clock.sleep(self.settings.patience * CLOUD_PATIENCE);
        tokio::pin!(limit);
        let _awaited = self.journal.await_sending(ino);
        loop {
            let Some(intent) = self.journal.get(ino) else { return Ok(()) };
            if intent.local_only || intent.deleted || intent.sealed.is_none() {
                return Ok(());
            }
            if let Progress::Parked(reason) = intent.progress {
                let why = intent.last_error.unwrap_or_default();
                return Err(match reason {
                    ParkReason::QuotaFull => VolumeError::QuotaFull,
                    ParkReason::TooLarge => VolumeError::TooLarge,
                    ParkReason::NameRefused => VolumeError::BadName(why),
                    _ => VolumeError::Denied(why),
                });
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = &mut limit => return Err(VolumeError::TimedOut),
            }
        }
    }

    /// The last descriptor of a handle is gone. Data that came after the last flush (from a memory map) is
    /// sealed here.
    pub fn release(&self, ino: Ino, fh: Fh) {
        let Some((handle, last)) = self.unregister_file(fh) else { return };
        if handle.write {
            // A handle that still writes seals at its own close: what it has written so far is not all of it, and would
            // take the place of a version that is whole.
            let others = locked(&self.open).has_writer(ino);
            if !others && let Err(error) = on_behalf_of_now(handle.opened_by, || self.journal.seal(ino)) {
                tracing::error!(%ino, %error, "what was written last is not safe; it is tried again");
                self.journal.seal_later(ino);
            }
            self.journal.remove_writer(ino);
        }
        if !last {
            return;
        }
        if let Some(orphan) = self.bury(ino) {
            self.journal.remove_writer(ino);
            if let Some(draft) = orphan.draft {
                self.journal.drop_nameless(&draft);
            }
        }
        self.forget_mode_if_gone(ino);
    }

    /// Reserves or empties a range. Reserving only makes the file longer: there is nothing to reserve in the
    /// cloud.
    ///
    /// # Errors
    ///
    /// [`VolumeError::Unsupported`] for modes other than those of Linux's `fallocate` named here.
    pub async fn allocate(&self, ino: Ino, fh: Fh, mode: i32, extent: Extent) -> VolumeResult<()> {
        let handle = self.handle_of(ino, fh)?;
        if !handle.write {
            return Err(VolumeError::BadHandle);
        }
        if extent.start >= extent.end {
            return Err(VolumeError::Invalid("an empty range"));
        }
        if extent.end > self.remote.caps().max_file {
            return Err(VolumeError::TooLarge);
        }
        let zeroes = match mode {
            0 | KEEP_SIZE => false,
            _ if mode & !(KEEP_SIZE | PUNCH_HOLE) == 0 && mode & KEEP_SIZE != 0 => true,
            _ if mode & !(KEEP_SIZE | ZERO_RANGE) == 0 => true,
            _ => return Err(VolumeError::Unsupported),
        };
        let seen = self.see_through(ino, Some(&handle), false)?;
        let grows = mode & KEEP_SIZE == 0 && extent.end > seen.size;
        if !grows && !zeroes {
            return self.check_room(extent.end - extent.start);
        }
        self.check_room(0)?;
        if grows {
            self.check_quota(&seen, extent.end)?;
        }
        let now = self.clock.now();
        if grows {
            self.change(&seen, Some(&handle), false, |draft| draft.truncate(extent.end.max(draft.size()), now))?;
        }
        if zeroes {
            self.change(&seen, Some(&handle), false, |draft| draft.zero(extent.clone(), now))?;
        }
        Ok(())
    }

    /// Where data or a hole begins: everything is data, and the hole is at the end.
    ///
    /// # Errors
    ///
    /// [`VolumeError::NoData`] beyond the end.
    pub fn seek(&self, ino: Ino, fh: Fh, offset: u64, hole: bool) -> VolumeResult<u64> {
        let handle = self.handle_of(ino, fh)?;
        let size = self.shown_to(&handle, self.see(ino)?).size;
        if offset >= size {
            return Err(VolumeError::NoData);
        }
        Ok(if hole { size } else { offset })
    }
}
