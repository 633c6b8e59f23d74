//! Names that stay on this machine (`*.part`, `.*.swp`, ...): what goes through them on its way must get where it
//! belongs, and what has them in the cloud stays there.

use std::time::Duration;

use onedrive_mount::base::ids::Ino;
use onedrive_mount::daemon::core::Core;
use onedrive_mount::emulator::{Fault, Rule, When};
use onedrive_mount::volume::{OpenHow, RenameHow};

use crate::volume_model::local_tree_of;
use crate::world::model::Node;
use crate::world::ops::cloud_tree;
use crate::world::side::Side;
use crate::world::{User, World, time_passes};

const SIDES: [Side; 2] = [Side::PERSONAL, Side::LIVE];

struct Bench {
    world: World,
    core: Core,
}

impl Bench {
    async fn new(side: Side, files: &[(&str, &[u8])]) -> Self {
        let mut world = World::new(side).await;
        world.debounce = Duration::ZERO;
        for (path, bytes) in files {
            world.emulator.drive().create_file(path, bytes.to_vec());
        }
        let core = Self::open(&world).await;
        Self { world, core }
    }

    async fn open(world: &World) -> Core {
        let core = world.open().await;
        core.prepare().await;
        core.poller.prepare().await.expect("a cursor");
        User(&core).list("").await.expect("the root");
        core
    }

    fn user(&self) -> User<'_> {
        User(&self.core)
    }

    async fn rest(&self) {
        for _ in 0..30 {
            self.core.journal.retry_all().expect("the journal takes it");
            while self.core.uploader.step().await {}
            self.core.poller.poll_now().await.expect("polls");
        }
        assert_eq!(self.core.journal.backlog(), (0, 0));
    }

    /// What the cloud has, in short.
    fn cloud(&self) -> Vec<(String, String)> {
        let text = |node: Node| match node {
            Node::File(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Node::Folder => "a folder".into(),
        };
        cloud_tree(self.world.emulator.drive()).into_iter().map(|(path, node)| (path, text(node))).collect()
    }

    async fn exchange(&self, a: &str, b: &str) {
        let how = RenameHow::Exchange;
        self.core.volume.rename(Ino::ROOT, a.as_ref(), Ino::ROOT, b.as_ref(), how).await.expect("swaps");
    }
}

