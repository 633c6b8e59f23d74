//! The first write to a large file begins with a copy of it. On a disk that has no room for the copy nothing is filled to
//! the last byte, nothing is lost, and what was written arrives.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use onedrive_mount::base::disk::{Disk as _, RealDisk};
use onedrive_mount::daemon::core::Core;
use onedrive_mount::emulator::Flavour;
use onedrive_mount::volume::VolumeError;

use super::{M, Tmpfs, content};
use crate::world::disk::{Behind, SmallDisk};
use crate::world::{Running, User, World, eventually};

/// What stays free for others, in bytes.
const FLOOR: u64 = 8 << 20;

/// A drive on a disk of its own.
struct Bench {
    world: World,
    disk: Tmpfs,
}

impl Bench {
    /// `None` where small disks cannot be made.
    async fn new(size: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("only root may mount a small disk; copies on one are not tried");
            return None;
        }
        Some(Self { world: World::new(Flavour::PersonalNew).await, disk: Tmpfs::of(size) })
    }

    async fn open(&self) -> Core {
        self.world.emulator.set_online(true);
        self.world.open_with(self.world.remote(), &self.disk.path(), RealDisk::shared(), FLOOR).await
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        let grown = Command::new("mount").args(["-o", &options]).arg(self.disk.path()).status();
        assert!(grown.expect("mount starts").success());
    }

    #[track_caller]
    fn floor_stands(&self, when: &str) {
        let free = RealDisk.free_space(&self.disk.path()).expect("known");
        assert!(free >= FLOOR, "{when}: {free} bytes are free");
    }

    fn spool_files(&self) -> Vec<PathBuf> {
        spool_files(&self.disk.path())
    }
}

fn spool_files(home: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(home.join("state/journal/spool")).expect("there").flatten();
    all.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}

