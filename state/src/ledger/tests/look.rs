//! Looking at a state directory, and deciding over it: nothing below is changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::life::{act, life, request, stack};
use crate::ledger::{Ledger, LedgerError, Overlay, Store};
use crate::record::{Change, StackRecord};

fn lived(dir: &Path) -> (Ledger, StackRecord) {
    let ledger = Ledger::open(dir).unwrap();
    for batch in life() {
        ledger.commit(&stack(), &batch).unwrap();
    }
    ledger.put_object(b"spec").unwrap();
    let record = ledger.load(&stack()).unwrap();
    (ledger, record)
}

/// Every file below `dir`, with its content.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

#[track_caller]
fn check(dir: &Path, expected: &StackRecord, live: bool) {
    let before = files(dir);
    let seen = Ledger::look(dir).unwrap().unwrap();
    assert_eq!(seen.load(&stack()).unwrap(), *expected);
    assert_eq!(seen.operations(&stack(), 9).unwrap().len(), 2);
    let digest = crate::name::Digest::of(b"spec");
    assert_eq!(seen.object(&digest).unwrap().as_deref(), Some(&b"spec"[..]));
    let refused = [
        seen.commit(&stack(), &[act("pause")]).unwrap_err(),
        seen.next_operation_id().unwrap_err(),
        seen.put_object(b"other").unwrap_err(),
        seen.keep_valid("desired.toml", b"").unwrap_err(),
        seen.release_reserve().unwrap_err(),
        seen.ensure_reserve().unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, LedgerError::OnlyLookedAt { .. }), "{error}");
    }
    drop(seen);
    let after = files(dir);
    assert!(after.keys().eq(before.keys()), "{:?}", after.keys());
    for (path, bytes) in before {
        // Within one process SQLite shares the index of the write-ahead log, whoever opened it first.
        if !live || !path.ends_with("ledger.db-shm") {
            assert!(after[&path] == bytes, "{} was changed", path.display());
        }
    }
}

#[test]
fn what_a_daemon_left_is_read_and_not_touched() {
    let dir = tempfile::Builder::new().prefix("a dir? 100%#").tempdir().unwrap();
    let (ledger, record) = lived(dir.path());
    // While it is open, without its lock.
    check(dir.path(), &record, true);
    // As a kill leaves it: the newest of it is in the write-ahead log alone.
    let killed = tempfile::tempdir().unwrap();
    for (path, bytes) in files(dir.path()) {
        let to = killed.path().join(path.strip_prefix(dir.path()).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
    assert!(killed.path().join("ledger.db-wal").metadata().unwrap().len() > 0);
    check(killed.path(), &record, false);
    // In good order.
    drop(ledger);
    assert!(!dir.path().join("ledger.db-wal").exists());
    check(dir.path(), &record, false);
}

#[test]
fn what_was_never_kept_is_told_from_what_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (missing, state) = (dir.path().join("missing"), dir.path().join("state"));
    assert!(Ledger::look(&missing).unwrap().is_none() && !missing.exists());
    drop(lived(&state));
    fs::rename(state.join("host.key"), state.join("elsewhere")).unwrap();
    let error = Ledger::look(&state).unwrap_err();
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
    fs::rename(state.join("elsewhere"), state.join("host.key")).unwrap();
    fs::remove_file(state.join("ledger.db")).unwrap();
    let error = Ledger::look(&state).unwrap_err();
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
}

#[test]
fn what_is_written_over_a_ledger_does_not_get_into_it() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, record) = lived(dir.path());
    let below: Arc<dyn Store> = Arc::new(ledger);
    let above = Overlay::new(Arc::clone(&below));
    assert_eq!(above.load(&stack()).unwrap(), record);
    let change = Change::Accept(Box::new(request(9)));
    let mut expected = record.clone();
    expected.apply(&change).unwrap();
    above.commit(&stack(), &[change]).unwrap();
    let digest = above.put_object(b"new").unwrap();
    assert_eq!(above.load(&stack()).unwrap(), expected);
    assert_eq!(above.object(&digest).unwrap().as_deref(), Some(&b"new"[..]));
    assert_eq!(below.load(&stack()).unwrap(), record);
    assert_eq!(below.object(&digest).unwrap(), None);
}
