//! `onedrive-cli link`: an address that others can use.

use clap::{Args, ValueEnum};

use crate::cli::error::CliError;
use crate::cli::options::Dry;
use crate::cli::session::{Session, shown};
use crate::remote::extras::LinkKind;

/// Arguments of `link`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The object
    #[arg(value_name = "OBJECT")]
    object: String,

    /// What the link is for
    #[arg(short = 't', long = "type", value_enum, value_name = "TYPE", default_value_t = Type::SharedReadLink)]
    kind: Type,

    #[command(flatten)]
    dry: Dry,
}

/// Kinds of links, under their old names.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Type {
    /// Whoever has it can look
    #[value(name = "shared_read_link", aliases = ["view", "read"])]
    SharedReadLink,
    /// Whoever has it can change the object
    #[value(name = "shared_edit_link", alias = "edit")]
    SharedEditLink,
    /// For showing it inside a web page (personal accounts only)
    #[value(name = "embed")]
    Embed,
}

/// Prints a link: the one that exists already, or a new one.
///
/// # Errors
/// There is no such object, this account has no such links, or as every call to the cloud.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let item = session.find_to_change(&arguments.object).await?;
    let (kind, words) = match arguments.kind {
        Type::SharedReadLink => (LinkKind::View, "a link for looking at"),
        Type::SharedEditLink => (LinkKind::Edit, "a link for changing"),
        Type::Embed => (LinkKind::Embed, "a link for embedding"),
    };
    if arguments.dry.dry_run {
        return session.out.would(&format!("make {words} {}", shown(&item)));
    }
    let link = session.ask(async |extras| extras.link(&item.id, kind).await).await?;
    session.out.data(link)
}
