//! The settings file of python-onedrive, `~/.lcrc`: read as it is, and rewritten where that program would.
//!
//! It holds settings and the sign-in in one file that two programs may use at the same time, and that its owner has
//! edited by hand. What always holds here:
//!
//! - Nothing that this program does not understand is changed: on a rewrite only the values of the sign-in are replaced
//!   in the text. A text in which that cannot be done (a mapping in braces) is written anew with all keys it had.
//! - A rewrite is whole or not at all, durable on return, and readable by its owner alone. It is made under the lock
//!   that python-onedrive respects too, from what the file holds at that moment: a change that somebody made since we
//!   read it stays.
//! - An id that a reader of YAML would take for an octal number is refused, not guessed at.
//!
//! | key | here |
//! | --- | --- |
//! | `client.id`, `client.secret` | the settings of the same name |
//! | `auth.redirect_uri` | `client.redirect` |
//! | `auth.access_token`, `auth.refresh_token`, `auth.access_expires` | the sign-in |
//! | `auth.code` | left alone: codes are good for minutes |
//! | `conf_save` | where the sign-in is written: the file itself, another one, or `false` for nowhere |
//! | `request.extra_keywords.timeout` | `network.connect_timeout`, `network.idle_timeout` |
//! | the rest of `request` | see [`Lcrc::left_alone`] |
//! | any setting of this program | itself |
//!
//! Source: the configuration of <https://github.com/mk-fg/python-onedrive> (README and `conf.py`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};
use serde_yaml::{Mapping, Value};

use super::yaml::{self, Entry, Kind};
use super::{ConfigError, Origin, read};
use crate::base::clock::Timestamp;
use crate::base::secret::Secret;

/// How often a rewrite starts over because the file was replaced meanwhile.
const TRIES: u32 = 20;

/// A value that is missing, as YAML writes it. A key that is not there is not added for it.
const NOTHING: &str = "null";

/// A settings file of python-onedrive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lcrc {
    path: PathBuf,
    save: Save,
    left_alone: Vec<LeftAlone>,
}

/// A key of `request` that has no effect here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftAlone {
    /// The key, and what there is instead.
    pub sentence: String,
    /// The owner of the file counts on it: without it the service is reached by another way than was meant, or not at
    /// all.
    pub matters: bool,
}

/// Where the sign-in is written.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Save {
    Here,
    Elsewhere(PathBuf),
    Nowhere,
}

