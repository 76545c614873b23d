//! What a failure after the schema was moved leads to.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Halt, Move, ended};
use crate::fixture::{at, generation, image, record, release, request, service};
use crate::hold::{Fact, Hold};
use crate::journal::{Ending, Event, Kind, OpenOperation, Operation, Outcome, SchemaMark};
use crate::migration_tool::Migration;
use crate::name::Digest;
use crate::observed::SchemaHead;
use crate::plan::Plan;
use crate::record::{Change, StackRecord, Standing, UnseenMigration};
use crate::release::{Author, GenerationNumber, Verdict};
use crate::schema_fit::{Direction, SchemaMove};
use crate::step::Step;
use crate::taken_back::{Losses, PutIn, Saved};

/// A plan that moves the schema and then does one thing more, of which step `failed` has failed.
fn failed(kind: Kind, direction: Direction, failed: usize, passing: bool, moved: bool) -> OpenOperation {
    let migrate = Step::Migrate {
        way: Box::new(SchemaMove {
            direction,
            by: Migration {
                service: service("api"),
                image: image(7),
                command: vec![String::from("alembic")],
                workdir: None,
                within: Duration::from_secs(60),
                lock_timeout: Duration::from_secs(1),
            },
            from: Some(SchemaHead::NoTable),
            to: SchemaHead::NoTable,
            revisions: Vec::new(),
            losses: Losses::new(),
            one_way: None,
            kept: Vec::new(),
        }),
        checks: Vec::new(),
    };
    let keep = Step::KeepImage { image: image(7) };
    let mut plan = Plan::of(vec![keep.clone(), migrate, keep]);
    plan.schema_from = (direction == Direction::Up).then_some(1);
    let mut open = OpenOperation::new(Operation {
        id: 1,
        kind,
        generation: Some(GenerationNumber(2)),
        request: request(2).id(),
        by: Author::Agent,
        why: String::new(),
        begun: at(0),
        plan,
    });
    for index in 0..failed {
        for event in [
            Event::Started { index },
            Event::Done {
                index,
                outcome: Outcome::Done,
            },
        ] {
            open.apply(event.at(&at(0))).unwrap();
        }
    }
    let why = String::from("no");
    for event in [
        Event::Started { index: failed },
        Event::Failed {
            index: failed,
            why,
            passing,
            moved,
        },
    ] {
        open.apply(event.at(&at(0))).unwrap();
    }
    open
}

fn lived() -> StackRecord {
    let mut record = record(vec![
        generation(1, release(&[("api", 1)]), Verdict::Good),
        generation(2, release(&[("api", 2)]), Verdict::Trial),
    ]);
    record.current = Some(GenerationNumber(1));
    record
}

#[test]
fn what_failed_after_the_schema_was_moved_is_not_taken_back_step_by_step() {
    use Direction::{Down, Up};
    let left = |passing| {
        let why = String::from("no");
        Move::Halt(Halt::Left { why, passing })
    };
    let check = |direction, at, passing, moved, expected: Move| {
        let open = failed(Kind::Deploy, direction, at, passing, moved);
        assert_eq!(open.next_move(), expected, "{direction:?} {at} {passing} {moved}");
    };
    // Nothing has moved yet.
    check(Up, 0, true, false, Move::Back(0));
    check(Up, 0, false, false, Move::Back(0));
    check(Up, 1, true, false, Move::Back(1));
    check(Up, 1, false, false, Move::Back(1));
    // Half-way, or all the way.
    check(Up, 1, false, true, left(false));
    check(Up, 1, true, true, left(true));
    check(Up, 2, false, false, left(false));
    check(Up, 2, true, false, left(true));
    // On the way down a copy is put back, but for what says nothing about what was gone to.
    check(Down, 1, false, true, Move::Back(1));
    check(Down, 2, false, false, Move::Back(2));
    check(Down, 2, true, false, left(true));
}

