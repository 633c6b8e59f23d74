//! To the cloud: one file, with one request or in fragments.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::partial::{Before, Errand, Kept, Stamp, Unfinished};
use super::{DriveError, DriveResult, Watch};
use crate::base::clock::{Clock, Timestamp};
use crate::base::hash::QuickXorHash;
use crate::base::ids::ContentTag;
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

/// How often a small file that was changed before it went is read again.
const READINGS: u32 = 3;

/// The pause after an upload that was lost: of two states within a second some services tell the same.
const SECOND: Duration = Duration::from_secs(1);

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
    let mut source = Source::new(parcel)?;
    let folder = parcel.folder.link_to.as_ref().unwrap_or(&parcel.folder.id);
    let taken = || DriveError::Exists { name: parcel.name.to_owned(), folder: Box::new(parcel.folder.clone()) };
    let (mut start, mut reading) = (1, 1);
    // What has arrived from here and is not what was sent.
    let mut wrong = None;
    loop {
        let old = match remote.stat(At::Child(folder, parcel.name)).await {
            Ok(item) => Some(item),
            Err(error) if error.kind == RemoteErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let before = old.as_ref().map(Before::of);
        let (place, pre) = match old {
            Some(old) if old.kind != ItemKind::File => {
                return Err(DriveError::FolderInTheWay(parcel.name.to_owned()));
            }
            Some(old) if wrong.as_ref() == Some(&old.id) => {
                (Place::Replace(old.id), Precondition::Unchanged(old.meta_tag))
            }
            Some(old) if parcel.skip_same && source.is_same_as(&old, remote.caps().set_times) => {
                return Ok(Sent::Same(old));
            }
            Some(_) if how.no_overwrite => return Err(taken()),
            Some(old) => (Place::Replace(old.id), Precondition::Unchanged(old.meta_tag)),
            None => (Place::New { parent: folder.clone(), name: parcel.name.to_owned() }, Precondition::MustNotExist),
        };
        let aim = Aim { target: Target { place, modified: source.modified, created: None }, pre, before };
        let sent = if source.size == 0 || (source.size <= remote.caps().max_small && !how.fragments) {
            small(remote, &source, &aim, watch).await
        } else {
            in_fragments(remote, clock, &source, aim, how, watch).await
        };
        match sent {
            // Some services rewrite documents, so the second time it is believed.
            Ok(Arrived { item, right: false }) if wrong.is_none() => wrong = Some(item.id),
            Ok(Arrived { item, right }) => {
                if !right {
                    let file = parcel.path.display();
                    tracing::warn!(%file, "what the service has now is not what was sent");
                }
                watch(source.size);
                return Ok(Sent::Uploaded(with_time(remote, item, source.modified).await?));
            }
            Err(Stop::Here(error)) => return Err(error),
            Err(Stop::Restless) if reading >= READINGS => return Err(changed(parcel.path, false)),
            Err(Stop::Restless) => {
                reading += 1;
                source = Source::new(parcel)?;
            }
            // Somebody else was faster. What was meant is to have this file there, so look again and replace that.
            Err(Stop::Overtaken(error)) if how.no_overwrite || start >= STARTS => {
                return Err(if error.kind == RemoteErrorKind::Exists { taken() } else { error.into() });
            }
            Err(Stop::Overtaken(_)) => start += 1,
            Err(Stop::Lost) if start >= STARTS => {
                return Err(DriveError::Forgotten);
            }
            Err(Stop::Lost) => {
                start += 1;
                clock.sleep(SECOND).await;
            }
        }
    }
}

/// Where a file goes, and what stands there.
struct Aim {
    target: Target,
    pre: Precondition,
    before: Option<Before>,
}

/// What an upload has made.
struct Arrived {
    item: Item,
    /// As far as the service's hash tells, it is what was sent.
    right: bool,
}

impl Arrived {
    /// Whether what stands there now is what was sent, of which this is the hash. Where nothing came of an upload, the old
    /// file stands there, and has been taken for the new one.
    fn of(item: Item, hash: Option<String>, before: Option<&Before>) -> Result<Self, Stop> {
        let theirs = item.content_tag.as_ref().and_then(ContentTag::hash);
        let equal = hash.as_deref().zip(theirs).map(|(ours, theirs)| ours == theirs);
        if equal != Some(true) && before.is_some_and(|before| before.still_stands(&item)) {
            return Err(Stop::Lost);
        }
        Ok(Self { item, right: equal != Some(false) })
    }
}

