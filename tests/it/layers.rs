//! What the sources must look like: who may import whom, where each foreign crate lives, how long a file may be.
//!
//! The layers exist only as long as nobody reaches across them, and one `use` line is all it takes. So the table is
//! here, in one place, and a line that is not in it fails with the file, the line and what to do. Nothing is run: the
//! sources are read as text, without comments, strings and test code (tests may import what they like).
//!
//! The reading is crude on purpose. It does not see paths that a macro puts together, and it takes an inline
//! module for its file.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// Who may import whom: a place under `src` (a folder, or a file without `.rs`), then what it may name with `crate::`.
/// A file has the rights of every row it lies in. Everything points downward; a module always may name itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("config", &["base"]),
    ("auth", &["base", "config"]),
    ("remote", &["base", "config", "auth"]),
    // The index keeps what the cloud said. It never asks: of `remote` it may name plain data only.
    ("index", &["base", "config", "remote::Item", "remote::ItemKind", "remote::Change"]),
    ("cache", &["base", "config", "remote"]),
    ("journal", &["base", "config", "index", "remote", "cache"]),
    ("changes", &["base", "config", "index", "remote", "cache"]),
    ("volume", &["base", "config", "index", "remote", "cache", "journal"]),
    ("fuse", &["base", "config", "volume"]),
    ("daemon", &["base", "config", "auth", "remote", "index", "cache", "journal", "changes", "volume", "fuse"]),
    // What a program wants of a drive, without a mount: the command line stands on it, and so can others.
    ("drive", &["base", "config", "auth", "remote"]),
    ("cli", &["base", "config", "auth", "remote", "drive", "daemon"]),
    // What concerns a mount from outside needs no daemon: is the folder fit, is it mounted, unmount it even when
    // its daemon is dead. That is the kernel's table of mounts, which is known to `fuse`.
    ("cli/mountpoint", &["fuse::mounts", "fuse::preflight", "fuse::MountError", "fuse::MountOptions"]),
    ("cli/daemons", &["fuse::mounts"]),
    ("cli/cmd/unmount", &["fuse::mounts", "fuse::unmount"]),
    ("cli/cmd/mount", &["fuse::SessionEnd"]),
    // The emulator shares nothing with the client but leaf helpers: a misread fact must not cancel out on both sides.
    ("emulator", &["base"]),
    // `--demo`, and the emulator as a server of its own.
    ("cli/cmd/mount", &["emulator"]),
    ("cli/cmd/emulator", &["emulator"]),
    // Any bytes into every parser: it knows them all, and nobody knows it.
    ("fuzzing", &["base", "config", "auth", "remote", "cache", "journal", "daemon"]),
    // The map of the crate, and the programs.
    ("lib", &[]),
    ("main", &["cli"]),
    ("bin", &["cli"]),
];

/// A crate that any module may use.
const ANYWHERE: &[&str] = &[""];

