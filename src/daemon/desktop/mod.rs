//! Tells a person who looks at no terminal what only they can help with: a notification on the desktop.
//!
//! A change that waits for the user waits until they know of it, and most people never ask. So whatever
//! `onedrive-cli status` shows as theirs to solve is said on the desktop as well: changes that cannot be sent, changes that
//! are held because of a burst, a sign-in that has run out, content that is kept for them. What passes by itself (no
//! network, a service that is ill or asks for patience) is not.
//!
//! Always true: of each kind (`words::Kind`) at most one notification stands, it says how things stand now, and it goes
//! when they are well again (`plan` decides that). A desktop that is missing, refuses or hangs costs nobody anything:
//! the file system does not know of it, every question has a time limit, and the log tells of it only to those who debug.
//! The bus is connected to only while there is something to say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{Clock, Mono};
use crate::base::tasks::Stop;

use super::control::Answers;
use super::control::asks::Asks;
use super::one_account::OneAccount;

mod bus;
mod plan;
mod words;

use bus::Bus;
use plan::{History, Step, Words};
use words::Kind;

/// The least time between two looks. A look goes through all that is not in the cloud, if some of it waits for the user.
const LEAST: Duration = Duration::from_secs(1);

/// So many times as long as a look took nobody looks again: it costs a twentieth of a processor at the most.
const SHARE: u32 = 20;

/// The longest time between two looks, should nobody tell of a change.
const MOST: Duration = Duration::from_secs(60);

/// How long taking everything down may take at the end.
const LAST: Duration = Duration::from_millis(500);

/// Whoever watches for the user.
pub struct Desktop {
    answers: Arc<Answers>,
    account: Arc<OneAccount>,
    clock: Arc<dyn Clock>,
    bus: Bus,
    told: BTreeMap<Kind, History>,
}

impl Desktop {
    /// Connects to nothing yet.
    pub fn new(answers: Answers, account: Arc<OneAccount>, clock: Arc<dyn Clock>) -> Self {
        Self { answers: Arc::new(answers), account, clock, bus: Bus::default(), told: BTreeMap::new() }
    }

    /// Tells the user until it is stopped, then takes down what stands: the next start says it again if it is still so.
    pub async fn run(mut self, mut stop: Stop) {
        tokio::select! {
            () = self.watch() => {}
            () = stop.requested() => {}
        }
        // Who does not answer even now is left behind with the connection.
        let _ = tokio::time::timeout(LAST, self.take_down()).await;
    }

    async fn watch(&mut self) {
        let mut changes = self.answers.journal.watch();
        let mut health = self.answers.health.clone();
        loop {
            changes.borrow_and_update();
            health.borrow_and_update();
            let begun = self.clock.monotonic();
            let Some(asks) = self.look().await else { return };
            let took = self.clock.monotonic().since(begun);
            let next = self.act(&words::words(&asks)).await;
            self.clock.sleep(LEAST.max(took * SHARE)).await;
            let rest = next.map_or(MOST, |next| next.since(self.clock.monotonic()));
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                changed = health.changed() => if changed.is_err() { return },
                () = self.clock.sleep(rest) => {}
            }
        }
    }

    /// How things stand; nothing if the runtime is ending.
    async fn look(&self) -> Option<Asks> {
        let answers = self.answers.clone();
        let asks = tokio::task::spawn_blocking(move || answers.asks()).await.ok()?;
        Some(Asks { another: self.account.others_told(), ..asks })
    }

    /// Brings the desktop to what is to be said now. Returns when there is something to do next, if time is all it
    /// waits for.
    async fn act(&mut self, said: &BTreeMap<Kind, Words>) -> Option<Mono> {
        let mut next: Option<Mono> = None;
        for kind in Kind::ALL {
            let (words, now) = (said.get(&kind), self.clock.monotonic());
            let history = self.told.entry(kind).or_default();
            match (history.step(words, now), words) {
                (Step::Wait(moment), _) => next = Some(next.map_or(moment, |next| next.min(moment))),
                (Step::Show(replaces), Some(words)) => match self.bus.show(words, replaces).await {
                    Ok(number) => history.is_shown(number, words.clone(), now),
                    Err(error) => {
                        tracing::debug!(%error, ?kind, "the user is not told on the desktop");
                        history.has_failed(now);
                        let again = now.plus(plan::PAUSE);
                        next = Some(next.map_or(again, |next| next.min(again)));
                    }
                },
                (Step::Close(number), _) => {
                    if let Err(error) = self.bus.close(number).await {
                        tracing::debug!(%error, ?kind, "a notification may still stand");
                    }
                    history.is_closed();
                }
                (Step::Show(_) | Step::Rest, _) => {}
            }
        }
        if self.told.values().all(|history| history.number().is_none()) {
            self.bus.hang_up();
        }
        next
    }

    async fn take_down(&mut self) {
        for number in self.told.values().filter_map(History::number) {
            let _ = self.bus.close(number).await;
        }
    }
}
