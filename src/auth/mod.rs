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
//!
//! Tokens that were stored once are good for as long as they are used:
//!
//! ```
//! # #[cfg(feature = "demo")]
//! # #[tokio::main(flavor = "multi_thread", worker_threads = 2)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use onedrive_mount::emulator::{Emulator, Options};
//! # let service = Emulator::start(Options::default()).await?;
//! # let issued = service.oauth().issue_tokens();
//! # let folder = tempfile::tempdir()?;
//! # let (file, settings) = (folder.path().join("token.json"), folder.path().join("config.yaml"));
//! # std::fs::write(&settings, format!("client: {{id: test}}\nendpoints: {{login: \"{}\"}}\n", service.endpoints().login))?;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use onedrive_mount::auth::{Authority, Renewer, TokenSource, Tokens, Vault};
//! use onedrive_mount::base::clock::{Clock, SystemClock};
//! use onedrive_mount::base::secret::Secret;
//! use onedrive_mount::config::Layers;
//!
//! let config = Layers::built_in().file(&settings, true)?.finish()?;
//! let (authority, clock) = (Authority::from_config(&config)?, Arc::new(SystemClock::new()));
//! let lifetime = Duration::from_secs(3600);
//! let tokens = Tokens {
//!     access: Secret::new(issued.access.clone()),
//!     refresh: Some(Secret::new(issued.refresh)),
//!     expires: clock.now().plus(lifetime),
//!     lifetime,
//!     scope: String::new(),
//!     identity: authority.identity(),
//! };
//! let vault = Vault::new(&file);
//! vault.store(&tokens, &vault.lock(&*clock).await?)?;
//!
//! let renewer = Renewer::new(authority, Vault::new(&file), clock);
//! let token = renewer.token().await?;
//! assert_eq!(*token.expose(), issued.access);
//! // The service says that it is over: there is a new one, and the file has what the next renewal needs.
//! assert_ne!(*renewer.renew(&token).await?.expose(), issued.access);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "demo"))]
//! # fn main() {}
//! ```

pub(crate) mod answer;
pub mod authority;
pub mod flow;
mod loopback;
mod neighbour;
mod renewal;
pub mod vault;

#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod others_tests;
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

    /// The tokens in use are those of somebody else: what is stored is looked at again before the next answer.
    fn read_again(&self) {}

    /// A number for the tokens in use. It changes whenever tokens are taken that somebody else has stored, which may be
    /// those of another account, and stays when they are renewed here.
    fn line(&self) -> u64 {
        0
    }
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
    /// The person, or the service, granted less than the program needs. What was granted is stored.
    #[error("the sign-in lacks the permission {missing}; sign in again and allow it: onedrive-cli auth")]
    MissingPermission {
        /// What is missing, in the service's words.
        missing: String,
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
