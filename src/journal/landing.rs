//! What the cloud's answers do to intents.
//!
//! Every method here is called by the worker that holds the inode (it was marked busy by [`Journal::pick`])
//! and frees it. The index learns first, then the intent goes: between the two a reader sees both and prefers
//! the intent, so nothing flickers.

use std::path::PathBuf;
use std::time::Duration;

use super::coalesce::{self, Outcome};
use super::intent::{Base, Progress, Sent, Step, next_step};
use super::queue::Pick;
use super::store::Batch;
use super::{Intent, Journal, JournalResult, Kind, ParkReason, SpoolId, State, UnderWay};
use crate::base::clock::Timestamp;
use crate::base::ids::{ContentTag, Ino, InoSource as _, ItemId};
use crate::index::{Notice, What};
use crate::remote::Item;

/// For how long the stream of changes may still show the state before one of our own changes.
const ECHO: Duration = Duration::from_secs(120);

/// What came of an acknowledged step.
#[derive(Debug, Default)]
pub(super) struct Landed {
    /// For those who show the tree.
    pub notices: Vec<Notice>,
    /// A spool file whose bytes are exactly the item's: the cache may have them.
    pub adopt: Option<(PathBuf, u64)>,
}

/// What our own step is news of. The kernel has known the name since the call that made it or moved it there; told
/// of it again, it would drop the entry with all that stands on it: a working directory, a bind mount.
fn of_our_own(notice: Notice, intent: &Intent) -> Notice {
    let expected = notice.ino == intent.ino && notice.parent == intent.parent && notice.name == intent.name;
    match notice.what {
        What::Added | What::Moved { .. } if expected => Notice { what: What::Meta, ..notice },
        _ => notice,
    }
}

impl Journal {
    /// The next thing to do; its inode is busy from now on.
    pub(super) fn pick(&self) -> Pick {
        let now = self.now();
        let mut state = self.lock();
        let pick = {
            let state = &*state;
            let ready = |intent: &Intent| {
                !state.busy.contains_key(&intent.ino)
                    && !state.writers.contains_key(&intent.ino)
                    && !state.busy.values().any(|under_way| under_way.concerns(intent))
            };
            state.queue.pick(&state.overlay, now, &ready, &|ino| self.resolve_in(&state.overlay, ino))
        };
        if let Pick::Work(intent, step) = &pick {
            let place = match step {
                Step::Create { parent, .. } | Step::MakeFolder { parent } => {
                    Some((parent.clone(), intent.name.clone()))
                }
                _ => None,
            };
            state.busy.insert(intent.ino, UnderWay { item: intent.item.clone(), place });
        }
        pick
    }

    fn free(&self, state: &mut State, ino: Ino) {
        state.busy.remove(&ino);
        self.wake.notify_waiters();
    }

    /// Frees an inode without any news.
    pub(super) fn let_go(&self, ino: Ino) {
        let mut state = self.lock();
        self.free(&mut state, ino);
    }

    /// Nothing was left to do about an intent.
    pub(super) fn settle(&self, ino: Ino) -> JournalResult<()> {
        let mut state = self.lock();
        self.free(&mut state, ino);
        let Some(intent) = state.overlay.get(ino) else { return Ok(()) };
        let parent = self.resolve_in(&state.overlay, intent.parent);
        if intent.drafting.is_none() && next_step(intent, parent.as_ref()) == Step::Settled {
            self.apply(&mut state, Batch { drop: vec![ino], ..Batch::default() })?;
        }
        Ok(())
    }

