//! Ends the connection of a daemon that was killed and cannot die.
//!
//! It exists because a notice to the kernel may wait inside it for a page or for the lock of a folder, and no signal ends
//! that wait (`fuse_reverse_inval_inode` and `fuse_reverse_inval_entry` in the kernel's fs/fuse). What it waits for is an
//! answer of the daemon. If the daemon is killed in that moment, by a user or because the machine is out of memory, that
//! one thread stays, with it the file through which the daemon answers, and whoever uses the mount hangs with it for ever.
//! Only aborting the connection helps.
//!
//! So a small process stands beside the daemon and sleeps. The kernel wakes it when the thread that began it ends
//! (`PR_SET_PDEATHSIG`); if threads of the daemon are left then and stay, it aborts the connection of their mount. What
//! is left is a dead mount point, which the next start heals.
//!
//! Always true here: it acts only on a process whose first thread has ended and that is the very one that began it, never
//! on one that runs; and it ends with the daemon.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};

use super::unmount;

/// The first argument of the process, before its pid and the number of the mount's device.
const ARGUMENT: &str = "--undertaker";

/// How often it looks once it was woken, and how long it goes on looking at a daemon that lives.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 100;

/// So many looks in a row that find the same is more than a process needs to end.
const PATIENCE: u32 = 10;

/// It looks by itself as well: the wake-up comes when one thread ends, which need not be the last.
const ROUND: Duration = Duration::from_secs(60);

/// The process beside this one. Dropping it ends it.
pub struct Undertaker(Child);

impl Undertaker {
    /// Begins it, from the thread that is to live as long as the mount. `program` is one that calls [`main_if_asked`]
    /// first of all. Without it the mount works; why there is none goes to the log.
    pub fn start(program: &Path, device_minor: u32) -> Option<Self> {
        let mut command = Command::new(program);
        command.arg(ARGUMENT).arg(std::process::id().to_string()).arg(device_minor.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self).inspect_err(|error| tracing::warn!(%error, "no process watches the mount")).ok()
    }
}

impl Drop for Undertaker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The whole life of the process, if that is what the arguments ask for.
pub fn main_if_asked(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    let mut number = || arguments.next()?.to_str()?.parse::<u32>().ok();
    let (Some(pid), Some(minor)) = (number(), number()) else { return Some(ExitCode::from(2)) };
    Some(match watch(pid, minor) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn watch(pid: u32, minor: u32) -> std::io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut woken = signal(SignalKind::terminate())?;
        // Whoever ends the daemon from its terminal or its service means the whole group. It ends after the daemon.
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut hung_up = signal(SignalKind::hangup())?;
        set_parent_process_death_signal(Some(Signal::TERM))?;
        let Some(Threads { born, .. }) = Threads::of(pid) else { return Ok(()) };
        let (mut looks, mut ending) = (0_u32, 0_u32);
        loop {
            match fate(Threads::of(pid).as_ref(), born) {
                Fate::Gone => return Ok(()),
                Fate::Ending => ending += 1,
                Fate::Lives => ending = 0,
            }
            if ending > PATIENCE {
                return unmount::abort(minor);
            }
            let pause = if looks > 0 || ending > 0 { LOOK } else { ROUND };
            looks = looks.saturating_sub(1);
            tokio::select! {
                _ = woken.recv() => looks = LOOKS,
                _ = interrupted.recv() => looks = LOOKS,
                _ = hung_up.recv() => looks = LOOKS,
                () = tokio::time::sleep(pause) => {}
            }
        }
    })
}

/// What is left of a process.
struct Threads {
    /// When it was begun: a number that no other process of its pid has.
    born: u64,
    /// Whether its first thread has ended.
    headless: bool,
    count: usize,
}

impl Threads {
    fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let count = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.count();
        Self::parse(&stat, count)
    }

    /// From proc_pid_stat(5); the name of the program may have anything in it but ends with the last parenthesis.
    fn parse(stat: &str, count: usize) -> Option<Self> {
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        let born = fields.nth(18)?.parse().ok()?;
        Some(Self { born, headless: matches!(state, "Z" | "X"), count })
    }
}

#[derive(PartialEq, Eq, Debug)]
enum Fate {
    Lives,
    /// Its first thread has ended and others have not.
    Ending,
    Gone,
}

/// | the process | its first thread | threads | |
/// | --- | --- | --- | --- |
/// | none of that pid, or another one | | | gone |
/// | | lives | | lives |
/// | | has ended | others, too | ending |
/// | | has ended | no others: somebody has still to be told of its end | gone |
fn fate(threads: Option<&Threads>, born: u64) -> Fate {
    match threads {
        Some(threads) if threads.born == born => match (threads.headless, threads.count) {
            (false, _) => Fate::Lives,
            (true, 2..) => Fate::Ending,
            (true, _) => Fate::Gone,
        },
        _ => Fate::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_lost_its_first_thread_and_is_still_there_is_ending() {
        let stat = |state: &str, born: u64| {
            let rest: Vec<String> = (0..18).map(|n| n.to_string()).collect();
            format!("77 (a) b (c)) {state} {} {born} 5 6", rest.join(" "))
        };
        let of = |state: &str, born, count| Threads::parse(&stat(state, born), count);
        assert_eq!(fate(of("S", 9, 12).as_ref(), 9), Fate::Lives);
        assert_eq!(fate(of("Z", 9, 2).as_ref(), 9), Fate::Ending);
        assert_eq!(fate(of("Z", 9, 1).as_ref(), 9), Fate::Gone);
        assert_eq!(fate(of("Z", 8, 2).as_ref(), 9), Fate::Gone, "another one of that pid");
        assert_eq!(fate(None, 9), Fate::Gone);
        assert!(Threads::parse("nonsense", 1).is_none());
        assert_eq!(fate(Threads::of(std::process::id()).as_ref(), 0), Fate::Gone);
        let me = Threads::of(std::process::id()).expect("this process");
        assert_eq!(fate(Some(&me), me.born), Fate::Lives);
    }

    #[test]
    fn other_arguments_are_not_for_it() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert!(main_if_asked(words("onedrive-mount /mnt")).is_none());
        assert!(main_if_asked(words("onedrive-mount")).is_none());
        assert_eq!(main_if_asked(words("onedrive-mount --undertaker x 1")), Some(ExitCode::from(2)));
    }
}
