//! What a refusal of the service means.
//!
//! The service says the same thing in many ways: by status, by a code, by an inner code, sometimes only
//! by a sentence, sometimes with an HTML page. One pure function turns all of that into what the program
//! acts on; every other module sees only its result.
//!
//! Always true here: the status decides first, then the deepest code we know; a request that may have had
//! its effect is never classified as safe to repeat.

use std::time::Duration;

use serde_json::Value;

use super::{Advice, RemoteErrorKind};
use crate::base::clock::Timestamp;

/// What repeating a request could do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// It only looks.
    Reads,
    /// It changes something, but a second time changes nothing more (DELETE by id).
    Repeatable,
    /// It changes something, and a second time may change more.
    Once,
}

/// A refusal as it came over the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Codes in lower case, the deepest one first.
    pub codes: Vec<String>,
    /// The service's sentence.
    pub message: String,
}

impl Refusal {
    /// Reads an error body: `{"error":{"code","message","innerError":{"code", ..}}}`, where the inner one is
    /// also spelled `innererror` and may nest again. Anything else (HTML, nothing) is a refusal without codes.
    ///
    /// Shape: <https://learn.microsoft.com/graph/errors>.
    pub fn from_body(body: &[u8]) -> Self {
        let Ok(value) = serde_json::from_slice::<Value>(body) else { return Self::default() };
        let Some(error) = value.get("error").filter(|error| error.is_object()) else { return Self::default() };
        let message = error.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut codes = Vec::new();
        let mut level = Some(error);
        while let Some(object) = level {
            codes.extend(object.get("code").and_then(Value::as_str).and_then(code_word));
            level = object.get("innerError").or_else(|| object.get("innererror"));
        }
        codes.reverse();
        Self { codes, message }
    }
}

/// A code in lower case. A code is a word; anything else is not looked for and must not get into a log.
pub fn code_word(code: &str) -> Option<String> {
    let is_word = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_graphic());
    is_word.then(|| code.to_ascii_lowercase())
}

/// Codes that say more than their status, in lower case.
///
/// Left out on purpose: the generic ones (`invalidRequest`, `accessDenied`, `itemNotFound`,
/// `generalException`, `UnknownError`), for which the status is the better witness.
/// Sources: <https://learn.microsoft.com/onedrive/developer/rest-api/concepts/errors>,
/// <https://github.com/OneDrive/onedrive-api-docs/issues/912> (locks). Those with underlines are Live Connect's, whose
/// status for throttling is 420
/// (<https://msdn.microsoft.com/en-us/library/dn659752.aspx>).
const CODES: &[(&str, RemoteErrorKind)] = {
    use RemoteErrorKind::*;
    &[
        ("accessrestricted", Denied),
        ("activitylimitreached", Throttled),
        ("editconflict", Changed),
        ("entitytagdoesnotmatch", Changed),
        ("fragmentoutoforder", Range),
        ("fragmentoverlap", Range),
        ("invalidpath", BadName),
        ("invalidrange", Range),
        ("invalidstartindex", Range),
        ("itemalreadyexists", Exists),
        ("lockmismatch", Locked),
        ("locknotfoundoralreadyexpired", Locked),
        ("lockownermismatch", Locked),
        ("malwaredetected", Malware),
        ("maxfilesizeexceeded", TooLarge),
        ("maxstreamsizeexceeded", TooLarge),
        ("methodnotallowed", Unsupported),
        ("namealreadyexists", Exists),
        ("notallowed", ReadOnly),
        ("notsupported", Unsupported),
        ("parameteristoolong", TooLong),
        ("pathistoolong", TooLong),
        ("pathtoodeep", TooLong),
        ("preconditionfailed", Changed),
        ("provisioningnotallowed", Denied),
        ("quotalimitreached", QuotaFull),
        ("relationshipnamealreadyexists", Exists),
        ("request_throttled", Throttled),
        ("resource_already_exists", Exists),
        ("resource_not_found", NotFound),
        ("resource_quota_exceeded", QuotaFull),
        ("resourcebeingprovisioned", Unavailable),
        ("resourcelocked", Locked),
        ("resourcemodified", Changed),
        ("resyncapplydifferences", Expired),
        ("resyncchangesapplydifferences", Expired),
        ("resyncchangesuploaddifferences", Expired),
        ("resyncrequired", Expired),
        ("resyncuploaddifferences", Expired),
        ("servicenotavailable", Unavailable),
        ("servicereadonly", ReadOnly),
        ("similarrelationshipnamealreadyexists", Exists),
        ("syncstatenotfound", Expired),
        ("throttledrequest", Throttled),
        ("toomanyrequests", Throttled),
        ("upload_name_conflict", Exists),
        ("uploadsessionfailed", UploadGone),
        ("uploadsessionincomplete", UploadGone),
        ("uploadsessionnotfound", UploadGone),
        ("virussuspicious", Malware),
    ]
};

