//! From the cloud: ranges as they arrive, and whole files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use rustix::fs::FlockOperation;

use super::partial::{forget_older, part_of};
use super::{DriveError, DriveResult, Watch};
use crate::base::clock::Clock;
use crate::base::hash::QuickXorHash;
use crate::base::ids::ContentTag;
use crate::remote::{Advice, Item, ItemKind, Remote, RemoteError, RemoteErrorKind};

/// How often a transfer that brings nothing is tried again. Whatever brings something is gone on with.
const FRUITLESS: u32 = 5;

/// The pause before the first of these; the next are twice as long each.
const PAUSE: Duration = Duration::from_millis(500);

/// A part of a file, as a Range header says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// From the first to the last of these bytes, both counted from 0.
    Between(u64, u64),
    /// From this byte on.
    From(u64),
    /// So many at the end.
    Last(u64),
}

impl Part {
    /// Reads `0-499`, `500-` or `-500`.
    ///
    /// # Errors
    /// A sentence with what is right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "a range is FIRST-LAST, FIRST- or -COUNT in bytes, such as 0-499".to_owned();
        let number = |text: &str| {
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
                return Err(wrong());
            }
            text.parse::<u64>().map_err(|_| wrong())
        };
        match text.split_once('-').ok_or_else(wrong)? {
            ("", count) => number(count).map(Self::Last),
            (first, "") => number(first).map(Self::From),
            (first, last) => match (number(first)?, number(last)?) {
                (first, last) if first <= last => Ok(Self::Between(first, last)),
                _ => Err(wrong()),
            },
        }
    }

    /// The bytes of it that a file of this size has; `None` if it has none of them.
    pub fn of(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::Between(first, last) => first..last.saturating_add(1).min(size),
            Self::From(first) => first..size,
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

/// The version of a file that a download brings.
///
/// # Errors
/// [`DriveError::NotAFile`].
pub fn version(item: &Item) -> DriveResult<&ContentTag> {
    match (&item.content_tag, item.kind) {
        (Some(tag), ItemKind::File) => Ok(tag),
        _ => Err(DriveError::NotAFile(Box::new(item.clone()))),
    }
}

/// Brings a range of one version, in order, to `sink`. A connection that breaks is made anew at the byte where it broke.
///
/// # Errors
/// [`RemoteErrorKind::Changed`] if the file changes on the way; what `sink` refuses; as every call to the cloud.
pub async fn fetch(
    remote: &dyn Remote,
    clock: &dyn Clock,
    item: &Item,
    range: Range<u64>,
    sink: &mut (dyn FnMut(&[u8]) -> DriveResult<()> + Send),
) -> DriveResult<u64> {
    let tag = version(item)?;
    let (mut at, mut end) = (range.start, range.end);
    let to_the_end = end == item.size;
    let (mut fruitless, mut pause) = (0, PAUSE);
    while at < end {
        let before = at;
        match piece(remote, item, tag, at..end, sink).await {
            Ok(Piece { next, total }) => {
                at = next;
                // What the storage has is the truth, also where the metadata says something else.
                end = total.map_or(end, |total| if to_the_end { total } else { end.min(total) });
                if next == before && at < end {
                    fruitless += 1;
                }
            }
            Err(Broken { next, failure }) => {
                at = next;
                let error = failure?;
                let again = matches!(error.advice, Advice::Retry | Advice::RetryAfter(_) | Advice::VerifyThenRetry);
                fruitless = if at > before { 0 } else { fruitless + 1 };
                if !again || fruitless >= FRUITLESS {
                    return Err(error.into());
                }
                if fruitless > 0 {
                    clock.sleep(pause).await;
                    pause *= 2;
                } else {
                    pause = PAUSE;
                }
            }
        }
        if fruitless >= FRUITLESS {
            return Err(RemoteError::offline("the content stops coming").into());
        }
    }
    Ok(at)
}

struct Piece {
    next: u64,
    total: Option<u64>,
}

struct Broken {
    next: u64,
    failure: DriveResult<RemoteError>,
}

async fn piece(
    remote: &dyn Remote,
    item: &Item,
    tag: &ContentTag,
    range: Range<u64>,
    sink: &mut (dyn FnMut(&[u8]) -> DriveResult<()> + Send),
) -> Result<Piece, Broken> {
    let mut next = range.start;
    let broken = |next, error| Broken { next, failure: Ok(error) };
    let mut body = remote.read(&item.id, tag, range).await.map_err(|error| broken(next, error))?;
    while let Some(bytes) = body.stream.next().await {
        let bytes = bytes.map_err(|error| broken(next, error))?;
        sink(&bytes).map_err(|error| Broken { next, failure: Err(error) })?;
        next += bytes.len() as u64;
    }
    Ok(Piece { next, total: body.total })
}

/// Brings a whole file to `path`. The old file stays until the new one is complete; then it is replaced in one step,
/// and the new one is durable. A download that was broken off goes on where it ended.
///
/// # Errors
/// As [`fetch`]; [`DriveError::Local`]. What has arrived is kept for the next try.
pub async fn to_file(
    remote: &dyn Remote,
    clock: &dyn Clock,
    item: &Item,
    path: &Path,
    watch: Watch<'_>,
) -> DriveResult<()> {
    let tag = version(item)?.clone();
    let path = &followed(path);
    if let Some(mut stream) = special(path)? {
        return to_stream(remote, clock, item, 0..item.size, path, &mut stream, watch).await;
    }
    let part = part_of(path, item, &tag);
    forget_older(&part);
    for last_try in [false, true] {
        let failed = |error: io::Error| DriveError::local("write", &part, error);
        let mut file =
            OpenOptions::new().create(true).read(true).write(true).truncate(false).open(&part).map_err(failed)?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(rustix::io::Errno::WOULDBLOCK) {
            return Err(DriveError::Busy(path.clone()));
        }
        let mut hash = QuickXorHash::new();
        let mut at = hashed(&mut file, &mut hash).map_err(failed)?;
        if at > item.size {
            file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)).map(drop)).map_err(failed)?;
            (at, hash) = (0, QuickXorHash::new());
        }
        watch(at);
        let mut done = at;
        let fetched = fetch(remote, clock, item, at..item.size, &mut |bytes| {
            file.write_all(bytes).map_err(failed)?;
            hash.update(bytes);
            done += bytes.len() as u64;
            watch(done);
            Ok(())
        })
        .await;
        if let Err(error) = fetched {
            if error.remote_kind() == Some(RemoteErrorKind::Changed) {
                // There is another version now, which this is no part of.
                let _ = fs::remove_file(&part);
            }
            return Err(error);
        }
        let right = tag.hash().is_none_or(|wanted| done != item.size || hash.finish_base64() == wanted);
        if !right && !last_try {
            // The part on the disk may have suffered (a power cut does that): once more from the beginning.
            fs::remove_file(&part).map_err(failed)?;
            continue;
        }
        if !right {
            tracing::warn!(file = %path.display(), "the content is not what the service's hash says");
        }
        return place(&file, &part, path, item);
    }
    Ok(())
}

