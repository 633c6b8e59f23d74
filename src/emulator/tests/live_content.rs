//! Live Connect: downloads and uploads in one request.

use std::time::Duration;

use serde_json::Value;

use super::super::{Fault, Gzip, Host, Rule};
use super::{Got, World, live_world, send, try_send};

/// The pre-authenticated URL of a file's content.
async fn source(w: &World, path: &str) -> String {
    let got = w.live_get(&format!("{}/content?download=true", w.live_id(path))).await.expect(302);
    got.header("location").to_owned()
}

async fn read(w: &World, url: &str, range: &str) -> Got {
    send(w.bare("GET", url).header("range", range).header("accept-encoding", "identity")).await
}

fn chunked(bytes: &[u8]) -> reqwest::Body {
    reqwest::Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(bytes.to_vec())]))
}

#[tokio::test]
async fn content_is_elsewhere_and_takes_ranges_but_no_token() {
    let w = live_world().await;
    w.emulator.drive().create_file("/a b.txt", "0123456789");
    let url = source(&w, "/a b.txt").await;
    assert!(url.starts_with(&w.emulator.storage_url()));
    let got = send(w.bare("GET", &url)).await.expect(200);
    assert_eq!(got.body, b"0123456789");
    assert!(got.header("content-disposition").starts_with("attachment"));
    for (range, body, shown) in
        [("bytes=0-3", "0123", "bytes 0-3/10"), ("bytes=8-", "89", "bytes 8-9/10"), ("bytes=-3", "789", "bytes 7-9/10")]
    {
        let got = read(&w, &url, range).await.expect(206);
        assert_eq!((String::from_utf8_lossy(&got.body), got.header("content-range")), (body.into(), shown));
    }
    assert_eq!(read(&w, &url, "bytes=10-").await.expect(416).header("content-range"), "bytes */10");
    let refused = send(w.live("GET", &url)).await.expect(401);
    assert!(refused.body.is_empty() && refused.header("www-authenticate").contains("OneDriveAPI"));
    send(w.bare("GET", &format!("{url}x"))).await.expect(401);
    send(w.bare("GET", &format!("{url}&access_token=x"))).await.expect(401);
    let id = w.live_id("/a b.txt");
    let told = w.live_get(&format!("{id}/content?suppress_redirects=true&download=true")).await.expect(200).json();
    read(&w, told["location"].as_str().expect("a URL"), "bytes=0-0").await.expect(206);
    let object = w.live_get(&id).await.json();
    let got = send(w.bare("GET", object["source"].as_str().expect("a URL"))).await.expect(200);
    assert!(got.header("content-disposition").starts_with("inline"));
    w.live_get(&format!("{}/content", w.live_id("/"))).await.expect(400);
}

#[tokio::test]
async fn a_url_that_is_too_old_gives_nothing_with_200() {
    let w = live_world().await;
    w.emulator.drive().create_file("/a", "content");
    let url = source(&w, "/a").await;
    w.clock.advance(Duration::from_secs(901));
    let got = send(w.bare("GET", &url)).await.expect(200);
    assert!(got.body.is_empty() && got.header("www-authenticate").contains("expired_token"));
    w.emulator.set_strict(|strict| strict.live.expired_source_is_empty = false);
    send(w.bare("GET", &url)).await.expect(401);
    let url = source(&w, "/a").await;
    w.emulator.drive().remove("/a");
    assert_eq!(send(w.bare("GET", &url)).await.expect(404).header("x-clienterrorcode"), "ItemDoesNotExist");
}

