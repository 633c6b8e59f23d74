//! `onedrive-cli queue`: what is not in the cloud, what it is, and why it is not there yet.

use std::path::PathBuf;

use clap::Args;

use crate::base::clock::{Clock as _, SystemClock};
use crate::cli::daemons;
use crate::cli::error::CliError;
use crate::cli::print::{json_text, print};
use crate::cli::words::{changes, share, span};
use crate::config::size::display_size;
use crate::daemon::control::protocol::{Queue, Queued};
use crate::daemon::control::{Answer, Request};

/// How many entries are printed for people, unless they ask for more.
const ENOUGH: usize = 100;

/// Arguments of `queue`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Only what is at this path or below it
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    /// How many to list for each mount; 0 lists all (default: 100, with --json all)
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
}

/// Prints what waits, for each mount.
///
/// # Errors
/// Nothing is mounted, or a daemon does not answer; what the others said is printed.
pub fn run(arguments: &Arguments, json: bool) -> Result<(), CliError> {
    let limit = match arguments.limit {
        Some(0) => None,
        None if json => None,
        limit => limit.or(Some(ENOUGH)),
    };
    let now = SystemClock::new().now().seconds();
    let mut all = String::new();
    let meant = daemons::meant(arguments.path.as_deref())?;
    for target in &meant.targets {
        match target.daemon.ask(&Request::Queue { path: target.path.clone(), limit })? {
            Answer::Queue(queue) if json => all.push_str(&json_text(&queue)),
            Answer::Queue(queue) => all.push_str(&text(&queue, now)),
            other => return Err(target.daemon.confused(&other)),
        }
    }
    print(&all)?;
    meant.complete()
}

/// A line for each change, and below it what is to be said about it. `now` is in seconds since 1970.
fn text(queue: &Queue, now: i64) -> String {
    let mut text = format!("{}: {}\n", queue.mountpoint.display(), changes(queue.total));
    for change in &queue.entries {
        text.push_str(&entry(change, now));
    }
    let unlisted = queue.total.saturating_sub(queue.entries.len());
    if unlisted > 0 {
        text.push_str(&format!("  and {unlisted} more (--limit 0 lists all)\n"));
    }
    text
}

/// One change: a line, and below it what is to be said about it.
pub(super) fn entry(change: &Queued, now: i64) -> String {
    let mut facts = Vec::new();
    match change.what.as_str() {
        _ if change.state == "sending" && change.size > 0 => facts.push(share(change.sent, change.size)),
        "upload" | "update" => facts.push(display_size(change.size)),
        _ => {}
    }
    if let Some(from) = &change.from {
        facts.push(format!("in the cloud it is {from}"));
    }
    facts.push(format!("changed {} ago", span(now - change.changed)));
    if change.attempts > 0 {
        facts.push(format!(
            "{} failed",
            if change.attempts == 1 { "1 attempt".to_owned() } else { format!("{} attempts", change.attempts) }
        ));
    }
    match change.next_attempt {
        Some(at) if at > now && change.attempts == 0 => facts.push(format!("is sent in {}", span(at - now))),
        Some(at) if at > now => facts.push(format!("next attempt in {}", span(at - now))),
        _ if change.state == "open" => facts.push("open in a program".to_owned()),
        _ => {}
    }
    if let Some(draft) = change.draft {
        facts.push(format!("draft {draft}"));
    }
    let (state, what) = (&change.state, change.what.replace('-', " "));
    let mut text = format!("  {state:<8} {what:<10} {} ({})\n", change.path, facts.join(", "));
    if let Some(error) = &change.error {
        let request = change.request_id.as_deref().map(|id| format!(" (request {id})")).unwrap_or_default();
        text.push_str(&format!("           {error}{request}\n"));
    }
    if let Some(advice) = &change.advice {
        text.push_str(&format!("           what to do: {advice}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_names_what_waits_since_when_and_why() {
        let sending = Queued {
            path: "a".into(),
            what: "upload".into(),
            state: "sending".into(),
            size: 20 << 20,
            sent: 10 << 20,
            draft: Some(4),
            changed: 95,
            ..Queued::default()
        };
        let waiting = Queued {
            path: "d/b".into(),
            what: "rename".into(),
            from: Some("d/c".into()),
            state: "waiting".into(),
            attempts: 2,
            error: Some("no network".into()),
            request_id: Some("7f".into()),
            next_attempt: Some(104),
            ..Queued::default()
        };
        let parked = Queued { state: "parked".into(), advice: Some("wait".into()), attempts: 1, ..waiting.clone() };
        let queue = Queue { mountpoint: "/m".into(), total: 4, entries: vec![sending, waiting, parked] };
        assert_eq!(
            text(&queue, 100).lines().collect::<Vec<_>>(),
            [
                "/m: 4 changes",
                "  sending  upload     a (10 MiB of 20 MiB (50 %), changed 5 s ago, draft 4)",
                "  waiting  rename     d/b (in the cloud it is d/c, changed 100 s ago, 2 attempts failed, next attempt in 4 s)",
                "           no network (request 7f)",
                "  parked   rename     d/b (in the cloud it is d/c, changed 100 s ago, 1 attempt failed, next attempt in 4 s)",
                "           no network (request 7f)",
                "           what to do: wait",
                "  and 1 more (--limit 0 lists all)",
            ]
        );
    }
}
