//! When to refresh, and who does it.
//!
//! A hundred requests may find at the same moment that the token ends, or be told so by a 401, and another process may
//! find it too. Exactly one of them may spend the refresh token. The refresh runs in a task of its own, so that a
//! request which is cancelled half-way cannot lose the answer in which the service replaced the token.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{AuthError, Authority, TokenSource, Tokens, Vault, VaultError};
use crate::base::clock::{Clock, Mono, Timestamp};
use crate::base::secret::Secret;

/// How long before its end a token is renewed.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// How long a failed renewal is left alone while the old token still serves.
const PAUSE_WHILE_VALID: Duration = Duration::from_secs(30);

/// How long a failed renewal answers for everybody while nothing serves: a dead network is not asked by each request.
const PAUSE_WHILE_EXPIRED: Duration = Duration::from_secs(2);

/// The real [`TokenSource`]: the tokens of a [`Vault`], renewed by an [`Authority`]. Cheap to clone; clones share all.
#[derive(Clone)]
pub struct Renewer {
    shared: Arc<Shared>,
}

struct Shared {
    authority: Authority,
    vault: Vault,
    clock: Arc<dyn Clock>,
    /// Held by the one who refreshes.
    turn: tokio::sync::Mutex<()>,
    /// How many renewals are under way.
    under_way: watch::Sender<usize>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    tokens: Option<Tokens>,
    /// The tokens are newer than the file, because it could not be written; the refresh token that was spent for them,
    /// which the file holds as long as nobody else has written it.
    unsaved: Option<Secret<String>>,
    /// The last attempt, if it failed.
    failure: Option<(Mono, AuthError)>,
    /// Counts attempts, so that whoever waited for one can tell that it was made.
    attempts: u64,
    /// The refresh token that the service has declared void.
    void: Option<Secret<String>>,
    /// See [`TokenSource::line`].
    line: u64,
    /// The last access token of this line.
    of_line: Option<Secret<String>>,
}

impl Known {
    /// Tokens that lay in the file are used from now on.
    fn take(&mut self, tokens: Tokens) {
        self.follow(&tokens);
        self.tokens = Some(tokens);
    }

    /// A new line begins, unless these tokens are the ones of the present line.
    fn follow(&mut self, tokens: &Tokens) {
        if self.of_line.as_ref() != Some(&tokens.access) {
            self.line += 1;
            self.of_line = Some(tokens.access.clone());
        }
    }
}

/// What to do with a token at a given moment.
///
/// | time left | do |
/// | --- | --- |
/// | more than 5 minutes (or a fifth of a short life) | use it |
/// | some | use it, and renew it meanwhile |
/// | none | renew it, then use the new one |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Use,
    UseAndRenew,
    RenewFirst,
}

fn step(now: Timestamp, tokens: &Tokens) -> Step {
    let early = MARGIN.min(tokens.lifetime / 5);
    if now >= tokens.expires {
        Step::RenewFirst
    } else if now.plus(early) >= tokens.expires {
        Step::UseAndRenew
    } else {
        Step::Use
    }
}

/// Why a renewal is asked for; tells when tokens that somebody else brought are good enough.
#[derive(Clone)]
enum Cause {
    Ending,
    Ended,
    Rejected(Secret<String>),
}

impl Cause {
    fn is_met_by(&self, now: Timestamp, tokens: &Tokens) -> bool {
        match self {
            Cause::Ending => step(now, tokens) == Step::Use,
            Cause::Ended => step(now, tokens) != Step::RenewFirst,
            Cause::Rejected(access) => tokens.access != *access && step(now, tokens) != Step::RenewFirst,
        }
    }
}

impl Renewer {
    /// Tokens from `vault`, renewed by `authority`. Nothing is read yet.
    pub fn new(authority: Authority, vault: Vault, clock: Arc<dyn Clock>) -> Self {
        let (turn, known) = (tokio::sync::Mutex::new(()), Mutex::new(Known::default()));
        let under_way = watch::Sender::new(0);
        Self { shared: Arc::new(Shared { authority, vault, clock, turn, under_way, known }) }
    }

    /// The permissions that the present tokens carry, separated by spaces; empty if the service did not say.
    ///
    /// # Errors
    /// [`AuthError::NotSignedIn`]; what keeps the stored tokens from being read.
    pub async fn granted(&self) -> Result<String, AuthError> {
        Ok(self.shared.tokens()?.ok_or(AuthError::NotSignedIn)?.scope)
    }

