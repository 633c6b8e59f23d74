//! Changes, made from listings: the service has no feed.
//!
//! What was told is remembered (see `snapshot`); folders are listed again, and what differs goes into a log. A cursor is a
//! position in that log. It ends with this process: the next one does not know what was told before, calls the cursor
//! expired, and the whole drive is listed and compared with what the caller knows.
//!
//! Always true here: what was not listed is not gone. It is looked for in a second listing of the same folder, and then by
//! its id, from a service that finds the root of the drive; an error anywhere on this way ends the call, and nothing was
//! concluded.
//!
//! Listing every folder at every turn would be as many requests as there are folders. What is listed when:
//!
//! | who asks | folders |
//! | --- | --- |
//! | somebody waits, or the drive has few folders | all |
//! | the background | the root; those that say something else of themselves than before; those that somebody has looked into lately; and those that were not listed for the longest time |
//!
//! No document promises that what a folder says of itself (time, size, count) moves with what is below it, so it decides
//! only which folders come first: every folder has its turn. A comparison of the whole drive, once a day, is the caller's.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::snapshot::{Key, Snapshot};
use super::{Live, lock};
use crate::base::clock::Mono;
use crate::base::ids::{Cursor, ItemId};
use crate::base::secret::Secret;
use crate::remote::kept::{Room, Weigh};
use crate::remote::{
    Advice, At, Change, ChangePage, Item, Next, Place, RemoteError, RemoteErrorKind, RemoteResult, Start, Urgency,
    current_urgency,
};

/// A drive of at most so many folders is always listed as a whole.
const FEW: usize = 24;

/// Folders that have their turn in the background because they were not listed for the longest time.
const ROTA: usize = 16;

/// Folders per call.
const PER_PAGE: usize = 64;

/// Requests at a time.
const AT_A_TIME: usize = 4;

/// Folders that somebody has looked into, and for how long that counts.
const MOST_INTEREST: usize = 32;
const INTEREST: Duration = Duration::from_secs(900);

/// Walks under way. More callers than this at a time do not exist.
const MOST_WALKS: usize = 8;

/// A walk of the whole drive that did nothing for this long is not waited for.
const WALK_LIFE: Duration = Duration::from_secs(600);

/// What is known of the drive and who is looking at it.
pub(super) struct Followed {
    incarnation: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    snapshot: Snapshot,
    /// Folders that were listed for somebody, the latest last.
    interest: VecDeque<(ItemId, Mono)>,
    walks: HashMap<u64, Arc<tokio::sync::Mutex<Walk>>>,
    walks_begun: u64,
    /// When a walk of the whole drive last made a step; `None` when it has ended.
    whole: Option<Mono>,
}

/// A chain of pages.
struct Walk {
    kind: Kind,
    step: u64,
    queue: VecDeque<ItemId>,
    visited: HashSet<ItemId>,
    /// Items that were listed and not handed out yet, each with the epoch before its listing.
    ready: Vec<(u64, Item)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Everything there is.
    Whole,
    /// What came after a position.
    Sweep { from: u64, patient: bool },
}

/// A change of an item by ourselves, while it lasts.
pub(super) struct Busy<'a> {
    followed: &'a Followed,
    key: Option<Key>,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            lock(&self.followed.state).snapshot.end(key);
        }
    }
}

impl Followed {
    /// Nothing is known. The number is one that no other process has.
    pub(super) fn new(incarnation: u64) -> Self {
        Self { incarnation, state: Mutex::default() }
    }

    pub(super) fn note(&self, item: &Item) {
        lock(&self.state).snapshot.note(item);
    }

    pub(super) fn note_deleted(&self, item: &ItemId) {
        lock(&self.state).snapshot.forget(item, None);
    }

    pub(super) fn note_interest(&self, folder: &ItemId, now: Mono) {
        let mut state = lock(&self.state);
        state.interest.retain(|(known, _)| known != folder);
        state.interest.push_back((folder.clone(), now));
        if state.interest.len() > MOST_INTEREST {
            state.interest.pop_front();
        }
    }

