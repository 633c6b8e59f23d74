//! The version that an edit was made on is replaced elsewhere before the rest of it was here.

use onedrive_mount::emulator::{Fault, Rule, When};

use super::{Bench, SIDES, patched, pattern};

/// Who appends a line to a file that is not here, and was changed elsewhere a moment ago, has seen the version before. Both
/// are kept, as if the file had been here.
#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_an_edit_comes_from_the_history_of_the_file() {
    for side in SIDES.into_iter().filter(|side| !side.live) {
        for (length, same_size, damaged) in
            [(20, false, false), (20, true, false), (5_000_000, true, false), (300, true, true)]
        {
            let case = format!("{side:?}, {length} bytes, all of one size: {same_size}, damaged on the way: {damaged}");
            let (before, seen) = (pattern(1, length), pattern(2, length));
            let bench = Bench::new(side, &[("/a", &before)]).await;
            let drive = bench.world.emulator.drive();
            drive.write_file("/a", seen.clone());
            bench.core.poller.poll_now().await.expect("polls");
            assert_eq!(bench.user().list("").await.expect("lists"), ["a"]);
            // Two more before ours is sent, none of which has been here.
            for version in [3, 4] {
                drive.write_file("/a", pattern(version, length + usize::from(!same_size) * version as usize));
            }
            let theirs = drive.read_file("/a").expect("there").to_vec();
            bench.user().patch("a", 5, b"ours").await.expect("writes");
            if damaged {
                let faults = bench.world.emulator.faults();
                // The first answer with content: what was asked for is not what comes.
                faults.add(Rule::once("GET", "*/content*", Fault::Truncate { to: 7 }));
                faults.add(Rule::once("GET", "*/versions", Fault::status(When::Before, 503, "busy")));
            }
            let rest = bench.rest().await;
            let ours = patched(seen, 5, b"ours");
            let contents: Vec<&[u8]> = rest.iter().map(|(_, bytes)| bytes.as_slice()).collect();
            assert_eq!(rest.len(), 2, "{case}: {:?}", rest.iter().map(|(name, _)| name).collect::<Vec<_>>());
            assert!(contents.contains(&ours.as_slice()), "{case}: ours is whole");
            assert!(rest.iter().any(|(name, bytes)| name == "a" && *bytes == theirs), "{case}: theirs has the name");
        }
    }
}

/// Nothing is made up where the history has no such version.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_whose_rest_is_nowhere_waits_for_the_user() {
    for side in SIDES {
        let bench = Bench::new(side, &[("/a", &pattern(1, 300))]).await;
        let drive = bench.world.emulator.drive();
        assert_eq!(bench.user().list("").await.expect("lists"), ["a"]);
        bench.user().patch("a", 5, b"ours").await.expect("writes");
        drive.remove("/a");
        // Another file, of another id or without the old versions.
        drive.create_file("/a", pattern(2, 300));
        for _ in 0..5 {
            bench.core.journal.retry_all().expect("the journal takes it");
            while bench.core.uploader.step().await {}
        }
        let why =
            bench.core.journal.view(|all| all.iter().filter_map(|one| one.last_error.clone()).collect::<String>());
        assert!(why.contains("the part of it that was not edited here"), "{side:?}: {why:?}");
        assert_eq!(drive.read_file("/a").as_deref(), Some(pattern(2, 300).as_slice()), "{side:?}");
    }
}
