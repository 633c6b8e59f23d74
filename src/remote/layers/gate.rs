//! One gate for all requests, because the service counts them together.
//!
//! Two problems: a folder full of cold thumbnails must not starve the `ls` next to it, and when the service
//! says "not before ten seconds" nobody may knock earlier, for refused requests count against us too
//! (<https://learn.microsoft.com/graph/throttling>).
//!
//! Always true here: no request starts during a pause; a pause only ever grows; a waiter that goes away
//! takes no place with it; whoever is more urgent goes first.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::sync::oneshot;

use crate::base::clock::{Clock, Mono};
use crate::base::ids::{ContentTag, ItemId};
use crate::remote::http::Entropy;
use crate::remote::{
    Ack, Advice, At, Body, Caps, ChangePage, DriveIdentity, Item, ItemPage, Link, Offset, Outgoing, Patch,
    Precondition, Quota, Remote, RemoteError, RemoteErrorKind, RemoteResult, SharedRemote, Start, Target, Ticket,
    Urgency, current_urgency,
};

/// How many requests run at once.
#[derive(Clone, Copy, Debug)]
pub struct Lanes {
    /// All together; what the others leave is reserved for interactive calls.
    pub all: usize,
    /// Uploads and background work together.
    pub patient: usize,
    /// Background work.
    pub background: usize,
}

impl Default for Lanes {
    fn default() -> Self {
        // The service advises four to eight metadata requests and two to four transfers.
        Self { all: 12, patient: 8, background: 4 }
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
}

#[derive(Default)]
struct State {
    running: [usize; 3],
    waiting: [VecDeque<oneshot::Sender<Pass>>; 3],
    paused_until: Mono,
    /// How often in a row the service asked for patience without saying how long.
    guesses: u32,
}

/// A place among the running requests; given back when dropped.
pub struct Pass {
    gate: Arc<Gate>,
    urgency: Urgency,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let woken = {
            let mut state = self.gate.lock();
            state.running[self.urgency as usize] -= 1;
            self.gate.admit(&mut state)
        };
        // Outside the lock: a waiter that has gone away drops its pass here, which comes back to this place.
        for (waiter, urgency) in woken {
            let _ = waiter.send(Pass { gate: self.gate.clone(), urgency });
        }
    }
}

impl Gate {
    /// An open gate.
    pub fn new(lanes: Lanes, clock: Arc<dyn Clock>, entropy: Entropy) -> Arc<Self> {
        Arc::new(Self { lanes, clock, entropy, state: Mutex::default() })
    }

    /// Waits for a place. Fails with [`RemoteErrorKind::Throttled`] if the call is interactive and the pause
    /// is longer than somebody in front of a screen should wait.
    pub async fn enter(self: &Arc<Self>, urgency: Urgency) -> RemoteResult<Pass> {
        loop {
            self.outwait(urgency).await?;
            let pass = self.place(urgency).await;
            if self.remaining_pause().is_zero() {
                return Ok(pass);
            }
            // The pause began while we waited for the place: give it back and wait again.
        }
    }

    async fn outwait(&self, urgency: Urgency) -> RemoteResult<()> {
        loop {
            let left = self.remaining_pause();
            if left.is_zero() {
                return Ok(());
            }
            if urgency == Urgency::Interactive && left > INTERACTIVE_PAUSE {
                let context = format!("the service asks for patience for {} more seconds", left.as_secs() + 1);
                return Err(RemoteError::new(RemoteErrorKind::Throttled, Advice::RetryAfter(left), context));
            }
            self.clock.sleep(left).await;
        }
    }

    async fn place(self: &Arc<Self>, urgency: Urgency) -> Pass {
        let waiting = {
            let mut state = self.lock();
            let ahead = state.waiting[..=urgency as usize].iter().any(|queue| !queue.is_empty());
            if !ahead && has_room(&state.running, &self.lanes, urgency) {
                state.running[urgency as usize] += 1;
                None
            } else {
                let (sender, receiver) = oneshot::channel();
                state.waiting[urgency as usize].push_back(sender);
                Some(receiver)
            }
        };
        match waiting {
            None => Pass { gate: self.clone(), urgency },
            Some(receiver) => receiver.await.expect("invariant: the gate keeps its waiters until it admits them"),
        }
    }

    /// Takes the waiters that fit now out of the queues and counts them as running.
    fn admit(&self, state: &mut State) -> Vec<(oneshot::Sender<Pass>, Urgency)> {
        let mut admitted = Vec::new();
        for urgency in [Urgency::Interactive, Urgency::Upload, Urgency::Background] {
            let lane = urgency as usize;
            while has_room(&state.running, &self.lanes, urgency) {
                match state.waiting[lane].pop_front() {
                    Some(waiter) if waiter.is_closed() => {}
                    Some(waiter) => {
                        state.running[lane] += 1;
                        admitted.push((waiter, urgency));
                    }
                    None => break,
                }
            }
        }
        admitted
    }

    /// Learns from the end of a call: a throttled one starts or extends the pause for everybody, a good one
    /// ends the guessing.
    pub fn learn<T>(&self, result: &RemoteResult<T>) {
        match result {
            Ok(_) => {
                let mut state = self.lock();
                if state.paused_until <= self.clock.monotonic() {
                    state.guesses = 0;
                }
            }
            Err(error) if error.kind == RemoteErrorKind::Throttled => {
                let now = self.clock.monotonic();
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
                state.paused_until = state.paused_until.max(now.plus(pause));
            }
            Err(_) => {}
        }
    }

    /// How long nobody may start.
    pub fn remaining_pause(&self) -> Duration {
        let until = self.lock().paused_until;
        Duration::from_nanos(until.0.saturating_sub(self.clock.monotonic().0))
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
            Urgency::Upload => patient < lanes.patient,
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

    async fn put_small(&self, to: &Target, bytes: Outgoing, pre: &Precondition) -> RemoteResult<Item> {
        self.through(self.inner.put_small(to, bytes, pre)).await
    }

    async fn begin_upload(&self, to: &Target, size: u64, pre: &Precondition) -> RemoteResult<Ticket> {
        self.through(self.inner.begin_upload(to, size, pre)).await
    }

    async fn put_fragment(&self, ticket: &Ticket, at: u64, bytes: Outgoing) -> RemoteResult<Ack> {
        self.through(self.inner.put_fragment(ticket, at, bytes)).await
    }

    async fn finish_upload(&self, ticket: &Ticket) -> RemoteResult<Item> {
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
