//! A sealed world for a test: an emulated service, a drive that uses it, folders of its own.

pub mod asked;
pub mod clock;
pub mod desk;
pub mod disk;
pub mod generated;
pub mod kernel;
pub mod model;
pub mod mount;
pub mod ops;
pub mod power;
pub mod proxy;
pub mod service;
pub mod shell;
pub mod side;
pub mod trouble;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use onedrive_mount::auth::StaticToken;
use onedrive_mount::base::clock::{Clock, SystemClock, Timestamp};
use onedrive_mount::base::disk::{Disk, RealDisk};
use onedrive_mount::base::ids::{Fh, Ino};
use onedrive_mount::base::tasks::TaskGroup;
use onedrive_mount::cache::evict::Limits;
use onedrive_mount::daemon::core::{Core, CoreParts, CoreSettings};
use onedrive_mount::emulator::{Content, Emulator, Network, Options};
use onedrive_mount::journal::JournalSettings;
use onedrive_mount::journal::uploader::UploadSettings;
use onedrive_mount::remote::http::system_entropy;
use onedrive_mount::remote::stack::{self, Opened, RemoteOptions};
use onedrive_mount::remote::{DriveIdentity, Remote, SharedRemote};
use onedrive_mount::volume::{
    Durability, Entry, KernelNotice, KernelSink, OpenHow, VolumeError, VolumeResult, VolumeSettings,
};

use ops::Op;
use side::Side;

/// A kernel that keeps no caches.
pub struct NoKernel;

impl KernelSink for NoKernel {
    fn post(&self, _notice: KernelNotice) {}
}

/// The service and the folders of one test.
pub struct World {
    pub emulator: Emulator,
    pub side: Side,
    pub home: tempfile::TempDir,
    pub clock: Arc<dyn Clock>,
    pub debounce: Duration,
    pub how: How,
}

/// Settings of a drive that few tests care for.
#[derive(Clone, Copy)]
pub struct How {
    pub durability: Durability,
    pub patience: Duration,
    pub fragment_size: u64,
    pub read_only: bool,
}

impl Default for How {
    fn default() -> Self {
        USUAL
    }
}

const USUAL: How =
    How { durability: Durability::Local, patience: Duration::from_secs(5), fragment_size: 10 << 20, read_only: false };

/// Fragments so small that what goes by an upload session goes in many.
pub const MANY_FRAGMENTS: How = How { fragment_size: 2 * 327_680, ..USUAL };

/// A drive in use.
pub struct Running {
    pub core: Core,
    pub tasks: TaskGroup,
}

impl World {
    pub async fn new(side: impl Into<Side>) -> Self {
        let side = side.into();
        let options = Options { flavour: side.flavour, content: Content::Empty, ..Options::default() };
        let emulator = Emulator::start(options).await.expect("the emulator starts");
        Self {
            emulator,
            side,
            home: tempfile::tempdir().expect("a folder"),
            clock: Arc::new(SystemClock::new()),
            debounce: Duration::from_millis(20),
            how: How::default(),
        }
    }

    pub fn remote(&self) -> SharedRemote {
        self.opened().remote
    }

    pub fn opened(&self) -> Opened {
        let tokens = Arc::new(StaticToken::new(self.side.access_token(&self.emulator)));
        let options = RemoteOptions::speaking(self.side.protocol(&self.emulator));
        stack::open(&options, tokens, self.clock.clone(), system_entropy()).expect("the remote opens")
    }

    /// Opens the drive without starting its tasks.
    pub async fn open(&self) -> Core {
        self.open_on(self.remote(), self.home.path()).await
    }

    pub async fn open_on(&self, remote: Arc<dyn Remote>, home: &Path) -> Core {
        self.open_with(remote, home, RealDisk::shared(), 0).await
    }

    /// With a disk of its own, of which `min_free` bytes are kept free.
    pub async fn open_with(&self, remote: Arc<dyn Remote>, home: &Path, disk: Arc<dyn Disk>, min_free: u64) -> Core {
        let identity = remote.identity().await.expect("the identity");
        self.open_parts(remote, identity, home, disk, min_free, "this boot")
    }

    /// Opens a drive that is known.
    pub fn open_as(&self, remote: Arc<dyn Remote>, identity: DriveIdentity, home: &Path) -> Core {
        self.open_parts(remote, identity, home, RealDisk::shared(), 0, "this boot")
    }

    /// The same after the machine has gone down and come up again.
    pub fn open_after_boot(&self, remote: Arc<dyn Remote>, identity: DriveIdentity, home: &Path) -> Core {
        self.open_parts(remote, identity, home, RealDisk::shared(), 0, "the next boot")
    }

    pub fn open_parts(
        &self,
        remote: Arc<dyn Remote>,
        identity: DriveIdentity,
        home: &Path,
        disk: Arc<dyn Disk>,
        min_free: u64,
        boot: &str,
    ) -> Core {
        Core::open(self.parts(remote, identity, home, disk, min_free, boot)).expect("the drive opens")
    }

