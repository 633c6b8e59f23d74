//! Flags and listings between the two vocabularies: pure functions, apart from the adapter that calls them.

use std::ffi::OsString;
use std::time::{Duration, SystemTime};

use fuser::{FopenFlags, OpenAccMode, OpenFlags, RenameFlags, Request, TimeOrNow, WriteFlags};
use rustix::fs::OFlags;

use crate::base::caller::on_behalf_of;
use crate::base::clock::Timestamp;
use crate::base::ids::{Fh, Ino};
use crate::volume::{Attributes, DirEntry, Listing, OpenHow, Opened, PageUse, RenameHow, Volume, VolumeResult};

/// Entries answered to one `readdirplus`: what fits the 32 KiB buffer that the C library reads with.
const LISTED_AT_ONCE: usize = 200;

/// Work on behalf of whoever made the request.
pub fn by<F: Future>(request: &Request, work: F) -> impl Future<Output = F::Output> + use<F> {
    on_behalf_of(request.pid(), work)
}

/// The flags of an answer to `open`: what the kernel does with the pages it has, and whether closing must
/// be reported. A handle that cannot write has nothing to report.
pub fn open_flags(opened: Opened, how: OpenHow) -> FopenFlags {
    let pages = match opened.pages {
        PageUse::Keep => FopenFlags::FOPEN_KEEP_CACHE,
        PageUse::Drop => FopenFlags::empty(),
        PageUse::Direct => FopenFlags::FOPEN_DIRECT_IO,
    };
    if how.write { pages } else { pages | FopenFlags::FOPEN_NOFLUSH }
}

/// What the bytes of a write are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WrittenTo {
    /// The place that the program has chosen.
    Place(Fh),
    /// The end of the file.
    End(Fh),
    /// A page of a mapping: the kernel names any handle of the inode that can write, or a closed one.
    Page,
}

/// What the bytes of a write are for, from the flags of the write and of its handle. The kernel sends an offset with an
/// append, too; but that is the end as it was told last, perhaps of another version than the one that is open. (A program
/// that asks with `RWF_NOAPPEND` for a place in a file that it has opened to append cannot be told from others.)
pub fn written_to(write: WriteFlags, open: OpenFlags, fh: Fh) -> WrittenTo {
    let open = OFlags::from_bits_retain(open.0.cast_unsigned());
    if write.contains(WriteFlags::FUSE_WRITE_CACHE) {
        WrittenTo::Page
    } else if open.contains(OFlags::APPEND) && !open.contains(OFlags::DIRECT) {
        WrittenTo::End(fh)
    } else {
        // Past the pages the kernel sends the pieces of one append side by side: each has its own place.
        WrittenTo::Place(fh)
    }
}

/// How a file is opened, from the flags of `open(2)`. `O_APPEND` comes with each write. `O_TRUNC` means writing, whatever
/// the access mode says.
pub fn open_how(flags: i32) -> OpenHow {
    let bits = OFlags::from_bits_retain(flags.cast_unsigned());
    let (read, write) = match OpenFlags(flags).acc_mode() {
        OpenAccMode::O_RDONLY => (true, false),
        OpenAccMode::O_WRONLY => (false, true),
        OpenAccMode::O_RDWR => (true, true),
    };
    OpenHow { read, write, truncate: bits.contains(OFlags::TRUNC), exclusive: bits.contains(OFlags::EXCL) }
}

/// How a rename treats an existing target; `None` for what no kernel sends to an ordinary file system
/// (whiteouts are for overlays).
pub fn rename_how(flags: RenameFlags) -> Option<RenameHow> {
    if flags.is_empty() {
        Some(RenameHow::Replace)
    } else if flags == RenameFlags::RENAME_NOREPLACE {
        Some(RenameHow::NoReplace)
    } else if flags == RenameFlags::RENAME_EXCHANGE {
        Some(RenameHow::Exchange)
    } else {
        None
    }
}

/// A time to set; `None` means now.
pub fn moment(time: TimeOrNow) -> Option<Timestamp> {
    match time {
        TimeOrNow::SpecificTime(time) => Some(as_sent(time)),
        TimeOrNow::Now => None,
    }
}

/// The kernel counts nanoseconds forward from a second, also before 1970; the library (fuser 0.18, src/time.rs) takes them
/// for part of the way back from there.
fn as_sent(time: SystemTime) -> Timestamp {
    match SystemTime::UNIX_EPOCH.duration_since(time) {
        Ok(back) => {
            let second = SystemTime::UNIX_EPOCH - Duration::from_secs(back.as_secs());
            Timestamp::from_system_time(second + Duration::from_nanos(back.subsec_nanos().into()))
        }
        Err(_) => Timestamp::from_system_time(time),
    }
}

