//! The loops that everything else is made of: `cargo bench --bench inner_loops`.

mod stage;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use onedrive_mount::base::hash::QuickXorHash;
use onedrive_mount::base::ids::{ContentTag, Ino};
use onedrive_mount::cache::{CHUNK, CacheKey, Lookup};
use onedrive_mount::fuse::translate::fresh_entries;
use onedrive_mount::remote::Change;
use onedrive_mount::volume::OpenHow;

use stage::{Synthetic, SyntheticRemote, enumerate, open_core};

/// Items of the drive that is looked at.
const ITEMS: u64 = 100_000;

fn inner_loops(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let drive = Synthetic::new(ITEMS);
    let remote = SyntheticRemote::new(drive.clone());
    let core = open_core(remote.clone(), drive.identity(), &folder.path().join("state"), &folder.path().join("cache"));
    enumerate(&runtime, &core);
    let mut turn = 0;
    let mut next = || {
        turn += 7919;
        turn % ITEMS + 1
    };

    let above = core.index.by_id(&drive.id(500)).expect("the index answers").expect("known").ino;
    criterion.bench_function("index lookup", |bencher| {
        bencher.iter_batched(
            || drive.name(50_000 + next() % 100),
            |name| black_box(core.index.child(above, &name)).expect("the index answers").expect("known"),
            BatchSize::SmallInput,
        );
    });

    criterion.bench_function("readdirplus page", |bencher| {
        let inos: Vec<Ino> =
            (1..1000).map(|n| core.index.by_id(&drive.id(n)).expect("the index answers").expect("known").ino).collect();
        bencher.iter_custom(|times| {
            runtime.block_on(async {
                let begun = Instant::now();
                for turn in 0..times {
                    let ino = inos[(turn * 131 % 999) as usize];
                    let fh = core.volume.open_dir(ino).await.expect("opens");
                    let snapshot = core.volume.read_dir(ino, fh, true).await.expect("reads");
                    black_box(fresh_entries(&core.volume, ino, &snapshot, 0).expect("reads"));
                    core.volume.release_dir(fh);
                }
                begun.elapsed()
            })
        });
    });

    let key = CacheKey { item: drive.id(1), tag: ContentTag::from_time(1, 1) };
    let bytes: Vec<u8> = (0..16 * CHUNK).map(|n| ((n * 31) >> 7) as u8).collect();
    let size = bytes.len() as u64;
    assert!(core.cache.insert(&key, size, 0, &bytes));
    let mut group = criterion.benchmark_group("bytes");
    group.throughput(Throughput::Bytes(CHUNK));
    group.bench_function("chunk cache hit", |bencher| {
        let mut at = 0;
        bencher.iter(|| {
            at = (at + CHUNK) % size;
            match core.cache.read_at(&key, size, at..at + CHUNK) {
                Lookup::Hit(bytes) => black_box(bytes),
                Lookup::Missing(_) => panic!("it was kept"),
            }
        });
    });
    group.throughput(Throughput::Bytes(1 << 20));
    group.bench_function("QuickXorHash", |bencher| bencher.iter(|| black_box(QuickXorHash::of(&bytes[..1 << 20]))));
    group.finish();

    let mut group = criterion.benchmark_group("changes");
    group.throughput(Throughput::Elements(1000));
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    let mut version = 1;
    group.bench_function("delta of 1,000 items applied", |bencher| {
        bencher.iter_custom(|times| {
            let mut took = Duration::ZERO;
            for _ in 0..times {
                version += 1;
                let news = (0..1000).map(|n| Change::Is(drive.item(n * 97 + 1, version))).collect();
                *remote.news.lock().expect("no panic before") = news;
                let begun = Instant::now();
                runtime.block_on(core.poller.poll_now()).expect("the feed is read");
                took += begun.elapsed();
            }
            took
        });
    });
    group.finish();

    // Files that are only here, because nobody serves the drive.
    let mut group = criterion.benchmark_group("journal");
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    let mut number = 0;
    group.bench_function("a small file made, written, closed", |bencher| {
        bencher.iter_custom(|times| {
            runtime.block_on(async {
                let begun = Instant::now();
                for _ in 0..times {
                    number += 1;
                    let how = OpenHow { write: true, ..OpenHow::default() };
                    let name = format!("new file {number}.txt");
                    let made = core.volume.create(above, name.as_ref(), 0o100_644, how).await.expect("makes");
                    let (ino, fh) = (made.0.ino, made.1.fh);
                    core.volume.write(ino, Some(fh), 0, &bytes[..4096]).await.expect("writes");
                    core.volume.flush(ino, fh).await.expect("closes");
                    core.volume.release(ino, fh);
                }
                begun.elapsed()
            })
        });
    });
    group.bench_function("a folder made and removed", |bencher| {
        bencher.iter_custom(|times| {
            runtime.block_on(async {
                let begun = Instant::now();
                for _ in 0..times {
                    number += 1;
                    let name = format!("new folder {number}");
                    core.volume.make_folder(Ino::ROOT, name.as_ref(), 0o755).await.expect("makes");
                    core.volume.remove_folder(Ino::ROOT, name.as_ref()).await.expect("removes");
                }
                begun.elapsed()
            })
        });
    });
    group.finish();
    core.journal.close();
}

criterion_group!(benches, inner_loops);
criterion_main!(benches);
