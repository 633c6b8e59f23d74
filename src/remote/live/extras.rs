//! What Live Connect can do beyond a file system: see [`Extras`]. Objects are handed out as they came, because the keys
//! that scripts know are this service's own.

use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::items::identified;
use super::wire::{WireList, WireObject, parse_id};
use super::{Live, encode, encode_id, look};
use crate::base::ids::{DriveId, ItemId};
use crate::base::name::presentable;
use crate::remote::classify::Effect;
use crate::remote::extras::{Beyond, Extras, LinkKind, Seen, SeenPage, SpecialFolder, ThumbnailSize, unsupported};
use crate::remote::http::Ask;
use crate::remote::{Advice, At, Item, ItemKind, Link, RemoteError, RemoteErrorKind, RemoteResult};

/// Objects per page of a search.
const FOUND: usize = 100;

/// The most objects that a search hands out.
const MOST_FOUND: usize = 10_000;

/// How deep a folder is copied, and how far the folders above a find are climbed.
const MAX_DEPTH: usize = 256;

impl Live {
    fn seen(value: Value, drive: &DriveId) -> RemoteResult<Seen> {
        let wire = WireObject::deserialize(&value)
            .map_err(|_| RemoteError::protocol("the service described an object in a way that is not understood"))?;
        Ok(Seen { item: wire.into_item(drive)?, object: value })
    }

    async fn value(&self, path: &str, query: &str, what: &'static str) -> RemoteResult<Value> {
        self.ask(&look(self.url(path, query)?, what).told()).await?.parse()
    }

    async fn values(&self, path: &str, query: &str, what: &'static str) -> RemoteResult<Vec<Value>> {
        let list: WireList<Value> = self.ask(&look(self.url(path, query)?, what).told()).await?.parse()?;
        list.data.ok_or_else(|| RemoteError::protocol(format!("cannot {what}: the answer is no list")))
    }

    /// Whether an object lies below a folder, as far as its parents tell. What is known is remembered in `inside` and
    /// `outside`.
    async fn lies_below(
        &self,
        mut at: ItemId,
        inside: &mut HashSet<ItemId>,
        outside: &mut HashSet<ItemId>,
    ) -> RemoteResult<bool> {
        let mut way = Vec::new();
        let below = loop {
            if inside.contains(&at) {
                break true;
            }
            if outside.contains(&at) || way.len() > MAX_DEPTH {
                break false;
            }
            way.push(at.clone());
            match self.fetch(&at).await {
                Ok(Item { parent: Some(parent), .. }) => at = parent,
                Ok(_) => break false,
                Err(failure) if failure.kind == RemoteErrorKind::NotFound => break false,
                Err(failure) => return Err(failure),
            }
        };
        if below { inside } else { outside }.extend(way);
        Ok(below)
    }

    async fn copy_file(&self, item: &Item, folder: &ItemId, name: &str) -> RemoteResult<Item> {
        let method = Method::from_bytes(b"COPY").expect("invariant: COPY is a word");
        // Under its own name it may clash with what is there, though the name that it is to have in the end is free.
        let url = self.item_url(&item.id, "", "overwrite=ChooseNewName")?;
        let destination = parse_id(&folder.id, &folder.drive).id;
        let ask = Ask::new(method, url, Effect::Once, "copy an item").json(&json!({ "destination": destination }));
        let object: WireObject = self.ask(&ask).await?.parse()?;
        let id = object.item_id(&folder.drive)?;
        let copy = self.fetch(&id).await?;
        self.names.taken(folder, &copy.name);
        if copy.name == name {
            return Ok(copy);
        }
        let patch = crate::remote::Patch { name: Some(name.to_owned()), ..Default::default() };
        self.change_item(&copy.id, &patch, &crate::remote::Precondition::None).await
    }

    /// The service copies files only, so a folder is copied here, folder by folder.
    async fn copy_folder(&self, item: &Item, folder: &ItemId, name: &str) -> RemoteResult<Item> {
        let made = self.create_folder(folder, name).await?;
        let mut todo = vec![(item.id.clone(), made.id.clone(), 0)];
        while let Some((from, to, depth)) = todo.pop() {
            if depth > MAX_DEPTH || from == made.id {
                return Err(RemoteError::protocol("cannot copy a folder into itself"));
            }
            for child in self.list_whole(&from).await?.items {
                match child.kind {
                    ItemKind::File => drop(self.copy_file(&child, &to, &child.name).await?),
                    ItemKind::Folder => {
                        let below = self.create_folder(&to, &child.name).await?;
                        todo.push((child.id, below.id, depth + 1));
                    }
                    ItemKind::Closed => return Err(unsupported("this service does not copy notebooks")),
                }
            }
        }
        Ok(made)
    }
}

