//! Time as a parameter.
//!
//! Nothing else in this program reads a clock or sleeps, so a test can hold time still, jump it (a
//! suspended laptop) and run an hour of retries in a millisecond.

use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment of the calendar: nanoseconds since 1970-01-01 UTC, negative before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From whole seconds since 1970.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Whole seconds since 1970, rounded down: the granularity at which the service keeps times.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// The nanoseconds past [`Timestamp::seconds`], 0 to 999,999,999.
    pub const fn subsec_nanos(self) -> u32 {
        self.0.rem_euclid(1_000_000_000) as u32
    }

    /// As the standard library's type.
    pub fn to_system_time(self) -> SystemTime {
        if self.0 >= 0 {
            UNIX_EPOCH + Duration::from_nanos(self.0 as u64)
        } else {
            UNIX_EPOCH - Duration::from_nanos(self.0.unsigned_abs())
        }
    }

    /// From the standard library's type; moments outside the years 1678 to 2262 are clamped.
    pub fn from_system_time(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(i64::try_from(after.as_nanos()).unwrap_or(i64::MAX)),
            Err(before) => Self(i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n)),
        }
    }

    /// This moment moved by a duration, saturating.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
    }
}

/// A moment of a clock that never goes back: nanoseconds since some start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Mono(pub u64);

impl Mono {
    /// This moment moved by a duration, saturating.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is before.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A sleep under way.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The calendar time.
    fn now(&self) -> Timestamp;
    /// The time for measuring and for deadlines.
    fn monotonic(&self) -> Mono;
    /// Completes once `by` has passed.
    fn sleep(&self, by: Duration) -> Sleep;
}

/// The machine's own clock.
///
/// Its monotonic time goes on while the machine is suspended, and so do its sleeps: a pause of five minutes that
/// the lid interrupted for an hour is over soon after the lid is opened, not five minutes later.
#[derive(Debug)]
pub struct SystemClock {
    start: Duration,
}

/// The kernel's timers stand still while the machine is suspended, so long sleeps look up this often.
const NAP: Duration = Duration::from_secs(10);

/// Time since the machine was started, suspended or not.
fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self { start: since_boot() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_system_time(SystemTime::now())
    }

    fn monotonic(&self) -> Mono {
        Mono(u64::try_from(since_boot().saturating_sub(self.start).as_nanos()).unwrap_or(u64::MAX))
    }

    fn sleep(&self, by: Duration) -> Sleep {
        // Made only when polled: whoever asks for a deadline may stand on a thread without a runtime (the kernel's
        // request readers do), and only the task that waits for it runs in one.
        Box::pin(async move {
            let until = since_boot().saturating_add(by);
            loop {
                let left = until.saturating_sub(since_boot());
                tokio::time::sleep(left.min(NAP)).await;
                if left <= NAP {
                    return;
                }
            }
        })
    }
}

/// A clock that moves only when told to: sleeps complete when it is advanced past their end.
#[derive(Clone)]
pub struct ManualClock {
    inner: Arc<Mutex<ManualState>>,
}

struct ManualState {
    now: Timestamp,
    mono: Mono,
    sleepers: BinaryHeap<Sleeper>,
}

struct Sleeper {
    until: Mono,
    wake: tokio::sync::oneshot::Sender<()>,
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        self.until == other.until
    }
}
impl Eq for Sleeper {}
impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.until.cmp(&self.until)
    }
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { inner: Arc::new(Mutex::new(ManualState { now, mono: Mono(0), sleepers: BinaryHeap::new() })) }
    }

    /// Moves both times forward and completes the sleeps that end on the way.
    pub fn advance(&self, by: Duration) {
        let mut state = self.lock();
        state.now = state.now.plus(by);
        state.mono = state.mono.plus(by);
        while state.sleepers.peek().is_some_and(|s| s.until <= state.mono) {
            if let Some(sleeper) = state.sleepers.pop() {
                let _ = sleeper.wake.send(());
            }
        }
    }

    /// Moves the calendar only, in either direction: somebody set the clock.
    pub fn set(&self, now: Timestamp) {
        self.lock().now = now;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ManualState> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn monotonic(&self) -> Mono {
        self.lock().mono
    }

    fn sleep(&self, by: Duration) -> Sleep {
        let (wake, woken) = tokio::sync::oneshot::channel();
        let mut state = self.lock();
        let until = state.mono.plus(by);
        if by.is_zero() {
            return Box::pin(std::future::ready(()));
        }
        state.sleepers.push(Sleeper { until, wake });
        Box::pin(async move {
            let _ = woken.await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_round_down_before_1970_too() {
        assert_eq!(Timestamp(-1).seconds(), -1);
        assert_eq!(Timestamp(-1).subsec_nanos(), 999_999_999);
        let t = Timestamp(-1_500_000_000);
        assert_eq!(Timestamp::from_system_time(t.to_system_time()), t);
    }

    #[test]
    fn a_sleep_may_be_asked_for_on_a_thread_without_a_runtime() {
        let sleep = SystemClock::new().sleep(Duration::from_millis(1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(sleep);
    }

    #[tokio::test]
    async fn a_manual_sleep_ends_when_the_clock_passes_it() {
        let clock = ManualClock::new(Timestamp(0));
        let sleeping = tokio::spawn(clock.sleep(Duration::from_secs(3600)));
        tokio::task::yield_now().await;
        assert!(!sleeping.is_finished());
        clock.advance(Duration::from_secs(3600));
        sleeping.await.expect("the sleeper ends");
    }
}
