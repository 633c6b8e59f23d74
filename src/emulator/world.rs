//! What all of the emulator's parts share: the clock, the switches, the drives, the signing key.
//!
//! Locks are held for the length of a plain function and never across another lock of the same kind;
//! nothing awaits while holding one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::Flavour;
use super::bits::BitsSessions;
use super::copies::Copies;
use super::drive::Drive;
use super::faults::{Faults, Host};
use super::ident::{Identity, Index};
use super::link::{Link, LinkState};
use super::network::Network;
use super::oauth::OAuth;
use super::oauth_live::LiveOAuth;
use super::sessions::Sessions;
use super::strict::Strict;
use super::witness::Witness;
use crate::base::clock::{Clock, Timestamp};

/// Requests kept in the log; older ones are dropped.
const LOG_MAX: usize = 50_000;

/// One request that the emulator answered, or cut.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// Which service it came to.
    pub host: Host,
    /// HTTP method.
    pub method: String,
    /// Path and query as sent.
    pub path: String,
    /// The status that was sent; `None` when the connection was cut.
    pub status: Option<u16>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// Whether an `Authorization` header came with it.
    pub had_authorization: bool,
    /// `Range`, or `Content-Range` of an upload.
    pub range: Option<String>,
    /// The client's id for the request.
    pub client_request_id: Option<String>,
    /// When it was acted on, by the emulator's clock.
    pub when: Timestamp,
}

/// How many secrets are remembered for tests; a service that runs for long must not grow.
pub(crate) const MOST_SECRETS: usize = 100_000;

/// Locks, whatever happened to an earlier holder: a test that panicked must not hide its cause.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One drive and what can be known of it without its lock.
pub(crate) struct DriveCell {
    pub(crate) number: usize,
    pub(crate) identity: Arc<Identity>,
    state: Mutex<Drive>,
}

impl DriveCell {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Drive> {
        lock(&self.state)
    }
}

/// Everything.
pub(crate) struct World {
    clock: Arc<dyn Clock>,
    link: LinkState,
    strict: RwLock<Arc<Strict>>,
    faults: Faults,
    witness: Witness,
    drives: RwLock<Vec<Arc<DriveCell>>>,
    pub(crate) graph_url: String,
    pub(crate) storage_url: String,
    pub(crate) account: Account,
    pub(crate) sessions: Mutex<Sessions>,
    pub(crate) oauth: Mutex<OAuth>,
    pub(crate) copies: Mutex<Copies>,
    pub(crate) live_oauth: Mutex<LiveOAuth>,
    pub(crate) bits: Mutex<BitsSessions>,
    /// Pages of Live listings that are still to be cut wrongly, and in which direction.
    pub(crate) listing_shift: Mutex<i32>,
    requests: Mutex<VecDeque<RequestRecord>>,
    /// The pre-authenticated URLs that were handed out.
    signed: Mutex<Vec<String>>,
    number: AtomicU64,
    network: watch::Sender<Network>,
    key: [u8; 32],
}

/// The person whose drive this is.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) mail: String,
    pub(crate) tenant: String,
}

