//! The store: what is kept, what proves itself, what goes.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{Place, ROOMY, content, key};
use crate::base::clock::{ManualClock, Timestamp};
use crate::base::disk::{Disk, DiskFile, Open, RealDisk, Room};
use crate::base::ranges::RangeSet;
use crate::cache::{CHUNK, CacheKey, ChunkCache, Limits, Lookup};

fn hit(cache: &ChunkCache, key: &CacheKey, size: u64, range: std::ops::Range<u64>) -> Option<Vec<u8>> {
    match cache.read_at(key, size, range) {
        Lookup::Hit(bytes) => Some(bytes.to_vec()),
        Lookup::Missing(_) => None,
    }
}

#[test]
fn what_was_inserted_is_read_and_the_rest_is_missing_in_whole_chunks() {
    let place = Place::new();
    let cache = place.open(ROOMY);
    let size = 3 * CHUNK + 1000;
    let (key, bytes) = (key("file", "1"), content(size, 1));
    assert_eq!(cache.read_at(&key, size, 10..20), Lookup::Missing(RangeSet::of(0..CHUNK)));
    assert!(cache.insert(&key, size, CHUNK, &bytes[CHUNK as usize..2 * CHUNK as usize]));
    assert!(cache.insert(&key, size, 3 * CHUNK, &bytes[3 * CHUNK as usize..]));

    assert_eq!(hit(&cache, &key, size, CHUNK + 5..CHUNK + 9).as_deref(), Some(&bytes[CHUNK as usize + 5..][..4]));
    let beyond = hit(&cache, &key, size, size - 7..size + 5000);
    assert_eq!(beyond.as_deref(), Some(&bytes[size as usize - 7..]), "the end cuts a read short");
    let expected: RangeSet = [0..CHUNK, 2 * CHUNK..3 * CHUNK].into_iter().collect();
    assert_eq!(cache.read_at(&key, size, 0..size), Lookup::Missing(expected));
    assert!(!cache.is_complete(&key, size));
    assert_eq!(cache.cached_bytes(&key), CHUNK + 1000);

    assert!(cache.insert(&key, size, 0, &bytes), "chunks that are here already do no harm");
    assert_eq!(hit(&cache, &key, size, 0..size), Some(bytes));
    assert!(cache.is_complete(&key, size));
    assert_eq!(cache.usage().bytes, size);
}

#[test]
fn an_empty_file_is_complete_and_needs_no_disk() {
    let place = Place::new();
    let cache = place.open(ROOMY);
    assert_eq!(hit(&cache, &key("empty", "1"), 0, 0..4096), Some(Vec::new()));
    assert!(cache.is_complete(&key("empty", "1"), 0));
    assert!(place.files("").is_empty());
}

#[test]
fn versions_and_items_never_meet() {
    let place = Place::new();
    let cache = place.open(ROOMY);
    assert!(cache.insert(&key("a", "1"), 10, 0, b"version 1!"));
    for other in [key("a", "2"), key("b", "1")] {
        assert_eq!(hit(&cache, &other, 10, 0..10), None);
    }
    assert_eq!(hit(&cache, &key("a", "1"), 11, 0..10), None, "nor do two sizes of one version");
}

#[test]
fn content_and_the_order_of_use_survive_a_restart() {
    let place = Place::new();
    let bytes = content(2 * CHUNK, 2);
    {
        let cache = place.open(ROOMY);
        for name in ["first", "second"] {
            assert!(cache.insert(&key(name, "1"), 2 * CHUNK, 0, &bytes));
        }
    }
    // Times of files tick coarsely; the order is set by hand.
    let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let digest = key("second", "1").digest().hex();
    let map = place.files(".map").into_iter().find(|path| path.ends_with(format!("{digest}.map"))).expect("its map");
    std::fs::File::options().write(true).open(map).and_then(|file| file.set_modified(old)).expect("set");

    let cache = place.open(ROOMY);
    assert_eq!(cache.usage().files, 2);
    assert_eq!(cache.usage().bytes, 4 * CHUNK);
    assert_eq!(cache.evict_now(2 * CHUNK), 2 * CHUNK);
    assert_eq!(hit(&cache, &key("second", "1"), 2 * CHUNK, 0..1), None, "the longer unused one went");
    assert_eq!(hit(&cache, &key("first", "1"), 2 * CHUNK, 0..2 * CHUNK), Some(bytes));
}

