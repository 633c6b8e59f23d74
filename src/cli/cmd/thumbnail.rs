//! `onedrive-cli thumbnail`: a small picture of a file.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cli::encoding::{local_path, path_text};
use crate::cli::error::{CliError, Kind};
use crate::cli::options::Dry;
use crate::cli::session::{Session, shown};
use crate::drive::DriveError;
use crate::remote::RemoteErrorKind;
use crate::remote::extras::ThumbnailSize;

/// Arguments of `thumbnail`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The file
    #[arg(value_name = "FILE")]
    file: String,

    /// Where to (default: standard output)
    #[arg(value_name = "LOCAL")]
    to: Option<PathBuf>,

    /// How large
    #[arg(short, long, value_enum, value_name = "SIZE", default_value_t = Size::Medium)]
    size: Size,

    #[command(flatten)]
    dry: Dry,
}

/// Sizes that every service has.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Size {
    /// About 96 pixels
    Small,
    /// About 176 pixels
    Medium,
    /// About 800 pixels
    Large,
}

/// Fetches a thumbnail.
///
/// # Errors
/// The service has none of this file, the local file cannot be written, or as every call to the cloud.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let item = session.find(Some(&arguments.file)).await?;
    let to = arguments.to.as_deref().map(local_path);
    if arguments.dry.dry_run {
        let place = to.as_deref().map_or("standard output".into(), path_text);
        return session.out.would(&format!("write a small picture of {} to {place}", shown(&item)));
    }
    let size = match arguments.size {
        Size::Small => ThumbnailSize::Small,
        Size::Medium => ThumbnailSize::Medium,
        Size::Large => ThumbnailSize::Large,
    };
    let picture = session
        .ask(async |extras| {
            extras.thumbnail(&item.id, size).await.map_err(|mut error| {
                if error.kind == RemoteErrorKind::NotFound {
                    error.context = format!("the service has no picture of {}", shown(&item));
                }
                error
            })
        })
        .await?;
    match &to {
        None => match io::stdout().lock().write_all(&picture) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(CliError::new(Kind::LocalFile, format!("cannot write the picture: {error}")))
            }
            _ => Ok(()),
        },
        Some(path) => {
            let mut written = std::fs::File::create(path);
            if let Ok(file) = &mut written {
                file.write_all(&picture).map_err(|error| DriveError::local("write", path, error))?;
            }
            written.map_err(|error| DriveError::local("write", path, error))?;
            session.out.done(json!({"path": path_text(path), "bytes": picture.len()}))
        }
    }
}
