//! Exchanges with a server that says what it is told to.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::*;
use crate::base::clock::Timestamp;
use crate::base::ids::{Cursor, MetaTag};
use crate::remote::testing::{Answer, Hasty, Seen, Server, door};
use crate::remote::{Advice, Change, Next, Place, RemoteErrorKind};

pub(super) fn graph(server: &Server) -> (Graph, Arc<Hasty>) {
    let clock = Arc::new(Hasty::default());
    let options = GraphOptions { drive: DriveChoice::Me, fragment: None, session_with_tag: false };
    (Graph::new(door(&server.url, clock.clone()), clock.clone(), options), clock)
}

pub(super) fn id(id: &str) -> ItemId {
    ItemId::new(&DriveId::new("b!D"), id)
}

fn file(name: &str, etag: &str) -> String {
    format!(
        r#"{{"id":"F","name":"{name}","size":5,"eTag":"{etag}","file":{{}},
        "parentReference":{{"driveId":"b!D","id":"P","path":"/drives/b!D/root:/Docs"}},
        "fileSystemInfo":{{"createdDateTime":"2020-01-01T00:00:00Z","lastModifiedDateTime":"2026-02-03T10:20:30Z"}}}}"#
    )
}

fn refusal(status: u16, code: &str) -> Answer {
    Answer::new(status, format!(r#"{{"error":{{"code":"{code}","message":"no"}}}}"#))
}

fn path(seen: &Seen) -> &str {
    seen.target.split('?').next().expect("a first part")
}

#[tokio::test]
async fn names_are_encoded_segment_by_segment() {
    let server = Server::start(|_, _| Answer::new(200, file("a#b %2F+'&.txt", "e"))).await;
    let (graph, _) = graph(&server);
    graph.stat(At::Child(&id("P"), "a#b %2F+'&.txt")).await.expect("found");
    assert_eq!(path(&server.seen()[0]), "/v1.0/drives/b!D/items/P:/a%23b%20%252F%2B%27%26.txt:");
    for name in ["", ".", "..", "a/b"] {
        let failure = graph.stat(At::Child(&id("P"), name)).await.expect_err("no name");
        assert_eq!(failure.kind, RemoteErrorKind::BadName);
    }
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_item_of_another_name_is_not_the_one() {
    let server = Server::start(|_, _| Answer::new(200, file("v2.0.0", "e"))).await;
    let (graph, _) = graph(&server);
    let failure = graph.stat(At::Child(&id("P"), "v1.0.0")).await.expect_err("another item");
    assert_eq!(failure.kind, RemoteErrorKind::NotFound);
    assert!(graph.stat(At::Child(&id("P"), "V2.0.0")).await.is_ok());
}

#[tokio::test]
async fn the_identity_is_the_drive_and_its_root() {
    let server = Server::start(|seen, _| match path(seen) {
        "/v1.0/me/drive" => Answer::new(
            200,
            r#"{"id":"A1B2C3D4E5F6071","driveType":"personal","owner":{"user":{"displayName":"Ada","email":"a@x.example"}}}"#,
        ),
        "/v1.0/me/drive/root" => Answer::new(
            200,
            r#"{"id":"0A1B2C3D4E5F6071!sEA8CC6","name":"root","root":{},"folder":{},
            "parentReference":{"driveId":"0a1b2c3d4e5f6071"}}"#,
        ),
        _ => refusal(404, "itemNotFound"),
    })
    .await;
    let (graph, _) = graph(&server);
    let identity = graph.identity().await.expect("a drive");
    assert_eq!(identity.drive, DriveId::new("0a1b2c3d4e5f6071"));
    assert_eq!(identity.root, ItemId::new(&identity.drive, "0A1B2C3D4E5F6071!sea8cc6"));
    assert_eq!((identity.flavour.as_str(), identity.owner.as_str()), ("personal", "Ada <a@x.example>"));
}

#[tokio::test]
async fn pages_follow_their_links_and_a_dead_link_starts_over() {
    let server = Server::start(|seen, _| {
        let host = seen.header("host").expect("a host").to_owned();
        match seen.target.as_str() {
            "/v1.0/next?$skiptoken=%2B%20x" => Answer::new(200, r#"{"value":[]}"#),
            "/v1.0/dead" => refusal(400, "invalidRequest"),
            _ => Answer::new(
                200,
                format!(
                    r#"{{"value":[{{"id":"A","name":"a","folder":{{}}}},{{"id":"B"}}],
                    "@odata.nextLink":"http://{host}/v1.0/next?$skiptoken=%2B%20x"}}"#
                ),
            ),
        }
    })
    .await;
    let (graph, _) = graph(&server);
    let page = graph.list(&id("P"), None).await.expect("a page");
    assert_eq!(page.items.len(), 1, "the one without a name cannot be shown");
    assert_eq!(page.items[0].parent, Some(id("P")));
    assert_eq!(server.seen()[0].header("prefer"), Some(PREFER));
    let last = graph.list(&id("P"), page.next.as_ref()).await.expect("a page");
    assert!(last.items.is_empty() && last.next.is_none());
    let dead = Link::new(format!("{}/v1.0/dead", server.url));
    let failure = graph.list(&id("P"), Some(&dead)).await.expect_err("dead");
    assert_eq!((failure.kind, failure.advice), (RemoteErrorKind::Expired, Advice::Resync));
}

#[tokio::test]
async fn a_folder_made_without_an_answer_is_looked_for_not_made_again() {
    let server = Server::start(|seen, _| match seen.method.as_str() {
        "POST" => Answer::new(201, ""),
        _ => Answer::new(200, r#"{"id":"N","name":"new","folder":{}}"#),
    })
    .await;
    let (graph, _) = graph(&server);
    let item = graph.make_folder(&id("P"), "new").await.expect("made");
    assert_eq!(item.id, id("N"));
    assert_eq!(server.lines().iter().filter(|line| line.starts_with("POST")).count(), 1);
    assert_eq!(server.seen()[0].json()["@microsoft.graph.conflictBehavior"], "fail");
}

#[tokio::test]
async fn a_change_without_effect_is_repeated_by_path() {
    let server = Server::start(|seen, number| match (seen.method.as_str(), number) {
        ("PATCH", 0) => Answer::new(204, ""),
        ("PATCH", _) => Answer::new(204, ""),
        ("GET", 1) => Answer::new(200, file("old", "e1")),
        _ => Answer::new(200, file("new", "e2")),
    })
    .await;
    let (graph, _) = graph(&server);
    let patch = Patch { name: Some("new".into()), ..Patch::default() };
    let pre = Precondition::Unchanged(MetaTag("e1".into()));
    let item = graph.change(&id("F"), &patch, &pre).await.expect("changed");
    assert_eq!((item.name.as_str(), item.meta_tag.0.as_str()), ("new", "e2"));
    let seen = server.seen();
    let paths: Vec<_> = seen.iter().map(|seen| format!("{} {}", seen.method, path(seen))).collect();
    assert_eq!(
        paths,
        [
            "PATCH /v1.0/drives/b!D/items/F",
            "GET /v1.0/drives/b!D/items/F",
            "PATCH /v1.0/drives/b!D/root:/Docs/old:",
            "GET /v1.0/drives/b!D/items/F"
        ]
    );
    assert_eq!(seen[2].header("if-match"), Some("e1"));
}

#[tokio::test]
async fn times_travel_with_the_creation_time_and_only_when_they_differ() {
    let server = Server::start(|_, _| Answer::new(200, file("f", "e1"))).await;
    let (graph, _) = graph(&server);
    let at = |seconds| Patch { modified: Some(Timestamp::from_seconds(seconds)), ..Patch::default() };
    graph.change(&id("F"), &at(1_770_114_030), &Precondition::None).await.expect("nothing to do");
    assert_eq!(server.seen().len(), 1);
    graph.change(&id("F"), &at(1_770_114_031), &Precondition::None).await.expect("changed");
    let times = server.seen()[2].json()["fileSystemInfo"].clone();
    assert_eq!(times["createdDateTime"], "2020-01-01T00:00:00Z");
    assert_eq!(times["lastModifiedDateTime"], "2026-02-03T10:20:31Z");
    let stale = Precondition::Unchanged(MetaTag("e0".into()));
    let failure = graph.change(&id("F"), &at(1), &stale).await.expect_err("changed meanwhile");
    assert_eq!(failure.kind, RemoteErrorKind::Changed);
}

#[tokio::test]
async fn a_delete_is_compared_first_and_goes_without_the_tag_where_the_service_cannot() {
    let server = Server::start(|seen, _| match (seen.method.as_str(), seen.header("if-match")) {
        ("DELETE", Some(_)) => refusal(412, "resourceModified"),
        ("DELETE", None) => Answer::new(204, ""),
        _ => Answer::new(200, file("f", "e1")),
    })
    .await;
    let (graph, clock) = graph(&server);
    let stale = Precondition::Unchanged(MetaTag("e0".into()));
    assert_eq!(graph.delete(&id("F"), &stale).await.expect_err("stale").kind, RemoteErrorKind::Changed);
    assert!(!server.lines().iter().any(|line| line.starts_with("DELETE")));
    let good = Precondition::Unchanged(MetaTag("e1".into()));
    // Perhaps the look was at a replica that is behind: not before that has been ruled out.
    assert_eq!(graph.delete(&id("F"), &good).await.expect_err("not yet").kind, RemoteErrorKind::Unavailable);
    clock.advance(std::time::Duration::from_secs(60));
    graph.delete(&id("F"), &good).await.expect("deleted");
    graph.delete(&id("F"), &good).await.expect("deleted");
    let tags: Vec<_> = server
        .seen()
        .iter()
        .filter(|seen| seen.method == "DELETE")
        .map(|seen| seen.header("if-match").map(str::to_owned))
        .collect();
    assert_eq!(tags, [Some("e1".to_owned()), Some("e1".to_owned()), None, None]);
}

/// A refusal is only as old as the state that was refused, and nothing when it was long ago.
#[tokio::test]
async fn a_refusal_of_another_state_or_of_long_ago_says_nothing_about_this_one() {
    let state = Arc::new(std::sync::atomic::AtomicUsize::new(1));
    let shown = state.clone();
    let server = Server::start(move |seen, _| match (seen.method.as_str(), seen.header("if-match")) {
        ("DELETE", Some(_)) => refusal(412, "resourceModified"),
        ("DELETE", None) => Answer::new(204, ""),
        _ => Answer::new(200, file("f", &format!("e{}", shown.load(Ordering::Relaxed)))),
    })
    .await;
    let (graph, clock) = graph(&server);
    for (number, later) in [(1, 0), (2, 61), (2, 4000)] {
        clock.advance(std::time::Duration::from_secs(later));
        state.store(number, Ordering::Relaxed);
        let pre = Precondition::Unchanged(MetaTag(format!("e{number}")));
        assert_eq!(graph.delete(&id("F"), &pre).await.expect_err("not yet").kind, RemoteErrorKind::Unavailable);
    }
    assert!(server.seen().iter().all(|seen| seen.method != "DELETE" || seen.header("if-match").is_some()));
}

#[tokio::test]
async fn a_delete_believes_in_absence_at_the_second_look() {
    let server = Server::start(|seen, number| match (seen.method.as_str(), number) {
        ("DELETE", 0) => refusal(404, "itemNotFound"),
        ("DELETE", _) => Answer::new(204, ""),
        _ => Answer::new(200, file("f", "e1")),
    })
    .await;
    let (graph, clock) = graph(&server);
    graph.delete(&id("F"), &Precondition::None).await.expect("deleted");
    assert_eq!(server.lines().iter().filter(|line| line.starts_with("DELETE")).count(), 2);
    assert_eq!(clock.slept().len(), 1);
    let pre = Precondition::Unchanged(MetaTag("e1".into()));
    let passing = Server::start(|seen, number| match (seen.method.as_str(), number) {
        ("DELETE", 1) => refusal(404, "itemNotFound"),
        ("DELETE", _) => Answer::new(204, ""),
        _ => Answer::new(200, file("f", "e1")),
    })
    .await;
    self::graph(&passing).0.delete(&id("F"), &pre).await.expect("deleted");
    let deletes = passing.seen().into_iter().filter(|seen| seen.method == "DELETE");
    assert!(deletes.map(|seen| seen.header("if-match").map(str::to_owned)).all(|tag| tag.as_deref() == Some("e1")));
    let gone = Server::start(|seen, _| match seen.target.contains("/items/F") {
        true => refusal(404, "itemNotFound"),
        false if seen.target.contains("/me/drive") => Answer::new(200, r#"{"id":"b!D","driveType":"business"}"#),
        // The root is another item than the one that is gone.
        false => Answer::new(200, file("root", "e0").replacen(r#""id":"F""#, r#""id":"R""#, 1)),
    })
    .await;
    self::graph(&gone).0.delete(&id("F"), &pre).await.expect("gone is deleted");
    // It was not found once, by the look that compares the precondition; that is no reason not to delete it.
    let looks = std::sync::atomic::AtomicUsize::new(0);
    let once = Server::start(move |seen, _| match (seen.method.as_str(), seen.target.contains("/items/F")) {
        ("DELETE", _) => Answer::new(204, ""),
        (_, true) if looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 => refusal(404, "itemNotFound"),
        (_, true) => Answer::new(200, file("f", "e1")),
        _ if seen.target.contains("/me/drive") => Answer::new(200, r#"{"id":"b!D","driveType":"business"}"#),
        _ => Answer::new(200, file("root", "e0").replacen(r#""id":"F""#, r#""id":"R""#, 1)),
    })
    .await;
    self::graph(&once).0.delete(&id("F"), &pre).await.expect("deleted");
    assert!(once.lines().iter().any(|line| line.starts_with("DELETE")), "{:?}", once.lines());
    // A service that knows no drive at all does not know that the file is gone.
    let ill = Server::start(|_, _| refusal(404, "itemNotFound")).await;
    let (graph, _) = self::graph(&ill);
    let unknown = graph.delete(&id("F"), &pre).await.expect_err("unknown is not gone");
    assert_eq!((unknown.kind, unknown.advice), (RemoteErrorKind::Unavailable, Advice::Retry));
    let unknown = graph.stat(At::Id(&id("F"))).await.expect_err("for nobody");
    assert_eq!(unknown.kind, RemoteErrorKind::Unavailable);
    assert_eq!(self::graph(&gone).0.stat(At::Id(&id("F"))).await.expect_err("gone").kind, RemoteErrorKind::NotFound);
}

fn target(place: Place) -> Target {
    Target { place, modified: Timestamp(1_770_114_030_600_000_000), created: None }
}

fn new_file() -> Target {
    target(Place::New { parent: id("P"), name: "f #1".into() })
}

#[tokio::test]
async fn small_files_say_what_must_hold() {
    let server = Server::start(|seen, _| match seen.header("if-match") {
        Some("stale") => refusal(412, "resourceModified"),
        _ => Answer::new(201, file("f #1", "e1")),
    })
    .await;
    let (graph, _) = graph(&server);
    let bytes = Outgoing::from_static(b"hello");
    graph.put_small(&new_file(), bytes.clone(), &Precondition::MustNotExist).await.expect("made");
    let seen = &server.seen()[0];
    assert_eq!(seen.target, "/v1.0/drives/b!D/items/P:/f%20%231:/content?@microsoft.graph.conflictBehavior=fail");
    assert_eq!(seen.body, b"hello");
    let replace = target(Place::Replace(id("F")));
    let stale = Precondition::Unchanged(MetaTag("stale".into()));
    let failure = graph.put_small(&replace, bytes, &stale).await.expect_err("stale");
    assert_eq!(failure.kind, RemoteErrorKind::Changed);
    assert_eq!(server.seen()[1].target, "/v1.0/drives/b!D/items/F/content");
}

#[tokio::test]
async fn a_session_is_opened_with_everything_that_must_hold() {
    let server = Server::start(|seen, _| {
        let host = seen.header("host").expect("a host");
        match seen.method.as_str() {
            "POST" => Answer::new(
                200,
                format!(r#"{{"uploadUrl":"http://{host}/up?s=%2B","expirationDateTime":"2026-02-02T00:00:00Z"}}"#),
            ),
            _ => Answer::new(200, file("f", "e1")),
        }
    })
    .await;
    let (graph, clock) = graph(&server);
    let ticket = graph.begin_upload(&new_file(), 400_000, &Precondition::MustNotExist).await.expect("a session");
    assert_eq!(ticket.address, format!("{}/up?s=%2B", server.url));
    assert_eq!(ticket.expires, clock.now().plus(std::time::Duration::from_secs(86_400)));
    let body = server.seen()[0].json();
    assert_eq!(path(&server.seen()[0]), "/v1.0/drives/b!D/items/P:/f%20%231:/createUploadSession");
    assert_eq!(body["item"]["@microsoft.graph.conflictBehavior"], "fail");
    assert_eq!(body["item"]["name"], "f #1");
    assert_eq!(body["item"]["fileSystemInfo"]["lastModifiedDateTime"], "2026-02-03T10:20:30Z");
    assert_eq!(body["item"]["fileSize"], serde_json::Value::Null);
    let replace = target(Place::Replace(id("F")));
    let stale = Precondition::Unchanged(MetaTag("e0".into()));
    let failure = graph.begin_upload(&replace, 5, &stale).await.expect_err("compared first");
    assert_eq!(failure.kind, RemoteErrorKind::Changed);
    let good = Precondition::Unchanged(MetaTag("e1".into()));
    graph.begin_upload(&replace, 5, &good).await.expect("a session");
    let seen = server.seen();
    let last = seen.last().expect("a request");
    assert_eq!(last.header("if-match"), None);
    assert_eq!(last.json()["item"]["@microsoft.graph.conflictBehavior"], "replace");
    assert_eq!(last.json()["item"]["fileSystemInfo"]["createdDateTime"], "2020-01-01T00:00:00Z");
    assert!(graph.begin_upload(&new_file(), 0, &Precondition::None).await.is_err());
}

fn ticket(server: &Server, size: u64) -> Ticket {
    let address = format!("{}/up?sig=%2F", server.url);
    let (expires, begun) = (Timestamp(0), Timestamp(0));
    Ticket { address, target: target(Place::Replace(id("F"))), size, expires, begun, acked: 0 }
}

#[tokio::test]
async fn fragments_go_without_token_and_obey_the_offset_they_are_told() {
    let server = Server::start(|seen, _| match seen.header("content-range") {
        Some("bytes 0-4/10") => Answer::new(202, r#"{"nextExpectedRanges":["3-"]}"#),
        Some("bytes 5-9/10") => Answer::new(201, file("f", "e2")),
        Some("bytes 1-2/10") => refusal(416, "invalidRange"),
        Some("bytes 2-3/10") => refusal(404, "itemNotFound"),
        Some("bytes 3-4/10") => refusal(401, "expiredToken"),
        Some("bytes 4-5/10") => refusal(507, "quotaLimitReached"),
        Some("bytes 6-7/10") => refusal(504, "gatewayTimeout"),
        Some("bytes 7-8/10") => refusal(423, "resourceLocked"),
        Some("bytes 8-9/10") => Answer::new(202, ""),
        _ => Answer::new(200, r#"{"nextExpectedRanges":["8-"]}"#),
    })
    .await;
    let (graph, _) = graph(&server);
    let ticket = ticket(&server, 10);
    let send =
        async |at: u64, bytes: &'static [u8]| graph.put_fragment(&ticket, at, Outgoing::from_static(bytes)).await;
    assert_eq!(send(0, b"01234").await.expect("taken"), Ack::Next(3));
    assert!(matches!(send(5, b"56789").await.expect("done"), Ack::Done(done) if done.item.meta_tag.0 == "e2"));
    for (at, kind, advice) in [
        (1, RemoteErrorKind::Range, Advice::VerifyThenRetry),
        (2, RemoteErrorKind::UploadGone, Advice::VerifyThenRetry),
        (3, RemoteErrorKind::UploadGone, Advice::VerifyThenRetry),
        (4, RemoteErrorKind::QuotaFull, Advice::GiveUp),
        (6, RemoteErrorKind::Unavailable, Advice::VerifyThenRetry),
        (7, RemoteErrorKind::Locked, Advice::RetryAfter(std::time::Duration::from_secs(30))),
    ] {
        let failure = send(at, b"xy").await.expect_err("refused");
        assert_eq!((failure.kind, failure.advice), (kind, advice), "at {at}");
    }
    assert_eq!(send(8, b"xy").await.expect("asked"), Ack::Next(8), "an answer without offset is asked for one");
    assert!(server.seen().iter().all(|seen| seen.header("authorization").is_none()));
    assert!(server.seen().iter().all(|seen| seen.target == "/up?sig=%2F"));
}

#[tokio::test]
async fn a_session_that_is_gone_is_gone_only_after_a_look_for_its_file() {
    let server = Server::start(|seen, _| match path(seen) {
        "/up" => refusal(404, "itemNotFound"),
        _ => Answer::new(200, file("f", "e2")),
    })
    .await;
    let (graph, clock) = graph(&server);
    // The file there has 5 bytes and the right time.
    assert!(matches!(graph.upload_offset(&ticket(&server, 5)).await.expect("an offset"), Offset::Done(_)));
    assert!(clock.slept().is_empty());
    assert_eq!(graph.upload_offset(&ticket(&server, 6)).await.expect("an offset"), Offset::Gone);
    assert_eq!(clock.slept().len(), 3, "a fresh file is sometimes unknown for a moment");
    assert!(graph.finish_upload(&ticket(&server, 5)).await.is_ok());
    let failure = graph.finish_upload(&ticket(&server, 6)).await.expect_err("another file");
    assert_eq!(failure.kind, RemoteErrorKind::UploadGone);
    graph.abandon_upload(&ticket(&server, 6)).await.expect("an unknown session is abandoned");
}

#[tokio::test]
async fn a_last_fragment_without_an_answer_is_looked_for() {
    let server = Server::start(|seen, _| match path(seen) {
        "/up" => Answer::new(200, ""),
        _ => Answer::new(200, file("f", "e2")),
    })
    .await;
    let (graph, _) = graph(&server);
    let ack = graph.put_fragment(&ticket(&server, 5), 0, Outgoing::from_static(b"hello")).await.expect("done");
    assert!(matches!(ack, Ack::Done(done) if done.item.meta_tag.0 == "e2"));
}

#[tokio::test]
async fn the_feed_starts_and_continues_and_starts_over() {
    let server = Server::start(|seen, _| {
        let host = seen.header("host").expect("a host");
        match path(seen) {
            "/v1.0/me/drive" => Answer::new(200, r#"{"id":"b!D","driveType":"business"}"#),
            "/v1.0/me/drive/root" => Answer::new(200, r#"{"id":"R","name":"root","root":{},"folder":{}}"#),
            "/v1.0/gone" => refusal(410, "resyncRequired"),
            "/v1.0/lost" => refusal(404, "itemNotFound"),
            _ => {
                let link = format!(r#""@odata.deltaLink":"http://{host}/v1.0/cursor?token=%2B1""#);
                Answer::new(200, format!(r#"{{"value":[{{"id":"A","deleted":{{}}}}],{link}}}"#))
            }
        }
    })
    .await;
    let (graph, _) = graph(&server);
    let cursor = Cursor(format!("{}/v1.0/cursor?token=%2B1", server.url));
    let now = graph.changes(Start::Now).await.expect("a cursor");
    assert_eq!(now, ChangePage { changes: vec![], next: Next::Done(cursor.clone()) });
    assert!(server.lines().last().expect("a request").contains("/root/delta?token=latest&"));
    let page = graph.changes(Start::Cursor(&cursor)).await.expect("a page");
    assert_eq!(page.changes, [Change::Gone(id("A"))]);
    assert_eq!(server.lines().last().map(String::as_str), Some("GET /v1.0/cursor?token=%2B1"));
    assert_eq!(server.seen().last().and_then(|seen| seen.header("prefer")), Some(PREFER));
    for dead in
        [format!("{}/v1.0/gone", server.url), format!("{}/v1.0/lost", server.url), "http://127.0.0.1:1/x".into()]
    {
        let failure = graph.changes(Start::Cursor(&Cursor(dead))).await.expect_err("expired");
        assert_eq!((failure.kind, failure.advice), (RemoteErrorKind::Expired, Advice::Resync));
    }
}
