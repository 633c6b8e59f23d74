//! What a notification says: which file, that it is safe, what happens next, and one command. Pure.
//!
//! Names come from anybody who may write into the drive: what a terminal obeys instead of showing it is an escape here,
//! and nothing that looks like markup is obeyed by a desktop that knows some ([`as_markup`]). What the service said about
//! a change is not repeated; `onedrive-cli queue` has it.

use std::collections::BTreeMap;

use super::plan::Words;
use crate::base::name::tamed;
use crate::daemon::control::asks::{Asks, Stuck};
use crate::journal::ParkReason;
use crate::journal::report::Work;

/// What the user must act on. Of each at most one notification stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Nobody is signed in, or somebody else.
    SignIn,
    /// Changes are held because of a burst.
    Held,
    /// Changes cannot be sent.
    Parked,
    /// Content is kept that belongs to no file any more.
    Kept,
    /// The journal was found damaged at the start.
    Journal,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::SignIn, Self::Held, Self::Parked, Self::Kept, Self::Journal];
}

/// What is to be said about how things stand; nothing about what passes by itself.
pub fn words(asks: &Asks) -> BTreeMap<Kind, Words> {
    let said = [
        (Kind::SignIn, sign_in(asks)),
        (Kind::Held, held(asks)),
        (Kind::Parked, parked(asks)),
        (Kind::Kept, kept(asks)),
        (Kind::Journal, journal(asks)),
    ];
    said.into_iter().filter_map(|(kind, words)| Some((kind, words?))).collect()
}

fn sign_in(asks: &Asks) -> Option<Words> {
    let place = place(asks);
    match (&asks.another, asks.signed_out) {
        (Some(told), _) => Some(Words {
            title: "OneDrive: another account is signed in".to_owned(),
            body: format!(
                "{place}: {}. Changes are safe on this machine and wait. Sign in to the first account: onedrive-cli auth",
                tamed(told)
            ),
        }),
        (None, true) => Some(Words {
            title: "OneDrive: you are signed out".to_owned(),
            body: format!("{place}: changes are safe on this machine and wait. Sign in again: onedrive-cli auth"),
        }),
        (None, false) => None,
    }
}

fn held(asks: &Asks) -> Option<Words> {
    if asks.held == 0 {
        return None;
    }
    let (many, are) = match asks.held {
        1 => ("1 deletion or overwrite".to_owned(), "is"),
        many => (format!("{many} deletions and overwrites"), "are"),
    };
    let culprit = asks.culprit.as_deref().map_or("one program".to_owned(), tamed);
    Some(Words {
        title: "OneDrive: were so many deletions meant?".to_owned(),
        body: format!(
            "{}: {many} by {culprit} {are} held; the cloud still has everything. Which: onedrive-cli queue. It was meant: \
             onedrive-cli approve. It was not: onedrive-cli discard --held",
            place(asks)
        ),
    })
}

fn parked(asks: &Asks) -> Option<Words> {
    let stuck = asks.parked.as_ref()?;
    let title = match stuck.others {
        0 => "OneDrive: a change needs you".to_owned(),
        others => format!("OneDrive: {} changes need you", others + 1),
    };
    let and_more = match stuck.others {
        0 => String::new(),
        1 => " 1 more change waits for you.".to_owned(),
        others => format!(" {others} more changes wait for you."),
    };
    let path = tamed(&asks.mountpoint.join(&stuck.path).to_string_lossy());
    let body = format!(
        "{path} cannot be {} the cloud: {}.{and_more} {} What to do: onedrive-cli queue",
        done(stuck.work),
        cause(stuck.reason),
        safe(stuck)
    );
    Some(Words { title, body })
}

/// What cannot be done about the first.
fn done(work: Work) -> &'static str {
    match work {
        Work::Upload | Work::Update | Work::NewFolder | Work::Nothing => "sent to",
        Work::Rename => "renamed in",
        Work::Move => "moved in",
        Work::Delete => "deleted in",
        Work::SetTime => "given its time in",
    }
}

fn cause(reason: ParkReason) -> &'static str {
    match reason {
        ParkReason::QuotaFull => "the drive is full",
        ParkReason::NameRefused => "OneDrive refuses the name or the path",
        ParkReason::Denied => "you may not do that there",
        ParkReason::TooLarge => "it is too large",
        ParkReason::FolderGone => "its folder is gone",
        ParkReason::BaseGone => "the version that was edited is gone from the cloud",
        ParkReason::Refused => "OneDrive refuses it",
        ParkReason::Damaged => "it was damaged on this machine's disk",
        ParkReason::Burst => "nobody has said yet whether it was meant",
    }
}

/// Whether it is safe. Of what was damaged nobody can say that.
fn safe(stuck: &Stuck) -> &'static str {
    match (stuck.reason, stuck.others) {
        (ParkReason::Damaged, _) => "What is left of it stays on this machine, and the cloud keeps what it has.",
        (_, 0) => "It is safe on this machine.",
        (_, _) => "All of it is safe on this machine.",
    }
}

