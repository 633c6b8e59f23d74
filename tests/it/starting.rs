//! Starting when something is missing: the network, at the first start and at a later one, or the account that the
//! folders belong to. And when something is there already: the mount of a daemon that lives, or of one that was killed.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use onedrive_mount::auth::Vault;
use onedrive_mount::base::clock::{SystemClock, Timestamp};
use onedrive_mount::emulator::{DriveHandle, Fault, Network, Rule, When};

use crate::cli_auth::{begin, follow};
use crate::world::mount::{Home, Mount, Refused, Start, program};
use crate::world::service::{Service, places, wait_until_uploaded};
use crate::world::shell::Shell;
use crate::world::side::Side;
use crate::world::until;

const SIDES: [Side; 3] = [Side::PERSONAL, Side::BUSINESS, Side::LIVE];

/// The night is over, and with it the access token.
fn let_the_token_run_out(service: &Service, home: &Home) {
    service.emulator().oauth().expire_access_tokens();
    let vault = Vault::new(places(home).token_file());
    let mut tokens = vault.load().expect("readable").expect("signed in");
    tokens.expires = Timestamp(0);
    service.block_on(async {
        let lock = vault.lock(&SystemClock::new()).await.expect("the token file's lock");
        vault.store(&tokens, &lock).expect("the token file");
    });
}

