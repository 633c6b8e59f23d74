//! Items: look, list, make folders, rename, move, delete.
//!
//! Nothing here is addressed by path: a name is looked up by listing its folder. Pages of a listing are cut by count, so
//! a deletion between two pages would shift an object out of both; each page therefore begins with the last object of the
//! one before, and a listing in which it has moved is begun anew.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::try_join;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::upload::sendable;
use super::wire::{Hint, WireList, WireObject, WireUser, parse_id};
use super::{Live, lock, look};
use crate::base::clock::Mono;
use crate::base::ids::{DriveId, ItemId};
use crate::base::name::passing_name;
use crate::base::secret::Secret;
use crate::remote::classify::{Effect, Refusal};
use crate::remote::http::{Ask, Reply};
use crate::remote::kept::{Room, Weigh as _};
use crate::remote::precondition::{SECOND_LOOK, check, still};
use crate::remote::tolerant::Flawed;
use crate::remote::{
    Advice, At, DriveIdentity, Item, ItemKind, ItemPage, Link, Patch, Precondition, RemoteError, RemoteErrorKind,
    RemoteResult,
};

/// Objects per page of a listing.
pub(super) const PAGE: u64 = 500;

/// A page of fewer objects is the last. Clients were seen to ask for pages of a hundred and to stop at a shorter one, so
/// that much the service gives for certain; whether it gives as many as are asked for here nobody has said.
const FULL: u64 = 100;

/// The most pages of a listing. With a hundred objects a page that is twice the room there is for them.
const MAX_PAGES: usize = 3000;

/// How often a listing that shifts under our hands is begun anew.
const LISTINGS: usize = 5;

/// For how long a listing answers whether a name is free, so that a thousand new files do not take a thousand listings.
/// The service is asked to refuse a name that is taken as well.
const NAMES_LIFE: Duration = Duration::from_secs(5);

/// Folders whose names are remembered.
const MAX_FOLDERS: usize = 64;

/// Names that folders have, as of a moment ago.
#[derive(Default)]
pub(super) struct Names {
    folders: Mutex<HashMap<ItemId, (Mono, HashSet<String>)>>,
}

impl Names {
    /// Whether a name was free a moment ago; `None` if nobody looked.
    fn was_free(&self, folder: &ItemId, name: &str, now: Mono) -> Option<bool> {
        let folders = lock(&self.folders);
        let (at, names) = folders.get(folder)?;
        (now.since(*at) < NAMES_LIFE).then(|| !names.contains(&folded(name)))
    }

    fn put(&self, folder: &ItemId, items: &[Item], now: Mono) {
        let mut folders = lock(&self.folders);
        folders.retain(|_, (at, _)| now.since(*at) < NAMES_LIFE);
        if folders.len() < MAX_FOLDERS {
            folders.insert(folder.clone(), (now, items.iter().map(|item| folded(&item.name)).collect()));
        }
    }

    /// We gave a name ourselves.
    pub(super) fn taken(&self, folder: &ItemId, name: &str) {
        if let Some((_, names)) = lock(&self.folders).get_mut(folder) {
            names.insert(folded(name));
        }
    }
}

/// Items as they were listed, with what folders say of themselves.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) items: Vec<Item>,
    pub(super) hints: HashMap<ItemId, Hint>,
}

/// Objects as they come, page by page.
#[derive(Default)]
struct Growing {
    listed: Listed,
    seen: HashSet<ItemId>,
    flawed: Flawed,
    room: Room,
}

impl Growing {
    fn add(&mut self, folder: &ItemId, objects: Vec<WireObject>) -> RemoteResult<()> {
        for object in objects {
            if self.flawed.has(object.flaw()) {
                continue;
            }
            let hint = object.hint();
            let mut item = object.into_item(&folder.drive)?;
            // It was found in this folder, whatever it says: what others share lies elsewhere, too.
            if item.parent.as_ref() != Some(folder) {
                item.parent = Some(folder.clone());
            }
            if !self.seen.insert(item.id.clone()) {
                continue;
            }
            let is_folder = item.kind == ItemKind::Folder;
            let ids = item.id.weight() * if is_folder { 2 } else { 1 };
            self.room.take(item.weight() + ids, "list a folder")?;
            if is_folder {
                self.listed.hints.insert(item.id.clone(), hint);
            }
            self.listed.items.push(item);
        }
        Ok(())
    }
}

