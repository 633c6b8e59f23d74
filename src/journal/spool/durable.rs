//! What of a draft survives a loss of power, and how it comes to that.
//!
//! A program fsyncs a file and writes on: from then on the file on the disk is on its way from a state that was promised to
//! one that is not. So the row says two things, what there is and what of it was last known to be on the disk
//! ([`Durable`]); the second goes only when something newer is there in its place.
//!
//! A sync that failed is not simply tried again: Linux reports a failure once, and takes the bytes for written from then
//! on. The next attempt writes them again, after it has compared them with their checksums, for they may not be in memory
//! any more.
//!
//! Always true: a state is durable once the bytes and the name are ([`Draft::flush`], then the folder, then
//! [`Draft::note_durable`]); what a draft has of its base counts like any other bytes here.
//!
//! What a start takes of content that may have been written after its row ([`SpoolRow::as_found`]):
//!
//! | since the row was written | what is taken |
//! | --- | --- |
//! | the daemon was killed | the file as it is: all of it is what a program wrote |
//! | the power failed | so much of the file as the state has that was durable; what was written over it later may be in it or not, and is no damage; the file may be shorter, if it was cut later |

use std::io;
use std::sync::PoisonError;

use serde::{Deserialize, Serialize};

use super::{Draft, Inner};
use crate::base::disk::DiskFile;
use crate::base::ranges::RangeSet;
use crate::journal::store::{SpoolBase, SpoolRow};
use crate::journal::sums::{self, BlockSums, DamagedDraft, Verdict};

/// A state of a draft that a loss of power does not take.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Durable {
    /// Bytes.
    pub size: u64,
    /// As in the row.
    pub present: RangeSet,
    /// As in the row.
    #[serde(default, skip_serializing_if = "RangeSet::is_empty")]
    pub borrowed: RangeSet,
    /// As in the row.
    pub base_limit: u64,
    /// As in the row.
    pub base: Option<SpoolBase>,
    /// Blocks, by number, that were changed after it.
    #[serde(default, skip_serializing_if = "RangeSet::is_empty")]
    pub changed: RangeSet,
}

impl Durable {
    /// A state after which nothing was changed.
    fn of(size: u64, [present, borrowed]: [&RangeSet; 2], base_limit: u64, base: Option<&SpoolBase>) -> Self {
        let (present, borrowed, base) = (present.clone(), borrowed.clone(), base.cloned());
        Self { size, present, borrowed, base_limit, base, changed: RangeSet::new() }
    }
}

/// Changes of the file's bytes, counted, and how many of them are on the disk.
pub(super) struct Changes {
    /// How many there were.
    count: u64,
    /// Which blocks were changed after so many changes and before the next entry begins. Never empty.
    blocks: Vec<(u64, RangeSet)>,
    /// The last state that is durable: how many changes are in it, and whether a program was told that it is safe.
    durable: Option<(u64, bool, Durable)>,
    /// A sync has failed: what is in memory is not on the disk, though it is taken to be.
    unsure: bool,
    /// How the last sync failed, until one succeeds.
    trouble: Option<(io::ErrorKind, String)>,
}

impl Changes {
    /// Of a draft whose file is new.
    pub(super) fn of_new() -> Self {
        Self { count: 1, blocks: vec![(0, RangeSet::new())], durable: None, unsure: false, trouble: None }
    }

    /// Of a draft whose file may have anything that is not on the disk yet.
    pub(super) fn of_copy() -> Self {
        Self { blocks: vec![(0, RangeSet::of(0..u64::MAX))], ..Self::of_new() }
    }

    /// Of a draft as its row describes it.
    pub(super) fn of_row(row: &SpoolRow) -> Self {
        let mut changes = Self::of_copy();
        if row.synced {
            changes.blocks = vec![(0, RangeSet::new())];
            changes.durable = Some((1, row.promised, row.state()));
        } else if let Some(durable) = &row.durable {
            changes.blocks = vec![(0, durable.changed.clone())];
            changes.durable = Some((0, true, durable.clone()));
        }
        changes
    }

    /// The bytes of these blocks are being changed.
    pub(super) fn note(&mut self, blocks: std::ops::Range<u64>) {
        self.count += 1;
        if let Some((_, changed)) = self.blocks.last_mut() {
            changed.insert(blocks);
        }
    }

    /// A state is being made durable: changes from now on are told from those before.
    fn part(&mut self) {
        const AT_ONCE: usize = 4;
        if self.blocks.len() == AT_ONCE {
            // Of attempts that have failed. What was changed in the second counts as changed in the first.
            let (_, second) = self.blocks.remove(1);
            self.blocks[0].1.extend(&second);
        }
        self.blocks.push((self.count, RangeSet::new()));
    }

    /// The blocks that may have been changed after so many changes; and some others, at worst.
    fn since(&self, count: u64) -> RangeSet {
        let mut changed = RangeSet::new();
        for (at, (_, blocks)) in self.blocks.iter().enumerate() {
            if self.blocks.get(at + 1).is_none_or(|(next, _)| *next > count) {
                changed.extend(blocks);
            }
        }
        changed
    }

