//! An edit of a part of a file becomes a whole one: the rest is fetched, and compared before it is sent.
//!
//! What is sent gets a hash of its own, so that nobody could tell afterwards that bytes of the version it was made from, its
//! base, were damaged on their way here. Only the whole base has a hash to compare with; what the edit has replaced of
//! it is fetched for that.
//!
//! | of the base is in the draft | the base | what happens |
//! | --- | --- | --- |
//! | nothing, or it was compared before | | it is sent |
//! | something | has no hash (Live Connect) | it is sent as it came |
//! | something | more than 64 MiB of it would be fetched for the comparison only | it is sent as it came |
//! | something | what is missing for the comparison cannot be had any more | it is sent as it came |
//! | something | has its hash | it is sent |
//! | something | has the same wrong hash as after another download | it is sent: the service's hash is wrong |
//! | something | has another hash, and cannot be had again: the file has taken the place of another, or the version is gone | it is sent as it came |
//! | something | has another hash | it is dropped here and in the cache; the next attempt fetches it again |

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use super::content::blocking;
use super::{Setback, Uploader};
use crate::base::hash::QuickXorHash;
use crate::cache::{Judgement, judge};
use crate::journal::store::SpoolBase;
use crate::journal::{Draft, ParkReason};
use crate::remote::{Advice, At, RemoteError, RemoteErrorKind};

/// How much is fetched at a time, in bytes.
const PIECE: u64 = 4 << 20;

/// The most bytes of a base that are fetched only to compare it.
const MOST_FETCHED: u64 = 64 << 20;

