//! `onedrive-cli wait`: comes back when everything is in the cloud. What one runs before shutting the lid.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::queue::entry;
use crate::base::clock::{Clock as _, Mono, SystemClock};
use crate::cli::block_on;
use crate::cli::daemons::{self, Target};
use crate::cli::error::{CliError, Kind};
use crate::cli::print::{json_text, print, say, tamed};
use crate::cli::words::changes;
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
/// Nothing is mounted, the time is over, a daemon has gone meanwhile, or a change waits for the user.
pub fn run(arguments: &Arguments, json: bool) -> Result<(), CliError> {
    let targets = daemons::meant(arguments.path.as_deref())?;
    block_on(async {
        let clock = SystemClock::new();
        let start = clock.monotonic();
        let mut shown = Shown::new(std::io::stderr().is_terminal() && !json, json);
        loop {
            let left = look(&targets)?;
            let over = arguments.timeout.is_some_and(|timeout| clock.monotonic().since(start) >= timeout);
            let outcome = outcome(&left, over, clock.now().seconds());
            if let Some(result) = outcome {
                shown.end();
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
}
