//! Items of one folder that have one name, where a service allows that (Live Connect does): a file system cannot show them
//! so, and none may vanish.
//!
//! The one that was heard of last has the name. Another is shown with the number of its identity in it, `plan (231).odt`:
//! the same one as long as they stand beside each other. When the name becomes free it goes back to it.
//!
//! That is a matter of those that are seen. What the user has deleted or moved away is not seen where the service still
//! has it, and what is heard of it there takes no name from anybody; and what the user works on has its name, whatever
//! is heard of others. Which these are only the journal knows, and it says so here ([`Wanted`]), because a transaction
//! cannot ask it: whoever writes for the journal has locked it already.
//!
//! | heard of under a name | another one has the name | is shown |
//! | --- | --- | --- |
//! | what the user has deleted or wants elsewhere | any | aside, should it ever be seen there |
//! | what the user works on there | any | under its name |
//! | any | which the user works on there | aside |
//! | any that stood aside already | any | aside |
//! | any | any | under its name |

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::params;

use super::find::{by_ino, child};
use super::items::Txn;
use super::packed::{fold_sum, unpack};
use super::stored::{damaged, id_of, key_of, row_sum};
use super::{Index, IndexResult, NOWHERE, Notice, Row, What};
use crate::base::ids::{Ino, ItemId};
use crate::base::name::fold;
use crate::remote::ItemKind;

/// Where the items are wanted that the journal has intents for: folder and name, `None` if they shall not be.
#[derive(Default)]
pub(super) struct Wanted {
    places: Mutex<HashMap<ItemId, Option<(Ino, String)>>>,
}

/// Who may stand aside for a name. Whoever is looked up here may have another name or place by now.
pub(super) type Aside = HashMap<String, BTreeSet<Ino>>;

/// What is known of an item before anything is asked of the service.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The user works on it here.
    Here,
    /// It is not seen here: deleted, or wanted elsewhere.
    Unseen,
    /// It is where the service has it.
    Plain,
}

impl Wanted {
    fn lock(&self) -> MutexGuard<'_, HashMap<ItemId, Option<(Ino, String)>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standing(&self, id: &ItemId, parent: Ino, name: &str) -> Standing {
        match self.lock().get(id) {
            None => Standing::Plain,
            Some(Some((folder, wanted))) if *folder == parent && fold(wanted) == fold(name) => Standing::Here,
            Some(_) => Standing::Unseen,
        }
    }
}

impl Index {
    /// The journal's word on items: `None` if it has no intent for one any more, else where that wants it, within which
    /// `None` says that it shall not be. Called with the journal locked, before anybody else can look at it.
    pub fn note_wanted(&self, items: impl IntoIterator<Item = (ItemId, Option<Option<(Ino, String)>>)>) {
        let mut places = self.wanted.lock();
        for (id, place) in items {
            match place {
                Some(place) => drop(places.insert(id, place)),
                None => drop(places.remove(&id)),
            }
        }
    }
}

/// What tells an item from its namesakes.
fn number(id: &ItemId) -> &str {
    id.id.rsplit(['!', '.']).next().unwrap_or(&id.id)
}

/// The name under which an item is shown while another one has its own.
fn aside(name: &str, id: &ItemId) -> String {
    let number = number(id);
    match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => format!("{stem} ({number}).{ending}"),
        _ => format!("{name} ({number})"),
    }
}

/// The name to show an item under that the service calls `name`, if that is another; see the table above.
pub(super) fn shown(
    txn: &Txn<'_>,
    old: Option<&Row>,
    id: &ItemId,
    parent: Ino,
    name: &str,
) -> IndexResult<Option<String>> {
    let Some(wanted) = txn.namesakes.filter(|_| parent.0 != NOWHERE) else { return Ok(None) };
    let holder = child(txn.sql, txn.drive, parent, name)?.filter(|holder| holder.id != *id);
    let Some(holder) = holder else { return Ok(None) };
    let other = aside(name, id);
    let stands_aside = || old.is_some_and(|old| old.parent == parent && old.name == other);
    let steps_aside = match wanted.standing(id, parent, name) {
        Standing::Unseen => true,
        Standing::Here => false,
        Standing::Plain => wanted.standing(&holder.id, parent, name) == Standing::Here || stands_aside(),
    };
    Ok(steps_aside.then_some(other))
}

/// Shows an item under another name, because its own goes to another one.
pub(super) fn step_aside(txn: &mut Txn<'_>, ino: Ino) -> IndexResult<()> {
    let Some(row) = by_ino(txn.sql, txn.drive, ino)? else { return Ok(()) };
    let mut name = aside(&row.name, &row.id);
    while has(txn, row.parent, &name, ino)? {
        name = aside(&name, &row.id);
    }
    rename(txn, row, name)
}

