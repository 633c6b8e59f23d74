//! Telling the kernel what it must forget.
//!
//! A notice can block inside the kernel: dropping pages waits for the reads that fill them, dropping a
//! name waits for the lock of its folder. A handler that did it itself could wait for its own reply, and a
//! wait there cannot be interrupted by any signal. Therefore, always:
//!
//! - notices are sent by one plain thread of their own, never by a thread that answers requests;
//! - whoever posts one only touches this queue, so a notice may be posted with any lock held;
//! - the new state is visible before the notice is posted (the poster's duty);
//! - a notice that is already waiting is not queued twice, so the queue is bounded by what the kernel knows;
//! - nothing is sent before the mount is up or once shutdown has begun: the kernel knows nothing then, and
//!   a notice during an unmount can wait for ever.

use std::collections::{HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use fuser::Notifier;

use super::attr::to_kernel_ino;
use crate::base::ids::Ino;
use crate::volume::{KernelNotice, KernelSink};

/// The kernel's ear. "Not known to the kernel" is success.
pub trait Kernel: Send + 'static {
    /// Forget a name of a folder, known or known to be absent.
    fn forget_name(&self, parent: Ino, name: &OsStr) -> io::Result<()>;
    /// Forget a name whose inode is gone, and tell those who watch it.
    fn forget_deleted(&self, parent: Ino, child: Ino, name: &OsStr) -> io::Result<()>;
    /// Forget the attributes of an inode. Never blocks.
    fn forget_attributes(&self, ino: Ino) -> io::Result<()>;
    /// Forget the attributes and all pages of an inode.
    fn forget_pages(&self, ino: Ino) -> io::Result<()>;
}

impl Kernel for Notifier {
    fn forget_name(&self, parent: Ino, name: &OsStr) -> io::Result<()> {
        self.inval_entry(to_kernel_ino(parent), name)
    }

    fn forget_deleted(&self, parent: Ino, child: Ino, name: &OsStr) -> io::Result<()> {
        // The kernel refuses this for a folder that it still has names below; forgetting the name is then
        // what remains, and watchers are not told.
        self.delete(to_kernel_ino(parent), to_kernel_ino(child), name)
            .or_else(|_| self.inval_entry(to_kernel_ino(parent), name))
    }

    fn forget_attributes(&self, ino: Ino) -> io::Result<()> {
        // A negative offset means "no pages" (fuse_reverse_inval_inode in the kernel's fs/fuse/inode.c).
        self.inval_inode(to_kernel_ino(ino), -1, 0)
    }

    fn forget_pages(&self, ino: Ino) -> io::Result<()> {
        self.inval_inode(to_kernel_ino(ino), 0, 0)
    }
}

/// A notice as something that can be looked up.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Waiting {
    Name(Ino, OsString),
    Deleted(Ino, Ino, OsString),
    Attributes(Ino),
    Pages(Ino),
}

