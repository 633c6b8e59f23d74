//! The one HTTP door.
//!
//! Everything that leaves for the service leaves here, so that what must never happen is prevented in one
//! place. Always true of it:
//!
//! - The access token goes to the configured origin and nowhere else; a second origin of the same service has a door
//!   of its own ([`Http::beside`]). Download and upload URLs carry their own credential; sending a token along makes
//!   storage hosts answer 401
//!   (<https://learn.microsoft.com/onedrive/developer/rest-api/api/driveitem_get_content>).
//! - The token travels in a header, never in a URL, where logs and proxies would keep it.
//! - No redirect is followed by itself. URLs are https, or http to this machine.
//! - URLs of the service are used as they came; re-encoding breaks their signature
//!   (<https://github.com/OneDrive/onedrive-api-docs/issues/792>).
//! - No tokens and no URLs in errors and logs.
//! - There is no limit on how long a transfer may take, only on how long it may stand still.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use futures_util::{FutureExt as _, StreamExt as _};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use super::address::{self, is_loopback};
use super::classify::{self, Effect, Refusal};
use super::{Advice, BodyStream, RemoteError, RemoteErrorKind, RemoteResult, Urgency, current_urgency};
use crate::auth::{AuthError, TokenSource};
use crate::base::clock::Clock;
use crate::base::name::presentable;
use crate::base::secret::Secret;

mod ask;
mod body;
mod clients;
pub mod greeting;
mod outgoing;
mod reach;
mod warm;

pub use ask::Ask;
use clients::{Cargo, Clients, install_tls};
pub use outgoing::Drawn;
use outgoing::{drawn, sliced};
use reach::Reach;
use warm::Warm;

/// Random bits, from outside: 64 at a time.
pub type Entropy = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Random bits from the operating system.
pub fn system_entropy() -> Entropy {
    // Nothing secret is made of them here, so a system without randomness gets a constant, not a failure.
    Arc::new(|| getrandom::u64().unwrap_or(0x5bd1_e995_9e37_79b9))
}

/// How this program presents itself. Undecorated traffic is throttled first
/// (<https://learn.microsoft.com/sharepoint/dev/general-development/how-to-avoid-getting-throttled-or-blocked-in-sharepoint-online>).
const USER_AGENT: &str = concat!("NONISV|onedrive-mount|onedrive-mount/", env!("CARGO_PKG_VERSION"));

/// The largest page of items we take in, in bytes; a page of 1000 items is about 2 MB.
pub const MAX_PAGE: usize = 32 << 20;

/// The largest page of objects with all that is said of them, in bytes; one of 1000 is about 4 MB.
const MAX_TOLD: usize = 16 << 20;

/// The largest other answer, in bytes: an item, a drive, a session.
const MAX_ANSWER: usize = 1 << 20;

/// The largest error body we look at, in bytes.
const MAX_REFUSAL: usize = 64 << 10;

/// The longest URL we take from the service, in bytes. Pre-authenticated ones have a few thousand; a parser of HTTP
/// takes 64 KiB at most.
pub const MAX_URL: usize = 32 << 10;

/// How long a whole answer that is not content may take.
const WHOLE_ANSWER: Duration = Duration::from_secs(600);

/// How an upload is cut for the progress watchdog, in bytes.
const SLICE: usize = 64 << 10;

/// How long the network may do nothing before we call it gone.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To establish a connection.
    pub connect: Duration,
    /// From the last byte sent to the first byte of the answer. Metadata requests were seen to stall for a
    /// minute before their headers.
    pub headers: Duration,
    /// Between two pieces of a body.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), headers: Duration::from_secs(90), idle: Duration::from_secs(30) }
    }
}

/// What the door needs to know.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// The origin of the service, such as `https://graph.microsoft.com`; plain http only to this machine.
    pub origin: String,
    /// Refuse every host but this machine, whatever the service says. For demonstrations.
    pub loopback_only: bool,
    /// Time limits.
    pub patience: Patience,
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, complete.
    pub body: Bytes,
    about: About,
}

/// An answer whose body is still coming.
pub struct Streaming {
    /// The status; a success.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body. Ends with an error if it stands still or breaks off.
    pub body: BodyStream,
}

