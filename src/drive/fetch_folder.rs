//! A folder of the cloud with everything in it, into a local folder.
//!
//! In two steps, so that what would be done can be said before it is: the plan compares what is there with what is here,
//! and carrying it out fetches what differs. A file that cannot be fetched does not keep the others from it, and a
//! second run fetches only what is missing.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use futures_util::stream::{self, StreamExt as _};

use super::{Branch, Drive, DriveError, DriveResult, Stage, WatchMany};
use crate::remote::{Item, ItemKind};

/// What is to be done to have a folder here.
#[derive(Debug, Default)]
pub struct FolderDownload {
    /// The local folders, parents first. The first is the top.
    pub folders: Vec<PathBuf>,
    /// The files to be fetched, with where they go.
    pub files: Vec<(PathBuf, Item)>,
    /// What cannot be fetched, and why.
    pub refused: Vec<DriveError>,
    /// So many files are here already, with the same size and time.
    pub here: u64,
}

impl FolderDownload {
    /// What is to be done to have `tree` at the local path `top`. Looks at local files and changes nothing.
    pub fn plan(tree: &Branch, top: &Path) -> Self {
        let mut plan = Self { folders: vec![top.to_owned()], ..Self::default() };
        plan.add(tree, top);
        plan
    }

    fn add(&mut self, branch: &Branch, path: &Path) {
        let mut used = HashSet::new();
        for child in branch.children.iter().flatten() {
            let name = match local_name(&child.item.name) {
                Ok(name) => apart(name, &mut used),
                Err(error) => {
                    self.refused.push(error);
                    continue;
                }
            };
            let path = path.join(name);
            if child.children.is_some() {
                self.folders.push(path.clone());
                self.add(child, &path);
            } else if child.item.kind != ItemKind::File {
                self.refused.push(DriveError::NoContent(Box::new(child.item.clone())));
            } else if is_here(&path, &child.item) {
                self.here += 1;
            } else {
                self.files.push((path, child.item.clone()));
            }
        }
    }

    /// The bytes to be fetched.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, item)| item.size).sum()
    }

    /// Makes the folders and fetches the files, `jobs` of them at once. A result for each file, in the order in which
    /// they ended.
    ///
    /// # Errors
    /// [`DriveError::Local`] if a folder cannot be made; nothing is fetched then.
    pub async fn carry_out(
        &self,
        drive: &Drive,
        jobs: usize,
        watch: WatchMany<'_>,
    ) -> DriveResult<Vec<(PathBuf, DriveResult<u64>)>> {
        for folder in &self.folders {
            fs::create_dir_all(folder).map_err(|error| DriveError::local("make the folder", folder, error))?;
        }
        let fetches = stream::iter(&self.files).map(async |(path, item)| {
            watch(path, Stage::Begins(item.size));
            let fetched = drive.download(item, path, &|done| watch(path, Stage::At(done))).await;
            watch(path, if fetched.is_ok() { Stage::Done } else { Stage::Ends });
            (path.clone(), fetched.map(|()| item.size))
        });
        Ok(fetches.buffer_unordered(jobs.max(1)).collect().await)
    }
}

/// A name of the cloud as the name of a local file: one that stays in its folder.
///
/// # Errors
/// [`DriveError::NoLocalName`].
pub fn local_name(name: &str) -> DriveResult<&str> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(DriveError::NoLocalName(name.to_owned()));
    }
    Ok(name)
}

/// A name that no other object of the folder has here: the old service lets two have the same.
fn apart(name: &str, used: &mut HashSet<String>) -> String {
    let (stem, ending) = name.rfind('.').filter(|&at| at > 0).map_or((name, ""), |at| name.split_at(at));
    let mut candidate = name.to_owned();
    let mut number = 2;
    while !used.insert(candidate.clone()) {
        candidate = format!("{stem} ({number}){ending}");
        number += 1;
    }
    candidate
}

fn is_here(path: &Path, item: &Item) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    path.symlink_metadata().is_ok_and(|metadata| {
        metadata.is_file() && metadata.size() == item.size && metadata.mtime() == item.modified.seconds()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_one_name_are_both_kept() {
        let mut used = HashSet::new();
        let names: Vec<String> =
            ["a.txt", "a.txt", "a.txt", ".x", ".x", "b"].iter().map(|name| apart(name, &mut used)).collect();
        assert_eq!(names, ["a.txt", "a (2).txt", "a (3).txt", ".x", ".x (2)", "b"]);
    }

    #[test]
    fn a_name_of_the_cloud_stays_in_its_folder() {
        for name in ["", ".", "..", "a/b", "../x", "a\0"] {
            assert!(matches!(local_name(name), Err(DriveError::NoLocalName(_))), "{name}");
        }
        assert_eq!(local_name("...").expect("fine"), "...");
    }
}
