//! Which whole files were compared with the hash of their version, across starts.
//!
//! Only a whole file can be compared, so that happens after its last chunk is on the disk, one file at a time, and the
//! daemon may end in between. The next start finds a complete file in which every chunk has the checksum of what arrived,
//! and nothing of that says whether the right bytes arrived. Always true:
//!
//! - that content was compared stands in its map, as a [`Seal`] made of the checksums of the very bytes that were hashed:
//!   content in which any chunk is another does not have it, and nobody has to take it away;
//! - complete content without its seal is compared soon after it is first asked for; until then it is as good as a
//!   download that has just become complete;
//! - what was made on this machine has its seal from the beginning, if the checksums of its chunks came with it.
//!
//! | the content that is found | its version names a hash | its seal | is |
//! | --- | --- | --- | --- |
//! | a part | | | compared when the rest has come |
//! | all | no | | all that there is to know |
//! | all | yes | fits | as it was compared |
//! | all | yes | is missing, or of other content | compared soon |

use std::sync::atomic::Ordering;

use super::file::CacheFile;
use super::{CHUNK, CacheKey, ChunkCache};
use crate::base::checksum::{crc32c, crc32c_append};
use crate::base::hash::QuickXorHash;

/// Stands for the content of a whole file: a checksum of the checksums of its chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seal(pub(super) u32);

impl Seal {
    pub(super) fn of(sums: impl IntoIterator<Item = u32>) -> Self {
        sums.into_iter().fold(Self(0), Self::and)
    }

    fn and(self, sum: u32) -> Self {
        Self(crc32c_append(self.0, &sum.to_le_bytes()))
    }
}

impl ChunkCache {
    /// The QuickXorHash of the whole file as it is here; `None` unless it is complete and every chunk
    /// matches its checksum.
    pub fn quick_xor_hash(&self, key: &CacheKey, size: u64) -> Option<String> {
        self.whole_hash(key, size).map(|(hash, _)| hash)
    }

    /// The same, with the seal of what was hashed.
    pub(super) fn whole_hash(&self, key: &CacheKey, size: u64) -> Option<(String, Seal)> {
        const PIECE: u64 = 8 * CHUNK;
        let (mut hash, mut seal) = (QuickXorHash::new(), Seal::of([]));
        for at in (0..size).step_by(PIECE as usize) {
            let bytes = self.find(key, size)?.read(at..(at + PIECE).min(size)).ok()?;
            hash.update(&bytes);
            // Of these bytes: what the map says may be of others by now.
            seal = bytes.chunks(CHUNK as usize).map(crc32c).fold(seal, Seal::and);
        }
        Some((hash.finish_base64(), seal))
    }

    /// Notes that content with this seal was compared with the hash of its version, and is kept.
    pub(super) fn note_compared(&self, key: &CacheKey, size: u64, seal: Seal) {
        if let Some(file) = self.find(key, size) {
            file.note_compared(seal);
        }
    }

    /// Whether all that is here was compared with the hash of its version.
    pub(super) fn is_compared(&self, key: &CacheKey, size: u64) -> bool {
        self.find(key, size).is_some_and(|file| file.is_compared() == Some(true))
    }

    /// Puts a file that was opened on the list if it has to be compared.
    pub(super) fn compare_if_needed(&self, key: &CacheKey, file: &CacheFile) {
        if key.tag.hash().is_some() && file.is_compared() == Some(false) {
            self.lock().to_compare.insert(key.clone(), file.size);
            self.shared.to_compare.store(true, Ordering::Release);
        }
    }

    /// The same bytes under another name are as good as they were under the first.
    pub(super) fn carry_over_comparison(&self, from: &CacheKey, to: &CacheKey, size: u64) {
        let (Some(original), Some(copy)) = (self.find(from, size), self.find(to, size)) else { return };
        if let Some(seal) = original.seal() {
            copy.note_compared(seal);
        }
        self.compare_if_needed(to, &copy);
    }

    /// What is on the list, which is empty from then on.
    pub(super) fn take_to_compare(&self) -> Vec<(CacheKey, u64)> {
        if !self.shared.to_compare.load(Ordering::Acquire) {
            return Vec::new();
        }
        // Before the list is emptied: what is added meanwhile is not overlooked.
        self.shared.to_compare.store(false, Ordering::Release);
        self.lock().to_compare.drain().collect()
    }
}