/// Where a page of a listing begins: how many objects came before it, and the last of them.
struct Position {
    after: u64,
    last: String,
}

impl Position {
    fn link(&self) -> Link {
        Secret::new(format!("{} {}", self.after, self.last))
    }

    fn of(link: &Link) -> RemoteResult<Self> {
        let parts = link.expose().split_once(' ').and_then(|(after, last)| Some((after.parse().ok()?, last)));
        let (after, last) = parts.ok_or_else(|| RemoteError::protocol("this is no page of a listing"))?;
        Ok(Self { after, last: last.to_owned() })
    }
}

/// The answer to a look at something by its identity, if the service takes that for one.
pub(super) fn identified(reply: Reply) -> RemoteResult<Reply> {
    let refused = reply.status == StatusCode::BAD_REQUEST
        && Refusal::from_body(&reply.body).codes.iter().any(|code| code == "request_url_invalid");
    reply.success().map_err(|mut failure| {
        if refused {
            failure.kind = RemoteErrorKind::NotAnId;
        }
        failure
    })
}

impl Live {
    pub(super) async fn fetch_identity(&self) -> RemoteResult<DriveIdentity> {
        let user = look(self.url("me", "")?, "ask who is signed in");
        let root = look(self.url("me/skydrive", "")?, "find the root of the drive");
        let (user, root) = try_join(self.ask(&user), self.ask(&root)).await?;
        let (user, root): (WireUser, WireObject) = (user.parse()?, root.parse()?);
        let drive = user.drive()?;
        Ok(DriveIdentity {
            root: root.item_id(&drive)?,
            drive,
            flavour: "personal".to_owned(),
            owner: user.owner_text(),
        })
    }

    /// Looks at an item by its id.
    pub(super) async fn fetch(&self, item: &ItemId) -> RemoteResult<Item> {
        let url = self.item_url(item, "", "")?;
        let reply = identified(self.http.signed(&look(url, "look at an item")).await?)?;
        let object: WireObject = reply.parse()?;
        object.into_item(&item.drive)
    }

    pub(super) async fn stat_item(&self, at: At<'_>) -> RemoteResult<Item> {
        match at {
            At::Id(id) => self.fetch(id).await,
            At::Child(folder, name) => self
                .child(folder, name)
                .await?
                .ok_or_else(|| RemoteError::new(RemoteErrorKind::NotFound, Advice::GiveUp, "no item has that name")),
        }
    }

