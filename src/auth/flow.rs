//! How a person signs in: in the browser of this machine, in one elsewhere with the final address pasted back, or with
//! a short code typed on another device.
//!
//! All three end with tokens in the vault, durably, before the person is told that it worked. A sign-in with a pasted
//! address may span two runs of the program (print the address now, bring the answer later), so what the second half
//! needs is kept in a private file for a while.
//!
//! Other users of the machine can read the address that the browser is started with. What they could make of it is kept
//! out where the answer comes in; see `loopback`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::authority::{DevicePoll, Grant};
use super::loopback::Loopback;
use super::vault::{read_private, write_private};
use super::{AuthError, Authority, Tokens, Vault, VaultError};
use crate::base::clock::{Clock, Timestamp};
use crate::base::name::presentable;
use crate::base::secret::Secret;

/// How long the browser may take: long enough for a password reset, a second factor and a phone that lies upstairs.
const BROWSER_PATIENCE: Duration = Duration::from_secs(15 * 60);

/// How long an address that was printed may be answered by a pasted one.
const PASTE_PATIENCE: Duration = Duration::from_secs(60 * 60);

const OPEN_ANYWHERE: &str = "Open this address in any browser and sign in:";

/// How to sign in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// Opens the browser of this machine and waits for it to come back.
    Browser,
    /// Prints an address and takes the one that the browser ends up at.
    Paste,
    /// Prints a code to be typed on another device.
    DeviceCode,
}

/// The person at the other end.
#[async_trait]
pub trait Dialogue: Send {
    /// Shows a text of one or more lines.
    fn say(&mut self, text: &str);
    /// The next line the person types; `None` if there is nobody to type.
    async fn ask(&mut self) -> io::Result<Option<String>>;
    /// Opens an address in the browser.
    ///
    /// # Errors
    /// Why that is not possible, in words.
    fn open_browser(&mut self, url: &Url) -> Result<(), String>;
}

/// Why nobody has signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The service would not issue tokens, or cannot be reached.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The person, or the organisation, said no.
    #[error("the sign-in was refused: {description} ({code})")]
    Declined {
        /// The error code of OAuth, such as `access_denied`.
        code: String,
        /// The service's words.
        description: String,
    },
    /// The address belongs to another sign-in, or was made up.
    #[error("this address belongs to another sign-in; use the page that was opened last, or start again")]
    OtherSignIn,
    /// The text has no answer in it.
    #[error(
        "this is not the address that the sign-in ends at: it starts with {0} and has `code=` in it; copy the whole of \
         it from the browser"
    )]
    NotARedirect(String),
    /// Nothing came back in time.
    #[error("nobody signed in within {} minutes; start again", .0.as_secs() / 60)]
    TimedOut(Duration),
    /// An address was given, but none had been asked for within the hour.
    #[error("there is no sign-in under way; start one with: onedrive-cli auth --no-browser")]
    NoneUnderWay,
    /// The address was printed, but there is no terminal to paste the answer into.
    #[error("once signed in, bring the address that the browser ends up at: onedrive-cli auth 'ADDRESS'")]
    AwaitingPaste,
    /// The service has no codes for other devices.
    #[error("the old service has no codes to type on another device; sign in with: onedrive-cli auth --no-browser")]
    NoDeviceCodes,
    /// No port can be listened on.
    #[error("cannot listen for the browser ({0}); try: onedrive-cli auth --no-browser")]
    Listener(#[source] io::Error),
    /// The terminal cannot be read.
    #[error("cannot read the address: {0}")]
    Terminal(#[source] io::Error),
}

impl From<VaultError> for SignInError {
    fn from(error: VaultError) -> Self {
        SignInError::Auth(error.into())
    }
}

/// A sign-in into one vault.
pub struct SignIn<'a> {
    /// Who issues the tokens.
    pub authority: &'a Authority,
    /// Where they go. Tokens of an earlier sign-in are replaced.
    pub vault: &'a Vault,
    /// The private file that carries a sign-in from printing an address to pasting one.
    pub pending: PathBuf,
    /// Time.
    pub clock: &'a dyn Clock,
}

