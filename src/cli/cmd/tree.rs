//! `onedrive-cli tree`: everything below a folder.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::print::Node;
use crate::cli::session::Session;
use crate::drive::{Branch, object};

/// Arguments of `tree`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The folder (default: the root folder)
    #[arg(value_name = "FOLDER")]
    folder: Option<String>,

    /// The type and the whole object of each instead of the type alone
    #[arg(short, long)]
    objects: bool,
}

/// Prints a folder's tree; two things of one name are both there.
///
/// # Errors
/// There is no such folder, or as every call to the cloud.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let folder = session.find_folder(arguments.folder.as_deref()).await?;
    let name = if folder.parent.is_none() { "OneDrive".to_owned() } else { folder.name.clone() };
    let tree = session.tree(folder, true).await?;
    if session.out.selects() && !session.out.json() {
        // A mapping of names has no keys to select; the objects have.
        let mut all = Vec::new();
        tree.each(&mut |branch| all.push(branch.object.clone()));
        return session.out.data(Value::Array(all));
    }
    let node = Node::Map(vec![(name, Node::Map(children(&tree, arguments.objects)))]);
    session.out.either(&node, &for_programs(&tree))
}

fn children(branch: &Branch, objects: bool) -> Vec<(String, Node)> {
    let entry = |branch: &Branch| {
        let item = &branch.item;
        let kind = branch.object.get("type").cloned().map_or(Node::from(object::kind(item)), Node::from);
        let node = match (&branch.children, objects) {
            (Some(_), _) => Node::Map(children(branch, objects)),
            (None, true) => Node::List(vec![kind, Node::from(branch.object.clone())]),
            (None, false) => kind,
        };
        (item.name.clone(), node)
    };
    branch.children.iter().flatten().map(entry).collect()
}

/// Objects with their children, so that two of one name can be told apart.
fn for_programs(branch: &Branch) -> Value {
    let mut value = branch.object.clone();
    if let (Some(object), Some(children)) = (value.as_object_mut(), &branch.children) {
        let children: Vec<Value> = children.iter().map(for_programs).collect();
        object.insert("children".into(), json!(children));
    }
    value
}