#[tokio::test]
async fn content_comes_compressed_when_that_was_offered_or_by_a_switch() {
    let w = live_world().await;
    w.emulator.drive().create_file("/a.txt", "plain text");
    let url = source(&w, "/a.txt").await;
    let offered =
        async || send(w.bare("GET", &url).header("accept-encoding", "gzip").header("range", "bytes=0-4")).await;
    let got = offered().await.expect(206);
    assert_eq!((got.header("content-encoding"), &got.body[..2]), ("gzip", &[0x1f, 0x8b][..]));
    assert_eq!(got.body[15..20], *b"plain", "blocks are stored");
    assert_eq!(read(&w, &url, "bytes=0-4").await.expect(206).header("content-encoding"), "");
    w.emulator.set_strict(|strict| strict.live.gzip = Gzip::Unasked);
    assert_eq!(read(&w, &url, "bytes=0-4").await.expect(206).header("content-encoding"), "gzip");
    w.emulator.set_strict(|strict| strict.live.gzip = Gzip::Never);
    assert_eq!(offered().await.expect(206).body, b"plain");
}

#[tokio::test]
async fn ranges_can_be_ignored_and_answers_cut_short() {
    let w = live_world().await;
    w.emulator.drive().create_file("/a", "0123456789");
    let url = source(&w, "/a").await;
    w.emulator.set_strict(|strict| strict.ignore_range = true);
    assert_eq!(read(&w, &url, "bytes=2-3").await.expect(200).body.len(), 10);
    w.emulator.set_strict(|strict| strict.ignore_range = false);
    w.emulator.faults().add(Rule::once("GET", "/y2m/*", Fault::Truncate { to: 4 }).on(Host::Storage));
    assert_eq!(send(w.bare("GET", &url)).await.expect(200).body, b"0123");
    w.emulator.faults().add(Rule::once("GET", "/y2m/*", Fault::EmptyBody).on(Host::Storage));
    assert!(send(w.bare("GET", &url)).await.expect(200).body.is_empty());
}

#[tokio::test]
async fn an_upload_answers_with_three_members_in_either_coding() {
    let w = live_world().await;
    let path = "me/skydrive/files/price%20list%23%25.ods";
    let made = send(w.live("PUT", path).body(chunked(b"one"))).await.expect(201).json();
    let members: Vec<_> = made.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(members, ["id", "name", "source"]);
    assert_eq!(made["name"], "price list#%.ods");
    let again = send(w.live("PUT", path).body("two")).await.expect(200).json();
    assert_eq!(again["id"], made["id"], "replaced, not made anew");
    assert_eq!(w.emulator.drive().read_file("/price list#%.ods"), Some(b"two".to_vec()));
    send(w.live("PUT", "me/skydrive/files/empty").body("")).await.expect(201);
    assert_eq!(w.emulator.drive().read_file("/empty"), Some(Vec::new()));
    let id = made["id"].as_str().expect("an id");
    let object = w.live_get(id).await.expect(200).json();
    let location = object["upload_location"].as_str().expect("a URL");
    assert!(location.contains("/content/?"), "it carries a query already");
    send(w.live("PUT", location).body("three")).await.expect(200);
    assert_eq!(w.emulator.drive().read_file("/price list#%.ods"), Some(b"three".to_vec()));
    send(w.live("PUT", &format!("{id}/files/x")).body("")).await.expect(400);
    send(w.live("PUT", &format!("{}/content", w.live_id("/"))).body("")).await.expect(400);
    send(w.live("PUT", "me/skydrive/files/a%3Ab").body("")).await.expect(400);
}

#[tokio::test]
async fn overwriting_three_ways_and_a_fourth() {
    let w = live_world().await;
    let put = async |query: &str| send(w.live("PUT", &format!("me/skydrive/files/a.txt{query}")).body("x")).await;
    put("?overwrite=false").await.expect(201);
    assert_eq!(put("?overwrite=false").await.expect(409).code(), "resource_already_exists");
    let by_header = w.live("PUT", "me/skydrive/files/a.txt").header("overwrite", "false").body("x");
    send(by_header).await.expect(409);
    put("?overwrite=true").await.expect(200);
    put("").await.expect(200);
    for (spelling, name) in [("ChooseNewName", "a 1.txt"), ("choosenewname", "a 2.txt")] {
        let made = put(&format!("?overwrite={spelling}")).await.expect(201).json();
        assert_eq!(made["name"], name);
    }
    assert_eq!(put("?overwrite=maybe").await.expect(400).code(), "request_parameter_invalid");
    w.emulator.set_strict(|strict| strict.live.overwrite_false_duplicates = true);
    put("?overwrite=false").await.expect(201);
    assert_eq!(w.emulator.drive().list("/").len(), 4);
}

