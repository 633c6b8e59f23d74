//! `onedrive-cli print-config`: the reference of all settings, or the values in force and where they come from.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::options::Global;
use crate::cli::print::write_out;
use crate::config::DEFAULTS;

/// Arguments of `print-config`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Print the values in force and where each comes from, instead of the defaults and their explanation
    #[arg(long)]
    effective: bool,
}

/// Prints settings.
///
/// # Errors
/// With `--effective`: the settings cannot be used.
pub fn run(arguments: &Arguments, global: &Global) -> Result<(), CliError> {
    if !arguments.effective {
        return print(DEFAULTS);
    }
    let context = Context::open(&global.selection())?;
    let mut text = String::new();
    for (key, setting) in context.layers.list() {
        text.push_str(&format!("{:<36}  # {}\n", format!("{key}: {}", setting.value), setting.origin));
    }
    print(&text)
}

/// Writes to standard output.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    write_out(text)
}