    /// The cloud did what was asked, and `item` is how the item is now. `content` is the spool whose bytes it
    /// has, if that was the step; `exact` says that they are the item's bytes to the last bit.
    pub(super) fn acknowledge(
        &self,
        ino: Ino,
        item: &Item,
        content: Option<SpoolId>,
        exact: bool,
    ) -> JournalResult<Landed> {
        let now = self.now();
        let ghost = self.inos.next_ino();
        let mut state = self.lock();
        self.free(&mut state, ino);
        let Some(mut intent) = state.overlay.get(ino).cloned() else { return Ok(Landed::default()) };
        let Some(base) = Base::of(item) else { return Ok(Landed::default()) };

        let claimed = state.overlay.by_item(&item.id).filter(|other| other.ino != ino).cloned();
        if claimed.is_some() || intent.item.as_ref().is_some_and(|other| *other != item.id) {
            // Identities changed hands while the request was on its way. Whoever stands for the item now starts from
            // what we have just made of it; if nobody does, it has no name here any more.
            let other = match claimed {
                Some(other) => Intent { base: Some(base), ..other },
                None => {
                    let mut remains = Intent::new(ghost, intent.kind, intent.parent, &item.name, now);
                    remains.item = Some(item.id.clone());
                    remains.base = Some(base);
                    remains.deleted = true;
                    remains
                }
            };
            intent.progress = Progress::Waiting;
            intent.sent = None;
            let mut outcome = match self.heir_in(&state, &intent) {
                Some(heir) if intent.deleted => coalesce::inherit(&intent, heir, self.inos.next_ino(), now),
                _ if intent.deleted && intent.item.is_none() => Outcome { put: Vec::new(), drop: vec![ino] },
                _ => Outcome { put: vec![intent], drop: Vec::new() },
            };
            outcome.put.push(other);
            self.join(&mut state, outcome)?;
            return Ok(Landed::default());
        }

        let stale = intent.base.as_ref().map(|base| base.meta_tag.clone());
        intent.item = Some(item.id.clone());
        intent.base = Some(base);
        intent.attempts = 0;
        intent.not_before = Timestamp(0);
        intent.last_error = None;
        intent.progress = Progress::Waiting;
        intent.sent = None;
        let mut landed = Landed::default();
        if content.is_some() && intent.sealed == content {
            if exact && let Some(draft) = intent.sealed.and_then(|id| state.drafts.get(&id)) {
                landed.adopt = Some((draft.path().to_owned(), draft.size()));
            }
            intent.sealed = None;
        }

        if intent.deleted {
            let outcome = match self.heir_in(&state, &intent) {
                Some(heir) => coalesce::inherit(&intent, heir, ghost, now),
                None => Outcome { put: vec![intent], drop: Vec::new() },
            };
            self.join(&mut state, outcome)?;
            return Ok(landed);
        }

        let (modified, changed) = (intent.modified, intent.changed);
        let written = self.index().write(|txn| {
            txn.bind(ino, &item.id)?;
            if let Some(stale) = &stale {
                txn.expect_echo(&item.id, stale, false, now.plus(ECHO))?;
            }
            txn.upsert_with(item, Some((modified, changed)))?;
            if intent.kind == Kind::Folder && stale.is_none() {
                // A folder that we have just made has no children but ours.
                txn.set_complete(ino, true)?;
            }
            Ok(())
        });
        match written {
            Ok(((), notices)) => {
                landed.notices = notices.into_iter().map(|notice| of_our_own(notice, &intent)).collect()
            }
            // The next poll repairs the index; the acknowledgement counts.
            Err(error) => tracing::warn!(%error, "the index did not take an acknowledged item"),
        }
        let parent = self.resolve_in(&state.overlay, intent.parent);
        let settled = intent.drafting.is_none() && next_step(&intent, parent.as_ref()) == Step::Settled;
        let mut batch = if settled {
            Batch { drop: vec![ino], ..Batch::default() }
        } else {
            Batch { put: vec![intent], ..Batch::default() }
        };
        if stale.is_none() {
            // What waits in a new folder remembers from now on what the folder is in the cloud: the index, which knows
            // it too, may be dropped.
            batch.put.extend(state.overlay.placed_in(ino).cloned());
            batch.parents.insert(ino, item.id.clone());
        }
        self.apply(&mut state, batch)?;
        Ok(landed)
    }

    fn heir_in(&self, state: &State, gone: &Intent) -> Option<Intent> {
        let base = gone.base.as_ref()?;
        state
            .overlay
            .at(gone.parent, &base.name)
            .filter(|candidate| {
                candidate.name == base.name
                    && self.resolve_in(&state.overlay, candidate.parent).as_ref() == Some(&base.parent)
                    && coalesce::heir_of(gone, candidate)
            })
            .cloned()
    }

    /// A deletion is due: if a new file stands where the deleted one stood, it takes the item over instead. Frees the
    /// inode in that case and says so.
    pub(super) fn hand_on(&self, ino: Ino) -> JournalResult<bool> {
        let now = self.now();
        let mut state = self.lock();
        let Some(gone) = state.overlay.get(ino).cloned() else { return Ok(false) };
        let Some(heir) = self.heir_in(&state, &gone) else { return Ok(false) };
        self.free(&mut state, ino);
        let outcome = coalesce::inherit(&gone, heir, self.inos.next_ino(), now);
        self.join(&mut state, outcome)?;
        Ok(true)
    }

    /// The cloud deleted the item (or never had it).
    pub(super) fn acknowledge_deletion(&self, ino: Ino) -> JournalResult<Landed> {
        let now = self.now();
        let mut state = self.lock();
        self.free(&mut state, ino);
        let Some(intent) = state.overlay.get(ino).cloned() else { return Ok(Landed::default()) };
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
        drop(state);
        self.forget_mode(ino);
        Ok(landed)
    }

