//! Asking for many items by their ids: what is absent from a listing is not gone, it may have moved.

use futures_util::{Stream, StreamExt as _, stream};

use super::{At, Change, Remote, RemoteErrorKind, RemoteResult};
use crate::base::ids::ItemId;

/// How many at a time. The gate lets fewer through if somebody waits for something else.
const AT_A_TIME: usize = 16;

/// What the service knows of items when asked for them by id, in their order. That one is gone is asked several times by
/// the layers below, over a second or more, so they are asked for side by side.
pub fn look_up_all<'a>(
    remote: &'a dyn Remote,
    ids: impl Iterator<Item = &'a ItemId> + Send + 'a,
) -> impl Stream<Item = (ItemId, RemoteResult<Change>)> + Send + 'a {
    stream::iter(ids.map(move |id| look_up(remote, id.clone()))).buffered(AT_A_TIME)
}

async fn look_up(remote: &dyn Remote, id: ItemId) -> (ItemId, RemoteResult<Change>) {
    let answer = match remote.stat(At::Id(&id)).await {
        Ok(item) => Ok(Change::Is(item)),
        Err(error) if error.kind == RemoteErrorKind::NotFound => Ok(Change::Gone(id.clone())),
        Err(error) => Err(error),
    };
    (id, answer)
}