/// How long to leave a locked item alone: whoever has it open has it open for minutes.
const LOCK_PAUSE: Duration = Duration::from_secs(30);

/// What a refusal means and what helps.
///
/// | status | kind, unless a known code says more | advice |
/// | --- | --- | --- |
/// | 400 | `BadName` if the request carried a name, else `Protocol` | give up |
/// | 401 | `Denied` | new token or URL, once |
/// | 402, 507 | `QuotaFull` (whatever the code says) | give up: 507 is no passing illness |
/// | 403 | `Denied` | give up |
/// | 404 | `NotFound` | give up (the retry layer looks again for fresh items) |
/// | 405, 501 | `Unsupported` | give up |
/// | 408, 499 | `Unavailable` | by effect |
/// | 409 | `Changed` | give up |
/// | 410 | `Expired` | start the chain again |
/// | 412 | `Changed` (whatever the code says) | give up |
/// | 413 | `TooLarge` | give up |
/// | 416 | `Range` | look at the offset |
/// | 423 | `Locked` (whatever the code says) | after half a minute, or what the service says |
/// | 424 | `Unavailable` | by effect |
/// | 420, 429, 509 | `Throttled` (whatever the code says) | after the time named, else after a pause |
/// | 503 with `Retry-After` | `Throttled` | after the time named |
/// | other 5xx | `Unavailable` | by effect |
/// | other 3xx, 4xx | `Protocol` | give up |
///
/// *By effect*: a request that only reads or may be repeated is repeated after a pause; one that must
/// happen once is looked after first, because a gateway error says nothing about what happened behind the
/// gateway. Some refusals are told by their sentence alone: the Personal Vault and hidden system drives
/// ("ObjectHandle is Invalid") are `Denied`; an item checked out or open elsewhere is `Locked` though the
/// status is 403 or 409; a second upload session for one target is `Locked`, not `Exists`.
pub fn classify(
    status: u16,
    refusal: &Refusal,
    retry_after: Option<Duration>,
    effect: Effect,
    carries_name: bool,
) -> (RemoteErrorKind, Advice) {
    use RemoteErrorKind::*;
    let kind = kind_of(status, refusal, retry_after.is_some(), carries_name);
    let advice = match kind {
        Throttled => retry_after.map_or(Advice::Retry, Advice::RetryAfter),
        Locked => Advice::RetryAfter(retry_after.unwrap_or(LOCK_PAUSE)),
        Unavailable => match (status >= 500 || matches!(status, 408 | 499), effect) {
            (true, Effect::Once) => Advice::VerifyThenRetry,
            _ => retry_after.map_or(Advice::Retry, Advice::RetryAfter),
        },
        Expired => Advice::Resync,
        Range | UploadGone => Advice::VerifyThenRetry,
        Denied if status == 401 => Advice::Refresh,
        _ => Advice::GiveUp,
    };
    (kind, advice)
}

fn kind_of(status: u16, refusal: &Refusal, has_retry_after: bool, carries_name: bool) -> RemoteErrorKind {
    use RemoteErrorKind::*;
    let by_status = match status {
        400 if carries_name => BadName,
        401 => return Denied,
        402 | 507 => return QuotaFull,
        403 => Denied,
        404 => NotFound,
        405 | 501 => Unsupported,
        408 | 424 | 499 => Unavailable,
        409 => Changed,
        410 => Expired,
        412 => return Changed,
        413 => TooLarge,
        416 => Range,
        423 => return Locked,
        420 | 429 | 509 => return Throttled,
        503 if has_retry_after => return Throttled,
        500..=599 => return Unavailable,
        _ => Protocol,
    };
    by_sentence(status, &refusal.message)
        .or_else(|| refusal.codes.iter().find_map(|code| by_code(code)))
        .unwrap_or(by_status)
}

