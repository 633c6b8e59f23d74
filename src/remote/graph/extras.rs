//! What Graph can do beyond a file system: see [`Extras`].

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::wire::WireItem;
use super::{Graph, encode, encode_id, facts, look};
use crate::base::ids::ItemId;
use crate::base::secret::Secret;
use crate::remote::classify::Effect;
use crate::remote::extras::{Beyond, Extras, LinkKind, Seen, SeenPage, SpecialFolder, ThumbnailSize, unsupported};
use crate::remote::http::Ask;
use crate::remote::kept::{Room, Weigh};
use crate::remote::tolerant::{AtMost, secret};
use crate::remote::{Advice, At, Item, Link, RemoteError, RemoteErrorKind, RemoteResult};

/// The pause before a copy is looked at; the next are longer, up to [`LONGEST_LOOK`].
const FIRST_LOOK: Duration = Duration::from_millis(500);

/// The longest pause between two looks at a copy.
const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// How long a copy may take.
const LONGEST_COPY: Duration = Duration::from_secs(6 * 3600);

/// The most pages of a list that is handed out whole.
const MOST_PAGES: usize = 200;

/// The most objects of a page; see [`Objects`].
const MOST_OBJECTS: usize = 20_000;

/// A page of a list that is handed out whole.
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Objects<T> {
    value: Option<AtMost<T, MOST_OBJECTS>>,
    #[serde(rename = "@odata.nextLink", deserialize_with = "secret", default)]
    next_link: Option<Secret<String>>,
}

/// The state of a copy.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Monitor {
    status: String,
    resource_id: Option<String>,
    error_code: Option<String>,
}

impl Graph {
    fn seen(value: &Value, drive: &crate::base::ids::DriveId) -> RemoteResult<Seen> {
        let wire: WireItem = WireItem::deserialize(value)
            .map_err(|_| RemoteError::protocol("the service described an object in a way that is not understood"))?;
        Ok(Seen { item: wire.into_item(drive)?, object: facts::shared(value) })
    }

    /// A list of objects to its end.
    pub(super) async fn whole_list<T>(&self, url: url::Url, what: &'static str) -> RemoteResult<Vec<T>>
    where
        T: DeserializeOwned + Weigh,
    {
        let (mut found, mut next) = (Vec::new(), url);
        let mut room = Room::default();
        for _ in 0..MOST_PAGES {
            let page: Objects<T> = self.ask(&look(next, what).told()).await?.parse()?;
            let Some(AtMost(values)) = page.value else {
                return Err(RemoteError::protocol(format!("cannot {what}: the answer is no list")));
            };
            room.take(values.iter().map(Weigh::weight).sum(), what)?;
            found.extend(values);
            match page.next_link {
                Some(link) => next = self.http.service_url(link.expose())?,
                None => return Ok(found),
            }
        }
        Err(RemoteError::protocol(format!("cannot {what}: the list has no end")))
    }

    async fn post(&self, item: &ItemId, rest: &str, body: &Value, what: &'static str) -> RemoteResult<Value> {
        let ask = Ask::new(Method::POST, self.item_url(item, rest)?, Effect::Once, what).json(body);
        let reply = self.ask(&ask).await?;
        if reply.body.is_empty() { Ok(Value::Null) } else { reply.parse() }
    }

    /// Waits until a copy is there. Returns its id, if the service says it.
    async fn copied(&self, monitor: &str) -> RemoteResult<Option<String>> {
        let begun = self.clock.monotonic();
        let mut pause = FIRST_LOOK;
        while self.clock.monotonic().since(begun) < LONGEST_COPY {
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(LONGEST_LOOK);
            let url = self.http.service_url(monitor)?;
            let state: Monitor = match self.http.bare(&Ask::get(url, "see how far the copy is")).await?.success() {
                Ok(reply) => reply.parse()?,
                Err(error) if error.is_transient() => continue,
                Err(error) => return Err(error),
            };
            match state.status.as_str() {
                "completed" => return Ok(state.resource_id),
                "failed" | "deleteFailed" | "cancelled" => {
                    let code = crate::base::name::presentable(&state.error_code.unwrap_or_default());
                    let kind = match code.as_str() {
                        "nameAlreadyExists" => RemoteErrorKind::Exists,
                        "quotaLimitReached" => RemoteErrorKind::QuotaFull,
                        "accessDenied" => RemoteErrorKind::Denied,
                        _ => RemoteErrorKind::Unavailable,
                    };
                    let sentence = format!("the service could not copy it ({code})");
                    return Err(RemoteError::new(kind, Advice::GiveUp, sentence));
                }
                // Words that nobody knew before came up now and then; all of them mean "not yet".
                _ => {}
            }
        }
        Err(RemoteError::new(
            RemoteErrorKind::Unavailable,
            Advice::GiveUp,
            "the copy was not finished within six hours",
        ))
    }
}

#[async_trait]
impl Extras for Graph {
    fn offers(&self, what: Beyond) -> RemoteResult<()> {
        match what {
            Beyond::Restore | Beyond::Share | Beyond::Undelete => Ok(()),
            Beyond::OldProperties | Beyond::Comments => Err(what.missing()),
        }
    }

