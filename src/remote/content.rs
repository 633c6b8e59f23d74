//! What every protocol has to know about ranges of content: which URL a version was found under, what proves that bytes
//! belong to it, and what the headers of an answer promise.
//!
//! Always true: no URL is used for longer than a quarter of an hour; a stream that leaves here has exactly the bytes that
//! were promised, or ends with an error.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use lru::LruCache;
use reqwest::StatusCode;
use url::Url;

use super::http::{Ask, Http};
use super::{Advice, Body, BodyStream, RemoteError, RemoteErrorKind, RemoteResult};
use crate::base::clock::Mono;
use crate::base::ids::{ContentTag, ItemId};
use crate::base::secret::Secret;

/// How long a URL is used. The service promises "a few minutes" in one place and an hour in another.
pub(super) const URL_LIFE: Duration = Duration::from_secs(15 * 60);

/// How many URLs are kept. One has a thousand bytes or two.
pub(super) const MAX_URLS: NonZeroUsize = NonZeroUsize::new(2048).expect("invariant: 2048 is not zero");

/// How much of an unasked-for beginning is skipped before a host that ignores `Range` is refused, in bytes.
pub(super) const MAX_SKIP: u64 = 32 << 20;

/// The largest whole file that is taken in before it is handed out, in bytes.
pub(super) const MAX_WHOLE: u64 = 1 << 20;

/// The one hop from the API to a storage host: where it says that content is.
pub(super) async fn storage_address(http: &Http, ask: &Ask) -> RemoteResult<Url> {
    let reply = http.signed(ask).await?;
    if !reply.status.is_redirection() {
        return match reply.success() {
            Err(failure) => Err(failure),
            Ok(_) => Err(RemoteError::protocol("the service sent content where it should name its address")),
        };
    }
    let location = reply.header("location").ok_or_else(|| RemoteError::protocol("a redirect that leads nowhere"))?;
    http.service_url(location)
}

/// A URL and the version it was made for.
#[derive(Clone)]
pub(super) struct DownloadUrl {
    pub url: Secret<Url>,
    /// The item that holds the bytes: another one for a shortcut.
    pub source: ItemId,
    pub tags: Vec<ContentTag>,
    pub meta_tag: String,
    pub size: u64,
    pub made: Mono,
    /// The host's validator of this version, once proven.
    pub validator: Option<String>,
}

/// The URLs at hand. Bounded; the one longest unused makes room.
pub(super) struct DownloadUrls {
    table: Mutex<LruCache<ItemId, DownloadUrl>>,
}

impl Default for DownloadUrls {
    fn default() -> Self {
        Self { table: Mutex::new(LruCache::new(MAX_URLS)) }
    }
}

impl DownloadUrls {
    pub fn get(&self, item: &ItemId, now: Mono) -> Option<DownloadUrl> {
        let mut table = self.lock();
        let url = table.get(item)?;
        if now.0.saturating_sub(url.made.0) > URL_LIFE.as_nanos() as u64 {
            table.pop(item);
            return None;
        }
        Some(url.clone())
    }

    pub fn put(&self, item: &ItemId, url: DownloadUrl) {
        self.lock().put(item.clone(), url);
    }

    pub fn drop_url(&self, item: &ItemId) {
        self.lock().pop(item);
    }

