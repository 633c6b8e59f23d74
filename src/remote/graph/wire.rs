//! The shapes of Graph's JSON, and how they become ours.
//!
//! The service leaves members out at will, differently per backend, and adds new ones every month. So every
//! member but `id` is optional, unknown ones are ignored, and nothing else in this program knows a field
//! name. Always true of what leaves here: ids are normalised, a hash is a hash or absent, a time is a
//! time a person could have meant, and a text that no service would send (a name with a slash, an id of a
//! megabyte) is not there: see [`WireItem::flaw`]. A page is bounded while it is being parsed, so that an
//! answer of small size cannot become a large one in memory.
//!
//! Shape: <https://learn.microsoft.com/graph/api/resources/driveitem>.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use crate::base::clock::Timestamp;
use crate::base::hash::{QuickXorHash, is_quick_xor_hash};
use crate::base::ids::{ContentTag, DriveId, ItemId, MetaTag};
use crate::base::name::presentable;
use crate::base::secret::Secret;
use crate::remote::tolerant::{AtMost, LONGEST_NAME_BYTES, is_sound_id, is_sound_tag, number, secret};
use crate::remote::{Item, ItemKind, Quota, RemoteError, RemoteResult};

/// The members of an item we ask for. Constant, because a delta link keeps the selection it began with.
pub const SELECT: &str = "id,name,size,eTag,cTag,createdDateTime,lastModifiedDateTime,fileSystemInfo,\
                          parentReference,root,file,folder,package,bundle,remoteItem,specialFolder,malware,deleted";