#[test]
fn any_flipped_bit_of_content_or_map_is_a_miss_and_never_an_answer() {
    let size = CHUNK + 3000;
    let bytes = content(size, 3);
    let written = || {
        let place = Place::new();
        assert!(place.open(ROOMY).insert(&key("f", "1"), size, 0, &bytes));
        place
    };
    let map_len = std::fs::metadata(&written().files(".map")[0]).expect("there").len();
    let flips = (0..map_len * 8).step_by(3).map(|bit| (".map", bit));
    let flips = flips.chain([0, 4095, CHUNK * 8 - 1, CHUNK * 8, size * 8 - 1].map(|bit| (".data", bit)));
    let place = written();
    for (file, bit) in flips {
        let path = &place.files(file)[0];
        let original = std::fs::read(path).expect("read");
        let mut damaged = original.clone();
        damaged[(bit / 8) as usize] ^= 1 << (bit % 8);
        let map = place.files(".map")[0].clone();
        let map_bytes = std::fs::read(&map).expect("read");
        std::fs::write(path, damaged).expect("damaged");

        let cache = place.open(ROOMY);
        let first = hit(&cache, &key("f", "1"), size, 0..CHUNK);
        let second = hit(&cache, &key("f", "1"), size, CHUNK..size);
        assert!(first.as_ref().is_none_or(|found| found[..] == bytes[..CHUNK as usize]), "{file} bit {bit}");
        assert!(second.as_ref().is_none_or(|found| found[..] == bytes[CHUNK as usize..]), "{file} bit {bit}");
        assert!(first.is_none() || second.is_none(), "{file} bit {bit} went unnoticed");

        drop(cache);
        // Both, because losing a chunk is written to the map.
        std::fs::write(&map, map_bytes).expect("restored");
        std::fs::write(path, original).expect("restored");
    }
}

/// A daemon runs for months, and a disk may lose a bit on any day.
#[test]
fn a_bit_that_flips_under_a_running_daemon_is_noticed_when_the_file_is_opened_again() {
    let place = Place::new();
    let cache = place.open(ROOMY);
    let (size, key) = (2 * CHUNK + 50, key("f", "1"));
    let bytes = content(size, 14);
    assert!(cache.insert(&key, size, 0, &bytes));
    cache.opened(&key);
    assert_eq!(hit(&cache, &key, size, 0..size).as_ref(), Some(&bytes));

    let data = RealDisk.open(&place.files(".data")[0], Open::ReadWrite).expect("opens");
    data.write_at(&[bytes[CHUNK as usize + 9] ^ 4], CHUNK + 9).expect("damaged");
    cache.opened(&key);
    assert_eq!(cache.read_at(&key, size, CHUNK + 100..CHUNK + 110), Lookup::Missing(RangeSet::of(CHUNK..2 * CHUNK)));
    assert_eq!(hit(&cache, &key, size, 0..CHUNK).as_deref(), Some(&bytes[..CHUNK as usize]), "the others are here");
    assert!(cache.insert(&key, size, CHUNK, &bytes[CHUNK as usize..2 * CHUNK as usize]));
    assert_eq!(hit(&cache, &key, size, 0..size).as_ref(), Some(&bytes));
    assert_eq!(cache.usage().bytes, size);

    // An edit that starts from it takes no damage along either.
    data.write_at(&[bytes[9] ^ 4], 9).expect("damaged");
    cache.opened(&key);
    let target = RealDisk.open(&place.folder.path().join("draft"), Open::New).expect("made");
    let copied = cache.copy_ranges_into(&key, size, &*target, &|_| true).expect("copied");
    assert_eq!(copied, RangeSet::of(CHUNK..size));
}

#[test]
fn within_one_opening_no_chunk_is_compared_twice() {
    let place = Place::new();
    let cache = place.open(ROOMY);
    let (size, key) = (2 * CHUNK, key("f", "1"));
    let bytes = content(size, 15);
    assert!(cache.insert(&key, size, 0, &bytes));
    cache.opened(&key);
    assert!(hit(&cache, &key, size, 0..10).is_some());
    // Who would compare it again would notice; the chunk beside it was not read yet.
    let data = RealDisk.open(&place.files(".data")[0], Open::ReadWrite).expect("opens");
    for at in [20, CHUNK + 20] {
        data.write_at(&[bytes[at as usize] ^ 4], at).expect("damaged");
    }
    assert!(hit(&cache, &key, size, 10..CHUNK).is_some(), "once in an opening is enough");
    assert!(cache.read_at(&key, size, 0..size) == Lookup::Missing(RangeSet::of(CHUNK..size)));
}

