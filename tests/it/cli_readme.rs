//! The session that the README shows is one that happened: it is run, and compared.

use std::fs;
use std::path::Path;

use onedrive_mount::emulator::{Content, Flavour};

use crate::world::service::Service;
use crate::world::shell::Shell;
use crate::world::side::Side;

const MARK: &str = "<!-- a test runs what follows -->\n```console\n";

/// The words of a command line, quotes taken away.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '\'' => (quoted, any) = (!quoted, true),
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

/// Runs every marked session of a document, each on a fresh drive, and compares or renews what it shows.
fn sessions(document: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = fs::read_to_string(&path).expect("the document");
    let mut parts = text.split(MARK);
    let mut out = parts.next().expect("a beginning").to_owned();
    let mut count = 0;
    for part in parts {
        let (session, rest) = part.split_once("```").expect("an end");
        let service = Service::filled(Flavour::PersonalNew, Content::DemoHome);
        let home = service.home("");
        let shell = Shell { service, home };
        out.push_str(MARK);
        for line in session.lines().filter_map(|line| line.strip_prefix("$ onedrive-cli ")) {
            let words = words(line);
            let output = shell.output(&words.iter().map(String::as_str).collect::<Vec<_>>());
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            let address = shell.service.emulator().endpoints().graph;
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            // Links differ from run to run; what they look like at the service is known.
            let said: String = said
                .lines()
                .map(|line| match line.split_once(address.trim_end_matches('/')) {
                    Some((before, _)) => format!("{before}https://1drv.ms/t/...\n"),
                    None => format!("{line}\n"),
                })
                .collect();
            out.push_str(&format!("$ onedrive-cli {line}\n{said}"));
            count += 1;
        }
        out.push_str("```");
        out.push_str(rest);
    }
    assert!(count >= 5, "{document} shows no session");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        return fs::write(&path, out).expect("written");
    }
    assert!(
        out == text,
        "the session in {document} is stale; UPDATE_SNAPSHOTS=1 cargo test --test it -- cli_readme renews it"
    );
}

#[test]
fn the_session_in_the_readme_is_real() {
    sessions("README.md");
}

/// The commands of python-onedrive say the same on the old protocol; only the link is another.
#[test]
fn the_session_in_the_readme_is_the_same_on_the_old_protocol() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the document");
    let (session, _) = text.split_once(MARK).and_then(|(_, rest)| rest.split_once("```")).expect("a session");
    let service = Service::filled(Side::LIVE, Content::DemoHome);
    let home = service.home("");
    let shell = Shell { service, home };
    let (mut commands, mut shown) = (Vec::new(), Vec::<String>::new());
    for line in session.lines() {
        match line.strip_prefix("$ onedrive-cli ") {
            Some(command) => {
                commands.push(command);
                shown.push(String::new());
            }
            None => shown.last_mut().expect("a command before what it prints").push_str(&format!("{line}\n")),
        }
    }
    for (command, shown) in commands.into_iter().zip(shown) {
        let words = words(command);
        let output = shell.output(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command}: {said}");
        if command.starts_with("link") {
            assert!(said.starts_with("link: http") && said.lines().count() == 1, "{said}");
        } else {
            assert_eq!(said, shown, "{command}");
        }
    }
}

#[test]
fn the_session_in_the_guide_for_movers_is_real() {
    sessions("docs/moving-from-python-onedrive.md");
}