/// A `driveItem`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WireItem {
    id: Option<String>,
    name: Option<String>,
    #[serde(deserialize_with = "number")]
    size: Option<i64>,
    e_tag: Option<String>,
    c_tag: Option<String>,
    created_date_time: Option<String>,
    last_modified_date_time: Option<String>,
    file_system_info: Option<WireTimes>,
    parent_reference: Option<WireParent>,
    root: Option<IgnoredAny>,
    file: Option<WireFile>,
    folder: Option<IgnoredAny>,
    package: Option<IgnoredAny>,
    bundle: Option<IgnoredAny>,
    deleted: Option<IgnoredAny>,
    special_folder: Option<WireSpecial>,
    remote_item: Option<Box<WireItem>>,
    #[serde(rename = "@microsoft.graph.downloadUrl", deserialize_with = "secret")]
    download_url: Option<Secret<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireTimes {
    created_date_time: Option<String>,
    last_modified_date_time: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireParent {
    drive_id: Option<String>,
    id: Option<String>,
    path: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WireFile {
    hashes: Option<WireHashes>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireHashes {
    quick_xor_hash: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WireSpecial {
    name: Option<String>,
}

/// A page of `driveItem`s.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WirePage {
    /// The items; absent is not the same as empty.
    #[serde(deserialize_with = "items")]
    pub value: Option<Vec<WireItem>>,
    /// The page after this one.
    #[serde(rename = "@odata.nextLink", deserialize_with = "secret")]
    pub next_link: Option<Secret<String>>,
    /// Where the next chain of changes starts.
    #[serde(rename = "@odata.deltaLink", deserialize_with = "secret")]
    pub delta_link: Option<Secret<String>>,
}

/// A `drive`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WireDrive {
    /// Its id as the service spells it.
    pub id: Option<String>,
    /// `personal`, `business`, `documentLibrary`.
    pub drive_type: Option<String>,
    owner: Option<WireOwner>,
    quota: Option<WireQuota>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireOwner {
    user: Option<WireActor>,
    group: Option<WireActor>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireActor {
    display_name: Option<String>,
    email: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireQuota {
    #[serde(deserialize_with = "number")]
    total: Option<i64>,
    #[serde(deserialize_with = "number")]
    used: Option<i64>,
    #[serde(deserialize_with = "number")]
    remaining: Option<i64>,
    state: Option<String>,
}

/// The state of an upload session.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WireSession {
    /// Where fragments go.
    #[serde(deserialize_with = "secret")]
    pub upload_url: Option<Secret<String>>,
    /// When the session ends if nothing happens.
    pub expiration_date_time: Option<String>,
    /// What is missing: `"26214400-"` or `"26214400-52428799"`. Several, and not always all.
    #[serde(deserialize_with = "ranges")]
    pub next_expected_ranges: Option<Vec<String>>,
}

/// The most items of a page. A thousand are asked for; some backends send more than they are asked for.
const MOST_ITEMS: usize = 20_000;

/// The most ranges that an upload session names.
const MOST_RANGES: usize = 10_000;

impl WireSession {
    /// The first offset the service waits for. `None` if it names none.
    pub fn next_offset(&self) -> Option<u64> {
        self.next_expected_ranges.as_ref()?.first()?.split('-').next()?.trim().parse().ok()
    }

    /// Whether the service says that nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.next_expected_ranges.as_ref().is_some_and(Vec::is_empty)
    }
}

impl WireItem {
    /// Whether it says which item it is; an answer that is something else does not.
    pub fn is_identified(&self) -> bool {
        self.id.as_ref().is_some_and(|id| !id.is_empty())
    }

    /// Whether this is a tombstone.
    pub fn is_deleted(&self) -> bool {
        self.deleted.is_some()
    }

    /// Whether this is the root of a drive.
    pub fn is_root(&self) -> bool {
        self.root.is_some()
    }

    /// Whether a folder can show it: the root needs neither name nor parent, everything else needs a name.
    pub fn is_placed(&self) -> bool {
        self.is_root() || self.name.as_ref().is_some_and(|name| !name.is_empty())
    }

    /// What about it no service would send, and nothing here may work with; `None` if it is sound. A text of the
    /// service ends up in file names, in URLs, in headers and in answers to the kernel.
    ///
    /// | text | flaw |
    /// | --- | --- |
    /// | name | `.`, `..`, with a slash or NUL, or longer than 255 characters can be |
    /// | id of item, folder, drive, shortcut | too long, or with what is special in a path: `/`, `\\`, blanks, control characters, nothing but dots |
    /// | tags | longer than fits a header, or with control characters |
    pub fn flaw(&self) -> Option<&'static str> {
        // The name of a tombstone is not believed anyway.
        let name = self.name.as_deref().filter(|_| !self.is_deleted()).unwrap_or_default();
        let parent = self.parent_reference.as_ref();
        let above = parent.map(|parent| (parent.id.as_deref(), parent.drive_id.as_deref())).unwrap_or_default();
        let ids = [self.id.as_deref(), above.0, above.1].into_iter().flatten().any(|id| !is_sound_id(id));
        if let Some(flaw) = name_flaw(name) {
            Some(flaw)
        } else if ids || !self.is_identified() {
            Some("an identity that is none")
        } else if [&self.e_tag, &self.c_tag].into_iter().flatten().any(|tag| !is_sound_tag(tag)) {
            Some("a tag that is none")
        } else {
            // What a shortcut leads to may lack an id; it is shown closed then.
            self.remote_item.as_deref().filter(|item| item.is_identified()).and_then(Self::flaw)
        }
    }

    /// Its identity; `asked` is the drive it was found in, for services that do not repeat it.
    pub fn item_id(&self, asked: &DriveId) -> RemoteResult<ItemId> {
        let id = self.id.as_deref().filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| RemoteError::protocol("the service named an item without an id"))?;
        if let Some(flaw) = self.flaw() {
            return Err(RemoteError::protocol(format!("the service named an item with {flaw}")));
        }
        Ok(ItemId::new(&self.drive(asked), canonical_item_id(id)))
    }

    /// The state of the item as a whole.
    pub fn meta_tag(&self) -> MetaTag {
        MetaTag(self.e_tag.clone().unwrap_or_default())
    }

    /// Its path from the root of the drive as the service spells it, without the item's own name, if it gave
    /// one. Sometimes percent-encoded, sometimes not.
    pub fn parent_path(&self) -> Option<&str> {
        let path = self.parent_reference.as_ref()?.path.as_deref()?;
        path.split_once("root:").map(|(_, path)| path)
    }

    /// The pre-authenticated URL of its content.
    pub fn download_url(&self) -> Option<Secret<String>> {
        self.download_url.clone()
    }

    /// The item in our words.
    pub fn into_item(self, asked: &DriveId) -> RemoteResult<Item> {
        let id = self.item_id(asked)?;
        // What is taken for an item is one, also if it says that it is gone: its name is believed then.
        if let Some(flaw) = self.name.as_deref().and_then(name_flaw) {
            return Err(RemoteError::protocol(format!("the service named an item with {flaw}")));
        }
        let drive = self.drive(asked);
        let parent = if self.is_root() {
            None
        } else {
            let parent = self.parent_reference.as_ref().and_then(|parent| parent.id.as_deref());
            parent.filter(|id| !id.is_empty()).map(|id| ItemId::new(&drive, canonical_item_id(id)))
        };
        let shown = self.remote_item.as_deref().unwrap_or(&self);
        let kind = shown.kind();
        let link_to = self.link_to();
        let kind = if self.remote_item.is_some() && link_to.is_none() { ItemKind::Closed } else { kind };
        let is_file = kind == ItemKind::File;
        Ok(Item {
            parent,
            kind,
            size: if is_file { shown.length() } else { 0 },
            modified: self.modified().or_else(|| shown.modified()).unwrap_or_default(),
            created: self.created().or_else(|| shown.created()).unwrap_or_default(),
            meta_tag: self.meta_tag(),
            content_tag: if is_file { self.content_tags().into_iter().next() } else { None },
            link_to,
            name: self.name.clone().unwrap_or_else(|| "root".to_owned()),
            id,
        })
    }

    /// Every form in which this version of the content may have been named, the strongest first.
    ///
    /// The feed of a business drive leaves out members that a single item has (the `cTag` always, the hash at
    /// times), so one version can be known under several forms; each is compared with its like.
    pub fn content_tags(&self) -> Vec<ContentTag> {
        let shown = self.remote_item.as_deref().unwrap_or(self);
        let size = shown.length();
        if size == 0 {
            // Empty files have no hash; they need none.
            return vec![ContentTag::from_hash(&QuickXorHash::of(b""), 0)];
        }
        let mut tags = Vec::with_capacity(3);
        tags.extend(shown.hash().map(|hash| ContentTag::from_hash(hash, size)));
        let service = shown.c_tag.as_deref().filter(|tag| !tag.is_empty());
        tags.extend(service.map(|tag| ContentTag::from_service(tag, size)));
        tags.push(ContentTag::from_time(shown.modified().unwrap_or_default().seconds(), size));
        tags
    }

    /// The item a shortcut leads to; `None` if this is no shortcut.
    pub fn link_to(&self) -> Option<ItemId> {
        self.remote_item.as_deref().and_then(Self::full_id)
    }

    fn full_id(&self) -> Option<ItemId> {
        let id = self.id.as_deref().filter(|id| !id.is_empty())?;
        let drive = self.parent_reference.as_ref()?.drive_id.as_deref().filter(|id| !id.is_empty())?;
        Some(ItemId::new(&DriveId::new(drive), canonical_item_id(id)))
    }

    fn drive(&self, asked: &DriveId) -> DriveId {
        let given = self.parent_reference.as_ref().and_then(|parent| parent.drive_id.as_deref());
        given.filter(|id| !id.is_empty()).map_or_else(|| asked.clone(), DriveId::new)
    }

    /// The size in bytes; some backends report stale negative sums for folders.
    pub fn length(&self) -> u64 {
        self.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0)
    }

    fn hash(&self) -> Option<&str> {
        let hash = self.file.as_ref()?.hashes.as_ref()?.quick_xor_hash.as_deref()?;
        is_quick_xor_hash(hash).then_some(hash)
    }

    /// | facets | kind |
    /// | --- | --- |
    /// | `package` (OneNote), `bundle` (album), vault | closed |
    /// | `file` | file |
    /// | `folder` or `root` | folder |
    /// | none of these | closed: something the service shows but does not explain |
    fn kind(&self) -> ItemKind {
        let special = self.special_folder.as_ref().and_then(|special| special.name.as_deref());
        if self.package.is_some() || self.bundle.is_some() || special == Some("vault") {
            ItemKind::Closed
        } else if self.file.is_some() {
            ItemKind::File
        } else if self.folder.is_some() || self.root.is_some() {
            ItemKind::Folder
        } else {
            ItemKind::Closed
        }
    }

    fn modified(&self) -> Option<Timestamp> {
        let owner = self.file_system_info.as_ref().and_then(|times| times.last_modified_date_time.as_deref());
        owner.and_then(time).or_else(|| self.last_modified_date_time.as_deref().and_then(time))
    }

    fn created(&self) -> Option<Timestamp> {
        let owner = self.file_system_info.as_ref().and_then(|times| times.created_date_time.as_deref());
        owner.and_then(time).or_else(|| self.created_date_time.as_deref().and_then(time))
    }
}

