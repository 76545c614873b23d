//! What was committed is what is loaded, in the same process and in the next one.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use super::life::{
    act, at, generation, give, import, journal, life, operation, place, quarantine, request, seen_file,
    stack, success,
};
use crate::journal::{Event, OpenOperation};
use crate::ledger::{KEPT_ACTS, KEPT_OPERATIONS, Ledger, LedgerError, MemoryStore, Store};
use crate::name::{Digest, StackName};
use crate::record::{Change, StackRecord};
use crate::release::{Blame, GenerationNumber, Verdict};
use crate::retention::Surplus;

#[test]
fn a_life_survives_a_reopen_after_every_batch() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = StackRecord::new(stack());
    assert_eq!(
        Ledger::open(dir.path()).unwrap().load(&stack()).unwrap(),
        expected
    );
    for batch in life() {
        let ledger = Ledger::open(dir.path()).unwrap();
        assert_eq!(
            ledger.load(&stack()).unwrap(),
            expected,
            "reopened before {batch:?}"
        );
        ledger.commit(&stack(), &batch).unwrap();
        for change in &batch {
            expected.apply(change).unwrap();
        }
        assert_eq!(ledger.load(&stack()).unwrap(), expected);
    }
    let ledger = Ledger::open(dir.path()).unwrap();
    assert_eq!(ledger.load(&stack()).unwrap(), expected);
    let open = expected.operation.unwrap();
    assert_eq!((open.operation.id, open.events.len()), (7, 1));
    assert_eq!(
        expected.quarantine[0].blame,
        Blame::Configuration {
            env: Some(None),
            config: None
        }
    );
}

#[test]
fn what_is_known_of_files_is_written_whatever_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = StackRecord::new(stack());
    let changes = [
        place(2, 1),
        place(1, 4),
        seen_file(4),
        import(3),
        place(4, 3),
        give(4, 3),
    ];
    for change in changes {
        let ledger = Ledger::open(dir.path()).unwrap();
        ledger.commit(&stack(), std::slice::from_ref(&change)).unwrap();
        expected.apply(&change).unwrap();
        drop(ledger);
        let again = Ledger::open(dir.path()).unwrap().load(&stack()).unwrap();
        assert_eq!(again, expected, "after {change:?}");
    }
    assert_eq!((expected.placed.len(), expected.imported.len()), (1, 1));
    assert!(expected.replaced.len() > 1);
}

/// Runs the same rows over both kinds of store.
fn check_both(check: impl Fn(&dyn Store)) {
    check(&MemoryStore::new());
    let dir = tempfile::tempdir().unwrap();
    check(&Ledger::open(dir.path()).unwrap());
}

fn live(store: &dyn Store) {
    for batch in life() {
        store.commit(&stack(), &batch).unwrap();
    }
}

#[test]
fn history_is_told_newest_first() {
    check_both(|store| {
        live(store);
        let acts: Vec<_> = store
            .acts(&stack(), 9)
            .unwrap()
            .into_iter()
            .map(|a| a.what)
            .collect();
        assert_eq!(acts, ["rollback", "pause"]);
        assert_eq!(store.acts(&stack(), 1).unwrap().len(), 1);
        let ended = store.operations(&stack(), 9).unwrap();
        let ids: Vec<_> = ended.iter().map(|o| o.operation.id).collect();
        assert_eq!(ids, [4, 1]);
        assert_eq!(ended[1], OpenOperation::replay(operation(1), success()).unwrap());
        assert_eq!(store.operations(&"other".parse().unwrap(), 9).unwrap(), []);
        assert_eq!(store.stacks().unwrap(), [stack()]);
    });
}

#[test]
fn a_batch_is_applied_whole_or_not_at_all() {
    check_both(|store| {
        live(store);
        let before = store.load(&stack()).unwrap();
        let impossible = [act("retry"), Change::SetCurrent(GenerationNumber(99))];
        let error = store.commit(&stack(), &impossible).unwrap_err();
        assert!(matches!(error, LedgerError::Impossible { .. }), "{error}");
        assert_eq!(store.load(&stack()).unwrap(), before);
        assert_eq!(store.acts(&stack(), 9).unwrap().len(), 2);

        let second = [Change::Open(operation(8).into())];
        let error = store.commit(&stack(), &second).unwrap_err();
        assert!(matches!(error, LedgerError::Impossible { .. }), "{error}");

        let other = "other".parse().unwrap();
        let error = store.commit(&other, &[act("x"), Change::Open(operation(4).into())]);
        assert!(matches!(error.unwrap_err(), LedgerError::OperationTaken(4)));
        assert_eq!(store.load(&other).unwrap(), StackRecord::new(other.clone()));
        assert_eq!(store.stacks().unwrap(), [stack()]);
    });
}

