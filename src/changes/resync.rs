//! The whole drive, from the beginning: at first, after the cursor has expired, and once a day.
//!
//! The feed delivers a deletion once, and some never; so now and then everything that exists is listed and
//! compared. Pages are applied as they come, because they are states; what the end of the chain proves
//! (every folder is known, what was not listed may be gone) is believed only at its end. Always true:
//!
//! - the cursor is stored only with the last page;
//! - absence is not deletion: an item that was not listed is looked up by its id, and only if the service
//!   does not know it any more does it go;
//! - nothing of this touches content or local work; those that are affected hear of it as of any change.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;

use super::apply::apply_states;
use super::{Trouble, on_disk};
use crate::base::clock::{Clock, Timestamp};
use crate::base::ids::{Cursor, DriveId, ItemId};
use crate::base::secret::Secret;
use crate::index::{Index, IndexResult, Notice, Row, Txn, meta};
use crate::remote::{At, Change, ChangePage, Link, Next, Remote, RemoteError, RemoteErrorKind, Start};

/// How many items that were not listed are looked up in one go; the others wait for the next enumeration.
/// More than this is hardly ever a truth about the drive.
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
        Self { why, next: None, seen: Some(HashSet::new()), links: HashSet::new(), listed: 0 }
    }

    /// Where the first one was interrupted, if it was.
    pub(super) fn first(index: &Index) -> IndexResult<Self> {
        Ok(match index.meta(meta::ENUMERATION)? {
            None => Self::begin(Why::First),
            Some(link) => Self {
                why: Why::First,
                next: Some(Secret::new(link)),
                seen: None,
                links: HashSet::new(),
                listed: index.count()?,
            },
        })
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
                let notices = self.take_page(index.clone(), changes, &link, now).await?;
                self.next = Some(link);
                Ok(Step { notices, finished: false })
            }
            Next::Done(cursor) => {
                let notices = self.finish(remote, index, changes, cursor, now).await?;
                Ok(Step { notices, finished: true })
            }
        }
    }

    async fn take_page(
        &self,
        index: Arc<Index>,
        changes: Vec<Change>,
        link: &Link,
        now: Timestamp,
    ) -> Result<Vec<Notice>, Trouble> {
        // Only the first one is continued after a restart; the others prove something by being whole.
        let resume = (self.why == Why::First).then(|| link.expose().clone());
        let written = on_disk(move || {
            index.write(|txn| {
                apply_states(txn, changes, now)?;
                if let Some(link) = &resume {
                    txn.set_meta(meta::ENUMERATION, Some(link))?;
                }
                Ok(())
            })
        });
        Ok(written.await?.1)
    }

    async fn finish(
        &mut self,
        remote: &dyn Remote,
        index: &Arc<Index>,
        changes: Vec<Change>,
        cursor: Cursor,
        now: Timestamp,
    ) -> Result<Vec<Notice>, Trouble> {
        let (on, seen) = (index.clone(), self.seen.clone());
        let compared = seen.is_some();
        let (absent, mut notices) = on_disk(move || {
            on.write(|txn| {
                apply_states(txn, changes, now)?;
                seen.map_or_else(|| Ok(Vec::new()), |seen| absent_in(txn, on.drive(), &seen))
            })
        })
        .await?;
        let looked_up = look_up(remote, absent).await?;
        let on = index.clone();
        let ((), more) = on_disk(move || {
            on.write(|txn| {
                apply_states(txn, looked_up, now)?;
                txn.set_all_complete()?;
                txn.set_meta(meta::ENUMERATED, Some("1"))?;
                txn.set_meta(meta::ENUMERATION, None)?;
                if compared {
                    txn.set_meta(meta::RECONCILED, Some(&now.seconds().to_string()))?;
                }
                txn.set_meta(meta::CURSOR, Some(&cursor.0))
            })
        })
        .await?;
        notices.extend(more);
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
async fn look_up(remote: &dyn Remote, absent: Vec<ItemId>) -> Result<Vec<Change>, Trouble> {
    if absent.len() > LOOK_UPS {
        tracing::warn!(items = absent.len(), "very many items were not listed; comparing some of them now");
    }
    let mut found = Vec::new();
    for id in absent.into_iter().take(LOOK_UPS) {
        match remote.stat(At::Id(&id)).await {
            Ok(item) => found.push(Change::Is(item)),
            Err(error) if error.kind == RemoteErrorKind::NotFound => found.push(Change::Gone(id)),
            Err(error) if error.is_transient() => return Err(error.into()),
            // Denied, or nonsense: then it stays as it is.
            Err(error) => tracing::debug!(item = ?id, %error, "an item that was not listed cannot be looked up"),
        }
    }
    Ok(found)
}

/// Whether the last comparison is old enough for another one. A time in the future (somebody set the
/// clock) counts as old.
pub(super) fn is_due(index: &Index, now: Timestamp, every: std::time::Duration) -> IndexResult<bool> {
    let last = index.meta(meta::RECONCILED)?.and_then(|text| text.parse::<i64>().ok());
    Ok(last.is_none_or(|last| {
        let age = now.seconds() - last;
        age < 0 || age as u64 >= every.as_secs()
    }))
}

fn hash_of(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
