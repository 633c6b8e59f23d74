//! How a command fails: one clear sentence, what to do, and an exit code that scripts and units can rely on.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::mountpoint;
use crate::auth::AuthError;
use crate::auth::flow::SignInError;
use crate::base::telemetry::NotALevel;
use crate::config::ConfigError;
use crate::config::paths::NoHome;
use crate::daemon::DaemonError;
use crate::daemon::single::SingleError;
use crate::remote::RemoteErrorKind;

/// What went wrong, as far as the exit code tells. The numbers are part of the interface and never change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
#[repr(u8)]
pub enum Kind {
    /// Nothing below fits; the sentence tells.
    Other = 1,
    /// The command line makes no sense. The argument parser exits with this number too.
    Usage = 2,
    /// The settings cannot be used.
    Settings = 3,
    /// Nobody is signed in, and nobody is there to do it.
    SignInNeeded = 10,
    /// The sign-in was refused, broken off, or no application is known.
    SignInRefused = 11,
    /// The service cannot be reached.
    Unreachable = 12,
    /// What is stored here belongs to another account.
    OtherAccount = 13,
    /// The mount point does not exist and cannot be made, or cannot be entered.
    MountpointUnusable = 20,
    /// The mount point is not a folder.
    NotAFolder = 21,
    /// The mount point has files in it.
    NotEmpty = 22,
    /// Something is mounted there already.
    AlreadyMounted = 23,
    /// A dead mount is there that is not ours to remove.
    StaleMount = 24,
    /// There is no `/dev/fuse`.
    NoFuseDevice = 25,
    /// `/dev/fuse` may not be opened.
    FuseDeviceDenied = 26,
    /// `fusermount3` is not installed.
    NoFuseHelper = 27,
    /// `--allow-other` is not allowed here.
    AllowOtherRefused = 28,
    /// A folder of the program lies below the mount point.
    FoldersBelowMountpoint = 29,
    /// The kernel or `fusermount3` said no.
    MountRefused = 30,
    /// Another daemon serves this account already.
    AlreadyRunning = 31,
    /// The program's own folders cannot be written: the disk is full, read-only or somebody else's.
    Disk = 32,
    /// Nothing of ours is mounted there.
    NotMounted = 33,
    /// The mount is in use, or time is over.
    Busy = 34,
    /// A change waits for the user, so that waiting longer is of no use.
    Parked = 35,
    /// Content on this machine is not what it shall be.
    Corrupt = 36,
}

/// A failed command.
#[derive(Debug)]
pub struct CliError {
    /// Fixes the exit code.
    pub kind: Kind,
    /// The sentence.
    pub source: Box<dyn Error + Send + Sync>,
    /// What else could be done, a line each.
    pub hints: Vec<String>,
}

impl CliError {
    /// A failure; `source` is the sentence.
    pub fn new(kind: Kind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, source: source.into(), hints: Vec::new() }
    }

    /// Adds a line of advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// As the number that the process ends with.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.source)?;
        self.hints.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::new(Kind::Settings, error).hint("all settings with their explanation: onedrive-mount --print-config")
    }
}

impl From<NoHome> for CliError {
    fn from(error: NoHome) -> Self {
        Self::new(Kind::Settings, error)
    }
}

impl From<NotALevel> for CliError {
    fn from(error: NotALevel) -> Self {
        Self::new(Kind::Usage, error)
    }
}

impl From<AuthError> for CliError {
    fn from(error: AuthError) -> Self {
        let kind = match &error {
            AuthError::NotSignedIn | AuthError::SignedOut { .. } | AuthError::OtherApplication { .. } => {
                Kind::SignInNeeded
            }
            AuthError::Refused { .. } | AuthError::NoClientId => Kind::SignInRefused,
            AuthError::Unreachable { .. } => Kind::Unreachable,
            AuthError::Vault(_) => Kind::Disk,
        };
        let error_is_no_client = matches!(error, AuthError::NoClientId);
        let failure = Self::new(kind, error);
        if error_is_no_client {
            failure.hint("to look around without an account: onedrive-mount --demo MOUNTPOINT")
        } else {
            failure
        }
    }
}

impl From<DaemonError> for CliError {
    fn from(error: DaemonError) -> Self {
        let kind = match error {
            DaemonError::Auth(error) => return error.into(),
            DaemonError::Mount(error) => return mountpoint::refusal(error),
            DaemonError::Single(SingleError::Taken { .. }) => Kind::AlreadyRunning,
            DaemonError::Single(SingleError::OwnFilesInside { .. }) => Kind::FoldersBelowMountpoint,
            DaemonError::FirstStartOffline(_) => Kind::Unreachable,
            DaemonError::Remote(ref error) if error.kind == RemoteErrorKind::SignedOut => Kind::SignInNeeded,
            DaemonError::Protocol => Kind::Settings,
            DaemonError::Remote(_) => Kind::Other,
            DaemonError::OtherDrive { .. } => Kind::OtherAccount,
            DaemonError::Single(SingleError::Lock { .. })
            | DaemonError::Journal(_)
            | DaemonError::Index(_)
            | DaemonError::Cache(_)
            | DaemonError::File { .. } => Kind::Disk,
        };
        Self::new(kind, error)
    }
}

impl From<SignInError> for CliError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Auth(error) => error.into(),
            error @ SignInError::AwaitingPaste => Self::new(Kind::SignInNeeded, error),
            error => Self::new(Kind::SignInRefused, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_as_a_sentence_with_advice() {
        let error = CliError::new(Kind::NotEmpty, "/m is not empty").hint("choose another").hint("or empty it");
        assert_eq!(error.to_string(), "error: /m is not empty\n  hint: choose another\n  hint: or empty it");
    }

    #[test]
    fn who_must_sign_in_and_who_must_wait_have_different_codes() {
        let code = |error: AuthError| CliError::from(error).kind;
        assert_eq!(code(AuthError::NotSignedIn), Kind::SignInNeeded);
        assert_eq!(code(AuthError::SignedOut { reason: String::new() }), Kind::SignInNeeded);
        assert_eq!(code(AuthError::NoClientId), Kind::SignInRefused);
        assert_eq!(code(AuthError::Unreachable { reason: String::new(), retry_after: None }), Kind::Unreachable);
        assert!(CliError::from(AuthError::NoClientId).to_string().contains("--demo"));
    }
}
