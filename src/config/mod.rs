//! What the user may set, and how a mistake in it is told.
//!
//! Four places can give a value: the built-in text `defaults.yaml`, the settings file, the environment and the command
//! line; the later wins. Every value, wherever it comes from, is a text that passes through the same reader of its
//! key, so a bad one is refused in the same words, with its key, itself and the place where it stands. A [`Config`]
//! exists only complete and checked; nothing after this module checks a setting again.

mod layers;
pub mod lcrc;
pub mod paths;
mod read;
pub mod size;
mod yaml;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::base::ids::DriveId;
use crate::base::secret::Secret;

pub use layers::{Layers, Setting};
pub use lcrc::Lcrc;
pub use size::Amount;

/// Every key with its explanation and its built-in value: the one place where defaults are written down.
pub const DEFAULTS: &str = include_str!("defaults.yaml");

/// The number of bytes of which every upload fragment must be a multiple.
///
/// Source: <https://learn.microsoft.com/graph/api/driveitem-createuploadsession>.
pub const FRAGMENT_STEP: u64 = 320 * 1024;

/// The number of bytes below which every upload fragment must stay. Same source as [`FRAGMENT_STEP`].
pub const FRAGMENT_LIMIT: u64 = 60 * 1024 * 1024;

/// The largest content that Live v5.0 takes with one request, in bytes. More goes by BITS.
///
/// Source: the vendor's description of the REST API ("100 MB per request"), as quoted in
/// <https://github.com/mk-fg/python-onedrive>, which stays below it by 5 %.
pub const PUT_LIMIT: u64 = 100_000_000;

/// The longest fragment that we send by BITS, in bytes. No limit of the old service is documented; this is the one of
/// its successor ([`FRAGMENT_LIMIT`]).
pub const BITS_FRAGMENT_LIMIT: u64 = FRAGMENT_LIMIT;

/// What stands for the number of the account in `endpoints.bits`.
pub const CID: &str = "{cid}";

/// All settings, complete and checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The registered application.
    pub client: Client,
    /// The language spoken with the service.
    pub protocol: Protocol,
    /// Which of Microsoft's clouds.
    pub cloud: Cloud,
    /// `common`, `consumers`, `organizations`, or an organisation's id or domain.
    pub tenant: String,
    /// Which drive to show.
    pub drive: Drive,
    /// Replacements for the hosts of the cloud. Use [`Config::graph_url`], [`Config::login_url`], [`Config::live_url`] and
    /// [`Config::bits_url`].
    pub endpoints: Endpoints,
    /// What concerns [`Protocol::Live`] only.
    pub live: Live,
    /// How long the network may do nothing.
    pub network: Network,
    /// What `close` promises.
    pub durability: Durability,
    /// Limits of the chunk cache.
    pub cache: CacheLimits,
    /// How often to ask for changes; 100 ms to a day.
    pub poll_interval: Duration,
    /// How files are sent.
    pub upload: Upload,
    /// When many deletions and overwrites are held.
    pub guard: Guard,
    /// Whether the desktop tells the user what only they can help with.
    pub notifications: bool,
    /// Permission bits to take away, 0 to 0o777.
    pub umask: u32,
    /// The owner of every file.
    pub uid: u32,
    /// The group of every file.
    pub gid: u32,
    /// The settings file is one of python-onedrive, which holds the sign-in too.
    pub lcrc: Option<Lcrc>,
}

/// The application that a person signs in to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// Its id, unless neither the settings nor the build brought one.
    pub id: Option<String>,
    /// Its secret; desktop applications have none.
    pub secret: Option<Secret<String>>,
    /// With [`Protocol::Live`], the redirect URL of an application for the web; `None` for one for desktops.
    pub redirect: Option<Url>,
}

/// The language spoken with the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// Microsoft Graph v1.0.
    Graph,
    /// Live Connect v5.0.
    Live,
}

/// One of the separate worlds in which Microsoft runs the service. Accounts and applications do not cross over.
///
/// Source of the hosts: <https://learn.microsoft.com/graph/deployments>.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cloud {
    /// Everybody, including US GCC.
    Global,
    /// US Government L4 (GCC High).
    UsGov,
    /// US Government L5 (DoD).
    UsDod,
    /// China, run by 21Vianet.
    China,
}

impl Cloud {
    /// The host of Microsoft Graph, without a path.
    pub fn graph_host(self) -> &'static str {
        match self {
            Cloud::Global => "https://graph.microsoft.com",
            Cloud::UsGov => "https://graph.microsoft.us",
            Cloud::UsDod => "https://dod-graph.microsoft.us",
            Cloud::China => "https://microsoftgraph.chinacloudapi.cn",
        }
    }

    /// The host where people sign in, without a path.
    pub fn login_host(self) -> &'static str {
        match self {
            Cloud::Global => "https://login.microsoftonline.com",
            Cloud::UsGov | Cloud::UsDod => "https://login.microsoftonline.us",
            Cloud::China => "https://login.chinacloudapi.cn",
        }
    }
}

/// Which drive to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Drive {
    /// The default drive of the person who signed in.
    Me,
    /// A drive by id.
    Id(DriveId),
}

