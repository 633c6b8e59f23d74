//! A service that outlives the daemons that use it: the emulator in the test's own process, and homes that are
//! signed in to it.

use std::fs;
use std::time::Duration;

use onedrive_mount::auth::{Authority, Tokens, Vault};
use onedrive_mount::base::clock::{Clock, SystemClock};
use onedrive_mount::base::secret::Secret;
use onedrive_mount::config::Layers;
use onedrive_mount::config::paths::{Bases, Places};
use onedrive_mount::emulator::{Content, DriveHandle, Emulator, LiveHandle, Options};
use tokio::runtime::Runtime;

use super::mount::{Home, Mount, Start};
use super::side::Side;

/// An emulated service.
pub struct Service {
    // Dropped last: the emulator's connections live on it.
    emulator: Emulator,
    runtime: Runtime,
    side: Side,
}

impl Service {
    /// An empty drive of this kind.
    pub fn new(side: impl Into<Side>) -> Self {
        Self::filled(side, Content::Empty)
    }

    /// A drive of this kind with something on it.
    pub fn filled(side: impl Into<Side>, content: Content) -> Self {
        let side = side.into();
        let runtime = Runtime::new().expect("a runtime");
        let options = Options { flavour: side.flavour, content, ..Options::default() };
        let emulator = runtime.block_on(Emulator::start(options)).expect("the emulator starts");
        Self { emulator, runtime, side }
    }

    /// The drive as the cloud sees it.
    pub fn drive(&self) -> &DriveHandle {
        self.emulator.drive()
    }

    /// The kind of drive, and the language.
    pub fn side(&self) -> Side {
        self.side
    }

    /// The emulated service itself.
    pub fn emulator(&self) -> &Emulator {
        &self.emulator
    }

    /// Runs something on the service's runtime.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// A home that is signed in, with these settings beside those that lead to the service.
    pub fn home(&self, settings: &str) -> Home {
        let home = Home::new();
        let endpoints = self.emulator.endpoints();
        let client = if self.side.live { LiveHandle::CLIENT } else { "test" };
        let live = if self.side.live { "protocol: live\n" } else { "" };
        let text = format!(
            "client:\n  id: \"{client}\"\nendpoints:\n  graph: {}\n  login: {}\n  live: {}\n  bits: {}\n{live}\
             poll_interval: 1s\n{settings}",
            endpoints.graph, endpoints.login, endpoints.live, endpoints.bits
        );
        let places = places(&home);
        for folder in [places.settings.parent().expect("a folder"), &places.state] {
            fs::create_dir_all(folder).expect("a folder of the home");
        }
        fs::write(&places.settings, text).expect("a settings file");
        let config = Layers::built_in().file(&places.settings, true).and_then(|layers| layers.finish());
        let authority = Authority::from_config(&config.expect("good settings")).expect("an authority");
        let issued =
            if self.side.live { self.emulator.live().issue_tokens() } else { self.emulator.oauth().issue_tokens() };
        let clock = SystemClock::new();
        let lifetime = Duration::from_secs(issued.expires_in);
        let tokens = Tokens {
            access: Secret::new(issued.access),
            refresh: Some(Secret::new(issued.refresh)),
            expires: clock.now().plus(lifetime),
            lifetime,
            scope: String::new(),
            identity: authority.identity(),
        };
        let vault = Vault::new(places.token_file());
        self.runtime.block_on(async {
            let lock = vault.lock(&clock).await.expect("the token file's lock");
            vault.store(&tokens, &lock).expect("the token file");
        });
        home
    }

    /// Mounts the drive in a home.
    pub fn mount(&self, home: &Home) -> Mount {
        Start::with(Vec::<String>::new()).mount(home)
    }
}

/// Where the program keeps its things in a home.
pub fn places(home: &Home) -> Places {
    let bases = Bases {
        config: home.path("config/onedrive-mount"),
        state: home.path("state/onedrive-mount"),
        cache: home.path("cache/onedrive-mount"),
        runtime: home.path("run/onedrive-mount"),
    };
    Places::new(&bases, None, None, None)
}

/// Waits until the cloud has everything.
pub fn wait_until_uploaded(home: &Home) {
    uploaded_within(home, "240s").unwrap_or_else(|error| panic!("{error}"));
}

/// Waits for so long until the cloud has everything; what is said if it has not.
pub fn uploaded_within(home: &Home, long: &str) -> Result<(), String> {
    let mut wait = home.command(env!("CARGO_BIN_EXE_onedrive-cli"));
    let output = wait.args(["wait", "--timeout", long]).output().expect("onedrive-cli runs");
    output.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
}
