//! The rest of Graph that the command line uses: search, versions, links, thumbnails, shares.
//!
//! Enough of each to be used honestly; what is missing says so with 501.

use serde_json::{Value, json};

use super::address::ItemAddress;
use super::copies;
use super::drive::{Body, Drive, Permission};
use super::face::{Face, Kind};
use super::graph::Ask;
use super::ident::{Index, ROOT, guid, mix};
use super::names;
use super::render::{ParentFace, Shape};
use super::wire::{Answer, Json, Outcome, Refusal, wire_time};
use crate::base::clock::Timestamp;

/// A PNG of one grey pixel: every thumbnail.
pub(crate) const PIXEL: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00, 0x00,
    0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0x3a, 0x7e, 0x9b, 0x55, 0x00, 0x00, 0x00, 0x0a, 0x49,
    0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x68, 0x00, 0x00, 0x00, 0x82, 0x00, 0x81, 0x77, 0xcd, 0x72, 0xb6, 0x00, 0x00,
    0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];

/// What follows an item in a path, beyond the plain operations.
pub(crate) fn item(ask: &Ask<'_>, at: &ItemAddress, rest: &[&str]) -> Outcome {
    match (ask.call.method.as_str(), rest) {
        ("POST", ["copy"]) => copies::copy(ask, at),
        ("GET", ["versions"]) => versions(ask, at),
        ("GET", ["versions", version, "content"]) => version_content(ask, at, version),
        ("POST", ["versions", version, "restoreVersion"]) => restore_version(ask, at, version),
        ("POST", ["createLink"]) => create_link(ask, at),
        ("POST", ["invite"]) => invite(ask, at),
        ("GET", ["permissions"]) => permissions(ask, at),
        ("DELETE", ["permissions", id]) => remove_permission(ask, at, id),
        ("GET", ["thumbnails"]) => thumbnails(ask, at, None),
        ("GET", ["thumbnails", "0", size]) => thumbnails(ask, at, Some((size, false))),
        ("GET", ["thumbnails", "0", size, "content"]) => thumbnails(ask, at, Some((size, true))),
        ("GET", [function]) if function.starts_with("search(") => search(ask, at, function),
        (method, rest) => Err(Refusal::unimplemented(&format!("{method} of an item's /{}", rest.join("/")))),
    }
}

/// Functions of the drive itself.
pub(crate) fn drive_function(ask: &Ask<'_>, name: &str) -> Outcome {
    let root = ItemAddress { start: super::address::Start::Root, names: Vec::new(), by_path: false };
    match (ask.call.method.as_str(), name) {
        ("GET", function) if function.starts_with("search(") => search(ask, &root, function),
        ("GET", "recent" | "recent()") => recent(ask),
        ("GET", "sharedWithMe" | "sharedWithMe()") => shared_with_me(ask),
        (method, name) => Err(Refusal::unimplemented(&format!("{method} of a drive's /{name}"))),
    }
}

fn list(ask: &Ask<'_>, faces: &[(Face<'static>, Option<ParentFace>)]) -> Outcome {
    let renderer = ask.renderer(Shape::Listing);
    let mut json = Json::new();
    json.object(|json| {
        json.key("value").array(|json| {
            faces.iter().for_each(|(face, parent)| renderer.element(json, face, parent.as_ref()));
        });
    });
    Ok(Answer::json(200, json.finish()))
}

/// Search by name. New items are found after the lag only; results come without a parent's path.
fn search(ask: &Ask<'_>, at: &ItemAddress, function: &str) -> Outcome {
    let text = function.trim_start_matches("search(").trim_end_matches(')').trim_start_matches("q=");
    let text = text
        .strip_prefix('\'')
        .and_then(|text| text.strip_suffix('\''))
        .ok_or_else(|| Refusal::bad("The search text has to be a quoted string."))?;
    let text = text.replace("''", "'");
    let strict = ask.world.strict();
    let mut drive = ask.cell.lock();
    let top = ask.locate(&mut drive, at)?.found()?;
    let limit = ask.query.top.unwrap_or(strict.page_default).min(strict.page_max);
    let flavour = drive.flavour();
    let faces: Vec<_> = drive
        .subtree(top)
        .into_iter()
        .filter(|&index| index != top && !drive.hidden(index, strict.search_lag, ask.call.now))
        .filter(|&index| text == "*" || names::contains(&drive.name(index), &text, flavour))
        .take(limit)
        .map(|index| (Face::of(&drive, index).into_owned(), None))
        .collect();
    drop(drive);
    list(ask, &faces)
}

fn recent(ask: &Ask<'_>) -> Outcome {
    let drive = ask.cell.lock();
    let mut files: Vec<Index> = (0..drive.items.len() as Index).filter(|&index| drive.content(index).is_ok()).collect();
    files.sort_by(|&a, &b| drive.by_time(b, a));
    let faces: Vec<_> = files
        .into_iter()
        .take(ask.query.top.unwrap_or(50))
        .map(|index| (Face::of(&drive, index).into_owned(), None))
        .collect();
    drop(drive);
    list(ask, &faces)
}

