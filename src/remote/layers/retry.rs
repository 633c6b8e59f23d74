//! Repeats what may be repeated.
//!
//! A protocol says what helps ([`Advice`]); this layer decides how often and how soon, by who is waiting.
//! Nobody above repeats a request to cure the network, so that the number of requests is decided once; the
//! callers that must succeed eventually (the uploader, the poller) come back on their own schedule.
//!
//! Always true here: a call whose effect is unknown ([`Advice::VerifyThenRetry`]) is never repeated unless
//! repeating it is harmless; an interactive call ends within seconds.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{Either, select};

use crate::base::clock::{Clock, Mono};
use crate::base::ids::{ContentTag, ItemId};
use crate::remote::http::Entropy;
use crate::remote::{
    Ack, Advice, At, Body, Caps, ChangePage, DriveIdentity, Finished, INTERACTIVE_DEADLINE, Item, ItemPage, Link,
    Offset, Outgoing, Patch, Place, Precondition, Quota, Remote, RemoteError, RemoteErrorKind, RemoteResult,
    SharedRemote, Source, Start, Target, Ticket, Urgency, current_urgency,
};

/// How long a call may be repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Budget {
    /// Attempts, the first one included.
    attempts: u32,
    /// Attempts while there is no connection.
    offline_attempts: u32,
    /// No repeat starts later than this while there is no connection.
    offline_window: Duration,
    /// No repeat starts later than this after the first attempt.
    window: Duration,
    /// The longest pause between two attempts.
    longest: Duration,
}

/// | urgency | attempts | without connection | within | longest pause |
/// | --- | --- | --- | --- | --- |
/// | interactive | 4 | 2 within 1 s | 10 s | 2 s |
/// | upload, background | 6 | 3 within 10 s | 5 min | 16 s, or what the service asks for |
fn budget(urgency: Urgency) -> Budget {
    let seconds = Duration::from_secs;
    match urgency {
        Urgency::Interactive => Budget {
            attempts: 4,
            offline_attempts: 2,
            offline_window: seconds(1),
            window: seconds(10),
            longest: seconds(2),
        },
        Urgency::Upload | Urgency::Background => Budget {
            attempts: 6,
            offline_attempts: 3,
            offline_window: seconds(10),
            window: seconds(300),
            longest: seconds(16),
        },
    }
}

/// How an operation may be repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    /// It only looks, or a second time changes nothing more.
    Harmless,
    /// It must not happen twice unseen.
    Once,
}

/// Whether an unknown item is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Missing {
    /// At once: nobody is surprised, or we have deleted it ourselves.
    Believe,
    /// After two more looks: about one in a hundred valid ids is unknown for a moment.
    Doubt,
    /// After five more: we made it (or its folder) ourselves a moment ago, and fresh items are unknown for
    /// seconds, sometimes minutes.
    Fresh,
}

impl Missing {
    /// How many times it has to be answered before it is believed. Other failures in between do not count: they end at
    /// some moment, and an answer from the midst of them is no look.
    fn looks(self) -> u32 {
        match self {
            Self::Believe => 1,
            Self::Doubt => 3,
            Self::Fresh => 6,
        }
    }
}

/// What was tried so far.
#[derive(Clone, Copy, Default, Debug)]
struct Tried {
    /// Attempts made.
    attempts: u32,
    /// How many of them found nothing.
    absences: u32,
    /// Since the first one began.
    elapsed: Duration,
}

/// What a failed attempt leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// Again after this pause.
    After(Duration),
    /// Not again.
    Stop,
}

