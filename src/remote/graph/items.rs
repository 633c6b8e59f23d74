//! Items: look, list, make folders, rename, move, set times, delete.

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join;
use lru::LruCache;
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::wire::{SELECT, WireDrive, WireItem, WirePage, time_text};
use super::{DriveChoice, Graph, encode, encode_id, look};
use crate::base::ids::{DriveId, ItemId};
use crate::remote::classify::Effect;
use crate::remote::http::{Ask, Reply};
use crate::remote::precondition::{SECOND_LOOK, check, still};
use crate::remote::tolerant::{Flawed, is_sound_id};
use crate::remote::{
    Advice, At, DriveIdentity, Item, ItemPage, Link, Patch, Precondition, RemoteError, RemoteErrorKind, RemoteResult,
    Urgency, current_urgency,
};

/// How deep a path is climbed when it has to be built.
const MAX_DEPTH: usize = 256;

impl Graph {
    /// Asks which drive this is. `/me/drive` and never `/me/drives`: the plural lists hidden system drives
    /// of personal accounts and may leave out the real one.
    pub(super) async fn fetch_identity(&self) -> RemoteResult<DriveIdentity> {
        let path = match &self.choice {
            DriveChoice::Me => "/me/drive".to_owned(),
            DriveChoice::Id(id) => format!("/drives/{}", encode_id(DriveId::new(id).as_str())),
        };
        let url = self.http.graph_url(&format!("{path}?$select=id,driveType,owner"))?;
        let root_url = self.http.graph_url(&format!("{path}/root?$select={SELECT}"))?;
        // Side by side: somebody waits for the first look at a new mount.
        let (drive, root) = (Ask::get(url, "find the drive"), look(root_url, "find the root of the drive"));
        let (drive, root) = try_join(self.ask(&drive), self.ask(&root)).await?;
        let (drive, root): (WireDrive, WireItem) = (drive.parse()?, root.parse()?);
        let id = drive.id.as_deref().filter(|id| !id.is_empty() && is_sound_id(id));
        let id = DriveId::new(id.ok_or_else(|| RemoteError::protocol("the service named a drive without an id"))?);
        Ok(DriveIdentity {
            root: ItemId::new(&id, root.item_id(&id)?.id),
            drive: id,
            flavour: drive.drive_type.clone().unwrap_or_default(),
            owner: drive.owner_text(),
        })
    }

    pub(super) async fn stat_item(&self, at: At<'_>) -> RemoteResult<Item> {
        let drive = match at {
            At::Id(id) => &id.drive,
            At::Child(folder, _) => &folder.drive,
        };
        let item = self.fetch_item(at).await?.into_item(drive)?;
        match at {
            At::Child(_, name) if !same_name(&item.name, name) => {
                // By path, an item of another name was answered once in a while.
                tracing::debug!("asked for an item by name, got another");
                Err(RemoteError::new(RemoteErrorKind::NotFound, Advice::GiveUp, "there is no item of that name"))
            }
            _ => Ok(item),
        }
    }

