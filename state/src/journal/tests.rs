//! Which event may follow which, by example and for any sequence.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::instead::Instead;
use crate::step::Target;

fn failed(index: usize) -> Event {
    Event::Failed {
        index,
        why: "no".into(),
        passing: false,
        moved: false,
    }
}

fn keep() -> Step {
    Step::KeepImage {
        image: crate::fixture::image(1),
    }
}

/// So many steps; the second has something in its place, should it fail.
fn plan(steps: usize) -> Plan {
    let mut plan = Plan::of(vec![keep(); steps]);
    if steps > 1 {
        let instead = Instead {
            steps: vec![keep()],
            lacks: None,
        };
        plan.instead.insert(1, instead);
    }
    plan
}

fn instead(index: usize, attempt: usize) -> Event {
    Event::Instead {
        index,
        attempt,
        why: "no".into(),
    }
}

fn run(steps: usize, events: &[Event]) -> Result<Progress, IllegalTransition> {
    let plan = plan(steps);
    events
        .iter()
        .try_fold(Progress::new(), |at, event| at.next(event, &plan))
}

#[test]
fn a_straight_run_ends_only_after_its_last_step() {
    let done = |index| Event::Done {
        index,
        outcome: Outcome::Done,
    };
    let events = [
        Event::Started { index: 0 },
        done(0),
        Event::Started { index: 1 },
        done(1),
    ];
    assert_eq!(run(2, &events).unwrap(), Progress::Ready { next: 2, attempt: 0 });
    let ended = Event::Ended(Ending::Succeeded);
    assert!(run(2, &events[..2]).unwrap().next(&ended, &plan(2)).is_err());
    assert!(run(2, &events).unwrap().next(&ended, &plan(2)).is_ok());
}

#[test]
fn nothing_happens_that_was_not_started() {
    assert!(
        run(
            2,
            &[Event::Done {
                index: 0,
                outcome: Outcome::Done
            }]
        )
        .is_err()
    );
    assert!(run(2, &[Event::Started { index: 1 }]).is_err());
    assert!(
        run(
            1,
            &[
                Event::Started { index: 0 },
                failed(0),
                Event::UndoDone { index: 0 }
            ]
        )
        .is_err()
    );
}

#[test]
fn a_failure_is_taken_back_to_the_first_step() {
    let events = [
        Event::Started { index: 0 },
        Event::Done {
            index: 0,
            outcome: Outcome::Done,
        },
        Event::Started { index: 1 },
        failed(1),
        Event::UndoStarted { index: 1 },
        Event::UndoDone { index: 1 },
        Event::UndoStarted { index: 0 },
        Event::UndoStarted { index: 0 },
        Event::UndoDone { index: 0 },
    ];
    let at = run(3, &events).unwrap();
    assert!(matches!(at, Progress::Undoing { next: None, .. }));
    assert!(at.next(&Event::Ended(Ending::Succeeded), &plan(3)).is_err());
    let ending = Ending::Undone {
        why: "no".into(),
        passing: false,
    };
    assert!(at.next(&Event::Ended(ending), &plan(3)).is_ok());
}

#[test]
fn an_undo_that_fails_needs_a_person() {
    let events = [
        Event::Started { index: 0 },
        failed(0),
        Event::UndoStarted { index: 0 },
        Event::UndoFailed {
            index: 0,
            why: "no".into(),
        },
    ];
    let at = run(1, &events).unwrap();
    assert!(at.next(&Event::Started { index: 0 }, &plan(1)).is_err());
    assert!(
        at.next(&Event::Ended(Ending::Stuck { why: "no".into() }), &plan(1))
            .is_ok()
    );
}

/// What has failed for good is followed by what the plan has in its place, once each, and only by that.
#[test]
fn what_stands_in_the_place_of_a_step_is_tried_before_anything_is_taken_back() {
    let first = [
        Event::Started { index: 0 },
        Event::Done {
            index: 0,
            outcome: Outcome::Done,
        },
        Event::Started { index: 1 },
    ];
    let then = |more: &[Event]| run(3, &[&first[..], more].concat());
    let again = then(&[instead(1, 1)]).unwrap();
    assert_eq!(again, Progress::Ready { next: 1, attempt: 1 });
    let started = Event::Started { index: 1 };
    let at = then(&[instead(1, 1), started.clone()]).unwrap();
    assert_eq!(at, Progress::InFlight { index: 1, attempt: 1 });
    // After a crash the same attempt is started again.
    assert_eq!(at.next(&started, &plan(3)).unwrap(), at);
    for more in [
        vec![instead(1, 2)],
        vec![instead(0, 1)],
        vec![instead(1, 1), started.clone(), instead(1, 1)],
        vec![instead(1, 1), started.clone(), instead(1, 2)],
        vec![instead(1, 1), Event::UndoStarted { index: 1 }],
        vec![failed(1), instead(1, 1)],
    ] {
        then(&more).unwrap_err();
    }
    let done = |more: &[Event]| {
        let outcome = Outcome::Done;
        then(&[more, &[Event::Done { index: 1, outcome }]].concat()).unwrap()
    };
    assert_eq!(
        done(&[instead(1, 1), started.clone()]),
        Progress::Ready { next: 2, attempt: 0 }
    );
    // Where all of it fails it is taken back as ever, once.
    let back = then(&[instead(1, 1), started, failed(1), Event::UndoStarted { index: 1 }]);
    assert!(matches!(back, Ok(Progress::Undoing { next: Some(1), .. })));
}

