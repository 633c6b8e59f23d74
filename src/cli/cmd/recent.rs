//! `onedrive-cli recent` and `onedrive-cli shared`: what was used lately, and what others share.

use serde_json::Value;

use crate::cli::error::CliError;
use crate::cli::session::Session;

/// Prints the objects that were used lately, newest first.
///
/// # Errors
/// As every call to the cloud.
pub async fn run(session: &Session) -> Result<(), CliError> {
    let found = session.ask(async |extras| extras.recent().await).await?;
    session.out.data(Value::Array(found))
}

/// Prints the objects that others share with this account.
///
/// # Errors
/// As every call to the cloud.
pub async fn run_shared(session: &Session) -> Result<(), CliError> {
    let found = session.ask(async |extras| extras.shared().await).await?;
    session.out.data(Value::Array(found))
}
