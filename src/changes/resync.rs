//! The whole drive, from the beginning: at first, after the cursor has expired, and once a day.
//!
//! The feed delivers a deletion once, and some never; so now and then everything that exists is listed and
//! compared. Pages are applied as they come, because they are states; what the end of the chain proves
//! (every folder is known, what was not listed may be gone) is believed only at its end. Always true:
//!
//! - the cursor is stored only at the end, when everything before it is written;
//! - absence is not deletion: an item that was not listed is looked up by its id, and only if the service
//!   does not know it any more does it go (see `inquiry`);
//! - the end comes: an item that cannot be looked up does not keep it away (see `unfound`);
//! - while the feed is followed beside it, a page is never trusted over what is known: it may be older. It
//!   only adds, and what it contradicts is looked up by id. Where there is no feed it is trusted, but not of
//!   what we have changed or deleted ourselves a moment ago: that is looked up, too, and an answer counts only for an
//!   item that we have left alone since it was asked about;
//! - nothing of this touches content or local work; those that are affected hear of it as of any change.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::apply::{apply_page, apply_trusted};
use super::believed::Believed;
use super::inquiry::{Inquiry, Round};
use super::unfound::{Open, Unfound, note_compared};
use super::{MAX_PAGES, Trouble, on_disk};
use crate::base::clock::{Clock, Mono, Timestamp};
use crate::base::ids::{Cursor, DriveId, ItemId, MetaTag};
use crate::base::secret::Secret;
use crate::index::{Index, IndexResult, Notice, Row, Txn, meta};
use crate::remote::kept::{Trail, Weigh};
use crate::remote::{Change, ChangePage, Link, Next, Remote, RemoteError, RemoteResult, Start, URGENCY, Urgency};

/// A page is not written by itself if the next one comes soon: identities come in no order, so a transaction of one page
/// writes nearly as much of the index as one of ten.
const WRITTEN_AT_ONCE: usize = 10_000;

/// However few changes that are: so many bytes are written at once.
const WEIGHS_ENOUGH: usize = 8 << 20;

/// The most items that a drive may have; the largest have a tenth of that. Which were seen takes eight bytes each.
const MOST_ITEMS: usize = 7_000_000;

/// After this long what was fetched is written, however little it is.
const WRITTEN_AFTER: Duration = Duration::from_secs(1);

/// How long what the feed says is gone may still be listed by a replica that is behind it.
const LATELY: Duration = Duration::from_secs(300);
/// That many of those are remembered; of more it is the later ones that matter.
const MOST_LATELY: usize = 10_000;

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
    /// Items in a page that has to be trusted though they went, with the tag under which they were listed.
    undeleted: HashMap<ItemId, MetaTag>,
    /// What is still to be asked for by id, after the last page.
    inquiry: Option<Inquiry>,
    /// Links that were followed, as hashes.
    links: Trail,
    /// Items listed so far.
    pub(super) listed: u64,
    /// The page after the last one taken, if it is on its way.
    ahead: JoinSet<RemoteResult<ChangePage>>,
}

/// What a page has brought.
pub(super) struct Step {
    pub(super) notices: Vec<Notice>,
    pub(super) finished: bool,
    /// Why not all of it could be done; it may be repeated. What the notices tell of is written all the same.
    pub(super) trouble: Option<Trouble>,
}

/// What is asked for again beside the feed.
#[derive(Default)]
pub(super) struct Left {
    /// What an enumeration or a chain has left open.
    pub(super) unfound: Option<Unfound>,
    /// What we have deleted and may have been restored.
    pub(super) believed: Believed,
}

impl Left {
    /// Asks for what it is time for.
    pub(super) async fn settle(
        &mut self,
        remote: &dyn Remote,
        index: &Arc<Index>,
        clock: &dyn Clock,
    ) -> [Result<Vec<Notice>, Trouble>; 2] {
        let found = match &mut self.unfound {
            Some(unfound) => unfound.settle(remote, index, clock).await,
            None => Ok(Vec::new()),
        };
        self.unfound.take_if(|unfound| unfound.is_settled());
        [found, self.believed.settle(remote, index, clock).await]
    }
}

/// What the feed has said is gone a moment ago, as hashes.
#[derive(Default)]
pub(super) struct LatelyGone {
    items: VecDeque<(Mono, u64)>,
}

impl LatelyGone {
    pub(super) fn heard(&mut self, id: &ItemId, now: Mono) {
        if self.items.len() == MOST_LATELY {
            self.items.pop_front();
        }
        self.items.push_back((now, hash_of(id)));
    }

    fn hashes(&self, now: Mono) -> impl Iterator<Item = u64> {
        self.items.iter().filter(move |(at, _)| now.since(*at) < LATELY).map(|(_, hash)| *hash)
    }
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
            undeleted: HashMap::new(),
            inquiry: None,
            links: Trail::default(),
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

    /// Hears what the feed has said is gone before it began.
    pub(super) fn heard_before(mut self, lately: &LatelyGone, now: Mono) -> Self {
        self.went.extend(lately.hashes(now));
        self
    }

    /// Hears from the feed that an item is gone.
    pub(super) fn heard_gone(&mut self, id: &ItemId) {
        self.went.insert(hash_of(id));
    }

