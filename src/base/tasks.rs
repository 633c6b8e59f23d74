//! Long-running tasks with names, so that none dies unnoticed and all stop in order.
//!
//! A background task that panics or returns early leaves a program that looks alive and does nothing.
//! [`TaskGroup`] reports every end that nobody asked for ([`TaskGroup::failures`]), and stops its tasks
//! one after another, the latest first: what was started later uses what was started earlier.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::base::clock::Clock;

/// Tells a task that it shall end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// A stop signal with its switch, for code that runs outside a group. Dropping the switch stops too.
    pub fn channel() -> (StopSwitch, Stop) {
        let (sender, receiver) = watch::channel(false);
        (StopSwitch(sender), Stop(receiver))
    }

    /// Whether the task shall end.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Completes once the task shall end; also when its group is gone.
    pub async fn requested(&mut self) {
        // An error means that the sender is gone, and with it everybody who could want this task.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// The other end of a [`Stop`].
#[derive(Debug)]
pub struct StopSwitch(watch::Sender<bool>);

impl StopSwitch {
    /// Asks for the end.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// How a task ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It returned after it was asked to.
    Stopped,
    /// It returned though nobody asked.
    Returned,
    /// It panicked, with this message.
    Panicked(String),
    /// It did not end in time and was cut off at an await.
    Aborted,
}

/// A task that has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Which one.
    pub task: &'static str,
    /// How.
    pub how: Ending,
}

struct Task {
    name: &'static str,
    switch: StopSwitch,
    handle: JoinHandle<Ending>,
}

/// Named tasks that live and end together. Dropping the group aborts them.
pub struct TaskGroup {
    clock: Arc<dyn Clock>,
    tasks: Mutex<Vec<Task>>,
    failures: watch::Sender<Vec<Ended>>,
}

impl TaskGroup {
    /// An empty group.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, tasks: Mutex::new(Vec::new()), failures: watch::channel(Vec::new()).0 }
    }

    /// Starts a task on the current tokio runtime. It gets a [`Stop`] and returns when that asks for it;
    /// returning earlier, or panicking, is a failure.
    pub fn spawn<F>(&self, name: &'static str, task: impl FnOnce(Stop) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (switch, stop) = Stop::channel();
        let running = task(stop.clone());
        let failures = self.failures.clone();
        let handle = tokio::spawn(async move {
            let how = match AssertUnwindSafe(running).catch_unwind().await {
                Ok(()) if stop.is_requested() => Ending::Stopped,
                Ok(()) => Ending::Returned,
                Err(panic) => Ending::Panicked(panic_text(&*panic)),
            };
            if how != Ending::Stopped {
                tracing::error!(task = name, ?how, "a task that should run has ended");
                failures.send_modify(|list| list.push(Ended { task: name, how: how.clone() }));
            }
            how
        });
        self.lock().push(Task { name, switch, handle });
    }

    /// Every end that nobody asked for, so far. Not empty means unhealthy.
    pub fn failures(&self) -> watch::Receiver<Vec<Ended>> {
        self.failures.subscribe()
    }

    /// Stops all tasks, the latest first, each before the next one is asked. What has not ended when the
    /// deadline is over is aborted. Returns how each one ended, in the order of stopping.
    pub async fn stop(&self, deadline: Duration) -> Vec<Ended> {
        let until = self.clock.monotonic().plus(deadline);
        let tasks = std::mem::take(&mut *self.lock());
        let mut report = Vec::with_capacity(tasks.len());
        for mut task in tasks.into_iter().rev() {
            task.switch.stop();
            let left = until.since(self.clock.monotonic());
            let how = tokio::select! {
                biased;
                ended = &mut task.handle => ended.unwrap_or(Ending::Aborted),
                () = self.clock.sleep(left) => {
                    task.handle.abort();
                    // It may have ended in this very moment.
                    (&mut task.handle).await.unwrap_or(Ending::Aborted)
                }
            };
            if how == Ending::Aborted {
                tracing::warn!(task = task.name, "a task did not stop in time and was cut off");
            }
            report.push(Ended { task: task.name, how });
        }
        report
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TaskGroup {
    fn drop(&mut self) {
        for task in self.lock().drain(..) {
            task.handle.abort();
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::{ManualClock, Timestamp};

    fn group() -> (TaskGroup, ManualClock) {
        let clock = ManualClock::new(Timestamp(0));
        (TaskGroup::new(Arc::new(clock.clone())), clock)
    }

    #[tokio::test]
    async fn tasks_stop_in_reverse_order() {
        let (group, _) = group();
        let order = Arc::new(Mutex::new(Vec::new()));
        for name in ["first", "second", "third"] {
            let order = order.clone();
            group.spawn(name, |mut stop| async move {
                stop.requested().await;
                order.lock().expect("not poisoned").push(name);
            });
        }
        let report = group.stop(Duration::from_secs(5)).await;
        assert_eq!(*order.lock().expect("not poisoned"), ["third", "second", "first"]);
        assert!(report.iter().all(|ended| ended.how == Ending::Stopped), "{report:?}");
        assert!(group.failures().borrow().is_empty());
    }

    #[tokio::test]
    async fn an_early_return_and_a_panic_are_reported() {
        let (group, _) = group();
        let mut failures = group.failures();
        group.spawn("returns", |_| async {});
        group.spawn("panics", |_| async { panic!("out of cheese") });
        failures.wait_for(|list| list.len() == 2).await.expect("the group lives");
        let mut list = failures.borrow().clone();
        list.sort_by_key(|ended| ended.task);
        assert_eq!(
            list,
            [
                Ended { task: "panics", how: Ending::Panicked("out of cheese".into()) },
                Ended { task: "returns", how: Ending::Returned },
            ]
        );
    }

    #[tokio::test]
    async fn a_task_that_ignores_the_request_is_cut_off_at_the_deadline() {
        let (group, clock) = group();
        group.spawn("polite", |mut stop| async move { stop.requested().await });
        group.spawn("deaf", |_| std::future::pending());
        let stopping = group.stop(Duration::from_secs(5));
        tokio::pin!(stopping);
        assert!(futures_util::poll!(&mut stopping).is_pending());
        clock.advance(Duration::from_secs(5));
        let report = stopping.await;
        assert_eq!(report[0], Ended { task: "deaf", how: Ending::Aborted });
        assert_eq!(report[1].task, "polite");
    }
}
