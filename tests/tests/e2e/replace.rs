//! Containers are replaced: in which order, what is carried over, and what is put back when it fails.

use std::net::TcpListener;

use agent::view::State;
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Container, Engine, Lab, TRIAL, WEB, WEB_PROBE};

use super::{Scenario, everywhere, once};

pub(super) const ALL: &[Scenario] = &[
    everywhere("an_undeclared_volume_is_carried_over", carried_over),
    everywhere("a_failed_replacement_puts_the_old_one_back", put_back),
    everywhere("a_lodger_that_was_taken_out_comes_back", lodger),
    everywhere("a_data_change_waits_for_an_approval", data_change),
    once(
        "a_data_change_that_fails_is_left_as_it_stands",
        failed_data_change,
    ),
    once("a_database_keeps_its_rows", database),
];

/// Which came first: the start of the new container, or the stop of the old one.
fn start_first(lab: &Lab, old: &Container, new: &Container) -> Result<bool> {
    let calls = lab.proxy.calls();
    let started = calls.iter().position(|c| c.does("start", &new.id));
    let stopped = calls.iter().position(|c| c.does("stop", &old.id));
    let started = started.context("the new container was not started by the agent")?;
    Ok(started < stopped.context("the old container was not stopped by the agent")?)
}

fn carried_over(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "carry", "v1")?;
    let order = "deploy:\n      update_config: {order: start-first, monitor: 500ms}\n";
    let web = WEB.replace("deploy:\n      update_config: {monitor: 500ms}\n", order);
    let data = web
        .replace("services:\n  web:", "  data:")
        .replace("tiny:${TAG}", "tiny:volume-${TAG}");
    lab.write("stack/compose.yaml", &format!("{web}{data}"))?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let (web, data) = (lab.container("web")?, lab.container("data")?);
    ensure!(data.volumes.len() == 1, "{data:?}");
    engine.exec(&data.id, &["/tiny", "write", "/data/row", "precious"])?;
    lab.proxy.forget();

    lab.ask("v2")?;
    lab.until_runs("v2", "good")?;
    let (new_web, new_data) = (lab.container("web")?, lab.container("data")?);
    ensure!(
        new_data.id != data.id && new_data.volumes == data.volumes,
        "{new_data:?}"
    );
    ensure!(engine.exec(&new_data.id, &["/tiny", "read", "/data/row"])? == "precious");
    ensure!(engine.exec(&new_data.id, &["/tiny", "version"])? == "v2");
    ensure!(start_first(&lab, &web, &new_web)?, "start-first was asked for");
    ensure!(
        !start_first(&lab, &data, &new_data)?,
        "two containers had one writable volume"
    );
    lab.end()
}

fn put_back(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "back", "v1")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let old = lab.container("web")?;
    lab.ask("crash")?;
    let failed = lab.until("the deploy has failed", |s| s.state == State::RolledBack)?;
    let gap = failed.gap.context("no reason is given")?;
    ensure!(gap.why.contains("exited with code 1"), "{gap:?}");
    let back = lab.container("web")?;
    ensure!(back.id == old.id && back.is_running(), "{back:?}");
    ensure!(back.name == old.name);
    let said = lab.run(&["status", &lab.name, "--exit-code"])?;
    ensure!(said.code == 1, "{said:?}");

    // A port that somebody else has.
    let taken = TcpListener::bind(("127.0.0.1", 0))?;
    let port = taken.local_addr()?.port();
    lab.write(
        "stack/compose.yaml",
        &format!("{WEB}    ports: [\"127.0.0.1:{port}:8080\"]\n"),
    )?;
    lab.ask("v2")?;
    let failed = lab.until("the deploy has failed", |s| {
        s.operation.is_none() && s.gap.as_ref().is_some_and(|gap| gap.tag.as_deref() == Some("v2"))
    })?;
    let gap = failed.gap.context("no reason is given")?;
    ensure!(
        gap.why.contains("address already in use") || gap.why.contains("port is already allocated"),
        "{gap:?}"
    );
    let back = lab.container("web")?;
    ensure!(back.id == old.id && back.is_running(), "{back:?}");
    drop(taken);
    let said = lab.run(&["retry", &lab.name, "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(super::rollback::version(&lab)? == "v2");
    lab.end()
}

/// Who lives in another's namespace, and is in no file any more, starts again after that one.
fn lodger(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "lodger", "v1")?;
    let lodger = "  lodger:
    image: steadfast-test/tiny:v1
    labels: {io.steadfast.test: e2e}
    environment: {PORT: 9090}
    network_mode: service:web
    stop_grace_period: 2s
    deploy: {update_config: {monitor: 500ms}}
";
    lab.write("stack/compose.yaml", &format!("{WEB}{lodger}"))?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let before = (lab.container("web")?, lab.container("lodger")?);
    lab.write("stack/compose.yaml", WEB)?;
    lab.ask("crash")?;
    let failed = lab.until("the deploy is taken back", |s| {
        s.operation.is_none()
            && s.gap
                .as_ref()
                .is_some_and(|gap| gap.tag.as_deref() == Some("crash"))
    })?;
    ensure!(
        failed.hold.is_none() && failed.state == State::RolledBack,
        "{failed:#?}"
    );
    let after = (lab.container("web")?, lab.container("lodger")?);
    ensure!(after.0.id == before.0.id && after.0.is_running(), "{after:#?}");
    ensure!(after.1.id == before.1.id && after.1.is_running(), "{after:#?}");
    lab.ask("v2")?;
    lab.until_runs("v2", "good")?;
    ensure!(lab.container("lodger").is_err(), "it is in no file any more");
    lab.end()
}

