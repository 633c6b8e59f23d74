//! Promises about time when the network is bad: who waits how long, and what recovers by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use onedrive_mount::base::clock::{Clock, SystemClock};
use onedrive_mount::base::tasks::TaskGroup;
use onedrive_mount::emulator::{Content, Emulator, Flavour, Host, Network, Options};
use onedrive_mount::remote::http::system_entropy;
use onedrive_mount::remote::layers::observe::Operation;
use onedrive_mount::remote::stack::{self, Protocol, RemoteOptions};
use onedrive_mount::remote::{At, RemoteErrorKind, URGENCY, Urgency};
use onedrive_mount::volume::{OpenHow, SetAttributes, VolumeError};

use crate::world::asked::Asked;
use crate::world::clock::FastClock;
use crate::world::service::{Service, wait_until_uploaded};
use crate::world::side::Side;
use crate::world::trouble::Issued;
use crate::world::{How, Running, User, World, eventually, settle};

/// A world on any clock, with tokens that can be renewed.
pub async fn world(clock: Arc<dyn Clock>, side: Side) -> (World, RemoteOptions, Arc<Issued>) {
    let options =
        Options { flavour: side.flavour, content: Content::Empty, clock: clock.clone(), ..Options::default() };
    let emulator = Emulator::start(options).await.expect("the emulator starts");
    let tokens = Issued::new(&emulator, side);
    let mut options = RemoteOptions::speaking(side.protocol(&emulator));
    options.loopback_only = true;
    let home = tempfile::tempdir().expect("a folder");
    (World { emulator, side, home, clock, debounce: Duration::from_millis(100), how: How::default() }, options, tokens)
}

pub async fn open(world: &World, options: &RemoteOptions, tokens: &Arc<Issued>) -> Running {
    let remote = stack::open(options, tokens.clone(), world.clock.clone(), system_entropy()).expect("it opens").remote;
    let core = world.open_on(remote, world.home.path()).await;
    core.prepare().await;
    Running { core, tasks: TaskGroup::new(world.clock.clone()) }
}

