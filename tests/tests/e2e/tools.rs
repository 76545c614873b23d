//! Tools other than Alembic, really run: a script of one's own, and Django. A release brings its schema along, and takes it
//! back with it; what has no way back is known before anybody stops.

use agent::view::{State, Status};
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Engine, Lab, runs};

use super::migrate::{SECRET, databases};
use super::schema::{sql, stands_at};
use super::{Scenario, once};

pub(super) const ALL: &[Scenario] = &[
    once("a_script_of_ones_own_moves_the_schema", by_script),
    once("django_moves_the_schema", by_django),
];

fn stack(image: &str) -> String {
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
  app:
    image: steadfast-test/{image}:${{TAG}}
    labels: {{io.steadfast.test: e2e}}
    environment:
      DATABASE_URL: postgresql://postgres:${{PASSWORD}}@postgres:5432/tests
      DB_HOST: postgres
      DB_DATABASE: tests
      DB_PASSWORD: ${{PASSWORD}}
    depends_on: {{postgres: {{condition: service_healthy}}}}
    init: true
    stop_grace_period: 5s
    deploy: {{update_config: {{monitor: 500ms}}}}
volumes:
  rows:
    labels: {{io.steadfast.test: e2e}}
"
    )
}

const SETTINGS: &str = "\
[stack.NAME.trial]
window = \"8s\"
good_after = \"2s\"

[[stack.NAME.probe]]
name = \"app\"
service = \"app\"
kind = \"http\"
port = 8000
path = \"/health\"
interval = \"500ms\"

[stack.NAME.database]
service = \"postgres\"
dbname = \"tests\"
password_env = \"PASSWORD\"
foreign_sessions = \"end\"

[stack.NAME.database.migrations]
service = \"app\"
timeout = \"2m\"
";

