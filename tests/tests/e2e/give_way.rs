//! An operation that only waits holds nobody up: neither the five minutes, nor a person.

use std::fs;

use agent::view::{History, State, Status};
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Engine, Lab, TRIAL, WEB, WEB_PROBE, runs};

use super::registry::{Mood, Registry};
use super::rollback::version;
use super::{Scenario, everywhere, once};

pub(super) const ALL: &[Scenario] = &[
    everywhere("a_heal_that_waits_gives_way_to_the_rollback", heal_gives_way),
    everywhere("a_deploy_that_waits_gives_way_to_a_person", deploy_gives_way),
    once("a_fetch_gives_way_to_a_heal_and_to_the_rollback", fetch_gives_way),
];

/// What `web` waits for: healthy as soon as there is the file `flag/WHICH`, and for minutes neither
/// healthy nor unhealthy without it.
fn with_gate(which: &str, web_waits: bool) -> String {
    let waits = "    depends_on: {gate: {condition: service_healthy}}\n";
    format!(
        "{WEB}{}  gate:
    image: steadfast-test/tiny:v1
    labels: {{io.steadfast.test: e2e}}
    volumes: [\"./flag:/flag:ro\"]
    stop_grace_period: 2s
    healthcheck:
      test: [CMD, /tiny, read, /flag/{which}]
      interval: 300ms
      timeout: 2s
      retries: 3
      start_period: 250s
    deploy: {{update_config: {{monitor: 500ms}}}}
",
        if web_waits { waits } else { "" }
    )
}

fn lab(engine: &Engine, scenario: &str) -> Result<Lab> {
    let lab = Lab::web(engine, scenario, "v1")?;
    lab.write("stack/compose.yaml", &with_gate("one", false))?;
    fs::create_dir(lab.path("stack/flag"))?;
    fs::write(lab.path("stack/flag/one"), "open")?;
    Ok(lab)
}

fn waits_for_the_gate(status: &Status, kind: &str) -> bool {
    status.operation.as_ref().is_some_and(|open| {
        let doing = open.doing.as_deref().unwrap_or_default();
        open.kind == kind && doing.starts_with("wait until gate is healthy")
    })
}

/// What failed in the newest operation of this kind that was taken back.
fn taken_back(lab: &Lab, kind: &str) -> Result<String> {
    let said = lab.run(&["history", &lab.name, "--json"])?;
    let history: History = serde_json::from_str(&said.out).with_context(|| format!("{said:?}"))?;
    let mut operations = history.operations.into_iter();
    let found = operations.find(|o| o.kind == kind && o.ending == "undone");
    found
        .and_then(|operation| operation.failure)
        .with_context(|| format!("no {kind} was taken back"))
}

fn heal_gives_way(engine: &Engine) -> Result<()> {
    let lab = lab(engine, "healway")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    lab.write("stack/compose.yaml", &with_gate("one", true))?;
    lab.ask("v2")?;
    lab.until_runs("v2", "good")?;

    fs::remove_file(lab.path("stack/flag/one"))?;
    let (web, gate) = (lab.container("web")?, lab.container("gate")?);
    engine.docker(&["kill", &web.id, &gate.id])?;
    lab.until("the heal waits, and the window counts", |s| {
        waits_for_the_gate(s, "heal") && s.failing.as_ref().is_some_and(|f| f.seconds >= 1)
    })?;
    let back = lab.until("the heal has given way to the rollback", |s| {
        s.operation.is_none() && runs(s, "v1", "good")
    })?;
    ensure!(back.gap.is_some_and(|gap| gap.tag.as_deref() == Some("v2")));
    ensure!(version(&lab)? == "v1");
    let why = taken_back(&lab, "heal")?;
    ensure!(why.contains("gives way") && why.contains("probe web"), "{why}");
    lab.end()
}

fn deploy_gives_way(engine: &Engine) -> Result<()> {
    let lab = lab(engine, "deployway")?;
    let hopeless = |lab: &Lab| lab.write("stack/compose.yaml", &with_gate("two", true));
    hopeless(&lab)?;
    lab.start()?;
    let waits = |s: &Status| waits_for_the_gate(s, "deploy");
    lab.until("the first deploy waits", waits)?;
    let said = lab.run(&["rollback", &lab.name, "--yes"])?;
    ensure!(
        said.code == 5 && said.err.contains("nothing to go back to"),
        "{said:?}"
    );

    // Another release is asked for meanwhile.
    lab.write("stack/compose.yaml", &with_gate("one", false))?;
    lab.until_runs("v1", "good")?;
    let why = taken_back(&lab, "deploy")?;
    ensure!(why.contains("gives way: another release is asked for"), "{why}");

    let before = (lab.container("web")?, lab.container("gate")?);
    hopeless(&lab)?;
    lab.ask("v2")?;
    lab.until("the second deploy waits", waits)?;
    let said = lab.run(&["pause", &lab.name, "--for", "1m", "--reason", "to look"])?;
    ensure!(
        said.code == 0 && said.out.contains("after the deploy under way"),
        "{said:?}"
    );
    ensure!(lab.run(&["resume", &lab.name])?.code == 0);
    let asked = lab.asked()?;
    let words = [
        "rollback",
        &lab.name,
        "--yes",
        "--wait",
        "--reason",
        "it never comes up",
    ];
    let said = lab.run(&words)?;
    ensure!(said.code == 0, "{said:?}");
    let back = lab.until("it is left", |s| s.state == State::RolledBack)?;
    ensure!(runs(&back, "v1", "good") && back.operation.is_none(), "{back:#?}");
    let gap = back.gap.context("no reason is given")?;
    ensure!(gap.tag.as_deref() == Some("v2") && !gap.ran, "{gap:?}");
    ensure!(gap.why.contains("it never comes up"), "{gap:?}");
    let after = (lab.container("web")?, lab.container("gate")?);
    ensure!(
        (after.0.id, after.1.id) == (before.0.id, before.1.id),
        "not the old containers again"
    );
    ensure!(lab.asked()? == asked, "desired.toml was changed");
    let later = lab.until("some passes were made", |s| s.version > back.version + 12)?;
    ensure!(later.state == State::RolledBack, "it was tried again: {later:#?}");

    // It is tried again when a person says so, and a retry is heard as well.
    ensure!(lab.run(&["retry", &lab.name])?.code == 0);
    lab.until("it waits again", waits)?;
    ensure!(lab.run(&["retry", &lab.name])?.code == 0);
    let again = lab.until("it waits once more", |s| {
        waits(s) && s.asked.as_ref().is_some_and(|asked| asked.retries == 2)
    })?;
    ensure!(again.hold.is_none(), "{again:#?}");
    fs::write(lab.path("stack/flag/two"), "open")?;
    lab.until_runs("v2", "good")?;
    lab.end()
}

fn fetch_gives_way(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "fetchway", "v1")?;
    let turns_bad = WEB
        .replace("steadfast-test/tiny:", "${REPOSITORY:-steadfast-test/tiny}:")
        .replace(
            "environment:\n",
            "environment:\n      FAIL_AFTER: ${FAIL_AFTER:-}\n",
        );
    lab.write("stack/compose.yaml", &turns_bad)?;
    lab.settings(&format!("{TRIAL}{WEB_PROBE}"))?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    lab.write("stack/.env", "FAIL_AFTER=8\n")?;
    lab.ask("v2")?;
    lab.until_runs("v2", "good")?;

    let registry = Registry::start()?;
    registry.set(Mood::Silent);
    let elsewhere = format!("FAIL_AFTER=8\nREPOSITORY=127.0.0.1:{}/app\n", registry.port);
    lab.write("stack/.env", &elsewhere)?;
    lab.ask("v3")?;
    let fetches = |s: &Status| s.operation.as_ref().is_some_and(|open| open.kind == "fetch");
    lab.until("the fetch waits", fetches)?;
    let web = lab.container("web")?;
    engine.docker(&["kill", &web.id])?;
    lab.when("it is healed all the same", || {
        Ok(lab.container("web")?.is_running().then_some(()))
    })?;
    let why = taken_back(&lab, "fetch")?;
    ensure!(why.contains("gives way: something has to be healed"), "{why}");
    lab.until("the fetch waits again, and the window counts", |s| {
        fetches(s) && s.failing.as_ref().is_some_and(|f| f.seconds >= 1)
    })?;
    lab.until("the fetch has given way to the rollback", |s| {
        runs(s, "v1", "good")
    })?;
    ensure!(version(&lab)? == "v1");
    // What is asked for is not forgotten for it.
    registry.set(Mood::Silent);
    lab.when("the registry is asked again", || {
        Ok((registry.asked() > 0).then_some(()))
    })?;
    registry.set(Mood::Unknown);
    lab.ask("v2")?;
    let seen = lab.until("another release is asked for while the fetch waits", |s| {
        s.gap
            .as_ref()
            .is_some_and(|gap| gap.why.contains("manifest unknown"))
    })?;
    ensure!(runs(&seen, "v1", "good"), "{seen:#?}");
    lab.end()
}
