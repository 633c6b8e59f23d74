//! Requests as they came, answers as they will go, and the spellings of the wire: JSON, times,
//! percent-encoding, errors.
//!
//! Handlers are plain functions from a [`Call`] to an [`Answer`]: the body has arrived before they
//! run, and they never wait. Whatever goes wrong on the way in or out is the server's and the fault
//! rules' business.

use std::ops::Range;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method};

use super::content::{Content, Rope};
use super::drive::DriveError;
use super::names::Refused;
use crate::base::clock::Timestamp;

/// A request with its whole body.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// The path as sent, not decoded.
    pub(crate) path: String,
    /// The query as sent, without the question mark.
    pub(crate) query: String,
    /// Both as sent: a question mark with nothing behind it is seen here only.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Rope,
    pub(crate) now: Timestamp,
    /// A number for this request: the request id is made of it.
    pub(crate) number: u64,
}

impl Call {
    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether a `Prefer` header names this preference.
    pub(crate) fn prefers(&self, what: &str) -> bool {
        self.headers
            .get_all("prefer")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split([',', ';']).any(|preference| preference.trim().eq_ignore_ascii_case(what)))
    }

    /// The body as a JSON object.
    pub(crate) fn json(&self) -> Result<serde_json::Map<String, serde_json::Value>, Refusal> {
        let kind = self.header("content-type").unwrap_or_default();
        if !kind.starts_with("application/json") {
            return Err(Refusal::new(415, "invalidRequest", "The request body must be application/json."));
        }
        match serde_json::from_slice(&self.body.flat()) {
            Ok(serde_json::Value::Object(members)) => Ok(members),
            _ => Err(Refusal::bad("The request body is not a valid JSON object.")),
        }
    }
}

/// What an answer carries.
#[derive(Debug)]
pub(crate) enum Payload {
    Empty,
    Bytes(Bytes),
    /// Part of a file, sent without being copied together.
    Content {
        content: Content,
        range: Range<u64>,
    },
}

impl Payload {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Content { range, .. } => range.end - range.start,
        }
    }
}

/// An answer before it is sent.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) payload: Payload,
}

impl Answer {
    /// An answer without a body.
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), payload: Payload::Empty }
    }

    /// An answer with JSON text.
    pub(crate) fn json(status: u16, text: String) -> Self {
        Self {
            status,
            headers: vec![(
                "content-type",
                "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
                    .into(),
            )],
            payload: Payload::Bytes(text.into()),
        }
    }

    /// An HTML page.
    pub(crate) fn html(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            headers: vec![("content-type", "text/html; charset=utf-8".into())],
            payload: Payload::Bytes(text.into().into()),
        }
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// A redirect.
    pub(crate) fn found(location: String) -> Self {
        Self::empty(302).with("location", location)
    }
}

/// An error answer: status, code, inner code, text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) inner: Option<&'static str>,
    pub(crate) message: String,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, inner: None, message: message.into(), headers: Vec::new() }
    }

    /// 400 `invalidRequest`.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(400, "invalidRequest", message)
    }

    /// 404 `itemNotFound`.
    pub(crate) fn missing() -> Self {
        Self::new(404, "itemNotFound", "The resource could not be found.")
    }

    /// 501: the emulator does not do this, and says so.
    pub(crate) fn unimplemented(what: &str) -> Self {
        Self::new(501, "notSupported", format!("The emulator does not implement {what}."))
    }

    pub(crate) fn inner(mut self, inner: &'static str) -> Self {
        self.inner = Some(inner);
        self
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The answer on the wire. The nested member is spelled both ways by the service; which one comes
    /// depends on the request's number, so a client meets both.
    pub(crate) fn answer(self, call: &Call) -> Answer {
        let mut inner = serde_json::Map::new();
        if let Some(code) = self.inner {
            inner.insert("code".into(), code.into());
        }
        inner.insert("date".into(), wire_time(call.now, 0).trim_end_matches('Z').into());
        inner.insert("request-id".into(), request_id(call.number).into());
        inner.insert("client-request-id".into(), client_request_id(call).into());
        let spelling = if call.number.is_multiple_of(2) { "innerError" } else { "innererror" };
        let text = serde_json::json!({
            "error": { "code": self.code, "message": self.message, spelling: inner }
        });
        let mut answer = Answer::json(self.status, text.to_string());
        answer.headers.extend(self.headers);
        answer
    }
}

impl From<DriveError> for Refusal {
    fn from(error: DriveError) -> Self {
        match error {
            DriveError::Missing => Self::missing(),
            DriveError::Taken => Self::new(409, "nameAlreadyExists", "The specified item name already exists."),
            DriveError::Name(Refused::Long) => Self::bad("The provided name is too long.").inner("parameterIsTooLong"),
            DriveError::Name(_) => {
                Self::bad("The provided name cannot contain these characters, or is reserved.").inner("invalidPath")
            }
            DriveError::PathLong => Self::bad("The path is too long.").inner("pathIsTooLong"),
            DriveError::NotFolder => Self::bad("The item is not a folder."),
            DriveError::NotFile => Self::bad("The item is not a file."),
            DriveError::Root => Self::new(403, "accessDenied", "The root of the drive cannot be changed."),
            DriveError::Cycle => Self::bad("A folder cannot be moved into itself."),
            DriveError::Locked => {
                Self::new(423, "resourceLocked", "The resource you are attempting to access is locked.")
            }
            DriveError::Full => Self::new(507, "quotaLimitReached", "Insufficient Space Available"),
            DriveError::Held => Self::new(
                403,
                "accessDenied",
                "The request was cancelled by event received. You can't delete a folder that is on hold.",
            ),
        }
    }
}

