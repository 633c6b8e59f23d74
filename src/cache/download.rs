//! Requests under way: who waits for which chunk, and the task that brings it.
//!
//! Each chunk under way has one slot, and each slot belongs to one running task. A slot goes away only
//! after its chunk is in the cache (or in memory, where the cache would not take it) or has failed, so
//! there is no moment in which a chunk looks missing though it is coming.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use lru::LruCache;
use tokio::sync::{Semaphore, watch};

use super::doubt::Doubt;
use super::fetch::{FetchError, Settings, Want};
use super::stream::Interest;
use super::turn::Turn;
use super::{CHUNK, CacheKey, ChunkCache, chunks_of};
use crate::base::clock::Clock;
use crate::remote::{Remote, RemoteError, URGENCY, Urgency};

/// Chunks are written to the cache in runs of about this many bytes.
const WRITE_RUN: u64 = 1 << 20;

/// How often a body that breaks off is continued, as long as each piece brought something.
const CONTINUATIONS: usize = 16;

/// How many files whose content did not match their hash are remembered.
const DOUBTS: std::num::NonZeroUsize = std::num::NonZeroUsize::new(1024).expect("invariant: 1024 is not zero");

/// What became of a chunk.
#[derive(Clone, Debug)]
pub(super) enum Arrival {
    /// It is here.
    Bytes(Bytes),
    /// It will not come.
    Failed {
        /// Why.
        error: FetchError,
        /// Whether somebody waited for it when the request was made; else the failure is nobody's.
        demanded: bool,
    },
}

/// Is told which content was wrong.
pub(super) type Disowned = Box<dyn Fn(&CacheKey) + Send + Sync>;

type Receiver = watch::Receiver<Option<Arrival>>;

/// What a claim found.
#[derive(Default)]
pub(super) struct Claim {
    /// Chunks in memory.
    pub(super) here: Vec<(u64, Bytes)>,
    /// Chunks under way.
    pub(super) coming: Vec<(u64, Receiver)>,
}

/// What all readers share.
pub(super) struct Shared {
    pub(super) cache: ChunkCache,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: Settings,
    /// Whether the cache refused to keep content the last time it was asked.
    pub(super) refused: AtomicBool,
    /// Tasks that were started and have not ended.
    pub(super) running: AtomicUsize,
    /// Hears of content that was handed out and does not match its hash.
    pub(super) disowned: OnceLock<Disowned>,
    remote: Arc<dyn Remote>,
    table: Mutex<Table>,
    /// One file at a time is read through for its hash.
    pub(super) hashing: Semaphore,
}

pub(super) struct Table {
    files: HashMap<CacheKey, Coming>,
    readahead: usize,
    next_download: u64,
    /// Chunks the cache would not keep.
    memory: LruCache<(CacheKey, u64), Bytes>,
    memory_bytes: u64,
    /// Files whose content did not match the hash in their tag.
    pub(super) doubts: LruCache<CacheKey, Doubt>,
}

/// What is under way of one file.
#[derive(Default)]
struct Coming {
    slots: HashMap<u64, Slot>,
    readahead: usize,
}

struct Slot {
    download: u64,
    sender: watch::Sender<Option<Arrival>>,
    /// Of readahead.
    turn: Option<Arc<Turn>>,
}

/// One request (continued if its body breaks off) for neighbouring chunks.
struct Download {
    shared: Arc<Shared>,
    id: u64,
    key: CacheKey,
    size: u64,
    chunks: Range<u64>,
    /// Chunks before this one were asked for by somebody; the others were added in the hope of use.
    demanded_until: u64,
    urgency: Urgency,
    interest: Option<Interest>,
    /// Of readahead.
    turn: Option<Arc<Turn>>,
}

impl Shared {
    pub(super) fn new(cache: ChunkCache, remote: Arc<dyn Remote>, clock: Arc<dyn Clock>, settings: Settings) -> Self {
        Self {
            cache,
            clock,
            settings,
            refused: AtomicBool::new(false),
            running: AtomicUsize::new(0),
            disowned: OnceLock::new(),
            remote,
            table: Mutex::new(Table {
                files: HashMap::new(),
                readahead: 0,
                next_download: 0,
                memory: LruCache::unbounded(),
                memory_bytes: 0,
                doubts: LruCache::new(DOUBTS),
            }),
            hashing: Semaphore::new(1),
        }
    }

