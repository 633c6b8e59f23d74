//! The conversation with the sign-in service, and what its answers mean.
//!
//! One place knows the URLs, the form fields and the error codes of OAuth 2.0 as two services speak it: the Microsoft
//! identity platform v2.0, and the Live sign-in that belongs to Live v5.0. Everybody else sees [`Grant`]s and
//! [`AuthError`]s.
//!
//! | | platform v2.0 | Live |
//! | --- | --- | --- |
//! | pages | `{tenant}/oauth2/v2.0/authorize`, `token`, `devicecode` | `oauth20_authorize.srf`, `oauth20_token.srf` |
//! | comes back to | this machine, by a loopback address | `oauth20_desktop.srf`, an empty page; or the application's own site |
//! | proof of the code | PKCE | the client secret, if there is one |
//! | secret at a renewal | always, if there is one | only for an application of the web: one for desktops is refused with it |
//! | `state` | always comes back | checked if it comes back |
//! | a code typed on another device | yes | no |
//!
//! Sources: <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow>,
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-device-code>, RFC 6749, RFC 7636, RFC 8628; for Live
//! <https://learn.microsoft.com/onedrive/developer/rest-api/getting-started/msa-oauth>, and for what is sent by which
//! kind of application <https://github.com/mk-fg/python-onedrive>.

use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, StatusCode};
use url::{Host, Url};

use super::answer::{DeviceAnswer, LONGEST_PAUSE, TokenAnswer, meaning, one_line};
use super::{AuthError, Tokens};
use crate::base::clock::Clock;
use crate::base::secret::Secret;
use crate::config::{Cloud, Config, Protocol};

/// What the mount asks for: its own files and those that others share, who the person is, and to stay signed in.
const SCOPES: [&str; 2] = ["Files.ReadWrite.All", "User.Read"];

/// What is needed of a Live account: to change its files (which includes reading them), and to stay signed in.
const LIVE_NEEDED: [&str; 2] = ["wl.skydrive_update", "wl.offline_access"];

/// The same with the older name for reading, and with the files that others share.
const LIVE_SCOPES: &str = "wl.skydrive wl.skydrive_update wl.contacts_skydrive wl.offline_access";

/// The page where the Live sign-in leads applications for desktops: fixed, whichever server signs in, as every client
/// has it built in.
const LIVE_DESKTOP: &str = "https://login.live.com/oauth20_desktop.srf";

/// Where a browser on another machine is sent. Nobody listens there; the person copies the address it ends up at.
const PASTE_REDIRECT: &str = "http://localhost:27419";

/// The largest answer that is read, in bytes. Tokens of work accounts reach a few thousand.
const LARGEST_ANSWER: usize = 256 << 10;

/// A sign-in service, as one registered application sees it.
#[derive(Clone, Debug)]
pub struct Authority {
    http: Client,
    base: Url,
    client_id: String,
    client_secret: Option<Secret<String>>,
    scope: String,
    dialect: Dialect,
}

/// Which of the two services it is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Dialect {
    Platform,
    Live {
        /// Where the browser ends.
        redirect: String,
        /// The application is one of the web: it has to show its secret whenever it asks.
        web: bool,
    },
}

/// Where a page of the service is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Page {
    Authorize,
    Token,
    DeviceCode,
}

/// Tokens as the service has just issued them.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The access token.
    pub access: Secret<String>,
    /// A new refresh token, if the service sent one; otherwise the old one stays good.
    pub refresh: Option<Secret<String>>,
    /// How long the access token is valid from now.
    pub lifetime: Duration,
    /// The permissions granted.
    pub scope: String,
}

impl Grant {
    /// As what is stored: dated by `clock`, and with the refresh token that is good from now on.
    pub fn into_tokens(self, authority: &Authority, clock: &dyn Clock, previous: Option<Secret<String>>) -> Tokens {
        Tokens {
            access: self.access,
            refresh: self.refresh.or(previous),
            expires: clock.now().plus(self.lifetime),
            lifetime: self.lifetime,
            scope: self.scope,
            identity: authority.identity(),
        }
    }
}

/// The two halves of a sign-in on another device.
#[derive(Clone, Debug)]
pub struct DeviceCode {
    /// What this program polls with.
    pub device_code: Secret<String>,
    /// What the person types.
    pub user_code: String,
    /// Where the person types it. Differs between kinds of accounts.
    pub verification_uri: String,
    /// How long both are good.
    pub expires_in: Duration,
    /// How long to wait between polls.
    pub interval: Duration,
}

