//! What Live Connect adds to items: links, comments, previews, and what a user has consented to.
//!
//! Asking for a link is a GET that changes the item for good. Documented on the vendor's pages "Share files and photos"
//! and the REST reference; that a read link ends the edit link is one client project's report.

use serde_json::{Map, Value, json};

use super::drive::{Comment, Drive, Permission};
use super::ident::{Index, guid, mix};
use super::live::{LiveAsk, LiveOutcome, Place};
use super::live_content::found;
use super::live_objects::{IMAGES, Sight, item_of};
use super::live_wire::{LiveError, live_time, members, text_member};
use super::wire::{Answer, pairs};

/// The longest comment.
const COMMENT_MAX: usize = 10_000;

/// GET of a link.
pub(crate) fn link(ask: &LiveAsk<'_>, place: &Place, kind: &str) -> LiveOutcome {
    if kind == "shared_edit_link" {
        ask.need_write()?
    } else {
        ask.need_read()?
    }
    ask.need_own(place)?;
    let (kind, role) = match kind {
        "shared_read_link" => ("view", "read"),
        "shared_edit_link" => ("edit", "write"),
        _ => ("embed", "read"),
    };
    let number = ask.call.number;
    let identity = &place.cell.identity;
    let query = |key: &str| format!("cid={}&resid={}&authkey={key}", identity.drive_id(), identity.resid(place.index));
    let mut drive = place.cell.lock();
    let ends_edit = ask.world.strict().live.read_link_ends_edit_link && kind == "view";
    let permissions = &mut drive.extras_mut(place.index)?.permissions;
    if ends_edit {
        permissions.retain(|permission| permission.link.as_ref().is_none_or(|(kind, ..)| kind != "edit"));
    }
    let known = |permission: &&Permission| permission.link.as_ref().is_some_and(|(own, ..)| own == kind);
    let url = match permissions.iter().find(known).and_then(|permission| permission.link.clone()) {
        Some((_, _, url)) => url,
        None => {
            let key = format!("!{}", ask.world.mac(&format!("link|{kind}|{}|{number}", place.index)));
            let page = if kind == "embed" { "embed" } else { "redir.aspx" };
            let url = format!("{}/{page}?{}", ask.world.graph_url, query(&key));
            permissions.push(Permission {
                id: guid(mix(number), mix(u64::from(place.index))),
                role,
                link: Some((kind.to_owned(), "anonymous".into(), url.clone())),
                invited: None,
            });
            drive.touch(place.index, ask.call.now);
            url
        }
    };
    drop(drive);
    let value = match kind {
        "embed" => json!({"embed_html": format!(
            "<iframe src=\"{url}\" width=\"98\" height=\"120\" frameborder=\"0\" scrolling=\"no\"></iframe>"
        )}),
        _ => json!({ "link": url }),
    };
    Ok(ask.style.answer(200, &value))
}

fn comment_id(place: &Place, id: u64) -> String {
    let identity = &place.cell.identity;
    format!("comment.{}.{}.qT0x{id:08x}", identity.drive_id(), identity.resid(place.index))
}

fn comment_value(ask: &LiveAsk<'_>, place: &Place, comment: &Comment) -> Value {
    json!({
        "id": comment_id(place, comment.id), "from": ask.painter(&place.cell).person(),
        "message": comment.text, "created_time": live_time(comment.created),
    })
}

fn comments_of(drive: &Drive, index: Index) -> Result<Vec<Comment>, LiveError> {
    Ok(drive.item(index)?.extras.as_ref().map(|extras| extras.comments.clone()).unwrap_or_default())
}

/// GET and POST of an item's comments.
pub(crate) fn comments(ask: &LiveAsk<'_>, place: &Place) -> LiveOutcome {
    if ask.method == "GET" {
        ask.need_read()?;
        let comments = comments_of(&place.cell.lock(), place.index)?;
        let entries: Vec<_> = comments.iter().map(|comment| comment_value(ask, place, comment)).collect();
        return Ok(ask.style.answer(200, &json!({ "data": entries })));
    }
    ask.need_write()?;
    let body = members(ask.call)?;
    let text = text_member(&body, "message")?.filter(|text| !text.is_empty()).ok_or_else(|| {
        LiveError::new(400, "request_parameter_missing", "The request is missing the required parameter: 'message'.")
    })?;
    if text.chars().count() > COMMENT_MAX {
        return Err(LiveError::parameter("message"));
    }
    let comment = Comment { id: ask.call.number, text: text.to_owned(), created: ask.call.now };
    let mut drive = place.cell.lock();
    let file = drive.content(place.index).is_ok();
    let extras = drive.extras_mut(place.index)?;
    if !file || extras.comments_off {
        return Err(LiveError::new(403, "resource_access_denied", "Comments aren't enabled for this resource."));
    }
    extras.comments.push(comment.clone());
    drop(drive);
    Ok(ask.style.answer(201, &comment_value(ask, place, &comment)))
}

