//! A service that has gone mad, or is somebody else: whatever it answers, nothing leaves the mount, nothing crashes,
//! nothing fills the memory, and one good answer later everything works again.
//!
//! One table for each language (`graph.rs`, `live.rs`; what they have in common is in `table.rs`). A row is what is answered in place of the truth, what the user does meanwhile, and what the user sees.
//! Each row has a drive of its own: index, cache, journal and volume as the daemon has them, behind a real HTTP client.
//! After each row the service tells the truth, and the drive has to list, read, save and follow changes as ever.

mod escape;
mod graph;
mod live;
mod sign_in;
mod table;
mod truth;

use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use onedrive_mount::auth::StaticToken;
use onedrive_mount::base::clock::{Clock, Mono, Sleep, Timestamp};
use onedrive_mount::base::tasks::TaskGroup;
use onedrive_mount::daemon::core::Core;
use onedrive_mount::journal::Overlay;
use onedrive_mount::remote::http::{Patience, system_entropy};
use onedrive_mount::remote::live::LiveService;
use onedrive_mount::remote::stack::{self, GraphService, Protocol, RemoteOptions};
use onedrive_mount::volume::VolumeError;

use self::escape::{Outside, below, nothing_left_the_daemon, nothing_left_the_mount};
use self::table::{A, Speech, ever_more, head, nested};
use crate::world::mount::{Start, require_fuse};
use crate::world::proxy::{Door, Lie, Proxy, Told};
use crate::world::service::{Service, places};
use crate::world::side::Side;
use crate::world::{Running, User, World};

/// What the user does while the service lies.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Lists `/docs`, which was not listed before.
    List,
    /// Reads `/docs/a.txt`, which is not cached.
    Read,
    /// Waits for changes made elsewhere: `/docs/elsewhere.txt` is new.
    Follow,
    /// Saves a small file, `/docs/new.txt`.
    Save,
    /// Saves a file that needs an upload session, `/docs/large.bin`.
    SaveLarge,
}

/// What the user then sees.
#[derive(Clone, Copy, Debug)]
enum Sees {
    /// These names in `/docs`, each of which can be opened.
    Names(&'static [&'static str]),
    /// One of these errors of [`VolumeError`].
    Error(&'static [&'static str]),
    /// Refused with exactly this sentence, which is said before anything is sent to where the answer led: an error
    /// that a connection could have brought about does not count. What was saved arrives later.
    Refused(&'static str),
    /// The changes are refused as a whole; what was known stays.
    NoNews,
    /// The changes are taken, as far as they make sense: `/docs` holds what it held.
    News,
    /// The file is not in the cloud and not lost: it waits, or is parked with a reason, and arrives when the service
    /// has come to its senses.
    Waits,
    /// The file arrived in spite of it.
    Arrives,
    /// Exactly these bytes as the whole of the file.
    Reads(&'static str),
    /// Nothing in particular, as long as it ends; bytes only if they are the right ones.
    AnEnd,
}

struct Row {
    name: &'static str,
    told: Box<dyn Fn(&Proxy) -> Told + Send + Sync>,
    does: Does,
    sees: Sees,
}

fn row(name: &'static str, does: Does, sees: Sees, told: impl Fn(&Proxy) -> Told + Send + Sync + 'static) -> Row {
    Row { name, told: Box::new(told), does, sees }
}

fn told(door: Door, method: &'static str, part: &str, lie: Lie) -> Told {
    Told { door, method, part: part.into(), lie }
}

/// Two hundred megabytes of zeros, compressed: two hundred kilobytes.
fn bomb() -> Vec<u8> {
    let mut gzip = std::process::Command::new("gzip")
        .arg("-9c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip is part of every system");
    let mut input = gzip.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || {
        for _ in 0..200 {
            std::io::Write::write_all(&mut input, &vec![b' '; 1 << 20]).expect("gzip reads");
        }
    });
    let output = gzip.wait_with_output().expect("gzip ends");
    writer.join().expect("written");
    assert!(output.stdout.len() < 1 << 20, "{}", output.stdout.len());
    output.stdout
}

/// A clock that can be put forward: the longest pause that a service may impose is an hour, and no test waits for it.
struct Jumping {
    real: Arc<dyn Clock>,
    by: Arc<AtomicU64>,
}

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        self.real.now().plus(Duration::from_nanos(self.by.load(Ordering::Relaxed)))
    }

    fn monotonic(&self) -> Mono {
        self.real.monotonic().plus(Duration::from_nanos(self.by.load(Ordering::Relaxed)))
    }

    fn sleep(&self, by: Duration) -> Sleep {
        self.real.sleep(by)
    }
}

