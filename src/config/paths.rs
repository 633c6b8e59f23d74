//! Where things live: settings, precious state, disposable cache, the control socket.
//!
//! The three durability classes have three homes. What the cloud has not acknowledged yet (journal) and what signs us
//! in (tokens) is state; what can be fetched again is cache; what ends with the session is runtime. Each *profile* has
//! its own folders, so two accounts never meet in one journal. The profile is named after the settings file:
//! `config.yaml` is `default`, `work.yaml` is `work`.
//!
//! Two daemons may read one settings file and have a state folder each (`--state-dir`). What belongs to a daemon and
//! not to its settings is named after the state folder: so is its control socket.
//!
//! Base folders follow <https://specifications.freedesktop.org/basedir-spec/latest/>.

use std::path::{Component, Path, PathBuf};

/// The folder of this program below each of the base folders.
const PROGRAM: &str = "onedrive-mount";

/// The folders of this program, before anything of one profile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bases {
    /// Settings files.
    pub config: PathBuf,
    /// What must not be lost.
    pub state: PathBuf,
    /// What may be deleted at any moment.
    pub cache: PathBuf,
    /// Sockets; gone after the session where the system has such a place.
    pub runtime: PathBuf,
}

/// There is no home folder to put anything in.
#[derive(Debug, thiserror::Error)]
#[error("there is no home folder for this user; set HOME, or give --config, --state-dir and --cache-dir")]
pub struct NoHome;

impl Bases {
    /// The folders of the user who runs the program. Nothing is created.
    ///
    /// # Errors
    /// Neither the XDG variables nor a home folder are known.
    pub fn of_user() -> Result<Self, NoHome> {
        let state = dirs::state_dir().ok_or(NoHome)?.join(PROGRAM);
        Ok(Self {
            config: dirs::config_dir().ok_or(NoHome)?.join(PROGRAM),
            cache: dirs::cache_dir().ok_or(NoHome)?.join(PROGRAM),
            // Without a session (cron, ssh to a bare machine) there is no runtime folder; the state folder is as
            // private, and a socket left over in it is replaced at the next start.
            runtime: dirs::runtime_dir().map_or_else(|| state.join("run"), |dir| dir.join(PROGRAM)),
            state,
        })
    }

    /// Where daemons of this user may listen: some were started in a session, others by cron or over ssh, and whoever
    /// looks for them may be either. None of the folders has to exist.
    pub fn runtime_folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.runtime.clone()];
        let without_session = self.state.join("run");
        if self.runtime == without_session {
            let user = rustix::process::getuid().as_raw();
            folders.push(Path::new("/run/user").join(user.to_string()).join(PROGRAM));
        } else {
            folders.push(without_session);
        }
        folders
    }

    /// The settings file that is read when none is named.
    pub fn settings_file(&self) -> PathBuf {
        self.config.join("config.yaml")
    }
}

/// Where the things of one profile live. Nothing is created by making one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Places {
    /// The name of the profile.
    pub profile: String,
    /// The settings file, whether it exists or not.
    pub settings: PathBuf,
    /// Tokens, journal, index and log.
    pub state: PathBuf,
    /// Downloaded chunks.
    pub cache: PathBuf,
    /// The folder of control sockets, shared by all profiles, so that one can be found by its mount.
    pub runtime: PathBuf,
    /// Whether the state is where the profile has it when nothing else is said.
    pub usual_state: bool,
}

impl Places {
    /// The places of the profile that `settings` names. `state` and `cache`, if given, are taken as they are, without
    /// a folder for the profile in them.
    pub fn new(bases: &Bases, settings: Option<PathBuf>, state: Option<PathBuf>, cache: Option<PathBuf>) -> Self {
        let settings = settings.unwrap_or_else(|| bases.settings_file());
        let profile = profile_of(&settings);
        let usual = bases.state.join(&profile);
        Self {
            usual_state: state.as_ref().is_none_or(|state| *state == usual),
            state: state.unwrap_or(usual),
            cache: cache.unwrap_or_else(|| bases.cache.join(&profile)),
            runtime: bases.runtime.clone(),
            settings,
            profile,
        }
    }

