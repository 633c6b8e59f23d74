//! Upload sessions: fragments in order, all or nothing at the end.
//!
//! | state | fragment | GET | DELETE | commit |
//! |---|---|---|---|---|
//! | receiving | 202, or the last: commit or wait for it | ranges | 204, gone | 400 |
//! | complete (deferred, or the commit was refused) | 416 | no ranges | 204, gone | 200/201, gone, or the refusal again |
//! | gone (committed, cancelled, expired) | 404 | 404 | 404 | 404 |
//!
//! Nothing of a fragment that broke off is kept. Readers see the old content until the commit.
//! Documented at <https://learn.microsoft.com/graph/api/driveitem-createuploadsession>.

use std::collections::HashMap;
use std::time::Duration;

use super::content::{Content, Rope};
use super::drive::{ClientTimes, Conflict, Drive, DriveError};
use super::drive_ops::Written;
use super::ident::Index;
use super::strict::Strict;
use super::wire::Refusal;
use crate::base::clock::Timestamp;
use crate::base::hash::QuickXorHash;

/// Every fragment but the last is a multiple of this.
const MULTIPLE: u64 = 320 << 10;

/// Where the bytes go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Destination {
    Named { parent: Index, name: String },
    Item(Index),
}

/// One session.
pub(crate) struct Session {
    pub(crate) drive: usize,
    pub(crate) destination: Destination,
    pub(crate) conflict: Conflict,
    /// The client's times, where it gave them.
    pub(crate) created: Option<Timestamp>,
    pub(crate) modified: Option<Timestamp>,
    /// eTag or cTag that the target must still have at the commit.
    pub(crate) if_match: Option<String>,
    pub(crate) deferred: bool,
    pub(crate) received: Rope,
    pub(crate) hash: QuickXorHash,
    pub(crate) total: Option<u64>,
    pub(crate) misaligned: bool,
    /// The first fragment is answered 404 once.
    pub(crate) lose_first: bool,
    pub(crate) expiry: Timestamp,
    /// After this the URL's own permission is over, whatever the expiry says.
    pub(crate) token_end: Timestamp,
    /// How far each fragment moves the expiry; zero if it does not.
    pub(crate) slide: Duration,
}

/// All open sessions.
#[derive(Default)]
pub(crate) struct Sessions {
    open: HashMap<String, Session>,
    made: u64,
}

/// A fragment's header, read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FragmentRange {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) total: u64,
}

/// Reads `bytes a-b/total`.
pub(crate) fn parse_range(text: Option<&str>) -> Result<FragmentRange, Refusal> {
    let bad = || Refusal::bad("The Content-Range header is missing or malformed.");
    let text = text.ok_or_else(bad)?.trim();
    let rest = text.strip_prefix("bytes ").or_else(|| text.strip_prefix("bytes=")).ok_or_else(bad)?;
    let (range, total) = rest.split_once('/').ok_or_else(bad)?;
    let (first, last) = range.split_once('-').ok_or_else(bad)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| bad());
    let range = FragmentRange { first: number(first)?, last: number(last)?, total: number(total)? };
    if range.first > range.last || range.last >= range.total { Err(bad()) } else { Ok(range) }
}

/// What an accepted fragment leads to.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    More,
    /// All bytes are here and the session waits for its commit.
    Waiting,
    /// All bytes are here: commit now.
    Commit,
}

impl Sessions {
    pub(crate) fn insert(&mut self, session: Session) -> u64 {
        self.made += 1;
        self.open.insert(self.made.to_string(), session);
        self.made
    }

    /// Whether an open session already has this target.
    pub(crate) fn occupied(&self, drive: usize, destination: &Destination, now: Timestamp) -> bool {
        self.open
            .values()
            .any(|session| session.drive == drive && session.destination == *destination && session.expiry > now)
    }

    /// How many sessions are open.
    pub(crate) fn count(&self, now: Timestamp) -> usize {
        self.open.values().filter(|session| session.expiry > now).count()
    }

    /// Ends all sessions, as when the service loses them.
    pub(crate) fn clear(&mut self) {
        self.open.clear();
    }

    /// A session that is still alive; an expired one is forgotten.
    pub(crate) fn get(&mut self, id: &str, now: Timestamp) -> Result<&mut Session, Refusal> {
        let gone =
            || Refusal::new(404, "itemNotFound", "The upload session was not found.").inner("uploadSessionNotFound");
        if let Some(session) = self.open.get(id) {
            if session.token_end <= now {
                return Err(Refusal::new(401, "unauthenticated", "The upload URL has expired.").inner("expiredToken"));
            }
            if session.expiry <= now {
                self.open.remove(id);
            }
        }
        self.open.get_mut(id).ok_or_else(gone)
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Session> {
        self.open.remove(id)
    }
}

impl Session {
    /// Whether all bytes have arrived.
    pub(crate) fn is_complete(&self) -> bool {
        self.total == Some(self.received.length())
    }

