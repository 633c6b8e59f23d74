//! Preconditions that this side has to check, because a service checks them late, weakly or not at all.

use std::time::Duration;

use super::{Advice, Item, Precondition, RemoteError, RemoteErrorKind, RemoteResult};
use crate::base::clock::Clock;
use crate::base::ids::MetaTag;

/// The pause before it is believed that what is to be deleted is gone: valid ids are unknown for a moment now and then.
pub(super) const SECOND_LOOK: Duration = Duration::from_millis(500);

/// Compares a precondition with what is there now.
pub(super) fn check(pre: &Precondition, now: &MetaTag) -> RemoteResult<()> {
    match pre {
        Precondition::Unchanged(tag) if !tag.0.is_empty() && tag != now => Err(RemoteError::new(
            RemoteErrorKind::Changed,
            Advice::GiveUp,
            "the item has changed since it was last looked at",
        )),
        _ => Ok(()),
    }
}

/// Whether an item is still there, in the state of the precondition; another state is an error. What is not found is
/// looked for twice: whoever asks believes that nothing is left to delete.
pub(super) async fn still<F: Future<Output = RemoteResult<Item>>>(
    clock: &dyn Clock,
    pre: &Precondition,
    look: impl Fn() -> F,
) -> RemoteResult<bool> {
    for last in [false, true] {
        match look().await {
            Ok(now) => return check(pre, &now.meta_tag).map(|()| true),
            Err(failure) if failure.kind == RemoteErrorKind::NotFound && !last => clock.sleep(SECOND_LOOK).await,
            Err(failure) if failure.kind == RemoteErrorKind::NotFound => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(false)
}
