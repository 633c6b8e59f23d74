//! Death at every point: the daemon dies at the n-th change of its disk or the n-th moment of an exchange with the
//! service, before it acted or after, whichever comes. What it left is taken as it is at that instant, and a new daemon
//! starts on it.
//!
//! Every operation that had returned is there at once, whole and in its place; the one that was under way is there or
//! not, never half. When all has come to rest the cloud has exactly the same tree: nothing twice, nothing deleted that
//! nobody deleted. Long contents go by upload sessions, in many fragments; now and then another device acts, and the
//! death may come while its change is applied.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use onedrive_mount::emulator::{Course, Flavour};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::volume_model::local_tree_of;
use crate::world::disk::{Behind, Counter};
use crate::world::generated::{self, Dice};
use crate::world::model::Model;
use crate::world::ops::{self, Op, cloud_tree, op, outcomes};
use crate::world::side::Side;
use crate::world::{MANY_FRAGMENTS, Running, User, World, time_passes};

/// Where the count stands, and what is to happen at its end.
struct Fate {
    left: AtomicU64,
    /// The picture is being taken: what returns from now on may be on it or not.
    dying: AtomicBool,
    dead: AtomicBool,
    /// Held while the picture is taken, so that nothing moves meanwhile.
    picture: Mutex<()>,
    home: std::path::PathBuf,
    remains: std::path::PathBuf,
}

impl Fate {
    /// One more point is reached; at the last one the folders are copied as they are.
    fn reach(&self) {
        if self.dead.load(Ordering::Acquire) {
            return;
        }
        let _turn = self.picture.lock().expect("nobody panics with it");
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.dying.store(true, Ordering::Release);
            copy(&self.home, &self.remains);
            self.dead.store(true, Ordering::Release);
        }
    }
}

/// A picture of a folder as it is at one instant. Threads that do not pass the disk's door go on meanwhile, on a busy
/// machine for long enough to make a picture of what never was together; so it counts only if nothing has moved.
fn copy(from: &Path, to: &Path) {
    for _ in 0..100 {
        let before = contents(from);
        if contents(from) == before {
            for (path, content) in before {
                let target = to.join(path);
                std::fs::create_dir_all(target.parent().expect("below a folder")).expect("a folder");
                match content {
                    Some(bytes) => std::fs::write(target, bytes).expect("a copy"),
                    None => std::fs::create_dir_all(target).expect("a folder"),
                }
            }
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("{} never rests", from.display());
}

/// All files of a folder with their bytes, and its folders; not what SQLite shares between processes.
fn contents(top: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        // At the end of a case the folder goes under the feet of a thread that still ticks.
        for entry in std::fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok) {
            let (path, below) = (entry.path(), |path: &Path| path.strip_prefix(top).expect("below it").to_owned());
            if path.is_dir() {
                found.insert(below(&path), None);
                folders.push(path);
            } else if !path.to_string_lossy().ends_with("-shm") {
                // It may have been removed since the listing.
                let Ok(bytes) = std::fs::read(&path) else { continue };
                found.insert(below(&path), Some(bytes));
            }
        }
    }
    found
}

async fn start(world: &World, home: &Path, disk: Arc<dyn onedrive_mount::base::disk::Disk>) -> Running {
    let core = world.open_with(world.remote(), home, disk, 0).await;
    world.run_core(core).await
}