#[test]
fn a_cut_off_content_file_is_a_miss_and_heals() {
    let place = Place::new();
    let (size, key) = (2 * CHUNK, key("f", "1"));
    let bytes = content(size, 4);
    place.open(ROOMY).insert(&key, size, 0, &bytes);
    let data = place.files(".data")[0].clone();
    std::fs::File::options().write(true).open(data).and_then(|file| file.set_len(CHUNK + 1)).expect("cut");
    let cache = place.open(ROOMY);
    assert_eq!(hit(&cache, &key, size, CHUNK..size), None);
    assert!(!cache.is_complete(&key, size));
    assert!(cache.insert(&key, size, CHUNK, &bytes[CHUNK as usize..]));
    assert_eq!(hit(&cache, &key, size, 0..size), Some(bytes));
    assert_eq!(cache.usage().bytes, size, "what was lost is not counted");
}

#[test]
fn a_death_in_the_middle_of_the_very_first_start_does_not_stop_the_next() {
    let place = Place::new();
    let folder = place.folder.path().join("content");
    std::fs::create_dir(&folder).expect("a folder");
    let unfinished = folder.join(".CACHEDIR.TAG.77.0.new");
    std::fs::write(&unfinished, "Signature: 8a47").expect("a file");
    let cache = place.open(ROOMY);
    assert!(!unfinished.exists() && cache.usage().bytes == 0);
}

#[test]
fn strange_files_are_swept_but_a_foreign_folder_is_refused() {
    let place = Place::new();
    place.open(ROOMY).insert(&key("f", "1"), 5, 0, b"hello");
    let root = place.folder.path().join("content");
    let half = key("half", "1").digest().hex();
    std::fs::create_dir_all(root.join("zz/deep")).expect("made");
    std::fs::create_dir_all(root.join(&half[..2])).expect("made");
    for stray in ["note", "zz/deep/file", &format!("{}/{half}.data", &half[..2])] {
        std::fs::write(root.join(stray), "x").expect("written");
    }
    let cache = place.open(ROOMY);
    assert_eq!(hit(&cache, &key("f", "1"), 5, 0..5).as_deref(), Some(&b"hello"[..]));
    assert_eq!(place.files("").len(), 2, "{:?}", place.files(""));
    assert!(!root.join("note").exists() && !root.join("zz").exists());

    let home = tempfile::tempdir().expect("a folder");
    std::fs::write(home.path().join("thesis.odt"), "years of work").expect("written");
    let clock = Arc::new(ManualClock::new(Timestamp(0)));
    let refused = ChunkCache::open(home.path(), ROOMY, RealDisk::shared(), clock);
    assert!(refused.is_err());
    assert!(home.path().join("thesis.odt").exists());
}

#[test]
fn the_longest_unused_goes_first_and_pinned_content_stays() {
    let place = Place::new();
    let cache = place.open(Limits { max_size: 10 * CHUNK, min_free: 0 });
    let bytes = content(CHUNK, 5);
    let pinned = cache.pin(&key("0", "1"));
    for name in 0..9 {
        place.clock.advance(Duration::from_secs(1));
        assert!(cache.insert(&key(&name.to_string(), "1"), CHUNK, 0, &bytes));
    }
    assert!(hit(&cache, &key("1", "1"), CHUNK, 0..1).is_some(), "1 is now the last used");
    assert!(cache.insert(&key("9", "1"), CHUNK, 0, &bytes), "room is made");
    let here: Vec<bool> =
        (0..10).map(|name: u32| hit(&cache, &key(&name.to_string(), "1"), CHUNK, 0..1).is_some()).collect();
    assert_eq!(here, [true, true, false, false, true, true, true, true, true, true]);
    assert!(cache.usage().bytes <= 85 * 10 * CHUNK / 100);
    assert_eq!(place.files(".data").len() as u64, cache.usage().files, "gone from the disk, too");

    cache.evict_now(0);
    assert_eq!(cache.usage().bytes, CHUNK, "only the pinned one is left");
    drop(pinned);
    cache.evict_now(0);
    assert_eq!(cache.usage().bytes, 0);
}

#[test]
fn content_waiting_for_its_upload_counts() {
    let place = Place::new();
    let cache = place.open(Limits { max_size: 10 * CHUNK, min_free: 0 });
    let bytes = content(CHUNK, 6);
    assert!(cache.insert(&key("a", "1"), CHUNK, 0, &bytes));
    cache.set_reserved(10 * CHUNK);
    assert!(!cache.insert(&key("b", "1"), CHUNK, 0, &bytes));
    cache.set_reserved(0);
    place.clock.advance(Duration::from_secs(2));
    assert!(cache.insert(&key("b", "1"), CHUNK, 0, &bytes));
}

