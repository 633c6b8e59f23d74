//! `onedrive-cli find`: paths below a folder, by name, type, size.

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::cli::error::CliError;
use crate::cli::session::{Session, is_folder};
use crate::config::size::parse_size;
use crate::drive::Branch;

/// Arguments of `find`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The folder (default: the root folder)
    #[arg(value_name = "FOLDER")]
    folder: Option<String>,

    /// Only names like this: * is any text, ? any character; upper and lower case are the same
    #[arg(short, long, value_name = "PATTERN")]
    name: Option<String>,

    /// Only files or only folders
    #[arg(short = 't', long = "type", value_enum, value_name = "TYPE")]
    kind: Option<Type>,

    /// Only files of at least this size, such as 10MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    larger: Option<u64>,

    /// Only files of at most this size
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    smaller: Option<u64>,
}

/// Kinds of objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Type {
    /// Files
    #[value(alias = "f")]
    File,
    /// Folders
    #[value(alias = "d")]
    Folder,
}

/// Prints the path of each object that fits, one a line; nothing found is no error.
///
/// # Errors
/// There is no such folder, or as every call to the cloud.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let folder = session.find_folder(arguments.folder.as_deref()).await?;
    let tree = session.tree(folder, session.out.json() || session.out.selects()).await?;
    let mut found = Vec::new();
    collect(&tree, "", arguments, &mut found);
    if session.out.json() || session.out.selects() {
        let objects = found.into_iter().map(|(path, branch)| {
            let mut value = branch.object.clone();
            if let Some(object) = value.as_object_mut() {
                object.insert("path".into(), Value::from(path));
            }
            value
        });
        return session.out.data(Value::Array(objects.collect()));
    }
    found.iter().try_for_each(|(path, _)| session.out.line(path))
}

fn collect<'a>(branch: &'a Branch, path: &str, arguments: &Arguments, found: &mut Vec<(String, &'a Branch)>) {
    for child in branch.children.iter().flatten() {
        let path = if path.is_empty() { child.item.name.clone() } else { format!("{path}/{}", child.item.name) };
        if arguments.fits(child) {
            found.push((path.clone(), child));
        }
        collect(child, &path, arguments, found);
    }
}

impl Arguments {
    fn fits(&self, branch: &Branch) -> bool {
        let item = &branch.item;
        let folder = is_folder(item);
        self.name.as_ref().is_none_or(|pattern| fits(&pattern.to_lowercase(), &item.name.to_lowercase()))
            && self.kind.is_none_or(|kind| (kind == Type::Folder) == folder)
            && self.larger.is_none_or(|least| !folder && item.size >= least)
            && self.smaller.is_none_or(|most| !folder && item.size <= most)
    }
}

/// Whether a whole name fits a pattern of `*`, `?` and characters that stand for themselves. Takes time in proportion
/// to the product of both lengths, whatever the pattern.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                // The last star takes one more character.
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, name, expected) in [
            ("*.txt", "a.txt", true),
            ("*.txt", "a.txt.bak", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("*a*b", "xaxbxb", true),
            ("a*", "ba", false),
            ("***", "x", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
