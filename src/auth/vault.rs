//! The token file, or the sign-in in a settings file of python-onedrive.
//!
//! Whoever reads this file is the user as far as OneDrive is concerned, and whoever loses its newest content is signed
//! out. So it is readable by its owner alone from the moment it exists, it is replaced whole or not at all, and a
//! replacement is on the disk when [`Vault::store`] returns.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::base::clock::{Clock, Timestamp};
use crate::base::private;
use crate::base::secret::{Secret, Wipe};
use crate::config::Lcrc;
use crate::config::lcrc::{LcrcError, StoredSignIn};

/// How long to wait for another process that is refreshing. Its requests give up well before.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// How long an access token of the Live sign-in lasts.
const LIVE_LIFETIME: Duration = Duration::from_secs(3600);

/// How often to look whether it is done.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What a sign-in or a refresh brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tokens {
    /// Goes with every request.
    pub access: Secret<String>,
    /// Buys the next access token. Missing if the sign-in did not ask for offline access.
    pub refresh: Option<Secret<String>>,
    /// When the access token ends.
    pub expires: Timestamp,
    /// How long it was valid when it was issued.
    pub lifetime: Duration,
    /// The permissions that were granted, separated by spaces: perhaps fewer than were asked for.
    pub scope: String,
    /// To whom they were issued; see [`super::Authority::identity`].
    pub identity: String,
}

/// Why the token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The content is not what this program writes.
    #[error("{} is damaged ({reason}); remove it and run: onedrive-cli auth", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the reader stumbled over.
        reason: String,
    },
    /// The settings file of python-onedrive cannot be used.
    #[error(transparent)]
    Lcrc(#[from] LcrcError),
    /// Another process holds the lock and does not let go.
    #[error("another process has been using {} for a minute; if it hangs, end it", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
}

/// One token file and the lock beside it. Clones are the same vault.
#[derive(Clone, Debug)]
pub struct Vault {
    /// The token file, or the settings file of python-onedrive.
    path: PathBuf,
    lcrc: Option<Shared>,
}

/// A sign-in in a settings file of python-onedrive.
#[derive(Clone, Debug)]
struct Shared {
    file: Lcrc,
    /// The file does not say whom its tokens belong to: it is whom it names itself.
    identity: String,
    /// What was stored last where nothing is to be written: it lives as long as the program.
    kept: Arc<Mutex<Option<Tokens>>>,
}

/// The right to change the token file; other processes wait. Ends when dropped.
#[derive(Debug)]
pub struct VaultLock {
    _file: Option<File>,
}

/// The file's content. Times are seconds since 1970, because people look into such files.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    identity: String,
    access_token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    expires_at: i64,
    lifetime: u64,
    scope: String,
}

