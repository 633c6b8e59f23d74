//! BITS: packets, their states, and what goes wrong.

use std::time::Duration;

use super::super::{BitsClose, Fault, Host, LiveHandle, Overlap, Rule, SessionGone, When};
use super::{Got, World, live_world, send, try_send};

const PROTOCOL: &str = "{7df0354d-249b-430f-820d-3d2a9bef4931}";

/// The address of a file in the root or in folders below it; names are percent-encoded by the caller.
fn by_path(w: &World, path: &str) -> String {
    format!("{}/users/0x{}/LiveFolders/{path}", w.emulator.endpoints().bits, w.emulator.drive().drive_id())
}

fn packet(w: &World, url: &str, kind: &str) -> reqwest::RequestBuilder {
    w.bare("BITS_POST", url).bearer_auth(&w.token).header("bits-packet-type", kind)
}

async fn create(w: &World, url: &str) -> String {
    let got = send(packet(w, url, "Create-Session").header("bits-supported-protocols", PROTOCOL)).await.expect(201);
    assert!(got.header("bits-packet-type").eq_ignore_ascii_case("ack"));
    assert!(got.header("bits-protocol").eq_ignore_ascii_case(PROTOCOL));
    got.header("bits-session-id").to_owned()
}

fn piece(w: &World, url: &str, session: &str, first: usize, bytes: &[u8], total: usize) -> reqwest::RequestBuilder {
    let last = (first + bytes.len()) as i64 - 1;
    packet(w, url, "Fragment")
        .header("bits-session-id", session)
        .header("content-range", format!("bytes {first}-{last}/{total}"))
        .body(bytes.to_vec())
}

async fn fragment(w: &World, url: &str, session: &str, first: usize, bytes: &[u8], total: usize) -> Got {
    send(piece(w, url, session, first, bytes, total)).await
}

async fn end(w: &World, url: &str, session: &str, kind: &str) -> Got {
    send(packet(w, url, kind).header("bits-session-id", session)).await
}

fn error(got: &Got) -> &str {
    match got.header("bits-error-code") {
        "" => got.header("bits-error"),
        code => code,
    }
}

fn next(got: &Got) -> &str {
    got.header("bits-received-content-range")
}

#[tokio::test]
async fn fragments_become_a_file_when_the_session_is_closed() {
    let w = live_world().await;
    let drive = w.emulator.drive();
    drive.create_folder("/a folder");
    let id = w.live_id("/a folder");
    let short = id.rsplit('.').next().expect("a part");
    let urls =
        [by_path(&w, "a%20folder/p%23%25%C3%A9.bin"), format!("{}/items/{short}/two.bin", w.emulator.endpoints().bits)];
    for (url, path) in urls.iter().zip(["/a folder/p#%é.bin", "/a folder/two.bin"]) {
        let session = create(&w, url).await;
        let got = fragment(&w, url, &session, 0, b"0123", 10).await.expect(200);
        assert_eq!((next(&got), got.body.len()), ("4", 0));
        assert!(got.header("bits-session-id").eq_ignore_ascii_case(&session));
        let got = fragment(&w, url, &session.to_lowercase(), 4, b"456789", 10).await.expect(200);
        assert_eq!(next(&got), "10");
        assert!(drive.stat(path).is_none(), "nothing is seen before the end");
        let closed = end(&w, url, &session, "close-session").await.expect(201);
        let resource = closed.header("x-resource-id");
        let cid = drive.drive_id();
        assert_eq!(format!("file.{cid}.{resource}"), w.live_id(path));
        assert_eq!(drive.read_file(path), Some(b"0123456789".to_vec()));
        assert_eq!(error(&end(&w, url, &session, "Close-Session").await.expect(500)), "0x8020001F");
        assert_eq!(error(&fragment(&w, url, &session, 10, b"x", 10).await.expect(500)), "0x8020001F");
    }
    let seen: Vec<_> = w.emulator.requests().into_iter().filter(|seen| seen.host == Host::Bits).collect();
    assert_eq!(seen.iter().filter(|seen| seen.method == "Fragment").count(), 6);
}

