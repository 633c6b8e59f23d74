//! Checksums of a draft's bytes, block by block.
//!
//! A draft is the only copy of somebody's work and may wait for days until there is a network. A disk that changes a
//! bit of it meanwhile must not make us send the wrong byte, nor show it. The service's own hash does not help: it is
//! blind to blocks that swap places at a distance of 160 bytes, and it is not known of a file that was written in the
//! middle.
//!
//! Always true: a sum is of the bytes from the start of its block on; a block without an entry was never written, so
//! that what a reader gets from there is zeros. Pure; the draft does the reading.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use crate::base::checksum::{crc32c, crc32c_append};

/// Bytes of one block: those of one chunk of the cache, so that the cache takes over the sums with the file.
pub(super) const BLOCK: u64 = crate::cache::CHUNK;

/// What is known of the blocks of a draft.
#[derive(Clone, Default, Debug)]
pub(super) struct BlockSums {
    blocks: BTreeMap<u64, Block>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Block {
    /// Written, and not summed since.
    Unsummed,
    /// Summed.
    Summed {
        sum: u32,
        /// How many bytes from the block's start.
        covers: u64,
        /// Whether this process wrote the bytes or compared them.
        trusted: bool,
    },
}

/// What a comparison says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// These are the bytes.
    Right,
    /// These are not the bytes.
    Wrong,
    /// Nothing is known.
    Unknown,
}

/// The disk has changed a draft; it is kept, and never sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the unsent content of this file is damaged on the local disk near byte {at}; it is kept as it is and not sent: \
     write the file again, or export what is left of it"
)]
pub struct DamagedDraft {
    /// Where the damaged block begins, in bytes.
    pub at: u64,
}

impl DamagedDraft {
    /// The damage behind a failure, if that is what it is.
    pub fn behind(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().copied()
    }
}

impl From<DamagedDraft> for io::Error {
    fn from(damage: DamagedDraft) -> Self {
        Self::new(io::ErrorKind::InvalidData, damage)
    }
}

impl BlockSums {
    /// Of a draft whose row says nothing about sums: whatever is in these ranges is taken as it is.
    pub(super) fn unknown(present: impl Iterator<Item = Range<u64>>) -> Self {
        let mut sums = Self::default();
        for range in present {
            sums.disturb(range);
        }
        sums
    }

    /// Bytes were written.
    pub(super) fn wrote(&mut self, at: u64, bytes: &[u8]) {
        let end = at + bytes.len() as u64;
        for index in blocks_of(&(at..end)) {
            let start = index * BLOCK;
            let (from, to) = (at.max(start), end.min(start + BLOCK));
            let piece = &bytes[(from - at) as usize..(to - at) as usize];
            let length = piece.len() as u64;
            let block = match self.blocks.get(&index) {
                Some(Block::Summed { sum, covers, trusted: true }) if start + covers == from => {
                    Block::Summed { sum: crc32c_append(*sum, piece), covers: covers + length, trusted: true }
                }
                Some(Block::Summed { covers, .. }) if from > start || *covers > length => Block::Unsummed,
                Some(Block::Unsummed) | None
                    if from > start || (length < BLOCK && self.blocks.contains_key(&index)) =>
                {
                    Block::Unsummed
                }
                _ => Block::Summed { sum: crc32c(piece), covers: length, trusted: true },
            };
            self.blocks.insert(index, block);
        }
    }

    /// Bytes changed in a way that cannot be followed.
    pub(super) fn disturb(&mut self, range: Range<u64>) {
        for index in blocks_of(&range) {
            self.blocks.insert(index, Block::Unsummed);
        }
    }

    /// Bytes may have been filled in here, or not: what was summed before says nothing any more. The file was so long:
    /// a block that has lost its end has lost more than what is filled in, and its sum tells that.
    pub(super) fn doubt(&mut self, range: Range<u64>, length: u64) {
        for (index, block) in self.blocks.range_mut(blocks_of(&range)) {
            if let Block::Summed { covers, .. } = block
                && index * BLOCK + *covers <= length
            {
                *block = Block::Unsummed;
            }
        }
    }

    /// The file was cut.
    pub(super) fn cut(&mut self, size: u64) {
        self.blocks.split_off(&size.div_ceil(BLOCK));
        if let Some((index, Block::Summed { covers, .. })) = self.blocks.last_key_value()
            && *covers > length_of(*index, size)
        {
            let index = *index;
            self.blocks.insert(index, Block::Unsummed);
        }
    }

