//! A real Alembic and a real Postgres: a release brings its schema along, and takes it back with it. No row is lost.

use std::fs;

use agent::view::State;
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Engine, Lab, runs};

use super::schema::{sql, stands_at};
use super::{Scenario, everywhere, once};

pub(super) const ALL: &[Scenario] = &[
    everywhere("a_release_takes_its_schema_back_with_it", there_and_back),
    once("a_way_back_that_fails_leaves_all_as_it_was", no_way_back),
];

pub(super) const SECRET: &str = "a-secret-of-this-test";

/// `port`: where api listens; it is asked for at 8000. `worker` writes too, and follows no tag.
pub(super) fn stack(port: u16) -> String {
    format!(
        "services:
  postgres:
    image: steadfast-test/postgres:15
    labels: {{io.steadfast.test: e2e}}
    environment: {{POSTGRES_PASSWORD: \"${{PASSWORD:?}}\", POSTGRES_DB: tests}}
    volumes: [\"rows:/var/lib/postgresql/data\"]
    healthcheck:
      test: [CMD, pg_isready, --quiet, --host=127.0.0.1, --username=postgres]
      interval: 1s
      timeout: 3s
      retries: 60
  api:
    image: steadfast-test/api:${{TAG}}
    labels: {{io.steadfast.test: e2e}}
    environment:
      DATABASE_URL: postgresql://postgres:${{PASSWORD}}@postgres:5432/tests
    command: [uvicorn, \"main:app\", --host, 0.0.0.0, --port, \"{port}\", --no-access-log]
    depends_on: {{postgres: {{condition: service_healthy}}}}
    stop_grace_period: 5s
    deploy: {{update_config: {{monitor: 500ms}}}}
  worker:
    image: steadfast-test/base
    labels: {{io.steadfast.test: e2e}}
    environment: {{PGPASSWORD: \"${{PASSWORD}}\"}}
    command: [sh, -c, 'while :; do psql -qh postgres -U postgres tests -c \"CREATE TABLE IF NOT EXISTS beats (at timestamptz); INSERT INTO beats VALUES (now())\" ; sleep 0.2; done']
    depends_on: [postgres]
    init: true
    restart: always
    stop_grace_period: 5s
volumes:
  rows:
    labels: {{io.steadfast.test: e2e}}
"
    )
}

pub(super) const SETTINGS: &str = "\
[stack.NAME.trial]
window = \"8s\"
good_after = \"3s\"

[[stack.NAME.probe]]
name = \"api\"
service = \"api\"
kind = \"http\"
port = 8000
path = \"/health\"
interval = \"500ms\"

[stack.NAME.database]
service = \"postgres\"
dbname = \"tests\"
password_env = \"PASSWORD\"

[stack.NAME.database.migrations]
tool = \"alembic\"
service = \"api\"
timeout = \"2m\"
";

pub(super) fn begun(engine: &Engine, scenario: &str) -> Result<Lab> {
    begun_with(engine, scenario, SETTINGS)
}

pub(super) fn begun_with(engine: &Engine, scenario: &str, settings: &str) -> Result<Lab> {
    let lab = prepared(engine, scenario, settings)?;
    lab.start()?;
    filled(&lab)?;
    Ok(lab)
}

/// All files are there, and the daemon is not started yet.
pub(super) fn prepared(engine: &Engine, scenario: &str, settings: &str) -> Result<Lab> {
    let lab = Lab::new(engine, scenario)?;
    lab.write("stack/compose.yaml", &stack(8000))?;
    lab.write("stack/.env", &format!("PASSWORD={SECRET}\n"))?;
    lab.settings(settings)?;
    lab.ask("v1.4.0")?;
    Ok(lab)
}

/// The first release runs, and there are rows.
pub(super) fn filled(lab: &Lab) -> Result<()> {
    let good = lab.until_runs("v1.4.0", "good")?;
    ensure!(stands_at(&good, "0001"), "{:#?}", good.schema);
    let rows = "INSERT INTO backtests (symbol) SELECT 'S' || n FROM generate_series(1, 50) n";
    sql(lab, rows).map(drop)
}

/// What no migration of these tests touches.
pub(super) fn symbols(lab: &Lab) -> Result<String> {
    sql(
        lab,
        "SELECT md5(string_agg(id || symbol || created_at, ',' ORDER BY id)) FROM backtests",
    )
}

/// How many backups there are, all of them restored once.
fn backups(lab: &Lab) -> Result<usize> {
    let directory = lab.path("state/backups").join(&lab.name);
    let mut proven = 0;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = fs::read_to_string(&path)?;
            ensure!(text.contains("\"restored\""), "{}: {text}", path.display());
            ensure!(!text.contains(SECRET), "{}", path.display());
            proven += 1;
        }
    }
    Ok(proven)
}

pub(super) fn databases(lab: &Lab) -> Result<Vec<String>> {
    let names = sql(
        lab,
        "SELECT datname FROM pg_database WHERE datname LIKE 'tests%' ORDER BY 1",
    )?;
    Ok(names.lines().map(str::to_owned).collect())
}

fn there_and_back(engine: &Engine) -> Result<()> {
    let lab = begun(engine, "migrate")?;
    let (before, worker) = (symbols(&lab)?, lab.container("worker")?);
    // An empty database is backed up too before it is migrated.
    ensure!(backups(&lab)? == 1);
    lab.write("stack/compose.yaml", &stack(9999))?;
    lab.ask("v1.8.0")?;
    lab.until("the schema goes up with it", |s| stands_at(s, "0002"))?;
    sql(&lab, "UPDATE backtests SET interval = id || 'h' WHERE id <= 10")?;
    // What going back would take out of the database is known before anybody goes back.
    lab.until("it is said what would be lost", |s| {
        s.rollback.destroys == ["0002: the column interval of backtests"] || s.state == State::RollingBack
    })?;
    let beats = sql(&lab, "SELECT count(*) FROM beats")?;
    let back = lab.until("all of it is left", |s| {
        s.state == State::RolledBack && runs(s, "v1.4.0", "good") && stands_at(s, "0001")
    })?;
    ensure!(back.gap.is_some_and(|gap| gap.tag.as_deref() == Some("v1.8.0")));
    ensure!(symbols(&lab)? == before, "rows have changed");
    // Whoever follows no tag is the same container, and writes again.
    let again = lab.container("worker")?;
    ensure!(again.id == worker.id && again.is_running(), "{again:#?}");
    let more = "SELECT (SELECT count(*) FROM beats) > ".to_owned() + beats.trim();
    lab.when("the worker writes again", || {
        Ok((sql(&lab, &more)?.trim() == "t").then_some(()))
    })?;
    // What the way back has destroyed is in a backup of the copy, which goes then.
    lab.when("the copy is in a backup, and goes", || {
        Ok((databases(&lab)? == ["tests"]).then_some(()))
    })?;
    lab.until("nothing is under way", |s| s.operation.is_none())?;
    ensure!(backups(&lab)? == 3);
    ensure!(!lab.logged().contains(SECRET));

    // And forward again, when it is mended.
    lab.write("stack/compose.yaml", &format!("# mended\n{}", stack(8000)))?;
    let said = lab.run(&["retry", &lab.name])?;
    ensure!(said.code == 0, "{said:?}");
    let good = lab.until_runs("v1.8.0", "good")?;
    ensure!(stands_at(&good, "0002"), "{:#?}", good.schema);
    ensure!(symbols(&lab)? == before, "rows have changed");
    // Every interval is back, and in nobody's way.
    let intervals = sql(&lab, "SELECT count(*) FROM backtests WHERE interval = id || 'h'")?;
    ensure!(intervals.trim() == "10", "{intervals} intervals are back");
    let put_back = &good.taken_back[0];
    let counted = (
        put_back.rows,
        put_back.restored,
        put_back.skipped,
        put_back.conflicting,
    );
    ensure!(
        put_back.state == "put_back" && counted == (10, 10, 0, 0),
        "{put_back:#?}"
    );
    let history = lab.run(&["history", lab.name.as_str(), "--operations"])?;
    ensure!(
        history
            .out
            .contains("interval of backtests: 10 of 10 rows put back"),
        "{history:?}"
    );
    ensure!(!lab.logged().contains(SECRET));
    lab.end()
}

/// The downgrade raises: the copy takes the database's place, all serve as before, and a person is asked.
fn no_way_back(engine: &Engine) -> Result<()> {
    let lab = begun(engine, "no-way-back")?;
    lab.write("stack/compose.yaml", &stack(9999))?;
    lab.ask("v1.9.0")?;
    lab.until("the schema goes up with it", |s| stands_at(s, "0003"))?;
    sql(&lab, "UPDATE backtests SET notes = 'kept' WHERE id <= 10")?;
    let held = lab.until("it is held", |s| s.state == State::Held)?;
    let reason = held.hold.clone().context("no hold")?;
    ensure!(reason.why.contains("nobody has tried this"), "{reason:?}");
    ensure!(
        reason
            .why
            .contains("there is no SQL of the operator's for 0003, 0002"),
        "{reason:?}"
    );
    let said = lab.run(&["status", lab.name.as_str(), "--exit-code"])?;
    ensure!(said.code == 5, "{said:?}");
    ensure!(stands_at(&held, "0003"), "{:#?}", held.schema);
    // The failed way back has emptied them, and the schema is as it was: the rows are the copy's.
    let kept = sql(&lab, "SELECT count(*) FROM backtests WHERE notes = 'kept'")?;
    ensure!(kept.trim() == "10", "{kept}");
    for service in ["api", "worker"] {
        ensure!(lab.container(service)?.is_running(), "{service} does not run");
    }
    let said = lab.run(&["rollback", lab.name.as_str(), "--yes", "--wait"])?;
    ensure!(said.code == 5, "{said:?}");
    ensure!(!lab.logged().contains(SECRET));
    lab.end()
}
