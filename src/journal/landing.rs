//! What the cloud's answers do to intents.
//!
//! Every method here is called by the worker that holds the inode (it was marked busy by [`Journal::pick`])
//! and frees it. The index learns first, then the intent goes: between the two a reader sees both and prefers
//! the intent, so nothing flickers.

use std::path::PathBuf;
use std::time::Duration;

use super::coalesce::{self, Outcome};
use super::conflict;
use super::intent::{Base, Progress, Step, next_step};
use super::landed;
use super::queue::{Cloud, Pick, end_of_patience};
use super::store::Batch;
use super::{Intent, Journal, JournalResult, Kind, ParkReason, SpoolId, State, UnderWay};
use crate::base::clock::Timestamp;
use crate::base::ids::{ContentTag, Ino, InoSource as _, ItemId, MetaTag};
use crate::index::{IndexResult, Notice, Txn, What};
use crate::remote::Item;

/// For how long the service may still show states from before one of our own changes. A minute is common, and what is
/// remembered is so exact that a longer time does no harm.
pub(super) const ECHO: Duration = Duration::from_secs(300);

/// The same where a state of somebody else's making could have the same tag.
const ECHO_OF_WHAT_RECURS: Duration = Duration::from_secs(5);

/// What came of an acknowledged step.
#[derive(Debug, Default)]
pub(super) struct Landed {
    /// For those who show the tree.
    pub notices: Vec<Notice>,
    /// A spool file whose bytes are exactly the item's: the cache may have them.
    pub adopt: Option<(PathBuf, u64)>,
    /// The index had heard of another state while the request was under way, which may be newer than the answer that it
    /// has now: to be asked for. With the exact times of this machine.
    pub doubted: Option<(ItemId, (Timestamp, Timestamp))>,
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

/// From now on the state that a change of ours was based on is one that we have overtaken; something new may not be
/// found for a moment. An answer that shows the same state as before has changed nothing.
fn expect_echo_of(txn: &mut Txn<'_>, before: Option<&Base>, item: &Item, now: Timestamp) -> IndexResult<()> {
    // What it is now it may have been before: not every service has tags that never come back.
    txn.forget_echo_of(&item.id, &item.meta_tag)?;
    let stale = before.map(|base| base.meta_tag.clone()).unwrap_or(MetaTag(String::new()));
    if stale == item.meta_tag {
        return Ok(());
    }
    let lasts = if stale.may_recur_after(&item.meta_tag) { ECHO_OF_WHAT_RECURS } else { ECHO };
    txn.expect_echo(&item.id, &stale, false, now.plus(lasts))
}

impl Journal {
    /// The next thing to do; its inode is busy from now on.
    pub(super) fn pick(&self) -> Pick {
        let now = self.now();
        let mut state = self.lock();
        let (pick, rest) = {
            let state = &*state;
            let ready = |intent: &Intent| {
                !state.busy.contains_key(&intent.ino)
                    && (!state.writers.contains_key(&intent.ino) || state.awaited.contains_key(&intent.ino))
                    && !state.busy.values().any(|under_way| under_way.concerns(intent))
            };
            let resolve = |ino| self.resolve_in(&state.overlay, ino);
            let above = |item: &ItemId| {
                let row = self.index().by_id(item).ok().flatten()?;
                self.index().by_ino(row.parent).ok().flatten().map(|row| row.id)
            };
            state.queue.pick(&state.overlay, now, &ready, Cloud { resolve: &resolve, above: &above })
        };
        state.rest = rest;
        if let Pick::Work(intent, step) = &pick {
            let place = match step {
                Step::Create { parent, .. } | Step::MakeFolder { parent } => {
                    Some((parent.clone(), intent.name.clone()))
                }
                _ => None,
            };
            state.busy.insert(intent.ino, UnderWay { item: intent.item.clone(), place, picked: now });
        }
        pick
    }

    /// Frees an inode. Returns when it was taken up.
    pub(super) fn free(&self, state: &mut State, ino: Ino) -> Option<Timestamp> {
        self.wake.notify_one();
        state.busy.remove(&ino).map(|under_way| under_way.picked)
    }

