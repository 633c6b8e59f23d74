//! Who is due next: pure scheduling.
//!
//! Intents need each other: a file needs its folder, a new name needs the old holder to leave, a folder can
//! only be deleted once everything has left it. Everything else may go in parallel.
//!
//! | an intent | waits for |
//! | --- | --- |
//! | whose folder is not in the cloud | the folder |
//! | whose name is still held by an item that will leave it | that item |
//! | that deletes a file in whose place a new one is being written | its close: it takes the item over |
//! | that deletes a folder | every intent whose item is still in it |
//! | that somebody is writing, or that changed less than the debounce ago | the close, the quiet |
//! | that failed | its next attempt |
//!
//! A circle of names (two files swapped) is broken by letting one of them step aside under another name.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use super::intent::{Intent, Kind, Progress, Step, next_step};
use super::overlay::Overlay;
use crate::base::clock::Timestamp;
use crate::base::ids::{Ino, ItemId};
use crate::remote::Patch;

/// The intents that have something to do, ordered by when.
#[derive(Default)]
pub struct Queue {
    due: BTreeSet<(Timestamp, Ino)>,
}

/// What a worker gets.
#[derive(Debug)]
pub enum Pick {
    /// Do this.
    Work(Box<Intent>, Step),
    /// Nothing before this moment, unless something happens.
    Wait(Timestamp),
    /// Nothing until something happens.
    Idle,
}

/// When an intent is due, if it is waiting for anything but the user.
pub fn due_at(intent: &Intent, debounce: Duration) -> Option<Timestamp> {
    if matches!(intent.progress, Progress::Parked(_)) || (intent.local_only && !intent.deleted) {
        return None;
    }
    // Folders have no content that could still change, so they do not wait: their files will.
    let quiet = match intent.kind {
        Kind::Folder if !intent.deleted => intent.changed,
        _ => intent.changed.plus(debounce),
    };
    Some(quiet.max(intent.not_before))
}

/// The pause before the next attempt, after this many failures in a row: 1 s doubling to 5 minutes, of which
/// the last half is spread by `spread` (0 to 1). There is no last attempt.
pub fn backoff(attempts: u32, spread: f64) -> Duration {
    let whole = Duration::from_secs(1u64 << attempts.saturating_sub(1).min(9)).min(Duration::from_secs(300));
    whole / 2 + (whole / 2).mul_f64(spread.clamp(0.0, 1.0))
}

impl Queue {
    /// An intent was stored.
    pub fn put(&mut self, intent: &Intent, debounce: Duration) {
        if let Some(due) = due_at(intent, debounce) {
            self.due.insert((due, intent.ino));
        }
    }

    /// An intent was replaced or dropped.
    pub fn take(&mut self, intent: &Intent, debounce: Duration) {
        if let Some(due) = due_at(intent, debounce) {
            self.due.remove(&(due, intent.ino));
        }
    }

    /// The next thing to do. `ready` says whether an intent may be touched at all (nobody writes it, no request
    /// about it is under way); `resolve` gives the identity of a folder in the cloud.
    pub fn pick(
        &self,
        overlay: &Overlay,
        now: Timestamp,
        ready: &dyn Fn(&Intent) -> bool,
        resolve: &dyn Fn(Ino) -> Option<ItemId>,
    ) -> Pick {
        for (due, ino) in &self.due {
            if *due > now {
                return Pick::Wait(*due);
            }
            let Some(intent) = overlay.get(*ino) else { continue };
            if !ready(intent) {
                continue;
            }
            let parent = resolve(intent.parent);
            let step = next_step(intent, parent.as_ref());
            match step {
                Step::Rest | Step::AwaitParent => {}
                Step::Settled | Step::FindSent => return Pick::Work(Box::new(intent.clone()), step),
                _ => match obstacle(intent, &step, overlay, resolve) {
                    Obstacle::None => return Pick::Work(Box::new(intent.clone()), step),
                    Obstacle::Wait => {}
                    Obstacle::StepAside => {
                        let aside =
                            Patch { name: Some(format!("{}.{}.moving", intent.name, intent.ino)), ..Patch::default() };
                        return Pick::Work(Box::new(intent.clone()), Step::Change(aside));
                    }
                },
            }
        }
        Pick::Idle
    }
}

