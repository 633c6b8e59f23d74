//! What is for this user's eyes only: folders, files, and the memory of the process.
//!
//! Tokens, upload addresses and the content of a person's files lie on this disk, next to what other users of the
//! machine can read. Always true of what goes through here, whatever the umask was and whatever a backup, an older
//! version or a hand has done to the modes before: folders have mode 0700 and files 0600 when the call returns, or the
//! call fails. A folder that belongs to everybody (`/tmp`) or to somebody else is refused, not taken away from them.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// What others may do.
const OTHERS: u32 = 0o077;
/// A folder in which everybody may make files.
const STICKY: u32 = 0o1000;

/// Makes a folder and its missing parents, or closes the one that is there to others.
///
/// # Errors
///
/// It cannot be made; or others may enter it and it is not ours to close.
pub fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let facts = fs::metadata(path)?;
    let mode = facts.mode();
    if mode & 0o777 == 0o700 {
        return Ok(());
    }
    if mode & OTHERS == 0 && facts.uid() != ours() {
        return Ok(());
    }
    if mode & STICKY != 0 || facts.uid() != ours() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "other users may enter this folder and it is not ours alone; name one of your own, with mode 0700",
        ));
    }
    if mode & OTHERS != 0 {
        tracing::warn!(folder = %path.display(), mode = format!("{:o}", mode & 0o777), "others could enter this folder; closing it");
    }
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// Makes an empty file if there is none, and closes the one that is there to others. Its content stays.
///
/// # Errors
///
/// It cannot be made or closed.
pub fn file(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.mode() & 0o777 != 0o600 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Closes every file and folder below a folder to others. Links are not followed; a file that goes meanwhile is fine.
///
/// # Errors
///
/// The first thing that cannot be looked at or closed.
pub fn tighten(folder: &Path) -> io::Result<()> {
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let facts = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                facts => facts?,
            };
            if facts.is_symlink() {
                continue;
            }
            if facts.mode() & OTHERS != 0 {
                match fs::set_permissions(entry.path(), Permissions::from_mode(facts.mode() & 0o700)) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    closed => closed?,
                }
            }
            if facts.is_dir() {
                open.push(entry.path());
            }
        }
    }
    Ok(())
}

/// Keeps the memory of this process to itself: no core dump holds it, and no other program of this user reads it
/// (`ptrace`, `/proc/PID/mem`). A program that it starts, such as the browser, begins anew.
///
/// What the system refuses is logged and does not stop the program.
pub fn keep_memory() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::debug!(%error, "core dumps cannot be switched off");
    }
}

/// As [`keep_memory`]; and whatever this process creates from now on is for its owner only, and it may write no core
/// dump. For the daemon, which starts nobody else's programs: these two are inherited.
pub fn close_process() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
    keep_memory();
    umask(rustix::fs::Mode::from_raw_mode(OTHERS));
    let limit = Rlimit { current: Some(0), maximum: getrlimit(Resource::Core).maximum };
    if let Err(error) = setrlimit(Resource::Core, limit) {
        tracing::debug!(%error, "core dumps cannot be limited");
    }
}

fn ours() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).expect("it exists").mode() & 0o7777
    }

    fn widen(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("changes");
    }

    #[test]
    fn a_folder_is_made_or_closed() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("a/b");
        folder(&path).expect("made");
        assert_eq!((mode(&path), mode(&home.path().join("a"))), (0o700, 0o700));
        for was in [0o777, 0o755, 0o750, 0o500, 0o701] {
            widen(&path, was);
            folder(&path).expect("closed");
            assert_eq!(mode(&path), 0o700, "it was {was:o}");
        }
    }

    #[test]
    fn a_folder_of_everybody_is_not_taken_away() {
        let home = tempfile::tempdir().expect("a folder");
        widen(home.path(), 0o1777);
        let error = folder(home.path()).expect_err("refused");
        assert!(error.to_string().contains("not ours alone"), "{error}");
        assert_eq!(mode(home.path()), 0o1777);
        folder(&home.path().join("mine")).expect("a folder of our own in it");
    }

    #[test]
    fn a_file_is_closed_and_keeps_its_content() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("x");
        file(&path).expect("made");
        assert_eq!(mode(&path), 0o600);
        fs::write(&path, "content").expect("written");
        widen(&path, 0o664);
        file(&path).expect("closed");
        assert_eq!((mode(&path), fs::read_to_string(&path).expect("read").as_str()), (0o600, "content"));
    }

    #[test]
    fn everything_below_is_closed_and_links_are_left_alone() {
        let home = tempfile::tempdir().expect("a folder");
        let outside = home.path().join("outside");
        let inside = home.path().join("inside");
        fs::create_dir_all(inside.join("deep")).expect("made");
        for path in [&outside, &inside.join("a"), &inside.join("deep/b")] {
            fs::write(path, "x").expect("written");
            widen(path, 0o644);
        }
        std::os::unix::fs::symlink(&outside, inside.join("link")).expect("linked");
        widen(&inside.join("deep"), 0o755);
        tighten(&inside).expect("closed");
        assert_eq!(mode(&inside.join("a")), 0o600);
        assert_eq!(mode(&inside.join("deep")), 0o700);
        assert_eq!(mode(&inside.join("deep/b")), 0o600);
        assert_eq!(mode(&outside), 0o644);
    }
}
