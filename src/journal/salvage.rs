//! Reading what is left of a damaged SQLite file, without SQLite.
//!
//! SQLite finds damage only where it breaks the structure of its file, and then it may refuse the whole of it; a flipped
//! bit in its log makes it forget every later step without a word. For a file that is the only record of somebody's
//! work both are too little. The journal's rows carry a checksum that proves table, key and content, so a row can be
//! believed wherever it is found; here is the finding: pages from the file and its log
//! (<https://www.sqlite.org/fileformat2.html>), and the records in pages that look like leaves of a table.
//!
//! Always true: nothing here fails or believes anything; bytes that make no sense are passed over. The journal runs
//! with `secure_delete`, so deleted rows are zeros and cannot be found again. Pure.

use std::collections::BTreeMap;

/// Bytes of a page of the journal's file; asked for when it is created.
pub(super) const PAGE: usize = 4096;
pub(super) const LOG_HEADER: usize = 32;
pub(super) const FRAME_HEADER: usize = 24;
const TABLE_LEAF: u8 = 0x0d;

/// A value in a record.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    /// Nothing; also the place of a key that is the row's number.
    Null,
    /// A number.
    Integer(i64),
    /// A text; bytes that are none are replaced.
    Text(String),
    /// Anything else.
    Other,
}

impl Value {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

/// A row: its number and its columns.
pub(super) type Record = (i64, Vec<Value>);

/// What a look at a log says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LogState {
    /// Steps that were complete, and are lost to SQLite because of damage before or in them.
    pub(super) broken: bool,
    /// The very end is incomplete: a power failure does that to what was not synced yet, damage may.
    pub(super) torn_end: bool,
    /// The pages as the log leaves them, by number from 1; damaged ones included where nothing better is known.
    pub(super) pages: BTreeMap<u32, Vec<u8>>,
}

struct Frame<'a> {
    page: u32,
    commit: bool,
    salts: &'a [u8],
    stored: (u32, u32),
    summed: &'a [u8],
    content: &'a [u8],
}

fn big(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// The log's checksum over whole pairs of words, continued from `from`.
fn log_sum(from: (u32, u32), bytes: &[u8], big_endian: bool) -> (u32, u32) {
    let word = |bytes: &[u8]| if big_endian { big(bytes) } else { big(bytes).swap_bytes() };
    bytes.chunks_exact(8).fold(from, |(a, b), pair| {
        let a = a.wrapping_add(word(&pair[..4])).wrapping_add(b);
        (a, b.wrapping_add(word(&pair[4..])).wrapping_add(a))
    })
}

/// Reads a log frame by frame. Each frame's checksum continues the one before it; here it is continued from what the
/// frame before *says*, so that damage in one does not condemn all that follow.
pub(super) fn read_log(log: &[u8]) -> LogState {
    let mut state = LogState::default();
    if log.len() < LOG_HEADER {
        state.broken = !log.is_empty();
        return state;
    }
    let big_endian = big(log) & 1 == 1;
    let header_sum = log_sum((0, 0), &log[..24], big_endian);
    let sound_header = header_sum == (big(&log[24..]), big(&log[28..]));
    let frames: Vec<Frame<'_>> = log[LOG_HEADER..]
        .chunks_exact(FRAME_HEADER + PAGE)
        .map(|frame| Frame {
            page: big(frame),
            commit: big(&frame[4..]) != 0,
            salts: &frame[8..16],
            stored: (big(&frame[16..]), big(&frame[20..])),
            summed: &frame[..8],
            content: &frame[FRAME_HEADER..],
        })
        .collect();
    // Without a header, the newest generation is the one with the highest first salt: it counts up.
    let salts = match sound_header {
        true => Some(&log[16..24]),
        false => frames.iter().map(|frame| frame.salts).max_by_key(|salts| big(salts)),
    };
    let Some(salts) = salts else {
        state.broken = !sound_header;
        return state;
    };
    // Older generations may follow; they end where the last frame of this one was.
    let Some(last) = frames.iter().rposition(|frame| frame.salts == salts) else {
        state.broken = !sound_header;
        return state;
    };
    let sound: Vec<bool> = (0..=last)
        .map(|at| {
            let endian = [big_endian, !big_endian];
            let from = match at {
                0 if sound_header => header_sum,
                0 => (big(&log[24..]), big(&log[28..])),
                _ => frames[at - 1].stored,
            };
            let frame = &frames[at];
            frame.salts == salts
                && endian
                    .iter()
                    .take(if sound_header { 1 } else { 2 })
                    .any(|endian| log_sum(log_sum(from, frame.summed, *endian), frame.content, *endian) == frame.stored)
        })
        .collect();
    let whole = (0..=last).rfind(|at| sound[*at] && frames[*at].commit);
    state.broken = !sound_header || whole.is_some_and(|whole| sound[..=whole].contains(&false));
    state.torn_end = sound[whole.map_or(0, |whole| whole + 1)..].contains(&false);
    let until = if state.torn_end { last } else { whole.unwrap_or(last) };
    for (frame, sound) in frames[..=until].iter().zip(&sound) {
        let plausible = frame.page > 0 && frame.page <= 1 << 24;
        // A damaged frame is better than nothing or an older page if it looks like one; a sound one always is.
        if plausible && (*sound || frame.content[0] == TABLE_LEAF || !state.pages.contains_key(&frame.page)) {
            state.pages.insert(frame.page, frame.content.to_vec());
        }
    }
    state
}

/// Every record in the pages of a file, its log applied.
pub(super) fn records(file: &[u8], log: &BTreeMap<u32, Vec<u8>>) -> Vec<Record> {
    let count = file.len().div_ceil(PAGE) as u32;
    let page = |number: u32| -> Option<&[u8]> {
        if let Some(page) = log.get(&number) {
            return Some(page);
        }
        let at = (number as usize).checked_sub(1)? * PAGE;
        file.get(at..(at + PAGE).min(file.len())).filter(|page| !page.is_empty())
    };
    let mut found = Vec::new();
    // A damaged frame may name a page far beyond the others.
    for number in (1..=count).chain(log.keys().copied().filter(|number| *number > count)) {
        if let Some(content) = page(number) {
            // The first page begins with the header of the file.
            let skip = if number == 1 { 100 } else { 0 };
            leaf(content, skip, &page, &mut found);
        }
    }
    found
}

fn leaf<'a>(page: &'a [u8], skip: usize, other: &dyn Fn(u32) -> Option<&'a [u8]>, found: &mut Vec<Record>) {
    if page.len() < skip + 8 {
        return;
    }
    // If its header makes sense it is believed; else every pointer that leads to a record counts, and what is no record
    // does not prove itself.
    let header = &page[skip..skip + 8];
    let number = |at: usize| usize::from(header[at]) << 8 | usize::from(header[at + 1]);
    let sane = header[0] == TABLE_LEAF && skip + 8 + 2 * number(3) <= number(5).max(1);
    let cells = if sane { number(3) } else { PAGE / 8 };
    let pointers = page[skip + 8..].chunks_exact(2).map(|pair| usize::from(pair[0]) << 8 | usize::from(pair[1]));
    for at in pointers.take(cells) {
        if at >= skip + 8
            && at < page.len()
            && let Some(record) = cell(page, at, other)
        {
            found.push(record);
        }
    }
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let mut number = 0u64;
    for position in 0..9 {
        let byte = *bytes.get(*at)?;
        *at += 1;
        if position == 8 {
            return Some((number << 8 | u64::from(byte)) as i64);
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(number as i64);
        }
    }
    None
}

