//! The mutations: everything a user can do to the tree, each one step of the journal's file.

use std::sync::Arc;

use super::coalesce::{self, Outcome};
use super::intent::{Base, Known, Step, next_step};
use super::store::{Batch, SpoolBase};
use super::{Draft, Intent, Journal, JournalResult, Kind, ParkReason, Progress, SpoolId, State, Subject};
use crate::base::clock::Timestamp;
use crate::base::ids::{Ino, InoSource as _, ItemId};
use crate::remote::ItemKind;

/// Somebody waits for the cloud to have an inode; see [`Journal::await_sending`].
#[must_use]
pub struct Awaited<'a> {
    journal: &'a Journal,
    ino: Ino,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        let mut state = self.journal.lock();
        if let Some(count) = state.awaited.get_mut(&self.ino) {
            *count -= 1;
            if *count == 0 {
                state.awaited.remove(&self.ino);
            }
        }
    }
}

impl Journal {
    /// The intent that a mutation works on. What the caller saw may have reached the cloud since, and its intent be
    /// gone: then the index, which learns before an intent goes, knows better than the caller.
    fn intent_of(&self, state: &State, subject: Subject, now: Timestamp) -> Option<Intent> {
        let Subject { ino, known, real_size } = subject;
        let mut intent = match state.overlay.get(ino) {
            Some(intent) => intent.clone(),
            None => Intent::about(ino, self.known(state, ino).or(known)?, now),
        };
        if let (Some(base), Some((tag, size))) = (&mut intent.base, real_size)
            && base.content_tag.as_ref() == Some(&tag)
        {
            base.size = size;
        }
        Some(intent)
    }

    /// A request that makes something new is under way for this inode, and perhaps not noted as sent yet. Whatever becomes
    /// of the inode meanwhile, another one that wants the place has to wait for the answer.
    fn note_place_under_way(state: &State, intents: &mut [Intent], ino: Ino) {
        let Some(place) = state.busy.get(&ino).and_then(|under_way| under_way.place.clone()) else { return };
        for intent in intents.iter_mut().filter(|intent| intent.ino == ino) {
            intent.sent.get_or_insert_default().place.get_or_insert_with(|| place.clone());
        }
    }

    pub(super) fn known(&self, state: &State, ino: Ino) -> Option<Known> {
        let row = self.index().by_ino(ino).ok().flatten()?;
        Some(Known {
            base: Base {
                parent: self.resolve_in(&state.overlay, row.parent)?,
                name: row.name,
                meta_tag: row.meta_tag,
                content_tag: row.content_tag,
                size: row.size,
                modified: row.modified,
                created: row.created,
            },
            item: row.id,
            kind: if row.kind == ItemKind::File { Kind::File } else { Kind::Folder },
            parent: row.parent,
            modified: row.modified,
        })
    }

    /// A new folder.
    ///
    /// # Errors
    ///
    /// [`StoreError`](super::StoreError), as for every mutation: then nothing has happened.
    pub fn create_folder(&self, parent: Ino, name: &str) -> JournalResult<Ino> {
        let now = self.now();
        let ino = self.inos.next_ino();
        let mut state = self.lock();
        let intent = Intent::new(ino, Kind::Folder, parent, name, now);
        self.apply(&mut state, Batch { put: vec![intent], ..Batch::default() })?;
        Ok(ino)
    }

    /// A new, empty file. Nothing is sent before its first [`Journal::seal`].
    ///
    /// # Errors
    ///
    /// See [`Journal::create_folder`].
    pub fn create_file(&self, parent: Ino, name: &str, local_only: bool) -> JournalResult<Ino> {
        let now = self.now();
        let ino = self.inos.next_ino();
        let id = self.new_spool()?;
        let draft = Arc::new(Draft::create(&self.files, &self.spool_folder, id, ino, name, now)?);
        let mut state = self.lock();
        let intent = Intent {
            drafting: Some(id),
            local_only,
            set_modified: true,
            ..Intent::new(ino, Kind::File, parent, name, now)
        };
        self.apply(&mut state, Batch { put: vec![intent], spools: vec![draft.row(&self.boot)], ..Batch::default() })?;
        self.pending.mark_draft(&draft);
        state.drafts.insert(id, draft);
        state.sessions.insert(ino, id);
        Ok(ino)
    }