impl SignIn<'_> {
    /// Signs a person in.
    ///
    /// # Errors
    /// [`SignInError`]; what was stored before is untouched then.
    pub async fn run(&self, method: Method, person: &mut dyn Dialogue) -> Result<Tokens, SignInError> {
        match method {
            Method::Browser if self.authority.comes_back_by_itself() => self.by_browser(person).await,
            // The browser of this machine can be opened, but the address it ends up at has to be brought back.
            Method::Browser => self.by_paste(true, person).await,
            Method::Paste => self.by_paste(false, person).await,
            Method::DeviceCode if !self.authority.has_device_codes() => Err(SignInError::NoDeviceCodes),
            Method::DeviceCode => self.by_device_code(person).await,
        }
    }

    /// Finishes what [`Method::Paste`] began, perhaps in an earlier run: `address` is what the browser ended up at.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn finish(&self, address: &str) -> Result<Tokens, SignInError> {
        let redirect = self.authority.paste_redirect();
        let answer = Redirect::parse(address).ok_or_else(|| SignInError::NotARedirect(redirect.to_owned()))?;
        let attempt = match self.under_way()? {
            Some(attempt) => attempt,
            // An answer that names no sign-in needs none here: that is how scripts brought it to python-onedrive.
            None if self.authority.may_leave_state_out() && answer.state.is_none() => Attempt::new(random()),
            None => return Err(SignInError::NoneUnderWay),
        };
        let code = answer.meant_for(&attempt.state, self.authority.may_leave_state_out())?.into_code()?;
        let grant = self.authority.redeem(code.expose(), redirect, &attempt.verifier).await?;
        let tokens = self.keep(grant).await?;
        // The code is used up. If this fails, the rest of the file expires within the hour.
        let _ = std::fs::remove_file(&self.pending);
        Ok(tokens)
    }

    /// The sign-in whose address was printed last, if that is not too long ago.
    fn under_way(&self) -> Result<Option<Attempt>, SignInError> {
        let Some(bytes) = read_private(&self.pending)? else { return Ok(None) };
        let Ok(pending) = serde_json::from_slice::<Pending>(&bytes) else { return Ok(None) };
        let fresh = Timestamp::from_seconds(pending.started).plus(PASTE_PATIENCE) >= self.clock.now();
        Ok(fresh.then(|| Attempt { verifier: Secret::new(pending.verifier), state: pending.state }))
    }

    async fn by_browser(&self, person: &mut dyn Dialogue) -> Result<Tokens, SignInError> {
        let attempt = Attempt::new(random());
        let listener = Loopback::bind().await.map_err(SignInError::Listener)?;
        let redirect = listener.redirect_uri();
        let url = self.authority.authorize_url(&redirect, &attempt.state, &attempt.challenge());
        match person.open_browser(&url) {
            Ok(()) => person.say(&format!("Please sign in, in the browser. If none has opened, go to:\n\n  {url}\n")),
            Err(reason) => person.say(&format!(
                "No browser can be opened here ({reason}). Please open this address on this machine \
                 (for a browser elsewhere: onedrive-cli auth --no-browser):\n\n  {url}\n"
            )),
        }
        let answer = tokio::select! {
            answer = listener.redirect(&attempt.state) => answer?,
            () = self.clock.sleep(BROWSER_PATIENCE) => return Err(SignInError::TimedOut(BROWSER_PATIENCE)),
        };
        let code = answer.into_code()?;
        self.keep(self.authority.redeem(code.expose(), &redirect, &attempt.verifier).await?).await
    }

    async fn by_paste(&self, open: bool, person: &mut dyn Dialogue) -> Result<Tokens, SignInError> {
        let attempt = Attempt::new(random());
        let pending = Pending {
            verifier: attempt.verifier.expose().clone(),
            state: attempt.state.clone(),
            started: self.clock.now().seconds(),
        };
        let bytes = serde_json::to_vec(&pending).expect("invariant: strings and numbers always serialise");
        write_private(&self.pending, &bytes)?;
        let redirect = self.authority.paste_redirect();
        let url = self.authority.authorize_url(redirect, &attempt.state, &attempt.challenge());
        let page = if self.authority.comes_back_by_itself() { "a page that cannot be shown" } else { "an empty page" };
        let opened = open && person.open_browser(&url).is_ok();
        let how = if opened { "Please sign in, in the browser. If none has opened, go to:" } else { OPEN_ANYWHERE };
        person.say(&format!(
            "{how}\n\n  {url}\n\n\
             It ends at {page}. That is right: copy its whole address, which starts with\n\
             {redirect}, paste it here and press Enter."
        ));
        loop {
            match person.ask().await.map_err(SignInError::Terminal)? {
                None => return Err(SignInError::AwaitingPaste),
                Some(line) if line.trim().is_empty() => {}
                Some(line) => match self.finish(&line).await {
                    // A slip of the hand; the sign-in is still good.
                    Err(error @ (SignInError::NotARedirect(_) | SignInError::OtherSignIn)) => {
                        person.say(&format!("{error}. Try again:"));
                    }
                    result => return result,
                },
            }
        }
    }

    async fn by_device_code(&self, person: &mut dyn Dialogue) -> Result<Tokens, SignInError> {
        let code = self.authority.device_code().await?;
        person.say(&format!(
            "On any device, open {} and enter the code {}\nWaiting ({} minutes) ...",
            code.verification_uri,
            code.user_code,
            code.expires_in.as_secs() / 60
        ));
        let end = self.clock.monotonic().plus(code.expires_in);
        let mut interval = code.interval;
        loop {
            self.clock.sleep(interval).await;
            match self.authority.poll_device(&code).await {
                Ok(DevicePoll::Granted(grant)) => return self.keep(grant).await,
                Ok(DevicePoll::Pending) => {}
                // RFC 8628, section 3.5.
                Ok(DevicePoll::SlowDown) => interval += Duration::from_secs(5),
                Ok(DevicePoll::Declined) => {
                    let description = "it was declined on the other device".to_owned();
                    return Err(SignInError::Declined { code: "authorization_declined".to_owned(), description });
                }
                Ok(DevicePoll::Expired) => return Err(SignInError::TimedOut(code.expires_in)),
                // The network may come back while the person is still typing.
                Err(error) if error.is_transient() => {}
                Err(error) => return Err(error.into()),
            }
            if self.clock.monotonic() >= end {
                return Err(SignInError::TimedOut(code.expires_in));
            }
        }
    }

    /// Stores what was granted. Durable on return, also where it is not enough: the refresh token in it may be the only
    /// one that is still good.
    async fn keep(&self, grant: Grant) -> Result<Tokens, SignInError> {
        let tokens = grant.into_tokens(self.authority, self.clock, None);
        let lock = self.vault.lock(self.clock).await?;
        self.vault.store(&tokens, &lock)?;
        self.authority.enough(&tokens)?;
        Ok(tokens)
    }
}

