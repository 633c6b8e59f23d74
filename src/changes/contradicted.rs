//! What somebody could not read as it is shown, because the service has another version.
//!
//! Mostly the feed brings that in a moment. But a listing can be behind the feed: a folder that is listed just after the
//! feed has spoken of a file in it may show the file as it was before, and the feed does not say it again. Such a file could
//! not be read until the next comparison of the whole drive. So it is asked for itself.
//!
//! Always true: what is taken is a state that the service showed after the doubt, and none that we have overtaken ourselves.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Trouble, on_disk};
use crate::base::clock::Clock;
use crate::base::ids::ItemId;
use crate::index::{Index, Notice};
use crate::remote::{At, ItemKind, Remote};

/// The most items that are asked for after one look at the feed.
const MOST: usize = 64;

/// The items in doubt.
#[derive(Default)]
pub(super) struct Doubts(Mutex<HashSet<ItemId>>);

impl Doubts {
    pub(super) fn note(&self, item: &ItemId) {
        let mut items = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if items.len() < MOST {
            items.insert(item.clone());
        }
    }

    /// Asks for each of them, and takes what it is. To be called when all that the feed had was taken.
    pub(super) async fn settle(
        &self,
        remote: &dyn Remote,
        index: &Arc<Index>,
        clock: &dyn Clock,
    ) -> Result<Vec<Notice>, Trouble> {
        let items = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut all = Vec::new();
        for id in items {
            // That it is gone the feed says; what cannot be asked for is in doubt again when it is read again.
            let Ok(now) = remote.stat(At::Id(&id)).await else { continue };
            if now.kind != ItemKind::File {
                continue;
            }
            let (index, moment) = (index.clone(), clock.now());
            let take = move || {
                index.write(|txn| match txn.by_id(&now.id)? {
                    Some(row)
                        if row.meta_tag != now.meta_tag && !txn.is_stale_echo(&now.id, &now.meta_tag, moment)? =>
                    {
                        txn.upsert(&now).map(drop)
                    }
                    _ => Ok(()),
                })
            };
            let ((), notices) = on_disk(take).await?;
            all.extend(notices);
        }
        Ok(all)
    }
}
