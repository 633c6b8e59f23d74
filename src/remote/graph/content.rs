//! Ranges of bytes, each with proof of the version it belongs to.
//!
//! Content is served by storage hosts under pre-authenticated URLs that name an item, not a version: behind
//! a URL fetched a minute ago there may be other bytes now. A mixture of two versions in one file is the
//! worst thing this program could show, and whoever reads may keep what it gets piece by piece, so not one
//! byte is handed out before one of these holds:
//!
//! | proof | when |
//! | --- | --- |
//! | validator | the host's `ETag` is the item's own, or one already proven for this URL |
//! | hash | the range is a whole small file and its bytes have the hash of the version |
//! | second look | the item still has the version after the host began to answer |
//!
//! The second look costs a request; where hosts send validators it is needed once for a URL. Whole small
//! files are taken in completely, so that bytes damaged on the way are fetched again; if they come the same
//! twice, the service has other bytes than its hash says, and they are what there is.
//!
//! Also handled here: URLs expire (kept a quarter of an hour at most; a refused one is fetched anew once);
//! a host may ignore `Range` and send everything; an error page may come with status 200; a body may break
//! off; and the real length may differ from the metadata, in which case the bytes are right
//! (<https://github.com/OneDrive/onedrive-api-docs/issues/1723>).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use reqwest::StatusCode;
use url::Url;

use super::wire::{SELECT, WireItem};
use super::{Graph, look};
use crate::base::clock::Mono;
use crate::base::hash::QuickXorHash;
use crate::base::ids::{ContentTag, ItemId};
use crate::base::secret::Secret;
use crate::remote::http::{Ask, Reply, Streaming, header};
use crate::remote::{Advice, At, Body, BodyStream, RemoteError, RemoteErrorKind, RemoteResult};

/// How long a URL is used. The service promises "a few minutes" in one place and an hour in another.
const URL_LIFE: Duration = Duration::from_secs(15 * 60);

/// How many URLs are kept.
const MAX_URLS: usize = 1024;

/// How much of an unasked-for beginning is skipped before a host that ignores `Range` is refused, in bytes.
const MAX_SKIP: u64 = 32 << 20;

/// The largest whole file that is taken in before it is handed out, in bytes.
const MAX_WHOLE: u64 = 1 << 20;

/// A URL and the version it was made for.
#[derive(Clone)]
struct DownloadUrl {
    url: Secret<Url>,
    /// The item that holds the bytes: another one for a shortcut.
    source: ItemId,
    tags: Vec<ContentTag>,
    meta_tag: String,
    size: u64,
    made: Mono,
    /// The host's validator of this version, once proven.
    validator: Option<String>,
}

/// The URLs at hand. Bounded; the oldest makes room.
#[derive(Default)]
pub(super) struct DownloadUrls {
    table: Mutex<HashMap<ItemId, DownloadUrl>>,
}

impl DownloadUrls {
    fn get(&self, item: &ItemId, now: Mono) -> Option<DownloadUrl> {
        let mut table = self.lock();
        let url = table.get(item)?;
        if now.0.saturating_sub(url.made.0) > URL_LIFE.as_nanos() as u64 {
            table.remove(item);
            return None;
        }
        Some(url.clone())
    }

    fn put(&self, item: &ItemId, url: DownloadUrl) {
        let mut table = self.lock();
        if table.len() >= MAX_URLS && !table.contains_key(item) {
            let oldest = table.iter().min_by_key(|(_, url)| url.made).map(|(id, _)| id.clone());
            oldest.and_then(|id| table.remove(&id));
        }
        table.insert(item.clone(), url);
    }

    fn drop_url(&self, item: &ItemId) {
        self.lock().remove(item);
    }

