//! What is forgotten, by example; and for any record, that nothing needed is.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::fixture::{at, generation, quarantine, record, release, request};
use crate::journal::{Kind, Operation};
use crate::plan::Plan;
use crate::record::{Approval, Change, ImpossibleChange, Restored};
use crate::release::{Author, Blame, Verdict};
use crate::rollback::target;

const HOUR: Duration = Duration::from_secs(3600);

/// Generations 1 to `count`, all superseded; the last one runs.
fn long(count: u64) -> StackRecord {
    let superseded = |n| generation(n, release(&[("api", n)]), Verdict::Superseded);
    record((1..=count).map(superseded).collect())
}

/// The numbers that are forgotten of 120 generations, after `change`.
#[track_caller]
fn check(change: impl FnOnce(&mut StackRecord), kept: &[u64]) {
    let mut record = long(120);
    change(&mut record);
    let surplus = surplus(&record, HOUR, &at(0)).unwrap();
    let all: BTreeSet<u64> = (1..=20).filter(|n| !kept.contains(n)).collect();
    let forgotten: BTreeSet<u64> = surplus.generations.iter().map(|n| n.0).collect();
    assert_eq!(forgotten, all);
    record.apply(&Change::Collect(Box::new(surplus))).unwrap();
    assert_eq!(record.generations.len(), 120 - all.len());
    assert_eq!(record.next_number(), GenerationNumber(121));
}

fn judge(record: &mut StackRecord, numbers: impl IntoIterator<Item = usize>) {
    for number in numbers {
        record.generations[number - 1].verdict = Verdict::Good;
    }
}

#[test]
fn old_generations_go_and_what_is_needed_stays() {
    let number = GenerationNumber;
    check(|_| {}, &[]);
    check(|r| r.current = Some(number(3)), &[3]);
    // The newest five good ones, however old.
    check(|r| judge(r, 1..=9), &[5, 6, 7, 8, 9]);
    check(|r| judge(r, (1..=9).chain(118..=120)), &[8, 9]);
    check(
        |r| {
            let bad = r.generations[3].clone();
            let blame = Blame::between(&bad.release, None);
            r.quarantine.push(quarantine(&bad, blame));
        },
        &[4],
    );
    check(|r| r.standing = Standing::Quarantined(number(6)), &[6]);
    check(|r| r.standing = Standing::Applied(number(6)), &[6]);
    check(
        |r| {
            r.restored = Some(Restored {
                from: number(7),
                to: number(2),
                at: at(0),
                request: request(2).id(),
            });
        },
        &[2, 7],
    );
    check(
        |r| {
            let (from, to) = (number(9), number(1));
            r.approval = Some(Approval {
                ask: Ask::Rollback { from, to },
                request: request(2).id(),
                asked: at(0),
                detail: Vec::new(),
                answer: None,
            });
        },
        &[1, 9],
    );
    check(|r| open(r, number(11)), &[11]);
}

fn open(record: &mut StackRecord, generation: GenerationNumber) {
    let operation = Operation {
        id: 1,
        kind: Kind::Rollback,
        generation: Some(generation),
        request: request(2).id(),
        by: Author::Agent,
        why: String::new(),
        begun: at(0),
        plan: Plan::of(Vec::new()),
    };
    record.apply(&Change::Open(operation.into())).unwrap();
}

#[test]
fn a_short_history_is_left_alone() {
    assert_eq!(surplus(&long(100), HOUR, &at(0)), None);
    assert_eq!(surplus(&record(Vec::new()), HOUR, &at(0)), None);
}

#[test]
fn a_rollback_is_remembered_for_as_long_as_the_budget_counts_it() {
    const DAY: u64 = 24 * 3600;
    let left = |budget_per, days: u64| {
        let mut record = long(2);
        record.rollbacks = (0..3).map(|n| (request(n).id(), at(n * DAY))).collect();
        if let Some(surplus) = surplus(&record, budget_per, &at(days * DAY)) {
            record.apply(&Change::Collect(Box::new(surplus))).unwrap();
        }
        record.rollbacks.len()
    };
    assert_eq!(left(HOUR, 0), 3);
    assert_eq!(left(HOUR, 1), 2);
    assert_eq!(left(HOUR, 99), 0);
    assert_eq!(left(HOUR * 24 * 30, 29), 3);
    assert_eq!(left(HOUR * 24 * 30, 30), 2);
}

