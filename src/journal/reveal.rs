//! What comes to light when an intent goes or changes.
//!
//! An intent says where its item is, so the index's row of it is not seen; nor is what the intent may have sent without an
//! answer, nor whatever else has the name that the intent stands under. Somebody may have looked for such a name and been
//! told, for minutes, that nothing has it. When the intent is out of the way something does, and no news of the cloud will
//! say so: the index knew it all the time.
//!
//! | the intent | what may come to light |
//! | --- | --- |
//! | is gone | the row of its inode, elsewhere than where the intent stood at last |
//! | stands for another item now, or for none | the row of the one it stood for |
//! | knows now what became of what it had sent | what is there |
//! | stands elsewhere, or is gone | what else has the name it stood under |

use super::overlay::has_sent;
use super::{Intent, Journal, Overlay};
use crate::base::ids::Ino;
use crate::index::{Index, IndexResult, Row};

/// Hears of names that have come to light, or whose intent is gone with what it stood for, each with its folder. Called
/// with the journal locked, when whoever asks will be told of them; must not ask the journal.
pub(super) type Revealed = Box<dyn Fn(Ino, &str) + Send + Sync>;

impl Journal {
    /// Sets who hears of names that have come to light. Once.
    pub fn on_revealed(&self, f: impl Fn(Ino, &str) + Send + Sync + 'static) {
        let _ = self.revealed.set(Box::new(f));
    }

    /// Tells that what stood under a name is gone with its intent, though no program has removed it.
    pub(super) fn tell_gone(&self, intent: &Intent) {
        if let Some(revealed) = self.revealed.get().filter(|_| intent.is_live()) {
            revealed(intent.parent, &intent.name);
        }
    }

    /// Tells of what has come to light since these intents were stored as they are here. Some have changed since, and
    /// were `settled` as that.
    pub(super) fn reveal(&self, overlay: &Overlay, before: &[Intent], settled: &[Intent]) {
        let (Some(revealed), Some(index)) = (self.revealed.get(), self.index.get()) else { return };
        for old in before {
            let last = settled.iter().find(|last| last.ino == old.ino).unwrap_or(old);
            match uncovered(index, overlay, (last, old)) {
                Ok((rows, is_left)) => {
                    if is_left && overlay.at(last.parent, &last.name).is_none() {
                        revealed(last.parent, &last.name);
                    }
                    for row in rows {
                        let folder = self.resolve_in(overlay, row.parent);
                        if overlay.at(row.parent, &row.name).is_none() && !overlay.covers(folder.as_ref(), &row) {
                            revealed(row.parent, &row.name);
                        }
                    }
                }
                // It will say so to whoever asks for anything.
                Err(error) => tracing::debug!(%error, "what comes to light is not known"),
            }
        }
    }
}

/// What `old` has hidden and may hide no longer; and whether it is seen elsewhere now than where it stood at last.
fn uncovered(index: &Index, overlay: &Overlay, (last, old): (&Intent, &Intent)) -> IndexResult<(Vec<Row>, bool)> {
    let now = overlay.get(old.ino);
    let stood = |row: &Row| last.is_live() && row.parent == last.parent && row.name == last.name;
    let mut rows = Vec::new();
    if now.is_none() {
        // Where it stood it goes on being seen, and whoever stands on it must not be told that it is news.
        rows.extend(index.by_ino(old.ino)?.filter(|row| !stood(row)));
    }
    let is_left = last.is_live() && !rows.is_empty();
    if let Some(item) = &old.item
        && now.is_some_and(|now| now.item.as_ref() != Some(item))
    {
        rows.extend(index.by_id(item)?);
    }
    if let Some((folder, name)) = old.sent.as_ref().and_then(|sent| sent.place.as_ref())
        && old.item.is_none()
        && let Some(folder_row) = index.by_id(folder)?
        && let Some(row) = index.child(folder_row.ino, name)?
        && has_sent(old, folder, &row.name, row.content_tag.as_ref())
        && row.ino != old.ino
    {
        rows.push(row);
    }
    let stands_there = now.is_some_and(|now| now.is_live() && now.parent == old.parent && now.name == old.name);
    if old.is_live() && !stands_there {
        rows.extend(index.child(old.parent, &old.name)?.filter(|row| row.ino != old.ino));
    }
    Ok((rows, is_left))
}
