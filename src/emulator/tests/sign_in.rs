//! Signing in.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::super::Flavour;
use super::{Got, World, send, world};

const VERIFIER: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG-._~";

fn authorize_url(w: &World, redirect: &str, more: &str) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let redirect = super::super::wire::encode(redirect);
    format!(
        "{}/common/oauth2/v2.0/authorize?client_id=app&response_type=code&redirect_uri={redirect}\
         &scope=Files.ReadWrite%20offline_access&state=s%201&code_challenge={challenge}&code_challenge_method=S256{more}",
        w.emulator.endpoints().login
    )
}

async fn token(w: &World, form: &[(&str, &str)]) -> Got {
    let url = format!("{}/common/oauth2/v2.0/token", w.emulator.endpoints().login);
    send(w.bare("POST", &url).form(form)).await
}

fn code_of(location: &str) -> String {
    let url = url::Url::parse(location).expect("a URL");
    let query: std::collections::HashMap<_, _> = url.query_pairs().into_owned().collect();
    assert_eq!(query.get("state").map(String::as_str), Some("s 1"));
    query.get("code").expect("a code").clone()
}

#[tokio::test]
async fn a_code_works_once_with_its_verifier_and_redirect() {
    let w = world(Flavour::PersonalNew).await;
    let redirect = "http://localhost:45678";
    let got = send(w.bare("GET", &authorize_url(&w, redirect, ""))).await.expect(302);
    assert!(got.header("location").starts_with("http://localhost:45678/?code="));
    let code = code_of(got.header("location"));
    let form = |code: &str, verifier: &str, redirect: &str| {
        [
            ("client_id", "app"),
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", verifier),
            ("redirect_uri", redirect),
        ]
        .map(|(key, value)| (key, value.to_owned()))
    };
    let ask = async |code: &str, verifier: &str, redirect: &str| {
        let form = form(code, verifier, redirect);
        token(&w, &form.each_ref().map(|(key, value)| (*key, value.as_str()))).await
    };
    let tokens = ask(&code, VERIFIER, redirect).await.expect(200).json();
    let access = tokens["access_token"].as_str().expect("a token");
    assert!(access.starts_with("demo-"));
    assert!(tokens["refresh_token"].is_string());
    send(w.bare("GET", "/me").bearer_auth(access)).await.expect(200);
    assert_eq!(ask(&code, VERIFIER, redirect).await.expect(400).json()["error"], "invalid_grant", "once");
    for (verifier, redirect, seconds) in
        [("x".repeat(43), redirect, 0), (VERIFIER.into(), "http://localhost:1", 0), (VERIFIER.into(), redirect, 601)]
    {
        let got = send(w.bare("GET", &authorize_url(&w, "http://localhost:45678", ""))).await.expect(302);
        w.clock.advance(Duration::from_secs(seconds));
        let code = code_of(got.header("location"));
        assert_eq!(ask(&code, &verifier, redirect).await.expect(400).json()["error"], "invalid_grant");
    }
}

#[tokio::test]
async fn redirects_and_people_are_respected() {
    let w = world(Flavour::PersonalNew).await;
    send(w.bare("GET", &authorize_url(&w, "https://evil.example/", ""))).await.expect(400);
    send(w.bare("GET", &authorize_url(&w, "http://localhost:1/callback", ""))).await.expect(400);
    w.emulator.oauth().register_redirect("http://localhost/callback");
    send(w.bare("GET", &authorize_url(&w, "http://localhost:1/callback", ""))).await.expect(302);
    w.emulator.oauth().set_auto_approve(false);
    let page = send(w.bare("GET", &authorize_url(&w, "http://127.0.0.1:9/", ""))).await.expect(200);
    assert!(String::from_utf8_lossy(&page.body).contains("decision=approve"));
    let denied = send(w.bare("GET", &authorize_url(&w, "http://127.0.0.1:9/", "&decision=deny"))).await.expect(302);
    assert!(denied.header("location").contains("error=access_denied"));
    w.emulator.oauth().set_clients(&["another"]);
    send(w.bare("GET", &authorize_url(&w, "http://127.0.0.1:9/", ""))).await.expect(400);
}

#[tokio::test]
async fn refreshing_rotates_and_revoking_ends() {
    let w = world(Flavour::PersonalNew).await;
    let refresh = async |refresh: &str| {
        token(&w, &[("client_id", "app"), ("grant_type", "refresh_token"), ("refresh_token", refresh)]).await
    };
    let first = w.emulator.oauth().issue_tokens().refresh;
    let second = refresh(&first).await.expect(200).json()["refresh_token"].as_str().expect("rotated").to_owned();
    assert_ne!(first, second);
    refresh(&first).await.expect(200);
    refresh(&second).await.expect(200);
    let old = refresh(&first).await.expect(400).json();
    assert_eq!(old["error"], "invalid_grant", "superseded once the new one was used");
    assert!(old["timestamp"].as_str().is_some_and(|time| !time.contains('T')));
    w.emulator.oauth().revoke_refresh();
    assert_eq!(refresh(&second).await.expect(400).json()["error"], "invalid_grant");
}

#[tokio::test]
async fn a_device_code_is_pending_then_granted_or_declined() {
    let w = world(Flavour::PersonalNew).await;
    w.emulator.oauth().set_auto_approve(false);
    let url = format!("{}/consumers/oauth2/v2.0/devicecode", w.emulator.endpoints().login);
    let start = async || {
        send(w.bare("POST", &url).form(&[("client_id", "app"), ("scope", "Files.ReadWrite offline_access")]))
            .await
            .expect(200)
            .json()
    };
    let poll = async |code: &str| {
        let grant = "urn:ietf:params:oauth:grant-type:device_code";
        token(&w, &[("client_id", "app"), ("grant_type", grant), ("device_code", code)]).await
    };
    let device = start().await;
    let code = device["device_code"].as_str().expect("a code");
    assert_eq!(poll(code).await.expect(400).json()["error"], "authorization_pending");
    assert_eq!(poll(code).await.expect(400).json()["error"], "slow_down");
    w.clock.advance(Duration::from_secs(10));
    assert!(w.emulator.oauth().approve(device["user_code"].as_str().expect("a user code")));
    assert!(poll(code).await.expect(200).json()["refresh_token"].is_string());
    assert_eq!(poll(code).await.expect(400).json()["error"], "bad_verification_code");
    let device = start().await;
    w.emulator.oauth().decline(device["user_code"].as_str().expect("a user code"));
    let code = device["device_code"].as_str().expect("a code");
    assert_eq!(poll(code).await.expect(400).json()["error"], "authorization_declined");
    let device = start().await;
    w.clock.advance(Duration::from_secs(901));
    assert_eq!(
        poll(device["device_code"].as_str().expect("a code")).await.expect(400).json()["error"],
        "expired_token"
    );
}
