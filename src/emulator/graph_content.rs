//! File content through Graph: the redirect to a download, the simple PUT, the start of a session.
//!
//! Documented at <https://learn.microsoft.com/graph/api/driveitem-get-content>,
//! <https://learn.microsoft.com/graph/api/driveitem-put-content> and
//! <https://learn.microsoft.com/graph/api/driveitem-createuploadsession>.

use std::time::Duration;

use serde_json::{Map, Value};

use super::Flavour;
use super::address::ItemAddress;
use super::content::{Content, Rope};
use super::drive::{ClientTimes, Conflict, Drive, DriveError};
use super::graph::{Ask, Located};
use super::graph_items::{body_conflict, body_times, check_match, check_members, make_missing};
use super::ident::Index;
use super::sessions::{Destination, Session, matches_tag, session_id};
use super::strict::{Strict, UnsetConflict};
use super::wire::{Answer, Json, Outcome, Refusal, wire_time};
use super::world::lock;
use crate::base::clock::Timestamp;
use crate::base::hash::QuickXorHash;

/// GET content: 302 to a URL on the other authority.
pub(crate) fn get(ask: &Ask<'_>, at: &ItemAddress) -> Outcome {
    let mut drive = ask.cell.lock();
    let index = ask.locate(&mut drive, at)?.found()?;
    let item = drive.item(index)?;
    if item.extras.as_ref().is_some_and(|extras| extras.malware) {
        return Err(Refusal::new(403, "malwareDetected", "Malware detected in the file."));
    }
    if drive.folder(index).is_ok() {
        return Err(Refusal::bad("You cannot get content for a folder."));
    }
    drive.content(index).map_err(|_| Refusal::bad("The item has no content that could be downloaded."))?;
    let (ctag, now) = (item.ctag, ask.call.now);
    drop(drive);
    Ok(Answer::found(ask.world.download_url(ask.cell.number, index, ctag, None, now)))
}

/// PUT content: create or replace in one request.
pub(crate) fn put(ask: &Ask<'_>, at: &ItemAddress) -> Outcome {
    let strict = ask.world.strict();
    let size = ask.call.body.length();
    if size > strict.simple_put_limit {
        return Err(
            Refusal::new(413, "invalidRequest", "The file is too large for this request.").inner("maxFileSizeExceeded")
        );
    }
    let wanted = ask.query.conflict.unwrap_or(Conflict::Replace);
    let mut rope = Rope::default();
    rope.append(&ask.call.body);
    // Hashed before the drive is locked.
    let content = Content::from_rope(rope);
    let now = ask.call.now;
    let mut drive = ask.cell.lock();
    let mut located = ask.locate(&mut drive, at)?;
    if strict.put_creates_folders {
        located = make_missing(&mut drive, located, now)?;
    }
    let written = match located {
        Located::Nowhere { .. } => return Err(Refusal::missing()),
        Located::Free { parent, name } => {
            // A precondition on something that is not there cannot hold.
            if ask.call.header("if-match").is_some() {
                return Err(Refusal::new(412, "resourceModified", "The item does not exist."));
            }
            drive.write_named(parent, &name, content, wanted, ClientTimes { created: now, modified: now }, now)?
        }
        Located::Found(index) => {
            check_match(ask, &drive, index)?;
            if strict.put_if_none_match && ask.call.header("if-none-match") == Some("*") {
                return Err(Refusal::new(412, "resourceModified", "The item exists."));
            }
            // Such a request cannot carry times: the service sets both.
            let times = ClientTimes { created: now, modified: now };
            if at.by_path {
                let (parent, name) = (drive.item(index)?.parent, drive.name(index).into_owned());
                drive.write_named(parent, &name, content, wanted, times, now)?
            } else {
                drive.replace(index, content, times, now)?;
                super::drive_ops::Written { index, created: false }
            }
        }
    };
    let answer = ask.item_answer(if written.created { 201 } else { 200 }, drive, written.index);
    after_upload(&mut ask.cell.lock(), written.index, &strict, now);
    Ok(answer)
}

