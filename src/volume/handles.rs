//! Open handles, and the files that live on only because a handle is open.
//!
//! A handle is pinned to the version it was opened on, unless that version is being edited on this machine: then it
//! follows the edit, as on a local disk, until the cloud has it, and is on what the edit has become from then on.
//!
//! | it happens | a handle on the version it is about, or that follows the edit | another handle |
//! | --- | --- | --- |
//! | an edit begins | follows it | stays |
//! | the edit is in the cloud, and no newer one was begun | is on what it has become | stays |
//! | the file loses its name, with an edit | goes on in the edit, whether it is sent or not | stays |
//!
//! The table is locked with the journal locked, never the other way round.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use super::tree::Seen;
use super::{KernelNotice, PageUse, Snapshot, Volume, VolumeError, VolumeResult, locked};
use crate::base::caller;
use crate::base::ids::{Fh, Ino, ItemId};
use crate::cache::{CacheKey, PinGuard, ReadStream};
use crate::journal::{Draft, OpenedOn};

/// A version that is held.
#[derive(Clone)]
pub(super) struct Pin {
    pub key: CacheKey,
    pub size: u64,
    /// What the kernel was told of its size, in bytes; another one only if the service had reported a wrong one.
    pub told: u64,
    /// What tells it from other versions, where that is known: an edit starts from what was read.
    pub opened_on: Option<OpenedOn>,
    /// Keeps the cached bytes of the version from being evicted.
    _guard: Arc<PinGuard>,
}

/// An open file.
pub(super) struct FileHandle {
    pub ino: Ino,
    pub read: bool,
    pub write: bool,
    /// The thread that opened it: what was written through it was written on its behalf, whoever closes it.
    pub opened_by: Option<u32>,
    /// The kernel reads past its pages: others had another version open.
    pub direct: bool,
    /// The version it reads; `None` follows the edits on this machine.
    pub pin: Mutex<Option<Pin>>,
    pub stream: ReadStream,
}

/// An open folder.
pub(super) struct DirHandle {
    pub ino: Ino,
    /// Nothing was read of the listing that was taken at the opening.
    pub unread: AtomicBool,
    pub snapshot: Mutex<Option<Snapshot>>,
}

/// A node whose name is gone while handles are open.
#[derive(Clone)]
pub(super) struct Orphan {
    pub seen: Seen,
    pub draft: Option<Arc<Draft>>,
}

/// Everything that is open.
#[derive(Default)]
pub(super) struct Table {
    files: HashMap<Fh, Arc<FileHandle>>,
    dirs: HashMap<Fh, Arc<DirHandle>>,
    by_ino: HashMap<Ino, Vec<Fh>>,
    orphans: HashMap<Ino, Orphan>,
    /// The version whose bytes the kernel's pages of an inode hold.
    pub pages: HashMap<Ino, PageVersion>,
}

/// The entries of all remembered listings together, at most.
const REMEMBERED: usize = 20_000;

/// Listings that were taken lately.
pub(super) struct Listings {
    taken: lru::LruCache<Ino, Snapshot>,
    entries: usize,
}

impl Default for Listings {
    fn default() -> Self {
        Self { taken: lru::LruCache::unbounded(), entries: 0 }
    }
}

impl Listings {
    pub fn get(&mut self, folder: Ino) -> Option<&Snapshot> {
        self.taken.get(&folder)
    }

    pub fn put(&mut self, folder: Ino, listing: Snapshot) {
        self.entries += listing.len();
        if let Some(old) = self.taken.put(folder, listing) {
            self.entries -= old.len();
        }
        while self.entries > REMEMBERED {
            let Some((_, oldest)) = self.taken.pop_lru() else { return };
            self.entries -= oldest.len();
        }
    }
}

/// What the kernel's pages of an inode hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum PageVersion {
    /// A version in the cloud.
    Clean(CacheKey),
    /// The edit on this machine; the pages were kept right by every write.
    Edit,
}

impl Table {
    pub fn orphan(&self, ino: Ino) -> Option<&Orphan> {
        self.orphans.get(&ino)
    }

