//! File content over Live Connect: the redirect to a download, and uploads in one request.
//!
//! Documented on the vendor's page "Download and upload files on OneDrive (REST)". An upload answers with three members
//! only; a client that wants the whole object has to ask again.

use std::ops::Range;

use axum::body::Bytes;
use serde_json::json;

use super::content::{Content, Rope};
use super::drive::{ClientTimes, Conflict};
use super::face::Face;
use super::ident::Index;
use super::live::{LiveAsk, LiveOutcome, Place};
use super::live_objects::{Sight, media};
use super::live_wire::LiveError;
use super::wire::Answer;
use super::world::DriveCell;

/// GET of a file's content: a redirect to a URL that carries its own permission.
pub(crate) fn get(ask: &LiveAsk<'_>, place: &Place) -> LiveOutcome {
    ask.need_read()?;
    let attachment = ask.query.switch("download", false)?;
    let drive = place.cell.lock();
    let item = drive.item(place.index)?;
    if item.extras.as_ref().is_some_and(|extras| extras.malware) {
        return Err(LiveError::new(403, "resource_access_denied", "The file contains malware."));
    }
    if drive.content(place.index).is_err() {
        let kind = Sight::of(&drive, place.index).kind();
        return Err(LiveError::url(format!("Resource type '{kind}' doesn't support the path 'content'.")));
    }
    let face = Face::of(&drive, place.index).into_owned();
    drop(drive);
    let url = ask.painter(&place.cell).source(&face, attachment);
    found(ask, url)
}

/// A redirect, or an answer that names its target, as the client wishes.
pub(crate) fn found(ask: &LiveAsk<'_>, url: String) -> LiveOutcome {
    match ask.query.switch("suppress_redirects", false)? {
        true => Ok(ask.style.answer(200, &json!({ "location": url }))),
        false => Ok(Answer::found(url)),
    }
}

/// What an upload brings.
struct Upload {
    content: Content,
    conflict: Conflict,
}

fn upload(ask: &LiveAsk<'_>, name: &str, body: Rope) -> Result<Upload, LiveError> {
    ask.need_write()?;
    let strict = ask.world.strict();
    let conflict = ask.overwrite(Conflict::Replace)?;
    let downsize = ask.query.switch("downsize_photo_uploads", true)?;
    let body = match downsize && strict.live.photos_downsized && media(name) == "photo" {
        true => downsized(&body),
        false => body,
    };
    Ok(Upload { content: Content::from_rope(body), conflict })
}

/// Another, smaller file than was sent. The service decoded and scaled it; what matters to a client is that what it
/// reads back is not what it wrote.
fn downsized(body: &Rope) -> Rope {
    let bytes = body.flat();
    let kept = bytes.len() - bytes.len() / 4;
    let mut smaller = bytes[..kept].to_vec();
    if let Some(last) = smaller.last_mut() {
        *last ^= 0x55;
    }
    Rope::from(Bytes::from(smaller))
}

fn whole(ask: &LiveAsk<'_>) -> Result<Rope, LiveError> {
    if ask.call.body.length() > ask.world.strict().live.upload_limit {
        return Err(LiveError::large());
    }
    let mut rope = Rope::default();
    rope.append(&ask.call.body);
    Ok(rope)
}

/// PUT by name into a folder.
pub(crate) fn put_named(ask: &LiveAsk<'_>, place: &Place, name: &str) -> LiveOutcome {
    let upload = upload(ask, name, whole(ask)?)?;
    store(ask, place, name, upload)
}

fn store(ask: &LiveAsk<'_>, place: &Place, name: &str, upload: Upload) -> LiveOutcome {
    ask.need_own(place)?;
    let strict = ask.world.strict();
    let now = ask.call.now;
    let times = ClientTimes { created: now, modified: now };
    let mut drive = place.cell.lock();
    if drive.folder(place.index).is_err() {
        let kind = Sight::of(&drive, place.index).kind();
        return Err(LiveError::url(format!("Resource type '{kind}' doesn't support the path 'files'.")));
    }
    let taken = drive.child(place.index, name)?.is_some();
    let (index, created) = if taken && upload.conflict == Conflict::Fail && strict.live.overwrite_false_duplicates {
        (drive.add_beside(place.index, name, upload.content, now)?, true)
    } else {
        // A replaced file keeps the time at which it came to be.
        let times = match drive.child(place.index, name)? {
            Some(index) if upload.conflict == Conflict::Replace => {
                ClientTimes { created: drive.item(index)?.times.created, ..times }
            }
            _ => times,
        };
        let written = drive.write_named(place.index, name, upload.content, upload.conflict, times, now)?;
        (written.index, written.created)
    };
    drop(drive);
    Ok(short(ask, &place.cell, index, if created { 201 } else { 200 }))
}

