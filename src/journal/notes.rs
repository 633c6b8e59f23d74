//! What a worker notes while a request of its is under way: what was sent, what has not been answered, how far it is.
//!
//! Always true: what may be in the cloud without our knowing is on disk before it is sent, with whoever stands for the
//! item at that moment.

use super::intent::{Progress, Sent};
use super::store::Batch;
use super::{Journal, JournalResult, Kind};
use crate::base::ids::{ContentTag, Ino, ItemId};
use crate::remote::Item;

impl Journal {
    /// Something is about to be sent whose answer may be lost: from now on it may be in the cloud. The inode stays
    /// busy.
    pub(super) fn note_sending(
        &self,
        ino: Ino,
        of: Option<&ItemId>,
        place: Option<(ItemId, String)>,
        version: Option<&ContentTag>,
    ) -> JournalResult<bool> {
        const REMEMBERED: usize = 8;
        let mut state = self.lock();
        // Another file of ours may have taken the item over since the worker looked: what it does not know to be sent it
        // would take for somebody else's. And what takes an item over has nothing new to make.
        let item = state.overlay.get(ino).and_then(|intent| intent.item.as_ref());
        if of.is_some() && item != of || of.is_none() && place.is_some() && item.is_some() {
            return Ok(false);
        }
        self.alter(&mut state, ino, |intent, _| {
            let Sent { place: earlier, mut versions, deletion, .. } = intent.sent.take().unwrap_or_default();
            // Where an item may be that was moved without an answer, it may be until it was seen.
            let place = place.or(earlier.filter(|_| intent.item.is_some()));
            versions.retain(|known| Some(known) != version);
            versions.extend(version.cloned());
            let surplus = versions.len().saturating_sub(REMEMBERED);
            versions.drain(..surplus);
            intent.sent = Some(Sent { place, versions, deletion, unseen: None });
        })?;
        Ok(true)
    }

    /// The deletion of an item is about to be sent. The inode stays busy.
    pub(super) fn note_deleting(&self, ino: Ino) -> JournalResult<()> {
        self.note(ino, |intent, _| intent.sent.get_or_insert_default().deletion = true)
    }

    /// What an attempt came to that has let go of the inode already: for the user to see until the next one is answered.
    pub(super) fn note_trouble(&self, ino: Ino, why: &str) -> JournalResult<()> {
        self.note(ino, |intent, _| intent.last_error = Some(why.to_owned()))
    }

    /// What was sent was looked for in vain. The inode stays busy.
    pub(super) fn note_unseen(&self, ino: Ino) -> JournalResult<()> {
        self.note(ino, |intent, now| {
            if let Some(sent) = &mut intent.sent {
                sent.unseen.get_or_insert(now);
            }
        })
    }

    /// What was sent is not in the cloud: it never arrived. `again` says that the same is wanted in the same place. Frees the
    /// inode.
    pub(super) fn never_arrived(&self, ino: Ino, again: bool) -> JournalResult<()> {
        let mut state = self.lock();
        self.free(&mut state, ino);
        let lost = state.overlay.get(ino).filter(|intent| {
            let is_empty = intent.sealed.is_none() && intent.drafting.is_none();
            // Deleted while it was looked for: whether it never arrived is to be asked once more.
            intent.kind == Kind::File && intent.item.is_none() && is_empty && !(again && intent.deleted)
        });
        if let Some(lost) = lost.cloned() {
            // Its content did not survive the last crash (what is left of it is kept); an empty file was never wanted.
            self.apply(&mut state, Batch { drop: vec![ino], ..Batch::default() })?;
            self.tell_gone(&lost);
            return Ok(());
        }
        // A lagging service may have it all the same: then it is met when it is sent again, and known by its version. Until
        // then it may be wanted elsewhere, or not any more.
        self.alter(&mut state, ino, |intent, now| match &mut intent.sent {
            Some(sent) if again => sent.unseen = sent.unseen.or(Some(now)),
            sent => *sent = sent.take().and_then(|sent| Sent::of_ours(sent.versions)),
        })
    }

    /// The service said for certain that it did not take what was sent. The inode stays busy.
    pub(super) fn not_taken(&self, ino: Ino) -> JournalResult<()> {
        self.note(ino, |intent, _| intent.sent = None)
    }

    /// The item of another intent was met where it is passing through: after the first of two steps of a move with a new
    /// name, say. That is the name it holds from now on, and whoever wants that waits for it, in a circle perhaps, which is
    /// broken then. What is known of its content and version stays.
    pub(super) fn note_passing(&self, item: &Item) -> JournalResult<()> {
        let mut state = self.lock();
        let passing = state.overlay.by_item(&item.id).map(|intent| intent.ino);
        let (Some(ino), Some(parent)) = (passing, &item.parent) else { return Ok(()) };
        if state.busy.contains_key(&ino) {
            return Ok(());
        }
        self.alter(&mut state, ino, |intent, _| {
            if let Some(base) = &mut intent.base {
                (base.parent, base.name) = (parent.clone(), item.name.clone());
            }
        })
    }

    /// An upload session has come this far. The inode stays busy.
    pub(super) fn note_progress(&self, ino: Ino, progress: Progress) -> JournalResult<()> {
        self.note(ino, |intent, _| intent.progress = progress)
    }
}
