//! To the cloud: one file, with one request or in fragments.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::partial::{Errand, Unfinished};
use super::{DriveError, DriveResult, Watch};
use crate::base::clock::{Clock, Timestamp};
use crate::config::BITS_FRAGMENT_LIMIT;
use crate::remote::{
    Ack, Advice, At, FragmentRule, Item, ItemKind, Offset, Patch, Place, Precondition, Remote, RemoteError,
    RemoteErrorKind, Target, Ticket,
};

/// How often a fragment that does not advance is tried again.
const FRUITLESS: u32 = 6;

/// The pause before the first of these; the next are twice as long each.
const PAUSE: Duration = Duration::from_millis(500);

/// How often an upload starts from its beginning before it is given up.
const STARTS: u32 = 3;

/// How to send.
#[derive(Clone, Debug)]
pub struct How {
    /// What is there already stays, and the upload fails.
    pub no_overwrite: bool,
    /// In fragments, however small it is.
    pub fragments: bool,
    /// Bytes a fragment.
    pub fragment: u64,
}

impl Default for How {
    /// Replacing what is there; in fragments of 10 MiB from the size on that the service does not take at once.
    fn default() -> Self {
        Self { no_overwrite: false, fragments: false, fragment: 10 << 20 }
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Sent {
    /// It is in the cloud now.
    Uploaded(Item),
    /// It was there already: the same size and time; or the same size and not changed here since, where the service
    /// does not keep the time of a file.
    Same(Item),
}

impl Sent {
    /// The file in the cloud.
    pub fn item(&self) -> &Item {
        match self {
            Self::Uploaded(item) | Self::Same(item) => item,
        }
    }
}

/// What to send where.
pub struct Parcel<'a> {
    /// The local file.
    pub path: &'a Path,
    /// The folder.
    pub folder: &'a Item,
    /// The name there.
    pub name: &'a str,
    /// A file of the same size and time is left alone.
    pub skip_same: bool,
    /// Where unfinished uploads are remembered; `None` for what cannot be sent again.
    pub unfinished: Option<&'a Unfinished>,
}

/// Sends a file. It is in the cloud on return, whole.
///
/// # Errors
/// [`DriveError::Exists`] with `no_overwrite`; [`DriveError::LocalChanged`] if the local file changes on the way;
/// [`DriveError::Local`]; as every call to the cloud. What has arrived is kept for the next try.
pub async fn send(
    remote: &dyn Remote,
    clock: &dyn Clock,
    parcel: &Parcel<'_>,
    how: &How,
    watch: Watch<'_>,
) -> DriveResult<Sent> {
    let file = File::open(parcel.path).map_err(|error| DriveError::local("read", parcel.path, error))?;
    let source = Source::new(parcel, file)?;
    let folder = parcel.folder.link_to.as_ref().unwrap_or(&parcel.folder.id);
    let taken = || DriveError::Exists { name: parcel.name.to_owned(), folder: Box::new(parcel.folder.clone()) };
    let mut start = 0;
    loop {
        start += 1;
        let old = match remote.stat(At::Child(folder, parcel.name)).await {
            Ok(item) => Some(item),
            Err(error) if error.kind == RemoteErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let (place, pre) = match old {
            Some(old) if old.kind != ItemKind::File => {
                return Err(DriveError::FolderInTheWay(parcel.name.to_owned()));
            }
            Some(old) if parcel.skip_same && source.is_same_as(&old, remote.caps().set_times) => {
                return Ok(Sent::Same(old));
            }
            Some(_) if how.no_overwrite => return Err(taken()),
            Some(old) => (Place::Replace(old.id), Precondition::Unchanged(old.meta_tag)),
            None => (Place::New { parent: folder.clone(), name: parcel.name.to_owned() }, Precondition::MustNotExist),
        };
        let target = Target { place, modified: source.modified, created: None };
        let sent = if source.size == 0 || (source.size <= remote.caps().max_small && !how.fragments) {
            small(remote, &source, &target, &pre, watch).await
        } else {
            in_fragments(remote, clock, &source, target, &pre, how, watch).await
        };
        match sent {
            Ok(item) => {
                source.still_the_same()?;
                watch(source.size);
                return Ok(Sent::Uploaded(with_time(remote, item, source.modified).await?));
            }
            Err(Stop::Here(error)) => return Err(error),
            // Somebody else was faster. What was meant is to have this file there, so look again and replace that.
            Err(Stop::Overtaken(error)) if how.no_overwrite || start >= STARTS => {
                return Err(if error.kind == RemoteErrorKind::Exists { taken() } else { error.into() });
            }
            Err(Stop::Overtaken(_)) => {}
            Err(Stop::Lost) if start >= STARTS => {
                return Err(DriveError::Forgotten);
            }
            Err(Stop::Lost) => {}
        }
    }
}

enum Stop {
    Here(DriveError),
    Overtaken(RemoteError),
    /// The service does not know the session any more.
    Lost,
}

impl From<RemoteError> for Stop {
    fn from(error: RemoteError) -> Self {
        match error.kind {
            RemoteErrorKind::Exists | RemoteErrorKind::Changed => Self::Overtaken(error),
            RemoteErrorKind::UploadGone => Self::Lost,
            _ => Self::Here(error.into()),
        }
    }
}

impl From<DriveError> for Stop {
    fn from(error: DriveError) -> Self {
        Self::Here(error)
    }
}

/// The local file as it was when the upload began.
struct Source<'a> {
    file: File,
    path: &'a Path,
    size: u64,
    modified: Timestamp,
    errand: Option<(Errand, &'a Unfinished)>,
}

impl<'a> Source<'a> {
    fn new(parcel: &Parcel<'a>, file: File) -> DriveResult<Self> {
        let failed = |error: io::Error| DriveError::local("read", parcel.path, error);
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(DriveError::LocalNotAFile(parcel.path.to_owned()));
        }
        let (size, modified) = (metadata.size(), modified(&metadata));
        let errand = match parcel.unfinished {
            Some(unfinished) => {
                let path = std::path::absolute(parcel.path).map_err(failed)?;
                let (folder, name) = (parcel.folder.id.to_key(), parcel.name.to_owned());
                Some((Errand { path, size, modified: modified.0, folder, name }, unfinished))
            }
            None => None,
        };
        Ok(Self { file, path: parcel.path, size, modified, errand })
    }

    fn read(&self, at: u64, length: u64) -> DriveResult<Bytes> {
        let mut buffer = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut buffer, at).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => changed(self.path),
            _ => DriveError::local("read", self.path, error),
        })?;
        Ok(buffer.into())
    }

    /// Fails if the file was changed since it was opened: what was sent may be half of each.
    fn still_the_same(&self) -> DriveResult<()> {
        let metadata = self.file.metadata().map_err(|error| DriveError::local("read", self.path, error))?;
        if metadata.size() == self.size && modified(&metadata) == self.modified {
            return Ok(());
        }
        Err(changed(self.path))
    }

    /// Whether a file of the cloud is this one, as far as size and time tell. A service that keeps the time of the file
    /// has the same; one that does not has the time of the upload, and the file is older than that if it was not changed since.
    fn is_same_as(&self, item: &Item, times_are_kept: bool) -> bool {
        let (here, there) = (self.modified.seconds(), item.modified.seconds());
        item.size == self.size && if times_are_kept { here == there } else { here < there }
    }

    fn ticket(&self) -> Option<Ticket> {
        self.errand.as_ref().and_then(|(errand, unfinished)| unfinished.find(errand))
    }

    fn keep(&self, ticket: &Ticket) {
        if let Some((errand, unfinished)) = &self.errand
            && let Err(error) = unfinished.keep(errand, ticket)
        {
            tracing::warn!(%error, "the upload cannot be remembered; if it breaks off, it starts anew");
        }
    }

    fn forget(&self) {
        if let Some((errand, unfinished)) = &self.errand {
            unfinished.forget(errand);
        }
    }
}

