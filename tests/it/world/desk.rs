//! A drive in use whose control socket can be asked, without a kernel.

use std::path::{Path, PathBuf};

use onedrive_mount::base::tasks::TaskGroup;
use onedrive_mount::daemon::control::protocol::{Done, Progress, Queue, Verified, Why};
use onedrive_mount::daemon::control::{self, Answer, Request, Status, ask, ask_at_length};

use super::{Running, User, World};

/// The mount point that the drive believes in.
pub const MOUNT: &str = "/mount";

pub struct Desk {
    pub running: Running,
    pub socket: PathBuf,
    _server: control::Server,
}

impl Desk {
    pub async fn open(world: &World) -> Self {
        let desk = Self::quiet(world).await;
        desk.start();
        desk
    }

    /// Runs the tasks: uploads, changes elsewhere, quota.
    pub fn start(&self) {
        self.running.core.spawn_tasks(&self.running.tasks);
    }

    /// One whose tasks do not run yet: nothing happens but what is asked for.
    pub async fn quiet(world: &World) -> Self {
        let opened = world.opened();
        let core = world.open_on(opened.remote.clone(), world.home.path()).await;
        core.prepare().await;
        let tasks = TaskGroup::new(world.clock.clone());
        let socket = world.home.path().join("run/default.sock");
        let answers = core.answers(Path::new(MOUNT), &opened, &tasks);
        let server = control::Server::start(std::slice::from_ref(&socket), answers).await.expect("the socket");
        Self { running: Running { core, tasks }, socket, _server: server }
    }

    /// The drive alone: its socket is gone.
    pub fn away(self) -> Running {
        self.running
    }

    pub fn user(&self) -> User<'_> {
        User(&self.running.core)
    }

    pub fn ask(&self, request: &Request) -> Answer {
        tokio::task::block_in_place(|| ask(&self.socket, request)).expect("an answer")
    }

    pub fn status(&self) -> Status {
        match self.ask(&Request::Status) {
            Answer::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    pub fn queue(&self, path: Option<&str>) -> Queue {
        match self.ask(&Request::Queue { path: path.map(str::to_owned), limit: None }) {
            Answer::Queue(queue) => queue,
            other => panic!("{other:?}"),
        }
    }

    pub fn progress(&self, path: Option<&str>) -> Progress {
        match self.ask(&Request::Progress { path: path.map(str::to_owned) }) {
            Answer::Progress(progress) => *progress,
            other => panic!("{other:?}"),
        }
    }

    pub fn why(&self, path: &str) -> Why {
        match self.ask(&Request::Why { path: path.to_owned() }) {
            Answer::Why(why) => *why,
            other => panic!("{other:?}"),
        }
    }

    pub fn done(&self, request: &Request) -> Done {
        match self.ask(request) {
            Answer::Done(done) => done,
            other => panic!("{other:?}"),
        }
    }

    pub fn verify(&self, path: Option<&str>) -> Verified {
        let request = Request::Verify { path: path.map(str::to_owned) };
        let patience = std::time::Duration::from_secs(60);
        match tokio::task::block_in_place(|| ask_at_length(&self.socket, &request, patience, |_| {})) {
            Ok(Answer::Verified(found)) => found,
            other => panic!("{other:?}"),
        }
    }

    /// The words for the entries of the queue: state, what, path.
    pub fn entries(&self) -> Vec<String> {
        let entries = self.queue(None).entries.into_iter();
        let mut words: Vec<String> =
            entries.map(|entry| format!("{} {} {}", entry.state, entry.what, entry.path)).collect();
        words.sort();
        words
    }
}
