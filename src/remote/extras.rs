//! What a OneDrive can do beyond being a file system: links, copies, versions, comments, and everything that it knows
//! of an object.
//!
//! The mount needs none of this, so it is a trait of its own and [`super::Remote`] stays narrow. No service has all of
//! it; each method that a protocol does not override says so in one sentence, with
//! [`RemoteErrorKind::Unsupported`]. Objects are handed out as JSON under the keys of
//! the old service (Live v5.0), whatever the protocol calls them, because scripts know these.

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::{Advice, At, Item, Link, RemoteError, RemoteErrorKind, RemoteResult};
use crate::base::ids::ItemId;

/// An object with everything that the service says of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Seen {
    /// What the rest of the program works with.
    pub item: Item,
    /// All of it, under the old service's keys.
    pub object: Value,
}

/// A page of a listing with whole objects.
#[derive(Clone, PartialEq, Debug)]
pub struct SeenPage {
    /// Some children.
    pub items: Vec<Seen>,
    /// The next page; `None` on the last.
    pub next: Option<Link>,
}

/// A folder that the service knows by its purpose, whatever it is called.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SpecialFolder {
    /// Documents; `me/skydrive/my_documents`.
    Documents,
    /// Pictures; `me/skydrive/my_photos`.
    Photos,
    /// What the camera of a phone uploads; `me/skydrive/camera_roll`.
    CameraRoll,
    /// What everybody may see; `me/skydrive/public_documents`. Not on Graph.
    Public,
    /// Music. Not on Live.
    Music,
    /// The application's own folder. Not on Live.
    AppRoot,
}

/// What a link lets its holder do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LinkKind {
    /// Look.
    View,
    /// Change.
    Edit,
    /// Show it inside a web page. Personal accounts only.
    Embed,
}

/// The edge of a thumbnail.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ThumbnailSize {
    /// About 96 pixels.
    Small,
    /// About 176 pixels.
    Medium,
    /// About 800 pixels.
    Large,
}

/// What only some protocols have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Beyond {
    /// Properties other than name, description and time: `sort_by`, `title`, `artist` and so on.
    OldProperties,
    /// Comments that can be written and deleted.
    Comments,
    /// Former versions that can be brought back.
    Restore,
    /// People who can be let in one by one.
    Share,
    /// A recycle bin that gives things back.
    Undelete,
}

impl Beyond {
    /// The answer of a protocol that has no such thing.
    pub(super) fn missing(self) -> RemoteError {
        unsupported(match self {
            Self::OldProperties => {
                "this service lets the name, the description and the time of an object be set, and nothing else"
            }
            Self::Comments => "this service has no comments on files",
            Self::Restore => "this service does not bring versions of a file back",
            Self::Share => "this service does not share with single people; a link does: onedrive-cli link",
            Self::Undelete => "this service brings nothing back from the recycle bin for programs; its web page does",
        })
    }
}

/// The answer of a protocol that has no such thing.
pub fn unsupported(sentence: &str) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Unsupported, Advice::GiveUp, sentence)
}

