//! Sets of byte ranges: which parts of a file are here, which are missing, which were written.
//!
//! A [`RangeSet`] is always sorted, coalesced (no two ranges touch) and free of empty ranges, so two sets
//! that hold the same bytes are equal. Pure: no file, no clock.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A set of bytes, as sorted half-open ranges that neither overlap nor touch.
///
/// Serialised as a flat list of ascending offsets: start, end, start, end.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(into = "Vec<u64>", try_from = "Vec<u64>")]
pub struct RangeSet {
    ranges: Vec<Range<u64>>,
}

impl RangeSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// The set of one range; empty if the range is.
    pub fn of(range: Range<u64>) -> Self {
        let mut set = Self::new();
        set.insert(range);
        set
    }

    /// Adds a range. An empty range adds nothing.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        // Sequential writes extend the last range; everything else pays a binary search and a splice.
        if let Some(last) = self.ranges.last_mut()
            && last.start <= range.start
            && range.start <= last.end
        {
            last.end = last.end.max(range.end);
            return;
        }
        let first = self.ranges.partition_point(|r| r.end < range.start);
        let after = self.ranges.partition_point(|r| r.start <= range.end);
        let mut joined = range;
        if first < after {
            joined.start = joined.start.min(self.ranges[first].start);
            joined.end = joined.end.max(self.ranges[after - 1].end);
        }
        self.ranges.splice(first..after, [joined]);
    }

    /// Takes a range out.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.ranges.partition_point(|r| r.end <= range.start);
        let after = self.ranges.partition_point(|r| r.start < range.end);
        if first >= after {
            return;
        }
        let head = self.ranges[first].start..range.start;
        let tail = range.end..self.ranges[after - 1].end;
        self.ranges.splice(first..after, [head, tail].into_iter().filter(|r| !r.is_empty()));
    }

    /// Adds every range of another set.
    pub fn extend(&mut self, other: &RangeSet) {
        for range in &other.ranges {
            self.insert(range.clone());
        }
    }

    /// Whether every byte of the range is in the set; true for an empty range.
    pub fn contains(&self, range: Range<u64>) -> bool {
        if range.is_empty() {
            return true;
        }
        let at = self.ranges.partition_point(|r| r.end <= range.start);
        self.ranges.get(at).is_some_and(|r| r.start <= range.start && range.end <= r.end)
    }

    /// The bytes of the range that are not in the set.
    pub fn missing(&self, range: Range<u64>) -> RangeSet {
        let mut missing = RangeSet::new();
        if range.is_empty() {
            return missing;
        }
        let mut at = range.start;
        for present in self.overlapping(&range) {
            if present.start > at {
                missing.ranges.push(at..present.start);
            }
            at = at.max(present.end);
        }
        if at < range.end {
            missing.ranges.push(at..range.end);
        }
        missing
    }

    /// The bytes of the range that are in the set.
    pub fn within(&self, range: Range<u64>) -> RangeSet {
        if range.is_empty() {
            return RangeSet::new();
        }
        let ranges =
            self.overlapping(&range).map(|r| r.start.max(range.start)..r.end.min(range.end)).collect::<Vec<_>>();
        RangeSet { ranges }
    }

    /// The bytes that are in both sets.
    pub fn intersect(&self, other: &RangeSet) -> RangeSet {
        let mut both = RangeSet::new();
        let (mut left, mut right) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            let shared = a.start.max(b.start)..a.end.min(b.end);
            if !shared.is_empty() {
                both.ranges.push(shared);
            }
            if a.end <= b.end {
                left.next();
            } else {
                right.next();
            }
        }
        both
    }

    /// Forgets everything from `length` on.
    pub fn truncate(&mut self, length: u64) {
        self.remove(length..u64::MAX);
    }

    /// How many bytes are in the set.
    pub fn total(&self) -> u64 {
        self.ranges.iter().map(|r| r.end - r.start).sum()
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ {
        self.ranges.iter().cloned()
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether all bytes of a file of this length are in the set; true for an empty file.
    pub fn is_complete(&self, length: u64) -> bool {
        self.contains(0..length)
    }

    /// The smallest range that covers the set; `None` if it is empty.
    pub fn span(&self) -> Option<Range<u64>> {
        Some(self.ranges.first()?.start..self.ranges.last()?.end)
    }

    fn overlapping(&self, range: &Range<u64>) -> impl Iterator<Item = &Range<u64>> {
        let (first, end) = (self.ranges.partition_point(|r| r.end <= range.start), range.end);
        self.ranges[first..].iter().take_while(move |r| r.start < end)
    }
}

impl std::fmt::Debug for RangeSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(&self.ranges).finish()
    }
}

impl FromIterator<Range<u64>> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

