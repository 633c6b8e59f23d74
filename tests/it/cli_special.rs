//! What python-onedrive could name and set and only the old service had: special paths, properties of music and folders,
//! and what others share. On Graph it is the nearest there is, or a sentence.

use onedrive_mount::emulator::{Flavour, LiveHandle};
use serde_json::{Value, json};

use crate::world::service::places;
use crate::world::shell::Shell;

/// What the program asks for when it signs in.
const WITH_SHARED: &str = "wl.skydrive wl.skydrive_update wl.contacts_skydrive wl.offline_access";

/// A settings file of the old program with a sign-in of this scope.
fn signed_in_for(shell: &Shell, scope: &str) -> String {
    let tokens = shell.service.emulator().live().issue_tokens_for(LiveHandle::CLIENT, scope);
    shell.lcrc(&format!("auth:\n  refresh_token: {:?}\n", tokens.refresh))
}

/// Somebody else's folder that this account is let into.
fn share_something(shell: &Shell) {
    let other = shell.service.emulator().add_account(4, "Bo Other");
    other.create_file("/Ours/theirs.txt", b"theirs".to_vec());
    shell.service.drive().add_shortcut("/link", &other, "/Ours");
}

#[test]
fn what_others_share_on_the_old_protocol() {
    let shell = Shell::live("");
    share_something(&shell);
    let file = signed_in_for(&shell, WITH_SHARED);
    let ok = |arguments: &[&str]| shell.ok(&[&["-c", &file], arguments].concat());
    assert_eq!(ok(&["-k", "{0[type]} {0[name]} of {0[from][name]}", "shared"]), "- folder Ours of Bo Other\n");
    assert_eq!(ok(&["ls", "me/skydrive/shared"]), "- Ours\n");
    assert_eq!(ok(&["info", "me/skydrive/shared"]), ok(&["shared"]));
    let id = ok(&["-k", "id", "shared"]);
    assert_eq!(ok(&["ls", id.trim_start_matches("- ").trim()]), "- theirs.txt\n");
}

#[test]
fn a_sign_in_that_is_too_small_is_made_anew() {
    let shell = Shell::live("");
    let file = signed_in_for(&shell, LiveHandle::SCOPE);
    let said = shell.fails(42, &["-c", &file, "shared"]);
    assert!(said.contains("wl.contacts_skydrive") && said.contains("sign in again: onedrive-cli auth"), "{said}");
}

/// The lists and the space at their old paths.
/// What is told of files, but for the addresses of their content, which are others in each second.
fn without_addresses(mut told: Value) -> Value {
    for file in told.as_array_mut().expect("a list") {
        let file = file.as_object_mut().expect("an object");
        file.retain(|key, _| key != "source" && key != "@microsoft.graph.downloadUrl");
    }
    told
}

fn views(shell: &Shell) {
    shell.stock();
    assert_eq!(shell.ok(&["ls", "me/skydrive/shared"]), "- Ours\n");
    assert_eq!(shell.ok(&["ls", "/me/skydrive/shared/files"]), "- Ours\n");
    assert_eq!(shell.ok(&["-k", "name", "ls", "-o", "me/skydrive/shared"]), "- Ours\n");
    let recent = shell.ok(&["ls", "me/skydrive/recent_docs"]);
    assert!(recent.contains("- notes.txt\n"), "{recent}");
    assert!(recent.lines().is_sorted(), "by name, as every listing: {recent}");
    assert_eq!(shell.ok(&["ls", "-r", "0-1", "me/skydrive/recent_docs"]).lines().count(), 1);
    let recent = |words: &[&str]| without_addresses(shell.json(words));
    assert_eq!(recent(&["info", "me/skydrive/recent_docs"]), recent(&["recent"]));
    let (space, quota) = (shell.json(&["info", "me/skydrive/quota"]), shell.json(&["quota"]));
    assert_eq!(space, json!({"available": quota["free"], "quota": quota["quota"]}));
    // They are no objects, and a folder of such a name is reached by its name.
    let said = shell.fails(49, &["tree", "me/skydrive/shared"]);
    assert!(said.contains("me/skydrive/shared is no object") && said.contains("onedrive-cli ls"), "{said}");
    assert!(shell.fails(49, &["ls", "me/skydrive/quota"]).contains("onedrive-cli quota"));
    shell.ok(&["mkdir", "shared"]);
    assert_eq!(shell.ok(&["ls", "shared"]), "");
}

#[test]
fn special_paths_on_graph() {
    let shell = Shell::new(Flavour::PersonalNew);
    share_something(&shell);
    views(&shell);
    shell.fails(43, &["info", "me/skydrive/public_documents"]);
}

#[test]
fn special_paths_on_the_old_protocol() {
    let shell = Shell::live("");
    share_something(&shell);
    // As the program itself signs in.
    let live = shell.service.emulator().live();
    live.set_granted_scope(Some(WITH_SHARED));
    let end = live.consent(LiveHandle::CLIENT, WITH_SHARED, LiveHandle::DESKTOP);
    shell.ok(&["auth", &end]);
    views(&shell);
}

