//! `onedrive-cli emulator`: the OneDrive of our own as a server, for trying things out and for other programs.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use crate::base::telemetry;
use crate::cli::block_on;
use crate::cli::error::{CliError, Kind};
use crate::emulator::{Content, Emulator, Endpoints, Flavour, LiveHandle, Options};

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

    /// Which protocol the printed settings lead to; a personal account speaks both
    #[arg(long, value_enum, default_value_t = Protocol::Graph)]
    protocol: Protocol,

    /// Fill the drive with this many generated files, instead of a small home
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    items: Option<u64>,

    /// Where an HTTPS proxy listens that stands for the real hosts, so that any OneDrive client can be tried on the
    /// emulator; its requests then all have to come this way
    #[cfg(feature = "lab")]
    #[arg(long, value_name = "ADDRESS:PORT")]
    lab: Option<SocketAddr>,

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

/// What a client speaks to the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Protocol {
    /// Microsoft Graph v1.0
    Graph,
    /// Live Connect v5.0 and BITS, of personal accounts only
    Live,
}

/// Serves until Ctrl-C or SIGTERM.
///
/// # Errors
/// An address is not of this machine, or cannot be listened on; a work account was asked to speak Live Connect.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    telemetry::start(&arguments.log_level)?;
    let work = matches!(arguments.flavour, Kinds::Business | Kinds::Library);
    if arguments.protocol == Protocol::Live && work {
        return Err(CliError::new(
            Kind::Usage,
            "accounts for work or school never spoke Live Connect; use a personal one",
        ));
    }
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
        println!("{}", settings(arguments.protocol, &endpoints));
        #[cfg(feature = "lab")]
        if let Some(lab) = emulator.lab() {
            let proxy = lab.proxy();
            println!(
                "# Or, for any program that talks to OneDrive:\n\
                 #   curl -s {proxy}/ca.pem > ca.pem; export SSL_CERT_FILE=ca.pem HTTPS_PROXY={proxy}"
            );
        }
        ended().await
    })
}

/// A settings file that leads to the emulator.
fn settings(protocol: Protocol, endpoints: &Endpoints) -> String {
    let Endpoints { graph, login, live, bits } = endpoints;
    let rest = match protocol {
        Protocol::Graph => format!("client:\n  id: emulator\nendpoints:\n  graph: {graph}\n  login: {login}"),
        // In quotes: digits alone would be read as a number, and not as the number they show.
        Protocol::Live => format!(
            "protocol: live\nclient:\n  id: \"{}\"\nendpoints:\n  live: {live}\n  bits: {bits}\n  login: {login}",
            LiveHandle::CLIENT
        ),
    };
    format!("# A OneDrive is running; Ctrl-C ends it and everything on it. Settings that lead to it:\n{rest}")
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
        #[cfg(feature = "lab")]
        lab: arguments.lab,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_name_what_each_protocol_needs() {
        let endpoints = Endpoints {
            graph: "http://g".into(),
            login: "http://g".into(),
            live: "http://g".into(),
            bits: "http://b".into(),
        };
        let graph = settings(Protocol::Graph, &endpoints);
        assert!(
            graph.ends_with("client:\n  id: emulator\nendpoints:\n  graph: http://g\n  login: http://g"),
            "{graph}"
        );
        let live = settings(Protocol::Live, &endpoints);
        let expected = "protocol: live\nclient:\n  id: \"00000000541C0E27\"\nendpoints:\n  live: http://g\n  \
                        bits: http://b\n  login: http://g";
        assert!(live.ends_with(expected), "{live}");
    }
}
