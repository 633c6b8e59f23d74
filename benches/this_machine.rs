//! The mount against the native file system, on everything that needs no network: `cargo bench --bench this_machine`.
//!
//! A real daemon, signed in to an emulated service in this process; programs run beside it. Every figure is taken
//! twice: with the program and the daemon on one processor, and on two. A round trip through the kernel that wakes the
//! other processor of an idle virtual machine costs several times one that does not, so a figure without its placement
//! says little. Figures are medians. The table goes to standard output and into `docs/this-machine.md`; `-- mkdir find` runs
//! only the scenarios with these words in their names and writes no file.

mod stage;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use onedrive_mount::emulator::{Content, Course, DriveHandle, Emulator, Flavour, Options, When};

use stage::{Daemon, Home, median};

/// Folders and files in each of them that are walked.
const FOLDERS: usize = 100;
const FILES: usize = 100;
/// Bytes of the file that is read from end to end.
const LARGE: usize = 256 << 20;

/// One measurement: its name, and what it does in a folder of its own. Returns the figure and whether it ends.
type Scenario = (&'static str, &'static str, fn(&Path) -> Vec<f64>);

const SCENARIOS: &[Scenario] = &[
    ("mkdir", "µs", |at| each(300, |n| timed(|| fs::create_dir(at.join(format!("d{n}"))).expect("makes")))),
    ("rename", "µs", |at| {
        each(300, |n| timed(|| fs::rename(at.join(format!("d{n}")), at.join(format!("e{n}"))).expect("renames")))
    }),
    ("rmdir", "µs", |at| each(300, |n| timed(|| fs::remove_dir(at.join(format!("e{n}"))).expect("removes")))),
    ("500 files of 4 KiB made", "files/s", |at| {
        let folder = at.join("small");
        fs::create_dir(&folder).expect("makes");
        let bytes = [7u8; 4096];
        let took = timed(|| {
            for n in 0..500 {
                fs::write(folder.join(format!("f{n}")), bytes).expect("writes");
            }
        });
        vec![500.0 / took * 1e6]
    }),
    ("the same removed", "files/s", |at| {
        let folder = at.join("small");
        let took = timed(|| {
            for n in 0..500 {
                fs::remove_file(folder.join(format!("f{n}"))).expect("removes");
            }
        });
        vec![500.0 / took * 1e6]
    }),
    ("find -ls of 10,000 files in 100 folders, warm", "ms", |at| {
        let find = || {
            let mut find = Command::new("find");
            let output = find.arg(at.join("../tree")).arg("-ls").output().expect("find runs");
            assert!(output.stdout.iter().filter(|byte| **byte == b'\n').count() > FOLDERS * FILES);
        };
        find();
        each(7, |_| timed(find) / 1e3)
    }),
    ("find of the same", "ms", |at| {
        let find = || {
            let output = Command::new("find").arg(at.join("../tree")).output().expect("find runs");
            assert!(output.stdout.iter().filter(|byte| **byte == b'\n').count() > FOLDERS * FILES);
        };
        each(7, |_| timed(find) / 1e3)
    }),
    ("256 MiB read, warm", "MB/s", |at| {
        let file = at.join("../large");
        let mut buffer = vec![0u8; 1 << 20];
        let mut read = || {
            let mut open = fs::File::open(&file).expect("opens");
            while open.read(&mut buffer).expect("reads") > 0 {}
        };
        read();
        each(5, |_| LARGE as f64 / timed(&mut read))
    }),
    ("256 MiB read, pages dropped", "MB/s", |at| {
        let file = at.join("../large");
        let mut buffer = vec![0u8; 1 << 20];
        let mut read = || {
            let mut open = fs::File::open(&file).expect("opens");
            rustix::fs::fadvise(&open, 0, None, rustix::fs::Advice::DontNeed).expect("drops pages");
            while open.read(&mut buffer).expect("reads") > 0 {}
        };
        each(5, |_| LARGE as f64 / timed(&mut read))
    }),
    ("64 MiB written, 128 KiB at a time", "MB/s", |at| {
        let bytes = vec![3u8; 128 << 10];
        each(3, |n| {
            let path = at.join(format!("w{n}"));
            let rate = (64 << 20) as f64
                / timed(|| {
                    let mut file = fs::File::create(&path).expect("makes");
                    for _ in 0..512 {
                        file.write_all(&bytes).expect("writes");
                    }
                });
            fs::remove_file(&path).expect("removes");
            rate
        })
    }),
    ("stat", "µs", |at| {
        each(2000, |n| timed(|| _ = fs::metadata(at.join(format!("../tree/d{}", n % FOLDERS))).expect("is there")))
    }),
    ("open and close", "µs", |at| {
        each(2000, |n| timed(|| drop(fs::File::open(at.join(format!("../tree/d1/f{}", n % FILES))).expect("opens"))))
    }),
    ("a name that is missing", "µs", |at| {
        each(2000, |n| timed(|| drop(fs::metadata(at.join(format!("missing {}", n % 10))).expect_err("is missing"))))
    }),
];

