//! New content on its way: complete it, send it whole or in fragments, and let it land.
//!
//! Apart from the other steps because it is the one that takes long. It can be interrupted after every fragment
//! and goes on where the service stands; what the service acknowledged is what counts, never what was sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Setback, Uploader};
use crate::base::ids::{ContentTag, Ino, ItemId};
use crate::journal::conflict::{self, Verdict};
use crate::journal::intent::{Intent, Progress};
use crate::journal::{Draft, ParkReason, SpoolId, StoreError};
use crate::remote::{
    Ack, Advice, At, FragmentRule, Item, Offset, Place, Precondition, RemoteError, RemoteErrorKind, Target, Ticket,
};

impl Uploader {
    /// Brings the missing bytes of an edited file here, so that the whole can be sent.
    async fn complete(&self, draft: &Arc<Draft>) -> Result<(), Setback> {
        const PIECE: u64 = 4 << 20;
        let missing = draft.missing();
        if missing.is_empty() {
            return Ok(());
        }
        let Some(base) = draft.base() else { return Err(Setback::Local("a draft misses bytes of nothing".into())) };
        for range in missing.iter() {
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
                        let draft = draft.clone();
                        blocking(move || draft.fill(at, &bytes)).await?;
                        at += length;
                    }
                    Err(error) if matches!(error.kind, RemoteErrorKind::Changed | RemoteErrorKind::NotFound) => {
                        return Err(Setback::Park(
                            ParkReason::BaseGone,
                            "the file was replaced elsewhere before the part of it that was not edited here had \
                             arrived; export the draft to keep the edited part"
                                .into(),
                        ));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        // The row must not speak of bytes that a power failure could still take.
        let filled = draft.clone();
        blocking(move || filled.sync_filled()).await?;
        self.journal.note_filled(draft.id);
        Ok(())
    }

    /// Sends the draft `spool` as the content an intent wants; it has landed on `Ok`.
    pub(super) async fn send(&self, intent: &Intent, parent: Option<ItemId>, spool: SpoolId) -> Result<(), Setback> {
        let Some(draft) = self.journal.draft(spool) else {
            if !self.journal.still_wants(intent.ino, spool) {
                return Err(Setback::Overtaken);
            }
            return Err(Setback::Park(ParkReason::Damaged, "the file with its content is missing".into()));
        };
        self.complete(&draft).await?;
        let size = draft.size();
        let limit = self.remote.caps().max_file;
        if size > limit {
            return Err(Setback::Park(ParkReason::TooLarge, format!("OneDrive stores files of up to {limit} bytes")));
        }
        let hash = {
            let draft = draft.clone();
            blocking(move || draft.compute_hash()).await?
        };
        let ours = ContentTag::from_hash(&hash, size);
        let place = match (parent, &intent.item) {
            (Some(parent), _) => Place::New { parent, name: intent.name.clone() },
            (None, Some(item)) => Place::Replace(item.clone()),
            (None, None) => return Err(Setback::Overtaken),
        };
        let pre = match (&place, &intent.base) {
            (Place::Replace(_), Some(base)) => Precondition::Unchanged(base.meta_tag.clone()),
            _ => Precondition::MustNotExist,
        };
        let created = matches!(place, Place::New { .. }).then_some(intent.created);
        let target = Target { place, modified: intent.modified, created };
        let new_at = match &target.place {
            Place::New { parent, name } => Some((parent.clone(), name.clone())),
            Place::Replace(_) => None,
        };
        self.journal.note_sending(intent.ino, new_at, Some(&ours))?;
        let sent = if size <= self.remote.caps().max_small || size == 0 {
            self.abandon_old_ticket(intent).await;
            let bytes = {
                let draft = draft.clone();
                blocking(move || draft.read_complete(0..size)).await?
            };
            self.remote.put_small(&target, bytes, &pre).await.map_err(Setback::from)
        } else {
            self.send_in_fragments(intent, &draft, &target, &pre, size).await
        };
        match sent {
            Ok(item) => self.land(intent, spool, &item, &ours, &draft),
            Err(Setback::Remote(error)) => self.contested(intent, &target, &draft, spool, &ours, error).await,
            Err(other) => Err(other),
        }
    }

    /// The cloud has our content, as `item`.
    fn land(
        &self,
        intent: &Intent,
        spool: SpoolId,
        item: &Item,
        ours: &ContentTag,
        draft: &Draft,
    ) -> Result<(), Setback> {
        // A service that edits documents on arrival answers with other bytes than ours. They are the file now:
        // sending ours again would start a quarrel that nobody wins
        // (https://github.com/OneDrive/onedrive-api-docs/issues/935).
        let exact = item.content_tag.as_ref() == Some(ours) && item.size == draft.size();
        if !exact && item.size == draft.size() && self.is_damage(spool, item) {
            // What arrived is ours by its place; its content still has to be sent.
            let landed = self.journal.acknowledge(intent.ino, item, None, false)?;
            self.publish(landed);
            let why = "the service stored other bytes than were sent; they are sent again";
            return Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, why).into());
        }
        self.damaged.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&spool);
        if !exact {
            tracing::info!(name = intent.name, "the service stored other bytes than were sent; its version counts");
        }
        let adopt = exact && self.journal.still_wants(intent.ino, spool);
        if adopt {
            self.versions.adopt(&item.id, ours, draft);
        }
        let landed = self.journal.acknowledge(intent.ino, item, Some(spool), exact)?;
        tracing::info!(ino = %intent.ino, name = intent.name, size = draft.size(), "in the cloud");
        self.publish(landed);
        Ok(())
    }

    /// Whether bytes that arrived otherwise than they were sent, and as many, were damaged on the way. A service that
    /// edits what it gets makes the same of it each time; damage differs.
    fn is_damage(&self, spool: SpoolId, item: &Item) -> bool {
        let mut damaged = self.damaged.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let seen = damaged.entry(spool).or_default();
        match &item.content_tag {
            Some(tag) if !seen.contains(tag) => {
                seen.push(tag.clone());
                true
            }
            _ => false,
        }
    }

    /// Our content was refused: because of what is there now, or for another reason?
    async fn contested(
        &self,
        intent: &Intent,
        target: &Target,
        draft: &Arc<Draft>,
        spool: SpoolId,
        ours: &ContentTag,
        error: RemoteError,
    ) -> Result<(), Setback> {
        let doubtful = matches!(
            error.kind,
            RemoteErrorKind::Exists
                | RemoteErrorKind::Changed
                | RemoteErrorKind::NotFound
                | RemoteErrorKind::UploadGone
        ) || error.advice == Advice::VerifyThenRetry;
        if !doubtful {
            // Said no before it took anything. Anything less certain is looked for first, at the next attempt.
            let certain = !error.is_transient() || error.kind == RemoteErrorKind::Throttled;
            if certain && intent.sent.is_none() {
                self.journal.not_taken(intent.ino)?;
            }
            return Err(error.into());
        }
        let now = match &target.place {
            Place::New { parent, name } => match self.look(At::Child(parent, name)).await? {
                None if error.kind == RemoteErrorKind::NotFound => return Err(self.parent_gone(parent, error).await),
                found => found,
            },
            Place::Replace(item) => self.look(At::Id(item)).await?,
        };
        let base = intent.base.as_ref().and_then(|base| base.content_tag.as_ref());
        let sent = intent.sent.as_ref().map(|sent| sent.versions.as_slice()).unwrap_or_default();
        match conflict::decide(base, now.as_ref(), ours, sent) {
            Verdict::Adopt(item) => self.land(intent, spool, &item, ours, draft),
            Verdict::Replace(item) => {
                let moved = intent.base.as_ref().is_none_or(|base| base.meta_tag != item.meta_tag);
                if moved {
                    self.journal.rebase(intent, &item)?;
                    return Err(Setback::Again);
                }
                Err(error.into())
            }
            Verdict::Create if intent.item.is_some() => {
                self.journal.send_as_new(intent)?;
                Err(Setback::Again)
            }
            Verdict::Create => Err(error.into()),
            Verdict::KeepBoth => self.keep_both(intent, now.as_ref()),
        }
    }

    pub(super) async fn abandon_old_ticket(&self, intent: &Intent) {
        if let Progress::Sending { ticket, .. } = &intent.progress
            && let Err(error) = self.remote.abandon_upload(ticket).await
        {
            tracing::debug!(%error, "an upload session that is not needed any more stays until it expires");
        }
    }

    fn fragment_size(&self) -> u64 {
        match self.remote.caps().fragment {
            FragmentRule::Multiple { unit, max } => (self.settings.fragment_size.min(max) / unit).max(1) * unit,
            FragmentRule::Any => self.settings.fragment_size.max(1),
        }
    }

    async fn send_in_fragments(
        &self,
        intent: &Intent,
        draft: &Arc<Draft>,
        target: &Target,
        pre: &Precondition,
        size: u64,
    ) -> Result<Item, Setback> {
        let spool = draft.id;
        let mut resumed = None;
        if let Progress::Sending { ticket, spool: sending, .. } = &intent.progress {
            if *sending == spool && ticket.target.place == target.place && ticket.size == size {
                match self.remote.upload_offset(ticket).await? {
                    Offset::At(at) => resumed = Some(((**ticket).clone(), at)),
                    Offset::Done(item) => return Ok(*item),
                    Offset::Gone => {
                        // Expired, or finished with the answer lost: the caller looks before anything is sent
                        // again.
                        self.journal.note_progress(intent.ino, Progress::Waiting)?;
                        return Err(RemoteError::new(
                            RemoteErrorKind::UploadGone,
                            Advice::VerifyThenRetry,
                            "the upload session is over",
                        )
                        .into());
                    }
                }
            } else {
                self.abandon_old_ticket(intent).await;
            }
        }
        let (ticket, mut at) = match resumed {
            Some(resumed) => resumed,
            None => {
                let ticket = self.remote.begin_upload(target, size, pre).await?;
                self.note_sent(intent.ino, &ticket, spool, 0)?;
                (ticket, 0)
            }
        };
        let fragment = self.fragment_size();
        let mut turns_without_progress = 0;
        loop {
            if self.stopping.load(Ordering::Acquire) {
                // The ticket is stored; the next start goes on where the service stands.
                return Err(Setback::Overtaken);
            }
            if !self.journal.still_wants(intent.ino, spool) {
                let _ = self.remote.abandon_upload(&ticket).await;
                self.journal.note_progress(intent.ino, Progress::Waiting)?;
                return Err(Setback::Overtaken);
            }
            let end = self.fragment_end(at, size, fragment, matches!(target.place, Place::Replace(_)));
            if end == size {
                self.still_replaces(intent, target, &ticket).await?;
            }
            let bytes = {
                let draft = draft.clone();
                blocking(move || draft.read_complete(at..end)).await?
            };
            let next = match self.remote.put_fragment(&ticket, at, bytes).await {
                Ok(Ack::Done(item)) => return Ok(*item),
                Ok(Ack::Next(next)) => next,
                Err(error)
                    if matches!(error.kind, RemoteErrorKind::Range | RemoteErrorKind::UploadGone)
                        || error.advice == Advice::VerifyThenRetry =>
                {
                    match self.remote.upload_offset(&ticket).await? {
                        Offset::At(next) => next,
                        Offset::Done(item) => return Ok(*item),
                        Offset::Gone => {
                            self.journal.note_progress(intent.ino, Progress::Waiting)?;
                            return Err(RemoteError::new(
                                RemoteErrorKind::UploadGone,
                                Advice::VerifyThenRetry,
                                "the upload session is over",
                            )
                            .into());
                        }
                    }
                }
                Err(error) => return Err(error.into()),
            };
            turns_without_progress = if next > at { 0 } else { turns_without_progress + 1 };
            if turns_without_progress > 4 {
                return Err(RemoteError::protocol("the upload session accepts no bytes").into());
            }
            at = next;
            self.note_sent(intent.ino, &ticket, spool, at)?;
            if at >= size {
                return Ok(self.remote.finish_upload(&ticket).await?);
            }
        }
    }

    /// Where the next fragment ends. The last one of a replacement is kept short, because between the look at what is
    /// to be replaced and the end of that fragment lies the only moment in which somebody else's version could be
    /// replaced unseen.
    fn fragment_end(&self, at: u64, size: u64, fragment: u64, replaces: bool) -> u64 {
        let end = size.min(at + fragment);
        let unit = match self.remote.caps().fragment {
            FragmentRule::Multiple { unit, .. } => unit,
            FragmentRule::Any => 64 << 10,
        };
        if replaces && end == size && size - at > unit { at + (size - at - 1) / unit * unit } else { end }
    }

    /// Before the last fragment: the item still is what this content was to replace. Services check a session's
    /// precondition when it is opened, not all of them at its end.
    async fn still_replaces(&self, intent: &Intent, target: &Target, ticket: &Ticket) -> Result<(), Setback> {
        let (Place::Replace(item), Some(base)) = (&target.place, &intent.base) else { return Ok(()) };
        let now = self.look(At::Id(item)).await?;
        let same = |now: &Item| {
            now.meta_tag == base.meta_tag || (now.content_tag.is_some() && now.content_tag == base.content_tag)
        };
        if now.as_ref().is_some_and(same) {
            return Ok(());
        }
        let _ = self.remote.abandon_upload(ticket).await;
        self.journal.note_progress(intent.ino, Progress::Waiting)?;
        let context = "the file was changed elsewhere while the new version was on its way";
        Err(RemoteError::new(RemoteErrorKind::Changed, Advice::GiveUp, context).into())
    }

    fn note_sent(&self, ino: Ino, ticket: &Ticket, spool: SpoolId, acked: u64) -> Result<(), StoreError> {
        self.journal.note_progress(ino, Progress::Sending { ticket: Box::new(ticket.clone()), spool, acked })
    }
}

/// Runs disk work where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(std::io::Error::other(error)),
    }
}
