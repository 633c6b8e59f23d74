//! Power loss: a disk that remembers in which order things were done to it, and from that makes what a real disk may
//! hold after the power failed at any moment.
//!
//! What survives for sure: bytes of a file up to its last sync, names of a folder up to the last sync of the folder.
//! Of everything after it any part may have arrived: nothing, all, a beginning, or single sectors in any order, with
//! zeros where a file has grown and its bytes have not arrived. Names arrive in the order of a file system that
//! journals, or in any; a rename arrives whole.
//!
//! What SQLite does, which writes past [`Disk`], is in `databases`.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use onedrive_mount::base::disk::{Disk, DiskFile, Entry, Open, RealDisk, Room};

use super::generated::Dice;

mod databases;

/// The unit that a disk writes whole.
const SECTOR: usize = 512;

type FileId = usize;

enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

enum Event {
    File(FileId, Change),
    Sync(FileId),
    /// These files at once, with everything that had been done to them, and durable: what SQLite did one after the other,
    /// without a look in between, but in such an order that it comes to the same.
    AtOnce([FileId; 2], Vec<(FileId, Change)>),
    Name(PathBuf, FileId),
    Move(PathBuf, PathBuf, FileId),
    Unname(PathBuf),
    SyncFolder(PathBuf),
}

/// Everything that happened.
pub struct Film {
    home: PathBuf,
    reel: Mutex<Reel>,
}

#[derive(Default)]
struct Reel {
    /// What was there at the beginning; durable.
    start: BTreeMap<PathBuf, FileId>,
    contents: Vec<Vec<u8>>,
    names: HashMap<PathBuf, FileId>,
    databases: HashMap<PathBuf, Vec<u8>>,
    events: Vec<Event>,
    stopped: bool,
    /// It stops by itself after so many events.
    end: Option<usize>,
}

impl Reel {
    fn new_file(&mut self, content: Vec<u8>) -> FileId {
        self.contents.push(content);
        self.contents.len() - 1
    }

    fn add(&mut self, event: Event) {
        if !self.stopped {
            self.events.push(event);
            self.stopped = self.end.is_some_and(|end| self.events.len() >= end);
        }
    }

    fn changed(&mut self, path: &Path, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let file = self.file_of(path);
        self.events.extend(changes.into_iter().map(|change| Event::File(file, change)));
    }

    fn file_of(&mut self, path: &Path) -> FileId {
        match self.names.get(path) {
            Some(file) => *file,
            None => {
                // Made by SQLite, which leaves the durability of the name to us.
                let file = self.new_file(Vec::new());
                self.names.insert(path.to_owned(), file);
                self.events.push(Event::Name(path.to_owned(), file));
                file
            }
        }
    }

    fn synced_if(&mut self, path: &Path, it_was: bool) {
        if let (true, Some(file)) = (it_was, self.names.get(path)) {
            self.events.push(Event::Sync(*file));
        }
    }
}

impl Film {
    /// Begins with what is there now, which counts as durable.
    pub fn begin(home: &Path) -> Arc<Self> {
        let mut reel = Reel::default();
        let mut folders = vec![home.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok) {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.to_string_lossy().ends_with("-shm") {
                    let content = match std::fs::read(&path) {
                        Ok(content) => content,
                        // The end of the run before may remove one after the other.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                        Err(error) => panic!("a file of ours: {error}"),
                    };
                    let name = path.to_string_lossy().into_owned();
                    if name.ends_with(".db") {
                        reel.databases.entry(format!("{name}-wal").into()).or_default();
                    }
                    if name.ends_with(".db") || name.ends_with(".db-wal") || name.ends_with("journal.seen") {
                        reel.databases.insert(path.clone(), content.clone());
                    }
                    let file = reel.new_file(content);
                    reel.start.insert(path.clone(), file);
                    reel.names.insert(path, file);
                }
            }
        }
        Arc::new(Self { home: home.to_owned(), reel: Mutex::new(reel) })
    }

    fn reel(&self) -> std::sync::MutexGuard<'_, Reel> {
        self.reel.lock().expect("nobody panics with it")
    }

    /// How many events there were so far: a moment.
    pub fn now(&self) -> usize {
        let mut reel = self.reel();
        reel.look();
        reel.events.len()
    }

    /// It stops by itself once there were so many events.
    pub fn end_at(&self, end: Option<usize>) {
        self.reel().end = end;
    }

    /// Whether it has stopped.
    pub fn has_ended(&self) -> bool {
        self.reel().stopped
    }

    /// Comes a while after it has stopped: whoever waits for nobody else has come to an end by then.
    pub async fn ended(&self) {
        while !self.has_ended() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    /// Nothing is remembered from now on.
    pub fn stop(&self) {
        let mut reel = self.reel();
        reel.look();
        reel.stopped = true;
    }

    /// Writes what may be on the disk if the power fails at `moment` into another home. `whole` names folders that are
    /// not touched by the loss.
    pub fn survive(&self, moment: usize, dice: &mut Dice, whole: &[&str], to: &Path) {
        let reel = self.reel();
        let spared: Vec<PathBuf> = whole.iter().map(|part| self.home.join(part)).collect();
        let mut durable: HashMap<FileId, Vec<u8>> = HashMap::new();
        let mut open: HashMap<FileId, Vec<&Change>> = HashMap::new();
        let mut names = reel.start.clone();
        for file in reel.start.values() {
            durable.insert(*file, reel.contents[*file].clone());
        }
        let mut loose: Vec<&Event> = Vec::new();
        for event in &reel.events[..moment.min(reel.events.len())] {
            match event {
                Event::File(file, change) => open.entry(*file).or_default().push(change),
                Event::Sync(file) => settle_content(&mut durable, &mut open, *file),
                Event::AtOnce(files, changes) => {
                    files.iter().for_each(|file| settle_content(&mut durable, &mut open, *file));
                    for (file, change) in changes {
                        arrive(durable.entry(*file).or_default(), change);
                    }
                }
                Event::SyncFolder(folder) => {
                    let (mine, others) = loose.into_iter().partition(|event| is_in(event, folder));
                    loose = others;
                    for event in mine {
                        settle(&mut names, event);
                    }
                }
                name => loose.push(name),
            }
        }
        let in_order = dice.coin();
        let until = dice.index(loose.len() + 1);
        for (at, event) in loose.into_iter().enumerate() {
            let is_spared = spared.iter().any(|folder| is_below(event, folder));
            if is_spared || if in_order { at < until } else { dice.coin() } {
                settle(&mut names, event);
            }
        }
        for (path, file) in names {
            let mut content = durable.remove(&file).unwrap_or_default();
            let changes = open.remove(&file).unwrap_or_default();
            if spared.iter().any(|folder| path.starts_with(folder)) {
                changes.iter().for_each(|change| arrive(&mut content, change));
            } else {
                lose(&mut content, &changes, dice);
            }
            let target = to.join(path.strip_prefix(&self.home).expect("below the home"));
            std::fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
            std::fs::write(&target, &content).expect("a copy");
            // A file with two names has them both.
            durable.insert(file, content);
        }
    }
}