/// Brings a range to something that is open.
///
/// # Errors
/// As [`fetch`]; [`DriveError::Local`].
pub async fn to_stream(
    remote: &dyn Remote,
    clock: &dyn Clock,
    item: &Item,
    range: Range<u64>,
    path: &Path,
    stream: &mut (dyn Write + Send),
    watch: Watch<'_>,
) -> DriveResult<()> {
    let mut done = 0;
    fetch(remote, clock, item, range, &mut |bytes| {
        stream.write_all(bytes).map_err(|error| DriveError::local("write", path, error))?;
        done += bytes.len() as u64;
        watch(done);
        Ok(())
    })
    .await?;
    stream.flush().map_err(|error| DriveError::local("write", path, error))
}

/// Brings a range to a file, which is replaced when all of it is there.
///
/// # Errors
/// As [`fetch`]; [`DriveError::Local`].
pub async fn range_to_file(
    remote: &dyn Remote,
    clock: &dyn Clock,
    item: &Item,
    range: Range<u64>,
    path: &Path,
    watch: Watch<'_>,
) -> DriveResult<()> {
    let path = &followed(path);
    if let Some(mut stream) = special(path)? {
        return to_stream(remote, clock, item, range, path, &mut stream, watch).await;
    }
    let failed = |error: io::Error| DriveError::local("write", path, error);
    // Of its own name: two ranges may be fetched at once. Readable by whoever may read a new file.
    let readable = fs::Permissions::from_mode(0o666);
    let mut named = tempfile::Builder::new();
    let part = named.prefix(".onedrive-").suffix(".part").permissions(readable).tempfile_in(folder_of(path));
    let (mut file, part) = part.map_err(failed)?.into_parts();
    to_stream(remote, clock, item, range, path, &mut file, watch).await?;
    place(&file, &part, path, item)?;
    // It is not there any more under the name that would be removed.
    let _ = part.keep();
    Ok(())
}

/// The folder that a path lies in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads what is there already.
fn hashed(file: &mut File, hash: &mut QuickXorHash) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.length()),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// Makes a complete part the file.
fn place(file: &File, part: &Path, path: &Path, item: &Item) -> DriveResult<()> {
    let failed = |error: io::Error| DriveError::local("write", path, error);
    let _ = file.set_modified(item.modified.to_system_time());
    if let Ok(old) = fs::metadata(path) {
        let _ = file.set_permissions(fs::Permissions::from_mode(old.permissions().mode() & 0o777));
    }
    file.sync_all().map_err(failed)?;
    fs::rename(part, path).map_err(failed)?;
    File::open(folder_of(path)).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Where a symbolic link leads; the path itself if it is none, or leads nowhere.
fn followed(path: &Path) -> PathBuf {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => path.canonicalize().unwrap_or_else(|_| path.to_owned()),
        _ => path.to_owned(),
    }
}

/// A device or a pipe, which is written and not replaced.
fn special(path: &Path) -> DriveResult<Option<File>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.file_type().is_char_device() || metadata.file_type().is_fifo() => {
            OpenOptions::new().write(true).open(path).map(Some).map_err(|error| DriveError::local("write", path, error))
        }
        Ok(metadata) if metadata.is_dir() => Err(DriveError::LocalFolder(path.to_owned())),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_range() {
        for (text, part, of_1000) in [
            ("0-499", Part::Between(0, 499), Some(0..500)),
            ("-500", Part::Last(500), Some(500..1000)),
            ("500-", Part::From(500), Some(500..1000)),
            ("990-2000", Part::Between(990, 2000), Some(990..1000)),
            ("-5000", Part::Last(5000), Some(0..1000)),
            ("1000-", Part::From(1000), None),
            ("-0", Part::Last(0), None),
            ("0-18446744073709551615", Part::Between(0, u64::MAX), Some(0..1000)),
        ] {
            assert_eq!(Part::parse(text), Ok(part), "{text}");
            assert_eq!(part.of(1000), of_1000, "{text}");
        }
        for text in ["", "-", "5", "5-1", "a-b", "1-2-3", "+1-2", "bytes=0-1"] {
            assert!(Part::parse(text).is_err(), "{text}");
        }
    }
}