    /// Deletes. If a new file stands where the deleted one stood, it takes over its item.
    ///
    /// # Errors
    ///
    /// See [`Journal::create_folder`].
    pub fn delete(&self, subject: Subject) -> JournalResult<()> {
        let now = self.now();
        let mut state = self.lock();
        let ino = subject.ino;
        let Some(intent) = self.intent_of(&state, subject, now) else { return Ok(()) };
        let busy = state.busy.contains_key(&ino);
        let mut outcome = coalesce::delete(intent, busy, now);
        if !busy
            && let Some(gone) = outcome.put.first()
            && let Some(heir) = self.heir(&state, gone)
        {
            outcome = coalesce::inherit(gone, heir, self.inos.next_ino(), now);
        }
        Self::note_place_under_way(&state, &mut outcome.put, ino);
        state.sessions.remove(&ino);
        self.join(&mut state, outcome)
    }

    /// The live new file that stands where a deleted one stood in the cloud.
    fn heir(&self, state: &State, gone: &Intent) -> Option<Intent> {
        let base = gone.base.as_ref()?;
        let parent = self.ino_of(state, &base.parent)?;
        let candidate = state.overlay.at(parent, &base.name)?;
        (candidate.name == base.name && coalesce::heir_of(gone, candidate)).then(|| candidate.clone())
    }

    /// The deleted item whose place a new file now has.
    fn bequest(&self, state: &State, candidate: &Intent) -> Option<Intent> {
        let parent = self.resolve_in(&state.overlay, candidate.parent)?;
        state
            .overlay
            .holders(&parent, &candidate.name)
            .find(|gone| {
                !state.busy.contains_key(&gone.ino)
                    && gone.base.as_ref().is_some_and(|base| base.name == candidate.name)
                    && coalesce::heir_of(gone, candidate)
            })
            .cloned()
    }

    fn ino_of(&self, state: &State, item: &ItemId) -> Option<Ino> {
        match state.overlay.by_item(item) {
            Some(intent) => Some(intent.ino),
            None => self.index().by_id(item).ok().flatten().map(|row| row.ino),
        }
    }

    /// Stores an outcome, and lets the index know which inodes stand for which items now.
    pub(super) fn join(&self, state: &mut State, outcome: Outcome) -> JournalResult<()> {
        self.join_with(state, outcome, Batch::default())
    }

    /// The same, in one step with something else.
    fn join_with(&self, state: &mut State, outcome: Outcome, along: Batch) -> JournalResult<()> {
        let bound: Vec<(Ino, ItemId)> = outcome
            .put
            .iter()
            .filter(|intent| {
                intent.item.is_some()
                    && state.overlay.get(intent.ino).and_then(|old| old.item.as_ref()) != intent.item.as_ref()
            })
            .filter_map(|intent| Some((intent.ino, intent.item.clone()?)))
            .collect();
        self.apply(state, Batch { put: outcome.put, drop: outcome.drop, ..along })?;
        if !bound.is_empty() {
            let rebound = self.index().write(|txn| {
                for (ino, item) in &bound {
                    txn.bind(*ino, item)?;
                }
                Ok(())
            });
            if let Err(error) = rebound {
                // The intents claim their items; the index is corrected at the next start.
                tracing::warn!(%error, "the index did not take over an inode");
            }
        }
        Ok(())
    }

