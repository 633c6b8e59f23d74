//! The kernel's side: mounting a volume, serving it, and coming down again.
//!
//! [`mount()`] takes a [`Volume`] and a folder and returns a [`Mounted`], which is all that the rest of the
//! program sees of FUSE. What is promised to programs that use the mount is written up in [`semantics`].
//!
//! - [`adapter`] translates requests, [`answer`] sees to it that each is answered once and in time;
//! - [`notify`] tells the kernel what it must forget;
//! - [`errno`] and [`attr`] are the tables of numbers;
//! - [`mounts`] reads the kernel's mount table, [`preflight`] finds out why a mount would fail before it
//!   does, and [`unmount`] takes a mount down even when somebody still uses it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use fuser::{Config, MountOption, Session, SessionACL};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::base::clock::Clock;
use crate::volume::{KernelSink, Volume};

pub mod adapter;
pub mod answer;
pub mod attr;
pub mod errno;
pub mod mounts;
pub mod notify;
pub mod preflight;
pub mod semantics {
    #![doc = include_str!("semantics.md")]
}
pub mod translate;
pub mod undertaker;
pub mod unmount;
pub mod xattr;

pub use answer::Limits;
pub use notify::NotifyQueue;
pub use preflight::MountError;
pub use unmount::Ending;

/// How to mount.
#[derive(Clone, Debug, Default)]
pub struct MountOptions {
    /// Other users may use the mount (their access is still checked against the permission bits).
    pub allow_other: bool,
    /// Nothing may be changed through the mount.
    pub read_only: bool,
    /// Deadlines and limits of requests.
    pub limits: Limits,
    /// The program that can be asked to watch over this process, see [`undertaker`].
    pub program: Option<PathBuf>,
}

/// Threads that read requests: enough that one is awake while another answers, few enough that a burst does
/// not wake every core. Work that waits leaves them at once, so their number does not limit it.
fn reader_threads() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get).clamp(2, 4)
}

/// A volume that is mounted. Dropping it leaves the mount up until the process ends, because taking it
/// down can block: call [`Mounted::unmount`].
pub struct Mounted {
    at: PathBuf,
    device_minor: Option<u32>,
    ended: watch::Receiver<Option<SessionEnd>>,
    notices: Arc<NotifyQueue>,
    clock: Arc<dyn Clock>,
}

/// How the kernel's side of a session came to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SessionEnd {
    /// Unmounted, by us or by somebody else.
    Unmounted,
    /// The device or a thread failed; the mount point may be left dead. The text says why.
    Failed(String),
}

/// Mounts `volume` on the folder `at`.
///
/// On return the kernel has shaken hands and requests are being served: by threads of their own, with what
/// must wait on `runtime`, under deadlines of `clock`. `notices` is attached to the mount; it was made
/// before the volume, which posts to it. Nothing else than the returned path may be used to reach the
/// mount, and this process must never look into it afterwards.
///
/// # Errors
/// A [`MountError`] whose sentence says what to do. Nothing is left mounted then.
pub fn mount(
    volume: Arc<Volume>,
    at: &Path,
    options: &MountOptions,
    notices: &Arc<NotifyQueue>,
    runtime: Handle,
    clock: Arc<dyn Clock>,
) -> Result<Mounted, MountError> {
    let at = preflight::check(at, options)?;
    let answerer = answer::Answerer::new(runtime, Arc::clone(&clock), options.limits);
    let adapter = adapter::Adapter::new(volume, answerer);
    // The handshake takes place in here.
    let session = Session::new(adapter, &at, &session_options(options))
        .map_err(|error| preflight::explain(&at, options, error))?;
    let notifier = session.notifier();
    let background = session.spawn().map_err(MountError::Threads)?;
    learn_root(&at);
    notices.attach(notifier).map_err(MountError::Threads)?;
    // Needed to abort the connection should it ever be stuck; a mount without it works.
    let device_minor = mounts::at(&at).ok().flatten().map(|entry| entry.device_minor);
    let watched = options.program.clone().zip(device_minor);
    let (tell, ended) = watch::channel(None);
    // Joining blocks until the kernel lets the last user of the mount go, so it has a thread of its own.
    std::thread::Builder::new()
        .name("fuse-session".to_owned())
        .spawn(move || {
            let undertaker = watched.and_then(|(program, minor)| undertaker::Undertaker::start(&program, minor));
            let end = match background.join() {
                Ok(()) => SessionEnd::Unmounted,
                Err(error) => SessionEnd::Failed(error.to_string()),
            };
            drop(undertaker);
            tracing::debug!(?end, "the FUSE session ended");
            // Nobody has to listen.
            let _ = tell.send(Some(end));
        })
        .map_err(MountError::Threads)?;
    tracing::info!(at = %at.display(), read_only = options.read_only, "mounted");
    Ok(Mounted { at, device_minor, ended, notices: Arc::clone(notices), clock })
}

