//! Why a mount would fail, found out before it does, in a sentence that says what to do.
//!
//! The kernel and the helper report most of these as one and the same "operation not permitted".

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::mounts::{self, Pulse};
use super::{MountOptions, unmount};

/// The device through which the kernel talks to file-system programs.
const DEVICE: &str = "/dev/fuse";

/// Where the administrator allows ordinary users to use `allow_other`.
const FUSE_CONF: &str = "/etc/fuse.conf";

/// How long a mount found at the mount point may take to show that it is alive.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why nothing was mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The mount point does not exist.
    #[error("{0} does not exist; create it first: mkdir -p {0}")]
    Missing(PathBuf),
    /// The mount point is not a folder.
    #[error("{0} is not a folder; choose an empty folder as the mount point")]
    NotAFolder(PathBuf),
    /// The mount point has files in it, which the mount would hide.
    #[error("{0} is not empty; choose an empty folder, because what is in it would be hidden by the mount")]
    NotEmpty(PathBuf),
    /// The mount point cannot be entered.
    #[error("cannot use {at} as the mount point: {cause}")]
    Unusable {
        /// The mount point.
        at: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// This program is already mounted there.
    #[error("{0} is already a OneDrive mount; unmount it first: fusermount3 -u {0}")]
    AlreadyMounted(PathBuf),
    /// Something else is mounted there.
    #[error("{at} already has something mounted on it ({kind} from {source_name}); choose another folder")]
    Occupied {
        /// The mount point.
        at: PathBuf,
        /// The file system's type.
        kind: String,
        /// What is mounted.
        source_name: String,
    },
    /// A dead mount that could not be removed.
    #[error("{at} is left over from a program that died ({kind}); remove it first: fusermount3 -uz {at}")]
    Stale {
        /// The mount point.
        at: PathBuf,
        /// The file system's type.
        kind: String,
    },
    /// There is no FUSE in this kernel or container.
    #[error(
        "{DEVICE} does not exist; load the kernel module (sudo modprobe fuse), or in a container pass \
         --device {DEVICE} --cap-add SYS_ADMIN"
    )]
    NoDevice,
    /// The device cannot be opened by this user.
    #[error("{DEVICE} cannot be opened by this user (mode {mode:03o}); let users use it: sudo chmod 666 {DEVICE}")]
    DeviceDenied {
        /// Its permission bits.
        mode: u32,
    },
    /// The setuid helper is missing.
    #[error(
        "fusermount3 is not installed; install it: sudo apt install fuse3, sudo dnf install fuse3, or \
         sudo pacman -S fuse3"
    )]
    NoHelper,
    /// Ordinary users may not open their mounts to others.
    #[error("--allow-other needs the line user_allow_other in {FUSE_CONF}; add it, or leave the option out")]
    AllowOtherRefused,
    /// The kernel or the helper refused; the text is theirs.
    #[error("cannot mount on {at}: {cause}")]
    Refused {
        /// The mount point.
        at: PathBuf,
        /// In the words of the kernel or of `fusermount3`.
        cause: String,
    },
    /// No thread could be started for the session.
    #[error("cannot start the threads that serve the mount: {0}")]
    Threads(io::Error),
}

/// Looks at everything a mount needs, removes a dead mount of ours, and returns the mount point without
/// symbolic links.
///
/// # Errors
/// The first thing that stands in the way.
pub fn check(at: &Path, options: &MountOptions) -> Result<PathBuf, MountError> {
    let at = check_folder(at)?;
    check_device()?;
    if !rustix::process::geteuid().is_root() {
        check_helper()?;
        if options.allow_other {
            check_allow_other()?;
        }
    }
    Ok(at)
}

/// The part of [`check`] that looks at the mount point alone.
///
/// # Errors
/// When it is missing, not a folder, not empty, or has something mounted on it.
pub fn check_folder(at: &Path) -> Result<PathBuf, MountError> {
    let named = at.to_owned();
    let at = mounts::resolve(at).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => MountError::Missing(named.clone()),
        io::ErrorKind::NotADirectory => MountError::NotAFolder(named.clone()),
        _ => MountError::Unusable { at: named.clone(), cause },
    })?;
    clear_stale(&at)?;
    let unusable = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => MountError::Missing(at.clone()),
        io::ErrorKind::NotADirectory => MountError::NotAFolder(at.clone()),
        _ => MountError::Unusable { at: at.clone(), cause },
    };
    if !std::fs::metadata(&at).map_err(unusable)?.is_dir() {
        return Err(MountError::NotAFolder(at));
    }
    if std::fs::read_dir(&at).map_err(unusable)?.next().is_some() {
        return Err(MountError::NotEmpty(at));
    }
    Ok(at)
}