#[test]
fn stacks_are_apart() {
    check_both(|store| {
        live(store);
        let other = "another".parse().unwrap();
        store.commit(&other, &[act("retry")]).unwrap();
        store.commit(&other, &[]).unwrap();
        store.commit(&"unseen".parse().unwrap(), &[]).unwrap();
        assert_eq!(store.load(&other).unwrap(), StackRecord::new(other.clone()));
        assert_eq!(store.acts(&other, 9).unwrap().len(), 1);
        assert_eq!(store.stacks().unwrap(), [other, stack()]);
    });
}

#[test]
fn operation_ids_are_never_given_twice() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Ledger::open(dir.path()).unwrap();
    assert_eq!(open().next_operation_id().unwrap(), 1);
    assert_eq!(open().next_operation_id().unwrap(), 2);
    live(&open());
    assert_eq!(open().next_operation_id().unwrap(), 8);
    let memory = MemoryStore::new();
    live(&memory);
    assert_eq!(memory.next_operation_id().unwrap(), 8);
}

#[test]
fn only_the_newest_history_is_kept() {
    check_both(|store| {
        let operations = u64::from(KEPT_OPERATIONS) + 3;
        for id in 1..=operations {
            let mut batch = vec![Change::Open(operation(id).into())];
            batch.extend(journal(success()));
            store.commit(&stack(), &batch).unwrap();
        }
        let ended = store.operations(&stack(), u32::MAX).unwrap();
        assert_eq!(ended.len(), KEPT_OPERATIONS as usize);
        assert_eq!(ended[0].operation.id, operations);
        assert!(ended.iter().all(|o| *o.events == success()));

        let acts: Vec<_> = (0..KEPT_ACTS + 5).map(|n| act(&n.to_string())).collect();
        store.commit(&stack(), &acts).unwrap();
        let acts = store.acts(&stack(), u32::MAX).unwrap();
        assert_eq!(acts.len(), KEPT_ACTS as usize);
        assert_eq!(acts[0].what, (KEPT_ACTS + 4).to_string());
    });
}

#[test]
fn operations_and_journals_of_other_stacks_outlive_retention() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path()).unwrap();
    let other = "other".parse().unwrap();
    ledger
        .commit(&other, &[Change::Open(operation(1).into())])
        .unwrap();
    ledger.commit(&other, &journal(success())).unwrap();
    ledger
        .commit(&stack(), &[Change::Open(operation(2).into())])
        .unwrap();
    for id in 3..u64::from(KEPT_OPERATIONS) + 9 {
        ledger
            .commit(&other, &[Change::Open(operation(id).into())])
            .unwrap();
        ledger.commit(&other, &journal(success())).unwrap();
    }
    assert_eq!(ledger.load(&stack()).unwrap().operation.unwrap().operation.id, 2);
}

#[test]
fn objects_and_last_valid_files_are_kept() {
    check_both(|store| {
        let digest = store.put_object(b"A=1\n").unwrap();
        assert_eq!(digest, Digest::of(b"A=1\n"));
        assert_eq!(store.put_object(b"A=1\n").unwrap(), digest);
        assert_eq!(store.object(&digest).unwrap().unwrap(), b"A=1\n");
        assert_eq!(store.object(&Digest::of(b"never")).unwrap(), None);
        assert_eq!(store.last_valid("desired.toml").unwrap(), None);
        store.keep_valid("desired.toml", b"one").unwrap();
        store.keep_valid("desired.toml", b"two").unwrap();
        store.keep_valid("desired.toml", b"two").unwrap();
        store.keep_valid("/etc/../steadfast.toml", b"").unwrap();
        assert_eq!(store.last_valid("desired.toml").unwrap().unwrap(), b"two");
        assert_eq!(store.last_valid("/etc/../steadfast.toml").unwrap().unwrap(), b"");
    });
}

