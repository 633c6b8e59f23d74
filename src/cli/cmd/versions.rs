//! `onedrive-cli versions` and `onedrive-cli restore`: what a file was before.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::options::Dry;
use crate::cli::print::tamed;
use crate::cli::session::{Session, shown};
use crate::remote::extras::Beyond;

/// Arguments of `versions`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The file
    #[arg(value_name = "FILE")]
    file: String,
}

/// Arguments of `restore`.
#[derive(Args, Debug)]
pub struct RestoreArguments {
    /// The file
    #[arg(value_name = "FILE")]
    file: String,

    /// Which version, as versions prints its id
    #[arg(value_name = "VERSION")]
    version: String,

    #[command(flatten)]
    dry: Dry,
}

/// Prints the versions of a file, newest first.
///
/// # Errors
/// There is no such file, or as every call to the cloud.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let item = session.find(Some(&arguments.file)).await?;
    let versions = session.ask(async |extras| extras.versions(&item.id).await).await?;
    session.out.data(Value::Array(versions))
}

/// Makes a former version the newest one.
///
/// # Errors
/// There is no such version, or as every call to the cloud.
pub async fn run_restore(arguments: &RestoreArguments, session: &Session) -> Result<(), CliError> {
    let item = session.find_to_change(&arguments.file).await?;
    let about = format!("version {} of {}", tamed(&arguments.version), shown(&item));
    session.offers(Beyond::Restore).map_err(|error| error.about(&about))?;
    if arguments.dry.dry_run {
        return session.out.would(&format!("bring version {} of {} back", arguments.version, shown(&item)));
    }
    let restored = session.extras.restore_version(&item.id, &arguments.version).await;
    restored.map_err(|error| CliError::from(error).about(&about))?;
    session.out.done(json!({"id": item.id.id, "version": arguments.version}))
}
