//! The side of the control socket that asks: plain blocking calls, because a command has nothing else to do.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::protocol::{Answer, Line, Request, VERSION};

/// How long a daemon may take for an answer that needs nothing but its memory and its disk.
const PATIENCE: Duration = Duration::from_secs(30);

/// A question that is answered by several lines.
struct Conversation {
    lines: io::Lines<BufReader<UnixStream>>,
}

impl Conversation {
    fn begin(socket: &Path, request: &Request, patience: Duration) -> io::Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(patience))?;
        let mut text = serde_json::to_vec(&Line { protocol: VERSION, body: request })?;
        text.push(b'\n');
        stream.write_all(&text)?;
        Ok(Self { lines: BufReader::new(stream).lines() })
    }

    fn next(&mut self) -> io::Result<Answer> {
        let line = self.lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
        let answer: Line<serde_json::Value> = serde_json::from_str(&line)?;
        serde_json::from_value(answer.body).map_err(|error| {
            if answer.protocol == VERSION {
                return error.into();
            }
            let why = format!(
                "the daemon is of another version than this program (it speaks version {} of the protocol, this \
                 program {VERSION}); unmount and mount again",
                answer.protocol
            );
            io::Error::new(io::ErrorKind::InvalidData, why)
        })
    }
}

/// Asks a running daemon.
///
/// # Errors
///
/// [`io::ErrorKind::NotFound`] or [`io::ErrorKind::ConnectionRefused`] if none listens there;
/// [`io::ErrorKind::InvalidData`] if it is of another version.
pub fn ask(socket: &Path, request: &Request) -> io::Result<Answer> {
    Conversation::begin(socket, request, PATIENCE)?.next()
}

/// Asks a running daemon something that takes long; `progress` gets every answer but the last, and at least one comes
/// in every `patience`.
///
/// # Errors
///
/// As for [`ask`]; [`io::ErrorKind::WouldBlock`] or [`io::ErrorKind::TimedOut`] if nothing comes for that long, and
/// [`io::ErrorKind::UnexpectedEof`] if the daemon died before it was done.
pub fn ask_at_length(
    socket: &Path,
    request: &Request,
    patience: Duration,
    mut progress: impl FnMut(&Answer),
) -> io::Result<Answer> {
    let mut conversation = Conversation::begin(socket, request, patience)?;
    loop {
        match conversation.next()? {
            early @ (Answer::Stopping { .. } | Answer::Verifying(_)) => progress(&early),
            last => return Ok(last),
        }
    }
}

/// Asks a running daemon to stop and waits for its last word, for at most `patience`. `progress` gets the first one:
/// what is on the way when it begins.
///
/// # Errors
///
/// As for [`ask_at_length`].
pub fn ask_to_stop(socket: &Path, patience: Duration, progress: impl FnMut(&Answer)) -> io::Result<Answer> {
    ask_at_length(socket, &Request::Stop, patience, progress)
}
