//! Where a failure leads to, row by row.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::{Failure, Retreat, again, is_unfinished, ordered, retreat, target};
use crate::fixture::{at, generation, image, quarantine, record, release, request, service, stack};
use crate::kept_schema::{Declared, RollbackSchema};
use crate::last_resort::RestoreBackup;
use crate::migration_tool::{Beside, Commands, MigrationTool, UpgradeBy};
use crate::migrations::History;
use crate::name::{Role, ServiceName};
use crate::observed::{Known, SchemaHead};
use crate::policy::{
    Approval as Consent, FailureAction, OnTimeout, Severity, SeverityMatrix, SeverityPolicy, TrialPolicy,
};
use crate::record::{Answer, Approval, Ask, Restored, StackRecord, Standing};
use crate::release::{Author, Blame, GenerationNumber, Verdict};
use crate::schema_fit::{SchemaFit, Ways};
use crate::stack_spec::StackSpec;
use crate::time::Moment;

/// A failure of `api`, of which every row changes something.
struct Case {
    record: StackRecord,
    spec: StackSpec,
    services: Vec<ServiceName>,
    available: BTreeMap<GenerationNumber, Result<(), String>>,
    schema: Option<Known<SchemaHead>>,
    tool: Option<MigrationTool>,
    row: SeverityPolicy,
    now: u64,
}

impl Case {
    /// Generation 1 is good, generation 2 with another image of `api` is on trial.
    fn new() -> Self {
        let old = release(&[("api", 1), ("db", 9), ("web", 1)]);
        let new = release(&[("api", 2), ("db", 9), ("web", 1)]);
        Self {
            record: record(vec![
                generation(1, old, Verdict::Good),
                generation(2, new, Verdict::Trial),
            ]),
            spec: stack(&[("api", &["db"]), ("db", &[]), ("web", &["api"])]),
            services: vec![service("api")],
            available: BTreeMap::from([(GenerationNumber(1), Ok(()))]),
            schema: None,
            tool: None,
            row: SeverityMatrix::default().row(Severity::Critical).clone(),
            now: 1000,
        }
    }