    /// The ranges the session still wants, as the service writes them.
    pub(crate) fn wanted(&self) -> Vec<String> {
        match (self.is_complete(), self.total) {
            (true, _) => Vec::new(),
            (false, None) => vec!["0-".into()],
            (false, Some(total)) => vec![format!("{}-{}", self.received.length(), total - 1)],
        }
    }

    /// Takes a fragment or says why not. Nothing is kept of a refused one. `hash` continues the
    /// session's hash over this fragment; it was computed outside the lock.
    pub(crate) fn accept(
        &mut self,
        range: FragmentRange,
        body: &Rope,
        hash: QuickXorHash,
        strict: &Strict,
        now: Timestamp,
    ) -> Result<Progress, Refusal> {
        let unwanted = |inner| Refusal::new(416, "invalidRange", "The range is not wanted.").inner(inner);
        let length = range.last - range.first + 1;
        if body.length() != length {
            return Err(Refusal::bad("Content-Length and Content-Range disagree.").inner("fragmentLengthMismatch"));
        }
        if length >= strict.fragment_limit {
            return Err(
                Refusal::new(413, "invalidRequest", "The fragment is too large.").inner("maxFragmentLengthExceeded")
            );
        }
        if self.total.is_some_and(|total| total != range.total) {
            return Err(Refusal::bad("The total size differs from that of the fragments before."));
        }
        let have = self.received.length();
        if range.first < have {
            return Err(unwanted("fragmentOverlap"));
        }
        if range.first > have {
            return Err(unwanted("fragmentOutOfOrder"));
        }
        if self.lose_first {
            self.lose_first = false;
            return Err(Refusal::missing());
        }
        let last = range.last + 1 == range.total;
        let aligned = length.is_multiple_of(MULTIPLE);
        let misaligned = self.misaligned || (!last && !aligned);
        if misaligned && (last || strict.fragment_multiple_noticed_at_once) {
            return Err(Refusal::bad("A fragment's length was not a multiple of 320 KiB.").inner("invalidRange"));
        }
        self.misaligned = misaligned;
        self.total = Some(range.total);
        self.received.append(body);
        // Two requests raced for this place, and the hash was begun before the other one's bytes.
        self.hash = if hash.length() == self.received.length() {
            hash
        } else {
            let mut hash = self.hash.clone();
            body.hash_into(&mut hash);
            hash
        };
        if !self.slide.is_zero() {
            self.expiry = now.plus(self.slide);
        }
        Ok(match (last, self.deferred) {
            (false, _) => Progress::More,
            (true, true) => Progress::Waiting,
            (true, false) => Progress::Commit,
        })
    }

    /// Makes the bytes visible. On a refusal the session keeps them.
    pub(crate) fn commit(
        &self,
        drive: &mut Drive,
        conflict: Conflict,
        strict: &Strict,
        now: Timestamp,
    ) -> Result<Written, Refusal> {
        let target = match &self.destination {
            Destination::Item(index) => Some(*index),
            Destination::Named { parent, name } => drive.child(*parent, name)?,
        };
        if let Some(tag) = &self.if_match {
            let lost = || Refusal::new(412, "resourceModified", "ETag does not match current item's value.");
            let index = target.ok_or_else(lost)?;
            if !matches_tag(drive, index, tag)? {
                return Err(lost());
            }
            if strict.session_if_match_fails_late && !drive.flavour().is_personal() {
                return Err(lost());
            }
        }
        let created = match target.map(|index| drive.item(index)).transpose()? {
            Some(item) if conflict == Conflict::Replace => item.times.created,
            _ => now,
        };
        let times = ClientTimes { created: self.created.unwrap_or(created), modified: self.modified.unwrap_or(now) };
        let mut rope = Rope::default();
        rope.append(&self.received);
        let content = Content::from_hashed(rope, &self.hash);
        let written = match &self.destination {
            Destination::Item(index) => {
                drive.replace(*index, content, times, now)?;
                Written { index: *index, created: false }
            }
            Destination::Named { parent, name } => drive.write_named(*parent, name, content, conflict, times, now)?,
        };
        Ok(written)
    }
}

/// Whether a client's tag is the item's eTag or cTag.
pub(crate) fn matches_tag(drive: &Drive, index: Index, tag: &str) -> Result<bool, DriveError> {
    let item = drive.item(index)?;
    let folder = drive.folder(index).is_ok();
    let strip = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    let tags = [drive.identity.etag(index, item.etag), drive.identity.ctag(index, item.ctag, folder)];
    Ok(tag.trim() == "*" || tags.iter().any(|own| strip(own) == strip(tag)))
}

/// Where a session URL's sealed text says it is.
pub(crate) fn session_id(text: &str) -> Option<&str> {
    text.strip_prefix("session|")
}
