//! `onedrive-cli print-config`: the reference of all settings, or the values in force and where they come from.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::options::Global;
use crate::cli::print::{json_text, print};
use crate::config::{DEFAULTS, Layers};

/// Arguments of `print-config`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Print the values in force and where each comes from, instead of the defaults and their explanation. With --json,
    /// both are one object that has {"value": ..., "origin": ...} for each setting
    #[arg(long)]
    effective: bool,
}

/// Prints settings.
///
/// # Errors
/// With `--effective`: the settings cannot be used.
pub fn run(arguments: &Arguments, global: &Global) -> Result<(), CliError> {
    if !arguments.effective && !global.json {
        return print(DEFAULTS);
    }
    let layers = if arguments.effective { Context::open(&global.selection())?.layers } else { Layers::built_in() };
    if global.json {
        return print(&json_text(&object(&layers)));
    }
    let mut text = String::new();
    for (key, setting) in layers.list() {
        text.push_str(&format!("{:<36}  # {}\n", format!("{key}: {}", setting.value), setting.origin));
    }
    print(&text)
}

/// Each setting as `{"value": TEXT, "origin": TEXT}`; a value that is not given is `null`.
fn object(layers: &Layers) -> Value {
    let members = layers.list().map(|(key, setting)| {
        let value = Some(setting.value).filter(|value| !value.is_empty());
        (key.to_owned(), json!({"value": value, "origin": setting.origin.to_string()}))
    });
    Value::Object(members.collect())
}