fn by_code(code: &str) -> Option<RemoteErrorKind> {
    CODES.binary_search_by_key(&code, |&(known, _)| known).ok().map(|at| CODES[at].1)
}

fn by_sentence(status: u16, message: &str) -> Option<RemoteErrorKind> {
    let message = message.to_ascii_lowercase();
    if status == 400 && message.contains("objecthandle is invalid") {
        return Some(RemoteErrorKind::Denied);
    }
    if status == 409 && message.contains("upload session") && message.contains("exist") {
        return Some(RemoteErrorKind::Locked);
    }
    let held = ["lock token does not match", "locked for editing", "checked out"];
    if matches!(status, 403 | 409) && held.iter().any(|sign| message.contains(sign)) {
        return Some(RemoteErrorKind::Locked);
    }
    None
}

/// The longest pause we let a server impose: a mistyped header must not stop a mount for a day.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Reads a `Retry-After` header: seconds, or an HTTP date compared with the `Date` of the same answer (our
/// own clock may be wrong), else with `now`. Empty or unreadable is `None`; at most an hour.
pub fn retry_after(value: Option<&str>, date: Option<&str>, now: Timestamp) -> Option<Duration> {
    let value = value?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(LONGEST_PAUSE));
    }
    let until = http_date(value)?;
    let from = date.and_then(http_date).unwrap_or_else(|| now.seconds());
    Some(Duration::from_secs(u64::try_from(until.saturating_sub(from)).unwrap_or(0)).min(LONGEST_PAUSE))
}

