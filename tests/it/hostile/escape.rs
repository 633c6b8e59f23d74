//! Whether anything got out: of the home, or into it under a name that the service chose.
//!
//! The folders of a drive hold few kinds of files, and all of their names are made here: numbers, digests, and what the
//! user called a file that waits to be sent. So the whole home is walked, and whatever else is in it has escaped. Where
//! the names of the tables would lead out of the home, it is looked whether something is there that was not before.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use crate::world::mount::Home;
use crate::world::service::places;

/// Names and addresses of the tables that climb, as far as they lead somewhere.
const CLIMBING: &[&str] = &[
    "../../etc/passwd",
    "/etc/passwd",
    "../../../tmp/climbed",
    "../climbed",
    "../../climbed",
    "../../../climbed",
    "/tmp/climbed",
    "x/../../../me/messages",
    "file.x/../../me/contacts",
    "../../me",
    "../../climbed!1",
];

/// Folders of a home from which somebody might climb.
const FROM: &[&str] =
    &["", "cache", "cache/00", "state", "state/index", "state/journal", "state/journal/spool", "mnt", "mnt/docs"];

/// What the user of the tables calls files that he saves.
const SAVED: &[&str] = &["new.txt", "large.bin", "good.txt"];

/// What is at a path: nothing, or a file of this number, length and age.
type Facts = Option<(u64, u64, i64, i64)>;

/// The places outside of a home that climbing names aim at, as they were.
pub(super) struct Outside(Vec<(PathBuf, Facts)>);

impl Outside {
    /// As they are now.
    pub fn of(home: &Path) -> Self {
        let mut places: Vec<PathBuf> =
            FROM.iter().flat_map(|from| CLIMBING.iter().map(move |name| plain(&home.join(from).join(name)))).collect();
        // What lies inside is walked.
        places.retain(|place| !place.starts_with(home));
        places.sort();
        places.dedup();
        Self(places.into_iter().map(|place| (facts(&place), place)).map(|(facts, place)| (place, facts)).collect())
    }

    /// Whether they are as they were.
    pub fn unchanged(&self) -> Result<(), String> {
        let changed: Vec<_> = self.0.iter().filter(|(place, before)| facts(place) != *before).collect();
        if changed.is_empty() { Ok(()) } else { Err(format!("outside of the home something was changed: {changed:?}")) }
    }
}

fn facts(place: &Path) -> Facts {
    let facts = fs::symlink_metadata(place).ok()?;
    Some((facts.ino(), facts.len(), facts.mtime(), facts.mtime_nsec()))
}

/// Without `.` and `..`, as a kernel would walk it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// Nothing is in the home of a drive that the drive does not put there, no name in it is the service's, and what lies
/// outside is as it was.
pub(super) fn nothing_left_the_mount(home: &Path, outside: &Outside) -> Result<(), String> {
    let found = below(home, None);
    let strange: Vec<_> = found.iter().filter(|path| !is_ours(path, path.strip_prefix(home).unwrap_or(path))).collect();
    if !strange.is_empty() {
        return Err(format!("in the home there is {strange:?}"));
    }
    if found.len() < 8 {
        return Err(format!("the walk saw only {found:?}"));
    }
    outside.unchanged()
}

/// As [`nothing_left_the_mount`], for the home of a daemon: what was there `before` anybody lied may stay.
pub(super) fn nothing_left_the_daemon(
    home: &Home,
    before: &BTreeSet<PathBuf>,
    outside: &Outside,
) -> Result<(), String> {
    let places = places(home);
    let is_known = |path: &PathBuf| {
        let state = path.strip_prefix(&places.state).map(|rest| Path::new("state").join(rest));
        let name =
            state.or_else(|_| path.strip_prefix(places.chunks_folder()).map(|rest| Path::new("cache").join(rest)));
        before.contains(path) || name.is_ok_and(|name| is_ours(path, &name))
    };
    let found = below(&home.path(""), Some(&home.mount_point()));
    let strange: Vec<_> = found.iter().filter(|path| !is_known(path)).collect();
    if !strange.is_empty() {
        return Err(format!("in the home there is {strange:?}"));
    }
    outside.unchanged()
}