/// Microseconds.
fn timed(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1e6
}

fn each(times: usize, measure: impl FnMut(usize) -> f64) -> Vec<f64> {
    (0..times).map(measure).collect()
}

/// Lays out what the scenarios look at, and the folder that they work in.
fn plant(top: &Path) {
    for folder in 0..FOLDERS {
        let folder = top.join(format!("tree/d{folder}"));
        fs::create_dir_all(&folder).expect("makes");
        for file in 0..FILES {
            fs::write(folder.join(format!("f{file}")), b"x").expect("writes");
        }
    }
    let mut file = fs::File::create(top.join("large")).expect("makes");
    let block: Vec<u8> = (0..1u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for _ in 0..LARGE >> 20 {
        file.write_all(&block).expect("writes");
    }
}

/// The same on the service.
fn plant_in_the_cloud(drive: &DriveHandle) {
    for folder in 0..FOLDERS {
        for file in 0..FILES {
            drive.create_file(&format!("/tree/d{folder}/f{file}"), *b"x");
        }
    }
    drive.create_generated("/large", 7, LARGE as u64);
}

/// Runs the scenarios in a process of its own on these processors; `only` names some of them.
fn run(top: &Path, processors: &str, only: &[String]) -> Vec<(String, f64, f64)> {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new("taskset");
    command.args(["-c", processors]).arg(program).arg("--scenarios").arg(top).args(only);
    let output = command.output().expect("the scenarios run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    eprintln!("on processors {processors} below {}:\n{}", top.display(), String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let (name, figures) = line.split_once('\t')?;
            let (middle, worst) = figures.split_once('\t')?;
            Some((name.to_owned(), middle.parse().ok()?, worst.parse().ok()?))
        })
        .collect()
}

fn scenarios(top: &Path, only: &[String]) {
    let at = top.join(format!("work-{}", std::process::id()));
    fs::create_dir(&at).expect("makes");
    for (name, unit, measure) in SCENARIOS {
        if !only.is_empty() && !only.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let mut figures = measure(&at);
        let middle = median(figures.clone());
        figures.sort_by(f64::total_cmp);
        // For times the slow end, one in a hundred; for rates there is none.
        let worst = figures[(figures.len() * 99 / 100).min(figures.len() - 1)];
        println!("{name}, {unit}\t{middle}\t{worst}");
    }
}

/// Milliseconds from the moment at which the service has an answer that tells of a new file, until a program that was
/// told that there is none is told that there is.
fn news(at: &Path, emulator: &Emulator) -> Vec<f64> {
    let told = Arc::new(Mutex::new(None::<Instant>));
    let last = told.clone();
    emulator.set_witness(Some(Arc::new(move |moment| {
        if moment.when == When::After && moment.target.contains("delta") {
            *last.lock().expect("an instant") = Some(Instant::now());
        }
        Course::Go
    })));
    let figures = each(20, |n| {
        let (name, begun) = (format!("news {n}"), Instant::now());
        assert!(!at.join(&name).exists());
        emulator.drive().create_file(&format!("/{name}"), *b"x");
        while !at.join(&name).exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{name} is not heard of");
            std::thread::sleep(Duration::from_micros(200));
        }
        told.lock().expect("an instant").expect("somebody has asked").elapsed().as_secs_f64() * 1e3
    });
    emulator.set_witness(None);
    figures
}

