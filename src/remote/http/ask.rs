//! What is asked of a server: everything about a request but the token.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};
use url::Url;

use super::{Drawn, MAX_ANSWER, MAX_PAGE, MAX_TOLD};
use crate::base::secret::Secret;
use crate::remote::classify::Effect;
use crate::remote::{RemoteError, RemoteResult};

/// A request to be.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The method.
    pub method: Method,
    /// Where to. May be pre-authenticated.
    pub url: Secret<Url>,
    /// Headers beyond those that every request has.
    pub headers: HeaderMap,
    /// The body.
    pub body: Option<Bytes>,
    /// The body, if it is too large to be held in memory.
    pub drawn: Option<Drawn>,
    /// Whether the body goes in chunks, without saying its length first.
    pub chunked: bool,
    /// What repeating it could do.
    pub effect: Effect,
    /// Whether it carries a name of the user's choice, which a bare 400 then blames.
    pub carries_name: bool,
    /// The largest answer that is taken in as a whole, in bytes.
    pub largest: usize,
    /// What is being tried, for errors: "list a folder".
    pub what: &'static str,
}

impl Ask {
    /// A request without body that only looks.
    pub fn get(url: Url, what: &'static str) -> Self {
        Self::new(Method::GET, url, Effect::Reads, what)
    }

    /// A request without body.
    pub fn new(method: Method, url: Url, effect: Effect, what: &'static str) -> Self {
        let headers = HeaderMap::new();
        let url = Secret::new(url);
        Self {
            method,
            url,
            headers,
            body: None,
            drawn: None,
            chunked: false,
            effect,
            carries_name: false,
            largest: MAX_ANSWER,
            what,
        }
    }

    /// With a header; a value that cannot be one (it holds control characters) is refused.
    pub fn header(mut self, name: &'static str, value: &str) -> RemoteResult<Self> {
        let value = HeaderValue::from_str(value)
            .map_err(|_| RemoteError::protocol(format!("cannot {}: the value of {name} is no header", self.what)))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(mut self, value: &serde_json::Value) -> Self {
        self.headers.insert("content-type", HeaderValue::from_static("application/json"));
        self.body = Some(Bytes::from(value.to_string()));
        self
    }

    /// With a body of bytes.
    #[must_use]
    pub fn bytes(mut self, bytes: Bytes) -> Self {
        self.headers.insert("content-type", HeaderValue::from_static("application/octet-stream"));
        self.body = Some(bytes);
        self
    }

    /// With a body that is read while it is sent.
    #[must_use]
    pub fn drawn(mut self, body: Drawn) -> Self {
        self.headers.insert("content-type", HeaderValue::from_static("application/octet-stream"));
        self.drawn = Some(body);
        self
    }

    /// With the body in chunks.
    #[must_use]
    pub fn in_chunks(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// Expecting a page of items, which may be larger than other answers.
    #[must_use]
    pub fn page(mut self) -> Self {
        self.largest = MAX_PAGE;
        self
    }

    /// Expecting a page of objects with all that is said of them, which is built as it comes: a byte of it may take
    /// sixteen in memory.
    #[must_use]
    pub fn told(mut self) -> Self {
        self.largest = MAX_TOLD;
        self
    }

    /// Saying that a name of the user's choice is in it.
    #[must_use]
    pub fn naming(mut self) -> Self {
        self.carries_name = true;
        self
    }
}