/// The answer to a poll.
#[derive(Clone, Debug)]
pub enum DevicePoll {
    /// Nobody has typed the code yet.
    Pending,
    /// The same, and the polls come too fast.
    SlowDown,
    /// Signed in.
    Granted(Grant),
    /// The person said no.
    Declined,
    /// The code is too old, or unknown.
    Expired,
}

impl Authority {
    /// The sign-in service and the application that the settings name.
    ///
    /// # Errors
    /// [`AuthError::NoClientId`]; [`AuthError::Unreachable`] if this machine cannot do TLS.
    pub fn from_config(config: &Config) -> Result<Self, AuthError> {
        match config.protocol {
            Protocol::Graph => Self::platform(config),
            Protocol::Live => Self::live(config),
        }
    }

    fn platform(config: &Config) -> Result<Self, AuthError> {
        let base = format!("{}/{}/oauth2/v2.0/", config.login_url(), config.tenant);
        let base = Url::parse(&base).expect("invariant: the settings hold checked base URLs and tenants");
        // Outside the global cloud a short permission name is not tied to that cloud's Graph.
        let prefix = match config.cloud {
            Cloud::Global => String::new(),
            other => format!("{}/", other.graph_host()),
        };
        let mut scope: Vec<String> = SCOPES.iter().map(|name| format!("{prefix}{name}")).collect();
        scope.push("offline_access".to_owned());
        Ok(Self {
            http: http_client(&base)?,
            base,
            client_id: config.client.id.clone().ok_or(AuthError::NoClientId)?,
            client_secret: config.client.secret.clone(),
            scope: scope.join(" "),
            dialect: Dialect::Platform,
        })
    }

    fn live(config: &Config) -> Result<Self, AuthError> {
        let base =
            Url::parse(&format!("{}/", config.login_url())).expect("invariant: the settings hold checked base URLs");
        let redirect = config.client.redirect.as_ref().map_or(LIVE_DESKTOP, |redirect| redirect.as_str()).to_owned();
        let web = !redirect.ends_with("/oauth20_desktop.srf");
        Ok(Self {
            http: http_client(&base)?,
            base,
            client_id: config.client.id.clone().ok_or(AuthError::NoClientId)?,
            client_secret: config.client.secret.clone(),
            scope: LIVE_SCOPES.to_owned(),
            dialect: Dialect::Live { redirect, web },
        })
    }

    /// Whether the browser can be sent back to this machine, where the program listens. Otherwise a person has to bring
    /// the address that the browser ends up at.
    pub fn comes_back_by_itself(&self) -> bool {
        self.dialect == Dialect::Platform
    }

    /// Whether a person can sign in by typing a code on another device.
    pub fn has_device_codes(&self) -> bool {
        self.dialect == Dialect::Platform
    }

    /// Whether what came back without the `state` that was sent is to be taken. One that differs never is.
    pub fn may_leave_state_out(&self) -> bool {
        self.dialect != Dialect::Platform
    }

    /// Where the browser is sent if a person brings the address that it ends up at.
    pub fn paste_redirect(&self) -> &str {
        match &self.dialect {
            Dialect::Platform => PASTE_REDIRECT,
            Dialect::Live { redirect, .. } => redirect,
        }
    }

    /// What is granted less than is needed; nothing if the service did not say what it granted, for then it is what was
    /// asked for (RFC 6749, section 5.1). Order and additions do not matter.
    pub fn missing_scopes(&self, granted: &str) -> Vec<&'static str> {
        // The platform never lists offline_access, and spells the others in several ways.
        let needed: &[&'static str] = if self.dialect == Dialect::Platform { &[] } else { &LIVE_NEEDED };
        let granted: Vec<&str> = granted.split([' ', ',']).filter(|scope| !scope.is_empty()).collect();
        let missing = needed.iter().filter(|scope| !granted.is_empty() && !granted.contains(scope));
        missing.copied().collect()
    }

    /// Refuses tokens that allow less than is needed.
    ///
    /// # Errors
    /// [`AuthError::MissingPermission`].
    pub(super) fn enough(&self, tokens: &Tokens) -> Result<(), AuthError> {
        let missing = self.missing_scopes(&tokens.scope);
        if missing.is_empty() { Ok(()) } else { Err(AuthError::MissingPermission { missing: missing.join(" ") }) }
    }

