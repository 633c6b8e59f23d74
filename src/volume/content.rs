//! The way to clean bytes: the cache, and behind it the cloud. The one file of the volume that talks to both.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::handles::Pin;
use super::tree::Seen;
use super::{KernelNotice, NodeKind, Volume, VolumeError, VolumeResult, locked};
use crate::base::ids::{ContentTag, Ino, ItemId};
use crate::base::ranges::RangeSet;
use crate::cache::{CacheKey, ChunkCache, FetchError, Fetcher, ReadStream};
use crate::journal::uploader::Versions;
use crate::journal::{Draft, SpoolBase, StoreError};
use crate::remote::{Advice, RemoteError, RemoteErrorKind};

/// The most bytes of a clean file that are sent again to keep the identity of the one it is renamed over: 32 MiB. Copying
/// them holds up other names for a moment, and a document is worth that; a film is deleted and renamed instead.
const MOST_SENT_AGAIN: u64 = 32 << 20;

impl From<FetchError> for VolumeError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Stale => Self::Stale,
            FetchError::Offline => Self::Offline,
            FetchError::TimedOut => Self::TimedOut,
            FetchError::Size { .. } | FetchError::Damaged => Self::Failed(error.to_string()),
            FetchError::Remote(error) => error.share().into(),
            FetchError::Local(error) => Self::Failed(error.to_string()),
        }
    }
}

/// Evicts so many bytes, or none: nothing has to go for what would not fit then either. Returns how many went.
fn let_go_of(cache: &ChunkCache, bytes: u64) -> u64 {
    cache.usage().bytes.checked_sub(bytes).map_or(0, |rest| cache.evict_now(rest))
}

impl Volume {
    /// Bytes of a version; fewer where it ends. The service reports wrong sizes of some files for good (photos from
    /// iOS, protected documents); the bytes are right, so what a reader holds of the size is corrected on the way
    /// (<https://github.com/rclone/rclone/issues/2599>).
    pub(super) async fn read_version(
        &self,
        ino: Ino,
        pin: &mut Pin,
        wanted: Range<u64>,
        stream: &ReadStream,
    ) -> VolumeResult<Bytes> {
        let mut corrected = false;
        loop {
            let range = wanted.start..wanted.end.min(pin.size);
            if range.is_empty() {
                // The kernel reads ahead to the end that it was told. A first answer of nothing beyond the real end
                // would make it take that place for the end; an error leaves that to the read in which the file
                // ends.
                let beyond = wanted.start > pin.size && wanted.start < pin.told;
                return if beyond { Err(VolumeError::Stale) } else { Ok(Bytes::new()) };
            }
            match self.fetcher.read(&pin.key, pin.size, range, stream, self.settings.patience).await {
                Err(FetchError::Size { actual }) if !corrected => {
                    corrected = true;
                    self.note_real_size(&pin.key, actual);
                    self.tell_size(ino, pin.told, actual).await;
                    pin.size = actual;
                }
                Err(error) => {
                    // What is shown has gone or changed, and nobody has said so yet.
                    let is_contradicted = match &error {
                        FetchError::Stale => true,
                        FetchError::Remote(error) => error.kind == RemoteErrorKind::NotFound,
                        _ => false,
                    };
                    if is_contradicted && self.shows(&pin.key) {
                        self.in_doubt(&pin.key.item);
                    }
                    return Err(error.into());
                }
                Ok(bytes) => return Ok(bytes),
            }
        }
    }

    /// Whether the index still has this version: a handle may be open on one that is long gone.
    fn shows(&self, key: &CacheKey) -> bool {
        let row = self.index.by_id(&key.item).ok().flatten();
        row.is_some_and(|row| row.content_tag.as_ref() == Some(&key.tag))
    }

    /// The size that the bytes of a version have, if it is known to be another one than the service reports.
    pub(super) fn real_size(&self, item: &ItemId, tag: &ContentTag) -> Option<u64> {
        if self.wrong_sizes.load(Ordering::Relaxed) == 0 {
            return None;
        }
        locked(&self.real_sizes).get(&CacheKey::new(item, tag)).copied()
    }

