//! Which service a test runs against, and in which language: the kinds of drives that differ.

use onedrive_mount::emulator::{Emulator, Flavour};
use onedrive_mount::remote::live::LiveService;
use onedrive_mount::remote::stack::{GraphService, Protocol};

/// A kind of drive and the protocol it is spoken to in.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    pub flavour: Flavour,
    pub live: bool,
}

impl From<Flavour> for Side {
    fn from(flavour: Flavour) -> Self {
        Self { flavour, live: false }
    }
}

impl Side {
    /// A personal drive behind Graph.
    pub const PERSONAL: Self = Self { flavour: Flavour::PersonalNew, live: false };

    /// A work drive behind Graph.
    pub const BUSINESS: Self = Self { flavour: Flavour::Business, live: false };

    /// A personal drive behind Live Connect.
    pub const LIVE: Self = Self { flavour: Flavour::PersonalOld, live: true };

    /// An access token that is good for it.
    pub fn access_token(self, emulator: &Emulator) -> String {
        self.issuer(emulator)()
    }

    /// Access tokens, each time another.
    pub fn issuer(self, emulator: &Emulator) -> Box<dyn Fn() -> String + Send + Sync> {
        let (oauth, live) = (emulator.oauth().clone(), emulator.live());
        Box::new(move || if self.live { live.issue_tokens().access } else { oauth.issue_tokens().access })
    }

    /// Where the emulator speaks it.
    pub fn protocol(self, emulator: &Emulator) -> Protocol {
        let endpoints = emulator.endpoints();
        if !self.live {
            return Protocol::Graph(GraphService::at(endpoints.graph));
        }
        // Small files already go by BITS, so that both ways are taken.
        let service =
            LiveService { origin: endpoints.live, bits: endpoints.bits, bits_above: 2 << 20, ..LiveService::default() };
        Protocol::Live(service)
    }
}
