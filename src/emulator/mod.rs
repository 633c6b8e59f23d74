//! A OneDrive of our own, over HTTP on loopback, in both of its protocols: Microsoft Graph v1.0, and for personal drives
//! also Live Connect v5.0 with BITS. For `--demo`, for trying things out, and for tests.
//!
//! It knows nothing of the client: it shares no protocol code with it, so that a misread field or rule
//! cannot cancel out on both sides. Where sources disagree about the service it takes the harsher
//! reading, see [`Strict`]; what it does not do it answers with 501. `fidelity.md` lists for each
//! behaviour whether it is documented, observed by others, or a guess.
//!
//! ```text
//!            requests                      tests
//!               |                            |
//!     server (link, faults, log)          admin: DriveHandle, Faults, OAuthHandle
//!      |         |         |                 |
//!    oauth     graph*   storage              |
//!    oauth_live live*   bits, live_storage   |
//!      |         |         |                 |
//!      +------ world: clock, switches, keys -+
//!                |
//!      drive, drive_ops (model) - names, ident, content, sessions
//! ```
//!
//! A request is read completely, then answered by a plain function that takes the drive's lock for a
//! moment and never waits; so the order of effects is the order in which the locks were taken, and a
//! request that broke off had no effect. All times come from [`Options::clock`].

mod address;
mod admin;
mod admin_live;
mod batch;
mod bits;
mod content;
mod copies;
mod demo;
mod drive;
mod drive_ops;
mod extras;
mod face;
mod faults;
mod graph;
mod graph_content;
mod graph_delta;
mod graph_items;
mod ident;
#[cfg(feature = "lab")]
mod lab;
mod link;
mod live;
mod live_content;
mod live_extras;
mod live_items;
mod live_objects;
mod live_storage;
mod live_wire;
mod names;
mod network;
mod oauth;
mod oauth_live;
mod render;
mod server;
mod sessions;
mod storage;
mod strict;
#[cfg(test)]
mod tests;
mod wire;
mod witness;
mod world;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use admin::{DriveHandle, ItemView, Node};
pub use admin_live::LiveHandle;
pub use drive::{DeltaBehaviour, ReadLag, Resync};
pub use faults::{Fault, FaultBody, Faults, Host, Rule, RuleId, When};
#[cfg(feature = "lab")]
pub use lab::Lab;
pub use link::Link;
pub use network::Network;
pub use oauth_live::LiveClient;
pub use strict::{BitsClose, DeleteMatch, Gzip, LiveStrict, Overlap, PatchAnswer, SessionGone, Strict, UnsetConflict};
pub use witness::{Course, Moment, Onlooker};
pub use world::RequestRecord;

use crate::base::clock::{Clock, SystemClock};
use drive::Drive;
use ident::Identity;
use oauth::OAuth;
use oauth_live::LiveOAuth;
use world::{Account, Plan, World, lock};

/// The kinds of drive that behave differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flavour {
    /// A personal account on the legacy backend.
    PersonalOld,
    /// A personal account on the SharePoint backend.
    PersonalNew,
    /// OneDrive for work or school.
    Business,
    /// A SharePoint document library.
    DocumentLibrary,
}

impl Flavour {
    pub(crate) fn is_personal(self) -> bool {
        matches!(self, Self::PersonalOld | Self::PersonalNew)
    }

    pub(crate) fn drive_type(self) -> &'static str {
        match self {
            Self::PersonalOld | Self::PersonalNew => "personal",
            Self::Business => "business",
            Self::DocumentLibrary => "documentLibrary",
        }
    }
}

/// What is on the drive at the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Nothing.
    Empty,
    /// A small home that a person might have.
    DemoHome,
    /// Generated files and folders.
    Synthetic {
        /// How many, the root aside.
        items: u64,
    },
}

/// How an emulator is started.
#[derive(Clone)]
pub struct Options {
    /// The kind of the account's drive.
    pub flavour: Flavour,
    /// Where Graph and sign-in listen.
    pub listen: SocketAddr,
    /// Where pre-authenticated URLs lead.
    pub storage_listen: SocketAddr,
    /// Ids, and generated content, follow from it.
    pub seed: u64,
    /// What is on the drive.
    pub content: Content,
    /// How harsh the service is.
    pub strict: Strict,
    /// A simulated line; `None` for loopback as it is.
    pub link: Option<Link>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// The size of the drive in bytes.
    pub quota_total: u64,
    /// How long an access token lives.
    pub access_token_life: Duration,
    /// Sign-in requests are granted without asking.
    pub auto_approve: bool,
    /// Where an HTTPS proxy for programs that know the real service only listens; see [`Lab`]. All clients have to
    /// come through it then, because the emulator hands out URLs of the real hosts.
    #[cfg(feature = "lab")]
    pub lab: Option<SocketAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            flavour: Flavour::PersonalNew,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            storage_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1,
            content: Content::Empty,
            strict: Strict::default(),
            link: None,
            clock: Arc::new(SystemClock::new()),
            quota_total: 1 << 40,
            access_token_life: Duration::from_secs(3600),
            auto_approve: true,
            #[cfg(feature = "lab")]
            lab: None,
        }
    }
}

