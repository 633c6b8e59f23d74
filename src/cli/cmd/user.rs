//! `onedrive-cli user`: who is signed in.

use crate::cli::error::CliError;
use crate::cli::session::Session;

/// Prints what the account lets us know of its owner.
///
/// # Errors
/// As every call to the cloud.
pub async fn run(session: &Session) -> Result<(), CliError> {
    let user = session.ask(async |extras| extras.user().await).await?;
    session.out.data(user)
}
