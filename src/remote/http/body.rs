//! A body on its way in, watched: it may take as long as it likes, but it may not stand still.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{Either, select};

use super::silent;
use crate::base::clock::Clock;
use crate::remote::classify::Effect;
use crate::remote::{BodyStream, RemoteError};

/// How many bytes must come within the patience: a trickle of single bytes counts as standing still.
const LEAST: usize = 4 << 10;

/// The body of an answer. It ends with an error if it breaks off, or if fewer than [`LEAST`] bytes come while somebody
/// has waited for it for `idle` in all, or once `gone` says that its host is out of reach. The time in which nobody
/// waits does not count: a reader may be slow.
pub(super) fn watched<G>(
    response: reqwest::Response,
    clock: Arc<dyn Clock>,
    idle: Duration,
    what: &'static str,
    gone: impl Fn() -> G + Send + 'static,
) -> BodyStream
where
    G: Future<Output = ()> + Send,
{
    let start = (Box::pin(response.bytes_stream()), clock, Duration::ZERO, 0, gone);
    futures_util::stream::unfold(Some(start), move |state| async move {
        let (mut stream, clock, mut waited, mut arrived, gone) = state?;
        let begun = clock.monotonic();
        let piece = {
            let patience = select(clock.sleep(idle.saturating_sub(waited)), Box::pin(gone()));
            match select(stream.next(), patience).await {
                Either::Left((piece, _)) => Some(piece),
                Either::Right(_) => None,
            }
        };
        match piece {
            Some(None) => None,
            Some(Some(Ok(bytes))) => {
                waited += clock.monotonic().since(begun);
                arrived += bytes.len();
                if arrived >= LEAST {
                    (waited, arrived) = (Duration::ZERO, 0);
                }
                Some((Ok(bytes), Some((stream, clock, waited, arrived, gone))))
            }
            Some(Some(Err(error))) => {
                let failure = RemoteError::offline(format!("cannot {what}: the answer broke off"))
                    .with_source(error.without_url());
                Some((Err(failure), None))
            }
            None => Some((Err(silent(what, Effect::Reads)), None)),
        }
    })
    .boxed()
}
