//! What a change does to a record, and that an impossible one does nothing.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::{Approval, Ask, Change, Hold, ImpossibleChange, StackRecord, Standing};
use crate::fixture::{at, generation, image, record, release, request};
use crate::health::HealthRecord;
use crate::journal::{Ending, Event, Kind, Operation, Outcome};
use crate::name::ServiceName;
use crate::plan::Plan;
use crate::release::{Author, GenerationNumber, Verdict};
use crate::step::{Step, Target};

fn lived() -> StackRecord {
    record(vec![generation(1, release(&[("api", 1)]), Verdict::Good)])
}

fn operation(id: u64) -> Change {
    Change::Open(
        Operation {
            id,
            kind: Kind::Heal,
            generation: Some(GenerationNumber(1)),
            request: request(1).id(),
            by: Author::Agent,
            why: String::new(),
            begun: at(0),
            plan: Plan::default(),
        }
        .into(),
    )
}

/// `changes` in a row; all but the last are possible, and the last leaves the record as it is.
#[track_caller]
fn check_impossible(changes: &[Change], expected: &str) {
    let mut record = lived();
    let (last, before) = changes.split_last().unwrap();
    for change in before {
        record.apply(change).unwrap();
    }
    let as_it_was = record.clone();
    let error: ImpossibleChange = record.apply(last).unwrap_err();
    assert_eq!(error.to_string(), expected);
    assert_eq!(record, as_it_was);
}

#[test]
fn an_impossible_change_changes_nothing() {
    let ended = Change::Journal(Event::Ended(Ending::Succeeded).at(&at(0)));
    check_impossible(
        &[operation(1), operation(2)],
        "operation 1 is open, 2 cannot be opened",
    );
    check_impossible(std::slice::from_ref(&ended), "no operation is open");
    check_impossible(&[operation(1), ended.clone(), ended], "no operation is open");
    check_impossible(
        &[
            operation(1),
            Change::Journal(Event::Started { index: 0 }.at(&at(0))),
        ],
        "Started { index: 0 } cannot follow Ready { next: 0, attempt: 0 }",
    );
    check_impossible(
        &[Change::SetCurrent(GenerationNumber(7))],
        "there is no generation 7",
    );
    check_impossible(
        &[Change::Applied(GenerationNumber(7), at(0))],
        "there is no generation 7",
    );
    for number in [1, 3] {
        let skipped = generation(number, release(&[]), Verdict::Trial);
        let words = format!("generation {number} is out of order");
        check_impossible(&[Change::Begin(skipped.into())], &words);
    }
}

#[test]
fn a_new_request_settles_what_was_asked_resolved_or_held() {
    let mut record = lived();
    for change in [
        Change::Resolve(String::from("api:v1"), image(1)),
        Change::Hold(Some(Hold {
            since: at(0),
            why: String::from("two rollbacks"),
            way_out: String::from("look"),
            frozen: false,
            no_way_down: false,
            until: std::collections::BTreeSet::new(),
        })),
        Change::Approval(Some(Box::new(Approval {
            ask: Ask::DataChange,
            request: request(1).id(),
            asked: at(0),
            detail: Vec::new(),
            answer: None,
        }))),
        Change::Stand(Standing::Applied(GenerationNumber(1))),
        Change::Accept(Box::new(request(2))),
    ] {
        record.apply(&change).unwrap();
    }
    assert_eq!(record.standing, Standing::Pending);
    assert_eq!((record.hold, record.approval), (None, None));
    assert!(record.resolved.is_empty());
    assert_eq!(record.request, Some(request(2)));
}

#[test]
fn a_trial_begins_with_a_clean_health_record() {
    for change in [
        Change::SetCurrent(GenerationNumber(1)),
        Change::Applied(GenerationNumber(1), at(5)),
    ] {
        let mut record = lived();
        record.health.failing_ms = 250_000;
        record.apply(&change).unwrap();
        assert_eq!(record.health, HealthRecord::default());
    }
}

#[test]
fn the_same_wish_at_another_time_is_the_same_request_and_a_retry_is_not() {
    let mut again = request(1);
    again.accepted = at(99);
    assert_eq!(again.id(), request(1).id());
    again.retries += 1;
    assert_ne!(again.id(), request(1).id());
}

#[test]
fn a_release_leaves_alone_what_the_proven_one_has_too() {
    let next = generation(2, release(&[("api", 2), ("db", 9), ("new", 1)]), Verdict::Trial);
    let check = |verdict, expected: &[&str]| {
        let old = generation(1, release(&[("api", 1), ("db", 9), ("old", 1)]), verdict);
        let left = record(vec![old]).unchanged(&next.hashes);
        let left: Vec<&str> = left.iter().map(ServiceName::as_str).collect();
        assert_eq!(left, expected, "{verdict}");
    };
    check(Verdict::Good, &["db"]);
    // What was never proven may be the cause.
    check(Verdict::Trial, &[]);
    check(Verdict::Bad, &[]);
    assert!(record(Vec::new()).unchanged(&next.hashes).is_empty());
}

/// Also when its container is gone the image that may have written to data is known.
#[test]
fn what_is_started_has_written_from_before_it_starts() {
    let mut record = lived();
    let api: ServiceName = "api".parse().unwrap();
    let target = Target::New(api.clone(), 1);
    let Change::Open(mut opened) = operation(1) else {
        unreachable!()
    };
    opened.plan = Plan::of(vec![
        Step::Create {
            service: api.clone(),
            number: 1,
            name: String::from("shop-api-1"),
            image: image(2),
            hash: String::from("1-2"),
            carried: Vec::new(),
        },
        Step::Start {
            target,
            service: api.clone(),
            grace: Duration::ZERO,
        },
    ]);
    let journal = |event: Event| Change::Journal(event.at(&at(0)));
    let done = |index| Event::Done {
        index,
        outcome: Outcome::Done,
    };
    for change in [
        Change::Open(opened),
        journal(Event::Started { index: 0 }),
        journal(done(0)),
    ] {
        record.apply(&change).unwrap();
    }
    assert_eq!(record.written.get(&api), None);
    record.apply(&journal(Event::Started { index: 1 })).unwrap();
    assert_eq!(record.written.get(&api), Some(&image(2)));
    record.apply(&Change::Wrote(api.clone(), image(3))).unwrap();
    assert_eq!(record.written.get(&api), Some(&image(3)));
}