/// GET and DELETE of a comment by its own id.
pub(crate) fn comment(ask: &LiveAsk<'_>, id: &str, rest: &[&str]) -> LiveOutcome {
    if !rest.is_empty() {
        return Err(LiveError::url("A comment has no parts."));
    }
    let parts: Vec<&str> = id.splitn(4, '.').collect();
    let &[_, cid, resid, number] = parts.as_slice() else {
        return Err(LiveError::url("The comment's ID isn't valid."));
    };
    let number = number.strip_prefix("qT0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    let number = number.ok_or_else(LiveError::missing)?;
    let item = item_of(ask.world, &format!("file.{cid}.{resid}"))?;
    let place = Place { cell: item.cell, index: item.index };
    let mut drive = place.cell.lock();
    let at = comments_of(&drive, place.index)?.iter().position(|comment| comment.id == number);
    let at = at.ok_or_else(LiveError::missing)?;
    match ask.method.as_str() {
        "GET" => {
            ask.need_read()?;
            let comment = comments_of(&drive, place.index)?.swap_remove(at);
            drop(drive);
            Ok(ask.style.answer(200, &comment_value(ask, &place, &comment)))
        }
        "DELETE" => {
            ask.need_write()?;
            drive.extras_mut(place.index)?.comments.remove(at);
            Ok(Answer::empty(204))
        }
        other => Err(LiveError::method(other)),
    }
}

/// GET of a picture's tags: nobody can make any here.
pub(crate) fn tags(ask: &LiveAsk<'_>, place: &Place) -> LiveOutcome {
    ask.need_read()?;
    let kind = Sight::of(&place.cell.lock(), place.index).kind();
    if !matches!(kind, "photo" | "video") {
        return Err(LiveError::url(format!("Resource type '{kind}' doesn't support the path 'tags'.")));
    }
    Ok(ask.style.answer(200, &json!({"data": []})))
}

/// GET of a preview: a redirect to an image.
pub(crate) fn picture(ask: &LiveAsk<'_>, place: &Place) -> LiveOutcome {
    ask.need_read()?;
    let form = match ask.query.get("type") {
        None | Some("" | "small") => "Thumbnail",
        Some(name) => {
            let known = IMAGES.iter().find(|(known, ..)| *known == name);
            known.map(|(_, _, form)| *form).ok_or_else(|| LiveError::parameter("type"))?
        }
    };
    let sight = Sight::of(&place.cell.lock(), place.index);
    let kind = sight.kind();
    if !matches!(kind, "photo" | "video" | "audio") {
        return Err(LiveError::url(format!("Resource type '{kind}' doesn't support the path 'picture'.")));
    }
    found(ask, ask.painter(&place.cell).image(&sight.face, form))
}

/// GET of the user's own picture.
pub(crate) fn portrait(ask: &LiveAsk<'_>) -> LiveOutcome {
    if ask.method != "GET" {
        return Err(LiveError::method(&ask.method));
    }
    let root = Sight::of(&ask.own.lock(), super::ident::ROOT);
    found(ask, ask.painter(&ask.own).image(&root.face, "Portrait"))
}

/// GET of what the user has consented to.
pub(crate) fn permissions(ask: &LiveAsk<'_>) -> LiveOutcome {
    if ask.method != "GET" {
        return Err(LiveError::method(&ask.method));
    }
    let granted: Map<String, Value> =
        ask.access.scopes.iter().map(|scope| (scope.replace("wl.", ""), Value::from(1))).collect();
    Ok(ask.style.answer(200, &json!({ "data": [granted] })))
}

/// GET of the preview of what a link leads to.
pub(crate) fn preview(ask: &LiveAsk<'_>) -> LiveOutcome {
    let url = ask.query.get("url").ok_or_else(|| {
        LiveError::new(400, "request_parameter_missing", "The request is missing the required parameter: 'url'.")
    })?;
    let (_, query) = url.split_once('?').ok_or_else(|| LiveError::parameter("url"))?;
    let query = pairs(query).ok_or_else(|| LiveError::parameter("url"))?;
    let get = |key: &str| query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    let (Some(cid), Some(resid)) = (get("cid"), get("resid")) else { return Err(LiveError::parameter("url")) };
    let cell = ask.world.drive_by_id(cid).ok_or_else(LiveError::missing)?;
    let index = cell.identity.parse_resid(resid).ok_or_else(LiveError::missing)?;
    let drive = cell.lock();
    let opens = |permission: &Permission| permission.link.as_ref().is_some_and(|(_, _, own)| own == url);
    let shared = drive.item(index)?.extras.as_ref().is_some_and(|extras| extras.permissions.iter().any(opens));
    if !shared {
        return Err(LiveError::missing());
    }
    let sight = Sight::of(&drive, index);
    drop(drive);
    found(ask, ask.painter(&cell).image(&sight.face, "Thumbnail"))
}
