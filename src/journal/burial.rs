//! What is gone in the cloud goes here, too, unless somebody needs it.
//!
//! Always true: what has unsent content outlives its item, and is sent as new.

use std::sync::MutexGuard;

use super::landing::{ECHO, Landed};
use super::store::Batch;
use super::{Intent, Journal, JournalResult, State};
use crate::base::ids::{Ino, ItemId};
use crate::index::{Notice, What};

impl Journal {
    /// The cloud deleted the item (or never had it). What somebody has put into it here since stays, as new.
    pub(super) fn acknowledge_deletion(&self, ino: Ino) -> JournalResult<Landed> {
        let mut state = self.lock();
        self.free(&mut state, ino);
        let Some(intent) = state.overlay.get(ino).cloned() else { return Ok(Landed::default()) };
        self.bury(state, intent)
    }

    /// The item is gone in the cloud and nothing of ours depended on it when `was` was picked: so is the intent, unless
    /// something of ours does by now.
    pub(super) fn give_way(&self, was: &Intent) -> JournalResult<Landed> {
        let mut state = self.lock();
        self.free(&mut state, was.ino);
        match state.overlay.get(was.ino).filter(|intent| intent.item == was.item).cloned() {
            Some(intent) => self.bury(state, intent),
            None => Ok(Landed::default()),
        }
    }

    fn bury(&self, mut state: MutexGuard<'_, State>, intent: Intent) -> JournalResult<Landed> {
        let (ino, now) = (intent.ino, self.now());
        if intent.is_live() && (intent.sealed.is_some() || intent.drafting.is_some()) {
            self.alter(&mut state, ino, |intent, _| intent.begin_anew())?;
            return Ok(Landed::default());
        }
        let mut landed = Landed::default();
        if let (Some(item), Some(base)) = (&intent.item, &intent.base) {
            let written = self.index().write(|txn| {
                txn.remove(item)?;
                txn.expect_echo(item, &base.meta_tag, true, now.plus(ECHO))
            });
            match written {
                Ok(((), notices)) => landed.notices = notices,
                Err(error) => tracing::warn!(%error, "the index did not take an acknowledged deletion"),
            }
        }
        self.apply(&mut state, Batch { drop: vec![ino], ..Batch::default() })?;
        if intent.is_live() {
            // The index tells of the place where it was in the cloud; here it may have stood elsewhere.
            let Intent { parent, name, .. } = intent;
            landed.notices.push(Notice { ino, parent, name, what: What::Removed });
        }
        self.forget_modes(&mut state, &[ino]);
        Ok(landed)
    }

    /// Forgets permission bits of an inode that has gone elsewhere, or was closed at last; of one that stands for
    /// something they stay.
    pub fn forget_mode_if_gone(&self, ino: Ino) {
        self.forget_modes(&mut self.lock(), &[ino]);
    }

    /// An inode stands for this item from now on: should the index be lost, its permission bits are found again by that.
    pub(super) fn tie_mode(&self, state: &State, ino: Ino, item: &ItemId) {
        let Some(mode) = state.modes.get(&ino) else { return };
        match self.store.set_mode(ino, Some(item), Some(*mode)) {
            Ok(()) => self.pending.mark(),
            Err(error) => tracing::warn!(%error, "the journal did not take whose permission bits it has"),
        }
    }

    /// These inodes may have gone. Permission bits go with one that stands for nothing any more; those who still have it
    /// open to write see them until they close it.
    pub(super) fn forget_modes(&self, state: &mut State, dropped: &[Ino]) {
        for ino in dropped.iter().filter(|ino| !state.writers.contains_key(ino)) {
            let stands = || state.overlay.get(*ino).is_some() || !matches!(self.index().by_ino(*ino), Ok(None));
            if state.modes.contains_key(ino) && !stands() {
                state.modes.remove(ino);
                let _ = self.store.set_mode(*ino, None, None);
            }
        }
    }
}
