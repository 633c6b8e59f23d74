//! What only the user can help with is said on the desktop, once, and taken down when it is over; the rest is not.
//!
//! The desktop is one of ours, on a bus of its own. The mounts of all other tests find no session bus: their environment
//! names none, and where it would be by custom there is none.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use onedrive_mount::emulator::{Fault, Flavour, Network, Rule, RuleId, When};
use tokio::runtime::Runtime;
use zbus::message::Type;

use crate::world::mount::{Home, Mount, Start};
use crate::world::shell::Shell;
use crate::world::until;

const SERVICE: &str = "org.freedesktop.Notifications";

/// Longer than the daemon waits for more of the same.
const QUIET: Duration = Duration::from_secs(4);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Event {
    Shown { replaces: u32, title: String, body: String },
    Closed(u32),
}

/// A session bus with a desktop on it that writes down what it is told. It numbers from 41.
struct Desktop {
    bus: Child,
    address: String,
    connection: zbus::Connection,
    events: Arc<Mutex<Vec<Event>>>,
    runtime: Runtime,
}

impl Desktop {
    fn new(home: &Home) -> Self {
        let listen = format!("--address=unix:path={}", home.path("bus").display());
        let mut command = Command::new("dbus-daemon");
        command.args(["--session", "--nofork", "--nopidfile", "--nosyslog", "--print-address=1", &listen]);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let mut bus = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon is installed");
        let mut address = String::new();
        BufReader::new(bus.stdout.take().expect("its output")).read_line(&mut address).expect("its address");
        let address = address.trim().to_owned();
        let runtime = Runtime::new().expect("a runtime");
        let events = Arc::default();
        let connection = runtime.block_on(serve(&address, Arc::clone(&events)));
        Self { bus, address, connection, events, runtime }
    }

    fn events(&self) -> Vec<Event> {
        self.events.lock().expect("not poisoned").clone()
    }

    /// Waits for so many events; at least as long as the daemon may take between two words.
    #[track_caller]
    fn until(&self, many: usize) -> Vec<Event> {
        let begun = Instant::now();
        while self.events().len() < many {
            assert!(begun.elapsed() < Duration::from_secs(120), "only {:?}", self.events());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.events()
    }

    /// How many programs are connected to the bus, beside the desktop.
    fn guests(&self) -> usize {
        let asked = self.connection.call_method(
            Some("org.freedesktop.DBus"),
            "/org/freedesktop/DBus",
            Some("org.freedesktop.DBus"),
            "ListNames",
            &(),
        );
        let answer = self.runtime.block_on(asked).expect("the bus answers");
        let names: Vec<String> = answer.body().deserialize().expect("a list");
        names.iter().filter(|name| name.starts_with(':')).count() - 1
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        let _ = self.bus.kill();
        let _ = self.bus.wait();
    }
}

/// Takes the desktop's name and answers whoever calls.
async fn serve(address: &str, events: Arc<Mutex<Vec<Event>>>) -> zbus::Connection {
    let connection = zbus::connection::Builder::address(address).expect("an address").build().await.expect("a bus");
    let mut calls = zbus::MessageStream::from(&connection);
    let name = connection.call_method(
        Some("org.freedesktop.DBus"),
        "/org/freedesktop/DBus",
        Some("org.freedesktop.DBus"),
        "RequestName",
        &(SERVICE, 0_u32),
    );
    name.await.expect("the name");
    let answering = connection.clone();
    tokio::spawn(async move {
        type Notice<'a> = (
            &'a str,
            u32,
            &'a str,
            &'a str,
            &'a str,
            Vec<&'a str>,
            std::collections::HashMap<&'a str, zbus::zvariant::Value<'a>>,
            i32,
        );
        while let Some(Ok(call)) = calls.next().await {
            let header = call.header();
            if header.message_type() != Type::MethodCall {
                continue;
            }
            let body = call.body();
            match header.member().map(|member| member.as_str()) {
                Some("GetCapabilities") => {
                    answering.reply(&header, &["body", "body-markup"].as_slice()).await.expect("told");
                }
                Some("Notify") => {
                    let (_, replaces, _, title, text, ..): Notice<'_> = body.deserialize().expect("a notification");
                    let shown = Event::Shown { replaces, title: title.to_owned(), body: text.to_owned() };
                    let number = {
                        let mut events = events.lock().expect("not poisoned");
                        events.push(shown);
                        if replaces > 0 { replaces } else { 40 + events.len() as u32 }
                    };
                    answering.reply(&header, &number).await.expect("told");
                }
                Some("CloseNotification") => {
                    let number: u32 = body.deserialize().expect("a number");
                    events.lock().expect("not poisoned").push(Event::Closed(number));
                    answering.reply(&header, &()).await.expect("told");
                }
                other => panic!("nobody asks for {other:?}"),
            }
        }
    });
    connection
}

