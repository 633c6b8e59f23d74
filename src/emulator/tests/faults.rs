//! Scripted misfortune over HTTP.

use std::time::Duration;

use super::super::{Fault, FaultBody, Flavour, Host, Link, Rule, When};
use super::{send, try_send, world, world_with};

#[tokio::test]
async fn before_halfway_and_after_the_act() {
    let w = world(Flavour::PersonalNew).await;
    let (faults, drive) = (w.emulator.faults(), w.emulator.drive());
    let path = "/me/drive/root:/f:/content";
    for (when, acted) in [(When::Before, false), (When::Halfway, false), (When::After, true)] {
        faults.add(Rule::once("PUT", "*/content", Fault::status(when, 503, "serviceNotAvailable")));
        w.put(path, "x").await.expect(503);
        assert_eq!(drive.stat("/f").is_some(), acted, "{when:?}");
    }
    drive.remove("/f");
    for (when, acted) in [(When::Before, false), (When::Halfway, false), (When::After, true)] {
        faults.add(Rule::once("PUT", "*/content", Fault::Reset { when }));
        assert!(try_send(w.request("PUT", path).body(vec![0u8; 1000])).await.is_err());
        assert_eq!(drive.stat("/f").is_some(), acted, "{when:?}");
    }
    let cut: Vec<_> = w.emulator.requests().into_iter().filter(|request| request.status.is_none()).collect();
    assert_eq!(cut.len(), 3);
}

#[tokio::test]
async fn a_broken_upload_leaves_nothing() {
    let w = world(Flavour::PersonalNew).await;
    w.emulator.faults().add(Rule::once("PUT", "*", Fault::ResetUpload { after: 100_000 }));
    let request = w.request("PUT", "/me/drive/root:/f:/content").body(vec![0u8; 1_000_000]);
    assert!(try_send(request).await.is_err());
    assert!(w.emulator.drive().stat("/f").is_none());
}

#[tokio::test]
async fn broken_downloads() {
    let w = world(Flavour::PersonalNew).await;
    let bytes: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
    w.emulator.drive().create_file("/f", bytes.clone());
    let item = w.get("/me/drive/root:/f").await.expect(200).json();
    let url = item["@microsoft.graph.downloadUrl"].as_str().expect("a download URL");
    let storage = |fault| w.emulator.faults().add(Rule::once("GET", "*", fault).on(Host::Storage));
    for reset in [false, true] {
        storage(Fault::CutDownload { after: 150_000, reset });
        let mut answer = w.bare("GET", url).send().await.expect("headers");
        assert_eq!(answer.content_length(), Some(300_000));
        let mut got = 0;
        let broken = loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => got += chunk.len(),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        assert!(broken && got <= 150_000, "{got} bytes, then an error");
    }
    storage(Fault::Corrupt { at: 200_000 });
    let wrong = send(w.bare("GET", url)).await.expect(200).body;
    let different: Vec<_> = (0..bytes.len()).filter(|&i| wrong[i] != bytes[i]).collect();
    assert_eq!(different, [200_000]);
    storage(Fault::IgnoreRange);
    let whole = send(w.bare("GET", url).header("range", "bytes=0-9")).await.expect(200).body;
    assert_eq!(whole.len(), 300_000);
    storage(Fault::Answer {
        when: When::Before,
        status: 200,
        body: FaultBody::Html,
        retry_after: None,
        location: None,
    });
    assert!(send(w.bare("GET", url)).await.expect(200).body.starts_with(b"<html>"));
    assert_eq!(send(w.bare("GET", url)).await.expect(200).body, bytes);
}

#[tokio::test]
async fn throttling_ends_by_the_clock_and_impatience_is_counted() {
    let w = world(Flavour::PersonalNew).await;
    w.emulator.throttle(Duration::from_secs(10));
    let got = w.get("/me").await.expect(429);
    assert_eq!((got.header("retry-after"), got.inner().as_str()), ("10", "throttledRequest"));
    assert_eq!(w.emulator.faults().early_calls(), 0);
    w.clock.advance(Duration::from_secs(5));
    w.get("/me").await.expect(429);
    assert_eq!(w.emulator.faults().early_calls(), 1);
    w.clock.advance(Duration::from_secs(5));
    w.get("/me").await.expect(200);
    assert_eq!(w.emulator.faults().early_calls(), 1);
}

#[tokio::test]
async fn acting_twice_and_saying_nothing() {
    let w = world(Flavour::PersonalNew).await;
    w.emulator.faults().add(Rule::once("PUT", "*", Fault::Twice));
    w.put("/me/drive/root:/f:/content", "x").await.expect(200);
    assert_eq!(w.emulator.drive().versions("/f").len(), 1);
    w.emulator.faults().add(Rule::once("PUT", "*", Fault::EmptyBody));
    assert!(w.put("/me/drive/root:/f:/content", "y").await.expect(200).body.is_empty());
    assert_eq!(w.emulator.drive().read_file("/f").as_deref(), Some(&b"y"[..]));
}

