//! What an item shows of itself: the part of its state that answers contain.
//!
//! A face is taken under the drive's lock. A lagging delta keeps old faces, so that it can show
//! yesterday's name while a read by id shows today's.

use std::borrow::Cow;

use super::drive::{Body, ClientTimes, Drive};
use super::ident::{Index, ROOT};
use crate::base::clock::Timestamp;

/// What kind of item it is, with what that kind shows.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    File { hash: Option<String> },
    Folder { children: usize },
    Package,
    Bundle,
    Opaque,
    Shortcut { drive: usize, item: Index },
}

/// An item's visible state.
#[derive(Clone, Debug)]
pub(crate) struct Face<'a> {
    pub(crate) index: Index,
    pub(crate) name: Cow<'a, str>,
    pub(crate) parent: Option<Index>,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) etag: u32,
    pub(crate) ctag: u32,
    pub(crate) times: ClientTimes,
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
    pub(crate) deleted: bool,
    pub(crate) malware: bool,
    pub(crate) shared: bool,
    pub(crate) description: Option<Cow<'a, str>>,
    pub(crate) special: Option<&'static str>,
}

impl<'a> Face<'a> {
    /// The present state of an item, live or deleted.
    pub(crate) fn of(drive: &'a Drive, index: Index) -> Face<'a> {
        let item = &drive.items[index as usize];
        let (kind, size) = match &item.body {
            Body::File(content) => {
                let hash = (content.size() > 0).then(|| content.hash());
                (Kind::File { hash }, content.size())
            }
            Body::Folder(folder) => (Kind::Folder { children: folder.children.len() }, folder.bytes),
            Body::Package => (Kind::Package, 0),
            Body::Bundle => (Kind::Bundle, 0),
            Body::Opaque => (Kind::Opaque, 0),
            Body::Shortcut(to) => (Kind::Shortcut { drive: to.drive, item: to.item }, 0),
        };
        let extras = item.extras.as_deref();
        Face {
            index,
            name: drive.name(index),
            parent: (index != ROOT).then_some(item.parent),
            kind,
            size: extras.and_then(|extras| extras.claimed_size).unwrap_or(size),
            etag: item.etag,
            ctag: item.ctag,
            times: item.times,
            created: item.created,
            modified: item.modified,
            deleted: item.deletion != 0,
            malware: extras.is_some_and(|extras| extras.malware),
            shared: extras.is_some_and(|extras| !extras.permissions.is_empty()),
            description: extras.and_then(|extras| extras.description.as_deref()).map(Cow::Borrowed),
            special: extras.and_then(|extras| extras.special),
        }
    }

    /// The same, independent of the drive.
    pub(crate) fn into_owned(self) -> Face<'static> {
        Face {
            name: Cow::Owned(self.name.into_owned()),
            description: self.description.map(|text| Cow::Owned(text.into_owned())),
            index: self.index,
            parent: self.parent,
            kind: self.kind,
            size: self.size,
            etag: self.etag,
            ctag: self.ctag,
            times: self.times,
            created: self.created,
            modified: self.modified,
            deleted: self.deleted,
            malware: self.malware,
            shared: self.shared,
            special: self.special,
        }
    }
}