#[async_trait]
impl Extras for Live {
    fn offers(&self, what: Beyond) -> RemoteResult<()> {
        match what {
            Beyond::OldProperties | Beyond::Comments => Ok(()),
            Beyond::Restore | Beyond::Share | Beyond::Undelete => Err(what.missing()),
        }
    }

    async fn look(&self, at: At<'_>) -> RemoteResult<Seen> {
        let id = match at {
            At::Id(id) => id.clone(),
            At::Child(..) => self.stat_item(at).await?.id,
        };
        let url = self.item_url(&id, "", "")?;
        Self::seen(self.ask(&look(url, "look at an item")).await?.parse()?, &id.drive)
    }

    async fn look_into(&self, folder: &ItemId, from: Option<&Link>) -> RemoteResult<SeenPage> {
        let (values, next) = self.raw_page(folder, from).await?;
        let mut items = Vec::with_capacity(values.len());
        for value in values {
            match Self::seen(value, &folder.drive) {
                Ok(mut seen) => {
                    seen.item.parent = Some(folder.clone());
                    items.push(seen);
                }
                Err(error) => tracing::warn!(%error, "the service listed an object that cannot be shown"),
            }
        }
        Ok(SeenPage { items, next })
    }

    async fn special(&self, folder: SpecialFolder) -> RemoteResult<Item> {
        let name = match folder {
            SpecialFolder::Documents => "my_documents",
            SpecialFolder::Photos => "my_photos",
            SpecialFolder::CameraRoll => "camera_roll",
            SpecialFolder::Public => "public_documents",
            SpecialFolder::Music => return Err(unsupported("this service knows no folder for music")),
            SpecialFolder::AppRoot => return Err(unsupported("this service has no folders for applications")),
        };
        let drive = self.known().await?.drive.clone();
        let value = self.value(&format!("me/skydrive/{name}"), "", "find a special folder").await?;
        Ok(Self::seen(value, &drive)?.item)
    }

    async fn user(&self) -> RemoteResult<Value> {
        self.value("me", "", "ask who is signed in").await
    }

    async fn recent(&self) -> RemoteResult<Vec<Value>> {
        // Clients asked for recent_docs; the vendor's own table says recent.
        match self.values("me/skydrive/recent_docs", "", "list what was used lately").await {
            Err(failure) if matches!(failure.kind, RemoteErrorKind::NotFound | RemoteErrorKind::Protocol) => {
                self.values("me/skydrive/recent", "", "list what was used lately").await
            }
            other => other,
        }
    }

    async fn shared(&self) -> RemoteResult<Vec<Value>> {
        self.values("me/skydrive/shared", "", "list what others share").await
    }

    /// The service searches the whole drive; what lies elsewhere is left out here.
    async fn search(&self, folder: &ItemId, text: &str) -> RemoteResult<Vec<Value>> {
        let known = self.known().await?;
        let mut found: Vec<Value> = Vec::new();
        let mut seen = HashSet::new();
        for page in 0..MOST_FOUND / FOUND {
            let query = format!("q={}&limit={FOUND}&offset={}", encode(text), page * FOUND);
            let values = self.values("me/skydrive/search", &query, "search").await?;
            let last = values.len() < FOUND;
            found.extend(values.into_iter().filter(|value| {
                let id = value.get("id").and_then(Value::as_str).unwrap_or_default();
                seen.insert(parse_id(id, &known.drive))
            }));
            if last {
                break;
            }
        }
        if *folder == known.root {
            return Ok(found);
        }
        let (mut inside, mut outside) = (HashSet::from([folder.clone()]), HashSet::from([known.root.clone()]));
        let mut below = Vec::new();
        for value in found {
            let parent = value.get("parent_id").and_then(Value::as_str);
            let Some(parent) = parent.map(|parent| parse_id(parent, &known.drive)) else { continue };
            if self.lies_below(parent, &mut inside, &mut outside).await? {
                below.push(value);
            }
        }
        Ok(below)
    }

    /// Asked with GET, and has an effect that lasts: the object becomes one that people with a link can see. So it is
    /// asked once.
    async fn link(&self, item: &ItemId, kind: LinkKind) -> RemoteResult<Value> {
        let path = match kind {
            LinkKind::View => "/shared_read_link",
            LinkKind::Edit => "/shared_edit_link",
            LinkKind::Embed => "/embed",
        };
        let ask = Ask::new(Method::GET, self.item_url(item, path, "")?, Effect::Once, "make a link");
        let mut link: Value = self.ask(&ask).await?.parse()?;
        if kind == LinkKind::Embed
            && let Some(source) = link.get("embed_html").and_then(Value::as_str).and_then(source_of)
            && let Some(object) = link.as_object_mut()
        {
            object.entry("link").or_insert_with(|| Value::from(source));
        }
        Ok(link)
    }

