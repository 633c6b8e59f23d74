//! The commands of `onedrive-cli`: their names, and which function does which.

use clap::{Parser, Subcommand};

use super::block_on;
use super::cmd::{
    auth, auth_refresh, cat, completions, doctor, draft, du, find, get, info, info_set, ls, mkdir, mv, print_config,
    put, queue, quota, release, rm, status, tree, unmount, verify, wait, why,
};
use super::error::CliError;
use super::options::Global;
use super::session::Session;
use crate::base::{private, telemetry};
use crate::remote::{URGENCY, Urgency};

/// OneDrive on the command line, with a mount and without one
#[derive(Parser, Debug)]
#[command(name = "onedrive-cli", version, disable_help_subcommand = true, after_help = super::error::EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    global: Global,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Sign in to OneDrive, or sign in again
    Auth(auth::Arguments),
    /// Get a new access token now
    #[command(name = "auth_refresh", visible_alias = "auth-refresh")]
    AuthRefresh,
    /// Say how much space is free, and how much there is
    Quota,
    /// Say everything that is known of an object
    #[command(visible_alias = "stat")]
    Info(info::Arguments),
    /// Change an object's properties
    #[command(name = "info_set", visible_alias = "info-set")]
    InfoSet(info_set::Arguments),
    /// List a folder
    Ls(ls::Arguments),
    /// Show everything below a folder
    Tree(tree::Arguments),
    /// Find objects below a folder
    Find(find::Arguments),
    /// Say how much is in a folder
    Du(du::Arguments),
    /// Fetch a file, or a folder with everything in it
    Get(get::Arguments),
    /// Send a file, standard input, or a folder with everything in it
    Put(put::Arguments),
    /// Print files
    Cat(cat::Arguments),
    /// Make a folder
    Mkdir(mkdir::Arguments),
    /// Move or rename
    Mv(mv::Arguments),
    /// Delete, into the recycle bin
    Rm(rm::Arguments),
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
    #[command(visible_alias = "print_config")]
    PrintConfig(print_config::Arguments),
    /// Look at everything that is needed, and say what to do
    Doctor,
    /// Print the completions of both programs for a shell
    Completions(completions::Arguments),
    /// Write the manual pages of both programs
    Man(completions::ManArguments),
    /// Run a OneDrive of our own on this machine, for trying things out and for testing other programs
    #[cfg(feature = "demo")]
    Emulator(super::cmd::emulator::Arguments),
}

/// What both programs take.
fn programs() -> Vec<clap::Command> {
    use clap::CommandFactory as _;
    vec![super::Mount::command(), Cli::command()]
}

/// Does what the arguments say.
///
/// # Errors
/// Those of the command.
pub fn run(cli: Cli) -> Result<(), CliError> {
    let Cli { global, command } = cli;
    global.check()?;
    let json = global.json;
    match &command {
        Command::Auth(arguments) => auth::run(arguments, &global),
        Command::AuthRefresh => quick(&global, auth_refresh::run),
        Command::Quota => quick(&global, quota::run),
        Command::Info(arguments) => quick(&global, async |session| info::run(arguments, session).await),
        Command::InfoSet(arguments) => quick(&global, async |session| info_set::run(arguments, session).await),
        Command::Ls(arguments) => quick(&global, async |session| ls::run(arguments, session).await),
        Command::Tree(arguments) => patient(&global, async |session| tree::run(arguments, session).await),
        Command::Find(arguments) => patient(&global, async |session| find::run(arguments, session).await),
        Command::Du(arguments) => patient(&global, async |session| du::run(arguments, session).await),
        Command::Get(arguments) => patient(&global, async |session| get::run(arguments, session).await),
        Command::Put(arguments) => patient(&global, async |session| put::run(arguments, session).await),
        Command::Cat(arguments) => patient(&global, async |session| cat::run(arguments, session).await),
        Command::Mkdir(arguments) => quick(&global, async |session| mkdir::run(arguments, session).await),
        Command::Mv(arguments) => quick(&global, async |session| mv::run(arguments, session).await),
        Command::Rm(arguments) => quick(&global, async |session| rm::run(arguments, session).await),
        Command::Unmount(arguments) => unmount::run(arguments),
        Command::Status(arguments) => status::run(arguments, json),
        Command::Queue(arguments) => queue::run(arguments, json),
        Command::Wait(arguments) => wait::run(arguments, json),
        Command::Why(arguments) => why::run(arguments, json),
        Command::Retry(arguments) => release::run_retry(arguments, json),
        Command::Approve(arguments) => release::run_approve(arguments, json),
        Command::Export(arguments) => draft::run_export(arguments, json),
        Command::Discard(arguments) => draft::run_discard(arguments, json),
        Command::Verify(arguments) => verify::run(arguments, json),
        Command::PrintConfig(arguments) => print_config::run(arguments, &global),
        Command::Doctor => doctor::run(&global),
        Command::Completions(arguments) => completions::run(arguments, programs()),
        Command::Man(arguments) => completions::run_man(arguments, programs()),
        #[cfg(feature = "demo")]
        Command::Emulator(arguments) => super::cmd::emulator::run(arguments),
    }
}

/// A command that talks to the cloud while somebody waits for the answer: an outage is told within seconds.
fn quick(global: &Global, command: impl AsyncFnOnce(&Session) -> Result<(), CliError>) -> Result<(), CliError> {
    with_session(global, Urgency::Interactive, command)
}

/// A command that makes many requests: it outlasts a short outage, and lets a mount pass before it.
fn patient(global: &Global, command: impl AsyncFnOnce(&Session) -> Result<(), CliError>) -> Result<(), CliError> {
    with_session(global, Urgency::Upload, command)
}

fn with_session(
    global: &Global,
    urgency: Urgency,
    command: impl AsyncFnOnce(&Session) -> Result<(), CliError>,
) -> Result<(), CliError> {
    telemetry::start(global.log_level())?;
    private::keep_memory();
    block_on(URGENCY.scope(urgency, async {
        let session = Session::open(global)?;
        let result = command(&session).await;
        session.close().await;
        result
    }))
}
