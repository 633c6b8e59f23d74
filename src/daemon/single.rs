//! One daemon per account.
//!
//! Two daemons on one journal would upload each other's half-written files and delete each other's spool
//! (the most often reported way to break a caching mount is to start it twice). So a daemon holds a lock on
//! its state folder from before it opens the first database until its process ends, however it ends: the
//! kernel drops the lock with the last descriptor, and a lock file that is left behind means nothing.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The lock file's name inside the state folder.
const LOCK_FILE: &str = "daemon.lock";

/// Why this process may not be the daemon.
#[derive(Debug, thiserror::Error)]
pub enum SingleError {
    /// Another daemon works on this account.
    #[error("this account is already mounted{}; unmount it first, or use another --state-dir", .holder.told())]
    Taken {
        /// Who holds the lock, as far as the file says.
        holder: Holder,
    },
    /// The mount point contains the program's own files, which it could then never reach.
    #[error("{own} is inside the mount point {mount}; move one of the two, or the mount would wait for itself")]
    OwnFilesInside {
        /// The folder of the program.
        own: PathBuf,
        /// The mount point.
        mount: PathBuf,
    },
    /// The lock file cannot be made or locked.
    #[error("cannot lock {path}: {cause}")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
}

/// What a lock file says about its holder.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Holder {
    /// The daemon's process.
    pub pid: Option<u32>,
    /// Where it is mounted.
    pub mount: Option<PathBuf>,
}

impl Holder {
    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        Self {
            pid: lines.next().and_then(|line| line.parse().ok()),
            mount: lines.next().filter(|line| !line.is_empty()).map(PathBuf::from),
        }
    }

    fn told(&self) -> String {
        match (&self.mount, self.pid) {
            (Some(mount), Some(pid)) => format!(" on {} (process {pid})", mount.display()),
            (None, Some(pid)) => format!(" (process {pid})"),
            _ => String::new(),
        }
    }
}

/// The right to be the daemon of a state folder, held until the process ends or this is dropped.
#[derive(Debug)]
pub struct SingleDaemon {
    // The descriptor is the lock.
    _file: File,
}

impl SingleDaemon {
    /// Takes the lock of `state_dir`, which must exist, and notes in it who we are and where we mount.
    ///
    /// # Errors
    /// [`SingleError::Taken`] if another process has it; never waits.
    pub fn acquire(state_dir: &Path, mount: &Path) -> Result<Self, SingleError> {
        let path = state_dir.join(LOCK_FILE);
        let failed = |cause: io::Error| SingleError::Lock { path: path.clone(), cause };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // What the file says is only for the message.
                let _ = file.read_to_string(&mut text);
                return Err(SingleError::Taken { holder: Holder::parse(&text) });
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        let text = format!("{}\n{}\n", std::process::id(), mount.display());
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(text.as_bytes()))
            .map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Who holds the lock of a state folder; `None` if nobody does. Does not disturb a daemon that starts at
/// this moment for longer than the look takes.
///
/// # Errors
/// When there is a lock file and it cannot be read.
pub fn holder(state_dir: &Path) -> io::Result<Option<Holder>> {
    let mut file = match File::open(state_dir.join(LOCK_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(Some(Holder::parse(&text)))
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Refuses a mount point that would cover the program's own folders: a request would then wait for
/// another request that only its own thread can answer.
///
/// All paths absolute and without symbolic links.
///
/// # Errors
/// [`SingleError::OwnFilesInside`] naming the first such folder.
pub fn keep_out_of_mount(mount: &Path, own: &[&Path]) -> Result<(), SingleError> {
    match own.iter().find(|folder| folder.starts_with(mount)) {
        None => Ok(()),
        Some(folder) => Err(SingleError::OwnFilesInside { own: folder.to_path_buf(), mount: mount.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_daemon_is_told_of_the_first() {
        let state = tempfile::tempdir().expect("a folder");
        assert_eq!(holder(state.path()).expect("readable"), None);
        let first = SingleDaemon::acquire(state.path(), Path::new("/home/a/OneDrive")).expect("free");
        // flock is per open file, so a second open in this process counts as another daemon.
        let error = SingleDaemon::acquire(state.path(), Path::new("/mnt")).expect_err("taken");
        let text = error.to_string();
        assert!(text.contains("/home/a/OneDrive") && text.contains(&std::process::id().to_string()), "{text}");
        let seen = holder(state.path()).expect("readable").expect("held");
        assert_eq!(seen.mount.as_deref(), Some(Path::new("/home/a/OneDrive")));
        drop(first);
        assert_eq!(holder(state.path()).expect("readable"), None);
        SingleDaemon::acquire(state.path(), Path::new("/mnt")).expect("free again");
    }

    #[test]
    fn a_missing_state_folder_is_named() {
        let error = SingleDaemon::acquire(Path::new("/no/such/folder"), Path::new("/mnt")).expect_err("missing");
        assert!(error.to_string().contains("/no/such/folder/daemon.lock"), "{error}");
    }

    #[test]
    fn the_mount_may_not_cover_the_programs_own_files() {
        let mount = Path::new("/home/a/.local");
        assert!(keep_out_of_mount(mount, &[Path::new("/home/a/.cache/x"), Path::new("/home/a/.locale")]).is_ok());
        assert!(keep_out_of_mount(mount, &[Path::new("/home/a/.local/state/x")]).is_err());
    }
}
