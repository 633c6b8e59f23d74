//! The daemons of this user that are running, found by their control sockets, and what of them a path means.
//!
//! A daemon that ends in order takes its socket away. So a socket with nobody behind it who answers stands for work
//! that nobody knows of: its daemon was killed, or hangs, or is of another version. Who asks about everything is told
//! of it and never takes the answers of the others for the whole; who asks about a path in a mount that answers is not
//! concerned.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::error::{CliError, Kind};
use crate::config::paths::Bases;
use crate::daemon::control::{Answer, Request, Status, ask};

/// A daemon that answers.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its profile.
    pub profile: String,
    /// Its control socket.
    pub socket: PathBuf,
    /// What it said.
    pub status: Status,
}

impl Running {
    /// Asks this daemon.
    ///
    /// # Errors
    /// It has ended, it is of another version, or it refuses.
    pub fn ask(&self, request: &Request) -> Result<Answer, CliError> {
        self.take(ask(&self.socket, request))
    }

    /// What an answer of this daemon means for a command.
    ///
    /// # Errors
    /// As for [`Running::ask`].
    pub fn take(&self, answer: io::Result<Answer>) -> Result<Answer, CliError> {
        let at = self.status.mountpoint.display();
        match answer {
            Ok(Answer::Refused { why }) => Err(CliError::new(Kind::Other, why)),
            Ok(answer) => Ok(answer),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::UnexpectedEof
                ) =>
            {
                let sentence = format!("the daemon of {at} has ended meanwhile; see its log");
                Err(CliError::new(Kind::NotMounted, sentence).hint("what waits is safe and goes on at the next start"))
            }
            Err(error) => Err(CliError::new(Kind::Other, format!("the daemon of {at} does not answer: {error}"))),
        }
    }

    /// The error for an answer to another question; only a daemon that is out of its mind gives one.
    pub fn confused(&self, answer: &Answer) -> CliError {
        let at = self.status.mountpoint.display();
        CliError::new(Kind::Other, format!("the daemon of {at} answers what was not asked: {answer:?}"))
    }
}

/// A daemon, and what of its mount is meant.
#[derive(Clone, Debug)]
pub struct Target {
    /// The daemon.
    pub daemon: Running,
    /// The path within its mount; `None` for all of it.
    pub path: Option<String>,
}

/// A socket that nobody answers at.
#[derive(Debug)]
pub struct Silent {
    /// The profile of the daemon that made it.
    pub profile: String,
    /// Where it is.
    pub socket: PathBuf,
    /// Why there is no answer; `None` if nobody listens there any more.
    pub why: Option<String>,
}

impl Silent {
    fn error(&self) -> CliError {
        let (profile, socket) = (&self.profile, self.socket.display());
        let safe = "what it had not sent is safe on this machine, and perhaps not in the cloud";
        match &self.why {
            None => CliError::new(Kind::NotMounted, format!("the daemon of the profile {profile} has died; {safe}"))
                .hint(
                    "to go on: mount it again as before (a unit does that by itself within a minute), then repeat this",
                )
                .hint(format!("if that mount is not wanted any more: rm '{socket}'")),
            Some(why) => {
                let sentence = format!("the daemon of the profile {profile} does not answer ({why}); {safe}");
                CliError::new(Kind::Other, sentence).hint(format!("the process that has {socket} open: ss -xlp"))
            }
        }
    }
}

/// Everybody who has a socket.
#[derive(Debug, Default)]
pub struct Found {
    /// Those that answer, by profile.
    pub running: Vec<Running>,
    /// Those that do not, by profile.
    pub silent: Vec<Silent>,
}

/// Asks at every socket of this user.
///
/// # Errors
/// A folder of sockets cannot be read.
pub fn all() -> Result<Found, CliError> {
    let mut found = Found::default();
    for folder in Bases::of_user()?.runtime_folders() {
        let sockets = sockets(&folder)
            .map_err(|error| CliError::new(Kind::Other, format!("cannot read {}: {error}", folder.display())))?;
        for socket in sockets {
            let profile = socket.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            match sound(ask(&socket, &Request::Status), || socket.exists()) {
                Sound::Running(status) => found.running.push(Running { profile, socket, status: *status }),
                Sound::Silent(why) => found.silent.push(Silent { profile, socket, why }),
                Sound::Ended => {}
            }
        }
    }
    found.running.sort_by(|a, b| a.profile.cmp(&b.profile));
    found.silent.sort_by(|a, b| a.profile.cmp(&b.profile));
    Ok(found)
}

