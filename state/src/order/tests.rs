//! Orders, row by row: what the record is after them, or why they are refused.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use super::{answer, drop_rows, end_of_pause, give, put_in, retry, taken_up};
use crate::files::{Given, Placed, ReleaseFile, Role};
use crate::fixture::{at, generation, quarantine, record, release, request};
use crate::health::HealthRecord;
use crate::hold::Hold;
use crate::journal::{Kind, Operation};
use crate::name::Digest;
use crate::plan::Plan;
use crate::record::{Act, Answer, Approval, Ask, Change, Pause, StackRecord, Standing};
use crate::release::{Author, Blame, GenerationNumber, Verdict};

fn person() -> Author {
    Author::Person {
        uid: 7,
        name: Some(String::from("ann")),
    }
}

fn act(what: &str) -> Act {
    Act {
        by: person(),
        at: at(500),
        what: what.to_owned(),
        why: None,
    }
}

/// Generation 1 is good, 2 failed and is in quarantine; request 2 asked for it. Paused.
fn paused() -> StackRecord {
    let old = generation(1, release(&[("api", 1)]), Verdict::Good);
    let bad = generation(2, release(&[("api", 2)]), Verdict::Bad);
    let blame = Blame::between(&bad.release, Some(&old.release));
    let mut record = record(vec![old, bad.clone()]);
    record.quarantine.push(quarantine(&bad, blame));
    record.standing = Standing::Quarantined(bad.number);
    record.current = Some(GenerationNumber(1));
    record.health.failing_ms = 900_000;
    record.pause = Some(Pause {
        by: person(),
        since: at(0),
        until: at(0).plus(Duration::from_secs(3600)),
        why: String::from("by hand"),
    });
    record
}

fn asked(ask: Ask, seconds: u64, detail: &str) -> Approval {
    Approval {
        ask,
        request: request(2).id(),
        asked: at(seconds),
        detail: vec![detail.to_owned()],
        answer: None,
    }
}

#[track_caller]
fn after(mut record: StackRecord, changes: &[Change]) -> StackRecord {
    for change in changes {
        record.apply(change).unwrap();
    }
    record
}

fn busy(record: &mut StackRecord) {
    let operation = Operation {
        id: 1,
        kind: Kind::Heal,
        generation: Some(GenerationNumber(1)),
        request: request(2).id(),
        by: Author::Agent,
        why: String::new(),
        begun: at(0),
        plan: Plan::of(Vec::new()),
    };
    record.apply(&Change::Open(operation.into())).unwrap();
}

#[test]
fn a_retry_lifts_the_quarantine_and_ends_a_pause() {
    let changes = retry(&paused(), act("retry")).unwrap();
    let record = after(paused(), &changes);
    assert_eq!((&record.pause, record.quarantine.len()), (&None, 0));
    assert_eq!(record.standing, Standing::Pending);
    assert_eq!(record.request.unwrap().retries, 1);
    // What was seen while nobody acted condemns nothing.
    assert_eq!(record.health, HealthRecord::default());
    assert!(matches!(&changes[0], Change::Act(act) if act.by == person()));
}

#[test]
fn without_a_pause_the_health_goes_on() {
    let mut running = paused();
    running.pause = None;
    assert!(end_of_pause(&running).is_empty());
    let record = after(running.clone(), &retry(&running, act("retry")).unwrap());
    assert_eq!(record.health, running.health);
}

#[test]
fn of_a_stack_that_was_let_go_nothing_is_promised() {
    let mut gone = paused();
    assert!(taken_up(&gone).is_empty());
    gone.let_go = Some(at(10));
    gone.approval = Some(asked(Ask::DataChange, 5, "db"));
    let refused = "the stack was let go: desired.toml has no entry for it";
    assert_eq!(retry(&gone, act("retry")).unwrap_err().why, refused);
    let granted = answer(&gone, None, Answer::Granted, act("approve"));
    assert_eq!(granted.unwrap_err().why, refused);
    // With its entry it is as any other, and the silence meanwhile condemns nothing.
    let back = after(gone.clone(), &taken_up(&gone));
    assert_eq!((&back.let_go, &back.health), (&None, &HealthRecord::default()));
    retry(&back, act("retry")).unwrap();
}

