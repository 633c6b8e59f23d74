//! The model of one drive: items, their tree, their change log.
//!
//! What is always true: an item's number never changes and is never used again; the children of a
//! folder are sorted by folded name, without equal neighbours unless [`Drive::add_beside`] made them; `log[item.changed]` is the item, and
//! every older log entry of it is void, so that reading the log forward gives each item once, in its
//! latest state; a folder's `bytes` is the sum of the live files below it.
//!
//! Nothing here knows HTTP. Refusals are named; the layer above gives them a status and a code.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::Flavour;
use super::content::Content;
use super::face::Face;
use super::ident::{Identity, Index, ROOT};
use super::names::{self, Refused};
use crate::base::clock::Timestamp;

/// Why the drive does not do what it was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DriveError {
    /// There is no such item.
    Missing,
    /// The name is taken.
    Taken,
    /// The name is not one the service stores.
    Name(Refused),
    /// The path would exceed the limit.
    PathLong,
    /// A folder was needed.
    NotFolder,
    /// A file was needed.
    NotFile,
    /// The root cannot be changed this way.
    Root,
    /// A folder cannot move into itself.
    Cycle,
    /// Somebody has the file open elsewhere.
    Locked,
    /// The drive is full.
    Full,
    /// A policy forbids to delete a folder with content.
    Held,
}

/// What to do when a name is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Conflict {
    Fail,
    Replace,
    Rename,
}

/// The times that clients set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ClientTimes {
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
}

/// What an item is.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    File(Content),
    Folder(Box<Folder>),
    /// A OneNote notebook: neither file nor folder.
    Package,
    /// An album: lists files that live elsewhere.
    Bundle,
    /// Something nobody can read through the API, like the personal vault.
    Opaque,
    /// A shortcut to an item of another drive of the same emulator.
    Shortcut(Box<Shortcut>),
}

/// What a folder adds to an item.
#[derive(Clone, Debug, Default)]
pub(crate) struct Folder {
    pub(crate) children: Vec<Index>,
    pub(crate) bytes: u64,
}

/// Where a shortcut leads.
#[derive(Clone, Debug)]
pub(crate) struct Shortcut {
    pub(crate) drive: usize,
    pub(crate) item: Index,
}

/// A former state of a file's content.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) number: u32,
    /// The content tag's number while this was current.
    pub(crate) ctag: u32,
    pub(crate) content: Content,
    pub(crate) modified: Timestamp,
}

/// What few items have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extras {
    pub(crate) versions: Vec<Version>,
    pub(crate) locked: bool,
    pub(crate) malware: bool,
    pub(crate) description: Option<String>,
    pub(crate) special: Option<&'static str>,
    /// A metadata size that differs from the content's, as with images from phones.
    pub(crate) claimed_size: Option<u64>,
    pub(crate) permissions: Vec<Permission>,
    /// What people wrote about it; Live Connect only.
    pub(crate) comments: Vec<Comment>,
    /// Whether nobody may write about it.
    pub(crate) comments_off: bool,
    /// Whether Live Connect calls this folder an album.
    pub(crate) album: bool,
    /// How Live Connect is to sort this folder.
    pub(crate) sort_by: Option<&'static str>,
    /// What Live Connect was told of a piece of music: title, artist and so on.
    pub(crate) tags: BTreeMap<&'static str, String>,
}

/// What somebody wrote about an item.
#[derive(Clone, Debug)]
pub(crate) struct Comment {
    pub(crate) id: u64,
    pub(crate) text: String,
    pub(crate) created: Timestamp,
}

/// Somebody's access to an item.
#[derive(Clone, Debug)]
pub(crate) struct Permission {
    pub(crate) id: String,
    pub(crate) role: &'static str,
    pub(crate) link: Option<(String, String, String)>,
    pub(crate) invited: Option<String>,
}

/// One item, compactly: a million of them are to cost about 100 MB.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// `None`: the name is generated from the item's number.
    pub(crate) name: Option<Box<str>>,
    pub(crate) body: Body,
    pub(crate) parent: Index,
    pub(crate) changed: u32,
    /// Changes of any kind, and changes of content: the numbers inside the tags.
    pub(crate) etag: u32,
    pub(crate) ctag: u32,
    /// Zero while the item lives, else the number of the deletion that took it.
    pub(crate) deletion: u32,
    pub(crate) times: ClientTimes,
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
    pub(crate) extras: Option<Box<Extras>>,
}

/// How fresh changes are hidden from readers for a while, as the service's replicas do.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadLag {
    /// A new item is not found by id for this long.
    pub by_id: Duration,
    /// A new item is not found by path for this long.
    pub by_path: Duration,
    /// A new item does not appear in its folder's listing for this long.
    pub children: Duration,
    /// A changed item is shown by id, and in its folder's listing, as it was before for this long. Writes, and the
    /// preconditions they carry, meet what is true.
    pub states: Duration,
}

