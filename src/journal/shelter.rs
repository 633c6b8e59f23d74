//! Folders that are gone in the cloud, or moved into themselves, while they hold work that the cloud has not seen.
//!
//! Everything unsent must stay where its user can see it: reachable from the root, under the name it had. Another
//! device can pull the ground away in two ways, and each has a rule:
//!
//! | happened elsewhere | while here | becomes |
//! | --- | --- | --- |
//! | a folder was deleted | something in it, at any depth, is unsent | the folder is wanted again: made anew, with what is unsent in it |
//! | the same, and its name is not known any more | the same | the same, as `recovered folder …` in the root |
//! | a folder was deleted | something is put into it in that very moment | that is refused: the folder is not there |
//! | a folder was moved below another one | that one was moved below the first here | our move is given up; theirs stands |
//!
//! What was only there and not changed here stays deleted: an edit outlives a deletion, a copy does not. What stays on
//! this machine by its name, like an unfinished download, is unsent work too; the mark that a file is open is not.
//!
//! The index loses a folder first, and then it is looked whether there is work in it. What is placed meanwhile looks at the
//! index with the journal locked: either it finds the folder gone, or it is found in it.

use std::collections::HashSet;

use super::coalesce::Outcome;
use super::store::Batch;
use super::{Intent, Journal, JournalResult, Kind, State, StoreError};
use crate::base::ids::Ino;
use crate::base::name;
use crate::index::{Notice, What};

/// No chain of folders is longer: paths are 400 characters at most.
const DEEPEST: usize = 512;

/// Whether somebody would miss it: also what stays on this machine, like the download that a browser has not finished,
/// unless it is the mark of an open file.
fn is_work(intent: &Intent) -> bool {
    intent.is_live() && !(intent.local_only && name::is_mere_lock(&name::to_local(&intent.name)))
}

impl Journal {
    /// Brings back the folders that unsent work needs, and gives up moves that have become circles. To be called
    /// when folders have gone or moved in the index, and at start-up. Returns what is to be shown anew.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; nothing has changed then.
    pub fn shelter(&self) -> JournalResult<Vec<Notice>> {
        let mut state = self.lock();
        let mut notices = self.untangle(&mut state)?;
        let parents: HashSet<Ino> =
            state.overlay.iter().filter(|intent| is_work(intent)).map(|intent| intent.parent).collect();
        let mut missing: Vec<Ino> = parents.into_iter().filter(|parent| self.has_gone(&state, *parent)).collect();
        let mut wanted: HashSet<Ino> = missing.iter().copied().collect();
        let mut batch = Batch::default();
        while let Some(ino) = missing.pop() {
            let was = self.index().gone(ino).ok().flatten();
            let (parent, name) = was
                .filter(|(_, name)| !name.is_empty())
                .unwrap_or_else(|| (Ino::ROOT, format!("recovered folder {ino}")));
            tracing::warn!(%ino, name, "a folder with unsent work was deleted elsewhere; it is made again");
            notices.push(Notice { ino, parent, name: name.clone(), what: What::Added });
            batch.put.push(Intent::new(ino, Kind::Folder, parent, &name, self.now()));
            if self.has_gone(&state, parent) && wanted.insert(parent) {
                missing.push(parent);
            }
        }
        self.apply(&mut state, batch)?;
        Ok(notices)
    }

    /// Whether a folder is not there any more, neither in the cloud as we know it nor as something that is wanted here.
    fn has_gone(&self, state: &State, folder: Ino) -> bool {
        folder != Ino::ROOT
            && !state.overlay.get(folder).is_some_and(Intent::is_live)
            // An index that cannot be asked proves nothing.
            && matches!(self.index().is_bound(folder), Ok(false))
    }

    /// Fails if something is to be placed in a folder that has gone; what is there already has been sheltered, or will be.
    pub(super) fn check_ground(&self, state: &State, put: &[Intent]) -> JournalResult<()> {
        let comes = |intent: &&Intent| {
            let before = state.overlay.get(intent.ino).filter(|before| before.is_live());
            intent.is_live() && before.is_none_or(|before| before.parent != intent.parent)
        };
        let comes_with = |folder: Ino| put.iter().any(|other| other.ino == folder && other.is_live());
        for intent in put.iter().filter(comes) {
            // Mostly it is known what the folder is in the cloud, without asking the disk.
            let is_known = self.resolve_in(&state.overlay, intent.parent).is_some();
            if !is_known && !comes_with(intent.parent) && self.has_gone(state, intent.parent) {
                return Err(StoreError::NoFolder);
            }
        }
        Ok(())
    }

    /// Whether a folder holds unsent work.
    pub(super) fn holds_work(&self, folder: Ino) -> bool {
        self.lock().overlay.placed_in(folder).any(|intent| intent.deleted || is_work(intent))
    }

    /// Where an inode stands: its folder, and its name in the spelling of the service. `None` if neither an intent nor
    /// the index knows.
    pub fn place_of(&self, ino: Ino) -> Option<(Ino, String)> {
        let state = self.lock();
        self.place_in(&state, ino)
    }

    fn place_in(&self, state: &State, ino: Ino) -> Option<(Ino, String)> {
        match state.overlay.get(ino) {
            Some(intent) => Some((intent.parent, intent.name.clone())),
            None => self.index().by_ino(ino).ok().flatten().map(|row| (row.parent, row.name)),
        }
    }

    fn is_circular(&self, state: &State, ino: Ino) -> bool {
        let mut at = ino;
        for _ in 0..DEEPEST {
            match self.place_in(state, at).map(|(parent, _)| parent) {
                None | Some(Ino::ROOT) => return false,
                Some(parent) if parent == ino => return true,
                Some(parent) if parent == at => return false,
                Some(parent) => at = parent,
            }
        }
        false
    }

    fn untangle(&self, state: &mut State) -> JournalResult<Vec<Notice>> {
        let mut notices = Vec::new();
        let moved: Vec<Ino> = state
            .overlay
            .iter()
            .filter(|intent| intent.kind == Kind::Folder && intent.is_live() && intent.item.is_some())
            .map(|intent| intent.ino)
            .collect();
        for ino in moved {
            if !self.is_circular(state, ino) {
                continue;
            }
            let (Some(theirs), Some(mut intent)) = (self.known(state, ino), state.overlay.get(ino).cloned()) else {
                continue;
            };
            if theirs.parent == intent.parent {
                continue;
            }
            tracing::warn!(%ino, name = intent.name, "moved into itself by two moves at once; ours is given up");
            let from = std::mem::replace(&mut intent.parent, theirs.parent);
            let old = std::mem::replace(&mut intent.name, theirs.base.name.clone());
            let name = intent.name.clone();
            notices.push(Notice { ino, parent: theirs.parent, name, what: What::Moved { from, name: old } });
            intent.base = Some(theirs.base);
            self.settle_and_join(state, Outcome { put: vec![intent], drop: Vec::new() }, Batch::default())?;
        }
        Ok(notices)
    }
}
