//! What a OneDrive can do, in words that fit every protocol it ever spoke.
//!
//! The rest of the program sees the service only through [`Remote`]. Differences between services are
//! asked as questions of behaviour ([`Caps`]), never as "which protocol is this". Retry, throttling and
//! observation are layers around a protocol (see `stack`), so that a protocol module only translates.
//!
//! Always true here:
//!
//! - A listing or a chain of changes is handed out page by page but never called complete before its end.
//! - Bytes of two versions are never mixed: [`Remote::read`] names the version it wants.
//! - Every change of something that exists carries the [`Precondition`] it was based on.
//!
//! One method is one request; the same program runs on every protocol:
//!
//! ```
//! # #[cfg(feature = "demo")]
//! # #[tokio::main(flavor = "multi_thread", worker_threads = 2)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use onedrive_mount::emulator::{Content, Emulator, Flavour, Options};
//! # use onedrive_mount::remote::live::LiveService;
//! # use onedrive_mount::remote::stack::GraphService;
//! # let options = Options { flavour: Flavour::PersonalOld, content: Content::DemoHome, ..Options::default() };
//! # let service = Emulator::start(options).await?;
//! # let at = service.endpoints();
//! # let graph = (Protocol::Graph(GraphService::at(at.graph)), service.oauth().issue_tokens().access);
//! # let live = LiveService { origin: at.live, bits: at.bits, ..LiveService::default() };
//! # let live = (Protocol::Live(live), service.live().issue_tokens().access);
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use futures_util::TryStreamExt;
//! use onedrive_mount::auth::StaticToken;
//! use onedrive_mount::base::clock::{Clock, SystemClock};
//! use onedrive_mount::remote::http::system_entropy;
//! use onedrive_mount::remote::stack::{self, Protocol, RemoteOptions};
//! use onedrive_mount::remote::{Place, Precondition, RemoteErrorKind, Target, list_all};
//!
//! for (protocol, token) in [graph, live] {
//!     let clock = Arc::new(SystemClock::new());
//!     let options = RemoteOptions::speaking(protocol);
//!     let remote = stack::open(&options, Arc::new(StaticToken::new(token)), clock.clone(), system_entropy())?.remote;
//!     let root = remote.identity().await?.root;
//!     assert!(list_all(&*remote, &root).await?.iter().any(|item| item.name == "Documents"));
//!
//!     let place = Place::New { parent: root, name: "hello.txt".into() };
//!     let to = Target { place, modified: clock.now(), created: None };
//!     let made = remote.put_small(&to, Bytes::from_static(b"hello"), &Precondition::MustNotExist).await?;
//!     // A version is named, and no other is read.
//!     let tag = made.content_tag.clone().expect("a file has content");
//!     let body = remote.read(&made.id, &tag, 0..5).await?;
//!     assert_eq!(body.stream.try_collect::<Vec<Bytes>>().await?.concat(), b"hello");
//!
//!     remote.delete(&made.id, &Precondition::Unchanged(made.meta_tag.clone())).await?;
//!     let gone = remote.read(&made.id, &tag, 0..5).await.err().map(|error| error.kind);
//!     assert!(matches!(gone, Some(RemoteErrorKind::NotFound | RemoteErrorKind::Changed)), "{gone:?}");
//! }
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "demo"))]
//! # fn main() {}
//! ```

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::ids::{ContentTag, Cursor, DriveId, ItemId, MetaTag};
use crate::base::secret::Secret;

pub mod address;
pub mod classify;
mod content;
pub mod error;
pub mod extras;
pub mod graph;
pub mod http;
pub(crate) mod kept;
pub mod layers;
mod listing;
pub mod live;
mod look_up;
mod precondition;
pub mod stack;
#[cfg(test)]
pub(crate) mod testing;
mod tolerant;

pub use error::{Advice, RemoteError, RemoteErrorKind, RemoteResult, split_request_id};
pub use extras::Extras;
pub use listing::list_all;
pub use look_up::look_up_all;

/// How a service behaves where services differ.
#[derive(Clone, Debug)]
pub struct Caps {
    /// Whether [`Remote::changes`] is a feed of the service or made by comparing listings.
    pub changes: ChangeSource,
    /// Whether a precondition is checked by the service in the same step, or by us just before.
    pub precondition: PreconditionStrength,
    /// Whether items carry a hash of their content.
    pub hashes: bool,
    /// Whether modification times can be set.
    pub set_times: bool,
    /// How long the fragments of an upload session must be.
    pub fragment: FragmentRule,
    /// Whether two items of one folder can have the same name.
    pub name_clash: bool,
    /// The largest content [`Remote::put_small`] should be used for, in bytes. Empty content always goes
    /// through `put_small`.
    pub max_small: u64,
    /// The largest file the service accepts, in bytes.
    pub max_file: u64,
    /// The longest decoded path from the root, in UTF-16 units, if the service has such a limit.
    pub max_path: Option<usize>,
}

