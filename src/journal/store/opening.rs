//! Opening the journal's file, and salvaging it if it is damaged.
//!
//! | found | done |
//! | --- | --- |
//! | rows, census and log agree | opened |
//! | the first version of the file, sound | rewritten with checksums |
//! | a newer version of the file, sound | refused; nothing is touched |
//! | the log is torn or has holes, the machine has gone down since, and all that was once durable is whole | opened up to the first hole: a loss of power; what was not synced is lost in order, so that what is found is the state of some moment |
//! | the very end of the log is torn, nothing whole in it | opened without it, and said |
//! | less in it than was once durable | opened, and said |
//! | anything else: flipped bits, lost or swapped blocks, a cut file | every row that proves itself goes into a new file; the damaged one is kept aside in a folder `damaged-…`, with a text that says what happened |
//!
//! Numbers of inodes and spools that may have been handed out are never handed out again: after a salvage inode
//! numbers go on from the time of day, far above all that came before.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, params};

use super::super::salvage::{self, LogState, PAGE, Value};
use super::{
    Census, Sql, Store, StoreError, intent_sum, meta_sum, mode_sum, retired_sum, shorten, spool_sum, state_sum,
};
use crate::base::clock::Timestamp;
use crate::base::disk::{Disk, log_of};

const VERSION: i64 = 2;

const FILE: &str = "journal.db";
/// A salvaged file that is complete and takes the place of the damaged one at the next opportunity.
const SALVAGED: &str = "journal.db.salvaged";
const SEEN: &str = "journal.seen";
/// In which run of the machine the file was opened last.
const BOOT: &str = "journal.boot";

