//! Folders, and what others have in them.

use super::{Setback, Uploader};
use crate::base::ids::ItemId;
use crate::journal::conflict::{self, Verdict};
use crate::journal::intent::Intent;
use crate::remote::{Advice, At, Item, RemoteError, RemoteErrorKind, list_all};

impl Uploader {
    pub(super) async fn make_folder(&self, intent: &Intent, parent: &ItemId) -> Result<(), Setback> {
        let place = (parent.clone(), intent.name.clone());
        if !self.journal.note_sending(intent.ino, None, Some(place), None)? {
            return Err(Setback::Overtaken);
        }
        self.remember(intent).await;
        let item = match self.remote.make_folder(parent, &intent.name).await {
            Ok(item) => item,
            Err(error) if error.kind == RemoteErrorKind::Exists || error.advice == Advice::VerifyThenRetry => {
                let Some(found) = self.look(At::Child(parent, &intent.name)).await? else { return Err(error.into()) };
                return match conflict::decide_folder(&found) {
                    Verdict::Adopt(item) => self.join_folder(intent, &item).await,
                    _ => self.keep_both(intent, Some(&found)),
                };
            }
            Err(error) if error.kind == RemoteErrorKind::NotFound => return Err(self.parent_gone(parent, error).await),
            Err(error) => return Err(error.into()),
        };
        let landed = self.journal.acknowledge(intent.ino, &item, None, false)?;
        self.arrive(landed).await;
        Ok(())
    }

    /// A folder has the name of ours: somebody else's, or our own whose answer was lost. From now on they are one, with
    /// the content of both. What it holds is learned first: the user's programs work in it already, and a folder that had
    /// to be listed now would fail them whenever the network does.
    async fn join_folder(&self, intent: &Intent, folder: &Item) -> Result<(), Setback> {
        let inside = self.put_by_others_into(&folder.id).await?;
        let learned = self.index.write(|txn| {
            for child in &inside {
                txn.upsert(child)?;
            }
            Ok(())
        });
        let ((), notices) = learned?;
        // The folder gets the number of ours only now, and what is in it is told of below that.
        let landed = self.journal.acknowledge(intent.ino, folder, None, false)?;
        self.arrive(landed).await;
        self.sink.absorb(notices);
        Ok(())
    }

    /// What is in a folder of the cloud, but for what we have deleted or moved out of it ourselves and a late replica
    /// still lists.
    ///
    /// | listed in the folder | we | |
    /// | --- | --- | --- |
    /// | anything | deleted it a moment ago | left out |
    /// | the state before our own change | changed it a moment ago | left out, unless it still is in this folder |
    /// | another state | moved it out a moment ago | not known: to be asked again |
    /// | anything else | | there |
    pub(super) async fn put_by_others_into(&self, folder: &ItemId) -> Result<Vec<Item>, Setback> {
        let mut inside = list_all(&*self.remote, folder).await?;
        let now = self.clock.now();
        let mut late = Vec::new();
        for child in &inside {
            if self.index.is_deleted_here(&child.id, now)? {
                late.push(child.id.clone());
                continue;
            }
            if !self.index.is_ours_lately(&child.id, now)? {
                continue;
            }
            let known = self.index.by_id(&child.id)?;
            let above = known.map(|row| self.index.by_ino(row.parent)).transpose()?.flatten();
            if above.is_none_or(|above| above.id == *folder) {
                continue;
            }
            if !self.index.is_overtaken(&child.id, &child.meta_tag, now)? {
                let context = "the service lists what we have just moved to another folder";
                return Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context).into());
            }
            late.push(child.id.clone());
        }
        inside.retain(|child| !late.contains(&child.id));
        Ok(inside)
    }

    /// What is in a folder although it was not listed there: whoever lists may be behind what was heard of since.
    pub(super) async fn heard_of_in(&self, folder: &ItemId) -> Result<Vec<Item>, Setback> {
        let Some(row) = self.index.by_id(folder)? else { return Ok(Vec::new()) };
        let mut inside = Vec::new();
        for child in self.index.children(row.ino)? {
            if self.journal.get(child.ino).is_none()
                && let Some(now) = self.look(At::Id(&child.id)).await?
                && now.parent.as_ref() == Some(folder)
            {
                inside.push(now);
            }
        }
        Ok(inside)
    }

    /// A place was not found: is its folder gone, or was it a passing fault?
    pub(super) async fn parent_gone(&self, parent: &ItemId, error: RemoteError) -> Setback {
        match self.look(At::Id(parent)).await {
            Ok(None) => {
                // The index hears of it before the next poll, and whoever shows the tree brings the folder back for
                // what is in it.
                match self.index.write(|txn| txn.remove(parent)) {
                    Ok(((), notices)) => self.sink.absorb(notices),
                    Err(error) => return error.into(),
                }
                error.into()
            }
            Ok(Some(_)) => error.into(),
            Err(setback) => setback,
        }
    }
}
