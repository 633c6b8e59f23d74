//! The network between client and service, and the ways in which it is not there.
//!
//! Programs meet different errors, after different times, depending on how a network fails: a reset comes at
//! once, a refusal before anything was sent, and packets that vanish never come back at all. Each is made here
//! with real sockets, so that the client meets what the kernel would tell it.
//!
//! Always true: what changes the network wakes everything that waits in it; a request that was under way when
//! packets began to vanish is never answered, even if it took effect.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Waiting connections of a door that is open.
const BACKLOG: u32 = 1024;

/// On this machine a connection that can be made is made at once.
const STUFFED_BY_THEN: Duration = Duration::from_millis(200);

/// Somebody's outgoing connection may get the address for a moment, while nobody has it.
const TRIES: u32 = 100;

async fn again(address: SocketAddr) -> io::Result<TcpSocket> {
    let mut tries = 1;
    loop {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        match socket.bind(address) {
            Ok(()) => return Ok(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < TRIES => tries += 1,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How the network is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// Everything passes.
    Up,
    /// Every connection, new or kept alive, is reset without an answer.
    Resetting,
    /// Nobody listens: new connections are refused, those that were open are cut.
    Refusing,
    /// Packets vanish: new connections are never established, on open ones nothing comes back. What was sent
    /// into it is lost; when it ends the connections that were in it are reset.
    Vanishing,
}

/// One of the emulator's two addresses, as the network lets clients reach it.
pub(super) enum Door {
    /// Connections are accepted.
    Open(TcpListener),
    /// The address is ours and nobody listens.
    Shut(TcpSocket),
    /// Its queue is full and never emptied, so the kernel drops whoever knocks.
    Stuffed {
        _listener: TcpListener,
        /// What fills the queue.
        _stuffing: Option<TcpStream>,
    },
}

impl Door {
    /// Accepts the next connection; waits for ever while there is none to come.
    pub(super) async fn accept(&self) -> io::Result<TcpStream> {
        match self {
            Self::Open(listener) => listener.accept().await.map(|(stream, _)| stream),
            Self::Shut(_) | Self::Stuffed { .. } => std::future::pending().await,
        }
    }

    /// The same address as this network shows it.
    pub(super) async fn under(self, network: Network, address: SocketAddr) -> io::Result<Self> {
        match (self, network) {
            (Self::Open(listener), Network::Up | Network::Resetting) => Ok(Self::Open(listener)),
            (Self::Shut(socket), Network::Up | Network::Resetting) => Ok(Self::Open(socket.listen(BACKLOG)?)),
            (old, network) => {
                drop(old);
                let socket = again(address).await?;
                match network {
                    Network::Up | Network::Resetting => Ok(Self::Open(socket.listen(BACKLOG)?)),
                    Network::Refusing => Ok(Self::Shut(socket)),
                    Network::Vanishing => {
                        // A queue of length nought holds one.
                        let listener = socket.listen(0)?;
                        // A client that was quicker fills it as well, and then this is one of those who knock in vain.
                        let connect = tokio::time::timeout(STUFFED_BY_THEN, TcpStream::connect(address));
                        let stuffing = connect.await.ok().transpose()?;
                        Ok(Self::Stuffed { _listener: listener, _stuffing: stuffing })
                    }
                }
            }
        }
    }
}
