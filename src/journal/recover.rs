//! Start-up: every row to a safe state, every stray file to a row.
//!
//! | found | becomes |
//! | --- | --- |
//! | an intent with content, sealed or being written, of which something can be taken ([`take`]) | stays, sealed with that, due now; made safe if it is not |
//! | content of which nothing can be taken, because it was never promised or the machine lost power before it was synced | kept for the user, not part of the tree; the version before it, or what it was renamed over, is back if one is kept |
//! | the version before content that is not safe yet | stays until it is |
//! | an upload under way | stays; the uploader asks the service first |
//! | a spool file without a row | kept for the user |
//! | a row without its file | parked as damaged |
//! | after damage to the journal's file: a draft whose intent is missing | kept for the user |
//! | work in a folder that neither journal nor index knows any more | stays, see `shelter` |

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::commit::{Pending, run_commits};
use super::intent::{Intent, Progress};
use super::queue::Queue;
use super::spool::{self, Draft, Durable, Found, SpoolFiles};
use super::store::{Batch, KeptFor, Opened, SpoolRow, Store};
use super::{Journal, JournalResult, JournalSettings, Numbers, Overlay, ParkReason, SpoolId, State};
use crate::base::clock::{Clock, Timestamp};
use crate::base::disk::{Disk, Open};
use crate::base::ids::{Ino, InoSource as _, ItemId};
use crate::base::ranges::RangeSet;
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
        let highest_ino = loaded.inos().max().unwrap_or(Ino(0));

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
        let (mut without_file, mut gone) = (Vec::new(), std::mem::take(&mut sorted.gone));
        for id in &loaded.retired {
            match found.remove(id).filter(|_| !known.contains(id)) {
                Some(name) => gone.push((*id, spool_folder.join(name))),
                None => without_file.push(*id),
            }
        }
        for row in loaded.spools.iter().filter(|row| row.kept.is_some()) {
            sorted.kept.push(row.clone());
        }
        for (id, name) in found.iter().filter(|(id, _)| !known.contains(id)) {
            let size = disk.open(&spool_folder.join(name), Open::Read)?.len()?;
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
        store.forget_retired(&without_file)?;

        // Some of what was looked at has been removed.
        files.close_all();
        let mut state = State { modes: loaded.modes.into_iter().collect(), ..State::default() };
        state.kept = sorted.kept;
        state.drafts = sorted.drafts;
        state.superseded = sorted.superseded;
        let (mut overlay, mut queue) = (Overlay::default(), Queue::default());
        for intent in sorted.intents {
            queue.put(&intent, settings.debounce);
            overlay.put(intent);
        }
        state.overlay = overlay;
        state.queue = queue;

        let pending = Arc::new(Pending::new());
        // What was closed before a death is as little safe after it.
        state.drafts.values().filter(|draft| !draft.is_safe()).for_each(|draft| pending.mark_draft(draft));
        // The log that says so may still be lost with the power.
        gone.into_iter().for_each(|(id, path)| pending.remove_later(id, path));
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
        inos.is_stored(highest_ino);
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
            index_named: AtomicBool::new(false),
            revealed: OnceLock::new(),
            landed: OnceLock::new(),
            wake: Arc::default(),
            changed: tokio::sync::watch::channel(0).0,
        });
        let committing = Arc::downgrade(&journal);
        let (store, disk, folder, pending) =
            (journal.store.clone(), journal.disk.clone(), journal.spool_folder.clone(), journal.pending.clone());
        std::thread::Builder::new().name("journal".into()).spawn(move || {
            run_commits(&store, &*disk, &folder, &pending, &|round| {
                let Some(journal) = committing.upgrade() else { return Ok(()) };
                if round.settled
                    && let Err(error) = journal.sync_index()
                {
                    tracing::warn!(%error, "after a loss of power the list of what is in the cloud may be behind");
                }
                journal.note_synced(&round.drafts)
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

    /// Makes durable what the index knows, before the journal forgets it. It is only a copy of what the cloud says: a disk
    /// that does not take it stops nobody.
    fn sync_index(&self) -> io::Result<()> {
        let Some(log) = self.index.get().map(|index| index.log()) else { return Ok(()) };
        self.disk.open(log, Open::Read)?.sync_data()?;
        // Its name is as old as the index was opened.
        if !self.index_named.load(Ordering::Relaxed) {
            self.disk.sync_dir(log.parent().unwrap_or(Path::new(".")))?;
            self.index_named.store(true, Ordering::Relaxed);
        }
        Ok(())
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

/// What a start takes of content.
#[derive(PartialEq, Debug)]
enum Taken {
    /// Nothing: there is no saying what is in the file.
    Nothing,
    /// What its row says.
    AsRecorded,
    /// The file, whatever its row says: its writer was the last to change it.
    AsLeft,
    /// What there is of this state. These blocks, by number, may have been written after it.
    AsFound(Durable, RangeSet),
}

/// What is taken of content, by its row.
///
/// | content | power | bytes | taken |
/// | --- | --- | --- | --- |
/// | never promised | any | any | nothing |
/// | sealed | not lost since | any | as recorded |
/// | sealed | lost | synced, or the file has what the row says | as recorded |
/// | that a program may have written after its row: being written, or renamed over while it was open | not lost since | any | as left |
/// | the same | lost | synced | as found, by the state in the row |
/// | the same | lost | not synced, but the file has what the row says | as recorded |
/// | any | lost | not synced, nor what the row says, but a former state was promised and synced | as found, by that state |
/// | any | lost | else | nothing |
fn take(row: &SpoolRow, open: bool, same_boot: bool, is_intact: impl FnOnce() -> bool) -> Taken {
    let all = || RangeSet::of(0..u64::MAX);
    match (row.promised, open, same_boot) {
        (false, ..) => Taken::Nothing,
        (true, true, true) => Taken::AsLeft,
        (true, false, true) => Taken::AsRecorded,
        (true, true, false) if row.synced => Taken::AsFound(row.state(), all()),
        (true, false, false) if row.synced => Taken::AsRecorded,
        (true, _, false) if is_intact() => Taken::AsRecorded,
        (true, _, false) => match &row.durable {
            Some(state) if open => Taken::AsFound(state.clone(), all()),
            Some(state) => Taken::AsFound(state.clone(), state.changed.clone()),
            None => Taken::Nothing,
        },
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
    /// Files that nothing speaks of any more.
    gone: Vec<(SpoolId, PathBuf)>,
    /// Former versions of content that is not safe yet, and that content.
    superseded: Vec<(SpoolId, SpoolId)>,
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
            gone: Vec::new(),
            superseded: Vec::new(),
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
            if !self.stays_for_now(row) {
                // Replaced by a newer seal that is safe, or left by a step that was finished otherwise.
                self.let_go(row);
            }
        }
    }

    /// What newer content has replaced that is not safe yet.
    fn stays_for_now(&mut self, row: &SpoolRow) -> bool {
        let Some(intent) = self.intents.iter().find(|intent| intent.ino == row.ino) else { return false };
        let (modified, newer) = (intent.modified, intent.sealed);
        let Some(newer) = newer.filter(|id| self.drafts.get(id).is_some_and(|draft| !draft.is_safe())) else {
            return false;
        };
        let Some(taken) = self.take(row, row.replaced > 0, modified) else { return false };
        let stays = self.reopen(row, &taken, modified);
        if stays {
            self.superseded.push((row.id, newer));
        }
        stays
    }

    fn let_go(&mut self, row: &SpoolRow) {
        self.batch.retire.push(row.id);
        self.gone.push((row.id, self.folder.join(&row.file)));
    }

    /// Content that goes on, by the row that it has from now on.
    fn reopen(&mut self, before: &SpoolRow, now: &SpoolRow, modified: Timestamp) -> bool {
        let Ok(draft) = Draft::reopen(&self.files, self.folder, now, modified) else { return false };
        if now != before {
            self.batch.spools.push(now.clone());
        }
        self.drafts.insert(now.id, Arc::new(draft));
        true
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
        let (mut lost, mut taken) = (false, None);
        if let Some(id) = intent.drafting.take()
            && let Some(row) = by_id.get(&id)
        {
            taken = self.take(row, true, intent.modified);
            if taken.is_some() {
                // What was closed before is nothing to come back to once this is safe.
                if let Some(old) = intent.sealed.replace(id).filter(|old| *old != id) {
                    used.remove(&old);
                }
            } else {
                self.keep(row, &intent.name, "it was never closed");
                lost = intent.sealed.is_none();
            }
        }
        if let Some(id) = intent.sealed
            && taken.is_none()
        {
            taken = by_id.get(&id).and_then(|row| self.take(row, row.replaced > 0, intent.modified));
            if taken.is_none() {
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
            // A version that was closed before it, or else one that it was renamed over, the first of them before the others,
            // if what replaced it was not safe yet. In this order: what was safe under another name before it was renamed
            // must not go for what it replaced there.
            let older = rows
                .iter()
                .filter(|row| row.ino == intent.ino && row.kept.is_none() && !used.contains(&row.id))
                .filter_map(|row| self.take(row, row.replaced > 0, intent.modified))
                .max_by_key(|row| (Reverse(row.replaced), row.id));
            let had_a_row = before.sealed.is_none_or(|id| by_id.contains_key(&id));
            intent.sealed = older.as_ref().map(|row| row.id);
            match older {
                Some(row) => {
                    used.insert(row.id);
                    taken = Some(row);
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
        if let Some(row) = taken
            && let Some(recorded) = by_id.get(&row.id)
        {
            self.reopen(recorded, &row, intent.modified);
        }
        if intent != before {
            self.batch.put.push(intent.clone());
        }
        self.intents.push(intent);
    }

    /// Whether a row of sealed content is that of its seal. After damage it may be an older one; content that is sealed
    /// was promised, and is as long as its file.
    fn is_of_its_seal(&self, row: &SpoolRow) -> bool {
        let length = || self.disk.open(&self.folder.join(&row.file), Open::Read)?.len();
        row.promised && (!self.doubtful || length().is_ok_and(|length| length == row.size))
    }

    /// The row of the content that a row speaks of, as far as it is there; see [`take`]. `open`: a program may have written
    /// it after that row.
    fn take(&self, row: &SpoolRow, open: bool, modified: Timestamp) -> Option<SpoolRow> {
        if !self.is_of_its_seal(row) {
            return None;
        }
        let file = self.disk.open(&self.folder.join(&row.file), Open::ReadWrite).ok()?;
        let length = file.len().ok()?;
        let reopened = || Draft::as_recorded(&self.files, self.folder, row, modified);
        let is_intact = || reopened().is_ok_and(|draft| draft.is_intact());
        let row = match take(row, open, row.boot == self.boot, is_intact) {
            Taken::Nothing => return None,
            Taken::AsRecorded => {
                reopened().ok()?;
                row.clone()
            }
            Taken::AsLeft => row.as_left(&Found { length, ..Found::of(&*file).ok()? }),
            Taken::AsFound(state, doubted) => {
                row.as_found(&state, &doubted, &Found { length, ..Found::of(&*file).ok()? })
            }
        };
        if length > row.size {
            // What lies behind the end must read as zeros if the file grows.
            file.set_len(row.size).ok()?;
        }
        Some(row)
    }

    fn keep(&mut self, row: &SpoolRow, name: &str, why: &str) {
        let path = self.folder.join(&row.file);
        let has_bytes = self.disk.open(&path, Open::Read).and_then(|file| file.len()).unwrap_or(0) > 0;
        if !has_bytes {
            self.let_go(row);
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
            present: RangeSet::of(0..size),
            borrowed: RangeSet::new(),
            replaced: 0,
            base_limit: 0,
            base: None,
            hash: None,
            sums: None,
            promised: false,
            synced: false,
            durable: None,
            boot: self.boot.to_owned(),
            kept: Some(kept),
        };
        self.batch.spools.push(row.clone());
        self.kept.push(row);
    }
}
