//! The sources, read as text: without comments, strings and test code, and which paths and crates they name.
//!
//! The reading is crude on purpose. It does not see paths that a macro puts together, and it takes an inline
//! module for its file.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// One source file.
pub struct Source {
    /// Path under `src`, without `.rs` and `/mod`: the place that the tables name.
    pub place: String,
    /// As a person writes it: `src/base/mod.rs`.
    pub path: String,
    pub text: String,
    /// The text without comments and test code, line for line.
    pub code: String,
    /// As `code`, with the contents of strings blanked too.
    pub bare: String,
    /// The words of `bare`, with where they start.
    pub words: Vec<(usize, String)>,
    /// It exists for tests only.
    pub test: bool,
}

impl Source {
    pub fn new(path: String, text: String) -> Self {
        let whole = blanked(&text, true);
        let code = without_test_items(&blanked(&text, false), &whole);
        let bare = without_test_items(&whole, &whole);
        let words = words(&bare).map(|(at, word)| (at, word.to_owned())).collect();
        Self { place: place_of(&path), path, text, code, bare, words, test: false }
    }
}

/// All `.rs` files below a folder of the repository, by path.
pub fn files_below(folder: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open = vec![root.join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository can be listed") {
            let path = entry.expect("an entry of a folder").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(root).expect("below the root").to_str().expect("a plain name").to_owned());
            }
        }
    }
    found.sort();
    found
}

pub fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file of the repository is text")
}

fn place_of(path: &str) -> String {
    let place = path.strip_prefix("src/").expect("below src").strip_suffix(".rs").expect("a Rust file");
    place.strip_suffix("/mod").unwrap_or(place).to_owned()
}

/// All of `src`, read once.
pub static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(sources);

fn sources() -> Vec<Source> {
    let mut all: Vec<Source> = files_below("src")
        .into_iter()
        .map(|path| (read(&path), path))
        .map(|(text, path)| Source::new(path, text))
        .collect();
    assert!(all.len() > 100, "only {} files below src: the sources were not found", all.len());
    let for_tests: BTreeSet<String> = all
        .iter()
        .filter(|source| source.text.contains("cfg(test)"))
        .flat_map(|source| test_modules(&source.text).into_iter().map(|name| child(source, &name)))
        .collect();
    for source in &mut all {
        // `content_tests.rs` is `mod tests` under another name.
        source.test = source.place.ends_with("_tests") || for_tests.iter().any(|place| lies_in(&source.place, place));
    }
    all
}

/// The place of a module that a file declares.
fn child(parent: &Source, name: &str) -> String {
    if parent.place == "lib" { name.to_owned() } else { format!("{}/{name}", parent.place) }
}

pub fn lies_in(place: &str, home: &str) -> bool {
    home.is_empty() || place == home || place.strip_prefix(home).is_some_and(|rest| rest.starts_with('/'))
}

