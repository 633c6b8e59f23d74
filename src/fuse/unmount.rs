//! Taking a mount down so that the program can always end.
//!
//! A plain unmount refuses while one program has one file open, and the kernel library's own has no limit
//! on how long it waits. Here the mount first leaves the tree (a lazy detach: no new user can come), then
//! its last users get a while, and at the very end the connection is aborted, which wakes everything that
//! waits for it with an error, even what no signal can reach.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::UnmountFlags;

use super::mounts;

/// The kernel's control files, one folder for each FUSE connection
/// (<https://docs.kernel.org/filesystems/fuse.html>).
const CONNECTIONS: &str = "/sys/fs/fuse/connections";

/// How a mount came down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It was down already: somebody else unmounted it.
    Already,
    /// Nobody uses it any more.
    Clean,
    /// Programs still used it; their requests now fail.
    Cut,
    /// Programs still use it; their requests fail when this process ends.
    StillUsed,
}

/// Why a mount could not be taken down.
#[derive(Debug, thiserror::Error)]
pub enum UnmountError {
    /// The kernel refused.
    #[error("cannot unmount {at}: {cause}; try: fusermount3 -uz {at}")]
    Refused {
        /// The mount point.
        at: PathBuf,
        /// The reason, in the words of the kernel or of `fusermount3`.
        cause: String,
    },
    /// The unmounting thread itself failed.
    #[error("unmounting failed unexpectedly; try: fusermount3 -uz on the mount point")]
    Panicked,
}

/// Removes the mount from the tree, whoever uses it. With `device_minor`, only if what is mounted there
/// still is that device: somebody may have unmounted ours and mounted something else.
///
/// # Errors
/// When neither the system call nor `fusermount3` succeeds and the mount is still there.
pub fn detach(at: &Path, device_minor: Option<u32>) -> Result<(), UnmountError> {
    let still_there = || match mounts::at(at) {
        Ok(entry) => entry.is_some_and(|entry| device_minor.is_none_or(|minor| minor == entry.device_minor)),
        // Without /proc we cannot know; trying is harmless.
        Err(_) => true,
    };
    if !still_there() {
        return Ok(());
    }
    let refused = match rustix::mount::unmount(at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) => return Ok(()),
        // Not root: the setuid helper may do it.
        Err(rustix::io::Errno::PERM) => match fusermount(&["-u", "-q", "-z", "--"], at) {
            Ok(()) => return Ok(()),
            Err(cause) => cause,
        },
        Err(errno) => errno.to_string(),
    };
    if still_there() { Err(UnmountError::Refused { at: at.to_owned(), cause: refused }) } else { Ok(()) }
}

/// Cuts the connection of a mount: everything that waits for an answer fails at once. Through the kernel's control files,
/// or, where those are not mounted, as in many containers, by force.
///
/// # Errors
/// When neither is possible, or the mount is somebody else's.
pub fn abort(device_minor: u32) -> io::Result<()> {
    match std::fs::write(format!("{CONNECTIONS}/{device_minor}/abort"), "1") {
        Err(unknown) if unknown.kind() == io::ErrorKind::NotFound => force(device_minor).or(Err(unknown)),
        told => told,
    }
}

/// The same for root: the kernel begins a forced unmount by ending the connection (`fuse_umount_begin` in its
/// fs/fuse/inode.c), and ends it only if nobody uses the mount. It may be there afterwards, dead.
///
/// # Errors
/// When this is not root, or no mount of ours has that number.
pub fn force(device_minor: u32) -> io::Result<()> {
    let ours = mounts::table()?.into_iter().find(|entry| entry.device_minor == device_minor && entry.is_ours());
    let at = ours.ok_or(io::ErrorKind::NotFound)?.at;
    match rustix::mount::unmount(&at, UnmountFlags::FORCE | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(rustix::io::Errno::BUSY) => Ok(()),
        Err(refused) => Err(refused.into()),
    }
}

/// Runs the setuid helper; the error is what it said.
fn fusermount(arguments: &[&str], at: &Path) -> Result<(), String> {
    let mut last = "fusermount3 is not installed".to_owned();
    for program in ["fusermount3", "fusermount"] {
        let mut command = Command::new(program);
        command.args(arguments.iter().map(OsStr::new)).arg(at).stdin(Stdio::null());
        match command.output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_mounted_is_detached_already() {
        let folder = tempfile::tempdir().expect("a folder");
        detach(folder.path(), None).expect("nothing to do");
        detach(Path::new("/"), Some(u32::MAX)).expect("another device is none of ours");
    }
}
