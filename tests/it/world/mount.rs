//! A real mount for a test, which cannot hang the test run.
//!
//! The daemon runs in a child process, because a process that uses a mount it serves itself can wait for
//! itself in the kernel, where no signal reaches it. Every mount has a watchdog: when its time is up, the
//! connection is aborted (which wakes everything that waits for the mount, with an error), the mount is
//! removed from the tree and the child is killed; the test then fails by the errors it sees. Dropping a
//! mount unmounts it and fails the test if something is left behind.
//!
//! A missing `/dev/fuse` is a failure, never a silent skip.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use onedrive_mount::fuse::mounts::{self, Pulse};
use rustix::process::{Pid, Signal};

/// How long a test may use one mount before it is taken for stuck.
const WATCHDOG: Duration = Duration::from_secs(300);

/// How long a daemon may take to mount and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A sealed home for one daemon and its restarts: settings, state, cache and mount point below one folder.
pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("onedrive-test-").tempdir().expect("a temporary folder");
        let home = Self { folder };
        for part in ["config", "state", "cache", "run", "mnt"] {
            std::fs::create_dir(home.path(part)).expect("a folder of the home");
        }
        home
    }

    /// A path inside the home.
    pub fn path(&self, part: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(part)
    }

    /// The mount point.
    pub fn mount_point(&self) -> PathBuf {
        mounts::resolve(&self.path("mnt")).expect("the home exists")
    }

    /// A command that sees this home and no other, and no desktop: no session bus is named, and by custom it would be in
    /// the home.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("XDG_DATA_HOME", self.path("state"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("RUST_BACKTRACE", "1")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // After a crash on purpose a dead mount is still here and would keep the folder from being removed.
        let _ = onedrive_mount::fuse::unmount::detach(&self.mount_point(), None);
    }
}

/// How to start the daemon.
pub struct Start {
    arguments: Vec<OsString>,
    program: PathBuf,
    user: Option<u32>,
    watchdog: Duration,
    at: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
}

impl Start {
    /// `--demo`: the drive lives in the daemon itself.
    pub fn demo() -> Self {
        Self::with(["--demo"])
    }

