//! Uploads by BITS: Create-Session, fragments, Close-Session, Cancel-Session.
//!
//! Always true here:
//!
//! - **The number that the server acknowledges is the only truth** about how far an upload is. It is remembered, in both
//!   directions, and nothing is computed from what was sent.
//! - The file appears with Close-Session and not before. That an answer to it is missing, or is a 5xx, says nothing about
//!   whether it did: the file is looked for by name, size and time before anything is sent again
//!   (<https://github.com/mk-fg/python-onedrive/issues/39>).
//! - BITS replaces whatever has the name, unasked. So the place is looked at before a session is opened and again just
//!   before it is closed, and a session whose place is not as it was is cancelled.
//!
//! There is no packet that asks how far a session is. Whoever does not know sends a fragment, and the refusal of one that
//! is out of step names the right offset.
//!
//! Sources: <https://gist.github.com/rgregg/37ba8929768a62131e85>,
//! <https://learn.microsoft.com/openspecs/windows_protocols/ms-bup/> (MC-BUP).

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::items::unverified;
use super::upload::{LOOKS, drive_of, sendable};
use super::{Live, MAX_FILE, encode, encode_id, lock, wire};
#[cfg(any(test, feature = "fuzzing"))]
use crate::base::clock::Timestamp;
#[cfg(any(test, feature = "fuzzing"))]
use crate::base::ids::DriveId;
use crate::base::ids::{ContentTag, ItemId, MetaTag};
use crate::remote::classify::{self, Effect};
use crate::remote::http::{Ask, Http, Reply};
use crate::remote::precondition::check;
use crate::remote::{
    Ack, Advice, At, Finished, Item, ItemKind, Offset, Outgoing, Place, Precondition, RemoteError, RemoteErrorKind,
    RemoteResult, Target, Ticket,
};

/// The one protocol that OneDrive speaks.
const PROTOCOL: &str = "{7df0354d-249b-430f-820d-3d2a9bef4931}";

/// How long a session is believed to live. No document says.
const SESSION_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Before an upload of this many bytes or more the token is renewed, so that it has its whole hour: commits were seen to
/// fail because it had run out on the way.
const LONG_UPLOAD: u64 = 64 << 20;

/// After so many failed fragments in a row the caller is told, instead of which offset to try next.
const PATIENCE: u32 = 3;

/// How much older than a session its file may seem: clocks of the service's machines differ a little.
const SLACK: i64 = 2;

/// Who calls a fragment of so few bytes too long means something else. MC-BUP leaves the limit to the server; OneDrive's
/// is 60 MiB (<https://gist.github.com/rgregg/37ba8929768a62131e85>).
const SHORT: u64 = 64 << 10;

/// The most sessions that are remembered.
const MAX_SESSIONS: usize = 1024;

/// The longest session id that is taken, as the protocol has it.
const LONGEST_SESSION: usize = 100;

/// Where the packets of a session go, stored inside the ticket.
#[derive(Serialize, Deserialize)]
struct Address {
    url: String,
    session: String,
    /// When the session was opened by the service's clock, in seconds since 1970.
    begun: i64,
    /// The folder that the URL names.
    folder: ItemId,
    /// The name in the folder that the URL names.
    name: String,
    /// The state in which the file was that is to be replaced.
    replaces: Option<MetaTag>,
}

impl Address {
    fn of(ticket: &Ticket) -> RemoteResult<Self> {
        serde_json::from_str(&ticket.address).map_err(|_| gone("the upload was begun in another way"))
    }
}

/// What is known of a session beyond its ticket.
#[derive(Clone, Copy, Default)]
struct Known {
    acked: u64,
    /// Fragments that failed in a row.
    failures: u32,
    /// The server does not know it any more.
    gone: bool,
    /// Close-Session was sent.
    closing: bool,
}

/// The sessions of this process.
pub(super) struct Sessions {
    known: Mutex<HashMap<String, Known>>,
    /// The longest fragment that the server has not called too long, in bytes.
    longest: AtomicU64,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { known: Mutex::default(), longest: AtomicU64::new(u64::MAX) }
    }
}

