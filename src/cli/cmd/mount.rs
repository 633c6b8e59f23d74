//! `onedrive-mount`: from arguments to a mount that answers.
//!
//! The order matters to the person at the terminal: first everything that can be told at once (settings, mount point,
//! FUSE), then the sign-in, which takes their time, and only then the daemon. Whatever goes wrong, nothing is left
//! half-mounted and one sentence says what to do.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::auth::{AuthError, Renewer, TokenSource as _};
use crate::base::clock::{Clock, SystemClock};
use crate::base::private;
use crate::base::telemetry::{self, Level};
use crate::cli::context::{Context, Selection};
use crate::cli::error::{CliError, Kind};
use crate::cli::{background, mountpoint, person};
use crate::config::DEFAULTS;
use crate::config::paths::Bases;
use crate::daemon;
use crate::fuse::SessionEnd;

/// What stands below the list of options.
pub const AFTER_HELP: &str = "\
The first time, it signs you in through the browser. What you write is safe on this machine as soon as the file is \
closed, and goes to the cloud in the background.

  onedrive-mount --demo ~/Demo     look around without an account
  onedrive-mount ~/OneDrive        mount your OneDrive
  fusermount3 -u ~/OneDrive        unmount it
  onedrive-mount --print-config    all settings";

/// How long a sign-in that may be over is asked about before mounting. Without a network the mount comes up all the
/// same.
const ASK_PATIENCE: Duration = Duration::from_secs(3);

/// How long a renewal that is under way may hold up the end of the program.
const SETTLE_PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `onedrive-mount`.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// The folder to mount on; made if it is missing, must be empty
    #[arg(value_name = "MOUNTPOINT", required_unless_present = "print_config")]
    mountpoint: Option<PathBuf>,

    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    choice: person::Choice,

    /// Let nothing be changed through the mount
    #[arg(long)]
    read_only: bool,

    /// Let other users in, as far as umask, uid and gid in the settings allow
    #[arg(long)]
    allow_other: bool,

    /// Stay in the foreground, as systemd wants it
    #[arg(long)]
    foreground: bool,

    /// How verbose the log is: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = telemetry::DEFAULT_LEVEL, env = "ONEDRIVE_MOUNT_LOG_LEVEL")]
    log_level: String,

    /// Mount a small OneDrive that runs inside the program: no account, nothing leaves this machine, all of it is
    /// gone after the unmount
    #[cfg(feature = "demo")]
    #[arg(long)]
    demo: bool,

    /// Fill the demo with this many generated files instead
    #[cfg(feature = "demo")]
    #[arg(long, value_name = "N", requires = "demo", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    demo_items: Option<u64>,

    /// Print all settings with their explanation and their defaults, and exit
    #[arg(long)]
    print_config: bool,

    /// Set by the program itself when it starts itself in the background.
    #[arg(long, hide = true, requires = "foreground")]
    report_ready: bool,
}

/// A mount that only has to be started: all that could be checked is checked.
#[derive(Debug)]
pub struct Prepared {
    /// Settings and folders.
    pub context: Context,
    /// An empty folder, absolute and without symbolic links.
    pub mountpoint: PathBuf,
    /// Nothing may be changed through the mount.
    pub read_only: bool,
    /// Other users may come in.
    pub allow_other: bool,
    /// Changes what is logged while the daemon runs.
    pub log_level: Level,
    /// The demo to mount instead of an account.
    pub demo: Option<Demo>,
}

/// A demo drive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Demo {
    /// So many generated files; a small believable home if `None`.
    pub items: Option<u64>,
}

/// Tells whoever waits that the mount answers.
#[derive(Debug)]
pub struct Announcer {
    to_parent: bool,
    welcome: String,
}

impl Announcer {
    /// To be called once, when the mount answers.
    ///
    /// # Errors
    /// Whoever started the daemon has given up waiting for it: the mount is not wanted any more.
    pub fn ready(self) -> io::Result<()> {
        if self.to_parent {
            background::report_ready()
        } else {
            if io::stdout().is_terminal() {
                println!("{}", self.welcome);
            }
            Ok(())
        }
    }
}