const SCRIPT: &str = "\
tool = \"custom\"
version_table = \"applied\"
current = \"SELECT name FROM {table} ORDER BY number DESC LIMIT 1\"
history = [\"/app/migrate.sh\", \"history\"]
upgrade = [\"/app/migrate.sh\", \"up\"]
downgrade = [\"/app/migrate.sh\", \"down\", \"{revision}\"]
sql = [\"/app/migrate.sh\", \"sql\"]
";

const BY_HAND: &str = "
[stack.NAME.database.manual.\"3_upper\"]
downgrade = \"DELETE FROM applied WHERE number = 3\"

[stack.NAME.database.manual.\"2_interval\"]
downgrade = \"ALTER TABLE orders DROP COLUMN interval; DELETE FROM applied WHERE number = 2\"
";

const STAYS: &str = "
[stack.NAME.database.manual.\"2_interval\"]
rollback_schema = \"keep\"
";

fn begun(engine: &Engine, scenario: &str, image: &str, tool: &str) -> Result<Lab> {
    let lab = Lab::new(engine, scenario)?;
    lab.write("stack/compose.yaml", &stack(image))?;
    lab.write("stack/.env", &format!("PASSWORD={SECRET}\n"))?;
    lab.settings(&format!("{SETTINGS}{tool}"))?;
    lab.ask("v1")?;
    lab.start()?;
    Ok(lab)
}

fn symbols(lab: &Lab, table: &str) -> Result<String> {
    sql(
        lab,
        &format!("SELECT md5(string_agg(id || symbol, ',' ORDER BY id)) FROM {table}"),
    )
}

/// A second release brings the column `interval` and is left: all of it goes, no other row has changed, and the column's
/// values are back when it comes again.
fn there_and_back(
    lab: &Lab,
    table: &str,
    at_first: impl Fn(&Status) -> bool,
    at_second: impl Fn(&Status) -> bool,
    destroys: &[&str],
) -> Result<()> {
    let good = lab.until_runs("v1", "good")?;
    ensure!(at_first(&good), "{:#?}", good.schema);
    sql(
        lab,
        &format!("INSERT INTO {table} (symbol) SELECT 's' || n FROM generate_series(1, 50) n"),
    )?;
    let before = symbols(lab, table)?;
    lab.ask("v2")?;
    let good = lab.until_runs("v2", "good")?;
    ensure!(at_second(&good), "{:#?}", good.schema);
    sql(
        lab,
        &format!("UPDATE {table} SET interval = id || 'h' WHERE id <= 10"),
    )?;
    let told = lab.until("it is said what would be lost", |s| {
        !s.rollback.destroys.is_empty()
    })?;
    ensure!(
        told.rollback.destroys == destroys,
        "{:#?}",
        told.rollback.destroys
    );

    let said = lab.run(&["rollback", lab.name.as_str(), "--yes", "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    lab.until("all of it is left", |s| {
        s.state == State::RolledBack && runs(s, "v1", "good") && at_first(s)
    })?;
    ensure!(symbols(lab, table)? == before, "rows have changed");
    let column = format!(
        "SELECT count(*) FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attname = 'interval'"
    );
    ensure!(sql(lab, &column)?.trim() == "0", "the column is still there");
    lab.when("the copy is in a backup, and goes", || {
        Ok((databases(lab)? == ["tests"]).then_some(()))
    })?;

    // The next release has the same, and one more that nothing takes back.
    lab.ask("v3")?;
    let good = lab.until_runs("v3", "good")?;
    ensure!(!at_second(&good), "{:#?}", good.schema);
    let intervals = format!("SELECT count(*) FROM {table} WHERE interval = id || 'h'");
    let back = sql(lab, &intervals)?;
    ensure!(back.trim() == "10", "{back} intervals are back");
    let put_back = &good.taken_back[0];
    ensure!(
        put_back.state == "put_back" && put_back.restored == 10,
        "{put_back:#?}"
    );
    Ok(())
}

/// Nobody is stopped for a way back that there is not. A person is asked whether the backup from before is gone back to.
fn no_way_back(lab: &Lab, why: &str) -> Result<()> {
    let app = lab.container("app")?;
    let told = lab.status()?.context("no status")?;
    let one_way = told.rollback.one_way.as_ref();
    ensure!(
        told.rollback.ready && one_way.is_some_and(|told| told.contains(why)),
        "{:#?}",
        told.rollback
    );
    let said = lab.run(&["rollback", lab.name.as_str(), "--yes", "--wait"])?;
    ensure!(said.code == 4 && said.complains(why), "{said:?}");
    let still = lab.container("app")?;
    ensure!(still.id == app.id && still.is_running(), "{still:#?}");
    let asked = lab.status()?.context("no status")?;
    let approval = asked.approval.context("nobody is asked")?;
    ensure!(
        approval.ask == "restore_backup" && approval.answer.is_none(),
        "{approval:#?}"
    );
    ensure!(asked.hold.is_some_and(|hold| hold.why.contains(why)), "no hold");
    Ok(())
}

/// It is agreed to: the older release serves, with the rows of the backup, and the database as it was stays beside.
fn by_backup(lab: &Lab, table: &str) -> Result<()> {
    let now = sql(lab, &format!("SELECT count(*) FROM {table}"))?;
    let said = lab.run(&["approve", lab.name.as_str(), "--wait"])?;
    ensure!(said.code == 6 || said.code == 0, "{said:?}");
    lab.until("the older release serves", |s| {
        s.state == State::RolledBack && runs(s, "v1", "good")
    })?;
    ensure!(
        sql(lab, &format!("SELECT count(*) FROM {table}"))? == now,
        "rows are gone"
    );
    let beside = databases(lab)?;
    ensure!(
        beside.iter().any(|name| name.starts_with("tests_before_")),
        "{beside:?}"
    );
    Ok(())
}

fn by_script(engine: &Engine) -> Result<()> {
    let lab = begun(engine, "script", "scripts", SCRIPT)?;
    there_and_back(
        &lab,
        "orders",
        |s| stands_at(s, "1_orders"),
        |s| stands_at(s, "2_interval"),
        &["2_interval: the column interval of orders"],
    )?;
    no_way_back(&lab, "3_upper cannot be taken back: its history says so")?;
    // Whoever does not want that says so, and gets the release back that was left.
    let said = lab.run(&["deny", lab.name.as_str()])?;
    ensure!(said.code == 0, "{said:?}");
    let said = lab.run(&["retry", lab.name.as_str(), "--wait"])?;
    ensure!(said.code == 0, "{said:?}");

    // With SQL for it there is one: the script fails, and leaves nothing.
    lab.terminate()?;
    lab.settings(&format!("{SETTINGS}{SCRIPT}{BY_HAND}"))?;
    lab.start()?;
    lab.until_runs("v3", "good")?;
    let said = lab.run(&["rollback", lab.name.as_str(), "--yes", "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    lab.until("all of it is left", |s| {
        s.state == State::RolledBack && runs(s, "v1", "good") && stands_at(s, "1_orders")
    })?;
    let upper = sql(&lab, "SELECT count(*) FROM orders WHERE symbol = upper(symbol)")?;
    ensure!(upper.trim() == "50", "{upper}");

    // What the older release is declared to run with stays, and nothing is copied for it.
    lab.terminate()?;
    lab.settings(&format!("{SETTINGS}{SCRIPT}{STAYS}"))?;
    lab.start()?;
    lab.ask("v2")?;
    lab.until("it is in quarantine", |s| {
        s.asked.as_ref().is_some_and(|asked| asked.tag == "v2")
    })?;
    let said = lab.run(&["retry", lab.name.as_str(), "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    let told = lab.until("it is said what stays", |s| !s.rollback.kept.is_empty())?;
    ensure!(told.rollback.kept == ["2_interval"], "{:#?}", told.rollback);
    let said = lab.run(&["rollback", lab.name.as_str(), "--yes", "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    lab.until("the older release runs on the newer schema", |s| {
        s.state == State::RolledBack && runs(s, "v1", "good") && stands_at(s, "2_interval")
    })?;
    let history = lab.run(&["history", lab.name.as_str(), "--operations"])?;
    let last = history.out.split("\noperation ").next().unwrap_or_default();
    ensure!(
        last.contains("rollback") && !last.contains("copy the database"),
        "{last}"
    );
    ensure!(!lab.logged().contains(SECRET));
    lab.end()
}

fn by_django(engine: &Engine) -> Result<()> {
    let lab = begun(engine, "django", "django", "tool = \"django\"\n")?;
    let has = |status: &Status, revision: &str| {
        let schema = status.schema.as_ref();
        schema.is_some_and(|schema| {
            // With all of Django's own.
            schema.heads.len() > 15 && schema.heads.iter().any(|head| head == revision)
        })
    };
    there_and_back(
        &lab,
        "shop_order",
        |s| has(s, "shop.0001_initial") && !has(s, "shop.0002_interval"),
        |s| has(s, "shop.0002_interval") && !has(s, "shop.0003_upper"),
        &[
            "shop.0002_interval: the table \"shop_note\"",
            "shop.0002_interval: the column \"interval\" of \"shop_order\"",
        ],
    )?;
    no_way_back(
        &lab,
        "shop.0003_upper cannot be taken back: an operation of it has no reverse",
    )?;
    let status = lab.run(&["status", lab.name.as_str()])?;
    ensure!(
        status
            .out
            .contains("schema sites.0002_alter_domain_unique and 18 more"),
        "{status:?}"
    );
    by_backup(&lab, "shop_order")?;
    ensure!(!lab.logged().contains(SECRET));
    lab.end()
}
