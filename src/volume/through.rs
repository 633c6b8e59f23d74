//! A file as it is through an open handle, which may be on another version than the file has by now.
//!
//! The kernel keeps one size, one set of attributes and one set of pages for an inode, and here every handle has a version
//! of its own. It looks at the size before each read and cuts the answer there; it appends where it believes the end to be;
//! and it writes pages back without saying through whom they were filled. Always true:
//!
//! - what is asked with a handle is answered with the version that this handle reads;
//! - while somebody has another version open than the file has, the kernel believes no attributes for longer than a call;
//! - the handles through which the kernel fills its pages are all on one version (whoever opens another one reads past the
//!   pages), and what was written into the pages goes into that version or nowhere.

use std::sync::Arc;

use super::handles::{FileHandle, PageVersion, Pin};
use super::tree::Seen;
use super::{Attributes, NodeKind, Volume, VolumeError, VolumeResult, locked};
use crate::base::clock::Timestamp;
use crate::base::ids::{ContentTag, Fh, Ino};
use crate::cache::CacheKey;
use crate::journal::Draft;

impl Pin {
    /// Whether it holds the bytes of a version.
    pub(super) fn has_bytes_of(&self, version: &CacheKey) -> bool {
        self.key.item == version.item && self.has_bytes_tagged(&version.tag)
    }

    fn has_bytes_tagged(&self, tag: &ContentTag) -> bool {
        self.key.tag == *tag || self.key.tag.differs_by_rename_only(tag)
    }

    /// Whether whoever has it reads what is seen of the file.
    fn shows(&self, seen: &Seen) -> bool {
        seen.version.as_ref().is_some_and(|(item, tag, _)| *item == self.key.item && self.has_bytes_tagged(tag))
    }

    /// A file with this version in place of the one that it has.
    fn in_place_of(self, seen: Seen) -> Seen {
        Seen {
            size: self.size,
            modified: self.opened_on.as_ref().map_or(seen.modified, |version| version.modified),
            version: Some((self.key.item, self.key.tag, self.size)),
            opened_on: self.opened_on,
            ..seen
        }
    }
}

impl Volume {
    /// What `fstat` and the kernel itself ask through an open file, or `stat` without one.
    ///
    /// | the handle | the file | the size and time of |
    /// | --- | --- | --- |
    /// | none | is there | the file |
    /// | none | is gone, and open | the version that the kernel has pages of; no links |
    /// | follows the edits, or has the version of the file | is there | the file |
    /// | has another version | is there | that version |
    /// | any | is gone | the version of the handle; no links |
    ///
    /// # Errors
    ///
    /// [`VolumeError::NotFound`] for inodes that are gone.
    pub async fn getattr_through(&self, ino: Ino, fh: Option<Fh>) -> VolumeResult<Attributes> {
        let seen = self.see(ino)?;
        let told = self.attributes(&seen);
        // One that is being closed has nothing to say any more.
        let Some(handle) = fh.and_then(|fh| self.handle_of(ino, fh).ok()) else { return Ok(told) };
        Ok(Attributes { ttl: told.ttl, ..self.attributes(&self.shown_to(&handle, seen)) })
    }

    /// A file with what a handle reads of it.
    pub(super) fn shown_to(&self, handle: &FileHandle, seen: Seen) -> Seen {
        let pin = locked(&handle.pin).clone().filter(|pin| !pin.shows(&seen));
        match pin {
            Some(pin) => pin.in_place_of(seen),
            None => seen,
        }
    }

    /// Whether somebody has another version of the file open than is seen of it.
    pub(super) fn is_open_otherwise(&self, seen: &Seen) -> bool {
        let differs = |handle: &Arc<FileHandle>| locked(&handle.pin).as_ref().is_some_and(|pin| !pin.shows(seen));
        seen.kind == NodeKind::File && locked(&self.open).handles_of(seen.ino).any(differs)
    }

    /// A file that is gone, deleted or displaced elsewhere, for those who still have it open. It can be read, and not
    /// written.
    pub(super) fn see_gone(&self, ino: Ino) -> VolumeResult<Seen> {
        let handle = self.filled_through(ino).or_else(|| locked(&self.open).handles_of(ino).next().cloned());
        let pin = handle.and_then(|handle| locked(&handle.pin).clone()).ok_or(VolumeError::NotFound)?;
        let modified = pin.opened_on.as_ref().map_or(Timestamp(0), |version| version.modified);
        let gone = Seen {
            ino,
            parent: Ino::ROOT,
            name: String::new(),
            kind: NodeKind::File,
            size: pin.size,
            modified,
            changed: modified,
            created: modified,
            links: 0,
            closed: false,
            item: Some(pin.key.item.clone()),
            version: None,
            row: None,
            complete: false,
            foreign: false,
            opened_on: None,
        };
        Ok(pin.in_place_of(gone))
    }

