//! Numbers as people say them. Pure.

use crate::config::size::display_size;

/// So many changes.
pub(crate) fn changes(count: usize) -> String {
    match count {
        1 => "1 change".to_owned(),
        count => format!("{count} changes"),
    }
}

/// So many files.
pub(crate) fn files(count: u64) -> String {
    match count {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    }
}

/// A span of time in its largest unit, such as `5 min`.
pub(crate) fn span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// So much of a whole: `1 MiB of 4 MiB (25 %)`.
pub(crate) fn share(done: u64, size: u64) -> String {
    let done = done.min(size);
    let percent = if size == 0 { 100 } else { u128::from(done) * 100 / u128::from(size) };
    format!("{} of {} ({percent} %)", display_size(done), display_size(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_unit_that_people_would_choose() {
        assert_eq!(
            [0, 119, 120, 7_199, 7_200, 172_800].map(span),
            ["0 s", "119 s", "2 min", "119 min", "2 h", "2 days"]
        );
        assert_eq!(span(-5), "0 s", "a clock that was set back");
        assert_eq!(share(1 << 20, 4 << 20), "1 MiB of 4 MiB (25 %)");
        assert_eq!(share(0, 0), "0 bytes of 0 bytes (100 %)");
        assert_eq!(
            (changes(1), changes(2), files(1), files(0)),
            ("1 change".into(), "2 changes".into(), "1 file".into(), "0 files".into())
        );
    }
}