impl Vault {
    /// A vault at `path`. Nothing is touched yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), lcrc: None }
    }

    /// The sign-in in a settings file of python-onedrive, issued to `identity`. Its folder is nobody's but the user's:
    /// it is neither made nor closed to others.
    pub fn in_lcrc(file: Lcrc, identity: String) -> Self {
        let path = file.saved_to().unwrap_or(file.path()).to_owned();
        Self { path, lcrc: Some(Shared { file, identity, kept: Arc::default() }) }
    }

    /// The token file; `None` if the user does not want the sign-in to be stored.
    pub fn path(&self) -> Option<&Path> {
        match &self.lcrc {
            Some(shared) => shared.file.saved_to(),
            None => Some(&self.path),
        }
    }

    /// What is stored; `None` if nobody has signed in.
    ///
    /// A file that others can read is closed to them, with a warning: a copy from a backup often comes back open.
    ///
    /// # Errors
    /// The file exists but cannot be read or understood.
    pub fn load(&self) -> Result<Option<Tokens>, VaultError> {
        if let Some(shared) = &self.lcrc {
            return shared.load();
        }
        let Some(bytes) = read_private(&self.path)?.map(Secret::new) else { return Ok(None) };
        let damaged = |reason: String| VaultError::Damaged { path: self.path.clone(), reason };
        let stored: Stored = serde_json::from_slice(bytes.expose()).map_err(|error| {
            // Not the error's own text: it may quote a token.
            damaged(format!("line {}, column {}", error.line(), error.column()))
        })?;
        if stored.version != 1 {
            return Err(damaged(format!("version {} is not known to this program", stored.version)));
        }
        Ok(Some(Tokens {
            access: Secret::new(stored.access_token),
            refresh: stored.refresh_token.map(Secret::new),
            expires: Timestamp::from_seconds(stored.expires_at),
            lifetime: Duration::from_secs(stored.lifetime),
            scope: stored.scope,
            identity: stored.identity,
        }))
    }

    /// Replaces what is stored. Durable on return; after an error the old content still stands.
    ///
    /// # Errors
    /// The disk is full or read-only, or the folder belongs to somebody else.
    pub fn store(&self, tokens: &Tokens, _lock: &VaultLock) -> Result<(), VaultError> {
        if let Some(shared) = &self.lcrc {
            return shared.store(tokens);
        }
        let mut stored = Stored {
            version: 1,
            identity: tokens.identity.clone(),
            access_token: tokens.access.expose().clone(),
            refresh_token: tokens.refresh.as_ref().map(|token| token.expose().clone()),
            expires_at: tokens.expires.seconds(),
            lifetime: tokens.lifetime.as_secs(),
            scope: tokens.scope.clone(),
        };
        let bytes = serde_json::to_vec_pretty(&stored).expect("invariant: strings and numbers always serialise");
        stored.access_token.wipe();
        stored.refresh_token.iter_mut().for_each(Wipe::wipe);
        write_private(&self.path, Secret::new(bytes).expose())
    }

    /// Waits until no other process changes the file, for at most a minute.
    ///
    /// # Errors
    /// The lock file cannot be made, or the wait was in vain.
    pub async fn lock(&self, clock: &dyn Clock) -> Result<VaultLock, VaultError> {
        let path = match &self.lcrc {
            None => {
                make_folder(&self.path)?;
                self.path.with_extension("lock")
            }
            Some(shared) if shared.file.saved_to().is_none() => return Ok(VaultLock { _file: None }),
            Some(_) => {
                let mut name = self.path.file_name().unwrap_or_default().to_owned();
                name.push(".lock");
                self.path.with_file_name(name)
            }
        };
        let failed = |source: io::Error| VaultError::File { action: "lock", path: path.clone(), source };
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed)?;
        let started = clock.monotonic();
        loop {
            // Looking again and again instead of sleeping in the kernel: a thread that waits there cannot be cancelled.
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(VaultLock { _file: Some(file) }),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed(error.into())),
            }
            if clock.monotonic().since(started) > LOCK_PATIENCE {
                return Err(VaultError::Busy { path: self.path.clone() });
            }
            clock.sleep(LOCK_PAUSE).await;
        }
    }
}

impl Shared {
    fn load(&self) -> Result<Option<Tokens>, VaultError> {
        if let Some(tokens) = &*self.kept.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Some(tokens.clone()));
        }
        close(self.file.path())?;
        let StoredSignIn { access, refresh, expires } = self.file.load()?;
        if access.is_none() && refresh.is_none() {
            return Ok(None);
        }
        Ok(Some(Tokens {
            access: access.unwrap_or_else(|| Secret::new(String::new())),
            refresh,
            // The old program did not always know it. Then it is renewed at once.
            expires: expires.unwrap_or(Timestamp(0)),
            lifetime: LIVE_LIFETIME,
            scope: String::new(),
            identity: self.identity.clone(),
        }))
    }

    fn store(&self, tokens: &Tokens) -> Result<(), VaultError> {
        if self.file.saved_to().is_none() {
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(tokens.clone());
        }
        let (access, refresh) = (Some(tokens.access.clone()), tokens.refresh.clone());
        Ok(self.file.store(&StoredSignIn { access, refresh, expires: Some(tokens.expires) })?)
    }
}

/// Reads a file that only its owner may read; `None` if there is none.
pub(super) fn read_private(path: &Path) -> Result<Option<Vec<u8>>, VaultError> {
    let failed = |source| VaultError::File { action: "read", path: path.to_owned(), source };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    close(path)?;
    Ok(Some(bytes))
}

