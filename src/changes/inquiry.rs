//! What the pages of an enumeration leave open is asked for by id: what was not listed, and what was listed otherwise than
//! it is known.
//!
//! There can be very many of them, and each takes a request or more, so they are asked for in rounds, each of which is
//! written by itself: what was answered is not asked again, whatever happens afterwards. Only then the enumeration ends.
//!
//! An item that cannot be asked for must not keep it from its end, because until then nothing else may be heard of. If the
//! service answers as soon as all others were asked for (the root is, for that), it is left open (see `unfound`). If it
//! does not, it is the service that is out of order, and all of them are asked for again.
//!
//! What is made of an answer (pure, see `verdict`):
//!
//! | answer | the item | done |
//! | --- | --- | --- |
//! | gone | we made a moment ago | left open: it may only not be shown yet |
//! | gone | any other | dropped |
//! | is | is not known any more, and there is a feed | nothing |
//! | is | is ours, a moment ago, and there is a feed or we have changed it since it was asked for | nothing |
//! | is | any other | taken |

use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt as _;

use super::apply::{State, apply_states, state_of};
use super::unfound::{Open, is_of_the_service};
use super::{Trouble, on_disk};
use crate::base::clock::{Clock, Mono, Timestamp};
use crate::base::ids::{Cursor, Ino, ItemId};
use crate::index::{Index, IndexResult, Notice, Txn};
use crate::remote::{At, Change, Remote, RemoteResult, look_up_all};

/// How many items are asked for in one round.
const LOOK_UPS: usize = 2000;

/// What is left to be asked for, and what has come of it.
pub(super) struct Inquiry {
    /// What the last page led to.
    pub(super) cursor: Cursor,
    questions: VecDeque<ItemId>,
    /// Those that could not be asked for, each as it was known then.
    unanswered: Vec<(ItemId, Option<State>)>,
    /// Those that met an error that is the service's, once.
    put_off: HashSet<ItemId>,
    /// Whether a feed is followed beside the enumeration, which brings what others do meanwhile.
    is_followed: bool,
    /// What stays open.
    pub(super) open: HashMap<ItemId, Open>,
}

/// What a round has brought.
pub(super) struct Round {
    pub(super) notices: Vec<Notice>,
    /// Nothing is left to be asked for.
    pub(super) is_over: bool,
    /// Why it ended early. What was answered before that is written.
    pub(super) trouble: Option<Trouble>,
}

/// What is known of an item when the answer has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Facts {
    newborn: bool,
    ours_lately: bool,
    /// It was not known when it was asked for.
    unknown: bool,
    changed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Applied,
    NotFound,
    Nothing,
}

/// See the table at the top.
fn verdict(is_gone: bool, is_followed: bool, facts: Facts) -> Verdict {
    match is_gone {
        true if facts.newborn => Verdict::NotFound,
        true => Verdict::Applied,
        false if is_followed && (facts.unknown || facts.ours_lately) => Verdict::Nothing,
        false if facts.ours_lately && facts.changed => Verdict::Nothing,
        false => Verdict::Applied,
    }
}

impl Inquiry {
    pub(super) fn new(cursor: Cursor, questions: impl IntoIterator<Item = ItemId>, is_followed: bool) -> Self {
        let (unanswered, put_off) = (Vec::new(), HashSet::new());
        let (questions, open) = (questions.into_iter().collect(), HashMap::new());
        Self { cursor, questions, unanswered, put_off, is_followed, open }
    }

    /// Asks for some of them, and writes what was answered.
    pub(super) async fn round(
        &mut self,
        remote: &dyn Remote,
        index: &Arc<Index>,
        clock: &dyn Clock,
    ) -> Result<Round, Trouble> {
        let piece: Vec<ItemId> = self.questions.iter().take(LOOK_UPS).cloned().collect();
        let (on, ids) = (index.clone(), piece.clone());
        let mut before = on_disk(move || states_of(&on, ids)).await?;
        let (mut answers, mut unanswered, mut asked, mut trouble) = (Vec::new(), Vec::new(), 0, None);
        let mut again = None;
        {
            let mut stream = pin!(look_up_all(remote, piece.iter()));
            while let Some((id, answer)) = stream.next().await {
                asked += 1;
                match answer {
                    Ok(answer) => answers.push((id, answer)),
                    Err(error) if is_of_the_service(&error) => {
                        // The others would fare no better. If it is the item all the same, it comes last.
                        match self.put_off.insert(id.clone()) {
                            true => again = Some(id),
                            false => unanswered.push(id),
                        }
                        trouble = Some(error);
                        break;
                    }
                    Err(error) if error.is_transient() => unanswered.push(id),
                    // Denied, or nonsense: then it stays as it is.
                    Err(error) => tracing::debug!(item = ?id, %error, "an item in question cannot be looked up"),
                }
            }
        }
        let unanswered: Vec<_> = unanswered
            .into_iter()
            .map(|id| {
                let state = before.remove(&id);
                (id, state)
            })
            .collect();
        let notices = self.write(answers, before, index, clock).await?;
        self.questions.drain(..asked);
        self.questions.extend(again);
        self.unanswered.extend(unanswered);
        if trouble.is_none() && self.questions.is_empty() && !self.unanswered.is_empty() {
            match answers_at_all(remote, index).await? {
                Ok(()) => self.leave_open(clock.monotonic()),
                Err(error) => {
                    self.questions.extend(self.unanswered.drain(..).map(|(id, _)| id));
                    trouble = Some(error);
                }
            }
        }
        let is_over = trouble.is_none() && self.questions.is_empty();
        Ok(Round { notices, is_over, trouble: trouble.map(Trouble::from) })
    }

