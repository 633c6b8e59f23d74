//! A OneDrive as people think of it: paths, files, folders with everything in them.
//!
//! [`crate::remote`] speaks with the service, one method a request. What a program wants is more: the object that a path
//! means, a listing that is complete, a file that is whole or not there, a transfer that goes on where it broke off, a
//! folder with everything in it. That is here, once for every protocol; the command line prints what this module does.
//! What always holds:
//!
//! - A local file is there whole or not at all, and the old one stays until then.
//! - Whatever breaks a transfer off, the next try goes on where this one ended.
//! - Progress counts only what the other side has said that it has, and never passes the size.
//! - Two objects of one name are two: nothing is kept by name alone.
//! - What cannot be undone (a link, a comment, a copy) is asked for once; what only looks is asked for again if the
//!   service has a bad moment.
//!
//! [`Account`] is the whole way from a settings file: sign-in, remote, drive. [`Drive`] works on any remote.
//!
//! ```
//! # #[cfg(feature = "demo")]
//! # #[tokio::main(flavor = "multi_thread", worker_threads = 2)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use onedrive_mount::emulator::{Content, Emulator, Options};
//! # let service = Emulator::start(Options { content: Content::DemoHome, ..Options::default() }).await?;
//! # let token = service.oauth().issue_tokens().access;
//! # let origin = service.endpoints().graph;
//! # let here = tempfile::tempdir()?;
//! use std::sync::Arc;
//!
//! use futures_util::TryStreamExt;
//! use onedrive_mount::auth::StaticToken;
//! use onedrive_mount::base::clock::SystemClock;
//! use onedrive_mount::drive::{Drive, How, Ids};
//! use onedrive_mount::remote::http::system_entropy;
//! use onedrive_mount::remote::stack::{self, RemoteOptions};
//!
//! let clock = Arc::new(SystemClock::new());
//! let options = RemoteOptions::new(origin); // https://graph.microsoft.com
//! let opened = stack::open(&options, Arc::new(StaticToken::new(token)), clock.clone(), system_entropy())?;
//! let drive = Drive::new(&opened, clock, Ids::Graph);
//!
//! // A path, and a listing as a stream.
//! let folder = drive.find("Documents/Recipes").await?;
//! let names: Vec<String> = drive.list(&folder).map_ok(|item| item.name).try_collect().await?;
//! assert!(names.contains(&"Bread.md".to_owned()));
//!
//! // A download that goes on where it broke off when it is asked for again.
//! let bread = drive.find("Documents/Recipes/Bread.md").await?;
//! let local = here.path().join("bread.md");
//! drive.download(&bread, &local, &|done| println!("{done} of {} bytes", bread.size)).await?;
//!
//! // An upload with progress.
//! let sent = drive.upload(&local, &folder, "Bread again.md", &How::default(), &|_| {}).await?;
//! assert_eq!(sent.item().size, bread.size);
//! drive.delete(sent.item()).await?;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "demo"))]
//! # fn main() {}
//! ```

mod account;
pub mod down;
mod error;
mod fetch_folder;
pub mod object;
pub mod partial;
mod send_folder;
pub mod target;
mod tree;
pub mod up;

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream, TryStreamExt as _};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::base::clock::Clock;
use crate::base::ids::ItemId;
use crate::base::private;
use crate::remote::extras::{Seen, SpecialFolder};
use crate::remote::kept::{Room, Weigh as _};
use crate::remote::stack::Opened;
use crate::remote::{
    Advice, At, DriveIdentity, Extras, Item, ItemKind, Link, Patch, Precondition, Quota, RemoteErrorKind, RemoteResult,
    SharedRemote, list_all,
};

pub use account::{Account, vault};
pub use error::{DriveError, DriveResult, shown};
pub use fetch_folder::{FolderDownload, local_name};
pub use partial::Unfinished;
pub use send_folder::{FolderUpload, own_name};
pub use target::{Meaning, Taken, View};
pub use tree::Branch;
pub use up::{How, Parcel, Sent};

