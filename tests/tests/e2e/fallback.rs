//! A way back of Alembic's that fails, and what is tried in its place. Nothing is built upon what it has left, and no row
//! is lost.

use agent::view::{History, State};
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Engine, Lab, runs};

use super::migrate::{SECRET, SETTINGS, begun, begun_with, databases, stack, symbols};
use super::schema::{sql, stands_at};
use super::{Scenario, once};

pub(super) const ALL: &[Scenario] = &[
    once("the_operators_sql_takes_over_where_alembic_fails", by_sql),
    once("a_backup_is_gone_back_to_where_nothing_else_leads", by_backup),
];

/// Alembic, which leaves a table behind outside of its transaction when it goes down.
const PROGRAM: &str = r#"program = ["sh", "-c", '''alembic "$@"; code=$?; [ "$1" != downgrade ] || python3 -c "import os, psycopg2; c = psycopg2.connect(os.environ['DATABASE_URL']); c.autocommit = True; c.cursor().execute('CREATE TABLE left_behind (a int)')"; exit $code''', "alembic"]
"#;

/// `table`: what the SQL of the newest revision is about.
fn settings(table: &str) -> String {
    format!(
        "{SETTINGS}{PROGRAM}
[stack.NAME.database.manual.\"0003\"]
downgrade = \"SELECT 'a-value'; ALTER TABLE {table} DROP COLUMN notes\"

[stack.NAME.database.manual.\"0002\"]
downgrade = \"ALTER TABLE backtests DROP COLUMN interval;\"
"
    )
}

fn left_behind(lab: &Lab) -> Result<bool> {
    Ok(sql(lab, "SELECT to_regclass('left_behind') IS NOT NULL")?.trim() == "t")
}

fn by_sql(engine: &Engine) -> Result<()> {
    let lab = begun_with(engine, "by-sql", &settings("none"))?;
    let before = symbols(&lab)?;
    lab.write("stack/compose.yaml", &stack(9999))?;
    lab.ask("v1.9.0")?;
    lab.until("the schema goes up with it", |s| stands_at(s, "0003"))?;
    sql(&lab, "UPDATE backtests SET notes = 'kept' WHERE id <= 10")?;

    // Both fail: all is as it was, and a person is told what was tried.
    let held = lab.until("it is held", |s| s.state == State::Held)?;
    let reason = held.hold.clone().context("no hold")?;
    for words in [
        "nobody has tried this",
        "line 1 of the SQL for 0003",
        "\"none\" does not exist",
    ] {
        ensure!(reason.why.contains(words), "{words}: {reason:?}");
    }
    ensure!(
        stands_at(&held, "0003") && !left_behind(&lab)?,
        "{:#?}",
        held.schema
    );
    let kept = sql(&lab, "SELECT count(*) FROM backtests WHERE notes = 'kept'")?;
    ensure!(kept.trim() == "10", "{kept}");
    for service in ["api", "worker"] {
        ensure!(lab.container(service)?.is_running(), "{service} does not run");
    }

    // With the SQL mended the old release serves.
    lab.terminate()?;
    lab.settings(&settings("backtests"))?;
    lab.start()?;
    lab.until("it is seen again", |s| {
        s.state == State::Held && s.rollback.to.is_some()
    })?;
    let said = lab.run(&["rollback", lab.name.as_str(), "--yes", "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    let back = lab.until("all of it is left", |s| {
        runs(s, "v1.4.0", "good") && stands_at(s, "0001")
    })?;
    ensure!(back.state == State::RolledBack, "{:?}", back.state);
    ensure!(symbols(&lab)? == before, "rows have changed");
    ensure!(!left_behind(&lab)?, "it was built upon what failed");
    let there = databases(&lab)?;
    ensure!(there.iter().any(|name| name.ends_with("_aside")), "{there:?}");
    let said = lab.run(&["history", lab.name.as_str(), "--operations", "--json"])?;
    let history: History = serde_json::from_str(&said.out).with_context(|| format!("{said:?}"))?;
    let told = history.operations.iter().flat_map(|operation| &operation.steps);
    let told: Vec<&String> = told.filter_map(|step| step.told.as_ref()).collect();
    let both = [
        "nobody has tried this",
        "done with the operator's SQL for 0003, 0002",
    ];
    ensure!(
        told.iter()
            .any(|told| both.iter().all(|words| told.contains(words))),
        "{told:?}"
    );
    let log = lab.logged();
    ensure!(!log.contains(SECRET) && !log.contains("a-value"));
    lab.end()
}

/// With no SQL either, a person is asked, with the rows that would be lost; then the backup from before has the name, the
/// old release serves, and the database as it was is kept.
fn by_backup(engine: &Engine) -> Result<()> {
    let lab = begun(engine, "by-backup")?;
    let before = symbols(&lab)?;
    lab.write("stack/compose.yaml", &stack(9999))?;
    lab.ask("v1.9.0")?;
    lab.until("the schema goes up with it", |s| stands_at(s, "0003"))?;
    sql(
        &lab,
        "INSERT INTO backtests (symbol, notes) SELECT 'N', 'a-value' FROM generate_series(1, 7)",
    )?;
    let held = lab.until("it is held, and asks", |s| {
        s.state == State::Held && s.approval.is_some()
    })?;
    let asked = held.approval.clone().context("nothing is asked")?;
    ensure!(
        asked.ask == "restore_backup" && asked.answer.is_none(),
        "{asked:?}"
    );
    let lost = "public.backtests: at least 7 rows more than in it, which would be lost";
    ensure!(asked.detail.iter().any(|line| line == lost), "{asked:?}");
    ensure!(stands_at(&held, "0003"), "{:#?}", held.schema);
    for service in ["api", "worker"] {
        ensure!(lab.container(service)?.is_running(), "{service} does not run");
    }
    let said = lab.run(&["status", lab.name.as_str(), "--exit-code"])?;
    ensure!(said.code == 5 && said.answers(lost), "{said:?}");

    let said = lab.run(&["approve", lab.name.as_str(), "--wait"])?;
    ensure!(said.code == 6, "{said:?}");
    let back = lab.until("all of it is left", |s| {
        s.state == State::RolledBack && runs(s, "v1.4.0", "good") && stands_at(s, "0001")
    })?;
    ensure!(back.approval.is_none() && back.hold.is_none(), "{back:#?}");
    ensure!(symbols(&lab)? == before, "rows have changed");
    ensure!(lab.container("worker")?.is_running(), "the worker does not run");
    let there = databases(&lab)?;
    ensure!(
        there.iter().any(|name| name.starts_with("tests_before_")),
        "{there:?}"
    );
    let log = lab.logged();
    ensure!(!log.contains(SECRET) && !log.contains("a-value"));
    lab.end()
}
