//! What the pages of an enumeration leave open is asked for by id: what was not listed, what was listed otherwise than it
//! is known, and what was listed though we have deleted it.
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
//! | gone | was listed, and we deleted it a moment ago | left open: it may be restored (see `believed`) |
//! | gone | any other | dropped |
//! | is | was listed, and we deleted it a moment ago, in this very state, or is a folder | left open: whoever was asked may be behind |
//! | is | was listed, and we deleted it a moment ago | back |
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
use crate::base::ids::{Cursor, Ino, ItemId, MetaTag};
use crate::index::{Index, IndexResult, Notice, Txn};
use crate::remote::{At, Change, ItemKind, Remote, RemoteResult, look_up_all};

/// How many items are asked for in one round.
const LOOK_UPS: usize = 2000;

/// What is left to be asked for, and what has come of it.
pub(super) struct Inquiry {
    /// What the last page led to.
    pub(super) cursor: Cursor,
    questions: VecDeque<ItemId>,
    /// Those of them that were listed though we have deleted them, with the tag under which they were.
    undeleted: HashMap<ItemId, MetaTag>,
    /// Those that could not be asked for, each as it was known then.
    unanswered: Vec<(ItemId, Option<State>)>,
    /// Those that met an error that is the service's, once.
    put_off: HashSet<ItemId>,
    /// Whether a feed is followed beside the enumeration, which brings what others do meanwhile.
    is_followed: bool,
    /// What stays open.
    pub(super) open: HashMap<ItemId, Open>,
    /// What we have deleted and may be restored, with the tag under which it was listed.
    pub(super) believed: HashMap<ItemId, MetaTag>,
}

/// What a round has brought.
pub(super) struct Round {
    pub(super) notices: Vec<Notice>,
    /// Nothing is left to be asked for.
    pub(super) is_over: bool,
    /// Why it ended early. What was answered before that is written.
    pub(super) trouble: Option<Trouble>,
}

/// What was known of an item when it was asked for.
struct Before {
    state: Option<State>,
    /// See [`Txn::deleted_until`].
    deleted_until: Option<Timestamp>,
}

/// What is known of an item when the answer has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Facts {
    newborn: bool,
    /// It was listed though we have deleted it, which is not long ago and not done again since.
    undeleted: bool,
    /// The answer may be from before we deleted it: in a state that we have overtaken, or a folder's, which is in another
    /// one after each thing that we have deleted in it before.
    maybe_older: bool,
    ours_lately: bool,
    /// It was not known when it was asked for.
    unknown: bool,
    changed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Applied,
    /// It is taken back that we have deleted it, and it is taken.
    Restored,
    NotFound,
    Believed,
    Nothing,
}

/// See the table at the top.
fn verdict(is_gone: bool, is_followed: bool, facts: Facts) -> Verdict {
    match is_gone {
        true if facts.newborn => Verdict::NotFound,
        true if facts.undeleted => Verdict::Believed,
        true => Verdict::Applied,
        false if facts.undeleted && facts.maybe_older => Verdict::Believed,
        false if facts.undeleted => Verdict::Restored,
        false if is_followed && (facts.unknown || facts.ours_lately) => Verdict::Nothing,
        false if facts.ours_lately && facts.changed => Verdict::Nothing,
        false => Verdict::Applied,
    }
}

impl Inquiry {
    pub(super) fn new(
        cursor: Cursor,
        questions: impl IntoIterator<Item = ItemId>,
        undeleted: HashMap<ItemId, MetaTag>,
        is_followed: bool,
    ) -> Self {
        let questions = undeleted.keys().cloned().chain(questions).collect();
        let (unanswered, put_off) = (Vec::new(), HashSet::new());
        let (open, believed) = (HashMap::new(), HashMap::new());
        Self { cursor, questions, undeleted, unanswered, put_off, is_followed, open, believed }
    }