    /// Completes when no renewal is under way. To be awaited before the runtime ends: an answer that nobody reads may
    /// hold the only refresh token that is still good.
    pub async fn settled(&self) {
        // Cannot fail: the sender lives as long as we do.
        let _ = self.shared.under_way.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Starts a renewal in a task of its own.
    fn begin(&self, cause: Cause) -> tokio::task::JoinHandle<Result<Tokens, AuthError>> {
        let shared = self.shared.clone();
        shared.under_way.send_modify(|count| *count += 1);
        let running = UnderWay(shared.clone());
        tokio::spawn(async move {
            let _running = running;
            shared.renew(cause).await
        })
    }

    /// The last attempt, if it failed.
    #[cfg(test)]
    pub(super) fn shared_failure(&self) -> Option<AuthError> {
        self.shared.known().failure.clone().map(|(_, error)| error)
    }

    async fn renewed(&self, cause: Cause) -> Result<Secret<String>, AuthError> {
        match self.begin(cause).await {
            Ok(result) => {
                let tokens = result?;
                // Only now, when they are stored.
                self.shared.authority.enough(&tokens)?;
                Ok(tokens.access)
            }
            Err(_) => Err(AuthError::Unreachable { reason: "the program is stopping".to_owned(), retry_after: None }),
        }
    }
}

/// Counts one renewal until it ends, in whatever way.
struct UnderWay(Arc<Shared>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count -= 1);
    }
}

#[async_trait]
impl TokenSource for Renewer {
    async fn token(&self) -> Result<Secret<String>, AuthError> {
        let shared = &self.shared;
        let now = shared.clock.now();
        let Some(tokens) = shared.tokens()? else { return Err(AuthError::NotSignedIn) };
        shared.authority.enough(&tokens)?;
        match step(now, &tokens) {
            Step::Use => Ok(tokens.access),
            Step::UseAndRenew => {
                if shared.failed_within(PAUSE_WHILE_VALID).is_none() {
                    drop(self.begin(Cause::Ending));
                }
                Ok(tokens.access)
            }
            Step::RenewFirst => match shared.failed_within(PAUSE_WHILE_EXPIRED) {
                Some(error) if error.is_transient() => Err(error),
                _ => self.renewed(Cause::Ended).await,
            },
        }
    }

    async fn renew(&self, rejected: &Secret<String>) -> Result<Secret<String>, AuthError> {
        let cause = Cause::Rejected(rejected.clone());
        if let Some(tokens) = self.shared.tokens()?.filter(|tokens| cause.is_met_by(self.shared.clock.now(), tokens)) {
            return Ok(tokens.access);
        }
        self.renewed(cause).await
    }

    fn read_again(&self) {
        let unsaved = self.shared.known().unsaved.clone();
        // What could not be written is nowhere else.
        if unsaved.as_ref().is_some_and(|spent| !self.shared.is_superseded(spent)) {
            return;
        }
        let mut known = self.shared.known();
        // Unless a renewal has just ended whose tokens could not be written.
        if known.unsaved == unsaved {
            (known.tokens, known.unsaved) = (None, None);
        }
    }

