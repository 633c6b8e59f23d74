//! `onedrive-cli mkdir`: a new folder.

use clap::Args;

use crate::cli::error::{CliError, Kind};
use crate::cli::options::Dry;
use crate::cli::print::tamed;
use crate::cli::session::{Session, is_folder, shown};
use crate::drive::DriveError;
use crate::drive::target::names;

/// Arguments of `mkdir`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The name of the new folder; with slashes in it, the last part is the name and the rest the way to it
    #[arg(value_name = "NAME")]
    name: String,

    /// Where (default: the root folder)
    #[arg(value_name = "FOLDER")]
    folder: Option<String>,

    /// Also make the folders on the way to it that are missing; one that exists already is fine
    #[arg(short, long)]
    parents: bool,

    /// Properties of the new folder as a JSON object, such as '{"description": "..."}'
    #[arg(short, long, value_name = "JSON")]
    metadata: Option<String>,

    #[command(flatten)]
    dry: Dry,
}

/// Makes a folder.
///
/// # Errors
/// The name is taken, a folder on the way is missing, or as every call to the cloud.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let properties = match &arguments.metadata {
        Some(text) => Some(super::info_set::Properties::parse(text)?),
        None => None,
    };
    if let Some(properties) = &properties {
        properties.check(session)?;
    }
    let mut names = names(&arguments.name);
    let Some(last) = names.pop() else {
        return Err(CliError::new(Kind::Usage, "a folder needs a name"));
    };
    let mut at = session.find_folder_to_fill(arguments.folder.as_deref()).await?;
    let mut missing = Vec::new();
    for name in names {
        if missing.is_empty() {
            match session.child(&at, &name).await? {
                Some(found) if is_folder(&found) => {
                    at = found;
                    continue;
                }
                Some(found) => {
                    return Err(CliError::new(Kind::WrongType, format!("{} is not a folder", shown(&found))));
                }
                None if !arguments.parents => {
                    let sentence = format!("there is no folder \"{}\" in {}", tamed(&name), shown(&at));
                    return Err(CliError::new(Kind::NotFound, sentence).hint("to make it too: mkdir -p"));
                }
                None => {}
            }
        }
        missing.push(name);
    }
    missing.push(last);
    if arguments.dry.dry_run {
        return session.out.would(&format!("make the folder \"{}\" in {}", missing.join("/"), shown(&at)));
    }
    for name in &missing {
        at = match session.make_folder(&at, name).await {
            Ok(made) => made,
            Err(error @ DriveError::Exists { .. }) => match session.child(&at, name).await? {
                Some(found) if is_folder(&found) && arguments.parents => found,
                _ => return Err(error.into()),
            },
            Err(error) => return Err(CliError::from(error).about(&format!("the folder \"{name}\""))),
        };
    }
    if let Some(properties) = properties {
        at = properties.apply(session, &at).await.map_err(|error| error.about("the folder is made, but"))?;
    }
    session.out.done(session.object(&at))
}
