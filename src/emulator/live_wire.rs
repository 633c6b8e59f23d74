//! How Live Connect v5.0 writes: JSON with bare carriage returns, times without a colon, flat errors, and the
//! parameters by which a client chooses between these.
//!
//! Everything that a client gets from `/v5.0` leaves through [`Style::answer`] or [`Style::refuse`], so no route can
//! forget `callback`, `pretty` or `suppress_response_codes`. Forms are those of the vendor's pages on the REST
//! reference and its additional URL parameters, and of answers quoted in client projects.

use std::collections::HashMap;

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::drive::DriveError;
use super::wire::{Answer, Call, Payload, pairs, wire_time};
use crate::base::clock::Timestamp;

/// A refusal: status, code, text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LiveError {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl LiveError {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// 400 `request_body_invalid`.
    pub(crate) fn body(message: impl Into<String>) -> Self {
        Self::new(400, "request_body_invalid", message)
    }

    /// 400 `request_url_invalid`.
    pub(crate) fn url(message: impl Into<String>) -> Self {
        Self::new(400, "request_url_invalid", message)
    }

    /// 400 `request_parameter_invalid`.
    pub(crate) fn parameter(name: &str) -> Self {
        let message = format!("The value of input resource parameter '{name}' isn't valid.");
        Self::new(400, "request_parameter_invalid", message)
    }

    /// 404 `resource_not_found`.
    pub(crate) fn missing() -> Self {
        Self::new(404, "resource_not_found", "The resource couldn't be found.")
    }

    /// 405 `request_method_invalid`.
    pub(crate) fn method(method: &str) -> Self {
        Self::new(405, "request_method_invalid", format!("The provided HTTP method '{method}' is not allowed."))
    }

    /// 413, of which no code is known.
    pub(crate) fn large() -> Self {
        Self::new(413, "request_body_too_large", "The request body is larger than the service takes.")
    }
}

impl From<DriveError> for LiveError {
    fn from(error: DriveError) -> Self {
        match error {
            DriveError::Missing => Self::missing(),
            DriveError::Taken => Self::new(409, "resource_already_exists", "A resource with this name already exists."),
            DriveError::Name(_) | DriveError::PathLong => Self::parameter("name"),
            DriveError::NotFolder => Self::url("The resource isn't a folder."),
            DriveError::NotFile => Self::url("The resource isn't a file."),
            DriveError::Root => Self::new(403, "resource_access_denied", "The root folder can't be changed."),
            DriveError::Cycle => Self::body("A folder can't be moved into itself."),
            DriveError::Locked => Self::new(423, "resource_locked", "The resource is in use."),
            DriveError::Full => {
                Self::new(507, "resource_quota_exceeded", "There isn't enough space for this resource.")
            }
            DriveError::Held => Self::new(403, "resource_access_denied", "A policy forbids it."),
        }
    }
}

/// A request's query, read once.
pub(crate) struct Query(HashMap<String, String>);

impl Query {
    pub(crate) fn read(text: &str) -> Result<Self, LiveError> {
        let pairs = pairs(text).ok_or_else(|| LiveError::url("The query isn't well formed."))?;
        Ok(Self(pairs.into_iter().collect()))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// A parameter that is `true` or `false`.
    pub(crate) fn switch(&self, key: &str, default: bool) -> Result<bool, LiveError> {
        match self.get(key) {
            None | Some("") => Ok(default),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => Err(LiveError::parameter(key)),
        }
    }

    /// A parameter that is a number.
    pub(crate) fn number(&self, key: &str) -> Result<Option<usize>, LiveError> {
        self.get(key).map(|text| text.parse().map_err(|_| LiveError::parameter(key))).transpose()
    }
}

/// The method a request means: it may travel inside GET and POST.
pub(crate) fn method(sent: &Method, query: &str) -> String {
    let inside = pairs(query).and_then(|pairs| pairs.into_iter().find(|(key, _)| key == "method"));
    match inside {
        Some((_, method)) if !method.is_empty() && matches!(sent.as_str(), "GET" | "POST") => method.to_uppercase(),
        _ => sent.to_string(),
    }
}

/// How one client wants its answers.
#[derive(Default)]
pub(crate) struct Style {
    compact: bool,
    callback: Option<String>,
    status_200: bool,
}

impl Style {
    /// As the query asks for; a query that cannot be read asks for nothing.
    pub(crate) fn of(query: &str) -> Self {
        let Ok(query) = Query::read(query) else { return Self::default() };
        let on = |key: &str| query.get(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let name = |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "_.$".contains(c));
        let callback = query.get("callback").filter(name).map(str::to_owned);
        Self {
            compact: query.get("pretty").is_some_and(|value| value.eq_ignore_ascii_case("false")),
            status_200: callback.is_some() || on("suppress_response_codes"),
            callback,
        }
    }