    /// Changes the intent a worker holds, and frees it.
    fn amend(&self, ino: Ino, f: impl FnOnce(&mut Intent, Timestamp)) -> JournalResult<()> {
        let now = self.now();
        let mut state = self.lock();
        self.free(&mut state, ino);
        let Some(mut intent) = state.overlay.get(ino).cloned() else { return Ok(()) };
        f(&mut intent, now);
        self.apply(&mut state, Batch { put: vec![intent], ..Batch::default() })
    }

    /// An attempt failed; there will be another after `pause`.
    pub(super) fn postpone(&self, ino: Ino, why: &str, pause: impl FnOnce(u32) -> Duration) -> JournalResult<()> {
        self.amend(ino, |intent, now| {
            intent.attempts = intent.attempts.saturating_add(1);
            intent.not_before = now.plus(pause(intent.attempts));
            intent.last_error = Some(why.to_owned());
        })
    }

    /// Only the user can help.
    pub(super) fn park(&self, ino: Ino, reason: ParkReason, why: &str) -> JournalResult<()> {
        self.amend(ino, |intent, _| {
            intent.attempts = intent.attempts.saturating_add(1);
            intent.progress = Progress::Parked(reason);
            intent.last_error = Some(why.to_owned());
        })
    }

    /// The item has moved on in the cloud without harm: our work is based on this state now, to be tried again
    /// at once. `was` is the intent as the worker took it: an inode that has taken over another item meanwhile is
    /// left as it is.
    pub(super) fn rebase(&self, was: &Intent, item: &Item) -> JournalResult<()> {
        self.amend(was.ino, |intent, _| {
            if intent.item != was.item {
                return;
            }
            if let Some(base) = Base::of(item) {
                intent.item = Some(item.id.clone());
                intent.base = Some(base);
            }
            intent.progress = Progress::Waiting;
        })
    }

    /// The item is gone in the cloud: our content is to be sent as a new file.
    pub(super) fn send_as_new(&self, was: &Intent) -> JournalResult<()> {
        self.amend(was.ino, |intent, _| {
            if intent.item != was.item {
                return;
            }
            intent.item = None;
            intent.base = None;
            intent.sent = None;
            intent.progress = Progress::Waiting;
        })
    }

    /// The item is gone in the cloud and nothing of ours depends on it: so is the intent.
    pub(super) fn give_way(&self, was: &Intent) -> JournalResult<Landed> {
        if self.get(was.ino).is_none_or(|intent| intent.item != was.item) {
            self.let_go(was.ino);
            return Ok(Landed::default());
        }
        self.acknowledge_deletion(was.ino)
    }

    /// Ours gets another name; what the cloud has keeps its own. An item that our inode stood for gets an inode
    /// of its own, because open handles belong to our bytes.
    pub(super) fn keep_both(&self, was: &Intent, name: &str, theirs: Option<&Item>) -> JournalResult<Landed> {
        let ino = was.ino;
        let mut state = self.lock();
        self.free(&mut state, ino);
        let Some(mut intent) = state.overlay.get(ino).cloned() else { return Ok(Landed::default()) };
        if intent.item != was.item || intent.deleted {
            // It stands for something else by now, or for nothing: the conflict is not about it any more.
            return Ok(Landed::default());
        }
        let old_name = std::mem::replace(&mut intent.name, name.to_owned());
        let had = intent.item.clone();
        // A rename that found its new name taken keeps its item and only steps aside.
        let detaches = intent.sealed.is_some() && theirs.is_some();
        if detaches {
            intent.item = None;
            intent.base = None;
        }
        intent.sent = None;
        intent.progress = Progress::Waiting;
        let (parent, stands_for_nothing) = (intent.parent, intent.item.is_none());
        self.apply(&mut state, Batch { put: vec![intent], ..Batch::default() })?;
        let mut landed = Landed::default();
        let written = self.index().write(|txn| {
            if let Some(had) = had.filter(|_| detaches) {
                txn.renumber(&had)?;
            }
            if let Some(theirs) = theirs {
                txn.upsert(theirs)?;
            }
            // The index may have known better than we did whose number this is.
            if stands_for_nothing { txn.make_way(ino) } else { Ok(()) }
        });
        match written {
            Ok(((), notices)) => landed.notices = notices,
            Err(error) => tracing::warn!(%error, "the index did not take the other version"),
        }
        landed.notices.push(Notice {
            ino,
            parent,
            name: name.to_owned(),
            what: What::Moved { from: parent, name: old_name },
        });
        Ok(landed)
    }

