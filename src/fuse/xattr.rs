//! Extended attributes at the kernel's door: which names are ours, and the sizes dance.
//!
//! `ls -l` asks for a security label and two access-control lists of every entry, and the kernel keeps none
//! of the answers. So every name outside `user.` is refused here, before the volume hears of it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use fuser::{Errno, ReplyXattr};

/// `XATTR_CREATE` and `XATTR_REPLACE` of `setxattr(2)`.
const CREATE: i32 = 1;
const REPLACE: i32 = 2;

/// Whether an attribute of this name can exist here. Security labels, access-control lists and trusted
/// attributes cannot.
pub fn is_kept(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"user.")
}

/// Whether the attribute must or must not exist when it is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// Either way.
    Any,
    /// It must not exist.
    Create,
    /// It must exist.
    Replace,
}

impl Rule {
    /// From the flags of `setxattr(2)`.
    pub fn from_flags(flags: i32) -> Self {
        match flags {
            CREATE => Self::Create,
            REPLACE => Self::Replace,
            _ => Self::Any,
        }
    }

    /// What must be found: `Some(true)` the attribute, `Some(false)` none, `None` no matter.
    pub fn existing(self) -> Option<bool> {
        match self {
            Self::Any => None,
            Self::Create => Some(false),
            Self::Replace => Some(true),
        }
    }
}

/// What the caller gets for a value and the size of its buffer in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fit {
    /// Only the size was asked for.
    Size(u32),
    Whole,
    TooSmall,
}

fn fit(length: usize, buffer: u32) -> Fit {
    // The kernel allows at most 64 KiB, so the length always fits.
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    match buffer {
        0 => Fit::Size(length),
        buffer if length > buffer => Fit::TooSmall,
        _ => Fit::Whole,
    }
}

/// Answers with a value, its size alone (a buffer of 0 bytes asks for that), or `ERANGE`.
pub fn reply(value: &[u8], buffer: u32, reply: ReplyXattr) {
    match fit(value.len(), buffer) {
        Fit::Size(size) => reply.size(size),
        Fit::Whole => reply.data(value),
        Fit::TooSmall => reply.error(Errno::ERANGE),
    }
}

/// Names in the form of `listxattr(2)`: each followed by a zero byte.
pub fn joined(names: &[OsString]) -> Vec<u8> {
    let mut list = Vec::new();
    for name in names {
        list.extend_from_slice(name.as_bytes());
        list.push(0);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_user_attributes_reach_the_volume() {
        assert!(is_kept(OsStr::new("user.onedrive.state")));
        for name in ["security.selinux", "security.capability", "system.posix_acl_access", "trusted.x", "username"] {
            assert!(!is_kept(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_buffer_of_nothing_asks_for_the_size() {
        assert_eq!(fit(5, 0), Fit::Size(5));
        assert_eq!(fit(5, 5), Fit::Whole);
        assert_eq!(fit(5, 4), Fit::TooSmall);
        assert_eq!(fit(0, 1), Fit::Whole);
    }

    #[test]
    fn names_are_listed_with_their_zeros() {
        assert_eq!(joined(&["user.a".into(), "user.b".into()]), b"user.a\0user.b\0");
        assert_eq!(joined(&[]), b"");
    }
}
