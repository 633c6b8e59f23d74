//! The end that a signal asks for: what is on its way gets twenty seconds, programs get five, and who asks twice gets it at
//! once. What has not arrived by then is sent after the next start.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use onedrive_mount::emulator::{Fault, Flavour, Rule, When};
use rustix::process::Signal;

use crate::world::mount::{Home, Mount};
use crate::world::service::{Service, wait_until_uploaded};
use crate::world::until;

/// A mount whose only upload never comes to an end.
fn stalled() -> (Service, Home, Mount) {
    let service = Service::new(Flavour::PersonalNew);
    service.drive().create_file("/open", b"open".to_vec());
    let home = service.home("upload:\n  debounce: 0s\n");
    let mount = service.mount(&home);
    let stall = Fault::Stall { when: When::Before, duration: Duration::from_secs(3600) };
    let rule = service.emulator().faults().add(Rule::always("PUT", "*", stall));
    fs::write(mount.path("unsent"), "unsent").expect("written");
    until("it is on its way", || service.emulator().faults().struck(rule) > 0);
    (service, home, mount)
}

fn is_sent_after_the_next_start(service: &Service, home: &Home) {
    assert_eq!(service.drive().read_file("/unsent"), None);
    service.emulator().faults().clear();
    let mount = service.mount(home);
    wait_until_uploaded(home);
    assert_eq!(service.drive().read_file("/unsent").as_deref(), Some(&b"unsent"[..]));
    assert!(mount.stop().success());
}

#[test]
fn what_is_on_its_way_gets_twenty_seconds_and_programs_five() {
    let (service, home, mut mount) = stalled();
    let held = File::open(mount.path("open")).expect("opens");
    let begun = Instant::now();
    mount.signal(Signal::TERM);
    // The kernel keeps no answer to this: the daemon gives it, or nobody does.
    let mut answered = Duration::ZERO;
    while rustix::fs::fstatvfs(&held).is_ok() {
        answered = begun.elapsed();
        assert!(answered < Duration::from_secs(40), "it goes on and on");
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = mount.wait_for_end();
    let took = begun.elapsed();
    println!("the last answer came after {answered:?}, the end after {took:?}");
    assert!(status.success(), "{}", mount.log());
    // Somewhat less than five, because a busy machine may not have looked at the end of them.
    assert!(answered > Duration::from_secs(20 + 3), "programs were cut after {answered:?}");
    // Somewhat more than twenty and five, because a busy machine is late; less than another five.
    assert!(answered < Duration::from_secs(29), "programs were cut after {answered:?}");
    assert!(took < Duration::from_secs(40), "{took:?}");
    assert!(mount.log().contains("1 change is not in the cloud yet"), "{}", mount.log());
    drop(held);
    is_sent_after_the_next_start(&service, &home);
}

#[test]
fn a_second_signal_does_not_wait_for_what_is_on_its_way() {
    let (service, home, mut mount) = stalled();
    let begun = Instant::now();
    mount.signal(Signal::TERM);
    // Two that come together are one.
    until("the first is heard", || mount.log().contains("stopping"));
    mount.signal(Signal::TERM);
    let status = mount.wait_for_end();
    println!("the end came after {:?}", begun.elapsed());
    assert!(status.success(), "{}", mount.log());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    is_sent_after_the_next_start(&service, &home);
}

/// Whoever takes the mount down, what is on its way arrives all the same if it takes less than twenty seconds.
#[test]
fn what_was_on_its_way_arrives_after_the_mount_was_taken_down() {
    for how in ["fusermount3", "onedrive-cli"] {
        let service = Service::new(Flavour::PersonalNew);
        let home = service.home("upload:\n  debounce: 0s\n");
        let mut mount = service.mount(&home);
        let stall = Fault::Stall { when: When::Before, duration: Duration::from_secs(3) };
        let rule = service.emulator().faults().add(Rule::once("PUT", "*", stall));
        fs::write(mount.path("unsent"), "unsent").expect("written");
        until("it is on its way", || service.emulator().faults().struck(rule) > 0);
        let taken_down = match how {
            "fusermount3" => home.command(how).arg("-u").arg(mount.at()).output(),
            _ => home.command(env!("CARGO_BIN_EXE_onedrive-cli")).arg("unmount").arg(mount.at()).output(),
        };
        let taken_down = taken_down.expect("it runs");
        assert!(taken_down.status.success(), "{how}: {}", String::from_utf8_lossy(&taken_down.stderr));
        if how == "fusermount3" {
            assert_eq!(service.drive().read_file("/unsent"), None, "it was taken down before");
        }
        assert!(mount.wait_for_end().success(), "{how}: {}", mount.log());
        assert_eq!(service.drive().read_file("/unsent").as_deref(), Some(&b"unsent"[..]), "{how}");
    }
}