/// Mounts, or says why not.
///
/// # Errors
/// One sentence and an exit code.
pub fn run(arguments: Arguments) -> Result<(), CliError> {
    if arguments.print_config {
        return crate::cli::print::print(DEFAULTS);
    }
    let to_parent = arguments.report_ready;
    private::keep_memory();
    let result = if arguments.foreground { in_foreground(&arguments) } else { in_background(&arguments) };
    if let (Err(error), true) = (&result, to_parent) {
        background::report_failure(error);
    }
    result
}

fn in_background(arguments: &Arguments) -> Result<(), CliError> {
    let prepared = prepare(arguments, "warn")?;
    let _sign_in =
        prepared.demo.is_none().then(|| SignInCheck::new(&prepared.context, arguments.choice)).transpose()?;
    let program = std::env::current_exe()
        .map_err(|error| CliError::new(Kind::Other, format!("cannot find the program to start: {error}")))?;
    let mut command = Command::new(program);
    // Ours first: what follows may end in `--` and a mount point.
    command.args(["--foreground", "--report-ready"]).args(std::env::args_os().skip(1));
    background::start(command, &prepared.context.places.log_file())?;
    // It is mounted, whether anybody reads that or not.
    let _ = writeln!(io::stdout(), "{}", welcome(&prepared, &prepared.context.places.log_file().display().to_string()));
    Ok(())
}

fn in_foreground(arguments: &Arguments) -> Result<(), CliError> {
    let prepared = prepare(arguments, &arguments.log_level)?;
    let mut _sign_in = None;
    if arguments.report_ready {
        background::detach();
    } else if prepared.demo.is_none() {
        _sign_in = Some(SignInCheck::new(&prepared.context, arguments.choice)?);
    }
    let announcer =
        Announcer { to_parent: arguments.report_ready, welcome: welcome(&prepared, "standard error of this program") };
    serve(prepared, announcer)
}

/// Everything that can be checked without waiting for anybody.
fn prepare(arguments: &Arguments, log_level: &str) -> Result<Prepared, CliError> {
    let log_level = telemetry::start(log_level)?;
    let named = arguments.mountpoint.as_deref().expect("invariant: the argument parser asks for a mount point");
    let demo = demo(arguments);
    let open = |mountpoint: &Path| match demo {
        Some(_) => Context::demo(&arguments.selection, mountpoint),
        None => Context::open(&arguments.selection),
    };
    // Settings before the mount point: a mistake in them must not make a folder first.
    Context::open(&arguments.selection)?;
    let mountpoint = mountpoint::prepare(named, arguments.allow_other)?;
    let context = open(&mountpoint)?;
    mountpoint::keep_apart(&mountpoint, &context.places)?;
    Ok(Prepared {
        context,
        mountpoint,
        read_only: arguments.read_only,
        allow_other: arguments.allow_other,
        log_level,
        demo,
    })
}

#[cfg(feature = "demo")]
fn demo(arguments: &Arguments) -> Option<Demo> {
    arguments.demo.then_some(Demo { items: arguments.demo_items })
}

#[cfg(not(feature = "demo"))]
fn demo(_: &Arguments) -> Option<Demo> {
    None
}

/// Sees to it that there is a sign-in before anything is started. A renewal that takes longer than the person should
/// wait goes on in here meanwhile; dropping waits for its end, because its answer must not be lost.
struct SignInCheck {
    runtime: tokio::runtime::Runtime,
    tokens: Renewer,
}

impl SignInCheck {
    fn new(context: &Context, choice: person::Choice) -> Result<Self, CliError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let tokens = context.tokens(clock.clone())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| CliError::new(Kind::Other, format!("cannot start: {error}")))?;
        let check = Self { runtime, tokens };
        check.runtime.block_on(ensure_signed_in(context, &check.tokens, &*clock, choice))?;
        Ok(check)
    }
}

impl Drop for SignInCheck {
    fn drop(&mut self) {
        self.runtime.block_on(settle(&self.tokens, &SystemClock::new()));
    }
}

