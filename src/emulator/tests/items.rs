//! Reading, listing, making, renaming, deleting.

use serde_json::json;

use super::super::{Flavour, PatchAnswer};
use super::{FLAVOURS, send, world, world_with};

#[tokio::test]
async fn a_file_goes_in_and_comes_out_on_every_kind_of_drive() {
    for flavour in FLAVOURS {
        let w = world(flavour).await;
        let made = w.put("/me/drive/root:/a%20b%23.txt:/content", "hello world\n").await.expect(201).json();
        assert_eq!(made["name"], "a b#.txt");
        assert_eq!(made["size"], 12);
        assert_eq!(made["file"]["hashes"]["quickXorHash"], "aCgDG9jwBhDc4Q1ybAMZFAAAAAA=");
        let id = made["id"].as_str().expect("an id");
        let drive = made["parentReference"]["driveId"].as_str().expect("a drive id");
        let got = w.content(&format!("/drives/{drive}/items/{id}/content"), None).await.expect(200);
        assert_eq!(got.body, b"hello world\n");
        w.put(&format!("/drives/{drive}/items/{id}/content"), "new").await.expect(200);
        assert_eq!(w.emulator.drive().read_file("/A B#.TXT").as_deref(), Some(&b"new"[..]), "case does not matter");
        assert_eq!(w.emulator.drive().versions("a b#.txt"), [b"hello world\n"]);
    }
}

#[tokio::test]
async fn the_content_host_wants_no_token_and_an_unchanged_url() {
    let w = world(Flavour::Business).await;
    w.emulator.drive().create_file("/f", "0123456789");
    let item = w.get("/me/drive/root:/f").await.expect(200).json();
    let url = item["@microsoft.graph.downloadUrl"].as_str().expect("a download URL").to_owned();
    assert!(!url.starts_with(&w.emulator.endpoints().graph), "another authority");
    send(w.bare("GET", &url)).await.expect(200);
    assert_eq!(send(w.request("GET", &url)).await.expect(401).code(), "unauthenticated");
    send(w.bare("GET", &format!("{url}&x=1"))).await.expect(401);
    let part = send(w.bare("GET", &url).header("range", "bytes=2-4")).await.expect(206);
    assert_eq!((part.body.as_slice(), part.header("content-range")), (&b"234"[..], "bytes 2-4/10"));
    let past = send(w.bare("GET", &url).header("range", "bytes=10-")).await.expect(416);
    assert_eq!(past.header("content-range"), "bytes */10");
    w.clock.advance(std::time::Duration::from_secs(3601));
    send(w.bare("GET", &url)).await.expect(401);
}

#[tokio::test]
async fn a_selection_drops_the_download_url_unless_it_is_named() {
    let w = world(Flavour::PersonalNew).await;
    w.emulator.drive().create_file("/f", "x");
    let item = w.get("/me/drive/root:/f?$select=id,name").await.expect(200).json();
    assert_eq!(item.as_object().map(|item| item.len()), Some(3), "context, id and name: {item}");
    let item = w.get("/me/drive/root:/f?$select=id,@microsoft.graph.downloadUrl").await.expect(200).json();
    assert!(item["@microsoft.graph.downloadUrl"].is_string());
}

#[tokio::test]
async fn no_token_a_wrong_one_and_an_old_one_are_refused() {
    let w = world(Flavour::PersonalNew).await;
    let got = send(w.bare("GET", "/me/drive")).await.expect(401);
    assert_eq!(got.code(), "InvalidAuthenticationToken");
    send(w.bare("GET", "/me/drive").bearer_auth("nonsense")).await.expect(401);
    w.get("/me/drive").await.expect(200);
    w.clock.advance(std::time::Duration::from_secs(3600));
    w.get("/me/drive").await.expect(401);
}

#[tokio::test]
async fn listings_come_in_pages_that_forget_nothing() {
    let w = world(Flavour::Business).await;
    for number in 0..25 {
        w.emulator.drive().create_file(&format!("/d/{number:02}"), format!("{number}"));
    }
    let mut url = "/me/drive/root:/d:/children?$top=10&$select=name".to_owned();
    let mut names = Vec::new();
    let mut pages = 0;
    loop {
        let page = w.get(&url).await.expect(200).json();
        pages += 1;
        names.extend(page["value"].as_array().expect("a list").iter().map(|item| item["name"].to_string()));
        match page["@odata.nextLink"].as_str() {
            Some(next) => url = next.to_owned(),
            None => break,
        }
    }
    assert_eq!((pages, names.len()), (3, 25));
    assert_eq!(w.get(&url.replace("skiptoken=", "skiptoken=x")).await.expect(400).code(), "invalidRequest");
    w.clock.advance(std::time::Duration::from_secs(3599));
    w.get(&url).await.expect(200);
    assert_eq!(w.get("/me/drive/root/children?$skip=1").await.expect(400).inner(), "invalidQueryOption");
}

