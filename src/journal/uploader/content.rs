//! New content on its way: send it whole or in fragments, and let it land.
//!
//! Apart from the other steps because it is the one that takes long. It can be interrupted after every fragment
//! and goes on where the service stands; what the service acknowledged is what counts, never what was sent.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::{Setback, Uploader, moved_by_us};
use crate::base::hash::QuickXorHash;
use crate::base::ids::{ContentTag, Ino, ItemId};
use crate::journal::conflict::{self, Verdict};
use crate::journal::intent::{Intent, Progress};
use crate::journal::store::SpoolBase;
use crate::journal::{Draft, ParkReason, SpoolId, StoreError};
use crate::remote::{
    Ack, Advice, At, Finished, FragmentRule, Item, Offset, Place, Precondition, RemoteError, RemoteErrorKind, Source,
    Target, Ticket,
};

/// How long to wait before content is sent again that was damaged on the way.
const AFTER_DAMAGE: Duration = Duration::from_secs(2);

impl Uploader {
    /// Sends the draft `spool` as the content an intent wants; it has landed on `Ok`.
    pub(super) async fn send(&self, intent: &Intent, parent: Option<ItemId>, spool: SpoolId) -> Result<(), Setback> {
        let Some(draft) = self.journal.draft(spool) else {
            if !self.journal.still_wants(intent.ino, spool) {
                return Err(Setback::Overtaken);
            }
            return Err(Setback::Park(ParkReason::Damaged, "the file with its content is missing".into()));
        };
        self.complete(&draft).await?;
        self.compare_base(&draft).await?;
        draft.release_base();
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
        let (of, new_at) = match &target.place {
            Place::New { parent, name } => (None, Some((parent.clone(), name.clone()))),
            Place::Replace(item) => (Some(item), None),
        };
        if !self.journal.note_sending(intent.ino, of, new_at, Some(&ours))? {
            return Err(Setback::Overtaken);
        }
        self.remember(intent).await;
        let sent = if size <= self.remote.caps().max_small.min(WHOLE) || size == 0 {
            self.abandon_old_ticket(intent).await;
            let bytes = {
                let draft = draft.clone();
                blocking(move || draft.read_complete(0..size)).await?
            };
            self.remote.put_small(&target, bytes, &pre).await.map_err(Setback::from)
        } else {
            self.send_in_fragments(intent, &draft, &target, &pre, &ours).await
        };
        match sent {
            Ok(item) => self.land(intent, spool, &item, &ours, &draft).await,
            Err(Setback::Remote(error)) => self.contested(intent, &target, &draft, spool, &ours, error).await,
            Err(other) => Err(other),
        }
    }

