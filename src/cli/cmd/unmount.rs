//! `onedrive-cli unmount`: takes a mount of ours down, and says whether everything has reached the cloud.
//!
//! A daemon that answers is asked to stop: it gives uploads a while first. One that does not is taken out of the tree
//! without its help; what it had in its journal is safe either way.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;
use rustix::mount::UnmountFlags;

use crate::base::clock::{Clock as _, SystemClock};
use crate::cli::block_on;
use crate::cli::daemons::{self, Running, changes};
use crate::cli::error::{CliError, Kind};
use crate::daemon::control::{Answer, Request, ask};
use crate::daemon::run::DRAIN_LIMIT;
use crate::fuse::{mounts, unmount};

/// How long the daemon may take beyond its drain limit.
const MARGIN: Duration = Duration::from_secs(15);

/// How often to look whether it is done.
const PAUSE: Duration = Duration::from_millis(100);

/// Arguments of `unmount`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The folder that OneDrive is mounted on
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: PathBuf,

    /// Take it out of the tree at once, even if programs use it; they keep what they have open until they close it
    #[arg(long)]
    lazy: bool,
}

/// Unmounts.
///
/// # Errors
/// Nothing of ours is mounted there, it is in use, or it belongs to another user.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    let named = &arguments.mountpoint;
    let at = mounts::resolve(named)
        .map_err(|error| not_mounted(format!("there is no mount on {}: {error}", named.display())))?;
    let table = |error: std::io::Error| CliError::new(Kind::Other, format!("cannot read the table of mounts: {error}"));
    let mount = match mounts::at(&at).map_err(table)? {
        Some(mount) if mount.is_ours() => mount,
        Some(mount) => {
            let what = format!("{} from {}", mount.kind, mount.source);
            return Err(not_mounted(format!("what is mounted on {} is not OneDrive ({what})", named.display())));
        }
        None => return Err(not_mounted(format!("nothing is mounted on {}", named.display()))),
    };
    if arguments.lazy {
        return unmount::detach(&at, Some(mount.device_minor)).map_err(|error| CliError::new(Kind::Busy, error));
    }
    match daemons::all()?.into_iter().find(|daemon| daemon.status.mountpoint == at) {
        Some(daemon) => block_on(ask_to_stop(daemon, &at)),
        None => plain_unmount(&at),
    }
}

fn not_mounted(sentence: String) -> CliError {
    CliError::new(Kind::NotMounted, sentence).hint("what is mounted: findmnt -t fuse.onedrive-mount,fuse")
}

/// Asks the daemon to stop and waits until it has.
async fn ask_to_stop(daemon: Running, at: &Path) -> Result<(), CliError> {
    let failed = |why: String| CliError::new(Kind::Other, format!("the daemon of {} {why}", at.display()));
    let mut left = match ask(&daemon.socket, &Request::Stop) {
        Ok(Answer::Stopping { waiting, parked }) => (waiting, parked),
        Ok(Answer::Refused { why }) => return Err(failed(format!("refuses to stop: {why}"))),
        Ok(other) => return Err(failed(format!("answers what was not asked: {other:?}"))),
        Err(error) => return Err(failed(format!("does not answer: {error}"))),
    };
    if left.0 > 0 {
        println!("Sending {} to the cloud first, for at most {} s ...", changes(left.0), DRAIN_LIMIT.as_secs());
    }
    let clock = SystemClock::new();
    let start = clock.monotonic();
    while mounts::at(at).is_ok_and(|mount| mount.is_some_and(|mount| mount.is_ours())) || daemon.socket.exists() {
        if let Ok(Answer::Status(status)) = ask(&daemon.socket, &Request::Status) {
            left = (status.waiting, status.parked);
        }
        if clock.monotonic().since(start) > DRAIN_LIMIT + MARGIN {
            return Err(CliError::new(Kind::Busy, format!("{} does not come free", at.display()))
                .hint(format!("to unmount all the same: onedrive-cli unmount --lazy {}", at.display())));
        }
        clock.sleep(PAUSE).await;
    }
    match left {
        (0, 0) => println!("Unmounted; everything is in the cloud."),
        (0, parked) => println!("Unmounted; {} wait for you and are safe on this machine.", changes(parked)),
        (waiting, _) => println!(
            "Unmounted; up to {} not in the cloud yet, safe on this machine and sent after the next start.",
            changes(waiting)
        ),
    }
    Ok(())
}

/// Unmounts without the daemon.
fn plain_unmount(at: &Path) -> Result<(), CliError> {
    by_kernel_or_helper(at).map_err(|reason| {
        // The kernel's word for it, whoever reports it.
        if reason.contains("busy") {
            CliError::new(Kind::Busy, format!("{} is in use by a program", at.display()))
                .hint(format!("which one: fuser -vm {}", at.display()))
                .hint(format!("to unmount all the same: onedrive-cli unmount --lazy {}", at.display()))
        } else {
            CliError::new(Kind::Other, format!("cannot unmount {}: {reason}", at.display()))
        }
    })
}

fn by_kernel_or_helper(at: &Path) -> Result<(), String> {
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
