//! What is on its way to the cloud, as people ask about it.
//!
//! An intent says what is wanted; a person wants to know what that means: is it an upload or a rename, how large, for
//! how long, what went wrong, when is the next attempt, and what can be done.

use std::collections::HashMap;

use super::intent::{Intent, Kind, ParkReason, Progress, SpoolId};
use super::{Journal, State};
use crate::base::clock::Timestamp;
use crate::base::ids::{Ino, ItemId};

/// What an intent amounts to, in one word. Of several the weightiest: a file that was edited and renamed is an update.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// A new file.
    Upload,
    /// New content of a file that is in the cloud.
    Update,
    /// A new folder.
    NewFolder,
    /// Another name in the same folder.
    Rename,
    /// Another folder, and perhaps another name.
    Move,
    /// It shall go.
    Delete,
    /// Another modification time.
    SetTime,
    /// Nothing is left to do; it is about to leave the queue.
    Nothing,
}

/// Where the work stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// A program has it open for writing, so it is not sent yet.
    Open,
    /// It waits for its turn, for the network or for something else in the queue.
    Waiting,
    /// A request about it is under way.
    Sending,
    /// It waits for the user.
    Parked(ParkReason),
    /// It stays on this machine.
    Local,
}

/// One entry of the queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pending {
    /// The intent.
    pub intent: Intent,
    /// What it amounts to.
    pub work: Work,
    /// Where it stands.
    pub standing: Standing,
    /// The bytes to be sent, or of the item that is renamed or deleted.
    pub size: u64,
    /// Bytes of it that the service has acknowledged.
    pub sent: u64,
    /// The draft with its content, if there is one.
    pub draft: Option<SpoolId>,
    /// Bytes of the draft that are not on this machine and will be fetched before it is sent.
    pub missing: u64,
}

/// What an intent amounts to. `parent` is the identity of its folder in the cloud, `None` if it is not there yet.
///
/// | wanted | in the cloud | content to send | work |
/// | --- | --- | --- | --- |
/// | gone | | | delete |
/// | folder | no | | new folder |
/// | file | no | | upload |
/// | file | yes | yes | update |
/// | in another folder | yes | no | move |
/// | under another name | yes | no | rename |
/// | with another time | yes | no | set time |
/// | as it is | yes | no | nothing |
pub fn work_of(intent: &Intent, parent: Option<&ItemId>) -> Work {
    if intent.deleted {
        return Work::Delete;
    }
    let Some(base) = &intent.base else {
        return if intent.kind == Kind::Folder { Work::NewFolder } else { Work::Upload };
    };
    if intent.sealed.is_some() || intent.drafting.is_some() {
        Work::Update
    } else if parent != Some(&base.parent) {
        Work::Move
    } else if base.name != intent.name {
        Work::Rename
    } else if intent.is_retimed() {
        Work::SetTime
    } else {
        Work::Nothing
    }
}

fn standing_of(state: &State, intent: &Intent) -> Standing {
    match intent.progress {
        _ if stays_here(intent) => Standing::Local,
        Progress::Parked(reason) => Standing::Parked(reason),
        _ if state.busy.contains_key(&intent.ino) => Standing::Sending,
        _ if state.writers.contains_key(&intent.ino) => Standing::Open,
        _ => Standing::Waiting,
    }
}

impl Journal {
    /// Everything that has not reached the cloud, in the order in which it was changed last. Files that stay on this
    /// machine are left out.
    pub fn pending(&self) -> Vec<Pending> {
        let mut found: Vec<Pending> = {
            let state = self.lock();
            let open = state.overlay.iter().filter(|intent| !stays_here(intent));
            open.map(|intent| entry(&state, intent)).collect()
        };
        // The index is asked without the lock: there may be very many.
        let mut folders: HashMap<Ino, Option<ItemId>> = HashMap::new();
        for entry in &mut found {
            let folder = entry.intent.parent;
            let parent = folders.entry(folder).or_insert_with(|| self.resolve(folder));
            entry.work = work_of(&entry.intent, parent.as_ref());
        }
        found.sort_by_key(|entry| (entry.intent.changed, entry.intent.ino));
        found
    }

    /// The files that stay on this machine: what [`Journal::pending`] leaves out.
    pub fn staying(&self) -> Vec<Intent> {
        self.lock().overlay.iter().filter(|intent| stays_here(intent)).cloned().collect()
    }

    /// The entry of one inode, one that stays on this machine included.
    pub fn pending_of(&self, ino: Ino) -> Option<Pending> {
        let mut found = {
            let state = self.lock();
            entry(&state, state.overlay.get(ino)?)
        };
        let parent = self.resolve(found.intent.parent);
        found.work = work_of(&found.intent, parent.as_ref());
        Some(found)
    }

    /// When an intent is due next, if time is all it waits for.
    pub fn next_attempt(&self, intent: &Intent) -> Option<Timestamp> {
        super::queue::due_at(intent, self.settings.debounce)
    }

    /// How many entries are held because of a burst.
    pub fn held(&self) -> usize {
        self.lock().overlay.iter().filter(|intent| intent.is_held()).count()
    }
}

fn stays_here(intent: &Intent) -> bool {
    intent.local_only && !intent.deleted
}

fn entry(state: &State, intent: &Intent) -> Pending {
    let draft = intent.drafting.or(intent.sealed).and_then(|id| state.drafts.get(&id));
    let size = match draft {
        Some(draft) => draft.size(),
        None => intent.base.as_ref().map_or(0, |base| base.size),
    };
    Pending {
        work: Work::Nothing,
        standing: standing_of(state, intent),
        size: if intent.kind == Kind::File { size } else { 0 },
        sent: if let Progress::Sending { acked, .. } = intent.progress { acked } else { 0 },
        draft: draft.map(|draft| draft.id),
        missing: draft.map_or(0, |draft| draft.missing().total()),
        intent: intent.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::DriveId;

    fn id(text: &str) -> ItemId {
        ItemId::new(&DriveId::new("b!d"), text)
    }

    #[test]
    fn every_row_of_the_table() {
        let now = Timestamp::from_seconds(9);
        let fresh = Intent::new(Ino(9), Kind::File, Ino(2), "n", now);
        assert_eq!(work_of(&fresh, None), Work::Upload);
        assert_eq!(work_of(&Intent { kind: Kind::Folder, ..fresh }, None), Work::NewFolder);
        let known = crate::journal::intent::tests::known();
        let same = Intent::about(Ino(9), known, now);
        let parent = id("p");
        assert_eq!(work_of(&same, Some(&parent)), Work::Nothing);
        assert_eq!(work_of(&same, Some(&id("q"))), Work::Move);
        assert_eq!(work_of(&same, None), Work::Move, "its folder is new");
        let renamed = Intent { name: "m".into(), ..same.clone() };
        assert_eq!(work_of(&renamed, Some(&parent)), Work::Rename);
        assert_eq!(work_of(&Intent { sealed: Some(SpoolId(1)), ..renamed }, Some(&parent)), Work::Update);
        let timed = Intent { modified: now, set_modified: true, ..same.clone() };
        assert_eq!(work_of(&timed, Some(&parent)), Work::SetTime);
        assert_eq!(work_of(&Intent { deleted: true, ..same }, Some(&parent)), Work::Delete);
    }
}