#[tokio::test]
async fn folders_and_their_conflicts() {
    let w = world(Flavour::Business).await;
    let make =
        |behaviour: &'static str| json!({"name": "Docs", "folder": {}, "@microsoft.graph.conflictBehavior": behaviour});
    let first = w.json("POST", "/me/drive/root/children", make("fail")).await.expect(201).json();
    assert_eq!(w.json("POST", "/me/drive/root/children", make("fail")).await.expect(409).code(), "nameAlreadyExists");
    let same = w.json("POST", "/me/drive/items/root/children", make("replace")).await.expect(200).json();
    assert_eq!(same["id"], first["id"]);
    let other = w.json("POST", "/me/drive/root/children", make("rename")).await.expect(201).json();
    assert_eq!(other["name"], "Docs 1");
    let bad = json!({"name": "a:b", "folder": {}});
    assert_eq!(w.json("POST", "/me/drive/root/children", bad).await.expect(400).inner(), "invalidPath");
    let unknown = json!({"name": "x", "folder": {}, "colour": "red"});
    w.json("POST", "/me/drive/root/children", unknown).await.expect(400);
    assert!(first["cTag"].is_null(), "folders of work drives have no content tag");
}

#[tokio::test]
async fn rename_move_and_their_guards() {
    let w = world(Flavour::PersonalNew).await;
    let drive = w.emulator.drive();
    drive.create_file("/a/f.txt", "f");
    drive.create_file("/b/g.txt", "g");
    let (f, b, a) = (w.id("/a/f.txt"), w.id("/b"), w.id("/a"));
    let item = format!("/me/drive/items/{f}");
    let moved = w.json("PATCH", &item, json!({"name": "h.txt", "parentReference": {"id": b}})).await.expect(200).json();
    assert_eq!((moved["id"].as_str(), moved["name"].as_str()), (Some(f.as_str()), Some("h.txt")));
    assert_eq!(w.json("PATCH", &item, json!({"name": "G.TXT"})).await.expect(409).code(), "nameAlreadyExists");
    let replace = json!({"name": "g.txt", "@microsoft.graph.conflictBehavior": "replace"});
    w.json("PATCH", &item, replace).await.expect(200);
    assert_eq!(drive.read_file("/b/g.txt").as_deref(), Some(&b"f"[..]));
    assert_eq!(drive.recycle_bin().len(), 1, "the replaced file is in the recycle bin");
    w.json("PATCH", &item, json!({"name": "G.txt"})).await.expect(200);
    assert_eq!(drive.list("/b")[0].name, "G.txt", "a change of case only is a rename");
    w.json("PATCH", &item, json!({"parentReference": {"id": "root"}})).await.expect(400);
    w.json("PATCH", &item, json!({})).await.expect(400);
    w.json("PATCH", &format!("/me/drive/items/{a}"), json!({"parentReference": {"id": a}})).await.expect(400);
    w.json("PATCH", "/me/drive/root", json!({"name": "x"})).await.expect(403);
    let gone = w.id("/a");
    drive.remove("/a");
    w.json("PATCH", &item, json!({"parentReference": {"id": gone}})).await.expect(404);
}

#[tokio::test]
async fn a_quiet_patch_changes_something_or_nothing() {
    let w = world(Flavour::PersonalNew).await;
    w.emulator.drive().create_file("/f", "x");
    let item = format!("/me/drive/items/{}", w.id("/f"));
    w.emulator.set_strict(|strict| strict.patch_answer = PatchAnswer::EmptyIgnored);
    assert!(w.json("PATCH", &item, json!({"name": "g"})).await.expect(204).body.is_empty());
    assert!(w.emulator.drive().stat("/f").is_some());
    w.json("PATCH", "/me/drive/root:/f:", json!({"name": "g"})).await.expect(200);
    w.emulator.set_strict(|strict| strict.patch_answer = PatchAnswer::EmptyApplied);
    w.json("PATCH", &item, json!({"name": "h"})).await.expect(204);
    assert!(w.emulator.drive().stat("/h").is_some());
}

