//! The volume's attributes in the kernel's shape.
//!
//! Two numbers here are chosen for what programs make of them. `st_blocks` covers the whole size even
//! when nothing is on this machine: tools that copy sparsely (`tar --sparse`, backup programs) take a
//! file with a size and no blocks for one big hole and would store zeros. `st_blksize` is the size of a
//! read that costs one round trip, so that `cp` and `stdio` ask in useful pieces.

use fuser::{FileAttr, FileType, Generation, INodeNo};

use crate::base::ids::Ino;
use crate::volume::{Attributes, NodeKind};

/// The preferred size of a read, in bytes: what the kernel's read-ahead asks for at once.
pub const BLOCK_SIZE: u32 = 128 * 1024;

/// The unit of `st_blocks`, in bytes, whatever the preferred size of a read is.
const STAT_BLOCK: u64 = 512;

/// A volume's attributes as the kernel wants them. Access time is not kept anywhere: it shows the
/// modification time.
pub fn to_kernel(attributes: &Attributes) -> FileAttr {
    let mtime = attributes.mtime.to_system_time();
    FileAttr {
        ino: to_kernel_ino(attributes.ino),
        size: attributes.size,
        blocks: attributes.size.div_ceil(STAT_BLOCK),
        atime: mtime,
        mtime,
        ctime: attributes.ctime.to_system_time(),
        crtime: attributes.crtime.to_system_time(),
        kind: to_kernel_kind(attributes.kind),
        // Set-id and sticky bits are refused at the door and must not leak out of an old record either.
        perm: attributes.permissions & 0o777,
        nlink: attributes.links,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// The type that `readdir` reports; without it `find` and `ls` would ask for every entry.
pub fn to_kernel_kind(kind: NodeKind) -> FileType {
    match kind {
        NodeKind::File => FileType::RegularFile,
        NodeKind::Folder => FileType::Directory,
    }
}

/// An inode number for the kernel.
pub fn to_kernel_ino(ino: Ino) -> INodeNo {
    INodeNo(ino.0)
}

/// An inode number from the kernel.
pub fn from_kernel_ino(ino: INodeNo) -> Ino {
    Ino(ino.0)
}

/// The answer "there is no such name, and you may believe that": an entry whose inode number is 0. Only
/// that number and the time-to-live are looked at.
pub fn absent() -> FileAttr {
    let epoch = std::time::UNIX_EPOCH;
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: epoch,
        mtime: epoch,
        ctime: epoch,
        crtime: epoch,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

/// What tells a folder from the one that was removed and had its number.
pub fn generation(attributes: &Attributes) -> Generation {
    Generation(attributes.generation)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock::Timestamp;

    fn of_size(size: u64) -> FileAttr {
        to_kernel(&Attributes {
            ino: Ino(7),
            kind: NodeKind::File,
            size,
            mtime: Timestamp(1_500_000_001),
            ctime: Timestamp(-1),
            crtime: Timestamp(0),
            permissions: 0o4755,
            links: 1,
            uid: 1000,
            gid: 1000,
            ttl: Duration::from_secs(1),
            generation: 0,
        })
    }

    #[test]
    fn a_file_with_bytes_is_never_one_big_hole() {
        assert_eq!(of_size(0).blocks, 0);
        assert_eq!(of_size(1).blocks, 1);
        assert_eq!(of_size(512).blocks, 1);
        assert_eq!(of_size(513).blocks, 2);
    }

    #[test]
    fn set_id_bits_never_reach_the_kernel() {
        assert_eq!(of_size(0).perm, 0o755);
    }

    #[test]
    fn times_keep_their_nanoseconds_on_both_sides_of_1970() {
        let attr = of_size(0);
        assert_eq!(attr.mtime, std::time::UNIX_EPOCH + Duration::from_nanos(1_500_000_001));
        assert_eq!(attr.ctime, std::time::UNIX_EPOCH - Duration::from_nanos(1));
    }
}