    /// Whether a file was deleted or displaced elsewhere. What was written to it would be gone with the last handle, and
    /// nobody here has meant that.
    pub(super) fn is_gone_elsewhere(&self, seen: &Seen) -> bool {
        seen.links == 0 && locked(&self.open).orphan(seen.ino).is_none()
    }

    /// A handle through which the kernel fills its pages of a file. They are all on one version; one that was on an edit
    /// which was taken back has no say.
    fn filled_through(&self, ino: Ino) -> Option<Arc<FileHandle>> {
        let table = locked(&self.open);
        let cached = || table.handles_of(ino).filter(|handle| !handle.direct);
        cached().find(|handle| locked(&handle.pin).is_some()).or_else(|| cached().next()).cloned()
    }

    /// Whose edit it is that the kernel writes a page back: of a mapping, of which it does not say through which handle it
    /// was made, and which may be about a version that the file has no more.
    ///
    /// | open files that the kernel fills pages for | the pages are of | the edit is |
    /// | --- | --- | --- |
    /// | some | | theirs |
    /// | none | the version that the file has, an edit, or nobody knows | of what the file is |
    /// | none | another version | refused |
    pub(super) fn page_writer(&self, ino: Ino) -> VolumeResult<Option<Arc<FileHandle>>> {
        if let Some(handle) = self.filled_through(ino) {
            return Ok(Some(handle));
        }
        let held = locked(&self.open).pages.get(&ino).cloned();
        let (Some(PageVersion::Clean(key)), Ok(seen)) = (held, self.see(ino)) else { return Ok(None) };
        let shows = |(item, tag, _): &(_, ContentTag, _)| *item == key.item && *tag == key.tag;
        if seen.version.as_ref().is_none_or(shows) { Ok(None) } else { Err(VolumeError::Stale) }
    }

    /// A file as an edit through a handle finds it. Whoever has it open has read, or could read, the version that it was
    /// opened on; written into another one, what is meant for this would make a mixture that nobody ever saw.
    ///
    /// | the handle has | the file | the edit |
    /// | --- | --- | --- |
    /// | the version the file has, or follows the edits here | | goes on |
    /// | an older version, all of it here or nothing of it wanted | has a newer one | starts from the older: both are kept |
    /// | an older version | is being edited here, or not all of the older is here | is refused: open it again |
    pub(super) fn see_through(&self, ino: Ino, handle: Option<&FileHandle>, fresh: bool) -> VolumeResult<Seen> {
        let seen = self.see(ino)?.file()?;
        let Some(handle) = handle else { return Ok(seen) };
        let Some(pin) = locked(&handle.pin).clone().filter(|_| seen.links > 0) else { return Ok(seen) };
        let intent = self.journal.get(ino);
        let tag = match &seen.version {
            Some((_, tag, _)) => Some(tag),
            None => intent.as_ref().and_then(|intent| intent.base.as_ref()?.content_tag.as_ref()),
        };
        let is_of_nothing_here = tag.is_none() && intent.is_none();
        if is_of_nothing_here || tag.is_some_and(|tag| pin.has_bytes_tagged(tag)) {
            return Ok(seen);
        }
        let is_here = fresh || pin.size == 0 || self.cache.is_complete(&pin.key, pin.size);
        if pin.opened_on.is_some() && intent.is_none() && is_here {
            let modified = seen.modified;
            Ok(Seen { modified, ..pin.in_place_of(seen) })
        } else {
            Err(VolumeError::Stale)
        }
    }

    /// The edit that a handle reads, if it reads one.
    pub(super) fn edit_for(&self, handle: &FileHandle) -> Option<Arc<Draft>> {
        // In this order: an edit that lands waits, with the journal locked, for the pins.
        let draft = self.edit_of(handle.ino)?;
        locked(&handle.pin).is_none().then_some(draft)
    }

    /// The edit of a file, with a name or without.
    pub(super) fn edit_of(&self, ino: Ino) -> Option<Arc<Draft>> {
        self.journal.content(ino).or_else(|| locked(&self.open).orphan(ino)?.draft.clone())
    }
}
