#![allow(clippy::unwrap_used)]
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::collections::BTreeSet;
use std::time::Duration;

use expect_test::{Expect, expect};

use super::*;
use crate::fixture::{container, image, service, stack};
use crate::integrity::Check;
use crate::observed::{ContainerObs, ContainerState};
use crate::stack_spec::RestartPolicy;

fn running(n: u64, of: &str, restart: RestartPolicy) -> ContainerDetail {
    ContainerDetail {
        summary: ContainerObs {
            id: container(n),
            name: format!("shop-{of}-1"),
            service: service(of),
            number: 1,
            image: image(1),
            state: ContainerState::Running(None),
            spec: None,
            operation: None,
            oneoff: false,
            restarts: None,
        },
        restart,
        networks: Vec::new(),
        anonymous: Vec::new(),
        writable: BTreeSet::new(),
        homes: BTreeSet::new(),
        started: None,
    }
}

fn plan(database: Option<&str>) -> Plan {
    let spec = stack(&[
        ("db", &[]),
        ("api", &["db"]),
        ("web", &["api"]),
        ("tools", &[]),
        ("cache", &[]),
    ]);
    let running = [
        running(1, "db", RestartPolicy::Always),
        running(2, "web", RestartPolicy::Always),
        running(3, "api", RestartPolicy::No),
        running(4, "tools", RestartPolicy::No),
        running(5, "cache", RestartPolicy::No),
    ];
    let (database, tools) = (database.map(service), service("tools"));
    let ground = Restoring {
        spec: &spec,
        running: &running,
        database: database.as_ref(),
        migrates: Some(&tools),
        end_foreign: false,
        looks: Looks {
            checks: &[Check {
                name: String::from("orders"),
                query: String::from("SELECT true"),
                expect: String::from("true"),
                within: Duration::from_secs(5),
            }],
            counts: true,
        },
    };
    restore(Dumped::Backup("20261126T191500Z-7".parse().unwrap()), &ground).unwrap()
}

fn check(plan: &Plan, expected: &Expect) {
    // The numbers are as wide as their widest.
    let lines: String = plan
        .to_string()
        .lines()
        .map(|line| format!("{}\n", line.trim_start()))
        .collect();
    expected.assert_eq(&lines);
}

#[test]
fn who_writes_is_down_for_as_long_as_the_names_change_hands() {
    check(
        &plan(Some("db")),
        &expect![[r#"
            1. restore the backup 20261126T191500Z-7 into a new database
            2. back the database up, and restore the backup to prove it
            3. ask the integrity checks and count the rows, of what is in use, and of what was restored
            4. hold back the restart policy of 000000000002
            5. stop web (000000000002), by force after 10 s
            6. stop api (000000000003), by force after 10 s
            7. stop tools (000000000004), by force after 10 s
            8. bar the database, and see that nobody is in it
            9. give what was restored the database's name, and keep the old one
            10. let connections to the database in again
            11. start tools (000000000004)
            12. wait until tools runs, at most 20 s
            13. start api (000000000003)
            14. wait until api runs, at most 20 s
            15. start web (000000000002)
            16. wait until web runs, at most 20 s
            17. give 000000000002 its restart policy (Always)
        "#]],
    );
}

#[test]
fn whoever_may_write_to_a_database_outside_is_down_too() {
    let stopped = |plan: &Plan| {
        let stops = plan.steps.iter().filter(|step| matches!(step, Step::Stop { .. }));
        stops
            .filter_map(Step::service)
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(stopped(&plan(None)).len(), 5);
    assert_eq!(stopped(&plan(Some("db"))), ["web", "api", "tools"]);
}

/// Whatever fails, all of it is taken back: the old database has its name again before anybody writes.
#[test]
fn every_step_that_somebody_notices_is_taken_back() {
    let plan = plan(Some("db"));
    for step in &plan.steps {
        let looks = step.only_looks() || step.is_harmless();
        let gives = matches!(step, Step::OpenDatabase | Step::GiveRestart { .. });
        assert!(looks || gives || step.undo().is_some(), "{step}");
        assert!(!step.is_final(), "{step}");
    }
    assert_eq!(Step::TakePlace.undo(), Some(Step::GiveBack));
}
