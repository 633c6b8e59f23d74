//! What a file was before it was replaced: the service keeps former versions, and gives them out whole, without a hash
//! (<https://learn.microsoft.com/graph/api/driveitem-list-versions>, and `driveitem-get-contentstream` for one of them).
//!
//! Always true: what is handed out has the hash that was asked for.

use bytes::Bytes;
use serde::Deserialize;

use super::{Graph, encode};
use crate::base::hash::QuickXorHash;
use crate::base::ids::ItemId;
use crate::remote::content::{collect, exactly, is_page, storage_address};
use crate::remote::http::{Ask, Streaming, content_length, header};
use crate::remote::kept::Weigh;
use crate::remote::tolerant::number;
use crate::remote::{Advice, MAX_FORMER, RemoteError, RemoteErrorKind, RemoteResult};

/// How many versions of the right size are tried.
const CANDIDATES: usize = 5;

/// What counts of a version; whatever else is said of it is read over.
#[derive(Default, Deserialize)]
#[serde(default)]
struct WireVersion {
    id: Option<String>,
    #[serde(deserialize_with = "number")]
    size: Option<i64>,
}

impl Weigh for WireVersion {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.id.as_ref().map_or(0, String::len)
    }
}

impl Graph {
    pub(super) async fn former_bytes(&self, item: &ItemId, size: u64, hash: &str) -> RemoteResult<Option<Bytes>> {
        if size > MAX_FORMER {
            return Ok(None);
        }
        let versions = self.whole_list(self.item_url(item, "/versions")?, "list the versions").await?;
        let of_size = versions.iter().filter(|version: &&WireVersion| version.size == i64::try_from(size).ok());
        let ids = of_size.filter_map(|version| version.id.as_deref());
        let mut fetched = 0;
        for id in ids {
            let Some(bytes) = self.version_bytes(item, id, size).await? else { continue };
            if QuickXorHash::of(&bytes) == hash {
                return Ok(Some(bytes));
            }
            fetched += 1;
            if fetched == CANDIDATES {
                break;
            }
        }
        Ok(None)
    }

    /// `None` if it cannot be had so: work drives do not give out the current version as one of those; one may be gone by
    /// now; and the real size may be another than the list says.
    async fn version_bytes(&self, item: &ItemId, version: &str, size: u64) -> RemoteResult<Option<Bytes>> {
        use RemoteErrorKind::{BadName, NotFound, Protocol, Unsupported};
        let url = self.item_url(item, &format!("/versions/{}/content", encode(version)))?;
        let address = match storage_address(&self.http, &Ask::get(url, "find a former version")).await {
            Err(error) if matches!(error.kind, BadName | NotFound | Protocol | Unsupported) => return Ok(None),
            address => address?,
        };
        let Ok(Streaming { headers, body, .. }) =
            self.http.content(&Ask::get(address, "read a former version")).await?
        else {
            // The service has just named the address: its storage is not ready.
            let context = "cannot read a former version: its host refuses";
            return Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context));
        };
        let length = content_length(&headers);
        match length {
            Some(length) if length != size && is_page(header(&headers, "content-type")) => {
                let context = "cannot read a former version: the host sent a page in its place";
                Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context))
            }
            Some(length) if length != size => Ok(None),
            _ => collect(exactly(body, 0, size)).await.map(Some),
        }
    }
}
