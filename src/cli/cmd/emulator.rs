//! `onedrive-cli emulator`: the OneDrive of our own as a server, for trying things out and for other programs.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use crate::base::telemetry;
use crate::cli::block_on;
use crate::cli::error::{CliError, Kind};
use crate::emulator::{Content, Emulator, Flavour, Options};

/// Arguments of `emulator`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Where Graph and sign-in listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Where pre-authenticated downloads and uploads lead
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    storage_listen: SocketAddr,

    /// The kind of account
    #[arg(long, value_enum, default_value_t = Kinds::Personal)]
    flavour: Kinds,

    /// Fill the drive with this many generated files, instead of a small home
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    items: Option<u64>,

    /// How verbose to be: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = telemetry::DEFAULT_LEVEL)]
    log_level: String,
}

/// Kinds of accounts that behave differently.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kinds {
    /// A personal account
    Personal,
    /// A personal account on the legacy backend
    PersonalOld,
    /// OneDrive for work or school
    Business,
    /// A SharePoint document library
    Library,
}

/// Serves until Ctrl-C or SIGTERM.
///
/// # Errors
/// An address is not of this machine, or cannot be listened on.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    telemetry::start(&arguments.log_level)?;
    for address in [arguments.listen, arguments.storage_listen] {
        if !address.ip().is_loopback() {
            return Err(CliError::new(
                Kind::Usage,
                format!(
                    "the emulator lets everybody in, so it listens on this machine only; {address} is not loopback"
                ),
            ));
        }
    }
    block_on(async {
        let emulator = Emulator::start(options(arguments)).await.map_err(|error| {
            let addresses = format!("{} and {}", arguments.listen, arguments.storage_listen);
            CliError::new(Kind::Other, format!("cannot listen on {addresses}: {error}"))
        })?;
        let endpoints = emulator.endpoints();
        println!(
            "# A OneDrive is running; Ctrl-C ends it and everything on it. Settings that lead to it:\n\
             client:\n  id: emulator\nendpoints:\n  graph: {}\n  login: {}",
            endpoints.graph, endpoints.login
        );
        ended().await
    })
}

fn options(arguments: &Arguments) -> Options {
    Options {
        listen: arguments.listen,
        storage_listen: arguments.storage_listen,
        flavour: match arguments.flavour {
            Kinds::Personal => Flavour::PersonalNew,
            Kinds::PersonalOld => Flavour::PersonalOld,
            Kinds::Business => Flavour::Business,
            Kinds::Library => Flavour::DocumentLibrary,
        },
        content: arguments.items.map_or(Content::DemoHome, |items| Content::Synthetic { items }),
        ..Options::default()
    }
}

/// Waits for Ctrl-C or SIGTERM.
async fn ended() -> Result<(), CliError> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| CliError::new(Kind::Other, format!("cannot listen for signals: {error}")))?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => {
            result.map_err(|error| CliError::new(Kind::Other, format!("cannot listen for signals: {error}")))
        }
        _ = terminate.recv() => Ok(()),
    }
}
