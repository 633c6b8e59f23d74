//! A valid access token, whenever one is asked for.
//!
//! The service hands out short-lived access tokens against a refresh token that it replaces at will. Lose the newest
//! refresh token, or let two processes spend the same one, and the user has to sign in again; mistake a dead network
//! for a revoked account, and the user is told to sign in for nothing. What always holds here:
//!
//! - a refresh token is on disk before it is ever spent ([`Vault`]);
//! - one refresh at a time, in this process and across processes, and whoever waited takes its result ([`Renewer`]);
//! - only `invalid_grant` means signed out; a network that fails leaves the old token in use until it expires;
//! - secrets are [`Secret`]s, and no error carries one.
//!
//! [`flow`] is how the first tokens come about, [`authority`] the conversation with the sign-in service.

pub mod authority;
pub mod flow;
mod loopback;
mod renewal;
pub mod vault;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::base::secret::Secret;

pub use authority::Authority;
pub use renewal::Renewer;
pub use vault::{Tokens, Vault, VaultError};

/// Where access tokens come from.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// A token that is valid as far as this machine can tell. Usually answers from memory.
    ///
    /// # Errors
    /// [`AuthError`]; after [`AuthError::Unreachable`] it is worth asking again.
    async fn token(&self) -> Result<Secret<String>, AuthError>;

    /// Another token than `rejected`, which the service has just answered with 401. Refreshes unless somebody has
    /// already done so.
    ///
    /// # Errors
    /// [`AuthError`].
    async fn renew(&self, rejected: &Secret<String>) -> Result<Secret<String>, AuthError>;
}

/// Why there is no token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuthError {
    /// Nobody has signed in yet.
    #[error("you are not signed in; run: onedrive-cli auth")]
    NotSignedIn,
    /// The service has withdrawn the sign-in (`invalid_grant`): a changed password, a revoked permission, 90 days unused.
    #[error("you are signed out ({reason}); to sign in again, run: onedrive-cli auth")]
    SignedOut {
        /// The service's words.
        reason: String,
    },
    /// The stored tokens belong to another application or sign-in service than the settings name.
    #[error("the stored sign-in belongs to {stored}, the settings say {wanted}; run: onedrive-cli auth")]
    OtherApplication {
        /// Whom the tokens were issued to.
        stored: String,
        /// Whom the settings name.
        wanted: String,
    },
    /// The service understood and said no, to the application rather than to the person.
    #[error("the sign-in service refused: {description} ({code}){}", advice(code))]
    Refused {
        /// The error code of OAuth, such as `invalid_client`.
        code: String,
        /// The service's words.
        description: String,
    },
    /// No usable answer: no network, a server in trouble, a portal in between. Says nothing about the account.
    #[error("the sign-in service cannot be reached ({reason}); the next attempt follows by itself")]
    Unreachable {
        /// What happened.
        reason: String,
        /// How long the service asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// Neither the settings nor the build name an application.
    #[error(
        "no application to sign in to: set client.id in the settings (how to register one: contrib/REGISTER.md), \
         or give --client-id"
    )]
    NoClientId,
    /// The token file cannot be read or written.
    #[error(transparent)]
    Vault(Arc<VaultError>),
}

impl AuthError {
    /// Whether it is worth asking again without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, AuthError::Unreachable { .. })
    }
}

impl From<VaultError> for AuthError {
    fn from(error: VaultError) -> Self {
        AuthError::Vault(Arc::new(error))
    }
}

/// What a person can do about a refusal.
fn advice(code: &str) -> &'static str {
    match code {
        "invalid_client" | "unauthorized_client" | "invalid_request" | "unsupported_grant_type" => {
            "; check client.id, client.secret and tenant against the registration of the application"
        }
        "invalid_scope" | "invalid_resource" => "; check cloud and endpoints in the settings",
        "interaction_required" | "consent_required" | "login_required" => {
            "; the organisation wants you to confirm something, run: onedrive-cli auth"
        }
        _ => "",
    }
}

/// A token that never changes: for tests, and for servers that take any.
#[derive(Clone, Debug)]
pub struct StaticToken(pub Secret<String>);

impl StaticToken {
    /// Wraps a token.
    pub fn new(token: impl Into<String>) -> Self {
        Self(Secret::new(token.into()))
    }
}

#[async_trait]
impl TokenSource for StaticToken {
    async fn token(&self) -> Result<Secret<String>, AuthError> {
        Ok(self.0.clone())
    }

    async fn renew(&self, _: &Secret<String>) -> Result<Secret<String>, AuthError> {
        Err(AuthError::SignedOut { reason: "a fixed token was refused".to_owned() })
    }
}