    /// The blocks whose sums are not those of their whole length in a file of this size.
    pub(super) fn open(&self, size: u64) -> Vec<u64> {
        self.blocks.keys().copied().filter(|index| self.is_open(*index, size)).collect()
    }

    /// Whether a block is one of [`BlockSums::open`].
    pub(super) fn is_open(&self, index: u64, size: u64) -> bool {
        let block = self.blocks.get(&index);
        block.is_some_and(|block| !matches!(block, Block::Summed { covers, .. } if *covers == length_of(index, size)))
    }

    /// The blocks that anything was written to.
    pub(super) fn written(&self) -> Vec<u64> {
        self.blocks.keys().copied().collect()
    }

    /// Takes the sum of a whole block.
    pub(super) fn close(&mut self, index: u64, bytes: &[u8]) {
        self.blocks.insert(index, Block::Summed { sum: crc32c(bytes), covers: bytes.len() as u64, trusted: true });
    }

    /// The blocks of a range that nobody has compared since the start.
    pub(super) fn untrusted(&self, range: &Range<u64>) -> Vec<u64> {
        let blocks = blocks_of(range);
        self.blocks
            .range(blocks)
            .filter(|(_, block)| matches!(block, Block::Summed { trusted: false, .. }))
            .map(|(index, _)| *index)
            .collect()
    }

    /// Where the blocks of a range are that nobody has written to.
    pub(super) fn never_written(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let blank = blocks_of(range).filter(|index| !self.blocks.contains_key(index));
        blank.map(|index| index * BLOCK..(index + 1) * BLOCK).collect()
    }

    /// Compares a whole block.
    pub(super) fn compare(&mut self, index: u64, bytes: &[u8]) -> Verdict {
        match self.blocks.get_mut(&index) {
            Some(Block::Summed { sum, covers, trusted }) => {
                // Bytes that were never written follow those that were.
                let (summed, rest) = bytes.split_at((*covers as usize).min(bytes.len()));
                if summed.len() as u64 == *covers && crc32c(summed) == *sum && is_zero(rest) {
                    *trusted = true;
                    Verdict::Right
                } else {
                    Verdict::Wrong
                }
            }
            Some(Block::Unsummed) => Verdict::Unknown,
            None if is_zero(bytes) => Verdict::Right,
            None => Verdict::Wrong,
        }
    }

    /// For a copy of the file: the same sums, nothing compared.
    pub(super) fn of_copy(&self) -> Self {
        let mut copy = self.clone();
        for block in copy.blocks.values_mut() {
            if let Block::Summed { trusted, .. } = block {
                *trusted = false;
            }
        }
        copy
    }

    /// The sums of all blocks of a complete file, if all are known.
    pub(super) fn all(&self, size: u64) -> Option<Vec<u32>> {
        blocks_of(&(0..size))
            .map(|index| match self.blocks.get(&index) {
                Some(Block::Summed { sum, covers, .. }) if *covers == length_of(index, size) => Some(*sum),
                _ => None,
            })
            .collect()
    }

    /// For a row: runs of neighbouring blocks, each its first number, a colon and eight digits for each block.
    pub(super) fn to_text(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        let mut next = None;
        for (index, block) in &self.blocks {
            if next != Some(*index) {
                let gap = if text.is_empty() { "" } else { " " };
                // Writing to a string cannot fail.
                let _ = write!(text, "{gap}{index}:");
            }
            let _ = match block {
                Block::Summed { sum, .. } => write!(text, "{sum:08x}"),
                Block::Unsummed => write!(text, "--------"),
            };
            next = Some(*index + 1);
        }
        text
    }

    /// The inverse of [`BlockSums::to_text`] for a file of this size, nothing compared; `None` if it makes no sense.
    pub(super) fn from_text(text: &str, size: u64) -> Option<Self> {
        let mut sums = Self::default();
        for run in text.split_whitespace() {
            let (first, digits) = run.split_once(':')?;
            let first: u64 = first.parse().ok()?;
            if digits.len() % 8 != 0 || !digits.is_ascii() {
                return None;
            }
            // No file is so long that its blocks end beyond all numbers.
            first.checked_add(digits.len() as u64 / 8)?.checked_mul(BLOCK)?;
            for (index, at) in (first..).zip((0..digits.len()).step_by(8)) {
                let digits = &digits[at..at + 8];
                let block = match digits {
                    "--------" => Block::Unsummed,
                    _ => Block::Summed {
                        sum: u32::from_str_radix(digits, 16).ok()?,
                        covers: length_of(index, size),
                        trusted: false,
                    },
                };
                sums.blocks.insert(index, block);
            }
        }
        Some(sums)
    }

