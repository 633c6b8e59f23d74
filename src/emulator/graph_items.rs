//! Items without their content: read, list, make folders, rename, move, delete, restore.
//!
//! Documented on the pages of the driveItem resource below
//! <https://learn.microsoft.com/graph/api/resources/driveitem>; what reports add to them is in
//! `fidelity.md`.

use serde_json::{Map, Value};

use super::Flavour;
use super::address::{ItemAddress, Start};
use super::drive::{ClientTimes, Conflict, Drive, DriveError};
use super::drive_ops::Relocation;
use super::face::{Face, Kind};
use super::graph::{Ask, Located, Query, conflict};
use super::ident::{Index, ROOT};
use super::render::{ParentFace, Shape};
use super::sessions::matches_tag;
use super::strict::{DeleteMatch, PatchAnswer};
use super::wire::{Answer, Json, Outcome, Refusal, encode, parse_time};
use crate::base::clock::Timestamp;

/// The preference without which personal drives hide shortcuts (onedrive-api-docs issue 1891).
const SHORTCUTS: &str = "Include-Feature=AddToOneDrive";

/// GET of an item.
pub(crate) fn get(ask: &Ask<'_>, at: &ItemAddress) -> Outcome {
    let mut drive = ask.cell.lock();
    let index = ask.locate(&mut drive, at)?.found()?;
    if matches!(drive.items[index as usize].body, super::drive::Body::Opaque) {
        return Err(Refusal::bad("ObjectHandle is Invalid"));
    }
    let tag = drive.identity.etag(index, drive.seen(index, ask.call.now).etag);
    if ask.call.header("if-none-match").is_some_and(|given| given == tag || given.trim_matches('"') == tag) {
        return Ok(Answer::empty(304).with("etag", tag));
    }
    check_expand(ask, false)?;
    if ask.query.expand.iter().any(|what| what == "children") {
        return with_children(ask, drive, index);
    }
    Ok(ask.reader_answer(drive, index))
}

fn check_expand(ask: &Ask<'_>, listing: bool) -> Result<(), Refusal> {
    for what in &ask.query.expand {
        let what = what.split('(').next().unwrap_or(what);
        let known = match what {
            "children" => !listing,
            "thumbnails" => !listing || ask.cell.identity.flavour().is_personal(),
            _ => false,
        };
        if !known {
            return Err(Refusal::bad(format!("$expand of {what} is not possible here.")).inner("invalidQueryOption"));
        }
    }
    Ok(())
}

/// One page of a folder.
struct Page {
    faces: Vec<Face<'static>>,
    parent: ParentFace,
    /// Where the next page begins.
    next: Option<usize>,
}

fn page(ask: &Ask<'_>, drive: &Drive, folder: Index, from: usize, descending: bool) -> Result<Page, Refusal> {
    let strict = ask.world.strict();
    let size = ask.query.top.unwrap_or(strict.page_default).min(strict.page_max);
    let gated = drive.flavour().is_personal() && strict.shortcuts_need_prefer && !ask.call.prefers(SHORTCUTS);
    let children = &drive.folder(folder)?.children;
    let count = children.len();
    let mut faces = Vec::with_capacity(size.min(count));
    let mut at = from;
    while at < count && at - from < size {
        let index = children[if descending { count - 1 - at } else { at }];
        at += 1;
        if drive.hidden(index, drive.read_lag.children, ask.call.now) {
            continue;
        }
        let face = drive.seen(index, ask.call.now);
        if !(gated && matches!(face.kind, Kind::Shortcut { .. })) {
            faces.push(face);
        }
    }
    Ok(Page { faces, parent: ParentFace::of(drive, folder), next: (at < count).then_some(at) })
}

fn next_link(ask: &Ask<'_>, folder: Index, from: usize) -> String {
    let expiry = ask.call.now.plus(ask.world.strict().page_link_life).seconds();
    let token = ask.world.seal(&format!("page|{}|{folder}|{from}|{expiry}", ask.cell.number));
    let kept: String = ask
        .call
        .query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .filter(|pair| !pair.to_ascii_lowercase().contains("skiptoken=") && !pair.contains("expand="))
        .map(|pair| format!("{pair}&"))
        .collect();
    format!(
        "{}/v1.0/drives/{}/items/{}/children?{kept}$skiptoken={token}",
        ask.world.graph_url,
        encode(ask.cell.identity.drive_id()),
        encode(&ask.cell.identity.item_id(folder)),
    )
}

