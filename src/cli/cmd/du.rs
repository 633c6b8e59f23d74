//! `onedrive-cli du`: how much is in a folder.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::print::Node;
use crate::cli::session::{Session, is_folder};
use crate::cli::words::files;
use crate::config::size::display_size;
use crate::drive::Branch;

/// Arguments of `du`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The folder (default: the root folder)
    #[arg(value_name = "FOLDER")]
    folder: Option<String>,

    /// Only the sum
    #[arg(short, long)]
    summarize: bool,
}

/// Prints the size of a folder and of each folder and file in it, the largest first.
///
/// # Errors
/// There is no such folder, or as every call to the cloud.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let item = session.find(arguments.folder.as_deref()).await?;
    let tree = if is_folder(&item) {
        session.tree(item, false).await?
    } else {
        Branch { object: Value::Null, item, children: None }
    };
    let mut parts: Vec<(&Branch, Sum)> = Vec::new();
    if !arguments.summarize {
        parts = tree.children.iter().flatten().map(|child| (child, Sum::of(child))).collect();
        parts.sort_by(|a, b| b.1.bytes.cmp(&a.1.bytes).then_with(|| a.0.item.name.cmp(&b.0.item.name)));
    }
    let total = Sum::of(&tree);
    let mut lines: Vec<Node> = parts.iter().map(|(branch, sum)| Node::Text(sum.line(&branch.item.name))).collect();
    lines.push(Node::Text(total.line("in all")));
    let value: Vec<Value> = parts.iter().map(|(branch, sum)| sum.value(&branch.item.name)).collect();
    let mut value = json!({"children": value, "bytes": total.bytes, "files": total.files});
    if session.out.json() {
        if arguments.summarize {
            value.as_object_mut().map(|object| object.remove("children"));
        }
        return session.out.data(value);
    }
    lines.iter().try_for_each(|line| session.out.line(&crate::cli::print::python(line)))
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Sum {
    bytes: u64,
    files: u64,
}

impl Sum {
    fn of(branch: &Branch) -> Self {
        let mut sum = Self::default();
        let mut add = |branch: &Branch| {
            if branch.children.is_none() && !is_folder(&branch.item) {
                sum = Self { bytes: sum.bytes.saturating_add(branch.item.size), files: sum.files + 1 };
            }
        };
        add(branch);
        branch.each(&mut add);
        sum
    }

    fn line(self, name: &str) -> String {
        format!("{:>10}  {:>9}  {name}", display_size(self.bytes), files(self.files))
    }

    fn value(self, name: &str) -> Value {
        json!({"name": name, "bytes": self.bytes, "files": self.files})
    }
}
