//! What each of the two writers does, and the book that is kept of it: which version there ever was, and which of them
//! nobody has ended who saw it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use onedrive_mount::emulator::DriveHandle;
use onedrive_mount::volume::{Entry, OpenHow, SetAttributes, VolumeError, VolumeResult};

use crate::world::User;

/// What our user does.
#[derive(Clone, Debug)]
pub(super) enum Local {
    Mkdir(String),
    /// Replaces the content, or makes the file.
    Write(String, Size),
    /// Changes the first bytes.
    Patch(String),
    /// Writes a temporary file and renames it over.
    Save(String, Size),
    Unlink(String),
    Rmdir(String),
    Rename(String, String),
}

impl Local {
    /// The paths whose names or files it changes.
    pub(super) fn paths(&self) -> Vec<String> {
        match self {
            Self::Save(path, _) => vec![path.clone(), format!("{path}.tmp")],
            Self::Rename(from, to) => vec![from.clone(), to.clone()],
            Self::Mkdir(path) | Self::Write(path, _) | Self::Patch(path) | Self::Unlink(path) | Self::Rmdir(path) => {
                vec![path.clone()]
            }
        }
    }
}

/// What the other device does; it sees the cloud as it is.
#[derive(Clone, Debug)]
pub(super) enum Remote {
    Mkdir(String),
    Write(String),
    Remove(String),
    Rename(String, String),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Size {
    Small,
    /// Goes in fragments.
    Large,
}

/// Length of the mark at the head of every version that tells it from all others.
pub(super) const MARK: usize = 16;

/// Every version that was ever written, and which of them nobody has ended.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) versions: HashMap<Vec<u8>, Vec<u8>>,
    pub(super) live: BTreeMap<Vec<u8>, String>,
    next: u64,
}

impl Ledger {
    fn mark(&mut self, who: char) -> Vec<u8> {
        self.next += 1;
        format!("{who}{:0width$}\n", self.next, width = MARK - 2).into_bytes()
    }

    fn fresh(&mut self, who: char, size: Size) -> Vec<u8> {
        let mut bytes = self.mark(who);
        let length = match size {
            Size::Small => (self.next % 40) as usize,
            Size::Large => (4 << 20) + 700_000 + (self.next % 1000) as usize,
        };
        let seed = self.next;
        bytes.extend((0..length as u64).map(|i| (i.wrapping_mul(31) ^ (i >> 8) ^ seed) as u8));
        bytes
    }

    fn add(&mut self, bytes: &[u8], how: String) {
        let mark = bytes[..MARK].to_vec();
        self.versions.insert(mark.clone(), bytes.to_vec());
        self.live.insert(mark, how);
    }

    fn end(&mut self, bytes: &[u8]) {
        self.live.remove(bytes.get(..MARK).unwrap_or_default());
    }
}

pub(super) type Shared = Arc<Mutex<Ledger>>;

pub(super) fn book(ledger: &Shared) -> std::sync::MutexGuard<'_, Ledger> {
    ledger.lock().expect("no panic with the ledger in hand")
}

pub(super) fn elsewhere(drive: &DriveHandle, ledger: &Shared, remote: &Remote) {
    let mut ledger = book(ledger);
    match remote {
        Remote::Mkdir(path) => {
            drive.try_create_folder(path);
        }
        Remote::Write(path) => {
            let bytes = ledger.fresh('r', Size::Small);
            if let Some(before) = drive.try_write(path, bytes.clone()) {
                if let Some(before) = before {
                    ledger.end(&before);
                }
                ledger.add(&bytes, format!("{remote:?}"));
            }
        }
        Remote::Remove(path) => {
            for gone in drive.try_remove(path).unwrap_or_default() {
                ledger.end(&gone);
            }
        }
        Remote::Rename(from, to) => {
            drive.try_rename(from, to);
        }
    }
}

/// What a program sees that reads the file, if there is one.
async fn visible(user: &User<'_>, path: &str) -> VolumeResult<Option<Vec<u8>>> {
    match user.read(path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(VolumeError::NotFound | VolumeError::IsAFolder | VolumeError::NotAFolder) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn write(user: &User<'_>, ledger: &Shared, path: &str, patch: bool, size: Size) -> VolumeResult<()> {
    let volume = &user.0.volume;
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = user.walk(folder).await?;
    let how = OpenHow { read: true, write: true, ..OpenHow::default() };
    let (ino, fh, before) = match volume.lookup(folder, name.as_ref()).await? {
        Entry::Found { attributes, .. } => {
            let ino = attributes.ino;
            let fh = volume.open(ino, how).await?.fh;
            let mut before = Vec::new();
            loop {
                match volume.read(ino, fh, before.len() as u64, 1 << 20).await {
                    Ok(bytes) if bytes.is_empty() => break,
                    Ok(bytes) => before.extend_from_slice(&bytes),
                    Err(error) => {
                        volume.release(ino, fh);
                        return Err(error);
                    }
                }
            }
            (ino, fh, Some(before))
        }
        Entry::Absent { .. } if patch => return Err(VolumeError::NotFound),
        Entry::Absent { .. } => {
            let (attributes, opened) = volume.create(folder, name.as_ref(), 0o644, how).await?;
            (attributes.ino, opened.fh, None)
        }
    };
    let bytes = match &before {
        Some(before) if patch => {
            let mut bytes = book(ledger).mark('p');
            bytes.extend_from_slice(before.get(MARK..).unwrap_or_default());
            bytes
        }
        _ => book(ledger).fresh('w', size),
    };
    let done = async {
        if patch {
            volume.write(ino, Some(fh), 0, &bytes[..MARK]).await?;
        } else {
            volume.setattr(ino, Some(fh), SetAttributes { size: Some(0), ..SetAttributes::default() }).await?;
            for (at, piece) in bytes.chunks(1 << 20).enumerate() {
                volume.write(ino, Some(fh), (at << 20) as u64, piece).await?;
            }
        }
        volume.flush(ino, fh).await
    }
    .await;
    volume.release(ino, fh);
    if done.is_ok() {
        let mut ledger = book(ledger);
        if let Some(before) = before {
            ledger.end(&before);
        }
        ledger.add(&bytes, format!("{} {path}", if patch { "patch" } else { "write" }));
    }
    done
}

/// One thing that our user does. It may be refused, and that is no failure; nothing is then ended.
pub(super) async fn here(user: &User<'_>, ledger: &Shared, local: &Local) -> VolumeResult<()> {
    match local {
        Local::Mkdir(path) => user.mkdir(path).await,
        Local::Write(path, size) => write(user, ledger, path, false, *size).await,
        Local::Patch(path) => write(user, ledger, path, true, Size::Small).await,
        Local::Save(path, size) => {
            let temporary = format!("{path}.tmp");
            write(user, ledger, &temporary, false, *size).await?;
            rename(user, ledger, &temporary, path).await
        }
        Local::Unlink(path) => {
            let before = visible(user, path).await?;
            user.unlink(path).await?;
            book(ledger).end(&before.unwrap_or_default());
            Ok(())
        }
        Local::Rmdir(path) => user.rmdir(path).await,
        Local::Rename(from, to) => rename(user, ledger, from, to).await,
    }
}

async fn rename(user: &User<'_>, ledger: &Shared, from: &str, to: &str) -> VolumeResult<()> {
    if from == to {
        return Ok(());
    }
    let over = visible(user, to).await?;
    user.rename(from, to).await?;
    book(ledger).end(&over.unwrap_or_default());
    Ok(())
}