    /// Looks at an item, and believes that it is gone only if the service finds the root of the drive: in bad minutes it
    /// answers 404 to everything, and then an unknown item says nothing about the item. That no item has a name is
    /// believed as it is said.
    pub(super) async fn stat_surely(&self, at: At<'_>) -> RemoteResult<Item> {
        let unknown = match self.stat_item(at).await {
            Err(failure) if failure.kind == RemoteErrorKind::NotFound && matches!(at, At::Id(_)) => failure,
            other => return other,
        };
        let root = async { self.stat_item(At::Id(&self.known().await?.root)).await };
        match root.await {
            Ok(_) => Err(unknown),
            Err(failure) if failure.kind == RemoteErrorKind::NotFound => {
                let context = "cannot look at an item: the service does not find the root of the drive either";
                Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context))
            }
            Err(failure) => Err(failure),
        }
    }

    pub(super) async fn fetch_item(&self, at: At<'_>) -> RemoteResult<WireItem> {
        let select = format!("?$select={SELECT}");
        let url = match at {
            At::Id(id) => self.item_url(id, &select)?,
            At::Child(folder, name) => self.child_url(folder, name, &format!(":{select}"))?,
        };
        let wire: WireItem = self.ask(&look(url, "look at an item")).await?.parse()?;
        if wire.is_deleted() {
            return Err(RemoteError::new(RemoteErrorKind::NotFound, Advice::GiveUp, "the item is in the recycle bin"));
        }
        Ok(wire)
    }

    pub(super) async fn list_page(&self, folder: &ItemId, from: Option<&Link>) -> RemoteResult<ItemPage> {
        // Whoever looks into a folder may open what is in it: with the addresses of the contents at hand that takes one
        // round trip. Unasked-for listings do without: an address is longer than all the rest of an item.
        let with_urls = current_urgency() == Urgency::Interactive;
        let url = match from {
            None => {
                let urls = if with_urls { ",@microsoft.graph.downloadUrl" } else { "" };
                self.item_url(folder, &format!("/children?$top=1000&$select={SELECT}{urls}"))?
            }
            Some(link) => self.http.service_url(link.expose())?,
        };
        let asked = self.clock.monotonic();
        let reply = self.http.signed(&look(url, "list a folder").page()).await?;
        if from.is_some() && matches!(reply.status, StatusCode::BAD_REQUEST | StatusCode::GONE) {
            // "Invalid paging token": only a listing from its beginning helps.
            let mut failure = reply.failure();
            (failure.kind, failure.advice) = (RemoteErrorKind::Expired, Advice::Resync);
            return Err(failure);
        }
        let page: WirePage = reply.success()?.parse()?;
        let wires = page.value.ok_or_else(|| RemoteError::protocol("the service answered a listing without one"))?;
        let mut items = Vec::with_capacity(wires.len());
        let mut flawed = Flawed::default();
        for wire in wires {
            if wire.is_deleted() || flawed.has(wire.flaw()) {
                continue;
            }
            if !wire.is_placed() {
                tracing::warn!("the service listed an item without a name; it cannot be shown");
                continue;
            }
            let url = with_urls.then(|| self.url_of(&wire, asked)).flatten();
            let mut item = wire.into_item(&folder.drive)?;
            if let Some(url) = url {
                self.keep_url(&item, url);
            }
            // It was found in this folder, whatever it says: services omit the parent of shared items.
            item.parent.get_or_insert_with(|| folder.clone());
            items.push(item);
        }
        Ok(ItemPage { items, next: page.next_link })
    }

    pub(super) async fn create_folder(&self, parent: &ItemId, name: &str) -> RemoteResult<Item> {
        let url = self.item_url(parent, "/children")?;
        let body = json!({ "name": name, "folder": {}, "@microsoft.graph.conflictBehavior": "fail" });
        let ask = Ask::new(Method::POST, url, Effect::Once, "make a folder").json(&body).naming();
        let reply = self.ask(&ask).await?;
        match parse_item(&reply)? {
            Some(wire) => wire.into_item(&parent.drive),
            // A success without a body was seen. Asking again would fail with "exists"; looking does not.
            None => self.stat_item(At::Child(parent, name)).await.map_err(unverified),
        }
    }

    /// Renames, moves, sets times.
    ///
    /// Since November 2025 personal drives often answer a PATCH by id with 204 and no body, and some of these
    /// changed nothing, while a PATCH by path works
    /// (<https://github.com/OneDrive/onedrive-api-docs/issues/1917>). So a 204 is looked after, and what was
    /// not done is repeated by path.
    pub(super) async fn patch_item(&self, item: &ItemId, patch: &Patch, pre: &Precondition) -> RemoteResult<Item> {
        if patch.parent.as_ref().is_some_and(|parent| parent.drive != item.drive) {
            let context = "an item cannot be moved to another drive";
            return Err(RemoteError::new(RemoteErrorKind::Unsupported, Advice::GiveUp, context));
        }
        let mut created = None;
        if patch.modified.is_some() {
            // The creation time has to go along or it is overwritten; and every change of times is a new
            // version on business drives, so one that changes nothing is not sent.
            let now = match self.fresh.in_state(item, pre) {
                // What we were told when we sent it; should it have changed since, the precondition says so.
                Some(now) => now,
                None => self.stat_item(At::Id(item)).await?,
            };
            check(pre, &now.meta_tag)?;
            if satisfies(&now, patch) {
                return Ok(now);
            }
            created = Some(now.created).filter(|time| time.0 != 0);
        }
        let body = patch_body(patch, created);
        if body.as_object().is_none_or(Map::is_empty) {
            return self.stat_item(At::Id(item)).await;
        }
        let reply = self.send_patch(self.item_url(item, "")?, &body, patch, pre).await?;
        if let Some(wire) = parse_item(&reply)? {
            return wire.into_item(&item.drive);
        }
        let wire = self.fetch_item(At::Id(item)).await.map_err(unverified)?;
        let path = wire.parent_path().map(str::to_owned);
        let now = wire.into_item(&item.drive)?;
        if satisfies(&now, patch) {
            return Ok(now);
        }
        check(pre, &now.meta_tag)?;
        tracing::debug!("the service accepted a change and did nothing; repeating it by path");
        let address = self.path_url(&now, path.as_deref()).await?;
        let reply = self.send_patch(address, &body, patch, pre).await?;
        if let Some(wire) = parse_item(&reply)? {
            return wire.into_item(&item.drive);
        }
        let now = self.stat_item(At::Id(item)).await.map_err(unverified)?;
        if satisfies(&now, patch) {
            return Ok(now);
        }
        let context = "cannot change an item: the service accepted the change and did nothing, twice";
        Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context))
    }

    async fn send_patch(&self, url: url::Url, body: &Value, patch: &Patch, pre: &Precondition) -> RemoteResult<Reply> {
        let mut ask = Ask::new(Method::PATCH, url, Effect::Once, "change an item").json(body);
        ask.carries_name = patch.name.is_some();
        if let Some(tag) = tag_of(pre) {
            ask = ask.header("if-match", tag)?;
        }
        self.ask(&ask).await
    }

    /// The address of an item by path from the root of its drive.
    ///
    /// The path the service gives is percent-encoded at some times and not at others, so it is used only
    /// where that makes no difference, and built from the names of the folders above elsewhere.
    async fn path_url(&self, item: &Item, given: Option<&str>) -> RemoteResult<url::Url> {
        let mut path = match given.filter(|path| !path.contains('%')) {
            Some(path) => path.split('/').filter(|name| !name.is_empty()).map(encode).collect::<Vec<_>>(),
            None => {
                let mut names = Vec::new();
                let mut above = item.parent.clone();
                while let Some(id) = above.take() {
                    let folder = self.stat_item(At::Id(&id)).await?;
                    if names.len() >= MAX_DEPTH {
                        return Err(RemoteError::protocol("the folders of the drive lead in a circle"));
                    }
                    if folder.parent.is_some() {
                        names.push(encode(&folder.name));
                    }
                    above = folder.parent;
                }
                names.reverse();
                names
            }
        };
        path.push(encode(&item.name));
        if path.iter().any(|name| matches!(name.as_str(), "." | "..")) {
            return Err(RemoteError::protocol("the service named a folder that no path can lead through"));
        }
        self.drive_url(&item.id.drive, &format!("/root:/{}:", path.join("/")))
    }

    /// Deletes. The precondition is compared first, because business drives were seen to refuse every DELETE
    /// that carries one; where they do not, it is sent along as well.
    pub(super) async fn delete_item(&self, item: &ItemId, pre: &Precondition) -> RemoteResult<()> {
        if self.known.get().is_some_and(|known| known.root == *item) {
            return Err(RemoteError::new(RemoteErrorKind::Denied, Advice::GiveUp, "the root cannot be deleted"));
        }
        let tag = tag_of(pre);
        if tag.is_some() && !self.still(item, pre).await? {
            return Ok(());
        }
        let with_tag = tag.filter(|_| self.delete_with_tag.load(Ordering::Relaxed));
        match self.send_delete(item, with_tag).await {
            Err(failure) if failure.kind == RemoteErrorKind::Changed && with_tag.is_some() => {
                if !self.still(item, pre).await? {
                    return Ok(());
                }
                if !with_tag.is_some_and(|tag| self.refused_for_long(item, tag)) {
                    let context = "cannot delete an item: the service refuses the state that it shows";
                    return Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::GiveUp, context));
                }
                tracing::debug!("the service refuses a DELETE with the tag that it names; going without");
                self.delete_with_tag.store(false, Ordering::Relaxed);
                self.send_delete(item, None).await
            }
            Err(failure) if failure.kind == RemoteErrorKind::NotFound => {
                self.clock.sleep(SECOND_LOOK).await;
                if !self.still(item, pre).await? {
                    return Ok(());
                }
                match self.send_delete(item, with_tag).await {
                    Err(failure) if failure.kind == RemoteErrorKind::NotFound => {
                        let context = "cannot delete an item: the service shows it and does not find it";
                        Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context))
                    }
                    other => other,
                }
            }
            other => other,
        }
    }

    /// Whether the service refuses to delete this item in the state that it shows for longer than a replica is behind.
    /// Before that the refusal may be true: somebody may have changed the item, and what is shown be the state before.
    /// A refusal of another state, or of long ago, says nothing about this one.
    fn refused_for_long(&self, item: &ItemId, tag: &str) -> bool {
        const BEHIND: Duration = Duration::from_secs(60);
        const FORGOTTEN: Duration = Duration::from_secs(600);
        let now = self.clock.monotonic();
        let mut refused = self.delete_refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() > 1000 {
            refused.clear();
        }
        let (first, last) = refused.entry((item.clone(), tag.to_owned())).or_insert((now, now));
        if now.since(*last) > FORGOTTEN {
            *first = now;
        }
        *last = now;
        now.since(*first) >= BEHIND
    }

    /// Whether an item is still there, in the state of the precondition; another state is an error.
    async fn still(&self, item: &ItemId, pre: &Precondition) -> RemoteResult<bool> {
        still(&*self.clock, pre, || self.stat_surely(At::Id(item))).await
    }

    async fn send_delete(&self, item: &ItemId, tag: Option<&str>) -> RemoteResult<()> {
        let mut ask = Ask::new(Method::DELETE, self.item_url(item, "")?, Effect::Repeatable, "delete an item");
        if let Some(tag) = tag {
            ask = ask.header("if-match", tag)?;
        }
        self.ask(&ask).await.map(drop)
    }
}