/// What the service does to some files once they are there.
pub(crate) fn after_upload(drive: &mut Drive, index: Index, strict: &Strict, now: Timestamp) {
    let name = drive.name(index).to_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    let rewrites = strict.office_rewrite && !drive.flavour().is_personal();
    if rewrites
        && ends(&[".docx", ".xlsx", ".pptx", ".pdf", ".html"])
        && let (Ok(content), Ok(item)) = (drive.content(index), drive.item(index))
    {
        let (mut bytes, times) = (content.to_vec(), item.times);
        bytes.extend_from_slice(b"<!--stamp-->");
        // A full drive only means that the stamp is not made.
        let _ = drive.replace(index, Content::from_bytes(bytes), times, now);
    }
    if strict.etag_drift && ends(&[".jpg", ".jpeg", ".png", ".heic"]) {
        let _ = drive.drift(index, now);
    }
}

/// What the body of createUploadSession says.
struct Wish {
    conflict: Option<Conflict>,
    times: (Option<Timestamp>, Option<Timestamp>),
    deferred: bool,
    size: Option<u64>,
}

fn session_wish(ask: &Ask<'_>, name: Option<&str>) -> Result<Wish, Refusal> {
    let body = if ask.call.body.length() == 0 { Map::new() } else { ask.call.json()? };
    check_members(ask, &body, &["item", "deferCommit"])?;
    let deferred = body.get("deferCommit").and_then(Value::as_bool).unwrap_or(false);
    let empty = Map::new();
    let item = match body.get("item") {
        None => &empty,
        Some(item) => item.as_object().ok_or_else(|| Refusal::bad("The member item is not valid."))?,
    };
    let flavour = ask.cell.identity.flavour();
    let mut known = vec!["@microsoft.graph.conflictBehavior", "name", "fileSystemInfo", "@odata.type"];
    match flavour {
        Flavour::PersonalOld => known.extend(["fileSize", "description"]),
        Flavour::PersonalNew => known.push("fileSize"),
        _ => known.extend(["driveItemSource", "mediaSource"]),
    }
    check_members(ask, item, &known)?;
    if let (Some(given), Some(name)) = (item.get("name").and_then(Value::as_str), name)
        && given != name
    {
        return Err(Refusal::bad("The name in the body differs from the one in the URL."));
    }
    Ok(Wish {
        conflict: body_conflict(ask, item)?,
        times: body_times(item)?,
        deferred,
        size: item.get("fileSize").and_then(Value::as_u64),
    })
}

