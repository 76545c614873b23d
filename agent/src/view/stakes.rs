//! What a plan does to the database, as an operator reads it: how long its backup will take, what the schema is moved by,
//! what that takes out of the database, and what is tried where it fails.

use std::time::Duration;

use state::decide::span;
use state::integrity::{Check, names};
use state::journal::Kind;
use state::plan::Plan;
use state::schema_fit::{Direction, SchemaMove, apart, head};
use state::step::Step;

use super::expected::Past;
use super::{Action, PlannedChange};
use crate::shared::Snapshot;

/// What the steps of `plan` do to the database, in their order.
pub(super) fn stakes(kind: Kind, plan: &Plan, snapshot: &Snapshot) -> Vec<PlannedChange> {
    let past = Past::of(kind, plan, snapshot);
    let steps = plan.steps.iter().enumerate();
    let stakes = steps.filter_map(|(index, step)| match step {
        Step::Backup { copy: None, .. } => Some(PlannedChange {
            action: Action::Create,
            what: String::from("backup"),
            name: String::from("of the database"),
            detail: past.of_backup(),
            why: Vec::new(),
        }),
        Step::Migrate { way, checks } => Some(PlannedChange {
            action: Action::Update,
            what: String::from("schema"),
            name: match &way.from {
                Some(from) => {
                    let (from, to) = apart(from, &way.to);
                    format!("{from} -> {to}")
                }
                None => format!("to {}", head(&way.to)),
            },
            detail: detail((way, checks), plan, index, (snapshot, &past)),
            why: Vec::new(),
        }),
        _ => None,
    });
    let moves = plan.steps.iter().any(|step| matches!(step, Step::Migrate { .. }));
    let stays = plan.kept_at.as_ref().filter(|_| !moves).map(|at| PlannedChange {
        action: Action::Update,
        what: String::from("schema"),
        name: format!("stays at {}", head(at)),
        detail: vec![String::from(
            "no copy is made, and nothing is taken out of the database: the older release is declared to run with it \
             (rollback_schema)",
        )],
        why: Vec::new(),
    });
    stakes.chain(stays).collect()
}

