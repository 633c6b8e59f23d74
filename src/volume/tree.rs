//! The tree as a user sees it: the index overlaid with the journal.
//!
//! Between a look at the one and a look at the other an intent may be acknowledged and go, and then the two together
//! say what was true at no moment: a name that was always there is missing, or there twice. So they are looked at within
//! one [`Moment`] of the journal; see [`Volume::merged`] for how that is done without making anybody wait.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt as _;

use super::handles::Orphan;
use super::turns::Part;
use super::{NodeKind, Volume, VolumeError, VolumeResult, locked};
use crate::base::clock::Timestamp;
use crate::base::ids::{ContentTag, Ino, ItemId};
use crate::base::name::{fold, is_plain, map, to_local};
use crate::index::Row;
use crate::journal::intent::Base;
use crate::journal::{Draft, Intent, Kind, Known, Moment, OpenedOn, Saw, Subject};
use crate::remote::{Change, ChangeSource, Item, ItemKind, URGENCY, Urgency, list_all, look_up_all};

/// A node of the tree.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub ino: Ino,
    pub parent: Ino,
    /// In the spelling of the service.
    pub name: String,
    pub kind: NodeKind,
    pub size: u64,
    pub modified: Timestamp,
    pub changed: Timestamp,
    pub created: Timestamp,
    pub links: u32,
    /// Shown, but not to be entered.
    pub closed: bool,
    /// What it is in the cloud.
    pub item: Option<ItemId>,
    /// The version of its bytes in the cloud, if that is what a reader sees.
    pub version: Option<(ItemId, ContentTag, u64)>,
    /// Its row, if it has no intent.
    pub row: Option<Box<Row>>,
    /// Whether every child is known.
    pub complete: bool,
    /// It belongs to another drive (a shortcut, or something below one).
    pub foreign: bool,
    /// Seen through a handle that was opened on this version, which is not the one that the file has now.
    pub opened_on: Option<OpenedOn>,
}

/// An intent with the draft that it has at the same moment: one that is acknowledged loses it.
struct Placed {
    intent: Intent,
    draft: Option<Arc<Draft>>,
}

impl Placed {
    fn of(now: &Moment<'_>, intent: &Intent) -> Self {
        let draft = intent.drafting.or(intent.sealed).and_then(|id| now.draft(id)).cloned();
        Self { intent: intent.clone(), draft }
    }
}

impl Seen {
    /// What tells its version in the cloud from others.
    pub fn tells_version(&self) -> Option<OpenedOn> {
        let (row, (_, content_tag, size)) = (self.row.as_ref()?, self.version.clone()?);
        Some(OpenedOn { meta_tag: row.meta_tag.clone(), content_tag, size, modified: row.modified })
    }

    pub fn folder(self) -> VolumeResult<Self> {
        if self.kind == NodeKind::Folder { Ok(self) } else { Err(VolumeError::NotAFolder) }
    }

    pub fn file(self) -> VolumeResult<Self> {
        if self.kind == NodeKind::File { Ok(self) } else { Err(VolumeError::IsAFolder) }
    }
}

impl Volume {
    /// The node of an inode; what is gone, as those see it who still have it open.
    pub(super) fn see(&self, ino: Ino) -> VolumeResult<Seen> {
        // The index knows all that had no intent at a moment before it was asked.
        match self.journal.at_once(|now| now.overlay().get(ino).map(|intent| Placed::of(now, intent))) {
            Some(placed) if placed.intent.is_live() => return Ok(self.seen_intent(placed)),
            Some(_) => {}
            None => {
                if let Some(row) = self.index.by_ino(ino)? {
                    return Ok(self.seen_row(row));
                }
            }
        }
        if let Some(Orphan { seen, draft, .. }) = locked(&self.open).orphan(ino) {
            let mut seen = seen.clone();
            if let Some(draft) = draft {
                seen.size = draft.size();
                seen.modified = draft.modified();
                seen.version = None;
            }
            return Ok(seen);
        }
        self.see_gone(ino)
    }

