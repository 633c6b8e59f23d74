//! Who asks how urgently, and that one refusal of any host silences all who ask: the gate keeps lanes for the urgent, which
//! help nobody if a caller is in the wrong one.

use std::sync::Arc;
use std::time::Duration;

use onedrive_mount::base::clock::Clock as _;
use onedrive_mount::base::ids::Ino;
use onedrive_mount::base::tasks::TaskGroup;
use onedrive_mount::emulator::{Fault, Flavour, Host, Rule};
use onedrive_mount::remote::Urgency::{self, Background, Interactive, Upload};
use onedrive_mount::remote::layers::observe::Operation;
use onedrive_mount::volume::VolumeError;

use crate::network::{open, world};
use crate::world::asked::Asked;
use crate::world::clock::FastClock;
use crate::world::side::Side;
use crate::world::{User, World, eventually, settle};

/// All calls since the last look are of this urgency, and these are among them.
#[track_caller]
fn all_are(asked: &Asked, urgency: Urgency, among: &[Operation]) {
    let calls = asked.take();
    assert!(calls.iter().all(|(_, of)| *of == urgency), "not all are {urgency:?}: {calls:?}");
    for operation in among {
        assert!(calls.iter().any(|(of, _)| of == operation), "no {operation:?} among {calls:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_in_front_of_a_screen_goes_before_uploads_and_those_before_the_rest() {
    for side in [Side::PERSONAL, Side::BUSINESS, Side::LIVE] {
        let mut world = World::new(side).await;
        world.debounce = Duration::ZERO;
        let drive = world.emulator.drive();
        drive.set_quota(1 << 40);
        drive.create_file("/docs/small", vec![1; 3000]);
        drive.create_file("/deep/deeper/file", vec![2; 3000]);
        let asked = Asked::new(world.remote());
        let core = world.open_on(asked.clone(), world.home.path()).await;
        core.prepare().await;
        let user = User(&core);
        asked.take();

        user.list("docs").await.expect("lists");
        all_are(&asked, Interactive, &[Operation::List]);
        user.read("docs/small").await.expect("reads");
        all_are(&asked, Interactive, &[Operation::Read]);

        user.write("docs/sent", b"sent").await.expect("writes");
        user.write("docs/large", &vec![3; 9 << 20]).await.expect("writes");
        user.mkdir("docs/folder").await.expect("makes");
        user.rename("docs/small", "docs/renamed").await.expect("renames");
        all_are(&asked, Interactive, &[]);
        let worker = tokio::spawn(core.uploader.clone().work());
        settle(&core).await;
        worker.abort();
        let made = [Operation::PutSmall, Operation::BeginUpload, Operation::PutFragment, Operation::MakeFolder];
        all_are(&asked, Upload, &made);

        // From here on nobody waits for anything.
        let tasks = TaskGroup::new(world.clock.clone());
        core.spawn_tasks(&tasks);
        eventually("the drive is known", || async { core.index.is_enumerated().expect("an index") }).await;
        eventually("the space is known", || async { core.volume.space().total == 1 << 40 }).await;
        all_are(&asked, Background, &[Operation::Changes, Operation::Quota]);
        drive.create_file("/elsewhere", "elsewhere");
        let seen = || async { core.index.child(Ino::ROOT, "elsewhere").expect("an index").is_some() };
        eventually("the change is seen", seen).await;
        all_are(&asked, Background, &[Operation::Changes]);
        tasks.stop(Duration::from_secs(5)).await;
        core.journal.close();
    }
}

/// The service counts the requests to its hosts together, so the patience that one of them asks for is asked of all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patience_that_the_storage_host_asks_for_silences_all_requests_until_then() {
    const PAUSE: Duration = Duration::from_secs(120);
    for (method, flavour) in [("GET", Flavour::PersonalNew), ("PUT", Flavour::Business)] {
        let clock = FastClock::new(30);
        let (world, options, tokens) = world(Arc::new(clock.clone()), flavour.into()).await;
        let drive = world.emulator.drive();
        for path in ["docs/a", "docs/b"] {
            drive.create_file(path, vec![1; 3000]);
        }
        let running = open(&world, &options, &tokens).await;
        let user = User(&running.core);
        user.list("docs").await.expect("lists");
        let rule = world.emulator.faults().add(Rule::once(method, "*", Fault::throttled(120)).on(Host::Storage));
        let begun = clock.monotonic();
        if method == "GET" {
            let refused = user.read("docs/a").await;
            assert!(matches!(refused, Err(VolumeError::TimedOut)), "{refused:?}");
        }
        running.core.spawn_tasks(&running.tasks);
        user.write("docs/large", &vec![3; 9 << 20]).await.expect("local");
        eventually("refused", || async { world.emulator.faults().struck(rule) == 1 }).await;
        // What was on its way before anybody could know has arrived by now.
        clock.sleep(Duration::from_secs(5)).await;
        world.emulator.forget_requests();
        user.write("docs/small", b"small").await.expect("local");
        let mut looks = 0;
        loop {
            user.read("docs/b").await.expect_err("the service asked for patience");
            clock.sleep(Duration::from_secs(5)).await;
            let seen = world.emulator.requests();
            if clock.monotonic().since(begun) >= PAUSE {
                break;
            }
            looks += 1;
            assert!(seen.is_empty(), "{method}, look {looks}: {seen:?}");
        }
        assert!(looks > 0, "{method}: the machine was too slow to look once in {PAUSE:?}");
        settle(&running.core).await;
        assert_eq!(drive.read_file("docs/large").map(|bytes| bytes.len()), Some(9 << 20));
        assert_eq!(user.read("docs/b").await.expect("it is over"), vec![1; 3000]);
        running.stop().await;
    }
}
