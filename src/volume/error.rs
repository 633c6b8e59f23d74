//! What a file-system call can fail with, in the volume's own words.
//!
//! `fuse::errno` turns these into errno values and log levels, in one table; nothing else knows errno.

use crate::remote::{RemoteError, RemoteErrorKind};

/// The result of every volume call.
pub type VolumeResult<T> = Result<T, VolumeError>;

/// Why a call failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VolumeError {
    /// There is no such name or inode.
    #[error("no such file or folder")]
    NotFound,
    /// The name is taken (compared as the service compares: without case).
    #[error("a file or folder of this name exists")]
    Exists,
    /// A folder was needed.
    #[error("not a folder")]
    NotAFolder,
    /// A file was needed.
    #[error("is a folder")]
    IsAFolder,
    /// The folder has children.
    #[error("the folder is not empty")]
    NotEmpty,
    /// The service cannot store this name; the text names the rule.
    #[error("the name cannot be stored in OneDrive: {0}")]
    BadName(String),
    /// The name or the path is too long for the service.
    #[error("the name or path is too long for OneDrive: {0}")]
    TooLong(String),
    /// The arguments make no sense.
    #[error("invalid argument: {0}")]
    Invalid(&'static str),
    /// The service has no such thing (hard link, symbolic link, special file, other owner).
    #[error("OneDrive cannot store this: {0}")]
    NotStorable(&'static str),
    /// This operation does not exist here at all.
    #[error("not supported")]
    Unsupported,
    /// The kernel may emulate it or must not ask again.
    #[error("not implemented")]
    NotImplemented,
    /// Mounted read-only, or the account is read-only.
    #[error("the drive is read-only")]
    ReadOnly,
    /// The handle was not opened for this.
    #[error("the handle does not allow this")]
    BadHandle,
    /// Not allowed: the service's policy, a closed item, or the desktop's trash folders.
    #[error("not allowed: {0}")]
    Denied(String),
    /// The account is signed out.
    #[error("signed out; run: onedrive-cli auth")]
    SignedOut,
    /// The content is not on this machine and the cloud cannot be reached.
    #[error("the content is not on this machine and OneDrive cannot be reached")]
    Offline,
    /// The version this handle was opened on is gone from the service; reopen to see the new one.
    #[error("the file was changed elsewhere; open it again")]
    Stale,
    /// The service did not answer in time.
    #[error("OneDrive did not answer in time")]
    TimedOut,
    /// Somebody else has it locked, or it is in use.
    #[error("in use by somebody else")]
    Busy,
    /// The local disk is full (or about to be).
    #[error("the local disk is full")]
    DiskFull,
    /// The drive's quota is used up.
    #[error("the drive's quota is used up")]
    QuotaFull,
    /// Larger than the service accepts.
    #[error("larger than OneDrive accepts")]
    TooLarge,
    /// There is no data there (seeking beyond the end).
    #[error("no data beyond this offset")]
    NoData,
    /// An extended attribute that does not exist.
    #[error("no such attribute")]
    NoAttribute,
    /// Both names are not on this mount's drive (a move between drives).
    #[error("not on the same drive")]
    CrossDrive,
    /// Something failed that should not; the text says what.
    #[error("{0}")]
    Failed(String),
}

impl From<RemoteError> for VolumeError {
    fn from(error: RemoteError) -> Self {
        match error.kind {
            RemoteErrorKind::Offline => Self::Offline,
            RemoteErrorKind::SignedOut => Self::SignedOut,
            RemoteErrorKind::Denied | RemoteErrorKind::Malware => Self::Denied(error.to_string()),
            RemoteErrorKind::ReadOnly => Self::ReadOnly,
            RemoteErrorKind::NotFound => Self::NotFound,
            RemoteErrorKind::Exists => Self::Exists,
            RemoteErrorKind::Changed => Self::Stale,
            RemoteErrorKind::Locked => Self::Busy,
            RemoteErrorKind::BadName => Self::BadName(error.to_string()),
            RemoteErrorKind::TooLong => Self::TooLong(error.to_string()),
            RemoteErrorKind::QuotaFull => Self::QuotaFull,
            RemoteErrorKind::TooLarge => Self::TooLarge,
            RemoteErrorKind::Throttled | RemoteErrorKind::Unavailable => Self::TimedOut,
            RemoteErrorKind::Unsupported => Self::Unsupported,
            RemoteErrorKind::Local
            | RemoteErrorKind::Expired
            | RemoteErrorKind::Range
            | RemoteErrorKind::UploadGone
            | RemoteErrorKind::NotAnId
            | RemoteErrorKind::Protocol => Self::Failed(error.to_string()),
        }
    }
}