impl ReadLag {
    /// Whoever reads in whatever way is behind for this long.
    pub fn everywhere(lag: Duration) -> Self {
        Self { by_id: lag, by_path: lag, children: lag, states: lag }
    }
}

/// How delta behaves beyond its plain rules.
#[derive(Clone, Debug)]
pub struct DeltaBehaviour {
    /// How long a change stays invisible to delta.
    pub lag: Duration,
    /// Every n-th item is repeated on its page, and the last one of a page on the next; zero for never.
    pub repeat_every: usize,
    /// Order inside a page is shuffled with this seed.
    pub shuffle: Option<u64>,
    /// An empty page with a next link comes before every n-th page; zero for never.
    pub empty_page_every: u32,
    /// Changed items are accompanied by their ancestors up to the root.
    pub ancestors: bool,
    /// The next link of the second page leads back to the first: a bug the service has had.
    pub loops: bool,
    /// Pages from this number on give 404.
    pub missing_from_page: Option<u32>,
}

impl Default for DeltaBehaviour {
    fn default() -> Self {
        Self {
            lag: Duration::ZERO,
            repeat_every: 0,
            shuffle: None,
            empty_page_every: 0,
            ancestors: true,
            loops: false,
            missing_from_page: None,
        }
    }
}

/// How an expired delta token is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resync {
    /// 410 with a Location to start over, inner code `resyncChangesApplyDifferences`.
    ApplyDifferences,
    /// The same with inner code `resyncChangesUploadDifferences`.
    UploadDifferences,
    /// 410 without a Location.
    WithoutLocation,
}

/// One drive.
pub(crate) struct Drive {
    pub(crate) identity: Arc<Identity>,
    pub(crate) owner: String,
    pub(crate) items: Vec<Item>,
    /// Item numbers in order of change.
    pub(crate) log: Vec<Index>,
    /// From which log position on a time applies; sparse.
    pub(crate) log_times: Vec<(u32, Timestamp)>,
    pub(crate) used: u64,
    pub(crate) total: u64,
    pub(crate) deleted_bytes: u64,
    /// The roots of deletions, newest last.
    pub(crate) recycle_bin: Vec<Index>,
    pub(crate) deletions: u32,
    pub(crate) delta: DeltaBehaviour,
    pub(crate) read_lag: ReadLag,
    /// When reading began to lag.
    pub(crate) read_lag_since: Timestamp,
    /// Delta tokens of an older generation give 410.
    pub(crate) token_generation: u32,
    pub(crate) resync: Resync,
    /// States that a lagging delta still shows, by the log position they had.
    pub(crate) stale: HashMap<u32, (Face<'static>, u32)>,
    /// Moves between folders: log position, item, the folder it left.
    pub(crate) moves: Vec<(u32, Index, Index)>,
    /// The next so many deletions never appear in delta.
    pub(crate) tombstones_to_lose: u32,
    pub(crate) rename_replaces: bool,
    /// Whether the service's own time of an item moves when it is renamed or moved.
    pub(crate) renames_touch: bool,
}

impl Drive {
    /// An empty drive.
    pub(crate) fn new(flavour: Flavour, seed: u64, owner: &str, total: u64, now: Timestamp) -> Self {
        let root = Item {
            name: Some("root".into()),
            body: Body::Folder(Box::default()),
            parent: ROOT,
            changed: 0,
            etag: 1,
            ctag: 1,
            deletion: 0,
            times: ClientTimes { created: now, modified: now },
            created: now,
            modified: now,
            extras: None,
        };
        Self {
            identity: Arc::new(Identity::new(flavour, seed)),
            owner: owner.to_owned(),
            items: vec![root],
            log: vec![ROOT],
            log_times: vec![(0, now)],
            used: 0,
            total,
            deleted_bytes: 0,
            recycle_bin: Vec::new(),
            deletions: 0,
            delta: DeltaBehaviour::default(),
            read_lag: ReadLag::default(),
            read_lag_since: Timestamp(0),
            token_generation: 0,
            resync: Resync::ApplyDifferences,
            stale: HashMap::new(),
            moves: Vec::new(),
            tombstones_to_lose: 0,
            rename_replaces: true,
            renames_touch: true,
        }
    }

    pub(crate) fn flavour(&self) -> Flavour {
        self.identity.flavour()
    }

    /// A time as this kind of drive keeps it: whole seconds, or milliseconds on the legacy kind.
    pub(crate) fn kept(&self, time: Timestamp) -> Timestamp {
        let grain = if self.flavour() == Flavour::PersonalOld { 1_000_000 } else { 1_000_000_000 };
        Timestamp(time.0.div_euclid(grain) * grain)
    }

