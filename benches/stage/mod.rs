//! What the benches stand on: drives of any size that nobody has to serve, homes that are signed in, daemons in
//! processes of their own.

#![allow(dead_code, reason = "each bench uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use onedrive_mount::auth::{Authority, Tokens, Vault};
use onedrive_mount::base::clock::{Clock, SystemClock, Timestamp};
use onedrive_mount::base::disk::RealDisk;
use onedrive_mount::base::ids::{ContentTag, Cursor, DriveId, ItemId, MetaTag};
use onedrive_mount::base::secret::Secret;
use onedrive_mount::cache::evict::Limits;
use onedrive_mount::config::Layers;
use onedrive_mount::config::paths::{Bases, Places};
use onedrive_mount::daemon::core::{Core, CoreParts, CoreSettings};
use onedrive_mount::fuse::{mounts, unmount};
use onedrive_mount::journal::JournalSettings;
use onedrive_mount::journal::uploader::UploadSettings;
use onedrive_mount::remote::{
    Ack, At, Body, Caps, Change, ChangePage, ChangeSource, DriveIdentity, Finished, FragmentRule, Item, ItemKind,
    ItemPage, Link, Next, Offset, Outgoing, Patch, Precondition, PreconditionStrength, Quota, Remote, RemoteError,
    RemoteResult, Start, Target, Ticket,
};
use onedrive_mount::volume::{Durability, KernelNotice, KernelSink, VolumeSettings};

/// Files and folders in each folder of a synthetic drive.
pub const PER_FOLDER: u64 = 100;

/// Items on each page of changes, as the service sends them.
const PAGE: u64 = 1000;

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A drive of `count` items below its root, by arithmetic: item `n` lies in the folder `n / 100`, where 0 is the root,
/// and is a folder itself if something lies in it. Identities and tags look like those of OneDrive for Business.
#[derive(Clone)]
pub struct Synthetic {
    pub drive: DriveId,
    pub count: u64,
}

impl Synthetic {
    pub fn new(count: u64) -> Self {
        Self { drive: DriveId::new("b!kVQpTz1hJkGqkQy0gC6vX0b7LrXbq0RGm2nBz3n1m0aZ"), count }
    }

    pub fn identity(&self) -> DriveIdentity {
        let (drive, root) = (self.drive.clone(), self.id(0));
        DriveIdentity { drive, root, flavour: "business".to_owned(), owner: "A bench".to_owned() }
    }

    pub fn id(&self, n: u64) -> ItemId {
        const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let mut text = String::from("01BYE5RZ");
        let (mut low, mut high) = (mix(n * 2 + 1), mix(n * 2 + 2));
        for digit in 0..26 {
            let bits = if digit < 13 { &mut low } else { &mut high };
            text.push(char::from(DIGITS[(*bits & 31) as usize]));
            *bits >>= 5;
        }
        ItemId::new(&self.drive, text)
    }

    pub fn is_folder(&self, n: u64) -> bool {
        n * PER_FOLDER <= self.count
    }

    /// The folder that an item lies in.
    pub fn folder_of(n: u64) -> u64 {
        n / PER_FOLDER
    }

    pub fn name(&self, n: u64) -> String {
        const WORDS: [&str; 8] = ["Report", "IMG", "Invoice", "notes", "Minutes", "photo", "draft", "Contract"];
        let word = WORDS[(mix(n) % 8) as usize];
        if self.is_folder(n) { format!("{word} folder {n:07}") } else { format!("{word}_{n:07}.docx") }
    }

    /// An item in its `version`th state.
    pub fn item(&self, n: u64, version: u64) -> Item {
        let (a, b) = (mix(n * 2 + 1), mix(n * 2 + 2));
        let tag = format!(
            "\"{{{:08X}-{:04X}-{:04X}-{:04X}-{:012X}}},{version}\"",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xffff,
            b >> 48,
            b & 0xffff_ffff_ffff
        );
        let folder = self.is_folder(n);
        let size = if folder { 0 } else { mix(n) % 3_000_000 };
        let modified = Timestamp::from_seconds(1_600_000_000 + (mix(n) % 150_000_000) as i64);
        let hash = onedrive_mount::base::hash::QuickXorHash::of(&(a ^ version).to_le_bytes());
        Item {
            id: self.id(n),
            parent: Some(self.id(Self::folder_of(n))),
            name: self.name(n),
            kind: if folder { ItemKind::Folder } else { ItemKind::File },
            size,
            modified,
            created: modified,
            meta_tag: MetaTag(tag),
            content_tag: (!folder).then(|| ContentTag::from_hash(&hash, size)),
            link_to: None,
        }
    }
}

/// The service of a synthetic drive, as far as metadata goes; whoever wants anything else finds it offline.
pub struct SyntheticRemote {
    drive: Synthetic,
    caps: Caps,
    /// What the next poll brings.
    pub news: Mutex<Vec<Change>>,
}

