//! `onedrive-cli print-config`: the reference of all settings, or the values in force and where they come from.

use std::io::{self, Write as _};

use clap::Args;

use crate::cli::context::{Context, Selection};
use crate::cli::error::{CliError, Kind};
use crate::config::DEFAULTS;

/// Arguments of `print-config`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Print the values in force and where each comes from, instead of the defaults and their explanation
    #[arg(long)]
    effective: bool,

    #[command(flatten)]
    selection: Selection,
}

/// Prints settings.
///
/// # Errors
/// With `--effective`: the settings cannot be used.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    if !arguments.effective {
        return print(DEFAULTS);
    }
    let context = Context::open(&arguments.selection)?;
    let mut text = String::new();
    for (key, setting) in context.layers.list() {
        text.push_str(&format!("{:<36}  # {}\n", format!("{key}: {}", setting.value), setting.origin));
    }
    print(&text)
}

/// Writes to standard output, where nobody may be left to read: `| head` is no mistake.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::new(Kind::Other, error)),
        _ => Ok(()),
    }
}
