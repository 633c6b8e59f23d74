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
use super::{Extras, RemoteResult, SharedRemote};
use crate::auth::TokenSource;
use crate::base::clock::Clock;

/// What a remote needs to know.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// The base URL of Graph without version: `https://graph.microsoft.com`, `http://127.0.0.1:1234`.
    pub graph: String,
    /// Which drive.
    pub drive: DriveChoice,
    /// The longest fragment of an upload, in bytes; rounded down to a multiple of 320 KiB. `None`: as long as
    /// the service takes.
    pub fragment: Option<u64>,
    /// Whether upload sessions carry their precondition themselves; see [`GraphOptions::session_with_tag`].
    pub session_with_tag: bool,
    /// Refuse every host but this machine.
    pub loopback_only: bool,
    /// How long the network may stand still.
    pub patience: Patience,
    /// How many requests run at once.
    pub lanes: Lanes,
}

impl RemoteOptions {
    /// The default drive of the signed-in account behind this Graph endpoint, everything else as usual.
    pub fn new(graph: impl Into<String>) -> Self {
        Self {
            graph: graph.into(),
            drive: DriveChoice::Me,
            fragment: None,
            session_with_tag: false,
            loopback_only: false,
            patience: Patience::default(),
            lanes: Lanes::default(),
        }
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
    let http =
        HttpOptions { origin: options.graph.clone(), loopback_only: options.loopback_only, patience: options.patience };
    let http = Http::new(&http, tokens, clock.clone(), entropy.clone())?;
    let graph = GraphOptions {
        drive: options.drive.clone(),
        fragment: options.fragment,
        session_with_tag: options.session_with_tag,
    };
    let protocol = Arc::new(Graph::new(http, clock.clone(), graph));
    let extras: Arc<dyn Extras> = protocol.clone();
    let gate = Gate::new(options.lanes, clock.clone(), entropy.clone());
    let gated = Arc::new(Gated::new(protocol, gate.clone()));
    let retried = Arc::new(Retrying::new(gated, clock.clone(), entropy));
    let counters = Arc::new(Counters::default());
    let remote = Arc::new(Observed::new(retried, counters.clone(), clock));
    Ok(Opened { remote, extras, counters, gate })
}
