//! Full: the local disk, the drive, a file, a name, a path. Nothing is torn, nothing is lost, and the errno says which.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use onedrive_mount::base::disk::RealDisk;
use onedrive_mount::daemon::core::Core;
use onedrive_mount::emulator::{Fault, Flavour, Rule, When};
use onedrive_mount::journal::{ParkReason, Progress};
use onedrive_mount::volume::{OpenHow, SetAttributes, VolumeError};
use rustix::io::Errno;

use crate::network;
use crate::world::clock::FastClock;
use crate::world::disk::{Behind, SmallDisk};
use crate::world::mount::Start;
use crate::world::service::{Service, places, wait_until_uploaded};
use crate::world::side::Side;
use crate::world::{User, World, eventually, settle, until};

mod copies;

const M: usize = 1 << 20;

fn content(length: usize, seed: u8) -> Vec<u8> {
    (0..length as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn write_says_no_before_the_disk_is_full_and_a_write_that_fails_tears_nothing() {
    const FLOOR: u64 = 16 << 20;
    let mut world = World::new(Flavour::Business).await;
    world.debounce = Duration::from_secs(3600);
    // A disk that tells how much is left, and one that others fill behind our back.
    for honest in [true, false] {
        let home = tempfile::tempdir().expect("a folder");
        let disk = SmallDisk::new(64 << 20, honest);
        let core = world.open_with(world.remote(), home.path(), Arc::new(Behind(disk.clone())), FLOOR).await;
        let user = User(&core);
        let safe = content(3 * M, 1);
        user.write(&format!("safe{honest}"), &safe).await.expect("fits");
        disk.set_left(if honest { 40 << 20 } else { (3 << 19) as u64 });
        let refused = user.write(&format!("more{honest}"), &content(40 * M, 2)).await;
        assert!(matches!(refused, Err(VolumeError::DiskFull)), "{refused:?}");
        if honest {
            // The disk itself says the same when it is full; the program said it before.
            assert!(disk.left() >= FLOOR, "{} bytes are left", disk.left());
        } else {
            // The first megabyte fitted, the second did not: what is there is whole, and nothing follows it.
            let torn = user.read("morefalse").await.expect("reads");
            assert_eq!(torn, content(M, 2));
            disk.set_left(64 << 20);
            let ino = user.walk("morefalse").await.expect("there");
            let grown = onedrive_mount::volume::SetAttributes { size: Some(2 * M as u64), ..Default::default() };
            core.volume.setattr(ino, None, grown).await.expect("grows");
            assert_eq!(user.read("morefalse").await.expect("reads"), [content(M, 2), vec![0; M]].concat());
        }
        assert_eq!(user.read(&format!("safe{honest}")).await.expect("reads"), safe);
        disk.set_left(1 << 40);
        user.write(&format!("later{honest}"), b"room again").await.expect("goes on");
        core.journal.close();
    }
}

/// A file system of its own; unmounted with its owner.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn of(size: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let options = format!("size={size}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).output();
        let mount = mount.expect("mount starts");
        assert!(mount.status.success(), "{}", String::from_utf8_lossy(&mount.stderr));
        Self(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

/// The floor is a quarter of what the cache leaves free, of the disk that the queue is on.
#[test]
fn work_that_waits_may_use_all_but_a_quarter_of_what_the_cache_leaves_free() {
    use std::io::Write as _;
    if !rustix::process::geteuid().is_root() {
        println!("only root may mount a small disk; the floor is not tried");
        return;
    }
    let small = Tmpfs::of("128m");
    let service = Service::new(Flavour::PersonalNew);
    let home = service.home("cache:\n  min_free: 64 MiB\nupload:\n  debounce: 1h\n");
    let (state, cache) = (small.path().join("state"), small.path().join("cache"));
    std::fs::create_dir(&state).expect("a folder");
    std::fs::copy(places(&home).token_file(), state.join("token.json")).expect("signed in");
    let options = [format!("--state-dir={}", state.display()), format!("--cache-dir={}", cache.display())];
    let mount = Start::with(options).mount(&home);
    let mut file = std::fs::File::create(mount.path("large")).expect("there is room");
    let refused = loop {
        if let Err(refused) = file.write_all(&[7; M]) {
            break refused;
        }
    };
    assert_eq!(refused.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
    let space = rustix::fs::statvfs(small.path()).expect("a disk");
    let left = space.f_bavail * space.f_frsize;
    // It is looked at again every 16 MiB.
    assert!((16 << 20..=32 << 20).contains(&left), "{left} bytes are left");
    drop(file);
    std::fs::remove_file(mount.path("large")).expect("removed");
}

/// On a real file system of 48 MiB: the cache gives way, the journal and the index meet SQLite's "disk full", and
/// whatever was acknowledged before arrives once there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_really_full_disk_loses_nothing_that_was_acknowledged() {
    if !rustix::process::geteuid().is_root() {
        println!("only root may mount a small disk; a full one is not tried");
        return;
    }
    let small = Tmpfs::of("48m");
    let mut world = World::new(Flavour::PersonalNew).await;
    let drive = world.emulator.drive();
    let large = content(56 * M, 9);
    drive.create_file("/large.bin", large.clone());
    world.debounce = Duration::from_secs(3600);
    let core = world.open_with(world.remote(), &small.path(), RealDisk::shared(), 0).await;
    let user = User(&core);
    // Larger than the disk: caching stops, reading goes on.
    assert!(user.read("large.bin").await.expect("reads") == large);
    let ballast = small.path().join("ballast");
    let fill = || {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&ballast).expect("opens");
        while file.write_all(&[7; 4096]).is_ok() {}
        while file.write_all(&[7; 64]).is_ok() {}
    };
    let mut acknowledged = Vec::new();
    let (mut refusals, mut refused_folders, mut folders) = (0, 0, Vec::new());
    for number in 0..60 {
        if number == 5 {
            core.cache.evict_now(0);
            fill();
        }
        if number == 40 {
            std::fs::remove_file(&ballast).expect("room again");
        }
        let name = format!("f{number:02}");
        let bytes = content(50_000 + number * 100, number as u8);
        match user.write(&name, &bytes).await {
            Ok(()) => acknowledged.push((name, bytes)),
            Err(VolumeError::DiskFull) => refusals += 1,
            Err(other) => panic!("{name}: {other:?}"),
        }
        match user.mkdir(&format!("d{number:02}")).await {
            Ok(()) => folders.push(format!("d{number:02}")),
            Err(VolumeError::DiskFull) => refused_folders += 1,
            Err(other) => panic!("a folder: {other:?}"),
        }
        for (name, bytes) in &acknowledged {
            assert!(user.read(name).await.expect("what was acknowledged can be read") == *bytes, "{name}");
        }
    }
    assert!(refusals > 10, "the disk was full: {refusals}");
    assert!(acknowledged.len() >= 20, "and had room before and after: {}", acknowledged.len());
    assert!(refused_folders > 5, "the journal's own file met the full disk: {refused_folders}");
    core.journal.close();
    drop(core);
    world.debounce = Duration::from_millis(20);
    let running = world.run_core(world.open_with(world.remote(), &small.path(), RealDisk::shared(), 0).await).await;
    running.settle().await;
    for (name, bytes) in &acknowledged {
        assert!(drive.read_file(&format!("/{name}")).as_ref() == Some(bytes), "{name}");
    }
    for name in &folders {
        assert!(drive.stat(&format!("/{name}")).is_some(), "{name}");
    }
    eprintln!(
        "{} files and {refusals} refusals; {} folders and {refused_folders} refusals",
        acknowledged.len(),
        folders.len()
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_its_upload_takes_the_room_of_clean_bytes() {
    let mut world = World::new(Flavour::Business).await;
    world.debounce = Duration::from_secs(3600);
    let running = world.run().await;
    let user = User(&running.core);
    user.write("unsent", &content(5 * M, 3)).await.expect("writes");
    for _ in 0..400 {
        if running.core.cache.usage().reserved == 5 * M as u64 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(running.core.cache.usage().reserved, 5 * M as u64);
    assert_eq!(running.core.journal.unsent_bytes(), 5 * M as u64);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_drive_says_so_in_time_or_parks_and_goes_on_when_there_is_room() {
    for flavour in [Flavour::PersonalNew, Flavour::Business] {
        let world = World::new(flavour).await;
        let drive = world.emulator.drive();
        drive.create_file("/old", content(2 * M, 1));
        drive.set_quota(20 << 20);
        let running = world.run().await;
        let core = &running.core;
        let user = User(core);
        too_much_is_refused_in_time(core).await;

        // The drive fills up after we asked: half-way through an upload session the service says 507.
        world
            .emulator
            .faults()
            .add(Rule::always("PUT", "*", Fault::status(When::Before, 507, "quotaLimitReached")).skip(1));
        let bytes = content(14 * M, 3);
        user.write("wanted", &bytes).await.expect("writes");
        parked(core, "wanted").await;
        assert_eq!(user.read("wanted").await.expect("stays readable"), bytes);
        assert_eq!(drive.stat("/wanted"), None);
        world.emulator.faults().clear();
        assert!(core.journal.room_in_the_cloud(Some(M as u64)).expect("asks"), "not enough room: it waits");
        assert!(core.journal.waits_for_room());
        let room = core.remote.quota().await.expect("the quota");
        assert!(!core.journal.room_in_the_cloud(room.remaining).expect("asks"));
        settle(core).await;
        assert!(drive.read_file("/wanted") == Some(bytes));
        running.stop().await;
    }
}

/// What does not fit into the drive, as it is known, fails in the write.
async fn too_much_is_refused_in_time(core: &Core) {
    let user = User(core);
    let known = core.remote.quota().await.expect("the quota");
    core.volume.set_quota(known);
    let refused = user.write("too much", &content(19 * M, 2)).await;
    assert!(matches!(refused, Err(VolumeError::QuotaFull)), "{refused:?}");
    user.unlink("too much").await.expect("what is there of it can go");
    settle(core).await;
}

async fn parked(core: &Core, name: &str) {
    let mut changes = core.journal.watch();
    let limit = tokio::time::sleep(Duration::from_secs(60));
    tokio::pin!(limit);
    loop {
        let states: Vec<Progress> = core.journal.view(|overlay| {
            overlay.iter().filter(|intent| intent.name == name).map(|intent| intent.progress.clone()).collect()
        });
        if states == [Progress::Parked(ParkReason::QuotaFull)] {
            return;
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = &mut limit => panic!("not parked: {states:?}"),
        }
    }
}

/// Live Connect looks at the space when a session's first fragment comes; what was known before is older.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_drive_behind_live_connect_says_so_in_time_or_parks_and_goes_on_when_there_is_room() {
    let world = World::new(Side::LIVE).await;
    let drive = world.emulator.drive();
    drive.create_file("/old", content(2 * M, 1));
    drive.set_quota(20 << 20);
    let running = world.run().await;
    let core = &running.core;
    let user = User(core);
    too_much_is_refused_in_time(core).await;

    // One goes with one request, one by BITS.
    for (name, size) in [("small", M), ("by bits", 14 * M)] {
        drive.set_quota(2 << 20);
        let bytes = content(size, 3);
        user.write(name, &bytes).await.expect("writes");
        parked(core, name).await;
        assert_eq!(user.read(name).await.expect("stays readable"), bytes);
        assert_eq!(drive.stat(&format!("/{name}")), None);
        assert!(core.journal.room_in_the_cloud(Some(10)).expect("asks"), "not enough room: it waits");
        drive.set_quota(20 << 20);
        let room = core.remote.quota().await.expect("the quota");
        assert!(!core.journal.room_in_the_cloud(room.remaining).expect("asks"));
        settle(core).await;
        assert!(drive.read_file(&format!("/{name}")) == Some(bytes));
    }
    assert_eq!(drive.open_sessions(), 0);
    running.stop().await;
}

/// 10 GiB: what lies below is taken, and not a byte more.
#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_live_connect_is_told_at_the_door() {
    let mut world = World::new(Side::LIVE).await;
    world.debounce = Duration::from_secs(3600);
    let running = world.run().await;
    let core = &running.core;
    let user = User(core);
    let limit = core.remote.caps().max_file;
    assert_eq!(limit, 10 << 30);
    user.write("sparse", b"begin").await.expect("writes");
    let ino = user.walk("sparse").await.expect("there");
    let fh = core.volume.open(ino, OpenHow { read: true, write: true, ..OpenHow::default() }).await.expect("opens").fh;
    for (offset, bytes) in [(limit, &b"x"[..]), (limit - 1, b"xy"), (u64::MAX, b"x")] {
        let beyond = core.volume.write(ino, Some(fh), offset, bytes).await;
        assert!(matches!(beyond, Err(VolumeError::TooLarge)), "at {offset}: {beyond:?}");
    }
    let sized = |size| SetAttributes { size: Some(size), ..SetAttributes::default() };
    let beyond = core.volume.setattr(ino, Some(fh), sized(limit + 1)).await.map(|_| ());
    assert!(matches!(beyond, Err(VolumeError::TooLarge)), "{beyond:?}");
    assert_eq!(user.read("sparse").await.expect("reads"), b"begin", "nothing of it is left behind");
    core.volume.write(ino, Some(fh), limit - 1, b"x").await.expect("the last byte that there may be");
    let last = core.volume.read(ino, fh, limit - 3, 10).await.expect("reads");
    assert_eq!(&last[..], b"\0\0x");
    core.volume.setattr(ino, Some(fh), sized(5)).await.expect("shrinks");
    core.volume.release(ino, fh);
    assert_eq!(user.read("sparse").await.expect("reads"), b"begin");
    running.stop().await;
}

/// What programs see of both, through the kernel.
#[test]
fn programs_see_the_numbers_of_a_full_drive_and_of_a_file_that_is_too_large() {
    use std::os::unix::fs::FileExt as _;
    for (side, limit) in [(Side::BUSINESS, 250_000_000_000), (Side::LIVE, 10_u64 << 30)] {
        let service = Service::new(side);
        service.drive().set_quota(4 << 20);
        let home = service.home("upload:\n  debounce: 0s\n");
        let mount = service.mount(&home);
        let file = std::fs::File::create(mount.path("file")).expect("a file");
        let number = |outcome: std::io::Result<()>| outcome.expect_err("too much").raw_os_error();
        assert_eq!(number(file.write_all_at(b"x", limit)), Some(Errno::FBIG.raw_os_error()), "{side:?}");
        assert_eq!(number(file.set_len(limit + 1)), Some(Errno::FBIG.raw_os_error()), "{side:?}");
        // The space is asked for by a task.
        until("the space is known", || {
            rustix::fs::statvfs(mount.at()).is_ok_and(|space| space.f_blocks * space.f_frsize == 4 << 20)
        });
        assert_eq!(number(file.write_all_at(&[7; 4096], 5 << 20)), Some(Errno::DQUOT.raw_os_error()), "{side:?}");
        drop(file);
        std::fs::remove_file(mount.path("file")).expect("removed");
        std::fs::write(mount.path("small"), "fits").expect("there is room for it");
        wait_until_uploaded(&home);
        assert_eq!(service.drive().read_file("/small").as_deref(), Some(&b"fits"[..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_for_a_full_drive_goes_on_by_itself_when_there_is_room() {
    tokio::join!(room_is_noticed(Side::PERSONAL), room_is_noticed(Side::BUSINESS), room_is_noticed(Side::LIVE));
}

async fn room_is_noticed(side: Side) {
    // The drive is asked every minute while something waits for room.
    let clock = FastClock::new(10);
    let (world, options, tokens) = network::world(Arc::new(clock.clone()), side).await;
    let drive = world.emulator.drive();
    drive.create_file("/old", content(2 * M, 1));
    drive.set_quota(20 << 20);
    let running = network::open(&world, &options, &tokens).await;
    let core = &running.core;
    core.spawn_tasks(&running.tasks);
    eventually("the quota is known", || async { core.volume.quota().remaining == Some(18 << 20) }).await;

    // It fills up after we asked.
    drive.set_quota(3 << 20);
    let (wanted, small) = (content(6 * M, 2), content(1000, 3));
    User(core).write("wanted", &wanted).await.expect("as far as the daemon knows there is room");
    parked(core, "wanted").await;
    User(core).write("small", &small).await.expect("there is room for it");
    eventually("what fits goes on", || async { drive.read_file("/small").as_ref() == Some(&small) }).await;

    // Not enough: it is noticed, and the file stays where it is.
    drive.set_quota(4 << 20);
    let noticed = |total: u64| move || async move { core.volume.quota().total == Some(total) };
    eventually("the new quota is noticed", noticed(4 << 20)).await;
    parked(core, "wanted").await;
    assert_eq!(drive.stat("/wanted"), None, "{side:?}");
    assert!(User(core).read("wanted").await.expect("stays readable") == wanted, "{side:?}");

    drive.set_quota(100 << 20);
    settle(core).await;
    assert!(drive.read_file("/wanted") == Some(wanted), "{side:?}");
    assert!(core.volume.quota().total == Some(100 << 20), "{side:?}: by asking, and not by trying");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_the_service_are_told_at_the_door() {
    let world = World::new(Flavour::Business).await;
    let running = world.run().await;
    let core = &running.core;
    let user = User(core);
    user.write("sparse", b"begin").await.expect("writes");
    let ino = user.walk("sparse").await.expect("there");
    let fh = core.volume.open(ino, OpenHow { read: true, write: true, ..OpenHow::default() }).await.expect("opens").fh;
    let limit = core.remote.caps().max_file;
    assert_eq!(limit, 250_000_000_000);
    let beyond = core.volume.write(ino, Some(fh), limit, b"x").await;
    assert!(matches!(beyond, Err(VolumeError::TooLarge)), "{beyond:?}");
    let beyond = core.volume.write(ino, Some(fh), u64::MAX, b"x").await;
    assert!(matches!(beyond, Err(VolumeError::TooLarge)), "{beyond:?}");
    let grown = onedrive_mount::volume::SetAttributes { size: Some(limit + 1), ..Default::default() };
    let beyond = core.volume.setattr(ino, Some(fh), grown).await.map(|_| ());
    assert!(matches!(beyond, Err(VolumeError::TooLarge)), "{beyond:?}");
    core.volume.release(ino, fh);
    assert_eq!(user.read("sparse").await.expect("reads"), b"begin");

    let long = "n".repeat(256);
    assert!(matches!(user.write(&long, b"x").await, Err(VolumeError::TooLong(_))));
    let name = "d".repeat(90);
    let mut path = String::new();
    for _ in 0..4 {
        path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        user.mkdir(&path).await.expect("up to 400 characters");
    }
    assert!(matches!(user.mkdir(&format!("{path}/{name}")).await, Err(VolumeError::TooLong(_))));
    user.write(&format!("{path}/deep"), b"x").await.expect("368 characters");
    user.mkdir("outer").await.expect("mkdir");
    let longer = "e".repeat(140);
    let refused = user.rename(&name, &longer).await;
    assert!(matches!(refused, Err(VolumeError::TooLong(_))), "what is deep inside counts: {refused:?}");
    let refused = user.rename(&name, &format!("outer/{}", "f".repeat(120))).await;
    assert!(matches!(refused, Err(VolumeError::TooLong(_))), "{refused:?}");
    user.rename(&name, "short").await.expect("shorter is fine");
    settle(core).await;
    running.stop().await;
}

/// In a process of its own, because the limit is the process's.
#[test]
fn more_new_files_than_may_be_open_at_a_time_are_written_kept_and_sent() {
    const CHILD: &str = "TEST_WITH_FEW_OPEN_FILES";
    if std::env::var_os(CHILD).is_none() {
        let name = "full::more_new_files_than_may_be_open_at_a_time_are_written_kept_and_sent";
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .expect("starts");
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
        assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"), "the child ran another test");
        return;
    }
    use rustix::process::{Resource, Rlimit, setrlimit};
    const LIMIT: u64 = 400;
    const FILES: usize = 1200;
    setrlimit(Resource::Nofile, Rlimit { current: Some(LIMIT), maximum: Some(LIMIT) }).expect("a lower limit");
    crate::world::generated::runtime(2).block_on(async {
        let mut world = World::new(Flavour::PersonalNew).await;
        world.debounce = Duration::from_secs(3600);
        let core = world.open().await;
        core.prepare().await;
        assert!(User(&core).list("").await.expect("lists").is_empty());
        world.emulator.set_online(false);
        let named = |number: usize| format!("file {number}");
        for number in 0..FILES {
            User(&core).write(&named(number), named(number).as_bytes()).await.expect("writes");
        }
        // One is read, and written again, while its name is taken away: what is open stays open.
        let volume = &core.volume;
        let ino = User(&core).walk(&named(7)).await.expect("there");
        let how = OpenHow { read: true, write: true, ..OpenHow::default() };
        let opened = volume.open(ino, how).await.expect("opens");
        User(&core).unlink(&named(7)).await.expect("removes");
        core.journal.sync().await.expect("durable");
        for number in (0..FILES).filter(|number| *number != 7) {
            assert_eq!(User(&core).read(&named(number)).await.expect("reads"), named(number).into_bytes());
        }
        volume.write(ino, Some(opened.fh), 0, b"F").await.expect("writes what has no name");
        assert_eq!(&volume.read(ino, opened.fh, 0, 100).await.expect("reads")[..], b"File 7");
        volume.release(ino, opened.fh);
        core.journal.close();
        drop(core);

        world.emulator.set_online(true);
        world.debounce = Duration::ZERO;
        let core = world.open().await;
        assert_eq!(core.journal.backlog(), (FILES - 1, 0));
        let begun = std::time::Instant::now();
        while core.journal.backlog() != (0, 0) {
            assert!(begun.elapsed() < Duration::from_secs(120), "not sent: {:?}", core.journal.backlog());
            let _ = core.journal.retry_all();
            core.uploader.step().await;
        }
        let drive = world.emulator.drive();
        assert_eq!(drive.list("/").len(), FILES - 1);
        for number in (0..FILES).filter(|number| *number != 7) {
            assert_eq!(drive.read_file(&format!("/{}", named(number))), Some(named(number).into_bytes()));
        }
        core.journal.close();
    });
}