    fn line(&self) -> u64 {
        self.shared.known().line
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tokens in memory, or else those of the file.
    fn tokens(&self) -> Result<Option<Tokens>, AuthError> {
        if let Some(tokens) = &self.known().tokens {
            return Ok(Some(tokens.clone()));
        }
        let stored = self.stored()?;
        // While the file was read others may have been fetched, which are newer.
        let mut known = self.known();
        if let (None, Some(stored)) = (&known.tokens, stored) {
            known.take(stored);
        }
        Ok(known.tokens.clone())
    }

    /// The tokens of the file, if they are ours to use.
    fn stored(&self) -> Result<Option<Tokens>, AuthError> {
        let stored = self.vault.load()?;
        match stored {
            Some(tokens) if tokens.identity != self.authority.identity() => {
                Err(AuthError::OtherApplication { stored: tokens.identity, wanted: self.authority.identity() })
            }
            other => Ok(other),
        }
    }

    /// Whether somebody has signed in, or renewed, since this refresh token was spent: the file holds another one. A file
    /// that is gone or cannot be read says nothing of that kind.
    fn is_superseded(&self, spent: &Secret<String>) -> bool {
        matches!(self.vault.load(), Ok(Some(stored)) if stored.refresh.as_ref() != Some(spent))
    }

    fn failed_within(&self, pause: Duration) -> Option<AuthError> {
        let (at, error) = self.known().failure.clone()?;
        let pause = match &error {
            AuthError::Unreachable { retry_after: Some(wish), .. } => pause.max(*wish),
            _ => pause,
        };
        (self.clock.monotonic().since(at) < pause).then_some(error)
    }

    async fn renew(&self, cause: Cause) -> Result<Tokens, AuthError> {
        let attempts_before = self.known().attempts;
        let _turn = self.turn.lock().await;
        {
            let known = self.known();
            if let Some(tokens) = known.tokens.as_ref().filter(|tokens| cause.is_met_by(self.clock.now(), tokens)) {
                return Ok(tokens.clone());
            }
            // Somebody tried while we waited for our turn, and failed: the same would happen to us.
            if let Some((_, error)) = known.failure.as_ref().filter(|_| known.attempts != attempts_before) {
                return Err(error.clone());
            }
        }
        let result = self.renew_in_turn(&cause).await;
        let mut known = self.known();
        known.attempts += 1;
        known.failure = match &result {
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%error, "cannot renew the sign-in");
                Some((self.clock.monotonic(), error.clone()))
            }
        };
        result
    }

    async fn renew_in_turn(&self, cause: &Cause) -> Result<Tokens, AuthError> {
        let lock = self.vault.lock(&*self.clock).await?;
        let unsaved = {
            let known = self.known();
            known.tokens.clone().zip(known.unsaved.clone())
        };
        let current = match unsaved {
            // The promise that a refresh token is on disk before it is spent: if this fails, we stop here.
            Some((tokens, spent)) if !self.is_superseded(&spent) => {
                self.vault.store(&tokens, &lock)?;
                tokens
            }
            // Or somebody has signed in since: what we could not write belongs to the sign-in before.
            _ => self.stored()?.ok_or(AuthError::NotSignedIn)?,
        };
        self.known().unsaved = None;
        // Another process has been here, or the person has signed in again.
        if cause.is_met_by(self.clock.now(), &current) {
            self.known().take(current.clone());
            return Ok(current);
        }
        let Some(refresh) = current.refresh.clone() else {
            return Err(AuthError::SignedOut { reason: "this sign-in cannot be renewed".to_owned() });
        };
        if self.known().void.as_ref() == Some(&refresh) {
            return Err(AuthError::SignedOut { reason: "it has been withdrawn".to_owned() });
        }
        let grant = match self.authority.refresh(&refresh).await {
            Ok(grant) => grant,
            Err(error) => {
                if matches!(error, AuthError::SignedOut { .. }) {
                    self.known().void = Some(refresh);
                }
                return Err(error);
            }
        };
        let tokens = grant.into_tokens(&self.authority, &*self.clock, Some(refresh.clone()));
        let saved = self.save(&tokens, lock).await;
        let mut known = self.known();
        // What comes of a sign-in is of its account.
        known.follow(&current);
        known.of_line = Some(tokens.access.clone());
        known.tokens = Some(tokens.clone());
        known.unsaved = saved.is_err().then_some(refresh);
        if let Err(error) = saved {
            // The service has replaced the token whether we could write it down or not. Refusing to use the new
            // access token would stop every read because the disk is full, and make nothing safer.
            tracing::error!(%error, "cannot store the renewed sign-in; it is kept in memory and stored before the next renewal");
        }
        Ok(tokens)
    }

    /// Stores tokens on a thread that may wait for the disk.
    async fn save(&self, tokens: &Tokens, lock: super::vault::VaultLock) -> Result<(), VaultError> {
        let (vault, tokens) = (self.vault.clone(), tokens.clone());
        let path = vault.path().unwrap_or(std::path::Path::new("the sign-in")).to_owned();
        match tokio::task::spawn_blocking(move || vault.store(&tokens, &lock)).await {
            Ok(result) => result,
            Err(stopped) => Err(VaultError::File { action: "write", path, source: std::io::Error::other(stopped) }),
        }
    }
}
