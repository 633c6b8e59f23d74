//! A body on its way in, watched: it may take as long as it likes, but it may not stand still.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, Either, select};

use super::silent;
use crate::base::clock::Clock;
use crate::remote::classify::Effect;
use crate::remote::{BodyStream, RemoteError};

/// How many bytes must come within the patience: a trickle of single bytes counts as standing still.
const LEAST: usize = 4 << 10;

/// The body of an answer. It ends with an error if it breaks off, or if fewer than [`LEAST`] bytes come while somebody
/// has waited for it for `idle` in all, or if `gone` completes: it is asked anew for each wait. The time in which nobody
/// waits does not count: a reader may be slow.
pub(super) fn watched(
    response: reqwest::Response,
    clock: Arc<dyn Clock>,
    idle: Duration,
    what: &'static str,
    gone: impl Fn() -> BoxFuture<'static, ()> + Send + 'static,
) -> BodyStream {
    let start = (Box::pin(response.bytes_stream()), clock, gone, Duration::ZERO, 0);
    futures_util::stream::unfold(Some(start), move |state| async move {
        let (mut stream, clock, gone, mut waited, mut arrived) = state?;
        let begun = clock.monotonic();
        let patience = select(clock.sleep(idle.saturating_sub(waited)), gone());
        match select(stream.next(), patience).await {
            Either::Left((None, _)) => None,
            Either::Left((Some(Ok(bytes)), _)) => {
                waited += clock.monotonic().since(begun);
                arrived += bytes.len();
                if arrived >= LEAST {
                    (waited, arrived) = (Duration::ZERO, 0);
                }
                Some((Ok(bytes), Some((stream, clock, gone, waited, arrived))))
            }
            Either::Left((Some(Err(error)), _)) => {
                let failure = RemoteError::offline(format!("cannot {what}: the answer broke off"))
                    .with_source(error.without_url());
                Some((Err(failure), None))
            }
            Either::Right(_) => Some((Err(silent(what, Effect::Reads)), None)),
        }
    })
    .boxed()
}
