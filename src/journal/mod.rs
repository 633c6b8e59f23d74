//! Everything the cloud has not acknowledged yet: new content, new folders, new names, deletions, times.
//!
//! It exists because the network is slow, absent and unreliable, and a user's work is none of these. Every
//! mutation is recorded here first; it is visible at once, survives the death of the daemon when the call
//! returns and power loss after the next group commit, and is replayed to the cloud in the background for as
//! long as it takes. There is no last retry.
//!
//! Always true:
//!
//! - What is in memory is what is in the file: a mutation that could not be written has not happened.
//! - A sealed draft is never dropped before the cloud has acknowledged its content, the user has deleted or
//!   discarded it, or a newer seal has replaced it and is itself safe on disk.
//! - Bytes go to the disk before the log that speaks of them; a file is removed after the log that says so.
//!
//! The parts: `intent` (what shall be, pure), `coalesce` (what two intents become, pure), `overlay` (finding
//! them), `queue` (who is due, pure), `conflict` (pure), `shelter` (folders gone under our work), `reveal` (what an
//! intent has hidden), `landed` (what an edit has become), `store` and `spool` (the files), `commit` (the group commit),
//! `recover` (start-up), `uploader` (the worker), `burst` (what is held until the user says so), `report` and `discard`
//! (what people see of all this, and how they take it back).

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::base::clock::{Clock, Timestamp};
use crate::base::disk::Disk;
use crate::base::ids::{ContentTag, Ino, InoSource, ItemId, MetaTag};
use crate::index::Index;

mod burial;
pub mod burst;
mod coalesce;
mod commit;
pub mod conflict;
mod discard;
mod drafting;
pub mod intent;
mod landed;
mod landing;
mod moment;
mod mutate;
mod notes;
mod overlay;
mod queue;
mod recover;
pub mod report;
mod reveal;
mod salvage;
mod shelter;
mod spool;
mod store;
mod sums;
#[cfg(test)]
mod tests;
pub mod uploader;

pub use discard::{Refusal, Undone};
pub use drafting::Recorded;
pub use intent::{Intent, Kind, Known, ParkReason, Progress, SpoolId};
pub use moment::Moment;
pub use overlay::Overlay;
pub use recover::{Opening, Recovered};
pub use spool::{Draft, Piece, SealedDraft};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use store::fuzz as fuzz_row;
pub use store::{KeptFor, SpoolBase, SpoolRow, StoreError};
pub use sums::DamagedDraft;

use commit::Pending;
use queue::{Queue, Rest};
use store::{Batch, Store};

/// The result of journal calls.
pub type JournalResult<T> = Result<T, StoreError>;

/// How the journal behaves.
#[derive(Clone, Debug)]
pub struct JournalSettings {
    /// How long a file must be quiet before it is sent.
    pub debounce: Duration,
    /// How much of the local disk stays free, in bytes: a write that would leave less fails with "disk full"
    /// before anything is torn.
    pub min_free: u64,
}

/// What a mutation works on: an inode, and what the index knows of it if there is no intent yet.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The inode.
    pub ino: Ino,
    /// Its item; may be left out if the inode has an intent.
    pub known: Option<Known>,
    /// A version and the size its bytes are known to have, in bytes: the service reports wrong ones of some files.
    pub real_size: Option<(ContentTag, u64)>,
    /// The version that a handle was opened on, if the file has another one by now: an edit through the handle starts
    /// from it, and meets the other one when it is sent.
    pub opened_on: Option<OpenedOn>,
    /// The content that the caller has seen, if only that may be written to.
    pub saw: Option<Saw>,
}

/// The content of a file as somebody has seen it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Saw {
    /// An edit on this machine, or nothing yet.
    Edit,
    /// A version in the cloud.
    Version(ContentTag),
}

/// What tells one version of a file from another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenedOn {
    /// The tag of the item with its metadata.
    pub meta_tag: MetaTag,
    /// The tag of the content.
    pub content_tag: ContentTag,
    /// Bytes.
    pub size: u64,
    /// The modification time.
    pub modified: Timestamp,
}

impl OpenedOn {
    /// Takes the place of the version that an edit is based on.
    fn stand_in(self, base: &mut intent::Base) {
        base.meta_tag = self.meta_tag;
        base.content_tag = Some(self.content_tag);
        base.size = self.size;
        base.modified = self.modified;
    }
}

