//! Downloads and uploads that were broken off, remembered where the next try finds them.
//!
//! A part of a download lies beside the file that it will become, under a name that holds the version it is a part of:
//! a part of another version is never taken for one of this. An upload is remembered in the state folder, under a key
//! of what was sent where; the file's size and time are part of it, so that a changed file starts anew.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::base::disk::RealDisk;
use crate::base::ids::ContentTag;
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

/// What an upload sends, and where.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Errand {
    /// The local file, absolute.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its modification time in nanoseconds since 1970.
    pub modified: i64,
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

    /// The session of exactly this errand, if there is one.
    pub fn find(&self, errand: &Errand) -> Option<Ticket> {
        let stored: Stored = serde_json::from_slice(&fs::read(self.file(errand)).ok()?).ok()?;
        (stored.errand == *errand).then_some(stored.ticket)
    }

    /// Remembers a session: durable on return, and readable by its owner alone, for it holds a secret.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn keep(&self, errand: &Errand, ticket: &Ticket) -> io::Result<()> {
        let stored = Stored { errand: errand.clone(), ticket: ticket.clone() };
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
        let errand = Errand { path: "/a".into(), size: 5, modified: 7, folder: "F".into(), name: "a".into() };
        let place = Place::New { parent: ItemId::new(&DriveId::new("d"), "F"), name: "a".into() };
        let target = Target { place, modified: Timestamp(7), created: None };
        let at = Timestamp(1);
        let ticket = Ticket { address: "https://secret".into(), target, size: 5, expires: at, begun: at, acked: 0 };
        assert_eq!(unfinished.find(&errand), None);
        unfinished.keep(&errand, &ticket).expect("kept");
        assert_eq!(unfinished.find(&errand), Some(ticket));
        assert_eq!(unfinished.find(&Errand { modified: 8, ..errand.clone() }), None, "it was changed");
        let mode = fs::metadata(unfinished.file(&errand)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        unfinished.forget(&errand);
        assert_eq!(unfinished.find(&errand), None);
    }
}
