//! What is mounted where, read without touching any mount.
//!
//! `stat` on a mount asks its file system, and a file system whose daemon is dead or stuck answers with an
//! error or not at all. The kernel's own table (`/proc/self/mountinfo`, described in proc(5)) answers
//! always, so every decision about a mount point starts there.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// The source that our mounts carry in the kernel's table.
pub const SOURCE: &str = "onedrive";

/// The subtype that our mounts carry; mounts made by root directly show plain `fuse` instead.
pub const SUBTYPE: &str = "onedrive-mount";

/// One line of the mount table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MountEntry {
    /// The minor device number, which is also the name of a FUSE connection in the control file system.
    pub device_minor: u32,
    /// Where it is mounted.
    pub at: PathBuf,
    /// The file-system type, with subtype: `fuse.onedrive-mount`.
    pub kind: String,
    /// What is mounted.
    pub source: String,
    /// The user who mounted it, where the file system says so.
    pub user: Option<u32>,
}

impl MountEntry {
    /// Whether it is a FUSE mount of this program.
    pub fn is_ours(&self) -> bool {
        self.source == SOURCE && (self.kind == "fuse" || self.kind == format!("fuse.{SUBTYPE}"))
    }

    /// Whether it is a FUSE mount of any program.
    pub fn is_fuse(&self) -> bool {
        self.kind == "fuse" || self.kind.starts_with("fuse.")
    }
}

/// The mount table of this process.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn table() -> io::Result<Vec<MountEntry>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

/// What is mounted on top at `at` (an absolute path without symbolic links), if anything.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn at(at: &Path) -> io::Result<Option<MountEntry>> {
    Ok(table()?.into_iter().rfind(|entry| entry.at == at))
}

/// Reads the text of a `mountinfo` file. Lines that do not have its form are skipped: a newer kernel may
/// add fields, never take the ones that are read here.
pub fn parse(text: &[u8]) -> Vec<MountEntry> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = std::str::from_utf8(fields.nth(2)?).ok()?;
    let at = PathBuf::from(unescape(fields.nth(1)?));
    // Any number of optional fields ends with a lone hyphen.
    fields.by_ref().find(|field| *field == b"-")?;
    let kind = unescape(fields.next()?).into_string().ok()?;
    let source = unescape(fields.next()?).to_string_lossy().into_owned();
    let options = std::str::from_utf8(fields.next().unwrap_or_default()).unwrap_or_default();
    let user = options.split(',').find_map(|option| option.strip_prefix("user_id=")?.parse().ok());
    Some(MountEntry { device_minor: device.split_once(':')?.1.parse().ok()?, at, kind, source, user })
}

/// Undoes the kernel's `\ooo` escapes for space, tab, line break, backslash and `#`.
fn unescape(field: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) = (first, tail) {
            plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = after;
        } else {
            plain.push(*first);
            rest = tail;
        }
    }
    OsString::from_vec(plain)
}

/// An absolute path without symbolic links, even if the last part is a mount whose daemon is dead: only
/// what is above it is asked.
///
/// # Errors
/// When the folder above does not exist or cannot be searched.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Ok(resolved) => Ok(resolved),
        Err(original) => {
            let path = std::path::absolute(path)?;
            // `..` at the end has no name of its own.
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(original);
            };
            Ok(parent.canonicalize()?.join(name))
        }
    }
}

/// Whether a mount answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pulse {
    /// It does.
    Alive,
    /// Its daemon is gone: "Transport endpoint is not connected", or "Software caused connection abort" if it went while it
    /// was asked.
    Dead,
    /// No answer in time: its daemon is stuck or very slow.
    Silent,
}

