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
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Listens. A socket that a dead daemon left is replaced: the caller holds the lock of the state folder.
    ///
    /// # Errors
    ///
    /// The folder or the socket cannot be made.
    pub fn start(path: &Path, journal: Arc<Journal>, mountpoint: &Path) -> io::Result<Self> {
        use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let (tell, stop) = watch::channel(false);
        let mountpoint = mountpoint.to_owned();
        let task = tokio::spawn(async move {
            let tell = Arc::new(tell);
            while let Ok((stream, _)) = listener.accept().await {
                let (journal, mountpoint, tell) = (journal.clone(), mountpoint.clone(), tell.clone());
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &journal, &mountpoint, &tell).await {
                        tracing::debug!(%error, "a control connection broke");
                    }
                });
            }
        });
        Ok(Self { path: path.to_owned(), stop, task })
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

async fn serve(stream: UnixStream, journal: &Journal, mountpoint: &Path, stop: &watch::Sender<bool>) -> io::Result<()> {
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
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        write.write_all(&text).await?;
    }
    Ok(())
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