    /// Renames or moves, over `target` if there is one. `has_bytes` says that the caller found the source to be an
    /// edit; `false` is returned, and nothing done, if it has reached the cloud since and is clean now.
    ///
    /// # Errors
    ///
    /// See [`Journal::create_folder`].
    pub fn rename(
        &self,
        source: Subject,
        parent: Ino,
        name: &str,
        local_only: bool,
        target: Option<Subject>,
        has_bytes: bool,
    ) -> JournalResult<bool> {
        let now = self.now();
        let ghost = self.inos.next_ino();
        let mut state = self.lock();
        let Some(mut intent) = self.intent_of(&state, source, now) else { return Ok(false) };
        if has_bytes && intent.item.is_some() && intent.sealed.is_none() && intent.drafting.is_none() {
            return Ok(false);
        }
        intent.touch(now);
        intent.parent = parent;
        intent.name = name.to_owned();
        intent.local_only = local_only && intent.item.is_none();
        let target = target.and_then(|target| self.intent_of(&state, target, now));
        let bequest = if target.is_none() { self.bequest(&state, &intent) } else { None };
        let ino = intent.ino;
        let mut along = Batch::default();
        if target.is_some() || bequest.is_some() {
            along.spools.extend(self.secure(&state, &intent)?);
        }
        let mut outcome = match target {
            Some(target) => {
                self.hold_replaced(&state, &intent, &target, &mut along);
                // A source that is on its way takes the target over all the same: its answer finds the inode
                // standing for another item, and what it has made there is cleaned up.
                let busy = state.busy.contains_key(&target.ino);
                let target_ino = target.ino;
                let outcome = coalesce::rename_over(intent, target, ghost, busy, now);
                state.sessions.remove(&target_ino);
                outcome
            }
            None => match bequest {
                Some(gone) => coalesce::inherit(&gone, intent, self.inos.next_ino(), now),
                _ => Outcome { put: vec![intent], drop: Vec::new() },
            },
        };
        Self::note_place_under_way(&state, &mut outcome.put, ino);
        self.drop_settled(&state, &mut outcome);
        self.join_with(&mut state, outcome, along)?;
        Ok(true)
    }

    /// A file that takes over the item of another leaves its own item behind to be deleted, and with that the version
    /// before its newest content. So the newest is made durable first. Rare: a file saved by rename is new.
    fn secure(&self, state: &State, source: &Intent) -> JournalResult<Option<super::SpoolRow>> {
        let Some(draft) = source.drafting.or(source.sealed).and_then(|id| state.drafts.get(&id)) else {
            return Ok(None);
        };
        if (source.item.is_none() && source.sent.is_none()) || draft.is_safe() {
            return Ok(None);
        }
        draft.settle_hash();
        draft.promise();
        draft.sync()?;
        self.disk.sync_dir(&self.spool_folder)?;
        Ok(Some(draft.row(&self.boot)))
    }

    /// What a file that is renamed over another replaces stays until the new content is safe: a loss of power may take
    /// the one, and must not find the other gone. Until then the old content is a version of the file that stands in its
    /// place.
    fn hold_replaced(&self, state: &State, source: &Intent, target: &Intent, along: &mut Batch) {
        let Some(new) = source.sealed.or(source.drafting) else { return };
        let Some(old) = target.sealed else { return };
        if state.drafts.get(&new).is_none_or(|draft| draft.is_safe()) {
            return;
        }
        along.supersede.push((old, new));
        let versions = state.drafts.values().filter(|draft| draft.ino() == target.ino && draft.is_promised());
        along.spools.extend(versions.map(|draft| super::SpoolRow { ino: source.ino, ..draft.row(&self.boot) }));
    }

    /// Swaps two names.
    ///
    /// # Errors
    ///
    /// See [`Journal::create_folder`].
    pub fn exchange(&self, first: Subject, second: Subject) -> JournalResult<()> {
        let now = self.now();
        let mut state = self.lock();
        let (Some(mut a), Some(mut b)) = (self.intent_of(&state, first, now), self.intent_of(&state, second, now))
        else {
            return Ok(());
        };
        std::mem::swap(&mut a.parent, &mut b.parent);
        std::mem::swap(&mut a.name, &mut b.name);
        a.touch(now);
        b.touch(now);
        let mut outcome = Outcome { put: vec![a, b], drop: Vec::new() };
        self.drop_settled(&state, &mut outcome);
        self.join(&mut state, outcome)
    }