impl Uploader {
    /// Brings the missing bytes of an edited file here, so that the whole can be sent.
    pub(super) async fn complete(&self, draft: &Arc<Draft>) -> Result<(), Setback> {
        let missing = draft.missing();
        if missing.is_empty() {
            return Ok(());
        }
        self.room_for(missing.total()).await?;
        let Some(base) = draft.base() else { return Err(Setback::Local("a draft misses bytes of nothing".into())) };
        'rest: for range in missing.iter() {
            let mut at = range.start;
            while at < range.end {
                let end = range.end.min(at + PIECE);
                match self.versions.read(&base, at..end).await {
                    Ok(bytes) if bytes.is_empty() => {
                        return Err(
                            RemoteError::protocol("the version an edit was made on is shorter than it was").into()
                        );
                    }
                    Ok(bytes) => {
                        let length = bytes.len() as u64;
                        // Others write meanwhile.
                        self.room_for(length).await?;
                        let draft = draft.clone();
                        blocking(move || draft.fill(at, &bytes)).await?;
                        at += length;
                    }
                    Err(error)
                        if error.kind == RemoteErrorKind::Changed && self.fill_from_history(draft, &base).await? =>
                    {
                        break 'rest;
                    }
                    Err(error) if matches!(error.kind, RemoteErrorKind::Changed | RemoteErrorKind::NotFound) => {
                        // Nothing takes the file out of its place again but the user, so a service that is ill for a
                        // second, or behind, is not believed.
                        let now = self.look(At::Id(&base.item)).await?;
                        if now.is_some_and(|now| now.content_tag.as_ref() == Some(&base.tag)) {
                            let context = "the service shows the version that was edited, and does not hand it out";
                            return Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context).into());
                        }
                        let how = if error.kind == RemoteErrorKind::NotFound { "deleted" } else { "replaced" };
                        let why = format!(
                            "the file was {how} elsewhere before the part of it that was not edited here had arrived; \
                             export the draft to keep the edited part"
                        );
                        return Err(Setback::Park(ParkReason::BaseGone, why));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        // The row must not speak of bytes that a power failure could still take.
        let (journal, filled) = (self.journal.clone(), draft.clone());
        blocking(move || journal.sync_filled(&filled)).await?;
        Ok(())
    }

    /// The version that an edit was made on was replaced elsewhere. Where the service keeps it all the same, the edit becomes
    /// whole, and both are kept. Says whether it is.
    async fn fill_from_history(&self, draft: &Arc<Draft>, base: &SpoolBase) -> Result<bool, Setback> {
        let Some(hash) = base.tag.hash() else { return Ok(false) };
        // One at a time: it is in memory as a whole.
        let _turn = self.history.lock().await;
        let bytes = match self.remote.former(&base.item, base.size, hash).await {
            Err(error) if matches!(error.kind, RemoteErrorKind::NotFound | RemoteErrorKind::Denied) => {
                return Ok(false);
            }
            bytes => bytes?,
        };
        let Some(bytes) = bytes else { return Ok(false) };
        self.room_for(draft.missing().total()).await?;
        for at in (0..bytes.len()).step_by(PIECE as usize) {
            let (draft, piece) = (draft.clone(), bytes.slice(at..bytes.len().min(at + PIECE as usize)));
            blocking(move || draft.fill_compared(at as u64, &piece)).await?;
        }
        tracing::info!(ino = %draft.ino(), "the rest of an edited file comes from a former version");
        Ok(true)
    }

    /// Asks the local disk for room before the rest of an edited file is brought together: it is nobody's wish of this
    /// moment, so it waits until there is some rather than take the last of it.
    async fn room_for(&self, bytes: u64) -> Result<(), Setback> {
        let (journal, versions) = (self.journal.clone(), self.versions.clone());
        let lacking = blocking(move || {
            let lacking = journal.lacks(bytes);
            if lacking > 0 {
                versions.make_way(lacking);
            }
            Ok(if lacking > 0 { journal.lacks(bytes) } else { 0 })
        });
        match lacking.await? {
            0 => Ok(()),
            lacking => Err(Setback::Local(format!(
                "there is no room on this machine's disk to bring the edited file together; {lacking} bytes have to be \
                 freed"
            ))),
        }
    }

    /// Compares what a complete draft has of its base; see the table of this module.
    pub(super) async fn compare_base(&self, draft: &Arc<Draft>) -> Result<(), Setback> {
        let borrowed = draft.borrowed();
        let Some(base) = draft.base().filter(|_| !borrowed.is_empty()) else { return Ok(()) };
        let Some(expected) = base.tag.hash() else { return Ok(()) };
        if base.size.saturating_sub(borrowed.total()) > MOST_FETCHED {
            tracing::debug!(ino = %draft.ino(), "too much of the file was edited to compare the rest");
            return Ok(());
        }
        let Some(found) = self.hash_of_base(draft, &base).await? else {
            tracing::debug!(ino = %draft.ino(), "the version that was edited is not there any more to compare the rest");
            return Ok(());
        };
        let judgement = if self.versions.is_trusted(&base, &found) {
            Judgement::Keep
        } else {
            let mut doubted = self.doubted.lock().unwrap_or_else(PoisonError::into_inner);
            let judgement = judge(expected, &found, doubted.entry(draft.id).or_default());
            if judgement == Judgement::Keep {
                doubted.remove(&draft.id);
            }
            judgement
        };
        if judgement == Judgement::Keep {
            draft.vouch();
            self.journal.note_filled(draft.id);
            return Ok(());
        }
        let is_there =
            self.find(At::Id(&base.item)).await?.is_some_and(|now| now.content_tag.as_ref() == Some(&base.tag));
        // In this order: who reads the rest of the edit after the second step gets it from another download.
        if !is_there || !self.journal.give_back(draft, &base)? {
            tracing::warn!(ino = %draft.ino(), "the rest of the edited file does not fit its hash, and cannot be had again");
            return Ok(());
        }
        self.versions.disown(&base).await;
        let why = match judgement {
            Judgement::GiveUp => {
                "the part of the file that was not edited here arrives damaged, in another way each time"
            }
            _ => "the part of the file that was not edited here arrived damaged; it is fetched again",
        };
        tracing::warn!(ino = %draft.ino(), why);
        Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, why).into())
    }

    /// The hash of a version, as far as the draft has borrowed it of those bytes; `None` if the others cannot be had.
    async fn hash_of_base(&self, draft: &Arc<Draft>, base: &SpoolBase) -> Result<Option<String>, Setback> {
        let mut hash = QuickXorHash::new();
        let (mut at, borrowed) = (0, draft.borrowed());
        while at < base.size {
            let (range, is_here) = next_piece(at, base.size, borrowed.within(at..base.size).iter().next());
            let bytes = if is_here {
                let draft = draft.clone();
                blocking(move || draft.read_complete(range)).await?
            } else {
                match self.versions.read(base, range).await {
                    Ok(bytes) => bytes,
                    Err(error) if is_out_of_reach(error.kind) => Bytes::new(),
                    Err(error) => return Err(error.into()),
                }
            };
            if bytes.is_empty() {
                return Ok(None);
            }
            at += bytes.len() as u64;
            hash.update(&bytes);
        }
        Ok(Some(hash.finish_base64()))
    }
}

/// The next bytes to be hashed from `at` on, and whether they are in the draft, given the next range that is.
fn next_piece(at: u64, size: u64, next: Option<Range<u64>>) -> (Range<u64>, bool) {
    let (end, is_here) = match next {
        Some(next) if next.start <= at => (next.end, true),
        Some(next) => (next.start, false),
        None => (size, false),
    };
    (at..end.min(at + PIECE), is_here)
}

/// Whether bytes of a version cannot be had, now and later.
fn is_out_of_reach(kind: RemoteErrorKind) -> bool {
    use RemoteErrorKind as K;
    matches!(kind, K::Changed | K::NotFound | K::Denied | K::Malware)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_hashed_from_the_draft_where_that_has_it() {
        assert_eq!(next_piece(0, 100, None), (0..100, false));
        assert_eq!(next_piece(0, 100, Some(0..30)), (0..30, true));
        assert_eq!(next_piece(30, 100, Some(40..100)), (30..40, false));
        assert_eq!(next_piece(50, 100, Some(40..100)), (50..100, true));
        assert_eq!(next_piece(PIECE, 9 * PIECE, Some(0..8 * PIECE)), (PIECE..2 * PIECE, true));
    }
}
