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
//! Also handled here: URLs expire (a refused one is fetched anew once); an error page may come with status 200; and
//! the real length may differ from the metadata, in which case the bytes are right
//! (<https://github.com/OneDrive/onedrive-api-docs/issues/1723>). What does not depend on Graph is in
//! [`crate::remote::content`].

use std::ops::Range;

use futures_util::StreamExt as _;
use reqwest::StatusCode;
use url::Url;

use super::wire::{SELECT, WireItem};
use super::{Graph, look};
use crate::base::clock::Mono;
use crate::base::hash::QuickXorHash;
use crate::base::ids::{ContentTag, DriveId, ItemId};
use crate::base::secret::Secret;
use crate::remote::content::{
    DownloadUrl, MAX_WHOLE, Proof, changed, collect, empty, exactly, is_page, promise, proof_for, storage_address,
};
use crate::remote::http::{Ask, Reply, Streaming, content_length, header};
use crate::remote::{Advice, At, Body, Item, RemoteError, RemoteErrorKind, RemoteResult};

/// The longest URL that is kept because a listing named it, in bytes: there are thousands of them.
const LONGEST_KEPT: usize = 8 << 10;

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

    /// The URL that a listing names for a file, with the version it stands for. Shortcuts have none of their own.
    pub(super) fn url_of(&self, wire: &WireItem, made: Mono) -> Option<DownloadUrl> {
        if wire.length() == 0 || wire.link_to().is_some() {
            return None;
        }
        // One that cannot be used is as good as none: reading asks again.
        let url = self.http.service_url(wire.download_url().filter(|url| url.expose().len() <= LONGEST_KEPT)?.expose());
        let url = url.ok()?;
        let (tags, meta_tag, size) = (wire.content_tags(), wire.meta_tag().0, wire.length());
        let nobody = ItemId::new(&DriveId::new(""), "");
        Some(DownloadUrl { url: Secret::new(url), source: nobody, tags, meta_tag, size, made, validator: None })
    }

    /// Keeps the URL of a listed file for whoever reads it next, with a connection that leads there.
    pub(super) fn keep_url(&self, item: &Item, url: DownloadUrl) {
        self.http.warm(url.url.expose());
        self.urls.put(&item.id, DownloadUrl { source: item.id.clone(), ..url });
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

    /// Asks `/content` where the item does not carry a URL.
    async fn redirect(&self, item: &ItemId) -> RemoteResult<Url> {
        let ask = Ask::get(self.item_url(item, "/content")?, "find the content of a file");
        storage_address(&self.http, &ask).await
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
            if self.http.is_home(&next) && !self.http.is_home(url.url.expose()) {
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
        let length = content_length(&headers);
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

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
