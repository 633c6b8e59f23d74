//! Which settings, whose folders: the arguments that all commands share, and what follows from them.
//!
//! Making a context reads the settings and creates nothing: a command that is refused leaves no trace.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::error::{CliError, Kind};
use crate::auth::{AuthError, Authority, Renewer, Vault};
use crate::base::clock::Clock;
use crate::config::paths::{Bases, Places};
use crate::config::{Config, Layers, lcrc};
use crate::drive::{self, Account, DriveError};

/// The arguments that choose settings and folders.
#[derive(Args, Clone, Debug, Default)]
pub struct Selection {
    /// The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml, if it exists). Its name is also the
    /// name of the profile: each settings file has its own sign-in, cache and queue
    #[arg(long, value_name = "FILE", env = "ONEDRIVE_MOUNT_CONFIG")]
    pub config: Option<PathBuf>,

    /// Where the sign-in, the queue of uploads and the log are kept (default: in $XDG_STATE_HOME)
    #[arg(long, value_name = "DIR", env = "ONEDRIVE_MOUNT_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// Where downloaded content is kept (default: in $XDG_CACHE_HOME)
    #[arg(long, value_name = "DIR", env = "ONEDRIVE_MOUNT_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,

    /// The registered application to sign in to (setting: client.id)
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,

    /// Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,

    /// Settings that an option of one command stands for: key, value, option.
    #[arg(skip)]
    pub overrides: Vec<Override>,
}

/// A setting that an option stands for: its key, its value, the option.
pub type Override = (&'static str, &'static str, &'static str);

/// What the arguments, the settings file and the environment amount to.
#[derive(Clone, Debug)]
pub struct Context {
    /// Every setting with its origin.
    pub layers: Layers,
    /// The settings.
    pub config: Config,
    /// The folders of the profile.
    pub places: Places,
}

impl Context {
    /// Reads the settings.
    ///
    /// # Errors
    /// The settings cannot be used, or there is no home folder and not everything is named.
    pub fn open(selection: &Selection) -> Result<Self, CliError> {
        let bases = Bases::of_user()?;
        let config = selection.config.as_deref().map(absolute).transpose()?;
        let state = selection.state_dir.as_deref().map(absolute).transpose()?;
        let cache = selection.cache_dir.as_deref().map(absolute).transpose()?;
        let named = config.is_some();
        let places = Places::new(&bases, config, state, cache);
        let layers = layers(selection, &places.settings, named)?;
        Ok(Self { config: layers.finish()?, layers, places })
    }

    /// The context of a demo at `mountpoint`: the settings apply, but nothing is shared with an account. The
    /// endpoints and the application follow when the emulator runs.
    ///
    /// # Errors
    /// As for [`Context::open`].
    pub fn demo(selection: &Selection, mountpoint: &Path) -> Result<Self, CliError> {
        let mut context = Self::open(selection)?;
        let state = selection.state_dir.as_deref().map(absolute).transpose()?;
        let cache = selection.cache_dir.as_deref().map(absolute).transpose()?;
        let settings = context.places.settings;
        context.places = Places { settings, ..Places::demo(&Bases::of_user()?, mountpoint, state, cache) };
        Ok(context)
    }

    /// The token file, or the settings file of python-onedrive if it is one.
    pub fn vault(&self) -> Vault {
        drive::vault(&self.config, &self.places)
    }

    /// The drive of these settings, with its sign-in. Touches no network.
    ///
    /// # Errors
    /// As [`Account::open`].
    pub fn account(&self) -> Result<Account, CliError> {
        let opened = Account::open(self.config.clone(), self.places.clone());
        opened.map_err(|error| match error {
            DriveError::Auth(error) => self.no_application(error),
            error => error.into(),
        })
    }

    /// Tokens that renew themselves.
    ///
    /// # Errors
    /// No application is known.
    pub fn tokens(&self, clock: Arc<dyn Clock>) -> Result<Renewer, CliError> {
        let authority = Authority::from_config(&self.config).map_err(|error| self.no_application(error))?;
        Ok(Renewer::new(authority, self.vault(), clock))
    }

    /// Says where the settings of python-onedrive are, to who has those and none of ours: that program read them without
    /// being told to.
    fn no_application(&self, error: AuthError) -> CliError {
        let is_unknown = matches!(error, AuthError::NoClientId);
        let failure = CliError::from(error);
        if is_unknown && !self.places.settings.exists() && lcrc::usual_file().is_some() {
            return failure.hint("to use the settings of python-onedrive: onedrive-cli -c ~/.lcrc COMMAND").hint(
                "Microsoft has switched its old service off; how to go on with it: docs/moving-from-python-onedrive.md",
            );
        }
        failure
    }
}

fn layers(selection: &Selection, settings: &Path, named: bool) -> Result<Layers, CliError> {
    let mut layers = Layers::built_in().file(settings, named)?.environment(|variable| std::env::var(variable).ok())?;
    for (key, value, flag) in
        [("client.id", &selection.client_id, "--client-id"), ("tenant", &selection.tenant, "--tenant")]
    {
        if let Some(value) = value {
            layers = layers.flag(key, value, flag)?;
        }
    }
    for (key, value, flag) in &selection.overrides {
        layers = layers.flag(key, value, flag)?;
    }
    Ok(layers)
}

/// A path that means the same after the daemon has left the current folder.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path)
        .map_err(|error| CliError::new(Kind::Usage, format!("cannot use the path {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(folder: &Path, settings: &str) -> Selection {
        let config = folder.join("work.yaml");
        std::fs::write(&config, settings).expect("written");
        Selection {
            config: Some(config),
            state_dir: Some(folder.join("state")),
            cache_dir: Some(folder.join("cache")),
            ..Selection::default()
        }
    }

    #[test]
    fn flags_win_and_nothing_is_created() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut selection = select(folder.path(), "tenant: consumers\nclient.id: from-file\n");
        selection.client_id = Some("from-flag".to_owned());
        let context = Context::open(&selection).expect("valid");
        assert_eq!(context.config.client.id.as_deref(), Some("from-flag"));
        assert_eq!(context.config.tenant, "consumers");
        assert_eq!(context.places.profile, "work");
        assert!(!folder.path().join("state").exists() && !folder.path().join("cache").exists());
    }

    #[test]
    fn a_mistake_in_the_settings_has_its_own_exit_code() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = Context::open(&select(folder.path(), "tenant: a/b")).expect_err("refused");
        assert_eq!(error.kind, Kind::Settings);
        let mut selection = select(folder.path(), "");
        selection.config = Some(folder.path().join("missing.yaml"));
        assert_eq!(Context::open(&selection).expect_err("named but missing").kind, Kind::Settings);
    }

    #[test]
    fn a_demo_shares_no_folder_with_the_account() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut selection = select(folder.path(), "");
        selection.state_dir = None;
        let account = Context::open(&selection).expect("valid");
        let demo = Context::demo(&selection, Path::new("/m")).expect("valid");
        assert_ne!(demo.places.state, account.places.state);
        assert_ne!(demo.places.control_sockets(), account.places.control_sockets());
    }
}
