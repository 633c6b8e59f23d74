//! What becomes of a file or folder that was changed here and elsewhere, and of what is deleted: a test for each row of
//! the README's table of conflicts, on every kind of drive. `two_writers` shows that nothing is ever lost; these show what
//! people get to see.
//!
//! Both have acted before anything of ours is sent. Sometimes the daemon hears of theirs first, sometimes it is the
//! service that says so when ours arrives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use onedrive_mount::daemon::core::Core;
use onedrive_mount::emulator::{Content, DriveHandle, Emulator, Flavour, Options};

use crate::volume_model::local_tree_of;
use crate::world::clock::FastClock;
use crate::world::model::Node;
use crate::world::ops::cloud_tree;
use crate::world::side::Side;
use crate::world::{MANY_FRAGMENTS, User, World, time_passes};

const SIDES: [Side; 3] = [Side::PERSONAL, Side::BUSINESS, Side::LIVE];

/// The day on which a [`FastClock`] begins.
const TODAY: &str = "2026-02-02";

/// Sent in one piece, and sent in fragments.
const SIZES: [usize; 2] = [2_000, 5_000_000];

/// No two of one test have one length: Live Connect tells versions by their seconds and their size.
fn content(seed: u64, length: usize) -> Vec<u8> {
    (0..length as u64 + seed)
        .map(|at| (at.wrapping_add(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8)
        .collect()
}

/// A drive in use, of which nothing is sent and nothing heard until that is asked for.
struct Stage {
    world: World,
    core: Core,
    side: Side,
    /// Whether what the others did is heard of before ours is sent.
    heard: bool,
}

impl Stage {
    async fn new(side: Side, heard: bool) -> Self {
        let clock = Arc::new(FastClock::new(4));
        let options =
            Options { flavour: side.flavour, content: Content::Empty, clock: clock.clone(), ..Options::default() };
        let emulator = Emulator::start(options).await.expect("the emulator starts");
        let home = tempfile::tempdir().expect("a folder");
        let world = World { emulator, side, home, clock, debounce: Duration::ZERO, how: MANY_FRAGMENTS };
        let core = world.open().await;
        core.poller.prepare().await.expect("the position in the feed");
        Self { world, core, side, heard }
    }

    fn drive(&self) -> &DriveHandle {
        self.world.emulator.drive()
    }

    fn user(&self) -> User<'_> {
        User(&self.core)
    }

    /// This is in the cloud and known here, content included.
    async fn begin_with(&self, files: &[(&str, &[u8])]) {
        for (path, bytes) in files {
            self.drive().create_file(path, bytes.to_vec());
        }
        self.core.poller.poll_now().await.expect("heard");
        for (path, bytes) in files {
            assert!(self.user().read(path).await.expect("readable") == *bytes, "{self:?}: {path}");
        }
        // What they do next is done in another second than this.
        self.world.clock.sleep(Duration::from_secs(2)).await;
    }

    /// Everything is sent, and heard of. Then both sides have exactly this.
    async fn ends_with(&self, wanted: &[(&str, Option<&[u8]>)]) {
        if self.heard {
            self.core.poller.poll_now().await.expect("heard");
        }
        for round in 0.. {
            while self.core.uploader.step().await {}
            if self.core.journal.backlog() == (0, 0) {
                break;
            }
            assert!(
                round < 100,
                "{self:?}: it does not come to rest: {:?}",
                self.core.journal.view(|all| { all.iter().map(|intent| format!("{intent:?}")).collect::<Vec<_>>() })
            );
            // A request that was refused waits a little before it is sent again.
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.core.journal.retry_all().expect("a journal that can be written");
        }
        let node = |bytes: &Option<&[u8]>| bytes.map_or(Node::Folder, |bytes| Node::File(bytes.to_vec()));
        let wanted: BTreeMap<String, Node> = wanted.iter().map(|(path, is)| ((*path).to_owned(), node(is))).collect();
        let cloud = cloud_tree(self.drive());
        let names = |tree: &BTreeMap<String, Node>| tree.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&cloud), names(&wanted), "{self:?}: in the cloud");
        assert!(cloud == wanted, "{self:?}: other bytes in the cloud");
        time_passes(&self.core);
        self.core.poller.poll_now().await.expect("heard");
        let local = local_tree_of(&self.core).await.expect("readable");
        assert_eq!(names(&local), names(&wanted), "{self:?}: here");
        assert!(local == wanted, "{self:?}: other bytes here");
        assert!(self.core.journal.kept().is_empty(), "{self:?}: {:?}", self.core.journal.kept());
        self.core.journal.close();
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, {}", self.side, if self.heard { "heard of before" } else { "not heard of before" })
    }
}