fn mount(shell: &Shell, bus: &str) -> Mount {
    Start::with(["--log-level", "info,onedrive_mount::daemon=debug"])
        .environment("DBUS_SESSION_BUS_ADDRESS", bus)
        .mount(&shell.home)
}

/// From now on nothing may be written.
fn deny(shell: &Shell) -> RuleId {
    shell.service.emulator().faults().add(Rule::always("PUT", "*", Fault::status(When::Before, 403, "accessDenied")))
}

fn until_parked(shell: &Shell, many: usize) {
    until("it is parked", || shell.json(&["status"])["parked"] == many);
}

/// Whether a process that was started in a home is still there.
fn somebody_lives_in(home: &Path) -> bool {
    let mark = format!("HOME={}\0", home.display());
    let processes = fs::read_dir("/proc").expect("the processes").flatten();
    let mut surroundings = processes.filter_map(|process| fs::read(process.path().join("environ")).ok());
    surroundings.any(|all| all.windows(mark.len()).any(|part| part == mark.as_bytes()))
}

#[test]
fn a_parked_change_is_told_once_kept_up_to_date_and_taken_down() {
    let shell = Shell::new(Flavour::PersonalNew);
    let desktop = Desktop::new(&shell.home);
    let mount = mount(&shell, &desktop.address);
    let rule = deny(&shell);
    fs::write(mount.path("a & b.txt"), "mine").expect("writing is local");
    let shown = desktop.until(1);
    let Event::Shown { replaces: 0, title, body } = &shown[0] else { panic!("{shown:?}") };
    assert_eq!(title, "OneDrive: a change needs you");
    let path = mount.path("a &amp; b.txt").display().to_string();
    assert_eq!(
        *body,
        format!(
            "{path} cannot be sent to the cloud: you may not do that there. It is safe on this machine. What to do: \
             onedrive-cli queue"
        )
    );

    let threads = fs::read_dir(format!("/proc/{}/task", mount.pid())).expect("its threads").flatten();
    let names: Vec<String> = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok()).collect();
    assert!(!names.is_empty() && !names.iter().any(|name| name.contains("bus")), "none is for this: {names:?}");

    let first = Instant::now();
    fs::write(mount.path("second.txt"), "mine, too").expect("writing is local");
    until_parked(&shell, 2);
    let shown = desktop.until(2);
    assert!(first.elapsed() > Duration::from_secs(20), "not every change is a word");
    let Event::Shown { replaces: 41, title, body } = &shown[1] else { panic!("{shown:?}") };
    assert_eq!(title, "OneDrive: 2 changes need you");
    assert!(body.starts_with(&path) && body.contains("1 more change waits for you"), "{body}");

    shell.service.emulator().faults().remove(rule);
    shell.ok(&["retry"]);
    assert_eq!(desktop.until(3)[2], Event::Closed(41));
    shell.ok(&["wait", "--timeout", "60s"]);
    until("the connection is given up", || desktop.guests() == 0);
    std::thread::sleep(QUIET);
    assert_eq!(desktop.events().len(), 3, "{:?}", desktop.events());
    assert!(mount.stop().success());
    until("nothing of it is left", || !somebody_lives_in(shell.home.path("mnt").parent().expect("the home")));
}

