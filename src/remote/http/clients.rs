//! The HTTP clients behind the door: one for each kind of cargo, on this machine and off it.
//!
//! They are made when first needed: a demonstration on a machine without certificate authorities must not fail
//! for want of them. And made again after a long rest: the connections that one keeps for reuse know nothing of
//! a lid that was closed meanwhile, and the first request on each would wait for an answer that cannot come.

use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use reqwest::Client;

use super::Patience;
use crate::base::clock::Mono;
use crate::remote::{Advice, RemoteError, RemoteErrorKind, RemoteResult};

/// A client that was not used for this long keeps no connection worth having.
const REST: Duration = Duration::from_secs(600);

/// Which of the clients a request takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cargo {
    /// Metadata: gzip, HTTP/2 where offered.
    Json,
    /// Content: as it is, and over HTTP/1.1, because several connections carry more than several streams of
    /// one, and some hosts break long HTTP/2 streams off.
    Content,
}

/// The clients, each with the time of its last use.
#[derive(Default)]
pub(super) struct Clients {
    made: Mutex<[Option<(Client, Mono)>; 4]>,
}

impl Clients {
    /// The client for a kind of cargo.
    pub(super) fn get(&self, cargo: Cargo, loopback: bool, patience: &Patience, now: Mono) -> RemoteResult<Client> {
        let index = usize::from(cargo == Cargo::Content) * 2 + usize::from(loopback);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((client, used)) = &mut made[index]
            && now.since(*used) < REST
        {
            *used = now;
            return Ok(client.clone());
        }
        let client = build(cargo, loopback, patience)?;
        made[index] = Some((client.clone(), now));
        Ok(client)
    }
}

fn build(cargo: Cargo, loopback: bool, patience: &Patience) -> RemoteResult<Client> {
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(patience.connect)
        .pool_idle_timeout(Duration::from_secs(50))
        .tcp_keepalive(Duration::from_secs(20))
        .referer(false);
    builder = match cargo {
        // What was sent and not even acknowledged by the other machine within this time is lost.
        Cargo::Json => builder.gzip(true).tcp_user_timeout(Duration::from_secs(10)),
        Cargo::Content => builder.gzip(false).http1_only(),
    };
    if loopback {
        builder = builder.no_proxy().tls_certs_only([]);
    }
    builder.build().map_err(|error| {
        RemoteError::new(RemoteErrorKind::Local, Advice::GiveUp, "the HTTP client cannot be set up")
            .with_source(error.without_url())
    })
}

/// Chooses the TLS implementation of this process, once.
pub(super) fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that somebody else has chosen already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
