//! An edit of a part of a file is sent together with the rest, and the rest may be damaged on its way here: in the
//! cloud it would become the current version, with a hash that fits it. What arrives must be the file with the edit and nothing
//! else.

use std::time::Duration;

use onedrive_mount::emulator::{Fault, Host, Rule};
use onedrive_mount::volume::VolumeError;

use crate::world::ops::cloud_tree;
use crate::world::side::Side;
use crate::world::{Running, User, World, eventually};

const SIZE: usize = 3 << 20;
const EDIT: &[u8] = b"what the user wrote";

fn content() -> Vec<u8> {
    (0..SIZE as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 23) as u8).collect()
}

fn edited(at: usize) -> Vec<u8> {
    let mut bytes = content();
    bytes.resize(SIZE.max(at + EDIT.len()), 0);
    bytes[at..at + EDIT.len()].copy_from_slice(EDIT);
    bytes
}

fn damage(at: u64) -> Fault {
    Fault::Corrupt { at }
}

/// A drive with a file, the beginning of which was read a moment ago and has come damaged.
async fn a_part_came_damaged() -> (World, Running) {
    let world = World::new(Side::PERSONAL).await;
    world.emulator.drive().create_file("/big.bin", content());
    let running = world.run().await;
    world.emulator.faults().add(Rule::once("GET", "*", damage(50_000)).on(Host::Storage));
    User(&running.core).read_start("big.bin", 1 << 20).await.expect("reads");
    (world, running)
}

/// All versions that the file ever had in the cloud are ones that somebody wrote.
fn only_these(world: &World, path: &str, wanted: &[Vec<u8>]) {
    let drive = world.emulator.drive();
    assert!(drive.read_file(path).as_ref() == wanted.last(), "{path} is not what the user made of it");
    assert!(drive.versions(path).iter().all(|version| wanted.contains(version)), "{path} was something else before");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_a_part_is_sent_with_the_rest_as_the_cloud_has_it() {
    for flavour in [Side::PERSONAL, Side::BUSINESS] {
        for at in [SIZE, SIZE / 2, 100] {
            for times in [1, 2] {
                let world = World::new(flavour).await;
                world.emulator.drive().create_file("/big.bin", content());
                let running = world.run().await;
                for number in 0..times {
                    let rule = Rule::once("GET", "*", damage(1_000_000 + number)).on(Host::Storage);
                    world.emulator.faults().add(rule);
                }
                User(&running.core).patch("big.bin", at as u64, EDIT).await.expect("writes");
                running.settle().await;
                only_these(&world, "/big.bin", &[content(), edited(at)]);
                let user = User(&running.core);
                assert!(user.read("big.bin").await.expect("reads") == edited(at));
                running.stop().await;
            }
        }
    }
}

/// The edit begins with what was read a moment ago, before anybody could compare it.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_begins_with_damaged_bytes_from_the_cache_is_sent_with_the_right_ones() {
    for at in [SIZE, SIZE / 2] {
        let (world, running) = a_part_came_damaged().await;
        let user = User(&running.core);
        // Only a part is here, of which nothing can be said.
        user.patch("big.bin", at as u64, EDIT).await.expect("writes");
        running.settle().await;
        only_these(&world, "/big.bin", &[content(), edited(at)]);
        assert!(user.read("big.bin").await.expect("reads") == edited(at));
        running.stop().await;
    }
}

/// What comes the same twice is what the service has: it names wrong hashes of documents that it edits itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_a_file_whose_hash_the_service_has_wrong_is_sent() {
    let world = World::new(Side::BUSINESS).await;
    world.emulator.drive().create_file("/big.bin", content());
    let running = world.run().await;
    world.emulator.faults().add(Rule::always("GET", "*", damage(1_000_000)).on(Host::Storage));
    User(&running.core).patch("big.bin", SIZE as u64, EDIT).await.expect("writes");
    running.settle().await;
    let mut wanted = edited(SIZE);
    let sent = world.emulator.drive().read_file("/big.bin").expect("there");
    wanted[1_000_000] = sent[1_000_000];
    assert!(sent == wanted, "the edit arrived");
    running.stop().await;
}

