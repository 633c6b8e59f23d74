//! Everything below a folder, listed folder by folder with a few requests at once.

use std::collections::HashSet;

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use serde_json::Value;

use super::{Drive, DriveResult, is_folder, object, target_of};
use crate::base::ids::ItemId;
use crate::remote::Item;
use crate::remote::extras::Seen;

/// Listings under way at the same time.
const AT_ONCE: usize = 8;

/// An object with what is below it.
#[derive(Clone, Debug)]
pub struct Branch {
    /// The object.
    pub item: Item,
    /// What is printed of it.
    pub object: Value,
    /// Its children by name; `None` for what has none: a file, or a folder that was entered already by another way.
    pub children: Option<Vec<Branch>>,
}

impl Branch {
    /// Calls `look` for everything below, parents first.
    pub fn each(&self, look: &mut impl FnMut(&Branch)) {
        for child in self.children.iter().flatten() {
            look(child);
            child.each(look);
        }
    }
}

/// See [`Drive::tree`].
pub(super) async fn of(drive: &Drive, folder: Item, whole: bool) -> DriveResult<Branch> {
    let mut seen: HashSet<ItemId> = HashSet::new();
    let top = Seen { object: object::of_item(&folder), item: folder.clone() };
    let mut nodes: Vec<(Seen, Option<Vec<usize>>)> = vec![(top, None)];
    let mut waiting = vec![(0, folder)];
    let mut open = FuturesUnordered::new();
    loop {
        while open.len() < AT_ONCE {
            let Some((at, item)) = waiting.pop() else { break };
            let target = target_of(&item).clone();
            if seen.insert(target) {
                open.push(async move { drive.children(&item, whole).await.map(|children| (at, children)) });
            }
        }
        let Some(listed) = open.next().await else { break };
        let (at, children) = listed?;
        let mut numbers = Vec::with_capacity(children.len());
        for child in children {
            let number = nodes.len();
            numbers.push(number);
            if is_folder(&child.item) {
                waiting.push((number, child.item.clone()));
            }
            nodes.push((child, None));
        }
        nodes[at].1 = Some(numbers);
    }
    // Children have higher numbers than their parents, so from the end on every child is complete.
    let mut branches: Vec<Option<Branch>> = nodes.iter().map(|_| None).collect();
    for (at, (Seen { item, object }, numbers)) in nodes.into_iter().enumerate().rev() {
        let children = numbers.map(|numbers| numbers.into_iter().filter_map(|n| branches[n].take()).collect());
        branches[at] = Some(Branch { item, object, children });
    }
    Ok(branches[0].take().expect("invariant: the folder itself is the first"))
}
