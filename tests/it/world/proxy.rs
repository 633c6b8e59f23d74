//! A service that lies: it stands before the emulator, passes everything on, and puts single answers of its own in the
//! place of the real ones, down to bytes that are no HTTP.
//!
//! It speaks raw TCP, one request a connection, because what is tested here is what a well-behaved HTTP library would
//! not send. Its third address is somebody else's server, which writes down who came and what they brought.

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use onedrive_mount::emulator::Emulator;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Which of the addresses a request came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// Graph, Live Connect and sign-in.
    Graph,
    /// Pre-authenticated URLs, and uploads by BITS.
    Storage,
    /// Nobody's business.
    Elsewhere,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Visit {
    pub door: Door,
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The header, if there was one.
    pub authorization: Option<String>,
    pub body: Vec<u8>,
}

/// What is answered in place of the truth.
#[derive(Clone)]
pub enum Lie {
    /// The real answer, its JSON changed.
    Edit(Arc<dyn Fn(&mut Value) + Send + Sync>),
    /// This body with 200 and the type of JSON.
    Json(Arc<Vec<u8>>),
    /// The same, made for each telling; they are counted from 0.
    Counted(Arc<dyn Fn(usize) -> Vec<u8> + Send + Sync>),
    /// These bytes, then the end of the connection.
    Raw(Arc<Vec<u8>>),
    /// These bytes, then this piece until the peer has enough.
    Endless(Vec<u8>, Vec<u8>),
    /// These bytes, then one of those every so often until the peer has enough.
    Drip(Vec<u8>, Duration, &'static [u8]),
}

impl Lie {
    pub fn edit(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::Edit(Arc::new(edit))
    }

    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::Json(Arc::new(body.into()))
    }

    pub fn counted(body: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::Counted(Arc::new(body))
    }

    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Raw(Arc::new(bytes.into()))
    }

    /// A status with headers and a body whose length is said rightly.
    pub fn status(line: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut bytes = format!("HTTP/1.1 {line}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        bytes.push_str("\r\n");
        let mut bytes = bytes.into_bytes();
        bytes.extend_from_slice(body);
        Self::raw(bytes)
    }
}

/// Where a lie is told.
#[derive(Clone)]
pub struct Told {
    pub door: Door,
    /// Of uploads by BITS, the packet; `*` for all.
    pub method: &'static str,
    /// A part of path and query.
    pub part: String,
    pub lie: Lie,
}

/// The lying service. Ends with the runtime it was started on.
pub struct Proxy {
    /// Where clients find Graph.
    pub graph: String,
    /// Where pre-authenticated URLs lead.
    pub storage: String,
    /// Somebody else.
    pub elsewhere: String,
    shared: Arc<Shared>,
}

struct Shared {
    graph: String,
    storage: String,
    real_graph: String,
    real_storage: String,
    told: Mutex<Option<Told>>,
    struck: Mutex<usize>,
    visits: Mutex<Vec<Visit>>,
    client: reqwest::Client,
}

impl Proxy {
    pub async fn start(emulator: &Emulator) -> Self {
        let mut listeners = Vec::new();
        let mut urls = Vec::new();
        for door in [Door::Graph, Door::Storage, Door::Elsewhere] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            urls.push(format!("http://{}", listener.local_addr().expect("an address")));
            listeners.push((door, listener));
        }
        // Whoever was first has chosen.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        let shared = Arc::new(Shared {
            graph: urls[0].clone(),
            storage: urls[1].clone(),
            real_graph: emulator.endpoints().graph,
            real_storage: emulator.storage_url(),
            told: Mutex::default(),
            struck: Mutex::default(),
            visits: Mutex::default(),
            client,
        });
        for (door, listener) in listeners {
            let shared = shared.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(shared.clone(), door, stream));
                }
            });
        }
        let [graph, storage, elsewhere] = [urls[0].clone(), urls[1].clone(), urls[2].clone()];
        Self { graph, storage, elsewhere, shared }
    }

    /// Tells a lie from now on; `None` tells the truth.
    pub fn tell(&self, told: Option<Told>) {
        *self.shared.told.lock().unwrap() = told;
    }

    /// How often it has lied.
    pub fn struck(&self) -> usize {
        *self.shared.struck.lock().unwrap()
    }

    /// Who came so far.
    pub fn visits(&self) -> Vec<Visit> {
        self.shared.visits.lock().unwrap().clone()
    }
}