    /// Finds out where each chunk of a range is that the caller does not have yet, and starts requests for
    /// those that are nowhere. Chunks that are in neither list of the answer are in the cache.
    pub(super) fn claim(self: &Arc<Self>, want: &Want<'_>, have: &BTreeMap<u64, Bytes>) -> Claim {
        let reach = want.range.start..want.until.max(want.range.end);
        // Opens the cached file, if there is one, before the lock is taken.
        self.cache.missing(want.key, want.size, want.range.clone());
        let mut claim = Claim::default();
        let mut runs: Vec<Range<u64>> = Vec::new();
        let mut table = self.lock();
        let demanded = chunks_of(&want.range);
        for chunk in demanded.clone().filter(|chunk| !have.contains_key(chunk)) {
            if let Some(bytes) = table.memory.get(&(want.key.clone(), chunk)) {
                claim.here.push((chunk, bytes.clone()));
            } else if let Some(slot) = table.slot(want.key, chunk) {
                claim.coming.push((chunk, slot.sender.subscribe()));
            } else if !self.in_cache(want, chunk) {
                extend_runs(&mut runs, chunk);
            }
        }
        let part = (self.settings.part / CHUNK).max(1);
        if let Some(last) = runs.last_mut()
            && last.end == demanded.end
        {
            let limit = chunks_of(&reach).end.min(last.start + part);
            while last.end < limit && !table.knows(want.key, last.end) && !self.in_cache(want, last.end) {
                last.end += 1;
            }
        }
        let mut begun = Vec::new();
        for run in runs {
            for start in (run.start..run.end).step_by(part as usize) {
                let chunks = start..run.end.min(start + part);
                begun.push(table.begin(self, want, chunks.clone(), demanded.end));
                for chunk in chunks.start..chunks.end.min(demanded.end) {
                    if let Some(slot) = table.slot(want.key, chunk) {
                        claim.coming.push((chunk, slot.sender.subscribe()));
                    }
                }
            }
        }
        drop(table);
        start(begun);
        claim
    }

    /// Starts requests for what of a range is nowhere. `Err` says from where on nothing was started,
    /// because as many as allowed are under way.
    pub(super) fn read_ahead(
        self: &Arc<Self>,
        key: &CacheKey,
        size: u64,
        range: Range<u64>,
        interest: &Interest,
    ) -> Result<(), u64> {
        let missing = self.cache.missing(key, size, range);
        let part = (self.settings.part / CHUNK).max(1);
        let mut begun = Vec::new();
        let mut outcome = Ok(());
        let mut table = self.lock();
        let mut runs = Vec::new();
        for chunk in missing.iter().flat_map(|range| chunks_of(&range)) {
            if !table.knows(key, chunk) {
                extend_runs(&mut runs, chunk);
            }
        }
        'runs: for run in runs {
            for start in (run.start..run.end).step_by(part as usize) {
                let of_file = table.files.get(key).map_or(0, |coming| coming.readahead);
                if table.readahead >= self.settings.parts_in_all || of_file >= self.settings.parts_per_file {
                    outcome = Err(start * CHUNK);
                    break 'runs;
                }
                let chunks = start..run.end.min(start + part);
                let range = chunks.start * CHUNK..(chunks.end * CHUNK).min(size);
                let want = Want {
                    key,
                    size,
                    until: range.end,
                    range,
                    urgency: Urgency::Background,
                    interest: Some(interest.clone()),
                };
                // Nobody has asked for any of these chunks.
                begun.push(table.begin(self, &want, chunks.clone(), chunks.start));
            }
        }
        drop(table);
        start(begun);
        outcome
    }

    /// Somebody has waited for a chunk for a while. If it is part of a readahead that has had no answer yet, the rest of
    /// that is requested in the name of who waits, and those who wait find their slot closed and look again.
    pub(super) fn hurry(self: &Arc<Self>, want: &Want<'_>, chunk: u64) {
        let mut table = self.lock();
        let Some(slot) = table.slot(want.key, chunk) else { return };
        let (id, Some(turn)) = (slot.download, slot.turn.clone()) else { return };
        if !turn.take() {
            return;
        }
        let Some(coming) = table.files.get_mut(want.key) else { return };
        let mut end = chunk;
        while coming.slots.get(&end).is_some_and(|slot| slot.download == id) {
            end += 1;
        }
        coming.slots.retain(|_, slot| slot.download != id);
        let download = table.begin(self, want, chunk..end, chunks_of(&want.range).end);
        drop(table);
        start(vec![download]);
    }

    fn in_cache(&self, want: &Want<'_>, chunk: u64) -> bool {
        let range = chunk * CHUNK..((chunk + 1) * CHUNK).min(want.size);
        self.cache.missing(want.key, want.size, range).is_empty()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is on its way here: content, and how many chunks of it.
    pub(super) fn coming(&self) -> Vec<(CacheKey, u64)> {
        let table = self.lock();
        table.files.iter().map(|(key, coming)| (key.clone(), coming.slots.len() as u64)).collect()
    }
}