fn wait_for_rest(daemon: &Daemon) {
    // The debounce of uploads, and what they do.
    let mut before = daemon.processor_time();
    for _ in 0..60 {
        std::thread::sleep(Duration::from_secs(1));
        let now = daemon.processor_time();
        if now - before < Duration::from_millis(20) {
            return;
        }
        before = now;
    }
}

const INTRODUCTION: &str = "# The mount against the native file system\n\n\
    Written by `cargo bench --bench this_machine`; benches/this_machine.rs says how each figure comes about. \
    \"One processor\": the program and the daemon share it. \"Two\": each has its own. The service is emulated in the \
    bench's process, and what is made is uploaded meanwhile. Times are medians; the slowest 1 % of a rate is its \
    best run.\n\n";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let Some((first, rest)) = arguments.split_first()
        && first == "--scenarios"
    {
        return scenarios(Path::new(&rest[0]), &rest[1..]);
    }
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let options = Options { flavour: Flavour::PersonalNew, content: Content::Empty, ..Options::default() };
    let emulator = runtime.block_on(Emulator::start(options)).expect("the emulator starts");
    // Where the build is, because /tmp may be in memory.
    let native = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    plant(native.path());
    let home = Home::new();
    let (endpoints, tokens) = (emulator.endpoints(), emulator.oauth().issue_tokens());
    home.sign_in(&runtime, &endpoints.graph, &endpoints.login, &tokens.access, &tokens.refresh);
    plant_in_the_cloud(emulator.drive());
    wait_for_rest(&home.mount(None));
    let mut text = String::from(
        "| | ext4 | one processor | its slowest 1 % | two processors | their slowest 1 % |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let on_native = run(native.path(), "0", &arguments);
    let mut columns = Vec::new();
    let mut last = String::new();
    for processors in ["0", "1"] {
        let daemon = home.mount(Some(processors));
        wait_for_rest(&daemon);
        columns.push(run(&daemon.at, "0", &arguments));
        let most = daemon.most_resident() * 1024 / 1_000_000;
        wait_for_rest(&daemon);
        let before = daemon.processor_time();
        std::thread::sleep(Duration::from_secs(10));
        let used = (daemon.processor_time() - before).as_secs_f64() / 10.0;
        last = format!(
            "\nThe daemon had at most {most} MB resident, and used {:.2} % of a processor at rest.\n",
            used * 100.0
        );
    }
    for (at, (name, figure, _)) in on_native.iter().enumerate() {
        let (one, two) = (&columns[0][at], &columns[1][at]);
        writeln!(text, "| {name} | {figure:.0} | {:.0} | {:.0} | {:.0} | {:.0} |", one.1, one.2, two.1, two.2)
            .expect("a string grows");
    }
    text.push_str(&last);
    home.set("poll_interval: 1s");
    let daemon = home.mount(None);
    wait_for_rest(&daemon);
    let mut news = news(&daemon.at, &emulator);
    news.sort_by(f64::total_cmp);
    writeln!(
        text,
        "\nA file made elsewhere is there for a program that has just looked for it in vain {:.1} ms after the answer that \
         tells of it was ready, {:.1} ms at the slowest of {}.",
        news[news.len() / 2],
        news[news.len() - 1],
        news.len()
    )
    .expect("a string grows");
    println!("{text}");
    if arguments.is_empty() {
        fs::write("docs/this-machine.md", format!("{INTRODUCTION}{text}")).expect("docs/this-machine.md is written");
    }
}