/// What a handler returns.
pub(crate) type Outcome = Result<Answer, Refusal>;

/// The id of a request, as a GUID.
pub(crate) fn request_id(number: u64) -> String {
    super::ident::guid(super::ident::mix(number), super::ident::mix(!number)).to_lowercase()
}

/// The caller's own id for the request, or ours when it sent none.
pub(crate) fn client_request_id(call: &Call) -> String {
    call.header("client-request-id").map_or_else(|| request_id(call.number), str::to_owned)
}

/// ISO 8601 in UTC with this many fractional digits.
pub(crate) fn wire_time(time: Timestamp, digits: u32) -> String {
    use std::fmt::Write as _;
    let seconds = time.seconds();
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let mut text = String::with_capacity(28);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let _ = write!(text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if digits > 0 {
        let fraction = u64::from(time.subsec_nanos()) / 10u64.pow(9 - digits);
        let _ = write!(text, ".{fraction:0width$}", width = digits as usize);
    }
    text.push('Z');
    text
}

/// Day, month and year of a number of days since 1970 in the proleptic Gregorian calendar, by the
/// usual reckoning in eras of 400 years that begin on 1 March.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The `Date` header's form.
pub(crate) fn http_date(time: Timestamp) -> String {
    let (days, of_day) = (time.seconds().div_euclid(86_400), time.seconds().rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][days.rem_euclid(7) as usize];
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months[(month - 1) as usize];
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Reads an ISO 8601 time in UTC.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(moment.as_nanosecond()).ok().map(Timestamp)
}

/// Decodes percent-encoding once; `None` when it is malformed or not UTF-8.
pub(crate) fn decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            out.push((high * 16 + low) as u8);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// Encodes one path segment or query value: everything but unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A query or form as decoded pairs, in order. `+` is a space, as in forms.
pub(crate) fn pairs(query: &str) -> Option<Vec<(String, String)>> {
    let part = |text: &str| decode(&text.replace('+', " "));
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((part(key)?, part(value)?))
        })
        .collect()
}

/// Writes JSON text without building a tree: delta answers name a million items.
pub(crate) struct Json {
    out: String,
    comma: bool,
}

impl Json {
    pub(crate) fn new() -> Self {
        Self { out: String::with_capacity(1024), comma: false }
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(',');
        }
        self.comma = true;
    }

    pub(crate) fn key(&mut self, key: &str) -> &mut Self {
        self.separate();
        self.quoted(key);
        self.out.push(':');
        self.comma = false;
        self
    }

    fn quoted(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                c if c < ' ' => {
                    use std::fmt::Write as _;
                    let _ = write!(self.out, "\\u{:04x}", c as u32);
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    pub(crate) fn text(&mut self, value: &str) {
        self.separate();
        self.quoted(value);
    }

    pub(crate) fn number(&mut self, value: impl std::fmt::Display) {
        use std::fmt::Write as _;
        self.separate();
        let _ = write!(self.out, "{value}");
    }

    pub(crate) fn object(&mut self, fill: impl FnOnce(&mut Self)) {
        self.separate();
        self.out.push('{');
        self.comma = false;
        fill(self);
        self.out.push('}');
        self.comma = true;
    }

    pub(crate) fn array(&mut self, fill: impl FnOnce(&mut Self)) {
        self.separate();
        self.out.push('[');
        self.comma = false;
        fill(self);
        self.out.push(']');
        self.comma = true;
    }

    pub(crate) fn pair(&mut self, key: &str, value: &str) {
        self.key(key).text(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_back() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_772_360_472, "2026-03-01T10:21:12Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(wire_time(Timestamp::from_seconds(seconds), 0), text);
            assert_eq!(parse_time(text), Some(Timestamp::from_seconds(seconds)));
        }
        assert_eq!(wire_time(Timestamp(1_500_000_000), 3), "1970-01-01T00:00:01.500Z");
        assert_eq!(http_date(Timestamp::from_seconds(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn percent_encoding_is_undone_exactly_once() {
        assert_eq!(decode("a%2520b").as_deref(), Some("a%20b"));
        assert_eq!(decode("a+b").as_deref(), Some("a+b"));
        assert_eq!(decode("%zz"), None);
        assert_eq!(decode("%ff"), None);
        assert_eq!(encode("a b/ü"), "a%20b%2F%C3%BC");
    }

    #[test]
    fn json_text_is_what_a_parser_reads() {
        let mut json = Json::new();
        json.object(|json| {
            json.pair("na\"me", "line\nbreak \\ 😀");
            json.key("list").array(|json| {
                json.number(1);
                json.object(|_| ());
            });
        });
        let value: serde_json::Value = serde_json::from_str(&json.finish()).expect("valid");
        assert_eq!(value, serde_json::json!({"na\"me": "line\nbreak \\ 😀", "list": [1, {}]}));
    }
}