    /// A live item.
    pub(crate) fn item(&self, index: Index) -> Result<&Item, DriveError> {
        match self.items.get(index as usize) {
            Some(item) if item.deletion == 0 => Ok(item),
            _ => Err(DriveError::Missing),
        }
    }

    pub(crate) fn item_mut(&mut self, index: Index) -> Result<&mut Item, DriveError> {
        match self.items.get_mut(index as usize) {
            Some(item) if item.deletion == 0 => Ok(item),
            _ => Err(DriveError::Missing),
        }
    }

    pub(crate) fn folder(&self, index: Index) -> Result<&Folder, DriveError> {
        match &self.item(index)?.body {
            Body::Folder(folder) => Ok(folder),
            _ => Err(DriveError::NotFolder),
        }
    }

    pub(crate) fn content(&self, index: Index) -> Result<&Content, DriveError> {
        match &self.item(index)?.body {
            Body::File(content) => Ok(content),
            _ => Err(DriveError::NotFile),
        }
    }

    /// The item's extras, made when it has none.
    pub(crate) fn extras_mut(&mut self, index: Index) -> Result<&mut Extras, DriveError> {
        Ok(self.item_mut(index)?.extras.get_or_insert_default())
    }

    /// An item's name, live or not.
    pub(crate) fn name(&self, index: Index) -> Cow<'_, str> {
        match self.items.get(index as usize) {
            Some(Item { name: Some(name), .. }) => Cow::Borrowed(name),
            Some(item) => Cow::Owned(super::demo::generated_name(index, matches!(item.body, Body::Folder(_)))),
            None => Cow::Borrowed(""),
        }
    }

    /// The place of a name among a folder's children: `Ok` where it is, `Err` where it would go.
    pub(crate) fn place(&self, folder: &Folder, name: &str) -> Result<usize, usize> {
        let flavour = self.flavour();
        folder.children.binary_search_by(|&child| names::compare(&self.name(child), name, flavour))
    }

    /// The child of that name, in any case.
    pub(crate) fn child(&self, parent: Index, name: &str) -> Result<Option<Index>, DriveError> {
        let folder = self.folder(parent)?;
        Ok(self.place(folder, name).ok().map(|at| folder.children[at]))
    }