/// Where a client finds the emulator: base URLs without a trailing slash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoints {
    /// Graph's root; the client adds `/v1.0`.
    pub graph: String,
    /// The sign-in host; the client adds `/{tenant}/oauth2/v2.0/...`, or `/oauth20_*.srf` for Live Connect.
    pub login: String,
    /// Live Connect's root; the client adds `/v5.0`. Answers for personal drives only.
    pub live: String,
    /// The host of BITS uploads; the client adds `/users/0x{cid}/LiveFolders/...` or `/items/...`.
    pub bits: String,
}

/// Tokens as a client would get them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tokens {
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
    /// Seconds until the access token ends.
    pub expires_in: u64,
}

/// The sign-in service, as the other side of the tests sees it. Cheap to clone.
#[derive(Clone)]
pub struct OAuthHandle {
    world: Arc<World>,
}

impl OAuthHandle {
    /// Tokens without a browser, with a refresh token.
    pub fn issue_tokens(&self) -> Tokens {
        let scope = "Files.ReadWrite User.Read offline_access";
        let mut oauth = lock(&self.world.oauth);
        let user = oauth.user;
        let issued = oauth.issue(user, scope, None, self.world.now());
        Tokens {
            access: issued.access,
            refresh: issued.refresh.expect("invariant: the scope asks for offline access"),
            expires_in: issued.expires_in,
        }
    }

    /// Revokes every refresh token, also those of Live Connect: refreshing gives `invalid_grant`.
    pub fn revoke_refresh(&self) {
        lock(&self.world.oauth).revoke_refresh();
        lock(&self.world.live_oauth).revoke_refresh();
    }

    /// Ends every access token, also those of Live Connect: the API gives 401.
    pub fn expire_access_tokens(&self) {
        lock(&self.world.oauth).expire_access_tokens();
        lock(&self.world.live_oauth).expire_access_tokens();
    }

    /// How long access tokens live that are issued from now on.
    pub fn set_access_token_life(&self, life: Duration) {
        lock(&self.world.oauth).access_life = life;
        lock(&self.world.live_oauth).access_life = life;
    }

    /// Whether sign-in requests are granted without asking.
    pub fn set_auto_approve(&self, on: bool) {
        lock(&self.world.oauth).auto_approve = on;
        lock(&self.world.live_oauth).auto_approve = on;
    }

    /// Approves a pending device code; `false` when there is none with this user code.
    pub fn approve(&self, user_code: &str) -> bool {
        lock(&self.world.oauth).decide_device(user_code, true)
    }

    /// Declines a pending device code; `false` when there is none with this user code.
    pub fn decline(&self, user_code: &str) -> bool {
        lock(&self.world.oauth).decide_device(user_code, false)
    }

    /// Who signs in to Graph from now on: the owner of this drive.
    pub fn sign_in_as(&self, drive: &DriveHandle) {
        lock(&self.world.oauth).user = drive.number();
    }

    /// Knows these application ids only; empty: all.
    pub fn set_clients(&self, clients: &[&str]) {
        lock(&self.world.oauth).clients = clients.iter().map(|client| (*client).to_owned()).collect();
    }

    /// Registers another redirect URI. On loopback the port does not matter, the path does.
    pub fn register_redirect(&self, uri: &str) {
        lock(&self.world.oauth).redirects.push(uri.to_owned());
    }
}

/// A running emulator. Stops, with all its connections, when dropped.
pub struct Emulator {
    world: Arc<World>,
    drive: DriveHandle,
    oauth: OAuthHandle,
    tasks: Vec<JoinHandle<()>>,
    #[cfg(feature = "lab")]
    lab: Option<Lab>,
}