/// What a request was, kept for the error it may become.
#[derive(Clone, Debug)]
struct About {
    what: &'static str,
    effect: Effect,
    carries_name: bool,
    largest: usize,
    request_id: Option<String>,
    retry_after: Option<Duration>,
}

impl Reply {
    /// Itself if the status is a success, else the classified error.
    pub fn success(self) -> RemoteResult<Self> {
        if self.status.is_success() { Ok(self) } else { Err(self.failure()) }
    }

    /// The error this answer is.
    pub fn failure(&self) -> RemoteError {
        let mut refusal = Refusal::from_body(&self.body);
        // Storage hosts answer without a body and name the code in a header.
        refusal.codes.extend(self.header("x-clienterrorcode").and_then(classify::code_word));
        let about = &self.about;
        let status = self.status.as_u16();
        let (kind, advice) = classify::classify(status, &refusal, about.retry_after, about.effect, about.carries_name);
        let code = refusal.codes.first().map(|code| format!(" {code}")).unwrap_or_default();
        let mut context = format!("cannot {}: the service answered {status}{code}", about.what);
        if !refusal.message.is_empty() {
            context = format!("{context}: {}", presentable(&refusal.message));
        }
        RemoteError::new(kind, advice, context).with_request_id(about.request_id.clone())
    }

    /// Whether it says that the token is no good. Most say so with 401; the storage hosts of OneDrive were seen to
    /// say it with 500 (<https://github.com/OneDrive/onedrive-api-docs/issues/320>) and, in place of content, with a
    /// success that has no body: the header is the same.
    pub fn refuses_token(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED || (!self.status.is_redirection() && challenges_token(&self.headers))
    }

    /// The body as JSON. Depth is limited by the parser.
    pub fn parse<T: DeserializeOwned>(&self) -> RemoteResult<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            // The parser's message can quote values; its position is enough.
            let context = format!(
                "cannot {}: the answer is not understood (line {}, column {})",
                self.about.what,
                error.line(),
                error.column()
            );
            let mut failure = RemoteError::protocol(context).with_request_id(self.about.request_id.clone());
            if error.is_eof() || error.is_syntax() {
                // A page of a gateway, or an answer cut by one: the next may be whole.
                failure.kind = RemoteErrorKind::Unavailable;
                failure.advice = match self.about.effect {
                    Effect::Once => Advice::VerifyThenRetry,
                    Effect::Reads | Effect::Repeatable => Advice::Retry,
                };
            }
            failure
        })
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// Whether headers ask for another token.
pub fn challenges_token(headers: &HeaderMap) -> bool {
    let challenge = header(headers, "www-authenticate").unwrap_or_default();
    challenge.contains("expired_token") || challenge.contains("invalid_token")
}

/// A header as text.
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// How many bytes an answer has, if it says so.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    header(headers, "content-length").and_then(|text| text.trim().parse().ok())
}

/// The door. Cheap to clone.
#[derive(Clone)]
pub struct Http {
    inner: Arc<Inner>,
}

struct Inner {
    origin: Url,
    loopback_only: bool,
    patience: Patience,
    tokens: Arc<dyn TokenSource>,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
    clients: Arc<Clients>,
    reach: Arc<Reach>,
    warm: Warm,
}

impl Http {
    /// Opens the door to the origin of a service. Fails with [`RemoteErrorKind::Local`] if the origin is no URL
    /// we would send a token to.
    pub fn new(
        options: &HttpOptions,
        tokens: Arc<dyn TokenSource>,
        clock: Arc<dyn Clock>,
        entropy: Entropy,
    ) -> RemoteResult<Self> {
        install_tls();
        let (origin, loopback_only) = (parse_origin(&options.origin)?, options.loopback_only);
        let (clients, reach) = (Arc::new(Clients::default()), Arc::new(Reach::new()));
        let (patience, warm) = (options.patience, Warm::default());
        Self::of(Inner { origin, loopback_only, patience, tokens, clock, entropy, clients, reach, warm })
    }