fn detail(
    (way, checks): (&SchemaMove, &[Check]),
    plan: &Plan,
    index: usize,
    (snapshot, past): (&Snapshot, &Past<'_>),
) -> Vec<String> {
    let image = way.by.image.short();
    let mut lines = vec![match way.direction {
        Direction::Up => format!("upgraded by image {image} of {}", way.by.service),
        Direction::Down => format!("copied, and taken back by image {image} of {}", way.by.service),
    }];
    lines.push(past.of_migration(way.direction));
    lines.extend(asked(checks, plan));
    let destroys = way.destroys();
    lines.extend(
        destroys
            .iter()
            .map(|line| format!("takes out of the database: {line}")),
    );
    if !destroys.is_empty() {
        lines.push(String::from(
            "that is kept, and put back where it has its place again; all of it is in the backup of the copy",
        ));
    }
    lines.extend(way.kept.iter().map(|revision| {
        format!("{revision} stays: the older release is declared to run with it (rollback_schema)")
    }));
    let instead = plan
        .instead
        .get(&index)
        .into_iter()
        .flat_map(|instead| &instead.steps);
    lines.extend(instead.map(|step| format!("where that fails: {step}")));
    if way.direction == Direction::Down {
        lines.push(String::from(
            "where all fails: everything is as before, and a person is asked",
        ));
    }
    let put_in = plan.steps.iter().filter_map(|step| match step {
        Step::PutIn { of, .. } => Some(of),
        _ => None,
    });
    lines.extend(put_in.map(|of| {
        let taken = snapshot.record.taken_back.get(of);
        let rows = taken
            .and_then(|taken| taken.saved.as_ref())
            .map(|saved| saved.rows);
        let rows = rows.map_or_else(|| String::from("what"), |rows| format!("{rows} rows that"));
        format!("{rows} operation {of} has taken out of the database get their place again")
    }));
    lines
}

/// What is asked of the database, so that nobody wonders what else the outage is for.
fn asked(below: &[Check], plan: &Plan) -> Option<String> {
    if !below.is_empty() {
        let longest: Duration = below.iter().map(|check| check.within).sum();
        return Some(format!(
            "asked when it is down, while nobody serves: {} (at most {} in all)",
            names(below),
            span(longest)
        ));
    }
    let looks = plan.steps.iter().find_map(|step| match step {
        Step::Look { checks, .. } if !checks.is_empty() => Some(checks),
        _ => None,
    });
    looks.map(|checks| format!("asked before and after: {}", names(checks)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use expect_test::{Expect, expect};
    use state::backup::Proof;
    use state::migration_tool::Migration;
    use state::observed::SchemaHead;
    use state::taken_back::{Loss, Losses};

    use super::*;
    use crate::took::Took;
    use crate::view::sample;

    fn way(direction: Direction, from: &str, to: &str) -> Step {
        let at = |name: &str| SchemaHead::At([name.parse().unwrap()].into());
        let newer = from.max(to);
        let column = Loss::Column {
            table: String::from("orders"),
            column: String::from("note"),
        };
        Step::Migrate {
            way: Box::new(SchemaMove {
                direction,
                by: Migration {
                    service: "api".parse().unwrap(),
                    image: format!("sha256:{}", "1".repeat(64)).parse().unwrap(),
                    command: vec![String::from("alembic")],
                    workdir: None,
                    within: Duration::from_secs(60),
                    lock_timeout: Duration::from_secs(1),
                },
                from: Some(at(from)),
                to: at(to),
                revisions: vec![newer.parse().unwrap()],
                losses: match direction {
                    Direction::Down => Losses::from([(newer.parse().unwrap(), vec![column])]),
                    Direction::Up => Losses::new(),
                },
                one_way: None,
                kept: Vec::new(),
            }),
            checks: match direction {
                Direction::Up => Vec::new(),
                Direction::Down => vec![orders()],
            },
        }
    }

    fn orders() -> Check {
        Check {
            name: String::from("orders"),
            query: String::from("SELECT count(*) > 0 FROM orders"),
            expect: String::from("true"),
            within: Duration::from_secs(5),
        }
    }

    #[track_caller]
    fn check(kind: Kind, snapshot: &Snapshot, steps: Vec<Step>, expected: &Expect) {
        let plan = Plan::of(steps);
        let stakes = stakes(kind, &plan, snapshot);
        let lines: Vec<String> = stakes
            .iter()
            .map(|change| {
                let detail: String = change.detail.iter().map(|line| format!("\n  {line}")).collect();
                format!("{:?} {} {}{detail}\n", change.action, change.what, change.name)
            })
            .collect();
        expected.assert_eq(&lines.concat());
    }

    #[test]
    fn what_is_at_stake_is_said_before_anything_runs() {
        let backup = Step::Backup {
            proof: Proof::Restore,
            copy: None,
        };
        let put_in = Step::PutIn { of: 7, last: true };
        let look = Step::Look {
            when: state::integrity::When::Before,
            checks: vec![orders()],
            counts: false,
        };
        let mut snapshot = sample::snapshot("restored");
        check(
            Kind::Deploy,
            &snapshot,
            vec![backup, look, way(Direction::Up, "b2", "c3"), put_in],
            &expect![[r#"
                Create backup of the database
                  about 5.3s with its proof
                  the last one had 3.2 MiB of a database of 11.4 MiB, and took 1.2s, and 4.1s to prove it
                Update schema b2 -> c3
                  upgraded by image 111111111111 of api
                  how long these migrations take nobody knows
                  asked before and after: orders
                  12 rows that operation 7 has taken out of the database get their place again
            "#]],
        );
        let down = || vec![way(Direction::Down, "c3", "b2")];
        check(
            Kind::Rollback,
            &snapshot,
            down(),
            &expect![[r#"
            Update schema c3 -> b2
              copied, and taken back by image 111111111111 of api
              nobody knows yet how long the copy takes; a backup with its proof takes about 5.3s; how long these migrations take nobody knows
              asked when it is down, while nobody serves: orders (at most 5s in all)
              takes out of the database: c3: the column note of orders
              that is kept, and put back where it has its place again; all of it is in the backup of the copy
              where all fails: everything is as before, and a person is asked
        "#]],
        );
        // Twice as large as when it was backed up, and one went down before.
        snapshot.database_bytes = Some(24_000_000);
        let seconds = Duration::from_secs;
        snapshot.past = std::sync::Arc::new([Took {
            operation: 12,
            kind: Kind::Rollback,
            moved: Some(Direction::Down),
            whole: seconds(20),
            outage: seconds(9),
            backup: Duration::ZERO,
            copy: seconds(4),
            migration: seconds(1),
        }]);
        check(
            Kind::Rollback,
            &snapshot,
            down(),
            &expect![[r#"
            Update schema c3 -> b2
              copied, and taken back by image 111111111111 of api
              the copy takes about 8s; how long these migrations take nobody knows: the last ones down took 1s
              asked when it is down, while nobody serves: orders (at most 5s in all)
              takes out of the database: c3: the column note of orders
              that is kept, and put back where it has its place again; all of it is in the backup of the copy
              where all fails: everything is as before, and a person is asked
        "#]],
        );
        let plan = Plan::of(down());
        let all = Past::of(Kind::Rollback, &plan, &snapshot).of_all(&plan).unwrap();
        expect![
            "about 24s, and for about 13s of that containers are down: as the last rollback of this sort took (operation 12), with the database as large as it is now"
        ]
        .assert_eq(&all.words);
        let all = Past::of(Kind::Deploy, &plan, &snapshot).of_all(&plan).unwrap();
        expect!["nobody knows yet how long it takes: no deploy of this sort has come to its end here"]
            .assert_eq(&all.words);
        assert_eq!(
            Past::of(Kind::Heal, &Plan::default(), &snapshot).of_all(&Plan::default()),
            None
        );
    }
}