    /// Asks for some of them, and writes what was answered.
    pub(super) async fn round(
        &mut self,
        remote: &dyn Remote,
        index: &Arc<Index>,
        clock: &dyn Clock,
    ) -> Result<Round, Trouble> {
        let piece: Vec<ItemId> = self.questions.iter().take(LOOK_UPS).cloned().collect();
        let (on, ids, now) = (index.clone(), piece.clone(), clock.now());
        let mut before = on_disk(move || known_before(&on, ids, now)).await?;
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
                let state = before.remove(&id).and_then(|before| before.state);
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
        before: HashMap<ItemId, Before>,
        index: &Arc<Index>,
        clock: &dyn Clock,
    ) -> Result<Vec<Notice>, Trouble> {
        let (on, now, since) = (index.clone(), clock.now(), clock.monotonic());
        let (undeleted, is_followed) = (self.undeleted.clone(), self.is_followed);
        let ((open, believed), notices) = on_disk(move || {
            on.write(|txn| {
                let (mut states, mut open, mut believed) = (Vec::new(), HashMap::new(), HashMap::new());
                for (id, answer) in answers {
                    let known = txn.by_id(&id)?.as_ref().map(state_of);
                    let facts = facts_of(txn, &answer, known.as_ref(), &before, &undeleted, now)?;
                    match verdict(matches!(answer, Change::Gone(_)), is_followed, facts) {
                        Verdict::Applied => states.push(answer),
                        Verdict::Restored => {
                            txn.forget_echo(&id)?;
                            states.push(answer);
                        }
                        Verdict::NotFound => {
                            open.extend(known.map(|known| (id, Open::not_found(known, since))));
                        }
                        Verdict::Believed => believed.extend(undeleted.get(&id).map(|tag| (id, tag.clone()))),
                        Verdict::Nothing => {}
                    }
                }
                apply_states(txn, states, now)?;
                Ok((open, believed))
            })
        })
        .await?;
        self.open.extend(open);
        self.believed.extend(believed);
        Ok(notices)
    }

    /// The service answers, but not when it is asked for these.
    fn leave_open(&mut self, since: Mono) {
        for (id, state) in self.unanswered.drain(..) {
            tracing::info!(item = ?id, "an item in question cannot be looked up for now");
            match self.undeleted.get(&id) {
                Some(tag) => drop(self.believed.insert(id, tag.clone())),
                None => drop(self.open.insert(id, Open::not_answered(state, since))),
            }
        }
    }
}

/// What is known of items that are going to be asked for.
fn known_before(index: &Index, ids: Vec<ItemId>, now: Timestamp) -> IndexResult<HashMap<ItemId, Before>> {
    let mut known = HashMap::new();
    for id in ids {
        let state = index.by_id(&id)?.as_ref().map(state_of);
        let deleted_until = index.deleted_until(&id, now)?;
        known.insert(id, Before { state, deleted_until });
    }
    Ok(known)
}

fn facts_of(
    txn: &mut Txn<'_>,
    answer: &Change,
    known: Option<&State>,
    before: &HashMap<ItemId, Before>,
    undeleted: &HashMap<ItemId, MetaTag>,
    now: Timestamp,
) -> IndexResult<Facts> {
    let id = answer.id();
    let maybe_older = match answer {
        Change::Is(item) => txn.is_stale_echo(id, &item.meta_tag, now)? || item.kind != ItemKind::File,
        Change::Gone(_) => false,
    };
    let Before { state, deleted_until } = before.get(id).unwrap_or(&Before { state: None, deleted_until: None });
    let is_deletion_the_same = deleted_until.is_some() && txn.deleted_until(id, now)? == *deleted_until;
    Ok(Facts {
        newborn: txn.is_newborn(id, now)?,
        undeleted: undeleted.contains_key(id) && known.is_none() && is_deletion_the_same,
        maybe_older,
        // What we have deleted meanwhile the plan leaves out.
        ours_lately: known.is_some() && txn.is_ours_lately(id, now)?,
        unknown: state.is_none(),
        changed: state.as_ref() != known,
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
        let undeleted = Facts { undeleted: true, unknown: true, ..known };
        let ours = Facts { ours_lately: true, ..known };
        for (is_gone, is_followed, facts, then) in [
            (true, true, known, Verdict::Applied),
            (true, false, Facts { newborn: true, ..ours }, Verdict::NotFound),
            (true, false, undeleted, Verdict::Believed),
            (false, false, undeleted, Verdict::Restored),
            (false, false, Facts { maybe_older: true, ..undeleted }, Verdict::Believed),
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
