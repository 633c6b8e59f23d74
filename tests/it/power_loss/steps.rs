//! What the user does before the power fails, cut into the smallest parts.

use onedrive_mount::base::ids::{Fh, Ino};
use onedrive_mount::daemon::core::Core;
use onedrive_mount::volume::{OpenHow, SetAttributes, VolumeError, VolumeResult};

use crate::world::generated::Dice;
use crate::world::model::{Model, Node};
use crate::world::ops::{self, Op};
use crate::world::{User, settle};

/// One part.
#[derive(Clone, Debug)]
pub enum Step {
    /// One call; never a save, which is two.
    Call(Op),
    /// `fsync` of this file, if it is there: with it everything before it is safe.
    Sync(String),
    /// A file is open for a while, and written in place.
    Held(String, Part),
    /// Until everything is in the cloud.
    Rest,
    /// For as long as a group commit takes at most to come by itself.
    Pause,
    /// The daemon dies, and another one begins.
    Die,
}

/// What is done through one handle.
#[derive(Clone, Debug)]
pub enum Part {
    Open,
    Write(usize, Vec<u8>),
    Cut(usize),
    Sync,
    Close,
}

impl Step {
    pub fn is_sync(&self) -> bool {
        matches!(self, Self::Sync(_) | Self::Held(_, Part::Sync))
    }

    /// What the reference becomes.
    pub fn play(&self, model: &mut Model) {
        match self {
            Self::Call(op) => drop(ops::play(model, op)),
            Self::Held(path, Part::Write(at, bytes)) => drop(model.patch(path, *at, bytes)),
            Self::Held(path, Part::Cut(size)) => {
                if let Some(Node::File(content)) = model.0.get_mut(path) {
                    content.resize(*size, 0);
                }
            }
            Self::Sync(_) | Self::Held(..) | Self::Rest | Self::Pause | Self::Die => {}
        }
    }
}

pub fn steps(ops: Vec<Op>, syncs: &[u8], dice: &mut Dice) -> Vec<Step> {
    let mut steps = Vec::new();
    for (at, op) in ops.into_iter().enumerate() {
        let touched = match &op {
            Op::Write(path, _) | Op::Patch(path, ..) | Op::Rename(_, path) | Op::Save(path, _) => Some(path.clone()),
            _ => None,
        };
        match op {
            Op::Save(path, bytes) => {
                let temporary = format!("{path}.tmp");
                steps.push(Step::Call(Op::Write(temporary.clone(), bytes)));
                steps.push(Step::Call(Op::Rename(temporary, path)));
            }
            op => steps.push(Step::Call(op)),
        }
        if let Some(path) = touched {
            if syncs[at % syncs.len()].is_multiple_of(5) {
                steps.push(Step::Sync(path));
            } else if dice.below(5) == 0 {
                steps.push(Step::Held(path.clone(), Part::Open));
                for _ in 0..1 + dice.below(6) {
                    let part = match dice.below(5) {
                        0 | 1 => Part::Write(dice.index(50), vec![1 + dice.below(255) as u8; 1 + dice.index(20)]),
                        2 => Part::Cut(dice.index(3) * dice.index(30)),
                        _ => Part::Sync,
                    };
                    steps.push(Step::Held(path.clone(), part));
                }
                steps.push(Step::Held(path, Part::Close));
            }
        }
        if dice.below(12) == 0 {
            steps.push(Step::Die);
        }
    }
    steps
}

/// The file that is open.
pub type Open = Option<(Ino, Fh)>;

pub async fn carry_out(core: &Core, step: &Step, open: &mut Open) -> VolumeResult<()> {
    let user = User(core);
    let volume = &core.volume;
    match step {
        Step::Call(op) => user.carry_out(op).await,
        Step::Sync(path) => {
            let ino = user.walk(path).await?;
            let fh = volume.open(ino, OpenHow { read: true, ..OpenHow::default() }).await?.fh;
            let synced = volume.fsync(ino, Some(fh), false).await;
            volume.release(ino, fh);
            synced
        }
        Step::Held(path, Part::Open) => {
            *open = Some(user.open(path).await?);
            Ok(())
        }
        Step::Held(_, part) => {
            let (ino, fh) = open.ok_or(VolumeError::BadHandle)?;
            match part {
                Part::Open => Ok(()),
                Part::Write(at, bytes) => volume.write(ino, Some(fh), *at as u64, bytes).await.map(|_| ()),
                Part::Cut(size) => {
                    let change = SetAttributes { size: Some(*size as u64), ..SetAttributes::default() };
                    volume.setattr(ino, Some(fh), change).await.map(|_| ())
                }
                Part::Sync => volume.fsync(ino, Some(fh), false).await,
                Part::Close => {
                    let flushed = volume.flush(ino, fh).await;
                    volume.release(ino, fh);
                    *open = None;
                    flushed
                }
            }
        }
        Step::Rest => {
            settle(core).await;
            Ok(())
        }
        Step::Pause => {
            tokio::time::sleep(std::time::Duration::from_millis(1300)).await;
            Ok(())
        }
        Step::Die => Ok(()),
    }
}
