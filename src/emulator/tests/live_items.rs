//! Live Connect: items, listings, ids, errors, the forms of answers.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{Fault, FaultBody, Host, Rule, When};
use super::{Got, World, live_world, send};

fn names(got: &Got) -> Vec<String> {
    let data = got.json()["data"].as_array().cloned().expect("a collection");
    data.iter().map(|entry| entry["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn answers_are_pretty_with_carriage_returns_unless_asked_otherwise() {
    let w = live_world().await;
    let got = w.live_get("me/skydrive").await.expect(200);
    let text = String::from_utf8(got.body.clone()).expect("text");
    assert!(text.starts_with("{\r   \"") && !text.contains('\n'), "{text:?}");
    let root = got.json();
    assert!(root["created_time"].as_str().is_some_and(|time| time.ends_with("+0000") && time.len() == 24));
    assert_eq!((&root["parent_id"], &root["description"]), (&Value::Null, &Value::Null), "null, not left out");
    let got = w.live_get("me/skydrive?pretty=false").await.expect(200);
    assert!(!got.body.contains(&b'\r'));
    let got = w.live_get("me/skydrive?callback=take.it").await.expect(200);
    assert!(got.body.starts_with(b"take.it({") && got.body.ends_with(b"});"));
    let error = w.live_get("me/skydrive/nothing?callback=f").await.expect(200);
    assert!(String::from_utf8_lossy(&error.body).contains("request_url_invalid"), "JSONP hides the status");
    let error = w.live_get("me/skydrive/nothing?suppress_response_codes=true").await.expect(200);
    assert_eq!(error.code(), "request_url_invalid");
    let error = w.live_get("me/skydrive/nothing").await.expect(400);
    assert!(error.body.contains(&b'\r') && !error.body.contains(&b'\n'));
}

#[tokio::test]
async fn ids_have_two_spellings_of_the_account_and_are_taken_as_issued() {
    let w = live_world().await;
    let drive = w.emulator.drive();
    drive.create_file("/Photos/pier.jpg", "x");
    drive.make_album("/Photos");
    let cid = drive.drive_id();
    assert!(cid.starts_with('0') && cid.len() == 16);
    let short = cid.trim_start_matches('0').to_uppercase();
    let album = w.live_get(&w.live_id("/Photos")).await.expect(200).json();
    let id = album["id"].as_str().expect("an id");
    assert!(id.starts_with(&format!("folder.{cid}.{short}!")), "{id}");
    assert_eq!((album["type"].as_str(), album["parent_id"].as_str()), (Some("album"), Some(&*format!("folder.{cid}"))));
    let photo = w.live_get(&w.live_id("/Photos/pier.jpg")).await.expect(200).json();
    assert!(photo["id"].as_str().is_some_and(|id| id.starts_with("file.")));
    assert_eq!(photo["type"], "photo");
    let sizes: Vec<_> = photo["images"].as_array().expect("images").iter().map(|image| &image["type"]).collect();
    assert!(sizes.contains(&&json!("thumbnail")) && !sizes.contains(&&json!("small")));
    let odd = |object: &Value| object.get("x_revision").is_some();
    assert!(odd(&album) != odd(&photo), "some objects have members that nobody knows");
    w.live_get(&id.replace('!', "%21")).await.expect(200);
    w.live_get(&id.replace("folder.", "file.")).await.expect(404);
    w.live_get(&id.replace(&format!(".{short}"), &format!(".0{short}"))).await.expect(404);
    w.live_get(&id.replace("folder.", "album.")).await.expect(400);
    // The root has two names.
    let root = w.live_get(&format!("folder.{cid}")).await.expect(200).json();
    let other = w.live_get(&format!("folder.{cid}.{short}!101")).await.expect(200).json();
    assert_eq!((&root["id"], &root["name"]), (&other["id"], &other["name"]));
    assert_eq!(w.live_get("me").await.expect(200).json()["id"], json!(cid));
    assert_eq!(w.live_get(&cid).await.expect(200).json()["id"], json!(cid));
    assert_eq!(w.live_get(&format!("{cid}/skydrive")).await.expect(200).json()["id"], root["id"]);
}

#[tokio::test]
async fn an_account_without_a_leading_zero_signs_in_too() {
    let mut w = live_world().await;
    let other = w.emulator.add_account(9, "Ines Okafor");
    other.create_file("/a.txt", "hers");
    w.emulator.live().sign_in_as(&other);
    w.token = w.emulator.live().issue_tokens().access;
    let me = w.live_get("me").await.expect(200).json();
    assert_eq!(me["first_name"], "Ines");
    let cid = me["id"].as_str().expect("an id").to_owned();
    assert_ne!(cid.as_bytes()[0], b'0');
    let id = other.live_id("/a.txt").expect("it is there");
    assert!(id.starts_with(&format!("file.{cid}.{}!", cid.to_uppercase())));
    w.live_get(&id).await.expect(200);
    let foreign = w.emulator.drive().live_id("/").expect("a root");
    w.live_get(&foreign).await.expect(404);
}

#[tokio::test]
async fn canonical_folders_change_their_name_with_the_language() {
    let w = live_world().await;
    let id = w.live_get("me/skydrive/my_documents").await.expect(200).json()["id"].clone();
    assert_eq!(w.live_id("/Documents"), id);
    for (locale, name) in [("en-US", "Documents"), ("de-DE", "Dokumente"), ("es", "Documentos")] {
        let got = w.live_get(&format!("me/skydrive/my_documents?locale={locale}")).await.expect(200).json();
        assert_eq!((&got["id"], got["name"].as_str()), (&id, Some(name)));
    }
    w.emulator.set_strict(|strict| strict.live.locale = "de-DE");
    assert_eq!(names(&w.live_get("me/skydrive/files").await), ["Dokumente"]);
    assert_eq!(names(&w.live_get("me/skydrive/files?locale=en-US").await), ["Documents"]);
    for path in ["my_photos", "camera_roll", "public_documents"] {
        w.live_get(&format!("me/skydrive/{path}/files")).await.expect(200);
    }
}

#[tokio::test]
async fn listings_are_cut_by_count_in_no_order_to_rely_on() {
    let w = live_world().await;
    let drive = w.emulator.drive();
    for (name, size) in [("b.txt", 3), ("a.txt", 9), ("d.jpg", 1), ("c.mp3", 5)] {
        drive.create_file(name, vec![0; size]);
    }
    drive.create_folder("/folder");
    let list = async |query: &str| names(&w.live_get(&format!("me/skydrive/files?{query}")).await.expect(200));
    assert_eq!(list("").await, ["b.txt", "a.txt", "d.jpg", "c.mp3", "folder"]);
    assert_eq!(list("sort_by=name").await, ["a.txt", "b.txt", "c.mp3", "d.jpg", "folder"]);
    assert_eq!(list("sort_by=size&sort_order=descending&limit=2").await, ["a.txt", "c.mp3"]);
    assert_eq!(list("limit=2&offset=1").await, ["a.txt", "d.jpg"]);
    assert_eq!(list("offset=5&limit=2").await, [""; 0]);
    assert_eq!(list("filter=photos,audio").await, ["d.jpg", "c.mp3"]);
    assert_eq!(list("filter=folders").await, ["folder"]);
    for bad in ["limit=x", "limit=0", "sort_by=hue", "sort_order=up", "filter=cats"] {
        let got = w.live_get(&format!("me/skydrive/files?{bad}")).await.expect(400);
        assert_eq!(got.code(), "request_parameter_invalid", "{bad}");
    }
    w.emulator.live().shift_listings(1);
    assert_eq!(list("limit=2&offset=2").await, ["a.txt", "d.jpg"], "a row comes twice");
    assert_eq!(list("limit=2&offset=2").await, ["d.jpg", "c.mp3"]);
    w.emulator.live().shift_listings(-1);
    assert_eq!(list("limit=2&offset=2").await, ["c.mp3", "folder"], "a row never comes");
    w.emulator.set_strict(|strict| strict.live.listing_limit_max = Some(3));
    assert_eq!(list("limit=500").await.len(), 3);
}

#[tokio::test]
async fn two_children_may_have_one_name() {
    let w = live_world().await;
    let drive = w.emulator.drive();
    drive.create_file("/a", "1");
    let second = drive.add_duplicate("/a", "2");
    let got = w.live_get("me/skydrive/files").await.expect(200);
    assert_eq!(names(&got), ["a", "a"]);
    assert_ne!(got.json()["data"][0]["id"], got.json()["data"][1]["id"]);
    send(w.live("DELETE", &second)).await.expect(204);
    assert_eq!(drive.read_file("/a"), Some(b"1".to_vec()), "the other one stays");
}

#[tokio::test]
async fn folders_are_made_from_json_and_from_forms() {
    let w = live_world().await;
    let body = json!({"name": "2015", "description": "taxes", "sort_by": "name"});
    let made = w.live_json("POST", "me/skydrive", body.clone()).await.expect(201).json();
    assert_eq!((made["type"].as_str(), made["count"].as_u64()), (Some("folder"), Some(0)));
    assert_eq!((made["description"].as_str(), made["sort_by"].as_str()), (Some("taxes"), Some("name")));
    assert_eq!(w.live_json("POST", "me/skydrive", body.clone()).await.expect(409).code(), "resource_already_exists");
    let second = w.live_json("POST", "me/skydrive?overwrite=ChooseNewName", body).await.expect(201).json();
    assert_eq!(second["name"], "2015 1");
    let id = made["id"].as_str().expect("an id");
    send(w.live("POST", id).form(&[("name", "inner"), ("x", "y")])).await.expect(201);
    assert!(w.emulator.drive().stat("/2015/inner").is_some_and(|item| item.is_folder));
    assert_eq!(w.live_json("POST", id, json!({})).await.expect(400).code(), "request_parameter_missing");
    assert_eq!(w.live_json("POST", id, json!({"name": "a:b"})).await.expect(400).code(), "request_parameter_invalid");
    assert_eq!(send(w.live("POST", id).body("{}")).await.expect(400).code(), "request_body_invalid");
    w.emulator.drive().create_file("/f", "x");
    assert_eq!(
        w.live_json("POST", &w.live_id("/f"), json!({"name": "n"})).await.expect(405).code(),
        "request_method_invalid"
    );
    let album = w.live_json("POST", "me/albums", json!({"name": "Sea"})).await.expect(201).json();
    assert_eq!(album["type"], "album");
    assert_eq!(names(&w.live_get("me/albums").await), ["Sea"]);
}

#[tokio::test]
async fn metadata_is_put_and_only_what_is_writable() {
    let w = live_world().await;
    w.emulator.drive().create_file("/a.txt", "x");
    w.emulator.drive().create_file("/b.txt", "y");
    let id = w.live_id("/a.txt");
    let got = w.live_json("PUT", &id, json!({"name": "c.txt", "description": "so"})).await.expect(200).json();
    assert_eq!((&got["id"], &got["name"], &got["description"]), (&json!(id), &json!("c.txt"), &json!("so")));
    send(w.live("PUT", &id).form(&[("name", "A.txt")])).await.expect(200);
    assert!(w.emulator.drive().stat("/A.txt").is_some());
    assert_eq!(w.live_json("PUT", &id, json!({"name": "B.TXT"})).await.expect(409).code(), "resource_already_exists");
    w.live_json("PUT", &id, json!({"client_updated_time": "2014-01-01T00:00:00+0000"})).await.expect(400);
    w.live_json("PUT", &id, json!({"description": null})).await.expect(200);
    assert_eq!(w.live_json("PUT", "me", json!({"name": "x"})).await.expect(405).code(), "request_method_invalid");
}

#[tokio::test]
async fn deleting_leaves_nothing_to_delete() {
    let w = live_world().await;
    w.emulator.drive().create_file("/d/a", "x");
    let id = w.live_id("/d");
    let got = send(w.live("DELETE", &id)).await.expect(204);
    assert!(got.body.is_empty());
    assert_eq!(send(w.live("DELETE", &id)).await.expect(404).code(), "resource_not_found");
    assert_eq!(w.emulator.drive().recycle_bin().len(), 1);
    send(w.live("DELETE", "me/skydrive")).await.expect(403);
}

#[tokio::test]
async fn files_and_folders_move_files_copy_and_methods_travel_in_queries() {
    let w = live_world().await;
    let drive = w.emulator.drive();
    drive.create_file("/a.txt", "x");
    drive.create_folder("/to");
    drive.create_folder("/tree/sub");
    let (file, to, tree) = (w.live_id("/a.txt"), w.live_id("/to"), w.live_id("/tree"));
    let destination = |id: &str| json!({ "destination": id });
    let copy = w.live_json("COPY", &file, destination(&to)).await.expect(201).json();
    assert_ne!(copy["id"], json!(file));
    assert_eq!(w.live_json("COPY", &file, destination(&to)).await.expect(409).code(), "resource_already_exists");
    let moved =
        w.live_json("MOVE", &format!("{file}?overwrite=ChooseNewName"), destination(&to)).await.expect(201).json();
    assert_eq!((&moved["id"], &moved["name"]), (&json!(file), &json!("a 1.txt")));
    w.live_json("COPY", &tree, destination(&to)).await.expect(400);
    w.live_json("MOVE", &tree, destination(&w.live_id("/tree/sub"))).await.expect(400);
    w.live_json("MOVE", &tree, destination("me/skydrive")).await.expect(400);
    w.live_json("MOVE", &tree, destination(&file)).await.expect(400);
    w.live_json("MOVE", &tree, destination(&to)).await.expect(201);
    assert!(drive.stat("/to/tree/sub").is_some());
    w.emulator.set_strict(|strict| strict.live.special_destinations = true);
    w.live_json("POST", &format!("{file}?method=MOVE"), destination("me/skydrive")).await.expect(201);
    assert!(drive.stat("/a 1.txt").is_some());
    w.live_json("MOVE", &file, destination("me/skydrive/my_documents")).await.expect(201);
    w.emulator.set_strict(|strict| strict.live.folder_moves = false);
    w.live_json("MOVE", &tree, destination("me/skydrive")).await.expect(400);
    send(w.live("GET", &format!("{file}?method=DELETE"))).await.expect(204);
}

#[tokio::test]
async fn links_change_the_item_and_a_read_link_ends_the_edit_link() {
    let w = live_world().await;
    w.emulator.drive().create_file("/a.png", "x");
    let id = w.live_id("/a.png");
    let access = async || w.live_get(&id).await.expect(200).json()["shared_with"]["access"].clone();
    assert_eq!(access().await, "Just me");
    let link = async |kind: &str| w.live_get(&format!("{id}/{kind}")).await.expect(200).json();
    let edit = link("shared_edit_link").await["link"].clone();
    assert_eq!(access().await, "People with a link");
    assert_eq!(link("shared_edit_link").await["link"], edit, "the same again");
    let embed = link("embed").await["embed_html"].as_str().expect("html").to_owned();
    assert!(embed.starts_with("<iframe src=\"http://") && embed.contains("authkey="));
    let read = link("shared_read_link").await["link"].clone();
    assert_ne!(link("shared_edit_link").await["link"], edit, "it was ended");
    let url = super::super::wire::encode(read.as_str().expect("a link"));
    let preview = format!("{}/v5.0/skydrive/get_item_preview?type=normal&url={url}", w.emulator.endpoints().live);
    send(w.bare("GET", &preview)).await.expect(302);
    w.emulator.set_strict(|strict| strict.live.read_link_ends_edit_link = false);
    let edit = link("shared_edit_link").await;
    link("shared_read_link").await;
    assert_eq!(link("shared_edit_link").await, edit);
    assert_eq!(w.live_get(&format!("{id}/shared_link")).await.expect(400).code(), "request_url_invalid");
    assert_eq!(w.live_get("me/skydrive?locale=de").await.json()["shared_with"]["access"], "Nur ich");
}

#[tokio::test]
async fn comments_come_and_go() {
    let w = live_world().await;
    w.emulator.drive().create_file("/a.txt", "x");
    let id = w.live_id("/a.txt");
    let path = format!("{id}/comments");
    let made = w.live_json("POST", &path, json!({"message": "fine\nwork"})).await.expect(201).json();
    let comment = made["id"].as_str().expect("an id");
    assert!(comment.starts_with("comment."));
    send(w.live("POST", &path).form(&[("message", "as a form")])).await.expect(201);
    let all = w.live_get(&path).await.expect(200).json();
    assert_eq!((&all["data"][0]["message"], all["data"].as_array().map(Vec::len)), (&json!("fine\nwork"), Some(2)));
    assert_eq!(w.live_get(&id).await.json()["comments_count"], 2);
    send(w.live("DELETE", comment)).await.expect(204);
    send(w.live("DELETE", comment)).await.expect(404);
    w.live_json("POST", &path, json!({"message": "x".repeat(10_001)})).await.expect(400);
    w.live_json("POST", &path, json!({})).await.expect(400);
    w.emulator.drive().forbid_comments("/a.txt");
    assert_eq!(w.live_get(&id).await.json()["comments_enabled"], false);
    w.live_json("POST", &path, json!({"message": "no"})).await.expect(403);
}

#[tokio::test]
async fn quota_recent_search_and_shared() {
    let mut w = live_world().await;
    let drive = w.emulator.drive().clone();
    drive.set_quota(1000);
    drive.create_file("/old.txt", vec![0; 40]);
    w.clock.advance(Duration::from_secs(5));
    drive.create_file("/Deep/new report.txt", vec![0; 60]);
    drive.create_file("/photo.jpg", "");
    assert_eq!(w.live_get("me/skydrive/quota").await.expect(200).json(), json!({"quota": 1000, "available": 900}));
    assert_eq!(names(&w.live_get("me/skydrive/recent_docs").await), ["new report.txt", "old.txt"]);
    assert_eq!(names(&w.live_get("me/skydrive/search?q=REPORT").await), ["new report.txt"]);
    assert_eq!(names(&w.live_get("me/skydrive/search?q=o&limit=1&offset=1").await).len(), 1);
    assert!(w.live_get("me/skydrive/search?q=o&limit=1").await.json()["paging"]["next"].is_string());
    assert_eq!(w.live_get("me/skydrive/search").await.expect(400).code(), "request_parameter_missing");
    let other = w.emulator.add_account(4, "Bo Other");
    other.create_file("/Ours/theirs.txt", "t");
    drive.add_shortcut("/link", &other, "/Ours");
    assert_eq!(names(&w.live_get("me/skydrive/files").await).len(), 3, "shortcuts are of a later time");
    assert_eq!(w.live_get("me/skydrive/shared").await.expect(403).code(), "request_token_unauthorized");
    let id = other.live_id("/Ours/theirs.txt").expect("it is there");
    w.live_get(&id).await.expect(403);
    w.token = w.emulator.live().issue_tokens_for("00000000541C0E27", "wl.skydrive_update wl.contacts_skydrive").access;
    assert_eq!(names(&w.live_get("me/skydrive/shared").await.expect(200)), ["Ours"]);
    assert_eq!(w.live_get(&id).await.expect(200).json()["from"]["name"], "Bo Other");
    send(w.live("DELETE", &id)).await.expect(403);
}

#[tokio::test]
async fn notebooks_are_listed_and_cannot_be_read() {
    let w = live_world().await;
    w.emulator.drive().add_package("/Notes");
    let id = w.live_id("/Notes");
    let notebook = w.live_get(&id).await.expect(200).json();
    assert_eq!(notebook["type"], "notebook");
    assert!(notebook.get("source").is_none() && notebook.get("upload_location").is_none());
    let refused = w.live_get(&format!("{id}/content")).await.expect(400);
    assert_eq!(refused.code(), "request_url_invalid");
    assert_eq!(refused.json()["error"]["message"], "Resource type 'notebook' doesn't support the path 'content'.");
}

#[tokio::test]
async fn previews_redirect_to_images() {
    let w = live_world().await;
    w.emulator.drive().create_file("/a.jpg", "x");
    w.emulator.drive().create_file("/a.txt", "x");
    let id = w.live_id("/a.jpg");
    for kind in ["", "?type=small", "?type=thumbnail", "?type=full"] {
        let got = w.live_get(&format!("{id}/picture{kind}")).await.expect(302);
        let image = send(w.bare("GET", got.header("location"))).await.expect(200);
        assert!(image.body.starts_with(b"\x89PNG"));
    }
    w.live_get(&format!("{id}/picture?type=vast")).await.expect(400);
    let refused = w.live_get(&format!("{}/picture", w.live_id("/a.txt"))).await.expect(400);
    assert_eq!(refused.code(), "request_url_invalid");
    w.live_get("me/picture").await.expect(302);
}

#[tokio::test]
async fn throttling_is_420_without_a_time_to_wait() {
    let w = live_world().await;
    w.emulator.throttle(Duration::from_secs(60));
    let got = w.live_get("me/skydrive").await.expect(420);
    assert_eq!((got.code().as_str(), got.header("retry-after")), ("request_throttled", ""));
    w.clock.advance(Duration::from_secs(61));
    w.live_get("me/skydrive").await.expect(200);
}

#[tokio::test]
async fn faults_strike_before_during_and_after() {
    let w = live_world().await;
    w.emulator.drive().create_folder("/to");
    let faults = w.emulator.faults();
    faults.add(Rule::once("MOVE", "/v5.0/*", Fault::status(When::After, 503, "server_busy")).on(Host::Live));
    w.emulator.drive().create_file("/a", "x");
    let (file, to) = (w.live_id("/a"), w.live_id("/to"));
    let got = w.live_json("POST", &format!("{file}?method=MOVE"), json!({"destination": to})).await.expect(503);
    assert_eq!(got.json()["error"], json!({"code": "server_busy", "message": "A scripted fault."}));
    assert!(w.emulator.drive().stat("/to/a").is_some(), "it took effect");
    assert!(w.emulator.requests().iter().any(|seen| seen.host == Host::Live && seen.method == "MOVE"));
    let html =
        Fault::Answer { when: When::Before, status: 500, body: FaultBody::Html, retry_after: None, location: None };
    faults.add(Rule::once("GET", "/v5.0/me/skydrive/files*", html).on(Host::Live));
    assert!(w.live_get("me/skydrive/files").await.expect(500).header("content-type").starts_with("text/html"));
    faults.add(Rule::once("PUT", "*", Fault::Reset { when: When::Halfway }).on(Host::Live));
    let cut = super::try_send(w.live("PUT", "me/skydrive/files/half").body(vec![0; 4 << 20])).await;
    assert!(cut.is_err() && w.emulator.drive().stat("/half").is_none(), "a broken body is forgotten");
    faults.add(Rule::once("DELETE", "*", Fault::Reset { when: When::Before }));
    let cut = super::try_send(w.live("DELETE", &file)).await;
    assert!(cut.is_err() && w.emulator.drive().stat("/to/a").is_some());
    faults.add(Rule::once("DELETE", "*", Fault::Reset { when: When::After }));
    let cut = super::try_send(w.live("DELETE", &file)).await;
    assert!(cut.is_err() && w.emulator.drive().stat("/to/a").is_none());
}

#[tokio::test]
async fn pages_can_come_in_disorder_or_empty() {
    let w = live_world().await;
    w.emulator.drive().create_file("/a", "x");
    w.emulator.drive().create_file("/b", "x");
    w.emulator.faults().add(Rule::once("GET", "*/files*", Fault::Disorder).on(Host::Live));
    w.emulator.faults().add(Rule::once("GET", "*/files*", Fault::EmptyPage).on(Host::Live));
    assert_eq!(names(&w.live_get("me/skydrive/files").await), ["b", "a", "a", "b"]);
    assert_eq!(names(&w.live_get("me/skydrive/files").await), [""; 0]);
}

#[tokio::test]
async fn work_drives_do_not_speak_it() {
    let mut w = super::world(super::super::Flavour::Business).await;
    w.token = w.emulator.live().issue_tokens().access;
    w.live_get("me/skydrive").await.expect(403);
    assert_eq!(w.emulator.drive().live_id("/"), None);
}

#[tokio::test]
async fn header_names_come_in_both_spellings() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let w = live_world().await;
    let address = w.emulator.endpoints().live.replace("http://", "");
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..16 {
        let mut stream = tokio::net::TcpStream::connect(&address).await.expect("a connection");
        let ask = format!("GET /v5.0/me HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("an answer");
        assert!(text.starts_with("HTTP/1.1 401"), "{text}");
        seen.insert(text.contains("Content-Type:"));
    }
    assert_eq!(seen.len(), 2);
}

/// Ids of both protocols name the same items of one drive.
#[tokio::test]
async fn one_drive_under_two_protocols() {
    let w: World = super::live_world_with(|options| options.flavour = super::super::Flavour::PersonalNew).await;
    let drive = w.emulator.drive();
    let graph = drive.create_file("/a.txt", "same");
    let live = w.live_id("/a.txt");
    assert_ne!(graph, live);
    assert_eq!(drive.stat_id(&live).map(|item| item.id), Some(graph.clone()));
    let short = live.rsplit('.').next().expect("a part");
    assert_eq!(drive.read_id(short), drive.read_id(&graph));
    let graph_token = w.emulator.oauth().issue_tokens().access;
    send(w.bare("GET", &format!("/me/drive/items/{graph}")).bearer_auth(&graph_token)).await.expect(200);
    w.live_get(&live).await.expect(200);
    let wrong = w.bare("GET", &format!("{}/v5.0/me", w.emulator.endpoints().live)).bearer_auth(&graph_token);
    assert_eq!(send(wrong).await.expect(401).code(), "request_token_invalid");
}