    /// With these arguments, to which `--foreground` and the mount point are added.
    pub fn with<A: Into<OsString>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self {
            arguments: arguments.into_iter().map(Into::into).collect(),
            program: program(),
            user: None,
            watchdog: WATCHDOG,
            at: None,
            environment: Vec::new(),
        }
    }

    /// With one more argument.
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// With one more variable in its environment.
    pub fn environment(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// At another folder of the home, which exists.
    pub fn at(mut self, folder: &Path) -> Self {
        self.at = Some(mounts::resolve(folder).expect("it exists"));
        self
    }

    /// As another user and group of this number (root only), with a copy of the program that this user can
    /// reach.
    pub fn by_user(mut self, user: u32, program: PathBuf) -> Self {
        self.user = Some(user);
        self.program = program;
        self
    }

    /// With this program in place of the one under test: a script that prepares something and then runs it.
    pub fn through(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// With another limit on the time the mount may live.
    pub fn watchdog(mut self, limit: Duration) -> Self {
        self.watchdog = limit;
        self
    }

    /// Starts the daemon and waits until the mount is there.
    pub fn mount(self, home: &Home) -> Mount {
        require_fuse();
        match self.try_mount(home) {
            Ok(mount) => mount,
            Err(refused) => panic!("the daemon ended with {} instead of mounting:\n{}", refused.status, refused.log),
        }
    }

    /// Starts the daemon and kills it this much later, wherever it is by then.
    pub fn kill_while_starting(self, home: &Home, after: Duration) {
        let mut command = home.command(&self.program);
        command.arg("--foreground").args(&self.arguments).arg(home.mount_point());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the daemon starts");
        std::thread::sleep(after);
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Starts the daemon and waits until the mount is there or the daemon has ended.
    pub fn try_mount(self, home: &Home) -> Result<Mount, Refused> {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let log = home.path(format!("daemon-{}.log", RUNS.fetch_add(1, Ordering::Relaxed)));
        let output = File::create(&log).expect("a log file");
        let at = self.at.unwrap_or_else(|| home.mount_point());
        let mut command = home.command(&self.program);
        command.arg("--foreground").args(&self.arguments).arg(&at);
        command.envs(self.environment);
        command.stdout(output.try_clone().expect("a second descriptor")).stderr(output);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        let mut child = command.spawn().expect("the daemon starts");
        let waited = Instant::now();
        let device = loop {
            if let Some(entry) = mounts::at(&at).expect("the mount table")
                && entry.is_ours()
                // A dead mount of an earlier daemon may still be there until the new one has removed it.
                && mounts::pulse(&at, PATIENCE) == Pulse::Alive
                // Between the two looks the dead one may have gone; then it was the bare folder that answered.
                && mounts::at(&at).expect("the mount table").is_some_and(|now| now.device_minor == entry.device_minor)
            {
                break entry.device_minor;
            }
            if let Some(status) = child.try_wait().expect("the daemon is our child") {
                return Err(Refused { status, log: read(&log) });
            }
            if waited.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the daemon has not mounted for {PATIENCE:?}:\n{}", read(&log));
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let watch = Watch {
            pid: child.id(),
            at: at.clone(),
            device,
            over: Arc::new(AtomicBool::new(false)),
            fired: Arc::new(AtomicBool::new(false)),
        };
        watch.start(self.watchdog);
        Ok(Mount { at, child: Some(child), watch, log })
    }
}

/// A daemon that ended instead of mounting.
#[derive(Debug)]
pub struct Refused {
    pub status: ExitStatus,
    pub log: String,
}

/// A mount served by a child process.
pub struct Mount {
    at: PathBuf,
    child: Option<Child>,
    watch: Watch,
    log: PathBuf,
}

impl Mount {
    /// The mount point.
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.watch.pid
    }

    /// A path inside the mount.
    pub fn path(&self, part: impl AsRef<Path>) -> PathBuf {
        self.at.join(part)
    }

    /// The daemon's process.
    pub fn process(&self) -> u32 {
        self.watch.pid
    }

    /// What the daemon has logged.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_for_end()
    }

    /// Whether the daemon has died by itself.
    pub fn has_ended(&mut self) -> bool {
        let child = self.child.as_mut().expect("it was started");
        child.try_wait().expect("the daemon is our child").is_some()
    }

    /// Kills the daemon as a crash would, and leaves the dead mount where it is. Returns what it had said.
    pub fn crash(mut self) -> String {
        self.signal(Signal::KILL);
        self.wait_for_end();
        self.watch.over.store(true, Ordering::SeqCst);
        let said = self.log();
        // What is left behind is what the test wants to see.
        std::mem::forget(self);
        said
    }

    /// Waits for the daemon to end by itself, after somebody else has unmounted.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the daemon runs");
        let waited = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("the daemon is our child") {
                return status;
            }
            if waited.elapsed() > PATIENCE {
                let stuck = threads_of(self.watch.pid);
                self.watch.cut();
                let _ = child.wait();
                panic!("the daemon has not ended for {PATIENCE:?}:\n{stuck}\n{}", read(&self.log));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a signal to the daemon.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.watch.pid).ok().and_then(Pid::from_raw).expect("a process id");
        // It may have ended already.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.child.is_some() && !std::thread::panicking() {
            self.signal(Signal::TERM);
            self.wait_for_end();
        }
        self.watch.over.store(true, Ordering::SeqCst);
        let left = mounts::at(&self.at).ok().flatten().is_some_and(|entry| entry.device_minor == self.watch.device);
        if left || self.child.is_some() {
            self.watch.cut();
            if let Some(mut child) = self.child.take() {
                let _ = child.wait();
            }
        }
        if std::thread::panicking() {
            eprintln!("--- log of the daemon ---\n{}\n---", tail(&read(&self.log)));
            return;
        }
        assert!(!self.watch.fired.load(Ordering::SeqCst), "the watchdog had to cut the mount:\n{}", read(&self.log));
        assert!(!left, "the mount was left behind:\n{}", read(&self.log));
    }
}

/// What the threads of a process are waiting for in the kernel, as far as one may know.
fn threads_of(pid: u32) -> String {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return String::new() };
    let told = tasks.flatten().map(|task| {
        let part = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        format!("{}{}\n{}", part("comm"), part("wchan"), part("stack"))
    });
    told.collect::<Vec<_>>().join("\n")
}

/// What is needed to take a stuck mount apart without asking it.
#[derive(Clone)]
struct Watch {
    pid: u32,
    at: PathBuf,
    device: u32,
    over: Arc<AtomicBool>,
    fired: Arc<AtomicBool>,
}

impl Watch {
    fn start(&self, limit: Duration) {
        let watch = self.clone();
        std::thread::spawn(move || {
            let started = Instant::now();
            while !watch.over.load(Ordering::SeqCst) {
                if started.elapsed() > limit {
                    eprintln!("watchdog: {} has lived for {limit:?}, cutting it", watch.at.display());
                    watch.fired.store(true, Ordering::SeqCst);
                    return watch.cut();
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
    }

    /// Aborts the connection, removes the mount, kills the daemon. None of it looks into the mount.
    fn cut(&self) {
        if onedrive_mount::fuse::unmount::abort(self.device).is_err() {
            let _ = Command::new("mount").args(["-t", "fusectl", "fusectl", "/sys/fs/fuse/connections"]).status();
            let _ = onedrive_mount::fuse::unmount::abort(self.device);
        }
        let _ = onedrive_mount::fuse::unmount::detach(&self.at, Some(self.device));
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// The program under test: the one that cargo built, or an installed one that a packager names.
pub fn program() -> PathBuf {
    std::env::var_os("ONEDRIVE_MOUNT_PROGRAM")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_onedrive-mount")), PathBuf::from)
}

/// Fails the test when this machine cannot mount.
pub fn require_fuse() {
    if let Err(error) = File::options().read(true).write(true).open("/dev/fuse") {
        panic!("/dev/fuse cannot be opened ({error}); run ./contrib/test.sh, which says what to do");
    }
}

fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(200)..].join("\n")
}