#[tokio::test]
async fn preconditions_hold_or_give_412() {
    let w = world(Flavour::Business).await;
    w.emulator.drive().create_file("/f", "1");
    let before = w.emulator.drive().stat("/f").expect("there");
    let path = "/me/drive/root:/f:/content";
    send(w.request("PUT", path).header("if-match", &before.etag).body("2")).await.expect(200);
    let stale = send(w.request("PUT", path).header("if-match", &before.etag).body("3")).await.expect(412);
    assert_eq!(stale.code(), "resourceModified");
    let now = w.emulator.drive().stat("/f").expect("there");
    assert_ne!((&now.etag, &now.ctag), (&before.etag, &before.ctag));
    let item = format!("/me/drive/items/{}", now.id);
    let patch = |tag: &str| w.request("PATCH", &item).header("if-match", tag).json(&json!({"name": "g"}));
    send(patch(&before.etag)).await.expect(412);
    send(patch(&now.ctag)).await.expect(200);
    send(w.request("DELETE", &item).header("if-match", &now.etag)).await.expect(412);
    let now = w.emulator.drive().stat("/g").expect("there");
    let same = send(w.request("GET", &item).header("if-none-match", &now.etag)).await.expect(304);
    assert!(same.body.is_empty());
    send(w.request("DELETE", &item).header("if-match", &now.etag)).await.expect(204);
    w.get(&item).await.expect(404);
}

#[tokio::test]
async fn a_rename_moves_the_etag_only() {
    let w = world(Flavour::Business).await;
    w.emulator.drive().create_file("/f", "1");
    let before = w.emulator.drive().stat("/f").expect("there");
    w.emulator.drive().rename("/f", "/g");
    let after = w.emulator.drive().stat("/g").expect("there");
    assert_ne!(after.etag, before.etag);
    assert_eq!(after.ctag, before.ctag);
}

#[tokio::test]
async fn times_are_set_and_cost_a_version_on_work_drives() {
    for (flavour, versions) in [(Flavour::Business, 1), (Flavour::PersonalNew, 0)] {
        let w = world(flavour).await;
        w.emulator.drive().create_file("/f", "1");
        let body = json!({"fileSystemInfo": {"createdDateTime": "2020-01-02T03:04:05Z",
            "lastModifiedDateTime": "2021-01-02T03:04:05.678Z"}});
        let item = w.json("PATCH", "/me/drive/root:/f", body).await.expect(200).json();
        assert_eq!(item["fileSystemInfo"]["createdDateTime"], "2020-01-02T03:04:05Z");
        assert_eq!(item["fileSystemInfo"]["lastModifiedDateTime"], "2021-01-02T03:04:05Z", "whole seconds");
        assert_eq!(w.emulator.drive().versions("/f").len(), versions);
    }
}

#[tokio::test]
async fn locks_quota_and_limits_refuse() {
    let w = world(Flavour::PersonalNew).await;
    let drive = w.emulator.drive();
    drive.create_file("/f", "1234");
    drive.lock("/f");
    assert_eq!(w.put("/me/drive/root:/f:/content", "x").await.expect(423).code(), "resourceLocked");
    send(w.request("DELETE", "/me/drive/root:/f")).await.expect(423);
    drive.unlock("/f");
    drive.set_quota(10);
    assert_eq!(w.put("/me/drive/root:/g:/content", "1234567").await.expect(507).code(), "quotaLimitReached");
    w.put("/me/drive/root:/f:/content", "0123456789").await.expect(200);
    let quota = &w.get("/me/drive").await.expect(200).json()["quota"];
    assert_eq!((&quota["used"], &quota["state"]), (&json!(10), &json!("exceeded")));
    w.emulator.set_strict(|strict| strict.simple_put_limit = 4);
    w.put("/me/drive/root:/f:/content", "12345").await.expect(413);
    drive.infect("/f");
    assert_eq!(w.get("/me/drive/root:/f:/content").await.expect(403).code(), "malwareDetected");
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let w = world(Flavour::Business).await;
    w.emulator.drive().create_file("/f", "1");
    w.get("/me/drive/items/01NOTHINGOFTHISDRIVEXXXXXXXXXXXXXX").await.expect(404);
    w.get("/me/drive/items/nonsense").await.expect(400);
    w.get("/me/drive/items/root:/:").await.expect(400);
    w.put("/me/drive/root:/no/such/f:/content", "x").await.expect(404);
    w.get("/me/drive/root:/f:/children").await.expect(400);
    assert_eq!(w.get("/me/drive/root:/f:/analytics").await.expect(501).code(), "notSupported");
    assert_eq!(w.get("/me/messages").await.expect(501).code(), "notSupported");
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>("abc")]);
    let chunked = w.request("PUT", "/me/drive/root:/f:/content").body(reqwest::Body::wrap_stream(chunks));
    send(chunked).await.expect(411);
}

