//! A burst of deletions or overwrites by one process: is it meant?
//!
//! `rm -r` in the wrong folder, a script gone wrong and a program that encrypts files for ransom have one thing in
//! common: one process deletes or overwrites very many files in a short time. On a local disk that is over before
//! anybody looks. Here the cloud still has everything, so what has not been sent yet is held, and the user is asked.
//! Nothing is held back from programs: they see their changes as always. Reads, new files and renames pass.
//!
//! | the process | quiet for a window | files within the window, this one included | then it is | this change |
//! | --- | --- | --- | --- | --- |
//! | any | yes | counted anew | counting | passes |
//! | counting | no | up to the limit | counting | passes |
//! | counting | no | more than the limit | holding | is held, and what of the burst is not sent yet |
//! | holding | no | any | holding | is held |
//! | approved | no | any | approved | passes |
//!
//! The limit that the settings come with, 2000 files within five minutes, lies well above what others ask at, because a
//! question that is always answered with yes protects nobody: Microsoft's own client asks at 200 files
//! (`LocalMassDeleteFileDeleteThreshold`, <https://learn.microsoft.com/sharepoint/use-group-policy>), the Linux
//! synchroniser of that name at 1000 (`classify_as_big_delete`, <https://github.com/abraunegg/onedrive>). Sources of a
//! project and the difference of two branches stay below it; a program that goes through a whole drive does not.
//!
//! What is held is parked in the journal's file ([`ParkReason::Burst`]) in the same step in which it happens, so it
//! stays held over a restart. The counting is in memory only: a process cannot outlive the mount it works on.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::intent::{Intent, Kind, ParkReason, Progress};
use super::store::Batch;
use super::{Journal, JournalResult, State};
use crate::base::caller::{self, Process};
use crate::base::clock::{Mono, Timestamp};
use crate::base::ids::{Ino, ItemId};

/// How many processes are watched at once; the ones that were quiet longest make room.
const WATCHED: usize = 1024;

/// When a burst is worth a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Files and folders that one process may delete or overwrite within the window, each counted once.
    pub files: usize,
    /// The window. A process that was quiet for as long begins anew.
    pub window: Duration,
}

/// What a process is taken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Phase {
    /// One like all others.
    #[default]
    Counting,
    /// In a burst that nobody has approved.
    Holding,
    /// In a burst that the user has approved.
    Approved,
}

/// The decision: what the process is taken for from now on, and whether the change is held.
fn decide(phase: Phase, quiet: bool, files: usize, limit: usize) -> (Phase, bool) {
    match phase {
        _ if quiet => (Phase::Counting, false),
        Phase::Counting if files > limit => (Phase::Holding, true),
        Phase::Counting => (Phase::Counting, false),
        Phase::Holding => (Phase::Holding, true),
        Phase::Approved => (Phase::Approved, false),
    }
}

/// What one process has been doing.
#[derive(Default)]
struct Record {
    phase: Phase,
    recent: VecDeque<(Mono, ItemId)>,
    counted: HashSet<ItemId>,
    last: Mono,
}

/// What is to be held.
struct Ruling {
    /// What belongs to the same burst from before.
    earlier: Vec<ItemId>,
    process: Process,
}

/// All processes that delete or overwrite.
#[derive(Default)]
pub(super) struct Ledger {
    limit: Option<Limit>,
    records: HashMap<u32, Record>,
    threads: HashMap<u32, Process>,
}

impl Ledger {
    /// A thread has deleted or overwritten these. `None` if they may pass. Items are counted and not inodes: a file that
    /// is deleted and written anew (as `git checkout` does) is one item under two inodes.
    fn judge(&mut self, limit: Limit, thread: u32, now: Mono, items: &[ItemId]) -> Option<Ruling> {
        let process = self.threads.entry(thread).or_insert_with(|| caller::process_of(thread)).clone();
        let record = self.records.entry(process.id).or_default();
        let mut held = false;
        let mut earlier = Vec::new();
        for item in items {
            let quiet = now.since(record.last) >= limit.window;
            record.last = now;
            if quiet {
                (record.recent, record.counted) = (VecDeque::new(), HashSet::new());
            }
            while record.recent.front().is_some_and(|(at, _)| now.since(*at) >= limit.window) {
                if let Some((_, item)) = record.recent.pop_front() {
                    record.counted.remove(&item);
                }
            }
            let counting = record.phase == Phase::Counting || quiet;
            if counting && record.counted.insert(item.clone()) {
                record.recent.push_back((now, item.clone()));
            }
            let (phase, hold) = decide(record.phase, quiet, record.recent.len(), limit.files);
            record.phase = phase;
            held |= hold;
            if hold {
                earlier.extend(record.recent.drain(..).map(|(_, item)| item));
                record.counted.clear();
            }
        }
        self.tidy(limit, now);
        held.then_some(Ruling { earlier, process })
    }

