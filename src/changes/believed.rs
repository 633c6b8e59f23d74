//! What we have deleted, what the feed or a listing shows all the same, and what was not found when it was asked for.
//!
//! Mostly it is gone, and what shows it is older than that. But it may have been restored elsewhere, and whoever was asked
//! was behind: then nothing says so a second time, because the feed has said it. Nothing else is held up by the question;
//! it is asked again, twice while our deletion is recent and once when it is over, and then believed.
//!
//! What is made of an answer, or of none (pure, see `verdict`):
//!
//! | our deletion | answer | done |
//! | --- | --- | --- |
//! | made again since, or known again | any | settled |
//! | recent | is, as it was shown | back |
//! | recent | is, otherwise, or gone | asked again: whoever was asked may be behind |
//! | over | is | back |
//! | over | gone | settled |
//! | any | none, and there never will be one | settled |
//! | any | none, for less than an hour | asked again |
//! | any | none, for longer | settled |
//!
//! What the feed says of such an item settles it, too, whichever it is. This is in memory only: after a restart the next
//! comparison finds what was restored.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;

use super::apply::apply_states;
use super::unfound::is_of_the_service;
use super::{Trouble, on_disk};
use crate::base::clock::{Clock, Mono, Timestamp};
use crate::base::ids::{ItemId, MetaTag};
use crate::index::{Index, Notice};
use crate::remote::{Change, Remote, look_up_all};

/// Many more are no mistakes that somebody has taken back.
const MOST: usize = 500;

/// The pauses before each question while our deletion is recent.
const PAUSES: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(40)];

/// The pause after a question that was not answered, and how long that may go on.
const UNANSWERED_PAUSE: Duration = Duration::from_secs(60);
const GIVEN_UP_AFTER: Duration = Duration::from_secs(3600);

/// The items that were not found.
#[derive(Default)]
pub(super) struct Believed {
    items: HashMap<ItemId, Entry>,
}