impl Table {
    fn slot(&self, key: &CacheKey, chunk: u64) -> Option<&Slot> {
        self.files.get(key)?.slots.get(&chunk)
    }

    /// Whether a chunk is under way or in memory.
    fn knows(&self, key: &CacheKey, chunk: u64) -> bool {
        self.slot(key, chunk).is_some() || self.memory.contains(&(key.clone(), chunk))
    }

    fn begin(&mut self, shared: &Arc<Shared>, want: &Want<'_>, chunks: Range<u64>, demanded_until: u64) -> Download {
        shared.running.fetch_add(1, Ordering::Relaxed);
        let id = self.next_download;
        self.next_download += 1;
        let is_readahead = demanded_until <= chunks.start;
        let turn = is_readahead.then(Arc::<Turn>::default);
        let download = Download {
            shared: shared.clone(),
            id,
            key: want.key.clone(),
            size: want.size,
            chunks: chunks.clone(),
            demanded_until,
            urgency: want.urgency,
            interest: want.interest.clone(),
            turn: turn.clone(),
        };
        let coming = self.files.entry(want.key.clone()).or_default();
        for chunk in chunks {
            coming.slots.insert(chunk, Slot { download: id, sender: watch::channel(None).0, turn: turn.clone() });
        }
        if is_readahead {
            coming.readahead += 1;
            self.readahead += 1;
        }
        download
    }

    fn remember(&mut self, limit: u64, key: &CacheKey, chunk: u64, bytes: Bytes) {
        self.memory_bytes += bytes.len() as u64;
        if let Some((_, old)) = self.memory.push((key.clone(), chunk), bytes) {
            self.memory_bytes -= old.len() as u64;
        }
        while self.memory_bytes > limit {
            let Some((_, old)) = self.memory.pop_lru() else { break };
            self.memory_bytes -= old.len() as u64;
        }
    }
}

impl Table {
    /// The slots of a file whose chunk somebody may have got already.
    pub(super) fn handed_out(&self, key: &CacheKey) -> Vec<Receiver> {
        let slots = self.files.get(key).into_iter().flat_map(|coming| coming.slots.values());
        slots.filter(|slot| slot.sender.borrow().is_some()).map(|slot| slot.sender.subscribe()).collect()
    }

    /// Drops the chunks of a file that the cache would not keep.
    pub(super) fn forget(&mut self, key: &CacheKey) {
        let held = self.memory.iter().map(|(place, _)| place).filter(|(of, _)| of == key);
        for place in held.cloned().collect::<Vec<_>>() {
            self.memory_bytes -= self.memory.pop(&place).map_or(0, |bytes| bytes.len() as u64);
        }
    }
}

impl Download {
    fn is_readahead(&self) -> bool {
        self.turn.is_some()
    }