/// Called with the number of bytes of one transfer that are done: never less than before, except where the service lost
/// some, and never more than the size.
pub type Watch<'a> = &'a (dyn Fn(u64) + Sync);

/// What happens to one file of many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// It begins, and has so many bytes.
    Begins(u64),
    /// So many bytes are done.
    At(u64),
    /// It is complete.
    Done,
    /// It ends without having been transferred: it failed, or was there already.
    Ends,
}

/// Called for each file of many, by its local path.
pub type WatchMany<'a> = &'a (dyn Fn(&Path, Stage) + Sync);

/// How often a listing is begun whose pages do not fit together any more because the folder changes meanwhile.
const LISTINGS: u32 = 4;

/// How the service spells the ids that people have in scripts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ids {
    /// Ids of Graph; those of the old service lead to the same objects.
    Graph,
    /// Ids of Live v5.0, also in their short form and with other zeros than the service writes.
    Live,
}

/// An open drive. Cheap to make; opening one touches no network.
pub struct Drive {
    /// The service, one method a request.
    pub remote: SharedRemote,
    /// What the service can do beyond a file system.
    pub extras: Arc<dyn Extras>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    ids: Ids,
    /// Where uploads that were broken off are remembered.
    unfinished: Option<Unfinished>,
    /// Where content waits whose size is not known yet.
    spool: PathBuf,
    identity: OnceCell<DriveIdentity>,
}

impl Drive {
    /// A drive over a remote. Uploads that break off are not remembered beyond the call; [`Drive::remembering`] changes
    /// that.
    pub fn new(opened: &Opened, clock: Arc<dyn Clock>, ids: Ids) -> Self {
        let (remote, extras) = (opened.remote.clone(), opened.extras.clone());
        Self { remote, extras, clock, ids, unfinished: None, spool: std::env::temp_dir(), identity: OnceCell::new() }
    }

    /// Remembers uploads that break off in the folder `state`, and keeps content whose size is not known yet in the
    /// folder `spool`. Both are made when needed, closed to other users.
    #[must_use]
    pub fn remembering(mut self, state: PathBuf, spool: PathBuf) -> Self {
        self.unfinished = Some(Unfinished::new(state));
        self.spool = spool;
        self
    }

    /// Which drive this is; asked once.
    ///
    /// # Errors
    /// As [`crate::remote::Remote::identity`].
    pub async fn identity(&self) -> DriveResult<&DriveIdentity> {
        Ok(self.identity.get_or_try_init(|| self.remote.identity()).await?)
    }

    /// The root folder.
    ///
    /// # Errors
    /// As every call to the cloud.
    pub async fn root(&self) -> DriveResult<Item> {
        let id = self.identity().await?.root.clone();
        Ok(self.remote.stat(At::Id(&id)).await?)
    }

    /// The object that a text means, taken by its look: a path, an id of any form, or a special path such as
    /// `me/skydrive/camera_roll`. An empty text is the root folder.
    ///
    /// # Errors
    /// [`DriveError::NoSuchPath`], [`DriveError::NoSuchId`]; as every call to the cloud.
    pub async fn find(&self, text: &str) -> DriveResult<Item> {
        self.find_as(text, Taken::Guess).await
    }

    /// As [`Drive::find`], with the text taken as said.
    ///
    /// # Errors
    /// As [`Drive::find`].
    pub async fn find_as(&self, text: &str, taken: Taken) -> DriveResult<Item> {
        let (special, names) = match target::meaning(text, taken) {
            Meaning::Root => return self.root().await,
            Meaning::Id(id) => match target::root_of(&id).filter(|_| taken == Taken::Guess) {
                // A name as well as the root of some drive, and only Live may know of drives beside this one.
                Some(drive) if drive != self.identity().await?.drive => {
                    return match self.walk(text, None, &target::names(text)).await {
                        Err(DriveError::NoSuchPath { .. }) if self.ids == Ids::Live => self.find_id(&id).await,
                        found => found,
                    };
                }
                _ => return self.find_id(&id).await,
            },
            Meaning::View(view) => return Err(DriveError::NoObject(view)),
            Meaning::Listing(special) => (special, Vec::new()),
            Meaning::Names { special, names } => (special, names),
        };
        self.walk(text, special, &names).await
    }

