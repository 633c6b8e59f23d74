//! Sizes, times and shares as people write them, with errors that say what would have been right.

use std::time::Duration;

/// An amount of disk: so many bytes, or a share of the whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Amount {
    /// A number of bytes.
    Bytes(u64),
    /// Hundredths of the disk, 1 to 100.
    Percent(u8),
}

impl Amount {
    /// In bytes, on a disk of `total` bytes.
    pub fn of(self, total: u64) -> u64 {
        match self {
            Amount::Bytes(bytes) => bytes,
            // Divide first: a disk times one hundred may not fit.
            Amount::Percent(percent) => total / 100 * u64::from(percent),
        }
    }
}

/// Bytes from `10 MiB`, `1.5GB`, `64k` or `4096`. `K`, `M`, `G`, `T` alone mean powers of 1024, as for `dd` and `du`.
///
/// # Errors
/// A reason without the value, ready to follow it in a sentence.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_number(text);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err("expected a size such as \"10 MiB\"".to_owned()),
    };
    scale(number, factor).ok_or_else(|| "expected a size such as \"10 MiB\"".to_owned())
}

/// A size as for [`parse_size`], or a share of the disk such as `5%`.
///
/// # Errors
/// A reason without the value.
pub fn parse_amount(text: &str) -> Result<Amount, String> {
    match text.trim().strip_suffix('%') {
        Some(share) => match share.trim().parse::<u8>() {
            Ok(percent @ 1..=100) => Ok(Amount::Percent(percent)),
            _ => Err("expected a whole share from 1% to 100%".to_owned()),
        },
        None => parse_size(text)
            .map(Amount::Bytes)
            .map_err(|_| "expected a size such as \"20 GiB\" or a share of the disk such as \"10%\"".to_owned()),
    }
}

/// A time from `500ms`, `2s`, `5m`, `1h30m` or `60` (seconds).
///
/// # Errors
/// A reason without the value.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time such as \"30s\", \"5m\" or \"500ms\"".to_owned();
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let after_number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(after_number);
        let tail = tail.trim_start();
        let after_unit = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(after_unit);
        let millis = match unit {
            "ms" => 1,
            // A bare number is taken only alone: in "1m30" nobody can say what the 30 are.
            "" if number == text.trim() => 1_000,
            "s" | "sec" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        sum = sum.checked_add(Duration::from_millis(scale(number, millis).ok_or_else(wrong)?)).ok_or_else(wrong)?;
        rest = tail.trim_start();
    }
    Ok(sum)
}

/// A size for people: the largest unit that leaves at least one.
pub fn display_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scaled = bytes as f64;
    // What would be shown as 1024.0 is one of the next unit.
    while scaled >= 1023.95 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    if unit == 0 || scaled.fract() == 0.0 {
        format!("{scaled:.0} {}", UNITS[unit])
    } else {
        format!("{scaled:.1} {}", UNITS[unit])
    }
}

fn split_number(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

fn scale(number: &str, factor: u64) -> Option<u64> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let scaled = number.parse::<f64>().ok()? * factor as f64;
    (scaled < u64::MAX as f64).then_some(scaled.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("10 MiB", 10 << 20),
            ("10mib", 10 << 20),
            ("64k", 64 << 10),
            ("1.5 GiB", 3 << 29),
            ("10 MB", 10_000_000),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "10 MiBs", "ten", "1e3", ".", "99999999999 TiB", "1.2.3 GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_of_the_disk() {
        assert_eq!(parse_amount("5%"), Ok(Amount::Percent(5)));
        assert_eq!(parse_amount("5 %").expect("spaces are fine").of(1000), 50);
        assert_eq!(Amount::Percent(100).of(u64::MAX), u64::MAX / 100 * 100);
        assert_eq!(Amount::Bytes(7).of(0), 7);
        for text in ["0%", "101%", "%", "1.5%"] {
            assert!(parse_amount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_sums_of_parts() {
        for (text, millis) in [
            ("5s", 5_000),
            ("2m", 120_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1h 30m", 5_400_000),
            ("60", 60_000),
            ("0.5s", 500),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "5 parsecs", "-5s", "1m30", "5s,"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_fitting_unit() {
        assert_eq!(display_size(0), "0 bytes");
        assert_eq!(display_size(10 << 20), "10 MiB");
        assert_eq!(display_size(3 << 29), "1.5 GiB");
        assert_eq!(display_size((1 << 40) - 1), "1.0 TiB");
        assert_eq!(display_size(1023), "1023 bytes");
    }
}