impl Sessions {
    fn get(&self, session: &str) -> Option<Known> {
        lock(&self.known).get(session).copied()
    }

    fn change(&self, session: &str, f: impl FnOnce(&mut Known)) {
        let mut known = lock(&self.known);
        if known.len() >= MAX_SESSIONS && !known.contains_key(session) {
            known.retain(|_, known| !known.gone);
        }
        f(known.entry(session.to_owned()).or_default());
    }

    /// It is over, in whichever way.
    fn over(&self, session: &str) {
        self.change(session, |known| known.gone = true);
    }

    fn any(&self) -> bool {
        lock(&self.known).values().any(|known| !known.gone)
    }
}

/// What came of a packet.
enum Outcome {
    /// It was acknowledged.
    Ack,
    /// Another offset is expected; `None` if the server does not say which.
    Elsewhere(Option<u64>),
    /// The server does not know the session.
    Gone,
    /// The fragment is too long for it.
    TooLong,
    /// Something else.
    Failed(RemoteError),
}

impl Live {
    /// The door to the host that takes uploads.
    async fn bits_door(&self) -> RemoteResult<&Http> {
        let drive = &self.known().await?.drive;
        let open = async { self.http.beside(&self.service.bits.replace("{cid}", drive.as_str())) };
        self.bits.get_or_try_init(|| open).await
    }

    pub(super) async fn open_session(&self, to: &Target, size: u64, pre: &Precondition) -> RemoteResult<Ticket> {
        if size == 0 {
            return Err(RemoteError::protocol("cannot open an upload session: a session cannot carry an empty file"));
        }
        if size > MAX_FILE {
            let context = "cannot open an upload session: the service takes files of 10 GiB at most";
            return Err(RemoteError::new(RemoteErrorKind::TooLarge, Advice::GiveUp, context));
        }
        let (folder, name, replaces) = match &to.place {
            Place::New { parent, name } => {
                sendable(name)?;
                if self.child(parent, name).await?.is_some() {
                    return Err(taken());
                }
                (parent.clone(), name.clone(), None)
            }
            Place::Replace(item) => {
                let now = self.stat_item(At::Id(item)).await?;
                check(pre, &now.meta_tag)?;
                let (folder, name) = self.only_of_its_name(&now).await?;
                (folder, name, Some(now.meta_tag))
            }
        };
        if size >= LONG_UPLOAD && !self.sessions.any() {
            // Only where no other session is under way: a new token was seen to lose one.
            if let Err(error) = self.http.renew_token().await {
                tracing::debug!(%error, "a long upload begins with the token that there is");
            }
        }
        let door = self.bits_door().await?;
        let url = Self::place_url(door, &folder, &name)?;
        let begun = self.clock.now();
        let ask = Ask::new(Method::POST, url.clone(), Effect::Repeatable, "open an upload session");
        let ask = packet(ask, "Create-Session")?.header("bits-supported-protocols", PROTOCOL)?.naming();
        let reply = door.signed(&ask).await?;
        let session = match outcome(&reply) {
            Outcome::Ack => session_of(&reply)?,
            Outcome::Failed(failure) => return Err(failure),
            Outcome::Gone | Outcome::Elsewhere(_) | Outcome::TooLong => return Err(reply.failure()),
        };
        self.sessions.change(&session, |known| *known = Known::default());
        let theirs = reply.header("date").and_then(classify::http_date);
        let address = Address {
            url: url.into(),
            session,
            begun: theirs.unwrap_or_else(|| begun.seconds()),
            folder,
            name,
            replaces,
        };
        let address = serde_json::to_string(&address)
            .map_err(|error| RemoteError::protocol("an upload cannot be written down").with_source(error))?;
        Ok(Ticket { address, target: to.clone(), size, expires: begun.plus(SESSION_LIFE), begun, acked: 0 })
    }

