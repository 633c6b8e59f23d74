//! What a user reads when the service is in a bad mood, and the exit code that a script gets.

use onedrive_mount::emulator::{Fault, Flavour, Rule, When};

use crate::world::shell::Shell;

fn stocked(flavour: Flavour) -> Shell {
    let shell = Shell::new(flavour);
    shell.stock();
    shell
}

#[test]
fn a_bad_moment_is_waited_out() {
    let shell = stocked(Flavour::Business);
    let faults = shell.service.emulator().faults();
    for command in [&["recent"][..], &["user"], &["info", "Pics"], &["ls", "-o"], &["permissions", "Pics"], &["quota"]]
    {
        faults.add(Rule::once("GET", "*", Fault::status(When::Before, 503, "serviceNotAvailable")));
        faults.add(Rule::once("GET", "*", Fault::throttled(1)));
        shell.ok(command);
        faults.clear();
    }
}

#[test]
fn a_service_that_stays_ill_has_its_own_code() {
    let shell = stocked(Flavour::Business);
    let faults = shell.service.emulator().faults();
    faults.add(Rule::always("GET", "*", Fault::status(When::Before, 503, "serviceNotAvailable")));
    for command in [&["ls"][..], &["user"], &["quota"]] {
        let said = shell.fails(47, command);
        assert!(said.contains("503") && said.contains("request "), "its support wants the id: {said}");
    }
    faults.clear();
    faults.add(Rule::always("GET", "*", Fault::throttled(3600)));
    shell.fails(47, &["ls"]);
}

#[test]
fn a_copy_that_fails_and_one_whose_state_nobody_knows() {
    let shell = stocked(Flavour::Business);
    let drive = shell.service.drive();
    drive.fail_copies(1);
    let said = shell.fails(47, &["cp", "Documents/notes.txt", "Pics"]);
    assert!(said.contains("could not copy"), "{said}");
    assert_eq!(drive.read_file("/Pics/notes.txt"), None);
    drive.strange_copy_status(true);
    shell.ok(&["cp", "Documents/notes.txt", "Pics"]);
    assert_eq!(drive.read_file("/Pics/notes.txt").expect("there"), b"twelve bytes");
}

#[test]
fn a_full_drive_and_a_file_that_is_in_use() {
    let shell = stocked(Flavour::Business);
    shell.file("large.bin", &vec![1; 100_000]);
    shell.service.drive().set_quota(1_000);
    let said = shell.fails(44, &["put", "large.bin"]);
    assert!(said.starts_with("error: "), "{said}");
    shell.service.drive().set_quota(1 << 30);
    shell.service.drive().lock("/Documents/notes.txt");
    shell.fails(46, &["put", "--name", "notes.txt", "large.bin", "Documents"]);
    shell.fails(46, &["mv", "-n", "other.txt", "Documents/notes.txt"]);
    shell.service.drive().unlock("/Documents/notes.txt");
    assert_eq!(shell.ok(&["cat", "Documents/notes.txt"]), "twelve bytes");
}

#[test]
fn an_answer_that_was_lost_does_nothing_twice() {
    let shell = stocked(Flavour::Business);
    let faults = shell.service.emulator().faults();
    faults.add(Rule::once("POST", "*", Fault::Reset { when: When::After }));
    // The folder is there; whether this one made it cannot be known, and it is said as it is.
    let output = shell.output(&["mkdir", "Once"]);
    assert!(shell.service.drive().stat("/Once").is_some());
    assert!(!output.status.success() || shell.ok(&["ls"]).contains("Once"));
    faults.clear();
    faults.add(Rule::once("DELETE", "*", Fault::Reset { when: When::After }));
    shell.ok(&["rm", "Once"]);
    assert!(shell.service.drive().stat("/Once").is_none());
}

#[test]
fn albums_and_notebooks_are_shown_by_their_type() {
    let shell = stocked(Flavour::PersonalNew);
    shell.service.drive().add_bundle("/Summer");
    shell.service.drive().add_package("/Notes");
    let said = shell.ok(&["tree"]);
    assert!(said.contains("  Notes: notebook\n") && said.contains("  Summer: album\n"), "{said}");
    let refused = shell.fails(50, &["get", "-r", "/", "all"]);
    assert!(refused.contains("does not give its content out"), "{refused}");
    assert_eq!(std::fs::read(shell.home.path("all/Documents/notes.txt")).expect("the rest is there"), b"twelve bytes");
}

#[test]
fn what_others_share_and_where_it_leads() {
    let shell = stocked(Flavour::PersonalNew);
    let other = shell.service.emulator().add_drive(Flavour::PersonalNew, 77, "Bob");
    other.create_folder("/Theirs");
    other.create_file("/Theirs/their.txt", b"from Bob".to_vec());
    shell.service.drive().add_shortcut("/From Bob", &other, "/Theirs");
    assert!(shell.ok(&["-k", "{0[name]} {0[type]}", "shared"]).contains("folder"));
    assert_eq!(shell.ok(&["ls", "From Bob"]), "- their.txt\n");
    assert_eq!(shell.ok(&["cat", "From Bob/their.txt"]), "from Bob");
    shell.file("mine.txt", b"for Bob");
    shell.ok(&["put", "mine.txt", "From Bob"]);
    assert_eq!(other.read_file("/Theirs/mine.txt").expect("there"), b"for Bob");
    shell.ok(&["get", "-r", "From Bob", "bob"]);
    assert_eq!(std::fs::read(shell.home.path("bob/their.txt")).expect("there"), b"from Bob");
}
