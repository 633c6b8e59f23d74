//! What people do all day, by the programs they do it with, through a real mount.
//!
//! These are end-to-end: kernel, adapter, volume, journal, cache, Graph client, emulator. Each test has a mount
//! and a daemon of its own; most are played on Live Connect, too. The programs come from `./contrib/test.sh`; one that is missing fails its test.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use onedrive_mount::emulator::Content;

use crate::world::mount::{Home, Mount, Start, program, require_fuse};
use crate::world::service::Service;
use crate::world::side::Side;

/// A program to run in a folder; it must succeed.
fn run<A: AsRef<OsStr>>(folder: &Path, program: &str, arguments: impl IntoIterator<Item = A>) -> String {
    let arguments: Vec<_> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
    let output = attempt(folder, program, &arguments);
    assert!(
        output.status.success(),
        "{program} {arguments:?} ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn attempt<A: AsRef<OsStr>>(folder: &Path, program: &str, arguments: &[A]) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .env("LC_ALL", "C.UTF-8")
        // Nobody's own settings or hooks.
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([
            ("GIT_AUTHOR_NAME", "Ada"),
            ("GIT_AUTHOR_EMAIL", "ada@example.org"),
            ("GIT_COMMITTER_NAME", "Ada"),
            ("GIT_COMMITTER_EMAIL", "ada@example.org"),
        ])
        .output()
        .unwrap_or_else(|error| panic!("{program} cannot be run ({error}); ./contrib/test.sh installs it"))
}

fn shell(folder: &Path, script: &str) -> String {
    run(folder, "bash", ["-euc", script])
}

/// The errno of a call that must fail.
fn errno<T>(result: std::io::Result<T>) -> i32 {
    match result {
        Ok(_) => panic!("the call succeeded"),
        Err(error) => error.raw_os_error().expect("an error of the system"),
    }
}

/// A tree of text, binary, empty and awkwardly named files, with modes and times; no links.
fn plant_tree(top: &Path) {
    fs::create_dir_all(top.join("src/deep/er")).expect("folders");
    fs::create_dir_all(top.join("empty folder")).expect("folders");
    fs::write(top.join("README.md"), "# A project\n").expect("a file");
    fs::write(top.join("src/empty"), "").expect("a file");
    fs::write(top.join("src/Grüße 日本語.txt"), "ü".repeat(5000)).expect("a file");
    fs::write(top.join("src/deep/er/run.sh"), "#!/bin/sh\n").expect("a file");
    fs::set_permissions(top.join("src/deep/er/run.sh"), fs::Permissions::from_mode(0o755)).expect("a mode");
    for number in 0..40_u32 {
        let bytes: Vec<u8> = (0..number * 1777).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let path = top.join(format!("src/deep/file-{number:02}.bin"));
        fs::write(&path, bytes).expect("a file");
        let time = std::time::UNIX_EPOCH + Duration::from_secs(1_600_000_000 + u64::from(number) * 3600);
        fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(time)).expect("a time");
    }
}

fn assert_same_tree(one: &Path, other: &Path) {
    run(Path::new("/"), "diff", [OsStr::new("-r"), one.as_os_str(), other.as_os_str()]);
}

fn demo() -> (Home, Mount) {
    if LIVE.get() {
        let service = Service::filled(Side::LIVE, Content::DemoHome);
        let home = service.home("");
        let mount = service.mount(&home);
        SERVICE.set(Some(service));
        return (home, mount);
    }
    let home = Home::new();
    let mount = Start::demo().mount(&home);
    (home, mount)
}

thread_local! {
    /// Whether this test is about the historic service.
    static LIVE: Cell<bool> = const { Cell::new(false) };
    /// It lives as long as the test.
    static SERVICE: Cell<Option<Service>> = const { Cell::new(None) };
}

macro_rules! also_on_live_connect {
    ($($name:ident)*) => {
        mod on_live_connect {
            $(
                #[test]
                fn $name() {
                    super::LIVE.set(true);
                    super::$name();
                    super::LIVE.set(false);
                }
            )*
        }
    };
}

