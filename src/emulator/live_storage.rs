//! The storage hosts behind Live Connect: content and previews under URLs that carry their own permission.
//!
//! They do not speak the API's errors: a refusal is an empty body with `WWW-Authenticate` or `X-ClientErrorCode`. A
//! request with a token is refused, and so is a URL with one character changed; what a URL that is too old gives
//! depends on a switch, because a download was once seen to end as 200 with nothing in it.

use std::ops::Range;

use axum::body::Bytes;

use super::content::Content;
use super::extras::PIXEL;
use super::ident::Index;
use super::render::mime;
use super::storage::{self, Wanted};
use super::strict::Gzip;
use super::wire::{Answer, Call, Payload, encode};
use super::world::World;

/// Compressed answers are made in memory: larger ones are sent as they are.
const GZIP_MAX: u64 = 64 << 20;

/// Whether a path of the storage host belongs to this service.
pub(crate) fn serves(path: &str) -> bool {
    path.starts_with("/y2m/")
}

fn challenge(status: u16, error: &str, text: &str) -> Answer {
    let value = format!("Bearer realm=\"OneDriveAPI\", error=\"{error}\", error_description=\"{text}\"");
    Answer::empty(status).with("www-authenticate", value)
}

fn missing() -> Answer {
    Answer::empty(404).with("x-clienterrorcode", "ItemDoesNotExist")
}

/// Answers a request for content or a preview.
pub(crate) fn handle(world: &World, call: &Call, ignore_range: bool) -> Answer {
    if !matches!(call.method.as_str(), "GET" | "HEAD") {
        return Answer::empty(405);
    }
    if call.headers.contains_key("authorization") {
        return challenge(401, "invalid_token", "A pre-authenticated URL does not take a token.");
    }
    let Some(expiry) = world.verify(&call.path, &call.query) else {
        return challenge(401, "invalid_token", "The URL is not valid.");
    };
    if expiry <= call.now {
        let status = if world.strict().live.expired_source_is_empty { 200 } else { 401 };
        return challenge(status, "expired_token", "Auth token expired. Try refreshing.");
    }
    let sealed = call.path.trim_start_matches("/y2m/").split('/').next().unwrap_or_default();
    let Some(text) = world.unseal(sealed) else { return missing() };
    let parts: Vec<&str> = text.split('|').collect();
    let [kind, drive, index, mode] = parts.as_slice() else { return missing() };
    let (Ok(drive), Ok(index)) = (drive.parse::<usize>(), index.parse::<Index>()) else { return missing() };
    match *kind {
        "source" => source(world, call, (drive, index), *mode == "attachment", ignore_range),
        "image" => Answer {
            status: 200,
            headers: vec![("content-type", "image/png".into())],
            payload: Payload::Bytes(Bytes::from_static(PIXEL)),
        },
        _ => missing(),
    }
}

fn source(world: &World, call: &Call, (drive, index): (usize, Index), attachment: bool, ignore_range: bool) -> Answer {
    let Some(cell) = world.drive(drive) else { return missing() };
    let (content, name) = {
        let drive = cell.lock();
        let Ok(content) = drive.content(index) else { return missing() };
        (content.clone(), drive.name(index).into_owned())
    };
    let strict = world.strict();
    let total = content.size();
    let asked = call.header("range").filter(|_| !ignore_range && !strict.ignore_range);
    let mut answer = match asked.map(|text| wanted(text, total)) {
        None | Some(Wanted::All) => {
            let mut answer = Answer::empty(200);
            answer.payload = Payload::Content { content, range: 0..total };
            answer
        }
        Some(Wanted::Part(range)) => {
            let mut answer =
                Answer::empty(206).with("content-range", format!("bytes {}-{}/{total}", range.start, range.end - 1));
            answer.payload = Payload::Content { content, range };
            answer
        }
        Some(Wanted::Nothing) => return Answer::empty(416).with("content-range", format!("bytes */{total}")),
    };
    let offered = call.header("accept-encoding").is_some_and(|text| text.to_ascii_lowercase().contains("gzip"));
    let compress = match strict.live.gzip {
        Gzip::Never => false,
        Gzip::WhenOffered => offered,
        Gzip::Unasked => true,
    };
    if compress && answer.payload.length() <= GZIP_MAX {
        if let Payload::Content { content, range } = &answer.payload {
            answer.payload = Payload::Bytes(gzip(content, range.clone()).into());
        }
        answer = answer.with("content-encoding", "gzip");
    }
    let disposition = if attachment { "attachment" } else { "inline" };
    answer
        .with("content-type", mime(&name))
        .with("accept-ranges", "bytes")
        .with("content-disposition", format!("{disposition}; filename*=UTF-8''{}", encode(&name)))
}

/// Reads a Range header as [`storage::wanted`]; the form that counts from the end is known here.
fn wanted(text: &str, total: u64) -> Wanted {
    if let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-'))
        && first.trim().is_empty()
    {
        return match last.trim().parse::<u64>() {
            Ok(0) => Wanted::Nothing,
            Ok(_) if total == 0 => Wanted::Nothing,
            Ok(count) => Wanted::Part(total.saturating_sub(count)..total),
            Err(_) => Wanted::All,
        };
    }
    storage::wanted(text, total)
}

/// Bytes as a gzip file whose blocks are stored as they are (RFC 1951, 1952).
fn gzip(content: &Content, mut range: Range<u64>) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let (mut sum, length) = (u32::MAX, range.end - range.start);
    while range.start < range.end {
        let piece = content.piece(range.clone(), usize::from(u16::MAX));
        range.start += piece.len() as u64;
        let size = piece.len() as u16;
        out.push(u8::from(range.start == range.end));
        out.extend(size.to_le_bytes());
        out.extend((!size).to_le_bytes());
        out.extend_from_slice(&piece);
        for byte in &piece {
            sum ^= u32::from(*byte);
            for _ in 0..8 {
                sum = if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
            }
        }
    }
    if length == 0 {
        out.extend([1, 0, 0, 0xff, 0xff]);
    }
    out.extend((!sum).to_le_bytes());
    out.extend((length as u32).to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_ranges() {
        for (text, expected) in [
            ("bytes=0-9", Wanted::Part(0..10)),
            ("bytes=90-500", Wanted::Part(90..100)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=-5", Wanted::Part(95..100)),
            ("bytes=-500", Wanted::Part(0..100)),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=0-1,5-6", Wanted::All),
        ] {
            assert_eq!(wanted(text, 100), expected, "{text}");
        }
    }
}
