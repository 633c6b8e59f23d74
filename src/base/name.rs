//! Names: what a Linux program may call a file, what the service stores, and the way between the two.
//!
//! The service refuses nine characters, some edges and some words that Linux programs use freely. What can
//! be mapped is mapped to look-alikes and back (the same mapping that rclone uses for OneDrive, so that a
//! drive written by one reads the same in the other); what cannot is refused by name. The mapping is
//! reversible: `to_local(to_remote(x)) == x` for every name that is not refused.
//!
//! | in a local name | in the cloud |
//! | --- | --- |
//! | `"` `*` `:` `<` `>` `?` `\` `\|` | full-width forms, U+FF02 and so on |
//! | 0x01 to 0x1F, 0x7F | control pictures, U+2401 and so on |
//! | a leading or trailing space | U+2420 |
//! | a trailing `.` | U+FF0E |
//! | a leading `~` | U+FF5E |
//! | one of these look-alikes itself, or U+201B | the same, preceded by U+201B |
//!
//! Rules of the service: <https://support.microsoft.com/office/restrictions-and-limitations-in-onedrive-and-sharepoint-64883a5d-228e-48f5-b3d2-eb39e07630fa>.

use std::ffi::OsStr;

/// The longest name the service stores, in UTF-16 units.
pub const LONGEST_NAME: usize = 255;

const QUOTE: char = '\u{201B}';

/// Why a name cannot be stored.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// Not valid UTF-8.
    #[error("it is not valid UTF-8")]
    NotText,
    /// Empty, `.` or `..`, or with a slash or NUL.
    #[error("it is empty, a dot entry, or has a slash in it")]
    NotAName,
    /// A word the service reserves.
    #[error("OneDrive reserves the name {0}")]
    Reserved(String),
    /// Longer than [`LONGEST_NAME`].
    #[error("it has {0} UTF-16 units, OneDrive stores 255")]
    TooLong(usize),
}

/// A local name in the spelling that the service stores.
///
/// # Errors
///
/// [`NameError`] for names that no mapping can save.
pub fn to_remote(local: &OsStr) -> Result<String, NameError> {
    let mapped = map(local)?;
    if let Some(word) = reserved(&mapped) {
        return Err(NameError::Reserved(word));
    }
    Ok(mapped)
}

/// The mapping without the check for reserved words, for names that never leave this machine.
///
/// # Errors
///
/// [`NameError`] for what is no name at all.
pub fn map(local: &OsStr) -> Result<String, NameError> {
    let text = local.to_str().ok_or(NameError::NotText)?;
    if text.is_empty() || text == "." || text == ".." || text.contains(['/', '\0']) {
        return Err(NameError::NotAName);
    }
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count() - 1;
    for (at, c) in text.chars().enumerate() {
        let edge = match c {
            ' ' if at == 0 || at == last => Some('\u{2420}'),
            '.' if at == last => Some('\u{FF0E}'),
            '~' if at == 0 => Some('\u{FF5E}'),
            _ => None,
        };
        match edge.or_else(|| look_alike(c)) {
            Some(mapped) => out.push(mapped),
            None => {
                if original(c).is_some() || c == QUOTE {
                    out.push(QUOTE);
                }
                out.push(c);
            }
        }
    }
    let units = out.encode_utf16().count();
    if units > LONGEST_NAME {
        return Err(NameError::TooLong(units));
    }
    Ok(out)
}

