//! `onedrive-cli status`: what is mounted, whether everything is in the cloud, and what goes on.

use std::path::PathBuf;

use clap::Args;

use crate::base::clock::{Clock as _, SystemClock};
use crate::cli::daemons;
use crate::cli::error::CliError;
use crate::cli::print::{json_text, print};
use crate::cli::words::{changes, share, span};
use crate::config::size::display_size;
use crate::daemon::control::Status;

/// Arguments of `status`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Only the mount that this path lies in
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
}

/// Prints a paragraph for each mount.
///
/// # Errors
/// Nothing is mounted, or a daemon does not answer; what the others said is printed.
pub fn run(arguments: &Arguments, json: bool) -> Result<(), CliError> {
    let now = SystemClock::new().now().seconds();
    let mut all = String::new();
    let meant = daemons::meant(arguments.path.as_deref())?;
    for target in &meant.targets {
        let status = &target.daemon.status;
        if json {
            all.push_str(&json_text(status));
        } else {
            all.push_str(&text(status, now));
        }
    }
    print(&all)?;
    meant.complete()
}

/// The line that matters, then one for each thing that goes on. `now` is in seconds since 1970.
fn text(status: &Status, now: i64) -> String {
    let mut text = format!("{}: {}\n", status.mountpoint.display(), summary(status));
    let mut line = |label: &str, what: String| text.push_str(&format!("  {label:<9} {what}\n"));
    let mut service = match status.state.as_str() {
        "online" => "online".to_owned(),
        "starting" => "nothing heard of it yet".to_owned(),
        "signed-out" => "signed out".to_owned(),
        "quota-full" => "online; the drive is full".to_owned(),
        other => other.to_owned(),
    };
    if let Some(detail) = &status.detail {
        service.push_str(&format!(" ({detail})"));
    }
    if let Some(at) = status.last_poll {
        service.push_str(&format!("; last asked for changes {} ago", span(now - at)));
    }
    if let Some(listed) = status.listed {
        service.push_str(&format!("; listing the drive, {listed} items so far"));
    }
    line("service", service);
    for transfer in &status.transfers {
        let label = if transfer.direction == "up" { "sending" } else { "fetching" };
        line(label, format!("{}, {}", transfer.path, share(transfer.done, transfer.size)));
    }
    if status.held > 0 {
        line(
            "held",
            format!(
                "{} by one program; meant: onedrive-cli approve, not meant: onedrive-cli discard --held",
                changes(status.held)
            ),
        );
    }
    for trouble in &status.errors {
        let place = trouble.path.as_deref().map(|path| format!("{path}: ")).unwrap_or_default();
        let request = trouble.request_id.as_deref().map(|id| format!(" (request {id})")).unwrap_or_default();
        line("error", format!("{place}{}{request}", trouble.error));
    }
    if let Some(space) = quota(status) {
        line("space", space);
    }
    let paused = if status.cache.keeping { "" } else { "; nothing more is kept, the disk is full" };
    let (bytes, limit) = (display_size(status.cache.bytes), display_size(status.cache.limit));
    line("cache", format!("{bytes} of {limit}{paused}"));
    for kept in &status.kept {
        let size = display_size(kept.size);
        text.push_str(&format!("  kept for you: draft {}, {}, {size} ({})\n", kept.draft, kept.name, kept.why));
    }
    text
}

fn summary(status: &Status) -> String {
    let bytes =
        if status.bytes_waiting > 0 { format!(", {}", display_size(status.bytes_waiting)) } else { String::new() };
    let parked = |count| format!("{} cannot be sent without you", changes(count));
    let others = status.parked - status.held.min(status.parked);
    let mut parts = Vec::new();
    if status.waiting > 0 {
        parts.push(format!("{} on the way to the cloud{bytes}", changes(status.waiting)));
    }
    if others > 0 {
        parts.push(parked(others));
    }
    if status.held > 0 {
        parts.push(format!("{} held until you say so", changes(status.held)));
    }
    if parts.is_empty() {
        return "everything is in the cloud".to_owned();
    }
    format!("{} (onedrive-cli queue)", parts.join(", "))
}

fn quota(status: &Status) -> Option<String> {
    let space = status.quota;
    match (space.used, space.total, space.remaining) {
        (Some(used), Some(total), remaining) => {
            let free = remaining.unwrap_or(total.saturating_sub(used));
            Some(format!("{} in use, {} free of {}", display_size(used), display_size(free), display_size(total)))
        }
        (_, _, Some(remaining)) => Some(format!("{} free", display_size(remaining))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::control::protocol::{Cache, Kept, Space, Transfer, Trouble};

    fn status(waiting: usize, parked: usize) -> Status {
        let cache = Cache { bytes: 3 << 20, files: 2, limit: 20 << 30, keeping: true };
        Status { mountpoint: "/m".into(), state: "online".into(), waiting, parked, cache, ..Status::default() }
    }

    #[test]
    fn the_first_line_says_whether_everything_is_in_the_cloud() {
        assert_eq!(summary(&status(0, 0)), "everything is in the cloud");
        assert_eq!(summary(&status(1, 0)), "1 change on the way to the cloud (onedrive-cli queue)");
        let all = Status { held: 2, bytes_waiting: 4096, ..status(2, 3) };
        assert_eq!(
            summary(&all),
            "2 changes on the way to the cloud, 4 KiB, 1 change cannot be sent without you, 2 changes held until you say \
             so (onedrive-cli queue)"
        );
    }

    #[test]
    fn the_other_lines_say_what_goes_on() {
        assert_eq!(
            text(&Status { last_poll: Some(70), ..status(0, 0) }, 100),
            "/m: everything is in the cloud\n  service   online; last asked for changes 30 s ago\n  cache     3 MiB of 20 GiB\n"
        );
        let busy = Status {
            state: "throttled".into(),
            detail: Some("9 s".into()),
            transfers: vec![Transfer { path: "a/b".into(), direction: "up".into(), size: 8, done: 2 }],
            errors: vec![Trouble { path: Some("c".into()), error: "no".into(), request_id: Some("7".into()) }],
            quota: Space { total: Some(4096), used: Some(1024), remaining: Some(3072) },
            kept: vec![Kept { draft: 7, name: "d".into(), why: "it was never closed".into(), size: 5, since: 0 }],
            ..status(1, 0)
        };
        assert_eq!(
            text(&busy, 100).lines().skip(1).collect::<Vec<_>>(),
            [
                "  service   throttled (9 s)",
                "  sending   a/b, 2 bytes of 8 bytes (25 %)",
                "  error     c: no (request 7)",
                "  space     1 KiB in use, 3 KiB free of 4 KiB",
                "  cache     3 MiB of 20 GiB",
                "  kept for you: draft 7, d, 5 bytes (it was never closed)",
            ]
        );
    }
}
