//! What to do when the cloud is not as our work expected it: pure, one table.
//!
//! | the cloud has now | our work started from | verdict |
//! | --- | --- | --- |
//! | the same bytes as the base (name, place or tags may have moved) | a version | send, guarded by the tag it has now |
//! | nothing | nothing | send, must not exist |
//! | nothing (deleted) | a version | send as new: an edit outlives a deletion |
//! | other bytes, equal to ours | anything | adopt: nothing to send |
//! | bytes that we sent ourselves and got no answer for | anything | send, guarded by the tag it has now |
//! | other bytes | anything else | keep both: theirs keeps the name, ours gets a conflict name |
//! | a folder of that name | anything | keep both |
//!
//! All of this is only asked of what the cloud has *now*. For some minutes the service may show states from before our
//! own changes; such a look says "not yet", see [`is_old`].

use super::intent::{Base, Intent};
use crate::base::ids::{ContentTag, ItemId};
use crate::index::Row;
use crate::remote::{Item, ItemKind};

/// What to do with our content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Replace the item, guarded by its tag.
    Replace(Box<Item>),
    /// Create a new item.
    Create,
    /// The cloud has exactly our bytes already.
    Adopt(Box<Item>),
    /// Create ours under a conflict name.
    KeepBoth,
}

/// Decides. `now` is what stands in the way: the item our work is about, or the item that has its name; `None`
/// if there is nothing. `base` is the version of the bytes our work started from, `sent` are versions of ours that
/// may have arrived unseen.
///
/// The base is compared before ours: the service's hash is weak enough that an edit can keep it (two blocks of 160
/// bytes swapped), and such an edit must be sent, not taken for done.
pub fn decide(base: Option<&ContentTag>, now: Option<&Item>, ours: &ContentTag, sent: &[ContentTag]) -> Verdict {
    let Some(item) = now else { return Verdict::Create };
    if item.kind != ItemKind::File {
        return Verdict::KeepBoth;
    }
    if base.is_some() && item.content_tag.as_ref() == base {
        return Verdict::Replace(Box::new(item.clone()));
    }
    if item.content_tag.as_ref() == Some(ours) {
        return Verdict::Adopt(Box::new(item.clone()));
    }
    if item.content_tag.as_ref().is_some_and(|tag| sent.contains(tag)) {
        return Verdict::Replace(Box::new(item.clone()));
    }
    Verdict::KeepBoth
}

/// Whether a look at the cloud shows a state from before our own changes, so that nothing can be concluded from it.
/// `overtaken` says that we have replaced exactly this state ourselves or deleted the item, `newborn` that we have made the
/// item a moment ago and nothing has said since that it is gone.
///
/// | the service shows | we | the look is |
/// | --- | --- | --- |
/// | a state | replaced it ourselves, or deleted the item | old |
/// | a state | did not | good, whoever made it |
/// | nothing, where we asked for an item | made it a moment ago | old |
/// | nothing | anything else | good |
///
/// A state is known by its tag, which never comes back: a version that somebody restores has a new one.
pub fn is_old(found: Option<&Item>, overtaken: bool, newborn: bool) -> bool {
    match found {
        Some(_) => overtaken,
        None => newborn,
    }
}

/// Whether an item has content that is neither what our own content was made from nor sent by us. A new name may be given
/// to it all the same, but ours must not go into it.
///
/// | we have content for it | the item has | |
/// | --- | --- | --- |
/// | no | anything | fine |
/// | yes | what ours was made from (perhaps under a name that we gave it), or what we sent | fine |
/// | yes | anything else | somebody else's |
///
/// `bytes` is the version of the item's bytes by their hash, where that is known, because what was sent is remembered
/// so.
pub fn is_others(intent: &Intent, item: &Item, bytes: Option<&ContentTag>) -> bool {
    let from = intent.base.as_ref().and_then(|base| base.content_tag.as_ref());
    let sent = intent.sent.as_ref().map(|sent| sent.versions.as_slice()).unwrap_or_default();
    let ours = bytes.or(item.content_tag.as_ref()).is_some_and(|tag| sent.contains(tag) || Some(tag) == from);
    (intent.sealed.is_some() || intent.drafting.is_some()) && item.content_tag.as_ref() != from && !ours
}

