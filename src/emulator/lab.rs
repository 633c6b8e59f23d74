//! The laboratory: other people's programs on the emulator, unmodified, and hands for whoever measures.
//!
//! A OneDrive client of somebody else knows the real hosts by heart. What every such program does obey are
//! `HTTPS_PROXY` and `SSL_CERT_FILE`. So this is a proxy on loopback: `CONNECT` to one of the service's hosts leads
//! into the emulator, behind TLS with a certificate of an authority that is made at the start and forgotten at the
//! end. Any other host is refused, so nothing that runs in here reaches the world outside.
//!
//! Always true: the authority's key never leaves this process; the proxy listens on loopback only; connections
//! through it cost the same round trips on a simulated line as plain ones.
//!
//! Requests that are not `CONNECT` are for the measuring hand, see `desk`.

mod desk;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::world::World;
use super::{DriveHandle, Flavour, OAuthHandle, server};

/// The hosts of Graph and of sign-in.
const FRONT: &[&str] = &["graph.microsoft.com", "login.microsoftonline.com", "login.live.com"];

/// The hosts of pre-authenticated URLs: those of personal drives, and of a work account that is called `example`.
const STORAGE: &[&str] = &["my.microsoftpersonalcontent.com", "example-my.sharepoint.com", "example.sharepoint.com"];

/// The URLs of Graph and of storage that a drive of this kind hands out.
pub(super) fn urls(flavour: Flavour) -> (String, String) {
    let storage = match flavour {
        Flavour::PersonalOld | Flavour::PersonalNew => STORAGE[0],
        Flavour::Business => STORAGE[1],
        Flavour::DocumentLibrary => STORAGE[2],
    };
    (format!("https://{}", FRONT[0]), format!("https://{storage}"))
}

/// What a program needs to know to be led into the emulator.
#[derive(Clone, Debug)]
pub struct Lab {
    address: SocketAddr,
    authority: String,
}

impl Lab {
    /// For `HTTPS_PROXY`: `http://127.0.0.1:PORT`.
    pub fn proxy(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The certificate of the throw-away authority, PEM: to be put in a file that `SSL_CERT_FILE` names.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

/// What the connections of a lab share.
struct Shared {
    world: Arc<World>,
    tls: TlsAcceptor,
    desk: desk::Desk,
}

/// Opens a lab on a loopback address. The task serves until it is dropped.
pub(super) async fn open(
    address: SocketAddr,
    world: Arc<World>,
    drive: DriveHandle,
    oauth: OAuthHandle,
) -> io::Result<(Lab, JoinHandle<()>)> {
    if !address.ip().is_loopback() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the proxy is for this machine only"));
    }
    let listener = TcpListener::bind(address).await?;
    let (authority, tls) = certificates().map_err(io::Error::other)?;
    let lab = Lab { address: listener.local_addr()?, authority };
    let desk = desk::Desk::new(world.clone(), drive, oauth, lab.clone());
    let shared = Arc::new(Shared { world, tls, desk });
    Ok((lab, tokio::spawn(accept(shared, listener))))
}

/// A new authority, as PEM, and a server that it vouches for under all names.
fn certificates() -> Result<(String, TlsAcceptor), Box<dyn std::error::Error + Send + Sync>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "onedrive-mount emulator, for this run only");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = params.self_signed(&key)?;
    let issuer = Issuer::from_params(&params, &key);

    let leaf_key = KeyPair::generate()?;
    let names: Vec<String> = FRONT.iter().chain(STORAGE).map(|name| (*name).to_owned()).collect();
    let leaf = CertificateParams::new(names)?.signed_by(&leaf_key, &issuer)?;
    let leaf_key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], leaf_key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((authority.pem(), TlsAcceptor::from(Arc::new(config))))
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(shared.clone(), stream));
                }
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// A connection to the proxy: requests to the desk, or one `CONNECT` and what comes after it.
async fn connection(shared: Arc<Shared>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let Some((stream, socket)) = server::split(stream) else { return };
    let socket = Arc::new(socket);
    let (sender, mut tunnels) = tokio::sync::mpsc::unbounded_channel();
    let service = service_fn(|mut request: Request<Incoming>| {
        let (shared, sender) = (shared.clone(), sender.clone());
        async move {
            if request.method() != Method::CONNECT {
                return Ok::<_, std::convert::Infallible>(shared.desk.answer(request).await);
            }
            let host = request.uri().host().unwrap_or_default().to_ascii_lowercase();
            let storage = match (FRONT.contains(&host.as_str()), STORAGE.contains(&host.as_str())) {
                (true, _) => false,
                (_, true) => true,
                _ => {
                    return Ok(desk::text(403, format!("{host} is not of the service; nothing leaves this machine\n")));
                }
            };
            let _ = sender.send((hyper::upgrade::on(&mut request), storage));
            Ok(Response::new(Body::empty()))
        }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Ok((upgrade, storage)) = tunnels.try_recv()
        && let Ok(upgraded) = upgrade.await
    {
        tunnel(shared, TokioIo::new(upgraded), storage, socket).await;
    }
}

/// What the client takes for a connection to the service.
async fn tunnel(
    shared: Arc<Shared>,
    stream: TokioIo<hyper::upgrade::Upgraded>,
    storage: bool,
    socket: Arc<std::net::TcpStream>,
) {
    let world = shared.world.clone();
    if server::passes(&world, &socket).await.is_err() {
        return;
    }
    world.link().round_trips(world.clock().as_ref(), server::HANDSHAKES).await;
    let Ok(stream) = shared.tls.accept(stream).await else { return };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2".as_slice());
    let service = service_fn(move |request| {
        let (world, socket) = (world.clone(), socket.clone());
        async move { server::exchange(&world, request, storage, socket).await }
    });
    let io = TokioIo::new(stream);
    if http2 {
        // Windows wide enough that the simulated line is what limits an upload.
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .initial_connection_window_size(32 << 20)
            .initial_stream_window_size(16 << 20)
            .serve_connection(io, service)
            .await;
    } else {
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
    }
}
