//! Uploads: one PUT up to the limit, and for empty files; BITS for the rest (see `bits`).
//!
//! A PUT goes in chunks, because requests with a length were seen to hang until the server closed the connection
//! (<https://github.com/mk-fg/python-onedrive/issues/30>). Photos are to be stored as they are, which has to be said.
//!
//! A new file is created with `overwrite=false`. What that means was told in two ways: that the service refuses a name
//! that is taken, and that it keeps two files of one name. So the name is looked for first; what remains then is a race
//! in which either nothing is stored or both files are kept.

use reqwest::Method;
use std::time::Duration;

use super::items::{folded, unverified};
use super::wire::WireUploaded;
use super::{Live, MAX_PUT, encode};
use crate::base::clock::Timestamp;
use crate::base::ids::{ContentTag, DriveId, ItemId};
use crate::remote::classify::Effect;
use crate::remote::http::Ask;
use crate::remote::precondition::check;
use crate::remote::{At, Item, Outgoing, Place, Precondition, RemoteError, RemoteErrorKind, RemoteResult, Target};

/// The pauses between looks for a file that should just have come to be.
pub(super) const LOOKS: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];

/// The finest difference between two times that the service tells.
const SECOND: Duration = Duration::from_secs(1);

impl Live {
    pub(super) async fn put_whole(&self, to: &Target, bytes: Outgoing, pre: &Precondition) -> RemoteResult<Item> {
        let size = bytes.len() as u64;
        if size >= MAX_PUT {
            return Err(RemoteError::protocol("cannot upload a small file: it is too large for one request"));
        }
        let photos = "downsize_photo_uploads=false";
        let mut before = None;
        let ask = match &to.place {
            Place::New { parent, name } => {
                sendable(name)?;
                self.name_is_free(parent, name, None).await?;
                let url =
                    self.item_url(parent, &format!("/files/{}", encode(name)), &format!("overwrite=false&{photos}"))?;
                Ask::new(Method::PUT, url, Effect::Once, "upload a small file").naming()
            }
            Place::Replace(item) => {
                let mut now = self.stat_item(At::Id(item)).await?;
                check(pre, &now.meta_tag)?;
                if self.let_its_second_pass(&now).await {
                    now = self.stat_item(At::Id(item)).await?;
                    check(pre, &now.meta_tag)?;
                }
                before = now.content_tag;
                let url = self.item_url(item, "/content/", &format!("overwrite=true&{photos}"))?;
                Ask::new(Method::PUT, url, Effect::Once, "replace a small file")
            }
        };
        let ask = ask.bytes(bytes).in_chunks();
        let reply = self.ask(&ask).await?;
        if let Place::New { parent, name } = &to.place {
            self.names.taken(parent, name);
        }
        let id = reply.parse::<WireUploaded>()?.item_id(drive_of(to)).map_err(unverified)?;
        let arrived = self.arrived(&id, size).await?;
        if size == 0 || before.is_none() || arrived.content_tag != before {
            return Ok(arrived);
        }
        // The clocks differ. Of two versions that nothing tells apart one would be served for the other.
        self.clock.sleep(SECOND).await;
        check(&Precondition::Unchanged(arrived.meta_tag), &self.stat_item(At::Id(&arrived.id)).await?.meta_tag)?;
        let reply = self.ask(&ask).await?;
        let id = reply.parse::<WireUploaded>()?.item_id(drive_of(to)).map_err(unverified)?;
        self.arrived(&id, size).await
    }

    /// The service knows versions by whole seconds and sizes: two of one second and one size would be one to everybody.
    /// So ours waits until the second of the one before it is over, by this machine's clock. Says whether it had to: then
    /// the version before has to be looked at again.
    pub(super) async fn let_its_second_pass(&self, before: &Item) -> bool {
        let Some(second) = before.content_tag.as_ref().and_then(ContentTag::service_time) else { return false };
        let over = Timestamp::from_seconds(second).plus(SECOND);
        let left = over.0.saturating_sub(self.clock.now().0);
        let waits = left > 0 && left <= SECOND.as_nanos() as i64;
        if waits {
            self.clock.sleep(Duration::from_nanos(left as u64)).await;
        }
        waits
    }

    /// The object that an upload has made. Its metadata may be a moment behind its bytes, so a size that is not the
    /// one that was sent is looked at again; if it stays, it is what the service has stored.
    pub(super) async fn arrived(&self, id: &ItemId, size: u64) -> RemoteResult<Item> {
        let mut pauses = LOOKS.iter();
        loop {
            let now = self.fetch(id).await;
            let settled = match &now {
                Ok(item) => item.size == size,
                Err(failure) => failure.kind != RemoteErrorKind::NotFound,
            };
            match pauses.next() {
                Some(pause) if !settled => self.clock.sleep(*pause).await,
                _ => return now.map_err(unverified),
            }
        }
    }

    /// What stands at the place of an upload.
    pub(super) async fn look_at(&self, target: &Target) -> RemoteResult<Option<Item>> {
        match &target.place {
            Place::New { parent, name } => self.child(parent, name).await,
            Place::Replace(item) => match self.stat_surely(At::Id(item)).await {
                Ok(item) => Ok(Some(item)),
                Err(failure) if failure.kind == RemoteErrorKind::NotFound => Ok(None),
                Err(failure) => Err(failure),
            },
        }
    }

    /// Where a file that is to be replaced lies, by folder and name: that is how BITS addresses it. Fails if another
    /// object of that folder has the name, too: nobody says which of them would be replaced.
    pub(super) async fn only_of_its_name(&self, item: &Item) -> RemoteResult<(ItemId, String)> {
        let Some(folder) = item.parent.clone() else {
            return Err(RemoteError::protocol("cannot replace the content of an item that lies nowhere"));
        };
        let same = self.list_whole(&folder).await?.items;
        if same.iter().any(|other| other.id != item.id && folded(&other.name) == folded(&item.name)) {
            let context = "two files of the folder have this name, and the service would not say which it replaces; \
                           give one of them another name";
            return Err(RemoteError::new(RemoteErrorKind::Unsupported, crate::remote::Advice::GiveUp, context));
        }
        Ok((folder, item.name.clone()))
    }
}

/// A name that is a path is no name.
pub(super) fn sendable(name: &str) -> RemoteResult<()> {
    if matches!(name, "" | "." | "..") || name.contains('/') {
        let context = "this is no name for an item";
        return Err(RemoteError::new(RemoteErrorKind::BadName, crate::remote::Advice::GiveUp, context));
    }
    Ok(())
}

/// The drive a target is in.
pub(super) fn drive_of(target: &Target) -> &DriveId {
    match &target.place {
        Place::New { parent, .. } => &parent.drive,
        Place::Replace(item) => &item.drive,
    }
}
