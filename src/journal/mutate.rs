//! The mutations: everything a user can do to the tree, each one step of the journal's file.

use std::sync::Arc;

use super::coalesce::{self, Outcome};
use super::intent::{Base, Known, Step, next_step};
use super::store::Batch;
use super::{Draft, Intent, Journal, JournalResult, Kind, ParkReason, Progress, Saw, SpoolId, State, Subject};
use crate::base::clock::Timestamp;
use crate::base::ids::{Ino, InoSource as _, ItemId};
use crate::remote::ItemKind;

impl Journal {
    /// The intent that a mutation works on. What the caller saw may have reached the cloud since, and its intent be
    /// gone: then the index, which learns before an intent goes, knows better than the caller.
    pub(super) fn intent_of(&self, state: &State, subject: Subject, now: Timestamp) -> Option<Intent> {
        let Subject { ino, known, real_size, opened_on, .. } = subject;
        let mut intent = match state.overlay.get(ino) {
            Some(intent) => intent.clone(),
            None => {
                let mut known = self.known(state, ino).or(known)?;
                if let Some(version) = opened_on {
                    version.stand_in(&mut known.base);
                }
                Intent::about(ino, known, now)
            }
        };
        if let (Some(base), Some((tag, size))) = (&mut intent.base, real_size)
            && base.content_tag.as_ref() == Some(&tag)
        {
            base.size = size;
        }
        Some(intent)
    }

    /// Whether the content of an intent is what somebody has seen of it.
    pub(super) fn is_as_seen(state: &State, intent: &Intent, saw: Option<&Saw>) -> bool {
        let is_edit = intent.drafting.or(intent.sealed).is_some_and(|id| state.drafts.contains_key(&id));
        let version = intent.base.as_ref().and_then(|base| base.content_tag.as_ref()).filter(|_| !is_edit);
        match saw {
            None => true,
            Some(Saw::Edit) => version.is_none(),
            Some(Saw::Version(tag)) => version == Some(tag),
        }
    }

