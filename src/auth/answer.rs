//! What the sign-in service answers, and what it means when there are no tokens in it.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

use super::AuthError;
use crate::base::name::presentable;

/// The longest time that the service may name, for how long something lasts or how long to wait: a mistyped number must
/// not outlive the person.
const LONGEST_TIME: u64 = 90 * 86_400;

/// The longest that the service may ask to be left alone.
pub(super) const LONGEST_PAUSE: u64 = 3600;

#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    pub(super) access_token: String,
    pub(super) refresh_token: Option<String>,
    #[serde(default)]
    pub(super) expires_in: Seconds,
    #[serde(default)]
    pub(super) scope: String,
}

#[derive(Deserialize)]
pub(super) struct DeviceAnswer {
    pub(super) device_code: String,
    pub(super) user_code: String,
    pub(super) verification_uri: String,
    #[serde(default)]
    pub(super) expires_in: Seconds,
    #[serde(default)]
    pub(super) interval: Seconds,
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
pub(super) struct Seconds(Option<u64>);

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
    pub(super) fn or(self, otherwise: u64) -> Duration {
        Duration::from_secs(self.0.unwrap_or(otherwise).min(LONGEST_TIME))
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
pub(super) fn meaning(status: StatusCode, body: &[u8], retry_after: Option<Duration>) -> AuthError {
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
pub(super) fn one_line(text: &str, longest: usize) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).take(longest).collect()
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