/// A name of the service as local programs see it. Total: a name that no local name maps to (a server
/// that breaks its own rules) still gets a safe one, without slash, NUL or dot entries.
pub fn to_local(remote: &str) -> String {
    let mut out = String::with_capacity(remote.len());
    let last = remote.chars().count().saturating_sub(1);
    let mut chars = remote.chars().enumerate();
    while let Some((at, c)) = chars.next() {
        if c == QUOTE {
            // Only before what has to be quoted: elsewhere somebody has simply written it.
            let quoted = chars.clone().next().map(|(_, next)| next).filter(|n| *n == QUOTE || original(*n).is_some());
            if quoted.is_some() {
                chars.next();
            }
            out.push(quoted.unwrap_or(c));
            continue;
        }
        let plain = match c {
            '\u{2420}' if at == 0 || at == last => Some(' '),
            '\u{FF0E}' if at == last => Some('.'),
            '\u{FF5E}' if at == 0 => Some('~'),
            '\u{2420}' | '\u{FF0E}' | '\u{FF5E}' => None,
            _ => original(c),
        };
        out.push(plain.unwrap_or(c));
    }
    if out.is_empty() || out == "." || out == ".." || out.contains(['/', '\0']) {
        return format!("invalid name {}", out.replace(['/', '\0'], "\u{FFFD}"));
    }
    out
}

/// Whether a name is the same here and in the cloud, because nothing in it is mapped or stands for something mapped.
pub fn is_plain(name: &str) -> bool {
    !name.starts_with([' ', '~'])
        && !name.ends_with([' ', '.'])
        && !name.chars().any(|c| c == QUOTE || look_alike(c).is_some() || original(c).is_some())
}

/// A text of somebody else (a service, the name of a file) made fit for a line on a terminal or in a log: one line, at
/// most 200 characters, nothing that moves the cursor or turns the direction of writing, no URL and no long word that
/// may be a credential.
pub fn presentable(text: &str) -> String {
    let hidden = |word: &str| {
        if word.contains("://") || word.contains("tempauth") {
            "<url>".to_owned()
        } else if word.len() > 100 && word.is_ascii() {
            "<...>".to_owned()
        } else {
            word.chars().map(|c| if is_unprintable(c) { '\u{FFFD}' } else { c }).collect()
        }
    };
    // No more is looked at than can be shown; a credential must not be cut to something that looks harmless.
    let end = text.char_indices().nth(4000).map_or(text.len(), |(at, _)| at);
    let line = text[..end].split_whitespace().map(hidden).collect::<Vec<_>>().join(" ");
    line.chars().take(200).collect()
}

