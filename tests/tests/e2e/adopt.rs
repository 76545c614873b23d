//! What Docker Compose made, Steadfast adopts; and what Steadfast made, Docker Compose still knows.

use std::path::PathBuf;

use agent::view::State;
use anyhow::{Context as _, Result, bail, ensure};
use steadfast_tests::lab::{Engine, Lab, WEB};

use super::{Scenario, everywhere, once};

pub(super) const ALL: &[Scenario] = &[
    everywhere("adopts_what_compose_2_made", |engine| {
        adopts(engine, "COMPOSE_V2")
    })
    .needs("COMPOSE_V2"),
    everywhere("adopts_what_compose_1_made", |engine| {
        adopts(engine, "COMPOSE_V1")
    })
    .needs("COMPOSE_V1"),
    everywhere("first_contact_with_differences_waits", first_contact).needs("COMPOSE_V2"),
    everywhere("compose_2_by_hand_is_left_to_its_work", |engine| {
        up_by_hand(engine, "COMPOSE_V2")
    })
    .needs("COMPOSE_V2"),
    // It makes no container on an engine as new as the second one in the place of another.
    once("compose_1_by_hand_is_left_to_its_work", |engine| {
        up_by_hand(engine, "COMPOSE_V1")
    })
    .needs("COMPOSE_V1"),
];

/// Docker Compose, one of the two, over the files of a lab.
pub(super) struct Compose<'a> {
    lab: &'a Lab,
    program: PathBuf,
    tag: &'a str,
}

impl Compose<'_> {
    pub(super) fn run(&self, words: &[&str]) -> Result<String> {
        let file = self.lab.path("stack/compose.yaml");
        let file = file.to_string_lossy();
        let mut line = vec!["-p", self.lab.name.as_str(), "-f", &file];
        line.extend(words);
        let output = self
            .lab
            .engine
            .command(&self.program, &line)
            .env("TAG", self.tag)
            .current_dir(self.lab.path("stack"))
            .output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        if !output.status.success() {
            bail!("{} {words:?}: {out}{err}", self.program.display());
        }
        Ok(format!("{out}{err}"))
    }
}

pub(super) fn compose<'a>(lab: &'a Lab, which: &str, tag: &'a str) -> Result<Compose<'a>> {
    let program = std::env::var_os(which).with_context(|| format!("{which} is not set"))?;
    Ok(Compose {
        lab,
        program: program.into(),
        tag,
    })
}

