//! `onedrive-cli put -r`: a local folder with everything in it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use super::put::{Arguments, own_name, unfinished};
use crate::cli::error::{CliError, Kind};
use crate::cli::print::tamed;
use crate::cli::progress::Progress;
use crate::cli::session::{Session, is_folder, shown};
use crate::cli::transfer::local;
use crate::cli::transfer::up::{self, Parcel, Sent};
use crate::cli::words::files;
use crate::config::size::display_size;
use crate::remote::{At, Item, RemoteErrorKind};

/// What lies in a local folder.
#[derive(Default)]
struct Found {
    /// Folders by their path below the top, parents first.
    folders: Vec<PathBuf>,
    /// Files by their path below the top, with their sizes.
    files: Vec<(PathBuf, u64)>,
    /// Neither: links, pipes, devices.
    others: Vec<PathBuf>,
    failed: Vec<CliError>,
}

/// Sends a folder.
///
/// # Errors
/// Whatever cannot be read or sent; the rest is sent all the same.
pub(super) async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let top = &arguments.local;
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => own_name(&std::path::absolute(top).map_err(|error| local("find", top, &error))?)?,
    };
    let mut found = Found::default();
    found.look(top, Path::new(""));
    let bytes: u64 = found.files.iter().map(|(_, size)| size).sum();
    let tried = found.files.len() + found.folders.len() + 1;
    let into = session.find_folder(arguments.folder.as_deref()).await?;
    for other in &found.others {
        session.out.note(&format!("{} is neither file nor folder; left out", top.join(other).display()));
    }
    if arguments.dry.dry_run {
        let (count, size) = (files(found.files.len() as u64), display_size(bytes));
        session.out.would(&format!("send {count} of {size} to \"{name}\" in {}", shown(&into)))?;
        return CliError::of_several(found.failed, tried);
    }
    let mut failed = found.failed;
    let mut folders: HashMap<PathBuf, Item> = HashMap::new();
    folders.insert(PathBuf::new(), folder(session, &into, &name).await?);
    for path in &found.folders {
        let parent = path.parent().and_then(|parent| folders.get(parent));
        // Where a folder could not be made, what is in it has been told with it.
        let Some(parent) = parent else { continue };
        let made = match own_name(path) {
            Ok(name) => folder(session, parent, &name).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(made) => drop(folders.insert(path.clone(), made)),
            Err(error) => failed.push(error.about(&top.join(path).to_string_lossy())),
        }
    }
    let how = arguments.how(session);
    let unfinished = unfinished(session);
    let progress = Progress::new(session.out.quiet(), session.clock.clone());
    let jobs = arguments.jobs.map_or(session.context.config.upload.concurrency, usize::from);
    let (how, unfinished, folders) = (&how, &unfinished, &folders);
    let results: Vec<Result<(PathBuf, Option<Sent>), CliError>> = stream::iter(found.files)
        .map(|(path, size)| {
            let progress = progress.clone();
            async move {
                let parent = path.parent().and_then(|parent| folders.get(parent));
                let Some(folder) = parent else { return Ok((path, None)) };
                let whole = top.join(&path);
                let about = |error: CliError| error.about(&whole.to_string_lossy());
                let name = own_name(&path).map_err(about)?;
                let parcel =
                    Parcel { path: &whole, folder, name: &name, skip_same: true, unfinished: Some(unfinished) };
                let transfer = progress.transfer("sent", &whole.to_string_lossy(), Some(size));
                let watch = |done| transfer.at(done);
                let sent = up::send(&*session.remote, &*session.clock, &parcel, how, &watch).await.map_err(about)?;
                if matches!(sent, Sent::Uploaded(_)) {
                    transfer.done();
                }
                Ok((path, Some(sent)))
            }
        })
        .buffer_unordered(jobs)
        .collect()
        .await;
    let (mut sent, mut same) = (Vec::new(), 0);
    for result in results {
        match result {
            Ok((path, Some(Sent::Uploaded(item)))) => {
                sent.push(json!({"path": top.join(path), "bytes": item.size, "object": session.object(&item)}));
            }
            Ok((_, Some(Sent::Same(_)))) => same += 1,
            Ok((_, None)) => {}
            Err(error) => failed.push(error),
        }
    }
    let there = if same > 0 { format!(", {} already there", files(same)) } else { String::new() };
    session.out.note(&format!("{} sent{there}", files(sent.len() as u64)));
    session.out.done(Value::Array(sent))?;
    CliError::of_several(failed, tried)
}

/// The folder of this name, made if it is missing.
async fn folder(session: &Session, parent: &Item, name: &str) -> Result<Item, CliError> {
    let id = parent.link_to.as_ref().unwrap_or(&parent.id);
    match session.remote.make_folder(id, name).await {
        Ok(made) => Ok(made),
        Err(error) if error.kind == RemoteErrorKind::Exists => {
            let found = session.remote.stat(At::Child(id, name)).await?;
            if is_folder(&found) {
                return Ok(found);
            }
            let sentence = format!("\"{}\" in {} is not a folder", tamed(name), shown(parent));
            Err(CliError::new(Kind::WrongType, sentence))
        }
        Err(error) => Err(error.into()),
    }
}

impl Found {
    /// Everything below `top`/`below`, in the order of names, links not followed.
    fn look(&mut self, top: &Path, below: &Path) {
        let folder = top.join(below);
        let listed = fs::read_dir(&folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        let mut entries = match listed {
            Ok(entries) => entries,
            Err(error) => return self.failed.push(local("read", &folder, &error)),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = below.join(entry.file_name());
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => {
                    self.folders.push(path.clone());
                    self.look(top, &path);
                }
                Ok(metadata) if metadata.is_file() => self.files.push((path, metadata.len())),
                Ok(_) => self.others.push(path),
                Err(error) => self.failed.push(local("read", &top.join(path), &error)),
            }
        }
    }
}
