//! `onedrive-cli auth`: sign in, or finish a sign-in with the address that a browser elsewhere ended up at.

use clap::Args;
use serde_json::json;

use crate::base::{private, telemetry};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::options::Global;
use crate::cli::person::Terminal;
use crate::cli::print::{json_text, write_out};
use crate::cli::{block_on, person};

/// Arguments of `auth`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The address that the browser ended up at, to finish a sign-in begun with --no-browser
    #[arg(value_name = "ADDRESS", conflicts_with = "device_code")]
    address: Option<String>,

    #[command(flatten)]
    choice: person::Choice,
}

/// Signs in.
///
/// # Errors
/// The sign-in failed; an earlier one still stands.
pub fn run(arguments: &Arguments, global: &Global) -> Result<(), CliError> {
    telemetry::start(global.log_level())?;
    private::keep_memory();
    let context = Context::open(&global.selection())?;
    let owner = block_on(async {
        match &arguments.address {
            Some(address) => person::finish_sign_in(&context, address).await,
            None => {
                let method = arguments.choice.method_here().ok_or_else(|| {
                    CliError::new(Kind::SignInNeeded, "nobody is at the terminal to sign in").hint(
                        "onedrive-cli auth --no-browser prints an address, onedrive-cli auth --device-code a code",
                    )
                })?;
                person::sign_in(&context, method, Terminal { aside: global.json }).await
            }
        }
    })?;
    if global.json {
        let tokens = context.vault().path().map(|path| path.to_string_lossy().into_owned());
        return write_out(&json_text(&json!({"signed_in": true, "owner": owner, "tokens": tokens})));
    }
    match context.vault().path() {
        Some(path) => println!("Signed in. The tokens are in {}.", path.display()),
        None => println!("Signed in, and forgotten already: the settings say conf_save: false."),
    }
    println!("{}", person::whose(owner.as_deref()));
    Ok(())
}
