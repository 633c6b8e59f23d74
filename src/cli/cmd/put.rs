//! `onedrive-cli put`: a file, standard input, or a whole folder into the cloud.

use std::io;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::put_folder;
use crate::cli::context::Override;
use crate::cli::encoding::local_path;
use crate::cli::error::{CliError, Kind};
use crate::cli::options::Dry;
use crate::cli::print::tamed;
use crate::cli::progress::Progress;
use crate::cli::session::{Session, shown};
use crate::drive::{DriveError, How, own_name};

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

    /// Do not shrink pictures. Accepted for old scripts: they are never shrunk
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
    /// The settings that options stand for.
    pub(in crate::cli) fn overrides(&self) -> Vec<Override> {
        let hack = ("live.refresh_before_commit", "true", "--bits-do-auth-refresh-before-commit-hack");
        if self.bits_do_auth_refresh_before_commit_hack { vec![hack] } else { Vec::new() }
    }

    /// How files are sent.
    pub(super) fn how(&self, session: &Session) -> How {
        let asked = self.bits_frag_bytes.and_then(|bytes| u64::try_from(bytes).ok()).filter(|&bytes| bytes > 0);
        let usual = session.account.how();
        How { no_overwrite: self.no_overwrite, fragments: self.bits, fragment: asked.unwrap_or(usual.fragment) }
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
    let local = local_path(&arguments.local);
    if !input && local.is_dir() {
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
        std::fs::File::open(&local).map_err(|error| DriveError::local("read", &arguments.local, error))?;
    }
    let folder = session.find_folder_to_fill(arguments.folder.as_deref()).await?;
    if arguments.dry.dry_run {
        return session.out.would(&format!("send \"{name}\" to {}", shown(&folder)));
    }
    let how = arguments.how(session);
    let size = if input { None } else { std::fs::metadata(&local).map(|metadata| metadata.len()).ok() };
    let transfer = Progress::new(session.out.quiet(), session.clock.clone()).transfer("sent", &name, size);
    let watch = |done| transfer.at(done);
    let sent = if input {
        session.upload_from(&mut io::stdin().lock(), &folder, &name, &how, &watch).await?
    } else {
        session.upload(&local, &folder, &name, &how, &watch).await?
    };
    transfer.done();
    let item = sent.item();
    session.out.done(json!({"bytes": item.size, "object": session.object(item)}))
}
