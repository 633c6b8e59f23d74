//! Reading through: who asks the cloud for what, how often, and what a reader gets when it goes wrong.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::poll;

use super::cloud::Cloud;
use super::{Place, ROOMY, content, key};
use crate::base::ranges::RangeSet;
use crate::cache::{CHUNK, CacheKey, ChunkCache, FetchError, Fetcher, Limits, ReadStream, Settings};
use crate::remote::{RemoteErrorKind, Urgency};

pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;

pub(super) struct World {
    pub(super) place: Place,
    pub(super) cloud: Arc<Cloud>,
    pub(super) cache: ChunkCache,
    pub(super) fetcher: Fetcher,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(ROOMY, Settings::default())
    }

    pub(super) fn with(limits: Limits, settings: Settings) -> Self {
        Self::at(Place::new(), Cloud::new(), limits, settings)
    }

    /// On what an earlier one has left.
    pub(super) fn at(place: Place, cloud: Arc<Cloud>, limits: Limits, settings: Settings) -> Self {
        let cache = place.open(limits);
        let fetcher = Fetcher::new(cache.clone(), cloud.clone(), Arc::new(place.clock.clone()), settings);
        Self { place, cloud, cache, fetcher }
    }

    pub(super) fn file(&self, name: &str, size: u64) -> (CacheKey, Vec<u8>) {
        let (key, bytes) = (key(name, "1"), content(size, size));
        self.cloud.put(&key, bytes.clone());
        (key, bytes)
    }

    /// Lets everything happen that can while the cloud holds what it holds.
    pub(super) async fn settle(&self) {
        while self.fetcher.running() > self.cloud.held() {
            // A task may be writing on another thread; give it the processor.
            tokio::task::spawn_blocking(std::thread::yield_now).await.expect("runs");
        }
    }
}

#[tokio::test]
async fn a_first_touch_is_one_request_for_its_chunk_and_a_second_one_none() {
    let world = World::new();
    let (key, bytes) = world.file("big", 16 * MIB);
    let stream = ReadStream::new();
    let at = 8 * MIB + 5;
    let got = world.fetcher.read(&key, 16 * MIB, at..at + 4096, &stream, PATIENCE).await.expect("read");
    assert_eq!(got, &bytes[at as usize..][..4096]);
    assert_eq!(world.cloud.take_requests(), [(8 * MIB..8 * MIB + CHUNK, Urgency::Interactive)]);
    world.settle().await;

    let again = world.fetcher.read(&key, 16 * MIB, at + 1..at + 9, &stream, PATIENCE);
    let mut again = std::pin::pin!(again);
    assert!(poll!(&mut again).is_ready(), "cached bytes are there at the first poll");
}

#[tokio::test]
async fn small_files_come_whole_and_empty_files_come_from_nowhere() {
    let world = World::new();
    let (key, bytes) = world.file("note", 200 << 10);
    let stream = ReadStream::new();
    let got = world.fetcher.read(&key, 200 << 10, 0..100, &stream, PATIENCE).await.expect("read");
    assert_eq!(got, &bytes[..100]);
    world.settle().await;
    assert!(world.cache.is_complete(&key, 200 << 10));
    assert_eq!(world.cloud.take_requests().len(), 1);

    let nothing = world.fetcher.read(&super::key("none", "1"), 0, 0..4096, &stream, PATIENCE).await;
    assert!(nothing.expect("read").is_empty());
    assert_eq!(world.cloud.requests(), 0);
}

#[tokio::test]
async fn readers_of_one_chunk_share_one_request_and_leaving_cancels_nobody() {
    let world = World::new();
    let (key, bytes) = world.file("big", 4 * MIB);
    world.cloud.hold(Some(Urgency::Interactive));
    let streams: Vec<ReadStream> = (0..3).map(|_| ReadStream::new()).collect();
    let mut first = Box::pin(world.fetcher.read(&key, 4 * MIB, 0..10, &streams[0], PATIENCE));
    let mut second = Box::pin(world.fetcher.read(&key, 4 * MIB, 5..5000, &streams[1], PATIENCE));
    let mut third = Box::pin(world.fetcher.read(&key, 4 * MIB, CHUNK - 10..CHUNK + 10, &streams[2], PATIENCE));
    for reading in [&mut first, &mut second, &mut third] {
        assert!(poll!(reading).is_pending());
    }
    drop(first);
    world.settle().await;
    world.cloud.hold(None);
    assert_eq!(second.await.expect("read"), &bytes[5..5000]);
    assert_eq!(third.await.expect("read"), &bytes[CHUNK as usize - 10..CHUNK as usize + 10]);
    let asked: Vec<_> = world.cloud.take_requests().into_iter().map(|(range, _)| range).collect();
    assert_eq!(asked, [0..CHUNK, CHUNK..2 * CHUNK]);
}

