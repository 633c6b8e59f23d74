//! Real deaths: the daemon of a real mount is killed at random moments of random system calls, or while it starts on
//! what the death before left; or at the n-th change that one of its threads is about to make to a file, which is where
//! SQLite dies in the middle of a commit or a checkpoint. Then the next one heals the mount point and goes on.
//!
//! After each death every call that had returned is found, whole and in its place; the one that was under way is there
//! or not. Every few deaths everything comes to rest, and the cloud has the same tree. Some contents are long enough to
//! go in fragments.
//!
//! `KILLS` says how many deaths, `KILL_SEED` draws the same operations and moments as another run; which operation a
//! moment meets is up to the machine. What goes wrong is told with what was done since the last rest, what is still to
//! be sent, and the requests that the service saw; the daemon's files are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use onedrive_mount::emulator::Flavour;
use proptest::prelude::*;

use crate::mount_model::local_tree;
use crate::world::generated::{self, Dice, Source};
use crate::world::model::{Model, Node};
use crate::world::mount::{Home, Mount, Start, program};
use crate::world::ops::{Op, call, cloud_tree, lengthen, outcomes, play, system_calls};
use crate::world::service::{Service, uploaded_within};
use crate::world::side::Side;

/// What the daemon is to say, so that a failure can be understood.
pub const TALKATIVE: [&str; 2] =
    ["--log-level", "info,onedrive_mount::journal=debug,onedrive_mount::changes=debug,onedrive_mount::volume=debug"];

/// What the user has done so far, and what is under way.
pub struct Work {
    pub model: Model,
    pub under_way: Option<Op>,
    /// In words, for when it goes wrong.
    pub done: Vec<String>,
}

impl Work {
    pub fn on(model: Model) -> Self {
        Self { model, under_way: None, done: Vec::new() }
    }
}

/// One call, here and in the reference; `false` if the mount has died.
pub fn step(top: &Path, op: &Op, state: &Mutex<Work>) -> bool {
    state.lock().expect("no panic").under_way = Some(op.clone());
    let result = system_calls(top, op);
    // The error of a close is told to nobody, so that the daemon is asked once more: what it has answered this after,
    // it has seen.
    if rustix::fs::statvfs(top).is_err() {
        return false;
    }
    let mut state = state.lock().expect("no panic");
    if let Err(error) = &result {
        const REFUSALS: [i32; 6] = [2, 17, 20, 21, 22, 39]; // ENOENT EEXIST ENOTDIR EISDIR EINVAL ENOTEMPTY
        let code = error.raw_os_error().unwrap_or_default();
        if code == 36 && longest_path(&state.model, op) > 350 {
            // ENAMETOOLONG: the service stores paths of 400 characters; the reference has no limit.
            state.done.push(format!("{}: {error}", brief(op)));
            state.under_way = None;
            return true;
        }
        assert!(REFUSALS.contains(&code), "{}: {error}", brief(op));
    }
    let reference = play(&mut state.model, op);
    let outcome = result.as_ref().map_or_else(ToString::to_string, |()| "done".to_owned());
    state.done.push(format!("{}: {outcome}", brief(op)));
    assert_eq!(result.is_ok(), reference.is_ok(), "{}: {result:?}, the reference says {reference:?}", brief(op));
    state.under_way = None;
    true
}

/// The length of the longest path that a call would make.
fn longest_path(model: &Model, op: &Op) -> usize {
    let of = |path: &str| path.chars().count();
    match op {
        Op::Rename(from, to) => {
            let below = model.0.keys().filter_map(|path| path.strip_prefix(from.as_str()));
            below.map(|rest| of(to) + of(rest)).max().unwrap_or_default()
        }
        Op::Mkdir(path) | Op::Write(path, _) => of(path),
        Op::Save(path, _) => of(path) + 4,
        _ => 0,
    }
}

/// What is under way, without long contents.
fn brief(op: &Op) -> String {
    let short = |bytes: &[u8]| format!("{} bytes {:?}", bytes.len(), &bytes[..bytes.len().min(4)]);
    match op {
        Op::Write(path, bytes) => format!("write {path}, {}", short(bytes)),
        Op::Save(path, bytes) => format!("save {path}, {}", short(bytes)),
        Op::Patch(path, at, bytes) => format!("patch {path} at {at}, {}", short(bytes)),
        other => format!("{other:?}"),
    }
}

/// Where two trees differ.
pub fn difference(found: &BTreeMap<String, Node>, model: &Model) -> String {
    let brief = |node: Option<&Node>| match node {
        None => "nothing".to_owned(),
        Some(Node::Folder) => "a folder".to_owned(),
        Some(Node::File(bytes)) => format!("{} bytes {:?}", bytes.len(), &bytes[..bytes.len().min(4)]),
    };
    let paths: BTreeSet<&String> = found.keys().chain(model.0.keys()).collect();
    let differ = paths.into_iter().filter(|path| found.get(*path) != model.0.get(*path));
    differ
        .map(|path| format!("{path}: found {}, wanted {}; ", brief(found.get(path)), brief(model.0.get(path))))
        .collect()
}