    pub fn set_orphan_draft(&mut self, ino: Ino, draft: Arc<Draft>) {
        if let Some(orphan) = self.orphans.get_mut(&ino) {
            orphan.draft = Some(draft);
        }
    }

    /// It has its name after all.
    pub fn unorphan(&mut self, ino: Ino) {
        self.orphans.remove(&ino);
    }

    pub fn is_open(&self, ino: Ino) -> bool {
        self.by_ino.contains_key(&ino)
    }

    /// The kernel does not know an inode any more, so it has none of its pages.
    pub fn forget_pages(&mut self, ino: Ino) {
        if !self.is_open(ino) {
            self.pages.remove(&ino);
        }
    }

    pub fn has_writer(&self, ino: Ino) -> bool {
        self.handles_of(ino).any(|handle| handle.write)
    }

    pub fn handles_of(&self, ino: Ino) -> impl Iterator<Item = &Arc<FileHandle>> {
        self.by_ino.get(&ino).into_iter().flatten().filter_map(|fh| self.files.get(fh))
    }
}

impl Volume {
    fn new_handle(&self) -> Fh {
        Fh(self.next_handle.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }

    pub(super) fn pin(&self, key: CacheKey, size: u64) -> Pin {
        let guard = Arc::new(self.cache.pin(&key));
        Pin { key, size, told: size, opened_on: None, _guard: guard }
    }

    /// The version that is seen of a file, held.
    pub(super) fn pin_seen(&self, seen: &Seen) -> Option<Pin> {
        let (item, tag, size) = seen.version.clone()?;
        Some(Pin { opened_on: seen.tells_version(), ..self.pin(CacheKey { item, tag }, size) })
    }

    /// Registers an open file and says what the kernel may do with its pages.
    pub(super) fn register_file(&self, seen: &Seen, read: bool, write: bool) -> (Fh, PageUse) {
        let pin = self.pin_seen(seen);
        if let Some(pin) = &pin {
            self.cache.opened(&pin.key);
        }
        let fh = self.new_handle();
        let mut table = locked(&self.open);
        let now = match &pin {
            Some(pin) => PageVersion::Clean(pin.key.clone()),
            None => PageVersion::Edit,
        };
        let others_differ = table.handles_of(seen.ino).any(|handle| {
            let pin = locked(&handle.pin);
            match (&*pin, &now) {
                (Some(pin), PageVersion::Clean(key)) => pin.key != *key,
                (None, PageVersion::Edit) => false,
                (Some(_), PageVersion::Edit) => true,
                // It followed an edit that was taken back.
                (None, PageVersion::Clean(_)) => false,
            }
        });
        let pages = if others_differ {
            PageUse::Direct
        } else if table.pages.get(&seen.ino) == Some(&now) {
            PageUse::Keep
        } else {
            PageUse::Drop
        };
        if pages == PageUse::Drop {
            table.pages.insert(seen.ino, now);
        }
        let handle = FileHandle {
            ino: seen.ino,
            read,
            write,
            opened_by: caller::current(),
            direct: pages == PageUse::Direct,
            pin: Mutex::new(pin),
            stream: ReadStream::default(),
        };
        table.files.insert(fh, Arc::new(handle));
        table.by_ino.entry(seen.ino).or_default().push(fh);
        drop(table);
        if write {
            self.journal.add_writer(seen.ino);
        }
        (fh, pages)
    }

    /// Content of this version was wrong. The kernel forgets what it was given of it, under open handles too: they are
    /// on this very version, or on an edit of a part of it, and read it again.
    pub(super) fn disown_pages(&self, key: &CacheKey) {
        let (mut wrong, mut edited) = (Vec::new(), Vec::new());
        locked(&self.open).pages.retain(|ino, held| match held {
            PageVersion::Clean(held) if held == key => {
                wrong.push(*ino);
                false
            }
            PageVersion::Clean(_) => true,
            PageVersion::Edit => {
                edited.push(*ino);
                true
            }
        });
        let starts_from_it = |ino: &Ino| {
            let base = self.journal.content(*ino).and_then(|draft| draft.base());
            base.is_some_and(|base| base.item == key.item && base.tag == key.tag)
        };
        wrong.extend(edited.into_iter().filter(starts_from_it));
        for ino in wrong {
            self.kernel.post(KernelNotice::Pages(ino));
        }
    }

    pub(super) fn file_handle(&self, fh: Fh) -> VolumeResult<Arc<FileHandle>> {
        locked(&self.open).files.get(&fh).cloned().ok_or(VolumeError::BadHandle)
    }

    /// Takes a file handle away; says whether it was the last of its inode.
    pub(super) fn unregister_file(&self, fh: Fh) -> Option<(Arc<FileHandle>, bool)> {
        let mut table = locked(&self.open);
        let handle = table.files.remove(&fh)?;
        let mut last = false;
        if let Some(all) = table.by_ino.get_mut(&handle.ino) {
            all.retain(|other| *other != fh);
            if all.is_empty() {
                table.by_ino.remove(&handle.ino);
                last = true;
            }
        }
        Some((handle, last))
    }

    /// An edit begins: handles on the version it starts from follow it from now on.
    pub(super) fn follow_edit(&self, ino: Ino, base: Option<&CacheKey>) {
        let mut table = locked(&self.open);
        for handle in table.handles_of(ino) {
            let mut pin = locked(&handle.pin);
            if pin.as_ref().zip(base).is_some_and(|(held, base)| held.has_bytes_of(base)) {
                *pin = None;
            }
        }
        let fits = match table.pages.get(&ino) {
            Some(PageVersion::Clean(key)) => Some(key) == base,
            Some(PageVersion::Edit) => true,
            None => false,
        };
        // Who does not follow reads past the pages.
        if fits {
            table.pages.insert(ino, PageVersion::Edit);
        } else {
            table.pages.remove(&ino);
        }
    }

    /// An edit is in the cloud, as this version: handles that followed it are on that from now on. What has no name any
    /// more has its edit for as long as it is open. Called with the journal locked.
    pub(super) fn leave_edit(&self, ino: Ino, item: &ItemId, version: OpenedOn) {
        let key = CacheKey::new(item, &version.content_tag);
        let size = self.real_size(item, &version.content_tag).unwrap_or(version.size);
        let table = locked(&self.open);
        if table.orphan(ino).is_some() {
            return;
        }
        for handle in table.handles_of(ino) {
            let mut pin = locked(&handle.pin);
            if pin.is_none() {
                *pin = Some(Pin { opened_on: Some(version.clone()), ..self.pin(key.clone(), size) });
            }
        }
    }

    /// A name is going: if handles are open, the node lives on for them. `draft` is the content they may still
    /// read and write.
    pub(super) fn orphan_if_open(&self, seen: &Seen, draft: Option<Arc<Draft>>) -> bool {
        let mut table = locked(&self.open);
        if !table.is_open(seen.ino) {
            table.pages.remove(&seen.ino);
            return false;
        }
        let seen = Seen { links: 0, changed: self.clock.now(), ..seen.clone() };
        table.orphans.insert(seen.ino, Orphan { seen, draft }).is_none()
    }

    /// The last handle is closed: an orphan goes with it. Returns it.
    pub(super) fn bury(&self, ino: Ino) -> Option<Orphan> {
        let mut table = locked(&self.open);
        let orphan = table.orphans.remove(&ino);
        if orphan.is_some() {
            table.pages.remove(&ino);
        }
        orphan
    }

    pub(super) fn register_dir(&self, ino: Ino, snapshot: Snapshot) -> Fh {
        let fh = self.new_handle();
        locked(&self.open).dirs.insert(
            fh,
            Arc::new(DirHandle { ino, unread: AtomicBool::new(true), snapshot: Mutex::new(Some(snapshot)) }),
        );
        fh
    }

    pub(super) fn dir_handle(&self, fh: Fh) -> VolumeResult<Arc<DirHandle>> {
        locked(&self.open).dirs.get(&fh).cloned().ok_or(VolumeError::BadHandle)
    }

    /// Closes a directory handle.
    pub fn release_dir(&self, fh: Fh) {
        locked(&self.open).dirs.remove(&fh);
    }

    /// How many files and folders are open.
    pub fn open_handles(&self) -> usize {
        let table = locked(&self.open);
        table.files.len() + table.dirs.len()
    }
}
