//! From a chain of changes to what has to be done about it. Pure.
//!
//! The service's feed is a list of states, not of events. One item may be named several times, also when
//! nothing about it has changed; a renamed folder comes without its children, a deleted one with or
//! without them; parents may come after their children; and for a minute or so the feed may show states
//! from before our own latest change. Described at
//! <https://learn.microsoft.com/graph/api/driveitem-delta> and
//! <https://learn.microsoft.com/onedrive/developer/rest-api/concepts/scan-guidance>.
//!
//! What is made of a change that is the last one of its item in the chain:
//!
//! | the feed says | we know | done |
//! | --- | --- | --- |
//! | is | the same | nothing |
//! | is | a newer state, because we made it ourselves | nothing |
//! | is | a state of our own of a moment ago, and neither this one nor that it is older | asked for by id, and that taken; left open if it says what we know |
//! | is | anything else, or nothing | taken |
//! | gone | nothing | nothing |
//! | gone | an item, or one that has lost its place to another | dropped, with all that is still below it once everything else was taken |
//!
//! Taking comes before dropping, so that what moved out of a deleted folder in the same chain survives;
//! folders are taken before what is in them.

use std::collections::{HashMap, HashSet};

use crate::base::ids::{ItemId, MetaTag};
use crate::index::Row;
use crate::remote::{Change, Item, ItemKind};

/// What is known before the chain is applied.
pub trait Known {
    /// Why a look at it can fail.
    type Error;

    /// The item as it is known, with the identity of its folder.
    fn item(&mut self, id: &ItemId) -> Result<Option<(Row, Option<ItemId>)>, Self::Error>;

    /// Whether an inode stands for the item, be its place known or not.
    fn holds(&mut self, id: &ItemId) -> Result<bool, Self::Error>;

    /// Whether this state of an item is one that we have overtaken by a change of our own.
    fn is_overtaken(&mut self, id: &ItemId, tag: &MetaTag) -> Result<bool, Self::Error>;
}

/// What has to be done, in this order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// New states, folders before what is in them.
    pub take: Vec<Item>,
    /// Items that are gone, each with everything that is then below it.
    pub drop: Vec<ItemId>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.take.is_empty() && self.drop.is_empty()
    }
}

/// Makes a plan from all changes of a complete chain.
///
/// # Errors
///
/// Those of the view.
pub fn plan<K: Known>(known: &mut K, chain: Vec<Change>) -> Result<Plan, K::Error> {
    let mut plan = Plan::default();
    for change in last_of_each(chain) {
        match change {
            Change::Is(item) => {
                let same = known.item(&item.id)?.is_some_and(|(row, parent)| is_same(&row, parent.as_ref(), &item));
                if !same && !known.is_overtaken(&item.id, &item.meta_tag)? {
                    plan.take.push(item);
                }
            }
            Change::Gone(id) => {
                if known.holds(&id)? {
                    plan.drop.push(id);
                }
            }
        }
    }
    plan.take = folders_first(plan.take);
    Ok(plan)
}

/// Makes a plan from a page of an enumeration while the feed is being followed, too.
///
/// A page may be older than what the feed has brought since, or than what we did ourselves. So it only
/// adds; where it contradicts what is known, the item is named for a look at it by id.
///
/// | the page says | we know | done |
/// | --- | --- | --- |
/// | is | nothing, and it did not go since the enumeration began | taken |
/// | is | nothing, because it went since | nothing |
/// | is | the same | nothing |
/// | is, or gone | something else | named |
///
/// # Errors
///
/// Those of the view.
pub fn plan_page<K: Known>(
    known: &mut K,
    page: Vec<Change>,
    went: impl Fn(&ItemId) -> bool,
) -> Result<(Plan, Vec<ItemId>), K::Error> {
    let mut plan = Plan::default();
    let mut doubtful = Vec::new();
    for change in last_of_each(page) {
        match change {
            Change::Is(item) => match known.item(&item.id)? {
                None if went(&item.id) => {}
                None => plan.take.push(item),
                Some((row, parent)) if is_same(&row, parent.as_ref(), &item) => {}
                Some(_) => doubtful.push(item.id),
            },
            Change::Gone(id) => {
                if known.holds(&id)? {
                    doubtful.push(id);
                }
            }
        }
    }
    plan.take = folders_first(plan.take);
    Ok((plan, doubtful))
}

/// The last change of each item, in the order in which those came.
fn last_of_each(chain: Vec<Change>) -> Vec<Change> {
    let mut seen = HashSet::new();
    let mut last: Vec<Change> = chain.into_iter().rev().filter(|change| seen.insert(change.id().clone())).collect();
    last.reverse();
    last
}

/// Whether the index would not look different afterwards. Times are compared in seconds, because the
/// service keeps no more.
fn is_same(row: &Row, parent: Option<&ItemId>, item: &Item) -> bool {
    (item.parent.is_none() || row.name == item.name) && says_the_same(row, parent, item)
}

/// The same, whatever it is called.
fn says_the_same(row: &Row, parent: Option<&ItemId>, item: &Item) -> bool {
    (item.parent.is_none() || parent == item.parent.as_ref())
        && row.kind == item.kind
        && row.content_tag == item.content_tag
        && row.meta_tag == item.meta_tag
        && (row.modified.seconds() == item.modified.seconds() || keeps_our_time(row, item))
        && (row.size == item.size || item.kind != ItemKind::File)
        && row.link_to == item.link_to
}

/// Whether nothing about an item has changed but its time, which says that the service never had ours: where it cannot be
/// told a time, this machine remembers it, as long as the item stays as it is. Where it can, a time moves the tag.
fn keeps_our_time(row: &Row, item: &Item) -> bool {
    !row.meta_tag.0.is_empty() && row.meta_tag == item.meta_tag
}

/// Whether a state says something of an item that is not known: of a file anything, of a folder its place. A folder's tag
/// moves with what is in it. That an item is shown under another name because it stands aside for a namesake is nothing
/// that the service could say.
pub(super) fn is_other(row: &Row, parent: Option<&ItemId>, item: &Item) -> bool {
    let is_called_so = item.parent.is_none() || row.name == item.name || row.plain_name() == item.name;
    let is_as_known = match item.kind {
        ItemKind::File => says_the_same(row, parent, item),
        ItemKind::Folder | ItemKind::Closed => item.parent.is_none() || parent == item.parent.as_ref(),
    };
    !(is_called_so && is_as_known)
}

/// Sorts so that no item comes before its folder, as far as the folder is in the list at all. Keeps the
/// order otherwise.
fn folders_first(items: Vec<Item>) -> Vec<Item> {
    let parents: HashMap<ItemId, Option<ItemId>> =
        items.iter().map(|item| (item.id.clone(), item.parent.clone())).collect();
    let depth = |item: &Item| {
        let mut depth = 0;
        let mut at = item.parent.as_ref();
        // The bound ends a circle, which only a service gone mad could report.
        while let Some(parent) = at.filter(|_| depth < parents.len()) {
            match parents.get(parent) {
                Some(above) => at = above.as_ref(),
                None => break,
            }
            depth += 1;
        }
        depth
    };
    let mut keyed: Vec<(usize, Item)> = items.into_iter().map(|item| (depth(&item), item)).collect();
    keyed.sort_by_key(|(depth, _)| *depth);
    keyed.into_iter().map(|(_, item)| item).collect()
}
