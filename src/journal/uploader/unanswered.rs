//! What was sent and not answered: is it in the cloud, and is it ours? And that it is not forgotten before there is an answer.

use super::{Setback, Uploader};
use crate::base::ids::ItemId;
use crate::journal::intent::{Intent, Kind};
use crate::remote::{Advice, At, Item, ItemKind, RemoteError, RemoteErrorKind, list_all};

impl Uploader {
    /// What is about to be added to the cloud, and why, survives a loss of power from now on: who has forgotten it takes what
    /// was sent for somebody else's. A disk that cannot remember is no reason not to send: there is the other copy.
    pub(super) async fn remember(&self, intent: &Intent) {
        if let Err(error) = self.journal.sync().await {
            tracing::warn!(name = intent.name, %error, "what is sent may be forgotten");
        }
    }

    /// Something was sent, and then the answer was lost or this program died. What is there is ours, under whatever name
    /// it is wanted by now.
    pub(super) async fn find_sent(&self, intent: &Intent) -> Result<(), Setback> {
        let Some(sent) = &intent.sent else { return Err(Setback::Overtaken) };
        let (None, Some((parent, name))) = (&intent.item, &sent.place) else { return self.find_changed(intent).await };
        let found = self.look(At::Child(parent, name)).await?;
        let ours = match &found {
            None => false,
            Some(item) => match intent.kind {
                Kind::File => self.is_one_of(item, &sent.versions).await?,
                // A folder carries no mark of its maker. One that is empty and stands where we sent ours is ours, or
                // does no harm if it is taken for it.
                Kind::Folder => item.kind == ItemKind::Folder && list_all(&*self.remote, &item.id).await?.is_empty(),
            },
        };
        let wanted_there = self.is_wanted_at(intent, parent, name);
        match found.filter(|_| ours) {
            Some(item) => {
                let landed = self.journal.acknowledge(intent.ino, &item, None, false)?;
                self.arrive(landed).await;
                Ok(())
            }
            // What is wanted in the same place again would be met there. What is wanted elsewhere, or not any more,
            // would stay behind for ever; so that it is not there is believed only when it was not seen for a while.
            None if !wanted_there && !self.is_long_unseen(intent) => {
                self.journal.note_unseen(intent.ino)?;
                let context = "what was sent is not to be seen yet";
                Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context).into())
            }
            None => {
                self.journal.never_arrived(intent.ino, wanted_there)?;
                Ok(())
            }
        }
    }

    fn is_wanted_at(&self, intent: &Intent, parent: &ItemId, name: &str) -> bool {
        !intent.deleted && intent.name == name && self.journal.resolve(intent.parent).as_ref() == Some(parent)
    }

    /// A change of an item was sent without an answer, and by now the item is wanted as it was before.
    async fn find_changed(&self, intent: &Intent) -> Result<(), Setback> {
        let Some(item) = &intent.item else { return Err(Setback::Overtaken) };
        match self.look_own(intent, item).await? {
            Some(now) => self.rebase(intent, &now).await,
            None => {
                let landed = self.journal.give_way(intent)?;
                self.publish(landed);
                Ok(())
            }
        }
    }

    /// Whether an item has bytes that we have sent.
    pub(super) async fn was_sent(&self, intent: &Intent, item: &Item) -> Result<bool, Setback> {
        match &intent.sent {
            Some(sent) => self.is_one_of(item, &sent.versions).await,
            None => Ok(false),
        }
    }
}
