//! Where things stand, for people who ask about a path instead of opening it.
//!
//! A program that opens a file may wait for the network; a person who asks what is the matter with it must not. So
//! nothing here ever does: paths are walked through what is known, and a folder that was never listed is an answer of
//! its own.

use std::collections::HashMap;
use std::sync::PoisonError;

use super::names::{for_lookup, shown};
use super::tree::Seen;
use super::{KernelNotice, NodeKind, Volume, VolumeResult, locked};
use crate::base::ids::{ContentTag, Ino, ItemId};
use crate::base::name;
use crate::cache::{CacheKey, Usage};
use crate::index::{Notice, What};
use crate::journal::{Refusal, Undone};
use crate::remote::{Quota, RemoteErrorKind};

/// What a path leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Located {
    /// Something that the user sees.
    Here(Box<Sight>),
    /// Nothing, for certain.
    Nothing,
    /// Perhaps something: the folder on the way was never listed.
    Unlisted,
}

/// What is known of a file or folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sight {
    /// Its inode.
    pub ino: Ino,
    /// File or folder.
    pub kind: NodeKind,
    /// Size in bytes; 0 for folders.
    pub size: u64,
    /// Bytes of the cloud's version that are on this machine; 0 while it is edited here.
    pub cached: u64,
    /// Its name in the spelling of the service.
    pub name_in_cloud: String,
    /// Its identity in the cloud.
    pub item: Option<ItemId>,
    /// The version of its bytes that a reader sees; `None` for folders and for edits.
    pub version: Option<ContentTag>,
    /// It is shown but cannot be entered.
    pub closed: bool,
    /// It belongs to another drive and cannot be changed.
    pub foreign: bool,
    /// Whether every child of a folder is known.
    pub complete: bool,
}

/// A path within the mount without what means nothing in it: no slash in front, none doubled.
pub fn plain(path: &str) -> String {
    path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// The path of a name, in the spelling of the service, in the folder at a path.
pub fn joined(folder: &str, remote_name: &str) -> String {
    let name = name::to_local(remote_name);
    if folder.is_empty() { name } else { format!("{folder}/{name}") }
}

/// Paths within the mount by inode, each folder looked up once. Parts are separated by `/`; the root is empty.
pub struct Paths<'a> {
    volume: &'a Volume,
    folders: HashMap<Ino, String>,
}

impl Paths<'_> {
    /// The path of a name in a folder, also of one that was deleted with its folder.
    pub fn of(&mut self, parent: Ino, remote_name: &str) -> String {
        joined(&self.folder(parent, 0), remote_name)
    }

    fn folder(&mut self, ino: Ino, depth: usize) -> String {
        const DEEPEST: usize = 400;
        if ino == Ino::ROOT || depth > DEEPEST {
            return String::new();
        }
        if let Some(path) = self.folders.get(&ino) {
            return path.clone();
        }
        let path = match self.volume.journal.place_of(ino) {
            Some((parent, name)) => joined(&self.folder(parent, depth + 1), &name),
            None => "?".to_owned(),
        };
        self.folders.insert(ino, path.clone());
        path
    }
}

