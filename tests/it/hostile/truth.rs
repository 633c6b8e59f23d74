//! Afterwards: the service tells the truth again, and nothing of what it said before stays behind.

use std::time::Duration;

use onedrive_mount::volume::VolumeError;

use super::table::A;
use super::{Bench, Does, Row, Sees, User};

impl Bench {
    /// The service tells the truth: everything works. On a machine that is busy with other rows it may have taken longer
    /// than anybody waits for it.
    pub(super) async fn truth(&self, row: &Row) -> Result<(), String> {
        let is_late = |why: &String| ["Offline", "TimedOut", "fell silent"].iter().any(|late| why.contains(late));
        for _ in 0..3 {
            match self.truth_at_once(row).await {
                Err(why) if is_late(&why) => tokio::time::sleep(Duration::from_secs(1)).await,
                told => return told,
            }
        }
        self.truth_at_once(row).await
    }

    async fn truth_at_once(&self, row: &Row) -> Result<(), String> {
        let user = User(self.core());
        let drive = self.world.emulator.drive();
        let said = |what: &'static str| move |error: VolumeError| format!("afterwards, {what}: {error:?}");
        drive.write_file("/docs/fresh.txt", "fresh");
        // What expired is listed anew by the task that follows changes.
        self.core().poller.poll_now().await.map_err(|error| format!("afterwards, following: {error}"))?;
        let root = user.list("/").await.map_err(said("listing the root"))?;
        if !["docs", "safe.txt"].iter().all(|name| root.iter().any(|known| known == name)) {
            return Err(format!("afterwards, the root holds {root:?}"));
        }
        let safe = user.read("/safe.txt").await.map_err(said("reading"))?;
        if safe != b"safe" {
            return Err(format!("afterwards, a file holds {safe:?}"));
        }
        if matches!(row.does, Does::Read) {
            self.read_again(row).await?;
        }
        user.list("/docs").await.map_err(said("listing the folder"))?;
        let mut fresh = Err(VolumeError::NotFound);
        for _ in 0..500 {
            fresh = user.read("/docs/fresh.txt").await;
            if fresh.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if fresh.map_err(said("reading what is new"))? != b"fresh" {
            return Err("afterwards, a new file holds something else".into());
        }
        user.write("/good.txt", b"good").await.map_err(said("saving"))?;
        self.core().journal.retry_all().map_err(|error| format!("afterwards, retrying: {error}"))?;
        self.until("saving", || drive.read_file("/good.txt").as_deref() == Some(b"good")).await
    }

    /// What was read while the service lied is there as it is, and so is what comes after it.
    async fn read_again(&self, row: &Row) -> Result<(), String> {
        let user = User(self.core());
        let read = async || user.read("/docs/a.txt").await.map_err(|error| format!("afterwards, again: {error:?}"));
        // What comes the same twice is what there is of that version, whatever its hash.
        let wanted = match row.sees {
            Sees::Reads(wanted) => wanted.as_bytes(),
            _ => A,
        };
        let seen = read().await?;
        if seen != wanted && seen != A {
            return Err(format!("afterwards, it reads {seen:?}"));
        }
        self.world.emulator.drive().write_file("/docs/a.txt", "another version");
        self.core().poller.poll_now().await.map_err(|error| format!("afterwards, following: {error}"))?;
        match read().await? {
            seen if seen == b"another version" => Ok(()),
            seen => Err(format!("afterwards, the next version reads {seen:?}")),
        }
    }
}
