//! What the program says while it runs, and where it goes.
//!
//! Under systemd a line of text loses its fields and its level; without systemd a journal has no reader. So the place
//! is chosen by who started us, once, before anything else happens. The level can be changed while the program runs,
//! because what needs a closer look has usually already begun.

use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// What is told if nobody asks for more: our own news, and only trouble from the libraries.
pub const DEFAULT_LEVEL: &str = "info";

/// The handle with which the level is changed while the program runs.
#[derive(Clone, Debug)]
pub struct Level {
    filter: reload::Handle<EnvFilter, Registry>,
}

/// The text names no level.
#[derive(Debug, thiserror::Error)]
#[error(
    "\"{0}\" is not a log level; use error, warn, info, debug or trace, or a filter such as onedrive_mount::journal=debug"
)]
pub struct NotALevel(String);

/// Starts telling: to the systemd journal, with fields, if standard error leads there; else to standard error, in
/// colours if it is a terminal. A daemon in the background has its log file as standard error.
///
/// The second call in a process changes nothing and returns a handle without effect.
///
/// # Errors
/// `level` is neither a level nor a filter.
pub fn start(level: &str) -> Result<Level, NotALevel> {
    let (filter, handle) = reload::Layer::new(parse(level)?);
    let journal = leads_to_journal().then(tracing_journald::layer).and_then(Result::ok);
    let sink: Box<dyn Layer<_> + Send + Sync> = match journal {
        Some(layer) => layer.with_syslog_identifier("onedrive-mount".to_owned()).boxed(),
        None => tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .boxed(),
    };
    let _ = tracing_subscriber::registry().with(filter).with(sink).try_init();
    Ok(Level { filter: handle })
}

impl Level {
    /// Changes the level from now on.
    ///
    /// # Errors
    /// `level` is neither a level nor a filter.
    pub fn set(&self, level: &str) -> Result<(), NotALevel> {
        let filter = parse(level)?;
        // Fails only when the subscriber is gone, and then there is nothing to filter.
        let _ = self.filter.reload(filter);
        Ok(())
    }
}

/// A bare level speaks of this program, and of libraries from `warn` on; anything else is a filter as it stands.
fn parse(level: &str) -> Result<EnvFilter, NotALevel> {
    let wrong = || NotALevel(level.to_owned());
    let text = match level {
        "off" | "error" => level.to_owned(),
        "warn" | "info" | "debug" | "trace" => format!("warn,onedrive_mount={level}"),
        "" => return Err(wrong()),
        filter => filter.to_owned(),
    };
    // A word without `=` would be taken for the name of a module that nobody has.
    if level.contains('=') || ["off", "error", "warn", "info", "debug", "trace"].contains(&level) {
        EnvFilter::builder().parse(text).map_err(|_| wrong())
    } else {
        Err(wrong())
    }
}

/// Whether standard error is the journal's socket. The variable alone does not tell: it is inherited by programs
/// whose output goes elsewhere.
///
/// Source: `systemd.exec(5)`, `$JOURNAL_STREAM`.
fn leads_to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(std::io::stderr().as_fd()).is_ok_and(|stat| is_stream(&stream, stat.st_dev, stat.st_ino))
}

fn is_stream(variable: &str, device: u64, inode: u64) -> bool {
    variable.split_once(':').is_some_and(|(d, i)| d.parse() == Ok(device) && i.parse() == Ok(inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_or_a_filter_is_taken_and_nothing_else() {
        for level in ["off", "error", "warn", "info", "debug", "trace", "onedrive_mount::journal=debug,warn"] {
            assert!(parse(level).is_ok(), "{level}");
        }
        for level in ["", "verbose", "INFOO", "a=b=c", "journal=loud"] {
            assert!(parse(level).is_err(), "{level}");
        }
        assert!(parse("debug").expect("a level").to_string().contains("onedrive_mount=debug"));
    }

    #[test]
    fn the_journal_is_known_by_its_device_and_inode() {
        assert!(is_stream("8:12345", 8, 12345));
        for variable in ["", "8", "8:1", "9:12345", "8:12345:0"] {
            assert!(!is_stream(variable, 8, 12345), "{variable}");
        }
    }
}