/// What comes back from a socket.
#[derive(Clone, PartialEq, Debug)]
enum Sound {
    Running(Box<Status>),
    Silent(Option<String>),
    Ended,
}

/// What the answer at a socket means.
///
/// | answer | the socket | it is |
/// | --- | --- | --- |
/// | how things stand | | running |
/// | another one, or a refusal | | silent |
/// | none | is gone by now | ended in order |
/// | none: nobody listens | is there | silent: it has died |
/// | none, for any other reason | is there | silent |
fn sound(answer: io::Result<Answer>, is_there: impl Fn() -> bool) -> Sound {
    match answer {
        Ok(Answer::Status(status)) => Sound::Running(status),
        Ok(Answer::Refused { why }) => Sound::Silent(Some(why)),
        Ok(_) => Sound::Silent(Some("it answers what was not asked".to_owned())),
        Err(_) if !is_there() => Sound::Ended,
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Sound::Silent(None),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Sound::Silent(Some("nothing was heard in time".to_owned()))
            }
            _ => Sound::Silent(Some(error.to_string())),
        },
    }
}

/// Those that are meant.
#[derive(Debug)]
pub struct Meant {
    /// Those that can be asked; one at least.
    pub targets: Vec<Target>,
    silent: Vec<Silent>,
}

impl Meant {
    /// Whether those that can be asked are all that are meant. To be asked first by who must know of all, and last by
    /// who does what can be done.
    ///
    /// # Errors
    /// There is one that does not answer.
    pub fn complete(&self) -> Result<(), CliError> {
        self.silent.first().map_or(Ok(()), |silent| Err(silent.error()))
    }
}

/// Those that are meant: the one whose mount `path` lies in, or all if there is no path.
///
/// # Errors
/// None is, or the path cannot be a path of OneDrive.
pub fn meant(path: Option<&Path>) -> Result<Meant, CliError> {
    let Found { running, silent } = all()?;
    let targets = match path {
        None => running.into_iter().map(|daemon| Target { daemon, path: None }).collect(),
        Some(path) => {
            let absolute = super::context::absolute(path)?;
            let mounts: Vec<&Path> = running.iter().map(|daemon| daemon.status.mountpoint.as_path()).collect();
            match inside(&absolute, &mounts, &|link| std::fs::read_link(link).ok()) {
                None => Vec::new(),
                Some((at, inner)) => {
                    let inner = inner.to_str().map(str::to_owned).ok_or_else(|| {
                        CliError::new(
                            Kind::Usage,
                            format!("{} is not UTF-8, so OneDrive has no such name", path.display()),
                        )
                    })?;
                    let daemon = running.into_iter().nth(at).expect("invariant: `inside` returns a position");
                    let path = Some(inner).filter(|inner| !inner.is_empty());
                    return Ok(Meant { targets: vec![Target { daemon, path }], silent: Vec::new() });
                }
            }
        }
    };
    if let (true, Some(silent)) = (targets.is_empty(), silent.first()) {
        return Err(silent.error());
    }
    if targets.is_empty() {
        let place = path.map_or(String::new(), |path| format!(" for {}", path.display()));
        return Err(CliError::new(Kind::NotMounted, format!("no OneDrive daemon is running{place}"))
            .hint("to start one: onedrive-mount MOUNTPOINT"));
    }
    Ok(Meant { targets, silent })
}

/// The one that is meant.
///
/// # Errors
/// As for [`meant`]; and if there are several and no path tells which.
pub fn the_one(path: Option<&Path>) -> Result<Target, CliError> {
    let mut found = meant(path)?;
    let last = found.targets.pop().expect("invariant: `meant` finds one or fails");
    if found.targets.is_empty() {
        // The one that is meant may be the one that does not answer.
        return found.complete().map(|()| last);
    }
    Err(CliError::new(Kind::Usage, "more than one OneDrive is mounted").hint("say which: --at MOUNTPOINT"))
}

