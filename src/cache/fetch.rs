//! Reading through the cache: what is missing is fetched, each byte once, and a little ahead of need.
//!
//! Several programs read the same file, the kernel asks ahead and out of order, and a request costs as
//! much as a megabyte. So, always true here:
//!
//! - a read whose bytes are here completes at its first poll: no task is waited for, and nothing requested. Only content
//!   that became complete in an earlier run and was not compared with its hash then is compared beside it;
//! - a chunk is under way at most once; whoever needs it waits for the same request, gets the bytes as
//!   they arrive (before they are written to disk), and by going away cancels nobody but itself;
//! - a first touch fetches what was asked for. Whoever reads on gets a growing window ahead, in several
//!   parallel requests of lower urgency ([`Urgency::Background`]), which end when the handle is closed or
//!   jumps;
//! - a failed readahead is nobody's error: who really needs the bytes asks for them in their own name; and so they do
//!   after a second in which a readahead has not had its turn, because uploads or other readers go first;
//! - all bytes come from the version named by the key, or the read is [`FetchError::Stale`];
//! - memory is bounded by the number of requests under way, and by [`Settings::memory`] for content that
//!   the cache would not keep.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::download::{Arrival, Claim, Shared};
use super::stream::{Interest, ReadStream};
use super::{CHUNK, CacheKey, ChunkCache, Lookup, chunks_of};
use crate::base::clock::{Clock, Sleep};
use crate::base::ranges::RangeSet;
use crate::remote::{Remote, RemoteError, RemoteErrorKind, Urgency};

/// How much is fetched at once. The defaults suit lines up to about 1 Gbit/s at 100 ms.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The farthest readahead, in bytes.
    pub max_window: u64,
    /// The longest single request, in bytes; a multiple of [`CHUNK`].
    pub part: u64,
    /// Requests of readahead under way for one file.
    pub parts_per_file: usize,
    /// Requests of readahead under way in all.
    pub parts_in_all: usize,
    /// Files up to this many bytes are fetched whole at first touch: a second request would cost more
    /// than their bytes.
    pub small_file: u64,
    /// Bytes of content held in memory because the cache would not keep it.
    pub memory: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_window: 32 << 20,
            part: 4 << 20,
            parts_per_file: 4,
            parts_in_all: 8,
            small_file: 256 << 10,
            memory: 32 << 20,
        }
    }
}

/// Why content cannot be had. Cheap to clone: everyone who waited gets one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// The item has another version now; a handle on this one can read no more than what is cached.
    #[error("the file has changed in the cloud since it was opened")]
    Stale,
    /// No connection.
    #[error("the content is not on this machine and the cloud cannot be reached")]
    Offline,
    /// The caller's patience is over; the download may go on.
    #[error("the content did not arrive in time")]
    TimedOut,
    /// The file really has another size than its metadata said, in bytes. Known of photos from iOS and of
    /// protected files; the bytes are right and the metadata is not
    /// (<https://github.com/rclone/rclone/issues/2599>).
    #[error("the file really has {actual} bytes")]
    Size {
        /// The size the storage host reports.
        actual: u64,
    },
    /// Anything else the service said.
    #[error("{0}")]
    Remote(#[source] Arc<RemoteError>),
    /// It came whole several times, each time with other bytes, and never with those that the service names the hash of.
    #[error(
        "the content arrives damaged, in another way each time; something between OneDrive and this program changes it"
    )]
    Damaged,
    /// This machine failed: the sink of [`Fetcher::fill`], or the program itself.
    #[error("{0}")]
    Local(Arc<io::Error>),
}

impl From<RemoteError> for FetchError {
    fn from(error: RemoteError) -> Self {
        match error.kind {
            RemoteErrorKind::Changed => Self::Stale,
            RemoteErrorKind::Offline => Self::Offline,
            _ => Self::Remote(Arc::new(error)),
        }
    }
}

/// Takes the bytes that [`Fetcher::fill`] brings: offset and content, in no order, from several threads.
pub type Sink = Arc<dyn Fn(u64, Bytes) -> io::Result<()> + Send + Sync>;

/// Reads content through the cache. Cheap to clone; all clones share their downloads.
#[derive(Clone)]
pub struct Fetcher {
    shared: Arc<Shared>,
}

/// What somebody needs.
pub(super) struct Want<'a> {
    pub(super) key: &'a CacheKey,
    pub(super) size: u64,
    pub(super) range: Range<u64>,
    /// A request made for it may go on up to here.
    pub(super) until: u64,
    pub(super) urgency: Urgency,
    /// Who wants the bytes after the range; `None` means somebody will.
    pub(super) interest: Option<Interest>,
}

