//! The control socket: how `onedrive-cli` talks to a running daemon.
//!
//! One JSON object a line, one answer a line. The socket is in a folder of mode 0700, and every peer's user is
//! checked: only the owner and root are heard.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::Farewell;
use crate::journal::{Journal, Progress};

/// What may be asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub enum Request {
    /// How things stand.
    Status,
    /// Unmount and end, after waiting this long for uploads.
    Stop,
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum Answer {
    /// How things stand.
    Status(Status),
    /// It is on its way.
    Stopping {
        /// Changes that are not in the cloud yet.
        waiting: usize,
        /// Changes that wait for the user.
        parked: usize,
    },
    /// It has stopped: a second line after [`Answer::Stopping`], when all is over.
    Stopped {
        /// Changes that are not in the cloud; they go on at the next start.
        waiting: usize,
        /// Changes that wait for the user.
        parked: usize,
        /// Why the mount point is not free, if it is not.
        trouble: Option<String>,
    },
    /// The request was not understood or not allowed.
    Refused {
        /// Why.
        why: String,
    },
}

/// How things stand.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// Changes that are not in the cloud yet.
    pub waiting: usize,
    /// Changes that wait for the user.
    pub parked: usize,
    /// The first hundred of them.
    pub queue: Vec<Queued>,
    /// Drafts that are kept for the user.
    pub kept: Vec<String>,
}

/// One change on its way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Queued {
    /// Its name.
    pub name: String,
    /// `waiting`, `sending`, `parked`.
    pub state: String,
    /// Bytes that the service has acknowledged, of an upload under way.
    pub sent: Option<u64>,
    /// What the last attempt said.
    pub error: Option<String>,
}

/// The daemon's side.
pub struct Server {
    path: PathBuf,
    stop: watch::Receiver<bool>,
    /// The last answer, for those who asked for the end. Each of them holds a receiver until it is delivered.
    last: watch::Sender<Option<Answer>>,
    task: tokio::task::JoinHandle<()>,
}

/// How long those who asked for the end may take to hear that it has come.
const LAST_WORDS: Duration = Duration::from_millis(500);

impl Server {
    /// Listens. A socket that a dead daemon left is replaced: the caller holds the lock of the state folder.
    ///
    /// # Errors
    ///
    /// The folder or the socket cannot be made.
    pub fn start(path: &Path, journal: Arc<Journal>, mountpoint: &Path) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        if let Some(folder) = path.parent() {
            crate::base::private::folder(folder)?;
        }
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let (tell, stop) = watch::channel(false);
        let last = watch::Sender::new(None);
        let listeners = last.clone();
        let mountpoint = mountpoint.to_owned();
        let task = tokio::spawn(async move {
            let tell = Arc::new(tell);
            while let Ok((stream, _)) = listener.accept().await {
                let (journal, mountpoint, tell) = (journal.clone(), mountpoint.clone(), tell.clone());
                let listeners = listeners.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &journal, &mountpoint, &tell, &listeners).await {
                        tracing::debug!(%error, "a control connection broke");
                    }
                });
            }
        });
        Ok(Self { path: path.to_owned(), stop, last, task })
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
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve(
    stream: UnixStream,
    journal: &Journal,
    mountpoint: &Path,
    stop: &watch::Sender<bool>,
    last: &watch::Sender<Option<Answer>>,
) -> io::Result<()> {
    const LONGEST: u64 = 64 * 1024;
    let peer = stream.peer_cred()?.uid();
    let (read, mut write) = stream.into_split();
    let mut lines = tokio::io::BufReader::new(tokio::io::AsyncReadExt::take(read, LONGEST)).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = if peer != rustix::process::getuid().as_raw() && peer != 0 {
            Answer::Refused { why: "this daemon belongs to another user".into() }
        } else {
            match serde_json::from_str::<Request>(&line) {
                Ok(request) => answer(&request, journal, mountpoint, stop),
                Err(error) => Answer::Refused { why: format!("not understood: {error}") },
            }
        };
        // Subscribed before the answer goes out, so that the end cannot come between.
        let mut end = matches!(answer, Answer::Stopping { .. }).then(|| last.subscribe());
        write.write_all(&line_of(&answer)?).await?;
        if let Some(end) = &mut end {
            let answer = end.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
            if let Some(answer) = answer {
                write.write_all(&line_of(&answer)?).await?;
            }
            return Ok(());
        }
    }
    Ok(())
}

fn line_of(answer: &Answer) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(answer)?;
    text.push(b'\n');
    Ok(text)
}

fn answer(request: &Request, journal: &Journal, mountpoint: &Path, stop: &watch::Sender<bool>) -> Answer {
    let (waiting, parked) = journal.backlog();
    match request {
        Request::Status => {
            let mut queue: Vec<Queued> = journal.view(|overlay| {
                overlay
                    .iter()
                    .filter(|intent| !intent.local_only)
                    .take(100)
                    .map(|intent| Queued {
                        name: crate::base::name::to_local(&intent.name),
                        state: match intent.progress {
                            Progress::Waiting => "waiting",
                            Progress::Sending { .. } => "sending",
                            Progress::Parked(_) => "parked",
                        }
                        .into(),
                        sent: match intent.progress {
                            Progress::Sending { acked, .. } => Some(acked),
                            _ => None,
                        },
                        error: intent.last_error.clone(),
                    })
                    .collect()
            });
            queue.sort_by(|a, b| a.name.cmp(&b.name));
            let kept = journal
                .kept()
                .into_iter()
                .filter_map(|row| row.kept.map(|kept| format!("{} ({})", kept.name, kept.why)))
                .collect();
            Answer::Status(Status { mountpoint: mountpoint.to_owned(), waiting, parked, queue, kept })
        }
        Request::Stop => {
            stop.send_replace(true);
            Answer::Stopping { waiting, parked }
        }
    }
}

/// Asks a running daemon to stop and waits for its last word, for at most `patience`. `progress` gets the first one:
/// what is on the way when it begins.
///
/// # Errors
///
/// As for [`ask`]; [`io::ErrorKind::WouldBlock`] or [`io::ErrorKind::TimedOut`] if it takes longer, and
/// [`io::ErrorKind::UnexpectedEof`] if the daemon died before it was done.
pub fn ask_to_stop(socket: &Path, patience: Duration, progress: impl FnOnce(&Answer)) -> io::Result<Answer> {
    let mut stream = BlockingStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    let mut text = serde_json::to_vec(&Request::Stop)?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut lines = BufReader::new(stream).lines();
    let mut next = || -> io::Result<Answer> {
        let line = lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
        Ok(serde_json::from_str(&line)?)
    };
    match next()? {
        first @ Answer::Stopping { .. } => progress(&first),
        other => return Ok(other),
    }
    next()
}

/// Asks a running daemon.
///
/// # Errors
///
/// [`io::ErrorKind::NotFound`] or [`io::ErrorKind::ConnectionRefused`] if none listens there.
pub fn ask(socket: &Path, request: &Request) -> io::Result<Answer> {
    let mut stream = BlockingStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}
