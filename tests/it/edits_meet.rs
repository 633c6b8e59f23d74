//! Edits that meet something in the middle: another version, another edit, the end of the daemon, a name that is taken.
//!
//! An edit of a file that is not here has only the bytes that were written; the rest is still in the version it was made
//! on. Whatever happens to that version meanwhile, the file that arrives is one that the user has seen.

mod former;
mod landed;
mod opened;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use onedrive_mount::base::ids::{Fh, Ino};
use onedrive_mount::daemon::core::Core;
use onedrive_mount::emulator::{Fault, Flavour, Host, Rule, When};
use onedrive_mount::fuse::{self, MountOptions, NotifyQueue};
use onedrive_mount::volume::{OpenHow, SetAttributes, VolumeError};

use crate::volume_model::local_tree_of;
use crate::world::disk::{Behind, Between};
use crate::world::model::Node;
use crate::world::mount::require_fuse;
use crate::world::ops::cloud_tree;
use crate::world::side::Side;
use crate::world::{MANY_FRAGMENTS, User, World};

const SIDES: [Side; 3] = [Side::PERSONAL, Side::BUSINESS, Side::LIVE];

fn pattern(seed: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| ((at * 31 + seed * 7) ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

fn patched(mut bytes: Vec<u8>, at: usize, with: &[u8]) -> Vec<u8> {
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

/// A drive whose uploader does a step when it is told to.
struct Bench {
    world: World,
    core: Core,
}

impl Bench {
    async fn new(side: impl Into<Side>, files: &[(&str, &[u8])]) -> Self {
        let mut world = World::new(side).await;
        (world.debounce, world.how) = (Duration::ZERO, MANY_FRAGMENTS);
        for (path, bytes) in files {
            world.emulator.drive().create_file(path, bytes.to_vec());
        }
        let core = world.open().await;
        core.prepare().await;
        core.poller.prepare().await.expect("a cursor");
        User(&core).list("").await.expect("the root");
        Self { world, core }
    }

    fn user(&self) -> User<'_> {
        User(&self.core)
    }

    async fn open(&self, path: &str) -> (Ino, Fh) {
        let ino = self.user().walk(path).await.expect("there");
        let how = OpenHow { read: true, write: true, ..OpenHow::default() };
        (ino, self.core.volume.open(ino, how).await.expect("opens").fh)
    }

    async fn close(&self, (ino, fh): (Ino, Fh)) {
        self.core.volume.flush(ino, fh).await.expect("closes");
        self.core.volume.release(ino, fh);
    }

    /// Everything comes to rest; both sides have the same, which is returned in few words.
    async fn rest(&self) -> Vec<(String, Vec<u8>)> {
        for _ in 0..30 {
            self.core.journal.retry_all().expect("the journal takes it");
            while self.core.uploader.step().await {}
            self.core.poller.poll_now().await.expect("polls");
        }
        let left: Vec<String> = self.core.journal.view(|all| {
            all.iter().map(|one| format!("{}: {:?} {:?}", one.name, one.progress, one.last_error)).collect()
        });
        assert_eq!(left, [""; 0]);
        let cloud = cloud_tree(self.world.emulator.drive());
        let local = local_tree_of(&self.core).await.expect("lists");
        let names = |tree: &std::collections::BTreeMap<String, Node>| tree.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&local), names(&cloud));
        assert!(local == cloud, "the contents differ");
        cloud
            .into_iter()
            .map(|(path, node)| match node {
                Node::File(bytes) => (path, bytes),
                Node::Folder => (path, Vec::new()),
            })
            .collect()
    }
}