fn file() -> String {
    format!(
        "{WEB}    depends_on: [data]
  data:
    image: steadfast-test/tiny:volume-v1
    labels: {{io.steadfast.test: e2e}}
    volumes: [\"stuff:/stuff\"]
    deploy: {{update_config: {{monitor: 500ms}}}}
volumes:
  stuff:
    labels: {{io.steadfast.test: e2e}}
"
    )
}

fn adopts(engine: &Engine, which: &str) -> Result<()> {
    let lab = Lab::web(engine, &which.to_lowercase().replace("ose_", ""), "v1")?;
    lab.write("stack/compose.yaml", &file())?;
    compose(&lab, which, "v1")?.run(&["up", "-d"])?;
    let made = lab.containers()?;
    ensure!(made.len() == 2, "{made:#?}");
    let volumes = engine.named("volume", &lab.name)?;
    let data = lab.container("data")?;
    engine.exec(&data.id, &["/tiny", "write", "/data/row", "anonymous"])?;
    engine.exec(&data.id, &["/tiny", "write", "/stuff/row", "named"])?;

    lab.start()?;
    let good = lab.until_runs("v1", "good")?;
    lab.until("some more passes", |s| s.version > good.version + 8)?;
    ensure!(good.as_asked && good.runs.is_some_and(|runs| runs.adopted));
    let changes = lab.proxy.changes();
    ensure!(changes.is_empty(), "{changes:#?}");
    ensure!(lab.containers()? == made, "something was touched");

    lab.ask("v2")?;
    lab.until_runs("v2", "good")?;
    ensure!(lab.container("data")? == data, "nothing differs there");
    lab.terminate()?;
    still_knows(&lab)?;
    by_hand(&lab, which, &volumes)
}

/// Both versions of Compose know what Steadfast made.
fn still_knows(lab: &Lab) -> Result<()> {
    let web = lab.container("web")?;
    for which in ["COMPOSE_V2", "COMPOSE_V1"] {
        if std::env::var_os(which).is_none() {
            continue;
        }
        let compose = compose(lab, which, "v2")?;
        ensure!(compose.run(&["ps"])?.contains(&web.name), "{which} ps");
        ensure!(
            compose.run(&["logs", "web"])?.contains("tiny v2: listening"),
            "{which} logs"
        );
        let said = compose.run(&["exec", "-T", "web", "/tiny", "version"])?;
        ensure!(said.lines().any(|line| line == "v2"), "{which} exec: {said}");
    }
    Ok(())
}

/// `up` and `down` by hand lose no volume.
fn by_hand(lab: &Lab, which: &str, volumes: &[String]) -> Result<()> {
    let compose = compose(lab, which, "v2")?;
    // 1.29.2 replaces no container on an engine as new as that, whoever made it (KeyError: 'ContainerConfig').
    if (which, lab.engine.name) != ("COMPOSE_V1", "engine28") {
        compose.run(&["up", "-d"])?;
    }
    let data = lab.container("data")?;
    for (path, row) in [("/data/row", "anonymous"), ("/stuff/row", "named")] {
        ensure!(
            lab.engine.exec(&data.id, &["/tiny", "read", path])? == row,
            "{path}"
        );
    }
    ensure!(lab.engine.named("volume", &lab.name)? == volumes);
    compose.run(&["down"])?;
    ensure!(lab.containers()?.is_empty(), "{:#?}", lab.containers());
    ensure!(lab.engine.named("network", &lab.name)?.is_empty());
    ensure!(lab.engine.named("volume", &lab.name)? == volumes);
    Ok(())
}

/// Somebody makes every container anew beside the daemon: it waits, adopts what is right, and starts
/// nothing beside it.
fn up_by_hand(engine: &Engine, which: &str) -> Result<()> {
    let scenario = which.to_lowercase().replace("compose_", "hand");
    let lab = Lab::web(engine, &scenario, "v1")?;
    // Written down: of an image that was imported, 1.29 does not know that it declares a volume.
    let stuff = "volumes: [\"stuff:/stuff\"]";
    let both = file().replace(stuff, "volumes: [\"stuff:/stuff\", \"/data\"]");
    lab.write("stack/compose.yaml", &both)?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let (web, data) = (lab.container("web")?, lab.container("data")?);
    engine.exec(&data.id, &["/tiny", "write", "/data/row", "anonymous"])?;
    engine.exec(&data.id, &["/tiny", "write", "/stuff/row", "named"])?;
    let volumes = engine.named("volume", &lab.name)?;
    lab.proxy.forget();

    compose(&lab, which, "v1")?.run(&["up", "-d", "--force-recreate"])?;
    let made = (lab.container("web")?, lab.container("data")?);
    ensure!(
        made.0.id != web.id && made.1.id != data.id,
        "nothing was made anew: {made:#?}"
    );
    lab.until("they are left alone", |s| {
        s.waits
            .iter()
            .any(|wait| wait.starts_with("whoever has just made"))
    })?;
    let steady = lab.until("they are adopted", |s| {
        s.fine && s.drift.is_empty() && s.operation.is_none()
    })?;
    let later = lab.until("some more passes", |s| s.version > steady.version + 8)?;
    ensure!(
        later.fine && later.as_asked && later.drift.is_empty(),
        "{later:#?}"
    );
    let changes = lab.proxy.changes();
    ensure!(changes.is_empty(), "{changes:#?}");
    let left = lab.containers()?;
    ensure!(
        left == [made.1.clone(), made.0.clone()],
        "not one container of each: {left:#?}"
    );
    ensure!(made.1.volumes == data.volumes, "{made:#?}");
    for (path, row) in [("/data/row", "anonymous"), ("/stuff/row", "named")] {
        ensure!(
            engine.exec(&made.1.id, &["/tiny", "read", path])? == row,
            "{path}"
        );
    }
    ensure!(engine.named("volume", &lab.name)? == volumes);

    // And whatever happens to them from here on is mended as ever.
    engine.docker(&["kill", &made.0.id])?;
    lab.when("it is healed", || {
        Ok(lab.container("web")?.is_running().then_some(()))
    })?;
    lab.end()
}

fn first_contact(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "contact", "v2")?;
    compose(&lab, "COMPOSE_V2", "v1")?.run(&["up", "-d"])?;
    let made = lab.containers()?;
    lab.start()?;
    let asks = lab.until("a person is asked", |s| s.state == State::AwaitingApproval)?;
    ensure!(asks.approval.is_some_and(|a| a.ask == "first_contact"));
    ensure!(lab.run(&["status", &lab.name, "--exit-code"])?.code == 4);
    lab.until("some passes were made", |s| s.version > asks.version + 8)?;
    ensure!(lab.containers()? == made, "touched before the approval");
    ensure!(lab.run(&["deny", &lab.name])?.code == 0);
    let denied = lab.until("it is refused", |s| s.state != State::AwaitingApproval)?;
    lab.until("some passes were made", |s| s.version > denied.version + 8)?;
    ensure!(lab.containers()? == made, "touched after the refusal");
    lab.ask("v3")?;
    lab.until("a person is asked again", |s| s.state == State::AwaitingApproval)?;
    let said = lab.run(&["approve", &lab.name, "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(super::rollback::version(&lab)? == "v3");
    lab.end()
}
