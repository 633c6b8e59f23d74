//! Fixtures written from the documented shapes; every value is invented.

use super::*;

fn item(json: &str) -> Item {
    let wire: WireItem = serde_json::from_str(json).expect("the fixture parses");
    wire.into_item(&DriveId::new("asked")).expect("the fixture is an item")
}

#[test]
fn a_business_file() {
    let item = item(
        r#"{"@odata.context":"https://graph.example/v1.0/$metadata#x",
        "@microsoft.graph.downloadUrl":"https://sp.example/_layouts/15/download.aspx?tempauth=v1.x",
        "id":"01ABC","name":"notes.txt","size":12,"eTag":"\"{8A},2\"","cTag":"\"c:{8A},1\"",
        "createdDateTime":"2026-02-01T09:00:00Z","lastModifiedDateTime":"2026-02-03T10:20:30Z",
        "parentReference":{"driveType":"business","driveId":"b!Qk3","id":"01PARENT","path":"/drives/b!Qk3/root:/Docs"},
        "file":{"mimeType":"text/plain","hashes":{"quickXorHash":"aCgDG9jwBhDc4Q1ybAMZFAAAAAA="}},
        "fileSystemInfo":{"createdDateTime":"2026-02-01T09:00:00Z","lastModifiedDateTime":"2026-02-03T10:20:28Z"},
        "shared":{"scope":"users"},"invented":{"by":["the","service"]}}"#,
    );
    let drive = DriveId::new("b!Qk3");
    assert_eq!(item.id, ItemId::new(&drive, "01ABC"));
    assert_eq!(item.parent, Some(ItemId::new(&drive, "01PARENT")));
    assert_eq!((item.kind, item.size), (ItemKind::File, 12));
    assert_eq!(item.modified, Timestamp::from_seconds(1_770_114_028));
    assert_eq!(item.meta_tag, MetaTag("\"{8A},2\"".into()));
    assert_eq!(item.content_tag, Some(ContentTag::from_hash("aCgDG9jwBhDc4Q1ybAMZFAAAAAA=", 12)));
    assert_eq!(item.link_to, None);
}

#[test]
fn personal_ids_are_one_in_every_spelling() {
    let one = item(
        r#"{"id":"0A1B2C3D4E5F6071!s9C0FFEE0000000000000000000000001","name":"a","folder":{},
        "parentReference":{"driveId":"a1b2c3d4e5f6071","id":"0a1b2c3d4e5f6071!101"}}"#,
    );
    let other = item(
        r#"{"id":"0a1b2c3d4e5f6071!s9c0ffee0000000000000000000000001","name":"a","folder":{},
        "parentReference":{"driveId":"0A1B2C3D4E5F6071","id":"0A1B2C3D4E5F6071!101"}}"#,
    );
    assert_eq!(one, other);
    assert_eq!(canonical_item_id("01AbCdE"), "01AbCdE");
}

