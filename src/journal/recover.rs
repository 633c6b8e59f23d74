//! Start-up: every row to a safe state, every stray file to a row.
//!
//! | found | becomes |
//! | --- | --- |
//! | an intent with a sealed draft, file whole | stays, due now |
//! | the same, but the machine lost power before the bytes were synced, and they do not match their hash | the version before it, if one is kept; the file is kept for the user |
//! | a draft being written that was synced once | sealed as it is |
//! | a draft being written that was never closed or synced | kept for the user, not part of the tree; what it was renamed over, if anything, is back |
//! | an upload under way | stays; the uploader asks the service first |
//! | a spool file without a row | kept for the user |
//! | a row without its file | parked as damaged |
//! | after damage to the journal's file: a draft whose intent is missing | kept for the user |
//! | work in a folder that neither journal nor index knows any more | stays, see `shelter` |

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

use super::commit::Pending;
use super::intent::{Intent, Progress};
use super::queue::Queue;
use super::spool::{self, Draft, SpoolFiles};
use super::store::{Batch, KeptFor, Opened, SpoolRow, Store};
use super::{Journal, JournalResult, JournalSettings, Numbers, Overlay, ParkReason, SpoolId, State};
use crate::base::clock::{Clock, Timestamp};
use crate::base::disk::Disk;
use crate::base::ids::{Ino, ItemId};
use crate::index::Index;

/// What is needed to open a journal.
pub struct Opening {
    /// The folder of the journal; created with mode 0700.
    pub folder: PathBuf,
    /// Where its files live.
    pub disk: Arc<dyn Disk>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// How it behaves.
    pub settings: JournalSettings,
    /// Identifies this run of the machine: bytes that were not synced survive within it.
    pub boot: String,
}

/// What was found at start-up.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Inode numbers that stand for items: the index must keep them.
    pub anchors: Vec<(Ino, ItemId)>,
    /// Intents that go on.
    pub pending: usize,
    /// Drafts that are kept for the user from now on, with the reason.
    pub kept: Vec<KeptFor>,
    /// Damage that was found in the journal, in words for the user: what was saved, what may be missing, where the
    /// damaged file is kept. Empty nearly always.
    pub unreadable: Vec<String>,
}

