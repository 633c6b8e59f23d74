//! How much of what a service says is held in memory until its end is known.
//!
//! A listing, a chain of changes, a list of versions come in pages and mean something only as a whole, so all pages are
//! kept until the last one. A service decides how many there are and how long each text in them is; so what is kept is
//! counted in bytes, not in items, and what it takes more than that for is refused. Always true: whatever is gathered page
//! by page is weighed before it is kept, here and nowhere else, and which links were followed is remembered in eight bytes
//! each.
//!
//! Why so much: an item of a real drive weighs 400 to 600 bytes, so there is room for 150,000 of them at least. A folder
//! has hardly ever a third of that (<https://support.microsoft.com/office/restrictions-and-limitations-in-onedrive-and-sharepoint-64883a5d-228e-48f5-b3d2-eb39e07630fa>).
//! A whole drive has more, but that is never kept: an enumeration is written page by page, and a chain of changes that is longer
//! ends in one.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::Value;

use super::{Change, Item, Link, RemoteError, RemoteResult};
use crate::base::ids::ItemId;

/// The most that is kept of one listing or chain, in bytes.
pub const MOST_KEPT: usize = 96 << 20;

/// What an allocation costs beside its bytes.
const OVERHEAD: usize = 16;

/// What can be weighed.
pub trait Weigh {
    /// About how many bytes it takes in memory, texts and all.
    fn weight(&self) -> usize;
}

fn text(text: &str) -> usize {
    OVERHEAD + text.len()
}

impl Weigh for ItemId {
    fn weight(&self) -> usize {
        size_of::<Self>() + text(self.drive.as_str()) + text(&self.id)
    }
}

impl Weigh for Item {
    fn weight(&self) -> usize {
        let ids = [Some(&self.id), self.parent.as_ref(), self.link_to.as_ref()];
        let ids: usize = ids.into_iter().flatten().map(|id| text(id.drive.as_str()) + text(&id.id)).sum();
        let content = self.content_tag.as_ref().map_or(0, |tag| text(&tag.0));
        size_of::<Self>() + ids + text(&self.name) + text(&self.meta_tag.0) + content
    }
}

impl Weigh for Change {
    fn weight(&self) -> usize {
        match self {
            Self::Is(item) => item.weight(),
            Self::Gone(id) => size_of::<Self>() + id.weight(),
        }
    }
}

impl Weigh for Value {
    fn weight(&self) -> usize {
        let inside = match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 0,
            Self::String(string) => text(string),
            Self::Array(values) => OVERHEAD + values.iter().map(Self::weight).sum::<usize>(),
            // A node of a map has room for what is not in it.
            Self::Object(map) => map.iter().map(|(key, value)| 4 * OVERHEAD + text(key) + value.weight()).sum(),
        };
        size_of::<Self>() + inside
    }
}

/// The room for one listing or chain.
#[derive(Debug)]
pub struct Room {
    left: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: MOST_KEPT }
    }
}

impl Room {
    /// Whether there was room for it; it is taken.
    pub fn takes(&mut self, weight: usize) -> bool {
        match self.left.checked_sub(weight) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// The same. What there is no room for is [`super::RemoteErrorKind::Protocol`].
    pub fn take(&mut self, weight: usize, what: &str) -> RemoteResult<()> {
        match self.takes(weight) {
            true => Ok(()),
            false => Err(RemoteError::protocol(format!("cannot {what}: the service says more than is kept in memory"))),
        }
    }
}

/// Links that were followed.
#[derive(Default)]
pub struct Trail {
    seen: HashSet<u64>,
}

impl Trail {
    /// Whether a link was not followed before. It is now.
    pub fn is_new(&mut self, link: &Link) -> bool {
        let mut hasher = DefaultHasher::new();
        link.expose().hash(&mut hasher);
        self.seen.insert(hasher.finish())
    }

    /// How many were followed.
    pub fn length(&self) -> usize {
        self.seen.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::ids::{ContentTag, DriveId, MetaTag};
    use crate::remote::ItemKind;

    fn item(drive: &str, id: &str, name: &str, tag: &str) -> Item {
        let drive = DriveId::new(drive);
        Item {
            id: ItemId::new(&drive, id),
            parent: Some(ItemId::new(&drive, id)),
            name: name.to_owned(),
            kind: ItemKind::File,
            size: 1,
            modified: Timestamp(0),
            created: Timestamp(0),
            meta_tag: MetaTag(tag.to_owned()),
            content_tag: Some(ContentTag(tag.to_owned())),
            link_to: None,
        }
    }

    /// As business drives name them, which is longer than personal ones do.
    #[test]
    fn a_folder_of_a_hundred_thousand_has_room() {
        let drive = format!("b!{}", "x".repeat(64));
        let tag = "\"{8B8C2D6E-0F4A-4E5B-9C1D-2E3F4A5B6C7D},12\"";
        let real = item(&drive, "01ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "A report of the usual length.docx", tag);
        let weight = real.weight() + real.id.weight();
        assert!(100_000 * weight < MOST_KEPT, "{weight}");
        assert!(Room::default().take(100_000 * weight, "list").is_ok());
    }

    #[test]
    fn what_is_long_takes_its_room() {
        let (id, long) = ("i".repeat(1000), "t".repeat(4000));
        let weight = Change::Is(item("d", &id, "n", &long)).weight();
        assert!((10_000..11_000).contains(&weight), "{weight}");
        assert!(Change::Gone(ItemId::new(&DriveId::new("d"), id)).weight() > 1000);
        let mut room = Room::default();
        let fit = (0..).take_while(|_| room.takes(weight)).count();
        assert_eq!(fit, MOST_KEPT / weight);
        assert!(room.take(weight, "list").is_err() && room.take(1, "list").is_ok());
        let zeros = Value::Array(vec![Value::from(0); 1000]);
        assert!(zeros.weight() >= 1000 * size_of::<Value>());
    }

    #[test]
    fn a_link_is_new_once() {
        let mut trail = Trail::default();
        let link = |text: &str| Link::new(text.to_owned());
        assert!(trail.is_new(&link("a")) && trail.is_new(&link("b")) && !trail.is_new(&link("a")));
    }
}