    /// Whom tokens are issued to and by, in words: tokens of one identity are worthless to another.
    pub fn identity(&self) -> String {
        identity(&self.client_id, &self.base)
    }

    /// The [`Authority::identity`] that the settings lead to.
    pub fn identity_of(config: &Config) -> String {
        let base = Url::parse(&config.login_url()).expect("invariant: the settings hold checked base URLs");
        identity(config.client.id.as_deref().unwrap_or_default(), &base)
    }

    /// The page where a person signs in. It leads to `redirect` with `code` and `state`.
    pub fn authorize_url(&self, redirect: &str, state: &str, challenge: &str) -> Url {
        let mut url = self.endpoint(Page::Authorize);
        let mut query = url.query_pairs_mut();
        query
            .append_pair("client_id", &self.client_id)
            .append_pair("response_type", "code")
            .append_pair("redirect_uri", redirect)
            .append_pair("scope", &self.scope)
            .append_pair("state", state);
        if self.dialect == Dialect::Platform {
            query
                .append_pair("response_mode", "query")
                .append_pair("code_challenge", challenge)
                .append_pair("code_challenge_method", "S256")
                // Somebody with two accounts must be able to say which.
                .append_pair("prompt", "select_account");
        }
        drop(query);
        url
    }

    /// Trades the code of a redirect for tokens. `redirect` is the same as in [`Authority::authorize_url`].
    ///
    /// # Errors
    /// [`AuthError::Refused`] if the code is used up, too old or damaged; otherwise as for [`Authority::refresh`].
    pub async fn redeem(&self, code: &str, redirect: &str, verifier: &Secret<String>) -> Result<Grant, AuthError> {
        let mut form = vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect)];
        match (&self.dialect, &self.client_secret) {
            (Dialect::Platform, _) => form.push(("code_verifier", verifier.expose())),
            // Both kinds of applications show it here, if they have one.
            (Dialect::Live { .. }, Some(secret)) => form.push(("client_secret", secret.expose())),
            _ => {}
        }
        // A code that is not accepted signs nobody out.
        self.grant(&form).await.map_err(|error| match error {
            AuthError::SignedOut { reason } => {
                AuthError::Refused { code: "invalid_grant".to_owned(), description: reason }
            }
            other => other,
        })
    }

    /// Trades a refresh token for new tokens.
    ///
    /// # Errors
    /// [`AuthError::SignedOut`] only for `invalid_grant`; [`AuthError::Refused`] for every other no;
    /// [`AuthError::Unreachable`] when there was no answer that means anything.
    pub async fn refresh(&self, refresh: &Secret<String>) -> Result<Grant, AuthError> {
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", refresh.expose().as_str())];
        match &self.dialect {
            Dialect::Platform => form.push(("scope", &self.scope)),
            Dialect::Live { redirect, web } => {
                form.push(("redirect_uri", redirect));
                if let Some(secret) = self.client_secret.as_ref().filter(|_| *web) {
                    form.push(("client_secret", secret.expose()));
                }
            }
        }
        self.grant(&form).await
    }

    /// Asks for a code that a person types on another device.
    ///
    /// # Errors
    /// As for [`Authority::refresh`].
    pub async fn device_code(&self) -> Result<DeviceCode, AuthError> {
        let (status, body, retry_after) = self.post(Page::DeviceCode, &[("scope", &self.scope)]).await?;
        match serde_json::from_slice::<DeviceAnswer>(body.expose()) {
            Ok(answer) if status.is_success() => Ok(DeviceCode {
                device_code: Secret::new(answer.device_code),
                // Both are printed.
                user_code: one_line(&answer.user_code, 64),
                verification_uri: one_line(&answer.verification_uri, 500),
                expires_in: answer.expires_in.or(900),
                interval: answer.interval.or(5).min(Duration::from_secs(LONGEST_PAUSE)),
            }),
            _ => Err(meaning(status, body.expose(), retry_after)),
        }
    }

    /// Asks whether the person has typed the code.
    ///
    /// # Errors
    /// As for [`Authority::refresh`].
    pub async fn poll_device(&self, code: &DeviceCode) -> Result<DevicePoll, AuthError> {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", code.device_code.expose().as_str()),
        ];
        match self.grant(&form).await {
            Ok(grant) => Ok(DevicePoll::Granted(grant)),
            Err(AuthError::Refused { code, .. }) if code == "authorization_pending" => Ok(DevicePoll::Pending),
            Err(AuthError::Refused { code, .. }) if code == "slow_down" => Ok(DevicePoll::SlowDown),
            Err(AuthError::Refused { code, .. }) if code == "authorization_declined" || code == "access_denied" => {
                Ok(DevicePoll::Declined)
            }
            Err(AuthError::Refused { code, .. }) if code == "expired_token" || code == "bad_verification_code" => {
                Ok(DevicePoll::Expired)
            }
            Err(AuthError::SignedOut { .. }) => Ok(DevicePoll::Expired),
            Err(other) => Err(other),
        }
    }

    async fn grant(&self, form: &[(&str, &str)]) -> Result<Grant, AuthError> {
        let (status, body, retry_after) = self.post(Page::Token, form).await?;
        match serde_json::from_slice::<TokenAnswer>(body.expose()) {
            Ok(answer) if status.is_success() => Ok(Grant {
                access: Secret::new(answer.access_token),
                refresh: answer.refresh_token.map(Secret::new),
                lifetime: answer.expires_in.or(3600),
                scope: answer.scope,
            }),
            _ => Err(meaning(status, body.expose(), retry_after)),
        }
    }

    async fn post(
        &self,
        page: Page,
        form: &[(&str, &str)],
    ) -> Result<(StatusCode, Secret<Vec<u8>>, Option<Duration>), AuthError> {
        let mut fields = vec![("client_id", self.client_id.as_str())];
        let always_shown = self.dialect == Dialect::Platform && page == Page::Token;
        if let Some(secret) = self.client_secret.as_ref().filter(|_| always_shown) {
            fields.push(("client_secret", secret.expose()));
        }
        fields.extend_from_slice(form);
        let unreachable =
            |error: reqwest::Error| AuthError::Unreachable { reason: reasons(&error.without_url()), retry_after: None };
        let mut answer = self.http.post(self.endpoint(page)).form(&fields).send().await.map_err(unreachable)?;
        let status = answer.status();
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let mut body = Secret::new(Vec::new());
        while let Some(piece) = answer.chunk().await.map_err(unreachable)? {
            if body.expose().len() + piece.len() > LARGEST_ANSWER {
                let reason = "the answer has no end".to_owned();
                return Err(AuthError::Unreachable { reason, retry_after: None });
            }
            let mut longer = Vec::with_capacity(body.expose().len() + piece.len());
            longer.extend_from_slice(body.expose());
            longer.extend_from_slice(&piece);
            body = Secret::new(longer);
        }
        let retry_after = retry_after.map(|seconds: u64| Duration::from_secs(seconds.min(LONGEST_PAUSE)));
        Ok((status, body, retry_after))
    }

    fn endpoint(&self, page: Page) -> Url {
        let name = match (page, &self.dialect) {
            (Page::Authorize, Dialect::Platform) => "authorize",
            (Page::Token, Dialect::Platform) => "token",
            (Page::Authorize, Dialect::Live { .. }) => "oauth20_authorize.srf",
            (Page::Token, Dialect::Live { .. }) => "oauth20_token.srf",
            // Nobody asks Live for it; see `has_device_codes`.
            (Page::DeviceCode, _) => "devicecode",
        };
        self.base.join(name).expect("invariant: the base ends in a slash and the names are ours")
    }
}

fn identity(client: &str, base: &Url) -> String {
    format!("application {client} at {}", base.origin().ascii_serialization())
}

/// An error and its causes in one line: reqwest keeps the interesting part at the bottom.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn http_client(base: &Url) -> Result<Client, AuthError> {
    // Another part of the program may have installed it before; either way there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let on_this_machine = match base.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let mut builder = Client::builder()
        .user_agent(concat!("onedrive-mount/", env!("CARGO_PKG_VERSION")))
        // A redirect would carry the refresh token to wherever it points.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .timeout(Duration::from_secs(30))
        .https_only(!on_this_machine);
    if on_this_machine {
        // Nothing here needs a certificate, and a bare image has none to load.
        builder = builder.no_proxy().tls_certs_only([]);
    }
    builder.build().map_err(|error| AuthError::Unreachable { reason: reasons(&error), retry_after: None })
}
