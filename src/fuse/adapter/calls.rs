//! The kinds of requests that the adapter gives to the answerer, each with its limits.

use std::future::Future;
use std::sync::Arc;

use fuser::{ReplyEmpty, ReplyEntry};
use tokio::runtime::Handle;
use tracing::Span;

use super::attr::{generation, to_kernel};
use super::{Adapter, Call, Class, Refuse, done};
use crate::volume::{Attributes, VolumeError, VolumeResult};

impl Adapter {
    /// Names and attributes: answers a change or a look that needs nothing undone when it comes too late.
    pub(super) fn local<T, R, F>(&self, operation: &'static str, span: Span, reply: R, work: F, deliver: fn(T, R))
    where
        T: Send + 'static,
        R: Refuse,
        F: Future<Output = VolumeResult<T>> + Send + 'static,
    {
        self.answerer.answer(Call { operation, class: Class::Local, span }, reply, work, deliver, drop);
    }

    /// A new entry, which the volume has counted a lookup for.
    pub(super) fn made<F>(&self, operation: &'static str, span: Span, reply: ReplyEntry, work: F)
    where
        F: Future<Output = VolumeResult<Attributes>> + Send + 'static,
    {
        let late = Arc::clone(&self.volume);
        self.answerer.answer(
            Call { operation, class: Class::Local, span },
            reply,
            work,
            |attributes, reply| reply.entry(&attributes.ttl, &to_kernel(&attributes), generation(&attributes)),
            move |attributes| late.forget(attributes.ino, 1),
        );
    }

    /// Making something durable.
    pub(super) fn durable<F>(&self, operation: &'static str, span: Span, reply: ReplyEmpty, work: F)
    where
        F: Future<Output = VolumeResult<()>> + Send + 'static,
    {
        self.answerer.answer(Call { operation, class: Class::Durable, span }, reply, work, done, drop);
    }

    /// A change of content. If it may take long, it does so on a thread that may block, and has the time of what makes
    /// bytes durable: a copy of ten gigabytes on the thread that reads requests would stop a half of the mount or more.
    pub(super) fn change<T, R, F>(
        &self,
        operation: &'static str,
        span: Span,
        long: bool,
        reply: R,
        work: F,
        deliver: fn(T, R),
    ) where
        T: Send + 'static,
        R: Refuse,
        F: Future<Output = VolumeResult<T>> + Send + 'static,
    {
        if long {
            self.answerer.answer(Call { operation, class: Class::Durable, span }, reply, aside(work), deliver, drop);
        } else {
            self.answerer.answer(Call { operation, class: Class::Local, span }, reply, work, deliver, drop);
        }
    }
}

/// Does work on a thread that may block. Must be polled inside the runtime.
async fn aside<T: Send + 'static>(work: impl Future<Output = VolumeResult<T>> + Send + 'static) -> VolumeResult<T> {
    let runtime = Handle::current();
    let done = tokio::task::spawn_blocking(move || runtime.block_on(work)).await;
    done.unwrap_or_else(|lost| Err(VolumeError::Failed(lost.to_string())))
}