impl SyntheticRemote {
    pub fn new(drive: Synthetic) -> Arc<Self> {
        let caps = Caps {
            changes: ChangeSource::Native,
            precondition: PreconditionStrength::Strong,
            hashes: true,
            set_times: true,
            fragment: FragmentRule::Any,
            name_clash: false,
            max_small: 4 << 20,
            max_file: 250 << 30,
            max_path: Some(400),
        };
        Arc::new(Self { drive, caps, news: Mutex::default() })
    }

    fn page(&self, from: u64) -> ChangePage {
        let end = (from + PAGE).min(self.drive.count + 1);
        let changes = (from..end).map(|n| Change::Is(self.drive.item(n, 1))).collect();
        let next = match end > self.drive.count {
            true => Next::Done(Cursor("enumerated".to_owned())),
            false => Next::More(Secret::new(end.to_string())),
        };
        ChangePage { changes, next }
    }
}

fn nobody<T>() -> RemoteResult<T> {
    Err(RemoteError::offline("nobody serves a synthetic drive"))
}

#[async_trait]
impl Remote for SyntheticRemote {
    fn caps(&self) -> &Caps {
        &self.caps
    }
    async fn identity(&self) -> RemoteResult<DriveIdentity> {
        Ok(self.drive.identity())
    }
    async fn stat(&self, _at: At<'_>) -> RemoteResult<Item> {
        nobody()
    }
    async fn list(&self, _folder: &ItemId, _from: Option<&Link>) -> RemoteResult<ItemPage> {
        nobody()
    }
    async fn changes(&self, from: Start<'_>) -> RemoteResult<ChangePage> {
        Ok(match from {
            Start::Now => ChangePage { changes: Vec::new(), next: Next::Done(Cursor("now".to_owned())) },
            Start::Beginning => self.page(1),
            Start::Link(link) => self.page(link.expose().parse().expect("a link of ours")),
            Start::Cursor(_) => {
                let changes = std::mem::take(&mut *self.news.lock().expect("no panic before"));
                ChangePage { changes, next: Next::Done(Cursor("read".to_owned())) }
            }
        })
    }
    async fn read(&self, _: &ItemId, _: &ContentTag, _: std::ops::Range<u64>) -> RemoteResult<Body> {
        nobody()
    }
    async fn put_small(&self, _: &Target, _: Outgoing, _: &Precondition) -> RemoteResult<Item> {
        nobody()
    }
    async fn begin_upload(&self, _: &Target, _: u64, _: &Precondition) -> RemoteResult<Ticket> {
        nobody()
    }
    async fn put_fragment(&self, _: &Ticket, _: u64, _: Outgoing) -> RemoteResult<Ack> {
        nobody()
    }
    async fn finish_upload(&self, _: &Ticket) -> RemoteResult<Finished> {
        nobody()
    }
    async fn upload_offset(&self, _: &Ticket) -> RemoteResult<Offset> {
        nobody()
    }
    async fn abandon_upload(&self, _: &Ticket) -> RemoteResult<()> {
        nobody()
    }
    async fn make_folder(&self, _: &ItemId, _: &str) -> RemoteResult<Item> {
        nobody()
    }
    async fn change(&self, _: &ItemId, _: &Patch, _: &Precondition) -> RemoteResult<Item> {
        nobody()
    }
    async fn delete(&self, _: &ItemId, _: &Precondition) -> RemoteResult<()> {
        nobody()
    }
    async fn quota(&self) -> RemoteResult<Quota> {
        nobody()
    }
}

/// A kernel that keeps no caches.
struct NoKernel;

impl KernelSink for NoKernel {
    fn post(&self, _notice: KernelNotice) {}
}

/// Opens a drive without a mount, and without its tasks.
pub fn open_core(remote: Arc<dyn Remote>, identity: DriveIdentity, state: &Path, cache: &Path) -> Core {
    Core::open(CoreParts {
        remote,
        identity,
        state: state.to_owned(),
        cache: cache.to_owned(),
        disk: RealDisk::shared(),
        clock: Arc::new(SystemClock::new()),
        kernel: Arc::new(NoKernel),
        boot: "a bench".to_owned(),
        settings: CoreSettings {
            volume: VolumeSettings {
                uid: 0,
                gid: 0,
                umask: 0o022,
                read_only: false,
                durability: Durability::Local,
                patience: Duration::from_secs(5),
                listing_age: Duration::from_secs(60),
            },
            journal: JournalSettings { debounce: Duration::from_secs(2), min_free: 0 },
            upload: UploadSettings { concurrency: 1, fragment_size: 10 << 20, host: "bench".to_owned() },
            cache: Limits { max_size: 8 << 30, min_free: 0 },
            poll_interval: Duration::from_secs(60),
        },
    })
    .expect("the drive opens")
}

/// Enumerates a synthetic drive into an index, as a first start does; returns how long that took.
pub fn enumerate(runtime: &tokio::runtime::Runtime, core: &Core) -> Duration {
    runtime.block_on(async {
        let tasks = onedrive_mount::base::tasks::TaskGroup::new(Arc::new(SystemClock::new()));
        let (poller, mut health) = (core.poller.clone(), core.poller.health());
        let begun = Instant::now();
        tasks.spawn("changes", |stop| poller.run(stop));
        while !core.index.is_enumerated().expect("the index answers") {
            let _ = tokio::time::timeout(Duration::from_millis(20), health.changed()).await;
        }
        let took = begun.elapsed();
        tasks.stop(Duration::from_secs(5)).await;
        took
    })
}

