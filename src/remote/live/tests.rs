//! Exchanges with a server that says what it is told to.

use super::*;
use crate::base::clock::Timestamp;
use crate::base::ids::{DriveId, MetaTag};
use crate::remote::testing::{Answer, Hasty, Seen, Server, door};
use crate::remote::{Advice, Extras as _, Place, RemoteErrorKind, list_all};
use bytes::Bytes;
use futures_util::TryStreamExt as _;

pub(super) const CID: &str = "0a4f7719c2be3d05";

pub(super) fn live(server: &Server) -> (Live, Arc<Hasty>) {
    let clock = Arc::new(Hasty::default());
    let service = LiveService { origin: server.url.clone(), bits: server.url.clone(), ..LiveService::default() };
    (Live::new(door(&server.url, clock.clone()), clock.clone(), service, Some(4), 7), clock)
}

pub(super) fn file_id(number: u64) -> ItemId {
    ItemId::new(&DriveId::new(CID), format!("file.{CID}.A4F7719C2BE3D05!{number}"))
}

pub(super) fn folder_id(number: u64) -> ItemId {
    ItemId::new(&DriveId::new(CID), format!("folder.{CID}.A4F7719C2BE3D05!{number}"))
}

pub(super) fn root_id() -> ItemId {
    ItemId::new(&DriveId::new(CID), format!("folder.{CID}"))
}

/// A file as the service describes it.
pub(super) fn file(number: u64, name: &str, size: u64, updated: &str) -> String {
    format!(
        "{{\r \"id\": \"file.{CID}.A4F7719C2BE3D05!{number}\",\r \"name\": \"{name}\", \"size\": {size}, \
         \"parent_id\": \"folder.{CID}\", \"type\": \"file\", \"updated_time\": \"{updated}\", \
         \"client_updated_time\": \"2014-11-23T09:41:05+0000\"\r}}"
    )
}

pub(super) fn folder(number: u64, name: &str, count: u64) -> String {
    format!(
        "{{\"id\": \"folder.{CID}.A4F7719C2BE3D05!{number}\", \"name\": \"{name}\", \"count\": {count}, \
         \"parent_id\": \"folder.{CID}\", \"type\": \"folder\", \"updated_time\": \"{T}\"}}"
    )
}

pub(super) const T: &str = "2014-11-23T09:41:07+0000";

pub(super) fn list(objects: &[String]) -> Answer {
    Answer::new(200, format!("{{\r \"data\": [\r{}\r]\r}}", objects.join(",\r")))
}

pub(super) fn refusal(status: u16, code: &str) -> Answer {
    Answer::new(status, format!("{{\r   \"error\": {{\r      \"code\": \"{code}\", \r \"message\": \"no\"\r }}\r}}"))
}

/// Who is signed in and the root: what every drive answers.
pub(super) fn drive(seen: &Seen) -> Option<Answer> {
    match path(seen) {
        "/v5.0/me" => Some(Answer::new(200, format!("{{\"id\": \"{CID}\", \"name\": \"Ines\"}}"))),
        "/v5.0/me/skydrive" | "/v5.0/folder.0a4f7719c2be3d05" => Some(Answer::new(
            200,
            format!("{{\"id\": \"folder.{CID}\", \"name\": \"SkyDrive\", \"type\": \"folder\"}}"),
        )),
        _ => None,
    }
}

pub(super) fn path(seen: &Seen) -> &str {
    seen.target.split('?').next().expect("a first part")
}

pub(super) fn query<'a>(seen: &'a Seen, key: &str) -> Option<&'a str> {
    let query = seen.target.split_once('?')?.1;
    query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
}

fn new(name: &str) -> Target {
    Target { place: Place::New { parent: root_id(), name: name.into() }, modified: Timestamp(0), created: None }
}

#[tokio::test]
async fn the_account_with_a_leading_zero_is_one_drive() {
    let server = Server::start(|seen, _| drive(seen).unwrap_or_else(|| refusal(404, "resource_not_found"))).await;
    let (live, _) = live(&server);
    let identity = live.identity().await.expect("a drive");
    assert_eq!(identity.drive, DriveId::new("A4F7719C2BE3D05"));
    assert_eq!((identity.root, identity.owner.as_str()), (root_id(), "Ines"));
}

