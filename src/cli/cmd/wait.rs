//! `onedrive-cli wait`: comes back when everything is in the cloud. What one runs before shutting the lid, or before
//! deleting the original of a copy.
//!
//! Its exit code is taken for a promise, so it is 0 only if all that was asked about is known to be in the cloud: not
//! while a daemon cannot be asked, and not for a path where there is nothing, or a file that is never sent.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::queue::entry;
use crate::base::clock::{Clock as _, Mono, SystemClock};
use crate::cli::block_on;
use crate::cli::daemons::{self, Target};
use crate::cli::error::{CliError, Kind};
use crate::cli::print::{json_text, print, say, tamed};
use crate::cli::words::{changes, files};
use crate::config::size::{display_size, parse_duration};
use crate::daemon::control::protocol::Progress;
use crate::daemon::control::{Answer, Request};

/// How often to look.
const PAUSE: Duration = Duration::from_millis(200);

/// How often to look at most when the queue is so long that looking takes a while.
const LONG_PAUSE: Duration = Duration::from_secs(2);

/// How many changes make a queue long.
const LONG: usize = 5_000;

/// How often to say how far it is, where there is no terminal.
const SAYING: Duration = Duration::from_secs(5);

/// Arguments of `wait`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Only the file or folder at this path, with everything below it
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    /// Give up after this long, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

/// Waits until nothing of it is on the way any more.
///
/// # Errors
/// Nothing is mounted, a daemon does not answer or has gone meanwhile, the time is over, a change waits for the user,
/// what is at the path is never sent, or nothing is there.
pub fn run(arguments: &Arguments, json: bool) -> Result<(), CliError> {
    let meant = daemons::meant(arguments.path.as_deref())?;
    // Nobody says everything of one that cannot be asked.
    meant.complete()?;
    block_on(async {
        let clock = SystemClock::new();
        let start = clock.monotonic();
        let mut shown = Shown::new(std::io::stderr().is_terminal() && !json, json);
        let mut was_leaving = false;
        loop {
            let left = look(&meant.targets)?;
            let over = arguments.timeout.is_some_and(|timeout| clock.monotonic().since(start) >= timeout);
            let outcome = missing(&left, was_leaving, arguments.path.as_deref())
                .map(Err)
                .or_else(|| outcome(&left, over, clock.now().seconds()));
            was_leaving = left.iter().any(|progress| progress.sight.as_deref() == Some("leaving"));
            if let Some(result) = outcome {
                shown.end();
                if let (Ok(()), false, Some(sentence)) = (&result, json, staying(&left)) {
                    say(&tamed(&sentence));
                }
                if json {
                    print(&left.iter().map(json_text).collect::<String>())?;
                }
                return result;
            }
            shown.update(&left, clock.monotonic());
            let long = left.iter().map(|progress| progress.waiting).sum::<usize>() > LONG;
            clock.sleep(if long { LONG_PAUSE } else { PAUSE }).await;
        }
    })
}

fn look(targets: &[Target]) -> Result<Vec<Progress>, CliError> {
    targets
        .iter()
        .map(|target| match target.daemon.ask(&Request::Progress { path: target.path.clone() })? {
            Answer::Progress(progress) => Ok(*progress),
            other => Err(target.daemon.confused(&other)),
        })
        .collect()
}

/// Why waiting for a path is of no use, if it is not.
///
/// | what is there | a moment ago | then |
/// | --- | --- | --- |
/// | a file that stays on this machine | | it is never sent |
/// | nothing, and no change of it waits | its deletion waited | that is in the cloud now: nothing to complain of |
/// | nothing, and no change of it waits | not so | there is nothing to wait for |
/// | anything else | | see [`outcome`] |
fn missing(left: &[Progress], was_leaving: bool, path: Option<&Path>) -> Option<CliError> {
    let at = path.unwrap_or(Path::new("")).display();
    match left.first()?.sight.as_deref()? {
        "local" => {
            let sentence = format!(
                "{at} stays on this machine and is never sent: it has a name that programs give to what they have not \
                 finished, or only need themselves"
            );
            Some(
                CliError::new(Kind::Parked, sentence)
                    .hint(format!("to have it sent, give it another name: mv '{at}' ...")),
            )
        }
        "nothing" if !was_leaving => {
            let sentence = format!("there is nothing at {at}, and no change of it waits for the cloud");
            Some(
                CliError::new(Kind::NotFound, sentence)
                    .hint("if it was deleted, the cloud knows; if it has another name now, wait for that one"),
            )
        }
        _ => None,
    }
}