    /// Opens the drive with a kernel that hears.
    pub async fn open_heard(&self, kernel: Arc<dyn KernelSink>) -> Core {
        let remote = self.remote();
        let identity = remote.identity().await.expect("the identity");
        let parts = self.parts(remote, identity, self.home.path(), RealDisk::shared(), 0, "this boot");
        Core::open(CoreParts { kernel, ..parts }).expect("the drive opens")
    }

    fn parts(
        &self,
        remote: Arc<dyn Remote>,
        identity: DriveIdentity,
        home: &Path,
        disk: Arc<dyn Disk>,
        min_free: u64,
        boot: &str,
    ) -> CoreParts {
        CoreParts {
            remote,
            identity,
            state: home.join("state"),
            cache: home.join("cache"),
            disk,
            clock: self.clock.clone(),
            kernel: Arc::new(NoKernel),
            boot: boot.into(),
            settings: CoreSettings {
                volume: VolumeSettings {
                    uid: 1000,
                    gid: 1000,
                    umask: 0o022,
                    read_only: self.how.read_only,
                    durability: self.how.durability,
                    patience: self.how.patience,
                    listing_age: Duration::from_secs(60),
                },
                journal: JournalSettings { debounce: self.debounce, min_free },
                upload: UploadSettings { concurrency: 3, fragment_size: self.how.fragment_size, host: "laptop".into() },
                cache: Limits { max_size: 1 << 30, min_free },
                poll_interval: Duration::from_millis(200),
            },
        }
    }

    pub async fn run(&self) -> Running {
        self.run_core(self.open().await).await
    }

    /// Ends every connection with whatever has come through it and was not read yet: what a daemon that has just died had
    /// sent last does not arrive after the next one has begun to look. (On a real network it may; see semantics.md.)
    pub async fn forget_connections(&self) {
        let endpoints = self.emulator.endpoints();
        let address =
            |url: &str| url.strip_prefix("http://").expect("a plain address").trim_end_matches('/').to_owned();
        for (network, open) in [(Network::Refusing, false), (Network::Up, true)] {
            self.emulator.set_network(network);
            for url in [&endpoints.graph, &endpoints.bits] {
                let address = address(url);
                let is_so = async || tokio::net::TcpStream::connect(&address).await.is_ok() == open;
                eventually("the doors open and close", is_so).await;
            }
        }
    }

    /// Starts the tasks of an opened drive.
    pub async fn run_core(&self, core: Core) -> Running {
        core.prepare().await;
        let tasks = TaskGroup::new(self.clock.clone());
        core.spawn_tasks(&tasks);
        Running { core, tasks }
    }
}

impl Running {
    /// Waits until everything is in the cloud.
    pub async fn settle(&self) {
        settle(&self.core).await;
    }

