//! The workers that bring intents to the cloud: pick, send, acknowledge, land.
//!
//! Each takes the most urgent intent that nothing stands in the way of, carries out its next step, and lets
//! the answer decide. A worker never decides what is wanted, only how to get there; when the cloud is not as
//! expected it asks the pure functions of `conflict` and looks before it repeats anything.
//!
//! Always true: every replace, move and delete names the version it expects; a session's ticket is stored
//! before its first fragment; nothing of the cloud is deleted that a user did not delete here; what is to be added,
//! moved or deleted there, and why, survives a loss of power before it is asked for, so that the cloud is never ahead of
//! what is remembered here. Only an addition is sent all the same when the disk cannot remember.

mod content;
mod folders;
mod look;
mod unanswered;
mod whole;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;

use super::intent::{Base, Intent, Kind, Step};
use super::queue::{Pick, backoff};
use super::store::SpoolBase;
use super::{DamagedDraft, Draft, Journal, ParkReason, SpoolId, StoreError};
use crate::base::clock::Clock;
use crate::base::ids::{ContentTag, Ino, ItemId};
use crate::base::name;
use crate::index::{Index, IndexError, NoticeSink};
use crate::remote::{Advice, At, Item, Patch, Precondition, Remote, RemoteError, RemoteErrorKind, URGENCY, Urgency};

/// The bytes of versions that are in the cloud, from wherever they are nearest.
#[async_trait]
pub trait Versions: Send + Sync + 'static {
    /// A range of a version; it must lie within the version's size. [`RemoteErrorKind::Changed`] if the cloud
    /// has another version now and the bytes are not on this machine.
    async fn read(&self, version: &SpoolBase, range: Range<u64>) -> Result<Bytes, RemoteError>;

    /// Whether a version has bytes with this hash although the service names another one: they came like that twice.
    fn is_trusted(&self, version: &SpoolBase, hash: &str) -> bool;

    /// Bytes of a version that were handed out are wrong. On return nothing of it is kept; what is read next comes from
    /// another download.
    async fn disown(&self, version: &SpoolBase);

    /// A version has another tag now and the same bytes: what is kept of it here is kept under that tag, too. May take as
    /// long as the disk needs to copy it.
    fn renamed(&self, _item: &ItemId, _from: &ContentTag, _to: &ContentTag, _size: u64) {}

    /// The local disk lacks so many bytes for completing a draft: what can be had again makes way. Blocks on the disk.
    fn make_way(&self, bytes: u64);

    /// A draft has exactly the bytes of this version: keep them as clean bytes. Its file stays. May take as long as the
    /// disk needs to copy it.
    fn adopt(&self, item: &ItemId, tag: &ContentTag, draft: &Draft);
}

/// How uploads behave.
#[derive(Clone, Debug)]
pub struct UploadSettings {
    /// Intents worked on at a time.
    pub concurrency: usize,
    /// Length of the fragments of an upload session, in bytes; rounded down to what the service allows.
    pub fragment_size: u64,
    /// The name of this machine, for conflict names.
    pub host: String,
}

/// The uploader of one drive.
pub struct Uploader {
    journal: Arc<Journal>,
    index: Arc<Index>,
    remote: Arc<dyn Remote>,
    versions: Arc<dyn Versions>,
    clock: Arc<dyn Clock>,
    settings: UploadSettings,
    sink: Arc<dyn NoticeSink>,
    stopping: AtomicBool,
    /// Content that arrived with other bytes than it was sent with, and as what.
    damaged: std::sync::Mutex<std::collections::HashMap<SpoolId, Vec<ContentTag>>>,
    /// Edits whose base came with wrong hashes, and which.
    doubted: std::sync::Mutex<std::collections::HashMap<SpoolId, Vec<String>>>,
    /// Whose turn it is to take a former version of a file into memory.
    history: tokio::sync::Mutex<()>,
}

/// Why a step was not acknowledged.
enum Setback {
    /// The cloud said no.
    Remote(RemoteError),
    /// The local disk or journal said no.
    Local(String),
    /// It is not wanted any more; nothing to report.
    Overtaken,
    /// Only the user can help.
    Park(ParkReason, String),
    /// The intent was changed to be tried again at once.
    Again,
}

