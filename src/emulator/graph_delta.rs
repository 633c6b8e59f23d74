//! Delta: what has changed since a token, in the latest state of each item.
//!
//! The drive's log is read forward from the token's position; void entries are skipped, so an item
//! comes once, where it changed last. A page ends after so many items; the next link carries the
//! position, the last page a delta link. A lagging drive shows no entry younger than the lag, and for
//! an item whose latest change is hidden the state it had before. Everything else (repeats, ancestors,
//! empty pages, shuffled order, loops) is laid over this on request of a test.
//!
//! Documented at <https://learn.microsoft.com/graph/api/driveitem-delta>.

use super::address::ItemAddress;
use super::drive::{Drive, Resync};
use super::face::{Face, Kind};
use super::graph::Ask;
use super::ident::{Index, ROOT, mix};
use super::render::Shape;
use super::wire::{Answer, Json, Outcome, Refusal, encode, parse_time};
use crate::base::clock::Timestamp;

/// A place in an enumeration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    scope: Index,
    generation: u32,
    /// The next log position to read.
    from: u32,
    /// Where this chain of pages began.
    start: u32,
    /// Tombstones before this position are left out: the log's end when a full enumeration began, else
    /// zero.
    living_before: u32,
    page: u32,
}

impl Place {
    fn text(self, drive: usize) -> String {
        let Self { scope, generation, from, start, living_before, page } = self;
        format!("delta|{drive}|{scope}|{generation}|{from}|{start}|{living_before}|{page}")
    }

    fn parse(text: &str, drive: usize) -> Option<Self> {
        let numbers = text.strip_prefix("delta|")?.split('|').map(|part| part.parse().ok());
        let numbers = numbers.collect::<Option<Vec<u32>>>()?;
        let [of, scope, generation, from, start, living_before, page] = *numbers.as_slice() else { return None };
        (of as usize == drive).then_some(Self { scope, generation, from, start, living_before, page })
    }
}

fn link(ask: &Ask<'_>, place: Place) -> String {
    let kept: String = ask
        .call
        .query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .filter(|pair| !pair.trim_start_matches('$').to_ascii_lowercase().starts_with("token="))
        .map(|pair| format!("{pair}&"))
        .collect();
    let drive = encode(ask.cell.identity.drive_id());
    let scope = if place.scope == ROOT {
        "root".to_owned()
    } else {
        format!("items/{}", encode(&ask.cell.identity.item_id(place.scope)))
    };
    let token = ask.world.seal(&place.text(ask.cell.number));
    format!("{}/v1.0/drives/{drive}/{scope}/delta?{kept}token={token}", ask.world.graph_url)
}

/// The end of what delta shows now.
fn visible_end(drive: &Drive, now: Timestamp) -> u32 {
    if drive.delta.lag.is_zero() {
        return drive.log.len() as u32;
    }
    let before = Timestamp(now.0.saturating_sub(drive.delta.lag.as_nanos() as i64));
    drive.position_at(before)
}

/// GET delta.
pub(crate) fn get(ask: &Ask<'_>, at: &ItemAddress, token: Option<String>) -> Outcome {
    let now = ask.call.now;
    let mut drive = ask.cell.lock();
    let scope = ask.locate(&mut drive, at)?.found()?;
    drive.folder(scope)?;
    let personal = drive.flavour().is_personal();
    if scope != ROOT && !personal {
        return Err(Refusal::new(501, "notSupported", "Delta is supported on the root of this drive only."));
    }
    let end = visible_end(&drive, now);
    let generation = drive.token_generation;
    let begin = Place { scope, generation, from: 0, start: 0, living_before: end, page: 0 };
    let token = token.or_else(|| ask.query.token.clone());
    let place = match token.as_deref() {
        None | Some("") => begin,
        Some("latest") => {
            let place = Place { from: end, start: end, living_before: 0, ..begin };
            drop(drive);
            return Ok(page_answer(ask, &[], Some(place), None));
        }
        Some(token) => match ask.world.unseal(token).and_then(|text| Place::parse(&text, ask.cell.number)) {
            Some(place) if place.scope == scope => place,
            Some(_) => return Err(Refusal::bad("The delta token is for another folder.")),
            None => match parse_time(token).filter(|_| !personal) {
                Some(time) => {
                    let from = drive.position_at(time);
                    Place { from, start: from, living_before: 0, ..begin }
                }
                None => return Err(Refusal::bad("The delta token is not valid.").inner("invalidParameterFormat")),
            },
        },
    };
    if place.generation != generation {
        return Err(resync(ask, &drive, begin));
    }
    if drive.delta.missing_from_page.is_some_and(|page| place.page >= page) {
        return Err(Refusal::missing());
    }
    if drive.read_lag.states.is_zero() {
        drive.stale.retain(|_, (_, successor)| *successor >= end);
    }
    let behaviour = drive.delta.clone();
    let every = behaviour.empty_page_every;
    if every > 0 && place.page % every == every - 1 {
        drop(drive);
        return Ok(page_answer(ask, &[], None, Some(Place { page: place.page + 1, ..place })));
    }
    let (mut faces, reached) = read(ask, &drive, place, end);
    if let Some(seed) = behaviour.shuffle {
        let key = |face: &Face<'_>| mix(seed ^ mix(u64::from(face.index)) ^ u64::from(place.page));
        faces.sort_by_key(key);
    }
    if behaviour.repeat_every > 0 {
        let mut repeated: Vec<_> = faces.iter().step_by(behaviour.repeat_every).cloned().collect();
        if place.from > place.start {
            let index = drive.log[place.from as usize - 1];
            if drive.items[index as usize].changed == place.from - 1 && drive.is_within(index, scope) {
                repeated.push(Face::of(&drive, index).into_owned());
            }
        }
        // A deletion from before the enumeration stays out of it, also as a repetition.
        repeated.retain(|face| !face.deleted || place.living_before == 0);
        faces.extend(repeated);
    }
    drop(drive);
    let next = Place { from: reached, page: place.page + 1, ..place };
    if reached >= end {
        let done = Place { start: reached, living_before: 0, page: 0, ..next };
        return Ok(page_answer(ask, &faces, Some(done), None));
    }
    if behaviour.loops && place.page == 1 {
        let again = Place { from: place.start, page: 0, ..place };
        return Ok(page_answer(ask, &faces, None, Some(again)));
    }
    Ok(page_answer(ask, &faces, None, Some(next)))
}

