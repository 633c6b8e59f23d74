//! `onedrive-cli share`, `unshare` and `permissions`: who may do what.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::error::{CliError, Kind};
use crate::cli::options::Dry;
use crate::cli::session::{Session, shown};
use crate::remote::extras::Beyond;

/// Arguments of `permissions`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The object
    #[arg(value_name = "OBJECT")]
    object: String,
}

/// Arguments of `share`.
#[derive(Args, Debug)]
pub struct ShareArguments {
    /// The object
    #[arg(value_name = "OBJECT")]
    object: String,

    /// The mail addresses of those who are let in
    #[arg(value_name = "MAIL", required = true, num_args = 1..)]
    people: Vec<String>,

    /// They may also change it
    #[arg(short, long)]
    write: bool,

    /// Send them a mail with this text
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,

    #[command(flatten)]
    dry: Dry,
}

/// Arguments of `unshare`.
#[derive(Args, Debug)]
pub struct UnshareArguments {
    /// The object
    #[arg(value_name = "OBJECT")]
    object: String,

    /// Whom to shut out: mail addresses, or ids as permissions prints them
    #[arg(value_name = "WHO", required_unless_present = "all")]
    who: Vec<String>,

    /// Everybody but the owner, links too
    #[arg(long, conflicts_with = "who")]
    all: bool,

    #[command(flatten)]
    dry: Dry,
}

/// Prints who may do what with an object.
///
/// # Errors
/// There is no such object, or as every call to the cloud.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let item = session.find(Some(&arguments.object)).await?;
    let permissions = session.ask(async |extras| extras.permissions(&item.id).await).await?;
    session.out.data(Value::Array(permissions))
}

/// Lets people in, and prints their permissions.
///
/// # Errors
/// As [`run`].
pub async fn run_share(arguments: &ShareArguments, session: &Session) -> Result<(), CliError> {
    let item = session.find_to_change(&arguments.object).await?;
    session.offers(Beyond::Share)?;
    if arguments.dry.dry_run {
        let what = if arguments.write { "look at and change" } else { "look at" };
        return session.out.would(&format!("let {} {what} {}", arguments.people.join(", "), shown(&item)));
    }
    let message = arguments.message.as_deref();
    let made = session.extras.share(&item.id, &arguments.people, arguments.write, message).await?;
    session.out.data(Value::Array(made))
}

/// Takes permissions back.
///
/// # Errors
/// Somebody named has none, or as [`run`].
pub async fn run_unshare(arguments: &UnshareArguments, session: &Session) -> Result<(), CliError> {
    let item = session.find_to_change(&arguments.object).await?;
    let permissions = session.ask(async |extras| extras.permissions(&item.id).await).await?;
    let mut meant = Vec::new();
    if arguments.all {
        meant.extend(permissions.iter().filter(|permission| !is_owner(permission)));
    }
    for who in &arguments.who {
        let before = meant.len();
        meant.extend(permissions.iter().filter(|permission| !is_owner(permission) && is_of(permission, who)));
        if meant.len() == before {
            let sentence = format!("{who} has no permission on {} that could be taken back", shown(&item));
            return Err(CliError::new(Kind::NotFound, sentence).hint("who has: onedrive-cli permissions OBJECT"));
        }
    }
    let mut taken = Vec::new();
    for permission in meant {
        let id = permission.get("id").and_then(Value::as_str).unwrap_or_default();
        if arguments.dry.dry_run {
            session.out.would(&format!("take the permission {id} on {} back", shown(&item)))?;
            continue;
        }
        session.extras.unshare(&item.id, id).await?;
        taken.push(json!({ "id": id }));
    }
    if arguments.dry.dry_run { Ok(()) } else { session.out.done(Value::Array(taken)) }
}

fn is_owner(permission: &Value) -> bool {
    let roles = permission.get("roles").and_then(Value::as_array);
    roles.is_some_and(|roles| roles.iter().any(|role| role == "owner"))
}

fn is_of(permission: &Value, who: &str) -> bool {
    let mail = permission.pointer("/user/email").and_then(Value::as_str).unwrap_or_default();
    permission.get("id").and_then(Value::as_str) == Some(who) || (!mail.is_empty() && mail.eq_ignore_ascii_case(who))
}