/// Asks for a token, and for a sign-in if that is what is missing and somebody is there to give one.
///
/// | the stored sign-in | somebody is there | then |
/// | --- | --- | --- |
/// | is good | – | go on |
/// | cannot be checked (no network) | – | go on: what is on this machine can be used |
/// | is missing, over, or another application's | yes | sign in |
/// | is over | no | go on: what is on this machine can be used, and the log says what to do |
/// | is missing, or another application's | no | fail |
async fn ensure_signed_in(
    context: &Context,
    tokens: &Renewer,
    clock: &dyn Clock,
    choice: person::Choice,
) -> Result<(), CliError> {
    let answer = tokio::select! {
        answer = tokens.token() => answer,
        () = clock.sleep(ASK_PATIENCE) => return Ok(()),
    };
    let error = match answer {
        Ok(_) | Err(AuthError::Unreachable { .. }) => return Ok(()),
        Err(error @ (AuthError::NotSignedIn | AuthError::SignedOut { .. } | AuthError::OtherApplication { .. })) => {
            error
        }
        Err(error) => return Err(error.into()),
    };
    match (choice.method_here(), &error) {
        (Some(method), _) => {
            if !matches!(error, AuthError::NotSignedIn) {
                println!("{error}");
            }
            let owner = person::sign_in(context, method, person::Terminal::default()).await?;
            println!("Signed in. {}", person::whose(owner.as_deref()));
            Ok(())
        }
        (None, AuthError::SignedOut { .. }) => {
            tracing::warn!(%error, "mounting what is on this machine");
            Ok(())
        }
        (None, _) => Err(error.into()),
    }
}

/// The systemd unit that mounts with these settings: the units look for them in the folder of settings, under a name
/// that stands for itself in the name of a unit.
fn unit(settings: &Path, folder: &Path) -> Option<String> {
    let name = settings.file_name()?.to_str()?.strip_suffix(".yaml")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    match name {
        _ if settings.parent() != Some(folder) => None,
        "config" => Some("onedrive-mount".to_owned()),
        name if !name.is_empty() && name.chars().all(plain) => Some(format!("onedrive-mount@{name}")),
        _ => None,
    }
}

/// The three lines that a person reads when it has worked.
fn welcome(prepared: &Prepared, log: &str) -> String {
    let places = &prepared.context.places;
    let mountpoint = prepared.mountpoint.display();
    let none_yet = if places.settings.exists() { "" } else { " (none yet)" };
    let at_login = match prepared.demo {
        Some(_) => "Your own OneDrive: onedrive-mount ~/OneDrive (the demo is gone after the unmount)".to_owned(),
        None => match Bases::of_user().ok().and_then(|bases| unit(&places.settings, &bases.config)) {
            Some(unit) => {
                format!("At every login: systemctl --user enable {unit} (see contrib/systemd for other mount points)")
            }
            None => {
                "At every login: with a unit of your own that names these settings (see contrib/systemd)".to_owned()
            }
        },
    };
    format!(
        "OneDrive is on {mountpoint}. Settings: {}{none_yet}, cache: {}, log: {log}\n\
         To unmount: fusermount3 -u {mountpoint}\n\
         {at_login}",
        places.settings.display(),
        places.cache.display(),
    )
}

/// Runs the daemon, and the demo drive if that is what is mounted, until the mount ends.
fn serve(prepared: Prepared, announcer: Announcer) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .on_thread_start(daemon::run::step_back)
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Kind::Other, format!("cannot start: {error}")))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let result = runtime.block_on(async {
        #[cfg(feature = "demo")]
        let mut prepared = prepared;
        #[cfg(feature = "demo")]
        let _drive = match prepared.demo {
            Some(demo) => Some(inside::start(&mut prepared.context, demo, &*clock).await?),
            None => None,
        };
        run_daemon(prepared, announcer, clock).await
    });
    // A request that waits for a dead network must not hold up the end of the program.
    runtime.shutdown_background();
    result
}

