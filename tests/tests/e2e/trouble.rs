//! A database that refuses, and migrations that are not what they should be: a real Postgres and a real Alembic. Each ends in
//! a state that says to an operator what is wrong, and no row is lost.

use std::process::Child;

use agent::view::{State, Status};
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Engine, Lab, runs};

use super::migrate::{SECRET, SETTINGS, databases, filled, prepared, symbols};
use super::schema::stands_at;
use super::{Scenario, once};

pub(super) const ALL: &[Scenario] = &[
    once("a_database_that_refuses_is_said_and_waited_for", refusing),
    once("a_downgrade_that_does_nothing_leaves_every_row", does_nothing),
    once("a_downgrade_that_commits_halfway_is_taken_back_whole", halfway),
];

/// The agent has a login of its own, so that it alone can be shut out.
const KEEPER: &str = "CREATE ROLE keeper SUPERUSER LOGIN PASSWORD 'a-secret-of-this-test';";

/// `more` is for `postgres`, `api` for `api`.
fn stack(more: &str, api: &str, port: u16) -> String {
    format!(
        "services:
  postgres:
    image: steadfast-test/postgres:15
    labels: {{io.steadfast.test: e2e}}
    environment: {{POSTGRES_PASSWORD: \"${{PASSWORD:?}}\", POSTGRES_DB: tests}}
    volumes: [\"rows:/var/lib/postgresql/data\", \"./init.sql:/docker-entrypoint-initdb.d/init.sql:ro\"]
{more}  api:
    image: steadfast-test/api:${{TAG}}
    labels: {{io.steadfast.test: e2e}}
    environment:
      DATABASE_URL: postgresql://postgres:${{PASSWORD}}@postgres:5432/tests
    command: [uvicorn, \"main:app\", --host, 0.0.0.0, --port, \"{port}\", --no-access-log]
{api}    depends_on: [postgres]
    stop_grace_period: 5s
    deploy: {{update_config: {{monitor: 500ms}}}}
volumes:
  rows:
    labels: {{io.steadfast.test: e2e}}
"
    )
}

/// Nothing of what is done to the database here makes a release look bad.
fn settings(dbname: &str) -> String {
    SETTINGS
        .replace("\"8s\"", "\"30m\"")
        .replace("\"3s\"", "\"1s\"")
        .replace(
            "dbname = \"tests\"",
            &format!("dbname = \"{dbname}\"\nuser = \"keeper\""),
        )
        .replace("\"2m\"", "\"2m\"\nlock_timeout = \"1s\"")
}

/// With the agent's own login.
fn begun(engine: &Engine, name: &str, settings: &str, compose: &str) -> Result<Lab> {
    let lab = prepared(engine, name, settings)?;
    lab.write("stack/init.sql", KEEPER)?;
    lab.write("stack/compose.yaml", compose)?;
    Ok(lab)
}

/// In any database, as the superuser that the application has.
fn sql(lab: &Lab, database: &str, sql: &str) -> Result<String> {
    let postgres = lab.container("postgres")?.id;
    let words = [
        "psql",
        "-XqAtv",
        "ON_ERROR_STOP=1",
        "-U",
        "postgres",
        "-d",
        database,
        "-c",
        sql,
    ];
    lab.engine.exec(&postgres, &words)
}

/// A shell in the container, until it ends or is ended.
fn shell(lab: &Lab, script: &str) -> Result<Child> {
    let postgres = lab.container("postgres")?.id;
    let words = ["exec", "-u", "postgres", &postgres, "sh", "-c", script];
    let mut command = lab.engine.command(std::path::Path::new("docker"), &words);
    Ok(command.spawn()?)
}

fn is_unseen(status: &Status, words: &str) -> bool {
    let schema = status.schema.as_ref();
    schema.is_some_and(|schema| schema.unknown.as_ref().is_some_and(|why| why.contains(words)))
}

/// While the database refuses with `words` it is said so, a backup and a way back are refused with that, and what runs goes
/// on running.
fn is_said(lab: &Lab, words: &str, before: &str) -> Result<()> {
    let api = lab.container("api")?;
    let said = lab.run(&["backup", &lab.name, "--timeout", "90s"])?;
    ensure!(said.code != 0 && said.complains(words), "{said:?}");
    let said = lab.run(&["rollback", &lab.name, "--yes", "--wait", "--timeout", "60s"])?;
    ensure!(said.code != 0 && !said.complains("it goes on"), "{said:?}");
    lab.until(words, |s| is_unseen(s, words))?;
    lab.until("nothing is under way", |s| {
        s.operation.is_none() && runs(s, "v1.8.0", "good")
    })?;
    let now = lab.container("api")?;
    ensure!(now.id == api.id && now.is_running(), "{now:#?}");
    ensure!(symbols(lab)? == before, "rows have changed");
    Ok(())
}

/// While the database does not answer, with `words`, a backup waits, and the log says for what; it is made once `over` has
/// ended that.
fn is_waited_for(lab: &Lab, words: &str, over: impl FnOnce() -> Result<()>) -> Result<()> {
    let count = |s: &Status| s.backups.as_ref().map_or(0, |backups| backups.count);
    let before = count(&lab.status()?.context("no status")?);
    let said = lab.run(&["backup", &lab.name, "--timeout", "3s"])?;
    ensure!(said.code == 1 && said.complains("it goes on"), "{said:?}");
    lab.until("it waits", |s| {
        s.operation.is_some() && lab.logged().contains(words)
    })?;
    over()?;
    lab.until("it is made", |s| {
        s.operation.is_none() && count(s) == before + 1 && stands_at(s, "0002")
    })?;
    Ok(())
}

fn refusing(engine: &Engine) -> Result<()> {
    let few = "    command: [postgres, -c, max_connections=20]\n";
    let compose = stack(few, "", 8000);
    let lab = begun(engine, "refusing", &settings("tests"), &compose)?;
    lab.start()?;
    filled(&lab)?;
    let before = symbols(&lab)?;

    // A revision that nobody has.
    lab.write(
        "etc/desired.toml",
        "[NAME]\ntag = \"v1.8.0\"\nmigration = \"9999\"\n",
    )?;
    let said = lab.until("it is said", |s| is_told(s, "9999"))?;
    ensure!(
        runs(&said, "v1.4.0", "good") && stands_at(&said, "0001"),
        "{said:#?}"
    );

    // Somebody holds the table for long: nothing queues up behind it, and the release comes when it is free.
    let mut holder = shell(
        &lab,
        "psql -d tests -c \"BEGIN; LOCK backtests IN ACCESS SHARE MODE; SELECT pg_sleep(600)\"",
    )?;
    lab.when("it is held", || {
        let held = "SELECT count(*) FROM pg_locks WHERE relation = 'backtests'::regclass AND granted";
        Ok((sql(&lab, "tests", held)? == "1").then_some(()))
    })?;
    lab.ask("v1.8.0")?;
    lab.until("it is said", |s| is_told(s, "lock timeout"))?;
    ensure!(symbols(&lab)? == before, "rows have changed");
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK%'";
    sql(&lab, "postgres", end)?;
    holder.wait()?;
    let good = lab.until_runs("v1.8.0", "good")?;
    ensure!(stands_at(&good, "0002"), "{:#?}", good.schema);
    sql(&lab, "tests", "UPDATE backtests SET interval = id || 'h'")?;

    refusals(&lab, &before)?;
    starting_up(&lab)?;

    // All of it is over, and the way back is as good as ever.
    let said = lab.run(&["rollback", &lab.name, "--yes", "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    lab.until("all of it is left", |s| {
        s.state == State::RolledBack && runs(s, "v1.4.0", "good") && stands_at(s, "0001")
    })?;
    ensure!(symbols(&lab)? == before, "rows have changed");
    lab.until("what it has taken is kept", |s| {
        s.taken_back
            .first()
            .is_some_and(|taken| taken.state == "kept" && taken.rows == 50)
    })?;
    ensure!(!lab.logged().contains(SECRET), "a secret is in the log");
    lab.end()
}

/// Whether an operator reads these words in what `status` says.
fn is_told(status: &Status, words: &str) -> bool {
    let hold = status.hold.iter().map(|hold| &hold.why);
    let gap = status.gap.iter().map(|gap| &gap.why);
    let next = status.next.iter().map(|next| &next.why);
    let problems = status.problems.iter().map(|problem| &problem.message);
    let mut all = hold.chain(gap).chain(next).chain(problems).chain(&status.waits);
    all.any(|told| told.contains(words))
}

fn refusals(lab: &Lab, before: &str) -> Result<()> {
    // Another password.
    sql(lab, "postgres", "ALTER ROLE keeper PASSWORD 'another'")?;
    is_said(lab, "password authentication failed for user \"keeper\"", before)?;
    sql(lab, "postgres", &KEEPER.replace("CREATE ROLE", "ALTER ROLE"))?;

    // No connection is free. Those that are there are the application's, for all that the agent knows.
    let many = "for n in $(seq 40); do (while :; do psql -h postgres -U postgres -c 'SELECT pg_sleep(3)' >/dev/null 2>&1; \
                sleep 0.2; done) & done; wait";
    // From another container: what is left of it there is no child of the server's.
    let elsewhere = lab.container("api")?.id;
    let password = format!("PGPASSWORD={SECRET}");
    let words = ["exec", "-e", &password, &elsewhere, "sh", "-c", many];
    let mut flood = lab
        .engine
        .command(std::path::Path::new("docker"), &words)
        .spawn()?;
    lab.when("no connection is free", || {
        Ok(sql(lab, "postgres", "SELECT 1").is_err().then_some(()))
    })?;
    is_waited_for(lab, "too many clients", || {
        // The server ends those whose clients are gone when they have slept.
        lab.engine.exec(&elsewhere, &["pkill", "-f", "seq 40"])?;
        flood.wait()?;
        Ok(())
    })?;
    ensure!(symbols(lab)? == before, "rows have changed");

    // Another database than there is.
    lab.terminate()?;
    lab.settings(&settings("nowhere"))?;
    lab.start()?;
    is_said(lab, "database \"nowhere\" does not exist", before)?;
    lab.terminate()?;
    lab.settings(&settings("tests"))?;
    lab.start()?;
    lab.until("it is seen again", |s| {
        s.operation.is_none() && stands_at(s, "0002")
    })?;
    Ok(())
}

/// A server that has to catch up first: it fetches what it missed, which does not come.
fn starting_up(lab: &Lab) -> Result<()> {
    let wait = "ALTER SYSTEM SET restore_command = 'while [ -e /tmp/wait ]; do sleep 0.2; done; false'";
    sql(lab, "postgres", wait)?;
    let postgres = lab.container("postgres")?.id;
    let signal = "touch /tmp/wait $PGDATA/recovery.signal";
    ensure!(shell(lab, signal)?.wait()?.success(), "no signal");
    lab.engine.docker(&["restart", "-t", "20", &postgres])?;
    is_waited_for(lab, "the database system is starting up", || {
        ensure!(shell(lab, "rm /tmp/wait")?.wait()?.success(), "it waits on");
        Ok(())
    })
}

/// Migrations of a test, for each tag; the image's own are hidden.
const VERSIONS: &str = "    volumes: [\"./versions-${TAG}:/app/migrations/versions:ro\"]\n";

fn revision(number: u32, up: &str, down: &str) -> String {
    let before = if number == 1 {
        String::from("None")
    } else {
        format!("\"{:04}\"", number - 1)
    };
    format!(
        "import sqlalchemy as sa
from alembic import op

revision = \"{number:04}\"
down_revision = {before}
branch_labels = None
depends_on = None


def upgrade():
    {up}


def downgrade():
    {down}
"
    )
}

/// v1.4.0 has the table, and v1.8.0 a column more, which goes down like that.
fn migrations(lab: &Lab, down: &str) -> Result<()> {
    let table = "op.create_table(\"backtests\", sa.Column(\"id\", sa.Integer, primary_key=True), \
         sa.Column(\"symbol\", sa.Text, nullable=False), sa.Column(\"created_at\", sa.DateTime(timezone=True), \
         server_default=sa.func.now(), nullable=False))";
    let column = "op.add_column(\"backtests\", sa.Column(\"interval\", sa.Text))";
    for tag in ["v1.4.0", "v1.8.0"] {
        let directory = format!("stack/versions-{tag}");
        std::fs::create_dir(lab.path(&directory))?;
        lab.write(
            &format!("{directory}/0001.py"),
            &revision(1, table, "op.drop_table(\"backtests\")"),
        )?;
    }
    lab.write("stack/versions-v1.8.0/0002.py", &revision(2, column, down))
}

/// A release that went up, has rows of its own, and is bad.
fn bad(engine: &Engine, name: &str, down: &str) -> Result<Lab> {
    let lab = begun(
        engine,
        name,
        &settings("tests").replace("\"30m\"", "\"6s\""),
        &stack("", VERSIONS, 8000),
    )?;
    migrations(&lab, down)?;
    lab.start()?;
    filled(&lab)?;
    lab.write("stack/compose.yaml", &stack("", VERSIONS, 9999))?;
    lab.ask("v1.8.0")?;
    lab.until("the schema goes up with it", |s| stands_at(s, "0002"))?;
    sql(&lab, "tests", "UPDATE backtests SET interval = id || 'h'")?;
    Ok(lab)
}

fn intervals(lab: &Lab) -> Result<String> {
    sql(
        lab,
        "tests",
        "SELECT count(*) FROM backtests WHERE interval = id || 'h'",
    )
}

fn does_nothing(engine: &Engine) -> Result<()> {
    let lab = bad(engine, "does-nothing", "pass")?;
    let before = symbols(&lab)?;
    let back = lab.until("all of it is left", |s| {
        s.state == State::RolledBack && runs(s, "v1.4.0", "good") && stands_at(s, "0001")
    })?;
    ensure!(back.hold.is_none(), "{back:#?}");
    ensure!(
        symbols(&lab)? == before && intervals(&lab)? == "50",
        "rows have changed"
    );

    // What is there already cannot be made again, which is said; the old release serves on.
    let said = lab.run(&["retry", &lab.name, "--wait"])?;
    ensure!(said.code != 0, "{said:?}");
    let left = lab.until("it is said", |s| {
        s.operation.is_none() && is_told(s, "already exists")
    })?;
    ensure!(
        runs(&left, "v1.4.0", "good") && stands_at(&left, "0001"),
        "{left:#?}"
    );
    ensure!(
        symbols(&lab)? == before && intervals(&lab)? == "50",
        "rows have changed"
    );
    ensure!(!lab.logged().contains(SECRET), "a secret is in the log");
    lab.end()
}

fn halfway(engine: &Engine) -> Result<()> {
    let down = "op.execute(\"DELETE FROM backtests WHERE id > 40\")
    with op.get_context().autocommit_block():
        op.drop_column(\"backtests\", \"interval\")
    raise RuntimeError(\"and not a step further\")";
    let lab = bad(engine, "halfway", down)?;
    let before = symbols(&lab)?;
    let held = lab.until("it is held", |s| s.state == State::Held)?;
    let reason = held.hold.clone().context("no hold")?;
    ensure!(reason.why.contains("and not a step further"), "{reason:?}");
    ensure!(
        stands_at(&held, "0002") && runs(&held, "v1.8.0", "bad"),
        "{held:#?}"
    );
    ensure!(
        symbols(&lab)? == before && intervals(&lab)? == "50",
        "rows have changed"
    );
    ensure!(lab.container("api")?.is_running(), "the api does not run");
    let there = databases(&lab)?;
    ensure!(there.iter().any(|name| name.ends_with("_aside")), "{there:?}");
    ensure!(!lab.logged().contains(SECRET), "a secret is in the log");
    lab.end()
}