    /// An answer with this object.
    pub(crate) fn answer(&self, status: u16, value: &Value) -> Answer {
        let text = if self.compact { value.to_string() } else { returned(value) };
        let (kind, text) = match &self.callback {
            Some(name) => ("text/javascript; charset=UTF-8", format!("{name}({text});")),
            None => ("application/json; charset=UTF-8", text),
        };
        Answer {
            status: if self.status_200 { 200 } else { status },
            headers: vec![("content-type", kind.into()), ("cache-control", "private, no-cache, no-store".into())],
            payload: Payload::Bytes(text.into()),
        }
    }

    /// An answer with an error.
    pub(crate) fn refuse(&self, error: &LiveError) -> Answer {
        let answer = self.answer(error.status, &json!({"error": {"code": error.code, "message": error.message}}));
        match error.status {
            401 => answer.with("www-authenticate", format!("Bearer realm=\"OneDriveAPI\", error=\"{}\"", error.code)),
            _ => answer,
        }
    }
}

/// JSON indented by three, its lines ended by carriage returns alone.
pub(crate) fn returned(value: &Value) -> String {
    use serde::Serialize as _;
    let mut out = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(b"   ");
    let mut writer = serde_json::Serializer::with_formatter(&mut out, form);
    value.serialize(&mut writer).expect("invariant: a value has text keys, and memory takes what is written");
    // Inside strings a line feed is written as an escape.
    String::from_utf8_lossy(&out).replace('\n', "\r")
}

/// A time: whole seconds, and an offset that RFC 3339 does not know.
pub(crate) fn live_time(time: Timestamp) -> String {
    format!("{}+0000", wire_time(time, 0).trim_end_matches('Z'))
}

/// The members of a metadata body: JSON, or a form, which python-onedrive sent for years and was understood.
pub(crate) fn members(call: &Call) -> Result<Map<String, Value>, LiveError> {
    let kind = call.header("content-type").unwrap_or_default().to_ascii_lowercase();
    let body = call.body.flat();
    if kind.starts_with("application/json") {
        return match serde_json::from_slice(&body) {
            Ok(Value::Object(members)) => Ok(members),
            _ => Err(LiveError::body("The request body isn't a valid JSON object.")),
        };
    }
    if kind.starts_with("application/x-www-form-urlencoded") {
        let text = std::str::from_utf8(&body).ok().and_then(pairs);
        let pairs = text.ok_or_else(|| LiveError::body("The request body isn't a valid form."))?;
        return Ok(pairs.into_iter().map(|(key, value)| (key, Value::String(value))).collect());
    }
    if kind.is_empty() {
        return Err(LiveError::body("The request doesn't include a Content-Type header."));
    }
    Err(LiveError::new(415, "request_body_invalid", "The Content-Type header names a type that isn't supported."))
}

/// A member that has to be text.
pub(crate) fn text_member<'m>(members: &'m Map<String, Value>, name: &str) -> Result<Option<&'m str>, LiveError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(LiveError::body(format!("The member '{name}' has to be a string."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_carriage_returns_only_between_members() {
        let text = returned(&json!({"a": "one\ntwo", "b": [1]}));
        assert_eq!(text, "{\r   \"a\": \"one\\ntwo\",\r   \"b\": [\r      1\r   ]\r}");
        assert_eq!(live_time(Timestamp::from_seconds(1_416_735_667)), "2014-11-23T09:41:07+0000");
    }

    #[test]
    fn a_method_travels_in_the_query_of_get_and_post_only() {
        assert_eq!(method(&Method::POST, "method=move&x=1"), "MOVE");
        assert_eq!(method(&Method::PUT, "method=MOVE"), "PUT");
        assert_eq!(method(&Method::GET, "method="), "GET");
    }
}
