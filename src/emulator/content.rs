//! File content: bytes that were uploaded, and bytes that are made up when somebody reads them.
//!
//! Uploads are kept as the pieces in which they arrived, so a session of 100 MB is never copied
//! together. Generated content is a pure function of (seed, offset), and so built that its hash costs
//! a few hundred operations: a drive of a million large files needs neither memory nor start-up time.
//! Both kinds answer ranged reads without touching the rest of the file.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ident::mix;
use crate::base::hash::QuickXorHash;

/// QuickXorHash repeats its positions every 160 bytes; generated content is built from such rows.
const ROW: usize = 160;
/// Rows in the shared base block. Odd, so that a block's own row does not cancel itself in the hash.
const ROWS: usize = 4095;
const BLOCK: usize = ROW * ROWS;

/// Bytes in the pieces in which they arrived.
#[derive(Debug, Default)]
pub(crate) struct Rope {
    parts: Vec<Bytes>,
    starts: Vec<u64>,
    length: u64,
}

impl Rope {
    /// Adds a piece at the end.
    pub(crate) fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.starts.push(self.length);
            self.length += part.len() as u64;
            self.parts.push(part);
        }
    }

    /// Adds all pieces of another rope at the end.
    pub(crate) fn append(&mut self, other: &Rope) {
        for part in &other.parts {
            self.push(part.clone());
        }
    }

    /// How many bytes there are.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Continues a hash over all bytes.
    pub(crate) fn hash_into(&self, hash: &mut QuickXorHash) {
        for part in &self.parts {
            hash.update(part);
        }
    }

    /// All bytes in one buffer, without a copy when they arrived in one piece.
    pub(crate) fn flat(&self) -> Bytes {
        match self.parts.as_slice() {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }

    fn piece(&self, range: Range<u64>, limit: usize) -> Bytes {
        let which = self.starts.partition_point(|&start| start <= range.start).saturating_sub(1);
        let Some(part) = self.parts.get(which) else { return Bytes::new() };
        let from = (range.start - self.starts[which]) as usize;
        let end = part.len().min(from + limit.min((range.end - range.start) as usize));
        part.slice(from.min(end)..end)
    }
}

impl From<Bytes> for Rope {
    fn from(bytes: Bytes) -> Self {
        let mut rope = Rope::default();
        rope.push(bytes);
        rope
    }
}

/// What a file holds.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Uploaded bytes and their hash.
    Stored(Arc<Stored>),
    /// Made up from a seed when read.
    Generated {
        /// Selects the bytes.
        seed: u64,
        /// How many there are.
        size: u64,
    },
}

/// Uploaded bytes with the hash that was computed once, when they came.
#[derive(Debug)]
pub(crate) struct Stored {
    rope: Rope,
    hash: [u8; 20],
}

impl Content {
    /// Content from uploaded bytes; hashes them.
    pub(crate) fn from_rope(rope: Rope) -> Self {
        let mut hash = QuickXorHash::new();
        rope.hash_into(&mut hash);
        Self::from_hashed(rope, &hash)
    }

    /// Content from uploaded bytes whose hash was computed as they came.
    pub(crate) fn from_hashed(rope: Rope, hash: &QuickXorHash) -> Self {
        Self::Stored(Arc::new(Stored { rope, hash: hash.finish() }))
    }

    /// Content from one buffer.
    pub(crate) fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self::from_rope(Rope::from(bytes.into()))
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Stored(stored) => stored.rope.length,
            Self::Generated { size, .. } => *size,
        }
    }

    /// The QuickXorHash as the service writes it.
    pub(crate) fn hash(&self) -> String {
        STANDARD.encode(match self {
            Self::Stored(stored) => stored.hash,
            Self::Generated { seed, size } => generated_hash(*seed, *size),
        })
    }

    /// The next piece of a range, at most `limit` bytes; empty only at the end of the range or file.
    pub(crate) fn piece(&self, range: Range<u64>, limit: usize) -> Bytes {
        let range = range.start..range.end.min(self.size());
        if range.start >= range.end {
            return Bytes::new();
        }
        match self {
            Self::Stored(stored) => stored.rope.piece(range, limit),
            Self::Generated { seed, .. } => {
                let mut bytes = vec![0; limit.min((range.end - range.start) as usize)];
                generate(*seed, range.start, &mut bytes);
                bytes.into()
            }
        }
    }

    /// All bytes: for tests and small files.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size() as usize);
        while (out.len() as u64) < self.size() {
            out.extend_from_slice(&self.piece(out.len() as u64..self.size(), 1 << 20));
        }
        out
    }
}

/// The block that all generated content is a variation of, and its folded rows.
struct Base {
    bytes: Vec<u8>,
    /// `folded[r]` is the XOR of the first `r` rows.
    folded: Vec<[u8; ROW]>,
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let mut bytes = Vec::with_capacity(BLOCK);
        for word in 0..BLOCK / 8 {
            bytes.extend_from_slice(&mix(0x5eed ^ word as u64).to_le_bytes());
        }
        let mut folded = Vec::with_capacity(ROWS + 1);
        let mut sum = [0u8; ROW];
        folded.push(sum);
        for row in bytes.chunks_exact(ROW) {
            xor(&mut sum, row);
            folded.push(sum);
        }
        Base { bytes, folded }
    })
}