    async fn look(&self, at: At<'_>) -> RemoteResult<Seen> {
        let (drive, url) = match at {
            At::Id(id) => (&id.drive, self.item_url(id, "")?),
            At::Child(folder, name) => (&folder.drive, self.child_url(folder, name, "")?),
        };
        let value: Value = self.ask(&look(url, "look at an object")).await?.parse()?;
        Self::seen(&value, drive)
    }

    async fn look_into(&self, folder: &ItemId, from: Option<&Link>) -> RemoteResult<SeenPage> {
        let url = match from {
            None => self.item_url(folder, "/children?$top=1000")?,
            Some(link) => self.http.service_url(link.expose())?,
        };
        let page: Objects<Value> = self.ask(&look(url, "list a folder").told()).await?.parse()?;
        let values = page.value.ok_or_else(|| RemoteError::protocol("the service answered a listing without one"))?.0;
        let mut items = Vec::with_capacity(values.len());
        for value in &values {
            match Self::seen(value, &folder.drive) {
                Ok(mut seen) => {
                    seen.item.parent.get_or_insert_with(|| folder.clone());
                    items.push(seen);
                }
                Err(error) => tracing::warn!(%error, "an object of a listing is left out"),
            }
        }
        Ok(SeenPage { items, next: page.next_link })
    }

    async fn special(&self, folder: SpecialFolder) -> RemoteResult<Item> {
        let name = match folder {
            SpecialFolder::Documents => "documents",
            SpecialFolder::Photos => "photos",
            SpecialFolder::CameraRoll => "cameraroll",
            SpecialFolder::Music => "music",
            SpecialFolder::AppRoot => "approot",
            SpecialFolder::Public => {
                return Err(unsupported("Microsoft Graph has no folder of public documents; use its path"));
            }
        };
        let drive = self.known().await?.drive.clone();
        let url = self.drive_url(&drive, &format!("/special/{name}"))?;
        let wire: WireItem = self.ask(&look(url, "find a special folder")).await?.parse()?;
        wire.into_item(&drive)
    }

    async fn user(&self) -> RemoteResult<Value> {
        let url = self.http.graph_url("/me")?;
        match self.ask(&Ask::get(url, "ask who is signed in")).await {
            Ok(reply) => {
                let me: Value = reply.parse()?;
                let text = |key: &str| me.get(key).cloned().unwrap_or(Value::Null);
                Ok(json!({
                    "id": text("id"), "name": text("displayName"), "first_name": text("givenName"),
                    "last_name": text("surname"), "locale": text("preferredLanguage"),
                    "emails": {"account": text("userPrincipalName"), "preferred": text("mail")},
                }))
            }
            // The sign-in asks for files only; the drive says at least whose it is.
            Err(error) if matches!(error.kind, RemoteErrorKind::Denied | RemoteErrorKind::Unsupported) => {
                let url = self.drive_url(&self.known().await?.drive.clone(), "?$select=id,owner")?;
                let drive: Value = self.ask(&Ask::get(url, "ask whose drive it is")).await?.parse()?;
                let owner = drive.pointer("/owner/user").or_else(|| drive.pointer("/owner/group"));
                Ok(facts::person(owner.unwrap_or(&Value::Null)))
            }
            Err(error) => Err(error),
        }
    }

    async fn recent(&self) -> RemoteResult<Vec<Value>> {
        let url = self.drive_url(&self.known().await?.drive.clone(), "/recent")?;
        Ok(self.whole_list::<Value>(url, "list what was used lately").await?.iter().map(facts::shared).collect())
    }

    async fn shared(&self) -> RemoteResult<Vec<Value>> {
        let url = self.drive_url(&self.known().await?.drive.clone(), "/sharedWithMe")?;
        Ok(self.whole_list::<Value>(url, "list what others share").await?.iter().map(facts::shared).collect())
    }

