//! Items as Live Connect shows them: ids, types, names in the reader's language, every member of the documents.
//!
//! Always true: an id says whether an item is a folder by its prefix and nothing else (photos are `file.`, albums
//! are `folder.`); its lower-case CID is padded, its upper-case one is not; what a document calls nullable is there as
//! null, not left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::drive::{Body, Drive};
use super::face::{Face, Kind};
use super::ident::{Identity, Index, ROOT};
use super::live_wire::{LiveError, live_time};
use super::strict::Strict;
use super::wire::encode;
use super::world::{DriveCell, World};
use crate::base::clock::Timestamp;

/// A folder that the service knows by more than its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Canonical {
    Documents,
    Photos,
    CameraRoll,
    Public,
}

impl Canonical {
    /// The one that a path below `me/skydrive` names.
    pub(crate) fn of_path(name: &str) -> Option<Self> {
        Some(match name {
            "my_documents" => Self::Documents,
            "my_photos" => Self::Photos,
            "camera_roll" => Self::CameraRoll,
            "public_documents" => Self::Public,
            _ => return None,
        })
    }

    /// The name under which the drive has it.
    pub(crate) fn stored_name(self) -> &'static str {
        match self {
            Self::Documents => "Documents",
            Self::Photos => "Pictures",
            Self::CameraRoll => "Camera Roll",
            Self::Public => "Public",
        }
    }

    fn of_face(face: &Face<'_>) -> Option<Self> {
        let all = [Self::Documents, Self::Photos, Self::CameraRoll, Self::Public];
        let folder = matches!(face.kind, Kind::Folder { .. }) && face.parent == Some(ROOT);
        all.into_iter().find(|canonical| folder && canonical.stored_name() == face.name)
    }

    /// Its name in a language; English for languages that are not here.
    fn name_in(self, locale: &str) -> &'static str {
        let language = locale.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        match (language.as_str(), self) {
            ("de", Self::Documents) => "Dokumente",
            ("de", Self::Photos) => "Bilder",
            ("de", Self::CameraRoll) => "Eigene Aufnahmen",
            ("de", Self::Public) => "Öffentlich",
            ("fr", Self::Photos) => "Images",
            ("fr", Self::CameraRoll) => "Pellicule",
            ("es", Self::Documents) => "Documentos",
            ("es", Self::Photos) => "Imágenes",
            ("es", Self::CameraRoll) => "Álbum de cámara",
            ("es", Self::Public) => "Público",
            _ => self.stored_name(),
        }
    }
}

/// An item that an id names; whether it lives is another question.
pub(crate) struct LiveId {
    pub(crate) cell: Arc<DriveCell>,
    pub(crate) index: Index,
}

/// The id of an item.
pub(crate) fn live_id(identity: &Identity, index: Index, folder: bool) -> String {
    match (index, folder) {
        (ROOT, _) => format!("folder.{}", identity.drive_id()),
        (_, true) => format!("folder.{}.{}", identity.drive_id(), identity.resid(index)),
        (_, false) => format!("file.{}.{}", identity.drive_id(), identity.resid(index)),
    }
}

/// Reads an id. The root has two: its own, and one with a number like all other folders.
pub(crate) fn item_of(world: &World, id: &str) -> Result<LiveId, LiveError> {
    let malformed = || LiveError::url(format!("The resource ID '{id}' isn't valid."));
    let mut parts = id.splitn(3, '.');
    let (prefix, cid) = (parts.next().unwrap_or_default(), parts.next().ok_or_else(malformed)?);
    let folder = match prefix {
        "folder" => true,
        "file" => false,
        _ => return Err(malformed()),
    };
    if cid.len() != 16 || !cid.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(malformed());
    }
    let cell = world.drive_by_id(cid).filter(|cell| cell.identity.flavour().is_personal());
    let cell = cell.ok_or_else(LiveError::missing)?;
    let index = match parts.next() {
        None if folder => ROOT,
        None => return Err(malformed()),
        Some(resid) => cell.identity.parse_resid(resid).ok_or_else(LiveError::missing)?,
    };
    let is_folder = {
        let drive = cell.lock();
        drive.item(index).is_ok_and(|item| matches!(item.body, Body::Folder(_) | Body::Bundle))
    };
    if is_folder != folder {
        return Err(LiveError::missing());
    }
    Ok(LiveId { cell, index })
}

/// What can be told of a piece of music.
pub(crate) const TAGS: [&str; 5] = ["title", "artist", "album", "album_artist", "genre"];

