//! Tokens and sign-in against a scripted token service: renewed once, never lost, in words a person understands.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::flow::{Dialogue, Method, SignIn, SignInError};
use super::*;
use crate::base::clock::{Clock, ManualClock, SystemClock, Timestamp};
use crate::config::Layers;

pub(super) type Form = HashMap<String, String>;
type Act = Box<dyn FnOnce() + Send>;

/// A token service that answers from a script; after its end it issues numbered tokens.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) url: String,
    script: Arc<Mutex<VecDeque<(u16, String)>>>,
    seen: Arc<Mutex<Vec<(String, Form)>>>,
    /// Runs while the next request is under way.
    meanwhile: Arc<Mutex<Option<Act>>>,
}

impl Service {
    async fn start(script: &[(u16, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let service = Self {
            url: format!("http://{}", listener.local_addr().expect("an address")),
            script: Arc::new(Mutex::new(script.iter().map(|(status, body)| (*status, (*body).to_owned())).collect())),
            seen: Arc::default(),
            meanwhile: Arc::default(),
        };
        let server = service.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(server.clone().serve(stream));
            }
        });
        service
    }

    async fn serve(self, mut stream: TcpStream) -> Option<()> {
        let mut request = String::new();
        let mut buffer = [0; 4096];
        let body = loop {
            let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
            request.push_str(&String::from_utf8_lossy(&buffer[..read]));
            let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
            let length = head.to_ascii_lowercase();
            let length: usize = length.split("content-length: ").nth(1)?.lines().next()?.trim().parse().ok()?;
            if body.len() >= length {
                break body.to_owned();
            }
        };
        let path = request.split(' ').nth(1)?.to_owned();
        let form = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let number = {
            let mut seen = self.seen.lock().expect("whole");
            seen.push((path, form));
            seen.len()
        };
        if let Some(act) = self.meanwhile.lock().expect("whole").take() {
            act();
        }
        let scripted = self.script.lock().expect("whole").pop_front();
        let (status, body) = scripted.unwrap_or_else(|| {
            let body = format!(
                r#"{{"token_type":"Bearer","access_token":"A{number}","refresh_token":"R{number}","expires_in":3600,"scope":"Files.ReadWrite.All"}}"#
            );
            (200, body)
        });
        let answer = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.ok()
    }

    pub(super) fn authority(&self, client: &str) -> Authority {
        let text = format!("client.id: {client}\nendpoints.login: {}\n", self.url);
        let layers = Layers::built_in().text(&text, Path::new("test")).expect("valid");
        Authority::from_config(&layers.finish().expect("valid")).expect("complete")
    }

    pub(super) fn seen(&self) -> Vec<(String, Form)> {
        self.seen.lock().expect("whole").clone()
    }

    pub(super) fn count(&self) -> usize {
        self.seen().len()
    }
}

pub(super) struct World {
    pub(super) service: Service,
    pub(super) clock: ManualClock,
    pub(super) vault: Vault,
    pub(super) home: tempfile::TempDir,
}

impl World {
    /// A service with a script, and somebody signed in with tokens `A0` and `R0` that last an hour.
    pub(super) async fn new(script: &[(u16, &str)]) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let world = Self {
            service: Service::start(script).await,
            clock: ManualClock::new(Timestamp::from_seconds(1_700_000_000)),
            vault: Vault::new(home.path().join("token.json")),
            home,
        };
        world.put("A0", "R0").await;
        world
    }

    pub(super) async fn put(&self, access: &str, refresh: &str) {
        let hour = Duration::from_secs(3600);
        let tokens = Tokens {
            access: Secret::new(access.to_owned()),
            refresh: Some(Secret::new(refresh.to_owned())),
            expires: self.clock.now().plus(hour),
            lifetime: hour,
            scope: String::new(),
            identity: self.service.authority("app").identity(),
        };
        let lock = self.vault.lock(&self.clock).await.expect("free");
        self.vault.store(&tokens, &lock).expect("stored");
    }

    pub(super) fn renewer(&self) -> Renewer {
        Renewer::new(self.service.authority("app"), self.vault.clone(), Arc::new(self.clock.clone()))
    }

    pub(super) fn stored(&self) -> (String, String) {
        let tokens = self.vault.load().expect("readable").expect("signed in");
        (tokens.access.into_exposed(), tokens.refresh.expect("offline access").into_exposed())
    }

    pub(super) fn sign_in<'a>(&'a self, authority: &'a Authority, clock: &'a dyn Clock) -> SignIn<'a> {
        SignIn { authority, vault: &self.vault, pending: self.home.path().join("sign-in.json"), clock }
    }
}

