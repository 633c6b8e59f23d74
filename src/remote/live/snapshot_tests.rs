//! What is told, what is missed, and what is not judged.

use super::*;
use crate::remote::live::tests::{T, file, file_id, folder, folder_id, root_id};
use crate::remote::live::wire::WireObject;

fn item(json: &str) -> Item {
    serde_json::from_str::<WireObject>(json).expect("it parses").into_item(&root_id().drive).expect("sound")
}

fn take(snapshot: &mut Snapshot, items: &[Item]) -> Shown {
    let epoch = snapshot.epoch();
    snapshot.take(&root_id(), items, &HashMap::new(), epoch, false)
}

#[test]
fn identities_come_back_from_their_numbers() {
    let mut snapshot = Snapshot::default();
    let odd = ItemId::new(&DriveId::new("7c1e0b5a93d2f648"), "file.7c1e0b5a93d2f648.7C1E0B5A93D2F648!1");
    for id in [root_id(), file_id(231), folder_id(114), file_id(0), odd] {
        let key = snapshot.key(&id);
        assert_eq!(snapshot.id(key), Some(id));
    }
    assert_eq!(snapshot.odd.len(), 2, "only the root and what is not of this drive");
}

#[test]
fn only_what_differs_is_told() {
    let mut snapshot = Snapshot::default();
    let first = [item(&file(1, "a", 5, T)), item(&folder(2, "f", 0))];
    let shown = take(&mut snapshot, &first);
    assert_eq!((snapshot.position(), shown.folders), (2, vec![folder_id(2)]));
    take(&mut snapshot, &first);
    assert_eq!(snapshot.position(), 2);
    let second = [item(&file(1, "b", 5, T)), item(&folder(2, "f", 3))];
    take(&mut snapshot, &second);
    assert_eq!(snapshot.since(2), Some(vec![Change::Is(second[0].clone())]));
    assert_eq!(snapshot.since(4), None, "not told yet");
}

#[test]
fn what_is_missing_stays_known_until_it_was_looked_for() {
    let mut snapshot = Snapshot::default();
    take(&mut snapshot, &[item(&file(1, "a", 5, T))]);
    assert_eq!(take(&mut snapshot, &[]).missing, [file_id(1)]);
    assert_eq!(take(&mut snapshot, &[]).missing, [file_id(1)]);
    snapshot.forget(&file_id(1), Some(&root_id()));
    assert!(take(&mut snapshot, &[]).missing.is_empty());
    // What somebody was told of by other means is missed, too.
    snapshot.note(&item(&file(7, "z", 5, T)));
    assert_eq!(take(&mut snapshot, &[]).missing, [file_id(7)]);
}

#[test]
fn a_folder_that_was_listed_while_we_deleted_it_has_no_turn_any_more() {
    let mut snapshot = Snapshot::default();
    take(&mut snapshot, &[item(&folder(2, "f", 0))]);
    snapshot.forget(&folder_id(2), None);
    // Its listing was under way.
    snapshot.take(&folder_id(2), &[], &HashMap::new(), 0, false);
    assert!(snapshot.oldest(9).contains(&folder_id(2)));
    snapshot.forget_unheld(&folder_id(2));
    assert_eq!(snapshot.oldest(9), [root_id()]);
    take(&mut snapshot, &[item(&folder(3, "g", 0))]);
    snapshot.forget_unheld(&folder_id(3));
    assert_eq!(take(&mut snapshot, &[]).missing, [folder_id(3)], "its own folder shows that it is gone");
}

#[test]
fn what_we_have_deleted_is_not_told_of_as_it_was() {
    let mut snapshot = Snapshot::default();
    let (short, stays) = (item(&file(1, "a", 5, T)), item(&file(2, "b", 5, T)));
    take(&mut snapshot, &[short, stays.clone()]);
    snapshot.forget(&file_id(1), None);
    assert_eq!(snapshot.since(0), Some(vec![Change::Is(stays.clone())]));
    assert_eq!(snapshot.since(1), Some(vec![Change::Is(stays)]), "positions are what they were");
}

