//! Items without their content, over Live Connect: read, list, make folders, describe and rename, delete, move, copy;
//! quota, recent, shared and search.
//!
//! Documented on the vendor's pages "Working with Microsoft OneDrive folders and files" and "Move, copy, create, or
//! delete a file or folder on OneDrive (REST)". Pages of a listing are cut by offset from the folder as it is when each
//! is read: a change in between makes an entry appear twice or not at all.

use serde_json::{Value, json};

use super::drive::{Body, ClientTimes, Conflict, Drive};
use super::drive_ops::Relocation;
use super::ident::{Index, ROOT};
use super::live::{LiveAsk, LiveOutcome, Place};
use super::live_objects::{Sight, TAGS, media};
use super::live_wire::{LiveError, members, text_member};
use super::names;
use super::wire::{Answer, encode};
use super::world::{DriveCell, lock};

/// Entries of a page of search and of the recent documents, unless asked otherwise.
const PAGE: usize = 100;

/// GET of an item.
pub(crate) fn get(ask: &LiveAsk<'_>, place: &Place) -> LiveOutcome {
    ask.need_read()?;
    Ok(ask.object(200, place.cell.lock(), place))
}

fn collection(ask: &LiveAsk<'_>, cell: &DriveCell, sights: &[Sight]) -> Answer {
    let painter = ask.painter(cell);
    let entries: Vec<Value> = sights.iter().map(|sight| painter.object(sight)).collect();
    ask.style.answer(200, &json!({ "data": entries }))
}

/// Cuts a page out of a listing, with the accident that a test asked for.
fn cut(ask: &LiveAsk<'_>, entries: Vec<Index>, default: Option<usize>) -> Result<Vec<Index>, LiveError> {
    let mut limit = ask.query.number("limit")?.or(default);
    if let (Some(asked), Some(most)) = (limit, ask.world.strict().live.listing_limit_max) {
        limit = Some(asked.min(most));
    }
    if limit == Some(0) {
        return Err(LiveError::parameter("limit"));
    }
    let mut offset = ask.query.number("offset")?.unwrap_or(0);
    if offset > 0 {
        let mut shift = lock(&ask.world.listing_shift);
        match shift.signum() {
            // Something was added before the page, or taken away.
            1 => offset -= 1,
            -1 => offset += 1,
            _ => {}
        }
        *shift -= shift.signum();
    }
    Ok(entries.into_iter().skip(offset).take(limit.unwrap_or(usize::MAX)).collect())
}

fn passes(filter: &str, sight: &Sight) -> Result<bool, LiveError> {
    let kind = sight.kind();
    let mut any = false;
    for wanted in filter.split(',').map(str::trim).filter(|wanted| !wanted.is_empty()) {
        any |= match wanted {
            "all" => true,
            "photos" => kind == "photo",
            "videos" => kind == "video",
            "audio" => kind == "audio",
            "folders" => kind == "folder" || kind == "album",
            "albums" => kind == "album",
            _ => return Err(LiveError::parameter("filter")),
        };
    }
    Ok(any)
}

/// Sorts a listing. Without a wish the order is that in which the items came to be: clients must not rely on any.
fn sort(ask: &LiveAsk<'_>, drive: &Drive, folder: Index, entries: &mut [Index]) -> Result<(), LiveError> {
    let own = drive.items[folder as usize].extras.as_ref().and_then(|extras| extras.sort_by);
    match ask.query.get("sort_by").or(own) {
        None | Some("" | "default") => entries.sort_unstable(),
        Some("name") => {
            entries.sort_by(|&a, &b| names::compare(&drive.name(a), &drive.name(b), drive.flavour()).then(a.cmp(&b)));
        }
        Some("updated") => entries.sort_by(|&a, &b| drive.by_time(a, b).then(a.cmp(&b))),
        Some("size") => entries.sort_by_key(|&index| (drive.weight(index), index)),
        Some(_) => return Err(LiveError::parameter("sort_by")),
    }
    match ask.query.get("sort_order") {
        None | Some("" | "ascending") => {}
        Some("descending") => entries.reverse(),
        Some(_) => return Err(LiveError::parameter("sort_order")),
    }
    Ok(())
}