    async fn copy(&self, item: &ItemId, folder: &ItemId, name: Option<&str>) -> RemoteResult<Item> {
        let from = self.stat_item(At::Id(item)).await?;
        let name = name.unwrap_or(&from.name);
        self.name_is_free(folder, name, None).await?;
        match from.kind {
            ItemKind::File => self.copy_file(&from, folder, name).await,
            ItemKind::Folder => {
                let mut above = Some(folder.clone());
                for _ in 0..MAX_DEPTH {
                    let Some(at) = above.take() else { break };
                    if at == *item {
                        return Err(RemoteError::protocol("cannot copy a folder into itself"));
                    }
                    above = self.fetch(&at).await?.parent;
                }
                self.copy_folder(&from, folder, name).await
            }
            ItemKind::Closed => Err(unsupported("this service does not copy notebooks")),
        }
    }

    async fn set_properties(&self, item: &ItemId, properties: &Map<String, Value>) -> RemoteResult<()> {
        let ask = Ask::new(Method::PUT, self.item_url(item, "", "")?, Effect::Once, "set properties of an item");
        self.ask(&ask.json(&json!(properties))).await.map(drop)
    }

    async fn comments(&self, item: &ItemId) -> RemoteResult<Vec<Value>> {
        let url = self.item_url(item, "/comments", "")?;
        let list: WireList<Value> = self.ask(&look(url, "list comments").told()).await?.parse()?;
        list.data.ok_or_else(|| RemoteError::protocol("the service answered with no list of comments"))
    }

    async fn add_comment(&self, item: &ItemId, text: &str) -> RemoteResult<Value> {
        let ask = Ask::new(Method::POST, self.item_url(item, "/comments", "")?, Effect::Once, "add a comment");
        self.ask(&ask.json(&json!({ "message": text }))).await?.parse()
    }

    async fn delete_comment(&self, comment: &str) -> RemoteResult<()> {
        // The service deletes whatever an id belongs to, also a folder.
        if !comment.starts_with("comment.") {
            let sentence = format!("\"{}\" is not the id of a comment", presentable(comment));
            return Err(RemoteError::new(RemoteErrorKind::NotAnId, Advice::GiveUp, sentence));
        }
        let url = self.url(&encode_id(comment), "")?;
        let reply = self.http.signed(&Ask::new(Method::DELETE, url, Effect::Once, "delete a comment")).await?;
        identified(reply).map(drop)
    }

    async fn thumbnail(&self, item: &ItemId, size: ThumbnailSize) -> RemoteResult<Bytes> {
        let size = match size {
            ThumbnailSize::Small => "thumbnail",
            ThumbnailSize::Medium => "album",
            ThumbnailSize::Large => "normal",
        };
        let url = self.item_url(item, "/picture", &format!("type={size}"))?;
        let reply = self.http.signed(&look(url, "find a thumbnail")).await?;
        if reply.status == StatusCode::BAD_REQUEST {
            // What it says of objects that have no picture.
            let mut failure = reply.failure();
            (failure.kind, failure.advice) = (RemoteErrorKind::NotFound, Advice::GiveUp);
            return Err(failure);
        }
        let location = if reply.status.is_redirection() { reply.header("location") } else { None };
        let Some(location) = location else {
            return match reply.success() {
                Err(failure) => Err(failure),
                Ok(_) => Err(RemoteError::protocol("a thumbnail has no address")),
            };
        };
        let ask = Ask::get(self.http.service_url(location)?, "fetch a thumbnail").page();
        Ok(self.http.bare(&ask).await?.success()?.body)
    }
}

/// The address inside a piece of HTML that embeds it.
fn source_of(html: &str) -> Option<String> {
    let (_, rest) = html.split_once("src=\"")?;
    let (source, _) = rest.split_once('"')?;
    Some(source.replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedded_page_has_an_address() {
        let html = r#"<iframe src="https://onedrive.live.com/embed?cid=7c&amp;resid=7C!1" width="98"></iframe>"#;
        assert_eq!(source_of(html).as_deref(), Some("https://onedrive.live.com/embed?cid=7c&resid=7C!1"));
        assert_eq!(source_of("<p>"), None);
    }
}
