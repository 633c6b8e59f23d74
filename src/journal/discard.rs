//! Taking back what has not been sent: the user does not want a change after all.
//!
//! The cloud's state is in the index, untouched by local work, so taking an intent away shows it again: a deletion
//! undone, an edit dropped, an old name back. Something new has no such state; discarding it deletes it. What is being
//! sent at this very moment, or written by a program, is refused: nobody could say what the outcome would be.

use super::coalesce::{self, Outcome};
use super::intent::{Intent, Kind};
use super::{Journal, JournalResult, State};
use crate::base::ids::Ino;

/// Why a change cannot be taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// There is none.
    #[error("there is nothing to discard: everything about it is in the cloud")]
    Nothing,
    /// A request about it is under way.
    #[error("it is being sent at this moment; look again with onedrive-cli queue")]
    Sending,
    /// A program has it open.
    #[error("a program has it open; close it there first")]
    Open,
    /// A new folder with something in it.
    #[error("it is a new folder, and there is something in it; discard that first")]
    NotEmpty,
}

/// What was taken back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Undone {
    /// The intents as they were: the one asked for, and deletions of the folders around it, which had to go with it.
    pub intents: Vec<Intent>,
}

impl Journal {
    /// Takes the change of an inode back, and with it the deletions of folders that would hide what comes back.
    ///
    /// # Errors
    ///
    /// [`StoreError`](super::StoreError) if the journal cannot be written; the inner error says why not. Nothing has
    /// happened then.
    pub fn discard(&self, ino: Ino) -> JournalResult<Result<Undone, Refusal>> {
        let now = self.now();
        let mut state = self.lock();
        let Some(intent) = state.overlay.get(ino).cloned() else { return Ok(Err(Refusal::Nothing)) };
        if let Some(refusal) = self.refusal(&state, &intent) {
            return Ok(Err(refusal));
        }
        let mut intents = vec![intent.clone()];
        let outcome = if intent.item.is_none() {
            // It may have arrived with the answer lost; then it is deleted there as well.
            coalesce::delete(intent, false, now)
        } else {
            intents.extend(self.deleted_above(&state, ino));
            Outcome { put: Vec::new(), drop: intents.iter().map(|intent| intent.ino).collect() }
        };
        for intent in &intents {
            state.sessions.remove(&intent.ino);
        }
        self.join(&mut state, outcome)?;
        Ok(Ok(Undone { intents }))
    }

    fn refusal(&self, state: &State, intent: &Intent) -> Option<Refusal> {
        let about_it = state.busy.values().any(|under_way| under_way.concerns(intent));
        if about_it || state.busy.contains_key(&intent.ino) {
            return Some(Refusal::Sending);
        }
        if state.writers.contains_key(&intent.ino) {
            return Some(Refusal::Open);
        }
        let is_new_folder = intent.kind == Kind::Folder && intent.item.is_none();
        (is_new_folder && state.overlay.has_any_in(intent.ino)).then_some(Refusal::NotEmpty)
    }

    /// The deletions of the folders that an item lies in, in the cloud as we know it, that are not being sent.
    fn deleted_above(&self, state: &State, ino: Ino) -> Vec<Intent> {
        const DEEPEST: usize = 400;
        let mut found = Vec::new();
        let mut at = ino;
        for _ in 0..DEEPEST {
            let Some(parent) = self.index().by_ino(at).ok().flatten().map(|row| row.parent) else { break };
            if parent == at || parent == Ino(0) {
                break;
            }
            if let Some(intent) = state.overlay.get(parent)
                && intent.deleted
                && !state.busy.contains_key(&parent)
            {
                found.push(intent.clone());
            }
            at = parent;
        }
        found
    }
}