    fn on(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn decide(&self) -> Retreat {
        retreat(&Failure {
            record: &self.record,
            spec: &self.spec,
            services: &self.services,
            available: &self.available,
            schema: self.schema.as_ref(),
            tool: self.tool.as_ref(),
            trial: &TrialPolicy::default(),
            row: &self.row,
            now: &at(self.now),
        })
    }
}

fn words(retreat: &Retreat) -> String {
    match retreat {
        Retreat::To { target, blame } => format!("to {target}, blaming {blame}"),
        Retreat::Ask { detail, .. } => format!("ask: {}", detail.join("; ")),
        Retreat::Wait(why) => format!("wait: {why}"),
        Retreat::Hold { why, until, .. } if until.is_empty() => format!("hold for a person: {why}"),
        Retreat::Hold { why, until, .. } => {
            let facts: Vec<&str> = until.iter().map(|fact| fact.as_str()).collect();
            format!("hold until {}: {why}", facts.join(" or "))
        }
        Retreat::Report => String::from("report"),
    }
}

#[track_caller]
fn check(change: impl FnOnce(&mut Case), expect: Expect) {
    expect.assert_eq(&words(&Case::new().on(change).decide()));
}

fn judge(case: &mut Case, number: usize, verdict: Verdict) {
    case.record.generations[number - 1].verdict = verdict;
}

#[test]
fn back_to_the_newest_good_generation_that_can_be_restored() {
    check(|_| {}, expect!["to 1, blaming images api=000000000002"]);
    check(
        |c| judge(c, 1, Verdict::Superseded),
        expect!["hold until healthy or target: there is no good generation to go back to"],
    );
    check(
        |c| c.available.clear(),
        expect![
            "hold until healthy or target: no good generation can be restored: generation 1: not checked yet"
        ],
    );
    check(
        |c| {
            c.available
                .insert(GenerationNumber(1), Err(String::from("the image of api is gone")));
        },
        expect![
            "hold until healthy or target: no good generation can be restored: generation 1: the image of api is gone"
        ],
    );
    check(
        |c| c.record.generations[0].not_restorable = Some(String::from("it was found by hand")),
        expect![
            "hold until healthy or target: no good generation can be restored: generation 1: it was found by hand"
        ],
    );
    check(
        |c| {
            let first = c.record.generations[0].clone();
            let blame = Blame::between(&first.release, None);
            c.record.quarantine.push(quarantine(&first, blame));
        },
        expect![
            "hold until healthy or target: no good generation can be restored: generation 1: its release is in quarantine"
        ],
    );
    check(
        |c| c.record.current = None,
        expect!["hold for a person: nothing is deployed"],
    );
}

#[test]
fn the_same_release_under_another_number_is_no_way_back() {
    check(
        |c| {
            let mut again = c.record.generations[1].clone();
            c.record.generations[1].verdict = Verdict::Good;
            again.number = GenerationNumber(3);
            c.record.generations.push(again);
            c.record.current = Some(GenerationNumber(3));
            c.available.insert(GenerationNumber(2), Ok(()));
        },
        expect!["to 1, blaming images api=000000000002"],
    );
    check(
        |c| {
            let mut again = c.record.generations[0].clone();
            (again.number, again.verdict) = (GenerationNumber(2), Verdict::Trial);
            c.record.generations[1] = again;
        },
        expect![
            "hold until healthy or target: no good generation can be restored: generation 1: it is the same in everything, so nothing would change"
        ],
    );
}

#[test]
fn a_restored_generation_that_fails_too_is_held() {
    check(
        |c| {
            judge(c, 2, Verdict::Bad);
            c.record.current = Some(GenerationNumber(1));
            c.record.restored = Some(Restored {
                from: GenerationNumber(2),
                to: GenerationNumber(1),
                at: at(0),
                request: request(2).id(),
            });
        },
        expect![
            "hold for a person: generation 1 was restored after generation 2 failed, and fails too: the cause is likely outside of the release"
        ],
    );
}

#[test]
fn the_budget_counts_per_request_and_within_its_span() {
    let spent = |request_number, seconds: &'static [u64]| {
        move |c: &mut Case| {
            let id = request(request_number).id();
            c.now = 4000;
            c.record.rollbacks = seconds.iter().map(|s| (id.clone(), at(*s))).collect();
        }
    };
    check(
        spent(2, &[3000, 3900]),
        expect!["hold for a person: 2 automatic rollbacks within 1h for this request: the budget is spent"],
    );
    check(
        spent(2, &[3900]),
        expect!["to 1, blaming images api=000000000002"],
    );
    check(
        spent(7, &[3000, 3900]),
        expect!["to 1, blaming images api=000000000002"],
    );
    check(
        spent(2, &[400, 3900]),
        expect!["to 1, blaming images api=000000000002"],
    );
}

/// Whoever sets the wall clock after a restart of the host makes no room in the budget.
#[test]
fn what_was_before_this_boot_counts_until_the_boot_is_as_old_as_the_span() {
    let long_ago = |now: u64| {
        move |c: &mut Case| {
            let then = Moment {
                wall_ms: 0,
                boot_ms: 9_000_000,
                boot_id: "the boot before".into(),
            };
            c.now = now;
            c.record.rollbacks = vec![(request(2).id(), then); 2].into();
        }
    };
    check(
        long_ago(3599),
        expect!["hold for a person: 2 automatic rollbacks within 1h for this request: the budget is spent"],
    );
    check(long_ago(3600), expect!["to 1, blaming images api=000000000002"]);
}

