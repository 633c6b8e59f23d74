//! The daemons of this user that are running, found by their control sockets.

use std::io;
use std::path::{Path, PathBuf};

use super::error::{CliError, Kind};
use crate::config::paths::Bases;
use crate::daemon::control::{Answer, Request, Status, ask};

/// A daemon that answers.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its profile.
    pub profile: String,
    /// Its control socket.
    pub socket: PathBuf,
    /// What it said.
    pub status: Status,
}

/// All that answer, by profile. Sockets that a dead daemon left behind are passed over.
///
/// # Errors
/// The folder of sockets cannot be read.
pub fn all() -> Result<Vec<Running>, CliError> {
    let folder = Bases::of_user()?.runtime;
    let mut found: Vec<Running> = sockets(&folder)
        .map_err(|error| CliError::new(Kind::Other, format!("cannot read {}: {error}", folder.display())))?
        .into_iter()
        .filter_map(|socket| {
            let profile = socket.file_stem()?.to_string_lossy().into_owned();
            match ask(&socket, &Request::Status) {
                Ok(Answer::Status(status)) => Some(Running { profile, socket, status }),
                _ => None,
            }
        })
        .collect();
    found.sort_by(|a, b| a.profile.cmp(&b.profile));
    Ok(found)
}

/// Those that serve the mount which `path` lies in; all if there is no path.
///
/// # Errors
/// None does.
pub fn serving(path: Option<&Path>) -> Result<Vec<Running>, CliError> {
    let mut found = all()?;
    if let Some(path) = path {
        let absolute = super::context::absolute(path)?;
        // Resolving may ask the mount, which answers as long as its daemon does.
        let resolved = crate::fuse::mounts::resolve(&absolute).unwrap_or(absolute);
        found.retain(|daemon| resolved.starts_with(&daemon.status.mountpoint));
        // The innermost, should one mount lie in another.
        if let Some(longest) = found.iter().map(|daemon| daemon.status.mountpoint.components().count()).max() {
            found.retain(|daemon| daemon.status.mountpoint.components().count() == longest);
        }
    }
    if found.is_empty() {
        let place = path.map_or(String::new(), |path| format!(" for {}", path.display()));
        return Err(CliError::new(Kind::NotMounted, format!("no OneDrive daemon is running{place}"))
            .hint("to start one: onedrive-mount MOUNTPOINT"));
    }
    Ok(found)
}

fn sockets(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => Ok(entries?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|ending| ending == "sock"))
            .collect()),
    }
}

/// So many changes, in words.
pub fn changes(count: usize) -> String {
    match count {
        1 => "1 change".to_owned(),
        count => format!("{count} changes"),
    }
}
