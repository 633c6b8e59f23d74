//! What may be found after a loss of power.

use std::collections::{BTreeMap, BTreeSet};

use super::{Part, Step};
use crate::world::model::{Model, Node};
use crate::world::ops::{self, Op};

/// What may be found of one file.
#[derive(Clone, Debug, Default)]
pub struct Content {
    pub acceptable: BTreeSet<Vec<u8>>,
    /// What it was, one after the other, while a handle wrote it in place: of what came after the last state that was safe
    /// any part may be there.
    in_place: Vec<Vec<u8>>,
    /// Whether some content was safe: then it may not be gone.
    must: bool,
    /// Follows the file through its renames.
    lineage: u64,
}

impl Content {
    fn accepts(&self, bytes: &[u8]) -> bool {
        let of = |at: usize| self.in_place.iter().filter_map(move |state| state.get(at));
        let lengths = self.in_place.iter().map(Vec::len);
        let (shortest, longest) = (lengths.clone().min().unwrap_or(0), lengths.max().unwrap_or(0));
        let is_mixture = self.in_place.len() > 1
            && (shortest..=longest).contains(&bytes.len())
            && bytes
                .iter()
                .enumerate()
                .all(|(at, byte)| of(at).any(|other| other == byte) || *byte == 0 && at >= shortest);
        self.acceptable.contains(bytes) || is_mixture
    }
}

/// The reference with, for each file, what may be found of it. The content of a node is the number of its [`Content`].
#[derive(Clone)]
pub struct Shadow {
    pub tree: Model,
    pub contents: Vec<Content>,
}

impl Shadow {
    /// Everything is safe.
    pub fn of(model: &Model) -> Self {
        let mut shadow = Self { tree: Model::default(), contents: Vec::new() };
        for (path, node) in &model.0 {
            let node = match node {
                Node::Folder => Node::Folder,
                Node::File(bytes) => {
                    let lineage = shadow.contents.len() as u64;
                    shadow.add(Content {
                        acceptable: BTreeSet::from([bytes.clone()]),
                        in_place: Vec::new(),
                        must: true,
                        lineage,
                    })
                }
            };
            shadow.tree.0.insert(path.clone(), node);
        }
        shadow
    }

    fn add(&mut self, content: Content) -> Node {
        self.contents.push(content);
        Node::File((self.contents.len() as u32 - 1).to_le_bytes().to_vec())
    }

    pub fn content(&self, path: &str) -> Option<&Content> {
        match self.tree.0.get(path)? {
            Node::File(number) => {
                Some(&self.contents[u32::from_le_bytes(number.as_slice().try_into().expect("a number")) as usize])
            }
            Node::Folder => None,
        }
    }

    /// A step that succeeded; `after` is the reference after it.
    pub fn play(&mut self, step: &Step, after: &Model) {
        match step {
            Step::Call(Op::Write(path, _) | Op::Patch(path, ..)) => {
                let fresh = Content { lineage: 1 << 32 | self.contents.len() as u64, ..Content::default() };
                let mut content = self.content(path).cloned().unwrap_or(fresh);
                if let Some(Node::File(bytes)) = after.0.get(path) {
                    content.acceptable.insert(bytes.clone());
                }
                let node = self.add(content);
                self.tree.0.insert(path.clone(), node);
            }
            Step::Call(Op::Rename(from, to)) => {
                let (moved, replaced) = (self.content(from).cloned(), self.content(to).cloned());
                if from != to
                    && self.tree.rename(from, to).is_ok()
                    && let (Some(moved), Some(replaced)) = (moved, replaced)
                    && !moved.must
                {
                    // A new file over an old one: until it is safe the old one may come back.
                    let acceptable = moved.acceptable.union(&replaced.acceptable).cloned().collect();
                    let node = self.add(Content {
                        acceptable,
                        in_place: Vec::new(),
                        must: replaced.must,
                        lineage: replaced.lineage,
                    });
                    self.tree.0.insert(to.clone(), node);
                }
            }
            Step::Call(op) => drop(ops::play(&mut self.tree, op)),
            Step::Held(path, Part::Write(..) | Part::Cut(_) | Part::Close) => {
                let (Some(content), Some(Node::File(bytes))) = (self.content(path).cloned(), after.0.get(path)) else {
                    return;
                };
                let mut content = content;
                if content.in_place.is_empty() {
                    content.in_place.extend(content.acceptable.iter().cloned());
                }
                content.in_place.push(bytes.clone());
                content.acceptable.insert(bytes.clone());
                let node = self.add(content);
                self.tree.0.insert(path.clone(), node);
            }
            Step::Sync(_) | Step::Held(..) | Step::Rest | Step::Pause | Step::Die => {}
        }
    }
}

/// The tree that is found; `None` for content that is not on this machine.
pub type Found = BTreeMap<String, Option<Node>>;

/// Whether this is exactly the tree of a moment, as far as it was safe. A file that was not may have anything that the
/// cloud had: it may have taken over an item there, whose content it is without its own.
pub fn is_of(found: &Found, shadow: &Shadow, former: &BTreeSet<Vec<u8>>) -> bool {
    let expected = found.keys().all(|path| shadow.tree.0.contains_key(path));
    expected
        && shadow.tree.0.iter().all(|(path, node)| match (node, found.get(path)) {
            (Node::Folder, Some(Some(Node::Folder))) => true,
            (Node::File(_), Some(Some(Node::File(bytes)))) => {
                shadow.content(path).is_some_and(|c| c.accepts(bytes) || !c.must && former.contains(bytes))
            }
            (Node::File(_), None) => shadow.content(path).is_some_and(|content| !content.must),
            _ => false,
        })
}

/// A safe file of which there is nothing acceptable, neither here nor in the cloud. It may have been deleted or
/// replaced in one of the moments. `former`: what was in the cloud before, of which it keeps the history.
pub fn missing(
    found: &Found,
    shadows: &[Shadow],
    cloud: &BTreeSet<Vec<u8>>,
    former: &BTreeSet<Vec<u8>>,
) -> Option<String> {
    let first = shadows.first()?;
    first.tree.0.iter().find_map(|(path, _)| {
        let safe = first.content(path)?;
        let places: Vec<(&String, &Content)> = shadows
            .iter()
            .filter_map(|shadow| {
                let path = shadow
                    .tree
                    .0
                    .keys()
                    .find(|path| shadow.content(path).is_some_and(|c| c.lineage == safe.lineage))?;
                Some((path, shadow.content(path)?))
            })
            .collect();
        if places.len() < shadows.len() {
            return None;
        }
        let there = places.iter().any(|(path, content)| match found.get(*path) {
            Some(Some(Node::File(bytes))) => content.accepts(bytes),
            Some(None) => cloud.iter().chain(former).any(|bytes| content.accepts(bytes)),
            _ => false,
        });
        let in_the_cloud = places.iter().any(|(_, content)| cloud.iter().any(|bytes| content.accepts(bytes)));
        (!there && !in_the_cloud).then(|| path.clone())
    })
}