/// The sign-in as the file holds it. Empty texts count as missing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoredSignIn {
    /// `auth.access_token`
    pub access: Option<Secret<String>>,
    /// `auth.refresh_token`
    pub refresh: Option<Secret<String>>,
    /// `auth.access_expires`, a time of UTC without saying so.
    pub expires: Option<Timestamp>,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LcrcError {
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Its content makes no sense.
    #[error(transparent)]
    Content(#[from] ConfigError),
    /// Others keep replacing it.
    #[error("{} is being changed all the time; if another program hangs, end it", .0.display())]
    Restless(PathBuf),
}

/// The file that python-onedrive reads without being told to, if it is there.
pub fn usual_file() -> Option<PathBuf> {
    dirs::home_dir().map(|home| home.join(".lcrc")).filter(|file| file.exists())
}

/// Whether a settings file is one of python-onedrive: by its name, or by the sections that only that program has.
pub fn is_lcrc(path: &Path, text: &str) -> bool {
    if path.file_name().is_some_and(|name| name == ".lcrc" || name == "lcrc") {
        return true;
    }
    let own = |line: &str| {
        ["auth", "request", "conf_save"].iter().any(|key| {
            line.strip_prefix(key).is_some_and(|rest| rest.starts_with('.') || rest.trim_start().starts_with(':'))
        })
    };
    text.lines().any(own)
}

/// What a file says: the settings in it with their lines, and the file itself.
pub(super) fn read(path: &Path, text: &str) -> Result<(Vec<Entry>, Lcrc), ConfigError> {
    let mut entries = entries(path, text)?;
    let whole = value(path, text)?;
    let found = |key: &str| entries.iter().find(|entry| entry.key == key);
    if let Some(id) = found("client.id").filter(|id| is_octal(&id.value) && !is_quoted(text, &id.value)) {
        return Err(ConfigError::BadValue {
            key: id.key.clone(),
            value: id.value.clone(),
            origin: Origin::File(path.to_owned(), id.line),
            reason: format!(
                "without quotes it is an octal number for readers of YAML, and reaches the service as another id; \
                 write id: \"{}\"",
                id.value
            ),
        });
    }
    let redirect = found("auth.redirect_uri").cloned();
    let lcrc = Lcrc { path: path.to_owned(), save: save(path, &whole, text)?, left_alone: left_alone(&whole) };
    entries.retain(|entry| read::KEYS.contains(&entry.key.as_str()));
    if let Some(redirect) = redirect {
        entries.push(Entry { key: "client.redirect".to_owned(), ..redirect });
    }
    if let Some((connect, idle)) = timeouts(&whole) {
        let line = line_of("timeout", text);
        for (key, milliseconds) in [("network.connect_timeout", connect), ("network.idle_timeout", idle)] {
            // The old program waited as long as it was told; here both have bounds.
            let value = format!("{}ms", milliseconds.clamp(1_000, 600_000));
            entries.push(Entry { key: key.to_owned(), value, line });
        }
    }
    Ok((entries, lcrc))
}

fn entries(path: &Path, text: &str) -> Result<Vec<Entry>, ConfigError> {
    let kind = |name: &str| match name {
        "client" | "auth" | "request" => Kind::Section,
        "auth.access_token" | "auth.refresh_token" | "auth.access_expires" | "auth.code" | "auth.redirect_uri" => {
            Kind::Value
        }
        name => super::layers::kind(name),
    };
    yaml::entries(text, &kind).map_err(|error| ConfigError::Malformed {
        path: path.to_owned(),
        line: error.line,
        reason: error.reason,
    })
}

fn value(path: &Path, text: &str) -> Result<Value, ConfigError> {
    let malformed = |reason: String| ConfigError::Malformed { path: path.to_owned(), line: None, reason };
    match serde_yaml::from_str(text) {
        Ok(Value::Null) => Ok(Value::Mapping(Mapping::new())),
        Ok(value @ Value::Mapping(_)) => Ok(value),
        Ok(_) => Err(malformed("it is no set of keys and values".to_owned())),
        Err(error) => Err(malformed(error.to_string())),
    }
}

/// What YAML 1.1 takes for an octal number.
fn is_octal(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0') && text.bytes().all(|b| (b'0'..=b'7').contains(&b) || b == b'_')
}

fn is_quoted(text: &str, value: &str) -> bool {
    text.contains(&format!("\"{value}\"")) || text.contains(&format!("'{value}'"))
}

fn save(path: &Path, whole: &Value, text: &str) -> Result<Save, ConfigError> {
    match whole.get("conf_save") {
        None | Some(Value::Null | Value::Bool(true)) => Ok(Save::Here),
        Some(Value::Bool(false)) => Ok(Save::Nowhere),
        Some(Value::String(other)) if !other.is_empty() => {
            let other = other.strip_prefix("~/").map_or_else(
                || path.parent().unwrap_or(Path::new("/")).join(other),
                |rest| dirs::home_dir().unwrap_or_default().join(rest),
            );
            Ok(if other == path { Save::Here } else { Save::Elsewhere(other) })
        }
        Some(_) => Err(ConfigError::BadValue {
            key: "conf_save".to_owned(),
            value: "...".to_owned(),
            origin: Origin::File(path.to_owned(), line_of("conf_save", text)),
            reason: "it is the path of a file, or false to store nothing".to_owned(),
        }),
    }
}

fn line_of(key: &str, text: &str) -> usize {
    let inside = format!("{key}:");
    let begins = text.lines().position(|line| line.trim_start().starts_with(key));
    // A mapping may be written on one line.
    begins.or_else(|| text.lines().position(|line| line.contains(&inside))).map_or(1, |at| at + 1)
}

/// `request.extra_keywords.timeout`, in milliseconds: to connect, and to stand still.
fn timeouts(whole: &Value) -> Option<(u64, u64)> {
    let milliseconds = |value: &Value| value.as_f64().filter(|s| (0.001..1e6).contains(s)).map(|s| (s * 1000.0) as u64);
    match whole.get("request")?.get("extra_keywords")?.get("timeout")? {
        Value::Sequence(two) if two.len() == 2 => Some((milliseconds(&two[0])?, milliseconds(&two[1])?)),
        one => milliseconds(one).map(|both| (both, both)),
    }
}

/// The keys of `request` that mean nothing here, each with the reason.
fn left_alone(whole: &Value) -> Vec<LeftAlone> {
    let mut found = Vec::new();
    let Some(Value::Mapping(request)) = whole.get("request") else { return found };
    for (section, value) in request {
        let section = section.as_str().unwrap_or_default();
        let Value::Mapping(members) = value else {
            found.push(LeftAlone {
                sentence: format!("request.{section}: there is no such thing here"),
                matters: false,
            });
            continue;
        };
        for (key, value) in members {
            let key = key.as_str().unwrap_or_default();
            let why = match (section, key) {
                ("base_headers", "Accept-Encoding") => "content is always asked for as it is",
                ("base_headers", _) => "the headers of requests are fixed",
                ("adapter_settings", _) => "connections are kept and limited without a setting (upload.concurrency)",
                ("extra_keywords", "timeout") if timeouts(whole).is_some() => continue,
                ("extra_keywords", "timeout") => "it is a number of seconds, or two: to connect, and to stand still",
                ("extra_keywords", "proxies") => {
                    "it has no effect here; set the environment variable HTTPS_PROXY, and NO_PROXY for exceptions"
                }
                ("extra_keywords", "verify") => {
                    "it has no effect here; the certificates of the system count, and those of the file that the \
                     environment variable SSL_CERT_FILE names"
                }
                _ => "it belongs to the HTTP library of python-onedrive",
            };
            let matters = match (section, key) {
                ("extra_keywords", "proxies") => value.as_mapping().is_some_and(|proxies| !proxies.is_empty()),
                ("extra_keywords", "verify") => !matches!(value, Value::Bool(true) | Value::Null),
                _ => false,
            };
            found.push(LeftAlone { sentence: format!("request.{section}.{key}: {why}"), matters });
        }
    }
    found
}

impl Lcrc {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that the sign-in is written to; `None` if it is written nowhere.
    pub fn saved_to(&self) -> Option<&Path> {
        match &self.save {
            Save::Here => Some(&self.path),
            Save::Elsewhere(path) => Some(path),
            Save::Nowhere => None,
        }
    }

    /// What of `request` has no effect here. It stays in the file.
    pub fn left_alone(&self) -> &[LeftAlone] {
        &self.left_alone
    }

    /// The sign-in. With `conf_save` what is there counts, if there is a sign-in yet.
    ///
    /// # Errors
    /// A file cannot be read or understood.
    pub fn load(&self) -> Result<StoredSignIn, LcrcError> {
        if let Save::Elsewhere(path) = &self.save
            && path.exists()
        {
            let stored = load(path)?;
            if stored != StoredSignIn::default() {
                return Ok(stored);
            }
        }
        load(&self.path)
    }

    /// Writes the sign-in, if it is to be written anywhere. Whole and durable on return; after an error the old content
    /// stands. What others changed in the file meanwhile stays.
    ///
    /// # Errors
    /// The file cannot be read, understood or replaced.
    pub fn store(&self, sign_in: &StoredSignIn) -> Result<(), LcrcError> {
        let Some(path) = self.saved_to() else { return Ok(()) };
        let text = |secret: &Option<Secret<String>>| {
            secret.as_ref().map(|text| serde_json::to_string(text.expose()).expect("invariant: a text serialises"))
        };
        let expires = sign_in.expires.map(|at| {
            let at = jiff::Timestamp::from_second(at.seconds()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            at.strftime("%Y-%m-%d %H:%M:%S").to_string()
        });
        let changes = [
            ("access_expires", expires),
            ("access_token", text(&sign_in.access)),
            ("refresh_token", text(&sign_in.refresh)),
        ];
        // What this sign-in lacks is not left as it was: it would be another account's.
        let changes = changes.map(|(key, value)| (key, value.unwrap_or_else(|| NOTHING.to_owned())));
        if path != self.path && !path.exists() {
            let text = fs::read_to_string(&self.path).map_err(failed("read", &self.path))?;
            let text = edited(path, &text, &changes)?;
            return create(path, &text).map_err(failed("write", path));
        }
        rewrite(path, &changes)
    }
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> LcrcError + 'a {
    move |source| LcrcError::File { action, path: path.to_owned(), source }
}

fn load(path: &Path) -> Result<StoredSignIn, LcrcError> {
    let mut file = File::open(path).map_err(failed("read", path))?;
    // python-onedrive rewrites a replaced file in its place, under the exclusive form of this lock.
    fcntl_lock(&file, FlockOperation::LockShared).map_err(|error| failed("lock", path)(error.into()))?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed("read", path))?;
    let mut found = StoredSignIn::default();
    for entry in entries(path, &text)? {
        let secret = || (!entry.value.is_empty()).then(|| Secret::new(entry.value.clone()));
        match entry.key.as_str() {
            "auth.access_token" => found.access = secret(),
            "auth.refresh_token" => found.refresh = secret(),
            "auth.access_expires" => found.expires = moment(&entry.value),
            _ => {}
        }
    }
    Ok(found)
}

/// A time as python writes it into YAML, `2014-11-23 09:41:07.123456`, or with its offset.
fn moment(text: &str) -> Option<Timestamp> {
    let whole = text.parse::<jiff::Timestamp>().ok();
    let of_utc = || {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    };
    whole.or_else(of_utc).map(|at| Timestamp::from_seconds(at.as_second()))
}

/// Replaces the values of the sign-in in a file that is there.
fn rewrite(path: &Path, changes: &[(&str, String)]) -> Result<(), LcrcError> {
    let failed_to = |action| failed(action, path);
    // What a link leads to is replaced, not the link.
    let path = &path.canonicalize().map_err(failed_to("find"))?;
    for _ in 0..TRIES {
        let mut old = OpenOptions::new().read(true).write(true).open(path).map_err(failed_to("open"))?;
        fcntl_lock(&old, FlockOperation::LockExclusive).map_err(|error| failed_to("lock")(error.into()))?;
        let mut text = String::new();
        old.read_to_string(&mut text).map_err(failed_to("read"))?;
        let new = edited(path, &text, changes)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        // Born with mode 0600.
        let mut file = tempfile::Builder::new().prefix(".lcrc-").tempfile_in(folder).map_err(failed_to("write"))?;
        file.write_all(new.as_bytes()).map_err(failed_to("write"))?;
        file.as_file().sync_all().map_err(failed_to("write"))?;
        // Somebody has replaced it while we waited for the lock, or while we wrote.
        if !is_still(&old, path) {
            continue;
        }
        file.persist(path).map_err(|error| failed_to("replace")(error.error))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed_to("write"))?;
        // Processes that hold the old file open see the change too. It has no name any more, so nothing depends on it.
        let _ = old.rewind().and_then(|()| old.set_len(0)).and_then(|()| old.write_all(new.as_bytes()));
        return Ok(());
    }
    Err(LcrcError::Restless(path.clone()))
}