/// What is said of files that nobody waits for, because they are never sent.
fn staying(left: &[Progress]) -> Option<String> {
    let first = left.iter().find_map(|progress| progress.first_staying.as_deref())?;
    let count: usize = left.iter().map(|progress| progress.staying).sum();
    Some(format!("not in the cloud, because such names stay on this machine: {} ({first})", files(count as u64)))
}

/// How waiting ends, if it does now.
///
/// | waits for the user | on the way | time | ends |
/// | --- | --- | --- | --- |
/// | something | | | with its reason, at once |
/// | nothing | nothing | | well |
/// | nothing | something | over | with what is left |
/// | nothing | something | left | not yet |
fn outcome(left: &[Progress], over: bool, now: i64) -> Option<Result<(), CliError>> {
    let parked: usize = left.iter().map(|progress| progress.parked).sum();
    let waiting: usize = left.iter().map(|progress| progress.waiting).sum();
    if parked > 0 {
        let mut sentence = format!("{} cannot be sent without you", changes(parked));
        for progress in left {
            if let Some(first) = &progress.first_parked {
                sentence.push_str(&format!("\n{}", entry(first, now).trim_end()));
            }
        }
        return Some(Err(CliError::new(Kind::Parked, sentence).hint("all of them: onedrive-cli queue")));
    }
    if waiting == 0 {
        return Some(Ok(()));
    }
    over.then(|| {
        let sentence = format!("{} still on the way to the cloud", changes(waiting));
        Err(CliError::new(Kind::Busy, sentence).hint("they are safe on this machine"))
    })
}

/// How far it is, shown to a person or written to a log.
struct Shown {
    bar: Option<ProgressBar>,
    silent: bool,
    /// The most bytes that were seen to be left.
    most: u64,
    said: Option<(String, Mono)>,
}

impl Shown {
    fn new(terminal: bool, silent: bool) -> Self {
        let bar = terminal.then(|| {
            let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes}  {msg}")
                .expect("invariant: the template is right");
            ProgressBar::new(0).with_style(style)
        });
        Self { bar, silent, most: 0, said: None }
    }

    fn update(&mut self, left: &[Progress], now: Mono) {
        let bytes: u64 = left.iter().map(|progress| progress.bytes_waiting).sum();
        let waiting: usize = left.iter().map(|progress| progress.waiting).sum();
        self.most = self.most.max(bytes);
        if let Some(bar) = &self.bar {
            bar.set_length(self.most);
            bar.set_position(self.most - bytes);
            bar.set_message(format!("{} left", changes(waiting)));
            return;
        }
        let sentence = format!("{} left, {}", changes(waiting), display_size(bytes));
        let due = match &self.said {
            None => true,
            Some((said, at)) => *said != sentence && now.since(*at) >= SAYING,
        };
        if due && !self.silent {
            say(&tamed(&sentence));
            self.said = Some((sentence, now));
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::control::protocol::Queued;

    #[test]
    fn every_row_of_the_table() {
        let left = |waiting, parked| {
            let first =
                Queued { path: "a".into(), state: "parked".into(), error: Some("why".into()), ..Queued::default() };
            let first_parked = (parked > 0).then_some(first);
            vec![Progress { mountpoint: "/m".into(), waiting, parked, first_parked, ..Progress::default() }]
        };
        let parked = outcome(&left(5, 1), false, 0).expect("ends at once").expect_err("badly");
        assert!(parked.kind == Kind::Parked && parked.to_string().contains("why"), "{parked}");
        assert!(outcome(&left(0, 0), true, 0).expect("ends").is_ok());
        assert!(outcome(&left(1, 0), false, 0).is_none());
        assert_eq!(outcome(&left(1, 0), true, 0).expect("ends").expect_err("badly").kind, Kind::Busy);
    }

    #[test]
    fn every_row_of_the_table_of_paths() {
        let end = |sight: &str, was_leaving| {
            let left = [Progress { sight: Some(sight.to_owned()), ..Progress::default() }];
            missing(&left, was_leaving, Some(Path::new("/m/x"))).map(|error| error.kind)
        };
        assert_eq!(end("local", false), Some(Kind::Parked));
        assert_eq!((end("nothing", false), end("nothing", true)), (Some(Kind::NotFound), None));
        for other in ["here", "leaving", "unlisted"] {
            assert_eq!(end(other, false), None, "{other}");
        }
        assert!(missing(&[Progress::default()], false, None).is_none(), "an older daemon, or the whole mount");
    }
}