    /// A request that makes something new is under way for this inode, and perhaps not noted as sent yet. Whatever becomes
    /// of the inode meanwhile, another one that wants the place has to wait for the answer.
    fn note_place_under_way(state: &State, intent: &mut Intent) {
        let place = state.busy.get(&intent.ino).and_then(|under_way| under_way.place.clone());
        if let Some(place) = place.filter(|_| intent.item.is_none()) {
            intent.sent.get_or_insert_default().place.get_or_insert(place);
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
        let batch = Batch { put: vec![intent], spools: vec![draft.row(&self.boot)], ..Batch::default() };
        self.apply(&mut state, batch).inspect_err(|_| self.throw_away(&draft))?;
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
        let Some(mut intent) = self.intent_of(&state, subject, now) else { return Ok(()) };
        Self::note_place_under_way(&state, &mut intent);
        let busy = state.busy.contains_key(&ino);
        let mut outcome = coalesce::delete(intent, busy, now);
        if !busy
            && let Some(gone) = outcome.put.first()
            && let Some(heir) = self.heir(&state, gone)
        {
            outcome = coalesce::inherit(gone, heir, self.inos.next_ino(), now);
        }
        state.sessions.remove(&ino);
        self.join(&mut state, outcome)
    }

    /// The live new file that stands where a deleted one stood in the cloud.
    fn heir(&self, state: &State, gone: &Intent) -> Option<Intent> {
        let base = gone.base.as_ref()?;
        let parent = self.ino_of(state, &base.parent)?;
        let candidate = state.overlay.at(parent, &base.name)?;
        let takes = coalesce::heir_of(gone, candidate, Self::is_all_here(state, candidate));
        (candidate.name == base.name && takes).then(|| candidate.clone())
    }

    /// The deleted item whose place a new file now has.
    pub(super) fn bequest(&self, state: &State, candidate: &Intent) -> Option<Intent> {
        let parent = self.resolve_in(&state.overlay, candidate.parent)?;
        state
            .overlay
            .holders(&parent, &candidate.name)
            .find(|gone| {
                !state.busy.contains_key(&gone.ino)
                    && gone.base.as_ref().is_some_and(|base| base.name == candidate.name)
                    && coalesce::heir_of(gone, candidate, Self::is_all_here(state, candidate))
            })
            .cloned()
    }

    /// Whether nothing of it is in the cloud, or may be: neither acknowledged nor sent nor under way.
    fn is_unknown_to_the_cloud(state: &State, intent: &Intent) -> bool {
        intent.item.is_none()
            && intent.sent.is_none()
            && !matches!(intent.progress, Progress::Sending { .. })
            && !state.busy.contains_key(&intent.ino)
    }

    /// Whether an intent has content whose bytes are all on this machine.
    pub(super) fn is_all_here(state: &State, intent: &Intent) -> bool {
        let draft = intent.drafting.or(intent.sealed).and_then(|id| state.drafts.get(&id));
        draft.is_some_and(|draft| draft.missing().is_empty())
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
    pub(super) fn join_with(&self, state: &mut State, outcome: Outcome, along: Batch) -> JournalResult<()> {
        let bound: Vec<(Ino, ItemId)> = outcome
            .put
            .iter()
            .filter(|intent| {
                intent.item.is_some()
                    && state.overlay.get(intent.ino).and_then(|old| old.item.as_ref()) != intent.item.as_ref()
            })
            .filter_map(|intent| Some((intent.ino, intent.item.clone()?)))
            .collect();
        let dropped = outcome.drop.clone();
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
            bound.iter().for_each(|(ino, item)| self.tie_mode(state, *ino, item));
        }
        self.forget_modes(state, &dropped);
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
        Self::note_place_under_way(&state, &mut intent);
        intent.touch(now);
        intent.parent = parent;
        intent.name = name.to_owned();
        let mut target = target.and_then(|target| self.intent_of(&state, target, now));
        if let Some(target) = &mut target {
            Self::note_place_under_way(&state, target);
        }
        // What is in the cloud goes on being there, under whatever name, and so does what takes its place.
        let into_the_cloud = target.as_ref().is_some_and(|target| target.kind == Kind::File && target.item.is_some());
        intent.local_only = local_only && !into_the_cloud && Self::is_unknown_to_the_cloud(&state, &intent);
        let bequest = if target.is_none() { self.bequest(&state, &intent) } else { None };
        let mut along = Batch::default();
        if target.is_some() || bequest.is_some() {
            along.spools.extend(self.secure(&state, &intent)?);
        }
        let outcome = match target {
            Some(target) => {
                self.hold_replaced(&state, &intent, &target, &mut along);
                // A source that is on its way takes the target over all the same: its answer finds the inode
                // standing for another item, and what it has made there is cleaned up.
                let busy = state.busy.contains_key(&target.ino);
                let target_ino = target.ino;
                let all_here = Self::is_all_here(&state, &intent);
                let outcome = coalesce::rename_over(intent, target, all_here, ghost, busy, now);
                state.sessions.remove(&target_ino);
                outcome
            }
            None => match bequest {
                Some(gone) => coalesce::inherit(&gone, intent, self.inos.next_ino(), now),
                _ => Outcome { put: vec![intent], drop: Vec::new() },
            },
        };
        self.settle_and_join(&mut state, outcome, along)?;
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
        self.make_durable(draft)?;
        Ok(Some(draft.row(&self.boot)))
    }

    /// What a file that is renamed over another replaces stays until the new content is safe: a loss of power may take
    /// the one, and must not find the other gone. Until then the old content is a version of the file that stands in its
    /// place.
    fn hold_replaced(&self, state: &State, source: &Intent, target: &Intent, along: &mut Batch) {
        let Some(new) = source.sealed.or(source.drafting) else { return };
        // Of what is being written only what was fsynced, say.
        let is_promised = |id: &SpoolId| state.drafts.get(id).is_some_and(|draft| draft.is_promised());
        let old: Vec<SpoolId> = target.sealed.into_iter().chain(target.drafting).filter(is_promised).collect();
        if old.is_empty() {
            return;
        }
        if state.drafts.get(&new).is_none_or(|draft| draft.is_safe()) {
            return;
        }
        along.supersede.extend(old.into_iter().map(|old| (old, new)));
        let versions_of = |ino| state.drafts.values().filter(move |draft| draft.ino() == ino);
        // What the source itself was renamed over before comes before that.
        let before = versions_of(source.ino).map(|draft| draft.replaced()).max().unwrap_or_default();
        let row = |draft: &Arc<Draft>| {
            let replaced = before.saturating_add(1).saturating_add(draft.replaced());
            super::SpoolRow { ino: source.ino, replaced, ..draft.row(&self.boot) }
        };
        along.spools.extend(versions_of(target.ino).filter(|draft| draft.is_promised()).map(row));
    }

    /// Swaps two names. `local_only` says of each whether the name that it gets is one of this machine only.
    ///
    /// # Errors
    ///
    /// See [`Journal::create_folder`].
    pub fn exchange(&self, first: Subject, second: Subject, local_only: [bool; 2]) -> JournalResult<()> {
        let now = self.now();
        let mut state = self.lock();
        let (Some(mut a), Some(mut b)) = (self.intent_of(&state, first, now), self.intent_of(&state, second, now))
        else {
            return Ok(());
        };
        std::mem::swap(&mut a.parent, &mut b.parent);
        std::mem::swap(&mut a.name, &mut b.name);
        for (intent, local_only) in [&mut a, &mut b].into_iter().zip(local_only) {
            Self::note_place_under_way(&state, intent);
            intent.touch(now);
            intent.local_only = local_only && Self::is_unknown_to_the_cloud(&state, intent);
        }
        let outcome = Outcome { put: vec![a, b], drop: Vec::new() };
        self.settle_and_join(&mut state, outcome, Batch::default())
    }

    /// Stores an outcome without the intents that want nothing (renamed there and back again): they are dropped, unless
    /// the rename may have reached the cloud. Then it is looked for, and undone there.
    pub(super) fn settle_and_join(&self, state: &mut State, outcome: Outcome, along: Batch) -> JournalResult<()> {
        let is_settled = |intent: &Intent| {
            intent.item.is_some()
                && !intent.deleted
                && intent.drafting.is_none()
                && !state.busy.contains_key(&intent.ino)
                && next_step(intent, self.resolve_in(&state.overlay, intent.parent).as_ref()) == Step::Settled
        };
        let Outcome { put, mut drop } = outcome;
        let (settled, put): (Vec<_>, Vec<_>) = put.into_iter().partition(is_settled);
        for intent in &settled {
            // Who has renamed it is told what it is by the answer to that.
            let _ = self.remember_time(intent);
        }
        drop.extend(settled.iter().map(|intent| intent.ino));
        self.join_with(state, Outcome { put, drop }, Batch { settled, ..along })
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
            // What it replaces stays as an older version, which counts, too. A deletion makes room.
            match left.checked_sub(size) {
                Some(rest) if rest > 0 || intent.deleted => {
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