/// Everything below a folder, but for what is below another.
pub(super) fn below(folder: &Path, other: Option<&Path>) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        // What is made and removed meanwhile may go while it is looked at.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if other != Some(&path) && fs::symlink_metadata(&path).is_ok_and(|facts| facts.is_dir()) {
                open.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}

/// Whether a drive puts something of this name, from the home on, where it is.
fn is_ours(path: &Path, name: &Path) -> bool {
    let Some(name) = name.to_str() else { return false };
    match fs::symlink_metadata(path) {
        Ok(facts) => facts.is_dir() && is_folder(name) || facts.is_file() && is_file(name),
        Err(_) => true,
    }
}

/// The folders of a drive.
fn is_folder(name: &str) -> bool {
    let fixed =
        ["cache", "state", "state/index", "state/journal", "state/journal/spool", "state/journal/spool/nameless"];
    fixed.contains(&name) || name.strip_prefix("cache/").is_some_and(|shard| shard.len() == 2 && is_hex(shard))
}

/// The files of a drive.
fn is_file(name: &str) -> bool {
    if let Some(base) = ["index/index.db", "journal/journal.db"].iter().find_map(|base| {
        let rest = name.strip_prefix("state/")?.strip_prefix(base)?;
        Some(rest)
    }) {
        return ["", "-wal", "-shm", "-journal"].contains(&base);
    }
    if let Some(spooled) = name.strip_prefix("state/journal/spool/") {
        return is_spooled(spooled.strip_prefix("nameless/").unwrap_or(spooled));
    }
    if let Some(cached) = name.strip_prefix("cache/") {
        return cached == "CACHEDIR.TAG" || is_cached(cached);
    }
    ["state/journal/journal.seen", "state/journal/journal.boot"].contains(&name)
}

/// A number, and what the user called it.
fn is_spooled(name: &str) -> bool {
    let Some((number, hint)) = name.split_once('.') else { return false };
    // The uploader has it, and the cache may take it over.
    let hint = hint.strip_suffix(".adopted").unwrap_or(hint);
    number.len() == 10
        && number.bytes().all(|digit| digit.is_ascii_digit())
        && (SAVED.contains(&hint) || hint.starts_with("saved_"))
}

/// Below the first two digits of its digest.
fn is_cached(name: &str) -> bool {
    let Some((shard, name)) = name.split_once('/') else { return false };
    let Some((digest, kind)) = name.split_once('.') else { return false };
    digest.len() == 64
        && is_hex(digest)
        && digest.starts_with(shard)
        && shard.len() == 2
        && ["data", "map"].contains(&kind)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[test]
fn an_escape_would_be_seen() {
    let above = tempfile::tempdir().expect("a folder");
    let home = above.path().join("home");
    let digest = "ab".repeat(32);
    let good = [
        "cache/CACHEDIR.TAG".to_owned(),
        format!("cache/ab/{digest}.data"),
        format!("cache/ab/{digest}.map"),
        "state/journal/journal.db".to_owned(),
        "state/journal/spool/0000000001.new.txt".to_owned(),
        "state/index/index.db-wal".to_owned(),
    ];
    let make = |path: &Path| {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, "x").expect("written");
    };
    good.iter().for_each(|name| make(&home.join(name)));
    let outside = Outside::of(&home);
    nothing_left_the_mount(&home, &outside).expect("as it should be");
    for name in [
        "climbed",
        "cache/passwd",
        "cache/etc/passwd",
        "cache/ab/a.txt",
        "cache/ab/x.data",
        "state/a.txt",
        "state/journal/spool/passwd",
        "state/journal/spool/0000000002.passwd",
        "state/index/a.txt",
    ] {
        make(&home.join(name));
        nothing_left_the_mount(&home, &outside).expect_err(name);
        fs::remove_file(home.join(name)).expect("removed");
        let _ = fs::remove_dir(home.join("cache/etc"));
    }
    std::os::unix::fs::symlink("/etc/passwd", home.join("cache/ab").join(format!("{digest}.link"))).expect("a link");
    nothing_left_the_mount(&home, &outside).expect_err("a link");
    fs::remove_file(home.join("cache/ab").join(format!("{digest}.link"))).expect("removed");
    nothing_left_the_mount(&home, &outside).expect("as it should be again");
    make(&above.path().join("climbed"));
    nothing_left_the_mount(&home, &outside).expect_err("beside the home");
}