#[derive(PartialEq, Eq, Debug)]
enum Obstacle {
    None,
    Wait,
    StepAside,
}

/// Where a step will put its item: the folder's identity and the name.
fn goal<'a>(intent: &'a Intent, resolve: &dyn Fn(Ino) -> Option<ItemId>) -> Option<(ItemId, &'a str)> {
    Some((resolve(intent.parent)?, intent.name.as_str()))
}

/// The intent whose item holds the name that `intent` wants and will leave it.
fn leaver<'a>(intent: &Intent, overlay: &'a Overlay, resolve: &dyn Fn(Ino) -> Option<ItemId>) -> Option<&'a Intent> {
    let (parent, name) = goal(intent, resolve)?;
    overlay.holders(&parent, name).find(|holder| {
        holder.ino != intent.ino
            && (holder.deleted
                || holder.is_displaced(resolve(holder.parent).as_ref())
                // Sent there without an answer: whether it holds the name is being found out.
                || holder.sent.as_ref().is_some_and(|sent| sent.place.is_some()))
            // What is parked stays where it is until the user does something. But what is held will leave or come
            // back; and a folder that could not be deleted must not be asked for again and again by a new one.
            && (holder.is_held()
                || (holder.deleted && holder.kind == Kind::Folder)
                || !matches!(holder.progress, Progress::Parked(_)))
    })
}

fn obstacle(intent: &Intent, step: &Step, overlay: &Overlay, resolve: &dyn Fn(Ino) -> Option<ItemId>) -> Obstacle {
    match step {
        Step::Delete if intent.kind == Kind::Folder => {
            let occupied = intent.item.as_ref().is_some_and(|item| overlay.held_in(item).next().is_some());
            if occupied { Obstacle::Wait } else { Obstacle::None }
        }
        Step::Delete => {
            // A new file is being written where the deleted one stood: once it is closed it takes the item over.
            let replaced = intent.base.as_ref().is_some_and(|base| {
                overlay.at(intent.parent, &base.name).is_some_and(|newcomer| {
                    newcomer.kind == Kind::File
                        && newcomer.item.is_none()
                        && !newcomer.local_only
                        && newcomer.sealed.is_none()
                        && newcomer.drafting.is_some()
                })
            });
            if replaced { Obstacle::Wait } else { Obstacle::None }
        }
        Step::MakeFolder { .. } | Step::Create { .. } => {
            if leaver(intent, overlay, resolve).is_some() {
                Obstacle::Wait
            } else {
                Obstacle::None
            }
        }
        Step::Change(patch) if patch.name.is_some() || patch.parent.is_some() => {
            let mut seen = HashSet::from([intent.ino]);
            let Some(mut next) = leaver(intent, overlay, resolve) else { return Obstacle::None };
            loop {
                if next.ino == intent.ino {
                    return Obstacle::StepAside;
                }
                if !seen.insert(next.ino) || next.deleted {
                    return Obstacle::Wait;
                }
                match leaver_or_self(next, intent, overlay, resolve) {
                    Some(further) => next = further,
                    None => return Obstacle::Wait,
                }
            }
        }
        _ => Obstacle::None,
    }
}

