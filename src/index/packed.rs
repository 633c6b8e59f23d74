//! Identities, tags and times in fewer bytes than the service writes them.
//!
//! They are most of what an index of a million items consists of, and most of each is a number that is spelled out:
//! a GUID, a hash, hexadecimal or decimal digits. What looks like one of those is stored as the number, the rest as it
//! is; what nothing can be gained from is stored as text. Nothing is assumed about what an identity means: a packed
//! text is always the one that was packed, and two texts are equal if and only if their packed forms are.
//!
//! | token | stands for | bytes |
//! | --- | --- | --- |
//! | below 80 | that character | 1 |
//! | 80 | a GUID in upper case | 17 |
//! | 81 | 16 hexadecimal digits in upper case | 9 |
//! | 82 | 32 hexadecimal digits in lower case | 17 |
//! | 83 | 28 characters of Base64: a hash of 20 bytes | 21 |
//! | 84 | 32 characters of Base32 | 21 |
//! | 85 | a decimal number of 4 to 19 digits | 3 to 10 |

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::base::checksum::crc32c;
use crate::base::clock::Timestamp;
use crate::base::hash;
use crate::base::name::fold;

const GUID: u8 = 0x80;
const HEX_UPPER: u8 = 0x81;
const HEX_LOWER: u8 = 0x82;
const BASE64: u8 = 0x83;
const BASE32: u8 = 0x84;
const DECIMAL: u8 = 0x85;

/// Where the dashes of a GUID are.
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// A text as the index stores it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Packed {
    Text(String),
    Bytes(Vec<u8>),
}

impl Packed {
    /// What it is found by; a few others may share it.
    pub fn sum(&self) -> i64 {
        match self {
            Self::Text(text) => sum(text.as_bytes()),
            Self::Bytes(bytes) => sum(bytes),
        }
    }
}

fn sum(bytes: &[u8]) -> i64 {
    i64::from(crc32c(bytes).cast_signed())
}

/// As [`Packed::sum`], of what is stored.
pub(super) fn sum_of(stored: ValueRef<'_>) -> i64 {
    match stored {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => sum(bytes),
        _ => 0,
    }
}

/// What a name is found by, whatever its case; others may share it.
pub(super) fn fold_sum(name: &str) -> i64 {
    sum(fold(name).as_bytes())
}

impl ToSql for Packed {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// The stored form of a text.
pub(super) fn pack(text: &str) -> Packed {
    let input = text.as_bytes();
    if !text.is_ascii() {
        return Packed::Text(text.to_owned());
    }
    let mut output = Vec::with_capacity(input.len());
    let mut rest = input;
    while let Some((&first, after)) = rest.split_first() {
        match token(rest, &mut output) {
            Some(length) => rest = &rest[length..],
            None => {
                output.push(first);
                rest = after;
            }
        }
    }
    if output.len() < input.len() { Packed::Bytes(output) } else { Packed::Text(text.to_owned()) }
}

/// Writes the token that a text begins with; returns how many characters it stands for.
fn token(rest: &[u8], output: &mut Vec<u8>) -> Option<usize> {
    if let Some(guid) = rest.first_chunk::<36>()
        && DASHES.iter().all(|at| guid[*at] == b'-')
    {
        let mut bits = 0u128;
        let digits = guid.iter().enumerate().filter(|(at, _)| !DASHES.contains(at));
        if digits.map(|(_, digit)| upper(*digit)).all(|digit| shift(&mut bits, 4, digit)) {
            output.push(GUID);
            output.extend_from_slice(&bits.to_be_bytes());
            return Some(36);
        }
    }
    let mut bits = 0u128;
    if let Some(digits) = rest.first_chunk::<32>()
        && digits.iter().all(|digit| shift(&mut bits, 4, lower(*digit)))
    {
        output.push(HEX_LOWER);
        output.extend_from_slice(&bits.to_be_bytes());
        return Some(32);
    }
    if let Some(digits) = rest.first_chunk::<28>()
        && digits[27] == b'='
        && let Some(bytes) = std::str::from_utf8(digits).ok().and_then(hash::bytes_of)
        && hash::text_of(&bytes).as_bytes() == digits
    {
        output.push(BASE64);
        output.extend_from_slice(&bytes);
        return Some(28);
    }
    if let Some(digits) = rest.first_chunk::<32>() {
        let mut bytes = [0u8; 20];
        let all = digits.chunks_exact(8).zip(bytes.chunks_exact_mut(5)).all(|(digits, bytes)| {
            let mut bits = 0u128;
            let good = digits.iter().all(|digit| shift(&mut bits, 5, base32(*digit)));
            bytes.copy_from_slice(&bits.to_be_bytes()[11..]);
            good
        });
        if all {
            output.push(BASE32);
            output.extend_from_slice(&bytes);
            return Some(32);
        }
    }
    bits = 0;
    if let Some(digits) = rest.first_chunk::<16>()
        && digits.iter().all(|digit| shift(&mut bits, 4, upper(*digit)))
    {
        output.push(HEX_UPPER);
        output.extend_from_slice(&(bits as u64).to_be_bytes());
        return Some(16);
    }
    let length = rest.iter().take(19).take_while(|digit| digit.is_ascii_digit()).count();
    if length < 4 || rest[0] == b'0' {
        return None;
    }
    let mut number = rest[..length].iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    output.push(DECIMAL);
    while number >= 0x80 {
        output.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    output.push(number as u8);
    Some(length)
}

/// Appends a digit of so many bits; `false` if it is none.
fn shift(bits: &mut u128, by: u32, digit: Option<u8>) -> bool {
    let Some(digit) = digit else { return false };
    *bits = *bits << by | u128::from(digit);
    true
}

fn upper(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn lower(digit: u8) -> Option<u8> {
    if digit.is_ascii_uppercase() { None } else { upper(digit.to_ascii_uppercase()) }
}

fn base32(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'2'..=b'7' => Some(digit - b'2' + 26),
        _ => None,
    }
}

/// The text of a stored form; `None` if it is none, which means damage.
pub(super) fn unpack(stored: ValueRef<'_>) -> Option<String> {
    match stored {
        ValueRef::Text(text) => String::from_utf8(text.to_vec()).ok(),
        ValueRef::Blob(bytes) => unpack_bytes(bytes),
        _ => None,
    }
}

fn unpack_bytes(mut rest: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(rest.len() * 2);
    while let Some((&token, after)) = rest.split_first() {
        rest = after;
        match token {
            0..0x80 => text.push(char::from(token)),
            GUID | HEX_LOWER => {
                let (bytes, after) = rest.split_first_chunk::<16>()?;
                rest = after;
                for (at, byte) in bytes.iter().enumerate() {
                    if token == GUID && matches!(at, 4 | 6 | 8 | 10) {
                        text.push('-');
                    }
                    push_hex(&mut text, *byte, token == GUID);
                }
            }
            HEX_UPPER => {
                let (bytes, after) = rest.split_first_chunk::<8>()?;
                rest = after;
                bytes.iter().for_each(|byte| push_hex(&mut text, *byte, true));
            }
            BASE64 => {
                let (bytes, after) = rest.split_first_chunk::<20>()?;
                rest = after;
                text.push_str(&hash::text_of(bytes));
            }
            BASE32 => {
                let (bytes, after) = rest.split_first_chunk::<20>()?;
                rest = after;
                for five in bytes.chunks_exact(5) {
                    let bits = five.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
                    for place in (0..8).rev() {
                        let digit = (bits >> (5 * place) & 31) as u8;
                        text.push(char::from(if digit < 26 { b'A' + digit } else { b'2' + digit - 26 }));
                    }
                }
            }
            DECIMAL => {
                let mut number = 0u64;
                let mut place = 0;
                loop {
                    let (&byte, after) = rest.split_first()?;
                    rest = after;
                    number |= u64::from(byte & 0x7f).checked_shl(place)?;
                    place += 7;
                    if byte < 0x80 {
                        break;
                    }
                }
                text.push_str(&number.to_string());
            }
            _ => return None,
        }
    }
    Some(text)
}

fn push_hex(text: &mut String, byte: u8, upper: bool) {
    let digits: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    text.push(char::from(digits[usize::from(byte >> 4)]));
    text.push(char::from(digits[usize::from(byte & 15)]));
}

/// A time as the index stores it: whole seconds as a number, all others as eight bytes of nanoseconds.
pub(super) struct PackedTime(pub Timestamp);

impl ToSql for PackedTime {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0.subsec_nanos() {
            0 => ToSqlOutput::from(self.0.seconds()),
            _ => ToSqlOutput::from(self.0.0.to_be_bytes().to_vec()),
        })
    }
}

