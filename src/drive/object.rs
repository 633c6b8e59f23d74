//! An object of the cloud with the keys that python-onedrive's users know, whatever the service calls them.

use serde_json::{Map, Value, json};

use crate::base::clock::Timestamp;
use crate::remote::{Item, ItemKind};

/// An object under the old service's keys.
///
/// | key | on Graph |
/// | --- | --- |
/// | `id`, `name`, `size` | the same |
/// | `type` | the facet: `file`, `folder`, `photo`, `video`, `audio`, `album`, `notebook` |
/// | `parent_id` | `parentReference.id` |
/// | `created_time`, `updated_time` | `createdDateTime`, `lastModifiedDateTime` |
/// | `client_updated_time` | `fileSystemInfo.lastModifiedDateTime` |
pub fn of_item(item: &Item) -> Value {
    let mut object = Map::new();
    object.insert("id".into(), json!(item.id.id));
    object.insert("name".into(), json!(item.name));
    object.insert("type".into(), json!(kind(item)));
    object.insert("parent_id".into(), item.parent.as_ref().map_or(Value::Null, |parent| json!(parent.id)));
    object.insert("size".into(), json!(item.size));
    object.insert("created_time".into(), json!(time(item.created)));
    object.insert("updated_time".into(), json!(time(item.modified)));
    object.insert("client_updated_time".into(), json!(time(item.modified)));
    Value::Object(object)
}

/// The type of an object in one word.
pub fn kind(item: &Item) -> &'static str {
    match item.kind {
        ItemKind::File => "file",
        ItemKind::Folder => "folder",
        ItemKind::Closed => "closed",
    }
}

/// A moment as the old service wrote it: `2013-08-05T15:18:04+0000`.
pub fn time(at: Timestamp) -> String {
    let moment = jiff::Timestamp::from_second(at.seconds()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    moment.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()
}

/// A moment as the old service wrote it, or as Graph does.
pub fn read_time(text: &str) -> Option<Timestamp> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(moment.as_nanosecond()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_old_form() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00+0000"),
            (1_375_715_884, "2013-08-05T15:18:04+0000"),
            (951_782_399, "2000-02-28T23:59:59+0000"),
            (951_782_400, "2000-02-29T00:00:00+0000"),
            (-1, "1969-12-31T23:59:59+0000"),
            (4_107_542_400, "2100-03-01T00:00:00+0000"),
        ] {
            assert_eq!(time(Timestamp::from_seconds(seconds)), text);
            assert_eq!(read_time(text), Some(Timestamp::from_seconds(seconds)));
        }
        assert_eq!(read_time("2013-08-05T15:18:04.5Z"), Some(Timestamp(1_375_715_884_500_000_000)));
        assert_eq!(read_time("2013-08-05"), None);
    }
}
