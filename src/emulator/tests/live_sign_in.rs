//! Live Connect: signing in, tokens, scopes.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use super::super::{LiveClient, LiveHandle};
use super::{Got, World, live_world, send};

const CLIENT: &str = LiveHandle::CLIENT;
const DESKTOP: &str = LiveHandle::DESKTOP;

fn authorize(w: &World, client: &str, redirect: &str, more: &str) -> String {
    let (redirect, scope) = (super::super::wire::encode(redirect), LiveHandle::SCOPE.replace(' ', "%20"));
    format!(
        "{}/oauth20_authorize.srf?client_id={client}&response_type=code&redirect_uri={redirect}&scope={scope}&state=s%201{more}",
        w.emulator.endpoints().login
    )
}

async fn token(w: &World, fields: &[(&str, &str)]) -> Got {
    let url = format!("{}/oauth20_token.srf", w.emulator.endpoints().login);
    send(w.bare("POST", &url).form(fields)).await
}

async fn refresh(w: &World, token_text: &str) -> Got {
    let fields = [
        ("client_id", CLIENT),
        ("redirect_uri", DESKTOP),
        ("grant_type", "refresh_token"),
        ("refresh_token", token_text),
    ];
    token(w, &fields).await
}

fn fields_of(location: &str) -> HashMap<String, String> {
    let url = url::Url::parse(location).expect("a URL");
    let fragment = format!("x:?{}", url.fragment().unwrap_or_default());
    let fragment = url::Url::parse(&fragment).expect("a URL");
    url.query_pairs().into_owned().chain(fragment.query_pairs().into_owned()).collect()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_code_works_once_and_a_desktop_client_refreshes_without_its_secret() {
    let w = live_world().await;
    let got = send(w.bare("GET", &authorize(&w, CLIENT, DESKTOP, ""))).await.expect(302);
    let fields = fields_of(got.header("location"));
    assert!(got.header("location").starts_with(DESKTOP));
    assert_eq!((fields["state"].as_str(), fields["lc"].as_str()), ("s 1", "1033"));
    let redeem = [
        ("client_id", CLIENT),
        ("client_secret", "anything"),
        ("redirect_uri", DESKTOP),
        ("code", fields["code"].as_str()),
        ("grant_type", "authorization_code"),
    ];
    let tokens = token(&w, &redeem).await.expect(200).json();
    assert_eq!((text(&tokens, "token_type"), tokens["expires_in"].as_u64()), ("bearer", Some(3600)));
    assert!(text(&tokens, "access_token").len() > 700 && text(&tokens, "access_token").contains('+'));
    let mut scopes: Vec<_> = text(&tokens, "scope").split(' ').collect();
    scopes.sort_unstable();
    assert_eq!(scopes, ["wl.offline_access", "wl.skydrive", "wl.skydrive_update"]);
    assert_eq!(text(&tokens, "user_id").len(), 32, "not the CID");
    let again = token(&w, &redeem).await.expect(400).json();
    assert_eq!(text(&again, "error"), "invalid_grant");
    assert!(text(&again, "error_description").contains("'code'"));

    let first = text(&tokens, "refresh_token").to_owned();
    let second = text(&refresh(&w, &first).await.expect(200).json(), "refresh_token").to_owned();
    assert_ne!(first, second);
    refresh(&w, &first).await.expect(200);
    refresh(&w, &second).await.expect(200);
    assert_eq!(text(&refresh(&w, &first).await.expect(400).json(), "error"), "invalid_grant");
    w.emulator.live().set_rotation(false);
    assert_eq!(text(&refresh(&w, &second).await.expect(200).json(), "refresh_token"), second);
    w.emulator.oauth().revoke_refresh();
    refresh(&w, &second).await.expect(400);
    let secrets = w.emulator.secrets();
    assert!(secrets.contains(&second) && secrets.contains(&fields["code"]));
}

#[tokio::test]
async fn codes_end_after_ten_minutes_and_belong_to_one_client_and_redirect() {
    let w = live_world().await;
    for (client, redirect, seconds) in
        [(CLIENT, DESKTOP, 601), ("00000000541C0E28", DESKTOP, 0), (CLIENT, "https://example.org/", 0)]
    {
        let url = w.emulator.live().consent(CLIENT, LiveHandle::SCOPE, DESKTOP);
        w.clock.advance(Duration::from_secs(seconds));
        let code = fields_of(&url)["code"].clone();
        let fields =
            [("client_id", client), ("redirect_uri", redirect), ("code", &code), ("grant_type", "authorization_code")];
        assert_eq!(text(&token(&w, &fields).await.expect(400).json(), "error"), "invalid_grant");
    }
    let fields = [("client_id", CLIENT), ("redirect_uri", DESKTOP), ("grant_type", "password")];
    assert_eq!(text(&token(&w, &fields).await.expect(400).json(), "error"), "unsupported_grant_type");
    let fields = [("client_id", "42"), ("redirect_uri", DESKTOP), ("grant_type", "refresh_token")];
    assert_eq!(text(&token(&w, &fields).await.expect(400).json(), "error"), "unauthorized_client");
}

#[tokio::test]
async fn a_secret_is_needed_but_for_the_refresh_of_a_desktop_client() {
    let w = live_world().await;
    let (web, mobile) = ("0000000040000001", "0000000040000002");
    let secret = Some("s3cret".to_owned());
    let redirect = "https://example.org/callback".to_owned();
    w.emulator
        .live()
        .register_client(web, LiveClient { secret: secret.clone(), mobile: false, redirects: vec![redirect.clone()] });
    w.emulator.live().register_client(mobile, LiveClient { secret, mobile: true, redirects: Vec::new() });
    let redeem = async |client: &str, redirect: &str, secret: Option<&str>| {
        let code = fields_of(&w.emulator.live().consent(client, LiveHandle::SCOPE, redirect))["code"].clone();
        let mut fields = vec![
            ("client_id", client),
            ("redirect_uri", redirect),
            ("code", code.as_str()),
            ("grant_type", "authorization_code"),
        ];
        fields.extend(secret.map(|secret| ("client_secret", secret)));
        token(&w, &fields).await
    };
    assert_eq!(text(&redeem(mobile, DESKTOP, Some("wrong")).await.expect(400).json(), "error"), "invalid_client");
    assert_eq!(text(&redeem(mobile, DESKTOP, None).await.expect(400).json(), "error"), "invalid_request");
    let mobile_tokens = redeem(mobile, DESKTOP, Some("s3cret")).await.expect(200).json();
    let web_tokens = redeem(web, &redirect, Some("s3cret")).await.expect(200).json();
    let again = async |client: &str, redirect: &str, tokens: &Value, secret: Option<&str>| {
        let mut fields = vec![
            ("client_id", client),
            ("redirect_uri", redirect),
            ("refresh_token", text(tokens, "refresh_token")),
            ("grant_type", "refresh_token"),
        ];
        fields.extend(secret.map(|secret| ("client_secret", secret)));
        token(&w, &fields).await
    };
    again(mobile, DESKTOP, &mobile_tokens, None).await.expect(200);
    again(web, &redirect, &web_tokens, None).await.expect(400);
    again(web, &redirect, &web_tokens, Some("s3cret")).await.expect(200);
    again(mobile, DESKTOP, &web_tokens, None).await.expect(400);
    // Only registered ids are known now, and a web client may not use the desktop redirect.
    for (client, redirect, error) in [(CLIENT, DESKTOP, "unauthorized_client"), (web, DESKTOP, "invalid_request")] {
        let got = send(w.bare("GET", &authorize(&w, client, redirect, ""))).await.expect(302);
        let location = got.header("location").to_owned();
        assert!(location.contains("/err.srf?lc=1033#"), "{location}");
        assert_eq!(fields_of(&location)["error"], error);
        send(w.bare("GET", location.split('#').next().expect("a part"))).await.expect(200);
    }
}

#[tokio::test]
async fn people_are_asked_and_may_decline() {
    let w = live_world().await;
    w.emulator.oauth().set_auto_approve(false);
    let page = send(w.bare("GET", &authorize(&w, CLIENT, DESKTOP, ""))).await.expect(200);
    assert!(String::from_utf8_lossy(&page.body).contains("decision=approve"));
    let denied = send(w.bare("GET", &authorize(&w, CLIENT, DESKTOP, "&decision=deny"))).await.expect(302);
    let fields = fields_of(denied.header("location"));
    assert_eq!((fields["error"].as_str(), fields["state"].as_str()), ("access_denied", "s 1"));
    let implicit = authorize(&w, CLIENT, DESKTOP, "&decision=approve").replace("type=code", "type=token");
    let got = send(w.bare("GET", &implicit)).await.expect(302);
    let (address, fragment) = got.header("location").split_once('#').expect("a fragment");
    assert!(address == DESKTOP && fragment.starts_with("access_token="));
    let fields = fields_of(got.header("location"));
    assert!(!fields.contains_key("refresh_token"));
    let url = format!("{}/v5.0/me", w.emulator.endpoints().live);
    send(w.bare("GET", &url).bearer_auth(&fields["access_token"])).await.expect(200);
    let odd = authorize(&w, CLIENT, DESKTOP, "").replace("wl.skydrive%20", "Files.Read,");
    let got = send(w.bare("GET", &odd)).await.expect(302);
    assert_eq!(fields_of(got.header("location"))["error"], "invalid_scope");
    for path in ["oauth20_desktop.srf", "oauth20_logout.srf"] {
        send(w.bare("GET", &format!("{}/{path}", w.emulator.endpoints().login))).await.expect(200);
    }
}

#[tokio::test]
async fn tokens_travel_in_header_or_query_and_end() {
    let w = live_world().await;
    let url = |more: &str| format!("{}/v5.0/me/skydrive{more}", w.emulator.endpoints().live);
    assert_eq!(send(w.bare("GET", &url(""))).await.expect(401).code(), "request_token_missing");
    assert_eq!(send(w.bare("GET", &url("?access_token=x"))).await.expect(401).code(), "request_token_invalid");
    let encoded = super::super::wire::encode(&w.token);
    send(w.bare("GET", &url(&format!("?access_token={encoded}")))).await.expect(200);
    let raw = send(w.bare("GET", &url(&format!("?access_token={}", w.token)))).await.expect(401);
    assert_eq!(raw.code(), "request_token_invalid", "a plus in a query is a space");
    let both = w.live("GET", &format!("me/skydrive?access_token={encoded}"));
    assert_eq!(send(both).await.expect(400).code(), "request_token_too_many");
    w.clock.advance(Duration::from_secs(3601));
    assert_eq!(w.live_get("me/skydrive").await.expect(401).code(), "request_token_expired");
    let mut w = w;
    w.token = w.emulator.live().issue_tokens().access;
    w.live_get("me/skydrive").await.expect(200);
    w.emulator.oauth().expire_access_tokens();
    assert_eq!(w.live_get("me/skydrive").await.expect(401).code(), "request_token_expired");
}

#[tokio::test]
async fn scopes_are_enforced_and_may_be_less_than_asked_for() {
    let mut w = live_world().await;
    w.emulator.live().set_granted_scope(Some("wl.skydrive wl.offline_access"));
    let url = w.emulator.live().consent(CLIENT, LiveHandle::SCOPE, DESKTOP);
    let fields = [
        ("client_id", CLIENT),
        ("redirect_uri", DESKTOP),
        ("code", &fields_of(&url)["code"]),
        ("grant_type", "authorization_code"),
    ];
    let tokens = token(&w, &fields).await.expect(200).json();
    assert!(!text(&tokens, "scope").contains("update"));
    w.token = text(&tokens, "access_token").to_owned();
    w.live_get("me/skydrive").await.expect(200);
    let refused = send(w.live("PUT", "me/skydrive/files/a").body("x")).await.expect(403);
    assert_eq!(refused.code(), "request_token_unauthorized");
    assert!(refused.json()["error"]["message"].as_str().is_some_and(|text| text.contains("wl.skydrive_update")));
    assert_eq!(w.live_get("me/permissions").await.expect(200).json()["data"][0]["skydrive"], 1);
    w.emulator.live().set_granted_scope(None);
    w.token = w.emulator.live().issue_tokens_for(CLIENT, "wl.signin").access;
    w.live_get("me").await.expect(200);
    w.live_get("me/skydrive/files").await.expect(403);
    assert!(w.emulator.live().issue_tokens_for(CLIENT, "wl.skydrive").refresh.is_empty());
}