#[test]
fn what_is_needed_cannot_be_forgotten_whoever_asks() {
    let mut record = long(3);
    judge(&mut record, [1]);
    let before = record.clone();
    for number in [1, 3] {
        let surplus = Surplus {
            generations: BTreeSet::from([GenerationNumber(2), GenerationNumber(number)]),
            rollbacks: 0,
            histories: BTreeSet::new(),
        };
        let refused = record.apply(&Change::Collect(Box::new(surplus))).unwrap_err();
        assert_eq!(refused, ImpossibleChange::Needed(GenerationNumber(number)));
        assert_eq!(record, before);
    }
}

#[test]
fn every_object_of_the_request_and_of_what_is_kept_is_reachable() {
    let mut record = long(2);
    let digest = |text: &str| Digest::of(text.as_bytes());
    let asked = record.request.as_mut().unwrap();
    (asked.spec, asked.config) = (digest("asked spec"), digest("asked config"));
    asked.env = Some(digest("asked env"));
    record.generations[0].spec = digest("old spec");
    record.generations[0].release.env = Some(digest("old env"));
    let texts = [
        "asked spec",
        "asked config",
        "asked env",
        "old spec",
        "old env",
        "spec",
        "config",
        "env",
    ];
    let expected: BTreeSet<Digest> = texts.map(digest).into();
    assert_eq!(
        objects(&record).into_iter().cloned().collect::<BTreeSet<_>>(),
        expected
    );
}

/// Verdict, whether it is in quarantine; of each generation. Then which one runs.
fn records() -> impl Strategy<Value = StackRecord> {
    let verdict = prop_oneof![
        3 => Just(Verdict::Superseded),
        3 => Just(Verdict::Good),
        1 => Just(Verdict::Bad),
    ];
    let one = (verdict, prop::bool::weighted(0.1));
    (
        prop::collection::vec(one, 1..250),
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(all, current, works)| {
            let mut record = long(all.len() as u64);
            for (index, (verdict, quarantined)) in all.into_iter().enumerate() {
                record.generations[index].verdict = verdict;
                let own = Digest::of(format!("spec {index}").as_bytes());
                record.generations[index].spec = own;
                if quarantined {
                    let bad = record.generations[index].clone();
                    let blame = Blame::Whole(bad.release_id.clone());
                    record.quarantine.push(quarantine(&bad, blame));
                }
            }
            let number = record.generations[current.index(record.generations.len())].number;
            record.current = Some(number);
            if works {
                open(&mut record, number);
            }
            record
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a stack went through: where it would go back to, what it runs, what it is kept from,
    /// and every object of these, are the same after a collection; and what is left is bounded.
    #[test]
    fn a_collection_changes_nothing_that_is_decided(before in records()) {
        let mut after = before.clone();
        if let Some(surplus) = surplus(&before, HOUR, &at(0)) {
            after.apply(&Change::Collect(Box::new(surplus))).unwrap();
        }
        let all = |record: &StackRecord| -> BTreeMap<_, _> {
            record.good().take(KEPT_GOOD).map(|g| (g.number, Ok(()))).collect()
        };
        prop_assert_eq!(all(&before), all(&after));
        let back = |record: &StackRecord| target(record, &all(record)).ok().cloned();
        prop_assert_eq!(back(&before), back(&after));
        prop_assert_eq!(before.current(), after.current());
        prop_assert_eq!(before.next_number(), after.next_number());
        prop_assert_eq!(&before.quarantine, &after.quarantine);
        for entry in &after.quarantine {
            prop_assert!(after.generation(entry.generation).is_some());
        }
        let kept = objects(&after);
        for number in needed(&before) {
            let generation = before.generation(number).unwrap();
            prop_assert_eq!(after.generation(number), Some(generation));
            prop_assert!(kept.contains(&generation.spec));
        }
        prop_assert!(kept.is_subset(&objects(&before)));
        prop_assert!(after.generations.len() <= KEPT_GENERATIONS + needed(&before).len());
        prop_assert_eq!(surplus(&after, HOUR, &at(0)), None);
    }
}
