//! `onedrive-cli recent` and `onedrive-cli shared`: what was used lately, and what others share.

use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::drive::View;

/// Prints the objects that were used lately, newest first.
///
/// # Errors
/// As every call to the cloud.
pub async fn run(session: &Session) -> Result<(), CliError> {
    session.out.data(session.view(View::Recent).await?)
}

/// Prints the objects that others share with this account.
///
/// # Errors
/// As every call to the cloud.
pub async fn run_shared(session: &Session) -> Result<(), CliError> {
    session.out.data(session.view(View::Shared).await?)
}
