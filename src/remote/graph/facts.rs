//! Everything that Graph says of an object, under the keys that the old service had for it.
//!
//! | key | on Graph |
//! | --- | --- |
//! | `id`, `name`, `size`, `description` | the same |
//! | `type` | the facet: `folder`, `album`, `photo`, `video`, `audio`, `notebook`, else `file` |
//! | `parent_id` | `parentReference.id` |
//! | `created_time`, `updated_time` | `createdDateTime`, `lastModifiedDateTime` |
//! | `client_updated_time` | `fileSystemInfo.lastModifiedDateTime` |
//! | `count` | `folder.childCount`, of an album `bundle.childCount` |
//! | `link`, `source` | `webUrl`, `@microsoft.graph.downloadUrl` |
//! | `from` | `createdBy.user`: `id`, `name` |
//! | `shared_with` | `access`: `Shared` if there is a `shared` facet, else `Just me` |
//! | `when_taken`, `camera_make`, `camera_model` | `photo` |
//! | `width`, `height`, `duration` | `image`, `video` or `audio` |
//! | `title`, `artist`, `album`, `genre` | `audio` |
//! | `location` | `location`: `latitude`, `longitude`, `altitude` |
//! | `upload_location`, `comments_enabled`, `is_embeddable`, `tags_*`, `picture` | none |

use serde_json::{Map, Value, json};

use super::wire;

/// Members of ours and where they come from, where a value is taken as it is.
const PLAIN: &[(&str, &str)] = &[
    ("id", "/id"),
    ("name", "/name"),
    ("size", "/size"),
    ("description", "/description"),
    ("link", "/webUrl"),
    ("source", "/@microsoft.graph.downloadUrl"),
    ("mime_type", "/file/mimeType"),
    ("width", "/image/width"),
    ("height", "/image/height"),
    ("width", "/video/width"),
    ("height", "/video/height"),
    ("duration", "/video/duration"),
    ("duration", "/audio/duration"),
    ("bitrate", "/video/bitrate"),
    ("bitrate", "/audio/bitrate"),
    ("title", "/audio/title"),
    ("artist", "/audio/artist"),
    ("album", "/audio/album"),
    ("album_artist", "/audio/albumArtist"),
    ("genre", "/audio/genre"),
    ("camera_make", "/photo/cameraMake"),
    ("camera_model", "/photo/cameraModel"),
    ("location", "/location"),
    ("count", "/folder/childCount"),
    ("count", "/bundle/childCount"),
];

/// Members that are times.
const TIMES: &[(&str, &str)] = &[
    ("created_time", "/createdDateTime"),
    ("updated_time", "/lastModifiedDateTime"),
    ("client_updated_time", "/fileSystemInfo/lastModifiedDateTime"),
    ("when_taken", "/photo/takenDateTime"),
];

/// A `driveItem` under the old keys. Members that the service left out are not there, but for `parent_id`, which every
/// object of the old service had.
pub fn object(item: &Value) -> Value {
    let mut object = Map::new();
    for (key, at) in PLAIN {
        if let Some(value) = item.pointer(at).filter(|value| !value.is_null()) {
            object.entry(*key).or_insert_with(|| value.clone());
        }
    }
    for (key, at) in TIMES {
        if let Some(time) = item.pointer(at).and_then(Value::as_str).and_then(old_time) {
            object.insert((*key).to_owned(), time.into());
        }
    }
    object.insert("type".into(), kind(item).into());
    let parent = item.pointer("/parentReference/id").filter(|_| item.get("root").is_none()).cloned();
    object.insert("parent_id".into(), parent.unwrap_or(Value::Null));
    if let Some(from) = item.pointer("/createdBy/user").map(person) {
        object.insert("from".into(), from);
    }
    let access = if item.get("shared").is_some() { "Shared" } else { "Just me" };
    object.insert("shared_with".into(), json!({ "access": access }));
    Value::Object(object)
}

/// A person as the old service named one.
pub fn person(user: &Value) -> Value {
    let text = |key: &str| user.get(key).cloned().unwrap_or(Value::Null);
    json!({"id": text("id"), "name": text("displayName")})
}