/// A sealed home of one daemon: settings, state, cache and mount point below one folder.
pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("onedrive-bench-").tempdir().expect("a temporary folder");
        for part in ["config", "state", "cache", "run", "mnt"] {
            std::fs::create_dir(folder.path().join(part)).expect("a folder of the home");
        }
        Self { folder }
    }

    pub fn path(&self, part: &str) -> PathBuf {
        self.folder.path().join(part)
    }

    pub fn places(&self) -> Places {
        let bases = Bases {
            config: self.path("config/onedrive-mount"),
            state: self.path("state/onedrive-mount"),
            cache: self.path("cache/onedrive-mount"),
            runtime: self.path("run/onedrive-mount"),
        };
        Places::new(&bases, None, None, None)
    }

    /// Writes settings that lead to these addresses, and a token that is good for an hour.
    pub fn sign_in(&self, runtime: &tokio::runtime::Runtime, graph: &str, login: &str, access: &str, refresh: &str) {
        let places = self.places();
        for folder in [places.settings.parent().expect("a folder"), &places.state] {
            std::fs::create_dir_all(folder).expect("a folder of the home");
        }
        let text = format!("client:\n  id: bench\nendpoints:\n  graph: {graph}\n  login: {login}\n");
        std::fs::write(&places.settings, text).expect("a settings file");
        let config = Layers::built_in().file(&places.settings, true).and_then(|layers| layers.finish());
        let authority = Authority::from_config(&config.expect("good settings")).expect("an authority");
        let clock = SystemClock::new();
        let lifetime = Duration::from_secs(3600);
        let tokens = Tokens {
            access: Secret::new(access.to_owned()),
            refresh: Some(Secret::new(refresh.to_owned())),
            expires: clock.now().plus(lifetime),
            lifetime,
            scope: String::new(),
            identity: authority.identity(),
        };
        let vault = Vault::new(places.token_file());
        runtime.block_on(async {
            let lock = vault.lock(&clock).await.expect("the token file's lock");
            vault.store(&tokens, &lock).expect("the token file");
        });
    }

    /// Adds a line to the settings.
    pub fn set(&self, line: &str) {
        let settings = self.places().settings;
        let text = std::fs::read_to_string(&settings).expect("signed in");
        std::fs::write(&settings, format!("{text}{line}\n")).expect("a settings file");
    }

    /// Starts the daemon, pinned to these processors if any are named; returns when the mount answers, with how long
    /// that took from the start of the process to the first listing of the root.
    pub fn mount(&self, processors: Option<&str>) -> Daemon {
        let at = mounts::resolve(&self.path("mnt")).expect("the home exists");
        // The one that cargo built, or another one to compare with.
        let program =
            std::env::var_os("ONEDRIVE_MOUNT_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_onedrive-mount").into());
        let mut command = match processors {
            Some(list) => {
                let mut command = Command::new("taskset");
                command.args(["-c", list]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("XDG_DATA_HOME", self.path("state"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .envs(std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ONEDRIVE_MOUNT_")))
            .args(["--foreground", "--log-level", "warn"])
            .arg(&at)
            .stdin(Stdio::null());
        let before = std::fs::metadata(&at).map(|facts| std::os::unix::fs::MetadataExt::dev(&facts)).expect("there");
        let begun = Instant::now();
        let mut child = command.spawn().expect("the daemon starts");
        loop {
            let now = std::fs::metadata(&at).map(|facts| std::os::unix::fs::MetadataExt::dev(&facts)).ok();
            if now.is_some_and(|device| device != before)
                && std::fs::read_dir(&at).is_ok_and(|list| list.flatten().count() < usize::MAX)
            {
                break;
            }
            if let Some(status) = child.try_wait().expect("our child") {
                panic!("the daemon ended with {status} instead of mounting");
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "the daemon does not mount");
            std::thread::sleep(Duration::from_millis(1));
        }
        let first_listing = begun.elapsed();
        let pid = child.id();
        Daemon { child, pid, at, first_listing }
    }
}

/// A daemon that serves a mount. Dropping it unmounts.
pub struct Daemon {
    child: Child,
    pub pid: u32,
    pub at: PathBuf,
    pub first_listing: Duration,
}

impl Daemon {
    fn field(&self, file: &str, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/{file}", self.pid)).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
            .unwrap_or_default()
    }

    /// Resident memory now, in KiB.
    pub fn resident(&self) -> u64 {
        self.field("status", "VmRSS:")
    }

    /// The most resident memory so far, in KiB.
    pub fn most_resident(&self) -> u64 {
        self.field("status", "VmHWM:")
    }

    /// Processor time so far.
    pub fn processor_time(&self) -> Duration {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let after = text.rsplit(')').next().unwrap_or_default();
        let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = unmount::detach(&self.at, None);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The middle of some measurements.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
