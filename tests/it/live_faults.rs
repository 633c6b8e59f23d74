//! Live Connect in its moods: lost answers, throttling, uploads that end in doubt, and each way in which reports of the
//! old service disagree. The questions are those of `remote_faults`: is the client's belief true afterwards, and did it do
//! something twice that must happen once.

use std::time::Duration;

use bytes::Bytes;
use onedrive_mount::emulator::{BitsClose, Fault, Gzip, Host, Overlap, Rule, SessionGone, When};
use onedrive_mount::remote::extras::LinkKind;
use onedrive_mount::remote::{
    Ack, Advice, At, Finished, ItemKind, Offset, Patch, Precondition, RemoteErrorKind, RemoteResult, SharedRemote,
    Ticket,
};

use crate::remote_suite::bench::{Bench, kind, pattern, read, replace, send_from, unchanged};
use crate::world::side::Side;

/// The length of the file that goes up by BITS here, and of its fragments.
const SIZE: usize = 3 * crate::remote_suite::bench::UNIT + 77;

async fn bench() -> Bench {
    Bench::start(Side::LIVE).await
}

/// How many requests of this method reached a host.
fn count(bench: &Bench, host: Host, method: &str) -> usize {
    bench.emulator.requests().iter().filter(|seen| seen.host == host && seen.method == method).count()
}

fn advice<T>(result: RemoteResult<T>) -> Option<Advice> {
    result.err().map(|error| error.advice)
}

async fn begin(bench: &Bench, name: &str, bytes: &Bytes) -> RemoteResult<Ticket> {
    bench.remote.begin_upload(&bench.new_file(name), bytes.len() as u64, &Precondition::MustNotExist).await
}