/// Removes a dead mount of ours from `at`, an absolute path without symbolic links; anything else that is
/// mounted there is an error, dead or alive. Nothing mounted there is fine.
///
/// # Errors
/// When something that is not a dead mount of ours and of this user is mounted there.
pub fn clear_stale(at: &Path) -> Result<(), MountError> {
    // A crash loop can stack several dead mounts; each turn removes one or returns.
    while let Some(entry) = mounts::at(at).map_err(|cause| MountError::Unusable { at: at.to_owned(), cause })? {
        if !entry.is_fuse() {
            return Err(MountError::Occupied { at: at.to_owned(), kind: entry.kind, source_name: entry.source });
        }
        let dead = mounts::pulse(at, PATIENCE) == Pulse::Dead;
        let me = rustix::process::geteuid();
        match (entry.is_ours(), dead) {
            (true, false) => return Err(MountError::AlreadyMounted(at.to_owned())),
            (false, false) => {
                return Err(MountError::Occupied { at: at.to_owned(), kind: entry.kind, source_name: entry.source });
            }
            (true, true) if me.is_root() || entry.user == Some(me.as_raw()) => {
                tracing::warn!(at = %at.display(), "removing a mount that an earlier run left behind");
                if unmount::detach(at, Some(entry.device_minor)).is_err() {
                    return Err(MountError::Stale { at: at.to_owned(), kind: entry.kind });
                }
            }
            (_, true) => return Err(MountError::Stale { at: at.to_owned(), kind: entry.kind }),
        }
    }
    Ok(())
}

/// The part of [`check`] that looks at this machine and not at a mount point.
///
/// # Errors
/// FUSE cannot be used here.
pub fn check_machine() -> Result<(), MountError> {
    check_device()?;
    if rustix::process::geteuid().is_root() { Ok(()) } else { check_helper() }
}

fn check_device() -> Result<(), MountError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(DEVICE).map_err(|_| MountError::NoDevice)?;
    if !metadata.file_type().is_char_device() {
        return Err(MountError::NoDevice);
    }
    match std::fs::OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(MountError::DeviceDenied { mode: metadata.permissions().mode() & 0o777 })
        }
        // The node is there and the driver behind it is not.
        Err(_) => Err(MountError::NoDevice),
    }
}

fn check_helper() -> Result<(), MountError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain([PathBuf::from("/bin"), PathBuf::from("/usr/bin")])
        .any(|folder| ["fusermount3", "fusermount"].iter().any(|name| folder.join(name).is_file()));
    if found { Ok(()) } else { Err(MountError::NoHelper) }
}

fn check_allow_other() -> Result<(), MountError> {
    match std::fs::read_to_string(FUSE_CONF) {
        Ok(text) if allows_other(&text) => Ok(()),
        // Not readable by us does not mean not readable by the helper: let it decide.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        _ => Err(MountError::AllowOtherRefused),
    }
}

fn allows_other(conf: &str) -> bool {
    conf.lines().any(|line| line.trim() == "user_allow_other")
}

/// Puts the failure of a mount into words.
pub fn explain(at: &Path, options: &MountOptions, error: io::Error) -> MountError {
    let text = error.to_string();
    if options.allow_other && text.contains("user_allow_other") {
        return MountError::AllowOtherRefused;
    }
    let cause = if text.contains("Operation not permitted") || error.kind() == io::ErrorKind::PermissionDenied {
        let text = text.trim();
        format!(
            "{text}; mounting is not allowed here: in a container pass --device {DEVICE} --cap-add SYS_ADMIN, \
             in a systemd unit leave out NoNewPrivileges"
        )
    } else {
        text.trim().to_owned()
    };
    MountError::Refused { at: at.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_an_empty_folder_that_exists() {
        let folder = tempfile::tempdir().expect("a folder");
        let top = folder.path().canonicalize().expect("exists");
        assert_eq!(check_folder(&top).expect("empty"), top);
        std::fs::write(top.join("file"), "x").expect("a file");
        assert!(matches!(check_folder(&top), Err(MountError::NotEmpty(at)) if at == top));
        assert!(matches!(check_folder(&top.join("file")), Err(MountError::NotAFolder(_))));
        assert!(matches!(check_folder(&top.join("none")), Err(MountError::Missing(_))));
        assert!(matches!(check_folder(&top.join("file/none")), Err(MountError::NotAFolder(_))));
    }

    #[test]
    fn what_somebody_else_has_mounted_is_left_alone() {
        let error = check_folder(Path::new("/proc")).expect_err("proc is mounted there");
        assert!(matches!(&error, MountError::Occupied { kind, .. } if kind == "proc"), "{error}");
    }

    #[test]
    fn fuse_conf_is_read_without_its_comments() {
        assert!(allows_other("mount_max = 1000\n  user_allow_other \n"));
        assert!(!allows_other("#user_allow_other\n"));
    }

    #[test]
    fn the_helpers_words_become_advice() {
        let options = MountOptions { allow_other: true, ..MountOptions::default() };
        let told = io::Error::other("fusermount3: option allow_other only allowed if 'user_allow_other' is set");
        assert!(matches!(explain(Path::new("/m"), &options, told), MountError::AllowOtherRefused));
        let told = io::Error::other("fusermount3: mount failed: Operation not permitted");
        let text = explain(Path::new("/m"), &options, told).to_string();
        assert!(text.contains("NoNewPrivileges"), "{text}");
    }
}
