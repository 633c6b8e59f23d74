//! What two intents become together: the pure core of saving by rename.
//!
//! A program that saves carefully writes a temporary file and renames it over the document. In the cloud that
//! must be *one* new version of the document, with its identity, sharing links and history, and at no moment
//! may the document be missing there. So a rename over, and a delete that makes room, hand identities on
//! instead of deleting.
//!
//! Renaming `source` over `target`:
//!
//! | source | target | becomes |
//! | --- | --- | --- |
//! | not in the cloud | not in the cloud | target is dropped |
//! | not in the cloud | in the cloud | source takes the target's item: one replace |
//! | in the cloud, all its bytes here as a draft | in the cloud | the same, and the source's old item is deleted afterwards |
//! | in the cloud, clean (and too large to be sent again, or not here), or edited and not all here | in the cloud | target is deleted, then source renamed |
//! | anything | new, and under way right now | target is deleted when its answer arrives, or handed on then (see [`heir_of`]) |
//! | folder | folder | target (empty) is deleted, source renamed |

use super::intent::{Intent, Kind, Progress};
use crate::base::clock::Timestamp;
use crate::base::ids::Ino;

/// The outcome of joining intents: what to store, what to forget.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Intents to store in place of what there was.
    pub put: Vec<Intent>,
    /// Intents to drop.
    pub drop: Vec<Ino>,
}

/// Deleting. `busy` says that a request about it is under way, whose answer must find the intent.
pub fn delete(mut intent: Intent, busy: bool, now: Timestamp) -> Outcome {
    let unanswered = intent.sent.is_some() || matches!(intent.progress, Progress::Sending { .. });
    if intent.item.is_none() && !busy && !unanswered {
        return Outcome { put: Vec::new(), drop: vec![intent.ino] };
    }
    intent.touch(now);
    intent.deleted = true;
    intent.sealed = None;
    intent.drafting = None;
    Outcome { put: vec![intent], drop: Vec::new() }
}

/// Renaming `source` (already standing at its new place) over `target`. `all_here` says that the source has a draft of
/// which no byte has still to be fetched: what is to be fetched is in its own item, which would be deleted. `ghost` is a
/// fresh inode number for the remains of an item that lost its name; `busy` says that a request about the target is
/// under way.
pub fn rename_over(
    mut source: Intent,
    target: Intent,
    all_here: bool,
    ghost: Ino,
    busy: bool,
    now: Timestamp,
) -> Outcome {
    let both_files = source.kind == Kind::File && target.kind == Kind::File;
    let takes_over = both_files && target.item.is_some() && (source.item.is_none() || all_here);
    if !takes_over || source.local_only {
        let mut outcome = delete(target, busy, now);
        outcome.put.push(source);
        return outcome;
    }
    let mut outcome = Outcome::default();
    if busy {
        // The answer to the request under way must find somebody; it stands for nothing any more.
        outcome.put.push(spent(&target, now));
    } else {
        outcome.drop.push(target.ino);
    }
    // What was sent under the old name, answered or not, has no name here any more.
    if source.item.is_some() || source.sent.is_some() {
        outcome.put.push(remains_of(&source, ghost, now));
    }
    source.item = target.item;
    source.base = target.base;
    // What was sent as the target's content is a version of ours, should it turn out to have arrived.
    source.sent = target.sent;
    source.set_modified = true;
    outcome.put.push(source);
    outcome
}

/// Whether a live intent at the place that `gone` held in the cloud inherits its item.
///
/// `gone` is a deleted file that is in the cloud; `candidate` stands where `gone` stood and has content that the
/// cloud does not have: a new file, or one that was renamed there with an edit. This is the save of vim with a backup
/// copy, `rm x; cp y x`, and a rename over a file whose own upload was under way. `all_here` says that no byte of the
/// content has still to be fetched from the candidate's own item, which goes if it takes the other one over.
pub fn heir_of(gone: &Intent, candidate: &Intent, all_here: bool) -> bool {
    gone.deleted
        && gone.item.is_some()
        && gone.kind == Kind::File
        && candidate.kind == Kind::File
        && candidate.is_live()
        && candidate.item != gone.item
        && !candidate.local_only
        && candidate.sealed.is_some()
        && (candidate.item.is_none() || all_here)
}

