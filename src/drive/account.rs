//! The whole way from a settings file to a drive: settings, a sign-in that renews itself and is stored, a remote.
//!
//! Several programs may have the same account open at once, a mount among them: they renew one sign-in through one
//! locked file, and none signs another out.

use std::path::Path;
use std::sync::Arc;

use super::{Drive, DriveResult, How, Ids};
use crate::auth::flow::{Dialogue, Method, SignIn};
use crate::auth::{Authority, Renewer, TokenSource as _, Tokens, Vault};
use crate::base::clock::{Clock, SystemClock};
use crate::config::paths::{Bases, Places};
use crate::config::{Config, Layers, Protocol};
use crate::remote::http::system_entropy;
use crate::remote::stack::{self, RemoteOptions};

/// A drive with the settings and the sign-in that belong to it.
///
/// ```
/// # #[cfg(feature = "demo")]
/// # #[tokio::main(flavor = "multi_thread", worker_threads = 2)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use onedrive_mount::emulator::{Content, Emulator, Options};
/// # let service = Emulator::start(Options { content: Content::DemoHome, ..Options::default() }).await?;
/// # service.oauth().set_auto_approve(true);
/// # let here = tempfile::tempdir()?;
/// # let file = here.path().join("work.yaml");
/// # let origin = service.endpoints().graph;
/// # std::fs::write(&file, format!("client.id: test\nendpoints:\n  graph: {origin}\n  login: {origin}\n"))?;
/// use onedrive_mount::config::Layers;
/// use onedrive_mount::config::paths::{Bases, Places};
/// use onedrive_mount::drive::{Account, How};
///
/// # let bases = Bases {
/// #     config: here.path().into(), state: here.path().join("s"), cache: here.path().join("c"), runtime: here.path().into(),
/// # };
/// // Account::from_config(Some(&file)) does the same with the folders of the user.
/// let config = Layers::built_in().file(&file, true)?.finish()?;
/// let account = Account::open(config, Places::new(&bases, Some(file), None, None))?;
/// # let issued = service.oauth().issue_tokens();
/// # store(&account, issued.access, issued.refresh).await?;
/// account.refresh().await?;
/// let folder = account.drive.root().await?;
/// let sent = account.drive.upload_from(&mut &b"hello"[..], &folder, "hello.txt", &account.how(), &|_| {}).await?;
/// assert_eq!(sent.item().size, 5);
/// account.close().await;
/// # Ok(())
/// # }
/// # #[cfg(feature = "demo")]
/// # async fn store(
/// #     account: &onedrive_mount::drive::Account, access: String, refresh: String,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// #     use onedrive_mount::auth::Tokens;
/// #     use onedrive_mount::base::{clock::{Clock, SystemClock}, secret::Secret};
/// #     let (clock, lifetime) = (SystemClock::new(), std::time::Duration::from_secs(3600));
/// #     let tokens = Tokens {
/// #         access: Secret::new(access), refresh: Some(Secret::new(refresh)), expires: clock.now().plus(lifetime),
/// #         lifetime, scope: String::new(), identity: account.authority.identity(),
/// #     };
/// #     let lock = account.vault.lock(&clock).await?;
/// #     Ok(account.vault.store(&tokens, &lock)?)
/// # }
/// # #[cfg(not(feature = "demo"))]
/// # fn main() {}
/// ```
pub struct Account {
    /// The settings.
    pub config: Config,
    /// The folders that belong to the account.
    pub places: Places,
    /// The sign-in service, as the application of the settings sees it.
    pub authority: Authority,
    /// Where the sign-in is stored.
    pub vault: Vault,
    /// Access tokens, renewed when needed and stored before they are used.
    pub tokens: Renewer,
    /// The drive.
    pub drive: Drive,
}

impl Account {
    /// The account of a settings file: one of this program, or one of python-onedrive (`~/.lcrc`), which holds the
    /// sign-in too. `None` is the usual file, which need not exist. Environment variables count, as for the programs.
    /// Touches no network.
    ///
    /// # Errors
    /// The settings cannot be used, or name no application.
    pub fn from_config(file: Option<&Path>) -> DriveResult<Self> {
        let places = Places::new(&Bases::of_user()?, file.map(Path::to_owned), None, None);
        let layers = Layers::built_in().file(&places.settings, file.is_some())?;
        let layers = layers.environment(|variable| std::env::var(variable).ok())?;
        Self::open(layers.finish()?, places)
    }

    /// The account of these settings, in these folders. Touches no network.
    ///
    /// # Errors
    /// The settings name no application; a service that this build does not speak to.
    pub fn open(config: Config, places: Places) -> DriveResult<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let authority = Authority::from_config(&config)?;
        let vault = vault(&config, &places);
        let tokens = Renewer::new(authority.clone(), vault.clone(), clock.clone());
        let opened =
            stack::open(&RemoteOptions::of(&config), Arc::new(tokens.clone()), clock.clone(), system_entropy())?;
        let ids = match config.protocol {
            Protocol::Graph => Ids::Graph,
            Protocol::Live => Ids::Live,
        };
        let drive = Drive::new(&opened, clock, ids).remembering(places.state.join("uploads"), places.cache.clone());
        Ok(Self { config, places, authority, vault, tokens, drive })
    }

    /// How the settings say that files are sent.
    pub fn how(&self) -> How {
        let fragment = match self.config.protocol {
            Protocol::Graph => self.config.upload.fragment_size,
            Protocol::Live => self.config.live.bits_fragment,
        };
        How { fragment, ..How::default() }
    }

    /// Signs a person in. Durable on return; a sign-in that was stored before is replaced, whoever's it was.
    ///
    /// # Errors
    /// The sign-in failed; an earlier one still stands.
    pub async fn sign_in(&self, method: Method, person: &mut dyn Dialogue) -> DriveResult<Tokens> {
        Ok(self.begun().run(method, person).await?)
    }

    /// Finishes a sign-in with the address that the browser ended up at.
    ///
    /// # Errors
    /// As for [`Account::sign_in`].
    pub async fn finish_sign_in(&self, address: &str) -> DriveResult<Tokens> {
        Ok(self.begun().finish(address).await?)
    }

    fn begun(&self) -> SignIn<'_> {
        let pending = self.places.pending_sign_in();
        SignIn { authority: &self.authority, vault: &self.vault, pending, clock: &*self.drive.clock }
    }

    /// Gets a new access token now, whether the old one is still good or not, and returns what was granted. It is stored
    /// on return, for other processes too.
    ///
    /// # Errors
    /// Nobody is signed in, the service refuses, or it cannot be reached.
    pub async fn refresh(&self) -> DriveResult<Vec<String>> {
        let current = self.tokens.token().await?;
        self.tokens.renew(&current).await?;
        let scope = self.tokens.granted().await?;
        Ok(scope.split_whitespace().map(str::to_owned).collect())
    }

    /// Completes when nothing is under way that must not be broken off: an answer that nobody reads may hold the only
    /// refresh token that is still good. To be awaited before the runtime ends.
    pub async fn close(self) {
        self.tokens.settled().await;
    }
}

/// Where the sign-in of these settings is stored: in a file of its own, or in the settings file of python-onedrive.
pub fn vault(config: &Config, places: &Places) -> Vault {
    match &config.lcrc {
        Some(file) => Vault::in_lcrc(file.clone(), Authority::identity_of(config)),
        None => Vault::new(places.token_file()),
    }
}
