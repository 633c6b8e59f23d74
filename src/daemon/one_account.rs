//! One account for each mount, whoever signs in meanwhile.
//!
//! The sign-in lies in a file that other processes write too: `onedrive-cli` renews it, and somebody may sign in as
//! somebody else while the daemon runs. What the daemon renews itself stays the account that it was. Tokens that it takes
//! from the file may be anybody's: requests made with them name a drive that this person may or may not be let into, and
//! what is refused then would be put aside as if the person had no right to it.
//!
//! Always true: no token that came from elsewhere is handed out before the service has said that it is for the drive
//! this mount is of. While it is for another one, or nobody can say, whoever wants a token is told that we are signed
//! out, or offline; so everything waits, nothing is sent, and nothing is put aside.
//!
//! | the tokens in use | what the service said of them | a request gets |
//! | --- | --- | --- |
//! | renewed here, or asked about | ours | the token |
//! | from elsewhere | nothing yet | the token once it is known to be ours |
//! | from elsewhere | another drive | "signed out", until others lie in the file |
//! | from elsewhere | it could not be asked | "offline", and asks again a moment later |
//! | from elsewhere | it does not say, or refuses | "signed out", and asks again a moment later |

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::auth::{AuthError, TokenSource};
use crate::base::clock::{Clock, Mono};
use crate::base::secret::Secret;
use crate::base::tasks::Stop;
use crate::remote::{Advice, DriveIdentity, RemoteError, RemoteErrorKind, SharedRemote, URGENCY, Urgency};

/// How long a question that could not be answered is left alone.
const PAUSE: Duration = Duration::from_secs(2);

/// How often the file is looked at while another account's sign-in lies in it: nothing else tells that this has ended.
/// Nobody is asked as long as it is the same.
const LOOK: Duration = Duration::from_secs(3);

/// Tokens of one account only.
pub struct OneAccount {
    tokens: Arc<dyn TokenSource>,
    /// Asks with the tokens as they are.
    asks: SharedRemote,
    clock: Arc<dyn Clock>,
    ours: OnceLock<DriveIdentity>,
    turn: tokio::sync::Mutex<()>,
    known: watch::Sender<Known>,
}

/// What is known of the tokens in use.
#[derive(Clone)]
struct Known {
    /// Which they are; see [`TokenSource::line`].
    line: u64,
    at: Mono,
    verdict: Verdict,
}

#[derive(Clone)]
enum Verdict {
    NotAsked,
    Ours,
    /// Another one's, with the name of its owner.
    Others(String),
    Unclear(AuthError),
}

impl OneAccount {
    /// `asks` uses `tokens` as they are. Until [`OneAccount::keep_to`] says whose they have to be, they may be anybody's.
    pub fn new(tokens: Arc<dyn TokenSource>, asks: SharedRemote, clock: Arc<dyn Clock>) -> Self {
        let known = Known { line: 0, at: clock.monotonic(), verdict: Verdict::NotAsked };
        let (turn, known) = (tokio::sync::Mutex::new(()), watch::Sender::new(known));
        Self { tokens, asks, clock, ours: OnceLock::new(), turn, known }
    }

    /// From now on only tokens for this drive are handed out. `is_asked`: that is what the service has just said.
    pub fn keep_to(&self, drive: DriveIdentity, is_asked: bool) {
        if is_asked {
            self.note(self.tokens.line(), Verdict::Ours);
        }
        let _ = self.ours.set(drive);
    }

    /// Whose drive the tokens in use are for, if it is another one.
    pub fn others(&self) -> Option<String> {
        match &self.known.borrow().verdict {
            Verdict::Others(owner) => Some(owner.clone()),
            _ => None,
        }
    }

    /// That another account is signed in, in the words that whoever wants a token hears.
    pub fn others_told(&self) -> Option<String> {
        self.others().map(|owner| self.told(&owner))
    }

    /// Tells of another account's sign-in, and looks for the end of it; `is_another` and `is_back` are called once each
    /// time. Ends when it is stopped.
    pub async fn watch(&self, is_another: impl Fn(String), is_back: impl Fn(), mut stop: Stop) {
        let mut known = self.known.subscribe();
        loop {
            let owner = tokio::select! {
                changed = known.wait_for(|known| matches!(known.verdict, Verdict::Others(_))) => {
                    changed.ok().map(drop).and_then(|()| self.others())
                }
                () = stop.requested() => return,
            };
            let Some(owner) = owner else { continue };
            is_another(owner);
            while self.others().is_some() {
                tokio::select! {
                    () = self.clock.sleep(LOOK) => {}
                    () = stop.requested() => return,
                }
                self.tokens.read_again();
                // What it says is noted.
                let _ = self.token().await;
            }
            is_back();
        }
    }

    fn note(&self, line: u64, verdict: Verdict) {
        self.known.send_replace(Known { line, at: self.clock.monotonic(), verdict });
    }

