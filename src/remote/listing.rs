//! A folder as a whole, of the pages in which it comes.

use std::collections::HashMap;

use super::kept::{Room, Trail, Weigh as _};
use super::{Advice, Item, Link, Remote, RemoteError, RemoteResult};
use crate::base::ids::ItemId;

/// The most pages of a listing.
const MAX_PAGES: usize = 20_000;

/// Lists a folder completely, pages joined and de-duplicated by id (the last one counts). A listing whose pages do not
/// fit together any more ([`Advice::Resync`]) is begun anew a few times.
///
/// Fails with [`super::RemoteErrorKind::Protocol`] if a link repeats, or there are more pages or items than any folder has:
/// an incomplete listing is never returned, and an endless one does not fill the memory.
pub async fn list_all(remote: &dyn Remote, folder: &ItemId) -> RemoteResult<Vec<Item>> {
    const ATTEMPTS: usize = 4;
    let mut failure = None;
    for _ in 0..ATTEMPTS {
        match list_once(remote, folder).await {
            Err(error) if error.advice == Advice::Resync => failure = Some(error),
            other => return other,
        }
    }
    Err(failure.expect("invariant: every attempt that does not return leaves its failure"))
}

async fn list_once(remote: &dyn Remote, folder: &ItemId) -> RemoteResult<Vec<Item>> {
    let mut items: Vec<Item> = Vec::new();
    let mut places = HashMap::new();
    let mut from: Option<Link> = None;
    let (mut trail, mut room) = (Trail::default(), Room::default());
    for _ in 0..MAX_PAGES {
        let page = remote.list(folder, from.as_ref()).await?;
        for item in page.items {
            // One that comes again takes its room again: a folder that goes on with the same ones ends as well.
            room.take(item.weight() + item.id.weight(), "list a folder")?;
            match places.get(&item.id) {
                Some(&place) => items[place] = item,
                None => {
                    places.insert(item.id.clone(), items.len());
                    items.push(item);
                }
            }
        }
        match page.next {
            None => return Ok(items),
            Some(link) if trail.is_new(&link) => from = Some(link),
            Some(_) => return Err(RemoteError::protocol("the listing's pages lead in a circle")),
        }
    }
    Err(RemoteError::protocol("the listing has no end"))
}
