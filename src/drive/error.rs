//! What can go wrong between a person's files here and there, in sentences that name the file.

use std::io;
use std::path::PathBuf;

use super::target::View;
use crate::auth::AuthError;
use crate::auth::flow::SignInError;
use crate::base::name::tamed;
use crate::config::ConfigError;
use crate::config::paths::NoHome;
use crate::remote::{Advice, Item, RemoteError, RemoteErrorKind};

/// The result of what a [`super::Drive`] or an [`super::Account`] does.
pub type DriveResult<T> = Result<T, DriveError>;

/// Why something could not be done. No variant carries a secret; names in the sentences are fit for a terminal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriveError {
    /// A path leads nowhere.
    #[error(
        "there is no \"{}\"{}",
        tamed(missing),
        if missing == wanted { String::new() } else { format!(" (looking for \"{}\")", tamed(wanted)) }
    )]
    NoSuchPath {
        /// The part of it up to the first name that is not there.
        missing: String,
        /// The whole path.
        wanted: String,
    },
    /// No object has this id.
    #[error("there is no object with the id \"{}\"", tamed(.0))]
    NoSuchId(String),
    /// An object is needed.
    #[error("{} is no object", .0.path())]
    NoObject(View),
    /// A folder is needed.
    #[error("{} is not a folder", shown(.0))]
    NotAFolder(Box<Item>),
    /// A folder of this name is needed, and something else has it.
    #[error("\"{}\" in {} is not a folder", tamed(name), shown(folder))]
    NoFolderOfThatName {
        /// The name.
        name: String,
        /// The folder that it is in.
        folder: Box<Item>,
    },
    /// A file with content is needed.
    #[error("\"{}\" is not a file", tamed(&.0.name))]
    NotAFile(Box<Item>),
    /// The service shows it and does not give its content out.
    #[error("{}: the service does not give its content out", shown(.0))]
    NoContent(Box<Item>),
    /// A folder has the name that a file is to get.
    #[error("there is a folder called \"{}\" already", tamed(.0))]
    FolderInTheWay(String),
    /// The name is taken.
    #[error("there is already a \"{}\" in {}", tamed(name), shown(folder))]
    Exists {
        /// The name.
        name: String,
        /// The folder.
        folder: Box<Item>,
    },
    /// The root folder can neither be moved nor deleted.
    #[error("the root folder {}", if *moved { "stays where it is" } else { "cannot be deleted" })]
    Root {
        /// It was to be moved or renamed; otherwise deleted.
        moved: bool,
    },
    /// A name of the cloud that no local file can have.
    #[error("\"{}\" cannot be the name of a local file", tamed(.0))]
    NoLocalName(String),
    /// The name of a local file is not UTF-8.
    #[error("the name of {} is not UTF-8", tamed(&.0.display().to_string()))]
    NotText(PathBuf),
    /// A local path has no name that a file could have.
    #[error("{} has no name", tamed(&.0.display().to_string()))]
    NoName(PathBuf),
    /// Two local names that the service does not tell apart.
    #[error(
        "{} is left out: to the service its name is that of {}",
        tamed(&path.display().to_string()),
        tamed(&kept.display().to_string())
    )]
    OneName {
        /// What is not sent, nor what is below it.
        path: PathBuf,
        /// What has the name instead.
        kept: PathBuf,
    },
    /// A local file or folder cannot be used.
    #[error("cannot {action} {}: {source}", tamed(&path.display().to_string()))]
    Local {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Content cannot be handed on.
    #[error("cannot write the content: {0}")]
    Sink(io::Error),
    /// A local file is needed.
    #[error("{} is not a file", tamed(&.0.display().to_string()))]
    LocalNotAFile(PathBuf),
    /// A folder lies where a local file is to be written.
    #[error("{} is a folder", tamed(&.0.display().to_string()))]
    LocalFolder(PathBuf),
    /// The local file was changed while it was sent.
    #[error("{} was changed while it was sent", tamed(&path.display().to_string()))]
    LocalChanged {
        /// The file.
        path: PathBuf,
        /// What arrived is visible in the cloud, and may be half old and half new; otherwise nothing was changed there.
        visible: bool,
    },
    /// Another process is fetching the same file.
    #[error("another onedrive-cli is fetching {}", tamed(&.0.display().to_string()))]
    Busy(PathBuf),
    /// The upload was lost by the service again and again.
    #[error("the service keeps forgetting the upload")]
    Forgotten,
    /// A listing that repeats itself.
    #[error("the listing has no end")]
    Endless,
    /// The cloud.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The sign-in.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Signing in.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// The settings.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// There is no home folder.
    #[error(transparent)]
    NoHome(#[from] NoHome),
}

impl DriveError {
    /// A failure of this machine's files.
    pub fn local(action: &'static str, path: &std::path::Path, source: io::Error) -> Self {
        Self::Local { action, path: path.to_owned(), source }
    }

    /// Whether the same may work later without anybody doing more than waiting, or signing in again.
    pub fn passes(&self) -> bool {
        match self {
            Self::Remote(error) => {
                let by_itself = matches!(
                    error.kind,
                    RemoteErrorKind::Offline | RemoteErrorKind::Throttled | RemoteErrorKind::Unavailable
                );
                by_itself || error.kind == RemoteErrorKind::SignedOut || error.advice == Advice::Refresh
            }
            Self::Auth(_) => true,
            _ => false,
        }
    }

    /// The kind, if the cloud said no.
    pub fn remote_kind(&self) -> Option<RemoteErrorKind> {
        match self {
            Self::Remote(error) => Some(error.kind),
            _ => None,
        }
    }
}

/// An object's name in a sentence.
pub fn shown(item: &Item) -> String {
    if item.parent.is_none() { "the root folder".to_owned() } else { format!("\"{}\"", tamed(&item.name)) }
}