/// GET of a folder's children. Without a limit they come all at once.
pub(crate) fn list(ask: &LiveAsk<'_>, place: &Place, only: Option<&str>) -> LiveOutcome {
    ask.need_read()?;
    let filter = only.or(ask.query.get("filter")).unwrap_or("all");
    let drive = place.cell.lock();
    let mut entries = match &drive.item(place.index)?.body {
        Body::Folder(folder) => folder.children.clone(),
        Body::Bundle => Vec::new(),
        _ => {
            let kind = Sight::of(&drive, place.index).kind();
            return Err(LiveError::url(format!("Resource type '{kind}' doesn't support the path 'files'.")));
        }
    };
    entries.retain(|&index| Sight::shows(&drive, index) && !drive.hidden(index, drive.read_lag.children, ask.call.now));
    if filter != "all" {
        let mut kept = Vec::new();
        for index in entries {
            if passes(filter, &Sight::of(&drive, index))? {
                kept.push(index);
            }
        }
        entries = kept;
    }
    sort(ask, &drive, place.index, &mut entries)?;
    let sights: Vec<_> = cut(ask, entries, None)?.into_iter().map(|index| Sight::of(&drive, index)).collect();
    drop(drive);
    Ok(collection(ask, &place.cell, &sights))
}

/// POST to a folder: a new folder in it.
pub(crate) fn make_folder(ask: &LiveAsk<'_>, place: &Place, album: bool) -> LiveOutcome {
    ask.need_write()?;
    ask.need_own(place)?;
    let body = members(ask.call)?;
    let name = text_member(&body, "name")?.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| {
        LiveError::new(400, "request_parameter_missing", "The request is missing the required parameter: 'name'.")
    })?;
    let description = text_member(&body, "description")?.map(str::to_owned);
    let sort_by = sort_member(&body)?;
    // An existing folder is never the answer: `overwrite=true` says something about files only.
    let conflict = match ask.overwrite(Conflict::Fail)? {
        Conflict::Rename => Conflict::Rename,
        _ => Conflict::Fail,
    };
    let now = ask.call.now;
    let mut drive = place.cell.lock();
    if drive.folder(place.index).is_err() {
        return Err(LiveError::method("POST"));
    }
    let made = drive.make_folder(place.index, name, conflict, ClientTimes { created: now, modified: now }, now)?;
    if description.is_some() || sort_by.is_some() || album {
        let extras = drive.extras_mut(made.index)?;
        (extras.description, extras.sort_by, extras.album) = (description, sort_by, album);
    }
    Ok(ask.object(201, drive, &Place { index: made.index, ..place.clone() }))
}

fn sort_member(body: &serde_json::Map<String, Value>) -> Result<Option<&'static str>, LiveError> {
    match text_member(body, "sort_by")? {
        None => Ok(None),
        Some("default") => Ok(Some("default")),
        Some("name") => Ok(Some("name")),
        Some("updated") => Ok(Some("updated")),
        Some("size") => Ok(Some("size")),
        Some(_) => Err(LiveError::parameter("sort_by")),
    }
}