    /// The address of a name in a folder. The root has no short id; it is addressed by an empty path. Every segment is
    /// encoded: python-onedrive did not, and names with a space, `#`, `?` or `%` failed or hit another file.
    fn place_url(door: &Http, folder: &ItemId, name: &str) -> RemoteResult<url::Url> {
        let name = encode(name);
        match wire::short_of(folder) {
            Some(short) => door.url(&format!("/items/{}/{name}", encode_id(short))),
            None => door.url(&format!("/users/0x{}/LiveFolders/{name}", folder.drive.as_str())),
        }
    }

    pub(super) async fn send_fragment(&self, ticket: &Ticket, at: u64, bytes: Outgoing) -> RemoteResult<Ack> {
        if bytes.is_empty() || at.checked_add(bytes.len() as u64).is_none_or(|end| end > ticket.size) {
            return Err(RemoteError::protocol("cannot send a fragment: it is empty or outside the file"));
        }
        let address = Address::of(ticket)?;
        let session = address.session.as_str();
        loop {
            let longest = self.fragment.min(self.sessions.longest.load(Ordering::Relaxed)).max(1);
            let part = bytes.slice(..bytes.len().min(usize::try_from(longest).unwrap_or(usize::MAX)));
            let length = part.len() as u64;
            let sent = self.fragment_packet(&address, at, ticket.size, part).await;
            let reply = match sent {
                Ok(reply) => reply,
                Err(failure) => {
                    self.sessions.change(session, |known| {
                        known.acked = at;
                        known.failures += 1;
                    });
                    return Err(failure);
                }
            };
            match outcome(&reply) {
                Outcome::Ack => match offset_of(&reply) {
                    Some(next) if next <= ticket.size => {
                        self.sessions.change(session, |known| *known = Known { acked: next, ..Known::default() });
                        return Ok(Ack::Next(next));
                    }
                    // More than there is: nothing that it says can be built on.
                    Some(_) => return Err(self.lost(session)),
                    None => {
                        self.sessions.change(session, |known| {
                            known.acked = at;
                            known.failures += 1;
                        });
                        return Err(elsewhere());
                    }
                },
                // The offset that is expected is the one that was sent, and it is refused again.
                Outcome::Elsewhere(Some(next))
                    if next == at && self.sessions.get(session).is_some_and(|known| known.failures > 1) =>
                {
                    return Err(self.lost(session));
                }
                Outcome::Elsewhere(Some(next)) if next <= ticket.size => {
                    self.sessions.change(session, |known| {
                        known.acked = next;
                        known.failures += 1;
                    });
                    return Err(elsewhere());
                }
                Outcome::Elsewhere(_) | Outcome::Gone => return Err(self.lost(session)),
                Outcome::TooLong if length > SHORT.min(self.fragment / 2) => {
                    self.sessions.longest.fetch_min((length / 2).max(1), Ordering::Relaxed);
                }
                Outcome::TooLong => {
                    // Nor is it to be believed of those before, or everything would go in crumbs from now on.
                    self.sessions.longest.store(u64::MAX, Ordering::Relaxed);
                    let mut failure = reply.failure();
                    // It is the service that makes no sense, not the file that is too large.
                    failure.kind = RemoteErrorKind::Protocol;
                    return Err(failure);
                }
                Outcome::Failed(failure) => {
                    self.sessions.change(session, |known| {
                        known.acked = at;
                        known.failures += 1;
                    });
                    return Err(failure);
                }
            }
        }
    }

    async fn fragment_packet(&self, address: &Address, at: u64, size: u64, part: Outgoing) -> RemoteResult<Reply> {
        let door = self.bits_door().await?;
        let url = door.service_url(&address.url)?;
        let range = format!("bytes {at}-{}/{size}", at + part.len() as u64 - 1);
        let ask = packet(Ask::new(Method::POST, url, Effect::Once, "send a fragment"), "Fragment")?
            .header("bits-session-id", &address.session)?
            .header("content-range", &range)?;
        door.signed(&ask.bytes(part)).await
    }