/// The journal of one drive.
pub struct Journal {
    store: Arc<Store>,
    disk: Arc<dyn Disk>,
    files: Arc<spool::SpoolFiles>,
    clock: Arc<dyn Clock>,
    settings: JournalSettings,
    spool_folder: PathBuf,
    boot: String,
    state: Mutex<State>,
    pending: Arc<Pending>,
    inos: Arc<Numbers>,
    index: std::sync::OnceLock<Arc<Index>>,
    /// The name of the index's log is durable.
    index_named: AtomicBool,
    revealed: std::sync::OnceLock<reveal::Revealed>,
    landed: std::sync::OnceLock<landed::Heard>,
    /// Rings when there may be something to do for the uploader. Whoever finds something rings for the next.
    pub(crate) wake: Arc<Notify>,
    /// Moves with every change of an intent: for those who wait for something to settle.
    changed: tokio::sync::watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    overlay: Overlay,
    queue: Queue,
    /// What the last look at the queue has left.
    rest: Rest,
    drafts: HashMap<SpoolId, Arc<Draft>>,
    /// How many handles may write an inode.
    writers: HashMap<Ino, u32>,
    /// How many callers wait for the cloud to have what was written to an inode so far.
    awaited: HashMap<Ino, u32>,
    /// Drafts that are written by handles that are still open since the draft began.
    sessions: HashMap<Ino, SpoolId>,
    /// Content that could not be sealed when its last writer was closed.
    unsealed: HashSet<Ino>,
    /// What requests are under way, by the inode they were begun for.
    busy: HashMap<Ino, UnderWay>,
    /// Sealed drafts that a newer seal replaced, until the newer one is safe on disk.
    superseded: Vec<(SpoolId, SpoolId)>,
    kept: Vec<SpoolRow>,
    bursts: burst::Ledger,
    modes: HashMap<Ino, u16>,
}

/// What a request under way is about. The inode may come to stand for something else before the answer arrives, so
/// this is remembered beside it.
struct UnderWay {
    /// The item it changes.
    item: Option<ItemId>,
    /// Where it makes something new.
    place: Option<(ItemId, String)>,
    /// When it was taken up: it is about what was wanted until then.
    picked: Timestamp,
}

impl UnderWay {
    /// Whether an intent must wait for the answer: it is about the same item, or wants to know what became of the
    /// same new thing.
    fn concerns(&self, intent: &Intent) -> bool {
        let same_item = self.item.is_some() && self.item == intent.item;
        let sent = intent.sent.as_ref().and_then(|sent| sent.place.as_ref());
        same_item || (self.place.is_some() && self.place.as_ref() == sent)
    }
}

/// Inode and spool numbers, reserved in blocks so that none is ever handed out twice.
struct Numbers {
    next: Mutex<(u64, u64)>,
    spools: Mutex<(u64, u64)>,
    /// Inode numbers made up so far because none could be reserved, in this run and those before.
    made_up: AtomicU64,
    reserve: Box<dyn Fn(u64) -> JournalResult<u64> + Send + Sync>,
}

/// The folder of drafts whose files have no name any more; emptied at every start.
const NAMELESS: &str = "nameless";

const INO_BLOCK: u64 = 10_000;

/// A reservation is a step of the journal's file; one for each new file would be a third of what making it costs.
const SPOOL_BLOCK: u64 = 64;

/// Numbers from here on are made up: far above every block.
const MADE_UP: u64 = 1 << 62;

impl InoSource for Numbers {
    fn next_ino(&self) -> Ino {
        let mut range = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if range.0 == range.1 {
            match (self.reserve)(INO_BLOCK) {
                Ok(start) => *range = (start, start + INO_BLOCK),
                Err(error) => {
                    // The journal cannot be written. A number that is made up keeps the mount readable. It may be stored
                    // once there is room again, so it is one that is not, and the next caller asks for a block anew.
                    tracing::error!(%error, "no inode numbers can be reserved");
                    return Ino(MADE_UP + self.made_up.fetch_add(1, Ordering::Relaxed));
                }
            }
        }
        range.0 += 1;
        Ino(range.0 - 1)
    }

