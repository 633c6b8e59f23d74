//! Delta.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::super::{DeltaBehaviour, Flavour, Resync};
use super::{FLAVOURS, World, send, world, world_with};

/// All items of a chain of pages, and the link for the next time.
async fn chain(w: &World, link: &str) -> (Vec<Value>, String) {
    let mut link = link.to_owned();
    let mut items = Vec::new();
    for _ in 0..100 {
        let page = w.get(&link).await.expect(200).json();
        items.extend(page["value"].as_array().expect("a list").iter().cloned());
        if let Some(next) = page["@odata.nextLink"].as_str() {
            link = next.to_owned();
            continue;
        }
        return (items, page["@odata.deltaLink"].as_str().expect("a delta link").to_owned());
    }
    panic!("the chain does not end");
}

fn names(items: &[Value]) -> BTreeSet<String> {
    items
        .iter()
        .filter(|item| item["deleted"].is_null())
        .map(|item| item["name"].as_str().unwrap_or("?").to_owned())
        .collect()
}

#[tokio::test]
async fn a_full_enumeration_then_only_what_changed() {
    for flavour in FLAVOURS {
        let w = world(flavour).await;
        let drive = w.emulator.drive();
        drive.create_file("/a/b/f", "1");
        drive.create_file("/gone", "1");
        drive.remove("/gone");
        let (all, link) = chain(&w, "/me/drive/root/delta?$top=2").await;
        assert_eq!(names(&all).into_iter().collect::<Vec<_>>(), ["a", "b", "f", "root"]);
        assert!(all.iter().all(|item| item["deleted"].is_null()), "a full enumeration lists no deletions");
        assert!(all.iter().all(|item| item["parentReference"]["path"].is_null()));
        let (nothing, link) = chain(&w, &link).await;
        assert_eq!(nothing, Vec::<Value>::new());
        drive.rename("/a", "/c");
        drive.write_file("/c/b/f", "22");
        let (changed, link) = chain(&w, &link).await;
        assert_eq!(names(&changed).into_iter().collect::<Vec<_>>(), ["b", "c", "f", "root"], "with ancestors");
        drive.remove("/c/b");
        let (deleted, _) = chain(&w, &link).await;
        let tombs: Vec<_> = deleted.iter().filter(|item| item["deleted"].is_object()).collect();
        if drive.root_id().starts_with("01") {
            assert_eq!(tombs.len(), 1, "the folder only");
            assert!(tombs[0]["name"].is_null());
        } else {
            assert_eq!(tombs.len(), 2, "the folder and what was in it");
        }
    }
}

#[tokio::test]
async fn renaming_a_folder_lists_nothing_below_it() {
    let w = world(Flavour::Business).await;
    w.emulator.drive().create_file("/a/f", "1");
    let (_, link) = chain(&w, "/me/drive/root/delta?token=latest").await;
    w.emulator.drive().rename("/a", "/b");
    let (changed, _) = chain(&w, &link).await;
    assert_eq!(names(&changed).into_iter().collect::<Vec<_>>(), ["b", "root"]);
    assert!(changed.iter().all(|item| item["cTag"].is_null()), "work drives leave the content tag out");
}

#[tokio::test]
async fn a_personal_drive_id_loses_its_zero_in_delta() {
    let w = world(Flavour::PersonalNew).await;
    w.emulator.drive().create_file("/f", "1");
    let (all, _) = chain(&w, "/me/drive/root/delta").await;
    let spelled = all[1]["parentReference"]["driveId"].as_str().expect("a drive id");
    assert_eq!(format!("0{spelled}"), w.emulator.drive().drive_id());
}