/// What others share: in the emulator, the targets of the shortcuts.
fn shared_with_me(ask: &Ask<'_>) -> Outcome {
    let drive = ask.cell.lock();
    let faces: Vec<_> = (0..drive.items.len() as Index)
        .filter(|&index| drive.item(index).is_ok())
        .map(|index| Face::of(&drive, index))
        .filter(|face| matches!(face.kind, Kind::Shortcut { .. }))
        .map(|face| (face.into_owned(), None))
        .collect();
    drop(drive);
    list(ask, &faces)
}

fn found(ask: &Ask<'_>, drive: &mut Drive, at: &ItemAddress) -> Result<Index, Refusal> {
    ask.locate(drive, at)?.found()
}

fn versions(ask: &Ask<'_>, at: &ItemAddress) -> Outcome {
    let mut drive = ask.cell.lock();
    let index = found(ask, &mut drive, at)?;
    let size = drive.content(index)?.size();
    let item = drive.item(index)?;
    let former = item.extras.as_ref().map(|extras| extras.versions.as_slice()).unwrap_or_default();
    let entry = |number: u32, modified: Timestamp, size: u64| {
        json!({"id": format!("{number}.0"),
        "lastModifiedDateTime": wire_time(modified, 0), "size": size})
    };
    let current = former.last().map_or(1, |version| version.number + 1);
    let mut value = vec![entry(current, item.modified, size)];
    value.extend(former.iter().rev().map(|version| entry(version.number, version.modified, version.content.size())));
    Ok(Answer::json(200, json!({"value": value}).to_string()))
}

fn version_number(text: &str) -> Result<u32, Refusal> {
    text.strip_suffix(".0").and_then(|number| number.parse().ok()).ok_or_else(Refusal::missing)
}

fn version_content(ask: &Ask<'_>, at: &ItemAddress, version: &str) -> Outcome {
    let number = version_number(version)?;
    let mut drive = ask.cell.lock();
    let index = found(ask, &mut drive, at)?;
    let item = drive.item(index)?;
    let former = item.extras.as_ref().map(|extras| extras.versions.as_slice()).unwrap_or_default();
    if !former.iter().any(|version| version.number == number) {
        let current = former.last().map_or(1, |version| version.number + 1);
        return Err(match number == current {
            true => Refusal::bad("You cannot get the content of the current version."),
            false => Refusal::missing(),
        });
    }
    let (ctag, now) = (item.ctag, ask.call.now);
    drop(drive);
    Ok(Answer::found(ask.world.download_url(ask.cell.number, index, ctag, Some(number), now)))
}

fn restore_version(ask: &Ask<'_>, at: &ItemAddress, version: &str) -> Outcome {
    let number = version_number(version)?;
    let mut drive = ask.cell.lock();
    let index = found(ask, &mut drive, at)?;
    let item = drive.item(index)?;
    let former = item.extras.as_ref().map(|extras| extras.versions.as_slice()).unwrap_or_default();
    let content = former.iter().find(|v| v.number == number).ok_or_else(Refusal::missing)?.content.clone();
    let times = item.times;
    drive.replace(index, content, times, ask.call.now)?;
    Ok(Answer::empty(204))
}

fn create_link(ask: &Ask<'_>, at: &ItemAddress) -> Outcome {
    let body = ask.call.json()?;
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, mut scope) = (text("type"), text("scope"));
    let role = match kind.as_str() {
        "view" | "embed" => "read",
        "edit" => "write",
        _ => return Err(Refusal::bad("The link type is not valid.")),
    };
    let mut drive = ask.cell.lock();
    let index = found(ask, &mut drive, at)?;
    match scope.as_str() {
        "" => scope = "anonymous".into(),
        "anonymous" | "users" => {}
        "organization" if !drive.flavour().is_personal() => {}
        _ => return Err(Refusal::bad("The link scope is not valid.")),
    }
    let id = guid(mix(ask.call.number), mix(u64::from(index)));
    let url = format!("{}/s/{}", ask.world.graph_url, ask.world.seal(&format!("share|{}|{index}", ask.cell.number)));
    let permissions = &mut drive.extras_mut(index)?.permissions;
    let known = |p: &&Permission| p.link.as_ref().is_some_and(|(t, s, _)| *t == kind && *s == scope);
    if let Some(known) = permissions.iter().find(known) {
        return Ok(Answer::json(200, permission_json(known).to_string()));
    }
    let made = Permission { id, role, link: Some((kind, scope, url)), invited: None };
    let text = permission_json(&made).to_string();
    permissions.push(made);
    drive.touch(index, ask.call.now);
    Ok(Answer::json(201, text))
}

fn permission_json(permission: &Permission) -> Value {
    let mut value = json!({"id": permission.id, "roles": [permission.role]});
    if let Some((kind, scope, url)) = &permission.link {
        value["link"] = json!({"type": kind, "scope": scope, "webUrl": url});
        value["hasPassword"] = false.into();
    }
    if let Some(mail) = &permission.invited {
        value["grantedToV2"] = json!({"user": {"email": mail}});
    }
    value
}

