//! What a user does while a request is on its way: its answer speaks of what was asked, not of what is wanted by now.

use std::sync::Arc;
use std::time::Duration;

use onedrive_mount::base::clock::Timestamp;
use onedrive_mount::daemon::core::Core;
use onedrive_mount::emulator::{Fault, Rule, When};
use onedrive_mount::volume::SetAttributes;

use crate::volume_model::local_tree_of;
use crate::world::clock::FastClock;
use crate::world::kernel::Believer;
use crate::world::model::Node;
use crate::world::ops::cloud_tree;
use crate::world::side::Side;
use crate::world::{User, World};

pub const SIDES: [Side; 3] = [Side::PERSONAL, Side::BUSINESS, Side::LIVE];

/// A drive with a kernel that believes what it is told, whose uploader makes single steps.
pub struct Bench {
    pub world: World,
    kernel: Arc<Believer>,
    pub core: Core,
}

impl Bench {
    pub async fn new(side: Side, files: &[(&str, &[u8])]) -> Self {
        let mut world = World::new(side).await;
        (world.debounce, world.clock) = (Duration::ZERO, Arc::new(FastClock::new(30)));
        for (path, bytes) in files {
            world.emulator.drive().create_file(path, bytes.to_vec());
        }
        let kernel = Arc::new(Believer::default());
        let core = world.open_heard(kernel.clone()).await;
        core.prepare().await;
        core.poller.prepare().await.expect("a cursor");
        User(&core).list("").await.expect("the root");
        Self { world, kernel, core }
    }

    pub fn user(&self) -> User<'_> {
        User(&self.core)
    }

    pub async fn step(&self) {
        self.core.journal.retry_all().expect("the journal takes it");
        self.core.uploader.step().await;
    }

    pub async fn steps(&self, most: usize) {
        for _ in 0..most {
            self.step().await;
        }
    }

    pub async fn poll(&self) {
        self.core.poller.poll_now().await.expect("polls");
    }

    /// The next answer comes late.
    fn delay_answer(&self) {
        let late = Fault::Stall { when: When::After, duration: Duration::from_millis(600) };
        self.world.emulator.faults().add(Rule::once("*", "*", late));
    }

    /// A step, and something that a user does while its first answer is on its way.
    pub async fn meanwhile<F: Future<Output = ()>>(&self, user: impl FnOnce() -> F) {
        self.delay_answer();
        let later = async {
            tokio::time::sleep(Duration::from_millis(250)).await;
            user().await;
        };
        tokio::join!(self.step(), later);
    }

    async fn set_time(&self, path: &str, time: Timestamp) {
        let ino = self.user().walk(path).await.expect("there");
        let set = SetAttributes { mtime: Some(Some(time)), ..SetAttributes::default() };
        self.core.volume.setattr(ino, None, set).await.expect("sets the time");
    }

    async fn time(&self, path: &str) -> Timestamp {
        let ino = self.user().walk(path).await.expect("there");
        self.core.volume.getattr(ino).await.expect("there").mtime
    }

    /// Everything comes to rest, and both sides have this.
    pub async fn rests_with(&self, wanted: &[(&str, &[u8])], case: &str) {
        for _ in 0..10 {
            self.poll().await;
            self.steps(20).await;
        }
        let left: Vec<String> = self.core.journal.view(|all| {
            all.iter().map(|one| format!("{}: {:?} {:?}", one.name, one.progress, one.last_error)).collect()
        });
        assert_eq!(left, [""; 0], "{case}");
        let wanted = wanted.iter().map(|(path, bytes)| ((*path).to_owned(), Node::File(bytes.to_vec()))).collect();
        assert_eq!(cloud_tree(self.world.emulator.drive()), wanted, "{case}: the cloud");
        assert_eq!(local_tree_of(&self.core).await.expect("lists"), wanted, "{case}: the mount");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_is_closed_while_the_file_is_found_to_be_gone_is_sent_as_new() {
    for side in SIDES {
        for held in [false, true] {
            let bench = Bench::new(side, &[("a", b"as it was")]).await;
            bench.user().read("a").await.expect("reads");
            bench.user().rename("a", "b").await.expect("renames");
            bench.world.emulator.drive().remove("/a");
            let open = match held {
                true => Some(bench.user().open("b").await.expect("opens")),
                false => None,
            };
            bench.meanwhile(async || bench.user().patch("b", 0, b"AS").await.expect("writes")).await;
            if let Some((ino, fh)) = open {
                bench.core.volume.write(ino, Some(fh), 3, b"IT").await.expect("writes");
                bench.core.volume.flush(ino, fh).await.expect("closes");
                bench.core.volume.release(ino, fh);
            }
            let wanted: &[u8] = if held { b"AS IT was" } else { b"AS it was" };
            bench.rests_with(&[("b", wanted)], &format!("{side:?}, held: {held}")).await;
        }
    }
}

/// The service keeps whole seconds; what `make` and `git` compare is kept here, whichever way an answer takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_is_what_it_was_set_to_though_the_answer_is_lost() {
    let exact = Timestamp(1_700_000_000_123_456_789);
    let theirs = Timestamp::from_seconds(1_710_000_000);
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Elsewhere {
        Nothing,
        Touched,
        Edited,
    }
    for side in [Side::PERSONAL, Side::BUSINESS] {
        for (renamed, elsewhere, heard) in [
            (false, Elsewhere::Nothing, false),
            (false, Elsewhere::Nothing, true),
            (true, Elsewhere::Nothing, false),
            (true, Elsewhere::Touched, false),
            (true, Elsewhere::Touched, true),
            (true, Elsewhere::Edited, false),
            (true, Elsewhere::Edited, true),
        ] {
            let case = format!("{side:?}, renamed: {renamed}, elsewhere: {elsewhere:?}, heard: {heard}");
            let bench = Bench::new(side, &[]).await;
            bench.user().write("a", b"content").await.expect("writes");
            if renamed {
                // One that is in the cloud already is not sent with the new name.
                bench.set_time("a", exact).await;
            }
            bench.steps(5).await;
            assert_eq!(bench.core.journal.backlog(), (0, 0), "{case}");
            let name = if renamed {
                bench.user().rename("a", "b").await.expect("renames");
                "b"
            } else {
                bench.set_time("a", exact).await;
                "a"
            };
            let faults = bench.world.emulator.faults();
            let lost = faults.add(Rule::once("PATCH", "*", Fault::Reset { when: When::After }));
            bench.step().await;
            assert_eq!(faults.struck(lost), 1, "{case}");
            let drive = bench.world.emulator.drive();
            match elsewhere {
                Elsewhere::Nothing => {}
                Elsewhere::Touched => drive.set_times(&format!("/{name}"), theirs, theirs),
                Elsewhere::Edited => {
                    drive.write_file(&format!("/{name}"), b"other content".to_vec());
                    drive.set_times(&format!("/{name}"), theirs, theirs);
                }
            }
            if heard {
                bench.poll().await;
            }
            // Programs look before and after the last step.
            while bench.core.journal.backlog() != (0, 0) {
                bench.kernel.look(&bench.core, &["a", "b"]).await;
                bench.step().await;
            }
            assert_eq!(bench.kernel.errors(&bench.core).await, [""; 0], "{case}");
            let wanted = if elsewhere == Elsewhere::Nothing { exact } else { theirs };
            assert_eq!(bench.time(name).await, wanted, "{case}");
        }
    }
}