fn modified(metadata: &std::fs::Metadata) -> Timestamp {
    Timestamp(metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()))
}

fn changed(path: &Path) -> DriveError {
    DriveError::LocalChanged { path: path.to_owned(), visible: true }
}

async fn small(
    remote: &dyn Remote,
    source: &Source<'_>,
    target: &Target,
    pre: &Precondition,
    watch: Watch<'_>,
) -> Result<Item, Stop> {
    watch(0);
    let bytes = source.read(0, source.size)?;
    match remote.put_small(target, bytes, pre).await {
        // It may have arrived though the answer was lost.
        Err(error) if error.advice == Advice::VerifyThenRetry => Err(Stop::Overtaken(error)),
        other => Ok(other?),
    }
}

async fn in_fragments(
    remote: &dyn Remote,
    clock: &dyn Clock,
    source: &Source<'_>,
    target: Target,
    pre: &Precondition,
    how: &How,
    watch: Watch<'_>,
) -> Result<Item, Stop> {
    let (mut ticket, mut at) = match begun(remote, source, &target).await? {
        Some(Begun::Done(item)) => return Ok(item),
        Some(Begun::At(ticket, at)) => (ticket, at),
        None => {
            let ticket = remote.begin_upload(&target, source.size, pre).await?;
            source.keep(&ticket);
            (ticket, 0)
        }
    };
    let (mut fruitless, mut pause) = (0, PAUSE);
    watch(at);
    let done = loop {
        if at >= source.size {
            // All of it is there, perhaps since an earlier try; what is missing is that it becomes visible.
            break match source.still_the_same() {
                Ok(()) => remote.finish_upload(&ticket).await.map_err(Stop::from),
                Err(_) => Err(given_up(remote, source, &ticket).await),
            };
        }
        let length = fragment(remote, how, source.size - at);
        if at + length == source.size && source.still_the_same().is_err() {
            return Err(given_up(remote, source, &ticket).await);
        }
        let error = match remote.put_fragment(&ticket, at, source.read(at, length)?).await {
            Ok(Ack::Done(item)) => break Ok(*item),
            Ok(Ack::Next(next)) if next > at => {
                (at, fruitless, pause) = (next, 0, PAUSE);
                watch(at);
                // Some services cannot be asked how far an upload is: the next try has to know.
                ticket.acked = next;
                source.keep(&ticket);
                continue;
            }
            Ok(Ack::Next(next)) => {
                at = next;
                None
            }
            Err(error) => Some(error),
        };
        if let Some(error) = &error
            && !matches!(error.kind, RemoteErrorKind::Range | RemoteErrorKind::UploadGone)
            && !matches!(error.advice, Advice::Retry | Advice::RetryAfter(_) | Advice::VerifyThenRetry)
        {
            break Err(Stop::from(error.share()));
        }
        fruitless += 1;
        if fruitless >= FRUITLESS {
            let error = error.unwrap_or_else(|| RemoteError::protocol("the upload does not advance"));
            return Err(Stop::Here(error.into()));
        }
        clock.sleep(pause).await;
        pause *= 2;
        // What has arrived is the service's to say.
        match remote.upload_offset(&ticket).await {
            Ok(Offset::At(next)) => {
                if next > at {
                    fruitless = 0;
                }
                at = next;
                watch(at);
            }
            Ok(Offset::Done(item)) => break Ok(*item),
            Ok(Offset::Gone) => break Err(Stop::Lost),
            Err(error) if error.is_transient() => {}
            Err(error) => break Err(error.into()),
        }
    };
    // A session that was cut off by the network waits for the next try; one that has ended is of no use.
    if !matches!(&done, Err(Stop::Here(error)) if error.passes()) {
        source.forget();
    }
    if matches!(done, Err(Stop::Overtaken(_))) {
        let _ = remote.abandon_upload(&ticket).await;
    }
    done
}

