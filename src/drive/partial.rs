//! Downloads and uploads that were broken off, remembered where the next try finds them.
//!
//! A part of a download lies beside the file that it will become, under a name that holds the version it is a part of:
//! a part of another version is never taken for one of this. An upload is remembered in the state folder, under a key
//! of what was sent where; the file's size, its times and its number are part of it, so that a changed file starts anew.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::base::disk::RealDisk;
use crate::base::ids::{ContentTag, ItemId};
use crate::remote::{Item, Ticket};

/// Where a part of this version lies while it grows into `path`.
pub fn part_of(path: &Path, item: &Item, tag: &ContentTag) -> PathBuf {
    // Names may be as long as a file system takes, so the part has a short one of its own.
    let mut name = String::from(PREFIX);
    for text in [&path.file_name().unwrap_or_default().to_string_lossy().into_owned(), &item.id.id, &tag.0] {
        name.push_str(&digest(text));
    }
    path.with_file_name(name + SUFFIX)
}

/// Removes what is left of other versions of the same file for the same path. One that another process is writing stays.
pub fn forget_older(part: &Path) {
    let own = part.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // The path and the object; behind them comes the version.
    let Some(same) = own.get(..PREFIX.len() + 2 * DIGEST) else { return };
    let folder = part.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == own || !name.starts_with(same) || !name.ends_with(SUFFIX) {
            continue;
        }
        let unused = fs::File::open(entry.path())
            .is_ok_and(|file| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok());
        if unused {
            let _ = fs::remove_file(entry.path());
        }
    }
}

const PREFIX: &str = ".onedrive-";
const SUFFIX: &str = ".part";
const DIGEST: usize = 12;

/// [`DIGEST`] characters that stand for a text.
fn digest(text: &str) -> String {
    let hash = crate::base::hash::QuickXorHash::of(text.as_bytes());
    hash.chars().filter(char::is_ascii_alphanumeric).chain(std::iter::repeat('0')).take(DIGEST).collect()
}

/// Which local file it is, and when anything about it was changed last. The modification time is the user's, and many
/// programs set it back (`cp -p`, `rsync -t`, `tar`); this one is the kernel's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Stamp {
    device: u64,
    inode: u64,
    /// Seconds since 1970, and nanoseconds.
    changed: (i64, i64),
}

impl Stamp {
    /// Of a file.
    pub fn of(metadata: &fs::Metadata) -> Self {
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Self { device: metadata.dev(), inode: metadata.ino(), changed }
    }
}

/// The file of the cloud that an upload is to replace, as it was before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Before {
    id: ItemId,
    content: Option<ContentTag>,
}

impl Before {
    /// Of a file that is there.
    pub fn of(item: &Item) -> Self {
        Self { id: item.id.clone(), content: item.content_tag.clone() }
    }

    /// Whether this is still the old content. The service changes states without touching the content, so the content
    /// alone speaks; where it is known by a time and a size only, a new one of the same second looks like the old one, and
    /// nothing can be told.
    pub fn still_stands(&self, item: &Item) -> bool {
        let telling = self.content.as_ref().is_some_and(|tag| !tag.is_of_time());
        telling && item.id == self.id && item.content_tag == self.content
    }
}

/// What an upload sends, and where.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Errand {
    /// The local file, absolute.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its modification time in nanoseconds since 1970.
    pub modified: i64,
    /// Which file it is; of uploads that older versions began that is not known.
    #[serde(default)]
    pub stamp: Stamp,
    /// The folder it goes to.
    pub folder: String,
    /// Its name there.
    pub name: String,
}

/// Uploads that were begun and not finished.
#[derive(Clone, Debug)]
pub struct Unfinished {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    errand: Errand,
    ticket: Ticket,
    #[serde(default)]
    before: Option<Before>,
}

/// A session that is remembered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// The session.
    pub ticket: Ticket,
    /// What it is to replace.
    pub before: Option<Before>,
    /// It is of the file as it is now, and can be gone on with.
    pub same: bool,
}