fn is_still(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".lcrc-").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

/// The text with these values in the section `auth`; everything else as it was. Values are YAML already.
fn edited(path: &Path, text: &str, changes: &[(&str, String)]) -> Result<String, ConfigError> {
    let mut wanted = value(path, text)?;
    let top = wanted.as_mapping_mut().expect("invariant: `value` gives mappings only");
    let meant = |new: &String| serde_yaml::from_str(new).unwrap_or_else(|_| Value::String(new.clone()));
    let is_there = |key: &str| {
        top.contains_key(format!("auth.{key}")) || top.get("auth").is_some_and(|auth| auth.get(key).is_some())
    };
    let changes: Vec<_> = changes.iter().filter(|(key, new)| new != NOTHING || is_there(key)).cloned().collect();
    for (key, new) in &changes {
        // Written with a dot it would count, where it comes after the section.
        if let Some(dotted) = top.get_mut(format!("auth.{key}")) {
            *dotted = meant(new);
        }
    }
    let section = top.entry("auth".into()).or_insert(Value::Null);
    if section.is_null() {
        *section = Value::Mapping(Mapping::new());
    }
    let Some(section) = section.as_mapping_mut() else {
        let reason = "`auth` has to be keys and values".to_owned();
        return Err(ConfigError::Malformed { path: path.to_owned(), line: Some(line_of("auth", text)), reason });
    };
    for (key, new) in &changes {
        section.insert((*key).into(), meant(new));
    }
    let by_lines = in_lines(text, &changes);
    if serde_yaml::from_str::<Value>(&by_lines).is_ok_and(|found| found == wanted) {
        return Ok(by_lines);
    }
    serde_yaml::to_string(&wanted).map_err(|error| ConfigError::Malformed {
        path: path.to_owned(),
        line: None,
        reason: error.to_string(),
    })
}