/// PUT of an item: its name, description, order.
pub(crate) fn update(ask: &LiveAsk<'_>, place: &Place) -> LiveOutcome {
    const WRITABLE: [&str; 3] = ["name", "description", "sort_by"];
    ask.need_write()?;
    ask.need_own(place)?;
    let body = members(ask.call)?;
    if let Some(odd) = body.keys().find(|key| !WRITABLE.iter().chain(&TAGS).any(|known| known == key)) {
        return Err(LiveError::new(
            400,
            "request_parameter_invalid",
            format!("The property '{odd}' is read-only or doesn't exist."),
        ));
    }
    let name = text_member(&body, "name")?.map(str::to_owned);
    let sort_by = sort_member(&body)?;
    let now = ask.call.now;
    let mut drive = place.cell.lock();
    if let Some(name) = name.filter(|name| *name != name_of(&drive, place.index)) {
        let to = Relocation { parent: None, name: Some(name) };
        drive.relocate(place.index, &to, Conflict::Fail, now)?;
    }
    if let Some(description) = body.get("description") {
        let text = match description {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            _ => return Err(LiveError::body("The member 'description' has to be a string.")),
        };
        drive.extras_mut(place.index)?.description = text;
        drive.touch(place.index, now);
    }
    if sort_by.is_some() {
        drive.extras_mut(place.index)?.sort_by = sort_by;
        drive.touch(place.index, now);
    }
    for tag in TAGS.into_iter().filter(|tag| body.contains_key(*tag)) {
        let text = text_member(&body, tag)?.map(str::to_owned);
        let tags = &mut drive.extras_mut(place.index)?.tags;
        match text {
            Some(text) => tags.insert(tag, text),
            None => tags.remove(tag),
        };
        drive.touch(place.index, now);
    }
    Ok(ask.object(200, drive, place))
}

fn name_of(drive: &Drive, index: Index) -> String {
    drive.name(index).into_owned()
}

/// DELETE: into the recycle bin, which this protocol cannot see.
pub(crate) fn delete(ask: &LiveAsk<'_>, place: &Place) -> LiveOutcome {
    ask.need_write()?;
    ask.need_own(place)?;
    place.cell.lock().remove(place.index, ask.call.now)?;
    Ok(Answer::empty(204))
}

/// MOVE and COPY.
pub(crate) fn relocate(ask: &LiveAsk<'_>, place: &Place, moving: bool) -> LiveOutcome {
    ask.need_write()?;
    if moving {
        ask.need_own(place)?;
    }
    let body = members(ask.call)?;
    let destination = text_member(&body, "destination")?.ok_or_else(|| {
        LiveError::new(
            400,
            "request_parameter_missing",
            "The request is missing the required parameter: 'destination'.",
        )
    })?;
    let target = destination_of(ask, destination)?;
    ask.need_own(&target)?;
    let strict = ask.world.strict();
    let conflict = ask.overwrite(Conflict::Fail)?;
    let now = ask.call.now;
    if target.cell.number != place.cell.number {
        return Err(LiveError::body("Resources can't be moved or copied between users."));
    }
    let mut drive = place.cell.lock();
    if drive.folder(target.index).is_err() {
        return Err(LiveError::body("The destination isn't a folder."));
    }
    let folder = Sight::of(&drive, place.index).is_folder();
    if folder && (!moving || !strict.live.folder_moves) {
        let verb = if moving { "moved" } else { "copied" };
        return Err(LiveError::new(400, "request_method_invalid", format!("Folders can't be {verb}.")));
    }
    let index = if moving {
        drive.relocate(place.index, &Relocation { parent: Some(target.index), name: None }, conflict, now)?;
        place.index
    } else {
        let name = name_of(&drive, place.index);
        drive.copy(place.index, target.index, &name, conflict, now)?
    };
    Ok(ask.object(201, drive, &Place { index, ..place.clone() }))
}

fn destination_of(ask: &LiveAsk<'_>, text: &str) -> Result<Place, LiveError> {
    let Some(rest) = text.trim_matches('/').strip_prefix("me/skydrive") else { return ask.place_of(text) };
    if !ask.world.strict().live.special_destinations {
        return Err(LiveError::body("The destination isn't a valid resource ID."));
    }
    match rest.trim_matches('/') {
        "" => Ok(Place { cell: ask.own.clone(), index: ROOT }),
        name => super::live::canonical(ask, name).unwrap_or_else(|| Err(LiveError::missing())),
    }
}

/// GET of the two numbers.
pub(crate) fn quota(ask: &LiveAsk<'_>) -> LiveOutcome {
    ask.need_read()?;
    let drive = ask.own.lock();
    Ok(ask.style.answer(200, &json!({"quota": drive.total, "available": drive.total.saturating_sub(drive.used)})))
}