impl Emulator {
    /// Starts the emulator on the current runtime. When this returns it answers.
    ///
    /// # Errors
    /// When an address cannot be listened on, or the system gives no randomness.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let storage_listener = TcpListener::bind(options.storage_listen).await?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
        let personal = options.flavour.is_personal();
        let account = Account {
            id: ident::guid(ident::mix(options.seed), ident::mix(!options.seed)).to_lowercase(),
            name: "Ada Example".into(),
            mail: "ada@example.org".into(),
            tenant: if personal {
                // The tenant of all personal accounts, by which clients tell them from others.
                "9188040d-6c67-4c5b-b112-36a304b66dad".into()
            } else {
                ident::guid(ident::mix(options.seed ^ 77), ident::mix(!options.seed ^ 77)).to_lowercase()
            },
        };
        let now = options.clock.now();
        let mut drive = Drive::new(options.flavour, options.seed, &account.name, options.quota_total, now);
        match options.content {
            Content::Empty => {}
            Content::DemoHome => demo::home(&mut drive, now),
            Content::Synthetic { items } => demo::synthetic(&mut drive, options.seed, items, now),
        }
        #[cfg_attr(not(feature = "lab"), expect(unused_mut, reason = "only a lab changes them"))]
        let mut urls =
            (format!("http://{}", listener.local_addr()?), format!("http://{}", storage_listener.local_addr()?));
        #[cfg(feature = "lab")]
        if options.lab.is_some() {
            urls = lab::urls(options.flavour);
        }
        let world = Arc::new(World::new(Plan {
            link: options.link,
            strict: options.strict,
            graph_url: urls.0,
            storage_url: urls.1,
            account,
            oauth: OAuth::new(key, options.access_token_life, options.auto_approve),
            live_oauth: LiveOAuth::new(key, options.access_token_life, options.auto_approve),
            key,
            clock: options.clock,
        }));
        let cell = world.add_drive(drive);
        #[cfg_attr(not(feature = "lab"), expect(unused_mut, reason = "only a lab adds one"))]
        let mut tasks = vec![
            tokio::spawn(server::accept(world.clone(), listener, false)),
            tokio::spawn(server::accept(world.clone(), storage_listener, true)),
        ];
        let drive = DriveHandle::new(world.clone(), cell);
        let oauth = OAuthHandle { world: world.clone() };
        #[cfg(feature = "lab")]
        let lab = match options.lab {
            None => None,
            Some(address) => {
                let (lab, task) = lab::open(address, world.clone(), drive.clone(), oauth.clone()).await?;
                tasks.push(task);
                Some(lab)
            }
        };
        Ok(Self {
            oauth,
            drive,
            world,
            tasks,
            #[cfg(feature = "lab")]
            lab,
        })
    }

    /// Where clients find it.
    pub fn endpoints(&self) -> Endpoints {
        let api = || self.world.graph_url.clone();
        Endpoints { graph: api(), login: api(), live: api(), bits: self.world.storage_url.clone() }
    }

    /// The proxy for programs that know the real service only, if one was asked for.
    #[cfg(feature = "lab")]
    pub fn lab(&self) -> Option<&Lab> {
        self.lab.as_ref()
    }

    /// Changes the simulated line from now on; `None` for loopback as it is.
    pub fn set_link(&self, link: Option<Link>) {
        self.world.link().set(link);
    }

    /// The second authority's base URL.
    pub fn storage_url(&self) -> String {
        self.world.storage_url.clone()
    }

    /// The account's own drive.
    pub fn drive(&self) -> &DriveHandle {
        &self.drive
    }

    /// Adds somebody else's drive, to be reached by its id or through a shortcut.
    pub fn add_drive(&self, flavour: Flavour, seed: u64, owner: &str) -> DriveHandle {
        let drive = Drive::new(flavour, seed, owner, 1 << 40, self.world.now());
        DriveHandle::new(self.world.clone(), self.world.add_drive(drive))
    }

    /// Adds another user with a legacy drive of their own, whose id has no leading zero. They sign in to Live Connect
    /// after [`LiveHandle::sign_in_as`].
    pub fn add_account(&self, seed: u64, owner: &str) -> DriveHandle {
        let mut drive = Drive::new(Flavour::PersonalOld, seed, owner, 1 << 40, self.world.now());
        drive.identity = Arc::new(Identity::new(Flavour::PersonalOld, seed).without_zero());
        DriveHandle::new(self.world.clone(), self.world.add_drive(drive))
    }

    /// Live Connect.
    pub fn live(&self) -> LiveHandle {
        LiveHandle::new(self.world.clone())
    }

    /// The fault rules.
    pub fn faults(&self) -> &Faults {
        self.world.faults()
    }

    /// Refuses all requests for this long: Graph with 429 and a time to wait, Live Connect and BITS with 420.
    pub fn throttle(&self, duration: Duration) {
        let until = self.world.clock().monotonic().plus(duration);
        self.world.faults().throttle_until(until);
    }

    /// Lets `witness` see every exchange from now on; `None` ends that. It is called on the server's tasks and must not
    /// block; it may use the [`DriveHandle`].
    pub fn set_witness(&self, witness: Option<Onlooker>) {
        self.world.witness().set(witness);
    }

    /// Takes the service off the network, or back: while it is off every connection, new or kept alive,
    /// is reset without an answer.
    pub fn set_online(&self, online: bool) {
        self.set_network(if online { Network::Up } else { Network::Resetting });
    }

    /// Makes the network behave in some way from now on. Doors open and close a moment later.
    pub fn set_network(&self, network: Network) {
        self.world.set_network(network);
    }

    /// Changes switches while running.
    pub fn set_strict(&self, change: impl FnOnce(&mut Strict)) {
        self.world.set_strict(change);
    }

    /// The sign-in service.
    pub fn oauth(&self) -> &OAuthHandle {
        &self.oauth
    }

    /// The requests so far, oldest first; of very many, the latest.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.world.requests()
    }

    /// Everything that was handed out, or handed in, and that nobody but the client may ever see: tokens, codes,
    /// verifiers, and the URLs that carry their own permission. For tests that look for them where they must not be.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = lock(&self.world.oauth).secrets();
        secrets.extend(lock(&self.world.live_oauth).secrets());
        secrets.extend(self.world.signed());
        secrets
    }

    /// Empties the log of requests.
    pub fn forget_requests(&self) {
        self.world.forget_requests();
    }

    /// Stops listening and cuts all connections.
    pub async fn stop(mut self) {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