pub(super) async fn access(source: &Renewer) -> Result<String, AuthError> {
    source.token().await.map(Secret::into_exposed)
}

const INVALID_GRANT: (u16, &str) =
    (400, r#"{"error":"invalid_grant","error_description":"AADSTS70008: The token has expired. Trace ID: 1"}"#);

#[tokio::test]
async fn a_valid_token_costs_no_request() {
    let world = World::new(&[]).await;
    let source = world.renewer();
    for _ in 0..3 {
        assert_eq!(access(&source).await.expect("valid"), "A0");
    }
    assert_eq!(world.service.count(), 0);
}

#[tokio::test]
async fn everybody_who_finds_the_token_expired_shares_one_refresh() {
    let world = World::new(&[]).await;
    let source = world.renewer();
    world.clock.advance(Duration::from_secs(3601));
    let all: Vec<_> = (0..20).map(|_| source.clone()).map(|s| tokio::spawn(async move { access(&s).await })).collect();
    for one in all {
        assert_eq!(one.await.expect("no panic").expect("renewed"), "A1");
    }
    let seen = world.service.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].0, "/common/oauth2/v2.0/token");
    assert_eq!(seen[0].1["grant_type"], "refresh_token");
    assert_eq!(seen[0].1["refresh_token"], "R0");
    assert!(seen[0].1["scope"].contains("offline_access"));
    assert!(!seen[0].1.contains_key("client_secret"));
    assert_eq!(world.stored(), ("A1".to_owned(), "R1".to_owned()));
}

#[tokio::test]
async fn two_processes_spend_a_refresh_token_once() {
    let world = World::new(&[]).await;
    let (one, other) = (world.renewer(), world.renewer());
    assert_eq!(access(&one).await.expect("valid"), "A0");
    assert_eq!(access(&other).await.expect("valid"), "A0");
    world.clock.advance(Duration::from_secs(3601));
    assert_eq!(access(&one).await.expect("renewed"), "A1");
    assert_eq!(access(&other).await.expect("taken from the file"), "A1");
    assert_eq!(world.service.count(), 1);
}

#[tokio::test]
async fn a_token_near_its_end_serves_while_it_is_renewed() {
    let world = World::new(&[]).await;
    let source = world.renewer();
    world.clock.advance(Duration::from_secs(3600 - 299));
    assert_eq!(access(&source).await.expect("still valid"), "A0");
    while access(&source).await.expect("valid") == "A0" {
        tokio::task::yield_now().await;
    }
    assert_eq!(access(&source).await.expect("new"), "A1");
    assert_eq!(world.service.count(), 1);
}

#[tokio::test]
async fn trouble_keeps_the_old_token_while_it_is_valid() {
    let world = World::new(&[(503, ""), (200, "<html>hotel</html>")]).await;
    let source = world.renewer();
    world.clock.advance(Duration::from_secs(3600 - 200));
    assert_eq!(access(&source).await.expect("still valid"), "A0");
    while source.shared_failure().is_none() {
        tokio::task::yield_now().await;
    }
    // Not asked again by every request.
    assert_eq!(access(&source).await.expect("still valid"), "A0");
    assert_eq!(world.service.count(), 1);
    world.clock.advance(Duration::from_secs(201));
    assert!(matches!(access(&source).await, Err(AuthError::Unreachable { .. })));
    assert!(matches!(access(&source).await, Err(AuthError::Unreachable { .. })));
    assert_eq!(world.service.count(), 2);
    // The network is back.
    world.clock.advance(Duration::from_secs(3));
    assert_eq!(access(&source).await.expect("renewed"), "A3");
    assert_eq!(world.stored().1, "R3");
}

#[tokio::test]
async fn signed_out_is_said_once_and_ends_with_a_new_sign_in() {
    let world = World::new(&[INVALID_GRANT]).await;
    let source = world.renewer();
    world.clock.advance(Duration::from_secs(3601));
    let error = access(&source).await.expect_err("signed out");
    assert_eq!(
        error.to_string(),
        "you are signed out (AADSTS70008: The token has expired); to sign in again, run: onedrive-cli auth"
    );
    assert!(matches!(access(&source).await, Err(AuthError::SignedOut { .. })));
    assert_eq!(world.service.count(), 1, "a void token is not spent again");
    assert_eq!(world.stored().1, "R0", "nothing is thrown away");
    world.put("B0", "S0").await;
    assert_eq!(access(&source).await.expect("the running program notices"), "B0");
}