    /// A deletion is not carried out, because the item changed meanwhile: it comes back.
    pub(super) fn undelete(&self, ino: Ino, item: &Item) -> JournalResult<Landed> {
        let mut state = self.lock();
        self.free(&mut state, ino);
        let mut landed = Landed::default();
        match self.index().write(|txn| txn.upsert(item)) {
            Ok((_, notices)) => landed.notices = notices,
            Err(error) => tracing::warn!(%error, "the index did not take an item that came back"),
        }
        if let Some(intent) = state.overlay.get(ino) {
            landed.notices.push(Notice { ino, parent: intent.parent, name: item.name.clone(), what: What::Added });
        }
        self.apply(&mut state, Batch { drop: vec![ino], ..Batch::default() })?;
        Ok(landed)
    }

    /// Something is about to be sent whose answer may be lost: from now on it may be in the cloud. The inode stays
    /// busy.
    pub(super) fn note_sending(
        &self,
        ino: Ino,
        place: Option<(ItemId, String)>,
        version: Option<&ContentTag>,
    ) -> JournalResult<()> {
        const REMEMBERED: usize = 8;
        let mut state = self.lock();
        let Some(mut intent) = state.overlay.get(ino).cloned() else { return Ok(()) };
        let before = intent.sent.take();
        let mut versions = before.map(|sent| sent.versions).unwrap_or_default();
        versions.retain(|known| Some(known) != version);
        versions.extend(version.cloned());
        let surplus = versions.len().saturating_sub(REMEMBERED);
        versions.drain(..surplus);
        intent.sent = Some(Sent { place, versions });
        self.apply(&mut state, Batch { put: vec![intent], ..Batch::default() })
    }

    /// What was sent is not in the cloud: it never arrived. Frees the inode.
    pub(super) fn never_arrived(&self, ino: Ino) -> JournalResult<()> {
        let lost = self.get(ino).is_some_and(|intent| {
            intent.kind == Kind::File && intent.item.is_none() && intent.sealed.is_none() && intent.drafting.is_none()
        });
        if lost {
            // Its content did not survive the last crash (what is left of it is kept); an empty file was never wanted.
            let mut state = self.lock();
            self.free(&mut state, ino);
            return self.apply(&mut state, Batch { drop: vec![ino], ..Batch::default() });
        }
        self.amend(ino, |intent, _| intent.sent = None)
    }

    /// The service said for certain that it did not take what was sent. The inode stays busy.
    pub(super) fn not_taken(&self, ino: Ino) -> JournalResult<()> {
        let mut state = self.lock();
        let Some(mut intent) = state.overlay.get(ino).cloned() else { return Ok(()) };
        intent.sent = None;
        self.apply(&mut state, Batch { put: vec![intent], ..Batch::default() })
    }

    /// An upload session has come this far. The inode stays busy.
    pub(super) fn note_progress(&self, ino: Ino, progress: Progress) -> JournalResult<()> {
        let mut state = self.lock();
        let Some(mut intent) = state.overlay.get(ino).cloned() else { return Ok(()) };
        intent.progress = progress;
        self.apply(&mut state, Batch { put: vec![intent], ..Batch::default() })
    }

    /// Whether an upload of this spool is still wanted.
    pub(super) fn still_wants(&self, ino: Ino, spool: SpoolId) -> bool {
        self.lock().overlay.get(ino).is_some_and(|intent| !intent.deleted && intent.sealed == Some(spool))
    }

    /// The children that we know of in a folder of the cloud: items below it that have intents of their own.
    pub(super) fn has_intents_in(&self, item: &ItemId) -> bool {
        self.lock().overlay.held_in(item).next().is_some()
    }

    /// Retires the drafts that newer, now durable ones replaced. Called by the group commit.
    pub(super) fn retire_superseded(&self) -> JournalResult<()> {
        let mut state = self.lock();
        if state.superseded.is_empty() {
            return Ok(());
        }
        let (done, open): (Vec<_>, Vec<_>) = state
            .superseded
            .iter()
            .copied()
            .partition(|(_, new)| state.drafts.get(new).is_none_or(|draft| draft.is_safe()));
        state.superseded = open;
        let held: Vec<SpoolId> = state.superseded.iter().map(|(old, _)| *old).collect();
        let retire: Vec<SpoolId> = done.into_iter().map(|(old, _)| old).filter(|old| !held.contains(old)).collect();
        self.apply(&mut state, Batch { retire, ..Batch::default() })
    }
}
