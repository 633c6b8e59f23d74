//! `onedrive-cli info`, also called `stat`: everything that is known of one object.

use clap::Args;

use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::remote::At;

/// Arguments of `info`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The object (default: the root folder)
    #[arg(value_name = "OBJECT")]
    object: Option<String>,
}

/// Prints one object.
///
/// # Errors
/// There is no such object, or as every call to the cloud.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let item = session.find(arguments.object.as_deref()).await?;
    let seen = session.ask(async |extras| extras.look(At::Id(&item.id)).await).await?;
    session.out.data(seen.object)
}
