//! `onedrive-cli auth`: sign in, or finish a sign-in with the address that a browser elsewhere ended up at.

use clap::Args;

use crate::base::{private, telemetry};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::options::Global;
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
    block_on(async {
        match &arguments.address {
            Some(address) => person::finish_sign_in(&context, address).await,
            None => {
                let method = arguments.choice.method_here().ok_or_else(|| {
                    CliError::new(Kind::SignInNeeded, "nobody is at the terminal to sign in").hint(
                        "onedrive-cli auth --no-browser prints an address, onedrive-cli auth --device-code a code",
                    )
                })?;
                person::sign_in(&context, method).await
            }
        }
    })?;
    println!("Signed in. The tokens are in {}.", context.places.token_file().display());
    Ok(())
}
