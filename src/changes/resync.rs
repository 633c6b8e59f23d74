//! The whole drive, from the beginning: at first, after the cursor has expired, and once a day.
//!
//! The feed delivers a deletion once, and some never; so now and then everything that exists is listed and
//! compared. Pages are applied as they come, because they are states; what the end of the chain proves
//! (every folder is known, what was not listed may be gone) is believed only at its end. Always true:
//!
//! - the cursor is stored only with the last page;
//! - absence is not deletion: an item that was not listed is looked up by its id, and only if the service
//!   does not know it any more does it go;
//! - while the feed is followed beside it, a page is never trusted over what is known: it may be older. It
//!   only adds, and what it contradicts is looked up by id. Where there is no feed it is trusted, but not of
//!   what we have changed ourselves a moment ago: that is looked up, too, and an answer counts only for an item that
//!   we have left alone since it was asked about;
//! - nothing of this touches content or local work; those that are affected hear of it as of any change.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::task::JoinSet;

use super::apply::{State, apply_page, apply_states, apply_trusted, state_of};
use super::{MAX_PAGES, Trouble, on_disk};
use crate::base::clock::{Clock, Mono, Timestamp};
use crate::base::ids::{Cursor, DriveId, ItemId};
use crate::base::secret::Secret;
use crate::index::{Index, IndexResult, Notice, Row, Txn, meta};
use crate::remote::{
    Change, ChangePage, Link, Next, Remote, RemoteError, RemoteResult, Start, URGENCY, Urgency, look_up_all,
};

/// How many items that were not listed, or listed otherwise, are looked up in one go; the others wait for
/// the next enumeration. More than this is hardly ever a truth about the drive.
const LOOK_UPS: usize = 2000;

/// A page is not written by itself if the next one comes soon: identities come in no order, so a transaction of one page
/// writes nearly as much of the index as one of ten.
const WRITTEN_AT_ONCE: usize = 10_000;

/// After this long what was fetched is written, however little it is.
const WRITTEN_AFTER: Duration = Duration::from_secs(1);

/// How long to wait before what was not found is asked for again.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why the drive is enumerated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// It never was.
    First,
    /// The cursor has expired: until the end there is no other source of changes.
    Expired,
    /// It is time to compare.
    Routine,
}

/// An enumeration under way.
pub(super) struct Enumeration {
    pub(super) why: Why,
    /// The next page; `None` before the first one.
    next: Option<Link>,
    /// Pages that were fetched and are not written yet, and when the last one before them was written.
    fetched: Vec<Change>,
    written: Option<Mono>,
    /// What was listed, as hashes (a million identities would be a hundred megabytes; that two of them
    /// meet among 2^64 does not happen). `None` if pages before a restart are not known any more: then
    /// nothing can be called absent.
    seen: Option<HashSet<u64>>,
    /// What went while it ran, as hashes: a page that still lists it is older than that.
    went: HashSet<u64>,
    /// Known items that were listed otherwise than they are known.
    doubtful: HashSet<ItemId>,
    /// Links that were followed, as hashes.
    links: HashSet<u64>,
    /// Items listed so far.
    pub(super) listed: u64,
    /// The page after the last one taken, if it is on its way.
    ahead: JoinSet<RemoteResult<ChangePage>>,
}

/// What a page has brought.
pub(super) struct Step {
    pub(super) notices: Vec<Notice>,
    pub(super) finished: bool,
}

/// Items that were neither listed nor found, each as it was known then, and that we have made so recently that they may
/// only not be shown yet.
///
/// The feed may have said that they are gone before the position that it is read from, or say it never, so they are asked
/// for again, until they are found or not so young any more. Until then a comparison that ends does not count as made:
/// after a restart in between there is another one.
pub(super) struct Unfound {
    items: HashMap<ItemId, State>,
    compared: bool,
    pause: Duration,
    ask_at: Mono,
}

