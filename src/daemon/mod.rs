//! One process that serves one drive: builds the object graph, mounts it, runs until told to stop, and stops
//! in an order that loses nothing.
//!
//! Starting needs the network only the very first time, to learn which drive it is; after that a drive is
//! there at once, online or not. Stopping never needs it: what has not reached the cloud is in the journal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::auth::{AuthError, TokenSource};
use crate::base::checksum::crc32c;
use crate::base::clock::{Clock, SystemClock};
use crate::base::disk::{Disk, RealDisk};
use crate::base::private;
use crate::base::tasks::{Stop, TaskGroup};
use crate::cache::CacheError;
use crate::cache::evict::Limits;
use crate::changes::Poller;
use crate::config::paths::Places;
use crate::config::{Config, Durability};
use crate::fuse::notify::NotifyQueue;
use crate::fuse::{self, MountError, MountOptions, Mounted, SessionEnd};
use crate::index::{Index, IndexError};
use crate::journal::burst::Limit;
use crate::journal::uploader::UploadSettings;
use crate::journal::{Journal, JournalSettings, StoreError};
use crate::remote::http::system_entropy;
use crate::remote::stack::{self, RemoteOptions};
use crate::remote::{DriveIdentity, Remote, RemoteError, RemoteErrorKind, URGENCY, Urgency};
use crate::volume::{self, CLOUD_PATIENCE, VolumeSettings};

pub mod control;
pub mod core;
pub mod desktop;
pub mod one_account;
pub mod run;
pub mod single;

use core::{Core, CoreParts, CoreSettings};
use desktop::Desktop;
use one_account::OneAccount;
use single::{SingleDaemon, SingleError};

/// The file that remembers which drive the state folder is for.
const IDENTITY_FILE: &str = "drive.json";

/// The same, where the work is that is for this drive and for no other.
const BESIDE_WORK: &str = "journal/drive.json";