    fn note_real_size(&self, key: &CacheKey, size: u64) {
        tracing::info!(item = ?key.item, size, "the file really has another size than the service reports");
        let count = {
            let mut sizes = locked(&self.real_sizes);
            sizes.put(key.clone(), size);
            sizes.len()
        };
        self.wrong_sizes.store(count, Ordering::Relaxed);
        self.touch();
    }

    /// Lets the kernel know the real size before it gets the first bytes.
    ///
    /// A file that is longer than it was told ends for a reader where it was told, unless the kernel has forgotten
    /// that by then. Of a shorter one it learns by the short answer itself, if nothing else has touched the
    /// attributes meanwhile (`fuse_short_read` in the kernel's fs/fuse/file.c), so it is reminded later.
    async fn tell_size(&self, ino: Ino, told: u64, real: u64) {
        const STEP: Duration = Duration::from_millis(5);
        const STEPS: u32 = 200;
        if real > told {
            self.kernel.post(KernelNotice::Attributes(ino));
            for _ in 0..STEPS {
                if self.kernel.has_heard() {
                    break;
                }
                self.clock.sleep(STEP).await;
            }
        } else {
            let (kernel, later) = (self.kernel.clone(), self.clock.sleep(Duration::from_secs(2)));
            tokio::spawn(async move {
                later.await;
                kernel.post(KernelNotice::Attributes(ino));
            });
        }
    }

    /// Puts what the cache has of a draft's base into the draft, if there is room for it. What stays behind is read from
    /// the cache, and stays there for as long as the draft misses it: the cloud may have another version by then.
    pub(super) fn fill_from_cache(&self, draft: &Draft) {
        let Some(base) = draft.base() else { return };
        let key = CacheKey { item: base.item, tag: base.tag };
        let room = |more| self.journal.has_room(more);
        draft.fill_with(|file| {
            let copied = self.cache.copy_ranges_into(&key, base.size, file, &room);
            copied.unwrap_or_else(|error| {
                tracing::warn!(%error, "cached bytes cannot be copied for an edit; they stay in the cache");
                RangeSet::new()
            })
        });
        self.keep_base(draft);
    }

    fn keep_base(&self, draft: &Draft) {
        let missing = draft.missing();
        let Some(base) = draft.base().filter(|_| !missing.is_empty()) else { return };
        let key = CacheKey { item: base.item, tag: base.tag };
        let pin = self.cache.pin(&key);
        if !self.cache.present(&key, base.size).intersect(&missing).is_empty() {
            draft.keep_base(Arc::new(pin));
        }
    }

    /// After a start: what drafts of an earlier run need of the cache stays in it.
    pub(super) fn keep_bases(&self) {
        for draft in self.journal.incomplete_drafts() {
            self.keep_base(&draft);
        }
    }

    /// Lets clean bytes go so that a copy of `bytes` finds room. Says whether there is more room than before.
    pub(super) fn make_way(&self, bytes: u64) -> bool {
        let lacking = self.journal.lacks(bytes);
        lacking > 0 && let_go_of(&self.cache, lacking) > 0
    }

