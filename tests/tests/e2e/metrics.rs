//! What a Prometheus sees of a stack whose release turns bad.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use agent::view::State;
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Engine, Lab, free_port};

use super::{Scenario, everywhere, once};

pub(super) const ALL: &[Scenario] = &[
    everywhere("prometheus_sees_a_release_taken_back", taken_back),
    once("a_port_in_use_keeps_no_daemon_from_its_work", port_in_use),
];

/// A lab whose daemon tells its metrics on this port.
fn told_on(engine: &Engine, scenario: &str, port: u16) -> Result<Lab> {
    let lab = Lab::web(engine, scenario, "v1")?;
    told_at(&lab, port)?;
    Ok(lab)
}

/// From its start on a daemon tells its metrics on this port.
pub(super) fn told_at(lab: &Lab, port: u16) -> Result<()> {
    let settings = std::fs::read_to_string(lab.path("etc/steadfast.toml"))?;
    let settings = settings.replace("http = false", &format!("http = \"127.0.0.1:{port}\""));
    lab.write("etc/steadfast.toml", &settings)
}

/// The status and the body of an answer; `None`: nobody listens (yet).
fn ask(port: u16, line: &str) -> Result<Option<(u16, String)>> {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return Ok(None);
    };
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "{line} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
    let status = head.split(' ').nth(1).context("no status")?;
    Ok(Some((status.parse()?, body.to_owned())))
}

pub(super) fn get(port: u16, path: &str) -> Result<(u16, String)> {
    ask(port, &format!("GET {path}"))?.context("nobody listens")
}

/// Each series with its value.
fn metrics(port: u16) -> Result<BTreeMap<String, f64>> {
    let (status, text) = get(port, "/metrics")?;
    ensure!(status == 200, "{status}: {text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').context("no value")?;
            Ok((series.to_owned(), value.parse()?))
        })
        .collect()
}

fn taken_back(engine: &Engine) -> Result<()> {
    let port = free_port()?;
    let lab = told_on(engine, "metrics", port)?;
    lab.start()?;
    lab.when("it is ready", || {
        Ok(ask(port, "GET /readyz")?.filter(|(status, _)| *status == 200))
    })?;
    lab.until_runs("v1", "good")?;
    let name = lab.name.clone();
    let told = |series: &str| -> Result<f64> {
        let series = series.replace("NAME", &name);
        let all = metrics(port)?;
        let value = all.get(&series).copied();
        value.with_context(|| format!("nobody tells {series}: {all:#?}"))
    };
    let runs = |tag: &str, generation: u32| {
        told(&format!(
            "steadfast_effective_release_info{{stack=\"NAME\",tag=\"{tag}\",generation=\"{generation}\",verdict=\"good\"}}"
        ))
    };
    let ended = |kind: &str| {
        told(&format!(
            "steadfast_operations_total{{stack=\"NAME\",kind=\"{kind}\",outcome=\"succeeded\"}}"
        ))
    };
    ensure!(is(runs("v1", 1)?, 1.0));
    ensure!(is(ended("rollback")?, 0.0));
    ensure!(is(told("steadfast_release_as_asked{stack=\"NAME\"}")?, 1.0));
    let deploys = ended("deploy")?;

    lab.ask("bad")?;
    lab.until("the bad release is taken back", |s| {
        s.state == State::RolledBack && s.operation.is_none()
    })?;
    ensure!(is(
        told("steadfast_stack_state{stack=\"NAME\",state=\"rolled_back\"}")?,
        1.0
    ));
    ensure!(is(
        told("steadfast_stack_state{stack=\"NAME\",state=\"steady\"}")?,
        0.0
    ));
    ensure!(is(runs("v1", 1)?, 1.0));
    ensure!(is(
        told("steadfast_desired_release_info{stack=\"NAME\",tag=\"bad\",generation=\"2\"}")?,
        1.0
    ));
    ensure!(is(told("steadfast_quarantined_releases{stack=\"NAME\"}")?, 1.0));
    ensure!(is(ended("rollback")?, 1.0) && ended("deploy")? > deploys);
    let took = told("steadfast_operation_duration_seconds_sum{stack=\"NAME\",kind=\"rollback\"}")?;
    ensure!(took > 0.0 && took < 60.0, "the rollback took {took} seconds");

    nothing_acts(port)?;
    ensure!(get(port, "/readyz")?.0 == 200);
    lab.end()
}

fn is(value: f64, expected: f64) -> bool {
    (value - expected).abs() < f64::EPSILON
}

fn nothing_acts(port: u16) -> Result<()> {
    for (line, expected) in [
        ("GET /v1/status", 404),
        ("POST /v1/act/shop/rollback", 404),
        ("POST /metrics", 405),
        ("GET /healthz", 200),
    ] {
        let (status, said) = ask(port, line)?.context("nobody listens")?;
        ensure!(status == expected, "{line}: {status} {said}");
    }
    Ok(())
}

fn port_in_use(engine: &Engine) -> Result<()> {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = other.local_addr()?.port();
    let lab = told_on(engine, "metrics-port", port)?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let logged = lab.logged();
    let said = format!("no status page and no metrics: cannot listen on 127.0.0.1:{port}");
    ensure!(logged.contains(&said), "it is not told: {logged}");
    drop(other);
    // It is tried again every thirty seconds.
    lab.when("the port is taken when it is free", || ask(port, "GET /healthz"))?;
    lab.end()
}