    /// What is known of the tokens of a line, if that is still worth something.
    fn answer(&self, line: u64) -> Option<Result<(), AuthError>> {
        let known = self.known.borrow();
        let is_fresh = self.clock.monotonic().since(known.at) < PAUSE;
        match &known.verdict {
            _ if known.line != line => None,
            Verdict::Ours => Some(Ok(())),
            Verdict::Others(owner) => Some(Err(self.another(owner))),
            Verdict::Unclear(error) if is_fresh => Some(Err(error.clone())),
            Verdict::Unclear(_) | Verdict::NotAsked => None,
        }
    }

    /// Whether the tokens of a line may be used; asks if that is not known.
    async fn admit(&self, line: u64) -> Result<(), AuthError> {
        let Some(ours) = self.ours.get() else { return Ok(()) };
        if let Some(answer) = self.answer(line) {
            return answer;
        }
        let _turn = self.turn.lock().await;
        if let Some(answer) = self.answer(line) {
            return answer;
        }
        // Somebody may be waiting for it, whoever asks.
        let found = URGENCY.scope(Urgency::Interactive, self.asks.identity()).await;
        let verdict = match found {
            Ok(found) if found.drive == ours.drive => Verdict::Ours,
            Ok(found) => Verdict::Others(found.owner),
            Err(error) => Verdict::Unclear(unclear(error)),
        };
        // If others were taken while it was asked, it is not known of which this is true; they are asked about next.
        if self.tokens.line() == line {
            self.note(line, verdict);
        }
        self.answer(line).unwrap_or(Ok(()))
    }

    fn another(&self, owner: &str) -> AuthError {
        AuthError::SignedOut { reason: self.told(owner) }
    }

    fn told(&self, owner: &str) -> String {
        let ours = self.ours.get().map_or("", |drive| drive.owner.as_str());
        format!(
            "what is signed in now is the drive of {owner}, and this mount is of the drive of {ours}: nothing is sent"
        )
    }
}

/// What it means for everybody that nobody says whose drive it is.
///
/// | the question failed because | is |
/// | --- | --- |
/// | we are signed out | that |
/// | there is no connection, the service is ill or asks for patience | offline |
/// | of anything else | signed out |
fn unclear(error: RemoteError) -> AuthError {
    let retry_after = match error.advice {
        Advice::RetryAfter(pause) => Some(pause),
        _ => None,
    };
    let inner = error.source.as_ref().and_then(|source| source.downcast_ref::<AuthError>());
    match (inner, error.kind) {
        (Some(inner), _) => inner.clone(),
        (_, RemoteErrorKind::Offline | RemoteErrorKind::Unavailable | RemoteErrorKind::Throttled) => {
            AuthError::Unreachable { reason: error.to_string(), retry_after }
        }
        _ => AuthError::SignedOut { reason: format!("nobody can say whose drive it is: {error}") },
    }
}

#[async_trait]
impl TokenSource for OneAccount {
    async fn token(&self) -> Result<Secret<String>, AuthError> {
        loop {
            let line = self.tokens.line();
            let token = self.tokens.token().await?;
            if self.tokens.line() != line {
                // It may be of either.
                continue;
            }
            self.admit(line).await?;
            if self.tokens.line() == line {
                return Ok(token);
            }
        }
    }

    async fn renew(&self, rejected: &Secret<String>) -> Result<Secret<String>, AuthError> {
        let line = self.tokens.line();
        let token = self.tokens.renew(rejected).await?;
        if self.tokens.line() == line {
            self.admit(line).await?;
        }
        // Or else it may be of either.
        if self.tokens.line() == line { Ok(token) } else { self.token().await }
    }

    fn read_again(&self) {
        self.tokens.read_again();
    }

    fn line(&self) -> u64 {
        self.tokens.line()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_of_questions_that_failed() {
        let offline = |error| matches!(unclear(error), AuthError::Unreachable { .. });
        for kind in [RemoteErrorKind::Offline, RemoteErrorKind::Unavailable, RemoteErrorKind::Throttled] {
            assert!(offline(RemoteError::new(kind, Advice::Retry, "x")), "{kind:?}");
        }
        for kind in [RemoteErrorKind::Denied, RemoteErrorKind::NotFound, RemoteErrorKind::Protocol] {
            let AuthError::SignedOut { reason } = unclear(RemoteError::new(kind, Advice::GiveUp, "no")) else {
                panic!("{kind:?}");
            };
            assert!(reason.contains("whose drive") && reason.contains("no"), "{reason}");
        }
        let out = AuthError::SignedOut { reason: "over".into() };
        let told = unclear(RemoteError::new(RemoteErrorKind::SignedOut, Advice::GiveUp, "x").with_source(out));
        assert!(matches!(told, AuthError::SignedOut { reason } if reason == "over"));
        let later = RemoteError::new(RemoteErrorKind::Throttled, Advice::RetryAfter(Duration::from_secs(9)), "x");
        assert!(
            matches!(unclear(later), AuthError::Unreachable { retry_after: Some(pause), .. } if pause.as_secs() == 9)
        );
    }
}
