//! On whose behalf work is done: the process behind a request of the kernel.
//!
//! Most of the program must not care who asks. One rule does: a single process that deletes or overwrites very many
//! files is worth a question. The number travels beside the work instead of through every signature, as the urgency
//! of a request to the cloud does. Work that no program asked for (uploads, changes from elsewhere) has no caller.

use std::future::Future;

use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static CALLER: u32;
}

/// Runs `work` on behalf of a thread, given by its number as the kernel tells it; 0 for one that this machine's
/// kernel cannot name here (another container).
pub fn on_behalf_of<F: Future>(thread: u32, work: F) -> TaskLocalFuture<u32, F> {
    CALLER.scope(thread, work)
}

/// As [`on_behalf_of`], for work that does not wait. `None` is for work that nobody asked for.
pub fn on_behalf_of_now<T>(thread: Option<u32>, work: impl FnOnce() -> T) -> T {
    match thread {
        Some(thread) => CALLER.sync_scope(thread, work),
        None => work(),
    }
}

/// The thread that the current work is done for, if it is done for one.
pub fn current() -> Option<u32> {
    CALLER.try_with(|thread| *thread).ok()
}

/// A process, as people know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// The name of its program, at most 15 characters; empty if it has ended.
    pub name: String,
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self { id: 0, .. } => f.write_str("a program in another container"),
            Self { id, name } if name.is_empty() => write!(f, "process {id}"),
            Self { id, name } => write!(f, "{name} (process {id})"),
        }
    }
}

/// The process of a thread. Blocks on `/proc`, which takes microseconds; a thread that has ended stands for itself.
pub fn process_of(thread: u32) -> Process {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let id = field("Tgid:").and_then(|id| id.parse().ok()).unwrap_or(thread);
    // The name of the process, not of one of its threads.
    let name = std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    Process { id, name: name.trim().chars().filter(|c| !c.is_control()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_caller_is_known_within_the_work_and_nowhere_else() {
        assert_eq!(current(), None);
        assert_eq!(on_behalf_of(7, async { current() }).await, Some(7));
        assert_eq!(on_behalf_of_now(Some(8), current), Some(8));
        assert_eq!(on_behalf_of(7, async { on_behalf_of_now(None, current) }).await, Some(7));
        assert_eq!(current(), None);
    }

    #[test]
    fn every_thread_leads_to_its_process() {
        let own = std::process::id();
        let of_thread = std::thread::spawn(|| {
            let link = std::fs::read_link("/proc/thread-self").expect("a link");
            process_of(link.file_name().and_then(|name| name.to_str()?.parse().ok()).expect("a number"))
        });
        let found = of_thread.join().expect("joins");
        assert_eq!(found.id, own);
        assert!(!found.name.is_empty());
        assert_eq!(process_of(u32::MAX), Process { id: u32::MAX, name: String::new() });
        assert_eq!(Process { id: 5, name: "rm".into() }.to_string(), "rm (process 5)");
    }
}