impl Journal {
    /// Opens the journal and repairs what a crash left.
    ///
    /// # Errors
    ///
    /// [`StoreError`](super::StoreError); nothing is thrown away then.
    pub fn open(opening: Opening) -> JournalResult<(Arc<Self>, Recovered)> {
        let Opening { folder, disk, clock, settings, boot } = opening;
        let spool_folder = folder.join("spool");
        disk.create_dir_private(&folder)?;
        disk.create_dir_private(&spool_folder)?;
        let nameless = spool_folder.join(super::NAMELESS);
        disk.create_dir_private(&nameless)?;
        for entry in disk.list_dir(&nameless)? {
            let _ = disk.remove(&nameless.join(entry.name));
        }
        let now = clock.now();

        let names = disk.list_dir(&spool_folder)?;
        let highest = names.iter().filter_map(|entry| spool::id_of(&entry.name.to_string_lossy())).max();
        let Opened { store, damage } = Store::open(disk.clone(), &folder, highest.map_or(0, |id| id.0), &boot, now)?;
        let loaded = store.load()?;
        let store = Arc::new(store);

        let mut found: HashMap<SpoolId, String> = HashMap::new();
        for entry in disk.list_dir(&spool_folder)? {
            let name = entry.name.to_string_lossy().into_owned();
            if name.ends_with(".adopted") {
                // A second name for acknowledged bytes that the cache did not take before the end.
                let _ = disk.remove(&spool_folder.join(name));
                continue;
            }
            if let Some(id) = spool::id_of(&name) {
                found.insert(id, name);
            }
        }
        let known: HashSet<SpoolId> = loaded.spools.iter().map(|row| row.id).collect();
        let files = SpoolFiles::new(disk.clone());
        let mut sorted = Sorted::empty(&boot, &*disk, files.clone(), &spool_folder, now);
        sorted.doubtful = !damage.is_empty() || !loaded.unreadable.is_empty();
        sorted.sort(loaded.intents, &loaded.spools);
        for id in loaded.retired.iter().filter(|id| !known.contains(id)) {
            if let Some(name) = found.remove(id) {
                let _ = disk.remove(&spool_folder.join(name));
            }
        }
        for row in loaded.spools.iter().filter(|row| row.kept.is_some()) {
            sorted.kept.push(row.clone());
        }
        for (id, name) in found.iter().filter(|(id, _)| !known.contains(id)) {
            let size = disk.open(&spool_folder.join(name), crate::base::disk::Open::Read)?.len()?;
            sorted.keep_file(*id, name, size, "its record was lost");
        }
        let recovered = Recovered {
            anchors: loaded.anchors,
            pending: sorted.intents.len(),
            kept: sorted.newly_kept.clone(),
            unreadable: damage.into_iter().chain(loaded.unreadable).collect(),
        };
        let mut batch = std::mem::take(&mut sorted.batch);
        batch.parents.extend(recovered.anchors.iter().cloned());
        if !batch.is_empty() {
            store.write(&batch)?;
        }
        store.forget_retired(&loaded.retired)?;

        // Some of what was looked at has been removed.
        files.close_all();
        let mut state = State { modes: loaded.modes.into_iter().collect(), ..State::default() };
        state.kept = sorted.kept;
        state.drafts = sorted.drafts;
        let (mut overlay, mut queue) = (Overlay::default(), Queue::default());
        for intent in sorted.intents {
            queue.put(&intent, settings.debounce);
            overlay.put(intent);
        }
        state.overlay = overlay;
        state.queue = queue;

        let pending = Arc::new(Pending::new());
        let reserve = {
            let store = store.clone();
            move |count| store.reserve_inos(count)
        };
        let inos = Arc::new(Numbers {
            next: Mutex::default(),
            spools: Mutex::default(),
            made_up: AtomicU64::new(0),
            reserve: Box::new(reserve),
        });
        let journal = Arc::new(Self {
            store,
            disk,
            files,
            clock,
            settings,
            spool_folder,
            boot,
            state: Mutex::new(state),
            pending,
            inos,
            index: OnceLock::new(),
            revealed: OnceLock::new(),
            landed: OnceLock::new(),
            wake: Arc::default(),
            changed: tokio::sync::watch::channel(0).0,
        });
        let committing = Arc::downgrade(&journal);
        let (store, disk, folder, pending) =
            (journal.store.clone(), journal.disk.clone(), journal.spool_folder.clone(), journal.pending.clone());
        std::thread::Builder::new().name("journal".into()).spawn(move || {
            Self::run_commits(&store, &*disk, &folder, &pending, &|drafts| {
                committing.upgrade().map_or(Ok(()), |journal| journal.note_synced(drafts))
            });
        })?;
        Ok((journal, recovered))
    }

    /// Connects the index, which needs the journal's numbers and anchors first. Once.
    ///
    /// Work in a folder that neither of the two knows any more would be nowhere; see [`Journal::shelter`].
    pub fn attach(&self, index: Arc<Index>) {
        let _ = self.index.set(index);
        self.view(|all| self.say_what_is_wanted(all, all.iter().filter_map(|intent| intent.item.clone()).collect()));
        let new: Vec<Ino> = self.view(|all| all.iter().filter(|intent| intent.item.is_none()).map(|i| i.ino).collect());
        let apart = self.index().write(|txn| new.iter().try_for_each(|ino| txn.make_way(*ino)));
        if let Err(error) = apart {
            tracing::error!(%error, "the index keeps numbers that belong to new work");
        }
        if let Err(error) = self.shelter() {
            tracing::error!(%error, "work whose folder was lost stays hidden until the next start");
        }
    }

    fn note_synced(&self, drafts: &[Arc<Draft>]) -> JournalResult<()> {
        {
            let state = self.lock();
            let spools: Vec<SpoolRow> = drafts
                .iter()
                .filter(|draft| state.drafts.contains_key(&draft.id) && draft.is_promised())
                .map(|draft| draft.row(&self.boot))
                .collect();
            if !spools.is_empty() {
                let batch = Batch { spools, ..Batch::default() };
                self.store.write(&batch)?;
            }
        }
        self.retire_superseded()
    }
}

