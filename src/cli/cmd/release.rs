//! `onedrive-cli retry` and `onedrive-cli approve`: let go what waits, and let go what is held.

use std::path::PathBuf;

use clap::Args;

use crate::cli::daemons;
use crate::cli::error::CliError;
use crate::cli::options::Dry;
use crate::cli::print::{json_text, print, would};
use crate::cli::words::changes;
use crate::daemon::control::protocol::{Done, Queued};
use crate::daemon::control::{Answer, Request};

/// Arguments of `retry` and `approve`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Only what is at this path or below it
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    #[command(flatten)]
    dry: Dry,
}

/// Makes what failed due now.
///
/// # Errors
/// Nothing is mounted, or a daemon does not answer; it is done with the others all the same.
pub fn run_retry(arguments: &Arguments, json: bool) -> Result<(), CliError> {
    if arguments.dry.dry_run {
        return run_dry(arguments, json, "try again now", is_retried);
    }
    run(arguments, json, |path| Request::Retry { path }, retried)
}

/// Makes what is held due now.
///
/// # Errors
/// Nothing is mounted, or a daemon does not answer; it is done with the others all the same.
pub fn run_approve(arguments: &Arguments, json: bool) -> Result<(), CliError> {
    if arguments.dry.dry_run {
        return run_dry(arguments, json, "approve", |change| change.state == "held");
    }
    run(arguments, json, |path| Request::Approve { path }, approved)
}

fn run(
    arguments: &Arguments,
    json: bool,
    request: impl Fn(Option<String>) -> Request,
    text: impl Fn(&Done) -> String,
) -> Result<(), CliError> {
    let mut all = String::new();
    let meant = daemons::meant(arguments.path.as_deref())?;
    for target in &meant.targets {
        match target.daemon.ask(&request(target.path.clone()))? {
            Answer::Done(done) if json => all.push_str(&json_text(&done)),
            Answer::Done(done) => all.push_str(&format!("{}: {}\n", done.mountpoint.display(), text(&done))),
            other => return Err(target.daemon.confused(&other)),
        }
    }
    print(&all)?;
    meant.complete()
}

/// Says what would be let go. The daemon is asked for its queue and nothing else, so one of an older version does
/// nothing either.
fn run_dry(arguments: &Arguments, json: bool, verb: &str, is_meant: impl Fn(&Queued) -> bool) -> Result<(), CliError> {
    let meant = daemons::meant(arguments.path.as_deref())?;
    for target in &meant.targets {
        match target.daemon.ask(&Request::Queue { path: target.path.clone(), limit: None })? {
            Answer::Queue(queue) => {
                let count = queue.entries.iter().filter(|change| is_meant(change)).count();
                would(json, &format!("{verb} {} of {}", changes(count), queue.mountpoint.display()))?;
            }
            other => return Err(target.daemon.confused(&other)),
        }
    }
    meant.complete()
}

/// Whether `retry` makes a change due: it failed before, or it waits for the user and is not held.
fn is_retried(change: &Queued) -> bool {
    (change.state == "waiting" && change.attempts > 0) || change.state == "parked"
}

fn retried(done: &Done) -> String {
    let mut text = match done.changes {
        0 => "nothing to try again".to_owned(),
        count => format!("{} tried again now; how it goes: onedrive-cli queue", changes(count)),
    };
    if done.held > 0 {
        text.push_str(&format!("; {} held, which takes your word: onedrive-cli approve", changes(done.held)));
    }
    text
}

fn approved(done: &Done) -> String {
    match done.changes {
        0 => "nothing is held".to_owned(),
        count => format!("{} approved and on the way to the cloud", changes(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_fits_what_was_done() {
        let done = |changes, held| Done { changes, held, ..Done::default() };
        assert_eq!(retried(&done(0, 0)), "nothing to try again");
        assert!(
            retried(&done(2, 5)).starts_with("2 changes tried again now") && retried(&done(2, 5)).ends_with("approve")
        );
        let change = |state: &str, attempts| Queued { state: state.to_owned(), attempts, ..Queued::default() };
        assert!(is_retried(&change("waiting", 1)) && is_retried(&change("parked", 0)));
        assert!(!is_retried(&change("waiting", 0)) && !is_retried(&change("held", 1)));
        assert_eq!(approved(&done(0, 0)), "nothing is held");
        assert_eq!(approved(&done(1, 0)), "1 change approved and on the way to the cloud");
    }
}
