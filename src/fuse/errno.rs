//! What a failed call looks like to a program, and how loudly we log it.
//!
//! One table, the only place that knows errno. Programs branch on these numbers (`cp` stops at `ENOSPC`,
//! `git` falls back from `EPERM` of `link`, `rsync` retries nothing), so a number is chosen for what the
//! usual programs do with it:
//!
//! | volume says | errno | logged at | because |
//! | --- | --- | --- | --- |
//! | `NotFound` | `ENOENT` | trace | programs look for absent names all day |
//! | `Exists` | `EEXIST` | trace | as on any disk |
//! | `NotAFolder` | `ENOTDIR` | trace | as on any disk |
//! | `IsAFolder` | `EISDIR` | trace | as on any disk |
//! | `NotEmpty` | `ENOTEMPTY` | trace | as on any disk |
//! | `BadName` | `EINVAL` | info | the user needs the rule that the name breaks, and only the log can tell |
//! | `TooLong` | `ENAMETOOLONG` | info | the same |
//! | `Invalid` | `EINVAL` | debug | the program's mistake |
//! | `NotStorable` | `EPERM` | debug | what `link(2)`, `symlink(2)` and `mknod(2)` document for file systems without the feature; `git`, `cp` and `rsync` have a fallback for it |
//! | `Unsupported` | `EOPNOTSUPP` | debug | for optional features (attributes, `fallocate` modes): callers carry on |
//! | `NotImplemented` | `ENOSYS` | trace | tells the kernel to answer by itself from now on |
//! | `ReadOnly` | `EROFS` | debug | as on any read-only mount |
//! | `BadHandle` | `EBADF` | debug | as on any disk |
//! | `Denied` | `EACCES` | info | the service refused; the log has its words |
//! | `SignedOut` | `EACCES` | warn | nothing works until somebody signs in |
//! | `Offline` | `EIO` | info | no errno fits that programs survive; `EIO` is what they handle |
//! | `Stale` | `ESTALE` | info | open the file again to see the new version |
//! | `TimedOut` | `ETIMEDOUT` | warn | the service was silent |
//! | `Busy` | `EBUSY` | info | locked by another user of the service |
//! | `DiskFull` | `ENOSPC` | warn | this machine's disk |
//! | `QuotaFull` | `EDQUOT` | warn | the drive's quota |
//! | `TooLarge` | `EFBIG` | info | above the service's largest file |
//! | `NoData` | `ENXIO` | trace | what lseek says beyond the end |
//! | `NoAttribute` | `ENODATA` | trace | programs ask for absent attributes all day |
//! | `CrossDrive` | `EXDEV` | debug | `mv` then copies and deletes |
//! | `Failed` | `EIO` | error | should not happen: the log has the cause |

use fuser::Errno;
use tracing::Level;

use crate::volume::VolumeError;

/// The errno of an error and the level at which it is logged: the table of the module's documentation.
pub fn table(error: &VolumeError) -> (Errno, Level) {
    match error {
        VolumeError::NotFound => (Errno::ENOENT, Level::TRACE),
        VolumeError::Exists => (Errno::EEXIST, Level::TRACE),
        VolumeError::NotAFolder => (Errno::ENOTDIR, Level::TRACE),
        VolumeError::IsAFolder => (Errno::EISDIR, Level::TRACE),
        VolumeError::NotEmpty => (Errno::ENOTEMPTY, Level::TRACE),
        VolumeError::BadName(_) => (Errno::EINVAL, Level::INFO),
        VolumeError::TooLong(_) => (Errno::ENAMETOOLONG, Level::INFO),
        VolumeError::Invalid(_) => (Errno::EINVAL, Level::DEBUG),
        VolumeError::NotStorable(_) => (Errno::EPERM, Level::DEBUG),
        VolumeError::Unsupported => (Errno::EOPNOTSUPP, Level::DEBUG),
        VolumeError::NotImplemented => (Errno::ENOSYS, Level::TRACE),
        VolumeError::ReadOnly => (Errno::EROFS, Level::DEBUG),
        VolumeError::BadHandle => (Errno::EBADF, Level::DEBUG),
        VolumeError::Denied(_) => (Errno::EACCES, Level::INFO),
        VolumeError::SignedOut => (Errno::EACCES, Level::WARN),
        VolumeError::Offline => (Errno::EIO, Level::INFO),
        VolumeError::Stale => (Errno::ESTALE, Level::INFO),
        VolumeError::TimedOut => (Errno::ETIMEDOUT, Level::WARN),
        VolumeError::Busy => (Errno::EBUSY, Level::INFO),
        VolumeError::DiskFull => (Errno::ENOSPC, Level::WARN),
        VolumeError::QuotaFull => (Errno::EDQUOT, Level::WARN),
        VolumeError::TooLarge => (Errno::EFBIG, Level::INFO),
        VolumeError::NoData => (Errno::ENXIO, Level::TRACE),
        VolumeError::NoAttribute => (Errno::ENODATA, Level::TRACE),
        VolumeError::CrossDrive => (Errno::EXDEV, Level::DEBUG),
        VolumeError::Failed(_) => (Errno::EIO, Level::ERROR),
    }
}

