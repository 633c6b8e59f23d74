//! Drafts on a real folder.

use super::*;
use crate::base::disk::RealDisk;
use crate::base::ids::{ContentTag, DriveId, ItemId};

fn files() -> std::sync::Arc<SpoolFiles> {
    SpoolFiles::new(RealDisk::shared())
}

fn draft(dir: &Path) -> Draft {
    Draft::create(&files(), dir, SpoolId(1), Ino(2), "a/b.txt", Timestamp(0)).expect("creates")
}

fn sync(draft: &Draft) -> bool {
    let flushed = draft.flush().expect("syncs");
    flushed.map(|flushed| draft.note_durable(flushed)).is_some()
}

fn base(size: u64) -> SpoolBase {
    SpoolBase { item: ItemId::new(&DriveId::new("d"), "i"), tag: ContentTag("t".into()), size }
}

#[test]
fn bytes_in_order_are_hashed_on_the_way() {
    let dir = tempfile::tempdir().expect("temp");
    let draft = draft(dir.path());
    draft.write(0, b"hello ", Timestamp(1)).expect("writes");
    draft.write(6, b"world\n", Timestamp(2)).expect("writes");
    draft.settle_hash();
    assert_eq!(draft.hash().as_deref(), Some("aCgDG9jwBhDc4Q1ybAMZFAAAAAA="));
    draft.write(0, b"J", Timestamp(3)).expect("writes");
    draft.settle_hash();
    assert_eq!(draft.hash(), None);
    assert_eq!(draft.compute_hash().expect("reads"), QuickXorHash::of(b"Jello world\n"));
}

#[test]
fn missing_bytes_come_from_the_base_but_never_beyond_a_cut() {
    let dir = tempfile::tempdir().expect("temp");
    let draft = draft(dir.path()).with_base(base(10), Timestamp(0)).expect("sizes");
    draft.write(4, b"XX", Timestamp(1)).expect("writes");
    assert_eq!(
        draft.read(0..100).expect("reads"),
        [Piece::Base(0..4), Piece::Here(Bytes::from_static(b"XX")), Piece::Base(6..10)]
    );
    draft.truncate(7, Timestamp(2)).expect("cuts");
    draft.truncate(9, Timestamp(3)).expect("extends");
    assert_eq!(draft.missing().iter().collect::<Vec<_>>(), [0..4, 6..7]);
    draft.fill(0, b"0123456789").expect("fills");
    assert_eq!(draft.read(0..9).expect("reads"), [Piece::Here(Bytes::from_static(b"0123XX6\0\0"))]);
    assert!(draft.missing().is_empty());
}

#[test]
fn what_came_from_the_base_is_borrowed_until_somebody_vouches_for_it() {
    let dir = tempfile::tempdir().expect("temp");
    let draft = draft(dir.path()).with_base(base(10), Timestamp(0)).expect("sizes");
    draft.fill_with(|file| {
        file.write_at(b"01?3456789", 0).expect("writes");
        RangeSet::of(0..8)
    });
    draft.write(4, b"XX", Timestamp(1)).expect("writes");
    draft.zero(6..7, Timestamp(1)).expect("zeros");
    draft.fill(0, b"0123456789").expect("fills");
    let borrowed = || draft.borrowed().iter().collect::<Vec<_>>();
    assert_eq!(borrowed(), [0..4, 7..10], "not what was written here");
    let again = Draft::reopen(&files(), dir.path(), &draft.row("boot"), Timestamp(1)).expect("opens");
    assert_eq!(again.borrowed(), draft.borrowed(), "a restart forgets nothing");

    draft.give_back();
    assert_eq!(draft.missing().iter().collect::<Vec<_>>(), [0..4, 7..10]);
    assert!(borrowed().is_empty());
    draft.fill(0, b"0123456789").expect("fills");
    assert_eq!(draft.read(0..10).expect("reads"), [Piece::Here(Bytes::from_static(b"0123XX\x00789"))]);
    draft.truncate(8, Timestamp(2)).expect("cuts");
    assert_eq!(borrowed(), [0..4, 7..8]);
    draft.vouch();
    draft.give_back();
    assert!(draft.missing().is_empty());
}

#[test]
fn a_copy_gets_what_was_compared_in_place_of_what_was_not() {
    let dir = tempfile::tempdir().expect("temp");
    let draft = draft(dir.path()).with_base(base(10), Timestamp(0)).expect("sizes");
    draft.write(4, b"XX", Timestamp(1)).expect("writes");
    draft.fill(0, b"?123").expect("fills");
    let copy = draft.duplicate(dir.path(), SpoolId(2), "x", &|_| true).expect("copies");
    copy.write(1, b"YY", Timestamp(2)).expect("writes");
    draft.give_back();
    draft.fill(0, b"0123456789").expect("fills");
    draft.vouch();
    copy.fill_from(&draft).expect("fills");
    assert_eq!(copy.read(0..10).expect("reads"), [Piece::Here(Bytes::from_static(b"0YY3XX6789"))]);
    assert!(copy.borrowed().is_empty() && copy.missing().is_empty());
}