impl Fetcher {
    /// A fetcher over a cache.
    pub fn new(cache: ChunkCache, remote: Arc<dyn Remote>, clock: Arc<dyn Clock>, settings: Settings) -> Self {
        Self { shared: Arc::new(Shared::new(cache, remote, clock, settings)) }
    }

    /// The cache beneath.
    pub fn cache(&self) -> &ChunkCache {
        &self.shared.cache
    }

    /// No file is compared with its hash until the guard is dropped.
    #[cfg(test)]
    pub(super) fn compare_nothing(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.shared.hashing.try_acquire().expect("nothing is compared yet")
    }

    /// How many requests and checks are under way.
    pub fn running(&self) -> usize {
        self.shared.running.load(Ordering::Relaxed)
    }

    /// Content on its way here, with the bytes that are still to come, at most.
    pub fn coming(&self) -> Vec<(CacheKey, u64)> {
        self.shared.coming().into_iter().map(|(key, chunks)| (key, chunks * CHUNK)).collect()
    }

    /// Sets what is called when content that readers may have been given turns out not to match its hash, after it was
    /// dropped here. Once.
    pub fn on_disowned(&self, f: impl Fn(&CacheKey) + Send + Sync + 'static) {
        let _ = self.shared.disowned.set(Box::new(f));
    }

    /// Whether content of this version with this hash is taken for right although the service names another hash: it
    /// came with it from two downloads.
    pub fn is_trusted(&self, key: &CacheKey, found: &str) -> bool {
        self.shared.is_trusted(key, found)
    }

    /// Content that was handed out has turned out to be wrong: on return nothing of it is here any more, and what is read
    /// next comes from another download. Who else was given it is told.
    pub async fn disown(&self, key: &CacheKey) {
        self.shared.disown(key).await;
    }

    /// Reads a range of a file of `size` bytes; what lies beyond its end is left out. Bytes that are not
    /// here are waited for no longer than `deadline`.
    ///
    /// Must be called on a tokio runtime. Dropping the future gives up waiting and nothing else.
    pub async fn read(
        &self,
        key: &CacheKey,
        size: u64,
        range: Range<u64>,
        stream: &ReadStream,
        deadline: Duration,
    ) -> Result<Bytes, FetchError> {
        let range = range.start.min(size)..range.end.min(size);
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let settings = &self.shared.settings;
        // What the cache does not keep has to stay in memory until it is read.
        let kept = !self.shared.refused.load(Ordering::Relaxed);
        let max_window = if kept { settings.max_window } else { settings.max_window.min(settings.memory / 4) };
        let ahead = stream.note(&range, max_window, settings.part);
        let found = self.shared.cache.read_at(key, size, range.clone());
        self.shared.compare_what_was_found();
        let bytes = match found {
            Lookup::Hit(bytes) => {
                self.read_ahead(key, size, ahead.request, stream);
                return Ok(bytes);
            }
            Lookup::Missing(_) => {
                if self.shared.is_refused(key) {
                    return Err(FetchError::Damaged);
                }
                let until = if size <= settings.small_file { size } else { ahead.until.min(size) };
                let interest = Some(stream.interest());
                let want = Want { key, size, range, until, urgency: Urgency::Interactive, interest };
                // The request somebody waits for goes out before the ones for later.
                let claims = self.shared.claim(&want, &BTreeMap::new());
                self.read_ahead(key, size, ahead.request, stream);
                self.obtain(&want, Some(claims), Some(self.shared.clock.sleep(deadline))).await?
            }
        };
        Ok(bytes)
    }