#[tokio::test]
async fn deleting_restoring_and_deleting_for_good_differ_by_kind() {
    let w = world(Flavour::PersonalNew).await;
    w.emulator.drive().create_file("/d/f", "12");
    let (d, f) = (w.id("/d"), w.id("/d/f"));
    send(w.request("DELETE", &format!("/me/drive/items/{d}"))).await.expect(204);
    w.get(&format!("/me/drive/items/{f}")).await.expect(404);
    send(w.request("POST", &format!("/me/drive/items/{d}/permanentDelete")).body("")).await.expect(405);
    w.json("POST", &format!("/me/drive/items/{d}/restore"), json!({})).await.expect(200);
    assert_eq!(w.emulator.drive().read_file("/d/f").as_deref(), Some(&b"12"[..]));

    let w = world(Flavour::Business).await;
    w.emulator.drive().create_file("/f", "12");
    send(w.request("POST", "/me/drive/root:/f:/permanentDelete").body("")).await.expect(204);
    assert!(w.emulator.drive().recycle_bin().is_empty());
}

#[tokio::test]
async fn shortcuts_lead_to_another_drive_when_asked_for() {
    let w = world(Flavour::PersonalNew).await;
    let other = w.emulator.add_drive(Flavour::PersonalNew, 99, "Bo Example");
    other.create_file("/Plans/a.txt", "plan");
    w.emulator.drive().add_shortcut("/Team", &other, "/Plans");
    let hidden = w.get("/me/drive/root/children").await.expect(200).json();
    assert_eq!(hidden["value"], json!([]));
    let request = w.request("GET", "/me/drive/root/children").header("prefer", "Include-Feature=AddToOneDrive");
    let listed = send(request).await.expect(200).json();
    let remote = &listed["value"][0]["remoteItem"];
    assert_eq!(remote["name"], "Plans");
    let inner = remote["id"].as_str().expect("an id");
    let children = w.get(&format!("/drives/{}/items/{inner}/children", other.drive_id())).await.expect(200).json();
    assert_eq!(children["value"][0]["name"], "a.txt");
}

#[tokio::test]
async fn copies_versions_links_search_and_batches() {
    let w = world(Flavour::Business).await;
    w.emulator.drive().create_file("/a.txt", "one");
    w.emulator.drive().write_file("/a.txt", "two");
    let started = w.json("POST", "/me/drive/root:/a.txt:/copy", json!({"name": "b.txt"})).await.expect(202);
    let monitor = started.header("location").to_owned();
    assert_eq!(send(w.bare("GET", &monitor)).await.expect(202).json()["status"], "inProgress");
    let done = send(w.bare("GET", &monitor)).await.expect(200).json();
    assert_eq!(
        (done["status"].as_str(), done["resourceId"].as_str()),
        (Some("completed"), Some(w.id("/b.txt").as_str()))
    );
    let versions = w.get("/me/drive/root:/a.txt:/versions").await.expect(200).json();
    assert_eq!(versions["value"][1]["id"], "1.0");
    assert_eq!(w.content("/me/drive/root:/a.txt:/versions/1.0/content", None).await.expect(200).body, b"one");
    let link = json!({"type": "view", "scope": "anonymous"});
    w.json("POST", "/me/drive/root:/a.txt:/createLink", link.clone()).await.expect(201);
    let again = w.json("POST", "/me/drive/root:/a.txt:/createLink", link).await.expect(200).json();
    assert!(again["link"]["webUrl"].is_string());
    let hits = w.get("/me/drive/root/search(q='B.T')").await.expect(200).json();
    assert_eq!(hits["value"].as_array().map(Vec::len), Some(1));
    let batch = json!({"requests": [
        {"id": "1", "method": "GET", "url": "/me/drive/root:/a.txt:/content"},
        {"id": "2", "method": "GET", "url": "/me/drive/root:/none"},
        {"id": "3", "method": "GET", "url": "/me", "dependsOn": ["2"]}]});
    let answers = w.json("POST", "/$batch", batch).await.expect(200).json();
    let status = |id: &str| {
        let all = answers["responses"].as_array().expect("a list");
        all.iter().find(|part| part["id"] == id).map(|part| part["status"].clone())
    };
    assert_eq!([status("1"), status("2"), status("3")], [Some(json!(302)), Some(json!(404)), Some(json!(424))]);
}