    /// As [`Drive::find_as`], for what is to be changed: a path that lists a folder does not mean the folder then.
    ///
    /// # Errors
    /// As [`Drive::find`].
    pub async fn find_to_change(&self, text: &str, taken: Taken) -> DriveResult<Item> {
        match target::meaning(text, taken) {
            Meaning::Listing(special) => self.walk(text, special, &[target::LISTING.to_owned()]).await,
            _ => self.find_as(text, taken).await,
        }
    }

    /// From a special folder, or the root, from name to name.
    async fn walk(&self, text: &str, start: Option<SpecialFolder>, names: &[String]) -> DriveResult<Item> {
        let mut found = match start {
            Some(special) => self.ask(async |extras| extras.special(special).await).await?,
            None => self.root().await?,
        };
        for (depth, name) in names.iter().enumerate() {
            found = self.child(&found, name).await?.ok_or_else(|| {
                let missing = names[..=depth].join("/");
                let last = depth + 1 == names.len();
                DriveError::NoSuchPath { wanted: if last { missing.clone() } else { text.to_owned() }, missing }
            })?;
        }
        Ok(found)
    }

    /// The folder that a text means.
    ///
    /// # Errors
    /// As [`Drive::find`]; [`DriveError::NotAFolder`].
    pub async fn find_folder(&self, text: &str, taken: Taken) -> DriveResult<Item> {
        let found = self.find_as(text, taken).await?;
        if is_folder(&found) { Ok(found) } else { Err(DriveError::NotAFolder(Box::new(found))) }
    }

    async fn find_id(&self, text: &str) -> DriveResult<Item> {
        let identity = self.identity().await?;
        let ids = match (self.ids, target::root_of(text)) {
            (Ids::Graph, Some(drive)) if drive == identity.drive => vec![identity.root.clone()],
            (Ids::Graph, Some(_)) => Vec::new(),
            (Ids::Graph, None) => vec![ItemId::new(&identity.drive, target::on_graph(text))],
            (Ids::Live, _) => target::on_live(text).into_iter().map(|id| ItemId::new(&identity.drive, id)).collect(),
        };
        for id in ids {
            match self.remote.stat(At::Id(&id)).await {
                Err(error) if error.kind == RemoteErrorKind::NotFound => {}
                found => return Ok(found?),
            }
        }
        Err(DriveError::NoSuchId(text.to_owned()))
    }

