//! Members of JSON that every protocol reads tolerantly, and the bounds on texts of the service.
//!
//! Services leave members out, send numbers as texts, and add what nobody asked for. Always true of what passes here: it
//! is bounded while it is being parsed, so that an answer of small size cannot become a large one in memory.

use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

#[cfg(any(test, feature = "fuzzing"))]
use crate::base::ids::ItemId;
use crate::base::name::LONGEST_NAME;
use crate::base::secret::Secret;
#[cfg(any(test, feature = "fuzzing"))]
use crate::remote::Item;

/// The longest name, in bytes: [`LONGEST_NAME`] UTF-16 units are at most three times as many bytes of UTF-8. A longer
/// one would not fit into an answer to the kernel, which then fails the whole listing.
pub const LONGEST_NAME_BYTES: usize = 3 * LONGEST_NAME;

/// The longest id of an item or a drive, in bytes. Real ones have less than a hundred.
const LONGEST_ID: usize = 1024;

/// The longest tag, in bytes: it has to fit into a header.
pub const LONGEST_TAG: usize = 4096;

/// Counts what a page holds that cannot be shown, and says so once, not once for each.
#[derive(Default)]
pub struct Flawed {
    count: usize,
    first: Option<&'static str>,
}

impl Flawed {
    /// Whether there is a flaw in what the page holds.
    pub fn has(&mut self, flaw: Option<&'static str>) -> bool {
        let Some(flaw) = flaw else { return false };
        self.count += 1;
        self.first.get_or_insert(flaw);
        true
    }
}

impl Drop for Flawed {
    fn drop(&mut self) {
        if let Some(flaw) = self.first {
            tracing::warn!(items = self.count, flaw, "the service named items that cannot be shown");
        }
    }
}

/// A text that must not be printed.
pub fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret<String>>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
}

/// An id may be empty (absent), but not something that means more than itself in the path of a URL.
pub fn is_sound_id(id: &str) -> bool {
    id.len() <= LONGEST_ID
        && !id.contains(|c: char| c == '/' || c == '\\' || c.is_whitespace() || c.is_control())
        && (id.is_empty() || id.bytes().any(|byte| byte != b'.'))
}

/// A tag fits into a header.
pub fn is_sound_tag(tag: &str) -> bool {
    tag.len() <= LONGEST_TAG && !tag.contains(char::is_control)
}

/// A list that ends as an error before it is longer than `MOST`.
pub struct AtMost<T, const MOST: usize>(pub Vec<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for AtMost<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Listed<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Listed<T, MOST> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "a list of at most {MOST}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(element) = seq.next_element()? {
                    if list.len() == MOST {
                        return Err(A::Error::custom("the list is too long"));
                    }
                    list.push(element);
                }
                Ok(list)
            }
        }
        deserializer.deserialize_seq(Listed::<T, MOST>(PhantomData)).map(Self)
    }
}

/// A whole number that may come as a number, a fraction, a string, or not at all. Whatever else stands there is read
/// over, not built.
pub fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    struct Whole;
    impl<'de> Visitor<'de> for Whole {
        type Value = Option<i64>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a number")
        }

        fn visit_i64<E>(self, number: i64) -> Result<Option<i64>, E> {
            Ok(Some(number))
        }

        fn visit_u64<E>(self, number: u64) -> Result<Option<i64>, E> {
            Ok(Some(i64::try_from(number).unwrap_or(i64::MAX)))
        }

        fn visit_f64<E>(self, number: f64) -> Result<Option<i64>, E> {
            Ok(Some(number as i64))
        }

        fn visit_str<E>(self, text: &str) -> Result<Option<i64>, E> {
            Ok(text.parse().ok())
        }

        fn visit_bool<E>(self, _: bool) -> Result<Option<i64>, E> {
            Ok(None)
        }

        fn visit_unit<E>(self) -> Result<Option<i64>, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<i64>, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<i64>, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(None)
        }
    }
    deserializer.deserialize_any(Whole)
}

#[cfg(any(test, feature = "fuzzing"))]
/// What must be true of an item that the rest of the program works with.
pub(crate) fn sound(item: &Item) {
    assert!(!item.id.id.is_empty() && is_sound_id(&item.id.id) && is_sound_id(item.id.drive.as_str()));
    assert!(item.parent.as_ref().is_none_or(|parent| is_sound_id(&parent.id)));
    assert!(item.name.len() <= LONGEST_NAME_BYTES && !item.name.contains(['/', '\0']));
    assert!(!matches!(item.name.as_str(), "." | ".."));
    assert!(item.size <= i64::MAX as u64);
    assert!(item.meta_tag.0.len() <= LONGEST_TAG);
    assert_eq!(ItemId::from_key(&item.id.to_key()).as_ref(), Some(&item.id));
    let _ = item.modified.to_system_time();
}