    /// Dies without a word: requests under way are cut, nothing is closed.
    pub async fn kill(self) {
        drop(self.tasks);
        // Aborted tasks let go of what they hold at their next turn.
        for _ in 0..200 {
            if std::sync::Arc::strong_count(&self.core.uploader) == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the tasks as a clean stop does.
    pub async fn stop(self) {
        self.core.uploader.stop();
        self.tasks.stop(Duration::from_secs(5)).await;
        self.core.journal.close();
    }
}

/// Waits until nothing waits for the cloud any more.
pub async fn settle(core: &Core) {
    let mut changes = core.journal.watch();
    let limit = tokio::time::sleep(Duration::from_secs(60));
    tokio::pin!(limit);
    while core.journal.backlog() != (0, 0) {
        tokio::select! {
            _ = changes.changed() => {}
            () = &mut limit => {
                let left: Vec<String> = core.journal.view(|overlay| overlay.iter().map(|intent| format!("{intent:?}")).collect());
                panic!("the queue does not drain: {left:#?}");
            }
        }
    }
}

/// Waits for at most a minute until something is so.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The same without holding up the others of the runtime.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// What we did was done long ago: no replica shows what was before it any more.
pub fn time_passes(core: &Core) {
    core.index.write(|txn| txn.forget_echoes(Timestamp(i64::MAX))).expect("an index that can be written");
}

/// A file system user by paths, straight on a volume.
pub struct User<'a>(pub &'a Core);

impl User<'_> {
    pub async fn walk(&self, path: &str) -> VolumeResult<Ino> {
        let mut ino = Ino::ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            ino = match self.0.volume.lookup(ino, name.as_ref()).await? {
                Entry::Found { attributes, .. } => attributes.ino,
                Entry::Absent { .. } => return Err(VolumeError::NotFound),
            };
        }
        Ok(ino)
    }

    async fn place<'p>(&self, path: &'p str) -> VolumeResult<(Ino, &'p str)> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.walk(folder).await?, name))
    }

    pub async fn mkdir(&self, path: &str) -> VolumeResult<()> {
        let (folder, name) = self.place(path).await?;
        self.0.volume.make_folder(folder, name.as_ref(), 0o755).await.map(|_| ())
    }

    pub async fn write(&self, path: &str, bytes: &[u8]) -> VolumeResult<()> {
        let (folder, name) = self.place(path).await?;
        let how = OpenHow { write: true, truncate: true, ..OpenHow::default() };
        let volume = &self.0.volume;
        let (ino, fh) = match volume.lookup(folder, name.as_ref()).await? {
            Entry::Found { attributes, .. } => (attributes.ino, volume.open(attributes.ino, how).await?.fh),
            Entry::Absent { .. } => {
                let (attributes, opened) = volume.create(folder, name.as_ref(), 0o644, how).await?;
                (attributes.ino, opened.fh)
            }
        };
        let mut at = 0;
        for piece in bytes.chunks(1 << 20) {
            volume.write(ino, Some(fh), at, piece).await?;
            at += piece.len() as u64;
        }
        let flushed = volume.flush(ino, fh).await;
        volume.release(ino, fh);
        flushed
    }

    /// For reading and writing; whoever asks closes it.
    pub async fn open(&self, path: &str) -> VolumeResult<(Ino, Fh)> {
        let ino = self.walk(path).await?;
        let how = OpenHow { read: true, write: true, ..OpenHow::default() };
        Ok((ino, self.0.volume.open(ino, how).await?.fh))
    }

    pub async fn patch(&self, path: &str, offset: u64, bytes: &[u8]) -> VolumeResult<()> {
        let ino = self.walk(path).await?;
        let volume = &self.0.volume;
        let fh = volume.open(ino, OpenHow { read: true, write: true, ..OpenHow::default() }).await?.fh;
        let written = volume.write(ino, Some(fh), offset, bytes).await;
        let flushed = volume.flush(ino, fh).await;
        volume.release(ino, fh);
        written.map(|_| ()).and(flushed)
    }

    /// Reads the first bytes of a file.
    pub async fn read_start(&self, path: &str, length: u32) -> VolumeResult<Vec<u8>> {
        let ino = self.walk(path).await?;
        let fh = self.0.volume.open(ino, OpenHow { read: true, ..OpenHow::default() }).await?.fh;
        let read = self.0.volume.read(ino, fh, 0, length).await;
        self.0.volume.release(ino, fh);
        read.map(|bytes| bytes.to_vec())
    }

    pub async fn read(&self, path: &str) -> VolumeResult<Vec<u8>> {
        let ino = self.walk(path).await?;
        let volume = &self.0.volume;
        let fh = volume.open(ino, OpenHow { read: true, ..OpenHow::default() }).await?.fh;
        let mut all = Vec::new();
        let result = loop {
            match volume.read(ino, fh, all.len() as u64, 1 << 20).await {
                Ok(bytes) if bytes.is_empty() => break Ok(()),
                Ok(bytes) => all.extend_from_slice(&bytes),
                Err(error) => break Err(error),
            }
        };
        volume.release(ino, fh);
        result.map(|()| all)
    }

    pub async fn rename(&self, from: &str, to: &str) -> VolumeResult<()> {
        let (a, x) = self.place(from).await?;
        let (b, y) = self.place(to).await?;
        self.0.volume.rename(a, x.as_ref(), b, y.as_ref(), onedrive_mount::volume::RenameHow::Replace).await
    }

    pub async fn unlink(&self, path: &str) -> VolumeResult<()> {
        let (folder, name) = self.place(path).await?;
        self.0.volume.unlink(folder, name.as_ref()).await
    }

    pub async fn rmdir(&self, path: &str) -> VolumeResult<()> {
        let (folder, name) = self.place(path).await?;
        self.0.volume.remove_folder(folder, name.as_ref()).await
    }

    /// Does what an operation says; what is none of a user's does nothing.
    pub async fn carry_out(&self, op: &Op) -> VolumeResult<()> {
        match op {
            Op::Mkdir(path) => self.mkdir(path).await,
            Op::Write(path, bytes) => self.write(path, bytes).await,
            Op::Patch(path, at, bytes) => self.patch(path, *at as u64, bytes).await,
            Op::Unlink(path) => self.unlink(path).await,
            Op::Rmdir(path) => self.rmdir(path).await,
            Op::Rename(from, to) => self.rename(from, to).await,
            Op::Save(path, bytes) => {
                let temporary = format!("{path}.tmp");
                self.write(&temporary, bytes).await?;
                self.rename(&temporary, path).await
            }
            Op::Read(path) => self.read(path).await.map(drop),
            Op::Elsewhere(_) | Op::Settle | Op::Restart | Op::Kill => Ok(()),
        }
    }

    pub async fn list(&self, path: &str) -> VolumeResult<Vec<String>> {
        let ino = self.walk(path).await?;
        let fh = self.0.volume.open_dir(ino).await?;
        let entries = self.0.volume.read_dir(ino, fh, false).await;
        self.0.volume.release_dir(fh);
        let mut names: Vec<String> = entries?
            .iter()
            .map(|entry| entry.name.to_string_lossy().into_owned())
            .filter(|name| name != "." && name != "..")
            .collect();
        names.sort();
        Ok(names)
    }
}
