//! A server that speaks BITS, small and exact, and what may go wrong with it.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::*;
use crate::remote::Remote as _;
use crate::remote::live::tests::{CID, T, drive, file, file_id, folder_id, list, live, path, root_id};
use crate::remote::testing::{Answer, Seen, Server};

/// What the server has.
#[derive(Default)]
struct Store {
    session: Option<Vec<u8>>,
    total: u64,
    file: Option<Vec<u8>>,
    /// Bodies of fragments that came.
    sent: Vec<(u64, usize)>,
    closes: usize,
}

type Shared = Arc<Mutex<Store>>;

/// Answers packets as the protocol has it; `wrong` may answer first.
async fn server(wrong: impl Fn(&Seen, &mut Store) -> Option<Answer> + Send + Sync + 'static) -> (Server, Shared) {
    let store = Shared::default();
    let inside = store.clone();
    let server = Server::start(move |seen, _| {
        let mut store = inside.lock().expect("no test panics with the lock");
        if let Some(answer) = wrong(seen, &mut store) {
            return answer;
        }
        match seen.header("bits-packet-type") {
            Some(kind) => packet(seen, kind, &mut store),
            None if path(seen).ends_with("/files") => match &store.file {
                Some(bytes) => list(&[file(412, "a b#c.bin", bytes.len() as u64, &now())]),
                None => list(&[]),
            },
            None if path(seen).contains("!412") => match &store.file {
                Some(bytes) => Answer::new(200, file(412, "a b#c.bin", bytes.len() as u64, &now())),
                None => Answer::new(404, ""),
            },
            None => drive(seen).unwrap_or_else(|| Answer::new(404, "")),
        }
    })
    .await;
    (server, store)
}

/// The time of the test's clock, as objects have it.
fn now() -> String {
    let moment = jiff::Timestamp::from_second(1_770_000_100).expect("a time");
    moment.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()
}

fn packet(seen: &Seen, kind: &str, store: &mut Store) -> Answer {
    let ack = |status| Answer::new(status, "").with("BITS-Packet-Type", "Ack");
    let unknown = || Answer::new(500, "").with("BITS-Error-Code", "0x8020001F");
    match kind {
        "Create-Session" => {
            store.session = Some(Vec::new());
            ack(201).with("bits-protocol", PROTOCOL.to_uppercase()).with("BITS-SESSION-ID", "{own-1}")
        }
        "Fragment" => {
            let Some(held) = &mut store.session else { return unknown() };
            let range = seen.header("content-range").expect("a range").trim_start_matches("bytes ").to_owned();
            let (first, rest) = range.split_once('-').expect("a range");
            let (last, total) = rest.split_once('/').expect("a total");
            let first: u64 = first.parse().expect("a number");
            let last: u64 = last.parse().expect("a number");
            assert!(last >= first && last + 1 - first == seen.body.len() as u64, "an impossible range");
            store.total = total.parse().expect("a number");
            store.sent.push((first, seen.body.len()));
            if first != held.len() as u64 {
                return Answer::new(416, "").with("BITS-Received-Content-Range", held.len().to_string());
            }
            held.extend_from_slice(&seen.body);
            ack(200).with("BITS-Received-Content-Range", held.len().to_string())
        }
        "Close-Session" => {
            store.closes += 1;
            let Some(held) = store.session.take() else { return unknown() };
            if held.len() as u64 != store.total {
                let offset = held.len().to_string();
                store.session = Some(held);
                return Answer::new(416, "").with("BITS-Received-Content-Range", offset);
            }
            store.file = Some(held);
            ack(201).with("X-Resource-Id", "A4F7719C2BE3D05!412")
        }
        "Cancel-Session" => match store.session.take() {
            Some(_) => ack(200),
            None => unknown(),
        },
        other => panic!("a packet of kind {other}"),
    }
}

const BYTES: &[u8] = b"0123456789";

fn target() -> Target {
    let place = Place::New { parent: root_id(), name: "a b#c.bin".into() };
    Target { place, modified: Timestamp(0), created: None }
}