fn kept(asks: &Asks) -> Option<Words> {
    let first = asks.kept.first()?;
    let and_more = match asks.kept.len() - 1 {
        0 => String::new(),
        others => format!(" (and of {others} more)"),
    };
    Some(Words {
        title: "OneDrive: content is kept for you".to_owned(),
        body: format!(
            "{}: content of {}{and_more} belongs to no file any more: {}. It is safe on this machine, and is neither sent \
             nor deleted. What to do: onedrive-cli status, then export or discard its draft",
            place(asks),
            tamed(&first.name),
            tamed(&first.why)
        ),
    })
}

fn journal(asks: &Asks) -> Option<Words> {
    let first = asks.damage.first()?;
    Some(Words {
        title: "OneDrive: the list of your changes was damaged".to_owned(),
        body: format!("{}: {}. How things stand: onedrive-cli status", place(asks), tamed(first)),
    })
}

fn place(asks: &Asks) -> String {
    tamed(&asks.mountpoint.to_string_lossy())
}

/// The text for a desktop that takes bodies for markup.
pub fn as_markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::control::protocol;

    fn asks() -> Asks {
        Asks { mountpoint: "/home/ada/OneDrive".into(), ..Asks::default() }
    }

    fn said(asks: &Asks) -> Vec<(Kind, String)> {
        words(asks).into_iter().map(|(kind, words)| (kind, words.body)).collect()
    }

    fn stuck(path: &str, reason: ParkReason, others: usize) -> Option<Stuck> {
        Some(Stuck { path: path.into(), work: Work::Upload, reason, others })
    }

    #[test]
    fn nothing_is_said_when_nobody_must_act() {
        assert!(words(&asks()).is_empty());
    }

    #[test]
    fn a_parked_change_names_the_file_the_cause_and_one_command() {
        let one = Asks { parked: stuck("Docs/film.mkv", ParkReason::QuotaFull, 0), ..asks() };
        assert_eq!(
            said(&one),
            [(
                Kind::Parked,
                "/home/ada/OneDrive/Docs/film.mkv cannot be sent to the cloud: the drive is full. It is safe on this \
                 machine. What to do: onedrive-cli queue"
                    .to_owned()
            )]
        );
        let many = Asks { parked: stuck("a", ParkReason::Denied, 2), ..asks() };
        assert_eq!(words(&many)[&Kind::Parked].title, "OneDrive: 3 changes need you");
        assert!(said(&many)[0].1.contains("2 more changes wait for you. All of it is safe"), "{many:?}");
        let damaged = Asks { parked: stuck("a", ParkReason::Damaged, 0), ..asks() };
        assert!(!said(&damaged)[0].1.contains("safe"), "nobody knows that");
    }

    #[test]
    fn what_steers_terminals_and_desktops_is_shown_instead() {
        let evil = Asks { parked: stuck("<b>\u{1b}[2J\nx & y", ParkReason::Refused, 0), ..asks() };
        let body = &words(&evil)[&Kind::Parked].body;
        assert!(body.contains(r"<b>\u{1b}[2J\nx & y"), "{body}");
        assert!(as_markup(body).contains(r"&lt;b&gt;\u{1b}[2J\nx &amp; y"));
    }

    #[test]
    fn what_is_held_names_the_program() {
        let held = Asks { held: 2001, culprit: Some("rm (process 7)".into()), ..asks() };
        assert_eq!(
            said(&held),
            [(
                Kind::Held,
                "/home/ada/OneDrive: 2001 deletions and overwrites by rm (process 7) are held; the cloud still has \
                 everything. Which: onedrive-cli queue. It was meant: onedrive-cli approve. It was not: onedrive-cli \
                 discard --held"
                    .to_owned()
            )]
        );
    }

    #[test]
    fn who_must_sign_in_is_told_where_and_why() {
        let out = Asks { signed_out: true, ..asks() };
        assert_eq!(
            said(&out)[0].1,
            "/home/ada/OneDrive: changes are safe on this machine and wait. Sign in again: onedrive-cli auth"
        );
        let another = Asks { another: Some("it is the drive of Eve".into()), ..out };
        assert!(said(&another)[0].1.contains("it is the drive of Eve"), "{another:?}");
        assert_eq!(words(&another).len(), 1, "it is one state");
    }

    #[test]
    fn what_is_kept_and_what_was_damaged_is_told() {
        let row = |name: &str| protocol::Kept {
            draft: 1,
            name: name.into(),
            why: "it was never closed".into(),
            size: 5,
            since: 0,
        };
        let both = Asks { kept: vec![row("d"), row("e")], damage: vec!["the journal was damaged".into()], ..asks() };
        let said = said(&both);
        assert!(said[0].1.contains("content of d (and of 1 more) belongs to no file any more: it was never closed"));
        assert!(said[1].1.contains("the journal was damaged"));
    }
}