/// Hands over to the daemon, and says at the end whether everything has reached the cloud.
async fn run_daemon(prepared: Prepared, announcer: Announcer, clock: Arc<dyn Clock>) -> Result<(), CliError> {
    let tokens = Arc::new(prepared.context.tokens(clock.clone())?);
    let Context { config, places, .. } = prepared.context;
    let options = daemon::Options {
        config,
        places,
        mountpoint: prepared.mountpoint,
        read_only: prepared.read_only,
        allow_other: prepared.allow_other,
        tokens: tokens.clone(),
        loopback_only: prepared.demo.is_some(),
        program: std::env::current_exe().ok(),
    };
    let result = daemon::run::run(options, || announcer.ready()).await;
    settle(&tokens, &*clock).await;
    let ended = result?;
    if io::stdout().is_terminal() {
        println!("Unmounted; {}.", ended.farewell);
    }
    match ended.session {
        SessionEnd::Unmounted => Ok(()),
        SessionEnd::Failed(reason) => Err(CliError::new(Kind::Other, format!("the mount has failed: {reason}"))
            .hint("what was written is safe; mount again to go on")),
    }
}

/// Waits for a renewal under way: cut off now, it might cost the sign-in. One that hangs does not hold up the end.
async fn settle(tokens: &Renewer, clock: &dyn Clock) {
    tokio::select! {
        () = tokens.settled() => {}
        () = clock.sleep(SETTLE_PATIENCE) => {}
    }
}

/// The demo: a OneDrive inside this process, and a context that leads to it.
#[cfg(feature = "demo")]
mod inside {
    use std::io;
    use std::path::Path;
    use std::time::Duration;

    use super::{CliError, Context, Demo, Kind};
    use crate::auth::{Authority, Tokens};
    use crate::base::clock::Clock;
    use crate::base::secret::Secret;
    use crate::daemon::DaemonError;
    use crate::daemon::single::{self, SingleError};
    use crate::emulator::{Content, Emulator, Options};

    /// Starts the demo drive and signs in to it. Everything ends when the emulator is dropped.
    ///
    /// What an earlier demo left in the folders of this one is removed first: that drive is gone. Folders named on
    /// the command line are left as they are.
    pub(super) async fn start(context: &mut Context, demo: Demo, clock: &dyn Clock) -> Result<Emulator, CliError> {
        // Emptied under the feet of a running demo, it would lose what it holds.
        if let Ok(Some(holder)) = single::holder(&context.places.state) {
            return Err(DaemonError::Single(SingleError::Taken { holder }).into());
        }
        let log = context.places.log_file();
        for folder in [&context.places.state, &context.places.cache] {
            if folder.file_name().is_some_and(|name| name.to_string_lossy() == context.places.profile.as_str()) {
                empty(folder, &log).map_err(|error| {
                    CliError::new(Kind::Disk, format!("cannot empty {}: {error}", folder.display()))
                })?;
            }
        }
        let content = demo.items.map_or(Content::DemoHome, |items| Content::Synthetic { items });
        let emulator = Emulator::start(Options { content, ..Options::default() })
            .await
            .map_err(|error| CliError::new(Kind::Other, format!("cannot start the demo: {error}")))?;
        let endpoints = emulator.endpoints();
        for (key, value) in
            [("client.id", "demo"), ("endpoints.graph", &endpoints.graph), ("endpoints.login", &endpoints.login)]
        {
            context.layers = context.layers.clone().flag(key, value, "--demo")?;
        }
        context.config = context.layers.finish()?;
        let issued = emulator.oauth().issue_tokens();
        let lifetime = Duration::from_secs(issued.expires_in);
        let tokens = Tokens {
            access: Secret::new(issued.access),
            refresh: Some(Secret::new(issued.refresh)),
            expires: clock.now().plus(lifetime),
            lifetime,
            scope: String::new(),
            identity: Authority::from_config(&context.config)?.identity(),
        };
        let vault = context.vault();
        let lock = vault.lock(clock).await.map_err(crate::auth::AuthError::from)?;
        vault.store(&tokens, &lock).map_err(crate::auth::AuthError::from)?;
        Ok(emulator)
    }

