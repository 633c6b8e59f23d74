//! What the daemon says about itself. Reads memory and the local disk; never waits for the network.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::protocol::{
    Answer, Cache, Choice, Done, DraftPlace, Finding, Kept, Progress, Queue, Queued, Request, Space, Status, Transfer,
    Trouble, Verified, Why,
};
use super::words;
use crate::base::clock::Timestamp;
use crate::base::ids::Ino;
use crate::base::name;
use crate::base::tasks::Ended;
use crate::changes::Health;
use crate::index::Index;
use crate::journal::report::{Pending, Standing, Work};
use crate::journal::{Intent, Journal, ParkReason, SpoolId};
use crate::remote::layers::gate::Gate;
use crate::remote::layers::observe::Counters;
use crate::remote::split_request_id;
use crate::volume::inspect::{Connection, Located, Signs, connection, joined, plain};
use crate::volume::verify::Verdict;
use crate::volume::{NodeKind, Volume, VolumeError};

/// Errors that `status` shows, of the drive and of single files.
const ERRORS: usize = 5;

/// Findings of a verification that are not damage.
const UNKNOWNS: usize = 100;

/// Everything that is asked about.
pub struct Answers {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The file system.
    pub volume: Arc<Volume>,
    /// What the cloud has not acknowledged.
    pub journal: Arc<Journal>,
    /// How well changes elsewhere are followed.
    pub health: watch::Receiver<Health>,
    /// What requests have shown of the connection.
    pub counters: Arc<Counters>,
    /// Whether requests are held back.
    pub gate: Arc<Gate>,
    /// What we believe the cloud looks like.
    pub index: Arc<Index>,
    /// What of the journal could not be read at the start.
    pub unreadable: Vec<String>,
    /// Tasks that have ended though nobody asked.
    pub failures: watch::Receiver<Vec<Ended>>,
}

/// A change with its path.
pub(super) struct Entry {
    pub path: String,
    pub pending: Pending,
}

impl Answers {
    /// Answers a question that one line answers. Blocks on the disk.
    pub(super) fn answer(&self, request: &Request) -> Answer {
        let answer = match request {
            Request::Status => Ok(Answer::Status(Box::new(self.status()))),
            Request::Queue { path, limit } => Ok(Answer::Queue(self.queue(path.as_deref(), *limit))),
            Request::Progress { path } => {
                self.progress(path.as_deref()).map(|progress| Answer::Progress(Box::new(progress)))
            }
            Request::Why { path } => self.why(path).map(|why| Answer::Why(Box::new(why))),
            Request::Retry { path } => self.retry(path.as_deref()).map(Answer::Done),
            Request::Approve { path } => self.approve(path.as_deref()).map(Answer::Done),
            Request::Discard { what, ask_only } => self.discard(what, *ask_only).map(Answer::Done),
            Request::Draft { what } => self.draft(what).map(Answer::Draft),
            Request::Verify { .. } | Request::Stop => Err("this question has an answer of several lines".to_owned()),
        };
        answer.unwrap_or_else(|why| Answer::Refused { why })
    }

    /// All changes at or below a path.
    pub(super) fn entries(&self, path: Option<&str>) -> Vec<Entry> {
        let wanted = plain(path.unwrap_or_default());
        let mut paths = self.volume.paths();
        let all = self.journal.pending().into_iter();
        let named = all.map(|pending| Entry { path: paths.of(pending.intent.parent, &pending.intent.name), pending });
        named.filter(|entry| words::lies_at_or_below(&entry.path, &wanted)).collect()
    }

    fn queued(&self, entry: &Entry) -> Queued {
        let Entry { path, pending } = entry;
        let intent = &pending.intent;
        let from = match (pending.work, &intent.base) {
            (Work::Rename | Work::Move | Work::Update, Some(base)) => {
                let above = self.volume.path_of_item(&base.parent).unwrap_or_default();
                Some(joined(&above, &base.name)).filter(|from| from != path)
            }
            _ => None,
        };
        let (error, request_id) = match intent.last_error.as_deref().map(split_request_id) {
            Some((error, id)) => (Some(error.to_owned()), id.map(str::to_owned)),
            None => (None, None),
        };
        let waits = matches!(pending.standing, Standing::Waiting);
        Queued {
            path: path.clone(),
            what: words::work(pending.work).to_owned(),
            from,
            state: words::standing(pending.standing).to_owned(),
            size: pending.size,
            sent: pending.sent,
            draft: pending.draft.map(|id| id.0),
            changed: intent.changed.seconds(),
            attempts: intent.attempts,
            error,
            request_id,
            next_attempt: self.journal.next_attempt(intent).filter(|_| waits).map(Timestamp::seconds),
            reason: match pending.standing {
                Standing::Parked(reason) => Some(words::reason(reason).to_owned()),
                _ => None,
            },
            advice: words::advice(pending).map(str::to_owned),
        }
    }

