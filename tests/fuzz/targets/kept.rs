//! What the agent itself has written, and what became of it on a disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use state::journal::{Entry, OpenOperation, Operation};
use state::ledger::{Ledger, LedgerError, Store};
use state::name::StackName;
use state::record::{Act, Change, StackRecord};
use state::release::Author;
use state::time::Moment;

/// The life of a stack, with every change in it, as the ledger keeps it.
const LIFE: &[u8] = include_bytes!("../corpus/journal/life.json");

fn stack() -> StackName {
    "shop".parse().unwrap()
}

/// A record of the ledger is refused, or is the same when it is written again; what may follow is decided for any.
pub(crate) fn journal(data: &[u8]) {
    if let Ok(changes) = serde_json::from_slice::<Vec<Change>>(data) {
        same(&changes);
        let mut record = StackRecord::new(stack());
        for change in &changes {
            let before = record.clone();
            if record.apply(change).is_err() {
                assert!(
                    record == before,
                    "a change that cannot be made changes nothing: {change:?}"
                );
            }
        }
        decided(&record);
        same(&record);
    }
    if let Ok((operation, entries)) = serde_json::from_slice::<(Operation, Vec<Entry>)>(data) {
        same(&(operation.clone(), entries.clone()));
        if let Ok(open) = OpenOperation::replay(operation, entries) {
            let _ = open.next_move();
        }
    }
}

/// Written and read again it is the same.
fn same<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq>(it: &T) {
    let text = serde_json::to_vec(it).unwrap();
    let again: T = serde_json::from_slice(&text).unwrap_or_else(|e| {
        panic!(
            "what was written cannot be read: {e}: {}",
            String::from_utf8_lossy(&text)
        )
    });
    assert!(again == *it, "it is another: {}", String::from_utf8_lossy(&text));
}

/// Whatever is in a record, there is an answer.
fn decided(record: &StackRecord) {
    if let Some(open) = &record.operation {
        let _ = open.next_move();
        let _ = open.is_past_return();
    }
    let _ = state::rollback::target(record, &BTreeMap::new());
    let now = Moment {
        wall_ms: 1_700_000_000_000,
        boot_ms: 1_000,
        boot_id: "5d1b".into(),
    };
    let hour = std::time::Duration::from_secs(3600);
    if let Some(surplus) = state::retention::surplus(record, hour, &now) {
        let mut after = record.clone();
        let done = after.apply(&Change::Collect(Box::new(surplus)));
        assert!(done.is_ok(), "what nothing needs can be forgotten: {done:?}");
    }
}

/// A ledger on which a disk, or somebody, has been at work: it opens, or says that it is damaged and is left as
/// it is. Each five bytes are one harm: what, where in three bytes, and a byte.
pub(crate) fn ledger(data: &[u8]) {
    let mut database = whole().clone();
    for harm in data.chunks_exact(5).take(64) {
        let at = usize::from(harm[1]) << 16 | usize::from(harm[2]) << 8 | usize::from(harm[3]);
        let at = at % database.len().max(1);
        match (harm[0] % 4, database.get_mut(at)) {
            (0, _) => database.truncate(at),
            (1, Some(byte)) => *byte ^= harm[4] | 1,
            (2, Some(_)) => database[at..]
                .iter_mut()
                .take(usize::from(harm[4]))
                .for_each(|b| *b = 0),
            (_, Some(byte)) => *byte = harm[4],
            (_, None) => {}
        }
    }
    let dir = scratch();
    let path = dir.path().join("ledger.db");
    std::fs::write(&path, &database).unwrap();
    match Ledger::open(dir.path()) {
        Ok(ledger) => look_around(&ledger),
        Err(LedgerError::Damaged { .. } | LedgerError::Newer { .. }) => {
            assert!(
                std::fs::read(&path).unwrap() == database,
                "what is damaged is left as it is"
            );
        }
        Err(other) => drop(other.to_string()),
    }
}

/// Each answer is one, or an error.
fn look_around(ledger: &Ledger) {
    let stack = stack();
    let loaded = ledger.load(&stack);
    if let Ok(record) = &loaded {
        decided(record);
    }
    let _ = (
        ledger.stacks(),
        ledger.acts(&stack, 10),
        ledger.operations(&stack, 10),
    );
    let _ = (
        ledger.identity(),
        ledger.last_valid("desired.toml"),
        ledger.next_operation_id(),
    );
    let act = Act {
        by: Author::Agent,
        at: Moment {
            wall_ms: 0,
            boot_ms: 0,
            boot_id: "5d1b".into(),
        },
        what: String::from("retry"),
        why: None,
    };
    let written = ledger.commit(&stack, &[Change::Act(Box::new(act.clone()))]);
    if written.is_ok() && loaded.is_ok() {
        let acts = ledger.acts(&stack, 10_000);
        assert!(
            acts.is_err() || acts.is_ok_and(|acts| acts.contains(&act)),
            "what was written is there"
        );
    }
}

/// In memory, where there is such a place: a disk would be asked to sync each time.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() {
        PathBuf::from(memory)
    } else {
        std::env::temp_dir()
    };
    tempfile::tempdir_in(place).unwrap()
}

/// The database of a ledger that has seen that life.
fn whole() -> &'static Vec<u8> {
    static WHOLE: OnceLock<Vec<u8>> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let changes: Vec<Change> = serde_json::from_slice(LIFE).unwrap();
        let dir = scratch();
        let ledger = Ledger::open(dir.path()).unwrap();
        for change in changes {
            ledger.commit(&stack(), &[change]).unwrap();
        }
        drop(ledger);
        std::fs::read(dir.path().join("ledger.db")).unwrap()
    })
}
