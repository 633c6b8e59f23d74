//! Group commit: one disk flush for everything that waited.
//!
//! Mutations reach the kernel at once (they survive the daemon); this thread makes them survive power loss:
//! within [`QUIET`] of the first unsynced one, or at once if somebody waits (fsync) or very many have come together. Spool
//! bytes are synced before the log that speaks of them. Between two rounds it shortens the log.
//!
//! | fails | who waits is told | then |
//! | --- | --- | --- |
//! | the sync of one draft | whoever fsyncs that file: so; all others that all is well | that draft alone is tried again, when somebody asks for it, else [`AGAIN`] |
//! | the sync of the index, which comes before that of the log if something was settled | nobody | the index may be behind after a loss of power |
//! | anything else of a round | all: so | the round is made again after [`QUIET`] |
//!
//! Always true: nobody is told that something is safe on the word of a sync that came after one that failed, unless the bytes
//! were written again in between (`Draft::flush`, `Store::sync`).

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::intent::SpoolId;
use super::spool::{Draft, Flushed};
use super::store::{Store, StoreError};
use super::{Journal, JournalResult, Recorded};
use crate::base::disk::Disk;

/// How long a closed file may be without protection from power loss.
pub const QUIET: Duration = Duration::from_secs(1);

/// How long a draft that could not be synced rests before that is tried again, if nobody asks for it.
const AGAIN: Duration = Duration::from_secs(10);

/// So many mutations wait for no more company: what is behind them should not become long without limit.
const MANY: u64 = 1_000;

/// What the group commit has to do; shared between the journal and its thread.
pub(super) struct Pending {
    inner: Mutex<Inner>,
    changed: Condvar,
    done: tokio::sync::watch::Sender<Done>,
}

/// What the rounds so far have come to.
#[derive(Clone, Default)]
pub(super) struct Done {
    /// Everything up to this generation is durable.
    reached: u64,
    /// The last round that failed, by number, and how.
    failed: Option<(u64, io::ErrorKind, String)>,
}

/// Somebody waits for a round.
struct Request {
    generation: u64,
    /// Rounds that began before are not theirs to fail.
    round: u64,
    done: tokio::sync::watch::Receiver<Done>,
}

#[derive(Default)]
struct Inner {
    /// Moves with every mutation.
    generation: u64,
    urgent: bool,
    stopped: bool,
    /// The thread waits for anything to do. Once there is, what more comes is no news to it: it has a round to make.
    idle: bool,
    /// At this generation the thread waits for no more.
    full: u64,
    drafts: HashMap<SpoolId, Arc<Draft>>,
    /// Drafts whose sync has failed, and when the first of them did: one that fails again and again keeps no other waiting.
    failed: HashMap<SpoolId, Arc<Draft>>,
    failed_at: Option<Instant>,
    remove: Vec<(SpoolId, PathBuf)>,
    /// Something was settled: the index knows from now on what the journal knew.
    settled: bool,
    /// How many rounds have begun.
    rounds: u64,
}

impl Inner {
    /// How long drafts that could not be synced rest from now on; `None` if there are none.
    fn rest(&self) -> Option<Duration> {
        let since = self.failed_at.filter(|_| !self.failed.is_empty())?;
        Some(if self.stopped { Duration::ZERO } else { AGAIN.saturating_sub(since.elapsed()) })
    }
}

/// One round of work.
pub(super) struct Round {
    number: u64,
    generation: u64,
    pub(super) drafts: Vec<Arc<Draft>>,
    remove: Vec<(SpoolId, PathBuf)>,
    pub(super) settled: bool,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self { inner: Mutex::default(), changed: Condvar::new(), done: tokio::sync::watch::channel(Done::default()).0 }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was written to the log.
    pub(super) fn mark(&self) {
        self.more(&mut self.lock());
    }

    fn more(&self, inner: &mut Inner) {
        inner.generation += 1;
        if std::mem::take(&mut inner.idle) || inner.generation == inner.full {
            self.changed.notify_one();
        }
    }

    /// Something is about to be settled: until the index that knows of it survives a loss of power, the journal must not
    /// have forgotten it.
    pub(super) fn settles(&self) {
        self.lock().settled = true;
    }