/// Hands the item of `gone` to `heir`. `ghost` is a fresh inode number for what the heir may have sent under another
/// identity.
///
/// What it has sent to the very place of that item leaves no remains there: whoever looked for them would find the item
/// itself, with the heir's content as soon as that has arrived, and delete it.
pub fn inherit(gone: &Intent, mut heir: Intent, ghost: Ino, now: Timestamp) -> Outcome {
    let mut outcome = Outcome { drop: vec![gone.ino], put: Vec::new() };
    let stands = gone.base.as_ref().map(|base| (&base.parent, &base.name));
    let before = heir.sent.take();
    let sent_there = before.as_ref().and_then(|sent| sent.place.as_ref()).map(|(parent, name)| (parent, name));
    let same_place = heir.item.is_none() && sent_there.is_some() && sent_there == stands;
    heir.sent.clone_from(&gone.sent);
    match before {
        Some(before) if same_place => heir.sent.get_or_insert_default().versions.extend(before.versions),
        before if heir.item.is_some() || before.is_some() => {
            outcome.put.push(remains_of(&Intent { sent: before, ..heir.clone() }, ghost, now));
        }
        _ => {}
    }
    heir.item.clone_from(&gone.item);
    heir.base.clone_from(&gone.base);
    heir.set_modified = true;
    outcome.put.push(heir);
    outcome
}

/// An intent that only waits for an answer: its item has gone to another inode.
fn spent(target: &Intent, now: Timestamp) -> Intent {
    let mut spent =
        Intent { item: None, base: None, sent: None, sealed: None, drafting: None, deleted: true, ..target.clone() };
    spent.touch(now);
    spent.progress = Progress::Waiting;
    spent
}

