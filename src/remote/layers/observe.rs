//! What the remote is doing, for logs and for `status`.
//!
//! The outermost layer, so that it sees calls as the program makes them: one span and one count per call,
//! however often it was repeated inside.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tracing::Instrument as _;

use crate::base::clock::{Clock, Timestamp};
use crate::base::ids::{ContentTag, ItemId};
use crate::remote::{
    Ack, At, Body, Caps, ChangePage, DriveIdentity, Finished, Item, ItemPage, Link, Offset, Outgoing, Patch,
    Precondition, Quota, Remote, RemoteErrorKind, RemoteResult, SharedRemote, Source, Start, Target, Ticket,
    current_urgency,
};

/// The operations, in the order of the trait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
#[expect(missing_docs, reason = "each is the method of the same name")]
pub enum Operation {
    Identity,
    Stat,
    List,
    Changes,
    Read,
    Former,
    PutSmall,
    BeginUpload,
    PutFragment,
    FinishUpload,
    UploadOffset,
    AbandonUpload,
    MakeFolder,
    Change,
    Delete,
    Quota,
}

impl Operation {
    /// All of them.
    pub const ALL: [Operation; 16] = {
        use Operation::*;
        [
            Identity,
            Stat,
            List,
            Changes,
            Read,
            Former,
            PutSmall,
            BeginUpload,
            PutFragment,
            FinishUpload,
            UploadOffset,
            AbandonUpload,
            MakeFolder,
            Change,
            Delete,
            Quota,
        ]
    };

    /// Its name in counters and spans.
    pub const fn name(self) -> &'static str {
        match self {
            Operation::Identity => "identity",
            Operation::Stat => "stat",
            Operation::List => "list",
            Operation::Changes => "changes",
            Operation::Read => "read",
            Operation::Former => "former",
            Operation::PutSmall => "put_small",
            Operation::BeginUpload => "begin_upload",
            Operation::PutFragment => "put_fragment",
            Operation::FinishUpload => "finish_upload",
            Operation::UploadOffset => "upload_offset",
            Operation::AbandonUpload => "abandon_upload",
            Operation::MakeFolder => "make_folder",
            Operation::Change => "change",
            Operation::Delete => "delete",
            Operation::Quota => "quota",
        }
    }
}

/// Running totals since the start of the program. Read at any time; members are not of one instant.
#[derive(Default)]
pub struct Counters {
    calls: [AtomicU64; Operation::ALL.len()],
    failures: [AtomicU64; Operation::ALL.len()],
    running: AtomicU64,
    throttled: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    last_contact: AtomicU64,
    offline_since: AtomicU64,
    answered: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// Stands for "never" in the times.
const NEVER: u64 = 0;

impl Counters {
    /// Finished calls of an operation, failed ones included.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.calls[operation as usize].load(Ordering::Relaxed)
    }

    /// Failed calls of an operation. An item that is not there counts; it may well be an answer.
    pub fn failures(&self, operation: Operation) -> u64 {
        self.failures[operation as usize].load(Ordering::Relaxed)
    }

    /// Calls under way.
    pub fn running(&self) -> u64 {
        self.running.load(Ordering::Relaxed)
    }

    /// Calls that ended because the service asked for patience.
    pub fn throttled(&self) -> u64 {
        self.throttled.load(Ordering::Relaxed)
    }

    /// Bytes of content received.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    /// Bytes of content sent and acknowledged.
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    /// When the service last answered anything.
    pub fn last_contact(&self) -> Option<Timestamp> {
        moment(&self.last_contact)
    }

    /// Since when there is no connection, as far as calls have shown; `None` while there is one.
    pub fn offline_since(&self) -> Option<Timestamp> {
        moment(&self.offline_since)
    }

    /// Sets what is called, often and from any thread, when the service has done what it was asked for. Once.
    pub fn on_answer(&self, f: impl Fn() + Send + Sync + 'static) {
        let _ = self.answered.set(Box::new(f));
    }

    fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(self.clone())
    }

    fn end<T>(&self, operation: Operation, result: &RemoteResult<T>, now: Timestamp) {
        self.calls[operation as usize].fetch_add(1, Ordering::Relaxed);
        let now = u64::try_from(now.0).unwrap_or(1).max(1);
        let kind = result.as_ref().err().map(|error| error.kind);
        if kind.is_some() {
            self.failures[operation as usize].fetch_add(1, Ordering::Relaxed);
        }
        match kind {
            Some(RemoteErrorKind::Offline) => {
                let _ = self.offline_since.compare_exchange(NEVER, now, Ordering::Relaxed, Ordering::Relaxed);
            }
            // Says nothing about the connection.
            Some(RemoteErrorKind::Local | RemoteErrorKind::SignedOut) => {}
            _ => {
                self.offline_since.store(NEVER, Ordering::Relaxed);
                self.last_contact.store(now, Ordering::Relaxed);
            }
        }
        if kind == Some(RemoteErrorKind::Throttled) {
            self.throttled.fetch_add(1, Ordering::Relaxed);
        }
        if kind.is_none()
            && let Some(answered) = self.answered.get()
        {
            answered();
        }
    }
}

fn moment(cell: &AtomicU64) -> Option<Timestamp> {
    match cell.load(Ordering::Relaxed) {
        NEVER => None,
        nanos => Some(Timestamp(i64::try_from(nanos).unwrap_or(i64::MAX))),
    }
}