/// The rows on their way to a safe state.
struct Sorted<'a> {
    now: Timestamp,
    boot: &'a str,
    disk: &'a dyn Disk,
    files: Arc<SpoolFiles>,
    folder: &'a Path,
    intents: Vec<Intent>,
    drafts: HashMap<SpoolId, Arc<Draft>>,
    kept: Vec<SpoolRow>,
    newly_kept: Vec<KeptFor>,
    batch: Batch,
    /// Rows may be missing: what seems finished may not be.
    doubtful: bool,
}

impl<'a> Sorted<'a> {
    fn empty(boot: &'a str, disk: &'a dyn Disk, files: Arc<SpoolFiles>, folder: &'a Path, now: Timestamp) -> Self {
        Self {
            now,
            boot,
            disk,
            files,
            folder,
            intents: Vec::new(),
            drafts: HashMap::new(),
            kept: Vec::new(),
            newly_kept: Vec::new(),
            batch: Batch::default(),
            doubtful: false,
        }
    }

    fn sort(&mut self, intents: Vec<Intent>, rows: &[SpoolRow]) {
        let by_id: HashMap<SpoolId, &SpoolRow> = rows.iter().map(|row| (row.id, row)).collect();
        let mut used: HashSet<SpoolId> =
            intents.iter().flat_map(|intent| intent.sealed.into_iter().chain(intent.drafting)).collect();
        for intent in intents {
            self.sort_one(intent, &by_id, rows, &mut used);
        }
        for row in rows.iter().filter(|row| row.kept.is_none() && !used.contains(&row.id)) {
            if self.doubtful {
                self.keep(row, &row.file, "the record of its file was lost when the journal was damaged");
                continue;
            }
            // Replaced by a newer seal that is whole, or left by a step that was finished otherwise.
            self.batch.retire.push(row.id);
            let _ = self.disk.remove(&self.folder.join(&row.file));
        }
    }

    fn sort_one(
        &mut self,
        mut intent: Intent,
        by_id: &HashMap<SpoolId, &SpoolRow>,
        rows: &[SpoolRow],
        used: &mut HashSet<SpoolId>,
    ) {
        let before = intent.clone();
        // Versions before this one left some at rest for ever that the cloud has, or may have.
        intent.local_only &= intent.item.is_none() && intent.sent.is_none();
        let (mut lost, mut written_on) = (false, None);
        if let Some(id) = intent.drafting.take() {
            match by_id.get(&id) {
                Some(row) if row.promised && self.is_whole(row, intent.modified) => {
                    intent.sealed = Some(id);
                    written_on = self.as_found(row);
                }
                Some(row) => {
                    self.keep(row, &intent.name, "it was never closed");
                    lost = intent.sealed.is_none();
                }
                None => {}
            }
        }
        if let Some(id) = intent.sealed {
            let whole =
                by_id.get(&id).is_some_and(|row| self.is_of_its_seal(row) && self.is_whole(row, intent.modified));
            if !whole {
                lost = true;
                intent.sealed = None;
                if let Some(row) = by_id.get(&id) {
                    let why = if self.doubtful {
                        "its record was damaged"
                    } else {
                        "its bytes were not all on the disk when the machine lost power"
                    };
                    self.keep(row, &intent.name, why);
                }
            }
        }
        if lost {
            // A version that was closed before it, or else one that it was renamed over, if what replaced it was not safe
            // yet. In this order: what was safe under another name before it was renamed must not go for what it replaced.
            let older = rows
                .iter()
                .filter(|row| row.ino == intent.ino && row.kept.is_none() && !used.contains(&row.id))
                .filter(|row| row.promised && self.is_whole(row, intent.modified))
                .max_by_key(|row| (!row.replaced, row.id));
            let had_a_row = before.sealed.is_none_or(|id| by_id.contains_key(&id));
            intent.sealed = older.map(|row| row.id);
            match older {
                Some(row) => {
                    used.insert(row.id);
                }
                None if had_a_row => {}
                None => {
                    intent.progress = Progress::Parked(ParkReason::Damaged);
                    intent.last_error = Some("the file with its content is missing".into());
                }
            }
        }
        let is_empty_new_file = intent.item.is_none()
            && intent.kind == super::Kind::File
            && intent.sealed.is_none()
            // Deleted here, but perhaps it had arrived: that is still to be found out. What was not deleted and has
            // arrived shows by itself.
            && !(intent.deleted && intent.sent.is_some())
            && !matches!(intent.progress, Progress::Parked(_));
        if is_empty_new_file {
            self.batch.drop.push(intent.ino);
            return;
        }
        if let Some(id) = intent.sealed
            && let Some(row) = written_on.as_ref().filter(|row| row.id == id).or(by_id.get(&id).copied())
            && let Ok(draft) = Draft::reopen(&self.files, self.folder, row, intent.modified)
        {
            self.drafts.insert(id, Arc::new(draft));
        }
        if intent != before {
            self.batch.put.push(intent.clone());
        }
        self.intents.push(intent);
    }

