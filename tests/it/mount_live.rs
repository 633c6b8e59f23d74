//! A mount on Live Connect: a large file that goes up by BITS and is cut three times on the way.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use onedrive_mount::emulator::{Course, Fault, Host, Rule, When};

use crate::world::generated;
use crate::world::service::{Service, wait_until_uploaded};
use crate::world::side::Side;

/// The length of a fragment, in bytes.
const FRAGMENT: u64 = 1 << 20;

/// Bytes that tell every place of the file from every other.
fn content(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The connection breaks in the middle of a fragment, the daemon is killed between two, and the token has run out when
/// everything is there and has to be committed. `LIVE_MEGABYTES=300` takes a file of that size.
#[test]
fn a_large_file_survives_a_cut_connection_a_dead_daemon_and_an_expired_token() {
    let length = usize::try_from(generated::asked("LIVE_MEGABYTES").unwrap_or(12)).expect("it fits") * 1_000_000 + 77;
    let fragments = length.div_ceil(FRAGMENT as usize);
    let bytes = content(length);
    let service = Service::new(Side::LIVE);
    let settings = "upload:\n  debounce: 20ms\nlive:\n  put_limit: 2000000\n  bits_fragment: 1 MiB\n";
    let home = service.home(settings);
    let faults = service.emulator().faults();
    faults.add(Rule::once("Fragment", "*", Fault::ResetUpload { after: FRAGMENT / 3 }).skip(2));
    // There is time to kill the daemon.
    let pause = Fault::Stall { when: When::After, duration: Duration::from_millis(400) };
    faults.add(Rule::once("Fragment", "*", pause).skip(6));
    let (reached, reach) = mpsc::channel();
    let (oauth, seen) = (service.emulator().oauth().clone(), AtomicUsize::new(0));
    service.emulator().set_witness(Some(Arc::new(move |moment| {
        if moment.method == "Fragment" && moment.when == When::After {
            match seen.fetch_add(1, Ordering::SeqCst) {
                5 => drop(reached.send(())),
                // Whatever was acknowledged before: the last ones are sent with a token that is over.
                number if number == fragments => oauth.expire_access_tokens(),
                _ => {}
            }
        }
        Course::Go
    })));
    let mount = service.mount(&home);
    fs::write(mount.path("large.bin"), &bytes).expect("written");
    reach.recv_timeout(Duration::from_secs(120)).expect("some fragments arrive");
    mount.crash();
    let mount = service.mount(&home);
    assert!(fs::read(mount.path("large.bin")).expect("readable") == bytes, "here, before it is there");
    wait_until_uploaded(&home);
    service.emulator().set_witness(None);

    assert!(service.drive().read_file("/large.bin").expect("arrived") == bytes, "other bytes arrived");
    assert_eq!(service.drive().open_sessions(), 0);
    let requests = service.emulator().requests();
    let of = |method: &str| requests.iter().filter(|seen| seen.host == Host::Bits && seen.method == method).count();
    assert_eq!(of("Create-Session"), 1, "one session from the beginning to the end");
    let sent: u64 = requests.iter().filter(|seen| seen.method == "Fragment").map(|seen| seen.bytes_in).sum();
    assert!(sent <= length as u64 + 3 * FRAGMENT, "{sent} bytes were sent for {length}");
    println!(
        "large uploads, mount: {length} bytes; {sent} were sent in {} fragments and {} commits, cut three times",
        of("Fragment"),
        of("Close-Session")
    );
    assert!(mount.stop().success());
}