/// The secrets of one sign-in (RFC 7636).
struct Attempt {
    verifier: Secret<String>,
    state: String,
}

impl Attempt {
    fn new(random: [u8; 64]) -> Self {
        let (verifier, state) = random.split_at(48);
        Self { verifier: Secret::new(URL_SAFE_NO_PAD.encode(verifier)), state: URL_SAFE_NO_PAD.encode(state) }
    }

    fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.expose()))
    }
}

fn random() -> [u8; 64] {
    let mut bytes = [0; 64];
    getrandom::fill(&mut bytes).expect("invariant: Linux always has random bytes");
    bytes
}

#[derive(Serialize, Deserialize)]
struct Pending {
    verifier: String,
    state: String,
    started: i64,
}

/// What the service sends back through the browser.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Redirect {
    outcome: Outcome,
    state: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    Code(Secret<String>),
    Error { code: String, description: String },
}

impl Redirect {
    /// Reads a whole address, or the part of it from the path on, or only its query. The parameters may stand behind
    /// `?` or `#`, or some behind each. An error counts more than a code. `None` if neither is in it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_matches(['\'', '"', '<', '>']);
        let parameters = text.find(['?', '#']).map_or(text, |at| &text[at + 1..]);
        let get = |name: &str| {
            let pairs = parameters.split(['&', '#']).filter_map(|pair| pair.split_once('='));
            let value = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()?;
            let decoded = url::form_urlencoded::parse(format!("v={value}").as_bytes()).next()?.1.into_owned();
            (!decoded.is_empty()).then_some(decoded)
        };
        let outcome = match (get("code"), get("error")) {
            (Some(code), None) => Outcome::Code(Secret::new(code)),
            (_, Some(code)) => {
                let code = presentable(&code);
                let description =
                    presentable(&get("error_description").unwrap_or_else(|| "no reason given".to_owned()));
                Outcome::Error { code, description }
            }
            (None, None) => return None,
        };
        Some(Self { outcome, state: get("state") })
    }

    /// What it says, if it belongs to the sign-in of this state.
    pub(super) fn meant_for(self, state: &str, may_leave_out: bool) -> Result<Outcome, SignInError> {
        match self.state.as_deref() {
            Some(named) if named == state => Ok(self.outcome),
            None if may_leave_out => Ok(self.outcome),
            _ => Err(SignInError::OtherSignIn),
        }
    }
}

