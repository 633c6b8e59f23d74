//! The service's own rules for names: what it refuses, and which names it takes for the same.
//!
//! Written apart from the client's rules on purpose: if both were one piece of code, a misreading
//! would agree with itself. Rules are those of Microsoft's "Restrictions and limitations in OneDrive
//! and SharePoint" page and of its REST documentation on addressing; where the two kinds of drive
//! disagree the stricter one is taken.

use std::cmp::Ordering;

use super::Flavour;

/// The longest name, in UTF-16 units.
const NAME_LIMIT: usize = 255;
/// The longest decoded path below the root, in UTF-16 units.
pub(crate) const PATH_LIMIT: usize = 400;

/// Why a name is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// Empty, or made of dots only.
    Empty,
    /// Contains a character that no name may contain.
    Character,
    /// Begins or ends with a space, or ends with a dot.
    Edge,
    /// A name the service keeps for itself or for Windows.
    Reserved,
    /// Longer than 255 UTF-16 units.
    Long,
}

/// Whether the service stores this name. `at_root` is whether the parent is the drive's root.
pub(crate) fn check(name: &str, flavour: Flavour, folder: bool, at_root: bool) -> Result<(), Refused> {
    if name.is_empty() || name == "." || name == ".." {
        return Err(Refused::Empty);
    }
    if name.chars().any(|c| matches!(c, '"' | '*' | ':' | '<' | '>' | '?' | '/' | '\\' | '|' | '\x7f') || c < ' ') {
        return Err(Refused::Character);
    }
    if name.encode_utf16().count() > NAME_LIMIT {
        return Err(Refused::Long);
    }
    if name.starts_with(' ') || name.ends_with(' ') || name.ends_with('.') {
        return Err(Refused::Edge);
    }
    let lower = name.to_lowercase();
    let stem = lower.split('.').next().unwrap_or_default();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix).is_some_and(|rest| rest.len() == 1 && rest.as_bytes()[0].is_ascii_digit())
    };
    let reserved = matches!(stem, "con" | "prn" | "aux" | "nul")
        || numbered("com")
        || numbered("lpt")
        || lower == ".lock"
        || lower == "desktop.ini"
        || name.starts_with("~$")
        || lower.contains("_vti_")
        || (!flavour.is_personal() && at_root && lower == "forms")
        || (!flavour.is_personal() && folder && name.starts_with('~'));
    if reserved { Err(Refused::Reserved) } else { Ok(()) }
}

/// How many UTF-16 units a name takes of the path limit.
pub(crate) fn units(name: &str) -> usize {
    name.encode_utf16().count()
}

/// The order of names in a folder; equal means that they cannot both be there.
///
/// Letters are folded one by one, without Unicode normalisation: composed and decomposed spellings
/// are different names. Legacy personal drives also take `æ` for `ae`.
pub(crate) fn compare(a: &str, b: &str, flavour: Flavour) -> Ordering {
    if a.is_ascii() && b.is_ascii() {
        return a.bytes().map(|c| c.to_ascii_lowercase()).cmp(b.bytes().map(|c| c.to_ascii_lowercase()));
    }
    folded(a, flavour).cmp(folded(b, flavour))
}

/// Whether a folded name contains a folded text: what search does.
pub(crate) fn contains(name: &str, text: &str, flavour: Flavour) -> bool {
    let name: String = folded(name, flavour).collect();
    let text: String = folded(text, flavour).collect();
    name.contains(&text)
}

fn folded(name: &str, flavour: Flavour) -> impl Iterator<Item = char> + '_ {
    name.chars().flat_map(move |c| {
        let c = fold_char(c);
        if flavour == Flavour::PersonalOld && c == 'æ' { [Some('a'), Some('e')] } else { [Some(c), None] }
            .into_iter()
            .flatten()
    })
}

fn fold_char(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(single), None) => single,
        _ => c,
    }
}

/// The `number`-th alternative for a taken name: `report.txt` gives `report 1.txt`.
pub(crate) fn numbered(name: &str, number: u32) -> String {
    match name.rfind('.') {
        Some(dot) if dot > 0 => format!("{} {number}{}", &name[..dot], &name[dot..]),
        _ => format!("{name} {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_refused_names() {
        let check = |name: &str| check(name, Flavour::Business, true, true);
        for (name, why) in [
            ("", Refused::Empty),
            ("..", Refused::Empty),
            ("a:b", Refused::Character),
            ("tab\there", Refused::Character),
            ("trailing ", Refused::Edge),
            ("dot.", Refused::Edge),
            ("CON", Refused::Reserved),
            ("nul.txt", Refused::Reserved),
            ("Com7", Refused::Reserved),
            ("~$lock.docx", Refused::Reserved),
            ("x_vti_y", Refused::Reserved),
            ("Desktop.INI", Refused::Reserved),
            ("Forms", Refused::Reserved),
            ("~folder", Refused::Reserved),
        ] {
            assert_eq!(check(name), Err(why), "{name:?}");
        }
        assert_eq!(check(&"x".repeat(256)), Err(Refused::Long));
        for name in ["a#b", "100%", "it's", "a+b", ".hidden", "😀", "com10", "console", "x~"] {
            assert_eq!(check(name), Ok(()), "{name:?}");
        }
        assert_eq!(super::check("~tmp", Flavour::PersonalNew, true, true), Ok(()));
    }

    #[test]
    fn case_is_folded_but_unicode_is_not_normalised() {
        let same = |a, b| compare(a, b, Flavour::PersonalNew) == Ordering::Equal;
        assert!(same("Straße.TXT", "straße.txt"));
        assert!(same("ÄRGER", "ärger"));
        assert!(!same("caf\u{e9}", "cafe\u{301}"));
        assert!(!same("æ", "ae"));
        assert_eq!(compare("æ", "AE", Flavour::PersonalOld), Ordering::Equal);
        assert_eq!(numbered("a.tar.gz", 2), "a.tar 2.gz");
        assert_eq!(numbered(".profile", 1), ".profile 1");
    }
}
