//! kill -9 in the middle of writing: what was acknowledged is there, what was not is there whole or
//! not at all, and the ledger opens.

#![allow(clippy::unwrap_used)]
// A process is started and killed after a while.
#![allow(clippy::disallowed_methods)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use steadfast_state::health::HealthRecord;
use steadfast_state::journal::{Ending, Event, Kind, Operation};
use steadfast_state::ledger::{Ledger, Store};
use steadfast_state::name::{Digest, StackName};
use steadfast_state::plan::Plan;
use steadfast_state::record::{Act, Change};
use steadfast_state::release::Author;
use steadfast_state::time::Moment;

const CHILD: &str = "STEADFAST_CRASH_TEST_DIR";
const NAME: &str = "kill_9_loses_nothing_that_was_acknowledged";
const ROUNDS: u64 = 40;
const BOUND: Duration = Duration::from_secs(20);

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    if let Some(dir) = std::env::var_os(CHILD) {
        write_for_ever(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let (mut rounds, mut in_middle, mut last) = (0, 0, 0);
    while rounds < ROUNDS && begun.elapsed() < BOUND {
        let after = Duration::from_micros(rounds * 37_717 % 60_000);
        let acknowledged = run_and_kill(dir.path(), after);
        assert!(acknowledged > last, "each child commits something");
        last = check(dir.path(), acknowledged);
        in_middle += u64::from(last > acknowledged);
        rounds += 1;
    }
    eprintln!("{rounds} kills, {last} commits, {in_middle} durable before they were acknowledged");
    assert!(rounds >= 5, "only {rounds} kills in {BOUND:?}");
}

fn stack() -> StackName {
    "shop".parse().unwrap()
}

fn at(n: u64) -> Moment {
    Moment {
        wall_ms: 0,
        boot_ms: n,
        boot_id: "b".into(),
    }
}

/// Commit number `n`: an act, the health record, and an operation that is opened by odd ones and
/// ended by even ones.
fn batch(n: u64, id: u64) -> Vec<Change> {
    let mut changes = vec![
        Change::Act(Box::new(Act {
            by: Author::Agent,
            at: at(n),
            what: n.to_string(),
            why: None,
        })),
        Change::Health(Box::new(HealthRecord {
            failing_ms: n,
            ..HealthRecord::default()
        })),
    ];
    changes.push(if n.is_multiple_of(2) {
        Change::Journal(Event::Ended(Ending::Succeeded).at(&at(n)))
    } else {
        Change::Open(
            Operation {
                id,
                kind: Kind::Heal,
                generation: None,
                request: Digest::of(b"r"),
                by: Author::Agent,
                why: n.to_string(),
                begun: at(n),
                plan: Plan::default(),
            }
            .into(),
        )
    });
    changes
}

fn write_for_ever(dir: &Path) -> ! {
    let ledger = Ledger::open(dir).unwrap();
    loop {
        let n = ledger.load(&stack()).unwrap().health.failing_ms + 1;
        ledger.put_object(&n.to_le_bytes()).unwrap();
        let id = if n.is_multiple_of(2) {
            0
        } else {
            ledger.next_operation_id().unwrap()
        };
        ledger.commit(&stack(), &batch(n, id)).unwrap();
        std::io::stderr().write_all(format!("{n}\n").as_bytes()).unwrap();
    }
}

/// The last commit that the child acknowledged.
fn run_and_kill(dir: &Path, after: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    // Killed some time after its first commit of this run.
    let first = lines.next().expect("the child commits something");
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    let last = lines.last().unwrap_or(first);
    last.parse()
        .unwrap_or_else(|_| panic!("the child failed: {last}"))
}

/// Opens what is left; the last commit that is durable.
fn check(dir: &Path, acknowledged: u64) -> u64 {
    let ledger = Ledger::open(dir).unwrap();
    let record = ledger.load(&stack()).unwrap();
    let n = record.health.failing_ms;
    assert!(
        n == acknowledged || n == acknowledged + 1,
        "{acknowledged} was acknowledged, {n} is there"
    );
    let acts = ledger.acts(&stack(), 3).unwrap();
    assert_eq!(acts[0].what, n.to_string());
    assert_eq!(record.operation.is_some(), !n.is_multiple_of(2));
    if let Some(open) = record.operation {
        assert_eq!(open.operation.why, n.to_string());
    }
    let digest = Digest::of(&n.to_le_bytes());
    assert_eq!(ledger.object(&digest).unwrap().unwrap(), n.to_le_bytes());
    n
}
