//! `onedrive-cli put`: a file, standard input, or a whole folder into the cloud.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::put_folder;
use crate::cli::error::{CliError, Kind};
use crate::cli::options::Dry;
use crate::cli::print::tamed;
use crate::cli::progress::Progress;
use crate::cli::session::{Session, shown};
use crate::cli::transfer::local;
use crate::cli::transfer::partial::Unfinished;
use crate::cli::transfer::up::{self, How, Parcel, Sent};

/// Arguments of `put`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The local file, - for standard input, or a folder with --recursive
    #[arg(value_name = "LOCAL")]
    pub(super) local: PathBuf,

    /// The folder where it goes (default: the root folder)
    #[arg(value_name = "FOLDER")]
    pub(super) folder: Option<String>,

    /// Under this name instead of its own
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,

    /// Fail if something of that name is there already, instead of replacing it
    #[arg(short, long)]
    pub(super) no_overwrite: bool,

    /// Do not shrink pictures. Accepted for old scripts: only the old service ever did
    #[arg(short = 'd', long)]
    no_downsize: bool,

    /// In fragments, however small it is. Large files go in fragments anyway
    #[arg(short, long)]
    bits: bool,

    /// Bytes in a fragment (setting: upload.fragment_size); 0 and less count as not given
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    bits_frag_bytes: Option<i64>,

    /// Renew the sign-in before a large file is made visible (the old service only)
    #[arg(long)]
    bits_do_auth_refresh_before_commit_hack: bool,

    /// A folder with everything in it; files that are there already, of the same size and time, are not sent again
    #[arg(short, long)]
    pub(super) recursive: bool,

    /// How many files at once (setting: upload.concurrency)
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(super) jobs: Option<u16>,

    #[command(flatten)]
    pub(super) dry: Dry,
}

impl Arguments {
    /// How files are sent.
    pub(super) fn how(&self, session: &Session) -> How {
        let asked = self.bits_frag_bytes.and_then(|bytes| u64::try_from(bytes).ok()).filter(|&bytes| bytes > 0);
        How {
            no_overwrite: self.no_overwrite,
            fragments: self.bits,
            fragment: asked.unwrap_or(session.context.config.upload.fragment_size),
        }
    }
}

/// Sends a file. It is in the cloud on return.
///
/// # Errors
/// The local file cannot be read, with --no-overwrite the name is taken, or as every call to the cloud.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let input = arguments.local.as_os_str() == "-";
    if input && arguments.recursive {
        return Err(CliError::new(Kind::Usage, "standard input is no folder"));
    }
    if !input && arguments.local.is_dir() {
        if arguments.recursive {
            return put_folder::run(arguments, session).await;
        }
        let sentence = format!("{} is a folder", tamed(&arguments.local.display().to_string()));
        return Err(CliError::new(Kind::WrongType, sentence).hint("with everything in it: onedrive-cli put -r"));
    }
    let name = match (&arguments.name, input) {
        (Some(name), _) => name.clone(),
        (None, true) => return Err(CliError::new(Kind::Usage, "standard input has no name; give one: --name NAME")),
        (None, false) => own_name(&arguments.local)?,
    };
    if !input {
        std::fs::File::open(&arguments.local).map_err(|error| local("read", &arguments.local, &error))?;
    }
    let folder = session.find_folder(arguments.folder.as_deref()).await?;
    if arguments.dry.dry_run {
        return session.out.would(&format!("send \"{name}\" to {}", shown(&folder)));
    }
    let how = arguments.how(session);
    let unfinished = unfinished(session);
    let spooled = if input { Some(spool(session)?) } else { None };
    let (path, unfinished): (&Path, _) = match &spooled {
        Some(file) => (file.path(), None),
        None => (&arguments.local, Some(&unfinished)),
    };
    let parcel = Parcel { path, folder: &folder, name: &name, skip_same: false, unfinished };
    let size = std::fs::metadata(path).map(|metadata| metadata.len()).ok();
    let progress = Progress::new(session.out.quiet(), session.clock.clone());
    let transfer = progress.transfer("sent", &name, size);
    let sent = up::send(&*session.remote, &*session.clock, &parcel, &how, &|done| transfer.at(done)).await?;
    transfer.done();
    let (Sent::Uploaded(item) | Sent::Same(item)) = sent;
    session.out.done(json!({"bytes": item.size, "object": session.object(&item)}))
}

/// Uploads of this profile that were broken off.
pub(super) fn unfinished(session: &Session) -> Unfinished {
    Unfinished::new(session.context.places.state.join("uploads"))
}

/// The name of a local file, as the name of one in the cloud.
pub(super) fn own_name(path: &Path) -> Result<String, CliError> {
    let name = path.file_name().map(|name| name.to_str().map(str::to_owned));
    match name {
        Some(Some(name)) => Ok(name),
        Some(None) => {
            let path = tamed(&path.display().to_string());
            Err(CliError::new(Kind::BadName, format!("the name of {path} is not UTF-8; give another: --name NAME")))
        }
        None => Err(CliError::new(Kind::Usage, format!("{} has no name; give one: --name NAME", path.display()))),
    }
}

/// Standard input as a file, because the service wants to know the size before the content.
fn spool(session: &Session) -> Result<tempfile::NamedTempFile, CliError> {
    let folder = &session.context.places.cache;
    let failed = |error: io::Error| local("keep standard input in", folder, &error);
    crate::base::private::folder(folder).map_err(failed)?;
    let mut file = tempfile::Builder::new().prefix(".stdin-").tempfile_in(folder).map_err(failed)?;
    io::copy(&mut io::stdin().lock(), &mut file).map_err(failed)?;
    Ok(file)
}
