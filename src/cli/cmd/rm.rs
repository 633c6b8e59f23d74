//! `onedrive-cli rm`: into the recycle bin.

use clap::Args;
use serde_json::Value;

use crate::cli::error::CliError;
use crate::cli::options::Dry;
use crate::cli::session::{Session, is_folder, shown};
use crate::cli::words::files;
use crate::drive::DriveError;

/// Arguments of `rm`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// What to delete; a folder goes with everything in it
    #[arg(value_name = "OBJECT", required = true, num_args = 1..)]
    objects: Vec<String>,

    /// Accepted for habit's sake: folders go with everything in them in any case
    #[arg(short, long)]
    recursive: bool,

    #[command(flatten)]
    dry: Dry,
}

/// Deletes objects. The service keeps them in its recycle bin for a while.
///
/// # Errors
/// One is not there, or as every call to the cloud; the others are deleted all the same.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let mut deleted = Vec::new();
    let mut failed = Vec::new();
    for object in &arguments.objects {
        match delete(object, arguments.dry.dry_run, session).await {
            Ok(Some(value)) => deleted.push(value),
            Ok(None) => {}
            Err(error) => failed.push(error),
        }
    }
    if !arguments.dry.dry_run {
        session.out.done(super::mv::one_or_list(deleted))?;
    }
    CliError::of_several(failed, arguments.objects.len())
}

async fn delete(object: &str, dry: bool, session: &Session) -> Result<Option<Value>, CliError> {
    let item = session.find_to_change(object).await?;
    if dry && item.parent.is_none() {
        return Err(DriveError::Root { moved: false }.into());
    }
    if dry {
        let mut what = shown(&item);
        if is_folder(&item) && item.link_to.is_none() {
            let (mut count, tree) = (0, session.tree(item, false).await?);
            tree.each(&mut |branch| count += u64::from(branch.children.is_none()));
            what = format!("the folder {what} and {} in it", files(count));
        }
        session.out.would(&format!("delete {what}"))?;
        return Ok(None);
    }
    session.delete(&item).await?;
    Ok(Some(session.object(&item)))
}
