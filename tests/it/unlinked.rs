//! What was deleted or renamed here does not stand again under its old name, whatever the service has made meanwhile of
//! what was sent of it.

use std::time::Duration;

use onedrive_mount::emulator::{Fault, ReadLag, Rule, When};

use crate::meanwhile::{Bench, SIDES};

/// Longer than any test runs.
const LONG: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, PartialEq, Debug)]
enum Lost {
    /// The connection ended before the answer to the content came.
    Answer,
    /// The answer came, and what it speaks of could not be looked at.
    Look,
}

/// Where no hash tells one version from another, the size of what was sent has to do.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_without_an_answer_is_hidden_as_soon_as_it_is_unlinked() {
    for side in SIDES {
        for (lost, renamed, heard_before) in [
            (Lost::Answer, false, false),
            (Lost::Answer, false, true),
            (Lost::Answer, true, false),
            (Lost::Answer, true, true),
            (Lost::Look, false, false),
            (Lost::Look, true, true),
        ] {
            if lost == Lost::Look && !side.live {
                // The answer to the content is all that Graph is asked for.
                continue;
            }
            let case = format!("{side:?}, lost: {lost:?}, renamed: {renamed}, heard before: {heard_before}");
            let bench = Bench::new(side, &[]).await;
            bench.user().write("a", b"first").await.expect("writes");
            let faults = bench.world.emulator.faults();
            if lost == Lost::Answer {
                faults.add(Rule::once("PUT", "*", Fault::Reset { when: When::After }));
            }
            let deaf = Rule::always("GET", "*", Fault::status(When::Before, 409, "resource_already_exists"));
            // The first look of all is whether the name is free.
            let deaf = faults.add(deaf.skip(u64::from(side.live)));
            bench.step().await;
            faults.remove(deaf);
            assert!(bench.world.emulator.drive().read_file("/a").is_some(), "{case}: it has not arrived");
            assert_ne!(bench.core.journal.backlog(), (0, 0), "{case}: it was acknowledged");
            if heard_before {
                bench.poll().await;
            }
            if renamed {
                bench.user().rename("a", "b").await.expect("renames");
            } else {
                bench.user().unlink("a").await.expect("removes");
            }
            bench.poll().await;
            let seen: &[&str] = if renamed { &["b"] } else { &[] };
            assert_eq!(bench.user().list("").await.expect("lists"), seen, "{case}");
            bench.user().write("A", b"other").await.expect("nothing has the name");
            if renamed {
                bench.rests_with(&[("A", b"other"), ("b", b"first")], &case).await;
            } else {
                bench.rests_with(&[("A", b"other")], &case).await;
            }
        }
    }
}

/// Nobody waits to see whether what was sent is there before the same is sent again; who wants it no more has to.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_looked_for_in_vain_and_is_wanted_no_more_does_not_come_later() {
    for side in SIDES {
        for renamed in [false, true] {
            let case = format!("{side:?}, renamed: {renamed}");
            let bench = Bench::new(side, &[]).await;
            let drive = bench.world.emulator.drive();
            drive.set_read_lag(ReadLag::everywhere(LONG));
            bench.user().write("a", b"first").await.expect("writes");
            bench.world.emulator.faults().add(Rule::once("PUT", "*", Fault::Reset { when: When::After }));
            bench.steps(2).await;
            assert!(drive.read_file("/a").is_some(), "{case}: it has not arrived");
            if renamed {
                bench.user().rename("a", "b").await.expect("renames");
            } else {
                bench.user().unlink("a").await.expect("removes");
            }
            bench.step().await;
            drive.set_read_lag(ReadLag::default());
            if renamed {
                bench.rests_with(&[("b", b"first")], &case).await;
            } else {
                bench.rests_with(&[], &case).await;
            }
        }
    }
}

/// The same, if it is unlinked in the moment in which it is looked for.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_unlinked_while_it_is_looked_for_in_vain_does_not_come_later() {
    for side in SIDES {
        let case = format!("{side:?}");
        let bench = Bench::new(side, &[]).await;
        let drive = bench.world.emulator.drive();
        drive.set_read_lag(ReadLag::everywhere(LONG));
        bench.user().write("a", b"first").await.expect("writes");
        let faults = bench.world.emulator.faults();
        faults.add(Rule::once("PUT", "*", Fault::Reset { when: When::After }));
        bench.step().await;
        assert!(drive.read_file("/a").is_some(), "{case}: it has not arrived");
        bench.meanwhile(async || bench.user().unlink("a").await.expect("removes")).await;
        bench.steps(2).await;
        drive.set_read_lag(ReadLag::default());
        bench.rests_with(&[], &case).await;
    }
}
