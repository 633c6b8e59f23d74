//! `onedrive-cli get`: content to standard output, to a file, or a whole folder.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use crate::cli::error::{CliError, Kind};
use crate::cli::options::Dry;
use crate::cli::print::tamed;
use crate::cli::progress::Progress;
use crate::cli::session::{Session, is_folder, shown};
use crate::cli::transfer::down::{self, Part};
use crate::cli::transfer::local;
use crate::cli::walk::{self, Branch};
use crate::cli::words::files;
use crate::config::size::display_size;
use crate::remote::{Item, ItemKind};

/// Arguments of `get`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The file; a folder with --recursive
    #[arg(value_name = "OBJECT")]
    object: String,

    /// Where to: a file, or a folder that exists or ends in a slash; missing folders are made (default: standard output).
    /// With --recursive the folder's new name, or where to put it if this is . or ends in a slash (default: here)
    #[arg(value_name = "LOCAL")]
    to: Option<PathBuf>,

    /// Only these bytes: FIRST-LAST, FIRST- or -COUNT, as in the Range header of HTTP
    #[arg(short, long, value_name = "RANGE", value_parser = Part::parse, allow_hyphen_values = true)]
    byte_range: Option<Part>,

    /// A folder with everything in it; files that are here already, of the same size and time, are not fetched again
    #[arg(short, long, conflicts_with = "byte_range")]
    recursive: bool,

    /// How many files at once (setting: upload.concurrency)
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=32))]
    jobs: Option<u16>,

    #[command(flatten)]
    dry: Dry,
}

/// Fetches content.
///
/// # Errors
/// There is no such object, a local file cannot be written, or as every call to the cloud. Of a folder, all that can be
/// fetched is.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let item = session.find(Some(&arguments.object)).await?;
    if is_folder(&item) {
        if arguments.recursive {
            return folder(arguments, session, item).await;
        }
        return Err(CliError::new(Kind::WrongType, format!("{} is a folder", shown(&item)))
            .hint("with everything in it: onedrive-cli get -r"));
    }
    down::version(&item)?;
    let range = match arguments.byte_range {
        Some(part) => Some(part.of(item.size).ok_or_else(|| {
            CliError::new(Kind::Usage, format!("{} has no such bytes, only {}", shown(&item), display_size(item.size)))
        })?),
        None => None,
    };
    let Some(to) = &arguments.to else {
        if arguments.dry.dry_run {
            return session.out.would(&format!("print {}", shown(&item)));
        }
        return to_standard_output(session, &item, range.unwrap_or(0..item.size)).await;
    };
    let path = destination(to, &item)?;
    if arguments.dry.dry_run {
        return session.out.would(&format!("write {} to {}", shown(&item), path.display()));
    }
    make_folder_of(&path)?;
    let progress = Progress::new(session.out.quiet(), session.clock.clone());
    let size = range.as_ref().map_or(item.size, |range| range.end - range.start);
    let transfer = progress.transfer("fetched", &path.to_string_lossy(), Some(size));
    let watch = |done| transfer.at(done);
    match range {
        Some(range) => down::range_to_file(&*session.remote, &*session.clock, &item, range, &path, &watch).await?,
        None => down::to_file(&*session.remote, &*session.clock, &item, &path, &watch).await?,
    }
    transfer.done();
    session.out.done(json!({"path": path, "bytes": size, "object": session.object(&item)}))
}

/// Prints a range of a file as it is.
///
/// # Errors
/// As every call to the cloud. That nobody reads any more ends it without an error.
pub(super) async fn to_standard_output(
    session: &Session,
    item: &Item,
    range: std::ops::Range<u64>,
) -> Result<(), CliError> {
    let mut gone = false;
    let mut out = io::stdout();
    let result = down::fetch(&*session.remote, &*session.clock, item, range, &mut |bytes| {
        io::Write::write_all(&mut out, bytes).map_err(|error| {
            gone = error.kind() == io::ErrorKind::BrokenPipe;
            CliError::new(Kind::LocalFile, format!("cannot write the content: {error}"))
        })
    })
    .await;
    match result {
        Err(_) if gone => Ok(()),
        Err(error) => Err(error),
        Ok(_) => io::Write::flush(&mut io::stdout()).or_else(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(CliError::new(Kind::LocalFile, format!("cannot write the content: {error}"))),
        }),
    }
}