    /// Frees an inode without any news.
    pub(super) fn let_go(&self, ino: Ino) {
        let mut state = self.lock();
        let picked = self.free(&mut state, ino);
        // It would be taken up at once, again and again.
        let debounce = self.settings.debounce;
        let is_restless = |intent: &Intent| end_of_patience(intent, debounce) <= self.now();
        if let Some(picked) = picked.filter(|_| state.overlay.get(ino).is_some_and(is_restless))
            && let Err(error) = self.alter(&mut state, ino, |intent, _| intent.was_tried_at(picked))
        {
            tracing::warn!(%error, "the journal did not take that something was tried");
        }
    }

    /// Nothing was left to do about an intent. What the index says of the item is what is seen from now on; where that
    /// is something else, those who watch hear of it.
    pub(super) fn settle(&self, ino: Ino) -> JournalResult<Landed> {
        let mut state = self.lock();
        self.free(&mut state, ino);
        let mut landed = Landed::default();
        let Some(intent) = state.overlay.get(ino) else { return Ok(landed) };
        let parent = self.resolve_in(&state.overlay, intent.parent);
        if intent.drafting.is_none() && next_step(intent, parent.as_ref()) == Step::Settled {
            landed.notices.extend(self.remember_time(intent));
            self.apply(&mut state, Batch { drop: vec![ino], ..Batch::default() })?;
        }
        Ok(landed)
    }