/// The text with comments blanked, and the contents of strings too if `strings`; lines stay where they are.
pub fn blanked(text: &str, strings: bool) -> String {
    let input: Vec<char> = text.chars().collect();
    let mut output = String::with_capacity(text.len());
    let blank = |output: &mut String, from: usize, to: usize| {
        output.extend(input[from..to].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
    };
    let mut at = 0;
    while at < input.len() {
        let rest = &input[at..];
        let word_before = at > 0 && (input[at - 1].is_alphanumeric() || input[at - 1] == '_');
        let end = match rest {
            ['/', '/', ..] => rest.iter().position(|&c| c == '\n').map_or(input.len(), |length| at + length),
            ['/', '*', ..] => end_of_block_comment(&input, at),
            ['"', ..] | ['r', '"', ..] | ['r', '#', ..] | ['b', 'r', ..] if !word_before || rest[0] == '"' => {
                match end_of_string(&input, at) {
                    Some((open, close, end)) => {
                        output.extend(&input[at..open]);
                        if strings {
                            blank(&mut output, open, close);
                        } else {
                            output.extend(&input[open..close]);
                        }
                        output.extend(&input[close..end]);
                        at = end;
                        continue;
                    }
                    None => at,
                }
            }
            // A character, not a lifetime.
            ['\'', '\\', _, ..] => {
                at + 3 + input[at + 3..].iter().position(|&c| c == '\'').map_or(0, |length| length + 1)
            }
            ['\'', _, '\'', ..] => at + 3,
            _ => at,
        };
        if end == at {
            output.push(input[at]);
            at += 1;
        } else {
            blank(&mut output, at, end);
            at = end;
        }
    }
    output
}

fn end_of_block_comment(input: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < input.len() {
        match &input[at..] {
            ['/', '*', ..] => (at, depth) = (at + 2, depth + 1),
            ['*', '/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Of a string that starts here: where its contents start, where they end, and where the string ends.
fn end_of_string(input: &[char], start: usize) -> Option<(usize, usize, usize)> {
    let mut at = start;
    at += usize::from(input[at] == 'b');
    let raw = input[at] == 'r';
    at += usize::from(raw);
    let hashes = input[at..].iter().take_while(|&&c| raw && c == '#').count();
    at += hashes;
    if input.get(at) != Some(&'"') {
        return None;
    }
    let open = at + 1;
    at = open;
    loop {
        match *input.get(at)? {
            '\\' if !raw => at += 2,
            '"' if input[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes => {
                return Some((open, at, at + 1 + hashes));
            }
            _ => at += 1,
        }
    }
}

/// Blanks every item under `#[cfg(test)]`. `bare` is `code` without strings, and tells where an item ends.
fn without_test_items(code: &str, bare: &str) -> String {
    // The same positions in both: only characters outside strings are compared.
    let bare: Vec<char> = bare.chars().collect();
    let mut output: Vec<char> = code.chars().collect();
    assert_eq!(bare.len(), output.len(), "blanking keeps the length");
    for start in test_attributes(&bare) {
        let end = end_of_item(&bare, start);
        for c in &mut output[start..end] {
            if *c != '\n' {
                *c = ' ';
            }
        }
    }
    output.into_iter().collect()
}

/// Where the attributes start that keep an item for tests.
fn test_attributes(bare: &[char]) -> Vec<usize> {
    let marks = ["#[cfg(test)]", "#[cfg(all(test,"].map(|mark| mark.chars().collect::<Vec<char>>());
    let starts = |at: &usize| bare[*at] == '#' && marks.iter().any(|mark| bare[*at..].starts_with(mark));
    (0..bare.len()).filter(starts).collect()
}

/// The end of the item whose attributes start here: its semicolon or its last brace.
fn end_of_item(bare: &[char], start: usize) -> usize {
    let (mut round, mut curly) = (0, 0);
    for (at, &c) in bare.iter().enumerate().skip(start) {
        match c {
            '(' | '[' => round += 1,
            ')' | ']' => round -= 1,
            '{' => curly += 1,
            '}' => {
                curly -= 1;
                if curly == 0 && round == 0 {
                    return at + 1;
                }
            }
            ';' if round == 0 && curly == 0 => return at + 1,
            _ => {}
        }
    }
    bare.len()
}

/// Names of the files that are modules for tests only: `#[cfg(test)] mod NAME;`.
fn test_modules(bare: &str) -> Vec<String> {
    let bare: Vec<char> = bare.chars().collect();
    test_attributes(&bare)
        .into_iter()
        .flat_map(|start| modules(&bare[start..end_of_item(&bare, start)].iter().collect::<String>()))
        .collect()
}

/// Names of the modules that are declared in files of their own: `mod NAME;`.
pub fn modules(bare: &str) -> Vec<String> {
    let words: Vec<(usize, &str)> = words(bare).collect();
    words
        .windows(2)
        .filter(|pair| pair[0].1 == "mod" && bare[pair[1].0 + pair[1].1.len()..].trim_start().starts_with(';'))
        .map(|pair| pair[1].1.to_owned())
        .collect()
}

/// The words of a text, with where they start.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    text.split(move |c| !word(c)).filter(|part| !part.is_empty()).map(move |part| {
        // Both point into `text`.
        (part.as_ptr() as usize - text.as_ptr() as usize, part)
    })
}

pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Every path below the root of the crate that a file names, with its line. `use crate::{a::b, c};` is two.
pub fn crate_paths(source: &Source) -> Vec<(usize, String)> {
    let bare = &source.bare;
    let mut found = Vec::new();
    for (at, word) in &source.words {
        let (at, word) = (*at, word.as_str());
        let before = bare[..at].trim_end();
        let starts = match word {
            "crate" | "onedrive_mount" => !before.ends_with("::") && !before.ends_with('$'),
            // `super` as often as the file lies deep: also the root.
            "super" => climbs_to_root(source, before),
            _ => false,
        };
        if let (true, Some(tail)) = (starts, bare[at + word.len()..].strip_prefix("::")) {
            let mut paths = Vec::new();
            expand(tail, "", &mut paths);
            found.extend(paths.into_iter().map(|path| (line_of(bare, at), path)));
        }
    }
    found
}

fn climbs_to_root(source: &Source, before: &str) -> bool {
    let mut climbed = 1;
    let mut rest = before;
    while let Some(shorter) = rest.strip_suffix("super::") {
        (rest, climbed) = (shorter, climbed + 1);
    }
    climbed == source.place.split('/').count()
}

/// Reads one path or tree of paths: `a::{b, c::d}` becomes `a::b` and `a::c::d`. Returns what follows it.
fn expand<'a>(text: &'a str, prefix: &str, paths: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut inside) = text.strip_prefix('{') {
        loop {
            inside = inside.trim_start().trim_start_matches(',').trim_start();
            if inside.is_empty() {
                return inside;
            }
            if let Some(after) = inside.strip_prefix('}') {
                return after;
            }
            inside = expand(inside, prefix, paths);
            // `as name`
            inside = &inside[inside.find([',', '}']).unwrap_or(inside.len())..];
        }
    }
    let length = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '*')).unwrap_or(text.len());
    let path = if prefix.is_empty() { text[..length].to_owned() } else { format!("{prefix}::{}", &text[..length]) };
    match text[length..].strip_prefix("::") {
        Some(tail) if !tail.starts_with('<') => expand(tail, &path, paths),
        _ => {
            paths.push(path);
            &text[length..]
        }
    }
}

