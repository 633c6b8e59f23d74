//! One listing for all who look at a folder meanwhile.
//!
//! Whoever comes first asks the service; the others wait for what comes of it. If each asked again after the one before
//! has failed, the last of many would wait for as long as all of them together.
//!
//! Always true: of one folder there is at most one listing under way, and nobody waits for one whose asker has gone.
//!
//! | what became of the listing | those who wait |
//! | --- | --- |
//! | it succeeded, or failed | so have they |
//! | its asker has gone before it ended | one of them asks |
//! | it had less time than one may take, and that is over | one of them asks: nothing is known of the service by it |

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::sync::watch;

use super::{VolumeResult, locked};
use crate::base::ids::Ino;

/// What becomes of a listing; `None` as long as it is under way.
type Outcome = Option<VolumeResult<()>>;

/// The listings under way.
#[derive(Default)]
pub(super) struct Turns {
    under_way: Mutex<HashMap<Ino, watch::Receiver<Outcome>>>,
}

/// What there is to do for somebody who needs a listing.
pub(super) enum Part<'a> {
    /// Nobody is at it: do it.
    Ask(Turn<'a>),
    /// Somebody is.
    Wait(Waiting),
}

impl Turns {
    pub fn part(&self, folder: Ino) -> Part<'_> {
        let mut under_way = locked(&self.under_way);
        if let Some(outcome) = under_way.get(&folder) {
            return Part::Wait(Waiting(outcome.clone()));
        }
        let (sender, receiver) = watch::channel(None);
        under_way.insert(folder, receiver);
        Part::Ask(Turn { turns: self, folder, outcome: None, sender })
    }
}

/// The turn to list a folder. It ends when this is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    folder: Ino,
    outcome: Outcome,
    sender: watch::Sender<Outcome>,
}

impl Turn<'_> {
    /// Ends it, and lets everybody who waits have what came of it.
    pub fn share(mut self, outcome: VolumeResult<()>) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Whoever comes from now on came after it.
        locked(&self.turns.under_way).remove(&self.folder);
        if self.outcome.is_some() {
            self.sender.send_replace(self.outcome.take());
        }
    }
}

/// Somebody else's listing.
pub(super) struct Waiting(watch::Receiver<Outcome>);

impl Waiting {
    /// What came of it; `None` if that is not known, and somebody else has to ask.
    pub async fn outcome(mut self) -> Outcome {
        self.0.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone())
    }
}
