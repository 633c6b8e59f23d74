//! The listener that the browser is sent back to.
//!
//! It has to live with real browsers: they open connections they never use, ask for an icon, and try IPv6 first. And
//! with the rest of the machine: any page can send a request here, so only one that knows the state of this sign-in
//! counts, and a wrong one does not end the wait.
//!
//! The state alone is not enough. The address that a browser is started with can be read in `/proc` by every user of the
//! machine, and with it another user can sign in as himself and bring his own code here first: the mount would then be
//! his account, and what is saved would go there. So an answer counts only if it comes from a process of this user
//! ([`neighbour`](super::neighbour)), and both addresses that `localhost` stands for are ours or nobody's.
//!
//! The address could be kept from the others instead, by handing the browser a file that only this user can read. Not
//! done: browsers from snaps see neither `/tmp` nor hidden folders nor the runtime folder, what opens a file is often
//! not what opens an address, and the file would have to lie in the open in the home folder. A browser that is not let
//! in fails at the beginning of every sign-in; the answer is worth the same wherever it was read.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::flow::{Outcome, Redirect, SignInError};

/// The longest request that is read. Codes of work accounts reach a few kilobytes.
const LONGEST_REQUEST: usize = 32 * 1024;

/// Listens on a port of its own.
pub(super) struct Loopback {
    v4: TcpListener,
    /// `localhost` may mean this to a browser. Not every machine has it, and it is no loss then.
    v6: Option<TcpListener>,
    port: u16,
}

impl Loopback {
    /// Listens on a port where no other program listens on either address: it would get the answer in our place.
    pub(super) async fn bind() -> io::Result<Self> {
        const ATTEMPTS: usize = 20;
        for _ in 0..ATTEMPTS {
            if let Some(bound) = Self::beside(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?).await? {
                return Ok(bound);
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// Takes the same port of the other address, if this machine has it; `None` if another program has the port.
    pub(super) async fn beside(v4: TcpListener) -> io::Result<Option<Self>> {
        let port = v4.local_addr()?.port();
        match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
            Ok(v6) => Ok(Some(Self { v4, v6: Some(v6), port })),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            Err(_) => Ok(Some(Self { v4, v6: None, port })),
        }
    }

    /// The redirect URI. For `localhost` the port need not be registered.
    ///
    /// Source: <https://learn.microsoft.com/entra/identity-platform/reply-url#localhost-exceptions>.
    pub(super) fn redirect_uri(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// Waits for the redirect that carries `state`.
    pub(super) async fn redirect(self, state: &str) -> Result<Outcome, SignInError> {
        let mut visits = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.v4.accept() => accepted,
                accepted = accept(self.v6.as_ref()) => accepted,
                Some(visit) = visits.join_next() => match visit {
                    Ok(Some(redirect)) => return Ok(redirect),
                    _ => continue,
                },
            };
            let (stream, _) = accepted.map_err(SignInError::Listener)?;
            visits.spawn(receive(stream, state.to_owned()));
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, std::net::SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Reads one request and answers it. Its redirect, if it is the one we wait for.
async fn receive(mut stream: TcpStream, state: String) -> Option<Outcome> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&buffer[..read]);
        if request.len() > LONGEST_REQUEST {
            return None;
        }
    }
    let line = String::from_utf8_lossy(&request);
    let target = line.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
    let (status, page, redirect) = match target {
        Some(target) if target == "/" || target.starts_with("/?") => {
            match Redirect::parse(target).map(|redirect| redirect.meant_for(&state, false)) {
                // Asked now, while whoever asks waits for the answer.
                Some(Ok(_)) if !super::neighbour::is_ours(&stream) => ("403 Forbidden", PAGE_STRANGER, None),
                Some(Ok(outcome @ Outcome::Code(_))) => ("200 OK", PAGE_DONE, Some(outcome)),
                Some(Ok(outcome @ Outcome::Error { .. })) => ("200 OK", PAGE_REFUSED, Some(outcome)),
                _ => ("400 Bad Request", PAGE_WRONG, None),
            }
        }
        _ => ("404 Not Found", PAGE_WRONG, None),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Referrer-Policy: no-referrer\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
    // The page is a courtesy: a browser that has gone away does not undo the sign-in.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    redirect
}

const PAGE_DONE: &str = "<!doctype html><title>OneDrive</title><h1>Almost there</h1>\
    <p>Go back to the terminal, which finishes the sign-in. This page can be closed.</p>";
const PAGE_REFUSED: &str = "<!doctype html><title>OneDrive</title><h1>Not signed in</h1>\
    <p>The terminal says why. This page can be closed.</p>";
const PAGE_STRANGER: &str = "<!doctype html><title>OneDrive</title><h1>Not taken</h1>\
    <p>This does not come from a program of the user who is signing in, or that cannot be told here. \
    To sign in with this browser, stop the program in the terminal and run: onedrive-cli auth --no-browser</p>";
const PAGE_WRONG: &str = "<!doctype html><title>OneDrive</title><h1>Not the answer that was waited for</h1>\
    <p>Please use the page that the sign-in opened last.</p>";