/// A drive behind a service that lies.
struct Bench {
    /// Nanoseconds by which the world's clock is ahead.
    jump: Arc<AtomicU64>,
    world: World,
    proxy: Proxy,
    running: Running,
    /// What lay outside the home before anybody lied.
    outside: Outside,
}

impl Bench {
    async fn new(side: Side) -> Self {
        let mut world = World::new(side).await;
        let outside = Outside::of(world.home.path());
        let jump = Arc::new(AtomicU64::new(0));
        world.clock = Arc::new(Jumping { real: world.clock.clone(), by: jump.clone() });
        let drive = world.emulator.drive();
        drive.create_file("/safe.txt", "safe");
        drive.create_file("/docs/a.txt", A);
        drive.create_file("/docs/b.txt", "beta");
        let proxy = Proxy::start(&world.emulator).await;
        let token = side.access_token(&world.emulator);
        let protocol = if side.live {
            let (origin, bits) = (proxy.graph.clone(), proxy.storage.clone());
            Protocol::Live(LiveService { origin, bits, bits_above: 2 << 20, ..LiveService::default() })
        } else {
            Protocol::Graph(GraphService::at(proxy.graph.clone()))
        };
        let short = Duration::from_secs(2);
        let options = RemoteOptions {
            patience: Patience { connect: short, headers: short, idle: short },
            ..RemoteOptions::speaking(protocol)
        };
        let tokens = Arc::new(StaticToken::new(token));
        let remote = stack::open(&options, tokens, world.clock.clone(), system_entropy()).expect("opens").remote;
        let core = world.open_on(remote, world.home.path()).await;
        core.prepare().await;
        // The root is known, `/docs` is not.
        let mut root = Err(VolumeError::Offline);
        for _ in 0..20 {
            // Two seconds are little on a busy machine, and nobody lies yet.
            root = User(&core).list("/").await;
            if root.is_ok() {
                break;
            }
        }
        root.expect("the root");
        let tasks = TaskGroup::new(world.clock.clone());
        Self { jump, world, proxy, running: Running { core, tasks }, outside }
    }

    fn core(&self) -> &Core {
        &self.running.core
    }

    /// What the user does, in the words of the table.
    async fn run(&self, does: Does) -> Result<Vec<u8>, VolumeError> {
        let user = User(self.core());
        match does {
            Does::List => user.list("/docs").await.map(|names| names.join("\n").into_bytes()),
            Does::Read => user.read("/docs/a.txt").await,
            Does::Follow => {
                self.world.emulator.drive().write_file("/docs/elsewhere.txt", "news");
                let polled = self.core().poller.poll_now().await;
                polled.map(|_| Vec::new()).map_err(|trouble| VolumeError::Failed(trouble.to_string()))
            }
            Does::Save => user.write("/docs/new.txt", b"new").await.map(|()| Vec::new()),
            Does::SaveLarge => user.write("/docs/large.bin", &large()).await.map(|()| Vec::new()),
        }
    }