    /// Intents that want nothing (renamed there and back again) are dropped, unless the rename may have reached the cloud:
    /// then it is looked for, and undone there.
    pub(super) fn drop_settled(&self, state: &State, outcome: &mut Outcome) {
        let settled: Vec<Ino> = outcome
            .put
            .iter()
            .filter(|intent| {
                intent.item.is_some()
                    && !intent.deleted
                    && intent.drafting.is_none()
                    && !state.busy.contains_key(&intent.ino)
                    && next_step(intent, self.resolve_in(&state.overlay, intent.parent).as_ref()) == Step::Settled
            })
            .map(|intent| intent.ino)
            .collect();
        outcome.put.retain(|intent| !settled.contains(&intent.ino));
        outcome.drop.extend(settled);
    }

    /// Sets the modification time.
    ///
    /// # Errors
    ///
    /// See [`Journal::create_folder`].
    pub fn set_modified(&self, subject: Subject, modified: Timestamp) -> JournalResult<()> {
        let now = self.now();
        let mut state = self.lock();
        let Some(mut intent) = self.intent_of(&state, subject, now) else { return Ok(()) };
        intent.touch(now);
        intent.modified = modified;
        intent.set_modified = true;
        if let Some(draft) = intent.drafting.or(intent.sealed).and_then(|id| state.drafts.get(&id)) {
            draft.set_modified(modified);
        }
        self.apply(&mut state, Batch { put: vec![intent], ..Batch::default() })
    }

    /// A draft for a file without a name, which lives until [`Journal::drop_nameless`] or the next start.
    ///
    /// # Errors
    ///
    /// See [`Journal::create_folder`].
    pub fn nameless_draft(
        &self,
        ino: Ino,
        base: Option<(ItemId, crate::base::ids::ContentTag, u64)>,
    ) -> JournalResult<Arc<Draft>> {
        let id = self.new_spool()?;
        let folder = self.spool_folder.join(super::NAMELESS);
        self.disk.create_dir_private(&folder)?;
        let empty = Draft::create(&self.files, &folder, id, ino, "unlinked", self.now())?;
        Ok(Arc::new(match base {
            Some((item, tag, size)) if size > 0 => empty.with_base(SpoolBase { item, tag, size }, self.now())?,
            _ => empty,
        }))
    }

    /// The last handle of a file without a name is closed.
    pub fn drop_nameless(&self, draft: &Draft) {
        if draft.path().parent().is_some_and(|folder| folder.ends_with(super::NAMELESS)) {
            self.files.close(draft.path());
            let _ = self.disk.remove(draft.path());
        }
    }

