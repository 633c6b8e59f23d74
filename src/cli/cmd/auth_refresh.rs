//! `onedrive-cli auth_refresh`: a new access token now, whether the old one is still good or not.

use serde_json::json;

use crate::auth::TokenSource as _;
use crate::cli::error::CliError;
use crate::cli::session::Session;

/// Renews the access token. It is stored on return, for a running mount too.
///
/// # Errors
/// Nobody is signed in, the service refuses, or it cannot be reached.
pub async fn run(session: &Session) -> Result<(), CliError> {
    let current = session.tokens.token().await?;
    session.tokens.renew(&current).await?;
    let stored = session.context.vault().load().map_err(crate::auth::AuthError::from)?;
    let granted: Vec<String> =
        stored.map(|tokens| tokens.scope.split_whitespace().map(str::to_owned).collect()).unwrap_or_default();
    session.out.done(json!({ "scope_granted": granted }))
}
