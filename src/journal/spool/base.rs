//! What a draft has of the version it was made from, its base.
//!
//! Bytes of the base are filled in from the cache when an edit begins and from the cloud before it is sent. They may have
//! been damaged on their way here, which nobody can tell of a part of a file; sent with the edit they would become
//! the current version, with a hash that fits. So they are only borrowed until the whole base was compared with the hash
//! that the service has for it, and can be given back.

use std::io;

use super::{Draft, Inner, KeptBase};
use crate::base::disk::DiskFile;
use crate::base::ids::{ContentTag, ItemId};
use crate::base::ranges::RangeSet;
use crate::journal::store::SpoolBase;

impl Draft {
    /// The version that missing bytes come from.
    pub fn base(&self) -> Option<SpoolBase> {
        self.lock().base.clone()
    }

    /// Bytes of disk that may be needed to complete it.
    pub fn missing(&self) -> RangeSet {
        let inner = self.lock();
        inner.present.missing(0..inner.base_limit.min(inner.size))
    }

    /// Whether anything beyond this place may be the base's.
    pub(in crate::journal) fn reaches_into_base(&self, at: u64) -> bool {
        at < self.lock().base_limit
    }

    /// The version that it was made from has another tag now, and the same bytes. Says whether it was made from that.
    pub(in crate::journal) fn carry_base(&self, item: &ItemId, from: &ContentTag, to: &ContentTag) -> bool {
        let mut inner = self.lock();
        let carry = |base: &mut SpoolBase| {
            let is_it = base.item == *item && base.tag == *from;
            if is_it {
                base.tag = to.clone();
            }
            is_it
        };
        // Both: what is to be gone back to was made from it, too.
        let before = inner.durable_base().is_some_and(carry);
        inner.base.as_mut().is_some_and(carry) || before
    }

    /// Bytes of the base that this misses are on this machine, and nowhere else perhaps; until this is complete, or gone,
    /// they stay.
    pub fn keep_base(&self, kept: KeptBase) {
        self.lock().kept_base = Some(kept);
    }

    /// Nothing of the base is missed any more.
    pub(in crate::journal) fn release_base(&self) {
        let kept = self.lock().kept_base.take();
        // What is let go of may be deleted at that, and others need not wait for it.
        drop(kept);
    }

    /// The bytes of the base that are here and that nobody has compared with its hash.
    pub(in crate::journal) fn borrowed(&self) -> RangeSet {
        self.lock().borrowed.clone()
    }

    /// The base is right: what is here of it is as good as written.
    pub(in crate::journal) fn vouch(&self) {
        self.lock().borrowed = RangeSet::new();
    }

    /// What is here of the base may be wrong: it is missing again. Returns what that is.
    pub(in crate::journal) fn give_back(&self) -> RangeSet {
        let _turn = self.turn();
        let mut inner = self.lock();
        let given = std::mem::take(&mut inner.borrowed);
        for range in given.iter() {
            inner.present.remove(range);
        }
        inner.hash = None;
        inner.note_change(0..0);
        // Whoever has copied it meanwhile has a copy of something else.
        inner.generation += 1;
        self.count(&inner);
        given
    }

    /// Takes back what was given: it is here as it was, for nobody has written since.
    pub(in crate::journal) fn take_again(&self, given: &RangeSet) {
        let _turn = self.turn();
        let mut inner = self.lock();
        inner.present.extend(given);
        inner.borrowed.extend(given);
        inner.note_change(0..0);
        inner.generation += 1;
        self.count(&inner);
    }

    /// Puts bytes of the base where nothing was written since. Does not count as change.
    pub fn fill(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.put(at, bytes, false)
    }

    /// As [`Draft::fill`], of bytes that were compared with the hash of the base.
    pub(in crate::journal) fn fill_compared(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.put(at, bytes, true)
    }

    /// As [`Draft::fill`]; bytes that somebody has compared replace those that nobody has.
    fn put(&self, at: u64, bytes: &[u8], compared: bool) -> io::Result<()> {
        let _turn = self.turn();
        let mut inner = self.lock();
        let end = (at + bytes.len() as u64).min(inner.base_limit).max(at);
        let mut wanted = inner.present.missing(at..end);
        if compared {
            wanted.extend(&inner.borrowed.within(at..end));
        }
        for range in wanted.iter() {
            let (from, to) = ((range.start - at) as usize, (range.end - at) as usize);
            self.trust_edges(&mut inner, range.clone())?;
            inner.note_change(range.clone());
            inner.sums.disturb(range.clone());
            self.file.get()?.write_at(&bytes[from..to], range.start)?;
            inner.present.insert(range.clone());
            if compared {
                inner.borrowed.remove(range);
            } else {
                inner.borrowed.insert(range);
            }
        }
        self.count(&inner);
        Ok(())
    }

    /// Puts the bytes of another draft, which is complete and was made from the same version, where nothing was written
    /// here: of a copy that was taken before the other one was complete, they are those of that version. What the copy had
    /// of it by then is replaced, if the other one's was compared since.
    ///
    /// # Errors
    ///
    /// The disk's, and [`DamagedDraft`](super::DamagedDraft).
    pub(in crate::journal) fn fill_from(&self, other: &Self) -> io::Result<()> {
        const PIECE: u64 = 4 << 20;
        let compared = other.borrowed().is_empty();
        let mut gaps = self.missing();
        if compared {
            gaps.extend(&self.borrowed());
        }
        for gap in gaps.iter() {
            let mut at = gap.start;
            while at < gap.end.min(other.size()) {
                let bytes = other.read_complete(at..gap.end.min(at + PIECE))?;
                self.put(at, &bytes, compared)?;
                at += bytes.len() as u64;
            }
        }
        Ok(())
    }

    /// Lets `copy` write bytes of the base into the file, and takes what it says as present. However long that takes,
    /// only those wait for it who change the file.
    pub fn fill_with(&self, copy: impl FnOnce(&dyn DiskFile) -> RangeSet) {
        let _turn = self.turn();
        {
            let inner = self.lock();
            // Once written or cut, what the base had beyond the cut must not come back.
            let untouched = inner.base.as_ref().is_some_and(|base| base.size == inner.base_limit);
            if !inner.present.is_empty() || !untouched {
                return;
            }
        }
        let Ok(file) = self.file.get() else { return };
        let filled = copy(&*file);
        let mut inner = self.lock();
        for range in filled.iter() {
            inner.note_change(range.clone());
            inner.sums.disturb(range);
        }
        let Inner { present, borrowed, .. } = &mut *inner;
        present.extend(&filled);
        borrowed.extend(&filled);
        self.count(&inner);
    }
}
