//! Handles that have followed an edit until it was in the cloud: they are on that version from then on, as if they had been
//! opened on it, whoever replaces it next.

use super::*;

/// A file is written here, opened, and lands in the cloud while it is open. Then another device replaces it.
async fn replaced_after_landing(
    side: Side,
    how: OpenHow,
    read: u32,
    [first, second]: [&[u8]; 2],
) -> (Bench, (Ino, Fh), Vec<u8>) {
    let bench = Bench::new(side, &[]).await;
    bench.user().write("doc", first).await.expect("writes");
    let ino = bench.user().walk("doc").await.expect("there");
    let volume = &bench.core.volume;
    let fh = volume.open(ino, how).await.expect("opens").fh;
    let begun = volume.read(ino, fh, 0, read).await.expect("reads").to_vec();
    {
        // As if the upload had been under way before it was opened: it goes on.
        let _awaited = bench.core.journal.await_sending(ino);
        while bench.core.uploader.step().await {}
    }
    assert!(bench.core.journal.get(ino).is_none(), "{side:?}: it has landed");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    bench.world.emulator.drive().write_file("doc", second.to_vec());
    bench.core.poller.poll_now().await.expect("polls");
    assert!(bench.user().read("doc").await.expect("reads") == second, "{side:?}: others see the new version");
    (bench, (ino, fh), begun)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_an_edit_that_has_landed_goes_on_in_what_has_landed() {
    for side in SIDES {
        let (first, second) = (pattern(1, 9000), pattern(2, 9500));
        let how = OpenHow { read: true, ..OpenHow::default() };
        let (bench, (ino, fh), mut read) = replaced_after_landing(side, how, 10, [&first, &second]).await;
        let rest = bench.core.volume.read(ino, fh, 10, 1 << 20).await.expect("its version is here");
        read.extend_from_slice(&rest);
        assert!(read != [&first[..10], &second[10..]].concat(), "{side:?}: a mixture");
        assert!(read == first, "{side:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_after_an_edit_has_landed_goes_into_what_has_landed() {
    for side in SIDES {
        for read in [0, 10] {
            let (first, second) = (pattern(1, 9000), pattern(2, 9500));
            let how = OpenHow { read: true, write: true, ..OpenHow::default() };
            let (bench, (ino, fh), _) = replaced_after_landing(side, how, read, [&first, &second]).await;
            bench.core.volume.write(ino, Some(fh), 0, b"MINE").await.expect("its version is here");
            bench.close((ino, fh)).await;
            let found = bench.rest().await;
            let [(name, theirs), (kept, mine)] = &found[..] else { panic!("{side:?}: {} files", found.len()) };
            assert!(kept.starts_with("doc (laptop, ") && name == "doc", "{side:?}: {kept}, {name}");
            assert!(*mine == patched(first, 0, b"MINE") && *theirs == second, "{side:?}: a mixture");
        }
    }
}
