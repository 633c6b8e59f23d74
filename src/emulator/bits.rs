//! The upload protocol for large files of the Live era: BITS over HTTP, as OneDrive spoke it.
//!
//! A session is opened, takes fragments strictly in order, and becomes a file when it is closed; nothing is to be seen
//! before. What is always true: a session's `received` bytes are those of its file from the first on, and the number
//! that every acknowledgement of a fragment carries is where they end; a refused packet changes nothing.
//!
//! ```text
//! state            Fragment: next  gap   overlap        empty  Close           Cancel
//! none             gone            gone  gone           gone   gone            gone
//! open at n        200, n'         416   416 or new part 400   416             200, gone
//! open at its end  416             416   416            400    200/201, a file 200, gone
//! ```
//!
//! Packets, headers and codes follow MC-BUP sections 2.2 and 3.2.5 and the vendor's gist on large uploads
//! (rgregg/37ba8929768a62131e85); where OneDrive differed, the reports of client projects. See `fidelity.md`.

use std::collections::HashMap;

use super::content::{Content, Rope};
use super::drive::{ClientTimes, Conflict, DriveError};
use super::ident::{Index, ROOT, guid, mix};
use super::oauth_live::{Access, TokenTrouble};
use super::strict::{BitsClose, LiveStrict, Overlap, SessionGone};
use super::wire::{Answer, Call, decode, pairs};
use super::world::{World, lock};
use crate::base::clock::Timestamp;
use crate::base::hash::QuickXorHash;

/// The only protocol that is spoken.
const PROTOCOL: &str = "{7df0354d-249b-430f-820d-3d2a9bef4931}";

const SESSION_NOT_FOUND: &str = "0x8020001F";
const TOO_LARGE: &str = "0x80200020";
const ACCESS_DENIED: &str = "0x80070005";
const INVALID: &str = "0x80070057";
const OUT_OF_STEP: &str = "0x0";

/// An upload under way.
struct Session {
    drive: usize,
    parent: Index,
    name: String,
    /// All packets have to come to the address of the first.
    path: String,
    token: String,
    total: Option<u64>,
    received: Rope,
    hash: QuickXorHash,
    touched: Timestamp,
}

/// The uploads under way, by id in lower case.
#[derive(Default)]
pub(crate) struct BitsSessions {
    open: HashMap<String, Session>,
}

impl BitsSessions {
    /// How many there are, those aside that have expired.
    pub(crate) fn count(&self, strict: &LiveStrict, now: Timestamp) -> usize {
        self.open.values().filter(|session| session.touched.plus(strict.bits_session_life) > now).count()
    }

    /// Ends all sessions, as when the service loses them.
    pub(crate) fn clear(&mut self) {
        self.open.clear();
    }

    /// The session that a packet belongs to.
    fn get(&mut self, call: &Call, strict: &LiveStrict) -> Result<&mut Session, Answer> {
        let id = session_id(call);
        if self.open.get(&id).is_some_and(|session| session.touched.plus(strict.bits_session_life) <= call.now) {
            self.open.remove(&id);
        }
        match self.open.get_mut(&id) {
            Some(session) if session.path == call.path => {
                session.touched = call.now;
                Ok(session)
            }
            _ => Err(gone(call, strict)),
        }
    }
}

fn session_id(call: &Call) -> String {
    call.header("bits-session-id").unwrap_or_default().trim().to_ascii_lowercase()
}

/// The name of the packet that a request carries, in its usual spelling; empty when it is none.
pub(crate) fn packet(call: &Call) -> &'static str {
    let method = call.method.as_str();
    let overridden = call.header("x-http-method-override").is_some_and(|text| text.eq_ignore_ascii_case("BITS_POST"));
    if method != "BITS_POST" && !(method == "POST" && overridden) {
        return "";
    }
    let given = call.header("bits-packet-type").unwrap_or_default();
    let known = ["Ping", "Create-Session", "Fragment", "Close-Session", "Cancel-Session"];
    known.into_iter().find(|known| known.eq_ignore_ascii_case(given.trim())).unwrap_or("")
}

/// Whether a path of the storage host belongs to this protocol.
pub(crate) fn serves(path: &str) -> bool {
    path.starts_with("/users/") || path.starts_with("/items/")
}

