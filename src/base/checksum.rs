//! Checksums against accidents: a flipped bit, a lost write, a block in the wrong place. Not against people.
//!
//! CRC-32C, because processors compute it faster than memory delivers the bytes, and because it finds every change of
//! up to three bits and every burst of up to 32 in anything we sum. SQLite has checksums for its log but none for its
//! pages, so rows that matter carry one made by [`RowSum`].

/// The CRC-32C of some bytes.
pub fn crc32c(bytes: &[u8]) -> u32 {
    ::crc32c::crc32c(bytes)
}

/// The CRC-32C of what `sum` is of, followed by `bytes`.
pub fn crc32c_append(sum: u32, bytes: &[u8]) -> u32 {
    ::crc32c::crc32c_append(sum, bytes)
}

/// The checksum of a row of a table: of its table, its fields and their order. A field cannot pass for its neighbour,
/// nor a row for one of another table.
#[derive(Clone, Copy, Debug)]
pub struct RowSum(u32);

impl RowSum {
    /// Begins a row of this table.
    #[must_use]
    pub fn of(table: &str) -> Self {
        Self(0).text(table)
    }

    /// Adds a number.
    #[must_use]
    pub fn number(self, value: i64) -> Self {
        Self(crc32c_append(crc32c_append(self.0, b"n"), &value.to_le_bytes()))
    }

    /// Adds a text.
    #[must_use]
    pub fn text(self, value: &str) -> Self {
        let sum = crc32c_append(crc32c_append(self.0, b"t"), &(value.len() as u64).to_le_bytes());
        Self(crc32c_append(sum, value.as_bytes()))
    }

    /// Adds a text that may be missing.
    #[must_use]
    pub fn maybe(self, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(value),
            None => Self(crc32c_append(self.0, b"-")),
        }
    }

    /// The checksum, as SQLite stores it.
    #[must_use]
    pub fn finish(self) -> i64 {
        i64::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_pass_for_each_other() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283, "the check value of the polynomial");
        let rows = [
            RowSum::of("a").text("b").text("c"),
            RowSum::of("a").text("bc").text(""),
            RowSum::of("ab").text("c").text(""),
            RowSum::of("a").text("c").text("b"),
            RowSum::of("a").maybe(None).text("bc"),
            RowSum::of("a").number(1).number(2),
            RowSum::of("a").number(2).number(1),
        ];
        for (at, row) in rows.iter().enumerate() {
            assert!(rows[at + 1..].iter().all(|other| other.finish() != row.finish()), "{row:?}");
        }
    }
}
