//! `onedrive-cli quota`: how much space there is.

use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::print::Node;
use crate::cli::session::Session;

/// Prints the free and the whole space in python-onedrive's units; with `--json` in bytes.
///
/// # Errors
/// As every call to the cloud.
pub async fn run(session: &Session) -> Result<(), CliError> {
    let quota = session.remote.quota().await?;
    let said = |bytes: Option<u64>| bytes.map_or(Node::Null, |bytes| Node::Text(units(bytes)));
    let node = Node::Map(vec![("free".into(), said(quota.remaining)), ("quota".into(), said(quota.total))]);
    let bytes = |bytes: Option<u64>| bytes.map_or(Value::Null, Value::from);
    let value = json!({"free": bytes(quota.remaining), "quota": bytes(quota.total), "used": bytes(quota.used)});
    session.out.either(&node, &value)
}

/// A size with one decimal and one letter. What is exactly one of a unit stays in the smaller one, as it always did.
fn units(bytes: u64) -> String {
    let (mut scaled, mut letters) = (bytes as f64, ['B', 'K', 'M', 'G', 'T'].into_iter());
    let mut letter = letters.next().unwrap_or('B');
    while scaled > 1024.0 {
        let Some(next) = letters.next() else { break };
        (scaled, letter) = (scaled / 1024.0, next);
    }
    format!("{scaled:.1}{letter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_the_old_program() {
        for (bytes, text) in [
            (0, "0.0B"),
            (1024, "1024.0B"),
            (1025, "1.0K"),
            (26_843_545_600, "25.0G"),
            (1 << 40, "1024.0G"),
            (5 << 40, "5.0T"),
            (5000 << 40, "5000.0T"),
        ] {
            assert_eq!(units(bytes), text);
        }
    }
}
