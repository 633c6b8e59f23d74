//! Downloads: bytes are proven to be of the version that was asked for, or not handed out.

use std::time::Duration;

use super::*;
use crate::base::clock::Mono;
use crate::remote::Remote as _;
use crate::remote::content::{DownloadUrls, MAX_SKIP, MAX_URLS, URL_LIFE};
use crate::remote::graph::tests::{graph, id};
use crate::remote::testing::{Answer, Seen, Server};

const HELLO: &[u8] = b"hello world\n";

fn tag() -> ContentTag {
    ContentTag::from_hash("aCgDG9jwBhDc4Q1ybAMZFAAAAAA=", 12)
}

/// An item whose bytes are at `/d`.
fn item(seen: &Seen, etag: &str, hash: &str) -> Answer {
    let host = seen.header("host").expect("a host");
    Answer::new(
        200,
        format!(
            r#"{{"id":"F","name":"f","size":12,"eTag":"{etag}","file":{{"hashes":{{"quickXorHash":"{hash}"}}}},
            "@microsoft.graph.downloadUrl":"http://{host}/d?tempauth=v1.x"}}"#
        ),
    )
}

fn now(seen: &Seen) -> Answer {
    item(seen, "e1", "aCgDG9jwBhDc4Q1ybAMZFAAAAAA=")
}

fn later(seen: &Seen) -> Answer {
    item(seen, "e2", "YQAAAAAAAAAAAAAAAQAAAAAAAAA=")
}

/// An honest storage host.
fn storage(seen: &Seen) -> Answer {
    assert_eq!(seen.header("authorization"), None, "the token never goes to storage");
    let range = seen.header("range").and_then(|range| range.strip_prefix("bytes=")).expect("a range");
    let (first, last) = range.split_once('-').expect("explicit ends");
    let (first, last) = (first.parse::<usize>().expect("a number"), last.parse::<usize>().expect("a number"));
    if first >= HELLO.len() {
        return Answer::new(416, "").with("content-range", "bytes */12");
    }
    let last = last.min(HELLO.len() - 1);
    Answer::new(206, &HELLO[first..=last]).with("content-range", format!("bytes {first}-{last}/12"))
}