    /// The cloud has our content, as `item`.
    async fn land(
        &self,
        intent: &Intent,
        spool: SpoolId,
        item: &Item,
        ours: &ContentTag,
        draft: &Arc<Draft>,
    ) -> Result<(), Setback> {
        // A service that edits documents on arrival answers with other bytes than ours. They are the file now:
        // sending ours again would start a quarrel that nobody wins
        // (https://github.com/OneDrive/onedrive-api-docs/issues/935).
        // Without a hash the size has to do: the service has acknowledged every byte.
        let hashed = self.remote.caps().hashes;
        let same = !hashed || item.content_tag.as_ref() == Some(ours);
        let exact = same && item.size == draft.size();
        // Where there is no hash an older state of the same size looks exact, too, and only the bytes can tell. All empty
        // versions are the same.
        let may_be_old = is_as_before(intent, item) && (!exact || (!hashed && item.size > 0));
        if may_be_old && (!exact || !self.is_one_of(item, std::slice::from_ref(ours)).await?) {
            // No answer to what was sent.
            self.journal.note_progress(intent.ino, Progress::Waiting)?;
            let why = "the upload left the file as it was; it is sent again";
            return Err(RemoteError::new(RemoteErrorKind::UploadGone, Advice::Retry, why).into());
        }
        if !exact && (item.size == draft.size() || !hashed) && self.is_damage(spool, item) {
            // What arrived is ours by its place; its content still has to be sent. The pause comes first: whoever
            // acknowledges lets go of the inode, and must not let go of it once more when another worker has it.
            let why = "the service stored other bytes than were sent; they are sent again";
            tracing::warn!(ino = %intent.ino, name = intent.name, why);
            self.clock.sleep(AFTER_DAMAGE).await;
            let landed = self.journal.acknowledge(intent.ino, &self.with_our_time(item, intent), None, false)?;
            self.journal.note_trouble(intent.ino, why)?;
            self.arrive(landed).await;
            return Err(Setback::Again);
        }
        self.damaged.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&spool);
        if !exact {
            tracing::info!(name = intent.name, "the service stored other bytes than were sent; its version counts");
        }
        let adopt = exact && self.journal.still_wants(intent.ino, spool);
        if adopt {
            // Before the acknowledgement: who opens the new version after it finds its bytes here. It blocks for as long
            // as the disks need to copy the file if they are two. Whatever goes wrong, the bytes are in the cloud.
            let (versions, draft) = (self.versions.clone(), draft.clone());
            let (id, tag) = (item.id.clone(), item.content_tag.as_ref().unwrap_or(ours).clone());
            let _ = tokio::task::spawn_blocking(move || versions.adopt(&id, &tag, &draft)).await;
        }
        if let Some(begun) = self.journal.copy_with_gaps(intent.ino, draft) {
            let (journal, landing) = (self.journal.clone(), draft.clone());
            // What cannot be handed on is told when it is missed.
            let handed_on =
                blocking(move || begun.fill_from(&landing).and_then(|()| journal.sync_filled(&begun))).await;
            if let Err(error) = handed_on {
                tracing::warn!(ino = %intent.ino, ?error, "an edit begun since may miss a part of the file");
            }
        }
        let landed = self.journal.acknowledge(intent.ino, &self.with_our_time(item, intent), Some(spool), exact)?;
        tracing::info!(ino = %intent.ino, name = intent.name, size = draft.size(), "in the cloud");
        self.arrive(landed).await;
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
            // Said no before it took anything. Anything less certain is looked for first, at the next attempt: once a
            // session is open the bytes may have arrived, and the refusal be of a look at what became of them.
            let is_sending = |now: Intent| matches!(now.progress, Progress::Sending { .. });
            let certain = (!error.is_transient() || error.kind == RemoteErrorKind::Throttled)
                && !self.journal.get(intent.ino).is_some_and(is_sending);
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
            Place::Replace(item) => self.look_own(intent, item).await?,
        };
        let base = intent.base.as_ref().and_then(|base| base.content_tag.as_ref());
        let sent = intent.sent.as_ref().map(|sent| sent.versions.as_slice()).unwrap_or_default();
        let judged = match &now {
            Some(item) => match moved_by_us(intent, item) {
                Some(from) => {
                    self.keep_renamed(from, item).await;
                    Some(Item { content_tag: base.cloned(), ..item.clone() })
                }
                None => Some(self.with_bytes_as_tag(item, base, sent.iter().chain([ours])).await?),
            },
            None => None,
        };
        let verdict = match (conflict::decide(base, judged.as_ref(), ours, sent), now.clone()) {
            // What is handed on is the item as it is.
            (Verdict::Adopt(_), Some(item)) => Verdict::Adopt(Box::new(item)),
            (Verdict::Replace(_), Some(item)) => Verdict::Replace(Box::new(item)),
            (verdict, _) => verdict,
        };
        match verdict {
            Verdict::Adopt(item) => self.land(intent, spool, &item, ours, draft).await,
            Verdict::Replace(item) => {
                let moved = intent.base.as_ref().is_none_or(|base| base.meta_tag != item.meta_tag);
                // Another of our files may have taken the item over.
                let taken = self.journal.view(|all| all.by_item(&item.id).is_some_and(|by| by.ino != intent.ino));
                if moved && !taken {
                    return self.rebase_on(intent, &item, judged.and_then(|item| item.content_tag).as_ref());
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

    /// Whether an item has the bytes of one of these versions, read back where the service has no hashes.
    pub(super) async fn is_one_of(&self, item: &Item, versions: &[ContentTag]) -> Result<bool, Setback> {
        let judged = self.with_bytes_as_tag(item, None, versions).await?;
        Ok(judged.content_tag.is_some_and(|tag| versions.contains(&tag)))
    }

    /// An item, its version told by its bytes. Where the service has no hashes, what has the size of something that we
    /// have sent is read back: whether it is ours decides between "nothing to do" and two files.
    pub(super) async fn with_bytes_as_tag<'a>(
        &self,
        item: &Item,
        base: Option<&ContentTag>,
        mine: impl IntoIterator<Item = &'a ContentTag>,
    ) -> Result<Item, Setback> {
        let (Some(tag), false) = (&item.content_tag, self.remote.caps().hashes) else { return Ok(item.clone()) };
        let mine: Vec<&ContentTag> = mine.into_iter().collect();
        let may_be_ours = mine.iter().any(|sent| sent.size() == Some(item.size));
        // By the tag itself it is known without a look.
        if base == Some(tag) || mine.contains(&tag) || item.size == 0 || !may_be_ours {
            return Ok(item.clone());
        }
        const PIECE: u64 = 4 << 20;
        let version = SpoolBase { item: item.id.clone(), tag: tag.clone(), size: item.size };
        let mut hash = QuickXorHash::new();
        let mut at = 0;
        while at < item.size {
            let bytes = self.versions.read(&version, at..item.size.min(at + PIECE)).await?;
            if bytes.is_empty() {
                return Err(RemoteError::protocol("a file is shorter than the service says").into());
            }
            at += bytes.len() as u64;
            hash.update(&bytes);
        }
        let content_tag = Some(ContentTag::from_hash(&hash.finish_base64(), item.size));
        tracing::debug!(item = ?item.id, ?tag, ?content_tag, "read back");
        Ok(Item { content_tag, ..item.clone() })
    }

    /// An item with the time that it was to have, where the service cannot be told: this machine remembers it, as long
    /// as the item stays as it is.
    pub(super) fn with_our_time(&self, item: &Item, intent: &Intent) -> Item {
        let told = self.remote.caps().set_times || !intent.set_modified;
        let modified = if told { item.modified } else { intent.modified };
        Item { modified, ..item.clone() }
    }

    pub(super) async fn abandon_old_ticket(&self, intent: &Intent) {
        if let Progress::Sending { ticket, .. } = &intent.progress
            && let Err(error) = self.remote.abandon_upload(ticket).await
        {
            tracing::debug!(%error, "an upload session that is not needed any more stays until it expires");
        }
    }

    /// The length of a fragment after one of `last` bytes (`None` for the first) took so long; see [`next_fragment`].
    fn fragment_size(&self, last: Option<(u64, Duration)>) -> u64 {
        let wanted = next_fragment(last).min(self.settings.fragment_size);
        match self.remote.caps().fragment {
            FragmentRule::Multiple { unit, max } => (wanted.min(max) / unit).max(1) * unit,
            FragmentRule::Any => wanted.max(1),
        }
    }

    /// A session that is over: the next attempt begins anew, if there still is something to send.
    fn session_over(&self, intent: &Intent) -> Setback {
        if let Err(error) = self.journal.note_progress(intent.ino, Progress::Waiting) {
            return error.into();
        }
        RemoteError::new(RemoteErrorKind::UploadGone, Advice::VerifyThenRetry, "the upload session is over").into()
    }

    async fn finished(&self, intent: &Intent, finished: Finished, ours: &ContentTag) -> Result<Item, Setback> {
        match finished {
            Finished { item, told: true } => Ok(item),
            Finished { item, told: false } => self.found(intent, item, ours).await,
        }
    }

    /// An upload whose end was not seen was looked for, and here stands a file of its size and its time. That does not
    /// make it ours: a program may keep both when it changes a file, and another device may have stored its own meanwhile.
    /// Its content says whose it is, read back from a service without hashes; if one that has them does not tell it yet,
    /// it is believed.
    async fn found(&self, intent: &Intent, item: Item, ours: &ContentTag) -> Result<Item, Setback> {
        let hash = item.content_tag.as_ref().and_then(ContentTag::hash);
        let is_ours = match (hash, self.remote.caps().hashes) {
            (Some(_), _) => item.content_tag.as_ref() == Some(ours),
            (None, true) => true,
            (None, false) => self.is_one_of(&item, std::slice::from_ref(ours)).await?,
        };
        if is_ours { Ok(item) } else { Err(self.session_over(intent)) }
    }

    async fn send_in_fragments(
        &self,
        intent: &Intent,
        draft: &Arc<Draft>,
        target: &Target,
        pre: &Precondition,
        ours: &ContentTag,
    ) -> Result<Item, Setback> {
        let (spool, size) = (draft.id, draft.size());
        let mut resumed = None;
        if let Progress::Sending { ticket, spool: sending, .. } = &intent.progress {
            if *sending == spool && ticket.target.place == target.place && ticket.size == size {
                match self.remote.upload_offset(ticket).await? {
                    Offset::At(at) => resumed = Some(((**ticket).clone(), at)),
                    Offset::Done(item) => return self.found(intent, *item, ours).await,
                    // Expired, or finished with the answer lost: the caller looks before anything is sent again.
                    Offset::Gone => return Err(self.session_over(intent)),
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
        let source = Arc::new(DraftSource { draft: draft.clone(), failure: Mutex::default() });
        let mut fragment = self.fragment_size(None);
        let mut turns_without_progress = 0;
        if at >= size {
            // Everything had arrived before this program ended, but for the last step.
            let finished = self.remote.finish_upload(&ticket).await?;
            return self.finished(intent, finished, ours).await;
        }
        loop {
            if self.stopping.load(Ordering::Acquire) {
                // The ticket is stored; the next start goes on where the service stands.
                return Err(Setback::Overtaken);
            }
            if !self.journal.may_go_on(intent, spool) {
                let _ = self.remote.abandon_upload(&ticket).await;
                self.journal.note_progress(intent.ino, Progress::Waiting)?;
                return Err(Setback::Overtaken);
            }
            let end = self.fragment_end(at, size, fragment, matches!(target.place, Place::Replace(_)));
            if end == size {
                self.still_replaces(intent, target, &ticket).await?;
            }
            let begun = self.clock.monotonic();
            let sent = self.remote.put_fragment_of(&ticket, at..end, source.clone()).await;
            if let Some(failure) = source.failure() {
                // The connection broke because there was nothing right to send.
                return Err(failure.into());
            }
            let next = match sent {
                Ok(Ack::Done(finished)) => return self.finished(intent, *finished, ours).await,
                Ok(Ack::Next(next)) => {
                    fragment = self.fragment_size(Some((end - at, self.clock.monotonic().since(begun))));
                    next
                }
                Err(error)
                    if matches!(error.kind, RemoteErrorKind::Range | RemoteErrorKind::UploadGone)
                        || error.advice == Advice::VerifyThenRetry =>
                {
                    match self.remote.upload_offset(&ticket).await? {
                        // The session stands, and the next attempt goes on from here, after a pause.
                        Offset::At(next) if next <= at && error.kind != RemoteErrorKind::Range => {
                            return Err(error.into());
                        }
                        Offset::At(next) => next,
                        Offset::Done(item) => return self.found(intent, *item, ours).await,
                        Offset::Gone => return Err(self.session_over(intent)),
                    }
                }
                Err(error) => return Err(error.into()),
            };
            turns_without_progress = if next > at { 0 } else { turns_without_progress + 1 };
            if turns_without_progress > 4 {
                let _ = self.remote.abandon_upload(&ticket).await;
                self.journal.note_progress(intent.ino, Progress::Waiting)?;
                return Err(RemoteError::protocol("the upload session accepts no bytes").into());
            }
            at = next;
            self.note_sent(intent.ino, &ticket, spool, at)?;
            if at >= size {
                let finished = self.remote.finish_upload(&ticket).await?;
                return self.finished(intent, finished, ours).await;
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
        let now = self.look_own(intent, item).await?;
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
        let ticket = Box::new(Ticket { acked, ..ticket.clone() });
        self.journal.note_progress(ino, Progress::Sending { ticket, spool, acked })
    }
}

/// A draft as the body of requests. What its disk says is remembered, because to a request it is only a body that broke
/// off.
struct DraftSource {
    draft: Arc<Draft>,
    failure: Mutex<Option<std::io::Error>>,
}

impl DraftSource {
    fn failure(&self) -> Option<std::io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Source for DraftSource {
    fn read(&self, range: Range<u64>) -> std::io::Result<Bytes> {
        let length = range.end - range.start;
        let read = match self.draft.read_complete(range) {
            // Cut short under our hands: not the content that was to be sent.
            Ok(bytes) if bytes.len() as u64 != length => Err(std::io::Error::other("the draft was cut short")),
            other => other,
        };
        read.map_err(|error| {
            let told = std::io::Error::other("the draft cannot be read");
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            told
        })
    }
}

/// The most bytes of one file that are sent as a whole. They are held in memory meanwhile, by every worker, and what is
/// sent in fragments goes on where it was cut.
const WHOLE: u64 = 4 << 20;

/// The length of the first fragment, in bytes.
const FIRST_FRAGMENT: u64 = 20 << 20;

/// How long the next fragment should be, in bytes, before the limits of the service and of the settings. Between two
/// fragments the line is idle for a round trip, and what of a fragment was sent when a connection breaks is lost; so a
/// fragment should take some seconds, and not many.
///
/// | the last one took | the next one |
/// | --- | --- |
/// | (there was none) | 20 MiB |
/// | less than 2 s | twice as long |
/// | more than 20 s | half as long, 2 MiB at least |
/// | anything else | as long |
fn next_fragment(last: Option<(u64, Duration)>) -> u64 {
    const SOON: Duration = Duration::from_secs(2);
    const LATE: Duration = Duration::from_secs(20);
    const LEAST: u64 = 2 << 20;
    match last {
        None => FIRST_FRAGMENT,
        Some((length, took)) if took < SOON => length.saturating_mul(2),
        Some((length, took)) if took > LATE => (length / 2).max(LEAST),
        Some((length, _)) => length,
    }
}

/// Whether an item is what our work started from.
fn is_as_before(intent: &Intent, item: &Item) -> bool {
    intent.base.as_ref().is_some_and(|base| {
        base.meta_tag == item.meta_tag || (item.content_tag.is_some() && base.content_tag == item.content_tag)
    })
}

/// Runs disk work where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(std::io::Error::other(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_grow_on_a_quick_line_and_shrink_on_a_slow_one() {
        const MIB: u64 = 1 << 20;
        assert_eq!(next_fragment(None), 20 * MIB);
        assert_eq!(next_fragment(Some((20 * MIB, Duration::from_millis(300)))), 40 * MIB);
        assert_eq!(next_fragment(Some((20 * MIB, Duration::from_secs(9)))), 20 * MIB);
        assert_eq!(next_fragment(Some((20 * MIB, Duration::from_secs(60)))), 10 * MIB);
        assert_eq!(next_fragment(Some((MIB, Duration::from_secs(600)))), 2 * MIB);
    }
}
