//! One gate for all requests, because the service counts them together.
//!
//! Two problems: a folder full of cold thumbnails must not starve the `ls` next to it, and when the service
//! says "not before ten seconds" nobody may knock earlier, for refused requests count against us too
//! (<https://learn.microsoft.com/graph/throttling>).
//!
//! Always true here: no request starts during a pause; a pause only ever grows; after it one call asks whether the
//! service has recovered, and the others follow only when it has, but for one interactive call, which does not wait for
//! the answer to a less urgent one (a piece of an upload may take minutes); a waiter that goes away takes no place with
//! it; whoever is more urgent goes first, also at the end of a pause.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use tokio::sync::{oneshot, watch};

use crate::base::clock::{Clock, Mono};
use crate::base::ids::{ContentTag, ItemId};
use crate::remote::http::Entropy;
use crate::remote::{
    Ack, Advice, At, Body, Caps, ChangePage, DriveIdentity, Finished, Item, ItemPage, Link, Offset, Outgoing, Patch,
    Precondition, Quota, Remote, RemoteError, RemoteErrorKind, RemoteResult, SharedRemote, Source, Start, Target,
    Ticket, Urgency, current_urgency,
};

/// How many requests run at once.
#[derive(Clone, Copy, Debug)]
pub struct Lanes {
    /// All together; what the others leave is reserved for interactive calls.
    pub all: usize,
    /// Uploads and background work together.
    pub patient: usize,
    /// Uploads. A piece of one may take minutes, and news of other devices' changes must not wait for that.
    pub upload: usize,
    /// Background work.
    pub background: usize,
}

impl Default for Lanes {
    fn default() -> Self {
        // The service advises four to eight metadata requests and two to four transfers.
        Self { all: 12, patient: 8, upload: 6, background: 4 }
    }
}

/// The longest pause an interactive call waits for; a longer one is an error at once.
const INTERACTIVE_PAUSE: Duration = Duration::from_secs(8);

/// The longest pause we invent where the service names none.
const LONGEST_GUESS: Duration = Duration::from_secs(120);

/// The gate itself.
pub struct Gate {
    lanes: Lanes,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
    state: Mutex<State>,
    /// Until when nobody may start, for those who wait.
    pause: watch::Sender<Mono>,
}

#[derive(Default)]
struct State {
    /// The service has asked for patience, and no answer has shown since that it has recovered.
    doubt: bool,
    /// How many calls ask whether it has.
    asking: [usize; 3],
    /// Which question it is that they ask: an answer settles it, and another refusal raises the next one.
    question: u64,
    running: [usize; 3],
    waiting: [VecDeque<oneshot::Sender<Pass>>; 3],
    paused_until: Mono,
    /// How often in a row the service asked for patience without saying how long.
    guesses: u32,
}

impl State {
    /// Whether one more of this urgency may start as far as the service's patience goes.
    fn may_ask(&self, urgency: Urgency) -> bool {
        let [interactive, upload, background] = self.asking;
        !self.doubt || interactive == 0 && (urgency == Urgency::Interactive || upload + background == 0)
    }

    /// Those who ask have their answer, whatever it is.
    fn settle(&mut self, doubt: bool) {
        self.doubt = doubt;
        self.asking = [0; 3];
        self.question += 1;
    }
}

/// A place among the running requests; given back when dropped.
pub struct Pass {
    gate: Arc<Gate>,
    urgency: Urgency,
    /// The question that it asks by being made.
    asks: Option<u64>,
}

/// A waiter that has been given a place.
struct Admitted {
    waiter: oneshot::Sender<Pass>,
    urgency: Urgency,
    asks: Option<u64>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let admitted = {
            let mut state = self.gate.lock();
            state.running[self.urgency as usize] -= 1;
            if self.asks == Some(state.question) {
                // It has gone away without an answer.
                state.asking[self.urgency as usize] -= 1;
            }
            self.gate.admit(&mut state)
        };
        self.gate.hand_out(admitted);
    }
}

impl Gate {
    /// An open gate.
    pub fn new(lanes: Lanes, clock: Arc<dyn Clock>, entropy: Entropy) -> Arc<Self> {
        Arc::new(Self { lanes, clock, entropy, state: Mutex::default(), pause: watch::Sender::new(Mono(0)) })
    }