    async fn session_packet(&self, address: &Address, kind: &'static str, what: &'static str) -> RemoteResult<Reply> {
        let door = self.bits_door().await?;
        let url = door.service_url(&address.url)?;
        let ask = packet(Ask::new(Method::POST, url, Effect::Once, what), kind)?;
        door.signed(&ask.header("bits-session-id", &address.session)?).await
    }

    fn lost(&self, session: &str) -> RemoteError {
        self.sessions.change(session, |known| known.gone = true);
        gone("the service does not know the upload any more")
    }

    pub(super) async fn session_offset(&self, ticket: &Ticket) -> RemoteResult<Offset> {
        let address = Address::of(ticket)?;
        match self.sessions.get(&address.session) {
            Some(Known { gone: true, .. }) => {
                let found = self.result(ticket, &address).await?;
                Ok(found.map_or(Offset::Gone, |item| Offset::Done(Box::new(item))))
            }
            Some(Known { failures, .. }) if failures > PATIENCE => {
                // The next attempt is the caller's, on its own schedule.
                self.sessions.change(&address.session, |known| known.failures = 0);
                let context = "cannot go on with an upload: one fragment after the other fails";
                Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::GiveUp, context))
            }
            Some(Known { acked, failures, .. }) => {
                if failures > 0 {
                    self.clock.sleep(Duration::from_secs(1 << (failures - 1).min(4))).await;
                }
                Ok(Offset::At(acked.min(ticket.size)))
            }
            None => Ok(Offset::At(ticket.acked.min(ticket.size))),
        }
    }

    /// Close-Session, which makes the file. May be called again after any error.
    pub(super) async fn commit(&self, ticket: &Ticket) -> RemoteResult<Finished> {
        let address = Address::of(ticket)?;
        if let Some(item) = self.ready(ticket, &address).await? {
            self.sessions.over(&address.session);
            return Ok(Finished { item, told: false });
        }
        if self.service.refresh_before_commit {
            self.http.renew_token().await?;
        }
        self.sessions.change(&address.session, |known| known.closing = true);
        let reply = self.session_packet(&address, "Close-Session", "finish an upload").await?;
        let failure = match outcome(&reply) {
            Outcome::Ack => {
                let drive = drive_of(&ticket.target);
                let named = reply.header("x-resource-id").and_then(|short| wire::uploaded_id(drive, short));
                let item = match named {
                    Some(id) => self.arrived(&id, ticket.size).await?,
                    // The header was seen to be missing after large files.
                    None => self.result(ticket, &address).await?.ok_or_else(|| {
                        unverified(RemoteError::offline("an upload was committed and its file is not to be found yet"))
                    })?,
                };
                self.sessions.over(&address.session);
                if let Place::New { parent, name } = &ticket.target.place {
                    self.names.taken(parent, name);
                }
                return Ok(Finished { item, told: true });
            }
            Outcome::Elsewhere(Some(next)) if next < ticket.size => {
                self.sessions.change(&address.session, |known| (known.acked, known.closing) = (next, false));
                return Err(elsewhere());
            }
            Outcome::Gone | Outcome::Elsewhere(_) => self.lost(&address.session),
            Outcome::TooLong => return Err(reply.failure()),
            Outcome::Failed(failure) if failure.kind == RemoteErrorKind::Unavailable => failure,
            Outcome::Failed(failure) => return Err(failure),
        };
        // The session may have ended by making the file.
        match self.result(ticket, &address).await? {
            Some(item) => {
                self.sessions.over(&address.session);
                Ok(Finished { item, told: false })
            }
            None => Err(RemoteError { advice: Advice::VerifyThenRetry, ..failure }),
        }
    }

    /// Whether a session may be closed: the place is as it was. Returns the file if it is there already.
    async fn ready(&self, ticket: &Ticket, address: &Address) -> RemoteResult<Option<Item>> {
        let closing = self.sessions.get(&address.session).is_some_and(|known| known.closing);
        let now = self.look_at(&ticket.target).await?;
        if let Some(item) = now.as_ref().filter(|item| is_result(item, ticket, address))
            && (closing || !self.is_open(ticket, address).await?)
        {
            return Ok(Some(item.clone()));
        }
        let refusal = match (&ticket.target.place, now) {
            (Place::New { .. }, None) => None,
            (Place::New { .. }, Some(_)) => Some(taken()),
            (Place::Replace(_), None) => {
                let context = "the file that was to be replaced is gone";
                Some(RemoteError::new(RemoteErrorKind::NotFound, Advice::GiveUp, context))
            }
            (Place::Replace(_), Some(now)) => {
                let before = address.replaces.as_ref();
                if before.is_some_and(|before| *before != now.meta_tag) {
                    let context = "the file was changed elsewhere while the new version was on its way";
                    Some(RemoteError::new(RemoteErrorKind::Changed, Advice::GiveUp, context))
                } else {
                    self.only_of_its_name(&now).await.err()
                }
            }
        };
        match refusal {
            Some(refusal) if refusal.is_transient() => Err(refusal),
            Some(refusal) => {
                if let Err(error) = self.cancel(ticket).await {
                    tracing::debug!(%error, "an upload that is not to be finished stays until it expires");
                }
                Err(refusal)
            }
            None => Ok(None),
        }
    }

    /// Whether the server knows a session of which everything was acknowledged. Asked with the last byte once more,
    /// which cannot be taken: a session that is complete answers that it is out of step, an unknown one that it is
    /// unknown.
    async fn is_open(&self, ticket: &Ticket, address: &Address) -> RemoteResult<bool> {
        let part = Outgoing::from_static(&[0]);
        let reply = self.fragment_packet(address, ticket.size - 1, ticket.size, part).await?;
        match outcome(&reply) {
            Outcome::Ack | Outcome::Elsewhere(_) => Ok(true),
            Outcome::Gone => Ok(false),
            Outcome::TooLong => Ok(true),
            Outcome::Failed(failure) => Err(failure),
        }
    }

    pub(super) async fn cancel(&self, ticket: &Ticket) -> RemoteResult<()> {
        let Ok(address) = Address::of(ticket) else { return Ok(()) };
        if self.sessions.get(&address.session).is_some_and(|known| known.gone) {
            return Ok(());
        }
        let reply = self.session_packet(&address, "Cancel-Session", "cancel an upload").await?;
        match outcome(&reply) {
            Outcome::Ack | Outcome::Gone => {
                self.sessions.over(&address.session);
                Ok(())
            }
            Outcome::Failed(failure) => Err(failure),
            Outcome::Elsewhere(_) | Outcome::TooLong => Err(reply.failure()),
        }
    }

    /// Looks for the file that an upload may have made.
    async fn result(&self, ticket: &Ticket, address: &Address) -> RemoteResult<Option<Item>> {
        let mut pauses = LOOKS.iter();
        loop {
            let found = self.look_at(&ticket.target).await?.filter(|item| is_result(item, ticket, address));
            match (found, pauses.next()) {
                (Some(item), _) => return Ok(Some(item)),
                (None, Some(pause)) => self.clock.sleep(*pause).await,
                (None, None) => return Ok(None),
            }
        }
    }
}

