//! The object graph of one drive, without a mount: journal, index, cache, volume and the tasks between them
//! and the cloud. The daemon mounts it; tests drive it directly.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Clock;
use crate::base::disk::Disk;
use crate::base::ids::Ino;
use crate::base::tasks::{Stop, TaskGroup};
use crate::cache::evict::Limits;
use crate::cache::{ChunkCache, Fetcher};
use crate::changes::{self, Poller};
use crate::index::{Index, NoticeSink};
use crate::journal::uploader::{UploadSettings, Uploader};
use crate::journal::{Journal, JournalSettings, Opening, Recovered};
use crate::remote::layers::observe::Counters;
use crate::remote::stack::Opened;
use crate::remote::{DriveIdentity, Remote};
use crate::volume::{CachedVersions, KernelSink, Parts, Volume, VolumeSettings};

use super::DaemonError;
use super::control::Answers;

/// What a drive is built from.
pub struct CoreParts {
    /// The cloud.
    pub remote: Arc<dyn Remote>,
    /// Which drive it is.
    pub identity: DriveIdentity,
    /// Folder of the journal and the index.
    pub state: PathBuf,
    /// Folder of the cached content.
    pub cache: PathBuf,
    /// Where files live.
    pub disk: Arc<dyn Disk>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The kernel's caches.
    pub kernel: Arc<dyn KernelSink>,
    /// Identifies this run of the machine.
    pub boot: String,
    /// How everything behaves.
    pub settings: CoreSettings,
}

/// How a drive behaves.
#[derive(Clone, Debug)]
pub struct CoreSettings {
    /// The volume.
    pub volume: VolumeSettings,
    /// The journal.
    pub journal: JournalSettings,
    /// Uploads.
    pub upload: UploadSettings,
    /// Limits of the cache.
    pub cache: Limits,
    /// How often changes are asked for when nothing happens.
    pub poll_interval: Duration,
}

/// One drive, ready to be used.
pub struct Core {
    /// The file system.
    pub volume: Arc<Volume>,
    /// What the cloud has not acknowledged.
    pub journal: Arc<Journal>,
    /// What we believe the cloud looks like.
    pub index: Arc<Index>,
    /// Sends.
    pub uploader: Arc<Uploader>,
    /// Listens.
    pub poller: Arc<Poller>,
    /// Clean bytes.
    pub cache: ChunkCache,
    /// The cloud.
    pub remote: Arc<dyn Remote>,
    /// What was found at start-up.
    pub recovered: Recovered,
    clock: Arc<dyn Clock>,
}

impl Core {
    /// Opens everything and repairs what a crash left. Touches no network and starts no task.
    ///
    /// # Errors
    ///
    /// [`DaemonError`], with nothing changed that matters.
    pub fn open(parts: CoreParts) -> Result<Self, DaemonError> {
        let CoreParts { remote, identity, state, cache, disk, clock, kernel, boot, settings } = parts;
        let (journal, recovered) = Journal::open(Opening {
            folder: state.join("journal"),
            disk: disk.clone(),
            clock: clock.clone(),
            settings: settings.journal,
            boot,
        })
        .map_err(DaemonError::Journal)?;
        let index = Arc::new(
            Index::open(&state.join("index"), &identity.root, &recovered.anchors, journal.inos())
                .map_err(DaemonError::Index)?,
        );
        if remote.caps().name_clash {
            index.keep_namesakes();
        }
        journal.attach(index.clone());
        index.write(|txn| txn.forget_gone()).map_err(DaemonError::Index)?;
        let cache =
            ChunkCache::open(&cache, settings.cache, disk.clone(), clock.clone()).map_err(DaemonError::Cache)?;
        let fetcher = Fetcher::new(cache.clone(), remote.clone(), clock.clone(), crate::cache::Settings::default());
        let patience = settings.volume.patience;
        let volume = Volume::new(Parts {
            journal: journal.clone(),
            index: index.clone(),
            remote: remote.clone(),
            cache: cache.clone(),
            fetcher: fetcher.clone(),
            clock: clock.clone(),
            kernel,
            settings: settings.volume,
        });
        let versions = Arc::new(CachedVersions { cache: cache.clone(), fetcher, disk, patience });
        let sink: Arc<dyn NoticeSink> = volume.clone();
        let uploader = Uploader::new(
            journal.clone(),
            index.clone(),
            remote.clone(),
            versions,
            clock.clone(),
            settings.upload,
            sink.clone(),
        );
        let rhythm = changes::Settings { interval: settings.poll_interval, ..changes::Settings::default() };
        let poller = Arc::new(Poller::new(remote.clone(), index.clone(), sink, clock.clone(), rhythm));
        volume.on_use(tells(&poller, Poller::touch));
        let follower = Arc::downgrade(&poller);
        volume.on_doubt(move |item| {
            if let Some(poller) = follower.upgrade() {
                poller.doubt(item);
            }
        });
        Ok(Self { volume, journal, index, uploader, poller, cache, remote, recovered, clock })
    }

