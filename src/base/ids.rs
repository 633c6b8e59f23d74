//! The identifiers of this program, each its own type, so that an inode number can never be passed
//! where a handle is meant and a content tag never where a metadata tag is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A drive, in the spelling that is safe to compare.
///
/// Personal drive ids come back from the service in both cases and with leading zeros dropped
/// (<https://github.com/OneDrive/onedrive-api-docs/issues/1890>); [`DriveId::new`] undoes that.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DriveId(String);

impl DriveId {
    /// Normalises: an id of at most 16 hexadecimal digits is lower-cased and padded to 16; every other
    /// id (business, SharePoint) is case-sensitive and kept as it is.
    pub fn new(raw: &str) -> Self {
        if !raw.is_empty() && raw.len() <= 16 && raw.bytes().all(|b| b.is_ascii_hexdigit()) {
            Self(format!("{:0>16}", raw.to_ascii_lowercase()))
        } else {
            Self(raw.to_owned())
        }
    }

    /// The id as it goes into a URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DriveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "drive:{}", self.0)
    }
}

/// An item in a drive. Stable across rename and move inside the drive.
///
/// It carries its drive, because a shortcut to somebody else's folder leads to items of another one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ItemId {
    /// The drive that owns the item.
    pub drive: DriveId,
    /// The item's id in the spelling of the service. Opaque.
    pub id: String,
}

impl ItemId {
    /// Pairs a drive with an id of the service.
    pub fn new(drive: &DriveId, id: impl Into<String>) -> Self {
        Self { drive: drive.clone(), id: id.into() }
    }

    /// One string for storage: drive and id, which cannot contain a line break, joined by one.
    pub fn to_key(&self) -> String {
        format!("{}\n{}", self.drive.as_str(), self.id)
    }

    /// The inverse of [`ItemId::to_key`].
    pub fn from_key(key: &str) -> Option<Self> {
        let (drive, id) = key.split_once('\n')?;
        Some(Self { drive: DriveId::new(drive), id: id.to_owned() })
    }
}

impl fmt::Debug for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "item:{}", self.id)
    }
}

/// An inode number, the kernel's name for a file. The root is 1; numbers are never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ino(pub u64);

impl Ino {
    /// The root of the mount.
    pub const ROOT: Ino = Ino(1);
}

impl fmt::Debug for Ino {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ino:{}", self.0)
    }
}

impl fmt::Display for Ino {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where new inode numbers come from: one source for everything in a mount, so that no number ever means two
/// things, not even after a disposable part was rebuilt.
pub trait InoSource: Send + Sync + 'static {
    /// A number that was never handed out before.
    fn next_ino(&self) -> Ino;

    /// A number that is stored somewhere. To be told of the highest before the first is asked for.
    fn is_stored(&self, _highest: Ino) {}
}

/// An open file or directory handle.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Fh(pub u64);

/// The identity of one state of an item as a whole (Graph: `eTag`). Moves with any change, content or
/// not; opaque, compared for equality only. Used in preconditions.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct MetaTag(pub String);

impl MetaTag {
    /// For a service without tags, from a state that has times of its own in it (empty for a folder, whose times say
    /// nothing of it) and from the place.
    pub fn from_place(state: &str, folder: &str, name: &str) -> Self {
        Self(format!("{state}@{folder}/{name}"))
    }

    /// Whether an item whose tag is `now` may have this one again: if nothing but a place tells the two apart, it comes back
    /// when the item does.
    pub fn may_recur_after(&self, now: &Self) -> bool {
        let state = |tag: &Self| tag.0.split_once('@').map(|(state, _)| state.to_owned());
        state(self).is_some_and(|before| Some(before) == state(now))
    }
}

/// The identity of one version of a file's bytes.
///
/// Built from hash and size where the service gives a hash; else from its own content tag; else from
/// time and size. An eTag alone never makes or moves one, because the service changes eTags without
/// touching the bytes (thumbnails, property promotion).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ContentTag(pub String);

impl ContentTag {
    /// From a QuickXorHash (base64, 28 characters) and a size in bytes.
    pub fn from_hash(hash: &str, size: u64) -> Self {
        Self(format!("q:{hash}:{size}"))
    }

    /// From the service's own content tag and a size in bytes.
    pub fn from_service(tag: &str, size: u64) -> Self {
        Self(format!("c:{tag}:{size}"))
    }

    /// From a modification time (seconds since 1970) and a size in bytes: the weakest form.
    pub fn from_time(seconds: i64, size: u64) -> Self {
        Self(format!("t:{seconds}:{size}"))
    }