/// Sends everything the way the uploader does: the acknowledged offset decides.
async fn send(live: &Live, ticket: &Ticket, mut at: u64) -> RemoteResult<Item> {
    let mut turns = 0;
    while at < ticket.size {
        turns += 1;
        assert!(turns < 50, "the upload does not get on");
        match live.put_fragment(ticket, at, Bytes::from_static(&BYTES[at as usize..])).await {
            Ok(Ack::Next(next)) => at = next,
            Ok(Ack::Done(_)) => panic!("the file appears with the commit only"),
            Err(error) if error.advice == Advice::VerifyThenRetry => match live.upload_offset(ticket).await? {
                Offset::At(next) => at = next,
                Offset::Done(item) => return Ok(*item),
                Offset::Gone => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
    live.finish_upload(ticket).await.map(|finished| finished.item)
}

async fn upload(live: &Live) -> RemoteResult<Item> {
    let ticket = live.begin_upload(&target(), BYTES.len() as u64, &Precondition::MustNotExist).await?;
    send(live, &ticket, 0).await
}

/// Seed, defects 5 and 7 and 16: names are encoded, progress is what was acknowledged, no `?` is appended.
#[tokio::test]
async fn a_file_goes_up_in_fragments_and_appears_with_the_commit() {
    let (server, store) = server(|_, _| None).await;
    let (live, _) = live(&server);
    let item = upload(&live).await.expect("uploaded");
    assert_eq!((item.id, item.size), (file_id(412), 10));
    let store = store.lock().expect("free");
    assert_eq!(store.file.as_deref(), Some(BYTES));
    assert_eq!(store.sent, [(0, 4), (4, 4), (8, 2)]);
    for seen in server.seen().iter().filter(|seen| seen.header("bits-packet-type").is_some()) {
        assert_eq!(seen.target, format!("/users/0x{CID}/LiveFolders/a%20b%23c.bin"));
        assert_eq!((seen.method.as_str(), seen.header("x-http-method-override")), ("POST", Some("BITS_POST")));
        assert_eq!(seen.header("authorization"), Some("Bearer t0"));
        assert!(seen.header("content-length").is_some() && seen.header("transfer-encoding").is_none());
    }
}

#[tokio::test]
async fn a_folder_is_addressed_by_its_short_id() {
    let (server, _) = server(|_, _| None).await;
    let (live, _) = live(&server);
    let place = Place::New { parent: folder_id(114), name: "ü?.bin".into() };
    let to = Target { place, modified: Timestamp(0), created: None };
    live.begin_upload(&to, 10, &Precondition::MustNotExist).await.expect("opened");
    let create = server.seen().pop().expect("a packet");
    assert_eq!(create.target, "/items/A4F7719C2BE3D05!114/%C3%BC%3F.bin");
}

/// The seed never read the acknowledged offset (defect 6) and counted what it had sent (defect 7).
#[tokio::test]
async fn the_acknowledged_number_wins_in_both_directions() {
    let cut = AtomicBool::new(false);
    let (server, store) = server(move |seen, store| {
        let first = seen.header("content-range").is_some_and(|range| range.starts_with("bytes 4-"));
        if first && !cut.swap(true, Ordering::SeqCst) {
            // Half of the fragment is kept, and the answer is lost.
            store.sent.push((4, seen.body.len()));
            store.session.as_mut().expect("open").extend_from_slice(&seen.body[..2]);
            return Some(Answer::new(200, "").cut_after(0));
        }
        None
    })
    .await;
    let (live, _) = live(&server);
    upload(&live).await.expect("uploaded");
    let store = store.lock().expect("free");
    assert_eq!(store.file.as_deref(), Some(BYTES));
    assert_eq!(store.sent, [(0, 4), (4, 4), (4, 4), (6, 4)]);
}

#[tokio::test]
async fn another_process_goes_on_where_the_ticket_says() {
    let (server, store) = server(|_, _| None).await;
    let (first, _) = live(&server);
    let mut ticket = first.begin_upload(&target(), 10, &Precondition::MustNotExist).await.expect("opened");
    assert_eq!(first.put_fragment(&ticket, 0, Bytes::from_static(b"0123")).await.expect("taken"), Ack::Next(4));
    let (second, _) = live(&server);
    ticket.acked = 4;
    assert_eq!(second.upload_offset(&ticket).await.expect("known"), Offset::At(4));
    send(&second, &ticket, 4).await.expect("uploaded");
    // One that knows nothing finds out with its first fragment.
    let mut store = store.lock().expect("free");
    assert_eq!(std::mem::take(&mut store.sent), [(0, 4), (4, 4), (8, 2)]);
}

#[tokio::test]
async fn a_lost_session_is_gone_unless_its_file_is_there() {
    let (server, store) = server(|_, _| None).await;
    let (live, _) = live(&server);
    let ticket = live.begin_upload(&target(), 10, &Precondition::MustNotExist).await.expect("opened");
    store.lock().expect("free").session = None;
    let failure = live.put_fragment(&ticket, 0, Bytes::from_static(b"0123")).await.expect_err("unknown");
    assert_eq!(failure.kind, RemoteErrorKind::UploadGone);
    assert_eq!(live.upload_offset(&ticket).await.expect("looked"), Offset::Gone);
    store.lock().expect("free").file = Some(BYTES.to_vec());
    assert!(matches!(live.upload_offset(&ticket).await.expect("looked"), Offset::Done(item) if item.size == 10));
    live.abandon_upload(&ticket).await.expect("an unknown session is abandoned");
}

#[tokio::test]
async fn a_commit_that_fails_after_it_was_carried_out_is_found() {
    let (server, store) = server(|seen, store| {
        if seen.header("bits-packet-type") == Some("Close-Session") && store.session.is_some() {
            store.closes += 1;
            store.file = store.session.take();
            return Some(Answer::new(500, "<html>busy</html>"));
        }
        None
    })
    .await;
    let (live, _) = live(&server);
    assert_eq!(upload(&live).await.expect("found").id, file_id(412));
    assert_eq!(store.lock().expect("free").closes, 1);
}

#[tokio::test]
async fn a_commit_that_fails_before_is_repeated_with_the_same_session() {
    let (server, store) = server(|seen, store| {
        if seen.header("bits-packet-type") == Some("Close-Session") && store.closes == 0 {
            store.closes += 1;
            return Some(Answer::new(503, ""));
        }
        None
    })
    .await;
    let (live, _) = live(&server);
    let ticket = live.begin_upload(&target(), 10, &Precondition::MustNotExist).await.expect("opened");
    let failure = send(&live, &ticket, 0).await.expect_err("not yet");
    assert_eq!((failure.kind, failure.advice), (RemoteErrorKind::Unavailable, Advice::VerifyThenRetry));
    assert_eq!(live.upload_offset(&ticket).await.expect("known"), Offset::At(10));
    assert_eq!(live.finish_upload(&ticket).await.expect("uploaded").item.size, 10);
    let store = store.lock().expect("free");
    assert_eq!((store.closes, store.sent.len()), (2, 3), "no byte twice");
}

#[tokio::test]
async fn an_expired_token_is_told_with_500_at_the_commit() {
    let (server, store) = server(|seen, store| {
        if seen.header("bits-packet-type") == Some("Close-Session") && seen.header("authorization") == Some("Bearer t0")
        {
            store.closes += 1;
            let challenge = "Bearer realm=\"OneDriveAPI\", error=\"expired_token\", error_description=\"Auth token \
                             expired. Try refreshing.\"";
            return Some(Answer::new(500, "").with("WWW-Authenticate", challenge));
        }
        None
    })
    .await;
    let (live, _) = live(&server);
    upload(&live).await.expect("uploaded");
    assert_eq!(store.lock().expect("free").closes, 2);
}

#[tokio::test]
async fn a_commit_may_be_told_without_the_id() {
    let (server, _) = server(|seen, store| {
        if seen.header("bits-packet-type") == Some("Close-Session") {
            store.file = store.session.take();
            return Some(Answer::new(200, "").with("BITS-Packet-Type", "ack"));
        }
        None
    })
    .await;
    let (live, _) = live(&server);
    assert_eq!(upload(&live).await.expect("found").id, file_id(412));
}

/// BITS would replace it without being asked.
#[tokio::test]
async fn a_file_that_took_the_name_meanwhile_is_not_replaced() {
    let (server, store) = server(|_, _| None).await;
    let (live, _) = live(&server);
    let ticket = live.begin_upload(&target(), 10, &Precondition::MustNotExist).await.expect("opened");
    store.lock().expect("free").file = Some(b"theirs, 10".to_vec());
    let failure = send(&live, &ticket, 0).await.expect_err("taken");
    assert_eq!(failure.kind, RemoteErrorKind::Exists);
    let store = store.lock().expect("free");
    assert_eq!((store.file.as_deref(), store.closes), (Some(&b"theirs, 10"[..]), 0));
    assert!(store.session.is_none(), "cancelled");
}

/// After a restart nobody knows whether the commit was sent. A session that is gone has made the file.
#[tokio::test]
async fn a_restart_at_the_commit_asks_the_session() {
    let (server, store) = server(|_, _| None).await;
    let (first, _) = live(&server);
    let mut ticket = first.begin_upload(&target(), 10, &Precondition::MustNotExist).await.expect("opened");
    send(&first, &ticket, 0).await.expect("uploaded");
    let (second, _) = live(&server);
    ticket.acked = 10;
    assert_eq!(second.finish_upload(&ticket).await.expect("found").item.id, file_id(412));
    assert_eq!(store.lock().expect("free").closes, 1);
}

#[tokio::test]
async fn what_is_replaced_must_be_as_it_was() {
    let state = Arc::new(Mutex::new(T.to_owned()));
    let inside = state.clone();
    let (server, store) = server(move |seen, _| {
        let old = file(9, "old.bin", 3, &inside.lock().expect("free"));
        match path(seen) {
            at if at.ends_with("!9") => Some(Answer::new(200, old)),
            at if at.ends_with("/files") => Some(list(&[old])),
            _ => None,
        }
    })
    .await;
    let (live, _) = live(&server);
    let to = Target { place: Place::Replace(file_id(9)), modified: Timestamp(0), created: None };
    let ticket = live.begin_upload(&to, 10, &Precondition::None).await.expect("opened");
    *state.lock().expect("free") = "2014-11-23T10:00:00+0000".into();
    let failure = send(&live, &ticket, 0).await.expect_err("changed");
    assert_eq!(failure.kind, RemoteErrorKind::Changed);
    assert_eq!(store.lock().expect("free").closes, 0);
}

#[tokio::test]
async fn a_server_that_finds_a_fragment_too_long_gets_shorter_ones() {
    let (server, store) =
        server(|seen, _| (seen.body.len() > 2).then(|| Answer::new(413, "").with("BITS-Error", "0x80200020"))).await;
    let (live, _) = live(&server);
    upload(&live).await.expect("uploaded");
    assert_eq!(store.lock().expect("free").sent, [(0, 2), (2, 2), (4, 2), (6, 2), (8, 2)]);
}

/// The seed opened a session for nothing, which cannot be committed (defect 8).
#[tokio::test]
async fn nothing_is_never_sent_by_bits() {
    let (server, _) = server(|_, _| None).await;
    let (live, _) = live(&server);
    live.begin_upload(&target(), 0, &Precondition::MustNotExist).await.expect_err("no session for nothing");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn the_token_is_renewed_before_every_commit_where_that_is_asked_for() {
    let (server, _) = server(|_, _| None).await;
    let (mut live, _) = live(&server);
    live.service.refresh_before_commit = true;
    upload(&live).await.expect("uploaded");
    let tokens: Vec<String> = server
        .seen()
        .iter()
        .filter(|seen| seen.header("bits-packet-type").is_some())
        .map(|seen| seen.header("authorization").unwrap_or_default().to_owned())
        .collect();
    assert_eq!(tokens, ["Bearer t0", "Bearer t0", "Bearer t0", "Bearer t0", "Bearer t1"]);
}

#[test]
fn any_bytes_are_survived() {
    for data in [&b"10485760"[..], b"0x8020001F", b"-1", b"{}", b"\xff\xfe"] {
        fuzz(data);
    }
    assert_eq!(
        (parse_offset(" 10485760 "), parse_offset("0-5"), code_of("0x8020001f")),
        (Some(10_485_760), None, Some(0x8020_001F))
    );
}

/// One mad answer must not leave every later upload in fragments of a byte.
#[tokio::test]
async fn a_server_that_finds_any_fragment_too_long_is_not_believed_for_good() {
    let mad = Arc::new(AtomicBool::new(true));
    let says = mad.clone();
    let (server, store) = server(move |seen, _| {
        let fragment = seen.header("bits-packet-type") == Some("Fragment");
        (fragment && says.load(Ordering::Relaxed)).then(|| Answer::new(413, "").with("BITS-Error", "0x80200020"))
    })
    .await;
    let (live, _) = live(&server);
    let failure = upload(&live).await.expect_err("nothing is short enough");
    assert_eq!(failure.kind, RemoteErrorKind::Protocol, "the file is not too large");
    mad.store(false, Ordering::Relaxed);
    upload(&live).await.expect("uploaded");
    assert_eq!(store.lock().expect("free").sent, [(0, 4), (4, 4), (8, 2)]);
}