/// Seconds since 1970 of a time as headers write it.
pub fn http_date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(text.trim()).ok().map(|zoned| zoned.timestamp().as_second())
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any bytes as a refusal, and as `Retry-After` with `Date`.
pub(crate) fn fuzz(data: &[u8]) {
    let refusal = Refusal::from_body(data);
    assert!(refusal.codes.iter().all(|code| code.len() <= 64));
    for status in [400, 401, 403, 404, 409, 410, 412, 416, 423, 429, 500, 503, 507] {
        let (_, advice) = classify(status, &refusal, Some(Duration::from_secs(9)), Effect::Once, true);
        assert!(!matches!((status, advice), (500.., Advice::Retry)), "a second time might do it twice");
    }
    let text = String::from_utf8_lossy(data);
    let (value, date) = text.split_once('\n').unwrap_or((&text, ""));
    for now in [i64::MIN, 0, i64::MAX] {
        if let Some(pause) = retry_after(Some(value), Some(date), Timestamp(now)) {
            assert!(pause <= LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RemoteErrorKind::*;

    fn refusal(body: &str) -> Refusal {
        Refusal::from_body(body.as_bytes())
    }

    #[test]
    fn codes_are_sorted_for_the_search() {
        assert!(CODES.is_sorted_by_key(|&(code, _)| code));
    }

    #[test]
    fn the_deepest_code_comes_first_in_both_spellings() {
        let body = r#"{"error":{"code":"invalidRequest","message":"no",
            "innerError":{"code":"X","innererror":{"code":"pathIsTooLong"}}}}"#;
        assert_eq!(refusal(body).codes, ["pathistoolong", "x", "invalidrequest"]);
        assert_eq!(refusal("<html>busy</html>"), Refusal::default());
        assert_eq!(refusal(r#"{"error":"invalid_grant"}"#), Refusal::default());
    }

    #[test]
    fn every_row_of_the_table() {
        let after = Some(Duration::from_secs(7));
        let wait = Advice::RetryAfter(Duration::from_secs(7));
        for (status, codes, retry_after, kind, advice) in [
            (400, "invalidRequest", None, Protocol, Advice::GiveUp),
            (400, "invalidPath", None, BadName, Advice::GiveUp),
            (400, "pathTooDeep", None, TooLong, Advice::GiveUp),
            (400, "uploadSessionNotFound", None, UploadGone, Advice::VerifyThenRetry),
            (400, "fragmentOutOfOrder", None, Range, Advice::VerifyThenRetry),
            (401, "unauthenticated", None, Denied, Advice::Refresh),
            (402, "paymentRequired", None, QuotaFull, Advice::GiveUp),
            (403, "accessDenied", None, Denied, Advice::GiveUp),
            (403, "malwareDetected", None, Malware, Advice::GiveUp),
            (403, "serviceReadOnly", None, ReadOnly, Advice::GiveUp),
            (403, "notAllowed", None, ReadOnly, Advice::GiveUp),
            (403, "quotaLimitReached", None, QuotaFull, Advice::GiveUp),
            (403, "resourceLocked", None, Locked, Advice::RetryAfter(LOCK_PAUSE)),
            (404, "ItemNotFound", None, NotFound, Advice::GiveUp),
            (405, "", None, Unsupported, Advice::GiveUp),
            (406, "", None, Protocol, Advice::GiveUp),
            (409, "nameAlreadyExists", None, Exists, Advice::GiveUp),
            (409, "resourceModified", None, Changed, Advice::GiveUp),
            (409, "similarRelationshipNameAlreadyExists", None, Exists, Advice::GiveUp),
            (410, "resyncRequired", None, Expired, Advice::Resync),
            (411, "", None, Protocol, Advice::GiveUp),
            (412, "nameAlreadyExists", None, Changed, Advice::GiveUp),
            (413, "", None, TooLarge, Advice::GiveUp),
            (409, "resource_already_exists", None, Exists, Advice::GiveUp),
            (420, "request_throttled", None, Throttled, Advice::Retry),
            (499, "", None, Unavailable, Advice::VerifyThenRetry),
            (416, "invalidRange", None, Range, Advice::VerifyThenRetry),
            (423, "accessDenied", None, Locked, Advice::RetryAfter(LOCK_PAUSE)),
            (423, "", after, Locked, wait.clone()),
            (424, "", None, Unavailable, Advice::Retry),
            (429, "", None, Throttled, Advice::Retry),
            (429, "activityLimitReached", after, Throttled, wait.clone()),
            (500, "generalException", None, Unavailable, Advice::VerifyThenRetry),
            (501, "notSupported", None, Unsupported, Advice::GiveUp),
            (503, "serviceNotAvailable", None, Unavailable, Advice::VerifyThenRetry),
            (503, "", after, Throttled, wait.clone()),
            (504, "", None, Unavailable, Advice::VerifyThenRetry),
            (507, "quotaLimitReached", None, QuotaFull, Advice::GiveUp),
            (509, "bandwidthLimitExceeded", None, Throttled, Advice::Retry),
            (302, "", None, Protocol, Advice::GiveUp),
        ] {
            let refusal = Refusal { codes: vec![codes.to_ascii_lowercase()], message: String::new() };
            assert_eq!(
                classify(status, &refusal, retry_after, Effect::Once, false),
                (kind, advice),
                "{status} {codes}"
            );
        }
    }

    #[test]
    fn what_may_be_repeated_is_repeated_after_a_gateway_error() {
        for effect in [Effect::Reads, Effect::Repeatable] {
            assert_eq!(classify(502, &Refusal::default(), None, effect, false), (Unavailable, Advice::Retry));
        }
    }

    #[test]
    fn sentences_count_where_codes_are_silent() {
        let says = |status, message: &str| {
            let refusal = Refusal { codes: vec!["accessdenied".into()], message: message.into() };
            classify(status, &refusal, None, Effect::Once, false).0
        };
        assert_eq!(says(400, "ObjectHandle is Invalid"), Denied);
        assert_eq!(says(403, "Lock token does not match existing lock"), Locked);
        assert_eq!(says(409, "An upload session already exists for this file"), Locked);
        assert_eq!(says(403, "Access denied"), Denied);
    }

    #[test]
    fn a_refused_request_with_a_name_blames_the_name() {
        assert_eq!(classify(400, &Refusal::default(), None, Effect::Once, true).0, BadName);
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_date() {
        let now = Timestamp::from_seconds(784_111_777);
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let later = "Sun, 06 Nov 1994 08:51:37 GMT";
        for (value, sent, expected) in [
            (Some("120"), None, Some(120)),
            (Some(" 5 "), None, Some(5)),
            (Some("86400000"), None, Some(3600)),
            (Some(later), Some(date), Some(120)),
            (Some(later), None, Some(120)),
            (Some(date), Some(later), Some(0)),
            (Some(""), None, None),
            (Some("soon"), None, None),
            (None, None, None),
        ] {
            assert_eq!(retry_after(value, sent, now), expected.map(Duration::from_secs), "{value:?}");
        }
    }
}
