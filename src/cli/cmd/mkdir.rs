//! `onedrive-cli mkdir`: a new folder.

use clap::Args;

use crate::cli::error::{CliError, Kind};
use crate::cli::options::Dry;
use crate::cli::print::tamed;
use crate::cli::session::{Session, is_folder, shown};
use crate::cli::target::names;
use crate::remote::{At, Item, RemoteErrorKind};

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
    let mut names = names(&arguments.name);
    let Some(last) = names.pop() else {
        return Err(CliError::new(Kind::Usage, "a folder needs a name"));
    };
    let mut at = session.find_folder(arguments.folder.as_deref()).await?;
    let mut missing = Vec::new();
    for name in names {
        if missing.is_empty() {
            match child(session, &at, &name).await? {
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
        let parent = at.link_to.as_ref().unwrap_or(&at.id).clone();
        at = match session.remote.make_folder(&parent, name).await {
            Ok(made) => made,
            Err(error) if error.kind == RemoteErrorKind::Exists => match child(session, &at, name).await? {
                Some(found) if is_folder(&found) && arguments.parents => found,
                _ => return Err(taken(name, &at)),
            },
            Err(error) => return Err(CliError::from(error).about(&format!("the folder \"{name}\""))),
        };
    }
    if let Some(properties) = properties {
        at = properties.apply(session, &at).await.map_err(|error| error.about("the folder is made, but"))?;
    }
    session.out.done(session.object(&at))
}

/// The name is taken.
pub(super) fn taken(name: &str, folder: &Item) -> CliError {
    CliError::new(Kind::Exists, format!("there is already a \"{}\" in {}", tamed(name), shown(folder)))
}

async fn child(session: &Session, folder: &Item, name: &str) -> Result<Option<Item>, CliError> {
    let id = folder.link_to.as_ref().unwrap_or(&folder.id);
    match session.remote.stat(At::Child(id, name)).await {
        Ok(item) => Ok(Some(item)),
        Err(error) if error.kind == RemoteErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
