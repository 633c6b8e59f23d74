//! The options that every command of `onedrive-cli` takes, before or after its name.

use std::path::PathBuf;

use clap::Args;

use super::context::{Override, Selection};

/// Options of every command. `-p` and `-i` stand before the command, because some commands have a `-p` of their own.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in
    #[arg(short, long, global = true, value_name = "FILE", env = "ONEDRIVE_MOUNT_CONFIG")]
    pub config: Option<PathBuf>,

    /// Where the sign-in is kept (default: in $XDG_STATE_HOME)
    #[arg(long, global = true, value_name = "DIR", env = "ONEDRIVE_MOUNT_STATE_DIR", hide_env = true)]
    pub state_dir: Option<PathBuf>,

    /// The registered application to sign in to (setting: client.id)
    #[arg(long, global = true, value_name = "ID")]
    pub client_id: Option<String>,

    /// Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)
    #[arg(long, global = true, value_name = "TENANT")]
    pub tenant: Option<String>,

    /// OBJECT and FOLDER are always paths, never ids (before the command)
    #[arg(short, long, conflicts_with = "id")]
    pub path: bool,

    /// OBJECT and FOLDER are always ids, never paths (before the command)
    #[arg(short, long)]
    pub id: bool,

    /// Selects a part of each printed object.
    // The help holds brackets, which documentation takes for links.
    #[arg(
        short = 'k',
        long,
        global = true,
        value_name = "KEY",
        help = "Print only this key of each object, or a template such as '{0[id]} {0[name]}'; objects without it are \
                left out"
    )]
    pub object_key: Option<String>,

    /// The encoding of names on the command line and in the output; detect guesses the one of the command line
    #[arg(short, long, global = true, value_name = "NAME", default_value = "utf-8", hide_default_value = true)]
    pub encoding: String,

    /// Print results as JSON, one value a line
    #[arg(long, global = true)]
    pub json: bool,

    /// Say nothing but results and errors: no progress, no remarks
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// Say on standard error what goes on, and print results that are usually not printed
    #[arg(long, global = true)]
    pub debug: bool,

    /// Settings that options of the command stand for.
    #[arg(skip)]
    pub overrides: Vec<Override>,
}

/// The option of every command that changes something.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Dry {
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
}

impl Global {
    /// What of it chooses settings and folders.
    pub fn selection(&self) -> Selection {
        Selection {
            config: self.config.clone(),
            state_dir: self.state_dir.clone(),
            cache_dir: None,
            client_id: self.client_id.clone(),
            tenant: self.tenant.clone(),
            overrides: self.overrides.clone(),
        }
    }

    /// How verbose to be.
    pub fn log_level(&self) -> &'static str {
        match (self.debug, self.quiet) {
            (true, _) => "debug",
            (false, true) => "error",
            (false, false) => "warn",
        }
    }
}
