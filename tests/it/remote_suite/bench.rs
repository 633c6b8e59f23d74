//! A drive of the emulator and the remote that leads to it, as the suites below speak to it: on a clock that both
//! share, where waiting costs nothing.
//!
//! `Bench::check` holds what is true of every request that was ever made: no token at the storage host, no call
//! before a `Retry-After` is over.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use onedrive_mount::auth::{AuthError, TokenSource};
use onedrive_mount::base::clock::{Clock, Mono, Sleep, Timestamp};
use onedrive_mount::base::hash::QuickXorHash;
use onedrive_mount::base::ids::{ContentTag, Cursor, ItemId, MetaTag};
use onedrive_mount::base::secret::Secret;
use onedrive_mount::emulator::{DriveHandle, Emulator, Host, Options, Resync};
use onedrive_mount::remote::stack::{self, Opened, RemoteOptions};
use onedrive_mount::remote::{
    Ack, At, Caps, Change, ChangeSource, Extras, Item, Next, Place, Precondition, Remote, RemoteErrorKind,
    RemoteResult, SharedRemote, Start, Target, Ticket,
};

use crate::world::side::Side;

/// A clock that both sides share and on which pauses cost nothing: short sleeps move it and end, watchdogs
/// never bark.
#[derive(Clone, Default)]
pub struct QuickClock {
    nanos: Arc<AtomicU64>,
}

impl QuickClock {
    /// Moves time forward.
    pub fn advance(&self, by: Duration) {
        self.nanos.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
    }
}

impl Clock for QuickClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(1_770_000_000).plus(Duration::from_nanos(self.monotonic().0))
    }

    fn monotonic(&self) -> Mono {
        Mono(self.nanos.load(Ordering::SeqCst))
    }

    fn sleep(&self, by: Duration) -> Sleep {
        if by >= Duration::from_secs(25) {
            return Box::pin(std::future::pending());
        }
        let clock = self.clone();
        Box::pin(async move { clock.advance(by) })
    }
}

/// Tokens straight from the emulator.
struct Issued {
    issue: Box<dyn Fn() -> String + Send + Sync>,
    current: Mutex<String>,
    renewals: AtomicU64,
}

#[async_trait]
impl TokenSource for Issued {
    async fn token(&self) -> Result<Secret<String>, AuthError> {
        Ok(Secret::new(self.current.lock().expect("no panic with the lock").clone()))
    }

    async fn renew(&self, _: &Secret<String>) -> Result<Secret<String>, AuthError> {
        self.renewals.fetch_add(1, Ordering::SeqCst);
        *self.current.lock().expect("no panic with the lock") = (self.issue)();
        self.token().await
    }
}

/// A remote and the service behind it.
pub struct Bench {
    pub emulator: Emulator,
    pub drive: DriveHandle,
    pub remote: SharedRemote,
    pub extras: Arc<dyn Extras>,
    pub root: ItemId,
    pub clock: QuickClock,
    /// How the service behaves where services differ: what is asked where a check cannot hold everywhere.
    pub caps: Caps,
    tokens: Arc<Issued>,
    options: RemoteOptions,
}

impl Bench {
    /// An empty drive of this kind.
    pub async fn start(side: impl Into<Side>) -> Self {
        let Side { flavour, live } = side.into();
        let clock = QuickClock::default();
        let options = Options { flavour, clock: Arc::new(clock.clone()), ..Options::default() };
        let emulator = Emulator::start(options).await.expect("the emulator starts");
        let side = Side { flavour, live };
        let issue = side.issuer(&emulator);
        let current = Mutex::new(issue());
        let tokens = Arc::new(Issued { issue, current, renewals: AtomicU64::new(0) });
        let mut options = RemoteOptions::speaking(side.protocol(&emulator));
        options.loopback_only = true;
        let Opened { remote, extras, .. } = open(&options, &tokens, &clock);
        let root = remote.identity().await.expect("a drive").root;
        let drive = emulator.drive().clone();
        let caps = remote.caps().clone();
        Self { emulator, drive, remote, extras, root, clock, caps, tokens, options }
    }

    /// Another process's remote for the same drive. It starts later than this one.
    pub fn reopened(&self) -> SharedRemote {
        self.tick();
        open(&self.options, &self.tokens, &self.clock).remote
    }

    /// Makes the cursors that were handed out so far useless, and returns the remote that is to be asked now.
    pub fn expire(&self, how: Resync) -> SharedRemote {
        match self.caps.changes {
            ChangeSource::Native => {
                self.drive.expire_delta_tokens(how);
                self.remote.clone()
            }
            // What was compared is known to the process only.
            ChangeSource::Listed => self.reopened(),
        }
    }

    /// Whether an item is the version that has these bytes, as far as the service tells.
    pub fn assert_version(&self, item: &Item, bytes: &[u8]) {
        assert_eq!(item.size, bytes.len() as u64);
        if self.caps.hashes {
            let expected = ContentTag::from_hash(&QuickXorHash::of(bytes), bytes.len() as u64);
            assert_eq!(item.content_tag, Some(expected));
        } else {
            assert!(item.content_tag.is_some());
        }
    }

