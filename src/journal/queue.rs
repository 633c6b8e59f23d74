//! Who is due next: pure scheduling.
//!
//! Intents need each other: a file needs its folder, a new name needs the old holder to leave, a folder can
//! only be deleted once everything has left it. Everything else may go in parallel.
//!
//! | an intent | waits for |
//! | --- | --- |
//! | whose folder is not in the cloud | the folder |
//! | whose name is still held by an item that will leave it | that item, be it parked |
//! | that deletes a file in whose place a new one is being written | its close: it takes the item over |
//! | that deletes a folder | every intent whose item is still in it |
//! | that moves a folder into what is still below it in the cloud | what will leave it |
//! | that somebody is writing, unless a caller waits for what is sealed of it | the close |
//! | that changed less than the debounce ago | the quiet, or the end of our patience with a file that never rests |
//! | of which only the time is left to set | three times the debounce, so that contents go first |
//! | that failed | its next attempt |
//!
//! Some wait in a circle: two files that were swapped; what a folder held, moved into a new folder that took its name; what
//! a folder held, moved to its place. One of them then steps aside: it goes where it is wanted, under another name, and
//! gets its own once that is free.

mod order;

use std::collections::BTreeSet;
use std::time::Duration;

use super::intent::{Intent, Kind, Progress, Step, next_step};
use super::overlay::Overlay;
use crate::base::clock::Timestamp;
use crate::base::ids::Ino;
use crate::remote::Patch;
pub use order::Cloud;
use order::Order;

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

/// What a look at the queue has left: until when those who look may rest, whatever is stored that is due later.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Rest {
    /// Nothing is due before this.
    Until(Timestamp),
    /// Something is due and waits for something else: any change may be what it waits for.
    #[default]
    Restless,
}

impl Rest {
    /// Whether a change that stores intents due at these times is a reason to look again. It always is when the rest
    /// should be over: whoever rests counts the time that passes, and the calendar may have been put forward.
    pub fn is_broken_by(self, now: Timestamp, dues: impl IntoIterator<Item = Timestamp>) -> bool {
        match self {
            Self::Until(until) => until <= now || dues.into_iter().any(|due| due < until),
            Self::Restless => true,
        }
    }
}

/// How long something may go on changing before it is sent as it is: ten times the debounce, and this at least.
const RESTLESS: Duration = Duration::from_secs(30);

/// When an intent is due, if it is waiting for anything but the user.
pub fn due_at(intent: &Intent, debounce: Duration) -> Option<Timestamp> {
    if matches!(intent.progress, Progress::Parked(_)) || (intent.local_only && !intent.deleted) {
        return None;
    }
    // Folders have no content that could still change, so they do not wait: their files will.
    let quiet = match intent.kind {
        Kind::Folder if !intent.deleted => intent.changed,
        _ if is_about_time_only(intent) => intent.changed.plus(debounce * 3),
        _ => intent.changed.plus(debounce),
    };
    Some(quiet.min(end_of_patience(intent, debounce)).max(intent.not_before))
}

/// From when on what there is of something that never rests is better than nothing.
pub fn end_of_patience(intent: &Intent, debounce: Duration) -> Timestamp {
    intent.waits_since().plus(RESTLESS.max(debounce * 10))
}

/// Whether the content is in the cloud, under its name, and only its time is not what it shall be: the service does not
/// take the time along with a small file. Of many new files the contents are what matters first.
fn is_about_time_only(intent: &Intent) -> bool {
    let under_its_name = intent.base.as_ref().is_some_and(|base| base.name == intent.name);
    under_its_name && !intent.deleted && intent.sealed.is_none() && intent.drafting.is_none() && intent.is_retimed()
}

/// The pause before the next attempt, after this many failures in a row: 1 s doubling to 5 minutes, of which
/// the last half is spread by `spread` (0 to 1). There is no last attempt.
pub fn backoff(attempts: u32, spread: f64) -> Duration {
    let whole = Duration::from_secs(1u64 << attempts.saturating_sub(1).min(9)).min(Duration::from_secs(300));
    whole / 2 + (whole / 2).mul_f64(spread.clamp(0.0, 1.0))
}

impl Queue {
    /// An intent was stored; returns when it is due.
    pub fn put(&mut self, intent: &Intent, debounce: Duration) -> Option<Timestamp> {
        let due = due_at(intent, debounce)?;
        self.due.insert((due, intent.ino));
        Some(due)
    }

