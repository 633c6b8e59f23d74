//! The settings as a whole: every key documented and read, every mistake told with its place, no secret shown.

use std::path::Path;
use std::time::Duration;

use super::*;

fn with(text: &str) -> Result<Config, ConfigError> {
    Layers::built_in().text(text, Path::new("/s/config.yaml"))?.finish()
}

fn refusal(text: &str) -> String {
    with(text).expect_err(text).to_string()
}

#[test]
fn the_built_in_text_has_every_key_and_no_other() {
    let mut listed: Vec<_> = Layers::built_in().list().map(|(key, _)| key).collect();
    listed.sort_unstable();
    assert_eq!(listed, read::KEYS);
}

#[test]
fn the_built_in_values_are_the_documented_ones() {
    let config = Layers::built_in().finish().expect("the defaults are valid");
    assert_eq!(config.protocol, Protocol::Graph);
    assert_eq!(config.tenant, "common");
    assert_eq!(config.drive, Drive::Me);
    assert_eq!(config.durability, Durability::Local);
    assert_eq!(config.cache, CacheLimits { max_size: Amount::Bytes(20 << 30), min_free: Amount::Bytes(2 << 30) });
    assert_eq!(config.poll_interval, Duration::from_secs(60));
    let upload = Upload { concurrency: 8, fragment_size: 55 << 20, debounce: Duration::from_millis(500) };
    assert_eq!(config.upload, upload);
    assert!(config.notifications);
    assert_eq!(config.umask, 0o077);
    assert_eq!(config.uid, rustix::process::getuid().as_raw());
    assert_eq!(config.graph_url(), "https://graph.microsoft.com");
    assert_eq!(config.login_url(), "https://login.microsoftonline.com");
    let live = Live { put_limit: 95_000_000, bits_fragment: 10 << 20, refresh_before_commit: false };
    assert_eq!(config.live, live);
}

#[test]
fn the_old_service_has_hosts_of_its_own() {
    let config = with("protocol: live").expect("valid");
    assert_eq!(config.live_url(), "https://apis.live.net");
    assert_eq!(config.service_url(), "https://apis.live.net");
    assert_eq!(config.login_url(), "https://login.live.com");
    assert_eq!(config.bits_url(), "https://cid-{cid}.users.storage.live.com");
    let text = "protocol: live\nendpoints:\n  live: http://127.0.0.1:1/\n  bits: http://localhost:2/{cid}/\n  \
                login: http://127.0.0.1:3\nlive:\n  put_limit: 1 MiB\n  bits_fragment: 100 KiB\n  \
                refresh_before_commit: true\n";
    let config = with(text).expect("valid");
    assert_eq!(config.live_url(), "http://127.0.0.1:1");
    assert_eq!(config.bits_url(), "http://localhost:2/{cid}");
    assert_eq!(config.login_url(), "http://127.0.0.1:3");
    assert_eq!(config.live, Live { put_limit: 1 << 20, bits_fragment: 100 << 10, refresh_before_commit: true });
}

#[test]
fn the_printed_defaults_work_as_a_settings_file() {
    let plain = Layers::built_in().finish().expect("valid");
    assert_eq!(with(DEFAULTS).expect("valid"), plain);
}

#[test]
fn the_later_place_wins() {
    let layers = Layers::built_in()
        .text("upload:\n  concurrency: 2\ntenant: consumers\ndrive: b!file\n", Path::new("/s/config.yaml"))
        .expect("valid")
        .environment(|name| match name {
            "ONEDRIVE_MOUNT_UPLOAD_CONCURRENCY" => Some("3".to_owned()),
            "ONEDRIVE_MOUNT_TENANT" => Some("organizations".to_owned()),
            // Set but empty is how a unit file unsets a variable.
            "ONEDRIVE_MOUNT_DRIVE" => Some(String::new()),
            _ => None,
        })
        .expect("valid")
        .flag("tenant", "contoso.example", "--tenant")
        .expect("valid");
    let config = layers.finish().expect("valid");
    assert_eq!(config.upload.concurrency, 3);
    assert_eq!(config.tenant, "contoso.example");
    assert_eq!(config.drive, Drive::Id(DriveId::new("b!file")));
    let origin = |key| layers.list().find(|(k, _)| *k == key).map(|(_, s)| s.origin).expect("known");
    assert_eq!(origin("drive"), Origin::File("/s/config.yaml".into(), 4));
    assert_eq!(origin("tenant"), Origin::Flag("--tenant".to_owned()));
}

