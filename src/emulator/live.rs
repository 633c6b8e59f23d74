//! Live Connect v5.0's front door: who may come in, what the path names, which handler answers.
//!
//! The protocol has no addresses by path: a request names `me/skydrive` or one of its canonical folders, or an item by
//! its id. Ids are taken exactly as issued, prefix included. Work drives do not speak this protocol. What is not
//! implemented answers 501, never a silent success.
//!
//! Follows the vendor's Live SDK pages (REST reference, additional URL parameters, status codes) and what client
//! projects report; `fidelity.md` says which is which.

use std::sync::Arc;

use serde_json::{Value, json};

use super::drive::{ClientTimes, Conflict, Drive};
use super::ident::{Index, ROOT};
use super::live_objects::{Canonical, LiveId, Painter, Sight, item_of};
use super::live_wire::{LiveError, Query, Style, method};
use super::oauth_live::{Access, TokenTrouble};
use super::wire::{Answer, Call, decode};
use super::world::{DriveCell, World, lock};
use super::{live_content, live_extras, live_items};

/// What a handler returns.
pub(crate) type LiveOutcome = Result<Answer, LiveError>;

/// A request with all that handlers need.
pub(crate) struct LiveAsk<'w> {
    pub(crate) world: &'w World,
    pub(crate) call: &'w Call,
    pub(crate) method: String,
    pub(crate) query: Query,
    pub(crate) style: Style,
    pub(crate) access: Access,
    /// The drive of who signed in.
    pub(crate) own: Arc<DriveCell>,
}

/// An item that a path names.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) cell: Arc<DriveCell>,
    pub(crate) index: Index,
}

impl LiveAsk<'_> {
    /// An answer with one object; unlocks the drive before anything is written.
    pub(crate) fn object(&self, status: u16, drive: std::sync::MutexGuard<'_, Drive>, place: &Place) -> Answer {
        let sight = Sight::of(&drive, place.index);
        drop(drive);
        self.style.answer(status, &self.painter(&place.cell).object(&sight))
    }

    pub(crate) fn painter<'a>(&'a self, cell: &'a DriveCell) -> Painter<'a> {
        Painter::new(self.world, cell, self.query.get("locale"), self.call.now)
    }

    /// Refuses unless one of these scopes was granted.
    pub(crate) fn need(&self, scopes: &[&str]) -> Result<(), LiveError> {
        if scopes.iter().any(|scope| self.access.may(scope)) {
            return Ok(());
        }
        let message = format!(
            "The token given as input contains only the following scopes. The request requires one of: {}.",
            scopes.join(", ")
        );
        Err(LiveError::new(403, "request_token_unauthorized", message))
    }

    pub(crate) fn need_read(&self) -> Result<(), LiveError> {
        self.need(&["wl.skydrive", "wl.skydrive_update", "wl.contacts_skydrive"])
    }

    pub(crate) fn need_write(&self) -> Result<(), LiveError> {
        self.need(&["wl.skydrive_update"])
    }

    /// Refuses to change what is somebody else's.
    pub(crate) fn need_own(&self, place: &Place) -> Result<(), LiveError> {
        if place.cell.number == self.own.number {
            return Ok(());
        }
        Err(LiveError::new(403, "resource_access_denied", "The user doesn't have permission to change the resource."))
    }

    /// What to do about a taken name: `overwrite` in the query, or else a header of that name.
    pub(crate) fn overwrite(&self, default: Conflict) -> Result<Conflict, LiveError> {
        let asked = self.query.get("overwrite").or_else(|| self.call.header("overwrite"));
        match asked.map(str::to_ascii_lowercase).as_deref() {
            None | Some("") => Ok(default),
            Some("true") => Ok(Conflict::Replace),
            Some("false") => Ok(Conflict::Fail),
            Some("choosenewname") => Ok(Conflict::Rename),
            Some(_) => Err(LiveError::parameter("overwrite")),
        }
    }

    /// The item of an id: one's own, or somebody else's that was shared.
    pub(crate) fn place_of(&self, id: &str) -> Result<Place, LiveError> {
        let LiveId { cell, index } = item_of(self.world, id)?;
        let drive = cell.lock();
        let hidden = drive.hidden(index, drive.read_lag.by_id, self.call.now);
        if drive.item(index).is_err() || hidden || !Sight::shows(&drive, index) {
            return Err(LiveError::missing());
        }
        drop(drive);
        if cell.number != self.own.number {
            if !live_items::is_shared(self, &cell, index) {
                return Err(LiveError::missing());
            }
            self.need(&["wl.contacts_skydrive"])?;
        }
        Ok(Place { cell, index })
    }
}

