//! Upload sessions.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::Flavour;
use super::{FLAVOURS, Got, World, send, world};

const KIB_320: usize = 320 << 10;

async fn open(w: &World, path: &str, behaviour: &str) -> String {
    let body = json!({"item": {"@microsoft.graph.conflictBehavior": behaviour}});
    let made = w.json("POST", &format!("/me/drive/root:/{path}:/createUploadSession"), body).await.expect(200).json();
    made["uploadUrl"].as_str().expect("an upload URL").to_owned()
}

async fn fragment(w: &World, url: &str, first: usize, bytes: &[u8], total: usize) -> Got {
    let range = format!("bytes {first}-{}/{total}", first + bytes.len() - 1);
    send(w.bare("PUT", url).header("content-range", range).body(bytes.to_vec())).await
}

#[tokio::test]
async fn fragments_become_a_file_on_every_kind_of_drive() {
    for flavour in FLAVOURS {
        let w = world(flavour).await;
        let bytes: Vec<u8> = (0..KIB_320 * 2 + 100).map(|i| i as u8).collect();
        let body = json!({"item": {"@microsoft.graph.conflictBehavior": "fail", "name": "big.bin",
            "fileSystemInfo": {"createdDateTime": "2020-01-01T00:00:00Z", "lastModifiedDateTime": "2021-01-01T00:00:00Z"}}});
        let made = w.json("POST", "/me/drive/root:/big.bin:/createUploadSession", body).await.expect(200).json();
        let url = made["uploadUrl"].as_str().expect("an upload URL");
        let got = fragment(&w, url, 0, &bytes[..KIB_320 * 2], bytes.len()).await.expect(202).json();
        assert_eq!(got["nextExpectedRanges"], json!([format!("{}-{}", KIB_320 * 2, bytes.len() - 1)]));
        assert!(w.emulator.drive().stat("/big.bin").is_none(), "nothing is seen before the end");
        let item = fragment(&w, url, KIB_320 * 2, &bytes[KIB_320 * 2..], bytes.len()).await.expect(201).json();
        assert_eq!(
            item["fileSystemInfo"]["lastModifiedDateTime"].as_str().map(|t| &t[..19]),
            Some("2021-01-01T00:00:00")
        );
        assert_eq!(item["file"]["hashes"]["quickXorHash"], crate::base::hash::QuickXorHash::of(&bytes));
        assert_eq!(w.emulator.drive().read_file("/big.bin"), Some(bytes));
        send(w.bare("GET", url)).await.expect(404);
    }
}

#[tokio::test]
async fn the_rules_of_fragments() {
    let w = world(Flavour::Business).await;
    let url = open(&w, "f", "fail").await;
    let total = KIB_320 * 3;
    let piece = vec![7u8; KIB_320];
    assert_eq!(fragment(&w, &url, KIB_320, &piece, total).await.expect(416).inner(), "fragmentOutOfOrder");
    fragment(&w, &url, 0, &piece, total).await.expect(202);
    assert_eq!(fragment(&w, &url, 0, &piece, total).await.expect(416).inner(), "fragmentOverlap");
    fragment(&w, &url, KIB_320, &piece, total + 1).await.expect(400);
    let short = w.bare("PUT", &url).header("content-range", format!("bytes {KIB_320}-{}/{total}", KIB_320 + 9));
    assert_eq!(send(short.body("12345")).await.expect(400).inner(), "fragmentLengthMismatch");
    let with_token = w.request("PUT", &url).header("content-range", format!("bytes {KIB_320}-{}/{total}", total - 1));
    send(with_token.body(vec![0; KIB_320 * 2])).await.expect(401);
    let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(piece.clone())]);
    let chunked = w.bare("PUT", &url).header("content-range", format!("bytes {KIB_320}-{}/{total}", KIB_320 * 2 - 1));
    send(chunked.body(reqwest::Body::wrap_stream(stream))).await.expect(411);
    let status = send(w.bare("GET", &url)).await.expect(200).json();
    assert_eq!(status["nextExpectedRanges"], json!([format!("{KIB_320}-{}", total - 1)]), "nothing was kept");
    send(w.bare("PUT", &url).header("content-range", "bytes 0--1/0").body("")).await.expect(400);
    send(w.bare("DELETE", &url)).await.expect(204);
    send(w.bare("GET", &url)).await.expect(404);
}