also_on_live_connect! {
    a_name_that_is_there_all_the_time_is_in_every_listing
    an_editor_saves_in_place_and_by_rename
    a_file_can_be_replaced_while_it_is_open
    an_unlinked_file_lives_until_it_is_closed
    files_grow_shrink_and_have_holes
    memory_mappings_write_and_read
    git_clones_commits_and_packs
    sqlite_works_with_both_kinds_of_journal
    rsync_copies_in_and_finds_nothing_to_do_the_second_time
    archives_are_unpacked_and_packed
    trees_are_copied_and_moved_in_and_out
    sparse_files_keep_every_byte
    a_large_folder_is_listed_while_it_is_emptied
    a_folder_stays_under_the_feet_of_those_who_are_in_it
    what_cannot_be_stored_is_refused_as_programs_expect
}

/// `rsync --delete` removes from a backup what a listing leaves out.
#[test]
fn a_name_that_is_there_all_the_time_is_in_every_listing() {
    let (_home, mount) = demo();
    let folder = mount.path("desk");
    fs::create_dir(&folder).expect("makes");
    for name in ["another", "doc", "other"] {
        fs::write(folder.join(name), "first").expect("writes");
    }
    for round in 0..2 {
        fs::write(folder.join("doc.tmp"), format!("saved {round}")).expect("writes");
        let listing = fs::read_dir(&folder).expect("opens");
        fs::rename(folder.join("doc.tmp"), folder.join("doc")).expect("saves");
        let found: Vec<_> = listing.map(|entry| entry.expect("reads")).collect();
        let mut names: Vec<_> = found.iter().map(fs::DirEntry::file_name).collect();
        names.sort();
        assert_eq!(names, ["another", "doc", "other"], "saved {round}");
        let doc = found.iter().find(|entry| entry.file_name() == "doc").expect("there");
        assert_eq!(doc.ino(), fs::metadata(folder.join("doc")).expect("there").ino(), "saved {round}");
    }
}

#[test]
fn a_name_that_went_between_opening_a_folder_and_reading_it_does_not_come_back() {
    let home = Home::new();
    let mount = Start::demo().mount(&home);
    let folder = mount.path("shelf");
    fs::create_dir(&folder).expect("makes");
    fs::write(folder.join("old"), "first").expect("writes");
    let listing = fs::read_dir(&folder).expect("opens");
    fs::rename(folder.join("old"), folder.join("new")).expect("renames");
    let names: Vec<_> = listing.map(|entry| entry.expect("reads").file_name()).collect();
    assert!(!folder.join("old").exists(), "the kernel was told of a name that was gone: {names:?}");
    // A stale name would lead here.
    fs::write(folder.join("old"), "another file").expect("writes");
    assert_eq!(fs::read_to_string(folder.join("new")).expect("reads"), "first");
}

#[test]
fn the_demo_drive_can_be_looked_at() {
    let (_home, mount) = demo();
    let names: Vec<_> =
        fs::read_dir(mount.at()).expect("a listing").map(|entry| entry.expect("entry").path()).collect();
    assert!(!names.is_empty(), "the demo drive has something in it");
    run(mount.at(), "ls", ["-laR"]);
    run(mount.at(), "find", [".", "-type", "f", "-exec", "cat", "{}", "+"]);
    let free = rustix::fs::statvfs(mount.at()).expect("statvfs");
    assert!(free.f_blocks > 0 && free.f_bavail > 0);
}

