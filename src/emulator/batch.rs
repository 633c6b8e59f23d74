//! `$batch`: up to twenty requests in one, each with its own outcome.
//!
//! Documented at <https://learn.microsoft.com/graph/json-batching>.

use std::collections::HashMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::content::Rope;
use super::graph;
use super::wire::{Answer, Call, Outcome, Payload, Refusal};
use super::world::World;

/// The most requests in one batch.
const MOST: usize = 20;

/// POST of a batch.
pub(crate) fn handle(world: &World, call: &Call, user: usize) -> Outcome {
    let body = call.json()?;
    let bad = |text: &str| Refusal::bad(text.to_owned());
    let requests = body.get("requests").and_then(Value::as_array).ok_or_else(|| bad("The requests are missing."))?;
    if requests.is_empty() || requests.len() > MOST {
        return Err(bad("A batch has one to twenty requests."));
    }
    let mut done: HashMap<String, u16> = HashMap::new();
    let mut responses = Vec::new();
    for (place, request) in requests.iter().enumerate() {
        let text = |key: &str| request.get(key).and_then(Value::as_str);
        let id = text("id").ok_or_else(|| bad("A request has no id."))?;
        if done.contains_key(&id.to_lowercase()) {
            return Err(bad("Two requests have the same id."));
        }
        let needs = request.get("dependsOn").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut failed = false;
        for need in needs.iter().filter_map(Value::as_str) {
            // A dependency has to come first; anything else is a malformed batch.
            let status = done.get(&need.to_lowercase()).ok_or_else(|| bad("A dependency is not known."))?;
            failed |= *status >= 400;
        }
        let answer = if failed {
            Refusal::new(424, "failedDependency", "A request this one depends on has failed.").answer(call)
        } else {
            let part = part(call, request, place).ok_or_else(|| bad("A request is malformed."))?;
            graph::route(world, &part, user).unwrap_or_else(|refusal| refusal.answer(&part))
        };
        done.insert(id.to_lowercase(), answer.status);
        responses.push(response(id, answer));
    }
    // Answers come in any order.
    responses.reverse();
    Ok(Answer::json(200, json!({"responses": responses}).to_string()))
}

fn part(call: &Call, request: &Value, place: usize) -> Option<Call> {
    let method = Method::from_bytes(request.get("method")?.as_str()?.as_bytes()).ok()?;
    let url = request.get("url")?.as_str()?;
    let url = format!("/v1.0/{}", url.trim_start_matches('/'));
    let (path, query) = url.split_once('?').unwrap_or((&url, ""));
    let mut headers = HeaderMap::new();
    for (name, value) in request.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let name = HeaderName::from_bytes(name.to_lowercase().as_bytes()).ok()?;
        headers.insert(name, HeaderValue::from_str(value.as_str()?).ok()?);
    }
    let body = match request.get("body") {
        None => Vec::new(),
        Some(_) if !headers.contains_key("content-type") => return None,
        Some(Value::String(text)) => STANDARD.decode(text).ok()?,
        Some(value) => value.to_string().into_bytes(),
    };
    Some(Call {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        target: url.clone(),
        headers,
        body: Rope::from(axum::body::Bytes::from(body)),
        now: call.now,
        number: call.number.wrapping_mul(64).wrapping_add(place as u64),
    })
}

fn response(id: &str, answer: Answer) -> Value {
    let headers: HashMap<_, _> = answer.headers.into_iter().collect();
    let body = match answer.payload {
        Payload::Empty => Value::Null,
        Payload::Bytes(bytes) => {
            serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(STANDARD.encode(&bytes)))
        }
        Payload::Content { .. } => Value::Null,
    };
    let mut response = json!({"id": id, "status": answer.status, "headers": headers});
    if !body.is_null() {
        response["body"] = body;
    }
    response
}