    /// Forgets processes that have been quiet, and the quietest ones if there are too many.
    fn tidy(&mut self, limit: Limit, now: Mono) {
        if self.records.len() <= WATCHED && self.threads.len() <= WATCHED {
            return;
        }
        self.records.retain(|_, record| now.since(record.last) < limit.window);
        if self.records.len() > WATCHED
            && let Some(quietest) = self.records.iter().min_by_key(|(_, record)| record.last).map(|(id, _)| *id)
        {
            self.records.remove(&quietest);
        }
        let records = &self.records;
        self.threads.retain(|_, process| records.contains_key(&process.id));
        if self.threads.len() > WATCHED {
            self.threads.clear();
        }
    }

    /// The user has approved everything that was held.
    fn approve(&mut self) {
        for record in self.records.values_mut().filter(|record| record.phase == Phase::Holding) {
            record.phase = Phase::Approved;
        }
    }
}

/// Whether a change takes something away that is in the cloud: an item that shall go, or bytes that shall be
/// replaced. `old` is the intent before it. An empty file has no bytes to lose.
fn takes_away(old: Option<&Intent>, new: &Intent) -> bool {
    if new.item.is_none() {
        return false;
    }
    let deleted = new.deleted && !old.is_some_and(|old| old.deleted);
    let overwritten = !new.deleted
        && new.kind == Kind::File
        && new.sealed.is_some()
        && new.base.as_ref().is_some_and(|base| base.size > 0)
        && old.is_none_or(|old| old.sealed != new.sealed || old.item != new.item);
    deleted || overwritten
}

/// Whether an intent would still take something away if it were sent now.
fn still_takes_away(intent: &Intent) -> bool {
    intent.item.is_some() && (intent.deleted || intent.sealed.is_some())
}

/// How the sentence about what is held begins, and what follows the name of the program in it.
const HELD: &str = "held: ";
const DID: &str = " deleted or overwrote";

/// The program that an intent is held for.
pub fn culprit(held: &Intent) -> Option<&str> {
    let sentence = held.last_error.as_deref().filter(|_| held.is_held())?;
    // The last one: a program may be called as it likes.
    sentence.strip_prefix(HELD)?.rsplit_once(DID).map(|(process, _)| process)
}

fn hold(intent: &mut Intent, process: &Process, limit: Limit) {
    intent.progress = Progress::Parked(ParkReason::Burst);
    intent.last_error = Some(format!(
        "{HELD}{process}{DID} more than {} files within {} s, and nobody has said yet whether that was \
         meant",
        limit.files,
        limit.window.as_secs()
    ));
}

impl Journal {
    /// Sets when a burst of deletions and overwrites by one process is held; `None` never holds anything.
    pub fn set_burst_limit(&self, limit: Option<Limit>) {
        self.lock().bursts.limit = limit;
    }

    /// Holds what belongs to a burst. Called with every batch, before it is written.
    pub(super) fn guard(&self, state: &mut State, batch: &mut Batch) {
        let (Some(limit), Some(thread)) = (state.bursts.limit, caller::current()) else { return };
        let losses: Vec<(Ino, ItemId)> = batch
            .put
            .iter()
            .filter(|intent| takes_away(state.overlay.get(intent.ino), intent))
            // The remains of a file whose bytes went to another name take nothing away from anybody.
            .filter(|intent| {
                let holder = intent.item.as_ref().and_then(|item| state.overlay.by_item(item));
                !intent.deleted || holder.is_none_or(|holder| holder.ino == intent.ino)
            })
            .filter_map(|intent| Some((intent.ino, intent.item.clone()?)))
            .collect();
        if losses.is_empty() {
            return;
        }
        let (inos, items): (HashSet<Ino>, Vec<ItemId>) = losses.into_iter().unzip();
        let Some(ruling) = state.bursts.judge(limit, thread, self.clock.monotonic(), &items) else { return };
        // What is left of a file whose bytes went to another name goes when they have arrived there, and not before: until
        // then it is what can be taken back.
        let follows = |intent: &Intent| {
            let holder = intent.item.as_ref().filter(|_| intent.deleted).and_then(|item| state.overlay.by_item(item));
            holder.is_some_and(|holder| inos.contains(&holder.ino))
        };
        for intent in batch.put.iter_mut().filter(|intent| inos.contains(&intent.ino) || follows(intent)) {
            hold(intent, &ruling.process, limit);
        }
        let mentioned: HashSet<Ino> =
            batch.put.iter().map(|intent| intent.ino).chain(batch.drop.iter().copied()).collect();
        let mut earlier = 0;
        for item in &ruling.earlier {
            if let Some(intent) = state.overlay.by_item(item)
                && !mentioned.contains(&intent.ino)
                && !state.busy.contains_key(&intent.ino)
                && still_takes_away(intent)
                && !matches!(intent.progress, Progress::Parked(_))
            {
                let mut intent = intent.clone();
                hold(&mut intent, &ruling.process, limit);
                batch.put.push(intent);
                earlier += 1;
            }
        }
        if !ruling.earlier.is_empty() {
            tracing::warn!(
                process = %ruling.process,
                files = limit.files,
                held = earlier + items.len(),
                "a burst of deletions or overwrites is held; onedrive-cli queue shows it, onedrive-cli approve sends \
                 it, onedrive-cli discard --held undoes it"
            );
        }
    }

