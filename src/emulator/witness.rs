//! Something that watches every exchange and may act, or end the conversation, at any of them.
//!
//! Faults strike requests that match a pattern. The tests of crashes and of second writers need more: to stop the
//! world at exactly the n-th exchange, and to let another device act between two steps of one of the client's
//! operations. A witness is called twice for each request that arrives whole: before the service acts, and when it
//! has acted and the answer is ready.

use std::sync::{Arc, PoisonError, RwLock};

use super::faults::{Host, When};

/// A moment of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// Where the request came in.
    pub host: Host,
    /// [`When::Before`] the service acts, or [`When::After`].
    pub when: When,
    /// The method.
    pub method: &'a str,
    /// The path with its query.
    pub target: &'a str,
}

/// What becomes of the exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// It goes on.
    Go,
    /// Nothing more happens in it: no effect if it was [`When::Before`], no answer in any case. The connection stays
    /// open, as with a peer that has vanished.
    Vanish,
}

/// Who watches.
pub type Onlooker = Arc<dyn Fn(Moment<'_>) -> Course + Send + Sync>;

/// The place where a witness stands; empty at first.
#[derive(Clone, Default)]
pub(crate) struct Witness(Arc<RwLock<Option<Onlooker>>>);

impl Witness {
    pub(crate) fn set(&self, callback: Option<Onlooker>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = callback;
    }

    pub(crate) fn see(&self, moment: Moment<'_>) -> Course {
        let callback = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        callback.map_or(Course::Go, |callback| callback(moment))
    }
}
