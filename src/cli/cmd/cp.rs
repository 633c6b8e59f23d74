//! `onedrive-cli cp`: a copy, made by the service.

use clap::Args;
use futures_util::stream::{self, StreamExt as _};

use super::mv::{one_or_list, split};
use crate::cli::error::{CliError, Kind};
use crate::cli::options::Dry;
use crate::cli::session::{Session, is_folder, shown};
use crate::drive::DriveError;

/// Copies under way at the same time.
const AT_ONCE: usize = 4;

/// Arguments of `cp`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// What to copy, and last the folder where it goes (default: the root folder)
    #[arg(value_name = "OBJECT", required = true, num_args = 1..)]
    objects: Vec<String>,

    /// A name for the copy
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,

    /// Folders too, with everything in them
    #[arg(short, long)]
    recursive: bool,

    #[command(flatten)]
    dry: Dry,
}

/// Copies objects; each copy is there on return. Nothing goes through this machine.
///
/// # Errors
/// Something of that name is there already, or as every call to the cloud. Of several, all that can be copied are.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let (objects, folder) = split(&arguments.objects);
    if objects.len() > 1 && arguments.name.is_some() {
        return Err(CliError::new(Kind::Usage, "several copies cannot get one name"));
    }
    let folder = session.find_folder_to_fill(folder).await?;
    let mut found = Vec::new();
    for object in objects {
        let item = session.find(Some(object)).await?;
        if is_folder(&item) && !arguments.recursive {
            return Err(CliError::new(Kind::WrongType, format!("{} is a folder", shown(&item)))
                .hint("with everything in it: onedrive-cli cp -r"));
        }
        found.push(item);
    }
    if arguments.dry.dry_run {
        let name = arguments.name.as_ref().map_or(String::new(), |name| format!(" under the name \"{name}\""));
        return found
            .iter()
            .try_for_each(|item| session.out.would(&format!("copy {} to {}{name}", shown(item), shown(&folder))));
    }
    let name = arguments.name.as_deref();
    let results: Vec<Result<_, CliError>> = stream::iter(&found)
        .map(async |item| match session.copy(item, &folder, name).await {
            Ok(copy) => Ok(session.object(&copy)),
            Err(error @ DriveError::Exists { .. }) => Err(error.into()),
            Err(error) => Err(CliError::from(error).about(&shown(item))),
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let (mut copied, mut failed) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => copied.push(value),
            Err(error) => failed.push(error),
        }
    }
    session.out.done(one_or_list(copied))?;
    CliError::of_several(failed, found.len())
}
