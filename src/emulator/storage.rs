//! The second authority: URLs that carry their own permission, for downloads, uploads, monitors.
//!
//! It listens on its own port, so that a client which forwards its token is found out: an
//! `Authorization` header gives 401, as on the service. A URL works exactly as issued; one character
//! more or less gives 401, and so does one whose time is over.

use std::ops::Range;

use super::content::Content;
use super::copies;
use super::extras::PIXEL;
use super::face::Face;
use super::graph_content::after_upload;
use super::ident::Index;
use super::render::{ParentFace, Renderer, Select, Shape, mime};
use super::sessions::{Progress, parse_range, session_id};
use super::wire::{Answer, Call, Json, Outcome, Payload, Refusal, wire_time};
use super::world::{World, lock};

/// Answers a request to the second authority.
pub(crate) fn handle(world: &World, call: &Call, ignore_range: bool) -> Outcome {
    let refuse = |text: &str| Refusal::new(401, "unauthenticated", text);
    if call.headers.contains_key("authorization") {
        return Err(refuse("A pre-authenticated URL does not take an Authorization header."));
    }
    let expiry = world.verify(&call.path, &call.query).ok_or_else(|| refuse("The URL is not valid."))?;
    if expiry <= call.now {
        return Err(refuse("The URL has expired.").inner("expiredToken"));
    }
    let (kind, sealed) = call.path.trim_start_matches('/').split_once('/').unwrap_or_default();
    let text = world.unseal(sealed).ok_or_else(Refusal::missing)?;
    match (call.method.as_str(), kind) {
        ("GET" | "HEAD", "download") => download(world, call, &text, ignore_range),
        ("GET", "monitor") => copies::monitor(world, &text),
        ("GET", "thumbnail") => Ok(Answer {
            status: 200,
            headers: vec![("content-type", "image/png".into())],
            payload: Payload::Bytes(axum::body::Bytes::from_static(PIXEL)),
        }),
        (method, "upload") => {
            let id = session_id(&text).ok_or_else(Refusal::missing)?;
            match method {
                "PUT" => fragment(world, call, id),
                "GET" => status(world, call, id),
                "DELETE" => cancel(world, call, id),
                "POST" => commit(world, call, id),
                _ => Err(Refusal::new(405, "methodNotAllowed", "The method is not allowed.")),
            }
        }
        _ => Err(Refusal::new(405, "methodNotAllowed", "The method is not allowed.")),
    }
}

fn download(world: &World, call: &Call, text: &str, ignore_range: bool) -> Outcome {
    let parts: Vec<_> = text.split('|').collect();
    let ["file", drive, index, ctag, version] = parts.as_slice() else { return Err(Refusal::missing()) };
    let number = |text: &str| text.parse::<u32>().map_err(|_| Refusal::missing());
    let (drive, index, ctag): (_, Index, _) = (number(drive)?, number(index)?, number(ctag)?);
    let version = version.parse::<u32>().ok();
    let cell = world.drive(drive as usize).ok_or_else(Refusal::missing)?;
    let strict = world.strict();
    let drive = cell.lock();
    let item = drive.item(index)?;
    let former = item.extras.as_ref().map(|extras| extras.versions.as_slice()).unwrap_or_default();
    let content: Content = match version {
        Some(version) => former.iter().find(|v| v.number == version).ok_or_else(Refusal::missing)?.content.clone(),
        None if strict.download_url_pins_version && item.ctag != ctag => {
            former.iter().find(|v| v.ctag == ctag).ok_or_else(Refusal::missing)?.content.clone()
        }
        None => drive.content(index)?.clone(),
    };
    let (kind, etag) = (mime(&drive.name(index)), drive.identity.etag(index, item.etag));
    drop(drive);
    let total = content.size();
    // Former versions are always sent whole, and so is everything where Range is ignored.
    let asked = call.header("range").filter(|_| version.is_none() && !ignore_range && !strict.ignore_range);
    let (status, range) = match asked.map(|text| wanted(text, total)) {
        None | Some(Wanted::All) => (200, 0..total),
        Some(Wanted::Part(range)) => (206, range),
        Some(Wanted::Nothing) => {
            return Err(Refusal::new(416, "invalidRange", "The range is outside of the file.")
                .with("content-range", format!("bytes */{total}")));
        }
    };
    let mut answer = Answer::empty(status).with("content-type", kind).with("accept-ranges", "bytes");
    if status == 206 {
        answer = answer.with("content-range", format!("bytes {}-{}/{total}", range.start, range.end - 1));
    }
    if strict.content_etag {
        answer = answer.with("etag", etag);
    }
    answer.payload = Payload::Content { content, range };
    Ok(answer)
}