    pub(super) fn busy(&self, item: &ItemId) -> Busy<'_> {
        Busy { followed: self, key: Some(lock(&self.state).snapshot.begin(item)) }
    }

    pub(super) fn busy_at(&self, place: &Place) -> Busy<'_> {
        match place {
            Place::New { .. } => Busy { followed: self, key: None },
            Place::Replace(item) => self.busy(item),
        }
    }

    fn cursor(&self, position: u64) -> Cursor {
        Cursor(format!("live1:{:x}:{position}", self.incarnation))
    }

    fn position(&self, cursor: &Cursor) -> RemoteResult<u64> {
        let ours = format!("live1:{:x}:", self.incarnation);
        let position = cursor.0.strip_prefix(&ours).and_then(|position| position.parse().ok());
        position.ok_or_else(|| expired("what was told before this program started is not known any more"))
    }

    fn begin(&self, kind: Kind, root: &ItemId, now: Mono) -> u64 {
        let mut state = lock(&self.state);
        let mut queue = VecDeque::from([root.clone()]);
        match kind {
            Kind::Whole => state.whole = Some(now),
            Kind::Sweep { patient: true, .. } if state.snapshot.folders() > FEW => {
                let lately = state.interest.iter().filter(|(_, at)| now.since(*at) < INTEREST);
                queue.extend(lately.map(|(folder, _)| folder.clone()));
                queue.extend(state.snapshot.oldest(ROTA));
            }
            Kind::Sweep { .. } => {}
        }
        state.walks_begun += 1;
        let number = state.walks_begun;
        let walk = Walk { kind, step: 0, queue, visited: HashSet::new(), ready: Vec::new() };
        state.walks.insert(number, Arc::new(tokio::sync::Mutex::new(walk)));
        while state.walks.len() > MOST_WALKS {
            let oldest = state.walks.keys().min().copied();
            oldest.and_then(|oldest| state.walks.remove(&oldest));
        }
        number
    }

    fn walk(&self, link: &str) -> RemoteResult<(u64, u64, Arc<tokio::sync::Mutex<Walk>>)> {
        let dead = || expired("this chain of pages is not known any more");
        let ours = format!("{:x}:", self.incarnation);
        let (number, step) = link.strip_prefix(&ours).and_then(|rest| rest.split_once(':')).ok_or_else(dead)?;
        let (number, step) = (number.parse().map_err(|_| dead())?, step.parse().map_err(|_| dead())?);
        let walk = lock(&self.state).walks.get(&number).cloned().ok_or_else(dead)?;
        Ok((number, step, walk))
    }
}

impl Live {
    pub(super) async fn change_page(&self, from: Start<'_>) -> RemoteResult<ChangePage> {
        let root = self.known().await?.root.clone();
        let now = self.clock.monotonic();
        let followed = &self.followed;
        let (number, step, walk) = match from {
            Start::Now => {
                let position = lock(&followed.state).snapshot.position();
                return Ok(ChangePage { changes: Vec::new(), next: Next::Done(followed.cursor(position)) });
            }
            Start::Link(link) => followed.walk(link.expose())?,
            Start::Beginning => self.begin_walk(Kind::Whole, &root, now)?,
            Start::Cursor(cursor) => {
                let from = followed.position(cursor)?;
                if lock(&followed.state).snapshot.since(from).is_none() {
                    return Err(expired("more has changed than is remembered"));
                }
                let patient = current_urgency() != Urgency::Interactive;
                self.begin_walk(Kind::Sweep { from, patient }, &root, now)?
            }
        };
        let mut walk = walk.lock().await;
        if walk.step != step {
            return Err(expired("this page was fetched before"));
        }
        if walk.kind == Kind::Whole && walk.visited.is_empty() && walk.ready.is_empty() {
            let epoch = lock(&followed.state).snapshot.epoch();
            let root = self.fetch(&root).await?;
            walk.ready.push((epoch, root));
        }
        self.go_on(&mut walk).await?;
        let mut state = lock(&followed.state);
        // A page takes as long as its folders take one after the other, and what we change meanwhile was listed as it was,
        // or on the way. To the caller it counts as not listed, and is asked for.
        let untouched = |(epoch, item): (u64, Item)| (!state.snapshot.was_touched(&item.id, epoch)).then_some(item);
        let changes = walk.ready.drain(..).filter_map(untouched).map(Change::Is).collect();
        if !walk.queue.is_empty() {
            walk.step += 1;
            if walk.kind == Kind::Whole {
                state.whole = Some(self.clock.monotonic());
            }
            let link = Secret::new(format!("{:x}:{number}:{}", followed.incarnation, walk.step));
            return Ok(ChangePage { changes, next: Next::More(link) });
        }
        state.walks.remove(&number);
        let position = state.snapshot.position();
        let next = Next::Done(followed.cursor(position));
        match walk.kind {
            Kind::Whole => {
                state.whole = None;
                Ok(ChangePage { changes, next })
            }
            Kind::Sweep { from, .. } => {
                let changes =
                    state.snapshot.since(from).ok_or_else(|| expired("more has changed than is remembered"))?;
                Ok(ChangePage { changes, next })
            }
        }
    }

    fn begin_walk(
        &self,
        kind: Kind,
        root: &ItemId,
        now: Mono,
    ) -> RemoteResult<(u64, u64, Arc<tokio::sync::Mutex<Walk>>)> {
        let number = self.followed.begin(kind, root, now);
        self.followed.walk(&format!("{:x}:{number}:0", self.followed.incarnation))
    }