#[test]
fn what_passes_by_itself_is_not_told_and_a_sign_out_is() {
    let shell = Shell::new(Flavour::PersonalNew);
    let desktop = Desktop::new(&shell.home);
    let mount = mount(&shell, &desktop.address);
    shell.service.emulator().set_network(Network::Refusing);
    fs::write(mount.path("new"), "new").expect("writing is local");
    until("it is noticed", || shell.json(&["status"])["state"] == "offline");
    std::thread::sleep(QUIET);
    assert_eq!(desktop.guests(), 0, "there is nothing to say, so nobody comes to say it");
    shell.service.emulator().set_network(Network::Up);
    shell.ok(&["wait", "--timeout", "60s"]);
    assert_eq!(desktop.events(), []);

    shell.service.emulator().oauth().revoke_refresh();
    shell.service.emulator().oauth().expire_access_tokens();
    let shown = desktop.until(1);
    let Event::Shown { replaces: 0, title, body } = &shown[0] else { panic!("{shown:?}") };
    assert_eq!(title, "OneDrive: you are signed out");
    assert!(body.contains("onedrive-cli auth"), "{body}");
    // The next start says it again if it is still so.
    assert!(mount.stop().success());
    assert_eq!(desktop.until(2)[1], Event::Closed(41));
}

#[test]
fn a_burst_that_is_held_is_told_with_the_program_and_taken_down_when_it_is_answered() {
    let shell = Shell::with(Flavour::PersonalNew, "guard:\n  burst: 3\nupload:\n  debounce: 2s\n");
    for number in 0..6 {
        shell.service.drive().create_file(&format!("/docs/{number}"), b"theirs".to_vec());
    }
    let desktop = Desktop::new(&shell.home);
    let mount = mount(&shell, &desktop.address);
    assert!(Command::new("rm").arg("-r").arg(mount.path("docs")).status().expect("rm").success());
    let shown = desktop.until(1);
    let Event::Shown { replaces: 0, body, .. } = &shown[0] else { panic!("{shown:?}") };
    assert!(body.contains(" by rm (process ") && body.contains("onedrive-cli discard --held"), "{body}");
    shell.ok(&["discard", "--yes", "--held"]);
    assert_eq!(desktop.until(2)[1], Event::Closed(41));
    assert!(mount.stop().success());
}

#[test]
fn who_wants_no_notifications_gets_none() {
    let shell = Shell::with(Flavour::PersonalNew, "notifications: false\n");
    let desktop = Desktop::new(&shell.home);
    let mount = mount(&shell, &desktop.address);
    deny(&shell);
    fs::write(mount.path("a.txt"), "mine").expect("writing is local");
    until_parked(&shell, 1);
    std::thread::sleep(QUIET);
    assert_eq!((desktop.events(), desktop.guests()), (vec![], 0));
    assert!(mount.stop().success());
}

#[test]
fn a_bus_that_is_missing_or_never_answers_holds_nobody_up() {
    for answers in [false, true] {
        let shell = Shell::new(Flavour::PersonalNew);
        let socket = shell.home.path("bus");
        // It takes connections, and that is all.
        let deaf = answers.then(|| UnixListener::bind(&socket).expect("a socket"));
        let mount = mount(&shell, &format!("unix:path={}", socket.display()));
        deny(&shell);
        fs::write(mount.path("a.txt"), "mine").expect("writing is local");
        until_parked(&shell, 1);
        let visitor = deaf.as_ref().map(|deaf| deaf.accept().expect("somebody comes"));
        if visitor.is_none() {
            until("it was tried", || mount.log().contains("the user is not told on the desktop"));
        }
        fs::write(mount.path("a.txt"), "mine, as always").expect("writing is local");
        assert_eq!(fs::read(mount.path("a.txt")).expect("it is here"), b"mine, as always");
        until_parked(&shell, 1);
        // In the middle of the question.
        let begun = Instant::now();
        assert!(mount.stop().success());
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    }
}
