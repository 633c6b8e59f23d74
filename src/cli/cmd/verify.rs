//! `onedrive-cli verify`: is what is on this machine what the service says it is?

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::daemons;
use crate::cli::error::{CliError, Kind};
use crate::cli::print::{json_text, print};
use crate::cli::words::files;
use crate::config::size::display_size;
use crate::daemon::control::protocol::Verified;
use crate::daemon::control::{Answer, Request, ask_at_length};

/// The daemon tells how far it is several times a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// Arguments of `verify`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Only the file at this path, or what is below it
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
}

/// Checks and prints what was found.
///
/// # Errors
/// Something is corrupt; nothing is mounted, or there is nothing at the path.
pub fn run(arguments: &Arguments, json: bool) -> Result<(), CliError> {
    let mut corrupt = 0;
    let meant = daemons::meant(arguments.path.as_deref())?;
    for target in &meant.targets {
        let request = Request::Verify { path: target.path.clone() };
        let answer = ask_at_length(&target.daemon.socket, &request, PATIENCE, |_| {});
        match target.daemon.take(answer)? {
            Answer::Verified(found) => {
                corrupt += found.corrupt;
                print(&if json { json_text(&found) } else { text(&found) })?;
            }
            other => return Err(target.daemon.confused(&other)),
        }
    }
    if corrupt > 0 {
        return Err(CliError::new(Kind::Corrupt, format!("{} on this machine not as they shall be", files(corrupt)))
            .hint("downloaded content is fetched again by itself; for a file that waits for its upload: onedrive-cli why PATH"));
    }
    meant.complete()
}

fn text(found: &Verified) -> String {
    let mut text = format!(
        "{}: {} right, {} corrupt, {} cannot be checked, {} not on this machine ({} read)\n",
        found.mountpoint.display(),
        files(found.ok),
        found.corrupt,
        found.unknown,
        found.not_here,
        display_size(found.bytes)
    );
    for finding in &found.findings {
        text.push_str(&format!("  {:<8} {}: {}\n", finding.verdict, finding.path, finding.why));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::control::protocol::Finding;

    #[test]
    fn the_counts_come_first_and_then_what_is_wrong() {
        let finding = Finding { path: "a".into(), verdict: "corrupt".into(), why: "it is".into() };
        let (ok, corrupt, unknown, not_here, bytes) = (3, 1, 0, 9, 2048);
        let found =
            Verified { mountpoint: "/m".into(), ok, corrupt, unknown, not_here, bytes, findings: vec![finding] };
        assert_eq!(
            text(&found),
            "/m: 3 files right, 1 corrupt, 0 cannot be checked, 9 not on this machine (2 KiB read)\n  corrupt  a: it is\n"
        );
    }
}
