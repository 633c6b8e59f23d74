//! A simulated line between client and service.
//!
//! Whether a client is quick shows only on a line that has a length: on loopback a thousand requests in a row are
//! free. Each request waits one round trip, each new connection two more (one for TCP, one for TLS 1.3), and the
//! bytes of all connections share one bandwidth for each direction. That holds for everybody alike, whatever a
//! client speaks: connections through the proxy of `lab` pay exactly what plain ones do.
//!
//! Always true: over any stretch in which somebody has bytes to send, the line carries its bandwidth, no more, and
//! no less as long as the machine keeps up. A timer that wakes late costs the line nothing, because who was waiting
//! for its turn is taken to have come when its turn was; and an idle line saves nothing up.
//!
//! Not simulated: loss, congestion windows (a new connection is at full speed at once), and the time that the
//! service thinks.

use std::sync::{Mutex, RwLock};
use std::time::Duration;

use super::world::lock;
use crate::base::clock::{Clock, Mono};

/// A simulated line between client and service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Added to every request once, and twice to every new connection.
    pub rtt: Duration,
    /// Bandwidth in each direction, shared by all connections; zero for no limit.
    pub bytes_per_second: u64,
}

/// Waits shorter than this are added to the next one: a timer is not finer.
const TICK: Duration = Duration::from_millis(2);

/// How late a waiter may come back and still count as in time. Longer, and it was busy with something else.
const LATE: Duration = Duration::from_millis(10);

/// The line as it is now, and how far it is booked.
pub(crate) struct LinkState {
    link: RwLock<Option<Link>>,
    up: Mutex<Mono>,
    down: Mutex<Mono>,
}

/// One body on its way over the line.
#[derive(Default)]
pub(crate) struct Passage {
    /// When its bytes so far are over.
    due: Mono,
}

impl LinkState {
    pub(crate) fn new(link: Option<Link>) -> Self {
        Self { link: RwLock::new(link), up: Mutex::default(), down: Mutex::default() }
    }

    /// Changes the line; what is on its way is not affected.
    pub(crate) fn set(&self, link: Option<Link>) {
        *self.link.write().unwrap_or_else(std::sync::PoisonError::into_inner) = link;
    }

    /// The line; `None` for loopback as it is.
    pub(crate) fn get(&self) -> Option<Link> {
        *self.link.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Waits for this many round trips.
    pub(crate) async fn round_trips(&self, clock: &dyn Clock, count: u32) {
        if let Some(link) = self.get().filter(|link| !link.rtt.is_zero()) {
            clock.sleep(link.rtt * count).await;
        }
    }

    /// Takes bytes to the service.
    pub(crate) async fn up(&self, clock: &dyn Clock, passage: &mut Passage, bytes: u64) {
        self.pass(&self.up, clock, passage, bytes).await;
    }

    /// Takes bytes to the client.
    pub(crate) async fn down(&self, clock: &dyn Clock, passage: &mut Passage, bytes: u64) {
        self.pass(&self.down, clock, passage, bytes).await;
    }

    /// Takes the next free stretch of the line and waits until its end.
    async fn pass(&self, line: &Mutex<Mono>, clock: &dyn Clock, passage: &mut Passage, bytes: u64) {
        let Some(link) = self.get().filter(|link| link.bytes_per_second > 0) else { return };
        let now = clock.monotonic();
        let there = if now.since(passage.due) <= LATE { passage.due } else { now };
        {
            let mut free = lock(line);
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(link.bytes_per_second);
            *free = (*free).max(there).plus(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
            passage.due = *free;
        }
        let wait = passage.due.since(now);
        if wait > TICK {
            clock.sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::ManualClock;
    use crate::base::clock::Timestamp;

    const PIECE: u64 = 125_000;

    fn line() -> LinkState {
        LinkState::new(Some(Link { rtt: Duration::ZERO, bytes_per_second: 125_000_000 }))
    }

    /// Books pieces of one millisecond each; the waiter wakes `late` after each wait.
    async fn book(state: &LinkState, clock: &ManualClock, passage: &mut Passage, pieces: u32, late: Duration) {
        for _ in 0..pieces {
            {
                let mut wait = Box::pin(state.down(clock, passage, PIECE));
                std::future::poll_fn(|context| {
                    let _ = wait.as_mut().poll(context);
                    std::task::Poll::Ready(())
                })
                .await;
            }
            let wait = passage.due.since(clock.monotonic());
            if wait > TICK {
                clock.advance(wait + late);
            }
        }
    }

    #[tokio::test]
    async fn a_waiter_that_wakes_late_costs_the_line_nothing() {
        let clock = ManualClock::new(Timestamp::from_seconds(1_000_000));
        let (state, mut passage, begun) = (line(), Passage::default(), clock.monotonic());
        book(&state, &clock, &mut passage, 1000, Duration::from_millis(3)).await;
        let took = passage.due.since(begun);
        assert!(took <= Duration::from_millis(1010), "a thousand pieces of a millisecond took {took:?}");
        assert!(took >= Duration::from_millis(990), "the line carried more than its bandwidth: {took:?}");
    }

    #[tokio::test]
    async fn an_idle_line_saves_nothing_up_and_two_share_it() {
        let clock = ManualClock::new(Timestamp::from_seconds(1_000_000));
        let (state, mut one, mut two) = (line(), Passage::default(), Passage::default());
        book(&state, &clock, &mut one, 10, Duration::ZERO).await;
        clock.advance(Duration::from_secs(5));
        let begun = clock.monotonic();
        for _ in 0..50 {
            book(&state, &clock, &mut one, 1, Duration::ZERO).await;
            book(&state, &clock, &mut two, 1, Duration::ZERO).await;
        }
        assert_eq!(two.due.since(begun), Duration::from_millis(100));
    }
}
