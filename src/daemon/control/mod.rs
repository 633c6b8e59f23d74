//! The control socket: how `onedrive-cli` talks to a running daemon.
//!
//! The socket is in a folder of mode 0700, and every peer's user is checked: only the owner and root are heard. What
//! is said is in [`protocol`], the asking side in [`client`], and what the daemon says about itself in `answers`.
//! Nothing that is asked waits for the network.
//!
//! The folder of sockets is shared by all daemons of the user, and who is asked whether everything is in the cloud
//! finds them there. So a daemon never takes away a socket that another one listens on: it replaces one only if nobody
//! can be connected to there, and removes only its own at the end. A socket that lies there and refuses means a daemon
//! that did not come to its end in order.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use super::Farewell;

mod answers;
pub mod asks;
pub mod client;
pub mod protocol;
mod words;

pub use answers::Answers;
pub use client::{ask, ask_at_length, ask_to_stop};
pub use protocol::{Answer, Request, Status};

use protocol::{Line, VERSION, Verified};

/// The daemon's side.
pub struct Server {
    socket: Bound,
    stop: watch::Receiver<bool>,
    /// The last answer, for those who asked for the end. Each of them holds a receiver until it is delivered.
    last: watch::Sender<Option<Answer>>,
    task: tokio::task::JoinHandle<()>,
}

/// Peers that are served at once.
const PEERS: usize = 32;

/// The pause after a connection that could not be accepted.
const BREATH: Duration = Duration::from_millis(200);

/// How long a peer may stay without asking anything, and without taking its answer: shorter than anybody who waits for a
/// place has patience, so that peers that were stopped lock nobody out.
const SILENCE: Duration = Duration::from_secs(5);

/// How often a verification tells how far it is.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// How long those who asked for the end may take to hear that it has come.
const LAST_WORDS: Duration = Duration::from_millis(500);

impl Server {
    /// Listens on the first of these paths that no other daemon listens on.
    ///
    /// # Errors
    ///
    /// The folder or the socket cannot be made; [`io::ErrorKind::AddrInUse`] if others listen on all of them.
    pub async fn start(paths: &[PathBuf], answers: Answers) -> io::Result<Self> {
        let mut claimed = Err(io::ErrorKind::AddrInUse.into());
        for path in paths {
            claimed = claim(path).await;
            if !matches!(&claimed, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
                break;
            }
        }
        let (listener, socket) = claimed?;
        let (tell, stop) = watch::channel(false);
        let last = watch::Sender::new(None);
        let listeners = last.clone();
        let task = tokio::spawn(async move {
            let desk = Arc::new(Desk { answers, stop: tell, last: listeners });
            let room = Arc::new(Semaphore::new(PEERS));
            loop {
                // A peer too many waits in the queue of the socket.
                let Ok(place) = room.clone().acquire_owned().await else { return };
                let Ok((stream, _)) = listener.accept().await else {
                    // Out of descriptors, perhaps: that passes.
                    tokio::time::sleep(BREATH).await;
                    continue;
                };
                let desk = desk.clone();
                tokio::spawn(async move {
                    let _place = place;
                    if let Err(error) = desk.serve(stream).await {
                        tracing::debug!(%error, "a control connection broke");
                    }
                });
            }
        });
        Ok(Self { socket, stop, last, task })
    }

    /// Tells those who asked for the end how it went, and stops listening.
    pub async fn close(self, farewell: &Farewell) {
        let answer = Answer::Stopped {
            waiting: farewell.waiting,
            parked: farewell.parked,
            trouble: farewell.unmounted.clone().err(),
        };
        self.last.send_replace(Some(answer));
        // A peer that does not read must not hold up the end of the process.
        let _ = tokio::time::timeout(LAST_WORDS, self.last.closed()).await;
    }

    /// Completes when somebody asks the daemon to stop.
    pub async fn stop_requested(&self) {
        let mut stop = self.stop.clone();
        if stop.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Before the listener goes: as long as it is there, no other file can have the number of ours.
        self.socket.remove();
        self.task.abort();
    }
}

