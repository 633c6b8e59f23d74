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

use crate::base::ids::ContentTag;
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
}