#[test]
fn a_listing_does_not_judge_what_we_are_changing() {
    let mut snapshot = Snapshot::default();
    let old = item(&file(1, "a", 5, T));
    take(&mut snapshot, std::slice::from_ref(&old));
    let epoch = snapshot.epoch();
    let key = snapshot.begin(&file_id(1));
    let stale = item(&file(1, "older", 5, T));
    snapshot.take(&root_id(), std::slice::from_ref(&stale), &HashMap::new(), epoch, false);
    assert_eq!(snapshot.position(), 1, "under way");
    snapshot.end(key);
    snapshot.take(&root_id(), std::slice::from_ref(&stale), &HashMap::new(), epoch, false);
    assert!(snapshot.take(&root_id(), &[], &HashMap::new(), epoch, false).missing.is_empty());
    assert_eq!(snapshot.position(), 1, "begun before it ended");
    take(&mut snapshot, &[stale]);
    assert_eq!(snapshot.position(), 2, "begun after it");
}

#[test]
fn a_folder_that_says_something_else_of_itself_is_due() {
    let mut snapshot = Snapshot::default();
    let hint = |count| {
        let wire: WireObject = serde_json::from_str(&folder(2, "f", count)).expect("it parses");
        HashMap::from([(folder_id(2), wire.hint())])
    };
    let items = [item(&folder(2, "f", 0))];
    snapshot.take(&root_id(), &items, &hint(0), 0, false);
    assert!(snapshot.is_due(&folder_id(2)) && !snapshot.was_listed(&folder_id(2)));
    snapshot.take(&folder_id(2), &[], &HashMap::new(), 0, false);
    snapshot.take(&root_id(), &items, &hint(0), 0, false);
    assert!(!snapshot.is_due(&folder_id(2)));
    snapshot.take(&root_id(), &items, &hint(1), 0, false);
    assert!(snapshot.is_due(&folder_id(2)));
    assert_eq!(snapshot.oldest(1), [folder_id(2)]);
}

#[test]
fn a_walk_of_the_whole_does_not_fill_the_log_with_what_it_hands_out() {
    let mut snapshot = Snapshot::default();
    snapshot.take(&root_id(), &[item(&file(1, "a", 5, T))], &HashMap::new(), 0, true);
    assert_eq!(snapshot.position(), 0);
    snapshot.take(&root_id(), &[item(&file(1, "b", 5, T))], &HashMap::new(), 0, true);
    assert_eq!(snapshot.position(), 1);
}

#[test]
fn the_log_is_bounded_and_says_when_it_has_forgotten() {
    let mut snapshot = Snapshot::default();
    for number in 0..MOST_CHANGES as u64 + 10 {
        snapshot.tell(Change::Gone(file_id(number)));
    }
    assert_eq!(snapshot.since(9), None);
    assert_eq!(snapshot.since(10).map(|changes| changes.len()), Some(MOST_CHANGES));
}

#[test]
fn what_we_are_changing_counts_as_not_listed_in_a_listing_of_everything() {
    let mut snapshot = Snapshot::default();
    let (moving, resting) = (item(&folder(2, "on the way", 1)), item(&file(1, "a", 5, T)));
    let epoch = snapshot.epoch();
    let key = snapshot.begin(&folder_id(2));
    snapshot.end(key);
    let shown = snapshot.take(&root_id(), &[moving, resting], &HashMap::new(), epoch, true);
    let touched = [folder_id(2), file_id(1)].map(|id| snapshot.was_touched(&id, epoch));
    assert_eq!(touched, [true, false], "it may be a state between two steps of ours");
    assert_eq!(shown.folders, [folder_id(2)], "what is in it is listed for all that");
    let epoch = snapshot.epoch();
    assert!(!snapshot.was_touched(&folder_id(2), epoch));
    let key = snapshot.begin(&folder_id(2));
    assert!(snapshot.was_touched(&folder_id(2), epoch), "while the rest of the page is listed");
    snapshot.end(key);
    assert!(snapshot.was_touched(&folder_id(2), epoch));
}