#[test]
fn a_mistake_is_told_with_key_value_and_line() {
    for (text, sentence) in [
        (
            "tenant: common\nupload:\n  fragment_size: 10 MB\n",
            "/s/config.yaml, line 3: `upload.fragment_size` cannot be \"10 MB\": it must be a multiple of 320 KiB and \
             less than 60 MiB, for example 5 MiB or 10 MiB",
        ),
        (
            "\nuplod:\n  concurrency: 4\n",
            "/s/config.yaml, line 2: there is no setting `uplod` (its value is \"{...}\")",
        ),
        (
            "upload:\n  concurency: 4\n",
            "/s/config.yaml, line 2: there is no setting `upload.concurency` (its value is \"4\"); \
             did you mean `upload.concurrency`?",
        ),
        (
            "cache:\n  poll_interval: 5\n",
            "/s/config.yaml, line 2: there is no setting `cache.poll_interval` (its value is \"5\"); \
             did you mean `poll_interval`?",
        ),
        (
            "protocol: live\ndrive: b!x",
            "/s/config.yaml, line 2: `drive` cannot be \"b!x\": with protocol: live it is me: an account of the old \
             service has one drive",
        ),
        ("protocol: smb", "/s/config.yaml, line 1: `protocol` cannot be \"smb\": it is one of graph, live"),
        (
            "cloud: moon",
            "/s/config.yaml, line 1: `cloud` cannot be \"moon\": it is one of global, us-gov, us-dod, china",
        ),
    ] {
        assert_eq!(refusal(text), sentence);
    }
}

#[test]
fn every_key_refuses_what_it_cannot_be() {
    for text in [
        "client.id: my app",
        "tenant: a/b",
        "drive: ../x",
        "endpoints.graph: graph.example.org",
        "endpoints.graph: ftp://graph.example.org",
        "endpoints.graph: http://graph.example.org",
        "endpoints.login: http://127.0.0.1.example.org",
        "endpoints.login: https://user@login.example.org",
        "endpoints.login: https://login.example.org/?a=b",
        "endpoints.live: http://apis.example.org",
        "endpoints.bits: http://{cid}.example.org",
        "endpoints.bits: https://storage.example.org/?cid={cid}",
        "client.redirect: nowhere",
        "live.put_limit: 0",
        "live.put_limit: 101 MB",
        "live.bits_fragment: 61 MiB",
        "live.refresh_before_commit: maybe",
        "network.connect_timeout: 0s",
        "network.idle_timeout: 1h",
        "durability: none",
        "cache.max_size: lots",
        "cache.min_free: 150%",
        "poll_interval: 0s",
        "poll_interval: 2d",
        "upload.concurrency: 0",
        "upload.concurrency: 33",
        "upload.fragment_size: 0",
        "upload.fragment_size: 60 MiB",
        "upload.fragment_size: 1 MiB",
        "upload.debounce: 2h",
        "umask: 78",
        "umask: 1777",
        "uid: root",
        "gid: -1",
        "gid: 4294967295",
    ] {
        let key = text.split(':').next().expect("a key");
        let error = refusal(text);
        assert!(error.contains(&format!("line 1: `{key}` cannot be")), "{text}: {error}");
    }
}

#[test]
fn every_key_takes_what_it_can_be() {
    let config = with(
        "endpoints:\n  graph: http://localhost:8080/\n  login: http://[::1]:9/login/\numask: 022\nuid: 0\n\
                       cache:\n  max_size: 10%\nupload:\n  fragment_size: 320 KiB\ncloud: us-dod\n",
    )
    .expect("valid");
    assert_eq!(config.graph_url(), "http://localhost:8080");
    assert_eq!(config.login_url(), "http://[::1]:9/login");
    assert_eq!(config.umask, 0o022);
    assert_eq!(config.uid, 0);
    assert_eq!(config.cache.max_size, Amount::Percent(10));
    assert_eq!(config.upload.fragment_size, FRAGMENT_STEP);
    assert_eq!(with("cloud: us-dod").expect("valid").login_url(), "https://login.microsoftonline.us");
}

#[test]
fn a_secret_is_never_shown() {
    let layers = Layers::built_in().text("client.secret: hunter2", Path::new("c")).expect("valid");
    assert!(!format!("{:?}", layers.finish().expect("valid")).contains("hunter2"));
    let shown = layers.list().find(|(key, _)| *key == "client.secret").map(|(_, s)| s.value);
    assert_eq!(shown.as_deref(), Some("***"));
}

#[test]
fn a_missing_file_matters_only_if_it_was_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.yaml");
    assert!(Layers::built_in().file(&path, false).is_ok());
    assert!(matches!(Layers::built_in().file(&path, true), Err(ConfigError::Unreadable { .. })));
    // A folder in its place is a mistake either way.
    assert!(matches!(Layers::built_in().file(folder.path(), false), Err(ConfigError::Unreadable { .. })));
}
