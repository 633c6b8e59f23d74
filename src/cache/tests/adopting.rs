//! Content that lies on another file system than the cache: it is copied, and nobody waits for that.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use super::{Place, ROOMY, content, key};
use crate::base::disk::{Disk, DiskFile, Open, RealDisk, Room};
use crate::cache::{CHUNK, CacheKey, ChunkCache, Limits, Lookup};

/// What a test holds of a copy that has begun: it goes on when this says so, or is gone.
type Copying = mpsc::Sender<()>;

/// Two disks: a file can be renamed within one folder and below it, and nowhere else.
struct TwoDisks {
    cache: PathBuf,
    free: AtomicU64,
    /// Who is told of copies.
    watched: Mutex<Option<mpsc::Sender<Copying>>>,
}

impl Disk for TwoDisks {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.open(path, how)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if from.starts_with(&self.cache) != to.starts_with(&self.cache) {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        RealDisk.rename(from, to)
    }
    otherwise_real!();

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        Ok(self.free.load(Ordering::SeqCst))
    }
    fn clone_file(&self, from: &Path, to: &Path, room: Room<'_>) -> io::Result<Arc<dyn DiskFile>> {
        let copied = RealDisk.clone_file(from, to, room)?;
        if let Some(watched) = &*self.watched.lock().expect("no panic") {
            let (go_on, told) = mpsc::channel();
            watched.send(go_on).expect("somebody watches");
            // Not for ever: a test that goes wrong must end.
            let _ = told.recv_timeout(Duration::from_secs(20));
        }
        Ok(copied)
    }
}

struct Bench {
    place: Place,
    disk: Arc<TwoDisks>,
}

impl Bench {
    fn new() -> Self {
        let place = Place::new();
        let cache = place.folder.path().join("content");
        let disk = TwoDisks { cache, free: AtomicU64::new(1 << 40), watched: Mutex::default() };
        Self { place, disk: Arc::new(disk) }
    }

    fn open(&self, limits: Limits) -> ChunkCache {
        let clock = Arc::new(self.place.clock.clone());
        let cache = ChunkCache::open(&self.disk.cache, limits, self.disk.clone(), clock).expect("the cache opens");
        cache.wait_counted();
        cache
    }

    fn spool(&self, bytes: &[u8]) -> PathBuf {
        let spool = self.place.folder.path().join("draft");
        std::fs::write(&spool, bytes).expect("written");
        spool
    }

    /// From now on copies are told here, and last until they are told to go on.
    fn watch(&self) -> mpsc::Receiver<Copying> {
        let (watched, copies) = mpsc::channel();
        *self.disk.watched.lock().expect("no panic") = Some(watched);
        copies
    }

    fn adopting(&self, cache: &ChunkCache, key: &CacheKey, bytes: &[u8]) -> std::thread::JoinHandle<io::Result<()>> {
        let (cache, key, size, spool) = (cache.clone(), key.clone(), bytes.len() as u64, self.spool(bytes));
        std::thread::spawn(move || cache.adopt(&key, size, &spool, None))
    }
}

fn begun(copies: &mpsc::Receiver<Copying>) -> Copying {
    copies.recv_timeout(Duration::from_secs(20)).expect("a copy begins")
}

#[test]
fn nobody_waits_for_the_cache_while_content_is_copied_from_another_file_system() {
    let bench = Bench::new();
    let cache = bench.open(ROOMY);
    let (film, other) = (key("film", "2"), key("other", "1"));
    let (bytes, small) = (content(3 * CHUNK + 5, 1), content(CHUNK, 2));
    assert!(cache.insert(&other, CHUNK, 0, &small));
    let copies = bench.watch();
    let adopting = bench.adopting(&cache, &film, &bytes);
    let copy = begun(&copies);

    // On a thread of its own: what waits for a lock would not notice a deadline.
    let (told, tells) = mpsc::channel();
    let (others, wanted) = (cache.clone(), small.clone());
    std::thread::spawn(move || {
        let read = others.read_at(&other, CHUNK, 0..CHUNK) == Lookup::Hit(wanted.into());
        let kept = others.insert(&key("third", "1"), CHUNK, 0, &small);
        drop(others.pin(&other));
        let _ = told.send((read, kept, others.usage().files));
    });
    let answer = tells.recv_timeout(Duration::from_secs(5));
    drop(copy);
    assert_eq!(answer, Ok((true, true, 2)), "whoever asked the cache waited for the copy");

    adopting.join().expect("no panic").expect("adopted");
    let size = bytes.len() as u64;
    assert!(cache.is_complete(&film, size));
    assert_eq!(cache.read_at(&film, size, 0..size), Lookup::Hit(bytes.clone().into()));
    assert_eq!(cache.usage().bytes, size + 2 * CHUNK);
    assert!(!bench.place.folder.path().join("draft").exists());
    drop(cache);
    assert_eq!(bench.open(ROOMY).read_at(&film, size, 0..size), Lookup::Hit(bytes.into()), "after a restart, too");
    assert_eq!(bench.place.files("").len(), 6);
}

