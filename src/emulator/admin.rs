//! The hands of a test: what another device does to the drive, and what the service's staff could.
//!
//! All of it is immediate and goes through the same rules as requests do. Paths are decoded, begin at
//! the root, and may or may not start with a slash. Methods panic on a test's own mistake (a parent
//! that is not a folder, a name the service refuses) with a text that says which.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::admin_live::{LiveHandle, id_of};
use super::content::Content;
use super::drive::{Body, ClientTimes, Conflict, DeltaBehaviour, Drive, DriveError, ReadLag, Resync, Shortcut};
use super::drive_ops::Relocation;
use super::face::{Face, Kind};
use super::ident::{Index, ROOT};
use super::world::{DriveCell, World, lock};
use crate::base::clock::Timestamp;

/// What an item looks like from outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ItemView {
    /// The public id.
    pub id: String,
    /// The name.
    pub name: String,
    /// Bytes; a folder's are those of all files below.
    pub size: u64,
    /// The eTag as sent.
    pub etag: String,
    /// The cTag as sent, also where the service would leave it out.
    pub ctag: String,
    /// The client's time of modification.
    pub mtime: Timestamp,
    /// The client's time of creation.
    pub crtime: Timestamp,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// The parent's id; `None` for the root.
    pub parent: Option<String>,
    /// QuickXorHash in base64; `None` for folders and empty files.
    pub hash: Option<String>,
}

/// An element of a whole tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Node {
    /// A folder.
    Folder,
    /// A file and its bytes.
    File(Vec<u8>),
}

/// One drive, as the other side of the tests sees it. Cheap to clone.
#[derive(Clone)]
pub struct DriveHandle {
    world: Arc<World>,
    cell: Arc<DriveCell>,
}

fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

impl DriveHandle {
    pub(crate) fn new(world: Arc<World>, cell: Arc<DriveCell>) -> Self {
        Self { world, cell }
    }

    fn now(&self) -> Timestamp {
        self.world.now()
    }

    fn find(drive: &Drive, path: &str) -> Option<Index> {
        drive.walk(ROOT, names(path)).ok()
    }

    fn expect(drive: &Drive, path: &str) -> Index {
        Self::find(drive, path).unwrap_or_else(|| panic!("the emulator's drive has no {path:?}"))
    }

    /// The drive's id in its own spelling.
    pub fn drive_id(&self) -> String {
        self.cell.identity.drive_id().to_owned()
    }

    pub(crate) fn number(&self) -> usize {
        self.cell.number
    }

    /// The item of an id in any of its spellings: Graph's, Live Connect's, and the short one of BITS.
    fn parse(&self, id: &str) -> Option<Index> {
        let identity = &self.cell.identity;
        identity.parse_item_id(id).or_else(|| identity.parse_resid(id)).or_else(|| {
            let (cell, index) = LiveHandle::find(&self.world, id)?;
            (cell.number == self.cell.number).then_some(index)
        })
    }

    /// The id that Live Connect gives the item at a path; of personal drives only.
    pub fn live_id(&self, path: &str) -> Option<String> {
        let drive = self.cell.lock();
        let index = Self::find(&drive, path)?;
        drive.flavour().is_personal().then(|| id_of(&self.cell, &drive, index))
    }

    /// Adds a file of a name that may be taken already; the Live era's drives allowed it. Returns its Live id.
    pub fn add_duplicate(&self, path: &str, bytes: impl Into<Vec<u8>>) -> String {
        let mut drive = self.cell.lock();
        let (parent, name) = self.parent_of(&mut drive, path);
        let made = drive.add_beside(parent, name, Content::from_bytes(bytes.into()), self.now());
        let index = made.unwrap_or_else(|error| panic!("cannot add {path:?}: {error:?}"));
        id_of(&self.cell, &drive, index)
    }

    /// Makes a folder an album, as Live Connect calls folders of photos.
    pub fn make_album(&self, path: &str) {
        self.extras(path, |extras| extras.album = true);
    }

    /// Lets nobody comment on a file.
    pub fn forbid_comments(&self, path: &str) {
        self.extras(path, |extras| extras.comments_off = true);
    }

