//! What the cloud tells us: the feed of changes, followed to its end and put into the index.
//!
//! The mount answers from the index, so the index has to be told what happens elsewhere, soon and without
//! gaps. Always true here:
//!
//! - a cursor is taken before the first listing, and stored only together with everything it speaks for
//!   (see `apply`): a change can come twice, never not at all;
//! - only a chain that was read to its end is applied as one; a link that comes twice ends it as an error;
//! - every error leaves the cursor where it was, and shows in [`Poller::health`];
//! - a wake-up is a hint to ask now. It never carries content, and missing ones only cost time.
//!
//! The work is done in turns under one async lock: either a poll or a page of an enumeration (see
//! `resync`). Rows are written on a thread for blocking work; notices are handed on with no other lock held.
//!
//! Not here: what happens to local work when its base has moved. The journal decides that when it sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::base::clock::{Clock, Timestamp};
use crate::base::ids::ItemId;
use crate::base::tasks::Stop;
use crate::index::{Index, IndexError, Notice, NoticeSink, meta};
use crate::remote::{
    Advice, Change, ChangeSource, Next, Remote, RemoteError, RemoteErrorKind, Start, URGENCY, Urgency,
};

mod apply;
mod believed;
mod chain;
mod contradicted;
mod inquiry;
pub mod plan;
mod resync;
mod rhythm;
#[cfg(test)]
mod tests;
mod unfound;

use chain::{Cleared, read_chain};
use contradicted::Doubts;
use resync::{Enumeration, LatelyGone, Left, Step, Why};
use rhythm::{Failure, Outcome, Rhythm};
use unfound::Unfound;

/// The most pages a chain may have. A page holds a thousand items or so.
const MAX_PAGES: usize = 20_000;

/// Wake-ups come in bursts; this long after the first one the feed is asked.
const DEBOUNCE: Duration = Duration::from_secs(1);

/// The shortest pause that a hint of this machine's own leads to, unless the interval is shorter.
const HINTED: Duration = Duration::from_secs(15);

/// How the cloud is followed.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How often to ask while things change or the mount is in use.
    pub interval: Duration,
    /// How often to compare the whole drive with the index.
    pub reconcile: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(60), reconcile: Duration::from_secs(24 * 3600) }
    }
}

/// Why the feed could not be followed for the moment.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The cloud said so, or could not be reached.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The index did.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// How well the index follows the cloud.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// When the feed was last read to its end.
    pub current_at: Option<Timestamp>,
    /// What is wrong, if something is.
    pub trouble: Option<Ailment>,
    /// Items listed so far by an enumeration under way.
    pub enumerating: Option<u64>,
}

impl Health {
    /// Whether changes elsewhere reach the index soon: the feed was read to its end, and the last attempt
    /// succeeded.
    pub fn is_well(&self) -> bool {
        self.current_at.is_some() && self.trouble.is_none()
    }
}

/// What is wrong and since when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ailment {
    /// What the cloud said; `None` if the local index failed.
    pub kind: Option<RemoteErrorKind>,
    /// For people.
    pub text: String,
    /// When it began.
    pub since: Timestamp,
}

/// Follows the cloud's changes. Shared; [`Poller::run`] is its one task.
pub struct Poller {
    remote: Arc<dyn Remote>,
    index: Arc<Index>,
    sink: Arc<dyn NoticeSink>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    turn: tokio::sync::Mutex<Turn>,
    wake: Notify,
    /// Somebody uses the mount while it is polled less often.
    used: Notify,
    stretched: AtomicBool,
    /// There is reason to ask sooner than the pause says.
    hint: Notify,
    /// The last attempt failed, and the service has not answered anybody else since.
    failing: AtomicBool,
    doubts: Doubts,
    health: watch::Sender<Health>,
}

