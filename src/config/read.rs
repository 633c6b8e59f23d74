//! From the text of each key to its value.

use std::collections::BTreeMap;
use std::time::Duration;

use url::{Host, Url};

use super::size::{parse_amount, parse_duration, parse_size};
use super::{
    BITS_FRAGMENT_LIMIT, CID, CacheLimits, Client, Cloud, Config, ConfigError, Drive, Durability, Endpoints,
    FRAGMENT_LIMIT, FRAGMENT_STEP, Guard, Live, Network, PUT_LIMIT, Protocol, Setting, Upload,
};
use crate::base::ids::DriveId;
use crate::base::secret::Secret;

/// Every key there is.
pub(super) const KEYS: &[&str] = &[
    "cache.max_size",
    "cache.min_free",
    "client.id",
    "client.redirect",
    "client.secret",
    "cloud",
    "drive",
    "durability",
    "endpoints.bits",
    "endpoints.graph",
    "endpoints.live",
    "endpoints.login",
    "gid",
    "guard.burst",
    "guard.window",
    "live.bits_fragment",
    "live.put_limit",
    "live.refresh_before_commit",
    "network.connect_timeout",
    "network.idle_timeout",
    "notifications",
    "poll_interval",
    "protocol",
    "tenant",
    "uid",
    "umask",
    "upload.concurrency",
    "upload.debounce",
    "upload.fragment_size",
];

/// The words for a choice between two.
const YES_OR_NO: &[(&str, bool)] = &[("false", false), ("true", true), ("no", false), ("yes", true)];

type Settings = BTreeMap<&'static str, Setting>;

/// Reads every key.
pub(super) fn config(settings: &Settings) -> Result<Config, ConfigError> {
    let own_uid = rustix::process::getuid().as_raw();
    let own_gid = rustix::process::getgid().as_raw();
    Ok(Config {
        client: Client {
            id: optional(settings, "client.id", client_id)?,
            secret: optional(settings, "client.secret", |text| Ok(Secret::new(text.to_owned())))?,
            redirect: optional(settings, "client.redirect", redirect)?,
        },
        protocol: one_of(settings, "protocol", &[("graph", Protocol::Graph), ("live", Protocol::Live)])?,
        cloud: one_of(
            settings,
            "cloud",
            &[("global", Cloud::Global), ("us-gov", Cloud::UsGov), ("us-dod", Cloud::UsDod), ("china", Cloud::China)],
        )?,
        tenant: required(settings, "tenant", tenant)?,
        drive: required(settings, "drive", |text| match drive(text)? {
            Drive::Id(_) if settings["protocol"].value.trim() == "live" => {
                Err("with protocol: live it is me: an account of the old service has one drive".to_owned())
            }
            drive => Ok(drive),
        })?,
        endpoints: Endpoints {
            graph: optional(settings, "endpoints.graph", endpoint)?,
            login: optional(settings, "endpoints.login", endpoint)?,
            live: optional(settings, "endpoints.live", endpoint)?,
            bits: optional(settings, "endpoints.bits", bits_endpoint)?,
        },
        live: Live {
            put_limit: required(settings, "live.put_limit", |text| size_up_to(text, PUT_LIMIT, "100 MB"))?,
            bits_fragment: required(settings, "live.bits_fragment", |text| {
                size_up_to(text, BITS_FRAGMENT_LIMIT, "60 MiB")
            })?,
            refresh_before_commit: one_of(settings, "live.refresh_before_commit", YES_OR_NO)?,
        },
        network: Network {
            connect_timeout: required(settings, "network.connect_timeout", standstill)?,
            idle_timeout: required(settings, "network.idle_timeout", standstill)?,
        },
        durability: one_of(
            settings,
            "durability",
            &[("local", Durability::Local), ("strict", Durability::Strict), ("remote", Durability::Remote)],
        )?,
        cache: CacheLimits {
            max_size: required(settings, "cache.max_size", parse_amount)?,
            min_free: required(settings, "cache.min_free", parse_amount)?,
        },
        poll_interval: required(settings, "poll_interval", |text| {
            duration_within(text, Duration::from_millis(100), Duration::from_secs(86_400), "from 100ms to 1d")
        })?,
        upload: Upload {
            concurrency: required(settings, "upload.concurrency", concurrency)?,
            fragment_size: required(settings, "upload.fragment_size", fragment_size)?,
            debounce: required(settings, "upload.debounce", |text| {
                duration_within(text, Duration::ZERO, Duration::from_secs(3_600), "from 0s to 1h")
            })?,
        },
        guard: Guard {
            burst: required(settings, "guard.burst", |text| {
                text.parse().map_err(|_| "it is a number of files, or 0 for never".to_owned())
            })?,
            window: required(settings, "guard.window", |text| {
                duration_within(text, Duration::from_secs(1), Duration::from_secs(86_400), "from 1s to 1d")
            })?,
        },
        notifications: one_of(settings, "notifications", YES_OR_NO)?,
        umask: required(settings, "umask", umask)?,
        uid: required(settings, "uid", |text| owner(text, own_uid))?,
        gid: required(settings, "gid", |text| owner(text, own_gid))?,
        lcrc: None,
    })
}

