//! From a kernel request to its answer: every request gets exactly one, and in bounded time.
//!
//! The library never forwards the kernel's interrupts, so a process whose request is unanswered cannot be
//! killed, not even by `SIGKILL`; and a panic would end the thread that reads requests and leave a mount
//! behind that answers nothing. Therefore, always:
//!
//! - the work is polled once on the thread that read the request: what memory or the local index can
//!   answer costs no wake-up of another core (about 23 against 150 microseconds measured on a small
//!   virtual machine);
//! - what is not ready then moves to the runtime with its reply, so that a slow request never stops the
//!   threads that read the next ones;
//! - each class of work has a deadline, and the classes that use the network have a limit on how many
//!   may be under way, so that a folder full of cold thumbnails cannot starve `ls`;
//! - a panic is an `EIO` for one request and an error in the log.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fuser::Errno;
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{Instrument, Span};

use super::errno;
use crate::base::clock::Clock;
use crate::volume::{VolumeError, VolumeResult};

/// What a request may wait for, which decides its deadline and what happens to work that misses it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Names and attributes: the index and the journal on this machine. Not limited in number.
    Local,
    /// A listing, which may have to be fetched.
    Listing,
    /// Bytes of a file, which may have to be fetched.
    Content,
    /// Making bytes durable (`flush`, `fsync`), which under `durability: remote` waits for the cloud.
    Durable,
}

/// How long requests may take and how many may be under way.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Deadline of names and attributes.
    pub local: Duration,
    /// Deadline of listings.
    pub listing: Duration,
    /// Deadline of reads.
    pub content: Duration,
    /// Deadline of `flush` and `fsync`.
    pub durable: Duration,
    /// Listings that may wait for the network at once.
    pub listings: usize,
    /// Reads that may wait for the network at once.
    pub contents: usize,
}

impl Default for Limits {
    /// The network layers have shorter limits of their own; these are the last line.
    fn default() -> Self {
        Self {
            local: Duration::from_secs(30),
            listing: Duration::from_secs(120),
            content: Duration::from_secs(60),
            durable: Duration::from_secs(600),
            listings: 16,
            contents: 48,
        }
    }
}

/// One request, for the log and the limits.
pub struct Call {
    /// The operation's name as the kernel's protocol spells it.
    pub operation: &'static str,
    /// What it may wait for.
    pub class: Class,
    /// The span that everything done for it is logged in.
    pub span: Span,
}

/// A reply that can be an error.
pub trait Refuse: Send + 'static {
    /// Sends the error.
    fn refuse(self, errno: Errno);
}

macro_rules! refuse {
    ($($reply:ident),+) => {
        $(impl Refuse for fuser::$reply {
            fn refuse(self, errno: Errno) {
                self.error(errno);
            }
        })+
    };
}

refuse!(
    ReplyAttr,
    ReplyCreate,
    ReplyData,
    ReplyDirectory,
    ReplyDirectoryPlus,
    ReplyEmpty,
    ReplyEntry,
    ReplyOpen,
    ReplyWrite,
    ReplyXattr
);

/// Answers requests.
pub struct Answerer {
    runtime: Handle,
    clock: Arc<dyn Clock>,
    limits: Limits,
    listings: Arc<Semaphore>,
    contents: Arc<Semaphore>,
}

/// The outcome of work: a result, or the panic it ended in (already reported as an error).
type Work<T> = Pin<Box<dyn Future<Output = VolumeResult<T>> + Send>>;

impl Answerer {
    /// Answers on `runtime`, measuring deadlines on `clock`.
    pub fn new(runtime: Handle, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self {
            runtime,
            clock,
            limits,
            listings: Arc::new(Semaphore::new(limits.listings)),
            contents: Arc::new(Semaphore::new(limits.contents)),
        }
    }

    /// Runs `work` and gives its result to `deliver` together with the reply.
    ///
    /// Returns at once if the work has to wait for something. `undo` receives a result that came after the
    /// deadline, when the kernel has been told of a failure: a handle to close again, a lookup to forget.
    /// Reads and listings that miss their deadline are dropped; changes run to their end, because a change
    /// stopped half-way is worse than a late one.
    pub fn answer<T, R>(
        &self,
        call: Call,
        reply: R,
        work: impl Future<Output = VolumeResult<T>> + Send + 'static,
        deliver: impl FnOnce(T, R) + Send + 'static,
        undo: impl FnOnce(T) + Send + 'static,
    ) where
        T: Send + 'static,
        R: Refuse,
    {
        let operation = call.operation;
        // The work has its own net; this one is for the machinery, whose panic would end the reading thread.
        // It drops the reply, which answers EIO.
        let begun = catch_unwind(AssertUnwindSafe(|| self.begin(call, reply, work, deliver, undo)));
        if let Err(panic) = begun {
            report(operation, &*panic);
        }
    }

