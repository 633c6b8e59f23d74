//! The shapes of Live Connect's JSON, and how they become ours.
//!
//! Answers are pretty-printed with bare carriage returns, times have an offset without a colon, members are `null` or
//! missing at will. Identities come in several spellings; here, at the boundary, they get one, and nothing behind it
//! compares anything else. Always true of what leaves here: an id is in that spelling, a name is one that a file can
//! have, and a version of the bytes is named by all that the service says of it, because it has no hashes.
//!
//! Shape: <https://msdn.microsoft.com/en-us/library/dn659752.aspx>; the two lengths of the account number:
//! <https://github.com/mk-fg/python-onedrive>.

use jiff::fmt::strtime;
use serde::Deserialize;
use serde::de::Deserializer;

use crate::base::clock::Timestamp;
use crate::base::hash::QuickXorHash;
use crate::base::ids::{ContentTag, DriveId, ItemId, MetaTag};
use crate::base::name::presentable;
use crate::remote::tolerant::{AtMost, LONGEST_NAME_BYTES, is_sound_id, number};
use crate::remote::{Item, ItemKind, Quota, RemoteError, RemoteResult};

/// The most objects of a page. Five hundred are asked for; without a limit a folder comes as a whole.
const MOST_OBJECTS: usize = 100_000;

/// A file, a folder, or an album.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct WireObject {
    id: Option<String>,
    name: Option<String>,
    parent_id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(deserialize_with = "number")]
    size: Option<i64>,
    #[serde(deserialize_with = "number")]
    count: Option<i64>,
    created_time: Option<String>,
    updated_time: Option<String>,
    client_updated_time: Option<String>,
}

/// A collection of objects of any shape.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub struct WireList<T> {
    /// The objects; absent is not the same as empty.
    #[serde(deserialize_with = "objects", default = "absent")]
    pub data: Option<Vec<T>>,
}

fn absent<T>() -> Option<Vec<T>> {
    None
}

fn objects<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    Ok(Option::<AtMost<T, MOST_OBJECTS>>::deserialize(deserializer)?.map(|list| list.0))
}

/// The person who is signed in.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WireUser {
    /// The account number (CID), which is also the drive's.
    pub id: Option<String>,
    name: Option<String>,
}

impl WireUser {
    /// For people.
    pub fn owner_text(&self) -> String {
        presentable(self.name.as_deref().unwrap_or_default())
    }

    /// The drive.
    pub fn drive(&self) -> RemoteResult<DriveId> {
        let id = self.id.as_deref().filter(|id| is_account(id));
        id.map(DriveId::new).ok_or_else(|| RemoteError::protocol("the service named an account without a number"))
    }
}

/// The space of the drive.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WireQuota {
    #[serde(deserialize_with = "number")]
    quota: Option<i64>,
    #[serde(deserialize_with = "number")]
    available: Option<i64>,
}

impl WireQuota {
    /// The service says how much there is and how much is free; a total that is none means that it does not say.
    pub fn quota(&self) -> Quota {
        let Some(total) = self.quota.and_then(|total| u64::try_from(total).ok()).filter(|&total| total > 0) else {
            return Quota::default();
        };
        let remaining = self.available.map(|free| u64::try_from(free).unwrap_or(0).min(total));
        Quota { total: Some(total), used: remaining.map(|free| total - free), remaining }
    }
}

/// The answer to an upload, which is not the whole object.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WireUploaded {
    id: Option<String>,
}

impl WireUploaded {
    /// The identity of what was uploaded.
    pub fn item_id(&self, asked: &DriveId) -> RemoteResult<ItemId> {
        item_id(self.id.as_deref(), asked)
    }
}