/// The seed put the token into query strings, where logs and proxies keep it (defect 13).
#[tokio::test]
async fn the_token_goes_in_a_header_and_the_language_is_pinned() {
    let server = Server::start(|_, _| Answer::new(200, file(9, "a", 5, T))).await;
    let (live, _) = live(&server);
    live.stat(At::Id(&file_id(9))).await.expect("found");
    let seen = &server.seen()[0];
    assert_eq!(seen.target, format!("/v5.0/file.{CID}.A4F7719C2BE3D05!9?locale=en%2DUS").replace("%2D", "-"));
    assert_eq!(seen.header("authorization"), Some("Bearer t0"));
    assert!(!seen.target.contains("t0"));
}

#[tokio::test]
async fn a_refused_token_is_renewed_and_a_second_refusal_is_told_alike() {
    let server = Server::start(|_, count| match count {
        0 => refusal(401, "request_token_expired"),
        1 => Answer::new(200, file(9, "a", 5, T)),
        _ => refusal(401, "request_token_invalid"),
    })
    .await;
    let (live, _) = live(&server);
    live.stat(At::Id(&file_id(9))).await.expect("found with a new token");
    let failure = live.stat(At::Id(&file_id(9))).await.expect_err("no token helps");
    assert_eq!((failure.kind, failure.advice), (RemoteErrorKind::Denied, Advice::Refresh));
}

/// A folder of 600: rows are counted, `paging` is not believed, and a deletion between two pages is noticed.
#[tokio::test]
async fn a_listing_that_shifts_between_two_pages_is_begun_anew() {
    let server = Server::start(|seen, count| {
        let offset: u64 = query(seen, "offset").expect("an offset").parse().expect("a number");
        // After the first page the object 3 is deleted.
        let numbers: Vec<u64> = (0..600).filter(|number| count == 0 || *number != 3).collect();
        let page = numbers.iter().skip(offset as usize).take(500);
        list(&page.map(|number| file(*number, &format!("f{number}"), 1, T)).collect::<Vec<_>>())
    })
    .await;
    let (live, _) = live(&server);
    let items = list_all(&live, &root_id()).await.expect("listed");
    assert_eq!(items.len(), 599);
    let offsets: Vec<String> =
        server.seen().iter().map(|seen| query(seen, "offset").unwrap_or_default().to_owned()).collect();
    assert_eq!(offsets, ["0", "499", "0", "499", "598"]);
    assert!(items.iter().all(|item| item.parent == Some(root_id())));
}

/// Each page is full and begins with the last object of the one before, as it must: they are all one object.
#[tokio::test]
async fn a_folder_that_never_ends_is_an_error() {
    let page = vec![file(1, "f", 1, T); 100];
    let server = Server::start(move |seen, _| drive(seen).unwrap_or_else(|| list(&page))).await;
    let (live, _) = live(&server);
    let both = async {
        let listed = list_all(&live, &root_id()).await.map(drop);
        let made = live.make_folder(&root_id(), "new").await.map(drop);
        [listed, made].map(|result| result.expect_err("it is no listing").kind)
    };
    let kinds = tokio::time::timeout(std::time::Duration::from_secs(20), both).await.expect("it ends");
    assert_eq!(kinds, [RemoteErrorKind::Protocol; 2]);
    assert_eq!(server.seen().len(), 4, "two pages each");
}

/// The seed kept children by name, and duplicates vanished (defect 12).
#[tokio::test]
async fn files_of_one_name_are_all_kept_and_found_in_a_stable_order() {
    let server =
        Server::start(|_, _| list(&[file(12, "A", 5, T), file(11, "a", 5, T), file(9, "a", 7, T), file(9, "a", 7, T)]))
            .await;
    let (live, _) = live(&server);
    assert_eq!(list_all(&live, &root_id()).await.expect("listed").len(), 3);
    let found = live.stat(At::Child(&root_id(), "a")).await.expect("found");
    assert_eq!(found.id, file_id(9), "exactly this spelling, and the oldest");
    assert_eq!(live.stat(At::Child(&root_id(), "A")).await.expect("found").id, file_id(12));
    let failure = live.stat(At::Child(&root_id(), "b")).await.expect_err("none");
    assert_eq!(failure.kind, RemoteErrorKind::NotFound);
}

