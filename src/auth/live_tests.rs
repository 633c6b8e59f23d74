//! The sign-in that belongs to Live v5.0, against a scripted token service; and the sign-in in a file of python-onedrive.

use super::flow::{Method, SignInError};
use super::tests::{Person, Service, World, access};
use super::*;
use crate::base::clock::{ManualClock, Timestamp};
use crate::config::Layers;

/// An application of the old service, with these settings beside.
fn application(service: &Service, more: &str) -> Authority {
    let text = format!("protocol: live\nclient.id: 0000000048123456\nendpoints.login: {}\n{more}", service.url);
    let layers = Layers::built_in().text(&text, std::path::Path::new("test")).expect("valid");
    Authority::from_config(&layers.finish().expect("valid")).expect("complete")
}

const GRANTED: &str = r#"{"token_type":"bearer","access_token":"A1","refresh_token":"R1","expires_in":3600,
    "scope":"wl.offline_access wl.skydrive_update wl.skydrive"}"#;

const GRANTED_AGAIN: &str = r#"{"access_token":"A2","refresh_token":"R2","expires_in":3600}"#;

#[tokio::test]
async fn the_page_is_empty_and_its_address_is_brought_back() {
    let world = World::new(&[(200, GRANTED)]).await;
    let authority = application(&world.service, "client.secret: s3cret\n");
    let sign_in = world.sign_in(&authority, &world.clock);
    let page = "https://login.live.com/oauth20_desktop.srf";
    let mut person = Person::typing(&["nonsense", &format!("{page}?code=C0DE&state=STATE&lc=1033")]);
    sign_in.run(Method::Paste, &mut person).await.expect("signed in");
    let asked = person.said.split_whitespace().find(|word| word.contains("authorize")).expect("an address").to_owned();
    let url = url::Url::parse(&asked).expect("an address");
    assert_eq!(url.path(), "/oauth20_authorize.srf");
    let query: std::collections::HashMap<String, String> = url.query_pairs().into_owned().collect();
    assert_eq!(query["client_id"], "0000000048123456");
    assert_eq!(query["response_type"], "code");
    assert_eq!(query["redirect_uri"], page);
    for scope in ["wl.skydrive", "wl.skydrive_update", "wl.offline_access"] {
        assert!(query["scope"].split(' ').any(|known| known == scope), "{scope}");
    }
    assert!(!query.contains_key("code_challenge"), "the old service knows no PKCE");
    assert!(person.said.contains(&format!("it starts with {page}")), "{}", person.said);
    let (path, form) = world.service.seen()[0].clone();
    assert_eq!(path, "/oauth20_token.srf");
    assert_eq!(form["grant_type"], "authorization_code");
    assert_eq!(form["code"], "C0DE");
    assert_eq!(form["redirect_uri"], page);
    assert_eq!(form["client_secret"], "s3cret");
    assert!(!form.contains_key("code_verifier"));
    assert_eq!(world.stored(), ("A1".to_owned(), "R1".to_owned()), "the new code replaced what was stored");
}

#[tokio::test]
async fn a_renewal_shows_the_secret_only_for_an_application_of_the_web() {
    let world = World::new(&[]).await;
    let desktop = application(&world.service, "client.secret: s3cret\n");
    desktop.refresh(&Secret::new("R0".to_owned())).await.expect("renewed");
    let web = application(&world.service, "client.secret: s3cret\nclient.redirect: https://app.example.org/done\n");
    web.refresh(&Secret::new("R0".to_owned())).await.expect("renewed");
    let seen = world.service.seen();
    for (form, redirect, secret) in [
        (&seen[0].1, "https://login.live.com/oauth20_desktop.srf", None),
        (&seen[1].1, "https://app.example.org/done", Some("s3cret")),
    ] {
        assert_eq!(form["grant_type"], "refresh_token");
        assert_eq!(form["refresh_token"], "R0");
        assert_eq!(form["redirect_uri"], redirect);
        assert_eq!(form.get("client_secret").map(String::as_str), secret);
    }
}

#[tokio::test]
async fn an_answer_without_state_needs_no_sign_in_under_way() {
    let world = World::new(&[(200, GRANTED)]).await;
    let authority = application(&world.service, "");
    let sign_in = world.sign_in(&authority, &world.clock);
    let foreign = sign_in.finish("https://login.live.com/oauth20_desktop.srf?code=C&state=S").await;
    assert!(matches!(foreign, Err(SignInError::NoneUnderWay)));
    let refused = sign_in.finish("https://login.live.com/err.srf?lc=1033#error=unauthorized_client").await;
    assert!(matches!(refused, Err(SignInError::Declined { code, .. }) if code == "unauthorized_client"));
    assert!(matches!(sign_in.finish("https://login.live.com/").await, Err(SignInError::NotARedirect(_))));
    sign_in.finish("https://login.live.com/oauth20_desktop.srf?code=C&lc=1033").await.expect("signed in");
    assert_eq!(world.stored().1, "R1");
}