/// A canonical folder of the user's own drive, made when it is not there.
pub(crate) fn canonical(ask: &LiveAsk<'_>, name: &str) -> Option<Result<Place, LiveError>> {
    let folder = Canonical::of_path(name)?;
    let now = ask.call.now;
    let times = ClientTimes { created: now, modified: now };
    let made = ask.own.lock().make_folder(ROOT, folder.stored_name(), Conflict::Replace, times, now);
    Some(made.map(|made| Place { cell: ask.own.clone(), index: made.index }).map_err(LiveError::from))
}

/// Answers a request to `/v5.0`.
pub(crate) fn handle(world: &World, call: &Call) -> Answer {
    let style = Style::of(&call.query);
    match ask(world, call).and_then(|ask| route(&ask)) {
        Ok(answer) => answer,
        Err(error) => style.refuse(&error),
    }
}

/// What a front end refuses before it looks further.
pub(crate) fn too_large(call: &Call) -> Answer {
    Style::of(&call.query).refuse(&LiveError::large())
}

fn ask<'w>(world: &'w World, call: &'w Call) -> Result<LiveAsk<'w>, LiveError> {
    let query = Query::read(&call.query)?;
    let access = authorize(world, call, &query)?;
    let own = world.drive(access.drive).filter(|cell| cell.identity.flavour().is_personal());
    let own = own.ok_or_else(|| LiveError::new(403, "resource_access_denied", "The user has no OneDrive here."))?;
    let method = method(&call.method, &call.query);
    Ok(LiveAsk { world, call, method, query, style: Style::of(&call.query), access, own })
}

fn authorize(world: &World, call: &Call, query: &Query) -> Result<Access, LiveError> {
    let refuse = |status, code, text: &str| Err(LiveError::new(status, code, text));
    let header = call.header("authorization").map(|text| {
        let (scheme, token) = text.split_once(' ').unwrap_or(("", text));
        if scheme.eq_ignore_ascii_case("bearer") { token } else { "" }
    });
    let token = match (header, query.get("access_token")) {
        (Some(_), Some(_)) if world.strict().live.two_tokens_refused => {
            return refuse(400, "request_token_too_many", "The request includes more than one access token.");
        }
        (Some(token), _) | (None, Some(token)) if !token.is_empty() => token,
        // The one address that is open to everybody.
        (None, None) if call.path == "/v5.0/skydrive/get_item_preview" => return Ok(Access::nobody()),
        _ => return refuse(401, "request_token_missing", "The request doesn't include an access token."),
    };
    match lock(&world.live_oauth).check(token, call.now) {
        Ok(access) => Ok(access),
        Err(TokenTrouble::Expired) => refuse(401, "request_token_expired", "The provided access token has expired."),
        Err(TokenTrouble::Unknown) => refuse(401, "request_token_invalid", "The access token isn't valid."),
    }
}

fn route(ask: &LiveAsk<'_>) -> LiveOutcome {
    let path = ask.call.path.strip_prefix("/v5.0").unwrap_or_default();
    let decoded: Option<Vec<String>> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
    let decoded = decoded.ok_or_else(|| LiveError::url("The path isn't well formed."))?;
    let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
    let cid = ask.own.identity.drive_id();
    match parts.as_slice() {
        ["me"] => user(ask),
        [id] if id.eq_ignore_ascii_case(cid) => user(ask),
        ["me", rest @ ..] => mine(ask, rest),
        [id, rest @ ..] if id.eq_ignore_ascii_case(cid) => mine(ask, rest),
        ["skydrive", "get_item_preview"] => live_extras::preview(ask),
        [id, rest @ ..] if id.starts_with("comment.") => live_extras::comment(ask, id, rest),
        [id, rest @ ..] => on_item(ask, &ask.place_of(id)?, rest),
        [] => Err(LiveError::url("The path is empty.")),
    }
}

