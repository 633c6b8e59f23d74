//! The command line: arguments in, sentences and an exit code out.
//!
//! Two programs share it. `onedrive-mount` has one job and therefore no subcommands; `onedrive-cli` is for everything
//! around it, one file per command in [`cmd`]. A command returns a [`CliError`] or nothing; only this module prints
//! errors and picks the process's exit code.

pub mod background;
pub mod cmd;
pub mod context;
pub mod daemons;
pub mod error;
pub mod mountpoint;
pub mod person;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use cmd::{auth, mount, print_config, status, unmount, wait};
use error::{CliError, Kind};

/// OneDrive as a folder: files on demand, work that goes on offline, nothing lost
#[derive(Parser, Debug)]
#[command(name = "onedrive-mount", version, after_help = mount::AFTER_HELP)]
struct Mount {
    #[command(flatten)]
    arguments: mount::Arguments,
}

/// Everything around a OneDrive mount: sign in, unmount, look after it
#[derive(Parser, Debug)]
#[command(name = "onedrive-cli", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Sign in to OneDrive, or sign in again
    Auth(auth::Arguments),
    /// Take a mount down
    Unmount(unmount::Arguments),
    /// Say what is mounted and whether everything is in the cloud
    Status(status::Arguments),
    /// List what is not in the cloud yet, and why
    Queue(status::Arguments),
    /// Wait until everything is in the cloud
    Wait(wait::Arguments),
    /// Print every setting with its explanation and its default
    PrintConfig(print_config::Arguments),
    /// Run a OneDrive of our own on this machine, for trying things out and for testing other programs
    #[cfg(feature = "demo")]
    Emulator(cmd::emulator::Arguments),
}

/// The whole of `onedrive-mount`.
pub fn run_mount() -> ExitCode {
    finish(mount::run(Mount::parse().arguments))
}

/// The whole of `onedrive-cli`.
pub fn run_cli() -> ExitCode {
    finish(match Cli::parse().command {
        Command::Auth(arguments) => auth::run(&arguments),
        Command::Unmount(arguments) => unmount::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Queue(arguments) => status::run_queue(&arguments),
        Command::Wait(arguments) => wait::run(&arguments),
        Command::PrintConfig(arguments) => print_config::run(&arguments),
        #[cfg(feature = "demo")]
        Command::Emulator(arguments) => cmd::emulator::run(&arguments),
    })
}

fn finish(result: Result<(), CliError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
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
