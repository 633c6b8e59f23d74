//! Everything that can be wrong with a mount point, found before anything is started.
//!
//! What makes a folder fit for a mount is decided where mounts are made; here the folder is created if it is missing,
//! the program's own folders are kept out of it, and each trouble gets its exit code.

use std::io;
use std::path::{Path, PathBuf};

use super::error::{CliError, Kind};
use crate::config::paths::Places;
use crate::fuse::{MountError, MountOptions, mounts, preflight};

/// Makes the folder if it is missing and checks all that a mount on it needs. The folder, without symbolic links. A
/// dead mount of ours is removed from it.
///
/// # Errors
/// The first thing that stands in the way, with an exit code of its own.
pub fn prepare(path: &Path, allow_other: bool) -> Result<PathBuf, CliError> {
    make_if_missing(path)?;
    let options = MountOptions { allow_other, ..MountOptions::default() };
    preflight::check(path, &options).map_err(refusal)
}

/// Checks that this machine can mount at all.
///
/// # Errors
/// What is missing, with an exit code of its own.
pub fn fuse_works() -> Result<(), CliError> {
    preflight::check_machine().map_err(refusal)
}

/// Checks that nothing which the daemon writes lies below the mount: it would wait for itself.
///
/// # Errors
/// [`Kind::FoldersBelowMountpoint`], naming the folder and the option that moves it.
pub fn keep_apart(mountpoint: &Path, places: &Places) -> Result<(), CliError> {
    for (what, folder, option) in [
        ("cache", &places.cache, "--cache-dir"),
        ("state folder", &places.state, "--state-dir"),
        ("control socket", &places.runtime, "XDG_RUNTIME_DIR"),
    ] {
        if resolve_existing(folder).starts_with(mountpoint) {
            let sentence = format!(
                "the {what} {} lies below the mount point {}, where it would wait for itself; move it with {option}, \
                 or choose another mount point",
                folder.display(),
                mountpoint.display()
            );
            return Err(CliError::new(Kind::FoldersBelowMountpoint, sentence));
        }
    }
    Ok(())
}

/// A failed mount with its exit code.
pub fn refusal(error: MountError) -> CliError {
    let kind = match &error {
        MountError::NotAFolder(_) => Kind::NotAFolder,
        MountError::NotEmpty(_) => Kind::NotEmpty,
        MountError::AlreadyMounted(_) | MountError::Occupied { .. } => Kind::AlreadyMounted,
        MountError::Stale { .. } => Kind::StaleMount,
        MountError::NoDevice => Kind::NoFuseDevice,
        MountError::DeviceDenied { .. } => Kind::FuseDeviceDenied,
        MountError::NoHelper => Kind::NoFuseHelper,
        MountError::AllowOtherRefused => Kind::AllowOtherRefused,
        MountError::Missing(_) | MountError::Unusable { .. } => Kind::MountpointUnusable,
        MountError::Refused { .. } | MountError::Threads(_) => Kind::MountRefused,
    };
    CliError::new(kind, error)
}

fn make_if_missing(path: &Path) -> Result<(), CliError> {
    // Asking the path itself would ask a mount that may be dead or stuck; the kernel's table answers always.
    let is_mounted = mounts::resolve(path).is_ok_and(|at| mounts::at(&at).is_ok_and(|mount| mount.is_some()));
    if is_mounted || !matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    std::fs::create_dir_all(path).map_err(|error| {
        let sentence = format!("cannot make the mount point {}: {error}", path.display());
        CliError::new(Kind::MountpointUnusable, sentence).hint("choose a folder in your home")
    })
}

/// A path without symbolic links, as far as it exists.
fn resolve_existing(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(resolved) = ancestor.canonicalize() {
            let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
            return resolved.join(rest);
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::paths::Bases;

    #[test]
    fn a_missing_mount_point_is_made_and_a_wrong_one_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().join("a/b");
        make_if_missing(&at).expect("made");
        assert!(at.is_dir());
        make_if_missing(&at).expect("still there");
        std::fs::write(folder.path().join("file"), "x").expect("written");
        let error = make_if_missing(&folder.path().join("file/below")).err();
        assert!(error.is_none_or(|error| error.kind == Kind::MountpointUnusable));
        let code = |path: &Path| prepare(path, false).expect_err("refused").kind;
        assert_eq!(code(folder.path()), Kind::NotEmpty);
        assert_eq!(code(&folder.path().join("file")), Kind::NotAFolder);
        assert_eq!(code(Path::new("/proc")), Kind::AlreadyMounted);
    }

    #[test]
    fn folders_of_the_program_stay_out_of_the_mount_even_behind_links() {
        let folder = tempfile::tempdir().expect("a folder");
        let top = folder.path().canonicalize().expect("it exists");
        let mountpoint = top.join("m");
        std::fs::create_dir(&mountpoint).expect("made");
        std::os::unix::fs::symlink(&mountpoint, top.join("link")).expect("linked");
        let bases = Bases { config: top.join("c"), state: top.join("s"), cache: top.join("k"), runtime: top.join("r") };
        let apart = |state: &str, cache: &str| {
            let places = Places::new(&bases, None, Some(top.join(state)), Some(top.join(cache)));
            keep_apart(&mountpoint, &places).map_err(|error| error.to_string())
        };
        assert_eq!(apart("s", "k"), Ok(()));
        assert_eq!(apart("s", "m2"), Ok(()));
        assert!(apart("s", "m/cache").expect_err("below").contains("--cache-dir"));
        assert!(apart("link/not/yet", "k").expect_err("below").contains("--state-dir"));
    }
}
