//! What a drive of ten thousand, a hundred thousand and a million items costs: `cargo bench --bench scaling`.
//!
//! The drive is synthetic and nobody serves it: its index is filled through the change engine, as a first start does
//! it, and then a real daemon mounts it without a network. The table goes to standard output and into
//! `docs/scaling.md`. `-- 10000 100000` chooses other sizes and writes no file.

mod stage;

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use onedrive_mount::base::ids::Ino;
use onedrive_mount::fuse::translate::fresh_entries;
use onedrive_mount::remote::Change;

use stage::{Home, Synthetic, SyntheticRemote, enumerate, median, open_core};

/// What was measured at one size.
struct Column {
    items: u64,
    rows: Vec<(&'static str, String)>,
}

fn per_second(count: u64, took: Duration) -> String {
    format!("{:.0}/s", count as f64 / took.as_secs_f64())
}

fn micros(took: Duration, times: u64) -> String {
    format!("{:.1} µs", took.as_secs_f64() * 1e6 / times as f64)
}

fn millis(took: Duration) -> String {
    format!("{:.0} ms", took.as_secs_f64() * 1e3)
}

fn mib(kib: u64) -> String {
    format!("{:.0} MB", kib as f64 * 1024.0 / 1e6)
}

/// Numbers in an order without order.
fn scattered(count: u64, below: u64) -> impl Iterator<Item = u64> {
    (1..=count).map(move |n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % below + 1)
}

fn measure(items: u64) -> Column {
    let mut rows = Vec::new();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (home, drive) = (Home::new(), Synthetic::new(items));
    let places = home.places();
    for folder in [&places.state, &places.chunks_folder()] {
        std::fs::create_dir_all(folder).expect("a folder of the home");
    }
    let remote = SyntheticRemote::new(drive.clone());
    let core = open_core(remote.clone(), drive.identity(), &places.state, &places.chunks_folder());

    let took = enumerate(&runtime, &core);
    rows.push(("first enumeration applied", per_second(items, took)));
    for (what, count) in [("1,000 changes applied", 1000), ("50,000 changes applied", 50_000)] {
        let count = count.min(items);
        let news = scattered(count, items).map(|n| Change::Is(drive.item(n, 2 + count))).collect();
        *remote.news.lock().expect("no panic before") = news;
        let begun = Instant::now();
        runtime.block_on(core.poller.poll_now()).expect("the feed is read");
        rows.push((what, format!("{} ({})", millis(begun.elapsed()), per_second(count, begun.elapsed()))));
    }

    let times = 20_000;
    let inos: Vec<Ino> = scattered(times, items)
        .map(|n| core.index.by_id(&drive.id(n)).expect("the index answers").expect("known").ino)
        .collect();
    let begun = Instant::now();
    for ino in &inos {
        core.index.by_ino(*ino).expect("the index answers").expect("known");
    }
    rows.push(("an item by inode", micros(begun.elapsed(), times)));
    let folders: Vec<Ino> = scattered(times, items)
        .map(|n| match Synthetic::folder_of(n) {
            0 => Ino::ROOT,
            folder => core.index.by_id(&drive.id(folder)).expect("the index answers").expect("known").ino,
        })
        .collect();
    let names: Vec<String> = scattered(times, items).map(|n| drive.name(n)).collect();
    let begun = Instant::now();
    for (folder, name) in folders.iter().zip(&names) {
        core.index.child(*folder, name).expect("the index answers").expect("known");
    }
    rows.push(("a child by name", micros(begun.elapsed(), times)));
    let pages = 500;
    let begun = Instant::now();
    runtime.block_on(async {
        for folder in folders.iter().take(pages) {
            let fh = core.volume.open_dir(*folder).await.expect("opens");
            let snapshot = core.volume.read_dir(*folder, fh, true).await.expect("reads");
            let entries = fresh_entries(&core.volume, *folder, &snapshot, 0).expect("reads");
            assert!(entries.len() > 50);
            core.volume.release_dir(fh);
        }
    });
    rows.push(("a folder of 100 opened and listed", micros(begun.elapsed(), pages as u64)));
    let begun = Instant::now();
    for _ in 0..100 {
        core.volume.space();
    }
    rows.push(("statfs", micros(begun.elapsed(), 100)));
    core.journal.close();
    drop((core, remote));
    runtime.block_on(async { tokio::time::sleep(Duration::from_millis(500)).await });

    let on_disk: u64 = ["index.db", "index.db-wal"]
        .iter()
        .map(|file| std::fs::metadata(places.state.join("index").join(file)).map_or(0, |facts| facts.len()))
        .sum();
    rows.push(("index on disk", format!("{:.0} B/item", on_disk as f64 / items as f64)));

    std::fs::write(places.state.join("drive.json"), serde_json::to_vec(&drive.identity()).expect("JSON"))
        .expect("the drive's identity");
    // Port 9 of this machine: nobody listens there.
    home.sign_in(&runtime, "http://127.0.0.1:9", "http://127.0.0.1:9", "a", "b");
    let mut starts = Vec::new();
    for _ in 0..3 {
        starts.push(home.mount(None).first_listing.as_secs_f64() * 1e3);
    }
    rows.push(("start without a network, to the first listing", format!("{:.0} ms", median(starts))));
    let daemon = home.mount(None);
    rows.push(("memory after the start", mib(daemon.resident())));
    for what in ["find over everything", "the same again"] {
        let begun = Instant::now();
        let found = Command::new("find").arg(&daemon.at).output().expect("find runs");
        let took = begun.elapsed();
        assert_eq!(found.stdout.iter().filter(|byte| **byte == b'\n').count() as u64, items + 1);
        rows.push((what, format!("{:.2} s ({})", took.as_secs_f64(), micros(took, items))));
    }
    rows.push(("memory after that", mib(daemon.resident())));
    rows.push(("memory at the worst moment", mib(daemon.most_resident())));
    let before = daemon.processor_time();
    std::thread::sleep(Duration::from_secs(20));
    rows.push(("memory after 20 s of rest", mib(daemon.resident())));
    let used = (daemon.processor_time() - before).as_secs_f64() / 20.0;
    rows.push(("processor time at rest, without a network", format!("{:.2} %", used * 100.0)));
    let _ = std::fs::write("/proc/sys/vm/drop_caches", "2");
    std::thread::sleep(Duration::from_secs(3));
    rows.push(("memory when the kernel has forgotten all of it", mib(daemon.resident())));
    Column { items, rows }
}

fn table(columns: &[Column]) -> String {
    let mut text = String::from("| |");
    for column in columns {
        write!(text, " {} items |", column.items).expect("a string grows");
    }
    text.push_str("\n| --- |");
    text.push_str(&" ---: |".repeat(columns.len()));
    for (at, (what, _)) in columns[0].rows.iter().enumerate() {
        write!(text, "\n| {what} |").expect("a string grows");
        for column in columns {
            write!(text, " {} |", column.rows[at].1).expect("a string grows");
        }
    }
    text.push('\n');
    text
}

const INTRODUCTION: &str = "# What the size of a drive costs\n\n\
    Written by `cargo bench --bench scaling`; benches/scaling.rs says how each figure comes about. The drive is \
    synthetic, with a hundred items in each folder and identities, tags and names as long as the service's. \
    \"Start\" is from the start of the process to the end of the first listing of the root; the memory is what the \
    system counts as resident, code included.\n\n";

fn main() {
    // `cargo test --benches` and clippy only want to know that it is sound.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let chosen: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if chosen.is_empty() { vec![10_000, 100_000, 1_000_000] } else { chosen.clone() };
    let columns: Vec<Column> = sizes
        .iter()
        .map(|items| measure(*items))
        .inspect(|column| eprintln!("{}", table(std::slice::from_ref(column))))
        .collect();
    let table = table(&columns);
    println!("{table}");
    if chosen.is_empty() {
        std::fs::write("docs/scaling.md", format!("{INTRODUCTION}{table}")).expect("docs/scaling.md is written");
    }
}
