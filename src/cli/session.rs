//! One command's conversation with the cloud: opened when it is needed, with the sign-in that a mount of the same
//! account uses too.
//!
//! A running mount and a command never fight: both renew their tokens through the same locked file, and whatever a
//! command changes reaches the mount as every other change made elsewhere does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::OnceCell;

use super::context::Context;
use super::error::{CliError, Kind};
use super::object;
use super::options::Global;
use super::print::{Output, tamed};
use super::target::{self, Meaning, Taken, meaning};
use crate::auth::Renewer;
use crate::base::clock::{Clock, SystemClock};
use crate::base::ids::ItemId;
use crate::config::{Drive, Protocol};
use crate::daemon::DaemonError;
use crate::remote::extras::Seen;
use crate::remote::graph::DriveChoice;
use crate::remote::http::system_entropy;
use crate::remote::stack::{self, RemoteOptions};
use crate::remote::{
    Advice, At, DriveIdentity, Extras, Item, ItemKind, Link, RemoteErrorKind, RemoteResult, SharedRemote, list_all,
};

/// An open drive, and how to talk to the user.
pub struct Session {
    /// Settings and folders.
    pub context: Context,
    /// The drive.
    pub remote: SharedRemote,
    /// What it can do beyond a file system.
    pub extras: Arc<dyn Extras>,
    /// Where results go.
    pub out: Output,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The sign-in.
    pub tokens: Renewer,
    taken: Taken,
    identity: OnceCell<DriveIdentity>,
}