impl Unfinished {
    /// Those in this folder, which need not exist yet.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn file(&self, errand: &Errand) -> PathBuf {
        let path = digest(&errand.path.to_string_lossy());
        self.folder.join(format!("{path}{}{}.json", digest(&errand.folder), digest(&errand.name)))
    }

    /// The session that was begun from the errand's path to its place, if there is one.
    pub fn find(&self, errand: &Errand) -> Option<Kept> {
        let Stored { errand: of, ticket, before } = serde_json::from_slice(&fs::read(self.file(errand)).ok()?).ok()?;
        let is_of_place = (&of.path, &of.folder, &of.name) == (&errand.path, &errand.folder, &errand.name);
        is_of_place.then(|| Kept { same: of == *errand, ticket, before })
    }

    /// Remembers a session: durable on return, and readable by its owner alone, for it holds a secret.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn keep(&self, errand: &Errand, ticket: &Ticket, before: Option<&Before>) -> io::Result<()> {
        let stored = Stored { errand: errand.clone(), ticket: ticket.clone(), before: before.cloned() };
        let disk = RealDisk::shared();
        disk.create_dir_private(&self.folder)?;
        disk.replace_atomically(&self.file(errand), &serde_json::to_vec(&stored)?, 0o600)
    }

    /// Forgets it. What cannot be removed is overwritten by the next one.
    pub fn forget(&self, errand: &Errand) {
        let _ = fs::remove_file(self.file(errand));
    }
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any bytes as a remembered upload, and any text as what a part is named after.
pub(crate) fn fuzz(data: &[u8]) {
    if let Ok(stored) = serde_json::from_slice::<Stored>(data) {
        let again = serde_json::to_vec(&stored).expect("invariant: what was read can be written");
        let again: Stored = serde_json::from_slice(&again).expect("invariant: and read again");
        assert_eq!((&again.errand, &again.ticket), (&stored.errand, &stored.ticket));
        assert!(!format!("{:?}", stored.ticket).contains("tempauth"), "an upload address is printed");
        let file = Unfinished::new(PathBuf::from("/s")).file(&stored.errand);
        assert_eq!(file.parent(), Some(Path::new("/s")), "it lies in its folder, whatever it is of");
        named(&file, 3 * DIGEST + ".json".len());
    }
    let text = String::from_utf8_lossy(data);
    let name = digest(&text);
    assert!(name.len() == DIGEST && name.bytes().all(|byte| byte.is_ascii_alphanumeric()));
}

/// A file's name of this length, in plain letters.
#[cfg(any(test, feature = "fuzzing"))]
fn named(file: &Path, length: usize) {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    assert!(name.len() == length && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'), "{name}");
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::ids::{DriveId, ItemId};
    use crate::remote::{Place, Target};

    #[test]
    fn an_upload_is_found_again_only_for_the_same_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let unfinished = Unfinished::new(folder.path().join("uploads"));
        let stamp = Stamp { device: 1, inode: 2, changed: (3, 4) };
        let errand = Errand { path: "/a".into(), size: 5, modified: 7, stamp, folder: "F".into(), name: "a".into() };
        let place = Place::New { parent: ItemId::new(&DriveId::new("d"), "F"), name: "a".into() };
        let target = Target { place, modified: Timestamp(7), created: None };
        let at = Timestamp(1);
        let ticket = Ticket { address: "https://secret".into(), target, size: 5, expires: at, begun: at, acked: 0 };
        assert_eq!(unfinished.find(&errand), None);
        let id = ItemId::new(&DriveId::new("d"), "I");
        let before = Before { id, content: None };
        unfinished.keep(&errand, &ticket, Some(&before)).expect("kept");
        let kept = Kept { ticket, before: Some(before), same: true };
        assert_eq!(unfinished.find(&errand), Some(kept.clone()));
        let changed = Some(Kept { same: false, ..kept });
        assert_eq!(unfinished.find(&Errand { modified: 8, ..errand.clone() }), changed, "it was changed");
        for other in [
            Stamp { device: 9, ..stamp },
            Stamp { inode: 9, ..stamp },
            Stamp { changed: (3, 5), ..stamp },
            Stamp::default(),
        ] {
            assert_eq!(unfinished.find(&Errand { stamp: other, ..errand.clone() }), changed, "its time was set back");
        }
        let mode = fs::metadata(unfinished.file(&errand)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        unfinished.forget(&errand);
        assert_eq!(unfinished.find(&errand), None);
    }
}