#[test]
fn properties_of_the_old_service() {
    let shell = Shell::live("");
    shell.stock();
    shell.service.drive().create_file("/song.mp3", b"la".to_vec());
    let tags = json!({"title": "Gaivota", "artist": "Amália", "album": "Com que voz", "album_artist": "A. R.", "genre": "Fado"});
    let set = |object: &str, properties: Value| shell.ok(&["info_set", object, &properties.to_string()]);
    let info = |object: &str| shell.json(&["info", object]);
    assert_eq!(set("song.mp3", tags.clone()), "");
    let told = info("song.mp3");
    for (key, value) in tags.as_object().expect("an object") {
        assert_eq!(&told[key], value, "{key}");
    }
    set("song.mp3", json!({"genre": null, "name": "tune.mp3"}));
    assert_eq!((&info("tune.mp3")["genre"], &info("tune.mp3")["title"]), (&Value::Null, &json!("Gaivota")));
    set("Documents", json!({"sort_by": "size", "description": "letters & notes"}));
    assert_eq!(
        (&info("Documents")["sort_by"], &info("Documents")["description"]),
        (&json!("size"), &json!("letters & notes"))
    );
    set("Documents", json!({"description": null}));
    assert_eq!(info("Documents")["description"], Value::Null);
    shell.ok(&["mkdir", "-m", "{\"sort_by\": \"updated\", \"description\": null}", "Sorted"]);
    assert_eq!(info("Sorted")["sort_by"], "updated");
    assert_eq!(
        shell.ok(&["info_set", "--dry-run", "Sorted", "{\"sort_by\": \"name\", \"name\": \"x\"}"]),
        "would set name, sort_by of \"Sorted\"\n"
    );
    // What the service refuses is told in its words.
    let said = shell.output(&["info_set", "Sorted", "{\"sort_by\": \"hue\"}"]);
    assert!(!said.status.success() && String::from_utf8_lossy(&said.stderr).contains("sort_by"), "{said:?}");
}

#[test]
fn properties_of_the_old_service_on_graph() {
    let shell = Shell::new(Flavour::PersonalOld);
    shell.stock();
    for key in ["sort_by", "title", "artist", "album", "album_artist", "genre"] {
        let properties = json!({key: "name"}).to_string();
        let said = shell.fails(43, &["info_set", "Documents", &properties]);
        assert!(said.contains(key) && said.contains("nothing else"), "{said}");
        shell.fails(43, &["mkdir", "-m", &properties, "New"]);
    }
    shell.fails(40, &["info", "New"]);
    shell.ok(&["info_set", "Documents", "{\"description\": \"mine\"}"]);
    assert_eq!(shell.ok(&["-k", "description", "info", "Documents"]), "mine\n");
    shell.ok(&["info_set", "Documents", "{\"description\": null}"]);
    let left = shell.json(&["info", "Documents"]);
    assert!(left["description"].as_str().unwrap_or_default().is_empty(), "{left}");
}

#[test]
fn who_has_only_the_old_settings_is_told_how_to_use_them() {
    let shell = Shell::live("");
    shell.stock();
    let file = signed_in_for(&shell, LiveHandle::SCOPE);
    let settings = places(&shell.home).settings;
    std::fs::remove_file(&settings).expect("removed");
    for command in [&["ls"][..], &["auth", "--no-browser"]] {
        let said = shell.fails(11, command);
        assert!(said.contains("no application to sign in to") && said.contains("onedrive-cli -c ~/.lcrc"), "{said}");
        assert!(said.contains("docs/moving-from-python-onedrive.md"), "{said}");
    }
    assert!(shell.ok(&["-c", &file, "ls"]).contains("Documents"));
    // Who has settings of this program is told of these.
    std::fs::write(&settings, "tenant: common\n").expect("written");
    assert!(!shell.fails(11, &["ls"]).contains(".lcrc"));
    std::fs::remove_file(&settings).expect("removed");
    std::fs::remove_file(&file).expect("removed");
    assert!(!shell.fails(11, &["ls"]).contains(".lcrc"));
}

#[test]
fn a_mount_of_the_old_settings_names_no_unit() {
    let shell = Shell::live("");
    shell.stock();
    let file = signed_in_for(&shell, LiveHandle::SCOPE);
    let mount = |settings: &[&str]| {
        let at = shell.home.mount_point().display().to_string();
        let mut command = shell.home.command(env!("CARGO_BIN_EXE_onedrive-mount"));
        let output = command.args(settings).arg(&at).output().expect("onedrive-mount runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        shell.ok(&["unmount", &at]);
        String::from_utf8(output.stdout).expect("text")
    };
    let said = mount(&["--config", &file]);
    assert!(!said.contains("systemctl") && said.contains("At every login: with a unit of your own"), "{said}");
    let said = mount(&[]);
    assert!(said.contains("systemctl --user enable onedrive-mount (see"), "{said}");
}