#[tokio::test]
async fn what_is_put_goes_in_chunks_as_it_is_and_never_over_another_file() {
    let server = Server::start(|seen, _| match (seen.method.as_str(), path(seen)) {
        ("PUT", _) => Answer::new(201, format!("{{\"id\": \"file.{CID}.A4F7719C2BE3D05!9\", \"name\": \"x\"}}")),
        (_, at) if at.ends_with("/files") => list(&[file(3, "there", 1, T)]),
        _ => Answer::new(200, file(9, "a#b %?.txt", 5, T)),
    })
    .await;
    let (live, _) = live(&server);
    let bytes = Bytes::from_static(b"hello");
    let item = live.put_small(&new("a#b %?.txt"), bytes.clone(), &Precondition::MustNotExist).await.expect("stored");
    assert_eq!(item.id, file_id(9));
    let seen = server.seen();
    let put = seen.iter().find(|seen| seen.method == "PUT").expect("a PUT");
    assert_eq!(path(put), format!("/v5.0/folder.{CID}/files/a%23b%20%25%3F.txt"));
    assert_eq!((query(put, "overwrite"), query(put, "downsize_photo_uploads")), (Some("false"), Some("false")));
    assert_eq!((put.header("transfer-encoding"), put.header("content-length")), (Some("chunked"), None));
    assert_eq!(put.body, b"hello");
    let failure = live.put_small(&new("THERE"), bytes, &Precondition::MustNotExist).await.expect_err("taken");
    assert_eq!(failure.kind, RemoteErrorKind::Exists);
}

/// Two versions of one second and one size look alike; then ours is stored again in another second.
#[tokio::test]
async fn a_version_that_looks_like_the_one_before_is_stored_again() {
    let later = "2014-11-24T08:00:00+0000";
    let server = Server::start(move |seen, count| match (seen.method.as_str(), count) {
        ("PUT", _) => Answer::new(201, format!("{{\"id\": \"{}\", \"name\": \"a\"}}", file_id(9).id)),
        (_, 0..=4) => Answer::new(200, file(9, "a", 5, T)),
        _ => Answer::new(200, file(9, "a", 5, later)),
    })
    .await;
    let (live, _) = live(&server);
    let before = live.stat(At::Id(&file_id(9))).await.expect("found");
    let pre = Precondition::Unchanged(before.meta_tag.clone());
    let to = Target { place: Place::Replace(file_id(9)), modified: Timestamp(0), created: None };
    let after = live.put_small(&to, Bytes::from_static(b"other"), &pre).await.expect("stored");
    assert_ne!(after.content_tag, before.content_tag);
    let puts: Vec<Seen> = server.seen().into_iter().filter(|seen| seen.method == "PUT").collect();
    assert_eq!(puts.len(), 2);
    assert!(puts.iter().all(|put| put.body == b"other"));
}

/// An id that is good is unknown for a moment now and then.
#[tokio::test]
async fn what_was_not_found_once_is_deleted_all_the_same() {
    let looks = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |seen, _| match (seen.method.as_str(), path(seen).contains("/file.")) {
        ("DELETE", _) => Answer::new(204, ""),
        (_, true) if looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1 => {
            refusal(404, "resource_not_found")
        }
        (_, true) => Answer::new(200, file(9, "a", 5, T)),
        _ => drive(seen).unwrap_or_else(|| refusal(404, "resource_not_found")),
    })
    .await;
    let (live, _) = live(&server);
    let now = live.stat(At::Id(&file_id(9))).await.expect("found");
    live.delete(&file_id(9), &Precondition::Unchanged(now.meta_tag)).await.expect("deleted");
    assert!(server.seen().iter().any(|seen| seen.method == "DELETE"));
}

#[tokio::test]
async fn what_has_changed_is_not_replaced_nor_deleted() {
    let server = Server::start(|_, _| Answer::new(200, file(9, "a", 5, T))).await;
    let (live, _) = live(&server);
    let pre = Precondition::Unchanged(MetaTag("another state".into()));
    let to = Target { place: Place::Replace(file_id(9)), modified: Timestamp(0), created: None };
    for failure in [
        live.put_small(&to, Bytes::from_static(b"x"), &pre).await.map(drop).expect_err("changed"),
        live.change(&file_id(9), &Patch { name: Some("b".into()), ..Patch::default() }, &pre)
            .await
            .map(drop)
            .expect_err("changed"),
    ] {
        assert_eq!(failure.kind, RemoteErrorKind::Changed);
    }
    assert!(server.seen().iter().all(|seen| seen.method == "GET"));
}