/// One entry of a listing with attributes of this moment.
pub struct Listed {
    /// Its name.
    pub name: OsString,
    /// The cookie of the entry after it.
    pub cookie: u64,
    /// Its attributes.
    pub attributes: Attributes,
}

/// The entries from a cookie on, each with the cookie of the one after it.
pub fn rest(snapshot: &[DirEntry], from: u64) -> impl Iterator<Item = (&DirEntry, u64)> {
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(snapshot.len());
    snapshot[from..].iter().zip(from as u64 + 1..)
}

/// The next entries of a listing of `folder` with attributes of this moment, at most 200.
///
/// Those of the snapshot may be older than a write that the kernel has seen answered; told the old size,
/// the kernel would append at the old end. For an entry that has gone since, or has another name or place, there is what
/// has its name now, or nothing: the kernel would believe the old name, and write into the wrong file. Empty means the end.
pub fn fresh_entries(volume: &Volume, folder: Ino, snapshot: &Listing, from: u64) -> VolumeResult<Vec<Listed>> {
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let entries = volume.entries_now(folder, snapshot, from, LISTED_AT_ONCE)?;
    Ok(entries.into_iter().map(|(name, next, attributes)| Listed { name, cookie: next as u64, attributes }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_that_can_write_reports_its_close() {
        let opened = Opened { fh: Fh(1), pages: PageUse::Keep };
        let reading = open_how(OFlags::RDONLY.bits().cast_signed());
        let writing = open_how((OFlags::WRONLY | OFlags::APPEND).bits().cast_signed());
        assert_eq!(open_flags(opened, reading), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH);
        assert_eq!(open_flags(opened, writing), FopenFlags::FOPEN_KEEP_CACHE);
    }

    #[test]
    fn open_flags_are_read_like_open_2_reads_them() {
        let how = open_how((OFlags::RDWR | OFlags::TRUNC | OFlags::EXCL).bits().cast_signed());
        assert_eq!(how, OpenHow { read: true, write: true, truncate: true, exclusive: true });
        let plain = open_how(0);
        assert_eq!(plain, OpenHow { read: true, write: false, truncate: false, exclusive: false });
    }

    #[test]
    fn a_write_says_whether_it_is_an_append_or_a_page_of_a_mapping() {
        let (plain, append) = (OFlags::WRONLY, OFlags::WRONLY | OFlags::APPEND);
        for (write, open, to) in [
            (WriteFlags::empty(), plain, WrittenTo::Place(Fh(7))),
            (WriteFlags::empty(), append, WrittenTo::End(Fh(7))),
            (WriteFlags::FUSE_WRITE_CACHE, plain, WrittenTo::Page),
            (WriteFlags::FUSE_WRITE_CACHE, append, WrittenTo::Page),
            (WriteFlags::empty(), append | OFlags::DIRECT, WrittenTo::Place(Fh(7))),
        ] {
            assert_eq!(written_to(write, OpenFlags(open.bits().cast_signed()), Fh(7)), to);
        }
    }

    #[test]
    fn times_before_1970_are_read_like_the_kernel_means_them() {
        // As the library makes it of the kernel's (seconds, nanoseconds).
        let sent = |seconds: u64, nanos| SystemTime::UNIX_EPOCH - Duration::new(seconds, nanos);
        for (time, nanos) in
            [(sent(1, 999_999_999), -1), (sent(1, 500_000_000), -500_000_000), (sent(2, 0), -2_000_000_000)]
        {
            assert_eq!(moment(TimeOrNow::SpecificTime(time)), Some(Timestamp(nanos)));
        }
        let after = SystemTime::UNIX_EPOCH + Duration::new(1, 5);
        assert_eq!(moment(TimeOrNow::SpecificTime(after)), Some(Timestamp(1_000_000_005)));
    }

    #[test]
    fn a_rename_that_swaps_and_protects_at_once_makes_no_sense() {
        assert_eq!(rename_how(RenameFlags::empty()), Some(RenameHow::Replace));
        assert_eq!(rename_how(RenameFlags::RENAME_NOREPLACE | RenameFlags::RENAME_EXCHANGE), None);
        assert_eq!(rename_how(RenameFlags::RENAME_WHITEOUT), None);
    }
}