/// A name has become free: whoever stood aside for it gets it back.
pub(super) fn come_back(txn: &mut Txn<'_>, parent: Ino, name: &str) -> IndexResult<()> {
    let Some(wanted) = txn.namesakes else { return Ok(()) };
    if parent.0 == NOWHERE || has(txn, parent, name, Ino(0))? {
        return Ok(());
    }
    if !txn.aside.contains_key(&parent) {
        let found = all_aside(txn, parent)?;
        txn.aside.insert(parent, found);
    }
    let waiting = txn.aside.get(&parent).and_then(|aside| aside.get(name)).cloned();
    let mut unseen = None;
    for ino in waiting.unwrap_or_default() {
        let Some(row) = by_ino(txn.sql, txn.drive, ino)? else { continue };
        if row.parent != parent || row.name != aside(name, &row.id) {
            continue;
        }
        if wanted.standing(&row.id, parent, name) != Standing::Unseen {
            return rename(txn, row, name.to_owned());
        }
        unseen = unseen.or(Some(row));
    }
    unseen.map_or(Ok(()), |row| rename(txn, row, name.to_owned()))
}

/// The names that an item of this name may stand aside for.
fn waits_for(name: &str, id: &ItemId) -> Vec<String> {
    let mark = format!(" ({})", number(id));
    let without = |(at, _): (usize, &str)| format!("{}{}", &name[..at], &name[at + mark.len()..]);
    name.match_indices(&mark).map(without).filter(|other| aside(other, id) == name).collect()
}

impl Row {
    /// Its name without what tells it from a namesake: it says where the service has it, and does not change when another
    /// item of its name comes or goes.
    pub fn plain_name(&self) -> String {
        let mut plain = self.name.clone();
        while let Some(other) = waits_for(&plain, &self.id).pop() {
            plain = other;
        }
        plain
    }
}

/// Who may stand aside in a folder. One look at all that is in it, in each transaction: when a large folder is emptied, a
/// look for each that goes would take minutes.
fn all_aside(txn: &Txn<'_>, parent: Ino) -> IndexResult<Aside> {
    let mut query = txn.sql.prepare_cached("SELECT ino, id, name FROM items WHERE parent = ?1")?;
    let mut rows = query.query([parent.0 as i64])?;
    let mut found = Aside::new();
    while let Some(row) = rows.next()? {
        let (ino, name): (i64, String) = (row.get(0)?, row.get(2)?);
        if name.contains(" (") {
            let key = unpack(row.get_ref(1)?).ok_or_else(damaged)?;
            add(&mut found, Ino(ino as u64), &name, &id_of(txn.drive, key));
        }
    }
    Ok(found)
}

fn add(known: &mut Aside, ino: Ino, name: &str, id: &ItemId) {
    for other in waits_for(name, id) {
        known.entry(other).or_default().insert(ino);
    }
}

/// A row has this name now.
pub(super) fn note(txn: &mut Txn<'_>, parent: Ino, ino: Ino, name: &str, id: &ItemId) {
    if let Some(known) = txn.aside.get_mut(&parent) {
        add(known, ino, name, id);
    }
}

fn has(txn: &Txn<'_>, parent: Ino, name: &str, but: Ino) -> IndexResult<bool> {
    let wanted = fold(name);
    let mut query = txn.sql.prepare_cached("SELECT name FROM items WHERE parent = ?1 AND fold = ?2 AND ino <> ?3")?;
    let names = query.query_map([parent.0 as i64, fold_sum(name), but.0 as i64], |row| row.get::<_, String>(0))?;
    for name in names {
        if fold(&name?) == wanted {
            return Ok(true);
        }
    }
    Ok(false)
}

fn rename(txn: &mut Txn<'_>, row: Row, name: String) -> IndexResult<()> {
    let kind = match row.kind {
        ItemKind::File => 0,
        ItemKind::Folder => 1,
        ItemKind::Closed => 2,
    };
    let (key, link_to) = (key_of(txn.drive, &row.id), row.link_to.as_ref().map(|id| key_of(txn.drive, id)));
    let sum = row_sum(
        (&key, &name, &row.meta_tag.0),
        (kind, row.size as i64, row.modified.0, row.created.0, row.changed.0),
        (row.content_tag.as_ref().map(|tag| tag.0.as_str()), link_to.as_deref()),
        (row.ino, row.parent, row.complete),
    );
    txn.sql.prepare_cached("UPDATE items SET fold = ?2, name = ?3, sum = ?4 WHERE ino = ?1")?.execute(params![
        row.ino.0 as i64,
        fold_sum(&name),
        name,
        sum
    ])?;
    note(txn, row.parent, row.ino, &name, &row.id);
    let what = What::Moved { from: row.parent, name: row.name };
    txn.notices.push(Notice { ino: row.ino, parent: row.parent, name, what });
    Ok(())
}
