//! Ledgers of every version that was ever released are read. Each is kept here as SQL.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use rusqlite::Connection;

use super::life::{life, stack};
use crate::ledger::{Ledger, Store};
use crate::record::StackRecord;

const IDENTITY: &str = "00112233445566778899aabbccddeeff";

#[test]
fn version_1_is_read_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    drop(Ledger::open(dir.path()).unwrap());
    let path = dir.path().join("ledger.db");
    if std::env::var_os("WRITE_LEDGER_FIXTURE").is_some() {
        write_fixture(dir.path());
    }
    fs::remove_file(&path).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ledger/tests/ledger_1.sql");
    let sql = fs::read_to_string(fixture).unwrap();
    Connection::open(&path).unwrap().execute_batch(&sql).unwrap();

    let ledger = Ledger::open(dir.path()).unwrap();
    let mut expected = StackRecord::new(stack());
    for change in life().iter().flatten() {
        expected.apply(change).unwrap();
    }
    assert_eq!(ledger.load(&stack()).unwrap(), expected);
    assert_eq!(ledger.identity(), IDENTITY);
    assert_eq!(ledger.operations(&stack(), 9).unwrap().len(), 2);
    assert_eq!(ledger.acts(&stack(), 9).unwrap().len(), 2);
    assert_eq!(ledger.next_operation_id().unwrap(), 8);
}

/// Writes the fixture of the version that is being made. Once that is released, its fixture stays
/// as it is, and a change of what is stored gets a format or a migration of its own.
fn write_fixture(dir: &Path) {
    let ledger = Ledger::open(dir).unwrap();
    for batch in life() {
        ledger.commit(&stack(), &batch).unwrap();
    }
    drop(ledger);
    let connection = Connection::open(dir.join("ledger.db")).unwrap();
    let sql = format!("UPDATE meta SET value = '{IDENTITY}'");
    connection.execute(&sql, []).unwrap();
    let mut text = String::from("-- A ledger of version 1 with the life of a stack in it.\n");
    for pragma in ["application_id", "user_version"] {
        let value: i64 = connection.pragma_query_value(None, pragma, |r| r.get(0)).unwrap();
        writeln!(text, "PRAGMA {pragma} = {value};").unwrap();
    }
    let ours = "FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY rowid";
    for statement in strings(&connection, &format!("SELECT sql {ours}")) {
        writeln!(text, "{statement};").unwrap();
    }
    for table in strings(
        &connection,
        &format!("SELECT iif(type = 'table', name, NULL) {ours}"),
    ) {
        let columns = format!("SELECT 'quote(' || name || ')' FROM pragma_table_info('{table}')");
        let row = strings(&connection, &columns).join(" || ', ' || ");
        for row in strings(&connection, &format!("SELECT {row} FROM {table}")) {
            writeln!(text, "INSERT INTO {table} VALUES ({row});").unwrap();
        }
    }
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ledger/tests/ledger_1.sql");
    fs::write(fixture, text).unwrap();
}

fn strings(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement
        .query_map([], |row| row.get::<_, Option<String>>(0))
        .unwrap();
    rows.filter_map(Result::unwrap).collect()
}
