//! `onedrive-cli get`: content to standard output, to a file, or a whole folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::encoding::{local_path, path_text};
use crate::cli::error::{CliError, Kind};
use crate::cli::options::Dry;
use crate::cli::progress::{Board, Progress};
use crate::cli::session::{Session, is_folder, shown};
use crate::cli::words::files;
use crate::config::size::display_size;
use crate::drive::down::{self, Part};
use crate::drive::{DriveError, FolderDownload, local_name};
use crate::remote::Item;

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
    let Some(to) = arguments.to.as_deref().map(local_path) else {
        if arguments.dry.dry_run {
            return session.out.would(&format!("print {}", shown(&item)));
        }
        return to_standard_output(session, &item, range.unwrap_or(0..item.size)).await;
    };
    let path = destination(&to, &item)?;
    if arguments.dry.dry_run {
        return session.out.would(&format!("write {} to {}", shown(&item), path_text(&path)));
    }
    make_folder_of(&path)?;
    let progress = Progress::new(session.out.quiet(), session.clock.clone());
    let size = range.as_ref().map_or(item.size, |range| range.end - range.start);
    let transfer = progress.transfer("fetched", &path_text(&path), Some(size));
    let watch = |done| transfer.at(done);
    match range {
        Some(range) => session.download_range(&item, range, &path, &watch).await?,
        None => session.download(&item, &path, &watch).await?,
    }
    transfer.done();
    session.out.done(json!({"path": path_text(&path), "bytes": size, "object": session.object(&item)}))
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
    let mut out = io::stdout();
    let written = match session.read_to(item, range, &mut out).await {
        Ok(_) => io::Write::flush(&mut out).map_err(DriveError::Sink),
        Err(error) => Err(error),
    };
    match written {
        Err(DriveError::Sink(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
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

fn make_folder_of(path: &Path) -> Result<(), CliError> {
    match path.parent() {
        Some(folder) => {
            fs::create_dir_all(folder).map_err(|error| DriveError::local("make the folder", folder, error).into())
        }
        None => Ok(()),
    }
}

async fn folder(arguments: &Arguments, session: &Session, item: Item) -> Result<(), CliError> {
    let name = if item.parent.is_none() { "OneDrive".to_owned() } else { item.name.clone() };
    let top = match arguments.to.as_deref().map(local_path) {
        None => PathBuf::from(local_name(&name)?),
        Some(to) if names_a_place(&to) => to.join(local_name(&name)?),
        // Also if it exists: a second try has to go on in the same place.
        Some(to) => to,
    };
    let plan = FolderDownload::plan(&session.tree(item, false).await?, &top);
    let count = plan.files.len();
    if arguments.dry.dry_run {
        let (many, bytes) = (files(count as u64), display_size(plan.bytes()));
        session.out.would(&format!("fetch {many} of {bytes} to {}", path_text(&top)))?;
        return CliError::of_several(plan.refused.into_iter().map(CliError::from).collect(), count + 1);
    }
    let jobs = arguments.jobs.map_or(session.context.config.upload.concurrency, usize::from);
    let board = Board::new(Progress::new(session.out.quiet(), session.clock.clone()), "fetched");
    let results = plan.carry_out(session, jobs, &|path, stage| board.show(path, stage)).await?;
    let mut failed: Vec<CliError> = plan.refused.into_iter().map(CliError::from).collect();
    let mut fetched = Vec::new();
    for (path, result) in results {
        match result {
            Ok(bytes) => fetched.push(json!({"path": path_text(&path), "bytes": bytes})),
            Err(error) => failed.push(CliError::from(error).about(&path_text(&path))),
        }
    }
    let here = if plan.here > 0 { format!(", {} already here", files(plan.here)) } else { String::new() };
    session.out.note(&format!("{} fetched{here}", files(fetched.len() as u64)));
    session.out.done(Value::Array(fetched))?;
    CliError::of_several(failed, count + 1)
}