#[tokio::test]
async fn an_existing_file_is_replaced_and_keeps_its_id() {
    let w = live_world().await;
    w.emulator.drive().create_file("/a", "old");
    let id = w.live_id("/a");
    let url = by_path(&w, "a");
    // The method may travel in a header, and the token in the query.
    let token = super::super::wire::encode(&w.token);
    let post = |kind: &str| {
        w.bare("POST", &format!("{url}?access_token={token}"))
            .header("x-http-method-override", "BITS_POST")
            .header("bits-packet-type", kind)
    };
    let got = send(post("CREATE-SESSION").header("bits-supported-protocols", format!("{{x}} {PROTOCOL}"))).await;
    let session = got.expect(201).header("bits-session-id").to_owned();
    let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(b"new".to_vec())]);
    let chunked = post("Fragment").header("bits-session-id", &session).header("content-range", "bytes 0-2/3");
    send(chunked.body(reqwest::Body::wrap_stream(stream))).await.expect(200);
    send(post("Close-Session").header("bits-session-id", &session)).await.expect(200);
    assert_eq!((w.emulator.drive().read_file("/a"), w.live_id("/a")), (Some(b"new".to_vec()), id));
}

#[tokio::test]
async fn fragments_are_held_to_their_place() {
    let w = live_world().await;
    let url = by_path(&w, "f");
    let session = create(&w, &url).await;
    assert_eq!(next(&fragment(&w, &url, &session, 3, b"345", 6).await.expect(416)), "0", "a gap");
    fragment(&w, &url, &session, 0, b"012", 6).await.expect(200);
    assert_eq!(next(&fragment(&w, &url, &session, 0, b"012", 6).await.expect(416)), "3", "sent again");
    assert_eq!(next(&fragment(&w, &url, &session, 2, b"23", 6).await.expect(416)), "3", "overlapping");
    assert_eq!(error(&fragment(&w, &url, &session, 3, b"", 6).await.expect(400)), "0x80070057", "empty");
    fragment(&w, &url, &session, 3, b"345", 7).await.expect(400);
    for (range, body) in [("bytes 3-4/6", "345"), ("bytes 4-3/6", ""), ("bytes 3-9/6", "3456789"), ("3-5", "345")] {
        let odd = packet(&w, &url, "Fragment").header("bits-session-id", &session).header("content-range", range);
        send(odd.body(body)).await.expect(400);
    }
    assert_eq!(next(&end(&w, &url, &session, "Close-Session").await.expect(416)), "3", "not all there");
    w.emulator.set_strict(|strict| strict.live.bits_overlap = Overlap::NewPartKept);
    assert_eq!(next(&fragment(&w, &url, &session, 1, b"123", 6).await.expect(200)), "4");
    fragment(&w, &url, &session, 4, b"45", 6).await.expect(200);
    assert_eq!(next(&fragment(&w, &url, &session, 6, b"6", 7).await.expect(400)), "");
    assert_eq!(next(&fragment(&w, &url, &session, 4, b"45", 6).await.expect(416)), "6", "complete");
    end(&w, &url, &session, "Close-Session").await.expect(201);
    assert_eq!(w.emulator.drive().read_file("/f"), Some(b"012345".to_vec()));
}

#[tokio::test]
async fn files_without_a_byte_cannot_come_this_way() {
    let w = live_world().await;
    let url = by_path(&w, "empty");
    let session = create(&w, &url).await;
    end(&w, &url, &session, "Close-Session").await.expect(416);
    let none = packet(&w, &url, "Fragment").header("bits-session-id", &session).header("content-range", "bytes 0--1/0");
    send(none.body("")).await.expect(400);
    end(&w, &url, &session, "Cancel-Session").await.expect(200);
    assert_eq!(error(&end(&w, &url, &session, "Cancel-Session").await.expect(500)), "0x8020001F");
    assert_eq!(w.emulator.drive().open_sessions(), 0);
}

#[tokio::test]
async fn sizes_have_limits() {
    let w = live_world().await;
    w.emulator.set_strict(|strict| {
        strict.live.bits_fragment_limit = 10;
        strict.live.bits_total_limit = 100;
    });
    let url = by_path(&w, "f");
    let session = create(&w, &url).await;
    assert_eq!(error(&fragment(&w, &url, &session, 0, &[0; 11], 20).await.expect(413)), "0x80200020");
    fragment(&w, &url, &session, 0, &[0; 10], 101).await.expect(400);
    w.emulator.drive().set_quota(50);
    fragment(&w, &url, &session, 0, &[0; 10], 51).await.expect(507);
    fragment(&w, &url, &session, 0, &[0; 10], 20).await.expect(200);
    fragment(&w, &url, &session, 10, &[0; 10], 20).await.expect(200);
    w.emulator.drive().set_quota(15);
    end(&w, &url, &session, "Close-Session").await.expect(507);
    w.emulator.drive().set_quota(50);
    end(&w, &url, &session, "Close-Session").await.expect(201);
    w.emulator.set_strict(|strict| strict.live.bits_refuses_chunked = true);
    let session = create(&w, &url).await;
    let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(vec![1])]);
    let chunked =
        packet(&w, &url, "Fragment").header("bits-session-id", &session).header("content-range", "bytes 0-0/1");
    send(chunked.body(reqwest::Body::wrap_stream(stream))).await.expect(411);
}