#[tokio::test]
async fn photos_change_unless_told_not_to() {
    let w = live_world().await;
    let bytes = vec![7u8; 400];
    let put =
        async |query: &str| send(w.live("PUT", &format!("me/skydrive/files/p.JPG{query}")).body(bytes.clone())).await;
    put("").await.expect(201);
    assert_ne!(w.emulator.drive().read_file("/p.JPG"), Some(bytes.clone()));
    put("?downsize_photo_uploads=true").await.expect(200);
    assert_ne!(w.emulator.drive().read_file("/p.JPG"), Some(bytes.clone()));
    put("?downsize_photo_uploads=false").await.expect(200);
    assert_eq!(w.emulator.drive().read_file("/p.JPG"), Some(bytes.clone()));
    put("?downsize_photo_uploads=maybe").await.expect(400);
}

#[tokio::test]
async fn a_form_carries_one_file_with_a_type() {
    let w = live_world().await;
    let post = async |body: String, kind: &str| {
        send(w.live("POST", "me/skydrive/files").header("content-type", kind).body(body)).await
    };
    let form = |name: &str, kind: &str| {
        format!(
            "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n{kind}\r\nhello\r\n--XX--\r\n"
        )
    };
    let multipart = "multipart/form-data; boundary=XX";
    let made = post(form("a.txt", "Content-Type: text/plain\r\n"), multipart).await.expect(201).json();
    assert_eq!(made["name"], "a.txt");
    assert_eq!(w.emulator.drive().read_file("/a.txt"), Some(b"hello".to_vec()));
    let refused = post(form("b.txt", ""), multipart).await.expect(400);
    assert_eq!(refused.code(), "request_body_invalid");
    assert_eq!(refused.json()["error"]["message"], "The request doesn't include a Content-Type header.");
    let mangled = post(form("é.txt", "Content-Type: text/plain\r\n"), multipart).await.expect(201).json();
    assert_eq!(mangled["name"], "Ã©.txt", "PUT is for such names");
    post("hello".into(), "text/plain").await.expect(400);
}

#[tokio::test]
async fn the_limits_of_one_request() {
    let w = live_world().await;
    w.emulator.set_strict(|strict| strict.live.upload_limit = 1000);
    send(w.live("PUT", "me/skydrive/files/a").body(vec![0; 1001])).await.expect(413);
    send(w.live("PUT", "me/skydrive/files/a").body(chunked(&[0; 1001]))).await.expect(413);
    assert!(w.emulator.drive().stat("/a").is_none());
    w.emulator.drive().set_quota(500);
    let full = send(w.live("PUT", "me/skydrive/files/a").body(vec![0; 501])).await.expect(507);
    assert_eq!(full.code(), "resource_quota_exceeded");
    w.emulator.drive().create_file("/l", "x");
    w.emulator.drive().lock("/l");
    send(w.live("PUT", "me/skydrive/files/l").body("y")).await.expect(423);
}

#[tokio::test]
async fn by_a_switch_a_put_with_a_length_is_never_answered() {
    let w = live_world().await;
    w.emulator.set_strict(|strict| strict.live.put_with_length_hangs = true);
    let clock = w.clock.clone();
    let asked = tokio::spawn(try_send(w.live("PUT", "me/skydrive/files/a").body("x")));
    while !asked.is_finished() {
        clock.advance(Duration::from_secs(10));
        tokio::task::yield_now().await;
    }
    assert!(asked.await.expect("it ends").is_err());
    assert!(w.emulator.drive().stat("/a").is_none());
    let made: Value = send(w.live("PUT", "me/skydrive/files/a").body(chunked(b"x"))).await.expect(201).json();
    assert_eq!(made["name"], "a");
}
