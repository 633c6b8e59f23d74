//! `onedrive-cli trash` and `onedrive-cli undelete`: the recycle bin of the service.

use clap::Args;
use serde_json::Value;

use crate::base::ids::ItemId;
use crate::cli::error::CliError;
use crate::cli::options::Dry;
use crate::cli::session::Session;
use crate::remote::extras::Beyond;

/// Arguments of `undelete`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The id that the object had
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    dry: Dry,
}

/// Prints what is in the recycle bin.
///
/// # Errors
/// [`Kind::NotOffered`](crate::cli::error::Kind::NotOffered) where the service does not show it to programs.
pub async fn run(session: &Session) -> Result<(), CliError> {
    let found = session.ask(async |extras| extras.trash().await).await?;
    session.out.data(Value::Array(found))
}

/// Brings an object back from the recycle bin to where it was.
///
/// # Errors
/// It is not there, or the service does not do that for this kind of account.
pub async fn run_undelete(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    session.offers(Beyond::Undelete)?;
    if arguments.dry.dry_run {
        return session.out.would(&format!("bring the object {} back", arguments.id));
    }
    let id = ItemId::new(&session.identity().await?.drive, &arguments.id);
    let item = session.extras.undelete(&id).await?;
    session.out.done(session.object(&item))
}