/// Logs an error at its level, inside the span of the operation that failed, and returns its errno.
pub fn log_and_translate(operation: &'static str, error: &VolumeError) -> Errno {
    let (errno, level) = table(error);
    let code = errno.code();
    // The level of an event is part of its static description, so each needs its own call site.
    match level {
        Level::ERROR => tracing::error!(operation, code, "{error}"),
        Level::WARN => tracing::warn!(operation, code, "{error}"),
        Level::INFO => tracing::info!(operation, code, "{error}"),
        Level::DEBUG => tracing::debug!(operation, code, "{error}"),
        Level::TRACE => tracing::trace!(operation, code, "{error}"),
    }
    errno
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_is_the_table() {
        let text = include_str!("errno.rs");
        let rows: Vec<(String, String, String)> = text
            .lines()
            .filter_map(|line| line.strip_prefix("//! | `"))
            .map(|row| {
                let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned());
                let mut next = || cells.next().expect("a cell");
                (next(), next(), next())
            })
            .collect();
        let errors = [
            VolumeError::NotFound,
            VolumeError::Exists,
            VolumeError::NotAFolder,
            VolumeError::IsAFolder,
            VolumeError::NotEmpty,
            VolumeError::BadName(String::new()),
            VolumeError::TooLong(String::new()),
            VolumeError::Invalid(""),
            VolumeError::NotStorable(""),
            VolumeError::Unsupported,
            VolumeError::NotImplemented,
            VolumeError::ReadOnly,
            VolumeError::BadHandle,
            VolumeError::Denied(String::new()),
            VolumeError::SignedOut,
            VolumeError::Offline,
            VolumeError::Stale,
            VolumeError::TimedOut,
            VolumeError::Busy,
            VolumeError::DiskFull,
            VolumeError::QuotaFull,
            VolumeError::TooLarge,
            VolumeError::NoData,
            VolumeError::NoAttribute,
            VolumeError::CrossDrive,
            VolumeError::Failed(String::new()),
        ];
        assert_eq!(rows.len(), errors.len());
        for (error, (name, errno, level)) in errors.iter().zip(&rows) {
            let debug = format!("{error:?}");
            assert!(debug.starts_with(name.as_str()), "{debug} is documented as {name}");
            let (got, at) = table(error);
            assert_eq!(got.code(), number(errno).code(), "{name}");
            assert_eq!(at.to_string().to_lowercase(), *level, "{name}");
        }
    }

    /// Linux's numbers for the names in the table, written down a second time on purpose.
    fn number(name: &str) -> Errno {
        Errno::from_i32(match name {
            "EPERM" => 1,
            "ENOENT" => 2,
            "EIO" => 5,
            "EBADF" => 9,
            "EACCES" => 13,
            "EBUSY" => 16,
            "EEXIST" => 17,
            "EXDEV" => 18,
            "ENOTDIR" => 20,
            "EISDIR" => 21,
            "EINVAL" => 22,
            "EFBIG" => 27,
            "ENOSPC" => 28,
            "EROFS" => 30,
            "ENAMETOOLONG" => 36,
            "ENOSYS" => 38,
            "ENOTEMPTY" => 39,
            "ENODATA" => 61,
            "EOPNOTSUPP" => 95,
            "ETIMEDOUT" => 110,
            "ESTALE" => 116,
            "EDQUOT" => 122,
            other => panic!("{other} is not in the list"),
        })
    }
}