    /// The bytes of a draft need syncing.
    pub(super) fn mark_draft(&self, draft: &Arc<Draft>) {
        let mut inner = self.lock();
        inner.failed.remove(&draft.id);
        inner.drafts.insert(draft.id, draft.clone());
        self.more(&mut inner);
    }

    /// A file is to be removed once the log that says so is durable.
    pub(super) fn remove_later(&self, id: SpoolId, path: PathBuf) {
        let mut inner = self.lock();
        inner.drafts.remove(&id);
        inner.failed.remove(&id);
        inner.remove.push((id, path));
        self.more(&mut inner);
    }

    /// Asks for a round now.
    fn request(&self) -> Request {
        let mut inner = self.lock();
        inner.urgent = true;
        self.changed.notify_one();
        Request { generation: inner.generation, round: inner.rounds + 1, done: self.done.subscribe() }
    }

    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_one();
    }

    /// Waits for work; `None` when stopped and nothing is left.
    pub(super) fn next_round(&self) -> Option<Round> {
        let mut inner = self.lock();
        loop {
            let open = inner.generation > self.done.borrow().reached;
            let rest = inner.rest();
            if open || inner.urgent || rest == Some(Duration::ZERO) {
                inner.idle = false;
                break;
            }
            if inner.stopped {
                return None;
            }
            inner.idle = true;
            inner = match rest {
                Some(rest) => self.changed.wait_timeout(inner, rest).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner),
            };
        }
        if !inner.urgent && !inner.stopped {
            // Whatever comes in this time shares the flush.
            inner.full = self.done.borrow().reached + MANY;
            let (guard, _) = self
                .changed
                .wait_timeout_while(inner, QUIET / 2, |inner| {
                    !inner.urgent && !inner.stopped && inner.generation < inner.full
                })
                .unwrap_or_else(PoisonError::into_inner);
            inner = guard;
        }
        inner.urgent = false;
        inner.rounds += 1;
        if inner.rest() == Some(Duration::ZERO) {
            let again = std::mem::take(&mut inner.failed);
            inner.drafts.extend(again);
        }
        Some(Round {
            number: inner.rounds,
            generation: inner.generation,
            drafts: inner.drafts.drain().map(|(_, draft)| draft).collect(),
            remove: std::mem::take(&mut inner.remove),
            settled: std::mem::take(&mut inner.settled),
        })
    }

    /// A round failed; its work is taken up again after a pause, so that a full disk does not spin. `false` if
    /// there is no time for that because the journal is being closed.
    fn retry(&self, round: Round, error: &StoreError) -> bool {
        let kind = match error {
            StoreError::Disk(error) => error.kind(),
            full if full.is_full() => io::ErrorKind::StorageFull,
            _ => io::ErrorKind::Other,
        };
        let mut inner = self.lock();
        for draft in round.drafts {
            inner.drafts.entry(draft.id).or_insert(draft);
        }
        inner.remove.extend(round.remove);
        inner.settled |= round.settled;
        self.done.send_modify(|done| done.failed = Some((round.number, kind, error.to_string())));
        if inner.stopped {
            return false;
        }
        let _ = self
            .changed
            .wait_timeout_while(inner, QUIET, |inner| !inner.stopped)
            .unwrap_or_else(PoisonError::into_inner);
        true
    }

    /// A draft could not be synced.
    fn again(&self, draft: Arc<Draft>) {
        let mut inner = self.lock();
        if !inner.stopped {
            if inner.failed.is_empty() {
                inner.failed_at = Some(Instant::now());
            }
            inner.failed.insert(draft.id, draft);
        }
    }

    /// A round is done.
    fn finished(&self, generation: u64) {
        self.done.send_modify(|done| done.reached = generation);
    }
}