    /// An intent was replaced or dropped.
    pub fn take(&mut self, intent: &Intent, debounce: Duration) {
        if let Some(due) = due_at(intent, debounce) {
            self.due.remove(&(due, intent.ino));
        }
    }

    /// The next thing to do. `ready` says whether an intent may be touched at all (nobody writes it, no request
    /// about it is under way).
    pub fn pick(
        &self,
        overlay: &Overlay,
        now: Timestamp,
        ready: &dyn Fn(&Intent) -> bool,
        cloud: Cloud<'_>,
    ) -> (Pick, Rest) {
        let order = Order { overlay, cloud };
        let mut outcome = (Pick::Idle, Rest::Until(Timestamp(i64::MAX)));
        let mut held_up: Vec<Ino> = Vec::new();
        for (due, ino) in &self.due {
            let Some(intent) = overlay.get(*ino) else { continue };
            if *due > now && !is_of_another_calendar(intent, *due, now) {
                outcome.0 = Pick::Wait(*due);
                if outcome.1 != Rest::Restless {
                    outcome.1 = Rest::Until(*due);
                }
                break;
            }
            outcome.1 = Rest::Restless;
            if !ready(intent) {
                continue;
            }
            let parent = (cloud.resolve)(intent.parent);
            let step = next_step(intent, parent.as_ref());
            match step {
                Step::Rest | Step::AwaitParent => {}
                Step::Settled | Step::FindSent => return (Pick::Work(Box::new(intent.clone()), step), Rest::Restless),
                _ if order.is_being_replaced(intent, &step) => {}
                _ if !order.any_awaited(intent, &mut |_| true) => {
                    return (Pick::Work(Box::new(intent.clone()), step), Rest::Restless);
                }
                _ => held_up.extend(order.may_step_aside(intent, &step).then_some(*ino)),
            }
        }
        // Nothing can be done now: is that because of a circle?
        let one = order.in_a_circle(&held_up).and_then(|ino| overlay.get(ino));
        match one.and_then(|intent| aside(intent, cloud)) {
            Some(pick) => (pick, Rest::Restless),
            None => outcome,
        }
    }
}

/// Longer than any pause that is ever made.
const NEVER_THAT_LONG: Duration = Duration::from_secs(2 * 3600);

/// Whether a due time was made while the machine's calendar was ahead of what it shows now: it waits for a day that
/// may be years away, so it is due.
fn is_of_another_calendar(intent: &Intent, due: Timestamp, now: Timestamp) -> bool {
    intent.changed > now.plus(Duration::from_secs(60)) && intent.not_before <= now || due > now.plus(NEVER_THAT_LONG)
}

/// The name under which something stands that had to step aside. Short enough for a name that is as long as names may be.
pub(super) fn aside_name(intent: &Intent) -> String {
    format!("{}.{}.moving", intent.name.chars().take(100).collect::<String>(), intent.ino)
}

