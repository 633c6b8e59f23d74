//! Uploads: one PUT for little, a session of fragments for the rest.
//!
//! A session is opened with everything that must hold at its end: the conflict behaviour is always said
//! (the documented default and the real one differ), the times travel with it (a later change of times would
//! be a second version on business drives). Fragments go to a pre-authenticated URL, without token.
//!
//! Always true here: the service's offset is the truth; a session that is unknown is not taken for a failure
//! before somebody has looked whether its file is there.
//!
//! Source: <https://learn.microsoft.com/graph/api/driveitem-createuploadsession>.

use std::ops::Range;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::items::{parse_item, tag_of, unverified};
use super::wire::{WireItem, WireSession, time, time_text};
use super::{FRAGMENT_MAX, Graph};
use crate::base::ids::DriveId;
use crate::remote::classify::Effect;
use crate::remote::http::{Ask, Reply};
use crate::remote::precondition::check;
use crate::remote::{
    Ack, Advice, At, Finished, Item, Offset, Outgoing, Place, Precondition, RemoteError, RemoteErrorKind, RemoteResult,
    Target, Ticket,
};

/// How long the credential in an upload URL lasts, whatever expiry the session shows
/// (<https://github.com/OneDrive/onedrive-api-docs/issues/1570>).
const SESSION_LIFE: Duration = Duration::from_secs(24 * 3600);

/// The pauses between looks for a file that should just have come to be.
const LOOKS: [Duration; 3] = [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];

impl Graph {
    pub(super) async fn put_whole(&self, to: &Target, bytes: Outgoing, pre: &Precondition) -> RemoteResult<Item> {
        if bytes.len() as u64 > self.caps.max_small {
            return Err(RemoteError::protocol("cannot upload a small file: it is too large for one request"));
        }
        let ask = match &to.place {
            Place::New { parent, name } => {
                let rest = ":/content?@microsoft.graph.conflictBehavior=fail";
                Ask::new(Method::PUT, self.child_url(parent, name, rest)?, Effect::Once, "upload a small file").naming()
            }
            Place::Replace(item) => {
                let url = self.item_url(item, "/content")?;
                let ask = Ask::new(Method::PUT, url, Effect::Once, "replace a small file");
                match tag_of(pre) {
                    Some(tag) => ask.header("if-match", tag)?,
                    None => ask,
                }
            }
        };
        let reply = self.ask(&ask.bytes(bytes)).await?;
        let item = match parse_item(&reply)? {
            Some(wire) => wire.into_item(drive_of(to))?,
            None => self.look_at(to).await.map_err(unverified)?,
        };
        self.fresh.put(&item);
        Ok(item)
    }

