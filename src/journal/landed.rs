//! What an edit has become, for those who have followed it.
//!
//! Whoever has a file open that is edited on this machine reads and writes the draft. Once that is in the cloud there is
//! none any more, and the next poll may bring somebody else's version. A handle that looked only then what it is on would
//! go on in the other one: read a mixture, or write into theirs what was meant for ours, without a conflict. So it is told
//! what the edit has become before anybody can see that the intent is gone.

use super::{Intent, Journal, OpenedOn};
use crate::base::ids::{Ino, ItemId};

/// Hears what version an edit has become. Called with the journal locked; must not ask the journal.
pub(super) type Heard = Box<dyn Fn(Ino, &ItemId, OpenedOn) + Send + Sync>;

/// What an edit is whose content has landed, by its intent as it is since: `None` if there is newer content, which is
/// followed instead, or if the file is gone here.
pub(super) fn became(intent: &Intent) -> Option<(ItemId, OpenedOn)> {
    if intent.deleted || intent.sealed.is_some() || intent.drafting.is_some() {
        return None;
    }
    let (item, base) = (intent.item.clone()?, intent.base.as_ref()?);
    let content_tag = base.content_tag.clone()?;
    Some((item, OpenedOn { meta_tag: base.meta_tag.clone(), content_tag, size: base.size, modified: base.modified }))
}

impl Journal {
    /// Sets who hears what edits have become. Once.
    pub fn on_landed(&self, f: impl Fn(Ino, &ItemId, OpenedOn) + Send + Sync + 'static) {
        let _ = self.landed.set(Box::new(f));
    }

    /// Tells what an edit has become. To be called before the lock is given up under which its intent has lost it.
    pub(super) fn tell_landed(&self, ino: Ino, became: Option<(ItemId, OpenedOn)>) {
        if let (Some(heard), Some((item, version))) = (self.landed.get(), became) {
            heard(ino, &item, version);
        }
    }
}
