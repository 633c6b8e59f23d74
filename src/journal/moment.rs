//! What the journal knows at one moment, for whoever lays it over the index.
//!
//! The index learns what was acknowledged before its intent goes, and both happen while the journal is locked. So
//! whoever asks the two in turn may see a thing twice, or not at all; whoever asks both within one [`Moment`] sees it
//! once, however much is being acknowledged. Such a look waits for no network and no flush of the disk, and makes those
//! wait who acknowledge: what takes long is read before it, and read again only if the index has changed since.

use std::sync::Arc;

use super::{Draft, Journal, Overlay, SpoolId, State};
use crate::base::ids::{Ino, ItemId};

/// Nothing is acknowledged while it lasts.
pub struct Moment<'a> {
    journal: &'a Journal,
    state: &'a State,
}

impl Moment<'_> {
    /// All intents.
    pub fn overlay(&self) -> &Overlay {
        &self.state.overlay
    }

    /// A draft by number.
    pub fn draft(&self, id: SpoolId) -> Option<&Arc<Draft>> {
        self.state.drafts.get(&id)
    }

    /// The content that a reader of this inode sees, if it differs from the cloud's.
    pub fn content(&self, ino: Ino) -> Option<&Arc<Draft>> {
        let intent = self.overlay().get(ino)?;
        self.draft(intent.drafting.or(intent.sealed)?)
    }

    /// The identity that an inode has in the cloud, if it is there.
    pub fn resolve(&self, ino: Ino) -> Option<ItemId> {
        self.journal.resolve_in(&self.state.overlay, ino)
    }
}

impl Journal {
    /// Looks at everything at once. The closure may ask the index, and must not call the journal again.
    pub fn at_once<T>(&self, look: impl FnOnce(&Moment<'_>) -> T) -> T {
        let state = self.lock();
        look(&Moment { journal: self, state: &state })
    }
}