#[test]
fn forgotten_content_goes_at_once_or_with_its_last_pin_and_wrong_content_always_at_once() {
    let place = Place::new();
    let cache = place.open(ROOMY);
    let (a, b) = (key("a", "1"), key("b", "1"));
    for key in [&a, &b] {
        assert!(cache.insert(key, 5, 0, b"hello"));
    }
    cache.forget(&a);
    assert_eq!(hit(&cache, &a, 5, 0..5), None);
    let (one, two) = (cache.pin(&b), cache.pin(&b));
    cache.forget(&b);
    drop(one);
    assert!(hit(&cache, &b, 5, 0..5).is_some());
    drop(two);
    assert_eq!(hit(&cache, &b, 5, 0..5), None);
    assert!(place.files("").is_empty());

    let _pin = cache.pin(&a);
    assert!(cache.insert(&a, 5, 0, b"wrong"));
    cache.discard(&a);
    assert_eq!(hit(&cache, &a, 5, 0..5), None);
    assert!(cache.insert(&a, 5, 0, b"right"));
    assert_eq!(hit(&cache, &a, 5, 0..5).as_deref(), Some(&b"right"[..]));
}

#[test]
fn an_adopted_file_is_complete_and_proves_itself_from_its_first_read_on() {
    let place = Place::new();
    let spool = place.folder.path().join("draft");
    let size = 2 * CHUNK + 77;
    let (key, bytes) = (key("f", "2"), content(size, 7));
    std::fs::write(&spool, &bytes).expect("written");
    {
        let cache = place.open(ROOMY);
        assert!(cache.adopt(&key, size + 1, &spool, None).is_err(), "another size");
        assert!(spool.exists());
        cache.insert(&key, size, 0, &content(CHUNK, 99));
        cache.adopt(&key, size, &spool, None).expect("adopted");
        assert!(!spool.exists());
        assert!(cache.is_complete(&key, size));
        assert_eq!(cache.usage().bytes, size);
        assert_eq!(hit(&cache, &key, size, 0..CHUNK).as_deref(), Some(&bytes[..CHUNK as usize]));
    }
    let cache = place.open(ROOMY);
    assert_eq!(hit(&cache, &key, size, 0..size), Some(bytes.clone()));
    drop(cache);
    let mut damaged = bytes;
    damaged[0] ^= 1;
    std::fs::write(&place.files(".data")[0], damaged).expect("damaged");
    assert_eq!(hit(&place.open(ROOMY), &key, size, 0..1), None);
}

#[test]
fn what_is_here_is_copied_and_what_is_damaged_is_not() {
    let place = Place::new();
    let size = 4 * CHUNK;
    let (key, bytes) = (key("f", "1"), content(size, 8));
    {
        let cache = place.open(ROOMY);
        cache.insert(&key, size, 0, &bytes[..2 * CHUNK as usize]);
        cache.insert(&key, size, 3 * CHUNK, &bytes[3 * CHUNK as usize..]);
    }
    let data = &place.files(".data")[0];
    let file = RealDisk.open(data, Open::ReadWrite).expect("open");
    file.write_at(&[bytes[CHUNK as usize] ^ 1], CHUNK).expect("damaged");

    let cache = place.open(ROOMY);
    assert!(hit(&cache, &key, size, 0..1).is_some(), "one chunk is verified before the copy");
    let target = RealDisk.open(&place.folder.path().join("draft"), Open::New).expect("made");
    let copied = cache.copy_ranges_into(&key, size, &*target, &|_| true).expect("copied");
    assert_eq!(copied, [0..CHUNK, 3 * CHUNK..4 * CHUNK].into_iter().collect());
    for range in copied.iter() {
        let mut found = vec![0; CHUNK as usize];
        target.read_at(&mut found, range.start).expect("read");
        assert!(found[..] == bytes[range.start as usize..range.end as usize]);
    }
}