/// An item's visible state, with what only this protocol shows. Taken under the drive's lock.
pub(crate) struct Sight {
    pub(crate) face: Face<'static>,
    comments: usize,
    comments_off: bool,
    album: bool,
    sort_by: Option<&'static str>,
    tags: BTreeMap<&'static str, String>,
    /// Somebody has a link, or was invited.
    linked: bool,
    invited: bool,
}

impl Sight {
    pub(crate) fn of(drive: &Drive, index: Index) -> Self {
        let extras = drive.items.get(index as usize).and_then(|item| item.extras.as_deref());
        let permissions = extras.map(|extras| extras.permissions.as_slice()).unwrap_or_default();
        Self {
            face: Face::of(drive, index).into_owned(),
            comments: extras.map_or(0, |extras| extras.comments.len()),
            comments_off: extras.is_some_and(|extras| extras.comments_off),
            album: extras.is_some_and(|extras| extras.album),
            sort_by: extras.and_then(|extras| extras.sort_by),
            tags: extras.map(|extras| extras.tags.clone()).unwrap_or_default(),
            linked: permissions.iter().any(|permission| permission.link.is_some()),
            invited: permissions.iter().any(|permission| permission.invited.is_some()),
        }
    }

    /// Whether this protocol knows such items at all: it is older than shortcuts and vaults.
    pub(crate) fn shows(drive: &Drive, index: Index) -> bool {
        !matches!(drive.items[index as usize].body, Body::Shortcut(_) | Body::Opaque)
    }

    pub(crate) fn is_folder(&self) -> bool {
        matches!(self.face.kind, Kind::Folder { .. } | Kind::Bundle)
    }

    /// The `type` member.
    pub(crate) fn kind(&self) -> &'static str {
        match self.face.kind {
            Kind::Folder { .. } if !self.album => "folder",
            Kind::Folder { .. } | Kind::Bundle => "album",
            Kind::Package => "notebook",
            _ => media(&self.face.name),
        }
    }
}

/// The type of a file, by its name.
pub(crate) fn media(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    match extension.as_str() {
        "jpg" | "jpeg" | "png" | "gif" | "bmp" | "tif" | "tiff" => "photo",
        "mp4" | "avi" | "mov" | "wmv" | "mkv" | "m4v" => "video",
        "mp3" | "wma" | "wav" | "m4a" | "flac" => "audio",
        _ => "file",
    }
}

/// The sizes of previews: name in answers, longest edge, name on the storage host.
pub(crate) const IMAGES: [(&str, u32, &str); 4] = [
    ("normal", 800, "Scaled800,WebReady"),
    ("album", 176, "MobileReady"),
    ("thumbnail", 96, "Thumbnail"),
    ("full", 2048, "Default,Largest"),
];

/// Renders the items of one drive for one request.
pub(crate) struct Painter<'w> {
    world: &'w World,
    cell: &'w DriveCell,
    strict: Arc<Strict>,
    locale: String,
    owner: String,
    now: Timestamp,
}

impl<'w> Painter<'w> {
    pub(crate) fn new(world: &'w World, cell: &'w DriveCell, locale: Option<&str>, now: Timestamp) -> Self {
        let strict = world.strict();
        let locale = locale.unwrap_or(strict.live.locale).to_owned();
        Self { world, cell, locale, owner: cell.lock().owner.clone(), strict, now }
    }

    pub(crate) fn person(&self) -> Value {
        json!({"name": self.owner, "id": self.cell.identity.drive_id()})
    }

    /// The name as this reader sees it.
    pub(crate) fn name(&self, face: &Face<'_>) -> String {
        match Canonical::of_face(face) {
            _ if face.index == ROOT => "OneDrive".to_owned(),
            Some(canonical) => canonical.name_in(&self.locale).to_owned(),
            None => face.name.to_string(),
        }
    }

    pub(crate) fn id(&self, sight: &Sight) -> String {
        live_id(&self.cell.identity, sight.face.index, sight.is_folder())
    }