    /// A file is about to be renamed over another: if it is clean, all its bytes are here and they are not too many to be
    /// sent again, it becomes an edit, so that the target keeps its identity in the cloud. Says whether it is one now.
    pub(super) fn bring_bytes_for_takeover(&self, source: &Seen, target: &Seen) -> VolumeResult<bool> {
        if source.kind != NodeKind::File || target.kind != NodeKind::File || target.item.is_none() {
            return Ok(false);
        }
        let Some((item, tag, size)) = &source.version else { return Ok(true) };
        let key = CacheKey { item: item.clone(), tag: tag.clone() };
        if *size > MOST_SENT_AGAIN || !self.cache.is_complete(&key, *size) {
            return Ok(false);
        }
        let modified = source.modified;
        let draft = match self.journal.writable(self.subject(source), *size == 0) {
            // Somebody has begun to edit it, or there is more to see before it is moved.
            Err(StoreError::NotAsSeen) => return Ok(true),
            draft => draft?,
        };
        self.fill_from_cache(&draft);
        if !draft.missing().is_empty() {
            // Evicted in between, and the upload will fetch what is missing while the old item still exists; or kept in
            // the cache, because there was no room.
            tracing::debug!(ino = %source.ino, "a takeover misses bytes");
        }
        draft.set_modified(modified);
        self.follow_edit(source.ino, Some(&key));
        self.journal.seal(source.ino)?;
        Ok(true)
    }
}

/// The versions of a drive, for the uploader.
pub struct CachedVersions {
    /// Clean bytes.
    pub cache: ChunkCache,
    /// Fetches them.
    pub fetcher: Fetcher,
    /// Where links to spool files are made.
    pub disk: Arc<dyn crate::base::disk::Disk>,
    /// How long one piece may take to arrive.
    pub patience: Duration,
}

#[async_trait]
impl Versions for CachedVersions {
    async fn read(&self, version: &SpoolBase, range: Range<u64>) -> Result<Bytes, RemoteError> {
        let key = CacheKey { item: version.item.clone(), tag: version.tag.clone() };
        let stream = ReadStream::new();
        let mut read = self.fetcher.read(&key, version.size, range.clone(), &stream, self.patience).await;
        if let Err(FetchError::Size { actual }) = read {
            // The file was edited before anybody had read it. The bytes are right, and the reported size was not.
            read = self.fetcher.read(&key, actual, range, &stream, self.patience).await;
        }
        read.map_err(|error| match error {
            FetchError::Stale => {
                RemoteError::new(RemoteErrorKind::Changed, Advice::GiveUp, "the file has another version now")
            }
            FetchError::Offline => RemoteError::offline("the rest of an edited file cannot be fetched now"),
            FetchError::TimedOut => RemoteError::offline("the rest of an edited file did not arrive in time"),
            FetchError::Size { .. } => RemoteError::protocol(error.to_string()),
            FetchError::Damaged => RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, error.to_string()),
            FetchError::Remote(error) => error.share(),
            FetchError::Local(error) => RemoteError::new(RemoteErrorKind::Local, Advice::Retry, error.to_string()),
        })
    }

    fn is_trusted(&self, version: &SpoolBase, hash: &str) -> bool {
        self.fetcher.is_trusted(&CacheKey::new(&version.item, &version.tag), hash)
    }

    async fn disown(&self, version: &SpoolBase) {
        self.fetcher.disown(&CacheKey::new(&version.item, &version.tag)).await;
    }

    fn renamed(&self, item: &ItemId, from: &ContentTag, to: &ContentTag, size: u64) {
        let key = |tag: &ContentTag| CacheKey { item: item.clone(), tag: tag.clone() };
        self.cache.carry_over(&key(from), &key(to), size);
    }

    fn make_way(&self, bytes: u64) {
        let_go_of(&self.cache, bytes);
    }

    fn adopt(&self, item: &ItemId, tag: &ContentTag, draft: &Draft) {
        let (size, spool) = (draft.size(), draft.path());
        let key = CacheKey { item: item.clone(), tag: tag.clone() };
        // The journal keeps the spool until its log is safe, so the cache gets a name of its own for the bytes.
        let mut name = spool.as_os_str().to_owned();
        name.push(".adopted");
        let link = std::path::PathBuf::from(name);
        let adopted = self
            .disk
            .link(spool, &link)
            .and_then(|()| self.cache.adopt(&key, size, &link, draft.block_sums().as_deref()));
        if let Err(error) = adopted {
            tracing::debug!(%error, "uploaded bytes were not kept in the cache");
            let _ = self.disk.remove(&link);
        }
    }
}