#[tokio::test]
async fn reading_on_asks_for_every_byte_once_in_long_requests() {
    let world = World::new();
    let size = 48 * MIB + 12345;
    let (key, bytes) = world.file("film", size);
    let stream = ReadStream::new();
    for at in (0..size).step_by(CHUNK as usize) {
        let range = at..at + CHUNK;
        let got = world.fetcher.read(&key, size, range, &stream, PATIENCE).await.expect("read");
        assert!(got == bytes[at as usize..(at + CHUNK).min(size) as usize], "at {at}");
    }
    world.settle().await;
    let requests = world.cloud.take_requests();
    let mut seen = RangeSet::new();
    for (range, _) in &requests {
        assert!(seen.within(range.clone()).is_empty(), "{range:?} was asked for twice: {requests:?}");
        seen.insert(range.clone());
        assert!(range.end - range.start <= 4 * MIB);
    }
    assert!(seen.is_complete(size));
    assert!(requests.len() < 40, "{} requests", requests.len());
    assert!(requests.iter().filter(|(_, urgency)| *urgency == Urgency::Background).count() >= 8);
    assert!(world.cache.is_complete(&key, size));
}

#[tokio::test]
async fn readahead_keeps_to_its_limits_while_the_line_is_slow() {
    let world = World::new();
    let size = 80 * MIB;
    // One content for all: what matters is who asks.
    let bytes = Bytes::from(vec![7; size as usize]);
    let keys: Vec<CacheKey> = ["a", "b", "c"].iter().map(|name| key(name, "1")).collect();
    let streams: Vec<ReadStream> = (0..3).map(|_| ReadStream::new()).collect();
    for key in &keys {
        world.cloud.put(key, bytes.clone());
        // What is here already makes the window grow without any request.
        assert!(world.cache.insert(key, size, 0, &bytes[..12 * MIB as usize]));
    }
    world.cloud.hold(Some(Urgency::Background));
    for (key, stream) in keys.iter().zip(&streams) {
        for at in (0..12 * MIB).step_by(CHUNK as usize) {
            world.fetcher.read(key, size, at..at + CHUNK, stream, PATIENCE).await.expect("here");
        }
        world.settle().await;
    }
    let requests = world.cloud.take_requests();
    assert_eq!(requests.len(), 8, "four for a file, eight in all: {requests:?}");
    assert!(requests.iter().all(|(_, urgency)| *urgency == Urgency::Background));

    let at = 70 * MIB;
    let jump = world.fetcher.read(&keys[0], size, at..at + 1, &streams[0], PATIENCE).await;
    assert_eq!(jump.expect("demand passes readahead").len(), 1);
}

#[tokio::test]
async fn a_closed_handle_ends_its_readahead() {
    let world = World::new();
    let size = 64 * MIB;
    let (key, bytes) = world.file("film", size);
    assert!(world.cache.insert(&key, size, 0, &bytes[..8 * MIB as usize]));
    world.cloud.hold(Some(Urgency::Background));
    let stream = ReadStream::new();
    for at in (0..8 * MIB).step_by(CHUNK as usize) {
        world.fetcher.read(&key, size, at..at + CHUNK, &stream, PATIENCE).await.expect("here");
    }
    world.settle().await;
    let asked: u64 = world.cloud.take_requests().iter().map(|(range, _)| range.end - range.start).sum();
    assert!(asked >= 8 * MIB);
    drop(stream);
    world.cloud.hold(None);
    world.settle().await;
    let arrived = world.cache.cached_bytes(&key) - 8 * MIB;
    assert!(arrived <= asked / 8, "each request ends at its next chunk: {arrived} of {asked}");
    let got = world.fetcher.read(&key, size, 9 * MIB..9 * MIB + 5, &ReadStream::new(), PATIENCE).await;
    assert_eq!(got.expect("what was given up can be asked for again"), &bytes[9 * MIB as usize..][..5]);
}

