//! What cached content is known by: in memory by its key, on disk by the key's digest.

use sha2::{Digest as _, Sha256};

use crate::base::ids::{ContentTag, ItemId};

/// Which content: one version of one item's bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CacheKey {
    /// The item.
    pub item: ItemId,
    /// The version.
    pub tag: ContentTag,
}

impl CacheKey {
    /// Pairs an item with a version.
    pub fn new(item: &ItemId, tag: &ContentTag) -> Self {
        Self { item: item.clone(), tag: tag.clone() }
    }

    pub(super) fn text(&self) -> String {
        format!("{}\n{}", self.item.to_key(), self.tag.0)
    }

    pub(super) fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.text()).into())
    }
}

/// The name of a cached file: SHA-256 of its key, because keys hold every sign there is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn hex(&self) -> String {
        use std::fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    pub(super) fn from_hex(hex: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}