/// A value as it may appear in messages and listings.
pub(super) fn shown(key: &str, value: &str) -> String {
    if key == "client.secret" && !value.is_empty() { "***".to_owned() } else { value.to_owned() }
}

fn required<T>(
    settings: &Settings,
    key: &'static str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, ConfigError> {
    let setting = settings.get(key).expect("invariant: the built-in settings have every key, as a test shows");
    parse(setting.value.trim()).map_err(|reason| ConfigError::BadValue {
        key: key.to_owned(),
        value: shown(key, &setting.value),
        origin: setting.origin.clone(),
        reason,
    })
}

fn optional<T>(
    settings: &Settings,
    key: &'static str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, ConfigError> {
    required(settings, key, |text| if text.is_empty() { Ok(None) } else { parse(text).map(Some) })
}

fn one_of<T: Copy>(settings: &Settings, key: &'static str, words: &[(&str, T)]) -> Result<T, ConfigError> {
    required(settings, key, |text| {
        words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            format!("it is one of {}", words.join(", "))
        })
    })
}

fn client_id(text: &str) -> Result<String, String> {
    // A GUID everywhere but in the oldest consumer registrations, which are plain hexadecimal.
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        Ok(text.to_owned())
    } else {
        Err("it is the application (client) id of a registration, such as \
             \"00000000-0000-0000-0000-000000000000\""
            .to_owned())
    }
}

fn tenant(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)) {
        Ok(text.to_owned())
    } else {
        Err("it is common, consumers, organizations, or the id or domain of an organisation".to_owned())
    }
}

fn drive(text: &str) -> Result<Drive, String> {
    match text {
        "me" => Ok(Drive::Me),
        id if !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"!-_.".contains(&b)) => {
            Ok(Drive::Id(DriveId::new(id)))
        }
        _ => Err("it is me, or the id of a drive".to_owned()),
    }
}

fn endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("it is not a URL ({error})"))?;
    if url.host().is_none() {
        return Err("it is a base URL such as \"https://graph.example.org\"".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("a base URL has no user, no `?` and no `#`".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err("plain http is for this machine only (127.0.0.1, ::1, localhost); use https".to_owned()),
        _ => Err("it starts with https://, or with http:// for this machine".to_owned()),
    }
}

/// The BITS host: an endpoint in which `{cid}` stands for the number of the account.
fn bits_endpoint(text: &str) -> Result<String, String> {
    endpoint(&text.replace(CID, "0000000000000000"))?;
    Ok(text.trim_end_matches('/').to_owned())
}

/// Where a browser is sent after the sign-in. It is only read, so it may be anywhere.
fn redirect(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.fragment().is_none() => Ok(url),
        _ => Err("it is the redirect URL of the registration, such as \"https://app.example.org/done\"".to_owned()),
    }
}

fn size_up_to(text: &str, most: u64, words: &str) -> Result<u64, String> {
    match parse_size(text)? {
        size if (1..=most).contains(&size) => Ok(size),
        _ => Err(format!("it is a size from 1 byte to {words}")),
    }
}

/// Whether a URL leads to this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn duration_within(text: &str, least: Duration, most: Duration, range: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if (least..=most).contains(&duration) { Ok(duration) } else { Err(format!("it is a time {range}")) }
}

fn standstill(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::from_secs(1), Duration::from_secs(600), "from 1s to 10m")
}

fn concurrency(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=32) => Ok(number),
        _ => Err("it is a number from 1 to 32".to_owned()),
    }
}

fn fragment_size(text: &str) -> Result<u64, String> {
    let size = parse_size(text)?;
    if size > 0 && size % FRAGMENT_STEP == 0 && size < FRAGMENT_LIMIT {
        Ok(size)
    } else {
        Err("it must be a multiple of 320 KiB and less than 60 MiB, for example 5 MiB or 10 MiB".to_owned())
    }
}

fn umask(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match u32::from_str_radix(digits, 8) {
        Ok(mask) if mask <= 0o777 => Ok(mask),
        _ => Err("it is an octal number from 000 to 777".to_owned()),
    }
}

fn owner(text: &str, own: u32) -> Result<u32, String> {
    match (text, text.parse::<u32>()) {
        ("own", _) => Ok(own),
        // The number that means "no change" to chown(2) names nobody.
        (_, Ok(id)) if id != u32::MAX => Ok(id),
        _ => Err("it is own, or a number".to_owned()),
    }
}