#[tokio::test]
async fn a_crooked_fragment_is_noticed_with_the_last() {
    let w = world(Flavour::PersonalNew).await;
    let url = open(&w, "f", "replace").await;
    fragment(&w, &url, 0, &[1; 1000], 2000).await.expect(202);
    fragment(&w, &url, 1000, &[1; 1000], 2000).await.expect(400);
    assert!(w.emulator.drive().stat("/f").is_none());
}

#[tokio::test]
async fn conflicts_at_the_start_or_at_the_end() {
    let create = "/me/drive/root:/f:/createUploadSession";
    let body = json!({"item": {"@microsoft.graph.conflictBehavior": "fail"}});
    let w = world(Flavour::Business).await;
    w.emulator.drive().create_file("/f", "old");
    w.json("POST", create, body.clone()).await.expect(409);
    w.json("POST", create, json!({})).await.expect(409);
    let url = open(&w, "f", "replace").await;
    let again = json!({"item": {"@microsoft.graph.conflictBehavior": "replace"}});
    assert_eq!(w.json("POST", create, again).await.expect(409).code(), "nameAlreadyExists", "one session per file");
    fragment(&w, &url, 0, b"new", 3).await.expect(200);
    assert_eq!(w.emulator.drive().read_file("/f").as_deref(), Some(&b"new"[..]));
    assert_eq!(w.emulator.drive().versions("/f"), [b"old"]);

    let w = world(Flavour::PersonalNew).await;
    w.emulator.drive().create_file("/f", "old");
    let made = w.json("POST", create, body).await.expect(200).json();
    let url = made["uploadUrl"].as_str().expect("an upload URL");
    assert_eq!(fragment(&w, url, 0, b"new", 3).await.expect(409).code(), "nameAlreadyExists");
    let commit =
        json!({"name": "f", "@microsoft.graph.sourceUrl": url, "@microsoft.graph.conflictBehavior": "replace"});
    w.json("PUT", "/me/drive/root:/f", commit).await.expect(200);
    assert_eq!(w.emulator.drive().read_file("/f").as_deref(), Some(&b"new"[..]));
}

#[tokio::test]
async fn a_deferred_commit_in_both_forms() {
    let body = json!({"item": {"@microsoft.graph.conflictBehavior": "fail"}, "deferCommit": true});
    for flavour in [Flavour::Business, Flavour::PersonalNew] {
        let w = world(flavour).await;
        let made = w.json("POST", "/me/drive/root:/f:/createUploadSession", body.clone()).await.expect(200).json();
        let url = made["uploadUrl"].as_str().expect("an upload URL");
        let waiting = fragment(&w, url, 0, b"new", 3).await.expect(202).json();
        assert_eq!(waiting["nextExpectedRanges"], json!([]));
        assert!(w.emulator.drive().stat("/f").is_none());
        if flavour == Flavour::Business {
            send(w.bare("POST", url).body("")).await.expect(201);
        } else {
            w.json("PUT", "/me/drive/root:/f", json!({"name": "f", "@microsoft.graph.sourceUrl": url}))
                .await
                .expect(201);
        }
        assert!(w.emulator.drive().stat("/f").is_some());
        send(w.bare("GET", url)).await.expect(404);
    }
}

#[tokio::test]
async fn sessions_end_by_time() {
    let w = world(Flavour::Business).await;
    let url = open(&w, "f", "fail").await;
    let total = KIB_320 * 200;
    w.clock.advance(Duration::from_secs(899));
    fragment(&w, &url, 0, &[0; KIB_320], total).await.expect(202);
    w.clock.advance(Duration::from_secs(899));
    fragment(&w, &url, KIB_320, &[0; KIB_320], total).await.expect(202);
    w.clock.advance(Duration::from_secs(901));
    fragment(&w, &url, KIB_320 * 2, &[0; KIB_320], total).await.expect(404);
    let url = open(&w, "g", "fail").await;
    for step in 0..108 {
        w.clock.advance(Duration::from_secs(800));
        let got = fragment(&w, &url, KIB_320 * step, &[0; KIB_320], total).await;
        if got.status != 202 {
            assert_eq!((step, got.status, got.inner().as_str()), (107, 401, "expiredToken"), "after a day");
        }
    }
}