/// Until it is dead. Whatever it still does then, it does in a world that is gone.
async fn death(fate: &Fate) {
    while !fate.dead.load(Ordering::Acquire) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// Until everything is in the cloud, or the death begins.
async fn rest(running: &Running, fate: &Fate) {
    for _ in 0..2000 {
        if running.core.journal.backlog() == (0, 0) || fate.dying.load(Ordering::Acquire) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Plays until death or the end; whether there was a death.
async fn play(flavour: Side, point: u64, ops: &[Op]) -> Result<bool, TestCaseError> {
    let mut world = World::new(flavour).await;
    world.debounce = Duration::from_millis(5);
    world.how = MANY_FRAGMENTS;
    let first = world.home.path().join("first");
    let remains = world.home.path().join("remains");
    let fate = Arc::new(Fate {
        left: AtomicU64::new(u64::MAX),
        dying: AtomicBool::new(false),
        dead: AtomicBool::new(false),
        picture: Mutex::new(()),
        home: first.clone(),
        remains: remains.clone(),
    });
    let (disk_fate, exchange_fate) = (fate.clone(), fate.clone());
    let running = start(&world, &first, Arc::new(Behind(Arc::new(Counter(move || disk_fate.reach()))))).await;
    fate.left.store(point, Ordering::Release);
    world.emulator.set_witness(Some(Arc::new(move |_| {
        exchange_fate.reach();
        if exchange_fate.dead.load(Ordering::Acquire) { Course::Vanish } else { Course::Go }
    })));

    let mut possible = vec![Model::default()];
    let mut news_under_way = false;
    for op in ops {
        let mut model = possible.swap_remove(1.min(possible.len() - 1));
        if let Op::Elsewhere(remote) = op {
            rest(&running, &fate).await;
            if !fate.dying.load(Ordering::Acquire) {
                // What we have just made ourselves may be missing for a moment, and is not taken for gone.
                time_passes(&running.core);
                ops::play_elsewhere(world.emulator.drive(), &mut model, remote);
                let polled = tokio::select! {
                    polled = running.core.poller.poll_now() => Some(polled),
                    () = death(&fate) => None,
                };
                news_under_way = fate.dying.load(Ordering::Acquire);
                prop_assert!(news_under_way || matches!(polled, Some(Ok(_))), "polling: {polled:?}, which is no death");
            }
            possible = vec![model];
            if fate.dying.load(Ordering::Acquire) {
                break;
            }
            continue;
        }
        possible = outcomes(&model, op);
        let (user, mut reference) = (User(&running.core), model);
        let result = tokio::select! {
            result = user.carry_out(op) => Some(result),
            () = death(&fate) => None,
        };
        if let Some(result) = result
            && !fate.dying.load(Ordering::Acquire)
        {
            let expected = ops::play(&mut reference, op);
            let refused = expected.is_err() || matches!(op, Op::Read(_));
            prop_assert!(result.is_ok() || refused, "{op:?}: {result:?}, which is no death");
        }
        if matches!(op, Op::Settle) && !fate.dying.load(Ordering::Acquire) {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        if fate.dying.load(Ordering::Acquire) {
            break;
        }
    }
    let mut died = fate.dying.load(Ordering::Acquire);
    if !died {
        // The rest of the points lies in what the uploader does.
        let model = possible.swap_remove(1.min(possible.len() - 1));
        possible = vec![model];
        rest(&running, &fate).await;
        died = fate.dying.load(Ordering::Acquire);
    }
    while died && !fate.dead.load(Ordering::Acquire) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if !died {
        // No death any more while it is taken down.
        fate.dead.store(true, Ordering::Release);
    }
    let home = if died { remains } else { first };
    running.kill().await;
    world.forget_connections().await;
    world.emulator.set_witness(None);

    let running = start(&world, &home, onedrive_mount::base::disk::RealDisk::shared()).await;
    if news_under_way {
        // What another device did is promised with the next look at the service, not before.
        time_passes(&running.core);
        running.core.poller.poll_now().await.map_err(|error| TestCaseError::fail(format!("polling: {error}")))?;
    }
    let local = local_tree_of(&running.core).await.map_err(|error| TestCaseError::fail(format!("listing: {error}")))?;
    let known = possible.clone();
    let found = possible.into_iter().find(|model| model.0 == local);
    let Some(model) = found else {
        let recovered = &running.core.recovered;
        return Err(TestCaseError::fail(
            format!("after the death: {local:?}, not one of {known:?}; {recovered:?}")
                .chars()
                .take(6000)
                .collect::<String>(),
        ));
    };
    if died && tokio::time::timeout(Duration::from_secs(20), running.settle()).await.is_err() {
        // A work drive keeps a name taken for a quarter of an hour by an upload session whose address died with the daemon
        // that had just got it. That time is over now.
        world.emulator.drive().lose_sessions();
        let _ = running.core.journal.retry_all();
    }
    running.settle().await;
    running.core.poller.poll_now().await.map_err(|error| TestCaseError::fail(format!("polling: {error}")))?;
    let local = local_tree_of(&running.core).await.map_err(|error| TestCaseError::fail(format!("listing: {error}")))?;
    prop_assert_eq!(&local, &model.0, "here");
    prop_assert_eq!(&cloud_tree(world.emulator.drive()), &model.0, "the cloud");
    running.stop().await;
    Ok(died)
}

fn run(flavour: Side, cases: u32) {
    let runtime = generated::runtime(2);
    let deaths = AtomicU64::new(0);
    // The death has a place of its own. Others act only while we rest: what happens else has a test of its own.
    let ours = op().prop_filter("no death", |op| !matches!(op, Op::Restart | Op::Kill));
    let point = prop_oneof![3 => 1..40u64, 1 => 40..120u64];
    let input = (point, prop::collection::vec(ours, 4..30), any::<u64>());
    generated::run("CRASH_CASES", cases, 200, &input, |(point, mut ops, seed)| {
        let mut dice = Dice(seed);
        ops.iter_mut().for_each(|op| ops::lengthen(op, 16, &mut dice));
        let died = runtime.block_on(play(flavour, point, &ops))?;
        deaths.fetch_add(u64::from(died), Ordering::Relaxed);
        Ok(())
    })
    .unwrap_or_else(|error| panic!("{error}"));
    let deaths = deaths.into_inner();
    println!("crash points, {flavour:?}: {deaths} deaths, nothing lost");
    assert!(deaths > 0, "no point was reached");
}

#[test]
fn a_death_at_any_point_loses_nothing_on_a_personal_drive() {
    run(Flavour::PersonalNew.into(), 40);
}

#[test]
fn a_death_at_any_point_loses_nothing_on_a_business_drive() {
    run(Flavour::Business.into(), 40);
}

#[test]
fn a_death_at_any_point_loses_nothing_on_live_connect() {
    run(Side::LIVE, 30);
}

/// One long content, and a death at each point of its way into the cloud.
#[test]
fn a_death_at_each_point_of_a_long_upload_loses_nothing() {
    let runtime = generated::runtime(2);
    let ops = [Op::Write("b".into(), (0..5_300_000_u32).map(|at| (at ^ (at >> 9)) as u8).collect())];
    for flavour in [Side::PERSONAL, Side::BUSINESS, Side::LIVE] {
        let mut deaths = 0;
        while runtime.block_on(play(flavour, deaths + 1, &ops)).unwrap_or_else(|error| panic!("{flavour:?}: {error}")) {
            deaths += 1;
        }
        println!("crash points, {flavour:?}: {deaths} deaths, nothing lost");
        assert!(deaths > 10, "{flavour:?}: {deaths}");
    }
}