    pub(super) async fn open_session(&self, to: &Target, size: u64, pre: &Precondition) -> RemoteResult<Ticket> {
        if size == 0 {
            return Err(RemoteError::protocol("cannot open an upload session: a session cannot carry an empty file"));
        }
        if size > self.caps.max_file {
            let context = "cannot open an upload session: the service takes files of 250 GB at most";
            return Err(RemoteError::new(RemoteErrorKind::TooLarge, Advice::GiveUp, context));
        }
        let begun = self.clock.now();
        let mut item = Map::new();
        let mut created = to.created;
        let url = match &to.place {
            Place::New { parent, name } => {
                item.insert("@microsoft.graph.conflictBehavior".into(), json!("fail"));
                item.insert("name".into(), json!(name));
                self.child_url(parent, name, ":/createUploadSession")?
            }
            Place::Replace(id) => {
                let now = self.stat_item(At::Id(id)).await?;
                check(pre, &now.meta_tag)?;
                // Left out, the creation time would become now.
                created = created.or(Some(now.created).filter(|time| time.0 != 0));
                item.insert("@microsoft.graph.conflictBehavior".into(), json!("replace"));
                self.item_url(id, "/createUploadSession")?
            }
        };
        let mut times = Map::new();
        times.insert("lastModifiedDateTime".into(), json!(time_text(to.modified)));
        if let Some(created) = created {
            times.insert("createdDateTime".into(), json!(time_text(created)));
        }
        item.insert("fileSystemInfo".into(), Value::Object(times));
        if self.is_personal(drive_of(to)) {
            // Only personal drives know the member; there it finds a full drive before the bytes are sent.
            item.insert("fileSize".into(), json!(size));
        }
        let body = json!({ "item": item, "deferCommit": false });
        let mut ask = Ask::new(Method::POST, url, Effect::Once, "open an upload session").json(&body);
        ask.carries_name = matches!(to.place, Place::New { .. });
        // On work drives a session opened with the right tag has failed at its end with 412
        // (https://github.com/OneDrive/onedrive-api-docs/issues/1716); there the uploader looks before the last
        // fragment instead.
        let with_tag = self.session_with_tag || self.is_personal(drive_of(to));
        if let Some(tag) = tag_of(pre).filter(|_| with_tag && matches!(to.place, Place::Replace(_))) {
            ask = ask.header("if-match", tag)?;
        }
        let session: WireSession = self.ask(&ask).await?.parse()?;
        let address =
            session.upload_url.ok_or_else(|| RemoteError::protocol("an upload session without an address"))?;
        self.http.service_url(address.expose())?;
        let shown = session.expiration_date_time.as_deref().and_then(time).unwrap_or(begun);
        let expires = shown.max(begun.plus(SESSION_LIFE));
        Ok(Ticket { address: address.into_exposed(), target: to.clone(), size, expires, begun, acked: 0 })
    }

    /// Sends the bytes that `with_body` adds, which are those of `range`.
    pub(super) async fn send_fragment(
        &self,
        ticket: &Ticket,
        range: Range<u64>,
        with_body: impl FnOnce(Ask) -> Ask + Send,
    ) -> RemoteResult<Ack> {
        let Range { start: at, end } = range;
        if at >= end || end > ticket.size || end - at > FRAGMENT_MAX {
            return Err(RemoteError::protocol("cannot send a fragment: it is empty, too long, or outside the file"));
        }
        let url = self.http.service_url(&ticket.address)?;
        let ask = Ask::new(Method::PUT, url, Effect::Once, "send a fragment")
            .header("content-range", &format!("bytes {at}-{}/{}", end - 1, ticket.size))?;
        let reply = self.http.bare(&with_body(ask)).await?;
        if !reply.status.is_success() {
            return Err(session_failure(&reply));
        }
        if let Some(item) = self.finished(&reply, ticket)? {
            return Ok(Ack::Done(Box::new(Finished { item, told: true })));
        }
        if !reply.body.is_empty()
            && let Some(next) = reply.parse::<WireSession>()?.next_offset()
        {
            return Ok(Ack::Next(next));
        }
        if reply.status != StatusCode::ACCEPTED && end == ticket.size {
            // A success without a body ends a session once in a while.
            let item = self.find_result(ticket).await?.item;
            return Ok(Ack::Done(Box::new(Finished { item, told: true })));
        }
        match self.session_offset(ticket).await? {
            Offset::At(next) => Ok(Ack::Next(next)),
            Offset::Done(item) => Ok(Ack::Done(Box::new(Finished { item: *item, told: false }))),
            Offset::Gone => Err(gone("the upload session has ended")),
        }
    }

    pub(super) async fn session_offset(&self, ticket: &Ticket) -> RemoteResult<Offset> {
        let url = self.http.service_url(&ticket.address)?;
        let reply = self.http.bare(&Ask::get(url, "ask how far an upload is")).await?;
        if reply.status.is_success() {
            if let Some(item) = self.finished(&reply, ticket)? {
                return Ok(Offset::Done(Box::new(item)));
            }
            let session: WireSession = reply.parse()?;
            return match session.next_offset() {
                Some(next) => Ok(Offset::At(next.min(ticket.size))),
                None if session.is_complete() => match self.find(ticket).await? {
                    Some(item) => Ok(Offset::Done(Box::new(item))),
                    None => Ok(Offset::At(ticket.size)),
                },
                None => Err(RemoteError::new(
                    RemoteErrorKind::Unavailable,
                    Advice::Retry,
                    "cannot ask how far an upload is: the service does not say",
                )),
            };
        }
        let failure = session_failure(&reply);
        if failure.kind != RemoteErrorKind::UploadGone {
            return Err(failure);
        }
        Ok(self.find(ticket).await?.map_or(Offset::Gone, |item| Offset::Done(Box::new(item))))
    }

