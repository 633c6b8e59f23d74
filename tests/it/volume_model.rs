//! Random operations, here and on another device, against a reference tree; with restarts and deaths at random
//! points. After each operation the two agree on how it ended; whenever everything has come to rest, both sides
//! have exactly the tree of the reference.

use std::collections::BTreeMap;

use onedrive_mount::daemon::core::Core;
use onedrive_mount::emulator::Flavour;
use onedrive_mount::volume::{VolumeError, VolumeResult};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::world::generated;
use crate::world::model::{Model, Node, Refusal};
use crate::world::ops::{self, Op, Remote, cloud_tree, op, play_elsewhere};
use crate::world::side::Side;
use crate::world::{Running, User, World, time_passes};

fn refusal(error: &VolumeError) -> Option<Refusal> {
    Some(match error {
        VolumeError::NotFound => Refusal::NotFound,
        VolumeError::Exists => Refusal::Exists,
        VolumeError::NotAFolder => Refusal::NotAFolder,
        VolumeError::IsAFolder => Refusal::IsAFolder,
        VolumeError::NotEmpty => Refusal::NotEmpty,
        VolumeError::Invalid(_) => Refusal::Invalid,
        _ => return None,
    })
}

/// Both refuse or both agree; which refusal comes first when there are several reasons is not fixed.
fn same<T: std::fmt::Debug>(
    op: &Op,
    real: VolumeResult<T>,
    reference: Result<(), Refusal>,
) -> Result<Option<T>, TestCaseError> {
    match (real, reference) {
        (Ok(value), Ok(())) => Ok(Some(value)),
        (Err(error), Err(_)) if refusal(&error).is_some() => Ok(None),
        (real, reference) => {
            Err(TestCaseError::fail(format!("{op:?}: the volume says {real:?}, the reference {reference:?}")))
        }
    }
}

/// The tree as a user sees it.
pub async fn local_tree_of(core: &Core) -> VolumeResult<BTreeMap<String, Node>> {
    let user = User(core);
    let mut tree = BTreeMap::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for name in user.list(&folder).await? {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            match user.list(&path).await {
                Ok(_) => {
                    folders.push(path.clone());
                    tree.insert(path, Node::Folder);
                }
                Err(VolumeError::NotAFolder) => {
                    let content = user.read(&path).await?;
                    tree.insert(path, Node::File(content));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(tree)
}

async fn at_rest(world: &World, running: &Running, model: &Model) -> Result<(), TestCaseError> {
    running.settle().await;
    running.core.poller.poll_now().await.map_err(|error| TestCaseError::fail(format!("polling: {error}")))?;
    prop_assert_eq!(&cloud_tree(world.emulator.drive()), &model.0, "the cloud");
    here(running, model).await
}

async fn here(running: &Running, model: &Model) -> Result<(), TestCaseError> {
    let local = local_tree_of(&running.core).await.map_err(|error| TestCaseError::fail(format!("listing: {error}")))?;
    prop_assert_eq!(&local, &model.0, "here");
    Ok(())
}

async fn elsewhere(world: &World, running: &Running, model: &mut Model, remote: &Remote) -> Result<(), TestCaseError> {
    at_rest(world, running, model).await?;
    // What we have made a moment ago may be missing in an answer, and is not taken for gone.
    time_passes(&running.core);
    play_elsewhere(world.emulator.drive(), model, remote);
    running.core.poller.poll_now().await.map_err(|error| TestCaseError::fail(format!("polling: {error}")))?;
    here(running, model).await
}

async fn play(flavour: Side, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let world = World::new(flavour).await;
    let mut running = world.run().await;
    let mut model = Model::default();
    for op in &ops {
        let user = User(&running.core);
        match op {
            Op::Save(path, bytes) => {
                let temporary = format!("{path}.tmp");
                let reference = model.clone().write(&temporary, bytes);
                if same(op, user.write(&temporary, bytes).await, reference)?.is_some() {
                    let _ = model.write(&temporary, bytes);
                    same(op, user.rename(&temporary, path).await, model.rename(&temporary, path))?;
                }
            }
            Op::Read(path) => {
                let reference = match model.0.get(path) {
                    Some(Node::File(_)) => Ok(()),
                    Some(Node::Folder) => Err(Refusal::IsAFolder),
                    None => Err(Refusal::NotFound),
                };
                if let Some(bytes) = same(op, user.read(path).await, reference)? {
                    prop_assert_eq!(Some(&Node::File(bytes)), model.0.get(path));
                }
            }
            Op::Elsewhere(remote) => elsewhere(&world, &running, &mut model, remote).await?,
            Op::Settle => at_rest(&world, &running, &model).await?,
            Op::Restart => {
                running.stop().await;
                running = world.run().await;
                here(&running, &model).await?;
            }
            Op::Kill => {
                running.kill().await;
                running = world.run().await;
                here(&running, &model).await?;
            }
            call => {
                same(op, user.carry_out(call).await, ops::play(&mut model, call))?;
            }
        }
    }
    at_rest(&world, &running, &model).await?;
    running.stop().await;
    Ok(())
}

fn run(flavour: Side, cases: u32) {
    let (inputs, runtime) = (prop::collection::vec(op(), 1..40), generated::runtime(2));
    generated::run("MODEL_CASES", cases, 300, &inputs, |ops| runtime.block_on(play(flavour, ops)))
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn random_operations_agree_with_the_reference_on_a_personal_drive() {
    run(Flavour::PersonalNew.into(), 40);
}

#[test]
fn random_operations_agree_with_the_reference_on_a_business_drive() {
    run(Flavour::Business.into(), 40);
}

#[test]
fn random_operations_agree_with_the_reference_on_live_connect() {
    run(Side::LIVE, 30);
}

/// What the generator found on Live Connect once in two thousand cases.
#[test]
fn another_version_of_the_same_size_is_seen() {
    let runtime = generated::runtime(2);
    for flavour in [Flavour::PersonalNew.into(), Flavour::Business.into(), Side::LIVE] {
        let ops = ["one", "two", "six"].map(|text| Op::Elsewhere(Remote::Write("a".into(), text.into())));
        runtime.block_on(play(flavour, ops.into())).unwrap_or_else(|error| panic!("{flavour:?}: {error}"));
    }
}
