//! Connections that are there before they are needed.
//!
//! A new connection costs two round trips before the first byte of an answer, and a stream of reads uses several. Once
//! a folder is looked into, something in it may be opened; the hosts of its contents are known then, and the time
//! until somebody clicks is enough to connect.
//!
//! Which hosts these are is up to the service, and a listing names one for each file. The real one has its contents at one
//! host or two; one that names thousands would have this machine use up its descriptors, and knock at the doors of
//! others. So only the first few are connected to, and the rest when somebody reads.
//!
//! Always true: nothing is asked for on such a connection, and none is opened while there may still be idle ones; at most
//! [`MOST_HOSTS`] hosts are connected to within [`WARMTH`], each of them one that content could be read from, and no
//! attempt lasts longer than that.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use reqwest::Method;
use url::Url;

use super::{Ask, Cargo, Effect, Http, is_loopback};
use crate::base::clock::Mono;

/// How many connections are opened: what a stream of reads uses.
const CONNECTIONS: usize = 4;

/// How long connections are counted on; they are kept a little longer.
const WARMTH: Duration = Duration::from_secs(45);

/// Hosts that are connected to in advance within [`WARMTH`].
const MOST_HOSTS: usize = 4;

/// Hosts in use that are remembered.
const MOST_REMEMBERED: usize = 64;

/// How long an answer is waited for: whoever takes longer saves nobody any time.
const PATIENCE: Duration = Duration::from_secs(15);

/// Hosts of content, with when one was last connected to.
#[derive(Default)]
pub(super) struct Warm {
    hosts: Mutex<Hosts>,
}

#[derive(Default)]
struct Hosts {
    /// Content was asked for.
    used: HashMap<String, Mono>,
    /// Connections were opened in advance.
    warmed: HashMap<String, Mono>,
}

impl Warm {
    /// Notes that content of a host is asked for now.
    fn note(&self, host: &str, now: Mono) {
        let used = &mut self.hosts().used;
        if used.len() >= MOST_REMEMBERED && !used.contains_key(host) {
            used.retain(|_, at| now.since(*at) < WARMTH);
            if used.len() >= MOST_REMEMBERED {
                return;
            }
        }
        used.insert(host.to_owned(), now);
    }

    /// Whether a host is to be connected to in advance.
    ///
    /// | content of it was asked for, or it was connected to, a moment ago | so many others were connected to | |
    /// | --- | --- | --- |
    /// | yes | | no: there are connections |
    /// | no | yes | no |
    /// | no | no | yes, and noted |
    fn wants(&self, host: &str, now: Mono) -> bool {
        let Hosts { used, warmed } = &mut *self.hosts();
        warmed.retain(|_, at| now.since(*at) < WARMTH);
        let is_warm = warmed.contains_key(host) || used.get(host).is_some_and(|at| now.since(*at) < WARMTH);
        let wants = !is_warm && warmed.len() < MOST_HOSTS;
        if wants {
            warmed.insert(host.to_owned(), now);
        }
        wants
    }

    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Http {
    /// Connects to the host of a URL whose content may soon be asked for, if it is one of few. Does nothing if that was
    /// done a moment ago, and never on this machine, where there is nothing to gain. Returns at once; to be called on a
    /// tokio runtime.
    pub fn warm(&self, url: &Url) {
        let now = self.inner.clock.monotonic();
        if is_loopback(url) || self.inner.admit(url).is_err() || !self.inner.warm.wants(url.authority(), now) {
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
                let answer = Box::pin(http.send(&ask, None, Cargo::Content));
                match select(answer, http.inner.clock.sleep(PATIENCE)).await {
                    Either::Left((Err(error), _)) => tracing::debug!(%error, "no connection in advance"),
                    Either::Left((Ok(_), _)) => {}
                    Either::Right(_) => tracing::debug!("no connection in advance: the host says nothing"),
                }
            });
        }
    }

    /// Notes that content of this host is asked for.
    pub(super) fn note_content(&self, url: &Url) {
        self.inner.warm.note(url.authority(), self.inner.clock.monotonic());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(0).plus(Duration::from_secs(seconds))
    }

    #[test]
    fn every_row_of_the_table() {
        let warm = Warm::default();
        warm.note("read.example", at(0));
        assert!(!warm.wants("read.example", at(1)), "it is in use");
        assert!(warm.wants("a.example", at(1)) && !warm.wants("a.example", at(2)), "it was connected to");
        let more = (0..5000).filter(|number| warm.wants(&format!("{number}.example"), at(3))).count();
        assert_eq!(more, MOST_HOSTS - 1);
        assert!(warm.wants("read.example", at(46)), "the first one is cold again, and so is what was read");
        assert!(!warm.wants("b.example", at(46)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let warm = Warm::default();
        for number in 0..5000 {
            warm.note(&format!("{number}.example"), at(number / 1000));
            warm.wants(&format!("{number}.example"), at(number));
        }
        let hosts = warm.hosts();
        assert!(hosts.used.len() <= MOST_REMEMBERED && hosts.warmed.len() <= MOST_HOSTS);
    }
}