fn page_start(ask: &Ask<'_>, folder: Index) -> Result<usize, Refusal> {
    let Some(token) = &ask.query.skip_token else { return Ok(0) };
    let bad = || Refusal::bad("Invalid paging token");
    let text = ask.world.unseal(token).ok_or_else(bad)?;
    let parts: Vec<_> = text.split('|').collect();
    let ["page", drive, of, from, expiry] = parts.as_slice() else { return Err(bad()) };
    let expiry = expiry.parse().map(Timestamp::from_seconds).map_err(|_| bad())?;
    if *drive != ask.cell.number.to_string() || *of != folder.to_string() || expiry <= ask.call.now {
        return Err(bad());
    }
    from.parse().map_err(|_| bad())
}

fn order(query: &Query) -> Result<bool, Refusal> {
    match query.order_by.as_deref().map(str::trim) {
        None | Some("name" | "name asc") => Ok(false),
        Some("name desc") => Ok(true),
        Some(_) => Err(Refusal::bad("Only ordering by name is possible.").inner("invalidQueryOption")),
    }
}

/// GET of a folder's children, page by page. Pages are cut from the listing as it is when each one is
/// read: a change in between makes items appear twice or not at all.
pub(crate) fn children(ask: &Ask<'_>, at: &ItemAddress) -> Outcome {
    if at.start == Start::Special("recyclebin".into()) {
        return recycle_bin(ask);
    }
    check_expand(ask, true)?;
    let descending = order(&ask.query)?;
    let mut drive = ask.cell.lock();
    let folder = ask.locate(&mut drive, at)?.found()?;
    let from = page_start(ask, folder)?;
    let page = page(ask, &drive, folder, from, descending)?;
    drop(drive);
    let renderer = ask.renderer(Shape::Listing);
    let mut json = Json::new();
    json.object(|json| {
        json.pair("@odata.context", &format!("{}/v1.0/$metadata#Collection(driveItem)", ask.world.graph_url));
        if let Some(next) = page.next {
            json.pair("@odata.nextLink", &next_link(ask, folder, next));
        }
        json.key("value").array(|json| {
            page.faces.iter().for_each(|face| renderer.element(json, face, Some(&page.parent)));
        });
    });
    Ok(Answer::json(200, json.finish()))
}

fn with_children(ask: &Ask<'_>, drive: std::sync::MutexGuard<'_, Drive>, index: Index) -> Outcome {
    let page = page(ask, &drive, index, 0, false)?;
    let face = Face::of(&drive, index).into_owned();
    let parent = face.parent.map(|parent| ParentFace::of(&drive, parent));
    drop(drive);
    let own = ask.renderer(Shape::Single).document(&face, parent.as_ref());
    let renderer = ask.renderer(Shape::Listing);
    let mut json = Json::new();
    json.array(|json| page.faces.iter().for_each(|face| renderer.element(json, face, Some(&page.parent))));
    let mut text = own;
    text.pop();
    text.push_str(&format!(",\"children\":{}", json.finish()));
    if let Some(next) = page.next {
        let mut link = Json::new();
        link.object(|json| json.pair("children@odata.nextLink", &next_link(ask, index, next)));
        let link = link.finish();
        text.push(',');
        text.push_str(&link[1..link.len() - 1]);
    }
    text.push('}');
    Ok(Answer::json(200, text))
}

fn recycle_bin(ask: &Ask<'_>) -> Outcome {
    let drive = ask.cell.lock();
    if drive.flavour().is_personal() {
        return Err(Refusal::bad("The special folder identifier isn't valid."));
    }
    let faces: Vec<_> = drive.recycle_bin.iter().map(|&index| Face::of(&drive, index).into_owned()).collect();
    drop(drive);
    let renderer = ask.renderer(Shape::Listing);
    let mut json = Json::new();
    json.object(|json| {
        json.key("value").array(|json| faces.iter().for_each(|face| renderer.element(json, face, None)));
    });
    Ok(Answer::json(200, json.finish()))
}

