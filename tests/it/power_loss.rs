//! Power loss at every moment of random work: of what was not synced any part is lost, torn or out of order.
//!
//! Without a network the tree that is found is exactly that of some moment between the last `fsync` that returned and
//! the loss, except that a file whose newest content had not been synced may have an older one, or be gone if it was
//! new: never a torn one. What a handle writes in place after an `fsync` may be there in any part. With a cloud at the other end, what had been synced is found with acceptable content, here or
//! there, and after a while both sides have the same tree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use onedrive_mount::daemon::core::Core;
use onedrive_mount::emulator::{Course, Flavour, Network, When};
use onedrive_mount::journal::Piece;
use onedrive_mount::remote::{DriveIdentity, SharedRemote};
use onedrive_mount::volume::VolumeError;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

mod expected;
mod steps;

use expected::{Found, Shadow, is_of, missing};
use steps::{Part, Step, carry_out, steps};

use crate::world::clock::FastClock;
use crate::world::generated::{self, Dice};
use crate::world::model::{Model, Node};
use crate::world::ops::{self, Op, cloud_tree};
use crate::world::power::{Film, FilmedDisk};
use crate::world::side::Side;
use crate::world::{MANY_FRAGMENTS, Running, User, World, time_passes};

async fn look(core: &Core) -> Result<Found, TestCaseError> {
    let user = User(core);
    let mut tree = Found::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let names = match user.list(&folder).await {
            // Its listing was lost; it comes back with the network.
            Err(VolumeError::Offline) => continue,
            names => names,
        };
        let names = names.map_err(|error| TestCaseError::fail(format!("listing “{folder}”: {error:?}")))?;
        for name in names {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let node = match user.read(&path).await {
                Ok(bytes) => Some(Node::File(bytes)),
                Err(VolumeError::IsAFolder) => {
                    folders.push(path.clone());
                    Some(Node::Folder)
                }
                Err(VolumeError::Offline) => None,
                Err(error) => return Err(TestCaseError::fail(format!("reading {path}: {error:?}"))),
            };
            tree.insert(path, node);
        }
    }
    Ok(tree)
}

/// What is in the journal. What an edit does not have here is that of its base, one of the contents that the cloud keeps.
fn waiting(core: &Core, former: &BTreeSet<Vec<u8>>) -> Vec<Vec<u8>> {
    let ids: Vec<_> = core.journal.view(|all| all.iter().filter_map(|intent| intent.sealed).collect());
    let mut found = Vec::new();
    for draft in ids.into_iter().filter_map(|id| core.journal.draft(id)) {
        let Ok(pieces) = draft.read(0..draft.size()) else { continue };
        let of = |base: &[u8]| {
            let bytes = pieces.iter().map(|piece| match piece {
                Piece::Here(bytes) => Some(&bytes[..]),
                Piece::Base(range) => base.get(range.start as usize..range.end as usize),
            });
            Some(bytes.collect::<Option<Vec<_>>>()?.concat())
        };
        match draft.base().filter(|_| !draft.missing().is_empty()) {
            None => found.extend(of(&[])),
            Some(base) => {
                found.extend(
                    former.iter().filter(|whole| whole.len() as u64 == base.size).filter_map(|whole| of(whole)),
                );
            }
        }
    }
    found
}

/// A piece of work, on film.
struct Take {
    world: World,
    identity: DriveIdentity,
    film: Arc<Film>,
    steps: Vec<Step>,
    /// The reference before the first step, and after each.
    states: Vec<Model>,
    succeeded: Vec<bool>,
    /// When each step began and had returned.
    times: Vec<(usize, usize)>,
    /// What the cloud had, from which moment on.
    cloud: Vec<(usize, BTreeSet<Vec<u8>>)>,
}