/// The items of one page, and the log position after it.
fn read(ask: &Ask<'_>, drive: &Drive, place: Place, end: u32) -> (Vec<Face<'static>>, u32) {
    let strict = ask.world.strict();
    let size = ask.query.top.unwrap_or(strict.delta_page).min(strict.page_max);
    let personal = drive.flavour().is_personal();
    let shortcuts = !personal || !strict.shortcuts_need_prefer || ask.call.prefers("Include-Feature=AddToOneDrive");
    let full = place.living_before > 0;
    let mut faces: Vec<Face<'static>> = Vec::with_capacity(size.min(1024));
    let mut at = place.from;
    while at < end && faces.len() < size {
        let position = at;
        at += 1;
        let index = drive.log[position as usize];
        let face = if drive.items[index as usize].changed == position {
            Face::of(drive, index).into_owned()
        } else {
            match drive.stale.get(&position) {
                Some((face, successor)) if *successor >= end => face.clone(),
                _ => continue,
            }
        };
        if face.deleted && position < place.living_before {
            continue;
        }
        if !shortcuts && matches!(face.kind, Kind::Shortcut { .. }) {
            continue;
        }
        let Some(face) = in_scope(drive, face, place) else { continue };
        if !full && drive.delta.ancestors && !face.deleted {
            let mut above = drive.ancestors(index);
            above.reverse();
            for ancestor in above {
                let known = faces.iter().any(|seen| seen.index == ancestor);
                if !known && drive.item(ancestor).is_ok() && drive.is_within(ancestor, place.scope) {
                    faces.push(Face::of(drive, ancestor).into_owned());
                }
            }
        }
        faces.push(face);
    }
    (faces, at)
}

/// The face as the enumerated folder sees it: an item that moved out appears as deleted.
fn in_scope(drive: &Drive, face: Face<'static>, place: Place) -> Option<Face<'static>> {
    if place.scope == ROOT || drive.is_within(face.index, place.scope) {
        return Some(face);
    }
    let left = drive.moves.iter().any(|&(position, index, parent)| {
        index == face.index && position >= place.start && drive.is_within(parent, place.scope)
    });
    left.then_some(Face { deleted: true, ..face })
}

fn page_answer(ask: &Ask<'_>, faces: &[Face<'static>], done: Option<Place>, next: Option<Place>) -> Answer {
    let renderer = ask.renderer(Shape::Delta);
    let mut json = Json::new();
    json.object(|json| {
        json.pair("@odata.context", &format!("{}/v1.0/$metadata#Collection(driveItem)", ask.world.graph_url));
        if let Some(place) = next {
            json.pair("@odata.nextLink", &link(ask, place));
        }
        if let Some(place) = done {
            json.pair("@odata.deltaLink", &link(ask, place));
        }
        json.key("value").array(|json| faces.iter().for_each(|face| renderer.element(json, face, None)));
    });
    Answer::json(200, json.finish())
}

fn resync(ask: &Ask<'_>, drive: &Drive, begin: Place) -> Refusal {
    let refusal =
        Refusal::new(410, "resyncRequired", "Resync required. Replace any local items with the server's version.");
    let (inner, location) = match drive.resync {
        Resync::ApplyDifferences => ("resyncChangesApplyDifferences", true),
        Resync::UploadDifferences => ("resyncChangesUploadDifferences", true),
        Resync::WithoutLocation => ("resyncChangesApplyDifferences", false),
    };
    let refusal = refusal.inner(inner);
    if location { refusal.with("location", link(ask, begin)) } else { refusal }
}