impl From<RemoteError> for Setback {
    fn from(error: RemoteError) -> Self {
        Self::Remote(error)
    }
}

impl From<StoreError> for Setback {
    fn from(error: StoreError) -> Self {
        Self::Local(error.to_string())
    }
}

impl From<IndexError> for Setback {
    fn from(error: IndexError) -> Self {
        Self::Local(error.to_string())
    }
}

impl From<std::io::Error> for Setback {
    fn from(error: std::io::Error) -> Self {
        match DamagedDraft::behind(&error) {
            Some(damage) => Self::Park(ParkReason::Damaged, damage.to_string()),
            None => Self::Local(error.to_string()),
        }
    }
}

impl Uploader {
    /// An uploader; it does nothing before [`Uploader::work`] is run.
    pub fn new(
        journal: Arc<Journal>,
        index: Arc<Index>,
        remote: Arc<dyn Remote>,
        versions: Arc<dyn Versions>,
        clock: Arc<dyn Clock>,
        settings: UploadSettings,
        sink: Arc<dyn NoticeSink>,
    ) -> Arc<Self> {
        let (stopping, history) = (AtomicBool::new(false), Default::default());
        let (damaged, doubted) = (Default::default(), Default::default());
        Arc::new(Self { journal, index, remote, versions, clock, settings, sink, stopping, damaged, doubted, history })
    }

    /// How many workers there should be.
    pub fn concurrency(&self) -> usize {
        self.settings.concurrency.max(1)
    }

