//! `onedrive-cli auth_refresh`: a new access token now, whether the old one is still good or not.

use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::session::Session;

/// Renews the access token. It is stored on return, for a running mount too.
///
/// # Errors
/// Nobody is signed in, the service refuses, or it cannot be reached.
pub async fn run(session: &Session) -> Result<(), CliError> {
    let granted = session.account.refresh().await?;
    session.out.done(json!({ "scope_granted": granted }))
}