#[test]
fn an_editor_saves_in_place_and_by_rename() {
    let (_home, mount) = demo();
    let file = mount.path("notes.txt");
    fs::write(&file, "first line\nsecond line\n").expect("a file");
    for (backup, word) in [("yes", "place"), ("no", "rename")] {
        let set = format!("set backupcopy={backup}");
        let edit = format!("%s/first/{word} first/");
        let arguments = ["-es", "-u", "NONE", "-i", "NONE", "-c", &set, "-c", &edit, "-c", "wq", "notes.txt"];
        run(mount.at(), "vim", arguments);
    }
    assert_eq!(fs::read_to_string(&file).expect("readable"), "place rename first line\nsecond line\n");
    run(mount.at(), "sed", ["-i", "s/second/2nd/", "notes.txt"]);
    assert_eq!(fs::read_to_string(&file).expect("readable"), "place rename first line\n2nd line\n");
    let left: Vec<_> = fs::read_dir(mount.at())
        .expect("a listing")
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".swp") || name.ends_with('~') || name.starts_with("sed"))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn a_file_can_be_replaced_while_it_is_open() {
    let (_home, mount) = demo();
    fs::write(mount.path("doc"), "one").expect("a file");
    let mut old = fs::File::open(mount.path("doc")).expect("opens");
    let mut new = fs::File::create(mount.path(".doc.tmp")).expect("creates");
    new.write_all(b"two").expect("writes");
    new.sync_all().expect("is durable");
    // GLib renames before it closes.
    fs::rename(mount.path(".doc.tmp"), mount.path("doc")).expect("renames");
    drop(new);
    let mut text = String::new();
    old.read_to_string(&mut text).expect("the old version stays readable");
    assert_eq!(text, "one");
    assert_eq!(fs::read_to_string(mount.path("doc")).expect("readable"), "two");
    assert!(!mount.path(".doc.tmp").exists());
}

#[test]
fn an_unlinked_file_lives_until_it_is_closed() {
    let (_home, mount) = demo();
    let path = mount.path("scratch");
    let mut file = fs::File::options().read(true).write(true).create_new(true).open(&path).expect("creates");
    file.write_all(b"before").expect("writes");
    fs::remove_file(&path).expect("unlinks");
    assert_eq!(errno(fs::metadata(&path)), 2);
    file.write_all(b" and after").expect("still writes");
    file.seek(SeekFrom::Start(0)).expect("seeks");
    let mut text = String::new();
    file.read_to_string(&mut text).expect("still reads");
    assert_eq!(text, "before and after");
    assert_eq!(file.metadata().expect("fstat").nlink(), 0);
    fs::write(&path, "another").expect("the name is free again");
    assert_eq!(file.metadata().expect("fstat").len(), 16);
}

#[test]
fn files_grow_shrink_and_have_holes() {
    let (_home, mount) = demo();
    let path = mount.path("sizes");
    shell(mount.at(), "printf a > sizes; printf b >> sizes; printf c >> sizes");
    assert_eq!(fs::read(&path).expect("readable"), b"abc");
    let file = fs::File::options().read(true).write(true).open(&path).expect("opens");
    file.set_len(1).expect("shrinks");
    file.set_len(5).expect("grows");
    assert_eq!(fs::read(&path).expect("readable"), b"a\0\0\0\0");
    file.write_all_at(b"z", 3_000_000).expect("leaves a hole");
    let bytes = fs::read(&path).expect("readable");
    assert_eq!(bytes.len(), 3_000_001);
    assert!(bytes[5..3_000_000].iter().all(|byte| *byte == 0));
    let metadata = file.metadata().expect("fstat");
    assert_eq!(metadata.len(), 3_000_001);
    assert!(metadata.blocks() * 512 >= metadata.len(), "a file with bytes is never shown as one big hole");
    let exclusive = fs::File::options().write(true).create_new(true).open(&path);
    assert_eq!(errno(exclusive), 17);
    let truncated = fs::File::options().write(true).custom_flags(0o1000).open(&path).expect("O_TRUNC");
    assert_eq!(truncated.metadata().expect("fstat").len(), 0);
}