/// Whether an item is what an upload was to make: its name and place, its size, not older than the session; and where it
/// replaces something, in another state than that.
fn is_result(item: &Item, ticket: &Ticket, address: &Address) -> bool {
    item.kind == ItemKind::File
        && item.size == ticket.size
        && item.name == address.name
        && item.parent.as_ref() == Some(&address.folder)
        && address.replaces.as_ref() != Some(&item.meta_tag)
        && item.content_tag.as_ref().and_then(ContentTag::service_time).is_some_and(|at| at >= address.begun - SLACK)
}

/// A packet. The method is BITS_POST, said in the way that passes every proxy.
fn packet(ask: Ask, kind: &'static str) -> RemoteResult<Ask> {
    ask.header("x-http-method-override", "BITS_POST")?.header("bits-packet-type", kind)
}

/// What an answer to a packet means.
///
/// | answer | meaning |
/// | --- | --- |
/// | 200, 201 with packet type Ack | acknowledged |
/// | 416 | out of step; the header says which offset is expected |
/// | 413, or the code for "too large" | a shorter fragment may do |
/// | code "session not found", under either name; 404; 400 | the session is not known, or of no use |
/// | everything else | as everywhere |
fn outcome(reply: &Reply) -> Outcome {
    if reply.status.is_success() {
        let is_ack = reply.header("bits-packet-type").is_some_and(|kind| kind.trim().eq_ignore_ascii_case("ack"));
        if is_ack {
            return Outcome::Ack;
        }
        let context = "cannot upload: something else than the upload server answered";
        return Outcome::Failed(RemoteError::new(RemoteErrorKind::Unavailable, Advice::VerifyThenRetry, context));
    }
    let code = reply.header("bits-error-code").or_else(|| reply.header("bits-error")).and_then(code_of);
    let named = reply.header("x-clienterrorcode").unwrap_or_default();
    if code == Some(0x8020_001F) || named.eq_ignore_ascii_case("UploadSessionNotFound") {
        return Outcome::Gone;
    }
    if reply.refuses_token() {
        return Outcome::Failed(reply.failure());
    }
    match reply.status {
        StatusCode::RANGE_NOT_SATISFIABLE => Outcome::Elsewhere(offset_of(reply)),
        StatusCode::PAYLOAD_TOO_LARGE => Outcome::TooLong,
        _ if code == Some(0x8020_0020) => Outcome::TooLong,
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST | StatusCode::GONE => Outcome::Gone,
        _ => Outcome::Failed(reply.failure()),
    }
}

