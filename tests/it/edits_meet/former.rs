//! The version that an edit was made on is replaced elsewhere before the rest of it was here.

use onedrive_mount::emulator::{Fault, Host, Rule, When};

use super::{Bench, SIDES, patched, pattern};

/// Who appends a line to a file that is not here, and was changed elsewhere a moment ago, has seen the version before. Both
/// are kept, as if the file had been here.
#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_an_edit_comes_from_the_history_of_the_file() {
    let refused = |status| Rule::once("GET", "*", Fault::status(When::Before, status, "no")).on(Host::Storage);
    let list = |status| Rule::once("GET", "*/versions", Fault::status(When::Before, status, "itemNotFound"));
    let cut = Rule::once("GET", "*", Fault::Truncate { to: 7 }).on(Host::Storage);
    let faults = [list(404), list(503), refused(401), refused(403), refused(404), refused(410), refused(503), cut];
    let faulty = faults.into_iter().map(|fault| (300, true, Some(fault)));
    let cases: Vec<_> =
        [(20, false, None), (20, true, None), (9_000_000, true, None)].into_iter().chain(faulty).collect();
    for side in SIDES.into_iter().filter(|side| !side.live) {
        for (length, same_size, fault) in &cases {
            let case = format!("{side:?}, {length} bytes, all of one size: {same_size}, {fault:?}");
            let (before, seen) = (pattern(1, *length), pattern(2, *length));
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
            let fault = fault.clone().map(|fault| bench.world.emulator.faults().add(fault));
            let rest = bench.rest().await;
            if let Some(fault) = fault {
                assert_eq!(bench.world.emulator.faults().struck(fault), 1, "{case}");
            }
            let ours = patched(seen, 5, b"ours");
            assert_eq!(rest.len(), 2, "{case}: {:?}", rest.iter().map(|(name, _)| name).collect::<Vec<_>>());
            assert!(rest.iter().any(|(_, bytes)| *bytes == ours), "{case}: ours is whole");
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
