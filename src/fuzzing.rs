//! Any bytes into every parser of outside data.
//!
//! What comes from the service, from a browser, from another process or from a disk that somebody else may have
//! written to has to be read by somebody, and each reader may be wrong in its own way. So each has one function here
//! that takes any bytes and asserts what must hold whatever they are: no panic, no endless loop, bounds kept, and what
//! was accepted is what the rest of the program relies on. The functions stand beside the parsers, which are private;
//! here is the list of them.
//!
//! `contrib/fuzz.sh` runs them under a fuzzer that watches which branches are taken; the test below runs them on every
//! `cargo test` with mutations of the same seeds.

use std::path::Path;
use std::sync::OnceLock;

/// A parser under test: its name and what takes the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them, by name. Each has its seeds in `contrib/fuzz/seeds`.
pub const TARGETS: &[Target] = &[
    ("address", crate::remote::address::fuzz),
    ("cache_map", cache_map),
    ("content_range", crate::remote::graph::fuzzing::content_range),
    ("control", control),
    ("graph_error", crate::remote::classify::fuzz),
    ("graph_extras", crate::remote::graph::fuzzing::extras),
    ("graph_item", crate::remote::graph::fuzzing::item),
    ("graph_page", crate::remote::graph::fuzzing::page),
    ("live_object", crate::remote::live::fuzzing::object),
    ("live_packet", crate::remote::live::fuzzing::packet),
    ("identity", identity),
    ("index_row", crate::index::fuzzing::row),
    ("journal_file", crate::journal::fuzz_file),
    ("journal_row", crate::journal::fuzz_row),
    ("lcrc", crate::config::lcrc::fuzz),
    ("mountinfo", crate::fuse::mounts::fuzz),
    ("name", crate::base::name::fuzz),
    ("partial", crate::drive::partial::fuzz),
    ("redirect", crate::auth::flow::fuzz),
    ("settings", settings),
    ("token_answer", crate::auth::answer::fuzz),
    ("token_file", crate::auth::vault::fuzz),
];

/// Gives the bytes to the target of this name.
///
/// # Panics
///
/// There is none of this name; or the target found something.
pub fn run(name: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    assert!(found.is_some(), "there is no target {name}");
    found.into_iter().for_each(|(_, target)| target(data));
}

/// A map of checksums that somebody wrote over, with a file beside it that may be too short.
fn cache_map(data: &[u8]) {
    static FOLDER: OnceLock<Option<tempfile::TempDir>> = OnceLock::new();
    thread_local! {
        static OWN: std::cell::OnceCell<std::path::PathBuf> = const { std::cell::OnceCell::new() };
    }
    let Some(folder) = FOLDER.get_or_init(|| tempfile::tempdir().ok()) else { return };
    OWN.with(|own| {
        let own = own.get_or_init(|| folder.path().join(format!("{:?}", std::thread::current().id())));
        let done = crate::base::private::folder(own).and_then(|()| crate::cache::fuzz_map(data, own));
        assert!(done.is_ok(), "{done:?}");
    });
}

/// A line on the control socket, in both directions.
fn control(data: &[u8]) {
    use crate::daemon::control::{Answer, Request};
    if let Ok(request) = serde_json::from_slice::<Request>(data) {
        let again = serde_json::to_vec(&request).unwrap_or_default();
        assert_eq!(serde_json::from_slice::<Request>(&again).ok(), Some(request));
    }
    if let Ok(answer) = serde_json::from_slice::<Answer>(data) {
        let again = serde_json::to_vec(&answer).unwrap_or_default();
        assert_eq!(serde_json::from_slice::<Answer>(&again).ok(), Some(answer));
    }
}

/// The file that remembers the drive, keys of the index, stored times.
fn identity(data: &[u8]) {
    use crate::base::ids::{DriveId, ItemId};
    if let Ok(identity) = serde_json::from_slice::<crate::remote::DriveIdentity>(data) {
        let _ = identity.root.to_key();
    }
    crate::daemon::fuzz(data);
    let text = String::from_utf8_lossy(data);
    let drive = DriveId::new(&text);
    assert_eq!(DriveId::new(drive.as_str()), drive, "normal is normal");
    if let Some(id) = ItemId::from_key(&text) {
        assert_eq!(ItemId::from_key(&id.to_key()), Some(id));
    }
}