    /// Looks at an item, and believes that it is gone only if the service finds the root of the drive: a service that is
    /// ill may find nothing at all, and then an unknown item says nothing about the item. The root itself is never gone.
    pub(super) async fn stat_surely(&self, at: At<'_>) -> RemoteResult<Item> {
        let unknown = match self.stat_item(at).await {
            Err(failure) if failure.kind == RemoteErrorKind::NotFound && matches!(at, At::Id(_)) => failure,
            other => return other,
        };
        let root = &self.known().await?.root;
        match self.fetch(root).await {
            Ok(found) if matches!(at, At::Id(asked) if asked == root) => Ok(found),
            Ok(_) => Err(unknown),
            Err(failure) if failure.kind == RemoteErrorKind::NotFound => {
                let context = "cannot look at an item: the service does not find the root of the drive either";
                Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context))
            }
            Err(failure) => Err(failure),
        }
    }

    /// The child of a folder by name. Of several the one that has exactly this spelling, and of several of these the
    /// oldest, which is the one with the lowest number.
    pub(super) async fn child(&self, folder: &ItemId, name: &str) -> RemoteResult<Option<Item>> {
        let items = self.list_whole(folder).await?.items;
        self.names.put(folder, &items, self.clock.monotonic());
        let same = items.into_iter().filter(|item| folded(&item.name) == folded(name));
        Ok(same.min_by_key(|item| (item.name != name, item.id.id.len(), item.id.id.clone())))
    }

    /// Fails with [`RemoteErrorKind::Exists`] if a name is taken, as far as a look can tell. `but` may have it.
    pub(super) async fn name_is_free(&self, folder: &ItemId, name: &str, but: Option<&ItemId>) -> RemoteResult<()> {
        if self.names.was_free(folder, name, self.clock.monotonic()) == Some(true) {
            return Ok(());
        }
        match self.child(folder, name).await? {
            Some(found) if Some(&found.id) != but => {
                Err(RemoteError::new(RemoteErrorKind::Exists, Advice::GiveUp, "the name is taken"))
            }
            _ => Ok(()),
        }
    }

    /// A page of a listing.
    pub(super) async fn list_page(&self, folder: &ItemId, from: Option<&Link>) -> RemoteResult<ItemPage> {
        let position = from.map(Position::of).transpose()?;
        let (objects, next) = self.page::<WireObject>(folder, position, WireObject::item_id, Ask::page).await?;
        let mut growing = Growing::default();
        growing.add(folder, objects)?;
        Ok(ItemPage { items: growing.listed.items, next: next.map(|position| position.link()) })
    }

    /// A whole listing. It is complete: what is not in it was not there while it was taken.
    ///
    /// Fails with [`RemoteErrorKind::Protocol`] if it has more pages or objects than any folder.
    pub(super) async fn list_whole(&self, folder: &ItemId) -> RemoteResult<Listed> {
        for _ in 0..LISTINGS {
            match self.list_through(folder).await {
                Err(failure) if failure.kind == RemoteErrorKind::Expired => {}
                other => return other,
            }
        }
        let context = "cannot list a folder: it changes faster than it can be listed";
        Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context))
    }

    /// The same, without another beginning.
    async fn list_through(&self, folder: &ItemId) -> RemoteResult<Listed> {
        let mut growing = Growing::default();
        let mut position = None;
        for _ in 0..MAX_PAGES {
            let (page, next) = self.page::<WireObject>(folder, position, WireObject::item_id, Ask::page).await?;
            growing.add(folder, page)?;
            if next.is_none() {
                return Ok(growing.listed);
            }
            position = next;
        }
        Err(RemoteError::protocol("cannot list a folder: it has no end"))
    }

    /// A page of objects of any shape, for whoever wants more of them than we do.
    pub(super) async fn raw_page(
        &self,
        folder: &ItemId,
        from: Option<&Link>,
    ) -> RemoteResult<(Vec<serde_json::Value>, Option<Link>)> {
        let id_of = |value: &serde_json::Value, asked: &DriveId| {
            let id = value.get("id").and_then(serde_json::Value::as_str);
            id.map(|id| parse_id(id, asked)).ok_or_else(|| RemoteError::protocol("the service listed no object"))
        };
        let (objects, next) = self.page(folder, from.map(Position::of).transpose()?, id_of, Ask::told).await?;
        Ok((objects, next.map(|position| position.link())))
    }

    /// A page, and where the next begins. A position that has moved is [`RemoteErrorKind::Expired`].
    async fn page<T: serde::de::DeserializeOwned>(
        &self,
        folder: &ItemId,
        from: Option<Position>,
        id_of: impl Fn(&T, &DriveId) -> RemoteResult<ItemId>,
        expecting: impl Fn(Ask) -> Ask,
    ) -> RemoteResult<(Vec<T>, Option<Position>)> {
        // The last object of the page before is asked for again.
        let begin = from.as_ref().map_or(0, |from| from.after.saturating_sub(1));
        let url = self.item_url(folder, "/files", &format!("pretty=false&limit={PAGE}&offset={begin}"))?;
        let reply = identified(self.http.signed(&expecting(look(url, "list a folder"))).await?)?;
        let list: WireList<T> = reply.parse()?;
        let mut objects =
            list.data.ok_or_else(|| RemoteError::protocol("the service answered a listing without one"))?;
        let came = objects.len() as u64;
        if let Some(from) = &from {
            let first = objects.first().and_then(|first| id_of(first, &folder.drive).ok());
            if first.is_none_or(|first| first.id != from.last) {
                // Only a listing from its beginning helps.
                let context = "cannot list a folder further: it has changed meanwhile";
                return Err(RemoteError::new(RemoteErrorKind::Expired, Advice::Resync, context));
            }
            objects.remove(0);
        }
        // What the service says of further pages is not believed. Where the next one begins is told by the last object
        // that has an identity; what stands after it has none, and is left out with the others of its kind.
        let next = if came >= FULL {
            let ids = objects.iter().enumerate().rev();
            let mut sound = ids.filter_map(|(at, object)| Some((at, id_of(object, &folder.drive).ok()?)));
            let (at, last) = sound.next().ok_or_else(|| RemoteError::protocol("the service listed no object"))?;
            if from.is_some_and(|from| from.last == last.id) {
                // The next one would begin with it again, and so on for ever.
                return Err(RemoteError::protocol("cannot list a folder: it goes on without getting further"));
            }
            let skipped = (objects.len() - 1 - at) as u64;
            Some(Position { after: begin + came - skipped, last: last.id })
        } else {
            None
        };
        Ok((objects, next))
    }

    pub(super) async fn create_folder(&self, parent: &ItemId, name: &str) -> RemoteResult<Item> {
        sendable(name)?;
        self.name_is_free(parent, name, None).await?;
        let body = json!({ "name": name });
        let ask = Ask::new(Method::POST, self.item_url(parent, "", "")?, Effect::Once, "make a folder");
        let reply = self.ask(&ask.json(&body).naming()).await?;
        self.names.taken(parent, name);
        self.whole_item(&reply, &parent.drive, At::Child(parent, name)).await
    }

    /// The item in an answer, asked for again if the answer is a short one or none.
    async fn whole_item(&self, reply: &Reply, drive: &DriveId, otherwise: At<'_>) -> RemoteResult<Item> {
        if reply.body.iter().all(u8::is_ascii_whitespace) {
            return self.stat_item(otherwise).await.map_err(unverified);
        }
        let object: WireObject = reply.parse()?;
        if object.is_whole() {
            return object.into_item(drive);
        }
        let id = object.item_id(drive)?;
        self.fetch(&id).await.map_err(unverified)
    }

    /// Renames and moves. The service has a request for each, so both together are two steps, in the order in which no
    /// name on the way is taken; if the second fails, the caller finds the item after the first.
    ///
    /// Times cannot be set (`client_updated_time` is documented as read-only), so a new time changes nothing.
    pub(super) async fn change_item(&self, item: &ItemId, patch: &Patch, pre: &Precondition) -> RemoteResult<Item> {
        let mut now = self.stat_item(At::Id(item)).await?;
        check(pre, &now.meta_tag)?;
        let name = patch.name.as_ref().filter(|name| **name != now.name);
        let to = patch.parent.as_ref().filter(|parent| now.parent.as_ref() != Some(parent));
        if to.is_some_and(|to| to.drive != item.drive) {
            let context = "an item cannot be moved to another drive";
            return Err(RemoteError::new(RemoteErrorKind::Unsupported, Advice::GiveUp, context));
        }
        match (name, to) {
            (None, None) => Ok(now),
            (Some(name), None) => {
                if let Some(folder) = &now.parent {
                    self.name_is_free(folder, name, Some(item)).await?;
                }
                self.rename(&now, name).await
            }
            (None, Some(to)) => {
                self.name_is_free(to, &now.name, Some(item)).await?;
                self.relocate(&now, to).await
            }
            (Some(name), Some(to)) => {
                let there = self.list_whole(to).await?.items;
                let taken = |items: &[Item], name: &str| {
                    items.iter().any(|other| other.id != *item && folded(&other.name) == folded(name))
                };
                if taken(&there, name) {
                    return Err(RemoteError::new(RemoteErrorKind::Exists, Advice::GiveUp, "the name is taken"));
                }
                if !taken(&there, &now.name) {
                    let moved = self.relocate(&now, to).await?;
                    return self.rename(&moved, name).await.map_err(half_done);
                }
                let here = match &now.parent {
                    Some(folder) => self.list_whole(folder).await?.items,
                    None => Vec::new(),
                };
                if taken(&here, name) {
                    // Both names are taken on the way; a third is not. Should the way end here, it is found as what it
                    // shall be.
                    let moment = self.clock.now().seconds();
                    let aside = passing_name(name, moment, |name| taken(&here, name) || taken(&there, name));
                    now = self.rename(&now, &aside).await?;
                    let moved = self.relocate(&now, to).await.map_err(half_done)?;
                    return self.rename(&moved, name).await.map_err(half_done);
                }
                let renamed = self.rename(&now, name).await?;
                self.relocate(&renamed, to).await.map_err(half_done)
            }
        }
    }

    async fn rename(&self, item: &Item, name: &str) -> RemoteResult<Item> {
        let url = self.item_url(&item.id, "", "")?;
        let ask = Ask::new(Method::PUT, url, Effect::Once, "rename an item").json(&json!({ "name": name })).naming();
        let reply = self.ask(&ask).await?;
        let renamed = self.whole_item(&reply, &item.id.drive, At::Id(&item.id)).await?;
        if renamed.name != name {
            let context = "cannot rename an item: the service accepted the change and did something else";
            return Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::VerifyThenRetry, context));
        }
        if let Some(folder) = &item.parent {
            self.names.taken(folder, name);
        }
        self.note_renamed(item, &renamed);
        Ok(renamed)
    }

    async fn relocate(&self, item: &Item, to: &ItemId) -> RemoteResult<Item> {
        let method = Method::from_bytes(b"MOVE").expect("invariant: MOVE is a word");
        let url = self.item_url(&item.id, "", "overwrite=false")?;
        // The documented destination is an id; the special paths were found unreliable here.
        let destination = parse_id(&to.id, &to.drive).id;
        let ask = Ask::new(method, url, Effect::Once, "move an item").json(&json!({ "destination": destination }));
        let reply = self.http.signed(&ask).await?;
        if item.kind == ItemKind::Folder
            && matches!(reply.status, StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED)
        {
            let mut failure = reply.failure();
            failure.kind = RemoteErrorKind::Unsupported;
            failure.context = format!("{} (this service may not move folders)", failure.context);
            return Err(failure);
        }
        let reply = reply.success()?;
        let moved = self.whole_item(&reply, &item.id.drive, At::Id(&item.id)).await?;
        self.names.taken(to, &item.name);
        self.note_renamed(item, &moved);
        if moved.parent.as_ref() != Some(to) {
            // An answer from before the move.
            return self.fetch(&item.id).await.map_err(unverified);
        }
        Ok(moved)
    }

    /// Deletes. The service knows no preconditions, so the state is compared just before.
    pub(super) async fn delete_item(&self, item: &ItemId, pre: &Precondition) -> RemoteResult<()> {
        if self.known().await?.root == *item {
            return Err(RemoteError::new(RemoteErrorKind::Denied, Advice::GiveUp, "the root cannot be deleted"));
        }
        if matches!(pre, Precondition::Unchanged(_)) && !self.still(item, pre).await? {
            return Ok(());
        }
        match self.send_delete(item).await {
            Err(failure) if failure.kind == RemoteErrorKind::NotFound => {
                self.clock.sleep(SECOND_LOOK).await;
                if self.still(item, pre).await? {
                    let context = "cannot delete an item: the service shows it and does not find it";
                    return Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, context));
                }
                Ok(())
            }
            other => other,
        }
    }

    /// Whether an item is still there, in the state of the precondition; another state is an error.
    async fn still(&self, item: &ItemId, pre: &Precondition) -> RemoteResult<bool> {
        still(&*self.clock, pre, || self.stat_surely(At::Id(item))).await
    }

    async fn send_delete(&self, item: &ItemId) -> RemoteResult<()> {
        let url = self.item_url(item, "", "")?;
        self.ask(&Ask::new(Method::DELETE, url, Effect::Repeatable, "delete an item")).await.map(drop)
    }
}

/// A look that failed after the change it should have verified.
pub(super) fn unverified(mut failure: RemoteError) -> RemoteError {
    failure.advice = Advice::VerifyThenRetry;
    if failure.kind == RemoteErrorKind::NotFound {
        failure.kind = RemoteErrorKind::Unavailable;
    }
    failure
}

/// The second of two steps failed: the caller has to look, whatever the reason.
fn half_done(mut failure: RemoteError) -> RemoteError {
    if failure.kind != RemoteErrorKind::Exists {
        failure.advice = Advice::VerifyThenRetry;
    }
    failure
}

/// Names that the service takes for one.
pub(super) fn folded(name: &str) -> String {
    name.to_lowercase()
}