fn offset_of(reply: &Reply) -> Option<u64> {
    reply.header("bits-received-content-range").and_then(parse_offset)
}

/// Despite the header's name it is one number: the next byte that is expected.
fn parse_offset(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// An HRESULT in hexadecimal, with or without `0x`.
fn code_of(text: &str) -> Option<u32> {
    let text = text.trim();
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    u32::from_str_radix(digits, 16).ok()
}

fn session_of(reply: &Reply) -> RemoteResult<String> {
    let spoken = reply.header("bits-protocol").is_none_or(|protocol| protocol.trim().eq_ignore_ascii_case(PROTOCOL));
    let session = reply.header("bits-session-id").map(str::trim).filter(|session| is_session(session));
    match session {
        Some(session) if spoken => Ok(session.to_owned()),
        _ => Err(RemoteError::protocol("cannot open an upload session: the server speaks another protocol")),
    }
}

fn is_session(session: &str) -> bool {
    (1..=LONGEST_SESSION).contains(&session.len()) && session.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

fn taken() -> RemoteError {
    RemoteError::new(RemoteErrorKind::Exists, Advice::GiveUp, "the name is taken")
}

fn elsewhere() -> RemoteError {
    RemoteError::new(RemoteErrorKind::Range, Advice::VerifyThenRetry, "the upload goes on at another place")
}

fn gone(context: &str) -> RemoteError {
    RemoteError::new(RemoteErrorKind::UploadGone, Advice::VerifyThenRetry, context)
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any bytes as the headers of an answer, and as a stored address.
pub(crate) fn fuzz(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = (parse_offset(&text), code_of(&text));
    assert!(!is_session(&text) || text.len() <= LONGEST_SESSION);
    let place = Place::Replace(ItemId::new(&DriveId::new("0a4f7719c2be3d05"), "x"));
    let (target, now) = (Target { place, modified: Timestamp(0), created: None }, Timestamp(0));
    let ticket = Ticket { address: text.into_owned(), target, size: 1, expires: now, begun: now, acked: 0 };
    let _ = Address::of(&ticket).map(|address| address.session.len());
}

#[cfg(test)]
#[path = "bits_tests.rs"]
mod tests;
