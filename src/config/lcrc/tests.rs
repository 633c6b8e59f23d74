//! Files as people have them: read, rewritten, shared with another program, refused with their line.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

const FILE: &str = "\
# my application
client:
  id: \"0000000012345670\"
  secret: s3cret
auth:
  # written by the program
  access_expires: 2014-11-23 09:41:07.123456
  access_token: OLD
  code: C
  refresh_token: OLD-R
  own: {a: 0x10}
request:
  extra_keywords: {timeout: [20, 10]}
  base_headers:
    Accept-Encoding: ''
    X-Mine: 1
other: [1, 2]
";

fn sign_in(access: &str, refresh: &str) -> StoredSignIn {
    StoredSignIn {
        access: Some(Secret::new(access.to_owned())),
        refresh: Some(Secret::new(refresh.to_owned())),
        expires: Some(Timestamp::from_seconds(1_700_000_000)),
    }
}

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(".lcrc");
    fs::write(&path, text).expect("written");
    (folder, path)
}

fn open(path: &Path) -> Lcrc {
    read(path, &fs::read_to_string(path).expect("there")).expect("good").1
}

#[test]
fn settings_and_sign_in_are_read() {
    let (_folder, path) = written(FILE);
    let (entries, lcrc) = read(&path, FILE).expect("good");
    let entries: Vec<_> = entries.iter().map(|e| (e.key.as_str(), e.value.as_str(), e.line)).collect();
    assert_eq!(
        entries,
        [
            ("client.id", "0000000012345670", 3),
            ("client.secret", "s3cret", 4),
            ("network.connect_timeout", "20000ms", 13),
            ("network.idle_timeout", "10000ms", 13),
        ]
    );
    let stored = lcrc.load().expect("read");
    assert_eq!(stored.access.map(Secret::into_exposed).as_deref(), Some("OLD"));
    assert_eq!(stored.expires, Some(Timestamp::from_seconds(1_416_735_667)));
    let sentences: Vec<_> = lcrc.left_alone().iter().map(|left| (left.sentence.as_str(), left.matters)).collect();
    assert_eq!(
        sentences,
        [
            "request.base_headers.Accept-Encoding: content is always asked for as it is",
            "request.base_headers.X-Mine: the headers of requests are fixed",
        ]
        .map(|sentence| (sentence, false))
    );
}

#[test]
fn one_number_of_seconds_is_for_both_timeouts_and_a_redirect_is_of_the_web() {
    let text = "client: {id: abc, secret: s}\nauth:\n  redirect_uri: https://example.org/back\nrequest:\n  \
                extra_keywords:\n    timeout: 12.5\n";
    let (_folder, path) = written(text);
    let entries = read(&path, text).expect("good").0;
    let of = |key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| (entry.value.as_str(), entry.line));
    assert_eq!(of("network.connect_timeout"), Some(("12500ms", 6)));
    assert_eq!(of("network.idle_timeout"), of("network.connect_timeout"));
    assert_eq!(of("client.redirect"), Some(("https://example.org/back", 3)));
    let config = crate::config::Layers::built_in().file(&path, true).and_then(|layers| layers.finish()).expect("good");
    assert_eq!(config.client.redirect.expect("a redirect").as_str(), "https://example.org/back");
    assert_eq!(config.network.idle_timeout, std::time::Duration::from_millis(12_500));
    for odd in ["soon", "[1, 2, 3]", "[1, x]", "-1"] {
        let text = format!("client: {{id: abc}}\nrequest: {{extra_keywords: {{timeout: {odd}}}}}\n");
        let (entries, lcrc) = read(&path, &text).expect("good");
        assert!(!entries.iter().any(|entry| entry.key.starts_with("network")), "{odd}");
        assert!(lcrc.left_alone()[0].sentence.contains("timeout: it is a number of seconds"), "{odd}");
    }
}

#[test]
fn what_has_no_effect_is_told_and_louder_if_somebody_counts_on_it() {
    let told = |request: &str| -> Vec<(String, bool)> {
        let text = format!("client: {{id: abc}}\nrequest: {request}\n");
        let lcrc = read(Path::new("/.lcrc"), &text).expect("good").1;
        lcrc.left_alone().iter().map(|left| (left.sentence.clone(), left.matters)).collect()
    };
    for (request, key, matters) in [
        ("{adapter_settings: {pool_maxsize: 50}}", "request.adapter_settings.pool_maxsize: connections", false),
        ("{extra_keywords: {proxies: {https: 'http://proxy:3128'}}}", "proxies: it has no effect here; set", true),
        ("{extra_keywords: {proxies: {}}}", "HTTPS_PROXY", false),
        ("{extra_keywords: {verify: false}}", "verify: it has no effect here; the certificates", true),
        ("{extra_keywords: {verify: /etc/ca.pem}}", "SSL_CERT_FILE", true),
        ("{extra_keywords: {verify: true}}", "SSL_CERT_FILE", false),
        ("{extra_keywords: {stream: true}}", "the HTTP library", false),
        ("{wait_rate: 5}", "request.wait_rate: there is no such thing here", false),
    ] {
        let told = told(request);
        assert!(told.len() == 1 && told[0].0.contains(key) && told[0].1 == matters, "{request}: {told:?}");
    }
}