    /// Removes what is in a folder, except `keep`: the log that this process writes to.
    fn empty(folder: &Path, keep: &Path) -> io::Result<()> {
        let entries = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())?;
            } else if entry.path() != keep {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn only_settings_in_their_folder_have_a_unit() {
        let folder = Path::new("/home/ada/.config/onedrive-mount");
        let of = |settings: &str| unit(&folder.join(settings), folder);
        assert_eq!(of("config.yaml").as_deref(), Some("onedrive-mount"));
        assert_eq!(of("work.yaml").as_deref(), Some("onedrive-mount@work"));
        for elsewhere in [
            "/home/ada/.lcrc",
            "/tmp/work.yaml",
            "/tmp/config.yaml",
            "deeper/work.yaml",
            "work.yml",
            ".yaml",
            "a b.yaml",
        ] {
            assert_eq!(of(elsewhere), None, "{elsewhere}");
        }
    }

    /// A refused command line: its exit code.
    fn refused(home: &Path, extra: &[&str]) -> Kind {
        let settings = home.join("config.yaml");
        let [state, cache] = ["state", "cache"].map(|name| home.join(name).display().to_string());
        let line = [
            "onedrive-mount",
            "--config",
            &settings.display().to_string(),
            "--state-dir",
            &state,
            "--cache-dir",
            &cache,
        ]
        .map(str::to_owned)
        .into_iter()
        .chain(extra.iter().map(|argument| (*argument).to_owned()));
        let arguments = Line::try_parse_from(line).expect("parses").arguments;
        prepare(&arguments, "warn").expect_err("refused").kind
    }

    /// The context of a demo on `/m` whose folders are in `home`.
    #[cfg(feature = "demo")]
    fn demo_context(home: &Path) -> Context {
        use crate::config::Layers;
        use crate::config::paths::{Bases, Places};
        let [config, cache, runtime] = ["c", "k", "r"].map(|name| home.join(name));
        let bases = Bases { config, state: home.to_owned(), cache, runtime };
        let layers = Layers::built_in();
        let places = Places::demo(&bases, Path::new("/m"), None, None);
        Context { config: layers.finish().expect("valid"), layers, places }
    }

    #[test]
    fn a_mistake_in_the_settings_is_found_before_a_folder_is_made() {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::write(home.path().join("config.yaml"), "umask: 9").expect("written");
        let mountpoint = home.path().join("m");
        assert_eq!(refused(home.path(), &[&mountpoint.display().to_string()]), Kind::Settings);
        assert!(!mountpoint.exists());
    }

    #[test]
    fn a_mount_point_with_files_in_it_is_refused() {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::write(home.path().join("config.yaml"), "").expect("written");
        assert_eq!(refused(home.path(), &[&home.path().display().to_string()]), Kind::NotEmpty);
    }

    #[cfg(feature = "demo")]
    #[tokio::test]
    async fn a_demo_takes_nothing_from_one_that_runs() {
        let home = tempfile::tempdir().expect("a folder");
        let mut context = demo_context(home.path());
        std::fs::create_dir_all(context.places.state.join("spool")).expect("made");
        let _running =
            crate::daemon::single::SingleDaemon::acquire(&context.places.state, Path::new("/m")).expect("free");
        let error =
            inside::start(&mut context, Demo { items: None }, &SystemClock::new()).await.err().expect("refused");
        assert_eq!(error.kind, Kind::AlreadyRunning);
        assert!(context.places.state.join("spool").exists());
    }

    #[cfg(feature = "demo")]
    #[tokio::test]
    async fn a_demo_starts_fresh_signed_in_and_on_this_machine() {
        let home = tempfile::tempdir().expect("a folder");
        let state = home.path().join("demo-m");
        std::fs::create_dir_all(state.join("spool")).expect("made");
        std::fs::write(state.join("journal.sqlite"), "old").expect("written");
        std::fs::write(state.join("onedrive-mount.log"), "kept").expect("written");
        let mut context = demo_context(home.path());
        assert_eq!(context.places.state, state);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let drive = inside::start(&mut context, Demo { items: Some(3) }, &*clock).await.expect("started");
        assert!(!state.join("journal.sqlite").exists() && !state.join("spool").exists());
        assert!(state.join("onedrive-mount.log").exists());
        assert_eq!(context.config.graph_url(), drive.endpoints().graph);
        assert!(context.config.graph_url().starts_with("http://127.0.0.1:"));
        let token = context.tokens(clock).expect("an application").token().await.expect("signed in");
        assert!(token.expose().starts_with("demo-"), "no real service takes it");
    }
}