/// Where changes come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeSource {
    /// The service keeps a feed.
    Native,
    /// We compare listings.
    Listed,
}

/// How far a precondition can be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PreconditionStrength {
    /// Checked by the service in the same step.
    Strong,
    /// Compared just before; a small window remains.
    Checked,
}

/// How long fragments must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FragmentRule {
    /// Every fragment but the last is a multiple of this many bytes, and at most `max` long.
    Multiple {
        /// The unit, in bytes.
        unit: u64,
        /// The upper limit, in bytes.
        max: u64,
    },
    /// Any length.
    Any,
}

/// What kind of thing an item is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ItemKind {
    /// A file with bytes.
    File,
    /// A folder with children.
    Folder,
    /// Something the service shows but does not let us into: the Personal Vault, a OneNote package, an
    /// album. Shown as a folder that cannot be opened.
    Closed,
}

/// One item as the service reports it. Immutable plain data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Its identity.
    pub id: ItemId,
    /// Its folder; `None` for the root of a drive.
    pub parent: Option<ItemId>,
    /// Its name in the spelling of the service.
    pub name: String,
    /// What it is.
    pub kind: ItemKind,
    /// Size in bytes; 0 for folders.
    pub size: u64,
    /// Modification time as the owner's machine set it (`fileSystemInfo`), else the service's.
    pub modified: Timestamp,
    /// Creation time, likewise.
    pub created: Timestamp,
    /// Identity of this state as a whole. Empty if the service gave none.
    pub meta_tag: MetaTag,
    /// Identity of this version of the bytes; `None` for folders.
    pub content_tag: Option<ContentTag>,
    /// For a shortcut to a folder elsewhere: the item it leads to.
    pub link_to: Option<ItemId>,
}

/// A thing that changed, in a chain of changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The item looks like this now. The whole item; an item may be named though nothing about it changed.
    Is(Item),
    /// The item is gone.
    Gone(ItemId),
}

impl Change {
    /// The item that it is about.
    pub fn id(&self) -> &ItemId {
        match self {
            Self::Is(item) => &item.id,
            Self::Gone(id) => id,
        }
    }
}

/// Where a page of changes leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// There is more: continue with this link.
    More(Link),
    /// The chain is complete: everything up to this cursor was handed out.
    Done(Cursor),
}

/// A page of a chain of changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangePage {
    /// In the order of the service: for one item the last one counts, across the whole chain.
    pub changes: Vec<Change>,
    /// What comes after it.
    pub next: Next,
}

/// A page of a folder listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ItemPage {
    /// Some children; a page may be empty and still not be the last one.
    pub items: Vec<Item>,
    /// The next page; `None` on the last.
    pub next: Option<Link>,
}

/// A link to a following page. It may hold a credential, so it prints as stars.
pub type Link = Secret<String>;

/// Where a chain of changes starts.
#[derive(Clone, Debug)]
pub enum Start<'a> {
    /// No changes, only the cursor for "now".
    Now,
    /// Everything that exists, from the beginning.
    Beginning,
    /// What came after this cursor.
    Cursor(&'a Cursor),
    /// The next page of a chain under way.
    Link(&'a Link),
}

/// Which item to look at.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    /// By identity.
    Id(&'a ItemId),
    /// The child of a folder by name, compared as the service does (without case).
    Child(&'a ItemId, &'a str),
}

/// Where uploaded content goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Target {
    /// A new child of a folder, or new content for an item.
    pub place: Place,
    /// The modification time the file shall have. A service that cannot take it along with the content
    /// leaves it; the caller sees that in the answered item and sets it with [`Remote::change`].
    pub modified: Timestamp,
    /// The creation time the file shall have, if one is known.
    pub created: Option<Timestamp>,
}

/// The place of uploaded content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Place {
    /// A file of this name in this folder, which must not exist.
    New {
        /// The folder.
        parent: ItemId,
        /// The name, legal on the service.
        name: String,
    },
    /// The content of this item.
    Replace(ItemId),
}

/// What must be true for a change to be carried out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Precondition {
    /// Nothing of that name exists; else [`RemoteErrorKind::Exists`].
    MustNotExist,
    /// The item is in this state; else [`RemoteErrorKind::Changed`].
    Unchanged(MetaTag),
    /// Nothing.
    None,
}

/// What shall change about an item; `None` members stay.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Patch {
    /// A new name.
    pub name: Option<String>,
    /// A new folder, in the same drive.
    pub parent: Option<ItemId>,
    /// A new modification time.
    pub modified: Option<Timestamp>,
}