    async fn until(&self, what: &str, mut condition: impl FnMut() -> bool) -> Result<(), String> {
        for turn in 0..3000 {
            if condition() {
                return Ok(());
            }
            if turn % 100 == 99 {
                // What waits for a while of its own accord need not hold up the test.
                let _ = self.core().journal.retry_all();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let left: Vec<String> =
            self.core().journal.view(|overlay| overlay.iter().map(|intent| format!("{intent:?}")).collect());
        Err(format!("never happened: {what}; left: {left:#?}"))
    }
}

fn large() -> Vec<u8> {
    (0..5_000_000u32).map(|at| (at / 7 % 251) as u8).collect()
}

/// Tries one row; the text says what went wrong.
async fn try_row(side: Side, row: &Row) -> Result<(), String> {
    let mut bench = Bench::new(side).await;
    if matches!(row.does, Does::Follow | Does::Save | Does::SaveLarge) {
        User(bench.core()).list("/docs").await.map_err(|error| format!("before: {error:?}"))?;
    }
    bench.proxy.tell(Some((row.told)(&bench.proxy)));
    if matches!(row.does, Does::Save | Does::SaveLarge) {
        let core = bench.core();
        core.spawn_tasks(&bench.running.tasks);
    }
    let limit = tokio::time::sleep(Duration::from_secs(60));
    let outcome = tokio::select! {
        outcome = bench.run(row.does) => outcome,
        () = limit => return Err("it takes longer than a minute".into()),
    };
    verdict(row, &bench, outcome).await?;
    if bench.proxy.struck() == 0 {
        return Err("the lie was never told".into());
    }
    bench.proxy.tell(None);
    if row.name.starts_with("patience") {
        bench.jump.store(Duration::from_secs(3601).as_nanos() as u64, Ordering::Relaxed);
    }
    if matches!(row.does, Does::List | Does::Read | Does::Follow) {
        let core = bench.core();
        core.spawn_tasks(&bench.running.tasks);
    }
    bench.truth(row).await?;
    let saved = matches!(row.does, Does::Save | Does::SaveLarge);
    if saved && matches!(row.sees, Sees::Waits | Sees::Refused(_) | Sees::Arrives) {
        let (path, bytes) = match row.does {
            Does::Save => ("/docs/new.txt", b"new".to_vec()),
            _ => ("/docs/large.bin", large()),
        };
        let drive = bench.world.emulator.drive().clone();
        bench.until("the saved file arrives", || drive.read_file(path).as_ref() == Some(&bytes)).await?;
    }
    let ended = bench.running.tasks.failures().borrow().iter().map(|ended| format!("{ended:?}")).collect::<Vec<_>>();
    if !ended.is_empty() {
        return Err(format!("tasks ended: {ended:?}"));
    }
    nobody_else_was_told(&bench.proxy)?;
    // Addresses of content and of uploads may lead to any host of the internet; nothing else is followed there.
    let followed = ["content of somebody else", "an upload to somebody else"].contains(&row.name);
    let strays = bench.proxy.visits().iter().filter(|visit| visit.door == Door::Elsewhere).count();
    if !followed && strays > 0 {
        return Err(format!("somebody else was visited {strays} times"));
    }
    nothing_left_the_mount(bench.world.home.path(), &bench.outside)?;
    bench.proxy.tell(None);
    let running = std::mem::replace(&mut bench.running.tasks, TaskGroup::new(bench.world.clock.clone()));
    bench.running.core.uploader.stop();
    running.stop(Duration::from_secs(5)).await;
    Ok(())
}

async fn verdict(row: &Row, bench: &Bench, outcome: Result<Vec<u8>, VolumeError>) -> Result<(), String> {
    let user = User(bench.core());
    match (row.sees, outcome) {
        (Sees::AnEnd, Ok(seen)) if matches!(row.does, Does::Read) && seen != A => {
            Err(format!("reads {:?}", String::from_utf8_lossy(&seen)))
        }
        (Sees::AnEnd, _) => Ok(()),
        (Sees::Reads(wanted), Ok(seen)) if seen == wanted.as_bytes() => Ok(()),
        (Sees::Names(names), Ok(seen)) => {
            let mut wanted: Vec<&str> = names.to_vec();
            wanted.sort_unstable();
            let seen = String::from_utf8(seen).expect("names are text");
            if seen != wanted.join("\n") {
                return Err(format!("sees {seen:?}"));
            }
            for name in wanted {
                user.walk(&format!("/docs/{name}")).await.map_err(|error| format!("{name:?} is shown: {error:?}"))?;
            }
            Ok(())
        }
        (Sees::Error(names), Err(error)) => {
            let text = format!("{error:?} {error}");
            if text.len() > 1500 || text.contains("http://") || text.contains("tempauth") {
                return Err(format!("says too much: {text}"));
            }
            if names.iter().any(|name| text.starts_with(name)) { Ok(()) } else { Err(format!("sees {text}")) }
        }
        (Sees::Refused(why), Err(error)) => {
            let text = error.to_string();
            if text.ends_with(why) { Ok(()) } else { Err(format!("sees {error:?}")) }
        }
        (Sees::Refused(why), Ok(_)) if matches!(row.does, Does::Save | Does::SaveLarge) => {
            let said = || {
                let last = |overlay: &Overlay| overlay.iter().find_map(|intent| intent.last_error.clone());
                bench.core().journal.view(last)
            };
            let mut last = None;
            for _ in 0..1500 {
                last = said();
                if last.is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let text = format!("{last:?}");
            if text.contains(why) { Ok(()) } else { Err(format!("the change waits because of {text}")) }
        }
        // A position that is no longer good is no error: the drive is listed again.
        (Sees::NoNews, _) => match user.walk("/docs/elsewhere.txt").await {
            Err(VolumeError::NotFound) => Ok(()),
            other => Err(format!("news in spite of it: {other:?}")),
        },
        (Sees::News, Ok(_)) => {
            for path in ["/docs/a.txt", "/docs/b.txt", "/docs/elsewhere.txt", "/safe.txt"] {
                user.walk(path).await.map_err(|error| format!("{path}: {error:?}"))?;
            }
            Ok(())
        }
        (Sees::Arrives, Ok(_)) => {
            let drive = bench.world.emulator.drive().clone();
            bench.until("it arrives", || drive.read_file("/docs/large.bin").is_some_and(|bytes| bytes == large())).await
        }
        (Sees::Waits, Ok(_)) => {
            // Until the lie has been told a few times, and then it is still here.
            for _ in 0..500 {
                if bench.proxy.struck() >= 1
                    && bench
                        .core()
                        .journal
                        .view(|overlay| overlay.iter().any(|intent| intent.last_error.is_some() || intent.attempts > 0))
                {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        }
        (_, outcome) => Err(format!("sees {:?}", outcome.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))),
    }
}

/// The token goes to the service, and to nobody else.
fn nobody_else_was_told(proxy: &Proxy) -> Result<(), String> {
    for visit in proxy.visits() {
        match (visit.door, &visit.authorization) {
            (Door::Graph, Some(_)) | (_, None) => {}
            // Uploads by BITS are the service's own, at another of its hosts.
            (Door::Storage, Some(_)) if ["/items/", "/users/"].iter().any(|bits| visit.target.starts_with(bits)) => {}
            (door, Some(_)) => return Err(format!("a token went to {door:?}: {} {}", visit.method, visit.target)),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_the_service_says_does_harm() {
    try_all(Side::PERSONAL, graph::table()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_the_service_says_over_live_connect_does_harm() {
    try_all(Side::LIVE, live::table()).await;
}

async fn try_all(side: Side, table: Vec<(&'static str, Vec<Row>)>) {
    let mut failures = String::new();
    let mut counted = 0;
    let only = std::env::var("ONEDRIVE_HOSTILE_ONLY").unwrap_or_default();
    for (part, rows) in table {
        let rows: Vec<Row> = rows.into_iter().filter(|row| row.name.contains(&only)).collect();
        let count = rows.len();
        counted += count;
        let results: Vec<(&'static str, Does, Sees, Result<(), String>)> = futures_util::stream::iter(rows)
            .map(|row| async move {
                let limit = Duration::from_secs(150);
                let result = tokio::time::timeout(limit, try_row(side, &row)).await;
                let result = result.unwrap_or_else(|_| Err("it does not end".into()));
                (row.name, row.does, row.sees, result)
            })
            .buffer_unordered(6)
            .collect()
            .await;
        for (name, does, sees, result) in results {
            if let Err(error) = result {
                writeln!(failures, "{part}: {name} ({does:?}, expected {sees:?}): {error}").expect("a string grows");
            }
        }
    }
    println!("hostile-server cases, {side:?}: {counted}");
    assert!(failures.is_empty(), "\n{failures}");
}

/// The most memory that a daemon may have used at any time, in KiB. Most of it is one page of the largest size, taken
/// in and parsed; the rest of a daemon is 30 MB or so.
const MOST_MEMORY: u64 = 400 << 10;

/// Some of the worst, through a real daemon and a real mount: it lives on, and its memory is counted.
#[test]
fn a_daemon_and_its_mount_outlive_a_mad_service() {
    outlive(Side::PERSONAL, Speech::Graph);
}

#[test]
fn a_daemon_and_its_mount_outlive_a_mad_service_of_live_connect() {
    outlive(Side::LIVE, Speech::Live);
}

fn outlive(side: Side, speech: Speech) {
    require_fuse();
    let service = Service::new(side);
    let (feed, content) = if side.live { (speech.listing(), "/y2m/") } else { ("delta", "/download") };
    let drive = service.drive();
    drive.create_file("/safe.txt", "safe");
    let proxy = service.block_on(Proxy::start(service.emulator()));
    let home = service.home("upload:\n  debounce: 0s\n");
    let settings = places(&home).settings;
    let text = fs::read_to_string(&settings).expect("settings");
    let endpoints = service.emulator().endpoints();
    let ours = [
        ("graph", &endpoints.graph, &proxy.graph),
        ("live", &endpoints.live, &proxy.graph),
        ("bits", &endpoints.bits, &proxy.storage),
    ];
    let text = ours
        .iter()
        .fold(text, |text, (key, real, proxy)| text.replace(&format!("{key}: {real}"), &format!("{key}: {proxy}")));
    fs::write(&settings, text).expect("settings");
    // The first listing of everything must not be in the way.
    let mount = Start::with(["--log-level", "debug"]).mount(&home);
    let until = |what: &str, condition: &mut dyn FnMut() -> bool| {
        for _ in 0..4500 {
            if condition() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("never happened: {what}\n{}", mount.log());
    };
    until("the drive was listed once", &mut || mount.log().contains("the whole drive was listed"));
    let outside = Outside::of(&home.path(""));
    let before = below(&home.path(""), Some(mount.at()));
    let mut cases = 0;
    // In the feed, which the daemon reads by itself.
    for (name, lie) in [
        ("ten million changes", Lie::json(format!("{{\"value\":[{}{{}}]}}", "{},".repeat(10_000_000)))),
        ("a feed without end", Lie::Endless(head(""), vec![b' '; 1 << 20])),
        ("a compressed bomb", {
            let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
            Lie::status("200 OK", &headers, &bomb())
        }),
        ("deep nesting", Lie::json(nested(5_000_000, "[", "]"))),
        ("a million items", {
            let item = |number: u32| format!("{{\"id\":\"M!{number}\",\"name\":\"../{number}\",\"file\":{{}}}}");
            let items: Vec<String> = (0..500_000).map(item).collect();
            Lie::json(format!("{{\"value\":[{}],\"@odata.deltaLink\":\"x\"}}", items.join(",")))
        }),
        ("redirects", Lie::status("302 Found", &[("location", "file:///etc/passwd")], b"")),
        ("no HTTP", Lie::raw(vec![0xff; 5000])),
    ] {
        cases += 1;
        let before = proxy.struck();
        proxy.tell(Some(told(Door::Graph, "GET", feed, speech.translated(lie))));
        until(name, &mut || proxy.struck() > before);
        assert_eq!(fs::read(mount.path("safe.txt")).expect(name), b"safe", "{name}");
        proxy.tell(None);
        let path = format!("/after {cases}");
        drive.write_file(&path, name);
        until(name, &mut || fs::read(mount.path(&path[1..])).is_ok_and(|bytes| bytes == name.as_bytes()));
        fs::write(mount.path(format!("saved {cases}")), name).expect("saves");
        until(name, &mut || drive.read_file(&format!("/saved {cases}")).as_deref() == Some(name.as_bytes()));
    }
    // As much as it likes, for as long as it is asked.
    {
        cases += 1;
        let before = proxy.struck();
        let part = if side.live { "/files?" } else { "delta?" };
        proxy.tell(Some(told(Door::Graph, "GET", part, Lie::counted(ever_more(speech, &proxy)))));
        let refused = "than is kept in memory";
        until("pages without end", &mut || proxy.struck() > before + 30 || mount.log().contains(refused));
        assert_eq!(fs::read(mount.path("safe.txt")).expect("it lives"), b"safe");
        proxy.tell(None);
        drive.write_file("/after all pages", "news");
        until("what comes after", &mut || fs::read(mount.path("after all pages")).is_ok_and(|bytes| bytes == b"news"));
    }
    // In content, which a program reads.
    for (name, lie) in [
        ("content without end", Lie::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 1 << 20])),
        ("content of another size", Lie::status("206 P", &[("content-range", "bytes 0-4/9223372036854775807")], A)),
        ("content moved to this disk", Lie::status("302 Found", &[("location", "file:///etc/passwd")], b"")),
        ("content moved to a router", Lie::status("302 Found", &[("location", "https://192.168.0.1/")], b"")),
    ] {
        cases += 1;
        let path = format!("content {cases}");
        drive.create_file(&format!("/{path}"), vec![b'a'; 3 << 20]);
        until(name, &mut || mount.path(&path).exists());
        proxy.tell(Some(told(Door::Storage, "GET", content, lie)));
        let got = fs::read(mount.path(&path));
        assert!(got.is_err() || name == "content without end", "{name}: {:?}", got.map(|bytes| bytes.len()));
        proxy.tell(None);
    }
    let status = fs::read_to_string(format!("/proc/{}/status", mount.process())).expect("a process");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    println!("hostile-server cases through a daemon, {side:?}: {cases}, its memory at most {} MiB", peak >> 10);
    assert!(peak < MOST_MEMORY, "the daemon took {peak} KiB");
    assert!(!mount.log().contains("panicked"), "{}", mount.log());
    nobody_else_was_told(&proxy).expect("no token elsewhere");
    nothing_left_the_daemon(&home, &before, &outside).expect("all is where it belongs");
}
