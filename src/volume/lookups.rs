//! How often the kernel has been told of each inode and has not forgotten it: what it may have cached.
//!
//! A walk over a drive leaves the kernel with every inode of it, so a table of a million counts must cost next to
//! nothing. Inode numbers are handed out in order and most counts are small, so they are single bytes in pages of
//! neighbouring numbers; the few that do not fit are in a table beside them. A page without counts is dropped.

use std::collections::HashMap;

use crate::base::ids::Ino;

/// Inodes of a page.
const PAGE: u64 = 256;

/// A byte of this value says that the count is in the table of large ones.
const LARGE: u8 = u8::MAX;

/// The counts.
#[derive(Default)]
pub(super) struct Lookups {
    pages: HashMap<u64, Box<Page>>,
    large: HashMap<Ino, u64>,
}

struct Page {
    counts: [u8; PAGE as usize],
    /// How many of them are not zero.
    used: u16,
}

fn place(ino: Ino) -> (u64, usize) {
    (ino.0 / PAGE, (ino.0 % PAGE) as usize)
}

impl Lookups {
    /// The kernel was told of an inode once more.
    pub fn add(&mut self, ino: Ino) {
        let (page, at) = place(ino);
        let page = self.pages.entry(page).or_insert_with(|| Box::new(Page { counts: [0; PAGE as usize], used: 0 }));
        let count = &mut page.counts[at];
        match *count {
            0 => {
                *count = 1;
                page.used += 1;
            }
            LARGE => *self.large.entry(ino).or_default() += 1,
            few if few + 1 == LARGE => {
                *count = LARGE;
                self.large.insert(ino, u64::from(LARGE));
            }
            _ => *count += 1,
        }
    }

    /// The kernel forgot that it was told of an inode so often; says whether it does not know it any more.
    pub fn remove(&mut self, ino: Ino, times: u64) -> bool {
        let (number, at) = place(ino);
        let Some(page) = self.pages.get_mut(&number) else { return true };
        let count = &mut page.counts[at];
        if *count == LARGE {
            let held = self.large.entry(ino).or_default();
            *held = held.saturating_sub(times);
            if *held > 0 {
                return false;
            }
            self.large.remove(&ino);
            *count = 0;
        } else {
            if *count == 0 {
                return true;
            }
            *count = count.saturating_sub(u8::try_from(times).unwrap_or(u8::MAX));
            if *count > 0 {
                return false;
            }
        }
        page.used -= 1;
        if page.used == 0 {
            self.pages.remove(&number);
            if self.pages.len() * 4 < self.pages.capacity() && self.pages.capacity() > 1024 {
                self.pages.shrink_to(self.pages.len() * 2);
            }
        }
        true
    }

    /// Whether the kernel may know an inode.
    pub fn knows(&self, ino: Ino) -> bool {
        let (page, at) = place(ino);
        self.pages.get(&page).is_some_and(|page| page.counts[at] > 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_are_kept_like_those_of_a_plain_table(
            steps in proptest::collection::vec((0..600u64, prop_oneof![Just(None), (1..400u64).prop_map(Some)], 1..400u32), 1..60),
        ) {
            let (mut lookups, mut plain) = (Lookups::default(), HashMap::<Ino, u64>::new());
            for (ino, forgotten, added) in steps {
                let ino = Ino(ino);
                match forgotten {
                    None => {
                        for _ in 0..added {
                            lookups.add(ino);
                        }
                        *plain.entry(ino).or_default() += u64::from(added);
                    }
                    Some(times) => {
                        let left = plain.get(&ino).copied().unwrap_or(0).saturating_sub(times);
                        plain.insert(ino, left);
                        prop_assert_eq!(lookups.remove(ino, times), left == 0);
                    }
                }
                prop_assert_eq!(lookups.knows(ino), plain[&ino] > 0);
            }
            for ino in plain.keys() {
                lookups.remove(*ino, u64::MAX);
            }
            prop_assert!(lookups.pages.is_empty() && lookups.large.is_empty());
        }
    }
}