/// The time of a stored form; `None` if it is none, which means damage.
pub(super) fn unpack_time(stored: ValueRef<'_>) -> Option<Timestamp> {
    match stored {
        ValueRef::Integer(seconds) => Some(Timestamp::from_seconds(seconds)),
        ValueRef::Blob(bytes) => Some(Timestamp(i64::from_be_bytes(bytes.try_into().ok()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(text: &str) -> usize {
        match pack(text) {
            Packed::Text(stored) => {
                assert_eq!(stored, text);
                stored.len()
            }
            Packed::Bytes(stored) => {
                assert_eq!(unpack_bytes(&stored).as_deref(), Some(text));
                stored.len()
            }
        }
    }

    #[test]
    fn what_the_service_writes_becomes_short() {
        for (text, length) in [
            ("01BYE5RZ6QN3ZWBTUFOFD3GSPGOHDJD36K", 23),
            ("F04AA961744A8090!s1234567890abcdef1234567890abcdef", 28),
            ("F04AA961744A8090!12345", 13),
            ("\"{8A1B2C3D-1111-2222-3333-444455556666},2\"", 23),
            ("c:\"c:{8A1B2C3D-1111-2222-3333-444455556666},1\":123456", 32),
            ("q:UDaz+YSVrQw+YhHrw89jRPpkJxs=:1234567", 28),
            ("aRDhBQi4x", 9),
            ("", 0),
        ] {
            assert_eq!(there_and_back(text), length, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_number_comes_back_as_it_was() {
        for text in [
            "0001",
            "00000000000000000000",
            "99999999999999999999999",
            "8a1b2c3d-1111-2222-3333-444455556666",
            "8A1B2C3D-1111-2222-3333-44445555666",
            "UDaz+YSVrQw+YhHrw89jRPpkJxt=",
            "9999999999999999999",
            "Grüße 12345678",
            "\u{80}",
        ] {
            there_and_back(text);
        }
    }

    #[test]
    fn damage_is_no_text() {
        for bytes in [&[GUID][..], &[0x41, 0xff], &[DECIMAL, 0x80], &[DECIMAL; 20], &[BASE32; 20]] {
            assert_eq!(unpack_bytes(bytes), None, "{bytes:?}");
        }
        assert_eq!(unpack(ValueRef::Null), None);
        assert_eq!(unpack_time(ValueRef::Blob(&[1, 2])), None);
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "([0-9A-F]{1,40}|[a-f0-9]{30,34}|[A-Z2-7]{30,40}|[0-9]{1,25}|.{0,5}|=)*") {
            there_and_back(&text);
        }
    }
}
