//! A chain of changes: read to its end, and cleared of what it shows from before our own changes.

use futures_util::StreamExt as _;

use super::{MAX_PAGES, Poller, Trouble, apply, on_disk};
use crate::base::ids::{Cursor, ItemId, MetaTag};
use crate::remote::kept::{Room, Trail, Weigh};
use crate::remote::{Advice, Change, ChangePage, Item, Next, Remote, RemoteError, RemoteErrorKind, Start, look_up_all};

/// A chain that was read to its end.
pub(super) struct Chain {
    pub(super) changes: Vec<Change>,
    pub(super) cursor: Cursor,
}

/// A chain that shows nothing from before our own changes.
pub(super) struct Cleared {
    pub(super) chain: Chain,
    /// What was in doubt.
    pub(super) doubted: Vec<apply::Doubt>,
    /// What we have deleted and was not found, with the tag under which the chain shows it.
    pub(super) believed: Vec<(ItemId, MetaTag)>,
}

impl Poller {
    /// Asks again about items that we have just changed or deleted and that the chain shows otherwise: either the
    /// chain is older than what we did, or somebody has changed or restored them since. As long as neither can be told
    /// for one of them the chain is read again from where it began; what we did is not recent for ever. Returns what was
    /// in doubt, too, and what we have deleted and was not found.
    pub(super) async fn without_ghosts(&self, chain: Chain, from: &Cursor) -> Result<Cleared, Trouble> {
        /// Many more are no echoes of our own.
        const ASKED: usize = 500;
        let (index, now) = (self.index.clone(), self.clock.now());
        let (doubted, mut chain) = on_disk(move || {
            let doubted = index.write(|txn| apply::doubted(txn, &chain.changes, now))?.0;
            Ok((doubted, chain))
        })
        .await?;
        let mut believed = Vec::new();
        let asked = doubted.iter().take(ASKED).map(|doubt| &doubt.id);
        let answers: Vec<_> = look_up_all(&*self.remote, asked).collect().await;
        for (doubt, (_, answer)) in doubted.iter().zip(answers) {
            let answer = answer?;
            let said = chain.changes.iter().rev().find_map(|change| match change {
                Change::Is(item) if item.id == doubt.id => Some(item.meta_tag.clone()),
                _ => None,
            });
            let (index, id) = (self.index.clone(), doubt.id.clone());
            let open = match &answer {
                Change::Is(item) if said.as_ref() == Some(&item.meta_tag) => false,
                Change::Is(item) if doubt.is_open(item) => true,
                // Older than what we know: whoever was asked is behind.
                Change::Is(Item { meta_tag, .. }) => {
                    let tag = meta_tag.clone();
                    on_disk(move || index.is_overtaken(&id, &tag, now)).await?
                }
                // It is as we have made it, as far as can be told now.
                Change::Gone(_) if doubt.was_deleted() => {
                    believed.extend(said.map(|tag| (doubt.id.clone(), tag)));
                    false
                }
                // Not to be seen yet.
                Change::Gone(_) => on_disk(move || index.is_newborn(&id, now)).await?,
            };
            if open {
                chain.changes.retain(|change| !matches!(change, Change::Is(item) if item.id == doubt.id));
                chain.cursor = from.clone();
                continue;
            }
            // What we have deleted while this was asked is not restored.
            if matches!(answer, Change::Is(_)) && doubt.was_deleted() {
                let (index, id) = (self.index.clone(), doubt.id.clone());
                on_disk(move || index.write(|txn| txn.forget_echo(&id))).await?;
            }
            chain.changes.push(answer);
        }
        Ok(Cleared { chain, doubted, believed })
    }
}

/// Follows the feed from a cursor to its end. A drive that has more news than there is room for ([`Room`]) is listed
/// again, which takes page by page.
pub(super) async fn read_chain(remote: &dyn Remote, from: &Cursor) -> Result<Chain, RemoteError> {
    let mut changes = Vec::new();
    let (mut trail, mut room) = (Trail::default(), Room::default());
    let mut page = remote.changes(Start::Cursor(from)).await?;
    for _ in 0..MAX_PAGES {
        let ChangePage { changes: more, next } = page;
        if !room.takes(more.iter().map(Weigh::weight).sum()) {
            let context = "the feed has more news than is kept in memory";
            return Err(RemoteError::new(RemoteErrorKind::Expired, Advice::Resync, context));
        }
        changes.extend(more);
        match next {
            Next::Done(cursor) => return Ok(Chain { changes, cursor }),
            Next::More(link) => {
                if !trail.is_new(&link) {
                    return Err(RemoteError::protocol("the feed's pages lead in a circle"));
                }
                page = remote.changes(Start::Link(&link)).await?;
            }
        }
    }
    Err(RemoteError::protocol("the feed of changes has no end"))
}