    fn seen_intent(&self, Placed { intent, draft }: Placed) -> Seen {
        let base = intent.base.as_ref();
        let mut seen = Seen {
            ino: intent.ino,
            parent: intent.parent,
            name: intent.name,
            kind: match intent.kind {
                Kind::File => NodeKind::File,
                Kind::Folder => NodeKind::Folder,
            },
            size: base.map_or(0, |base| base.size),
            modified: intent.modified,
            changed: intent.changed,
            created: intent.created,
            links: 1,
            closed: false,
            item: intent.item.clone(),
            version: None,
            row: None,
            complete: intent.item.is_none(),
            foreign: false,
            opened_on: None,
        };
        match draft {
            Some(draft) => {
                seen.size = draft.size();
                if intent.drafting.is_some() {
                    seen.modified = draft.modified();
                    seen.changed = seen.changed.max(draft.modified());
                }
            }
            None => {
                seen.version = base.and_then(|base| Some((intent.item.clone()?, base.content_tag.clone()?, base.size)));
                self.correct_size(&mut seen);
            }
        }
        if intent.kind == Kind::Folder && intent.item.is_some() {
            seen.complete = self.index.by_ino(intent.ino).ok().flatten().is_some_and(|row| row.complete);
        }
        seen
    }

    pub(super) fn seen_row(&self, row: Row) -> Seen {
        let foreign = row.link_to.is_some() || row.id.drive != *self.index.drive();
        let kind = if row.kind == ItemKind::File { NodeKind::File } else { NodeKind::Folder };
        let mut seen = Seen {
            ino: row.ino,
            parent: row.parent,
            kind,
            size: if kind == NodeKind::File { row.size } else { 0 },
            modified: row.modified,
            changed: row.changed,
            created: row.created,
            links: 1,
            closed: row.kind == ItemKind::Closed,
            item: Some(row.id.clone()),
            version: row.content_tag.clone().map(|tag| (row.id.clone(), tag, row.size)),
            complete: row.complete,
            foreign,
            opened_on: None,
            name: row.name.clone(),
            row: Some(Box::new(row)),
        };
        self.correct_size(&mut seen);
        seen
    }

    /// Puts the size that the bytes really have in place of the one the service reports.
    fn correct_size(&self, seen: &mut Seen) {
        if let Some((item, tag, size)) = &mut seen.version
            && let Some(real) = self.real_size(item, tag)
        {
            *size = real;
            seen.size = real;
        }
    }

    /// What a mutation of this node works on.
    pub(super) fn subject(&self, seen: &Seen) -> Subject {
        let known = seen.row.as_ref().and_then(|row| {
            Some(Known {
                item: row.id.clone(),
                base: Base {
                    parent: self.journal.resolve(row.parent)?,
                    name: row.name.clone(),
                    meta_tag: row.meta_tag.clone(),
                    content_tag: row.content_tag.clone(),
                    size: row.size,
                    modified: row.modified,
                    created: row.created,
                },
                kind: if seen.kind == NodeKind::File { Kind::File } else { Kind::Folder },
                parent: row.parent,
                modified: row.modified,
            })
        });
        let real_size = seen.version.as_ref().map(|(_, tag, size)| (tag.clone(), *size));
        let saw = Some(seen.version.as_ref().map_or(Saw::Edit, |(_, tag, _)| Saw::Version(tag.clone())));
        Subject { ino: seen.ino, known, real_size, opened_on: seen.opened_on.clone(), saw }
    }

