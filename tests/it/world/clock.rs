//! Clocks for tests that would otherwise wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use onedrive_mount::base::clock::{Clock, Mono, Sleep, SystemClock, Timestamp};

/// A clock that runs many times faster than the machine's, and that can jump, as after a closed lid.
#[derive(Clone)]
pub struct FastClock {
    start: Instant,
    speed: u32,
    /// What the lid added, in nanoseconds: to both times, and to the calendar alone.
    slept: Arc<AtomicI64>,
    set: Arc<AtomicI64>,
}

impl FastClock {
    pub fn new(speed: u32) -> Self {
        Self { start: Instant::now(), speed, slept: Arc::default(), set: Arc::default() }
    }

    /// The same, its calendar going on from the present day.
    pub fn from_today(speed: u32) -> Self {
        let clock = Self::new(speed);
        let today = SystemClock::new().now().0.saturating_sub(clock.now().0);
        clock.set_calendar(today / 1_000_000_000);
        clock
    }

    /// The lid is closed for this long: no sleep ends meanwhile, but time passes.
    pub fn suspend(&self, by: Duration) {
        self.slept.fetch_add(by.as_nanos() as i64, Ordering::SeqCst);
    }

    /// Somebody sets the calendar, in either direction.
    pub fn set_calendar(&self, seconds: i64) {
        self.set.fetch_add(seconds * 1_000_000_000, Ordering::SeqCst);
    }
}

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        let passed = self.monotonic().0 as i64 + self.set.load(Ordering::SeqCst);
        Timestamp(1_770_000_000_000_000_000 + passed)
    }

    fn monotonic(&self) -> Mono {
        let awake = self.start.elapsed() * self.speed;
        Mono(awake.as_nanos() as u64 + self.slept.load(Ordering::SeqCst) as u64)
    }

    fn sleep(&self, by: Duration) -> Sleep {
        let (clock, until) = (self.clone(), self.monotonic().plus(by));
        Box::pin(async move {
            loop {
                let left = until.since(clock.monotonic());
                if left.is_zero() {
                    return;
                }
                // As the machine's own clock does: what was slept through is noticed a little later.
                tokio::time::sleep(left.min(Duration::from_secs(10)) / clock.speed).await;
            }
        })
    }
}
