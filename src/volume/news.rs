//! News of what changed elsewhere, on its way to the kernel's caches.
//!
//! | change | kernel notice |
//! | --- | --- |
//! | new name in a folder the kernel knows | entry (it may remember that there was none), attributes of the folder |
//! | removed | deleted (watchers hear of it); attributes if a handle is open, which keeps the node |
//! | renamed or moved | entry at the old and at the new place |
//! | metadata only | attributes |
//! | content, no handle open | pages |
//! | content, handle open | attributes only, which are different for each handle from now on; pages are dropped at the next open |
//! | content of a node that the kernel does not know | entry (it may have been hidden) |
//! | content was wrong as it came | pages, handle open or not, of an edit of a part of it, too |
//! | our own work is out of the way of something | entry |
//! | anything about a node that has an intent | nothing: the kernel is looking at our own work |
//! | something comes to a name, or leaves it, that has our own work | no entry: the kernel would take the ground from under who stands there |

use super::names::shown;
use super::{KernelNotice, Volume, locked};
use crate::base::ids::Ino;
use crate::index::{Notice, NoticeSink, What};
use crate::journal::Intent;

impl Volume {
    /// Hands notices to the kernel. Called with no lock held.
    pub(super) fn tell(&self, mut notices: Vec<Notice>) {
        if notices.iter().any(|notice| matches!(notice.what, What::Added | What::Moved { .. })) {
            // Work may have waited for a folder that was not known.
            self.journal.nudge();
        }
        let pulls_ground = |notice: &Notice| {
            matches!(notice.what, What::Removed | What::Moved { .. })
                && self.journal.view(|overlay| overlay.has_any_in(notice.ino))
        };
        if notices.iter().any(pulls_ground) {
            match self.journal.shelter() {
                Ok(sheltered) => {
                    // What is wanted again has not gone.
                    let back: Vec<Ino> = sheltered.iter().map(|notice| notice.ino).collect();
                    notices.retain(|notice| notice.what != What::Removed || !back.contains(&notice.ino));
                    notices.extend(sheltered);
                }
                Err(error) => tracing::error!(%error, "folders of unsent work are shown again after the next start"),
            }
        }
        for notice in notices {
            let knows_folder = notice.parent == Ino::ROOT || self.kernel_knows(notice.parent);
            let knows_node = self.kernel_knows(notice.ino);
            let forget_name = |parent: Ino, name: &str| {
                let is_other = |intent: &Intent| intent.ino != notice.ino && intent.name == name;
                if !self.journal.view(|overlay| overlay.at(parent, name).is_some_and(is_other)) {
                    self.kernel.post(KernelNotice::Entry { parent, name: shown(name) });
                }
            };
            let tell_entry = |parent: Ino, name: &str| {
                forget_name(parent, name);
                self.kernel.post(KernelNotice::Attributes(parent));
            };
            match notice.what {
                What::Added if knows_folder => tell_entry(notice.parent, &notice.name),
                What::Removed => {
                    if knows_folder {
                        let name = shown(&notice.name);
                        self.kernel.post(KernelNotice::Deleted { parent: notice.parent, child: notice.ino, name });
                        self.kernel.post(KernelNotice::Attributes(notice.parent));
                    }
                    if locked(&self.open).is_open(notice.ino) {
                        self.kernel.post(KernelNotice::Attributes(notice.ino));
                    }
                    locked(&self.times).pop(&notice.ino);
                    self.forget_mode_if_gone(notice.ino);
                    self.touch();
                }
                What::Moved { from, ref name } => {
                    if from == Ino::ROOT || self.kernel_knows(from) {
                        tell_entry(from, name);
                    }
                    if knows_folder {
                        tell_entry(notice.parent, &notice.name);
                    }
                    if knows_node {
                        self.kernel.post(KernelNotice::Attributes(notice.ino));
                    }
                }
                What::Meta if knows_node => self.kernel.post(KernelNotice::Attributes(notice.ino)),
                What::Content if knows_node => {
                    if self.journal.content(notice.ino).is_some() {
                        continue;
                    }
                    if locked(&self.open).is_open(notice.ino) {
                        self.kernel.post(KernelNotice::Attributes(notice.ino));
                    } else {
                        self.kernel.post(KernelNotice::Pages(notice.ino));
                    }
                }
                // What we have sent without an answer is not shown when it is deleted here; somebody else's version of it
                // is, under a name that the kernel may believe to be nothing's.
                What::Content if knows_folder => forget_name(notice.parent, &notice.name),
                What::Added | What::Meta | What::Content => {}
            }
        }
    }

    /// A name that nothing had is that of something again, because our own work is out of its way. Only touches the queue
    /// to the kernel: the journal is locked.
    pub(super) fn tell_revealed(&self, parent: Ino, name: &str) {
        if parent == Ino::ROOT || self.kernel_knows(parent) {
            self.kernel.post(KernelNotice::Entry { parent, name: shown(name) });
            self.kernel.post(KernelNotice::Attributes(parent));
        }
    }

    fn kernel_knows(&self, ino: Ino) -> bool {
        locked(&self.lookups).knows(ino)
    }
}

impl NoticeSink for Volume {
    fn absorb(&self, notices: Vec<Notice>) {
        self.tell(notices);
    }
}