#[tokio::test]
async fn a_refusal_of_the_application_is_not_a_sign_out() {
    let world =
        World::new(&[(401, r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid secret."}"#)])
            .await;
    world.clock.advance(Duration::from_secs(3601));
    let error = access(&world.renewer()).await.expect_err("refused");
    assert!(matches!(&error, AuthError::Refused { code, .. } if code == "invalid_client"), "{error}");
    assert!(error.to_string().contains("client.id"), "{error}");
}

#[tokio::test]
async fn after_a_401_the_token_is_renewed_unless_somebody_already_did() {
    let world = World::new(&[]).await;
    let source = world.renewer();
    let old = source.token().await.expect("valid");
    let renewals = [source.renew(&old), source.renew(&old), source.renew(&old)];
    for renewal in futures_util::future::join_all(renewals).await {
        assert_eq!(renewal.expect("renewed").into_exposed(), "A1");
    }
    assert_eq!(world.service.count(), 1);
    assert_eq!(source.renew(&old).await.expect("already done").into_exposed(), "A1");
    assert_eq!(world.service.count(), 1);
}

#[tokio::test]
async fn an_answer_without_a_refresh_token_keeps_the_old_one() {
    let world = World::new(&[(200, r#"{"access_token":"A1","expires_in":60}"#)]).await;
    let source = world.renewer();
    world.clock.advance(Duration::from_secs(3601));
    assert_eq!(access(&source).await.expect("renewed"), "A1");
    assert_eq!(world.stored(), ("A1".to_owned(), "R0".to_owned()));
    // A short life has a short margin, or every call would renew.
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(access(&source).await.expect("valid"), "A1");
    assert_eq!(world.service.count(), 1);
}

#[tokio::test]
async fn a_cancelled_request_does_not_lose_the_new_token() {
    let world = World::new(&[]).await;
    let source = world.renewer();
    world.clock.advance(Duration::from_secs(3601));
    {
        let mut call = Box::pin(access(&source));
        // One poll starts the refresh; then the caller goes away.
        futures_util::future::poll_immediate(&mut call).await;
    }
    source.settled().await;
    assert_eq!(world.stored().1, "R1");
    assert_eq!(access(&source).await.expect("renewed"), "A1");
    assert_eq!(world.service.count(), 1);
}

#[tokio::test]
async fn an_unwritable_file_stops_the_next_refresh_not_this_one() {
    let world = World::new(&[]).await;
    let source = world.renewer();
    assert_eq!(access(&source).await.expect("valid"), "A0");
    world.clock.advance(Duration::from_secs(3601));
    // A folder in the place of the file cannot be replaced by a file, not even by root.
    let path = world.vault.path().expect("a file").to_owned();
    *world.service.meanwhile.lock().expect("whole") = Some(Box::new(move || {
        std::fs::remove_file(&path).and_then(|()| std::fs::create_dir(&path)).expect("replaced");
    }));
    assert_eq!(access(&source).await.expect("renewed"), "A1");
    world.clock.advance(Duration::from_secs(3601));
    assert!(matches!(access(&source).await, Err(AuthError::Vault(_))));
    assert_eq!(world.service.count(), 1, "R1 is not spent before it is stored");
    std::fs::remove_dir(world.vault.path().expect("a file")).expect("removed");
    assert_eq!(access(&source).await.expect("stored, then renewed"), "A2");
    assert_eq!(world.service.seen()[1].1["refresh_token"], "R1");
    assert_eq!(world.stored().1, "R2");
}

#[tokio::test]
async fn a_sign_in_that_was_made_meanwhile_is_not_replaced_by_tokens_that_could_not_be_stored() {
    for asked_to_read in [false, true] {
        let world = World::new(&[]).await;
        let source = world.renewer();
        world.clock.advance(Duration::from_secs(3601));
        let path = world.vault.path().expect("a file").to_owned();
        *world.service.meanwhile.lock().expect("whole") = Some(Box::new(move || {
            std::fs::remove_file(&path).and_then(|()| std::fs::create_dir(&path)).expect("replaced");
        }));
        assert_eq!(access(&source).await.expect("renewed"), "A1");
        source.read_again();
        assert_eq!(access(&source).await.expect("what is nowhere else stays"), "A1");
        std::fs::remove_dir(world.vault.path().expect("a file")).expect("removed");
        world.put("B0", "S0").await;
        if asked_to_read {
            source.read_again();
            assert_eq!(access(&source).await.expect("the new sign-in"), "B0");
        }
        world.clock.advance(Duration::from_secs(3601));
        assert_eq!(access(&source).await.expect("renewed"), "A2");
        assert_eq!(world.service.seen()[1].1["refresh_token"], "S0", "the account that signed in last");
        assert_eq!(world.stored().1, "R2");
    }
}

#[tokio::test]
async fn tokens_of_another_application_are_not_used() {
    let world = World::new(&[]).await;
    let other = world.service.authority("other-app");
    let source = Renewer::new(other, world.vault.clone(), Arc::new(world.clock.clone()));
    let error = access(&source).await.expect_err("not ours");
    assert!(matches!(error, AuthError::OtherApplication { .. }), "{error}");
    std::fs::remove_file(world.vault.path().expect("a file")).expect("removed");
    assert!(matches!(access(&source).await, Err(AuthError::NotSignedIn)));
}

#[tokio::test]
async fn a_dead_network_is_unreachable() {
    let world = World::new(&[]).await;
    let layers = Layers::built_in()
        // Port 1 of loopback: nobody listens there.
        .text("client.id: app\nendpoints.login: http://127.0.0.1:1\n", Path::new("test"))
        .expect("valid");
    let authority = Authority::from_config(&layers.finish().expect("valid")).expect("complete");
    let error = authority.refresh(&Secret::new("R0".to_owned())).await.expect_err("refused");
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().to_lowercase().contains("refused"), "the cause is told: {error}");
    drop(world);
}

/// A person who behaves as the test says.
pub(super) struct Person {
    pub(super) said: String,
    types: VecDeque<String>,
    pub(super) browser: Option<Box<dyn Fn(Url) + Send>>,
}

impl Person {
    pub(super) fn typing(lines: &[&str]) -> Self {
        Self { said: String::new(), types: lines.iter().map(|line| (*line).to_owned()).collect(), browser: None }
    }
}

#[async_trait]
impl Dialogue for Person {
    fn say(&mut self, text: &str) {
        self.said.push_str(text);
    }

    async fn ask(&mut self) -> io::Result<Option<String>> {
        let state = state_of(&self.said);
        Ok(self.types.pop_front().map(|line| line.replace("STATE", &state)))
    }

    fn open_browser(&mut self, url: &Url) -> Result<(), String> {
        self.browser.as_ref().map(|browser| browser(url.clone())).ok_or_else(|| "no display".to_owned())
    }
}

fn state_of(text: &str) -> String {
    let state = text.split("&state=").nth(1).unwrap_or_default();
    state.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect()
}

pub(super) async fn visit(redirect: &Url, target: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", redirect.port().expect("a port"))).await.expect("listening");
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    answer
}

#[tokio::test]
async fn the_browser_comes_back_with_a_code() {
    let world = World::new(&[]).await;
    let mut person = Person::typing(&[]);
    person.browser = Some(Box::new(|url: Url| {
        let query: Form = url.query_pairs().into_owned().collect();
        assert_eq!(query["response_type"], "code");
        assert_eq!(query["code_challenge_method"], "S256");
        let redirect = Url::parse(&query["redirect_uri"]).expect("a URL");
        let state = query["state"].clone();
        tokio::spawn(async move {
            // A connection that is opened ahead and never used.
            let _idle = TcpStream::connect(("127.0.0.1", redirect.port().expect("a port"))).await;
            assert!(visit(&redirect, "/favicon.ico").await.starts_with("HTTP/1.1 404"));
            assert!(visit(&redirect, "/?code=EVIL&state=guess").await.starts_with("HTTP/1.1 400"));
            assert!(visit(&redirect, &format!("/?code=C0DE&state={state}")).await.starts_with("HTTP/1.1 200"));
        });
    }));
    let (authority, clock) = (world.service.authority("app"), SystemClock::new());
    let tokens = world.sign_in(&authority, &clock).run(Method::Browser, &mut person).await.expect("signed in");
    assert_eq!(tokens.access.expose(), "A1");
    assert_eq!(world.stored(), ("A1".to_owned(), "R1".to_owned()));
    let form = world.service.seen()[0].1.clone();
    assert_eq!(form["grant_type"], "authorization_code");
    assert_eq!(form["code"], "C0DE");
    assert_eq!(form["code_verifier"].len(), 64);
    assert!(form["redirect_uri"].starts_with("http://localhost:"));
}

#[tokio::test]
async fn a_browser_that_never_comes_back_ends_the_wait() {
    let world = World::new(&[]).await;
    let authority = world.service.authority("app");
    let clock = world.clock.clone();
    let (sign_in, mut person) = (world.sign_in(&authority, &clock), Person::typing(&[]));
    let mut running = Box::pin(sign_in.run(Method::Browser, &mut person));
    let error = loop {
        if let Some(result) = futures_util::future::poll_immediate(&mut running).await {
            break result.expect_err("nobody came");
        }
        world.clock.advance(Duration::from_secs(60));
        tokio::task::yield_now().await;
    };
    assert!(matches!(error, SignInError::TimedOut(_)), "{error}");
    drop(running);
    assert!(person.said.contains("/common/oauth2/v2.0/authorize?client_id=app"), "{}", person.said);
}

#[tokio::test]
async fn a_pasted_address_signs_in_and_a_slip_is_forgiven() {
    let world = World::new(&[]).await;
    let authority = world.service.authority("app");
    let mut person = Person::typing(&["", "what?", "http://localhost:27419/?code=C&state=STATE"]);
    let sign_in = world.sign_in(&authority, &world.clock);
    sign_in.run(Method::Paste, &mut person).await.expect("signed in");
    assert_eq!(world.stored().0, "A1");
    assert!(!sign_in.pending.exists());
}

#[tokio::test]
async fn the_address_may_come_in_a_later_run_within_the_hour() {
    let world = World::new(&[]).await;
    let authority = world.service.authority("app");
    let sign_in = world.sign_in(&authority, &world.clock);
    assert!(matches!(sign_in.finish("?code=C&state=S").await, Err(SignInError::NoneUnderWay)));
    let mut person = Person::typing(&[]);
    assert!(matches!(sign_in.run(Method::Paste, &mut person).await, Err(SignInError::AwaitingPaste)));
    let address = format!("http://localhost:27419/?code=C&state={}", state_of(&person.said));
    world.clock.advance(Duration::from_secs(3599));
    world.sign_in(&authority, &world.clock).finish(&address).await.expect("signed in");
    assert_eq!(world.stored().0, "A1");
    assert!(matches!(sign_in.run(Method::Paste, &mut person).await, Err(SignInError::AwaitingPaste)));
    world.clock.advance(Duration::from_secs(3601));
    assert!(matches!(sign_in.finish(&address).await, Err(SignInError::NoneUnderWay)));
}

#[tokio::test]
async fn a_device_code_is_polled_until_somebody_typed_it() {
    let pending = (400, r#"{"error":"authorization_pending"}"#);
    let world = World::new(&[
        (
            200,
            r#"{"device_code":"D","user_code":"ABC-DEF","verification_uri":"https://example.org/link","expires_in":900,"interval":5}"#,
        ),
        pending,
        (503, ""),
        (400, r#"{"error":"slow_down"}"#),
        pending,
    ])
    .await;
    let authority = world.service.authority("app");
    let (sign_in, mut person) = (world.sign_in(&authority, &world.clock), Person::typing(&[]));
    let mut running = Box::pin(sign_in.run(Method::DeviceCode, &mut person));
    loop {
        if let Some(result) = futures_util::future::poll_immediate(&mut running).await {
            result.expect("signed in");
            break;
        }
        world.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    drop(running);
    assert!(person.said.contains("https://example.org/link") && person.said.contains("ABC-DEF"), "{}", person.said);
    assert_eq!(world.service.seen()[1].1["device_code"], "D");
    assert_eq!(world.stored().0, "A6");
}

#[tokio::test]
async fn a_device_code_that_was_declined_or_is_old_ends_the_sign_in() {
    let code =
        r#"{"device_code":"D","user_code":"A","verification_uri":"https://example.org","expires_in":900,"interval":0}"#;
    for (answer, expected) in [
        (r#"{"error":"authorization_declined"}"#, "the sign-in was refused"),
        (r#"{"error":"expired_token"}"#, "nobody signed in within 15 minutes"),
    ] {
        let world = World::new(&[(200, code), (400, answer)]).await;
        let authority = world.service.authority("app");
        let sign_in = world.sign_in(&authority, &world.clock);
        let error = sign_in.run(Method::DeviceCode, &mut Person::typing(&[])).await.expect_err("over");
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(world.stored().0, "A0", "the old sign-in stands");
    }
}
