//! A new name makes another version where a time stands for the version, and comes back with the name where none does. What
//! we gave a new name ourselves is nobody else's change, though the answer was lost.

use std::time::Duration;

use onedrive_mount::emulator::{Fault, Rule, When};

use crate::late::Bench;
use crate::meanwhile::SIDES;
use crate::world::model::Node;
use crate::world::ops::cloud_tree;
use crate::world::side::Side;

/// A drive with a file, in a second that is over.
async fn bench(side: Side, touched: bool, content: &[u8]) -> Bench {
    let bench = Bench::in_a_hurry(side).await;
    let drive = bench.world.emulator.drive();
    drive.set_renames_touch(touched);
    drive.create_file("/a", content.to_vec());
    bench.core().poller.poll_now().await.expect("polls");
    bench.user().list("").await.expect("lists");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    bench
}

/// The next new name is given in the cloud, and neither the answer nor a look at what became of it gets through.
async fn rename_unanswered(bench: &Bench, side: Side, case: &str) {
    let faults = bench.world.emulator.faults();
    let lost = faults.add(Rule::once(if side.live { "PUT" } else { "PATCH" }, "*", Fault::Reset { when: When::After }));
    let deaf = Rule::always("GET", "*", Fault::status(When::Before, 503, "busy"));
    // Live looks at the item and at its folder before it acts.
    let deaf = faults.add(deaf.skip(if side.live { 2 } else { 0 }));
    bench.steps(1).await;
    faults.remove(deaf);
    assert_eq!(faults.struck(lost), 1, "{case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_renamed_without_an_answer_and_deleted_then_does_not_come_back() {
    for side in SIDES {
        for (touched, killed) in [(false, false), (true, false), (true, true)] {
            let case = format!("{side:?}, a new name is a new time: {touched}, killed: {killed}");
            let mut bench = bench(side, touched, b"first").await;
            bench.user().rename("a", "b").await.expect("renames");
            rename_unanswered(&bench, side, &case).await;
            bench.user().unlink("b").await.expect("removes");
            if killed {
                bench.kill().await;
            }
            bench.rests_with(&[]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_what_was_renamed_without_an_answer_is_one_file() {
    for side in SIDES {
        for (touched, killed, back) in
            [(false, false, false), (true, false, false), (true, true, false), (true, false, true), (true, true, true)]
        {
            let case = format!("{side:?}, a new name is a new time: {touched}, killed: {killed}, taken back: {back}");
            let mut bench = bench(side, touched, b"first").await;
            bench.user().rename("a", "b").await.expect("renames");
            // Of the size that it had, so that the bytes have to be told apart.
            bench.user().write("b", b"edits").await.expect("writes");
            rename_unanswered(&bench, side, &case).await;
            if back {
                bench.user().rename("b", "a").await.expect("renames");
            }
            if killed {
                bench.kill().await;
            }
            bench.rests_with(&[(if back { "a" } else { "b" }, b"edits")]).await;
        }
    }
}

/// The rest of an edit comes from a version that the service knows under another time by now.
#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_an_edit_is_found_after_a_new_name_and_a_restart() {
    let content: Vec<u8> = (0..9_000_000u32).map(|i| (i >> 8) as u8 ^ i as u8).collect();
    for side in SIDES {
        for answered in [true, false] {
            let case = format!("{side:?}, answered: {answered}");
            let mut bench = bench(side, true, &content).await;
            bench.user().patch("a", 100, b"edited").await.expect("writes");
            bench.user().rename("a", "b").await.expect("renames");
            if answered {
                bench.steps(1).await;
            } else {
                rename_unanswered(&bench, side, &case).await;
            }
            bench.kill().await;
            let mut wanted = content.clone();
            wanted[100..106].copy_from_slice(b"edited");
            bench.rests_with(&[("b", &wanted)]).await;
        }
    }
}

/// Where a new name moves no time, what has its old name back is what it was before.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_given_back_without_an_answer_is_believed_soon() {
    for side in SIDES {
        for (killed, deleted) in [(false, false), (false, true), (true, false), (true, true)] {
            let case = format!("{side:?}, killed: {killed}, deleted: {deleted}");
            let mut bench = bench(side, false, b"first").await;
            bench.user().rename("a", "b").await.expect("renames");
            bench.steps(5).await;
            assert_eq!(bench.core().journal.backlog(), (0, 0), "{case}");
            bench.user().rename("b", "a").await.expect("renames");
            rename_unanswered(&bench, side, &case).await;
            if deleted {
                bench.user().unlink("a").await.expect("removes");
            }
            if killed {
                bench.kill().await;
            }
            // On this clock some ten seconds.
            let start = bench.world.clock.monotonic();
            while bench.core().journal.backlog() != (0, 0) && bench.world.clock.monotonic().since(start).as_secs() < 10
            {
                bench.steps(3).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(bench.left(), [""; 0], "{case}");
            bench.rests_with(if deleted { &[] } else { &[("a", b"first")] }).await;
        }
    }
}

/// A service that calls the name taken which the file has already says nothing about whose content it has by now.
#[tokio::test(flavor = "multi_thread")]
async fn new_content_by_somebody_else_under_a_name_that_was_given_unanswered_is_kept() {
    for side in SIDES {
        let case = format!("{side:?}");
        let bench = bench(side, false, b"first").await;
        bench.user().rename("a", "b").await.expect("renames");
        bench.user().write("b", b"edits").await.expect("writes");
        rename_unanswered(&bench, side, &case).await;
        bench.world.emulator.drive().write_file("/b", b"their".to_vec());
        let taken = Fault::status(When::Before, 409, "nameAlreadyExists");
        bench.world.emulator.faults().add(Rule::once("PATCH", "*", taken));
        for _ in 0..5 {
            bench.steps(20).await;
        }
        assert_eq!(bench.core().journal.backlog(), (0, 0), "{case}");
        let mut cloud = cloud_tree(bench.world.emulator.drive());
        assert_eq!(cloud.remove("b"), Some(Node::File(b"their".to_vec())), "{case}");
        let ours: Vec<Node> = cloud.into_values().collect();
        assert_eq!(ours, [Node::File(b"edits".to_vec())], "{case}");
    }
}
