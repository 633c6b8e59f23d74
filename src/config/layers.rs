//! The four places that give values, one laid over the other.

use std::collections::BTreeMap;
use std::path::Path;

use super::lcrc::{self, Lcrc, LeftAlone};
use super::yaml::{self, Entry, Kind};
use super::{Config, ConfigError, DEFAULTS, Origin, read};

/// The text of one setting and where it was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// The value as written; empty means not given.
    pub value: String,
    /// Where.
    pub origin: Origin,
}

/// The values given so far. Each call lays one more place over the earlier ones and checks it at once, so that the
/// message about a bad value names the place where it stands even if a later place would have hidden it.
#[derive(Clone, Debug)]
pub struct Layers {
    settings: BTreeMap<&'static str, Setting>,
    lcrc: Option<Lcrc>,
}

impl Layers {
    /// The built-in values, and the client id that a packager may have given as `ONEDRIVE_MOUNT_CLIENT_ID` when the
    /// program was built.
    pub fn built_in() -> Self {
        let mut layers = Self { settings: BTreeMap::new(), lcrc: None };
        layers
            .lay_text(DEFAULTS, |_| Origin::Default, Path::new("defaults.yaml"))
            .expect("invariant: the built-in settings are well formed, as a test shows");
        if let Some(id) = option_env!("ONEDRIVE_MOUNT_CLIENT_ID") {
            layers.settings.insert("client.id", Setting { value: id.trim().to_owned(), origin: Origin::Build });
        }
        layers
    }

    /// Lays the settings file at `path` over what is there. A missing file is an error only if it is `required`, that
    /// is, if somebody named it. A file of python-onedrive means [`super::Protocol::Live`] and holds the sign-in; what
    /// it says beyond that is not an error.
    ///
    /// # Errors
    /// The file cannot be read, is malformed, has an unknown key or a bad value.
    pub fn file(mut self, path: &Path, required: bool) -> Result<Self, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) if lcrc::is_lcrc(path, &text) => self.lay_lcrc(&text, path)?,
            Ok(text) => self.lay_text(&text, |line| Origin::File(path.to_owned(), line), path)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => {}
            Err(source) => return Err(ConfigError::Unreadable { path: path.to_owned(), source }),
        }
        self.checked()
    }

    /// Lays the text of a settings file, said to be at `path`, over what is there.
    ///
    /// # Errors
    /// As for [`Layers::file`].
    pub fn text(mut self, text: &str, path: &Path) -> Result<Self, ConfigError> {
        self.lay_text(text, |line| Origin::File(path.to_owned(), line), path)?;
        self.checked()
    }

    /// Lays the environment over what is there: for each key the variable named after it, such as
    /// `ONEDRIVE_MOUNT_UPLOAD_CONCURRENCY`, if it is not empty.
    ///
    /// # Errors
    /// A bad value.
    pub fn environment(mut self, get: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        for key in read::KEYS {
            let name = variable(key);
            if let Some(value) = get(&name).filter(|value| !value.is_empty()) {
                self.settings.insert(key, Setting { value, origin: Origin::Environment(name) });
            }
        }
        self.checked()
    }

    /// Lays one value of the command line over what is there.
    ///
    /// # Errors
    /// A bad value, or no setting of that name.
    pub fn flag(mut self, key: &str, value: &str, flag: &str) -> Result<Self, ConfigError> {
        self.lay(key, value.to_owned(), Origin::Flag(flag.to_owned()))?;
        self.checked()
    }

    /// The settings that came out on top.
    ///
    /// # Errors
    /// A bad value.
    pub fn finish(&self) -> Result<Config, ConfigError> {
        Ok(Config { lcrc: self.lcrc.clone(), ..read::config(&self.settings)? })
    }

    /// Every key with the value on top and its origin, in the order of names; secrets as stars.
    pub fn list(&self) -> impl Iterator<Item = (&'static str, Setting)> {
        self.settings.iter().map(|(key, setting)| {
            let value = read::shown(key, &setting.value);
            (*key, Setting { value, origin: setting.origin.clone() })
        })
    }

    fn checked(self) -> Result<Self, ConfigError> {
        self.finish()?;
        Ok(self)
    }

    fn lay_text(&mut self, text: &str, origin: impl Fn(usize) -> Origin, path: &Path) -> Result<(), ConfigError> {
        let entries = yaml::entries(text, &kind).map_err(|error| ConfigError::Malformed {
            path: path.to_owned(),
            line: error.line,
            reason: error.reason,
        })?;
        self.lay_entries(entries, origin)
    }

    fn lay_lcrc(&mut self, text: &str, path: &Path) -> Result<(), ConfigError> {
        let (entries, lcrc) = lcrc::read(path, text)?;
        for LeftAlone { sentence, matters } in lcrc.left_alone() {
            if *matters {
                tracing::warn!(file = %path.display(), "{sentence}");
            } else {
                tracing::info!(file = %path.display(), "{sentence}");
            }
        }
        self.lay("protocol", "live".to_owned(), Origin::File(path.to_owned(), 1))?;
        self.lcrc = Some(lcrc);
        self.lay_entries(entries, |line| Origin::File(path.to_owned(), line))
    }

    fn lay_entries(&mut self, entries: Vec<Entry>, origin: impl Fn(usize) -> Origin) -> Result<(), ConfigError> {
        entries.into_iter().try_for_each(|entry| self.lay(&entry.key, entry.value, origin(entry.line)))
    }

    fn lay(&mut self, key: &str, value: String, origin: Origin) -> Result<(), ConfigError> {
        let Some(known) = read::KEYS.iter().find(|known| **known == key) else {
            let value = if may_be_secret(key) { "***".to_owned() } else { value };
            return Err(ConfigError::UnknownKey { nearest: nearest(key), key: key.to_owned(), value, origin });
        };
        // A key left empty in a file keeps the value from below, as a copied template would expect.
        if !value.is_empty() || !self.settings.contains_key(known) {
            self.settings.insert(known, Setting { value, origin });
        }
        Ok(())
    }
}

/// The environment variable of a key.
pub fn variable(key: &str) -> String {
    format!("ONEDRIVE_MOUNT_{}", key.replace('.', "_").to_ascii_uppercase())
}

pub(super) fn kind(name: &str) -> Kind {
    let is_section = |key: &&&str| key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    if read::KEYS.contains(&name) {
        Kind::Value
    } else if read::KEYS.iter().find(is_section).is_some() {
        Kind::Section
    } else {
        Kind::Unknown
    }
}

/// The key that differs least from `wrong`, if it is close enough to be a slip.
fn nearest(wrong: &str) -> Option<String> {
    let bare = |key: &str| key.replace(['-', '.'], "_").to_ascii_lowercase();
    let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
    let wrong_bare = bare(wrong);
    read::KEYS
        .iter()
        .map(|key| {
            let whole = distance(&wrong_bare, &bare(key));
            // The right key in the wrong section.
            let part = distance(&bare(&last(wrong)), &bare(&last(key))) + 1;
            (whole.min(part), *key)
        })
        .min()
        .filter(|(distance, _)| *distance <= 3 && *distance * 2 < wrong.len())
        .map(|(_, key)| key.to_owned())
}

/// How many letters must be changed, added or taken away to turn one word into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Whether a key that nobody knows may hold what nobody must see: files of other programs are given here by mistake.
fn may_be_secret(key: &str) -> bool {
    ["token", "secret", "password", "code", "auth"].iter().any(|word| key.to_ascii_lowercase().contains(word))
}
