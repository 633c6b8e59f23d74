//! Names at the door: what a program may call something here, decided before anything is recorded.

use std::ffi::{OsStr, OsString};

use super::{Volume, VolumeError, VolumeResult};
use crate::base::ids::Ino;
use crate::base::name::{self, NameError};

/// A name that was let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Admitted {
    /// In the spelling of the service.
    pub remote: String,
    /// A file of this name stays on this machine.
    pub local_only: bool,
}

fn refused(error: NameError) -> VolumeError {
    match error {
        NameError::TooLong(_) => VolumeError::TooLong(error.to_string()),
        _ => VolumeError::BadName(error.to_string()),
    }
}

/// The spelling of the service for a name that is looked up: anything that could exist, local-only names
/// included.
pub(super) fn for_lookup(local: &OsStr) -> VolumeResult<Option<String>> {
    match name::map(local) {
        Ok(remote) => Ok(Some(remote)),
        Err(error @ NameError::TooLong(_)) => Err(refused(error)),
        Err(_) => Ok(None),
    }
}

/// A name of the service as programs see it.
pub(super) fn shown(remote: &str) -> OsString {
    OsString::from(name::to_local(remote))
}

impl Volume {
    /// Whether a new file (or, with `folder`, a new folder) may have this name in this folder.
    pub(super) fn admit(&self, parent: Ino, local: &OsStr, folder: bool) -> VolumeResult<Admitted> {
        if parent == Ino::ROOT && name::is_desktop_trash(local) {
            return Err(VolumeError::Denied(
                "the desktop's trash folder stays out of OneDrive; delete instead, the service has a recycle bin"
                    .into(),
            ));
        }
        let local_only = !folder && name::is_local_only(local);
        let remote = if local_only { name::map(local) } else { name::to_remote(local) }.map_err(refused)?;
        if !local_only && let Some(limit) = self.remote.caps().max_path {
            let length = self.path_length(parent, &remote);
            if length > limit {
                return Err(VolumeError::TooLong(format!("the path has {length} characters, OneDrive stores {limit}")));
            }
        }
        Ok(Admitted { remote, local_only })
    }
}