/// Twice unreferred, and gone; what any stack or any watched file refers to never is.
#[test]
fn objects_go_when_nothing_refers_to_them_and_not_at_once() {
    check_both(|store| {
        let put = |bytes: &[u8]| store.put_object(bytes).unwrap();
        let there = |digest: &Digest| store.object(digest).unwrap().is_some();
        let (stray, late) = (put(b"stray"), put(b"late"));
        // The request, the generations and their releases of `life` refer to these.
        let needed = [put(b"spec"), put(b"config"), put(b"env")];
        live(store);
        let other: StackName = "other".parse().unwrap();
        let mut asked = request(3);
        asked.spec = put(b"other spec");
        store
            .commit(&other, &[Change::Accept(Box::new(asked.clone()))])
            .unwrap();
        store.keep_valid("desired.toml", b"[shop]").unwrap();

        assert_eq!(store.collect_objects().unwrap(), 0);
        assert!(there(&stray) && there(&late));
        // Put anew, because something is about to refer to it.
        put(b"late");
        assert_eq!(store.collect_objects().unwrap(), 1);
        assert!(!there(&stray) && there(&late));
        for digest in needed.iter().chain([&asked.spec]) {
            assert!(there(digest));
        }
        assert_eq!(store.last_valid("desired.toml").unwrap().unwrap(), b"[shop]");
        // What it referred to stays only as long as it does.
        let gone = asked.spec.clone();
        asked.spec = put(b"spec");
        store.commit(&other, &[Change::Accept(Box::new(asked))]).unwrap();
        assert_eq!(store.collect_objects().unwrap(), 1);
        assert!(!there(&late) && there(&gone));
        assert_eq!(store.collect_objects().unwrap(), 1);
        assert!(!there(&gone));
        assert_eq!(put(b"stray"), stray);
        assert!(there(&stray));
    });
}

#[test]
fn what_is_no_object_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path()).unwrap();
    let stray = ledger.put_object(b"stray").unwrap();
    let objects = dir.path().join("objects");
    let strange = [
        objects.join("notes"),
        objects.join(&stray.as_str()[..2]).join("notes"),
    ];
    for path in &strange {
        std::fs::write(path, b"mine").unwrap();
    }
    assert_eq!(ledger.collect_objects().unwrap(), 0);
    assert_eq!(ledger.collect_objects().unwrap(), 1);
    assert!(strange.iter().all(|path| path.exists()));
    assert_eq!(ledger.object(&stray).unwrap(), None);
}

#[test]
fn a_generation_that_is_forgotten_is_gone_for_the_next_process_too() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path()).unwrap();
    let begin = |n| Change::Begin(generation(n).into());
    ledger
        .commit(&stack(), &[begin(1), begin(2), begin(3), begin(4)])
        .unwrap();
    let surplus = Surplus {
        generations: [GenerationNumber(1), GenerationNumber(3)].into(),
        rollbacks: 0,
        histories: BTreeSet::new(),
    };
    let collect = Change::Collect(Box::new(surplus.clone()));
    let judge = Change::Judge {
        generation: GenerationNumber(2),
        verdict: Verdict::Good,
        at: at(9),
        why: "healthy".into(),
    };
    ledger.commit(&stack(), &[collect, judge, begin(5)]).unwrap();
    let expected = ledger.load(&stack()).unwrap();
    let numbers: Vec<u64> = expected.generations.iter().map(|g| g.number.0).collect();
    assert_eq!(numbers, [2, 4, 5]);
    drop(ledger);
    let ledger = Ledger::open(dir.path()).unwrap();
    assert_eq!(ledger.load(&stack()).unwrap(), expected);
    // One that is needed stays, and so does the rest of the batch.
    let needed = Surplus {
        generations: [GenerationNumber(2)].into(),
        ..surplus
    };
    let batch = [begin(6), Change::Collect(Box::new(needed))];
    let refused = ledger.commit(&stack(), &batch).unwrap_err();
    assert!(matches!(refused, LedgerError::Impossible { .. }), "{refused}");
    assert_eq!(ledger.load(&stack()).unwrap(), expected);
}

#[test]
fn key_and_identity_are_made_once_and_are_random() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let read = |dir: &std::path::Path| {
        let ledger = Ledger::open(dir).unwrap();
        (ledger.identity(), ledger.host_key().env_id(&Digest::of(b"x")))
    };
    let first = read(one.path());
    assert_eq!(read(one.path()), first);
    assert_eq!(first.0.len(), 32);
    let other = read(two.path());
    assert_ne!(other.0, first.0);
    assert_ne!(other.1, first.1);
}