/// Which of the mounts an absolute path leads into, and where in it.
///
/// The mount itself is never asked: it might wait for the network, and the path may name something that was deleted.
/// So links are followed outside of mounts only (there are none inside), and `..` inside takes a name away.
fn inside(path: &Path, mounts: &[&Path], link: &dyn Fn(&Path) -> Option<PathBuf>) -> Option<(usize, PathBuf)> {
    const MOST_LINKS: usize = 40;
    let parts = |path: &Path| -> Vec<OsString> {
        path.components()
            .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
            .map(|part| part.as_os_str().to_owned())
            .collect()
    };
    let mount_of = |at: &Path| {
        let around = mounts.iter().enumerate().filter(|(_, mount)| at.starts_with(mount));
        around.max_by_key(|(_, mount)| mount.components().count()).map(|(number, _)| number)
    };
    let mut left: VecDeque<OsString> = parts(path).into();
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = left.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        at.push(&part);
        if mount_of(&at).is_some() || links >= MOST_LINKS {
            continue;
        }
        if let Some(target) = link(&at) {
            links += 1;
            if target.is_absolute() {
                at = PathBuf::from("/");
            } else {
                at.pop();
            }
            for part in parts(&target).into_iter().rev() {
                left.push_front(part);
            }
        }
    }
    let number = mount_of(&at)?;
    Some((number, at.strip_prefix(mounts[number]).ok()?.to_owned()))
}

fn sockets(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => Ok(entries?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|ending| ending == "sock"))
            .collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(path: &str, mounts: &[&str]) -> Option<(usize, String)> {
        let mounts: Vec<&Path> = mounts.iter().map(Path::new).collect();
        let link = |at: &Path| match at.to_str()? {
            "/home/ada/od" => Some(PathBuf::from("/mnt/od/Docs")),
            "/home/ada/near" => Some(PathBuf::from("../ada/OneDrive")),
            "/loop" => Some(PathBuf::from("/loop")),
            inner if inner.starts_with("/mnt/od/") => panic!("the mount was asked for {inner}"),
            _ => None,
        };
        inside(Path::new(path), &mounts, &link).map(|(number, path)| (number, path.to_str().expect("text").to_owned()))
    }

    #[test]
    fn every_row_of_the_table_of_answers() {
        let none = |kind: io::ErrorKind, is_there| sound(Err(kind.into()), || is_there);
        let status = Box::new(Status { waiting: 3, ..Status::default() });
        assert_eq!(sound(Ok(Answer::Status(status.clone())), || true), Sound::Running(status));
        let refused = sound(Ok(Answer::Refused { why: "another version".into() }), || true);
        assert_eq!(refused, Sound::Silent(Some("another version".into())));
        assert!(matches!(sound(Ok(Answer::Stopping { waiting: 0, parked: 0 }), || true), Sound::Silent(Some(_))));
        assert_eq!(none(io::ErrorKind::ConnectionRefused, true), Sound::Silent(None));
        for kind in [io::ErrorKind::WouldBlock, io::ErrorKind::UnexpectedEof, io::ErrorKind::InvalidData] {
            assert!(matches!(none(kind, true), Sound::Silent(Some(_))), "{kind:?}");
        }
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionRefused] {
            assert_eq!(none(kind, false), Sound::Ended, "{kind:?}");
        }
    }

    #[test]
    fn a_path_is_found_in_its_mount_without_asking_the_mount() {
        let mounts = ["/mnt/od", "/home/ada/OneDrive"];
        assert_eq!(look("/mnt/od", &mounts), Some((0, String::new())));
        assert_eq!(look("/mnt/od/a/b.txt", &mounts), Some((0, "a/b.txt".into())));
        assert_eq!(look("/mnt/od/a/../b/./c", &mounts), Some((0, "b/c".into())));
        assert_eq!(look("/home/ada/od/x", &mounts), Some((0, "Docs/x".into())), "a link into the mount");
        assert_eq!(look("/home/ada/near/y", &mounts), Some((1, "y".into())));
        assert_eq!(look("/mnt/od/../../home/ada/OneDrive/z", &mounts), Some((1, "z".into())));
        assert_eq!(look("/mnt/odd/a", &mounts), None);
        assert_eq!(look("/loop/a", &mounts), None);
        assert_eq!(look("/mnt/od/inner/a", &["/mnt/od", "/mnt/od/inner"]), Some((1, "a".into())), "the innermost");
    }
}