async fn take(body: Body) -> RemoteResult<Vec<u8>> {
    let mut stream = body.stream;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

fn is_storage(seen: &Seen) -> bool {
    seen.target.starts_with("/d")
}

#[tokio::test]
async fn a_whole_file_is_proven_by_its_hash_and_needs_no_second_look() {
    let server = Server::start(|seen, _| if is_storage(seen) { storage(seen) } else { now(seen) }).await;
    let (graph, _) = graph(&server);
    let body = graph.read(&id("F"), &tag(), 0..100).await.expect("a body");
    assert_eq!((body.range.clone(), body.total), (0..12, Some(12)));
    assert_eq!(take(body).await.expect("bytes"), HELLO);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn bytes_damaged_on_the_way_are_fetched_again() {
    let server = Server::start(|seen, number| match number {
        1 => Answer::new(206, "hello World\n").with("content-range", "bytes 0-11/12"),
        _ if is_storage(seen) => storage(seen),
        _ => now(seen),
    })
    .await;
    let (graph, _) = graph(&server);
    assert_eq!(take(graph.read(&id("F"), &tag(), 0..12).await.expect("a body")).await.expect("bytes"), HELLO);
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn bytes_that_stay_other_than_their_hash_are_what_there_is() {
    let server = Server::start(|seen, _| match is_storage(seen) {
        true => Answer::new(206, "hello World\n").with("content-range", "bytes 0-11/12"),
        false => now(seen),
    })
    .await;
    let (graph, _) = graph(&server);
    let body = graph.read(&id("F"), &tag(), 0..12).await.expect("a body");
    assert_eq!(take(body).await.expect("bytes"), b"hello World\n");
    let kinds: String = server.seen().iter().map(|seen| if is_storage(seen) { 'd' } else { 'i' }).collect();
    assert_eq!(kinds, "ididi");
}

#[tokio::test]
async fn a_part_is_proven_by_a_second_look_and_then_by_the_validator() {
    let server =
        Server::start(|seen, _| if is_storage(seen) { storage(seen).with("etag", "\"bytes-1\"") } else { now(seen) })
            .await;
    let (graph, _) = graph(&server);
    for (range, requests) in [(3..7, 3), (0..5, 4), (6..12, 5)] {
        let body = graph.read(&id("F"), &tag(), range.clone()).await.expect("a body");
        let expected = &HELLO[range.start as usize..range.end as usize];
        assert_eq!(take(body).await.expect("bytes"), expected);
        assert_eq!(server.seen().len(), requests);
    }
}

#[tokio::test]
async fn the_items_own_tag_on_the_bytes_is_proof() {
    let server =
        Server::start(|seen, _| if is_storage(seen) { storage(seen).with("etag", "W/e1") } else { now(seen) }).await;
    let (graph, _) = graph(&server);
    let body = graph.read(&id("F"), &tag(), 3..7).await.expect("a body");
    assert_eq!(take(body).await.expect("bytes"), b"lo w");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn bytes_of_another_version_are_never_handed_out() {
    // The file changes between the making of the URL and the second look.
    let server = Server::start(|seen, number| match number {
        0 => now(seen),
        1 => storage(seen),
        _ => later(seen),
    })
    .await;
    let (graph, _) = graph(&server);
    let failure = graph.read(&id("F"), &tag(), 3..7).await.err().expect("not proven");
    assert_eq!(failure.kind, RemoteErrorKind::Changed);
}

#[tokio::test]
async fn a_validator_that_moves_is_looked_into_before_any_byte() {
    let server = Server::start(|seen, number| match number {
        0 | 2 => now(seen),
        1 => storage(seen).with("etag", "\"bytes-1\""),
        3 => storage(seen).with("etag", "\"bytes-2\""),
        _ => later(seen),
    })
    .await;
    let (graph, _) = graph(&server);
    let body = graph.read(&id("F"), &tag(), 3..7).await.expect("a body");
    take(body).await.expect("bytes");
    let failure = graph.read(&id("F"), &tag(), 3..7).await.err().expect("changed");
    assert_eq!(failure.kind, RemoteErrorKind::Changed);
}

#[tokio::test]
async fn another_version_is_refused_before_any_byte() {
    let server = Server::start(|seen, _| later(seen)).await;
    let (graph, _) = graph(&server);
    let failure = graph.read(&id("F"), &tag(), 0..12).await.err().expect("changed");
    assert_eq!(failure.kind, RemoteErrorKind::Changed);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_url_is_used_again_until_it_is_old_or_refused() {
    let server = Server::start(|seen, number| match number {
        4 => Answer::new(401, ""),
        _ if is_storage(seen) => storage(seen),
        _ => now(seen),
    })
    .await;
    let (graph, clock) = graph(&server);
    let read = async || take(graph.read(&id("F"), &tag(), 0..12).await?).await;
    read().await.expect("URL made");
    read().await.expect("URL used again");
    assert_eq!(server.seen().len(), 3);
    clock.advance(URL_LIFE + Duration::from_secs(1));
    read().await.expect("URL made anew, refused, made anew");
    let kinds: String = server.seen().iter().map(|seen| if is_storage(seen) { 'd' } else { 'i' }).collect();
    assert_eq!(kinds, "iddidid");
}

#[tokio::test]
async fn a_url_refused_twice_is_an_error() {
    let server = Server::start(|seen, _| if is_storage(seen) { Answer::new(404, "<html>") } else { now(seen) }).await;
    let (graph, _) = graph(&server);
    let failure = graph.read(&id("F"), &tag(), 0..12).await.err().expect("refused");
    assert_eq!((failure.kind, failure.advice), (RemoteErrorKind::Unavailable, Advice::Retry));
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn what_the_storage_says_about_the_file_is_final() {
    let server = Server::start(|seen, _| match is_storage(seen) {
        true => Answer::new(403, r#"{"error":{"code":"malwareDetected"}}"#),
        false => now(seen),
    })
    .await;
    let (graph, _) = graph(&server);
    let failure = graph.read(&id("F"), &tag(), 0..12).await.err().expect("infected");
    assert_eq!(failure.kind, RemoteErrorKind::Malware);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_not_an_end() {
    for cut in [0, 5, 11] {
        let server = Server::start(move |seen, _| match is_storage(seen) {
            true => storage(seen).cut_after(cut),
            false => now(seen),
        })
        .await;
        let (graph, _) = graph(&server);
        for range in [0..12, 0..11] {
            let read = async || take(graph.read(&id("F"), &tag(), range.clone()).await?).await;
            if cut as u64 >= range.end {
                continue;
            }
            let failure = read().await.expect_err("cut");
            assert_eq!((failure.kind, failure.advice), (RemoteErrorKind::Offline, Advice::Retry));
        }
    }
}

#[tokio::test]
async fn a_host_that_ignores_the_range_is_skipped_through() {
    let server = Server::start(|seen, _| match is_storage(seen) {
        true => Answer::new(200, HELLO).with("content-type", "application/octet-stream"),
        false => now(seen),
    })
    .await;
    let (graph, _) = graph(&server);
    let body = graph.read(&id("F"), &tag(), 6..11).await.expect("a body");
    assert_eq!(body.range, 6..11);
    assert_eq!(take(body).await.expect("bytes"), b"world");
}

#[tokio::test]
async fn a_page_in_place_of_a_file_is_not_content() {
    let server = Server::start(|seen, _| match is_storage(seen) {
        true => Answer::new(200, "<html>sign in</html>").with("content-type", "text/html; charset=utf-8"),
        false => now(seen),
    })
    .await;
    let (graph, _) = graph(&server);
    let failure = graph.read(&id("F"), &tag(), 0..12).await.err().expect("a page");
    assert_eq!(failure.kind, RemoteErrorKind::Unavailable);
}

#[tokio::test]
async fn past_the_end_is_nothing_and_says_where_the_end_is() {
    let server = Server::start(|seen, _| if is_storage(seen) { storage(seen) } else { now(seen) }).await;
    let (graph, _) = graph(&server);
    let body = graph.read(&id("F"), &tag(), 12..20).await.expect("a body");
    assert_eq!((body.range.clone(), body.total), (12..12, Some(12)));
    assert!(take(body).await.expect("nothing").is_empty());
}

#[tokio::test]
async fn an_empty_file_is_not_asked_for() {
    let server = Server::start(|_, _| Answer::new(200, r#"{"id":"F","name":"f","size":0,"file":{}}"#)).await;
    let (graph, _) = graph(&server);
    let empty = ContentTag::from_hash(&QuickXorHash::of(b""), 0);
    let body = graph.read(&id("F"), &empty, 0..4096).await.expect("a body");
    assert!(take(body).await.expect("nothing").is_empty());
    assert_eq!(server.seen().len(), 1);
    let reversed = Range { start: 5, end: 3 };
    assert!(graph.read(&id("F"), &empty, reversed).await.is_err());
}

#[tokio::test]
async fn without_a_url_the_redirect_is_taken_by_hand() {
    let server = Server::start(|seen, _| match seen.target.split('?').next().unwrap_or_default() {
        "/v1.0/drives/b!D/items/F/content" => {
            Answer::new(302, "").with("location", format!("http://{}/d?x", seen.header("host").unwrap_or_default()))
        }
        "/d" => storage(seen),
        _ => Answer::new(
            200,
            r#"{"id":"F","name":"f","size":12,"file":{"hashes":{"quickXorHash":"aCgDG9jwBhDc4Q1ybAMZFAAAAAA="}}}"#,
        ),
    })
    .await;
    let (graph, _) = graph(&server);
    assert_eq!(take(graph.read(&id("F"), &tag(), 0..12).await.expect("a body")).await.expect("bytes"), HELLO);
}

#[test]
fn promises_are_held_to_what_was_asked() {
    let asked = 10..20;
    let held = |status, range: Option<&str>, length| {
        let status = StatusCode::from_u16(status).expect("a status");
        promise(&asked, 100, status, range, length).map(|promise| (promise.skip, promise.range, promise.total)).ok()
    };
    assert_eq!(held(206, Some("bytes 10-19/100"), None), Some((0, 10..20, Some(100))));
    assert_eq!(held(206, Some("bytes 10-19/*"), None), Some((0, 10..20, None)));
    assert_eq!(held(206, Some("bytes 10-14/15"), None), Some((0, 10..15, Some(15))));
    for wrong in ["bytes 9-19/100", "bytes 10-18/100", "bytes 10-20/100", "bytes */100", "10-19", "bytes 19-10/100"] {
        assert_eq!(held(206, Some(wrong), None), None, "{wrong}");
    }
    assert_eq!(held(206, None, None), None);
    assert_eq!(held(200, None, Some(15)), Some((10, 10..15, Some(15))));
    assert_eq!(held(200, None, None), Some((10, 10..20, Some(100))));
    assert_eq!(held(200, None, Some(5)), Some((0, 10..10, Some(5))));
    let far = promise(&(MAX_SKIP + 1..MAX_SKIP + 2), u64::MAX, StatusCode::OK, None, None);
    assert_eq!(far.err().map(|error| error.kind), Some(RemoteErrorKind::Unsupported));
}

#[test]
fn proofs_follow_the_table() {
    let weak = ContentTag::from_service("c", 12);
    let hash = Proof::Hash("aCgDG9jwBhDc4Q1ybAMZFAAAAAA=".into());
    for (validator, proven, whole, tag, expected) in [
        (Some("e1"), None, false, tag(), Proof::Given),
        (Some("W/e1"), Some("x"), false, tag(), Proof::Given),
        (Some("x"), Some("x"), false, weak.clone(), Proof::Given),
        (Some("y"), Some("x"), true, tag(), Proof::Impossible),
        (Some("x"), None, true, tag(), hash.clone()),
        (Some("x"), None, false, tag(), Proof::Look),
        (None, Some("x"), false, tag(), Proof::Look),
        (None, None, true, tag(), hash),
        (None, None, true, weak, Proof::Look),
    ] {
        assert_eq!(proof_for(validator, proven, "e1", whole, &tag), expected, "{validator:?} {proven:?} {whole}");
    }
}

#[test]
fn the_table_of_urls_is_bounded() {
    let urls = DownloadUrls::default();
    for number in 0..MAX_URLS.get() as u64 + 10 {
        let url = DownloadUrl {
            url: Secret::new(Url::parse("http://127.0.0.1/").expect("a URL")),
            source: id("F"),
            tags: vec![tag()],
            meta_tag: String::new(),
            size: 12,
            made: Mono(number),
            validator: None,
        };
        urls.put(&id(&number.to_string()), url);
    }
    assert_eq!(urls.lock().len(), MAX_URLS.get());
    assert!(urls.get(&id("9"), Mono(0)).is_none());
    assert!(urls.get(&id("10"), Mono(0)).is_some());
}

#[tokio::test]
async fn more_versions_than_any_file_has_are_not_taken_in() {
    let many = format!("[{}{{}}]", "{},".repeat(50_000));
    for versions in [many, format!("[{}0]", "0,".repeat(1_000_000))] {
        let server = Server::start(move |_, _| Answer::new(200, format!("{{\"value\":{versions}}}"))).await;
        let (graph, _) = graph(&server);
        let failure = graph.former(&id("F"), 12, "h").await.expect_err("no list of versions");
        assert_eq!(failure.kind, RemoteErrorKind::Protocol);
    }
}

#[tokio::test]
async fn what_else_is_said_of_a_version_is_read_over() {
    let hash = QuickXorHash::of(HELLO);
    let server = Server::start(|seen, _| match seen.target.split_once("/versions") {
        Some((_, "")) => {
            let more = "[0,0,[{}]]";
            Answer::new(
                200,
                format!("{{\"value\":[{{\"x\":{more},\"id\":\"1.0\",\"size\":12,\"publication\":{more}}}]}}"),
            )
        }
        Some(_) => Answer::new(302, "").with("location", format!("http://{}/d", seen.header("host").expect("a host"))),
        None => Answer::new(200, HELLO),
    })
    .await;
    let (graph, _) = graph(&server);
    let former = graph.former(&id("F"), 12, &hash).await.expect("found");
    assert_eq!(former.as_deref(), Some(HELLO));
}
