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
pub(crate) mod words;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use cmd::{auth, draft, mount, print_config, queue, release, status, unmount, verify, wait, why};
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
    /// Say what is mounted, whether everything is in the cloud, and what goes on
    Status(status::Arguments),
    /// List what is not in the cloud yet, and why
    Queue(queue::Arguments),
    /// Wait until a file, or everything below a folder, is in the cloud
    Wait(wait::Arguments),
    /// Say in words how a file or folder stands, and what can be done about it
    Why(why::Arguments),
    /// Try again now what waits for its next attempt, or for you after an error
    Retry(release::Arguments),
    /// Send the deletions and overwrites that are held because one program made so many of them
    Approve(release::Arguments),
    /// Copy the content of a draft out, without the cloud
    Export(draft::ExportArguments),
    /// Take a change back that is not in the cloud yet, or throw a kept draft away
    Discard(draft::DiscardArguments),
    /// Check the content on this machine against the service's hashes, without downloading anything
    Verify(verify::Arguments),
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
        Command::Queue(arguments) => queue::run(&arguments),
        Command::Wait(arguments) => wait::run(&arguments),
        Command::Why(arguments) => why::run(&arguments),
        Command::Retry(arguments) => release::run_retry(&arguments),
        Command::Approve(arguments) => release::run_approve(&arguments),
        Command::Export(arguments) => draft::run_export(&arguments),
        Command::Discard(arguments) => draft::run_discard(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
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
