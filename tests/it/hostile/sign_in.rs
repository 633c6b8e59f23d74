//! A sign-in service that has gone mad: nothing it answers takes the refresh token elsewhere, fills the memory, or
//! reaches the terminal as a command.

use std::sync::Arc;
use std::time::Duration;

use onedrive_mount::auth::{Authority, Renewer, TokenSource as _, Tokens, Vault};
use onedrive_mount::base::clock::{Clock, SystemClock, Timestamp};
use onedrive_mount::base::secret::Secret;
use onedrive_mount::config::Layers;
use onedrive_mount::emulator::{Content, Emulator, Options};
use serde_json::json;

use super::table::{head, nested};
use super::{bomb, told};
use crate::world::proxy::{Door, Lie, Proxy};

/// What asking for a token comes to.
#[derive(Clone, Copy, Debug)]
enum Comes {
    /// An error of this kind.
    To(&'static str),
    /// A token.
    ToAToken,
}

fn says(body: serde_json::Value) -> Lie {
    Lie::json(body.to_string())
}

fn table(proxy: &Proxy) -> Vec<(&'static str, Comes, Lie)> {
    let granted = |key: &str, value: serde_json::Value| {
        let mut body = json!({"access_token": "mad", "refresh_token": "mad too", "expires_in": 3600, "scope": ""});
        body[key] = value;
        says(body)
    };
    let refused = |error: &str, description: &str, more: &[(&str, &str)]| {
        let body = json!({"error": error, "error_description": description}).to_string();
        Lie::status("400 No", more, body.as_bytes())
    };
    let unreachable = Comes::To("Unreachable");
    vec![
        ("a body without end", unreachable, Lie::Endless(head(""), vec![b' '; 1 << 20])),
        ("a compressed bomb", unreachable, Lie::status("200 OK", &[("content-encoding", "gzip")], &bomb())),
        ("deep nesting", unreachable, Lie::json(nested(100_000, "[", "]"))),
        ("a page of HTML", unreachable, Lie::json("<html>")),
        ("no HTTP", unreachable, Lie::raw(vec![0; 100])),
        ("moved to somebody else", unreachable, Lie::status("307 Go", &[("location", &proxy.elsewhere)], b"")),
        ("moved to this disk", unreachable, Lie::status("308 Go", &[("location", "file:///etc/passwd")], b"")),
        ("a number for a token", unreachable, granted("access_token", json!(7))),
        ("a token for ever", Comes::ToAToken, granted("expires_in", json!(u64::MAX))),
        ("a token until beyond all numbers", Comes::ToAToken, granted("expires_in", json!("99999999999999999999999"))),
        ("a token that never was", Comes::ToAToken, granted("expires_in", json!(0))),
        ("a negative life", unreachable, granted("expires_in", json!(-1))),
        ("a token of 200 kilobytes", Comes::ToAToken, granted("access_token", json!("x".repeat(200_000)))),
        ("a token of a megabyte", unreachable, granted("access_token", json!("x".repeat(1 << 20)))),
        ("a token that splits headers", Comes::ToAToken, granted("access_token", json!("x\r\nhost: y"))),
        ("an error that clears the screen", Comes::To("Refused"), refused("no", "\u{1b}[2Jexe\u{202E}gpj", &[])),
        ("an error of a megabyte", unreachable, refused("no", &"x".repeat(1 << 20), &[])),
        ("an error code of 60 kilobytes", unreachable, refused(&"x".repeat(60_000), "", &[])),
        ("an error code that is a command", unreachable, refused("\u{1b}]0;x\u{7}", "", &[])),
        (
            "an error with a credential in it",
            Comes::To("Refused"),
            refused("no", "see https://x/?tempauth=s3cret", &[]),
        ),
        (
            "patience for a thousand years",
            unreachable,
            Lie::status("429 Slow", &[("retry-after", "31536000000")], b"{}"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mad_sign_in_service_does_no_harm() {
    let options = Options { content: Content::Empty, ..Options::default() };
    let emulator = Emulator::start(options).await.expect("the emulator starts");
    let proxy = Proxy::start(&emulator).await;
    let layers =
        ["client.id", "endpoints.graph", "endpoints.login"].into_iter().fold(Layers::built_in(), |layers, key| {
            let value = if key == "client.id" { "test" } else { &proxy.graph };
            layers.flag(key, value, "test").expect("a setting")
        });
    let authority = Authority::from_config(&layers.finish().expect("settings")).expect("an authority");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let rows = table(&proxy);
    let count = rows.len();
    for (name, comes, lie) in rows {
        let home = tempfile::tempdir().expect("a folder");
        let vault = Vault::new(home.path().join("token.json"));
        let issued = emulator.oauth().issue_tokens();
        let store = async |refresh: String| {
            let tokens = Tokens {
                access: Secret::new(issued.access.clone()),
                refresh: Some(Secret::new(refresh)),
                expires: Timestamp(0),
                lifetime: Duration::from_secs(3600),
                scope: String::new(),
                identity: authority.identity(),
            };
            let lock = vault.lock(&*clock).await.expect("free");
            vault.store(&tokens, &lock).expect("stored");
        };
        store(issued.refresh.clone()).await;
        proxy.tell(Some(told(Door::Graph, "POST", "/token", lie)));
        let renewer = Renewer::new(authority.clone(), vault.clone(), clock.clone());
        let answer = renewer.token().await;
        renewer.settled().await;
        proxy.tell(None);
        match (comes, answer) {
            (Comes::ToAToken, Ok(_)) => {
                // The mad refresh token was taken for good; a person signs in again.
                store(issued.refresh.clone()).await;
            }
            (Comes::To(kind), Err(error)) => {
                let (text, debug) = (error.to_string(), format!("{error:?}"));
                assert!(debug.starts_with(kind), "{name}: {debug}");
                assert!(text.len() < 500 && !text.contains(['\u{1b}', '\u{202E}', '\u{7}']), "{name}: {text:?}");
                assert!(!debug.contains("s3cret") && !debug.contains(&issued.refresh), "{name}: {debug}");
            }
            (comes, answer) => panic!("{name}: expected {comes:?}, got {answer:?}"),
        }
        let renewer = Renewer::new(authority.clone(), vault, clock.clone());
        let token = renewer.token().await.unwrap_or_else(|error| panic!("{name}: afterwards {error}"));
        assert!(token.expose().starts_with("demo-at-"), "{name}");
    }
    assert!(proxy.visits().iter().all(|visit| visit.door == Door::Graph), "the refresh token went elsewhere");
    println!("hostile-server cases of signing in: {count}");
}
