//! A kernel that believes what it was told until it is told to forget: for minutes, as the real one does while changes
//! elsewhere reach us. Whatever it believes must be true, or a program is shown a name that is not there, or not shown one
//! that is.

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::{Mutex, MutexGuard, PoisonError};

use onedrive_mount::base::clock::Timestamp;
use onedrive_mount::base::ids::Ino;
use onedrive_mount::daemon::core::Core;
use onedrive_mount::volume::{Attributes, Entry, KernelNotice, KernelSink, NodeKind};

use super::User;

/// See the module.
#[derive(Default)]
pub struct Believer {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What stands under a name of a folder; `None` if nothing.
    names: HashMap<(Ino, OsString), Option<Ino>>,
    /// Size and modification time of files.
    files: HashMap<Ino, (u64, Timestamp)>,
}

impl KernelSink for Believer {
    fn post(&self, notice: KernelNotice) {
        let mut state = self.state();
        match notice {
            KernelNotice::Entry { parent, name } | KernelNotice::Deleted { parent, name, .. } => {
                state.names.remove(&(parent, name));
            }
            KernelNotice::Attributes(ino) | KernelNotice::Pages(ino) => {
                state.files.remove(&ino);
            }
        }
    }
}

fn is_file(attributes: &Attributes) -> bool {
    attributes.kind == NodeKind::File
}

impl Believer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A program of this machine is about to do something, or has done it: the kernel, which is part of it, knows nothing
    /// of these paths any more but what it asks.
    pub async fn does(&self, core: &Core, paths: &[String]) {
        for path in paths {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let Ok(folder) = User(core).walk(folder).await else { continue };
            let mut state = self.state();
            if let Some(Some(ino)) = state.names.remove(&(folder, name.into())) {
                state.files.remove(&ino);
            }
        }
    }

    /// Programs look for these names in every folder, and go into what is one. The kernel asks for what it does not know.
    pub async fn look(&self, core: &Core, names: &[&str]) {
        const DEEPEST: usize = 4;
        let mut folders = vec![(Ino::ROOT, 0)];
        while let Some((folder, depth)) = folders.pop() {
            for name in names {
                let key = (folder, OsString::from(name));
                let known = self.state().names.get(&key).copied();
                let found = match known {
                    Some(known) => known,
                    None => match core.volume.lookup(folder, name.as_ref()).await {
                        Ok(Entry::Found { attributes, .. }) => {
                            let mut state = self.state();
                            if is_file(&attributes) {
                                state.files.insert(attributes.ino, (attributes.size, attributes.mtime));
                            }
                            state.names.insert(key, Some(attributes.ino));
                            Some(attributes.ino)
                        }
                        Ok(Entry::Absent { .. }) => {
                            self.state().names.insert(key, None);
                            None
                        }
                        // Not answered, for lack of a network: nothing to believe.
                        Err(_) => None,
                    },
                };
                if let Some(ino) = found
                    && depth < DEEPEST
                    && core.volume.getattr(ino).await.is_ok_and(|attributes| !is_file(&attributes))
                {
                    folders.push((ino, depth + 1));
                }
            }
        }
    }

    /// What is believed and not true. To be asked while nothing happens.
    pub async fn errors(&self, core: &Core) -> Vec<String> {
        let mut errors = Vec::new();
        let names: Vec<_> = self.state().names.iter().map(|(key, ino)| (key.clone(), *ino)).collect();
        for ((folder, name), believed) in names {
            let is = match core.volume.lookup(folder, &name).await {
                Ok(Entry::Found { attributes, .. }) => Some(attributes.ino),
                Ok(Entry::Absent { .. }) => None,
                // A folder that is gone, with all names in it: whether that is known shows at its own name.
                Err(_) => continue,
            };
            if is != believed {
                errors.push(format!("{name:?} in folder {folder} is {is:?} and believed to be {believed:?}"));
            }
        }
        let files: Vec<_> = self.state().files.iter().map(|(ino, seen)| (*ino, *seen)).collect();
        for (ino, believed) in files {
            if let Ok(attributes) = core.volume.getattr(ino).await
                && (attributes.size, attributes.mtime) != believed
            {
                let is = (attributes.size, attributes.mtime);
                errors.push(format!("inode {ino} has size and time {is:?} and is believed to have {believed:?}"));
            }
        }
        errors
    }
}