fn patched(mut bytes: Vec<u8>, at: usize, with: &[u8]) -> Vec<u8> {
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

/// What an edit needs is on this machine, and stays there whatever else makes way.
async fn reads_offline(core: &Core, wanted: &[u8], when: &str) {
    core.cache.evict_now(0);
    let read = User(core).read("large").await;
    assert!(read.as_ref().is_ok_and(|bytes| bytes == wanted), "{when}: {:?}", read.map(|bytes| bytes.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_write_to_a_large_cached_file_does_not_fill_the_disk_and_arrives() {
    let Some(mut bench) = Bench::new("80m").await else { return };
    bench.world.debounce = Duration::from_secs(3600);
    let drive = bench.world.emulator.drive();
    let before = content(40 * M, 1);
    drive.create_file("/large", before.clone());
    let core = bench.open().await;
    assert!(User(&core).read("large").await.expect("reads") == before);
    // Bytes are handed out before they are kept.
    eventually("the whole file is here", async || core.cache.usage().bytes == 40 << 20).await;
    bench.world.emulator.set_online(false);

    User(&core).patch("large", 1000, &[7; 4096]).await.expect("there is room for what is written");
    let wanted = patched(before.clone(), 1000, &[7; 4096]);
    bench.floor_stands("after the first write");
    reads_offline(&core, &wanted, "while nothing else has the rest").await;
    core.journal.close();
    drop(core);

    // Its sender tries as soon as it can.
    bench.world.debounce = Duration::from_millis(10);
    let core = bench.open().await;
    bench.world.emulator.set_online(false);
    reads_offline(&core, &wanted, "after a restart").await;
    let Running { core, tasks } = bench.world.run_core(core).await;
    bench.world.emulator.set_online(true);
    let told = || async {
        let _ = core.journal.retry_all();
        let why =
            core.journal.view(|all| all.iter().filter_map(|intent| intent.last_error.clone()).collect::<String>());
        why.contains("no room")
    };
    eventually("the sender says what it waits for", told).await;
    bench.floor_stands("while it waits for room");
    assert!(drive.read_file("/large") == Some(before));
    reads_offline(&core, &wanted, "while it waits for room").await;

    bench.grow("200m");
    core.journal.retry_all().expect("tries again");
    let running = Running { core, tasks };
    running.settle().await;
    assert!(drive.read_file("/large") == Some(wanted));
    let freed = running.core.cache.evict_now(0);
    assert!(freed > 0 && running.core.cache.usage().bytes == 0, "nothing is held any more");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_to_a_large_file_that_waits_for_its_upload_says_full_and_changes_nothing() {
    let Some(mut bench) = Bench::new("80m").await else { return };
    bench.world.debounce = Duration::from_millis(10);
    let core = bench.open().await;
    assert!(User(&core).list("").await.expect("lists").is_empty());
    bench.world.emulator.set_online(false);
    let before = content(40 * M, 2);
    User(&core).write("large", &before).await.expect("there is room for it");
    assert_eq!(bench.spool_files().len(), 1);

    let refused = User(&core).patch("large", 1000, &[7; 4096]).await;
    assert!(matches!(refused, Err(VolumeError::DiskFull)), "{refused:?}");
    bench.floor_stands("after the refusal");
    assert_eq!(bench.spool_files().len(), 1, "nothing of the copy is left");
    reads_offline(&core, &before, "after the refusal").await;

    bench.grow("200m");
    User(&core).patch("large", 1000, &[7; 4096]).await.expect("there is room now");
    let wanted = patched(before, 1000, &[7; 4096]);
    reads_offline(&core, &wanted, "after the write").await;
    let running = bench.world.run_core(core).await;
    bench.world.emulator.set_online(true);
    running.core.journal.retry_all().expect("tries again");
    running.settle().await;
    assert!(bench.world.emulator.drive().read_file("/large") == Some(wanted));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_bytes_make_way_for_a_copy_of_what_waits_for_its_upload() {
    let Some(mut bench) = Bench::new("112m").await else { return };
    bench.world.debounce = Duration::from_secs(3600);
    bench.world.emulator.drive().create_file("/clean", content(30 * M, 3));
    let core = bench.open().await;
    let user = User(&core);
    user.read("clean").await.expect("reads");
    let before = content(40 * M, 4);
    user.write("large", &before).await.expect("there is room for it");
    eventually("all of it is kept", async || core.cache.usage().bytes == 30 << 20).await;
    // A file that is being compared with its hash gives its room back when that is done.
    eventually("what can be had again makes way", async || user.patch("large", 5, b"new").await.is_ok()).await;
    assert_eq!(core.cache.usage().bytes, 0);
    bench.floor_stands("after the write");
    assert!(user.read("large").await.expect("reads") == patched(before, 5, b"new"));
    core.journal.close();
}

/// A disk that others fill behind our back: it is full in the middle of the copy, whatever it said before.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_finds_the_disk_full_on_the_way_gives_back_what_it_took() {
    let mut world = World::new(Flavour::Business).await;
    world.debounce = Duration::from_secs(3600);
    let before = content(12 * M, 5);
    world.emulator.drive().create_file("/large", before.clone());
    let disk = SmallDisk::new(1 << 40, false);
    let core = world.open_with(world.remote(), world.home.path(), Arc::new(Behind(disk.clone())), 0).await;
    let user = User(&core);
    assert!(user.read("large").await.expect("reads") == before);
    world.emulator.set_online(false);
    disk.set_left(5 << 20);
    let refused = user.patch("large", 1000, &[7; 4096]).await;
    assert!(matches!(refused, Err(VolumeError::DiskFull)), "{refused:?}");
    let held = |path: &PathBuf| {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(path).expect("there").blocks() * 512
    };
    let held: u64 = spool_files(world.home.path()).iter().map(held).sum();
    assert!(held < 64 << 10, "{held} bytes of the copy are left");
    reads_offline(&core, &before, "after the refusal").await;
    disk.set_left(1 << 40);
    user.patch("large", 1000, &[7; 4096]).await.expect("room again");
    reads_offline(&core, &patched(before, 1000, &[7; 4096]), "after the write").await;
    core.journal.close();
}