    /// Lists the next folders of a walk. Whatever fails stays in the queue.
    async fn go_on(&self, walk: &mut Walk) -> RemoteResult<()> {
        let mut left = PER_PAGE;
        // A page of folders that hold very much is a shorter one.
        let mut room = Room::default();
        let mut has_room = true;
        while left > 0 && has_room && !walk.queue.is_empty() {
            let mut batch: Vec<ItemId> = Vec::new();
            let mut skip = 0;
            for folder in walk.queue.iter().take(left.min(2 * AT_A_TIME)) {
                skip += 1;
                if !walk.visited.contains(folder) && !batch.contains(folder) {
                    batch.push(folder.clone());
                }
            }
            let kind = walk.kind;
            let epoch = lock(&self.followed.state).snapshot.epoch();
            let visit = |folder: ItemId| async move { self.visit(&folder, kind).await };
            let visits: Vec<(Vec<Item>, Vec<ItemId>)> =
                stream::iter(batch.clone().into_iter().map(visit)).buffered(AT_A_TIME).try_collect().await?;
            walk.queue.drain(..skip);
            walk.visited.extend(batch);
            for (items, folders) in visits {
                if kind == Kind::Whole {
                    has_room &= room.takes(items.iter().map(Weigh::weight).sum());
                    walk.ready.extend(items.into_iter().map(|item| (epoch, item)));
                }
                walk.queue.extend(folders.into_iter().filter(|folder| !walk.visited.contains(folder)));
            }
            left = left.saturating_sub(skip);
        }
        Ok(())
    }

    /// Lists one folder and takes what has changed. Returns what it holds and which folders of it come next.
    async fn visit(&self, folder: &ItemId, kind: Kind) -> RemoteResult<(Vec<Item>, Vec<ItemId>)> {
        let whole = kind == Kind::Whole;
        let Some((mut items, mut shown)) = self.compare(folder, whole).await? else {
            return Ok((Vec::new(), Vec::new()));
        };
        if !shown.missing.is_empty() {
            // One listing proves nothing: rows are skipped when something is deleted under our hands.
            match self.compare(folder, whole).await? {
                Some((second, again)) => (items, shown) = (second, again),
                None => return Ok((Vec::new(), Vec::new())),
            }
            self.look_for(folder, std::mem::take(&mut shown.missing)).await?;
        }
        let next = {
            let mut state = lock(&self.followed.state);
            let now = self.clock.monotonic();
            let whole_under_way = state.whole.is_some_and(|at| now.since(at) < WALK_LIFE);
            let thrifty = matches!(kind, Kind::Sweep { patient: true, .. }) && state.snapshot.folders() > FEW;
            let wanted = |id: &ItemId| {
                !thrifty || state.snapshot.is_due(id) && (state.snapshot.was_listed(id) || !whole_under_way)
            };
            shown.folders.into_iter().filter(wanted).collect()
        };
        Ok((items, next))
    }

    /// Lists a folder and compares it with what was told; `None` if it is gone, which its own folder will show.
    async fn compare(&self, folder: &ItemId, whole: bool) -> RemoteResult<Option<(Vec<Item>, super::snapshot::Shown)>> {
        let epoch = lock(&self.followed.state).snapshot.epoch();
        let listed = match self.list_whole(folder).await {
            Ok(listed) => listed,
            Err(failure) if failure.kind == RemoteErrorKind::NotFound => {
                return match self.stat_surely(At::Id(folder)).await {
                    Err(failure) if failure.kind == RemoteErrorKind::NotFound => {
                        lock(&self.followed.state).snapshot.forget_unheld(folder);
                        Ok(None)
                    }
                    Err(failure) => Err(failure),
                    Ok(_) => {
                        let context = "cannot list a folder: the service shows it and does not find it";
                        Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context))
                    }
                };
            }
            // It is shown, and nothing can be learned of it. That must not hold up all the others; but without the root
            // there are no others.
            Err(failure) if failure.kind == RemoteErrorKind::NotAnId && *folder != self.known().await?.root => {
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        let mut state = lock(&self.followed.state);
        let shown = state.snapshot.take(folder, &listed.items, &listed.hints, epoch, whole);
        Ok(Some((listed.items, shown)))
    }

    /// Looks for what two listings of a folder did not show.
    async fn look_for(&self, folder: &ItemId, missing: Vec<ItemId>) -> RemoteResult<()> {
        let looks = missing.into_iter().map(|id| async move {
            match self.stat_surely(At::Id(&id)).await {
                Ok(item) => Ok((id, Some(item))),
                // Not listed any more, and no identity either: once it was garbage.
                Err(failure) if matches!(failure.kind, RemoteErrorKind::NotFound | RemoteErrorKind::NotAnId) => {
                    Ok((id, None))
                }
                Err(failure) => Err(failure),
            }
        });
        let mut looks = stream::iter(looks).buffer_unordered(AT_A_TIME);
        while let Some(look) = looks.next().await {
            let (id, found) = look?;
            let mut state = lock(&self.followed.state);
            match found {
                None => {
                    state.snapshot.forget(&id, Some(folder));
                    state.snapshot.tell(Change::Gone(id));
                }
                // It is shown again; the next listing will have it.
                Some(item) if item.parent.as_ref() == Some(folder) => {}
                Some(item) => {
                    state.snapshot.leave(&id, folder);
                    state.snapshot.note(&item);
                    state.snapshot.tell(Change::Is(item));
                }
            }
        }
        Ok(())
    }
}

fn expired(why: &str) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Expired, Advice::Resync, format!("cannot ask for changes: {why}"))
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
