//! `--dry-run` and `--json` where they are easily forgotten: what the protocol cannot do, what talks to a mount, and
//! what prints sentences.

use std::fs;

use onedrive_mount::emulator::Flavour;
use serde_json::Value;

use crate::world::shell::Shell;

/// A dry run that is refused just as the command itself.
#[track_caller]
fn refused_alike(shell: &Shell, command: &[&str]) {
    let said = shell.fails(43, command);
    assert_eq!(shell.fails(43, &[command, &["--dry-run"]].concat()), said);
    assert!(said.starts_with("error: ") && said.len() > 30, "{command:?}: {said}");
}

#[test]
fn what_the_protocol_cannot_do_would_not_be_done_either() {
    let live = Shell::live("");
    live.stock();
    for command in [
        &["restore", "Documents/notes.txt", "1.0"][..],
        &["share", "Documents", "bob@example.com"],
        &["unshare", "--all", "Documents"],
        &["unshare", "Documents", "bob@example.com"],
        &["undelete", "file.1.1!1"],
        &["info_set", "Documents", "{\"client_updated_time\": \"2013-08-05T15:18:04+0000\"}"],
        &["mkdir", "New", "-m", "{\"client_updated_time\": \"2013-08-05T15:18:04+0000\"}"],
    ] {
        refused_alike(&live, command);
    }
    assert!(live.service.drive().stat("/New").is_none(), "nothing is begun that cannot be finished");
    let added = live.ok(&["comment_add", "--dry-run", "Documents/notes.txt", "nice"]);
    assert_eq!(added, "would comment on \"notes.txt\"\n");
    let graph = Shell::new(Flavour::PersonalNew);
    graph.stock();
    for command in [
        &["comment_add", "Documents/notes.txt", "nice"][..],
        &["comment_delete", "comment.1"],
        &["info_set", "Documents", "{\"sort_by\": \"name\"}"],
        &["mkdir", "New", "-m", "{\"sort_by\": \"name\"}"],
    ] {
        refused_alike(&graph, command);
    }
    assert!(graph.service.drive().stat("/New").is_none(), "nothing is begun that cannot be finished");
    let shared = graph.ok(&["share", "--dry-run", "Pics", "bob@example.com"]);
    assert_eq!(shared, "would let bob@example.com look at \"Pics\"\n");
}

#[test]
fn what_talks_to_a_mount_only_says_what_it_would_do() {
    let shell = Shell::with(Flavour::PersonalNew, "upload:\n  debounce: 1h\n");
    shell.stock();
    let mount = shell.service.mount(&shell.home);
    let at = mount.at().to_str().expect("text").to_owned();
    let draft = format!("{at}/draft.txt");
    fs::write(&draft, "a draft").expect("written");
    let would = |arguments: &[&str], sentence: &str| {
        assert_eq!(shell.ok(&[arguments, &["--dry-run"]].concat()), format!("would {sentence}\n"));
        assert_eq!(shell.json(&[arguments, &["--dry-run"]].concat())["dry_run"], sentence, "{arguments:?}");
    };
    would(&["retry"], &format!("try again now 0 changes of {at}"));
    would(&["approve", &at], &format!("approve 0 changes of {at}"));
    would(&["discard", &draft], "take 1 change back (draft.txt)");
    would(
        &["export", &draft, "copy.txt"],
        &format!("copy 7 bytes of draft.txt to {}", shell.home.path("copy.txt").display()),
    );
    would(&["unmount", &at], &format!("send 1 change to the cloud, for at most 20 s, and unmount {at}"));
    would(&["unmount", "--lazy", &at], &format!("unmount {at}"));
    assert!(!shell.home.path("copy.txt").exists());
    assert_eq!(fs::read_to_string(&draft).expect("still there"), "a draft");
    assert_eq!(shell.ok(&["discard", "--yes", &draft]), "1 change taken back\n");
    // The farewell of a program is an object.
    let done = shell.json(&["unmount", &at]);
    assert_eq!((&done["mountpoint"], &done["waiting"], &done["parked"]), (&at.into(), &0.into(), &0.into()));
}

#[test]
fn a_picture_is_not_written_in_a_dry_run() {
    let shell = Shell::new(Flavour::PersonalNew);
    shell.stock();
    let said = shell.ok(&["thumbnail", "--dry-run", "Pics/pier.jpg", "pier.png"]);
    assert_eq!(said, "would write a small picture of \"pier.jpg\" to pier.png\n");
    assert!(!shell.home.path("pier.png").exists());
    let said = shell.ok(&["thumbnail", "--dry-run", "Pics/pier.jpg"]);
    assert_eq!(said, "would write a small picture of \"pier.jpg\" to standard output\n");
}

#[test]
fn settings_as_one_object() {
    let shell = Shell::with(Flavour::PersonalNew, "tenant: consumers\n");
    let reference = shell.json(&["print-config"]);
    assert_eq!(reference["tenant"]["origin"], "built-in default", "{reference}");
    assert_eq!(reference["client.secret"]["value"], Value::Null, "{reference}");
    let effective = shell.json(&["print-config", "--effective"]);
    assert_eq!(effective["tenant"]["value"], "consumers");
    assert!(effective["tenant"]["origin"].as_str().is_some_and(|origin| origin.contains("config.yaml")), "{effective}");
    let keys = |value: &Value| value.as_object().map(|members| members.keys().cloned().collect::<Vec<_>>());
    assert_eq!(keys(&reference), keys(&effective), "the same settings");
    assert_eq!(
        keys(&reference).map(|keys| keys.len()),
        Some(shell.ok(&["print-config", "--effective"]).lines().count())
    );
}

#[test]
fn a_deleted_comment_is_told_to_programs() {
    let shell = Shell::live("");
    shell.stock();
    let added = shell.json(&["comment_add", "Documents/notes.txt", "nice"]);
    let id = added["id"].as_str().expect("an id");
    assert_eq!(shell.json(&["comment_delete", "--dry-run", id])["dry_run"], format!("delete the comment {id}"));
    assert_eq!(shell.json(&["comment_delete", id])["id"], id);
    assert_eq!(shell.ok(&["comments", "Documents/notes.txt"]), "");
}