#[tokio::test]
async fn addresses_and_packets_are_checked() {
    let w = live_world().await;
    w.emulator.drive().create_file("/file", "x");
    w.emulator.drive().create_folder("/dir");
    let bits = w.emulator.endpoints().bits;
    let cid = w.emulator.drive().drive_id();
    let ask =
        async |url: String, kind: &str| send(packet(&w, &url, kind).header("bits-supported-protocols", PROTOCOL)).await;
    for (url, status) in [
        (format!("{bits}/users/0x{cid}/LiveFolders/none/f"), 404),
        (format!("{bits}/users/0x{cid}/LiveFolders/file/f"), 404),
        (format!("{bits}/users/0x{cid}/LiveFolders/dir"), 409),
        (format!("{bits}/users/0x{cid}/LiveFolders/a%3Ab"), 400),
        (format!("{bits}/users/0x{}/LiveFolders/f", cid.trim_start_matches('0')), 404),
        (format!("{bits}/users/{cid}/LiveFolders/f"), 404),
        (format!("{bits}/items/{}!999/f", cid.trim_start_matches('0').to_uppercase()), 404),
        (format!("{bits}/items/{cid}!101/f"), 404),
        (format!("{bits}/users/0x{}/LiveFolders/f", cid.to_uppercase()), 201),
    ] {
        assert_eq!(ask(url.clone(), "Create-Session").await.status, status, "{url}");
    }
    let url = by_path(&w, "f");
    assert_eq!(error(&ask(url.clone(), "Open-Session").await.expect(400)), "0x80070057");
    ask(url.clone(), "Ping").await.expect(200);
    send(packet(&w, &url, "Create-Session")).await.expect(400);
    send(w.live("GET", &url)).await.expect(405);
    send(w.live("POST", &url)).await.expect(405);
    // The account's own host serves no other account, and a session stays at its address.
    let other = packet(&w, &url, "Create-Session").header("host", "cid-7000000000000000.users.storage.live.com");
    send(other.header("bits-supported-protocols", PROTOCOL)).await.expect(404);
    let own = packet(&w, &url, "Create-Session").header("host", format!("cid-{cid}.users.storage.live.com"));
    send(own.header("bits-supported-protocols", PROTOCOL)).await.expect(201);
    let session = create(&w, &url).await;
    fragment(&w, &by_path(&w, "g"), &session, 0, b"x", 1).await.expect(500);
}

#[tokio::test]
async fn both_spellings_of_the_error_header_occur() {
    let w = live_world().await;
    let url = by_path(&w, "f");
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let got = end(&w, &url, "{none}", "Close-Session").await.expect(500);
        assert_eq!((error(&got), got.header("bits-error-context")), ("0x8020001F", "0x5"));
        seen.insert(got.headers.contains_key("bits-error"));
    }
    assert!(seen.contains(&true) || seen.contains(&false));
    w.emulator.set_strict(|strict| strict.live.bits_session_gone = SessionGone::ClientError);
    let got = end(&w, &url, "{none}", "Close-Session").await.expect(500);
    assert_eq!((got.header("x-clienterrorcode"), error(&got)), ("UploadSessionNotFound", ""));
}

#[tokio::test]
async fn sessions_end_by_time_and_by_loss() {
    let w = live_world().await;
    w.emulator.live().set_granted_scope(None);
    w.emulator.oauth().set_access_token_life(Duration::from_secs(1_000_000));
    let mut w = w;
    w.token = w.emulator.live().issue_tokens().access;
    w.emulator.set_strict(|strict| strict.live.bits_session_life = Duration::from_secs(100));
    let url = by_path(&w, "f");
    let session = create(&w, &url).await;
    w.clock.advance(Duration::from_secs(99));
    fragment(&w, &url, &session, 0, b"0", 2).await.expect(200);
    w.clock.advance(Duration::from_secs(99));
    fragment(&w, &url, &session, 1, b"1", 2).await.expect(200);
    w.clock.advance(Duration::from_secs(101));
    end(&w, &url, &session, "Close-Session").await.expect(500);
    let session = create(&w, &url).await;
    assert_eq!(w.emulator.drive().open_sessions(), 1);
    w.emulator.drive().lose_sessions();
    fragment(&w, &url, &session, 0, b"0", 2).await.expect(500);
}