impl WireDrive {
    /// Who owns it, for people: name and address, whichever there is.
    pub fn owner_text(&self) -> String {
        let actor = self.owner.as_ref().and_then(|owner| owner.user.as_ref().or(owner.group.as_ref()));
        let text = match actor.map(|actor| (actor.display_name.as_deref(), actor.email.as_deref())) {
            Some((Some(name), Some(email))) => format!("{name} <{email}>"),
            Some((Some(one), None) | (None, Some(one))) => one.to_owned(),
            _ => String::new(),
        };
        presentable(&text)
    }

    /// The space of the drive.
    ///
    /// A total that is missing, zero or negative means that the service does not say (restricted, shared and
    /// library drives), and then the other members mean nothing either. Nothing remaining is believed only if
    /// the drive is really full.
    pub fn quota(&self) -> Quota {
        let positive = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).filter(|&v| v > 0);
        let Some(quota) = &self.quota else { return Quota::default() };
        let Some(total) = positive(quota.total) else { return Quota::default() };
        let used = quota.used.and_then(|used| u64::try_from(used).ok());
        let full = quota.state.as_deref() == Some("exceeded") || used.is_some_and(|used| used >= total);
        let remaining = match positive(quota.remaining) {
            Some(remaining) => Some(remaining.min(total)),
            None if full => Some(0),
            None => used.map(|used| total - used),
        };
        Quota { total: Some(total), used, remaining }
    }
}