/// PUT of the content of a file that is there.
pub(crate) fn put(ask: &LiveAsk<'_>, place: &Place) -> LiveOutcome {
    let name = place.cell.lock().name(place.index).into_owned();
    let body = whole(ask)?;
    let upload = upload(ask, &name, body)?;
    ask.need_own(place)?;
    let now = ask.call.now;
    let mut drive = place.cell.lock();
    if drive.content(place.index).is_err() {
        let kind = Sight::of(&drive, place.index).kind();
        return Err(LiveError::url(format!("Resource type '{kind}' doesn't support the path 'content'.")));
    }
    let created = drive.item(place.index)?.times.created;
    drive.replace(place.index, upload.content, ClientTimes { created, modified: now }, now)?;
    drop(drive);
    Ok(short(ask, &place.cell, place.index, 200))
}

/// What an upload answers.
fn short(ask: &LiveAsk<'_>, cell: &DriveCell, index: Index, status: u16) -> Answer {
    let sight = Sight::of(&cell.lock(), index);
    let painter = ask.painter(cell);
    let source = painter.source(&sight.face, false);
    let location = format!("{}/v5.0/{}", ask.world.graph_url, painter.id(&sight));
    let value = json!({"id": painter.id(&sight), "name": painter.name(&sight.face), "source": source});
    ask.style.answer(status, &value).with("location", location)
}

/// POST of a form with one file in it.
pub(crate) fn post_multipart(ask: &LiveAsk<'_>, place: &Place) -> LiveOutcome {
    let body = whole(ask)?.flat();
    let kind = ask.call.header("content-type").unwrap_or_default();
    let boundary = kind
        .split(';')
        .skip(1)
        .find_map(|part| part.trim().strip_prefix("boundary="))
        .filter(|_| kind.to_ascii_lowercase().starts_with("multipart/form-data"))
        .ok_or_else(|| LiveError::body("The request body isn't multipart/form-data."))?;
    let part = file_part(&body, boundary.trim_matches('"'))?;
    let upload = upload(ask, &part.name, Rope::from(body.slice(part.range)))?;
    store(ask, place, &part.name, upload)
}

/// Where the file lies in a form.
#[derive(PartialEq, Eq, Debug)]
struct Part {
    name: String,
    range: Range<usize>,
}

fn position(bytes: &[u8], what: &[u8], from: usize) -> Option<usize> {
    bytes.get(from..)?.windows(what.len()).position(|window| window == what).map(|at| from + at)
}

/// The one part of a form: more are not supported, as documented. Its own `Content-Type` has to be there
/// (python-onedrive issue 8); a name that is not ASCII comes out wrong, one byte for one letter.
fn file_part(body: &[u8], boundary: &str) -> Result<Part, LiveError> {
    let malformed = || LiveError::body("The request body isn't a well-formed multipart message.");
    let open = format!("--{boundary}\r\n");
    let close = format!("\r\n--{boundary}");
    let at = position(body, open.as_bytes(), 0).ok_or_else(malformed)? + open.len();
    let head_end = position(body, b"\r\n\r\n", at).ok_or_else(malformed)?;
    // The empty line before an empty file is the line end before its boundary.
    let end = position(body, close.as_bytes(), head_end + 2).ok_or_else(malformed)?;
    if !body[end + close.len()..].starts_with(b"--") {
        return Err(LiveError::body("The request body has more than one section."));
    }
    let head: String = body[at..head_end].iter().map(|&byte| char::from(byte)).collect();
    let header = |name: &str| {
        head.split("\r\n").find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let disposition = header("content-disposition").ok_or_else(malformed)?;
    let name = disposition.split_once("filename=").map(|(_, rest)| rest.split(';').next().unwrap_or_default().trim());
    let name = name.map(|name| name.trim_matches('"')).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| LiveError::body("The request body includes no file."))?.to_owned();
    if header("content-type").is_none() {
        return Err(LiveError::body("The request doesn't include a Content-Type header."));
    }
    Ok(Part { name, range: (head_end + 4).min(end)..end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_form_is_found_and_needs_a_type() {
        let form = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\
                    Content-Type: text/plain\r\n\r\nhello\r\n--b--\r\n";
        let part = file_part(form.as_bytes(), "b").expect("a file");
        assert_eq!((part.name.as_str(), &form[part.range]), ("a.txt", "hello"));
        let two = form.replace("--b--", "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--b--");
        assert!(file_part(two.as_bytes(), "b").is_err_and(|error| error.message.contains("section")));
        let bare = form.replace("Content-Type: text/plain\r\n", "");
        assert!(file_part(bare.as_bytes(), "b").is_err_and(|error| error.message.contains("Content-Type")));
        let empty = form.replace("hello", "");
        assert_eq!(file_part(empty.as_bytes(), "b").map(|part| part.range.len()), Ok(0));
    }
}
