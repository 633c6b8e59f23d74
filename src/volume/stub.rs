//! A tiny in-memory volume that stands in for the real one while the layers around it are built.
//! It keeps no promise of durability. TO BE DROPPED when the real volume lands.
#![allow(missing_docs, clippy::unused_async)]

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::base::clock::{Clock, Timestamp};

struct Node {
    kind: NodeKind,
    parent: u64,
    children: BTreeMap<OsString, u64>,
    data: Vec<u8>,
    mode: u16,
    mtime: Timestamp,
    ctime: Timestamp,
    links: u32,
    xattrs: BTreeMap<OsString, Bytes>,
    lookups: u64,
    opens: u64,
}

struct State {
    nodes: HashMap<u64, Node>,
    handles: HashMap<u64, (u64, OpenHow)>,
    dirs: HashMap<u64, (u64, Snapshot)>,
    next: u64,
}

pub struct Volume {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    uid: u32,
    gid: u32,
}

const TTL: Duration = Duration::from_secs(60);

impl Volume {
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let now = clock.now();
        let root = Node {
            kind: NodeKind::Folder,
            parent: 1,
            children: BTreeMap::new(),
            data: Vec::new(),
            mode: 0o755,
            mtime: now,
            ctime: now,
            links: 1,
            xattrs: BTreeMap::new(),
            lookups: 1,
            opens: 0,
        };
        Arc::new(Self {
            state: Mutex::new(State {
                nodes: HashMap::from([(1, root)]),
                handles: HashMap::new(),
                dirs: HashMap::new(),
                next: 2,
            }),
            clock,
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn attributes(&self, state: &State, ino: u64) -> VolumeResult<Attributes> {
        let node = state.nodes.get(&ino).ok_or(VolumeError::NotFound)?;
        Ok(Attributes {
            ino: Ino(ino),
            kind: node.kind,
            size: node.data.len() as u64,
            mtime: node.mtime,
            ctime: node.ctime,
            crtime: node.ctime,
            permissions: node.mode,
            links: node.links,
            uid: self.uid,
            gid: self.gid,
            ttl: TTL,
        })
    }

    fn check_name(name: &OsStr) -> VolumeResult<()> {
        if name.len() > 255 { Err(VolumeError::TooLong(name.to_string_lossy().into())) } else { Ok(()) }
    }

    fn add(&self, state: &mut State, parent: u64, name: &OsStr, kind: NodeKind, mode: u32) -> VolumeResult<u64> {
        Self::check_name(name)?;
        let now = self.clock.now();
        let ino = state.next;
        let folder = state.nodes.get_mut(&parent).ok_or(VolumeError::NotFound)?;
        if folder.links == 0 {
            return Err(VolumeError::NotFound);
        }
        if folder.children.contains_key(name) {
            return Err(VolumeError::Exists);
        }
        folder.children.insert(name.to_owned(), ino);
        folder.mtime = now;
        folder.ctime = now;
        state.next += 1;
        state.nodes.insert(
            ino,
            Node {
                kind,
                parent,
                children: BTreeMap::new(),
                data: Vec::new(),
                mode: (mode & 0o777) as u16,
                mtime: now,
                ctime: now,
                links: 1,
                xattrs: BTreeMap::new(),
                lookups: 1,
                opens: 0,
            },
        );
        Ok(ino)
    }

    fn reap(state: &mut State, ino: u64) {
        if state.nodes.get(&ino).is_some_and(|n| n.links == 0 && n.lookups == 0 && n.opens == 0) {
            state.nodes.remove(&ino);
        }
    }

    fn drop_link(&self, state: &mut State, ino: u64) {
        let now = self.clock.now();
        if let Some(node) = state.nodes.get_mut(&ino) {
            node.links = 0;
            node.ctime = now;
        }
        Self::reap(state, ino);
    }

    fn touch(&self, state: &mut State, ino: u64) {
        let now = self.clock.now();
        if let Some(node) = state.nodes.get_mut(&ino) {
            node.mtime = now;
            node.ctime = now;
        }
    }

    fn opened(state: &mut State, ino: u64, how: OpenHow) -> Opened {
        let fh = state.next;
        state.next += 1;
        state.handles.insert(fh, (ino, how));
        if let Some(node) = state.nodes.get_mut(&ino) {
            node.opens += 1;
        }
        Opened { fh: Fh(fh), pages: PageUse::Keep }
    }

    pub async fn lookup(&self, parent: Ino, name: &OsStr) -> VolumeResult<Entry> {
        Self::check_name(name)?;
        let mut state = self.lock();
        let folder = state.nodes.get(&parent.0).ok_or(VolumeError::NotFound)?;
        match folder.children.get(name).copied() {
            None => Ok(Entry::Absent { ttl: TTL }),
            Some(ino) => {
                if let Some(node) = state.nodes.get_mut(&ino) {
                    node.lookups += 1;
                }
                Ok(Entry::Found { attributes: self.attributes(&state, ino)?, ttl: TTL })
            }
        }
    }

    pub fn forget(&self, ino: Ino, count: u64) {
        let mut state = self.lock();
        if let Some(node) = state.nodes.get_mut(&ino.0) {
            node.lookups = node.lookups.saturating_sub(count);
        }
        Self::reap(&mut state, ino.0);
    }

    pub async fn getattr(&self, ino: Ino) -> VolumeResult<Attributes> {
        self.attributes(&self.lock(), ino.0)
    }

    pub async fn setattr(&self, ino: Ino, _fh: Option<Fh>, set: SetAttributes) -> VolumeResult<Attributes> {
        let mut state = self.lock();
        let now = self.clock.now();
        let node = state.nodes.get_mut(&ino.0).ok_or(VolumeError::NotFound)?;
        if set.uid.is_some_and(|uid| uid != self.uid) || set.gid.is_some_and(|gid| gid != self.gid) {
            return Err(VolumeError::NotStorable("another owner"));
        }
        if let Some(size) = set.size {
            node.data.resize(size as usize, 0);
            node.mtime = now;
        }
        if let Some(mtime) = set.mtime {
            node.mtime = mtime.unwrap_or(now);
        }
        if let Some(mode) = set.mode {
            node.mode = (mode & 0o777) as u16;
        }
        node.ctime = now;
        self.attributes(&state, ino.0)
    }

    pub async fn open_dir(&self, ino: Ino) -> VolumeResult<Fh> {
        let snapshot = self.snapshot(ino)?;
        let mut state = self.lock();
        let fh = state.next;
        state.next += 1;
        state.dirs.insert(fh, (ino.0, snapshot));
        Ok(Fh(fh))
    }

    fn snapshot(&self, ino: Ino) -> VolumeResult<Snapshot> {
        let state = self.lock();
        let node = state.nodes.get(&ino.0).ok_or(VolumeError::NotFound)?;
        let mut entries = vec![
            DirEntry { name: ".".into(), attributes: self.attributes(&state, ino.0)? },
            DirEntry { name: "..".into(), attributes: self.attributes(&state, node.parent)? },
        ];
        for (name, child) in &node.children {
            entries.push(DirEntry { name: name.clone(), attributes: self.attributes(&state, *child)? });
        }
        Ok(Arc::new(entries))
    }

    pub async fn read_dir(&self, ino: Ino, fh: Fh, rewind: bool) -> VolumeResult<Snapshot> {
        if rewind {
            let fresh = self.snapshot(ino)?;
            self.lock().dirs.insert(fh.0, (ino.0, fresh));
        }
        self.lock().dirs.get(&fh.0).map(|(_, s)| s.clone()).ok_or(VolumeError::BadHandle)
    }

    pub fn count_lookup(&self, ino: Ino) {
        if let Some(node) = self.lock().nodes.get_mut(&ino.0) {
            node.lookups += 1;
        }
    }

    pub fn release_dir(&self, fh: Fh) {
        self.lock().dirs.remove(&fh.0);
    }

    pub async fn make_folder(&self, parent: Ino, name: &OsStr, mode: u32) -> VolumeResult<Attributes> {
        let mut state = self.lock();
        let ino = self.add(&mut state, parent.0, name, NodeKind::Folder, mode)?;
        self.attributes(&state, ino)
    }

    pub async fn create(
        &self,
        parent: Ino,
        name: &OsStr,
        mode: u32,
        how: OpenHow,
    ) -> VolumeResult<(Attributes, Opened)> {
        let mut state = self.lock();
        let there = state.nodes.get(&parent.0).and_then(|n| n.children.get(name).copied());
        let ino = match there {
            Some(_) if how.exclusive => return Err(VolumeError::Exists),
            Some(ino) => {
                if let Some(node) = state.nodes.get_mut(&ino) {
                    node.lookups += 1;
                }
                ino
            }
            None => self.add(&mut state, parent.0, name, NodeKind::File, mode)?,
        };
        let opened = Self::opened(&mut state, ino, how);
        Ok((self.attributes(&state, ino)?, opened))
    }

    pub async fn make_node(&self, parent: Ino, name: &OsStr, mode: u32) -> VolumeResult<Attributes> {
        let mut state = self.lock();
        let ino = self.add(&mut state, parent.0, name, NodeKind::File, mode)?;
        self.attributes(&state, ino)
    }

    pub async fn unlink(&self, parent: Ino, name: &OsStr) -> VolumeResult<()> {
        self.remove(parent, name, NodeKind::File)
    }

    pub async fn remove_folder(&self, parent: Ino, name: &OsStr) -> VolumeResult<()> {
        self.remove(parent, name, NodeKind::Folder)
    }

    fn remove(&self, parent: Ino, name: &OsStr, kind: NodeKind) -> VolumeResult<()> {
        let mut state = self.lock();
        let ino =
            state.nodes.get(&parent.0).and_then(|n| n.children.get(name).copied()).ok_or(VolumeError::NotFound)?;
        let node = &state.nodes[&ino];
        match (kind, node.kind) {
            (NodeKind::File, NodeKind::Folder) => return Err(VolumeError::IsAFolder),
            (NodeKind::Folder, NodeKind::File) => return Err(VolumeError::NotAFolder),
            _ => {}
        }
        if !node.children.is_empty() {
            return Err(VolumeError::NotEmpty);
        }
        if let Some(folder) = state.nodes.get_mut(&parent.0) {
            folder.children.remove(name);
        }
        self.touch(&mut state, parent.0);
        self.drop_link(&mut state, ino);
        Ok(())
    }

    pub async fn rename(
        &self,
        parent: Ino,
        name: &OsStr,
        new_parent: Ino,
        new_name: &OsStr,
        how: RenameHow,
    ) -> VolumeResult<()> {
        Self::check_name(new_name)?;
        let mut state = self.lock();
        let find = |state: &State, p: Ino, n: &OsStr| state.nodes.get(&p.0).and_then(|f| f.children.get(n).copied());
        let from = find(&state, parent, name).ok_or(VolumeError::NotFound)?;
        let to = find(&state, new_parent, new_name);
        match (how, to) {
            (RenameHow::NoReplace, Some(_)) => return Err(VolumeError::Exists),
            (RenameHow::Exchange, None) => return Err(VolumeError::NotFound),
            (RenameHow::Exchange, Some(_)) => return Err(VolumeError::Invalid("exchange")),
            _ => {}
        }
        if to == Some(from) {
            return Ok(());
        }
        if let Some(to) = to {
            match (state.nodes[&from].kind, state.nodes[&to].kind) {
                (NodeKind::File, NodeKind::Folder) => return Err(VolumeError::IsAFolder),
                (NodeKind::Folder, NodeKind::File) => return Err(VolumeError::NotAFolder),
                _ => {}
            }
            if !state.nodes[&to].children.is_empty() {
                return Err(VolumeError::NotEmpty);
            }
        }
        if let Some(folder) = state.nodes.get_mut(&parent.0) {
            folder.children.remove(name);
        }
        if let Some(folder) = state.nodes.get_mut(&new_parent.0) {
            folder.children.insert(new_name.to_owned(), from);
        }
        if let Some(to) = to {
            self.drop_link(&mut state, to);
        }
        let now = self.clock.now();
        if let Some(node) = state.nodes.get_mut(&from) {
            node.parent = new_parent.0;
            node.ctime = now;
        }
        self.touch(&mut state, parent.0);
        self.touch(&mut state, new_parent.0);
        Ok(())
    }

    pub async fn open(&self, ino: Ino, how: OpenHow) -> VolumeResult<Opened> {
        let mut state = self.lock();
        let node = state.nodes.get_mut(&ino.0).ok_or(VolumeError::NotFound)?;
        if how.truncate {
            node.data.clear();
            self.touch(&mut state, ino.0);
        }
        Ok(Self::opened(&mut state, ino.0, how))
    }

    pub async fn read(&self, ino: Ino, _fh: Fh, offset: u64, size: u32) -> VolumeResult<Bytes> {
        let state = self.lock();
        let data = &state.nodes.get(&ino.0).ok_or(VolumeError::NotFound)?.data;
        let start = (offset as usize).min(data.len());
        let end = start.saturating_add(size as usize).min(data.len());
        Ok(Bytes::copy_from_slice(&data[start..end]))
    }

    pub async fn write(&self, ino: Ino, _fh: Option<Fh>, offset: u64, bytes: &[u8]) -> VolumeResult<u32> {
        let mut state = self.lock();
        let node = state.nodes.get_mut(&ino.0).ok_or(VolumeError::NotFound)?;
        let end = offset as usize + bytes.len();
        if node.data.len() < end {
            node.data.resize(end, 0);
        }
        node.data[offset as usize..end].copy_from_slice(bytes);
        self.touch(&mut state, ino.0);
        Ok(bytes.len() as u32)
    }

    pub async fn flush(&self, _ino: Ino, _fh: Fh) -> VolumeResult<()> {
        Ok(())
    }

    pub async fn fsync(&self, _ino: Ino, _fh: Option<Fh>, _data_only: bool) -> VolumeResult<()> {
        Ok(())
    }

    pub async fn sync_dir(&self, _ino: Ino) -> VolumeResult<()> {
        Ok(())
    }

    pub fn release(&self, ino: Ino, fh: Fh) {
        let mut state = self.lock();
        state.handles.remove(&fh.0);
        if let Some(node) = state.nodes.get_mut(&ino.0) {
            node.opens -= 1;
        }
        Self::reap(&mut state, ino.0);
    }

    pub async fn allocate(&self, ino: Ino, _fh: Fh, mode: i32, extent: Extent) -> VolumeResult<()> {
        let mut state = self.lock();
        let node = state.nodes.get_mut(&ino.0).ok_or(VolumeError::NotFound)?;
        let keep = mode & 1 != 0;
        if mode & 2 != 0 || mode & 0x10 != 0 {
            let end = (extent.end as usize).min(node.data.len());
            let start = (extent.start as usize).min(end);
            node.data[start..end].fill(0);
        }
        if !keep && node.data.len() < extent.end as usize {
            node.data.resize(extent.end as usize, 0);
        }
        self.touch(&mut state, ino.0);
        Ok(())
    }

    pub fn seek(&self, ino: Ino, _fh: Fh, offset: u64, hole: bool) -> VolumeResult<u64> {
        let size = self.attributes(&self.lock(), ino.0)?.size;
        if offset >= size {
            return Err(VolumeError::Invalid("past the end"));
        }
        Ok(if hole { size } else { offset })
    }

    pub fn space(&self) -> Space {
        Space { total: 5 << 40, free: 4 << 40, files: self.lock().nodes.len() as u64 }
    }

    pub async fn get_attribute(&self, ino: Ino, name: &OsStr) -> VolumeResult<AttributeValue> {
        let state = self.lock();
        let node = state.nodes.get(&ino.0).ok_or(VolumeError::NotFound)?;
        node.xattrs.get(name).cloned().ok_or(VolumeError::NoAttribute)
    }

    pub async fn list_attributes(&self, ino: Ino) -> VolumeResult<Vec<OsString>> {
        let state = self.lock();
        let node = state.nodes.get(&ino.0).ok_or(VolumeError::NotFound)?;
        Ok(node.xattrs.keys().cloned().collect())
    }

    pub async fn set_attribute(&self, ino: Ino, name: &OsStr, value: &[u8]) -> VolumeResult<()> {
        let mut state = self.lock();
        let node = state.nodes.get_mut(&ino.0).ok_or(VolumeError::NotFound)?;
        node.xattrs.insert(name.to_owned(), Bytes::copy_from_slice(value));
        Ok(())
    }

    pub async fn remove_attribute(&self, ino: Ino, name: &OsStr) -> VolumeResult<()> {
        let mut state = self.lock();
        let node = state.nodes.get_mut(&ino.0).ok_or(VolumeError::NotFound)?;
        node.xattrs.remove(name).map(|_| ()).ok_or(VolumeError::NoAttribute)
    }
}