fn leaver_or_self<'a>(
    intent: &Intent,
    first: &Intent,
    overlay: &'a Overlay,
    resolve: &dyn Fn(Ino) -> Option<ItemId>,
) -> Option<&'a Intent> {
    let (parent, name) = goal(intent, resolve)?;
    overlay.holders(&parent, name).find(|holder| holder.ino == first.ino).or_else(|| leaver(intent, overlay, resolve))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{DriveId, MetaTag};
    use crate::journal::intent::{Base, SpoolId};

    fn id(text: &str) -> ItemId {
        ItemId::new(&DriveId::new("b!d"), text)
    }

    fn placed(ino: u64, at: &str, held: Option<&str>) -> Intent {
        let mut intent = Intent::new(Ino(ino), Kind::File, Ino(1), at, Timestamp(0));
        intent.sealed = Some(SpoolId(ino));
        if let Some(name) = held {
            intent.item = Some(id(&format!("item{ino}")));
            intent.base = Some(Base {
                parent: id("root"),
                name: name.to_owned(),
                meta_tag: MetaTag("t".into()),
                content_tag: None,
                size: 0,
                modified: Timestamp(0),
                created: Timestamp(0),
            });
        }
        intent
    }

    fn world(intents: Vec<Intent>) -> (Overlay, Queue) {
        let (mut overlay, mut queue) = (Overlay::default(), Queue::default());
        for intent in intents {
            queue.put(&intent, Duration::from_secs(2));
            overlay.put(intent);
        }
        (overlay, queue)
    }

    fn resolve(ino: Ino) -> Option<ItemId> {
        (ino == Ino(1)).then(|| id("root"))
    }

    fn pick(world: &(Overlay, Queue), now: u64) -> Pick {
        world.1.pick(&world.0, Timestamp::from_seconds(now as i64), &|_| true, &resolve)
    }

    #[test]
    fn nothing_is_sent_before_it_was_quiet_for_the_debounce() {
        let world = world(vec![placed(5, "a", None)]);
        assert!(matches!(pick(&world, 1), Pick::Wait(at) if at == Timestamp::from_seconds(2)));
        assert!(matches!(pick(&world, 2), Pick::Work(intent, Step::Create { .. }) if intent.ino == Ino(5)));
    }

    #[test]
    fn a_file_waits_for_its_folder() {
        let mut inside = placed(5, "a", None);
        inside.parent = Ino(4);
        let folder = Intent { kind: Kind::Folder, sealed: None, ..placed(4, "d", None) };
        let world = world(vec![inside, folder]);
        assert!(matches!(pick(&world, 9), Pick::Work(intent, Step::MakeFolder { .. }) if intent.ino == Ino(4)));
    }

    #[test]
    fn a_name_is_taken_only_after_its_holder_left() {
        let leaving = placed(5, "b", Some("a"));
        let arriving = placed(6, "a", None);
        let world = world(vec![arriving, leaving]);
        assert!(matches!(pick(&world, 9), Pick::Work(intent, Step::Change(_)) if intent.ino == Ino(5)));
    }

    #[test]
    fn a_swap_is_broken_by_stepping_aside() {
        let world = world(vec![placed(5, "b", Some("a")), placed(6, "a", Some("b"))]);
        let Pick::Work(_, Step::Change(patch)) = pick(&world, 9) else { panic!("no work") };
        assert!(patch.name.is_some_and(|name| name.ends_with(".moving")));
    }

    #[test]
    fn a_folder_is_deleted_after_everything_left_it() {
        let mut folder = placed(5, "d", Some("d"));
        folder.kind = Kind::Folder;
        folder.deleted = true;
        folder.sealed = None;
        let mut inside = placed(6, "x", Some("x"));
        if let Some(base) = &mut inside.base {
            base.parent = id("item5");
        }
        inside.deleted = true;
        let world = world(vec![folder, inside]);
        assert!(matches!(pick(&world, 9), Pick::Work(intent, Step::Delete) if intent.ino == Ino(6)));
    }

    #[test]
    fn pauses_grow_to_five_minutes_and_never_end() {
        assert_eq!(backoff(1, 1.0), Duration::from_secs(1));
        assert_eq!(backoff(4, 1.0), Duration::from_secs(8));
        assert_eq!(backoff(4_000_000, 1.0), Duration::from_secs(300));
        assert_eq!(backoff(4, 0.0), Duration::from_secs(4));
    }
}