/// A resumable upload as plain data, to be stored until it is finished or abandoned.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Where fragments go: a pre-authenticated URL or a session id. Secret; goes to the journal's file
    /// (mode 0600) and nowhere else.
    pub address: String,
    /// What the upload is for.
    pub target: Target,
    /// The complete size in bytes.
    pub size: u64,
    /// When the service will have forgotten it at the latest.
    pub expires: Timestamp,
    /// When it was begun.
    pub begun: Timestamp,
    /// How far it is as far as whoever keeps the ticket knows, in bytes: the last acknowledged offset. A hint for services
    /// that cannot be asked.
    #[serde(default)]
    pub acked: u64,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket")
            .field("address", &"***")
            .field("target", &self.target)
            .field("size", &self.size)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// What an upload has made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finished {
    /// The file.
    pub item: Item,
    /// Whether the service has just said that it is made. Else it was looked for and told by its place, size and time:
    /// another device may have stored a file like that there, and only the bytes can tell.
    pub told: bool,
}

/// The answer to a fragment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ack {
    /// Continue at this offset, in bytes. The service's number is the truth, whatever was sent.
    Next(u64),
    /// That was the last one; the file is there.
    Done(Box<Finished>),
}

/// How far an upload has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Offset {
    /// Continue at this offset, in bytes.
    At(u64),
    /// It is finished: this is the file, as far as place, size and time tell.
    Done(Box<Item>),
    /// The service does not know it: expired, cancelled, or finished with the answer lost.
    Gone,
}

/// The space of a drive, in bytes. Members are `None` where the service does not say (or says nonsense).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Quota {
    /// All of it.
    pub total: Option<u64>,
    /// In use.
    pub used: Option<u64>,
    /// Free.
    pub remaining: Option<u64>,
}

/// What the drive is, for comparing it with the one a cache was made for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DriveIdentity {
    /// Its id.
    pub drive: DriveId,
    /// The root folder.
    pub root: ItemId,
    /// `personal`, `business`, `documentLibrary`.
    pub flavour: String,
    /// Who owns it, for people.
    pub owner: String,
}

/// A body on its way in. Errors end it; its length was promised by the range that was asked for, and a
/// stream that ends early ends with an error, never silently.
pub type BodyStream = BoxStream<'static, RemoteResult<Bytes>>;

/// A range of content as it arrives.
pub struct Body {
    /// The range that is really coming: the one asked for, or shorter where the file ends.
    pub range: Range<u64>,
    /// The real size of the file in bytes, as the storage host reports it. It may differ from the
    /// metadata's (photos from iOS, protected files); the bytes are right.
    pub total: Option<u64>,
    /// The bytes.
    pub stream: BodyStream,
}

/// Bytes on their way out. Cheap to clone, so that a retry can send them again.
pub type Outgoing = Bytes;

/// Bytes on their way out that are read when they are sent, because all of them would be too much for the memory.
pub trait Source: Send + Sync + 'static {
    /// Reads a range, which lies within the source. Blocks on the disk. A retry reads it again.
    ///
    /// # Errors
    /// What the disk says. Nothing that was read after it is sent.
    fn read(&self, range: Range<u64>) -> std::io::Result<Bytes>;
}

/// How urgent a call is. The gate lets interactive calls pass before uploads, uploads before the rest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Urgency {
    /// Somebody waits in front of a file manager.
    Interactive,
    /// Work on its way to the cloud.
    Upload,
    /// Prefetch, enumeration, polling.
    Background,
}

tokio::task_local! {
    /// The urgency of the calls made by the current task; background unless set.
    pub static URGENCY: Urgency;
}

/// The urgency of the current task.
pub fn current_urgency() -> Urgency {
    URGENCY.try_with(|urgency| *urgency).unwrap_or(Urgency::Background)
}

/// The most bytes of a former version that are fetched; see [`Remote::former`].
pub const MAX_FORMER: u64 = 32 << 20;

