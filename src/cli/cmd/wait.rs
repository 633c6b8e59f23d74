//! `onedrive-cli wait`: comes back when everything is in the cloud. What one runs before shutting the lid.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::base::clock::{Clock as _, SystemClock};
use crate::cli::block_on;
use crate::cli::daemons::{self, changes};
use crate::cli::error::{CliError, Kind};
use crate::config::size::parse_duration;

/// How often to look.
const PAUSE: Duration = Duration::from_millis(200);

/// Arguments of `wait`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Only the mount that this path lies in
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    /// Give up after this long, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

/// Waits until nothing is on the way any more.
///
/// # Errors
/// Nothing is mounted, the time is over, a daemon has gone meanwhile, or changes wait for the user.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    let path = arguments.path.as_deref();
    let expected = daemons::serving(path)?.len();
    block_on(async {
        let clock = SystemClock::new();
        let start = clock.monotonic();
        loop {
            let running = daemons::serving(path)?;
            let waiting: usize = running.iter().map(|daemon| daemon.status.waiting).sum();
            let parked: usize = running.iter().map(|daemon| daemon.status.parked).sum();
            if running.len() < expected {
                return Err(CliError::new(Kind::NotMounted, "a daemon has ended meanwhile; see its log"));
            }
            if waiting == 0 && parked > 0 {
                let sentence = format!("{} cannot be sent as they are", changes(parked));
                return Err(CliError::new(Kind::Other, sentence).hint("which, and why: onedrive-cli queue"));
            }
            if waiting == 0 {
                return Ok(());
            }
            if arguments.timeout.is_some_and(|timeout| clock.monotonic().since(start) >= timeout) {
                let sentence = format!("{} still on the way to the cloud", changes(waiting));
                return Err(CliError::new(Kind::Busy, sentence).hint("they are safe on this machine"));
            }
            clock.sleep(PAUSE).await;
        }
    })
}