/// A shared object: what lies elsewhere is described inside.
pub fn shared(item: &Value) -> Value {
    let Some(remote) = item.get("remoteItem") else { return object(item) };
    let mut inner = object(remote);
    if let (Some(inner), Value::Object(outer)) = (inner.as_object_mut(), object(item)) {
        for (key, value) in outer {
            if key != "type" && key != "id" && key != "parent_id" {
                inner.entry(key).or_insert(value);
            }
        }
        let drive = remote.pointer("/parentReference/driveId").cloned().unwrap_or(Value::Null);
        inner.insert("drive_id".into(), drive);
        inner.insert("shared_with".into(), json!({ "access": "Shared" }));
    }
    inner
}

fn kind(item: &Value) -> &'static str {
    let has = |facet: &str| item.get(facet).is_some_and(|facet| !facet.is_null());
    let mime = item.pointer("/file/mimeType").and_then(Value::as_str).unwrap_or_default();
    if has("bundle") {
        "album"
    } else if has("package") {
        "notebook"
    } else if has("folder") || item.pointer("/remoteItem/folder").is_some() {
        "folder"
    } else if has("video") || mime.starts_with("video/") {
        "video"
    } else if has("audio") || mime.starts_with("audio/") {
        "audio"
    } else if has("photo") || has("image") || mime.starts_with("image/") {
        "photo"
    } else {
        "file"
    }
}

/// A time of Graph as the old service wrote it.
pub fn old_time(text: &str) -> Option<String> {
    let moment = jiff::Timestamp::from_second(wire::time(text)?.seconds()).ok()?;
    Some(moment.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table() {
        let item = json!({
            "id": "A!1", "name": "pier.jpg", "size": 5, "webUrl": "https://w", "description": "d",
            "@microsoft.graph.downloadUrl": "https://s",
            "createdDateTime": "2013-08-05T15:18:04Z", "lastModifiedDateTime": "2013-08-05T15:18:05.25Z",
            "fileSystemInfo": {"lastModifiedDateTime": "2013-08-05T15:18:06Z"},
            "parentReference": {"id": "A!0"}, "createdBy": {"user": {"displayName": "Ada", "id": "x"}},
            "file": {"mimeType": "image/jpeg"}, "image": {"width": 2, "height": 3},
            "photo": {"takenDateTime": "2012-01-01T00:00:00Z", "cameraMake": "M"}, "shared": {},
        });
        assert_eq!(
            object(&item),
            json!({
                "id": "A!1", "name": "pier.jpg", "size": 5, "type": "photo", "link": "https://w", "source": "https://s",
                "description": "d", "parent_id": "A!0", "created_time": "2013-08-05T15:18:04+0000",
                "updated_time": "2013-08-05T15:18:05+0000", "client_updated_time": "2013-08-05T15:18:06+0000",
                "from": {"name": "Ada", "id": "x"}, "shared_with": {"access": "Shared"}, "mime_type": "image/jpeg",
                "width": 2, "height": 3, "when_taken": "2012-01-01T00:00:00+0000", "camera_make": "M",
            })
        );
    }

    #[test]
    fn types_are_the_old_ones() {
        for (item, expected) in [
            (json!({"folder": {"childCount": 3}}), "folder"),
            (json!({"bundle": {"album": {}}, "folder": {}}), "album"),
            (json!({"package": {"type": "oneNote"}}), "notebook"),
            (json!({"file": {"mimeType": "audio/x-wav"}}), "audio"),
            (json!({"file": {}, "video": {}}), "video"),
            (json!({"file": {"mimeType": "text/plain"}}), "file"),
            (json!({"remoteItem": {"folder": {}}}), "folder"),
        ] {
            assert_eq!(object(&item)["type"], expected, "{item}");
        }
        assert_eq!(object(&json!({"folder": {"childCount": 3}}))["count"], 3);
        assert_eq!(object(&json!({"root": {}, "parentReference": {"id": "x"}}))["parent_id"], Value::Null);
    }

    #[test]
    fn what_is_shared_is_described_where_it_lies() {
        let item = json!({"id": "here", "name": "theirs", "remoteItem": {"id": "there", "folder": {}, "size": 7,
            "parentReference": {"driveId": "d"}}});
        let seen = shared(&item);
        assert_eq!((&seen["id"], &seen["name"], &seen["drive_id"]), (&json!("there"), &json!("theirs"), &json!("d")));
        assert_eq!((&seen["type"], &seen["size"]), (&json!("folder"), &json!(7)));
    }
}
