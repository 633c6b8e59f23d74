//! Reads Graph's request paths: resources, item ids, and the colons that switch to names and back.
//!
//! `root:/A/B.txt:/content` is the content of a file by path, `items/{id}:/name:` an item by its
//! parent and name. Paths are split while still encoded and each part is decoded exactly once, so an
//! encoded slash or percent sign inside a name is part of the name.
//! Documented at <https://learn.microsoft.com/onedrive/developer/rest-api/concepts/addressing-driveitems>.

use super::wire::{Refusal, decode};

/// Where an item path begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Start {
    Root,
    Item(String),
    Special(String),
}

/// An item as a request names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ItemAddress {
    pub(crate) start: Start,
    /// Decoded names from there down.
    pub(crate) names: Vec<String>,
    /// Whether names were used at all: answers by path and by id differ in places.
    pub(crate) by_path: bool,
}

/// Which drive a request is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DriveAddress {
    Mine,
    Id(String),
}

/// What a request is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Address {
    Me,
    Drives,
    Drive(DriveAddress),
    /// A function of the drive itself, like `recent` or `search(q='..')`.
    DriveFunction(DriveAddress, String),
    /// An item and what follows it, decoded segment by segment.
    Item(DriveAddress, ItemAddress, Vec<String>),
    Batch,
    Share(String, Vec<String>),
    Other,
}

fn plain(text: &str) -> Result<String, Refusal> {
    decode(text).ok_or_else(|| Refusal::bad("The request URL is not valid.").inner("invalidPath"))
}

/// Reads a path below the version segment.
pub(crate) fn parse(path: &str) -> Result<Address, Refusal> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (first, rest) = split(path);
    match first {
        "me" => match split(rest) {
            ("", _) => Ok(Address::Me),
            ("drives", "") => Ok(Address::Drives),
            _ => match rest.strip_prefix("drive") {
                Some("") => Ok(Address::Drive(DriveAddress::Mine)),
                Some(rest) if rest.starts_with('/') => in_drive(DriveAddress::Mine, &rest[1..]),
                _ => Ok(Address::Other),
            },
        },
        "drive" => in_drive(DriveAddress::Mine, rest),
        "drives" => {
            let (id, rest) = split(rest);
            match id {
                "" => Ok(Address::Other),
                id => in_drive(DriveAddress::Id(plain(id)?), rest),
            }
        }
        "users" => match rest.split_once("/drive") {
            Some((_, rest)) => in_drive(DriveAddress::Mine, rest.strip_prefix('/').unwrap_or(rest)),
            None => Ok(Address::Other),
        },
        "shares" => {
            let (token, rest) = split(rest);
            Ok(Address::Share(plain(token)?, segments(rest)?))
        }
        "$batch" if rest.is_empty() => Ok(Address::Batch),
        _ => Ok(Address::Other),
    }
}

fn split(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

fn segments(path: &str) -> Result<Vec<String>, Refusal> {
    path.split('/').filter(|part| !part.is_empty()).map(plain).collect()
}

fn in_drive(drive: DriveAddress, path: &str) -> Result<Address, Refusal> {
    if path.is_empty() {
        return Ok(Address::Drive(drive));
    }
    let (start, rest) = if let Some(rest) = path.strip_prefix("root").filter(|rest| boundary(rest)) {
        (Start::Root, rest)
    } else if let Some(rest) = path.strip_prefix("items/").or_else(|| path.strip_prefix("special/")) {
        let end = rest.find(['/', ':']).unwrap_or(rest.len());
        let id = plain(&rest[..end])?;
        let start = match (path.starts_with("items/"), id.as_str()) {
            (_, "") => return Err(Refusal::bad("The item id is missing.")),
            (true, "root") => Start::Root,
            (true, _) => Start::Item(id),
            (false, _) => Start::Special(id),
        };
        (start, &rest[end..])
    } else {
        return Ok(Address::DriveFunction(drive, plain(path)?));
    };
    let (names, by_path, rest) = match rest.strip_prefix(':') {
        None => (Vec::new(), false, rest),
        // rclone asks so for a folder that it is about to move, and is answered; with a second colon nobody is
        // (`newOptsCallWithIDPath` and `DirMove` in rclone's backend/onedrive/onedrive.go).
        Some("/") if matches!(start, Start::Item(_)) => (Vec::new(), false, ""),
        Some(rest) => {
            let (path, rest) = rest.split_once(':').unwrap_or((rest, ""));
            let path =
                path.strip_prefix('/').ok_or_else(|| Refusal::bad("A path after a colon begins with a slash."))?;
            let path = path.strip_suffix('/').unwrap_or(path);
            if path.is_empty() {
                return Err(Refusal::bad("The relative path is empty.").inner("invalidPath"));
            }
            let names = path.split('/').map(plain).collect::<Result<Vec<_>, _>>()?;
            if names.iter().any(|name| name.is_empty() || name.contains(['/', ':'])) {
                return Err(Refusal::bad("The path is not valid.").inner("invalidPath"));
            }
            (names, true, rest)
        }
    };
    let item = ItemAddress { start, names, by_path };
    let rest = segments(rest)?;
    Ok(Address::Item(drive, item, rest))
}

/// Whether `root` ends here: `rootbeer` is something else.
fn boundary(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(['/', ':'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(path: &str) -> (ItemAddress, Vec<String>) {
        match parse(path).expect("parses") {
            Address::Item(_, item, rest) => (item, rest),
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn colons_switch_to_names_and_back() {
        let (root, rest) = item("/drives/b%21x/root");
        assert_eq!((root.start, root.by_path, rest.len()), (Start::Root, false, 0));
        let (at, rest) = item("/me/drive/root:/A%20b/%23c.txt:/content");
        assert_eq!(at.names, ["A b", "#c.txt"]);
        assert_eq!(rest, ["content"]);
        let (at, rest) = item("/drives/d/items/X%211:/a%252Fb");
        assert_eq!((at.start, at.names, rest.len()), (Start::Item("X!1".into()), vec!["a%2Fb".to_owned()], 0));
        let (at, _) = item("/drives/d/items/root:/a:");
        assert_eq!((at.start, at.names.len()), (Start::Root, 1));
        let (at, rest) = item("/drives/d/items/X%211:/");
        assert_eq!((at.start, at.by_path, rest.len()), (Start::Item("X!1".into()), false, 0));
        let (at, rest) = item("/me/drive/special/documents/children");
        assert_eq!((at.start, rest), (Start::Special("documents".into()), vec!["children".to_owned()]));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for path in [
            "/me/drive/root:/",
            "/me/drive/root:/:",
            "/drives/d/items/1:/:",
            "/drives/d/items/1:/:/content",
            "/me/drive/root:/a%zz",
            "/me/drive/root:/a//b",
            "/me/drive/root:/a%3Ab",
            "/me/drive/root:/a%2Fb",
            "/me/drive/items/",
        ] {
            assert_eq!(parse(path).expect_err(path).status, 400, "{path}");
        }
        assert_eq!(parse("/nonsense"), Ok(Address::Other));
    }
}
