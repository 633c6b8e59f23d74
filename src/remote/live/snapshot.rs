//! What the folders of the drive held when they were last listed, small enough for a million items, and what has changed
//! since: the two things that a service without a feed does not keep for us.
//!
//! Always true here: an item is remembered from the moment anybody was told of it, so that its absence can be noticed;
//! a state counts as told only when it has been put into the log; what is being changed by ourselves at this moment is
//! not judged by a listing that may be older than that.
//!
//! Pure: nothing here asks the service. An item takes 16 bytes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher as _};

use super::wire::Hint;
use crate::base::ids::{DriveId, ItemId};
use crate::remote::kept::{MOST_KEPT, Weigh as _};
use crate::remote::{Change, Item, ItemKind};

/// The most changes that are kept for those who have not asked for them yet.
const MOST_CHANGES: usize = 50_000;

/// The most that these weigh, in bytes. Whoever asks for them gets a copy.
const MOST_LOGGED: usize = MOST_KEPT / 3;

/// The most items whose last change by ourselves is remembered.
const MOST_TOUCHED: usize = 4096;

/// An item, as a number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Key(u64);

/// Set in keys that are hashes.
const ODD: u64 = 1 << 63;

#[derive(Clone, Copy)]
struct Child {
    key: Key,
    /// The state that was told of it, as a hash; 0 if none was.
    print: u64,
}

/// A folder as it is known.
#[derive(Default)]
pub(super) struct Folder {
    parent: Option<Key>,
    /// What it last said of itself.
    hint: Hint,
    /// What it had said of itself when it was last listed; `None` if it never was.
    listed_with: Option<Hint>,
    /// Which of all listings that was.
    listed_at: u64,
    /// Sorted.
    children: Vec<Child>,
}

impl Folder {
    /// Where a child is among the others, or would be.
    fn find(&self, key: Key) -> Result<usize, usize> {
        self.children.binary_search_by_key(&key, |child| child.key)
    }
}

/// What a listing has shown.
#[derive(Default)]
pub(super) struct Shown {
    /// Items that were listed before and are not now.
    pub(super) missing: Vec<ItemId>,
    /// The folders in it.
    pub(super) folders: Vec<ItemId>,
}

/// Changes by ourselves that are under way, or were a moment ago.
#[derive(Default)]
struct Touched {
    running: u32,
    ended: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct Snapshot {
    /// The drive whose identities are kept as numbers.
    home: Option<DriveId>,
    folders: HashMap<Key, Folder>,
    /// Identities of any other form.
    odd: HashMap<Key, ItemId>,
    log: VecDeque<Change>,
    /// What the changes in it weigh.
    log_weight: usize,
    /// How many changes there were in all.
    logged: u64,
    touched: HashMap<Key, Touched>,
    /// How many listings were taken.
    listings: u64,
    /// Counts the beginnings and ends of changes by ourselves.
    epoch: u64,
}

impl Snapshot {
    /// The number of an identity.
    pub(super) fn key(&mut self, id: &ItemId) -> Key {
        let home = self.home.get_or_insert_with(|| id.drive.clone());
        if let Some(key) = numbered(id, home) {
            return key;
        }
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let key = Key(hasher.finish() | ODD);
        self.odd.entry(key).or_insert_with(|| id.clone());
        key
    }

    fn id(&self, key: Key) -> Option<ItemId> {
        if key.0 & ODD != 0 {
            return self.odd.get(&key).cloned();
        }
        let home = self.home.as_ref()?;
        let prefix = if key.0 & 1 == 1 { "folder" } else { "file" };
        let account = home.as_str().trim_start_matches('0').to_ascii_uppercase();
        Some(ItemId::new(home, format!("{prefix}.{}.{account}!{}", home.as_str(), key.0 >> 1)))
    }

    /// How many folders are known.
    pub(super) fn folders(&self) -> usize {
        self.folders.len()
    }

    /// Somebody was told of an item: its absence counts from now on.
    pub(super) fn note(&mut self, item: &Item) {
        let key = self.key(&item.id);
        let parent = item.parent.as_ref().map(|parent| self.key(parent));
        if let Some(parent) = parent {
            let folder = self.folders.entry(parent).or_default();
            if let Err(at) = folder.find(key) {
                folder.children.insert(at, Child { key, print: 0 });
            }
        }
        if item.kind == ItemKind::Folder {
            self.folders.entry(key).or_default().parent = parent;
        }
    }