#[tokio::test]
async fn a_token_that_ends_is_noticed_when_the_session_is_closed() {
    let mut w = live_world().await;
    let url = by_path(&w, "f");
    let session = create(&w, &url).await;
    w.emulator.oauth().expire_access_tokens();
    fragment(&w, &url, &session, 0, b"0", 1).await.expect(200);
    let late = end(&w, &url, &session, "Close-Session").await.expect(500);
    assert!(late.header("www-authenticate").contains("error=\"expired_token\""));
    let refused =
        send(packet(&w, &url, "Create-Session").header("bits-supported-protocols", PROTOCOL)).await.expect(401);
    assert!(refused.header("www-authenticate").contains("expired_token"));
    w.token = w.emulator.live().issue_tokens().access;
    end(&w, &url, &session, "Close-Session").await.expect(201);

    let session = create(&w, &url).await;
    w.emulator.set_strict(|strict| strict.live.bits_fragments_take_expired_tokens = false);
    w.emulator.oauth().expire_access_tokens();
    fragment(&w, &url, &session, 0, b"0", 1).await.expect(401);
    let bare = |w: &World| {
        w.bare("BITS_POST", &url)
            .header("bits-packet-type", "Fragment")
            .header("bits-session-id", &session)
            .header("content-range", "bytes 0-0/1")
            .body("0")
    };
    let got = send(bare(&w)).await.expect(401);
    assert!(got.header("www-authenticate").contains("invalid_token"));
    w.emulator.set_strict(|strict| strict.live.bits_fragments_need_token = false);
    send(bare(&w)).await.expect(200);
    w.token = w.emulator.live().issue_tokens().access;
    w.emulator.set_strict(|strict| strict.live.bits_new_token_ends_session = true);
    let got = end(&w, &url, &session, "Close-Session").await.expect(500);
    assert_eq!(got.header("x-clienterrorcode"), "UploadSessionNotFound");
    w.token = w.emulator.live().issue_tokens_for(LiveHandle::CLIENT, "wl.skydrive").access;
    send(packet(&w, &url, "Create-Session").header("bits-supported-protocols", PROTOCOL)).await.expect(403);
}

#[tokio::test]
async fn a_failed_close_says_nothing_about_the_file() {
    let w = live_world().await;
    let url = by_path(&w, "f");
    let ready = async || {
        let session = create(&w, &url).await;
        fragment(&w, &url, &session, 0, b"01", 2).await.expect(200);
        session
    };
    let session = ready().await;
    for (how, status) in [(BitsClose::Fails, 500), (BitsClose::NotEnabled, 501), (BitsClose::CommitsAndFails, 500)] {
        assert!(w.emulator.drive().stat("/f").is_none());
        w.emulator.set_strict(|strict| strict.live.bits_close = how);
        end(&w, &url, &session, "Close-Session").await.expect(status);
    }
    assert_eq!(w.emulator.drive().read_file("/f"), Some(b"01".to_vec()));
    assert_eq!(w.emulator.drive().open_sessions(), 0);
    w.emulator.set_strict(|strict| {
        strict.live.bits_close = BitsClose::Commits;
        strict.live.bits_resource_id_missing = true;
    });
    let session = ready().await;
    assert_eq!(end(&w, &url, &session, "Close-Session").await.expect(200).header("x-resource-id"), "");
}

#[tokio::test]
async fn faults_strike_packets_by_name() {
    let w = live_world().await;
    let url = by_path(&w, "f");
    let session = create(&w, &url).await;
    let faults = w.emulator.faults();
    faults.add(Rule::once("Fragment", "*", Fault::Reset { when: When::After }).on(Host::Bits));
    assert!(try_send(piece(&w, &url, &session, 0, b"01", 4)).await.is_err());
    assert_eq!(next(&fragment(&w, &url, &session, 0, b"01", 4).await.expect(416)), "2", "it was kept");
    faults.add(Rule::once("Fragment", "*", Fault::status(When::Before, 500, "")).on(Host::Bits));
    assert!(fragment(&w, &url, &session, 2, b"23", 4).await.expect(500).body.is_empty());
    faults.add(Rule::once("Fragment", "*", Fault::Reset { when: When::Halfway }).on(Host::Bits));
    assert!(try_send(piece(&w, &url, &session, 2, b"23", 4)).await.is_err());
    assert_eq!(next(&fragment(&w, &url, &session, 3, b"3", 4).await.expect(416)), "2", "a broken one is forgotten");
    fragment(&w, &url, &session, 2, b"23", 4).await.expect(200);
    faults.add(Rule::once("Close-Session", "*", Fault::status(When::After, 503, "")).on(Host::Bits));
    end(&w, &url, &session, "Close-Session").await.expect(503);
    assert_eq!(w.emulator.drive().read_file("/f"), Some(b"0123".to_vec()));
    w.emulator.throttle(Duration::from_secs(9));
    end(&w, &url, &session, "Ping").await.expect(420);
}