/// What a Range header asks for.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    All,
    Part(Range<u64>),
    Nothing,
}

/// Reads a Range header. Suffix forms and several ranges are ignored, as personal drives did.
pub(super) fn wanted(text: &str, total: u64) -> Wanted {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Wanted::All;
    };
    let Ok(first) = first.trim().parse::<u64>() else { return Wanted::All };
    let last = match last.trim() {
        "" => u64::MAX - 1,
        last => match last.parse() {
            Ok(last) if last >= first => last,
            _ => return Wanted::All,
        },
    };
    if first >= total { Wanted::Nothing } else { Wanted::Part(first..total.min(last + 1)) }
}

fn fragment(world: &World, call: &Call, id: &str) -> Outcome {
    let range = parse_range(call.header("content-range"))?;
    let (strict, now) = (world.strict(), call.now);
    let mut hash = lock(&world.sessions).get(id, now)?.hash.clone();
    call.body.hash_into(&mut hash);
    let mut sessions = lock(&world.sessions);
    let session = sessions.get(id, now)?;
    match session.accept(range, &call.body, hash, &strict, now)? {
        Progress::Commit => {
            drop(sessions);
            finish(world, call, id)
        }
        Progress::More | Progress::Waiting => Ok(ranges(202, session.expiry, session.wanted())),
    }
}

/// Makes a complete session's file visible and ends the session. When the drive refuses, the session
/// stays: it can be committed again, or cancelled.
fn finish(world: &World, call: &Call, id: &str) -> Outcome {
    let (strict, now) = (world.strict(), call.now);
    let mut sessions = lock(&world.sessions);
    let session = sessions.get(id, now)?;
    let cell = world.drive(session.drive).ok_or_else(Refusal::missing)?;
    let mut drive = cell.lock();
    let written = session.commit(&mut drive, session.conflict, &strict, now)?;
    sessions.remove(id);
    drop(sessions);
    let face = Face::of(&drive, written.index).into_owned();
    let parent = face.parent.map(|parent| ParentFace::of(&drive, parent));
    after_upload(&mut drive, written.index, &strict, now);
    drop(drive);
    let status = if written.created { 201 } else { 200 };
    if strict.empty_success_bodies {
        return Ok(Answer::empty(status));
    }
    let renderer = Renderer::new(world, &cell, Shape::Single, Select::default(), now);
    Ok(Answer::json(status, renderer.document(&face, parent.as_ref())))
}

fn ranges(status: u16, expiry: crate::base::clock::Timestamp, wanted: Vec<String>) -> Answer {
    let mut json = Json::new();
    json.object(|json| {
        json.pair("expirationDateTime", &wire_time(expiry, 7));
        json.key("nextExpectedRanges").array(|json| wanted.iter().for_each(|range| json.text(range)));
    });
    Answer::json(status, json.finish())
}

fn status(world: &World, call: &Call, id: &str) -> Outcome {
    let mut sessions = lock(&world.sessions);
    let session = sessions.get(id, call.now)?;
    Ok(ranges(200, session.expiry, session.wanted()))
}

fn cancel(world: &World, call: &Call, id: &str) -> Outcome {
    let mut sessions = lock(&world.sessions);
    sessions.get(id, call.now)?;
    sessions.remove(id);
    Ok(Answer::empty(204))
}

/// POST without a body: the commit of a deferred session, on work drives.
fn commit(world: &World, call: &Call, id: &str) -> Outcome {
    if world.flavour().is_personal() {
        return Err(Refusal::new(400, "notSupported", "Sessions of this drive are committed through the item."));
    }
    if call.body.length() != 0 {
        return Err(Refusal::bad("A commit has no body."));
    }
    if !lock(&world.sessions).get(id, call.now)?.is_complete() {
        return Err(Refusal::bad("Not all bytes have arrived.").inner("uploadSessionIncomplete"));
    }
    finish(world, call, id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_ranges() {
        for (text, expected) in [
            ("bytes=0-9", Wanted::Part(0..10)),
            ("bytes=90-", Wanted::Part(90..100)),
            ("bytes=90-500", Wanted::Part(90..100)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=-5", Wanted::All),
            ("bytes=0-1,5-6", Wanted::All),
            ("lines=1-2", Wanted::All),
        ] {
            assert_eq!(wanted(text, 100), expected, "{text}");
        }
        assert_eq!(wanted("bytes=0-", 0), Wanted::Nothing);
    }
}