    fn access(&self, sight: &Sight) -> &'static str {
        let german = self.locale.to_ascii_lowercase().starts_with("de");
        match (sight.linked, sight.invited) {
            (true, _) if german => "Personen mit Link",
            (true, _) => "People with a link",
            (_, true) if german => "Von mir ausgewählte Personen",
            (_, true) => "People I selected",
            _ if german => "Nur ich",
            _ => "Just me",
        }
    }

    /// A pre-authenticated URL of a file's content.
    pub(crate) fn source(&self, face: &Face<'_>, attachment: bool) -> String {
        let mode = if attachment { "attachment" } else { "inline" };
        let sealed = self.world.seal(&format!("source|{}|{}|{mode}", self.cell.number, face.index));
        let expiry = self.now.plus(self.strict.live.source_life);
        self.world.sign(&format!("/y2m/{sealed}/{}", encode(&face.name)), expiry)
    }

    /// A pre-authenticated URL of a preview.
    pub(crate) fn image(&self, face: &Face<'_>, size: &str) -> String {
        let sealed = self.world.seal(&format!("image|{}|{}|{size}", self.cell.number, face.index));
        let expiry = self.now.plus(self.strict.live.source_life);
        self.world.sign(&format!("/y2m/{sealed}/{}", encode(&face.name)), expiry)
    }

    /// A page for people.
    pub(crate) fn page(&self, face: &Face<'_>) -> String {
        let identity = &self.cell.identity;
        let parent = face.parent.map(|parent| format!("&parid={}", identity.resid(parent))).unwrap_or_default();
        let (cid, resid) = (identity.drive_id(), identity.resid(face.index));
        format!("{}/redir.aspx?cid={cid}&page=view&resid={resid}{parent}", self.world.graph_url)
    }

    /// The whole object.
    pub(crate) fn object(&self, sight: &Sight) -> Value {
        let (face, kind) = (&sight.face, sight.kind());
        let id = self.id(sight);
        let base = format!("{}/v5.0/{id}", self.world.graph_url);
        let parent = face.parent.map(|parent| live_id(&self.cell.identity, parent, true));
        let mut value = json!({
            "id": id,
            "from": self.person(),
            "name": self.name(face),
            "description": face.description,
            "parent_id": parent,
            "size": face.size,
            "comments_count": sight.comments,
            "comments_enabled": !sight.is_folder() && !sight.comments_off,
            "is_embeddable": true,
            "link": self.page(face),
            "type": kind,
            "shared_with": {"access": self.access(sight)},
            "created_time": live_time(face.created),
            "updated_time": live_time(face.modified),
            "client_updated_time": live_time(face.times.modified),
        });
        let members = value.as_object_mut().expect("invariant: json! of braces is an object");
        match face.kind {
            Kind::Folder { children } => {
                members.insert("count".into(), children.into());
                members.insert("upload_location".into(), format!("{base}/files/").into());
                if let Some(sort_by) = sight.sort_by {
                    members.insert("sort_by".into(), sort_by.into());
                }
            }
            Kind::Bundle => {
                members.insert("count".into(), 0.into());
            }
            Kind::File { .. } => {
                let query = if self.strict.live.upload_location_query { "?psid=1" } else { "" };
                members.insert("upload_location".into(), format!("{base}/content/{query}").into());
                members.insert("source".into(), self.source(face, false).into());
                self.media(members, sight, kind);
            }
            _ => {}
        }
        if self.strict.live.unknown_members && face.index % 3 == 1 {
            members.insert("x_revision".into(), json!({"serial": face.etag, "origin": Value::Null}));
        }
        value
    }

    fn media(&self, members: &mut Map<String, Value>, sight: &Sight, kind: &str) {
        let face = &sight.face;
        let mut put = |key: &str, value: Value| {
            members.insert(key.to_owned(), value);
        };
        if kind == "file" {
            return;
        }
        put("picture", self.image(face, "Thumbnail").into());
        match kind {
            "photo" => {
                let images = IMAGES.map(|(name, edge, form)| {
                    json!({"height": edge * 3 / 4, "width": edge, "source": self.image(face, form), "type": name})
                });
                put("images", images.into_iter().collect());
                put("when_taken", Value::Null);
                put("location", Value::Null);
                put("camera_make", Value::Null);
                put("camera_model", Value::Null);
                for number in ["focal_ratio", "focal_length", "exposure_numerator", "exposure_denominator"] {
                    put(number, json!(0));
                }
            }
            "audio" => {
                for tag in TAGS {
                    put(tag, sight.tags.get(tag).map_or(Value::Null, |text| text.as_str().into()));
                }
                put("duration", 2000.into());
            }
            _ => {
                put("duration", 2000.into());
                put("bitrate", 1_000_000.into());
            }
        }
        if kind != "audio" {
            put("height", 2448.into());
            put("width", 3264.into());
            put("tags_count", 0.into());
            put("tags_enabled", true.into());
        }
    }
}
