//! The hashes of the service's world.
//!
//! QuickXorHash is what every kind of drive reports for a file's content. It detects change; it does
//! not resist an adversary, so it never names content on its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A QuickXorHash under way. Feed it with [`QuickXorHash::update`], any split of the input gives the
/// same result.
///
/// The state is 160 bits; byte `i` of the input is XORed in at bit `11 * i mod 160`, and the length is
/// XORed into the last 8 bytes at the end. Because 11 and 160 have no common divisor the position
/// repeats every 160 bytes, so the input is first folded into a row of 160 bytes and the shifts are
/// done once, at the end. Documented at
/// <https://learn.microsoft.com/onedrive/developer/code-snippets/quickxorhash>.
#[derive(Clone)]
pub struct QuickXorHash {
    row: [u8; 160],
    length: u64,
}

impl QuickXorHash {
    /// The hash of nothing so far.
    pub fn new() -> Self {
        Self { row: [0; 160], length: 0 }
    }

    /// Adds bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let mut at = (self.length % 160) as usize;
        self.length += bytes.len() as u64;
        if at != 0 {
            let head = bytes.len().min(160 - at);
            for (cell, byte) in self.row[at..at + head].iter_mut().zip(bytes) {
                *cell ^= byte;
            }
            bytes = &bytes[head..];
            at = 0;
        }
        let mut rows = bytes.chunks_exact(160);
        for row in &mut rows {
            for (cell, byte) in self.row.iter_mut().zip(row) {
                *cell ^= byte;
            }
        }
        for (cell, byte) in self.row[at..].iter_mut().zip(rows.remainder()) {
            *cell ^= byte;
        }
    }

    /// How many bytes went in.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The 20 bytes of the hash.
    pub fn finish(&self) -> [u8; 20] {
        let mut bits = [0u8; 20];
        for (i, &byte) in self.row.iter().enumerate() {
            let position = (11 * i) % 160;
            let (index, shift) = (position / 8, position % 8);
            bits[index] ^= byte << shift;
            if shift != 0 {
                bits[(index + 1) % 20] ^= byte >> (8 - shift);
            }
        }
        for (cell, byte) in bits[12..].iter_mut().zip(self.length.to_le_bytes()) {
            *cell ^= byte;
        }
        bits
    }

    /// The hash as the service writes it: base64 with padding, 28 characters.
    pub fn finish_base64(&self) -> String {
        STANDARD.encode(self.finish())
    }

    /// The hash of a whole buffer, as the service writes it.
    pub fn of(bytes: &[u8]) -> String {
        let mut hash = Self::new();
        hash.update(bytes);
        hash.finish_base64()
    }
}

impl Default for QuickXorHash {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a string is a QuickXorHash in the service's spelling: base64 of exactly 20 bytes.
pub fn is_quick_xor_hash(text: &str) -> bool {
    bytes_of(text).is_some()
}

/// The 20 bytes of a hash from the service's spelling.
pub fn bytes_of(text: &str) -> Option<[u8; 20]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// The service's spelling of the 20 bytes of a hash.
pub fn text_of(bytes: &[u8; 20]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_xor_hash_matches_the_published_vectors() {
        let ramp: Vec<u8> = (0..=255).collect();
        let long: Vec<u8> = (0..1_000_000u64).map(|i| ((7 * i + 3) % 256) as u8).collect();
        for (input, expected) in [
            (&b""[..], "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            (&[0u8][..], "AAAAAAAAAAAAAAAAAQAAAAAAAAA="),
            (&b"a"[..], "YQAAAAAAAAAAAAAAAQAAAAAAAAA="),
            (&b"hello world\n"[..], "aCgDG9jwBhDc4Q1ybAMZFAAAAAA="),
            (&b"The quick brown fox jumps over the lazy dog"[..], "bMSlbysmxJL6S75XwfMcQZOpcr4="),
            (&[0xff; 15][..], "/PjHP/7xj3/84x//98c//vGPf/w="),
            (&[0xff; 160][..], "AAAAAAAAAAAAAAAAoAAAAAAAAAA="),
            (&[0x01; 161][..], "/v//////////////Xv////////8="),
            (&ramp[..], "QkGEfSisZcA7k+FCh71r2dbCayY="),
            (&ramp.repeat(4096)[..], "QkGEfSisZcA7k+FCh7x72dbCayY="),
            (&long[..], "UDaz+YSVrQw+YhHrw89jRPpkJxs="),
        ] {
            assert_eq!(QuickXorHash::of(input), expected);
        }
    }

    #[test]
    fn any_split_gives_the_same_hash() {
        let input: Vec<u8> = (0..1000u32).map(|i| (i * 31) as u8).collect();
        for cut in [0, 1, 159, 160, 161, 500, 999, 1000] {
            let mut hash = QuickXorHash::new();
            hash.update(&input[..cut]);
            hash.update(&input[cut..]);
            assert_eq!(hash.finish_base64(), QuickXorHash::of(&input));
        }
    }
}