/// Items as the service described them when it took their content, a moment ago: what is to be set next of a new file
/// need not be asked for again. Bounded.
pub(super) struct Fresh {
    table: Mutex<LruCache<ItemId, Item>>,
}

impl Default for Fresh {
    fn default() -> Self {
        const MOST: NonZeroUsize = NonZeroUsize::new(1024).expect("invariant: 1024 is not zero");
        Self { table: Mutex::new(LruCache::new(MOST)) }
    }
}

impl Fresh {
    /// An item was answered to its content.
    pub(super) fn put(&self, item: &Item) {
        self.lock().put(item.id.clone(), item.clone());
    }

    /// The item, if it is known in the very state of a precondition. Given out once: an attempt that fails looks anew.
    fn in_state(&self, item: &ItemId, pre: &Precondition) -> Option<Item> {
        let known = self.lock().pop(item)?;
        (tag_of(pre)? == known.meta_tag.0).then_some(known)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<ItemId, Item>> {
        self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The tag a precondition asks for. An empty one (the service gave none) asks for nothing.
pub(super) fn tag_of(pre: &Precondition) -> Option<&str> {
    match pre {
        Precondition::Unchanged(tag) if !tag.0.is_empty() => Some(&tag.0),
        _ => None,
    }
}

/// The item in a success, `None` if it has no body.
pub(super) fn parse_item(reply: &Reply) -> RemoteResult<Option<WireItem>> {
    if reply.body.iter().all(u8::is_ascii_whitespace) { Ok(None) } else { reply.parse().map(Some) }
}

/// A look that failed after the change it should have verified.
pub(super) fn unverified(mut failure: RemoteError) -> RemoteError {
    failure.advice = Advice::VerifyThenRetry;
    if failure.kind == RemoteErrorKind::NotFound {
        failure.kind = RemoteErrorKind::Unavailable;
    }
    failure
}

/// Whether an item is already what a patch asks for. Times are kept in whole seconds.
fn satisfies(item: &Item, patch: &Patch) -> bool {
    patch.name.as_ref().is_none_or(|name| *name == item.name)
        && patch.parent.as_ref().is_none_or(|parent| item.parent.as_ref() == Some(parent))
        && patch.modified.is_none_or(|time| time.seconds() == item.modified.seconds())
}

fn patch_body(patch: &Patch, created: Option<crate::base::clock::Timestamp>) -> Value {
    let mut body = Map::new();
    if let Some(name) = &patch.name {
        body.insert("name".into(), json!(name));
    }
    if let Some(parent) = &patch.parent {
        body.insert("parentReference".into(), json!({ "driveId": parent.drive.as_str(), "id": parent.id }));
    }
    if let Some(modified) = patch.modified {
        let mut times = Map::new();
        times.insert("lastModifiedDateTime".into(), json!(time_text(modified)));
        if let Some(created) = created {
            times.insert("createdDateTime".into(), json!(time_text(created)));
        }
        body.insert("fileSystemInfo".into(), Value::Object(times));
    }
    Value::Object(body)
}

/// Whether two names are one to the service, as far as a client can tell: without case, and with the
/// ligatures that older personal drives take apart.
fn same_name(one: &str, other: &str) -> bool {
    fn folded(name: &str) -> String {
        name.to_lowercase().replace('æ', "ae").replace('œ', "oe").replace('ß', "ss")
    }
    folded(one) == folded(other)
}
