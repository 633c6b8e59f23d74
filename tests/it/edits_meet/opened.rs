//! Handles that are opened in the very moment in which an edit begins.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// A disk that, when it is asked for its free space, lets somebody do something once: between the look of an `open` at a
/// file and the handle. It is asked by whoever comes after it was full.
#[derive(Default)]
struct Meanwhile {
    full: AtomicBool,
    deed: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Between for Meanwhile {
    fn free_space(&self, _path: &Path) -> io::Result<u64> {
        let deed = self.deed.lock().unwrap().take();
        if let Some(deed) = deed {
            deed();
        }
        Ok(if self.full.load(Ordering::SeqCst) { 0 } else { 1 << 40 })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_that_is_opened_while_an_edit_begins_follows_it() {
    for side in SIDES {
        for (first, emptied, unlinked) in [
            (pattern(1, 9000), false, false),
            (pattern(1, 9000), true, false),
            (Vec::new(), false, false),
            (pattern(1, 9000), false, true),
        ] {
            let case = format!("{side:?}, {} bytes, emptied: {emptied}, unlinked: {unlinked}", first.len());
            let world = World::new(side).await;
            world.emulator.drive().create_file("doc", first.clone());
            let disk = Arc::new(Meanwhile::default());
            let core = world.open_with(world.remote(), world.home.path(), Arc::new(Behind(disk.clone())), 0).await;
            core.prepare().await;
            core.poller.prepare().await.expect("a cursor");
            let user = User(&core);
            assert!(user.read("doc").await.expect("reads") == first);
            let (ino, writer) = user.open("doc").await.expect("opens");
            if unlinked {
                user.unlink("doc").await.expect("goes");
            }
            disk.full.store(true, Ordering::SeqCst);
            user.write("too much", &vec![1; 17 << 20]).await.expect_err("there is no room");
            disk.full.store(false, Ordering::SeqCst);
            let volume = core.volume.clone();
            *disk.deed.lock().unwrap() = Some(Box::new(move || {
                if emptied {
                    let cut = SetAttributes { size: Some(0), ..SetAttributes::default() };
                    futures_util::FutureExt::now_or_never(volume.setattr(ino, Some(writer), cut))
                        .expect("at once")
                        .expect("empties");
                }
                volume.write_now(ino, Some(writer), 0, b"MINE").expect("writes");
            }));
            let how = OpenHow { read: true, write: true, ..OpenHow::default() };
            let late = core.volume.open(ino, how).await.expect("opens").fh;
            assert!(disk.deed.lock().unwrap().is_none(), "{case}: it was not in between");
            let read = core.volume.read(ino, late, 0, 4).await.expect("reads");
            assert_eq!(read[..], *b"MINE", "{case}");
            core.volume.write_now(ino, Some(late), 1, b"O").expect("writes");
            let read = core.volume.read(ino, late, 0, 4).await.expect("reads");
            assert_eq!(read[..], *b"MONE", "{case}: what it wrote itself");
            let later = core.volume.open(ino, how).await.expect("opens").fh;
            let read = core.volume.read(ino, later, 0, 4).await.expect("reads");
            assert_eq!(read[..], *b"MONE", "{case}: opened afterwards");
            for fh in [writer, late, later] {
                core.volume.release(ino, fh);
            }
            core.journal.close();
        }
    }
}