/// What only some callers need. Object-safe. Every method may fail with any [`RemoteError`]. The service is asked once
/// each: repeating is up to the caller, and harmless for what only looks.
#[async_trait]
pub trait Extras: Send + Sync + 'static {
    /// Whether this protocol has something. The service is not asked: it may refuse all the same. What is missing is
    /// told in the words of the method that would need it.
    fn offers(&self, what: Beyond) -> RemoteResult<()> {
        Err(what.missing())
    }

    /// An object with everything that is known of it.
    async fn look(&self, at: At<'_>) -> RemoteResult<Seen>;

    /// A page of a folder's children, each with everything that is known of it.
    async fn look_into(&self, folder: &ItemId, from: Option<&Link>) -> RemoteResult<SeenPage>;

    /// A special folder. [`RemoteErrorKind::NotFound`] if this drive has none.
    async fn special(&self, folder: SpecialFolder) -> RemoteResult<Item>;

    /// Who is signed in: `id`, `name`, and what else the account lets us know.
    async fn user(&self) -> RemoteResult<Value>;

    /// Objects that were used lately, newest first.
    async fn recent(&self) -> RemoteResult<Vec<Value>>;

    /// Objects that others share with this account.
    async fn shared(&self) -> RemoteResult<Vec<Value>>;

    /// Objects below a folder whose name or content has this text, as far as the service's index goes.
    async fn search(&self, folder: &ItemId, text: &str) -> RemoteResult<Vec<Value>>;

    /// A link that others can use: `link`, and for [`LinkKind::Embed`] `embed_html`. The same link again if there is
    /// one already.
    async fn link(&self, item: &ItemId, kind: LinkKind) -> RemoteResult<Value>;

    /// Copies an object, folders with everything in them, into a folder, under a new name if one is given. Returns
    /// when the copy is there. [`RemoteErrorKind::Exists`] if the name is taken.
    async fn copy(&self, item: &ItemId, folder: &ItemId, name: Option<&str>) -> RemoteResult<Item>;

    /// Sets properties of an object by the old service's keys, the name and the time excepted. `null` takes one away.
    /// [`RemoteErrorKind::Unsupported`] for what the service keeps no such property of.
    async fn set_properties(&self, item: &ItemId, properties: &Map<String, Value>) -> RemoteResult<()>;

    /// The comments on an object, oldest first.
    async fn comments(&self, _item: &ItemId) -> RemoteResult<Vec<Value>> {
        Err(unsupported("this service has no comments on files; the old one had, and they are gone with it"))
    }

    /// Adds a comment to an object and returns it.
    async fn add_comment(&self, _item: &ItemId, _text: &str) -> RemoteResult<Value> {
        Err(Beyond::Comments.missing())
    }

    /// Deletes a comment.
    async fn delete_comment(&self, _comment: &str) -> RemoteResult<()> {
        Err(Beyond::Comments.missing())
    }

    /// The versions of a file, newest first: `id`, `updated_time`, `size`.
    async fn versions(&self, _item: &ItemId) -> RemoteResult<Vec<Value>> {
        Err(unsupported("this service does not tell the versions of a file"))
    }

    /// Makes a former version the newest one. The present one stays as a version.
    async fn restore_version(&self, _item: &ItemId, _version: &str) -> RemoteResult<()> {
        Err(Beyond::Restore.missing())
    }

    /// Who may do what with an object: `id`, `roles`, and `user` or `link`.
    async fn permissions(&self, _item: &ItemId) -> RemoteResult<Vec<Value>> {
        Err(unsupported("this service does not tell who may do what with a file"))
    }

    /// Lets people in, by their mail addresses; `write` lets them change it. Sends them a mail if `message` is given.
    async fn share(
        &self,
        _item: &ItemId,
        _who: &[String],
        _write: bool,
        _message: Option<&str>,
    ) -> RemoteResult<Vec<Value>> {
        Err(Beyond::Share.missing())
    }

    /// Takes a permission back: a person's, or a link.
    async fn unshare(&self, _item: &ItemId, _permission: &str) -> RemoteResult<()> {
        Err(unsupported("this service does not take permissions back one by one"))
    }

    /// A small picture of a file, as JPEG or PNG. [`RemoteErrorKind::NotFound`] if the service has none of it.
    async fn thumbnail(&self, item: &ItemId, size: ThumbnailSize) -> RemoteResult<Bytes>;

    /// What is in the recycle bin.
    async fn trash(&self) -> RemoteResult<Vec<Value>> {
        Err(unsupported(
            "the service does not show its recycle bin to programs; it is at https://onedrive.live.com/?v=trash",
        ))
    }

    /// Brings an object back from the recycle bin, by its id.
    async fn undelete(&self, _item: &ItemId) -> RemoteResult<Item> {
        Err(Beyond::Undelete.missing())
    }
}