#[test]
fn memory_mappings_write_and_read() {
    let (_home, mount) = demo();
    let script = r#"
import mmap, os
fd = os.open("mapped", os.O_RDWR | os.O_CREAT, 0o644)
os.ftruncate(fd, 1_000_000)
shared = mmap.mmap(fd, 1_000_000)
os.close(fd)
for at in range(0, 1_000_000, 4096):
    shared[at:at + 4] = b"page"
shared.flush()
assert open("mapped", "rb").read(4) == b"page"
shared[999_996:] = b"last"
shared.close()
data = open("mapped", "rb").read()
assert len(data) == 1_000_000 and data[-4:] == b"last" and data[4096:4100] == b"page", "lost bytes"
with open("mapped", "r+b") as f:
    private = mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE)
    private[0:4] = b"mine"
    assert open("mapped", "rb").read(4) == b"page"
"#;
    run(mount.at(), "python3", ["-c", script]);
}

#[test]
fn git_clones_commits_and_packs() {
    let (home, mount) = demo();
    let origin = home.path("origin");
    plant_tree(&origin);
    run(&origin, "git", ["init", "--quiet", "--initial-branch=main"]);
    run(&origin, "git", ["add", "--all"]);
    run(&origin, "git", ["commit", "--quiet", "--message=first"]);
    run(mount.at(), "git", [OsStr::new("clone"), OsStr::new("--quiet"), origin.as_os_str(), OsStr::new("work")]);
    let work = mount.path("work");
    assert_eq!(run(&work, "git", ["status", "--porcelain"]), "");
    assert_eq!(fs::read(work.join("README.md")).expect("readable"), b"# A project\n");
    fs::write(work.join("README.md"), "# A changed project\n").expect("a change");
    fs::write(work.join("new.txt"), "new\n").expect("a file");
    assert_eq!(run(&work, "git", ["status", "--porcelain"]), " M README.md\n?? new.txt\n");
    run(&work, "git", ["add", "--all"]);
    run(&work, "git", ["commit", "--quiet", "--message=second"]);
    run(&work, "git", ["checkout", "--quiet", "-b", "branch", "HEAD~1"]);
    assert!(!work.join("new.txt").exists());
    run(&work, "git", ["checkout", "--quiet", "main"]);
    run(&work, "git", ["gc", "--quiet"]);
    run(&work, "git", ["fsck", "--strict"]);
    assert_eq!(run(&work, "git", ["log", "--format=%s"]), "second\nfirst\n");
    assert_eq!(run(&work, "git", ["status", "--porcelain"]), "");
    run(&work, "git", ["push", "--quiet", "origin", "main:from-mount"]);
}

#[test]
fn sqlite_works_with_both_kinds_of_journal() {
    let (_home, mount) = demo();
    for mode in ["delete", "truncate", "wal"] {
        let database = format!("{mode}.db");
        let made = format!(
            "PRAGMA journal_mode={mode}; CREATE TABLE t(i INTEGER PRIMARY KEY, x TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<2000)
             INSERT INTO t SELECT i, hex(randomblob(40)) FROM n;"
        );
        assert_eq!(run(mount.at(), "sqlite3", ["-batch", &database, &made]).trim(), mode);
        let changed = "BEGIN; DELETE FROM t WHERE i % 2; UPDATE t SET x = 'y' WHERE i <= 100; COMMIT; VACUUM;";
        run(mount.at(), "sqlite3", ["-batch", &database, changed]);
        let asked = "SELECT count(*), sum(i), sum(x = 'y') FROM t; PRAGMA integrity_check;";
        assert_eq!(run(mount.at(), "sqlite3", ["-batch", &database, asked]), "1000|1001000|50\nok\n");
    }
    // A crash in the middle of a transaction: the next one rolls back.
    let torn = r#"
import os, sqlite3
db = sqlite3.connect("delete.db", isolation_level=None)
db.execute("PRAGMA cache_size=1"); db.execute("BEGIN")
db.execute("UPDATE t SET x = 'torn'")
os._exit(0)
"#;
    run(mount.at(), "python3", ["-c", torn]);
    let asked = "SELECT count(*) FROM t WHERE x = 'torn'; PRAGMA integrity_check;";
    assert_eq!(run(mount.at(), "sqlite3", ["-batch", "delete.db", asked]), "0\nok\n");
}

