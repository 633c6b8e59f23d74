//! The feed of changes of a drive (delta).
//!
//! One call is one page. Links are handed out and taken back untouched, because they hold the selection and
//! the position of the chain; a link that does not lead to the service we are signed in to (the endpoint was
//! configured anew) is treated as expired.
//!
//! Always true here: a page leads to a next page or to a cursor, never to nothing; a tombstone is believed
//! by id alone, because its other members are stale or invented.
//!
//! When the feed expires (410) the service may name a fresh link. It is not used: the answer was seen to be
//! wrong or missing, and beginning at the beginning is always right.
//!
//! Source: <https://learn.microsoft.com/graph/api/driveitem-delta>.

use reqwest::StatusCode;

use super::wire::{SELECT, WirePage};
use super::{Graph, look};
use crate::base::ids::{Cursor, DriveId};
use crate::remote::http::MAX_URL;
use crate::remote::tolerant::Flawed;
use crate::remote::{Advice, Change, ChangePage, Next, RemoteError, RemoteErrorKind, RemoteResult, Start};

impl Graph {
    pub(super) async fn change_page(&self, from: Start<'_>) -> RemoteResult<ChangePage> {
        let drive = &self.known().await?.drive;
        let link = match from {
            Start::Now | Start::Beginning => None,
            Start::Cursor(cursor) => Some(cursor.0.as_str()),
            Start::Link(link) => Some(link.expose().as_str()),
        };
        let url = match (&link, &from) {
            (Some(link), _) => {
                let url = self.http.service_url(link).map_err(|failure| expired(&failure.context))?;
                if !self.http.is_home(&url) {
                    return Err(expired("the link leads away from the service we are signed in to"));
                }
                url
            }
            (None, Start::Now) => self.drive_url(drive, &format!("/root/delta?token=latest&$select={SELECT}"))?,
            (None, _) => self.drive_url(drive, &format!("/root/delta?$top=1000&$select={SELECT}"))?,
        };
        let reply = self.http.signed(&look(url, "ask for changes").page()).await?;
        if link.is_some() && matches!(reply.status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND) {
            return Err(RemoteError { kind: RemoteErrorKind::Expired, advice: Advice::Resync, ..reply.failure() });
        }
        let page: WirePage = reply.success()?.parse()?;
        page_of(page, drive, matches!(from, Start::Now))
    }
}

fn page_of(page: WirePage, drive: &DriveId, only_cursor: bool) -> RemoteResult<ChangePage> {
    if [&page.next_link, &page.delta_link].into_iter().flatten().any(|link| link.expose().len() > MAX_URL) {
        return Err(RemoteError::protocol("the feed of changes has a link that is too long"));
    }
    let next = match (page.next_link, page.delta_link) {
        (Some(link), _) => Next::More(link),
        (None, Some(link)) => Next::Done(Cursor(link.into_exposed())),
        (None, None) => return Err(RemoteError::protocol("the feed of changes stops without a link")),
    };
    let mut changes = Vec::new();
    let mut flawed = Flawed::default();
    for wire in page.value.unwrap_or_default() {
        if only_cursor {
            break;
        }
        if flawed.has(wire.flaw()) {
            continue;
        }
        if wire.is_deleted() {
            changes.push(Change::Gone(wire.item_id(drive)?));
            continue;
        }
        if !wire.is_placed() {
            tracing::warn!("the feed named an item without a name; it cannot be shown");
            continue;
        }
        let is_root = wire.is_root();
        let item = wire.into_item(drive)?;
        if item.parent.is_none() && !is_root {
            // Items of other drives are mentioned without a place; their shortcut is what has one here.
            tracing::debug!(item = ?item.id, "the feed named an item without a place");
            continue;
        }
        changes.push(Change::Is(item));
    }
    Ok(ChangePage { changes, next })
}

fn expired(why: &str) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Expired, Advice::Resync, format!("cannot ask for changes: {why}"))
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any bytes as a page of changes.
pub(crate) fn fuzz(data: &[u8]) {
    let Ok(page) = serde_json::from_slice::<WirePage>(data) else { return };
    let Ok(page) = page_of(page, &DriveId::new("0123456789abcdef"), false) else { return };
    for change in &page.changes {
        if let Change::Is(item) = change {
            crate::remote::tolerant::sound(item);
        }
    }
    if let Next::Done(cursor) = &page.next {
        assert!(cursor.0.len() <= MAX_URL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::ItemId;

    fn page(json: &str) -> RemoteResult<ChangePage> {
        page_of(serde_json::from_str(json).expect("the fixture parses"), &DriveId::new("b!Q"), false)
    }

    #[test]
    fn tombstones_are_ids_and_unplaced_items_are_left_out() {
        let page = page(
            r#"{"@odata.deltaLink":"https://g.example/v1.0/drives/b!Q/root/delta?token=abc","value":[
            {"id":"R","name":"root","root":{},"folder":{},"parentReference":{"driveId":"b!Q"}},
            {"id":"01GONE","deleted":{"state":"deleted"},"parentReference":{"driveId":"b!Q","id":"R"},
             "file":{"hashes":{"quickXorHash":"AAAAAAAAAAAAAAAAAAAAAAAAAAA="}},
             "fileSystemInfo":{"lastModifiedDateTime":"0001-01-01T00:00:00Z"}},
            {"id":"01OTHER","name":"elsewhere","folder":{},"parentReference":{"driveId":"b!OTHER"}},
            {"id":"01NAMELESS","folder":{},"parentReference":{"driveId":"b!Q","id":"R"}},
            {"id":"01F","name":"f","folder":{},"parentReference":{"driveId":"b!Q","id":"R"}}]}"#,
        )
        .expect("a page");
        let drive = DriveId::new("b!Q");
        let seen: Vec<_> = page
            .changes
            .iter()
            .map(|change| match change {
                Change::Is(item) => (true, item.id.clone()),
                Change::Gone(id) => (false, id.clone()),
            })
            .collect();
        let id = |id| ItemId::new(&drive, id);
        assert_eq!(seen, [(true, id("R")), (false, id("01GONE")), (true, id("01F"))]);
        assert_eq!(page.next, Next::Done(Cursor("https://g.example/v1.0/drives/b!Q/root/delta?token=abc".into())));
    }

    #[test]
    fn a_page_that_leads_nowhere_is_an_error_and_an_empty_one_is_not() {
        assert!(page(r#"{"value":[]}"#).is_err());
        let page = page(r#"{"value":[],"@odata.nextLink":"https://g.example/x"}"#).expect("a page");
        assert!(page.changes.is_empty() && matches!(page.next, Next::More(_)));
    }
}