    /// An item is gone, as far as its folder `from` goes, with all that is below it.
    pub(super) fn forget(&mut self, id: &ItemId, from: Option<&ItemId>) {
        let key = self.key(id);
        match from {
            Some(from) => {
                let from = self.key(from);
                self.take_out(key, from);
            }
            None => {
                let holders: Vec<Key> = self.folders.keys().copied().collect();
                for folder in holders {
                    self.take_out(key, folder);
                }
            }
        }
        let mut below = vec![key];
        while let Some(key) = below.pop() {
            let Some(folder) = self.folders.remove(&key) else { continue };
            // What moved out meanwhile has another folder by now.
            let inside = |child: &&Child| self.folders.get(&child.key).is_some_and(|it| it.parent == Some(key));
            below.extend(folder.children.iter().filter(inside).map(|child| child.key));
        }
    }

    /// A folder is gone. If it is in the listing of no other one its absence would never be noticed, and it would have its
    /// turn for ever.
    pub(super) fn forget_unheld(&mut self, folder: &ItemId) {
        let key = self.key(folder);
        if !self.folders.values().any(|other| other.find(key).is_ok()) {
            self.forget(folder, None);
        }
    }

    /// An item lies elsewhere now, with all that is below it.
    pub(super) fn leave(&mut self, id: &ItemId, from: &ItemId) {
        let (key, from) = (self.key(id), self.key(from));
        self.take_out(key, from);
    }

    fn take_out(&mut self, key: Key, from: Key) {
        if let Some(folder) = self.folders.get_mut(&from)
            && let Ok(at) = folder.find(key)
        {
            folder.children.remove(at);
        }
    }

    /// Puts a change into the log.
    pub(super) fn tell(&mut self, change: Change) {
        self.log_weight += change.weight();
        self.log.push_back(change);
        self.logged += 1;
        while self.log.len() > MOST_CHANGES || self.log_weight > MOST_LOGGED {
            let Some(first) = self.log.pop_front() else { return };
            self.log_weight -= first.weight();
        }
    }

    /// The position after everything that is in the log.
    pub(super) fn position(&self) -> u64 {
        self.logged
    }

    /// What came after a position; `None` if that is not known any more. Without what was listed and is forgotten since:
    /// who has deleted it knows that it is gone, and would have to ask whether it is back.
    pub(super) fn since(&mut self, position: u64) -> Option<Vec<Change>> {
        let first = self.logged - self.log.len() as u64;
        let skip = position.checked_sub(first).filter(|_| position <= self.logged)?;
        let changes: Vec<Change> = self.log.iter().skip(skip as usize).cloned().collect();
        Some(changes.into_iter().filter(|change| self.is_held(change)).collect())
    }

    /// Whether what was told of is still known to be where it was told to be; of what is gone there is nothing to hold.
    fn is_held(&mut self, change: &Change) -> bool {
        let Change::Is(item) = change else { return true };
        let Some(parent) = &item.parent else { return true };
        let (key, parent) = (self.key(&item.id), self.key(parent));
        self.folders.get(&parent).is_some_and(|folder| folder.find(key).is_ok())
    }

    /// Takes a complete listing of a folder that was begun at `epoch`. What has changed goes into the log; with `whole`
    /// not what comes from a folder that was never listed, because the caller hands that out itself.
    pub(super) fn take(
        &mut self,
        folder: &ItemId,
        items: &[Item],
        hints: &HashMap<ItemId, Hint>,
        epoch: u64,
        whole: bool,
    ) -> Shown {
        let at = self.key(folder);
        let mut shown = Shown::default();
        let known = self.folders.entry(at).or_default();
        let (children, listed_with) = (std::mem::take(&mut known.children), known.listed_with);
        let quiet = whole && listed_with.is_none();
        let before: HashMap<Key, u64> = children.iter().map(|child| (child.key, child.print)).collect();
        let mut after = Vec::with_capacity(items.len());
        let mut there = HashSet::with_capacity(items.len());
        for item in items {
            let key = self.key(&item.id);
            there.insert(key);
            let print = print_of(item);
            let known = before.get(&key).copied();
            let stale = self.is_touched(key, epoch);
            if known != Some(print) && !stale && !(quiet && known.is_none_or(|print| print == 0)) {
                self.tell(Change::Is(item.clone()));
            }
            if known.is_none() && stale {
                // It may have left this folder since; the next listing knows. What is in it belongs to the whole for
                // all that.
                if whole && item.kind == ItemKind::Folder {
                    shown.folders.push(item.id.clone());
                }
                continue;
            }
            after.push(Child { key, print: if stale { known.unwrap_or(0) } else { print } });
            if item.kind == ItemKind::Folder {
                let hint = hints.get(&item.id).copied().unwrap_or_default();
                let folder = self.folders.entry(key).or_default();
                (folder.parent, folder.hint) = (Some(at), hint);
                shown.folders.push(item.id.clone());
            }
        }
        for child in children.iter().filter(|child| !there.contains(&child.key)) {
            // Not before it was looked for does it count as gone.
            after.push(*child);
            if !self.is_touched(child.key, epoch) {
                shown.missing.extend(self.id(child.key));
            }
        }
        after.sort_unstable_by_key(|child| child.key);
        self.listings += 1;
        let listings = self.listings;
        let known = self.folders.entry(at).or_default();
        (known.children, known.listed_with, known.listed_at) = (after, Some(known.hint), listings);
        shown
    }

