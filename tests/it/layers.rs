//! What the sources must look like: who may import whom, where each foreign crate lives, how long a file may be.
//!
//! The layers exist only as long as nobody reaches across them, and one `use` line is all it takes. So the table is
//! here, in one place, and a line that is not in it fails with the file, the line and what to do. Nothing is run: the
//! sources are read as text, without comments, strings and test code (tests may import what they like).

mod reading;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use self::reading::{SOURCES, blanked, crate_paths, files_below, lies_in, line_of, modules, read, uses_of};

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
    ("fuzzing", &["base", "config", "auth", "remote", "cache", "index", "journal", "drive", "daemon"]),
    ("fuzzing", &["fuse::mounts"]),
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
    ("zbus", &["daemon/desktop/bus"]),
    ("zeroize", &["base/secret"]),
];

/// Dependencies of the tests and the benches: `[dev-dependencies]`.
const OF_THE_TESTS: &[&str] = &["criterion", "proptest"];

/// Lines that a source file may have.
const LONGEST: usize = 600;

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
    for path in ["src", "tests", "benches"].into_iter().flat_map(files_below) {
        let lines = read(&path).lines().count();
        if lines > LONGEST {
            writeln!(found, "{path}: {lines} lines").expect("a string grows");
        }
    }
    none(
        &found,
        &format!(
            "A source file has at most {LONGEST} lines. Move its tests to a `tests.rs` beside it, or split it where its \
             parts can be named."
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