fn arrive(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Length(length) => content.resize(*length as usize, 0),
        Change::Write(at, bytes) => {
            let (at, end) = (*at as usize, *at as usize + bytes.len());
            if content.len() < end {
                content.resize(end, 0);
            }
            content[at..end].copy_from_slice(bytes);
        }
    }
}

/// All that was done to a file has arrived.
fn settle_content(durable: &mut HashMap<FileId, Vec<u8>>, open: &mut HashMap<FileId, Vec<&Change>>, file: FileId) {
    let content = durable.entry(file).or_default();
    for change in open.remove(&file).unwrap_or_default() {
        arrive(content, change);
    }
}

/// A part of the changes arrives.
fn lose(content: &mut Vec<u8>, changes: &[&Change], dice: &mut Dice) {
    let until = match dice.index(5) {
        0 => 0,
        1 => changes.len(),
        2 | 3 => dice.index(changes.len() + 1),
        _ => {
            for change in changes {
                lose_sectors(content, change, dice);
            }
            return;
        }
    };
    for (at, change) in changes.iter().enumerate() {
        if at < until {
            arrive(content, change);
        } else if at == until {
            // The one under way is torn.
            lose_sectors(content, change, dice);
        }
    }
}

fn lose_sectors(content: &mut Vec<u8>, change: &Change, dice: &mut Dice) {
    match change {
        Change::Length(length) if dice.coin() => content.resize(*length as usize, 0),
        Change::Length(_) => {}
        Change::Write(at, bytes) => {
            let (start, end) = (*at as usize, *at as usize + bytes.len());
            if content.len() < end && dice.coin() {
                content.resize(end, 0);
            }
            let mut from = start;
            while from < end {
                let to = ((from / SECTOR + 1) * SECTOR).min(end);
                if dice.coin() {
                    arrive(content, &Change::Write(from as u64, bytes[from - start..to - start].to_vec()));
                }
                from = to;
            }
        }
    }
}

fn settle(names: &mut BTreeMap<PathBuf, FileId>, event: &Event) {
    match event {
        Event::Name(path, file) => {
            names.insert(path.clone(), *file);
        }
        Event::Move(from, to, file) => {
            names.remove(from);
            names.insert(to.clone(), *file);
        }
        Event::Unname(path) => {
            names.remove(path);
        }
        Event::File(..) | Event::Sync(_) | Event::AtOnce(..) | Event::SyncFolder(_) => {}
    }
}

fn paths(event: &Event) -> Vec<&Path> {
    match event {
        Event::Name(path, _) | Event::Unname(path) => vec![path],
        Event::Move(from, to, _) => vec![from, to],
        Event::File(..) | Event::Sync(_) | Event::AtOnce(..) | Event::SyncFolder(_) => Vec::new(),
    }
}

fn is_in(event: &Event, folder: &Path) -> bool {
    paths(event).iter().any(|path| path.parent() == Some(folder))
}

fn is_below(event: &Event, folder: &Path) -> bool {
    paths(event).iter().any(|path| path.starts_with(folder))
}