/// A special folder; reading one makes it.
pub(crate) fn special(drive: &mut Drive, name: &str, now: Timestamp) -> Result<Index, Refusal> {
    let (name, folder) = match name {
        "documents" => ("documents", "Documents"),
        "photos" => ("photos", "Pictures"),
        "cameraroll" => ("cameraRoll", "Camera Roll"),
        "music" => ("music", "Music"),
        "approot" => ("approot", "Apps"),
        _ => return Err(Refusal::bad("The special folder identifier isn't valid.")),
    };
    let times = ClientTimes { created: now, modified: now };
    let made = drive.make_folder(ROOT, folder, Conflict::Replace, times, now)?;
    drive.extras_mut(made.index)?.special = Some(name);
    Ok(made.index)
}

/// Refuses members that the operation does not define.
pub(crate) fn check_members(ask: &Ask<'_>, body: &Map<String, Value>, known: &[&str]) -> Result<(), Refusal> {
    const READ_ONLY: [&str; 10] = [
        "id",
        "eTag",
        "cTag",
        "size",
        "webUrl",
        "createdDateTime",
        "lastModifiedDateTime",
        "createdBy",
        "lastModifiedBy",
        "root",
    ];
    let strict = ask.world.strict().refuse_unknown_members;
    // The older spelling of the conflict behaviour goes wherever the newer one does: rclone makes folders with it.
    let older =
        |member: &str| member == "@name.conflictBehavior" && known.contains(&"@microsoft.graph.conflictBehavior");
    for member in body.keys().filter(|member| !known.contains(&member.as_str()) && !older(member)) {
        if READ_ONLY.contains(&member.as_str()) {
            return Err(
                Refusal::bad(format!("The property {member} cannot be updated.")).inner("propertyNotUpdateable")
            );
        }
        if strict {
            return Err(Refusal::bad(format!("The property {member} does not exist here.")));
        }
    }
    Ok(())
}

/// `@microsoft.graph.conflictBehavior` from a body, else from the query.
pub(crate) fn body_conflict(ask: &Ask<'_>, body: &Map<String, Value>) -> Result<Option<Conflict>, Refusal> {
    match body.get("@microsoft.graph.conflictBehavior").or_else(|| body.get("@name.conflictBehavior")) {
        Some(value) => Ok(Some(conflict(value.as_str().unwrap_or_default())?)),
        None => Ok(ask.query.conflict),
    }
}

/// The times of a `fileSystemInfo` member, each if given.
pub(crate) fn body_times(body: &Map<String, Value>) -> Result<(Option<Timestamp>, Option<Timestamp>), Refusal> {
    let Some(given) = body.get("fileSystemInfo") else { return Ok((None, None)) };
    let bad = || Refusal::bad("fileSystemInfo is not valid.").inner("invalidParameterFormat");
    let given = given.as_object().ok_or_else(bad)?;
    let read = |key: &str| match given.get(key) {
        None => Ok(None),
        Some(value) => value.as_str().and_then(parse_time).map(Some).ok_or_else(bad),
    };
    if given
        .keys()
        .any(|key| !matches!(key.as_str(), "createdDateTime" | "lastModifiedDateTime" | "lastAccessedDateTime"))
    {
        return Err(bad());
    }
    Ok((read("createdDateTime")?, read("lastModifiedDateTime")?))
}