    async fn search(&self, folder: &ItemId, text: &str) -> RemoteResult<Vec<Value>> {
        // An apostrophe is doubled inside the quotes of an OData text.
        let text = encode(&text.replace('\'', "''"));
        let url = self.item_url(folder, &format!("/search(q='{text}')"))?;
        Ok(self.whole_list::<Value>(url, "search").await?.iter().map(facts::shared).collect())
    }

    async fn link(&self, item: &ItemId, kind: LinkKind) -> RemoteResult<Value> {
        let word = match kind {
            LinkKind::View => "view",
            LinkKind::Edit => "edit",
            LinkKind::Embed if self.known().await?.flavour != "personal" => {
                return Err(unsupported(
                    "accounts for work or school have no links for embedding; --type shared_read_link",
                ));
            }
            LinkKind::Embed => "embed",
        };
        let made = self.post(item, "/createLink", &json!({ "type": word }), "make a link").await?;
        let link = made.pointer("/link/webUrl").and_then(Value::as_str);
        let link = link.ok_or_else(|| RemoteError::protocol("the service made a link without an address"))?;
        Ok(match kind {
            LinkKind::Embed => {
                let html = made.pointer("/link/webHtml").and_then(Value::as_str).map(str::to_owned);
                let html = html.unwrap_or_else(|| format!("<iframe src=\"{}\"></iframe>", link.replace('"', "%22")));
                json!({"link": link, "embed_html": html})
            }
            _ => json!({ "link": link }),
        })
    }

    async fn copy(&self, item: &ItemId, folder: &ItemId, name: Option<&str>) -> RemoteResult<Item> {
        let mut body = json!({"parentReference": {"driveId": folder.drive.as_str(), "id": folder.id}});
        if let Some(name) = name {
            body["name"] = name.into();
        }
        let url = self.item_url(item, "/copy?@microsoft.graph.conflictBehavior=fail")?;
        let ask = Ask::new(Method::POST, url, Effect::Once, "copy an object").json(&body).naming();
        let reply = self.ask(&ask).await?;
        let monitor = reply.header("location").map(str::to_owned);
        let id = match monitor {
            Some(monitor) => self.copied(&monitor).await?,
            None => None,
        };
        match id {
            Some(id) => self.stat_item(At::Id(&ItemId::new(&folder.drive, id))).await,
            None => {
                let name = match name {
                    Some(name) => name.to_owned(),
                    None => self.stat_item(At::Id(item)).await?.name,
                };
                self.stat_item(At::Child(folder, &name)).await
            }
        }
    }

    async fn set_properties(&self, item: &ItemId, properties: &Map<String, Value>) -> RemoteResult<()> {
        if properties.keys().any(|key| key != "description") {
            return Err(Beyond::OldProperties.missing());
        }
        let Some(description) = properties.get("description") else { return Ok(()) };
        let url = self.item_url(item, "")?;
        let ask = Ask::new(Method::PATCH, url, Effect::Repeatable, "set the description");
        let description = description.as_str().unwrap_or_default();
        let reply = self.http.signed(&ask.json(&json!({ "description": description }))).await?;
        if reply.status == reqwest::StatusCode::BAD_REQUEST {
            // Documented for personal drives only, and not all of those take it.
            return Err(unsupported("this drive keeps no descriptions"));
        }
        reply.success()?;
        Ok(())
    }

    async fn versions(&self, item: &ItemId) -> RemoteResult<Vec<Value>> {
        let versions: Vec<Value> = self.whole_list(self.item_url(item, "/versions")?, "list the versions").await?;
        let version = |value: &Value| {
            let mut version = json!({"id": value.get("id"), "size": value.get("size")});
            let time = value.get("lastModifiedDateTime").and_then(Value::as_str).and_then(facts::old_time);
            version["updated_time"] = time.into();
            if let Some(user) = value.pointer("/lastModifiedBy/user") {
                version["from"] = facts::person(user);
            }
            version
        };
        Ok(versions.iter().map(version).collect())
    }

    async fn restore_version(&self, item: &ItemId, version: &str) -> RemoteResult<()> {
        let rest = format!("/versions/{}/restoreVersion", encode(version));
        let ask = Ask::new(Method::POST, self.item_url(item, &rest)?, Effect::Once, "bring a version back");
        self.ask(&ask).await?;
        Ok(())
    }

