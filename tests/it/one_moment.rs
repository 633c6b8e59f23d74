//! What is seen while the cloud acknowledges one thing after another: every name once, in every look.
//!
//! On Live Connect a new time of a file is acknowledged without a request, because that service cannot be told one. So
//! intents come and go here as fast as the disk allows.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use onedrive_mount::base::clock::Timestamp;
use onedrive_mount::base::ids::Ino;
use onedrive_mount::daemon::core::Core;
use onedrive_mount::volume::{Entry, SetAttributes};

use crate::world::side::Side;
use crate::world::{User, World};

const FILES: usize = 1500;
const HAMMERED: usize = 8;

/// Gives files new times and lets them be acknowledged, until told to stop. Returns how many were.
async fn hammer(core: &Core, files: &[Ino], stop: &AtomicBool) -> usize {
    let mut acknowledged = 0;
    while !stop.load(Ordering::Relaxed) {
        for ino in files {
            let mtime = Some(Some(Timestamp::from_seconds(1_000_000 + acknowledged as i64)));
            core.volume.setattr(*ino, None, SetAttributes { mtime, ..SetAttributes::default() }).await.expect("sets");
            acknowledged += 1;
        }
        while core.uploader.step().await {}
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_of_acknowledgements_hides_no_name_and_shows_none_twice() {
    let mut world = World::new(Side::LIVE).await;
    world.debounce = Duration::ZERO;
    for number in 0..FILES {
        world.emulator.drive().create_file(&format!("/d/f{number:04}"), b"content");
    }
    let core = world.open().await;
    core.prepare().await;
    core.poller.poll_now().await.expect("polls");
    let user = User(&core);
    let folder = user.walk("d").await.expect("there");
    assert_eq!(user.list("d").await.expect("lists").len(), FILES);
    let mut files = Vec::new();
    for number in 0..HAMMERED {
        files.push(user.walk(&format!("d/f{number:04}")).await.expect("there"));
    }
    let (stop, lookups, listings) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let (core, stop, lookups, listings) = (&core, &stop, &lookups, &listings);
    let slowest = std::sync::Mutex::new(Duration::ZERO);
    let runtime = tokio::runtime::Handle::current();
    let until = Instant::now() + Duration::from_secs(4);
    let wrong: std::sync::Mutex<Vec<String>> = std::sync::Mutex::default();
    std::thread::scope(|scope| {
        let (runtime, slowest, wrong, files) = (&runtime, &slowest, &wrong, &files);
        let storm = scope.spawn(move || runtime.block_on(hammer(core, files, stop)));
        let lists = scope.spawn(move || {
            while Instant::now() < until {
                let names = runtime.block_on(User(core).list("d")).expect("lists");
                listings.fetch_add(1, Ordering::Relaxed);
                let different: HashSet<&String> = names.iter().collect();
                if names.len() != FILES || different.len() != FILES {
                    wrong.lock().expect("no panic").push(format!(
                        "{} names, {} different",
                        names.len(),
                        different.len()
                    ));
                }
            }
        });
        let looks = scope.spawn(move || {
            while Instant::now() < until {
                for (number, ino) in files.iter().enumerate() {
                    let begun = Instant::now();
                    let name = format!("f{number:04}");
                    let found = runtime.block_on(core.volume.lookup(folder, name.as_ref())).expect("looks");
                    let took = begun.elapsed();
                    let mut slowest = slowest.lock().expect("no panic");
                    *slowest = took.max(*slowest);
                    lookups.fetch_add(1, Ordering::Relaxed);
                    if !matches!(found, Entry::Found { attributes, .. } if attributes.ino == *ino && attributes.size == 7) {
                        wrong.lock().expect("no panic").push(format!("{name}: {found:?}"));
                    }
                }
            }
        });
        lists.join().expect("no panic");
        looks.join().expect("no panic");
        stop.store(true, Ordering::Relaxed);
        let acknowledged = storm.join().expect("no panic");
        println!(
            "{acknowledged} acknowledgements, {} listings, {} lookups, the slowest {:?}",
            listings.load(Ordering::Relaxed),
            lookups.load(Ordering::Relaxed),
            slowest.lock().expect("no panic"),
        );
        assert!(acknowledged > 100, "no storm");
    });
    let wrong = wrong.into_inner().expect("no panic");
    assert!(wrong.is_empty(), "{} looks were wrong: {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
}