    /// Waits for a place. Fails with [`RemoteErrorKind::Throttled`] if the call is interactive and the pause
    /// is longer than somebody in front of a screen should wait.
    pub async fn enter(self: &Arc<Self>, urgency: Urgency) -> RemoteResult<Pass> {
        let mut pause = self.pause.subscribe();
        let mut place = {
            let mut state = self.lock();
            let (sender, receiver) = oneshot::channel();
            state.waiting[urgency as usize].push_back(sender);
            receiver
        };
        self.let_in();
        loop {
            let left = pause.borrow_and_update().since(self.clock.monotonic());
            if urgency == Urgency::Interactive && left > INTERACTIVE_PAUSE {
                // One may have been given meanwhile; it is returned when the receiver is dropped.
                let context = format!("the service asks for patience for {} more seconds", left.as_secs() + 1);
                return Err(RemoteError::new(RemoteErrorKind::Throttled, Advice::RetryAfter(left), context));
            }
            let turn = async {
                if left.is_zero() {
                    std::future::pending::<()>().await;
                }
                self.clock.sleep(left).await;
            };
            match select(&mut place, select(Box::pin(turn), Box::pin(pause.changed()))).await {
                Either::Left((pass, _)) => {
                    return Ok(pass.expect("invariant: the gate keeps its waiters until it admits them"));
                }
                // The pause is over, or it is another one.
                Either::Right(_) => self.let_in(),
            }
        }
    }

    /// Admits whoever may go now.
    fn let_in(self: &Arc<Self>) {
        let admitted = self.admit(&mut self.lock());
        self.hand_out(admitted);
    }

    /// Outside the lock: a waiter that has gone away drops its pass here, which comes back to the gate.
    fn hand_out(self: &Arc<Self>, admitted: Vec<Admitted>) {
        for Admitted { waiter, urgency, asks } in admitted {
            let _ = waiter.send(Pass { gate: self.clone(), urgency, asks });
        }
    }

    /// Takes the waiters that fit now out of the queues and counts them as running.
    fn admit(&self, state: &mut State) -> Vec<Admitted> {
        let mut admitted = Vec::new();
        if !state.paused_until.since(self.clock.monotonic()).is_zero() {
            return admitted;
        }
        for urgency in [Urgency::Interactive, Urgency::Upload, Urgency::Background] {
            let lane = urgency as usize;
            while has_room(&state.running, &self.lanes, urgency) && state.may_ask(urgency) {
                match state.waiting[lane].pop_front() {
                    Some(waiter) if waiter.is_closed() => {}
                    Some(waiter) => {
                        let asks = state.doubt.then_some(state.question);
                        state.asking[lane] += usize::from(state.doubt);
                        state.running[lane] += 1;
                        admitted.push(Admitted { waiter, urgency, asks });
                    }
                    None => break,
                }
            }
        }
        admitted
    }

    /// Learns from the end of a call: a throttled one starts or extends the pause for everybody, a good one
    /// ends the guessing.
    pub fn learn<T>(self: &Arc<Self>, result: &RemoteResult<T>) {
        let now = self.clock.monotonic();
        match result {
            Err(error) if error.kind == RemoteErrorKind::Throttled => {
                let paused_until = {
                    let mut state = self.lock();
                    let pause = match error.advice {
                        Advice::RetryAfter(pause) => pause,
                        _ => {
                            // Calls that ran side by side are refused together; they are one refusal.
                            if state.paused_until <= now {
                                state.guesses += 1;
                            }
                            guess(state.guesses, (self.entropy)())
                        }
                    };
                    state.settle(true);
                    state.paused_until = state.paused_until.max(now.plus(pause));
                    state.paused_until
                };
                self.pause.send_if_modified(|known| {
                    let longer = paused_until > *known;
                    *known = paused_until.max(*known);
                    longer
                });
            }
            // Any other answer than a request for patience ends the doubt; no answer at all does not.
            Err(error) if error.kind == RemoteErrorKind::Offline => {}
            _ => {
                let mut state = self.lock();
                if state.paused_until <= now {
                    if result.is_ok() {
                        state.guesses = 0;
                    }
                    state.settle(false);
                    let admitted = self.admit(&mut state);
                    drop(state);
                    self.hand_out(admitted);
                }
            }
        }
    }

