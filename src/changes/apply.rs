//! A plan becomes rows: in one transaction with the cursor that speaks for them.
//!
//! A crash before the transaction means that the chain is asked for again, a crash after it that it is
//! not. There is nothing in between.

use std::collections::HashSet;

use super::plan::{Known, Plan, plan, plan_page};
use crate::base::clock::Timestamp;
use crate::base::ids::{Cursor, ItemId, MetaTag};
use crate::index::{Index, IndexError, IndexResult, Notice, Row, Txn, meta};
use crate::remote::Change;

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

    fn is_overtaken(&mut self, id: &ItemId, tag: &MetaTag) -> IndexResult<bool> {
        Ok(self.deleted.contains(id) || self.txn.is_stale_echo(id, tag, self.now)?)
    }
}

/// Applies a complete chain and stores the cursor it ends with. Durable on return, both or neither. The
/// caller hands the notices on, with no lock held.
pub(super) fn apply_chain(
    index: &Index,
    chain: Vec<Change>,
    cursor: &Cursor,
    now: Timestamp,
) -> IndexResult<Vec<Notice>> {
    let ((), notices) = index.write(|txn| {
        apply_states(txn, chain, now)?;
        txn.set_meta(meta::CURSOR, Some(&cursor.0))?;
        txn.forget_echoes(now)
    })?;
    Ok(notices)
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
        txn.upsert(item)?;
    }
    for id in &plan.drop {
        txn.remove(id)?;
    }
    Ok(())
}
