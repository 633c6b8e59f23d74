//! A local folder with everything in it, into a folder of the cloud.
//!
//! In two steps, so that what would be done can be said before it is. Links are not followed. A file of the same size
//! and time on both sides is passed over, so a second run sends only what differs; what cannot be sent does not keep the
//! rest from it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use futures_util::stream::{self, StreamExt as _};

use super::up::{self, How, Parcel, Sent};
use super::{Drive, DriveError, DriveResult, Stage, WatchMany};
use crate::base::name::fold;
use crate::remote::Item;

/// What lies in a local folder.
#[derive(Debug, Default)]
pub struct FolderUpload {
    top: PathBuf,
    /// Folders by their path below the top, parents first.
    pub folders: Vec<PathBuf>,
    /// Files by their path below the top, with their sizes.
    pub files: Vec<(PathBuf, u64)>,
    /// Neither: links, pipes, devices. They are left out.
    pub others: Vec<PathBuf>,
    /// What cannot be looked at, and what the service would take for something else that is sent.
    pub refused: Vec<DriveError>,
}

/// What came of sending a folder.
#[derive(Debug, Default)]
pub struct FolderSent {
    /// The files that were sent, by their whole local path.
    pub sent: Vec<(PathBuf, Item)>,
    /// So many were there already.
    pub same: u64,
    /// What could not be made or sent, by its whole local path.
    pub failed: Vec<(PathBuf, DriveError)>,
}

impl FolderUpload {
    /// Looks at everything below `top`, in the order of names. Touches no network.
    pub fn plan(top: &Path) -> Self {
        let mut plan = Self { top: top.to_owned(), ..Self::default() };
        plan.look(Path::new(""));
        plan
    }

    fn look(&mut self, below: &Path) {
        let folder = self.top.join(below);
        let listed = fs::read_dir(&folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        let mut entries = match listed {
            Ok(entries) => entries,
            Err(error) => return self.refused.push(DriveError::local("read", &folder, error)),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        // The service has one object of a name, whatever its case: of two files the later would replace the earlier.
        let mut named: HashMap<String, PathBuf> = HashMap::new();
        for entry in entries {
            let path = below.join(entry.file_name());
            let metadata = match entry.metadata() {
                Ok(metadata) if metadata.is_dir() || metadata.is_file() => metadata,
                Ok(_) => {
                    self.others.push(path);
                    continue;
                }
                Err(error) => {
                    self.refused.push(DriveError::local("read", &self.top.join(path), error));
                    continue;
                }
            };
            // What is not text is refused by itself when its turn comes.
            if let Some(name) = entry.file_name().to_str() {
                if let Some(kept) = named.get(&fold(name)) {
                    let (path, kept) = (self.top.join(path), self.top.join(kept));
                    self.refused.push(DriveError::OneName { path, kept });
                    continue;
                }
                named.insert(fold(name), path.clone());
            }
            if metadata.is_dir() {
                self.folders.push(path.clone());
                self.look(&path);
            } else {
                self.files.push((path, metadata.len()));
            }
        }
    }

    /// The bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, size)| size).sum()
    }

    /// Makes the folder `name` in `into` and all below it, and sends the files, `jobs` of them at once.
    ///
    /// # Errors
    /// The folder itself cannot be made; nothing is sent then. Everything else is told in the result.
    pub async fn carry_out(
        &self,
        drive: &Drive,
        into: &Item,
        name: &str,
        how: &How,
        jobs: usize,
        watch: WatchMany<'_>,
    ) -> DriveResult<FolderSent> {
        let mut result = FolderSent::default();
        let mut folders: HashMap<&Path, Item> = HashMap::new();
        folders.insert(Path::new(""), drive.ensure_folder(into, name).await?);
        for path in &self.folders {
            // Where a folder could not be made, what is in it has been told with it.
            let Some(parent) = path.parent().and_then(|parent| folders.get(parent)) else { continue };
            let made = match own_name(path) {
                Ok(name) => drive.ensure_folder(parent, &name).await,
                Err(error) => Err(error),
            };
            match made {
                Ok(made) => drop(folders.insert(path, made)),
                Err(error) => result.failed.push((self.top.join(path), error)),
            }
        }
        let folders = &folders;
        let sends = stream::iter(&self.files).map(async |(path, size)| {
            let folder = path.parent().and_then(|parent| folders.get(parent))?;
            let whole = self.top.join(path);
            watch(&whole, Stage::Begins(*size));
            let sent = self.send(drive, &whole, folder, how, watch).await;
            watch(&whole, if matches!(sent, Ok(Sent::Uploaded(_))) { Stage::Done } else { Stage::Ends });
            Some((whole, sent))
        });
        let results: Vec<Option<(PathBuf, DriveResult<Sent>)>> = sends.buffer_unordered(jobs.max(1)).collect().await;
        for (path, sent) in results.into_iter().flatten() {
            match sent {
                Ok(Sent::Uploaded(item)) => result.sent.push((path, item)),
                Ok(Sent::Same(_)) => result.same += 1,
                Err(error) => result.failed.push((path, error)),
            }
        }
        Ok(result)
    }

    async fn send(
        &self,
        drive: &Drive,
        path: &Path,
        folder: &Item,
        how: &How,
        watch: WatchMany<'_>,
    ) -> DriveResult<Sent> {
        let name = own_name(path)?;
        let unfinished = drive.unfinished.as_ref();
        let parcel = Parcel { path, folder, name: &name, skip_same: true, unfinished };
        up::send(&*drive.remote, &*drive.clock, &parcel, how, &|done| watch(path, Stage::At(done))).await
    }
}

/// The name of a local file, as the name of one in the cloud.
///
/// # Errors
/// [`DriveError::NotText`], [`DriveError::NoName`].
pub fn own_name(path: &Path) -> DriveResult<String> {
    match path.file_name().map(|name| name.to_str().map(str::to_owned)) {
        Some(Some(name)) => Ok(name),
        Some(None) => Err(DriveError::NotText(path.to_owned())),
        None => Err(DriveError::NoName(path.to_owned())),
    }
}