#[tokio::test]
async fn a_failed_readahead_is_nobodys_error() {
    let world = World::new();
    let size = 32 * MIB;
    let (key, bytes) = world.file("film", size);
    world.cloud.fail(Some((RemoteErrorKind::Throttled, Urgency::Background)));
    let stream = ReadStream::new();
    for at in (0..8 * MIB).step_by(CHUNK as usize) {
        let got = world.fetcher.read(&key, size, at..at + CHUNK, &stream, PATIENCE).await.expect("read");
        assert!(got == bytes[at as usize..(at + CHUNK) as usize]);
    }
}

/// Eight uploads of a slow line hold every place that readahead could have, for minutes.
#[tokio::test]
async fn a_readahead_that_never_has_its_turn_is_not_waited_for() {
    let world = World::new();
    let size = 12 * MIB;
    let (key, bytes) = world.file("film", size);
    world.cloud.hold(Some(Urgency::Background));
    let stream = ReadStream::new();
    let mut waited = Duration::ZERO;
    for at in (0..size).step_by(CHUNK as usize) {
        let mut reading = Box::pin(world.fetcher.read(&key, size, at..at + CHUNK, &stream, PATIENCE));
        let got = loop {
            tokio::select! {
                biased;
                got = &mut reading => break got,
                () = world.settle() => {}
            }
            if let std::task::Poll::Ready(got) = poll!(&mut reading) {
                break got;
            }
            world.place.clock.advance(Duration::from_millis(100));
            waited += Duration::from_millis(100);
        };
        assert!(got.expect("read") == bytes[at as usize..(at + CHUNK) as usize], "at {at}, after {waited:?}");
    }
    assert!(waited <= Duration::from_secs(4), "{waited:?} for what needs three parts");
    assert_eq!(world.cloud.held(), 0, "what is not needed any more does not wait for its turn");
    world.settle().await;
    assert_eq!(world.fetcher.running(), 0);
}

#[tokio::test]
async fn failures_say_what_happened() {
    let world = World::new();
    let (old, _) = world.file("doc", MIB);
    let stream = ReadStream::new();
    let read = async |key: &CacheKey| world.fetcher.read(key, MIB, 0..10, &stream, PATIENCE).await;
    world.cloud.fail(Some((RemoteErrorKind::Offline, Urgency::Interactive)));
    assert!(matches!(read(&old).await, Err(FetchError::Offline)));
    world.cloud.fail(Some((RemoteErrorKind::Malware, Urgency::Interactive)));
    assert!(matches!(read(&old).await, Err(FetchError::Remote(error)) if error.kind == RemoteErrorKind::Malware));
    world.cloud.fail(None);
    world.cloud.put(&key("doc", "2"), content(MIB, 77));
    assert!(matches!(read(&old).await, Err(FetchError::Stale)), "another version is no answer");
    assert!(read(&key("doc", "2")).await.is_ok());
    world.cloud.report_total(999);
    let photo = key("photo", "1");
    world.cloud.put(&photo, content(MIB, 78));
    assert!(matches!(read(&photo).await, Err(FetchError::Size { actual: 999 })));
}

#[tokio::test]
async fn cached_bytes_of_an_old_version_still_serve_the_handle_that_reads_it() {
    let world = World::new();
    let (old, bytes) = world.file("doc", MIB);
    let stream = ReadStream::new();
    world.fetcher.read(&old, MIB, 0..10, &stream, PATIENCE).await.expect("read");
    world.settle().await;
    world.cloud.put(&key("doc", "2"), content(MIB, 77));
    let here = world.fetcher.read(&old, MIB, 0..CHUNK, &stream, PATIENCE).await;
    assert_eq!(here.expect("cached"), &bytes[..CHUNK as usize]);
    let there = world.fetcher.read(&old, MIB, 5 * CHUNK..6 * CHUNK, &stream, PATIENCE).await;
    assert!(matches!(there, Err(FetchError::Stale)));
}