enum Stop {
    Here(DriveError),
    Overtaken(RemoteError),
    /// The service does not know the session any more, or nothing came of it.
    Lost,
    /// The file was changed before anything of it was sent.
    Restless,
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
    stamp: Stamp,
    errand: Option<(Errand, &'a Unfinished)>,
}

impl<'a> Source<'a> {
    fn new(parcel: &Parcel<'a>) -> DriveResult<Self> {
        let failed = |error: io::Error| DriveError::local("read", parcel.path, error);
        let file = File::open(parcel.path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(DriveError::LocalNotAFile(parcel.path.to_owned()));
        }
        let (size, modified, stamp) = (metadata.size(), modified(&metadata), Stamp::of(&metadata));
        let errand = match parcel.unfinished {
            Some(unfinished) => {
                let path = std::path::absolute(parcel.path).map_err(failed)?;
                let (folder, name) = (parcel.folder.id.to_key(), parcel.name.to_owned());
                Some((Errand { path, size, modified: modified.0, stamp, folder, name }, unfinished))
            }
            None => None,
        };
        Ok(Self { file, path: parcel.path, size, modified, stamp, errand })
    }

    fn read(&self, at: u64, length: u64) -> DriveResult<Bytes> {
        let mut buffer = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut buffer, at).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => changed(self.path, false),
            _ => DriveError::local("read", self.path, error),
        })?;
        Ok(buffer.into())
    }

    /// Reads a part of the file as it was when it was opened, and fails if it is another one now.
    fn read_unchanged(&self, at: u64, length: u64) -> DriveResult<Bytes> {
        let bytes = self.read(at, length)?;
        self.still_the_same()?;
        Ok(bytes)
    }

    /// Fails if the file was changed since it was opened: what was read may be half of each.
    fn still_the_same(&self) -> DriveResult<()> {
        let metadata = self.file.metadata().map_err(|error| DriveError::local("read", self.path, error))?;
        if metadata.size() == self.size && modified(&metadata) == self.modified && Stamp::of(&metadata) == self.stamp {
            return Ok(());
        }
        Err(changed(self.path, false))
    }

    /// Whether a file of the cloud is this one, as far as size and time tell. A service that keeps the time of the file
    /// has the same; one that does not has the time of the upload, and the file is older than that if it was not changed since.
    fn is_same_as(&self, item: &Item, times_are_kept: bool) -> bool {
        let (here, there) = (self.modified.seconds(), item.modified.seconds());
        item.size == self.size && if times_are_kept { here == there } else { here < there }
    }

    fn ticket(&self) -> Option<Kept> {
        self.errand.as_ref().and_then(|(errand, unfinished)| unfinished.find(errand))
    }

    fn keep(&self, ticket: &Ticket, before: Option<&Before>) {
        if let Some((errand, unfinished)) = &self.errand
            && let Err(error) = unfinished.keep(errand, ticket, before)
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

fn changed(path: &Path, visible: bool) -> DriveError {
    DriveError::LocalChanged { path: path.to_owned(), visible }
}

async fn small(remote: &dyn Remote, source: &Source<'_>, aim: &Aim, watch: Watch<'_>) -> Result<Arrived, Stop> {
    watch(0);
    // All of it is read before anything is sent: what was torn by somebody who writes it stays here.
    let bytes = source.read_unchanged(0, source.size).map_err(|error| match error {
        DriveError::LocalChanged { .. } => Stop::Restless,
        error => error.into(),
    })?;
    let hash = remote.caps().hashes.then(|| QuickXorHash::of(&bytes));
    match remote.put_small(&aim.target, bytes, &aim.pre).await {
        // It may have arrived though the answer was lost.
        Err(error) if error.advice == Advice::VerifyThenRetry => Err(Stop::Overtaken(error)),
        other => Arrived::of(other?, hash, None),
    }
}

/// The hash of what was sent so far, where the service tells one to compare it with.
struct Heard(Option<QuickXorHash>);

impl Heard {
    /// Adds what the service has taken: these bytes, from `at` on. Some may have been added before.
    fn add(&mut self, at: u64, bytes: &[u8]) {
        if let Some(hash) = &mut self.0 {
            let known = usize::try_from(hash.length().saturating_sub(at)).unwrap_or(usize::MAX);
            hash.update(bytes.get(known..).unwrap_or_default());
        }
    }

    /// Adds from the file what the service has without having said so here: an earlier try sent it, or an answer was lost.
    fn catch_up(&mut self, source: &Source<'_>, to: u64) -> DriveResult<()> {
        const BLOCK: u64 = 1 << 20;
        while let Some(hash) = &mut self.0
            && hash.length() < to
        {
            let at = hash.length();
            hash.update(&source.read(at, BLOCK.min(to - at))?);
        }
        Ok(())
    }

    /// What an upload has made, compared with all that was sent.
    fn arrived(mut self, source: &Source<'_>, item: Item, before: Option<&Before>) -> Result<Arrived, Stop> {
        let visible = |error| match error {
            DriveError::LocalChanged { .. } => Stop::Here(changed(source.path, true)),
            error => error.into(),
        };
        self.catch_up(source, source.size).and_then(|()| source.still_the_same()).map_err(visible)?;
        Arrived::of(item, self.0.map(|hash| hash.finish_base64()), before)
    }
}

async fn in_fragments(
    remote: &dyn Remote,
    clock: &dyn Clock,
    source: &Source<'_>,
    aim: Aim,
    how: &How,
    watch: Watch<'_>,
) -> Result<Arrived, Stop> {
    let mut heard = Heard(remote.caps().hashes.then(QuickXorHash::new));
    let (mut ticket, before, mut at) = match begun(remote, source, &aim.target).await? {
        Some(Begun::Done(item, before)) => return heard.arrived(source, item, before.as_ref()),
        Some(Begun::At(ticket, before, at)) => (ticket, before, at),
        None => {
            let ticket = remote.begin_upload(&aim.target, source.size, &aim.pre).await?;
            source.keep(&ticket, aim.before.as_ref());
            (ticket, aim.before, 0)
        }
    };
    let (mut fruitless, mut pause) = (0, PAUSE);
    watch(at);
    let done = loop {
        if at >= source.size {
            // All of it is there, perhaps since an earlier try; what is missing is that it becomes visible.
            break match source.still_the_same() {
                Ok(()) => remote.finish_upload(&ticket).await.map(|finished| finished.item).map_err(Stop::from),
                Err(_) => Err(given_up(remote, source, &ticket).await),
            };
        }
        let length = fragment(remote, how, source.size - at);
        let bytes = match heard.catch_up(source, at).and_then(|()| source.read_unchanged(at, length)) {
            Ok(bytes) => bytes,
            Err(DriveError::LocalChanged { .. }) => return Err(given_up(remote, source, &ticket).await),
            Err(error) => return Err(error.into()),
        };
        let error = match remote.put_fragment(&ticket, at, bytes.clone()).await {
            Ok(Ack::Done(finished)) => {
                heard.add(at, &bytes);
                break Ok(finished.item);
            }
            Ok(Ack::Next(next)) if next > at => {
                let taken = usize::try_from(next - at).unwrap_or(usize::MAX).min(bytes.len());
                heard.add(at, &bytes[..taken]);
                (at, fruitless, pause) = (next, 0, PAUSE);
                watch(at);
                // Some services cannot be asked how far an upload is: the next try has to know.
                ticket.acked = next;
                source.keep(&ticket, before.as_ref());
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
    let done = done.and_then(|item| heard.arrived(source, item, before.as_ref()));
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
    Stop::Here(changed(source.path, false))
}

enum Begun {
    Done(Item, Option<Before>),
    At(Ticket, Option<Before>, u64),
}

/// A session of an earlier try that can be gone on with.
async fn begun(remote: &dyn Remote, source: &Source<'_>, target: &Target) -> Result<Option<Begun>, Stop> {
    let (ticket, before) = match source.ticket() {
        Some(Kept { ticket, before, same })
            if same && ticket.target.place == target.place && ticket.size == source.size =>
        {
            (ticket, before)
        }
        Some(Kept { ticket, .. }) => {
            // Some drives have no second session for a file while there is one.
            let _ = remote.abandon_upload(&ticket).await;
            source.forget();
            return Ok(None);
        }
        None => return Ok(None),
    };
    match remote.upload_offset(&ticket).await {
        Ok(Offset::At(at)) if at <= source.size => Ok(Some(Begun::At(ticket, before, at))),
        Ok(Offset::Done(item)) => {
            source.forget();
            Ok(Some(Begun::Done(*item, before)))
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