/// Asks a mount of another process for its space, for at most `patience`. Not for the attributes of its root:
/// the kernel may know those by heart for minutes after the daemon has died.
///
/// A mount that never answers keeps the asking thread for ever; this one is left behind then. Never to be
/// used on our own mount.
pub fn pulse(mount: &Path, patience: Duration) -> Pulse {
    let (answer, wait) = mpsc::channel();
    let mount = mount.to_owned();
    let asked = std::thread::Builder::new().name("mount-pulse".to_owned()).spawn(move || {
        // Nobody listens any more if the answer came too late.
        let _ = answer.send(rustix::fs::statfs(&mount).map(drop));
    });
    if asked.is_err() {
        return Pulse::Silent;
    }
    match wait.recv_timeout(patience) {
        Ok(Err(rustix::io::Errno::NOTCONN | rustix::io::Errno::CONNABORTED)) => Pulse::Dead,
        Ok(_) => Pulse::Alive,
        Err(_) => Pulse::Silent,
    }
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any bytes as the table, and as a path in it.
pub(crate) fn fuzz(data: &[u8]) {
    let entries = parse(data);
    assert!(entries.len() <= data.split(|byte| *byte == b'\n').count());
    for entry in &entries {
        assert!(!entry.is_ours() || entry.is_fuse());
    }
    // As the kernel writes it.
    let mut line = b"60 28 0:52 / ".to_vec();
    for byte in data.iter().filter(|byte| **byte != 0) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => line.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            byte => line.push(*byte),
        }
    }
    line.extend_from_slice(b" rw,nosuid shared:1 - fuse.onedrive-mount onedrive rw,user_id=1000\n");
    let path: Vec<u8> = data.iter().copied().filter(|byte| *byte != 0).collect();
    let [entry] = parse(&line).try_into().expect("invariant: one line is one mount");
    assert_eq!(entry.at, PathBuf::from(OsString::from_vec(path)), "a path comes back");
    assert!(entry.is_ours() && (entry.device_minor, entry.user) == (52, Some(1000)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
22 28 0:21 / /proc rw,nosuid shared:13 - proc proc rw
28 0 254:1 / / rw,relatime - ext4 /dev/vda1 rw
60 28 0:52 / /home/a/One\\040Drive rw,nosuid,nodev,relatime shared:1 master:2 - fuse.onedrive-mount onedrive rw,user_id=1000,group_id=1000
61 28 0:53 / /mnt/x rw - fuse onedrive rw,user_id=0,group_id=0,default_permissions
62 28 0:54 / /mnt/x rw - fuse.sshfs host:/ rw,user_id=0
garbage
";

    #[test]
    fn the_table_is_read_with_its_escapes_and_optional_fields() {
        let entries = parse(TABLE);
        assert_eq!(entries.len(), 5);
        let mount = &entries[2];
        assert_eq!(mount.at, Path::new("/home/a/One Drive"));
        assert_eq!((mount.device_minor, mount.user), (52, Some(1000)));
        assert!(mount.is_ours());
    }

    #[test]
    fn ours_is_told_from_others() {
        let ours: Vec<bool> = parse(TABLE).iter().map(MountEntry::is_ours).collect();
        assert_eq!(ours, [false, false, true, true, false]);
        let fuse: Vec<bool> = parse(TABLE).iter().map(MountEntry::is_fuse).collect();
        assert_eq!(fuse, [false, false, true, true, true]);
    }

    #[test]
    fn escapes_that_are_none_stay() {
        assert_eq!(unescape(br"a\040b\134c\9d\"), OsString::from(r"a b\c\9d\"));
    }

    #[test]
    fn a_path_resolves_although_its_last_part_does_not_exist() {
        let folder = tempfile::tempdir().expect("a folder");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).expect("a link");
        let resolved = resolve(&link.join("missing")).expect("resolves");
        assert_eq!(resolved, folder.path().canonicalize().expect("a folder").join("missing"));
        assert!(resolve(Path::new("/no/such/folder/at/all")).is_err());
    }

    #[test]
    fn an_ordinary_folder_is_alive() {
        assert_eq!(pulse(Path::new("/"), Duration::from_secs(60)), Pulse::Alive);
    }
}