/// The step that takes an intent where it is wanted, under a name of its own; `None` if it is there already.
fn aside(intent: &Intent, cloud: Cloud<'_>) -> Option<Pick> {
    let parent = (cloud.resolve)(intent.parent)?;
    let name = aside_name(intent);
    Some(match &intent.base {
        None => {
            let intent = Box::new(Intent { name, ..intent.clone() });
            Pick::Work(intent, Step::MakeFolder { parent })
        }
        Some(base) if base.name == name && base.parent == parent => return None,
        Some(base) => {
            let parent = (base.parent != parent).then_some(parent);
            Pick::Work(Box::new(intent.clone()), Step::Change(Patch { name: Some(name), parent, modified: None }))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{DriveId, ItemId, MetaTag};
    use crate::journal::intent::{Base, ParkReason, SpoolId};

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

    fn pick(world: &(Overlay, Queue), now: u64) -> Pick {
        let resolve = |ino: Ino| match ino {
            Ino(1) => Some(id("root")),
            _ => world.0.get(ino).and_then(|intent| intent.item.clone()),
        };
        // What has no intent here is called after the folder it is in.
        let above = |item: &ItemId| item.id.rsplit_once('/').map(|(above, _)| id(above));
        let cloud = Cloud { resolve: &resolve, above: &above };
        world.1.pick(&world.0, Timestamp::from_seconds(now as i64), &|_| true, cloud).0
    }

    #[test]
    fn nothing_is_sent_before_it_was_quiet_for_the_debounce() {
        let world = world(vec![placed(5, "a", None)]);
        assert!(matches!(pick(&world, 1), Pick::Wait(at) if at == Timestamp::from_seconds(2)));
        assert!(matches!(pick(&world, 2), Pick::Work(intent, Step::Create { .. }) if intent.ino == Ino(5)));
    }

    /// A log that gets a line more often than that is never quiet.
    #[test]
    fn what_never_rests_is_sent_as_it_is() {
        let at = Timestamp::from_seconds;
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(30));
        let mut log = placed(5, "a", None);
        log.touch(at(20));
        assert_eq!(due_at(&log, short), Some(at(21)));
        log.touch(at(60));
        assert_eq!(due_at(&log, short), Some(at(50)));
        assert_eq!(due_at(&log, long), Some(at(90)), "who asks for a long quiet means it");
        // Whatever came of the attempt.
        log.was_tried_at(at(55));
        log.touch(at(70));
        assert_eq!((log.waits_since(), due_at(&log, short)), (at(55), Some(at(71))));
        log.was_tried_at(at(80));
        log.touch(at(500));
        assert_eq!(due_at(&log, short), Some(at(501)), "it had nothing left to say");
    }

    #[test]
    fn who_has_looked_rests_until_something_is_due_sooner_or_is_waited_for() {
        let at = Timestamp::from_seconds;
        let rest = |world: &(Overlay, Queue), now| {
            let cloud = Cloud { resolve: &|ino| (ino == Ino(1)).then(|| id("root")), above: &|_| None };
            world.1.pick(&world.0, at(now), &|intent| intent.ino != Ino(9), cloud).1
        };
        let young = world(vec![placed(5, "a", None)]);
        assert_eq!(rest(&young, 1), Rest::Until(at(2)));
        assert!(!rest(&young, 1).is_broken_by(at(1), [at(2), at(3)]));
        assert!(rest(&young, 1).is_broken_by(at(1), [at(3), at(1)]));
        assert!(rest(&young, 1).is_broken_by(at(2), [at(3)]), "the calendar was put forward");
        assert!(!rest(&world(vec![]), 1).is_broken_by(at(1), []), "gone, and nobody waited for it");
        assert_eq!(rest(&young, 2), Rest::Restless, "there is work");
        let written = world(vec![placed(9, "b", None), Intent { changed: at(100), ..placed(5, "a", None) }]);
        assert_eq!(rest(&written, 50), Rest::Restless, "its close may come at any time");
    }

    #[test]
    fn contents_go_before_times() {
        let mut timed = placed(5, "a", Some("a"));
        (timed.sealed, timed.set_modified, timed.modified) = (None, true, Timestamp::from_seconds(7));
        let mut content = placed(6, "b", None);
        content.changed = Timestamp::from_seconds(1);
        let both = world(vec![timed.clone(), content]);
        assert!(matches!(pick(&both, 9), Pick::Work(intent, Step::Create { .. }) if intent.ino == Ino(6)));
        let alone = world(vec![timed]);
        assert!(matches!(pick(&alone, 5), Pick::Wait(at) if at == Timestamp::from_seconds(6)));
        assert!(matches!(pick(&alone, 6), Pick::Work(_, Step::Change(_))));
    }

    #[test]
    fn a_calendar_that_was_set_back_holds_nothing_up() {
        let mut failed = placed(5, "a", None);
        failed.not_before = Timestamp::from_seconds(1_000_000);
        assert!(matches!(pick(&world(vec![failed]), 9), Pick::Work(intent, _) if intent.ino == Ino(5)));
        let mut written = placed(6, "b", None);
        written.changed = Timestamp::from_seconds(1000);
        assert!(matches!(pick(&world(vec![written]), 9), Pick::Work(intent, _) if intent.ino == Ino(6)));
        let mut patient = placed(7, "c", None);
        patient.not_before = Timestamp::from_seconds(300);
        assert!(matches!(pick(&world(vec![patient]), 9), Pick::Wait(_)), "a pause is a pause");
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
    fn a_name_is_waited_for_though_its_holder_is_parked() {
        let parked = Progress::Parked(ParkReason::Denied);
        let deleted = Intent { deleted: true, sealed: None, progress: parked.clone(), ..placed(5, "A", Some("A")) };
        let leaving = Intent { progress: parked, ..placed(7, "c", Some("b")) };
        let world = world(vec![deleted, leaving, placed(6, "a", None), placed(8, "b", None)]);
        assert!(matches!(pick(&world, 9), Pick::Idle));
    }

    #[test]
    fn a_swap_is_broken_by_stepping_aside() {
        let world = world(vec![placed(5, "b", Some("a")), placed(6, "a", Some("b"))]);
        let Pick::Work(_, Step::Change(patch)) = pick(&world, 9) else { panic!("no work") };
        assert!(patch.name.is_some_and(|name| name.ends_with(".moving")));
    }

    /// A folder in the cloud, with something in it.
    fn deleted_folder_with(inside: Intent) -> (Intent, Intent) {
        let folder = Intent { kind: Kind::Folder, deleted: true, sealed: None, ..placed(5, "d", Some("d")) };
        let mut inside = Intent { sealed: None, ..inside };
        if let Some(base) = &mut inside.base {
            base.parent = id("item5");
        }
        (folder, inside)
    }

    #[test]
    fn what_a_folder_held_takes_its_place() {
        let (folder, inside) = deleted_folder_with(placed(6, "d", Some("x")));
        let Pick::Work(intent, Step::Change(patch)) = pick(&world(vec![folder, inside]), 9) else { panic!("no work") };
        assert_eq!((intent.ino, patch.parent), (Ino(6), Some(id("root"))));
        assert!(patch.name.is_some_and(|name| name.ends_with(".moving")));
    }

    #[test]
    fn what_a_folder_held_is_moved_into_a_new_one_of_its_name() {
        let (folder, inside) = deleted_folder_with(Intent { parent: Ino(7), ..placed(6, "x", Some("x")) });
        let new = Intent { kind: Kind::Folder, sealed: None, ..placed(7, "d", None) };
        let all = vec![folder, inside, new];
        let Pick::Work(intent, Step::MakeFolder { .. }) = pick(&world(all.clone()), 9) else { panic!("no work") };
        assert_eq!(intent.ino, Ino(7));
        assert!(intent.name.ends_with(".moving"));
        let parked = |intent: Intent| match intent.ino {
            Ino(6) => Intent { progress: Progress::Parked(ParkReason::Denied), ..intent },
            _ => intent,
        };
        let waits = world(all.into_iter().map(parked).collect());
        assert!(matches!(pick(&waits, 9), Pick::Idle), "only the user can help");
    }

    #[test]
    fn a_folder_is_moved_into_a_new_one_of_its_name() {
        let old = Intent { kind: Kind::Folder, sealed: None, parent: Ino(7), ..placed(6, "b", Some("a")) };
        let new = Intent { kind: Kind::Folder, sealed: None, ..placed(7, "a", None) };
        let Pick::Work(intent, Step::MakeFolder { .. }) = pick(&world(vec![old, new]), 9) else { panic!("no work") };
        assert_eq!(intent.ino, Ino(7));
        assert!(intent.name.ends_with(".moving"));
    }

    #[test]
    fn a_folder_goes_into_what_it_holds_after_that_has_left_it() {
        let outer = Intent { kind: Kind::Folder, sealed: None, parent: Ino(7), ..placed(6, "a", Some("a")) };
        let mut inner = Intent { kind: Kind::Folder, sealed: None, ..placed(7, "t", Some("b")) };
        // Two folders deep.
        inner.base.as_mut().expect("known").parent = id("item6/between");
        let both = world(vec![outer.clone(), inner.clone()]);
        assert!(matches!(pick(&both, 9), Pick::Work(intent, Step::Change(_)) if intent.ino == Ino(7)));
        // And it is to have the name of the outer one, which cannot leave before.
        inner.name = "a".into();
        let Pick::Work(intent, Step::Change(patch)) = pick(&world(vec![outer, inner]), 9) else { panic!("no work") };
        assert_eq!((intent.ino, patch.parent), (Ino(7), Some(id("root"))));
        assert!(patch.name.is_some_and(|name| name.ends_with(".moving")));
    }

    #[test]
    fn one_that_has_stepped_aside_waits() {
        let (folder, inside) = deleted_folder_with(placed(6, "d", Some("x")));
        let mut other = placed(8, "y", Some("y"));
        other.base.as_mut().expect("known").parent = id("item5");
        other.progress = Progress::Parked(ParkReason::Denied);
        let mut aside = inside.clone();
        let base = aside.base.as_mut().expect("known");
        (base.parent, base.name) = (id("root"), format!("d.{}.moving", aside.ino));
        assert!(matches!(pick(&world(vec![folder, aside, other]), 9), Pick::Idle));
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