fn is(found: &[(String, String)], wanted: &[(&str, &str)]) {
    let found: Vec<(&str, &str)> = found.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    assert_eq!(found, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_free_again_when_what_was_sent_to_it_got_a_local_one_meanwhile() {
    for side in SIDES {
        for (answered, restarted) in [(true, false), (false, false), (true, true), (false, true)] {
            let mut bench = Bench::new(side, &[]).await;
            bench.user().write("big.iso", b"first").await.expect("writes");
            let fault = match answered {
                true => Fault::Stall { when: When::After, duration: Duration::from_millis(400) },
                false => Fault::Reset { when: When::After },
            };
            let fault = bench.world.emulator.faults().add(Rule::once("PUT", "*", fault));
            let renaming = async {
                while bench.world.emulator.faults().struck(fault) == 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                bench.user().rename("big.iso", "big.iso.part").await.expect("moves");
                bench.user().write("big.iso", b"second, longer").await.expect("writes");
            };
            tokio::join!(bench.core.uploader.step(), renaming);
            if restarted {
                let Bench { world, core } = bench;
                drop(core);
                let core = Bench::open(&world).await;
                bench = Bench { world, core };
            }
            for _ in 0..8 {
                // What was sent without an answer is looked for over some seconds.
                bench.core.journal.retry_all().expect("the journal takes it");
                while bench.core.uploader.step().await {}
                tokio::time::sleep(Duration::from_millis(if answered { 0 } else { 800 })).await;
            }
            bench.rest().await;
            is(&bench.cloud(), &[("big.iso", "second, longer"), ("big.iso.part", "first")]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_swapped_with_a_local_name_is_sent_if_its_own_is_not_local() {
    for side in SIDES {
        // In the cloud with local: the one in the cloud stays there under its new name, the other one comes.
        let bench = Bench::new(side, &[("doc.txt", b"in the cloud")]).await;
        bench.user().write("doc.txt.part", b"local").await.expect("writes");
        bench.exchange("doc.txt.part", "doc.txt").await;
        bench.rest().await;
        is(&bench.cloud(), &[("doc.txt", "local"), ("doc.txt.part", "in the cloud")]);

        // Unsent with local, both ways of naming them.
        for swapped in [false, true] {
            let bench = Bench::new(side, &[]).await;
            bench.user().write("new.txt", b"was plain").await.expect("writes");
            bench.user().write(".new.txt.swp", b"was local").await.expect("writes");
            match swapped {
                false => bench.exchange("new.txt", ".new.txt.swp").await,
                true => bench.exchange(".new.txt.swp", "new.txt").await,
            }
            bench.rest().await;
            is(&bench.cloud(), &[("new.txt", "was local")]);
            assert_eq!(bench.user().read(".new.txt.swp").await.expect("stays here"), b"was plain");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_by_rename_over_what_has_a_local_name_in_the_cloud_is_a_new_version_of_it() {
    for side in SIDES {
        let bench = Bench::new(side, &[("archive.part", b"old")]).await;
        let id = bench.world.emulator.drive().id("/archive.part");
        bench.user().write("archive.part.tmp", b"new and longer").await.expect("writes");
        bench.user().rename("archive.part.tmp", "archive.part").await.expect("moves");
        bench.rest().await;
        is(&bench.cloud(), &[("archive.part", "new and longer")]);
        assert_eq!(bench.world.emulator.drive().id("/archive.part"), id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unfinished_download_outlives_the_folder_that_it_is_in() {
    for side in SIDES {
        let bench = Bench::new(side, &[("down/there.txt", b"there"), ("locks/there.txt", b"there")]).await;
        bench.user().list("down").await.expect("lists");
        bench.user().list("locks").await.expect("lists");
        bench.user().write("down/x.iso.crdownload", b"half of ").await.expect("writes");
        bench.user().write("locks/.~lock.there.txt#", b"somebody").await.expect("writes");
        let ino = bench.user().walk("down/x.iso.crdownload").await.expect("there");
        let how = OpenHow { read: true, write: true, ..OpenHow::default() };
        let fh = bench.core.volume.open(ino, how).await.expect("opens").fh;
        time_passes(&bench.core);
        bench.world.emulator.drive().remove("/down");
        bench.world.emulator.drive().remove("/locks");
        bench.rest().await;
        bench.core.volume.write(ino, Some(fh), 8, b"it").await.expect("goes on");
        bench.core.volume.flush(ino, fh).await.expect("closes");
        bench.core.volume.release(ino, fh);
        bench.user().rename("down/x.iso.crdownload", "down/x.iso").await.expect("is finished");
        bench.rest().await;
        is(&bench.cloud(), &[("down", "a folder"), ("down/x.iso", "half of it")]);
        let local = local_tree_of(&bench.core).await.expect("lists");
        assert!(!local.contains_key("locks"), "a mark that a file is open brings no folder back: {:?}", local.keys());
    }
}

/// The service tells them apart, so they are all shown.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_only_a_language_takes_for_the_same_are_all_there() {
    let names = ["\u{130}stanbul", "I\u{307}stanbul", "\u{39f}\u{394}\u{39f}\u{3a3}", "\u{3bf}\u{3b4}\u{3bf}\u{3c2}"];
    for side in SIDES {
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, name.as_bytes())).collect();
        let bench = Bench::new(side, &files).await;
        let mut wanted = names.map(str::to_owned);
        wanted.sort();
        assert_eq!(bench.user().list("").await.expect("lists"), wanted);
        for name in names {
            assert_eq!(bench.user().read(name).await.expect("reads"), name.as_bytes());
        }
    }
}
