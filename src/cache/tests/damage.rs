//! Content that does not have the hash of its version: damaged on the way, or the hash is what is wrong.

use std::time::Duration;

use super::reading::{PATIENCE, World};
use super::{content, key};
use crate::base::hash::QuickXorHash;
use crate::base::ids::ContentTag;
use crate::cache::{CacheKey, FetchError, ReadStream, Settings};

const SIZE: u64 = 200 << 10;

/// A small file whose version names the hash of its bytes.
fn hashed(world: &World) -> (CacheKey, Vec<u8>) {
    let bytes = content(SIZE, 12);
    let mut key = key("doc", "");
    key.tag = ContentTag::from_hash(&QuickXorHash::of(&bytes), SIZE);
    world.cloud.put(&key, bytes.clone());
    (key, bytes)
}

/// Reads all of it and waits until it was compared; what the reader got.
async fn read(world: &World, key: &CacheKey) -> Result<Vec<u8>, FetchError> {
    let got = world.fetcher.read(key, SIZE, 0..SIZE, &ReadStream::new(), PATIENCE).await;
    world.settle().await;
    got.map(|bytes| bytes.to_vec())
}

#[tokio::test]
async fn damaged_content_is_dropped_and_fetched_again_however_often_it_differs() {
    let world = World::new();
    let (key, bytes) = hashed(&world);
    world.cloud.corrupt(&[5, 70_000]);
    for _ in 0..2 {
        assert!(read(&world, &key).await.expect("read") != bytes, "it is noticed only when the file is complete");
        assert_eq!(world.cache.cached_bytes(&key), 0, "and dropped then");
    }
    assert!(read(&world, &key).await.expect("read") == bytes);
    assert!(world.cache.is_complete(&key, SIZE));
}

#[tokio::test]
async fn content_that_comes_the_same_twice_is_right_and_the_hash_is_not() {
    let world = World::new();
    let (key, bytes) = hashed(&world);
    world.cloud.corrupt(&[5, 70_000, 5]);
    for kept in [false, false, true] {
        assert!(read(&world, &key).await.expect("read") != bytes);
        assert_eq!(world.cache.is_complete(&key, SIZE), kept);
    }
    let found = world.cache.quick_xor_hash(&key, SIZE).expect("complete");
    assert!(world.fetcher.is_trusted(&key, &found));
    assert!(!world.fetcher.is_trusted(&key, &QuickXorHash::of(b"other bytes")));
}

#[tokio::test]
async fn a_good_download_clears_the_memory_of_a_bad_one() {
    let world = World::new();
    let (key, bytes) = hashed(&world);
    world.cloud.corrupt(&[5]);
    read(&world, &key).await.expect("read");
    assert!(read(&world, &key).await.expect("read") == bytes);
    world.cache.discard(&key);
    world.cloud.corrupt(&[5]);
    read(&world, &key).await.expect("read");
    assert_eq!(world.cache.cached_bytes(&key), 0, "the service has shown that its hash is right");
}

#[tokio::test]
async fn content_that_never_comes_whole_is_refused_for_a_while() {
    let world = World::new();
    let (key, bytes) = hashed(&world);
    world.cloud.corrupt(&[1, 2, 3, 4, 5]);
    for _ in 0..4 {
        read(&world, &key).await.expect("nobody knows better yet");
    }
    world.cloud.take_requests();
    assert!(matches!(read(&world, &key).await, Err(FetchError::Damaged)));
    let all = crate::base::ranges::RangeSet::of(0..SIZE);
    let filled = world.fetcher.fill(&key, SIZE, &all, crate::remote::Urgency::Upload, None).await;
    assert!(matches!(filled, Err(FetchError::Damaged)));
    assert_eq!(world.cloud.requests(), 0);
    world.place.clock.advance(Duration::from_secs(60));
    read(&world, &key).await.expect("tried again");
    assert!(matches!(read(&world, &key).await, Err(FetchError::Damaged)), "still damaged");
    world.place.clock.advance(Duration::from_secs(60));
    assert!(read(&world, &key).await.expect("the line is well again") == bytes);
}

