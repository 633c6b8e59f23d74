//! Whether something changed in a folder while its listing was under way.
//!
//! A listing takes seconds, and meanwhile the feed or our own work may bring newer news of the same folder; a
//! listing that overlapped with such news is taken again. Only of the same folder: while a drive is enumerated
//! the index changes all the time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Index, Notice, What};
use crate::base::ids::Ino;

/// The folders that are being listed.
#[derive(Default)]
pub(super) struct Watches {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    /// Number, folder, and whether it changed.
    watched: Vec<(u64, Ino, bool)>,
}

impl Watches {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction was committed, and the writer's turn is not over.
    pub(super) fn note(&self, notices: &[Notice]) {
        let mut table = self.lock();
        if table.watched.is_empty() {
            return;
        }
        for notice in notices {
            let left = match &notice.what {
                What::Moved { from, .. } => Some(*from),
                _ => None,
            };
            for (_, folder, changed) in &mut table.watched {
                *changed |= *folder == notice.parent || *folder == notice.ino || Some(*folder) == left;
            }
        }
    }
}

/// Watches one folder until dropped.
pub struct FolderWatch<'a> {
    index: &'a Index,
    number: u64,
}

impl FolderWatch<'_> {
    /// Whether nothing in the folder has changed since the watch began. Asked within a transaction the answer holds
    /// until its end, apart from what the transaction itself changes.
    pub fn is_quiet(&self) -> bool {
        let table = self.index.watches.lock();
        table.watched.iter().any(|(number, _, changed)| *number == self.number && !changed)
    }
}

impl Drop for FolderWatch<'_> {
    fn drop(&mut self) {
        self.index.watches.lock().watched.retain(|(number, ..)| *number != self.number);
    }
}

impl Index {
    /// Watches a folder: its children, and the folder itself.
    pub fn watch(&self, folder: Ino) -> FolderWatch<'_> {
        let mut table = self.watches.lock();
        let number = table.next;
        table.next += 1;
        table.watched.push((number, folder, false));
        drop(table);
        FolderWatch { index: self, number }
    }
}