    fn is_durable(&self) -> bool {
        self.durable.as_ref().is_some_and(|(at, ..)| *at == self.count)
    }
}

impl Inner {
    /// The file is being changed between these two places.
    pub(super) fn note_change(&mut self, range: std::ops::Range<u64>) {
        self.changes.note(sums::blocks_of(&range));
    }

    fn state(&self) -> Durable {
        Durable::of(self.size, [&self.present, &self.borrowed], self.base_limit, self.base.as_ref())
    }

    /// For the row: whether all of it is on the disk, and else what was promised and is.
    pub(super) fn durable(&self) -> (bool, Option<Durable>) {
        if self.changes.is_durable() {
            return (true, None);
        }
        let promised = self.changes.durable.as_ref().filter(|(_, promised, _)| *promised);
        let durable = promised.map(|(at, _, state)| Durable { changed: self.changes.since(*at), ..state.clone() });
        (false, durable)
    }

    /// A program is told that what there is now is safe.
    pub(super) fn promise(&mut self) {
        self.promised = true;
        if let Some((at, promised, _)) = &mut self.changes.durable {
            *promised |= *at == self.changes.count;
        }
    }

    /// The version that this was made from has another tag now; the state to go back to was made from it, too.
    pub(super) fn durable_base(&mut self) -> Option<&mut SpoolBase> {
        self.changes.durable.as_mut()?.2.base.as_mut()
    }
}

/// The bytes of a state are on the disk; its name may not be yet.
pub(in crate::journal) struct Flushed {
    count: u64,
    promised: bool,
    state: Durable,
}

impl Draft {
    /// Makes the bytes durable, if they are not; [`Draft::note_durable`] follows once the name of the file is.
    ///
    /// # Errors
    ///
    /// The disk's. Nothing is known then of what was written since the last success, and it is written again before the
    /// next attempt counts; [`DamagedDraft`] if it cannot be any more.
    pub(in crate::journal) fn flush(&self) -> io::Result<Option<Flushed>> {
        // One at a time: who fails is told alone, and the next would take it for a success.
        let _turn = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let flushed = self.flush_in_turn();
        let mut inner = self.lock();
        inner.changes.trouble = flushed.as_ref().err().map(|error| (error.kind(), error.to_string()));
        flushed
    }

    fn flush_in_turn(&self) -> io::Result<Option<Flushed>> {
        let (is_durable, unsure) = {
            let inner = self.lock();
            (inner.changes.is_durable(), inner.changes.unsure)
        };
        if is_durable {
            // A block that was written between its sum and the sync has none. If it cannot be read it is durable all the
            // same, and whoever sends it will hear of that.
            let _ = self.close_sums();
            return Ok(None);
        }
        if unsure {
            self.write_again()?;
        }
        // Before: should it fail, the bytes can be told from others.
        self.close_sums()?;
        let flushed = {
            let mut inner = self.lock();
            inner.changes.part();
            Flushed { count: inner.changes.count, promised: inner.promised, state: inner.state() }
        };
        let synced = self.file.get()?.sync_data();
        let mut inner = self.lock();
        inner.changes.unsure = synced.is_err();
        if synced.is_err() {
            // From now on the file may be read from the disk, where other bytes are.
            inner.sums = inner.sums.of_copy();
        }
        synced.map(|()| Some(flushed))
    }

    /// The blocks that a failed sync may have lost.
    pub(super) fn unsafe_blocks(&self) -> Vec<u64> {
        let inner = self.lock();
        let safe = inner.changes.durable.as_ref().map_or(0, |(at, ..)| *at);
        let changed = inner.changes.since(safe);
        inner.sums.written().into_iter().filter(|block| changed.contains(*block..*block + 1)).collect()
    }

    /// What a failed sync has left in memory is compared, and written again.
    fn write_again(&self) -> io::Result<()> {
        let _turn = self.turn();
        for index in self.unsafe_blocks() {
            let mut inner = self.lock();
            let place = sums::place_of(index, inner.size);
            let bytes = self.read_file(place.clone())?;
            if inner.sums.compare(index, &bytes) == Verdict::Wrong {
                return Err(DamagedDraft { at: place.start }.into());
            }
            self.file.get()?.write_at(&bytes, place.start)?;
        }
        Ok(())
    }

    /// What was flushed has a durable name, too.
    pub(in crate::journal) fn note_durable(&self, flushed: Flushed) {
        let mut inner = self.lock();
        // Promised since, and not changed.
        let promised = flushed.promised || inner.promised && flushed.count == inner.changes.count;
        let changes = &mut inner.changes;
        let is_newer = match &changes.durable {
            // What nobody was promised is nothing to go back to in place of what somebody was.
            Some((at, was_promised, _)) => flushed.count >= *at && promised >= *was_promised,
            None => true,
        };
        if is_newer {
            let parts = &mut changes.blocks;
            while parts.get(1).is_some_and(|(next, _)| *next <= flushed.count) {
                parts.remove(0);
            }
            changes.durable = Some((flushed.count, promised, flushed.state));
        }
    }

