//! Any legal sequence of changes: the ledger and the store in memory tell the same, and a reopened
//! ledger tells it still.

use proptest::prelude::*;

use super::life;
use crate::journal::{Ending, Event, Kind, Outcome, Progress, SchemaMark};
use crate::ledger::{Ledger, MemoryStore, Store};
use crate::name::{Digest, StackName};
use crate::observed::SchemaHead;
use crate::record::{Change, StackRecord, Standing, UnseenMigration};
use crate::release::{Blame, GenerationNumber, Verdict};

/// One throw of the dice: which stack, which change, and which variant of it.
type Throw = (bool, u8, u8);

fn stack(second: bool) -> StackName {
    if second { "b" } else { "a" }.parse().unwrap()
}

/// A legal change for `record`; `None` where the throw names none.
fn change(record: &StackRecord, kind: u8, variant: u8, next_id: u64) -> Option<Change> {
    let v = u64::from(variant);
    let known = || {
        let count = record.generations.len();
        let index = usize::from(variant).checked_rem(count)?;
        Some(record.generations[index].number)
    };
    Some(match kind % 27 {
        0 => Change::Accept(Box::new(life::request(v))),
        1 => Change::Begin(life::generation(record.next_number().0).into()),
        2 => Change::SetCurrent(known()?),
        3 => Change::Applied(known()?, life::at(v)),
        4 => Change::Judge {
            generation: known()?,
            verdict: [Verdict::Trial, Verdict::Good, Verdict::Bad, Verdict::Superseded][variant as usize % 4],
            at: life::at(v),
            why: v.to_string(),
        },
        5 => Change::Schema(known()?, SchemaHead::NoTable),
        6 => life::quarantine(v % 4, Blame::Whole(Digest::of(&[variant]))),
        7 => Change::Lift(GenerationNumber(v % 4)),
        8 => Change::Health(Box::new(life::health(v))),
        9 => Change::RolledBack(Digest::of(&[variant]), life::at(v)),
        10 => life::act(&v.to_string()),
        11 => Change::Stand(Standing::Applied(known()?)),
        12 => Change::Resolve(
            format!("r{}", v % 3),
            life::generation(v).release.images.into_values().next()?,
        ),
        13 => {
            let needed = crate::retention::needed(record);
            let all = record.generations.iter().map(|g| g.number);
            Change::Collect(Box::new(crate::retention::Surplus {
                generations: all.filter(|n| !needed.contains(n)).take(2).collect(),
                rollbacks: usize::from(variant % 3),
                histories: record.histories.keys().take(1).cloned().collect(),
            }))
        }
        14 => Change::Learn(
            life::generation(v % 3).release.images.into_values().next()?,
            life::history(v % 3),
        ),
        15 => Change::Bar(variant.is_multiple_of(2).then_some(v)),
        16 => {
            let (service, image) = life::generation(v % 3).release.images.into_iter().next()?;
            Change::Wrote(service, image)
        }
        17 => life::place(v % 4, v % 3),
        18 => life::seen_file(v % 4),
        19 => life::give(v % 4, v % 3),
        20 => life::import(v % 25),
        21 => Change::Unseen(variant.is_multiple_of(2).then(|| {
            Box::new(UnseenMigration {
                operation: v,
                kind: Kind::Deploy,
                before: SchemaMark {
                    head: SchemaHead::NoTable,
                    fingerprint: Digest::of(&[u8::try_from(v % 7).unwrap_or(0)]),
                },
            })
        })),
        _ => match &record.operation {
            None => Change::Open(life::operation(next_id).into()),
            Some(open) => {
                let event = event(&open.progress, open.operation.plan.steps.len(), variant);
                Change::Journal(event.at(&life::at(v)))
            }
        },
    })
}

fn event(progress: &Progress, steps: usize, variant: u8) -> Event {
    let why = || variant.to_string();
    let passing = variant.is_multiple_of(2);
    match progress {
        Progress::Ready { next, .. } if *next == steps => Event::Ended(Ending::Succeeded),
        Progress::Ready { next, .. } => Event::Started { index: *next },
        Progress::InFlight { index, .. } if variant < 200 => Event::Done {
            index: *index,
            outcome: Outcome::Done,
        },
        Progress::InFlight { index, .. } => Event::Failed {
            index: *index,
            why: why(),
            passing,
            moved: variant.is_multiple_of(3),
        },
        Progress::Undoing { next: None, .. } => Event::Ended(Ending::Undone { why: why(), passing }),
        Progress::Undoing {
            next: Some(index),
            started: false,
            ..
        } => Event::UndoStarted { index: *index },
        Progress::Undoing {
            next: Some(index), ..
        } if variant < 200 => Event::UndoDone { index: *index },
        Progress::Undoing {
            next: Some(index), ..
        } => Event::UndoFailed {
            index: *index,
            why: why(),
        },
        Progress::UndoFailed { .. } => Event::Ended(Ending::Stuck { why: why() }),
        Progress::Ended(_) => unreachable!("an operation that has ended is not open"),
    }
}

fn check_same(memory: &MemoryStore, ledger: &Ledger) {
    assert_eq!(memory.stacks().unwrap(), ledger.stacks().unwrap());
    for stack in [stack(false), stack(true)] {
        assert_eq!(memory.load(&stack).unwrap(), ledger.load(&stack).unwrap());
        assert_eq!(memory.acts(&stack, 99).unwrap(), ledger.acts(&stack, 99).unwrap());
        assert_eq!(
            memory.operations(&stack, 99).unwrap(),
            ledger.operations(&stack, 99).unwrap()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_stores_agree_at_any_point(
        batches in prop::collection::vec((prop::collection::vec(any::<Throw>(), 1..6), any::<bool>()), 1..30),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let memory = MemoryStore::new();
        let mut ledger = Some(Ledger::open(dir.path()).unwrap());
        for (throws, reopen) in batches {
            let open = ledger.as_ref().unwrap();
            let stack = stack(throws[0].0);
            let mut record = memory.load(&stack).unwrap();
            let mut batch = Vec::new();
            for (_, kind, variant) in throws {
                let next_id = memory.next_operation_id().unwrap();
                prop_assert_eq!(open.next_operation_id().unwrap(), next_id);
                if let Some(change) = change(&record, kind, variant, next_id) {
                    record.apply(&change).unwrap();
                    batch.push(change);
                }
            }
            memory.commit(&stack, &batch).unwrap();
            open.commit(&stack, &batch).unwrap();
            if reopen {
                drop(ledger.take());
                ledger = Some(Ledger::open(dir.path()).unwrap());
            }
            check_same(&memory, ledger.as_ref().unwrap());
        }
        drop(ledger.take());
        check_same(&memory, &Ledger::open(dir.path()).unwrap());
    }
}
