//! A cloud made of a table: counts requests, can be held, fail, cut a body off and lie.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::watch;

use crate::base::ids::{ContentTag, ItemId};
use crate::cache::CacheKey;
use crate::remote::{
    Ack, Advice, At, Body, Caps, ChangePage, ChangeSource, DriveIdentity, Finished, FragmentRule, Item, ItemPage, Link,
    Offset, Outgoing, Patch, Precondition, PreconditionStrength, Quota, Remote, RemoteError, RemoteErrorKind,
    RemoteResult, Start, Target, Ticket, Urgency, current_urgency,
};

pub(super) struct Cloud {
    caps: Caps,
    state: Mutex<State>,
    /// Requests with an urgency at least this low wait while it is set.
    hold: watch::Sender<Option<Urgency>>,
    held: AtomicUsize,
}

#[derive(Default)]
struct State {
    files: HashMap<ItemId, (ContentTag, Bytes)>,
    requests: Vec<(Range<u64>, Urgency)>,
    fail: Option<(RemoteErrorKind, Urgency)>,
    cut_after: Option<u64>,
    total: Option<u64>,
    corrupt: VecDeque<usize>,
}

impl Cloud {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            caps: Caps {
                changes: ChangeSource::Native,
                precondition: PreconditionStrength::Strong,
                hashes: true,
                set_times: true,
                fragment: FragmentRule::Any,
                name_clash: false,
                max_small: 0,
                max_file: u64::MAX,
                max_path: None,
            },
            state: Mutex::default(),
            hold: watch::channel(None).0,
            held: AtomicUsize::new(0),
        })
    }

    pub(super) fn put(&self, key: &CacheKey, bytes: impl Into<Bytes>) {
        let content = (key.tag.clone(), bytes.into());
        self.state().files.insert(key.item.clone(), content);
    }

    /// The ranges and urgencies asked for since the last call.
    pub(super) fn take_requests(&self) -> Vec<(Range<u64>, Urgency)> {
        std::mem::take(&mut self.state().requests)
    }

    /// How many requests wait.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(super) fn requests(&self) -> usize {
        self.state().requests.len()
    }

    /// Makes requests of this urgency and below wait; `None` lets them all go.
    pub(super) fn hold(&self, from: Option<Urgency>) {
        self.hold.send_replace(from);
    }

    /// Makes requests of this urgency and below fail.
    pub(super) fn fail(&self, how: Option<(RemoteErrorKind, Urgency)>) {
        self.state().fail = how;
    }

    /// Makes each body break off after this many bytes.
    pub(super) fn cut_after(&self, bytes: Option<u64>) {
        self.state().cut_after = bytes;
    }

    /// Makes the storage host report this size.
    pub(super) fn report_total(&self, total: u64) {
        self.state().total = Some(total);
    }

    /// Makes the next bodies wrong, each in the byte at one of these offsets.
    pub(super) fn corrupt(&self, at: &[usize]) {
        self.state().corrupt.extend(at);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while holding it")
    }
}

/// A request that waits, until it goes on or is given up.
struct Held<'a>(&'a AtomicUsize);

impl<'a> Held<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn unsupported<T>() -> RemoteResult<T> {
    Err(RemoteError::new(RemoteErrorKind::Unsupported, Advice::GiveUp, "this cloud only serves content"))
}

#[async_trait]
impl Remote for Cloud {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    async fn read(&self, item: &ItemId, tag: &ContentTag, range: Range<u64>) -> RemoteResult<Body> {
        let urgency = current_urgency();
        self.state().requests.push((range.clone(), urgency));
        let mut hold = self.hold.subscribe();
        if hold.borrow().is_some_and(|from| urgency >= from) {
            let _held = Held::new(&self.held);
            let free = hold.wait_for(|from| from.is_none_or(|from| urgency < from)).await;
            drop(free);
        }
        let mut state = self.state();
        if let Some((kind, from)) = state.fail
            && urgency >= from
        {
            return Err(RemoteError::new(kind, Advice::GiveUp, "as told"));
        }
        let Some((now, bytes)) = state.files.get(item).cloned() else {
            return Err(RemoteError::new(RemoteErrorKind::NotFound, Advice::GiveUp, "no such file"));
        };
        if now != *tag {
            return Err(RemoteError::new(RemoteErrorKind::Changed, Advice::GiveUp, "another version"));
        }
        let mut bytes = bytes.slice(range.start as usize..range.end as usize);
        if let Some(at) = state.corrupt.pop_front() {
            let mut wrong = bytes.to_vec();
            wrong[at] ^= 1;
            bytes = wrong.into();
        }
        let mut pieces = Vec::new();
        let cut = state.cut_after.filter(|cut| *cut < bytes.len() as u64);
        if let Some(cut) = cut {
            bytes.truncate(cut as usize);
        }
        // An odd size, so that pieces and chunks do not agree.
        while !bytes.is_empty() {
            pieces.push(Ok(bytes.split_to(bytes.len().min(50_001))));
        }
        if cut.is_some() {
            pieces.push(Err(RemoteError::offline("cut off")));
        }
        let total = Some(state.total.unwrap_or(state.files[item].1.len() as u64));
        Ok(Body { range, total, stream: futures_util::stream::iter(pieces).boxed() })
    }

    async fn identity(&self) -> RemoteResult<DriveIdentity> {
        unsupported()
    }
    async fn stat(&self, _: At<'_>) -> RemoteResult<Item> {
        unsupported()
    }
    async fn list(&self, _: &ItemId, _: Option<&Link>) -> RemoteResult<ItemPage> {
        unsupported()
    }
    async fn changes(&self, _: Start<'_>) -> RemoteResult<ChangePage> {
        unsupported()
    }
    async fn put_small(&self, _: &Target, _: Outgoing, _: &Precondition) -> RemoteResult<Item> {
        unsupported()
    }
    async fn begin_upload(&self, _: &Target, _: u64, _: &Precondition) -> RemoteResult<Ticket> {
        unsupported()
    }
    async fn put_fragment(&self, _: &Ticket, _: u64, _: Outgoing) -> RemoteResult<Ack> {
        unsupported()
    }
    async fn finish_upload(&self, _: &Ticket) -> RemoteResult<Finished> {
        unsupported()
    }
    async fn upload_offset(&self, _: &Ticket) -> RemoteResult<Offset> {
        unsupported()
    }
    async fn abandon_upload(&self, _: &Ticket) -> RemoteResult<()> {
        unsupported()
    }
    async fn make_folder(&self, _: &ItemId, _: &str) -> RemoteResult<Item> {
        unsupported()
    }
    async fn change(&self, _: &ItemId, _: &Patch, _: &Precondition) -> RemoteResult<Item> {
        unsupported()
    }
    async fn delete(&self, _: &ItemId, _: &Precondition) -> RemoteResult<()> {
        unsupported()
    }
    async fn quota(&self) -> RemoteResult<Quota> {
        unsupported()
    }
}