#[test]
fn nothing_in_the_state_directory_is_for_others() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let ledger = Ledger::open(dir.path()).unwrap();
    live(&ledger);
    ledger.put_object(b"SECRET=1").unwrap();
    ledger.keep_valid("env", b"SECRET=1").unwrap();
    let mut todo = vec![dir.path().to_path_buf()];
    let mut files = 0;
    while let Some(path) = todo.pop() {
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!(meta.permissions().mode() & 0o077, 0, "{}", path.display());
        if meta.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else {
            files += 1;
            let holds_secret = std::fs::read(&path).unwrap().windows(6).any(|w| w == b"SECRET");
            assert_eq!(holds_secret, path.starts_with(dir.path().join("objects")));
        }
    }
    // lock, reserve, host.key, ledger.db with -wal and -shm, one object.
    assert_eq!(files, 7);
}

#[test]
fn an_operator_can_read_the_tables() {
    let dir = tempfile::tempdir().unwrap();
    live(&Ledger::open(dir.path()).unwrap());
    let connection = rusqlite::Connection::open(dir.path().join("ledger.db")).unwrap();
    let rows = |sql: &str| {
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>().join("\n")
    };
    let shown = [
        rows(
            "SELECT name || ' ' || tag || ' | ' || standing || ' | ' || current || ' | ' || hold FROM stack",
        ),
        rows(
            "SELECT number || ' ' || tag || ' ' || verdict || ' ' || begun || ' ' || judged FROM generation",
        ),
        rows("SELECT generation || ' ' || tag || ' ' || blame || ' by ' || by || ' ' || at FROM quarantine"),
        rows("SELECT id || ' ' || kind || ' ' || coalesce(ended, 'open') || ' ' || begun FROM operation"),
        rows(
            "SELECT operation || ' ' || event || ' ' || coalesce(step, '') FROM journal WHERE operation > 1",
        ),
        rows("SELECT by || ' ' || what || ' ' || why FROM act"),
    ];
    expect_test::expect![[r"
        shop v1.2.0 | left, generation 2 is in quarantine | 1 | it fails too
        --
        1 v1.1.0 good 2023-11-14T22:13:30Z 2023-11-14T22:14:10Z
        2 v1.2.0 bad 2023-11-14T22:13:40Z 2023-11-14T22:14:10Z
        --
        2 v1.2.0 the env file by steadfast 2023-11-14T22:13:22Z
        --
        1 deploy succeeded 2023-11-14T22:13:21Z
        4 deploy undone 2023-11-14T22:13:24Z
        7 deploy open 2023-11-14T22:13:27Z
        --
        4 started create api-1 from 000000000000, taking over the volume at /data
        4 failed create api-1 from 000000000000, taking over the volume at /data
        4 undo started create api-1 from 000000000000, taking over the volume at /data
        4 undo done create api-1 from 000000000000, taking over the volume at /data
        4 ended 
        7 started create api-1 from 000000000000, taking over the volume at /data
        --
        ann pause because
        ann rollback because"]]
    .assert_eq(&shown.join("\n--\n"));
}

#[test]
fn a_change_that_only_touches_health_writes_only_health() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path()).unwrap();
    live(&ledger);
    let watcher = rusqlite::Connection::open(dir.path().join("ledger.db")).unwrap();
    let rest = || {
        let sql = "SELECT group_concat(value) FROM (SELECT value FROM stack UNION ALL SELECT value FROM generation)";
        watcher.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap()
    };
    let before = rest();
    // A row that is written again would get the value of the record back.
    watcher
        .execute("UPDATE generation SET why = 'untouched'", [])
        .unwrap();
    ledger
        .commit(&stack(), &[Change::Health(Box::new(super::life::health(77)))])
        .unwrap();
    assert_eq!(rest(), before);
    let why: i64 = watcher
        .query_row(
            "SELECT count(*) FROM generation WHERE why = 'untouched'",
            [],
            |r| r.get(0),
        )
        .unwrap();
    assert_eq!(why, 2);
    ledger
        .commit(&stack(), &[quarantine(1, Blame::Whole(Digest::of(b"r")))])
        .unwrap();
    assert_eq!(ledger.load(&stack()).unwrap().quarantine.len(), 2);
    ledger
        .commit(
            &stack(),
            &journal([Event::Started { index: 0 }.at(&super::life::at(1))]),
        )
        .unwrap();
}