#[test]
fn the_content_tag_takes_the_strongest_witness() {
    let tag = |rest: &str| {
        item(&format!(
            r#"{{"id":"1","name":"f",
        "fileSystemInfo":{{"lastModifiedDateTime":"2026-01-01T00:00:00.5000000Z"}},{rest}}}"#
        ))
        .content_tag
    };
    let empty = Some(ContentTag::from_hash("AAAAAAAAAAAAAAAAAAAAAAAAAAA=", 0));
    assert_eq!(tag(r#""file":{},"size":0"#), empty);
    assert_eq!(tag(r#""file":{},"cTag":"c""#), empty);
    assert_eq!(tag(r#""file":{},"size":5,"cTag":"c""#), Some(ContentTag::from_service("c", 5)));
    assert_eq!(tag(r#""file":{},"size":"5""#), Some(ContentTag::from_time(1_767_225_600, 5)));
    // Hexadecimal was seen once; it is no QuickXorHash.
    let hex = r#""file":{"hashes":{"quickXorHash":"68280b1bd8f00610dce10d726c03191400000000"}},"size":5,"cTag":"c""#;
    assert_eq!(tag(hex), Some(ContentTag::from_service("c", 5)));
    assert_eq!(tag(r#""folder":{"childCount":1},"size":5,"cTag":"c""#), None);
}

#[test]
fn what_cannot_be_entered_is_closed() {
    for facet in [
        r#""package":{"type":"oneNote"},"folder":{}"#,
        r#""package":{"type":"oneNote"}"#,
        r#""bundle":{"childCount":2}"#,
        r#""folder":{},"specialFolder":{"name":"vault"}"#,
        r#""description":"neither file nor folder""#,
        r#""remoteItem":{"folder":{}}"#,
        r#""file":null"#,
    ] {
        assert_eq!(item(&format!(r#"{{"id":"1","name":"x","size":7,{facet}}}"#)).kind, ItemKind::Closed, "{facet}");
    }
}

#[test]
fn a_shortcut_leads_to_the_other_drive() {
    let item = item(
        r#"{"id":"01SHORT","name":"Team plans","size":0,"eTag":"\"{55},1\"",
        "parentReference":{"driveId":"b!Qk3","id":"01ROOT"},
        "remoteItem":{"id":"01REMOTE","name":"Plans 2026","size":99,"folder":{"childCount":4},
          "parentReference":{"driveId":"b!OTHER","id":"01X"},
          "fileSystemInfo":{"createdDateTime":"2025-11-01T00:00:00Z","lastModifiedDateTime":"2026-02-02T00:00:00Z"}}}"#,
    );
    assert_eq!(item.id, ItemId::new(&DriveId::new("b!Qk3"), "01SHORT"));
    assert_eq!(item.link_to, Some(ItemId::new(&DriveId::new("b!OTHER"), "01REMOTE")));
    assert_eq!((item.kind, item.size, item.name.as_str()), (ItemKind::Folder, 0, "Team plans"));
    assert_eq!(item.modified, Timestamp::from_seconds(1_769_990_400));
}

#[test]
fn the_root_has_no_parent() {
    let root = item(r#"{"id":"01R","name":"root","root":{},"folder":{},"parentReference":{"driveId":"b!Q","id":"x"}}"#);
    assert_eq!((root.kind, root.parent), (ItemKind::Folder, None));
}

#[test]
fn an_item_without_an_id_is_an_error_not_a_panic() {
    let wire: WireItem = serde_json::from_str(r#"{"name":"x"}"#).expect("parses");
    assert!(wire.into_item(&DriveId::new("d")).is_err());
}

#[test]
fn times_that_nobody_meant_are_none() {
    assert_eq!(time("0001-01-01T00:00:00Z"), None);
    assert_eq!(time("yesterday"), None);
    assert_eq!(time("2026-02-03T10:20:30.1234567Z"), Some(Timestamp(1_770_114_030_123_456_700)));
    assert_eq!(time_text(Timestamp(1_770_114_030_999_999_999)), "2026-02-03T10:20:30Z");
    assert_eq!(time_text(Timestamp(-1)), "1969-12-31T23:59:59Z");
}

#[test]
fn a_quota_is_believed_only_where_it_makes_sense() {
    let quota = |json: &str| {
        let drive: WireDrive = serde_json::from_str(&format!(r#"{{"quota":{json}}}"#)).expect("parses");
        let quota = drive.quota();
        (quota.total, quota.used, quota.remaining)
    };
    assert_eq!(quota(r#"{"total":100,"used":30,"remaining":60}"#), (Some(100), Some(30), Some(60)));
    assert_eq!(quota(r#"{"total":0,"used":30,"remaining":60}"#), (None, None, None));
    assert_eq!(quota(r#"{"total":-1}"#), (None, None, None));
    assert_eq!(quota(r#"{"total":100,"used":30,"remaining":0}"#), (Some(100), Some(30), Some(70)));
    assert_eq!(quota(r#"{"total":100,"used":130,"remaining":-30}"#), (Some(100), Some(130), Some(0)));
    assert_eq!(quota(r#"{"total":100,"used":-3,"remaining":-3}"#), (Some(100), None, None));
    assert_eq!(quota("null"), (None, None, None));
}

#[test]
fn sessions_name_the_next_offset() {
    let session = |json: &str| serde_json::from_str::<WireSession>(json).expect("parses");
    assert_eq!(session(r#"{"nextExpectedRanges":["26214400-52428799","99-"]}"#).next_offset(), Some(26_214_400));
    assert_eq!(session(r#"{"nextExpectedRanges":["0-"]}"#).next_offset(), Some(0));
    assert_eq!(session(r#"{}"#).next_offset(), None);
    assert!(session(r#"{"nextExpectedRanges":[]}"#).is_complete());
}

#[test]
fn what_says_that_it_is_gone_has_no_name_that_climbs_either() {
    for name in ["../up", "/etc/passwd", "..", "a\\u0000b"] {
        let json = format!(r#"{{"id":"A!1","name":"{name}","folder":{{}},"deleted":{{"state":"deleted"}}}}"#);
        let wire: WireItem = serde_json::from_str(&json).expect("the fixture parses");
        assert_eq!(wire.flaw(), None, "as a tombstone it is good enough");
        assert!(wire.into_item(&DriveId::new("asked")).is_err(), "{name}");
    }
}