fn same(found: &[(String, Vec<u8>)], wanted: &[(&str, &[u8])]) {
    let names: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    let expected: Vec<&str> = wanted.iter().map(|(path, _)| *path).collect();
    assert_eq!(names, expected);
    for ((path, bytes), (_, wanted)) in found.iter().zip(wanted) {
        assert!(bytes == wanted, "{path} is not what it was to be");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_edited_a_little_and_renamed_over_another_keeps_the_rest() {
    for side in SIDES {
        let (big, old) = (pattern(1, 8 << 20), pattern(2, 3000));
        let wanted = patched(big.clone(), 5, b"EDIT");
        // By a rename over the other, and into the place of one that was deleted.
        for over in [true, false] {
            let bench = Bench::new(side, &[("big", &big), ("old", &old)]).await;
            bench.user().patch("big", 5, b"EDIT").await.expect("writes");
            if !over {
                bench.user().unlink("old").await.expect("goes");
            }
            bench.user().rename("big", "old").await.expect("moves");
            // The rest cannot be fetched for a while; whatever else is due goes first.
            let broken = Rule::always("GET", "*", Fault::Reset { when: When::Before }).on(Host::Storage);
            bench.world.emulator.faults().add(broken);
            while bench.core.uploader.step().await {}
            bench.world.emulator.faults().clear();
            same(&bench.rest().await, &[("old", &wanted)]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_through_a_handle_goes_into_the_version_it_was_opened_on() {
    for side in SIDES {
        let (first, second) = (pattern(1, 9000), pattern(2, 9500));
        let bench = Bench::new(side, &[("doc", &first)]).await;
        assert!(bench.user().read("doc").await.expect("reads") == first);
        let (ino, fh) = bench.open("doc").await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        bench.world.emulator.drive().write_file("doc", second.clone());
        bench.core.poller.poll_now().await.expect("polls");
        assert!(bench.user().read("doc").await.expect("reads") == second, "{side:?}: others see the new version");
        let volume = &bench.core.volume;
        for (asked, size) in [(Some(fh), 9000), (None, 9500)] {
            let told = volume.getattr_through(ino, asked).await.expect("there");
            assert_eq!((told.size, told.ttl), (size, Duration::ZERO), "{side:?}: true for this question only");
        }
        assert_eq!(volume.seek(ino, fh, 0, true).expect("its end"), 9000, "{side:?}");
        bench.core.volume.write(ino, Some(fh), 0, b"MINE").await.expect("its version is here");
        let wanted = patched(first, 0, b"MINE");
        let read = bench.core.volume.read(ino, fh, 0, 1 << 20).await.expect("reads");
        assert!(read[..] == wanted, "{side:?}: the handle reads what it wrote");
        bench.close((ino, fh)).await;
        let found = bench.rest().await;
        let [(name, theirs), (kept, mine)] = &found[..] else { panic!("{side:?}: {} files", found.len()) };
        assert!(kept.starts_with("doc (laptop, ") && name == "doc", "{side:?}: {kept}, {name}");
        assert!(*mine == wanted && *theirs == second, "{side:?}: a mixture");
    }
}

/// The kernel does not say whose it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_comes_when_its_file_is_closed_and_replaced_goes_nowhere() {
    for side in SIDES {
        let (first, second) = (pattern(1, 9000), pattern(2, 9500));
        let bench = Bench::new(side, &[("doc", &first)]).await;
        let (ino, fh) = bench.open("doc").await;
        bench.core.volume.read(ino, fh, 0, 9000).await.expect("reads");
        bench.core.volume.release(ino, fh);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        bench.world.emulator.drive().write_file("doc", second.clone());
        bench.core.poller.poll_now().await.expect("polls");
        let written = bench.core.volume.write(ino, None, 4096, b"PAGE").await;
        assert!(matches!(written, Err(VolumeError::Stale)), "{side:?}: {written:?}");
        same(&bench.rest().await, &[("doc", &second)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_on_a_version_that_is_gone_is_not_written_through() {
    for side in SIDES {
        let (first, second) = (pattern(1, 900_000), pattern(2, 950_000));
        let bench = Bench::new(side, &[("doc", &first)]).await;
        let (ino, fh) = bench.open("doc").await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        bench.world.emulator.drive().write_file("doc", second.clone());
        bench.core.poller.poll_now().await.expect("polls");
        let volume = &bench.core.volume;
        let written = volume.write(ino, Some(fh), 0, b"MINE").await;
        assert!(matches!(written, Err(VolumeError::Stale)), "{side:?}: {written:?}");
        // Whoever wants nothing of the old one can go on; and that is no silent victory over the new one.
        volume
            .setattr(ino, Some(fh), SetAttributes { size: Some(0), ..SetAttributes::default() })
            .await
            .expect("empties");
        volume.write(ino, Some(fh), 0, b"all anew").await.expect("writes");
        bench.close((ino, fh)).await;
        let found = bench.rest().await;
        let [(name, theirs), (_, mine)] = &found[..] else { panic!("{side:?}: {} files", found.len()) };
        assert!(name == "doc" && *theirs == second && mine == b"all anew", "{side:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_in_place_after_a_promise_does_not_damage_what_was_promised() {
    for closed_once in [false, true] {
        for next_boot in [false, true] {
            let bench = Bench::new(Flavour::PersonalNew, &[]).await;
            let remote = bench.world.remote();
            let identity = remote.identity().await.expect("a drive");
            let first = pattern(1, 200_000);
            bench.user().write("db", b"").await.expect("made");
            let (ino, fh) = bench.open("db").await;
            let volume = &bench.core.volume;
            volume.write(ino, Some(fh), 0, &first).await.expect("writes");
            if closed_once {
                // By a duplicate of the descriptor.
                volume.flush(ino, fh).await.expect("closes");
                bench.core.journal.sync().await.expect("safe");
            } else {
                volume.fsync(ino, Some(fh), false).await.expect("safe");
            }
            volume.write(ino, Some(fh), 10, b"IN PLACE").await.expect("writes");
            volume.write(ino, Some(fh), 250_000, b"beyond").await.expect("writes");
            let Bench { world, core } = bench;
            drop(core);
            let core = if next_boot {
                world.open_after_boot(remote, identity, world.home.path())
            } else {
                world.open_as(remote, identity, world.home.path())
            };
            core.prepare().await;
            core.poller.prepare().await.expect("a cursor");
            let bench = Bench { world, core };
            let found = bench.user().read("db").await.expect("not damaged");
            assert!(found.len() >= first.len(), "what was promised is there");
            assert!(found[18..200_000] == first[18..] && found[..10] == first[..10], "what was promised is there");
            // What follows the promised end is what was written there, or nothing.
            let (gap, beyond) = found[first.len()..].split_at((found.len() - first.len()).min(50_000));
            assert!(gap.iter().all(|byte| *byte == 0) && b"beyond".starts_with(beyond));
            bench.user().patch("db", 210_000, b"later").await.expect("writes");
            let wanted = bench.user().read("db").await.expect("reads");
            assert!(wanted[first.len()..210_000].iter().all(|byte| *byte == 0));
            same(&bench.rest().await, &[("db", &wanted)]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_that_begins_while_the_rest_of_another_is_fetched_misses_nothing() {
    for side in SIDES {
        let big = pattern(1, 9 << 20);
        let bench = Bench::new(side, &[("big", &big)]).await;
        bench.user().patch("big", 5, b"FIRST").await.expect("writes");
        let stall = Fault::Stall { when: When::Before, duration: Duration::from_millis(1500) };
        let stalled = bench.world.emulator.faults().add(Rule::once("GET", "*", stall).on(Host::Storage).skip(1));
        let second = async {
            while bench.world.emulator.faults().struck(stalled) == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let (ino, fh) = bench.open("big").await;
            bench.core.volume.write(ino, Some(fh), 40, b"SECOND").await.expect("writes");
            (ino, fh)
        };
        let steps = async {
            // Nobody else touches it while a handle is open that writes.
            bench.core.uploader.step().await;
        };
        let ((), (ino, fh)) = tokio::join!(steps, second);
        assert!(
            bench.world.emulator.drive().read_file("/big") == Some(patched(big.clone(), 5, b"FIRST")),
            "{side:?}: the first edit has arrived"
        );
        bench.core.cache.evict_now(0);
        let wanted = patched(patched(big.clone(), 5, b"FIRST"), 40, b"SECOND");
        let mut read = Vec::new();
        while read.len() < wanted.len() {
            let piece = bench.core.volume.read(ino, fh, read.len() as u64, 1 << 20).await.expect("reads");
            read.extend_from_slice(&piece);
        }
        assert!(read == wanted, "{side:?}: read through the handle");
        bench.close((ino, fh)).await;
        same(&bench.rest().await, &[("big", &wanted)]);
    }
}

/// Closed before the first has landed, it waits to be sent and is not being written any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_that_ends_while_the_rest_of_another_is_fetched_misses_nothing() {
    for side in SIDES {
        let big = pattern(1, 3 << 20);
        let bench = Bench::new(side, &[("big", &big)]).await;
        bench.user().patch("big", 5, b"FIRST").await.expect("writes");
        let stall = Fault::Stall { when: When::Before, duration: Duration::from_millis(1500) };
        let stalled = bench.world.emulator.faults().add(Rule::once("GET", "*", stall).on(Host::Storage));
        let second = async {
            while bench.world.emulator.faults().struck(stalled) == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            bench.user().patch("big", 40, b"SECOND").await.expect("writes");
        };
        tokio::join!(bench.core.uploader.step(), second);
        // Nothing is left of the version that both were made from.
        bench.core.cache.evict_now(0);
        let wanted = patched(patched(big.clone(), 5, b"FIRST"), 40, b"SECOND");
        same(&bench.rest().await, &[("big", &wanted)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_between_two_halves_of_an_upload_does_not_make_a_mixture() {
    for side in SIDES {
        let first = pattern(1, 7 << 20);
        let bench = Bench::new(side, &[]).await;
        bench.user().write("film", &first).await.expect("writes");
        same(&bench.rest().await, &[("film", &first)]);
        // Cut by its name: no handle, and so no close.
        let ino = bench.user().walk("film").await.expect("there");
        let cut = SetAttributes { size: Some(6 << 20), ..SetAttributes::default() };
        bench.core.volume.setattr(ino, None, cut).await.expect("cuts");
        let (method, host) = if side.live { ("Fragment", Host::Bits) } else { ("PUT", Host::Storage) };
        let broken = Rule::once(method, "*", Fault::Reset { when: When::Before }).on(host).skip(3);
        let broken = bench.world.emulator.faults().add(broken);
        bench.core.uploader.step().await;
        assert_eq!(bench.world.emulator.faults().struck(broken), 1, "{side:?}: it broke off on the way");
        bench.user().patch("film", 100, b"between the halves").await.expect("writes");
        let wanted = patched(first[..6 << 20].to_vec(), 100, b"between the halves");
        same(&bench.rest().await, &[("film", &wanted)]);
        for version in bench.world.emulator.drive().versions("/film") {
            let seen = version == first || version == first[..6 << 20] || version == wanted;
            assert!(seen, "{side:?}: a version of {} bytes that nobody made", version.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_file_whose_new_name_is_taken_steps_aside_and_stays_itself() {
    for side in SIDES {
        let bench = Bench::new(side, &[("a", b"as it was")]).await;
        let id = bench.world.emulator.drive().id("/a").expect("there");
        bench.user().write("a", b"edited").await.expect("writes");
        bench.user().rename("a", "b").await.expect("moves");
        bench.world.emulator.drive().create_file("b", b"somebody else's".to_vec());
        let found = bench.rest().await;
        let [(name, theirs), (ours, edited)] = &found[..] else { panic!("{side:?}: {found:?}") };
        assert!(ours.starts_with("b (laptop, ") && edited == b"edited", "{side:?}: {found:?}");
        assert!(name == "b" && theirs == b"somebody else's", "{side:?}: {found:?}");
        assert_eq!(bench.world.emulator.drive().id(&format!("/{ours}")), Some(id), "{side:?}: it is another item");
    }
}

/// A disk on which a copy takes until it is allowed.
#[derive(Default)]
struct SlowCopies {
    /// How many copies have begun, and whether copies may end.
    state: Mutex<(usize, bool)>,
    moved: Condvar,
}

impl SlowCopies {
    /// Waits until so many copies have begun; says whether that was so in time.
    fn have_begun(&self, copies: usize, limit: Duration) -> bool {
        let fewer = |state: &mut (usize, bool)| state.0 < copies;
        let state = self.state.lock().expect("no panic");
        !self.moved.wait_timeout_while(state, limit, fewer).expect("no panic").1.timed_out()
    }

    fn may_end(&self) {
        self.state.lock().expect("no panic").1 = true;
        self.moved.notify_all();
    }
}

impl Between for SlowCopies {
    fn copy(&self, _: &Path) {
        let mut state = self.state.lock().expect("no panic");
        state.0 += 1;
        self.moved.notify_all();
        let allowed = |state: &mut (usize, bool)| !state.1;
        drop(self.moved.wait_timeout_while(state, Duration::from_secs(60), allowed).expect("no panic"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_waits_while_a_large_file_is_copied() {
    let world = World::new(Flavour::PersonalNew).await;
    let slow = Arc::new(SlowCopies::default());
    let core = world.open_with(world.remote(), world.home.path(), Arc::new(Behind(slow.clone())), 0).await;
    core.prepare().await;
    let core = Arc::new(core);
    User(&core).write("large", &pattern(1, 1 << 20)).await.expect("writes");
    User(&core).write("other", b"small").await.expect("writes");
    let appending = tokio::spawn({
        let core = core.clone();
        async move { User(&core).patch("large", 1 << 20, b"more").await }
    });
    let waiter = slow.clone();
    let begun = tokio::task::spawn_blocking(move || waiter.have_begun(1, Duration::from_secs(30)));
    assert!(begun.await.expect("no panic"), "the sealed content was to be copied");
    // On a thread of its own: what waits for a lock would not notice a deadline.
    let (told, tells) = std::sync::mpsc::channel();
    let (others, runtime) = (core.clone(), tokio::runtime::Handle::current());
    std::thread::spawn(move || {
        let names = runtime.block_on(User(&others).list(""));
        let bytes = runtime.block_on(User(&others).read("other"));
        let made = runtime.block_on(User(&others).write("new", b"made meanwhile"));
        let unsent = others.journal.unsent_bytes();
        let _ = told.send((names.map(|names| names.len()), bytes, made, unsent));
    });
    let answer = tells.recv_timeout(Duration::from_secs(20));
    slow.may_end();
    let (names, bytes, made, _) = answer.expect("everybody waited for the copy");
    assert_eq!((names.expect("lists"), &bytes.expect("reads")[..]), (2, &b"small"[..]));
    made.expect("writes");
    appending.await.expect("no panic").expect("appends");
    let large = User(&core).read("large").await.expect("reads");
    assert!(large.len() == (1 << 20) + 4 && large.ends_with(b"more"));
}

/// As many first writes as there may be threads that read requests, each to a large file that waits for its upload.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mount_answers_while_large_files_are_copied_for_their_first_writes() {
    const FILES: usize = 4;
    require_fuse();
    let mut world = World::new(Flavour::PersonalNew).await;
    world.debounce = Duration::from_secs(3600);
    let slow = Arc::new(SlowCopies::default());
    let core = world.open_with(world.remote(), world.home.path(), Arc::new(Behind(slow.clone())), 0).await;
    core.prepare().await;
    for number in 0..FILES {
        User(&core).write(&format!("large{number}"), &pattern(number as u64, 9 << 20)).await.expect("writes");
    }
    User(&core).write("other", b"small").await.expect("writes");
    let at = tempfile::tempdir().expect("a folder");
    let (volume, folder, clock) = (core.volume.clone(), at.path().to_owned(), world.clock.clone());
    let runtime = tokio::runtime::Handle::current();
    let mounted = tokio::task::spawn_blocking(move || {
        fuse::mount(volume, &folder, &MountOptions::default(), &NotifyQueue::new(), runtime, clock)
    });
    let mounted = mounted.await.expect("no panic").expect("mounts");

    // Other processes look into it: this one serves it.
    let place = at.path().to_owned();
    let (copies, told) = tokio::task::spawn_blocking(move || {
        let write = |number| {
            let file = place.join(format!("large{number}"));
            let mut dd = Command::new("dd");
            dd.args(["if=/dev/zero", "bs=4096", "count=1", "conv=notrunc", "status=none"]);
            dd.arg(format!("of={}", file.display())).spawn().expect("dd starts")
        };
        let writers: Vec<_> = (0..FILES).map(write).collect();
        let copies = slow.have_begun(FILES, Duration::from_secs(10));
        let mut stat = Command::new("stat");
        stat.arg(place.join("other")).stdout(Stdio::null());
        let mut stat = stat.spawn().expect("stat starts");
        let begun = Instant::now();
        let told = loop {
            match stat.try_wait().expect("a child") {
                Some(status) => break status.success(),
                None if begun.elapsed() > Duration::from_secs(10) => break false,
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        slow.may_end();
        for mut writer in writers {
            assert!(writer.wait().expect("a child").success(), "a write failed");
        }
        let _ = stat.wait();
        (copies, told)
    })
    .await
    .expect("no panic");
    mounted.unmount(Duration::from_secs(5)).await.expect("unmounts");
    assert!(told, "what else was asked waited for the copies");
    assert!(copies, "a first write waited for that of another file");
    for number in 0..FILES {
        let bytes = User(&core).read(&format!("large{number}")).await.expect("reads");
        let mut wanted = pattern(number as u64, 9 << 20);
        wanted[..4096].fill(0);
        assert!(bytes == wanted, "large{number}");
    }
    core.journal.close();
}

/// As a shell does whose commands inherit what the script writes to: they end, and with each a descriptor of it is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_written_while_another_descriptor_is_closed_is_there_after_a_death() {
    const LINES: u64 = 300;
    let mut world = World::new(Side::PERSONAL).await;
    world.debounce = Duration::from_secs(3600);
    let core = world.open().await;
    let user = User(&core);
    user.write("log", b"").await.expect("makes");
    let ino = user.walk("log").await.expect("there");
    let how = OpenHow { read: true, write: true, ..OpenHow::default() };
    let fh = core.volume.open(ino, how).await.expect("opens").fh;
    let volume = core.volume.clone();
    let closes = {
        let volume = volume.clone();
        // The end of the test ends it where it yields.
        tokio::spawn(async move {
            loop {
                volume.flush(ino, fh).await.expect("closes");
                tokio::task::yield_now().await;
            }
        })
    };
    let stored = rusqlite::Connection::open_with_flags(
        world.home.path().join("state/journal/journal.db"),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    )
    .expect("the journal");
    for line in 1..=LINES {
        volume.write_now(ino, Some(fh), (line - 1) * 10, b"123456789\n").expect("writes");
        volume.flush(ino, fh).await.expect("closes");
        let rows = "SELECT max(json_extract(row, '$.size')) FROM spools";
        let size: u64 = stored.query_row(rows, [], |row| row.get(0)).expect("a row");
        assert_eq!(size, line * 10, "line {line}: a death now would take the end");
    }
    closes.abort();
    volume.release(ino, fh);
}