    /// Takes the position in the stream of changes before anything is listed, so that no change falls between
    /// the two. Without a network there is nothing to list either, so a failure only means "later".
    pub async fn prepare(&self) {
        if let Err(error) = self.poller.prepare().await {
            tracing::info!(%error, "changes elsewhere are not followed yet");
            return;
        }
        // The first thing that anybody does with a new mount is to look at it: the answer is on its way by then.
        let volume = self.volume.clone();
        tokio::spawn(async move {
            if let Ok(listing) = volume.open_dir(Ino::ROOT).await {
                volume.release_dir(listing);
            }
        });
    }

    /// What the service answers anybody tells those who have given up for a while that it can be reached.
    pub fn listen_to(&self, counters: &Counters) {
        counters.on_answer(tells(&self.poller, Poller::reached));
    }

    /// Everything that may be asked about this drive through the control socket. `opened` is what its remote was
    /// opened as, `tasks` are those that serve it, or will.
    pub fn answers(&self, mountpoint: &Path, opened: &Opened, tasks: &TaskGroup) -> Answers {
        Answers {
            mountpoint: mountpoint.to_owned(),
            volume: self.volume.clone(),
            journal: self.journal.clone(),
            health: self.poller.health(),
            counters: opened.counters.clone(),
            gate: opened.gate.clone(),
            index: self.index.clone(),
            unreadable: self.recovered.unreadable.clone(),
            failures: tasks.failures(),
        }
    }

    /// Starts the tasks: uploads, changes, quota.
    pub fn spawn_tasks(&self, tasks: &TaskGroup) {
        // The latest is stopped first: uploads get the most of the time that stopping may take.
        for _ in 0..self.uploader.concurrency() {
            let uploader = self.uploader.clone();
            // A worker that was told to finish may be at the end of its work before its task is stopped.
            let work = async move {
                uploader.work().await;
                std::future::pending().await
            };
            tasks.spawn("upload", |stop| until_stopped(work, stop));
        }
        let poller = self.poller.clone();
        tasks.spawn("changes", |stop| poller.run(stop));
        let health = watch_health(self.poller.clone(), self.volume.clone(), self.journal.clone());
        tasks.spawn("health", |stop| until_stopped(health, stop));
        let budget = watch_unsent(self.journal.clone(), self.cache.clone(), self.clock.clone());
        tasks.spawn("budget", |stop| until_stopped(budget, stop));
        let unsealed = watch_unsealed(self.journal.clone(), self.clock.clone());
        tasks.spawn("unsealed", |stop| until_stopped(unsealed, stop));
        let quota = watch_quota(self.remote.clone(), self.volume.clone(), self.journal.clone(), self.clock.clone());
        tasks.spawn("quota", |stop| until_stopped(quota, stop));
    }
}