fn data_change(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "data", "v1")?;
    let with = |version: &str| {
        format!(
            "{WEB}  data:
    image: steadfast-test/tiny:volume-{version}
    labels: {{io.steadfast.test: e2e}}
    volumes: [\"stuff:/data\"]
    deploy: {{update_config: {{monitor: 500ms}}}}
volumes:
  stuff:
    labels: {{io.steadfast.test: e2e}}
"
        )
    };
    lab.write("stack/compose.yaml", &with("v1"))?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let before = lab.containers()?;
    engine.exec(
        &lab.container("data")?.id,
        &["/tiny", "write", "/data/row", "precious"],
    )?;

    lab.write("stack/compose.yaml", &with("v2"))?;
    let asks = lab.until("a person is asked", |s| s.state == State::AwaitingApproval)?;
    let approval = asks.approval.context("nothing is asked")?;
    ensure!(
        approval.ask == "data_change" && approval.detail.iter().any(|d| d.contains("/data")),
        "{approval:?}"
    );
    ensure!(lab.run(&["status", &lab.name, "--exit-code"])?.code == 4);
    ensure!(lab.containers()? == before, "touched before the approval");
    let other = lab.run(&["approve", &lab.name, "--ask", "0b6f4e03b952"])?;
    ensure!(other.code == 5 && other.err.contains("has changed"), "{other:?}");
    let said = lab.run(&["approve", &lab.name, "--wait", "--reason", "backed up"])?;
    ensure!(said.code == 0, "{said:?}");
    let data = lab.container("data")?;
    ensure!(engine.exec(&data.id, &["/tiny", "version"])? == "v2");
    ensure!(engine.exec(&data.id, &["/tiny", "read", "/data/row"])? == "precious");
    lab.end()
}

/// The new image was at the data, then died: neither it nor the old one is touched any more.
fn failed_data_change(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "dead", "v1")?;
    let with = |version: &str, crash: &str| {
        format!(
            "{WEB}  data:
    image: steadfast-test/tiny:volume-{version}
    labels: {{io.steadfast.test: e2e}}
    environment: {{CRASH_AFTER: \"{crash}\"}}
    volumes: [\"stuff:/data\"]
    deploy: {{update_config: {{monitor: 4s}}}}
volumes:
  stuff:
    labels: {{io.steadfast.test: e2e}}
"
        )
    };
    lab.write("stack/compose.yaml", &with("v1", ""))?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let old = lab.container("data")?;
    engine.exec(&old.id, &["/tiny", "write", "/data/row", "precious"])?;

    lab.write("stack/compose.yaml", &with("v2", "1"))?;
    lab.until("a person is asked", |s| s.state == State::AwaitingApproval)?;
    let said = lab.run(&["approve", &lab.name, "--wait"])?;
    ensure!(said.code == 5, "{said:?}");
    let left = lab.until("it is held", |s| s.state == State::Held)?;
    let hold = left.hold.context("no reason is given")?;
    ensure!(hold.why.contains("may have written to the data"), "{hold:?}");
    ensure!(hold.until.is_empty(), "only a person knows: {hold:?}");
    let all = lab.containers()?;
    let running = all
        .iter()
        .filter(|c| c.is_running() && c.name.contains("data"))
        .count();
    ensure!(all.iter().any(|c| c.id == old.id), "the old one is gone: {all:?}");
    ensure!(running == 0, "one was started again: {all:?}");
    let later = lab.until("it stays so", |s| s.version > left.version + 8)?;
    ensure!(
        later.state == State::Held && lab.containers()? == all,
        "{later:#?}"
    );

    // A person has looked: back, on the same data.
    let said = lab.run(&["rollback", &lab.name, "--yes", "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    let data = lab.container("data")?;
    ensure!(engine.exec(&data.id, &["/tiny", "version"])? == "v1");
    ensure!(engine.exec(&data.id, &["/tiny", "read", "/data/row"])? == "precious");
    lab.end()
}

fn database(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "pg", "v1")?;
    let with = |zone: &str| {
        format!(
            "{WEB}  db:
    image: steadfast-test/postgres:15
    labels: {{io.steadfast.test: e2e}}
    environment: {{POSTGRES_PASSWORD: for-a-test, POSTGRES_DB: app, ZONE: {zone}}}
    healthcheck:
      test: [CMD, pg_isready, --quiet, --host=127.0.0.1, --username=postgres]
      interval: 500ms
      retries: 60
    deploy: {{update_config: {{monitor: 500ms}}}}
"
        )
    };
    lab.write("stack/compose.yaml", &with("a"))?;
    lab.settings(&format!("{TRIAL}{WEB_PROBE}"))?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let sql = |words: &str| -> Result<String> {
        let db = lab.container("db")?;
        let line = [
            "psql",
            "-U",
            "postgres",
            "-h",
            "127.0.0.1",
            "-d",
            "app",
            "-At",
            "-c",
            words,
        ];
        let mut all = vec!["exec", "-e", "PGPASSWORD=for-a-test", &db.id];
        all.extend(line);
        engine.docker(&all)
    };
    sql("CREATE TABLE rows (n int); INSERT INTO rows SELECT generate_series(1, 1000)")?;
    let old = lab.container("db")?;
    lab.write("stack/compose.yaml", &with("b"))?;
    lab.until("it was replaced", |s| {
        s.operation.is_none() && lab.container("db").is_ok_and(|db| db.id != old.id)
    })?;
    lab.until_runs("v1", "good")?;
    ensure!(sql("SELECT count(*) FROM rows")? == "1000");
    ensure!(lab.container("db")?.volumes == old.volumes);
    lab.end()
}