    /// An intent is about to go that wants nothing of the cloud. The part of its time below a second, which the cloud does
    /// not keep, goes into the index. Returns what is seen otherwise from then on.
    pub(super) fn remember_time(&self, intent: &Intent) -> Option<Notice> {
        let (base, ino) = (intent.base.as_ref()?, intent.ino);
        let mut row = self.index().by_ino(ino).ok().flatten()?;
        let is_same = row.meta_tag == base.meta_tag && row.content_tag == base.content_tag;
        if is_same && row.modified != intent.modified && row.modified.seconds() == intent.modified.seconds() {
            let times = (intent.modified, intent.changed);
            match self.index().write(|txn| txn.set_times(ino, times)) {
                Ok(_) => row.modified = intent.modified,
                Err(error) => tracing::warn!(%error, "the index did not take a time"),
            }
        }
        let what = match (row.content_tag == base.content_tag, row.modified == intent.modified) {
            (false, _) => What::Content,
            (true, false) => What::Meta,
            (true, true) => return None,
        };
        Some(Notice { ino, parent: row.parent, name: row.name, what })
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
        let picked = self.free(&mut state, ino);
        let Some(mut intent) = state.overlay.get(ino).cloned() else { return Ok(Landed::default()) };
        let Some(base) = Base::of(item) else { return Ok(Landed::default()) };
        intent.was_tried_at(picked.unwrap_or(now));

        let claimed = state.overlay.by_item(&item.id).filter(|other| other.ino != ino).cloned();
        if claimed.is_some() || intent.item.as_ref().is_some_and(|other| *other != item.id) {
            // Identities changed hands while the request was on its way. Whoever stands for the item now starts from
            // what we have just made of it; if nobody does, it has no name here any more.
            let other = match claimed {
                Some(other) => {
                    self.expect_echo(other.base.as_ref(), item, now);
                    Intent { base: Some(base), ..other }
                }
                None => {
                    let mut remains = Intent::new(ghost, intent.kind, intent.parent, &item.name, now);
                    remains.item = Some(item.id.clone());
                    remains.base = Some(base);
                    remains.deleted = true;
                    remains
                }
            };
            intent.go_on();
            if intent.item.is_none() {
                intent.sent = None;
            }
            // Else what is remembered as sent was sent to what it stands for by now, and is not answered by this.
            let mut outcome = match self.heir_in(&state, &intent) {
                Some(heir) if intent.deleted => coalesce::inherit(&intent, heir, self.inos.next_ino(), now),
                _ if intent.deleted && intent.item.is_none() => Outcome { put: Vec::new(), drop: vec![ino] },
                _ => Outcome { put: vec![intent], drop: Vec::new() },
            };
            outcome.put.push(other);
            self.join(&mut state, outcome)?;
            return Ok(Landed::default());
        }

        let is_deleted = || self.index().is_deleted_here(&item.id, now).unwrap_or(false);
        if intent.item.is_none() && (self.has_left(item, ino, now) || is_deleted()) {
            // It was there when it was looked for. Whoever it stands for here keeps it, or has deleted it meanwhile, and
            // ours is made anew.
            intent.go_on();
            intent.sent = None;
            self.apply(&mut state, Batch { put: vec![intent], ..Batch::default() })?;
            return Ok(Landed::default());
        }

        let before = intent.base.clone();
        intent.item = Some(item.id.clone());
        (intent.base, intent.local_only) = (Some(base), false);
        intent.attempts = 0;
        intent.not_before = Timestamp(0);
        intent.last_error = None;
        intent.go_on();
        let mut carried = Vec::new();
        if content.is_none() {
            intent.settle_place();
            carried = self.carry_bases(&state, ino, before.as_ref(), item);
        } else {
            intent.sent = None;
        }
        let mut landed = Landed::default();
        if content.is_some() && intent.sealed == content {
            if exact && let Some(draft) = intent.sealed.and_then(|id| state.drafts.get(&id)) {
                landed.adopt = Some((draft.path().to_owned(), draft.size()));
            }
            intent.sealed = None;
        }

        if intent.deleted {
            self.expect_echo(before.as_ref(), item, now);
            let outcome = match self.heir_in(&state, &intent) {
                Some(heir) => coalesce::inherit(&intent, heir, ghost, now),
                None => Outcome { put: vec![intent], drop: Vec::new() },
            };
            self.join(&mut state, outcome)?;
            return Ok(landed);
        }

        let times = (intent.modified, intent.changed);
        let written = self.index().write(|txn| {
            txn.bind(ino, &item.id)?;
            expect_echo_of(txn, before.as_ref(), item, now)?;
            let doubted = match txn.by_id(&item.id)? {
                Some(row) => {
                    let above = txn.by_ino(row.parent)?.map(|above| above.id);
                    conflict::heard_more(&row, above.as_ref(), before.as_ref(), item)
                        && !txn.is_stale_echo(&item.id, &row.meta_tag, now)?
                }
                None => false,
            };
            txn.upsert_with(item, Some(times))?;
            if intent.kind == Kind::Folder && before.is_none() {
                // A folder that we have just made has no children but ours.
                txn.set_complete(ino, true)?;
            }
            Ok(doubted)
        });
        match written {
            Ok((doubted, notices)) => {
                landed.notices = notices.into_iter().map(|notice| of_our_own(notice, &intent)).collect();
                landed.doubted = doubted.then(|| (item.id.clone(), times));
            }
            // The next poll repairs the index; the acknowledgement counts.
            Err(error) => tracing::warn!(%error, "the index did not take an acknowledged item"),
        }
        let parent = self.resolve_in(&state.overlay, intent.parent);
        let settled = intent.drafting.is_none() && next_step(&intent, parent.as_ref()) == Step::Settled;
        let became = content.and_then(|_| landed::became(&intent));
        let mut batch = if settled {
            Batch { drop: vec![ino], ..Batch::default() }
        } else {
            Batch { put: vec![intent], ..Batch::default() }
        };
        if before.is_none() {
            // What waits in a new folder remembers from now on what the folder is in the cloud: the index, which knows
            // it too, may be dropped.
            batch.put.extend(state.overlay.placed_in(ino).cloned());
            batch.parents.insert(ino, item.id.clone());
        }
        // What was kept until this content is safe is nothing to go back to now that it is in the cloud. Nor is itself, if
        // newer content waits: were that lost with the power, this would be sent over whatever is there by then.
        batch.retire.extend(content.filter(|id| state.superseded.iter().any(|(old, _)| old == id)));
        let mut landed_or_older: Vec<SpoolId> = content.into_iter().collect();
        while let Some(id) = landed_or_older.pop() {
            let before_it = state.superseded.iter().filter(|(_, new)| *new == id).map(|(old, _)| *old);
            landed_or_older.extend(before_it.clone());
            batch.retire.extend(before_it);
        }
        batch.spools = carried;
        self.apply(&mut state, batch)?;
        if before.is_none() {
            self.tie_mode(&state, ino, &item.id);
        }
        self.tell_landed(ino, became);
        Ok(landed)
    }

    /// Whether an item that was found at a place is another inode's, by whose name we have moved it away from there since.
    pub(super) fn has_left(&self, item: &Item, finder: Ino, now: Timestamp) -> bool {
        let Ok(Some(row)) = self.index().by_id(&item.id) else { return false };
        let above = self.index().by_ino(row.parent).ok().flatten().map(|above| above.id);
        let elsewhere = above != item.parent || row.name != item.name;
        row.ino != finder && elsewhere && self.index().is_ours_lately(&item.id, now).unwrap_or(false)
    }