    /// Whether there is reason to list a folder: it says something else of itself than when it was listed, or never was.
    pub(super) fn is_due(&mut self, id: &ItemId) -> bool {
        let key = self.key(id);
        self.folders.get(&key).is_none_or(|folder| folder.listed_with != Some(folder.hint))
    }

    /// Whether a folder was ever listed.
    pub(super) fn was_listed(&mut self, id: &ItemId) -> bool {
        let key = self.key(id);
        self.folders.get(&key).is_some_and(|folder| folder.listed_with.is_some())
    }

    /// The folders that were not listed for the longest time.
    pub(super) fn oldest(&self, count: usize) -> Vec<ItemId> {
        let mut listed: Vec<(u64, Key)> = self
            .folders
            .iter()
            .filter(|(_, folder)| folder.listed_with.is_some())
            .map(|(key, folder)| (folder.listed_at, *key))
            .collect();
        if listed.len() > count && count > 0 {
            listed.select_nth_unstable(count - 1);
        }
        listed.truncate(count);
        listed.into_iter().filter_map(|(_, key)| self.id(key)).collect()
    }

    /// A change of an item by ourselves begins.
    pub(super) fn begin(&mut self, id: &ItemId) -> Key {
        let key = self.key(id);
        self.epoch += 1;
        if self.touched.len() >= MOST_TOUCHED {
            let lately = self.epoch.saturating_sub(MOST_TOUCHED as u64);
            self.touched.retain(|_, touched| touched.running > 0 || touched.ended > lately);
        }
        self.touched.entry(key).or_default().running += 1;
        key
    }

    /// It ends.
    pub(super) fn end(&mut self, key: Key) {
        self.epoch += 1;
        if let Some(touched) = self.touched.get_mut(&key) {
            touched.running = touched.running.saturating_sub(1);
            touched.ended = self.epoch;
        }
    }

    /// Now, in changes by ourselves.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether we have changed an item ourselves since `epoch`, or are doing so.
    pub(super) fn was_touched(&mut self, id: &ItemId, epoch: u64) -> bool {
        let key = self.key(id);
        self.is_touched(key, epoch)
    }

    /// Whether what a listing that was begun at `epoch` says of an item may be older than our own change of it.
    fn is_touched(&self, key: Key, epoch: u64) -> bool {
        self.touched.get(&key).is_some_and(|touched| touched.running > 0 || touched.ended > epoch)
    }
}

/// The number of an identity of this drive; `None` if it has another form.
fn numbered(id: &ItemId, home: &DriveId) -> Option<Key> {
    if id.drive != *home {
        return None;
    }
    let (prefix, rest) = id.id.split_once('.')?;
    let (cid, short) = rest.split_once('.')?;
    let (account, number) = short.split_once('!')?;
    let folder = match prefix {
        "folder" => 1,
        "file" => 0,
        _ => return None,
    };
    let usual = cid == home.as_str() && account == cid.trim_start_matches('0').to_ascii_uppercase();
    let number = number.parse::<u64>().ok().filter(|n| *n < ODD >> 1 && n.to_string() == number)?;
    usual.then_some(Key(number << 1 | folder))
}

/// A state, as a number; never 0.
fn print_of(item: &Item) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&item.meta_tag, &item.content_tag, item.kind, item.modified.seconds(), item.size).hash(&mut hasher);
    hasher.finish().max(1)
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
