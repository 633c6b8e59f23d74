//! Microsoft Graph v1.0 as a [`Remote`].
//!
//! This module only translates: one method, the requests it takes, the answer in our words. It never
//! retries a refused request on its own account and never waits for the service's mood; the layers do. What
//! it does on its own is what only it can know: quirks of the protocol, each named where it is handled.
//!
//! Always true here: a page chain is handed on with its links untouched; a range of bytes is handed out only
//! with proof that it belongs to the version asked for (see `content`); an item that exists is changed only
//! under the precondition given.

mod changes;
mod content;
mod extras;
mod facts;
mod former;
mod items;
mod upload;
mod wire;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::OnceCell;
use url::Url;

use self::items::Fresh;
use super::classify::Effect;
use super::content::DownloadUrls;
use super::http::{Ask, Drawn, Http};
use super::{
    Ack, At, Body, Caps, ChangePage, ChangeSource, DriveIdentity, Finished, FragmentRule, Item, ItemPage, Link, Offset,
    Outgoing, Patch, Precondition, PreconditionStrength, Quota, Remote, RemoteError, RemoteResult, Source, Start,
    Target, Ticket,
};
use crate::base::clock::{Clock, Mono};
use crate::base::ids::{ContentTag, DriveId, ItemId};

/// The unit of fragments: 320 KiB
/// (<https://learn.microsoft.com/onedrive/developer/rest-api/api/driveitem_createuploadsession>).
pub const FRAGMENT_UNIT: u64 = 320 * 1024;

/// The longest fragment: a request must stay below 60 MiB.
pub const FRAGMENT_MAX: u64 = 191 * FRAGMENT_UNIT;

/// The largest content for one PUT. The service takes more, but a request of this size is still worth
/// repeating as a whole.
const MAX_SMALL: u64 = 4 << 20;

/// The largest file the service keeps: 250 GB.
const MAX_FILE: u64 = 250_000_000_000;

/// Without it, shortcuts of personal drives are left out
/// (<https://github.com/OneDrive/onedrive-api-docs/issues/1891>). It must not change during a chain of
/// changes, so every request that shows items carries it.
const PREFER: &str = "Include-Feature=AddToOneDrive";

/// Everything but letters, digits and `-._~` is encoded in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Ids keep the exclamation mark that all of them have, as the service itself writes them.
const ID: &AsciiSet = &SEGMENT.remove(b'!');

/// Which drive to work with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DriveChoice {
    /// The default drive of the signed-in account.
    Me,
    /// The drive with this id.
    Id(String),
}

/// A OneDrive behind Microsoft Graph. No retries, no limits: see [`super::stack`].
pub struct Graph {
    http: Http,
    clock: Arc<dyn Clock>,
    choice: DriveChoice,
    caps: Caps,
    known: OnceCell<DriveIdentity>,
    urls: DownloadUrls,
    fresh: Fresh,
    /// Cleared when a DELETE with a precondition was refused for a minute that was seen to hold.
    delete_with_tag: AtomicBool,
    /// When that was met first.
    delete_refused: Mutex<HashMap<(ItemId, String), (Mono, Mono)>>,
    session_with_tag: bool,
}

/// What can be chosen about a Graph drive.
#[derive(Clone, Debug)]
pub struct GraphOptions {
    /// Which drive.
    pub drive: DriveChoice,
    /// The longest fragment of an upload, in bytes; rounded down to what the service takes.
    pub fragment: Option<u64>,
    /// Whether an upload session carries its precondition itself besides being compared just before. Off by
    /// default: business drives were seen to fail such sessions at their end, with a correct tag
    /// (<https://github.com/OneDrive/onedrive-api-docs/issues/1716>).
    pub session_with_tag: bool,
}

impl Graph {
    /// A drive behind this door.
    pub fn new(http: Http, clock: Arc<dyn Clock>, options: GraphOptions) -> Self {
        let max =
            options.fragment.unwrap_or(FRAGMENT_MAX).clamp(FRAGMENT_UNIT, FRAGMENT_MAX) / FRAGMENT_UNIT * FRAGMENT_UNIT;
        let caps = Caps {
            changes: ChangeSource::Native,
            precondition: PreconditionStrength::Checked,
            hashes: true,
            set_times: true,
            fragment: FragmentRule::Multiple { unit: FRAGMENT_UNIT, max },
            name_clash: false,
            max_small: MAX_SMALL,
            max_file: MAX_FILE,
            max_path: Some(400),
        };
        Self {
            http,
            clock,
            choice: options.drive,
            caps,
            known: OnceCell::new(),
            urls: DownloadUrls::default(),
            fresh: Fresh::default(),
            delete_with_tag: AtomicBool::new(true),
            delete_refused: Mutex::default(),
            session_with_tag: options.session_with_tag,
        }
    }

    /// The drive, asked for once.
    async fn known(&self) -> RemoteResult<&DriveIdentity> {
        self.known.get_or_try_init(|| self.fetch_identity()).await
    }

    /// Whether this is known to be a personal drive; `false` while nobody asked.
    fn is_personal(&self, drive: &DriveId) -> bool {
        self.known.get().is_some_and(|known| known.drive == *drive && known.flavour == "personal")
    }

    /// Asks Graph and expects success.
    async fn ask(&self, ask: &Ask) -> RemoteResult<super::http::Reply> {
        self.http.signed(ask).await?.success()
    }