/// As [`edited`], for a section that is written with a key a line. For others the result is wrong, and not used.
fn in_lines(text: &str, changes: &[(&str, String)]) -> String {
    let dotted = |line: &str| {
        let (key, value) = changes.iter().find(|(key, _)| {
            let rest = line.strip_prefix("auth.").and_then(|rest| rest.strip_prefix(key));
            rest.is_some_and(|rest| rest.trim_start().starts_with(':'))
        })?;
        Some(format!("auth.{key}: {value}"))
    };
    let lines: Vec<String> = text.lines().map(|line| dotted(line).unwrap_or_else(|| line.to_owned())).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let is_header = |line: &&str| {
        let rest = line.strip_prefix("auth").map(str::trim_start).and_then(|rest| rest.strip_prefix(':'));
        rest.is_some_and(|rest| rest.trim().is_empty() || rest.trim_start().starts_with('#'))
    };
    let mut out: Vec<String> = Vec::new();
    let Some(header) = lines.iter().position(is_header) else {
        out.extend(lines.iter().map(|line| (*line).to_owned()));
        out.push("auth:".to_owned());
        out.extend(changes.iter().map(|(key, value)| format!("  {key}: {value}")));
        return out.join("\n") + "\n";
    };
    let length = lines[header + 1..].iter().take_while(|line| blank(line) || indent(line) > 0).count();
    let (body, rest) = lines[header + 1..].split_at(length);
    let depth = body.iter().find(|line| !blank(line)).map_or(2, |line| indent(line));
    out.extend(lines[..=header].iter().map(|line| (*line).to_owned()));
    let key_of = |line: &str| line.trim_start().split(':').next().unwrap_or_default().trim().to_owned();
    // Keys that are not there yet come first, where they are in the section whatever follows it.
    let there: Vec<String> =
        body.iter().filter(|line| !blank(line) && indent(line) == depth).map(|line| key_of(line)).collect();
    for (key, value) in changes.iter().filter(|(key, _)| !there.iter().any(|known| known == key)) {
        out.push(format!("{}{key}: {value}", " ".repeat(depth)));
    }
    let mut skipping = false;
    for line in body {
        if !blank(line) && indent(line) == depth {
            let change = changes.iter().find(|(key, _)| *key == key_of(line));
            skipping = change.is_some();
            if let Some((key, value)) = change {
                out.push(format!("{}{key}: {value}", " ".repeat(depth)));
                continue;
            }
        }
        // The further lines of a value that is replaced go with it.
        if !skipping || blank(line) {
            out.push((*line).to_owned());
        }
    }
    out.extend(rest.iter().map(|line| (*line).to_owned()));
    out.join("\n") + "\n"
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any text as the file: a rewrite changes the sign-in and nothing else, and brings back what was written.
pub(crate) fn fuzz(data: &[u8]) {
    let (path, text) = (Path::new("/home/x/.lcrc"), String::from_utf8_lossy(data));
    let _ = (is_lcrc(path, &text), moment(&text));
    if let Err(error) = read(path, &text) {
        assert!(!error.to_string().is_empty());
        return;
    }
    let written = |key: &'static str, value: &str| (key, value.to_owned());
    let changes = [
        written("access_expires", "2014-11-23 09:41:07"),
        written("access_token", "\"EwB4+/: #'\""),
        written("refresh_token", "\"MCQ5n!*\\n\""),
    ];
    let Ok(new) = edited(path, &text, &changes) else { return };
    let mut whole = value(path, &new).expect("invariant: what was written can be read");
    let auth = &whole["auth"];
    assert_eq!(auth["access_token"], Value::from("EwB4+/: #'"));
    assert_eq!(auth["refresh_token"], Value::from("MCQ5n!*\n"));
    let again = edited(path, &new, &changes).expect("invariant: it can be written again");
    assert_eq!(value(path, &again).expect("invariant: and read"), whole, "and stays as it is");
    let mut before = value(path, &text).expect("invariant: it was read");
    for side in [&mut whole, &mut before] {
        let Some(top) = side.as_mapping_mut() else { continue };
        changes.iter().for_each(|(key, _)| drop(top.remove(format!("auth.{key}"))));
        let emptied = top.get_mut("auth").and_then(Value::as_mapping_mut).is_none_or(|auth| {
            changes.iter().for_each(|(key, _)| drop(auth.remove(*key)));
            auth.is_empty()
        });
        if emptied {
            top.remove("auth");
        }
    }
    assert_eq!(whole, before, "nothing else is changed");
    if let Ok(entries) = entries(path, &new) {
        let found = |key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str());
        assert_eq!(found("auth.access_token"), Some("EwB4+/: #'"), "the sign-in is found again");
        assert_eq!(found("auth.refresh_token"), Some("MCQ5n!*\n"));
        assert!(found("auth.access_expires").and_then(moment).is_some());
    }
}

#[cfg(test)]
mod tests;
