//! The one place where a remote is put together.
//!
//! From the outside in: observe, retry, gate, protocol. The order matters. Counting is outermost, so that a
//! call counts once; the gate is inside the retries, so that every attempt waits for its turn and for the
//! shared pause, and holds no place while it sleeps between two attempts.

use std::sync::Arc;

use super::graph::{DriveChoice, Graph, GraphOptions};
use super::http::{Entropy, Http, HttpOptions, Patience};
use super::layers::gate::{Gate, Gated, Lanes};
use super::layers::observe::{Counters, Observed};
use super::layers::retry::Retrying;
use super::live::{Live, LiveService};
use super::{Extras, RemoteResult, SharedRemote};
use crate::auth::TokenSource;
use crate::base::clock::Clock;
use crate::config::{self, Config};

/// What a remote needs to know.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// The language spoken with the service, and where it is spoken.
    pub protocol: Protocol,
    /// The longest fragment of an upload, in bytes; Graph rounds it down to a multiple of 320 KiB. `None`: as long as
    /// the service takes (Graph), or 10 MiB (Live).
    pub fragment: Option<u64>,
    /// Refuse every host but this machine.
    pub loopback_only: bool,
    /// How long the network may stand still.
    pub patience: Patience,
    /// How many requests run at once.
    pub lanes: Lanes,
}

/// The language spoken with the service.
#[derive(Clone, Debug)]
pub enum Protocol {
    /// Microsoft Graph v1.0.
    Graph(GraphService),
    /// Live Connect v5.0, with BITS for what is too large for one request.
    Live(LiveService),
}

/// A drive behind Microsoft Graph.
#[derive(Clone, Debug)]
pub struct GraphService {
    /// The base URL without version: `https://graph.microsoft.com`, `http://127.0.0.1:1234`.
    pub origin: String,
    /// Which drive.
    pub drive: DriveChoice,
    /// Whether upload sessions carry their precondition themselves; see [`GraphOptions::session_with_tag`].
    pub session_with_tag: bool,
}

impl GraphService {
    /// The default drive of the signed-in account.
    pub fn at(origin: impl Into<String>) -> Self {
        Self { origin: origin.into(), drive: DriveChoice::Me, session_with_tag: false }
    }
}

impl RemoteOptions {
    /// The default drive of the signed-in account behind this Graph endpoint, everything else as usual.
    pub fn new(graph: impl Into<String>) -> Self {
        Self::speaking(Protocol::Graph(GraphService::at(graph)))
    }

    /// As the settings say.
    pub fn of(config: &Config) -> Self {
        let (connect, idle) = (config.network.connect_timeout, config.network.idle_timeout);
        let options = Self::to(config);
        Self { patience: Patience { connect, idle, ..options.patience }, ..options }
    }

    fn to(config: &Config) -> Self {
        match config.protocol {
            config::Protocol::Graph => {
                let mut service = GraphService::at(config.graph_url());
                if let config::Drive::Id(id) = &config.drive {
                    service.drive = DriveChoice::Id(id.as_str().to_owned());
                }
                let fragment = Some(config.upload.fragment_size);
                Self { fragment, ..Self::speaking(Protocol::Graph(service)) }
            }
            config::Protocol::Live => {
                let service = LiveService {
                    origin: config.live_url(),
                    bits: config.bits_url(),
                    bits_above: config.live.put_limit - 1,
                    refresh_before_commit: config.live.refresh_before_commit,
                    ..LiveService::default()
                };
                let fragment = Some(config.live.bits_fragment);
                Self { fragment, ..Self::speaking(Protocol::Live(service)) }
            }
        }
    }

    /// Everything but the protocol as usual.
    pub fn speaking(protocol: Protocol) -> Self {
        Self { protocol, fragment: None, loopback_only: false, patience: Patience::default(), lanes: Lanes::default() }
    }
}

/// A remote, ready for use.
#[derive(Clone)]
pub struct Opened {
    /// The remote.
    pub remote: SharedRemote,
    /// What the service can do beyond a file system. Not behind the layers: nothing is repeated, nothing waits its turn.
    pub extras: Arc<dyn Extras>,
    /// What it has been doing.
    pub counters: Arc<Counters>,
    /// The gate that all its requests pass.
    pub gate: Arc<Gate>,
}

/// Puts a remote together. Touches no network; fails with [`super::RemoteErrorKind::Local`] if the endpoint
/// is no URL we would send a token to.
pub fn open(
    options: &RemoteOptions,
    tokens: Arc<dyn TokenSource>,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
) -> RemoteResult<Opened> {
    let origin = match &options.protocol {
        Protocol::Graph(service) => &service.origin,
        Protocol::Live(service) => &service.origin,
    };
    let http = HttpOptions { origin: origin.clone(), loopback_only: options.loopback_only, patience: options.patience };
    let http = Http::new(&http, tokens, clock.clone(), entropy.clone())?;
    let (protocol, extras): (SharedRemote, Arc<dyn Extras>) = match &options.protocol {
        Protocol::Graph(service) => {
            let graph = GraphOptions {
                drive: service.drive.clone(),
                fragment: options.fragment,
                session_with_tag: service.session_with_tag,
            };
            let graph = Arc::new(Graph::new(http, clock.clone(), graph));
            (graph.clone(), graph)
        }
        Protocol::Live(service) => {
            // The start of this process and some chance: no other one has this number.
            let incarnation = (clock.now().0 as u64).rotate_left(20) ^ entropy();
            let live = Arc::new(Live::new(http, clock.clone(), service.clone(), options.fragment, incarnation));
            (live.clone(), live)
        }
    };
    let gate = Gate::new(options.lanes, clock.clone(), entropy.clone());
    let gated = Arc::new(Gated::new(protocol, gate.clone()));
    let retried = Arc::new(Retrying::new(gated, clock.clone(), entropy));
    let counters = Arc::new(Counters::default());
    let remote = Arc::new(Observed::new(retried, counters.clone(), clock));
    Ok(Opened { remote, extras, counters, gate })
}