    fn begin<T, R>(
        &self,
        call: Call,
        reply: R,
        work: impl Future<Output = VolumeResult<T>> + Send + 'static,
        deliver: impl FnOnce(T, R) + Send + 'static,
        undo: impl FnOnce(T) + Send + 'static,
    ) where
        T: Send + 'static,
        R: Refuse,
    {
        let mut work = contain(call.operation, work);
        let permit = match self.gate(call.class) {
            None => None,
            Some(gate) => match Arc::clone(&gate).try_acquire_owned() {
                Ok(permit) => Some(permit),
                // Full: nothing is started, not even by a first poll, until a place is free.
                Err(_) => {
                    let queued = async move {
                        let _permit = gate.acquire_owned().await;
                        work.await
                    };
                    return self.finish_later(call, reply, Box::pin(queued), None, deliver, undo);
                }
            },
        };
        let first = {
            let _inside = self.runtime.enter();
            call.span.in_scope(|| work.as_mut().poll(&mut Context::from_waker(Waker::noop())))
        };
        match first {
            Poll::Ready(result) => call.span.in_scope(|| send(call.operation, result, reply, deliver)),
            Poll::Pending => self.finish_later(call, reply, work, permit, deliver, undo),
        }
    }

    /// The class of a request that would wait for a place. If all are taken by requests that wait for the network, and what
    /// this one asks for is here, it needs none.
    pub fn class_of(&self, class: Class, is_here: impl FnOnce() -> bool) -> Class {
        let full = self.gate(class).is_some_and(|gate| gate.available_permits() == 0);
        if full && is_here() { Class::Local } else { class }
    }

    /// Runs something that has no reply, or whose reply does not depend on it; a panic is logged.
    pub fn run(&self, operation: &'static str, work: impl FnOnce()) {
        let _inside = self.runtime.enter();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            report(operation, &*panic);
        }
    }

    fn finish_later<T, R>(
        &self,
        call: Call,
        reply: R,
        mut work: Work<T>,
        permit: Option<OwnedSemaphorePermit>,
        deliver: impl FnOnce(T, R) + Send + 'static,
        undo: impl FnOnce(T) + Send + 'static,
    ) where
        T: Send + 'static,
        R: Refuse,
    {
        let deadline = {
            // A real clock's sleep registers with the runtime it is made in.
            let _inside = self.runtime.enter();
            self.clock.sleep(self.deadline(call.class))
        };
        let Call { operation, class, span } = call;
        let task = async move {
            // The runtime's waker replaces the empty one of the first poll when `work` is polled here.
            tokio::select! {
                biased;
                result = &mut work => {
                    drop(permit);
                    send(operation, result, reply, deliver);
                }
                () = deadline => {
                    reply.refuse(errno::log_and_translate(operation, &VolumeError::TimedOut));
                    match class {
                        Class::Listing | Class::Content => drop(work),
                        Class::Local | Class::Durable => {
                            if let Ok(late) = work.await {
                                tracing::warn!(operation, "finished after its deadline");
                                undo(late);
                            }
                        }
                    }
                }
            }
        };
        self.runtime.spawn(task.instrument(span));
    }

    fn gate(&self, class: Class) -> Option<Arc<Semaphore>> {
        match class {
            Class::Local | Class::Durable => None,
            Class::Listing => Some(Arc::clone(&self.listings)),
            Class::Content => Some(Arc::clone(&self.contents)),
        }
    }

    fn deadline(&self, class: Class) -> Duration {
        match class {
            Class::Local => self.limits.local,
            Class::Listing => self.limits.listing,
            Class::Content => self.limits.content,
            Class::Durable => self.limits.durable,
        }
    }
}

/// Boxes work so that a panic inside it becomes an error of this one request.
fn contain<T: Send + 'static>(
    operation: &'static str,
    work: impl Future<Output = VolumeResult<T>> + Send + 'static,
) -> Work<T> {
    Box::pin(AssertUnwindSafe(work).catch_unwind().map(move |outcome| match outcome {
        Ok(result) => result,
        Err(panic) => {
            report(operation, &*panic);
            Err(VolumeError::Failed(format!("the handler of {operation} panicked")))
        }
    }))
}

fn send<T, R: Refuse>(operation: &'static str, result: VolumeResult<T>, reply: R, deliver: impl FnOnce(T, R)) {
    match result {
        // A panic while answering drops the reply, and a dropped reply answers EIO by itself.
        Ok(value) => {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| deliver(value, reply))) {
                report(operation, &*panic);
            }
        }
        Err(error) => reply.refuse(errno::log_and_translate(operation, &error)),
    }
}

fn report(operation: &'static str, panic: &(dyn std::any::Any + Send)) {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(operation, panic = text, "a handler panicked; this request fails, the mount lives on");
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