fn acknowledged(status: u16) -> Answer {
    Answer::empty(status).with("bits-packet-type", "Ack")
}

/// A refusal. The header of its code has two names in the documents, and which one comes depends on the request.
fn refuse(call: &Call, status: u16, code: &str, context: &str) -> Answer {
    let name = if call.number.is_multiple_of(2) { "bits-error-code" } else { "bits-error" };
    acknowledged(status).with(name, code).with("bits-error-context", context)
}

fn gone(call: &Call, strict: &LiveStrict) -> Answer {
    match strict.bits_session_gone {
        SessionGone::Code => refuse(call, 500, SESSION_NOT_FOUND, "0x5"),
        SessionGone::ClientError => Answer::empty(500).with("x-clienterrorcode", "UploadSessionNotFound"),
    }
}

fn out_of_step(call: &Call, have: u64) -> Answer {
    refuse(call, 416, OUT_OF_STEP, "0x5").with("bits-received-content-range", have.to_string())
}

fn challenge(status: u16, error: &str, text: &str) -> Answer {
    let value = format!("Bearer realm=\"OneDriveAPI\", error=\"{error}\", error_description=\"{text}\"");
    Answer::empty(status).with("www-authenticate", value)
}

fn of_drive(call: &Call, error: &DriveError) -> Answer {
    match error {
        DriveError::Missing | DriveError::NotFolder => refuse(call, 404, INVALID, "0x7"),
        DriveError::Taken | DriveError::Locked => refuse(call, 409, ACCESS_DENIED, "0x7"),
        DriveError::Full => refuse(call, 507, ACCESS_DENIED, "0x7"),
        DriveError::Name(_) | DriveError::PathLong => refuse(call, 400, INVALID, "0x7"),
        _ => refuse(call, 403, ACCESS_DENIED, "0x7"),
    }
}

/// The token of a packet, from the header or the query.
fn token(call: &Call) -> Option<String> {
    let header = call.header("authorization").and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.to_owned())
    });
    let in_query = || pairs(&call.query)?.into_iter().find(|(key, _)| key == "access_token").map(|(_, value)| value);
    header.or_else(in_query).filter(|token| !token.is_empty())
}

/// Answers a packet.
pub(crate) fn handle(world: &World, call: &Call) -> Answer {
    let strict = world.strict();
    let strict = &strict.live;
    let kind = packet(call);
    if kind.is_empty() && call.method != "BITS_POST" && call.header("bits-packet-type").is_none() {
        return Answer::empty(405);
    }
    let result = match kind {
        "Ping" => Ok(acknowledged(200)),
        "Create-Session" => create(world, call, strict),
        "Fragment" => fragment(world, call, strict),
        "Close-Session" => close(world, call, strict),
        "Cancel-Session" => cancel(world, call, strict),
        _ => Err(refuse(call, 400, INVALID, "0x5")),
    };
    result.unwrap_or_else(|refused| refused)
}

/// Whose packet it is. A token that is too old is told from one that never was.
fn bearer(world: &World, call: &Call) -> Result<(String, Access), (String, TokenTrouble)> {
    let token = token(call).unwrap_or_default();
    match lock(&world.live_oauth).check(&token, call.now) {
        Ok(access) => Ok((token, access)),
        Err(trouble) => Err((token, trouble)),
    }
}

fn token_refused(trouble: TokenTrouble, expired_status: u16) -> Answer {
    match trouble {
        TokenTrouble::Expired => challenge(expired_status, "expired_token", "Auth token expired. Try refreshing."),
        TokenTrouble::Unknown => challenge(401, "invalid_token", "Invalid auth token"),
    }
}

/// Where an address leads: the folder, and the name of the file in it.
struct Target {
    drive: usize,
    parent: Index,
    name: String,
}

