//! The map of a cached file, as it is on the disk: which chunks are here, and what proves them.
//!
//! It is written piece by piece, and after a power failure any of the pieces may be old, torn or zeros. So each proves
//! itself, and one that does not stands for nothing.
//!
//! | bytes | hold |
//! | --- | --- |
//! | header | magic, version, chunk size, content size, key length, key, CRC-32C of all that |
//! | 8 for each chunk | its CRC-32C, and a mark made from checksum and position, so that neither zeros nor an entry of another place can pass for one |
//! | 8 | in the same form the [`Seal`] of content that was compared with the hash of its version; older maps end before it |
//!
//! Numbers are little-endian.

use super::CHUNK;
use super::compared::Seal;
use crate::base::checksum::crc32c;

/// The first bytes.
pub(super) const MAGIC: &[u8; 8] = b"odmcache";
/// The length of an entry.
pub(super) const ENTRY: u64 = 8;

const VERSION: u32 = 1;
/// Magic, version, chunk size, content size, key length.
const FIXED: usize = 8 + 4 + 4 + 8 + 4;
const MARK_SUMMED: u32 = 0x5b1d_93c7;
const MARK_UNSUMMED: u32 = 0xa66e_2f51;
const MARK_COMPARED: u32 = 0x39c4_e80d;

/// What the map says of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    /// Nothing that can be believed.
    Absent,
    /// It is here, with this checksum.
    Summed(u32),
    /// It is here, and was durable before the map was; it has no checksum yet.
    Unsummed,
}

pub(super) fn header(key: &str, size: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FIXED + key.len() + 4);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(CHUNK as u32).to_le_bytes());
    bytes.extend_from_slice(&size.to_le_bytes());
    bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
    bytes.extend_from_slice(key.as_bytes());
    let sum = crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// The entry of a chunk with a checksum.
pub(super) fn summed(index: u64, sum: u32) -> [u8; ENTRY as usize] {
    entry(index, sum, MARK_SUMMED)
}

/// The entry of a chunk without.
pub(super) fn unsummed(index: u64) -> [u8; ENTRY as usize] {
    entry(index, 0, MARK_UNSUMMED)
}

/// The entry of a seal, after those of so many chunks.
pub(super) fn sealed(chunks: u64, seal: Seal) -> [u8; ENTRY as usize] {
    entry(chunks, seal.0, MARK_COMPARED)
}

pub(super) fn parse_entry(index: u64, bytes: &[u8]) -> Entry {
    let (sum, found) = numbers(bytes);
    if (sum, found) == (0, 0) {
        Entry::Absent
    } else if found == mark(index, sum, MARK_SUMMED) {
        Entry::Summed(sum)
    } else if sum == 0 && found == mark(index, 0, MARK_UNSUMMED) {
        Entry::Unsummed
    } else {
        Entry::Absent
    }
}

pub(super) fn parse_seal(chunks: u64, bytes: &[u8]) -> Option<Seal> {
    let (seal, found) = numbers(bytes);
    (found == mark(chunks, seal, MARK_COMPARED)).then_some(Seal(seal))
}

/// The two numbers of an entry.
fn numbers(bytes: &[u8]) -> (u32, u32) {
    let number = |part: &[u8]| part.iter().rev().fold(0u32, |n, byte| n << 8 | u32::from(*byte));
    (number(&bytes[..4]), number(&bytes[4..]))
}

fn mark(index: u64, sum: u32, seed: u32) -> u32 {
    seed ^ sum.rotate_left(7) ^ (index as u32).wrapping_mul(0x9e37_79b1)
}

fn entry(index: u64, sum: u32, seed: u32) -> [u8; ENTRY as usize] {
    let mut bytes = [0; ENTRY as usize];
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    bytes[4..].copy_from_slice(&mark(index, sum, seed).to_le_bytes());
    bytes
}
