//! A plan becomes rows: in one transaction with the cursor that speaks for them.
//!
//! A crash before the transaction means that the chain is asked for again, a crash after it that it is
//! not. There is nothing in between.

use std::collections::HashSet;

use super::plan::{Known, Plan, is_other, plan, plan_page};
use crate::base::clock::Timestamp;
use crate::base::ids::{ContentTag, Cursor, Ino, ItemId, MetaTag};
use crate::index::{Index, IndexError, IndexResult, Notice, Row, Txn, meta};
use crate::remote::{Change, Item};

/// The index as it is inside the transaction.
struct Inside<'t, 'a> {
    txn: &'t mut Txn<'a>,
    /// What we have deleted ourselves, until the feed knows it.
    deleted: HashSet<ItemId>,
    now: Timestamp,
}

impl<'t, 'a> Inside<'t, 'a> {
    fn new(txn: &'t mut Txn<'a>, now: Timestamp) -> IndexResult<Self> {
        let deleted = txn.deleted_here(now)?.into_iter().collect();
        Ok(Self { txn, deleted, now })
    }
}

impl Known for Inside<'_, '_> {
    type Error = IndexError;

    fn item(&mut self, id: &ItemId) -> IndexResult<Option<(Row, Option<ItemId>)>> {
        let Some(row) = self.txn.by_id(id)? else { return Ok(None) };
        let parent = self.txn.by_ino(row.parent)?.map(|parent| parent.id);
        Ok(Some((row, parent)))
    }

    fn holds(&mut self, id: &ItemId) -> IndexResult<bool> {
        self.txn.holds(id)
    }

    fn is_overtaken(&mut self, id: &ItemId, tag: &MetaTag) -> IndexResult<bool> {
        Ok(self.deleted.contains(id) || self.txn.is_stale_echo(id, tag, self.now)?)
    }
}

/// Applies a complete chain and stores the cursor it ends with. Durable on return, both or neither. The
/// caller hands the notices on, with no lock held.
///
/// `asked` are the doubts that were cleared up, each as it was then. What we have done since makes new ones: for as
/// long as there are any, the next chain begins where this one began, `from`.
pub(super) fn apply_chain(
    index: &Index,
    mut chain: Vec<Change>,
    asked: &[Doubt],
    [from, cursor]: [&Cursor; 2],
    now: Timestamp,
) -> IndexResult<Vec<Notice>> {
    let ((), notices) = index.write(|txn| {
        let open = doubted(txn, &chain, now)?;
        let open: HashSet<ItemId> = open
            .into_iter()
            .filter(|doubt| !asked.iter().any(|asked| asked.is_as(doubt)))
            .map(|doubt| doubt.id)
            .collect();
        chain.retain(|change| !matches!(change, Change::Is(item) if open.contains(&item.id)));
        apply_states(txn, chain, now)?;
        let reached = if open.is_empty() { cursor } else { from };
        txn.set_meta(meta::CURSOR, Some(&reached.0))?;
        txn.forget_echoes(now)
    })?;
    Ok(notices)
}

/// An item of which it is to be asked what it is now.
pub(super) struct Doubt {
    pub id: ItemId,
    /// As it is known, with the identity of its folder; `None` if we have deleted it.
    known: Option<(Row, Option<ItemId>)>,
}

impl Doubt {
    /// Whether we had deleted it when the doubt arose.
    pub(super) fn was_deleted(&self) -> bool {
        self.known.is_none()
    }

    /// Whether an answer leaves the question open: it says what we know, and so the feed is behind, or the one who was
    /// asked.
    pub(super) fn is_open(&self, answer: &Item) -> bool {
        self.known.as_ref().is_some_and(|(row, parent)| !is_other(row, parent.as_ref(), answer))
    }

    /// Whether it is the same doubt: about the same item, of which the same is known.
    fn is_as(&self, other: &Self) -> bool {
        let of = |doubt: &Self| doubt.known.as_ref().map(|(row, _)| state_of(row));
        self.id == other.id && of(self) == of(other)
    }
}

/// What is known of an item that a change of ours would change: its folder, its name and its tags. Not that it stands aside
/// for a namesake, which others bring about.
pub(super) type State = (Ino, String, MetaTag, Option<ContentTag>);

pub(super) fn state_of(row: &Row) -> State {
    (row.parent, row.plain_name(), row.meta_tag.clone(), row.content_tag.clone())
}

/// Items of a chain of which it is to be asked what they are now: we have changed or deleted them a moment ago, and the
/// chain shows a state that is neither ours nor known to be older. It may be one in between that we never saw, or
/// somebody else's and newer.
pub(super) fn doubted(txn: &mut Txn<'_>, chain: &[Change], now: Timestamp) -> IndexResult<Vec<Doubt>> {
    let mut inside = Inside::new(txn, now)?;
    let mut doubted = Vec::new();
    let mut seen = HashSet::new();
    for change in chain.iter().rev() {
        // The last word on an item is the one that counts, also where that is that it is gone.
        if !seen.insert(change.id()) {
            continue;
        }
        let Change::Is(item) = change else { continue };
        if inside.deleted.contains(&item.id) {
            doubted.push(Doubt { id: item.id.clone(), known: None });
        } else if inside.txn.is_ours_lately(&item.id, now)?
            && let Some((row, parent)) = inside.item(&item.id)?
            && is_other(&row, parent.as_ref(), item)
            && !inside.is_overtaken(&item.id, &item.meta_tag)?
        {
            doubted.push(Doubt { id: item.id.clone(), known: Some((row, parent)) });
        }
    }
    Ok(doubted)
}

/// Applies a page of an enumeration that has to be trusted, because no feed brings what it shows. Where it shows what we
/// have changed a moment ago it may be older than that; those items are returned, to be asked for, and with them folders
/// that a later page has to make room for.
pub(super) fn apply_trusted(txn: &mut Txn<'_>, mut page: Vec<Change>, now: Timestamp) -> IndexResult<Vec<ItemId>> {
    let open: HashSet<ItemId> = doubted(txn, &page, now)?.into_iter().map(|doubt| doubt.id).collect();
    page.retain(|change| !matches!(change, Change::Is(item) if open.contains(&item.id)));
    apply_states(txn, page, now)?;
    Ok(open.into_iter().chain(txn.take_refused()).collect())
}

/// Applies states inside a transaction.
pub(super) fn apply_states(txn: &mut Txn<'_>, chain: Vec<Change>, now: Timestamp) -> IndexResult<()> {
    let plan = plan(&mut Inside::new(txn, now)?, chain)?;
    carry_out(txn, &plan)
}

/// Applies a page of an enumeration inside a transaction, without overriding anything that is known.
/// Returns the items that it contradicts.
pub(super) fn apply_page(
    txn: &mut Txn<'_>,
    page: Vec<Change>,
    went: impl Fn(&ItemId) -> bool,
    now: Timestamp,
) -> IndexResult<Vec<ItemId>> {
    let (plan, doubtful) = plan_page(&mut Inside::new(txn, now)?, page, went)?;
    carry_out(txn, &plan)?;
    Ok(doubtful)
}

fn carry_out(txn: &mut Txn<'_>, plan: &Plan) -> IndexResult<()> {
    for item in &plan.take {
        tracing::debug!(item = ?item.id.id, name = item.name, tag = item.meta_tag.0, "heard of a state");
        txn.upsert(item)?;
    }
    for id in &plan.drop {
        tracing::debug!(item = ?id.id, "heard that it is gone");
        txn.remove(id)?;
    }
    Ok(())
}