/// Tells a poller something. Whoever is told of what is new by it must not keep it alive.
fn tells(poller: &Arc<Poller>, what: fn(&Poller)) -> impl Fn() + Send + Sync + 'static {
    let poller = Arc::downgrade(poller);
    move || {
        if let Some(poller) = poller.upgrade() {
            what(&poller);
        }
    }
}

/// A task that may be cut off between any two steps.
async fn until_stopped(work: impl Future<Output = ()> + Send, mut stop: Stop) {
    tokio::select! {
        () = work => {}
        () = stop.requested() => {}
    }
}

/// While changes reach us the kernel may trust its caches for long, and what waited for the network goes on as
/// soon as it is back.
async fn watch_health(poller: Arc<Poller>, volume: Arc<Volume>, journal: Arc<Journal>) {
    let mut health = poller.health();
    let mut was_well = true;
    loop {
        let well = {
            let now = health.borrow_and_update();
            now.trouble.is_none() && now.current_at.is_some()
        };
        volume.set_fresh(well);
        let back = well && !was_well;
        was_well = well;
        if back && let Err(error) = journal.retry_all() {
            tracing::warn!(%error, "what waited for the network waits a little longer");
        }
        if health.changed().await.is_err() {
            return;
        }
    }
}

/// What waits for its upload counts to the cache's budget: the two live on one disk. It is never evicted, so the clean
/// bytes make way.
async fn watch_unsent(journal: Arc<Journal>, cache: ChunkCache, clock: Arc<dyn Clock>) {
    const AT_MOST: Duration = Duration::from_secs(1);
    let mut changes = journal.watch();
    loop {
        changes.borrow_and_update();
        let unsent = journal.unsent_bytes();
        let counted = cache.clone();
        // Evicting blocks on the disk. If the runtime is ending nobody counts any more.
        let _ = tokio::task::spawn_blocking(move || counted.set_reserved(unsent)).await;
        clock.sleep(AT_MOST).await;
        if unsent == 0 && changes.changed().await.is_err() {
            return;
        }
    }
}

/// Content that could not be sealed when it was closed is tried again.
async fn watch_unsealed(journal: Arc<Journal>, clock: Arc<dyn Clock>) {
    const AGAIN: Duration = Duration::from_secs(10);
    loop {
        clock.sleep(AGAIN).await;
        journal.seal_left();
    }
}

/// Asks how full the drive is: now and then, and more often while something waits for room in it.
async fn watch_quota(remote: Arc<dyn Remote>, volume: Arc<Volume>, journal: Arc<Journal>, clock: Arc<dyn Clock>) {
    // The service counts with delay, so asking more often tells nothing new.
    const OFTEN: Duration = Duration::from_secs(15 * 60);
    const AGAIN: Duration = Duration::from_secs(60);
    const A_LITTLE: Duration = Duration::from_secs(1);
    let mut changes = journal.watch();
    loop {
        changes.borrow_and_update();
        let quota = remote.quota().await;
        let mut some_wait = false;
        let pause = match quota {
            Ok(quota) => {
                volume.set_quota(quota);
                match journal.room_in_the_cloud(quota.remaining) {
                    Ok(waits) => some_wait = waits,
                    Err(error) => tracing::warn!(%error, "what waits for room in the drive waits a little longer"),
                }
                if some_wait { AGAIN } else { OFTEN }
            }
            Err(error) => {
                tracing::debug!(%error, "the quota is not known");
                AGAIN
            }
        };
        let parked = async {
            // Something has been parked for lack of room since: what we believed about the drive was too good.
            while !some_wait && !journal.waits_for_room() {
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                // It looks at all that is unsent, so not after every one of a thousand new files.
                clock.sleep(A_LITTLE).await;
            }
            clock.sleep(AGAIN).await;
        };
        tokio::select! {
            () = clock.sleep(pause) => {}
            () = parked => {}
        }
    }
}