#[test]
fn a_rollback_is_unfinished_while_what_was_left_runs_and_nothing_else_is_asked_for() {
    let check = |verdict, standing: &Standing, expected| {
        let mut case = Case::new();
        judge(&mut case, 2, verdict);
        case.record.standing = standing.clone();
        assert_eq!(is_unfinished(&case.record), expected, "{verdict} {standing:?}");
    };
    let left = |number| Standing::Quarantined(GenerationNumber(number));
    check(Verdict::Bad, &left(2), true);
    // Another release was asked for meanwhile, and failed before it ran.
    check(Verdict::Bad, &left(3), true);
    // What is asked for now may be the way forward.
    check(Verdict::Bad, &Standing::Pending, false);
    check(Verdict::Bad, &Standing::Applied(GenerationNumber(2)), false);
    check(Verdict::Good, &left(3), false);
    check(Verdict::Trial, &left(3), false);
    let mut nothing = Case::new();
    nothing.record.current = None;
    nothing.record.standing = left(2);
    assert!(!is_unfinished(&nothing.record));
}

/// Invariant 7: once proven, only what differs in the failing service or below it is blamed.
#[test]
fn after_the_proof_a_rollback_must_be_able_to_mend() {
    let failing = |name: &'static str| {
        move |c: &mut Case| {
            judge(c, 2, Verdict::Good);
            c.services = vec![service(name)];
        }
    };
    check(failing("api"), expect!["to 1, blaming images api=000000000002"]);
    check(failing("web"), expect!["to 1, blaming images api=000000000002"]);
    check(
        failing("db"),
        expect![
            "hold until healthy: db fails, but neither it nor anything it depends on differs in generation 1: a rollback would not mend it"
        ],
    );
    check(
        |c| c.services = vec![service("db")],
        expect!["to 1, blaming images api=000000000002"],
    );
}

#[test]
fn a_schema_is_not_moved_and_an_unknown_one_is_waited_for() {
    let head = |revision: &str| SchemaHead::At(BTreeSet::from([revision.parse().unwrap()]));
    let schema = |proven: Option<SchemaHead>, is: Option<Known<SchemaHead>>| {
        move |c: &mut Case| {
            c.record.generations[0].schema = proven;
            c.schema = is;
        }
    };
    let known = |revision| Some(Known::Known(head(revision)));
    check(
        schema(Some(head("a1")), known("a1")),
        expect!["to 1, blaming images api=000000000002"],
    );
    check(
        schema(Some(head("a1")), known("b2")),
        expect![
            "hold until healthy: the schema stands at b2, generation 1 was proven at a1: going back would need a downgrade"
        ],
    );
    check(
        schema(Some(SchemaHead::NoTable), known("b2")),
        expect![
            "hold until healthy: the schema stands at b2, generation 1 was proven at nothing (no version table): going back would need a downgrade"
        ],
    );
    check(
        schema(
            Some(head("a1")),
            Some(Known::Unknown(String::from("connection refused"))),
        ),
        expect!["wait: the schema cannot be seen: connection refused"],
    );
    // Not for ever: somebody has to look after the database.
    let away = schema(
        Some(head("a1")),
        Some(Known::Unknown(String::from("connection refused"))),
    );
    check(
        |case| {
            away(case);
            case.record.health.failing_ms = 2 * 300_000 + 1;
        },
        expect!["hold until healthy or schema: the schema cannot be seen: connection refused"],
    );
    check(
        schema(None, known("b2")),
        expect!["hold until healthy: nobody knows at which schema generation 1 was proven"],
    );
    check(
        schema(Some(head("a1")), None),
        expect!["to 1, blaming images api=000000000002"],
    );
}