fn xor(into: &mut [u8], from: &[u8]) {
    for (cell, byte) in into.iter_mut().zip(from) {
        *cell ^= byte;
    }
}

/// The row that sets block `block` of a file apart from every other block of every other file.
fn own_row(seed: u64, block: u64) -> [u8; ROW] {
    let mut row = [0u8; ROW];
    let key = mix(seed ^ mix(block.wrapping_add(1)));
    for (word, cells) in row.chunks_exact_mut(8).enumerate() {
        cells.copy_from_slice(&mix(key.wrapping_add(word as u64)).to_le_bytes());
    }
    row
}

/// What is laid over the first row of a file only. Without it two files of equal size could have
/// equal hashes: an even number of repetitions of a row cancels out.
fn head_row(seed: u64) -> [u8; ROW] {
    own_row(mix(seed), u64::MAX - 1)
}

fn generate(seed: u64, offset: u64, out: &mut [u8]) {
    let base = base();
    let mut done = 0;
    while done < out.len() {
        let at = offset + done as u64;
        let (block, within) = (at / BLOCK as u64, (at % BLOCK as u64) as usize);
        let length = (out.len() - done).min(BLOCK - within);
        let piece = &mut out[done..done + length];
        piece.copy_from_slice(&base.bytes[within..within + length]);
        let row = own_row(seed, block);
        let head = ((ROW - within % ROW) % ROW).min(length);
        xor(&mut piece[..head], &row[within % ROW..]);
        for cells in piece[head..].chunks_mut(ROW) {
            xor(cells, &row);
        }
        done += length;
    }
    if offset < ROW as u64 {
        xor(out, &head_row(seed)[offset as usize..]);
    }
}

fn generated_hash(seed: u64, size: u64) -> [u8; 20] {
    let base = base();
    let (blocks, within) = (size / BLOCK as u64, (size % BLOCK as u64) as usize);
    let mut sum = [0u8; ROW];
    if blocks % 2 == 1 {
        xor(&mut sum, &base.folded[ROWS]);
    }
    for block in 0..blocks {
        xor(&mut sum, &own_row(seed, block));
    }
    let (rows, rest) = (within / ROW, within % ROW);
    let row = own_row(seed, blocks);
    xor(&mut sum, &base.folded[rows]);
    if rows % 2 == 1 {
        xor(&mut sum, &row);
    }
    xor(&mut sum[..rest], &base.bytes[rows * ROW..rows * ROW + rest]);
    xor(&mut sum[..rest], &row);
    let head = (size as usize).min(ROW);
    xor(&mut sum[..head], &head_row(seed));

    let mut hash = QuickXorHash::new();
    hash.update(&sum);
    let mut out = hash.finish();
    // The fold stands for `size` bytes, not for the one row that went in.
    for (cell, byte) in out[12..].iter_mut().zip((ROW as u64 ^ size).to_le_bytes()) {
        *cell ^= byte;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_to_the_hash_agrees_with_hashing_every_byte() {
        for size in [0, 1, 19, 159, 160, 161, 319, 320, 1000, BLOCK as u64, BLOCK as u64 + 161, 3 * BLOCK as u64 + 7] {
            let content = Content::Generated { seed: 99, size };
            assert_eq!(content.hash(), QuickXorHash::of(&content.to_vec()), "size {size}");
        }
    }

    #[test]
    fn files_of_one_size_differ_in_bytes_and_hash() {
        let (a, b) = (Content::Generated { seed: 1, size: 640 }, Content::Generated { seed: 2, size: 640 });
        assert_ne!(a.to_vec(), b.to_vec());
        assert_ne!(a.hash(), b.hash());
    }

    #[test]
    fn any_range_of_generated_content_equals_that_range_of_the_whole() {
        let content = Content::Generated { seed: 5, size: BLOCK as u64 * 2 };
        let whole = content.to_vec();
        for start in [0u64, 1, 100, 159, 160, 500, BLOCK as u64 - 10, BLOCK as u64] {
            let piece = content.piece(start..start + 1000, 1000);
            assert_eq!(piece, whole[start as usize..start as usize + 1000], "from {start}");
        }
    }

    #[test]
    fn a_rope_reads_across_its_pieces() {
        let mut rope = Rope::default();
        for part in ["ab", "", "cdefg", "h"] {
            rope.push(Bytes::from_static(part.as_bytes()));
        }
        let content = Content::from_rope(rope);
        assert_eq!(content.piece(1..8, 100), "b");
        assert_eq!(content.piece(2..8, 3), "cde");
        assert_eq!(content.to_vec(), b"abcdefgh");
        assert_eq!(content.hash(), QuickXorHash::of(b"abcdefgh"));
    }
}