    /// Fetches and applies one page. After the last one it asks for what they leave open, a round at a time, settles what
    /// is complete, and puts to `left` what has to be asked for again.
    ///
    /// After an error it may be repeated.
    pub(super) async fn step(
        &mut self,
        remote: &Arc<dyn Remote>,
        index: &Arc<Index>,
        clock: &dyn Clock,
        left: &mut Left,
    ) -> Result<Step, Trouble> {
        if self.inquiry.is_some() {
            return self.inquire(&**remote, index, clock, left).await;
        }
        let page = match (self.ahead.join_next().await, &self.next) {
            (Some(Ok(Ok(page))), _) => page,
            (_, None) => remote.changes(Start::Beginning).await?,
            // None was asked for ahead of time, or it did not come: then the error is met here.
            (_, Some(link)) => remote.changes(Start::Link(link)).await?,
        };
        let ChangePage { changes, next } = page;
        if let Next::More(link) = &next
            && !self.links.is_new(link)
        {
            return Err(RemoteError::protocol("the enumeration's pages lead in a circle").into());
        }
        if self.links.length() > MAX_PAGES || self.seen.as_ref().is_some_and(|seen| seen.len() > MOST_ITEMS) {
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
                let is_little = || pages.iter().map(Weigh::weight).sum::<usize>() < WEIGHS_ENOUGH;
                if soon && pages.len() < WRITTEN_AT_ONCE && is_little() {
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
                Ok(Step { notices, finished: false, trouble: None })
            }
            Next::Done(cursor) => {
                self.fetched = pages.clone();
                let notices = self.take_page(index, pages, None, now).await?;
                self.fetched = Vec::new();
                let trouble = match self.inquiry(index, cursor).await {
                    Ok(inquiry) => {
                        self.inquiry = Some(inquiry);
                        None
                    }
                    Err(trouble) => Some(trouble),
                };
                Ok(Step { notices, finished: false, trouble })
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
        let mut undeleted = HashMap::new();
        let written = on_disk(move || {
            let applied = on.write(|txn| {
                went.extend(txn.deleted_here(now)?.iter().map(hash_of));
                let doubtful = if why == Why::Expired {
                    // There is no feed that would bring what a page has to be trusted for. What is listed though it went
                    // may have been restored, and is asked for.
                    let mut living = Vec::with_capacity(changes.len());
                    for change in changes {
                        match change {
                            Change::Is(item) if went.contains(&hash_of(&item.id)) => {
                                undeleted.insert(item.id, item.meta_tag);
                            }
                            change => living.push(change),
                        }
                    }
                    apply_trusted(txn, living, now)?
                } else {
                    apply_page(txn, changes, |id| went.contains(&hash_of(id)), now)?
                };
                if let Some(link) = &resume {
                    txn.set_meta(meta::ENUMERATION, Some(link))?;
                }
                Ok(doubtful)
            });
            Ok((applied?, went, undeleted))
        });
        let ((doubtful, notices), went, undeleted) = written.await?;
        self.went = went;
        self.undeleted.extend(undeleted);
        self.doubtful.extend(doubtful);
        Ok(notices)
    }

    /// What is to be asked for by id, once all pages were taken.
    async fn inquiry(&self, index: &Arc<Index>, cursor: Cursor) -> Result<Inquiry, Trouble> {
        let mut questions: Vec<ItemId> = self.doubtful.iter().cloned().collect();
        if let Some(seen) = self.seen.clone() {
            let on = index.clone();
            let absent = on_disk(move || on.write(|txn| absent_in(txn, on.drive(), &seen))).await?.0;
            questions.extend(absent);
        }
        Ok(Inquiry::new(cursor, questions, self.undeleted.clone(), self.why != Why::Expired))
    }

    /// Asks for a part of it, and settles what is complete once nothing is left to ask for.
    async fn inquire(
        &mut self,
        remote: &dyn Remote,
        index: &Arc<Index>,
        clock: &dyn Clock,
        left: &mut Left,
    ) -> Result<Step, Trouble> {
        let Some(inquiry) = &mut self.inquiry else {
            return Ok(Step { notices: Vec::new(), finished: false, trouble: None });
        };
        let Round { notices, is_over, mut trouble } = inquiry.round(remote, index, clock).await?;
        let mut finished = false;
        if is_over {
            // What the round has written is told of even if this fails.
            match finish(inquiry, self.why, self.seen.is_some(), index, clock, left).await {
                Ok(()) => finished = true,
                Err(failed) => trouble = Some(failed),
            }
        }
        Ok(Step { notices, finished, trouble })
    }
}

/// The end of an enumeration: everything that is known is true now, but for what stays open. `compared` says that
/// everything that was not listed was asked for.
async fn finish(
    inquiry: &Inquiry,
    why: Why,
    compared: bool,
    index: &Arc<Index>,
    clock: &dyn Clock,
    left: &mut Left,
) -> Result<(), Trouble> {
    let waits = inquiry.open.values().any(Open::holds_up) || left.unfound.as_ref().is_some_and(Unfound::holds_up);
    let (on, cursor, now) = (index.clone(), inquiry.cursor.clone(), clock.now());
    left.believed.add(inquiry.believed.clone(), index, clock).await?;
    on_disk(move || {
        on.write(|txn| {
            txn.set_all_complete()?;
            txn.set_meta(meta::ENUMERATED, Some("1"))?;
            txn.set_meta(meta::ENUMERATION, None)?;
            if compared && !waits {
                note_compared(txn, now)?;
            }
            // A comparison leaves a position that is still good. Where everything known comes from this
            // enumeration, so must the position: one that was taken before may be further on than what a lagging
            // service has listed, and what lies between would never come.
            if why != Why::Routine || on.cursor()?.is_none() {
                txn.set_meta(meta::CURSOR, Some(&cursor.0))?;
            }
            Ok(())
        })
    })
    .await?;
    Unfound::add(&mut left.unfound, inquiry.open.clone(), compared && waits, clock.monotonic());
    Ok(())
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