/// What is left in the cloud of an inode that takes over another item: to be deleted.
fn remains_of(source: &Intent, ghost: Ino, now: Timestamp) -> Intent {
    let mut remains = Intent { ino: ghost, sealed: None, drafting: None, ..source.clone() };
    remains.touch(now);
    remains.deleted = true;
    remains.progress = Progress::Waiting;
    remains
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{ContentTag, DriveId, ItemId, MetaTag};
    use crate::journal::intent::{Base, Sent, SpoolId};

    fn id(text: &str) -> ItemId {
        ItemId::new(&DriveId::new("b!d"), text)
    }

    fn intent(ino: u64, item: Option<&str>) -> Intent {
        let mut intent = Intent::new(Ino(ino), Kind::File, Ino(1), "x", Timestamp(0));
        intent.item = item.map(id);
        intent.base = item.map(|name| Base {
            parent: id("root"),
            name: name.to_owned(),
            meta_tag: MetaTag("t".into()),
            content_tag: None,
            size: 0,
            modified: Timestamp(0),
            created: Timestamp(0),
        });
        intent
    }

    fn sealed(intent: Intent) -> Intent {
        Intent { sealed: Some(SpoolId(7)), ..intent }
    }

    const NOW: Timestamp = Timestamp(5);

    #[test]
    fn a_new_file_over_a_known_one_is_one_replace() {
        let outcome = rename_over(sealed(intent(10, None)), intent(5, Some("doc")), true, Ino(99), false, NOW);
        assert_eq!(outcome.drop, [Ino(5)]);
        assert_eq!(outcome.put.len(), 1);
        assert_eq!(outcome.put[0].ino, Ino(10));
        assert_eq!(outcome.put[0].item, Some(id("doc")));
        assert_eq!(outcome.put[0].sealed, Some(SpoolId(7)));
    }

    #[test]
    fn a_temporary_file_that_reached_the_cloud_gives_its_bytes_and_goes() {
        let outcome = rename_over(sealed(intent(10, Some("tmp"))), intent(5, Some("doc")), true, Ino(99), false, NOW);
        let ghost = &outcome.put[0];
        assert!(ghost.ino == Ino(99) && ghost.deleted && ghost.item == Some(id("tmp")) && ghost.sealed.is_none());
        assert_eq!(outcome.put[1].item, Some(id("doc")));
    }

    #[test]
    fn an_edited_file_that_is_not_all_here_keeps_the_item_that_has_the_rest() {
        let outcome = rename_over(sealed(intent(10, Some("a"))), intent(5, Some("b")), false, Ino(99), false, NOW);
        assert!(outcome.put[0].deleted && outcome.put[0].item == Some(id("b")));
        assert_eq!(outcome.put[1].item, Some(id("a")));
        assert_eq!(outcome.put[1].sealed, Some(SpoolId(7)));
    }

    #[test]
    fn a_clean_file_keeps_its_identity_and_the_target_is_deleted() {
        let outcome = rename_over(intent(10, Some("a")), intent(5, Some("b")), false, Ino(99), false, NOW);
        assert!(outcome.put[0].deleted && outcome.put[0].item == Some(id("b")));
        assert_eq!(outcome.put[1].item, Some(id("a")));
    }

    #[test]
    fn what_the_cloud_never_saw_vanishes_without_a_request() {
        assert_eq!(delete(intent(5, None), false, NOW), Outcome { put: vec![], drop: vec![Ino(5)] });
        assert!(delete(intent(5, None), true, NOW).put[0].deleted, "an answer under way must find its intent");
        assert_eq!(rename_over(sealed(intent(10, None)), intent(5, None), true, Ino(99), false, NOW).drop, [Ino(5)]);
    }

    #[test]
    fn a_new_target_under_way_is_not_taken_over_yet() {
        let outcome = rename_over(sealed(intent(10, None)), intent(5, None), true, Ino(99), true, NOW);
        assert!(outcome.put[0].deleted && outcome.put[0].ino == Ino(5));
        assert_eq!(outcome.put[1].item, None);
    }

    #[test]
    fn what_was_sent_to_the_place_of_the_item_that_is_inherited_is_not_looked_for_there() {
        let gone = Intent { deleted: true, ..intent(5, Some("doc")) };
        let sent = |name: &str| {
            let place = Some((id("root"), name.to_owned()));
            Some(Sent { place, versions: vec![ContentTag("ours".into())], ..Sent::default() })
        };
        let outcome = inherit(&gone, Intent { sent: sent("doc"), ..sealed(intent(10, None)) }, Ino(99), NOW);
        assert_eq!(outcome.put.len(), 1, "no remains");
        let heir = &outcome.put[0];
        assert_eq!((heir.ino, &heir.item), (Ino(10), &Some(id("doc"))));
        assert_eq!(heir.sent, Sent::of_ours(vec![ContentTag("ours".into())]), "should it have arrived after all");
        let outcome = inherit(&gone, Intent { sent: sent("elsewhere"), ..sealed(intent(10, None)) }, Ino(99), NOW);
        assert!(outcome.put[0].ino == Ino(99) && outcome.put[0].deleted && outcome.put[0].sent == sent("elsewhere"));
        assert_eq!(outcome.put[1].sent, None);
    }

    #[test]
    fn only_a_closed_edit_inherits() {
        let gone = Intent { deleted: true, ..intent(5, Some("doc")) };
        assert!(heir_of(&gone, &sealed(intent(10, None)), true));
        assert!(!heir_of(&gone, &intent(10, None), false));
        assert!(heir_of(&gone, &sealed(intent(10, Some("other"))), true), "renamed there with an edit");
        assert!(!heir_of(&gone, &sealed(intent(10, Some("other"))), false), "the rest of it is in its own item");
        assert!(!heir_of(&gone, &intent(10, Some("other")), false));
        assert!(!heir_of(&intent(5, Some("doc")), &sealed(intent(10, None)), true));
    }
}
