//! Graph v1.0's front door: who may come in, what they ask for, which handler answers.
//!
//! Anything that is not implemented answers 501 `notSupported`, never a silent success.

use std::sync::Arc;

use super::address::{Address, DriveAddress, ItemAddress, Start, parse};
use super::drive::{Conflict, Drive};
use super::face::Face;
use super::ident::{Index, ROOT};
use super::render::{ParentFace, Renderer, Select, Shape, drive_members};
use super::wire::{Answer, Call, Json, Outcome, Refusal, pairs};
use super::world::{DriveCell, World, lock};
use super::{batch, extras, graph_content, graph_delta, graph_items};

/// A request's query, read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pub(crate) select: Select,
    pub(crate) top: Option<usize>,
    pub(crate) expand: Vec<String>,
    pub(crate) order_by: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) skip_token: Option<String>,
    pub(crate) conflict: Option<Conflict>,
    pub(crate) include_deleted: bool,
}

impl Query {
    fn parse(text: &str, strict: bool) -> Result<Self, Refusal> {
        let bad = |what: &str| Refusal::bad(format!("Invalid query option: {what}")).inner("invalidQueryOption");
        let mut query = Self::default();
        for (key, value) in pairs(text).ok_or_else(|| bad("malformed"))? {
            let list = || value.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect();
            match key.strip_prefix('$').unwrap_or(&key).to_ascii_lowercase().as_str() {
                "select" => query.select = Select(list()),
                "expand" => query.expand = list(),
                "top" => query.top = Some(value.parse().ok().filter(|&top| top > 0).ok_or_else(|| bad("$top"))?),
                "orderby" => query.order_by = Some(value),
                "token" => query.token = Some(value),
                "skiptoken" => query.skip_token = Some(value),
                "@microsoft.graph.conflictbehavior" => query.conflict = Some(conflict(&value)?),
                "includedeleteditems" => query.include_deleted = value.eq_ignore_ascii_case("true"),
                "format" => return Err(Refusal::new(406, "notAcceptable", "This conversion is not possible.")),
                "allowexternal" | "originalorientation" | "avoverride" => {}
                _ if strict => return Err(bad(&key)),
                _ => {}
            }
        }
        Ok(query)
    }
}

/// Reads a conflict behaviour.
pub(crate) fn conflict(text: &str) -> Result<Conflict, Refusal> {
    match text {
        "fail" => Ok(Conflict::Fail),
        "replace" => Ok(Conflict::Replace),
        "rename" => Ok(Conflict::Rename),
        _ => Err(Refusal::bad("The conflict behaviour is not valid.")),
    }
}

/// A request with all that handlers need.
pub(crate) struct Ask<'w> {
    pub(crate) world: &'w World,
    pub(crate) call: &'w Call,
    pub(crate) query: Query,
    pub(crate) cell: Arc<DriveCell>,
}

/// Where an address leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Located {
    Found(Index),
    /// The parent is there, the name is free.
    Free {
        parent: Index,
        name: String,
    },
    /// Not even the parent is there: the names below the starting item.
    Nowhere {
        start: Index,
        names: Vec<String>,
    },
}

impl Located {
    pub(crate) fn found(self) -> Result<Index, Refusal> {
        match self {
            Self::Found(index) => Ok(index),
            _ => Err(Refusal::missing()),
        }
    }
}

impl Ask<'_> {
    /// Follows an address.
    pub(crate) fn locate(&self, drive: &mut Drive, at: &ItemAddress) -> Result<Located, Refusal> {
        let now = self.call.now;
        let lag = drive.read_lag;
        let start = match &at.start {
            Start::Root => ROOT,
            Start::Special(name) => graph_items::special(drive, name, now)?,
            Start::Item(id) => {
                let index = drive.identity.parse_item_id(id).ok_or_else(|| bad_id(drive, id))?;
                let live = drive.item(index).is_ok() && !drive.hidden(index, lag.by_id, now);
                let deleted = self.query.include_deleted && drive.flavour().is_personal();
                let known = live || (deleted && (index as usize) < drive.items.len());
                if !known {
                    return Err(Refusal::missing());
                }
                index
            }
        };
        let Some((last, above)) = at.names.split_last() else { return Ok(Located::Found(start)) };
        let nowhere = || Located::Nowhere { start, names: at.names.clone() };
        let parent = match drive.walk(start, above.iter().map(String::as_str)) {
            Ok(parent) if !drive.hidden(parent, lag.by_path, now) || parent == start => parent,
            _ => return Ok(nowhere()),
        };
        match drive.child(parent, last) {
            // What a lagging replica does not know is missing for readers only; a write still meets it.
            Ok(Some(index)) if drive.hidden(index, lag.by_path, now) && self.call.method == "GET" => Ok(nowhere()),
            Ok(Some(index)) => Ok(Located::Found(index)),
            Ok(None) => Ok(Located::Free { parent, name: last.clone() }),
            Err(_) => Ok(nowhere()),
        }
    }

    /// The renderer of this request's single answers.
    pub(crate) fn renderer(&self, shape: Shape) -> Renderer<'_> {
        Renderer::new(self.world, &self.cell, shape, self.query.select.clone(), self.call.now)
    }

    /// An answer with one item; unlocks the drive before anything is written.
    pub(crate) fn item_answer(&self, status: u16, drive: std::sync::MutexGuard<'_, Drive>, index: Index) -> Answer {
        let face = Face::of(&drive, index).into_owned();
        self.face_answer(status, drive, &face)
    }

    /// The same of an item as readers see it, who may be behind.
    pub(crate) fn reader_answer(&self, drive: std::sync::MutexGuard<'_, Drive>, index: Index) -> Answer {
        let face = drive.seen(index, self.call.now);
        self.face_answer(200, drive, &face)
    }

    fn face_answer(&self, status: u16, drive: std::sync::MutexGuard<'_, Drive>, face: &Face<'_>) -> Answer {
        let parent = face.parent.map(|parent| ParentFace::of(&drive, parent));
        drop(drive);
        let etag = self.cell.identity.etag(face.index, face.etag);
        Answer::json(status, self.renderer(Shape::Single).document(face, parent.as_ref())).with("etag", etag)
    }
}

