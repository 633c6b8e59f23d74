//! The commands of `onedrive-cli`: their names, and which function does which.

use clap::{Parser, Subcommand};

use super::block_on;
use super::cmd::{
    auth, auth_refresh, cat, comments, completions, cp, doctor, draft, du, find, get, info, info_set, link, ls, mkdir,
    mv, print_config, put, queue, quota, recent, release, rm, search, share, status, thumbnail, trash, tree, unmount,
    user, verify, versions, wait, why,
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
    /// Say who is signed in
    User,
    /// List what was used lately
    Recent,
    /// List what others share with this account
    Shared,
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
    /// Ask the index of the service, which knows contents too
    Search(search::Arguments),
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
    /// Copy, without bringing anything here
    Cp(cp::Arguments),
    /// Move or rename
    Mv(mv::Arguments),
    /// Delete, into the recycle bin
    Rm(rm::Arguments),
    /// Make an address that others can use
    Link(link::Arguments),
    /// Let people in
    Share(share::ShareArguments),
    /// Shut people out, or end a link
    Unshare(share::UnshareArguments),
    /// Say who may do what with an object
    Permissions(share::Arguments),
    /// List the versions of a file
    Versions(versions::Arguments),
    /// Bring a version of a file back
    Restore(versions::RestoreArguments),
    /// Fetch a small picture of a file
    Thumbnail(thumbnail::Arguments),
    /// List the recycle bin
    Trash,
    /// Bring an object back from the recycle bin
    Undelete(trash::Arguments),
    /// List the comments on an object
    Comments(comments::Arguments),
    /// Comment on an object
    #[command(name = "comment_add", visible_alias = "comment-add")]
    CommentAdd(comments::AddArguments),
    /// Delete a comment
    #[command(name = "comment_delete", visible_alias = "comment-delete")]
    CommentDelete(comments::DeleteArguments),
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

impl Cli {
    /// The name of the encoding that was asked for.
    pub(super) fn encoding(&self) -> &str {
        &self.global.encoding
    }
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
    let Cli { mut global, command } = cli;
    if let Command::Put(arguments) = &command {
        global.overrides = arguments.overrides();
    }
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
        Command::User => quick(&global, user::run),
        Command::Recent => quick(&global, recent::run),
        Command::Shared => quick(&global, recent::run_shared),
        Command::Search(arguments) => quick(&global, async |session| search::run(arguments, session).await),
        Command::Cp(arguments) => patient(&global, async |session| cp::run(arguments, session).await),
        Command::Link(arguments) => quick(&global, async |session| link::run(arguments, session).await),
        Command::Share(arguments) => quick(&global, async |session| share::run_share(arguments, session).await),
        Command::Unshare(arguments) => quick(&global, async |session| share::run_unshare(arguments, session).await),
        Command::Permissions(arguments) => quick(&global, async |session| share::run(arguments, session).await),
        Command::Versions(arguments) => quick(&global, async |session| versions::run(arguments, session).await),
        Command::Restore(arguments) => quick(&global, async |session| versions::run_restore(arguments, session).await),
        Command::Thumbnail(arguments) => quick(&global, async |session| thumbnail::run(arguments, session).await),
        Command::Trash => quick(&global, trash::run),
        Command::Undelete(arguments) => quick(&global, async |session| trash::run_undelete(arguments, session).await),
        Command::Comments(arguments) => quick(&global, async |session| comments::run(arguments, session).await),
        Command::CommentAdd(arguments) => quick(&global, async |session| comments::run_add(arguments, session).await),
        Command::CommentDelete(arguments) => {
            quick(&global, async |session| comments::run_delete(arguments, session).await)
        }
        Command::Unmount(arguments) => unmount::run(arguments, &global),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// What changes nothing, and what signs in, writes what a packager wants, or runs until it is ended.
    const WITHOUT: &[&str] = &[
        "auth",
        "auth_refresh",
        "cat",
        "comments",
        "completions",
        "doctor",
        "du",
        "emulator",
        "find",
        "info",
        "ls",
        "man",
        "permissions",
        "print-config",
        "queue",
        "quota",
        "recent",
        "search",
        "shared",
        "status",
        "trash",
        "tree",
        "user",
        "verify",
        "versions",
        "wait",
        "why",
    ];

    #[test]
    fn everything_that_changes_something_has_a_dry_run() {
        for command in Cli::command().get_subcommands() {
            let dry = command.get_arguments().any(|argument| argument.get_long() == Some("dry-run"));
            assert_eq!(dry, !WITHOUT.contains(&command.get_name()), "{}", command.get_name());
        }
    }
}
