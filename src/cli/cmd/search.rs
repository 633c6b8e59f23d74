//! `onedrive-cli search`: asks the index of the service, which knows contents too.

use clap::Args;
use serde_json::Value;

use crate::cli::error::CliError;
use crate::cli::session::Session;

/// Arguments of `search`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The text to look for, in names and contents
    #[arg(value_name = "TEXT")]
    text: String,

    /// Only below this folder (default: everywhere)
    #[arg(value_name = "FOLDER")]
    folder: Option<String>,

    /// Whole objects instead of names
    #[arg(short, long)]
    objects: bool,
}

/// Prints what is found. New files are found after a while only: the index follows; `find` looks at the files themselves.
///
/// # Errors
/// There is no such folder, or as every call to the cloud.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let folder = session.find_folder(arguments.folder.as_deref()).await?;
    let found = session.ask(async |extras| extras.search(&folder.id, &arguments.text).await).await?;
    if arguments.objects || session.out.json() || session.out.selects() {
        return session.out.data(Value::Array(found));
    }
    let names = found.into_iter().map(|object| object.get("name").cloned().unwrap_or(Value::Null));
    session.out.data(Value::Array(names.collect()))
}
