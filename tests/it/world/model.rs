//! The reference tree: what a user must see, by the simplest means that can be right.
//!
//! Names are compared as the service does (without case), looked up as Linux does (exactly).

use std::collections::BTreeMap;

/// A node of the reference tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Node {
    Folder,
    File(Vec<u8>),
}

/// How an operation ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    NotFound,
    Exists,
    NotAFolder,
    IsAFolder,
    NotEmpty,
    Invalid,
}

/// The tree: full paths (`a/b`, no leading slash) to nodes. The root is not in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Model(pub BTreeMap<String, Node>);

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl Model {
    fn folder(&self, path: &str) -> Result<(), Refusal> {
        if path.is_empty() {
            return Ok(());
        }
        let (above, _) = split(path);
        self.folder(above)?;
        match self.0.get(path) {
            Some(Node::Folder) => Ok(()),
            Some(Node::File(_)) => Err(Refusal::NotAFolder),
            None => Err(Refusal::NotFound),
        }
    }

    /// The path of the node whose name in the same folder is the same without case.
    fn clash(&self, path: &str) -> Option<&String> {
        let (folder, name) = split(path);
        self.0.keys().find(|other| {
            let (above, theirs) = split(other);
            above == folder && theirs.to_lowercase() == name.to_lowercase()
        })
    }

    pub fn children<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a String> {
        self.0.keys().filter(move |other| split(other).0 == path && !other.is_empty())
    }

    pub fn mkdir(&mut self, path: &str) -> Result<(), Refusal> {
        self.folder(split(path).0)?;
        if self.clash(path).is_some() {
            return Err(Refusal::Exists);
        }
        self.0.insert(path.to_owned(), Node::Folder);
        Ok(())
    }

    pub fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), Refusal> {
        self.folder(split(path).0)?;
        match self.clash(path) {
            Some(other) if other != path => return Err(Refusal::Exists),
            Some(_) if self.0.get(path) == Some(&Node::Folder) => return Err(Refusal::IsAFolder),
            _ => {}
        }
        self.0.insert(path.to_owned(), Node::File(bytes.to_vec()));
        Ok(())
    }

    pub fn patch(&mut self, path: &str, at: usize, bytes: &[u8]) -> Result<(), Refusal> {
        self.folder(split(path).0)?;
        match self.0.get_mut(path) {
            None => Err(Refusal::NotFound),
            Some(Node::Folder) => Err(Refusal::IsAFolder),
            Some(Node::File(content)) => {
                if content.len() < at + bytes.len() {
                    content.resize(at + bytes.len(), 0);
                }
                content[at..at + bytes.len()].copy_from_slice(bytes);
                Ok(())
            }
        }
    }

    pub fn unlink(&mut self, path: &str) -> Result<(), Refusal> {
        self.folder(split(path).0)?;
        match self.0.get(path) {
            None => Err(Refusal::NotFound),
            Some(Node::Folder) => Err(Refusal::IsAFolder),
            Some(Node::File(_)) => {
                self.0.remove(path);
                Ok(())
            }
        }
    }

    pub fn rmdir(&mut self, path: &str) -> Result<(), Refusal> {
        self.folder(split(path).0)?;
        match self.0.get(path) {
            None => Err(Refusal::NotFound),
            Some(Node::File(_)) => Err(Refusal::NotAFolder),
            Some(Node::Folder) if self.children(path).next().is_some() => Err(Refusal::NotEmpty),
            Some(Node::Folder) => {
                self.0.remove(path);
                Ok(())
            }
        }
    }

    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), Refusal> {
        self.folder(split(from).0)?;
        self.folder(split(to).0)?;
        let source = self.0.get(from).ok_or(Refusal::NotFound)?.clone();
        if source == Node::Folder && (split(to).0 == from || split(to).0.starts_with(&format!("{from}/"))) {
            return Err(Refusal::Invalid);
        }
        match self.clash(to).cloned() {
            Some(other) if other != from && other != to => return Err(Refusal::Exists),
            Some(other) if other == to && to != from => match (&source, &self.0[&other]) {
                (Node::Folder, Node::File(_)) => return Err(Refusal::NotAFolder),
                (Node::File(_), Node::Folder) => return Err(Refusal::IsAFolder),
                (Node::Folder, Node::Folder) if self.children(to).next().is_some() => return Err(Refusal::NotEmpty),
                _ => {}
            },
            _ => {}
        }
        if from == to {
            return Ok(());
        }
        let below: Vec<String> = self.0.keys().filter(|path| path.starts_with(&format!("{from}/"))).cloned().collect();
        self.0.remove(from);
        self.0.insert(to.to_owned(), source);
        for path in below {
            if let Some(node) = self.0.remove(&path) {
                self.0.insert(format!("{to}{}", &path[from.len()..]), node);
            }
        }
        Ok(())
    }

    /// Removes a node and everything below it, as another device would.
    pub fn remove_all(&mut self, path: &str) {
        self.0.retain(|other, _| other != path && !other.starts_with(&format!("{path}/")));
    }
}
