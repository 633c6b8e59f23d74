//! Items and drives as JSON, in the shape of each kind of drive and each kind of answer.
//!
//! The same item looks different when it is read, listed and enumerated: delta leaves out paths on all
//! drives, content tags on work drives and child counts on personal ones; tombstones keep only an id
//! and a parent on work drives. See <https://learn.microsoft.com/graph/api/driveitem-delta> and
//! onedrive-api-docs issues 1890 and 1902 for the spellings of personal drive ids.

use std::sync::Arc;

use super::Flavour;
use super::drive::Drive;
use super::face::{Face, Kind};
use super::ident::{Identity, Index, ROOT};
use super::strict::Strict;
use super::wire::{Json, encode, wire_time};
use super::world::{DriveCell, World};
use crate::base::clock::Timestamp;

/// In which kind of answer an item appears.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    Single,
    Listing,
    Delta,
}

/// Which members the client asked for; empty for all.
#[derive(Clone, Default, Debug)]
pub(crate) struct Select(pub(crate) Vec<String>);

impl Select {
    fn wants(&self, member: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|wanted| wanted == member)
    }

    /// The download URL comes with all members, or when it is named.
    fn wants_url(&self) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|wanted| wanted == "@microsoft.graph.downloadUrl" || wanted == "content.downloadUrl")
    }
}

/// What an item's parent shows of itself; taken under the lock.
#[derive(Clone, Debug, Default)]
pub(crate) struct ParentFace {
    pub(crate) name: String,
    /// From the drive's root down, percent-encoded: empty or `/A/B`.
    pub(crate) path: String,
}

impl ParentFace {
    pub(crate) fn of(drive: &Drive, parent: Index) -> Self {
        let path = drive.path(parent).iter().map(|name| format!("/{}", encode(name))).collect();
        Self { name: drive.name(parent).into_owned(), path }
    }
}

/// Renders the items of one drive for one request.
pub(crate) struct Renderer<'w> {
    world: &'w World,
    cell: &'w DriveCell,
    strict: Arc<Strict>,
    pub(crate) shape: Shape,
    pub(crate) select: Select,
    pub(crate) now: Timestamp,
}

impl<'w> Renderer<'w> {
    pub(crate) fn new(world: &'w World, cell: &'w DriveCell, shape: Shape, select: Select, now: Timestamp) -> Self {
        Self { world, cell, strict: world.strict(), shape, select, now }
    }

    /// The drive id as this kind of answer spells it.
    fn drive_spelling(&self) -> String {
        let id = self.cell.identity.drive_id();
        if !self.cell.identity.flavour().is_personal() || !self.strict.drive_id_spellings {
            return id.to_owned();
        }
        match self.shape {
            Shape::Single => id.to_owned(),
            Shape::Listing => id.to_uppercase(),
            Shape::Delta => id.trim_start_matches('0').to_owned(),
        }
    }

    fn time(&self, time: Timestamp) -> String {
        let digits = if self.cell.identity.flavour() == Flavour::PersonalOld { 3 } else { 0 };
        wire_time(Timestamp(time.0), digits)
    }

    fn server_time(&self, time: Timestamp) -> String {
        self.time(Timestamp(time.0.saturating_add(self.strict.clock_skew.saturating_mul(1_000_000_000))))
    }

    /// One item as a whole answer.
    pub(crate) fn document(&self, face: &Face<'_>, parent: Option<&ParentFace>) -> String {
        let mut json = Json::new();
        json.object(|json| {
            let context = format!(
                "{}/v1.0/$metadata#drives('{}')/items/$entity",
                self.world.graph_url,
                encode(self.cell.identity.drive_id())
            );
            json.pair("@odata.context", &context);
            self.members(json, face, parent);
        });
        json.finish()
    }

    /// One item as an element of a list.
    pub(crate) fn element(&self, json: &mut Json, face: &Face<'_>, parent: Option<&ParentFace>) {
        json.object(|json| self.members(json, face, parent));
    }

