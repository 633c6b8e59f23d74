//! Bodies on their way out, cut small enough that the progress watchdog sees a slow line move.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::SLICE;
use crate::remote::Source;

/// How much is read from a source at a time, in bytes. Two such pieces are in memory for each body under way.
const PIECE: u64 = 1 << 20;

/// A part of a source, to be read while it is sent.
#[derive(Clone)]
pub struct Drawn {
    source: Arc<dyn Source>,
    range: Range<u64>,
}

impl Drawn {
    /// A range of a source; it must lie within it.
    pub fn new(source: Arc<dyn Source>, range: Range<u64>) -> Self {
        Self { source, range }
    }

    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drawn").field("range", &self.range).finish_non_exhaustive()
    }
}

/// A body in slices, counting what went out.
pub(super) fn sliced(body: Bytes, sent: &Arc<AtomicU64>) -> reqwest::Body {
    let slices = slices(body, sent.clone()).map(Ok::<_, std::convert::Infallible>);
    reqwest::Body::wrap_stream(stream::iter(slices))
}

/// A body that is read from its source, a piece ahead of what is being sent. What cannot be read breaks the request
/// off, so that the service never takes less for all.
pub(super) fn drawn(body: &Drawn, sent: &Arc<AtomicU64>) -> reqwest::Body {
    let (source, range, sent) = (body.source.clone(), body.range.clone(), sent.clone());
    // Cut where a source has its own blocks, whatever the range begins with.
    let cuts = (range.start / PIECE..range.end.div_ceil(PIECE))
        .map(move |n| range.start.max(n * PIECE)..range.end.min((n + 1) * PIECE));
    let pieces = stream::iter(cuts)
        .map(move |piece| {
            let source = source.clone();
            async move {
                let read = tokio::task::spawn_blocking(move || source.read(piece)).await;
                read.unwrap_or_else(|lost| Err(io::Error::other(lost)))
            }
        })
        .buffered(2)
        .flat_map(move |piece| {
            let (whole, failure) = match piece {
                Ok(bytes) => (bytes, None),
                Err(error) => (Bytes::new(), Some(Err(error))),
            };
            stream::iter(slices(whole, sent.clone()).map(Ok).chain(failure))
        });
    reqwest::Body::wrap_stream(pieces)
}

fn slices(body: Bytes, sent: Arc<AtomicU64>) -> impl Iterator<Item = Bytes> + Send + 'static {
    (0..body.len()).step_by(SLICE).map(move |at| {
        let slice = body.slice(at..body.len().min(at + SLICE));
        sent.fetch_add(slice.len() as u64, Ordering::Relaxed);
        slice
    })
}
