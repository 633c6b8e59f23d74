//! A mount on which nothing may be changed: every way to change something is refused with the error that programs know,
//! what can be read is read, and the service is never asked to change anything.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::time::{Duration, SystemTime};

use onedrive_mount::volume::{SetAttributes, VolumeError, VolumeResult};
use rustix::fs::{OFlags, XattrFlags, setxattr};

use crate::world::mount::{Mount, Start, require_fuse};
use crate::world::service::Service;
use crate::world::side::Side;
use crate::world::{User, World, until};

#[test]
fn a_read_only_mount_changes_nothing_on_graph() {
    nothing_changes(Side::PERSONAL);
}

#[test]
fn a_read_only_mount_changes_nothing_on_live_connect() {
    nothing_changes(Side::LIVE);
}

/// Every call that changes something, by its name.
fn changes(mount: &Mount) -> Vec<(&'static str, io::Result<()>)> {
    let at = |name: &str| mount.path(name);
    let open = |options: &mut OpenOptions, name: &str| options.open(at(name)).map(drop);
    let link = |name: &str| std::os::unix::fs::symlink("a.txt", at(name));
    let nameless = OFlags::TMPFILE.bits().cast_signed();
    // A handle that only reads is no way in.
    let reading = File::open(at("a.txt")).expect("readable");
    vec![
        ("write", fs::write(at("a.txt"), "changed")),
        ("open for writing", open(OpenOptions::new().write(true), "a.txt")),
        ("open for both", open(OpenOptions::new().read(true).write(true), "a.txt")),
        ("append", open(OpenOptions::new().append(true), "a.txt")),
        ("open and empty", open(OpenOptions::new().write(true).truncate(true), "a.txt")),
        ("create", File::create(at("new.txt")).map(drop)),
        ("create what must be new", open(OpenOptions::new().write(true).create_new(true), "docs/new.txt")),
        ("create without a name", open(OpenOptions::new().write(true).custom_flags(nameless), "docs")),
        ("make a folder", fs::create_dir(at("new"))),
        ("remove", fs::remove_file(at("a.txt"))),
        ("remove below", fs::remove_file(at("docs/b.txt"))),
        ("remove a folder", fs::remove_dir(at("empty"))),
        ("rename", fs::rename(at("a.txt"), at("c.txt"))),
        ("rename over another", fs::rename(at("a.txt"), at("docs/b.txt"))),
        ("rename a folder", fs::rename(at("docs"), at("papers"))),
        ("link", fs::hard_link(at("a.txt"), at("linked"))),
        ("link by name", link("symlink")),
        ("change the mode", fs::set_permissions(at("a.txt"), fs::Permissions::from_mode(0o600))),
        ("change the time", reading.set_modified(SystemTime::now())),
        ("set an attribute", setxattr(at("a.txt"), "user.x", b"y", XattrFlags::empty()).map_err(io::Error::from)),
    ]
}

fn nothing_changes(side: Side) {
    require_fuse();
    let service = Service::new(side);
    let drive = service.drive();
    let content = |number: u8| vec![number; 300_000];
    drive.create_file("/a.txt", content(1));
    drive.create_file("/docs/b.txt", content(2));
    drive.create_folder("/empty");
    let home = service.home("upload:\n  debounce: 0s\n");
    let before = drive.tree();
    service.emulator().forget_requests();
    let mount = Start::with(["--read-only"]).mount(&home);

    assert!(fs::read(mount.path("a.txt")).expect("readable") == content(1));
    for (what, outcome) in changes(&mount) {
        let error = outcome.err().unwrap_or_else(|| panic!("{what}: it was allowed"));
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::ROFS.raw_os_error()), "{what}: {error}");
    }
    let names = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(mount.path(folder)).expect("listed");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    };
    assert_eq!((names(""), names("docs")), (vec!["a.txt".into(), "docs".into(), "empty".into()], vec!["b.txt".into()]));
    assert!(fs::read(mount.path("docs/b.txt")).expect("readable") == content(2));
    assert!(rustix::fs::statvfs(mount.at()).expect("told").f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    // What changes elsewhere is seen all the same.
    drive.create_file("/later.txt", content(3));
    until("a new file is seen", || fs::read(mount.path("later.txt")).is_ok_and(|bytes| bytes == content(3)));
    drive.remove("/later.txt");

    std::thread::sleep(Duration::from_millis(300));
    let status = home.command(env!("CARGO_BIN_EXE_onedrive-cli")).args(["--json", "status"]).output().expect("it runs");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!((&status["waiting"], &status["parked"]), (&0.into(), &0.into()), "{status}");
    assert!(mount.stop().success());
    assert!(drive.tree() == before, "the drive is as it was");
    let requests = service.emulator().requests();
    let changing: Vec<_> = requests
        .iter()
        .filter(|seen| seen.method != "GET" && !seen.path.contains("token"))
        .map(|seen| format!("{} {}", seen.method, seen.path))
        .collect();
    assert!(requests.len() > 3 && changing.is_empty(), "something was sent: {changing:?}");
}

/// The kernel refuses most of it before the daemon hears of it; the volume does not count on that.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_volume_refuses_by_itself() {
    fn refused<T: std::fmt::Debug>(what: &str, outcome: VolumeResult<T>) {
        assert!(matches!(outcome, Err(VolumeError::ReadOnly)), "{what}: {outcome:?}");
    }
    let mut world = World::new(Side::BUSINESS).await;
    world.how.read_only = true;
    let drive = world.emulator.drive();
    drive.create_file("/a.txt", "a");
    drive.create_file("/docs/b.txt", "b");
    drive.create_folder("/empty");
    let running = world.run().await;
    let user = User(&running.core);
    assert_eq!(user.read("a.txt").await.expect("reads"), b"a");
    assert_eq!(user.list("docs").await.expect("lists"), ["b.txt"]);
    user.list("empty").await.expect("lists");
    refused("write", user.write("a.txt", b"x").await);
    refused("patch", user.patch("a.txt", 0, b"x").await);
    refused("create", user.write("new.txt", b"x").await);
    refused("mkdir", user.mkdir("new").await);
    refused("unlink", user.unlink("a.txt").await);
    refused("rmdir", user.rmdir("empty").await);
    refused("rename", user.rename("a.txt", "docs/a.txt").await);
    refused("rename over another", user.rename("docs/b.txt", "a.txt").await);
    let ino = user.walk("a.txt").await.expect("there");
    let set = |set: SetAttributes| running.core.volume.setattr(ino, None, set);
    refused("truncate", set(SetAttributes { size: Some(0), ..SetAttributes::default() }).await);
    refused("chmod", set(SetAttributes { mode: Some(0o600), ..SetAttributes::default() }).await);
    refused("utime", set(SetAttributes { mtime: Some(None), ..SetAttributes::default() }).await);
    assert_eq!(running.core.journal.backlog(), (0, 0));
    assert_eq!(user.read("a.txt").await.expect("reads"), b"a");
    running.stop().await;
}