#[test]
fn a_rewrite_changes_the_sign_in_and_nothing_else() {
    let (_folder, path) = written(FILE);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened");
    open(&path).store(&sign_in("NEW: \"x\"", "NEW-R")).expect("stored");
    let text = fs::read_to_string(&path).expect("there");
    let wanted = FILE
        .replace("2014-11-23 09:41:07.123456", "2023-11-14 22:13:20")
        .replace("access_token: OLD", "access_token: \"NEW: \\\"x\\\"\"")
        .replace("refresh_token: OLD-R", "refresh_token: \"NEW-R\"");
    assert_eq!(text, wanted);
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(open(&path).load().expect("read"), sign_in("NEW: \"x\"", "NEW-R"));
}

#[test]
fn a_sign_in_without_a_refresh_token_takes_over_none_of_the_former_account() {
    let bare = StoredSignIn { refresh: None, ..sign_in("NEW", "") };
    for text in [
        FILE,
        "client: {id: abc}\nauth: {refresh_token: OLD-R}\n",
        "client: {id: abc}\nauth.refresh_token: OLD-R\n",
        "client: {id: abc}\nauth:\n  code: C\n",
    ] {
        let (folder, path) = written(text);
        open(&path).store(&bare).expect("stored");
        assert_eq!(open(&path).load().expect("read"), bare, "{text}");
        assert!(!fs::read_to_string(&path).expect("there").contains("OLD-R"), "{text}");
        // Where it is written elsewhere, the first time and again.
        let other = folder.path().join("other");
        fs::write(&path, format!("{text}conf_save: {}\n", other.display())).expect("written");
        for sign_in in [&bare, &sign_in("A", "R"), &bare] {
            open(&path).store(sign_in).expect("stored");
            assert_eq!(open(&path).load().expect("read"), *sign_in, "{text}");
        }
    }
    let (_folder, path) = written("client: {id: abc}\n");
    open(&path).store(&bare).expect("stored");
    assert!(!fs::read_to_string(&path).expect("there").contains("refresh_token"), "what was not there stays away");
}

#[test]
fn every_way_to_write_the_section_survives() {
    for text in [
        "client: {id: abc}\n",
        "client:\n  id: abc\nauth:\n",
        "client:\n  id: abc\nauth: {code: C}\nlast: 1\n",
        "auth:\n    access_token:\n      LONG\n    code: C\n\nclient:\n  id: abc\n",
        "auth:\n  code: C\nclient:\n  id: abc",
        "client:\n  id: abc\nauth: # by the program\n  'access_token': x\n",
    ] {
        let (_folder, path) = written(text);
        let before = value(&path, text).expect("good");
        open(&path).store(&sign_in("A", "R")).expect(text);
        let after = fs::read_to_string(&path).expect("there");
        assert_eq!(open(&path).load().expect(&after), sign_in("A", "R"), "{after}");
        let after = value(&path, &after).expect("good");
        assert_eq!(after.get("client"), before.get("client"));
        assert_eq!(after.get("last"), before.get("last"));
        let code = |value: &Value| value.get("auth").and_then(|auth| auth.get("code").cloned());
        assert_eq!(code(&after), code(&before));
    }
}

#[test]
fn a_sign_in_written_with_a_dot_is_not_found_again_after_it_was_replaced() {
    for text in [
        "auth:\n  refresh_token: a\nauth.refresh_token: OLD # mine\nauth.access_token : OLD\nclient.id: x\n",
        "auth.refresh_token: OLD\nauth: {access_token: OLD}\nclient.id: x\n",
        "\"auth.refresh_token\": OLD\nauth:\n  access_token: OLD\nclient.id: x\n",
        "auth.refresh_token: >\n  OLD\n  OLD\nclient.id: x\n",
    ] {
        let (_folder, path) = written(text);
        let lcrc = open(&path);
        lcrc.store(&sign_in("NEW", "NEW-R")).expect("stored");
        assert_eq!(lcrc.load().expect("read"), sign_in("NEW", "NEW-R"), "{text}");
        let now = fs::read_to_string(&path).expect("there");
        assert!(!now.contains("OLD") && now.contains("client.id: x"), "{now}");
    }
}