#[tokio::test]
async fn members_that_do_not_belong_are_refused() {
    let w = world(Flavour::Business).await;
    let refused: Vec<Value> = vec![
        json!({"item": {"@microsoft.graph.conflictBehavior": "fail", "colour": 1}}),
        json!({"items": {}}),
        json!({"item": {"name": "other"}}),
        json!({"item": {"fileSize": 10}}),
        json!({"item": {"description": "text"}}),
        json!({"item": {"@microsoft.graph.conflictBehavior": "perhaps"}}),
    ];
    for body in refused {
        let got = w.json("POST", "/me/drive/root:/f:/createUploadSession", body.clone()).await;
        assert_eq!(got.status, 400, "{body}");
    }
    let w = world(Flavour::PersonalNew).await;
    w.emulator.drive().set_quota(5);
    let body = json!({"item": {"fileSize": 10}});
    w.json("POST", "/me/drive/root:/f:/createUploadSession", body).await.expect(507);
}

#[tokio::test]
async fn a_precondition_is_kept_until_the_commit() {
    let w = world(Flavour::PersonalNew).await;
    w.emulator.drive().create_file("/f", "old");
    let etag = w.emulator.drive().stat("/f").expect("there").etag;
    let body = json!({"item": {"@microsoft.graph.conflictBehavior": "replace"}});
    let create = || w.request("POST", "/me/drive/root:/f:/createUploadSession").json(&body);
    send(create().header("if-match", "\"{nothing},1\"")).await.expect(412);
    let made = send(create().header("if-match", etag)).await.expect(200).json();
    let url = made["uploadUrl"].as_str().expect("an upload URL");
    w.emulator.drive().write_file("/f", "theirs");
    fragment(&w, url, 0, b"ours", 4).await.expect(412);
    assert_eq!(w.emulator.drive().read_file("/f").as_deref(), Some(&b"theirs"[..]));
}

#[tokio::test]
async fn a_full_drive_refuses_at_the_end_and_keeps_the_session() {
    let w = world(Flavour::Business).await;
    w.emulator.drive().set_quota(2);
    let url = open(&w, "f", "fail").await;
    assert_eq!(fragment(&w, &url, 0, b"123", 3).await.expect(507).code(), "quotaLimitReached");
    assert!(w.emulator.drive().stat("/f").is_none());
    send(w.bare("GET", &url)).await.expect(200);
    send(w.bare("DELETE", &url)).await.expect(204);
    assert_eq!(w.emulator.drive().open_sessions(), 0);
}

#[tokio::test]
async fn office_files_have_their_own_ways_on_work_drives() {
    let w = world(Flavour::Business).await;
    w.emulator.set_strict(|strict| {
        strict.office_rewrite = true;
        strict.office_first_fragment_missing = true;
    });
    w.emulator.drive().create_file("/f.docx", "old");
    let url = open(&w, "f.docx", "replace").await;
    fragment(&w, &url, 0, b"new", 3).await.expect(404);
    let answer = fragment(&w, &url, 0, b"new", 3).await.expect(200).json();
    assert_eq!(answer["size"], 3);
    let after = w.emulator.drive().stat("/f.docx").expect("there");
    assert_ne!((after.size, Some(after.etag.as_str())), (3, answer["eTag"].as_str()), "rewritten behind the back");
}

#[tokio::test]
async fn a_file_of_a_hundred_megabytes_goes_both_ways() {
    let w = world(Flavour::PersonalNew).await;
    let url = open(&w, "big", "fail").await;
    let (piece, count) = (KIB_320 * 32, 10);
    let bytes: Vec<u8> = (0..piece).map(|i| (i / 7) as u8).collect();
    for step in 0..count {
        let got = fragment(&w, &url, step * piece, &bytes, piece * count).await;
        assert_eq!(got.status, if step + 1 == count { 201 } else { 202 });
    }
    let range = format!("bytes={}-{}", piece * 5 - 10, piece * 5 + 9);
    let part = w.content("/me/drive/root:/big:/content", Some(&range)).await.expect(206).body;
    assert_eq!(part, [&bytes[piece - 10..], &bytes[..10]].concat());
}
