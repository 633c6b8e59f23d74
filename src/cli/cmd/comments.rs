//! `onedrive-cli comments`, `comment_add` and `comment_delete`: what people say about an object, on services that have it.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::options::Dry;
use crate::cli::session::{Session, shown};
use crate::remote::extras::Beyond;

/// Arguments of `comments`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The object
    #[arg(value_name = "OBJECT")]
    object: String,
}

/// Arguments of `comment_add`.
#[derive(Args, Debug)]
pub struct AddArguments {
    /// The object
    #[arg(value_name = "OBJECT")]
    object: String,

    /// What to say
    #[arg(value_name = "MESSAGE")]
    message: String,

    #[command(flatten)]
    dry: Dry,
}

/// Arguments of `comment_delete`.
#[derive(Args, Debug)]
pub struct DeleteArguments {
    /// The id of the comment, as comments prints it
    #[arg(value_name = "COMMENT_ID")]
    comment: String,

    #[command(flatten)]
    dry: Dry,
}

/// Prints the comments on an object.
///
/// # Errors
/// [`Kind::NotOffered`](crate::cli::error::Kind::NotOffered) where there are none; as every call to the cloud.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let item = session.find(Some(&arguments.object)).await?;
    let comments = session.ask(async |extras| extras.comments(&item.id).await).await?;
    session.out.data(Value::Array(comments))
}

/// Adds a comment and prints it.
///
/// # Errors
/// As [`run`].
pub async fn run_add(arguments: &AddArguments, session: &Session) -> Result<(), CliError> {
    let item = session.find_to_change(&arguments.object).await?;
    session.offers(Beyond::Comments)?;
    if arguments.dry.dry_run {
        return session.out.would(&format!("comment on {}", shown(&item)));
    }
    session.out.data(session.extras.add_comment(&item.id, &arguments.message).await?)
}

/// Deletes a comment.
///
/// # Errors
/// As [`run`].
pub async fn run_delete(arguments: &DeleteArguments, session: &Session) -> Result<(), CliError> {
    session.offers(Beyond::Comments)?;
    if arguments.dry.dry_run {
        return session.out.would(&format!("delete the comment {}", arguments.comment));
    }
    session.extras.delete_comment(&arguments.comment).await?;
    session.out.done(json!({ "id": arguments.comment }))
}
