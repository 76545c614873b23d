//! A real Alembic and a real Postgres: the schema is part of what was asked for, of what was proven,
//! and of what differs; and it is moved by nobody but a person.

use agent::view::{GenerationRow, History, State, Status};
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Engine, Lab, runs};

use super::{Scenario, once};

pub(super) const ALL: &[Scenario] = &[once("the_schema_is_part_of_a_release", schema)];

/// The images of the demo. `more` is for `api`.
fn stack(more: &str) -> String {
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
    deploy: {{update_config: {{monitor: 500ms}}}}
  api:
    image: steadfast-test/api:${{TAG}}
    labels: {{io.steadfast.test: e2e}}
    environment:
      DATABASE_URL: postgresql://postgres:${{PASSWORD}}@postgres:5432/tests
      MIGRATE_ON_START: 1
    depends_on: {{postgres: {{condition: service_healthy}}}}
    stop_grace_period: 5s
    deploy: {{update_config: {{monitor: 500ms}}}}
{more}volumes:
  rows:
    labels: {{io.steadfast.test: e2e}}
"
    )
}

/// A start takes the api some seconds.
const SETTINGS: &str = "\
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
";

pub(super) fn sql(lab: &Lab, query: &str) -> Result<String> {
    let words = ["psql", "-U", "postgres", "-d", "tests", "-Atc", query];
    lab.engine.exec(&lab.container("postgres")?.id, &words)
}

pub(super) fn stands_at(status: &Status, head: &str) -> bool {
    status
        .schema
        .as_ref()
        .is_some_and(|schema| schema.heads == [head])
}

/// The newest generation.
fn newest(lab: &Lab) -> Result<GenerationRow> {
    let said = lab.run(&["history", &lab.name, "--json"])?;
    let history: History = serde_json::from_str(&said.out).with_context(|| format!("{said:?}"))?;
    history.generations.into_iter().next().context("no generation")
}

fn schema(engine: &Engine) -> Result<()> {
    let lab = Lab::new(engine, "schema")?;
    lab.write("stack/compose.yaml", &stack(""))?;
    lab.write("stack/.env", "PASSWORD=a-secret-of-this-test\n")?;
    lab.settings(SETTINGS)?;
    lab.ask("v1.4.0")?;
    lab.start()?;
    let good = lab.until_runs("v1.4.0", "good")?;
    ensure!(stands_at(&good, "0001"), "{:#?}", good.schema);
    let first = newest(&lab)?;
    ensure!(first.schema == ["0001"], "{first:#?}");
    sql(&lab, "INSERT INTO backtests (symbol) VALUES ('precious')")?;
    drifts(&lab, &first)?;
    going_back(&lab)?;
    ensure!(!lab.logged().contains("a-secret-of-this-test"));
    lab.end()
}

/// A revision that is asked for makes another release, and a schema that was moved by hand is shown,
/// and left where it is.
fn drifts(lab: &Lab, first: &GenerationRow) -> Result<()> {
    let before = (lab.container("api")?, lab.container("postgres")?);
    lab.write(
        "etc/desired.toml",
        "[NAME]\ntag = \"v1.4.0\"\nmigration = \"0001\"\n",
    )?;
    lab.until("the revision is part of what is asked for", |s| {
        s.asked.as_ref().is_some_and(|a| a.migration == "0001") && s.as_asked && runs(s, "v1.4.0", "good")
    })?;
    let second = newest(lab)?;
    ensure!(second.generation == first.generation + 1, "{second:#?}");
    ensure!(
        second.release != first.release && second.images == first.images,
        "{second:#?}"
    );

    let words = "the schema stands at 0002, 0001 is asked for";
    sql(lab, "UPDATE alembic_version SET version_num = '0002'")?;
    let seen = lab.until("it is shown", |s| s.drift.iter().any(|d| d.what == words))?;
    lab.until("some passes were made", |s| s.version > seen.version + 8)?;
    ensure!(
        sql(lab, "SELECT version_num FROM alembic_version")? == "0002",
        "it was moved"
    );
    let after = (lab.container("api")?, lab.container("postgres")?);
    ensure!(after == before, "something was touched: {after:#?}");
    sql(lab, "UPDATE alembic_version SET version_num = '0001'")?;
    lab.until("it is over", |s| s.drift.is_empty() && stands_at(s, "0001"))?;
    Ok(())
}

/// A release that has moved the schema and fails is not left as long as the one before could not live
/// with what is there.
fn going_back(lab: &Lab) -> Result<()> {
    let elsewhere =
        "    command: [uvicorn, \"main:app\", --host, 0.0.0.0, --port, \"9999\", --no-access-log]\n";
    lab.write("stack/compose.yaml", &stack(elsewhere))?;
    lab.ask("v1.8.0")?;
    let held = lab.until("it is held", |s| s.state == State::Held)?;
    let reason = held.hold.clone().context("no hold")?;
    ensure!(
        reason.why.contains("the schema stands at 0002") && reason.why.contains("need a downgrade"),
        "{reason:?}"
    );
    ensure!(
        runs(&held, "v1.8.0", "trial") && stands_at(&held, "0002"),
        "{held:#?}"
    );
    let rollback = ["rollback", lab.name.as_str(), "--yes", "--wait"];
    let said = lab.run(&rollback)?;
    ensure!(said.code == 5 && said.err.contains("downgrade"), "{said:?}");

    let api = lab.container("api")?;
    lab.engine.exec(&api.id, &["alembic", "downgrade", "0001"])?;
    let said = lab.run(&rollback)?;
    ensure!(said.code == 0, "{said:?}");
    let back = lab.until("it is left", |s| {
        s.state == State::RolledBack && runs(s, "v1.4.0", "good") && stands_at(s, "0001")
    })?;
    ensure!(back.gap.is_some_and(|gap| gap.tag.as_deref() == Some("v1.8.0")));
    ensure!(sql(lab, "SELECT symbol FROM backtests")? == "precious");
    Ok(())
}
