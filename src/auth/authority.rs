//! The conversation with the sign-in service, and what its answers mean.
//!
//! One place knows the URLs, the form fields and the error codes of OAuth 2.0 as the Microsoft identity platform v2.0
//! speaks it; everybody else sees [`Grant`]s and [`AuthError`]s.
//!
//! Sources: <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow>,
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-device-code>, RFC 6749, RFC 7636, RFC 8628.

use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use url::{Host, Url};

use super::{AuthError, Tokens};
use crate::base::clock::Clock;
use crate::base::name::presentable;
use crate::base::secret::Secret;
use crate::config::{Cloud, Config};

/// What the mount asks for: its own files and those that others share, who the person is, and to stay signed in.
const SCOPES: [&str; 2] = ["Files.ReadWrite.All", "User.Read"];

/// The largest answer that is read, in bytes. Tokens of work accounts reach a few thousand.
const LARGEST_ANSWER: usize = 256 << 10;

/// The longest time that the service may name, for how long something lasts or how long to wait: a mistyped number must
/// not outlive the person.
const LONGEST_TIME: u64 = 90 * 86_400;

/// The longest that the service may ask to be left alone.
const LONGEST_PAUSE: u64 = 3600;

/// A sign-in service, as one registered application sees it.
#[derive(Clone, Debug)]
pub struct Authority {
    http: Client,
    base: Url,
    client_id: String,
    client_secret: Option<Secret<String>>,
    scope: String,
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

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Seconds,
    #[serde(default)]
    scope: String,
}

#[derive(Deserialize)]
struct DeviceAnswer {
    device_code: String,
    user_code: String,
    verification_uri: String,
    #[serde(default)]
    expires_in: Seconds,
    #[serde(default)]
    interval: Seconds,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
    #[serde(default)]
    error_description: String,
}

/// A number of seconds, which some servers send as a string.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(from = "SecondsForm")]
struct Seconds(Option<u64>);

#[derive(Deserialize)]
#[serde(untagged)]
enum SecondsForm {
    Number(u64),
    Text(String),
}

impl From<SecondsForm> for Seconds {
    fn from(form: SecondsForm) -> Self {
        match form {
            SecondsForm::Number(seconds) => Seconds(Some(seconds)),
            SecondsForm::Text(text) => Seconds(text.parse().ok()),
        }
    }
}

impl Seconds {
    fn or(self, otherwise: u64) -> Duration {
        Duration::from_secs(self.0.unwrap_or(otherwise).min(LONGEST_TIME))
    }
}

impl Authority {
    /// The sign-in service and the application that the settings name.
    ///
    /// # Errors
    /// [`AuthError::NoClientId`]; [`AuthError::Unreachable`] if this machine cannot do TLS.
    pub fn from_config(config: &Config) -> Result<Self, AuthError> {
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
        })
    }

    /// Whom tokens are issued to and by, in words: tokens of one identity are worthless to another.
    pub fn identity(&self) -> String {
        format!("application {} at {}", self.client_id, self.base.origin().ascii_serialization())
    }

    /// The page where a person signs in. It leads to `redirect` with `code` and `state`.
    pub fn authorize_url(&self, redirect: &str, state: &str, challenge: &str) -> Url {
        let mut url = self.endpoint("authorize");
        url.query_pairs_mut()
            .append_pair("client_id", &self.client_id)
            .append_pair("response_type", "code")
            .append_pair("redirect_uri", redirect)
            .append_pair("response_mode", "query")
            .append_pair("scope", &self.scope)
            .append_pair("state", state)
            .append_pair("code_challenge", challenge)
            .append_pair("code_challenge_method", "S256")
            // Somebody with two accounts must be able to say which.
            .append_pair("prompt", "select_account");
        url
    }

    /// Trades the code of a redirect for tokens. `redirect` is the same as in [`Authority::authorize_url`].
    ///
    /// # Errors
    /// [`AuthError::Refused`] if the code is used up, too old or damaged; otherwise as for [`Authority::refresh`].
    pub async fn redeem(&self, code: &str, redirect: &str, verifier: &Secret<String>) -> Result<Grant, AuthError> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
            ("code_verifier", verifier.expose()),
        ];
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
        self.grant(&[("grant_type", "refresh_token"), ("refresh_token", refresh.expose()), ("scope", &self.scope)])
            .await
    }

    /// Asks for a code that a person types on another device.
    ///
    /// # Errors
    /// As for [`Authority::refresh`].
    pub async fn device_code(&self) -> Result<DeviceCode, AuthError> {
        let (status, body, retry_after) = self.post("devicecode", &[("scope", &self.scope)]).await?;
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
        let (status, body, retry_after) = self.post("token", form).await?;
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
        endpoint: &str,
        form: &[(&str, &str)],
    ) -> Result<(StatusCode, Secret<Vec<u8>>, Option<Duration>), AuthError> {
        let mut fields = vec![("client_id", self.client_id.as_str())];
        if let Some(secret) = self.client_secret.as_ref().filter(|_| endpoint == "token") {
            fields.push(("client_secret", secret.expose()));
        }
        fields.extend_from_slice(form);
        let unreachable =
            |error: reqwest::Error| AuthError::Unreachable { reason: reasons(&error.without_url()), retry_after: None };
        let mut answer = self.http.post(self.endpoint(endpoint)).form(&fields).send().await.map_err(unreachable)?;
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

    fn endpoint(&self, name: &str) -> Url {
        self.base.join(name).expect("invariant: the base ends in a slash and the names are ours")
    }
}