#[test]
fn rsync_copies_in_and_finds_nothing_to_do_the_second_time() {
    let (home, mount) = demo();
    let source = home.path("source");
    plant_tree(&source);
    let (from, to) = (format!("{}/", source.display()), "copy/");
    run(mount.at(), "rsync", ["-a", "--omit-dir-times", &from, to]);
    assert_same_tree(&source, &mount.path("copy"));
    let again = run(mount.at(), "rsync", ["-a", "--omit-dir-times", "--itemize-changes", &from, to]);
    assert_eq!(again, "", "times, sizes and modes are what rsync set");
    fs::write(source.join("README.md"), "# A changed project\n").expect("a change");
    fs::remove_file(source.join("src/deep/file-07.bin")).expect("a removal");
    run(mount.at(), "rsync", ["-a", "--delete", "--checksum", &from, to]);
    assert_same_tree(&source, &mount.path("copy"));
    run(mount.at(), "rsync", ["-a", "--inplace", "copy/", &format!("{}/", home.path("back").display())]);
    assert_same_tree(&source, &home.path("back"));
}

#[test]
fn archives_are_unpacked_and_packed() {
    let (home, mount) = demo();
    let source = home.path("source");
    plant_tree(&source);
    let archive = home.path("tree.tar.gz");
    run(&source, "tar", [OsStr::new("-czf"), archive.as_os_str(), OsStr::new(".")]);
    fs::create_dir(mount.path("unpacked")).expect("a folder");
    run(&mount.path("unpacked"), "tar", [OsStr::new("-xpzf"), archive.as_os_str()]);
    assert_same_tree(&source, &mount.path("unpacked"));
    let mode = fs::metadata(mount.path("unpacked/src/deep/er/run.sh")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    let modified = |path: &Path| fs::metadata(path).expect("there").mtime();
    assert_eq!(modified(&mount.path("unpacked/src/deep/file-03.bin")), modified(&source.join("src/deep/file-03.bin")),);
    let again = home.path("again.tar");
    run(&mount.path("unpacked"), "tar", [OsStr::new("-cSf"), again.as_os_str(), OsStr::new(".")]);
    fs::create_dir(home.path("again")).expect("a folder");
    run(&home.path("again"), "tar", [OsStr::new("-xf"), again.as_os_str()]);
    assert_same_tree(&source, &home.path("again"));
}

#[test]
fn trees_are_copied_and_moved_in_and_out() {
    let (home, mount) = demo();
    let source = home.path("source");
    plant_tree(&source);
    run(mount.at(), "cp", [OsStr::new("-a"), source.as_os_str(), OsStr::new("in")]);
    assert_same_tree(&source, &mount.path("in"));
    run(mount.at(), "cp", [OsStr::new("-a"), OsStr::new("in"), home.path("out").as_os_str()]);
    assert_same_tree(&source, &home.path("out"));
    run(mount.at(), "cp", ["-r", "in", "within"]);
    assert_same_tree(&source, &mount.path("within"));
    run(mount.at(), "mv", ["within", "renamed folder"]);
    assert!(!mount.path("within").exists());
    assert_same_tree(&source, &mount.path("renamed folder"));
    run(mount.at(), "mv", [home.path("out").as_os_str(), OsStr::new("moved in")]);
    assert!(!home.path("out").exists());
    run(mount.at(), "mv", [OsStr::new("moved in"), home.path("moved out").as_os_str()]);
    assert!(!mount.path("moved in").exists());
    assert_same_tree(&source, &home.path("moved out"));
    run(mount.at(), "rm", ["-r", "in", "renamed folder"]);
    assert!(!mount.path("in").exists() && !mount.path("renamed folder").exists());
}

#[test]
fn sparse_files_keep_every_byte() {
    let (home, mount) = demo();
    let source = home.path("sparse");
    shell(
        &home.path(""),
        "truncate -s 9M sparse; for at in 0 1200 5000 9215; do \
         printf 'data at %s' $at | dd of=sparse bs=1K seek=$at conv=notrunc status=none; done",
    );
    let source = source.as_os_str();
    for how in ["always", "auto", "never"] {
        let (option, inside) = (format!("--sparse={how}"), format!("{how}.bin"));
        run(mount.at(), "cp", [OsStr::new(&option), source, OsStr::new(&inside)]);
        run(mount.at(), "cmp", [source, OsStr::new(&inside)]);
        let outside = home.path(&inside);
        run(mount.at(), "cp", [OsStr::new(&option), OsStr::new(&inside), outside.as_os_str()]);
        run(mount.at(), "cmp", [source, outside.as_os_str()]);
    }
}

#[test]
fn a_large_folder_is_listed_while_it_is_emptied() {
    let (_home, mount) = demo();
    shell(mount.at(), "mkdir many; cd many; for n in $(seq 1 1500); do : > file-$n; done");
    let folder = mount.path("many");
    assert_eq!(fs::read_dir(&folder).expect("a listing").count(), 1500);
    let mut seen = 0;
    for entry in fs::read_dir(&folder).expect("a listing") {
        fs::remove_file(entry.expect("an entry").path()).expect("removes");
        seen += 1;
    }
    assert_eq!(seen, 1500);
    fs::remove_dir(&folder).expect("is empty now");
}

#[test]
fn a_folder_stays_under_the_feet_of_those_who_are_in_it() {
    let (_home, mount) = demo();
    // When a new folder has reached the cloud, the kernel must not be made to forget its name.
    shell(
        mount.at(),
        "mkdir new; cd new; : > file
         until [ \"$(getfattr --only-values -n user.onedrive.state file)\" != pending ]; do sleep 0.1; done
         [ \"$(/bin/pwd -P)\" = \"$(cd ..; /bin/pwd -P)/new\" ]
         mv ../new ../renamed
         until [ \"$(getfattr --only-values -n user.onedrive.state .)\" != pending ]; do sleep 0.1; done
         [ \"$(/bin/pwd -P)\" = \"$(cd ..; /bin/pwd -P)/renamed\" ]",
    );
}

#[test]
fn what_cannot_be_stored_is_refused_as_programs_expect() {
    let (_home, mount) = demo();
    fs::write(mount.path("file"), "x").expect("a file");
    fs::create_dir(mount.path("folder")).expect("a folder");
    fs::write(mount.path("folder/file"), "x").expect("a file");
    assert_eq!(errno(fs::hard_link(mount.path("file"), mount.path("link"))), 1, "EPERM");
    assert_eq!(errno(std::os::unix::fs::symlink("file", mount.path("symlink"))), 1, "EPERM");
    let fifo = attempt(mount.at(), "mkfifo", &["fifo"]);
    assert!(String::from_utf8_lossy(&fifo.stderr).contains("Operation not permitted"));
    assert_eq!(errno(fs::create_dir(mount.path("FILE"))), 17, "EEXIST: names differ only in case");
    assert_eq!(errno(fs::write(mount.path("x".repeat(256)), "")), 36, "ENAMETOOLONG");
    assert_eq!(errno(fs::remove_dir(mount.path("folder"))), 39, "ENOTEMPTY");
    assert_eq!(errno(fs::remove_file(mount.path("folder"))), 21, "EISDIR");
    assert_eq!(errno(fs::remove_dir(mount.path("file"))), 20, "ENOTDIR");
    assert_eq!(errno(fs::rename(mount.path("folder"), mount.path("folder/inside"))), 22, "EINVAL");
    assert_eq!(errno(fs::create_dir(mount.path(".Trash-1000"))), 13, "EACCES");
    let attribute = attempt(mount.at(), "getfattr", &["--only-values", "-n", "user.onedrive.state", "file"]);
    let state = String::from_utf8_lossy(&attribute.stdout).into_owned();
    assert!(["pending", "cached", "online"].contains(&state.as_str()), "{state}");
    let acl = attempt(mount.at(), "getfattr", &["-n", "system.posix_acl_access", "file"]);
    assert!(!acl.status.success());
}

#[test]
fn it_can_be_unmounted_by_everybody_who_may() {
    for how in ["fusermount3", "umount"] {
        let (_home, mut mount) = demo();
        fs::write(mount.path("file"), "x").expect("a file");
        if how == "umount" && !rustix::process::geteuid().is_root() {
            continue;
        }
        let arguments: &[&OsStr] = match how {
            "fusermount3" => &[OsStr::new("-u"), mount.at().as_os_str()],
            _ => &[mount.at().as_os_str()],
        };
        run(Path::new("/"), how, arguments);
        assert!(mount.wait_for_end().success(), "the daemon ends well:\n{}", mount.log());
    }
    let (home, mount) = demo();
    assert!(mount.stop().success(), "so it does by SIGTERM");
    assert_eq!(fs::read_dir(home.mount_point()).expect("a plain folder").count(), 0);
}

#[test]
fn a_stop_does_not_wait_for_those_who_still_use_the_mount() {
    let (_home, mount) = demo();
    fs::write(mount.path("file"), "x").expect("a file");
    let _user = fs::File::open(mount.path("file")).expect("opens");
    assert!(mount.stop().success());
}

#[test]
fn a_daemon_that_was_killed_can_be_started_again_on_the_same_folder() {
    let home = Home::new();
    Start::demo().mount(&home).crash();
    let dead = rustix::fs::statvfs(home.mount_point()).map_err(std::io::Error::from);
    assert_eq!(errno(dead), 107, "ENOTCONN: the kernel keeps a dead mount");
    let mount = Start::demo().mount(&home);
    fs::write(mount.path("alive"), "x").expect("works");
}

#[test]
fn a_mount_point_that_will_not_do_is_refused_in_one_sentence() {
    require_fuse();
    let home = Home::new();
    fs::write(home.path("mnt/file"), "x").expect("a file");
    let refused = Start::demo().try_mount(&home).map(|mount| mount.log()).expect_err("not empty");
    assert!(!refused.status.success());
    assert!(refused.log.contains("not empty"), "{}", refused.log);
    fs::remove_file(home.path("mnt/file")).expect("removes");

    let first = Start::demo().mount(&home);
    let second = home.command(program()).args(["--foreground", "--demo"]).arg(first.at()).output().expect("runs");
    assert!(!second.status.success());
    let told = String::from_utf8_lossy(&second.stderr);
    assert!(told.contains("already"), "{told}");
}

#[test]
fn an_ordinary_user_mounts_through_the_helper() {
    // Below root, every other test of this file is this one.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mode = fs::metadata("/dev/fuse").expect("/dev/fuse").permissions().mode();
    assert_eq!(mode & 0o006, 0o006, "ordinary users cannot use /dev/fuse; ./contrib/test.sh opens it");
    const NOBODY: u32 = 65534;
    let home = Home::new();
    let copy = home.path("onedrive-mount");
    fs::copy(program(), &copy).expect("a copy");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("a mode");
    for part in ["", "config", "state", "cache", "run", "mnt"] {
        std::os::unix::fs::chown(home.path(part), Some(NOBODY), Some(NOBODY)).expect("an owner");
    }
    let mount = Start::demo().by_user(NOBODY, copy).mount(&home);
    let as_nobody = |script: &str| {
        let at = mount.at().to_string_lossy().into_owned();
        let arguments =
            ["--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-euc", &format!("cd '{at}'; {script}")]
                .map(str::to_owned);
        run(Path::new("/"), "setpriv", arguments)
    };
    as_nobody("echo mine > file; mkdir folder; mv file folder/; cat folder/file; df . | grep -q mnt");
    assert_eq!(as_nobody("cat folder/file"), "mine\n");
    assert_eq!(as_nobody("stat -c %u folder/file"), "65534\n");
    assert_eq!(errno(fs::metadata(mount.path("folder"))), 13, "EACCES: even root stays out of it");
    as_nobody(&format!("cd /; fusermount3 -u '{}'", mount.at().display()));
}