/// Lines on which a foreign crate is named, of code that is not for tests.
pub fn uses_of(name: &str, source: &Source) -> Vec<usize> {
    let bare = &source.bare;
    // A module of the same name hides the crate; the crate is then written with a leading `::`.
    let hidden = bare.contains(&format!("mod {name};"));
    source
        .words
        .iter()
        .filter(|(_, word)| word == name)
        .filter(|(at, word)| {
            let before = bare[..*at].trim_end();
            let absolute = before
                .strip_suffix("::")
                .is_some_and(|left| !left.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '>' | ']')));
            let first = absolute || (!hidden && !before.ends_with("::") && !before.ends_with('.'));
            let after = &bare[at + word.len()..];
            let imported = before.ends_with("use") && after.starts_with([';', ' ']);
            first && (imported || after.starts_with("::"))
        })
        .map(|(at, _)| line_of(bare, *at))
        .collect()
}

#[test]
fn the_reader_reads() {
    let text = r##"
        use crate::{a::b, c::{d, e as f}}; // crate::comment
        /* crate::x /* crate::y */ */
        const TEXT: &str = "crate::z \" // no comment"; const CHARS: [char; 2] = ['"', '\''];
        fn of<'a>(_: &'a crate::g::Thing<u8>) { let _ = r#"crate::raw " "#; crate::h::<u8>(); }
        #[cfg(test)]
        mod tests { use crate::only_tests; }
        fn last() { super::super::k::l() }
    "##;
    let source = Source::new("src/m/n.rs".to_owned(), text.to_owned());
    let paths: Vec<String> = crate_paths(&source).into_iter().map(|(_, path)| path).collect();
    assert_eq!(paths, ["a::b", "c::d", "c::e", "g::Thing", "h", "k::l"]);
    assert_eq!(crate_paths(&source).last().map(|(line, _)| *line), Some(8));
    assert_eq!(modules("pub(crate) mod a;\nmod b { }\nmod c ;"), ["a", "c"]);
    assert_eq!(test_modules("#[cfg(test)]\npub(crate) mod a;\nmod b;"), ["a"]);
    assert!(lies_in("remote/http/tests", "remote/http") && !lies_in("remote/https", "remote/http"));
}
