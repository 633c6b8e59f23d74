//! Connections that are there before they are needed.
//!
//! A new connection costs two round trips before the first byte of an answer, and a stream of reads uses several. Once
//! a folder is looked into, something in it may be opened; the hosts of its contents are known then, and the time
//! until somebody clicks is enough to connect.
//!
//! Always true: nothing is asked for on such a connection, and none is opened while there may still be idle ones.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::Method;
use url::Url;

use super::{Ask, Cargo, Effect, Http, is_loopback};
use crate::base::clock::Mono;

/// How many connections are opened: what a stream of reads uses.
const CONNECTIONS: usize = 4;

/// How long connections are counted on; they are kept a little longer.
const WARMTH: Duration = Duration::from_secs(45);

/// Hosts that are remembered.
const MAX_HOSTS: usize = 64;

/// Hosts of content, with when one was last connected to.
#[derive(Default)]
pub(super) struct Warm {
    hosts: Mutex<HashMap<String, Mono>>,
}

impl Warm {
    /// Notes that a host is in use now, and says whether it was a moment ago.
    fn note(&self, url: &Url, now: Mono) -> bool {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= MAX_HOSTS {
            hosts.clear();
        }
        let before = hosts.insert(url.authority().to_owned(), now);
        before.is_some_and(|before| now.since(before) < WARMTH)
    }
}

impl Http {
    /// Connects to the host of a URL whose content may soon be asked for. Does nothing if that was done a moment ago,
    /// and never on this machine, where there is nothing to gain. Returns at once; to be called on a tokio runtime.
    pub fn warm(&self, url: &Url) {
        if is_loopback(url) || self.inner.admit(url).is_err() || self.note_content(url) {
            return;
        }
        let mut door = url.clone();
        door.set_path("/");
        door.set_query(None);
        // Any answer will do; a refusal is the usual one.
        let ask = Ask::new(Method::HEAD, door, Effect::Reads, "connect to the host of the content");
        for _ in 0..CONNECTIONS {
            let (http, ask) = (self.clone(), ask.clone());
            tokio::spawn(async move {
                if let Err(error) = http.send(&ask, None, Cargo::Content).await {
                    tracing::debug!(%error, "no connection in advance");
                }
            });
        }
    }

    /// Notes that content of this host is asked for, and says whether its connections are warm.
    pub(super) fn note_content(&self, url: &Url) -> bool {
        self.inner.warm.note(url, self.inner.clock.monotonic())
    }
}
