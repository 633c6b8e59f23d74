//! The settings file as a list of keys, values and lines.
//!
//! A person who mistyped a setting needs the line it stands on, and a drive id made of digits must not turn into a
//! number on the way. So the file is not deserialised into structs: every known key yields its text exactly as
//! written, and the line of any key is found by walking to it once more and failing there on purpose, because the
//! parser tells places only in errors.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// One key of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// The full name, with dots.
    pub key: String,
    /// The value as written, without quotes; empty if there is none.
    pub value: String,
    /// Where the key stands, from 1.
    pub line: usize,
}

/// What a name in the file stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It groups other keys.
    Section,
    /// It has one value.
    Value,
    /// Nobody knows it.
    Unknown,
}

/// The file is not YAML, or not a set of keys and values.
#[derive(Debug)]
pub(super) struct NotSettings {
    /// Where, from 1, if it can be told.
    pub line: Option<usize>,
    /// The parser's words.
    pub reason: String,
}

impl From<serde_yaml::Error> for NotSettings {
    fn from(error: serde_yaml::Error) -> Self {
        let line = error.location().map(|location| location.line());
        let mut reason = error.to_string();
        if let Some(location) = error.location() {
            // The place is told by `line`; twice would read badly.
            let place = format!(" at line {} column {}", location.line(), location.column());
            reason = reason.replacen(&place, "", 1);
        }
        Self { line, reason }
    }
}

/// Lists the keys of a settings file in their order.
///
/// `kind` tells what a full name (with dots) stands for.
pub(super) fn entries(text: &str, kind: &dyn Fn(&str) -> Kind) -> Result<Vec<Entry>, NotSettings> {
    let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#') || line.trim() == "---";
    if text.lines().all(blank) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let top = Node { path: &[], kind, found: &mut found };
    top.deserialize(serde_yaml::Deserializer::from_str(text))?;
    Ok(found
        .into_iter()
        .map(|(path, value)| Entry { key: path.join("."), value, line: line_of(text, &path) })
        .collect())
}

/// Where the key at `path` stands, from 1.
fn line_of(text: &str, path: &[String]) -> usize {
    match (Seek { path }).deserialize(serde_yaml::Deserializer::from_str(text)) {
        Err(error) => error.location().map_or(1, |location| location.line()),
        Ok(()) => 1,
    }
}

type Found = Vec<(Vec<String>, String)>;

/// The mapping at `path`: the whole file, or a section of it.
struct Node<'a> {
    path: &'a [String],
    kind: &'a dyn Fn(&str) -> Kind,
    found: &'a mut Found,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys and values, such as `tenant: common`")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let mut path = self.path.to_vec();
            path.push(key);
            if self.found.iter().any(|(known, _)| *known == path) {
                return Err(A::Error::custom(format!("`{}` is given twice", path.join("."))));
            }
            let name = path.join(".");
            let value = match (self.kind)(&name) {
                Kind::Section => {
                    map.next_value_seed(Node { path: &path, kind: self.kind, found: self.found })?;
                    continue;
                }
                Kind::Value => map.next_value_seed(Leaf)?,
                Kind::Unknown => map.next_value_seed(Stray)?,
            };
            self.found.push((path, value));
        }
        Ok(())
    }
}

/// A value as its author wrote it: asked for as text, because 077 is not 63 and 12e5 not infinity.
struct Leaf;

impl<'de> DeserializeSeed<'de> for Leaf {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Leaf {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        // The plain spellings of "nothing".
        Ok(if matches!(text, "~" | "null") { String::new() } else { text.to_owned() })
    }
}

/// Whatever stands behind a key that nobody knows, for the message about it.
struct Stray;

impl<'de> DeserializeSeed<'de> for Stray {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Stray {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_bool<E>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E>(self, value: f64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok("{...}".to_owned())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<String, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok("[...]".to_owned())
    }
}

/// Walks to the key at `path` and fails there.
struct Seek<'a> {
    path: &'a [String],
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the keys read before")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((want, rest)) = self.path.split_first() else { return Ok(()) };
        while let Some(found) = map.next_key_seed(KeyNamed { name: want, stop: rest.is_empty() })? {
            if found {
                map.next_value_seed(Seek { path: rest })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct KeyNamed<'a> {
    name: &'a str,
    stop: bool,
}

impl<'de> DeserializeSeed<'de> for KeyNamed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyNamed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<bool, E> {
        match (key == self.name, self.stop) {
            (true, true) => Err(E::custom("here")),
            (same, _) => Ok(same),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String, usize)>, NotSettings> {
        let list = entries(text, &|name| match name {
            "upload" => Kind::Section,
            "other" => Kind::Unknown,
            _ => Kind::Value,
        })?;
        Ok(list.into_iter().map(|e| (e.key, e.value, e.line)).collect())
    }

    fn owned(key: &str, value: &str, line: usize) -> (String, String, usize) {
        (key.to_owned(), value.to_owned(), line)
    }

    #[test]
    fn values_keep_their_spelling_and_their_line() {
        let text =
            "# first\ndrive: 12345678E9012345\n\nupload:\n  concurrency: 4 # four\n  debounce:\n    2s\numask: 077\n";
        assert_eq!(
            read(text).expect("valid"),
            [
                owned("drive", "12345678E9012345", 2),
                owned("upload.concurrency", "4", 5),
                owned("upload.debounce", "2s", 6),
                owned("umask", "077", 8),
            ]
        );
    }

    #[test]
    fn dotted_keys_are_the_same_keys() {
        assert_eq!(read("upload.debounce: 1s").expect("valid"), [owned("upload.debounce", "1s", 1)]);
    }

    #[test]
    fn a_key_that_nobody_knows_is_listed_whatever_it_holds() {
        assert_eq!(
            read("tenant: a\nother:\n  deep: [1]\n").expect("valid"),
            [owned("tenant", "a", 1), owned("other", "{...}", 2)]
        );
        assert_eq!(read("other: 5").expect("valid"), [owned("other", "5", 1)]);
    }

    #[test]
    fn nothing_is_no_settings() {
        for text in ["", "\n# only words\n", "---\n"] {
            assert_eq!(read(text).expect("valid"), []);
        }
        assert_eq!(read("upload:\n").expect("valid"), []);
        assert_eq!(read("drive: ~\ntenant:\n").expect("valid"), [owned("drive", "", 1), owned("tenant", "", 2)]);
    }

    #[test]
    fn what_is_not_a_set_of_keys_is_refused_with_its_line() {
        for (text, line) in [
            ("just words", 1),
            ("- a\n- list", 1),
            ("tenant: a\ndrive: [1]\n", 2),
            ("tenant: a\nupload: 5\n", 2),
            ("tenant: a\ndrive:\n  x: 1\n", 3),
            ("tenant: \"open\ndrive: me\n", 3),
            ("tenant: a\n\tdrive: me\n", 2),
        ] {
            let error = read(text).expect_err(text);
            assert_eq!(error.line, Some(line), "{text}: {}", error.reason);
        }
    }

    #[test]
    fn a_key_given_twice_is_refused() {
        let error = read("tenant: a\ntenant: b\n").expect_err("twice");
        assert!(error.reason.contains("`tenant` is given twice"), "{}", error.reason);
    }
}
