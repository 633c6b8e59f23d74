//! What is said over the control socket, and printed with `--json`: one shape for both.
//!
//! One JSON object a line, one answer a line, but for the questions that say otherwise. Every line carries the number
//! of the protocol, [`VERSION`]; a daemon of another version refuses everything but [`Request::Stop`], which never
//! changes, so that a new program can replace an old daemon.
//!
//! The shape is stable: within one version members are only added. Sizes are bytes, times are seconds since 1970,
//! paths lie within the mount and have no slash in front; a member that has nothing to say is left out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// A line with its version.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Line<T> {
    /// [`VERSION`] of whoever wrote it.
    #[serde(default)]
    pub protocol: u32,
    /// What is said.
    #[serde(flatten)]
    pub body: T,
}

/// What may be asked. A `path` selects what lies at or below it; without one it is the whole mount.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub enum Request {
    /// How things stand.
    Status,
    /// What has not reached the cloud.
    Queue {
        /// Where.
        path: Option<String>,
        /// The most entries to be listed; all if there is no limit.
        limit: Option<usize>,
    },
    /// How much is left before everything is in the cloud.
    Progress {
        /// Where.
        path: Option<String>,
    },
    /// What is known of a path.
    Why {
        /// Which.
        path: String,
    },
    /// Try again now what waits for its next attempt, or for the user.
    Retry {
        /// Where.
        path: Option<String>,
    },
    /// A burst of deletions or overwrites that is held was meant.
    Approve {
        /// Where.
        path: Option<String>,
    },
    /// Take a change back.
    Discard {
        /// Which.
        what: Choice,
        /// Only say what would be taken back.
        ask_only: bool,
    },
    /// Where the bytes of a draft are.
    Draft {
        /// Which.
        what: Choice,
    },
    /// Compare what is on this machine with the hashes. Answered by [`Answer::Verifying`] lines and one
    /// [`Answer::Verified`].
    Verify {
        /// Where.
        path: Option<String>,
    },
    /// Unmount and end, after waiting a while for uploads. Answered by [`Answer::Stopping`] and, when all is over,
    /// [`Answer::Stopped`].
    Stop,
}

/// A change, or several.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// The draft of this number: one that is kept for the user, or the content of a change that waits.
    Draft(u64),
    /// The change at exactly this path.
    Path(String),
    /// Everything at or below this path (an empty one is the whole mount) that is held because of a burst.
    Held(String),
}

/// What is answered.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum Answer {
    /// How things stand.
    Status(Box<Status>),
    /// What has not reached the cloud.
    Queue(Queue),
    /// How much is left.
    Progress(Box<Progress>),
    /// What is known of a path.
    Why(Box<Why>),
    /// So many changes were made due, approved or taken back.
    Done(Done),
    /// Where the bytes of a draft are.
    Draft(DraftPlace),
    /// A verification has come this far.
    Verifying(Verified),
    /// A verification is complete.
    Verified(Verified),
    /// The end is on its way.
    Stopping {
        /// Changes that are not in the cloud yet.
        waiting: usize,
        /// Changes that wait for the user.
        parked: usize,
    },
    /// It has stopped: a second line after [`Answer::Stopping`], when all is over.
    Stopped {
        /// Changes that are not in the cloud; they go on at the next start.
        waiting: usize,
        /// Changes that wait for the user.
        parked: usize,
        /// Why the mount point is not free, if it is not.
        trouble: Option<String>,
    },
    /// The request was not understood, not allowed or not possible.
    Refused {
        /// Why.
        why: String,
    },
}

/// How things stand: `onedrive-cli status --json`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The version of the program that serves it.
    #[serde(default)]
    pub version: String,
    /// `online`, `starting`, `offline`, `throttled`, `signed-out` or `quota-full`.
    #[serde(default)]
    pub state: String,
    /// More about the state, if it is not a good one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Changes that are not in the cloud yet.
    pub waiting: usize,
    /// Changes that wait for the user, those that are held among them.
    pub parked: usize,
    /// Changes that are held because they belong to a burst of deletions or overwrites.
    #[serde(default)]
    pub held: usize,
    /// Bytes that are still to be sent, of changes that do not wait for the user.
    #[serde(default)]
    pub bytes_waiting: u64,
    /// What is being sent or fetched at this moment.
    #[serde(default)]
    pub transfers: Vec<Transfer>,
    /// The last errors, the newest first, each once.
    #[serde(default)]
    pub errors: Vec<Trouble>,
    /// Drafts that are kept for the user.
    #[serde(default)]
    pub kept: Vec<Kept>,
    /// The drive's space.
    #[serde(default)]
    pub quota: Space,
    /// The content that is kept on this machine.
    #[serde(default)]
    pub cache: Cache,
    /// When the service was last asked for changes with success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_poll: Option<i64>,
    /// Items listed so far, while the drive is being listed as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<u64>,
}

/// One transfer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Transfer {
    /// What.
    pub path: String,
    /// `up` or `down`.
    pub direction: String,
    /// Its size.
    pub size: u64,
    /// How much has arrived at the other end.
    pub done: u64,
}