/// Makes rounds until the journal is closed. `synced` hears of each when the bytes of its drafts are durable, before
/// the log is.
pub(super) fn run_commits(
    store: &Store,
    disk: &dyn Disk,
    spool_folder: &Path,
    pending: &Pending,
    synced: &dyn Fn(&Round) -> JournalResult<()>,
) {
    // Files that were removed; a loss of power may bring one back until their folder was synced, and then the journal must
    // still say what it is.
    let mut unlinked = Vec::new();
    while let Some(mut round) = pending.next_round() {
        let (mut done, mut flushed) = (Vec::new(), Vec::new());
        for draft in std::mem::take(&mut round.drafts) {
            match draft.flush() {
                Ok(news) => {
                    flushed.extend(news.map(|news| (draft.clone(), news)));
                    done.push(draft);
                }
                Err(error) => {
                    tracing::error!(%error, path = %draft.path().display(), "unsent content cannot be made durable");
                    pending.again(draft);
                }
            }
        }
        round.drafts = done;
        match carry_out(store, disk, spool_folder, &round, flushed, &mut unlinked, synced) {
            Ok(()) => {
                pending.finished(round.generation);
                // Whoever waited for the round has no business with this.
                if let Err(error) = store.shorten_log() {
                    tracing::warn!(%error, "the journal's log stays long");
                }
            }
            Err(error) => {
                tracing::error!(%error, "the journal cannot be made durable; trying again");
                if !pending.retry(round, &error) {
                    return;
                }
            }
        }
    }
}

/// Everything of a round behind the bytes of its drafts.
fn carry_out(
    store: &Store,
    disk: &dyn Disk,
    spool_folder: &Path,
    round: &Round,
    flushed: Vec<(Arc<Draft>, Flushed)>,
    unlinked: &mut Vec<SpoolId>,
    synced: &dyn Fn(&Round) -> JournalResult<()>,
) -> JournalResult<()> {
    let mut gone = Vec::new();
    if !flushed.is_empty() {
        disk.sync_dir(spool_folder)?;
        gone.append(unlinked);
    }
    for (draft, news) in flushed {
        draft.note_durable(news);
    }
    synced(round)?;
    store.sync()?;
    for (id, path) in &round.remove {
        match disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "a finished spool file cannot be removed");
            }
            _ => unlinked.push(*id),
        }
    }
    if !gone.is_empty() {
        store.forget_retired(&gone)?;
    }
    Ok(())
}

impl Journal {
    /// Waits until everything that was recorded before this call survives power loss, except content that the disk does not
    /// take; for that see [`Journal::sync_content`].
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk refuses, or the journal has been closed. It is tried again all the same.
    pub async fn sync(&self) -> JournalResult<()> {
        let Request { generation, round, mut done } = self.pending.request();
        let told = done
            .wait_for(|done| {
                done.reached >= generation || done.failed.as_ref().is_some_and(|(number, ..)| *number >= round)
            })
            .await;
        match told.as_deref() {
            Ok(done) if done.reached >= generation => Ok(()),
            Ok(Done { failed: Some((_, kind, text)), .. }) => {
                Err(StoreError::Disk(io::Error::new(*kind, text.clone())))
            }
            _ => Err(StoreError::Disk(io::Error::other("the journal is closed"))),
        }
    }

    /// As [`Journal::sync`], of the content of a file, too: what was recorded of it (closed, or [`Journal::checkpoint`])
    /// survives power loss on return.
    ///
    /// # Errors
    ///
    /// As there; and the disk does not take the content.
    pub async fn sync_content(&self, recorded: Option<Recorded>) -> JournalResult<()> {
        self.sync().await?;
        let Some(Recorded { spool, changes }) = recorded else { return Ok(()) };
        match self.draft(spool) {
            Some(draft) if !draft.survives(changes) => Err(draft.trouble().into()),
            // What nobody needs any more has reached the cloud, or was replaced.
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::disk::RealDisk;
    use crate::base::ids::Ino;
    use crate::journal::spool::SpoolFiles;

    #[test]
    fn a_draft_that_could_not_be_synced_is_tried_again_whatever_fails_after_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = SpoolFiles::new(RealDisk::shared());
        let draft = |id| Draft::create(&files, dir.path(), SpoolId(id), Ino(2), "x", Timestamp(0)).expect("creates");
        let pending = Pending::new();
        pending.again(Arc::new(draft(1)));
        let first = pending.lock().failed_at;
        pending.again(Arc::new(draft(2)));
        assert_eq!(pending.lock().failed_at, first);
    }
}
