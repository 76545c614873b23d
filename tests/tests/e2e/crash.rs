//! The daemon ended in an operation, and doubled; the engine away, killed, restarted.

use std::fs;
use std::process::Command;
use std::time::Duration;

use agent::view::State;
use anyhow::{Result, bail, ensure};
use steadfast_tests::lab::{Container, Daemon, Engine, Lab, WEB, is_half_made, runs};

use super::rollback::version;
use super::{Scenario, everywhere, newest, once};

pub(super) const ALL: &[Scenario] = &[
    everywhere("an_engine_that_is_away_is_waited_for", engine_away),
    once("ended_in_an_operation_it_goes_on_later", ended_in_an_operation),
    once("a_second_agent_does_nothing", second_agent),
    newest("the_engine_restarts_in_a_replacement", engine_restarts),
];

/// Whatever it was, it has come to its end: one container, in its place, of this release.
fn converged(lab: &Lab, tag: &str) -> Result<()> {
    lab.until(&format!("{tag} runs"), |s| {
        s.operation.is_none() && s.drift.is_empty() && (runs(s, tag, "trial") || runs(s, tag, "good"))
    })?;
    let web = lab.container("web")?;
    ensure!(web.is_running() && !is_half_made(&web), "{web:?}");
    ensure!(version(lab)? == tag);
    Ok(())
}

fn engine_away(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "away", "v1")?;
    ensure!(lab.run(&["status", &lab.name])?.code == 3, "there is no daemon");
    lab.proxy.cut()?;
    lab.start()?;
    lab.until("the engine is away", |s| {
        s.state == State::Unknown && !s.engine.reachable
    })?;
    ensure!(lab.run(&["status", &lab.name, "--exit-code"])?.code == 3);
    lab.proxy.mend()?;
    lab.until_runs("v1", "good")?;
    lab.proxy.cut()?;
    lab.until("the engine is away again", |s| s.state == State::Unknown)?;
    lab.ask("v2")?;
    lab.until("it is asked for all the same", |s| {
        s.asked.as_ref().is_some_and(|a| a.tag == "v2")
    })?;
    lab.proxy.mend()?;
    lab.until_runs("v2", "good")?;
    ensure!(version(&lab)? == "v2");
    lab.end()
}

/// A release that takes its whole grace period to stop.
fn deaf(lab: &Lab, grace: &str) -> Result<()> {
    let text = WEB
        .replace("environment:\n", "environment:\n      IGNORE_TERM: 1\n")
        .replace("stop_grace_period: 2s", &format!("stop_grace_period: {grace}"));
    lab.write("stack/compose.yaml", &text)
}

/// Waits until the operation stops the old container.
fn until_it_stops(lab: &Lab) -> Result<()> {
    lab.until("the old container is being stopped", |s| {
        let doing = s.operation.as_ref().and_then(|o| o.doing.as_deref());
        doing.is_some_and(|doing| doing.starts_with("stop "))
    })
    .map(drop)
}

fn ended_in_an_operation(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "term", "v1")?;
    deaf(&lab, "6s")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    lab.ask("v2")?;
    until_it_stops(&lab)?;
    let took = lab.terminate()?;
    ensure!(took < Duration::from_secs(30), "{took:?}");
    lab.start()?;
    converged(&lab, "v2")?;
    lab.end()
}

fn second_agent(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "second", "v1")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let web = lab.container("web")?;
    // On the same state directory.
    let said = lab.run(&["run"])?;
    ensure!(said.code == 1, "{said:?}");
    ensure!(format!("{}{}", said.out, said.err).contains("state"), "{said:?}");
    // With one of its own, and another wish.
    let settings = fs::read_to_string(lab.path("etc/steadfast.toml"))?
        .replace("/state\"", "/state2\"")
        .replace("/etc/desired.toml", "/etc/desired2.toml")
        .replace("/steadfast.sock", "/steadfast2.sock");
    lab.write("etc/second.toml", &settings)?;
    lab.write("etc/desired2.toml", "[NAME]\ntag = \"v2\"\n")?;
    let second = Daemon::start(&lab.path("etc/second.toml"), &lab.path("second.log"))?;
    lab.when("the second one says that it is one too many", || {
        lab.run_with("etc/second.toml", &["approve", &lab.name])?;
        let said = lab.run_with("etc/second.toml", &["status", &lab.name])?;
        Ok(said.out.contains("the other agent").then_some(()))
    })?;
    ensure!(lab.container("web")? == web, "the second agent touched something");
    second.kill()?;
    lab.ask("v3")?;
    lab.until_runs("v3", "good")?;
    lab.end()
}

fn engine_restarts(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "restart", "v1")?;
    deaf(&lab, "3s")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    for (tag, how) in [("v2", "crash"), ("v3", "restart")] {
        lab.ask(tag)?;
        until_it_stops(&lab)?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/engines/engine28.sh");
        let output = Command::new("timeout").args(["120", script, how]).output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        lab.when("it has come to its end", || {
            let running: Vec<_> = lab
                .containers()?
                .into_iter()
                .filter(Container::is_running)
                .collect();
            ensure!(running.len() <= 1, "old and new run together: {running:#?}");
            let status = lab.status()?;
            Ok(status.filter(|s| s.operation.is_none() && runs(s, tag, "good")))
        })?;
        converged(&lab, tag)?;
    }
    lab.end()
}
