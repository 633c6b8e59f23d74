//! The OneDrive of Live Connect v5.0, and its upload protocol BITS, as a [`Remote`].
//!
//! The protocol of python-onedrive. It has no feed of changes, no hashes, no preconditions, no addresses by path, and two
//! objects of one folder may have the same name. So this module looks where Graph would refuse, and makes what Graph would
//! tell: changes come from comparing listings (`changes`), a version of a file is known by its times and its size
//! (`wire`), and an upload whose commit got no answer is looked for by name, size and time (`bits`).
//!
//! Always true here: what exists is looked at before it is changed, and between the look and the change lies only the
//! change itself; an error and an incomplete listing say nothing about what is gone; the access token goes to the API and
//! to the BITS host, in a header.
//!
//! Public sources: <https://msdn.microsoft.com/en-us/library/dn659752.aspx> (REST reference),
//! <https://gist.github.com/rgregg/37ba8929768a62131e85> (uploads by BITS), <https://github.com/mk-fg/python-onedrive>.

mod bits;
mod changes;
mod content;
mod extras;
mod items;
mod snapshot;
mod upload;
mod wire;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use tokio::sync::OnceCell;
use url::Url;

use self::bits::Sessions;
use self::changes::Followed;
use self::items::Names;
use super::classify::Effect;
use super::content::DownloadUrls;
use super::http::{Ask, Http, Reply};
use super::{
    Ack, At, Body, Caps, ChangePage, ChangeSource, DriveIdentity, Finished, FragmentRule, Item, ItemPage, Link, Offset,
    Outgoing, Patch, Precondition, PreconditionStrength, Quota, Remote, RemoteError, RemoteResult, Start, Target,
    Ticket,
};
use crate::base::clock::Clock;
use crate::base::ids::{ContentTag, ItemId};

/// A drive behind Live Connect.
///
/// The service was closed on 2018-11-01; what speaks this protocol now is another's server, so every address can be
/// chosen. The access token goes to the origin and to the BITS host, and to no other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveService {
    /// The base URL without version: `https://apis.live.net`, `http://127.0.0.1:1234`.
    pub origin: String,
    /// The base URL of uploads by BITS; `{cid}` in it stands for the account number, 16 lower-case hexadecimal digits.
    pub bits: String,
    /// Content of more bytes than this goes by BITS, everything else with one PUT. Whoever wants BITS for less asks
    /// for it with [`super::Remote::begin_upload`], which takes any content but an empty one.
    pub bits_above: u64,
    /// Whether every upload by BITS gets a new access token just before it is committed, however fresh the present
    /// one is. Off by default: such commits were seen to fail for an old token, and sessions to be lost by a new one
    /// (<https://github.com/mk-fg/python-onedrive/issues/39>).
    pub refresh_before_commit: bool,
    /// The language of names that the service translates, such as those of the canonical folders. One is pinned,
    /// because "Documents" would change its name with the language of the account.
    pub locale: String,
}

impl Default for LiveService {
    fn default() -> Self {
        Self {
            origin: "https://apis.live.net".into(),
            bits: "https://cid-{cid}.users.storage.live.com".into(),
            bits_above: 95_000_000,
            refresh_before_commit: false,
            locale: "en-US".into(),
        }
    }
}

/// The largest content of one request: the service refuses 100 MB.
const MAX_PUT: u64 = 100_000_000;

/// The largest file: 10 GiB, in the last years of the service.
const MAX_FILE: u64 = 10 << 30;

/// The longest fragment that is sent if nobody chose another. No document names a limit; this is what clients sent.
const FRAGMENT: u64 = 10 << 20;

/// Everything but letters, digits and `-._~` is encoded in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Ids keep the exclamation mark that all of them have.
const ID: &AsciiSet = &SEGMENT.remove(b'!');

/// How many renames of ours are remembered.
const MAX_RENAMES: usize = 4096;

/// A OneDrive behind Live Connect. No retries, no limits: see [`super::stack`].
pub struct Live {
    http: Http,
    clock: Arc<dyn Clock>,
    service: LiveService,
    fragment: u64,
    caps: Caps,
    known: OnceCell<DriveIdentity>,
    bits: OnceCell<Http>,
    urls: DownloadUrls,
    names: Names,
    sessions: Sessions,
    followed: Followed,
    /// For items that we have renamed ourselves: the versions of their bytes under which they were known before.
    renamed: Mutex<HashMap<ItemId, Vec<ContentTag>>>,
}

impl Live {
    /// A drive behind this door. `fragment` is the longest fragment, in bytes; `incarnation` is a number that no other
    /// process has.
    pub fn new(
        http: Http,
        clock: Arc<dyn Clock>,
        service: LiveService,
        fragment: Option<u64>,
        incarnation: u64,
    ) -> Self {
        let caps = Caps {
            changes: ChangeSource::Listed,
            precondition: PreconditionStrength::Checked,
            hashes: false,
            set_times: false,
            fragment: FragmentRule::Any,
            name_clash: true,
            max_small: service.bits_above.min(MAX_PUT - 1),
            max_file: MAX_FILE,
            max_path: None,
        };
        Self {
            http,
            clock,
            service,
            fragment: fragment.unwrap_or(FRAGMENT).max(1),
            caps,
            known: OnceCell::new(),
            bits: OnceCell::new(),
            urls: DownloadUrls::default(),
            names: Names::default(),
            sessions: Sessions::default(),
            followed: Followed::new(incarnation),
            renamed: Mutex::default(),
        }
    }

    /// The drive, asked for once.
    async fn known(&self) -> RemoteResult<&DriveIdentity> {
        self.known.get_or_try_init(|| self.fetch_identity()).await
    }

