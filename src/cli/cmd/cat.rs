//! `onedrive-cli cat`: files one after the other to standard output.

use clap::Args;

use super::get::to_standard_output;
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::drive::down;

/// Arguments of `cat`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The files
    #[arg(value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<String>,
}

/// Prints files as they are. All are looked up before the first is printed.
///
/// # Errors
/// One is not there or no file, or as every call to the cloud.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let mut items = Vec::new();
    for file in &arguments.files {
        let item = session.find(Some(file)).await?;
        down::version(&item)?;
        items.push(item);
    }
    for item in &items {
        to_standard_output(session, item, 0..item.size).await?;
    }
    Ok(())
}
