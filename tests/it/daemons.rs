//! Several daemons of one user: each is asked, none is mistaken for another, and one that does not answer is not passed
//! over by who wants to know whether everything is in the cloud.

use std::fs;
use std::path::Path;

use onedrive_mount::emulator::Flavour;

use crate::world::mount::{Mount, Start};
use crate::world::service::{Service, places};
use crate::world::shell::Shell;
use crate::world::until;

/// What is written stays in the queue.
const SLOW: &str = "upload:\n  debounce: 1h\n";

fn shell(settings: &str) -> Shell {
    let service = Service::new(Flavour::PersonalNew);
    let home = service.home(settings);
    Shell { service, home }
}

/// Another daemon with the same settings, as the refusal to start a second one recommends it.
fn second(shell: &Shell) -> Mount {
    let (state, at) = (shell.home.path("state-2"), shell.home.path("mnt-2"));
    for folder in [&state, &at] {
        fs::create_dir(folder).expect("a folder of the home");
    }
    fs::copy(places(&shell.home).token_file(), state.join("token.json")).expect("the sign-in");
    let folders = [["--state-dir".into(), state], ["--cache-dir".into(), shell.home.path("cache-2")]];
    Start::with(folders.concat()).at(&at).mount(&shell.home)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[test]
fn two_daemons_with_the_same_settings_are_both_asked() {
    let shell = shell(SLOW);
    let first = shell.service.mount(&shell.home);
    fs::write(first.path("unsent"), "unsent").expect("written");
    let other = second(&shell);
    let said = shell.fails(34, &["wait", "--timeout", "1s"]);
    assert!(said.contains("1 change still on the way"), "{said}");
    shell.fails(34, &["wait", "--timeout", "1s", text(&first.path("unsent"))]);
    shell.ok(&["wait", text(other.at())]);
    let said = shell.ok(&["status"]);
    for mount in [&first, &other] {
        assert!(said.contains(text(mount.at())), "{said}");
    }
    // The end of one takes nothing from the other, in either order.
    assert!(other.stop().success());
    let said = shell.ok(&["status"]);
    assert!(said.contains("1 change on the way to the cloud"), "{said}");
    assert_eq!(shell.ok(&["discard", "--yes", text(&first.path("unsent"))]), "1 change taken back\n");
    let other = Start::with([["--state-dir".into(), shell.home.path("state-2")]].concat())
        .at(&shell.home.path("mnt-2"))
        .mount(&shell.home);
    let said = shell.ok(&["unmount", text(first.at())]);
    assert_eq!(said, "Unmounted; everything is in the cloud.\n");
    assert_eq!(shell.ok(&["wait", text(other.at())]), "");
    assert_eq!(fs::read_dir(shell.home.path("run/onedrive-mount")).expect("sockets").count(), 1);
}

/// Another environment may put the state elsewhere and the sockets into the same place.
#[test]
fn a_socket_that_somebody_listens_on_is_not_taken_away() {
    let shell = shell(SLOW);
    let first = shell.service.mount(&shell.home);
    fs::write(first.path("unsent"), "unsent").expect("written");
    let (state, at) = (shell.home.path("elsewhere"), shell.home.path("mnt-2"));
    fs::create_dir_all(state.join("onedrive-mount/default")).expect("a folder");
    fs::create_dir(&at).expect("a folder");
    let token = state.join("onedrive-mount/default/token.json");
    fs::copy(places(&shell.home).token_file(), token).expect("the sign-in");
    let script = shell.home.path("elsewhere.sh");
    let program = crate::world::mount::program();
    let lines = format!(
        "#!/bin/sh\nXDG_STATE_HOME='{}' XDG_CACHE_HOME='{}' exec '{}' \"$@\"\n",
        state.display(),
        shell.home.path("cache-2").display(),
        program.display()
    );
    fs::write(&script, lines).expect("a script");
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a program");
    let other = Start::with(Vec::<String>::new()).through(script).at(&at).mount(&shell.home);
    shell.fails(34, &["wait", "--timeout", "1s"]);
    assert!(other.stop().success());
    shell.fails(34, &["wait", "--timeout", "1s", text(first.at())]);
    // An end in order would wait a while for what is never sent here.
    first.crash();
}

#[test]
fn a_daemon_that_was_killed_is_not_passed_over() {
    let shell = shell(SLOW);
    let first = shell.service.mount(&shell.home);
    fs::write(first.path("unsent"), "unsent").expect("written");
    let other = second(&shell);
    first.crash();
    let said = shell.fails(33, &["wait"]);
    for part in ["the daemon of the profile default has died", "mount it again", "default.sock"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // What the other says is worth something by itself.
    shell.ok(&["wait", text(other.at())]);
    let said = shell.fails(33, &["status"]);
    assert!(said.contains("has died"), "{said}");
    // A number alone may be one of the daemon that does not answer.
    shell.fails(33, &["export", "1", "x"]);
    let first = shell.service.mount(&shell.home);
    shell.fails(34, &["wait", "--timeout", "1s"]);
    shell.ok(&["discard", "--yes", text(&first.path("unsent"))]);
    // Discarding removes a name; what an end in order leaves behind is no reason to fail.
    until("nothing waits", || shell.json(&["status", text(first.at())])["waiting"] == 0);
    assert!(first.stop().success());
    shell.ok(&["wait"]);
    assert!(other.stop().success());
    let said = shell.fails(33, &["wait"]);
    assert!(said.contains("no OneDrive daemon is running"), "{said}");
}

/// `cp FILE MOUNT && onedrive-cli wait MOUNT/FILE && rm FILE`
#[test]
fn waiting_for_what_is_never_sent_or_not_there_does_not_end_well() {
    let shell = shell("");
    let mount = shell.service.mount(&shell.home);
    fs::create_dir(mount.path("Docs")).expect("made");
    for name in ["Docs/x.partial", "Docs/sent.txt", "Docs/gone.txt"] {
        fs::write(mount.path(name), "content").expect("written");
    }
    let inside = |name: &str| text(&mount.path(name)).to_owned();
    let said = shell.fails(35, &["wait", &inside("Docs/x.partial")]);
    assert!(said.contains("stays on this machine and is never sent"), "{said}");
    for missing in ["typo.txt", "Docs/typo.txt", "Docs/sent.txt/below", "No/such"] {
        let said = shell.fails(40, &["wait", &inside(missing)]);
        assert!(said.contains("there is nothing at"), "{said}");
    }
    shell.ok(&["wait", &inside("Docs/sent.txt")]);
    assert!(shell.service.drive().read_file("/Docs/sent.txt").is_some());
    shell.ok(&["wait", &inside("Docs/gone.txt")]);
    // Of a whole folder, and of everything, it is said what was not waited for.
    for path in [&[inside("Docs")][..], &[]] {
        let arguments: Vec<&str> = ["wait"].into_iter().chain(path.iter().map(String::as_str)).collect();
        let output = shell.output(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.contains("1 file (Docs/x.partial)"), "{said}");
    }
    // The deletion of it is something to wait for.
    shell.service.emulator().set_online(false);
    fs::remove_file(mount.path("Docs/gone.txt")).expect("removed");
    shell.fails(34, &["wait", "--timeout", "0s", &inside("Docs/gone.txt")]);
    let waits = shell.command(&["wait", "--json", &inside("Docs/gone.txt")]).spawn().expect("it runs");
    std::thread::sleep(std::time::Duration::from_millis(500));
    shell.service.emulator().set_online(true);
    let ended = waits.wait_with_output().expect("it ends");
    assert!(ended.status.success(), "{ended:?}");
    assert!(shell.service.drive().read_file("/Docs/gone.txt").is_none());
    fs::rename(mount.path("Docs/x.partial"), mount.path("Docs/x")).expect("finished");
    shell.ok(&["wait", &inside("Docs/x")]);
    assert!(shell.service.drive().read_file("/Docs/x").is_some());
}