/// Whether the index heard something of an item while our request about it was under way, that is neither what the
/// request was based on nor what it made: then the answer may be older than what the index has. A folder's tag moves
/// with what is in it, so of a folder only the place counts.
pub fn heard_more(row: &Row, row_parent: Option<&ItemId>, base: Option<&Base>, answer: &Item) -> bool {
    match answer.kind {
        ItemKind::File => row.meta_tag != answer.meta_tag && base.is_none_or(|base| base.meta_tag != row.meta_tag),
        ItemKind::Folder | ItemKind::Closed => {
            let stands = |parent: Option<&ItemId>, name: &str| row_parent == parent && row.name == name;
            let Some(base) = base else { return false };
            !stands(answer.parent.as_ref(), &answer.name) && !stands(Some(&base.parent), &base.name)
        }
    }
}

/// What to do about a folder of ours when its name is taken.
///
/// | has the name | verdict |
/// | --- | --- |
/// | a folder | adopt: both created the same folder, their contents join |
/// | a file | keep both |
pub fn decide_folder(now: &Item) -> Verdict {
    match now.kind {
        ItemKind::Folder => Verdict::Adopt(Box::new(now.clone())),
        ItemKind::File | ItemKind::Closed => Verdict::KeepBoth,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::ids::{DriveId, ItemId, MetaTag};

    fn item(kind: ItemKind, tag: &str) -> Item {
        Item {
            id: ItemId::new(&DriveId::new("d"), "i"),
            parent: None,
            name: "n".into(),
            kind,
            size: 1,
            modified: Timestamp(0),
            created: Timestamp(0),
            meta_tag: MetaTag("m".into()),
            content_tag: Some(ContentTag(tag.into())),
            link_to: None,
        }
    }

    #[test]
    fn every_row_of_the_table() {
        let (base, ours) = (ContentTag("base".into()), ContentTag("ours".into()));
        let same = item(ItemKind::File, "base");
        let equal = item(ItemKind::File, "ours");
        let other = item(ItemKind::File, "other");
        let folder = item(ItemKind::Folder, "ours");
        assert_eq!(decide(Some(&base), Some(&same), &ours, &[]), Verdict::Replace(Box::new(same.clone())));
        assert_eq!(decide(None, None, &ours, &[]), Verdict::Create);
        assert_eq!(decide(Some(&base), None, &ours, &[]), Verdict::Create);
        assert_eq!(decide(Some(&base), Some(&equal), &ours, &[]), Verdict::Adopt(Box::new(equal.clone())));
        assert_eq!(decide(None, Some(&equal), &ours, &[]), Verdict::Adopt(Box::new(equal)));
        assert_eq!(decide(Some(&base), Some(&other), &ours, &[]), Verdict::KeepBoth);
        assert_eq!(decide(None, Some(&same), &ours, &[]), Verdict::KeepBoth);
        assert_eq!(decide(None, Some(&folder), &ours, &[]), Verdict::KeepBoth);
        assert_eq!(
            decide(None, Some(&other), &ours, &[ContentTag("other".into())]),
            Verdict::Replace(Box::new(other.clone()))
        );
        assert_eq!(
            decide(Some(&base), Some(&same), &base, &[]),
            Verdict::Replace(Box::new(same.clone())),
            "a weak hash"
        );
        assert_eq!(decide_folder(&folder), Verdict::Adopt(Box::new(folder.clone())));
        assert_eq!(decide_folder(&other), Verdict::KeepBoth);
    }

    #[test]
    fn every_row_of_what_a_look_is_worth() {
        let found = item(ItemKind::File, "any");
        assert!(is_old(Some(&found), true, false));
        assert!(is_old(Some(&found), true, true));
        assert!(!is_old(Some(&found), false, false));
        assert!(!is_old(Some(&found), false, true), "it is there");
        assert!(is_old(None, false, true));
        assert!(!is_old(None, false, false));
    }

    #[test]
    fn content_of_ours_goes_only_into_what_it_was_made_from() {
        use crate::base::ids::Ino;
        use crate::journal::intent::{Kind, Sent, SpoolId, tests::known};
        let clean = Intent::about(Ino(9), known(), Timestamp(0));
        let edited = Intent { sealed: Some(SpoolId(1)), ..clean.clone() };
        let written = Intent { drafting: Some(SpoolId(1)), ..clean.clone() };
        let sent = Intent { sent: Sent::of_ours(vec![ContentTag("s".into())]), ..edited.clone() };
        let new = Intent { sealed: Some(SpoolId(1)), ..Intent::new(Ino(9), Kind::File, Ino(2), "n", Timestamp(0)) };
        for (intent, tag, others) in [
            (&clean, "x", false),
            (&edited, "c", false),
            (&edited, "x", true),
            (&written, "x", true),
            (&sent, "s", false),
            (&sent, "x", true),
            (&new, "x", true),
        ] {
            assert_eq!(is_others(intent, &item(ItemKind::File, tag), None), others, "{intent:?} {tag}");
        }
        let (timed, bytes) = (item(ItemKind::File, "its time"), ContentTag("s".into()));
        assert!(is_others(&sent, &timed, None));
        assert!(!is_others(&sent, &timed, Some(&bytes)), "a service without hashes: the bytes were read back");
        assert!(is_others(&edited, &timed, Some(&bytes)));
        assert!(!is_others(&edited, &timed, Some(&ContentTag("c".into()))), "a name of ours has moved its time");
    }

    #[test]
    fn an_answer_is_doubted_only_if_the_index_has_heard_of_a_third_state() {
        let (drive, place) = (DriveId::new("d"), ItemId::new(&DriveId::new("d"), "p"));
        let state = |kind, tag: &str, name: &str| Item {
            meta_tag: MetaTag(tag.into()),
            parent: Some(place.clone()),
            name: name.into(),
            ..item(kind, "c")
        };
        let row = |of: &Item| Row {
            ino: crate::base::ids::Ino(9),
            id: ItemId::new(&drive, "i"),
            parent: crate::base::ids::Ino(2),
            name: of.name.clone(),
            kind: of.kind,
            size: of.size,
            modified: of.modified,
            created: of.created,
            changed: of.modified,
            meta_tag: of.meta_tag.clone(),
            content_tag: of.content_tag.clone(),
            complete: false,
            link_to: None,
        };
        for (kind, tags) in [(ItemKind::File, ["1", "2", "3"]), (ItemKind::Folder, ["1", "1", "1"])] {
            let [before, ours, theirs] = [(0, "a"), (1, "b"), (2, "c")].map(|(at, name)| state(kind, tags[at], name));
            let base = Base::of(&before);
            let heard = |index: &Item, base: Option<&Base>| heard_more(&row(index), Some(&place), base, &ours);
            assert!(!heard(&before, base.as_ref()), "{kind:?}: nothing new");
            assert!(!heard(&ours, base.as_ref()), "{kind:?}: the feed was faster than the answer");
            assert!(heard(&theirs, base.as_ref()), "{kind:?}: somebody came after us");
        }
        let (ours, theirs) = (state(ItemKind::File, "1", "a"), state(ItemKind::File, "2", "a"));
        assert!(heard_more(&row(&theirs), Some(&place), None, &ours), "a new file that was changed at once");
        let moved = state(ItemKind::Folder, "7", "a");
        let base = Base::of(&moved);
        assert!(
            !heard_more(&row(&state(ItemKind::Folder, "8", "a")), Some(&place), base.as_ref(), &moved),
            "a folder's tag moves with what is in it"
        );
    }
}