#[tokio::test]
async fn stalls_and_the_link_go_by_the_clock() {
    let w = world_with(Flavour::PersonalNew, |options| {
        options.link = Some(Link { rtt: Duration::from_millis(50), bytes_per_second: 1000 });
    })
    .await;
    let (request, clock) = (w.request("PUT", "/me/drive/root:/f:/content").body(vec![1u8; 5000]), w.clock.clone());
    let sending = tokio::spawn(async move { send(request).await.status });
    // The body alone takes five seconds of the line; without the clock nothing moves.
    let mut passed = Duration::ZERO;
    while !sending.is_finished() {
        clock.advance(Duration::from_millis(100));
        passed += Duration::from_millis(100);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(passed < Duration::from_secs(3600), "the answer never comes");
    }
    assert_eq!(sending.await.expect("no panic"), 201);
    assert!(passed >= Duration::from_secs(5), "{passed:?}");
}

#[tokio::test]
async fn off_the_network_and_back() {
    let w = world(Flavour::PersonalNew).await;
    w.get("/me").await.expect(200);
    w.emulator.set_online(false);
    assert!(try_send(w.request("GET", "/me")).await.is_err());
    w.emulator.set_online(true);
    w.get("/me").await.expect(200);
}

#[tokio::test]
async fn a_network_can_refuse_and_swallow() {
    use crate::emulator::Network;
    let w = world(Flavour::PersonalNew).await;
    w.get("/me").await.expect(200);
    w.emulator.set_network(Network::Refusing);
    let mut refused = try_send(w.request("GET", "/me")).await.err();
    while !refused.as_ref().is_some_and(reqwest::Error::is_connect) {
        tokio::task::yield_now().await;
        refused = try_send(w.request("GET", "/me")).await.err();
    }
    w.emulator.set_network(Network::Up);
    while try_send(w.request("GET", "/me")).await.is_err() {
        tokio::task::yield_now().await;
    }
    // On an open connection and on a new one: nothing comes back, nothing takes effect.
    w.emulator.set_network(Network::Vanishing);
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    for _ in 0..2 {
        let sending = tokio::spawn(try_send(w.request("PUT", "/me/drive/root:/f:/content").body("x")));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert!(!sending.is_finished());
        sending.abort();
    }
    assert!(w.emulator.drive().stat("/f").is_none());
    w.emulator.set_network(Network::Up);
    while try_send(w.request("GET", "/me")).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(w.emulator.drive().stat("/f").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_swallowed_packets_comes_back_however_many_knock() {
    use std::net::TcpStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::emulator::Network;
    let w = world(Flavour::PersonalNew).await;
    let address = w.emulator.endpoints().graph.replace("http://", "").parse().expect("an address");
    let over = Arc::new(AtomicBool::new(false));
    let crowd: Vec<_> = (0..6)
        .map(|_| {
            let over = over.clone();
            std::thread::spawn(move || {
                let mut held = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    held.extend(TcpStream::connect_timeout(&address, Duration::from_millis(5)).ok());
                    held.drain(..held.len().saturating_sub(20));
                }
            })
        })
        .collect();
    for _ in 0..60 {
        w.emulator.set_network(Network::Vanishing);
        tokio::time::sleep(Duration::from_millis(15)).await;
        w.emulator.set_network(Network::Up);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    over.store(true, Ordering::Relaxed);
    crowd.into_iter().for_each(|thread| thread.join().expect("no panic"));
    let answered = async {
        while try_send(w.request("GET", "/me")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), answered).await.expect("it is back");
}

#[tokio::test]
async fn bodies_are_cut_lengthened_and_damaged_and_pages_disturbed() {
    let w = world(Flavour::PersonalNew).await;
    w.emulator.drive().create_file("/a", "content");
    w.emulator.drive().create_file("/b", "more");
    let listed = |got: super::Got| got.json()["value"].as_array().map_or(0, Vec::len);
    let children = "/me/drive/root/children";
    for (fault, items, link) in [(Fault::EmptyPage, 0, true), (Fault::PageLoop, 2, true), (Fault::Disorder, 4, false)] {
        w.emulator.faults().add(Rule::once("GET", "*children", fault));
        let got = w.get(children).await.expect(200);
        assert_eq!(got.json().get("@odata.nextLink").is_some(), link);
        assert_eq!(listed(got), items);
    }
    let whole = w.get(children).await.expect(200).body.len();
    for (fault, length) in [(Fault::Truncate { to: 10 }, 10), (Fault::Lengthen { by: 5 }, whole + 5)] {
        w.emulator.faults().add(Rule::once("GET", "*children", fault));
        assert_eq!(w.get(children).await.expect(200).body.len(), length);
    }
    w.emulator.faults().add(Rule::once("PUT", "*", Fault::CorruptUpload { at: 0 }));
    w.put("/me/drive/root:/c:/content", "abc").await.expect(201);
    let stored = w.emulator.drive().read_file("/c").expect("stored");
    assert_eq!((stored.len(), &stored[1..]), (3, &b"bc"[..]));
    assert_ne!(stored[0], b'a');
}

#[tokio::test]
async fn a_stall_lasts_until_the_clock_says_so() {
    let w = world(Flavour::PersonalNew).await;
    w.emulator.faults().add(Rule::once(
        "PUT",
        "*",
        Fault::Stall { when: When::After, duration: Duration::from_secs(60) },
    ));
    let sending = tokio::spawn(send(w.request("PUT", "/me/drive/root:/f:/content").body("x")));
    while w.emulator.drive().stat("/f").is_none() {
        tokio::task::yield_now().await;
    }
    assert!(!sending.is_finished(), "the server has acted and says nothing");
    while !sending.is_finished() {
        w.clock.advance(Duration::from_secs(60));
        tokio::task::yield_now().await;
    }
    sending.await.expect("no panic").expect(201);
}