/// A socket that was made here.
struct Bound {
    path: PathBuf,
    file: Option<(u64, u64)>,
}

impl Bound {
    fn number_of(path: &Path) -> Option<(u64, u64)> {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::symlink_metadata(path).ok().map(|facts| (facts.dev(), facts.ino()))
    }

    /// Removes it, unless something else has taken its place.
    fn remove(&self) {
        let folder = self.path.parent().map(Turn::take);
        if self.file.is_some() && Self::number_of(&self.path) == self.file {
            let _ = std::fs::remove_file(&self.path);
        }
        drop(folder);
    }
}

/// The turn to change what lies in a folder of sockets: between the look at a socket and its removal no other daemon
/// puts its own there. Held for a moment, and never while waiting for anybody.
struct Turn {
    // The descriptor is the lock.
    _folder: Option<std::fs::File>,
}

impl Turn {
    /// A folder that cannot be locked is one of a file system without locks; then it is the moment that is left open.
    fn take(folder: &Path) -> Self {
        use rustix::fs::{FlockOperation, flock};
        let file = std::fs::File::open(folder).ok();
        Self { _folder: file.filter(|file| flock(file, FlockOperation::LockExclusive).is_ok()) }
    }
}

/// Removes sockets on which nobody listens any more. Whoever asks all daemons takes one for a daemon that does not answer.
pub async fn clear_away(sockets: &[PathBuf]) {
    for path in sockets {
        let turn = path.parent().map(Turn::take);
        if UnixStream::connect(path).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            let _ = std::fs::remove_file(path);
        }
        drop(turn);
    }
}

/// Makes a socket at a path where nobody listens.
///
/// | what lies there | then |
/// | --- | --- |
/// | nothing | it is made |
/// | what refuses a connection: a socket that a daemon left when it died, or no socket at all | it is replaced |
/// | what takes a connection, or might | [`io::ErrorKind::AddrInUse`] |
async fn claim(path: &Path) -> io::Result<(UnixListener, Bound)> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = path.parent().unwrap_or(Path::new("."));
    crate::base::private::folder(folder)?;
    let turn = Turn::take(folder);
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
        // One that is stopped, or busy with very many, lives too.
        _ => return Err(io::ErrorKind::AddrInUse.into()),
    }
    let listener = UnixListener::bind(path)?;
    let socket = Bound { path: path.to_owned(), file: Bound::number_of(path) };
    drop(turn);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok((listener, socket))
}

/// What all connections share.
struct Desk {
    answers: Answers,
    stop: watch::Sender<bool>,
    last: watch::Sender<Option<Answer>>,
}

impl Desk {
    async fn serve(self: Arc<Self>, stream: UnixStream) -> io::Result<()> {
        const LONGEST: u64 = 64 * 1024;
        let peer = stream.peer_cred()?.uid();
        let (read, mut write) = stream.into_split();
        if !may_ask(peer, rustix::process::getuid().as_raw()) {
            return say(&mut write, &refused("this daemon belongs to another user")).await;
        }
        let mut lines = tokio::io::BufReader::new(tokio::io::AsyncReadExt::take(read, LONGEST)).lines();
        loop {
            // Whoever connects and says nothing gives its place up.
            let Ok(line) = tokio::time::timeout(SILENCE, lines.next_line()).await else { return Ok(()) };
            let Some(line) = line? else { return Ok(()) };
            match understood(&line) {
                Err(why) => say(&mut write, &refused(why)).await?,
                Ok(Request::Stop) => return self.stop(&mut write).await,
                Ok(Request::Verify { path }) => self.verify(&mut write, path).await?,
                Ok(request) => {
                    let desk = self.clone();
                    let answered = tokio::task::spawn_blocking(move || desk.answers.answer(&request)).await;
                    let answer = answered.unwrap_or_else(|_| refused("the daemon failed to answer; see its log"));
                    say(&mut write, &answer).await?;
                }
            }
        }
    }

