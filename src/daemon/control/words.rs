//! The words of the protocol: one for each state, and what a person can do about it. Pure.

use crate::base::tasks::{Ended, Ending};
use crate::journal::ParkReason;
use crate::journal::report::{Pending, Standing, Work};
use crate::volume::inspect::{Connection, Located};

/// The word for what a change is.
pub(super) fn work(work: Work) -> &'static str {
    match work {
        Work::Upload => "upload",
        Work::Update => "update",
        Work::NewFolder => "new-folder",
        Work::Rename => "rename",
        Work::Move => "move",
        Work::Delete => "delete",
        Work::SetTime => "set-time",
        Work::Nothing => "nothing",
    }
}

/// The word for what is at a path, for somebody who waits until it is in the cloud.
///
/// | at the path | stays on this machine | a change of it, or below it, waits | word |
/// | --- | --- | --- | --- |
/// | something | yes | | local |
/// | something | no | | here |
/// | nothing | | yes | leaving |
/// | nothing | | no | nothing |
/// | nobody has looked yet | | | unlisted |
pub(super) fn sight(located: &Located, stays: bool, of_it: bool) -> &'static str {
    match located {
        Located::Here(_) if stays => "local",
        Located::Here(_) => "here",
        Located::Nothing if of_it => "leaving",
        Located::Nothing => "nothing",
        Located::Unlisted => "unlisted",
    }
}

/// The word for where a change stands.
pub(super) fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Open => "open",
        Standing::Waiting => "waiting",
        Standing::Sending => "sending",
        Standing::Parked(ParkReason::Burst) => "held",
        Standing::Parked(_) => "parked",
        Standing::Local => "local",
    }
}

/// The word for why a change waits for the user.
pub(super) fn reason(reason: ParkReason) -> &'static str {
    match reason {
        ParkReason::QuotaFull => "quota-full",
        ParkReason::NameRefused => "name-refused",
        ParkReason::Denied => "denied",
        ParkReason::TooLarge => "too-large",
        ParkReason::FolderGone => "folder-gone",
        ParkReason::BaseGone => "base-gone",
        ParkReason::Refused => "refused",
        ParkReason::Damaged => "damaged",
        ParkReason::Burst => "burst",
    }
}

/// What the user can do, if a change waits for that.
pub(super) fn advice(entry: &Pending) -> Option<&'static str> {
    let Standing::Parked(reason) = entry.standing else { return None };
    Some(match reason {
        ParkReason::QuotaFull => "free some space in OneDrive or get more, then: onedrive-cli retry",
        ParkReason::NameRefused => "give it another name, or move it to a shorter path",
        ParkReason::Denied if entry.work == Work::Delete => {
            "ask the owner of the drive for the right to delete it, then: onedrive-cli retry; or get it back: \
             onedrive-cli discard PATH"
        }
        ParkReason::Denied => {
            "move it to a folder that you may write to; or ask the owner for the right, then: onedrive-cli retry"
        }
        ParkReason::TooLarge => "split it, or keep it elsewhere; a copy: onedrive-cli export PATH FILE",
        ParkReason::FolderGone => "move it to another folder",
        ParkReason::BaseGone => {
            "get what was edited here with onedrive-cli export --partial PATH FILE, then take the file as it is in the \
             cloud: onedrive-cli discard PATH"
        }
        ParkReason::Refused => "read the error; when its cause is gone: onedrive-cli retry",
        ParkReason::Damaged => {
            "save the file again from a copy, or take it as it is in the cloud: onedrive-cli discard PATH"
        }
        ParkReason::Burst => {
            "if it was meant: onedrive-cli approve. If it was not: onedrive-cli discard --held brings everything back"
        }
    })
}

/// The word for the state of the connection.
pub(super) fn connection(connection: Connection) -> &'static str {
    match connection {
        Connection::Online => "online",
        Connection::Starting => "starting",
        Connection::Offline => "offline",
        Connection::Throttled => "throttled",
        Connection::SignedOut => "signed-out",
    }
}

/// What the user hears when the index has turned out not to be what was written.
pub(super) const DAMAGED_INDEX: &str =
    "the list of files is damaged; mount the drive again to build a new one from the cloud";

/// What the user hears of what was damaged in the journal when it was opened: not so much of it that nobody reads it.
pub(super) fn unreadable(found: &[String]) -> Vec<String> {
    const TOLD: usize = 3;
    let mut told: Vec<String> = found.iter().take(TOLD).cloned().collect();
    if found.len() > TOLD {
        told.push(format!("{} more like that about the journal; the log tells all", found.len() - TOLD));
    }
    told
}

/// What the user hears of a part of the daemon that has ended though nobody asked.
pub(super) fn ended(ended: &Ended) -> String {
    let why = match &ended.how {
        Ending::Panicked(why) => format!(" ({why})"),
        Ending::Stopped | Ending::Returned | Ending::Aborted => String::new(),
    };
    format!("the task “{}” has ended and should not have{why}; mount the drive again", ended.task)
}

/// Whether a path is another one or lies below it. Paths are parts separated by `/`; an empty one is the root.
pub(super) fn lies_at_or_below(path: &str, other: &str) -> bool {
    other.is_empty() || path == other || path.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_at_a_path_is_not_the_same_as_something_in_the_cloud() {
        assert_eq!([true, false].map(|waits| sight(&Located::Nothing, false, waits)), ["leaving", "nothing"]);
        assert_eq!(sight(&Located::Unlisted, false, false), "unlisted");
    }

    #[test]
    fn however_much_is_damaged_the_user_hears_a_little_and_that_there_is_more() {
        let found: Vec<String> = (0..9).map(|at| format!("lost: {at}")).collect();
        assert_eq!(unreadable(&[]), [""; 0]);
        assert_eq!(unreadable(&found[..3]), found[..3]);
        let told = unreadable(&found);
        assert!(told.len() == 4 && told[..3] == found[..3] && told[3].starts_with("6 more"), "{told:?}");
    }

    #[test]
    fn a_path_lies_below_whole_names_only() {
        assert!(lies_at_or_below("a/b", ""));
        assert!(lies_at_or_below("a/b", "a"));
        assert!(lies_at_or_below("a/b", "a/b"));
        assert!(!lies_at_or_below("ab", "a"));
        assert!(!lies_at_or_below("a", "a/b"));
    }
}