/// As the uploader does it: after anything that leaves a doubt the offset is asked for.
async fn send_stubbornly(
    remote: &SharedRemote,
    ticket: &Ticket,
    bytes: &Bytes,
) -> RemoteResult<onedrive_mount::remote::Item> {
    let mut at = 0;
    for _ in 0..100 {
        let end = bytes.len().min(at as usize + crate::remote_suite::bench::UNIT);
        if at as usize == bytes.len() {
            return remote.finish_upload(ticket).await.map(|finished| finished.item);
        }
        match remote.put_fragment(ticket, at, bytes.slice(at as usize..end)).await {
            Ok(Ack::Next(next)) => at = next,
            Ok(Ack::Done(finished)) => return Ok(finished.item),
            Err(error) if error.advice == Advice::VerifyThenRetry => match remote.upload_offset(ticket).await? {
                Offset::At(next) => at = next,
                Offset::Done(item) => return Ok(*item),
                Offset::Gone => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
    panic!("the upload does not get on");
}

#[tokio::test]
async fn throttling_without_a_time_is_waited_for_by_everybody() {
    let bench = bench().await;
    bench.drive.create_file("/f", "x");
    bench.emulator.faults().add(Rule::once("GET", "*", Fault::throttled_live()).times(3));
    let before = bench.clock_seconds();
    let item = bench.remote.stat(At::Child(&bench.root, "f")).await.expect("in the end");
    assert_eq!(item.size, 1);
    assert!(bench.clock_seconds() >= before + 1 + 2 + 4);
}

#[tokio::test]
async fn a_lost_answer_to_a_write_is_reported_and_nothing_is_written_twice() {
    for fault in [Fault::Reset { when: When::After }, Fault::status(When::After, 500, "server_internal_error")] {
        let bench = bench().await;
        let lost = |method: &str| bench.emulator.faults().add(Rule::once(method, "*", fault.clone()));
        lost("PUT");
        let to = bench.new_file("f");
        let made = bench.remote.put_small(&to, Bytes::from_static(b"x"), &Precondition::MustNotExist).await;
        assert_eq!(advice(made), Some(Advice::VerifyThenRetry), "{fault:?}");
        assert_eq!((count(&bench, Host::Live, "PUT"), bench.drive.read_file("/f")), (1, Some(b"x".to_vec())));
        lost("POST");
        let made = bench.remote.make_folder(&bench.root, "d").await;
        assert_eq!(advice(made), Some(Advice::VerifyThenRetry), "{fault:?}");
        assert_eq!(count(&bench, Host::Live, "POST"), 1);
        let (file, folder) = (bench.at("/f").await, bench.at("/d").await);
        lost("MOVE");
        let patch = Patch { parent: Some(folder.id.clone()), ..Patch::default() };
        let moved = bench.remote.change(&file.id, &patch, &unchanged(&file)).await;
        assert_eq!(advice(moved), Some(Advice::VerifyThenRetry), "{fault:?}");
        let now = bench.at("/d/f").await;
        assert_eq!((now.id.clone(), count(&bench, Host::Live, "MOVE")), (file.id, 1));
        lost("DELETE");
        bench.remote.delete(&now.id, &unchanged(&now)).await.expect("cured by looking");
        assert_eq!(bench.drive.stat("/d/f"), None);
        bench.check();
    }
}

#[tokio::test]
async fn an_expired_token_is_renewed_by_whatever_meets_it() {
    let bench = bench().await;
    let file = bench.put("f", b"hello").await;
    bench.emulator.oauth().expire_access_tokens();
    assert_eq!(read(&*bench.remote, &file, 0..5).await.expect("with a new one"), b"hello");
    let bytes = pattern(SIZE);
    let ticket = begin(&bench, "big", &bytes).await.expect("a session");
    bench.emulator.oauth().expire_access_tokens();
    // Fragments are taken all the same; the commit answers 500.
    let before = bench.renewals();
    send_from(&*bench.remote, &ticket, &bytes, 0).await.expect("done");
    assert_eq!(bench.drive.read_file("/big").expect("there"), bytes);
    assert_eq!(bench.renewals(), before + 1);
    bench.check();
}

#[tokio::test]
async fn every_way_in_which_a_commit_was_seen_to_end_is_survived() {
    let bytes = pattern(SIZE);
    for (close, missing) in [(BitsClose::Commits, true), (BitsClose::CommitsAndFails, false)] {
        let bench = bench().await;
        bench.emulator.set_strict(|strict| {
            (strict.live.bits_close, strict.live.bits_resource_id_missing) = (close, missing);
        });
        let ticket = begin(&bench, "big #1.bin", &bytes).await.expect("a session");
        let item = send_from(&*bench.remote, &ticket, &bytes, 0).await.expect("found");
        assert_eq!((item.size, bench.drive.read_file("/big #1.bin").expect("there")), (SIZE as u64, bytes.to_vec()));
        assert_eq!(count(&bench, Host::Bits, "Fragment"), 4, "nothing twice");
    }
    let bench = bench().await;
    bench.emulator.set_strict(|strict| strict.live.bits_close = BitsClose::Fails);
    let ticket = begin(&bench, "big", &bytes).await.expect("a session");
    let failure = send_from(&*bench.remote, &ticket, &bytes, 0).await.expect_err("not now");
    assert_eq!((failure.kind, failure.advice), (RemoteErrorKind::Unavailable, Advice::VerifyThenRetry));
    assert_eq!(bench.remote.upload_offset(&ticket).await.expect("known"), Offset::At(SIZE as u64));
    bench.emulator.set_strict(|strict| strict.live.bits_close = BitsClose::Commits);
    bench.remote.finish_upload(&ticket).await.expect("with the same session");
    assert_eq!(count(&bench, Host::Bits, "Fragment"), 4, "nothing twice");
    bench.emulator.set_strict(|strict| strict.live.bits_close = BitsClose::NotEnabled);
    let ticket = begin(&bench, "other", &bytes).await.expect("a session");
    let refused = send_from(&*bench.remote, &ticket, &bytes, 0).await;
    assert_eq!(kind(refused), Some(RemoteErrorKind::Unsupported));
}

#[tokio::test]
async fn lost_fragments_lost_answers_and_overlaps_end_in_the_same_bytes() {
    let bytes = pattern(SIZE);
    for overlap in [Overlap::Refused, Overlap::NewPartKept] {
        for fault in [
            Fault::Reset { when: When::After },
            Fault::Reset { when: When::Before },
            Fault::ResetUpload { after: 1000 },
            Fault::status(When::After, 500, "server_internal_error"),
        ] {
            let bench = bench().await;
            bench.emulator.set_strict(|strict| strict.live.bits_overlap = overlap);
            let ticket = begin(&bench, "big", &bytes).await.expect("a session");
            bench.emulator.faults().add(Rule::once("Fragment", "*", fault.clone()).skip(1));
            send_stubbornly(&bench.remote, &ticket, &bytes).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            assert_eq!(bench.drive.read_file("/big").expect("there"), bytes, "{fault:?}");
            assert!(count(&bench, Host::Bits, "Fragment") <= 6, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn a_session_that_is_gone_is_told_in_both_ways() {
    let bytes = pattern(SIZE);
    for how in [SessionGone::Code, SessionGone::ClientError] {
        let bench = bench().await;
        bench.emulator.set_strict(|strict| strict.live.bits_session_gone = how);
        let ticket = begin(&bench, "big", &bytes).await.expect("a session");
        bench.drive.lose_sessions();
        let late = bench.remote.put_fragment(&ticket, 0, bytes.slice(..1000)).await;
        assert_eq!(kind(late), Some(RemoteErrorKind::UploadGone), "{how:?}");
        assert_eq!(bench.remote.upload_offset(&ticket).await.expect("looked"), Offset::Gone);
        bench.remote.abandon_upload(&ticket).await.expect("nothing to abandon");
    }
}

/// The counter-report to "renew the token before the commit": a session that a new token ends.
#[tokio::test]
async fn a_session_that_a_new_token_ends_is_begun_anew_not_committed_twice() {
    let bench = bench().await;
    bench.emulator.set_strict(|strict| strict.live.bits_new_token_ends_session = true);
    let bytes = pattern(SIZE);
    let ticket = begin(&bench, "big", &bytes).await.expect("a session");
    bench.emulator.oauth().expire_access_tokens();
    let lost = send_from(&*bench.remote, &ticket, &bytes, 0).await;
    assert_eq!(kind(lost), Some(RemoteErrorKind::UploadGone));
    assert_eq!(bench.drive.read_file("/big"), None);
    let ticket = begin(&bench, "big", &bytes).await.expect("another session");
    send_from(&*bench.remote, &ticket, &bytes, 0).await.expect("done");
    assert_eq!(bench.drive.read_file("/big").expect("there"), bytes);
}

#[tokio::test]
async fn a_file_that_came_to_be_meanwhile_is_not_replaced_unasked() {
    let bench = bench().await;
    let bytes = pattern(SIZE);
    let ticket = begin(&bench, "big", &bytes).await.expect("a session");
    bench.drive.create_file("/big", "theirs");
    let refused = send_from(&*bench.remote, &ticket, &bytes, 0).await;
    assert_eq!(kind(refused), Some(RemoteErrorKind::Exists));
    assert_eq!(bench.drive.read_file("/big"), Some(b"theirs".to_vec()));
    assert_eq!(bench.drive.open_sessions(), 0);
}

#[tokio::test]
async fn a_restart_between_the_last_fragment_and_the_commit_goes_on() {
    let bench = bench().await;
    let bytes = pattern(SIZE);
    let mut ticket = begin(&bench, "big", &bytes).await.expect("a session");
    let mut at = 0;
    while (at as usize) < bytes.len() {
        let end = bytes.len().min(at as usize + crate::remote_suite::bench::UNIT);
        match bench.remote.put_fragment(&ticket, at, bytes.slice(at as usize..end)).await.expect("taken") {
            Ack::Next(next) => at = next,
            Ack::Done(_) => panic!("not before the commit"),
        }
    }
    ticket.acked = at;
    let next = bench.reopened();
    assert_eq!(next.upload_offset(&ticket).await.expect("as the ticket says"), Offset::At(SIZE as u64));
    let item = next.finish_upload(&ticket).await.expect("committed").item;
    // And once more, by somebody who does not know that it was committed.
    let third = bench.reopened();
    assert_eq!(third.finish_upload(&ticket).await.expect("found"), Finished { item, told: false });
    assert_eq!(count(&bench, Host::Bits, "Fragment"), 5, "four, and one byte that asked");
}

#[tokio::test]
async fn whatever_the_service_does_with_overwrite_false_nothing_is_lost() {
    for duplicates in [false, true] {
        let bench = bench().await;
        bench.emulator.set_strict(|strict| {
            strict.live.overwrite_false_duplicates = duplicates;
            // Requests with a length are never answered.
            strict.live.put_with_length_hangs = true;
        });
        bench.put("f", b"one").await;
        let to = bench.new_file("F");
        let again = bench.remote.put_small(&to, Bytes::from_static(b"2"), &Precondition::MustNotExist).await;
        assert_eq!(kind(again), Some(RemoteErrorKind::Exists), "{duplicates}");
        assert_eq!(bench.drive.list("/").len(), 1);
    }
}

#[tokio::test]
async fn content_is_what_it_is_however_the_host_sends_it() {
    let bench = bench().await;
    bench.drive.create_generated("/f", 7, 300_000);
    let whole = bench.drive.read_file("/f").expect("there");
    let item = bench.at("/f").await;
    for gzip in [Gzip::Never, Gzip::WhenOffered] {
        bench.emulator.set_strict(|strict| strict.live.gzip = gzip);
        assert_eq!(read(&*bench.remote, &item, 1000..200_000).await.expect("bytes"), &whole[1000..200_000]);
    }
    bench.emulator.set_strict(|strict| strict.live.gzip = Gzip::Unasked);
    if let Ok(bytes) = read(&*bench.remote, &item, 1000..200_000).await {
        assert_eq!(bytes, &whole[1000..200_000], "whole or an error, nothing else");
    }
    bench.emulator.set_strict(|strict| strict.live.gzip = Gzip::Never);
    // Addresses run out: with an empty success, or with a refusal.
    for empty in [true, false] {
        bench.emulator.set_strict(|strict| {
            strict.live.expired_source_is_empty = empty;
            strict.live.source_life = Duration::from_secs(5);
        });
        read(&*bench.remote, &item, 0..10).await.expect("bytes");
        bench.clock.advance(Duration::from_secs(60));
        assert_eq!(read(&*bench.remote, &item, 10..20).await.expect("of a new address"), &whole[10..20], "{empty}");
    }
    bench.check();
}

/// One service let folders move, as documented; to another python-onedrive found that it did not.
#[tokio::test]
async fn folders_that_do_not_move_say_so() {
    let bench = bench().await;
    let (one, two) = (
        bench.remote.make_folder(&bench.root, "one").await.expect("made"),
        bench.remote.make_folder(&bench.root, "two").await.expect("made"),
    );
    let into = Patch { parent: Some(two.id.clone()), ..Patch::default() };
    bench.emulator.set_strict(|strict| strict.live.folder_moves = false);
    let refused = bench.remote.change(&one.id, &into, &Precondition::None).await;
    assert_eq!(kind(refused), Some(RemoteErrorKind::Unsupported));
    bench.emulator.set_strict(|strict| strict.live.folder_moves = true);
    let moved = bench.remote.change(&one.id, &into, &Precondition::None).await.expect("moved");
    assert_eq!((moved.id, moved.parent), (one.id, Some(two.id)));
}

#[tokio::test]
async fn a_photo_is_stored_as_it_is() {
    let bench = bench().await;
    let mut bytes = b"\xff\xd8\xff\xe0".to_vec();
    bytes.extend(pattern(100_000));
    let to = bench.new_file("pier.jpg");
    let item = bench.remote.put_small(&to, bytes.clone().into(), &Precondition::MustNotExist).await.expect("stored");
    assert_eq!(bench.drive.read_file("/pier.jpg"), Some(bytes.clone()));
    bytes.push(1);
    bench.remote.put_small(&replace(&item.id), bytes.clone().into(), &unchanged(&item)).await.expect("replaced");
    assert_eq!(bench.drive.read_file("/pier.jpg"), Some(bytes));
}

/// What the old command line offered beyond files and folders.
#[tokio::test]
async fn everything_that_live_connect_offered_is_there() {
    let bench = bench().await;
    let extras = &bench.extras;
    let file = bench.put("a b.txt", b"hello").await;
    let folder = bench.remote.make_folder(&bench.root, "folder").await.expect("made");
    assert_eq!(extras.user().await.expect("somebody")["id"], bench.root.drive.as_str());
    for kind in [LinkKind::View, LinkKind::Edit, LinkKind::Embed] {
        let link = extras.link(&file.id, kind).await.expect("a link");
        assert!(link["link"].as_str().is_some_and(|link| link.starts_with("http")), "{kind:?}: {link}");
    }
    let comment = extras.add_comment(&file.id, "well done").await.expect("added");
    let comments = extras.comments(&file.id).await.expect("listed");
    assert_eq!((comments.len(), &comments[0]["message"]), (1, &serde_json::json!("well done")));
    extras.delete_comment(comment["id"].as_str().expect("an id")).await.expect("deleted");
    assert!(extras.comments(&file.id).await.expect("listed").is_empty());
    let word = serde_json::json!({"description": "a word"});
    extras.set_properties(&file.id, word.as_object().expect("an object")).await.expect("described");
    assert_eq!(extras.look(At::Id(&file.id)).await.expect("seen").object["description"], "a word");
    let page = extras.look_into(&bench.root, None).await.expect("listed");
    assert_eq!((page.items.len(), page.next), (2, None));
    let copy = extras.copy(&file.id, &folder.id, Some("copy.txt")).await.expect("copied");
    assert_eq!((copy.name.as_str(), copy.parent.as_ref()), ("copy.txt", Some(&folder.id)));
    let twin = extras.copy(&file.id, &bench.root, Some("twin.txt")).await.expect("copied");
    assert_ne!(twin.id, file.id);
    assert_eq!(kind(extras.copy(&file.id, &bench.root, None).await), Some(RemoteErrorKind::Exists));
    let whole = extras.copy(&folder.id, &bench.root, Some("again")).await.expect("copied");
    assert_eq!(whole.kind, ItemKind::Folder);
    assert_eq!(bench.drive.read_file("/again/copy.txt"), Some(b"hello".to_vec()));
    assert!(!extras.recent().await.expect("listed").is_empty());
    // What others share needs a permission of its own, which python-onedrive did not ask for; the service says which.
    let shared = extras.shared().await.expect_err("not permitted");
    assert!(shared.kind == RemoteErrorKind::Denied && shared.context.contains("wl.contacts_skydrive"), "{shared}");
    bench.check();
}
