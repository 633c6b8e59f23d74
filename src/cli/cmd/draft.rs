//! `onedrive-cli export` and `onedrive-cli discard`: drafts, which is content that the cloud does not have.
//!
//! Exporting copies and changes nothing. Discarding is the one command that can lose work, so it says what it is about
//! to do and asks.

use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::context::absolute;
use crate::cli::daemons::{self, Target};
use crate::cli::error::{CliError, Kind};
use crate::cli::options::Dry;
use crate::cli::print::{json_text, print, tamed, would};
use crate::cli::words::changes;
use crate::config::size::display_size;
use crate::daemon::control::protocol::{Choice, Done, DraftPlace};
use crate::daemon::control::{Answer, Request};

/// Arguments of `export`.
#[derive(Args, Debug)]
pub struct ExportArguments {
    /// The number of a draft, as `status` and `queue` show it, or a file in a mount with changes that are not in the
    /// cloud (write ./12 for a file of that name)
    #[arg(value_name = "DRAFT")]
    draft: PathBuf,

    /// Where to copy it; it must not exist
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Also if parts of it are not on this machine; they become zeros
    #[arg(long)]
    partial: bool,

    /// The mount, if there are several and the draft is a number
    #[arg(long, value_name = "MOUNTPOINT")]
    at: Option<PathBuf>,

    #[command(flatten)]
    dry: Dry,
}

/// Arguments of `discard`.
#[derive(Args, Debug)]
pub struct DiscardArguments {
    /// The number of a draft, as `status` and `queue` show it, or a path in a mount whose change is to be taken back: a
    /// deleted file comes back, an edited one is again what it is in the cloud, a new one goes
    #[arg(value_name = "DRAFT", required_unless_present = "held")]
    draft: Option<PathBuf>,

    /// All deletions and overwrites that are held, at the path or below it
    #[arg(long)]
    held: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    /// The mount, if there are several and the draft is a number
    #[arg(long, value_name = "MOUNTPOINT")]
    at: Option<PathBuf>,

    #[command(flatten)]
    dry: Dry,
}

/// Copies a draft out.
///
/// # Errors
/// There is no such draft, not all of it is on this machine, or the file cannot be made.
pub fn run_export(arguments: &ExportArguments, json: bool) -> Result<(), CliError> {
    let (target, what) = choice(&arguments.draft, arguments.at.as_deref())?;
    let place = match target.daemon.ask(&Request::Draft { what })? {
        Answer::Draft(place) => place,
        other => return Err(target.daemon.confused(&other)),
    };
    if place.missing > 0 && !arguments.partial {
        let missing = display_size(place.missing);
        let sentence = format!("{missing} of {} are not on this machine, so a copy would be incomplete", place.name);
        return Err(CliError::new(Kind::Other, sentence)
            .hint("with the network, copy the file out of the mount")
            .hint("to copy what is here, with zeros in place of the rest: --partial"));
    }
    let to = absolute(&arguments.file)?;
    if arguments.dry.dry_run {
        return would(json, &format!("copy {} of {} to {}", display_size(place.size), place.name, to.display()));
    }
    copy(&place, &to)?;
    if json {
        return print(&json_text(&DraftPlace { file: to, ..place }));
    }
    println!("{} copied to {}", display_size(place.size), tamed(&arguments.file.display().to_string()));
    Ok(())
}

/// The bytes are on the disk on return.
fn copy(place: &DraftPlace, to: &Path) -> Result<(), CliError> {
    let unreadable = |error: io::Error| {
        let sentence = match error.kind() {
            io::ErrorKind::NotFound => {
                format!("{} has reached the cloud meanwhile; copy it out of the mount", place.name)
            }
            _ => format!("{} cannot be read: {error}", place.file.display()),
        };
        CliError::new(Kind::Other, sentence)
    };
    let unwritable = |error: io::Error| {
        let kind = if error.kind() == io::ErrorKind::AlreadyExists { Kind::Usage } else { Kind::Disk };
        CliError::new(kind, format!("{} cannot be made: {error}", to.display()))
    };
    let from = File::open(&place.file).map_err(unreadable)?;
    let mut out = File::create_new(to).map_err(unwritable)?;
    let copied = io::copy(&mut io::Read::take(from, place.size), &mut out)
        // What was reserved but never written reads as zeros.
        .and_then(|_| out.set_len(place.size))
        .and_then(|()| out.sync_all());
    copied.map_err(|error| {
        let _ = std::fs::remove_file(to);
        unwritable(error)
    })
}