    fn is_stored(&self, highest: Ino) {
        if let Some(made_up) = highest.0.checked_sub(MADE_UP) {
            self.made_up.fetch_max(made_up + 1, Ordering::Relaxed);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.pending.stop();
    }
}

impl Journal {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change to the state is made after its write succeeded and cannot panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The inode numbers of this mount.
    pub fn inos(&self) -> Arc<dyn InoSource> {
        self.inos.clone()
    }

    fn index(&self) -> &Arc<Index> {
        self.index.get().expect("invariant: the daemon attaches the index before the first operation")
    }

    /// The identity that an inode has in the cloud, if it is there.
    pub fn resolve(&self, ino: Ino) -> Option<ItemId> {
        let state = self.lock();
        self.resolve_in(&state.overlay, ino)
    }

    fn resolve_in(&self, overlay: &Overlay, ino: Ino) -> Option<ItemId> {
        if let Some(intent) = overlay.get(ino) {
            return intent.item.clone();
        }
        self.index().by_ino(ino).ok().flatten().map(|row| row.id)
    }

    /// Looks at all intents at once. The closure must not call the journal again.
    pub fn view<T>(&self, f: impl FnOnce(&Overlay) -> T) -> T {
        f(&self.lock().overlay)
    }

    /// The intent of an inode.
    pub fn get(&self, ino: Ino) -> Option<Intent> {
        self.lock().overlay.get(ino).cloned()
    }

    /// The content that a reader of this inode sees, if it differs from the cloud's.
    pub fn content(&self, ino: Ino) -> Option<Arc<Draft>> {
        self.at_once(|now| now.content(ino).cloned())
    }

    /// The draft that writes to this inode go to, if there is one already.
    pub fn being_written(&self, ino: Ino) -> Option<Arc<Draft>> {
        let state = self.lock();
        let id = state.overlay.get(ino)?.drafting?;
        state.drafts.get(&id).cloned()
    }

    /// A draft by number.
    pub fn draft(&self, id: SpoolId) -> Option<Arc<Draft>> {
        self.lock().drafts.get(&id).cloned()
    }

    /// Drafts that are kept for the user because no file owns them any more.
    pub fn kept(&self) -> Vec<SpoolRow> {
        self.lock().kept.clone()
    }

    /// Permission bits that were set here; they stay on this machine.
    pub fn mode(&self, ino: Ino) -> Option<u16> {
        self.lock().modes.get(&ino).copied()
    }

    /// Stores permission bits.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub fn set_mode(&self, ino: Ino, mode: u16) -> JournalResult<()> {
        let mut state = self.lock();
        if state.modes.get(&ino) == Some(&mode) {
            return Ok(());
        }
        let item = self.resolve_in(&state.overlay, ino);
        self.store.set_mode(ino, item.as_ref(), Some(mode))?;
        state.modes.insert(ino, mode);
        self.pending.mark();
        Ok(())
    }

    /// Forgets permission bits that are the usual ones again.
    pub fn forget_mode(&self, ino: Ino) {
        let mut state = self.lock();
        if state.modes.remove(&ino).is_some() {
            let _ = self.store.set_mode(ino, None, None);
        }
    }

    /// How often intents have changed so far. What was read from the index before and after the same number was not
    /// acknowledged in between.
    pub fn generation(&self) -> u64 {
        *self.changed.borrow()
    }