    async fn stop(&self, write: &mut OwnedWriteHalf) -> io::Result<()> {
        let (waiting, parked) = self.answers.journal.backlog();
        // Subscribed before the answer goes out, so that the end cannot come between.
        let mut end = self.last.subscribe();
        self.stop.send_replace(true);
        say(write, &Answer::Stopping { waiting, parked }).await?;
        let answer = end.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
        match answer {
            Some(answer) => say(write, &answer).await,
            None => Ok(()),
        }
    }

    async fn verify(self: &Arc<Self>, write: &mut OwnedWriteHalf, path: Option<String>) -> io::Result<()> {
        let seen = Arc::new(Mutex::new(Verified::default()));
        let gone = Arc::new(AtomicBool::new(false));
        let (desk, found, unwanted) = (self.clone(), seen.clone(), gone.clone());
        let mut work = tokio::task::spawn_blocking(move || {
            desk.answers.verify(path.as_deref(), &found, &|| !unwanted.load(Ordering::Relaxed))
        });
        let so_far = || seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        loop {
            tokio::select! {
                ended = &mut work => {
                    let answer = match ended {
                        Ok(Ok(())) => Answer::Verified(so_far()),
                        Ok(Err(why)) => refused(why),
                        Err(_) => refused("the daemon failed to answer; see its log"),
                    };
                    return say(write, &answer).await;
                }
                () = tokio::time::sleep(HEARTBEAT) => {
                    // What was found is told at the end.
                    let progress = Verified { findings: Vec::new(), ..so_far() };
                    if let Err(error) = say(write, &Answer::Verifying(progress)).await {
                        gone.store(true, Ordering::Relaxed);
                        return Err(error);
                    }
                }
            }
        }
    }
}

/// Whether a peer of this user is heard by a daemon of that one.
fn may_ask(peer: u32, owner: u32) -> bool {
    peer == owner || peer == 0
}

/// The request in a line. To stop is understood in every version, so that a new program can replace an old daemon.
fn understood(line: &str) -> Result<Request, String> {
    let line: Line<serde_json::Value> =
        serde_json::from_str(line).map_err(|error| format!("not understood: {error}"))?;
    match serde_json::from_value(line.body) {
        Ok(Request::Stop) => Ok(Request::Stop),
        _ if line.protocol != VERSION => Err(format!(
            "this daemon speaks version {VERSION} of the protocol, not {}; unmount and mount again, so that both \
             programs are of the same version",
            line.protocol
        )),
        Ok(request) => Ok(request),
        Err(error) => Err(format!("not understood: {error}")),
    }
}

fn refused(why: impl Into<String>) -> Answer {
    Answer::Refused { why: why.into() }
}

async fn say(write: &mut OwnedWriteHalf, answer: &Answer) -> io::Result<()> {
    let mut text = serde_json::to_vec(&Line { protocol: VERSION, body: answer })?;
    text.push(b'\n');
    // Whoever does not read gives its place up, too.
    tokio::time::timeout(SILENCE, write.write_all(&text)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_and_root_are_heard() {
        assert!(may_ask(1000, 1000) && may_ask(0, 1000));
        assert!(!may_ask(1001, 1000) && !may_ask(65_534, 1000) && !may_ask(1000, 0));
    }

    #[test]
    fn another_version_is_told_so_and_can_still_stop_the_daemon() {
        assert_eq!(understood(r#"{"protocol":1,"ask":"status"}"#), Ok(Request::Status));
        for other in [r#"{"protocol":2,"ask":"status"}"#, r#"{"ask":"status"}"#, r#"{"protocol":9,"ask":"dance"}"#] {
            assert!(understood(other).expect_err("refused").contains("version 1 of the protocol"), "{other}");
        }
        for version in ["", r#""protocol":7,"#] {
            assert_eq!(understood(&format!(r#"{{{version}"ask":"stop"}}"#)), Ok(Request::Stop));
        }
        assert!(understood("{").expect_err("refused").starts_with("not understood"));
        assert!(understood(r#"{"protocol":1,"ask":"dance"}"#).expect_err("refused").starts_with("not understood"));
    }
}