    /// How often its file was changed so far.
    pub(in crate::journal) fn changes(&self) -> u64 {
        self.lock().changes.count
    }

    /// Whether what there was after so many changes survives power loss.
    pub(in crate::journal) fn survives(&self, changes: u64) -> bool {
        self.lock().changes.durable.as_ref().is_some_and(|(at, ..)| *at >= changes)
    }

    /// Why it does not.
    pub(in crate::journal) fn trouble(&self) -> io::Error {
        match &self.lock().changes.trouble {
            Some((kind, text)) => io::Error::new(*kind, text.clone()),
            None => io::Error::other("the content was not made durable"),
        }
    }

    /// Whether a state of it that was promised survives power loss.
    pub(in crate::journal) fn has_safe_state(&self) -> bool {
        self.lock().changes.durable.as_ref().is_some_and(|(_, promised, _)| *promised)
    }

    /// Whether its content was promised, and survives power loss.
    pub(in crate::journal) fn is_safe(&self) -> bool {
        let inner = self.lock();
        inner.promised && inner.changes.is_durable()
    }

    /// Whether the file really has what its row promises: for bytes that may not have reached the disk. What was
    /// never summed cannot be answered for.
    pub(in crate::journal) fn is_intact(&self) -> bool {
        let (size, base_limit, row_hash, summed) = {
            let mut inner = self.lock();
            let summed = inner.sums.open(inner.size).is_empty();
            (inner.size, inner.base_limit, inner.hash.take(), summed)
        };
        match row_hash {
            Some(hash) if base_limit == 0 => self.compute_hash().is_ok_and(|now| now == hash),
            _ => summed && size > 0 && self.damage().is_ok_and(|damage| damage.is_empty()),
        }
    }
}

impl SpoolRow {
    /// What the row says there is.
    pub(in crate::journal) fn state(&self) -> Durable {
        Durable::of(self.size, [&self.present, &self.borrowed], self.base_limit, self.base.as_ref())
    }

    /// The row of content as it is found in its file, by a state that is in it; see the table above. `doubted`: the blocks,
    /// by number, that may have been written after that state.
    pub(in crate::journal) fn as_found(&self, state: &Durable, doubted: &RangeSet, found: &Found) -> Self {
        let mut state = state.clone();
        if found.length < state.size && doubted.contains(sums::blocks_of(&(found.length..state.size))) {
            state.size = found.length;
            state.present.truncate(state.size);
            state.borrowed.truncate(state.size);
            state.base_limit = state.base_limit.min(state.size);
        }
        let known = self.sums.as_deref().and_then(|text| BlockSums::from_text(text, self.size));
        let mut known = known.unwrap_or_else(|| BlockSums::unknown(self.present.iter()));
        known.cut(state.size);
        let mut written = RangeSet::new();
        known.written().into_iter().for_each(|block| written.insert(block..block + 1));
        // Where the file has nothing there are zeros, whoever has put them there.
        found.data.iter().for_each(|data| written.insert(sums::blocks_of(&data)));
        for block in written.intersect(&doubted.within(sums::blocks_of(&(0..state.size)))).iter().flatten() {
            known.disturb(sums::place_of(block, state.size));
        }
        Self {
            size: state.size,
            present: state.present.clone(),
            borrowed: state.borrowed.clone(),
            base_limit: state.base_limit,
            base: state.base.clone(),
            hash: None,
            sums: Some(known.to_text()),
            synced: false,
            // The power may fail again before the next sync.
            durable: Some(Durable { changed: doubted.clone(), ..state }),
            ..self.clone()
        }
    }

    /// The row of content in a file that nobody but its writer has changed: all that is in it is what was written.
    pub(in crate::journal) fn as_left(&self, found: &Found) -> Self {
        let mut state = self.state();
        state.present.insert(state.size..found.length);
        state.size = state.size.max(found.length);
        let all = RangeSet::of(0..u64::MAX);
        let durable = self.synced.then(|| self.state()).or(self.durable.clone());
        let durable = durable.map(|state| Durable { changed: all.clone(), ..state });
        Self { durable, ..self.as_found(&state, &all, found) }
    }
}

/// What the disk says of a file.
pub(in crate::journal) struct Found {
    /// Bytes.
    pub(in crate::journal) length: u64,
    /// Where it may hold something else than zeros.
    pub(in crate::journal) data: RangeSet,
}

impl Found {
    /// Looks.
    pub(in crate::journal) fn of(file: &dyn DiskFile) -> io::Result<Self> {
        let (mut data, mut at) = (RangeSet::new(), 0);
        while let Some(range) = file.next_data(at)? {
            at = range.end;
            data.insert(range);
        }
        Ok(Self { length: file.len()?, data })
    }
}
