//! `onedrive-cli unmount`: takes a mount of ours down, and says whether everything has reached the cloud.
//!
//! A daemon that answers is asked to stop: it gives uploads a while first. One that does not is taken out of the tree
//! without its help; what it had in its journal is safe either way.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;
use rustix::mount::UnmountFlags;
use serde_json::json;

use crate::cli::daemons::{self, Running};
use crate::cli::error::{CliError, Kind};
use crate::cli::options::{Dry, Global};
use crate::cli::print::{json_text, would, write_out};
use crate::cli::words::changes;
use crate::daemon::control::{Answer, ask_to_stop};
use crate::daemon::run::DRAIN_LIMIT;
use crate::fuse::{mounts, unmount};

/// How long the daemon may take beyond its drain limit.
const MARGIN: Duration = Duration::from_secs(15);

/// Arguments of `unmount`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The folder that OneDrive is mounted on
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: PathBuf,

    /// Take it out of the tree at once, even if programs use it; they keep what they have open until they close it
    #[arg(long)]
    lazy: bool,

    #[command(flatten)]
    dry: Dry,
}

/// Unmounts.
///
/// # Errors
/// Nothing of ours is mounted there, it is in use, or it belongs to another user.
pub fn run(arguments: &Arguments, global: &Global) -> Result<(), CliError> {
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
    let found = daemons::all()?;
    let daemon = found.running.into_iter().find(|daemon| daemon.status.mountpoint == at);
    if arguments.dry.dry_run {
        let what = match &daemon {
            Some(daemon) if !arguments.lazy && daemon.status.waiting > 0 => {
                format!("send {} to the cloud, for at most {} s, and ", changes(daemon.status.waiting), limit())
            }
            _ => String::new(),
        };
        return would(global.json, &format!("{what}unmount {}", at.display()));
    }
    if arguments.lazy {
        unmount::detach(&at, Some(mount.device_minor)).map_err(|error| CliError::new(Kind::Busy, error))?;
        return if global.json { tell(&at) } else { Ok(()) };
    }
    match daemon {
        Some(daemon) => ask_daemon(&daemon, &at, global),
        None => {
            plain_unmount(&at)?;
            if global.json {
                return tell(&at);
            }
            // A daemon that hangs has not ended.
            let had = if found.silent.iter().any(|silent| silent.why.is_some()) {
                "did not answer"
            } else {
                "had ended before"
            };
            println!("Unmounted; its daemon {had}. What it had not sent is safe here and goes on with the next start.");
            Ok(())
        }
    }
}

/// Says with `--json` what was unmounted, where no daemon says more.
fn tell(at: &Path) -> Result<(), CliError> {
    write_out(&json_text(&json!({ "mountpoint": at.to_string_lossy() })))
}

/// How long the daemon sends, in seconds.
fn limit() -> u64 {
    DRAIN_LIMIT.as_secs()
}

fn not_mounted(sentence: String) -> CliError {
    CliError::new(Kind::NotMounted, sentence).hint("what is mounted: findmnt -t fuse.onedrive-mount,fuse")
}

/// Asks the daemon to stop and waits until it has.
fn ask_daemon(daemon: &Running, at: &Path, global: &Global) -> Result<(), CliError> {
    let failed = |why: String| CliError::new(Kind::Other, format!("the daemon of {} {why}", at.display()));
    let announce = |first: &Answer| {
        if let Answer::Stopping { waiting: waiting @ 1.., .. } = first
            && !global.json
            && !global.quiet
        {
            println!("Sending {} to the cloud first, for at most {} s ...", changes(*waiting), limit());
        }
    };
    match ask_to_stop(&daemon.socket, DRAIN_LIMIT + MARGIN, announce) {
        Ok(Answer::Stopped { trouble: Some(trouble), .. }) => Err(CliError::new(
            Kind::Busy,
            format!("the daemon of {} has stopped, but the folder is not free: {trouble}", at.display()),
        )
        .hint(format!("to free it: onedrive-cli unmount --lazy {}", at.display()))),
        Ok(Answer::Stopped { waiting, parked, .. }) if global.json => {
            write_out(&json_text(&json!({"mountpoint": at.to_string_lossy(), "waiting": waiting, "parked": parked})))
        }
        Ok(Answer::Stopped { waiting, parked, .. }) => {
            println!("{}", farewell(waiting, parked));
            Ok(())
        }
        Ok(Answer::Refused { why }) => Err(failed(format!("refuses to stop: {why}"))),
        Ok(other) => Err(failed(format!("answers what was not asked: {other:?}"))),
        Err(error) => Err(failed(format!("does not answer: {error}"))
            .hint(format!("to unmount all the same: onedrive-cli unmount --lazy {}", at.display()))),
    }
}

fn farewell(waiting: usize, parked: usize) -> String {
    match (waiting, parked) {
        (0, 0) => "Unmounted; everything is in the cloud.".to_owned(),
        (0, parked) => format!("Unmounted; {} cannot be sent without you; they are safe here.", changes(parked)),
        (waiting, 0) => {
            format!("Unmounted; {} not in the cloud yet; safe here, and sent after the next start.", changes(waiting))
        }
        (waiting, parked) => format!(
            "Unmounted; {} not in the cloud yet, {} cannot be sent without you; all are safe here.",
            changes(waiting),
            changes(parked)
        ),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_says_what_is_in_the_cloud_and_what_is_not() {
        assert_eq!(farewell(0, 0), "Unmounted; everything is in the cloud.");
        assert!(farewell(1, 0).contains("1 change not in the cloud yet"));
        assert!(farewell(0, 2).contains("2 changes cannot be sent"));
        let both = farewell(1, 2);
        assert!(both.contains("1 change not in the cloud") && both.contains("2 changes cannot be sent"), "{both}");
    }
}