fn names(mount: &Mount, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(mount.path(folder)).expect("listed");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn a_later_start_without_a_network_has_what_is_here_and_sends_what_was_done() {
    // Nothing answers, or nothing comes back at all.
    for (side, network) in
        SIDES.iter().map(|side| (*side, Network::Refusing)).chain([(Side::PERSONAL, Network::Vanishing)])
    {
        let service = Service::new(side);
        let drive = service.drive();
        drive.create_file("/docs/read", b"read before".to_vec());
        drive.create_file("/docs/far", vec![1; 3_000]);
        drive.create_file("/docs/old", b"old".to_vec());
        let home = service.home("");
        let mount = service.mount(&home);
        assert_eq!(names(&mount, "docs"), ["far", "old", "read"]);
        assert_eq!(fs::read(mount.path("docs/read")).expect("readable"), b"read before");
        assert!(mount.stop().success());
        let_the_token_run_out(&service, &home);
        service.emulator().set_network(network);
        std::thread::sleep(Duration::from_millis(100));

        let begun = Instant::now();
        let mount = service.mount(&home);
        assert_eq!(names(&mount, "docs"), ["far", "old", "read"], "{side:?}");
        // Less than any connection that nobody answers takes to be given up.
        println!("{side:?}, {network:?}: mounted and listed after {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(fs::read(mount.path("docs/read")).expect("it is here"), b"read before");
        assert_eq!(fs::metadata(mount.path("docs/far")).expect("it is known").len(), 3_000);
        let far = fs::read(mount.path("docs/far")).expect_err("its content is not here");
        assert_eq!(far.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()), "{side:?}");
        fs::write(mount.path("docs/read"), "changed").expect("writing is local");
        fs::create_dir(mount.path("docs/new")).expect("making folders is local");
        fs::rename(mount.path("docs/old"), mount.path("docs/new/moved")).expect("moving is local");
        fs::write(mount.path("docs/new/file"), "new").expect("writing is local");
        // And a start after that one, whose end nobody was told of.
        mount.crash();
        let mount = service.mount(&home);
        assert_eq!(names(&mount, "docs/new"), ["file", "moved"]);
        assert_eq!(fs::read(mount.path("docs/new/file")).expect("it is here"), b"new");
        assert_eq!(fs::read(mount.path("docs/read")).expect("it is here"), b"changed");
        assert_eq!(drive.read_file("/docs/read").as_deref(), Some(&b"read before"[..]), "nothing went anywhere");

        service.emulator().set_network(Network::Up);
        wait_until_uploaded(&home);
        let file = |path: &str| drive.read_file(path).unwrap_or_else(|| panic!("{side:?}: no {path}"));
        assert_eq!(file("/docs/read"), b"changed");
        assert_eq!(file("/docs/new/file"), b"new");
        assert_eq!(file("/docs/new/moved"), b"old");
        assert_eq!(drive.tree().len(), 6, "{side:?}: {:?}", drive.tree().keys());
        until("what was not here can be read", || fs::read(mount.path("docs/far")).is_ok_and(|far| far == [1; 3_000]));
    }
}

#[test]
fn the_very_first_start_without_a_network_says_that_it_needs_one() {
    for side in SIDES {
        let service = Service::new(side);
        service.drive().create_file("/there", b"there".to_vec());
        let home = service.home("");
        service.emulator().set_network(Network::Refusing);
        std::thread::sleep(Duration::from_millis(100));
        let refused = Start::with(Vec::<String>::new()).try_mount(&home).map(drop);
        let refused = refused.expect_err("nobody knows which drive it is");
        assert_eq!(refused.status.code(), Some(12), "{side:?}: {}", refused.log);
        let wanted = "OneDrive cannot be reached, and it was never mounted here before (";
        assert!(refused.log.contains(wanted), "{side:?}: {}", refused.log);
        assert!(refused.log.contains("check the network and try again"), "{side:?}: {}", refused.log);
        // Nothing was spoilt by it.
        service.emulator().set_network(Network::Up);
        let mount = service.mount(&home);
        until("it answers", || fs::read(mount.path("there")).is_ok_and(|there| there == b"there"));
    }
}

/// How the daemon ends that has to refuse. It mounts while it asks, so the mount may have been there.
fn refused(home: &Home) -> Refused {
    // What it hears after the first moment is too late for a refusal; on a busy machine that may happen.
    for _ in 0..5 {
        let mut mount = match Start::with(Vec::<String>::new()).try_mount(home) {
            Err(refused) => return refused,
            Ok(mount) => mount,
        };
        until("it has heard whose drive that is", || mount.log().contains("you are signed in to the drive of"));
        if mount.log().contains("error: ") {
            return Refused { status: mount.wait_for_end(), log: mount.log() };
        }
        mount.crash();
    }
    panic!("never refused");
}

pub fn send_at_once(home: &Home) {
    let settings = places(home).settings;
    let text = fs::read_to_string(&settings).expect("settings").replace("debounce: 1h", "debounce: 0s");
    fs::write(&settings, text).expect("settings");
}

/// The sign-in of somebody else takes the place of the one that is stored.
pub fn sign_in_as(shell: &Shell, side: Side, who: &DriveHandle) {
    if side.live {
        shell.service.emulator().live().sign_in_as(who);
    } else {
        shell.service.emulator().oauth().sign_in_as(who);
    }
    let end = follow(&begin(shell));
    shell.ok(&["auth", &end]);
}

#[test]
fn a_start_with_another_accounts_sign_in_is_refused_and_nothing_goes_there() {
    for side in [Side::PERSONAL, Side::LIVE] {
        let service = Service::new(side);
        // Nothing is sent before that is wanted.
        let home = service.home("upload:\n  debounce: 1h\n");
        let shell = Shell { service, home };
        let first = shell.service.drive().clone();
        first.create_file("/first", b"first".to_vec());
        let mount = shell.service.mount(&shell.home);
        assert_eq!(names(&mount, ""), ["first"]);
        fs::write(mount.path("unsent"), "unsent").expect("written");
        mount.crash();

        let other = shell.service.emulator().add_account(7, "Other Person");
        other.create_file("/theirs", b"theirs".to_vec());
        sign_in_as(&shell, side, &other);
        let refused = refused(&shell.home);
        assert_eq!(refused.status.code(), Some(13), "{side:?}: {}", refused.log);
        let state = places(&shell.home).state;
        let wanted = format!(
            "error: the folder {} belongs to the drive of Ada Example, but you are signed in to the drive of Other \
             Person; nothing was changed. Sign in to the first account (onedrive-cli auth), or use another",
            state.display()
        );
        assert!(refused.log.contains(&wanted), "{side:?}: {}", refused.log);
        if side.live {
            // Behind Graph the emulator lets everybody into every drive whose id they know.
            send_at_once(&shell.home);
            a_slow_answer_opens_no_way_to_the_other_drive(&shell, || sign_in_as(&shell, side, &first));
        }
        assert_eq!(other.tree().len(), 1, "{side:?}: {:?}", other.tree().keys());
        assert_eq!(first.tree().len(), if side.live { 2 } else { 1 }, "{side:?}: {:?}", first.tree().keys());

        sign_in_as(&shell, side, &first);
        send_at_once(&shell.home);
        let mount = shell.service.mount(&shell.home);
        wait_until_uploaded(&shell.home);
        assert_eq!(first.read_file("/unsent").as_deref(), Some(&b"unsent"[..]), "{side:?}");
        assert_eq!((first.tree().len(), other.tree().len()), (2, 1), "{side:?}");
        assert_eq!(names(&mount, ""), ["first", "unsent"]);
    }
}

/// The daemon takes what is in the file when its own token is over, and whoever signed in meanwhile is in there.
#[test]
fn a_sign_in_as_somebody_else_beside_a_mount_sends_nothing_and_is_told() {
    for side in [Side::PERSONAL, Side::LIVE] {
        let service = Service::new(side);
        let home = service.home("");
        let shell = Shell { service, home };
        let first = shell.service.drive().clone();
        first.create_file("/first", b"first".to_vec());
        let mount = shell.service.mount(&shell.home);
        assert_eq!(fs::read(mount.path("first")).expect("readable"), b"first");
        fs::write(mount.path("before"), "before").expect("written");
        wait_until_uploaded(&shell.home);

        let other = shell.service.emulator().add_account(7, "Other Person");
        other.create_file("/theirs", b"theirs".to_vec());
        sign_in_as(&shell, side, &other);
        shell.service.emulator().oauth().expire_access_tokens();
        fs::write(mount.path("unsent"), "unsent").expect("written");
        until("it is told in the log", || mount.log().contains("but you are signed in to the drive of Other Person"));
        until("it has been tried in vain", || shell.json(&["queue"])["entries"][0]["attempts"].as_u64() > Some(0));
        until("it is told in the status", || shell.json(&["status"])["state"] == "signed-out");
        let status = shell.json(&["status"]);
        assert!(status["errors"].to_string().contains("the drive of Other Person"), "{side:?}: {status}");
        let queue = shell.json(&["queue"]);
        assert_eq!((&queue["total"], &queue["entries"][0]["state"]), (&1.into(), &"waiting".into()), "{queue}");
        assert_eq!(names(&mount, ""), ["before", "first", "unsent"]);
        assert_eq!(fs::read(mount.path("first")).expect("it is here"), b"first");
        assert_eq!((first.tree().len(), other.tree().len()), (2, 1), "{side:?}: nothing went anywhere");

        // By itself, and once only.
        sign_in_as(&shell, side, &first);
        wait_until_uploaded(&shell.home);
        assert_eq!(first.read_file("/unsent").as_deref(), Some(&b"unsent"[..]), "{side:?}");
        assert_eq!((first.tree().len(), other.tree().len()), (3, 1), "{side:?}");
        until("it is online again", || shell.json(&["status"])["state"] == "online");
        let log = mount.log();
        assert_eq!(log.matches("but you are signed in to the drive of").count(), 1, "{log}");
        assert!(log.contains("the first account is signed in again"), "{log}");
    }
}

/// A service that takes its time keeps nobody from the mount. What is noticed then is in the log, and the changes wait
/// until the first account is signed in again.
fn a_slow_answer_opens_no_way_to_the_other_drive(shell: &Shell, sign_in: impl Fn()) {
    let stall = Fault::Stall { when: When::Before, duration: Duration::from_secs(3) };
    shell.service.emulator().faults().add(Rule::always("GET", "*", stall));
    let mount = shell.service.mount(&shell.home);
    until("it is noticed", || mount.log().contains("but you are signed in to the drive of Other Person"));
    shell.service.emulator().faults().clear();
    until("it has been tried in vain", || shell.json(&["queue"])["entries"][0]["attempts"].as_u64() > Some(0));
    let queue = shell.json(&["queue"]);
    assert_eq!((&queue["total"], &queue["entries"][0]["state"]), (&1.into(), &"waiting".into()), "{queue}");
    assert_eq!(names(&mount, ""), ["first", "unsent"]);
    assert_eq!(fs::read(mount.path("unsent")).expect("it is here"), b"unsent");
    // Time enough for what is in the other drive to be listed, if it were.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(names(&mount, ""), ["first", "unsent"], "what is in the other drive is not ours");
    sign_in();
    wait_until_uploaded(&shell.home);
    assert_eq!(names(&mount, ""), ["first", "unsent"]);
    mount.crash();
}

/// What systemd does after a daemon of ours has ended, also one that did not come to run.
fn after_the_end(at: &Path, how: [(&str, &str); 3]) {
    for unit in ["onedrive-mount.service", "onedrive-mount@.service"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/systemd").join(unit);
        let unit = fs::read_to_string(path).expect("a unit");
        for line in unit.lines().filter_map(|line| line.strip_prefix("ExecStopPost=")) {
            // Before the program stands what its failure means; a doubled sign stands for one.
            let line = line.trim_start_matches(['-', '@', ':', '+', '!']).replace("$$", "$");
            let mut shell = Command::new("sh");
            let _ = shell.arg("-c").arg(line).env("MOUNTPOINT", at).envs(how).status().expect("a shell");
        }
    }
}

/// Somebody has mounted by hand, and enables the unit. Its start is refused, and what is mounted stays.
#[test]
fn a_unit_that_cannot_start_leaves_what_is_mounted_there() {
    let service = Service::new(Side::PERSONAL);
    service.drive().create_file("/there", b"there".to_vec());
    let home = service.home("");
    let mount = service.mount(&home);
    assert_eq!(names(&mount, ""), ["there"]);
    let second = home.command(program()).arg("--foreground").arg(mount.at()).output().expect("it runs");
    assert_eq!(second.status.code(), Some(23), "{}", String::from_utf8_lossy(&second.stderr));
    after_the_end(mount.at(), [("SERVICE_RESULT", "exit-code"), ("EXIT_CODE", "exited"), ("EXIT_STATUS", "23")]);
    assert_eq!(names(&mount, ""), ["there"]);
    assert!(mount.stop().success());
}

/// Until the next start programs are told that something is wrong. What they wrote into the bare folder would be hidden
/// by the mount, and keep it from coming back.
#[test]
fn after_a_daemon_was_killed_nobody_writes_into_the_bare_folder_before_the_next_start() {
    let service = Service::new(Side::PERSONAL);
    service.drive().create_file("/there", b"there".to_vec());
    let home = service.home("");
    let mount = service.mount(&home);
    let at = mount.at().to_owned();
    mount.crash();
    after_the_end(&at, [("SERVICE_RESULT", "signal"), ("EXIT_CODE", "killed"), ("EXIT_STATUS", "KILL")]);
    let written = fs::write(at.join("meanwhile"), "meanwhile").expect_err("nobody would send it");
    assert_eq!(written.raw_os_error(), Some(rustix::io::Errno::NOTCONN.raw_os_error()));
    let mount = service.mount(&home);
    assert_eq!(names(&mount, ""), ["there"]);
    assert!(mount.stop().success());
}
