//! What happens to a remote when things go wrong: before the service acted, half-way, and after.
//!
//! The question is always the same two: is the client's belief true afterwards, and did it do something
//! twice that must happen once.

use std::time::Duration;

use bytes::Bytes;
use onedrive_mount::emulator::{
    DeleteMatch, DeltaBehaviour, Fault, FaultBody, Flavour, Host, PatchAnswer, ReadLag, Rule, When,
};
use onedrive_mount::remote::{
    Advice, At, Item, Offset, Patch, Precondition, RemoteErrorKind, RemoteResult, Start, URGENCY, Urgency, list_all,
};

use crate::remote_suite::bench::{Bench, UNIT, WHEN, chain, kind, pattern, read, replace, send_from, stale, unchanged};

async fn personal() -> Bench {
    Bench::start(Flavour::PersonalNew).await
}

async fn business() -> Bench {
    Bench::start(Flavour::Business).await
}

/// How many requests of this method reached the service.
fn count(bench: &Bench, method: &str, part: &str) -> usize {
    bench.emulator.requests().iter().filter(|seen| seen.method == method && seen.path.contains(part)).count()
}

fn advice<T>(result: RemoteResult<T>) -> Option<(RemoteErrorKind, Advice)> {
    result.err().map(|error| (error.kind, error.advice))
}

#[tokio::test]
async fn everybody_waits_when_one_is_told_to() {
    let bench = business().await;
    bench.drive.create_file("/f", "x");
    bench.emulator.faults().add(Rule::once("GET", "*", Fault::throttled(7)));
    let before = bench.clock_seconds();
    let calls = (0..10).map(|_| bench.remote.stat(At::Child(&bench.root, "f")));
    for result in futures_util::future::join_all(calls).await {
        result.expect("patience pays");
    }
    assert!(bench.clock_seconds() >= before + 7);
    bench.check();
}

#[tokio::test]
async fn nobody_in_front_of_a_screen_waits_for_minutes() {
    let bench = business().await;
    bench.emulator.faults().add(Rule::once("GET", "*", Fault::throttled(120)));
    let call = async || URGENCY.scope(Urgency::Interactive, bench.remote.stat(At::Id(&bench.root))).await;
    assert_eq!(kind(call().await), Some(RemoteErrorKind::Throttled));
    let requests = bench.emulator.requests().len();
    assert_eq!(kind(call().await), Some(RemoteErrorKind::Throttled));
    assert_eq!(bench.emulator.requests().len(), requests, "the second one did not even ask");
    bench.clock.advance(Duration::from_secs(120));
    call().await.expect("the pause is over");
    bench.check();
}

#[tokio::test]
async fn a_service_that_names_no_time_is_asked_less_and_less() {
    let bench = business().await;
    let silent =
        Fault::Answer { when: When::Before, status: 429, body: FaultBody::Empty, retry_after: None, location: None };
    bench.emulator.faults().add(Rule::once("GET", "*", silent).times(3));
    let before = bench.clock_seconds();
    bench.remote.stat(At::Id(&bench.root)).await.expect("in the end");
    assert!(bench.clock_seconds() >= before + 1 + 2 + 4);
}