/// Lets the kernel learn who may enter the root, before anything can tell it to forget.
///
/// Until then the root has no permission bits, and the kernel throws away an answer about attributes that crosses with
/// a notice about them (`fuse_change_attributes_i` in its fs/fuse/inode.c): a user who came in that moment was refused
/// with "permission denied". The answer comes from memory; the limit is for a machine that hardly moves.
///
/// Another process asks. A thread of ours that waits for our own mount cannot be killed once the request was read, and
/// as long as it lives the kernel does not end the connection: a daemon that is killed in that moment would stay for
/// ever (`request_wait_answer` in the kernel's fs/fuse/dev.c).
fn learn_root(at: &Path) {
    let (tell, answered) = std::sync::mpsc::channel();
    let mut question = std::process::Command::new("stat");
    question.arg("--").arg(at);
    question.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let asked = std::thread::Builder::new().name("fuse-root".to_owned()).spawn(move || {
        let _ = tell.send(question.status());
    });
    match asked.map(|_| answered.recv_timeout(Duration::from_secs(5))) {
        Ok(Ok(Ok(status))) if status.success() => {}
        outcome => tracing::warn!(?outcome, "the kernel has not asked for the root yet"),
    }
}

fn session_options(options: &MountOptions) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(mounts::SOURCE.to_owned()),
        MountOption::Subtype(mounts::SUBTYPE.to_owned()),
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
    ];
    if options.read_only {
        config.mount_options.push(MountOption::RO);
    }
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(reader_threads());
    config
}

impl Mounted {
    /// The absolute path of the mount point, without symbolic links.
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// Where the volume posts what the kernel must forget.
    pub fn notices(&self) -> Arc<dyn KernelSink> {
        Arc::clone(&self.notices) as Arc<dyn KernelSink>
    }

    /// Completes when the session is over: somebody unmounted it, or it failed.
    pub async fn ended(&self) -> SessionEnd {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(SessionEnd::Unmounted),
            Err(_) => SessionEnd::Failed("the session's thread is gone".to_owned()),
        }
    }

    /// Whether the session is over.
    pub fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Takes the mount down: no more notices, then the name disappears from the tree at once, then up to
    /// `patience` for programs that still have something open there, then the connection is cut under them.
    ///
    /// Draining the upload queue is the caller's business and comes first. Nothing is lost by any of the
    /// endings: every answered write is in the journal.
    ///
    /// # Errors
    /// When the kernel refuses to detach the mount; the sentence says what to do.
    pub async fn unmount(&self, patience: Duration) -> Result<Ending, unmount::UnmountError> {
        self.notices.close();
        if self.has_ended() {
            return Ok(Ending::Already);
        }
        let at = self.at.clone();
        let device_minor = self.device_minor;
        // Both ways of detaching can block: one is a program, the other a system call.
        let detached = tokio::task::spawn_blocking(move || unmount::detach(&at, device_minor)).await;
        match detached {
            Ok(result) => result?,
            Err(_) => return Err(unmount::UnmountError::Panicked),
        }
        tokio::select! {
            biased;
            _ = self.ended() => return Ok(Ending::Clean),
            () = self.clock.sleep(patience) => {}
        }
        let Some(minor) = self.device_minor else {
            return Ok(Ending::StillUsed);
        };
        match unmount::abort(minor) {
            Ok(()) => Ok(Ending::Cut),
            Err(error) => {
                tracing::debug!(%error, "cannot abort the connection; the end of the process will");
                Ok(Ending::StillUsed)
            }
        }
    }
}