    /// No new steps are begun from now on; those under way go on.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.journal.wake.notify_waiters();
    }

    /// One worker: runs until [`Uploader::stop`]. Dropping it in the middle of a step is safe; the step is
    /// taken up again by the next start.
    pub async fn work(self: Arc<Self>) {
        while !self.stopping.load(Ordering::Acquire) {
            let mut woken = Box::pin(self.journal.wake.notified());
            woken.as_mut().enable();
            match self.journal.pick() {
                Pick::Work(intent, step) => {
                    // What wakes somebody from now on must not wake one who works.
                    drop(woken);
                    self.journal.wake.notify_one();
                    let ino = intent.ino;
                    let guard = Busy { journal: &self.journal, ino, armed: true };
                    URGENCY.scope(Urgency::Upload, self.process(*intent, step)).await;
                    guard.disarm();
                }
                Pick::Wait(until) => {
                    let pause = Duration::from_nanos(until.0.saturating_sub(self.clock.now().0).max(1_000_000) as u64);
                    tokio::select! {
                        () = self.clock.sleep(pause.min(Duration::from_secs(60))) => {}
                        () = woken => {}
                    }
                }
                Pick::Idle => woken.await,
            }
        }
    }

    /// Carries out one step if one is due; `false` if there is none. For tests that want single steps.
    pub async fn step(&self) -> bool {
        match self.journal.pick() {
            Pick::Work(intent, step) => {
                URGENCY.scope(Urgency::Upload, self.process(*intent, step)).await;
                true
            }
            _ => false,
        }
    }

    async fn process(&self, intent: Intent, step: Step) {
        let ino = intent.ino;
        tracing::debug!(%ino, name = intent.name, item = ?intent.item.as_ref().map(|item| &item.id), ?step, "a step towards the cloud");
        let done = match step {
            Step::Rest | Step::AwaitParent => {
                self.journal.let_go(ino);
                Ok(())
            }
            Step::FindSent => self.find_sent(&intent).await,
            Step::Settled => self.journal.settle(ino).map(|landed| self.publish(landed)).map_err(Setback::from),
            Step::MakeFolder { parent } => self.make_folder(&intent, &parent).await,
            Step::Create { parent, spool } => self.send(&intent, Some(parent), spool).await,
            Step::Replace { spool } => self.send(&intent, None, spool).await,
            Step::Change(patch) => self.change(&intent, &patch).await,
            Step::Delete => self.delete(&intent).await,
        };
        let noted = match done {
            Ok(()) | Err(Setback::Again) => Ok(()),
            Err(Setback::Overtaken) => {
                self.journal.let_go(ino);
                Ok(())
            }
            Err(Setback::Park(reason, why)) => {
                tracing::warn!(%ino, name = intent.name, why, "parked; it stays on this machine until you decide");
                self.journal.park(&intent, reason, &why)
            }
            Err(Setback::Local(why)) => self.postpone(ino, &intent, &why, None),
            Err(Setback::Remote(error)) => {
                if error.kind == RemoteErrorKind::QuotaFull
                    && let Some(now) = self.journal.get(ino)
                {
                    // Parking forgets the session, and an open one may hold the room that is missing.
                    self.abandon_old_ticket(&now).await;
                }
                self.refused(&intent, error)
            }
        };
        if let Err(error) = noted {
            tracing::error!(%ino, %error, "the journal did not take the outcome of a step");
            self.journal.let_go(ino);
            self.clock.sleep(Duration::from_secs(1)).await;
        }
    }

    fn postpone(&self, ino: Ino, intent: &Intent, why: &str, after: Option<Duration>) -> Result<(), StoreError> {
        tracing::info!(%ino, name = intent.name, why, "not in the cloud yet; trying again");
        // The spread comes from the inode: it need not be random, only different.
        let spread = (ino.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / (1u64 << 24) as f64;
        self.journal.postpone(ino, why, |attempts| after.unwrap_or_else(|| backoff(attempts, spread)))
    }

    /// What a refusal that no step could answer means.
    fn refused(&self, intent: &Intent, error: RemoteError) -> Result<(), StoreError> {
        let why = error.to_string();
        let reason = match error.kind {
            RemoteErrorKind::QuotaFull => Some(ParkReason::QuotaFull),
            RemoteErrorKind::BadName | RemoteErrorKind::TooLong => Some(ParkReason::NameRefused),
            // The sign-in itself is refused: another one helps, and nobody need say so twice.
            RemoteErrorKind::Denied if error.advice == Advice::Refresh => None,
            RemoteErrorKind::Denied | RemoteErrorKind::ReadOnly | RemoteErrorKind::Malware => Some(ParkReason::Denied),
            RemoteErrorKind::TooLarge => Some(ParkReason::TooLarge),
            RemoteErrorKind::Unsupported | RemoteErrorKind::NotAnId => Some(ParkReason::Refused),
            _ => None,
        };
        match reason {
            Some(reason) => {
                tracing::warn!(ino = %intent.ino, name = intent.name, why, "parked; it stays on this machine until you decide");
                self.journal.park(intent, reason, &why)
            }
            None => {
                let after = match error.advice {
                    Advice::RetryAfter(pause) => Some(pause),
                    _ => None,
                };
                self.postpone(intent.ino, intent, &why, after)
            }
        }
    }

    /// Our work is based on this state from now on, and goes on at once; unless it has somebody else's content, which
    /// ours must not replace.
    async fn rebase(&self, intent: &Intent, now: &Item) -> Result<(), Setback> {
        let mut as_ours = None;
        if let Some(base) = &intent.base
            && let Some((from, to)) = base.content_tag.as_ref().zip(now.content_tag.as_ref())
            && (from == to || from.differs_by_rename_only(to))
        {
            as_ours = Some(self.with_our_time(now, intent));
        }
        let now = as_ours.as_ref().unwrap_or(now);
        // Whose content it has matters only to content of ours.
        if intent.deleted || (intent.sealed.is_none() && intent.drafting.is_none()) {
            return self.rebase_on(intent, now, None);
        }
        let sent = intent.sent.as_ref().map(|sent| sent.versions.as_slice()).unwrap_or_default();
        let base = intent.base.as_ref().and_then(|base| base.content_tag.as_ref());
        if let Some(before) = moved_by_us(intent, now) {
            self.keep_renamed(before, now).await;
            return self.rebase_on(intent, now, base);
        }
        let judged = self.with_bytes_as_tag(now, base, sent).await?;
        self.rebase_on(intent, now, judged.content_tag.as_ref())
    }

    /// The same of an item whose bytes are known by their hash, or to which they do not matter.
    fn rebase_on(&self, intent: &Intent, now: &Item, bytes: Option<&ContentTag>) -> Result<(), Setback> {
        match self.journal.rebase(intent, now, bytes)? {
            Some(landed) => self.publish(landed),
            None if intent.sealed.is_some() => return self.keep_both(intent, Some(now)),
            None => {
                let why = "the file was changed elsewhere while it is being written here";
                return Err(RemoteError::new(RemoteErrorKind::Changed, Advice::GiveUp, why).into());
            }
        }
        Err(Setback::Again)
    }

    fn conflict_name(&self, intent: &Intent) -> String {
        let date = jiff::Timestamp::from_nanosecond(i128::from(self.clock.now().0))
            .map(|at| at.to_string().chars().take(10).collect::<String>())
            .unwrap_or_default();
        name::conflict_name(&intent.name, &self.settings.host, &date, |candidate| {
            self.journal.view(|overlay| overlay.at(intent.parent, candidate).is_some())
                || self.index.child(intent.parent, candidate).ok().flatten().is_some()
        })
    }

    fn keep_both(&self, intent: &Intent, theirs: Option<&Item>) -> Result<(), Setback> {
        let wanted = |now: Intent| now.parent == intent.parent && now.name == intent.name;
        if !self.journal.get(intent.ino).is_some_and(wanted) {
            let context = "it was moved here while somebody else's stood where it was to go";
            return Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context).into());
        }
        // Nobody else's: one of our own that is on its way, perhaps between the two steps of a move with a new name, or that
        // has arrived since this was looked for.
        let leaves =
            |by: &Intent| by.ino != intent.ino && (by.deleted || by.parent != intent.parent || by.name != intent.name);
        let is_ours = |theirs: &Item| {
            self.journal.view(|all| all.by_item(&theirs.id).is_some_and(leaves))
                || self.journal.has_left(theirs, intent.ino, self.clock.now())
        };
        if let Some(passing) = theirs.filter(|theirs| is_ours(theirs)) {
            self.journal.note_passing(passing)?;
            let context = "the name is held by something that is on its way to another place";
            return Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context).into());
        }
        let name = self.conflict_name(intent);
        tracing::warn!(ino = %intent.ino, name = intent.name, ours = name, "changed on both sides; both versions are kept");
        tracing::debug!(base = ?intent.base, sent = ?intent.sent, ?theirs, "what was known");
        let landed = self.journal.keep_both(intent, &name, theirs)?;
        self.publish(landed);
        Err(Setback::Again)
    }

    async fn change(&self, intent: &Intent, patch: &Patch) -> Result<(), Setback> {
        let (Some(item), Some(base)) = (&intent.item, &intent.base) else { return Err(Setback::Overtaken) };
        if !self.remote.caps().set_times && patch.name.is_none() && patch.parent.is_none() {
            // The time is remembered here only; nothing has to be asked for that.
            let item = self.with_our_time(&base.to_item(item, intent.kind), intent);
            let landed = self.journal.acknowledge(intent.ino, &item, None, false)?;
            self.arrive(landed).await;
            return Ok(());
        }
        let pre = Precondition::Unchanged(base.meta_tag.clone());
        // Should the answer be lost and the wish be taken back, the item is not as it was for all that; and until that is
        // known, nothing else can be put where it may be.
        let moves = patch.name.is_some() || patch.parent.is_some();
        let to = || {
            let (parent, name) = (patch.parent.as_ref(), patch.name.as_ref());
            (parent.unwrap_or(&base.parent).clone(), name.unwrap_or(&base.name).clone())
        };
        if !self.journal.note_sending(intent.ino, Some(item), moves.then(to), None)? {
            return Err(Setback::Overtaken);
        }
        if moves {
            // Who has forgotten that the item was made, or that it was to go, makes it once more where it stood.
            self.journal.sync().await?;
        }
        let error = match self.remote.change(item, patch, &pre).await {
            Ok(now) => return self.changed(intent, base, &now).await,
            Err(error) => error,
        };
        match error.kind {
            RemoteErrorKind::Exists => {
                // Perhaps it was ourselves, with the answer lost.
                let parent = patch.parent.as_ref().unwrap_or(&base.parent);
                let name = patch.name.as_deref().unwrap_or(&base.name);
                match self.look(At::Child(parent, name)).await? {
                    Some(found) if found.id == *item => {
                        self.keep_renamed(base, &found).await;
                        self.rebase(intent, &found).await
                    }
                    _ if patch.modified.is_some() && patch.name.is_none() && patch.parent.is_none() => {
                        Err(error.into())
                    }
                    // Nothing is there: a passing fault, unless it stays and the service means a name that only it
                    // takes for the same.
                    None if intent.attempts < 4 => Err(error.into()),
                    None => match self.remote.change(item, patch, &pre).await {
                        Err(again) if again.kind == RemoteErrorKind::Exists => self.keep_both(intent, None),
                        Err(again) => Err(again.into()),
                        Ok(now) => self.changed(intent, base, &now).await,
                    },
                    Some(found) => self.keep_both(intent, Some(&found)),
                }
            }
            RemoteErrorKind::Changed | RemoteErrorKind::NotFound => match self.look_own(intent, item).await? {
                Some(now) if now.meta_tag != base.meta_tag => {
                    // Renaming or touching what somebody else has edited harms nobody's work: ours is said of
                    // the item, not of its bytes.
                    self.rebase(intent, &now).await
                }
                Some(_) if error.kind == RemoteErrorKind::NotFound => {
                    let parent = patch.parent.clone().unwrap_or_else(|| base.parent.clone());
                    Err(self.parent_gone(&parent, error).await)
                }
                Some(_) => Err(error.into()),
                None if intent.sealed.is_some() || intent.drafting.is_some() || self.journal.holds_work(intent.ino) => {
                    self.journal.send_as_new(intent)?;
                    Err(Setback::Again)
                }
                None => {
                    let landed = self.journal.give_way(intent)?;
                    self.publish(landed);
                    Ok(())
                }
            },
            _ => {
                // Said no before it did anything.
                let certain = !error.is_transient() || error.kind == RemoteErrorKind::Throttled;
                if certain && error.advice != Advice::VerifyThenRetry && intent.sent.is_none() {
                    self.journal.not_taken(intent.ino)?;
                }
                Err(error.into())
            }
        }
    }

    /// The item has the name, place or time that was asked for. It may have somebody else's content as well: an answer
    /// without a body is followed by a look, and what is compared before a step is not compared in it everywhere.
    async fn changed(&self, intent: &Intent, base: &Base, now: &Item) -> Result<(), Setback> {
        self.keep_renamed(base, now).await;
        // An answer that leaves out the hash says as much as the size does.
        let by_us = |from: &ContentTag, to: &ContentTag| {
            let is_vague = !from.is_of_the_form_of(to) && from.size() == to.size();
            from == to || from.differs_by_rename_only(to) || is_vague
        };
        let versions = base.content_tag.as_ref().zip(now.content_tag.as_ref());
        if versions.is_some_and(|(from, to)| !by_us(from, to))
            && let Some(intent) = self.journal.get(intent.ino)
            && (intent.sealed.is_some() || intent.drafting.is_some())
        {
            return self.rebase(&intent, now).await;
        }
        let landed = self.journal.acknowledge(intent.ino, &self.with_our_time(now, intent), None, false)?;
        self.arrive(landed).await;
        Ok(())
    }

    /// Where a version is known by times, our own rename moves it: what is here of it stays usable.
    async fn keep_renamed(&self, base: &Base, now: &Item) {
        let (Some(from), Some(to)) = (&base.content_tag, &now.content_tag) else { return };
        if !from.differs_by_rename_only(to) {
            return;
        }
        let (versions, item, size) = (self.versions.clone(), now.id.clone(), now.size);
        let (from, to) = (from.clone(), to.clone());
        // Whatever goes wrong, the bytes are in the cloud.
        let _ = tokio::task::spawn_blocking(move || versions.renamed(&item, &from, &to, size)).await;
    }

    async fn delete(&self, intent: &Intent) -> Result<(), Setback> {
        let (Some(item), Some(base)) = (&intent.item, &intent.base) else { return Err(Setback::Overtaken) };
        if self.journal.hand_on(intent.ino)? {
            return Ok(());
        }
        if intent.kind == Kind::Folder {
            // Deleting a folder deletes all that is in it. We deleted what we knew; is there more?
            let inside = match self.put_by_others_into(item).await {
                Ok(inside) => inside,
                Err(Setback::Remote(error)) if error.kind == RemoteErrorKind::NotFound => {
                    match self.look_own(intent, item).await? {
                        None => Vec::new(),
                        // It is there and was not found: what is in it is unknown, so it is not deleted.
                        Some(_) => return Err(error.into()),
                    }
                }
                Err(setback) => return Err(setback),
            };
            if self.journal.has_intents_in(item) {
                return Err(Setback::Overtaken);
            }
            let inside = if inside.is_empty() { self.heard_of_in(item).await? } else { inside };
            if !inside.is_empty() {
                tracing::warn!(name = intent.name, "not deleted: somebody put something into the folder");
                let now = self.look_own(intent, item).await?.unwrap_or_else(|| base.to_item(item, intent.kind));
                let landed = self.journal.undelete(intent.ino, &now)?;
                self.publish(landed);
                let refilled = self.index.write(|txn| {
                    for child in &inside {
                        txn.upsert(child)?;
                    }
                    Ok(())
                });
                if let Ok(((), notices)) = refilled {
                    self.sink.absorb(notices);
                }
                return Ok(());
            }
        }
        // A folder's tag moves with its children; what counts was looked at just now.
        let pre = match intent.kind {
            Kind::File => Precondition::Unchanged(base.meta_tag.clone()),
            Kind::Folder => Precondition::None,
        };
        // A service that does not show it yet would call it gone, and show it later.
        if self.index.is_newborn(item, self.clock.now()).unwrap_or(false) {
            self.look_own(intent, item).await?;
        }
        self.journal.note_deleting(intent.ino)?;
        // What stands behind the wish survives a loss of power from now on: nothing is deleted there for a reason that
        // is forgotten here.
        self.journal.sync().await?;
        match self.remote.delete(item, &pre).await {
            Ok(()) => {}
            Err(error) if error.kind == RemoteErrorKind::Changed => match self.look_own(intent, item).await? {
                None => {}
                // Only its metadata moved, or it is what we sent ourselves before we wanted it gone.
                Some(now)
                    if now.meta_tag != base.meta_tag
                        && (now.content_tag == base.content_tag
                            || moved_by_us(intent, &now).is_some()
                            || self.was_sent(intent, &now).await?) =>
                {
                    return self.rebase(intent, &now).await;
                }
                Some(now) if now.content_tag != base.content_tag => {
                    tracing::warn!(name = intent.name, "not deleted: somebody changed the file; it is back");
                    let landed = self.journal.undelete(intent.ino, &now)?;
                    self.publish(landed);
                    return Ok(());
                }
                Some(_) => return Err(error.into()),
            },
            Err(error) => return Err(error.into()),
        }
        let landed = self.journal.acknowledge_deletion(intent.ino)?;
        self.publish(landed);
        Ok(())
    }
}

/// What an item was, if it differs from that as it does after a move of ours whose answer was lost: where a time stands for
/// the version, a move makes another one of it.
fn moved_by_us<'a>(intent: &'a Intent, now: &Item) -> Option<&'a Base> {
    let (base, (parent, name)) = (intent.base.as_ref()?, intent.sent.as_ref()?.place.as_ref()?);
    let moved = now.name != base.name || now.parent.as_ref() != Some(&base.parent);
    // There, or half-way.
    let named = now.name == base.name || now.name == *name || name::is_passing(&now.name);
    let placed = now.parent.as_ref().is_some_and(|now| *now == base.parent || now == parent);
    let versions = base.content_tag.as_ref().zip(now.content_tag.as_ref());
    let by_us = moved && named && placed && versions.is_some_and(|(was, is)| was.differs_by_rename_only(is));
    by_us.then_some(base)
}

/// Frees an inode even if its worker is dropped in the middle.
struct Busy<'a> {
    journal: &'a Journal,
    ino: Ino,
    armed: bool,
}

impl Busy<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.journal.let_go(self.ino);
        }
    }
}