#[test]
fn what_there_is_no_room_for_is_not_copied_and_leaves_nothing_behind() {
    let bench = Bench::new();
    let floor = 10 * CHUNK;
    let cache = bench.open(Limits { max_size: 1 << 30, min_free: floor });
    let bytes = content(4 * CHUNK, 3);
    let film = key("film", "2");
    assert!(cache.insert(&key("other", "1"), CHUNK, 0, &content(CHUNK, 4)));
    let refused = |free: u64| {
        bench.disk.free.store(free, Ordering::SeqCst);
        let adopted = bench.adopting(&cache, &film, &bytes).join().expect("no panic");
        assert_eq!(adopted.err().map(|error| error.kind()), Some(io::ErrorKind::StorageFull), "{free} bytes are free");
        assert!(bench.place.folder.path().join("draft").exists(), "it is where it was");
        assert!(!cache.is_complete(&film, 4 * CHUNK));
        assert_eq!(bench.place.files("film"), Vec::<PathBuf>::new());
    };
    refused(floor + 3 * CHUNK - 1);
    assert_eq!(bench.place.files("").len(), 2, "nothing else is given up for what cannot be kept anyway");

    // Somebody reads the same version while it is being copied.
    bench.disk.free.store(floor + 4 * CHUNK, Ordering::SeqCst);
    let copies = bench.watch();
    let adopting = bench.adopting(&cache, &film, &bytes);
    let copy = begun(&copies);
    assert!(cache.insert(&film, 4 * CHUNK, 0, &bytes[..CHUNK as usize]));
    drop(copy);
    let refused = adopting.join().expect("no panic").err().map(|error| error.kind());
    assert_eq!(refused, Some(io::ErrorKind::ResourceBusy), "what is here already stays");
    assert_eq!(cache.present(&film, 4 * CHUNK).total(), CHUNK);
    assert_eq!(bench.place.files("").len(), 4, "{:?}", bench.place.files(""));

    place_is_made_for_it(&bench, &cache);
}

/// What was not used for longest goes, as it would for bytes from the cloud.
fn place_is_made_for_it(bench: &Bench, cache: &ChunkCache) {
    *bench.disk.watched.lock().expect("no panic") = None;
    bench.place.clock.advance(Duration::from_secs(60));
    bench.disk.free.store(14 * CHUNK, Ordering::SeqCst);
    cache.evict_now(0);
    assert!(cache.insert(&key("old", "1"), 2 * CHUNK, 0, &content(2 * CHUNK, 5)));
    bench.disk.free.store(13 * CHUNK, Ordering::SeqCst);
    let bytes = content(3 * CHUNK, 6);
    bench.adopting(cache, &key("made", "1"), &bytes).join().expect("no panic").expect("adopted");
    assert!(cache.is_complete(&key("made", "1"), 3 * CHUNK));
}

#[test]
fn a_copy_that_a_death_left_behind_goes_at_the_next_start_and_one_under_way_does_not() {
    let bench = Bench::new();
    let (film, bytes) = (key("film", "2"), content(CHUNK + 1, 7));
    let copies = bench.watch();
    let left;
    {
        let cache = bench.open(ROOMY);
        let adopting = bench.adopting(&cache, &film, &bytes);
        let copy = begun(&copies);
        left = bench.place.files("");
        let [file] = &left[..] else { panic!("one file is being made: {left:?}") };
        std::fs::copy(file, file.with_extension("kept")).expect("copied");
        drop(copy);
        adopting.join().expect("no panic").expect("adopted");
        cache.discard(&film);
        std::fs::rename(file.with_extension("kept"), file).expect("as a death leaves it");
    }
    // Whatever marks the folder as a cache is damaged, too: what is in it is still known to be ours.
    std::fs::write(bench.disk.cache.join("CACHEDIR.TAG"), "damaged").expect("written");
    let cache = bench.open(ROOMY);
    assert_eq!(bench.place.files(""), Vec::<PathBuf>::new(), "{left:?}");
    drop(cache);

    // A start lists the folders while a copy is made already.
    let clock = Arc::new(bench.place.clock.clone());
    let cache = ChunkCache::open(&bench.disk.cache, ROOMY, bench.disk.clone(), clock).expect("opens");
    let adopting = bench.adopting(&cache, &film, &bytes);
    let copy = begun(&copies);
    cache.wait_counted();
    drop(copy);
    adopting.join().expect("no panic").expect("adopted");
    assert!(cache.is_complete(&film, CHUNK + 1));
}
