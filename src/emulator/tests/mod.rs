//! The emulator over HTTP, held to the documented rules.

mod bits;
mod delta;
mod faults;
mod items;
mod live_content;
mod live_items;
mod live_sign_in;
mod model;
mod sessions;
mod sign_in;

use std::sync::Arc;

use serde_json::Value;

use super::{Emulator, Flavour, Options};
use crate::base::clock::{ManualClock, Timestamp};

/// An emulator, a client signed in to it, and its clock.
struct World {
    emulator: Emulator,
    http: reqwest::Client,
    token: String,
    clock: ManualClock,
}

/// A complete answer.
struct Got {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    fn inner(&self) -> String {
        let error = &self.json()["error"];
        let inner = error.get("innerError").or_else(|| error.get("innererror"));
        inner.and_then(|inner| inner["code"].as_str()).unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

async fn world(flavour: Flavour) -> World {
    world_with(flavour, |_| ()).await
}

async fn world_with(flavour: Flavour, change: impl FnOnce(&mut Options)) -> World {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clock = ManualClock::new(Timestamp::from_seconds(1_772_000_000));
    let mut options = Options { flavour, clock: Arc::new(clock.clone()), ..Options::default() };
    change(&mut options);
    let emulator = Emulator::start(options).await.expect("the emulator starts");
    let http = reqwest::Client::builder().no_proxy().no_gzip().redirect(reqwest::redirect::Policy::none()).build();
    let token = emulator.oauth().issue_tokens().access;
    World { emulator, http: http.expect("a client"), token, clock }
}

impl World {
    fn url(&self, path: &str) -> String {
        if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}/v1.0{path}", self.emulator.endpoints().graph)
        }
    }

    /// A request with the token.
    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.bare(method, path).bearer_auth(&self.token)
    }

    /// A request without the token.
    fn bare(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method.parse().expect("a method"), self.url(path))
    }

    async fn get(&self, path: &str) -> Got {
        send(self.request("GET", path)).await
    }

    async fn put(&self, path: &str, body: impl Into<reqwest::Body>) -> Got {
        send(self.request("PUT", path).body(body)).await
    }

    async fn json(&self, method: &str, path: &str, body: Value) -> Got {
        send(self.request(method, path).json(&body)).await
    }

    /// The id of the item at a path.
    fn id(&self, path: &str) -> String {
        self.emulator.drive().id(path).unwrap_or_else(|| panic!("no {path}"))
    }

    /// Content as a client gets it: redirect, then a request without a token.
    async fn content(&self, path: &str, range: Option<&str>) -> Got {
        let got = self.get(path).await.expect(302);
        let mut request = self.bare("GET", got.header("location"));
        if let Some(range) = range {
            request = request.header("range", range);
        }
        send(request).await
    }
}

async fn send(request: reqwest::RequestBuilder) -> Got {
    try_send(request).await.expect("an answer")
}

async fn try_send(request: reqwest::RequestBuilder) -> Result<Got, reqwest::Error> {
    let answer = request.send().await?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.bytes().await?.to_vec();
    Ok(Got { status, headers, body })
}

const FLAVOURS: [Flavour; 4] =
    [Flavour::PersonalOld, Flavour::PersonalNew, Flavour::Business, Flavour::DocumentLibrary];

/// An emulator with a client signed in to Live Connect. Its requests go to `/v5.0`.
async fn live_world() -> World {
    live_world_with(|_| ()).await
}

async fn live_world_with(change: impl FnOnce(&mut Options)) -> World {
    let mut world = world_with(Flavour::PersonalOld, change).await;
    world.token = world.emulator.live().issue_tokens().access;
    world
}

impl World {
    /// A request to Live Connect with the token.
    fn live(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}/v5.0/{path}", self.emulator.endpoints().live)
        };
        self.bare(method, &url).bearer_auth(&self.token)
    }

    async fn live_get(&self, path: &str) -> Got {
        send(self.live("GET", path)).await
    }

    async fn live_json(&self, method: &str, path: &str, body: Value) -> Got {
        send(self.live(method, path).json(&body)).await
    }

    /// The Live id of the item at a path.
    fn live_id(&self, path: &str) -> String {
        self.emulator.drive().live_id(path).unwrap_or_else(|| panic!("no {path}"))
    }
}