/// As `rsync -t` does, and `touch -d`; the cloud has nothing to be told.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_within_the_same_second_stays() {
    let time = |nanos: i64| Timestamp(1_700_000_000_000_000_000 + nanos);
    for side in SIDES {
        for moved in [false, true] {
            let case = format!("{side:?}, moved: {moved}");
            let bench = Bench::new(side, &[]).await;
            bench.user().write("a", b"content").await.expect("writes");
            bench.set_time("a", time(5)).await;
            bench.steps(8).await;
            assert_eq!((bench.core.journal.backlog(), bench.time("a").await), ((0, 0), time(5)), "{case}");
            bench.set_time("a", time(7)).await;
            if moved {
                bench.user().rename("a", "b").await.expect("renames");
                bench.user().rename("b", "a").await.expect("renames");
            }
            bench.kernel.look(&bench.core, &["a", "b"]).await;
            bench.steps(8).await;
            assert_eq!((bench.core.journal.backlog(), bench.time("a").await), ((0, 0), time(7)), "{case}");
            bench.poll().await;
            assert_eq!(bench.time("a").await, time(7), "{case}");
            assert_eq!(bench.kernel.errors(&bench.core).await, [""; 0], "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_not_held_against_what_is_wanted_since() {
    for side in SIDES {
        for deleted in [false, true] {
            let case = format!("{side:?}, deleted: {deleted}");
            let bench = Bench::new(side, &[("a", b"as it was")]).await;
            bench.user().write("a", b"edited").await.expect("writes");
            let refused = Fault::status(When::Before, 403, "accessDenied");
            bench.world.emulator.faults().add(Rule::once("PUT", "*", refused));
            bench
                .meanwhile(async || {
                    match deleted {
                        true => bench.user().unlink("a").await,
                        false => bench.user().write("a", b"edited again").await,
                    }
                    .expect("does");
                })
                .await;
            match deleted {
                true => bench.rests_with(&[], &case).await,
                false => bench.rests_with(&[("a", b"edited again")], &case).await,
            }
        }
    }
}