    /// How long nobody may start.
    pub fn remaining_pause(&self) -> Duration {
        let paused_until = self.lock().paused_until;
        paused_until.since(self.clock.monotonic())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Whether one more of this urgency may run: there is room among all, and among those no more urgent than
/// it.
fn has_room(running: &[usize; 3], lanes: &Lanes, urgency: Urgency) -> bool {
    let [interactive, upload, background] = *running;
    let patient = upload + background;
    interactive + patient < lanes.all
        && match urgency {
            Urgency::Interactive => true,
            Urgency::Upload => patient < lanes.patient && upload < lanes.upload,
            Urgency::Background => patient < lanes.patient && background < lanes.background,
        }
}

/// A pause where the service names none: 1, 2, 4 .. 120 seconds, and up to a quarter more at random.
fn guess(times: u32, random: u64) -> Duration {
    let base = Duration::from_secs(1 << times.saturating_sub(1).min(10)).min(LONGEST_GUESS);
    base + base.mul_f64(0.25 * (random as f64 / u64::MAX as f64))
}

/// The layer: every call of the wrapped remote passes the gate.
pub struct Gated {
    inner: SharedRemote,
    gate: Arc<Gate>,
}

impl Gated {
    /// Puts a gate in front of a remote.
    pub fn new(inner: SharedRemote, gate: Arc<Gate>) -> Self {
        Self { inner, gate }
    }

    async fn through<T>(&self, call: impl Future<Output = RemoteResult<T>> + Send) -> RemoteResult<T> {
        let _pass = self.gate.enter(current_urgency()).await?;
        let result = call.await;
        self.gate.learn(&result);
        result
    }
}

#[async_trait]
impl Remote for Gated {
    fn caps(&self) -> &Caps {
        self.inner.caps()
    }

    fn stand_for(&self, drive: &DriveIdentity) {
        self.inner.stand_for(drive);
    }

    async fn identity(&self) -> RemoteResult<DriveIdentity> {
        self.through(self.inner.identity()).await
    }

    async fn stat(&self, at: At<'_>) -> RemoteResult<Item> {
        self.through(self.inner.stat(at)).await
    }

    async fn list(&self, folder: &ItemId, from: Option<&Link>) -> RemoteResult<ItemPage> {
        self.through(self.inner.list(folder, from)).await
    }

    async fn changes(&self, from: Start<'_>) -> RemoteResult<ChangePage> {
        self.through(self.inner.changes(from)).await
    }

    /// The place is held until the body has ended or is dropped.
    async fn read(&self, item: &ItemId, tag: &ContentTag, range: Range<u64>) -> RemoteResult<Body> {
        let pass = self.gate.enter(current_urgency()).await?;
        let result = self.inner.read(item, tag, range).await;
        self.gate.learn(&result);
        let mut body = result?;
        body.stream = futures_util::stream::unfold((body.stream, pass), |(mut stream, pass)| async move {
            let piece = stream.next().await?;
            Some((piece, (stream, pass)))
        })
        .boxed();
        Ok(body)
    }

    async fn former(&self, item: &ItemId, size: u64, hash: &str) -> RemoteResult<Option<Bytes>> {
        self.through(self.inner.former(item, size, hash)).await
    }

    async fn put_small(&self, to: &Target, bytes: Outgoing, pre: &Precondition) -> RemoteResult<Item> {
        self.through(self.inner.put_small(to, bytes, pre)).await
    }

    async fn begin_upload(&self, to: &Target, size: u64, pre: &Precondition) -> RemoteResult<Ticket> {
        self.through(self.inner.begin_upload(to, size, pre)).await
    }

    async fn put_fragment(&self, ticket: &Ticket, at: u64, bytes: Outgoing) -> RemoteResult<Ack> {
        self.through(self.inner.put_fragment(ticket, at, bytes)).await
    }

    async fn put_fragment_of(&self, ticket: &Ticket, range: Range<u64>, source: Arc<dyn Source>) -> RemoteResult<Ack> {
        self.through(self.inner.put_fragment_of(ticket, range, source)).await
    }

    async fn finish_upload(&self, ticket: &Ticket) -> RemoteResult<Finished> {
        self.through(self.inner.finish_upload(ticket)).await
    }

    async fn upload_offset(&self, ticket: &Ticket) -> RemoteResult<Offset> {
        self.through(self.inner.upload_offset(ticket)).await
    }

    async fn abandon_upload(&self, ticket: &Ticket) -> RemoteResult<()> {
        self.through(self.inner.abandon_upload(ticket)).await
    }

    async fn make_folder(&self, parent: &ItemId, name: &str) -> RemoteResult<Item> {
        self.through(self.inner.make_folder(parent, name)).await
    }

    async fn change(&self, item: &ItemId, patch: &Patch, pre: &Precondition) -> RemoteResult<Item> {
        self.through(self.inner.change(item, patch, pre)).await
    }

    async fn delete(&self, item: &ItemId, pre: &Precondition) -> RemoteResult<()> {
        self.through(self.inner.delete(item, pre)).await
    }

    async fn quota(&self) -> RemoteResult<Quota> {
        self.through(self.inner.quota()).await
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
