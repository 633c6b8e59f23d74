//! `onedrive-cli info`, also called `stat`: everything that is known of one object.

use clap::Args;

use crate::cli::error::CliError;
use crate::cli::session::Session;

/// Arguments of `info`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The object (default: the root folder)
    #[arg(value_name = "OBJECT")]
    object: Option<String>,
}

/// Prints one object, or what the old service tells at a path of its own.
///
/// # Errors
/// There is no such object, or as every call to the cloud.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    if let Some(view) = session.view_at(arguments.object.as_deref()) {
        return session.out.data(session.view(view).await?);
    }
    let item = session.find(arguments.object.as_deref()).await?;
    session.out.data(session.look(&item).await?)
}