/// Bodies are JSON; the seed sent forms, in which nested values and `null` become texts (defect 4).
#[tokio::test]
async fn renaming_and_moving_take_the_order_in_which_no_name_is_in_the_way() {
    let server = Server::start(|seen, _| match (seen.method.as_str(), path(seen)) {
        ("PUT", _) => Answer::new(200, file(9, "new", 5, "2014-11-23T09:41:09+0000")),
        ("MOVE", _) => {
            let moved = file(9, "new", 5, "2014-11-23T09:41:09+0000");
            Answer::new(201, moved.replace(&format!("\"folder.{CID}\""), &format!("\"{}\"", folder_id(50).id)))
        }
        (_, at) if at == format!("/v5.0/{}/files", folder_id(50).id) => list(&[file(4, "old", 1, T)]),
        (_, at) if at.ends_with("/files") => list(&[file(9, "old", 5, T)]),
        _ => Answer::new(200, file(9, "old", 5, T)),
    })
    .await;
    let (live, _) = live(&server);
    let patch = Patch { name: Some("new".into()), parent: Some(folder_id(50)), modified: None };
    let moved = live.change(&file_id(9), &patch, &Precondition::None).await.expect("moved");
    assert_eq!((moved.name.as_str(), moved.parent), ("new", Some(folder_id(50))));
    let seen = server.seen();
    let changes: Vec<&Seen> = seen.iter().filter(|seen| seen.method != "GET").collect();
    assert_eq!(changes.iter().map(|seen| seen.method.as_str()).collect::<Vec<_>>(), ["PUT", "MOVE"]);
    assert_eq!(changes[0].json(), serde_json::json!({"name": "new"}));
    assert_eq!(changes[1].json(), serde_json::json!({"destination": folder_id(50).id}));
    // What we renamed ourselves can be read on under its former version.
    let former = ContentTag("c:1416735667.1416735665:5".into());
    let now = ContentTag("c:1416735669.1416735665:5".into());
    assert!(live.versions_of(&file_id(9), &now).contains(&former));
}

#[tokio::test]
async fn content_comes_from_the_storage_host_without_the_token() {
    let storage = Server::start(|_, _| Answer::new(206, &b"ell"[..]).with("content-range", "bytes 1-3/5")).await;
    let address = format!("{}/y2m/a.txt?psid=1&x=%2B", storage.url);
    let server = Server::start(move |seen, _| {
        if path(seen).ends_with("/content") {
            return Answer::new(302, "").with("location", address.clone());
        }
        Answer::new(200, file(9, "a", 5, T))
    })
    .await;
    let (live, _) = live(&server);
    let tag = live.stat(At::Id(&file_id(9))).await.expect("found").content_tag.expect("a version");
    let body = live.read(&file_id(9), &tag, 1..4).await.expect("content");
    let bytes: Vec<Bytes> = body.stream.try_collect().await.expect("whole");
    assert_eq!(bytes.concat(), b"ell");
    let seen = &storage.seen()[0];
    assert_eq!(seen.target, "/y2m/a.txt?psid=1&x=%2B", "as it came");
    assert_eq!(seen.header("authorization"), None);
    assert_eq!((seen.header("range"), seen.header("accept-encoding")), (Some("bytes=1-3"), Some("identity")));
    let other = ContentTag("c:1.1:5".into());
    assert_eq!(live.read(&file_id(9), &other, 1..4).await.err().map(|it| it.kind), Some(RemoteErrorKind::Changed));
}

/// A client that took it for the content wrote empty files over good ones.
#[tokio::test]
async fn an_empty_success_with_a_challenge_is_an_expired_address() {
    let storage = Server::start(|_, count| match count {
        0 => Answer::new(200, "").with("www-authenticate", "Bearer realm=\"OneDriveAPI\", error=\"expired_token\""),
        _ => Answer::new(206, &b"hello"[..]).with("content-range", "bytes 0-4/5"),
    })
    .await;
    let address = format!("{}/a", storage.url);
    let server = Server::start(move |seen, _| {
        if path(seen).ends_with("/content") {
            return Answer::new(302, "").with("location", address.clone());
        }
        Answer::new(200, file(9, "a", 5, T))
    })
    .await;
    let (live, _) = live(&server);
    let tag = ContentTag("c:1416735667.1416735665:5".into());
    let body = live.read(&file_id(9), &tag, 0..5).await.expect("content of a new address");
    let bytes: Vec<Bytes> = body.stream.try_collect().await.expect("whole");
    assert_eq!(bytes.concat(), b"hello");
    assert_eq!(storage.seen().len(), 2);
}

