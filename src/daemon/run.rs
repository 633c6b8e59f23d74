//! A daemon's whole life as a process: start, say so, wait for the end, stop in order.
//!
//! Three parties may end it: somebody who unmounts, somebody who asks through the control socket, and signals. A first
//! signal is a request (uploads get a while, the queue is kept), a second one is an order. systemd is told what is
//! going on, so that it neither starts others too early nor kills us while the journal is being closed.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::base::private;

use super::{Daemon, DaemonError, Farewell, Options};
use crate::fuse::{SessionEnd, undertaker};

/// How long uploads may go on once the end is asked for. Long enough for what was saved a moment ago, short enough for
/// a person who shuts the machine down.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// What stopping takes beside [`DRAIN_LIMIT`], as told to systemd.
const STOP_MARGIN: Duration = Duration::from_secs(20);

/// How a run came to its end.
#[derive(Debug)]
pub struct Ended {
    /// The kernel's side.
    pub session: SessionEnd,
    /// The queue's side.
    pub farewell: Farewell,
}

/// Cached files and spool files stay open; the soft limit of a login shell is meant for programs that use `select`.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// The whole life of the process that stands beside a daemon, if that is what the arguments ask for; see
/// [`crate::fuse::undertaker`].
pub fn as_undertaker(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    undertaker::main_if_asked(arguments)
}

/// Lets the calling thread give way to others when the processors are busy. For threads that move bytes: somebody may
/// wait for a name or an attribute meanwhile, which the threads of the mount answer.
pub fn step_back() {
    const NICE: i32 = 5;
    // On Linux this is about the thread, not the process.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

/// Runs a daemon from its start to its end. `ready` is called once the mount answers; if it fails, whoever waited for
/// the mount has given up, and the daemon stops again.
///
/// # Errors
/// The daemon cannot start; nothing is left mounted then.
pub async fn run(options: Options, ready: impl FnOnce() -> io::Result<()>) -> Result<Ended, DaemonError> {
    let mountpoint = options.mountpoint.clone();
    let unable = |source| DaemonError::File { path: mountpoint.clone(), source };
    // Before the start: a signal that comes meanwhile must not end us half-mounted.
    let mut signals = Signals::listen().map_err(unable)?;
    raise_descriptor_limit();
    private::close_process();
    let daemon = Daemon::start(options).await?;
    let session = match ready() {
        Ok(()) => {
            tell(&[NotifyState::Ready, NotifyState::Status(&format!("mounted on {}", mountpoint.display()))]);
            tokio::select! {
                end = daemon.ended() => end,
                name = signals.next() => {
                    tracing::info!(signal = name, "stopping");
                    SessionEnd::Unmounted
                }
            }
        }
        Err(error) => {
            tracing::info!(%error, "nobody waits for this mount any more; stopping");
            SessionEnd::Unmounted
        }
    };
    let patience = u32::try_from((DRAIN_LIMIT + STOP_MARGIN).as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(patience), NotifyState::Status("stopping")]);
    let farewell = daemon
        .stop_after(async {
            tokio::select! {
                () = tokio::time::sleep(DRAIN_LIMIT) => {}
                _ = signals.next() => tracing::info!("a second signal: stopping at once"),
            }
        })
        .await;
    tracing::info!(waiting = farewell.waiting, parked = farewell.parked, "stopped: {farewell}");
    Ok(Ended { session, farewell })
}

/// Tells systemd, if it listens.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}

/// The signals that ask for the end: from a service manager, from Ctrl-C, from a terminal that closes.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}