    /// Brings the chunks. Whatever happens, no slot of this download is left afterwards.
    async fn run(self) {
        let urgency = self.urgency;
        let taken = async {
            match &self.turn {
                Some(turn) => turn.taken().await,
                None => std::future::pending().await,
            }
        };
        let outcome = tokio::select! {
            biased;
            () = taken => Ok(()),
            outcome = URGENCY.scope(urgency, self.bring()) => outcome,
        };
        if let Err(error) = outcome {
            tracing::debug!(item = ?self.key.item, %error, "content cannot be fetched");
            self.fail(&error);
        }
    }

    async fn bring(&self) -> Result<(), FetchError> {
        let end = (self.chunks.end * CHUNK).min(self.size);
        let mut at = self.chunks.start * CHUNK;
        let mut chunk = Gathering::default();
        let mut arrived: Vec<(u64, Bytes)> = Vec::new();
        let mut failed = Ok(());
        for _ in 0..=CONTINUATIONS {
            let before = at;
            let outcome = self.request(&mut at, end, &mut chunk, &mut arrived).await;
            // What came is kept, however the request ended.
            self.keep(std::mem::take(&mut arrived)).await;
            failed = match outcome {
                Ok(()) => return Ok(()),
                // A body that broke off is continued where it broke; an answer that brought nothing was
                // repeated by the retry layer already, as often as that makes sense.
                Err(Broken::Body(error)) if at > before && error.is_transient() => Err(error.into()),
                Err(Broken::Body(error)) => return Err(error.into()),
                Err(Broken::Answer(error)) => return Err(error),
            };
        }
        failed
    }

    /// One request for `at..end`; moves `at` to the first byte that did not come.
    async fn request(
        &self,
        at: &mut u64,
        end: u64,
        chunk: &mut Gathering,
        arrived: &mut Vec<(u64, Bytes)>,
    ) -> Result<(), Broken> {
        let asked = *at..end;
        let body = self.shared.remote.read(&self.key.item, &self.key.tag, asked.clone()).await;
        if self.turn.as_ref().is_some_and(|turn| !turn.answer()) {
            return Ok(());
        }
        let mut body = body.map_err(|error| Broken::Answer(error.into()))?;
        if let Some(actual) = body.total
            && actual != self.size
        {
            return Err(Broken::Answer(FetchError::Size { actual }));
        }
        if body.range != asked {
            let text = format!("asked for bytes {asked:?} of a file and got {:?}", body.range);
            return Err(Broken::Answer(RemoteError::protocol(text).into()));
        }
        while let Some(bytes) = body.stream.next().await {
            let mut bytes = bytes.map_err(Broken::Body)?;
            while !bytes.is_empty() {
                if *at == end {
                    let text = "the body is longer than its range".to_owned();
                    return Err(Broken::Answer(RemoteError::protocol(text).into()));
                }
                let number = *at / CHUNK;
                let boundary = ((number + 1) * CHUNK).min(end);
                let piece = bytes.split_to(bytes.len().min((boundary - *at) as usize));
                chunk.add(&piece, (boundary - number * CHUNK) as usize);
                *at += piece.len() as u64;
                if *at < boundary {
                    continue;
                }
                let whole = chunk.take();
                self.deliver(number, &whole);
                arrived.push((number, whole));
                if *at < end && self.is_pointless(number + 1) {
                    return Ok(());
                }
                if arrived.len() as u64 * CHUNK >= WRITE_RUN {
                    self.keep(std::mem::take(arrived)).await;
                }
            }
        }
        if *at < end {
            return Err(Broken::Body(RemoteError::offline("the body ended before its range did")));
        }
        Ok(())
    }

    /// Hands a chunk to those who wait for it.
    fn deliver(&self, chunk: u64, bytes: &Bytes) {
        let table = self.shared.lock();
        if let Some(slot) = table.slot(&self.key, chunk)
            && slot.download == self.id
        {
            slot.sender.send_replace(Some(Arrival::Bytes(bytes.clone())));
        }
    }