#[test]
fn a_duplicate_does_not_change_its_original() {
    let dir = tempfile::tempdir().expect("temp");
    let draft = draft(dir.path());
    draft.write(0, b"one", Timestamp(1)).expect("writes");
    let copy = draft.duplicate(dir.path(), SpoolId(2), "x", &|_| true).expect("copies");
    copy.write(0, b"two", Timestamp(2)).expect("writes");
    assert_eq!(draft.read(0..3).expect("reads"), [Piece::Here(Bytes::from_static(b"one"))]);
    assert_eq!(copy.read(0..3).expect("reads"), [Piece::Here(Bytes::from_static(b"two"))]);
}

#[test]
fn spool_names_tell_their_number_and_purpose() {
    assert_eq!(files::file_name(SpoolId(42), "my report.odt"), "0000000042.my_report.odt");
    assert_eq!(id_of("0000000042.my_report.odt"), Some(SpoolId(42)));
    assert_eq!(id_of("stray"), None);
}

/// A disk that changes a byte behind our back.
fn flip(draft: &Draft, at: u64) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(draft.path()).expect("opens");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("reads");
    file.write_all_at(&[byte[0] ^ 4], at).expect("writes");
}

fn is_damage<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
    DamagedDraft::behind(&result.expect_err("wrong bytes are not handed out")).is_some()
}

#[test]
fn a_flipped_bit_is_found_before_it_is_sent_and_before_it_is_read_again() {
    let dir = tempfile::tempdir().expect("temp");
    let draft = draft(dir.path());
    let content: Vec<u8> = (0..400_000u32).map(|i| ((i * 7) >> 3) as u8).collect();
    draft.write(0, &content[..300_000], Timestamp(1)).expect("writes");
    draft.write(290_000, &content[290_000..], Timestamp(1)).expect("writes");
    sync(&draft);
    let row = draft.row("boot");
    assert!(draft.block_sums().is_some(), "all blocks are summed once the draft is on the disk");
    flip(&draft, 5000);
    assert!(is_damage(draft.read_complete(0..10)), "what this process wrote itself is compared, too");
    assert!(is_damage(draft.compute_hash()));
    assert_eq!(draft.damage().expect("reads"), [0]);
    draft.read_complete(sums::BLOCK..400_000).expect("other blocks are fine");

    let again = Draft::reopen(&files(), dir.path(), &row, Timestamp(1)).expect("opens");
    assert!(is_damage(again.read(0..10)));
    again.thaw();
    assert!(is_damage(again.write(20, b"part of the block", Timestamp(2))), "it would be summed with its damage");
    assert!(is_damage(again.truncate(100, Timestamp(2))));
    again.read(sums::BLOCK..sums::BLOCK + 10).expect("other blocks are fine");
    again.write(0, &content[..sums::BLOCK as usize], Timestamp(2)).expect("a whole new block heals");
    assert_eq!(again.read_complete(0..400_000).expect("reads"), content);
}

#[test]
fn a_lost_hole_and_swapped_blocks_are_found() {
    let dir = tempfile::tempdir().expect("temp");
    let draft = draft(dir.path());
    draft.write(10 * sums::BLOCK, b"end", Timestamp(1)).expect("writes");
    draft.write(0, &[1; 160], Timestamp(1)).expect("writes");
    draft.write(160, &[2; 160], Timestamp(1)).expect("writes");
    sync(&draft);
    let row = draft.row("boot");
    let again = || Draft::reopen(&files(), dir.path(), &row, Timestamp(1)).expect("opens");
    assert!(again().damage().expect("reads").is_empty());
    flip(&draft, 5 * sums::BLOCK);
    assert!(is_damage(again().read(5 * sums::BLOCK..5 * sums::BLOCK + 1)), "where nothing was written there are zeros");
    // What the service's hash cannot see.
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::OpenOptions::new().write(true).open(draft.path()).expect("opens");
    file.write_all_at(&[[2; 160], [1; 160]].concat(), 0).expect("writes");
    assert!(is_damage(again().read(0..1)));
}

