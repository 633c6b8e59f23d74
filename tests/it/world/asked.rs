//! A remote that notes who asks it for what and how urgently, and that can keep all its answers to itself.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use onedrive_mount::base::ids::{ContentTag, ItemId};
use onedrive_mount::remote::layers::observe::Operation;
use onedrive_mount::remote::{
    Ack, At, Body, Caps, ChangePage, DriveIdentity, Finished, Item, ItemPage, Link, Offset, Outgoing, Patch,
    Precondition, Quota, Remote, RemoteResult, SharedRemote, Source, Start, Target, Ticket, Urgency, current_urgency,
};
use tokio::sync::watch;

pub struct Asked {
    inner: SharedRemote,
    calls: Mutex<Vec<(Operation, Urgency)>>,
    silent: watch::Sender<bool>,
}

/// As long as it lives no call of the remote ends, whoever made it.
pub struct Silence<'a>(&'a Asked);

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        self.0.silent.send_replace(false);
    }
}

impl Asked {
    pub fn new(inner: SharedRemote) -> Arc<Self> {
        Arc::new(Self { inner, calls: Mutex::default(), silent: watch::Sender::new(false) })
    }

    /// Whoever waits for an answer, his own or somebody else's, waits until this is dropped.
    pub fn silence(&self) -> Silence<'_> {
        self.silent.send_replace(true);
        Silence(self)
    }

    /// The calls since this was asked last, in their order.
    pub fn take(&self) -> Vec<(Operation, Urgency)> {
        std::mem::take(&mut self.calls.lock().expect("no panic with the lock"))
    }

    async fn note<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = RemoteResult<T>> + Send,
    ) -> RemoteResult<T> {
        self.calls.lock().expect("no panic with the lock").push((operation, current_urgency()));
        let result = call.await;
        let _ = self.silent.subscribe().wait_for(|silent| !silent).await;
        result
    }
}

#[async_trait]
impl Remote for Asked {
    fn caps(&self) -> &Caps {
        self.inner.caps()
    }

    fn stand_for(&self, drive: &DriveIdentity) {
        self.inner.stand_for(drive);
    }

    async fn identity(&self) -> RemoteResult<DriveIdentity> {
        self.note(Operation::Identity, self.inner.identity()).await
    }

    async fn stat(&self, at: At<'_>) -> RemoteResult<Item> {
        self.note(Operation::Stat, self.inner.stat(at)).await
    }

    async fn list(&self, folder: &ItemId, from: Option<&Link>) -> RemoteResult<ItemPage> {
        self.note(Operation::List, self.inner.list(folder, from)).await
    }

    async fn changes(&self, from: Start<'_>) -> RemoteResult<ChangePage> {
        self.note(Operation::Changes, self.inner.changes(from)).await
    }

    async fn read(&self, item: &ItemId, tag: &ContentTag, range: Range<u64>) -> RemoteResult<Body> {
        self.note(Operation::Read, self.inner.read(item, tag, range)).await
    }

    async fn former(&self, item: &ItemId, size: u64, hash: &str) -> RemoteResult<Option<Bytes>> {
        self.note(Operation::Former, self.inner.former(item, size, hash)).await
    }

    async fn put_small(&self, to: &Target, bytes: Outgoing, pre: &Precondition) -> RemoteResult<Item> {
        self.note(Operation::PutSmall, self.inner.put_small(to, bytes, pre)).await
    }

    async fn begin_upload(&self, to: &Target, size: u64, pre: &Precondition) -> RemoteResult<Ticket> {
        self.note(Operation::BeginUpload, self.inner.begin_upload(to, size, pre)).await
    }

    async fn put_fragment(&self, ticket: &Ticket, at: u64, bytes: Outgoing) -> RemoteResult<Ack> {
        self.note(Operation::PutFragment, self.inner.put_fragment(ticket, at, bytes)).await
    }

    async fn put_fragment_of(&self, ticket: &Ticket, range: Range<u64>, source: Arc<dyn Source>) -> RemoteResult<Ack> {
        self.note(Operation::PutFragment, self.inner.put_fragment_of(ticket, range, source)).await
    }

    async fn finish_upload(&self, ticket: &Ticket) -> RemoteResult<Finished> {
        self.note(Operation::FinishUpload, self.inner.finish_upload(ticket)).await
    }

    async fn upload_offset(&self, ticket: &Ticket) -> RemoteResult<Offset> {
        self.note(Operation::UploadOffset, self.inner.upload_offset(ticket)).await
    }

    async fn abandon_upload(&self, ticket: &Ticket) -> RemoteResult<()> {
        self.note(Operation::AbandonUpload, self.inner.abandon_upload(ticket)).await
    }

    async fn make_folder(&self, parent: &ItemId, name: &str) -> RemoteResult<Item> {
        self.note(Operation::MakeFolder, self.inner.make_folder(parent, name)).await
    }

    async fn change(&self, item: &ItemId, patch: &Patch, pre: &Precondition) -> RemoteResult<Item> {
        self.note(Operation::Change, self.inner.change(item, patch, pre)).await
    }

    async fn delete(&self, item: &ItemId, pre: &Precondition) -> RemoteResult<()> {
        self.note(Operation::Delete, self.inner.delete(item, pre)).await
    }

    async fn quota(&self) -> RemoteResult<Quota> {
        self.note(Operation::Quota, self.inner.quota()).await
    }
}
