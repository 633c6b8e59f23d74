//! The commands of `onedrive-cli` against the cloud, whole: standard output, standard error and exit code, word for
//! word. The files in `tests/it/snapshots` are what scripts rely on; `UPDATE_SNAPSHOTS=1` writes them anew.

use onedrive_mount::emulator::Flavour;

use crate::world::shell::Shell;

#[test]
fn looking_around() {
    looking(&Shell::new(Flavour::PersonalNew), "cli-looking.txt");
}

/// The same on every protocol; what differs is in the snapshots.
pub fn looking(shell: &Shell, snapshot: &str) {
    shell.stock();
    let mut said = shell.record();
    said.run(&["quota"]);
    said.run(&["--json", "quota"]);
    said.run(&["info"]);
    said.run(&["info", "Documents/notes.txt"]);
    said.run(&["stat", "Documents\\notes.txt"]);
    said.run(&["--json", "info", "Documents/notes.txt"]);
    said.run(&["info", "me/skydrive"]);
    said.run(&["info", "me/skydrive/my_documents/notes.txt"]);
    said.run(&["info", "Documents/missing/deeper.txt"]);
    said.run(&["-k", "name", "info", "Documents"]);
    said.run(&["-k", "{0[name]} {0[size]:>6}", "info", "Documents/notes.txt"]);
    said.run(&["-k", "nothing", "info", "Documents"]);
    said.run(&["-k", "{0[name", "info", "Documents"]);
    said.run(&["-e", "klingon", "info", "Documents"]);
    said.run(&["-p", "-i", "info", "Documents"]);
    said.run(&["ls"]);
    said.run(&["ls", "Documents"]);
    said.run(&["ls", "Documents/notes.txt"]);
    said.run(&["ls", "-o", "Documents"]);
    said.run(&["--json", "ls"]);
    said.run(&["-k", "{0[type]} {0[name]}", "ls", "-o"]);
    said.run(&["ls", "-r", "1-2"]);
    said.run(&["ls", "-r", "2"]);
    said.run(&["ls", "-r", "2-"]);
    said.run(&["ls", "-r", "-1"]);
    said.run(&["ls", "-r", "x"]);
    said.run(&["tree"]);
    said.run(&["tree", "-o", "Documents/Letters"]);
    said.run(&["--json", "tree", "Documents/Letters"]);
    said.run(&["-k", "name", "tree", "Documents"]);
    said.run(&["du"]);
    said.run(&["du", "-s", "Documents"]);
    said.run(&["--json", "du", "-s"]);
    said.run(&["find", "-n", "*.TXT"]);
    said.run(&["find", "--type", "folder"]);
    said.run(&["--json", "find", "-n", "n*", "--larger", "1"]);
    said.same(snapshot);
}

#[test]
fn changing_things() {
    changing(&Shell::new(Flavour::PersonalNew), "cli-changing.txt");
}

/// The same on every protocol; what differs is in the snapshots.
pub fn changing(shell: &Shell, snapshot: &str) {
    shell.stock();
    let mut said = shell.record();
    said.run(&["mkdir", "New"]);
    said.run(&["mkdir", "New"]);
    said.run(&["mkdir", "Sub/Deep", "New"]);
    said.run(&["mkdir", "--dry-run", "-p", "Sub/Deep", "New"]);
    said.run(&["mkdir", "-p", "Sub/Deep", "New"]);
    said.run(&["mkdir", "-p", "Sub/Deep", "New"]);
    said.run(&["mkdir", "New\\Other"]);
    said.run(&["mkdir", "Documents/notes.txt/x"]);
    said.run(&["mkdir", "-m", "[1]", "Odd"]);
    said.run(&["mkdir", "a:b"]);
    said.run(&["--json", "mkdir", "Shown"]);
    said.run(&["mv", "Documents/notes.txt", "New"]);
    said.run(&["mv", "--dry-run", "New/notes.txt"]);
    said.run(&["mv", "New/notes.txt"]);
    said.run(&["mv", "notes.txt"]);
    said.run(&["mv", "-n", "kept.txt", "notes.txt"]);
    said.run(&["mv", "-n", "Shown", "kept.txt"]);
    said.run(&["mv", "kept.txt", "Shown", "New"]);
    said.run(&["mv", "me/skydrive", "New"]);
    said.run(&["info_set", "New/kept.txt", "{\"name\": \"last.txt\"}"]);
    said.run(&["info-set", "New/last.txt", "not json"]);
    said.run(&["info_set", "New/last.txt", "{\"size\": 1}"]);
    said.run(&["info_set", "--dry-run", "New/last.txt", "{\"name\": \"x\"}"]);
    said.run(&["tree", "New"]);
    said.run(&["rm", "--dry-run", "New", "Documents/Letters/a.txt"]);
    said.run(&["rm", "Documents/Letters/a.txt", "missing", "New/last.txt"]);
    said.run(&["rm", "missing"]);
    said.run(&["rm", "me/skydrive"]);
    said.run(&["rm", "New", "Documents"]);
    said.run(&["tree"]);
    said.same(snapshot);
}