    /// Reads the index, and lays what was read under the journal's intents, so that both are of one moment.
    ///
    /// The reading is done with nothing locked. It stands if the index is the same when the journal is: whatever is
    /// acknowledged changes it. While it changes all the time it is read with the journal locked, which holds up those
    /// who acknowledge for as long as a look takes.
    fn merged<R, T>(&self, read: impl Fn() -> VolumeResult<R>, merge: impl Fn(&Moment<'_>, R) -> T) -> VolumeResult<T> {
        const TURNS: usize = 3;
        for _ in 0..TURNS {
            let before = self.index.generation();
            let found = read()?;
            let stands = |now: &Moment<'_>| (self.index.generation() == before).then(|| merge(now, found));
            if let Some(merged) = self.journal.at_once(stands) {
                return Ok(merged);
            }
        }
        self.journal.at_once(|now| Ok(merge(now, read()?)))
    }

    /// The child of a folder, its name compared without case; the folder must be listed.
    pub(super) fn child(&self, parent: Ino, name: &str) -> VolumeResult<Option<Seen>> {
        let placed = |now: &Moment<'_>| now.overlay().at(parent, name).map(|intent| Placed::of(now, intent));
        // What has an intent needs no look at the index.
        if let Some(placed) = self.journal.at_once(placed) {
            return Ok(Some(self.seen_intent(placed)));
        }
        let read = || Ok([self.index.child(parent, name)?, self.unmapped_child(parent, name)?]);
        let (placed, row) = self.merged(read, |now, rows| match placed(now) {
            Some(placed) => (Some(placed), None),
            None => (None, rows.into_iter().flatten().find(|row| !is_covered(now, row))),
        })?;
        Ok(placed.map(|placed| self.seen_intent(placed)).or_else(|| row.map(|row| self.seen_row(row))))
    }

    /// The child that another program stored under a name that we would have mapped: `~x` from a system where that is
    /// no special name. It is shown as the mapped one would be, so it must be found by it too.
    fn unmapped_child(&self, parent: Ino, name: &str) -> VolumeResult<Option<Row>> {
        if is_plain(name) {
            return Ok(None);
        }
        let plain = to_local(name);
        if plain == name {
            return Ok(None);
        }
        let row = self.index.child(parent, &plain)?;
        Ok(row.filter(|row| row.name == plain && is_unmapped(row)))
    }

    /// Whether an intent says where this item is, so that the row does not.
    pub(super) fn is_covered(&self, row: &Row) -> bool {
        self.journal.at_once(|now| is_covered(now, row))
    }

    /// The children of a folder that is listed.
    pub(super) fn children(&self, parent: Ino) -> VolumeResult<Vec<Seen>> {
        let read = || Ok(self.index.children(parent)?);
        let (placed, rows) = self.merged(read, |now, mut rows| {
            let placed: Vec<Placed> = now.overlay().placed_in(parent).map(|intent| Placed::of(now, intent)).collect();
            if !now.overlay().is_empty() {
                let folder = now.resolve(parent);
                rows.retain(|row| !now.overlay().covers(folder.as_ref(), row));
            }
            let rows = without_twins(rows, &placed);
            (placed, rows)
        })?;
        let placed = placed.into_iter().map(|placed| self.seen_intent(placed));
        Ok(placed.chain(rows.into_iter().map(|row| self.seen_row(row))).collect())
    }

    /// Whether a folder that is listed has anything in it.
    pub(super) fn is_empty(&self, folder: Ino) -> VolumeResult<bool> {
        if self.journal.view(|overlay| overlay.has_any_in(folder)) {
            return Ok(false);
        }
        Ok(!self.index.has_children(folder)? || self.children(folder)?.is_empty())
    }

    /// Makes sure that every child of a folder is known: at once if it is, with one listing if not.
    pub(super) async fn ensure_listed(&self, ino: Ino) -> VolumeResult<()> {
        if self.is_listed(ino)? {
            return Ok(());
        }
        match self.list_once(ino).await {
            // An older listing of a folder elsewhere is better than none.
            Err(VolumeError::Offline | VolumeError::TimedOut) if locked(&self.listed).contains_key(&ino) => Ok(()),
            other => other,
        }
    }

    /// Lists a folder, or waits for somebody who is at it; see `turns`. Neither takes longer than the patience of a
    /// reader.
    async fn list_once(&self, ino: Ino) -> VolumeResult<()> {
        let mut limit = pin!(self.clock.sleep(self.settings.patience));
        let mut waited = false;
        loop {
            match self.turns.part(ino) {
                Part::Ask(turn) => {
                    // Somebody may have ended his turn just now.
                    if self.is_listed(ino)? {
                        return Ok(());
                    }
                    let work = URGENCY.scope(Urgency::Interactive, self.list_folder(ino));
                    let listed = tokio::select! {
                        listed = work => listed,
                        () = &mut limit => Err(VolumeError::TimedOut),
                    };
                    if !(waited && matches!(listed, Err(VolumeError::TimedOut))) {
                        turn.share(listed.clone());
                    }
                    return listed;
                }
                Part::Wait(waiting) => tokio::select! {
                    outcome = waiting.outcome() => if let Some(listed) = outcome {
                        return listed;
                    },
                    () = &mut limit => return Err(VolumeError::TimedOut),
                },
            }
            waited = true;
        }
    }

    /// Whether a folder can be listed without the network.
    pub fn knows_listing(&self, ino: Ino) -> bool {
        self.is_listed(ino).unwrap_or(true)
    }

    fn is_listed(&self, ino: Ino) -> VolumeResult<bool> {
        if let Some(intent) = self.journal.get(ino)
            && intent.item.is_none()
        {
            return Ok(true);
        }
        let Some(row) = self.index.by_ino(ino)? else {
            // An intent may know its item before the index does; there is nothing to list it under yet.
            return Ok(self.journal.get(ino).is_some());
        };
        if row.kind != ItemKind::Folder {
            return Ok(true);
        }
        if row.link_to.is_some() || row.id.drive != *self.index.drive() {
            let now = self.clock.monotonic();
            return Ok(locked(&self.listed).get(&ino).is_some_and(|at| now.since(*at) < self.settings.listing_age));
        }
        Ok(row.complete)
    }

    async fn list_folder(&self, ino: Ino) -> VolumeResult<()> {
        let Some(row) = self.index.by_ino(ino)? else { return Err(VolumeError::NotFound) };
        let folder = row.link_to.clone().unwrap_or_else(|| row.id.clone());
        for last in [false, false, true] {
            let watch = self.index.watch(ino);
            let mut items = list_all(&*self.remote, &folder).await?;
            for item in &mut items {
                // Below a shortcut the service names the folder elsewhere; here they are below the shortcut.
                item.parent = Some(row.id.clone());
            }
            let absent = self.look_for_absent(&row, &folder, &items).await?;
            let (complete, notices) = self.index.write(|txn| {
                // A listing taken while something else changed the folder may be older than what is known of it.
                let current = watch.is_quiet();
                if !current && !last {
                    return Ok(false);
                }
                let now = self.clock.now();
                for change in absent.iter().filter(|_| current) {
                    match change {
                        // What we made a moment ago may be missing in a listing.
                        Change::Gone(id) if !txn.is_newborn(id, now)? => txn.remove(id)?,
                        Change::Is(item) if !txn.is_ours_lately(&item.id, now)? => drop(txn.upsert(item)?),
                        Change::Gone(_) | Change::Is(_) => {}
                    }
                }
                let deleted = txn.deleted_here(now)?;
                for item in &items {
                    // What we changed a moment ago may be listed as it was before; what others do, the feed brings.
                    if !txn.is_ours_lately(&item.id, now)?
                        || (txn.by_id(&item.id)?.is_none() && !deleted.contains(&item.id))
                    {
                        txn.upsert(item)?;
                    }
                }
                txn.set_complete(ino, true)?;
                Ok(true)
            })?;
            self.tell(notices);
            if complete {
                locked(&self.listed).insert(ino, self.clock.monotonic());
                return Ok(());
            }
        }
        Ok(())
    }

    /// What became of the children that were known of a folder and are not in its listing. Absence is not deletion: one
    /// that has moved takes along what is known below it. What cannot be told stays as it is.
    async fn look_for_absent(&self, row: &Row, folder: &ItemId, items: &[Item]) -> VolumeResult<Vec<Change>> {
        /// Somebody waits. The feed brings the others.
        const ASKED: usize = 32;
        // A service without a feed of changes may leave a row out; whoever compares its listings finds out.
        if self.remote.caps().changes != ChangeSource::Native {
            return Ok(Vec::new());
        }
        let (listed, now): (HashSet<&ItemId>, _) = (items.iter().map(|item| &item.id).collect(), self.clock.now());
        let mut absent = Vec::new();
        for known in self.index.children(row.ino)?.into_iter().filter(|known| !listed.contains(&known.id)) {
            if !self.index.is_newborn(&known.id, now)? {
                absent.push((known.kind == ItemKind::File, known.id));
            }
        }
        // Folders first: there is most to lose.
        absent.sort_by_key(|(is_file, _)| *is_file);
        let mut absent: Vec<ItemId> = absent.into_iter().map(|(_, id)| id).collect();
        let unasked = absent.split_off(absent.len().min(ASKED));
        // Of another drive no feed will ever say what became of them.
        let is_elsewhere = folder.drive != *self.index.drive();
        let mut found: Vec<Change> = unasked.into_iter().filter(|_| is_elsewhere).map(Change::Gone).collect();
        let mut answers = pin!(look_up_all(&*self.remote, absent.iter()));
        while let Some((id, answer)) = answers.next().await {
            match answer {
                Ok(Change::Is(mut item)) => {
                    if item.parent.as_ref() == Some(folder) {
                        item.parent = Some(row.id.clone());
                    } else if is_elsewhere && !self.is_known(item.parent.as_ref())? {
                        found.push(Change::Gone(id));
                        continue;
                    }
                    found.push(Change::Is(item));
                }
                Ok(gone) => found.push(gone),
                Err(error) => tracing::debug!(item = ?id, %error, "an item that was not listed cannot be looked up"),
            }
        }
        Ok(found)
    }

    fn is_known(&self, item: Option<&ItemId>) -> VolumeResult<bool> {
        Ok(item.map(|id| self.index.by_id(id)).transpose()?.flatten().is_some())
    }

    /// The length of the decoded path of a name in a folder, in UTF-16 units, without the root's slash.
    pub(super) fn path_length(&self, parent: Ino, name: &str) -> usize {
        let mut length = name.encode_utf16().count();
        let mut at = parent;
        for _ in 0..400 {
            if at == Ino::ROOT {
                break;
            }
            let Ok(seen) = self.see(at) else { break };
            length += 1 + seen.name.encode_utf16().count();
            at = seen.parent;
        }
        length
    }

    /// Fails if a folder's new place makes the path of something in it longer than the service stores. What is not
    /// known of it yet, and what lies beyond the first ten thousand items, is for the service to judge.
    pub(super) fn check_depth(&self, folder: &Seen, parent: Ino, name: &str) -> VolumeResult<()> {
        const LOOKED_AT: usize = 10_000;
        let Some(limit) = self.remote.caps().max_path else { return Ok(()) };
        let (before, now) = (self.path_length(folder.parent, &folder.name), self.path_length(parent, name));
        if now <= before {
            return Ok(());
        }
        let mut open = vec![(folder.ino, now)];
        let mut looked_at = 0;
        while let Some((ino, length)) = open.pop() {
            for child in self.children(ino)? {
                looked_at += 1;
                let length = length + 1 + child.name.encode_utf16().count();
                if length > limit {
                    return Err(VolumeError::TooLong(format!(
                        "the path of “{}” in this folder would have {length} characters, OneDrive stores {limit}",
                        child.name
                    )));
                }
                if child.kind == NodeKind::Folder {
                    open.push((child.ino, length));
                }
            }
            if looked_at > LOOKED_AT {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether `ino` is `folder` or below it.
    pub(super) fn is_below(&self, mut ino: Ino, folder: Ino) -> bool {
        for _ in 0..1000 {
            if ino == folder {
                return true;
            }
            if ino == Ino::ROOT {
                return false;
            }
            match self.see(ino) {
                Ok(seen) => ino = seen.parent,
                Err(_) => return false,
            }
        }
        false
    }
}

/// The rows of a folder without those whose name something else is shown under: an intent, or what has the mapped name
/// where another program has stored an unmapped one.
fn without_twins(mut rows: Vec<Row>, placed: &[Placed]) -> Vec<Row> {
    if !placed.is_empty() {
        let names: HashSet<String> = placed.iter().map(|placed| fold(&placed.intent.name)).collect();
        rows.retain(|row| !names.contains(&fold(&row.name)));
    }
    if rows.iter().any(is_unmapped) {
        let mapped = rows.iter().filter(|row| !is_unmapped(row)).map(|row| to_local(&row.name));
        let shown: HashSet<String> = mapped.chain(placed.iter().map(|placed| to_local(&placed.intent.name))).collect();
        rows.retain(|row| !is_unmapped(row) || !shown.contains(&row.name));
    }
    rows
}

/// Whether a name is shown as it is stored, though we would have stored it otherwise.
fn is_unmapped(row: &Row) -> bool {
    !is_plain(&row.name)
        && to_local(&row.name) == row.name
        && map(row.name.as_ref()).is_ok_and(|mapped| mapped != row.name)
}

/// Whether an intent says where the item of a row is, so that the row does not.
fn is_covered(now: &Moment<'_>, row: &Row) -> bool {
    !now.overlay().is_empty() && now.overlay().covers(now.resolve(row.parent).as_ref(), row)
}
