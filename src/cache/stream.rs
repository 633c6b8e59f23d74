//! How far to read ahead: decided from where a handle has read before.
//!
//! A first touch gets what it asks for and nothing more, because most files that are opened are only
//! sniffed. Whoever goes on reading where they stopped gets a window that doubles as they consume it.
//! The kernel's own readahead sends requests slightly out of order, so "where they stopped" is meant with
//! some tolerance. A jump starts over. Pure but for the lock around it.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::CHUNK;

/// How far a read may be from the expected place and still count as going on.
const TOLERANCE: u64 = 512 << 10;
/// The first window, in bytes. As much as a line of 1 Gbit/s carries in 30 ms: with less, the first second of every
/// stream is spent waiting for the window to grow.
const FIRST_WINDOW: u64 = 4 << 20;

/// The reading of one open handle. Dropping it ends the readahead made for it.
#[derive(Debug, Default)]
pub struct ReadStream {
    shared: Arc<StreamShared>,
}

#[derive(Debug, Default)]
struct StreamShared {
    detector: Mutex<Detector>,
}

/// Stands for a stream at the time a readahead was made for it.
#[derive(Clone, Debug)]
pub(super) struct Interest {
    stream: Weak<StreamShared>,
    epoch: u64,
}

impl ReadStream {
    /// The stream of a handle that has just been opened.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a read.
    pub(super) fn note(&self, range: &Range<u64>, max_window: u64, part: u64) -> Ahead {
        self.lock().note(range, max_window, part)
    }

    /// Takes back the last part of what [`ReadStream::note`] said: nothing was requested from `at` on.
    pub(super) fn not_requested(&self, at: u64) {
        let mut detector = self.lock();
        detector.requested = detector.requested.min(at);
    }

    /// Stands for this stream until its next jump or its end.
    pub(super) fn interest(&self) -> Interest {
        Interest { stream: Arc::downgrade(&self.shared), epoch: self.lock().epoch }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Detector> {
        self.shared.detector.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Interest {
    /// Whether the stream is still open and still going on where it was.
    pub(super) fn lives(&self) -> bool {
        self.stream
            .upgrade()
            .is_some_and(|stream| stream.detector.lock().unwrap_or_else(PoisonError::into_inner).epoch == self.epoch)
    }
}

/// What to have ready after a read, in bytes of the file; not clipped to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ahead {
    /// How far the bytes from the end of the read on are wanted soon; equal to that end if nothing is.
    pub(super) until: u64,
    /// The part of that which was not said before and is worth a request; often empty.
    pub(super) request: Range<u64>,
}

/// Where a handle has read.
#[derive(Debug, Default)]
struct Detector {
    started: bool,
    /// Where the next read starts if it goes on.
    next: u64,
    window: u64,
    /// Bytes consumed since the window last grew.
    consumed: u64,
    /// Up to where readahead was asked for.
    requested: u64,
    /// Moves with every jump.
    epoch: u64,
}

impl Detector {
    /// | read | window | asks for |
    /// | --- | --- | --- |
    /// | the first | none | nothing |
    /// | within 512 KiB of the expected place | 4 MiB, doubled each time a quarter of it was consumed | what of it was not asked for yet, once that is a part, or a quarter of the window |
    /// | elsewhere | none | nothing; earlier readahead loses its reason |
    fn note(&mut self, range: &Range<u64>, max_window: u64, part: u64) -> Ahead {
        let goes_on = self.started && range.start.abs_diff(self.next) <= TOLERANCE;
        if !goes_on {
            if self.started {
                self.epoch += 1;
            }
            *self = Self { started: true, next: range.end, epoch: self.epoch, ..Self::default() };
            return Ahead { until: range.end, request: range.end..range.end };
        }
        let progress = range.end.saturating_sub(self.next);
        self.next = self.next.max(range.end);
        self.consumed += progress;
        if self.window == 0 {
            self.window = FIRST_WINDOW.min(max_window);
            self.consumed = 0;
        } else if self.consumed >= self.window / 4 && self.window < max_window {
            self.window = (self.window * 2).min(max_window);
            self.consumed = 0;
        }
        let until = self.next.saturating_add(self.window);
        let from = self.requested.max(self.next);
        let worth_it = part.min(self.window / 4).max(CHUNK);
        // Whole chunks only, so that neighbouring requests share none.
        let to = until / CHUNK * CHUNK;
        let request = if to >= from + worth_it { from..to } else { from..from };
        self.requested = self.requested.max(request.end);
        Ahead { until: to.max(self.next), request }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 32 << 20;
    const PART: u64 = 4 << 20;
    const K: u64 = 1 << 10;

    fn note(detector: &mut Detector, range: Range<u64>) -> Ahead {
        detector.note(&range, MAX, PART)
    }

    #[test]
    fn a_first_touch_asks_for_nothing_more() {
        for start in [0, 1 << 30] {
            let ahead = note(&mut Detector::default(), start..start + 4 * K);
            assert!(ahead.request.is_empty(), "{ahead:?}");
            assert_eq!(ahead.until, start + 4 * K);
        }
    }

    #[test]
    fn going_on_asks_for_each_byte_once_and_reaches_the_full_window() {
        let mut detector = Detector::default();
        let mut requested = 0u64;
        for at in (0..64 << 20).step_by(128 << 10) {
            let ahead = note(&mut detector, at..at + CHUNK);
            if !ahead.request.is_empty() {
                assert!(ahead.request.start >= requested, "never twice: {ahead:?} after {requested}");
                requested = ahead.request.end;
            }
        }
        assert_eq!(detector.window, MAX);
        assert!(requested >= (64 << 20) + MAX - PART, "{requested}");
    }

    #[test]
    fn slightly_out_of_order_is_going_on_and_a_jump_is_not() {
        let mut detector = Detector::default();
        note(&mut detector, 0..CHUNK);
        note(&mut detector, 2 * CHUNK..3 * CHUNK);
        let ahead = note(&mut detector, CHUNK..2 * CHUNK);
        assert!(ahead.until > 3 * CHUNK, "{ahead:?}");
        assert_eq!(detector.epoch, 0);
        let ahead = note(&mut detector, 1 << 30..(1 << 30) + CHUNK);
        assert_eq!(ahead.until, (1 << 30) + CHUNK);
        assert_eq!(detector.epoch, 1);
    }

    #[test]
    fn tiny_reads_do_not_blow_the_window_up() {
        let mut detector = Detector::default();
        for at in (0..64 * K).step_by(4096) {
            note(&mut detector, at..at + 4096);
        }
        assert_eq!(detector.window, FIRST_WINDOW);
    }

    #[test]
    fn interest_ends_with_a_jump_and_with_the_handle() {
        let stream = ReadStream::new();
        stream.note(&(0..CHUNK), MAX, PART);
        let first = stream.interest();
        stream.note(&(CHUNK..2 * CHUNK), MAX, PART);
        assert!(first.lives());
        stream.note(&(1 << 30..(1 << 30) + 1), MAX, PART);
        assert!(!first.lives());
        let second = stream.interest();
        assert!(second.lives());
        drop(stream);
        assert!(!second.lives());
    }
}
