//! How a command fails: one clear sentence, what to do, and an exit code that scripts and units can rely on.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::mountpoint;
use super::print::tamed;
use crate::auth::AuthError;
use crate::auth::flow::SignInError;
use crate::base::telemetry::NotALevel;
use crate::config::ConfigError;
use crate::config::paths::NoHome;
use crate::daemon::DaemonError;
use crate::daemon::single::SingleError;
use crate::drive::{DriveError, View};
use crate::remote::{Advice, RemoteError, RemoteErrorKind};

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
    /// There is no such object in the cloud.
    NotFound = 40,
    /// The name is taken.
    Exists = 41,
    /// The account may not do that.
    Denied = 42,
    /// The service, or this protocol, has no such thing.
    NotOffered = 43,
    /// The drive is full.
    DriveFull = 44,
    /// The service refuses the name or the size.
    BadName = 45,
    /// Somebody else changed it meanwhile, or has it open.
    ChangedMeanwhile = 46,
    /// The service is ill or asks for patience.
    ServiceIll = 47,
    /// A local file or folder cannot be read or written.
    LocalFile = 48,
    /// A folder where a file is needed, or the other way round.
    WrongType = 49,
    /// Of several things some could not be done.
    SomeFailed = 50,
}

/// The table of exit codes as `--help` shows it.
pub const EXIT_CODES: &str = "\
Exit codes, which never change:
   0  done                                    35  a change waits for you (wait)
   1  anything else; the sentence tells       36  something on this machine is corrupt (verify)
   2  the command line makes no sense         40  there is no such object
   3  the settings cannot be used             41  the name is taken
  10  nobody is signed in                     42  the account may not do that
  11  the sign-in was refused                 43  the service or its protocol does not offer that
  12  the service cannot be reached           44  the drive is full
  13  it belongs to another account           45  the service refuses the name, path or size
  20  to 30: the mount point or FUSE          46  somebody else changed it meanwhile, or has it open
  31  this account is mounted already         47  the service is ill or asks for patience
  32  the program's folders cannot be used    48  a local file cannot be read or written
  33  nothing of ours is mounted there        49  a folder where a file is needed, or the reverse
  34  in use, or the time is over             50  of several things some could not be done";

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

    /// Says what it was about, in front.
    #[must_use]
    pub fn about(self, what: &str) -> Self {
        Self { source: format!("{}: {}", tamed(what), self.source).into(), ..self }
    }

    /// What several tries amount to: nothing if all went well, the failure itself if only one thing was tried, else
    /// all failures in one under [`Kind::SomeFailed`].
    ///
    /// # Errors
    /// As said.
    pub fn of_several(mut failures: Vec<Self>, tried: usize) -> Result<(), Self> {
        if failures.is_empty() {
            return Ok(());
        }
        if tried == 1 {
            return Err(failures.remove(0));
        }
        const SHOWN: usize = 20;
        let sentence = format!("{} of {tried} could not be done", failures.len());
        let more = failures.len().saturating_sub(SHOWN);
        let mut whole = failures.iter().take(SHOWN).fold(sentence, |mut sentence, failure| {
            sentence.push_str(&format!("\n  {}", failure.source));
            sentence
        });
        if more > 0 {
            whole.push_str(&format!("\n  and {more} more"));
        }
        Err(Self::new(Kind::SomeFailed, whole))
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
        let of_the_old_program = matches!(&error, ConfigError::UnknownKey { key, .. }
            if ["auth", "request", "conf_save"].contains(&key.split('.').next().unwrap_or_default()));
        if of_the_old_program {
            return Self::new(Kind::Settings, error)
                .hint("this looks like the file of python-onedrive: docs/moving-from-python-onedrive.md");
        }
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
            AuthError::Refused { .. } | AuthError::NoClientId | AuthError::MissingPermission { .. } => {
                Kind::SignInRefused
            }
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

impl From<RemoteError> for CliError {
    fn from(error: RemoteError) -> Self {
        use RemoteErrorKind as Remote;
        if error.kind == Remote::Denied && error.advice == Advice::Refresh {
            // Not this or that is refused, but the sign-in itself, and a renewed one too.
            return Self::new(Kind::SignInNeeded, error).hint("to sign in again: onedrive-cli auth");
        }
        if error.is_beyond_the_sign_in() {
            return Self::new(Kind::Denied, error)
                .hint("the sign-in was for less than this needs; to sign in again: onedrive-cli auth");
        }
        let kind = match error.kind {
            Remote::Offline => Kind::Unreachable,
            Remote::SignedOut => Kind::SignInNeeded,
            Remote::Denied | Remote::ReadOnly | Remote::Malware => Kind::Denied,
            Remote::NotFound | Remote::NotAnId => Kind::NotFound,
            Remote::Exists => Kind::Exists,
            Remote::Changed | Remote::Locked => Kind::ChangedMeanwhile,
            Remote::BadName | Remote::TooLong | Remote::TooLarge => Kind::BadName,
            Remote::QuotaFull => Kind::DriveFull,
            Remote::Throttled | Remote::Unavailable => Kind::ServiceIll,
            Remote::Unsupported => Kind::NotOffered,
            Remote::Local => Kind::LocalFile,
            Remote::Expired | Remote::Range | Remote::UploadGone | Remote::Protocol => Kind::Other,
        };
        Self::new(kind, error)
    }
}

impl From<DriveError> for CliError {
    fn from(error: DriveError) -> Self {
        use DriveError as Drive;
        let (kind, hint) = match error {
            Drive::Remote(error) => return error.into(),
            Drive::Auth(error) => return error.into(),
            Drive::SignIn(error) => return error.into(),
            Drive::Settings(error) => return error.into(),
            Drive::NoHome(error) => return error.into(),
            Drive::NoSuchPath { .. } => (Kind::NotFound, None),
            Drive::NoSuchId(_) => (Kind::NotFound, Some("if it is a name: onedrive-cli -p COMMAND ...")),
            Drive::NoObject(View::Quota) => (Kind::WrongType, Some("it is the space: onedrive-cli quota")),
            Drive::NoObject(_) => (Kind::WrongType, Some("it is a list, and this shows it: onedrive-cli ls")),
            Drive::NotAFile(_) => (Kind::WrongType, Some("a folder with everything in it: onedrive-cli get -r")),
            Drive::LocalNotAFile(_) => (Kind::WrongType, Some("a folder with everything in it: onedrive-cli put -r")),
            Drive::NotAFolder(_)
            | Drive::NoFolderOfThatName { .. }
            | Drive::NoContent(_)
            | Drive::FolderInTheWay(_)
            | Drive::LocalFolder(_) => (Kind::WrongType, None),
            Drive::Exists { .. } => (Kind::Exists, None),
            Drive::OneName { .. } => (Kind::Exists, Some("give one of them another name, and send again")),
            Drive::Root { .. } => (Kind::Denied, None),
            Drive::NoLocalName(_) => (Kind::BadName, None),
            Drive::NotText(_) => (Kind::BadName, Some("give another name: --name NAME")),
            Drive::NoName(_) => (Kind::Usage, Some("give a name: --name NAME")),
            Drive::Local { .. } | Drive::Sink(_) => (Kind::LocalFile, None),
            Drive::LocalChanged { visible: true, .. } => {
                (Kind::ChangedMeanwhile, Some("what is in the cloud may be half old and half new; send it again"))
            }
            Drive::LocalChanged { visible: false, .. } => {
                (Kind::ChangedMeanwhile, Some("nothing was changed in the cloud; send it again"))
            }
            Drive::Busy(_) => (Kind::Busy, None),
            Drive::Forgotten => (Kind::ServiceIll, None),
            Drive::Endless => (Kind::Other, None),
        };
        let failure = Self::new(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<SignInError> for CliError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Auth(error) => error.into(),
            error @ SignInError::AwaitingPaste => Self::new(Kind::SignInNeeded, error),
            error @ SignInError::NoDeviceCodes => Self::new(Kind::NotOffered, error),
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