    /// The places of a demo mounted at `mountpoint`: apart from every real profile, and one per mount point.
    pub fn demo(bases: &Bases, mountpoint: &Path, state: Option<PathBuf>, cache: Option<PathBuf>) -> Self {
        let profile = format!("demo-{}", flat_name(mountpoint));
        let usual = bases.state.join(&profile);
        Self {
            usual_state: state.as_ref().is_none_or(|state| *state == usual),
            state: state.unwrap_or(usual),
            cache: cache.unwrap_or_else(|| bases.cache.join(&profile)),
            runtime: bases.runtime.clone(),
            settings: bases.settings_file(),
            profile,
        }
    }

    /// The tokens (mode 0600).
    pub fn token_file(&self) -> PathBuf {
        self.state.join("token.json")
    }

    /// A sign-in that waits for its redirect URL to be pasted (mode 0600).
    pub fn pending_sign_in(&self) -> PathBuf {
        self.state.join("sign-in.json")
    }

    /// Downloaded chunks: may be dropped.
    pub fn chunks_folder(&self) -> PathBuf {
        self.cache.join("chunks")
    }

    /// What the program says when no terminal and no journal listens.
    pub fn log_file(&self) -> PathBuf {
        self.state.join("onedrive-mount.log")
    }

    /// Where the daemon listens for `onedrive-cli`: the first of these where no other daemon does. Nobody looks for a
    /// socket by its name, and no two state folders have the last name in common.
    ///
    /// | state folder | first | then |
    /// | --- | --- | --- |
    /// | the usual one | `PROFILE.sock` | `PROFILE-DIGEST.sock`, if the environment made another folder the usual one for another daemon |
    /// | another one (`--state-dir`) | `PROFILE-DIGEST.sock` | |
    pub fn control_sockets(&self) -> Vec<PathBuf> {
        use std::os::unix::ffi::OsStrExt as _;
        // Without what means nothing in it, such as a slash at the end.
        let state: PathBuf = self.state.components().collect();
        let own = format!("{}-{}", self.profile, digest(state.as_os_str().as_bytes()));
        let usual = self.usual_state.then(|| self.profile.clone());
        usual.into_iter().chain([own]).map(|name| self.socket(&name)).collect()
    }

    /// Where an earlier daemon with this state folder may have left a socket when it died. One that runs with the same
    /// settings but without a session (from `cron`, say) has another folder for it, which a restart of the machine does not
    /// empty.
    pub fn sockets_left_behind(&self) -> Vec<PathBuf> {
        let without_session = self.state.parent().filter(|_| self.usual_state).map(|above| above.join("run"));
        let of_it = |folder: PathBuf| Self { runtime: folder, ..self.clone() }.control_sockets();
        self.control_sockets().into_iter().chain(without_session.into_iter().flat_map(of_it)).collect()
    }

    /// A socket's address has room for 107 bytes (`unix(7)`). A name too long for that gets a short one in its place.
    fn socket(&self, name: &str) -> PathBuf {
        use std::os::unix::ffi::OsStrExt as _;
        const ROOM: usize = 107;
        let readable = self.runtime.join(format!("{name}.sock"));
        if readable.as_os_str().as_bytes().len() <= ROOM {
            return readable;
        }
        self.runtime.join(format!("{}.sock", digest(name.as_bytes())))
    }
}

