//! What is not as it was written is an error that says so, and is left as it is.

use std::fs;
use std::path::Path;

use super::life::{life, stack};
use crate::ledger::{Ledger, LedgerError, Store};
use crate::name::Digest;
use crate::record::StackRecord;

fn lived(dir: &Path) -> StackRecord {
    let ledger = Ledger::open(dir).unwrap();
    for batch in life() {
        ledger.commit(&stack(), &batch).unwrap();
    }
    ledger.load(&stack()).unwrap()
}

/// Does `harm` to a state directory that has seen something; opening and loading must fail as
/// `expected` says, twice, and leave the database as it is.
#[track_caller]
fn check(harm: impl Fn(&Path), expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    lived(dir.path());
    harm(dir.path());
    let database = dir.path().join("ledger.db");
    let harmed = fs::read(&database).ok();
    for _ in 0..2 {
        let error = Ledger::open(dir.path())
            .and_then(|l| l.load(&stack()).map(drop))
            .unwrap_err();
        assert!(
            matches!(error, LedgerError::Damaged { .. } | LedgerError::Newer { .. }),
            "{error:?}"
        );
        let text = error
            .to_string()
            .replace(&dir.path().display().to_string(), "DIR");
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(fs::read(&database).ok(), harmed, "the file is kept");
    }
}

fn sql(dir: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(dir.join("ledger.db")).unwrap();
    connection.execute_batch(sql).unwrap();
}

#[test]
fn a_damaged_database_is_refused_and_kept() {
    let write = |bytes: &'static [u8]| move |dir: &Path| fs::write(dir.join("ledger.db"), bytes).unwrap();
    check(
        write(b""),
        "DIR/ledger.db is damaged: it is not a ledger of steadfast",
    );
    check(
        write(&[7; 9000]),
        "DIR/ledger.db is damaged: file is not a database",
    );
    check(
        |dir| {
            let path = dir.join("ledger.db");
            let mut bytes = fs::read(&path).unwrap();
            for page in bytes.chunks_mut(4096).skip(1) {
                page[..64].fill(0xff);
            }
            fs::write(path, bytes).unwrap();
        },
        "DIR/ledger.db is damaged: ",
    );
    check(
        |dir| {
            let path = dir.join("ledger.db");
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        },
        "DIR/ledger.db is damaged: ",
    );
    check(
        |dir| fs::remove_file(dir.join("ledger.db")).unwrap(),
        "DIR/ledger.db is damaged: it is gone, though host.key is there",
    );
    check(
        |dir| {
            fs::remove_file(dir.join("ledger.db")).unwrap();
            fs::create_dir(dir.join("ledger.db")).unwrap();
        },
        "DIR/ledger.db is damaged: it is not a regular file",
    );
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    check(
        |dir| sql(dir, "PRAGMA user_version = 4"),
        "DIR/ledger.db has schema version 4, this steadfast knows versions up to 3",
    );
    check(
        |dir| sql(dir, "PRAGMA user_version = -1"),
        "DIR/ledger.db is damaged: its schema version is -1",
    );
    check(
        |dir| sql(dir, "PRAGMA application_id = 1"),
        "DIR/ledger.db is damaged: it is not a ledger of steadfast",
    );
}

#[test]
fn rows_that_make_no_sense_are_an_error_not_a_panic() {
    for (harm, expected) in [
        (
            "UPDATE stack SET value = '{'",
            "a value of table stack cannot be read: Eof",
        ),
        (
            "UPDATE generation SET value = '{\"number\":\"SECRET\"}'",
            "a value of table generation cannot be read: Data",
        ),
        (
            "UPDATE health SET format = 2",
            "a value of table health has the unknown format 2",
        ),
        (
            "DELETE FROM journal WHERE operation = 7; UPDATE operation SET value = '1' WHERE id = 7",
            "a value of table operation cannot be read: Data",
        ),
        (
            "UPDATE journal SET value = '{\"started\":{\"index\":2}}' WHERE operation = 7",
            "the journal of operation 7: ",
        ),
        (
            "UPDATE adopted SET container = '!'",
            "\"!\" is not a valid container id",
        ),
        ("UPDATE stack SET current = -1", "-1 is not a number of ours"),
        ("DELETE FROM meta", "it has no identity"),
    ] {
        check(
            |dir| sql(dir, harm),
            &format!("DIR/ledger.db is damaged: {expected}"),
        );
    }
}

#[test]
fn a_damaged_or_missing_key_is_refused() {
    check(
        |dir| fs::write(dir.join("host.key"), b"short").unwrap(),
        "DIR/host.key is damaged: it has 5 bytes instead of 32",
    );
    check(
        |dir| fs::remove_file(dir.join("host.key")).unwrap(),
        "DIR/host.key is damaged: it is gone, and what it keyed is not",
    );
}

#[test]
fn a_first_start_that_was_interrupted_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    // Between database and key; and in the middle of writing each.
    drop(Ledger::open(dir.path()).unwrap());
    fs::remove_file(dir.path().join("host.key")).unwrap();
    fs::write(dir.path().join("host.key.new"), b"half").unwrap();
    fs::write(dir.path().join("reserve.new"), b"half").unwrap();
    drop(Ledger::open(dir.path()).unwrap());
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ledger.db.new"), b"half").unwrap();
    fs::write(dir.path().join("ledger.db.new-journal"), b"half").unwrap();
    let record = lived(dir.path());
    assert_eq!(Ledger::open(dir.path()).unwrap().load(&stack()).unwrap(), record);
}

#[test]
fn a_second_agent_is_refused_and_told_who_the_first_is() {
    let dir = tempfile::tempdir().unwrap();
    let first = Ledger::open(dir.path()).unwrap();
    let error = Ledger::open(dir.path()).unwrap_err();
    let pid = std::process::id();
    assert!(
        matches!(error, LedgerError::InUse { pid: Some(p), .. } if p == pid),
        "{error}"
    );
    drop(first);
    Ledger::open(dir.path()).unwrap();
}

#[test]
fn a_corrupt_object_is_told_from_a_missing_one_and_can_be_put_again() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path()).unwrap();
    let digest = ledger.put_object(b"A=1\n").unwrap();
    let path = dir
        .path()
        .join("objects")
        .join(&digest.as_str()[..2])
        .join(digest.as_str());
    fs::write(&path, b"A=2\n").unwrap();
    let error = ledger.object(&digest).unwrap_err();
    assert!(
        matches!(&error, LedgerError::CorruptObject { digest: d } if *d == digest),
        "{error}"
    );
    ledger.put_object(b"A=1\n").unwrap();
    assert_eq!(ledger.object(&digest).unwrap().unwrap(), b"A=1\n");

    ledger.keep_valid("desired.toml", b"[shop]").unwrap();
    let kept = Digest::of(b"[shop]");
    let path = dir
        .path()
        .join("objects")
        .join(&kept.as_str()[..2])
        .join(kept.as_str());
    fs::write(&path, b"").unwrap();
    assert!(matches!(
        ledger.last_valid("desired.toml"),
        Err(LedgerError::CorruptObject { .. })
    ));
    fs::remove_file(&path).unwrap();
    assert!(matches!(
        ledger.last_valid("desired.toml"),
        Err(LedgerError::Damaged { .. })
    ));
}