/// Why the daemon cannot start. Every text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Another daemon has the state folder, or the folders are in each other's way.
    #[error(transparent)]
    Single(#[from] SingleError),
    /// The journal cannot be opened.
    #[error("{0}; nothing was thrown away")]
    Journal(#[source] StoreError),
    /// The index cannot be opened.
    #[error("{0}")]
    Index(#[source] IndexError),
    /// The cache cannot be opened.
    #[error("{0}: {source}", source = .0.source)]
    Cache(#[source] CacheError),
    /// The mount failed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// Nobody is signed in.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The first start needs the network.
    #[error("OneDrive cannot be reached, and it was never mounted here before ({0}); check the network and try again")]
    FirstStartOffline(#[source] RemoteError),
    /// The service refused.
    #[error("OneDrive refused: {0}")]
    Remote(#[source] RemoteError),
    /// The state folder belongs to another drive.
    #[error(
        "the folder {} belongs to the drive of {stored}, but you are signed in to the drive of {found}; \
         nothing was changed. Sign in to the first account (onedrive-cli auth), or use another --state-dir and --cache-dir",
        state.display()
    )]
    OtherDrive {
        /// The state folder.
        state: PathBuf,
        /// Whose it is.
        stored: String,
        /// Who is signed in.
        found: String,
    },
    /// A folder or file of ours cannot be used.
    #[error("{} cannot be used: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What a daemon is started with.
pub struct Options {
    /// The settings.
    pub config: Config,
    /// Where everything is.
    pub places: Places,
    /// Where to mount.
    pub mountpoint: PathBuf,
    /// Nothing may be changed.
    pub read_only: bool,
    /// Other users may use the mount.
    pub allow_other: bool,
    /// Where tokens come from.
    pub tokens: Arc<dyn TokenSource>,
    /// Never talk to any other machine (the demo).
    pub loopback_only: bool,
    /// See [`MountOptions::program`].
    pub program: Option<PathBuf>,
}

/// A daemon that is up.
pub struct Daemon {
    core: Core,
    mounted: Mounted,
    tasks: TaskGroup,
    control: Option<control::Server>,
    clock: Arc<dyn Clock>,
    _single: SingleDaemon,
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Farewell {
    /// Intents that have not reached the cloud; they are safe and go on at the next start.
    pub waiting: usize,
    /// Intents among the rest that wait for the user.
    pub parked: usize,
    /// Whether the mount point is free again; the text says why not.
    pub unmounted: Result<(), String>,
}

impl std::fmt::Display for Farewell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.waiting, self.parked) {
            (0, 0) => f.write_str("everything is in the cloud")?,
            (1, 0) => f.write_str("1 change is not in the cloud yet; it is safe and goes on at the next start")?,
            (waiting, 0) => {
                write!(f, "{waiting} changes are not in the cloud yet; they are safe and go on at the next start")?
            }
            (waiting, parked) => write!(
                f,
                "{waiting} changes are not in the cloud yet and {parked} wait for you; all are safe and go on at the next start"
            )?,
        }
        if let Err(error) = &self.unmounted {
            write!(f, "; the mount point is not free: {error}")?;
        }
        Ok(())
    }
}

impl Daemon {
    /// Opens everything, repairs what a crash left, and mounts. When it returns the mount answers.
    ///
    /// # Errors
    ///
    /// [`DaemonError`]; nothing is left mounted then.
    pub async fn start(options: Options) -> Result<Self, DaemonError> {
        let Options { config, places, mountpoint, read_only, allow_other, tokens, loopback_only, program } = options;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let disk = RealDisk::shared();
        for folder in [&places.state, &places.cache] {
            disk.create_dir_private(folder).map_err(|source| DaemonError::File { path: folder.clone(), source })?;
        }
        single::keep_out_of_mount(&mountpoint, &[&places.state, &places.cache])?;
        let single = SingleDaemon::acquire(&places.state, &mountpoint)?;
        // What a backup brought back, or an older version made. The cache is closed by its folder: it may be large.
        private::tighten(&places.state).map_err(|source| DaemonError::File { path: places.state.clone(), source })?;

        let remote_options = RemoteOptions { loopback_only, ..RemoteOptions::of(&config) };
        let open = |tokens| stack::open(&remote_options, tokens, clock.clone(), system_entropy());
        let asks = open(tokens.clone()).map_err(DaemonError::Remote)?.remote;
        let account = Arc::new(OneAccount::new(tokens, asks, clock.clone()));
        let opened = open(account.clone()).map_err(DaemonError::Remote)?;
        let remote = opened.remote.clone();
        let (identity, is_new) = identify(&*remote, &places.state, &*disk).await?;
        remote.stand_for(&identity);
        account.keep_to(identity.clone(), is_new);
        // Asked while everything is opened and mounted: without a network the answer takes longer than all of that.
        let confirmed = {
            let (account, stored, state, clock) =
                (account.clone(), identity.clone(), places.state.clone(), clock.clone());
            tokio::spawn(async move { confirm(&account, &stored, &state, &*clock).await })
        };

        let notices = NotifyQueue::new();
        let total = total_space(&places.cache);
        let core = Core::open(CoreParts {
            remote: remote.clone(),
            identity: identity.clone(),
            state: places.state.clone(),
            cache: places.chunks_folder(),
            disk: disk.clone(),
            clock: clock.clone(),
            kernel: notices.clone(),
            boot: boot_id(),
            settings: settings(&config, read_only, total),
        })?;
        stands_beside_work(&identity, &places.state, &*disk)
            .map_err(|source| DaemonError::File { path: places.state.join(BESIDE_WORK), source })?;
        core.journal.set_burst_limit(burst_limit(&config));
        report(&core);
        core.prepare().await;
        // Before the mount, so that whoever sees the mount finds the socket.
        core.listen_to(&opened.counters);
        control::clear_away(&places.sockets_left_behind()).await;
        let tasks = TaskGroup::new(clock.clone());
        let control = control::Server::start(&places.control_sockets(), core.answers(&mountpoint, &opened, &tasks))
            .await
            .map_err(|source| tracing::warn!(%source, "onedrive-cli cannot talk to this daemon"))
            .ok();
        let runtime = tokio::runtime::Handle::current();
        let mount_options = MountOptions { allow_other, read_only, program, ..MountOptions::default() };
        let (volume, at, kernel_clock) = (core.volume.clone(), mountpoint.clone(), clock.clone());
        // The handshake with the kernel blocks.
        let mounted = tokio::task::spawn_blocking(move || {
            fuse::mount(volume, &at, &mount_options, &notices, runtime, kernel_clock)
        })
        .await
        .map_err(|error| DaemonError::File { path: mountpoint.clone(), source: std::io::Error::other(error) })??;
        // Before anything is sent. Who looks at the mount in the meantime sees what was stored, as without a network.
        if let Ok(Err(refused)) = confirmed.await {
            if let Err(error) = mounted.unmount(Duration::from_secs(1)).await {
                tracing::warn!(%error, "the mount point is not free");
            }
            core.journal.close();
            return Err(refused);
        }

        if config.notifications {
            let desktop = Desktop::new(core.answers(&mountpoint, &opened, &tasks), account.clone(), clock.clone());
            // The first is stopped last: a desktop that hangs takes no time from those who have work to finish.
            tasks.spawn("desktop", |stop| desktop.run(stop));
        }
        core.spawn_tasks(&tasks);
        let (journal, poller) = (core.journal.clone(), core.poller.clone());
        tasks.spawn("account", |stop| watch_account(account, identity, places.state.clone(), journal, poller, stop));
        Ok(Self { core, mounted, tasks, control, clock, _single: single })
    }

    /// The object graph.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// Completes when somebody unmounts, or asks for it through the control socket.
    pub async fn ended(&self) -> SessionEnd {
        let asked = async {
            match &self.control {
                Some(control) => control.stop_requested().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            end = self.mounted.ended() => end,
            () = asked => SessionEnd::Unmounted,
        }
    }

    /// Stops: gives uploads up to `drain` to finish, then takes the mount down. What is left stays in the
    /// journal.
    pub async fn stop(self, drain: Duration) -> Farewell {
        let limit = self.clock.sleep(drain);
        self.stop_after(limit).await
    }

    /// As [`Daemon::stop`], giving uploads until `limit` completes.
    pub async fn stop_after(self, limit: impl Future<Output = ()>) -> Farewell {
        let Self { core, mounted, tasks, control, clock, _single } = self;
        tokio::select! {
            () = drained(&core) => {}
            () = limit => {}
        }
        let unmounted = match mounted.unmount(Duration::from_secs(5)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        core.uploader.stop();
        tasks.stop(Duration::from_secs(3)).await;
        // A disk that is gone must not keep the process: what could be written is written.
        tokio::select! {
            synced = core.journal.sync() => if let Err(error) = synced {
                tracing::error!(%error, "the journal could not be made durable at the end");
            },
            () = clock.sleep(Duration::from_secs(10)) => {
                tracing::error!("the journal could not be made durable at the end: the disk does not answer");
            }
        }
        core.journal.close();
        let (waiting, parked) = core.journal.backlog();
        let farewell = Farewell { waiting, parked, unmounted };
        if let Some(control) = control {
            control.close(&farewell).await;
        }
        farewell
    }
}

/// Completes when nothing waits for the cloud any more but what waits for the user.
async fn drained(core: &Core) {
    let mut changes = core.journal.watch();
    while core.journal.backlog().0 > 0 {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn report(core: &Core) {
    let recovered = &core.recovered;
    if recovered.pending > 0 {
        tracing::info!(pending = recovered.pending, "changes of an earlier run go on to the cloud");
    }
    for kept in &recovered.kept {
        tracing::warn!(name = kept.name, why = kept.why, "a draft is kept for you");
    }
    for damage in &recovered.unreadable {
        tracing::error!("{damage}");
    }
}

/// How long a program waits for content, or for a folder that was never listed.
const PATIENCE: Duration = Duration::from_secs(20);

// The README says so.
const _: () = assert!(PATIENCE.as_secs() * CLOUD_PATIENCE as u64 == 80);

fn settings(config: &Config, read_only: bool, total: u64) -> CoreSettings {
    let limits = Limits { max_size: config.cache.max_size.of(total), min_free: config.cache.min_free.of(total) };
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    CoreSettings {
        volume: VolumeSettings {
            uid: config.uid,
            gid: config.gid,
            umask: (config.umask & 0o777) as u16,
            read_only,
            durability: match config.durability {
                Durability::Local => volume::Durability::Local,
                Durability::Strict => volume::Durability::Strict,
                Durability::Remote => volume::Durability::Remote,
            },
            patience: PATIENCE,
            listing_age: config.poll_interval,
        },
        // Work that is not in the cloud yet may use the space that the cache leaves free for others, but not the
        // last of it.
        journal: JournalSettings { debounce: config.upload.debounce, min_free: limits.min_free / 4 },
        upload: UploadSettings {
            concurrency: config.upload.concurrency,
            fragment_size: config.upload.fragment_size,
            host,
        },
        cache: limits,
        poll_interval: config.poll_interval,
    }
}

/// When a burst of deletions or overwrites is held.
fn burst_limit(config: &Config) -> Option<Limit> {
    (config.guard.burst > 0).then_some(Limit { files: config.guard.burst, window: config.guard.window })
}

fn total_space(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(1 << 40, |stat| stat.f_blocks * stat.f_frsize)
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

/// What [`IDENTITY_FILE`] holds.
#[derive(Serialize, Deserialize)]
struct Remembered {
    #[serde(flatten)]
    identity: DriveIdentity,
    /// A flipped bit makes another drive of this one, which no sign-in would fit any more, or another root, in which
    /// nothing would be found. Older versions wrote none.
    #[serde(default)]
    check: Option<u32>,
}

impl Remembered {
    fn new(identity: &DriveIdentity) -> serde_json::Result<Self> {
        let check = Some(crc32c(&serde_json::to_vec(identity)?));
        Ok(Self { identity: identity.clone(), check })
    }

    fn to_bytes(identity: &DriveIdentity) -> std::io::Result<Vec<u8>> {
        Ok(Self::new(identity).and_then(|remembered| serde_json::to_vec_pretty(&remembered))?)
    }

    /// The drive, if it is as it was written.
    fn read(bytes: &[u8]) -> Result<DriveIdentity, String> {
        let found: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let sound = Self::new(&found.identity).map_err(|error| error.to_string())?;
        match found.check.is_none() || found.check == sound.check {
            true => Ok(found.identity),
            false => Err("its checksum is another".into()),
        }
    }
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any bytes as the file that remembers the drive.
pub(crate) fn fuzz(data: &[u8]) {
    let Ok(found) = Remembered::read(data) else { return };
    let again = Remembered::to_bytes(&found).expect("invariant: what was read can be written");
    assert_eq!(Remembered::read(&again), Ok(found));
}

/// Which drive this is: as remembered, or as the service says the first time.
async fn identify(remote: &dyn Remote, state: &Path, disk: &dyn Disk) -> Result<(DriveIdentity, bool), DaemonError> {
    let path = state.join(IDENTITY_FILE);
    let failed = |source| DaemonError::File { path: path.clone(), source };
    match disk.read(&path) {
        Ok(bytes) => match Remembered::read(&bytes) {
            Ok(identity) => return Ok((identity, false)),
            Err(error) => tracing::warn!(%error, "the drive's identity is unreadable; asking the service again"),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let identity = URGENCY.scope(Urgency::Interactive, remote.identity()).await.map_err(|error| match error.kind {
        RemoteErrorKind::Offline | RemoteErrorKind::Unavailable | RemoteErrorKind::Throttled => {
            DaemonError::FirstStartOffline(error)
        }
        _ => DaemonError::Remote(error),
    })?;
    // Who is signed in now need not be whom the work here belongs to: the list of files knows as well, and what lies
    // beside the work.
    let of_files = Index::root_in(&state.join("index")).map(|root| root.drive);
    let of_work = disk.read(&state.join(BESIDE_WORK)).ok().and_then(|bytes| Remembered::read(&bytes).ok());
    let known = [of_files, of_work.map(|identity| identity.drive)];
    if let Some(drive) = known.into_iter().flatten().find(|drive| *drive != identity.drive) {
        let stored = format!("another account ({})", drive.as_str());
        return Err(DaemonError::OtherDrive { state: state.to_owned(), stored, found: identity.owner });
    }
    disk.replace_atomically(&path, &Remembered::to_bytes(&identity).map_err(failed)?, 0o600).map_err(failed)?;
    Ok((identity, true))
}

/// Whoever deletes the files above the work has not deleted this.
fn stands_beside_work(identity: &DriveIdentity, state: &Path, disk: &dyn Disk) -> std::io::Result<()> {
    let path = state.join(BESIDE_WORK);
    let bytes = Remembered::to_bytes(identity)?;
    if disk.read(&path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    disk.replace_atomically(&path, &bytes, 0o600)
}

/// Refuses to start on the folders of another account, if the service says so quickly. If it does not, the mount
/// comes up all the same, and nothing is sent before it is known.
async fn confirm(
    account: &OneAccount,
    stored: &DriveIdentity,
    state: &Path,
    clock: &dyn Clock,
) -> Result<(), DaemonError> {
    const QUICKLY: Duration = Duration::from_millis(1500);
    tokio::select! {
        // What it says is known to the account.
        _ = account.token() => {}
        () = clock.sleep(QUICKLY) => {}
    }
    match account.others() {
        Some(found) => Err(DaemonError::OtherDrive { state: state.to_owned(), stored: stored.owner.clone(), found }),
        None => Ok(()),
    }
}

/// Says in the log when another account is signed in, and when the first one is back; then everything goes on at once.
async fn watch_account(
    account: Arc<OneAccount>,
    stored: DriveIdentity,
    state: PathBuf,
    journal: Arc<Journal>,
    poller: Arc<Poller>,
    stop: Stop,
) {
    let is_another = |found| {
        let (stored, state) = (stored.owner.clone(), state.clone());
        tracing::error!(error = %DaemonError::OtherDrive { state, stored, found });
    };
    let is_back = || {
        tracing::info!(owner = stored.owner, "the first account is signed in again");
        if let Err(error) = journal.retry_all() {
            tracing::warn!(%error, "what waited for the first account waits a little longer");
        }
        poller.reached();
    };
    account.watch(is_another, is_back, stop).await;
}