impl WireObject {
    /// What about it no service would send, and nothing here may work with; `None` if it is sound. A name ends up in
    /// answers to the kernel, an id in URLs.
    pub fn flaw(&self) -> Option<&'static str> {
        let name = self.name.as_deref().unwrap_or_default();
        let ids = [self.id.as_deref(), self.parent_id.as_deref()];
        if name.len() > LONGEST_NAME_BYTES {
            Some("a name that is longer than names can be")
        } else if matches!(name, "." | "..") || name.contains(['/', '\0']) {
            Some("a name that no file can have")
        } else if self.id.as_deref().is_none_or(str::is_empty) || ids.into_iter().flatten().any(|id| !is_sound_id(id)) {
            Some("an identity that is none")
        } else if name.is_empty() && !self.is_root() {
            Some("no name")
        } else {
            None
        }
    }

    /// Whether it is the root of a drive: the one id without a number.
    fn is_root(&self) -> bool {
        self.id.as_deref().is_some_and(|id| id.matches('.').count() == 1)
    }

    /// Whether it has what makes a whole object, and not only the short form that answers uploads.
    pub fn is_whole(&self) -> bool {
        self.kind.is_some() && self.updated_time.is_some()
    }

    /// Its identity; `asked` is the drive it was found in, for spellings that do not name one.
    pub fn item_id(&self, asked: &DriveId) -> RemoteResult<ItemId> {
        item_id(self.id.as_deref(), asked)
    }

    /// The item in our words.
    pub fn into_item(self, asked: &DriveId) -> RemoteResult<Item> {
        if let Some(flaw) = self.flaw() {
            return Err(RemoteError::protocol(format!("the service named an item with {flaw}")));
        }
        let id = self.item_id(asked)?;
        let kind = match self.kind.as_deref() {
            Some("folder" | "album") => ItemKind::Folder,
            // Shown, but its content cannot be fetched (https://github.com/mk-fg/python-onedrive/issues/2).
            Some("notebook") => ItemKind::Closed,
            Some(_) => ItemKind::File,
            None if id.id.starts_with("folder.") => ItemKind::Folder,
            None => ItemKind::File,
        };
        let parent = self.parent_id.as_deref().filter(|parent| !parent.is_empty() && !self.is_root());
        let parent = parent.map(|parent| parse_id(parent, &id.drive));
        let is_file = kind == ItemKind::File;
        let updated = self.updated_time.as_deref().and_then(time).unwrap_or_default();
        let client = self.client_updated_time.as_deref().and_then(time);
        let size = if is_file { self.length() } else { 0 };
        let name = self.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "root".to_owned());
        Ok(Item {
            meta_tag: meta_tag(is_file, updated, client, size, parent.as_ref(), &name),
            content_tag: is_file.then(|| content_tag(updated, client, size)),
            kind,
            size,
            modified: client.unwrap_or(updated),
            created: self.created_time.as_deref().and_then(time).unwrap_or_default(),
            link_to: None,
            parent,
            name,
            id,
        })
    }

    /// The size in bytes; of a folder, of all that is in it, where the service says so.
    pub fn length(&self) -> u64 {
        self.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0)
    }

    /// What a folder says of itself that may tell that something below it has changed. No document promises that it
    /// moves, so it only says where to look first.
    pub fn hint(&self) -> Hint {
        let updated = self.updated_time.as_deref().and_then(time).unwrap_or_default();
        Hint { updated: updated.seconds(), size: self.size.unwrap_or(-1), count: self.count.unwrap_or(-1) }
    }
}

/// See [`WireObject::hint`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hint {
    updated: i64,
    size: i64,
    count: i64,
}

/// The state of an item as a whole: everything that the service says of it that matters here. A folder's times and size
/// move with what is in it, which is no change of the folder.
fn meta_tag(
    is_file: bool,
    updated: Timestamp,
    client: Option<Timestamp>,
    size: u64,
    parent: Option<&ItemId>,
    name: &str,
) -> MetaTag {
    let place = parent.map(|parent| parent.id.as_str()).unwrap_or_default();
    let state = match (is_file, client) {
        (true, Some(client)) => format!("{}.{}.{size}", updated.seconds(), client.seconds()),
        (true, None) => format!("{}..{size}", updated.seconds()),
        (false, _) => String::new(),
    };
    MetaTag::from_place(&state, place, name)
}

/// The version of the bytes.
fn content_tag(updated: Timestamp, client: Option<Timestamp>, size: u64) -> ContentTag {
    if size == 0 {
        // Empty files are all the same.
        return ContentTag::from_hash(&QuickXorHash::of(b""), 0);
    }
    ContentTag::from_times(updated.seconds(), client.map(Timestamp::seconds), size)
}

fn item_id(id: Option<&str>, asked: &DriveId) -> RemoteResult<ItemId> {
    let id = id.filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| RemoteError::protocol("the service named an item without an id"))?;
    if !is_sound_id(id) {
        return Err(RemoteError::protocol("the service named an item with an identity that is none"));
    }
    Ok(parse_id(id, asked))
}