    /// How we stand with the service.
    pub(super) fn connection(&self, health: &Health) -> Connection {
        connection(Signs {
            trouble: health.trouble.as_ref().and_then(|ailment| ailment.kind),
            disconnected: self.counters.offline_since().is_some(),
            pausing: !self.gate.remaining_pause().is_zero(),
            heard: health.current_at.is_some() || self.counters.last_contact().is_some(),
        })
    }

    fn status(&self) -> Status {
        let entries = self.entries(None);
        let health = self.health.borrow().clone();
        let connection = self.connection(&health);
        let quota = self.volume.quota();
        let parked_for = |reason| entries.iter().any(|entry| entry.pending.standing == Standing::Parked(reason));
        let full = quota.remaining == Some(0) || parked_for(ParkReason::QuotaFull);
        let state = match connection {
            Connection::Online if full => "quota-full",
            connection => words::connection(connection),
        };
        let detail = match (connection, &health.trouble) {
            (Connection::Throttled, _) => {
                let pause = self.gate.remaining_pause().as_secs();
                Some(format!("the service asks for patience for {} more seconds", pause + 1))
            }
            (Connection::SignedOut, _) => Some("sign in again: onedrive-cli auth".to_owned()),
            (Connection::Online | Connection::Starting, None) => None,
            (_, Some(ailment)) => Some(ailment.text.clone()),
            (_, None) => Some("no connection to the service".to_owned()),
        };
        let is_parked = |entry: &&Entry| matches!(entry.pending.standing, Standing::Parked(_));
        let parked = entries.iter().filter(is_parked).count();
        let waiting = entries.iter().filter(|entry| !is_parked(entry));
        let usage = self.volume.cache_usage();
        Status {
            mountpoint: self.mountpoint.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: state.to_owned(),
            detail,
            waiting: entries.len() - parked,
            parked,
            held: entries.iter().filter(|entry| entry.pending.intent.is_held()).count(),
            bytes_waiting: waiting.map(|entry| to_send(&entry.pending)).sum(),
            transfers: self.transfers(&entries),
            errors: errors(self.ailing(), &entries, &health),
            kept: self.kept(),
            quota: Space { total: quota.total, used: quota.used, remaining: quota.remaining },
            cache: Cache {
                bytes: usage.bytes,
                files: usage.files,
                limit: usage.limits.max_size,
                keeping: usage.keeping,
            },
            last_poll: health.current_at.map(Timestamp::seconds),
            listed: health.enumerating,
        }
    }

    /// What is wrong with the daemon itself, and stays so until it ends.
    fn ailing(&self) -> Vec<String> {
        let ended: Vec<String> = self.failures.borrow().iter().map(words::ended).collect();
        let journal = words::unreadable(&self.unreadable).into_iter();
        let index = self.index.is_damaged().then(|| words::DAMAGED_INDEX.to_owned());
        journal.chain(index).chain(ended).collect()
    }

    fn transfers(&self, entries: &[Entry]) -> Vec<Transfer> {
        let up = entries.iter().filter(|entry| {
            entry.pending.standing == Standing::Sending && matches!(entry.pending.work, Work::Upload | Work::Update)
        });
        let up = up.map(|entry| Transfer {
            path: entry.path.clone(),
            direction: "up".to_owned(),
            size: entry.pending.size,
            done: entry.pending.sent,
        });
        let down = self.volume.downloads().into_iter();
        let down = down.map(|(path, size, done)| Transfer { path, direction: "down".to_owned(), size, done });
        up.chain(down).collect()
    }

