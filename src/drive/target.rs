//! What an OBJECT on the command line means: an id, a path, or one of the old service's special paths.
//!
//! python-onedrive guessed by the look of the argument, and scripts rely on it. Its pattern took sixteen digits for
//! granted, so accounts with a leading zero had to use `-i` everywhere; here digits may be fewer, and ids of Graph are
//! known too. Ids of the old service lead to the same objects on Graph, so that those in scripts go on working.

use crate::base::ids::DriveId;
use crate::remote::extras::SpecialFolder;

/// What an argument means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// The root folder.
    Root,
    /// An object with this id.
    Id(String),
    /// Names from a folder of the service on: the special folder if there is one, else the root.
    Names {
        /// Where to start.
        special: Option<SpecialFolder>,
        /// The names, none of them empty.
        names: Vec<String>,
    },
    /// The children of the root or of a special folder, as the old service named them: `me/skydrive/files`. For who looks
    /// that is the folder; for who changes something it is an object called `files` in it, because what is meant to go
    /// for one object must not go for the folder.
    Listing(Option<SpecialFolder>),
    /// What the old service tells at a path and is no object.
    View(View),
}

/// What the old service called the children of a folder, behind the path of the folder.
pub const LISTING: &str = "files";

/// What the old service told at a path of its own, and every service tells somewhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum View {
    /// What others share with this account; `me/skydrive/shared`.
    Shared,
    /// What was used lately; `me/skydrive/recent_docs`.
    Recent,
    /// The space; `me/skydrive/quota`.
    Quota,
}

impl View {
    fn named(name: &str) -> Option<Self> {
        match name {
            "shared" => Some(Self::Shared),
            "recent_docs" | "recent" => Some(Self::Recent),
            "quota" => Some(Self::Quota),
            _ => None,
        }
    }

    /// Its path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Shared => "me/skydrive/shared",
            Self::Recent => "me/skydrive/recent_docs",
            Self::Quota => "me/skydrive/quota",
        }
    }
}

/// The special folder of this name in a path.
fn special_named(name: &str) -> Option<SpecialFolder> {
    Some(match name {
        "my_documents" | "documents" => SpecialFolder::Documents,
        "my_photos" | "photos" => SpecialFolder::Photos,
        "camera_roll" | "cameraroll" => SpecialFolder::CameraRoll,
        "public_documents" => SpecialFolder::Public,
        "music" => SpecialFolder::Music,
        "approot" => SpecialFolder::AppRoot,
        _ => return None,
    })
}

/// How the user wants arguments to be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// By their look.
    Guess,
    /// `-p`
    Paths,
    /// `-i`
    Ids,
}

/// What an argument means.
///
/// | argument | guess | `-p` | `-i` |
/// | --- | --- | --- | --- |
/// | nothing, `/`, `me/skydrive` | root | root | root |
/// | `me/skydrive/camera_roll/a` | special folder, then names | the same | the same |
/// | `me/skydrive/shared`, `.../recent_docs`, `.../quota` | no object, but a view | the same | the same |
/// | `me/skydrive/files`, `me/skydrive/camera_roll/files` | the listing of a folder | the same | the same |
/// | looks like an id | id | names | id |
/// | anything else | names | names | id |
pub fn meaning(argument: &str, taken: Taken) -> Meaning {
    if let Some(special) = special_path(argument) {
        return special;
    }
    match taken {
        Taken::Ids => Meaning::Id(argument.to_owned()),
        Taken::Guess if looks_like_an_id(argument) => Meaning::Id(argument.to_owned()),
        _ => match names(argument) {
            names if names.is_empty() => Meaning::Root,
            names => Meaning::Names { special: None, names },
        },
    }
}

