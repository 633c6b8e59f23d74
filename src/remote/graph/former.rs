//! What a file was before it was replaced: the service keeps former versions, and gives them out whole, without a hash
//! (<https://learn.microsoft.com/graph/api/driveitem-list-versions>, and `driveitem-get-contentstream` for one of them).
//!
//! Always true: what is handed out has the hash that was asked for.

use bytes::Bytes;
use serde_json::Value;

use super::{Graph, encode};
use crate::base::hash::QuickXorHash;
use crate::base::ids::ItemId;
use crate::remote::content::{collect, exactly, storage_address};
use crate::remote::http::Ask;
use crate::remote::{Advice, MAX_FORMER, RemoteError, RemoteErrorKind, RemoteResult};

/// How many versions of the right size are tried.
const CANDIDATES: usize = 5;

impl Graph {
    pub(super) async fn former_bytes(&self, item: &ItemId, size: u64, hash: &str) -> RemoteResult<Option<Bytes>> {
        if size > MAX_FORMER {
            return Ok(None);
        }
        let versions = match self.whole_list(self.item_url(item, "/versions")?, "list the versions").await {
            Err(error) if is_no(&error) => return Ok(None),
            versions => versions?,
        };
        let of_size = versions.iter().filter(|version| version.get("size").and_then(Value::as_u64) == Some(size));
        let ids = of_size.filter_map(|version| version.get("id").and_then(Value::as_str));
        for id in ids.take(CANDIDATES) {
            match self.version_bytes(item, id, size).await {
                Ok(bytes) if QuickXorHash::of(&bytes) == hash => return Ok(Some(bytes)),
                Ok(_) => {}
                // Work drives give out the current version in no such way; and one may be gone by now.
                Err(error) if is_no(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn version_bytes(&self, item: &ItemId, version: &str, size: u64) -> RemoteResult<Bytes> {
        let url = self.item_url(item, &format!("/versions/{}/content", encode(version)))?;
        let address = storage_address(&self.http, &Ask::get(url, "find a former version")).await?;
        match self.http.content(&Ask::get(address, "read a former version")).await? {
            Ok(streaming) => collect(exactly(streaming.body, 0, size)).await,
            Err(reply) => Err(reply.failure()),
        }
    }
}

/// Whether the answer is that there is nothing to be had, and not that it cannot be had now.
fn is_no(error: &RemoteError) -> bool {
    error.advice == Advice::GiveUp && error.kind != RemoteErrorKind::SignedOut
}
