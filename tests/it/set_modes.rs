//! Permission bits are kept on this machine, for as long as there is something that they are about.

use onedrive_mount::base::ids::Ino;
use onedrive_mount::daemon::core::Core;
use onedrive_mount::volume::SetAttributes;

use crate::world::side::Side;
use crate::world::{User, World, settle};

/// What is stored.
fn stored(world: &World) -> Vec<(u64, u32)> {
    let journal = world.home.path().join("state/journal/journal.db");
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let journal = rusqlite::Connection::open_with_flags(journal, flags).expect("the journal");
    let mut rows = journal.prepare("SELECT ino, mode FROM modes ORDER BY ino").expect("a table");
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    rows.collect::<Result<_, _>>().expect("rows")
}

async fn set(core: &Core, path: &str, mode: u32) -> Ino {
    let ino = User(core).walk(path).await.expect("there");
    let set = SetAttributes { mode: Some(mode), ..SetAttributes::default() };
    core.volume.setattr(ino, None, set).await.expect("a mode");
    ino
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bits_of_a_file_go_with_it() {
    for side in [Side::PERSONAL, Side::LIVE] {
        let world = World::new(side).await;
        let drive = world.emulator.drive();
        for name in ["saved", "deleted", "gone elsewhere"] {
            drive.create_file(&format!("/{name}"), name.as_bytes());
        }
        let running = world.run().await;
        let (core, user) = (&running.core, User(&running.core));
        // The default is nothing to remember.
        set(core, "saved", 0o644).await;
        assert_eq!(stored(&world), [], "{side:?}: the default");
        set(core, "saved", 0o600).await;
        set(core, "saved", 0o644).await;
        assert_eq!(stored(&world), [], "{side:?}: the default again");

        // Saved three times, by an editor that gives the new file the bits of the old one.
        for round in 0..3 {
            user.write("temporary", format!("{round}").as_bytes()).await.expect("writes");
            let ino = set(core, "temporary", 0o600).await;
            user.rename("temporary", "saved").await.expect("saves");
            assert_eq!(stored(&world), [(ino.0, 0o600)], "{side:?}: saved {round}");
            settle(core).await;
            assert_eq!(stored(&world), [(ino.0, 0o600)], "{side:?}: saved {round} and sent");
        }
        set(core, "saved", 0o644).await;

        // Never sent.
        user.write(".~lock.x#", b"local").await.expect("writes");
        let ino = set(core, ".~lock.x#", 0o600).await;
        assert_eq!(stored(&world), [(ino.0, 0o600)]);
        user.unlink(".~lock.x#").await.expect("removes");
        assert_eq!(stored(&world), [], "{side:?}: never sent");

        // Open while it goes: it keeps them until it is closed.
        let ino = set(core, "deleted", 0o600).await;
        let (_, fh) = user.open("deleted").await.expect("opens");
        user.unlink("deleted").await.expect("removes");
        assert_eq!(core.volume.getattr(ino).await.expect("open").permissions, 0o600, "{side:?}");
        core.volume.release(ino, fh);
        settle(core).await;
        assert_eq!(stored(&world), [], "{side:?}: deleted while it was open");

        // Elsewhere.
        set(core, "gone elsewhere", 0o600).await;
        drive.remove("/gone elsewhere");
        running.core.poller.poll_now().await.expect("polls");
        crate::world::eventually("the removal", async || user.walk("gone elsewhere").await.is_err()).await;
        assert_eq!(stored(&world), [], "{side:?}: deleted elsewhere");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bits_of_what_was_made_here_outlive_the_index() {
    for side in [Side::PERSONAL, Side::LIVE] {
        let world = World::new(side).await;
        world.emulator.drive().create_file("/document", "first");
        let running = world.run().await;
        let (core, user) = (&running.core, User(&running.core));
        user.list("").await.expect("lists");
        user.write("script", b"#!/bin/sh").await.expect("writes");
        set(core, "script", 0o755).await;
        // Saved over a document, whose item it takes over.
        user.write("document.new", b"second").await.expect("writes");
        set(core, "document.new", 0o600).await;
        user.rename("document.new", "document").await.expect("renames");
        running.settle().await;
        running.stop().await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        std::fs::remove_dir_all(world.home.path().join("state/index")).expect("it was there");
        let running = world.run().await;
        let (core, user) = (&running.core, User(&running.core));
        user.list("").await.expect("lists");
        for (path, mode) in [("script", 0o755), ("document", 0o600)] {
            let ino = user.walk(path).await.expect("there");
            let now = core.volume.getattr(ino).await.expect("attributes").permissions;
            assert_eq!(now & 0o777, mode, "{side:?}, {path}");
        }
        running.stop().await;
    }
}