    async fn permissions(&self, item: &ItemId) -> RemoteResult<Vec<Value>> {
        let permissions: Vec<Value> =
            self.whole_list(self.item_url(item, "/permissions")?, "list the permissions").await?;
        Ok(permissions.iter().map(permission).collect())
    }

    async fn share(
        &self,
        item: &ItemId,
        who: &[String],
        write: bool,
        message: Option<&str>,
    ) -> RemoteResult<Vec<Value>> {
        let recipients: Vec<Value> = who.iter().map(|mail| json!({ "email": mail })).collect();
        let body = json!({
            "recipients": recipients, "requireSignIn": true, "sendInvitation": message.is_some(),
            "roles": [if write { "write" } else { "read" }], "message": message.unwrap_or_default(),
        });
        let made = self.post(item, "/invite", &body, "share").await?;
        Ok(made
            .get("value")
            .and_then(Value::as_array)
            .map(|list| list.iter().map(permission).collect())
            .unwrap_or_default())
    }

    async fn unshare(&self, item: &ItemId, permission: &str) -> RemoteResult<()> {
        let url = self.item_url(item, &format!("/permissions/{}", encode_id(permission)))?;
        self.ask(&Ask::new(Method::DELETE, url, Effect::Once, "take a permission back")).await?;
        Ok(())
    }

    async fn thumbnail(&self, item: &ItemId, size: ThumbnailSize) -> RemoteResult<Bytes> {
        let size = match size {
            ThumbnailSize::Small => "small",
            ThumbnailSize::Medium => "medium",
            ThumbnailSize::Large => "large",
        };
        let url = self.item_url(item, &format!("/thumbnails/0/{size}"))?;
        let value: Value = self.ask(&Ask::get(url, "find a thumbnail")).await?.parse()?;
        let url = value.get("url").and_then(Value::as_str);
        let url = self.http.service_url(url.ok_or_else(|| RemoteError::protocol("a thumbnail has no address"))?)?;
        let ask = Ask::get(url, "fetch a thumbnail").page();
        Ok(self.http.bare(&ask).await?.success()?.body)
    }

    async fn undelete(&self, item: &ItemId) -> RemoteResult<Item> {
        let made = self.post(item, "/restore", &json!({}), "bring an object back").await?;
        Ok(Self::seen(&made, &item.drive)?.item)
    }
}

fn permission(value: &Value) -> Value {
    let mut permission = json!({"id": value.get("id"), "roles": value.get("roles")});
    if let Some(link) = value.get("link") {
        permission["link"] = json!({"type": link.get("type"), "scope": link.get("scope"), "url": link.get("webUrl")});
    }
    let user = value.pointer("/grantedToV2/user").or_else(|| value.pointer("/grantedTo/user"));
    if let Some(user) = user {
        let mut who = facts::person(user);
        if let Some(mail) = user.get("email").or_else(|| value.pointer("/invitation/email")) {
            who["email"] = mail.clone();
        }
        permission["user"] = who;
    }
    permission
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any bytes as what is told of an object beyond its place and content, as a permission and as the state of a copy.
pub(crate) fn fuzz(data: &[u8]) {
    let drive = crate::base::ids::DriveId::new("0123456789abcdef");
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    let told = |object: &Value| {
        let kind = object.get("type").and_then(Value::as_str).unwrap_or_default();
        let kinds = ["album", "notebook", "folder", "video", "audio", "photo", "file"];
        assert!(kinds.contains(&kind), "a type of the old service: {kind}");
        assert!(object.get("parent_id").is_some() && object.pointer("/shared_with/access").is_some());
        for time in ["created_time", "updated_time", "client_updated_time", "when_taken"] {
            let time = object.get(time).and_then(Value::as_str);
            assert!(time.is_none_or(|time| time.ends_with("+0000")), "{time:?}");
        }
    };
    for item in value.get("value").and_then(Value::as_array).into_iter().flatten().chain([&value]) {
        told(&facts::object(item));
        told(&facts::shared(item));
        if let Ok(seen) = Graph::seen(item, &drive) {
            crate::remote::tolerant::sound(&seen.item);
            told(&seen.object);
        }
        let permission = permission(item);
        assert!(permission.get("id").is_some() && permission.get("roles").is_some());
    }
    if let Ok(state) = Monitor::deserialize(&value) {
        let code = crate::base::name::presentable(&state.error_code.unwrap_or_default());
        assert!(!code.contains(['\n', '\u{1b}', '\u{202e}']), "an error of the service steers a terminal");
    }
}