    /// A number that moves with every change of an intent.
    pub fn watch(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Something outside the journal changed that work may have waited for: a folder became known.
    pub fn nudge(&self) {
        self.wake.notify_one();
    }

    /// How many intents still want to reach the cloud, and how many of them wait for the user.
    pub fn backlog(&self) -> (usize, usize) {
        let state = self.lock();
        let parked = state.overlay.iter().filter(|intent| matches!(intent.progress, Progress::Parked(_))).count();
        let open = state.overlay.iter().filter(|intent| !intent.local_only).count();
        (open - parked.min(open), parked)
    }

    /// Whether a write of `more` bytes leaves the local disk with its floor.
    pub fn has_room(&self, more: u64) -> bool {
        self.lacks(more) == 0
    }

    /// How many bytes have to be freed so that `more` can be written and the local disk keeps its floor.
    pub fn lacks(&self, more: u64) -> u64 {
        match self.disk.free_space(&self.spool_folder) {
            Ok(free) => self.settings.min_free.saturating_add(more).saturating_sub(free),
            Err(_) => 0,
        }
    }

    /// Writes a batch and makes it true in memory. Spools that nothing refers to any more are retired.
    fn apply(&self, state: &mut State, mut batch: Batch) -> JournalResult<()> {
        self.check_ground(state, &batch.put)?;
        self.guard(state, &mut batch);
        let mut referred = HashSet::new();
        for intent in &batch.put {
            referred.extend(intent.sealed);
            referred.extend(intent.drafting);
        }
        let touched: Vec<Ino> = batch.put.iter().map(|intent| intent.ino).chain(batch.drop.iter().copied()).collect();
        let mut orphaned = Vec::new();
        for ino in &touched {
            if let Some(old) = state.overlay.get(*ino) {
                orphaned.extend(old.sealed.into_iter().chain(old.drafting).filter(|id| !referred.contains(id)));
            }
        }
        let held: HashSet<SpoolId> = state.superseded.iter().chain(&batch.supersede).map(|(old, _)| *old).collect();
        batch.retire.extend(orphaned.iter().filter(|id| !held.contains(id)));
        batch.retire.sort_unstable();
        batch.retire.dedup();
        if batch.is_empty() {
            return Ok(());
        }
        for intent in &batch.put {
            if let Some(item) = self.resolve_in(&state.overlay, intent.parent) {
                batch.parents.insert(intent.parent, item);
            }
        }
        if !batch.drop.is_empty() {
            self.pending.settles();
        }
        self.store.write(&batch)?;
        state.superseded.append(&mut batch.supersede);
        for row in &batch.spools {
            if let Some(draft) = state.drafts.get(&row.id) {
                draft.set_ino(row.ino, row.replaced);
            }
        }
        let (mut items, mut before) = (Vec::new(), Vec::new());
        for ino in touched {
            if let Some(old) = state.overlay.take(ino) {
                state.queue.take(&old, self.settings.debounce);
                items.extend(old.item.clone());
                before.push(old);
            }
        }
        let mut dues = Vec::new();
        for intent in batch.put {
            dues.extend(state.queue.put(&intent, self.settings.debounce));
            items.extend(intent.item.clone());
            state.overlay.put(intent);
        }
        self.say_what_is_wanted(&state.overlay, items);
        self.reveal(&state.overlay, &before, &batch.settled);
        for id in batch.retire {
            if let Some(draft) = state.drafts.remove(&id) {
                let path = draft.path().to_owned();
                // Nobody can come to it from now on, but somebody may have it.
                if Arc::strong_count(&draft) > 1
                    && let Err(error) = draft.hold()
                {
                    tracing::warn!(%error, path = %path.display(), "what an open file reads can be read no longer");
                }
                self.files.close(&path);
                self.pending.remove_later(id, path);
            }
        }
        self.pending.mark();
        self.changed.send_modify(|generation| *generation += 1);
        self.call_for(state, dues);
        Ok(())
    }

    /// Calls an uploader if intents that are due at these times are a reason to look. One looks, and calls the next if
    /// there is work for more.
    fn call_for(&self, state: &State, dues: impl IntoIterator<Item = Timestamp>) {
        if state.rest.is_broken_by(self.now(), dues) {
            self.wake.notify_one();
        }
    }

    /// Where two items may have one name, the index decides who is shown under it, and has to know where the user wants
    /// them.
    fn say_what_is_wanted(&self, overlay: &Overlay, items: Vec<ItemId>) {
        let Some(index) = self.index.get().filter(|index| index.keeps_namesakes()) else { return };
        let place = |intent: &Intent| intent.is_live().then(|| (intent.parent, intent.name.clone()));
        index.note_wanted(items.into_iter().map(|item| {
            let wanted = overlay.by_item(&item).map(place);
            (item, wanted)
        }));
    }

    fn new_spool(&self) -> JournalResult<SpoolId> {
        let mut spools = self.inos.spools.lock().unwrap_or_else(PoisonError::into_inner);
        if spools.0 == spools.1 {
            let start = self.store.reserve_spools(SPOOL_BLOCK)?;
            *spools = (start, start + SPOOL_BLOCK);
        }
        spools.0 += 1;
        Ok(SpoolId(spools.0 - 1))
    }

    /// Stops the group commit after a last round. The journal must not be used afterwards.
    pub fn close(&self) {
        self.pending.stop();
    }

    /// The time by the journal's clock.
    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Any bytes as the journal's file.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_file(data: &[u8]) {
    salvage::fuzz(data);
}
