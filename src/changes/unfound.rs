//! What an enumeration or a chain has left open, and what is asked for again after it.
//!
//! Two things are left open. An item was neither listed nor found, and we have made it so recently that it may only not be
//! shown yet: the feed may have said that it is gone before the position that it is read from, or say it never. Or an item
//! could not be asked for at all, while everything else could: it holds up nothing, but what the feed brings from now on
//! does not say what became of it before.
//!
//! What is made of an answer, or of none (pure, see `verdict`):
//!
//! | it was | answer | and | done |
//! | --- | --- | --- | --- |
//! | any | any | it is known otherwise than then: by us, or the feed said so | settled |
//! | not found | is | | settled |
//! | not answered | is | we have changed it a moment ago | asked again |
//! | not answered | is | | taken |
//! | any | gone, or none | we have made it a moment ago | asked again |
//! | any | gone | | dropped |
//! | any | none, and there never will be one | | settled: it stays as it is |
//! | any | none | for less than an hour | asked again |
//! | any | none | for longer | settled: it stays as it is |
//!
//! Until those that were not found are settled a comparison that has ended does not count as made: after a restart in
//! between there is another one. For the others that would mean no comparison for as long as one item is out of order.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;

use super::apply::{State, apply_states, state_of};
use super::{Trouble, on_disk};
use crate::base::clock::{Clock, Mono, Timestamp};
use crate::base::ids::ItemId;
use crate::index::{Index, IndexResult, Notice, Txn, meta};
use crate::remote::{Change, Remote, RemoteError, RemoteErrorKind, look_up_all};

/// How long to wait before what is open is asked for again.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The same if nothing waits for the answers.
const LONGEST_PAUSE_UNANSWERED: Duration = Duration::from_secs(600);

/// What cannot be asked for all this time is left as it is.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(3600);

/// An item that is open.
#[derive(Clone, Debug)]
pub(super) struct Open {
    /// As it was known then; `None` if it was not.
    before: Option<State>,
    why: Why,
    since: Mono,
}

/// Why an item is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    /// It was not found, and may only not be shown yet.
    NotFound,
    /// It could not be asked for.
    NotAnswered,
}

impl Open {
    pub(super) fn not_found(before: State, since: Mono) -> Self {
        Self { before: Some(before), why: Why::NotFound, since }
    }

    pub(super) fn not_answered(before: Option<State>, since: Mono) -> Self {
        Self { before, why: Why::NotAnswered, since }
    }

    /// Whether a comparison does not count as made before it is settled.
    pub(super) fn holds_up(&self) -> bool {
        self.why == Why::NotFound
    }
}

/// What was said of an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Said {
    Is,
    Gone,
    /// It will not be said: denied, or nonsense.
    Never,
    /// It could not be asked for.
    Nothing,
    /// It was not asked for this time.
    NotAsked,
}

/// What is known of an item when the answer has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Facts {
    changed: bool,
    newborn: bool,
    ours_lately: bool,
    /// It has been open for so long that it is given up if it cannot be asked for.
    old: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Settled,
    Applied,
    AskedAgain,
}

/// See the table at the top.
fn verdict(why: Why, said: Said, facts: Facts) -> Verdict {
    match (said, why) {
        _ if facts.changed => Verdict::Settled,
        (Said::Is, Why::NotFound) => Verdict::Settled,
        (Said::Is, Why::NotAnswered) if facts.ours_lately => Verdict::AskedAgain,
        (Said::Is, Why::NotAnswered) => Verdict::Applied,
        _ if facts.newborn => Verdict::AskedAgain,
        (Said::Gone, _) => Verdict::Applied,
        (Said::Never, _) => Verdict::Settled,
        (Said::Nothing, _) if facts.old => Verdict::Settled,
        (Said::Nothing | Said::NotAsked, _) => Verdict::AskedAgain,
    }
}

/// The items that are open.
pub(super) struct Unfound {
    items: HashMap<ItemId, Open>,
    /// A comparison counts as made when none is left that holds it up.
    compared: bool,
    pause: Duration,
    ask_at: Mono,
}

impl Unfound {
    /// Puts these to those that are open already; `compared` says that a comparison waits for them.
    pub(super) fn add(open: &mut Option<Self>, items: HashMap<ItemId, Open>, compared: bool, now: Mono) {
        let (pause, ask_at) = (FIRST_PAUSE, now.plus(FIRST_PAUSE));
        match open {
            None if items.is_empty() => {}
            None => *open = Some(Self { items, compared, pause, ask_at }),
            Some(open) => {
                if !items.is_empty() {
                    (open.pause, open.ask_at) = (pause, open.ask_at.min(ask_at));
                }
                open.items.extend(items);
                open.compared |= compared;
            }
        }
    }

    /// Takes those out of a chain that are said to be gone and are so young that they may only not be shown yet. To be
    /// asked only where a chain is made of listings: a feed that says so of itself knows.
    pub(super) async fn take_from(
        open: &mut Option<Self>,
        chain: &mut Vec<Change>,
        index: &Arc<Index>,
        clock: &dyn Clock,
    ) -> Result<(), Trouble> {
        let gone = |change: &Change| match change {
            Change::Gone(id) => Some(id.clone()),
            Change::Is(_) => None,
        };
        let ids: Vec<ItemId> = chain.iter().filter_map(gone).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let (on, now, since) = (index.clone(), clock.now(), clock.monotonic());
        let young = on_disk(move || {
            let mut young = HashMap::new();
            for id in ids {
                if on.is_newborn(&id, now)? {
                    young.extend(on.by_id(&id)?.map(|row| (id, Open::not_found(state_of(&row), since))));
                }
            }
            Ok(young)
        })
        .await?;
        chain.retain(|change| !matches!(change, Change::Gone(id) if young.contains_key(id)));
        Self::add(open, young, false, since);
        Ok(())
    }