/// On every kind of drive, heard of before or not.
async fn stages() -> Vec<Stage> {
    let mut stages = Vec::new();
    for side in SIDES {
        for heard in [true, false] {
            stages.push(Stage::new(side, heard).await);
        }
    }
    stages
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_different_changes_theirs_keeps_the_name_and_ours_stands_beside_it() {
    for length in SIZES {
        for stage in stages().await {
            let [before, ours, theirs] = [0, 1, 2].map(|seed| content(seed, length));
            stage.begin_with(&[("Work/notes.txt", &before), ("plain", &before)]).await;
            stage.user().write("Work/notes.txt", &ours).await.expect("written");
            stage.user().write("plain", &ours).await.expect("written");
            stage.drive().write_file("/Work/notes.txt", theirs.clone());
            stage.drive().write_file("/plain", theirs.clone());
            let mine = format!("Work/notes (laptop, {TODAY}).txt");
            let plain = format!("plain (laptop, {TODAY})");
            stage
                .ends_with(&[
                    ("Work", None),
                    ("Work/notes.txt", Some(&theirs)),
                    (&mine, Some(&ours)),
                    ("plain", Some(&theirs)),
                    (&plain, Some(&ours)),
                ])
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_different_new_files_of_one_name_both_are_kept_and_numbered_from_two() {
    for stage in stages().await {
        let [earlier, ours, theirs] = [0, 1, 2].map(|seed| content(seed, 500));
        let first = format!("list (laptop, {TODAY}).txt");
        stage.begin_with(&[(&first, &earlier)]).await;
        stage.user().write("list.txt", &ours).await.expect("written");
        stage.drive().create_file("/list.txt", theirs.clone());
        let second = format!("list (laptop, {TODAY} 2).txt");
        stage.ends_with(&[(&first, Some(&earlier)), (&second, Some(&ours)), ("list.txt", Some(&theirs))]).await;
    }
}

/// Live Connect has no hashes; what has the size of ours is read back and compared.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_written_here_and_elsewhere_are_one_file() {
    for length in SIZES {
        for stage in stages().await {
            let [before, after] = [0, 1].map(|seed| content(seed, length));
            stage.begin_with(&[("budget.csv", &before)]).await;
            stage.user().write("budget.csv", &after).await.expect("written");
            stage.user().write("new.csv", &after).await.expect("written");
            stage.drive().write_file("/budget.csv", after.clone());
            stage.drive().create_file("/new.csv", after.clone());
            let ids = ["/budget.csv", "/new.csv"].map(|path| stage.drive().id(path));
            stage.ends_with(&[("budget.csv", Some(&after)), ("new.csv", Some(&after))]).await;
            assert_eq!(ids, ["/budget.csv", "/new.csv"].map(|path| stage.drive().id(path)), "{stage:?}");
            // Theirs was not replaced by ours, either. On a work drive a version more comes of the time that ours has.
            let versions = |path: &str| {
                let mut versions = stage.drive().versions(path);
                versions.retain(|bytes| stage.side.flavour != Flavour::Business || *bytes != after);
                versions
            };
            assert!(versions("/budget.csv") == [before], "{stage:?}");
            assert!(versions("/new.csv").is_empty(), "{stage:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_outlives_a_deletion_on_the_other_side() {
    for stage in stages().await {
        let [before, after] = [0, 1].map(|seed| content(seed, 500));
        stage.begin_with(&[("changed here", &before), ("changed elsewhere", &before)]).await;
        stage.user().write("changed here", &after).await.expect("written");
        stage.user().unlink("changed elsewhere").await.expect("removed");
        assert!(stage.drive().remove("/changed here"));
        stage.drive().write_file("/changed elsewhere", after.clone());
        stage.ends_with(&[("changed elsewhere", Some(&after)), ("changed here", Some(&after))]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_deleted_here_comes_back_for_what_was_put_into_it_elsewhere() {
    for stage in stages().await {
        let [old, new] = [0, 1].map(|seed| content(seed, 500));
        stage.begin_with(&[("flat/old", &old), ("top/deep/old", &old), ("gone/old", &old)]).await;
        for file in ["flat/old", "top/deep/old", "gone/old"] {
            stage.user().unlink(file).await.expect("removed");
        }
        for folder in ["flat", "top/deep", "top", "gone"] {
            stage.user().rmdir(folder).await.expect("removed");
        }
        assert_eq!(stage.user().list("").await.expect("listed"), [""; 0], "nothing of it is to be seen meanwhile");
        stage.drive().create_file("/flat/new", new.clone());
        stage.drive().create_file("/top/deep/new", new.clone());
        let folders = ["/flat", "/top", "/top/deep"];
        let ids = folders.map(|path| stage.drive().id(path));
        stage
            .ends_with(&[
                ("flat", None),
                ("flat/new", Some(&new)),
                ("top", None),
                ("top/deep", None),
                ("top/deep/new", Some(&new)),
            ])
            .await;
        assert_eq!(ids, folders.map(|path| stage.drive().id(path)), "{stage:?}: with whom they are shared stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_replaced_elsewhere_by_one_of_its_name_keeps_what_is_unsent_in_it() {
    for stage in stages().await {
        let [old, ours, theirs] = [0, 1, 2].map(|seed| content(seed, 500));
        stage.begin_with(&[("d/x", &old), ("d/deep/x", &old)]).await;
        stage.user().write("d/y", &ours).await.expect("written");
        stage.user().write("d/deep/y", &ours).await.expect("written");
        assert!(stage.drive().remove("/d"));
        stage.drive().create_folder("/d");
        stage.drive().create_file("/d/z", theirs.clone());
        if stage.heard {
            stage.core.poller.poll_now().await.expect("heard");
            assert_eq!(stage.user().list("").await.expect("listed"), ["d"], "{stage:?}");
            assert!(stage.user().read("d/y").await.expect("in its place") == ours, "{stage:?}");
        }
        stage
            .ends_with(&[
                ("d", None),
                ("d/deep", None),
                ("d/deep/y", Some(&ours)),
                ("d/y", Some(&ours)),
                ("d/z", Some(&theirs)),
            ])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_made_here_and_elsewhere_is_one_with_the_content_of_both() {
    for stage in stages().await {
        let [ours, theirs] = [0, 1].map(|seed| content(seed, 500));
        stage.begin_with(&[]).await;
        for folder in ["Trip", "Trip/Photos"] {
            stage.user().mkdir(folder).await.expect("made");
        }
        stage.user().write("Trip/ours", &ours).await.expect("written");
        stage.user().write("Trip/Photos/ours", &ours).await.expect("written");
        stage.drive().create_file("/Trip/Photos/theirs", theirs.clone());
        stage.drive().create_file("/Trip/theirs", theirs.clone());
        stage
            .ends_with(&[
                ("Trip", None),
                ("Trip/Photos", None),
                ("Trip/Photos/ours", Some(&ours)),
                ("Trip/Photos/theirs", Some(&theirs)),
                ("Trip/ours", Some(&ours)),
                ("Trip/theirs", Some(&theirs)),
            ])
            .await;
    }
}

/// As `rm -r` does it: what is in a folder first, each by itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_here_is_in_the_recycle_bin_with_its_content() {
    for stage in stages().await {
        let [one, two, three] = [0, 1, 2].map(|seed| content(seed, 500));
        stage.begin_with(&[("letter", &one), ("album/sub/two", &two)]).await;
        stage.user().write("album/three", &three).await.expect("written");
        while stage.core.uploader.step().await {}
        assert!(stage.drive().read_file("/album/three").as_ref() == Some(&three), "{stage:?}: ours is in the cloud");
        for file in ["letter", "album/three", "album/sub/two"] {
            stage.user().unlink(file).await.expect("removed");
        }
        for folder in ["album/sub", "album"] {
            stage.user().rmdir(folder).await.expect("removed");
        }
        stage.ends_with(&[]).await;
        let bin = stage.drive().recycle_bin();
        let mut names: Vec<&str> = bin.iter().map(|item| item.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["album", "letter", "sub", "three", "two"], "{stage:?}");
        for (name, bytes) in [("letter", &one), ("two", &two), ("three", &three)] {
            let item = bin.iter().find(|item| item.name == name).expect("just seen");
            assert_eq!(item.size, bytes.len() as u64, "{stage:?}: {name}");
            assert_eq!(item.hash, Some(onedrive_mount::base::hash::QuickXorHash::of(bytes)), "{stage:?}: {name}");
        }
    }
}