impl Outcome {
    fn into_code(self) -> Result<Secret<String>, SignInError> {
        match self {
            Outcome::Code(code) => Ok(code),
            Outcome::Error { code, description } => Err(SignInError::Declined { code, description }),
        }
    }
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any text as the address that a browser ended up at.
pub(crate) fn fuzz(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for state in ["S", "", "a b"] {
        let Some(redirect) = Redirect::parse(&text) else { continue };
        match redirect.meant_for(state, state.is_empty()).and_then(Outcome::into_code) {
            Ok(code) => assert!(!code.expose().is_empty()),
            Err(error) => assert!(!error.to_string().contains('\u{1b}')),
        }
    }
    let _ = serde_json::from_slice::<Pending>(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_the_one_of_the_standard() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
        let attempt = Attempt { verifier: Secret::new(verifier), state: String::new() };
        assert_eq!(attempt.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        let fresh = Attempt::new(random());
        assert_eq!(fresh.verifier.expose().len(), 64);
        assert_ne!(fresh.state, Attempt::new(random()).state);
    }

    #[test]
    fn an_address_is_read_however_it_was_copied() {
        for text in [
            "http://localhost:27419/?code=0.A%2Fb&state=S&session_state=x",
            "  'http://localhost:27419/?state=S&code=0.A%2Fb'\n",
            "http://localhost:27419/#code=0.A%2Fb&state=S",
            "/?code=0.A%2Fb&state=S",
            "code=0.A%2Fb&state=S",
            "http://localhost:27419/?code=0.A%2Fb&state=S#",
        ] {
            let read = Redirect::parse(text).expect(text).meant_for("S", false).expect(text);
            assert_eq!(read, Outcome::Code(Secret::new("0.A/b".to_owned())));
        }
        for text in ["", "yes", "http://localhost:27419/", "http://localhost:27419/?code=&state=S"] {
            assert_eq!(Redirect::parse(text), None, "{text}");
        }
        for text in ["?code=A", "?code=A&state=s", "?error=access_denied&state=T"] {
            let read = Redirect::parse(text).expect(text).meant_for("S", false);
            assert!(matches!(read, Err(SignInError::OtherSignIn)), "{text}");
        }
    }

    #[test]
    fn the_old_service_may_leave_the_state_out_but_not_change_it() {
        let read = |text: &str| Redirect::parse(text).expect(text).meant_for("S", true).and_then(Outcome::into_code);
        let page = "https://login.live.com/oauth20_desktop.srf";
        for text in ["?code=C&lc=1033", "?code=C&state=S&lc=1033", "#code=C", "?lc=1033#code=C&state=S"] {
            assert_eq!(read(&format!("{page}{text}")).expect(text).expose(), "C");
        }
        assert!(matches!(read(&format!("{page}?code=C&state=T")), Err(SignInError::OtherSignIn)));
        for text in [
            "?error=access_denied&code=C",
            "?lc=1033#error=access_denied&error_description=No",
            "?code=C#error=access_denied",
        ] {
            let error = read(&format!("{page}{text}")).expect_err(text);
            assert!(matches!(error, SignInError::Declined { code, .. } if code == "access_denied"), "{text}");
        }
    }

    #[test]
    fn a_refusal_is_not_a_code() {
        let redirect = Redirect::parse("/?error=access_denied&error_description=No+thanks&state=S").expect("read");
        let error = redirect.meant_for("S", false).and_then(Outcome::into_code).expect_err("refused");
        assert_eq!(error.to_string(), "the sign-in was refused: No thanks (access_denied)");
    }
}