#[tokio::test]
async fn permissions_may_be_more_but_not_less_and_what_came_is_stored_first() {
    let less = r#"{"access_token":"A1","refresh_token":"R1","expires_in":3600,"scope":"wl.skydrive"}"#;
    let world = World::new(&[(200, less)]).await;
    let authority = application(&world.service, "");
    let error = world.sign_in(&authority, &world.clock).finish("?code=C").await.expect_err("too little");
    assert!(
        matches!(&error, SignInError::Auth(AuthError::MissingPermission { missing })
            if missing == "wl.skydrive_update wl.offline_access"),
        "{error}"
    );
    assert_eq!(world.stored(), ("A1".to_owned(), "R1".to_owned()));
    let source = Renewer::new(authority, world.vault.clone(), Arc::new(world.clock.clone()));
    assert!(matches!(access(&source).await, Err(AuthError::MissingPermission { .. })));
    let authority = application(&world.service, "");
    for granted in ["", "wl.offline_access,wl.skydrive_update", "wl.basic wl.skydrive_update wl.offline_access"] {
        assert_eq!(authority.missing_scopes(granted), Vec::<&str>::new(), "{granted}");
    }
    assert_eq!(authority.missing_scopes("wl.skydrive_update wl.emails"), ["wl.offline_access"]);
}

#[tokio::test]
async fn there_are_no_codes_for_other_devices() {
    let world = World::new(&[]).await;
    let authority = application(&world.service, "");
    let mut person = Person::typing(&[]);
    let result = world.sign_in(&authority, &world.clock).run(Method::DeviceCode, &mut person).await;
    assert!(matches!(result, Err(SignInError::NoDeviceCodes)));
    assert_eq!(world.service.count(), 0);
}

/// A settings file of python-onedrive with a sign-in, and what belongs to it.
fn lcrc(service: &Service, folder: &std::path::Path, more: &str) -> (Authority, Vault) {
    let path = folder.join(".lcrc");
    let text = format!(
        "client:\n  id: '0000000012345670'\nendpoints.login: {}\nauth:\n  access_token: A0\n  refresh_token: R0\n  \
         access_expires: 2014-11-23 09:41:07\nmine: 1\n{more}",
        service.url
    );
    std::fs::write(&path, text).expect("written");
    let config = Layers::built_in().file(&path, true).expect("good").finish().expect("good");
    let vault = Vault::in_lcrc(config.lcrc.clone().expect("it is one"), Authority::identity_of(&config));
    (Authority::from_config(&config).expect("complete"), vault)
}

#[tokio::test]
async fn the_sign_in_of_the_old_program_is_taken_over_and_kept_where_it_was() {
    let world = World::new(&[(200, GRANTED), (200, GRANTED_AGAIN)]).await;
    let (authority, vault) = lcrc(&world.service, world.home.path(), "");
    // Ten minutes after the token of the file ended.
    let clock = ManualClock::new(Timestamp::from_seconds(1_416_735_667 + 600));
    let source = Renewer::new(authority.clone(), vault.clone(), Arc::new(clock.clone()));
    assert_eq!(access(&source).await.expect("renewed"), "A1");
    assert_eq!(world.service.seen()[0].1["refresh_token"], "R0");
    let text = std::fs::read_to_string(world.home.path().join(".lcrc")).expect("there");
    for line in
        ["  access_token: \"A1\"", "  refresh_token: \"R1\"", "  access_expires: 2014-11-23 10:51:07", "mine: 1"]
    {
        assert!(text.lines().any(|known| known == line), "{line} in {text}");
    }
    // And another process goes on from there.
    let other = Renewer::new(authority, vault, Arc::new(clock.clone()));
    assert_eq!(access(&other).await.expect("valid"), "A1");
    clock.advance(Duration::from_secs(3601));
    assert_eq!(access(&other).await.expect("renewed"), "A2");
    assert_eq!(world.service.seen()[1].1["refresh_token"], "R1");
}

#[tokio::test]
async fn what_is_not_to_be_stored_lives_as_long_as_the_program() {
    let world = World::new(&[(200, GRANTED), (200, GRANTED_AGAIN)]).await;
    let (authority, vault) = lcrc(&world.service, world.home.path(), "conf_save: false\n");
    let clock = ManualClock::new(Timestamp::from_seconds(1_500_000_000));
    let source = Renewer::new(authority, vault.clone(), Arc::new(clock.clone()));
    assert_eq!(access(&source).await.expect("renewed"), "A1");
    clock.advance(Duration::from_secs(3601));
    assert_eq!(access(&source).await.expect("renewed"), "A2");
    assert_eq!(world.service.seen()[1].1["refresh_token"], "R1", "the newest, though it is in no file");
    assert!(std::fs::read_to_string(world.home.path().join(".lcrc")).expect("there").contains("R0"));
    assert_eq!(vault.path(), None);
}