#[tokio::test]
async fn a_lost_answer_to_a_write_is_reported_and_nothing_is_written_twice() {
    for fault in [
        Fault::Reset { when: When::After },
        Fault::status(When::After, 502, "UnknownError"),
        Fault::status(When::After, 500, "generalException"),
        Fault::Answer { when: When::After, status: 504, body: FaultBody::Html, retry_after: None, location: None },
        Fault::CutDownload { after: 10, reset: true },
        Fault::CutDownload { after: 10, reset: false },
    ] {
        let bench = business().await;
        let lost = |method| bench.emulator.faults().add(Rule::once(method, "*", fault.clone()));
        lost("PUT");
        let to = bench.new_file("f");
        let made = bench.remote.put_small(&to, Bytes::from_static(b"x"), &Precondition::MustNotExist).await;
        assert_eq!(advice(made).map(|(_, advice)| advice), Some(Advice::VerifyThenRetry), "{fault:?}");
        assert_eq!(count(&bench, "PUT", "/content"), 1);
        assert_eq!(bench.drive.read_file("/f"), Some(b"x".to_vec()));
        lost("POST");
        let folder = bench.remote.make_folder(&bench.root, "d").await;
        assert_eq!(advice(folder).map(|(_, advice)| advice), Some(Advice::VerifyThenRetry), "{fault:?}");
        assert_eq!(count(&bench, "POST", "/children"), 1);
        lost("PATCH");
        let file = bench.at("/f").await;
        let rename = Patch { name: Some("g".into()), ..Patch::default() };
        let renamed = bench.remote.change(&file.id, &rename, &unchanged(&file)).await;
        assert_eq!(advice(renamed).map(|(_, advice)| advice), Some(Advice::VerifyThenRetry), "{fault:?}");
        assert_eq!(count(&bench, "PATCH", ""), 1);
        assert_eq!(bench.at("/g").await.id, file.id, "looking tells");
        bench.check();
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_delete_is_cured() {
    let bench = business().await;
    let file = bench.put("f", b"x").await;
    bench.emulator.faults().add(Rule::once("DELETE", "*", Fault::Reset { when: When::After }));
    bench.remote.delete(&file.id, &unchanged(&file)).await.expect("deleted");
    assert_eq!(bench.drive.stat("/f"), None);
}

#[tokio::test]
async fn looking_is_repeated_through_illness() {
    for fault in [
        Fault::status(When::Before, 503, "serviceNotAvailable"),
        Fault::status(When::Before, 500, "generalException"),
        Fault::Answer { when: When::Before, status: 502, body: FaultBody::Html, retry_after: None, location: None },
        Fault::Answer { when: When::Before, status: 200, body: FaultBody::Html, retry_after: None, location: None },
        Fault::Answer { when: When::Before, status: 404, body: FaultBody::Empty, retry_after: None, location: None },
        Fault::Reset { when: When::Before },
        Fault::CutDownload { after: 20, reset: false },
        Fault::EmptyBody,
    ] {
        let bench = business().await;
        bench.drive.create_file("/f", "hello world\n");
        bench.emulator.faults().add(Rule::once("GET", "/v1.0/*", fault.clone()).times(2));
        bench.remote.stat(At::Id(&bench.root)).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        bench.emulator.faults().add(Rule::once("GET", "*children*", fault.clone()));
        assert_eq!(list_all(&*bench.remote, &bench.root).await.expect("listed").len(), 1, "{fault:?}");
        bench.check();
    }
}

#[tokio::test]
async fn an_expired_token_is_renewed_unseen() {
    let bench = business().await;
    bench.emulator.oauth().expire_access_tokens();
    let file = bench.put("f", b"x").await;
    assert_eq!(bench.renewals(), 1);
    assert_eq!(read(&*bench.remote, &file, 0..1).await.expect("bytes"), b"x");
    assert_eq!(bench.renewals(), 1);
    bench.check();
}

#[tokio::test]
async fn without_a_network_it_says_so_and_with_it_goes_on() {
    let bench = business().await;
    bench.emulator.set_online(false);
    let failure = bench.remote.stat(At::Id(&bench.root)).await.expect_err("offline");
    assert_eq!((failure.kind, failure.is_transient()), (RemoteErrorKind::Offline, true));
    let to = bench.new_file("f");
    assert_eq!(
        kind(bench.remote.put_small(&to, Bytes::from_static(b"x"), &Precondition::MustNotExist).await),
        Some(RemoteErrorKind::Offline)
    );
    bench.emulator.set_online(true);
    bench.put("f", b"x").await;
}

#[tokio::test]
async fn a_broken_fragment_counts_as_not_sent() {
    for fault in [
        Fault::ResetUpload { after: 1000 },
        Fault::Reset { when: When::Halfway },
        Fault::Reset { when: When::After },
        Fault::status(When::Before, 503, "serviceNotAvailable"),
        Fault::status(When::After, 500, "generalException"),
        Fault::Twice,
    ] {
        let bench = business().await;
        let bytes = pattern(3 * UNIT + 5);
        let to = bench.new_file("f");
        let ticket =
            bench.remote.begin_upload(&to, bytes.len() as u64, &Precondition::MustNotExist).await.expect("a session");
        let rule = Rule::once("PUT", "*", fault.clone()).on(Host::Storage).skip(1);
        bench.emulator.faults().add(rule);
        let failure = send_from(&*bench.remote, &ticket, &bytes, 0).await.expect_err("broken");
        assert_eq!(failure.advice, Advice::VerifyThenRetry, "{fault:?}");
        let Offset::At(at) = bench.remote.upload_offset(&ticket).await.expect("an offset") else {
            panic!("{fault:?}: the session is still open");
        };
        let item = send_from(&*bench.remote, &ticket, &bytes, at).await.expect("done");
        assert_eq!(bench.drive.read_file("/f").expect("there"), bytes, "{fault:?}");
        assert_eq!(item.size, bytes.len() as u64);
        bench.check();
    }
}

#[tokio::test]
async fn a_lost_last_answer_is_found_out() {
    for fault in [Fault::Reset { when: When::After }, Fault::status(When::After, 504, "GatewayTimeout")] {
        let bench = business().await;
        let first = bench.put("f", b"old").await;
        let bytes = pattern(UNIT + 5);
        let (to, pre) = (replace(&first.id), unchanged(&first));
        let ticket = bench.remote.begin_upload(&to, bytes.len() as u64, &pre).await.expect("a session");
        bench.emulator.faults().add(Rule::once("PUT", "*", fault.clone()).on(Host::Storage).skip(1));
        send_from(&*bench.remote, &ticket, &bytes, 0).await.expect_err("the answer is lost");
        let offset = bench.remote.upload_offset(&ticket).await.expect("an answer");
        assert!(matches!(offset, Offset::Done(ref item) if item.id == first.id), "{fault:?}: {offset:?}");
        assert_eq!(bench.drive.read_file("/f").expect("there"), bytes);
        assert_eq!(bench.drive.versions("/f").len(), 1);
        bench.check();
    }
}

#[tokio::test]
async fn a_session_the_service_has_forgotten_is_gone() {
    let bench = personal().await;
    let bytes = pattern(2 * UNIT);
    let to = bench.new_file("f");
    let ticket =
        bench.remote.begin_upload(&to, bytes.len() as u64, &Precondition::MustNotExist).await.expect("a session");
    bench.drive.lose_sessions();
    let failure = bench.remote.put_fragment(&ticket, 0, bytes.slice(..UNIT)).await;
    assert_eq!(advice(failure), Some((RemoteErrorKind::UploadGone, Advice::VerifyThenRetry)));
    assert_eq!(bench.remote.upload_offset(&ticket).await.expect("an answer"), Offset::Gone);
    let ticket =
        bench.remote.begin_upload(&to, bytes.len() as u64, &Precondition::MustNotExist).await.expect("a session");
    bench.clock.advance(Duration::from_secs(30 * 24 * 3600));
    assert_eq!(bench.remote.upload_offset(&ticket).await.expect("an answer"), Offset::Gone);
}

#[tokio::test]
async fn somebody_elses_change_during_an_upload_is_noticed() {
    let bench = business().await;
    let bytes = pattern(2 * UNIT);
    let to = bench.new_file("f");
    let ticket =
        bench.remote.begin_upload(&to, bytes.len() as u64, &Precondition::MustNotExist).await.expect("a session");
    bench.remote.put_fragment(&ticket, 0, bytes.slice(..UNIT)).await.expect("taken");
    bench.drive.create_file("/f", "theirs");
    let failure = send_from(&*bench.remote, &ticket, &bytes, UNIT as u64).await.expect_err("the name is taken");
    assert_eq!(failure.kind, RemoteErrorKind::Exists);
    assert_eq!(bench.drive.read_file("/f"), Some(b"theirs".to_vec()));
    bench.remote.abandon_upload(&ticket).await.expect("abandoned");
    assert_eq!(bench.drive.open_sessions(), 0);
}

#[tokio::test]
async fn a_full_drive_is_full_and_nothing_is_repeated() {
    for bench in [personal().await, business().await] {
        bench.drive.set_quota(100);
        let to = bench.new_file("f");
        let whole = bench.remote.put_small(&to, pattern(200), &Precondition::MustNotExist).await;
        assert_eq!(advice(whole), Some((RemoteErrorKind::QuotaFull, Advice::GiveUp)));
        let bytes = pattern(2 * UNIT);
        let result: RemoteResult<Item> =
            match bench.remote.begin_upload(&to, bytes.len() as u64, &Precondition::MustNotExist).await {
                Err(failure) => Err(failure),
                Ok(ticket) => {
                    let result = send_from(&*bench.remote, &ticket, &bytes, 0).await;
                    bench.remote.abandon_upload(&ticket).await.expect("abandoned");
                    result
                }
            };
        assert_eq!(advice(result), Some((RemoteErrorKind::QuotaFull, Advice::GiveUp)));
        assert_eq!((bench.drive.open_sessions(), bench.drive.list("/").len()), (0, 0));
    }
}

#[tokio::test]
async fn a_body_cut_short_is_never_an_end() {
    for reset in [true, false] {
        let bench = business().await;
        bench.drive.create_generated("/f", 3, 4 << 20);
        let (item, whole) = (bench.at("/f").await, bench.drive.read_file("/f").expect("there"));
        let cut = Rule::once("GET", "*", Fault::CutDownload { after: 100_000, reset }).on(Host::Storage);
        bench.emulator.faults().add(cut);
        let failure = read(&*bench.remote, &item, 0..4 << 20).await.expect_err("cut");
        assert_eq!((failure.kind, failure.advice), (RemoteErrorKind::Offline, Advice::Retry));
        assert!(read(&*bench.remote, &item, 0..4 << 20).await.expect("bytes") == whole);
        bench.check();
    }
}

#[tokio::test]
async fn a_small_file_is_fetched_again_when_it_is_cut_or_damaged() {
    for fault in [Fault::CutDownload { after: 5, reset: false }, Fault::Corrupt { at: 3 }] {
        let bench = business().await;
        bench.drive.create_file("/f", "hello world\n");
        let item = bench.at("/f").await;
        bench.emulator.faults().add(Rule::once("GET", "*", fault).on(Host::Storage));
        assert_eq!(read(&*bench.remote, &item, 0..12).await.expect("bytes"), b"hello world\n");
        bench.check();
    }
}

#[tokio::test]
async fn a_host_that_ignores_ranges_is_read_all_the_same() {
    let bench = business().await;
    bench.emulator.set_strict(|strict| strict.ignore_range = true);
    bench.drive.create_generated("/f", 3, 1 << 20);
    let (item, whole) = (bench.at("/f").await, bench.drive.read_file("/f").expect("there"));
    assert!(read(&*bench.remote, &item, 500_000..600_000).await.expect("bytes") == whole[500_000..600_000]);
}

#[tokio::test]
async fn a_download_url_that_has_ended_is_fetched_anew() {
    let bench = business().await;
    bench.emulator.set_strict(|strict| strict.download_url_life = Duration::from_secs(60));
    bench.drive.create_file("/f", "hello world\n");
    let item = bench.at("/f").await;
    for _ in 0..3 {
        assert_eq!(read(&*bench.remote, &item, 0..12).await.expect("bytes"), b"hello world\n");
        bench.clock.advance(Duration::from_secs(61));
    }
    bench.check();
}

#[tokio::test]
async fn an_error_page_is_never_content() {
    for (status, body) in [(200, FaultBody::Html), (200, FaultBody::code("generalException")), (403, FaultBody::Html)] {
        let bench = business().await;
        bench.drive.create_file("/f", "hello world\n");
        let item = bench.at("/f").await;
        let fault = Fault::Answer { when: When::Before, status, body, retry_after: None, location: None };
        bench.emulator.faults().add(Rule::once("GET", "*", fault).on(Host::Storage));
        assert_eq!(read(&*bench.remote, &item, 0..12).await.expect("bytes"), b"hello world\n");
    }
}

#[tokio::test]
async fn what_metadata_claims_is_corrected_by_the_bytes() {
    let bench = business().await;
    bench.drive.create_generated("/photo.heic", 3, 3_000_000);
    bench.drive.claim_size("/photo.heic", 5_000_000);
    let (item, whole) = (bench.at("/photo.heic").await, bench.drive.read_file("/photo.heic").expect("there"));
    let tag = item.content_tag.clone().expect("a tag");
    let body = bench.remote.read(&item.id, &tag, 2_900_000..3_100_000).await.expect("a body");
    assert_eq!((body.range, body.total), (2_900_000..3_000_000, Some(3_000_000)));
    assert!(read(&*bench.remote, &item, 0..5_000_000).await.expect("bytes") == whole);
    assert!(read(&*bench.remote, &item, 4_000_000..4_100_000).await.expect("nothing there").is_empty());
}

#[tokio::test]
async fn infected_and_locked_files_say_so() {
    let bench = business().await;
    let file = bench.put("f", b"x").await;
    bench.drive.lock("/f");
    let locked = Some(RemoteErrorKind::Locked);
    let bytes = Bytes::from_static(b"y");
    assert_eq!(kind(bench.remote.put_small(&replace(&file.id), bytes, &Precondition::None).await), locked);
    let rename = Patch { name: Some("g".into()), ..Patch::default() };
    assert_eq!(kind(bench.remote.change(&file.id, &rename, &Precondition::None).await), locked);
    assert_eq!(kind(bench.remote.delete(&file.id, &Precondition::None).await), locked);
    bench.drive.unlock("/f");
    bench.drive.infect("/f");
    assert_eq!(kind(read(&*bench.remote, &bench.at("/f").await, 0..1).await), Some(RemoteErrorKind::Malware));
}

#[tokio::test]
async fn changes_that_answer_nothing_and_do_nothing_are_made_to_work() {
    for answer in [PatchAnswer::EmptyApplied, PatchAnswer::EmptyIgnored] {
        let bench = personal().await;
        bench.emulator.set_strict(|strict| strict.patch_answer = answer);
        bench.drive.create_file("/100% of #1/f+%41", "x");
        bench.drive.create_folder("/to");
        let (file, to) = (bench.at("/100% of #1/f+%41").await, bench.at("/to").await);
        let patch = Patch { name: Some("g%20".into()), parent: Some(to.id.clone()), modified: Some(WHEN) };
        let item = bench.remote.change(&file.id, &patch, &unchanged(&file)).await.expect("changed");
        assert_eq!((item.name.as_str(), item.parent, item.modified.seconds()), ("g%20", Some(to.id), WHEN.seconds()));
        assert!(bench.drive.stat("/to/g%20").is_some(), "{answer:?}");
        let back = Patch { name: Some("f".into()), ..Patch::default() };
        assert_eq!(kind(bench.remote.change(&file.id, &back, &stale()).await), Some(RemoteErrorKind::Changed));
        bench.check();
    }
}

#[tokio::test]
async fn deletes_work_where_the_service_cannot_compare() {
    let bench = business().await;
    bench.emulator.set_strict(|strict| strict.delete_if_match = DeleteMatch::AlwaysFails);
    for name in ["f", "g"] {
        let file = bench.put(name, b"x").await;
        assert_eq!(kind(bench.remote.delete(&file.id, &stale()).await), Some(RemoteErrorKind::Changed));
        if name == "f" {
            // It might be a replica that is behind: for a minute nothing is concluded.
            let refused = bench.remote.delete(&file.id, &unchanged(&file)).await;
            assert_eq!(kind(refused), Some(RemoteErrorKind::Unavailable));
            assert!(bench.drive.stat("/f").is_some());
            bench.clock.advance(Duration::from_secs(60));
        }
        bench.remote.delete(&file.id, &unchanged(&file)).await.expect("deleted");
    }
    assert!(bench.drive.list("/").is_empty());
    let before_the_minute = count(&bench, "DELETE", "") - 3;
    assert!((1..10).contains(&before_the_minute), "the header is tried no more once it is known to be of no use");
}

#[tokio::test]
async fn a_replica_that_is_behind_does_not_get_somebody_elses_version_deleted() {
    let bench = business().await;
    let file = bench.put("f", b"old").await;
    let lag = Duration::from_secs(3600);
    bench.drive.set_read_lag(ReadLag { states: lag, ..ReadLag::default() });
    bench.drive.write_file("/f", "somebody else's");
    assert_eq!(kind(bench.remote.delete(&file.id, &unchanged(&file)).await), Some(RemoteErrorKind::Unavailable));
    bench.drive.set_read_lag(ReadLag::default());
    assert_eq!(kind(bench.remote.delete(&file.id, &unchanged(&file)).await), Some(RemoteErrorKind::Changed));
    assert_eq!(bench.drive.read_file("/f").as_deref(), Some(b"somebody else's".as_slice()));
}

#[tokio::test]
async fn sessions_work_where_a_precondition_would_break_them() {
    let bench = business().await;
    bench.emulator.set_strict(|strict| strict.session_if_match_fails_late = true);
    let first = bench.put("f", b"old").await;
    let bytes = pattern(UNIT + 5);
    let (to, pre) = (replace(&first.id), unchanged(&first));
    let ticket = bench.remote.begin_upload(&to, bytes.len() as u64, &pre).await.expect("a session");
    send_from(&*bench.remote, &ticket, &bytes, 0).await.expect("done");
}

#[tokio::test]
async fn successes_without_a_body_are_looked_after() {
    let bench = business().await;
    bench.emulator.set_strict(|strict| strict.empty_success_bodies = true);
    let folder = bench.remote.make_folder(&bench.root, "d").await.expect("made");
    assert_eq!((folder.name.as_str(), count(&bench, "POST", "/children")), ("d", 1));
    let bytes = pattern(UNIT + 5);
    let to = bench.new_file("f");
    let ticket =
        bench.remote.begin_upload(&to, bytes.len() as u64, &Precondition::MustNotExist).await.expect("a session");
    let item = send_from(&*bench.remote, &ticket, &bytes, 0).await.expect("done");
    assert_eq!((item.name.as_str(), item.size), ("f", bytes.len() as u64));
}

#[tokio::test]
async fn what_was_just_made_is_found_though_the_service_is_slow_to_learn_of_it() {
    let bench = business().await;
    let late = Duration::from_secs(3);
    // The root is not new any more.
    bench.clock.advance(Duration::from_secs(60));
    bench.drive.set_read_lag(ReadLag { by_id: late, by_path: late, ..ReadLag::default() });
    let folder = bench.remote.make_folder(&bench.root, "d").await.expect("made");
    bench.remote.stat(At::Id(&folder.id)).await.expect("found");
    let folder = bench.remote.make_folder(&bench.root, "e").await.expect("made");
    let to = onedrive_mount::remote::Target {
        place: onedrive_mount::remote::Place::New { parent: folder.id, name: "f".into() },
        ..bench.new_file("")
    };
    let bytes = Bytes::from_static(b"x");
    bench.remote.put_small(&to, bytes, &Precondition::MustNotExist).await.expect("made");
}

#[tokio::test]
async fn a_feed_that_breaks_in_its_middle_starts_over() {
    let bench = business().await;
    bench.emulator.set_strict(|strict| (strict.page_max, strict.delta_page) = (5, 5));
    for number in 0..20 {
        bench.drive.create_file(&format!("/f{number}"), "x");
    }
    bench.drive.set_delta(DeltaBehaviour { missing_from_page: Some(2), ..DeltaBehaviour::default() });
    let failure = chain(&*bench.remote, Start::Beginning).await.expect_err("a page is missing");
    assert_eq!((failure.kind, failure.advice), (RemoteErrorKind::Expired, Advice::Resync));
    bench.drive.set_delta(DeltaBehaviour::default());
    chain(&*bench.remote, Start::Beginning).await.expect("a chain");
}

#[tokio::test]
async fn a_feed_without_hashes_does_not_make_files_unreadable() {
    let bench = business().await;
    bench.emulator.set_strict(|strict| strict.listings_lack_hashes = true);
    bench.drive.create_file("/f", "hello world\n");
    let listed = list_all(&*bench.remote, &bench.root).await.expect("listed").pop().expect("the file");
    assert_eq!(listed.content_tag.as_ref().and_then(|tag| tag.hash()), None);
    assert_eq!(read(&*bench.remote, &listed, 0..12).await.expect("bytes"), b"hello world\n");
    let (changes, _) = chain(&*bench.remote, Start::Beginning).await.expect("a chain");
    let file = changes.into_iter().find_map(|change| match change {
        onedrive_mount::remote::Change::Is(item) if item.name == "f" => Some(item),
        _ => None,
    });
    let file = file.expect("the file");
    assert_eq!(read(&*bench.remote, &file, 0..12).await.expect("bytes"), b"hello world\n");
    bench.drive.write_file("/f", "HELLO WORLD, LOUDER\n");
    assert_eq!(kind(read(&*bench.remote, &file, 0..12).await), Some(RemoteErrorKind::Changed));
}