    fn prove(&self, item: &ItemId, made: Mono, validator: Option<&str>) {
        if let Some(url) = self.lock().get_mut(item).filter(|url| url.made == made) {
            url.validator = validator.map(str::to_owned);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ItemId, DownloadUrl>> {
        self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What is still to be shown about a range that is arriving.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Proof {
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
fn proof_for(validator: Option<&str>, proven: Option<&str>, meta_tag: &str, whole: bool, tag: &ContentTag) -> Proof {
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
fn strong(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// What the headers of an answer promise.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Promise {
    /// Bytes to drop first.
    skip: u64,
    /// What comes then.
    range: Range<u64>,
    /// The real length of the file.
    total: Option<u64>,
}

/// Compares what was asked for with what comes.
///
/// | answer | result |
/// | --- | --- |
/// | 206 with the range asked for, or less where the file ends | that range |
/// | 206 with any other range | error: the host does not do what it is asked |
/// | 200, start of the range within 32 MiB | the beginning is skipped |
/// | 200, start farther away | error: a whole large file for one range |
fn promise(
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
fn parse_content_range(text: &str) -> Option<(Range<u64>, Option<u64>)> {
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

impl Graph {
    pub(super) async fn read_range(&self, item: &ItemId, tag: &ContentTag, range: Range<u64>) -> RemoteResult<Body> {
        if range.is_empty() {
            return Err(RemoteError::protocol("cannot read content: the range is empty"));
        }
        /// How often a whole small file is fetched until it has its hash or comes the same twice.
        const READS: usize = 4;
        let mut refetched = false;
        let mut wrong: Vec<String> = Vec::new();
        loop {
            let at_hand = self.urls.get(item, self.clock.monotonic()).filter(|url| url.tags.contains(tag));
            let url = match at_hand {
                Some(url) => url,
                None => self.resolve(item, tag).await?,
            };
            if url.size == 0 {
                // Nothing to ask for; hosts answer 416 to any range of it.
                return Ok(empty(range.start, 0));
            }
            match self.fetch(item, tag, &range, &url).await? {
                Fetched::Body(body) => return Ok(body),
                Fetched::Doubtful(body, hash) if wrong.contains(&hash) => {
                    warn_of_hash(item);
                    return Ok(body);
                }
                Fetched::Doubtful(_, hash) => wrong.push(hash),
                Fetched::Refused(reply) if refetched => return refused(&reply, &range),
                Fetched::Stale if refetched => return Err(changed()),
                Fetched::Refused(_) | Fetched::Stale => {
                    self.urls.drop_url(item);
                    refetched = true;
                }
            }
            if wrong.len() >= READS {
                let context = "cannot read content: it arrives damaged, in another way each time";
                return Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context));
            }
        }
    }

    /// Fetches a URL together with the version it stands for.
    async fn resolve(&self, item: &ItemId, tag: &ContentTag) -> RemoteResult<DownloadUrl> {
        let made = self.clock.monotonic();
        let mut source = item.clone();
        let mut wire = self.fetch_with_url(&source).await?;
        if let Some(target) = wire.link_to() {
            source = target;
            wire = self.fetch_with_url(&source).await?;
        }
        let tags = wire.content_tags();
        if !tags.contains(tag) {
            self.urls.drop_url(item);
            return Err(changed());
        }
        let size = wire.length();
        let url = match wire.download_url() {
            Some(address) => self.http.service_url(address.expose())?,
            None if size == 0 => self.item_url(&source, "/content")?,
            None => self.redirect(&source).await?,
        };
        let meta_tag = wire.meta_tag().0;
        let resolved = DownloadUrl { url: Secret::new(url), source, tags, meta_tag, size, made, validator: None };
        self.urls.put(item, resolved.clone());
        Ok(resolved)
    }

    async fn fetch_with_url(&self, item: &ItemId) -> RemoteResult<WireItem> {
        let url = self.item_url(item, &format!("?$select={SELECT},@microsoft.graph.downloadUrl"))?;
        let wire: WireItem = self.ask(&look(url, "find the content of a file")).await?.parse()?;
        if wire.is_deleted() {
            return Err(RemoteError::new(RemoteErrorKind::NotFound, Advice::GiveUp, "the file is in the recycle bin"));
        }
        Ok(wire)
    }

    /// Asks `/content` where the item does not carry a URL, and takes the one hop it names.
    async fn redirect(&self, item: &ItemId) -> RemoteResult<Url> {
        let ask = Ask::get(self.item_url(item, "/content")?, "find the content of a file");
        let reply = self.http.graph(&ask).await?;
        if !reply.status.is_redirection() {
            return match reply.success() {
                Err(failure) => Err(failure),
                Ok(_) => Err(RemoteError::protocol("the service sent content where it should name its address")),
            };
        }
        let location =
            reply.header("location").ok_or_else(|| RemoteError::protocol("a redirect that leads nowhere"))?;
        self.http.service_url(location)
    }

    async fn fetch(
        &self,
        item: &ItemId,
        tag: &ContentTag,
        range: &Range<u64>,
        url: &DownloadUrl,
    ) -> RemoteResult<Fetched> {
        let wanted = format!("bytes={}-{}", range.start, range.end - 1);
        let ask = Ask::get(url.url.expose().clone(), "read content").header("range", &wanted)?;
        let mut answer = self.http.content(&ask).await?;
        if let Err(reply) = &answer
            && reply.status.is_redirection()
            && let Some(location) = reply.header("location")
        {
            let next = self.http.service_url(location)?;
            if self.http.is_graph(&next) && !self.http.is_graph(url.url.expose()) {
                return Err(RemoteError::protocol("a storage host leads back to the service"));
            }
            let ask = Ask::get(next, "read content").header("range", &wanted)?;
            answer = self.http.content(&ask).await?;
        }
        let Streaming { status, headers, body } = match answer {
            Ok(streaming) => streaming,
            Err(reply) if is_final(&reply) => return Err(reply.failure()),
            Err(reply) => return Ok(Fetched::Refused(reply)),
        };
        let length = header(&headers, "content-length").and_then(|text| text.trim().parse::<u64>().ok());
        if status == StatusCode::OK && is_page(header(&headers, "content-type")) && length != Some(url.size) {
            // A sign-in or error page in place of the file: it was stored as content by programs that did
            // not look.
            return Err(RemoteError::new(
                RemoteErrorKind::Unavailable,
                Advice::Retry,
                "cannot read content: the host sent a page in place of the file",
            ));
        }
        let promise = promise(range, url.size, status, header(&headers, "content-range"), length)?;
        let whole =
            promise.range.start == 0 && Some(promise.range.end) == promise.total && promise.range.end <= MAX_WHOLE;
        let validator = header(&headers, "etag").map(str::to_owned);
        let proof = proof_for(validator.as_deref(), url.validator.as_deref(), &url.meta_tag, whole, tag);
        let total = promise.total;
        let body = exactly(body, promise.skip, promise.range.end - promise.range.start);
        let range = promise.range;
        match proof {
            Proof::Impossible => return Ok(Fetched::Stale),
            Proof::Given => {}
            Proof::Hash(hash) => {
                let bytes = collect(body).await?;
                let found = QuickXorHash::of(&bytes);
                let matches = found == hash;
                if !matches {
                    self.look_again(item, tag, url).await?;
                }
                self.urls.prove(item, url.made, validator.as_deref());
                let stream = futures_util::stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed();
                let body = Body { range, total, stream };
                return Ok(if matches { Fetched::Body(body) } else { Fetched::Doubtful(body, found) });
            }
            Proof::Look => self.look_again(item, tag, url).await?,
        }
        self.urls.prove(item, url.made, validator.as_deref());
        Ok(Fetched::Body(Body { range, total, stream: body }))
    }

    /// Looks whether the item still has the version that a URL was made for.
    async fn look_again(&self, item: &ItemId, tag: &ContentTag, url: &DownloadUrl) -> RemoteResult<()> {
        let now = self.fetch_item(At::Id(&url.source)).await?;
        if now.content_tags().contains(tag) {
            return Ok(());
        }
        self.urls.drop_url(item);
        Err(changed())
    }
}

/// An answer of the storage host.
enum Fetched {
    Body(Body),
    /// A whole file whose bytes do not have the hash of the version, but this one.
    Doubtful(Body, String),
    /// The URL was refused; a new one may not be.
    Refused(Reply),
    /// The host has another version than the URL was made for.
    Stale,
}

/// Cuts a stream to exactly the bytes promised: drops `skip`, passes `length`, ignores the rest, and fails
/// if there are fewer.
fn exactly(body: BodyStream, skip: u64, length: u64) -> BodyStream {
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
async fn collect(mut body: BodyStream) -> RemoteResult<Bytes> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes.freeze())
}

/// Photos and documents that the service rewrites are like this for good
/// (<https://github.com/OneDrive/onedrive-api-docs/issues/935>).
fn warn_of_hash(item: &ItemId) {
    tracing::warn!(?item, "the bytes of a file do not have the hash that the service names");
}

/// Whether a refusal says something about the file, not about the URL.
fn is_final(reply: &Reply) -> bool {
    let kind = reply.failure().kind;
    matches!(kind, RemoteErrorKind::Malware | RemoteErrorKind::Throttled | RemoteErrorKind::Unavailable)
}

/// What it means that even a fresh URL was refused.
fn refused(reply: &Reply, range: &Range<u64>) -> RemoteResult<Body> {
    if reply.status == StatusCode::RANGE_NOT_SATISFIABLE {
        let total = reply.header("content-range").and_then(|text| text.rsplit_once('/')?.1.trim().parse::<u64>().ok());
        if let Some(total) = total.filter(|&total| total <= range.start) {
            // The file is shorter than its metadata says.
            return Ok(empty(range.start, total));
        }
    }
    let mut failure = reply.failure();
    if matches!(failure.kind, RemoteErrorKind::NotFound | RemoteErrorKind::Expired) {
        // The item is there, as it was a moment ago; its storage is not ready.
        (failure.kind, failure.advice) = (RemoteErrorKind::Unavailable, Advice::Retry);
    }
    if failure.advice == Advice::Refresh {
        failure.advice = Advice::GiveUp;
    }
    Err(failure)
}

fn empty(at: u64, total: u64) -> Body {
    Body { range: at..at, total: Some(total), stream: futures_util::stream::empty().boxed() }
}

fn changed() -> RemoteError {
    RemoteError::new(RemoteErrorKind::Changed, Advice::GiveUp, "the file has another version now")
}

fn is_page(content_type: Option<&str>) -> bool {
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

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