    /// What an intent was based on is overtaken, though the index hears of the new state only from its next step: of an
    /// item that is to be deleted, a late replica would else pass for somebody else's change.
    fn expect_echo(&self, before: Option<&Base>, item: &Item, now: Timestamp) {
        if let Err(error) = self.index().write(|txn| expect_echo_of(txn, before, item, now)) {
            tracing::warn!(%error, "the index did not take that a state is overtaken");
        }
    }

    fn heir_in(&self, state: &State, gone: &Intent) -> Option<Intent> {
        let base = gone.base.as_ref()?;
        state
            .overlay
            .at(gone.parent, &base.name)
            .filter(|candidate| {
                candidate.name == base.name
                    && self.resolve_in(&state.overlay, candidate.parent).as_ref() == Some(&base.parent)
                    && coalesce::heir_of(gone, candidate, Self::is_all_here(state, candidate))
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

    /// Changes the intent a worker holds, and frees it.
    pub(super) fn amend(&self, ino: Ino, f: impl FnOnce(&mut Intent, Timestamp)) -> JournalResult<()> {
        let mut state = self.lock();
        let picked = self.free(&mut state, ino);
        self.alter(&mut state, ino, |intent, now| {
            if let Some(picked) = picked {
                intent.was_tried_at(picked);
            }
            f(intent, now);
        })
    }

    /// Changes the intent a worker holds. The inode stays busy.
    pub(super) fn note(&self, ino: Ino, f: impl FnOnce(&mut Intent, Timestamp)) -> JournalResult<()> {
        self.alter(&mut self.lock(), ino, f)
    }

    pub(super) fn alter(
        &self,
        state: &mut State,
        ino: Ino,
        f: impl FnOnce(&mut Intent, Timestamp),
    ) -> JournalResult<()> {
        let Some(before) = state.overlay.get(ino) else { return Ok(()) };
        let mut intent = before.clone();
        f(&mut intent, self.now());
        if before.is_held() {
            intent.progress = before.progress.clone();
        }
        if intent == *before {
            return Ok(());
        }
        self.apply(state, Batch { put: vec![intent], ..Batch::default() })
    }

    /// An attempt failed; there will be another after `pause`.
    pub(super) fn postpone(&self, ino: Ino, why: &str, pause: impl FnOnce(u32) -> Duration) -> JournalResult<()> {
        self.amend(ino, |intent, now| {
            intent.attempts = intent.attempts.saturating_add(1);
            intent.not_before = now.plus(pause(intent.attempts));
            intent.last_error = Some(why.to_owned());
        })
    }

    /// Only the user can help. `was` is what was refused: who has changed it since may have helped already, and then it
    /// is tried again.
    pub(super) fn park(&self, was: &Intent, reason: ParkReason, why: &str) -> JournalResult<()> {
        self.amend(was.ino, |intent, _| {
            if !intent.wants_as(was) {
                return;
            }
            intent.attempts = intent.attempts.saturating_add(1);
            intent.progress = Progress::Parked(reason);
            intent.last_error = Some(why.to_owned());
        })
    }

    /// The item has moved on in the cloud without harm: our work is based on this state now, to be tried again
    /// at once. `was` is the intent as the worker took it: an inode that has taken over another item meanwhile is
    /// left as it is.
    ///
    /// The index learns of it as of any other state: perhaps nothing remains to be done, and then the intent goes.
    ///
    /// `None`, and nothing is done, if there is content of ours and the item has somebody else's by now: what ours was
    /// made from is not what it would replace. `bytes` as in [`conflict::is_others`].
    pub(super) fn rebase(
        &self,
        was: &Intent,
        item: &Item,
        bytes: Option<&ContentTag>,
    ) -> JournalResult<Option<Landed>> {
        let (ino, now) = (was.ino, self.now());
        let mut state = self.lock();
        let mut landed = Landed::default();
        let intent = state.overlay.get(ino).filter(|intent| intent.item == was.item).cloned();
        let (Some(mut intent), Some(base)) = (intent, Base::of(item)) else {
            self.free(&mut state, ino);
            return Ok(Some(landed));
        };
        if !intent.deleted && conflict::is_others(&intent, item, bytes) {
            // The inode stays busy: something is to be done about it at once.
            return Ok(None);
        }
        self.free(&mut state, ino);
        let seen = (intent.modified, intent.base.as_ref().map(|base| (base.content_tag.clone(), base.size)));
        let before = intent.base.replace(base);
        let is_new = intent.item.replace(item.id.clone()).is_none();
        intent.local_only = false;
        intent.go_on();
        let from = before.as_ref().and_then(|base| base.content_tag.as_ref());
        let same_bytes = bytes.is_some() && bytes == from;
        let spools = if same_bytes { self.carry_bases(&state, ino, before.as_ref(), item) } else { Vec::new() };
        intent.settle_place();
        if !intent.deleted {
            let written = self.index().write(|txn| {
                if is_new {
                    txn.bind(ino, &item.id)?;
                }
                if before.is_some() {
                    expect_echo_of(txn, before.as_ref(), item, now)?;
                }
                txn.upsert_with(item, Some((intent.modified, intent.changed)))?;
                txn.by_ino(ino)
            });
            match written {
                Ok((row, notices)) => {
                    landed.notices = notices.into_iter().map(|notice| of_our_own(notice, &intent)).collect();
                    // A time that is not ours to set is the item's.
                    intent.modified = row.filter(|_| !intent.set_modified).map_or(intent.modified, |row| row.modified);
                    // The index may have known all that: what was seen until now is the intent.
                    let now = intent.base.as_ref().map(|base| (base.content_tag.clone(), base.size));
                    if seen != (intent.modified, now) {
                        let Intent { parent, ref name, .. } = intent;
                        landed.notices.push(Notice { ino, parent, name: name.clone(), what: What::Content });
                    }
                }
                Err(error) => tracing::warn!(%error, "the index did not take an item that has moved on"),
            }
        } else if before.is_some() {
            self.expect_echo(before.as_ref(), item, now);
        }
        self.apply(&mut state, Batch { put: vec![intent], spools, ..Batch::default() })?;
        Ok(Some(landed))
    }

    /// The item is gone in the cloud: our content is to be sent as a new file.
    pub(super) fn send_as_new(&self, was: &Intent) -> JournalResult<()> {
        self.amend(was.ino, |intent, _| {
            if intent.item != was.item {
                return;
            }
            intent.begin_anew();
        })
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
        // A rename that found its new name taken keeps its item and only steps aside, with an edit or without.
        let is_about_ours = theirs.is_some_and(|theirs| had.as_ref().is_none_or(|had| *had == theirs.id));
        let detaches = intent.sealed.is_some() && is_about_ours;
        if detaches {
            intent.item = None;
            intent.base = None;
        }
        intent.sent = None;
        intent.go_on();
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

    /// Whether an upload of this spool is still wanted.
    pub(super) fn still_wants(&self, ino: Ino, spool: SpoolId) -> bool {
        self.lock().overlay.get(ino).is_some_and(|intent| !intent.deleted && intent.sealed == Some(spool))
    }

    /// Whether it is worth while to go on with an upload of this spool for what an intent wanted: there is nothing newer to
    /// be sent in its place, or the file has not rested for so long that it is better than nothing.
    pub(super) fn may_go_on(&self, was: &Intent, spool: SpoolId) -> bool {
        let state = self.lock();
        // As it was when it was taken up: a new save in the middle of a long upload makes it begin anew, once.
        let picked = state.busy.get(&was.ino).map(|under_way| under_way.picked);
        let restless = picked.is_some_and(|picked| end_of_patience(was, self.settings.debounce) <= picked);
        let is_it = |intent: &&Intent| !intent.deleted && intent.item == was.item;
        state.overlay.get(was.ino).filter(is_it).is_some_and(|intent| restless || intent.sealed == Some(spool))
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
        let held: Vec<SpoolId> = open.iter().map(|(old, _)| *old).collect();
        let retire: Vec<SpoolId> = done.into_iter().map(|(old, _)| old).filter(|old| !held.contains(old)).collect();
        self.apply(&mut state, Batch { retire, ..Batch::default() })?;
        // Only now: what could not be retired is retired by the next round.
        state.superseded = open;
        Ok(())
    }
}