impl Session {
    /// Opens the drive. Touches no network.
    ///
    /// # Errors
    /// Options or settings that cannot be used, or no known application.
    pub fn open(global: &Global) -> Result<Self, CliError> {
        let out = Output::new(global)?;
        let context = Context::open(&global.selection())?;
        if context.config.protocol != Protocol::Graph {
            return Err(DaemonError::Protocol.into());
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let tokens = context.tokens(clock.clone())?;
        let mut options = RemoteOptions::new(context.config.graph_url());
        options.fragment = Some(context.config.upload.fragment_size);
        if let Drive::Id(id) = &context.config.drive {
            options.drive = DriveChoice::Id(id.as_str().to_owned());
        }
        let opened = stack::open(&options, Arc::new(tokens.clone()), clock.clone(), system_entropy())?;
        let taken = match (global.path, global.id) {
            (true, _) => Taken::Paths,
            (_, true) => Taken::Ids,
            _ => Taken::Guess,
        };
        let (remote, extras) = (opened.remote, opened.extras);
        Ok(Self { context, remote, extras, out, clock, tokens, taken, identity: OnceCell::new() })
    }

    /// Completes when nothing is under way that must not be broken off: an answer that nobody reads may hold the only
    /// refresh token that is still good, and a mount needs it too.
    pub async fn close(self) {
        self.tokens.settled().await;
    }

    /// Which drive this is; asked once.
    ///
    /// # Errors
    /// As [`crate::remote::Remote::identity`].
    pub async fn identity(&self) -> Result<&DriveIdentity, CliError> {
        Ok(self.identity.get_or_try_init(|| self.remote.identity()).await?)
    }

    /// The object that an argument means; no argument means the root.
    ///
    /// # Errors
    /// [`Kind::NotFound`], with the part of the path that is missing.
    pub async fn find(&self, argument: Option<&str>) -> Result<Item, CliError> {
        let argument = argument.unwrap_or("");
        let missing = |sentence: String| CliError::new(Kind::NotFound, sentence);
        let (start, names) = match meaning(argument, self.taken) {
            Meaning::Root => (self.root().await?, Vec::new()),
            Meaning::Id(id) => return self.find_id(&id).await,
            Meaning::Names { special: None, names } => (self.root().await?, names),
            Meaning::Names { special: Some(special), names } => {
                (self.ask(async |extras| extras.special(special).await).await?, names)
            }
        };
        let mut found = start;
        for (depth, name) in names.iter().enumerate() {
            let folder = found.link_to.as_ref().unwrap_or(&found.id).clone();
            found = self.remote.stat(At::Child(&folder, name)).await.map_err(|error| match error.kind {
                RemoteErrorKind::NotFound => missing(format!(
                    "there is no \"{}\"{}",
                    tamed(&names[..=depth].join("/")),
                    if depth + 1 < names.len() {
                        format!(" (looking for \"{}\")", tamed(argument))
                    } else {
                        String::new()
                    }
                )),
                _ => error.into(),
            })?;
        }
        Ok(found)
    }

    /// The folder that an argument means.
    ///
    /// # Errors
    /// As [`Session::find`]; [`Kind::WrongType`] if it is no folder.
    pub async fn find_folder(&self, argument: Option<&str>) -> Result<Item, CliError> {
        let found = self.find(argument).await?;
        if is_folder(&found) {
            return Ok(found);
        }
        Err(CliError::new(Kind::WrongType, format!("{} is not a folder", shown(&found))))
    }

    /// The root folder.
    ///
    /// # Errors
    /// As every call to the cloud.
    pub async fn root(&self) -> Result<Item, CliError> {
        let id = self.identity().await?.root.clone();
        Ok(self.remote.stat(At::Id(&id)).await?)
    }

    async fn find_id(&self, id: &str) -> Result<Item, CliError> {
        let identity = self.identity().await?;
        let id = match self.context.config.protocol {
            Protocol::Graph => target::on_graph(id),
            Protocol::Live => Some(id.to_owned()),
        };
        let id = id.map_or_else(|| identity.root.clone(), |id| ItemId::new(&identity.drive, id));
        self.remote.stat(At::Id(&id)).await.map_err(|error| match error.kind {
            RemoteErrorKind::NotFound => {
                CliError::new(Kind::NotFound, format!("there is no object with the id \"{}\"", tamed(&id.id)))
                    .hint("if it is a name: onedrive-cli -p COMMAND ...")
            }
            _ => error.into(),
        })
    }

    /// A folder's children in the order of their names' code points, duplicates kept. `whole` asks for everything that
    /// is known of each; else it is what the file system needs.
    ///
    /// # Errors
    /// As every call to the cloud.
    pub async fn children(&self, folder: &Item, whole: bool) -> Result<Vec<Seen>, CliError> {
        let id = folder.link_to.as_ref().unwrap_or(&folder.id);
        let mut found = if whole {
            self.look_into(id).await?
        } else {
            let items = list_all(&*self.remote, id).await?;
            items.into_iter().map(|item| Seen { object: object::of_item(&item), item }).collect()
        };
        found.sort_by(|a, b| a.item.name.cmp(&b.item.name).then_with(|| a.item.id.cmp(&b.item.id)));
        Ok(found)
    }

    async fn look_into(&self, folder: &ItemId) -> Result<Vec<Seen>, CliError> {
        const MAX_PAGES: usize = 20_000;
        let (mut found, mut from) = (HashMap::new(), None::<Link>);
        for _ in 0..MAX_PAGES {
            let page = self.ask(async |extras| extras.look_into(folder, from.as_ref()).await).await?;
            found.extend(page.items.into_iter().map(|seen| (seen.item.id.clone(), seen)));
            from = page.next;
            if from.is_none() {
                return Ok(found.into_values().collect());
            }
        }
        Err(CliError::new(Kind::Other, "the listing has no end"))
    }

    /// Asks for something that is harmless to ask for again: does so a few times if the service has a bad moment.
    ///
    /// # Errors
    /// As every call to the cloud.
    pub async fn ask<T>(&self, call: impl AsyncFn(&dyn Extras) -> RemoteResult<T>) -> Result<T, CliError> {
        const TRIES: u32 = 4;
        const LONGEST: Duration = Duration::from_secs(30);
        let mut pause = Duration::from_millis(500);
        for _ in 1..TRIES {
            match call(&*self.extras).await {
                Ok(found) => return Ok(found),
                Err(error) => match error.advice {
                    Advice::Retry | Advice::VerifyThenRetry if error.kind != RemoteErrorKind::Offline => {
                        self.clock.sleep(pause).await;
                        pause *= 2;
                    }
                    Advice::RetryAfter(wait) if wait <= LONGEST => self.clock.sleep(wait).await,
                    _ => return Err(error.into()),
                },
            }
        }
        Ok(call(&*self.extras).await?)
    }

    /// The object as it is printed after a change: what the answer to the change told of it.
    pub fn object(&self, item: &Item) -> Value {
        object::of_item(item)
    }
}

/// Whether an object has children that can be listed.
pub fn is_folder(item: &Item) -> bool {
    item.kind == ItemKind::Folder || item.link_to.is_some()
}

/// An object's name in a sentence.
pub fn shown(item: &Item) -> String {
    if item.parent.is_none() { "the root folder".to_owned() } else { format!("\"{}\"", tamed(&item.name)) }
}