/// Whether to repeat. `random` is evenly spread over 0 to 1.
///
/// | failure | repeat |
/// | --- | --- |
/// | not found, see [`Missing`] | after 0.25 s, doubling |
/// | no connection | soon, few times, and interactively not after the first second |
/// | locked | never: whoever has it open has it open for minutes |
/// | throttled, with a time named | after that time, if it fits the window |
/// | [`Advice::Retry`] | after a pause that doubles, by chance half of it |
/// | [`Advice::VerifyThenRetry`] | the same if the operation is harmless, else never |
/// | everything else | never |
fn verdict(error: &RemoteError, rule: Rule, missing: Missing, budget: Budget, tried: Tried, random: f64) -> Verdict {
    let Tried { attempts, absences, elapsed } = tried;
    let backoff = |first: Duration| {
        let full = first.saturating_mul(1 << (attempts - 1).min(16)).min(budget.longest);
        full.mul_f64(0.5 + 0.5 * random)
    };
    let pause = match (error.kind, &error.advice) {
        (RemoteErrorKind::NotFound, _) => {
            if absences >= missing.looks() {
                return Verdict::Stop;
            }
            backoff(Duration::from_millis(250))
        }
        (RemoteErrorKind::Locked, _) => return Verdict::Stop,
        (_, Advice::VerifyThenRetry) if rule == Rule::Once => return Verdict::Stop,
        (RemoteErrorKind::Range | RemoteErrorKind::UploadGone, _) => return Verdict::Stop,
        (RemoteErrorKind::Offline, Advice::Retry | Advice::VerifyThenRetry) => {
            if attempts >= budget.offline_attempts {
                return Verdict::Stop;
            }
            let pause = backoff(Duration::from_millis(400));
            if elapsed + pause > budget.offline_window {
                return Verdict::Stop;
            }
            pause
        }
        (_, Advice::RetryAfter(pause)) => *pause,
        (_, Advice::Retry | Advice::VerifyThenRetry) => backoff(Duration::from_millis(500)),
        (_, Advice::Refresh | Advice::Resync | Advice::GiveUp) => return Verdict::Stop,
    };
    if attempts >= budget.attempts.max(missing.looks()) || elapsed + pause > budget.window {
        return Verdict::Stop;
    }
    Verdict::After(pause)
}

/// How long an item counts as made a moment ago.
const FRESH: Duration = Duration::from_secs(120);

/// How many fresh items are remembered.
const MAX_FRESH: usize = 4096;

/// How long an interactive call may take while the last thing we know is that there is no connection. The door
/// itself notices a dead network within two seconds, unless a proxy stands between; a long way round the earth
/// needs nearly three for its first request.
const OFFLINE_DEADLINE: Duration = Duration::from_secs(5);

/// The layer.
pub struct Retrying {
    inner: SharedRemote,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
    fresh: Mutex<HashMap<ItemId, (Mono, Missing)>>,
    offline: AtomicBool,
}

impl Retrying {
    /// Repeats the calls of a remote.
    pub fn new(inner: SharedRemote, clock: Arc<dyn Clock>, entropy: Entropy) -> Self {
        Self { inner, clock, entropy, fresh: Mutex::default(), offline: AtomicBool::new(false) }
    }

    /// Runs a call until it succeeds or its budget is spent.
    async fn run<T, F>(&self, rule: Rule, missing: Missing, mut call: impl FnMut() -> F + Send) -> RemoteResult<T>
    where
        F: Future<Output = RemoteResult<T>> + Send,
        T: Send,
    {
        let urgency = current_urgency();
        let budget = budget(urgency);
        let start = self.clock.monotonic();
        let mut tried = Tried::default();
        loop {
            tried.attempts += 1;
            let result = match urgency {
                Urgency::Interactive => self.hurried(start, rule, call()).await,
                Urgency::Upload | Urgency::Background => call().await,
            };
            let mut error = match result {
                Ok(value) => {
                    self.offline.store(false, Ordering::Relaxed);
                    return Ok(value);
                }
                Err(error) => error,
            };
            self.offline.store(error.kind == RemoteErrorKind::Offline, Ordering::Relaxed);
            tried.absences += u32::from(error.kind == RemoteErrorKind::NotFound);
            tried.elapsed = self.clock.monotonic().since(start);
            let random = (self.entropy)() as f64 / u64::MAX as f64;
            match verdict(&error, rule, missing, budget, tried, random) {
                Verdict::Stop if error.kind == RemoteErrorKind::NotFound && tried.absences < missing.looks() => {
                    (error.kind, error.advice) = (RemoteErrorKind::Unavailable, Advice::Retry);
                    error.context.push_str(", and whether that is so cannot be told yet");
                    return Err(error);
                }
                Verdict::Stop => return Err(error),
                Verdict::After(pause) => {
                    tracing::debug!(kind = ?error.kind, attempt = tried.attempts, pause_ms = pause.as_millis() as u64, "repeating");
                    self.clock.sleep(pause).await;
                }
            }
        }
    }