async fn serve(shared: Arc<Shared>, door: Door, mut stream: TcpStream) {
    let Some((visit, headers)) = receive(door, &mut stream).await else { return };
    shared.visits.lock().unwrap().push(visit.clone());
    let told = shared.told.lock().unwrap().clone();
    let packet = headers.iter().find(|(name, _)| name == "bits-packet-type").map(|(_, packet)| packet.as_str());
    let method = packet.unwrap_or(&visit.method);
    let told = told.filter(|told| {
        told.door == door && (told.method == method || told.method == "*") && visit.target.contains(&told.part)
    });
    let before = {
        let mut struck = shared.struck.lock().unwrap();
        let before = *struck;
        *struck += usize::from(told.is_some());
        before
    };
    // Whoever hangs up is done with us.
    let _ = match told.map(|told| told.lie) {
        Some(Lie::Raw(bytes)) => stream.write_all(&bytes).await,
        Some(Lie::Json(body)) => {
            stream.write_all(&framed("200 OK", &[("content-type", "application/json")], &body)).await
        }
        Some(Lie::Counted(body)) => {
            stream.write_all(&framed("200 OK", &[("content-type", "application/json")], &body(before))).await
        }
        Some(Lie::Endless(head, piece)) => endless(&mut stream, &head, &piece).await,
        Some(Lie::Drip(head, every, drops)) => drip(&mut stream, &head, every, drops).await,
        Some(Lie::Edit(edit)) => {
            let (status, headers, body) = forward(&shared, &visit, &headers).await;
            let mut value: Value = serde_json::from_slice(&body).expect("the emulator answers with JSON");
            edit(&mut value);
            stream.write_all(&framed(&status, &borrowed(&headers), value.to_string().as_bytes())).await
        }
        None if door == Door::Elsewhere && shared.told.lock().unwrap().is_none() => {
            stream.write_all(&framed("404 Gone", &[], b"")).await
        }
        // Somebody who says yes to everything, while the lie lasts.
        None if door == Door::Elsewhere => stream.write_all(&framed("200 OK", &[], b"{}")).await,
        None => {
            let (status, headers, body) = forward(&shared, &visit, &headers).await;
            stream.write_all(&framed(&status, &borrowed(&headers), &body)).await
        }
    };
    let _ = stream.shutdown().await;
}

async fn endless(stream: &mut TcpStream, head: &[u8], piece: &[u8]) -> std::io::Result<()> {
    stream.write_all(head).await?;
    loop {
        stream.write_all(piece).await?;
    }
}

async fn drip(stream: &mut TcpStream, head: &[u8], every: Duration, drops: &[u8]) -> std::io::Result<()> {
    stream.write_all(head).await?;
    for drop in drops.iter().cycle() {
        tokio::time::sleep(every).await;
        stream.write_all(&[*drop]).await?;
        stream.flush().await?;
    }
    Ok(())
}

fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn framed(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write!(bytes, "HTTP/1.1 {status}\r\nconnection: close\r\n").expect("a vector grows");
    if !headers.iter().any(|(name, _)| *name == "content-length") {
        write!(bytes, "content-length: {}\r\n", body.len()).expect("a vector grows");
    }
    for (name, value) in headers {
        write!(bytes, "{name}: {value}\r\n").expect("a vector grows");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

type Headers = Vec<(String, String)>;

async fn receive(door: Door, stream: &mut TcpStream) -> Option<(Visit, Headers)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let get = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let mut rest = bytes.split_off(end);
    let body = if get("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        loop {
            if let Some(body) = unchunked(&rest) {
                break body;
            }
            if stream.read_buf(&mut rest).await.ok()? == 0 {
                return None;
            }
        }
    } else {
        let length: usize = get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        while rest.len() < length {
            if stream.read_buf(&mut rest).await.ok()? == 0 {
                return None;
            }
        }
        rest.truncate(length);
        rest
    };
    let authorization = get("authorization");
    Some((Visit { door, method, target, authorization, body }, headers))
}

/// What came in chunks; `None` if the last one is missing.
fn unchunked(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    let mut rest = bytes;
    loop {
        let line = rest.windows(2).position(|end| end == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?.trim(), 16).ok()?;
        let chunk = rest.get(line + 2..line + 2 + length)?;
        rest = rest.get(line + 4 + length..)?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(chunk);
    }
}

async fn forward(shared: &Shared, visit: &Visit, headers: &Headers) -> (String, Headers, Vec<u8>) {
    let to = if visit.door == Door::Graph { &shared.real_graph } else { &shared.real_storage };
    let method = reqwest::Method::from_bytes(visit.method.as_bytes()).expect("a method");
    let mut request = shared.client.request(method, format!("{to}{}", visit.target)).body(visit.body.clone());
    for (name, value) in headers {
        // What is compressed could not be edited.
        if !matches!(name.as_str(), "host" | "connection" | "content-length" | "transfer-encoding" | "accept-encoding")
        {
            request = request.header(name, value);
        }
    }
    request = request.header("content-length", visit.body.len());
    let answer = match request.send().await {
        Ok(answer) => answer,
        // A test that ends takes the emulator away first.
        Err(error) => return ("502 Bad Gateway".into(), Vec::new(), error.to_string().into_bytes()),
    };
    let status = format!("{} X", answer.status().as_u16());
    let ours =
        |text: &str| text.replace(&shared.real_graph, &shared.graph).replace(&shared.real_storage, &shared.storage);
    let mut kept: Headers = Vec::new();
    for (name, value) in answer.headers() {
        if !matches!(name.as_str(), "connection" | "content-length" | "transfer-encoding") {
            kept.push((name.as_str().to_owned(), ours(value.to_str().unwrap_or_default())));
        }
    }
    let is_json = kept.iter().any(|(name, value)| name == "content-type" && value.contains("json"));
    let body = answer.bytes().await.unwrap_or_default().to_vec();
    let body = if is_json { ours(&String::from_utf8_lossy(&body)).into_bytes() } else { body };
    (status, kept, body)
}
