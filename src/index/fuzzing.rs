//! Any bytes as what the file of the index may hold: packed texts, times, whole rows.
//!
//! The disk may give back anything. Always true: what is read is what could have been written, and everything else is
//! called damage, upon which the index is thrown away; no other error, because that one would fail the user's call.

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, params_from_iter};

use super::packed::{Packed, PackedTime, fold_sum, pack, sum_of, unpack, unpack_time};
use super::stored::{id_of, packed_key, row_of, row_sum};
use super::*;

/// How many columns a row has.
const WIDTH: usize = 16;

/// Any bytes as a packed text, and as a row: a line for each column, of which the first character says what it is. If
/// the first line begins with `=`, the checksums are made to fit, so that what lies behind them is reached.
pub(crate) fn row(data: &[u8]) {
    thread_local! {
        static SQL: Option<Connection> = Connection::open_in_memory().ok();
    }
    texts(data);
    let (fitting, lines) = match data.strip_prefix(b"=") {
        Some(rest) => (true, rest),
        None => (false, data),
    };
    let mut columns: Vec<Value> = lines.split(|byte| *byte == b'\n').map(value).take(WIDTH).collect();
    columns.resize(WIDTH, Value::Null);
    if fitting {
        fit(&mut columns);
    }
    SQL.with(|sql| {
        let Some(sql) = sql else { return };
        let places: Vec<String> = (1..=WIDTH).map(|at| format!("?{at}")).collect();
        let drive = DriveId::new("b!drive");
        let read = sql
            .prepare_cached(&format!("SELECT {}", places.join(", ")))
            .and_then(|mut statement| statement.query_row(params_from_iter(&columns), |row| row_of(&drive, row)));
        match read {
            Ok(row) => sound(&drive, &row),
            Err(rusqlite::Error::SqliteFailure(error, _)) => {
                assert_eq!(error.code, rusqlite::ErrorCode::DatabaseCorrupt, "damage is called damage");
            }
            Err(other) => panic!("damage is called damage, not {other:?}"),
        }
    });
}

/// A packed text is always the one that was packed.
fn texts(data: &[u8]) {
    let comes_back = |text: &str| {
        let packed = pack(text);
        let stored = stored(&packed);
        assert_eq!(unpack(stored).as_deref(), Some(text));
        assert_eq!(packed.sum(), sum_of(stored));
    };
    if let Some(text) = unpack(ValueRef::Blob(data)) {
        assert!(text.len() <= data.len() * 36, "a byte stands for few characters");
        comes_back(&text);
    }
    comes_back(&String::from_utf8_lossy(data));
    if let Some(time) = unpack_time(ValueRef::Blob(data)) {
        assert_eq!(time.0.to_be_bytes(), data);
        if time.subsec_nanos() == 0 {
            // Whole seconds are stored as a number.
            assert_eq!(unpack_time(ValueRef::Integer(time.seconds())), Some(time));
        }
    }
}

fn stored(packed: &Packed) -> ValueRef<'_> {
    match packed {
        Packed::Text(text) => ValueRef::Text(text.as_bytes()),
        Packed::Bytes(bytes) => ValueRef::Blob(bytes),
    }
}

fn value(line: &[u8]) -> Value {
    let Some((kind, rest)) = line.split_first() else { return Value::Null };
    let text = String::from_utf8_lossy(rest);
    match kind {
        b'i' => text.parse().map_or(Value::Null, Value::Integer),
        b'r' => text.parse().map_or(Value::Null, Value::Real),
        b't' => Value::Text(text.into_owned()),
        b'p' => match pack(&text) {
            Packed::Text(text) => Value::Text(text),
            Packed::Bytes(bytes) => Value::Blob(bytes),
        },
        b'b' => Value::Blob(rest.to_vec()),
        _ => Value::Null,
    }
}

/// Puts right checksums into a row, as far as it makes sense.
fn fit(columns: &mut [Value]) {
    columns[14] = Value::Integer(sum_of(ValueRef::from(&columns[1])));
    if let Value::Text(name) = &columns[3] {
        columns[15] = Value::Integer(fold_sum(name));
    }
    let text = |at: usize| unpack(ValueRef::from(&columns[at]));
    let number = |at: usize| if let Value::Integer(number) = columns[at] { number } else { 0 };
    let modified = unpack_time(ValueRef::from(&columns[6])).unwrap_or(Timestamp(0));
    let time = |at: usize| match &columns[at] {
        Value::Null => modified,
        stored => unpack_time(ValueRef::from(stored)).unwrap_or(Timestamp(0)),
    };
    let texts = (text(1).unwrap_or_default(), text(3).unwrap_or_default(), text(9).unwrap_or_default());
    let numbers = (number(4), number(5), modified.0, time(7).0, time(8).0);
    let place = (Ino(number(0) as u64), Ino(number(2) as u64), number(11) == 1);
    let sum = row_sum((&texts.0, &texts.1, &texts.2), numbers, (text(10).as_deref(), text(12).as_deref()), place);
    columns[13] = Value::Integer(sum);
}

/// What was accepted can be stored again, and is the same then.
fn sound(drive: &DriveId, row: &Row) {
    let key = packed_key(drive, &row.id);
    let again = unpack(stored(&key)).map(|key| id_of(drive, key));
    assert_eq!(again.as_ref(), Some(&row.id), "an identity is found again");
    for time in [row.modified, row.created, row.changed] {
        let packed = PackedTime(time);
        let stored = rusqlite::ToSql::to_sql(&packed).expect("invariant: a time can be stored");
        let rusqlite::types::ToSqlOutput::Owned(stored) = stored else { panic!("a time is stored as itself") };
        assert_eq!(unpack_time(ValueRef::from(&stored)), Some(time));
        let _ = time.to_system_time();
    }
}