#[test]
fn what_others_changed_meanwhile_stays() {
    let (_folder, path) = written(FILE);
    let ours = open(&path);
    fs::write(&path, FILE.replace("own:", "theirs:")).expect("changed by another program");
    // One that holds the file open sees what we write.
    let mut held = File::open(&path).expect("open");
    ours.store(&sign_in("A", "R")).expect("stored");
    assert!(fs::read_to_string(&path).expect("there").contains("theirs:"));
    let mut text = String::new();
    held.read_to_string(&mut text).expect("read");
    assert_eq!(text, fs::read_to_string(&path).expect("there"));
}

#[test]
fn a_writer_waits_for_python_onedrive_and_starts_over_when_it_replaced_the_file() {
    let (folder, path) = written(FILE);
    // Another process: locks of this kind do not hold within one.
    let script = "import fcntl, os, sys, time\n\
        f = open(sys.argv[1], 'r+')\n\
        fcntl.lockf(f, fcntl.LOCK_EX)\n\
        print('locked', flush=True)\n\
        time.sleep(0.5)\n\
        t = f.read().replace('X-Mine', 'X-Theirs')\n\
        open(sys.argv[1] + '.new', 'w').write(t)\n\
        os.rename(sys.argv[1] + '.new', sys.argv[1])\n";
    let mut command = std::process::Command::new("python3");
    command.arg("-c").arg(script).arg(&path).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().expect("python3, for it is python's lock that has to be respected");
    let mut line = [0; 7];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut line).expect("it has the lock");
    open(&path).store(&sign_in("A", "R")).expect("stored");
    assert!(child.wait().expect("ended").success());
    let text = fs::read_to_string(&path).expect("there");
    assert!(text.contains("X-Theirs") && text.contains("refresh_token: \"R\""), "{text}");
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
}

#[test]
fn an_id_like_an_octal_number_has_to_be_quoted() {
    let path = Path::new("/home/ada/.lcrc");
    let error = read(path, "client:\n  id: 0000000012345670\n").expect_err("octal").to_string();
    assert!(error.starts_with("/home/ada/.lcrc, line 2: `client.id` cannot be"), "{error}");
    assert!(error.ends_with("write id: \"0000000012345670\""), "{error}");
    for good in ["'0000000012345670'", "000000004C12345E", "0000000048123456", "1234567012345670"] {
        let (entries, _) = read(path, &format!("client:\n  id: {good}\n")).expect(good);
        assert_eq!(entries[0].value, good.trim_matches('\''));
    }
}

#[test]
fn conf_save_says_where_it_goes() {
    let (folder, path) = written("client:\n  id: abc\nauth:\n  refresh_token: R0\nconf_save: state.yaml\n");
    let elsewhere = folder.path().join("state.yaml");
    open(&path).store(&sign_in("A", "R")).expect("stored");
    assert!(fs::read_to_string(&path).expect("there").contains("R0"));
    assert_eq!(fs::metadata(&elsewhere).expect("made").permissions().mode() & 0o777, 0o600);
    assert_eq!(open(&path).load().expect("read"), sign_in("A", "R"));
    open(&path).store(&sign_in("B", "S")).expect("stored again");
    assert_eq!(open(&path).load().expect("read"), sign_in("B", "S"));
    let (_folder, path) = written("client:\n  id: abc\nconf_save: false\n");
    assert_eq!(open(&path).saved_to(), None);
    open(&path).store(&sign_in("A", "R")).expect("nothing to do");
    assert_eq!(open(&path).load().expect("read"), StoredSignIn::default());
    let error = read(&path, "conf_save: [1]\n").expect_err("a list");
    assert!(error.to_string().contains("line 1: `conf_save`"), "{error}");
}

#[test]
fn what_is_no_section_is_told() {
    let error = read(Path::new("/l/.lcrc"), "client:\n  id: abc\nauth: 5\n").expect_err("no section");
    assert!(error.to_string().starts_with("/l/.lcrc, line 3: "), "{error}");
}

#[test]
fn it_is_known_by_its_name_or_its_sections() {
    for (path, text, is) in [
        ("/home/ada/.lcrc", "", true),
        ("/etc/work.yaml", "client:\n  id: a\nauth:\n  code: x\n", true),
        ("/etc/work.yaml", "request: {base_headers: {}}\n", true),
        ("/etc/work.yaml", "conf_save: false\n", true),
        ("/etc/work.yaml", "client:\n  id: a\nendpoints:\n  graph: x\n", false),
        ("/etc/work.yaml", "# auth: old\nauthor: me\n", false),
    ] {
        assert_eq!(is_lcrc(Path::new(path), text), is, "{path}: {text}");
    }
}
