//! The desktop, as a program reaches it: the service `org.freedesktop.Notifications` on the session bus.
//!
//! A bus may be missing, refuse us, or take a connection and never answer, and so may the desktop behind it. So every
//! question has a time limit, and after one that failed the connection is given up and made anew for the next. Nothing
//! here starts a thread or a program: only sockets of this machine are used, and connecting to one never waits.
//!
//! The connection stays open as long as something stands: desktops take down what a program has said when it goes.
//!
//! Source: <https://specifications.freedesktop.org/notification-spec/latest/>.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use tokio::net::UnixStream;
use zbus::address::Transport;
use zbus::address::transport::UnixSocket;
use zbus::zvariant::Value;

use super::plan::Words;
use super::words::as_markup;

/// How long the desktop may take for an answer, the connection included.
const PATIENCE: Duration = Duration::from_secs(4);

const SERVICE: &str = "org.freedesktop.Notifications";
const OBJECT: &str = "/org/freedesktop/Notifications";

/// Nobody could be told.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Nothing says where the bus is.
    #[error("there is no session bus on this machine that could be reached")]
    Nowhere,
    /// It cannot be connected to.
    #[error("the session bus cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    /// It, or the desktop, refused.
    #[error("the desktop cannot be told: {0}")]
    Refused(#[from] zbus::Error),
    /// No answer came.
    #[error("the session bus does not answer")]
    Silent,
}

/// The way to the desktop; closed until it is needed.
#[derive(Default)]
pub struct Bus {
    line: Option<Line>,
}

struct Line {
    connection: zbus::Connection,
    /// Whether the desktop takes bodies for markup.
    markup: bool,
}

impl Bus {
    /// Shows something, in place of the notification of this number (0 is none); its number.
    ///
    /// # Errors
    ///
    /// [`BusError`], within [`PATIENCE`].
    pub async fn show(&mut self, words: &Words, replaces: u32) -> Result<u32, BusError> {
        let shown = tokio::time::timeout(PATIENCE, self.line_show(words, replaces)).await;
        self.judged(shown.unwrap_or(Err(BusError::Silent)))
    }

    /// Closes what was shown. If nobody can be asked to, it is gone with the connection.
    ///
    /// # Errors
    ///
    /// [`BusError`], within [`PATIENCE`].
    pub async fn close(&mut self, number: u32) -> Result<(), BusError> {
        let Some(line) = &self.line else { return Ok(()) };
        let closed = tokio::time::timeout(PATIENCE, line.ask("CloseNotification", &(number,))).await;
        let closed = closed.unwrap_or(Err(BusError::Silent)).map(drop);
        self.judged(closed)
    }

    /// Gives the connection up: nothing stands any more.
    pub fn hang_up(&mut self) {
        self.line = None;
    }

    async fn line_show(&mut self, words: &Words, replaces: u32) -> Result<u32, BusError> {
        let line = match &mut self.line {
            Some(line) => line,
            empty => empty.insert(Line::open().await?),
        };
        let body = if line.markup { as_markup(&words.body) } else { words.body.clone() };
        // Of normal urgency; it stays until it is closed, because it is closed when it is no longer true.
        let hints = HashMap::from([("urgency", Value::U8(1))]);
        let (actions, lasting): (&[&str], i32) = (&[], 0);
        let message = ("OneDrive", replaces, "dialog-warning", words.title.as_str(), body, actions, hints, lasting);
        Ok(line.ask("Notify", &message).await?.body().deserialize::<u32>()?)
    }

    fn judged<T>(&mut self, result: Result<T, BusError>) -> Result<T, BusError> {
        if result.is_err() {
            self.line = None;
        }
        result
    }
}

impl Line {
    async fn open() -> Result<Self, BusError> {
        let mut failed = BusError::Nowhere;
        for socket in sockets() {
            let stream = match UnixStream::connect(&socket).await {
                Ok(stream) => stream,
                Err(error) => {
                    failed = error.into();
                    continue;
                }
            };
            let connection = zbus::connection::Builder::unix_stream(stream).build().await?;
            let mut line = Self { connection, markup: true };
            let abilities = line.ask("GetCapabilities", &()).await?;
            line.markup = abilities.body().deserialize::<Vec<String>>()?.iter().any(|able| able == "body-markup");
            return Ok(line);
        }
        Err(failed)
    }

    async fn ask<B>(&self, method: &str, body: &B) -> Result<zbus::Message, BusError>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
    {
        Ok(self.connection.call_method(Some(SERVICE), OBJECT, Some(SERVICE), method, body).await?)
    }
}

/// Where the session bus may listen: as the environment says, or else at the usual place. An abstract name has a zero
/// byte in front. Buses behind anything else than a socket of this machine are none of ours.
fn sockets() -> Vec<PathBuf> {
    match std::env::var("DBUS_SESSION_BUS_ADDRESS") {
        Ok(list) => list.split(';').filter_map(|one| socket(&zbus::Address::from_str(one).ok()?)).collect(),
        Err(_) => zbus::Address::session().ok().as_ref().and_then(socket).into_iter().collect(),
    }
}

fn socket(address: &zbus::Address) -> Option<PathBuf> {
    let Transport::Unix(unix) = address.transport() else { return None };
    match unix.path() {
        UnixSocket::File(path) => Some(path.clone()),
        UnixSocket::Abstract(name) => {
            let mut path = OsString::from("\0");
            path.push(name);
            Some(path.into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_of_this_machine_are_used() {
        let found = |text: &str| socket(&zbus::Address::from_str(text).expect("an address"));
        assert_eq!(
            found("unix:path=/run/user/7/bus,guid=00000000000000000000000000000001"),
            Some("/run/user/7/bus".into())
        );
        assert_eq!(found("unix:abstract=/tmp/dbus-x"), Some("\0/tmp/dbus-x".into()));
        assert_eq!(found("tcp:host=127.0.0.1,port=4"), None);
    }
}