    /// The URL of an item, with what follows it: `""`, `"/children?.."`, `":/name:/content"`.
    fn item_url(&self, item: &ItemId, rest: &str) -> RemoteResult<Url> {
        if item.id.is_empty() {
            return Err(RemoteError::protocol("an item without an id cannot be asked for"));
        }
        let (drive, id) = (encode_id(item.drive.as_str()), encode_id(&item.id));
        self.http.graph_url(&format!("/drives/{drive}/items/{id}{rest}"))
    }

    /// The URL of the child of a folder, addressed by name; `rest` begins with the colon that ends the name.
    fn child_url(&self, folder: &ItemId, name: &str, rest: &str) -> RemoteResult<Url> {
        if matches!(name, "" | "." | "..") || name.contains('/') {
            return Err(RemoteError::new(
                super::RemoteErrorKind::BadName,
                super::Advice::GiveUp,
                "this is no name for an item",
            ));
        }
        self.item_url(folder, &format!(":/{}{rest}", encode(name)))
    }

    /// The URL of a drive, with what follows it.
    fn drive_url(&self, drive: &DriveId, rest: &str) -> RemoteResult<Url> {
        self.http.graph_url(&format!("/drives/{}{rest}", encode_id(drive.as_str())))
    }
}

/// A look at items, with the header that shows all of them.
fn look(url: Url, what: &'static str) -> Ask {
    let mut ask = Ask::new(reqwest::Method::GET, url, Effect::Reads, what);
    ask.headers.insert("prefer", reqwest::header::HeaderValue::from_static(PREFER));
    ask
}

/// A path segment, encoded.
fn encode(segment: &str) -> String {
    utf8_percent_encode(segment, SEGMENT).to_string()
}

fn encode_id(id: &str) -> String {
    utf8_percent_encode(id, ID).to_string()
}

#[async_trait]
impl Remote for Graph {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn stand_for(&self, drive: &DriveIdentity) {
        let _ = self.known.set(drive.clone());
    }

    async fn identity(&self) -> RemoteResult<DriveIdentity> {
        let identity = self.fetch_identity().await?;
        let _ = self.known.set(identity.clone());
        Ok(identity)
    }

    async fn stat(&self, at: At<'_>) -> RemoteResult<Item> {
        self.stat_surely(at).await
    }

    async fn list(&self, folder: &ItemId, from: Option<&Link>) -> RemoteResult<ItemPage> {
        self.list_page(folder, from).await
    }

    async fn changes(&self, from: Start<'_>) -> RemoteResult<ChangePage> {
        self.change_page(from).await
    }

    async fn read(&self, item: &ItemId, tag: &ContentTag, range: Range<u64>) -> RemoteResult<Body> {
        self.read_range(item, tag, range).await
    }

    async fn former(&self, item: &ItemId, size: u64, hash: &str) -> RemoteResult<Option<Bytes>> {
        self.former_bytes(item, size, hash).await
    }

    async fn put_small(&self, to: &Target, bytes: Outgoing, pre: &Precondition) -> RemoteResult<Item> {
        self.put_whole(to, bytes, pre).await
    }

    async fn begin_upload(&self, to: &Target, size: u64, pre: &Precondition) -> RemoteResult<Ticket> {
        self.open_session(to, size, pre).await
    }

    async fn put_fragment(&self, ticket: &Ticket, at: u64, bytes: Outgoing) -> RemoteResult<Ack> {
        let length = bytes.len() as u64;
        self.send_fragment(ticket, at..at + length, |ask| ask.bytes(bytes)).await
    }

    async fn put_fragment_of(&self, ticket: &Ticket, range: Range<u64>, source: Arc<dyn Source>) -> RemoteResult<Ack> {
        self.send_fragment(ticket, range.clone(), |ask| ask.drawn(Drawn::new(source, range))).await
    }

    async fn finish_upload(&self, ticket: &Ticket) -> RemoteResult<Finished> {
        self.find_result(ticket).await
    }

    async fn upload_offset(&self, ticket: &Ticket) -> RemoteResult<Offset> {
        self.session_offset(ticket).await
    }

    async fn abandon_upload(&self, ticket: &Ticket) -> RemoteResult<()> {
        self.drop_session(ticket).await
    }

    async fn make_folder(&self, parent: &ItemId, name: &str) -> RemoteResult<Item> {
        self.create_folder(parent, name).await
    }

    async fn change(&self, item: &ItemId, patch: &Patch, pre: &Precondition) -> RemoteResult<Item> {
        self.patch_item(item, patch, pre).await
    }

    async fn delete(&self, item: &ItemId, pre: &Precondition) -> RemoteResult<()> {
        self.delete_item(item, pre).await
    }

    async fn quota(&self) -> RemoteResult<Quota> {
        let drive = self.known().await?.drive.clone();
        let url = self.drive_url(&drive, "?$select=id,quota")?;
        let reply = self.ask(&Ask::get(url, "ask for the space of the drive")).await?;
        Ok(reply.parse::<wire::WireDrive>()?.quota())
    }
}

#[cfg(any(test, feature = "fuzzing"))]
/// The parsers of this module, for [`crate::fuzzing`].
pub(crate) mod fuzzing {
    pub(crate) use super::changes::fuzz as page;
    pub(crate) use super::extras::fuzz as extras;
    pub(crate) use super::wire::fuzz as item;
    pub(crate) use crate::remote::content::fuzz as content_range;
}

#[cfg(test)]
mod tests;