    /// Brings ranges of a file here completely: into the cache, and to `sink` if there is one. Without a
    /// sink the content may be gone again afterwards if the cache has no room for it.
    ///
    /// Fails at the first part that cannot be had; what arrived before stays.
    pub async fn fill(
        &self,
        key: &CacheKey,
        size: u64,
        ranges: &RangeSet,
        urgency: Urgency,
        sink: Option<Sink>,
    ) -> Result<(), FetchError> {
        if self.shared.is_refused(key) && !self.shared.cache.is_complete(key, size) {
            return Err(FetchError::Damaged);
        }
        self.shared.compare_what_was_found();
        let part = self.shared.settings.part;
        let parts: Vec<Range<u64>> = ranges
            .within(0..size)
            .iter()
            .flat_map(|range| {
                // Cut where the grid of parts is, so that neighbours share no chunk.
                (range.start / part..range.end.div_ceil(part))
                    .map(move |n| range.start.max(n * part)..range.end.min((n + 1) * part))
            })
            .collect();
        futures_util::stream::iter(parts)
            .map(|range| {
                let sink = sink.clone();
                async move {
                    let (at, until) = (range.start, range.end);
                    let want = Want { key, size, range, until, urgency, interest: None };
                    let bytes = self.obtain(&want, None, None).await?;
                    let Some(sink) = sink else { return Ok(()) };
                    let written = tokio::task::spawn_blocking(move || sink(at, bytes)).await;
                    let written = written.unwrap_or_else(|lost| Err(io::Error::other(lost)));
                    written.map_err(|error| FetchError::Local(Arc::new(error)))
                }
            })
            .buffer_unordered(self.shared.settings.parts_per_file.max(1))
            .try_collect()
            .await
    }

    /// Requests what of a range is neither here nor under way, as far as the limits allow.
    fn read_ahead(&self, key: &CacheKey, size: u64, range: Range<u64>, stream: &ReadStream) {
        let end = range.end.min(size);
        if range.start >= end {
            return;
        }
        if let Err(at) = self.shared.read_ahead(key, size, range.start..end, &stream.interest()) {
            stream.not_requested(at);
        }
    }

    /// Waits until all bytes of a range were had, from wherever.
    async fn obtain(
        &self,
        want: &Want<'_>,
        mut claims: Option<Claim>,
        mut patience: Option<Sleep>,
    ) -> Result<Bytes, FetchError> {
        /// How often a chunk may be found here and then be damaged or evicted before it was read, or its
        /// readahead fail.
        const ROUNDS: usize = 8;
        /// How long a readahead that others go before is waited for. On a good line its answer is there by then.
        const TURN: Duration = Duration::from_secs(1);
        let shared = &self.shared;
        let mut have: BTreeMap<u64, Bytes> = BTreeMap::new();
        for _ in 0..ROUNDS {
            let claim = match claims.take() {
                Some(claim) => claim,
                None => shared.claim(want, &have),
            };
            have.extend(claim.here);
            for (chunk, mut receiver) in claim.coming {
                let arrived = async {
                    if want.urgency < Urgency::Background {
                        tokio::select! {
                            biased;
                            _ = receiver.wait_for(Option::is_some) => {}
                            () = shared.clock.sleep(TURN) => shared.hurry(want, chunk),
                        }
                    }
                    receiver.wait_for(Option::is_some).await.ok().and_then(|arrival| arrival.clone())
                };
                let arrived = match &mut patience {
                    None => arrived.await,
                    Some(patience) => tokio::select! {
                        biased;
                        arrived = arrived => arrived,
                        () = patience => return Err(FetchError::TimedOut),
                    },
                };
                match arrived {
                    Some(Arrival::Bytes(bytes)) => {
                        have.insert(chunk, bytes);
                    }
                    Some(Arrival::Failed { error, demanded: true }) => return Err(error),
                    // A readahead that failed or was given up: the next round asks in our own name.
                    Some(Arrival::Failed { demanded: false, .. }) | None => {}
                }
            }
            if let Some(bytes) = self.assemble(want, &have) {
                return Ok(bytes);
            }
        }
        Err(FetchError::Local(Arc::new(io::Error::other("cached content vanished again and again"))))
    }

    /// Joins arrived chunks and cached ones; `None` if one of them is not to be had any more.
    fn assemble(&self, want: &Want<'_>, have: &BTreeMap<u64, Bytes>) -> Option<Bytes> {
        let piece_of = |chunk: u64| {
            let start = chunk * CHUNK;
            let part = want.range.start.max(start)..want.range.end.min(start + CHUNK);
            match have.get(&chunk) {
                Some(bytes) => Some(bytes.slice((part.start - start) as usize..(part.end - start) as usize)),
                None => match self.shared.cache.read_at(want.key, want.size, part) {
                    Lookup::Hit(bytes) => Some(bytes),
                    Lookup::Missing(_) => None,
                },
            }
        };
        let chunks = chunks_of(&want.range);
        if chunks.end - chunks.start == 1 {
            return piece_of(chunks.start);
        }
        let mut joined = BytesMut::with_capacity((want.range.end - want.range.start) as usize);
        for chunk in chunks {
            joined.extend_from_slice(&piece_of(chunk)?);
        }
        Some(joined.freeze())
    }
}
