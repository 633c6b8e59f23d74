//! `onedrive-cli mv`: into another folder, under another name, or both.

use clap::Args;
use serde_json::Value;

use crate::cli::error::{CliError, Kind};
use crate::cli::options::Dry;
use crate::cli::session::{Session, shown};
use crate::drive::DriveError;

/// Arguments of `mv`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// What to move, and last the folder where it goes (default: the root folder)
    #[arg(value_name = "OBJECT", required = true, num_args = 1..)]
    objects: Vec<String>,

    /// A new name for it; alone, it stays in its folder
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,

    #[command(flatten)]
    dry: Dry,
}

/// What is to go where: of several arguments the last is the folder.
pub(super) fn split(objects: &[String]) -> (&[String], Option<&str>) {
    match objects {
        [one] => (std::slice::from_ref(one), None),
        [first @ .., folder] => (first, Some(folder)),
        [] => (&[], None),
    }
}

/// Moves objects.
///
/// # Errors
/// Something of that name is there already, or as every call to the cloud. Of several, the first that fails ends it.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let (objects, folder) = split(&arguments.objects);
    if objects.len() > 1 && arguments.name.is_some() {
        return Err(CliError::new(Kind::Usage, "several objects cannot get one name"));
    }
    let folder = match (folder, &arguments.name) {
        (None, Some(_)) => None,
        (folder, _) => Some(session.find_folder_to_fill(folder).await?),
    };
    let mut found = Vec::new();
    for object in objects {
        found.push(session.find_to_change(object).await?);
    }
    let mut moved = Vec::new();
    for item in &found {
        if arguments.dry.dry_run && item.parent.is_none() {
            return Err(DriveError::Root { moved: true }.into());
        }
        if arguments.dry.dry_run {
            let to = folder.as_ref().map_or(String::new(), |folder| format!(" to {}", shown(folder)));
            let name = arguments.name.as_ref().map_or(String::new(), |name| format!(" under the name \"{name}\""));
            session.out.would(&format!("move {}{to}{name}", shown(item)))?;
            continue;
        }
        match session.relocate(item, folder.as_ref(), arguments.name.as_deref()).await {
            Ok(Some(there)) => moved.push(session.object(&there)),
            Ok(None) => session.out.note(&format!("{} is there already", shown(item))),
            Err(error @ (DriveError::Exists { .. } | DriveError::Root { .. })) => return Err(error.into()),
            Err(error) => return Err(CliError::from(error).about(&shown(item))),
        }
    }
    if arguments.dry.dry_run { Ok(()) } else { session.out.done(one_or_list(moved)) }
}

/// A single result as itself, several as a list.
pub(super) fn one_or_list(mut values: Vec<Value>) -> Value {
    if values.len() == 1 { values.remove(0) } else { Value::Array(values) }
}
