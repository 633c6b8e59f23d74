//! For the tests of the layers: a remote whose calls end as they are told to, in order.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::sync::Semaphore;

use crate::base::clock::Timestamp;
use crate::base::ids::{ContentTag, DriveId, ItemId, MetaTag};
use crate::remote::*;

/// Ends each call with the next line of the script; with success when it has run out.
pub(crate) struct Scripted {
    script: Mutex<VecDeque<RemoteError>>,
    calls: AtomicUsize,
    running: AtomicUsize,
    /// What calls wait for before they end; many permits by default.
    pub(crate) hold: Semaphore,
}

impl Scripted {
    pub(crate) fn new(script: impl IntoIterator<Item = RemoteError>) -> Arc<Self> {
        let (calls, running) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self {
            script: Mutex::new(script.into_iter().collect()),
            calls,
            running,
            hold: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    /// One whose calls end only when `hold` gets permits.
    pub(crate) fn held() -> Arc<Self> {
        let scripted = Self::new([]);
        scripted.hold.forget_permits(Semaphore::MAX_PERMITS);
        scripted
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    async fn next<T>(&self, success: T) -> RemoteResult<T> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.running.fetch_add(1, Ordering::SeqCst);
        self.hold.acquire().await.expect("the semaphore is never closed").forget();
        self.running.fetch_sub(1, Ordering::SeqCst);
        match self.script.lock().expect("no test panics with the lock").pop_front() {
            Some(error) => Err(error),
            None => Ok(success),
        }
    }
}

/// An item.
pub(crate) fn item(id: &str) -> Item {
    Item {
        id: ItemId::new(&DriveId::new("b!D"), id),
        parent: None,
        name: id.to_owned(),
        kind: ItemKind::File,
        size: 0,
        modified: Timestamp(0),
        created: Timestamp(0),
        meta_tag: MetaTag(String::new()),
        content_tag: None,
        link_to: None,
    }
}

#[async_trait]
impl Remote for Scripted {
    fn caps(&self) -> &Caps {
        unreachable!("the layers pass this on without looking")
    }

    async fn identity(&self) -> RemoteResult<DriveIdentity> {
        let id = item("R").id;
        let (flavour, owner) = (String::new(), String::new());
        self.next(DriveIdentity { drive: id.drive.clone(), root: id, flavour, owner }).await
    }

    async fn stat(&self, _: At<'_>) -> RemoteResult<Item> {
        self.next(item("F")).await
    }

    async fn list(&self, _: &ItemId, _: Option<&Link>) -> RemoteResult<ItemPage> {
        self.next(ItemPage { items: vec![], next: None }).await
    }

    async fn changes(&self, _: Start<'_>) -> RemoteResult<ChangePage> {
        self.next(ChangePage { changes: vec![], next: Next::Done(crate::base::ids::Cursor(String::new())) }).await
    }

    async fn read(&self, _: &ItemId, _: &ContentTag, range: Range<u64>) -> RemoteResult<Body> {
        let stream = futures_util::stream::iter([Ok(Bytes::from_static(b"abc"))]).boxed();
        self.next(Body { range, total: None, stream }).await
    }

    async fn put_small(&self, _: &Target, _: Outgoing, _: &Precondition) -> RemoteResult<Item> {
        self.next(item("F")).await
    }

    async fn begin_upload(&self, to: &Target, size: u64, _: &Precondition) -> RemoteResult<Ticket> {
        let (expires, begun) = (Timestamp(0), Timestamp(0));
        self.next(Ticket { address: String::new(), target: to.clone(), size, expires, begun, acked: 0 }).await
    }

    async fn put_fragment(&self, _: &Ticket, _: u64, _: Outgoing) -> RemoteResult<Ack> {
        self.next(Ack::Done(Box::new(Finished { item: item("F"), told: true }))).await
    }

    async fn finish_upload(&self, _: &Ticket) -> RemoteResult<Finished> {
        self.next(Finished { item: item("F"), told: true }).await
    }

    async fn upload_offset(&self, _: &Ticket) -> RemoteResult<Offset> {
        self.next(Offset::At(0)).await
    }

    async fn abandon_upload(&self, _: &Ticket) -> RemoteResult<()> {
        self.next(()).await
    }

    async fn make_folder(&self, _: &ItemId, _: &str) -> RemoteResult<Item> {
        self.next(item("N")).await
    }

    async fn change(&self, _: &ItemId, _: &Patch, _: &Precondition) -> RemoteResult<Item> {
        self.next(item("F")).await
    }

    async fn delete(&self, _: &ItemId, _: &Precondition) -> RemoteResult<()> {
        self.next(()).await
    }

    async fn quota(&self) -> RemoteResult<Quota> {
        self.next(Quota::default()).await
    }
}
