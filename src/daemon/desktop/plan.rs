//! What to do about one kind of notification: the state, what stands on the desktop, and the time decide. Pure.
//!
//! | the user must act | on the desktop | for how long, since when | then |
//! | --- | --- | --- | --- |
//! | no | nothing | | nothing |
//! | no | something | less than [`SETTLE`] | wait: it may come back at once |
//! | no | something | longer | close it |
//! | yes | these very words | | nothing |
//! | yes | nothing | less than [`SETTLE`] | wait: it may pass, or there may be more of it |
//! | yes | nothing, or other words | the last attempt is less than [`PAUSE`] ago | wait |
//! | yes | nothing | longer | show |
//! | yes | other words | longer | replace them |
//!
//! Always true: of each kind at most one notification stands, and between two attempts to show one lies [`PAUSE`],
//! whether they succeeded or not, and also if the state has ended in between.

use std::time::Duration;

use crate::base::clock::Mono;

/// How long a state must last before anybody is bothered, and be over before nobody is any more.
pub const SETTLE: Duration = Duration::from_secs(2);

/// The least time between two attempts to show something of one kind.
pub const PAUSE: Duration = Duration::from_secs(30);

/// What a notification says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Words {
    /// One line.
    pub title: String,
    /// The rest, as plain text.
    pub body: String,
}

/// What was done about one kind so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// Whether the user had to act at the last look, and since when that is so.
    state: (bool, Mono),
    /// The last attempt to show something.
    tried: Option<Mono>,
    /// What stands on the desktop: the number that the desktop gave it, and its words.
    stands: Option<(u32, Words)>,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing, until the state is another.
    Rest,
    /// Nothing before this moment.
    Wait(Mono),
    /// Show the words, in place of the notification of this number; 0 is none.
    Show(u32),
    /// Close the notification of this number.
    Close(u32),
}

impl History {
    /// The step for the state that was found now: the words, if the user must act.
    pub fn step(&mut self, words: Option<&Words>, now: Mono) -> Step {
        if self.state.0 != words.is_some() {
            self.state = (words.is_some(), now);
        }
        let settled = self.state.1.plus(SETTLE);
        let rested = self.tried.map(|tried| tried.plus(PAUSE));
        let (due, step) = match (words, &self.stands) {
            (None, None) => return Step::Rest,
            (Some(words), Some((_, said))) if words == said => return Step::Rest,
            (None, Some((number, _))) => (settled, Step::Close(*number)),
            (Some(_), None) => (rested.map_or(settled, |rested| rested.max(settled)), Step::Show(0)),
            (Some(_), Some((number, _))) => (rested.unwrap_or(now), Step::Show(*number)),
        };
        if now >= due { step } else { Step::Wait(due) }
    }

    /// Words were shown under this number.
    pub fn is_shown(&mut self, number: u32, words: Words, now: Mono) {
        self.tried = Some(now);
        self.stands = Some((number, words));
    }

    /// Nothing could be shown; what stands, stands.
    pub fn has_failed(&mut self, now: Mono) {
        self.tried = Some(now);
    }

    /// What stood is closed, or nobody can be asked to close it.
    pub fn is_closed(&mut self) {
        self.stands = None;
    }

    /// The number of what stands.
    pub fn number(&self) -> Option<u32> {
        self.stands.as_ref().map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(body: &str) -> Words {
        Words { title: "t".into(), body: body.into() }
    }

    fn at(seconds: u64) -> Mono {
        Mono::default().plus(Duration::from_secs(seconds))
    }

    /// Looks, does what is to be done as a desktop would that numbers from 7, and tells what it was.
    fn look(history: &mut History, said: Option<&str>, seconds: u64) -> Step {
        let said = said.map(words);
        let step = history.step(said.as_ref(), at(seconds));
        match step {
            Step::Show(replaced) => {
                history.is_shown(replaced.max(7), said.expect("only words are shown"), at(seconds));
            }
            Step::Close(_) => history.is_closed(),
            Step::Rest | Step::Wait(_) => {}
        }
        step
    }

    #[test]
    fn every_row_of_the_table() {
        let mut history = History::default();
        assert_eq!(look(&mut history, None, 100), Step::Rest);
        assert_eq!(look(&mut history, Some("a"), 100), Step::Wait(at(102)));
        assert_eq!(look(&mut history, Some("a, b"), 101), Step::Wait(at(102)), "there is more of it");
        assert_eq!(look(&mut history, Some("a, b"), 102), Step::Show(0));
        assert_eq!(look(&mut history, Some("a, b"), 500), Step::Rest);
        assert_eq!(look(&mut history, Some("a, c"), 501), Step::Show(7));
        assert_eq!(look(&mut history, Some("c"), 502), Step::Wait(at(531)));
        assert_eq!(look(&mut history, Some("d"), 531), Step::Show(7));
        assert_eq!(look(&mut history, None, 532), Step::Wait(at(534)));
        assert_eq!(look(&mut history, None, 534), Step::Close(7));
        assert_eq!(look(&mut history, None, 535), Step::Rest);
    }

    #[test]
    fn what_passes_and_what_comes_back_bothers_nobody() {
        let mut history = History::default();
        look(&mut history, Some("a"), 0);
        assert_eq!(look(&mut history, None, 1), Step::Rest, "it has passed");
        assert_eq!(look(&mut history, Some("a"), 2), Step::Wait(at(4)));
        assert_eq!(look(&mut history, Some("a"), 4), Step::Show(0));
        assert_eq!(look(&mut history, None, 10), Step::Wait(at(12)));
        assert_eq!(look(&mut history, Some("a"), 11), Step::Rest, "it stands as it stood");
    }

    #[test]
    fn a_state_that_comes_and_goes_is_told_once_in_a_while() {
        let mut history = History::default();
        look(&mut history, Some("a"), 0);
        assert_eq!(look(&mut history, Some("a"), 2), Step::Show(0));
        look(&mut history, None, 3);
        assert_eq!(look(&mut history, None, 5), Step::Close(7));
        assert_eq!(look(&mut history, Some("a"), 6), Step::Wait(at(32)));
        assert_eq!(look(&mut history, Some("a"), 32), Step::Show(0));
    }

    #[test]
    fn a_desktop_that_is_not_there_is_asked_once_in_a_while() {
        let mut history = History::default();
        history.step(Some(&words("a")), at(0));
        assert_eq!(history.step(Some(&words("a")), at(2)), Step::Show(0));
        history.has_failed(at(2));
        assert_eq!(history.step(Some(&words("b")), at(3)), Step::Wait(at(32)));
        assert_eq!(history.step(Some(&words("b")), at(32)), Step::Show(0));
        history.has_failed(at(32));
        assert_eq!(history.step(None, at(33)), Step::Rest, "nothing stands that could be closed");
    }
}
