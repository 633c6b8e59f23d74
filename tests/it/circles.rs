//! Moves that wait for each other in the cloud: what the user did at leisure is to be sent in one go.

use std::collections::BTreeSet;

use onedrive_mount::emulator::Network;

use crate::late::{Bench, FLAVOURS};
use crate::world::ops::cloud_tree;

/// Makes `before`, lets it reach the cloud, does what is to be done without a network, and compares.
async fn ends_with(before: &[&str], moves: &[&str], after: &[&str]) {
    for flavour in FLAVOURS {
        let bench = Bench::in_a_hurry(flavour).await;
        for path in before {
            match path.strip_suffix('/') {
                Some(folder) => bench.user().mkdir(folder).await.expect("makes"),
                None => bench.user().write(path, path.as_bytes()).await.expect("writes"),
            }
        }
        bench.steps(30).await;
        bench.world.emulator.set_network(Network::Refusing);
        for call in moves {
            let (what, path) = call.split_once(' ').expect("a call");
            match what {
                "mkdir" => bench.user().mkdir(path).await,
                "rmdir" => bench.user().rmdir(path).await,
                _ => {
                    let (from, to) = path.split_once(' ').expect("two paths");
                    bench.user().rename(from, to).await
                }
            }
            .unwrap_or_else(|error| panic!("{call}: {error}"));
        }
        let wanted: BTreeSet<String> = after.iter().map(|path| (*path).to_owned()).collect();
        let here = crate::volume_model::local_tree_of(bench.core()).await.expect("lists");
        assert_eq!(here.into_keys().collect::<BTreeSet<_>>(), wanted, "the mount");
        bench.world.emulator.set_network(Network::Up);
        for _ in 0..4 {
            bench.steps(30).await;
            bench.core().poller.poll_now().await.expect("polls");
        }
        let cloud = cloud_tree(bench.world.emulator.drive());
        assert_eq!(cloud.into_keys().collect::<BTreeSet<_>>(), wanted, "the cloud; left {:?}", bench.left());
        let here = crate::volume_model::local_tree_of(bench.core()).await.expect("lists");
        assert_eq!(here.into_keys().collect::<BTreeSet<_>>(), wanted, "the mount");
        assert!(bench.left().is_empty(), "{:?}", bench.left());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_goes_into_a_new_one_of_its_name() {
    ends_with(&["a/", "a/x"], &["mv a t", "mkdir a", "mv t a/b"], &["a", "a/b", "a/b/x"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_folder_with_the_content_of_one_takes_its_name() {
    let moves = ["mkdir e", "mv d/x e/x", "mv d/f e/f", "rmdir d", "mv e d"];
    ends_with(&["d/", "d/x", "d/f/", "d/f/y"], &moves, &["d", "d/f", "d/f/y", "d/x"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_folder_held_takes_its_place() {
    ends_with(&["d/", "d/x"], &["mv d/x t", "rmdir d", "mv t d"], &["d"]).await;
    ends_with(&["d/", "d/d/", "d/d/x"], &["mv d/d t", "rmdir d", "mv t d"], &["d", "d/x"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_change_places_across_folders() {
    let before = ["p/", "q/", "p/a", "q/b", "c"];
    let moves = ["mv p/a t", "mv q/b p/a", "mv c q/b", "mv t c"];
    ends_with(&before, &moves, &["c", "p", "p/a", "q", "q/b"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_and_what_it_holds_change_places() {
    let moves = ["mv a/b t", "mv a t/a", "mv t b", "mv b a"];
    ends_with(&["a/", "a/b/", "a/b/x", "a/y"], &moves, &["a", "a/a", "a/a/y", "a/x"]).await;
}
