//! A part of a stack changes: one service, or the Compose file alone. What is not that part is left alone, and what was
//! there before comes back.

use agent::view::{State, Status};
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Call, Container, Engine, LABEL, Lab, TRIAL, free_port, runs};

use super::files::{is_back, text};
use super::{Scenario, once};

pub(super) const ALL: &[Scenario] = &[
    once("one_service_alone", one_service),
    once("infrastructure_alone", infrastructure),
];

/// The rest of a service.
const REST: &str = "    labels: {io.steadfast.test: e2e}
    stop_grace_period: 2s
    deploy:
      update_config: {monitor: 300ms}
      rollback_config: {monitor: 300ms}
";

/// `edge` needs `web`, and `web` needs `back`; all three follow the tag.
fn chain() -> String {
    let service =
        |name: &str, more: &str| format!("  {name}:\n    image: steadfast-test/tiny:${{TAG}}\n{more}{REST}");
    format!(
        "services:\n{}{}{}",
        service("edge", "    depends_on: [web]\n"),
        service("web", "    depends_on: [back]\n"),
        service("back", "")
    )
}

fn all(lab: &Lab) -> Result<[Container; 3]> {
    Ok([
        lab.container("back")?,
        lab.container("web")?,
        lab.container("edge")?,
    ])
}

fn version(lab: &Lab, service: &str) -> Result<String> {
    lab.engine
        .exec(&lab.container(service)?.id, &["/tiny", "version"])
}

/// When this was done to that container, counted in calls.
fn at(calls: &[Call], what: &str, of: &Container) -> Result<usize> {
    let at = calls.iter().position(|call| call.does(what, &of.id));
    at.with_context(|| format!("nobody has done this to {}: {what}", of.service))
}

fn one_service(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "parts", "v1")?;
    let name = lab.name.clone();
    lab.write("stack/compose.yaml", &chain())?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let [back, web, edge] = all(&lab)?;
    lab.proxy.forget();

    // It fails, and only it is taken back: neither what it needs nor what needs it is touched.
    let said = lab.run(&["pin", &name, "bad", "--service", "web", "--wait"])?;
    ensure!(said.code == 6, "{said:?}");
    let left = lab.until("the pin is taken back", is_back)?;
    ensure!(runs(&left, "v1", "good"), "{left:#?}");
    let gap = left.gap.context("no reason is given")?;
    ensure!(
        gap.generation == 2 && gap.ran && gap.why.contains("500"),
        "{gap:#?}"
    );
    let now = all(&lab)?;
    ensure!(now[0] == back && now[2] == edge, "others were touched: {now:#?}");
    ensure!(now[1].id != web.id && version(&lab, "web")? == "v1", "{now:#?}");
    let touched = |call: &&Call| [&back, &edge].iter().any(|c| call.path.contains(&c.id));
    let calls = lab.proxy.changes();
    let touched: Vec<&Call> = calls.iter().filter(touched).collect();
    ensure!(touched.is_empty(), "others were touched: {touched:#?}");
    ensure!(lab.asked()?.contains("web = \"bad\""), "desired.toml was changed");

    // Another pin of it stays.
    let said = lab.run(&["pin", &name, "v2", "--service", "web", "--wait"])?;
    ensure!(said.code == 0 && version(&lab, "web")? == "v2", "{said:?}");
    let old = all(&lab)?;
    ensure!(old[0] == back && old[2] == edge, "others were touched: {old:#?}");

    // All of them: down from the one that nobody needs, and up from the one that needs nobody.
    lab.proxy.forget();
    lab.ask("v3")?;
    lab.until_runs("v3", "good")?;
    let (new, calls) = (all(&lab)?, lab.proxy.calls());
    let mut order = Vec::new();
    for container in old.iter().rev() {
        order.push(at(&calls, "stop", container)?);
    }
    for container in &new {
        order.push(at(&calls, "start", container)?);
    }
    ensure!(
        order.is_sorted(),
        "edge, web, back stop, and back, web, edge start: {order:?}"
    );
    lab.end()
}

/// The HEALTHCHECK of `web` says whether it is well. It is well longer than anything is watched in a deploy.
const JUDGED: &str = "
[[stack.NAME.probe]]
name = \"web\"
service = \"web\"
kind = \"healthcheck\"
interval = \"300ms\"
fail_after = 2
";
const WELL: &str = "{test: [CMD, /tiny, probe], interval: 500ms, timeout: 2s, retries: 3}";
const ILL: &str = "{test: [CMD, /tiny, exit, \"1\"], interval: 1s, timeout: 2s, retries: 5}";

