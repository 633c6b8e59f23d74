//! What may be deleted to free space.
//!
//! Two limits hold at once: a size that the cache keeps to, and a floor of free space that belongs to
//! everybody else on the disk. Eviction starts a little before a limit and goes on well below it, so that
//! a full cache is not at work for every chunk. Pure: no file, no clock.

use crate::base::clock::Timestamp;

/// How large the cache may become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The most bytes that cached content, and content waiting for its upload, use together.
    pub max_size: u64,
    /// Bytes of the file system that stay free for others.
    pub min_free: u64,
}

/// How full it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Level {
    /// Bytes of cached content.
    pub cached: u64,
    /// Bytes that count but cannot be evicted: content waiting for its upload.
    pub reserved: u64,
    /// Free bytes of the file system; `None` if it would not say.
    pub free: Option<u64>,
}

impl Level {
    /// As it would be if nothing were cached.
    pub fn emptied(self) -> Self {
        Self { cached: 0, free: self.free.map(|free| free.saturating_add(self.cached)), ..self }
    }
}

/// A file that could go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate<K> {
    /// Which one.
    pub key: K,
    /// How much it would give back, in bytes.
    pub bytes: u64,
    /// When it was last used.
    pub used: Timestamp,
    /// Whether it is open or kept by the user's wish.
    pub pinned: bool,
}

/// How many bytes to free before `wanted` more are written; zero while the cache is below its marks.
///
/// | state | free |
/// | --- | --- |
/// | cached + reserved + wanted over 95 % of the size limit | down to 85 % of it |
/// | free space - wanted under the floor | up to the floor and an eighth more |
/// | both | the larger |
/// | neither | nothing |
pub fn excess(level: Level, limits: Limits, wanted: u64) -> u64 {
    let used = level.cached.saturating_add(level.reserved).saturating_add(wanted);
    let over_size = if used > percent(limits.max_size, 95) { used - percent(limits.max_size, 85) } else { 0 };
    let left = level.free.unwrap_or(u64::MAX).saturating_sub(wanted);
    let under_floor =
        if left < limits.min_free { (limits.min_free + limits.min_free / 8).saturating_sub(left) } else { 0 };
    // More than everything cannot be freed; a smaller number is easier to read in a log.
    over_size.max(under_floor).min(level.cached)
}

/// Whether `wanted` more bytes fit at all.
pub fn fits(level: Level, limits: Limits, wanted: u64) -> bool {
    let used = level.cached.saturating_add(level.reserved).saturating_add(wanted);
    used <= limits.max_size && level.free.is_none_or(|free| free >= limits.min_free.saturating_add(wanted))
}

/// Chooses files to drop until `goal` bytes are free, the longest unused first. The candidates come in
/// that order; pinned files stay.
pub fn choose<K>(oldest_first: impl IntoIterator<Item = Candidate<K>>, goal: u64) -> Vec<K> {
    let mut chosen = Vec::new();
    let mut freed = 0u64;
    for candidate in oldest_first {
        if freed >= goal {
            break;
        }
        if candidate.pinned {
            continue;
        }
        freed = freed.saturating_add(candidate.bytes);
        chosen.push(candidate.key);
    }
    chosen
}

/// Without overflow for limits near the top of the range.
fn percent(of: u64, percent: u64) -> u64 {
    (u128::from(of) * u128::from(percent) / 100) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_size: 1000, min_free: 80 };

    #[test]
    fn eviction_starts_at_95_percent_and_stops_at_85() {
        let level = |cached, reserved, free| Level { cached, reserved, free };
        for (level, wanted, expected) in [
            (level(900, 0, Some(5000)), 50, 0),
            (level(900, 0, Some(5000)), 51, 101),
            (level(500, 460, Some(5000)), 0, 110),
            (level(10, 5000, Some(5000)), 0, 10),
            (level(500, 0, Some(100)), 20, 0),
            (level(500, 0, Some(100)), 21, 11),
            (level(500, 0, Some(0)), 0, 90),
            (level(40, 0, Some(0)), 0, 40),
            (level(900, 0, None), 51, 101),
        ] {
            assert_eq!(excess(level, LIMITS, wanted), expected, "{level:?} + {wanted}");
        }
    }

    #[test]
    fn what_fits_respects_both_limits() {
        let level = |cached, free| Level { cached, reserved: 0, free: Some(free) };
        assert!(fits(level(900, 1000), LIMITS, 100));
        assert!(!fits(level(900, 1000), LIMITS, 101));
        assert!(fits(level(0, 180), LIMITS, 100));
        assert!(!fits(level(0, 179), LIMITS, 100));
        assert!(fits(level(900, 180).emptied(), LIMITS, 1000));
        assert!(!fits(level(900, 179).emptied(), LIMITS, 1000));
    }

    #[test]
    fn the_oldest_go_first_and_pinned_files_stay() {
        let file = |key, bytes, pinned| Candidate { key, bytes, used: Timestamp(0), pinned };
        let files = [file('a', 10, false), file('b', 50, true), file('c', 0, false), file('d', 20, false)];
        assert!(choose(files, 0).is_empty());
        assert_eq!(choose(files, 5), ['a']);
        assert_eq!(choose(files, 11), ['a', 'c', 'd']);
        assert_eq!(choose(files, 1000), ['a', 'c', 'd']);
    }

    #[test]
    fn enormous_limits_do_not_overflow() {
        let limits = Limits { max_size: u64::MAX, min_free: 0 };
        assert_eq!(excess(Level { cached: 1 << 60, reserved: 0, free: None }, limits, 1 << 20), 0);
    }
}