fn invite(ask: &Ask<'_>, at: &ItemAddress) -> Outcome {
    let body = ask.call.json()?;
    let recipients = body.get("recipients").and_then(Value::as_array).ok_or_else(|| Refusal::bad("No recipients."))?;
    let writes =
        body.get("roles").and_then(Value::as_array).is_some_and(|roles| roles.iter().any(|role| role == "write"));
    let mut drive = ask.cell.lock();
    let index = found(ask, &mut drive, at)?;
    if index == ROOT && drive.flavour().is_personal() {
        return Err(Refusal::bad("The root of this drive cannot be shared."));
    }
    let mut made = Vec::new();
    for (place, recipient) in recipients.iter().enumerate() {
        let mail =
            recipient.get("email").and_then(Value::as_str).ok_or_else(|| Refusal::bad("A recipient has no mail."))?;
        made.push(Permission {
            id: guid(mix(ask.call.number), mix(place as u64)),
            role: if writes { "write" } else { "read" },
            link: None,
            invited: Some(mail.to_owned()),
        });
    }
    let value: Vec<_> = made.iter().map(permission_json).collect();
    drive.extras_mut(index)?.permissions.extend(made);
    drive.touch(index, ask.call.now);
    Ok(Answer::json(200, json!({"value": value}).to_string()))
}

fn permissions(ask: &Ask<'_>, at: &ItemAddress) -> Outcome {
    let mut drive = ask.cell.lock();
    let index = found(ask, &mut drive, at)?;
    let item = drive.item(index)?;
    let mut value = vec![json!({"id": "owner", "roles": ["owner"],
        "grantedToV2": {"user": {"id": ask.world.account.id, "displayName": ask.world.account.name}}})];
    value.extend(item.extras.iter().flat_map(|extras| &extras.permissions).map(permission_json));
    Ok(Answer::json(200, json!({"value": value}).to_string()))
}

fn remove_permission(ask: &Ask<'_>, at: &ItemAddress, id: &str) -> Outcome {
    let mut drive = ask.cell.lock();
    let index = found(ask, &mut drive, at)?;
    let permissions = &mut drive.extras_mut(index)?.permissions;
    let place = permissions.iter().position(|permission| permission.id == id).ok_or_else(Refusal::missing)?;
    permissions.remove(place);
    drive.touch(index, ask.call.now);
    Ok(Answer::empty(204))
}

fn thumbnails(ask: &Ask<'_>, at: &ItemAddress, one: Option<(&str, bool)>) -> Outcome {
    let mut drive = ask.cell.lock();
    let index = found(ask, &mut drive, at)?;
    let image = super::render::mime(&drive.name(index)).starts_with("image/")
        && matches!(drive.item(index)?.body, Body::File(_));
    drop(drive);
    let size = |name: &str| -> Result<Value, Refusal> {
        let edge = match name {
            "small" | "smallSquare" => 96,
            "medium" | "mediumSquare" => 176,
            "large" | "largeSquare" => 800,
            custom if custom.starts_with('c') => 300,
            _ => return Err(Refusal::bad("The thumbnail size is not valid.")),
        };
        let sealed = ask.world.seal(&format!("thumbnail|{index}|{name}"));
        let expiry = ask.call.now.plus(ask.world.strict().download_url_life);
        Ok(json!({"height": edge, "width": edge, "url": ask.world.sign(&format!("/thumbnail/{sealed}"), expiry)}))
    };
    match one {
        None if !image => Ok(Answer::json(200, json!({"value": []}).to_string())),
        None => {
            let set = json!({"id": "0", "small": size("small")?, "medium": size("medium")?, "large": size("large")?});
            Ok(Answer::json(200, json!({"value": [set]}).to_string()))
        }
        Some(_) if !image => Err(Refusal::missing()),
        Some((name, false)) => Ok(Answer::json(200, size(name)?.to_string())),
        Some((name, true)) => {
            let url = size(name)?["url"].as_str().unwrap_or_default().to_owned();
            Ok(Answer::found(url))
        }
    }
}

/// Opens a link that createLink made.
pub(crate) fn share(ask: &Ask<'_>, token: &str, rest: &[String]) -> Outcome {
    use base64::Engine as _;
    if !matches!(rest.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), ["driveItem"]) {
        return Err(Refusal::unimplemented("this part of a share"));
    }
    let url =
        token.strip_prefix("u!").and_then(|text| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok());
    let url = url
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Refusal::bad("The share id is malformed."))?;
    let sealed = url.rsplit('/').next().unwrap_or_default();
    let text = ask.world.unseal(sealed).ok_or_else(Refusal::missing)?;
    let parts: Vec<_> = text.split('|').collect();
    let ["share", drive, index] = parts.as_slice() else { return Err(Refusal::missing()) };
    let (Ok(drive), Ok(index)) = (drive.parse(), index.parse::<Index>()) else { return Err(Refusal::missing()) };
    let cell = ask.world.drive(drive).ok_or_else(Refusal::missing)?;
    let ask = Ask { world: ask.world, call: ask.call, query: ask.query.clone(), cell: cell.clone() };
    let drive = cell.lock();
    drive.item(index)?;
    Ok(ask.item_answer(200, drive, index))
}