/// A name of somebody else made fit for a sentence: what a terminal obeys instead of showing it, line ends too, becomes
/// an escape such as `\u{1b}`. Every other character stays.
pub fn tamed(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if is_unprintable(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A character that a terminal obeys instead of showing it: control characters, and those that turn the direction of
/// writing, with which `gpj.exe` reads `exe.jpg`.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{2028}' | '\u{2029}')
}

fn look_alike(c: char) -> Option<char> {
    Some(match c {
        '"' => '\u{FF02}',
        '*' => '\u{FF0A}',
        ':' => '\u{FF1A}',
        '<' => '\u{FF1C}',
        '>' => '\u{FF1E}',
        '?' => '\u{FF1F}',
        '\\' => '\u{FF3C}',
        '|' => '\u{FF5C}',
        '\u{1}'..='\u{1F}' => char::from_u32(0x2400 + c as u32)?,
        '\u{7F}' => '\u{2421}',
        _ => return None,
    })
}

fn original(c: char) -> Option<char> {
    Some(match c {
        '\u{FF02}' => '"',
        '\u{FF0A}' => '*',
        '\u{FF1A}' => ':',
        '\u{FF1C}' => '<',
        '\u{FF1E}' => '>',
        '\u{FF1F}' => '?',
        '\u{FF3C}' => '\\',
        '\u{FF5C}' => '|',
        '\u{2401}'..='\u{241F}' => char::from_u32(c as u32 - 0x2400)?,
        '\u{2421}' => '\u{7F}',
        '\u{2420}' => ' ',
        '\u{FF0E}' => '.',
        '\u{FF5E}' => '~',
        _ => return None,
    })
}

fn reserved(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let stem = upper.split('.').next().unwrap_or_default();
    let device = matches!(stem, "CON" | "PRN" | "AUX" | "NUL")
        || (stem.len() == 4
            && (stem.starts_with("COM") || stem.starts_with("LPT"))
            && stem.as_bytes()[3].is_ascii_digit());
    if device {
        return Some(stem.to_owned());
    }
    if upper == ".LOCK" || upper == "DESKTOP.INI" {
        return Some(name.to_owned());
    }
    upper.contains("_VTI_").then(|| "_vti_".to_owned())
}

/// The form of a (remote) name in which the service compares names: without case, letter by letter, and not normalised
/// (composed and decomposed spellings are different names there).
///
/// The service's own folding is wider in places (`ae` equals the ligature on old personal drives), so "not
/// equal" never proves that a name is free there; a conflict reported by the service decides. This one must not be wider
/// anywhere, because of two names that are equal here only one is shown: no letter becomes two (`\u{130}` would be what its
/// decomposed spelling is), and none depends on its neighbours (the last sigma of a word).
pub fn fold(name: &str) -> String {
    let folded = |letter: char| {
        let mut lower = letter.to_lowercase();
        match (lower.next(), lower.next()) {
            (Some(single), None) => single,
            _ => letter,
        }
    };
    name.chars().map(folded).collect()
}

/// Whether a file of this name stays on this machine: lock and scratch files of editors, office programs,
/// databases and browsers, which mean nothing elsewhere and would only disturb other devices.
///
/// | pattern | whose |
/// | --- | --- |
/// | `~$*`, `.~lock.*#` | Microsoft Office, LibreOffice locks |
/// | `.*.sw?`, `.*.swpx`, `4913` | vim |
/// | `.#*`, `#*#` | emacs |
/// | `.goutputstream-*` | GLib, before its rename |
/// | `*.part`, `*.crdownload`, `*.partial` | browsers, before their rename |
/// | `*.db-journal`, `-wal`, `-shm` (also `.sqlite`, `.sqlite3`, `.db3`) | SQLite |
/// | `.fuse_hidden*`, `.nfs*`, `.rsync-tmp*`, `.DS_Store`, `Thumbs.db` | file systems, desktops |
pub fn is_local_only(local: &OsStr) -> bool {
    let Some(name) = local.to_str() else { return false };
    let swap = name.starts_with('.')
        && name
            .rsplit_once('.')
            .is_some_and(|(stem, end)| stem.len() > 1 && ((end.len() == 3 && end.starts_with("sw")) || end == "swpx"));
    let database = ["-journal", "-wal", "-shm"].iter().any(|end| {
        name.strip_suffix(end)
            .is_some_and(|stem| [".db", ".db3", ".sqlite", ".sqlite3"].iter().any(|ext| stem.ends_with(ext)))
    });
    swap || database
        || name == "4913"
        || name == ".DS_Store"
        || name == "Thumbs.db"
        || (name.len() > 2 && name.starts_with('#') && name.ends_with('#'))
        || is_mere_lock(name)
        || [".goutputstream-", ".fuse_hidden", ".nfs", ".rsync-tmp"].iter().any(|start| name.starts_with(start))
        || [".part", ".crdownload", ".partial"].iter().any(|end| name.len() > end.len() && name.ends_with(end))
}

/// Whether a file of this name only says that somebody has another one open: without that other one it is of no use.
pub fn is_mere_lock(local: &str) -> bool {
    ["~$", ".#"].iter().any(|start| local.starts_with(start)) || (local.starts_with(".~lock.") && local.ends_with('#'))
}

/// Whether this is a trash folder that a desktop wants to make. Refusing it at the root makes file managers
/// delete instead, which the service's own recycle bin catches.
pub fn is_desktop_trash(local: &OsStr) -> bool {
    local.to_str().is_some_and(|name| name == ".Trash" || name.starts_with(".Trash-"))
}

/// A free name for our version of a file that somebody else changed: `name (host, date).ext`, numbered from
/// 2 if that is taken too. `date` is `YYYY-MM-DD`.
pub fn conflict_name(name: &str, host: &str, date: &str, taken: impl Fn(&str) -> bool) -> String {
    // A sentence with a dot in it ("1. What we did last summer") has no extension, however long its end is.
    const LONGEST_EXTENSION: usize = 32;
    let (stem, ext) = match name.rfind('.') {
        Some(dot) if dot > 0 && name[dot..].encode_utf16().count() <= LONGEST_EXTENSION => name.split_at(dot),
        _ => (name, ""),
    };
    let host: String = host.chars().filter(|c| c.is_alphanumeric() || *c == '-').take(32).collect();
    let mut number = 1u32;
    loop {
        let suffix =
            if number == 1 { format!(" ({host}, {date}){ext}") } else { format!(" ({host}, {date} {number}){ext}") };
        let room = LONGEST_NAME.saturating_sub(suffix.encode_utf16().count());
        let mut units = 0;
        let short: String = stem
            .chars()
            .take_while(|c| {
                units += c.len_utf16();
                units <= room
            })
            .collect();
        let candidate = format!("{short}{suffix}");
        if !taken(&candidate) {
            return candidate;
        }
        number += 1;
    }
}

/// Who has a name on the way to another folder, where both the old and the new name are taken. `moment` makes it one of its
/// own.
pub fn passing_name(name: &str, moment: i64, taken: impl Fn(&str) -> bool) -> String {
    conflict_name(name, "moving", &moment.to_string(), taken)
}

/// Whether this may be a [`passing_name`].
pub fn is_passing(name: &str) -> bool {
    name.rsplit_once(" (moving, ").is_some_and(|(_, end)| end.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any text as a name, from both sides.
pub(crate) fn fuzz(data: &[u8]) {
    use std::os::unix::ffi::OsStrExt as _;
    let local = OsStr::from_bytes(data);
    if let Ok(remote) = map(local) {
        assert_eq!(OsStr::new(&to_local(&remote)), local, "there and back");
        assert!(!remote.contains(['/', '\0', '"', '*', ':', '<', '>', '?', '\\', '|']));
        assert!(remote.encode_utf16().count() <= LONGEST_NAME);
    }
    let _ = (to_remote(local), is_local_only(local), is_desktop_trash(local));
    let text = String::from_utf8_lossy(data);
    let shown = to_local(&text);
    assert!(!shown.is_empty() && shown != "." && shown != ".." && !shown.contains(['/', '\0']), "{shown:?}");
    let line = presentable(&text);
    assert!(line.chars().count() <= 200 && !line.contains(is_unprintable) && !line.contains("://"), "{line:?}");
    let conflict = conflict_name(&text, &text, "2026-01-02", |_| false);
    assert!(conflict.encode_utf16().count() <= LONGEST_NAME, "{conflict:?}");
    let _ = fold(&text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forbidden_characters_become_look_alikes() {
        assert_eq!(to_remote(OsStr::new("a:b?.txt")).expect("maps"), "a\u{FF1A}b\u{FF1F}.txt");
        assert_eq!(to_remote(OsStr::new("end.")).expect("maps"), "end\u{FF0E}");
        assert_eq!(to_remote(OsStr::new("~x")).expect("maps"), "\u{FF5E}x");
        assert_eq!(to_local("a\u{FF1A}b"), "a:b");
    }

    #[test]
    fn reserved_words_are_refused_by_name() {
        for name in ["CON", "con.txt", "COM1", "lpt9.x", ".lock", "desktop.ini", "a_vti_b"] {
            assert!(matches!(to_remote(OsStr::new(name)), Err(NameError::Reserved(_))), "{name}");
        }
        for name in ["CONSOLE", "COM10", "index.lock", "vti"] {
            assert!(to_remote(OsStr::new(name)).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_hostile_remote_name_becomes_a_safe_local_one() {
        for name in ["", ".", "..", "a/b", "a\0b", "../../etc/passwd"] {
            let local = to_local(name);
            assert!(!local.contains(['/', '\0']) && !local.is_empty() && local != "." && local != "..", "{name:?}");
        }
    }

    #[test]
    fn texts_of_others_cannot_move_the_cursor_or_carry_a_credential() {
        assert_eq!(presentable("see\r\nhttps://x.example/?tempauth=s3cret now"), "see <url> now");
        assert_eq!(presentable("tempauth=v1.s3cret"), "<url>");
        assert_eq!(presentable(&format!("token {} was", "eyJ0".repeat(300))), "token <...> was");
        assert_eq!(presentable(&"a b ".repeat(900)).len(), 200);
        assert_eq!(presentable("\u{1b}[2J exe\u{202E}gpj.txt"), "\u{FFFD}[2J exe\u{FFFD}gpj.txt");
        assert_eq!(presentable("Grüße, 日本語"), "Grüße, 日本語");
    }

    #[test]
    fn scratch_files_stay_here() {
        for name in [
            "~$a.docx",
            ".~lock.a.odt#",
            ".a.txt.swp",
            ".a.swpx",
            "4913",
            "x.db-journal",
            "y.sqlite3-wal",
            "f.iso.part",
            ".goutputstream-ABC",
        ] {
            assert!(is_local_only(OsStr::new(name)), "{name}");
        }
        for name in ["travel-journal", "a.tmp", ".bashrc", "x~", "index.lock", "a.swp.txt", ".sws", "party"] {
            assert!(!is_local_only(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn what_the_service_tells_apart_is_told_apart_here() {
        assert_eq!(fold("\u{c4}RGER.TXT"), fold("\u{e4}rger.txt"));
        for (one, other) in
            [("\u{130}stanbul", "I\u{307}stanbul"), ("\u{39f}\u{394}\u{39f}\u{3a3}", "\u{3bf}\u{3b4}\u{3bf}\u{3c2}")]
        {
            assert_ne!(fold(one), fold(other), "{one} {other}");
        }
    }

    #[test]
    fn a_name_on_the_way_is_known_as_one() {
        for name in ["a.txt", "a", &"x".repeat(255), ".profile"] {
            let passing = passing_name(name, 1_770_000_000, |_| false);
            assert!(is_passing(&passing) && !is_passing(name), "{passing}");
            assert!(is_passing(&passing_name(name, 1_770_000_000, |taken| taken == passing)));
        }
        assert!(!is_passing("Boxes (moving, urgent).txt"));
    }

    #[test]
    fn conflict_names_keep_the_extension_and_the_limit() {
        assert_eq!(conflict_name("a.tar.gz", "lap top", "2026-01-02", |_| false), "a.tar (laptop, 2026-01-02).gz");
        let taken = conflict_name(".profile", "h", "d", |n| n == ".profile (h, d)");
        assert_eq!(taken, ".profile (h, d 2)");
        let long = conflict_name(&"x".repeat(255), "h", "d", |_| false);
        assert!(long.encode_utf16().count() <= LONGEST_NAME);
        let sentence = format!("1. {}", "x".repeat(250));
        let long = conflict_name(&sentence, "h", "d", |_| false);
        assert!(long.encode_utf16().count() <= LONGEST_NAME && long.ends_with("x (h, d)"), "{long}");
    }

    proptest! {
        #[test]
        fn a_plain_name_is_the_same_on_both_sides(name in "[ ~.a:*“\u{201B}\u{FF1A}\u{2420}é]{1,6}") {
            let mapped = map(name.as_ref());
            let same = mapped.as_deref() == Ok(name.as_str()) && to_local(&name) == name;
            // Of dots alone there is no name; anything else is plain exactly if nothing happens to it.
            prop_assert!(!is_plain(&name) || same, "{name:?}");
        }

        #[test]
        fn the_mapping_is_reversible(name in "[a-c .~:\u{201B}\u{FF1A}\u{2420}\u{FF0E}\u{FF5E}\u{2401}\u{1}\\\\|]{1,8}") {
            if let Ok(remote) = map(OsStr::new(&name)) {
                prop_assert_eq!(to_local(&remote), name);
            }
        }
    }
}