    /// The id of the root.
    pub fn root_id(&self) -> String {
        self.cell.identity.item_id(ROOT)
    }

    /// The id of the item at a path.
    pub fn id(&self, path: &str) -> Option<String> {
        Self::find(&self.cell.lock(), path).map(|index| self.cell.identity.item_id(index))
    }

    fn parent_of<'p>(&self, drive: &mut Drive, path: &'p str) -> (Index, &'p str) {
        let mut parts: Vec<_> = names(path).collect();
        let name = parts.pop().unwrap_or_else(|| panic!("{path:?} names the root"));
        let now = self.now();
        let times = ClientTimes { created: now, modified: now };
        let mut parent = ROOT;
        for part in parts {
            let made = drive.make_folder(parent, part, Conflict::Replace, times, now);
            parent = made.unwrap_or_else(|error| panic!("cannot make {part:?} of {path:?}: {error:?}")).index;
        }
        (parent, name)
    }

    /// Creates a file that must not exist, with the folders on the way. Returns its id.
    pub fn create_file(&self, path: &str, bytes: impl Into<Vec<u8>>) -> String {
        self.put(path, Content::from_bytes(bytes.into()), Conflict::Fail)
    }

    /// Creates or replaces a file, with the folders on the way. Returns its id.
    pub fn write_file(&self, path: &str, bytes: impl Into<Vec<u8>>) -> String {
        self.put(path, Content::from_bytes(bytes.into()), Conflict::Replace)
    }

    /// Creates a file of made-up content that takes no memory. Returns its id.
    pub fn create_generated(&self, path: &str, seed: u64, size: u64) -> String {
        self.put(path, Content::Generated { seed, size }, Conflict::Fail)
    }

    fn put(&self, path: &str, content: Content, conflict: Conflict) -> String {
        let mut drive = self.cell.lock();
        let (parent, name) = self.parent_of(&mut drive, path);
        let now = self.now();
        let created = match drive.child(parent, name) {
            Ok(Some(index)) => drive.items[index as usize].times.created,
            _ => now,
        };
        let written = drive.write_named(parent, name, content, conflict, ClientTimes { created, modified: now }, now);
        let written = written.unwrap_or_else(|error| panic!("cannot write {path:?}: {error:?}"));
        drive.identity.item_id(written.index)
    }

    /// A file's bytes; `None` when there is no such file.
    pub fn read_file(&self, path: &str) -> Option<Vec<u8>> {
        let content = {
            let drive = self.cell.lock();
            drive.content(Self::find(&drive, path)?).ok()?.clone()
        };
        Some(content.to_vec())
    }

    /// Creates a folder and those on the way; an existing one stays. Returns its id.
    pub fn create_folder(&self, path: &str) -> String {
        let mut drive = self.cell.lock();
        let (parent, name) = self.parent_of(&mut drive, path);
        let now = self.now();
        let made = drive.make_folder(parent, name, Conflict::Replace, ClientTimes { created: now, modified: now }, now);
        let made = made.unwrap_or_else(|error| panic!("cannot make {path:?}: {error:?}"));
        drive.identity.item_id(made.index)
    }

    /// Renames or moves an item; nothing may be at the new path, its parent has to be there.
    pub fn rename(&self, path: &str, to: &str) {
        self.relocate(path, to).unwrap_or_else(|error| panic!("cannot rename {path:?} to {to:?}: {error:?}"));
    }

    fn relocate(&self, path: &str, to: &str) -> Result<(), DriveError> {
        let mut drive = self.cell.lock();
        let index = drive.walk(ROOT, names(path))?;
        let (parent, name) = Self::place(&drive, to)?;
        let place = Relocation { parent: Some(parent), name: Some(name.to_owned()) };
        drive.relocate(index, &place, Conflict::Fail, self.now()).map(drop)
    }

    /// The folder that a path leads to, and the last name in it, which may be free.
    fn place<'p>(drive: &Drive, path: &'p str) -> Result<(Index, &'p str), DriveError> {
        let mut parts: Vec<_> = names(path).collect();
        let name = parts.pop().unwrap_or_else(|| panic!("{path:?} names the root"));
        Ok((drive.walk(ROOT, parts)?, name))
    }

    /// What another device does that looks before it acts: writes a file whose folder is there. The content that was
    /// replaced (`Some(None)` if there was none), or `None` if the service refused.
    pub fn try_write(&self, path: &str, bytes: impl Into<Vec<u8>>) -> Option<Option<Vec<u8>>> {
        let mut drive = self.cell.lock();
        let (parent, name) = Self::place(&drive, path).ok()?;
        let before = match drive.child(parent, name).ok()? {
            Some(index) => Some(drive.content(index).ok()?.to_vec()),
            None => None,
        };
        let now = self.now();
        let times = ClientTimes { created: now, modified: now };
        let content = Content::from_bytes(bytes.into());
        drive.write_named(parent, name, content, Conflict::Replace, times, now).ok()?;
        Some(before)
    }

    /// The same for a new folder: whether it was made.
    pub fn try_create_folder(&self, path: &str) -> bool {
        let mut drive = self.cell.lock();
        let Ok((parent, name)) = Self::place(&drive, path) else { return false };
        let now = self.now();
        drive.make_folder(parent, name, Conflict::Fail, ClientTimes { created: now, modified: now }, now).is_ok()
    }

    /// The same for renaming or moving: whether it was done.
    pub fn try_rename(&self, path: &str, to: &str) -> bool {
        self.relocate(path, to).is_ok()
    }

    /// Deletes an item and all below it; the contents of the files that went with it, `None` if there was none or
    /// the service refused.
    pub fn try_remove(&self, path: &str) -> Option<Vec<Vec<u8>>> {
        let mut drive = self.cell.lock();
        let top = Self::find(&drive, path)?;
        let below = drive.subtree(top);
        let gone = below.into_iter().filter_map(|index| Some(drive.content(index).ok()?.to_vec())).collect();
        drive.remove(top, self.now()).ok()?;
        Some(gone)
    }

    /// Deletes an item and all below it. `false` when there is none.
    pub fn remove(&self, path: &str) -> bool {
        let mut drive = self.cell.lock();
        let Some(index) = Self::find(&drive, path) else { return false };
        match drive.remove(index, self.now()) {
            Ok(()) => true,
            Err(error) => panic!("cannot remove {path:?}: {error:?}"),
        }
    }

    /// Sets the client's times of an item.
    pub fn set_times(&self, path: &str, created: Timestamp, modified: Timestamp) {
        let mut drive = self.cell.lock();
        let index = Self::expect(&drive, path);
        let done = drive.set_times(index, ClientTimes { created, modified }, self.now());
        done.unwrap_or_else(|error| panic!("cannot set the times of {path:?}: {error:?}"));
    }

    /// Moves an item's tags although nothing else changes, as media processing does.
    pub fn drift(&self, path: &str) {
        let mut drive = self.cell.lock();
        let index = Self::expect(&drive, path);
        let _ = drive.drift(index, self.now());
    }

    fn view(drive: &Drive, index: Index) -> ItemView {
        let face = Face::of(drive, index);
        let identity = &drive.identity;
        let (is_folder, hash) = match &face.kind {
            Kind::Folder { .. } => (true, None),
            Kind::File { hash } => (false, hash.clone()),
            _ => (false, None),
        };
        ItemView {
            id: identity.item_id(index),
            name: face.name.to_string(),
            size: face.size,
            etag: identity.etag(index, face.etag),
            ctag: identity.ctag(index, face.ctag, is_folder),
            mtime: face.times.modified,
            crtime: face.times.created,
            is_folder,
            parent: face.parent.map(|parent| identity.item_id(parent)),
            hash,
        }
    }

    /// The item at a path.
    pub fn stat(&self, path: &str) -> Option<ItemView> {
        let drive = self.cell.lock();
        Self::find(&drive, path).map(|index| Self::view(&drive, index))
    }

    /// The live item with this id.
    pub fn stat_id(&self, id: &str) -> Option<ItemView> {
        let index = self.parse(id)?;
        let drive = self.cell.lock();
        drive.item(index).ok()?;
        Some(Self::view(&drive, index))
    }

    /// The bytes of the live file with this id.
    pub fn read_id(&self, id: &str) -> Option<Vec<u8>> {
        let content = {
            let index = self.parse(id)?;
            self.cell.lock().content(index).ok()?.clone()
        };
        Some(content.to_vec())
    }

    /// The path of the live item with this id, with a leading slash; `/` for the root.
    pub fn path_of(&self, id: &str) -> Option<String> {
        let index = self.parse(id)?;
        let drive = self.cell.lock();
        drive.item(index).ok()?;
        Some(format!("/{}", drive.path(index).join("/")))
    }

    /// The children of a folder in the order of names; empty when it is none.
    pub fn list(&self, path: &str) -> Vec<ItemView> {
        let drive = self.cell.lock();
        let children = Self::find(&drive, path).and_then(|index| drive.folder(index).ok()).map(|f| f.children.clone());
        children.unwrap_or_default().into_iter().map(|child| Self::view(&drive, child)).collect()
    }

    /// All files and folders below the root by path, with a leading slash.
    pub fn tree(&self) -> BTreeMap<String, Node> {
        let mut out = BTreeMap::new();
        let mut files = Vec::new();
        {
            let drive = self.cell.lock();
            let mut open = vec![(ROOT, String::new())];
            while let Some((index, path)) = open.pop() {
                let Ok(folder) = drive.folder(index) else { continue };
                for &child in &folder.children {
                    let path = format!("{path}/{}", drive.name(child));
                    match &drive.items[child as usize].body {
                        Body::Folder(_) => {
                            out.insert(path.clone(), Node::Folder);
                            open.push((child, path));
                        }
                        Body::File(content) => files.push((path, content.clone())),
                        _ => {}
                    }
                }
            }
        }
        // Bytes are copied after the lock is free.
        out.extend(files.into_iter().map(|(path, content)| (path, Node::File(content.to_vec()))));
        out
    }

    /// How many live items there are, the root included.
    pub fn count(&self) -> usize {
        self.cell.lock().items.iter().filter(|item| item.deletion == 0).count()
    }

    /// The bytes of each former version of a file, oldest first.
    pub fn versions(&self, path: &str) -> Vec<Vec<u8>> {
        let drive = self.cell.lock();
        let index = Self::expect(&drive, path);
        Self::former(&drive, index).collect()
    }

    /// The same of all files in the recycle bin, where a file's history goes with it.
    pub fn recycled_versions(&self) -> Vec<Vec<u8>> {
        let drive = self.cell.lock();
        let files = drive.recycle_bin.iter().flat_map(|&top| drive.subtree(top));
        files.flat_map(|index| Self::former(&drive, index).collect::<Vec<_>>()).collect()
    }

    fn former(drive: &Drive, index: Index) -> impl Iterator<Item = Vec<u8>> {
        let extras = drive.items[index as usize].extras.as_ref();
        extras.into_iter().flat_map(|extras| extras.versions.iter().map(|version| version.content.to_vec()))
    }

    /// The items in the recycle bin, oldest first: those that were deleted, not what lay below them.
    pub fn recycle_bin(&self) -> Vec<ItemView> {
        let drive = self.cell.lock();
        drive.recycle_bin.iter().map(|&index| Self::view(&drive, index)).collect()
    }

    /// Opens an item in an editor elsewhere: changes give 423.
    pub fn lock(&self, path: &str) {
        self.set_lock(path, true);
    }

    /// Closes it again.
    pub fn unlock(&self, path: &str) {
        self.set_lock(path, false);
    }

    fn extras(&self, path: &str, change: impl FnOnce(&mut super::drive::Extras)) {
        let mut drive = self.cell.lock();
        let index = Self::expect(&drive, path);
        if let Ok(extras) = drive.extras_mut(index) {
            change(extras);
        }
    }

    fn set_lock(&self, path: &str, locked: bool) {
        self.extras(path, |extras| extras.locked = locked);
    }

    /// Finds malware in a file: its content gives 403.
    pub fn infect(&self, path: &str) {
        self.extras(path, |extras| extras.malware = true);
    }

    /// Makes a file's metadata state another size than its content has.
    pub fn claim_size(&self, path: &str, size: u64) {
        self.extras(path, |extras| extras.claimed_size = Some(size));
    }

    /// Adds a OneNote notebook: neither file nor folder.
    pub fn add_package(&self, path: &str) -> String {
        self.add_odd(path, Body::Package)
    }

    /// Adds an album: neither file nor folder.
    pub fn add_bundle(&self, path: &str) -> String {
        self.add_odd(path, Body::Bundle)
    }

    /// Adds an item without any facet that nobody can read, like the personal vault.
    pub fn add_opaque(&self, path: &str) -> String {
        self.add_odd(path, Body::Opaque)
    }

    /// Adds a shortcut to a folder of another drive of this emulator.
    pub fn add_shortcut(&self, path: &str, other: &DriveHandle, target: &str) -> String {
        let item = Self::expect(&other.cell.lock(), target);
        self.add_odd(path, Body::Shortcut(Box::new(Shortcut { drive: other.cell.number, item })))
    }

    fn add_odd(&self, path: &str, body: Body) -> String {
        let mut drive = self.cell.lock();
        let (parent, name) = self.parent_of(&mut drive, path);
        let made = drive.make_odd(parent, name, body, self.now());
        let index = made.unwrap_or_else(|error| panic!("cannot add {path:?}: {error:?}"));
        drive.identity.item_id(index)
    }

    /// Sets the size of the drive in bytes.
    pub fn set_quota(&self, total: u64) {
        self.cell.lock().total = total;
    }

    /// Bytes in live files.
    pub fn used(&self) -> u64 {
        self.cell.lock().used
    }

    /// Hides each change from delta for this long.
    pub fn set_delta_lag(&self, lag: Duration) {
        self.cell.lock().delta.lag = lag;
    }

    /// Sets everything about how delta behaves.
    pub fn set_delta(&self, behaviour: DeltaBehaviour) {
        self.cell.lock().delta = behaviour;
    }

    /// Whether the service's own time of an item moves when it is renamed or moved; it does unless this is told otherwise.
    pub fn set_renames_touch(&self, touched: bool) {
        self.cell.lock().renames_touch = touched;
    }

    /// Hides new items from readers for a while.
    pub fn set_read_lag(&self, lag: ReadLag) {
        let now = self.now();
        let mut drive = self.cell.lock();
        if lag.states.is_zero() && drive.delta.lag.is_zero() {
            // Replicas that have caught up do not fall back to where they were.
            drive.stale.clear();
        }
        let lags = [lag.by_id, lag.by_path, lag.children, lag.states].iter().any(|lag| !lag.is_zero());
        drive.read_lag_since = if lags { now } else { Timestamp(0) };
        drive.read_lag = lag;
    }

    /// Makes all delta links handed out so far give 410.
    pub fn expire_delta_tokens(&self, how: Resync) {
        let mut drive = self.cell.lock();
        drive.token_generation += 1;
        drive.resync = how;
    }

    /// The next so many deletions never appear in delta.
    pub fn lose_tombstones(&self, count: u32) {
        self.cell.lock().tombstones_to_lose = count;
    }

    /// How many upload sessions are open, on all drives, of both protocols.
    pub fn open_sessions(&self) -> usize {
        let bits = lock(&self.world.bits).count(&self.world.strict().live, self.now());
        lock(&self.world.sessions).count(self.now()) + bits
    }

    /// Forgets all upload sessions: Graph's URLs give 404, packets of BITS get what
    /// [`LiveStrict::bits_session_gone`](super::LiveStrict::bits_session_gone) says.
    pub fn lose_sessions(&self) {
        lock(&self.world.sessions).clear();
        lock(&self.world.bits).clear();
    }

    /// The next so many copies fail; their monitors say so.
    pub fn fail_copies(&self, count: u32) {
        lock(&self.world.copies).to_fail = count;
    }

    /// Copy monitors report a status that is not in the documentation before they are done.
    pub fn strange_copy_status(&self, on: bool) {
        lock(&self.world.copies).strange_status = on;
    }

    /// Whether the service would take this name for a new item in the root.
    pub fn accepts_name(&self, name: &str, folder: bool) -> bool {
        !matches!(self.cell.lock().check_name(ROOT, name, folder), Err(DriveError::Name(_) | DriveError::PathLong))
    }
}
