//! The sign-in is withdrawn while a mount is in use, and given again: nobody has to unmount for that.

use std::fs;
use std::io::ErrorKind;

use onedrive_mount::emulator::Flavour;

use crate::cli_auth::{begin, follow};
use crate::world::shell::Shell;
use crate::world::until;

fn signed_out_and_in_again(shell: &Shell) {
    let drive = shell.service.drive();
    drive.create_file("/docs/read", b"read before".to_vec());
    // Of what is in a folder that was looked into, Graph has told addresses which need no sign-in.
    drive.create_file("/unseen/far", vec![1; 3_000]);
    drive.create_file("/docs/old", b"old".to_vec());
    let mount = shell.service.mount(&shell.home);
    assert_eq!(fs::read(mount.path("docs/read")).expect("readable"), b"read before");
    assert_eq!(fs::read_dir(mount.path("docs")).expect("listed").count(), 2);

    shell.service.emulator().oauth().revoke_refresh();
    shell.service.emulator().oauth().expire_access_tokens();
    until("it is noticed", || shell.json(&["status"])["state"] == "signed-out");

    assert_eq!(fs::read(mount.path("docs/read")).expect("it is here"), b"read before");
    let far = fs::read(mount.path("unseen/far")).map(drop).expect_err("its content is not here");
    assert_eq!(far.kind(), ErrorKind::PermissionDenied, "{far}");
    fs::write(mount.path("docs/read"), "changed").expect("writing is local");
    fs::write(mount.path("new"), "new").expect("writing is local");
    fs::remove_file(mount.path("docs/old")).expect("removing is local");
    assert_eq!(fs::read(mount.path("docs/read")).expect("it is here"), b"changed");
    // Each has been tried in vain, and none has been given up.
    let queued = || shell.json(&["queue"])["entries"].as_array().cloned().expect("a list");
    until("all have been tried", || queued().iter().all(|entry| entry["attempts"].as_u64() > Some(0)));
    let states: Vec<_> = queued().iter().map(|entry| entry["state"].clone()).collect();
    assert_eq!(states, ["waiting"; 3], "{:?}", queued());
    let said = shell.ok(&["status"]);
    assert!(said.contains("signed out (sign in again: onedrive-cli auth)"), "{said}");
    assert_eq!(drive.read_file("/docs/read").as_deref(), Some(&b"read before"[..]));
    assert!(drive.stat("/new").is_none() && drive.stat("/docs/old").is_some(), "nothing went anywhere");

    let end = follow(&begin(shell));
    shell.ok(&["auth", &end]);
    until("the change arrives", || drive.read_file("/docs/read").as_deref() == Some(&b"changed"[..]));
    shell.ok(&["wait", "--timeout", "60s"]);
    assert_eq!(drive.read_file("/new").as_deref(), Some(&b"new"[..]));
    assert!(drive.stat("/docs/old").is_none());
    until("it is said", || shell.json(&["status"])["state"] == "online");
    assert_eq!(fs::read(mount.path("unseen/far")).expect("readable again"), [1; 3_000]);
    drive.create_file("/elsewhere", b"elsewhere".to_vec());
    until("news arrive", || fs::read(mount.path("elsewhere")).is_ok_and(|bytes| bytes == b"elsewhere"));
    assert!(mount.stop().success(), "it is the mount of the beginning");
}

#[test]
fn a_running_mount_waits_for_a_new_sign_in_and_goes_on_with_it() {
    signed_out_and_in_again(&Shell::new(Flavour::PersonalNew));
}

#[test]
fn a_running_mount_waits_for_a_new_sign_in_and_goes_on_with_it_on_a_work_drive() {
    signed_out_and_in_again(&Shell::new(Flavour::Business));
}

#[test]
fn a_running_mount_waits_for_a_new_sign_in_and_goes_on_with_it_on_live_connect() {
    signed_out_and_in_again(&Shell::live(""));
}
