//! The two listeners: from connections to [`Call`]s and from [`Answer`]s back to bytes.
//!
//! Everything that happens *to* a request happens here: the simulated link, the scripted faults, the
//! log of requests. Handlers see a complete request or none at all.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::content::Rope;
use super::faults::{Fault, FaultBody, Host, When};
use super::ident::mix;
use super::link::Passage;
use super::network::{Door, Network};
use super::wire::{Answer, Call, Payload, Refusal, client_request_id, http_date, request_id};
use super::witness::{Course, Moment};
use super::world::{RequestRecord, World};
use super::{bits, graph, live, live_storage, live_wire, oauth, oauth_live, storage};

/// Bytes sent or paced at a time.
const PIECE: usize = 128 << 10;
/// Bytes of an upload that are kept in one piece.
const JOINED: usize = 1 << 20;
/// The largest request body that is read at all: somewhat above any limit of the service.
const BODY_MAX: u64 = 260 << 20;

/// How long a request that is never answered keeps its connection.
const HANG: Duration = Duration::from_secs(120);
/// Round trips that opening a connection costs: one for TCP and one for TLS.
pub(super) const HANDSHAKES: u32 = 2;

/// Why a connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the emulator cut the connection")]
pub(super) struct Cut;

/// Accepts connections until dropped; dropping it drops them too.
pub(crate) async fn accept(world: Arc<World>, listener: TcpListener, storage: bool) {
    let Ok(address) = listener.local_addr() else { return };
    let mut network = world.watch_network();
    let mut door = Door::Open(listener);
    let mut connections = JoinSet::new();
    loop {
        let now = *network.borrow_and_update();
        if now == Network::Refusing {
            connections.abort_all();
        }
        door = match door.under(now, address).await {
            Ok(door) => door,
            Err(error) => {
                tracing::error!(%address, %error, "the emulator lost its address");
                return;
            }
        };
        loop {
            tokio::select! {
                accepted = door.accept() => {
                    if let Ok(stream) = accepted {
                        connections.spawn(connection(world.clone(), stream, storage));
                    }
                }
                changed = network.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    break;
                }
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
    }
}

async fn connection(world: Arc<World>, stream: TcpStream, storage: bool) {
    let _ = stream.set_nodelay(true);
    // A second handle on the socket, to turn a close into a reset.
    let Some((stream, socket)) = split(stream) else { return };
    let socket = Arc::new(socket);
    if passes(&world, &socket).await.is_err() {
        return;
    }
    world.link().round_trips(world.clock().as_ref(), HANDSHAKES).await;
    // Names of headers have no case; a client that thinks they have meets both.
    let titled = mix(world.next_number()).is_multiple_of(2);
    let service = service_fn(move |request| {
        let (world, socket) = (world.clone(), socket.clone());
        async move { exchange(&world, request, storage, socket).await }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    let _ = server.title_case_headers(titled).serve_connection(TokioIo::new(stream), service).await;
}

pub(super) fn split(stream: TcpStream) -> Option<(TcpStream, std::net::TcpStream)> {
    let stream = stream.into_std().ok()?;
    let second = stream.try_clone().ok()?;
    Some((TcpStream::from_std(stream).ok()?, second))
}

/// Whether the network lets something pass now. If packets vanish, this ends when they no longer do.
pub(super) async fn passes(world: &World, socket: &std::net::TcpStream) -> Result<(), Cut> {
    let mut network = world.watch_network();
    if *network.borrow() == Network::Up {
        return Ok(());
    }
    let _ = network.wait_for(|network| *network != Network::Vanishing).await;
    reset(socket);
    Err(Cut)
}

/// Lets the witness see a moment; never ends if nothing more is to happen in the exchange.
async fn witnessed(world: &World, moment: Moment<'_>) {
    if world.witness().see(moment) == Course::Vanish {
        std::future::pending().await
    }
}

/// Makes the coming close a reset.
fn reset(socket: &std::net::TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

pub(super) async fn exchange(
    world: &Arc<World>,
    request: Request<Incoming>,
    storage: bool,
    socket: Arc<std::net::TcpStream>,
) -> Result<Response<Body>, Cut> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let host = host_of(storage, &path);
    passes(world, &socket).await?;
    let number = world.next_number();
    let mut call = Call {
        method: parts.method,
        path,
        query: parts.uri.query().unwrap_or_default().to_owned(),
        target: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: parts.headers,
        body: Rope::default(),
        now: world.now(),
        number,
    };
    let target = if call.query.is_empty() { call.path.clone() } else { format!("{}?{}", call.path, call.query) };
    world.link().round_trips(world.clock().as_ref(), 1).await;
    let verb = verb(host, &call);
    let fault = world.faults().strike(host, &verb, &target, world.clock().monotonic());

    if let Some(Fault::Stall { when: When::Before, duration }) = &fault {
        world.clock().sleep(*duration).await;
    }
    let expected = body.size_hint().exact();
    let early = scripted(&fault, When::Before, host, &call).or_else(|| refuse_unread(host, &call, expected));
    let read_limit = match &fault {
        Some(Fault::Reset { when: When::Before }) => Some(0),
        Some(Fault::Reset { when: When::Halfway }) => Some(expected.unwrap_or(0) / 2),
        Some(Fault::ResetUpload { after }) => Some(*after),
        _ => None,
    };
    let keep = if early.is_none() { Some(&mut call.body) } else { None };
    let Arrival { whole, bytes } = read_body(world, body, keep, read_limit).await;
    let cut = match &fault {
        Some(Fault::Reset { when: When::Before | When::Halfway }) => true,
        Some(Fault::ResetUpload { .. }) => !whole || read_limit == expected,
        _ => false,
    };
    // A body that broke off is as if the request had never come.
    if cut || (!whole && read_limit.is_none()) {
        world.record(record(&call, host, &verb, None, bytes, 0));
        reset(&socket);
        return Err(Cut);
    }
    if let Some(Fault::Stall { when: When::Halfway, duration }) = &fault {
        world.clock().sleep(*duration).await;
    }
    let early = early.or_else(|| scripted(&fault, When::Halfway, host, &call));
    passes(world, &socket).await?;
    if let Some(Fault::CorruptUpload { at }) = &fault {
        call.body = damaged(&call.body, *at);
    }
    if host == Host::Live && hangs(world, &call, &verb) {
        world.clock().sleep(HANG).await;
        world.record(record(&call, host, &verb, None, bytes, 0));
        return Err(Cut);
    }
    // The stall and the body took time: the server acts now.
    call.now = world.now();
    let moment = |when| Moment { host, when, method: &verb, target: &target };
    witnessed(world, moment(When::Before)).await;
    let mut answer = match early {
        Some(answer) => answer,
        None => {
            let answer = act(world, host, &call, matches!(fault, Some(Fault::IgnoreRange)));
            let answer = if matches!(fault, Some(Fault::Twice)) { act(world, host, &call, false) } else { answer };
            scripted(&fault, When::After, host, &call).unwrap_or(answer)
        }
    };
    witnessed(world, moment(When::After)).await;
    match &fault {
        Some(Fault::Reset { when: When::After }) => {
            world.record(record(&call, host, &verb, None, bytes, 0));
            reset(&socket);
            return Err(Cut);
        }
        Some(Fault::Stall { when: When::After, duration }) => world.clock().sleep(*duration).await,
        Some(Fault::EmptyBody) => answer.payload = Payload::Empty,
        Some(Fault::Truncate { to }) => answer.payload = first_bytes(answer.payload, *to),
        Some(Fault::Lengthen { by }) => answer.payload = lengthened(answer.payload, *by),
        Some(Fault::EmptyPage | Fault::PageLoop | Fault::Disorder) => {
            let here = format!("{}{target}", world.graph_url);
            disturb_page(&mut answer, fault.as_ref(), &here);
        }
        _ => {}
    }
    passes(world, &socket).await?;
    world.record(record(&call, host, &verb, Some(answer.status), bytes, answer.payload.length()));
    Ok(response(world, &call, answer, fault, socket))
}

/// Whether a request is one of those that the service was seen never to answer.
fn hangs(world: &World, call: &Call, verb: &str) -> bool {
    verb == "PUT"
        && world.strict().live.put_with_length_hangs
        && call.header("content-length").is_some()
        && (call.path.contains("/files/") || call.path.trim_end_matches('/').ends_with("/content"))
}

/// Which service a request came to.
fn host_of(storage: bool, path: &str) -> Host {
    match storage {
        true if bits::serves(path) => Host::Bits,
        true => Host::Storage,
        false if path.starts_with("/v1.0") => Host::Graph,
        false if path.starts_with("/v5.0") => Host::Live,
        false => Host::Login,
    }
}

/// What a request does: its method, or where that travels in the request, what it says there.
fn verb(host: Host, call: &Call) -> String {
    let packet = bits::packet(call);
    match host {
        Host::Bits if !packet.is_empty() => packet.to_owned(),
        Host::Live => live_wire::method(&call.method, &call.query),
        _ => call.method.to_string(),
    }
}

/// Refusals that the service's front end makes from the headers alone.
fn refuse_unread(host: Host, call: &Call, length: Option<u64>) -> Option<Answer> {
    if matches!(host, Host::Live | Host::Bits) {
        return length.filter(|&length| length > BODY_MAX).map(|_| live::too_large(call));
    }
    let chunked = call.header("transfer-encoding").is_some();
    if chunked || length.is_none() {
        return Some(Refusal::new(411, "invalidRequest", "Content-Length is required.").answer(call));
    }
    if length.is_some_and(|length| length > BODY_MAX) {
        return Some(
            Refusal::new(413, "invalidRequest", "The request is too large.")
                .inner("maxStreamSizeExceeded")
                .answer(call),
        );
    }
    None
}

fn act(world: &Arc<World>, host: Host, call: &Call, ignore_range: bool) -> Answer {
    let outcome = match host {
        Host::Graph => graph::handle(world, call),
        Host::Live => Ok(live::handle(world, call)),
        Host::Bits => Ok(bits::handle(world, call)),
        Host::Login if oauth_live::serves(&call.path) => Ok(oauth_live::handle(world, call)),
        Host::Storage if live_storage::serves(&call.path) => Ok(live_storage::handle(world, call, ignore_range)),
        Host::Login => oauth::handle(world, call),
        Host::Storage => storage::handle(world, call, ignore_range),
    };
    outcome.unwrap_or_else(|refusal| refusal.answer(call))
}

fn scripted(fault: &Option<Fault>, moment: When, host: Host, call: &Call) -> Option<Answer> {
    let Some(Fault::Answer { when, status, body, retry_after, location }) = fault else { return None };
    if *when != moment {
        return None;
    }
    let mut answer = match body {
        FaultBody::Json { code, message, .. } if host == Host::Live => {
            let text = live_wire::returned(&serde_json::json!({"error": {"code": code, "message": message}}));
            Answer::json(*status, text)
        }
        // These hosts say nothing in their bodies.
        FaultBody::Json { .. } if host == Host::Bits => Answer::empty(*status),
        FaultBody::Json { code, inner, message } => {
            let text = serde_json::json!({"error": {"code": code, "message": message, "innerError": {
                "code": inner, "request-id": request_id(call.number), "client-request-id": client_request_id(call)}}});
            Answer::json(*status, text.to_string())
        }
        FaultBody::Html => Answer::html(*status, format!("<html><body><h1>{status}</h1></body></html>")),
        FaultBody::Empty => Answer::empty(*status),
        FaultBody::Text(text) => Answer {
            status: *status,
            headers: vec![("content-type", "text/plain".into())],
            payload: Payload::Bytes(text.clone().into()),
        },
    };
    if let Some(value) = retry_after {
        answer = answer.with("retry-after", value);
    }
    if let Some(value) = location {
        answer = answer.with("location", value);
    }
    Some(answer)
}

/// An upload of which one byte changed on the way.
fn damaged(body: &Rope, at: u64) -> Rope {
    let mut bytes = body.flat().to_vec();
    let last = bytes.len().saturating_sub(1);
    if let Some(byte) = bytes.get_mut(usize::try_from(at).unwrap_or(usize::MAX).min(last)) {
        *byte ^= 0x55;
    }
    Bytes::from(bytes).into()
}

/// The beginning of a payload.
fn first_bytes(payload: Payload, to: u64) -> Payload {
    match payload {
        Payload::Empty => Payload::Empty,
        Payload::Bytes(bytes) => Payload::Bytes(bytes.slice(..bytes.len().min(to as usize))),
        Payload::Content { content, range } => {
            let end = range.end.min(range.start + to);
            Payload::Content { content, range: range.start..end }
        }
    }
}

/// A payload with bytes at its end that do not belong there.
fn lengthened(payload: Payload, by: u64) -> Payload {
    let mut bytes = match payload {
        Payload::Empty => Vec::new(),
        Payload::Bytes(bytes) => bytes.to_vec(),
        Payload::Content { content, mut range } => {
            let mut bytes = Vec::new();
            while !range.is_empty() {
                let piece = content.piece(range.clone(), PIECE);
                range.start += piece.len() as u64;
                bytes.extend_from_slice(&piece);
            }
            bytes
        }
    };
    bytes.resize(bytes.len() + by as usize, b'?');
    Payload::Bytes(bytes.into())
}

/// Changes a page of items; other answers stay as they are.
fn disturb_page(answer: &mut Answer, fault: Option<&Fault>, here: &str) {
    let Payload::Bytes(bytes) = &answer.payload else { return };
    let Ok(mut page) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    // Live Connect's pages have no links: an empty one looks like the end.
    if let Some(items) = page.get("data").and_then(|data| data.as_array()).cloned() {
        let twice = items.iter().rev().chain(items.iter()).cloned();
        match fault {
            Some(Fault::EmptyPage) => page["data"] = serde_json::json!([]),
            Some(Fault::Disorder) => page["data"] = twice.collect::<Vec<_>>().into(),
            _ => {}
        }
        answer.payload = Payload::Bytes(live_wire::returned(&page).into());
        return;
    }
    let Some(items) = page.get("value").and_then(|value| value.as_array()).cloned() else { return };
    match fault {
        Some(Fault::EmptyPage) => page = serde_json::json!({"value": [], "@odata.nextLink": here}),
        Some(Fault::PageLoop) => {
            page["@odata.nextLink"] = here.into();
            if let Some(page) = page.as_object_mut() {
                page.remove("@odata.deltaLink");
            }
        }
        Some(Fault::Disorder) => {
            page["value"] = items.iter().rev().chain(items.iter()).cloned().collect::<Vec<_>>().into();
        }
        _ => {}
    }
    answer.payload = Payload::Bytes(page.to_string().into());
}

/// How a request's body arrived.
struct Arrival {
    whole: bool,
    bytes: u64,
}

/// Reads the body until its end, or until the limit. `into` gets what is to be kept; without it the
/// bytes are read and forgotten, so that the client can finish sending and hear why it was refused.
async fn read_body(world: &World, body: Incoming, mut into: Option<&mut Rope>, limit: Option<u64>) -> Arrival {
    let mut body = pin!(body);
    let mut read = 0;
    let mut gathered = Vec::new();
    let mut passage = Passage::default();
    let whole = loop {
        if limit.is_some_and(|limit| read >= limit) && !body.is_end_stream() {
            break false;
        }
        let bytes = match std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        world.link().up(world.clock().as_ref(), &mut passage, bytes.len() as u64).await;
        read += bytes.len() as u64;
        if let Some(rope) = &mut into {
            // Frames are as small as the socket's reads: joined, files are read back in few pieces.
            gathered.extend_from_slice(&bytes);
            if gathered.len() >= JOINED {
                rope.push(std::mem::take(&mut gathered).into());
            }
        }
    };
    if let Some(rope) = into {
        rope.push(gathered.into());
    }
    Arrival { whole, bytes: read }
}

fn record(call: &Call, host: Host, verb: &str, status: Option<u16>, received: u64, sent: u64) -> RequestRecord {
    RequestRecord {
        host,
        method: verb.to_owned(),
        path: call.target.clone(),
        status,
        bytes_in: received,
        bytes_out: sent,
        had_authorization: call.headers.contains_key("authorization"),
        range: call.header("range").or_else(|| call.header("content-range")).map(str::to_owned),
        client_request_id: call.header("client-request-id").map(str::to_owned),
        when: call.now,
    }
}

fn response(
    world: &Arc<World>,
    call: &Call,
    answer: Answer,
    fault: Option<Fault>,
    socket: Arc<std::net::TcpStream>,
) -> Response<Body> {
    let length = answer.payload.length();
    let bodiless = matches!(answer.status, 204 | 304) || call.method == Method::HEAD;
    let payload = if bodiless { Payload::Empty } else { answer.payload };
    let simple = fault.as_ref().is_none_or(|fault| {
        !matches!(
            fault,
            Fault::CutDownload { .. } | Fault::StallDownload { .. } | Fault::Slow { .. } | Fault::Corrupt { .. }
        )
    }) && world.link().get().is_none();
    let body = match payload {
        Payload::Empty => Body::empty(),
        Payload::Bytes(bytes) if simple => Body::from(bytes),
        payload => paced(world.clone(), payload, fault, socket),
    };
    let mut response = Response::new(body);
    *response.status_mut() = axum::http::StatusCode::from_u16(answer.status).unwrap_or_default();
    let headers = response.headers_mut();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    if answer.status != 204 && answer.status != 304 {
        put("content-length", &length.to_string());
    }
    let skew = world.strict().clock_skew;
    put("date", &http_date(crate::base::clock::Timestamp::from_seconds(call.now.seconds() + skew)));
    put("request-id", &request_id(call.number));
    put("client-request-id", &client_request_id(call));
    for (name, value) in &answer.headers {
        put(name, value);
    }
    response
}

/// What is left to send.
struct Sending {
    world: Arc<World>,
    payload: Payload,
    sent: u64,
    passage: Passage,
    fault: Option<Fault>,
    socket: Arc<std::net::TcpStream>,
}

/// A body that is made and sent piece by piece, at the link's pace, with the misfortune that befalls it.
fn paced(world: Arc<World>, payload: Payload, fault: Option<Fault>, socket: Arc<std::net::TcpStream>) -> Body {
    let start = Sending { world, payload, sent: 0, passage: Passage::default(), fault, socket };
    Body::from_stream(futures_util::stream::unfold(start, |mut sending| async move {
        match sending.next().await {
            Ok(None) => None,
            Ok(Some(bytes)) => Some((Ok(bytes), sending)),
            Err(cut) => Some((Err(cut), sending)),
        }
    }))
}

impl Sending {
    async fn next(&mut self) -> Result<Option<Bytes>, Cut> {
        passes(&self.world, &self.socket).await?;
        let mut limit = PIECE as u64;
        match self.fault {
            Some(Fault::CutDownload { after, reset: hard }) => {
                if self.sent >= after {
                    // What was sent has to leave the buffers before the connection breaks.
                    settle().await;
                    if hard {
                        reset(&self.socket);
                    }
                    return Err(Cut);
                }
                limit = limit.min(after - self.sent);
            }
            Some(Fault::StallDownload { after, duration }) => {
                if self.sent >= after {
                    settle().await;
                    self.world.clock().sleep(duration).await;
                    self.fault = None;
                } else {
                    limit = limit.min(after - self.sent);
                }
            }
            Some(Fault::Slow { bytes_per_second }) => {
                limit = limit.min((bytes_per_second / 20).max(1));
                let pause = Duration::from_secs_f64(limit as f64 / bytes_per_second.max(1) as f64);
                self.world.clock().sleep(pause).await;
            }
            _ => {}
        }
        let mut bytes = match &mut self.payload {
            Payload::Empty => Bytes::new(),
            Payload::Bytes(rest) => rest.split_to(rest.len().min(limit as usize)),
            Payload::Content { content, range } => {
                let bytes = content.piece(range.clone(), limit as usize);
                range.start += bytes.len() as u64;
                bytes
            }
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        if let Some(Fault::Corrupt { at }) = self.fault
            && (self.sent..self.sent + bytes.len() as u64).contains(&at)
        {
            let mut wrong = bytes.to_vec();
            wrong[(at - self.sent) as usize] ^= 0x55;
            bytes = wrong.into();
        }
        self.sent += bytes.len() as u64;
        self.world.link().down(self.world.clock().as_ref(), &mut self.passage, bytes.len() as u64).await;
        Ok(Some(bytes))
    }
}

/// Lets the connection's task write what it has.
async fn settle() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}