    /// From the two times (in seconds since 1970) and the size in bytes, where the service has no hash: when it last saw
    /// the item change, and when the owner's machine did. Both count: a client that sets a file's time back moves only
    /// the service's. It moves on a rename, too, where the bytes stay: fetching them again is a nuisance, taking two
    /// versions for one is a loss.
    pub fn from_times(service: i64, client: Option<i64>, size: u64) -> Self {
        let client = client.map(|seconds| seconds.to_string()).unwrap_or_default();
        Self(format!("c:{service}.{client}:{size}"))
    }

    /// When the service last saw the item change, of a tag made by [`ContentTag::from_times`].
    pub fn service_time(&self) -> Option<i64> {
        self.0.strip_prefix("c:")?.split_once('.')?.0.parse().ok()
    }

    /// Whether two tags made by [`ContentTag::from_times`] differ in nothing but the service's time: which is how they
    /// differ if the item was renamed. Only who did that can say so of two versions.
    pub fn differs_by_rename_only(&self, other: &Self) -> bool {
        let rest = |tag: &Self| {
            tag.service_time()?;
            tag.0.split_once('.').map(|(_, rest)| rest.to_owned())
        };
        // Without the client's time the size alone would speak.
        let rest = rest(self).zip(rest(other)).filter(|(one, _)| !one.starts_with(':'));
        self != other && rest.is_some_and(|(one, other)| one == other)
    }

    /// Whether two tags are of one form. Those of two forms can be of one version all the same: a service leaves out hashes
    /// at times.
    pub fn is_of_the_form_of(&self, other: &Self) -> bool {
        let form = |tag: &Self| tag.0.split_once(':').map(|(form, _)| form.to_owned());
        form(self) == form(other)
    }

    /// Whether nothing but a time and a size tells this version from others.
    pub fn is_of_time(&self) -> bool {
        self.service_time().is_some()
    }

    /// The size of the version, in bytes; every form ends with it.
    pub fn size(&self) -> Option<u64> {
        self.0.rsplit_once(':')?.1.parse().ok()
    }

    /// The QuickXorHash inside, if the tag was made from one.
    pub fn hash(&self) -> Option<&str> {
        self.0.strip_prefix("q:")?.rsplit_once(':').map(|(hash, _)| hash)
    }
}

/// A position in the service's stream of changes. Opaque; stored only together with everything that
/// it speaks for. It may hold a credential, so it is not printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor(pub String);

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cursor(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_drive_ids_compare_equal_in_every_spelling() {
        assert_eq!(DriveId::new("0A1B2C3D4E5F6071"), DriveId::new("a1b2c3d4e5f6071"));
        assert_ne!(DriveId::new("b!Qk3T"), DriveId::new("b!qk3t"));
    }

    #[test]
    fn tags_of_times_tell_a_rename_from_a_change() {
        let tag = |service, client, size| ContentTag::from_times(service, client, size);
        let one = tag(10, Some(5), 3);
        assert_eq!((one.service_time(), one.size(), one.hash()), (Some(10), Some(3), None));
        assert!(one.differs_by_rename_only(&tag(11, Some(5), 3)));
        for other in [one.clone(), tag(11, Some(6), 3), tag(11, Some(5), 4), ContentTag::from_service("x", 3)] {
            assert!(!one.differs_by_rename_only(&other), "{other:?}");
        }
        assert!(!tag(10, None, 3).differs_by_rename_only(&tag(11, None, 3)), "the size alone proves nothing");
        assert!(one.is_of_the_form_of(&ContentTag::from_service("x", 3)));
        assert!(
            !one.is_of_the_form_of(&ContentTag::from_hash("AAAA", 3))
                && !one.is_of_the_form_of(&ContentTag::from_time(1, 3))
        );
        assert_eq!(ContentTag::from_hash("AAAA", 3).service_time(), None);
    }

    #[test]
    fn a_tag_that_is_only_a_place_may_recur() {
        let of = MetaTag::from_place;
        assert!(of("", "folder.1", "n").may_recur_after(&of("", "folder.2", "n")));
        assert!(
            of("5.5.3", "folder.1", "n").may_recur_after(&of("5.5.3", "folder.1", "m")),
            "a new name moved no time"
        );
        assert!(!of("5.5.3", "folder.1", "n").may_recur_after(&of("6.5.3", "folder.1", "m")));
        assert!(!MetaTag("aQ".into()).may_recur_after(&MetaTag("aQ".into())), "a tag of the service never comes back");
    }

    #[test]
    fn item_keys_round_trip() {
        let id = ItemId::new(&DriveId::new("b!x"), "01ABC");
        assert_eq!(ItemId::from_key(&id.to_key()), Some(id));
    }
}
