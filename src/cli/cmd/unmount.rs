//! `onedrive-cli unmount`: takes a mount of ours down, and nothing else that may be mounted there.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::Args;
use rustix::mount::UnmountFlags;

use crate::cli::error::{CliError, Kind};
use crate::fuse::{mounts, unmount};

/// Arguments of `unmount`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The folder that OneDrive is mounted on
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: PathBuf,

    /// Take it out of the tree even if programs use it; they keep what they have open until they close it
    #[arg(long)]
    lazy: bool,
}

/// Unmounts.
///
/// What is not uploaded yet is kept and sent after the next start; the daemon says so in its log.
///
/// # Errors
/// Nothing of ours is mounted there, it is in use, or it belongs to another user.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    let named = arguments.mountpoint.display();
    let not_mounted =
        |why: String| CliError::new(Kind::NotMounted, why).hint("what is mounted: findmnt -t fuse.onedrive-mount,fuse");
    let at = mounts::resolve(&arguments.mountpoint)
        .map_err(|error| not_mounted(format!("there is no mount on {named}: {error}")))?;
    let table = |error: std::io::Error| CliError::new(Kind::Other, format!("cannot read the table of mounts: {error}"));
    let mount = match mounts::at(&at).map_err(table)? {
        Some(mount) if mount.is_ours() => mount,
        Some(mount) => {
            let sentence = format!("what is mounted on {named} is not OneDrive ({} from {})", mount.kind, mount.source);
            return Err(not_mounted(sentence));
        }
        None => return Err(not_mounted(format!("nothing is mounted on {named}"))),
    };
    if arguments.lazy {
        return unmount::detach(&at, Some(mount.device_minor)).map_err(|error| CliError::new(Kind::Busy, error));
    }
    plain_unmount(&at).map_err(|reason| {
        // The kernel's word for it, whoever reports it.
        if reason.contains("busy") {
            CliError::new(Kind::Busy, format!("{named} is in use by a program"))
                .hint(format!("which one: fuser -vm {named}"))
                .hint(format!("to unmount all the same: onedrive-cli unmount --lazy {named}"))
        } else {
            CliError::new(Kind::Other, format!("cannot unmount {named}: {reason}"))
        }
    })
}

fn plain_unmount(at: &std::path::Path) -> Result<(), String> {
    if rustix::process::geteuid().is_root() {
        return rustix::mount::unmount(at, UnmountFlags::NOFOLLOW)
            .map_err(|error| std::io::Error::from(error).to_string().to_lowercase());
    }
    let output = Command::new("fusermount3")
        // Its words are compared above.
        .env("LC_ALL", "C")
        .args(["-u", "--"])
        .arg(at)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run fusermount3: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_lowercase()) }
}
