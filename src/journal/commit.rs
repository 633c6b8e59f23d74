//! Group commit: one disk flush for everything that waited.
//!
//! Mutations reach the kernel at once (they survive the daemon); this thread makes them survive power loss:
//! within [`QUIET`] of the first unsynced one, or at once if somebody waits (fsync) or very many have come together. Spool
//! bytes are synced before the log that speaks of them. Between two rounds it shortens the log.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::intent::SpoolId;
use super::spool::Draft;

/// How long a closed file may be without protection from power loss.
pub const QUIET: Duration = Duration::from_secs(1);

/// So many mutations wait for no more company: what is behind them should not become long without limit.
const MANY: u64 = 1_000;

/// What the group commit has to do; shared between the journal and its thread.
pub(super) struct Pending {
    inner: Mutex<Inner>,
    changed: Condvar,
    done: tokio::sync::watch::Sender<u64>,
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
    remove: Vec<(SpoolId, PathBuf)>,
}

/// One round of work.
pub(super) struct Round {
    pub generation: u64,
    pub drafts: Vec<Arc<Draft>>,
    pub remove: Vec<(SpoolId, PathBuf)>,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self { inner: Mutex::default(), changed: Condvar::new(), done: tokio::sync::watch::channel(0).0 }
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

    /// The bytes of a draft need syncing.
    pub(super) fn mark_draft(&self, draft: &Arc<Draft>) {
        let mut inner = self.lock();
        inner.drafts.insert(draft.id, draft.clone());
        self.more(&mut inner);
    }

    /// A file is to be removed once the log that says so is durable.
    pub(super) fn remove_later(&self, id: SpoolId, path: PathBuf) {
        let mut inner = self.lock();
        inner.drafts.remove(&id);
        inner.remove.push((id, path));
        self.more(&mut inner);
    }

    /// Asks for a round now; the receiver sees a number of at least the returned one when it is done.
    pub(super) fn request(&self) -> (u64, tokio::sync::watch::Receiver<u64>) {
        let mut inner = self.lock();
        inner.urgent = true;
        self.changed.notify_one();
        (inner.generation, self.done.subscribe())
    }

    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_one();
    }

    /// Waits for work; `None` when stopped and nothing is left.
    pub(super) fn next_round(&self) -> Option<Round> {
        let mut inner = self.lock();
        loop {
            let open = inner.generation > *self.done.borrow();
            if !open && !inner.urgent {
                if inner.stopped {
                    return None;
                }
                inner.idle = true;
                inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            inner.idle = false;
            break;
        }
        if !inner.urgent && !inner.stopped {
            // Whatever comes in this time shares the flush.
            inner.full = *self.done.borrow() + MANY;
            let (guard, _) = self
                .changed
                .wait_timeout_while(inner, QUIET / 2, |inner| {
                    !inner.urgent && !inner.stopped && inner.generation < inner.full
                })
                .unwrap_or_else(PoisonError::into_inner);
            inner = guard;
        }
        inner.urgent = false;
        Some(Round {
            generation: inner.generation,
            drafts: inner.drafts.drain().map(|(_, draft)| draft).collect(),
            remove: std::mem::take(&mut inner.remove),
        })
    }

    /// A round failed; its work is taken up again after a pause, so that a full disk does not spin. `false` if
    /// there is no time for that because the journal is being closed.
    pub(super) fn retry(&self, round: Round) -> bool {
        let mut inner = self.lock();
        for draft in round.drafts {
            inner.drafts.entry(draft.id).or_insert(draft);
        }
        inner.remove.extend(round.remove);
        if inner.stopped {
            return false;
        }
        let _ = self
            .changed
            .wait_timeout_while(inner, QUIET, |inner| !inner.stopped)
            .unwrap_or_else(PoisonError::into_inner);
        true
    }

    /// A round is done.
    pub(super) fn finished(&self, generation: u64) {
        self.done.send_replace(generation);
    }
}