#[test]
fn a_copy_needs_room_unless_the_file_system_shares_blocks_and_then_is_as_right() {
    let place = Place::new();
    let disk = Arc::new(SmallDisk { full: Arc::default(), shares: Arc::default(), free: AtomicU64::new(1 << 40) });
    let size = 4 * CHUNK;
    let (key, bytes) = (key("f", "1"), content(size, 10));
    let folder = place.folder.path().join("content");
    let open = || ChunkCache::open(&folder, ROOMY, disk.clone(), Arc::new(place.clock.clone())).expect("opens");
    {
        let cache = open();
        cache.insert(&key, size, 0, &bytes[..2 * CHUNK as usize]);
        cache.insert(&key, size, 3 * CHUNK, &bytes[3 * CHUNK as usize..]);
    }
    let data = RealDisk.open(&place.files(".data")[0], Open::ReadWrite).expect("opens");
    data.write_at(&[bytes[CHUNK as usize] ^ 1], CHUNK).expect("damaged");
    data.write_at(&[1; 10], 2 * CHUNK).expect("what is not here is not zeros, either");
    let cache = open();
    assert!(hit(&cache, &key, size, 0..1).is_some(), "one chunk is verified before the copy");

    let target = RealDisk.open(&place.folder.path().join("draft"), Open::New).expect("made");
    target.set_len(size).expect("sized");
    let asked = std::cell::Cell::new(0);
    let full = |more| {
        asked.set(asked.get() + more);
        false
    };
    let copied = cache.copy_ranges_into(&key, size, &*target, &full).expect("nothing went wrong");
    assert_eq!((copied, asked.get()), (RangeSet::new(), 3 * CHUNK), "asked for all of it");
    assert_eq!(target.next_data(0).expect("known"), None, "and nothing was written");

    disk.shares.store(true, Ordering::Relaxed);
    let copied = cache.copy_ranges_into(&key, size, &*target, &full).expect("shared");
    assert_eq!(copied, [0..CHUNK, 3 * CHUNK..size].into_iter().collect());
    assert_eq!(asked.get(), 3 * CHUNK, "nobody asked for room");
    let mut wanted = bytes;
    wanted[CHUNK as usize..3 * CHUNK as usize].fill(0);
    assert!(RealDisk.read(&place.folder.path().join("draft")).expect("read") == wanted);
}

/// A disk that can be full, and can share blocks, as far as one can see.
struct SmallDisk {
    full: Arc<AtomicBool>,
    shares: Arc<AtomicBool>,
    free: AtomicU64,
}

struct SmallFile {
    file: Arc<dyn DiskFile>,
    full: Arc<AtomicBool>,
    shares: Arc<AtomicBool>,
}

impl Disk for SmallDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let (full, shares) = (self.full.clone(), self.shares.clone());
        Ok(Arc::new(SmallFile { file: RealDisk.open(path, how)?, full, shares }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    otherwise_real!();

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        Ok(self.free.load(Ordering::Relaxed))
    }
    fn clone_file(&self, from: &Path, to: &Path, room: Room<'_>) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.clone_file(from, to, room)
    }
}

impl DiskFile for SmallFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buffer, at)
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        if self.full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_at(bytes, at)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn punch_hole(&self, range: std::ops::Range<u64>) -> io::Result<()> {
        self.file.punch_hole(range)
    }
    fn share_all_with(&self, to: &dyn DiskFile) -> bool {
        let shares = self.shares.load(Ordering::Relaxed);
        shares && self.len().and_then(|len| self.copy_range_to(0..len, to)).is_ok()
    }
}

#[test]
fn a_full_disk_turns_keeping_off_for_a_while_and_reading_never() {
    let place = Place::new();
    let disk = Arc::new(SmallDisk { full: Arc::default(), shares: Arc::default(), free: AtomicU64::new(100 * CHUNK) });
    let limits = Limits { max_size: 1 << 30, min_free: 10 * CHUNK };
    let folder = place.folder.path().join("content");
    let cache = ChunkCache::open(&folder, limits, disk.clone(), Arc::new(place.clock.clone())).expect("opens");
    let bytes = content(CHUNK, 9);
    assert!(cache.insert(&key("a", "1"), CHUNK, 0, &bytes));
    let _pin = cache.pin(&key("a", "1"));

    disk.full.store(true, Ordering::Relaxed);
    assert!(!cache.insert(&key("b", "1"), CHUNK, 0, &bytes));
    assert!(!cache.usage().keeping);
    assert_eq!(hit(&cache, &key("b", "1"), CHUNK, 0..CHUNK), None);
    assert_eq!(hit(&cache, &key("a", "1"), CHUNK, 0..CHUNK).as_deref(), Some(&bytes[..]));
    disk.full.store(false, Ordering::Relaxed);
    assert!(!cache.insert(&key("b", "1"), CHUNK, 0, &bytes), "not at once again");
    place.clock.advance(Duration::from_secs(31));
    assert!(cache.insert(&key("b", "1"), CHUNK, 0, &bytes));

    disk.free.store(10 * CHUNK, Ordering::Relaxed);
    assert!(cache.insert(&key("c", "1"), CHUNK, 0, &bytes), "the floor of free space makes room");
    assert_eq!(hit(&cache, &key("b", "1"), CHUNK, 0..CHUNK), None, "by what is not pinned");
    disk.free.store(0, Ordering::Relaxed);
    assert!(!cache.insert(&key("d", "1"), CHUNK, 0, &bytes));
}