/// Base URLs that replace the hosts of the cloud; https, or http on loopback.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoints {
    /// Instead of the Graph host; without a version.
    pub graph: Option<Url>,
    /// Instead of the sign-in host; without a tenant.
    pub login: Option<Url>,
    /// Instead of the host of Live v5.0; without a version.
    pub live: Option<Url>,
    /// Instead of the hosts of BITS; [`CID`] in it stands for the number of the account. No trailing slash.
    pub bits: Option<String>,
}

/// How long the network may do nothing; a second to ten minutes each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// To establish a connection.
    pub connect_timeout: Duration,
    /// Between two pieces of a transfer.
    pub idle_timeout: Duration,
}

/// What concerns Live v5.0 only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Live {
    /// From so many bytes on a file goes by BITS; 1 to [`PUT_LIMIT`].
    pub put_limit: u64,
    /// Bytes per BITS request; 1 to [`BITS_FRAGMENT_LIMIT`].
    pub bits_fragment: u64,
    /// Whether the sign-in is renewed before every commit of a BITS upload.
    pub refresh_before_commit: bool,
}

/// What `close` promises about written bytes. `fsync` promises at least [`Durability::Strict`] in every case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// They survive the death of the daemon at once and a power cut within a second.
    Local,
    /// They survive a power cut.
    Strict,
    /// They are in the cloud.
    Remote,
}

/// Limits of the chunk cache, both in force at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheLimits {
    /// The most that clean bytes may take.
    pub max_size: Amount,
    /// What stays free on the disk.
    pub min_free: Amount,
}

/// How files are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Upload {
    /// Files sent at the same time, 1 to 32.
    pub concurrency: usize,
    /// Bytes per request of an upload session: a multiple of [`FRAGMENT_STEP`] below [`FRAGMENT_LIMIT`].
    pub fragment_size: u64,
    /// How long a file rests after its last close; at most an hour.
    pub debounce: Duration,
}

/// When many deletions and overwrites by one process are held until the user says that they were meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guard {
    /// So many files and folders may go or be replaced within the window; 0 never holds anything.
    pub burst: usize,
    /// The window; a second to a day.
    pub window: Duration,
}

impl Config {
    /// The base URL of the Graph service, without a trailing slash and without a version.
    pub fn graph_url(&self) -> String {
        base_url(self.endpoints.graph.as_ref(), self.cloud.graph_host())
    }

    /// The base URL of the sign-in service, without a trailing slash and without a tenant.
    pub fn login_url(&self) -> String {
        let host = match self.protocol {
            Protocol::Graph => self.cloud.login_host(),
            Protocol::Live => "https://login.live.com",
        };
        base_url(self.endpoints.login.as_ref(), host)
    }

    /// The base URL of Live v5.0, without a trailing slash and without a version.
    pub fn live_url(&self) -> String {
        base_url(self.endpoints.live.as_ref(), "https://apis.live.net")
    }

    /// The base URL of BITS, without a trailing slash; [`CID`] in it stands for the number of the account.
    pub fn bits_url(&self) -> String {
        self.endpoints.bits.clone().unwrap_or_else(|| format!("https://cid-{CID}.users.storage.live.com"))
    }

    /// The base URL of the service that the protocol speaks to, without a trailing slash and without a version.
    pub fn service_url(&self) -> String {
        match self.protocol {
            Protocol::Graph => self.graph_url(),
            Protocol::Live => self.live_url(),
        }
    }
}

fn base_url(replacement: Option<&Url>, host: &str) -> String {
    replacement.map_or_else(|| host.to_owned(), |url| url.as_str().trim_end_matches('/').to_owned())
}

/// Where a value was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// In [`DEFAULTS`].
    Default,
    /// At build time, by the packager.
    Build,
    /// In a settings file, on a line counted from 1.
    File(PathBuf, usize),
    /// In the environment variable of this name.
    Environment(String),
    /// On the command line, by this flag.
    Flag(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Default => f.write_str("built-in default"),
            Origin::Build => f.write_str("built in by the packager"),
            Origin::File(path, line) => write!(f, "{}, line {line}", path.display()),
            Origin::Environment(name) => write!(f, "environment variable {name}"),
            Origin::Flag(name) => write!(f, "command line, {name}"),
        }
    }
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the settings file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not YAML, or not keys with one value each.
    #[error("{}{}: {reason}", path.display(), line.map(|n| format!(", line {n}")).unwrap_or_default())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, from 1, if it can be told.
        line: Option<usize>,
        /// What is wrong there.
        reason: String,
    },
    /// No setting has this name.
    #[error("{origin}: there is no setting `{key}` (its value is \"{value}\"){}", suggestion(nearest.as_deref()))]
    UnknownKey {
        /// The full name, with dots.
        key: String,
        /// What it was to be set to.
        value: String,
        /// Where it stands.
        origin: Origin,
        /// A setting with a similar name.
        nearest: Option<String>,
    },
    /// A setting cannot have this value.
    #[error("{origin}: `{key}` cannot be \"{value}\": {reason}")]
    BadValue {
        /// The full name, with dots.
        key: String,
        /// The value; stars for a secret.
        value: String,
        /// Where it stands.
        origin: Origin,
        /// What would be right.
        reason: String,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}