    /// The child of a folder by its name, compared as the service does.
    ///
    /// # Errors
    /// As every call to the cloud; that there is none is no error.
    pub async fn child(&self, folder: &Item, name: &str) -> DriveResult<Option<Item>> {
        match self.remote.stat(At::Child(target_of(folder), name)).await {
            Ok(item) => Ok(Some(item)),
            Err(error) if error.kind == RemoteErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A folder's children as they arrive, page by page, each once, in the order of the service. An error ends it: until
    /// the stream has ended without one, the listing is not complete.
    pub fn list<'a>(&'a self, folder: &'a Item) -> impl Stream<Item = DriveResult<Item>> + 'a {
        enum Next {
            Page { from: Option<Link>, attempts: u32 },
            End,
        }
        let first = Next::Page { from: None, attempts: 1 };
        let pages = stream::try_unfold(first, move |next| async move {
            let Next::Page { from, attempts } = next else { return Ok::<_, DriveError>(None) };
            let page = match self.remote.list(target_of(folder), from.as_ref()).await {
                Ok(page) => page,
                // The pages do not fit together any more. What comes twice by that is left out below.
                Err(error) if error.advice == Advice::Resync && attempts < LISTINGS => {
                    let again = Next::Page { from: None, attempts: attempts + 1 };
                    return Ok(Some((stream::iter(Vec::new()), again)));
                }
                Err(error) => return Err(error.into()),
            };
            if page.next.is_some() && page.next == from {
                return Err(DriveError::Endless);
            }
            let next = page.next.map_or(Next::End, |link| Next::Page { from: Some(link), attempts });
            let items: Vec<DriveResult<Item>> = page.items.into_iter().map(Ok).collect();
            Ok(Some((stream::iter(items), next)))
        });
        let mut seen = HashSet::new();
        pages.try_flatten().try_filter(move |item| std::future::ready(seen.insert(item.id.clone())))
    }

    /// A folder's children in the order of their names' code points, duplicates of a name kept. `whole` asks for
    /// everything that the service says of each; else it is what a file system needs.
    ///
    /// # Errors
    /// As every call to the cloud; a listing is complete or not there.
    pub async fn children(&self, folder: &Item, whole: bool) -> DriveResult<Vec<Seen>> {
        let id = target_of(folder);
        let mut found = if whole {
            self.look_into(id).await?
        } else {
            let items = list_all(&*self.remote, id).await?;
            items.into_iter().map(|item| Seen { object: object::of_item(&item), item }).collect()
        };
        found.sort_by(|a, b| a.item.name.cmp(&b.item.name).then_with(|| a.item.id.cmp(&b.item.id)));
        Ok(found)
    }

    async fn look_into(&self, folder: &ItemId) -> DriveResult<Vec<Seen>> {
        for _ in 1..LISTINGS {
            match self.look_into_once(folder).await {
                Err(DriveError::Remote(error)) if error.advice == Advice::Resync => {}
                listed => return listed,
            }
        }
        self.look_into_once(folder).await
    }

    async fn look_into_once(&self, folder: &ItemId) -> DriveResult<Vec<Seen>> {
        const MAX_PAGES: usize = 20_000;
        let (mut found, mut from) = (HashMap::new(), None::<Link>);
        let mut room = Room::default();
        for _ in 0..MAX_PAGES {
            let page = self.ask(async |extras| extras.look_into(folder, from.as_ref()).await).await?;
            if !room.takes(page.items.iter().map(|seen| 2 * seen.item.weight() + seen.object.weight()).sum()) {
                break;
            }
            found.extend(page.items.into_iter().map(|seen| (seen.item.id.clone(), seen)));
            from = page.next;
            if from.is_none() {
                return Ok(found.into_values().collect());
            }
        }
        Err(DriveError::Endless)
    }

    /// Everything below a folder. Shortcuts to folders elsewhere are followed, each folder once: two that lead to each
    /// other do not make the tree endless. `whole` as in [`Drive::children`].
    ///
    /// # Errors
    /// As every call to the cloud; a tree is whole or not there.
    pub async fn tree(&self, folder: Item, whole: bool) -> DriveResult<Branch> {
        tree::of(self, folder, whole).await
    }

    /// Everything that the service says of an object, under the old service's keys.
    ///
    /// # Errors
    /// As every call to the cloud.
    pub async fn look(&self, item: &Item) -> DriveResult<Value> {
        Ok(self.ask(async |extras| extras.look(At::Id(&item.id)).await).await?.object)
    }

    /// What the old service tells at a path of its own: lists of objects, and the space in bytes as `quota` and
    /// `available`.
    ///
    /// # Errors
    /// As every call to the cloud.
    pub async fn view(&self, view: View) -> DriveResult<Value> {
        match view {
            View::Shared => Ok(Value::Array(self.ask(async |extras| extras.shared().await).await?)),
            View::Recent => Ok(Value::Array(self.ask(async |extras| extras.recent().await).await?)),
            View::Quota => {
                let quota = self.quota().await?;
                Ok(json!({"quota": quota.total, "available": quota.remaining}))
            }
        }
    }

    /// The space of the drive.
    ///
    /// # Errors
    /// As every call to the cloud.
    pub async fn quota(&self) -> DriveResult<Quota> {
        Ok(self.remote.quota().await?)
    }

    /// Asks for something that is harmless to ask for again: does so a few times if the service has a bad moment.
    ///
    /// # Errors
    /// As every call to the cloud.
    pub async fn ask<T>(&self, call: impl AsyncFn(&dyn Extras) -> RemoteResult<T>) -> DriveResult<T> {
        const TRIES: u32 = 4;
        const LONGEST: Duration = Duration::from_secs(30);
        let mut pause = Duration::from_millis(500);
        for _ in 1..TRIES {
            match call(&*self.extras).await {
                Ok(found) => return Ok(found),
                Err(error) => match error.advice {
                    Advice::Retry | Advice::VerifyThenRetry if error.kind != RemoteErrorKind::Offline => {
                        self.clock.sleep(pause).await;
                        pause *= 2;
                    }
                    Advice::RetryAfter(wait) if wait <= LONGEST => self.clock.sleep(wait).await,
                    _ => return Err(error.into()),
                },
            }
        }
        Ok(call(&*self.extras).await?)
    }

    /// Brings a whole file to `path`. The old file stays until the new one is complete; then it is replaced in one step,
    /// and the new one is durable. Asked for again after it was broken off, it goes on where it ended.
    ///
    /// # Errors
    /// [`DriveError::NotAFile`], [`DriveError::Local`]; [`RemoteErrorKind::Changed`] if the file changes on the way; as
    /// every call to the cloud. What has arrived is kept for the next try.
    pub async fn download(&self, item: &Item, path: &Path, watch: Watch<'_>) -> DriveResult<()> {
        down::to_file(&*self.remote, &*self.clock, item, path, watch).await
    }

    /// Brings a range of a file to a local file, which is replaced when all of it is there.
    ///
    /// # Errors
    /// As [`Drive::download`].
    pub async fn download_range(
        &self,
        item: &Item,
        range: Range<u64>,
        path: &Path,
        watch: Watch<'_>,
    ) -> DriveResult<()> {
        down::range_to_file(&*self.remote, &*self.clock, item, range, path, watch).await
    }

    /// Hands a range of a file on as it arrives, in order, each byte once. Returns where it ended.
    ///
    /// # Errors
    /// As [`Drive::download`]; [`DriveError::Sink`].
    pub async fn read_to(&self, item: &Item, range: Range<u64>, sink: &mut (dyn Write + Send)) -> DriveResult<u64> {
        let mut hand_on = |bytes: &[u8]| sink.write_all(bytes).map_err(DriveError::Sink);
        down::fetch(&*self.remote, &*self.clock, item, range, &mut hand_on).await
    }

    /// Sends a local file. It is in the cloud on return, whole. Asked for again after it was broken off, it goes on
    /// where it ended, if the drive is [`Drive::remembering`].
    ///
    /// # Errors
    /// [`DriveError::Exists`] with [`How::no_overwrite`]; [`DriveError::LocalChanged`]; [`DriveError::Local`]; as every
    /// call to the cloud.
    pub async fn upload(
        &self,
        path: &Path,
        folder: &Item,
        name: &str,
        how: &How,
        watch: Watch<'_>,
    ) -> DriveResult<Sent> {
        let parcel = Parcel { path, folder, name, skip_same: false, unfinished: self.unfinished.as_ref() };
        up::send(&*self.remote, &*self.clock, &parcel, how, watch).await
    }

    /// Sends what `source` gives, which is kept on disk first, because the service wants to know the size before the
    /// content.
    ///
    /// # Errors
    /// As [`Drive::upload`].
    pub async fn upload_from(
        &self,
        source: &mut dyn Read,
        folder: &Item,
        name: &str,
        how: &How,
        watch: Watch<'_>,
    ) -> DriveResult<Sent> {
        let failed = |error: io::Error| DriveError::local("keep the input in", &self.spool, error);
        if self.spool != std::env::temp_dir() {
            private::folder(&self.spool).map_err(failed)?;
        }
        let mut file = tempfile::Builder::new().prefix(".stdin-").tempfile_in(&self.spool).map_err(failed)?;
        io::copy(source, &mut file).map_err(failed)?;
        let parcel = Parcel { path: file.path(), folder, name, skip_same: false, unfinished: None };
        up::send(&*self.remote, &*self.clock, &parcel, how, watch).await
    }

    /// Makes a folder.
    ///
    /// # Errors
    /// [`DriveError::Exists`]; as every call to the cloud.
    pub async fn make_folder(&self, parent: &Item, name: &str) -> DriveResult<Item> {
        self.remote.make_folder(target_of(parent), name).await.map_err(|error| match error.kind {
            RemoteErrorKind::Exists => DriveError::Exists { name: name.to_owned(), folder: Box::new(parent.clone()) },
            _ => error.into(),
        })
    }

    /// The folder of this name, made if it is missing.
    ///
    /// # Errors
    /// [`DriveError::NoFolderOfThatName`]; as every call to the cloud.
    pub async fn ensure_folder(&self, parent: &Item, name: &str) -> DriveResult<Item> {
        match self.make_folder(parent, name).await {
            Err(DriveError::Exists { name, folder }) => match self.child(&folder, &name).await? {
                Some(found) if is_folder(&found) => Ok(found),
                _ => Err(DriveError::NoFolderOfThatName { name, folder }),
            },
            made => made,
        }
    }

    /// Deletes an object, a folder with everything in it. The service keeps it in its recycle bin for a while.
    ///
    /// # Errors
    /// [`DriveError::Root`]; as every call to the cloud. That it is gone already is no error.
    pub async fn delete(&self, item: &Item) -> DriveResult<()> {
        if item.parent.is_none() {
            return Err(DriveError::Root { moved: false });
        }
        Ok(self.remote.delete(&item.id, &Precondition::None).await?)
    }

    /// Moves an object into a folder, renames it, or both. `None` if it is there under that name already.
    ///
    /// # Errors
    /// [`DriveError::Root`], [`DriveError::Exists`]; as every call to the cloud.
    pub async fn relocate(&self, item: &Item, folder: Option<&Item>, name: Option<&str>) -> DriveResult<Option<Item>> {
        if item.parent.is_none() {
            return Err(DriveError::Root { moved: true });
        }
        let parent = folder.map(|folder| target_of(folder).clone());
        let patch = Patch {
            name: name.map(str::to_owned),
            parent: parent.filter(|parent| item.parent.as_ref() != Some(parent)),
            modified: None,
        };
        if patch == Patch::default() {
            return Ok(None);
        }
        match self.remote.change(&item.id, &patch, &Precondition::None).await {
            Ok(moved) => Ok(Some(moved)),
            Err(error) => Err(match (error.kind, folder) {
                (RemoteErrorKind::Exists, Some(folder)) => {
                    DriveError::Exists { name: name.unwrap_or(&item.name).to_owned(), folder: Box::new(folder.clone()) }
                }
                _ => error.into(),
            }),
        }
    }

    /// Copies an object, folders with everything in them, into a folder, under a new name if one is given. The copy is
    /// there on return; no content goes through this machine.
    ///
    /// # Errors
    /// [`DriveError::Exists`]; as every call to the cloud.
    pub async fn copy(&self, item: &Item, folder: &Item, name: Option<&str>) -> DriveResult<Item> {
        let name_or_own = name.unwrap_or(&item.name);
        match self.extras.copy(&item.id, target_of(folder), name).await {
            Err(error) if error.kind == RemoteErrorKind::Exists => {
                Err(DriveError::Exists { name: name_or_own.to_owned(), folder: Box::new(folder.clone()) })
            }
            copied => Ok(copied?),
        }
    }
}

/// Whether an object has children that can be listed.
pub fn is_folder(item: &Item) -> bool {
    item.kind == ItemKind::Folder || item.link_to.is_some()
}

/// The folder that really holds the children: what a shortcut leads to, else itself.
pub fn target_of(folder: &Item) -> &ItemId {
    folder.link_to.as_ref().unwrap_or(&folder.id)
}