    pub(super) fn kept(&self) -> Vec<Kept> {
        let kept = self.journal.kept().into_iter().filter_map(|row| {
            let kept = row.kept?;
            Some(Kept {
                draft: row.id.0,
                name: name::to_local(&kept.name),
                why: kept.why,
                size: row.size,
                since: kept.at.seconds(),
            })
        });
        let mut kept: Vec<Kept> = kept.collect();
        kept.sort_by_key(|kept| kept.draft);
        kept
    }

    fn queue(&self, path: Option<&str>, limit: Option<usize>) -> Queue {
        let entries = self.entries(path);
        let shown = entries.iter().take(limit.unwrap_or(usize::MAX));
        Queue {
            mountpoint: self.mountpoint.clone(),
            total: entries.len(),
            entries: shown.map(|entry| self.queued(entry)).collect(),
        }
    }

    /// What keeps everything at or below a path from being in the cloud at that path: also folders above it that are
    /// new or on their way to another name.
    fn progress(&self, path: Option<&str>) -> Result<Progress, String> {
        let wanted = plain(path.unwrap_or_default());
        // Before the changes: what is deleted meanwhile is among them.
        let located = self.volume.locate(&wanted).map_err(|error| error.to_string())?;
        let entries = self.entries(None);
        let mut paths = self.volume.paths();
        let all = self.journal.staying().into_iter().map(|intent| paths.of(intent.parent, &intent.name));
        let mut staying: Vec<String> = all.filter(|path| words::lies_at_or_below(path, &wanted)).collect();
        staying.sort();
        let in_the_way: Vec<&Entry> = entries
            .iter()
            .filter(|entry| {
                let above = entry.pending.work != Work::Delete && words::lies_at_or_below(&wanted, &entry.path);
                above || words::lies_at_or_below(&entry.path, &wanted)
            })
            .collect();
        let is_parked = |entry: &&&Entry| matches!(entry.pending.standing, Standing::Parked(_));
        let waiting = in_the_way.iter().filter(|entry| !is_parked(entry));
        let of_it = entries.iter().any(|entry| words::lies_at_or_below(&entry.path, &wanted));
        let sight = words::sight(&located, staying.first() == Some(&wanted), of_it);
        Ok(Progress {
            mountpoint: self.mountpoint.clone(),
            waiting: waiting.clone().count(),
            bytes_waiting: waiting.map(|entry| to_send(&entry.pending)).sum(),
            parked: in_the_way.iter().filter(is_parked).count(),
            first_parked: in_the_way.iter().find(is_parked).map(|entry| self.queued(entry)),
            sight: (!wanted.is_empty()).then(|| sight.to_owned()),
            staying: staying.len(),
            first_staying: staying.into_iter().next(),
        })
    }

    fn why(&self, path: &str) -> Result<Why, String> {
        let path = plain(path);
        let located = self.volume.locate(&path).map_err(|error| error.to_string())?;
        let entries = self.entries(Some(&path));
        let here = |entry: &&Entry| entry.path == path;
        let mut why = Why { mountpoint: self.mountpoint.clone(), path: path.clone(), ..Why::default() };
        why.below = entries.iter().filter(|entry| !here(entry)).count();
        let Located::Here(sight) = located else {
            why.kind = if located == Located::Nothing { "nothing" } else { "unlisted" }.to_owned();
            why.state = "unknown".to_owned();
            if let Some(gone) = entries.iter().filter(here).find(|entry| entry.pending.intent.deleted) {
                why.state = if gone.pending.intent.is_held() { "held" } else { "deleted" }.to_owned();
                why.change = Some(self.queued(gone));
            }
            return Ok(why);
        };
        let change = self.journal.pending_of(sight.ino).map(|pending| Entry { path: path.clone(), pending });
        let is_file = sight.kind == NodeKind::File;
        why.kind = if is_file { "file" } else { "folder" }.to_owned();
        why.state = match change.as_ref().map(|change| change.pending.standing) {
            Some(Standing::Parked(ParkReason::Burst)) => "held",
            Some(Standing::Parked(_)) => "parked",
            Some(Standing::Local) => "local",
            Some(_) => "pending",
            None if !is_file || sight.cached >= sight.size => "cached",
            None if sight.cached > 0 => "partly-cached",
            None => "online",
        }
        .to_owned();
        why.size = sight.size;
        why.cached = sight.cached;
        let local = path.rsplit('/').next().unwrap_or_default();
        why.name_in_cloud =
            Some(sight.name_in_cloud).filter(|name| name != local && sight.ino != Ino::ROOT && sight.item.is_some());
        why.id = sight.item.map(|item| item.id);
        why.version = sight.version.map(|tag| tag.0);
        if let Some(change) = &change {
            let base = change.pending.intent.base.as_ref();
            why.base_version = base.and_then(|base| base.content_tag.clone()).map(|tag| tag.0);
            why.change = Some(self.queued(change));
        }
        why.restriction =
            if sight.closed { Some("closed".to_owned()) } else { sight.foreign.then(|| "shared".to_owned()) };
        Ok(why)
    }

