//! Content that does not have the hash of its version: was it damaged on the way, or is the hash wrong?
//!
//! Both happen. Proxies and memory damage bytes; and the service names hashes that its own bytes do not have, of documents
//! that it edits itself (<https://github.com/OneDrive/onedrive-api-docs/issues/935>). Damage is another one each time;
//! the service's error is the same each time. So one wrong hash proves nothing, two that differ prove damage, and
//! the same one twice, from two downloads, is what the service has.
//!
//! Readers have had the bytes by then: they get them as they arrive, and only a whole file can be compared. Nothing is
//! handed out any more from the moment in which it is known to be wrong, and the kernel forgets what it was given.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::CacheKey;
use super::download::Shared;
use crate::base::clock::Mono;

/// How many wrong hashes, no two the same, are enough to stop trying.
const MOST: usize = 4;

/// For how long nothing is read then of what is not here. Whoever reads meanwhile is told, instead of getting wrong bytes once
/// more.
const REFUSAL: Duration = Duration::from_secs(60);

/// What was found out about one version.
#[derive(Default, Debug)]
pub(super) struct Doubt {
    found: Vec<String>,
    trusted: Option<String>,
    refused_until: Option<Mono>,
}

/// What to do with content that came whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// It is right, or all that there is.
    Keep,
    /// It is wrong; the next download may be right.
    FetchAgain,
    /// It is wrong, and so were all before.
    GiveUp,
}

/// Judges content of a version by its hash.
///
/// | its hash | wrong hashes before, each of another download | judgement |
/// | --- | --- | --- |
/// | the service's | (they are forgotten) | keep |
/// | another | the same among them | keep: the service's hash is wrong |
/// | another | fewer than three | fetch again |
/// | another | three or more | give up for now |
pub fn judge(expected: &str, found: &str, before: &mut Vec<String>) -> Judgement {
    if found == expected {
        before.clear();
        return Judgement::Keep;
    }
    if before.iter().any(|hash| hash == found) {
        return Judgement::Keep;
    }
    if before.len() >= MOST {
        before.remove(0);
    }
    before.push(found.to_owned());
    if before.len() < MOST { Judgement::FetchAgain } else { Judgement::GiveUp }
}

impl Shared {
    /// Compares what was found complete and was never compared: the daemon that fetched it ended before that.
    pub(super) fn compare_what_was_found(self: &Arc<Self>) {
        for (key, size) in self.cache.take_to_compare() {
            self.compare_soon(key, size);
        }
    }

    /// Compares complete content with its hash when it has its turn.
    pub(super) fn compare_soon(self: &Arc<Self>, key: CacheKey, size: u64) {
        self.running.fetch_add(1, Ordering::Relaxed);
        let shared = self.clone();
        tokio::spawn(async move {
            shared.check_hash(key, size).await;
            shared.running.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Compares a file that is complete with the hash in its tag, if there is one and that was not done before.
    async fn check_hash(&self, key: CacheKey, size: u64) {
        let Some(expected) = key.tag.hash().map(str::to_owned) else { return };
        // Held to the end: what two checks of one download found would count for two downloads.
        let Ok(_turn) = self.hashing.acquire().await else { return };
        let (cache, of) = (self.cache.clone(), key.clone());
        let hashing = move || if cache.is_compared(&of, size) { None } else { cache.whole_hash(&of, size) };
        let Ok(Some((found, seal))) = tokio::task::spawn_blocking(hashing).await else { return };
        let judgement = self.judge_content(&key, &expected, found);
        match judgement {
            Judgement::Keep => {
                let cache = self.cache.clone();
                // If it comes to nothing, the next start compares once more.
                let _ = tokio::task::spawn_blocking(move || cache.note_compared(&key, size, seal)).await;
                return;
            }
            Judgement::FetchAgain => {
                tracing::warn!(item = ?key.item, "content does not match its hash; fetching it again");
            }
            Judgement::GiveUp => {
                tracing::error!(item = ?key.item, "content arrives damaged, in another way each time; refusing to read it for a while");
            }
        }
        self.drop_wrong(&key);
    }

    /// Judges content by what is known of its version, and remembers what follows.
    fn judge_content(&self, key: &CacheKey, expected: &str, found: String) -> Judgement {
        let mut table = self.lock();
        if found == expected {
            table.doubts.pop(key);
            return Judgement::Keep;
        }
        let now = self.clock.monotonic();
        let doubt = table.doubts.get_or_insert_mut(key.clone(), Doubt::default);
        let judgement = judge(expected, &found, &mut doubt.found);
        doubt.trusted = (judgement == Judgement::Keep).then_some(found);
        doubt.refused_until = (judgement == Judgement::GiveUp).then(|| now.plus(REFUSAL));
        if judgement == Judgement::Keep {
            tracing::warn!(item = ?key.item, "content came twice with a hash that is not the service's; trusting the content");
        }
        judgement
    }

    /// Drops all that is kept here of content that is wrong.
    fn drop_wrong(&self, key: &CacheKey) {
        self.cache.discard(key);
        self.lock().forget(key);
        // After that: whoever drops what was made of it finds nothing wrong here any more.
        if let Some(tell) = self.disowned.get() {
            tell(key);
        }
    }

    /// See [`Fetcher::disown`](super::Fetcher::disown).
    pub(super) async fn disown(&self, key: &CacheKey) {
        // What has been handed out and is not in the cache yet would come back after the end of this. A slot closes with
        // its sender.
        let handed_out = self.lock().handed_out(key);
        for mut slot in handed_out {
            while slot.changed().await.is_ok() {}
        }
        self.drop_wrong(key);
    }

    /// Whether content with this hash is taken for right, although the service names another one: it came like that twice.
    pub(super) fn is_trusted(&self, key: &CacheKey, found: &str) -> bool {
        self.lock().doubts.peek(key).is_some_and(|doubt| doubt.trusted.as_deref() == Some(found))
    }

    /// Whether the content was given up a moment ago.
    pub(super) fn is_refused(&self, key: &CacheKey) -> bool {
        let until = self.lock().doubts.peek(key).and_then(|doubt| doubt.refused_until);
        until.is_some_and(|until| self.clock.monotonic() < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_judgements() {
        use Judgement::{FetchAgain, GiveUp, Keep};
        let play = |found: &[&str]| {
            let mut before = Vec::new();
            found.iter().map(|found| judge("right", found, &mut before)).collect::<Vec<_>>()
        };
        assert_eq!(play(&["right"]), [Keep]);
        assert_eq!(play(&["a", "a"]), [FetchAgain, Keep]);
        assert_eq!(play(&["a", "b", "a"]), [FetchAgain, FetchAgain, Keep]);
        assert_eq!(play(&["a", "right", "a"]), [FetchAgain, Keep, FetchAgain]);
        assert_eq!(play(&["a", "b", "c", "d", "e", "d"]), [FetchAgain, FetchAgain, FetchAgain, GiveUp, GiveUp, Keep]);
    }
}