const TABLES: &str = "
CREATE TABLE intents(ino INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name TEXT NOT NULL, row TEXT NOT NULL, seq INTEGER NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE spools(id INTEGER PRIMARY KEY, row TEXT NOT NULL, seq INTEGER NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE retired(id INTEGER PRIMARY KEY, sum INTEGER NOT NULL);
CREATE TABLE modes(ino INTEGER PRIMARY KEY, item TEXT, mode INTEGER NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE state(id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, census INTEGER NOT NULL, sum INTEGER NOT NULL);
";

/// An opened journal file.
pub(in crate::journal) struct Opened {
    pub(in crate::journal) store: Store,
    /// What was wrong with it, for people; empty nearly always.
    pub(in crate::journal) damage: Vec<String>,
}

/// Rows that proved themselves.
#[derive(Default)]
struct Rows {
    intents: HashMap<i64, (i64, String, String, i64, i64)>,
    spools: HashMap<i64, (String, i64, i64)>,
    retired: Vec<i64>,
    modes: HashMap<i64, (Option<String>, i64)>,
    meta: HashMap<String, i64>,
    /// The newest census.
    state: Option<(i64, i64)>,
    /// Names in rows that did not.
    broken: Vec<String>,
}

/// What a look at the file says.
enum Verdict {
    Sound(Box<(Connection, Census)>),
    Damaged(String),
}

impl Store {
    /// Opens or creates the file. `spools` is the highest number of a spool file that is there; `disk` is asked to make
    /// the log durable; `boot` names this run of the machine: within one, no write gets lost.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the disk cannot be read or written, or the file is of a newer version. Nothing is lost then.
    pub(in crate::journal) fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        spools: u64,
        boot: &str,
        now: Timestamp,
    ) -> Result<Opened, StoreError> {
        finish_salvage(folder)?;
        let path = folder.join(FILE);
        let log = salvage::read_log(&read_if_there(&log_of(&path))?);
        let mut damage = Vec::new();
        let seen = folder.join(SEEN);
        let durable = read_seen(&seen);
        let noted = folder.join(BOOT);
        let went_down = disk.read(&noted).ok().as_deref() != Some(boot.as_bytes());
        let cut = if went_down && (log.broken || log.torn_end) { after_power_loss(&path, durable)? } else { None };
        let verdict = if let Some(opened) = cut {
            tracing::info!("the machine went down without warning; what was not synced is as it was before");
            Verdict::Sound(opened)
        } else if log.broken {
            Verdict::Damaged("its log is damaged".into())
        } else if !log.pages.is_empty() && fs::metadata(&path).map_or(0, |facts| facts.len()) == 0 {
            // SQLite would take it for new and delete the log.
            Verdict::Damaged("its file is empty".into())
        } else {
            look(&path, true)?
        };
        let verdict = match verdict {
            Verdict::Sound(opened) if log.torn_end && !went_down => {
                let rows = Rows::find(&read_if_there(&path)?, &log);
                if rows.is_whole() && rows.seq() > opened.1.seq {
                    Verdict::Damaged("the end of its log is damaged".into())
                } else {
                    damage.push(
                        "the end of the journal's log was torn, as a power failure does: steps of its last second may be \
                         missing"
                            .into(),
                    );
                    Verdict::Sound(opened)
                }
            }
            other => other,
        };
        let (connection, census) = match verdict {
            Verdict::Sound(opened) => *opened,
            Verdict::Damaged(why) => {
                tracing::error!(why, "the journal is damaged; saving what is in it");
                damage.extend(salvage_into(folder, &log, &why, spools, now)?);
                match look(&path, true)? {
                    Verdict::Sound(opened) => *opened,
                    Verdict::Damaged(why) => {
                        return Err(StoreError::Disk(io::Error::other(format!(
                            "the salvaged file is damaged too: {why}"
                        ))));
                    }
                }
            }
        };
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        if census.seq < durable {
            damage.push(format!(
                "the last {} steps of the journal are missing, though they were on the disk: it was cut or replaced by an \
                 older copy; drafts without a record are kept",
                durable - census.seq
            ));
            // Said once.
            let _ = note_seen(&seen, census.seq);
        }
        for line in &damage {
            tracing::error!("{line}");
        }
        if went_down {
            disk.replace_atomically(&noted, boot.as_bytes(), 0o600)?;
        }
        let log = log_of(&path);
        shorten::shorten_at_start(&connection, &log);
        let store = Self {
            sql: Mutex::new(Sql { connection, census }),
            carrier: Mutex::new(None),
            file: path,
            disk,
            log,
            log_file: Mutex::new(None),
            unsure: AtomicBool::new(false),
            stays: AtomicBool::new(false),
            seen,
        };
        store.skip_spools(spools)?;
        Ok(Opened { store, damage })
    }
}

fn read_if_there(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// Remembers that steps up to this one were durable.
pub(super) fn note_seen(path: &Path, seq: i64) -> io::Result<()> {
    fs::write(path, format!("{seq} {:08x}\n", meta_sum(SEEN, seq)))
}

fn read_seen(path: &Path) -> i64 {
    seen_in(&fs::read_to_string(path).unwrap_or_default())
}

/// The step that a text of [`note_seen`] names; 0 if it is none.
fn seen_in(text: &str) -> i64 {
    let mut words = text.split_whitespace();
    let seq = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let sum = words.next().and_then(|word| i64::from_str_radix(word, 16).ok());
    if sum == Some(meta_sum(SEEN, seq)) { seq } else { 0 }
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any text as the step that was seen.
pub(super) fn fuzz(text: &str) {
    let seq = seen_in(text);
    assert_eq!(seen_in(&format!("{seq} {:08x}", meta_sum(SEEN, seq))), seq);
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // SQLite gives the files beside it the mode of this one.
    let _ = crate::base::private::file(path);
    let connection = Connection::open(path)?;
    // Until it is known to be sound nothing of it is moved.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "page_size", PAGE as i64)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    // A commit never carries the log over (`shorten`). What very many at once have added to it is given back.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", shorten::LONG as i64)?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Whether a failure is the machine's, not the file's.
fn is_environment(error: &rusqlite::Error) -> bool {
    const SHORT_READ: i32 = 522;
    let rusqlite::Error::SqliteFailure(error, _) = error else { return false };
    matches!(
        error.code,
        ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
    ) && error.extended_code != SHORT_READ
}

/// The file up to the first hole in its log, if everything that was durable is in that; the log is emptied, so that
/// what lies behind the hole is not met again.
fn after_power_loss(path: &Path, durable: i64) -> Result<Option<Box<(Connection, Census)>>, StoreError> {
    match look(path, false)? {
        Verdict::Sound(opened) if opened.1.seq >= durable => {
            // A page that is missing in the main file is still in the log: it is moved only while it is sound.
            opened.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            Ok(Some(opened))
        }
        _ => Ok(None),
    }
}

/// Opens the file if it is sound, creating (if it may) or converting it if need be.
fn look(path: &Path, create: bool) -> Result<Verdict, StoreError> {
    match inspect(path, create) {
        Err(StoreError::Sql(error)) if !is_environment(&error) => Ok(Verdict::Damaged(error.to_string())),
        other => other,
    }
}

fn inspect(path: &Path, create: bool) -> Result<Verdict, StoreError> {
    let mut connection = connect(path)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if version == 0 && tables == 0 {
        if !create {
            return Ok(Verdict::Damaged("it is empty".into()));
        }
        let txn = connection.transaction()?;
        txn.execute_batch(TABLES)?;
        set_version(&txn)?;
        txn.commit()?;
        return Ok(Verdict::Sound(Box::new((connection, Census::default()))));
    }
    let verdict: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if verdict != "ok" {
        return Ok(Verdict::Damaged(verdict));
    }
    match version {
        1 => {
            convert(&mut connection)?;
        }
        VERSION => {}
        other => {
            // A version that only one of its two places speaks of is damage.
            let sum =
                connection.query_row("SELECT sum FROM meta WHERE key = 'schema'", [], |row| row.get::<_, i64>(0))?;
            return match other > VERSION && sum == meta_sum("schema", other) {
                true => Err(StoreError::TooNew(other)),
                false => Ok(Verdict::Damaged(format!("it claims to be of version {other}"))),
            };
        }
    }
    let rows = Rows::select(&connection)?;
    if !rows.broken.is_empty() {
        return Ok(Verdict::Damaged(format!("{} of its rows are not what was written", rows.broken.len())));
    }
    if !rows.is_whole() {
        return Ok(Verdict::Damaged("rows are missing or too many".into()));
    }
    let census = rows.census();
    Ok(Verdict::Sound(Box::new((connection, census))))
}

fn set_version(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT OR REPLACE INTO meta(key, value, sum) VALUES('schema', ?1, ?2)",
        params![VERSION, meta_sum("schema", VERSION)],
    )?;
    connection.pragma_update(None, "user_version", VERSION)
}

/// From the first version, whose rows had no checksums.
fn convert(connection: &mut Connection) -> rusqlite::Result<()> {
    let txn = connection.transaction()?;
    let mut rows = Rows::default();
    {
        let mut statement = txn.prepare("SELECT ino, parent, name, row FROM intents")?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let (ino, parent, name, text): (i64, i64, String, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            let sum = intent_sum(ino, parent, &name, &text, 1);
            rows.intents.insert(ino, (parent, name, text, 1, sum));
        }
        let mut statement = txn.prepare("SELECT id, row FROM spools")?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let (id, text): (i64, String) = (row.get(0)?, row.get(1)?);
            let sum = spool_sum(id, &text, 1);
            rows.spools.insert(id, (text, 1, sum));
        }
        let mut statement = txn.prepare("SELECT id FROM retired")?;
        rows.retired = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let mut statement = txn.prepare("SELECT ino, item, mode FROM modes")?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            rows.modes.insert(row.get(0)?, (row.get(1)?, row.get(2)?));
        }
        let mut statement = txn.prepare("SELECT key, value FROM meta")?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            rows.meta.insert(row.get(0)?, row.get(1)?);
        }
    }
    txn.execute_batch("DROP TABLE intents; DROP TABLE spools; DROP TABLE retired; DROP TABLE modes; DROP TABLE meta;")?;
    txn.execute_batch(TABLES)?;
    rows.insert(&txn)?;
    set_version(&txn)?;
    txn.commit()
}

impl Rows {
    fn seq(&self) -> i64 {
        self.state.map_or(0, |(seq, _)| seq)
    }

    fn census(&self) -> Census {
        let mut census = Census { seq: self.seq(), ..Census::default() };
        for (ino, (.., sum)) in &self.intents {
            census.set("intents", *ino, Some(*sum));
        }
        for (id, (.., sum)) in &self.spools {
            census.set("spools", *id, Some(*sum));
        }
        census
    }

    /// Whether these are all the rows there were, and no others.
    fn is_whole(&self) -> bool {
        self.census().value == self.state.map_or(0, |(_, census)| census)
    }

    /// Takes a row if its checksum proves it. A row that is found twice counts as it was last.
    fn offer(&mut self, key: i64, columns: &[Value]) {
        use Value::{Integer, Null, Text};
        match columns {
            [Null, Integer(parent), Text(name), Text(row), Integer(seq), Integer(sum)] => {
                if intent_sum(key, *parent, name, row, *seq) != *sum {
                    self.broken.push(format!("a step about “{name}”"));
                } else if self.intents.get(&key).is_none_or(|known| known.3 < *seq) {
                    self.intents.insert(key, (*parent, name.clone(), row.clone(), *seq, *sum));
                }
            }
            [Null, Text(row), Integer(seq), Integer(sum)] if spool_sum(key, row, *seq) == *sum => {
                let known = self.spools.entry(key).or_insert_with(|| (row.clone(), *seq, *sum));
                if known.1 < *seq {
                    *known = (row.clone(), *seq, *sum);
                }
            }
            [Null, Integer(seq), Integer(census), Integer(sum)] if state_sum(*seq, *census) == *sum => {
                let newest = self.state.filter(|known| known.0 >= *seq).unwrap_or((*seq, *census));
                self.state = Some(newest);
            }
            [Null, item, Integer(mode), Integer(sum)] if mode_sum(key, item.text(), *mode) == *sum => {
                self.modes.insert(key, (item.text().map(str::to_owned), *mode));
            }
            [Null, Integer(sum)] if retired_sum(key) == *sum => self.retired.push(key),
            [Text(name), Integer(value), Integer(sum)] if meta_sum(name, *value) == *sum => {
                let known = self.meta.entry(name.clone()).or_insert(*value);
                *known = (*known).max(*value);
            }
            [Null, Text(_), Integer(_), Integer(_)] => self.broken.push("a draft's record".into()),
            _ if columns.len() > 1 && columns.last().is_some_and(|last| last.integer().is_some()) => {
                self.broken.push("a small record".into());
            }
            _ => {}
        }
    }

    /// The rows as SQLite reads them.
    fn select(connection: &Connection) -> rusqlite::Result<Self> {
        use rusqlite::types::ValueRef;
        let mut rows = Self::default();
        for (table, keyed) in
            [("intents", true), ("spools", true), ("retired", true), ("modes", true), ("meta", false), ("state", true)]
        {
            let mut statement = connection.prepare(&format!("SELECT * FROM {table}"))?;
            let count = statement.column_count();
            let mut found = statement.query([])?;
            while let Some(row) = found.next()? {
                let key = if keyed { row.get::<_, i64>(0).unwrap_or(0) } else { 0 };
                let columns = (0..count)
                    .map(|at| {
                        Ok(match row.get_ref(at)? {
                            _ if keyed && at == 0 => Value::Null,
                            ValueRef::Null => Value::Null,
                            ValueRef::Integer(number) => Value::Integer(number),
                            ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
                            _ => Value::Other,
                        })
                    })
                    .collect::<rusqlite::Result<Vec<Value>>>()?;
                let before = rows.broken.len();
                rows.offer(key, &columns);
                if rows.broken.len() == before && !rows.holds(table, key, &columns) {
                    rows.broken.push(format!("a row of {table}"));
                }
            }
        }
        Ok(rows)
    }

    /// Whether a row that was offered has become one of this table.
    fn holds(&self, table: &str, key: i64, columns: &[Value]) -> bool {
        match table {
            "intents" => self.intents.contains_key(&key),
            "spools" => self.spools.contains_key(&key),
            "retired" => self.retired.contains(&key),
            "modes" => self.modes.contains_key(&key),
            "meta" => columns.first().and_then(Value::text).is_some_and(|name| self.meta.contains_key(name)),
            _ => self.state.is_some(),
        }
    }

    /// The rows in the raw pages of a file and its log.
    fn find(file: &[u8], log: &LogState) -> Self {
        let mut rows = Self::default();
        for (key, columns) in salvage::records(file, &log.pages) {
            rows.offer(key, &columns);
        }
        // Rows of SQLite itself, and what looked like a row.
        rows.broken.retain(|what| what.starts_with("a step") || what.starts_with("a draft"));
        // A draft whose record is there is not finished, whatever else says so.
        let Self { retired, spools, .. } = &mut rows;
        retired.retain(|id| !spools.contains_key(id));
        retired.sort_unstable();
        retired.dedup();
        rows
    }

    fn insert(&self, connection: &Connection) -> rusqlite::Result<()> {
        for (ino, (parent, name, row, seq, sum)) in &self.intents {
            connection
                .prepare_cached("INSERT INTO intents VALUES(?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute(params![ino, parent, name, row, seq, sum])?;
        }
        for (id, (row, seq, sum)) in &self.spools {
            connection
                .prepare_cached("INSERT INTO spools VALUES(?1, ?2, ?3, ?4)")?
                .execute(params![id, row, seq, sum])?;
        }
        for id in &self.retired {
            connection.execute("INSERT INTO retired VALUES(?1, ?2)", [*id, retired_sum(*id)])?;
        }
        for (ino, (item, mode)) in &self.modes {
            let sum = mode_sum(*ino, item.as_deref(), *mode);
            connection.execute("INSERT INTO modes VALUES(?1, ?2, ?3, ?4)", params![ino, item, mode, sum])?;
        }
        for (key, value) in &self.meta {
            connection.execute("INSERT INTO meta VALUES(?1, ?2, ?3)", params![key, value, meta_sum(key, *value)])?;
        }
        let highest = self.intents.values().map(|row| row.3).chain(self.spools.values().map(|row| row.1)).max();
        let census = Census { seq: self.seq().max(highest.unwrap_or(0)), ..self.census() };
        connection
            .execute("INSERT INTO state VALUES(1, ?1, ?2, ?3)", params![census.seq, census.value, census.row_sum()])?;
        Ok(())
    }
}

/// A salvaged file takes the place of the damaged one.
fn finish_salvage(folder: &Path) -> io::Result<()> {
    let salvaged = folder.join(SALVAGED);
    if !salvaged.exists() {
        return Ok(());
    }
    let path = folder.join(FILE);
    // The old log must not be applied to the new file.
    for end in ["-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(end);
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(&salvaged, &path)?;
    File::open(folder)?.sync_all()
}

/// Makes a new file of what proves itself in the damaged one; returns what is to be said about it.
fn salvage_into(
    folder: &Path,
    log: &LogState,
    why: &str,
    spools: u64,
    now: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let path = folder.join(FILE);
    let mut rows = Rows::find(&read_if_there(&path)?, log);
    let whole = rows.is_whole() && rows.state.is_some();
    let aside = (0..)
        .map(|turn| folder.join(format!("damaged-{}-{turn}", now.seconds())))
        .find(|aside| !aside.exists())
        .unwrap_or_else(|| folder.join("damaged"));
    fs::create_dir_all(&aside)?;
    for file in [path.clone(), log_of(&path)] {
        if let Some(name) = file.file_name()
            && file.exists()
        {
            fs::copy(&file, aside.join(name))?;
        }
    }
    let mut said = vec![format!(
        "the journal was damaged ({why}) and has been repaired: {} steps and {} drafts were saved; {}; the damaged file is \
         kept in {}",
        rows.intents.len(),
        rows.spools.len(),
        if whole {
            "nothing is missing"
        } else {
            "some steps that were not in the cloud yet may be missing; drafts without a record are kept"
        },
        aside.display()
    )];
    if !whole {
        said.extend(rows.broken.iter().map(|what| format!("lost from the journal: {what}")));
    }
    fs::write(aside.join("what-happened.txt"), said.join("\n") + "\n")?;

    let highest = rows.spools.keys().chain(&rows.retired).copied().max().unwrap_or(0).max(spools as i64);
    let next_spool = rows.meta.get("next_spool").copied().unwrap_or(0).max(highest + 1);
    // Sixteen million numbers for each second since 1970: nothing handed out before is as high.
    let by_time = now.seconds().clamp(0, 1 << 36) << 24;
    let next_ino = rows.meta.get("next_ino").copied().unwrap_or(0).max(by_time);
    rows.meta.insert("next_spool".into(), next_spool);
    rows.meta.insert("next_ino".into(), next_ino);
    let fresh = folder.join("journal.db.new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    {
        crate::base::private::file(&fresh)?;
        let mut connection = Connection::open(&fresh)?;
        // Nobody else opens it while its daemon lives, so SQLite need not ask the system for a lock at every step.
        connection.pragma_update(None, "locking_mode", "exclusive")?;
        connection.pragma_update(None, "page_size", PAGE as i64)?;
        let txn = connection.transaction()?;
        txn.execute_batch(TABLES)?;
        rows.insert(&txn)?;
        set_version(&txn)?;
        txn.commit()?;
    }
    File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, folder.join(SALVAGED))?;
    File::open(folder)?.sync_all()?;
    finish_salvage(folder)?;
    Ok(said)
}