    /// The sums as a row has them: of blocks that are whole in a file of this size.
    pub(super) fn settled(&self, size: u64) -> Self {
        let mut settled = self.clone();
        for index in self.open(size) {
            settled.blocks.insert(index, Block::Unsummed);
        }
        settled
    }
}

/// The blocks that hold any byte of a range, by number.
pub(super) fn blocks_of(range: &Range<u64>) -> Range<u64> {
    if range.is_empty() { 0..0 } else { range.start / BLOCK..range.end.div_ceil(BLOCK) }
}

/// Where a block is in a file of this size.
pub(super) fn place_of(index: u64, size: u64) -> Range<u64> {
    (index * BLOCK).min(size)..((index + 1) * BLOCK).min(size)
}

fn length_of(index: u64, size: u64) -> u64 {
    let place = place_of(index, size);
    place.end - place.start
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any text as the sums of a file of this size.
pub(super) fn fuzz(text: &str, size: u64) {
    let Some(sums) = BlockSums::from_text(text, size) else { return };
    let written = sums.to_text();
    let again = BlockSums::from_text(&written, size).expect("invariant: what was written can be read");
    assert_eq!(again.to_text(), written);
    assert!(sums.written().iter().all(|index| place_of(*index, size).end <= size));
    assert!(sums.open(size).len() <= sums.settled(size).written().len());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file and its sums go through the same random life; after it the sums tell the file from any other.
    #[test]
    fn sums_follow_every_kind_of_change() {
        let mut seed = 7u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..200 {
            let (mut file, mut sums) = (Vec::<u8>::new(), BlockSums::default());
            for _ in 0..1 + random(8) {
                match random(4) {
                    0 | 1 => {
                        let at = if random(2) == 0 { file.len() as u64 } else { random(3 * BLOCK) };
                        let bytes = vec![1 + random(200) as u8; random(2 * BLOCK) as usize];
                        let end = at as usize + bytes.len();
                        if bytes.is_empty() {
                            continue;
                        }
                        file.resize(file.len().max(end), 0);
                        file[at as usize..end].copy_from_slice(&bytes);
                        sums.wrote(at, &bytes);
                    }
                    2 => {
                        let size = random(4 * BLOCK);
                        file.resize(size as usize, 0);
                        sums.cut(size);
                    }
                    _ => {
                        let from = random(file.len() as u64 + 1) as usize;
                        let to = from + random((file.len() - from) as u64 + 1) as usize;
                        file[from..to].fill(0);
                        sums.disturb(from as u64..to as u64);
                    }
                }
            }
            let size = file.len() as u64;
            let block = |file: &[u8], index| {
                let place = place_of(index, size);
                file[place.start as usize..place.end as usize].to_vec()
            };
            for index in blocks_of(&(0..size)) {
                assert_ne!(sums.compare(index, &block(&file, index)), Verdict::Wrong);
            }
            for index in sums.open(size) {
                sums.close(index, &block(&file, index));
            }
            let stored = sums.settled(size).to_text();
            let mut read = BlockSums::from_text(&stored, size).expect("what was written can be read");
            assert_eq!(read.to_text(), stored);
            for index in blocks_of(&(0..size)) {
                let mut bytes = block(&file, index);
                assert_eq!(read.compare(index, &bytes), Verdict::Right);
                let at = random(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << random(8);
                assert_eq!(read.compare(index, &bytes), Verdict::Wrong, "a flipped bit in block {index}");
            }
        }
    }

    #[test]
    fn bytes_in_order_need_no_second_look() {
        let mut sums = BlockSums::default();
        for at in (0..3 * BLOCK).step_by(4096) {
            sums.wrote(at, &[5; 4096]);
        }
        sums.wrote(3 * BLOCK, b"end");
        assert!(sums.open(3 * BLOCK + 3).is_empty());
        assert_eq!(sums.all(3 * BLOCK + 3).map(|all| all.len()), Some(4));
        assert_eq!(sums.open(3 * BLOCK + 4), [3], "it grew by a zero");
    }

    #[test]
    fn a_row_that_names_a_block_beyond_all_files_makes_no_sense() {
        let last = u64::MAX / BLOCK;
        for first in [last, last + 1, u64::MAX - 1, u64::MAX] {
            assert!(BlockSums::from_text(&format!("{first}:0000000000000000"), 10).is_none(), "{first}");
        }
        let far = format!("{}:00000000--------", last - 2);
        let sums = BlockSums::from_text(&far, u64::MAX).expect("a file can be as long as that");
        assert_eq!((sums.to_text(), sums.written()), (far, vec![last - 2, last - 1]));
    }
}