#[tokio::test]
async fn a_lagging_delta_shows_the_state_before() {
    let w = world(Flavour::PersonalNew).await;
    let drive = w.emulator.drive();
    drive.set_delta_lag(Duration::from_secs(30));
    drive.create_file("/f", "1");
    w.clock.advance(Duration::from_secs(60));
    let (_, start) = chain(&w, "/me/drive/root/delta?token=latest").await;
    drive.write_file("/f", "22");
    w.clock.advance(Duration::from_secs(20));
    drive.rename("/f", "/g");
    let (early, _) = chain(&w, &start).await;
    assert_eq!(early, Vec::<Value>::new());
    w.clock.advance(Duration::from_secs(15));
    let (middle, link) = chain(&w, &start).await;
    let item = middle.iter().find(|item| item["file"].is_object()).expect("the file");
    assert_eq!((item["name"].as_str(), item["size"].as_u64()), (Some("f"), Some(2)), "written, not yet renamed");
    w.clock.advance(Duration::from_secs(30));
    let (late, _) = chain(&w, &link).await;
    assert!(names(&late).contains("g"));
}

#[tokio::test]
async fn repeats_empty_pages_and_shuffles_lose_nothing() {
    let w = world(Flavour::Business).await;
    for number in 0..20 {
        w.emulator.drive().create_file(&format!("/d/{number}"), "x");
    }
    w.emulator.drive().set_delta(DeltaBehaviour {
        repeat_every: 3,
        shuffle: Some(7),
        empty_page_every: 2,
        ..DeltaBehaviour::default()
    });
    let (all, _) = chain(&w, "/me/drive/root/delta?$top=5").await;
    assert_eq!(names(&all).len(), 22);
    assert!(all.len() > 22, "some come twice");
}

#[tokio::test]
async fn an_old_token_gives_410_and_a_place_to_start_over() {
    let w = world(Flavour::PersonalNew).await;
    w.emulator.drive().create_file("/f", "1");
    let (_, link) = chain(&w, "/me/drive/root/delta").await;
    w.emulator.drive().expire_delta_tokens(Resync::UploadDifferences);
    let gone = w.get(&link).await.expect(410);
    assert_eq!((gone.code().as_str(), gone.inner().as_str()), ("resyncRequired", "resyncChangesUploadDifferences"));
    let (all, _) = chain(&w, gone.header("location")).await;
    assert!(names(&all).contains("f"));
    w.emulator.drive().expire_delta_tokens(Resync::WithoutLocation);
    assert_eq!(w.get(&link).await.expect(410).header("location"), "");
}

#[tokio::test]
async fn subtrees_are_followed_on_personal_drives_only() {
    let w = world(Flavour::Business).await;
    w.emulator.drive().create_folder("/d");
    w.get("/me/drive/root:/d:/delta").await.expect(501);
    let w = world(Flavour::PersonalNew).await;
    let drive = w.emulator.drive();
    drive.create_file("/d/f", "1");
    drive.create_file("/other", "1");
    let (all, link) = chain(&w, "/me/drive/root:/d:/delta").await;
    assert_eq!(names(&all).into_iter().collect::<Vec<_>>(), ["d", "f"]);
    drive.rename("/d/f", "/f");
    let (changed, _) = chain(&w, &link).await;
    assert!(changed.iter().any(|item| item["deleted"].is_object()), "moved out is as deleted");
}

#[tokio::test]
async fn changes_since_a_time_on_work_drives() {
    let w = world(Flavour::Business).await;
    w.emulator.drive().create_file("/old", "1");
    w.clock.advance(Duration::from_secs(100));
    let since = super::super::wire::wire_time(crate::base::clock::Clock::now(&w.clock), 0);
    w.clock.advance(Duration::from_secs(100));
    w.emulator.drive().create_file("/new", "1");
    let (changed, _) = chain(&w, &format!("/me/drive/root/delta?token={since}")).await;
    assert_eq!(names(&changed).into_iter().collect::<Vec<_>>(), ["new", "root"]);
}

#[tokio::test]
async fn a_large_drive_is_enumerated_without_gaps() {
    let w = world_with(Flavour::PersonalNew, |options| {
        options.content = super::super::Content::Synthetic { items: 3000 };
        options.strict.delta_page = 1000;
    })
    .await;
    let (all, _) = chain(&w, "/me/drive/root/delta?$top=1000&$select=id,name,file").await;
    let ids: BTreeSet<_> = all.iter().map(|item| item["id"].as_str().map(str::to_owned)).collect();
    assert_eq!(ids.len(), 3001);
    let request = w.request("GET", "/me/drive/root/delta?token=nonsense");
    send(request).await.expect(400);
}