/// POST createUploadSession.
pub(crate) fn create_session(ask: &Ask<'_>, at: &ItemAddress) -> Outcome {
    let wish = session_wish(ask, at.names.last().map(String::as_str))?;
    let (strict, now) = (ask.world.strict(), ask.call.now);
    let conflict = wish.conflict.unwrap_or(match strict.unset_conflict {
        UnsetConflict::Fail => Conflict::Fail,
        UnsetConflict::Replace => Conflict::Replace,
    });
    let mut drive = ask.cell.lock();
    let business = !drive.flavour().is_personal();
    let (destination, existing) = match ask.locate(&mut drive, at)? {
        Located::Nowhere { .. } => return Err(Refusal::missing()),
        Located::Free { parent, name } => {
            // The number of bytes is not known yet; names, limits and locks are.
            drive.may_write(parent, &name, wish.size.unwrap_or(0), conflict)?;
            (Destination::Named { parent, name }, None)
        }
        Located::Found(index) => {
            drive.content(index).map_err(|_| Refusal::from(DriveError::Taken))?;
            if at.by_path {
                let (parent, name) = (drive.item(index)?.parent, drive.name(index).into_owned());
                match drive.may_write(parent, &name, wish.size.unwrap_or(0), conflict) {
                    // Personal drives notice the conflict only when the bytes are there.
                    Err(DriveError::Taken) if !business => {}
                    other => {
                        other?;
                    }
                }
                (Destination::Named { parent, name }, Some(index))
            } else {
                drive.may_replace(index, wish.size.unwrap_or(0))?;
                (Destination::Item(index), Some(index))
            }
        }
    };
    let if_match = ask.call.header("if-match").map(str::to_owned);
    if let Some(tag) = &if_match
        && !existing.map(|index| matches_tag(&drive, index, tag)).transpose()?.unwrap_or(false)
    {
        return Err(Refusal::new(412, "resourceModified", "ETag does not match current item's value."));
    }
    let office = existing.is_some_and(|index| {
        let name = drive.name(index).to_lowercase();
        [".docx", ".xlsx", ".pptx"].iter().any(|ending| name.ends_with(ending))
    });
    let flavour = drive.flavour();
    drop(drive);

    let mut sessions = lock(&ask.world.sessions);
    if business && sessions.occupied(ask.cell.number, &destination, now) {
        return Err(Refusal::new(409, "nameAlreadyExists", "Another upload session already exists for this item."));
    }
    let day = Duration::from_secs(86_400);
    let (first_life, slide, token_life) = match flavour {
        Flavour::PersonalOld => (7 * day, Duration::ZERO, 7 * day),
        Flavour::PersonalNew => (day, Duration::ZERO, day),
        _ => (Duration::from_secs(900), Duration::from_secs(900), day),
    };
    let (expiry, token_end) = (now.plus(first_life), now.plus(token_life));
    let id = sessions.insert(Session {
        drive: ask.cell.number,
        destination,
        conflict,
        created: wish.times.0,
        modified: wish.times.1,
        if_match,
        deferred: wish.deferred,
        received: Rope::default(),
        hash: QuickXorHash::new(),
        total: None,
        misaligned: false,
        lose_first: business && office && strict.office_first_fragment_missing,
        expiry,
        token_end,
        slide,
    });
    drop(sessions);
    let handle = ask.world.seal(&format!("session|{id}"));
    let mut json = Json::new();
    json.object(|json| {
        json.pair("@odata.context", &format!("{}/v1.0/$metadata#microsoft.graph.uploadSession", ask.world.graph_url));
        json.pair("uploadUrl", &ask.world.sign(&format!("/upload/{handle}"), token_end));
        json.pair("expirationDateTime", &wire_time(expiry, 7));
        json.key("nextExpectedRanges").array(|json| json.text("0-"));
    });
    Ok(Answer::json(200, json.finish()))
}

/// PUT of an item with `@microsoft.graph.sourceUrl`: commits a session whose bytes are all there.
pub(crate) fn commit_from_url(ask: &Ask<'_>, at: &ItemAddress) -> Outcome {
    let body = ask.call.json()?;
    check_members(
        ask,
        &body,
        &[
            "name",
            "@microsoft.graph.sourceUrl",
            "@microsoft.graph.conflictBehavior",
            "@name.conflictBehavior",
            "fileSystemInfo",
        ],
    )?;
    let gone = || Refusal::new(404, "itemNotFound", "The upload session was not found.").inner("uploadSessionNotFound");
    let url = body
        .get("@microsoft.graph.sourceUrl")
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::bad("An item can only be replaced from an upload session."))?;
    let rest = url.strip_prefix(ask.world.storage_url.as_str()).ok_or_else(gone)?;
    let (path, query) = rest.split_once('?').ok_or_else(gone)?;
    ask.world.verify(path, query).ok_or_else(gone)?;
    let sealed = path.strip_prefix("/upload/").ok_or_else(gone)?;
    let text = ask.world.unseal(sealed).ok_or_else(gone)?;
    let id = session_id(&text).ok_or_else(gone)?;
    let (strict, now) = (ask.world.strict(), ask.call.now);
    let mut sessions = lock(&ask.world.sessions);
    let session = sessions.get(id, now)?;
    if session.drive != ask.cell.number || !session.is_complete() {
        return Err(Refusal::bad("The upload session is not complete.").inner("uploadSessionIncomplete"));
    }
    let conflict = body_conflict(ask, &body)?.unwrap_or(session.conflict);
    let mut drive = ask.cell.lock();
    match ask.locate(&mut drive, at)? {
        Located::Found(index) => check_match(ask, &drive, index)?,
        Located::Free { .. } => {}
        Located::Nowhere { .. } => return Err(Refusal::missing()),
    }
    let written = session.commit(&mut drive, conflict, &strict, now)?;
    sessions.remove(id);
    drop(sessions);
    let answer = ask.item_answer(if written.created { 201 } else { 200 }, drive, written.index);
    after_upload(&mut ask.cell.lock(), written.index, &strict, now);
    Ok(answer)
}
