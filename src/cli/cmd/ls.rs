//! `onedrive-cli ls`: what is in a folder.

use clap::Args;
use serde_json::Value;

use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::drive::View;

/// Arguments of `ls`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The folder (default: the root folder)
    #[arg(value_name = "FOLDER")]
    folder: Option<String>,

    /// Only a part of the list: OFFSET-LIMIT, OFFSET- (all after so many), -LIMIT or LIMIT (so many)
    #[arg(short, long, value_name = "RANGE", value_parser = Part::parse, allow_hyphen_values = true)]
    range: Option<Part>,

    /// Whole objects instead of names
    #[arg(short, long)]
    objects: bool,
}

/// A part of a listing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part {
    offset: usize,
    limit: Option<usize>,
}

impl Part {
    /// | text | from | so many |
    /// | --- | --- | --- |
    /// | `5-20`, `5:20` | 5 | 20 |
    /// | `5-`, `5:` | 5 | all |
    /// | `-20`, `:20`, `20` | 0 | 20 |
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "a part is OFFSET-LIMIT, OFFSET-, -LIMIT or LIMIT, such as 5-20".to_owned();
        let number = |text: &str| match text {
            "" => Ok(None),
            text if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().map(Some).map_err(|_| wrong()),
            _ => Err(wrong()),
        };
        let (offset, limit) = match text.split_once(['-', ':']) {
            Some((offset, limit)) => (number(offset)?, number(limit)?),
            None => (None, number(text)?),
        };
        if offset.is_none() && limit.is_none() {
            return Err(wrong());
        }
        Ok(Self { offset: offset.unwrap_or(0), limit })
    }
}

/// Lists a folder by name.
///
/// # Errors
/// There is no such folder, or as every call to the cloud.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let part = arguments.range.unwrap_or(Part { offset: 0, limit: None });
    let whole = arguments.objects || session.out.selects();
    let objects = match session.view_at(arguments.folder.as_deref()) {
        Some(view @ (View::Shared | View::Recent)) => by_name(session.view(view).await?),
        _ => {
            let folder = session.find_folder(arguments.folder.as_deref()).await?;
            let children = session.children(&folder, whole).await?;
            children.into_iter().map(|seen| seen.object).collect()
        }
    };
    let chosen = objects.into_iter().skip(part.offset).take(part.limit.unwrap_or(usize::MAX));
    let listed = if whole { chosen.collect() } else { chosen.map(|object| object["name"].clone()).collect() };
    session.out.data(Value::Array(listed))
}

/// The objects of a list in the order of a folder's.
fn by_name(list: Value) -> Vec<Value> {
    let Value::Array(mut objects) = list else { return Vec::new() };
    objects.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    objects
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_range() {
        let part = |offset, limit| Part { offset, limit };
        for (text, meant) in [
            ("5-20", part(5, Some(20))),
            ("5:20", part(5, Some(20))),
            ("20", part(0, Some(20))),
            ("5-", part(5, None)),
            ("5:", part(5, None)),
            ("-20", part(0, Some(20))),
            (":20", part(0, Some(20))),
        ] {
            assert_eq!(Part::parse(text), Ok(meant), "{text}");
        }
        for text in ["", "-", "x", "5-x", "1-2-3", "+5", "99999999999999999999"] {
            assert!(Part::parse(text).is_err(), "{text}");
        }
    }
}