    fn done(&self, entries: &[&Entry]) -> Done {
        Done {
            mountpoint: self.mountpoint.clone(),
            changes: entries.len(),
            first: entries.first().map(|entry| entry.path.clone()),
            ..Done::default()
        }
    }

    fn retry(&self, path: Option<&str>) -> Result<Done, String> {
        let entries = self.entries(path);
        let (held, rest): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(|entry| entry.pending.intent.is_held());
        let stuck: Vec<&Entry> = rest
            .into_iter()
            .filter(|entry| {
                let waits = entry.pending.standing == Standing::Waiting && entry.pending.intent.attempts > 0;
                waits || matches!(entry.pending.standing, Standing::Parked(_))
            })
            .collect();
        for entry in &stuck {
            self.journal.retry(entry.pending.intent.ino).map_err(|error| error.to_string())?;
        }
        Ok(Done { held: held.len(), ..self.done(&stuck) })
    }

    fn approve(&self, path: Option<&str>) -> Result<Done, String> {
        let entries = self.entries(path);
        let held: Vec<&Entry> = entries.iter().filter(|entry| entry.pending.intent.is_held()).collect();
        let inos: Vec<Ino> = held.iter().map(|entry| entry.pending.intent.ino).collect();
        let changes = self.journal.approve(&inos).map_err(|error| error.to_string())?;
        Ok(Done { changes, ..self.done(&held) })
    }

    fn discard(&self, what: &Choice, ask_only: bool) -> Result<Done, String> {
        if let Choice::Draft(id) = what
            && let Some(kept) = self.kept().into_iter().find(|kept| kept.draft == *id)
        {
            if !ask_only {
                self.journal.discard_kept(SpoolId(*id)).map_err(|error| error.to_string())?;
            }
            let mountpoint = self.mountpoint.clone();
            return Ok(Done { mountpoint, changes: 1, first: Some(kept.name), ..Done::default() });
        }
        let entries = self.entries(None);
        let chosen = chosen(&entries, what);
        if chosen.is_empty() {
            return Err(nothing_there(what));
        }
        let mut done = self.done(&chosen);
        if ask_only {
            return Ok(done);
        }
        done.changes = 0;
        let mut gone: HashSet<Ino> = HashSet::new();
        for entry in chosen {
            let ino = entry.pending.intent.ino;
            if gone.contains(&ino) {
                // A folder that came back with what lies in it.
                done.changes += 1;
                continue;
            }
            match self.volume.discard(ino).map_err(|error: VolumeError| error.to_string())? {
                Ok(undone) => {
                    done.changes += 1;
                    // What is new is deleted there as well, should it have arrived.
                    let was_there = |intent: &&Intent| intent.item.is_some() && intent.sent.is_some();
                    done.unanswered += undone.intents.iter().filter(was_there).count();
                    gone.extend(undone.intents.iter().map(|intent: &Intent| intent.ino));
                }
                Err(refusal) => {
                    let (path, error) = (Some(entry.path.clone()), refusal.to_string());
                    done.refused.push(Trouble { path, error, request_id: None });
                }
            }
        }
        Ok(done)
    }