    /// Follows decoded names downwards.
    pub(crate) fn walk<'n>(&self, from: Index, path: impl IntoIterator<Item = &'n str>) -> Result<Index, DriveError> {
        let mut at = from;
        self.item(at)?;
        for name in path {
            at = match self.child(at, name) {
                Ok(Some(child)) => child,
                Ok(None) | Err(DriveError::NotFolder) => return Err(DriveError::Missing),
                Err(other) => return Err(other),
            };
        }
        Ok(at)
    }

    /// The item's ancestors, nearest first, the root last. Empty for the root.
    pub(crate) fn ancestors(&self, index: Index) -> Vec<Index> {
        let mut out = Vec::new();
        let mut at = index;
        while at != ROOT {
            at = self.items[at as usize].parent;
            out.push(at);
        }
        out
    }

    /// The names from below the root down to the item.
    pub(crate) fn path(&self, index: Index) -> Vec<Cow<'_, str>> {
        let mut out: Vec<_> =
            std::iter::once(index).chain(self.ancestors(index)).filter(|&i| i != ROOT).map(|i| self.name(i)).collect();
        out.reverse();
        out
    }

    /// The items of a subtree, parents first, the top included.
    pub(crate) fn subtree(&self, top: Index) -> Vec<Index> {
        let mut out = vec![top];
        let mut next = 0;
        while let Some(&index) = out.get(next) {
            next += 1;
            if let Body::Folder(folder) = &self.items[index as usize].body {
                out.extend_from_slice(&folder.children);
            }
        }
        out
    }

    /// Whether a new item is still hidden by a lag. What was there when reading began to lag has been seen.
    pub(crate) fn hidden(&self, index: Index, lag: Duration, now: Timestamp) -> bool {
        let created = self.items[index as usize].created;
        !lag.is_zero() && created.plus(lag) > now && created >= self.read_lag_since
    }

    /// Notes a change of the item: new eTag, new place in the log.
    pub(crate) fn touch(&mut self, index: Index, now: Timestamp) {
        self.items[index as usize].etag += 1;
        self.relog(index, now);
    }

    /// Gives the item a new place in the log without a new eTag.
    pub(crate) fn relog(&mut self, index: Index, now: Timestamp) {
        let position = self.log.len() as u32;
        self.log.push(index);
        self.note_time(position, now);
        self.items[index as usize].changed = position;
    }

    /// Keeps the item's present state for a delta that lags; to be called before it changes.
    pub(crate) fn keep_stale(&mut self, index: Index) {
        if !self.delta.lag.is_zero() || !self.read_lag.states.is_zero() {
            let face = Face::of(self, index).into_owned();
            let successor = self.log.len() as u32;
            self.stale.insert(self.items[index as usize].changed, (face, successor));
        }
    }

    /// What readers see of a living item while replicas lag.
    pub(crate) fn seen(&self, index: Index, now: Timestamp) -> Face<'static> {
        let lag = self.read_lag.states;
        let then = Timestamp(now.0.saturating_sub(lag.as_nanos() as i64));
        let former = self
            .stale
            .iter()
            .filter(|(_, (face, successor))| face.index == index && !face.deleted && self.time_of(*successor) > then)
            .min_by_key(|(position, _)| **position);
        match former {
            Some((_, (face, _))) if !lag.is_zero() => face.clone(),
            _ => Face::of(self, index).into_owned(),
        }
    }

    /// When this place in the log was taken, or the one before it in the same moment.
    fn time_of(&self, position: u32) -> Timestamp {
        let at = self.log_times.partition_point(|&(first, _)| first <= position);
        self.log_times.get(at.saturating_sub(1)).map_or(Timestamp(0), |&(_, time)| time)
    }

    fn note_time(&mut self, position: u32, now: Timestamp) {
        match self.log_times.last() {
            // A clock that was set back must not make the list unsorted.
            Some(&(_, last)) if last >= now => {}
            _ => self.log_times.push((position, now)),
        }
    }

    /// The first log position that is not older than a time.
    pub(crate) fn position_at(&self, time: Timestamp) -> u32 {
        let at = self.log_times.partition_point(|&(_, since)| since <= time);
        self.log_times.get(at).map_or(self.log.len() as u32, |&(position, _)| position)
    }

    /// Adds to the byte sums of the item's ancestors and to the drive's, and on personal drives moves
    /// the ancestors' content tags.
    pub(crate) fn account(&mut self, index: Index, add: u64, remove: u64) {
        for ancestor in self.ancestors(index) {
            let item = &mut self.items[ancestor as usize];
            item.ctag = item.ctag.wrapping_add(1);
            if let Body::Folder(folder) = &mut item.body {
                folder.bytes = folder.bytes.saturating_add(add).saturating_sub(remove);
            }
        }
        self.used = self.used.saturating_add(add).saturating_sub(remove);
    }

    /// The bytes an item stands for: a file's size, a folder's sum.
    pub(crate) fn weight(&self, index: Index) -> u64 {
        match &self.items[index as usize].body {
            Body::File(content) => content.size(),
            Body::Folder(folder) => folder.bytes,
            _ => 0,
        }
    }

    /// Puts a child into its folder's sorted list.
    pub(crate) fn attach(&mut self, index: Index) {
        let parent = self.items[index as usize].parent;
        let name = self.name(index).into_owned();
        let Ok(folder) = self.folder(parent) else { return };
        let at = match self.place(folder, &name) {
            Ok(at) | Err(at) => at,
        };
        if let Body::Folder(folder) = &mut self.items[parent as usize].body {
            folder.children.insert(at, index);
        }
    }

    /// Takes a child out of its folder's list.
    pub(crate) fn detach(&mut self, index: Index) {
        let parent = self.items[index as usize].parent;
        let name = self.name(index).into_owned();
        let Ok(folder) = self.folder(parent) else { return };
        let at = self.place(folder, &name).ok().filter(|&at| folder.children[at] == index);
        // A child whose name collates oddly is still found, only slower.
        let at = at.or_else(|| folder.children.iter().position(|&child| child == index));
        if let (Some(at), Body::Folder(folder)) = (at, &mut self.items[parent as usize].body) {
            folder.children.remove(at);
        }
    }

    /// Whether `inner` is `outer` or lies below it.
    pub(crate) fn is_within(&self, inner: Index, outer: Index) -> bool {
        inner == outer || self.ancestors(inner).contains(&outer)
    }

    /// Checks that a name may be used below a parent: its characters, and the length of the path.
    pub(crate) fn check_name(&self, parent: Index, name: &str, folder: bool) -> Result<(), DriveError> {
        names::check(name, self.flavour(), folder, parent == ROOT).map_err(DriveError::Name)?;
        let above: usize = self.path(parent).iter().map(|part| names::units(part) + 1).sum();
        if above + names::units(name) > names::PATH_LIMIT { Err(DriveError::PathLong) } else { Ok(()) }
    }

    /// The order two live items have by time of modification, then by name.
    pub(crate) fn by_time(&self, a: Index, b: Index) -> Ordering {
        self.items[a as usize].modified.cmp(&self.items[b as usize].modified)
    }
}
