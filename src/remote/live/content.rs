//! Ranges of bytes behind a redirect, each with proof of the version it belongs to.
//!
//! `GET {file}/content` answers with the address of a storage host, which needs no token and must not get one. It serves
//! whatever the file holds at that moment, so the version is looked at when the address is fetched, and again after the
//! host has begun to answer: not one byte is handed out before. Where the host sends a validator, one second look counts
//! for all ranges that carry the same. The `source` of an object is not used: of photos it was not said to be the file.
//!
//! Also handled here: a host that has an expired credential answers with success, no body, and a challenge in its headers
//! (<https://github.com/OneDrive/onedrive-api-docs/issues/320>; a client that did not look wrote empty files over good
//! ones); addresses that expire; hosts that ignore `Range`, send pages, or break off.

use std::ops::Range;

use reqwest::StatusCode;

use super::{Live, look};
use crate::base::ids::{ContentTag, ItemId};
use crate::base::secret::Secret;
use crate::remote::content::{
    DownloadUrl, Proof, changed, empty, exactly, is_page, promise, proof_for, storage_address,
};
use crate::remote::http::{Ask, Reply, Streaming, challenges_token, content_length, header};
use crate::remote::{Advice, Body, RemoteError, RemoteErrorKind, RemoteResult};

/// An answer of the storage host.
enum Fetched {
    Body(Body),
    /// The address was refused; a new one may not be.
    Refused(RemoteError),
    /// The host has another version than the address was made for.
    Stale,
}

impl Live {
    pub(super) async fn read_range(&self, item: &ItemId, tag: &ContentTag, range: Range<u64>) -> RemoteResult<Body> {
        if range.is_empty() {
            return Err(RemoteError::protocol("cannot read content: the range is empty"));
        }
        let mut refetched = false;
        loop {
            let at_hand = self.urls.get(item, self.clock.monotonic()).filter(|url| url.tags.contains(tag));
            let url = match at_hand {
                Some(url) => url,
                None => self.resolve(item, tag).await?,
            };
            if url.size == 0 || range.start >= url.size {
                // Nothing to ask for; hosts answer 416 to any range of it.
                return Ok(empty(range.start, url.size));
            }
            match self.fetch_range(item, tag, &range, &url).await? {
                Fetched::Body(body) => return Ok(body),
                Fetched::Refused(failure) if refetched => return Err(failure),
                Fetched::Stale if refetched => return Err(changed()),
                Fetched::Refused(_) | Fetched::Stale => {
                    self.urls.drop_url(item);
                    refetched = true;
                }
            }
        }
    }

    /// Fetches an address together with the version it stands for.
    async fn resolve(&self, item: &ItemId, tag: &ContentTag) -> RemoteResult<DownloadUrl> {
        let made = self.clock.monotonic();
        let (size, tags) = self.version_now(item, tag).await?;
        let own = self.item_url(item, "/content", "download=true")?;
        let url =
            if size == 0 { own } else { storage_address(&self.http, &look(own, "find the content of a file")).await? };
        let resolved = DownloadUrl {
            url: Secret::new(url),
            source: item.clone(),
            tags,
            meta_tag: String::new(),
            size,
            made,
            validator: None,
        };
        self.urls.put(item, resolved.clone());
        Ok(resolved)
    }

    /// The size of the file and the names of its version, if that is the one that is asked for.
    async fn version_now(&self, item: &ItemId, tag: &ContentTag) -> RemoteResult<(u64, Vec<ContentTag>)> {
        let now = self.stat_surely(crate::remote::At::Id(item)).await?;
        let tags = now.content_tag.map(|now| self.versions_of(item, &now)).unwrap_or_default();
        if !tags.contains(tag) {
            self.urls.drop_url(item);
            return Err(changed());
        }
        Ok((now.size, tags))
    }

    async fn fetch_range(
        &self,
        item: &ItemId,
        tag: &ContentTag,
        range: &Range<u64>,
        url: &DownloadUrl,
    ) -> RemoteResult<Fetched> {
        let wanted = format!("bytes={}-{}", range.start, range.end - 1);
        let ask = |url: url::Url| {
            // A host that compresses makes nonsense of a range.
            Ask::get(url, "read content").header("range", &wanted)?.header("accept-encoding", "identity")
        };
        let mut answer = self.http.content(&ask(url.url.expose().clone())?).await?;
        if let Err(reply) = &answer
            && reply.status.is_redirection()
            && let Some(location) = reply.header("location")
        {
            let next = self.http.service_url(location)?;
            answer = self.http.content(&ask(next)?).await?;
        }
        let Streaming { status, headers, body } = match answer {
            Ok(streaming) => streaming,
            Err(reply) if is_final(&reply) => return Err(reply.failure()),
            Err(reply) => return Ok(refusal(&reply, range)),
        };
        let length = content_length(&headers);
        if challenges_token(&headers) {
            let context = "cannot read content: the address has expired";
            return Ok(Fetched::Refused(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context)));
        }
        if status == StatusCode::OK && is_page(header(&headers, "content-type")) && length != Some(url.size) {
            let context = "cannot read content: the host sent a page in place of the file";
            return Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context));
        }
        if header(&headers, "content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            let context = "cannot read content: the host compresses what it was asked to send as it is";
            return Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context));
        }
        let promise = promise(range, url.size, status, header(&headers, "content-range"), length)?;
        if promise.total.is_some_and(|total| total != url.size) {
            return Ok(Fetched::Stale);
        }
        let validator = header(&headers, "etag").map(str::to_owned);
        match proof_for(validator.as_deref(), url.validator.as_deref(), &url.meta_tag, false, tag) {
            Proof::Impossible => return Ok(Fetched::Stale),
            Proof::Given => {}
            Proof::Hash(_) | Proof::Look => drop(self.version_now(item, tag).await?),
        }
        self.urls.prove(item, url.made, validator.as_deref());
        let body = exactly(body, promise.skip, promise.range.end - promise.range.start);
        Ok(Fetched::Body(Body { range: promise.range, total: promise.total, stream: body }))
    }
}

/// Whether a refusal says something about the service, not about the address.
fn is_final(reply: &Reply) -> bool {
    let failure = reply.failure();
    !reply.refuses_token() && matches!(failure.kind, RemoteErrorKind::Throttled | RemoteErrorKind::Unavailable)
}

/// What it means that an address was refused.
fn refusal(reply: &Reply, range: &Range<u64>) -> Fetched {
    if reply.status == StatusCode::RANGE_NOT_SATISFIABLE {
        let total = reply.header("content-range").and_then(|text| text.rsplit_once('/')?.1.trim().parse::<u64>().ok());
        if total.is_some_and(|total| total <= range.start) {
            // Shorter than it was a moment ago: another version.
            return Fetched::Stale;
        }
    }
    let mut failure = reply.failure();
    if matches!(failure.kind, RemoteErrorKind::NotFound | RemoteErrorKind::Expired | RemoteErrorKind::Denied) {
        // The item is there, as it was a moment ago; its storage is not ready.
        (failure.kind, failure.advice) = (RemoteErrorKind::Unavailable, Advice::Retry);
    }
    if failure.advice == Advice::Refresh {
        failure.advice = Advice::GiveUp;
    }
    Fetched::Refused(failure)
}
