//! A question to a server that costs nothing and needs no sign-in: are you there, and what time is it?

use std::time::Duration;

use url::Url;

use super::clients::{self, Cargo, Clients};
use super::{Patience, is_loopback};
use crate::base::clock::{Clock, Timestamp};
use crate::remote::classify;
use crate::remote::{RemoteError, RemoteResult};

/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time that the server of `origin` has, in whole seconds; `None` if it answers without saying. Any answer counts,
/// a refusal too: nothing is asked for.
///
/// # Errors
/// [`crate::remote::RemoteErrorKind::Offline`]: no answer within ten seconds.
pub async fn time_of(origin: &str, clock: &dyn Clock) -> RemoteResult<Option<Timestamp>> {
    let url: Url = origin.parse().map_err(|_| RemoteError::protocol("the endpoint is no URL"))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    clients::install_tls();
    let clients = Clients::default();
    let client = clients.get(Cargo::Json, is_loopback(&url), &Patience::default(), clock.monotonic())?;
    let answer = tokio::select! {
        answer = client.get(url).send() => answer,
        () = clock.sleep(PATIENCE) => {
            return Err(RemoteError::offline(format!("{host} does not answer")));
        }
    };
    let answer = answer
        .map_err(|error| RemoteError::offline(format!("{host} cannot be reached")).with_source(error.without_url()))?;
    let date = answer.headers().get("date").and_then(|value| value.to_str().ok());
    Ok(date.and_then(classify::http_date).map(Timestamp::from_seconds))
}