/// What is not here says so within two seconds when there is no network; a busy machine gets two more, which still tells a
/// deadline from a connection's own time-out of five.
const SOON: Duration = Duration::from_secs(2 + 2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_that_vanish_freeze_nobody() {
    nothing_gets_through(Side::PERSONAL, Network::Vanishing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_that_vanish_freeze_nobody_on_live_connect() {
    nothing_gets_through(Side::LIVE, Network::Vanishing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_refused_or_reset_freeze_nobody() {
    for side in [Side::PERSONAL, Side::LIVE] {
        for network in [Network::Refusing, Network::Resetting] {
            nothing_gets_through(side, network).await;
        }
    }
}

/// The label is too long for any resolver to ask anybody: the failure is the resolver's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_not_found_freezes_nobody() {
    for side in [Side::PERSONAL, Side::LIVE] {
        let (world, mut options, tokens) = world(Arc::new(SystemClock::new()), side).await;
        for name in ["docs/0", "docs/1", "unknown/inside"] {
            world.emulator.drive().create_file(name, "x");
        }
        let running = open(&world, &options, &tokens).await;
        let identity = running.core.remote.identity().await.expect("no trouble yet");
        User(&running.core).list("docs").await.expect("no trouble yet");
        User(&running.core).read("docs/0").await.expect("no trouble yet");
        running.stop().await;
        let nowhere = format!("https://{}.example", "n".repeat(64));
        match &mut options.protocol {
            Protocol::Graph(service) => service.origin.clone_from(&nowhere),
            Protocol::Live(service) => (service.origin, service.bits) = (nowhere.clone(), nowhere),
        }
        options.loopback_only = false;
        let remote = stack::open(&options, tokens, world.clock.clone(), system_entropy()).expect("it opens").remote;
        let core = world.open_as(remote, identity, world.home.path());
        what_is_not_here_says_so_soon(&User(&core), side, "a name that is not found").await;
        assert_eq!(User(&core).read("docs/0").await.expect("cached"), b"x");
        core.journal.close();
    }
}

async fn what_is_not_here_says_so_soon(user: &User<'_>, side: Side, trouble: &str) {
    let begun = Instant::now();
    let failure = user.read("docs/1").await.expect_err("it is not here");
    assert!(matches!(failure, VolumeError::Offline), "{side:?}, {trouble}: {failure:?}");
    assert!(begun.elapsed() < SOON, "{side:?}, {trouble}: {:?}", begun.elapsed());
    let begun = Instant::now();
    let failure = user.list("unknown").await.expect_err("it is not known");
    assert!(matches!(failure, VolumeError::Offline), "{side:?}, {trouble}: {failure:?}");
    assert!(begun.elapsed() < SOON, "{side:?}, {trouble}: {:?}", begun.elapsed());
}

async fn nothing_gets_through(side: Side, network: Network) {
    let (world, options, tokens) = world(Arc::new(SystemClock::new()), side).await;
    let drive = world.emulator.drive();
    for number in 0..30 {
        drive.create_file(&format!("docs/{number}"), vec![number; 3000]);
    }
    drive.create_file("unknown/inside", "x");
    let running = open(&world, &options, &tokens).await;
    let user = User(&running.core);
    user.list("").await.expect("no trouble yet");
    user.list("docs").await.expect("no trouble yet");
    user.read("docs/0").await.expect("no trouble yet");
    world.emulator.set_network(network);
    tokio::time::sleep(Duration::from_millis(50)).await;
    what_is_not_here_says_so_soon(&user, side, &format!("{network:?}")).await;

    if network == Network::Vanishing {
        // What is known once is not found out by each of a folder's files again.
        let begun = Instant::now();
        for number in 2..30 {
            user.read(&format!("docs/{number}")).await.expect_err("it is not here");
        }
        assert!(begun.elapsed() < SOON * 4, "{:?}", begun.elapsed());
    }

    let mut slowest = Duration::ZERO;
    for number in 0..30 {
        let begun = Instant::now();
        user.walk(&format!("docs/{number}")).await.expect("lookups are local");
        user.list("docs").await.expect("a known folder");
        user.write(&format!("docs/new{number}"), b"new").await.expect("creating is local");
        user.rename(&format!("docs/new{number}"), &format!("docs/newer{number}")).await.expect("renaming is local");
        user.write(&format!("docs/over{number}"), b"over").await.expect("creating is local");
        user.rename(&format!("docs/over{number}"), &format!("docs/newer{number}")).await.expect("replacing is local");
        let volume = &running.core.volume;
        let ino = user.walk(&format!("docs/newer{number}")).await.expect("there");
        let times = SetAttributes { mode: Some(0o600), mtime: Some(None), ..SetAttributes::default() };
        volume.setattr(ino, None, times).await.expect("bits and times are local");
        let cut = SetAttributes { size: Some(1), ..SetAttributes::default() };
        volume.setattr(ino, None, cut).await.expect("cutting is local");
        volume.get_attribute(ino, "user.onedrive.state".as_ref()).await.expect("attributes are local");
        let absent = user.walk(&format!("docs/nothing{number}")).await.expect_err("a known folder has all its names");
        assert!(matches!(absent, VolumeError::NotFound), "{absent:?}");
        user.unlink(&format!("docs/newer{number}")).await.expect("removing is local");
        running.core.volume.space();
        slowest = slowest.max(begun.elapsed());
    }
    println!("twelve metadata calls with a network that is {network:?}, slowest of thirty rounds: {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert_eq!(user.read("docs/0").await.expect("cached"), vec![0; 3000]);

    world.emulator.set_network(Network::Up);
    let begun = Instant::now();
    eventually("it recovers by itself", || async { user.read("docs/1").await.is_ok() }).await;
    // The service's other door may open a moment later.
    eventually("it lists again", || async { user.list("unknown").await.is_ok() }).await;
    println!("content again {:?} after the network came back", begun.elapsed());
    running.stop().await;
}

/// In the middle of a body, both ways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_that_vanish_half_way_freeze_nobody_and_all_of_it_goes_on() {
    use onedrive_mount::emulator::{Fault, Rule};
    for side in [Side::PERSONAL, Side::LIVE] {
        let (world, options, tokens) = world(Arc::new(SystemClock::new()), side).await;
        let drive = world.emulator.drive();
        let pattern = |seed: u32| (0..6_000_000u32).map(|at| (at % 251 * seed) as u8).collect::<Vec<u8>>();
        drive.create_file("down", pattern(1));
        let running = open(&world, &options, &tokens).await;
        running.core.spawn_tasks(&running.tasks);
        let (user, volume) = (User(&running.core), &running.core.volume);
        user.list("").await.expect("no trouble yet");
        let slow = world.emulator.faults().add(Rule::always("GET", "*", Fault::Slow { bytes_per_second: 400_000 }));
        user.write("up", &pattern(3)).await.expect("local");
        let ino = user.walk("down").await.expect("known");
        let handle = volume.open(ino, OpenHow { read: true, ..OpenHow::default() }).await.expect("opens").fh;
        let reading = async {
            for at in (0..6_000_000).step_by(100_000) {
                if let Err(error) = volume.read(ino, handle, at, 100_000).await {
                    return (at, error);
                }
            }
            panic!("it was to take fifteen seconds");
        };
        let vanishing = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            world.emulator.set_network(Network::Vanishing);
            Instant::now()
        };
        let ((at, failure), vanished) = tokio::join!(reading, vanishing);
        println!("{side:?}: {failure:?} at {at}, {:?} after the network was gone", vanished.elapsed());
        assert!(at > 0 && matches!(failure, VolumeError::Offline), "{side:?}: {failure:?} at {at}");
        assert!(vanished.elapsed() < SOON, "{side:?}: {:?}", vanished.elapsed());
        volume.release(ino, handle);

        world.emulator.faults().remove(slow);
        world.emulator.set_network(Network::Up);
        eventually("it is read", || async { user.read("down").await.is_ok_and(|all| all == pattern(1)) }).await;
        settle(&running.core).await;
        assert!(drive.read_file("up") == Some(pattern(3)), "{side:?}");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_thinks_is_not_a_network_that_is_gone() {
    the_service_thinks(Side::PERSONAL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_thinks_is_not_a_network_that_is_gone_on_live_connect() {
    the_service_thinks(Side::LIVE).await;
}

async fn the_service_thinks(side: Side) {
    use onedrive_mount::emulator::{Fault, Rule, When};
    let (world, options, tokens) = world(Arc::new(SystemClock::new()), side).await;
    world.emulator.drive().create_file("f", "late");
    let running = open(&world, &options, &tokens).await;
    let stall = Fault::Stall { when: When::Before, duration: Duration::from_secs(4) };
    world.emulator.faults().add(Rule::once("GET", "*", stall).on(Host::Storage));
    assert_eq!(User(&running.core).read("f").await.expect("patience pays"), b"late");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_lid_is_recovered_from_without_a_restart() {
    the_lid_is_closed(Side::PERSONAL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_lid_is_recovered_from_without_a_restart_on_live_connect() {
    the_lid_is_closed(Side::LIVE).await;
}

async fn the_lid_is_closed(side: Side) {
    let clock = FastClock::new(10);
    let (world, options, tokens) = world(Arc::new(clock.clone()), side).await;
    let running = open(&world, &options, &tokens).await;
    running.core.spawn_tasks(&running.tasks);
    let user = User(&running.core);
    user.write("before", b"before").await.expect("local");
    settle(&running.core).await;

    // The lid closes while the network is gone and everything has backed off, with an upload half-way.
    let large: Vec<u8> = (0..9_000_000u32).map(|at| (at % 251) as u8).collect();
    user.write("large", &large).await.expect("local");
    eventually("the upload has begun", || async { world.emulator.drive().open_sessions() > 0 }).await;
    world.emulator.set_network(Network::Resetting);
    user.write("during", b"during").await.expect("local");
    clock.sleep(Duration::from_secs(100)).await;
    clock.suspend(Duration::from_secs(8 * 3600));
    world.emulator.drive().lose_sessions();
    world.emulator.drive().create_file("elsewhere", "elsewhere");
    world.emulator.set_network(Network::Up);
    settle(&running.core).await;
    assert_eq!(world.emulator.drive().read_file("large"), Some(large));
    assert_eq!(world.emulator.drive().read_file("during").as_deref(), Some(&b"during"[..]));
    eventually("news arrive", || async { user.read("elsewhere").await.is_ok() }).await;

    // A pause that the service asked for is not slept through again, and tokens are renewed.
    world.emulator.throttle(Duration::from_secs(3000));
    user.write("throttled", b"throttled").await.expect("local");
    eventually("the pause is known", || async {
        let asked = URGENCY.scope(Urgency::Interactive, running.core.remote.quota()).await;
        asked.is_err_and(|error| error.kind == RemoteErrorKind::Throttled)
    })
    .await;
    clock.suspend(Duration::from_secs(2 * 3600));
    settle(&running.core).await;
    assert_eq!(world.emulator.drive().read_file("throttled").as_deref(), Some(&b"throttled"[..]));

    // Somebody corrects the calendar by a year, in both directions.
    for seconds in [-365 * 86_400, 365 * 86_400] {
        let name = format!("calendar{seconds}");
        user.write(&name, b"early").await.expect("local");
        clock.set_calendar(seconds);
        user.write(&format!("{name}b"), b"late").await.expect("local");
        settle(&running.core).await;
        assert!(world.emulator.drive().read_file(&name).is_some());
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_is_obeyed_by_all_and_no_storm_follows() {
    throttled(Side::BUSINESS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_is_obeyed_by_all_and_no_storm_follows_on_live_connect() {
    throttled(Side::LIVE).await;
}

async fn throttled(side: Side) {
    let clock = FastClock::new(10);
    let (world, options, tokens) = world(Arc::new(clock.clone()), side).await;
    let drive = world.emulator.drive();
    for number in 0..60 {
        drive.create_file(&format!("docs/{number}"), vec![number; 3000]);
    }
    let running = open(&world, &options, &tokens).await;
    running.core.spawn_tasks(&running.tasks);
    eventually("known", || async { running.core.index.is_enumerated().expect("an index") }).await;
    let user = User(&running.core);
    world.emulator.throttle(Duration::from_secs(120));
    for number in 0..60 {
        user.write(&format!("new{number}"), b"new").await.expect("local");
    }
    eventually("the pause is known", || async {
        let asked =
            URGENCY.scope(Urgency::Interactive, running.core.remote.stat(At::Child(&root(&running), "x"))).await;
        asked.is_err_and(|error| error.kind == RemoteErrorKind::Throttled)
    })
    .await;
    // What was on its way before anybody could know has arrived by now.
    clock.sleep(Duration::from_secs(3)).await;
    world.emulator.forget_requests();
    // Changes are asked for all the time in this test, but not while the service wants to be left alone.
    let asks_for_changes =
        |method: &str, path: &str| method == "GET" && (path.contains("/delta") || path.contains("/files?"));
    let graph = || {
        let requests = world.emulator.requests();
        let counted = requests.iter().filter(|seen| matches!(seen.host, Host::Graph | Host::Live));
        counted
            .filter(|seen| matches!(seen.status, Some(420 | 429)) || !asks_for_changes(&seen.method, &seen.path))
            .count()
    };
    // Live Connect does not say for how long, so it is asked now and then, by one.
    let knocks = if side.live { 8 } else { 0 };
    for number in 0..60 {
        user.read(&format!("docs/{number}")).await.expect_err("the service asked for patience");
    }
    clock.sleep(Duration::from_secs(60)).await;
    let before = graph();
    assert!(before <= knocks, "{before} knocked during the pause");
    // The service has not had enough: the one that asks first is told so, and nobody follows it.
    world.emulator.throttle(Duration::from_secs(180));
    clock.sleep(Duration::from_secs(90)).await;
    let during = graph() - before;
    assert!(during <= 3 + knocks, "{during} requests asked whether the pause is over");
    settle(&running.core).await;
    let after = graph();
    println!("throttled: {before} requests in the pause, {during} at its end, {after} until 60 files were stored");
    // Each small file takes three: its content, a look, its time.
    assert!(after < 60 * 4, "{after} requests for sixty files");
    assert_eq!(drive.tree().len(), 1 + 60 + 60);
    running.stop().await;
}

fn root(running: &Running) -> onedrive_mount::base::ids::ItemId {
    running.core.journal.resolve(onedrive_mount::base::ids::Ino::ROOT).expect("the root is known")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_size_of_a_file_is_shown_once_it_is_read() {
    let world = World::new(Flavour::PersonalNew).await;
    let drive = world.emulator.drive();
    for (name, real, claimed) in
        [("shorter.heic", 5000usize, 9000), ("longer.heic", 9000, 5000), ("big.heic", 3_000_000, 3_500_000)]
    {
        let bytes: Vec<u8> = (0..real).map(|at| (at % 253) as u8).collect();
        drive.create_file(name, bytes.clone());
        drive.claim_size(name, claimed);
    }
    let running = world.run().await;
    let user = User(&running.core);
    for (name, real) in [("shorter.heic", 5000usize), ("longer.heic", 9000), ("big.heic", 3_000_000)] {
        let bytes: Vec<u8> = (0..real).map(|at| (at % 253) as u8).collect();
        for _ in 0..2 {
            assert_eq!(user.read(name).await.expect("readable").len(), real, "{name}");
        }
        assert_eq!(user.read(name).await.expect("readable"), bytes);
        let ino = user.walk(name).await.expect("there");
        assert_eq!(running.core.volume.getattr(ino).await.expect("there").size, real as u64, "{name}");
    }
    // An edit starts from the real bytes.
    user.patch("longer.heic", 8999, b"!?").await.expect("writable");
    running.settle().await;
    let mut edited: Vec<u8> = (0..8999).map(|at| (at % 253) as u8).collect();
    edited.extend_from_slice(b"!?");
    let stored = drive.read_file("longer.heic").expect("there");
    assert_eq!(stored.len(), edited.len());
    assert_eq!(stored.iter().zip(&edited).position(|(one, other)| one != other), None);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_listed_once_while_the_drive_is_enumerated() {
    let world = World::new(Flavour::PersonalNew).await;
    let drive = world.emulator.drive();
    for number in 0..3000 {
        drive.create_file(&format!("many{}/{number}", number / 500), "x");
    }
    drive.create_file("docs/a", "a");
    let running = world.open().await;
    running.prepare().await;
    let user = User(&running);
    user.list("").await.expect("listed");
    let tasks = TaskGroup::new(world.clock.clone());
    running.spawn_tasks(&tasks);
    for _ in 0..3 {
        user.list("docs").await.expect("listed");
    }
    let id = drive.id("/docs").expect("there");
    let listings = || {
        let requests = world.emulator.requests();
        requests.iter().filter(|request| request.path.contains("children") && request.path.contains(&id)).count()
    };
    assert!(listings() <= 1, "{} listings of one folder", listings());
    tasks.stop(Duration::from_secs(5)).await;
    running.journal.close();
}

#[test]
fn a_mount_lives_through_a_network_that_swallows_everything() {
    let service = Service::new(Flavour::PersonalNew);
    for number in 0..7u8 {
        service.drive().create_file(&format!("docs/{number}"), vec![number; 30_000]);
    }
    let home = service.home("");
    let mount = service.mount(&home);
    let read = |number: u8| std::fs::read(mount.path(format!("docs/{number}")));
    assert_eq!(read(0).expect("no trouble yet"), vec![0; 30_000]);
    assert_eq!(std::fs::read_dir(mount.path("docs")).expect("listed").count(), 7);
    for (number, network) in [(5, Network::Refusing), (6, Network::Resetting), (1, Network::Vanishing)] {
        service.emulator().set_network(network);
        std::thread::sleep(Duration::from_millis(100));
        let begun = Instant::now();
        let failure = read(number).expect_err("it is not here");
        assert_eq!(failure.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()), "{network:?}");
        assert!(begun.elapsed() < SOON, "{network:?}: {:?}", begun.elapsed());
    }
    let begun = Instant::now();
    std::fs::write(mount.path("docs/offline"), b"written offline").expect("writing is local");
    std::fs::rename(mount.path("docs/offline"), mount.path("docs/kept")).expect("renaming is local");
    std::fs::create_dir(mount.path("docs/folder")).expect("making folders is local");
    std::fs::remove_file(mount.path("docs/4")).expect("removing is local");
    assert_eq!(std::fs::read_dir(mount.path("docs")).expect("listed").count(), 8);
    assert_eq!(std::fs::metadata(mount.path("docs/2")).expect("known").len(), 30_000);
    assert!(rustix::fs::statvfs(mount.at()).is_ok());
    assert_eq!(read(0).expect("cached"), vec![0; 30_000]);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());

    service.emulator().set_network(Network::Up);
    let begun = Instant::now();
    while read(2).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not recover");
    }
    wait_until_uploaded(&home);
    assert_eq!(service.drive().read_file("docs/kept").as_deref(), Some(&b"written offline"[..]));
    assert_eq!(service.drive().read_file("docs/4"), None);
}

#[test]
fn the_kernel_learns_the_real_size() {
    let service = Service::new(Flavour::PersonalNew);
    let sizes = [
        ("shorter.heic", 50_000usize, 90_000),
        ("longer.heic", 90_000, 50_000),
        ("much-shorter.heic", 3_000_000, 3_500_000),
        ("much-longer.heic", 3_500_000, 3_000_000),
    ];
    let bytes = |length: usize| -> Vec<u8> { (0..length).map(|at| (at % 253) as u8).collect() };
    for (name, real, claimed) in sizes {
        service.drive().create_file(name, bytes(real));
        service.drive().claim_size(name, claimed);
    }
    let home = service.home("");
    let mount = service.mount(&home);
    for (name, real, _) in sizes {
        assert_eq!(std::fs::read(mount.path(name)).expect("readable"), bytes(real), "{name}");
        let begun = Instant::now();
        while std::fs::metadata(mount.path(name)).expect("there").len() != real as u64 {
            assert!(begun.elapsed() < Duration::from_secs(10), "the kernel never hears of it");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(std::fs::read(mount.path(name)).expect("readable"), bytes(real), "{name}");
    }
}

/// Whoever looks at a folder that somebody else has asked for shares what comes of that: six programs that look at one
/// folder of a service that says nothing have waited for two minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_look_at_one_folder_wait_for_one_answer_and_no_longer_than_one_would() {
    const PATIENCE: Duration = Duration::from_secs(20);
    let clock = FastClock::new(10);
    let (mut world, options, tokens) = world(Arc::new(clock.clone()), Side::PERSONAL).await;
    world.how.patience = PATIENCE;
    world.emulator.drive().create_file("docs/a", "a");
    let remote = stack::open(&options, tokens, world.clock.clone(), system_entropy()).expect("it opens").remote;
    let asked = Asked::new(remote);
    let core = world.open_on(asked.clone(), world.home.path()).await;
    core.prepare().await;
    let docs = User(&core).walk("docs").await.expect("no trouble yet");
    let lists = || asked.take().into_iter().filter(|(operation, _)| *operation == Operation::List).count();
    lists();

    let silence = asked.silence();
    let look = async || {
        let begun = clock.monotonic();
        let failed = core.volume.open_dir(docs).await.expect_err("nobody answers");
        assert!(matches!(failed, VolumeError::TimedOut), "{failed:?}");
        clock.monotonic().since(begun)
    };
    let waited = tokio::join!(look(), look(), look(), look(), look(), look());
    let longest = [waited.0, waited.1, waited.2, waited.3, waited.4, waited.5].into_iter().max();
    assert!(longest < Some(PATIENCE + Duration::from_secs(15)), "{waited:?}");
    assert_eq!(lists(), 1, "the service was asked once");

    // Who asked gives up, and another one who waits asks instead. Of what it does in the time that is left to it a third
    // one, who came later, learns nothing.
    let mut first = Box::pin(core.volume.open_dir(docs));
    let mut second = Box::pin(core.volume.open_dir(docs));
    assert!(futures_util::poll!(&mut first).is_pending() && futures_util::poll!(&mut second).is_pending());
    clock.sleep(Duration::from_secs(12)).await;
    drop(first);
    assert!(futures_util::poll!(&mut second).is_pending());
    let mut third = Box::pin(core.volume.open_dir(docs));
    assert!(futures_util::poll!(&mut third).is_pending());
    assert_eq!(lists(), 2);
    second.await.expect_err("its time is over");
    assert!(futures_util::poll!(&mut third).is_pending(), "it has time left");
    drop(silence);
    core.volume.release_dir(third.await.expect("it answers again"));
    assert_eq!(lists(), 1);
    assert_eq!(User(&core).list("docs").await.expect("known by now"), ["a"]);
    assert_eq!(lists(), 0);
    core.journal.close();
}
