//! Whether a readahead has had its turn.
//!
//! Requests that nobody waits for yet go last, and while everything more urgent goes first that may take minutes. Who comes
//! to need the bytes takes the turn away and asks in their own name. Always true: it is answered or taken, never both.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

const WAITS: u8 = 0;
const ANSWERED: u8 = 1;
const TAKEN: u8 = 2;

/// The turn of one readahead.
#[derive(Default)]
pub(super) struct Turn {
    state: AtomicU8,
    taken: Notify,
}

impl Turn {
    /// The service has begun to answer; `false` if the turn was taken before.
    pub(super) fn answer(&self) -> bool {
        let was = self.state.compare_exchange(WAITS, ANSWERED, Ordering::AcqRel, Ordering::Acquire);
        was.is_ok() || was == Err(ANSWERED)
    }

    /// Somebody asks instead; `false` if the service has begun to answer, or somebody else was first.
    pub(super) fn take(&self) -> bool {
        let took = self.state.compare_exchange(WAITS, TAKEN, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if took {
            self.taken.notify_one();
        }
        took
    }

    /// Waits until it is taken.
    pub(super) async fn taken(&self) {
        self.taken.notified().await;
    }
}