/// POST of a new child: folders only.
pub(crate) fn make(ask: &Ask<'_>, at: &ItemAddress) -> Outcome {
    let body = ask.call.json()?;
    let known = ["name", "folder", "fileSystemInfo", "description", "@microsoft.graph.conflictBehavior"];
    check_members(ask, &body, &known)?;
    if !body.get("folder").is_some_and(Value::is_object) {
        return Err(Refusal::bad("Only folders can be created this way."));
    }
    let name = body.get("name").and_then(Value::as_str).ok_or_else(|| Refusal::bad("The name is missing."))?;
    let wanted = body_conflict(ask, &body)?.unwrap_or(Conflict::Fail);
    let (created, modified) = body_times(&body)?;
    let strict = ask.world.strict();
    let now = ask.call.now;
    let mut drive = ask.cell.lock();
    let parent = ask.locate(&mut drive, at)?.found()?;
    // Only legacy personal drives take times here; elsewhere they have to be set afterwards.
    let times = match drive.flavour() {
        Flavour::PersonalOld => ClientTimes { created: created.unwrap_or(now), modified: modified.unwrap_or(now) },
        _ => ClientTimes { created: now, modified: now },
    };
    if strict.mkdir_replace_conflicts && wanted == Conflict::Replace && drive.child(parent, name)?.is_some() {
        return Err(DriveError::Taken.into());
    }
    let made = drive.make_folder(parent, name, wanted, times, now)?;
    let status = if made.created { 201 } else { 200 };
    if strict.empty_success_bodies {
        return Ok(Answer::empty(status));
    }
    Ok(ask.item_answer(status, drive, made.index))
}

/// Refuses when the request names a version that the item no longer has.
pub(crate) fn check_match(ask: &Ask<'_>, drive: &Drive, index: Index) -> Result<(), Refusal> {
    match ask.call.header("if-match") {
        Some(tag) if !matches_tag(drive, index, tag)? => {
            Err(Refusal::new(412, "resourceModified", "ETag does not match current item's value."))
        }
        _ => Ok(()),
    }
}

/// The folder a `parentReference` names.
pub(crate) fn body_parent(ask: &Ask<'_>, drive: &Drive, body: &Map<String, Value>) -> Result<Option<Index>, Refusal> {
    let Some(reference) = body.get("parentReference") else { return Ok(None) };
    let bad = || Refusal::bad("parentReference is not valid.");
    let reference = reference.as_object().ok_or_else(bad)?;
    if let Some(id) = reference.get("driveId").and_then(Value::as_str)
        && !ask.cell.identity.is_drive(id)
    {
        return Err(Refusal::new(400, "notSupported", "Items cannot be moved to another drive."));
    }
    let Some(id) = reference.get("id").and_then(Value::as_str) else {
        let path = reference.get("path").and_then(Value::as_str).ok_or_else(bad)?;
        let names = path.split_once("root:").map(|(_, names)| names).ok_or_else(bad)?;
        let names: Vec<_> = names.split('/').filter(|name| !name.is_empty()).map(super::wire::decode).collect();
        let names = names.into_iter().collect::<Option<Vec<_>>>().ok_or_else(bad)?;
        return Ok(Some(drive.walk(ROOT, names.iter().map(String::as_str))?));
    };
    // "root" is an alias in addresses only.
    if id == "root" {
        return Err(Refusal::bad("The parent id is malformed."));
    }
    let index = drive.identity.parse_item_id(id).ok_or_else(Refusal::missing)?;
    drive.item(index)?;
    Ok(Some(index))
}