/// A trial that has run out with nothing known would be over again at once.
#[test]
fn a_retry_watches_what_is_on_trial_from_the_beginning() {
    let mut record = record(vec![generation(1, release(&[("api", 1)]), Verdict::Trial)]);
    record.request = Some(request(1));
    record.health.looked_ms = 1_900_000;
    let after = after(record.clone(), &retry(&record, act("retry")).unwrap());
    assert_eq!(after.health, HealthRecord::default());
}

#[test]
fn a_retry_lifts_only_what_stands_in_its_way() {
    let mut other = paused();
    other.standing = Standing::Applied(GenerationNumber(1));
    other.request = Some(request(1));
    let record = after(other.clone(), &retry(&other, act("retry")).unwrap());
    assert_eq!(record.quarantine, other.quarantine);
}

#[test]
fn what_cannot_be_tried_again_is_refused() {
    let mut unasked = paused();
    unasked.request = None;
    let refused = retry(&unasked, act("retry")).unwrap_err();
    assert_eq!(refused.why, "nothing was asked for yet");
    let mut working = paused();
    busy(&mut working);
    let refused = retry(&working, act("retry")).unwrap_err();
    assert_eq!(refused.why, "a heal is under way");
}

/// Between reading a question and answering it, another one may have taken its place.
#[test]
fn an_answer_counts_for_the_question_that_was_seen() {
    let data = || asked(Ask::DataChange, 100, "db: image 1 → 2");
    let rollback = Ask::Rollback {
        from: GenerationNumber(2),
        to: GenerationNumber(1),
    };
    let others = [
        asked(Ask::FirstContact, 100, "db: image 1 → 2"),
        asked(Ask::DataChange, 100, "db: image 1 → 3"),
        asked(Ask::DataChange, 101, "db: image 1 → 2"),
        asked(rollback, 100, "db: image 1 → 2"),
    ];
    let ids: BTreeSet<_> = others.iter().chain([&data()]).map(Approval::id).collect();
    assert_eq!(ids.len(), 5);
    for said in [Answer::Granted, Answer::Denied] {
        let mut record = paused();
        record.approval = Some(data());
        let seen = data().id();
        let answered = after(
            record.clone(),
            &answer(&record, Some(&seen), said, act("approve")).unwrap(),
        );
        assert_eq!(answered.approval.unwrap().answer, Some((said, person())));
        // Whoever does not say what they saw answers what is asked.
        answer(&record, None, said, act("approve")).unwrap();
        for other in &others {
            record.approval = Some(other.clone());
            let refused = answer(&record, Some(&seen), said, act("approve")).unwrap_err();
            assert_eq!(refused.why, "what is asked has changed");
        }
    }
}

#[test]
fn an_answer_is_given_once_and_a_grant_ends_a_hold() {
    let mut record = paused();
    record.hold = Some(Hold {
        since: at(0),
        why: String::from("nobody answered within 30m"),
        way_out: String::new(),
        frozen: false,
        no_way_down: false,
        until: BTreeSet::new(),
    });
    let open = asked(Ask::DataChange, 100, "db");
    record.approval = Some(open.clone());
    let denied = answer(&record, Some(&open.id()), Answer::Denied, act("deny")).unwrap();
    assert_eq!(after(record.clone(), &denied).hold, record.hold);
    let granted = answer(&record, Some(&open.id()), Answer::Granted, act("approve")).unwrap();
    let record = after(record, &granted);
    assert_eq!(record.hold, None);
    // The id of a question does not depend on its answer.
    assert_eq!(record.approval.as_ref().unwrap().id(), open.id());
    let refused = answer(&record, Some(&open.id()), Answer::Denied, act("deny")).unwrap_err();
    assert_eq!(refused.why, "nothing waits for an approval");
}