/// A OneDrive. Object-safe; shared as `Arc<dyn Remote>`.
///
/// Every method may fail with any [`RemoteError`]; the ones that matter to callers are named. A method
/// that changes something may have changed it though it fails with `advice` [`Advice::VerifyThenRetry`]:
/// the caller looks before it repeats.
#[async_trait]
pub trait Remote: Send + Sync + 'static {
    /// How this service behaves. Never touches the network.
    fn caps(&self) -> &Caps;

    /// Which drive this is, and its root: that of whoever is signed in.
    async fn identity(&self) -> RemoteResult<DriveIdentity>;

    /// What is asked for is asked of this drive from now on, whoever is signed in: the folders of one account must never
    /// fill with what is in another's. To be said before anything else is asked; what was asked before it decides.
    fn stand_for(&self, _drive: &DriveIdentity) {}

    /// One item. [`RemoteErrorKind::NotFound`] is believed only after spaced repeats by the retry layer,
    /// because fresh items are sometimes unknown for seconds; and of an id only from a service that finds the root,
    /// because in bad minutes it finds nothing at all and says [`RemoteErrorKind::NotFound`] of everything.
    async fn stat(&self, at: At<'_>) -> RemoteResult<Item>;

    /// A page of a folder's children; `from` continues. Pages are no snapshot: de-duplicate by id.
    async fn list(&self, folder: &ItemId, from: Option<&Link>) -> RemoteResult<ItemPage>;

    /// A page of changes of the whole drive. [`Advice::Resync`] means: start again from
    /// [`Start::Beginning`].
    async fn changes(&self, from: Start<'_>) -> RemoteResult<ChangePage>;

    /// A range of the bytes of exactly this version. [`RemoteErrorKind::Changed`] if the item has another
    /// version now. The range must not be empty.
    async fn read(&self, item: &ItemId, tag: &ContentTag, range: Range<u64>) -> RemoteResult<Body>;

    /// The bytes of a version of a file that is not the current one any more: of this size, at most [`MAX_FORMER`], and with
    /// this QuickXorHash. `None` if the service keeps none such. [`RemoteErrorKind::NotFound`] if the file is gone.
    async fn former(&self, _item: &ItemId, _size: u64, _hash: &str) -> RemoteResult<Option<Bytes>> {
        Ok(None)
    }

    /// Creates or replaces a file with one request. At most [`Caps::max_small`] bytes.
    async fn put_small(&self, to: &Target, bytes: Outgoing, pre: &Precondition) -> RemoteResult<Item>;

    /// Opens an upload session. The ticket is to be stored before the first fragment is sent.
    async fn begin_upload(&self, to: &Target, size: u64, pre: &Precondition) -> RemoteResult<Ticket>;

    /// Sends a fragment that starts at `at`. [`RemoteErrorKind::Range`] asks the caller to look at
    /// [`Remote::upload_offset`]; [`RemoteErrorKind::UploadGone`] likewise.
    async fn put_fragment(&self, ticket: &Ticket, at: u64, bytes: Outgoing) -> RemoteResult<Ack>;

    /// As [`Remote::put_fragment`], with a range of a source, which is at the same place in the file. For long fragments:
    /// a service that overrides this holds no more than a few pieces of it in memory.
    async fn put_fragment_of(&self, ticket: &Ticket, range: Range<u64>, source: Arc<dyn Source>) -> RemoteResult<Ack> {
        let at = range.start;
        let read = tokio::task::spawn_blocking(move || source.read(range)).await;
        let bytes = read.unwrap_or_else(|lost| Err(std::io::Error::other(lost))).map_err(|error| {
            RemoteError::new(RemoteErrorKind::Local, Advice::GiveUp, "what is to be sent cannot be read")
                .with_source(error)
        })?;
        self.put_fragment(ticket, at, bytes).await
    }

    /// Makes the uploaded file visible where that is a step of its own; otherwise finds and returns the
    /// file that the last fragment made.
    async fn finish_upload(&self, ticket: &Ticket) -> RemoteResult<Finished>;

    /// How far the upload has come.
    async fn upload_offset(&self, ticket: &Ticket) -> RemoteResult<Offset>;

    /// Gives an upload up. Best effort; an unknown ticket is success.
    async fn abandon_upload(&self, ticket: &Ticket) -> RemoteResult<()>;

    /// Creates a folder. [`RemoteErrorKind::Exists`] if the name is taken (by anything).
    async fn make_folder(&self, parent: &ItemId, name: &str) -> RemoteResult<Item>;

    /// Renames, moves, sets times. Returns the item as it is afterwards, verified if the service answers
    /// without a body. [`RemoteErrorKind::Exists`] if the new name is taken.
    async fn change(&self, item: &ItemId, patch: &Patch, pre: &Precondition) -> RemoteResult<Item>;

    /// Deletes an item (into the service's recycle bin; a folder with everything in it). Success if it is
    /// not there any more. [`RemoteErrorKind::Changed`] if the precondition fails.
    async fn delete(&self, item: &ItemId, pre: &Precondition) -> RemoteResult<()>;

    /// The space of the drive.
    async fn quota(&self) -> RemoteResult<Quota>;
}

/// A shared remote.
pub type SharedRemote = Arc<dyn Remote>;

/// How long a caller that somebody waits for gives the network before it reports an error.
pub const INTERACTIVE_DEADLINE: Duration = Duration::from_secs(30);
