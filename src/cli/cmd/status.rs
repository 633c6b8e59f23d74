//! `onedrive-cli status` and `onedrive-cli queue`: what is mounted, and what is not in the cloud yet.

use std::path::PathBuf;

use clap::Args;

use super::print_config::print;
use crate::cli::daemons::{self, Running, changes};
use crate::cli::error::CliError;
use crate::config::size::display_size;
use crate::daemon::control::Status;

/// Arguments of `status` and `queue`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Only the mount that this path lies in
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    /// As JSON, one object a line for each mount
    #[arg(long)]
    json: bool,
}

/// Prints a line for each mount.
///
/// # Errors
/// Nothing is mounted.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    show(arguments, |daemon| summary(&daemon.status))
}

/// Prints what waits, for each mount.
///
/// # Errors
/// Nothing is mounted.
pub fn run_queue(arguments: &Arguments) -> Result<(), CliError> {
    show(arguments, |daemon| queue(&daemon.status))
}

fn show(arguments: &Arguments, text: impl Fn(&Running) -> String) -> Result<(), CliError> {
    let mut all = String::new();
    for daemon in daemons::serving(arguments.path.as_deref())? {
        if arguments.json {
            all.push_str(&serde_json::to_string(&daemon.status).expect("invariant: a status always serialises"));
            all.push('\n');
        } else {
            all.push_str(&text(&daemon));
        }
    }
    print(&all)
}

fn summary(status: &Status) -> String {
    let mut text = format!("{}: ", status.mountpoint.display());
    match (status.waiting, status.parked) {
        (0, 0) => text.push_str("everything is in the cloud"),
        (waiting, 0) => text.push_str(&format!("{} on the way to the cloud", changes(waiting))),
        (0, parked) => text.push_str(&format!("{} cannot be sent as they are", changes(parked))),
        (waiting, parked) => text.push_str(&format!(
            "{} on the way to the cloud, {} cannot be sent as they are",
            changes(waiting),
            changes(parked)
        )),
    }
    if status.waiting + status.parked > 0 {
        text.push_str(" (onedrive-cli queue)");
    }
    text.push('\n');
    for kept in &status.kept {
        text.push_str(&format!("  kept for you: {kept}\n"));
    }
    text
}

fn queue(status: &Status) -> String {
    let mut text = format!("{}: {}\n", status.mountpoint.display(), changes(status.waiting + status.parked));
    for change in &status.queue {
        let sent = change.sent.map(|bytes| format!(" {}", display_size(bytes))).unwrap_or_default();
        let error = change.error.as_deref().map(|error| format!(" ({error})")).unwrap_or_default();
        text.push_str(&format!("  {:<8}{sent} {}{error}\n", change.state, change.name));
    }
    let unlisted = (status.waiting + status.parked).saturating_sub(status.queue.len());
    if unlisted > 0 {
        text.push_str(&format!("  and {unlisted} more\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::control::Queued;

    fn status(waiting: usize, parked: usize) -> Status {
        Status { mountpoint: "/m".into(), waiting, parked, queue: Vec::new(), kept: Vec::new() }
    }

    #[test]
    fn a_line_says_whether_everything_is_in_the_cloud() {
        assert_eq!(summary(&status(0, 0)), "/m: everything is in the cloud\n");
        assert_eq!(summary(&status(1, 0)), "/m: 1 change on the way to the cloud (onedrive-cli queue)\n");
        let mut both = status(2, 3);
        both.kept.push("a.txt (never closed)".to_owned());
        assert_eq!(
            summary(&both),
            "/m: 2 changes on the way to the cloud, 3 changes cannot be sent as they are (onedrive-cli queue)\n  \
             kept for you: a.txt (never closed)\n"
        );
    }

    #[test]
    fn the_queue_names_what_waits_and_why() {
        let mut status = status(3, 0);
        status.queue = vec![
            Queued { name: "a".into(), state: "sending".into(), sent: Some(10 << 20), error: None },
            Queued { name: "b".into(), state: "waiting".into(), sent: None, error: Some("no network".into()) },
        ];
        assert_eq!(queue(&status), "/m: 3 changes\n  sending  10 MiB a\n  waiting  b (no network)\n  and 1 more\n");
    }
}