    fn members(&self, json: &mut Json, face: &Face<'_>, parent: Option<&ParentFace>) {
        if face.deleted && self.shape == Shape::Delta {
            return self.tombstone(json, face);
        }
        let identity = &self.cell.identity;
        let personal = identity.flavour().is_personal();
        let delta = self.shape == Shape::Delta;
        let wants = |member: &str| self.select.wants(member);
        if let Kind::File { .. } = face.kind
            && self.select.wants_url()
            && !delta
            && !face.malware
            && !face.deleted
        {
            let url = self.world.download_url(self.cell.number, face.index, face.ctag, None, self.now);
            json.pair("@microsoft.graph.downloadUrl", &url);
        }
        if wants("id") {
            json.pair("id", &identity.item_id(face.index));
        }
        if wants("name") {
            json.pair("name", &face.name);
        }
        if wants("size") {
            json.key("size").number(face.size);
        }
        if wants("eTag") {
            json.pair("eTag", &identity.etag(face.index, face.etag));
        }
        let folder = matches!(face.kind, Kind::Folder { .. });
        if wants("cTag") && (personal || (!folder && !delta)) {
            json.pair("cTag", &identity.ctag(face.index, face.ctag, folder));
        }
        if wants("createdDateTime") {
            json.pair("createdDateTime", &self.server_time(face.created));
        }
        if wants("lastModifiedDateTime") {
            json.pair("lastModifiedDateTime", &self.server_time(face.modified));
        }
        if wants("createdBy") {
            self.person(json, "createdBy");
        }
        if wants("lastModifiedBy") && (personal || !delta) {
            self.person(json, "lastModifiedBy");
        }
        if wants("webUrl") && !matches!(face.kind, Kind::Opaque) {
            let id = encode(&identity.item_id(face.index));
            json.pair("webUrl", &format!("{}/view/{id}", self.world.graph_url));
        }
        if wants("parentReference") {
            json.key("parentReference").object(|json| self.parent(json, face, parent));
        }
        if wants("fileSystemInfo") {
            json.key("fileSystemInfo").object(|json| {
                json.pair("createdDateTime", &self.time(face.times.created));
                json.pair("lastModifiedDateTime", &self.time(face.times.modified));
            });
        }
        self.facets(json, face);
    }

    fn facets(&self, json: &mut Json, face: &Face<'_>) {
        let delta = self.shape == Shape::Delta;
        let personal = self.cell.identity.flavour().is_personal();
        let wants = |member: &str| self.select.wants(member);
        match &face.kind {
            Kind::File { hash } if wants("file") => json.key("file").object(|json| {
                json.pair("mimeType", mime(&face.name));
                let listed = self.shape != Shape::Single;
                if let Some(hash) = hash.as_ref().filter(|_| !(listed && self.strict.listings_lack_hashes)) {
                    json.key("hashes").object(|json| json.pair("quickXorHash", hash));
                }
            }),
            Kind::Folder { children } => {
                if wants("folder") {
                    let count = if delta && personal { 0 } else { *children };
                    json.key("folder").object(|json| json.key("childCount").number(count));
                }
                if face.index == ROOT && wants("root") {
                    json.key("root").object(|_| ());
                }
            }
            Kind::Package if wants("package") => json.key("package").object(|json| json.pair("type", "oneNote")),
            Kind::Bundle if wants("bundle") => json.key("bundle").object(|json| {
                json.key("childCount").number(0);
                json.key("album").object(|_| ());
            }),
            Kind::Shortcut { drive, item } if wants("remoteItem") => self.remote(json, *drive, *item),
            _ => {}
        }
        if let Some(name) = face.special.filter(|_| wants("specialFolder")) {
            json.key("specialFolder").object(|json| json.pair("name", name));
        }
        if face.malware && wants("malware") {
            json.key("malware").object(|json| json.pair("description", "Test"));
        }
        if face.shared && wants("shared") {
            json.key("shared").object(|json| json.pair("scope", "users"));
        }
        if let Some(text) = face.description.as_ref().filter(|_| wants("description")) {
            json.pair("description", text);
        }
        if face.deleted && wants("deleted") {
            json.key("deleted").object(|json| json.pair("state", "deleted"));
        }
    }