    /// Another door to the same service, with the same token, to another origin of it. Fails as [`Http::new`].
    pub fn beside(&self, origin: &str) -> RemoteResult<Self> {
        let Inner { loopback_only, patience, tokens, clock, entropy, clients, reach, .. } = &*self.inner;
        Self::of(Inner {
            origin: parse_origin(origin)?,
            loopback_only: *loopback_only,
            patience: *patience,
            tokens: tokens.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            clients: clients.clone(),
            reach: reach.clone(),
            warm: Warm::default(),
        })
    }

    fn of(inner: Inner) -> RemoteResult<Self> {
        inner.admit(&inner.origin).map_err(|error| no_origin(format!("the service's address: {}", error.context)))?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A URL of the service. `path` starts with a slash, is encoded, and may hold a query.
    pub fn url(&self, path: &str) -> RemoteResult<Url> {
        let base = self.inner.origin.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}{path}"))
            .map_err(|error| RemoteError::protocol(format!("an address of the service cannot be made: {error}")))
    }

    /// A URL of Graph v1.0. `path` starts with a slash, is encoded, and may hold a query.
    pub fn graph_url(&self, path: &str) -> RemoteResult<Url> {
        self.url(&format!("/v1.0{path}"))
    }

    /// A URL from the service, used as it came.
    pub fn service_url(&self, text: &str) -> RemoteResult<Url> {
        if text.len() > MAX_URL {
            return Err(RemoteError::protocol("the service gave a URL that is too long"));
        }
        let url = Url::parse(text).map_err(|_| RemoteError::protocol("the service gave a URL that is none"))?;
        self.inner.admit(&url)?;
        if !text.contains(&url[url::Position::BeforePath..url::Position::AfterQuery]) {
            // The URL type escapes an apostrophe in a query and removes dot segments; no service was seen to
            // send either bare. If one does, a refused signature has its reason here.
            tracing::debug!("a URL of the service changed its spelling by being parsed");
        }
        Ok(url)
    }

    /// Whether a URL belongs to the origin of the service, and so may see the token.
    pub fn is_home(&self, url: &Url) -> bool {
        url.origin() == self.inner.origin.origin()
    }

    /// Asks the service, with the token. If the token is refused it is renewed and the request repeated, twice at most: the first
    /// other token may be one that another process brought a while ago. A third refusal is returned as it is.
    ///
    /// Any status is an answer; failures to get one are errors: [`RemoteErrorKind::Offline`],
    /// [`RemoteErrorKind::SignedOut`].
    pub async fn signed(&self, ask: &Ask) -> RemoteResult<Reply> {
        if !self.is_home(ask.url.expose()) {
            return Err(RemoteError::protocol(format!(
                "cannot {}: the link leads away from the service we signed in to",
                ask.what
            )));
        }
        self.guarded(ask, current_urgency() == Urgency::Interactive, self.renewing(ask)).await
    }

    async fn renewing(&self, ask: &Ask) -> RemoteResult<Reply> {
        let mut token = self.inner.tokens.token().await.map_err(auth_failure)?;
        for _ in 0..2 {
            let reply = self.whole(ask, Some(&token)).await?;
            if !reply.refuses_token() {
                return Ok(reply);
            }
            tracing::debug!(request_id = reply.about.request_id, "the token was refused; renewing it");
            token = self.inner.tokens.renew(&token).await.map_err(auth_failure)?;
        }
        self.whole(ask, Some(&token)).await
    }

    /// Gets a new token, however fresh the present one is.
    pub async fn renew_token(&self) -> RemoteResult<()> {
        let token = self.inner.tokens.token().await.map_err(auth_failure)?;
        self.inner.tokens.renew(&token).await.map(drop).map_err(auth_failure)
    }

    /// Asks a pre-authenticated URL, without token.
    pub async fn bare(&self, ask: &Ask) -> RemoteResult<Reply> {
        self.guarded(ask, current_urgency() == Urgency::Interactive, self.whole(ask, None)).await
    }

