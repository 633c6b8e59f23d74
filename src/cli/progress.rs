//! How far transfers are: bars on a terminal, plain lines elsewhere, nothing with `--quiet`.
//!
//! All of it goes to standard error: standard output belongs to content and results. What is shown never runs ahead of
//! what was acknowledged, and never passes the size.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::encoding::path_text;
use super::print::{say, tamed};
use super::words::span;
use crate::base::clock::{Clock, Mono};
use crate::config::size::display_size;
use crate::drive::Stage;

/// How often to say how far a long transfer is, where there is no terminal.
const SAYING: Duration = Duration::from_secs(5);

/// The longest name on a bar.
const NAME_ROOM: usize = 30;

/// The transfers of one command.
#[derive(Clone)]
pub struct Progress {
    how: How,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
enum How {
    Bars(MultiProgress),
    Lines,
    Silent,
}

/// One transfer. Dropped without [`Transfer::done`], it vanishes.
pub struct Transfer {
    shown: Shown,
    name: String,
    verb: &'static str,
    total: Option<u64>,
    begun: Mono,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

enum Shown {
    Bar(ProgressBar),
    Lines,
    Silent,
}

#[derive(Default)]
struct State {
    /// Where this run began: what an earlier one had done is no part of the rate.
    from: Option<u64>,
    done: u64,
    said: Mono,
}

impl Progress {
    /// For standard error as it is.
    pub fn new(quiet: bool, clock: Arc<dyn Clock>) -> Self {
        let how = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => How::Silent,
            (_, true) => How::Bars(MultiProgress::new()),
            _ => How::Lines,
        };
        Self { how, clock }
    }

    /// Begins to show a transfer. `verb` is what has happened when it is done, such as `uploaded`.
    pub fn transfer(&self, verb: &'static str, name: &str, total: Option<u64>) -> Transfer {
        let name = tamed(name);
        let shown = match &self.how {
            How::Bars(bars) => {
                let bar = bars.add(ProgressBar::new(total.unwrap_or(0)).with_style(style(total.is_some())));
                bar.set_prefix(shortened(&name));
                Shown::Bar(bar)
            }
            How::Lines => Shown::Lines,
            How::Silent => Shown::Silent,
        };
        let begun = self.clock.monotonic();
        let state = Mutex::new(State { said: begun, ..State::default() });
        Transfer { shown, name, verb, total, begun, clock: self.clock.clone(), state }
    }
}

impl Transfer {
    /// So many bytes of it are done.
    pub fn at(&self, bytes: u64) {
        let bytes = self.total.map_or(bytes, |total| bytes.min(total));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let from = *state.from.get_or_insert(bytes);
        state.done = bytes;
        match &self.shown {
            Shown::Bar(bar) => {
                if from == bytes {
                    bar.reset_eta();
                }
                bar.set_position(bytes);
            }
            Shown::Lines => {
                let now = self.clock.monotonic();
                if now.since(state.said) >= SAYING {
                    state.said = now;
                    say(&format!("{}: {}", self.name, how_far(bytes, from, self.total, now.since(self.begun))));
                }
            }
            Shown::Silent => {}
        }
    }

    /// It is complete.
    pub fn done(self) {
        let done = self.state.lock().unwrap_or_else(PoisonError::into_inner).done;
        match &self.shown {
            Shown::Bar(bar) => bar.finish(),
            Shown::Lines => {
                say(&format!("{}: {}, {}", self.name, self.verb, display_size(self.total.unwrap_or(done))));
            }
            Shown::Silent => {}
        }
    }
}

/// The transfers of many files, by their paths.
pub struct Board {
    progress: Progress,
    verb: &'static str,
    running: Mutex<HashMap<PathBuf, Transfer>>,
}

impl Board {
    /// Nothing is shown yet. `verb` as for [`Progress::transfer`].
    pub fn new(progress: Progress, verb: &'static str) -> Self {
        Self { progress, verb, running: Mutex::default() }
    }

    /// Shows what happens to a file.
    pub fn show(&self, path: &Path, stage: Stage) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match stage {
            Stage::Begins(bytes) => {
                let transfer = self.progress.transfer(self.verb, &path_text(path), Some(bytes));
                running.insert(path.to_owned(), transfer);
            }
            Stage::At(bytes) => {
                if let Some(transfer) = running.get(path) {
                    transfer.at(bytes);
                }
            }
            Stage::Done => {
                if let Some(transfer) = running.remove(path) {
                    transfer.done();
                }
            }
            Stage::Ends => drop(running.remove(path)),
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown
            && !bar.is_finished()
        {
            bar.finish_and_clear();
        }
    }
}

fn style(sized: bool) -> ProgressStyle {
    let template = if sized {
        "{prefix:30} {wide_bar} {binary_bytes:>10} of {binary_total_bytes:<10} {binary_bytes_per_sec:>12} {eta:>4}"
    } else {
        "{prefix:30} {spinner} {binary_bytes:>10} {binary_bytes_per_sec:>12}"
    };
    ProgressStyle::with_template(template).expect("invariant: the template is right")
}

/// `3 MiB of 10 MiB (30 %), 1 MiB/s, 7 s left`
fn how_far(done: u64, from: u64, total: Option<u64>, time: Duration) -> String {
    let mut text = match total {
        Some(total) => super::words::share(done, total),
        None => display_size(done),
    };
    let rate = done.saturating_sub(from) as f64 / time.as_secs_f64().max(0.001);
    if rate >= 1.0 {
        text.push_str(&format!(", {}/s", display_size(rate as u64)));
        if let Some(total) = total {
            text.push_str(&format!(", {} left", span((total.saturating_sub(done) as f64 / rate) as i64)));
        }
    }
    text
}

fn shortened(name: &str) -> String {
    let count = name.chars().count();
    if count <= NAME_ROOM {
        return name.to_owned();
    }
    let tail: String = name.chars().skip(count - NAME_ROOM + 1).collect();
    format!("…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::{ManualClock, Timestamp};

    #[test]
    fn how_far_it_is_with_rate_and_time_left() {
        let second = Duration::from_secs(1);
        assert_eq!(how_far(3 << 20, 1 << 20, Some(10 << 20), second * 2), "3 MiB of 10 MiB (30 %), 1 MiB/s, 7 s left");
        assert_eq!(how_far(5, 5, Some(10), second), "5 bytes of 10 bytes (50 %)");
        assert_eq!(how_far(2048, 0, None, second), "2 KiB, 2 KiB/s");
    }

    #[test]
    fn it_never_passes_the_size() {
        let clock = Arc::new(ManualClock::new(Timestamp(0)));
        let progress = Progress { how: How::Silent, clock };
        let transfer = progress.transfer("uploaded", "x", Some(10));
        transfer.at(4);
        transfer.at(16);
        assert_eq!(transfer.state.lock().expect("unharmed").done, 10);
    }

    #[test]
    fn a_long_name_keeps_its_end() {
        assert_eq!(shortened("short"), "short");
        let name = shortened(&format!("{}end.txt", "x".repeat(50)));
        assert!(name.chars().count() == 30 && name.ends_with("end.txt") && name.starts_with('…'), "{name}");
    }
}
