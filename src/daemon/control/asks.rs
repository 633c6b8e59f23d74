//! What of all that `status` shows only the user can help with: told where nobody asked.

use std::path::PathBuf;

use super::answers::Answers;
use super::protocol::Kept;
use crate::journal::burst::culprit;
use crate::journal::report::{Standing, Work};
use crate::journal::{Intent, ParkReason};
use crate::volume::inspect::Connection;

/// What only the user can help with.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Asks {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// What cannot be sent, but for what is held.
    pub parked: Option<Stuck>,
    /// Changes that are held because of a burst.
    pub held: usize,
    /// The program that made them.
    pub culprit: Option<String>,
    /// Nobody is signed in, or somebody else.
    pub signed_out: bool,
    /// Somebody else is, in words.
    pub another: Option<String>,
    /// Drafts that are kept.
    pub kept: Vec<Kept>,
    /// Damage that was found in the journal at the start, in words.
    pub damage: Vec<String>,
}

/// The first of the changes that cannot be sent, and how many there are beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stuck {
    /// Its path within the mount.
    pub path: String,
    /// What it is.
    pub work: Work,
    /// Why it cannot be sent.
    pub reason: ParkReason,
    /// The others.
    pub others: usize,
}

impl Answers {
    /// What only the user can help with, as `status` says it; but for the account, which is not known here. Blocks
    /// on the disk.
    pub(in crate::daemon) fn asks(&self) -> Asks {
        // Nearly always nothing waits for the user, and then nothing has to be looked at.
        let entries = if self.journal.backlog().1 > 0 { self.entries(None) } else { Vec::new() };
        let mut parked = entries.iter().filter_map(|entry| match entry.pending.standing {
            Standing::Parked(reason) if reason != ParkReason::Burst => Some((entry, reason)),
            _ => None,
        });
        let stuck = parked.next().map(|(first, reason)| Stuck {
            path: first.path.clone(),
            work: first.pending.work,
            reason,
            others: parked.count(),
        });
        let held: Vec<&Intent> =
            entries.iter().map(|entry| &entry.pending.intent).filter(|intent| intent.is_held()).collect();
        let health = self.health.borrow().clone();
        Asks {
            mountpoint: self.mountpoint.clone(),
            parked: stuck,
            held: held.len(),
            culprit: held.first().and_then(|first| culprit(first)).map(str::to_owned),
            signed_out: self.connection(&health) == Connection::SignedOut,
            kept: self.kept(),
            damage: self.unreadable.clone(),
            ..Asks::default()
        }
    }
}
