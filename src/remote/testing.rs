//! For the tests of this module: an HTTP server that says what it is told to, tokens that can be worn out,
//! and a clock that never makes a test wait.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::http::{Entropy, Http, HttpOptions, Patience};
use crate::auth::{AuthError, TokenSource};
use crate::base::clock::{Clock, Mono, Sleep, Timestamp};
use crate::base::secret::Secret;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query, as they came.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the request has a JSON body")
    }
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// How much of the body is sent before the connection is cut.
    cut: Option<usize>,
    /// Says nothing at all, and keeps the connection.
    silent: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut: None, silent: false }
    }

    pub(crate) fn silence() -> Self {
        Self { silent: true, ..Self::new(200, "") }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn cut_after(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }
}

/// A server on loopback that lives as long as the test's runtime.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Answers every request with what `answer` makes of it; the number counts requests from 0.
    pub(crate) async fn start(answer: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let url = format!("http://{}", listener.local_addr().expect("the address just bound"));
        let server = Self { url, seen: Arc::default() };
        let (seen, answer, count) = (server.seen.clone(), Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answer, count) = (seen.clone(), answer.clone(), count.clone());
                tokio::spawn(async move {
                    let mut stream = stream;
                    while let Some(request) = receive(&mut stream).await {
                        let number = count.fetch_add(1, Ordering::SeqCst);
                        seen.lock().expect("no test panics with the lock").push(request.clone());
                        if !send(&mut stream, answer(&request, number)).await {
                            break;
                        }
                    }
                });
            }
        });
        server
    }

    /// What arrived so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panics with the lock").clone()
    }

    /// Methods and targets so far, one line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect()
    }
}

async fn receive(stream: &mut TcpStream) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut seen = Seen { method, target, headers, body: Vec::new() };
    if seen.header("transfer-encoding") == Some("chunked") {
        seen.body = chunks(stream).await?;
        return Some(seen);
    }
    let length = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    seen.body = vec![0; length];
    stream.read_exact(&mut seen.body).await.ok()?;
    Some(seen)
}

async fn chunks(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await.ok()?);
        }
        let length = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).ok()?;
        let mut chunk = vec![0; length + 2];
        stream.read_exact(&mut chunk).await.ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..length]);
    }
}

/// Sends an answer; `false` if the connection is over then.
async fn send(stream: &mut TcpStream, answer: Answer) -> bool {
    if answer.silent {
        std::future::pending::<()>().await;
    }
    let mut head = format!("HTTP/1.1 {} Told\r\n", answer.status);
    let bodiless = answer.status == 204;
    if !bodiless && !answer.headers.iter().any(|(name, _)| name == "content-length") {
        head.push_str(&format!("content-length: {}\r\n", answer.body.len()));
    }
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let length = answer.cut.unwrap_or(answer.body.len());
    let sent =
        stream.write_all(head.as_bytes()).await.is_ok() && stream.write_all(&answer.body[..length]).await.is_ok();
    let _ = stream.flush().await;
    sent && answer.cut.is_none()
}

/// Tokens with numbers: `t0`, and after each renewal the next.
#[derive(Default)]
pub(crate) struct Tokens(AtomicU64);

#[async_trait]
impl TokenSource for Tokens {
    async fn token(&self) -> Result<Secret<String>, AuthError> {
        Ok(Secret::new(format!("t{}", self.0.load(Ordering::SeqCst))))
    }

    async fn renew(&self, _: &Secret<String>) -> Result<Secret<String>, AuthError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.token().await
    }
}

/// A clock on which short sleeps pass at once and long ones never: pauses cost a test nothing, and watchdogs
/// do not bark because the machine is slow.
#[derive(Clone, Default)]
pub(crate) struct Hasty {
    nanos: Arc<AtomicU64>,
    slept: Arc<Mutex<Vec<Duration>>>,
}

impl Hasty {
    /// The sleeps that passed.
    pub(crate) fn slept(&self) -> Vec<Duration> {
        self.slept.lock().expect("no test panics with the lock").clone()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.nanos.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
    }
}

impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(1_770_000_000).plus(Duration::from_nanos(self.monotonic().0))
    }

    fn monotonic(&self) -> Mono {
        Mono(self.nanos.load(Ordering::SeqCst))
    }

    fn sleep(&self, by: Duration) -> Sleep {
        if by >= Duration::from_secs(25) {
            return Box::pin(std::future::pending());
        }
        // Time passes when the sleep is waited for, not when it is made: a deadline that is not reached costs
        // nothing.
        let clock = self.clone();
        Box::pin(async move {
            clock.advance(by);
            clock.slept.lock().expect("no test panics with the lock").push(by);
        })
    }
}

/// Randomness without surprises.
pub(crate) fn no_entropy() -> Entropy {
    Arc::new(|| 0)
}

/// The door to a server.
pub(crate) fn door(server: &str, clock: Arc<dyn Clock>) -> Http {
    let options = HttpOptions { origin: server.to_owned(), loopback_only: false, patience: Patience::default() };
    Http::new(&options, Arc::new(Tokens::default()), clock, no_entropy()).expect("a loopback origin is admitted")
}