/// Closes a file to others, with a warning if it was open to them.
fn close(path: &Path) -> Result<(), VaultError> {
    let failed = |source| VaultError::File { action: "read", path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(file = %path.display(), mode = format!("{mode:o}"), "others could read this file; closing it");
        if let Err(error) = fs::set_permissions(path, Permissions::from_mode(0o600)) {
            tracing::warn!(file = %path.display(), %error, "cannot close it");
        }
    }
    Ok(())
}

/// Replaces a file that only its owner may read. Whole and durable on return, or unchanged.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), VaultError> {
    let folder = make_folder(path)?;
    let failed = |source| VaultError::File { action: "write", path: path.to_owned(), source };
    // Temporary files are born with mode 0600, so there is no moment in which another user could open it.
    let mut file = tempfile::Builder::new().prefix(".token-").tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Makes the folder of a private file, closed to others, and returns it.
fn make_folder(path: &Path) -> Result<&Path, VaultError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    private::folder(folder).map_err(|source| VaultError::File {
        action: "make the folder",
        path: folder.to_owned(),
        source,
    })?;
    Ok(folder)
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any bytes as the token file.
pub(crate) fn fuzz(data: &[u8]) {
    if let Ok(stored) = serde_json::from_slice::<Stored>(data) {
        let ends = Timestamp::from_seconds(stored.expires_at);
        let _ = ends.plus(Duration::from_secs(stored.lifetime));
        let _ = Duration::from_secs(stored.lifetime) / 5;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::{ManualClock, SystemClock};

    fn tokens(access: &str) -> Tokens {
        Tokens {
            access: Secret::new(access.to_owned()),
            refresh: Some(Secret::new("R".to_owned())),
            expires: Timestamp::from_seconds(1_700_000_000),
            lifetime: Duration::from_secs(3599),
            scope: "Files.ReadWrite.All".to_owned(),
            identity: "app at https://login.example".to_owned(),
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it exists").permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn what_is_stored_comes_back_and_is_private() {
        let home = tempfile::tempdir().expect("a folder");
        let vault = Vault::new(home.path().join("a/b/token.json"));
        assert_eq!(vault.load().expect("no file is no error"), None);
        let lock = vault.lock(&SystemClock::new()).await.expect("free");
        vault.store(&tokens("A"), &lock).expect("stored");
        assert_eq!(vault.load().expect("readable"), Some(tokens("A")));
        assert_eq!(mode(&vault.path), 0o600);
        assert_eq!(mode(&home.path().join("a/b")), 0o700);
        let left: Vec<_> = fs::read_dir(home.path().join("a/b")).expect("listed").flatten().collect();
        assert_eq!(left.len(), 2, "the tokens and the lock: {left:?}");
    }

    #[tokio::test]
    async fn a_file_open_to_others_is_closed() {
        let home = tempfile::tempdir().expect("a folder");
        let vault = Vault::new(home.path().join("token.json"));
        let lock = vault.lock(&SystemClock::new()).await.expect("free");
        vault.store(&tokens("A"), &lock).expect("stored");
        fs::set_permissions(&vault.path, Permissions::from_mode(0o644)).expect("changed");
        vault.load().expect("readable");
        assert_eq!(mode(&vault.path), 0o600);
    }

    #[test]
    fn a_damaged_file_is_told_without_its_content() {
        let home = tempfile::tempdir().expect("a folder");
        let vault = Vault::new(home.path().join("token.json"));
        for content in ["", "{\"version\": 1, \"access_token\": \"s3cret\"", "{\"version\": \"s3cret\"}"] {
            fs::write(&vault.path, content).expect("written");
            let error = vault.load().expect_err("damaged");
            assert!(matches!(error, VaultError::Damaged { .. }), "{error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }

    #[tokio::test]
    async fn only_one_holds_the_lock_and_nobody_waits_for_ever() {
        let home = tempfile::tempdir().expect("a folder");
        let vault = Vault::new(home.path().join("token.json"));
        let clock = ManualClock::new(Timestamp(0));
        let held = vault.lock(&clock).await.expect("free");
        let waiting = tokio::spawn({
            let (vault, clock) = (vault.clone(), clock.clone());
            async move { vault.lock(&clock).await }
        });
        while !waiting.is_finished() {
            clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        assert!(matches!(waiting.await.expect("no panic"), Err(VaultError::Busy { .. })));
        drop(held);
        vault.lock(&clock).await.expect("free again");
    }
}
