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
//!   only adds, and what it contradicts is looked up by id;
//! - nothing of this touches content or local work; those that are affected hear of it as of any change.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;

use super::apply::{apply_page, apply_states};
use super::{MAX_PAGES, Trouble, on_disk};
use crate::base::clock::{Clock, Timestamp};
use crate::base::ids::{Cursor, DriveId, ItemId};
use crate::base::secret::Secret;
use crate::index::{Index, IndexResult, Notice, Row, Txn, meta};
use crate::remote::{At, Change, ChangePage, Link, Next, Remote, RemoteError, RemoteErrorKind, Start};

/// How many items that were not listed, or listed otherwise, are looked up in one go; the others wait for
/// the next enumeration. More than this is hardly ever a truth about the drive.
const LOOK_UPS: usize = 2000;

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
}

/// What a page has brought.
pub(super) struct Step {
    pub(super) notices: Vec<Notice>,
    pub(super) finished: bool,
}

impl Enumeration {
    /// From the beginning.
    pub(super) fn begin(why: Why) -> Self {
        Self {
            why,
            next: None,
            seen: Some(HashSet::new()),
            went: HashSet::new(),
            doubtful: HashSet::new(),
            links: HashSet::new(),
            listed: 0,
        }
    }

    /// Where the first one was interrupted, if it was.
    pub(super) fn first(index: &Index) -> IndexResult<Self> {
        Ok(match index.meta(meta::ENUMERATION)? {
            None => Self::begin(Why::First),
            Some(link) => {
                Self { next: Some(Secret::new(link)), seen: None, listed: index.count()?, ..Self::begin(Why::First) }
            }
        })
    }

    /// Hears from the feed that an item is gone.
    pub(super) fn heard_gone(&mut self, id: &ItemId) {
        self.went.insert(hash_of(id));
    }

    /// Fetches and applies one page; the last one also settles what is complete and what is gone.
    ///
    /// After an error it may be repeated.
    pub(super) async fn step(
        &mut self,
        remote: &dyn Remote,
        index: &Arc<Index>,
        clock: &dyn Clock,
    ) -> Result<Step, Trouble> {
        let page = match &self.next {
            None => remote.changes(Start::Beginning).await?,
            Some(link) => remote.changes(Start::Link(link)).await?,
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
        match next {
            Next::More(link) => {
                // Only the first one is continued after a restart; the others prove something by being whole.
                let resume = (self.why == Why::First).then(|| link.expose().clone());
                let notices = self.take_page(index, changes, resume, now).await?;
                self.next = Some(link);
                Ok(Step { notices, finished: false })
            }
            Next::Done(cursor) => {
                let mut notices = self.take_page(index, changes, None, now).await?;
                notices.extend(self.finish(remote, index, cursor, now).await?);
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
                    apply_states(txn, changes.into_iter().filter(living).collect(), now)?;
                    Vec::new()
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

    async fn finish(
        &mut self,
        remote: &dyn Remote,
        index: &Arc<Index>,
        cursor: Cursor,
        now: Timestamp,
    ) -> Result<Vec<Notice>, Trouble> {
        let compared = self.seen.is_some();
        let mut questions: Vec<ItemId> = self.doubtful.iter().cloned().collect();
        if let Some(seen) = self.seen.clone() {
            let on = index.clone();
            let absent = on_disk(move || on.write(|txn| absent_in(txn, on.drive(), &seen))).await?.0;
            questions.extend(absent);
        }
        let looked_up = look_up(remote, questions).await?;
        let (on, why) = (index.clone(), self.why);
        let ((), notices) = on_disk(move || {
            on.write(|txn| {
                apply_states(txn, looked_up, now)?;
                txn.set_all_complete()?;
                txn.set_meta(meta::ENUMERATED, Some("1"))?;
                txn.set_meta(meta::ENUMERATION, None)?;
                if compared {
                    txn.set_meta(meta::RECONCILED, Some(&now.seconds().to_string()))?;
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
        Ok(notices)
    }
}

/// The items of this drive that were not listed, without those below another one of them.
fn absent_in(txn: &Txn<'_>, drive: &DriveId, seen: &HashSet<u64>) -> IndexResult<Vec<ItemId>> {
    let mut absent = Vec::new();
    for id in txn.all_ids()? {
        if id.drive != *drive || seen.contains(&hash_of(&id)) {
            continue;
        }
        let parent = match txn.by_id(&id)? {
            Some(Row { parent, .. }) => txn.by_ino(parent)?,
            None => None,
        };
        // Below a folder of another drive (a shortcut) the feed of this one is silent.
        let topmost = parent.is_some_and(|parent| {
            parent.parent.0 == 0 || (parent.id.drive == *drive && seen.contains(&hash_of(&parent.id)))
        });
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
    for id in questions.into_iter().take(LOOK_UPS) {
        match ask_for(remote, &id).await {
            Ok(answer) => answers.push(answer),
            Err(error) if error.is_transient() => return Err(error.into()),
            // Denied, or nonsense: then it stays as it is.
            Err(error) => tracing::debug!(item = ?id, %error, "an item in question cannot be looked up"),
        }
    }
    Ok(answers)
}

/// What the service knows of an item when asked for it by id.
pub(super) async fn ask_for(remote: &dyn Remote, id: &ItemId) -> Result<Change, RemoteError> {
    match remote.stat(At::Id(id)).await {
        Ok(item) => Ok(Change::Is(item)),
        Err(error) if error.kind == RemoteErrorKind::NotFound => Ok(Change::Gone(id.clone())),
        Err(error) => Err(error),
    }
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
