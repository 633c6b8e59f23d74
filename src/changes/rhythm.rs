//! How long to wait before asking again. Pure.
//!
//! Asking costs the service and the battery, not asking costs freshness. While things change, or somebody
//! uses the mount, the configured interval holds; a quiet drive that nobody looks at is asked less often.
//! After a wake-up the feed is asked several times, because it lags behind its own notifications.

use std::time::Duration;

/// A quiet drive is asked at this multiple of the interval at the slowest.
const SLOWEST: u32 = 5;
/// How many polls without news make a drive quiet.
const PATIENT_POLLS: u32 = 5;
/// The first pause after a failure, doubled with each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(5);
/// The longest pause after a failure, unless the service asked for more.
const LAST_BACKOFF: Duration = Duration::from_secs(300);
/// The same if nothing was reached: that cost nobody anything, and the first who notices that the network is back is
/// this one, where nobody else asks for anything.
const LAST_BACKOFF_UNREACHED: Duration = Duration::from_secs(30);
/// When to look again after a wake-up: the feed shows a change 5 to 60 seconds after it was made.
const FOLLOW_UPS: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(20), Duration::from_secs(60)];

/// What the next pause depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rhythm {
    /// Failed polls in a row.
    failures: u32,
    /// Polls without news in a row.
    quiet: u32,
    /// Looks still to come after the last wake-up.
    follow_ups: usize,
}

/// How a poll went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There was something new.
    News,
    /// There was nothing new.
    Quiet,
    /// It failed.
    Failed(Failure),
}

/// A poll that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Failure {
    /// The pause that the service asked for, if it did.
    pub asked: Option<Duration>,
    /// There was no connection.
    pub unreached: bool,
}

impl Rhythm {
    /// A hint came that something has changed.
    pub(super) fn woken(&mut self) {
        self.follow_ups = FOLLOW_UPS.len();
        self.quiet = 0;
    }

    /// Somebody uses the mount.
    pub(super) fn used(&mut self) {
        self.quiet = 0;
    }

    /// Whether the pause is longer than the configured interval only because nobody cares.
    pub(super) fn is_stretched(&self) -> bool {
        self.failures == 0 && self.quiet > PATIENT_POLLS
    }

    /// | how it went | pause |
    /// | --- | --- |
    /// | failed for the n-th time | 5 s, doubling, at most 5 min; at least what the service asked for |
    /// | the same without a connection | 5 s, doubling, at most 30 s |
    /// | within the looks after a wake-up | 5, 20, 60 s, at most the interval |
    /// | news, or up to 5 quiet polls | the interval |
    /// | more quiet polls | 2, 3, 4, 5 times the interval |
    pub(super) fn next(&mut self, outcome: Outcome, interval: Duration) -> Duration {
        if let Outcome::Failed(Failure { asked, unreached }) = outcome {
            self.failures = self.failures.saturating_add(1);
            let longest = if unreached { LAST_BACKOFF_UNREACHED } else { LAST_BACKOFF };
            let backoff = FIRST_BACKOFF.saturating_mul(1 << (self.failures - 1).min(16)).min(longest);
            return backoff.max(asked.unwrap_or_default());
        }
        self.failures = 0;
        self.quiet = if outcome == Outcome::News { 0 } else { self.quiet.saturating_add(1) };
        if self.follow_ups > 0 {
            let pause = FOLLOW_UPS[FOLLOW_UPS.len() - self.follow_ups];
            self.follow_ups -= 1;
            return pause.min(interval);
        }
        interval.saturating_mul((self.quiet.saturating_sub(PATIENT_POLLS) + 1).min(SLOWEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(60);

    fn seconds(rhythm: &mut Rhythm, outcome: Outcome) -> u64 {
        rhythm.next(outcome, INTERVAL).as_secs()
    }

    #[test]
    fn a_quiet_drive_is_asked_less_often_until_something_happens() {
        let mut rhythm = Rhythm::default();
        let pauses: Vec<u64> = (0..12).map(|_| seconds(&mut rhythm, Outcome::Quiet)).collect();
        assert_eq!(pauses, [60, 60, 60, 60, 60, 120, 180, 240, 300, 300, 300, 300]);
        assert!(rhythm.is_stretched());
        assert_eq!(seconds(&mut rhythm, Outcome::News), 60);
        for _ in 0..9 {
            rhythm.next(Outcome::Quiet, INTERVAL);
        }
        rhythm.used();
        assert!(!rhythm.is_stretched());
        assert_eq!(seconds(&mut rhythm, Outcome::Quiet), 60);
    }

    #[test]
    fn failures_back_off_and_obey_the_service() {
        let mut rhythm = Rhythm::default();
        let failed = Outcome::Failed(Failure::default());
        let pauses: Vec<u64> = (0..8).map(|_| seconds(&mut rhythm, failed)).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
        let unreached = Outcome::Failed(Failure { unreached: true, asked: None });
        assert_eq!(seconds(&mut rhythm, unreached), 30, "a network that is back is noticed soon");
        let asked = Outcome::Failed(Failure { asked: Some(Duration::from_secs(1000)), unreached: false });
        assert_eq!(seconds(&mut rhythm, asked), 1000);
        assert_eq!(seconds(&mut rhythm, Outcome::Quiet), 60);
        assert_eq!(seconds(&mut rhythm, failed), 5);
    }

    #[test]
    fn after_a_wake_up_it_looks_several_times() {
        let mut rhythm = Rhythm::default();
        rhythm.woken();
        let pauses: Vec<u64> = (0..4).map(|_| seconds(&mut rhythm, Outcome::Quiet)).collect();
        assert_eq!(pauses, [5, 20, 60, 60]);
        rhythm.woken();
        let short = rhythm.next(Outcome::Quiet, Duration::from_secs(2));
        assert_eq!(short, Duration::from_secs(2), "a short interval is never lengthened");
    }
}
