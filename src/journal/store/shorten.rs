//! Carrying over what is in SQLite's log into its file, so that the log begins anew and does not grow for ever.
//!
//! It exists because SQLite does that by itself inside the commit that makes the log too long, and the journal commits
//! with a lock held that every look at it needs: as long as the disk flushed two files nobody could look up a name. So
//! SQLite is told not to (`wal_autocheckpoint`), and the thread of the group commit does it, on a connection of its own,
//! while others read and write.
//!
//! The log begins anew with the first commit that finds all of it carried over. Whoever writes without a pause is always a
//! few steps ahead of that. Then the rest, which is short by now, is carried over while writers wait, and only if the log
//! has become so long that waiting for a pause makes no sense any more.
//!
//! Always true here: SQLite syncs the log before it changes the file, and the file before the log may begin anew
//! (<https://sqlite.org/wal.html>). So what was durable in the log stays durable, and a log that was carried over in part
//! is as good as before. After a sync that has failed nobody knows what is in the file, though the next one succeeds: then
//! nothing is carried over any more, the log grows, and the next start, which carries over all of it, begins with it whole.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::super::salvage::{FRAME_HEADER, LOG_HEADER, PAGE};
use super::{Store, StoreError};
use crate::base::disk::{DiskFile, Open};

const FRAME: u64 = (FRAME_HEADER + PAGE) as u64;

/// A log of so many bytes is carried over. Reading one of that length takes a start some milliseconds.
pub(super) const LONG: u64 = 4 << 20;

/// At so many bytes writers wait for the rest of it.
pub(super) const TOO_LONG: u64 = 16 << 20;

/// So often it is tried to come up with the writers: each turn has to carry over only what was written in the one before.
const TURNS: usize = 4;

/// What it takes to carry the log over.
pub(super) struct Carrier {
    pub(super) connection: Connection,
    /// The file that the log is carried over into. Closed after every connection to it: the locks by which SQLite keeps
    /// other processes out end when their process closes any descriptor of the file.
    pub(super) file: Arc<dyn DiskFile>,
}

impl Store {
    /// Carries the log over if it is long. Blocks on the disk, and takes no lock that writers need, nearly always.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the log is as it was, or shorter.
    pub fn shorten_log(&self) -> Result<(), StoreError> {
        if self.stays.load(Ordering::Relaxed) || self.unsure.load(Ordering::Relaxed) {
            return Ok(());
        }
        let shortened = self.carry_all_over();
        if shortened.as_ref().is_err_and(is_failed_sync) {
            self.stays.store(true, Ordering::Relaxed);
        }
        shortened
    }

    fn carry_all_over(&self) -> Result<(), StoreError> {
        let Some(log) = self.log_file.lock().unwrap_or_else(PoisonError::into_inner).clone() else { return Ok(()) };
        if !reaches(&*log, LONG / FRAME)? {
            return Ok(());
        }
        let mut carrier = self.carrier.lock().unwrap_or_else(PoisonError::into_inner);
        let carrier = match &mut *carrier {
            Some(carrier) => carrier,
            none => none.insert(Carrier::of(self)?),
        };
        for _ in 0..TURNS {
            let all = carrier.carry_over()?;
            if !reaches(&*log, all)? {
                return Ok(());
            }
            // SQLite leaves that to the turn that catches up, in which somebody may have to wait.
            carrier.file.sync_data().inspect_err(|_| self.stays.store(true, Ordering::Relaxed))?;
        }
        if reaches(&*log, TOO_LONG / FRAME)? {
            let _waiting = self.sql();
            carrier.carry_over()?;
        }
        Ok(())
    }
}

fn is_failed_sync(error: &StoreError) -> bool {
    matches!(error, StoreError::Sql(rusqlite::Error::SqliteFailure(error, _)) if error.extended_code == rusqlite::ffi::SQLITE_IOERR_FSYNC)
}

impl Carrier {
    pub(super) fn of(store: &Store) -> Result<Self, StoreError> {
        let connection = Connection::open(&store.file)?;
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.busy_timeout(Duration::from_secs(10))?;
        let file = store.disk.open(&store.file, Open::Read)?;
        Ok(Self { connection, file })
    }

    /// Carries over what is in the log now; returns how many frames that were, from its beginning.
    fn carry_over(&self) -> Result<u64, StoreError> {
        let done = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(2))?;
        Ok(done.max(0) as u64)
    }
}

/// Whether the log has a frame of this number, from 0. Its length says nothing: when the log begins anew, what it was
/// before stays behind what it is.
pub(super) fn reaches(log: &dyn DiskFile, frame: u64) -> io::Result<bool> {
    let (mut header, mut found) = ([0; LOG_HEADER], [0; FRAME_HEADER]);
    let at = LOG_HEADER as u64 + frame * FRAME;
    let whole = log.read_at(&mut header, 0)? == LOG_HEADER && log.read_at(&mut found, at)? == FRAME_HEADER;
    Ok(whole && header[16..24] == found[8..16])
}

/// Empties a log that an earlier run has left long. Nobody uses the journal yet.
pub(super) fn shorten_at_start(connection: &Connection, log: &Path) {
    if std::fs::metadata(log).is_ok_and(|facts| facts.len() > LONG)
        && let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    {
        // A full disk is no reason not to start: what is in the log is as good there.
        tracing::warn!(%error, "the journal's log stays long");
    }
}