fn cell<'a>(page: &'a [u8], mut at: usize, other: &dyn Fn(u32) -> Option<&'a [u8]>) -> Option<Record> {
    let length = usize::try_from(varint(page, &mut at)?).ok()?;
    let row = varint(page, &mut at)?;
    if !(2..1 << 28).contains(&length) {
        return None;
    }
    // How much of a long record is in the page itself: section 1.6 of the format.
    let (most, least) = (PAGE - 35, (PAGE - 12) * 32 / 255 - 23);
    let here = if length <= most {
        length
    } else {
        let fitting = least + (length - least) % (PAGE - 4);
        if fitting <= most { fitting } else { least }
    };
    let mut payload = page.get(at..at + here)?.to_vec();
    if here < length {
        let mut next = big(page.get(at + here..at + here + 4)?);
        while payload.len() < length {
            let more = other(next).filter(|more| more.len() == PAGE)?;
            next = big(more);
            let take = (length - payload.len()).min(PAGE - 4);
            payload.extend_from_slice(&more[4..4 + take]);
        }
    }
    Some((row, columns(&payload)?))
}

fn columns(payload: &[u8]) -> Option<Vec<Value>> {
    let mut at = 0;
    let header = usize::try_from(varint(payload, &mut at)?).ok()?;
    let mut body = header;
    let mut values = Vec::new();
    while at < header {
        let kind = varint(payload, &mut at)?;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind as usize,
            5 => 6,
            6 | 7 => 8,
            12.. => usize::try_from((kind - 12) / 2).ok()?,
            _ => return None,
        };
        let bytes = payload.get(body..body.checked_add(length)?)?;
        body += length;
        values.push(match kind {
            0 => Value::Null,
            8 | 9 => Value::Integer(kind - 8),
            1..=6 => {
                let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1i64 };
                Value::Integer(bytes.iter().fold(sign, |number, byte| number << 8 | i64::from(*byte)))
            }
            13.. if kind % 2 == 1 => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
            _ => Value::Other,
        });
        if values.len() > 16 {
            return None;
        }
    }
    Some(values)
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any bytes as a page of the journal's file and as its log.
pub(super) fn fuzz(data: &[u8]) {
    let log = read_log(data);
    assert!(log.pages.values().all(|page| page.len() == PAGE), "pages are whole");
    let file = [vec![0; PAGE], data.to_vec()].concat();
    for (_, columns) in records(&file, &log.pages) {
        assert!(columns.len() <= file.len() * (1 + log.pages.len()), "more columns than bytes");
    }
}