/// One error.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Trouble {
    /// What it is about; left out if it concerns the whole drive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What happened.
    pub error: String,
    /// The service's id of the request, for its support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// A draft that belongs to no file any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// Its number, for `export` and `discard`.
    pub draft: u64,
    /// The name of the file it was for.
    pub name: String,
    /// Why it is kept.
    pub why: String,
    /// Its size.
    pub size: u64,
    /// Since when it is kept.
    pub since: i64,
}

/// The drive's space, as far as the service tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Space {
    /// All of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// In use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// Free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u64>,
}

/// The cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Cache {
    /// Content that is kept.
    pub bytes: u64,
    /// Files it belongs to.
    pub files: u64,
    /// The most that may be kept.
    pub limit: u64,
    /// Whether new content is kept; not after the disk was full.
    pub keeping: bool,
}

/// What has not reached the cloud: `onedrive-cli queue --json`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Queue {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// How many entries there are, listed or not.
    pub total: usize,
    /// The entries; what was changed longest ago comes first.
    pub entries: Vec<Queued>,
}

/// One change on its way.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Queued {
    /// What it is about. A deleted file is named by where it was.
    pub path: String,
    /// `upload`, `update`, `new-folder`, `rename`, `move`, `delete`, `set-time` or `nothing`.
    pub what: String,
    /// Where it is in the cloud until now, if that is another path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `open`, `waiting`, `sending`, `parked`, `held` or `local`.
    pub state: String,
    /// Size of its content; 0 for folders.
    pub size: u64,
    /// How much of it the service has acknowledged.
    pub sent: u64,
    /// The number of its draft, for `export` and `discard`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<u64>,
    /// When it was changed last.
    pub changed: i64,
    /// Failed attempts in a row.
    pub attempts: u32,
    /// What the last attempt said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The service's id of the last request, for its support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// When it is due next, if time is all it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<i64>,
    /// Why it waits for the user: `quota-full`, `name-refused`, `denied`, `too-large`, `folder-gone`, `base-gone`,
    /// `refused`, `damaged` or `burst`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the user can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How much is left: `onedrive-cli wait --json`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// Changes that are not in the cloud yet.
    pub waiting: usize,
    /// Bytes of them that are still to be sent.
    pub bytes_waiting: u64,
    /// Changes that wait for the user.
    pub parked: usize,
    /// The first of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_parked: Option<Queued>,
    /// What is at the path that was asked about: `here`, `local` (a file that stays on this machine), `leaving` (nothing
    /// any more, which the cloud does not know yet), `nothing`, or `unlisted` if its folder has not been listed yet. Left
    /// out for the whole mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sight: Option<String>,
    /// Files there that stay on this machine and are never sent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub staying: usize,
    /// The first of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_staying: Option<String>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What is known of a path: `onedrive-cli why --json`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Why {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The path.
    pub path: String,
    /// `file`, `folder`, `nothing`, or `unlisted` if its folder has not been listed yet.
    pub kind: String,
    /// `cached`, `partly-cached`, `online`, `pending`, `parked`, `held`, `local`, `deleted` or `unknown`. A folder is
    /// judged by itself; `below` tells of what lies in it.
    pub state: String,
    /// Size in bytes; 0 for folders.
    pub size: u64,
    /// Bytes of the cloud's version that are on this machine.
    pub cached: u64,
    /// Its change that has not reached the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Queued>,
    /// For folders: changes below it that have not reached the cloud.
    pub below: usize,
    /// Its name in the cloud, if it differs from the one here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_in_cloud: Option<String>,
    /// Its id in the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The version of its bytes that the mount shows. Letters in front: `q:` hash and size, `c:` the service's own
    /// tag, `t:` time and size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The version that a change on its way is based on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_version: Option<String>,
    /// It can be looked at but not changed or entered: `shared` (of another drive) or `closed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restriction: Option<String>,
}

/// What `retry`, `approve` and `discard` did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Done {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// Changes it was done to; with `ask_only`: would be.
    pub changes: usize,
    /// The first of them, by path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// Changes that could not be taken back, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Trouble>,
    /// Changes that `retry` left alone because they are held.
    #[serde(default)]
    pub held: usize,
    /// Changes taken back of which something was sent and no answer came: if it has arrived, it shows at the next look at
    /// the cloud.
    #[serde(default)]
    pub unanswered: usize,
}

/// Where the bytes of a draft are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DraftPlace {
    /// Its number.
    pub draft: u64,
    /// The name of the file it is for.
    pub name: String,
    /// Where the bytes are. Not to be changed or moved.
    pub file: PathBuf,
    /// Its size.
    pub size: u64,
    /// Bytes of it that are not on this machine; they are zeros in the file.
    pub missing: u64,
}

/// What a verification found: `onedrive-cli verify --json`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Verified {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// Files whose content is as it shall be.
    pub ok: u64,
    /// Files whose content is not.
    pub corrupt: u64,
    /// Files of which nobody can say.
    pub unknown: u64,
    /// Files that are not on this machine.
    pub not_here: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is not as it shall be, and the first hundred of which nobody can say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// One file that is not simply right.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// The file.
    pub path: String,
    /// `corrupt` or `unknown`.
    pub verdict: String,
    /// What is the matter.
    pub why: String,
}