#[tokio::test]
async fn a_version_that_is_replaced_while_it_is_fetched_is_not_handed_out() {
    let storage = Server::start(|_, _| Answer::new(206, &b"hello"[..]).with("content-range", "bytes 0-4/5")).await;
    let address = format!("{}/a", storage.url);
    let server = Server::start(move |seen, count| {
        if path(seen).ends_with("/content") {
            return Answer::new(302, "").with("location", address.clone());
        }
        Answer::new(200, file(9, "a", 5, if count == 0 { T } else { "2014-11-23T10:00:00+0000" }))
    })
    .await;
    let (live, _) = live(&server);
    let tag = ContentTag("c:1416735667.1416735665:5".into());
    let failure = live.read(&file_id(9), &tag, 0..5).await.err().expect("another version");
    assert_eq!(failure.kind, RemoteErrorKind::Changed);
}

#[tokio::test]
async fn a_deletion_is_believed_when_the_root_is_found() {
    let server = Server::start(|seen, _| match seen.method.as_str() {
        "DELETE" => refusal(404, "resource_not_found"),
        _ => drive(seen).unwrap_or_else(|| refusal(404, "resource_not_found")),
    })
    .await;
    let (live, _) = live(&server);
    live.delete(&file_id(9), &Precondition::None).await.expect("gone");
    let ill = Server::start(|seen, count| match path(seen) {
        "/v5.0/me" | "/v5.0/me/skydrive" if count < 2 => drive(seen).expect("the drive"),
        _ => refusal(404, "resource_not_found"),
    })
    .await;
    let (live, _) = self::live(&ill);
    let failure = live.delete(&file_id(9), &Precondition::None).await.expect_err("it finds nothing at all");
    assert_eq!(failure.kind, RemoteErrorKind::Unavailable);
}

#[tokio::test]
async fn extras_ask_what_the_service_offered() {
    let server = Server::start(|seen, _| match (seen.method.as_str(), path(seen)) {
        (_, at) if at.ends_with("/shared_read_link") => Answer::new(200, r#"{"link": "https://1drv"}"#),
        (_, at) if at.ends_with("/embed") => Answer::new(200, r#"{"embed_html": "<iframe src=\"https://e\">"}"#),
        ("POST", at) if at.ends_with("/comments") => Answer::new(201, r#"{"id": "comment.x.y!1.z", "message": "hi"}"#),
        (_, at) if at.ends_with("/comments") => Answer::new(200, r#"{"data": [{"message": "hi"}]}"#),
        ("DELETE", _) => Answer::new(204, ""),
        (_, "/v5.0/me/skydrive/recent_docs") => list(&[file(9, "a", 5, T)]),
        (_, "/v5.0/me/skydrive/search") => list(&[file(9, "a", 5, T)]),
        (_, at) if at.ends_with("/picture") => refusal(400, "request_url_invalid"),
        _ => drive(seen).unwrap_or_else(|| Answer::new(200, file(9, "a", 5, T))),
    })
    .await;
    let (live, _) = live(&server);
    let item = file_id(9);
    assert_eq!(live.link(&item, LinkKind::View).await.expect("a link")["link"], "https://1drv");
    let embed = live.link(&item, LinkKind::Embed).await.expect("html");
    assert_eq!((&embed["link"], embed["embed_html"].is_string()), (&serde_json::json!("https://e"), true));
    assert_eq!(live.add_comment(&item, "hi").await.expect("added")["message"], "hi");
    assert_eq!(live.comments(&item).await.expect("listed").len(), 1);
    live.delete_comment("comment.x.y!1.z").await.expect("deleted");
    assert_eq!(live.recent().await.expect("listed").len(), 1);
    assert_eq!(live.search(&root_id(), "a b").await.expect("found").len(), 1);
    assert_eq!(
        live.thumbnail(&item, ThumbnailSize::Small).await.err().map(|it| it.kind),
        Some(RemoteErrorKind::NotFound)
    );
    assert_eq!(live.versions(&item).await.err().map(|it| it.kind), Some(RemoteErrorKind::Unsupported));
    assert!(server.lines().iter().any(|line| line == "DELETE /v5.0/comment.x.y!1.z?locale=en-US"));
}

use crate::remote::extras::{LinkKind, ThumbnailSize};