/// A personal item id in one spelling.
///
/// Personal ids are `{drive}!{number}` or `{drive}!s{32 hex}`; they come back in both cases
/// (<https://github.com/OneDrive/onedrive-api-docs/issues/1890>) and are compared without case by the
/// service. The spelling chosen is the one it mostly uses: drive part upper, the rest lower. Every other id
/// is kept.
pub fn canonical_item_id(id: &str) -> String {
    match id.split_once('!') {
        Some((drive, rest))
            if (1..=16).contains(&drive.len())
                && drive.bytes().all(|b| b.is_ascii_hexdigit())
                && rest.bytes().all(|b| b.is_ascii_alphanumeric()) =>
        {
            format!("{}!{}", drive.to_ascii_uppercase(), rest.to_ascii_lowercase())
        }
        _ => id.to_owned(),
    }
}

/// A time of the service. Years before 1800 are how it spells "none".
pub fn time(text: &str) -> Option<Timestamp> {
    let parsed: jiff::Timestamp = text.trim().parse().ok()?;
    let nanos = i64::try_from(parsed.as_nanosecond()).ok()?;
    (parsed.as_second() > -5_364_662_400).then_some(Timestamp(nanos))
}

/// A time as the service wants it: whole seconds, UTC.
pub fn time_text(time: Timestamp) -> String {
    jiff::Timestamp::from_second(time.seconds()).map_or_else(|_| "1970-01-01T00:00:00Z".to_owned(), |t| t.to_string())
}

/// The items of a page, if they are not too many.
fn items<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<WireItem>>, D::Error> {
    Ok(Option::<AtMost<WireItem, MOST_ITEMS>>::deserialize(deserializer)?.map(|list| list.0))
}

/// The ranges of a session, if they are not too many.
fn ranges<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    Ok(Option::<AtMost<String, MOST_RANGES>>::deserialize(deserializer)?.map(|list| list.0))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;

/// What is wrong with a name; see [`WireItem::flaw`].
fn name_flaw(name: &str) -> Option<&'static str> {
    if name.len() > LONGEST_NAME_BYTES {
        Some("a name that is longer than names can be")
    } else if matches!(name, "." | "..") || name.contains(['/', '\0']) {
        Some("a name that no file can have")
    } else {
        None
    }
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any bytes as an item, a drive and a session.
pub(crate) fn fuzz(data: &[u8]) {
    let drive = DriveId::new("0123456789abcdef");
    if let Ok(wire) = serde_json::from_slice::<WireItem>(data) {
        assert!(!wire.content_tags().is_empty());
        if let Ok(item) = wire.into_item(&drive) {
            crate::remote::tolerant::sound(&item);
        }
    }
    if let Ok(wire) = serde_json::from_slice::<WireDrive>(data) {
        let quota = wire.quota();
        assert!(quota.remaining.is_none_or(|free| quota.total.is_some_and(|total| free <= total)));
        assert!(wire.owner_text().chars().count() <= 200);
    }
    if let Ok(wire) = serde_json::from_slice::<WireSession>(data) {
        assert!(!(wire.is_complete() && wire.next_offset().is_some()));
    }
    let _ = canonical_item_id(&String::from_utf8_lossy(data));
}
