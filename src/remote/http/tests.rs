//! The HTTP door against a real socket: tokens go to their own origin only, and no silence is endless.

use super::*;
use crate::base::clock::{ManualClock, Timestamp};
use crate::remote::testing::{Answer, Hasty, Server, Tokens, door, no_entropy};

fn get(http: &Http, path: &str) -> Ask {
    Ask::get(http.graph_url(path).expect("a path"), "try it")
}

#[tokio::test]
async fn requests_to_graph_carry_the_token_and_say_who_asks() {
    let server = Server::start(|_, _| Answer::new(200, "{}")).await;
    let http = door(&server.url, Arc::new(Hasty::default()));
    http.signed(&get(&http, "/me/drive")).await.expect("an answer");
    let seen = &server.seen()[0];
    assert_eq!(seen.target, "/v1.0/me/drive");
    assert_eq!(seen.header("authorization"), Some("Bearer t0"));
    assert_eq!(seen.header("user-agent"), Some(USER_AGENT));
    assert_eq!(seen.header("accept-encoding"), Some("gzip"));
    assert_eq!(seen.header("client-request-id").map(str::len), Some(36));
}

#[tokio::test]
async fn a_refused_token_is_renewed_twice_and_no_more() {
    let server = Server::start(|_, _| Answer::new(401, r#"{"error":{"code":"InvalidAuthenticationToken"}}"#)).await;
    let http = door(&server.url, Arc::new(Hasty::default()));
    let reply = http.signed(&get(&http, "/me/drive")).await.expect("an answer");
    let failure = reply.success().expect_err("401 is no success");
    assert_eq!((failure.kind, failure.advice), (RemoteErrorKind::Denied, Advice::Refresh));
    let tokens: Vec<_> = server.seen().iter().map(|seen| seen.header("authorization").map(str::to_owned)).collect();
    // The first other token may be one that another process brought long ago, and as dead as ours.
    assert_eq!(tokens, ["t0", "t1", "t2"].map(|token| Some(format!("Bearer {token}"))));
}

#[tokio::test]
async fn other_origins_never_see_the_token() {
    let graph = Server::start(|_, _| Answer::new(200, "{}")).await;
    let other = Server::start(|_, _| Answer::new(200, "{}")).await;
    let http = door(&graph.url, Arc::new(Hasty::default()));
    let link = http.service_url(&format!("{}/v1.0/next", other.url)).expect("loopback is admitted");
    let failure = http.signed(&Ask::get(link.clone(), "follow a link")).await.expect_err("refused");
    assert_eq!(failure.kind, RemoteErrorKind::Protocol);
    assert!(other.seen().is_empty());
    http.bare(&Ask::get(link, "fetch")).await.expect("an answer");
    assert_eq!(other.seen()[0].header("authorization"), None);
    assert_eq!(other.seen()[0].header("client-request-id"), None);
}

#[tokio::test]
async fn redirects_are_answers() {
    let server = Server::start(|_, _| Answer::new(302, "").with("location", "http://127.0.0.1:1/elsewhere")).await;
    let http = door(&server.url, Arc::new(Hasty::default()));
    let reply = http.signed(&get(&http, "/x")).await.expect("an answer");
    assert_eq!(reply.status.as_u16(), 302);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn only_https_and_loopback_are_admitted() {
    let http = door("http://127.0.0.1:9", Arc::new(Hasty::default()));
    for (url, admitted) in [
        ("https://x.sharepoint.example/f?tempauth=1", true),
        ("http://localhost:80/f", true),
        ("http://[::1]/f", true),
        ("http://x.example/f", false),
        ("http://127.0.0.1.example/f", false),
        ("file:///etc/passwd", false),
        ("data:text/plain,x", false),
        ("not a url", false),
    ] {
        assert_eq!(http.service_url(url).is_ok(), admitted, "{url}");
    }
    let closed =
        HttpOptions { origin: "http://127.0.0.1:9".into(), loopback_only: true, patience: Patience::default() };
    let closed = Http::new(&closed, Arc::new(Tokens::default()), Arc::new(Hasty::default()), no_entropy());
    assert!(closed.expect("loopback").service_url("https://x.example/").is_err());
    for origin in ["http://graph.example", "graph.example", "ftp://127.0.0.1"] {
        let options = HttpOptions { origin: origin.into(), loopback_only: false, patience: Patience::default() };
        let refused = Http::new(&options, Arc::new(Tokens::default()), Arc::new(Hasty::default()), no_entropy());
        assert_eq!(refused.err().map(|error| error.kind), Some(RemoteErrorKind::Local), "{origin}");
    }
}

#[tokio::test]
async fn urls_of_the_service_go_out_as_they_came() {
    let server = Server::start(|_, _| Answer::new(200, "{}")).await;
    let http = door(&server.url, Arc::new(Hasty::default()));
    let target = "/a%2Fb/%7e/(x)?token=%27&sig=%2B+%2f&$select=a,b&e";
    let url = http.service_url(&format!("{}{target}", server.url)).expect("a URL");
    http.bare(&Ask::get(url, "fetch")).await.expect("an answer");
    assert_eq!(server.seen()[0].target, target);
}

#[tokio::test]
async fn bodies_go_out_with_their_length_and_empty_posts_too() {
    let server = Server::start(|_, _| Answer::new(200, "{}")).await;
    let http = door(&server.url, Arc::new(Hasty::default()));
    let body = Bytes::from(vec![7u8; 3 * SLICE + 5]);
    let url = http.graph_url("/up").expect("a path");
    http.signed(&Ask::new(Method::PUT, url.clone(), Effect::Once, "send").bytes(body.clone())).await.expect("sent");
    http.signed(&Ask::new(Method::POST, url, Effect::Once, "send nothing")).await.expect("sent");
    let seen = server.seen();
    assert_eq!(seen[0].body, body);
    assert_eq!(seen[0].header("transfer-encoding"), None);
    assert_eq!(seen[1].header("content-length"), Some("0"));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_on() {
    let server = Server::start(|_, _| Answer::silence()).await;
    let clock = ManualClock::new(Timestamp(0));
    let http = door(&server.url, Arc::new(clock.clone()));
    let ask = Ask::new(Method::POST, http.graph_url("/x").expect("a path"), Effect::Once, "wait");
    let waiting = tokio::spawn(async move { http.signed(&ask).await });
    while server.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    let failure = loop {
        clock.advance(Patience::default().headers);
        if waiting.is_finished() {
            break waiting.await.expect("no panic").expect_err("silence is a failure");
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((failure.kind, failure.advice), (RemoteErrorKind::Offline, Advice::VerifyThenRetry));
}

#[tokio::test]
async fn no_connection_is_offline_without_effect() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let http = door(&url, Arc::new(Hasty::default()));
    let ask = Ask::new(Method::POST, http.graph_url("/x").expect("a path"), Effect::Once, "try");
    let failure = http.signed(&ask).await.expect_err("nobody listens");
    assert_eq!((failure.kind, failure.advice), (RemoteErrorKind::Offline, Advice::Retry));
}

#[tokio::test]
async fn an_answer_cut_short_may_have_had_its_effect() {
    let server = Server::start(|_, _| Answer::new(201, r#"{"id":"1"}"#).cut_after(3)).await;
    let http = door(&server.url, Arc::new(Hasty::default()));
    let url = http.graph_url("/x").expect("a path");
    let failure = http.signed(&Ask::new(Method::POST, url, Effect::Once, "create")).await.expect_err("cut");
    assert_eq!((failure.kind, failure.advice), (RemoteErrorKind::Offline, Advice::VerifyThenRetry));
    let failure = http.signed(&get(&http, "/x")).await.expect_err("cut");
    assert_eq!(failure.advice, Advice::Retry);
}

#[tokio::test]
async fn an_endless_answer_is_refused() {
    let server =
        Server::start(|_, _| Answer::new(200, vec![b' '; MAX_ANSWER + 1]).with("content-type", "application/json"))
            .await;
    let http = door(&server.url, Arc::new(Hasty::default()));
    let failure = http.signed(&get(&http, "/x")).await.expect_err("too large");
    assert_eq!(failure.kind, RemoteErrorKind::Protocol);
}

#[tokio::test]
async fn errors_hold_the_request_id_and_no_secrets() {
    let server = Server::start(|_, _| {
        let body = r#"{"error":{"code":"accessDenied","message":"see https://x.example/?tempauth=s3cret","innererror":
            {"code":"accessRestricted"}}}"#;
        Answer::new(403, body).with("request-id", "7-7-7")
    })
    .await;
    let http = door(&server.url, Arc::new(Hasty::default()));
    let url = http.service_url(&format!("{}/f?tempauth=s3cret", server.url)).expect("a URL");
    let failure = http.signed(&Ask::get(url, "try it")).await.expect("an answer").success().expect_err("403");
    let shown = format!("{failure} {failure:?}");
    assert!(shown.contains("7-7-7") && shown.contains("accessrestricted"), "{shown}");
    assert!(!shown.contains("s3cret") && !shown.contains("t0"), "{shown}");
    let broken = door("http://127.0.0.1:1", Arc::new(Hasty::default()));
    let url = broken.service_url("http://127.0.0.1:1/f?tempauth=s3cret").expect("a URL");
    let failure = broken.bare(&Ask::get(url.clone(), "try it")).await.expect_err("nobody listens");
    assert!(!format!("{failure:?}").contains("s3cret"));
    assert!(!format!("{:?}", Ask::get(url, "try it")).contains("s3cret"));
}

#[test]
fn guids_look_like_guids() {
    assert_eq!(guid(u64::MAX, u64::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    assert_eq!(guid(0, 0), "00000000-0000-4000-8000-000000000000");
}

/// The label is too long for any resolver to ask anybody: the failure is the resolver's own.
#[tokio::test]
async fn a_name_that_is_not_found_is_no_connection_as_a_refusal_is() {
    let nameless = door(&format!("https://{}.example", "n".repeat(64)), Arc::new(Hasty::default()));
    let refusing = door("http://127.0.0.1:1", Arc::new(Hasty::default()));
    let mut failures = Vec::new();
    for http in [nameless, refusing] {
        let url = http.graph_url("/me/drive").expect("a path");
        let ask = Ask::new(Method::POST, url, Effect::Once, "try it");
        let failure = http.signed(&ask).await.expect_err("nobody there");
        failures.push((failure.kind, failure.advice));
    }
    assert_eq!(failures[0], (RemoteErrorKind::Offline, Advice::Retry));
    assert_eq!(failures[0], failures[1]);
}

/// The names are too long for any resolver to ask anybody.
#[tokio::test]
async fn the_hosts_of_a_listing_are_not_all_connected_to() {
    let http = door("http://127.0.0.1:9", Arc::new(Hasty::default()));
    for number in 0..5000 {
        let url = format!("https://{number}.{}.example:{}/a?tempauth=1", "n".repeat(64), 1000 + number);
        http.warm(&http.service_url(&url).expect("a host of the internet"));
    }
    let connecting = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!((1..=16).contains(&connecting), "{connecting} connections are under way");
}
