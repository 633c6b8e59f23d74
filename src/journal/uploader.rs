//! The workers that bring intents to the cloud: pick, send, acknowledge, land.
//!
//! Each takes the most urgent intent that nothing stands in the way of, carries out its next step, and lets
//! the answer decide. A worker never decides what is wanted, only how to get there; when the cloud is not as
//! expected it asks the pure functions of `conflict` and looks before it repeats anything.
//!
//! Always true: every replace, move and delete names the version it expects; a session's ticket is stored
//! before its first fragment; nothing of the cloud is deleted that a user did not delete here.

mod content;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;

use super::conflict::{self, Verdict};
use super::intent::{Intent, Kind, Step};
use super::landing::Landed;
use super::queue::{Pick, backoff};
use super::store::SpoolBase;
use super::{DamagedDraft, Draft, Journal, ParkReason, SpoolId, StoreError};
use crate::base::clock::Clock;
use crate::base::ids::{ContentTag, Ino, ItemId};
use crate::base::name;
use crate::index::{Index, NoticeSink};
use crate::remote::{
    Advice, At, Item, Patch, Precondition, Remote, RemoteError, RemoteErrorKind, URGENCY, Urgency, list_all,
};

/// The bytes of versions that are in the cloud, from wherever they are nearest.
#[async_trait]
pub trait Versions: Send + Sync + 'static {
    /// A range of a version; it must lie within the version's size. [`RemoteErrorKind::Changed`] if the cloud
    /// has another version now and the bytes are not on this machine.
    async fn read(&self, version: &SpoolBase, range: Range<u64>) -> Result<Bytes, RemoteError>;

    /// A draft has exactly the bytes of this version: keep them as clean bytes. Its file stays.
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
        let (stopping, damaged) = (AtomicBool::new(false), std::sync::Mutex::default());
        Arc::new(Self { journal, index, remote, versions, clock, settings, sink, stopping, damaged })
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
            let woken = self.journal.wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            match self.journal.pick() {
                Pick::Work(intent, step) => {
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
            Step::Settled => self.journal.settle(ino).map_err(Setback::from),
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
                self.journal.park(ino, reason, &why)
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
            RemoteErrorKind::Denied | RemoteErrorKind::ReadOnly | RemoteErrorKind::Malware => Some(ParkReason::Denied),
            RemoteErrorKind::TooLarge => Some(ParkReason::TooLarge),
            RemoteErrorKind::Unsupported => Some(ParkReason::Refused),
            // Nonsense may be a passing fault of a gateway; nonsense that lasts is for the user to see.
            RemoteErrorKind::Protocol if intent.attempts >= 8 => Some(ParkReason::Refused),
            _ => None,
        };
        match reason {
            Some(reason) => {
                tracing::warn!(ino = %intent.ino, name = intent.name, why, "parked; it stays on this machine until you decide");
                self.journal.park(intent.ino, reason, &why)
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

    fn publish(&self, landed: Landed) {
        if !landed.notices.is_empty() {
            self.sink.absorb(landed.notices);
        }
    }

    /// What is in the cloud at this place or under this identity; `None` if nothing is.
    async fn look(&self, at: At<'_>) -> Result<Option<Item>, Setback> {
        match self.remote.stat(at).await {
            Ok(item) => Ok(Some(item)),
            Err(error) if error.kind == RemoteErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
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
        let name = self.conflict_name(intent);
        tracing::warn!(ino = %intent.ino, name = intent.name, ours = name, "changed on both sides; both versions are kept");
        let landed = self.journal.keep_both(intent, &name, theirs)?;
        self.publish(landed);
        Err(Setback::Again)
    }

    /// Something new was sent, and then the answer was lost or this program died. If it is there it is ours, under
    /// whatever name it is wanted by now.
    async fn find_sent(&self, intent: &Intent) -> Result<(), Setback> {
        let Some(sent) = &intent.sent else { return Err(Setback::Overtaken) };
        let Some((parent, name)) = &sent.place else { return Err(Setback::Overtaken) };
        let found = self.look(At::Child(parent, name)).await?;
        let ours = match &found {
            None => false,
            Some(item) => match intent.kind {
                Kind::File => item.content_tag.as_ref().is_some_and(|tag| sent.versions.contains(tag)),
                // A folder carries no mark of its maker. One that is empty and stands where we sent ours is ours, or
                // does no harm if it is taken for it.
                Kind::Folder => {
                    item.kind == crate::remote::ItemKind::Folder && list_all(&*self.remote, &item.id).await?.is_empty()
                }
            },
        };
        match found.filter(|_| ours) {
            Some(item) => {
                let landed = self.journal.acknowledge(intent.ino, &item, None, false)?;
                self.publish(landed);
                Ok(())
            }
            None => {
                self.journal.never_arrived(intent.ino)?;
                Ok(())
            }
        }
    }

    async fn make_folder(&self, intent: &Intent, parent: &ItemId) -> Result<(), Setback> {
        self.journal.note_sending(intent.ino, Some((parent.clone(), intent.name.clone())), None)?;
        let item = match self.remote.make_folder(parent, &intent.name).await {
            Ok(item) => item,
            Err(error) if error.kind == RemoteErrorKind::Exists || error.advice == Advice::VerifyThenRetry => {
                let Some(found) = self.look(At::Child(parent, &intent.name)).await? else { return Err(error.into()) };
                match conflict::decide_folder(&found) {
                    Verdict::Adopt(item) => {
                        // Somebody else's folder may hold what we have not heard of.
                        let landed = self.journal.acknowledge(intent.ino, &item, None, false)?;
                        self.publish(landed);
                        let marked = self.index.write(|txn| txn.set_complete(intent.ino, false));
                        if let Err(error) = marked {
                            tracing::warn!(%error, "the index did not take a joined folder");
                        }
                        return Ok(());
                    }
                    _ => return self.keep_both(intent, Some(&found)),
                }
            }
            Err(error) if error.kind == RemoteErrorKind::NotFound => return Err(self.parent_gone(parent, error).await),
            Err(error) => return Err(error.into()),
        };
        let landed = self.journal.acknowledge(intent.ino, &item, None, false)?;
        self.publish(landed);
        Ok(())
    }

    /// A place was not found: is its folder gone, or was it a passing fault?
    async fn parent_gone(&self, parent: &ItemId, error: RemoteError) -> Setback {
        match self.look(At::Id(parent)).await {
            Ok(None) => {
                // The index hears of it before the next poll, and whoever shows the tree brings the folder back for
                // what is in it.
                match self.index.write(|txn| txn.remove(parent)) {
                    Ok(((), notices)) => self.sink.absorb(notices),
                    Err(error) => return Setback::Local(error.to_string()),
                }
                error.into()
            }
            Ok(Some(_)) => error.into(),
            Err(setback) => setback,
        }
    }

    async fn change(&self, intent: &Intent, patch: &Patch) -> Result<(), Setback> {
        let (Some(item), Some(base)) = (&intent.item, &intent.base) else { return Err(Setback::Overtaken) };
        let pre = Precondition::Unchanged(base.meta_tag.clone());
        let error = match self.remote.change(item, patch, &pre).await {
            Ok(now) => {
                let landed = self.journal.acknowledge(intent.ino, &now, None, false)?;
                self.publish(landed);
                return Ok(());
            }
            Err(error) => error,
        };
        match error.kind {
            RemoteErrorKind::Exists => {
                // Perhaps it was ourselves, with the answer lost.
                let parent = patch.parent.as_ref().unwrap_or(&base.parent);
                let name = patch.name.as_deref().unwrap_or(&base.name);
                match self.look(At::Child(parent, name)).await? {
                    Some(found) if found.id == *item => {
                        let landed = self.journal.acknowledge(intent.ino, &found, None, false)?;
                        self.publish(landed);
                        Ok(())
                    }
                    _ if patch.modified.is_some() && patch.name.is_none() && patch.parent.is_none() => {
                        Err(error.into())
                    }
                    // Nothing is there: a passing fault, unless it stays and the service means a name that only it
                    // takes for the same.
                    None if intent.attempts < 4 => Err(error.into()),
                    found => self.keep_both(intent, found.as_ref()),
                }
            }
            RemoteErrorKind::Changed | RemoteErrorKind::NotFound => match self.look(At::Id(item)).await? {
                Some(now) if now.meta_tag != base.meta_tag => {
                    // Renaming or touching what somebody else has edited harms nobody's work: ours is said of
                    // the item, not of its bytes.
                    self.journal.rebase(intent, &now)?;
                    Err(Setback::Again)
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
            _ => Err(error.into()),
        }
    }

    async fn delete(&self, intent: &Intent) -> Result<(), Setback> {
        let (Some(item), Some(base)) = (&intent.item, &intent.base) else { return Err(Setback::Overtaken) };
        if self.journal.hand_on(intent.ino)? {
            return Ok(());
        }
        if intent.kind == Kind::Folder {
            // Deleting a folder deletes all that is in it. We deleted what we knew; is there more?
            let inside = match list_all(&*self.remote, item).await {
                Ok(items) => items,
                Err(error) if error.kind == RemoteErrorKind::NotFound => match self.look(At::Id(item)).await? {
                    None => Vec::new(),
                    // It is there and was not found: what is in it is unknown, so it is not deleted.
                    Some(_) => return Err(error.into()),
                },
                Err(error) => return Err(error.into()),
            };
            if self.journal.has_intents_in(item) {
                return Err(Setback::Overtaken);
            }
            if !inside.is_empty() {
                tracing::warn!(name = intent.name, "not deleted: somebody put something into the folder");
                let now = self.look(At::Id(item)).await?.unwrap_or_else(|| base.to_item(item, intent.kind));
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
        // What stands behind the wish survives a loss of power from now on: nothing is deleted there for a reason that
        // is forgotten here.
        self.journal.sync().await?;
        match self.remote.delete(item, &pre).await {
            Ok(()) => {}
            Err(error) if error.kind == RemoteErrorKind::NotFound => {}
            Err(error) if error.kind == RemoteErrorKind::Changed => match self.look(At::Id(item)).await? {
                None => {}
                // Only its metadata moved, or it is what we sent ourselves before we wanted it gone.
                Some(now)
                    if now.meta_tag != base.meta_tag
                        && (now.content_tag == base.content_tag || was_sent(intent, now.content_tag.as_ref())) =>
                {
                    self.journal.rebase(intent, &now)?;
                    return Err(Setback::Again);
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

/// Whether a version is one that we have sent.
fn was_sent(intent: &Intent, version: Option<&ContentTag>) -> bool {
    intent.sent.as_ref().is_some_and(|sent| version.is_some_and(|version| sent.versions.contains(version)))
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
