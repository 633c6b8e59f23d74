//! Content on its way into the journal: who writes, what they write to, when it is to be sent.
//!
//! Always true: an inode has at most one draft that is being written and one that is sealed; what is sealed does not
//! change once anything of it may have been sent. Copies are made with nothing locked.

use std::sync::Arc;

use super::coalesce::{self, Outcome};
use super::intent::Base;
use super::queue::due_at;
use super::store::{Batch, SpoolBase, SpoolRow};
use super::{Draft, Intent, Journal, JournalResult, Progress, SpoolId, State, StoreError, Subject};
use crate::base::clock::Timestamp;
use crate::base::ids::{Ino, InoSource as _, ItemId};
use crate::remote::Item;

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

/// Content as it was when it was recorded; see [`Journal::sync_content`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recorded {
    pub(super) spool: SpoolId,
    pub(super) changes: u64,
}

impl Recorded {
    /// As it is now. To be taken before the group commit is told of it: a round that is under way already takes up what it
    /// is told, and what is written after that is none of its business.
    fn now(draft: &Draft) -> Self {
        Self { spool: draft.id, changes: draft.changes() }
    }
}

impl Journal {
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
                let due = state.overlay.get(ino).and_then(|intent| due_at(intent, self.settings.debounce));
                self.call_for(&state, due);
            }
        }
    }

    /// The draft to write to. `fresh` asks for an empty one (the file is truncated); otherwise the bytes so
    /// far are those of the current draft, or of the version in the cloud.
    ///
    /// # Errors
    ///
    /// See [`Journal::create_folder`]; [`StoreError::NotAsSeen`]; and "full", with nothing changed, if there is no room for
    /// the copy of a sealed draft.
    pub fn writable(&self, subject: Subject, fresh: bool) -> JournalResult<Arc<Draft>> {
        loop {
            let (sealed, name) = {
                let now = self.now();
                let mut state = self.lock();
                let unknown = || std::io::Error::other("the file to write is not known");
                let intent = self.intent_of(&state, subject.clone(), now).ok_or_else(unknown)?;
                if !Self::is_as_seen(&state, &intent, subject.saw.as_ref()) {
                    return Err(StoreError::NotAsSeen);
                }
                if let Some(draft) = intent.drafting.and_then(|id| state.drafts.get(&id)) {
                    return Ok(draft.clone());
                }
                match intent.sealed.and_then(|id| state.drafts.get(&id)).cloned() {
                    Some(draft) if !fresh && Self::is_same_session(&state, &intent, draft.id) => {
                        // Closed once by a duplicated descriptor, but the handle that began it still writes: the same
                        // file goes on, as it would on a local disk.
                        let put = vec![Intent { drafting: intent.sealed, sealed: None, ..intent.clone() }];
                        self.apply(&mut state, Batch { put, ..Batch::default() })?;
                        // After a loss of power what is written over it would else be damage to sealed content.
                        if draft.has_safe_state()
                            && let Err(error) = self.store.sync()
                        {
                            self.apply(&mut state, Batch { put: vec![intent], ..Batch::default() })?;
                            return Err(error);
                        }
                        draft.thaw();
                        return Ok(draft);
                    }
                    Some(sealed) if !fresh => (sealed, intent.name),
                    _ => return self.begin_draft(&mut state, intent, fresh, now),
                }
            };
            // A copy of a large file takes its time, which nobody else has to wait for.
            let before = (sealed.generation(), sealed.base());
            let room = |more| self.has_room(more);
            let copied = sealed.duplicate(&self.spool_folder, self.new_spool()?, &name, &room);
            let mut state = self.lock();
            let intent = self.intent_of(&state, subject.clone(), self.now());
            let stands = intent.as_ref().is_some_and(|intent| {
                let is_unchanged = (sealed.generation(), sealed.base()) == before;
                intent.sealed == Some(sealed.id) && intent.drafting.is_none() && is_unchanged
            });
            match (copied, intent) {
                (Ok(draft), Some(intent)) if stands => return self.take_up(&mut state, intent, Arc::new(draft)),
                (Err(error), _) if stands => return Err(error.into()),
                // It has reached the cloud, or somebody else has begun to write: there is something else to start from.
                (Ok(vain), _) => self.throw_away(&vain),
                (Err(_), _) => {}
            }
        }
    }

    /// A draft of which no row speaks. The next start would take its file for content that was lost.
    pub(super) fn throw_away(&self, draft: &Draft) {
        self.files.close(draft.path());
        let _ = self.disk.remove(draft.path());
    }

    /// Whether a handle that has written the sealed content from its beginning still writes, and nothing was sent of it
    /// yet: what is under way, or was, must stay as it is.
    fn is_same_session(state: &State, intent: &Intent, sealed: SpoolId) -> bool {
        state.sessions.get(&intent.ino) == Some(&sealed)
            && !state.busy.contains_key(&intent.ino)
            && !matches!(intent.progress, Progress::Sending { .. })
            && intent.sent.is_none()
    }

    /// A draft that starts from the version in the cloud, or from nothing.
    fn begin_draft(&self, state: &mut State, intent: Intent, fresh: bool, now: Timestamp) -> JournalResult<Arc<Draft>> {
        let id = self.new_spool()?;
        let empty = Draft::create(&self.files, &self.spool_folder, id, intent.ino, &intent.name, now)?;
        let version = intent.base.as_ref().and_then(|base| Some((base.content_tag.clone()?, base.size)));
        let draft = match (version, intent.item.clone()) {
            (Some((tag, size)), Some(item)) if !fresh && size > 0 => {
                empty.with_base(SpoolBase { item, tag, size }, intent.modified)?
            }
            _ => empty,
        };
        self.take_up(state, intent, Arc::new(draft))
    }

    /// The draft is what is being written from now on.
    fn take_up(&self, state: &mut State, mut intent: Intent, draft: Arc<Draft>) -> JournalResult<Arc<Draft>> {
        let ino = intent.ino;
        intent.drafting = Some(draft.id);
        let batch = Batch { put: vec![intent], spools: vec![draft.row(&self.boot)], ..Batch::default() };
        self.apply(state, batch).inspect_err(|_| self.throw_away(&draft))?;
        state.drafts.insert(draft.id, draft.clone());
        // Without a handle there is no session: truncate(2) by name is over when it returns.
        if state.writers.contains_key(&ino) {
            state.sessions.insert(ino, draft.id);
        } else {
            state.sessions.remove(&ino);
        }
        Ok(draft)
    }

    /// A newer draft that was begun as a copy of content which is about to land, before that was complete: what it misses,
    /// or nobody has compared, is to be had from the other, and soon no more from the version that both were made from.
    pub(super) fn copy_with_gaps(&self, ino: Ino, landing: &Draft) -> Option<Arc<Draft>> {
        let state = self.lock();
        let intent = state.overlay.get(ino)?;
        let newer = intent.drafting.or(intent.sealed).filter(|newer| *newer != landing.id)?;
        let newer = state.drafts.get(&newer)?.clone();
        let incomplete = !newer.missing().is_empty() || !newer.borrowed().is_empty();
        (incomplete && newer.base() == landing.base()).then_some(newer)
    }

    /// What a draft has of its base may be wrong, and is given back to be fetched again. `false`, and nothing has happened,
    /// if the file does not stand for that item any more: it has taken the place of another, for which all had to be here,
    /// and the item goes.
    pub(super) fn give_back(&self, draft: &Draft, base: &SpoolBase) -> JournalResult<bool> {
        // Before the lock is taken: who copies the draft keeps it for as long as that takes.
        let given = draft.give_back();
        let mut state = self.lock();
        if state.overlay.get(draft.ino()).is_some_and(|intent| intent.item.as_ref() == Some(&base.item)) {
            self.apply(&mut state, Batch { spools: vec![draft.row(&self.boot)], ..Batch::default() })?;
            // A row of something that is not safe is nothing to leave behind.
            if let Some(draft) = state.drafts.get(&draft.id) {
                self.pending.mark_draft(draft);
            }
            return Ok(true);
        }
        drop(state);
        draft.take_again(&given);
        Ok(false)
    }

    /// The content that is being written is to be sent: a program closed the file. On return it survives the
    /// death of the daemon; `None` if there was nothing to seal.
    ///
    /// # Errors
    ///
    /// See [`Journal::create_folder`].
    pub fn seal(&self, ino: Ino) -> JournalResult<Option<Recorded>> {
        let now = self.now();
        let mut state = self.lock();
        let Some(intent) = state.overlay.get(ino) else { return Ok(None) };
        let Some(id) = intent.drafting else { return Ok(None) };
        let Some(draft) = state.drafts.get(&id).cloned() else { return Ok(None) };
        let mut intent = intent.clone();
        // First of all: what is written from now on is not in the row that is stored here.
        draft.freeze();
        let recorded = Recorded::now(&draft);
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
        self.join_with(&mut state, outcome, along).inspect_err(|_| draft.thaw())?;
        self.pending.mark_draft(&draft);
        Ok(Some(recorded))
    }

    /// Content that could not be sealed when its last writer was closed, because the disk was full, say: the program has
    /// heard of that or not, but what the mount shows is to be sent. Tried again from time to time.
    pub fn seal_left(&self) {
        let left: Vec<Ino> = {
            let state = self.lock();
            state.unsealed.iter().filter(|ino| !state.writers.contains_key(ino)).copied().collect()
        };
        for ino in left {
            match self.seal(ino) {
                Ok(_) => {
                    self.lock().unsealed.remove(&ino);
                }
                Err(error) => tracing::debug!(%ino, %error, "what was written last is not safe yet"),
            }
        }
    }

    /// See [`Journal::seal_left`].
    pub fn seal_later(&self, ino: Ino) {
        self.lock().unsealed.insert(ino);
    }

    /// The content being written is recorded as it is, so that the next [`Journal::sync`] makes it durable:
    /// what fsync needs. The file stays open and is not sent yet.
    ///
    /// # Errors
    ///
    /// See [`Journal::create_folder`].
    pub fn checkpoint(&self, ino: Ino) -> JournalResult<Option<Recorded>> {
        let mut state = self.lock();
        let Some(intent) = state.overlay.get(ino) else { return Ok(None) };
        let Some(draft) = intent.drafting.or(intent.sealed).and_then(|id| state.drafts.get(&id)).cloned() else {
            return Ok(None);
        };
        let recorded = Recorded::now(&draft);
        draft.settle_hash();
        draft.promise();
        self.apply(&mut state, Batch { spools: vec![draft.row(&self.boot)], ..Batch::default() })?;
        self.pending.mark_draft(&draft);
        Ok(Some(recorded))
    }

    /// Cuts or extends content that is being written; see [`Draft::truncate`]. What was cut off of the base does not come
    /// back if the file grows again, and the daemon dies.
    ///
    /// # Errors
    ///
    /// The disk's, and [`SealedDraft`](super::SealedDraft).
    pub fn cut(&self, draft: &Draft, size: u64) -> std::io::Result<()> {
        let cuts_base = draft.is_promised() && draft.reaches_into_base(size);
        draft.truncate(size, self.now())?;
        if !cuts_base {
            return Ok(());
        }
        let mut state = self.lock();
        if state.drafts.contains_key(&draft.id) {
            // A start takes what the row says of the base, and sees a cut only as long as the file is shorter.
            let batch = Batch { spools: vec![draft.row(&self.boot)], ..Batch::default() };
            if let Err(error) = self.apply(&mut state, batch) {
                let path = draft.path().display();
                tracing::warn!(%error, %path, "a cut is recorded by the next fsync or close only");
            }
        }
        Ok(())
    }

    /// The drafts that miss bytes of their bases.
    pub(crate) fn incomplete_drafts(&self) -> Vec<Arc<Draft>> {
        self.lock().drafts.values().filter(|draft| !draft.missing().is_empty()).cloned().collect()
    }

    /// An item has other tags after a new name of ours, and the same bytes, where a time stands for the version. What was
    /// made from the version before was made from this one. Returns the rows to store.
    pub(super) fn carry_bases(&self, state: &State, ino: Ino, before: Option<&Base>, now: &Item) -> Vec<SpoolRow> {
        let before = before.and_then(|base| base.content_tag.as_ref());
        let Some((from, to)) =
            before.zip(now.content_tag.as_ref()).filter(|(from, to)| from.differs_by_rename_only(to))
        else {
            return Vec::new();
        };
        let drafts = state.drafts.values().filter(|draft| draft.ino() == ino);
        drafts.filter(|draft| draft.carry_base(&now.id, from, to)).map(|draft| draft.row(&self.boot)).collect()
    }

    /// Bytes of the base were filled in: they are durable on return, and a restart does not fetch them again.
    pub(crate) fn sync_filled(&self, draft: &Draft) -> std::io::Result<()> {
        self.make_durable(draft)?;
        self.note_filled(draft.id);
        Ok(())
    }

    /// The bytes of a draft and the name of its file survive power loss on return, without the group commit.
    pub(super) fn make_durable(&self, draft: &Draft) -> std::io::Result<()> {
        if let Some(flushed) = draft.flush()? {
            self.disk.sync_dir(&self.spool_folder)?;
            draft.note_durable(flushed);
        }
        Ok(())
    }

    /// What is here of the base has changed, or what is known of it.
    pub(crate) fn note_filled(&self, id: SpoolId) {
        let mut state = self.lock();
        if let Some(draft) = state.drafts.get(&id).cloned() {
            let _ = self.apply(&mut state, Batch { spools: vec![draft.row(&self.boot)], ..Batch::default() });
            self.pending.mark_draft(&draft);
        }
    }
}