/// GET of the documents that changed last: no pictures, no folders.
pub(crate) fn recent(ask: &LiveAsk<'_>) -> LiveOutcome {
    ask.need_read()?;
    let drive = ask.own.lock();
    let mut files: Vec<Index> = (0..drive.items.len() as Index)
        .filter(|&index| drive.content(index).is_ok() && media(&drive.name(index)) == "file")
        .collect();
    files.sort_by(|&a, &b| drive.by_time(b, a).then(b.cmp(&a)));
    let sights: Vec<_> = cut(ask, files, Some(PAGE))?.into_iter().map(|index| Sight::of(&drive, index)).collect();
    drop(drive);
    Ok(collection(ask, &ask.own, &sights))
}

/// What others share with the user: in the emulator, where the shortcuts of the drive lead.
fn shares(ask: &LiveAsk<'_>) -> Vec<(usize, Index)> {
    let drive = ask.own.lock();
    let live = (0..drive.items.len() as Index).filter_map(|index| drive.item(index).ok());
    live.filter_map(|item| match &item.body {
        Body::Shortcut(to) => Some((to.drive, to.item)),
        _ => None,
    })
    .collect()
}

/// Whether an item of another drive lies in what was shared.
pub(crate) fn is_shared(ask: &LiveAsk<'_>, cell: &DriveCell, index: Index) -> bool {
    let shares = shares(ask);
    let drive = cell.lock();
    shares.iter().any(|&(number, top)| number == cell.number && drive.is_within(index, top))
}

/// GET of what others share.
pub(crate) fn shared(ask: &LiveAsk<'_>) -> LiveOutcome {
    ask.need(&["wl.contacts_skydrive"])?;
    let mut entries = Vec::new();
    for (number, index) in shares(ask) {
        let Some(cell) = ask.world.drive(number) else { continue };
        let sight = {
            let drive = cell.lock();
            if drive.item(index).is_err() {
                continue;
            }
            Sight::of(&drive, index)
        };
        entries.push(ask.painter(&cell).object(&sight));
    }
    Ok(ask.style.answer(200, &json!({ "data": entries })))
}

/// GET of what a text occurs in: names only, after the index has caught up.
pub(crate) fn search(ask: &LiveAsk<'_>) -> LiveOutcome {
    ask.need_read()?;
    let text = ask.query.get("q").filter(|text| !text.trim().is_empty()).ok_or_else(|| {
        LiveError::new(400, "request_parameter_missing", "The request is missing the required parameter: 'q'.")
    })?;
    let lag = ask.world.strict().search_lag;
    let drive = ask.own.lock();
    let found: Vec<Index> = drive
        .subtree(ROOT)
        .into_iter()
        .filter(|&index| index != ROOT && Sight::shows(&drive, index) && !drive.hidden(index, lag, ask.call.now))
        .filter(|&index| names::contains(&drive.name(index), text, drive.flavour()))
        .collect();
    let total = found.len();
    let sights: Vec<_> = cut(ask, found, Some(PAGE))?.into_iter().map(|index| Sight::of(&drive, index)).collect();
    drop(drive);
    let painter = ask.painter(&ask.own);
    let entries: Vec<Value> = sights.iter().map(|sight| painter.object(sight)).collect();
    let next = ask.query.number("offset")?.unwrap_or(0) + entries.len();
    let mut value = json!({ "data": entries });
    if next < total {
        let (base, q) = (&ask.world.graph_url, encode(text));
        let next = format!("{base}/v5.0/me/skydrive/search?q={q}&limit={}&offset={next}", sights.len());
        value["paging"] = json!({ "next": next });
    }
    Ok(ask.style.answer(200, &value))
}

/// GET and POST of the albums, which lie in the root.
pub(crate) fn albums(ask: &LiveAsk<'_>) -> LiveOutcome {
    let root = Place { cell: ask.own.clone(), index: ROOT };
    match ask.method.as_str() {
        "GET" => list(ask, &root, Some("albums")),
        "POST" => make_folder(ask, &root, true),
        other => Err(LiveError::method(other)),
    }
}