    /// Runs a request; see [`Reach::guard`].
    async fn guarded<T>(
        &self,
        ask: &Ask,
        hurry: bool,
        call: impl Future<Output = RemoteResult<T>> + Send,
    ) -> RemoteResult<T> {
        let gone = |sent: bool| silent(ask.what, if sent { ask.effect } else { Effect::Reads });
        self.inner.reach.guard(ask.url.expose(), hurry, gone, call).await
    }

    /// Asks a pre-authenticated URL for content, without token. An answer that is no success comes as a
    /// whole reply.
    pub async fn content(&self, ask: &Ask) -> RemoteResult<Result<Streaming, Reply>> {
        self.note_content(ask.url.expose());
        // Reading can always be taken up again, so nobody has to wait for a host that is not there.
        let (response, about) = self.guarded(ask, true, self.send(ask, None, Cargo::Content)).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        if !status.is_success() {
            return Ok(Err(self.collect(response, about).await?));
        }
        let body = self.watch(response, about.what, Some(ask.url.expose().clone()));
        Ok(Ok(Streaming { status, headers, body }))
    }

    async fn whole(&self, ask: &Ask, token: Option<&Secret<String>>) -> RemoteResult<Reply> {
        let cargo = match (&ask.body, token) {
            (Some(body), _) if body.len() > SLICE => Cargo::Content,
            (_, None) => Cargo::Content,
            _ => Cargo::Json,
        };
        let (response, about) = self.send(ask, token, cargo).await?;
        self.collect(response, about).await
    }

    /// One attempt, up to the headers of the answer.
    async fn send(
        &self,
        ask: &Ask,
        token: Option<&Secret<String>>,
        cargo: Cargo,
    ) -> RemoteResult<(reqwest::Response, About)> {
        let inner = &self.inner;
        let url = ask.url.expose();
        inner.admit(url)?;
        let attempt = guid((inner.entropy)(), (inner.entropy)());
        let mut request = inner
            .clients
            .get(cargo, is_loopback(url), &inner.patience, inner.clock.monotonic())?
            .request(ask.method.clone(), url.clone())
            .headers(ask.headers.clone())
            .header("user-agent", USER_AGENT);
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                .map_err(|_| RemoteError::protocol("the access token holds characters that no header may hold"))?;
            value.set_sensitive(true);
            request = request
                .header("authorization", value)
                .header("client-request-id", &attempt)
                .header("return-client-request-id", "true");
        }
        let sent = Arc::new(AtomicU64::new(0));
        match (&ask.body, &ask.drawn) {
            (Some(body), _) if ask.chunked => request = request.body(sliced(body.clone(), &sent)),
            (Some(body), _) => {
                // The length must be said: upload hosts refuse chunked coding.
                request = request.header("content-length", body.len()).body(sliced(body.clone(), &sent));
            }
            (None, Some(body)) => request = request.header("content-length", body.len()).body(drawn(body, &sent)),
            _ if ask.method == Method::POST || ask.method == Method::PUT => {
                request = request.header("content-length", 0);
            }
            _ => {}
        }
        let mut answering = Box::pin(request.send());
        let response = loop {
            let before = sent.load(Ordering::Relaxed);
            match select(answering, inner.clock.sleep(inner.patience.headers)).await {
                Either::Left((answer, _)) => break answer.map_err(|error| broken(ask, error))?,
                Either::Right((_, _)) if sent.load(Ordering::Relaxed) == before => {
                    return Err(silent(ask.what, ask.effect));
                }
                Either::Right((_, unfinished)) => answering = unfinished,
            }
        };
        let headers = response.headers();
        let about = About {
            what: ask.what,
            effect: ask.effect,
            carries_name: ask.carries_name,
            largest: ask.largest,
            request_id: Some(header(headers, "request-id").map_or(attempt, |id| id.chars().take(64).collect())),
            retry_after: classify::retry_after(
                header(headers, "retry-after"),
                header(headers, "date"),
                inner.clock.now(),
            ),
        };
        tracing::debug!(
            what = ask.what,
            status = response.status().as_u16(),
            request_id = about.request_id,
            "answered"
        );
        Ok((response, about))
    }

    /// Takes a whole body in, up to the limit.
    async fn collect(&self, response: reqwest::Response, about: About) -> RemoteResult<Reply> {
        let (status, headers) = (response.status(), response.headers().clone());
        let limit = if status.is_success() { about.largest } else { MAX_REFUSAL };
        let mut stream = self.watch(response, about.what, None);
        let mut body = BytesMut::new();
        let mut over = self.inner.clock.sleep(WHOLE_ANSWER);
        loop {
            let piece = match select(stream.next(), &mut over).await {
                Either::Left((None, _)) => break,
                Either::Left((Some(piece), _)) => piece,
                Either::Right(_) => Err(silent(about.what, about.effect)),
            };
            let piece = match piece {
                Ok(piece) => piece,
                // A refusal is understood by its status; its body is only decoration.
                Err(_) if !status.is_success() => break,
                Err(mut error) => {
                    if about.effect == Effect::Once {
                        error.advice = Advice::VerifyThenRetry;
                    }
                    return Err(error.with_request_id(about.request_id));
                }
            };
            if body.len() + piece.len() > limit {
                if !status.is_success() {
                    break;
                }
                let context = format!("cannot {}: the answer is larger than {limit} bytes", about.what);
                return Err(RemoteError::protocol(context).with_request_id(about.request_id));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Reply { status, headers, body: body.freeze(), about })
    }

    /// A body under the progress watchdog; if it comes from a host named here, also under that of [`Reach`].
    fn watch(&self, response: reqwest::Response, what: &'static str, from: Option<Url>) -> BodyStream {
        let (inner, clock) = (self.inner.clone(), self.inner.clock.clone());
        body::watched(response, clock, self.inner.patience.idle, what, move || match &from {
            Some(from) => inner.reach.clone().out_of_reach(from.clone()).boxed(),
            None => std::future::pending().boxed(),
        })
    }
}