/// Where each dependency lives: all of Cargo.toml's `[dependencies]`, with the places under `src` that may name it.
const HOMES: &[(&str, &[&str])] = &[
    ("async_trait", ANYWHERE),
    ("axum", &["emulator"]),
    // Hashes and PKCE for the client; the emulator keeps its own ids and hashes.
    ("base64", &["base/hash", "auth", "emulator"]),
    ("bytes", ANYWHERE),
    ("chardetng", &["cli/encoding"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli/cmd/completions"]),
    ("clap_mangen", &["cli/cmd/completions"]),
    ("crc32c", &["base/checksum"]),
    ("dirs", &["config/paths", "config/lcrc"]),
    ("encoding_rs", &["cli/encoding"]),
    ("fuser", &["fuse"]),
    ("futures_util", ANYWHERE),
    ("getrandom", &["auth/flow", "remote/http", "emulator"]),
    ("hyper", &["emulator"]),
    ("hyper_util", &["emulator"]),
    ("indicatif", &["cli/cmd/wait", "cli/progress"]),
    // Times as the wire writes them, and the date in a conflict name.
    (
        "jiff",
        &[
            "config/lcrc",
            "drive/object",
            "remote/classify",
            "remote/graph",
            "remote/live",
            "journal/uploader",
            "emulator",
        ],
    ),
    ("lru", &["cache", "volume", "remote/content", "remote/graph"]),
    ("percent_encoding", &["remote/graph", "remote/live"]),
    // Certificates for the proxy that stands for the real hosts.
    ("rcgen", &["emulator/lab"]),
    // The HTTP door is `remote/http`; the protocol beside it names header and method types, and opens nothing.
    ("reqwest", &["remote/http", "remote/content", "remote/graph", "remote/live", "auth"]),
    ("rusqlite", &["index", "journal/store"]),
    // The TLS provider is chosen where a client is built.
    ("rustls", &["remote/http", "auth"]),
    ("rustix", ANYWHERE),
    ("sd_notify", &["daemon"]),
    ("serde", ANYWHERE),
    ("serde_json", ANYWHERE),
    ("serde_yaml", &["config/yaml", "config/lcrc"]),
    ("sha2", &["auth/flow", "cache/key", "config/paths", "emulator"]),
    // Files under a name that nobody guesses, before they replace the old ones.
    ("tempfile", &["auth/vault", "config/lcrc", "drive", "fuzzing"]),
    ("thiserror", ANYWHERE),
    ("tokio", ANYWHERE),
    ("tokio_rustls", &["emulator/lab"]),
    ("tracing", ANYWHERE),
    ("tracing_journald", &["base/telemetry"]),
    ("tracing_subscriber", &["base/telemetry"]),
    // `cli/person` shows and reads sign-in addresses.
    ("url", &["config", "auth", "remote", "cli/person", "emulator"]),
    ("webbrowser", &["cli/person"]),
    ("zeroize", &["base/secret"]),
];

/// Dependencies of the tests and the benches: `[dev-dependencies]`.
const OF_THE_TESTS: &[&str] = &["criterion", "proptest"];

/// Lines that a source file may have.
const LONGEST: usize = 600;

/// Files that may be longer, and why they are not split.
const LONGER: &[(&str, &str)] = &[];

/// One source file.
struct Source {
    /// Path under `src`, without `.rs` and `/mod`: the place that the tables name.
    place: String,
    /// As a person writes it: `src/base/mod.rs`.
    path: String,
    text: String,
    /// The text without comments and test code, line for line.
    code: String,
    /// As `code`, with the contents of strings blanked too.
    bare: String,
    /// The words of `bare`, with where they start.
    words: Vec<(usize, String)>,
    /// It exists for tests only.
    test: bool,
}

impl Source {
    fn new(path: String, text: String) -> Self {
        let whole = blanked(&text, true);
        let code = without_test_items(&blanked(&text, false), &whole);
        let bare = without_test_items(&whole, &whole);
        let words = words(&bare).map(|(at, word)| (at, word.to_owned())).collect();
        Self { place: place_of(&path), path, text, code, bare, words, test: false }
    }
}

/// All `.rs` files below a folder of the repository, by path.
fn files_below(folder: &str) -> Vec<String> {
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

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file of the repository is text")
}

fn place_of(path: &str) -> String {
    let place = path.strip_prefix("src/").expect("below src").strip_suffix(".rs").expect("a Rust file");
    place.strip_suffix("/mod").unwrap_or(place).to_owned()
}

/// All of `src`, read once.
static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(sources);

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

fn lies_in(place: &str, home: &str) -> bool {
    home.is_empty() || place == home || place.strip_prefix(home).is_some_and(|rest| rest.starts_with('/'))
}

/// The text with comments blanked, and the contents of strings too if `strings`; lines stay where they are.
fn blanked(text: &str, strings: bool) -> String {
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
fn modules(bare: &str) -> Vec<String> {
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

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Every path below the root of the crate that a file names, with its line. `use crate::{a::b, c};` is two.
fn crate_paths(source: &Source) -> Vec<(usize, String)> {
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

/// What a file may import, from all rows it lies in; nothing if it lies in none.
fn rights(place: &str) -> Option<Vec<&'static str>> {
    let rows: Vec<_> = LAYERS.iter().filter(|(home, _)| lies_in(place, home)).collect();
    (!rows.is_empty()).then(|| rows.iter().flat_map(|(_, may)| may.iter().copied()).collect())
}

/// Fails with all that was found, under one line that says what the rule is.
#[track_caller]
fn none(found: &str, rule: &str) {
    assert!(found.is_empty(), "\n{rule}\n\n{found}");
}

fn dependencies(section: &str) -> BTreeSet<String> {
    read("Cargo.toml")
        .lines()
        .skip_while(|line| *line != format!("[{section}]"))
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with(['#', ' ', ']']))
        .filter_map(|line| line.split([' ', '=', '.']).next())
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

/// Lines on which a foreign crate is named, of code that is not for tests.
fn uses_of(name: &str, source: &Source) -> Vec<usize> {
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
fn imports_point_downward() {
    let mut found = String::new();
    let tops: BTreeSet<&str> = LAYERS.iter().map(|(home, _)| *home).filter(|home| !home.contains('/')).collect();
    for source in SOURCES.iter().filter(|source| !source.test) {
        let own = source.place.split('/').next().expect("a place has a first part");
        let Some(rights) = rights(&source.place) else {
            writeln!(found, "{}: no row of LAYERS speaks of `{own}`; add one", source.path).expect("a string grows");
            continue;
        };
        for (line, path) in crate_paths(source) {
            let top = path.split("::").next().expect("a path has a first part");
            if top == own || !tops.contains(top) {
                continue;
            }
            let allowed = rights
                .iter()
                .any(|right| path == *right || path.strip_prefix(right).is_some_and(|rest| rest.starts_with("::")));
            if !allowed {
                writeln!(found, "{}:{line}: `{own}` may not import `{path}`", source.path).expect("a string grows");
            }
        }
    }
    none(
        &found,
        "Imports point downward. Move the thing to the lower of the two modules, or let the lower one own a trait that \
         the upper one implements and `daemon` plugs in. If the import is right, LAYERS in tests/it/layers.rs is the \
         place to say so and why.",
    );
}

/// A row that speaks of nothing would forbid nothing.
#[test]
fn the_table_of_layers_speaks_of_what_exists() {
    let places: Vec<&str> = SOURCES.iter().map(|source| &*source.place).collect();
    let mut found = String::new();
    let rows = LAYERS.iter().map(|row| ("LAYERS", row)).chain(HOMES.iter().map(|row| ("HOMES", row)));
    for (table, (name, others)) in rows {
        let mentioned: Vec<&str> = match table {
            "LAYERS" => others.iter().copied().chain([*name]).map(|path| path.split("::").next().unwrap()).collect(),
            _ => others.to_vec(),
        };
        for place in mentioned {
            if !places.iter().any(|known| lies_in(known, place)) {
                writeln!(found, "{table}, row `{name}`: there is no src/{place}").expect("a string grows");
            }
        }
    }
    none(&found, "tests/it/layers.rs names places that are gone: correct the row to where they went, or remove it.");
}

#[test]
fn foreign_crates_stay_at_home() {
    let mut found = String::new();
    for (name, homes) in HOMES {
        let mut lived_in = BTreeSet::new();
        for source in SOURCES.iter().filter(|source| !source.test) {
            for line in uses_of(name, source) {
                match homes.iter().find(|home| lies_in(&source.place, home)) {
                    Some(home) => {
                        lived_in.insert(*home);
                    }
                    None => writeln!(found, "{}:{line}: `{name}` lives in {} only", source.path, homes.join(", "))
                        .expect("a string grows"),
                }
            }
        }
        for home in homes.iter().filter(|home| !lived_in.contains(*home)) {
            let problem = if **homes == *ANYWHERE {
                format!("`{name}` is used nowhere: remove it from Cargo.toml and from HOMES")
            } else {
                format!(
                    "`{name}` is not used in {home} any more: take that home from HOMES, and without any other home \
                         the crate from Cargo.toml"
                )
            };
            writeln!(found, "{problem}").expect("a string grows");
        }
    }
    none(
        &found,
        "Each foreign crate has its homes (HOMES in tests/it/layers.rs), so that replacing one is the work of an \
         afternoon. Ask the home for what you need instead of the crate; widen the table only with a reason.",
    );
}

#[test]
fn the_table_of_homes_is_that_of_cargo() {
    let listed: BTreeSet<String> = HOMES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(listed.len(), HOMES.len(), "HOMES names a crate twice");
    let of_tests = OF_THE_TESTS.iter().map(|name| (*name).to_owned()).collect();
    for (section, table, listed) in [("dependencies", "HOMES", listed), ("dev-dependencies", "OF_THE_TESTS", of_tests)]
    {
        let wanted = dependencies(section);
        let new: Vec<_> = wanted.difference(&listed).collect();
        assert!(new.is_empty(), "Cargo.toml has {new:?} under [{section}]: say in {table} of this file where it lives");
        let gone: Vec<_> = listed.difference(&wanted).collect();
        assert!(gone.is_empty(), "Cargo.toml has no {gone:?} under [{section}] any more: take it out of {table}");
    }
    let files = ["src", "tests", "benches"].into_iter().flat_map(files_below);
    let texts: Vec<String> = files.map(|path| read(&path)).collect();
    for name in OF_THE_TESTS {
        let used = texts.iter().any(|text| text.contains(&format!("{name}::")));
        assert!(used, "no test or bench uses `{name}`: remove it from Cargo.toml and from OF_THE_TESTS");
    }
}

#[test]
fn files_are_short_enough_to_read() {
    let mut found = String::new();
    for source in SOURCES.iter() {
        let lines = source.text.lines().count();
        let excused = LONGER.iter().any(|(place, _)| *place == source.place);
        if lines > LONGEST && !excused {
            writeln!(found, "{}: {lines} lines", source.path).expect("a string grows");
        }
        if lines <= LONGEST && excused {
            writeln!(found, "{}: {lines} lines, so its row in LONGER can go", source.path).expect("a string grows");
        }
    }
    for (place, why) in LONGER {
        assert!(SOURCES.iter().any(|source| source.place == *place), "LONGER names {place} ({why}), which is gone");
    }
    none(
        &found,
        &format!(
            "A source file has at most {LONGEST} lines. Move its tests to a `tests.rs` beside it, or split it where its \
             parts can be named; an exception goes into LONGER with its reason."
        ),
    );
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut found = String::new();
    for path in files_below("src").iter().chain(&files_below("tests")) {
        if !read(path).starts_with("//! ") {
            writeln!(found, "{path}").expect("a string grows");
        }
    }
    none(&found, "A file opens with `//! ` and the problem it exists to solve. These do not:");
}

/// A file that no `mod` line names is not compiled, and its tests never fail.
#[test]
fn every_file_is_compiled() {
    let mut found = String::new();
    for folder in ["src", "tests"] {
        let files: Vec<(String, String)> =
            files_below(folder).into_iter().map(|path| (path.clone(), read(&path))).collect();
        // By path without `.rs`: what each file declares, with `mod NAME;` and with `#[path = "FILE"]`.
        let mut declared = BTreeSet::new();
        for (path, text) in &files {
            let (lies_in, file) = path.rsplit_once('/').expect("a file lies in a folder");
            let root = matches!(&**path, "src/lib.rs" | "tests/it/main.rs");
            let below = if root || file == "mod.rs" { lies_in } else { path.trim_end_matches(".rs") };
            declared.extend(modules(&blanked(text, true)).into_iter().map(|name| format!("{below}/{name}")));
            let by_path = text.split("#[path = \"").skip(1).filter_map(|rest| rest.split_once(".rs\"]"));
            declared.extend(by_path.map(|(file, _)| format!("{lies_in}/{file}")));
        }
        for (path, _) in &files {
            // The roots, which Cargo.toml names.
            let root = matches!(&**path, "src/lib.rs" | "src/main.rs" | "tests/it/main.rs");
            let module = path.trim_end_matches(".rs").trim_end_matches("/mod");
            if !root && !path.starts_with("src/bin/") && !declared.contains(module) {
                let name = module.rsplit('/').next().unwrap_or(module);
                writeln!(found, "{path}: no `mod {name};` in the module above it").expect("a string grows");
            }
        }
    }
    none(&found, "These files are not compiled. Wire them in or delete them:");
}

#[test]
fn the_program_does_not_give_up_silently() {
    let mut found = String::new();
    for source in SOURCES.iter().filter(|source| !source.test) {
        for (index, line) in source.bare.lines().enumerate() {
            for forbidden in [".unwrap()", ".unwrap_err()", "todo!(", "unimplemented!(", "dbg!("] {
                if line.contains(forbidden) {
                    writeln!(found, "{}:{}: `{forbidden}`", source.path, index + 1).expect("a string grows");
                }
            }
        }
        let mut rest = source.code.as_str();
        while let Some(at) = rest.find(".expect(") {
            let argument = rest[at + ".expect(".len()..].trim_start();
            let line = line_of(&source.code, source.code.len() - rest.len() + at);
            if argument.starts_with('"') && !argument.starts_with("\"invariant: ") {
                writeln!(found, "{}:{line}: an `expect` that does not say `invariant: `", source.path)
                    .expect("a string grows");
            }
            rest = argument;
        }
    }
    none(
        &found,
        "What can fail returns an error. What cannot fail says so with `.expect(\"invariant: ...\")` and the reason.",
    );
}

/// What the reading above relies on.
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