#[test]
fn what_is_left_in_passing_is_what_runs_and_nobody_is_to_blame() {
    for kind in [Kind::Deploy, Kind::Rollback] {
        let open = failed(kind, Direction::Up, 2, true, false);
        let mut record = lived();
        let why = String::from("no");
        let changes = ended(&record, &open, &Halt::Left { why, passing: true }, &at(9));
        record.operation = Some(open);
        for change in &changes {
            record.apply(change).unwrap();
        }
        assert_eq!(record.current, Some(GenerationNumber(2)), "{kind}");
        assert!(record.quarantine.is_empty() && record.hold.is_none(), "{kind}");
        assert_eq!(record.current().unwrap().verdict, Verdict::Trial, "{kind}");
    }
}

#[test]
fn what_is_taken_out_of_the_database_is_remembered_until_it_is_in_again() {
    let mut open = failed(Kind::Rollback, Direction::Down, 2, true, false);
    open.operation.id = 9;
    let mut record = lived();
    let why = String::from("no");
    let taken = |halt: &Halt| {
        let changes = ended(&lived(), &open, halt, &at(9));
        changes
            .into_iter()
            .find(|change| matches!(change, Change::TakeBack(9, _)))
    };
    // All of it is taken back: so is this.
    let undone = Halt::TakenBack {
        why: why.clone(),
        passing: true,
    };
    assert_eq!(taken(&undone), None);
    assert!(taken(&Halt::Paused { why: why.clone() }).is_some());
    let change = taken(&Halt::Left { why, passing: true }).unwrap();
    record.apply(&change).unwrap();
    let of = |record: &StackRecord| record.taken_back.get(&9).cloned().unwrap();
    assert!(!of(&record).waits() && !of(&record).is_over());
    // Steps of other operations say what becomes of it.
    let done = |record: &mut StackRecord, step: Step, outcome: Outcome| {
        let operation = Operation {
            id: 10,
            kind: Kind::Backup,
            plan: Plan::of(vec![step]),
            ..(*open.operation).clone()
        };
        let events = [
            Event::Started { index: 0 },
            Event::Done { index: 0, outcome },
            Event::Ended(Ending::Succeeded),
        ];
        record.apply(&Change::Open(operation.into())).unwrap();
        for event in events {
            record.apply(&Change::Journal(event.at(&at(10)))).unwrap();
        }
    };
    let saved = Saved {
        lines: Vec::new(),
        rows: 3,
        seen: None,
    };
    done(&mut record, Step::SaveRows { of: 9 }, Outcome::Saved(saved));
    assert!(of(&record).waits());
    // Not yet, and of another one: nothing changes.
    done(
        &mut record,
        Step::PutIn { of: 9, last: true },
        Outcome::Told(String::from("later")),
    );
    done(
        &mut record,
        Step::PutIn { of: 8, last: true },
        Outcome::PutIn(PutIn::default()),
    );
    assert!(of(&record).waits());
    let some = PutIn {
        restored: 1,
        waiting: vec![String::from("1.csv.gz")],
        ..PutIn::default()
    };
    done(
        &mut record,
        Step::PutIn { of: 9, last: false },
        Outcome::PutIn(some),
    );
    assert!(of(&record).waits() && !of(&record).is_over());
    done(
        &mut record,
        Step::PutIn { of: 9, last: true },
        Outcome::PutIn(PutIn::default()),
    );
    assert!(of(&record).is_over());
}

/// Generation 2 was proven at `b2`; what the restore has left stands at `is`. Is the stack held, and until when?
fn restored(is: Option<&str>, frozen: bool) -> (bool, Option<Hold>) {
    let heads = |name: &str| SchemaHead::At([name.parse().unwrap()].into());
    let mut current = generation(2, release(&[("api", 2)]), Verdict::Good);
    current.schema = Some(heads("b2"));
    let mut record = record(vec![current]);
    record.hold = frozen.then(|| Hold {
        since: at(0),
        why: String::from("half-way"),
        way_out: String::new(),
        frozen,
        no_way_down: false,
        until: BTreeSet::new(),
    });
    let mut open = OpenOperation::new(Operation {
        id: 1,
        kind: Kind::Restore,
        generation: Some(GenerationNumber(2)),
        request: request(2).id(),
        by: Author::Agent,
        why: String::new(),
        begun: at(0),
        plan: Plan::of(vec![Step::TakePlace, Step::OpenDatabase]),
    });
    let seen = is.map_or(Outcome::Done, |is| {
        Outcome::Schema(SchemaMark {
            head: heads(is),
            fingerprint: Digest::of(b"schema"),
        })
    });
    for (index, outcome) in [(0, Outcome::Done), (1, seen)] {
        open.apply(Event::Started { index }.at(&at(0))).unwrap();
        open.apply(Event::Done { index, outcome }.at(&at(0))).unwrap();
    }
    let changes = ended(&record, &open, &Halt::Done, &at(9));
    let anew = changes.iter().any(|change| matches!(change, Change::Health(_)));
    let hold = changes.into_iter().find_map(|change| match change {
        Change::Hold(hold) => Some(hold),
        _ => None,
    });
    (anew, hold.flatten())
}