/// PATCH: rename, move, set times, describe.
pub(crate) fn patch(ask: &Ask<'_>, at: &ItemAddress) -> Outcome {
    let body = ask.call.json()?;
    let known = ["name", "parentReference", "fileSystemInfo", "description", "@microsoft.graph.conflictBehavior"];
    check_members(ask, &body, &known)?;
    if !body.keys().any(|member| !member.starts_with('@')) {
        return Err(Refusal::bad("There is nothing to update."));
    }
    let (created, modified) = body_times(&body)?;
    let wanted = body_conflict(ask, &body)?.unwrap_or(Conflict::Fail);
    let name = match body.get("name") {
        None => None,
        Some(name) => Some(name.as_str().ok_or_else(|| Refusal::bad("The name is not valid."))?.to_owned()),
    };
    let (strict, now) = (ask.world.strict(), ask.call.now);
    let mut drive = ask.cell.lock();
    let index = ask.locate(&mut drive, at)?.found()?;
    let to = Relocation { parent: body_parent(ask, &drive, &body)?, name };
    check_match(ask, &drive, index)?;
    let personal = drive.flavour().is_personal();
    let quiet = personal && !at.by_path && strict.patch_answer != PatchAnswer::Item;
    if quiet && strict.patch_answer == PatchAnswer::EmptyIgnored {
        return Ok(Answer::empty(204));
    }
    let description = match body.get("description") {
        None => None,
        Some(Value::String(text)) if drive.flavour() == Flavour::PersonalOld && text.len() <= 1024 => {
            Some(text.clone())
        }
        Some(_) => return Err(Refusal::bad("The description cannot be set here.")),
    };
    drive.rename_replaces = strict.rename_replaces_files;
    let moved = (to.parent.is_some() || to.name.is_some()) && drive.relocate(index, &to, wanted, now)?;
    let times_given = created.is_some() || modified.is_some();
    if times_given || (moved && to.parent.is_some() && strict.move_resets_times) {
        let before = drive.item(index)?.times;
        let times = ClientTimes {
            // Given one time only, the service overwrites the created time.
            created: created.unwrap_or(if times_given { now } else { before.created }),
            modified: modified.unwrap_or(if times_given { before.modified } else { now }),
        };
        drive.set_times(index, times, now)?;
    }
    if let Some(text) = description {
        drive.extras_mut(index)?.description = Some(text);
        drive.touch(index, now);
    }
    if quiet {
        return Ok(Answer::empty(204));
    }
    Ok(ask.item_answer(200, drive, index))
}

/// DELETE into the recycle bin.
pub(crate) fn delete(ask: &Ask<'_>, at: &ItemAddress) -> Outcome {
    let strict = ask.world.strict();
    let mut drive = ask.cell.lock();
    let index = ask.locate(&mut drive, at)?.found()?;
    if ask.call.header("if-match").is_some() && strict.delete_if_match == DeleteMatch::AlwaysFails {
        return Err(Refusal::new(412, "resourceModified", "ETag does not match current item's value."));
    }
    check_match(ask, &drive, index)?;
    let filled = drive.folder(index).is_ok_and(|folder| !folder.children.is_empty());
    if filled && strict.retention_hold && !drive.flavour().is_personal() {
        return Err(DriveError::Held.into());
    }
    drive.remove(index, ask.call.now)?;
    Ok(Answer::empty(204))
}

/// POST permanentDelete: work drives only.
pub(crate) fn permanent_delete(ask: &Ask<'_>, at: &ItemAddress) -> Outcome {
    let mut drive = ask.cell.lock();
    if drive.flavour().is_personal() {
        return Err(Refusal::new(405, "methodNotAllowed", "The method is not allowed on this drive."));
    }
    let index = ask.locate(&mut drive, at)?.found()?;
    drive.remove(index, ask.call.now)?;
    drive.purge(index);
    Ok(Answer::empty(204))
}

/// POST restore: personal drives only.
pub(crate) fn restore(ask: &Ask<'_>, at: &ItemAddress) -> Outcome {
    let body = if ask.call.body.length() == 0 { Map::new() } else { ask.call.json()? };
    check_members(ask, &body, &["name", "parentReference"])?;
    let mut drive = ask.cell.lock();
    if !drive.flavour().is_personal() {
        return Err(Refusal::new(400, "notSupported", "Items of this drive cannot be restored this way."));
    }
    let Start::Item(id) = &at.start else { return Err(Refusal::missing()) };
    let index = drive.identity.parse_item_id(id).ok_or_else(Refusal::missing)?;
    let parent = body_parent(ask, &drive, &body)?;
    drive.restore(index, parent, body.get("name").and_then(Value::as_str), ask.call.now)?;
    Ok(ask.item_answer(200, drive, index))
}

/// Makes the folders that a write by path needs, where the service does so.
pub(crate) fn make_missing(drive: &mut Drive, at: Located, now: Timestamp) -> Result<Located, Refusal> {
    let Located::Nowhere { start, mut names } = at else { return Ok(at) };
    let name = names.pop().ok_or_else(Refusal::missing)?;
    let times = ClientTimes { created: now, modified: now };
    let mut parent = start;
    for folder in names {
        parent = drive.make_folder(parent, &folder, Conflict::Replace, times, now)?.index;
    }
    Ok(Located::Free { parent, name })
}
