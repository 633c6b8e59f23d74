//! Others on the machine: users who want to bring the answer of a sign-in, and processes that store one.

use std::io;
use std::time::Duration;

use tokio::net::TcpListener;
use url::Url;

use super::flow::Method;
use super::loopback::Loopback;
use super::tests::{Form, Person, World, visit};
use super::*;
use crate::base::clock::SystemClock;

/// Another user of the machine has read in `/proc` what the browser was started with, and is faster.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_user_is_not_taken() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::getuid().is_root() {
        println!("only root can be two users");
        return;
    }
    let world = World::new(&[]).await;
    let mut person = Person::typing(&[]);
    person.browser = Some(Box::new(|url: Url| {
        let query: Form = url.query_pairs().into_owned().collect();
        let redirect = Url::parse(&query["redirect_uri"]).expect("a URL");
        let state = query["state"].clone();
        tokio::spawn(async move {
            let port = redirect.port().expect("a port");
            for (answer, stays) in [("code=EVIL", true), ("error=access_denied", true), ("code=EVIL", false)] {
                let end = if stays { "cat <&3" } else { ":" };
                let script = format!(
                    "exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'GET /?{answer}&state={state} HTTP/1.1\\r\\n\\r\\n' >&3; {end}"
                );
                let mut other = std::process::Command::new("bash");
                std::os::unix::process::CommandExt::uid(&mut other, NOBODY);
                let said = tokio::task::spawn_blocking(move || other.args(["-c", &script]).output().expect("bash"));
                let said = said.await.expect("it ends");
                let text = String::from_utf8_lossy(&said.stdout).into_owned();
                assert!(said.status.success() && (!stays || text.starts_with("HTTP/1.1 403")), "{answer}: {said:?}");
            }
            assert!(visit(&redirect, &format!("/?code=C0DE&state={state}")).await.starts_with("HTTP/1.1 200"));
        });
    }));
    let (authority, clock) = (world.service.authority("app"), SystemClock::new());
    world.sign_in(&authority, &clock).run(Method::Browser, &mut person).await.expect("signed in");
    assert_eq!(world.service.seen()[0].1["code"], "C0DE");
}

/// To a browser `localhost` may be an address on which somebody else listens.
#[tokio::test]
async fn a_port_that_another_program_has_half_of_is_not_used() {
    let Ok(squatter) = TcpListener::bind("[::1]:0").await else {
        println!("this machine has no second loopback address");
        return;
    };
    let port = squatter.local_addr().expect("bound").port();
    // Unless it is taken by somebody else at this moment.
    let Ok(half) = TcpListener::bind(("127.0.0.1", port)).await else { return };
    assert!(Loopback::beside(half).await.expect("asked").is_none(), "the answer would go to the other");
    let ours = Loopback::bind().await.expect("another port");
    let port = Url::parse(&ours.redirect_uri()).expect("a URL").port().expect("a port");
    let refused = TcpListener::bind(("::1", port)).await.expect_err("it is ours");
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
}

/// What a sign-in is worth is known by where it came from.
#[tokio::test]
async fn tokens_that_somebody_else_stored_begin_a_new_line() {
    let world = World::new(&[]).await;
    let source = world.renewer();
    let hour = Duration::from_secs(3601);
    let next = async || {
        let token = source.token().await.expect("a token");
        (token.expose().clone(), source.line())
    };
    assert_eq!(next().await, ("A0".to_owned(), 1));
    world.clock.advance(hour);
    assert_eq!(next().await, ("A1".to_owned(), 1), "renewed here");
    source.read_again();
    assert_eq!(next().await, ("A1".to_owned(), 1), "the same lies in the file");
    world.put("B0", "S0").await;
    assert_eq!(next().await, ("A1".to_owned(), 1), "not looked at yet");
    source.read_again();
    assert_eq!(next().await, ("B0".to_owned(), 2));
    // Renewed by another process, and taken because ours is over.
    world.clock.advance(hour);
    world.put("C0", "T0").await;
    assert_eq!(next().await, ("C0".to_owned(), 3));
    // What is made of somebody else's is somebody else's.
    world.put("D0", "U0").await;
    world.clock.advance(hour);
    let (token, line) = next().await;
    assert!(token.starts_with('A') && line == 4, "{token} {line}");
    let rejected = Secret::new(token);
    source.renew(&rejected).await.expect("renewed");
    assert_eq!(source.line(), 4);
}