#[test]
fn rows_that_are_kept_are_put_in_or_dropped_once() {
    use crate::observed::SchemaHead;
    use crate::taken_back::{Losses, PutIn, Saved, TakenBack};
    let taken = |saved: Option<u64>, put_in: Option<PutIn>| TakenBack {
        at: at(0),
        from: SchemaHead::NoTable,
        to: SchemaHead::NoTable,
        revisions: Vec::new(),
        losses: Losses::new(),
        saved: saved.map(|rows| Saved {
            rows,
            ..Saved::default()
        }),
        put_in,
    };
    let mut record = paused();
    for (of, taken) in [
        (1, taken(Some(5), None)),
        (2, taken(None, None)),
        (3, taken(Some(5), Some(PutIn::default()))),
    ] {
        record.apply(&Change::TakeBack(of, Box::new(taken))).unwrap();
    }
    assert!(put_in(&record, 1).is_ok());
    // Nothing waits, it is in the copy alone, nobody knows of it.
    for of in [2, 3, 4] {
        assert!(put_in(&record, of).is_err(), "{of}");
    }
    for of in [2, 4] {
        assert!(drop_rows(&record, of, act("drop-rows")).is_err(), "{of}");
    }
    for change in drop_rows(&record, 1, act("drop-rows")).unwrap() {
        record.apply(&change).unwrap();
    }
    assert!(record.taken_back[&1].is_dropped() && record.taken_back[&1].is_over());
    assert!(drop_rows(&record, 1, act("drop-rows")).is_err());
    assert!(put_in(&record, 1).is_err());
}

fn content(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// `.env`: asked for as `bad`, which was left; generation 1 runs, and has `good`, which the agent has put there.
fn rolled_back() -> StackRecord {
    let mut record = paused();
    let file = |text: &str| ReleaseFile {
        role: Role::Env,
        content: Some(content(text)),
        owner: None,
        action: crate::files::Action::Recreate,
    };
    let request = record.request.as_mut().unwrap();
    request.files = [("/srv/.env".into(), file("bad"))].into();
    record.generations[0].files = [("/srv/.env".into(), file("good"))].into();
    record.placed = Placed::from([("/srv/.env".into(), vec![Some(content("good"))])]);
    record
}

fn given(from: &str, to: &str) -> Given {
    Given {
        path: "/srv/.env".into(),
        role: Role::Env,
        from: Some(content(from)),
        to: content(to),
        at: at(500),
    }
}

#[track_caller]
fn check_give(
    record: &StackRecord,
    (from, to): (&str, &str),
    pin: Option<&str>,
    expected: Result<usize, &str>,
) {
    let id = "0b6f4e03b952".parse().unwrap();
    let pin = pin.map(|pin| pin.parse().unwrap());
    let done = give(
        record,
        given(from, to),
        true,
        (&id, pin.as_ref()),
        act("env-restore"),
    );
    let done = done.map(|changes| changes.len()).map_err(|refused| refused.why);
    assert_eq!(done, expected.map_err(String::from));
}

#[test]
fn what_a_person_has_put_back_is_theirs() {
    let mut record = rolled_back();
    // As it was put back by the agent: nothing has to be written, and it is theirs all the same.
    check_give(&record, ("good", "good"), None, Ok(2));
    let changes = give(
        &record,
        given("good", "good"),
        true,
        (&"0b6f4e03b952".parse().unwrap(), None),
        act("env-restore"),
    );
    let after = after(record.clone(), &changes.unwrap());
    assert_eq!(after.placed, Placed::new());
    assert_eq!(*after.replaced, []);
    // What is there is the agent's until another version is written.
    let changes = [Change::Give(Box::new(given("good", "older")))];
    let mut both = record.clone();
    both.placed
        .get_mut(std::path::Path::new("/srv/.env"))
        .unwrap()
        .push(Some(content("older")));
    let interrupted = self::after(both, &changes);
    assert_eq!(interrupted.placed, record.placed);
    assert_eq!(interrupted.replaced.len(), 1);
    // What was left would be put back at once.
    let words = "0b6f4e03b952 is what is asked for already, and was left for what runs";
    check_give(&record, ("good", "bad"), None, Err(words));
    record.standing = Standing::Applied(GenerationNumber(2));
    check_give(&record, ("good", "bad"), None, Ok(2));
    check_give(&record, ("bad", "bad"), None, Ok(0));
}

#[test]
fn nothing_is_put_back_against_a_pin_an_operation_or_a_stack_that_was_let_go() {
    let mut record = rolled_back();
    let words = "desired.toml pins /srv/.env to 93aa0000: anything else is put back";
    check_give(&record, ("good", "older"), Some("93aa0000"), Err(words));
    check_give(&record, ("good", "older"), Some("0b6f4e03"), Ok(2));
    record.let_go = Some(at(1));
    let words = "the stack was let go: desired.toml has no entry for it";
    check_give(&record, ("good", "older"), None, Err(words));
    record.let_go = None;
    busy(&mut record);
    check_give(&record, ("good", "older"), None, Err("a heal is under way"));
}
