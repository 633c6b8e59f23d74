//! Who waits for whom.

use std::collections::HashSet;

use crate::base::ids::{Ino, ItemId};
use crate::journal::intent::{Intent, Kind, Progress, Step, next_step};
use crate::journal::overlay::Overlay;

/// What is known of the cloud beside the intents.
#[derive(Clone, Copy)]
pub struct Cloud<'a> {
    /// The identity of a folder in the cloud; `None` if it is not there.
    pub resolve: &'a dyn Fn(Ino) -> Option<ItemId>,
    /// The folder that an item without an intent is in.
    pub above: &'a dyn Fn(&ItemId) -> Option<ItemId>,
}

/// The intents, as they need each other.
#[derive(Clone, Copy)]
pub(super) struct Order<'a> {
    pub overlay: &'a Overlay,
    pub cloud: Cloud<'a>,
}

/// Nothing real is deeper: a path has 400 characters.
const DEEPEST: usize = 512;

impl<'a> Order<'a> {
    /// Whether `is_one` says yes to one of those whose items hold the name that `intent` wants and will leave it. One
    /// that is parked will leave it, too, once the user has helped: taking the two for a conflict would give another name
    /// to what has the right one.
    fn any_leaver(self, intent: &Intent, is_one: &mut dyn FnMut(&'a Intent) -> bool) -> bool {
        let Some(parent) = (self.cloud.resolve)(intent.parent) else { return false };
        self.overlay.holders(&parent, &intent.name).any(|holder| {
            holder.ino != intent.ino
                && (holder.deleted
                    || holder.is_displaced((self.cloud.resolve)(holder.parent).as_ref())
                    // Sent there without an answer: whether it holds the name is being found out.
                    || holder.sent.as_ref().is_some_and(|sent| sent.place.is_some()))
                && is_one(holder)
        })
    }

    /// The intents between the folder that a folder is to be moved to and the folder itself, if that is below it in the
    /// cloud: one of them will leave it.
    fn below_it(self, intent: &Intent) -> Vec<&'a Intent> {
        let (Kind::Folder, Some(item)) = (intent.kind, &intent.item) else { return Vec::new() };
        let mut between = Vec::new();
        let mut at = (self.cloud.resolve)(intent.parent);
        for _ in 0..DEEPEST {
            let Some(folder) = at else { return Vec::new() };
            if folder == *item {
                return between;
            }
            let one = self.overlay.by_item(&folder);
            between.extend(one.filter(|one| one.is_displaced((self.cloud.resolve)(one.parent).as_ref())));
            at = match one.and_then(|one| one.base.as_ref()) {
                Some(base) => Some(base.parent.clone()),
                None => (self.cloud.above)(&folder),
            };
        }
        Vec::new()
    }

    /// Whether `is_one` says yes to one of those that must have done something before the next step of an intent.
    pub fn any_awaited(self, intent: &Intent, is_one: &mut dyn FnMut(&'a Intent) -> bool) -> bool {
        match next_step(intent, (self.cloud.resolve)(intent.parent).as_ref()) {
            Step::AwaitParent => self.overlay.get(intent.parent).is_some_and(is_one),
            Step::Delete if intent.kind == Kind::Folder => {
                intent.item.as_ref().is_some_and(|item| self.overlay.held_in(item).any(is_one))
            }
            Step::MakeFolder { .. } | Step::Create { .. } => self.any_leaver(intent, is_one),
            Step::Change(patch) if patch.name.is_some() || patch.parent.is_some() => {
                let below = if patch.parent.is_some() { self.below_it(intent) } else { Vec::new() };
                below.into_iter().any(&mut *is_one) || self.any_leaver(intent, is_one)
            }
            _ => false,
        }
    }

    /// Whether a file is to be deleted in whose place a new one is being written: once that is closed it takes the item
    /// over.
    pub fn is_being_replaced(self, intent: &Intent, step: &Step) -> bool {
        *step == Step::Delete
            && intent.kind == Kind::File
            && intent.base.as_ref().is_some_and(|base| {
                self.overlay.at(intent.parent, &base.name).is_some_and(|newcomer| {
                    newcomer.kind == Kind::File
                        && newcomer.item.is_none()
                        && !newcomer.local_only
                        && newcomer.sealed.is_none()
                        && newcomer.drafting.is_some()
                })
            })
    }

    /// Whether an intent could go where it is wanted, but for the name.
    pub fn may_step_aside(self, intent: &Intent, step: &Step) -> bool {
        match step {
            Step::MakeFolder { .. } => true,
            Step::Change(_) => self.below_it(intent).is_empty(),
            _ => false,
        }
    }

    /// One of `held_up` that waits for itself by way of others. What is parked waits for the user, not for them.
    pub fn in_a_circle(self, held_up: &[Ino]) -> Option<Ino> {
        let awaited = |ino: Ino| -> Vec<Ino> {
            let mut others = Vec::new();
            let is_parked = |intent: &&Intent| matches!(intent.progress, Progress::Parked(_));
            if let Some(intent) = self.overlay.get(ino).filter(|intent| !is_parked(intent)) {
                self.any_awaited(intent, &mut |other| {
                    others.push(other.ino);
                    false
                });
            }
            others
        };
        let may_step_aside: HashSet<Ino> = held_up.iter().copied().collect();
        // Those who wait for each other, from the first to the one that is looked at, each with whom it still waits for.
        let mut path: Vec<(Ino, Vec<Ino>)> = Vec::new();
        let mut seen: HashSet<Ino> = HashSet::new();
        for first in held_up {
            if seen.insert(*first) {
                path.push((*first, awaited(*first)));
            }
            while let Some((_, others)) = path.last_mut() {
                let Some(other) = others.pop() else {
                    path.pop();
                    continue;
                };
                if let Some(at) = path.iter().position(|(ino, _)| *ino == other) {
                    if let Some((ino, _)) = path[at..].iter().find(|(ino, _)| may_step_aside.contains(ino)) {
                        return Some(*ino);
                    }
                } else if seen.insert(other) {
                    path.push((other, awaited(other)));
                }
            }
        }
        None
    }
}