    /// A second passes, which is the least that a service without hashes can tell apart.
    pub fn tick(&self) {
        self.clock.advance(Duration::from_secs(1));
    }

    /// How often the token was renewed.
    pub fn renewals(&self) -> u64 {
        self.tokens.renewals.load(Ordering::SeqCst)
    }

    /// The time on the shared clock, in seconds since the start.
    pub fn clock_seconds(&self) -> u64 {
        self.clock.monotonic().0 / 1_000_000_000
    }

    /// The item at a path.
    pub async fn at(&self, path: &str) -> Item {
        let mut id = self.root.clone();
        let mut item = self.remote.stat(At::Id(&id)).await.expect("the root");
        for name in path.split('/').filter(|name| !name.is_empty()) {
            item = self.remote.stat(At::Child(&id, name)).await.unwrap_or_else(|error| panic!("{path}: {error}"));
            id = item.id.clone();
        }
        item
    }

    /// A target for a new file in the root.
    pub fn new_file(&self, name: &str) -> Target {
        Target { place: Place::New { parent: self.root.clone(), name: name.into() }, modified: WHEN, created: None }
    }

    /// Creates a file through the remote.
    pub async fn put(&self, name: &str, bytes: &'static [u8]) -> Item {
        let (to, bytes) = (self.new_file(name), Bytes::from_static(bytes));
        self.remote.put_small(&to, bytes, &Precondition::MustNotExist).await.expect("created")
    }

    /// What must be true after any test.
    pub fn check(&self) {
        for request in self.emulator.requests() {
            if request.host == Host::Storage {
                assert!(!request.had_authorization, "the token went to {}", request.path);
            } else {
                assert!(request.client_request_id.is_some(), "no id with {}", request.path);
            }
        }
        assert_eq!(self.emulator.faults().early_calls(), 0, "somebody did not wait");
    }
}

fn open(options: &RemoteOptions, tokens: &Arc<Issued>, clock: &QuickClock) -> Opened {
    let entropy: Arc<dyn Fn() -> u64 + Send + Sync> = Arc::new(|| u64::MAX / 3);
    stack::open(options, tokens.clone(), Arc::new(clock.clone()), entropy).expect("it opens")
}

/// A modification time; the service keeps whole seconds.
pub const WHEN: Timestamp = Timestamp(1_700_000_001_700_000_000);

/// One unit of fragments.
pub const UNIT: usize = 327_680;

/// New content for an item.
pub fn replace(item: &ItemId) -> Target {
    Target { place: Place::Replace(item.clone()), modified: WHEN, created: None }
}

/// Bytes that differ everywhere.
pub fn pattern(length: usize) -> Bytes {
    (0..length).map(|i| (i * 7 + i / 251) as u8).collect::<Vec<_>>().into()
}

/// The precondition that an item is as it was.
pub fn unchanged(item: &Item) -> Precondition {
    Precondition::Unchanged(item.meta_tag.clone())
}

/// A precondition that nothing fulfils.
pub fn stale() -> Precondition {
    Precondition::Unchanged(MetaTag("\"{00000000-0000-0000-0000-000000000000},7\"".into()))
}

/// The kind of a failure.
pub fn kind<T>(result: RemoteResult<T>) -> Option<RemoteErrorKind> {
    result.err().map(|error| error.kind)
}

/// A range of a file.
pub async fn read(remote: &dyn Remote, item: &Item, range: Range<u64>) -> RemoteResult<Vec<u8>> {
    let tag = item.content_tag.as_ref().expect("a file has a content tag");
    let mut body = remote.read(&item.id, tag, range).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = body.stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    assert_eq!(bytes.len() as u64, body.range.end - body.range.start, "the body kept its promise");
    Ok(bytes)
}

/// Sends everything from an offset on, in fragments of one unit; the last answer.
pub async fn send_from(remote: &dyn Remote, ticket: &Ticket, bytes: &Bytes, mut at: u64) -> RemoteResult<Item> {
    loop {
        let end = bytes.len().min(at as usize + UNIT);
        match remote.put_fragment(ticket, at, bytes.slice(at as usize..end)).await? {
            // Some services make the file with the last fragment, some in a step of its own.
            Ack::Next(next) if next == bytes.len() as u64 => {
                return remote.finish_upload(ticket).await.map(|finished| finished.item);
            }
            Ack::Next(next) => at = next,
            Ack::Done(finished) => return Ok(finished.item),
        }
    }
}

/// A chain of changes to its end.
pub async fn chain(remote: &dyn Remote, start: Start<'_>) -> RemoteResult<(Vec<Change>, Cursor)> {
    let mut page = remote.changes(start).await?;
    let mut changes = Vec::new();
    for _ in 0..1000 {
        changes.append(&mut page.changes);
        page = match page.next {
            Next::Done(cursor) => return Ok((changes, cursor)),
            Next::More(link) => remote.changes(Start::Link(&link)).await?,
        };
    }
    panic!("the chain has no end");
}