    /// The user says that held deletions and overwrites were meant: they are due now. Returns how many of `inos` were
    /// held. Once nothing is held any more, the processes behind it may finish what they are doing.
    ///
    /// # Errors
    ///
    /// See [`Journal::create_folder`].
    pub fn approve(&self, inos: &[Ino]) -> JournalResult<usize> {
        let mut state = self.lock();
        let put: Vec<Intent> = inos
            .iter()
            .filter_map(|ino| state.overlay.get(*ino))
            .filter(|intent| intent.is_held())
            .map(|intent| Intent {
                progress: Progress::Waiting,
                not_before: Timestamp(0),
                attempts: 0,
                last_error: None,
                ..intent.clone()
            })
            .collect();
        let approved = put.len();
        self.apply(&mut state, Batch { put, ..Batch::default() })?;
        if !state.overlay.iter().any(Intent::is_held) {
            state.bursts.approve();
        }
        Ok(approved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::DriveId;

    #[test]
    fn every_row_of_the_table() {
        for phase in [Phase::Counting, Phase::Holding, Phase::Approved] {
            assert_eq!(decide(phase, true, 1, 3), (Phase::Counting, false), "{phase:?}");
        }
        assert_eq!(decide(Phase::Counting, false, 3, 3), (Phase::Counting, false));
        assert_eq!(decide(Phase::Counting, false, 4, 3), (Phase::Holding, true));
        assert_eq!(decide(Phase::Holding, false, 0, 3), (Phase::Holding, true));
        assert_eq!(decide(Phase::Approved, false, 9, 3), (Phase::Approved, false));
    }

    #[test]
    fn what_is_held_says_which_program_it_was() {
        let known = crate::journal::intent::tests::known();
        let mut intent = Intent::about(Ino(9), known, Timestamp::from_seconds(9));
        assert_eq!(culprit(&intent), None);
        for name in ["rm", "it deleted or overwrote", ""] {
            let process = Process { id: 7, name: name.into() };
            hold(&mut intent, &process, LIMIT);
            assert_eq!(culprit(&intent), Some(process.to_string().as_str()));
        }
    }

    // No process has this number.
    const THREAD: u32 = 3_000_000_000;
    const LIMIT: Limit = Limit { files: 3, window: Duration::from_secs(60) };

    fn at(seconds: u64) -> Mono {
        Mono(1_000_000_000_000 + seconds * 1_000_000_000)
    }

    fn item(number: u64) -> ItemId {
        ItemId::new(&DriveId::new("b!d"), number.to_string())
    }

    fn judge(ledger: &mut Ledger, thread: u32, second: u64, number: u64) -> Option<Vec<ItemId>> {
        ledger.judge(LIMIT, thread, at(second), &[item(number)]).map(|ruling| ruling.earlier)
    }

    #[test]
    fn the_whole_burst_is_held_from_its_beginning_and_until_it_is_quiet() {
        let mut ledger = Ledger::default();
        for ino in 1..=3 {
            assert_eq!(judge(&mut ledger, THREAD, ino, ino), None);
        }
        assert_eq!(judge(&mut ledger, THREAD, 4, 4), Some([1, 2, 3, 4].map(item).to_vec()));
        assert_eq!(judge(&mut ledger, THREAD, 5, 5), Some(vec![]));
        assert_eq!(judge(&mut ledger, THREAD + 1, 5, 6), None, "another process");
        assert_eq!(judge(&mut ledger, THREAD, 65, 7), None, "it was quiet for a window");
    }

    #[test]
    fn writing_one_file_again_and_again_is_no_burst_and_neither_is_taking_ones_time() {
        let mut ledger = Ledger::default();
        for second in 0..50 {
            assert_eq!(judge(&mut ledger, THREAD, second, 1), None);
        }
        for turn in 0..50 {
            assert_eq!(judge(&mut ledger, THREAD, 100 + turn * 25, 10 + turn), None, "three a minute");
        }
    }

    #[test]
    fn an_approved_process_may_finish() {
        let mut ledger = Ledger::default();
        assert!((1..=4).any(|ino| judge(&mut ledger, THREAD, 1, ino).is_some()));
        ledger.approve();
        assert!((5..=50).all(|ino| judge(&mut ledger, THREAD, 2, ino).is_none()));
        assert!((51..=60).any(|ino| judge(&mut ledger, THREAD, 100, ino).is_some()), "the next burst is another one");
    }

    #[test]
    fn the_ledger_does_not_grow_without_end() {
        let mut ledger = Ledger::default();
        for thread in 0..5_000 {
            judge(&mut ledger, THREAD + thread, 1, u64::from(thread));
        }
        assert!(ledger.records.len() <= WATCHED + 1 && ledger.threads.len() <= WATCHED + 1);
    }
}