/// What is told of a run that went wrong, beside what is wrong.
pub struct Case<'a> {
    pub service: &'a Service,
    pub home: &'a Home,
    /// What the user did since everything was known to be well.
    pub history: &'a [String],
}

impl Case<'_> {
    /// Everything that helps to understand it; the daemon's files are copied aside.
    pub fn told(&self, log: &str) -> String {
        let kept = std::env::temp_dir().join(format!("onedrive-case-{}", std::process::id()));
        let _ = std::process::Command::new("cp").arg("-r").arg(self.home.path("state")).arg(&kept).status();
        let _ = std::fs::create_dir_all(&kept);
        let _ = std::fs::write(kept.join("daemon.log"), log);
        let last = |lines: Vec<String>, most: usize| lines[lines.len().saturating_sub(most)..].join("\n  ");
        let queue = self.home.command(env!("CARGO_BIN_EXE_onedrive-cli")).args(["queue", "--json"]).output();
        let queue = queue.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()).unwrap_or_default();
        let requests: Vec<String> =
            self.service.emulator().requests().iter().map(|request| format!("{request:?}")).collect();
        let _ = std::fs::write(kept.join("requests"), requests.join("\n"));
        let log = log.lines().map(str::to_owned).collect();
        let cloud = cloud_tree(self.service.drive()).into_iter().map(|(path, node)| match node {
            Node::Folder => format!("{path}/"),
            Node::File(bytes) => format!("{path} {} bytes {:?}", bytes.len(), &bytes[..bytes.len().min(4)]),
        });
        format!(
            "\nthe daemon's files: {}\nthe user:\n  {}\nthe queue: {queue}\nthe cloud:\n  {}\nthe service saw:\n  \
             {}\nthe daemon said:\n  {}",
            kept.display(),
            last(self.history.to_vec(), 400),
            cloud.collect::<Vec<_>>().join("\n  "),
            last(requests, 250),
            last(log, 400),
        )
    }
}

/// The beginning of a long content that was being written, if that is what is found. Whoever begins another process
/// meanwhile, as the tests beside this one do, closes a copy of the descriptor with it, and a daemon cannot tell that from
/// the end of the file.
fn begun(found: &BTreeMap<String, Node>, possible: &[Model], under_way: Option<&Op>) -> Option<Model> {
    let (path, bytes) = match under_way? {
        Op::Write(path, bytes) => (path.clone(), bytes),
        Op::Save(path, bytes) => (format!("{path}.tmp"), bytes),
        _ => return None,
    };
    let Some(Node::File(there)) = found.get(&path) else { return None };
    if !bytes.starts_with(there) {
        return None;
    }
    possible.iter().find_map(|model| {
        let mut model = model.clone();
        model.0.insert(path.clone(), Node::File(there.clone()));
        (model.0 == *found).then_some(model)
    })
}

/// How the daemon dies.
#[derive(Clone, Copy, PartialEq)]
enum Death {
    /// At a moment that has nothing to do with it.
    Moment,
    /// When one of its threads is about to change a file for the n-th time.
    Change,
}

/// Every way in which a file or a folder is changed or made durable, SQLite's among them. Those that this machine's
/// kernel does not have are left out.
const CHANGES: &str =
    "pwrite64,pwritev,fdatasync,fsync,ftruncate,fallocate,?unlink,unlinkat,?rename,?renameat,renameat2,?link,linkat";

/// The daemon, which will be killed by the kernel in place of the `at`-th change that one of its threads makes.
fn doomed(home: &Home, at: u64) -> PathBuf {
    let script = home.path("doomed");
    let words = format!(
        "#!/bin/sh\nexec strace -f -D -qqq -e signal=none -o /dev/null -e trace={CHANGES} -e inject={CHANGES}:signal=KILL:when={at} '{}' \"$@\"\n",
        program().display()
    );
    std::fs::write(&script, words).expect("a script");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("executable");
    script
}

/// Puts one in the place of `mount`, with what that has left; `None` if it died while it started.
fn succeed(mount: Mount, home: &Home, dice: &mut Dice) -> Option<Mount> {
    mount.crash();
    let most = if dice.below(4) == 0 { 200 } else { 40 };
    match Start::with(TALKATIVE).through(doomed(home, 1 + dice.below(most))).try_mount(home) {
        Ok(mount) => Some(mount),
        Err(refused) => {
            assert_eq!(refused.status.signal(), Some(9), "it ended by itself:\n{}", refused.log);
            None
        }
    }
}