/// Whoever goes back asks the same question; what they make of the answer differs.
#[test]
fn the_schema_decides_for_the_agent_a_second_try_and_a_person_alike() {
    let head = |revision: &str| SchemaHead::At(BTreeSet::from([revision.parse().unwrap()]));
    let known = |revision| Some(Known::Known(head(revision)));
    let away = || Some(Known::Unknown(String::from("connection refused")));
    let rows = [
        ("fits", Some(head("a1")), known("a1")),
        ("no database", Some(head("a1")), None),
        ("differs", Some(head("a1")), known("b2")),
        ("never seen", None, known("b2")),
        ("never seen, away", None, away()),
        ("away", Some(head("a1")), away()),
    ];
    let mut text = String::new();
    for (name, proven, schema) in rows {
        let case = Case::new().on(|c| {
            c.record.generations[0].schema = proven;
            c.schema = schema;
        });
        let order =
            |vouched| match ordered(&case.record, &case.available, case.schema.as_ref(), None, vouched) {
                Ok(target) => format!("to {}", target.number),
                Err(refused) => format!("refused: {}", refused.why),
            };
        let second = words(&again(&case.record, &case.available, case.schema.as_ref(), None));
        text += &format!(
            "{name}\n  agent: {}\n  again: {second}\n  person: {}\n  vouched for: {}\n",
            words(&case.decide()),
            order(false),
            order(true)
        );
    }
    expect![[r#"
        fits
          agent: to 1, blaming images api=000000000002
          again: to 1, blaming images api=000000000002
          person: to 1
          vouched for: to 1
        no database
          agent: to 1, blaming images api=000000000002
          again: to 1, blaming images api=000000000002
          person: to 1
          vouched for: to 1
        differs
          agent: hold until healthy: the schema stands at b2, generation 1 was proven at a1: going back would need a downgrade
          again: hold for a person: the schema stands at b2, generation 1 was proven at a1: going back would need a downgrade
          person: refused: the schema stands at b2, generation 1 was proven at a1: going back would need a downgrade
          vouched for: refused: the schema stands at b2, generation 1 was proven at a1: going back would need a downgrade
        never seen
          agent: hold until healthy: nobody knows at which schema generation 1 was proven
          again: hold for a person: nobody knows at which schema generation 1 was proven
          person: refused: nobody knows at which schema generation 1 was proven
          vouched for: to 1
        never seen, away
          agent: hold until healthy: nobody knows at which schema generation 1 was proven
          again: hold for a person: nobody knows at which schema generation 1 was proven
          person: refused: nobody knows at which schema generation 1 was proven
          vouched for: to 1
        away
          agent: wait: the schema cannot be seen: connection refused
          again: hold until schema: the schema cannot be seen: connection refused
          person: refused: the schema cannot be seen: connection refused
          vouched for: to 1
    "#]]
    .assert_eq(&text);
}

#[test]
fn without_a_target_a_person_is_refused_and_a_second_try_is_held() {
    let both = |change: fn(&mut Case)| {
        let case = Case::new().on(change);
        let refused = ordered(&case.record, &case.available, None, None, true).unwrap_err();
        let second = words(&again(&case.record, &case.available, None, None));
        format!("{}; {}\n{second}", refused.why, refused.way_out.unwrap())
    };
    expect![[r#"
        there is no earlier good generation; pin a release that works
        hold until target: there is no good generation to go back to"#]]
    .assert_eq(&both(|c| judge(c, 1, Verdict::Superseded)));
    expect![[r#"
        generation 1: not checked yet; pin a release that works
        hold until target: no good generation can be restored: generation 1: not checked yet"#]]
    .assert_eq(&both(|c| c.available.clear()));
}

#[test]
fn the_severity_says_who_is_asked_first() {
    let of = |severity| move |c: &mut Case| c.row = SeverityMatrix::default().row(severity).clone();
    check(
        of(Severity::Critical),
        expect!["to 1, blaming images api=000000000002"],
    );
    check(
        of(Severity::High),
        expect!["ask: generation 2 fails; lead is asked for consent; back to generation 1 (v1)"],
    );
    check(of(Severity::Medium), expect!["report"]);
    check(of(Severity::Low), expect!["report"]);
}

/// `high`, asked at 100 s with half an hour to answer.
fn asked(answer: Option<Answer>, now: u64, on_timeout: OnTimeout) -> impl FnOnce(&mut Case) {
    move |c| {
        let lead: Role = "lead".parse().unwrap();
        c.now = now;
        c.row = SeverityPolicy {
            respond: Some(Duration::from_secs(1800)),
            action: FailureAction::Rollback,
            approval: Consent::By(lead),
            escalation: Vec::new(),
            on_timeout,
        };
        c.record.approval = Some(Approval {
            ask: Ask::Rollback {
                from: GenerationNumber(2),
                to: GenerationNumber(1),
            },
            request: request(2).id(),
            asked: at(100),
            detail: Vec::new(),
            answer: answer.map(|a| {
                (
                    a,
                    Author::Person {
                        uid: 7,
                        name: Some(String::from("ann")),
                    },
                )
            }),
        });
    }
}

#[test]
fn an_answer_decides_and_silence_times_out() {
    use OnTimeout::{Act, Hold};
    check(
        asked(Some(Answer::Granted), 200, Hold),
        expect!["to 1, blaming images api=000000000002"],
    );
    check(
        asked(Some(Answer::Denied), 200, Act),
        expect!["hold for a person: ann said no to the rollback"],
    );
    check(
        asked(None, 1899, Act),
        expect!["wait: lead was asked for consent 29m 59s ago"],
    );
    check(
        asked(None, 1900, Hold),
        expect!["hold until healthy: nobody answered within 30m"],
    );
    check(
        asked(None, 1900, Act),
        expect!["to 1, blaming images api=000000000002"],
    );
    // An answer about another rollback is none about this one.
    check(
        |c| {
            asked(Some(Answer::Granted), 200, Act)(c);
            if let Some(approval) = &mut c.record.approval {
                approval.ask = Ask::Rollback {
                    from: GenerationNumber(1),
                    to: GenerationNumber(1),
                };
            }
        },
        expect!["ask: generation 2 fails; lead is asked for consent; back to generation 1 (v1)"],
    );
}

proptest! {
    /// Any row of requests, good and bad: each bad one leads back to the newest good one before it,
    /// never to a bad one and never forward.
    #[test]
    fn never_to_a_bad_one(fates in prop::collection::vec(any::<bool>(), 1..12)) {
        let mut record = record(Vec::new());
        let mut proven: Option<GenerationNumber> = None;
        for (n, good) in fates.into_iter().enumerate() {
            let number = n as u64 + 1;
            let mut new = generation(number, release(&[("api", number)]), Verdict::Trial);
            let available: BTreeMap<_, _> = record.generations.iter().map(|g| (g.number, Ok(()))).collect();
            record.current = Some(new.number);
            if good {
                new.verdict = Verdict::Good;
                proven = Some(new.number);
                record.generations.push(new.into());
                continue;
            }
            record.generations.push(new.clone().into());
            let back = target(&record, &available).ok().map(|g| g.number);
            prop_assert_eq!(back, proven);
            let to = back.and_then(|back| record.generation(back)).map(|g| g.release.clone());
            record.quarantine.push(quarantine(&new, Blame::between(&new.release, to.as_ref())));
            record.generations[n].verdict = Verdict::Bad;
            record.current = back.or(record.current);
            // What was gone back to is not itself gone back from to something newer.
            if let Ok(older) = target(&record, &available) {
                prop_assert!(Some(older.number) < record.current);
                prop_assert_eq!(older.verdict, Verdict::Good);
            }
        }
    }
}

/// Generation 1 was proven at `proven`, generation 2 brought the schema to `stands`, and its image has `scripts`:
/// `b:a` is revision b, which follows a.
fn migrated(case: &mut Case, proven: &str, stands: &str, scripts: &str) {
    let set = |names: &str| {
        let names = names.split([' ', ',']).filter(|name| !name.is_empty());
        names.map(|name| name.parse().unwrap()).collect()
    };
    let row = |row: &str| {
        let (revision, before) = row.split_once(':').unwrap();
        (revision.parse().unwrap(), set(before))
    };
    let history = History::new(scripts.split_whitespace().map(row).collect()).unwrap();
    case.record.histories.insert(image(2), history);
    case.record.generations[0].schema = Some(SchemaHead::At(set(proven)));
    case.schema = Some(Known::Known(SchemaHead::At(set(stands))));
    case.tool = Some(MigrationTool {
        service: service("api"),
        commands: Commands::alembic(&[String::from("alembic")]),
        workdir: None,
        timeout: Duration::from_secs(60),
        lock_timeout: Duration::from_secs(1),
        upgrade: UpgradeBy::Agent,
        beside: Beside::default(),
        declared: Declared::default(),
    });
}

#[test]
fn a_schema_is_taken_back_where_the_image_that_is_left_has_the_way() {
    check(
        |c| migrated(c, "a", "b", "a: b:a"),
        expect!["to 1, blaming images api=000000000002"],
    );
    check(
        |c| migrated(c, "z", "b", "a: b:a"),
        expect![
            "hold until healthy: the schema stands at b, generation 1 was proven at z: going back would need a downgrade, and the image does not know revision z"
        ],
    );
    check(
        |c| migrated(c, "c", "b", "a: b:a c:a"),
        expect![
            "hold until healthy: the schema stands at b, generation 1 was proven at c: going back would need a downgrade, and c is not below b: they are on different branches"
        ],
    );
    check(
        |c| {
            migrated(c, "a", "b", "a: b:a");
            c.record.histories.clear();
        },
        expect![
            "hold until healthy: the schema stands at b, generation 1 was proven at a: going back would need a downgrade, and nobody has read the migrations of the release that runs now"
        ],
    );
    check(
        |c| {
            migrated(c, "a", "b", "a: b:a");
            c.tool = None;
        },
        expect![
            "hold until healthy: the schema stands at b, generation 1 was proven at a: going back would need a downgrade"
        ],
    );
    check(
        |c| {
            migrated(c, "b c", "d", "a: b:a c:a d:b,c");
            c.tool.as_mut().unwrap().beside.backup = RestoreBackup::Never;
        },
        expect![[
            r#"hold until healthy: the schema stands at d, generation 1 was proven at b + c: going back would need a downgrade, and b + c is several heads, and the tool goes to one at a time; write SQL for that, or restore_backup = "ask""#
        ]],
    );
}

/// The way back, in words.
fn back(case: &Case) -> String {
    let ways = Ways {
        tool: case.tool.as_ref(),
        record: &case.record,
    };
    match SchemaFit::of(ways, &case.record.generations[0], case.schema.as_ref()) {
        SchemaFit::Moves(way) => {
            let names = |all: &[crate::name::Revision]| {
                let names: Vec<&str> = all.iter().map(crate::name::Revision::as_str).collect();
                names.join(" ")
            };
            let one_way = way
                .one_way
                .as_ref()
                .map(|why| format!("; {why}"))
                .unwrap_or_default();
            format!(
                "{way} ({}), keeps ({}){one_way}",
                names(&way.revisions),
                names(&way.kept)
            )
        }
        SchemaFit::Stays { is, kept } => format!("stays at {is:?}, keeps {}", kept.len()),
        other => format!("{other:?}"),
    }
}

#[test]
fn what_nothing_takes_back_is_a_way_that_only_a_backup_goes() {
    let mut case = Case::new();
    migrated(&mut case, "a", "c", "a: b:a c:b");
    let history = case.record.histories[&image(2)].clone();
    let one_way = history.with_one_way(["b".parse().unwrap()].into());
    case.record.histories.insert(image(2), one_way);
    let words = "downgrade the schema from c to a with image 000000000002 (c b), keeps (); b cannot be taken back: its script \
                 says so";
    assert_eq!(back(&case), words);
    // The agent goes it, as far as it is its to say: whether there is a backup is seen then.
    assert_eq!(words_of(&case), "to 1, blaming images api=000000000002");
    case.tool.as_mut().unwrap().beside.by_hand = ["b", "c"].map(|name| name.parse().unwrap()).into();
    assert!(!back(&case).contains("cannot be taken back"));
    case.tool.as_mut().unwrap().beside = Beside {
        backup: RestoreBackup::Never,
        ..Beside::default()
    };
    assert!(
        back(&case).contains("restore_backup = \\\"ask\\\""),
        "{}",
        back(&case)
    );
    assert!(
        words_of(&case).starts_with("hold until healthy"),
        "{}",
        words_of(&case)
    );
}

fn words_of(case: &Case) -> String {
    words(&case.decide())
}

#[test]
fn what_is_declared_to_fit_stays() {
    use RollbackSchema::{Ask as Asks, Downgrade, Keep};
    let declared = |otherwise, of: &[(&str, RollbackSchema)]| {
        let mut case = Case::new();
        migrated(&mut case, "a", "d", "a: b:a c:b d:c");
        case.tool.as_mut().unwrap().declared = Declared {
            otherwise,
            of: of
                .iter()
                .map(|(name, what)| (name.parse().unwrap(), *what))
                .collect(),
        };
        case
    };
    let way = |otherwise, of: &[(&str, RollbackSchema)]| back(&declared(otherwise, of));
    let down = "downgrade the schema from d to";
    assert_eq!(
        way(Downgrade, &[]),
        format!("{down} a with image 000000000002 (d c b), keeps ()")
    );
    assert!(way(Keep, &[]).ends_with("keeps 3"), "{}", way(Keep, &[]));
    assert_eq!(
        way(Keep, &[("c", Downgrade)]),
        format!("{down} b with image 000000000002 (d c), keeps (b)")
    );
    assert_eq!(
        way(Downgrade, &[("b", Keep), ("d", Keep)]),
        format!("{down} b with image 000000000002 (d c), keeps (b)")
    );
    assert_eq!(
        words_of(&declared(Keep, &[])),
        "to 1, blaming images api=000000000002"
    );
    // A person is asked about what goes, and about nothing else.
    let asks = |case: &Case| matches!(case.decide(), Retreat::Ask { .. });
    assert!(asks(&declared(Asks, &[])));
    assert!(asks(&declared(Keep, &[("c", Asks)])));
    assert!(!asks(&declared(Downgrade, &[("a", Asks)])));
    let mut agreed = declared(Asks, &[]);
    if let Retreat::Ask { ask, detail } = agreed.decide() {
        assert!(
            detail[0].contains("rollback_schema is \"ask\" for d"),
            "{detail:?}"
        );
        agreed.record.approval = Some(Approval {
            ask,
            request: request(2).id(),
            asked: at(0),
            detail,
            answer: None,
        });
    }
    agreed.now = 1_000_000;
    // Nobody's silence says yes.
    assert!(
        matches!(agreed.decide(), Retreat::Wait(_)),
        "{:?}",
        agreed.decide()
    );
    agreed.record.approval.as_mut().unwrap().answer = Some((Answer::Granted, Author::Agent));
    assert_eq!(words_of(&agreed), "to 1, blaming images api=000000000002");
}

#[test]
fn a_settled_release_is_left_with_its_schema_only_by_a_person() {
    const DAY: u64 = 24 * 60 * 60;
    let settled = |c: &mut Case, for_seconds: u64| {
        migrated(c, "a", "b", "a: b:a");
        judge(c, 2, Verdict::Good);
        c.record.generations[1].judged = Some(at(0));
        c.now = for_seconds;
    };
    check(
        |c| settled(c, DAY - 1),
        expect!["to 1, blaming images api=000000000002"],
    );
    check(
        |c| settled(c, DAY),
        expect![
            "hold until healthy: generation 2 has been good for 24h, and going back to generation 1 would downgrade the schema from b to a with image 000000000002: the cause is likelier outside"
        ],
    );
    // Without a schema to be taken back it is left as ever.
    check(
        |c| {
            settled(c, DAY);
            c.schema = Some(Known::Known(c.record.generations[0].schema.clone().unwrap()));
        },
        expect!["to 1, blaming images api=000000000002"],
    );
}

#[test]
fn an_image_that_has_lost_its_migrations_takes_none_back() {
    let mut case = Case::new();
    migrated(&mut case, "a", "b", "a: b:a");
    let release = release(&[("api", 7)]);
    case.record.histories.insert(image(7), History::default());
    let ways = Ways {
        tool: case.tool.as_ref(),
        record: &case.record,
    };
    let stands = SchemaHead::At(["b".parse().unwrap()].into());
    let why = ways.of_release(&release, Some(&stands)).unwrap_err();
    assert_eq!(
        why,
        "the image of api has no migrations at all, and the schema stands at b"
    );
    assert_eq!(ways.of_release(&release, Some(&SchemaHead::NoTable)), Ok(None));
}