    /// Asks the service and expects success.
    async fn ask(&self, ask: &Ask) -> RemoteResult<Reply> {
        self.http.signed(ask).await?.success()
    }

    /// A URL of the API. `path` begins without a slash and is encoded; `query` is what follows the pinned language.
    fn url(&self, path: &str, query: &str) -> RemoteResult<Url> {
        let locale = utf8_percent_encode(&self.service.locale, SEGMENT);
        let separator = if query.is_empty() { "" } else { "&" };
        self.http.url(&format!("/v5.0/{path}?locale={locale}{separator}{query}"))
    }

    /// The URL of an item, with what follows it in the path (`""`, `"/files"`).
    fn item_url(&self, item: &ItemId, rest: &str, query: &str) -> RemoteResult<Url> {
        if item.id.is_empty() {
            return Err(RemoteError::protocol("an item without an id cannot be asked for"));
        }
        // Whoever made the id may have another spelling of it.
        let id = wire::parse_id(&item.id, &item.drive).id;
        self.url(&format!("{}{rest}", encode_id(&id)), query)
    }

    /// The versions under which the bytes of an item are known that has this one.
    fn versions_of(&self, item: &ItemId, tag: &ContentTag) -> Vec<ContentTag> {
        let mut tags = vec![tag.clone()];
        if let Some(former) = lock(&self.renamed).get(item).filter(|known| known.first() == Some(tag)) {
            tags.extend(former.iter().skip(1).cloned());
        }
        tags
    }

    /// Remembers that an item was renamed by ourselves, which moves its version and not its bytes: the version before
    /// was looked at just before, and differs in nothing but the time at which the service saw a change.
    fn note_renamed(&self, before: &Item, after: &Item) {
        let (Some(old), Some(new)) = (&before.content_tag, &after.content_tag) else { return };
        if before.id != after.id || !old.differs_by_rename_only(new) {
            return;
        }
        let mut former = self.versions_of(&before.id, old);
        former.truncate(8);
        former.insert(0, new.clone());
        let mut renamed = lock(&self.renamed);
        if renamed.len() >= MAX_RENAMES {
            renamed.clear();
        }
        renamed.insert(after.id.clone(), former);
    }
}

/// A look at something.
fn look(url: Url, what: &'static str) -> Ask {
    Ask::new(Method::GET, url, Effect::Reads, what)
}

/// A path segment, encoded.
fn encode(segment: &str) -> String {
    utf8_percent_encode(segment, SEGMENT).to_string()
}

fn encode_id(id: &str) -> String {
    utf8_percent_encode(id, ID).to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Remote for Live {
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
        let item = self.stat_surely(at).await?;
        self.followed.note(&item);
        Ok(item)
    }

    async fn list(&self, folder: &ItemId, from: Option<&Link>) -> RemoteResult<ItemPage> {
        let page = self.list_page(folder, from).await?;
        self.followed.note_interest(folder, self.clock.monotonic());
        for item in &page.items {
            self.followed.note(item);
        }
        Ok(page)
    }

    async fn changes(&self, from: Start<'_>) -> RemoteResult<ChangePage> {
        self.change_page(from).await
    }

    async fn read(&self, item: &ItemId, tag: &ContentTag, range: Range<u64>) -> RemoteResult<Body> {
        self.read_range(item, tag, range).await
    }

    async fn put_small(&self, to: &Target, bytes: Outgoing, pre: &Precondition) -> RemoteResult<Item> {
        let _busy = self.followed.busy_at(&to.place);
        let item = self.put_whole(to, bytes, pre).await?;
        self.followed.note(&item);
        Ok(item)
    }

    async fn begin_upload(&self, to: &Target, size: u64, pre: &Precondition) -> RemoteResult<Ticket> {
        self.open_session(to, size, pre).await
    }

    async fn put_fragment(&self, ticket: &Ticket, at: u64, bytes: Outgoing) -> RemoteResult<Ack> {
        self.send_fragment(ticket, at, bytes).await
    }

    async fn finish_upload(&self, ticket: &Ticket) -> RemoteResult<Finished> {
        let _busy = self.followed.busy_at(&ticket.target.place);
        let finished = self.commit(ticket).await?;
        self.followed.note(&finished.item);
        Ok(finished)
    }

    async fn upload_offset(&self, ticket: &Ticket) -> RemoteResult<Offset> {
        self.session_offset(ticket).await
    }

    async fn abandon_upload(&self, ticket: &Ticket) -> RemoteResult<()> {
        self.cancel(ticket).await
    }

    async fn make_folder(&self, parent: &ItemId, name: &str) -> RemoteResult<Item> {
        let item = self.create_folder(parent, name).await?;
        self.followed.note(&item);
        Ok(item)
    }

    async fn change(&self, item: &ItemId, patch: &Patch, pre: &Precondition) -> RemoteResult<Item> {
        let _busy = self.followed.busy(item);
        let changed = self.change_item(item, patch, pre).await?;
        self.followed.note(&changed);
        Ok(changed)
    }

    async fn delete(&self, item: &ItemId, pre: &Precondition) -> RemoteResult<()> {
        let _busy = self.followed.busy(item);
        self.delete_item(item, pre).await?;
        self.followed.note_deleted(item);
        Ok(())
    }

    async fn quota(&self) -> RemoteResult<Quota> {
        let url = self.url("me/skydrive/quota", "")?;
        let reply = self.ask(&look(url, "ask for the space of the drive")).await?;
        Ok(reply.parse::<wire::WireQuota>()?.quota())
    }
}

#[cfg(any(test, feature = "fuzzing"))]
/// The parsers of this module, for [`crate::fuzzing`].
pub(crate) mod fuzzing {
    pub(crate) use super::bits::fuzz as packet;
    pub(crate) use super::wire::fuzz as object;
}

#[cfg(test)]
mod tests;
