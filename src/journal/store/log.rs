//! Making the log durable.
//!
//! Linux reports a sync that failed once, and takes the bytes for written from then on: a second sync succeeds and has
//! written nothing. So after one that failed the log is written again before another counts. Its frames have checksums, by
//! which it is known whether what is read of it is still what was written.
//!
//! Always true: a sync of the log that succeeded speaks for every byte of it.

use std::io;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::super::salvage;
use super::{Store, StoreError, opening};
use crate::base::disk::{DiskFile, Open};

impl Store {
    /// Makes every write so far durable. Takes no lock that writers need, unless the last attempt has failed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`]
    pub fn sync(&self) -> Result<(), StoreError> {
        let seq = self.sql().census.seq;
        let mut file = self.log_file.lock().unwrap_or_else(PoisonError::into_inner);
        let (log, is_new) = match &*file {
            Some(log) => (log.clone(), false),
            None => (self.disk.open(&self.log, Open::ReadWrite)?, true),
        };
        if self.unsure.load(Ordering::Relaxed) {
            self.write_log_again(&*log)?;
        }
        let synced = log.sync_data();
        self.unsure.store(synced.is_err(), Ordering::Relaxed);
        synced?;
        if is_new {
            // SQLite makes the log anew at each start, and would make its name durable only with the first checkpoint.
            self.disk.sync_dir(self.log.parent().unwrap_or(Path::new(".")))?;
            *file = Some(log);
        }
        // Never ahead of the log. It need not be durable itself: an older number finds less, and nothing false.
        let _ = opening::note_seen(&self.seen, seq);
        Ok(())
    }

    /// Nobody appends meanwhile. Rare: the disk has failed.
    fn write_log_again(&self, log: &dyn DiskFile) -> io::Result<()> {
        let _waiting = self.sql();
        let mut bytes = vec![0; usize::try_from(log.len()?).map_err(io::Error::other)?];
        let whole = log.read_at(&mut bytes, 0)? == bytes.len();
        let found = salvage::read_log(&bytes);
        if !whole || found.broken || found.torn_end {
            return Err(io::Error::other("the disk has lost a part of the journal's log"));
        }
        log.write_at(&bytes, 0)
    }
}