/// A settings file.
fn settings(data: &[u8]) {
    // Reading the defaults takes longer than all the rest.
    static BUILT_IN: OnceLock<crate::config::Layers> = OnceLock::new();
    let text = String::from_utf8_lossy(data);
    match BUILT_IN.get_or_init(crate::config::Layers::built_in).clone().text(&text, Path::new("config.yaml")) {
        Ok(layers) => {
            assert!(layers.finish().is_ok(), "what was taken can be used");
            assert!(layers.list().all(|(key, setting)| key != "client.secret" || !setting.value.contains("s3cret")));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each target is run.
    const EXECUTIONS: u64 = 10_000;

    /// Longer inputs cost time and find nothing.
    const LONGEST: usize = 4096;

    /// A small generator: the same seed makes the same inputs.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) as usize % sides.max(1)
        }
    }

    /// What parsers stumble over.
    const TOKENS: &[&[u8]] = &[
        b"\0",
        b"/",
        b"..",
        b"\"",
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"null",
        b"-1",
        b"1e999",
        b"9223372036854775807",
        b"18446744073709551615",
        b"-9223372036854775808",
        b"0001-01-01T00:00:00Z",
        b"9999-12-31T23:59:59Z",
        b"://",
        b"%2f",
        b"%00",
        b"&code=",
        b"&state=S",
        b"#",
        b"?",
        b"\r\n",
        b"\n",
        b"\t",
        b"\xff",
        b"\xe2\x80\xae",
        b"\xe2\x80\x9b",
        b"\xef\xbc\x9a",
        b"~",
        b" ",
        b".",
        b"@odata.nextLink",
        b"remoteItem",
        b"deleted",
        b"root",
        b"!!binary",
        b"*a",
        b"&a",
        b"- ",
        b"bytes ",
        b"*",
        b"localhost",
        b"127.0.0.1",
        b"file:",
        b"@",
    ];

    fn mutated(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[dice.roll(seeds.len())].clone();
        for _ in 0..=dice.roll(6) {
            let at = dice.roll(bytes.len() + 1);
            let end = (at + dice.roll(24)).min(bytes.len());
            match dice.roll(7) {
                0 => drop(bytes.drain(at..end)),
                1 => bytes.splice(at..at, TOKENS[dice.roll(TOKENS.len())].iter().copied()).for_each(drop),
                2 => bytes.splice(at..end, TOKENS[dice.roll(TOKENS.len())].iter().copied()).for_each(drop),
                3 => {
                    let piece = bytes[at..end].repeat(1 + dice.roll(40));
                    bytes.splice(at..at, piece).for_each(drop);
                }
                4 => {
                    let other = &seeds[dice.roll(seeds.len())];
                    let from = dice.roll(other.len() + 1);
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
                _ if at < bytes.len() => bytes[at] = dice.roll(256) as u8,
                _ => {}
            }
            bytes.truncate(LONGEST);
        }
        bytes
    }

    fn seeds(name: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/fuzz/seeds").join(name);
        let files = std::fs::read_dir(&folder).expect("every target has seeds");
        let mut paths: Vec<_> = files.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths.iter().map(|path| std::fs::read(path).expect("a seed")).collect()
    }

    /// Runs one target on its seeds and on mutations of them.
    fn exercise((name, target): &Target, executions: u64) -> String {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        // Half-way valid inputs go deepest, so the seeds themselves come first.
        seeds.iter().for_each(|seed| target(seed));
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        for _ in 0..executions {
            let bytes = mutated(&mut dice, &seeds);
            let survived = std::panic::catch_unwind(|| target(&bytes));
            assert!(survived.is_ok(), "{name} fails with {:?}", String::from_utf8_lossy(&bytes));
        }
        format!("fuzz executions, {name}: {executions}")
    }

    #[test]
    fn every_parser_survives_mutations_of_its_seeds() {
        let executions = std::env::var("ONEDRIVE_FUZZ_EXECUTIONS").ok().and_then(|text| text.parse().ok());
        let executions = executions.unwrap_or(EXECUTIONS);
        let next = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(target) = TARGETS.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                        println!("{}", exercise(target, executions));
                    }
                });
            }
        });
        println!("fuzz executions: {}", executions * TARGETS.len() as u64);
    }

    /// The fuzzer's programs are made of names; one that is missing would never be run.
    #[test]
    fn every_target_has_its_program_and_no_program_lacks_its_target() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/fuzz");
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        for (name, _) in TARGETS {
            let program = std::fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).expect(name);
            assert!(program.contains(&format!("run(\"{name}\"")), "{name}");
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        }
        let programs = manifest.lines().filter(|line| line.trim() == "[[bin]]").count();
        assert_eq!(programs, TARGETS.len(), "a program of the manifest is no target");
        for (place, end) in [("fuzz_targets", ".rs"), ("seeds", "")] {
            for entry in std::fs::read_dir(folder.join(place)).expect("a folder") {
                let found = entry.expect("an entry").file_name().into_string().expect("text");
                let name = found.strip_suffix(end).unwrap_or_default();
                assert!(TARGETS.iter().any(|(known, _)| *known == name), "{place}/{found} is of no target");
            }
        }
    }
}