    /// The row of content that was still being written after it was recorded: since then any block may be another one,
    /// and the file longer. What it was promised with is in it, so it is taken as it is.
    fn as_found(&mut self, row: &SpoolRow) -> Option<SpoolRow> {
        let file = self.disk.open(&self.folder.join(&row.file), crate::base::disk::Open::ReadWrite).ok()?;
        if file.len().ok()? > row.size {
            file.set_len(row.size).ok()?;
        }
        let row = SpoolRow { sums: None, hash: None, ..row.clone() };
        self.batch.spools.push(row.clone());
        Some(row)
    }

    /// Whether a row of sealed content is that of its seal. After damage it may be an older one; content that is sealed
    /// was promised, and is as long as its file.
    fn is_of_its_seal(&self, row: &SpoolRow) -> bool {
        let length = || self.disk.open(&self.folder.join(&row.file), crate::base::disk::Open::Read)?.len();
        row.promised && (!self.doubtful || length().is_ok_and(|length| length == row.size))
    }

    /// Whether the file has what its row promises. Only bytes that were not synced before the machine went down
    /// need to be looked at.
    fn is_whole(&self, row: &SpoolRow, modified: Timestamp) -> bool {
        let Ok(draft) = Draft::reopen(&self.files, self.folder, row, modified) else { return false };
        if row.synced || row.boot == self.boot {
            return true;
        }
        draft.is_intact()
    }

    fn keep(&mut self, row: &SpoolRow, name: &str, why: &str) {
        let path = self.folder.join(&row.file);
        let has_bytes =
            self.disk.open(&path, crate::base::disk::Open::Read).and_then(|file| file.len()).unwrap_or(0) > 0;
        if !has_bytes {
            self.batch.retire.push(row.id);
            let _ = self.disk.remove(&path);
            return;
        }
        let kept = KeptFor { name: name.to_owned(), why: why.to_owned(), at: self.now };
        self.newly_kept.push(kept.clone());
        let row = SpoolRow { kept: Some(kept), ..row.clone() };
        self.batch.spools.push(row.clone());
        self.kept.push(row);
    }

    fn keep_file(&mut self, id: SpoolId, file: &str, size: u64, why: &str) {
        let kept = KeptFor { name: file.to_owned(), why: why.to_owned(), at: self.now };
        self.newly_kept.push(kept.clone());
        let row = SpoolRow {
            id,
            ino: Ino(0),
            file: file.to_owned(),
            size,
            present: crate::base::ranges::RangeSet::of(0..size),
            borrowed: crate::base::ranges::RangeSet::new(),
            replaced: false,
            base_limit: 0,
            base: None,
            hash: None,
            sums: None,
            promised: false,
            synced: false,
            boot: self.boot.to_owned(),
            kept: Some(kept),
        };
        self.batch.spools.push(row.clone());
        self.kept.push(row);
    }
}
