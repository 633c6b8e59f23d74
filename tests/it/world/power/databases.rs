//! What SQLite does to its files, on film.
//!
//! It writes past the disk that is filmed, so its files are looked at before each event, and what has changed is an event
//! of its own. It syncs its log before it changes the main file, and the main file before it begins the log anew
//! (<https://sqlite.org/wal.html>); beyond that only what we sync ourselves is durable.

use std::io;
use std::path::{Path, PathBuf};

use onedrive_mount::base::disk::log_of;
use rusqlite::Connection;

use super::{Change, Event, Film, Reel, SECTOR};

impl Reel {
    /// What SQLite has done since the last look.
    pub(super) fn look(&mut self) {
        if self.stopped {
            return;
        }
        let paths: Vec<PathBuf> = self.databases.keys().filter(|path| !is_log(path)).cloned().collect();
        for path in paths {
            let log = log_of(&path);
            // The log last: what is moved to the main file meanwhile would else be there before it was in the log.
            let (_, mut in_main) = self.changes_of(&path);
            let (begun_anew, in_log) = self.changes_of(&log);
            if begun_anew {
                // Only when everything of the old log had been synced, moved to the main file, and synced there. The end of
                // the old log was perhaps never seen here: without it a part of what was moved, or the old log over what was
                // moved, would be a state that never was. And its new header comes before anything behind that.
                in_main.extend(self.changes_of(&path).1);
                let header = self.databases.get(&log).and_then(|now| now.get(..32)).map(<[u8]>::to_vec);
                let header = header.map_or(Change::Length(0), |header| Change::Write(0, header));
                let (in_main_file, in_log_file) = (self.file_of(&path), self.file_of(&log));
                let mut all: Vec<_> = in_main.into_iter().map(|change| (in_main_file, change)).collect();
                all.push((in_log_file, header));
                self.events.push(Event::AtOnce([in_main_file, in_log_file], all));
                self.changed(&log, in_log);
            } else {
                // A change of the main file came after that of its log.
                self.changed(&log, in_log);
                self.synced_if(&log, !in_main.is_empty());
                self.changed(&path, in_main);
            }
        }
    }

    /// How a file of SQLite differs from what it was at the last look, and whether it is a log that was begun anew.
    fn changes_of(&mut self, path: &Path) -> (bool, Vec<Change>) {
        let Some(before) = self.databases.get(path) else { return (false, Vec::new()) };
        let now = match std::fs::read(path) {
            Ok(now) => now,
            // Removed by whoever used it last, in order; it may be begun anew.
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_log(path) => Vec::new(),
            Err(_) => return (false, Vec::new()),
        };
        let begun_anew = is_log(path) && before.len() >= 32 && now.get(..32) != before.get(..32);
        let changes = if now == *before { Vec::new() } else { differences(before, &now) };
        self.databases.insert(path.to_owned(), now);
        (begun_anew, changes)
    }
}

fn is_log(path: &Path) -> bool {
    path.to_string_lossy().ends_with("-wal")
}

fn differences(before: &[u8], now: &[u8]) -> Vec<Change> {
    let mut changes = Vec::new();
    if now.len() != before.len() {
        changes.push(Change::Length(now.len() as u64));
    }
    let mut at = 0;
    while at < now.len() {
        let end = (at + SECTOR).min(now.len());
        if before.get(at..end) != Some(&now[at..end]) {
            changes.push(Change::Write(at as u64, now[at..end].to_vec()));
        }
        at = end;
    }
    changes
}

impl Film {
    /// The databases, each held open without a word while one daemon dies and the next begins. Whoever closes a database
    /// last in order carries the log over and removes it; a process that is killed does not, and it is threads that are
    /// killed here.
    pub fn hold_databases(&self) -> Vec<Connection> {
        let reel = self.reel();
        let paths = reel.databases.keys().filter(|path| path.extension().is_some_and(|ending| ending == "db"));
        let held = paths.filter(|path| path.exists()).map(|path| {
            let connection = Connection::open(path)?;
            // It takes part once it has read.
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            Ok(connection)
        });
        held.collect::<rusqlite::Result<_>>().expect("the databases can be read")
    }
}