impl From<KernelNotice> for Waiting {
    fn from(notice: KernelNotice) -> Self {
        match notice {
            KernelNotice::Entry { parent, name } => Self::Name(parent, name),
            KernelNotice::Deleted { parent, child, name } => Self::Deleted(parent, child, name),
            KernelNotice::Attributes(ino) => Self::Attributes(ino),
            KernelNotice::Pages(ino) => Self::Pages(ino),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Not mounted yet: notices are dropped.
    Before,
    Open,
    /// Unmounting or unmounted: notices are dropped.
    Closed,
}

struct Queue {
    phase: Phase,
    order: VecDeque<Waiting>,
    known: HashSet<Waiting>,
    /// One is on its way into the kernel.
    sending: bool,
}

/// The queue in front of the kernel. Made before the volume, which posts to it; attached once the mount
/// is up.
pub struct NotifyQueue {
    queue: Mutex<Queue>,
    wake: Condvar,
}

impl NotifyQueue {
    /// A queue that drops everything until [`NotifyQueue::attach`].
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue {
                phase: Phase::Before,
                order: VecDeque::new(),
                known: HashSet::new(),
                sending: false,
            }),
            wake: Condvar::new(),
        })
    }

    /// Starts sending to the kernel, on a thread of its own that ends after [`NotifyQueue::close`].
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn attach(self: &Arc<Self>, kernel: impl Kernel) -> io::Result<()> {
        self.lock().phase = Phase::Open;
        let queue = Arc::clone(self);
        // Not joined by anybody: it may sit in the kernel until the connection ends.
        std::thread::Builder::new().name("fuse-notify".to_owned()).spawn(move || queue.send_all(&kernel)).map(drop)
    }

    /// Drops what waits and everything posted from now on. Returns at once, even while a notice is stuck.
    pub fn close(&self) {
        let mut queue = self.lock();
        queue.phase = Phase::Closed;
        queue.order.clear();
        queue.known.clear();
        self.wake.notify_all();
    }

    /// How many notices wait.
    pub fn waiting(&self) -> usize {
        self.lock().order.len()
    }

    fn send_all(&self, kernel: &impl Kernel) {
        while let Some(next) = self.next() {
            let sent = match &next {
                Waiting::Name(parent, name) => kernel.forget_name(*parent, name),
                Waiting::Deleted(parent, child, name) => kernel.forget_deleted(*parent, *child, name),
                Waiting::Attributes(ino) => kernel.forget_attributes(*ino),
                Waiting::Pages(ino) => kernel.forget_pages(*ino),
            };
            match sent {
                Ok(()) => tracing::trace!(notice = ?next, "the kernel forgot"),
                Err(error) => tracing::debug!(notice = ?next, %error, "the kernel did not take a notice"),
            }
        }
    }

    /// Waits for the next notice; `None` once closed.
    fn next(&self) -> Option<Waiting> {
        let mut queue = self.lock();
        loop {
            if queue.phase == Phase::Closed {
                return None;
            }
            if let Some(next) = queue.order.pop_front() {
                // Before it is sent, so that what is posted while it is on its way is sent again.
                queue.known.remove(&next);
                queue.sending = true;
                return Some(next);
            }
            queue.sending = false;
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KernelSink for NotifyQueue {
    fn post(&self, notice: KernelNotice) {
        let mut queue = self.lock();
        if queue.phase != Phase::Open {
            return;
        }
        let notice = Waiting::from(notice);
        // Dropping the pages of an inode drops its attributes too.
        if let Waiting::Attributes(ino) = notice
            && queue.known.contains(&Waiting::Pages(ino))
        {
            return;
        }
        if queue.known.insert(notice.clone()) {
            queue.order.push_back(notice);
            self.wake.notify_one();
        }
    }

    fn has_heard(&self) -> bool {
        let queue = self.lock();
        queue.phase != Phase::Open || (queue.order.is_empty() && !queue.sending)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A kernel that says what it heard and waits for a word before each answer.
    struct SlowKernel {
        heard: mpsc::Sender<String>,
        answer: mpsc::Receiver<()>,
    }

    impl SlowKernel {
        fn hear(&self, what: String) -> io::Result<()> {
            self.heard.send(what).expect("the test listens");
            self.answer.recv().map_err(io::Error::other)
        }
    }

    impl Kernel for SlowKernel {
        fn forget_name(&self, parent: Ino, name: &OsStr) -> io::Result<()> {
            self.hear(format!("name {parent} {}", name.to_string_lossy()))
        }
        fn forget_deleted(&self, parent: Ino, child: Ino, name: &OsStr) -> io::Result<()> {
            self.hear(format!("deleted {parent} {child} {}", name.to_string_lossy()))
        }
        fn forget_attributes(&self, ino: Ino) -> io::Result<()> {
            self.hear(format!("attributes {ino}"))
        }
        fn forget_pages(&self, ino: Ino) -> io::Result<()> {
            self.hear(format!("pages {ino}"))
        }
    }

    fn name(text: &str) -> KernelNotice {
        KernelNotice::Entry { parent: Ino(1), name: text.into() }
    }

    #[test]
    fn notices_before_the_mount_and_after_its_end_are_dropped() {
        let queue = NotifyQueue::new();
        queue.post(name("early"));
        assert_eq!(queue.waiting(), 0);
        queue.lock().phase = Phase::Open;
        queue.post(name("in time"));
        assert_eq!(queue.waiting(), 1);
        queue.close();
        queue.post(name("late"));
        assert_eq!(queue.waiting(), 0);
        assert!(queue.next().is_none());
    }

    #[test]
    fn repeats_merge_but_one_on_its_way_does_not_count() {
        let queue = NotifyQueue::new();
        let (heard, listen) = mpsc::channel();
        let (say, answer) = mpsc::channel();
        queue.attach(SlowKernel { heard, answer }).expect("a thread");
        queue.post(name("a"));
        assert_eq!(listen.recv().expect("sent"), "name 1 a");
        // "a" is inside the kernel now: the kernel may have looked before this change.
        queue.post(name("a"));
        queue.post(name("a"));
        queue.post(KernelNotice::Pages(Ino(7)));
        queue.post(KernelNotice::Attributes(Ino(7)));
        queue.post(KernelNotice::Deleted { parent: Ino(1), child: Ino(7), name: "b".into() });
        assert_eq!(queue.waiting(), 3);
        for expected in ["name 1 a", "pages 7", "deleted 1 7 b"] {
            say.send(()).expect("the kernel waits");
            assert_eq!(listen.recv().expect("sent"), expected);
        }
        queue.close();
        say.send(()).expect("the kernel waits");
        assert!(listen.recv().is_err(), "the thread has ended");
    }
}