/// Takes changes back.
///
/// # Errors
/// There is nothing to take back, the answer was no, nobody can be asked, or some of it could not be taken back.
pub fn run_discard(arguments: &DiscardArguments, json: bool) -> Result<(), CliError> {
    let (target, what) = match (&arguments.draft, arguments.held) {
        (path, true) => {
            let target = daemons::the_one(path.as_deref().or(arguments.at.as_deref()))?;
            let path = target.path.clone().unwrap_or_default();
            (target, Choice::Held(path))
        }
        (Some(draft), false) => choice(draft, arguments.at.as_deref())?,
        (None, false) => return Err(CliError::new(Kind::Usage, "say which draft, or --held")),
    };
    let ask = |ask_only| match target.daemon.ask(&Request::Discard { what: what.clone(), ask_only })? {
        Answer::Done(done) => Ok(done),
        other => Err(target.daemon.confused(&other)),
    };
    if arguments.dry.dry_run {
        let done = ask(true)?;
        let first = done.first.as_deref().unwrap_or_default();
        return would(json, &format!("take {} back ({first})", changes(done.changes)));
    }
    if !arguments.yes {
        confirm(&question(&what, &ask(true)?))?;
    }
    let done = ask(false)?;
    if json {
        print(&json_text(&done))?;
    } else if done.changes > 0 {
        println!("{} taken back", changes(done.changes));
        if done.unanswered > 0 {
            println!(
                "{} had been sent before without an answer: if it has arrived, the mount shows it at the next look at the \
                 cloud",
                changes(done.unanswered)
            );
        }
    }
    match done.refused.first() {
        None => Ok(()),
        Some(first) => {
            let path = first.path.as_deref().unwrap_or_default();
            let sentence = format!("{} not taken back; {path}: {}", changes(done.refused.len()), first.error);
            Err(CliError::new(Kind::Busy, sentence))
        }
    }
}

fn question(what: &Choice, done: &Done) -> String {
    let first = done.first.as_deref().unwrap_or_default();
    match what {
        Choice::Draft(_) => format!("The content of this draft ({first}) is not in the cloud and will be gone."),
        Choice::Path(_) => format!(
            "The change of {first} that is not in the cloud will be taken back: it becomes what it is in the cloud, and a \
             new file goes."
        ),
        Choice::Held(_) => format!(
            "{} that are held ({first} and so on) will be taken back: deleted files come back, overwritten ones become \
             what they are in the cloud.",
            changes(done.changes)
        ),
    }
}

/// Asks a person.
fn confirm(question: &str) -> Result<(), CliError> {
    if !io::stdin().is_terminal() {
        return Err(CliError::new(Kind::Usage, question.to_owned()).hint("nobody can be asked here; to do it: --yes"));
    }
    print!("{}\nDo it? [y/N] ", tamed(question));
    let _ = io::stdout().flush();
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    let yes = matches!(line.trim().to_lowercase().as_str(), "y" | "yes");
    if read.is_ok() && yes { Ok(()) } else { Err(CliError::new(Kind::Other, "nothing was done")) }
}

/// What is meant by a number or a path.
fn choice(draft: &Path, at: Option<&Path>) -> Result<(Target, Choice), CliError> {
    match number(draft) {
        Some(number) => Ok((daemons::the_one(at)?, Choice::Draft(number))),
        None => {
            let target = daemons::the_one(Some(draft))?;
            let path = target.path.clone().ok_or_else(|| {
                CliError::new(Kind::Usage, format!("{} is the mount itself", draft.display()))
                    .hint("say which file, or the number of a draft")
            })?;
            Ok((target, Choice::Path(path)))
        }
    }
}

fn number(draft: &Path) -> Option<u64> {
    let text = draft.to_str()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_is_a_draft_and_anything_else_a_path() {
        assert_eq!(number(Path::new("12")), Some(12));
        for path in ["./12", "12.txt", "", "-1", "+1", "99999999999999999999999"] {
            assert_eq!(number(Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn a_copy_is_whole_and_replaces_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("spool");
        std::fs::write(&file, b"0123456789").expect("written");
        let to = folder.path().join("copy");
        let place = DraftPlace { draft: 1, name: "a".into(), file: file.clone(), size: 12, missing: 0 };
        copy(&place, &to).expect("copies");
        assert_eq!(std::fs::read(&to).expect("readable"), b"0123456789\0\0");
        assert_eq!(copy(&place, &to).expect_err("exists").kind, Kind::Usage);
        std::fs::remove_file(file).expect("removes");
        let gone = copy(&place, &folder.path().join("other")).expect_err("gone").to_string();
        assert!(gone.contains("has reached the cloud"), "{gone}");
        assert!(!folder.path().join("other").exists());
    }
}