    /// Whether nobody waits for any of the chunks from this one on, and nobody will: then their slots are
    /// gone already.
    fn is_pointless(&self, from: u64) -> bool {
        if from < self.demanded_until || self.interest.as_ref().is_none_or(Interest::lives) {
            return false;
        }
        let mut table = self.shared.lock();
        let waited_for = (from..self.chunks.end)
            .any(|chunk| table.slot(&self.key, chunk).is_some_and(|slot| slot.sender.receiver_count() > 0));
        if !waited_for && let Some(coming) = table.files.get_mut(&self.key) {
            coming.slots.retain(|chunk, slot| slot.download != self.id || *chunk < from);
        }
        !waited_for
    }

    /// Puts chunks into the cache, or into memory if it will not have them, and closes their slots.
    async fn keep(&self, arrived: Vec<(u64, Bytes)>) {
        if arrived.is_empty() {
            return;
        }
        let (cache, key, size) = (self.shared.cache.clone(), self.key.clone(), self.size);
        let offered = arrived.clone();
        let written = tokio::task::spawn_blocking(move || {
            offered.iter().map(|(chunk, bytes)| cache.insert(&key, size, chunk * CHUNK, bytes)).collect::<Vec<bool>>()
        });
        let kept = written.await.unwrap_or_default();
        let mut all_kept = true;
        {
            let mut table = self.shared.lock();
            for (at, (chunk, bytes)) in arrived.into_iter().enumerate() {
                if kept.get(at) != Some(&true) {
                    all_kept = false;
                    table.remember(self.shared.settings.memory, &self.key, chunk, bytes);
                }
                if let Some(coming) = table.files.get_mut(&self.key) {
                    coming.slots.remove(&chunk);
                }
            }
        }
        self.shared.refused.store(!all_kept, Ordering::Relaxed);
        if all_kept && self.key.tag.hash().is_some() && self.shared.cache.is_complete(&self.key, self.size) {
            self.shared.compare_soon(self.key.clone(), self.size);
        }
    }

    fn fail(&self, error: &FetchError) {
        let mut table = self.shared.lock();
        let Some(coming) = table.files.get_mut(&self.key) else { return };
        for chunk in self.chunks.clone() {
            if coming.slots.get(&chunk).is_some_and(|slot| slot.download == self.id)
                && let Some(slot) = coming.slots.remove(&chunk)
            {
                let demanded = chunk < self.demanded_until;
                slot.sender.send_replace(Some(Arrival::Failed { error: error.clone(), demanded }));
            }
        }
    }
}

impl Drop for Download {
    /// Runs also when the task is cut off or panics: waiters see their slot close and look again.
    fn drop(&mut self) {
        {
            let mut table = self.shared.lock();
            if self.is_readahead() {
                table.readahead -= 1;
            }
            if let Some(coming) = table.files.get_mut(&self.key) {
                if self.is_readahead() {
                    coming.readahead -= 1;
                }
                coming.slots.retain(|_, slot| slot.download != self.id);
                if coming.slots.is_empty() && coming.readahead == 0 {
                    table.files.remove(&self.key);
                }
            }
        }
        self.shared.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a request did not bring everything.
enum Broken {
    /// There was no usable answer.
    Answer(FetchError),
    /// The answer was good and its body broke off.
    Body(RemoteError),
}

/// A chunk that is arriving. Survives a body that breaks off in the middle of it.
#[derive(Default)]
struct Gathering {
    bytes: BytesMut,
}

impl Gathering {
    fn add(&mut self, piece: &[u8], whole: usize) {
        if self.bytes.is_empty() {
            self.bytes.reserve(whole);
        }
        self.bytes.extend_from_slice(piece);
    }

    fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes).freeze()
    }
}

/// Starts downloads. Never under the table's lock: a runtime that is shutting down drops a task at once,
/// and a dropped download takes that lock.
fn start(begun: Vec<Download>) {
    for download in begun {
        tokio::spawn(download.run());
    }
}

fn extend_runs(runs: &mut Vec<Range<u64>>, chunk: u64) {
    match runs.last_mut() {
        Some(run) if run.end == chunk => run.end += 1,
        _ => runs.push(chunk..chunk + 1),
    }
}
