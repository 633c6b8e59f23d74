//! Tokens: who we are to the service.
//!
//! A stand-in of the agreed shape; the sign-in flows replace this file.

use async_trait::async_trait;

use crate::base::secret::Secret;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The service says the sign-in is over (`invalid_grant`), and only that.
    #[error("signed out: {0}")]
    SignedOut(String),
    /// The sign-in service could not be asked.
    #[error("the sign-in service cannot be reached: {0}")]
    Unreachable(String),
    /// This machine failed on the way.
    #[error("{0}")]
    Local(String),
}

/// Where access tokens come from.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// A token that is valid for some minutes at least.
    async fn token(&self) -> Result<Secret<String>, AuthError>;

    /// Another token than this one, which the service has just refused.
    async fn renew(&self, rejected: &Secret<String>) -> Result<Secret<String>, AuthError>;
}