#[test]
fn many_drafts_share_few_open_files_and_each_keeps_its_bytes() {
    let dir = tempfile::tempdir().expect("temp");
    let files = files();
    let drafts: Vec<Draft> = (0..1000u64)
        .map(|number| {
            let draft = Draft::create(&files, dir.path(), SpoolId(number), Ino(2), "x", Timestamp(0)).expect("creates");
            draft.write(0, &number.to_le_bytes(), Timestamp(1)).expect("writes");
            draft
        })
        .collect();
    assert!(files.open_files() <= 128, "{} are open", files.open_files());
    for (number, draft) in drafts.iter().enumerate() {
        draft.write(8, b"more", Timestamp(2)).expect("writes");
        let bytes = draft.read_complete(0..12).expect("reads");
        assert_eq!((&bytes[..8], &bytes[8..]), ((number as u64).to_le_bytes().as_slice(), b"more".as_slice()));
        assert!(sync(draft));
    }
    assert!(files.open_files() <= 128, "{} are open", files.open_files());
}

#[test]
fn what_is_held_survives_its_name() {
    let dir = tempfile::tempdir().expect("temp");
    let draft = draft(dir.path());
    draft.write(0, b"still here", Timestamp(1)).expect("writes");
    draft.hold().expect("holds");
    std::fs::remove_file(draft.path()).expect("removes");
    draft.write(10, b"!", Timestamp(2)).expect("writes");
    assert_eq!(&draft.read_complete(0..11).expect("reads")[..], b"still here!");
}

/// The daemon dies in the middle of filling up an edit that was safe: its row is the one from before.
#[test]
fn what_was_filled_up_in_part_before_a_death_is_no_damage() {
    let dir = tempfile::tempdir().expect("temp");
    let size = 3 * sums::BLOCK;
    let draft = draft(dir.path()).with_base(base(size), Timestamp(0)).expect("sizes");
    draft.write(sums::BLOCK + 10, b"XX", Timestamp(1)).expect("writes");
    draft.write(2 * sums::BLOCK, &[3; sums::BLOCK as usize], Timestamp(1)).expect("writes");
    sync(&draft);
    let row = draft.row("boot");
    draft.fill(0, &[7; sums::BLOCK as usize + 5]).expect("fills");
    let again = || Draft::reopen(&files(), dir.path(), &row, Timestamp(1)).expect("opens");
    let after = again();
    after.fill(0, &vec![7; size as usize]).expect("fills");
    let bytes = after.read_complete(0..size).expect("nothing is damaged");
    let (edit, end) = (sums::BLOCK as usize + 10, 2 * sums::BLOCK as usize);
    assert!(&bytes[edit..edit + 2] == b"XX" && bytes[end] == 3);
    assert!(bytes[..edit].iter().chain(&bytes[edit + 2..end]).all(|byte| *byte == 7));
    // What nothing could have been filled into is compared as ever.
    flip(&draft, 2 * sums::BLOCK);
    assert!(is_damage(again().read_complete(2 * sums::BLOCK..size)));
    // And what has lost its end was not filled up.
    draft.file.get().expect("opens").set_len(sums::BLOCK + 11).expect("cuts");
    assert!(is_damage(again().read(sums::BLOCK + 10..sums::BLOCK + 12)));
}

/// A block that is written between its sum and the sync is on the disk without a sum.
#[test]
fn what_is_durable_and_was_not_summed_is_summed_by_the_next_flush() {
    let dir = tempfile::tempdir().expect("temp");
    let draft = draft(dir.path());
    draft.write(0, b"written", Timestamp(1)).expect("writes");
    sync(&draft);
    let row = SpoolRow { sums: Some("0:--------".into()), ..draft.row("boot") };
    let again = Draft::reopen(&files(), dir.path(), &row, Timestamp(1)).expect("opens");
    assert!(!sync(&again), "it is durable");
    assert_eq!(again.block_sums(), draft.block_sums());
}

/// After a failed sync what is safe since an earlier one stays as it is.
#[test]
fn only_what_a_failed_sync_may_have_lost_is_written_again() {
    let dir = tempfile::tempdir().expect("temp");
    let draft = draft(dir.path());
    draft.write(0, &[1; 2 * sums::BLOCK as usize], Timestamp(1)).expect("writes");
    let copy = draft.duplicate(dir.path(), SpoolId(2), "x", &|_| true).expect("copies");
    let unsynced = Draft::reopen(&files(), dir.path(), &draft.row("boot"), Timestamp(1)).expect("opens");
    sync(&draft);
    draft.write(sums::BLOCK, b"more", Timestamp(1)).expect("writes");
    assert_eq!(draft.unsafe_blocks(), [1]);
    assert_eq!(copy.unsafe_blocks(), [0, 1], "all of a copy is new");
    assert_eq!(unsynced.unsafe_blocks(), [0, 1], "nobody has synced it before the start");
}