/// What is carried from turn to turn.
#[derive(Default)]
struct Turn {
    enumeration: Option<Enumeration>,
    /// The stored cursor is of no use any more.
    expired: bool,
    /// What is asked for again beside the feed.
    left: Left,
    /// What the feed has said is gone a moment ago: an enumeration that begins now may still list it.
    lately_gone: LatelyGone,
}

impl Poller {
    /// A poller that has not asked yet.
    pub fn new(
        remote: Arc<dyn Remote>,
        index: Arc<Index>,
        sink: Arc<dyn NoticeSink>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Self {
        Self {
            remote,
            index,
            sink,
            clock,
            settings,
            turn: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            used: Notify::new(),
            stretched: AtomicBool::new(false),
            hint: Notify::new(),
            failing: AtomicBool::new(false),
            doubts: Doubts::default(),
            health: watch::channel(Health::default()).0,
        }
    }

    /// How well the index follows the cloud. Changes when its state does; the times and numbers in it are
    /// always the latest.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Hints that something has changed in the cloud: the feed is asked about a second later, and some more
    /// times in the minute after that. Never blocks.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Says that somebody uses the mount, so that a quiet drive is asked at the configured interval again.
    /// Never blocks; cheap enough for every lookup.
    pub fn touch(&self) {
        if self.stretched.load(Ordering::Relaxed) && self.stretched.swap(false, Ordering::Relaxed) {
            self.used.notify_one();
        }
    }

    /// Says that the service has answered somebody. After failures the feed is not asked for minutes; with this it is as
    /// soon as the network is back. Never blocks; cheap enough for every answer.
    pub fn reached(&self) {
        // During a turn what is answered is its own, and says nothing new.
        let is_called_for = self.failing.load(Ordering::Relaxed) && self.turn.try_lock().is_ok();
        if is_called_for && self.failing.swap(false, Ordering::Relaxed) {
            self.hint.notify_one();
        }
    }

    /// Says that the service does not have what the index shows of an item. Never blocks; however often it is said, the
    /// feed is asked four times a minute, and the item if the feed says nothing of it.
    pub fn doubt(&self, item: &ItemId) {
        self.doubts.note(item);
        self.hint.notify_one();
    }

    /// Takes the cursor for "now" if there is none yet. To be called before the first listing, so that no
    /// change falls between the two; if it fails, the enumeration that follows makes up for it.
    pub async fn prepare(&self) -> Result<(), Trouble> {
        let _turn = self.turn.lock().await;
        URGENCY.scope(Urgency::Interactive, self.take_first_cursor()).await
    }

    /// Reads the feed to its end now. Returns how many notices that made. Everything that the service had
    /// in its feed at the time of the call is in the index afterwards; unless the position in
    /// the feed has expired, in which case the enumeration that follows brings it. Where there is no feed and changes
    /// come from listings anyway, that is not waited for: the whole drive is listed now.
    pub async fn poll_now(&self) -> Result<usize, Trouble> {
        let mut turn = self.turn.lock().await;
        let outcome = URGENCY.scope(Urgency::Interactive, self.catch_up(&mut turn)).await;
        self.note(&outcome);
        let mut count = outcome?.unwrap_or(0);
        while turn.expired && self.remote.caps().changes == ChangeSource::Listed {
            let (step, notices) = URGENCY.scope(Urgency::Interactive, self.page(&mut turn)).await;
            count += notices;
            step?;
        }
        Ok(count)
    }

    /// Follows the feed until asked to stop.
    pub async fn run(self: Arc<Self>, mut stop: Stop) {
        let mut rhythm = Rhythm::default();
        let mut poll_at = self.clock.monotonic();
        let mut page_at = self.clock.monotonic();
        let mut page_rhythm = Rhythm::default();
        // No hint leads to an attempt before these.
        let (mut poll_earliest, mut page_earliest) = (poll_at, page_at);
        loop {
            let now = self.clock.monotonic();
            if now >= poll_at {
                let outcome = tokio::select! {
                    biased;
                    () = stop.requested() => return,
                    outcome = self.poll_in_turn() => outcome,
                };
                self.failing.store(false, Ordering::Relaxed);
                let pause = rhythm.next(outcome, self.settings.interval);
                self.stretched.store(rhythm.is_stretched(), Ordering::Relaxed);
                let now = self.clock.monotonic();
                (poll_at, poll_earliest) = (now.plus(pause), now.plus(self.shortest_after(outcome)));
                continue;
            }
            let enumerating = self.has_pages_to_fetch().await;
            if enumerating && now >= page_at {
                let outcome = tokio::select! {
                    biased;
                    () = stop.requested() => return,
                    outcome = self.page_in_turn() => outcome,
                };
                let pause = match outcome {
                    Outcome::Failed(_) => page_rhythm.next(outcome, Duration::ZERO),
                    Outcome::News | Outcome::Quiet => page_rhythm.next(Outcome::News, Duration::ZERO),
                };
                let now = self.clock.monotonic();
                (page_at, page_earliest) = (now.plus(pause), now.plus(self.shortest_after(outcome)));
                continue;
            }
            let until = if enumerating { poll_at.min(page_at) } else { poll_at };
            tokio::select! {
                biased;
                () = stop.requested() => return,
                () = self.wake.notified() => {
                    rhythm.woken();
                    poll_at = poll_at.min(now.plus(DEBOUNCE));
                }
                () = self.used.notified() => {
                    rhythm.used();
                    poll_at = poll_at.min(now.plus(self.settings.interval));
                }
                () = self.hint.notified() => {
                    let soon = self.clock.monotonic().plus(DEBOUNCE);
                    poll_at = poll_at.min(poll_earliest.max(soon));
                    page_at = page_at.min(page_earliest.max(soon));
                }
                () = self.clock.sleep(until.since(now)) => {}
            }
        }
    }

    /// How long after an attempt nothing but a wake-up or the plain pause leads to the next one.
    fn shortest_after(&self, outcome: Outcome) -> Duration {
        let asked = match outcome {
            Outcome::Failed(failure) => {
                self.failing.store(true, Ordering::Relaxed);
                failure.asked
            }
            Outcome::News | Outcome::Quiet => None,
        };
        HINTED.min(self.settings.interval).max(asked.unwrap_or_default())
    }

    async fn poll_in_turn(&self) -> Outcome {
        let mut turn = self.turn.lock().await;
        let outcome = URGENCY.scope(Urgency::Background, self.catch_up(&mut turn)).await;
        self.note(&outcome);
        match outcome {
            Ok(None | Some(0)) => Outcome::Quiet,
            Ok(Some(_)) => Outcome::News,
            Err(trouble) => Outcome::Failed(trouble.as_failure()),
        }
    }

    /// Whether an enumeration is under way or due. Looks at the clock and the index only.
    async fn has_pages_to_fetch(&self) -> bool {
        let mut turn = self.turn.lock().await;
        if turn.enumeration.is_none() {
            let begun = if turn.expired {
                Ok(Some(Enumeration::begin(Why::Expired)))
            } else if turn.left.unfound.as_ref().is_some_and(Unfound::holds_up) {
                // The last comparison is not over.
                Ok(None)
            } else {
                self.enumeration_due()
            };
            match begun {
                Ok(enumeration) => {
                    let now = self.clock.monotonic();
                    turn.enumeration = enumeration.map(|begun| begun.heard_before(&turn.lately_gone, now));
                }
                Err(error) => tracing::warn!(%error, "the index does not say whether the drive is known completely"),
            }
        }
        turn.enumeration.is_some()
    }

    fn enumeration_due(&self) -> Result<Option<Enumeration>, IndexError> {
        if !self.index.is_enumerated()? {
            return Enumeration::first(&self.index).map(Some);
        }
        let due = resync::is_due(&self.index, self.clock.now(), self.settings.reconcile)?;
        Ok(due.then(|| Enumeration::begin(Why::Routine)))
    }

    async fn page_in_turn(&self) -> Outcome {
        let mut turn = self.turn.lock().await;
        match URGENCY.scope(Urgency::Background, self.page(&mut turn)).await.0 {
            Ok(true) => Outcome::News,
            Ok(false) => Outcome::Quiet,
            Err(trouble) => Outcome::Failed(trouble.as_failure()),
        }
    }

    /// Takes the next page of an enumeration under way, if there is one, and says how many notices that made.
    async fn page(&self, turn: &mut Turn) -> (Result<bool, Trouble>, usize) {
        let Some(enumeration) = &mut turn.enumeration else {
            turn.expired = false;
            return (Ok(false), 0);
        };
        let step = match enumeration.step(&self.remote, &self.index, &*self.clock, &mut turn.left).await {
            Ok(step) => step,
            Err(trouble) => Step { notices: Vec::new(), finished: false, trouble: Some(trouble) },
        };
        let (listed, why, now, count) = (enumeration.listed, enumeration.why, self.clock.now(), step.notices.len());
        self.hand_on(step.notices);
        if let Some(trouble) = step.trouble {
            tracing::info!(%trouble, "the drive cannot be listed further for now");
            if trouble.wants_a_new_beginning() {
                let now = self.clock.monotonic();
                turn.enumeration = Some(Enumeration::begin(why).heard_before(&turn.lately_gone, now));
            }
            let failed = Err(trouble);
            self.note(&failed);
            return (failed.map(|_: Option<usize>| false), count);
        }
        if step.finished {
            tracing::info!(items = listed, ?why, "the whole drive was listed");
            let index = self.index.clone();
            // Only tidying: nobody waits for it, and nothing depends on it.
            let _ = on_disk(move || {
                index.rest();
                Ok(())
            })
            .await;
            turn.enumeration = None;
            turn.expired = false;
        }
        self.tell(|health| {
            health.enumerating = (!step.finished).then_some(listed);
            if step.finished {
                health.current_at = Some(now);
                health.trouble = None;
            }
        });
        (Ok(true), count)
    }

    /// Reads the feed from the stored cursor to its end and applies it.
    /// `None` if it has no position to be read from, until an enumeration ends.
    async fn catch_up(&self, turn: &mut Turn) -> Result<Option<usize>, Trouble> {
        if turn.expired {
            return Ok(None);
        }
        let Some(news) = self.follow(turn).await? else { return Ok(None) };
        // After the news: what moved out of something that is gone has moved by then.
        for settled in turn.left.settle(&*self.remote, &self.index, &*self.clock).await {
            match settled {
                Ok(notices) => self.hand_on(notices),
                // It is asked again, and nothing else waits for it.
                Err(trouble) => tracing::debug!(%trouble, "what was not found stays open"),
            }
        }
        let found = self.doubts.settle(&*self.remote, &self.index, &*self.clock).await?;
        let count = news + found.len();
        self.hand_on(found);
        Ok(Some(count))
    }

    /// The same, without what was left open before.
    async fn follow(&self, turn: &mut Turn) -> Result<Option<usize>, Trouble> {
        let Some(cursor) = self.index.cursor()? else {
            self.take_first_cursor().await?;
            return Ok(Some(0));
        };
        let mut chain = match read_chain(&*self.remote, &cursor).await {
            Err(error) if error.advice == Advice::Resync => {
                tracing::info!(%error, "the position in the feed of changes has expired; listing the whole drive again");
                turn.expired = true;
                // Until the end of the enumeration nothing that changes elsewhere reaches us.
                self.note(&Err(error.into()));
                // One that is under way would end with the same knowledge, but it lacks what came before.
                let now = self.clock.monotonic();
                turn.enumeration = Some(Enumeration::begin(Why::Expired).heard_before(&turn.lately_gone, now));
                return Ok(None);
            }
            other => other?,
        };
        if self.remote.caps().changes == ChangeSource::Listed {
            Unfound::take_from(&mut turn.left.unfound, &mut chain.changes, &self.index, &*self.clock).await?;
        }
        if chain.changes.is_empty() && chain.cursor == cursor {
            return Ok(Some(0));
        }
        turn.left.believed.heard(&chain.changes);
        let Cleared { chain, doubted, believed } = self.without_ghosts(chain, &cursor).await?;
        for change in &chain.changes {
            if let Change::Gone(id) = change {
                turn.lately_gone.heard(id, self.clock.monotonic());
                if let Some(enumeration) = &mut turn.enumeration {
                    enumeration.heard_gone(id);
                }
            }
        }
        let (index, now) = (self.index.clone(), self.clock.now());
        let notices =
            on_disk(move || apply::apply_chain(&index, chain.changes, &doubted, [&cursor, &chain.cursor], now)).await?;
        let count = notices.len();
        self.hand_on(notices);
        turn.left.believed.add(believed, &self.index, &*self.clock).await?;
        Ok(Some(count))
    }

    async fn take_first_cursor(&self) -> Result<(), Trouble> {
        if self.index.cursor()?.is_some() {
            return Ok(());
        }
        let mut link = None;
        for _ in 0..MAX_PAGES {
            let start = link.as_ref().map_or(Start::Now, Start::Link);
            match self.remote.changes(start).await?.next {
                Next::More(next) => link = Some(next),
                Next::Done(cursor) => {
                    self.index.write(|txn| txn.set_meta(meta::CURSOR, Some(&cursor.0)))?;
                    return Ok(());
                }
            }
        }
        Err(RemoteError::protocol("the way to the present has no end").into())
    }

    fn hand_on(&self, notices: Vec<Notice>) {
        if !notices.is_empty() {
            self.sink.absorb(notices);
        }
    }

    fn note(&self, outcome: &Result<Option<usize>, Trouble>) {
        let now = self.clock.now();
        self.tell(|health| match outcome {
            Ok(None) => {}
            Ok(Some(_)) => {
                health.current_at = Some(now);
                health.trouble = None;
            }
            Err(trouble) => {
                let since = health.trouble.as_ref().map_or(now, |ailment| ailment.since);
                health.trouble = Some(Ailment { kind: trouble.kind(), text: trouble.to_string(), since });
            }
        });
    }

    /// Changes the health. Those who watch it are woken when its state changes, not for every success.
    fn tell(&self, change: impl FnOnce(&mut Health)) {
        self.health.send_if_modified(|health| {
            let state = |health: &Health| {
                let kind = health.trouble.as_ref().map(|ailment| ailment.kind);
                (health.is_well(), kind, health.enumerating.is_some())
            };
            let before = state(health);
            change(health);
            state(health) != before
        });
    }
}

impl Trouble {
    fn kind(&self) -> Option<RemoteErrorKind> {
        match self {
            Self::Remote(error) => Some(error.kind),
            Self::Index(_) => None,
        }
    }

    fn as_failure(&self) -> Failure {
        let asked = match self {
            Self::Remote(RemoteError { advice: Advice::RetryAfter(pause), .. }) => Some(*pause),
            Self::Remote(_) | Self::Index(_) => None,
        };
        Failure { asked, unreached: self.kind() == Some(RemoteErrorKind::Offline) }
    }

    /// Whether the links of a chain under way are of no use any more.
    fn wants_a_new_beginning(&self) -> bool {
        match self {
            Self::Remote(error) => error.advice == Advice::Resync || error.kind == RemoteErrorKind::Protocol,
            Self::Index(_) => false,
        }
    }
}

/// Runs a piece of work that blocks on the index.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, IndexError> + Send + 'static,
) -> Result<T, Trouble> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(lost) => match lost.try_into_panic() {
            // The transaction was rolled back; the panic goes on to where tasks are watched.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(RemoteError::new(RemoteErrorKind::Local, Advice::GiveUp, "the program is ending").into()),
        },
    }
}
