//! One command's conversation with the cloud: a drive, and how the options say that arguments are taken and results
//! printed.
//!
//! A running mount and a command never fight: both renew their tokens through the same locked file, and whatever a
//! command changes reaches the mount as every other change made elsewhere does.

use std::ops::Deref;

use serde_json::Value;

use super::context::Context;
use super::error::CliError;
use super::options::Global;
use super::print::Output;
use crate::drive::target::meaning;
use crate::drive::{Account, Drive, DriveError, Meaning, Taken, View, object};
use crate::remote::Item;
use crate::remote::extras::Beyond;

pub use crate::drive::{is_folder, shown};

/// An open drive, and how to talk to the user. What the drive can do the session can.
pub struct Session {
    /// Settings and folders.
    pub context: Context,
    /// The drive with its sign-in.
    pub account: Account,
    /// Where results go.
    pub out: Output,
    taken: Taken,
}

impl Deref for Session {
    type Target = Drive;

    fn deref(&self) -> &Drive {
        &self.account.drive
    }
}

impl Session {
    /// Opens the drive. Touches no network.
    ///
    /// # Errors
    /// Options or settings that cannot be used, or no known application.
    pub fn open(global: &Global) -> Result<Self, CliError> {
        let out = Output::new(global)?;
        let context = Context::open(&global.selection())?;
        let account = context.account()?;
        let taken = match (global.path, global.id) {
            (true, _) => Taken::Paths,
            (_, true) => Taken::Ids,
            _ => Taken::Guess,
        };
        Ok(Self { context, account, out, taken })
    }

    /// Completes when nothing is under way that must not be broken off.
    pub async fn close(self) {
        self.account.close().await;
    }

    /// The object that an argument means; no argument means the root.
    ///
    /// # Errors
    /// [`Kind::NotFound`](super::error::Kind::NotFound), with the part of the path that is missing.
    pub async fn find(&self, argument: Option<&str>) -> Result<Item, CliError> {
        Ok(self.find_as(argument.unwrap_or(""), self.taken).await?)
    }

    /// The object that an argument means, for a command that changes it: see [`Drive::find_to_change`].
    ///
    /// # Errors
    /// As [`Session::find`].
    pub async fn find_to_change(&self, argument: &str) -> Result<Item, CliError> {
        Ok(self.account.drive.find_to_change(argument, self.taken).await?)
    }

    /// The folder that an argument means, for a command that puts something into it.
    ///
    /// # Errors
    /// As [`Session::find_folder`].
    pub async fn find_folder_to_fill(&self, argument: Option<&str>) -> Result<Item, CliError> {
        let found = self.find_to_change(argument.unwrap_or("")).await?;
        if is_folder(&found) { Ok(found) } else { Err(DriveError::NotAFolder(Box::new(found)).into()) }
    }

    /// The folder that an argument means.
    ///
    /// # Errors
    /// As [`Session::find`]; [`Kind::WrongType`](super::error::Kind::WrongType) if it is no folder.
    pub async fn find_folder(&self, argument: Option<&str>) -> Result<Item, CliError> {
        Ok(self.account.drive.find_folder(argument.unwrap_or(""), self.taken).await?)
    }

    /// What an argument means if it is no object but a list of the old service's, or the space.
    pub fn view_at(&self, argument: Option<&str>) -> Option<View> {
        match meaning(argument.unwrap_or(""), self.taken) {
            Meaning::View(view) => Some(view),
            _ => None,
        }
    }

    /// Whether the protocol has something. To be asked before `--dry-run` says what would be done: what is refused for
    /// good is refused then too, in the same words.
    ///
    /// # Errors
    /// [`Kind::NotOffered`](super::error::Kind::NotOffered).
    pub fn offers(&self, what: Beyond) -> Result<(), CliError> {
        Ok(self.extras.offers(what)?)
    }

    /// The object as it is printed after a change: what the answer to the change told of it.
    pub fn object(&self, item: &Item) -> Value {
        object::of_item(item)
    }
}