    /// Whether none is left.
    pub(super) fn is_settled(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether the last comparison is not over.
    pub(super) fn holds_up(&self) -> bool {
        self.items.values().any(Open::holds_up)
    }

    /// Asks for them, if it is time.
    pub(super) async fn settle(
        &mut self,
        remote: &dyn Remote,
        index: &Arc<Index>,
        clock: &dyn Clock,
    ) -> Result<Vec<Notice>, Trouble> {
        let since = clock.monotonic();
        if since < self.ask_at {
            return Ok(Vec::new());
        }
        let longest = if self.holds_up() { LONGEST_PAUSE } else { LONGEST_PAUSE_UNANSWERED };
        self.pause = (self.pause * 2).min(longest);
        self.ask_at = since.plus(self.pause);
        let (mut answers, mut never, mut unanswered) = (HashMap::new(), HashSet::new(), HashSet::new());
        {
            let mut asked = pin!(look_up_all(remote, self.items.keys()));
            while let Some((id, answer)) = asked.next().await {
                match answer {
                    Ok(answer) => drop(answers.insert(id, answer)),
                    Err(error) => {
                        tracing::debug!(item = ?id, %error, "an item in question cannot be looked up");
                        let is_in_vain = is_of_the_service(&error);
                        let passes = error.is_transient() || is_in_vain;
                        let noted = if passes { &mut unanswered } else { &mut never };
                        noted.insert(id);
                        if is_in_vain {
                            break;
                        }
                    }
                }
            }
        }
        let (on, open, compared, now) = (index.clone(), self.items.clone(), self.compared, clock.now());
        let ((left, over), notices) = on_disk(move || {
            on.write(|txn| {
                let (mut left, mut taken) = (HashMap::new(), Vec::new());
                for (id, item) in open {
                    let answer = answers.remove(&id);
                    let said = match &answer {
                        Some(Change::Is(_)) => Said::Is,
                        Some(Change::Gone(_)) => Said::Gone,
                        None if never.contains(&id) => Said::Never,
                        None if unanswered.contains(&id) => Said::Nothing,
                        None => Said::NotAsked,
                    };
                    let facts = Facts {
                        changed: txn.by_id(&id)?.as_ref().map(state_of) != item.before,
                        newborn: txn.is_newborn(&id, now)?,
                        ours_lately: txn.is_ours_lately(&id, now)?,
                        old: since.since(item.since) >= GIVEN_UP_AFTER,
                    };
                    match verdict(item.why, said, facts) {
                        Verdict::Settled => {
                            if said == Said::Nothing && !facts.changed {
                                tracing::warn!(item = ?id, "an item cannot be looked up; it stays as it is");
                            }
                        }
                        Verdict::Applied => taken.extend(answer),
                        Verdict::AskedAgain => drop(left.insert(id, item)),
                    }
                }
                apply_states(txn, taken, now)?;
                let over = compared && !left.values().any(Open::holds_up);
                if over {
                    note_compared(txn, now)?;
                }
                Ok((left, over))
            })
        })
        .await?;
        self.items = left;
        self.compared &= !over;
        Ok(notices)
    }
}

/// Whether an error says nothing of the item that was asked for, and any other would meet it, too.
pub(super) fn is_of_the_service(error: &RemoteError) -> bool {
    use RemoteErrorKind::{Local, Offline, SignedOut, Throttled};
    matches!(error.kind, Offline | Throttled | SignedOut | Local)
}

/// From now on the next comparison is a day away.
pub(super) fn note_compared(txn: &mut Txn<'_>, now: Timestamp) -> IndexResult<()> {
    txn.set_meta(meta::RECONCILED, Some(&now.seconds().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_only_if_nothing_newer_is_known() {
        let known = Facts::default();
        let (changed, newborn) =
            (Facts { changed: true, ..known }, Facts { newborn: true, ours_lately: true, ..known });
        let (ours, old) = (Facts { ours_lately: true, ..known }, Facts { old: true, ..known });
        for (why, said, facts, then) in [
            (Why::NotFound, Said::Is, known, Verdict::Settled),
            (Why::NotFound, Said::Gone, known, Verdict::Applied),
            (Why::NotFound, Said::Gone, newborn, Verdict::AskedAgain),
            (Why::NotFound, Said::Gone, changed, Verdict::Settled),
            (Why::NotFound, Said::Never, newborn, Verdict::AskedAgain),
            (Why::NotFound, Said::Never, known, Verdict::Settled),
            (Why::NotAnswered, Said::Is, known, Verdict::Applied),
            (Why::NotAnswered, Said::Is, changed, Verdict::Settled),
            (Why::NotAnswered, Said::Is, ours, Verdict::AskedAgain),
            (Why::NotAnswered, Said::Gone, ours, Verdict::Applied),
            (Why::NotAnswered, Said::Nothing, known, Verdict::AskedAgain),
            (Why::NotAnswered, Said::Nothing, old, Verdict::Settled),
            (Why::NotFound, Said::Nothing, old, Verdict::Settled),
            (Why::NotAnswered, Said::NotAsked, old, Verdict::AskedAgain),
        ] {
            assert_eq!(verdict(why, said, facts), then, "{why:?} {said:?} {facts:?}");
        }
    }
}