    fn parent(&self, json: &mut Json, face: &Face<'_>, parent: Option<&ParentFace>) {
        let identity = &self.cell.identity;
        json.pair("driveType", identity.flavour().drive_type());
        let drive = self.drive_spelling();
        json.pair("driveId", &drive);
        if let Some(index) = face.parent {
            json.pair("id", &identity.item_id(index));
            if let Some(parent) = parent.filter(|_| self.shape != Shape::Delta) {
                json.pair("name", &parent.name);
                let prefix = match identity.flavour() {
                    Flavour::PersonalOld => "/drive/root:".to_owned(),
                    _ => format!("/drives/{drive}/root:"),
                };
                json.pair("path", &format!("{prefix}{}", parent.path));
            }
        }
        if !identity.flavour().is_personal() {
            json.pair("siteId", identity.site_id());
        }
    }

    fn tombstone(&self, json: &mut Json, face: &Face<'_>) {
        let identity = &self.cell.identity;
        json.pair("id", &identity.item_id(face.index));
        json.key("parentReference").object(|json| {
            json.pair("driveId", &self.drive_spelling());
            json.pair("driveType", identity.flavour().drive_type());
            if let Some(parent) = face.parent {
                json.pair("id", &identity.item_id(parent));
            }
        });
        json.key("deleted").object(|json| json.pair("state", "deleted"));
        if identity.flavour().is_personal() {
            json.pair("name", &face.name);
        }
        match face.kind {
            Kind::Folder { .. } => json.key("folder").object(|_| ()),
            // A stale facet with a hash that belongs to nothing: to be ignored.
            _ => json.key("file").object(|json| {
                json.key("hashes").object(|json| json.pair("quickXorHash", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="));
            }),
        }
        if !identity.flavour().is_personal() {
            json.key("fileSystemInfo").object(|json| json.pair("lastModifiedDateTime", "0001-01-01T00:00:00Z"));
        }
    }

    fn person(&self, json: &mut Json, key: &str) {
        let account = &self.world.account;
        json.key(key).object(|json| {
            json.key("user").object(|json| {
                json.pair("id", &account.id);
                json.pair("displayName", &account.name);
                json.pair("email", &account.mail);
            });
        });
    }

    /// The inner half of a shortcut: the item it leads to, on its own drive.
    fn remote(&self, json: &mut Json, drive: usize, item: Index) {
        let Some(cell) = self.world.drive(drive) else { return };
        let state = cell.lock();
        if state.item(item).is_err() {
            return;
        }
        let face = Face::of(&state, item).into_owned();
        drop(state);
        let inner = Renderer { cell: &cell, select: Select::default(), strict: self.strict.clone(), ..*self };
        json.key("remoteItem").object(|json| {
            json.pair("id", &cell.identity.item_id(item));
            json.pair("name", &face.name);
            json.key("size").number(face.size);
            json.key("parentReference").object(|json| inner.parent(json, &face, None));
            json.key("fileSystemInfo").object(|json| {
                json.pair("createdDateTime", &inner.time(face.times.created));
                json.pair("lastModifiedDateTime", &inner.time(face.times.modified));
            });
            inner.facets(json, &face);
        });
    }
}

/// A drive as JSON members.
pub(crate) fn drive_members(world: &World, drive: &Drive, json: &mut Json) {
    let (identity, strict): (&Identity, _) = (&drive.identity, world.strict());
    json.pair("id", identity.drive_id());
    json.pair("driveType", identity.flavour().drive_type());
    json.pair("name", if identity.flavour() == Flavour::DocumentLibrary { "Documents" } else { "OneDrive" });
    json.pair("webUrl", &format!("{}/view", world.graph_url));
    json.key("owner").object(|json| {
        json.key("user").object(|json| {
            json.pair("id", &world.account.id);
            json.pair("displayName", &drive.owner);
        });
    });
    json.key("quota").object(|json| {
        let remaining = drive.total.saturating_sub(drive.used);
        let state = match remaining.saturating_mul(100).checked_div(drive.total).unwrap_or(0) {
            _ if remaining == 0 => "exceeded",
            0 => "critical",
            1..=9 => "nearing",
            _ => "normal",
        };
        if strict.quota_members_missing {
            json.key("total").number(0);
            json.key("used").number(drive.used);
            return;
        }
        json.key("deleted").number(drive.deleted_bytes);
        json.key("remaining").number(remaining);
        json.pair("state", state);
        json.key("total").number(drive.total);
        json.key("used").number(drive.used);
    });
}

/// The media type the service derives from a name.
pub(crate) fn mime(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "txt" | "md" | "log" => "text/plain",
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        "json" => "application/json",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        _ => "application/octet-stream",
    }
}