#[test]
fn content_both_ways() {
    content(&Shell::new(Flavour::PersonalNew), "cli-content.txt");
}

/// The same on every protocol; what differs is in the snapshots.
pub fn content(shell: &Shell, snapshot: &str) {
    shell.stock();
    shell.file("out/report.txt", b"the report");
    let mut said = shell.record();
    said.run(&["get", "Documents/notes.txt"]);
    said.run(&["get", "-b", "0-5", "Documents/notes.txt"]);
    said.run(&["get", "-b", "7-", "Documents/notes.txt"]);
    said.run(&["get", "-b", "-5", "Documents/notes.txt"]);
    said.run(&["get", "-b", "12-", "Documents/notes.txt"]);
    said.run(&["get", "-b", "5-1", "Documents/notes.txt"]);
    said.run(&["get", "--dry-run", "Documents/notes.txt", "new/folder/copy.txt"]);
    said.run(&["get", "Documents/notes.txt", "new/folder/copy.txt"]);
    said.run(&["-q", "get", "Documents/notes.txt", "new/folder/"]);
    said.run(&["--json", "get", "-b", "0-5", "Documents/notes.txt", "new/part.txt"]);
    said.run(&["get", "Documents"]);
    said.run(&["get", "missing", "new/x"]);
    said.run(&["cat", "Documents/notes.txt", "Documents/Letters/a.txt"]);
    said.run(&["cat", "Documents/notes.txt", "Documents"]);
    said.run(&["get", "-r", "--jobs", "1", "Documents", "copy"]);
    said.run(&["get", "-r", "Documents", "copy"]);
    said.run(&["get", "-r", "--jobs", "1", "Documents", "copy/"]);
    said.run(&["-q", "get", "-r", "Documents/Letters"]);
    said.run(&["get", "-r", "--dry-run", "Documents"]);
    said.run(&["put", "out/report.txt"]);
    said.run(&["put", "-n", "out/report.txt"]);
    said.run(&["put", "-d", "out/report.txt", "Documents"]);
    said.run(&["--json", "-k", "bytes", "put", "--name", "other.txt", "out/report.txt", "Documents"]);
    said.run(&["put", "-b", "--bits-frag-bytes", "0", "--name", "bits.txt", "out/report.txt"]);
    said.run(&["put", "--bits-do-auth-refresh-before-commit-hack", "-b", "out/report.txt"]);
    said.run(&["put", "--dry-run", "out/report.txt", "Documents"]);
    said.run(&["put", "missing.txt"]);
    said.run(&["put", "out"]);
    said.run(&["put", "out/report.txt", "Documents/notes.txt"]);
    said.run(&["put", "--name", "Documents", "out/report.txt"]);
    said.fed(&["put", "-"], "from a pipe");
    said.fed(&["put", "-", "--name", "piped.txt", "Pics"], "from a pipe");
    said.run(&["cat", "Pics/piped.txt", "report.txt", "bits.txt", "Documents/other.txt"]);
    said.run(&["put", "-r", "--dry-run", "new", "Pics"]);
    said.run(&["put", "-r", "--jobs", "1", "new", "Pics"]);
    said.run(&["put", "-r", "new", "Pics"]);
    said.run(&["tree", "Pics"]);
    said.same(snapshot);
    let read = |path: &str| std::fs::read_to_string(shell.home.path(path)).expect(path);
    assert_eq!(read("new/folder/copy.txt"), "twelve bytes");
    assert_eq!(read("new/folder/notes.txt"), "twelve bytes");
    assert_eq!(read("new/part.txt"), "twelve");
    assert_eq!(read("copy/Letters/b.txt"), "Dear B, how are you?");
    assert_eq!(read("Letters/a.txt"), "Dear A,");
    let left: Vec<_> = std::fs::read_dir(shell.home.path("new/folder")).expect("a folder").flatten().collect();
    assert_eq!(left.len(), 2, "no parts are left: {left:?}");
}

#[test]
fn beyond_a_file_system() {
    beyond(&Shell::new(Flavour::PersonalNew), "cli-beyond.txt");
}