fn target(world: &World, call: &Call, access: &Access) -> Result<Target, Answer> {
    let missing = || refuse(call, 404, INVALID, "0x7");
    let decoded: Option<Vec<String>> = call.path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
    let mut parts = decoded.ok_or_else(|| refuse(call, 400, INVALID, "0x5"))?;
    let name = parts.pop().ok_or_else(missing)?;
    let own = world.drive(access.drive).filter(|cell| cell.identity.flavour().is_personal()).ok_or_else(missing)?;
    // The host of an account serves that account only.
    if let Some(cid) = call.header("host").and_then(|host| host.strip_prefix("cid-"))
        && !own.identity.is_drive(cid.split('.').next().unwrap_or_default())
    {
        return Err(missing());
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let drive = own.lock();
    let parent = match parts.as_slice() {
        ["users", user, "LiveFolders", folders @ ..] => {
            let cid = user.strip_prefix("0x").ok_or_else(missing)?;
            if !own.identity.is_drive(cid) {
                return Err(missing());
            }
            drive.walk(ROOT, folders.iter().copied()).map_err(|error| of_drive(call, &error))?
        }
        ["items", resid] => own.identity.parse_resid(resid).ok_or_else(missing)?,
        _ => return Err(missing()),
    };
    drive.may_write(parent, &name, 0, Conflict::Replace).map_err(|error| of_drive(call, &error))?;
    Ok(Target { drive: own.number, parent, name })
}

fn create(world: &World, call: &Call, strict: &LiveStrict) -> Result<Answer, Answer> {
    let offered = call.header("bits-supported-protocols").unwrap_or_default();
    let (token, access) = bearer(world, call).map_err(|(_, trouble)| token_refused(trouble, 401))?;
    if !access.may("wl.skydrive_update") {
        return Err(refuse(call, 403, ACCESS_DENIED, "0x7"));
    }
    if !offered.split_whitespace().any(|protocol| protocol.eq_ignore_ascii_case(PROTOCOL)) || call.body.length() > 0 {
        return Err(refuse(call, 400, INVALID, "0x5"));
    }
    let Target { drive, parent, name } = target(world, call, &access)?;
    let id = format!("{{{}}}", guid(mix(call.number ^ 0xb175), mix(!call.number)));
    let session = Session {
        drive,
        parent,
        name,
        path: call.path.clone(),
        token,
        total: None,
        received: Rope::default(),
        hash: QuickXorHash::new(),
        touched: call.now,
    };
    let mut sessions = lock(&world.bits);
    sessions.open.retain(|_, session| session.touched.plus(strict.bits_session_life) > call.now);
    sessions.open.insert(id.to_ascii_lowercase(), session);
    Ok(acknowledged(201)
        .with("bits-protocol", if call.number.is_multiple_of(2) { PROTOCOL.to_uppercase() } else { PROTOCOL.into() })
        .with("bits-session-id", id)
        .with("accept-encoding", "Identity"))
}

/// What `Content-Range` says: first and last byte, and the size of the whole.
struct Span {
    first: u64,
    last: u64,
    total: u64,
}

fn span(call: &Call) -> Option<Span> {
    let text = call.header("content-range")?.trim().strip_prefix("bytes")?.trim_start();
    let (range, total) = text.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let span =
        Span { first: first.trim().parse().ok()?, last: last.trim().parse().ok()?, total: total.trim().parse().ok()? };
    (span.first <= span.last && span.last < span.total).then_some(span)
}

fn fragment(world: &World, call: &Call, strict: &LiveStrict) -> Result<Answer, Answer> {
    let given = match bearer(world, call) {
        Ok((token, _)) => Some(token),
        Err((token, TokenTrouble::Expired)) if strict.bits_fragments_take_expired_tokens => Some(token),
        Err((_, trouble)) if strict.bits_fragments_need_token => return Err(token_refused(trouble, 401)),
        Err(_) => None,
    };
    let invalid = || refuse(call, 400, INVALID, "0x5");
    if strict.bits_refuses_chunked && call.header("content-length").is_none() {
        return Err(refuse(call, 411, INVALID, "0x5"));
    }
    let mut hash = {
        let mut sessions = lock(&world.bits);
        let session = sessions.get(call, strict)?;
        if strict.bits_new_token_ends_session && given.is_some_and(|token| token != session.token) {
            sessions.open.remove(&session_id(call));
            return Err(Answer::empty(500).with("x-clienterrorcode", "UploadSessionNotFound"));
        }
        session.hash.clone()
    };
    if call.body.length() > strict.bits_fragment_limit {
        return Err(refuse(call, 413, TOO_LARGE, "0x7"));
    }
    let span = span(call).ok_or_else(invalid)?;
    if call.body.length() != span.last - span.first + 1 || span.total > strict.bits_total_limit {
        return Err(invalid());
    }
    // Hashed without holding up others; another packet may come in between, then it is done again.
    call.body.hash_into(&mut hash);
    let mut sessions = lock(&world.bits);
    let session = sessions.get(call, strict)?;
    if session.total.is_some_and(|total| total != span.total) {
        return Err(invalid());
    }
    if session.total.is_none() {
        let cell = world.drive(session.drive).ok_or_else(|| gone(call, strict))?;
        let checked = cell.lock().may_write(session.parent, &session.name, span.total, Conflict::Replace);
        checked.map_err(|error| of_drive(call, &error))?;
    }
    let have = session.received.length();
    let overlaps = span.first < have && span.last >= have && strict.bits_overlap == Overlap::NewPartKept;
    if span.first != have && !overlaps {
        return Err(out_of_step(call, have));
    }
    session.total = Some(span.total);
    if overlaps {
        let rest = Rope::from(call.body.flat().slice((have - span.first) as usize..));
        rest.hash_into(&mut session.hash);
        session.received.append(&rest);
    } else {
        session.received.append(&call.body);
        if hash.length() == session.received.length() {
            session.hash = hash;
        } else {
            call.body.hash_into(&mut session.hash);
        }
    }
    let next = session.received.length().to_string();
    Ok(acknowledged(200).with("bits-session-id", session_id(call)).with("bits-received-content-range", next))
}

fn close(world: &World, call: &Call, strict: &LiveStrict) -> Result<Answer, Answer> {
    // A token that is too old is not 401 here.
    let (token, access) = bearer(world, call).map_err(|(_, trouble)| token_refused(trouble, 500))?;
    let mut sessions = lock(&world.bits);
    let session = sessions.get(call, strict)?;
    if strict.bits_new_token_ends_session && token != session.token {
        sessions.open.remove(&session_id(call));
        return Err(Answer::empty(500).with("x-clienterrorcode", "UploadSessionNotFound"));
    }
    if !access.may("wl.skydrive_update") || access.drive != session.drive {
        return Err(refuse(call, 403, ACCESS_DENIED, "0x7"));
    }
    match strict.bits_close {
        BitsClose::Fails => return Err(Answer::empty(500)),
        BitsClose::NotEnabled => return Err(refuse(call, 501, ACCESS_DENIED, "0x7")),
        BitsClose::Commits | BitsClose::CommitsAndFails => {}
    }
    let have = session.received.length();
    // Also a session without any fragment: files without a byte cannot come this way.
    if session.total != Some(have) {
        return Err(out_of_step(call, have));
    }
    let cell = world.drive(session.drive).ok_or_else(|| gone(call, strict))?;
    let mut drive = cell.lock();
    let now = call.now;
    let created = match drive.child(session.parent, &session.name) {
        Ok(Some(index)) => drive.items[index as usize].times.created,
        _ => now,
    };
    let mut rope = Rope::default();
    rope.append(&session.received);
    let content = Content::from_hashed(rope, &session.hash);
    let times = ClientTimes { created, modified: now };
    let written = drive.write_named(session.parent, &session.name, content, Conflict::Replace, times, now);
    let written = written.map_err(|error| of_drive(call, &error))?;
    drop(drive);
    sessions.open.remove(&session_id(call));
    if strict.bits_close == BitsClose::CommitsAndFails {
        return Err(Answer::empty(500));
    }
    let answer = acknowledged(if written.created { 201 } else { 200 });
    Ok(match strict.bits_resource_id_missing {
        true => answer,
        false => answer.with("x-resource-id", cell.identity.resid(written.index)),
    })
}

fn cancel(world: &World, call: &Call, strict: &LiveStrict) -> Result<Answer, Answer> {
    bearer(world, call).map_err(|(_, trouble)| token_refused(trouble, 401))?;
    let mut sessions = lock(&world.bits);
    sessions.get(call, strict)?;
    sessions.open.remove(&session_id(call));
    Ok(acknowledged(200).with("bits-session-id", session_id(call)))
}