/// A progress that was written down before there were attempts is of the first.
#[test]
fn a_progress_without_an_attempt_is_read() {
    let read = |text: &str| serde_json::from_str::<Progress>(text).unwrap();
    assert_eq!(
        read(r#"{"ready":{"next":2}}"#),
        Progress::Ready { next: 2, attempt: 0 }
    );
    let at = Progress::InFlight { index: 1, attempt: 0 };
    assert_eq!(read(r#"{"in_flight":{"index":1}}"#), at);
    assert_eq!(
        serde_json::to_string(&at).unwrap(),
        r#"{"in_flight":{"index":1}}"#
    );
}

/// Any event at all; the numbers stay near those of small plans.
fn any_event() -> impl Strategy<Value = Event> {
    let why = || String::from("no");
    (0..13_u8, 0..6_usize, any::<bool>()).prop_map(move |(kind, index, passing)| match kind {
        0 => Event::Started { index },
        1 => Event::Done {
            index,
            outcome: Outcome::Done,
        },
        2 => Event::Failed {
            index,
            why: why(),
            passing,
            moved: index == 3,
        },
        3 => Event::UndoStarted { index },
        4 => Event::UndoDone { index },
        5 => Event::UndoFailed { index, why: why() },
        6 => Event::Ended(Ending::Succeeded),
        7 => Event::Ended(Ending::Undone { why: why(), passing }),
        8 => Event::Ended(Ending::Paused { why: why() }),
        11 => Event::Seen {
            index,
            seen: Box::default(),
        },
        9 => instead(index, usize::from(passing)),
        10 => Event::Ended(Ending::Left { why: why(), passing }),
        _ => Event::Ended(Ending::Stuck { why: why() }),
    })
}

fn operation(steps: usize) -> Operation {
    let at = crate::fixture::at(0);
    Operation {
        id: 1,
        kind: Kind::Heal,
        generation: None,
        request: Digest::of(b"request"),
        by: Author::Agent,
        why: String::new(),
        begun: at,
        plan: plan(steps),
    }
}

/// What could not even be made says nothing about whether it lives.
#[test]
fn only_what_was_started_can_have_failed_after_its_start() {
    let target = || Target::New(crate::fixture::service("api"), 1);
    let start = Step::Start {
        target: target(),
        service: crate::fixture::service("api"),
        grace: std::time::Duration::ZERO,
    };
    let watch = Step::Watch {
        targets: vec![(target(), crate::fixture::service("api"))],
        span: std::time::Duration::ZERO,
    };
    let mut operation = operation(1);
    operation.plan.steps.extend([start, watch]);
    let check = |index: usize, expected| {
        let mut open = OpenOperation::new(operation.clone());
        open.events = vec![failed(index).at(&crate::fixture::at(0))].into();
        assert_eq!(open.failed_after_a_start(), expected, "step {index}");
    };
    check(0, false);
    check(1, true);
    check(2, true);
    assert!(!OpenOperation::new(operation.clone()).failed_after_a_start());
}

/// Whoever wrote a journal before entries had a time wrote the bare event.
#[test]
fn an_entry_without_a_time_is_read() {
    let read = |text: &str| serde_json::from_str::<Entry>(text).unwrap();
    let started = Event::Started { index: 3 };
    let at_ms = None;
    assert_eq!(
        read(r#"{"started":{"index":3}}"#),
        Entry {
            at_ms,
            event: started.clone()
        }
    );
    let event = Event::Ended(Ending::Succeeded);
    assert_eq!(read(r#"{"ended":"succeeded"}"#), Entry { at_ms, event });
    let entry = started.at(&crate::fixture::at(5));
    let text = serde_json::to_string(&entry).unwrap();
    assert_eq!(text, r#"{"at_ms":1700000005000,"started":{"index":3}}"#);
    assert_eq!(read(&text), entry);
}

proptest! {
    /// Events at random, of which the legal ones are taken: what was taken replays to the same, and
    /// what was refused left no trace.
    #[test]
    fn a_journal_replays_to_what_it_was(steps in 0..5_usize, events in prop::collection::vec(any_event(), 0..300)) {
        let mut live = OpenOperation::new(operation(steps));
        for event in events {
            let before = live.clone();
            if live.apply(event.at(&crate::fixture::at(0))).is_err() {
                prop_assert_eq!(&live, &before);
            }
        }
        let replayed = OpenOperation::replay(operation(steps), live.events.iter().cloned()).unwrap();
        prop_assert_eq!(&replayed, &live);
        let text = serde_json::to_string(&live).unwrap();
        prop_assert_eq!(serde_json::from_str::<OpenOperation>(&text).unwrap(), live);
    }

    /// No step begins before the one before it is done, and none is taken back twice.
    #[test]
    fn effects_come_in_order(steps in 1..5_usize, events in prop::collection::vec(any_event(), 0..300)) {
        let mut live = OpenOperation::new(operation(steps));
        for event in events {
            let _ = live.apply(event.at(&crate::fixture::at(0)));
        }
        let mut done = 0;
        let mut undone = Vec::new();
        for entry in &live.events {
            match &entry.event {
                Event::Started { index } => prop_assert_eq!(*index, done),
                Event::Done { .. } => done += 1,
                Event::Instead { index, attempt, .. } => prop_assert_eq!((*index, *attempt), (done, 1)),
                Event::UndoDone { index } => {
                    prop_assert!(undone.last().is_none_or(|last| *last == index + 1));
                    undone.push(*index);
                }
                Event::Ended(Ending::Succeeded) => prop_assert_eq!(done, steps),
                Event::Ended(Ending::Undone { .. }) => prop_assert_eq!(undone.last(), Some(&0)),
                _ => {}
            }
        }
    }

    /// Whatever is refused or taken, an end is the end.
    #[test]
    fn nothing_follows_an_end(event in any_event(), steps in 0..5_usize) {
        let ended = Progress::Ended(Ending::Succeeded);
        prop_assert!(ended.next(&event, &plan(steps)).is_err());
    }
}

/// Every journal that a restart may find, up to so many events; each with where it leaves an operation of `steps` steps.
fn journals(steps: usize, most: usize) -> Vec<(Vec<Event>, Progress)> {
    let mut all = vec![(Vec::new(), Progress::new())];
    let mut from = 0;
    for _ in 0..most {
        let until = all.len();
        for at in from..until {
            let (events, progress) = all[at].clone();
            for event in (0..=steps).flat_map(events_of) {
                if let Ok(next) = progress.next(&event, &plan(steps)) {
                    // The same again is a journal of its own, and leads nowhere else.
                    if next != progress {
                        let journal = events.iter().cloned().chain([event]).collect();
                        all.push((journal, next));
                    }
                }
            }
        }
        from = until;
    }
    all
}

fn events_of(index: usize) -> Vec<Event> {
    let why = || String::from("no");
    let outcome = Outcome::Done;
    let passing = false;
    vec![
        Event::Started { index },
        Event::Done { index, outcome },
        failed(index),
        instead(index, 1),
        Event::UndoStarted { index },
        Event::UndoDone { index },
        Event::UndoFailed { index, why: why() },
        Event::Ended(Ending::Succeeded),
        Event::Ended(Ending::Undone { why: why(), passing }),
        Event::Ended(Ending::Paused { why: why() }),
        Event::Ended(Ending::Stuck { why: why() }),
    ]
}

/// The table of docs/architecture.md, row by row: what a restart finds, and what it does next.
#[test]
fn every_journal_that_a_restart_may_find_has_one_way_on() {
    let why = || String::from("no");
    let undone = || {
        Event::Ended(Ending::Undone {
            why: why(),
            passing: false,
        })
    };
    let mut rows = std::collections::BTreeSet::new();
    for steps in 1..4 {
        for (events, progress) in journals(steps, 4 * steps + 2) {
            let (row, then) = match events.last() {
                None => ("nothing", Event::Started { index: 0 }),
                Some(Event::Done { index, .. }) if index + 1 == steps => {
                    ("all done", Event::Ended(Ending::Succeeded))
                }
                Some(Event::Done { index, .. }) => ("done", Event::Started { index: index + 1 }),
                Some(Event::Started { index }) => ("started", Event::Started { index: *index }),
                Some(Event::Seen { index, .. }) => ("seen", Event::Started { index: *index }),
                Some(Event::Instead { index, .. }) => ("instead", Event::Started { index: *index }),
                Some(Event::Failed { index, .. }) => ("failed", Event::UndoStarted { index: *index }),
                Some(Event::UndoStarted { index }) => ("undo started", Event::UndoStarted { index: *index }),
                Some(Event::UndoDone { index: 0 }) => ("all undone", undone()),
                Some(Event::UndoDone { index }) => ("undone", Event::UndoStarted { index: index - 1 }),
                Some(Event::UndoFailed { .. }) => ("undo failed", Event::Ended(Ending::Stuck { why: why() })),
                Some(Event::Ended(_)) => {
                    rows.insert("ended");
                    let more = (0..steps)
                        .any(|index| progress.next(&Event::Started { index }, &plan(steps)).is_ok());
                    assert!(!more, "what has ended goes on: {events:?}");
                    continue;
                }
            };
            rows.insert(row);
            assert!(
                progress.next(&then, &plan(steps)).is_ok(),
                "{then:?} may not follow {events:?}"
            );
            // Nothing is begun but what the row says.
            for index in 0..steps {
                let (start, undo) = (Event::Started { index }, Event::UndoStarted { index });
                for other in [start, undo].into_iter().filter(|other| *other != then) {
                    assert!(
                        progress.next(&other, &plan(steps)).is_err(),
                        "{other:?} may follow {events:?}"
                    );
                }
            }
        }
    }
    assert_eq!(rows.len(), 11, "a row of the table was never met: {rows:?}");
}