fn mine(ask: &LiveAsk<'_>, rest: &[&str]) -> LiveOutcome {
    let root = Place { cell: ask.own.clone(), index: ROOT };
    match rest {
        ["permissions"] => live_extras::permissions(ask),
        ["picture"] => live_extras::portrait(ask),
        ["albums"] => live_items::albums(ask),
        ["skydrive", "quota"] => live_items::quota(ask),
        ["skydrive", "recent_docs"] => live_items::recent(ask),
        ["skydrive", "shared"] | ["skydrive", "shared", "files"] => live_items::shared(ask),
        ["skydrive", "search"] => live_items::search(ask),
        ["skydrive", rest @ ..] => match rest.first().and_then(|name| canonical(ask, name)) {
            Some(place) => on_item(ask, &place?, &rest[1..]),
            None => on_item(ask, &root, rest),
        },
        _ => Err(LiveError::url("The path names nothing that the service has.")),
    }
}

fn on_item(ask: &LiveAsk<'_>, place: &Place, rest: &[&str]) -> LiveOutcome {
    match (ask.method.as_str(), rest) {
        ("GET", []) => live_items::get(ask, place),
        ("PUT", []) => live_items::update(ask, place),
        ("DELETE", []) => live_items::delete(ask, place),
        ("POST", []) => live_items::make_folder(ask, place, false),
        ("MOVE", []) => live_items::relocate(ask, place, true),
        ("COPY", []) => live_items::relocate(ask, place, false),
        (other, []) => Err(LiveError::method(other)),
        ("GET", ["files"]) => live_items::list(ask, place, None),
        ("GET", ["photos"]) => live_items::list(ask, place, Some("photos")),
        ("GET", ["videos"]) => live_items::list(ask, place, Some("videos")),
        ("POST", ["files"]) => live_content::post_multipart(ask, place),
        ("PUT", ["files", name]) => live_content::put_named(ask, place, name),
        ("GET", ["content"]) => live_content::get(ask, place),
        ("PUT", ["content"]) => live_content::put(ask, place),
        ("GET", ["picture"]) => live_extras::picture(ask, place),
        ("GET", [kind @ ("shared_read_link" | "shared_edit_link" | "embed")]) => live_extras::link(ask, place, kind),
        ("GET" | "POST", ["comments"]) => live_extras::comments(ask, place),
        ("GET", ["tags"]) => live_extras::tags(ask, place),
        (_, ["tags"]) => Err(LiveError::new(501, "not_implemented", "The emulator doesn't implement writing tags.")),
        (
            other,
            ["files" | "content" | "picture" | "comments" | "shared_read_link" | "shared_edit_link" | "embed"]
            | ["files", _],
        ) => Err(LiveError::method(other)),
        (_, [path, ..]) => {
            let kind = Sight::of(&place.cell.lock(), place.index).kind();
            Err(LiveError::url(format!("Resource type '{kind}' doesn't support the path '{path}'.")))
        }
    }
}

/// The user object of who signed in.
fn user(ask: &LiveAsk<'_>) -> LiveOutcome {
    if ask.method != "GET" {
        return Err(LiveError::method(&ask.method));
    }
    let name = ask.own.lock().owner.clone();
    let (first, last) = name.split_once(' ').unwrap_or((&name, ""));
    let mut value = json!({
        "id": ask.own.identity.drive_id(), "name": name, "first_name": first, "last_name": last,
        "link": "https://profile.live.com/", "gender": Value::Null, "locale": "en_GB",
        "updated_time": super::live_wire::live_time(ask.call.now),
    });
    if ask.access.may("wl.emails") {
        let mail = &ask.world.account.mail;
        value["emails"] = json!({"preferred": mail, "account": mail, "personal": Value::Null, "business": Value::Null});
    }
    Ok(ask.style.answer(200, &value))
}