impl Inner {
    /// Whether we would send anything there at all.
    fn admit(&self, url: &Url) -> RemoteResult<()> {
        address::admit(url, &self.origin, self.loopback_only)
    }
}

/// A random identifier in the customary spelling.
fn guid(high: u64, low: u64) -> String {
    let (high, low) = (high & !0xf000 | 0x4000, low & !(0b11 << 62) | 0b10 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

fn no_origin(context: String) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Local, Advice::GiveUp, context)
}

fn parse_origin(origin: &str) -> RemoteResult<Url> {
    Url::parse(origin).map_err(|error| no_origin(format!("the service's address {origin:?} is no URL: {error}")))
}

fn broken(ask: &Ask, error: reqwest::Error) -> RemoteError {
    let before_sending = error.is_connect() || error.is_builder();
    let error = error.without_url();
    let mut failure = RemoteError::offline(format!("cannot {}: no connection to the service", ask.what));
    if !before_sending && ask.effect == Effect::Once {
        failure.advice = Advice::VerifyThenRetry;
        failure.context = format!("cannot {}: the connection broke before the answer", ask.what);
    }
    failure.with_source(error)
}

fn silent(what: &str, effect: Effect) -> RemoteError {
    let mut failure = RemoteError::offline(format!("cannot {what}: the service fell silent"));
    if effect == Effect::Once {
        failure.advice = Advice::VerifyThenRetry;
    }
    failure
}

/// What it means to have no token: only the service's own word (or that nobody ever signed in) is a sign-out;
/// a dead network is not, and everything else is for the user to put right on this machine.
fn auth_failure(error: AuthError) -> RemoteError {
    let (kind, advice) = match &error {
        AuthError::SignedOut { .. } | AuthError::NotSignedIn => (RemoteErrorKind::SignedOut, Advice::GiveUp),
        AuthError::Unreachable { retry_after, .. } => {
            (RemoteErrorKind::Offline, retry_after.map_or(Advice::Retry, Advice::RetryAfter))
        }
        AuthError::Refused { .. } | AuthError::MissingPermission { .. } => (RemoteErrorKind::Denied, Advice::GiveUp),
        AuthError::OtherApplication { .. } | AuthError::NoClientId | AuthError::Vault(_) => {
            (RemoteErrorKind::Local, Advice::GiveUp)
        }
    };
    RemoteError::new(kind, advice, error.to_string()).with_source(error)
}

#[cfg(test)]
mod tests;
