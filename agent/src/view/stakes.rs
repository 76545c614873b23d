//! What a plan does to the database, as an operator reads it: how long its backup will take, what the schema is moved by,
//! what that takes out of the database, and what is tried where it fails.

use state::observed::Known;
use state::plan::Plan;
use state::schema_fit::{Direction, SchemaMove, apart, head};
use state::step::Step;

use super::{Action, PlannedChange};
use crate::backup::{Manifest, show_bytes};
use crate::shared::Snapshot;

/// What the steps of `plan` do to the database, in their order.
pub(super) fn stakes(plan: &Plan, snapshot: &Snapshot) -> Vec<PlannedChange> {
    let steps = plan.steps.iter().enumerate();
    let stakes = steps.filter_map(|(index, step)| match step {
        Step::Backup { copy: None, .. } => Some(PlannedChange {
            action: Action::Create,
            what: String::from("backup"),
            name: String::from("of the database"),
            detail: last(snapshot).map(as_the_last).into_iter().collect(),
            why: Vec::new(),
        }),
        Step::Migrate { way } => Some(PlannedChange {
            action: Action::Update,
            what: String::from("schema"),
            name: match &way.from {
                Some(from) => {
                    let (from, to) = apart(from, &way.to);
                    format!("{from} -> {to}")
                }
                None => format!("to {}", head(&way.to)),
            },
            detail: detail(way, plan, index, snapshot),
            why: Vec::new(),
        }),
        _ => None,
    });
    stakes.collect()
}

fn detail(way: &SchemaMove, plan: &Plan, index: usize, snapshot: &Snapshot) -> Vec<String> {
    let image = way.by.image.short();
    let mut lines = vec![match way.direction {
        Direction::Up => format!("upgraded by image {image} of {}", way.by.service),
        Direction::Down => format!("copied, and taken back by image {image} of {}", way.by.service),
    }];
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

/// The newest backup that was made of the database itself.
fn last(snapshot: &Snapshot) -> Option<&Manifest> {
    let Known::Known(listing) = &snapshot.backups else {
        return None;
    };
    listing.backups.iter().rev().find(|backup| backup.copy.is_none())
}

fn as_the_last(backup: &Manifest) -> String {
    let proven = backup.verified.as_ref();
    let proven = proven.map(|proven| format!(", and {} to prove it", state::decide::span(proven.took)));
    format!(
        "the last one had {} of a database of {}, and took {}{}",
        show_bytes(backup.bytes),
        show_bytes(backup.database_bytes),
        state::decide::span(backup.took),
        proven.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use expect_test::{Expect, expect};
    use state::backup::Proof;
    use state::migration_tool::Migration;
    use state::observed::SchemaHead;
    use state::taken_back::{Loss, Losses};

    use super::*;
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
            }),
        }
    }

    #[track_caller]
    fn check(steps: Vec<Step>, expected: &Expect) {
        let stakes = stakes(&Plan::of(steps), &sample::snapshot("restored"));
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
        check(
            vec![backup, way(Direction::Up, "b2", "c3"), put_in],
            &expect![[r#"
                Create backup of the database
                  the last one had 3.2 MiB of a database of 11.4 MiB, and took 1.2s
                Update schema b2 -> c3
                  upgraded by image 111111111111 of api
                  12 rows that operation 7 has taken out of the database get their place again
            "#]],
        );
        check(
            vec![way(Direction::Down, "c3", "b2")],
            &expect![[r#"
            Update schema c3 -> b2
              copied, and taken back by image 111111111111 of api
              takes out of the database: c3: the column note of orders
              that is kept, and put back where it has its place again; all of it is in the backup of the copy
              where all fails: everything is as before, and a person is asked
        "#]],
        );
    }
}