    async fn write(
        &mut self,
        answers: Vec<(ItemId, Change)>,
        before: HashMap<ItemId, State>,
        index: &Arc<Index>,
        clock: &dyn Clock,
    ) -> Result<Vec<Notice>, Trouble> {
        let (on, now, since) = (index.clone(), clock.now(), clock.monotonic());
        let is_followed = self.is_followed;
        let (open, notices) = on_disk(move || {
            on.write(|txn| {
                let (mut states, mut open) = (Vec::new(), HashMap::new());
                for (id, answer) in answers {
                    let known = txn.by_id(&id)?.as_ref().map(state_of);
                    let facts = facts_of(txn, &id, known.as_ref(), before.get(&id), now)?;
                    match verdict(matches!(answer, Change::Gone(_)), is_followed, facts) {
                        Verdict::Applied => states.push(answer),
                        Verdict::NotFound => {
                            open.extend(known.map(|known| (id, Open::not_found(known, since))));
                        }
                        Verdict::Nothing => {}
                    }
                }
                apply_states(txn, states, now)?;
                Ok(open)
            })
        })
        .await?;
        self.open.extend(open);
        Ok(notices)
    }

    /// The service answers, but not when it is asked for these.
    fn leave_open(&mut self, since: Mono) {
        for (id, state) in self.unanswered.drain(..) {
            tracing::info!(item = ?id, "an item in question cannot be looked up for now");
            self.open.insert(id, Open::not_answered(state, since));
        }
    }
}

/// What is known of items that are going to be asked for.
fn states_of(index: &Index, ids: Vec<ItemId>) -> IndexResult<HashMap<ItemId, State>> {
    let mut states = HashMap::new();
    for id in ids {
        states.extend(index.by_id(&id)?.map(|row| (id, state_of(&row))));
    }
    Ok(states)
}

fn facts_of(
    txn: &mut Txn<'_>,
    id: &ItemId,
    known: Option<&State>,
    before: Option<&State>,
    now: Timestamp,
) -> IndexResult<Facts> {
    Ok(Facts {
        newborn: txn.is_newborn(id, now)?,
        // What we have deleted meanwhile the plan leaves out.
        ours_lately: known.is_some() && txn.is_ours_lately(id, now)?,
        unknown: before.is_none(),
        changed: before != known,
    })
}

/// Whether the service answers questions for items now. The root is always there.
async fn answers_at_all(remote: &dyn Remote, index: &Arc<Index>) -> Result<RemoteResult<()>, Trouble> {
    let on = index.clone();
    let Some(root) = on_disk(move || on.by_ino(Ino::ROOT)).await? else { return Ok(Ok(())) };
    Ok(match remote.stat(At::Id(&root.id)).await {
        Err(error) if error.is_transient() || is_of_the_service(&error) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_brings_nothing_back_that_we_know_better() {
        let known = Facts::default();
        let ours = Facts { ours_lately: true, ..known };
        for (is_gone, is_followed, facts, then) in [
            (true, true, known, Verdict::Applied),
            (true, false, Facts { newborn: true, ..ours }, Verdict::NotFound),
            (false, false, Facts { unknown: true, ..known }, Verdict::Applied),
            (false, true, Facts { unknown: true, ..known }, Verdict::Nothing),
            (false, true, ours, Verdict::Nothing),
            (false, false, ours, Verdict::Applied),
            (false, false, Facts { changed: true, ..ours }, Verdict::Nothing),
            (false, true, known, Verdict::Applied),
        ] {
            assert_eq!(verdict(is_gone, is_followed, facts), then, "{is_gone} {is_followed} {facts:?}");
        }
    }
}