impl Unfound {
    /// Puts these to those that are open already; `compared` says that a comparison waits for them.
    fn add(open: &mut Option<Self>, items: HashMap<ItemId, State>, compared: bool, now: Mono) {
        let pause = FIRST_PAUSE;
        match open {
            None if items.is_empty() => {}
            None => *open = Some(Self { items, compared, pause, ask_at: now.plus(pause) }),
            Some(open) => {
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
        let (on, now) = (index.clone(), clock.now());
        let young = on_disk(move || {
            let mut young = HashMap::new();
            for id in ids {
                if on.is_newborn(&id, now)? {
                    young.extend(on.by_id(&id)?.map(|row| (id, state_of(&row))));
                }
            }
            Ok(young)
        })
        .await?;
        chain.retain(|change| !matches!(change, Change::Gone(id) if young.contains_key(id)));
        Self::add(open, young, false, clock.monotonic());
        Ok(())
    }

    /// Whether none is left.
    pub(super) fn is_settled(&self) -> bool {
        self.items.is_empty()
    }

    /// Asks for them, if it is time. An item that cannot be looked up is asked for again as long as it is young or that may
    /// pass; then it stays as it is.
    pub(super) async fn settle(
        &mut self,
        remote: &dyn Remote,
        index: &Arc<Index>,
        clock: &dyn Clock,
    ) -> Result<Vec<Notice>, Trouble> {
        if clock.monotonic() < self.ask_at {
            return Ok(Vec::new());
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.ask_at = clock.monotonic().plus(self.pause);
        let (mut answers, mut refused) = (HashMap::new(), HashSet::new());
        {
            let mut asked = pin!(look_up_all(remote, self.items.keys()));
            while let Some((id, answer)) = asked.next().await {
                match answer {
                    Ok(answer) => drop(answers.insert(id, answer)),
                    Err(error) => {
                        tracing::debug!(item = ?id, %error, "an item in question cannot be looked up");
                        if !error.is_transient() {
                            refused.insert(id);
                        }
                    }
                }
            }
        }
        let (on, open, compared, now) = (index.clone(), self.items.clone(), self.compared, clock.now());
        let (left, notices) = on_disk(move || {
            on.write(|txn| {
                let (mut left, mut gone) = (HashMap::new(), Vec::new());
                for (id, before) in open {
                    let changed = txn.by_id(&id)?.as_ref().map(state_of).as_ref() != Some(&before);
                    match answers.remove(&id) {
                        // Found, by us or by what the feed said.
                        _ if changed => {}
                        Some(Change::Is(_)) => {}
                        _ if txn.is_newborn(&id, now)? => drop(left.insert(id, before)),
                        Some(answer) => gone.push(answer),
                        None if refused.contains(&id) => {}
                        None => drop(left.insert(id, before)),
                    }
                }
                apply_states(txn, gone, now)?;
                if compared && left.is_empty() {
                    note_compared(txn, now)?;
                }
                Ok(left)
            })
        })
        .await?;
        self.items = left;
        Ok(notices)
    }
}

fn note_compared(txn: &mut Txn<'_>, now: Timestamp) -> IndexResult<()> {
    txn.set_meta(meta::RECONCILED, Some(&now.seconds().to_string()))
}

impl Enumeration {
    /// From the beginning.
    pub(super) fn begin(why: Why) -> Self {
        Self {
            why,
            next: None,
            fetched: Vec::new(),
            written: None,
            seen: Some(HashSet::new()),
            went: HashSet::new(),
            doubtful: HashSet::new(),
            links: HashSet::new(),
            listed: 0,
            ahead: JoinSet::new(),
        }
    }

    /// Where the first one was interrupted, if it was.
    pub(super) fn first(index: &Index) -> IndexResult<Self> {
        Ok(match index.meta(meta::ENUMERATION)? {
            None => Self::begin(Why::First),
            Some(link) => {
                Self { next: Some(Secret::new(link)), seen: None, listed: index.count(), ..Self::begin(Why::First) }
            }
        })
    }

    /// Hears from the feed that an item is gone.
    pub(super) fn heard_gone(&mut self, id: &ItemId) {
        self.went.insert(hash_of(id));
    }

    /// Fetches and applies one page; the last one also settles what is complete and what is gone, and puts to `open` what
    /// has to be asked for again.
    ///
    /// After an error it may be repeated.
    pub(super) async fn step(
        &mut self,
        remote: &Arc<dyn Remote>,
        index: &Arc<Index>,
        clock: &dyn Clock,
        open: &mut Option<Unfound>,
    ) -> Result<Step, Trouble> {
        let page = match (self.ahead.join_next().await, &self.next) {
            (Some(Ok(Ok(page))), _) => page,
            (_, None) => remote.changes(Start::Beginning).await?,
            // None was asked for ahead of time, or it did not come: then the error is met here.
            (_, Some(link)) => remote.changes(Start::Link(link)).await?,
        };
        let ChangePage { changes, next } = page;
        if let Next::More(link) = &next
            && !self.links.insert(hash_of(link.expose()))
        {
            return Err(RemoteError::protocol("the enumeration's pages lead in a circle").into());
        }
        if self.links.len() > MAX_PAGES {
            return Err(RemoteError::protocol("the enumeration has no end").into());
        }
        for change in &changes {
            match (change, &mut self.seen) {
                (Change::Is(item), Some(seen)) => {
                    seen.insert(hash_of(&item.id));
                }
                (Change::Gone(id), Some(seen)) => {
                    seen.remove(&hash_of(id));
                }
                (_, None) => {}
            }
        }
        self.listed += changes.len() as u64;
        let now = clock.now();
        let mut pages = std::mem::take(&mut self.fetched);
        pages.extend(changes);
        match next {
            Next::More(link) => {
                // The next page is on its way while this one is written. That is no harm where pages override nothing
                // that is known; where they do, a page has to be younger than what the feed brought before it.
                let mut ahead = JoinSet::new();
                if self.why != Why::Expired {
                    let (remote, link) = (remote.clone(), link.clone());
                    let page = async move { remote.changes(Start::Link(&link)).await };
                    ahead.spawn(URGENCY.scope(Urgency::Background, page));
                }
                let soon = self.written.is_some_and(|at| clock.monotonic().since(at) < WRITTEN_AFTER);
                let mut notices = Vec::new();
                if soon && pages.len() < WRITTEN_AT_ONCE {
                    self.fetched = pages;
                } else {
                    // Only the first one is continued after a restart; the others prove something by being whole.
                    let resume = (self.why == Why::First).then(|| link.expose().clone());
                    self.fetched = pages.clone();
                    notices = self.take_page(index, pages, resume, now).await?;
                    self.fetched = Vec::new();
                    self.written = Some(clock.monotonic());
                }
                self.ahead = ahead;
                self.next = Some(link);
                Ok(Step { notices, finished: false })
            }
            Next::Done(cursor) => {
                self.fetched = pages.clone();
                let mut notices = self.take_page(index, pages, None, now).await?;
                self.fetched = Vec::new();
                let (more, unfound) = self.finish(&**remote, index, cursor, now, open.is_some()).await?;
                notices.extend(more);
                Unfound::add(open, unfound, self.seen.is_some(), clock.monotonic());
                Ok(Step { notices, finished: true })
            }
        }
    }

    async fn take_page(
        &mut self,
        index: &Arc<Index>,
        changes: Vec<Change>,
        resume: Option<String>,
        now: Timestamp,
    ) -> Result<Vec<Notice>, Trouble> {
        let (on, why, mut went) = (index.clone(), self.why, self.went.clone());
        let written = on_disk(move || {
            let applied = on.write(|txn| {
                went.extend(txn.deleted_here(now)?.iter().map(hash_of));
                let doubtful = if why == Why::Expired {
                    // There is no feed that would bring what a page has to be trusted for.
                    let living = |change: &Change| match change {
                        Change::Is(item) => !went.contains(&hash_of(&item.id)),
                        Change::Gone(_) => true,
                    };
                    apply_trusted(txn, changes.into_iter().filter(living).collect(), now)?
                } else {
                    apply_page(txn, changes, |id| went.contains(&hash_of(id)), now)?
                };
                if let Some(link) = &resume {
                    txn.set_meta(meta::ENUMERATION, Some(link))?;
                }
                Ok(doubtful)
            });
            Ok((applied?, went))
        });
        let ((doubtful, notices), went) = written.await?;
        self.went = went;
        self.doubtful.extend(doubtful);
        Ok(notices)
    }

    /// Returns also what was not found and may only not be shown yet.
    async fn finish(
        &mut self,
        remote: &dyn Remote,
        index: &Arc<Index>,
        cursor: Cursor,
        now: Timestamp,
        some_open: bool,
    ) -> Result<(Vec<Notice>, HashMap<ItemId, State>), Trouble> {
        let compared = self.seen.is_some();
        let mut questions: Vec<ItemId> = self.doubtful.iter().cloned().collect();
        if let Some(seen) = self.seen.clone() {
            let on = index.clone();
            let absent = on_disk(move || on.write(|txn| absent_in(txn, on.drive(), &seen))).await?.0;
            questions.extend(absent);
        }
        let (on, asked) = (index.clone(), questions.clone());
        let before = on_disk(move || states_of(&on, &asked)).await?;
        let mut looked_up = look_up(remote, questions).await?;
        let (on, why) = (index.clone(), self.why);
        let (unfound, notices) = on_disk(move || {
            on.write(|txn| {
                // What we made or changed a moment ago may not be shown yet, or as it was before. The feed brings what
                // others have made of it; without one the answer has to do, unless we have changed it again since.
                let mut recent = HashSet::new();
                let mut unfound = HashMap::new();
                for change in &looked_up {
                    match change {
                        Change::Gone(id) if txn.is_newborn(id, now)? => {
                            unfound.extend(txn.by_id(id)?.map(|row| (id.clone(), state_of(&row))));
                            recent.insert(id.clone())
                        }
                        Change::Is(item) if txn.is_ours_lately(&item.id, now)? => match txn.by_id(&item.id)? {
                            Some(row) if why != Why::Expired || before.get(&item.id) != Some(&state_of(&row)) => {
                                recent.insert(item.id.clone())
                            }
                            _ => false,
                        },
                        _ => false,
                    };
                }
                looked_up.retain(|change| match change {
                    Change::Gone(id) => !recent.contains(id),
                    Change::Is(item) => !recent.contains(&item.id),
                });
                apply_states(txn, looked_up, now)?;
                txn.set_all_complete()?;
                txn.set_meta(meta::ENUMERATED, Some("1"))?;
                txn.set_meta(meta::ENUMERATION, None)?;
                if compared && unfound.is_empty() && !some_open {
                    note_compared(txn, now)?;
                }
                // A comparison leaves a position that is still good. Where everything known comes from this
                // enumeration, so must the position: one that was taken before may be further on than what a lagging
                // service has listed, and what lies between would never come.
                if why != Why::Routine || on.cursor()?.is_none() {
                    txn.set_meta(meta::CURSOR, Some(&cursor.0))?;
                }
                Ok(unfound)
            })
        })
        .await?;
        Ok((notices, unfound))
    }
}

/// What is known of items that are going to be asked for.
fn states_of(index: &Index, ids: &[ItemId]) -> IndexResult<HashMap<ItemId, State>> {
    let mut states = HashMap::new();
    for id in ids.iter().take(LOOK_UPS) {
        states.extend(index.by_id(id)?.map(|row| (id.clone(), state_of(&row))));
    }
    Ok(states)
}

/// The items of this drive that were not listed, without those below another one of them.
fn absent_in(txn: &Txn<'_>, drive: &DriveId, seen: &HashSet<u64>) -> IndexResult<Vec<ItemId>> {
    let mut absent = Vec::new();
    for id in txn.ids_where(|id| id.drive == *drive && !seen.contains(&hash_of(id)))? {
        // Below a folder of another drive (a shortcut) the feed of this one is silent.
        let topmost = match txn.by_id(&id)? {
            Some(Row { parent, .. }) => txn.by_ino(parent)?.is_some_and(|parent| {
                parent.parent.0 == 0 || (parent.id.drive == *drive && seen.contains(&hash_of(&parent.id)))
            }),
            // Another has taken its name.
            None => true,
        };
        if topmost {
            absent.push(id);
        }
    }
    Ok(absent)
}

/// Asks for each of them by id.
async fn look_up(remote: &dyn Remote, questions: Vec<ItemId>) -> Result<Vec<Change>, Trouble> {
    if questions.len() > LOOK_UPS {
        tracing::warn!(items = questions.len(), "the drive and the index differ a lot; comparing a part of it now");
    }
    let mut answers = Vec::new();
    let questions = &questions[..questions.len().min(LOOK_UPS)];
    let mut asked = pin!(look_up_all(remote, questions.iter()));
    while let Some((id, answer)) = asked.next().await {
        match answer {
            Ok(answer) => answers.push(answer),
            Err(error) if error.is_transient() => return Err(error.into()),
            // Denied, or nonsense: then it stays as it is.
            Err(error) => tracing::debug!(item = ?id, %error, "an item in question cannot be looked up"),
        }
    }
    Ok(answers)
}

/// Whether the last comparison is old enough for another one. A time in the future (somebody set the
/// clock) counts as old.
pub(super) fn is_due(index: &Index, now: Timestamp, every: std::time::Duration) -> IndexResult<bool> {
    let last = index.meta(meta::RECONCILED)?.and_then(|text| text.parse::<i64>().ok());
    Ok(last.is_none_or(|last| {
        let age = now.seconds().saturating_sub(last);
        age < 0 || age as u64 >= every.as_secs()
    }))
}

fn hash_of(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