/// A call under way; a call that is dropped half-way ends too.
struct Running(Arc<Counters>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The layer.
pub struct Observed {
    inner: SharedRemote,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
}

impl Observed {
    /// Watches a remote.
    pub fn new(inner: SharedRemote, counters: Arc<Counters>, clock: Arc<dyn Clock>) -> Self {
        Self { inner, counters, clock }
    }

    async fn watch<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = RemoteResult<T>> + Send,
    ) -> RemoteResult<T> {
        let span = tracing::debug_span!("remote", operation = operation.name(), urgency = ?current_urgency());
        async {
            let _running = self.counters.begin();
            let result = call.await;
            self.counters.end(operation, &result, self.clock.now());
            match &result {
                Ok(_) => tracing::trace!("done"),
                Err(error) => {
                    tracing::debug!(kind = ?error.kind, advice = ?error.advice, request_id = error.request_id, "{error}");
                }
            }
            result
        }
        .instrument(span)
        .await
    }

    fn sent(&self, bytes: u64) {
        self.counters.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[async_trait]
impl Remote for Observed {
    fn caps(&self) -> &Caps {
        self.inner.caps()
    }

    fn stand_for(&self, drive: &DriveIdentity) {
        self.inner.stand_for(drive);
    }

    async fn identity(&self) -> RemoteResult<DriveIdentity> {
        self.watch(Operation::Identity, self.inner.identity()).await
    }

    async fn stat(&self, at: At<'_>) -> RemoteResult<Item> {
        self.watch(Operation::Stat, self.inner.stat(at)).await
    }

    async fn list(&self, folder: &ItemId, from: Option<&Link>) -> RemoteResult<ItemPage> {
        self.watch(Operation::List, self.inner.list(folder, from)).await
    }

    async fn changes(&self, from: Start<'_>) -> RemoteResult<ChangePage> {
        self.watch(Operation::Changes, self.inner.changes(from)).await
    }

    async fn read(&self, item: &ItemId, tag: &ContentTag, range: Range<u64>) -> RemoteResult<Body> {
        let mut body = self.watch(Operation::Read, self.inner.read(item, tag, range)).await?;
        let counters = self.counters.clone();
        body.stream = body
            .stream
            .inspect(move |piece| {
                if let Ok(bytes) = piece {
                    counters.bytes_in.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                }
            })
            .boxed();
        Ok(body)
    }

    async fn former(&self, item: &ItemId, size: u64, hash: &str) -> RemoteResult<Option<Bytes>> {
        let bytes = self.watch(Operation::Former, self.inner.former(item, size, hash)).await?;
        self.counters.bytes_in.fetch_add(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64), Ordering::Relaxed);
        Ok(bytes)
    }

    async fn put_small(&self, to: &Target, bytes: Outgoing, pre: &Precondition) -> RemoteResult<Item> {
        let length = bytes.len() as u64;
        let item = self.watch(Operation::PutSmall, self.inner.put_small(to, bytes, pre)).await?;
        self.sent(length);
        Ok(item)
    }

    async fn begin_upload(&self, to: &Target, size: u64, pre: &Precondition) -> RemoteResult<Ticket> {
        self.watch(Operation::BeginUpload, self.inner.begin_upload(to, size, pre)).await
    }

    async fn put_fragment(&self, ticket: &Ticket, at: u64, bytes: Outgoing) -> RemoteResult<Ack> {
        let length = bytes.len() as u64;
        let ack = self.watch(Operation::PutFragment, self.inner.put_fragment(ticket, at, bytes)).await?;
        self.sent(length);
        Ok(ack)
    }

    async fn put_fragment_of(&self, ticket: &Ticket, range: Range<u64>, source: Arc<dyn Source>) -> RemoteResult<Ack> {
        let length = range.end - range.start;
        let ack = self.watch(Operation::PutFragment, self.inner.put_fragment_of(ticket, range, source)).await?;
        self.sent(length);
        Ok(ack)
    }

    async fn finish_upload(&self, ticket: &Ticket) -> RemoteResult<Finished> {
        self.watch(Operation::FinishUpload, self.inner.finish_upload(ticket)).await
    }

    async fn upload_offset(&self, ticket: &Ticket) -> RemoteResult<Offset> {
        self.watch(Operation::UploadOffset, self.inner.upload_offset(ticket)).await
    }

    async fn abandon_upload(&self, ticket: &Ticket) -> RemoteResult<()> {
        self.watch(Operation::AbandonUpload, self.inner.abandon_upload(ticket)).await
    }

    async fn make_folder(&self, parent: &ItemId, name: &str) -> RemoteResult<Item> {
        self.watch(Operation::MakeFolder, self.inner.make_folder(parent, name)).await
    }

    async fn change(&self, item: &ItemId, patch: &Patch, pre: &Precondition) -> RemoteResult<Item> {
        self.watch(Operation::Change, self.inner.change(item, patch, pre)).await
    }

    async fn delete(&self, item: &ItemId, pre: &Precondition) -> RemoteResult<()> {
        self.watch(Operation::Delete, self.inner.delete(item, pre)).await
    }

    async fn quota(&self) -> RemoteResult<Quota> {
        self.watch(Operation::Quota, self.inner.quota()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::layers::scripted::{Scripted, item};
    use crate::remote::testing::Hasty;
    use crate::remote::{Advice, RemoteError};

    #[test]
    fn every_operation_has_its_own_place_and_name() {
        let names: std::collections::BTreeSet<_> = Operation::ALL.iter().map(|operation| operation.name()).collect();
        assert_eq!(names.len(), Operation::ALL.len());
        assert!(Operation::ALL.iter().enumerate().all(|(place, operation)| *operation as usize == place));
    }

    #[tokio::test]
    async fn calls_failures_bytes_and_the_connection_are_counted() {
        let offline = || RemoteError::offline("scripted");
        let throttled = RemoteError::new(RemoteErrorKind::Throttled, Advice::Retry, "scripted");
        let remote = Scripted::new([offline(), offline(), throttled]);
        let (counters, clock) = (Arc::new(Counters::default()), Arc::new(Hasty::default()));
        let layer = Observed::new(remote, counters.clone(), clock.clone());
        assert_eq!((counters.last_contact(), counters.offline_since()), (None, None));
        let since = clock.now();
        layer.quota().await.expect_err("offline");
        clock.advance(std::time::Duration::from_secs(9));
        layer.quota().await.expect_err("offline");
        assert_eq!((counters.last_contact(), counters.offline_since()), (None, Some(since)));
        layer.quota().await.expect_err("throttled, but there is somebody");
        assert_eq!((counters.last_contact(), counters.offline_since()), (Some(clock.now()), None));
        assert_eq!(counters.calls(Operation::Quota), 3);
        assert_eq!((counters.failures(Operation::Quota), counters.throttled(), counters.running()), (3, 1, 0));
        let mut body = layer.read(&item("F").id, &ContentTag(String::new()), 0..3).await.expect("a body");
        while body.stream.next().await.is_some() {}
        assert_eq!((counters.bytes_in(), counters.calls(Operation::Read)), (3, 1));
    }
}