#[tokio::test]
async fn patience_ends_the_wait_and_not_the_download() {
    let world = World::new();
    let (key, bytes) = world.file("doc", MIB);
    world.cloud.hold(Some(Urgency::Interactive));
    let stream = ReadStream::new();
    let mut reading = Box::pin(world.fetcher.read(&key, MIB, 0..10, &stream, PATIENCE));
    assert!(poll!(&mut reading).is_pending());
    world.place.clock.advance(PATIENCE);
    assert!(matches!(reading.await, Err(FetchError::TimedOut)));
    world.cloud.hold(None);
    world.settle().await;
    assert_eq!(world.cloud.take_requests().len(), 1);
    let got = world.fetcher.read(&key, MIB, 0..10, &stream, PATIENCE).await.expect("it came after all");
    assert_eq!((got, world.cloud.requests()), (bytes[..10].to_vec().into(), 0));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_continued_where_it_broke() {
    let world = World::new();
    let size = 256 << 10;
    let (key, bytes) = world.file("doc", size);
    world.cloud.cut_after(Some(100_000));
    let got = world.fetcher.read(&key, size, 0..size, &ReadStream::new(), PATIENCE).await.expect("read");
    assert!(got == bytes);
    let starts: Vec<u64> = world.cloud.take_requests().iter().map(|(range, _)| range.start).collect();
    assert_eq!(starts, [0, 100_000, 200_000]);

    let (key, _) = world.file("other", size);
    world.cloud.cut_after(Some(0));
    let got = world.fetcher.read(&key, size, 0..10, &ReadStream::new(), PATIENCE).await;
    assert!(matches!(got, Err(FetchError::Offline)), "no progress, no repetition");
    assert_eq!(world.cloud.take_requests().len(), 1);
}

#[tokio::test]
async fn without_room_in_the_cache_reading_on_still_asks_for_every_byte_once() {
    let world = World::with(Limits { max_size: 0, min_free: 0 }, Settings::default());
    let size = 20 * MIB;
    let (key, bytes) = world.file("film", size);
    let stream = ReadStream::new();
    for at in (0..size).step_by(CHUNK as usize) {
        let got = world.fetcher.read(&key, size, at..at + CHUNK, &stream, PATIENCE).await.expect("read");
        assert!(got == bytes[at as usize..(at + CHUNK) as usize], "at {at}");
    }
    world.settle().await;
    let asked: u64 = world.cloud.take_requests().iter().map(|(range, _)| range.end - range.start).sum();
    assert_eq!(asked, size);
    assert_eq!(world.cache.usage().bytes, 0);
}

#[tokio::test]
async fn filling_brings_the_ranges_to_the_sink_whether_cached_before_or_not() {
    let world = World::new();
    let size = 10 * MIB + 5;
    let (key, bytes) = world.file("doc", size);
    assert!(world.cache.insert(&key, size, MIB, &bytes[MIB as usize..2 * MIB as usize]));
    let got: Arc<Mutex<Vec<u8>>> = Arc::new(Mutex::new(vec![0; size as usize]));
    let sink = got.clone();
    let ranges: RangeSet = [100..3 * MIB, 4 * MIB + 7..size].into_iter().collect();
    world
        .fetcher
        .fill(
            &key,
            size,
            &ranges,
            Urgency::Upload,
            Some(Arc::new(move |at, bytes| {
                sink.lock().expect("not poisoned")[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
                Ok(())
            })),
        )
        .await
        .expect("filled");
    let got = got.lock().expect("not poisoned").clone();
    for range in ranges.iter() {
        let range = range.start as usize..range.end as usize;
        assert!(got[range.clone()] == bytes[range.clone()], "{range:?}");
    }
    assert!(got[3 * MIB as usize..4 * MIB as usize + 7].iter().all(|b| *b == 0), "nothing else is written");
    let requests = world.cloud.take_requests();
    assert!(requests.iter().all(|(_, urgency)| *urgency == Urgency::Upload));
    assert!(requests.iter().all(|(range, _)| range.end <= MIB || range.start >= 2 * MIB), "{requests:?}");

    let full = Some::<crate::cache::Sink>(Arc::new(|_, _| Err(std::io::ErrorKind::StorageFull.into())));
    let error = world.fetcher.fill(&key, size, &RangeSet::of(0..1), Urgency::Upload, full).await;
    assert!(matches!(error, Err(FetchError::Local(_))));
}