#[tokio::test]
async fn a_large_made_up_drive_answers_at_once() {
    let w = world_with(Flavour::PersonalNew, |options| {
        options.content = super::super::Content::Synthetic { items: 20_000 }
    })
    .await;
    let page = w.get("/me/drive/root/children?$top=5000").await.expect(200).json();
    let first =
        page["value"].as_array().expect("a list").iter().find(|item| item["size"] != 0 && item["file"].is_object());
    let file = first.expect("a file");
    let path = format!("/me/drive/items/{}/content", file["id"].as_str().expect("an id"));
    let body = w.content(&path, None).await.expect(200).body;
    assert_eq!(body.len() as u64, file["size"].as_u64().expect("a size"));
    assert_eq!(file["file"]["hashes"]["quickXorHash"], crate::base::hash::QuickXorHash::of(&body));
}

#[tokio::test]
async fn odd_items_are_listed_and_cannot_be_read() {
    let w = world(Flavour::PersonalNew).await;
    let drive = w.emulator.drive();
    drive.add_package("/Notebook");
    drive.add_opaque("/Vault");
    drive.add_bundle("/Album");
    let listed = w.get("/me/drive/root/children").await.expect(200).json();
    let facets: Vec<_> = listed["value"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| {
            (
                item["package"].is_object(),
                item["bundle"].is_object(),
                item["file"].is_object(),
                item["folder"].is_object(),
            )
        })
        .collect();
    let expected = [(false, true, false, false), (true, false, false, false), (false, false, false, false)];
    assert_eq!(facets, expected);
    w.get("/me/drive/root:/Vault").await.expect(400);
    w.get("/me/drive/root:/Notebook:/content").await.expect(400);
    w.put("/me/drive/root:/Notebook:/content", "x").await.expect(409);
}

#[tokio::test]
async fn new_items_stay_hidden_while_replicas_lag() {
    let w = world(Flavour::Business).await;
    let second = std::time::Duration::from_secs(1);
    w.emulator.drive().set_read_lag(super::super::ReadLag {
        by_id: 20 * second,
        by_path: 10 * second,
        children: 5 * second,
        ..super::super::ReadLag::default()
    });
    let made = w.put("/me/drive/root:/f:/content", "x").await.expect(201).json();
    let by_id = format!("/me/drive/items/{}", made["id"].as_str().expect("an id"));
    let seen = async || {
        let children = w.get("/me/drive/root/children").await.expect(200).json()["value"].as_array().map(Vec::len);
        (w.get(&by_id).await.status, w.get("/me/drive/root:/f").await.status, children)
    };
    assert_eq!(seen().await, (404, 404, Some(0)));
    w.clock.advance(6 * second);
    assert_eq!(seen().await, (404, 404, Some(1)));
    w.clock.advance(6 * second);
    assert_eq!(seen().await, (404, 200, Some(1)));
    w.clock.advance(10 * second);
    assert_eq!(seen().await, (200, 200, Some(1)));
}

#[tokio::test]
async fn changed_items_are_shown_as_they_were_while_replicas_lag() {
    let w = world(Flavour::PersonalNew).await;
    let second = std::time::Duration::from_secs(1);
    let made = w.put("/me/drive/root:/f:/content", "1").await.expect(201).json();
    let by_id = format!("/me/drive/items/{}", made["id"].as_str().expect("an id"));
    w.emulator.drive().set_read_lag(super::super::ReadLag { states: 20 * second, ..super::super::ReadLag::default() });
    w.clock.advance(30 * second);
    w.put(&format!("{by_id}/content"), "22").await.expect(200);
    w.clock.advance(5 * second);
    let newest = w.put(&format!("{by_id}/content"), "333").await.expect(200).json();
    let size = async || {
        let listed = w.get("/me/drive/root/children").await.expect(200).json()["value"][0]["size"].as_u64();
        let by_id = w.get(&by_id).await.expect(200).json();
        assert_eq!(by_id["size"].as_u64(), listed);
        (listed, by_id["eTag"] == newest["eTag"])
    };
    assert_eq!(size().await, (Some(1), false));
    w.clock.advance(16 * second);
    assert_eq!(size().await, (Some(2), false), "the state between");
    w.clock.advance(5 * second);
    assert_eq!(size().await, (Some(3), true));
}

#[tokio::test]
async fn a_page_link_ends_by_time() {
    let w = world_with(Flavour::Business, |options| options.strict.page_link_life = std::time::Duration::from_secs(60))
        .await;
    w.emulator.drive().create_file("/a", "1");
    w.emulator.drive().create_file("/b", "1");
    let page = w.get("/me/drive/root/children?$top=1").await.expect(200).json();
    w.clock.advance(std::time::Duration::from_secs(61));
    w.get(page["@odata.nextLink"].as_str().expect("a link")).await.expect(400);
}
