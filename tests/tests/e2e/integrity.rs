//! Migrations that do what they say and lose rows: a check of the operator's sees it, and what failed is taken back.

use agent::view::{History, OperationRow, State};
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Engine, Lab, runs};

use super::migrate::{SECRET, SETTINGS, begun_with, stack, symbols};
use super::schema::{sql, stands_at};
use super::{Scenario, once};

pub(super) const ALL: &[Scenario] = &[
    once("a_migration_that_loses_rows_is_taken_back", lost_on_the_way_up),
    once("a_downgrade_that_loses_rows_is_taken_back", lost_on_the_way_down),
];

/// Alembic; after it has gone this way, rows are gone.
fn settings(way: &str) -> String {
    let program = format!(
        r#"program = ["sh", "-c", '''alembic "$@" || exit; [ "$1" != {way} ] || [ "$3" = --sql ] || python3 -c "import os, psycopg2; c = psycopg2.connect(os.environ['DATABASE_URL']); c.autocommit = True; c.cursor().execute('DELETE FROM backtests WHERE id > 40')"''', "alembic"]"#
    );
    format!(
        "{SETTINGS}{program}

[[stack.NAME.database.integrity]]
name = \"backtests\"
query = \"SELECT count(*) >= 50 FROM backtests\"
expect = true

[[stack.NAME.database.integrity]]
name = \"symbols\"
query = \"SELECT count(*) FROM backtests WHERE symbol = ''\"
expect = 0

[[stack.NAME.database.integrity]]
name = \"never\"
query = \"SELECT 'a-value'\"
expect = \"another\"
"
    )
}

fn operations(lab: &Lab) -> Result<Vec<OperationRow>> {
    let said = lab.run(&["history", lab.name.as_str(), "--operations", "--json"])?;
    let history: History = serde_json::from_str(&said.out).with_context(|| format!("{said:?}"))?;
    Ok(history.operations)
}

fn no_value_is_told(lab: &Lab) -> Result<()> {
    let log = lab.logged();
    let said = lab.run(&["history", lab.name.as_str(), "--operations"])?;
    for (what, text) in [("log", &log), ("history", &said.out)] {
        ensure!(
            !text.contains(SECRET) && !text.contains("a-value"),
            "{what}: {text}"
        );
    }
    Ok(())
}

fn lost_on_the_way_up(engine: &Engine) -> Result<()> {
    let lab = begun_with(engine, "lost-up", &settings("upgrade"))?;
    let before = symbols(&lab)?;
    lab.ask("v1.8.0")?;
    let back = lab.until("it is taken back", |s| {
        s.state == State::RolledBack && runs(s, "v1.4.0", "good") && stands_at(s, "0001")
    })?;
    ensure!(back.gap.is_some_and(|gap| gap.tag.as_deref() == Some("v1.8.0")));
    let all = operations(&lab)?;
    let left = all
        .iter()
        .find(|row| row.ending == "left")
        .context("none is left")?;
    let why = left.failure.clone().unwrap_or_default();
    for words in [
        "the integrity check backtests held before, and differs from what is expected after it",
        "fewer rows: public.backtests 50 -> 40",
        "what was in the database before is in the backup",
    ] {
        ensure!(why.contains(words), "{words}: {why}");
    }
    // What failed before says nothing, and neither does what holds.
    ensure!(!why.contains("never") && !why.contains("check symbols"), "{why}");
    let check = left.checks.iter().find(|check| check.name == "never");
    let check = check.and_then(|check| check.before.clone()).unwrap_or_default();
    ensure!(check == "differs from what is expected", "{:?}", left.checks);

    // The operator gets the rows back with that backup.
    let backup = why.split("is in the backup ").nth(1).context("no backup")?;
    let said = lab.run(&["restore", lab.name.as_str(), backup.trim(), "--yes"])?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(symbols(&lab)? == before, "rows are missing");
    let all = operations(&lab)?;
    let restore = all
        .iter()
        .find(|row| row.kind == "restore")
        .context("no restore")?;
    let rows = restore.rows.clone().context("nobody has counted")?;
    let table = rows.tables.iter().find(|table| table.table == "public.backtests");
    let counted = table.map(|table| (table.before, table.after));
    ensure!(counted == Some((Some(40), Some(50))), "{rows:?}");
    no_value_is_told(&lab)?;
    lab.end()
}

/// The downgrade says that all went well: the copy takes the database's place all the same, nothing is lost, and a person
/// is asked.
fn lost_on_the_way_down(engine: &Engine) -> Result<()> {
    let lab = begun_with(engine, "lost-down", &settings("downgrade"))?;
    let before = symbols(&lab)?;
    lab.write("stack/compose.yaml", &stack(9999))?;
    lab.ask("v1.8.0")?;
    lab.until("the schema goes up with it", |s| stands_at(s, "0002"))?;
    sql(&lab, "UPDATE backtests SET interval = 'kept' WHERE id <= 10")?;
    let held = lab.until("it is held", |s| s.state == State::Held)?;
    let reason = held.hold.clone().context("no hold")?;
    let words = "the integrity check backtests held before, and differs from what is expected after it";
    ensure!(reason.why.contains(words), "{reason:?}");
    ensure!(stands_at(&held, "0002"), "{:#?}", held.schema);
    ensure!(symbols(&lab)? == before, "rows are missing");
    let kept = sql(&lab, "SELECT count(*) FROM backtests WHERE interval = 'kept'")?;
    ensure!(kept.trim() == "10", "{kept}");
    // The way up has lost nothing, and says how many rows there were.
    let all = operations(&lab)?;
    let up = all
        .iter()
        .rfind(|row| row.kind == "deploy" && row.checks.iter().any(|c| c.after.is_some()));
    let up = up.context("no deploy was looked at")?;
    ensure!(up.rows.is_some(), "{up:#?}");
    no_value_is_told(&lab)?;
    lab.end()
}