    pub(super) async fn find_result(&self, ticket: &Ticket) -> RemoteResult<Finished> {
        let item = self.find(ticket).await?.ok_or_else(|| gone("the upload left no file"))?;
        Ok(Finished { item, told: false })
    }

    pub(super) async fn drop_session(&self, ticket: &Ticket) -> RemoteResult<()> {
        let url = self.http.service_url(&ticket.address)?;
        let reply = self.http.bare(&Ask::new(Method::DELETE, url, Effect::Repeatable, "cancel an upload")).await?;
        if reply.status.is_success() {
            return Ok(());
        }
        match session_failure(&reply) {
            failure if failure.kind == RemoteErrorKind::UploadGone => Ok(()),
            failure => Err(failure),
        }
    }

    /// Looks for the file that an upload made: at its place, with its size and its modification time.
    ///
    /// No hash is known here; the caller compares it with the bytes it sent.
    async fn find(&self, ticket: &Ticket) -> RemoteResult<Option<Item>> {
        let mut pauses = LOOKS.iter();
        loop {
            match self.look_at(&ticket.target).await {
                Ok(item) if is_result(&item, ticket) => return Ok(Some(item)),
                // The old content, or none yet: the new one may be a moment late.
                Ok(_) => {}
                Err(failure) if failure.kind == RemoteErrorKind::NotFound => {}
                Err(failure) => return Err(failure),
            }
            match pauses.next() {
                Some(pause) => self.clock.sleep(*pause).await,
                None => return Ok(None),
            }
        }
    }

    async fn look_at(&self, target: &Target) -> RemoteResult<Item> {
        match &target.place {
            Place::New { parent, name } => self.stat_item(At::Child(parent, name)).await,
            Place::Replace(item) => self.stat_item(At::Id(item)).await,
        }
    }

    /// The item in an answer, if it is one.
    fn finished(&self, reply: &Reply, ticket: &Ticket) -> RemoteResult<Option<Item>> {
        if reply.status == StatusCode::ACCEPTED {
            return Ok(None);
        }
        match parse_item(reply)? {
            Some(wire) if WireItem::is_identified(&wire) => wire.into_item(drive_of(&ticket.target)).map(Some),
            _ => Ok(None),
        }
    }
}

/// Whether an item is what an upload was to make. Times are kept in whole seconds.
fn is_result(item: &Item, ticket: &Ticket) -> bool {
    item.size == ticket.size && item.modified.seconds() == ticket.target.modified.seconds()
}

/// The drive a target is in.
fn drive_of(target: &Target) -> &DriveId {
    match &target.place {
        Place::New { parent, .. } => &parent.drive,
        Place::Replace(item) => &item.drive,
    }
}

/// What a refusal of an upload URL means.
///
/// | status | meaning |
/// | --- | --- |
/// | 401, and 403 without a reason of its own | the credential in the URL is over: gone |
/// | 404, 410 | expired, cancelled, or finished with the answer lost: gone |
/// | 400 with a session code | gone |
/// | 416 | another range is expected |
/// | 409, 412, 423, 429, 507, 5xx | as everywhere |
fn session_failure(reply: &Reply) -> RemoteError {
    let mut failure = reply.failure();
    if matches!(failure.kind, RemoteErrorKind::Denied | RemoteErrorKind::NotFound | RemoteErrorKind::Expired) {
        (failure.kind, failure.advice) = (RemoteErrorKind::UploadGone, Advice::VerifyThenRetry);
    }
    failure
}

fn gone(context: &str) -> RemoteError {
    RemoteError::new(RemoteErrorKind::UploadGone, Advice::VerifyThenRetry, context)
}