/// The real disk, filmed. Syncs are remembered, not carried out. Clones are the same one.
#[derive(Clone)]
pub struct FilmedDisk(Arc<Film>, Arc<AtomicBool>);

struct FilmedFile(Arc<dyn DiskFile>, FileId, FilmedDisk);

impl FilmedDisk {
    /// For one daemon.
    pub fn of(film: &Arc<Film>) -> Self {
        Self(film.clone(), Arc::default())
    }

    /// The daemon that uses it is dead: whatever of it still runs writes, syncs and removes nothing.
    pub fn die(&self) {
        self.1.store(true, Ordering::Relaxed);
    }

    /// Completes when nothing of the daemon is left that could use it, or SQLite: whatever of a process that was really
    /// killed was under way does not go on beside its successor. Tells how long that took.
    pub async fn deserted(&self) -> Duration {
        let begun = Instant::now();
        while Arc::strong_count(&self.1) > 1 {
            assert!(begun.elapsed() < Duration::from_secs(60), "something of a dead daemon lives on");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        begun.elapsed()
    }

    fn is_alive(&self) -> io::Result<()> {
        if self.1.load(Ordering::Relaxed) { Err(io::Error::other("it is dead")) } else { Ok(()) }
    }
}

impl FilmedDisk {
    fn filmed(&self, reel: &mut Reel, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let id = match reel.names.get(path) {
            Some(id) => *id,
            None => {
                let id = reel.new_file(Vec::new());
                reel.names.insert(path.to_owned(), id);
                reel.add(Event::Name(path.to_owned(), id));
                id
            }
        };
        Arc::new(FilmedFile(file, id, self.clone()))
    }
}

impl Disk for FilmedDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut reel = self.0.reel();
        reel.look();
        let file = RealDisk.open(path, how)?;
        Ok(self.filmed(&mut reel, path, file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut reel = self.0.reel();
        reel.look();
        RealDisk.rename(from, to)?;
        if let Some(id) = reel.names.remove(from) {
            reel.names.insert(to.to_owned(), id);
            reel.add(Event::Move(from.to_owned(), to.to_owned(), id));
        }
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut reel = self.0.reel();
        reel.look();
        RealDisk.link(from, to)?;
        if let Some(id) = reel.names.get(from).copied() {
            reel.names.insert(to.to_owned(), id);
            reel.add(Event::Name(to.to_owned(), id));
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.is_alive()?;
        let mut reel = self.0.reel();
        reel.look();
        RealDisk.remove(path)?;
        if reel.names.remove(path).is_some() {
            reel.add(Event::Unname(path.to_owned()));
        }
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.is_alive()?;
        let mut reel = self.0.reel();
        reel.look();
        reel.add(Event::SyncFolder(path.to_owned()));
        Ok(())
    }

    fn create_dir_private(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_private(path)
    }

    fn replace_atomically(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        let mut reel = self.0.reel();
        reel.look();
        RealDisk.replace_atomically(path, bytes, mode)?;
        let id = reel.new_file(Vec::new());
        reel.add(Event::File(id, Change::Write(0, bytes.to_vec())));
        reel.add(Event::Sync(id));
        reel.names.insert(path.to_owned(), id);
        reel.add(Event::Name(path.to_owned(), id));
        if let Some(folder) = path.parent() {
            reel.add(Event::SyncFolder(folder.to_owned()));
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealDisk.read(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        RealDisk.list_dir(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_space(path)
    }

    fn clone_file(&self, from: &Path, to: &Path, room: Room<'_>) -> io::Result<Arc<dyn DiskFile>> {
        let mut reel = self.0.reel();
        reel.look();
        let file = RealDisk.clone_file(from, to, room)?;
        let content = RealDisk.read(to)?;
        let filmed = self.filmed(&mut reel, to, file);
        let id = reel.names[to];
        reel.add(Event::File(id, Change::Length(content.len() as u64)));
        reel.add(Event::File(id, Change::Write(0, content)));
        Ok(filmed)
    }
}

impl DiskFile for FilmedFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.2.is_alive()?;
        let mut reel = self.2.0.reel();
        reel.look();
        self.0.write_at(bytes, at)?;
        reel.add(Event::File(self.1, Change::Write(at, bytes.to_vec())));
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.2.is_alive()?;
        let mut reel = self.2.0.reel();
        reel.look();
        self.0.set_len(len)?;
        reel.add(Event::File(self.1, Change::Length(len)));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.2.is_alive()?;
        let mut reel = self.2.0.reel();
        reel.look();
        reel.add(Event::Sync(self.1));
        Ok(())
    }

    fn punch_hole(&self, range: Range<u64>) -> io::Result<()> {
        self.2.is_alive()?;
        let mut reel = self.2.0.reel();
        reel.look();
        self.0.punch_hole(range.clone())?;
        let end = range.end.min(self.0.len()?);
        if range.start < end {
            reel.add(Event::File(self.1, Change::Write(range.start, vec![0; (end - range.start) as usize])));
        }
        Ok(())
    }

    fn next_data(&self, at: u64) -> io::Result<Option<Range<u64>>> {
        self.0.next_data(at)
    }
}