/// The names of a path: `/` and `\` separate, as in python-onedrive, and empty names do not count.
pub fn names(path: &str) -> Vec<String> {
    path.split(['/', '\\']).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn special_path(argument: &str) -> Option<Meaning> {
    let mut names = names(argument);
    if names.len() < 2 || names[0] != "me" || names[1] != "skydrive" {
        return None;
    }
    names.drain(..2);
    let view = names.first().and_then(|name| View::named(name));
    let special = names.first().and_then(|name| special_named(name));
    if special.is_some() {
        names.remove(0);
    }
    let rest: Vec<&str> = names.iter().map(String::as_str).collect();
    Some(match (view, rest.as_slice()) {
        (Some(view), [_] | [_, LISTING]) => Meaning::View(view),
        (_, []) if special.is_none() => Meaning::Root,
        (_, [LISTING]) => Meaning::Listing(special),
        _ => Meaning::Names { special, names },
    })
}

/// Whether a text has the form of an id of either service.
///
/// | form | of |
/// | --- | --- |
/// | `file.CID.CID!N`, `folder.CID.CID!N` (also photo, video, audio, album, notebook), `folder.CID` | the old service |
/// | `CID!N`, `CID!s` and hexadecimal digits | Graph, personal |
/// | `01` and 32 letters and digits of base 32 | Graph, work and school |
///
/// `CID` is 1 to 16 hexadecimal digits.
pub fn looks_like_an_id(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    match parts.as_slice() {
        ["folder", cid] => is_cid(cid),
        [kind, cid, rest] => KINDS.contains(kind) && is_cid(cid) && is_personal(rest),
        [one] => is_personal(one) || is_business(one),
        _ => false,
    }
}

const KINDS: &[&str] = &["file", "folder", "photo", "video", "audio", "album", "notebook"];

fn is_cid(text: &str) -> bool {
    (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_personal(text: &str) -> bool {
    text.split_once('!').is_some_and(|(cid, rest)| {
        let hexadecimal = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        is_cid(cid)
            && ((!rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
                || rest.strip_prefix('s').is_some_and(hexadecimal))
    })
}

fn is_business(text: &str) -> bool {
    text.len() == 34 && text.starts_with("01") && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// The drive whose root folder the old service called so. Folders are called so, too: `folder.2024`. Whose drive it is
/// tells the two apart, and never is it the root of another one.
pub fn root_of(id: &str) -> Option<DriveId> {
    id.strip_prefix("folder.").filter(|cid| is_cid(cid)).map(DriveId::new)
}

/// The id that Graph has for what the old service called `id`; a root folder has none that can be told from that, see
/// [`root_of`].
pub fn on_graph(id: &str) -> String {
    if !looks_like_an_id(id) {
        return id.to_owned();
    }
    let parts: Vec<&str> = id.split('.').collect();
    match parts.as_slice() {
        [_, _, rest] => (*rest).to_owned(),
        _ => id.to_owned(),
    }
}

/// What an id of the old service may be in the spelling of the service, the likelier first.
///
/// | given | ids |
/// | --- | --- |
/// | `CID!N`, as in web links | `file.cid.CID!N`, `folder.cid.CID!N` |
/// | `KIND.cid.CID!N` | the same, with 16 digits in the first place and no leading zeros in the second |
/// | `folder.cid`, the root folder of an account | the same, with 16 digits |
/// | anything else | itself |
pub fn on_live(id: &str) -> Vec<String> {
    if !looks_like_an_id(id) {
        return vec![id.to_owned()];
    }
    let long = |cid: &str| format!("{:0>16}", cid.to_ascii_lowercase());
    let short = |rest: &str| match rest.split_once('!') {
        Some((cid, number)) => format!("{}!{number}", cid.trim_start_matches('0').to_ascii_uppercase()),
        None => rest.to_owned(),
    };
    let parts: Vec<&str> = id.split('.').collect();
    match parts.as_slice() {
        [kind, cid] => vec![format!("{kind}.{}", long(cid))],
        [kind, cid, rest] => vec![format!("{kind}.{}.{}", long(cid), short(rest))],
        [rest] => match rest.split_once('!') {
            Some((cid, _)) => {
                ["file", "folder"].iter().map(|kind| format!("{kind}.{}.{}", long(cid), short(rest))).collect()
            }
            None => vec![id.to_owned()],
        },
        _ => vec![id.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: &str = "folder.7c1e0b5a93d2f648.7C1E0B5A93D2F648!114";
    const SHORT: &str = "file.1e0b5a93d2f648.1E0B5A93D2F648!7";
    const NEW: &str = "7C1E0B5A93D2F648!s5f3a0c1d2b4e4f60a1b2c3d4e5f60718";
    const WORK: &str = "01ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

    #[test]
    fn ids_are_known_by_their_look() {
        for id in [LIVE, SHORT, "folder.7c1e0b5a93d2f648", "folder.1e0b5a93d2f648", "7C1E0B5A93D2F648!114", NEW, WORK] {
            assert!(looks_like_an_id(id), "{id}");
        }
        for path in [
            "Documents",
            "file.txt",
            "folder.old",
            "folder.7c1e0b5a93d2f6481",
            "a!1x",
            "xyz!1",
            "!1",
            "7C1E!",
            "1!s",
            "file.a.b",
            "01ABC",
            "me/skydrive",
            "Documents/file.1.1!1",
            "",
        ] {
            assert!(!looks_like_an_id(path), "{path}");
        }
    }

    #[test]
    fn every_row_of_the_table() {
        let id = |text: &str| Meaning::Id(text.to_owned());
        let path = |parts: &[&str]| Meaning::Names {
            special: None,
            names: parts.iter().map(|part| (*part).to_owned()).collect(),
        };
        for taken in [Taken::Guess, Taken::Paths, Taken::Ids] {
            for root in ["me/skydrive", "me/skydrive/", "/me/skydrive"] {
                assert_eq!(meaning(root, taken), Meaning::Root, "{root}");
            }
            let roll =
                Meaning::Names { special: Some(SpecialFolder::CameraRoll), names: vec!["a b".into(), "c".into()] };
            assert_eq!(meaning("me/skydrive/camera_roll/a b//c", taken), roll);
            for view in [View::Shared, View::Recent, View::Quota] {
                assert_eq!(meaning(view.path(), taken), Meaning::View(view));
            }
            assert_eq!(meaning("me/skydrive/shared/files", taken), Meaning::View(View::Shared));
            assert_eq!(meaning("me/skydrive/files", taken), Meaning::Listing(None));
            let listing = Meaning::Listing(Some(SpecialFolder::CameraRoll));
            assert_eq!(meaning("me/skydrive/camera_roll/files", taken), listing);
            for names in [&["Projects", "files"][..], &["files", "files"], &["Projects", "a", "files"]] {
                assert_eq!(meaning(&format!("me/skydrive/{}", names.join("/")), taken), path(names));
            }
        }
        assert_eq!(meaning("/", Taken::Guess), Meaning::Root);
        assert_eq!(meaning("", Taken::Paths), Meaning::Root);
        assert_eq!(meaning(LIVE, Taken::Guess), id(LIVE));
        assert_eq!(meaning(LIVE, Taken::Paths), path(&[LIVE]));
        assert_eq!(meaning("Documents", Taken::Ids), id("Documents"));
        assert_eq!(meaning("me/skydrive/shared/a", Taken::Guess), path(&["shared", "a"]));
        assert_eq!(meaning("shared", Taken::Guess), path(&["shared"]));
        assert_eq!(meaning("a\\b/c", Taken::Guess), path(&["a", "b", "c"]));
    }

    #[test]
    fn ids_of_the_old_service_have_one_spelling() {
        for (given, spelled) in [
            (LIVE, LIVE),
            ("A4F7719C2BE3D05!88", "file.0a4f7719c2be3d05.A4F7719C2BE3D05!88"),
            ("0a4f7719c2be3d05!88", "file.0a4f7719c2be3d05.A4F7719C2BE3D05!88"),
            ("folder.a4f7719c2be3d05.0A4F7719C2BE3D05!7", "folder.0a4f7719c2be3d05.A4F7719C2BE3D05!7"),
            ("folder.A4F7719C2BE3D05", "folder.0a4f7719c2be3d05"),
            ("Documents", "Documents"),
            (WORK, WORK),
        ] {
            assert_eq!(on_live(given)[0], spelled, "{given}");
        }
    }

    #[test]
    fn a_short_id_may_be_of_a_file_or_a_folder() {
        let long = |kind: &str| format!("{kind}.0a4f7719c2be3d05.A4F7719C2BE3D05!88");
        assert_eq!(on_live("A4F7719C2BE3D05!88"), [long("file"), long("folder")]);
    }

    #[test]
    fn old_ids_lead_to_the_same_objects() {
        assert_eq!(on_graph(LIVE), "7C1E0B5A93D2F648!114");
        assert_eq!(on_graph(NEW), NEW);
        assert_eq!(on_graph("whatever.it.is"), "whatever.it.is");
    }

    #[test]
    fn a_root_is_known_with_and_without_its_zeros() {
        let drive = Some(DriveId::new("0a4f7719c2be3d05"));
        for id in ["folder.0a4f7719c2be3d05", "folder.A4F7719C2BE3D05", "folder.a4f7719c2be3d05"] {
            assert_eq!(root_of(id), drive, "{id}");
        }
        assert_ne!(root_of("folder.2024"), drive);
        for other in [LIVE, NEW, WORK, "folder.old", "folder.", "file.2024", "Documents"] {
            assert_eq!(root_of(other), None, "{other}");
        }
    }
}