impl Volume {
    /// For asking for many paths at once.
    pub fn paths(&self) -> Paths<'_> {
        Paths { volume: self, folders: HashMap::new() }
    }

    /// The path of an item of the cloud, if it is known.
    pub fn path_of_item(&self, item: &ItemId) -> Option<String> {
        let ino = self.index.by_id(item).ok().flatten()?.ino;
        if ino == Ino::ROOT {
            return Some(String::new());
        }
        let (parent, name) = self.journal.place_of(ino)?;
        Some(self.paths().of(parent, &name))
    }

    /// What a path within the mount leads to, as far as it is known. Names are compared exactly.
    ///
    /// # Errors
    ///
    /// [`VolumeError`](super::VolumeError) if the index fails, or a name is too long for anything.
    pub fn locate(&self, path: &str) -> VolumeResult<Located> {
        Ok(match self.walk_known(path)? {
            Ok(seen) => Located::Here(Box::new(self.sight(&seen))),
            Err(complete) => {
                if complete {
                    Located::Nothing
                } else {
                    Located::Unlisted
                }
            }
        })
    }

    /// The node at a path; the error tells whether it is certain that there is none.
    pub(super) fn walk_known(&self, path: &str) -> VolumeResult<Result<Seen, bool>> {
        let mut seen = self.see(Ino::ROOT)?;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if seen.kind != NodeKind::Folder {
                return Ok(Err(true));
            }
            let Some(remote) = for_lookup(part.as_ref())? else { return Ok(Err(true)) };
            match self.child(seen.ino, &remote)? {
                Some(child) if shown(&child.name) == part => seen = child,
                _ => return Ok(Err(seen.complete)),
            }
        }
        Ok(Ok(seen))
    }

    fn sight(&self, seen: &Seen) -> Sight {
        let cached = seen.version.as_ref().map_or(0, |(item, tag, size)| {
            let key = CacheKey::new(item, tag);
            self.cache.present(&key, *size).total()
        });
        Sight {
            ino: seen.ino,
            kind: seen.kind,
            size: seen.size,
            cached,
            name_in_cloud: seen.name.clone(),
            item: seen.item.clone(),
            version: seen.version.as_ref().map(|(_, tag, _)| tag.clone()),
            closed: seen.closed,
            foreign: seen.foreign,
            complete: seen.complete,
        }
    }

    /// The drive's space as last reported.
    pub fn quota(&self) -> Quota {
        *self.quota.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much content is kept on this machine.
    pub fn cache_usage(&self) -> Usage {
        self.cache.usage()
    }

    /// Files whose content is on its way here: path, size in bytes, bytes that are here.
    pub fn downloads(&self) -> Vec<(String, u64, u64)> {
        let coming = self.fetcher.coming().into_iter().filter_map(|(key, rest)| {
            let row = self.index.by_id(&key.item).ok().flatten()?;
            let here = self.cache.cached_bytes(&key).min(row.size);
            Some((self.path_of_item(&key.item)?, row.size, here.min(row.size.saturating_sub(rest.min(row.size)))))
        });
        let mut coming: Vec<_> = coming.collect();
        coming.sort();
        coming
    }

    /// Takes back what has not been sent about an inode; see [`crate::journal::Journal::discard`]. The mount shows the
    /// cloud's state again at once.
    ///
    /// # Errors
    ///
    /// [`VolumeError`](super::VolumeError) if the journal cannot be written; the inner error says why not.
    pub fn discard(&self, ino: Ino) -> VolumeResult<Result<Undone, Refusal>> {
        let undone = {
            let _names = self.name_lock();
            match self.journal.discard(ino)? {
                Ok(undone) => undone,
                Err(refusal) => return Ok(Err(refusal)),
            }
        };
        let mut notices = Vec::new();
        for was in &undone.intents {
            if was.is_live() {
                self.kernel.post(KernelNotice::Entry { parent: was.parent, name: shown(&was.name) });
                self.touch_folder(was.parent);
            }
            locked(&self.times).pop(&was.ino);
            self.touch();
            let Some(seen) = self.see(was.ino).ok().filter(|seen| seen.links > 0) else { continue };
            let notice = |what| Notice { ino: seen.ino, parent: seen.parent, name: seen.name.clone(), what };
            notices.push(notice(What::Added));
            if was.sealed.is_some() || was.drafting.is_some() {
                notices.push(notice(What::Content));
            }
            self.touch_folder(seen.parent);
        }
        self.tell(notices);
        Ok(Ok(undone))
    }
}

/// Whether the service can be used, in the words that `status` uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Connection {
    /// It answers.
    Online,
    /// Nothing has been heard of it yet.
    Starting,
    /// It cannot be reached, or is ill.
    Offline,
    /// It asks for patience.
    Throttled,
    /// Nobody is signed in.
    SignedOut,
}

/// What the state of the connection is judged by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Signs {
    /// What the last look for changes failed with.
    pub trouble: Option<RemoteErrorKind>,
    /// The last request of any kind found no connection.
    pub disconnected: bool,
    /// Requests are being held back because the service asked for it.
    pub pausing: bool,
    /// Something has been heard since the start.
    pub heard: bool,
}

/// The state of the connection.
///
/// | signed out | pausing, or told to | no connection, or the service is ill | heard of it | state |
/// | --- | --- | --- | --- | --- |
/// | yes | | | | signed out |
/// | no | yes | | | throttled |
/// | no | no | yes | | offline |
/// | no | no | no | no | starting |
/// | no | no | no | yes | online |
pub fn connection(signs: Signs) -> Connection {
    match signs.trouble {
        Some(RemoteErrorKind::SignedOut) => Connection::SignedOut,
        Some(RemoteErrorKind::Throttled) => Connection::Throttled,
        _ if signs.pausing => Connection::Throttled,
        Some(RemoteErrorKind::Offline | RemoteErrorKind::Unavailable) => Connection::Offline,
        _ if signs.disconnected => Connection::Offline,
        _ if !signs.heard => Connection::Starting,
        _ => Connection::Online,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table() {
        let well = Signs { heard: true, ..Signs::default() };
        assert_eq!(connection(well), Connection::Online);
        assert_eq!(connection(Signs::default()), Connection::Starting);
        assert_eq!(connection(Signs { disconnected: true, ..Signs::default() }), Connection::Offline);
        assert_eq!(connection(Signs { trouble: Some(RemoteErrorKind::Unavailable), ..well }), Connection::Offline);
        assert_eq!(connection(Signs { pausing: true, disconnected: true, ..well }), Connection::Throttled);
        assert_eq!(connection(Signs { trouble: Some(RemoteErrorKind::Throttled), ..well }), Connection::Throttled);
        let out = Signs { trouble: Some(RemoteErrorKind::SignedOut), pausing: true, disconnected: true, heard: false };
        assert_eq!(connection(out), Connection::SignedOut);
        assert_eq!(connection(Signs { trouble: Some(RemoteErrorKind::Protocol), ..well }), Connection::Online);
    }
}