/// What an answer without tokens means.
///
/// | status | `error` in the body | meaning |
/// | --- | --- | --- |
/// | 400, 401, 403 | `invalid_grant` | signed out |
/// | 408, 429, 5xx | any | unreachable, with the wish of `Retry-After` |
/// | other | `temporarily_unavailable`, `server_error` | unreachable |
/// | other 4xx | any other | refused |
/// | any | none | unreachable: a portal or a proxy has answered, not the service |
fn meaning(status: StatusCode, body: &[u8], retry_after: Option<Duration>) -> AuthError {
    let answer = serde_json::from_slice::<ErrorAnswer>(body).ok();
    let busy =
        status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    match answer {
        Some(answer) if answer.error.len() > 64 || !answer.error.bytes().all(|byte| byte.is_ascii_graphic()) => {
            // An error code is a word, and it is printed.
            AuthError::Unreachable { reason: format!("HTTP {status} without a usable answer"), retry_after }
        }
        Some(ErrorAnswer { error, error_description }) if !busy && status.is_client_error() => {
            let description = first_sentence(&error_description);
            match error.as_str() {
                "invalid_grant" => AuthError::SignedOut { reason: description },
                "temporarily_unavailable" | "server_error" => {
                    AuthError::Unreachable { reason: description, retry_after }
                }
                _ => AuthError::Refused { code: error, description },
            }
        }
        Some(answer) => AuthError::Unreachable { reason: format!("HTTP {status}, {}", answer.error), retry_after },
        None => AuthError::Unreachable { reason: format!("HTTP {status} without a usable answer"), retry_after },
    }
}

/// The part of a description that people can use: the service appends trace ids and times.
fn first_sentence(description: &str) -> String {
    let end = description.find("Trace ID").unwrap_or(description.len());
    let line = description[..end].lines().next().unwrap_or_default().trim().trim_end_matches('.');
    if line.is_empty() { "no reason given".to_owned() } else { presentable(line) }
}

/// A text that is shown as it is, without what a terminal would obey.
fn one_line(text: &str, longest: usize) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).take(longest).collect()
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

#[cfg(any(test, feature = "fuzzing"))]
/// Any bytes as an answer of the sign-in service.
pub(crate) fn fuzz(data: &[u8]) {
    let sober = |duration: Duration| assert!(duration <= Duration::from_secs(LONGEST_TIME));
    if let Ok(answer) = serde_json::from_slice::<TokenAnswer>(data) {
        sober(answer.expires_in.or(3600));
    }
    if let Ok(answer) = serde_json::from_slice::<DeviceAnswer>(data) {
        sober(answer.expires_in.or(900));
        sober(answer.interval.or(5));
        assert!(one_line(&answer.verification_uri, 500).is_ascii());
    }
    for status in [200, 302, 400, 401, 429, 500] {
        let status = StatusCode::from_u16(status).expect("invariant: a status");
        let text = meaning(status, data, None).to_string();
        assert!(text.chars().count() < 600 && !text.contains('\u{1b}'), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> AuthError {
        meaning(StatusCode::from_u16(status).expect("a status"), body.as_bytes(), Some(Duration::from_secs(7)))
    }

    #[test]
    fn only_invalid_grant_means_signed_out() {
        let body = |code: &str| format!("{{\"error\":\"{code}\",\"error_description\":\"AADSTS1: Why. Trace ID: 9\"}}");
        for status in [400, 401, 403] {
            assert!(
                matches!(of(status, &body("invalid_grant")), AuthError::SignedOut { reason } if reason == "AADSTS1: Why")
            );
        }
        for code in ["invalid_client", "unauthorized_client", "invalid_request", "interaction_required", "invented"] {
            assert!(matches!(of(400, &body(code)), AuthError::Refused { code: said, .. } if said == code));
        }
        for (status, body) in [
            (400, body("temporarily_unavailable")),
            (500, body("invalid_grant")),
            (429, body("invalid_grant")),
            (503, String::new()),
            (403, "<html>Log in to the hotel</html>".to_owned()),
            (200, "<html>Log in to the hotel</html>".to_owned()),
            (302, String::new()),
        ] {
            assert!(of(status, &body).is_transient(), "{status} {body}");
        }
        assert!(matches!(of(503, ""), AuthError::Unreachable { retry_after: Some(wait), .. } if wait.as_secs() == 7));
    }

    #[test]
    fn seconds_come_as_numbers_and_as_text() {
        let lifetime =
            |json: &str| serde_json::from_str::<TokenAnswer>(json).expect("valid").expires_in.or(3600).as_secs();
        assert_eq!(lifetime(r#"{"access_token":"A","expires_in":3599}"#), 3599);
        assert_eq!(lifetime(r#"{"access_token":"A","expires_in":"60"}"#), 60);
        assert_eq!(lifetime(r#"{"access_token":"A"}"#), 3600);
    }
}