    /// One attempt under the deadline of somebody who waits: short while we are known to be offline, so that
    /// a network that swallows packets does not freeze every program that looks at the mount.
    async fn hurried<T>(
        &self,
        start: Mono,
        rule: Rule,
        call: impl Future<Output = RemoteResult<T>> + Send,
    ) -> RemoteResult<T> {
        let whole = if self.offline.load(Ordering::Relaxed) { OFFLINE_DEADLINE } else { INTERACTIVE_DEADLINE };
        let left = whole.saturating_sub(self.clock.monotonic().since(start));
        match select(Box::pin(call), self.clock.sleep(left)).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => {
                let mut error = RemoteError::offline("the service did not answer in time");
                if rule == Rule::Once {
                    error.advice = Advice::VerifyThenRetry;
                }
                Err(error)
            }
        }
    }

    /// Remembers an item as made just now.
    fn made(&self, item: &Item) {
        self.note(&item.id, Missing::Fresh);
    }

    /// What it means from now on, for a while, if an item is unknown.
    fn note(&self, item: &ItemId, missing: Missing) {
        let now = self.clock.monotonic();
        let mut fresh = self.lock();
        if fresh.len() >= MAX_FRESH {
            fresh.retain(|_, (at, _)| now.since(*at) < FRESH);
        }
        if fresh.len() < MAX_FRESH || fresh.contains_key(item) {
            fresh.insert(item.clone(), (now, missing));
        }
    }

    fn missing(&self, id: &ItemId, otherwise: Missing) -> Missing {
        let now = self.clock.monotonic();
        match self.lock().get(id) {
            Some((at, missing)) if now.since(*at) < FRESH => *missing,
            _ => otherwise,
        }
    }

    fn missing_target(&self, to: &Target) -> Missing {
        match &to.place {
            Place::New { parent, .. } => self.missing(parent, Missing::Doubt),
            Place::Replace(item) => self.missing(item, Missing::Doubt),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ItemId, (Mono, Missing)>> {
        self.fresh.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[async_trait]
impl Remote for Retrying {
    fn caps(&self) -> &Caps {
        self.inner.caps()
    }

    fn stand_for(&self, drive: &DriveIdentity) {
        self.inner.stand_for(drive);
    }

    async fn identity(&self) -> RemoteResult<DriveIdentity> {
        self.run(Rule::Harmless, Missing::Believe, || self.inner.identity()).await
    }

    async fn stat(&self, at: At<'_>) -> RemoteResult<Item> {
        let missing = match at {
            At::Id(id) => self.missing(id, Missing::Doubt),
            // Asking whether a name is free is the usual reason to ask by name.
            At::Child(folder, _) if self.missing(folder, Missing::Believe) == Missing::Fresh => Missing::Doubt,
            At::Child(..) => Missing::Believe,
        };
        self.run(Rule::Harmless, missing, || self.inner.stat(at)).await
    }

    async fn list(&self, folder: &ItemId, from: Option<&Link>) -> RemoteResult<ItemPage> {
        let missing = self.missing(folder, Missing::Doubt);
        self.run(Rule::Harmless, missing, || self.inner.list(folder, from)).await
    }

    async fn changes(&self, from: Start<'_>) -> RemoteResult<ChangePage> {
        self.run(Rule::Harmless, Missing::Believe, || self.inner.changes(from.clone())).await
    }

    async fn read(&self, item: &ItemId, tag: &ContentTag, range: Range<u64>) -> RemoteResult<Body> {
        let missing = self.missing(item, Missing::Doubt);
        self.run(Rule::Harmless, missing, || self.inner.read(item, tag, range.clone())).await
    }

    async fn former(&self, item: &ItemId, size: u64, hash: &str) -> RemoteResult<Option<Bytes>> {
        let missing = self.missing(item, Missing::Doubt);
        self.run(Rule::Harmless, missing, || self.inner.former(item, size, hash)).await
    }

    async fn put_small(&self, to: &Target, bytes: Outgoing, pre: &Precondition) -> RemoteResult<Item> {
        let missing = self.missing_target(to);
        let item = self.run(Rule::Once, missing, || self.inner.put_small(to, bytes.clone(), pre)).await?;
        self.made(&item);
        Ok(item)
    }

    async fn begin_upload(&self, to: &Target, size: u64, pre: &Precondition) -> RemoteResult<Ticket> {
        let missing = self.missing_target(to);
        self.run(Rule::Once, missing, || self.inner.begin_upload(to, size, pre)).await
    }

    async fn put_fragment(&self, ticket: &Ticket, at: u64, bytes: Outgoing) -> RemoteResult<Ack> {
        let ack = self.run(Rule::Once, Missing::Believe, || self.inner.put_fragment(ticket, at, bytes.clone())).await?;
        if let Ack::Done(finished) = &ack {
            self.made(&finished.item);
        }
        Ok(ack)
    }

    async fn put_fragment_of(&self, ticket: &Ticket, range: Range<u64>, source: Arc<dyn Source>) -> RemoteResult<Ack> {
        let call = || self.inner.put_fragment_of(ticket, range.clone(), source.clone());
        let ack = self.run(Rule::Once, Missing::Believe, call).await?;
        if let Ack::Done(finished) = &ack {
            self.made(&finished.item);
        }
        Ok(ack)
    }

    async fn finish_upload(&self, ticket: &Ticket) -> RemoteResult<Finished> {
        let finished = self.run(Rule::Harmless, Missing::Believe, || self.inner.finish_upload(ticket)).await?;
        self.made(&finished.item);
        Ok(finished)
    }

    async fn upload_offset(&self, ticket: &Ticket) -> RemoteResult<Offset> {
        self.run(Rule::Harmless, Missing::Believe, || self.inner.upload_offset(ticket)).await
    }

    async fn abandon_upload(&self, ticket: &Ticket) -> RemoteResult<()> {
        self.run(Rule::Harmless, Missing::Believe, || self.inner.abandon_upload(ticket)).await
    }

    async fn make_folder(&self, parent: &ItemId, name: &str) -> RemoteResult<Item> {
        let missing = self.missing(parent, Missing::Doubt);
        let item = self.run(Rule::Once, missing, || self.inner.make_folder(parent, name)).await?;
        self.made(&item);
        Ok(item)
    }

    async fn change(&self, item: &ItemId, patch: &Patch, pre: &Precondition) -> RemoteResult<Item> {
        let missing = self.missing(item, Missing::Doubt);
        self.run(Rule::Once, missing, || self.inner.change(item, patch, pre)).await
    }

    async fn delete(&self, item: &ItemId, pre: &Precondition) -> RemoteResult<()> {
        self.run(Rule::Harmless, Missing::Believe, || self.inner.delete(item, pre)).await?;
        self.note(item, Missing::Believe);
        Ok(())
    }

    async fn quota(&self) -> RemoteResult<Quota> {
        self.run(Rule::Harmless, Missing::Believe, || self.inner.quota()).await
    }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
