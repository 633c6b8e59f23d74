//! Copying, and the monitor that tells how far it is.
//!
//! A copy is made when it is asked for; its monitor says so one poll later. So a client meets the
//! states in between, and a copy that nobody polls still happens, as on the service.
//! Documented at <https://learn.microsoft.com/graph/api/driveitem-copy>.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use super::address::ItemAddress;
use super::drive::Conflict;
use super::graph::Ask;
use super::graph_items::{body_parent, check_members};
use super::wire::{Answer, Outcome, Refusal};
use super::world::{World, lock};

struct Job {
    polls: u32,
    outcome: Result<String, Refusal>,
}

/// Copies under way or done.
#[derive(Default)]
pub(crate) struct Copies {
    jobs: HashMap<u64, Job>,
    /// The next copy reports a status that no client knows before it is done.
    pub(crate) strange_status: bool,
    /// Copies whose monitors say that they failed.
    pub(crate) to_fail: u32,
}

/// POST copy.
pub(crate) fn copy(ask: &Ask<'_>, at: &ItemAddress) -> Outcome {
    let body = ask.call.json()?;
    let known =
        ["name", "parentReference", "childrenOnly", "includeAllVersionHistory", "@microsoft.graph.conflictBehavior"];
    check_members(ask, &body, &known)?;
    if body.get("childrenOnly").and_then(Value::as_bool).unwrap_or(false) {
        return Err(Refusal::unimplemented("copying children only"));
    }
    let wanted = ask.query.conflict.unwrap_or(Conflict::Fail);
    let mut drive = ask.cell.lock();
    let index = ask.locate(&mut drive, at)?.found()?;
    let parent = match body_parent(ask, &drive, &body)? {
        Some(parent) => parent,
        None => drive.item(index)?.parent,
    };
    drive.folder(parent)?;
    let name = body.get("name").and_then(Value::as_str).map_or_else(|| drive.name(index).into_owned(), str::to_owned);
    if wanted == Conflict::Fail && drive.child(parent, &name)?.is_some() {
        return Err(super::drive::DriveError::Taken.into());
    }
    let mut copies = lock(&ask.world.copies);
    let outcome = if copies.to_fail > 0 {
        copies.to_fail -= 1;
        Err(Refusal::new(500, "generalException", "The copy failed."))
    } else {
        drive.copy(index, parent, &name, wanted, ask.call.now).map_err(Refusal::from)
    };
    let outcome = outcome.map(|index| drive.identity.item_id(index));
    let id = ask.call.number;
    copies.jobs.insert(id, Job { polls: 0, outcome });
    let sealed = ask.world.seal(&format!("copy|{id}"));
    let url = ask.world.sign(&format!("/monitor/{sealed}"), ask.call.now.plus(Duration::from_secs(86_400)));
    Ok(Answer::empty(202).with("location", url))
}

/// GET of a monitor.
pub(crate) fn monitor(world: &World, text: &str) -> Outcome {
    let id = text.strip_prefix("copy|").and_then(|id| id.parse::<u64>().ok()).ok_or_else(Refusal::missing)?;
    let mut copies = lock(&world.copies);
    let strange = copies.strange_status;
    let job = copies.jobs.get_mut(&id).ok_or_else(Refusal::missing)?;
    job.polls += 1;
    let (status, body) = match (&job.outcome, job.polls) {
        (_, 1) => {
            let word = if strange { "rearranging" } else { "inProgress" };
            (202, serde_json::json!({"operation": "itemCopy", "percentageComplete": 27.8, "status": word}))
        }
        (Ok(resource), _) => (
            200,
            serde_json::json!({"operation": "itemCopy", "percentageComplete": 100.0, "status": "completed",
                "resourceId": resource}),
        ),
        (Err(refusal), _) => (
            200,
            serde_json::json!({"operation": "itemCopy", "percentageComplete": 0.0, "status": "failed",
                "errorCode": refusal.code, "error": {"code": refusal.code, "message": refusal.message}}),
        ),
    };
    Ok(Answer::json(status, body.to_string()))
}