fn run(flavour: Side, deaths: u32, how: Death) {
    let deaths = generated::asked("KILLS").unwrap_or(deaths);
    let seed = generated::seed("KILL_SEED");
    let mut dice = Dice(seed);
    let mut source = Source::new(prop::collection::vec(call(), 80), seed);

    let service = Service::new(flavour);
    let home = service.home("upload:\n  debounce: 20ms\n  fragment_size: 640 KiB\n");
    let (mut possible, mut last) = (vec![Model::default()], None);
    let (mut starting, mut by_change, mut history, mut said) = (0, 0, Vec::new(), String::new());
    for death in 0..=deaths {
        if dice.below(5) == 0 {
            starting += 1;
            history.push("killed while starting".to_owned());
            Start::with(Vec::<String>::new()).kill_while_starting(&home, Duration::from_millis(dice.below(250)));
        }
        let mount = Start::with(TALKATIVE).mount(&home);
        let wrong = |history: &[String], said: &str, what: String| -> ! {
            let log = format!("{said}--- death ---\n{}", mount.log());
            panic!("death {death}: {what}{}", Case { service: &service, home: &home, history }.told(&log))
        };
        let found = match local_tree(mount.at()) {
            Ok(found) => found,
            Err(error) => wrong(&history, &said, error.to_string()),
        };
        let exactly = possible.iter().find(|model| model.0 == found).cloned();
        let Some(model) = exactly.or_else(|| begun(&found, &possible, last.as_ref())) else {
            let differences: Vec<String> = possible.iter().map(|model| difference(&found, model)).collect();
            wrong(&history, &said, format!("found is none of what was possible: {differences:#?}"));
        };
        if death % 5 == 4 || death == deaths {
            let waited = uploaded_within(&home, "60s").or_else(|_| {
                // A work drive keeps a name taken for a quarter of an hour by an upload session whose address died with the
                // daemon that had just got it. That time is over now.
                service.drive().lose_sessions();
                let retry = home.command(env!("CARGO_BIN_EXE_onedrive-cli")).arg("retry").output();
                assert!(retry.expect("onedrive-cli runs").status.success());
                uploaded_within(&home, "240s")
            });
            if let Err(error) = waited {
                wrong(&history, &said, format!("it does not come to rest: {error}"));
            }
            let here = local_tree(mount.at()).unwrap_or_default();
            let cloud = cloud_tree(service.drive());
            if cloud != model.0 || here != model.0 {
                let (cloud, here) = (difference(&cloud, &model), difference(&here, &model));
                wrong(&history, &said, format!("after a rest, the cloud: {cloud}\nthe mount: {here}"));
            }
            (history, said) = (Vec::new(), String::new());
            service.emulator().forget_requests();
        }
        if death == deaths {
            assert!(mount.stop().success());
            break;
        }
        let mut mount = match how {
            Death::Moment => mount,
            Death::Change => match succeed(mount, &home, &mut dice) {
                Some(mount) => mount,
                None => {
                    by_change += 1;
                    history.push("killed at a change while starting".to_owned());
                    (possible, last) = (vec![model], None);
                    continue;
                }
            },
        };
        let state = Mutex::new(Work::on(model));
        let mut ops = source.draw();
        ops.iter_mut().for_each(|op| lengthen(op, 16, &mut dice));
        let top = mount.at().to_owned();
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| ops.iter().all(|op| step(&top, op, &state)));
            match how {
                Death::Moment => std::thread::sleep(Duration::from_millis(dice.below(160))),
                Death::Change => {
                    while !worker.is_finished() && !mount.has_ended() {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    by_change += u32::from(mount.has_ended());
                }
            }
            said += &mount.crash();
            worker.join().expect("the worker is content");
        });
        let Work { model, under_way, done } = state.into_inner().expect("no panic");
        history.extend(done);
        history.push(format!("killed, under way: {:?}", under_way.as_ref().map(brief)));
        possible = match under_way {
            Some(ref op) => outcomes(&model, op),
            None => vec![model],
        };
        last = under_way;
    }
    println!("real kills, {flavour:?}: {deaths}, and {starting} more while starting, nothing lost");
    if how == Death::Change {
        println!("of them at a counted change of a file, {flavour:?}: {by_change}");
        assert!(by_change > 0, "none has died at a change");
    }
}

#[test]
fn a_daemon_that_is_killed_again_and_again_loses_nothing_on_a_personal_drive() {
    run(Flavour::PersonalNew.into(), 15, Death::Moment);
}

#[test]
fn a_daemon_that_is_killed_again_and_again_loses_nothing_on_a_business_drive() {
    run(Flavour::Business.into(), 15, Death::Moment);
}

#[test]
fn a_daemon_that_is_killed_again_and_again_loses_nothing_on_live_connect() {
    run(Side::LIVE, 8, Death::Moment);
}

#[test]
#[ignore = "it needs strace and the right to trace: contrib/test.sh and contrib/trials.sh run it"]
fn a_daemon_that_is_killed_in_the_middle_of_a_commit_loses_nothing() {
    for flavour in [Flavour::PersonalNew.into(), Flavour::Business.into(), Side::LIVE] {
        run(flavour, 10, Death::Change);
    }
}

#[test]
fn the_same_seed_draws_the_same_operations_and_moments() {
    let drawn = |seed| {
        let (mut dice, mut source) = (Dice(seed), Source::new(prop::collection::vec(call(), 80), seed));
        let mut ops: Vec<Op> = (0..3).flat_map(|_| source.draw()).collect();
        ops.iter_mut().for_each(|op| lengthen(op, 16, &mut dice));
        (ops.iter().map(brief).collect::<Vec<_>>(), dice.below(1 << 40))
    };
    assert!(drawn(7) == drawn(7), "a seed does not repeat a run");
    assert!(drawn(7) != drawn(8), "every seed is the same");
}
