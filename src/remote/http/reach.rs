//! Whether a host can be reached at all, so that nobody waits long for one that cannot.
//!
//! A service that thinks for ten seconds and a network that swallows packets look the same from here: silence.
//! The first deserves patience, the second an error while the user still looks at the screen. What tells them
//! apart is a second connection: if one is established, packets pass and the silence is the service's.
//!
//! Always true here: a call in a hurry to a host that does not answer and cannot be connected to fails within
//! two seconds; once that is known, later ones fail at once or within half a second, and each second one of
//! them starts a new attempt to connect, so that the end of the outage is noticed without anybody's help.
//!
//! Times are the machine's own, as those of the sockets are: packets do not travel by a test's clock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select, select_ok};
use tokio::net::TcpStream;
use tokio::sync::watch;
use url::Url;

use crate::base::clock::{Clock as _, Mono, SystemClock};
use crate::remote::{RemoteError, RemoteErrorKind, RemoteResult};

/// Silence that is not remarked on.
const FIRST_SILENCE: Duration = Duration::from_millis(600);

/// How long somebody who has heard nothing waits for the second connection. With the above it makes two seconds.
const FIRST_DOUBT: Duration = Duration::from_millis(1400);

/// Silence after a second connection succeeded, before the next one.
const LATER_SILENCE: Duration = Duration::from_secs(3);

/// How long an attempt to connect goes on, though nobody may wait for it any more.
const ATTEMPT: Duration = Duration::from_secs(5);

/// How long a caller waits when the host was unreachable a moment ago.
const LATER_DOUBT: Duration = Duration::from_millis(500);

/// How long the word of a failed attempt is taken without trying again.
const FRESH: Duration = Duration::from_secs(1);

/// Hosts that are remembered.
const MAX_HOSTS: usize = 64;

/// The hosts we talk to.
pub(super) struct Reach {
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    clock: Arc<SystemClock>,
    /// Requests go through a proxy, so that connecting directly proves nothing.
    proxied: bool,
}

struct Host {
    /// `name:port`.
    address: String,
    clock: Arc<SystemClock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When it was last found unreachable, unless it was heard of since; zero if that is only a suspicion.
    dead: Option<Mono>,
    /// The last attempt to connect and its outcome.
    attempt: Option<watch::Receiver<Option<bool>>>,
}

impl Reach {
    /// Nothing is known yet.
    pub(super) fn new() -> Self {
        let names = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
        let proxied = names.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        Self { hosts: Mutex::default(), clock: Arc::new(SystemClock::new()), proxied }
    }

    fn host(&self, url: &Url) -> Option<Arc<Host>> {
        if self.proxied && !super::is_loopback(url) {
            return None;
        }
        let address = format!("{}:{}", url.host_str()?, url.port_or_known_default()?);
        let mut hosts = lock(&self.hosts);
        if hosts.len() >= MAX_HOSTS && !hosts.contains_key(&address) {
            hosts.clear();
        }
        let host = hosts
            .entry(address.clone())
            .or_insert_with(|| Arc::new(Host { address, clock: self.clock.clone(), state: Mutex::default() }));
        Some(host.clone())
    }

    /// Runs a call to a host. One in a hurry fails with [`RemoteErrorKind::Offline`] as soon as the host is known
    /// to be out of reach: before it began with [`crate::remote::Advice::Retry`], later with what `silent` says.
    pub(super) async fn guard<T>(
        &self,
        url: &Url,
        hurry: bool,
        silent: impl Fn(bool) -> RemoteError,
        call: impl Future<Output = RemoteResult<T>> + Send,
    ) -> RemoteResult<T> {
        let Some(host) = self.host(url) else { return call.await };
        if hurry && !host.may_be_alive().await {
            return Err(silent(false));
        }
        let call = Box::pin(call);
        let result = if hurry {
            match select(call, Box::pin(host.out_of_reach())).await {
                Either::Left((result, _)) => result,
                Either::Right(_) => {
                    host.note(false);
                    return Err(silent(true));
                }
            }
        } else {
            call.await
        };
        match &result {
            Err(error) if error.kind == RemoteErrorKind::Offline => host.suspect(),
            _ => host.note(true),
        }
        result
    }

    /// Completes when a host that says nothing turns out to be out of reach; never while it can be connected to.
    pub(super) async fn out_of_reach(self: Arc<Self>, url: Url) {
        match self.host(&url) {
            Some(host) => {
                host.out_of_reach().await;
                host.note(false);
            }
            None => std::future::pending().await,
        }
    }
}

impl Host {
    fn note(&self, alive: bool) {
        lock(&self.state).dead = (!alive).then(|| self.clock.monotonic());
    }

    /// A call failed. That may have been the call's own misfortune: the next one in a hurry finds out.
    fn suspect(&self) {
        lock(&self.state).dead.get_or_insert(Mono(0));
    }

    /// `false` if it was out of reach a moment ago and still is.
    async fn may_be_alive(self: &Arc<Self>) -> bool {
        let Some(dead) = lock(&self.state).dead else { return true };
        (dead == Mono(0) || self.clock.monotonic().since(dead) >= FRESH) && self.connects_within(LATER_DOUBT).await
    }

    async fn out_of_reach(self: &Arc<Self>) {
        let (mut silence, mut doubt) = (FIRST_SILENCE, FIRST_DOUBT);
        loop {
            self.clock.sleep(silence).await;
            if !self.connects_within(doubt).await {
                return;
            }
            (silence, doubt) = (LATER_SILENCE, FIRST_DOUBT);
        }
    }

    /// Whether a connection comes about. The attempt goes on when the time is over, and is shared.
    async fn connects_within(self: &Arc<Self>, limit: Duration) -> bool {
        let mut attempt = self.attempt();
        let outcome =
            Box::pin(async move { attempt.wait_for(Option::is_some).await.is_ok_and(|end| *end == Some(true)) });
        match select(outcome, self.clock.sleep(limit)).await {
            Either::Left((connected, _)) => connected,
            Either::Right(_) => {
                // Not to be tried by the next one at once.
                let mut state = lock(&self.state);
                if state.dead.is_some() {
                    state.dead = Some(self.clock.monotonic());
                }
                false
            }
        }
    }

    /// The attempt to connect that is under way, or a new one.
    fn attempt(self: &Arc<Self>) -> watch::Receiver<Option<bool>> {
        let mut state = lock(&self.state);
        if let Some(attempt) = &state.attempt
            && attempt.borrow().is_none()
            && attempt.has_changed().is_ok()
        {
            return attempt.clone();
        }
        let (sender, receiver) = watch::channel(None);
        state.attempt = Some(receiver.clone());
        let host = self.clone();
        tokio::spawn(async move {
            let alive = match select(Box::pin(connect(&host.address)), host.clock.sleep(ATTEMPT)).await {
                Either::Left((connected, _)) => connected,
                Either::Right(_) => false,
            };
            host.note(alive);
            sender.send_replace(Some(alive));
        });
        receiver
    }
}

/// Connects to any of the addresses of a host, all at once: one family of addresses may be out of order.
async fn connect(address: &str) -> bool {
    const MAX_ADDRESSES: usize = 6;
    let Ok(addresses) = tokio::net::lookup_host(address).await else { return false };
    let attempts: Vec<_> = addresses.take(MAX_ADDRESSES).map(|at| Box::pin(TcpStream::connect(at))).collect();
    !attempts.is_empty() && select_ok(attempts).await.is_ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