#[tokio::test]
async fn what_somebody_found_to_be_wrong_is_gone_from_disk_and_memory() {
    for limits in [super::ROOMY, crate::cache::Limits { max_size: 0, min_free: 0 }] {
        let world = World::with(limits, crate::cache::Settings::default());
        // Without a hash nobody compares it here.
        let (key, bytes) = world.file("doc", SIZE);
        world.cloud.corrupt(&[7]);
        let read = async || world.fetcher.read(&key, SIZE, 0..SIZE, &ReadStream::new(), PATIENCE).await;
        assert!(read().await.expect("read") != bytes);
        world.fetcher.disown(&key).await;
        assert!(read().await.expect("read") == bytes);
    }
}

/// The daemon ends between the last chunk of a download and the comparison.
fn a_download_that_nobody_compared(corrupt: &[usize]) -> (World, CacheKey, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let world = World::new();
    let (key, bytes) = hashed(&world);
    world.cloud.corrupt(corrupt);
    runtime.block_on(async {
        let _nothing = world.fetcher.compare_nothing();
        world.fetcher.read(&key, SIZE, 0..SIZE, &ReadStream::new(), PATIENCE).await.expect("read");
        while !world.cache.is_complete(&key, SIZE) {
            tokio::task::yield_now().await;
        }
    });
    // With the comparison that waits for its turn.
    drop(runtime);
    assert!(world.cache.is_complete(&key, SIZE), "all of it came");
    world.cloud.take_requests();
    let World { place, cloud, cache, fetcher } = world;
    drop((fetcher, cache));
    (World::at(place, cloud, super::ROOMY, Settings::default()), key, bytes)
}

#[test]
fn what_became_complete_before_the_daemon_ended_is_compared_by_the_next() {
    for damaged in [true, false] {
        let (world, key, bytes) = a_download_that_nobody_compared(if damaged { &[70_000] } else { &[] });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let first = read(&world, &key).await.expect("read");
            assert_eq!(first != bytes, damaged, "as right after the download: nobody knows better yet");
            assert_eq!(world.cache.is_complete(&key, SIZE), !damaged, "it is compared beside the read");
            assert!(read(&world, &key).await.expect("read") == bytes);
            assert_eq!(world.cloud.requests(), usize::from(damaged));
        });
    }
}

#[tokio::test]
async fn what_was_compared_is_not_compared_again_by_the_next_daemon_unless_it_is_other_content_now() {
    let world = World::new();
    let (key, bytes) = hashed(&world);
    assert!(read(&world, &key).await.expect("read") == bytes);
    let again = |world: World| {
        let World { place, cloud, cache, fetcher } = world;
        drop((fetcher, cache));
        World::at(place, cloud, super::ROOMY, Settings::default())
    };
    let world = again(world);
    assert!(world.cache.is_compared(&key, SIZE));
    assert!(world.cache.take_to_compare().is_empty(), "there is nothing to do for it");

    // A chunk is lost, comes back damaged, and nobody lives long enough to compare the file with it.
    let data = &world.place.files(".data")[0];
    let mut rotten = std::fs::read(data).expect("read");
    rotten[7] ^= 1;
    std::fs::write(data, rotten).expect("damaged");
    world.cache.opened(&key);
    let chunk = crate::cache::CHUNK;
    assert!(matches!(world.cache.read_at(&key, SIZE, 0..chunk), crate::cache::Lookup::Missing(_)));
    assert!(!world.cache.is_compared(&key, SIZE), "not all of it is here");
    let mut wrong = bytes[..chunk as usize].to_vec();
    wrong[100] ^= 1;
    assert!(world.cache.insert(&key, SIZE, 0, &wrong));
    let world = again(world);
    assert!(!world.cache.is_compared(&key, SIZE), "the seal is of other content");
    read(&world, &key).await.expect("read");
    assert!(read(&world, &key).await.expect("read") == bytes);
    assert!(world.cache.is_compared(&key, SIZE));

    // The same under another name is as good, and what the service has wrong twice is trusted by the next daemon, too.
    let renamed = CacheKey { tag: key.tag.clone(), ..super::key("other", "") };
    world.cache.carry_over(&key, &renamed, SIZE);
    assert!(world.cache.is_compared(&renamed, SIZE));
    world.cache.discard(&key);
    world.cloud.corrupt(&[5, 5]);
    for _ in 0..2 {
        read(&world, &key).await.expect("read");
    }
    let world = again(world);
    assert!(read(&world, &key).await.expect("read") != bytes);
    assert!(world.cache.is_complete(&key, SIZE), "it came like that twice");
}