    pub fn prove(&self, item: &ItemId, made: Mono, validator: Option<&str>) {
        if let Some(url) = self.lock().peek_mut(item).filter(|url| url.made == made) {
            url.validator = validator.map(str::to_owned);
        }
    }

    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<ItemId, DownloadUrl>> {
        self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What is still to be shown about a range that is arriving.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Proof {
    /// Nothing: the host's validator says which version this is.
    Given,
    /// That its bytes have this hash.
    Hash(String),
    /// That the item has not changed meanwhile.
    Look,
    /// It cannot be: the host names another version than before.
    Impossible,
}

/// Which proof a range needs; the table is in the module's documentation. `whole` says that the range is a
/// whole small file.
pub(super) fn proof_for(
    validator: Option<&str>,
    proven: Option<&str>,
    meta_tag: &str,
    whole: bool,
    tag: &ContentTag,
) -> Proof {
    match (validator, proven) {
        (Some(now), _) if !meta_tag.is_empty() && strong(now) == strong(meta_tag) => Proof::Given,
        (Some(now), Some(before)) if now == before => Proof::Given,
        (Some(_), Some(_)) => Proof::Impossible,
        _ => match tag.hash() {
            Some(hash) if whole => Proof::Hash(hash.to_owned()),
            _ => Proof::Look,
        },
    }
}

/// A validator without the mark that front ends put on it when they compress.
pub(super) fn strong(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// What the headers of an answer promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Promise {
    /// Bytes to drop first.
    pub skip: u64,
    /// What comes then.
    pub range: Range<u64>,
    /// The real length of the file.
    pub total: Option<u64>,
}

/// Compares what was asked for with what comes.
///
/// | answer | result |
/// | --- | --- |
/// | 206 with the range asked for, or less where the file ends | that range |
/// | 206 with any other range | error: the host does not do what it is asked |
/// | 200, start of the range within 32 MiB | the beginning is skipped |
/// | 200, start farther away | error: a whole large file for one range |
pub(super) fn promise(
    asked: &Range<u64>,
    size: u64,
    status: StatusCode,
    content_range: Option<&str>,
    length: Option<u64>,
) -> RemoteResult<Promise> {
    let nonsense = |what: &str| {
        RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, format!("cannot read content: the host {what}"))
    };
    if status == StatusCode::PARTIAL_CONTENT {
        let (range, total) =
            content_range.and_then(parse_content_range).ok_or_else(|| nonsense("does not say which range it sends"))?;
        let end = asked.end.min(total.unwrap_or(asked.end));
        if range.start != asked.start || range.end != end {
            return Err(nonsense("sends another range than it was asked for"));
        }
        return Ok(Promise { skip: 0, range, total });
    }
    let total = length.unwrap_or(size);
    if asked.start >= total {
        return Ok(Promise { skip: 0, range: asked.start..asked.start, total: Some(total) });
    }
    if asked.start > MAX_SKIP {
        return Err(RemoteError::new(
            RemoteErrorKind::Unsupported,
            Advice::GiveUp,
            "cannot read content: the host sends whole files only, and this one is too large for that",
        ));
    }
    Ok(Promise { skip: asked.start, range: asked.start..asked.end.min(total), total: Some(total) })
}

/// Reads `bytes 5-9/100` or `bytes 5-9/*` as a half-open range and a total.
pub(super) fn parse_content_range(text: &str) -> Option<(Range<u64>, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?);
    (first <= last).then_some(())?;
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse::<u64>().ok()?),
    };
    Some((first..last.checked_add(1)?, total))
}

/// Cuts a stream to exactly the bytes promised: drops `skip`, passes `length`, ignores the rest, and fails
/// if there are fewer.
pub(super) fn exactly(body: BodyStream, skip: u64, length: u64) -> BodyStream {
    futures_util::stream::unfold(Some((body, skip, length)), |state| async move {
        let (mut body, mut skip, mut left) = state?;
        while left > 0 {
            let mut piece = match body.next().await {
                Some(Ok(piece)) => piece,
                Some(Err(failure)) => return Some((Err(failure), None)),
                None => {
                    let context = "cannot read content: the answer ended early";
                    return Some((Err(RemoteError::offline(context)), None));
                }
            };
            let dropped = skip.min(piece.len() as u64);
            skip -= dropped;
            piece = piece.slice(dropped as usize..);
            piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= piece.len() as u64;
            if !piece.is_empty() {
                return Some((Ok(piece), Some((body, skip, left))));
            }
        }
        None
    })
    .boxed()
}

/// Takes a body in that is known to be small.
pub(super) async fn collect(mut body: BodyStream) -> RemoteResult<Bytes> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes.freeze())
}

pub(super) fn empty(at: u64, total: u64) -> Body {
    Body { range: at..at, total: Some(total), stream: futures_util::stream::empty().boxed() }
}

pub(super) fn changed() -> RemoteError {
    RemoteError::new(RemoteErrorKind::Changed, Advice::GiveUp, "the file has another version now")
}

pub(super) fn is_page(content_type: Option<&str>) -> bool {
    let kind = content_type.unwrap_or_default().to_ascii_lowercase();
    kind.starts_with("text/html") || kind.starts_with("application/json")
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any text as `Content-Range`, against a few ranges that were asked for.
pub(crate) fn fuzz(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for asked in [0..1, 0..5, 5..10, 1 << 40..1 << 41, u64::MAX - 1..u64::MAX] {
        for status in [StatusCode::PARTIAL_CONTENT, StatusCode::OK] {
            for length in [None, Some(0), Some(u64::MAX)] {
                if let Ok(promise) = promise(&asked, 10, status, Some(&text), length) {
                    assert!(promise.range.start == asked.start && promise.range.end <= asked.end);
                    assert!(promise.skip <= MAX_SKIP);
                }
            }
        }
    }
}
