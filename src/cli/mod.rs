//! The command line: arguments in, sentences and an exit code out.
//!
//! Two programs share it. `onedrive-mount` has one job and therefore no subcommands; `onedrive-cli` is for everything
//! around it, one file per command in [`cmd`]. A command returns a [`CliError`] or nothing; only this module prints
//! errors and picks the process's exit code.

pub mod background;
pub mod cmd;
pub mod commands;
pub mod context;
pub mod daemons;
pub mod encoding;
pub mod error;
pub mod mountpoint;
pub mod options;
pub mod person;
pub mod print;
pub mod progress;
pub mod session;
pub mod template;
pub(crate) mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use cmd::mount;
use commands::Cli;
use encoding::Terminal;
use error::{CliError, Kind};

use crate::daemon::run::as_undertaker;

/// OneDrive as a folder: files on demand, work that goes on offline, nothing lost
#[derive(clap::Parser, Debug)]
#[command(name = "onedrive-mount", version, after_help = mount::AFTER_HELP)]
struct Mount {
    #[command(flatten)]
    arguments: mount::Arguments,
}

/// The whole of `onedrive-mount`.
pub fn run_mount() -> ExitCode {
    if let Some(code) = as_undertaker(std::env::args_os()) {
        return code;
    }
    finish(mount::run(Mount::parse().arguments))
}

/// The whole of `onedrive-cli`.
pub fn run_cli() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // The encoding of the arguments is one of them, and its name can be read in any.
    let lossy = arguments.iter().map(|argument| argument.to_string_lossy().into_owned());
    let named = Cli::try_parse_from(lossy).ok().map(|cli| Terminal::named(cli.encoding()));
    match named.transpose() {
        Ok(None) => finish(commands::run(Cli::parse_from(arguments))),
        Ok(Some(terminal)) => {
            terminal.use_here();
            finish(commands::run(Cli::parse_from(terminal.decoded(arguments))))
        }
        Err(error) => finish(Err(error)),
    }
}

fn finish(result: Result<(), CliError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Sentences may quote names that somebody else gave.
            print::say(&print::tamed(&error.to_string()));
            error.exit_code()
        }
    }
}

/// Runs a command that waits for the network, on this thread.
fn block_on<T>(future: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Kind::Other, format!("cannot start: {error}")))?;
    let result = runtime.block_on(future);
    // A thread may still be waiting for a line that nobody is going to type.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_argument_trees_are_consistent() {
        Mount::command().debug_assert();
        Cli::command().debug_assert();
    }

    #[test]
    fn a_mount_point_is_needed_except_to_print_the_settings() {
        assert!(Mount::try_parse_from(["onedrive-mount"]).is_err());
        assert!(Mount::try_parse_from(["onedrive-mount", "--print-config"]).is_ok());
        assert!(Mount::try_parse_from(["onedrive-mount", "/m", "--demo-items", "5"]).is_err(), "only with --demo");
        assert!(Mount::try_parse_from(["onedrive-mount", "/m", "--no-browser", "--device-code"]).is_err());
    }
}
