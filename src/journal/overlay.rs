//! All intents in memory, found by every way the volume and the queue look for them: by inode, by the place
//! where the user sees them, by the item they stand for, by the name they still hold in the cloud.
//!
//! Always true: the four maps say the same; only [`Overlay::put`] and [`Overlay::take`] change them.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::intent::{Intent, Kind};
use crate::base::ids::{ContentTag, Ino, ItemId};
use crate::base::name::fold;
use crate::index::Row;

/// The names that an intent's item holds in the cloud, or may hold because it was sent there without an answer.
fn held_by(intent: &Intent) -> impl Iterator<Item = (&ItemId, &str)> {
    let base = intent.base.iter().map(|base| (&base.parent, base.name.as_str()));
    let sent = intent.sent.iter().filter_map(|sent| sent.place.as_ref()).map(|(parent, name)| (parent, name.as_str()));
    base.chain(sent)
}

/// Whether what is there may be what an intent has sent there without an answer. Where nothing but a time and a size tells
/// versions apart, the size has to do until the bytes are read back, and what turns out to be somebody else's is seen then.
pub(super) fn has_sent(intent: &Intent, parent: &ItemId, name: &str, version: Option<&ContentTag>) -> bool {
    let Some(sent) = intent.sent.as_ref().filter(|_| intent.item.is_none()) else { return false };
    let there = sent.place.as_ref().is_some_and(|(at, called)| at == parent && called == name);
    let may_be = |tag: &ContentTag| {
        let of_its_size = || sent.versions.iter().any(|ours| ours.size() == tag.size());
        sent.versions.contains(tag) || tag.is_of_time() && of_its_size()
    };
    there && (intent.kind == Kind::Folder || version.is_some_and(may_be))
}

/// The intents of a journal.
#[derive(Default)]
pub struct Overlay {
    intents: HashMap<Ino, Intent>,
    places: HashMap<Ino, BTreeMap<String, Vec<Ino>>>,
    items: HashMap<ItemId, Ino>,
    held: HashMap<ItemId, HashMap<String, HashSet<Ino>>>,
}

impl Overlay {
    /// Adds or replaces an intent.
    pub fn put(&mut self, intent: Intent) {
        self.take(intent.ino);
        if intent.is_live() {
            self.places.entry(intent.parent).or_default().entry(fold(&intent.name)).or_default().push(intent.ino);
        }
        if let Some(item) = &intent.item {
            self.items.insert(item.clone(), intent.ino);
        }
        for (parent, name) in held_by(&intent) {
            self.held.entry(parent.clone()).or_default().entry(fold(name)).or_default().insert(intent.ino);
        }
        self.intents.insert(intent.ino, intent);
    }

    /// Removes an intent.
    pub fn take(&mut self, ino: Ino) -> Option<Intent> {
        let intent = self.intents.remove(&ino)?;
        if intent.is_live()
            && let Some(names) = self.places.get_mut(&intent.parent)
        {
            let key = fold(&intent.name);
            if let Some(inos) = names.get_mut(&key) {
                inos.retain(|other| *other != ino);
                if inos.is_empty() {
                    names.remove(&key);
                }
            }
            if names.is_empty() {
                self.places.remove(&intent.parent);
            }
        }
        if let Some(item) = &intent.item
            && self.items.get(item) == Some(&ino)
        {
            self.items.remove(item);
        }
        for (parent, name) in held_by(&intent) {
            let Some(names) = self.held.get_mut(parent) else { continue };
            let key = fold(name);
            if let Some(inos) = names.get_mut(&key) {
                inos.remove(&ino);
                if inos.is_empty() {
                    names.remove(&key);
                }
            }
            if names.is_empty() {
                self.held.remove(parent);
            }
        }
        Some(intent)
    }

    /// The intent of an inode.
    pub fn get(&self, ino: Ino) -> Option<&Intent> {
        self.intents.get(&ino)
    }

    /// The inode that stands for an item.
    pub fn by_item(&self, item: &ItemId) -> Option<&Intent> {
        self.items.get(item).and_then(|ino| self.intents.get(ino))
    }

    /// The live intent at a place, its name compared without case.
    pub fn at(&self, parent: Ino, name: &str) -> Option<&Intent> {
        let inos = self.places.get(&parent)?.get(&fold(name))?;
        // An exact match wins where a clash has left two.
        inos.iter().filter_map(|ino| self.intents.get(ino)).max_by_key(|intent| (intent.name == name, intent.changed))
    }

    /// The live intents in a folder.
    pub fn placed_in(&self, parent: Ino) -> impl Iterator<Item = &Intent> {
        self.places
            .get(&parent)
            .into_iter()
            .flat_map(|names| names.values().flatten())
            .filter_map(|ino| self.intents.get(ino))
    }

    /// Whether a folder has a live intent in it.
    pub fn has_any_in(&self, parent: Ino) -> bool {
        self.places.contains_key(&parent)
    }

    /// The intents whose items hold this name in this folder of the cloud, or may hold it.
    pub fn holders(&self, parent: &ItemId, name: &str) -> impl Iterator<Item = &Intent> {
        self.held
            .get(parent)
            .and_then(|names| names.get(&fold(name)))
            .into_iter()
            .flatten()
            .filter_map(|ino| self.intents.get(ino))
    }

    /// Whether what is there may be what an intent has sent there without an answer: then the intent says where it is,
    /// and whether it is to be seen at all.
    pub fn may_have_sent(&self, parent: &ItemId, name: &str, version: Option<&ContentTag>) -> bool {
        self.holders(parent, name).any(|intent| has_sent(intent, parent, name, version))
    }

    /// Whether an intent says where the item of a row is, whose folder is `folder` in the cloud: then the row does not.
    pub fn covers(&self, folder: Option<&ItemId>, row: &Row) -> bool {
        self.get(row.ino).is_some()
            || self.by_item(&row.id).is_some()
            || folder.is_some_and(|folder| self.may_have_sent(folder, &row.name, row.content_tag.as_ref()))
    }

    /// The intents whose items are still in this folder of the cloud.
    pub fn held_in(&self, parent: &ItemId) -> impl Iterator<Item = &Intent> {
        self.held
            .get(parent)
            .into_iter()
            .flat_map(|names| names.values().flatten())
            .filter_map(|ino| self.intents.get(ino))
    }

    /// All intents, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Intent> {
        self.intents.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.intents.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.intents.is_empty()
    }
}
