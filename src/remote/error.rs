//! What can go wrong between us and the cloud, and what to do about it.
//!
//! A protocol module classifies; the layers and the callers decide. Two questions are answered for every
//! failure: what happened ([`RemoteErrorKind`], which maps to an errno and to a sentence for the user)
//! and what helps ([`Advice`], which the retry layer obeys).

use std::time::Duration;

/// The result of every call to the cloud.
pub type RemoteResult<T> = Result<T, RemoteError>;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RemoteErrorKind {
    /// No connection: name resolution, refused, cut, timed out, TLS.
    Offline,
    /// The account is signed out (`invalid_grant`), and only that.
    SignedOut,
    /// This account may not do that.
    Denied,
    /// The account or the item is read-only for us.
    ReadOnly,
    /// There is no such item.
    NotFound,
    /// The service takes what it was asked for by for no identity at all.
    NotAnId,
    /// The name is taken.
    Exists,
    /// The item is in another state than the precondition or the version asked for.
    Changed,
    /// Somebody has it open or checked out; the service refuses to change it for now.
    Locked,
    /// The service refuses the name.
    BadName,
    /// The path is too long for the service.
    TooLong,
    /// The drive is full.
    QuotaFull,
    /// The file is larger than the service accepts.
    TooLarge,
    /// The service found malware in it and refuses the content.
    Malware,
    /// The service asks for patience.
    Throttled,
    /// The service is ill (5xx).
    Unavailable,
    /// The cursor or link has expired; see [`Advice::Resync`].
    Expired,
    /// A range outside the file, or a fragment the service did not expect.
    Range,
    /// The upload session is unknown to the service.
    UploadGone,
    /// This drive cannot do that.
    Unsupported,
    /// The answer makes no sense: a bug on either side. Includes refused arguments.
    Protocol,
    /// The local disk or this program failed on the way.
    Local,
}

/// What helps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Advice {
    /// The request had no effect; repeat it after a pause.
    Retry,
    /// The request had no effect; repeat it after this pause, not before.
    RetryAfter(Duration),
    /// Get a new access token (or a new pre-authenticated URL) and repeat once.
    Refresh,
    /// The request may have had its effect; look before repeating.
    VerifyThenRetry,
    /// Start the chain of changes again from the beginning.
    Resync,
    /// Repeating will not help until somebody changes something.
    GiveUp,
}

/// A failed call to the cloud.
#[derive(Debug, thiserror::Error)]
#[error("{context}{}", request_id.as_deref().map(|id| format!(" (request {id})")).unwrap_or_default())]
pub struct RemoteError {
    /// What happened.
    pub kind: RemoteErrorKind,
    /// What helps.
    pub advice: Advice,
    /// One sentence for the log and the user: what was tried and what the service said. Never a secret.
    pub context: String,
    /// The service's id of the failed request, for its support.
    pub request_id: Option<String>,
    /// What lies beneath.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl RemoteError {
    /// A failure of this kind.
    pub fn new(kind: RemoteErrorKind, advice: Advice, context: impl Into<String>) -> Self {
        Self { kind, advice, context: context.into(), request_id: None, source: None }
    }

    /// The answer makes no sense.
    pub fn protocol(context: impl Into<String>) -> Self {
        Self::new(RemoteErrorKind::Protocol, Advice::GiveUp, context)
    }

    /// No connection.
    pub fn offline(context: impl Into<String>) -> Self {
        Self::new(RemoteErrorKind::Offline, Advice::Retry, context)
    }

    /// With the service's request id.
    #[must_use]
    pub fn with_request_id(mut self, id: Option<String>) -> Self {
        self.request_id = id;
        self
    }

    /// With what lies beneath.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whether time alone may cure it: connection, throttling, illness, locks.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            RemoteErrorKind::Offline
                | RemoteErrorKind::Throttled
                | RemoteErrorKind::Unavailable
                | RemoteErrorKind::Locked
        )
    }

    /// Whether the sign-in was for less than this needs, so that only another sign-in helps. Live Connect says so;
    /// elsewhere it cannot be told from a person who may not.
    pub fn is_beyond_the_sign_in(&self) -> bool {
        self.kind == RemoteErrorKind::Denied && self.context.contains("request_token_unauthorized")
    }

    /// A copy for another waiter of the same call; the source stays with the original.
    #[must_use]
    pub fn share(&self) -> Self {
        Self {
            kind: self.kind,
            advice: self.advice.clone(),
            context: self.context.clone(),
            request_id: self.request_id.clone(),
            source: None,
        }
    }
}

/// Takes a stored sentence of a [`RemoteError`] apart again: what happened, and the service's id of the request if it
/// named one.
pub fn split_request_id(sentence: &str) -> (&str, Option<&str>) {
    const MARK: &str = " (request ";
    let parts = sentence.strip_suffix(')').and_then(|rest| rest.rsplit_once(MARK));
    match parts {
        Some((context, id)) if !id.is_empty() && !id.contains([' ', '(', ')']) => (context, Some(id)),
        _ => (sentence, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_gives_its_request_id_back() {
        let error = RemoteError::protocol("cannot upload (at all)").with_request_id(Some("7f-1".into()));
        assert_eq!(split_request_id(&error.to_string()), ("cannot upload (at all)", Some("7f-1")));
        let silent = RemoteError::protocol("cannot upload (at all)").to_string();
        assert_eq!(split_request_id(&silent), ("cannot upload (at all)", None));
    }
}