/// `web` with one more service, and these volumes.
fn stack(port: u16, check: &str, mounts: &str, other: &str, volumes: &[&str]) -> String {
    let labelled = volumes.iter();
    let labelled: Vec<String> = labelled
        .map(|name| format!("  {name}: {{labels: {{io.steadfast.test: e2e}}}}\n"))
        .collect();
    format!(
        "services:
  web:
    image: steadfast-test/tiny:${{TAG}}
    ports: [\"127.0.0.1:{port}:8080\"]
    healthcheck: {check}
    volumes: [{mounts}]
{REST}  {other}:
    image: steadfast-test/tiny:v1
    volumes: [\"kept:/data\"]
{REST}volumes:
{}",
        labelled.concat()
    )
}

/// The keys of the volumes that the engine has of this stack.
fn volumes(lab: &Lab) -> Result<Vec<String>> {
    let filter = format!("label=com.docker.compose.project={}", lab.name);
    let found = lab.engine.docker(&["volume", "ls", "-q", "--filter", &filter])?;
    let prefix = format!("{}_", lab.name);
    let mut keys: Vec<String> = found.lines().map(|name| name.replace(&prefix, "")).collect();
    keys.sort();
    Ok(keys)
}

/// A container of the stack that is of no service, and of nobody that the daemon knows.
fn stray(lab: &Lab) -> Result<String> {
    let labels = [
        format!("{LABEL}=e2e"),
        format!("com.docker.compose.project={}", lab.name),
        String::from("com.docker.compose.service=stray"),
        String::from("com.docker.compose.container-number=1"),
        String::from("com.docker.compose.oneoff=False"),
        String::from("com.docker.compose.config-hash=0"),
    ];
    let name = format!("{}-stray-1", lab.name);
    let mut words = vec!["run", "-d", "--name", &name];
    for label in &labels {
        words.extend(["--label", label]);
    }
    words.push("steadfast-test/tiny:v1");
    lab.engine.docker(&words)
}

fn is_reported(status: &Status) -> bool {
    let words = "is no service of the Compose file: left alone";
    let mut told = status.drift.iter();
    told.any(|diff| diff.service.as_deref() == Some("stray") && diff.what.contains(words))
}

/// A new port, a new volume, a new service and one that goes: a release as any other.
fn infrastructure(engine: &Engine) -> Result<()> {
    let lab = Lab::new(engine, "infra")?;
    lab.settings(&format!("{TRIAL}{JUDGED}"))?;
    let (first, mut second) = (free_port()?, free_port()?);
    while second == first {
        second = free_port()?;
    }
    lab.write("stack/compose.yaml", &stack(first, WELL, "", "old", &["kept"]))?;
    lab.ask("v1")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let read = |service: &str| {
        lab.engine
            .exec(&lab.container(service)?.id, &["/tiny", "read", "/data/row"])
    };
    let write = |service: &str| {
        let words = ["/tiny", "write", "/data/row", "precious"];
        lab.engine.exec(&lab.container(service)?.id, &words)
    };
    write("old")?;
    let stray = stray(&lab)?;
    let life = |id: &str| {
        lab.engine
            .docker(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", id])
    };
    let untouched = life(&stray)?;
    lab.until("what belongs to nobody is reported", is_reported)?;

    let edited = stack(second, WELL, "\"fresh:/data\"", "extra", &["kept", "fresh"]);
    lab.write("stack/compose.yaml", &edited)?;
    lab.until("the edit is good", |s| {
        let good = |runs: &agent::view::Running| runs.generation == 2 && runs.verdict == "good";
        s.operation.is_none() && s.as_asked && s.runs.as_ref().is_some_and(good)
    })?;
    let ports = || lab.engine.docker(&["port", &lab.container("web")?.id]);
    ensure!(ports()?.contains(&format!("127.0.0.1:{second}")), "{}", ports()?);
    ensure!(lab.container("old").is_err(), "it is in no file any more");
    ensure!(volumes(&lab)? == ["fresh", "kept"], "{:?}", volumes(&lab)?);
    ensure!(
        read("extra")? == "precious",
        "the data is not that of the service before"
    );
    write("web")?;
    let web = lab.container("web")?;

    // A check that never passes, with all that is new or gone again.
    let mounts = "\"fresh:/data\", \"more:/more\"";
    let broken = stack(first, ILL, mounts, "third", &["kept", "fresh", "more"]);
    lab.write("stack/compose.yaml", &broken)?;
    lab.until("it is tried", |s| {
        s.runs.as_ref().is_some_and(|runs| runs.generation == 3)
    })?;
    let third = lab.container("third")?;
    ensure!(
        third.is_running() && lab.container("extra").is_err(),
        "{third:#?}"
    );
    let left = lab.until("it is taken back", |s| is_back(s) || s.state == State::Held)?;
    ensure!(is_back(&left), "{left:#?}");
    let gap = left.gap.as_ref().context("no reason is given")?;
    ensure!(
        gap.generation == 3 && gap.ran && gap.why.contains("HEALTHCHECK"),
        "{gap:#?}"
    );
    ensure!(runs(&left, "v1", "good") && left.runs.as_ref().is_some_and(|runs| runs.generation == 2));
    ensure!(
        text(&lab, "stack/compose.yaml")? == edited,
        "the Compose file is not as it was"
    );
    ensure!(lab.container("third").is_err(), "what was new is still there");
    ensure!(
        lab.container("extra")?.is_running(),
        "what was taken out has not come back"
    );
    ensure!(ports()?.contains(&format!("127.0.0.1:{second}")), "{}", ports()?);
    ensure!(lab.container("web")?.id != web.id, "it was never tried");
    ensure!(
        volumes(&lab)? == ["fresh", "kept", "more"],
        "{:?}",
        volumes(&lab)?
    );
    ensure!(
        read("extra")? == "precious" && read("web")? == "precious",
        "rows are gone"
    );
    ensure!(is_reported(&left), "{:#?}", left.drift);
    ensure!(life(&stray)? == untouched, "what belongs to nobody was touched");
    let said = lab.run(&["status", &lab.name])?;
    ensure!(said.answers("is no service of the Compose file"), "{said:?}");
    lab.end()
}
