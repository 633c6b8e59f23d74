//! What is in the cloud now, asked by the uploader: never what was there before our own changes, which replicas that lag
//! go on showing for a while.

use std::time::Duration;

use super::{Setback, Uploader};
use crate::base::ids::ItemId;
use crate::journal::Intent;
use crate::journal::conflict;
use crate::journal::landing::Landed;
use crate::remote::{Advice, At, Item, RemoteError, RemoteErrorKind};

/// For how long something that was sent is looked for before it is taken for lost.
const UNSEEN: Duration = Duration::from_secs(5);

impl Uploader {
    /// Tells of what landed.
    pub(super) fn publish(&self, landed: Landed) {
        if !landed.notices.is_empty() {
            self.sink.absorb(landed.notices);
        }
    }

    /// What is in the cloud at this place or under this identity; `None` if nothing is. A look that shows what was there
    /// before our own changes is a failure that passes.
    ///
    /// A service that is ill finds no name at all. That a name is free is believed if its folder is found after that, and
    /// the name is still free then; and if the folder is gone for certain.
    pub(super) async fn look(&self, at: At<'_>) -> Result<Option<Item>, Setback> {
        let mut found = self.find(at).await?;
        if found.is_none()
            && let At::Child(folder, _) = at
            && self.find(At::Id(folder)).await?.is_some()
        {
            found = self.find(at).await?;
        }
        self.unless_old(at, found)
    }

    /// What the item of an intent is now; as [`Uploader::look`]. If a deletion of ours went unanswered, that it is not
    /// found is the answer, once it was asked for so long that no replica lags so much.
    pub(super) async fn look_own(&self, intent: &Intent, item: &ItemId) -> Result<Option<Item>, Setback> {
        let found = self.find(At::Id(item)).await?;
        if found.is_none() && intent.sent.as_ref().is_some_and(|sent| sent.deletion) {
            if self.is_long_unseen(intent) {
                return Ok(None);
            }
            self.journal.note_unseen(intent.ino)?;
        }
        self.unless_old(At::Id(item), found)
    }

    /// Whether what an intent has sent was looked for in vain for so long that it is not there.
    pub(super) fn is_long_unseen(&self, intent: &Intent) -> bool {
        let since = intent.sent.as_ref().and_then(|sent| sent.unseen);
        // A calendar that was set back proves nothing, and must not be waited for.
        since.is_some_and(|since| self.clock.now().0.abs_diff(since.0) >= UNSEEN.as_nanos() as u64)
    }

    pub(super) async fn find(&self, at: At<'_>) -> Result<Option<Item>, Setback> {
        match self.remote.stat(at).await {
            Ok(item) => Ok(Some(item)),
            Err(error) if error.kind == RemoteErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn unless_old(&self, at: At<'_>, found: Option<Item>) -> Result<Option<Item>, Setback> {
        let now = self.clock.now();
        let facts = match (&found, at) {
            (Some(item), _) => match self.index.is_deleted_here(&item.id, now) {
                Ok(false) => self.index.is_overtaken(&item.id, &item.meta_tag, now),
                other => other,
            },
            (None, At::Id(id)) => self.index.is_newborn(id, now),
            (None, At::Child(..)) => Ok(false),
        };
        let expected = facts?;
        if conflict::is_old(found.as_ref(), expected, expected) {
            let context = "the service still shows what was there before our own change";
            return Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context).into());
        }
        Ok(found)
    }

    /// Takes what landed; if the index had heard of something that may be newer, asks what the item is now.
    pub(super) async fn arrive(&self, mut landed: Landed) {
        let doubted = landed.doubted.take();
        self.publish(landed);
        let Some((id, times)) = doubted else { return };
        // The feed will not say it again.
        for pause in [1, 4, 15] {
            match self.look(At::Id(&id)).await {
                Ok(Some(now)) => {
                    // Deleted since, by us or by what the feed said: then this was asked too early.
                    let known = self.index.write(|txn| match txn.by_id(&now.id)? {
                        Some(_) => txn.upsert_with(&now, Some(times)).map(drop),
                        None => Ok(()),
                    });
                    match known {
                        Ok(((), notices)) => self.sink.absorb(notices),
                        Err(error) => tracing::warn!(%error, "the index did not take an item that was looked at"),
                    }
                    return;
                }
                // That it is gone the feed says.
                Ok(None) => return,
                Err(_) => self.clock.sleep(Duration::from_secs(pause)).await,
            }
        }
    }
}