    /// Lets what is sealed of an inode be sent although handles may still write it: the caller waits for that, and a
    /// handle that is being closed counts until its close has returned. Ends with the value.
    pub fn await_sending(&self, ino: Ino) -> Awaited<'_> {
        *self.lock().awaited.entry(ino).or_insert(0) += 1;
        self.wake.notify_one();
        Awaited { journal: self, ino }
    }

    /// A handle that may write was opened, or one that keeps an unlinked file readable.
    pub fn add_writer(&self, ino: Ino) {
        *self.lock().writers.entry(ino).or_insert(0) += 1;
    }

    /// A handle that may write was closed; the file may be sent once the last one is.
    pub fn remove_writer(&self, ino: Ino) {
        let mut state = self.lock();
        if let Some(count) = state.writers.get_mut(&ino) {
            *count -= 1;
            if *count == 0 {
                state.writers.remove(&ino);
                state.sessions.remove(&ino);
                self.wake.notify_one();
            }
        }
    }

    /// The draft to write to. `fresh` asks for an empty one (the file is truncated); otherwise the bytes so
    /// far are those of the current draft, or of the version in the cloud.
    ///
    /// # Errors
    ///
    /// See [`Journal::create_folder`].
    pub fn writable(&self, subject: Subject, fresh: bool) -> JournalResult<Arc<Draft>> {
        let now = self.now();
        let ino = subject.ino;
        let mut state = self.lock();
        let mut intent = self
            .intent_of(&state, subject, now)
            .ok_or_else(|| std::io::Error::other("the file to write is not known"))?;
        if let Some(draft) = intent.drafting.and_then(|id| state.drafts.get(&id)) {
            return Ok(draft.clone());
        }
        let sealed = intent.sealed.and_then(|id| state.drafts.get(&id)).cloned();
        if let Some(draft) = &sealed
            && state.sessions.get(&ino) == Some(&draft.id)
            && !state.busy.contains_key(&ino)
            && !fresh
        {
            // Closed once by a duplicated descriptor, but the handle that began it still writes: the same file
            // goes on, as it would on a local disk.
            intent.drafting = intent.sealed.take();
            self.apply(&mut state, Batch { put: vec![intent], ..Batch::default() })?;
            return Ok(draft.clone());
        }
        let id = self.new_spool()?;
        let name = intent.name.clone();
        let draft = match (&sealed, fresh) {
            (Some(sealed), false) => sealed.duplicate(&self.spool_folder, id, &name)?,
            (_, fresh) => {
                let empty = Draft::create(&self.files, &self.spool_folder, id, ino, &name, now)?;
                let version = intent.base.as_ref().and_then(|base| Some((base.content_tag.clone()?, base.size)));
                match (version, intent.item.clone()) {
                    (Some((tag, size)), Some(item)) if !fresh && size > 0 => {
                        empty.with_base(SpoolBase { item, tag, size }, intent.modified)?
                    }
                    _ => empty,
                }
            }
        };
        let draft = Arc::new(draft);
        intent.drafting = Some(id);
        let batch = Batch { put: vec![intent], spools: vec![draft.row(&self.boot)], ..Batch::default() };
        self.apply(&mut state, batch)?;
        state.drafts.insert(id, draft.clone());
        state.sessions.insert(ino, id);
        Ok(draft)
    }

    /// The content that is being written is to be sent: a program closed the file. On return it survives the
    /// death of the daemon; `false` if there was nothing to seal.
    ///
    /// # Errors
    ///
    /// See [`Journal::create_folder`].
    pub fn seal(&self, ino: Ino) -> JournalResult<bool> {
        let now = self.now();
        let mut state = self.lock();
        let Some(intent) = state.overlay.get(ino) else { return Ok(false) };
        let Some(id) = intent.drafting else { return Ok(false) };
        let Some(draft) = state.drafts.get(&id).cloned() else { return Ok(false) };
        let mut intent = intent.clone();
        draft.settle_hash();
        draft.promise();
        intent.touch(now);
        intent.drafting = None;
        intent.modified = draft.modified();
        intent.set_modified = true;
        let mut along = Batch { spools: vec![draft.row(&self.boot)], ..Batch::default() };
        along.supersede.extend(intent.sealed.replace(id).filter(|old| *old != id).map(|old| (old, id)));
        let outcome = match self.bequest(&state, &intent) {
            Some(gone) => coalesce::inherit(&gone, intent, self.inos.next_ino(), now),
            None => Outcome { put: vec![intent], drop: Vec::new() },
        };
        self.join_with(&mut state, outcome, along)?;
        self.pending.mark_draft(&draft);
        Ok(true)
    }

    /// The content being written is recorded as it is, so that the next [`Journal::sync`] makes it durable:
    /// what fsync needs. The file stays open and is not sent yet.
    ///
    /// # Errors
    ///
    /// See [`Journal::create_folder`].
    pub fn checkpoint(&self, ino: Ino) -> JournalResult<()> {
        let mut state = self.lock();
        let Some(intent) = state.overlay.get(ino) else { return Ok(()) };
        let Some(draft) = intent.drafting.or(intent.sealed).and_then(|id| state.drafts.get(&id)).cloned() else {
            return Ok(());
        };
        draft.settle_hash();
        draft.promise();
        self.apply(&mut state, Batch { spools: vec![draft.row(&self.boot)], ..Batch::default() })?;
        self.pending.mark_draft(&draft);
        Ok(())
    }

    /// Bytes of the base were filled in: remember which, so that a restart does not fetch them again.
    pub(crate) fn note_filled(&self, id: SpoolId) {
        let mut state = self.lock();
        if let Some(draft) = state.drafts.get(&id).cloned() {
            let _ = self.apply(&mut state, Batch { spools: vec![draft.row(&self.boot)], ..Batch::default() });
            self.pending.mark_draft(&draft);
        }
    }

    /// Makes a parked or waiting intent due now.
    ///
    /// # Errors
    ///
    /// See [`Journal::create_folder`].
    pub fn retry(&self, ino: Ino) -> JournalResult<bool> {
        let now = self.now();
        let mut state = self.lock();
        let Some(mut intent) = state.overlay.get(ino).cloned() else { return Ok(false) };
        let changed = intent.changed;
        intent.touch(now);
        intent.changed = changed;
        self.apply(&mut state, Batch { put: vec![intent], ..Batch::default() })?;
        Ok(true)
    }

    /// The network is back: nothing waits for its next attempt any longer.
    ///
    /// # Errors
    ///
    /// See [`Journal::create_folder`].
    pub fn retry_all(&self) -> JournalResult<()> {
        let mut state = self.lock();
        let put: Vec<Intent> = state
            .overlay
            .iter()
            .filter(|intent| intent.not_before > Timestamp(0))
            .map(|intent| Intent { not_before: Timestamp(0), ..intent.clone() })
            .collect();
        self.apply(&mut state, Batch { put, ..Batch::default() })
    }

    /// The drive has this much room, in bytes, as last heard (`None`: it does not say): what was parked for lack of it
    /// and fits goes on. Returns whether anything still waits for room.
    ///
    /// # Errors
    ///
    /// See [`Journal::create_folder`].
    pub fn room_in_the_cloud(&self, remaining: Option<u64>) -> JournalResult<bool> {
        let mut state = self.lock();
        let mut waiting: Vec<Intent> = state
            .overlay
            .iter()
            .filter(|intent| intent.progress == Progress::Parked(ParkReason::QuotaFull))
            .cloned()
            .collect();
        waiting.sort_by_key(|intent| (intent.changed, intent.ino));
        let mut left = remaining.unwrap_or(u64::MAX);
        let mut put = Vec::new();
        let mut some_wait = false;
        for intent in waiting {
            let size = intent.sealed.and_then(|id| state.drafts.get(&id)).map_or(0, |draft| draft.size());
            // What it replaces stays as an older version, which counts, too.
            match left.checked_sub(size) {
                Some(rest) if rest > 0 => {
                    left = rest;
                    put.push(Intent { progress: Progress::Waiting, not_before: Timestamp(0), ..intent });
                }
                _ => some_wait = true,
            }
        }
        self.apply(&mut state, Batch { put, ..Batch::default() })?;
        Ok(some_wait)
    }

    /// Whether anything is parked because the drive is full.
    pub fn waits_for_room(&self) -> bool {
        self.view(|overlay| overlay.iter().any(|intent| intent.progress == Progress::Parked(ParkReason::QuotaFull)))
    }

    /// Bytes on the local disk that the cloud does not have yet: drafts, and what is kept for the user.
    pub fn unsent_bytes(&self) -> u64 {
        let state = self.lock();
        let drafts: u64 = state.drafts.values().map(|draft| draft.present_bytes()).sum();
        state.kept.iter().fold(drafts, |sum, row| sum.saturating_add(row.present.total()))
    }

    /// Discards a kept draft: the user does not want it.
    ///
    /// # Errors
    ///
    /// See [`Journal::create_folder`].
    pub fn discard_kept(&self, id: SpoolId) -> JournalResult<bool> {
        let mut state = self.lock();
        let Some(at) = state.kept.iter().position(|row| row.id == id) else { return Ok(false) };
        self.apply(&mut state, Batch { retire: vec![id], ..Batch::default() })?;
        let row = state.kept.remove(at);
        self.pending.remove_later(id, self.spool_folder.join(row.file));
        Ok(true)
    }

    /// Where the bytes of a kept draft are.
    pub fn kept_path(&self, id: SpoolId) -> Option<std::path::PathBuf> {
        self.lock().kept.iter().find(|row| row.id == id).map(|row| self.spool_folder.join(&row.file))
    }
}