/// The edit goes on while the first part of it is being sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_further_edit_starts_from_what_was_compared() {
    let (world, running) = a_part_came_damaged().await;
    let user = User(&running.core);
    user.patch("big.bin", SIZE as u64 / 2, EDIT).await.expect("writes");
    user.patch("big.bin", 100, EDIT).await.expect("writes");
    running.settle().await;
    let mut wanted = edited(SIZE / 2);
    wanted[100..100 + EDIT.len()].copy_from_slice(EDIT);
    only_these(&world, "/big.bin", &[content(), edited(SIZE / 2), wanted.clone()]);
    running.stop().await;
}

/// Its own item goes when it takes the place of another: nothing that it has may be given back then to be fetched again.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_hash_the_service_has_wrong_can_take_the_place_of_another() {
    let world = World::new(Side::BUSINESS).await;
    world.emulator.drive().create_file("/document", content());
    world.emulator.drive().create_file("/backup", b"older".to_vec());
    world.emulator.faults().add(Rule::always("GET", "*", damage(1_000_000)).on(Host::Storage));
    let running = world.run().await;
    let mut served = content();
    for _ in 0..4 {
        served = User(&running.core).read("document").await.expect("reads");
        // It is compared after it was handed out.
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert!(served != content(), "the service says so each time");
    running.stop().await;
    // What it has found out about the hash is forgotten.
    let running = world.run().await;
    User(&running.core).rename("document", "backup").await.expect("moves over");
    running.settle().await;
    assert!(world.emulator.drive().read_file("/backup") == Some(served));
    assert_eq!(world.emulator.drive().read_file("/document"), None);
    running.stop().await;
}

/// What was edited here and replaced elsewhere is kept beside it, whatever the service says of its hash.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_a_file_whose_hash_the_service_has_wrong_and_that_is_replaced_is_kept() {
    let world = World::new(Side::BUSINESS).await;
    world.emulator.drive().create_file("/document", content());
    let faults = world.emulator.faults();
    let wrong = faults.add(Rule::always("GET", "*", damage(1_000_000)).on(Host::Storage));
    let core = world.open().await;
    core.prepare().await;
    let user = User(&core);
    user.list("").await.expect("lists");
    user.read("document").await.expect("reads");
    user.patch("document", 100, EDIT).await.expect("writes");
    world.emulator.drive().write_file("/document", b"theirs".to_vec());
    eventually("both are there", async || {
        core.journal.retry_all().expect("the journal takes it");
        while core.uploader.step().await {}
        core.poller.poll_now().await.expect("polls");
        core.journal.backlog() == (0, 0)
    })
    .await;
    faults.remove(wrong);
    let files = cloud_tree(world.emulator.drive());
    assert_eq!(files.len(), 2, "{:?}", files.keys());
    assert_eq!(world.emulator.drive().read_file("/document").as_deref(), Some(&b"theirs"[..]));
}

/// Its edited part is kept for the user, who is told what happened; the rest is gone, and not the file.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_a_part_of_what_is_gone_says_so_and_is_still_a_file() {
    for side in [Side::PERSONAL, Side::BUSINESS, Side::LIVE] {
        let world = World::new(side).await;
        world.emulator.drive().create_file("/document", content());
        let running = world.run().await;
        let user = User(&running.core);
        user.list("").await.expect("lists");
        world.emulator.set_online(false);
        user.patch("document", 100, EDIT).await.expect("writes");
        world.emulator.drive().remove("/document");
        world.emulator.set_online(true);
        running.core.journal.retry_all().expect("tries again");
        eventually("it is parked", async || running.core.journal.backlog() == (0, 1)).await;
        let why = running.core.journal.view(|all| all.iter().find_map(|intent| intent.last_error.clone()));
        assert!(why.as_ref().is_some_and(|why| why.contains("deleted elsewhere")), "{side:?}: {why:?}");
        assert_eq!(user.list("").await.expect("lists"), ["document"]);
        let read = user.read("document").await;
        assert!(matches!(read, Err(VolumeError::Stale)), "{side:?}: {read:?}");
        running.stop().await;
    }
}