/// Sixteen characters that stand for any number of bytes.
fn digest(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The profile of a settings file: its name without the ending; `default` for `config.yaml`.
fn profile_of(settings: &Path) -> String {
    let stem = settings.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    match stem.trim_start_matches('.') {
        "" | "config" => "default".to_owned(),
        // `default.yaml` must not share its journal with `config.yaml`.
        "default" => "default-yaml".to_owned(),
        stem => stem.to_owned(),
    }
}

/// A path as one name that no other path has: letters and digits stay, `/` becomes `-`, the rest is escaped.
fn flat_name(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let mut name = String::new();
    for component in path.components() {
        let Component::Normal(part) = component else { continue };
        if !name.is_empty() {
            name.push('-');
        }
        for byte in part.as_bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => name.push(char::from(*byte)),
                other => name.push_str(&format!("%{other:02x}")),
            }
        }
    }
    // It becomes the name of a folder, of which there are 255 bytes.
    const LONGEST: usize = 160;
    if name.len() > LONGEST {
        name = format!("{}-{}", digest(name.as_bytes()), &name[name.len() - LONGEST + 20..]);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases() -> Bases {
        Bases { config: "/c".into(), state: "/s".into(), cache: "/k".into(), runtime: "/r".into() }
    }

    #[test]
    fn a_long_name_still_has_a_socket_and_folders() {
        let long = format!("/home/{}", "very-long-name/".repeat(40));
        let name = flat_name(Path::new(&long));
        assert!(name.len() <= 160 && name != flat_name(Path::new(&format!("/x{long}"))), "{name}");
        let bases = Bases { runtime: "/run/user/1000/onedrive-mount".into(), ..bases() };
        let places = Places::new(&bases, Some(format!("/c/{}.yaml", "w".repeat(100)).into()), None, None);
        let other = Places::new(&bases, Some(format!("/c/{}.yaml", "w".repeat(101)).into()), None, None);
        for (one, two) in places.control_sockets().iter().zip(other.control_sockets()) {
            assert!(one.as_os_str().len() <= 107 && *one != two, "{}", one.display());
        }
    }

    #[test]
    fn each_settings_file_has_its_own_folders() {
        let usual = Places::new(&bases(), None, None, None);
        assert_eq!(usual.settings, Path::new("/c/config.yaml"));
        assert_eq!(usual.token_file(), Path::new("/s/default/token.json"));
        assert_eq!(usual.control_sockets()[0], Path::new("/r/default.sock"));
        assert!(usual.sockets_left_behind().contains(&"/s/run/default.sock".into()));
        let work = Places::new(&bases(), Some("/etc/work.yaml".into()), None, None);
        assert_eq!(work.log_file(), Path::new("/s/work/onedrive-mount.log"));
        assert_eq!(work.chunks_folder(), Path::new("/k/work/chunks"));
        let odd = Places::new(&bases(), Some("/etc/default.yaml".into()), None, None);
        assert_ne!(odd.state, usual.state);
    }

    #[test]
    fn named_folders_are_taken_as_they_are() {
        let places = Places::new(&bases(), None, Some("/mine/state".into()), Some("/mine/cache".into()));
        assert_eq!(places.token_file(), Path::new("/mine/state/token.json"));
        assert_eq!(places.cache, Path::new("/mine/cache"));
    }

    #[test]
    fn each_state_folder_has_its_own_socket() {
        let sockets = |state: &str| Places::new(&bases(), None, Some(state.into()), None).control_sockets();
        assert_eq!(
            sockets("/s/default/"),
            Places::new(&bases(), None, None, None).control_sockets(),
            "named, and usual"
        );
        let (one, two) = (sockets("/mine/state"), sockets("/mine/other"));
        assert!(one.len() == 1 && two.len() == 1 && one != two, "{one:?} {two:?}");
        assert!(one[0].starts_with("/r") && one[0] != Path::new("/r/default.sock"), "{one:?}");
        // The state of the profile is elsewhere in another environment (XDG_STATE_HOME), the runtime folder is the same.
        let elsewhere = Bases { state: "/t".into(), ..bases() };
        let (here, there) = (sockets("/s/default"), Places::new(&elsewhere, None, None, None).control_sockets());
        assert!(here[0] == there[0] && here[1] != there[1], "{here:?} {there:?}");
    }

    #[test]
    fn demos_share_nothing_with_accounts_or_with_each_other() {
        let state = |mountpoint: &str| Places::demo(&bases(), Path::new(mountpoint), None, None).state;
        assert_eq!(state("/home/ada/One Drive"), Path::new("/s/demo-home-ada-One%20Drive"));
        assert_ne!(state("/a/b"), state("/a-b"));
    }

    #[test]
    fn daemons_of_a_session_and_others_find_each_other() {
        assert_eq!(bases().runtime_folders(), [PathBuf::from("/r"), "/s/run".into()]);
        let bare = Bases { runtime: "/s/run".into(), ..bases() }.runtime_folders();
        assert!(bare[0] == Path::new("/s/run") && bare[1].starts_with("/run/user"), "{bare:?}");
    }
}