/// The local path of a file: inside what is a folder, else what was said.
fn destination(to: &Path, item: &Item) -> Result<PathBuf, CliError> {
    use std::os::unix::ffi::OsStrExt as _;
    if to.is_dir() || to.as_os_str().as_bytes().ends_with(b"/") {
        return Ok(to.join(local_name(&item.name)?));
    }
    Ok(to.to_owned())
}

/// Whether a folder is to be put into this path, rather than become it: `.`, `..` and what ends in a slash.
fn names_a_place(to: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    let text = to.as_os_str().as_bytes();
    text.ends_with(b"/") || text.ends_with(b"/.") || to.file_name().is_none()
}

/// A name of the cloud as the name of a local file: one that stays in its folder.
fn local_name(name: &str) -> Result<&str, CliError> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(CliError::new(Kind::BadName, format!("\"{}\" cannot be the name of a local file", tamed(name))));
    }
    Ok(name)
}

fn make_folder_of(path: &Path) -> Result<(), CliError> {
    match path.parent() {
        Some(folder) => fs::create_dir_all(folder).map_err(|error| local("make the folder", folder, &error)),
        None => Ok(()),
    }
}

/// What is to be done to have a folder here.
#[derive(Default)]
struct Plan<'a> {
    folders: Vec<PathBuf>,
    files: Vec<(PathBuf, &'a Item)>,
    refused: Vec<CliError>,
    here: u64,
}

async fn folder(arguments: &Arguments, session: &Session, item: Item) -> Result<(), CliError> {
    let name = if item.parent.is_none() { "OneDrive".to_owned() } else { item.name.clone() };
    let top = match &arguments.to {
        None => PathBuf::from(local_name(&name)?),
        Some(to) if names_a_place(to) => to.join(local_name(&name)?),
        // Also if it exists: a second try has to go on in the same place.
        Some(to) => to.clone(),
    };
    let tree = walk::tree(session, item, false).await?;
    let mut plan = Plan { folders: vec![top.clone()], ..Plan::default() };
    plan.add(&tree, &top);
    let bytes: u64 = plan.files.iter().map(|(_, item)| item.size).sum();
    let count = plan.files.len();
    if arguments.dry.dry_run {
        let what = format!("fetch {} of {} to {}", files(count as u64), display_size(bytes), top.display());
        session.out.would(&what)?;
        return CliError::of_several(plan.refused, count + 1);
    }
    for folder in &plan.folders {
        fs::create_dir_all(folder).map_err(|error| local("make the folder", folder, &error))?;
    }
    let jobs = arguments.jobs.map_or(session.context.config.upload.concurrency, usize::from);
    let progress = Progress::new(session.out.quiet(), session.clock.clone());
    let results: Vec<Result<Value, CliError>> = stream::iter(plan.files)
        .map(|(path, item)| {
            let progress = progress.clone();
            async move {
                let transfer = progress.transfer("fetched", &path.to_string_lossy(), Some(item.size));
                let watch = |done| transfer.at(done);
                down::to_file(&*session.remote, &*session.clock, item, &path, &watch)
                    .await
                    .map_err(|error| error.about(&path.to_string_lossy()))?;
                transfer.done();
                Ok(json!({"path": path, "bytes": item.size}))
            }
        })
        .buffer_unordered(jobs)
        .collect()
        .await;
    let mut failed = plan.refused;
    let mut fetched = Vec::new();
    for result in results {
        match result {
            Ok(value) => fetched.push(value),
            Err(error) => failed.push(error),
        }
    }
    let here = if plan.here > 0 { format!(", {} already here", files(plan.here)) } else { String::new() };
    session.out.note(&format!("{} fetched{here}", files(fetched.len() as u64)));
    session.out.done(Value::Array(fetched))?;
    CliError::of_several(failed, count + 1)
}

impl<'a> Plan<'a> {
    fn add(&mut self, branch: &'a Branch, path: &Path) {
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
                let sentence = format!("{}: the service does not give its content out", shown(&child.item));
                self.refused.push(CliError::new(Kind::WrongType, sentence));
            } else if is_here(&path, &child.item) {
                self.here += 1;
            } else {
                self.files.push((path, &child.item));
            }
        }
    }
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
            assert_eq!(local_name(name).expect_err(name).kind, Kind::BadName);
        }
        assert_eq!(local_name("...").expect("fine"), "...");
    }
}
