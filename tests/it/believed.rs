//! What the service says once, in a bad moment or a moment too late, is not acted upon where that could not be undone: no
//! version of somebody else's is replaced or deleted by it, and no wish of the user is dropped.

use std::time::Duration;

use onedrive_mount::emulator::{Fault, Host, PatchAnswer, ReadLag, Rule, When};

use crate::late::{Bench, FLAVOURS};
use crate::meanwhile::SIDES;
use crate::world::model::Node;
use crate::world::ops::cloud_tree;
use crate::world::side::Side;

impl Bench {
    /// Everything comes to rest, and these contents are in the cloud, under whatever names.
    async fn rests_with_contents(&self, wanted: &[&[u8]], case: &str) {
        for _ in 0..6 {
            self.core().poller.poll_now().await.expect("polls");
            self.steps(20).await;
        }
        assert_eq!(self.left(), [""; 0], "{case}");
        let cloud = cloud_tree(self.world.emulator.drive());
        for content in wanted {
            let there = cloud.values().filter(|node| **node == Node::File(content.to_vec())).count();
            assert_eq!(there, 1, "{case}: {:?}", cloud.keys());
        }
        assert_eq!(cloud.len(), wanted.len(), "{case}: {:?}", cloud.keys());
    }
}

/// No name is found while nothing is found.
#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_unseen_is_not_given_up_while_the_service_finds_nothing() {
    for side in SIDES {
        for renamed in [false, true] {
            let bench = Bench::in_a_hurry(side).await;
            bench.user().write("a", b"first").await.expect("writes");
            bench.lose_answer("PUT");
            let faults = bench.world.emulator.faults();
            let busy = Fault::status(When::Before, 503, "busy");
            // Live looks whether the name is free before it sends.
            let deaf = faults.add(Rule::always("GET", "*", busy).skip(if side.live { 1 } else { 0 }));
            bench.steps(1).await;
            faults.remove(deaf);
            if renamed {
                bench.user().rename("a", "b").await.expect("renames");
            } else {
                bench.user().unlink("a").await.expect("removes");
            }
            let ill = faults.add(Rule::always("*", "*", Fault::status(When::Before, 404, "itemNotFound")));
            // On this clock a minute at least.
            for _ in 0..3 {
                bench.steps(2).await;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            faults.remove(ill);
            bench.rests_with(if renamed { &[("b", b"first")] } else { &[] }).await;
        }
    }
}

/// The answer to a change may have no body. What is looked at instead may be somebody else's by then.
#[tokio::test(flavor = "multi_thread")]
async fn content_that_arrives_between_a_new_name_and_the_look_at_it_is_kept() {
    for side in SIDES {
        let bench = Bench::in_a_hurry(side).await;
        let drive = bench.world.emulator.drive().clone();
        drive.create_file("/a", b"first".to_vec());
        bench.world.emulator.set_strict(|strict| strict.patch_answer = PatchAnswer::EmptyApplied);
        bench.core().poller.poll_now().await.expect("polls");
        bench.user().list("").await.expect("lists");
        tokio::time::sleep(Duration::from_millis(1100)).await;
        bench.user().rename("a", "b").await.expect("renames");
        bench.user().write("b", b"edits of ours").await.expect("writes");
        let renames = if side.live { "PUT" } else { "PATCH" };
        bench.once_after(
            move |moment| moment.method == renames,
            move || {
                drive.write_file("/b", b"theirs".to_vec());
            },
        );
        bench.rests_with_contents(&[b"theirs", b"edits of ours"], &format!("{side:?}")).await;
    }
}

/// Live Connect has no hashes, and BITS no answer that could be asked for again: what stands where an upload should have
/// ended is told by its size and time, and read before it is believed.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_version_is_not_taken_for_the_end_of_our_upload() {
    let content = |seed: u32| -> Vec<u8> { (0..5_000_000u32).map(|i| (i >> 8) as u8 ^ (i * seed) as u8).collect() };
    let (ours, theirs) = (content(3), content(5));
    for replaces in [false, true] {
        let bench = Bench::in_a_hurry(Side::LIVE).await;
        let drive = bench.world.emulator.drive().clone();
        if replaces {
            drive.create_file("/container", content(7));
        }
        bench.core().poller.poll_now().await.expect("polls");
        bench.user().list("").await.expect("lists");
        tokio::time::sleep(Duration::from_millis(1100)).await;
        bench.user().write("container", &ours).await.expect("writes");
        let faults = bench.world.emulator.faults();
        let lost = faults.add(Rule::always("Close-Session", "*", Fault::Reset { when: When::Before }).on(Host::Bits));
        bench.steps(1).await;
        assert!(faults.struck(lost) > 0, "it was about to end");
        drive.write_file("/container", theirs.clone());
        faults.clear();
        bench.rests_with_contents(&[&theirs, &ours], &format!("replaces: {replaces}")).await;
    }
}

/// The feed knew of it, the listing did not.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_not_deleted_with_what_was_heard_of_in_it() {
    for flavour in FLAVOURS {
        let bench = Bench::in_a_hurry(flavour).await;
        bench.user().mkdir("d").await.expect("makes");
        bench.steps(10).await;
        bench.core().poller.poll_now().await.expect("polls");
        let children = ReadLag { children: Duration::from_secs(3600), ..ReadLag::default() };
        bench.world.emulator.drive().set_read_lag(children);
        // The service has times of whole seconds; what is new in this one would not be behind.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        bench.user().rmdir("d").await.expect("removes");
        bench.world.emulator.drive().write_file("/d/theirs", b"theirs".to_vec());
        bench.core().poller.poll_now().await.expect("polls");
        bench.steps(10).await;
        bench.world.emulator.drive().set_read_lag(ReadLag::default());
        for _ in 0..4 {
            bench.core().poller.poll_now().await.expect("polls");
            bench.steps(10).await;
        }
        let cloud: Vec<String> = cloud_tree(bench.world.emulator.drive()).into_keys().collect();
        assert_eq!(cloud, ["d", "d/theirs"], "{flavour:?}");
        assert_eq!(bench.user().list("d").await.expect("lists"), ["theirs"], "{flavour:?}");
    }
}

/// An outage of a second does not put an edit aside until the user does something about it.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_not_put_aside_because_nothing_is_found_for_a_moment() {
    let content: Vec<u8> = (0..9_000_000u32).map(|i| (i >> 8) as u8 ^ i as u8).collect();
    for side in SIDES {
        let bench = Bench::in_a_hurry(side).await;
        bench.world.emulator.drive().create_file("/a", content.clone());
        bench.core().poller.poll_now().await.expect("polls");
        bench.user().list("").await.expect("lists");
        bench.user().patch("a", 100, b"edited").await.expect("writes");
        let ill = Fault::status(When::Before, 404, "itemNotFound");
        let ill = bench.world.emulator.faults().add(Rule::always("*", "*", ill));
        bench.steps(3).await;
        assert_eq!(bench.core().journal.backlog(), (1, 0), "{side:?}: {:?}", bench.left());
        bench.world.emulator.faults().remove(ill);
        let mut wanted = content.clone();
        wanted[100..106].copy_from_slice(b"edited");
        bench.rests_with(&[("a", &wanted)]).await;
    }
}