/// Ends an upload whose file was changed on the way. Nothing of it becomes visible.
async fn given_up(remote: &dyn Remote, source: &Source<'_>, ticket: &Ticket) -> Stop {
    source.forget();
    let _ = remote.abandon_upload(ticket).await;
    Stop::Here(DriveError::LocalChanged { path: source.path.to_owned(), visible: false })
}

enum Begun {
    Done(Item),
    At(Ticket, u64),
}

/// A session of an earlier try that can be gone on with.
async fn begun(remote: &dyn Remote, source: &Source<'_>, target: &Target) -> Result<Option<Begun>, Stop> {
    let Some(ticket) = source.ticket() else { return Ok(None) };
    if ticket.target.place != target.place || ticket.size != source.size {
        source.forget();
        return Ok(None);
    }
    match remote.upload_offset(&ticket).await {
        Ok(Offset::At(at)) if at <= source.size => Ok(Some(Begun::At(ticket, at))),
        Ok(Offset::Done(item)) => {
            source.forget();
            Ok(Some(Begun::Done(*item)))
        }
        Err(error) if error.is_transient() => Err(error.into()),
        _ => {
            source.forget();
            Ok(None)
        }
    }
}

/// The length of the next fragment when so many bytes are left.
fn fragment(remote: &dyn Remote, how: &How, left: u64) -> u64 {
    let length = match remote.caps().fragment {
        FragmentRule::Any => how.fragment.min(BITS_FRAGMENT_LIMIT),
        FragmentRule::Multiple { unit, max } => (how.fragment.min(max) / unit).max(1) * unit,
    };
    length.max(1).min(left)
}

/// The file with the time that it has here, where the service could not take that along with the content.
async fn with_time(remote: &dyn Remote, item: Item, modified: Timestamp) -> DriveResult<Item> {
    if !remote.caps().set_times || item.modified.seconds() == modified.seconds() {
        return Ok(item);
    }
    let patch = Patch { modified: Some(modified), ..Patch::default() };
    match remote.change(&item.id, &patch, &Precondition::Unchanged(item.meta_tag.clone())).await {
        Ok(item) => Ok(item),
        // The content is there; somebody else has it already.
        Err(error) if matches!(error.kind, RemoteErrorKind::Changed | RemoteErrorKind::Locked) => Ok(item),
        Err(error) => Err(error.into()),
    }
}
