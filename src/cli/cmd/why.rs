//! `onedrive-cli why`: how a file or folder stands, in words.

use std::path::PathBuf;

use clap::Args;

use super::queue::entry;
use crate::base::clock::{Clock as _, SystemClock};
use crate::cli::daemons;
use crate::cli::error::CliError;
use crate::cli::print::{json_text, print};
use crate::cli::words::{changes, share};
use crate::config::size::display_size;
use crate::daemon::control::protocol::Why;
use crate::daemon::control::{Answer, Request};

/// Arguments of `why`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The file or folder; also one that was deleted
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

/// Prints how a path stands.
///
/// # Errors
/// The path lies in no mount.
pub fn run(arguments: &Arguments, json: bool) -> Result<(), CliError> {
    let target = daemons::the_one(Some(&arguments.path))?;
    let request = Request::Why { path: target.path.unwrap_or_default() };
    match target.daemon.ask(&request)? {
        Answer::Why(why) if json => print(&json_text(&*why)),
        Answer::Why(why) => print(&text(&why, SystemClock::new().now().seconds())),
        other => Err(target.daemon.confused(&other)),
    }
}

/// The sentence for a state.
fn sentence(why: &Why) -> String {
    let folder = why.kind == "folder";
    match (why.state.as_str(), why.kind.as_str()) {
        ("cached", "folder") => "a folder, in the cloud as it is here".to_owned(),
        ("cached", _) => format!("in the cloud, and all of it on this machine ({})", display_size(why.size)),
        ("partly-cached", _) => {
            format!(
                "in the cloud; {} are on this machine, the rest is fetched when it is read",
                share(why.cached, why.size)
            )
        }
        ("online", _) => format!("in the cloud only ({}); it is fetched when it is read", display_size(why.size)),
        ("pending", _) if folder => "a folder whose last change is on its way to the cloud".to_owned(),
        ("pending", _) => "safe on this machine, and on its way to the cloud".to_owned(),
        ("parked", _) => "safe on this machine; it cannot be sent as it is".to_owned(),
        ("held", _) => "held: it belongs to very many deletions or overwrites by one program".to_owned(),
        ("local", _) => {
            "on this machine only, for good: lock and scratch files of this name mean nothing elsewhere; under another \
             name it is sent"
                .to_owned()
        }
        ("deleted", _) => "deleted here; the deletion is on its way to the cloud".to_owned(),
        (_, "unlisted") => "not known yet: its folder has not been listed since the mount began".to_owned(),
        _ => "there is nothing of this name".to_owned(),
    }
}

/// What is known, a line each. `now` is in seconds since 1970.
fn text(why: &Why, now: i64) -> String {
    let path = if why.path.is_empty() { "the whole drive" } else { &why.path };
    let mut text = format!("{path}: {}\n", sentence(why));
    if let Some(change) = &why.change
        && change.state != "local"
    {
        text.push_str(&entry(change, now));
    }
    let mut line = |label: &str, what: &str| text.push_str(&format!("  {label:<11} {what}\n"));
    if why.below > 0 {
        line("below it", &format!("{} not in the cloud (onedrive-cli queue PATH)", changes(why.below)));
    }
    match why.restriction.as_deref() {
        Some("shared") => line("read-only", "it belongs to another drive"),
        Some(_) => line("closed", "OneDrive lets no program into it; the web page shows it"),
        None => {}
    }
    if let Some(name) = &why.name_in_cloud {
        line("named there", &format!("{name} (OneDrive cannot store the name as it is here)"));
    }
    if let Some(id) = &why.id {
        line("id", id);
    }
    if let Some(version) = &why.version {
        line("version", version);
    }
    if let Some(base) = why.base_version.as_ref().filter(|base| Some(*base) != why.version.as_ref()) {
        line("based on", base);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::control::protocol::Queued;

    #[test]
    fn every_state_has_its_sentence() {
        let why = |kind: &str, state: &str| Why {
            path: "a".into(),
            kind: kind.into(),
            state: state.into(),
            size: 4096,
            cached: 1024,
            ..Why::default()
        };
        let mut said = std::collections::HashSet::new();
        for (kind, state) in [
            ("file", "cached"),
            ("folder", "cached"),
            ("file", "partly-cached"),
            ("file", "online"),
            ("file", "pending"),
            ("folder", "pending"),
            ("file", "parked"),
            ("file", "held"),
            ("file", "local"),
            ("nothing", "deleted"),
            ("nothing", "unknown"),
            ("unlisted", "unknown"),
        ] {
            assert!(said.insert(sentence(&why(kind, state))), "{kind} {state} has no sentence of its own");
        }
        assert!(sentence(&why("file", "partly-cached")).contains("1 KiB of 4 KiB (25 %)"));
    }

    #[test]
    fn what_is_known_is_told_a_line_each() {
        let change = Queued {
            path: "a".into(),
            what: "update".into(),
            state: "parked".into(),
            error: Some("full".into()),
            request_id: Some("7".into()),
            advice: Some("free some".into()),
            ..Queued::default()
        };
        let why = Why {
            path: "a".into(),
            kind: "file".into(),
            state: "parked".into(),
            change: Some(change),
            name_in_cloud: Some("b".into()),
            id: Some("ID".into()),
            base_version: Some("q:x:1".into()),
            ..Why::default()
        };
        assert_eq!(
            text(&why, 10).lines().collect::<Vec<_>>(),
            [
                "a: safe on this machine; it cannot be sent as it is",
                "  parked   update     a (0 bytes, changed 10 s ago)",
                "           full (request 7)",
                "           what to do: free some",
                "  named there b (OneDrive cannot store the name as it is here)",
                "  id          ID",
                "  based on    q:x:1",
            ]
        );
    }
}