#[test]
fn a_restored_schema_that_nobody_has_proven_what_runs_with_is_held() {
    for (is, frozen) in [(None, false), (Some("b2"), false), (Some("a1"), true)] {
        assert_eq!(restored(is, frozen), (true, None), "{is:?}");
    }
    let (anew, hold) = restored(Some("a1"), false);
    let hold = hold.unwrap();
    assert!(
        anew && !hold.frozen && hold.until == [Fact::SchemaFits].into(),
        "{hold:?}"
    );
    assert!(
        hold.why
            .contains("stands at a1, and generation 2 was proven at b2"),
        "{hold:?}"
    );
}

/// Only where the way of the schema down has failed is there a backup to be offered.
#[test]
fn what_could_not_be_taken_back_is_said_in_the_hold() {
    let check = |index: usize, direction, expected: bool| {
        let open = failed(Kind::Rollback, direction, index, false, false);
        let record = record(vec![generation(2, release(&[("api", 2)]), Verdict::Bad)]);
        let halt = Halt::TakenBack {
            why: String::from("no"),
            passing: false,
        };
        let holds = ended(&record, &open, &halt, &at(9));
        let held = holds.iter().find_map(|change| match change {
            Change::Hold(Some(hold)) => Some(hold.no_way_down),
            _ => None,
        });
        assert_eq!(held, Some(expected), "{index} {direction:?}");
    };
    check(1, Direction::Down, true);
    check(1, Direction::Up, false);
    check(2, Direction::Down, false);
}

/// What was found of the schema when somebody looked, after a migration whose end nobody had seen.
#[track_caller]
fn looked(is: u64, kind: Kind, standing: Standing, expected: &str) {
    let mark = |n: u64| SchemaMark {
        head: SchemaHead::NoTable,
        fingerprint: Digest::of(&n.to_be_bytes()),
    };
    let mut record = lived();
    record.standing = standing;
    record.unseen = Some(UnseenMigration {
        operation: 7,
        kind,
        before: mark(1),
    });
    let mut open = OpenOperation::new(Operation {
        id: 8,
        kind: Kind::Heal,
        generation: record.current,
        request: request(2).id(),
        by: Author::Agent,
        why: String::new(),
        begun: at(0),
        plan: Plan::of(vec![Step::OpenDatabase]),
    });
    let outcome = Outcome::Schema(mark(is));
    for event in [Event::Started { index: 0 }, Event::Done { index: 0, outcome }] {
        open.apply(event.at(&at(0))).unwrap();
    }
    let changes = ended(&record, &open, &Halt::Done, &at(9));
    assert!(changes.contains(&Change::Unseen(None)), "{changes:?}");
    let words = changes.iter().filter_map(|change| match change {
        Change::Hold(Some(hold)) => Some(format!("held, {}", &hold.way_out[..47])),
        Change::Stand(standing) => Some(format!("{standing:?}")),
        _ => None,
    });
    assert_eq!(words.collect::<Vec<_>>().join("; "), expected);
}

#[test]
fn what_a_migration_has_left_is_told_and_nothing_goes_on_from_it_by_itself() {
    let applied = || Standing::Applied(GenerationNumber(1));
    looked(1, Kind::Deploy, Standing::Pending, "");
    let retry = "held, see what is there; then `steadfast retry`, whic";
    looked(
        2,
        Kind::Deploy,
        Standing::Pending,
        &format!("Quarantined(GenerationNumber(2)); {retry}"),
    );
    looked(2, Kind::Deploy, applied(), retry);
    let back = "held, see what is there; then `steadfast rollback`, w";
    looked(2, Kind::Rollback, applied(), back);
}
