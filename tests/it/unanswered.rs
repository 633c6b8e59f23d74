//! What the user made stays where the user sees it, and what the user removed stays away, though requests go unanswered
//! and a service that is ill calls everything "not found".

use std::time::Duration;

use onedrive_mount::emulator::{Fault, Host, Network, ReadLag, Rule, RuleId, When};
use tokio::net::TcpStream;

use crate::late::{Bench, FLAVOURS};
use crate::volume_model::local_tree_of;
use crate::world::ops::cloud_tree;
use crate::world::side::Side;
use crate::world::{User, World, eventually, time_passes};

const SIDES: [Side; 3] = [Side::PERSONAL, Side::BUSINESS, Side::LIVE];

impl Bench {
    /// A service that finds nothing, not even the root.
    fn finds_nothing(&self) -> RuleId {
        self.world.emulator.faults().add(Rule::always("*", "*", Fault::status(When::Before, 404, "itemNotFound")))
    }

    /// The network is like this from now on. A door that opens again has opened on return: on a busy machine that can
    /// take longer than a client in a hurry has patience for.
    async fn network(&self, network: Network) {
        self.world.emulator.set_network(network);
        if network == Network::Up {
            let endpoints = self.world.emulator.endpoints();
            for door in [endpoints.graph, endpoints.bits] {
                let door = reqwest::Url::parse(&door).expect("an address");
                let address = door.socket_addrs(|| None).expect("an address")[0];
                eventually("the service is there again", async || TcpStream::connect(address).await.is_ok()).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_joins_another_is_used_without_the_network() {
    for flavour in FLAVOURS {
        for heard in [false, true] {
            let bench = Bench::in_a_hurry(flavour).await;
            bench.user().mkdir("d").await.expect("makes");
            bench.lose_answer("POST");
            let unavailable = Fault::status(When::Before, 503, "serviceNotAvailable");
            let rule = bench.world.emulator.faults().add(Rule::always("GET", "*", unavailable));
            bench.steps(1).await;
            bench.world.emulator.faults().remove(rule);
            bench.world.emulator.drive().write_file("/d/theirs", b"theirs".to_vec());
            bench.user().write("d/ours", b"ours").await.expect("writes");
            if heard {
                bench.core().poller.poll_now().await.expect("polls");
            }
            // It is not empty, so it is not taken for ours; asked for again it is there, and the two join.
            bench.steps(8).await;
            bench.network(Network::Refusing).await;
            let mut names = bench.user().list("d").await.expect("lists");
            names.sort();
            assert_eq!(names, ["ours", "theirs"], "{:?}", bench.left());
            bench.user().unlink("d/ours").await.expect("removes");
            bench.user().unlink("d/theirs").await.expect("removes");
            bench.user().rmdir("d").await.expect("removes the folder");
            bench.network(Network::Up).await;
            bench.rests_with(&[]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_a_folder_that_cannot_be_listed_yet_stays_in_sight() {
    for flavour in FLAVOURS {
        let bench = Bench::in_a_hurry(flavour).await;
        bench.user().mkdir("d").await.expect("makes");
        bench.lose_answer("POST");
        let unavailable = || Fault::status(When::Before, 503, "serviceNotAvailable");
        let rule = bench.world.emulator.faults().add(Rule::always("GET", "*", unavailable()));
        bench.steps(1).await;
        bench.world.emulator.faults().remove(rule);
        bench.world.emulator.drive().write_file("/d/theirs", b"theirs".to_vec());
        bench.user().write("d/ours", b"ours").await.expect("writes");
        bench.world.emulator.faults().add(Rule::always("GET", "*/children*", unavailable()).skip(1).times(20));
        for _ in 0..8 {
            bench.steps(1).await;
            assert_eq!(bench.user().list("").await.expect("lists"), ["d"]);
            let names = bench.user().list("d").await.expect("lists");
            assert!(names.contains(&"ours".to_owned()), "{names:?}");
        }
        bench.world.emulator.faults().clear();
        for _ in 0..5 {
            bench.steps(10).await;
        }
        let names: Vec<String> = cloud_tree(bench.world.emulator.drive()).into_keys().collect();
        assert_eq!(names, ["d", "d/ours", "d/theirs"], "{:?}", bench.left());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_finds_nothing_takes_nothing_away() {
    for flavour in FLAVOURS {
        let bench = Bench::in_a_hurry(flavour).await;
        bench.user().mkdir("d").await.expect("makes");
        bench.user().write("d/kept", b"kept").await.expect("writes");
        bench.user().write("a", b"first").await.expect("writes");
        bench.user().write("gone", b"gone").await.expect("writes");
        bench.steps(20).await;
        bench.core().poller.poll_now().await.expect("polls");
        // What was made a moment ago is looked for longer.
        tokio::time::sleep(Duration::from_secs(11)).await;
        bench.user().rename("a", "b").await.expect("renames");
        bench.user().rename("d", "e").await.expect("renames");
        bench.user().write("e/new", b"new").await.expect("writes");
        bench.user().unlink("gone").await.expect("removes");
        let rule = bench.finds_nothing();
        for _ in 0..4 {
            bench.steps(6).await;
            let mut names = bench.user().list("").await.expect("lists");
            names.sort();
            assert_eq!(names, ["b", "e"]);
            let mut names = bench.user().list("e").await.expect("lists");
            names.sort();
            assert_eq!(names, ["kept", "new"]);
        }
        bench.world.emulator.faults().remove(rule);
        for _ in 0..5 {
            bench.core().poller.poll_now().await.expect("polls");
            bench.steps(20).await;
        }
        let names: Vec<String> = cloud_tree(bench.world.emulator.drive()).into_keys().collect();
        assert_eq!(names, ["b", "e", "e/kept", "e/new"], "{:?}", bench.left());
    }
}

/// Attempts that failed before they looked say nothing about whether it is there.
#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_unseen_is_found_after_many_failures_and_one_late_look() {
    for flavour in FLAVOURS {
        for renamed in [false, true] {
            let bench = Bench::in_a_hurry(flavour).await;
            bench.user().write("a", b"first").await.expect("writes");
            bench.lose_answer("PUT");
            bench.steps(1).await;
            if renamed {
                bench.user().rename("a", "b").await.expect("renames");
            } else {
                bench.user().unlink("a").await.expect("removes");
            }
            bench.network(Network::Refusing).await;
            bench.steps(5).await;
            bench.network(Network::Up).await;
            bench.read_lag(true);
            bench.steps(1).await;
            bench.read_lag(false);
            let wanted: &[(&str, &[u8])] = if renamed { &[("b", b"first")] } else { &[] };
            bench.rests_with(wanted).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refusal_after_many_failures_is_no_conflict() {
    for flavour in FLAVOURS {
        let bench = Bench::in_a_hurry(flavour).await;
        bench.user().write("a", b"first").await.expect("writes");
        bench.steps(3).await;
        bench.user().rename("a", "b").await.expect("renames");
        bench.network(Network::Refusing).await;
        bench.steps(6).await;
        bench.network(Network::Up).await;
        let refusal = Fault::status(When::Before, 409, "nameAlreadyExists");
        bench.world.emulator.faults().add(Rule::once("PATCH", "*", refusal));
        bench.steps(1).await;
        bench.rests_with(&[("b", b"first")]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_everything_was_moved_out_of_goes_though_the_listing_is_late() {
    for flavour in FLAVOURS {
        let bench = Bench::in_a_hurry(flavour).await;
        bench.user().mkdir("d").await.expect("makes");
        bench.user().mkdir("d/f").await.expect("makes");
        bench.user().write("d/a", b"first").await.expect("writes");
        bench.user().write("d/f/b", b"second").await.expect("writes");
        bench.steps(20).await;
        bench.user().write("d/f/c", b"third").await.expect("writes");
        bench.steps(20).await;
        let lag = Duration::from_secs(3600);
        let children = ReadLag { children: lag, ..ReadLag::default() };
        bench.world.emulator.drive().set_read_lag(children);
        bench.user().rename("d/a", "a").await.expect("renames");
        bench.user().rename("d/f", "f").await.expect("renames");
        bench.steps(10).await;
        bench.user().rmdir("d").await.expect("removes");
        bench.steps(10).await;
        let mut names = bench.user().list("").await.expect("lists");
        names.sort();
        assert_eq!(names, ["a", "f"]);
        bench.world.emulator.drive().set_read_lag(ReadLag::default());
        for _ in 0..5 {
            bench.core().poller.poll_now().await.expect("polls");
            bench.steps(20).await;
        }
        let names: Vec<String> = cloud_tree(bench.world.emulator.drive()).into_keys().collect();
        assert_eq!(names, ["a", "f", "f/b", "f/c"], "{:?}", bench.left());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_the_place_of_one_whose_deletion_is_parked_keeps_its_name() {
    for flavour in FLAVOURS {
        for folder in [false, true] {
            let bench = Bench::in_a_hurry(flavour).await;
            bench.user().write("A", b"first").await.expect("writes");
            bench.steps(3).await;
            let rule = bench.world.emulator.faults().add(Rule::always(
                "DELETE",
                "*",
                Fault::status(When::Before, 403, "accessDenied"),
            ));
            bench.user().unlink("A").await.expect("removes");
            bench.steps(3).await;
            if folder {
                bench.user().mkdir("a").await.expect("makes");
                bench.steps(5).await;
                assert_eq!(bench.user().list("").await.expect("lists"), ["a"]);
                bench.user().write("a/b", b"second").await.expect("writes");
            } else {
                bench.user().write("a", b"second").await.expect("writes");
            }
            bench.steps(5).await;
            assert_eq!(bench.user().list("").await.expect("lists"), ["a"]);
            bench.world.emulator.faults().remove(rule);
            let parked = bench.core().journal.view(|all| all.iter().map(|intent| intent.ino).collect::<Vec<_>>());
            for ino in parked {
                bench.core().journal.retry(ino).expect("retries");
            }
            for _ in 0..5 {
                bench.steps(10).await;
            }
            let names: Vec<String> = cloud_tree(bench.world.emulator.drive()).into_keys().collect();
            assert_eq!(names, if folder { vec!["a", "a/b"] } else { vec!["a"] }, "{:?}", bench.left());
        }
    }
}

/// The refusal is of the look at what became of the last fragment.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_that_arrived_though_something_was_refused_is_known_as_ours() {
    for flavour in FLAVOURS {
        for renamed in [false, true] {
            let bench = Bench::in_a_hurry(flavour).await;
            let bytes: Vec<u8> = (0..5_000_000u32).map(|i| (i >> 7) as u8).collect();
            bench.user().write("a", &bytes).await.expect("writes");
            let faults = bench.world.emulator.faults();
            faults.add(Rule::once("PUT", "*", Fault::Reset { when: When::After }).on(Host::Storage));
            faults.add(Rule::always("GET", "*", Fault::status(When::Before, 403, "accessDenied")));
            bench.steps(1).await;
            faults.clear();
            assert!(bench.world.emulator.drive().read_file("/a").is_some(), "it has arrived");
            if renamed {
                bench.user().rename("a", "b").await.expect("renames");
            } else {
                bench.user().unlink("a").await.expect("removes");
            }
            bench.core().poller.poll_now().await.expect("polls");
            let wanted: &[(&str, &[u8])] = if renamed { &[("b", &bytes)] } else { &[] };
            let here = bench.user().list("").await.expect("lists");
            assert_eq!(here, wanted.iter().map(|(name, _)| *name).collect::<Vec<_>>());
            bench.rests_with(wanted).await;
        }
    }
}

/// The item may stand where it was to go, though that is not wanted any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_lost_rename_may_have_taken_is_waited_for() {
    for flavour in FLAVOURS {
        for edited in [false, true] {
            let bench = Bench::in_a_hurry(flavour).await;
            bench.user().write("b", b"first").await.expect("writes");
            bench.steps(4).await;
            bench.user().rename("b", "a").await.expect("renames");
            bench.lose_answer("PATCH");
            bench.steps(1).await;
            bench.user().rename("a", "c").await.expect("renames");
            let first: &[u8] = if edited { b"edited" } else { b"first" };
            if edited {
                bench.user().write("c", first).await.expect("writes");
            }
            bench.user().write("a", b"second").await.expect("writes");
            // Done last, it is due last.
            bench.user().rename("c", "d").await.expect("renames");
            bench.steps(20).await;
            bench.rests_with(&[("a", b"second"), ("d", first)]).await;
        }
    }
}

/// Our own last version, which the deletion is based on, is not shown yet.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_does_not_come_back_because_a_version_before_is_shown() {
    for flavour in FLAVOURS {
        let bench = Bench::in_a_hurry(flavour).await;
        bench.user().write("a", b"first").await.expect("writes");
        bench.steps(4).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        bench.user().write("a", b"second").await.expect("writes");
        bench.lose_answer("PUT");
        let unavailable = Fault::status(When::Before, 503, "serviceNotAvailable");
        let rule = bench.world.emulator.faults().add(Rule::always("GET", "*", unavailable));
        bench.steps(1).await;
        bench.world.emulator.faults().remove(rule);
        bench.user().unlink("a").await.expect("removes");
        // Finds that the item has moved on, by our own doing.
        bench.steps(1).await;
        bench.world.emulator.drive().set_read_lag(ReadLag { states: Duration::from_secs(3), ..ReadLag::default() });
        bench.steps(2).await;
        assert_eq!(bench.user().list("").await.expect("lists"), [""; 0]);
        bench.rests_with(&[]).await;
    }
}

/// A folder was moved twice, and the first move went unanswered. Meanwhile another one is made in the place that it passed
/// through: it must not be taken for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_passes_through_a_name_is_not_joined_by_who_comes_after_it() {
    for side in SIDES {
        let world = World::new(side).await;
        let running = world.run().await;
        let user = User(&running.core);
        for folder in ["p", "q", "p/a"] {
            user.mkdir(folder).await.expect("makes");
        }
        user.write("p/a/old", b"old").await.expect("writes");
        running.settle().await;
        let faults = world.emulator.faults();
        let method = if side.live { "PUT" } else { "PATCH" };
        let lost = faults.add(Rule::once(method, "*", Fault::Reset { when: When::After }));
        user.rename("p/a", "p/b").await.expect("renames");
        for _ in 0..1000 {
            if faults.struck(lost) > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let stall = |millis| Fault::Stall { when: When::After, duration: Duration::from_millis(millis) };
        let id = world.emulator.drive().id("/p/b").expect("it is there");
        faults.add(Rule::once("PATCH", "*", stall(300)));
        faults.add(Rule::once("GET", &format!("*{id}/children*"), stall(900)));
        user.rename("p/b", "q/b").await.expect("moves");
        user.mkdir("p/b").await.expect("makes");
        user.write("p/b/new", b"new").await.expect("writes");
        running.settle().await;
        let names: Vec<String> = cloud_tree(world.emulator.drive()).into_keys().collect();
        assert_eq!(names, ["p", "p/b", "p/b/new", "q", "q/b", "q/b/old"], "{side:?}");
        time_passes(&running.core);
        running.core.poller.poll_now().await.expect("polls");
        assert_eq!(local_tree_of(&running.core).await.expect("lists"), cloud_tree(world.emulator.drive()), "{side:?}");
        running.stop().await;
    }
}

/// Where a move with a new name takes two steps, the item passes through the new folder under its old name.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_passes_through_a_name_is_nobody_elses() {
    for side in SIDES {
        let world = World::new(side).await;
        let running = world.run().await;
        let user = User(&running.core);
        user.mkdir("p").await.expect("makes");
        user.mkdir("q").await.expect("makes");
        user.write("p/c.txt", b"moved").await.expect("writes");
        running.settle().await;
        let stall = Fault::Stall { when: When::Before, duration: Duration::from_millis(700) };
        world.emulator.faults().add(Rule::once(if side.live { "PUT" } else { "PATCH" }, "*", stall));
        user.rename("p/c.txt", "q/a").await.expect("moves");
        tokio::time::sleep(Duration::from_millis(200)).await;
        user.write("q/c.txt", b"new").await.expect("writes");
        running.settle().await;
        let names: Vec<String> = cloud_tree(world.emulator.drive()).into_keys().collect();
        assert_eq!(names, ["p", "q", "q/a", "q/c.txt"], "{side:?}");
        running.stop().await;
    }
}

/// And has arrived by the time that the look which saw it there is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_seen_passing_through_a_name_is_nobody_elses() {
    let mut world = World::new(Side::LIVE).await;
    world.debounce = Duration::ZERO;
    let core = world.open().await;
    core.prepare().await;
    let (user, faults) = (User(&core), world.emulator.faults());
    let rest = async || {
        for _ in 0..20 {
            core.journal.retry_all().expect("the journal takes it");
            while core.uploader.step().await {}
        }
    };
    user.mkdir("p").await.expect("makes");
    user.mkdir("q").await.expect("makes");
    user.write("p/c.txt", b"moved").await.expect("writes");
    rest().await;
    let stall = |when, millis| Fault::Stall { when, duration: Duration::from_millis(millis) };
    let renamed = faults.add(Rule::once("PUT", "*", stall(When::Before, 600)));
    user.rename("p/c.txt", "q/a").await.expect("moves");
    let newcomer = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        user.write("q/c.txt", b"new").await.expect("writes");
        // The first listing says that the name is taken, the second by what.
        let id = world.emulator.drive().id("/q").expect("it is there");
        let number = id.rsplit('!').next().expect("a number");
        let seen = faults.add(Rule::once("GET", &format!("*!{number}/files*"), stall(When::After, 900)).skip(1));
        core.uploader.step().await;
        seen
    };
    let (_, seen) = tokio::join!(core.uploader.step(), newcomer);
    assert_eq!((faults.struck(renamed), faults.struck(seen)), (1, 1), "it was seen on its way");
    rest().await;
    let names: Vec<String> = cloud_tree(world.emulator.drive()).into_keys().collect();
    assert_eq!(names, ["p", "q", "q/a", "q/c.txt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_damaged_on_the_way_says_so_until_it_is_there() {
    for flavour in FLAVOURS {
        let bench = Bench::in_a_hurry(flavour).await;
        bench.user().write("a", b"as it was written").await.expect("writes");
        bench.world.emulator.faults().add(Rule::once("PUT", "*", Fault::CorruptUpload { at: 3 }));
        bench.steps(1).await;
        assert_ne!(bench.world.emulator.drive().read_file("/a").as_deref(), Some(&b"as it was written"[..]));
        let left = bench.left().join("\n");
        assert!(left.contains("stored other bytes than were sent"), "{left}");
        bench.steps(10).await;
        assert_eq!(bench.world.emulator.drive().read_file("/a").as_deref(), Some(&b"as it was written"[..]));
        assert!(bench.left().is_empty(), "{:?}", bench.left());
    }
}

/// All empty versions are the same, and one that we have sent is ours where there are no hashes, too.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_version_that_went_unanswered_is_ours() {
    for side in SIDES {
        for before in [None, Some(b"first")] {
            for then in ["write", "rename", "unlink"] {
                println!("{side:?}, {before:?}, {then}");
                let bench = Bench::in_a_hurry(side).await;
                if let Some(before) = before {
                    bench.user().write("a", before).await.expect("writes");
                    bench.steps(3).await;
                }
                bench.user().write("a", b"").await.expect("writes");
                bench.lose_answer("PUT");
                let faults = bench.world.emulator.faults().clone();
                let blind = move || {
                    let unavailable = Fault::status(When::Before, 503, "serviceNotAvailable");
                    faults.add(Rule::always("GET", "*", unavailable));
                };
                bench.once_after(|moment| moment.method == "PUT", blind);
                bench.steps(1).await;
                bench.world.emulator.faults().clear();
                let wanted: &[(&str, &[u8])] = match then {
                    "write" => {
                        bench.user().write("a", b"more").await.expect("writes");
                        &[("a", b"more")]
                    }
                    "rename" => {
                        bench.user().rename("a", "b").await.expect("renames");
                        &[("b", b"")]
                    }
                    _ => {
                        bench.user().unlink("a").await.expect("removes");
                        &[]
                    }
                };
                bench.rests_with(wanted).await;
            }
        }
    }
}

/// The list of what is in the cloud has heard that a folder is gone, and the program dies before it has looked whether there
/// is work in it.
#[tokio::test(flavor = "multi_thread")]
async fn unsent_work_in_a_folder_that_has_just_gone_is_found_by_the_next_start() {
    for side in SIDES {
        let mut world = World::new(side).await;
        world.debounce = Duration::from_millis(3);
        world.emulator.drive().create_file("/above/d/theirs", "theirs");
        {
            let core = world.open().await;
            core.poller.poll_now().await.expect("polls");
            let user = User(&core);
            let ino = user.walk("above/d").await.expect("there");
            user.list("above/d").await.expect("lists");
            user.write("above/d/ours", b"ours").await.expect("writes");
            let folder = core.index.by_ino(ino).expect("an index").expect("known").id;
            world.emulator.drive().remove("/above/d");
            core.index.write(|txn| txn.remove(&folder)).expect("writes");
        }
        let running = world.run().await;
        let user = User(&running.core);
        assert_eq!(user.read("above/d/ours").await.expect("in its place"), b"ours", "{side:?}");
        running.settle().await;
        assert_eq!(world.emulator.drive().read_file("/above/d/ours").as_deref(), Some(&b"ours"[..]), "{side:?}");
        assert_eq!(world.emulator.drive().read_file("/above/d/theirs"), None, "{side:?}");
        running.stop().await;
    }
}
