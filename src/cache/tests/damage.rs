//! Content that does not have the hash of its version: damaged on the way, or the hash is what is wrong.

use std::time::Duration;

use super::reading::{PATIENCE, World};
use super::{content, key};
use crate::base::hash::QuickXorHash;
use crate::base::ids::ContentTag;
use crate::cache::{CacheKey, FetchError, ReadStream};

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