#[derive(Clone)]
struct Entry {
    /// The tag under which it was shown.
    shown: MetaTag,
    /// Which of our deletions it is; see [`crate::index::Txn::deleted_until`].
    deleted_until: Option<Timestamp>,
    /// How often the question was answered.
    answers: usize,
    ask_at: Mono,
    since: Mono,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deletion {
    Recent,
    Over,
    /// It is not this one any more that counts.
    Outdated,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Said {
    AsShown,
    Otherwise,
    Gone,
    Never,
    /// Nothing yet, and whether that has gone on for too long.
    Nothing {
        old: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Back,
    AskedAgain,
    Settled,
}

/// See the table at the top.
fn verdict(deletion: Deletion, said: Said) -> Verdict {
    match (deletion, said) {
        (Deletion::Outdated, _) => Verdict::Settled,
        (Deletion::Recent | Deletion::Over, Said::AsShown) | (Deletion::Over, Said::Otherwise) => Verdict::Back,
        (Deletion::Recent, Said::Otherwise | Said::Gone) => Verdict::AskedAgain,
        (Deletion::Over, Said::Gone) | (_, Said::Never) => Verdict::Settled,
        (_, Said::Nothing { old }) => {
            if old {
                Verdict::Settled
            } else {
                Verdict::AskedAgain
            }
        }
    }
}

impl Entry {
    fn deletion(&self, deleted_until: Option<Timestamp>, is_known: bool) -> Deletion {
        match deleted_until {
            _ if is_known => Deletion::Outdated,
            None => Deletion::Over,
            until if until == self.deleted_until => Deletion::Recent,
            Some(_) => Deletion::Outdated,
        }
    }

    fn is_due(&self, deletion: Deletion, now: Mono) -> bool {
        now >= self.ask_at && (deletion == Deletion::Over || self.answers < PAUSES.len())
    }

    fn asked(&mut self, was_answered: bool, now: Mono) {
        if was_answered {
            self.answers += 1;
            self.ask_at = PAUSES.get(self.answers).map_or(now, |pause| now.plus(*pause));
        } else {
            self.ask_at = now.plus(UNANSWERED_PAUSE);
        }
    }
}

impl Believed {
    /// Takes items that were shown, with the tag under which they were, and not found.
    pub(super) async fn add(
        &mut self,
        items: impl IntoIterator<Item = (ItemId, MetaTag)> + Send + 'static,
        index: &Arc<Index>,
        clock: &dyn Clock,
    ) -> Result<(), Trouble> {
        let (on, now, since) = (index.clone(), clock.now(), clock.monotonic());
        let added = on_disk(move || {
            let entry = |(id, shown): (ItemId, MetaTag)| {
                let deleted_until = on.deleted_until(&id, now)?;
                Ok((id, Entry { shown, deleted_until, answers: 0, ask_at: since.plus(PAUSES[0]), since }))
            };
            items.into_iter().take(MOST).map(entry).collect::<Result<Vec<_>, _>>()
        })
        .await?;
        for (id, entry) in added {
            if self.items.len() < MOST || self.items.contains_key(&id) {
                self.items.insert(id, entry);
            }
        }
        Ok(())
    }

    /// Hears what the feed says.
    pub(super) fn heard(&mut self, chain: &[Change]) {
        if self.items.is_empty() {
            return;
        }
        for change in chain {
            self.items.remove(change.id());
        }
    }

    /// Asks for those for which it is time.
    pub(super) async fn settle(
        &mut self,
        remote: &dyn Remote,
        index: &Arc<Index>,
        clock: &dyn Clock,
    ) -> Result<Vec<Notice>, Trouble> {
        if self.items.is_empty() {
            return Ok(Vec::new());
        }
        let (on, entries, now, at) = (index.clone(), self.items.clone(), clock.now(), clock.monotonic());
        let (outdated, due) = on_disk(move || {
            let (mut outdated, mut due) = (Vec::new(), Vec::new());
            for (id, entry) in entries {
                match entry.deletion(on.deleted_until(&id, now)?, on.by_id(&id)?.is_some()) {
                    Deletion::Outdated => outdated.push(id),
                    deletion if entry.is_due(deletion, at) => due.push(id),
                    Deletion::Recent | Deletion::Over => {}
                }
            }
            Ok((outdated, due))
        })
        .await?;
        self.items.retain(|id, _| !outdated.contains(id));
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let mut asked = Vec::new();
        {
            let mut answers = pin!(look_up_all(remote, due.iter()));
            while let Some((id, answer)) = answers.next().await {
                let Some(entry) = self.items.get_mut(&id) else { continue };
                let said = match &answer {
                    Ok(Change::Is(item)) if item.meta_tag == entry.shown => Said::AsShown,
                    Ok(Change::Is(_)) => Said::Otherwise,
                    Ok(Change::Gone(_)) => Said::Gone,
                    Err(error) if error.is_transient() || is_of_the_service(error) => {
                        Said::Nothing { old: at.since(entry.since) >= GIVEN_UP_AFTER }
                    }
                    Err(_) => Said::Never,
                };
                entry.asked(!matches!(said, Said::Nothing { .. }), at);
                let is_in_vain = answer.as_ref().is_err_and(is_of_the_service);
                asked.push((id, entry.clone(), said, answer.ok()));
                if is_in_vain {
                    break;
                }
            }
        }
        let (on, now) = (index.clone(), clock.now());
        let (settled, notices) = on_disk(move || {
            on.write(|txn| {
                let (mut settled, mut states) = (Vec::new(), Vec::new());
                for (id, entry, said, answer) in asked {
                    let deletion = entry.deletion(txn.deleted_until(&id, now)?, txn.by_id(&id)?.is_some());
                    match verdict(deletion, said) {
                        Verdict::AskedAgain => continue,
                        Verdict::Settled => {}
                        Verdict::Back => {
                            txn.forget_echo(&id)?;
                            states.extend(answer);
                        }
                    }
                    settled.push(id);
                }
                apply_states(txn, states, now)?;
                Ok(settled)
            })
        })
        .await?;
        self.items.retain(|id, _| !settled.contains(id));
        Ok(notices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_have_deleted_comes_back_only_when_nothing_older_can_have_been_shown() {
        let nothing = |old| Said::Nothing { old };
        for (deletion, said, then) in [
            (Deletion::Recent, Said::AsShown, Verdict::Back),
            (Deletion::Recent, Said::Otherwise, Verdict::AskedAgain),
            (Deletion::Recent, Said::Gone, Verdict::AskedAgain),
            (Deletion::Over, Said::AsShown, Verdict::Back),
            (Deletion::Over, Said::Otherwise, Verdict::Back),
            (Deletion::Over, Said::Gone, Verdict::Settled),
            (Deletion::Outdated, Said::AsShown, Verdict::Settled),
            (Deletion::Over, Said::Never, Verdict::Settled),
            (Deletion::Recent, Said::Never, Verdict::Settled),
            (Deletion::Over, nothing(false), Verdict::AskedAgain),
            (Deletion::Over, nothing(true), Verdict::Settled),
        ] {
            assert_eq!(verdict(deletion, said), then, "{deletion:?} {said:?}");
        }
    }
}