/// What [`World::new`] needs to know.
pub(crate) struct Plan {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) link: Option<Link>,
    pub(crate) strict: Strict,
    pub(crate) graph_url: String,
    pub(crate) storage_url: String,
    pub(crate) account: Account,
    pub(crate) oauth: OAuth,
    pub(crate) live_oauth: LiveOAuth,
    pub(crate) key: [u8; 32],
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            clock: plan.clock,
            link: LinkState::new(plan.link),
            strict: RwLock::new(Arc::new(plan.strict)),
            faults: Faults::default(),
            witness: Witness::default(),
            drives: RwLock::default(),
            graph_url: plan.graph_url,
            storage_url: plan.storage_url,
            account: plan.account,
            sessions: Mutex::default(),
            oauth: Mutex::new(plan.oauth),
            copies: Mutex::default(),
            live_oauth: Mutex::new(plan.live_oauth),
            bits: Mutex::default(),
            listing_shift: Mutex::default(),
            requests: Mutex::default(),
            signed: Mutex::default(),
            number: AtomicU64::new(1),
            network: watch::Sender::new(Network::Up),
            key: plan.key,
        }
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn link(&self) -> &LinkState {
        &self.link
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(crate) fn witness(&self) -> &Witness {
        &self.witness
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn watch_network(&self) -> watch::Receiver<Network> {
        self.network.subscribe()
    }

    pub(crate) fn set_network(&self, network: Network) {
        self.network.send_replace(network);
    }

    /// The switches as they are now.
    pub(crate) fn strict(&self) -> Arc<Strict> {
        self.strict.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_strict(&self, change: impl FnOnce(&mut Strict)) {
        let mut strict = self.strict.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut strict));
    }

    /// Adds a drive; the first one is the account's own.
    pub(crate) fn add_drive(&self, drive: Drive) -> Arc<DriveCell> {
        let mut drives = self.drives.write().unwrap_or_else(PoisonError::into_inner);
        let cell =
            Arc::new(DriveCell { number: drives.len(), identity: drive.identity.clone(), state: Mutex::new(drive) });
        drives.push(cell.clone());
        cell
    }

    pub(crate) fn drive(&self, number: usize) -> Option<Arc<DriveCell>> {
        self.drives.read().unwrap_or_else(PoisonError::into_inner).get(number).cloned()
    }

    /// The drive with this id.
    pub(crate) fn drive_by_id(&self, id: &str) -> Option<Arc<DriveCell>> {
        let drives = self.drives.read().unwrap_or_else(PoisonError::into_inner);
        drives.iter().find(|cell| cell.identity.is_drive(id)).cloned()
    }

    /// The kind of the account's own drive.
    pub(crate) fn flavour(&self) -> Flavour {
        self.drive(0).map_or(Flavour::PersonalNew, |cell| cell.identity.flavour())
    }

    pub(crate) fn record(&self, record: RequestRecord) {
        tracing::trace!(
            host = ?record.host, method = record.method, path = record.path, status = record.status,
            sent = record.bytes_out, "emulator answered"
        );
        let mut requests = lock(&self.requests);
        if requests.len() >= LOG_MAX {
            requests.pop_front();
        }
        requests.push_back(record);
    }

    pub(crate) fn requests(&self) -> Vec<RequestRecord> {
        lock(&self.requests).iter().cloned().collect()
    }

    pub(crate) fn forget_requests(&self) {
        lock(&self.requests).clear();
    }

    /// A code that nobody without the key can make for this text.
    pub(crate) fn mac(&self, text: &str) -> String {
        let digest = Sha256::new().chain_update(self.key).chain_update(text).finalize();
        URL_SAFE_NO_PAD.encode(&digest[..15])
    }

    /// An opaque, unforgeable form of a text.
    pub(crate) fn seal(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(format!("{text}|{}", self.mac(text)))
    }

    /// The text of a sealed form, if it is one of ours.
    pub(crate) fn unseal(&self, sealed: &str) -> Option<String> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(sealed).ok()?).ok()?;
        let (text, mac) = text.rsplit_once('|')?;
        (self.mac(text) == mac).then(|| text.to_owned())
    }

    /// A URL on the other authority that carries its own permission until a time.
    pub(crate) fn sign(&self, path: &str, expiry: Timestamp) -> String {
        let unsigned = format!("{path}?tempauth=v1.{}", expiry.seconds());
        let signature = self.mac(&unsigned);
        let url = format!("{}{unsigned}.{signature}", self.storage_url);
        let mut signed = lock(&self.signed);
        if signed.len() < MOST_SECRETS {
            signed.push(url.clone());
        }
        url
    }

    /// The pre-authenticated URLs that were handed out so far.
    pub(crate) fn signed(&self) -> Vec<String> {
        lock(&self.signed).clone()
    }

    /// Whether path and query are exactly as signed; gives the expiry.
    pub(crate) fn verify(&self, path: &str, query: &str) -> Option<Timestamp> {
        let (unsigned, signature) = query.rsplit_once('.')?;
        let expiry = unsigned.strip_prefix("tempauth=v1.")?.parse().ok()?;
        (self.mac(&format!("{path}?{unsigned}")) == signature).then(|| Timestamp::from_seconds(expiry))
    }

    /// A pre-authenticated URL for a file's content, or for one of its versions.
    pub(crate) fn download_url(
        &self,
        drive: usize,
        index: Index,
        ctag: u32,
        version: Option<u32>,
        now: Timestamp,
    ) -> String {
        let version = version.map_or_else(|| "current".to_owned(), |number| number.to_string());
        let handle = self.seal(&format!("file|{drive}|{index}|{ctag}|{version}"));
        self.sign(&format!("/download/{handle}"), now.plus(self.strict().download_url_life))
    }
}