/// An id that is not even of this drive's shape gives 400 on the service, one of another drive 404.
fn bad_id(drive: &Drive, id: &str) -> Refusal {
    let shaped = match drive.flavour().is_personal() {
        true => id.contains('!'),
        false => id.starts_with("01"),
    };
    if shaped { Refusal::missing() } else { Refusal::bad("The provided item id is malformed.") }
}

/// Answers a Graph request.
pub(crate) fn handle(world: &World, call: &Call) -> Outcome {
    if call.path.len() > world.strict().url_limit {
        return Ok(Answer::html(400, "<html><body><h2>Bad Request - Invalid URL</h2></body></html>"));
    }
    let user = lock(&world.oauth).check(call)?;
    route(world, call, user)
}

/// Answers a request that may come in, in the name of the owner of this drive.
pub(crate) fn route(world: &World, call: &Call, user: usize) -> Outcome {
    let path = call.path.strip_prefix("/v1.0").ok_or_else(|| Refusal::unimplemented("this version of Graph"))?;
    let address = parse(path)?;
    let query = Query::parse(&call.query, world.strict().refuse_unknown_query)?;
    let with_drive = |at: &DriveAddress| -> Result<Ask<'_>, Refusal> {
        let cell = match at {
            DriveAddress::Mine => world.drive(user),
            DriveAddress::Id(id) => world.drive_by_id(id),
        };
        let cell = cell.ok_or_else(|| Refusal::new(404, "itemNotFound", "The drive could not be found."))?;
        Ok(Ask { world, call, query: query.clone(), cell })
    };
    match (call.method.as_str(), address) {
        ("GET", Address::Me) => Ok(me(world, user)),
        ("GET", Address::Drives) => {
            let ask = with_drive(&DriveAddress::Mine)?;
            let drive = ask.cell.lock();
            let mut json = Json::new();
            json.object(|json| {
                json.key("value").array(|json| json.object(|json| drive_members(world, &drive, json)));
            });
            Ok(Answer::json(200, json.finish()))
        }
        ("GET", Address::Drive(at)) => {
            let ask = with_drive(&at)?;
            let drive = ask.cell.lock();
            let mut json = Json::new();
            json.object(|json| {
                json.pair("@odata.context", &format!("{}/v1.0/$metadata#drives/$entity", world.graph_url));
                drive_members(world, &drive, json);
            });
            Ok(Answer::json(200, json.finish()))
        }
        (_, Address::DriveFunction(at, name)) => extras::drive_function(&with_drive(&at)?, &name),
        (_, Address::Item(at, item, rest)) => item_route(&with_drive(&at)?, &item, &rest),
        ("POST", Address::Batch) => batch::handle(world, call, user),
        (_, Address::Share(token, rest)) => extras::share(&with_drive(&DriveAddress::Mine)?, &token, &rest),
        _ => Err(Refusal::unimplemented(&format!("{} {}", call.method, call.path))),
    }
}

fn me(world: &World, user: usize) -> Answer {
    let account = &world.account;
    let other = world.drive(user).filter(|_| user > 0);
    let (id, name, mail) = match &other {
        Some(cell) => (cell.identity.drive_id().to_owned(), cell.lock().owner.clone(), None),
        None => (account.id.clone(), account.name.clone(), Some(account.mail.clone())),
    };
    let text = serde_json::json!({
        "@odata.context": format!("{}/v1.0/$metadata#users/$entity", world.graph_url),
        "id": id, "displayName": name, "userPrincipalName": mail, "mail": mail,
    });
    Answer::json(200, text.to_string())
}

fn item_route(ask: &Ask<'_>, at: &ItemAddress, rest: &[String]) -> Outcome {
    let rest: Vec<&str> = rest.iter().map(|part| part.strip_prefix("microsoft.graph.").unwrap_or(part)).collect();
    match (ask.call.method.as_str(), rest.as_slice()) {
        ("GET", []) => graph_items::get(ask, at),
        ("PATCH", []) => graph_items::patch(ask, at),
        ("DELETE", []) => graph_items::delete(ask, at),
        ("PUT", []) => graph_content::commit_from_url(ask, at),
        ("GET", ["children"]) => graph_items::children(ask, at),
        ("POST", ["children"]) => graph_items::make(ask, at),
        ("GET", ["content"]) => graph_content::get(ask, at),
        ("PUT", ["content"]) => graph_content::put(ask, at),
        ("POST", ["createUploadSession"]) => graph_content::create_session(ask, at),
        ("GET", ["delta"]) => graph_delta::get(ask, at, None),
        ("GET", [function]) if function.starts_with("delta(") => {
            let token = function.trim_start_matches("delta(").trim_end_matches(')');
            let token = token.trim_start_matches("token=").trim_matches('\'');
            graph_delta::get(ask, at, Some(token.to_owned()).filter(|token| !token.is_empty()))
        }
        ("POST", ["restore"]) => graph_items::restore(ask, at),
        ("POST", ["permanentDelete"]) => graph_items::permanent_delete(ask, at),
        _ => extras::item(ask, at, &rest),
    }
}
