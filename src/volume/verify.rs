//! Comparing what is on this machine with what the service says it is, without downloading anything.
//!
//! | content on this machine | compared with | verdict |
//! | --- | --- | --- |
//! | all of a version in the cloud | the service's hash | intact, or damaged |
//! | the same, but the service gives no hash, or one that its own bytes do not have | | unknown |
//! | a part of it | its checksums only | unknown, or damaged |
//! | none of it | | not here |
//! | a draft that was closed | the hash from when it was written | intact, or damaged |
//! | a draft without such a hash, incomplete, or open | | unknown |
//!
//! Damaged content of the cloud is dropped, so that the next read fetches it again. A damaged draft is left as it is:
//! it may be the only copy.

use std::collections::VecDeque;

use super::inspect::{joined, plain};
use super::tree::Seen;
use super::{NodeKind, Volume, VolumeResult};
use crate::base::hash::QuickXorHash;
use crate::cache::{CHUNK, CacheKey, Lookup};
use crate::journal::Draft;

/// What was found out about a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It has the bytes that it shall have.
    Intact,
    /// It does not; the text says what is the matter and what has been done.
    Damaged(&'static str),
    /// Nobody can say; the text says why.
    Unknown(&'static str),
    /// It is not on this machine.
    NotHere,
}

/// One file that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// Its path within the mount.
    pub path: String,
    /// Bytes that were read for it.
    pub bytes: u64,
    /// The verdict.
    pub verdict: Verdict,
}

impl Volume {
    /// Checks the file at a path, or all files below it, as far as they are known. Blocks on the local disk, for as
    /// long as reading the content takes; `report` is called after each file, and ends it by returning `false`.
    /// Returns whether there is anything at the path.
    ///
    /// # Errors
    ///
    /// [`VolumeError`](super::VolumeError) if the index fails.
    pub fn verify(&self, path: &str, report: &mut dyn FnMut(Checked) -> bool) -> VolumeResult<bool> {
        let Ok(start) = self.walk_known(path)? else { return Ok(false) };
        let mut open = VecDeque::from([(start, plain(path))]);
        while let Some((seen, path)) = open.pop_front() {
            if seen.kind == NodeKind::File {
                let (bytes, verdict) = self.verify_file(&seen);
                if !report(Checked { path, bytes, verdict }) {
                    break;
                }
                continue;
            }
            for child in self.children(seen.ino)? {
                let below = joined(&path, &child.name);
                open.push_back((child, below));
            }
        }
        Ok(true)
    }

    fn verify_file(&self, seen: &Seen) -> (u64, Verdict) {
        if let Some(draft) = self.journal.content(seen.ino) {
            let is_open = self.journal.get(seen.ino).is_some_and(|intent| intent.drafting.is_some());
            return if is_open { (0, Verdict::Unknown("it is being written")) } else { verify_draft(&draft) };
        }
        let Some((item, tag, size)) = &seen.version else { return (0, Verdict::NotHere) };
        let (key, size) = (CacheKey::new(item, tag), *size);
        // Making room meanwhile must not look like damage.
        let _pin = self.cache.pin(&key);
        let present = self.cache.present(&key, size);
        if present.is_empty() {
            let verdict = if size == 0 { Verdict::Intact } else { Verdict::NotHere };
            return (0, verdict);
        }
        let total = present.total();
        let damaged = |what| {
            self.cache.discard(&key);
            self.disown_pages(&key);
            (total, Verdict::Damaged(what))
        };
        if !self.cache.is_complete(&key, size) {
            for range in present.iter() {
                for at in (range.start..range.end).step_by(CHUNK as usize) {
                    let chunk = at..(at + CHUNK).min(range.end);
                    if matches!(self.cache.read_at(&key, size, chunk), Lookup::Missing(_)) {
                        return damaged("a downloaded part did not match its checksum; it will be downloaded again");
                    }
                }
            }
            return (total, Verdict::Unknown("only a part of it is on this machine"));
        }
        let Some(found) = self.cache.quick_xor_hash(&key, size) else {
            return damaged("the downloaded content did not match its checksums; it will be downloaded again");
        };
        match tag.hash() {
            None => (total, Verdict::Unknown("the service gives no hash for it")),
            Some(wanted) if wanted == found => (total, Verdict::Intact),
            Some(_) if self.fetcher.is_trusted(&key, &found) => {
                (total, Verdict::Unknown("the service's hash does not fit the bytes that it sends"))
            }
            Some(_) => damaged("the downloaded content did not match the service's hash; it will be downloaded again"),
        }
    }
}

fn verify_draft(draft: &Draft) -> (u64, Verdict) {
    let Some(wanted) = draft.hash() else { return (0, Verdict::Unknown("no hash was taken when it was written")) };
    if !draft.missing().is_empty() {
        return (0, Verdict::Unknown("an edit; the rest of the file is not on this machine"));
    }
    let size = draft.size();
    let (mut hash, mut read) = (QuickXorHash::new(), 0);
    let all = draft.read_all(size, |bytes| {
        read += bytes.len() as u64;
        hash.update(bytes);
    });
    if all.is_err() {
        return (read, Verdict::Damaged("its file, which waits for the upload, cannot be read"));
    }
    let verdict = if hash.finish_base64() == wanted {
        Verdict::Intact
    } else {
        Verdict::Damaged("its file, which waits for the upload, is not as it was written")
    };
    (size, verdict)
}