impl From<RangeSet> for Vec<u64> {
    fn from(set: RangeSet) -> Self {
        set.ranges.iter().flat_map(|r| [r.start, r.end]).collect()
    }
}

/// A stored list that is no set of ranges: an odd number of offsets, or not ascending.
#[derive(Debug, thiserror::Error)]
#[error("a list of byte ranges must be an even number of ascending offsets")]
pub struct BadRanges;

impl TryFrom<Vec<u64>> for RangeSet {
    type Error = BadRanges;

    fn try_from(offsets: Vec<u64>) -> Result<Self, BadRanges> {
        if !offsets.len().is_multiple_of(2) || !offsets.is_sorted() {
            return Err(BadRanges);
        }
        Ok(offsets.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPAN: u64 = 64;

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64, u64),
        Remove(u64, u64),
        Truncate(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        let pair = || (0..SPAN, 0..=SPAN);
        prop_oneof![
            4 => pair().prop_map(|(a, b)| Op::Insert(a.min(b), a.max(b))),
            2 => pair().prop_map(|(a, b)| Op::Remove(a.min(b), a.max(b))),
            1 => (0..=SPAN).prop_map(Op::Truncate),
        ]
    }

    fn apply(set: &mut RangeSet, bits: &mut [bool; SPAN as usize], op: &Op) {
        match *op {
            Op::Insert(a, b) => {
                set.insert(a..b);
                bits[a as usize..b as usize].fill(true);
            }
            Op::Remove(a, b) => {
                set.remove(a..b);
                bits[a as usize..b as usize].fill(false);
            }
            Op::Truncate(a) => {
                set.truncate(a);
                bits[a as usize..].fill(false);
            }
        }
    }

    fn bits_of(set: &RangeSet) -> [bool; SPAN as usize] {
        let mut bits = [false; SPAN as usize];
        for r in set.iter() {
            bits[r.start as usize..r.end as usize].fill(true);
        }
        bits
    }

    fn assert_canonical(set: &RangeSet) {
        assert!(set.ranges.iter().all(|r| r.start < r.end), "{set:?}");
        assert!(set.ranges.windows(2).all(|w| w[0].end < w[1].start), "{set:?}");
    }

    proptest! {
        #[test]
        fn behaves_like_a_bitmap(ops in prop::collection::vec(op(), 0..40), a in 0..SPAN, b in 0..=SPAN) {
            let (mut set, mut bits) = (RangeSet::new(), [false; SPAN as usize]);
            for op in &ops {
                apply(&mut set, &mut bits, op);
                assert_canonical(&set);
                prop_assert_eq!(bits_of(&set), bits);
            }
            prop_assert_eq!(set.total(), bits.iter().filter(|b| **b).count() as u64);

            let (a, b) = (a.min(b), a.max(b));
            let slice = &bits[a as usize..b as usize];
            prop_assert_eq!(set.contains(a..b), slice.iter().all(|b| *b));
            let (missing, within) = (set.missing(a..b), set.within(a..b));
            assert_canonical(&missing);
            assert_canonical(&within);
            prop_assert_eq!(missing.total(), slice.iter().filter(|b| !**b).count() as u64);
            prop_assert_eq!(within.total(), slice.iter().filter(|b| **b).count() as u64);
            prop_assert!(missing.intersect(&set).is_empty());

            let stored = serde_json::to_string(&set).expect("serialises");
            prop_assert_eq!(serde_json::from_str::<RangeSet>(&stored).expect("reads back"), set);
        }

        #[test]
        fn intersection_is_bitwise_and(
            left in prop::collection::vec(op(), 0..20),
            right in prop::collection::vec(op(), 0..20),
        ) {
            let (mut a, mut a_bits) = (RangeSet::new(), [false; SPAN as usize]);
            let (mut b, mut b_bits) = (RangeSet::new(), [false; SPAN as usize]);
            left.iter().for_each(|op| apply(&mut a, &mut a_bits, op));
            right.iter().for_each(|op| apply(&mut b, &mut b_bits, op));
            let both = a.intersect(&b);
            assert_canonical(&both);
            prop_assert_eq!(both, b.intersect(&a));
            for (at, bit) in bits_of(&a.intersect(&b)).iter().enumerate() {
                prop_assert_eq!(*bit, a_bits[at] && b_bits[at]);
            }
        }
    }

    #[test]
    fn stored_nonsense_is_refused() {
        for bad in ["[1]", "[5,3]", "[0,4,2,3]"] {
            assert!(serde_json::from_str::<RangeSet>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_empty_file_is_always_complete() {
        assert!(RangeSet::new().is_complete(0));
        assert!(!RangeSet::new().is_complete(1));
    }
}