    fn draft(&self, what: &Choice) -> Result<DraftPlace, String> {
        if let Choice::Draft(id) = what
            && let Some(row) = self.journal.kept().into_iter().find(|row| row.id.0 == *id)
            && let Some(file) = self.journal.kept_path(row.id)
        {
            let missing = row.present.missing(0..row.base_limit.min(row.size)).total();
            let name = row.kept.map(|kept| name::to_local(&kept.name)).unwrap_or_default();
            return Ok(DraftPlace { draft: *id, name, file, size: row.size, missing });
        }
        let entries = self.entries(None);
        let found = chosen(&entries, what).into_iter().find_map(|entry| {
            let draft = self.journal.draft(entry.pending.draft?)?;
            Some(DraftPlace {
                draft: draft.id.0,
                name: entry.path.rsplit('/').next().unwrap_or_default().to_owned(),
                file: draft.path().to_owned(),
                size: draft.size(),
                missing: draft.missing().total(),
            })
        });
        found.ok_or_else(|| nothing_there(what))
    }

    /// Verifies, leaving what was found so far in `seen` after each file; ends early when `wanted` says no.
    pub(super) fn verify(
        &self,
        path: Option<&str>,
        seen: &Mutex<Verified>,
        wanted: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        seen.lock().unwrap_or_else(PoisonError::into_inner).mountpoint.clone_from(&self.mountpoint);
        let mut unknowns = 0;
        let found = self.volume.verify(path.unwrap_or_default(), &mut |checked| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.bytes += checked.bytes;
            let mut note = |verdict: &str, why: &str| {
                let (verdict, why) = (verdict.to_owned(), why.to_owned());
                seen.findings.push(Finding { path: checked.path.clone(), verdict, why });
            };
            match checked.verdict {
                Verdict::Intact => seen.ok += 1,
                Verdict::NotHere => seen.not_here += 1,
                Verdict::Damaged(why) => {
                    note("corrupt", why);
                    seen.corrupt += 1;
                }
                Verdict::Unknown(why) => {
                    if unknowns < UNKNOWNS {
                        note("unknown", why);
                    }
                    unknowns += 1;
                    seen.unknown += 1;
                }
            }
            drop(seen);
            wanted()
        });
        match found {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("there is no {} in this mount, as far as is known", path.unwrap_or("/"))),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn nothing_there(what: &Choice) -> String {
    match what {
        Choice::Draft(id) => format!("there is no draft {id}; the numbers are in onedrive-cli status and queue"),
        Choice::Path(path) => format!("everything about {path} is in the cloud; there is no draft of it"),
        Choice::Held(_) => "nothing is held there".to_owned(),
    }
}

fn chosen<'a>(entries: &'a [Entry], what: &Choice) -> Vec<&'a Entry> {
    match what {
        Choice::Draft(id) => entries.iter().filter(|entry| entry.pending.draft == Some(SpoolId(*id))).collect(),
        // What the user sees comes before what was deleted there.
        Choice::Path(path) => {
            let path = plain(path);
            let at = entries.iter().filter(|entry| entry.path == path);
            at.min_by_key(|entry| entry.pending.intent.deleted).into_iter().collect()
        }
        Choice::Held(path) => {
            let path = plain(path);
            let below = entries.iter().filter(|entry| words::lies_at_or_below(&entry.path, &path));
            below.filter(|entry| entry.pending.intent.is_held()).collect()
        }
    }
}

/// Bytes of a change that are still to be sent.
fn to_send(pending: &Pending) -> u64 {
    match pending.work {
        Work::Upload | Work::Update => pending.size.saturating_sub(pending.sent),
        _ => 0,
    }
}

/// The last errors, each once; first what is wrong with the daemon itself.
fn errors(ailing: Vec<String>, entries: &[Entry], health: &Health) -> Vec<Trouble> {
    let of_drive = ailing.iter().map(String::as_str).chain(health.trouble.iter().map(|ailment| ailment.text.as_str()));
    let of_drive = of_drive.map(|text| (None, text));
    // Changed last, failed last, as near as can be told.
    let of_files = entries
        .iter()
        .rev()
        .filter(|entry| !entry.pending.intent.is_held())
        .filter_map(|entry| Some((Some(entry.path.clone()), entry.pending.intent.last_error.as_deref()?)));
    let mut said = HashSet::new();
    of_drive
        .chain(of_files)
        .filter_map(|(path, sentence)| {
            let (error, id) = split_request_id(sentence);
            let new = said.insert(error.to_owned());
            new.then(|| Trouble { path, error: error.to_owned(), request_id: id.map(str::to_owned) })
        })
        .take(ailing.len() + ERRORS)
        .collect()
}