/// The same on every protocol; what differs is in the snapshots.
pub fn beyond(shell: &Shell, snapshot: &str) {
    shell.stock();
    shell.service.drive().write_file("/Documents/notes.txt", b"a second version".to_vec());
    let mut said = shell.record();
    said.run(&["user"]);
    if snapshot.contains("live") {
        // Its times are whole seconds: what was made in one of them has no order.
        said.run_sorted(&["-k", "name", "recent"]);
    } else {
        said.run(&["-k", "name", "recent"]);
    }
    said.run(&["link", "Documents/notes.txt"]);
    said.run(&["link", "-t", "shared_edit_link", "Documents/notes.txt"]);
    said.run(&["link", "-t", "embed", "Documents/notes.txt"]);
    said.run(&["link", "-t", "other", "Documents/notes.txt"]);
    said.run(&["link", "--dry-run", "Documents/notes.txt"]);
    said.run(&["cp", "--dry-run", "Documents/notes.txt", "Pics"]);
    said.run(&["cp", "Documents/notes.txt", "Pics"]);
    said.run(&["cp", "Documents/notes.txt", "Pics"]);
    said.run(&["cp", "-n", "again.txt", "Documents/notes.txt", "Pics"]);
    said.run(&["cp", "Documents/notes.txt"]);
    said.run(&["cp", "Documents", "Pics"]);
    said.run(&["cp", "-r", "Documents", "notes.txt", "Pics"]);
    said.run(&["cp", "-r", "Documents/Letters", "Pics"]);
    said.run(&["tree", "Pics"]);
    said.run(&["search", "letters"]);
    said.run(&["search", "it's"]);
    said.run(&["-k", "type", "search", "a", "Documents"]);
    said.run(&["shared"]);
    said.run(&["versions", "Documents/notes.txt"]);
    said.run(&["restore", "--dry-run", "Documents/notes.txt", "1.0"]);
    said.run(&["restore", "Documents/notes.txt", "1.0"]);
    said.run(&["cat", "Documents/notes.txt"]);
    said.run(&["restore", "Documents/notes.txt", "7.0"]);
    said.run(&["-k", "roles", "permissions", "Pics"]);
    said.run(&["share", "--dry-run", "-w", "Pics", "bob@example.com"]);
    said.run(&["-k", "{0[user][email]}", "share", "-w", "Pics", "bob@example.com", "eve@example.com"]);
    said.run(&["-k", "{0[roles][0]} {0[user][email]}", "permissions", "Pics"]);
    said.run(&["unshare", "Pics", "Bob@example.com"]);
    said.run(&["unshare", "Pics", "bob@example.com"]);
    said.run(&["unshare", "--all", "Pics"]);
    let id = shell.json(&["info", "Pics/again.txt"])["id"].as_str().expect("an id").to_owned();
    said.run(&["rm", "Pics/again.txt"]);
    said.run(&["undelete", &id]);
    said.run(&["ls", "Pics"]);
    said.run(&["-k", "{0[roles][0]}", "permissions", "Pics"]);
    said.run(&["unshare", "Pics"]);
    said.run(&["--json", "-k", "bytes", "thumbnail", "-s", "small", "Pics/pier.jpg", "pier.png"]);
    said.run(&["thumbnail", "Documents/notes.txt"]);
    said.run(&["trash"]);
    said.run(&["comments", "Documents/notes.txt"]);
    said.run(&["comment_add", "Documents/notes.txt", "nice"]);
    said.run(&["comment-add", "Documents/notes.txt", "nice"]);
    said.run(&["comment_delete", "comment.1"]);
    said.run(&["comment-delete", "--dry-run", "comment.1"]);
    said.run(&["mkdir", "-m", "{\"description\": \"what I want\"}", "Wishes"]);
    said.run(&["-k", "description", "info", "Wishes"]);
    said.run(&["info_set", "Wishes", "{\"description\": \"nothing\", \"name\": \"Wants\"}"]);
    said.run(&["-k", "{0[name]}: {0[description]}", "info", "Wants"]);
    said.same(snapshot);
    assert!(std::fs::read(shell.home.path("pier.png")).expect("a picture").starts_with(b"\x89PNG"));
}

#[test]
fn what_was_deleted_comes_back() {
    let shell = Shell::new(Flavour::PersonalNew);
    shell.stock();
    let id = shell.json(&["-k", "id", "info", "note to self.txt"]).as_str().expect("an id").to_owned();
    shell.ok(&["rm", "note to self.txt"]);
    shell.ok(&["undelete", &id]);
    assert_eq!(shell.ok(&["cat", "note to self.txt"]), "buy milk");
}

#[test]
fn descriptions_where_they_are_kept() {
    let shell = Shell::new(Flavour::PersonalOld);
    shell.ok(&["mkdir", "-m", "{\"description\": \"what I want\"}", "Wishes"]);
    assert_eq!(shell.ok(&["-k", "description", "info", "Wishes"]), "what I want\n");
    shell.ok(&["info_set", "Wishes", "{\"description\": \"it's <nothing> & \\u0001\", \"name\": \"Wants\"}"]);
    assert_eq!(shell.json(&["-k", "description", "info", "Wants"]), "it's <nothing> & \u{1}");
}

#[test]
fn accounts_for_work() {
    let shell = Shell::new(Flavour::Business);
    shell.stock();
    let mut said = shell.record();
    said.run(&["info", "Documents/notes.txt"]);
    said.run(&["link", "-t", "embed", "Documents/notes.txt"]);
    said.run(&["undelete", "01ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"]);
    said.run(&["info", "01ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"]);
    said.run(&["-p", "info", "01ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"]);
    said.same("cli-work.txt");
}