fn fast_home() -> tempfile::TempDir {
    // Thousands of small files: in memory where there is such a place.
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

/// A failure in few words: of long contents only the beginning.
fn clip(text: String) -> TestCaseError {
    let mut short = String::new();
    for piece in text.split_inclusive(']') {
        let (before, numbers) = piece.rsplit_once('[').unwrap_or((piece, ""));
        short.push_str(before);
        if numbers.len() > 20 && numbers.chars().all(|c| c.is_ascii_digit() || ", ]".contains(c)) {
            short.push_str(&format!("[{}… {}]", &numbers[..12], numbers.matches(',').count() + 1));
        } else if before.len() < piece.len() {
            short.push('[');
            short.push_str(numbers);
        }
    }
    TestCaseError::fail(short.chars().take(5000).collect::<String>())
}

impl Take {
    async fn shoot(flavour: Side, steps: Vec<Step>, online: bool, end: Option<usize>) -> Result<Self, TestCaseError> {
        let mut world = World::new(flavour).await;
        world.home = fast_home();
        world.debounce = Duration::from_millis(3);
        world.how = MANY_FRAGMENTS;
        let remote = world.remote();
        let identity = remote.identity().await.expect("a drive");
        {
            // The root becomes known, everything comes to rest.
            let running = world.run().await;
            User(&running.core).list("").await.expect("the root");
            running.stop().await;
        }
        let core = world.open_as(remote.clone(), identity.clone(), world.home.path());
        core.journal.sync().await.expect("safe");
        drop(core);
        tokio::time::sleep(Duration::from_millis(20)).await;

        let film = Film::begin(world.home.path());
        let mut disk = FilmedDisk::of(&film);
        let core = world.open_with(remote.clone(), world.home.path(), Arc::new(disk.clone()), 0).await;
        let cloud = Arc::new(Mutex::new(vec![(0, BTreeSet::new())]));
        let mut running = if online { Ok(world.run_core(core).await) } else { Err(core) };
        {
            let (drive, film, cloud) = (world.emulator.drive().clone(), film.clone(), cloud.clone());
            world.emulator.set_witness(Some(Arc::new(move |moment| {
                if film.has_ended() {
                    // The power has failed: nothing leaves this machine any more.
                    return Course::Vanish;
                }
                if moment.when == When::After && moment.method != "GET" {
                    // Two that end at the same time must not write down the older state last.
                    let mut cloud = cloud.lock().expect("no panic");
                    let contents = contents_of(&cloud_tree(&drive));
                    cloud.push((film.now(), contents));
                }
                Course::Go
            })));
        }
        film.end_at(end);
        let mut open = None;
        let mut states = vec![Model::default()];
        let (mut times, mut succeeded) = (Vec::new(), Vec::new());
        for step in &steps {
            let began = film.now();
            if film.has_ended() {
                break;
            }
            if matches!(step, Step::Die) {
                // What it has begun it does not finish: its disk is gone. It is dropped, and waited for until its last
                // thread has ended, or that would go on writing to the log that the next one has.
                let held = film.hold_databases();
                world.emulator.set_network(Network::Refusing);
                disk.die();
                match running {
                    Ok(running) => running.kill().await,
                    Err(core) => drop(core),
                }
                let waited = disk.deserted().await;
                if waited > Duration::from_millis(2) {
                    println!("a dead daemon went on for {waited:?}");
                }
                disk = FilmedDisk::of(&film);
                let (remote, disk) = (remote.clone(), Arc::new(disk.clone()));
                let core = world.open_parts(remote, identity.clone(), world.home.path(), disk, 0, "this boot");
                drop(held);
                world.forget_connections().await;
                running = if online { Ok(world.run_core(core).await) } else { Err(core) };
            }
            let core = match &running {
                Ok(Running { core, .. }) | Err(core) => core,
            };
            // What is cut off by the end has happened or not; both are among what may be found.
            let result = tokio::select! {
                result = carry_out(core, step, &mut open) => result,
                () = film.ended() => Ok(()),
            };
            let mut model = states.last().expect("one").clone();
            if result.is_ok() {
                step.play(&mut model);
            }
            succeeded.push(result.is_ok());
            // What ends after the film promises nothing in it.
            let ended = film.now();
            times.push((began, if film.has_ended() { usize::MAX } else { ended }));
            states.push(model);
        }
        film.stop();
        match running {
            Ok(running) => running.kill().await,
            Err(core) => drop(core),
        }
        world.emulator.set_witness(None);
        // Whatever waits after the loss waits only for what is over by then.
        world.clock = Arc::new(FastClock::from_today(10));
        let cloud = std::mem::take(&mut *cloud.lock().expect("no panic"));
        Ok(Self { world, identity, film, steps, states, succeeded, times, cloud })
    }

    /// The references from the last moment that was safe until this one.
    fn shadows(&self, moment: usize) -> Vec<Shadow> {
        let begun = self.times.iter().filter(|(began, _)| *began < moment).count();
        let safe = (0..begun)
            .rev()
            .find(|at| self.steps[*at].is_sync() && self.succeeded[*at] && self.times[*at].1 <= moment)
            .map_or(0, |at| at + 1);
        let mut shadow = Shadow::of(&self.states[safe]);
        let mut shadows = vec![shadow.clone()];
        for at in safe..begun {
            if self.succeeded[at] {
                shadow.play(&self.steps[at], &self.states[at + 1]);
            }
            shadows.push(shadow.clone());
        }
        shadows
    }

    /// What the cloud had until this moment.
    fn former(&self, moment: usize) -> BTreeSet<Vec<u8>> {
        self.cloud.iter().filter(|(from, _)| *from <= moment).flat_map(|(_, there)| there.clone()).collect()
    }

    fn cloud_at(&self, moment: usize) -> &BTreeSet<Vec<u8>> {
        let at = self.cloud.iter().rposition(|(from, _)| *from <= moment).unwrap_or(0);
        &self.cloud[at].1
    }

    /// Lets the power fail at this moment and looks at what a new start finds, without a network.
    async fn fail_at(
        &self,
        moment: usize,
        seed: u64,
        online: bool,
        nobody: &SharedRemote,
    ) -> Result<(), TestCaseError> {
        let mut dice = Dice(seed);
        let home = fast_home();
        // The index is only a copy of what the cloud says, and in it everything after its last checkpoint may be lost.
        let whole: &[&str] = if online && dice.coin() { &["state/index"] } else { &[] };
        self.film.survive(moment, &mut dice, whole, home.path());
        let core = self.world.open_after_boot(nobody.clone(), self.identity.clone(), home.path());
        let found = look(&core).await.map_err(|error| {
            clip(format!(
                "moment {moment}, seed {seed}: {error}; {:?}; {:?}",
                core.recovered,
                core.journal.view(|all| all.iter().cloned().collect::<Vec<_>>())
            ))
        })?;
        core.journal.close();
        let shadows = self.shadows(moment);
        let explain = |what: &str| {
            let window: Vec<_> = shadows.iter().map(|shadow| &shadow.tree.0).collect();
            let steps = &self.steps[..self.times.iter().filter(|(began, _)| *began < moment).count()];
            clip(format!(
                "moment {moment} of {}, seed {seed}: {what}\nfound {found:?}\nrecovered {:?}\nlast steps {:?}\nwindow {window:?}\nfiles {:?}\ncloud {:?}\njournal {:?}",
                self.film.now(),
                core.recovered,
                &steps[steps.len().saturating_sub(12)..],
                shadows.last().map(|shadow| &shadow.contents),
                self.cloud_at(moment),
                core.journal.view(|all| all.iter().cloned().collect::<Vec<_>>()),
            ))
        };
        let former = self.former(moment);
        if !online && !shadows.iter().any(|shadow| is_of(&found, shadow, &former)) {
            return Err(explain("this tree never was"));
        }
        let mut elsewhere = self.cloud_at(moment).clone();
        if online {
            // What waits in a folder that is in the cloud shows when the folder does.
            elsewhere.extend(waiting(&core, &former));
        }
        if let Some(path) = missing(&found, &shadows, &elsewhere, &former) {
            return Err(explain(&format!("{path} is lost")));
        }
        Ok(())
    }

    /// The power fails, and the new start has a network. While sending only at the end of the film: the cloud is as it was
    /// then.
    async fn fail_online(&self, moment: usize, seed: u64) -> Result<(), TestCaseError> {
        let home = fast_home();
        self.film.survive(moment, &mut Dice(seed), &[], home.path());
        let world = &self.world;
        let core = world.open_after_boot(world.remote(), self.identity.clone(), home.path());
        let running = world.run_core(core).await;
        let poll = async || {
            let polled = running.core.poller.poll_now().await;
            polled.map_err(|error| TestCaseError::fail(format!("polling: {error}")))
        };
        poll().await?;
        if tokio::time::timeout(Duration::from_secs(15), running.settle()).await.is_err() {
            // The address of an upload session went with the power. A work drive keeps its name taken for a quarter of an
            // hour; that is over now.
            world.emulator.drive().lose_sessions();
            running.settle().await;
        }
        // What the index knows and the cloud does not may be too young to be shown, and is asked for again.
        let begun = std::time::Instant::now();
        let (found, cloud, here) = loop {
            poll().await?;
            let cloud = cloud_tree(world.emulator.drive());
            let late = begun.elapsed() > Duration::from_secs(40);
            match look(&running.core).await {
                Err(_) if !late => {}
                found => {
                    let found = found?;
                    let here: BTreeMap<String, Node> =
                        found.iter().map(|(path, node)| (path.clone(), node.clone().expect("online"))).collect();
                    if here == cloud || late {
                        break (found, cloud, here);
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            time_passes(&running.core);
        };
        if here != cloud {
            return Err(clip(format!(
                "seed {seed}: here {here:?}\nthe cloud {cloud:?}\nrecovered {:?}\nindex {:?}\njournal {:?}\nsteps {:?}",
                running.core.recovered,
                running.core.index.children(onedrive_mount::base::ids::Ino::ROOT),
                running.core.journal.view(|all| all.iter().cloned().collect::<Vec<_>>()),
                self.steps,
            )));
        }
        let shadows = self.shadows(moment);
        if let Some(path) = missing(&found, &shadows, &contents_of(&cloud), &BTreeSet::new()) {
            return Err(clip(format!("seed {seed}: {path} is lost; found {found:?}\nsteps {:?}", self.steps)));
        }
        let former = self.former(moment);
        // Nothing is asked of the cloud before the reason for it survives, so that it is never ahead of what is remembered.
        if !shadows.iter().any(|shadow| is_of(&found, shadow, &former)) {
            let window: Vec<_> = shadows.iter().map(|shadow| &shadow.tree.0).collect();
            return Err(clip(format!(
                "seed {seed}: this tree never was; found {found:?}\nwindow {window:?}\nfiles {:?}\nrecovered {:?}\nsteps {:?}",
                shadows.last().map(|shadow| &shadow.contents),
                running.core.recovered,
                self.steps
            )));
        }
        running.stop().await;
        Ok(())
    }
}

fn contents_of(tree: &BTreeMap<String, Node>) -> BTreeSet<Vec<u8>> {
    tree.values()
        .filter_map(|node| match node {
            Node::File(bytes) => Some(bytes.clone()),
            Node::Folder => None,
        })
        .collect()
}

/// A service that cannot be reached.
fn nobody(world: &World) -> SharedRemote {
    use onedrive_mount::auth::StaticToken;
    use onedrive_mount::remote::http::system_entropy;
    use onedrive_mount::remote::stack::{self, RemoteOptions};
    let options = RemoteOptions::new("http://127.0.0.1:9");
    stack::open(&options, Arc::new(StaticToken::new("none")), world.clock.clone(), system_entropy())
        .expect("it opens")
        .remote
}

fn run(flavour: Side, online: bool, points: u32) {
    let wanted: u64 = generated::asked("POWER_POINTS").unwrap_or(u64::from(points));
    let runtime = generated::runtime(2);
    let tried = AtomicU64::new(0);
    let per_take = generated::asked("POWER_PER_TAKE").unwrap_or(10);
    let input = (prop::collection::vec(ops::call(), 8..50), prop::collection::vec(any::<u8>(), 1..20), any::<u64>());
    let takes = u32::try_from(wanted.div_ceil(per_take)).expect("not that many");
    generated::run("POWER_TAKES", takes, 60, &input, |(ops, syncs, seed)| {
        runtime.block_on(async {
            let mut ops = ops;
            let mut dice = Dice(seed);
            if online && dice.below(4) == 0 {
                ops.iter_mut().for_each(|op| ops::lengthen(op, 12, &mut dice));
            }
            // About every second film ends in the midst of it; how long one is nobody knows before.
            let end = dice.coin().then(|| 20 + dice.index(600));
            let steps = steps(ops, &syncs, &mut dice);
            let take = Take::shoot(flavour, steps, online, end).await?;
            let nobody = nobody(&take.world);
            for _ in 0..per_take {
                let (moment, seed) = (dice.index(take.film.now() + 1), dice.below(u64::MAX));
                take.fail_at(moment, seed, online, &nobody).await?;
                tried.fetch_add(1, Ordering::Relaxed);
            }
            let moment = if online { take.film.now() } else { dice.index(take.film.now() + 1) };
            take.fail_online(moment, seed).await?;
            tried.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
    })
    .unwrap_or_else(|error| panic!("{error}"));
    println!(
        "power losses, {flavour:?}, {}: {}, nothing lost",
        if online { "sending" } else { "offline" },
        tried.into_inner()
    );
}

#[test]
fn a_power_loss_at_any_moment_of_work_without_a_network_tears_and_loses_nothing() {
    run(Flavour::PersonalNew.into(), false, 300);
}

#[test]
fn a_power_loss_at_any_moment_while_sending_loses_nothing() {
    run(Flavour::PersonalNew.into(), true, 200);
}

#[test]
fn a_power_loss_at_any_moment_while_sending_to_a_work_drive_loses_nothing() {
    run(Flavour::Business.into(), true, 200);
}

#[test]
fn a_power_loss_at_any_moment_while_sending_to_live_connect_loses_nothing() {
    run(Side::LIVE, true, 100);
}

/// A version that is safe, a newer one that is not, written in place or saved by rename, and both under the name of a third
/// one, safe or not. Of the first two one is there after a loss of power, however much of the third is.
#[test]
fn what_was_safe_before_it_was_renamed_over_another_file_does_not_go_for_that() {
    let runtime = generated::runtime(2);
    for seed in 0..30 {
        runtime
            .block_on(async {
                let mut dice = Dice(seed);
                let write = |path: &str, byte, size| Step::Call(Op::Write(path.into(), vec![byte; size]));
                let rename = |from: &str, to: &str| Step::Call(Op::Rename(from.into(), to.into()));
                let mut steps = vec![write("a", 1, 14), Step::Sync("a".into())];
                match seed % 3 {
                    0 => steps.extend([write("a", 2, 11), write("b", 3, 3), rename("a", "b")]),
                    one => {
                        steps.push(write("b", 3, 3));
                        steps.extend((one == 1).then(|| Step::Sync("b".into())));
                        steps.extend([write("a.tmp", 2, 11), rename("a.tmp", "a"), rename("a", "b")]);
                    }
                }
                steps.push(write("c", 4, 7));
                let take = Take::shoot(Flavour::PersonalNew.into(), steps, false, None).await?;
                let nobody = nobody(&take.world);
                for _ in 0..60 {
                    let (moment, seed) = (dice.index(take.film.now() + 1), dice.below(u64::MAX));
                    take.fail_at(moment, seed, false, &nobody).await?;
                }
                Ok::<_, TestCaseError>(())
            })
            .unwrap_or_else(|error| panic!("{error}"));
    }
}

/// A file and a folder, safe and in the cloud, are renamed, the renames reach the cloud, and the power fails before anything
/// else was synced. Neither stands under both names then.
#[test]
fn what_was_renamed_in_the_cloud_is_not_there_twice_after_a_loss_of_power() {
    let runtime = generated::runtime(2);
    for side in [Flavour::PersonalNew.into(), Side::LIVE] {
        for seed in 0..4 {
            let call = |op| Step::Call(op);
            let steps = vec![
                call(Op::Mkdir("d".into())),
                call(Op::Mkdir("e".into())),
                call(Op::Write("a".into(), vec![1; 14])),
                Step::Sync("a".into()),
                Step::Rest,
                call(Op::Rename("a".into(), "b".into())),
                call(Op::Rename("d".into(), "e/f".into())),
                Step::Rest,
            ];
            runtime
                .block_on(async {
                    let take = Take::shoot(side, steps, true, None).await?;
                    take.fail_online(take.film.now(), seed).await
                })
                .unwrap_or_else(|error| panic!("{side:?}: {error}"));
        }
    }
}

/// What was written, renamed and deleted has reached the cloud, and a second has passed. After a loss of power it is shown so
/// without a network.
#[test]
fn what_has_settled_is_shown_after_a_loss_of_power_without_a_network() {
    let runtime = generated::runtime(2);
    for side in [Flavour::PersonalNew.into(), Side::LIVE] {
        let call = |op| Step::Call(op);
        let steps = vec![
            call(Op::Write("doc".into(), vec![1; 14])),
            call(Op::Write("old".into(), vec![2; 9])),
            call(Op::Write("gone".into(), vec![3; 5])),
            Step::Rest,
            call(Op::Write("doc".into(), vec![4; 30])),
            call(Op::Mkdir("d".into())),
            call(Op::Rename("old".into(), "d/new".into())),
            call(Op::Unlink("gone".into())),
            Step::Rest,
            Step::Pause,
        ];
        runtime
            .block_on(async {
                let take = Take::shoot(side, steps, true, None).await?;
                let nobody = nobody(&take.world);
                for seed in 0..20 {
                    let home = fast_home();
                    take.film.survive(take.film.now(), &mut Dice(seed), &[], home.path());
                    let core = take.world.open_after_boot(nobody.clone(), take.identity.clone(), home.path());
                    let found = look(&core).await?;
                    core.journal.close();
                    prop_assert!(core.recovered.kept.is_empty(), "seed {}: {:?}", seed, core.recovered);
                    let names: Vec<&str> = found.keys().map(String::as_str).collect();
                    prop_assert_eq!(names, ["d", "d/new", "doc"], "seed {}", seed);
                    // Its bytes are a cache, and may be gone; never those of another version.
                    let now = [Some(Node::File(vec![4; 30])), None];
                    prop_assert!(now.contains(&found["doc"]), "seed {}: {:?}", seed, found);
                }
                Ok::<_, TestCaseError>(())
            })
            .unwrap_or_else(|error| panic!("{side:?}: {error}"));
    }
}