/// An identity in one spelling.
///
/// | as it comes | as it is kept |
/// | --- | --- |
/// | `folder.{cid}` (a root) | account number in lower case, 16 digits |
/// | `file.{cid}.{CID}!{n}` | the same; the second number in upper case, without leading zeros |
/// | `photo.`, `video.`, `audio.`, `album.` in front | `file.`, and `folder.` for an album: the type is told elsewhere |
/// | `{CID}!{n}` alone, as in web links and answers of BITS | `file.{cid}.{CID}!{n}` |
/// | `%21` for `!` | `!` |
/// | anything else | as it came, in the drive that was asked |
pub fn parse_id(text: &str, asked: &DriveId) -> ItemId {
    let text = text.replace("%21", "!");
    let parts: Vec<&str> = text.split('.').collect();
    match parts.as_slice() {
        [prefix, cid] if is_account(cid) && prefix.bytes().all(|b| b.is_ascii_alphabetic()) => {
            let drive = DriveId::new(cid);
            let id = format!("folder.{}", drive.as_str());
            ItemId { drive, id }
        }
        [prefix, cid, short] if is_account(cid) => match short_id(short) {
            Some(short) => {
                let drive = DriveId::new(cid);
                let id = format!("{}.{}.{short}", prefix_of(prefix), drive.as_str());
                ItemId { drive, id }
            }
            None => ItemId::new(asked, text),
        },
        [short] => match (short_id(short), short.split_once('!')) {
            (Some(id), Some((cid, _))) => {
                let drive = DriveId::new(cid);
                let id = format!("file.{}.{id}", drive.as_str());
                ItemId { drive, id }
            }
            _ => ItemId::new(asked, text),
        },
        _ => ItemId::new(asked, text),
    }
}

/// The identity that BITS names: of a file in this drive. The account number in it has lost its leading zeros, so it is
/// taken from the drive.
pub fn uploaded_id(drive: &DriveId, short: &str) -> Option<ItemId> {
    let short = short_id(short.trim())?;
    Some(ItemId::new(drive, format!("file.{}.{short}", drive.as_str())))
}

/// The short form of an identity, `{CID}!{n}`, which upload addresses want; `None` for a root, which has none.
pub fn short_of(id: &ItemId) -> Option<&str> {
    id.id.splitn(3, '.').nth(2)
}

fn prefix_of(prefix: &str) -> String {
    match prefix.to_ascii_lowercase().as_str() {
        "photo" | "video" | "audio" => "file".to_owned(),
        "album" => "folder".to_owned(),
        other => other.to_owned(),
    }
}

fn short_id(short: &str) -> Option<String> {
    let (cid, number) = short.split_once('!')?;
    let sound = is_account(cid) && !number.is_empty() && number.bytes().all(|b| b.is_ascii_alphanumeric());
    sound.then(|| format!("{}!{number}", cid.trim_start_matches('0').to_ascii_uppercase()))
}

fn is_account(cid: &str) -> bool {
    (1..=16).contains(&cid.len()) && cid.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A time of the service, `2014-11-23T09:41:07+0000`, or in the usual form.
pub fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let parsed = strtime::parse("%Y-%m-%dT%H:%M:%S%z", text).and_then(|parts| parts.to_timestamp());
    let parsed = parsed.or_else(|_| text.parse::<jiff::Timestamp>()).ok()?;
    let nanos = i64::try_from(parsed.as_nanosecond()).ok()?;
    // Years before 1800 are how services spell "none".
    (parsed.as_second() > -5_364_662_400).then_some(Timestamp(nanos))
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any bytes as an object, a page, a person and a space.
pub(crate) fn fuzz(data: &[u8]) {
    let drive = DriveId::new("0a4f7719c2be3d05");
    let page = serde_json::from_slice::<WireList<WireObject>>(data).ok().and_then(|list| list.data);
    let single = serde_json::from_slice::<WireObject>(data).ok();
    for object in page.unwrap_or_default().into_iter().chain(single) {
        if let Ok(item) = object.into_item(&drive) {
            crate::remote::tolerant::sound(&item);
            assert_eq!(parse_id(&item.id.id, &drive), item.id, "one spelling");
        }
    }
    if let Ok(quota) = serde_json::from_slice::<WireQuota>(data) {
        let quota = quota.quota();
        assert!(quota.remaining.is_none_or(|free| quota.total.is_some_and(|total| free <= total)));
    }
    if let Ok(user) = serde_json::from_slice::<WireUser>(data) {
        assert!(user.owner_text().chars().count() <= 200);
    }
    let text = String::from_utf8_lossy(data);
    let _ = time(&text);
    let id = parse_id(&text, &drive);
    assert_eq!(parse_id(&id.id, &id.drive), id, "one spelling");
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
