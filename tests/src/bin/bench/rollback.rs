//! From the decision to go back until the old version answers on its published port: Steadfast,
//! against the bare create, stop and start of the same container, and against Swarm. In turns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::shared::{ActKind, Order};
use anyhow::{Context as _, Result, anyhow};
use serde_json::json;
use state::release::Author;
use tokio::sync::oneshot;

use crate::fall::Fall;
use crate::host::{IMAGE, LABEL};
use crate::raw::{Raw, SOCKET, until_serves};
use crate::report::{Report, median, say};
use crate::spent::{Notes, On, noted};
use crate::stack::{self, Bench};
use crate::swarm::Swarm;

const PROJECT: &str = "sf-bench-back";
/// Ports of the loopback: ours, the floor's.
const OURS: u16 = 18481;
const FLOOR: u16 = 18482;
/// Rounds, each with one run of every kind.
const ROUNDS: usize = 9;
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Proven good quickly, and never bad by itself within a round.
pub(crate) fn trial(project: &str, port: u16) -> String {
    format!(
        "[stack.{project}.trial]\nwindow = \"5m\"\ngood_after = \"1s\"\n\n[[stack.{project}.probe]]\nname = \"app\"\nservice = \"app\"\nkind = \"http\"\nurl = \"http://127.0.0.1:{port}/version\"\ninterval = \"200ms\"\n"
    )
}

/// Beside the one that is replaced stands another that is not, as in most stacks. A network that loses
/// its only container loses its carrier, and the kernel then takes a second to find the next one:
/// everybody would wait for that, and nobody would be compared.
pub(crate) fn compose(port: u16, monitor: &str) -> String {
    let (name, value) = LABEL.split_once('=').unwrap_or((LABEL, ""));
    format!(
        "services:\n  app:\n    image: {IMAGE}:${{TAG}}\n    ports: [127.0.0.1:{port}:8080]\n    labels: {{ {name}: {value} }}\n    deploy:\n      update_config: {{ monitor: {monitor} }}\n      rollback_config: {{ monitor: {monitor} }}\n  beside:\n    image: {IMAGE}:v1\n    labels: {{ {name}: {value} }}\n"
    )
}

/// One run: how long it took, and on what.
struct Run {
    took: Duration,
    spent: BTreeMap<On, Duration>,
}

/// Measures all three.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    say("deploying v1");
    let directory = stack::directory()?;
    stack::write_files(
        directory.path(),
        PROJECT,
        &compose(OURS, "1s"),
        "v1",
        &trial(PROJECT, OURS),
    )?;
    let notes = Arc::new(Notes::default());
    let mut bench = Bench::open_with(directory.path(), PROJECT, SOCKET, |edges| noted(edges, &notes))?;
    bench.settle(PATIENCE, true).await?;
    let mut raw = Raw::connect()?;
    let mut swarm = match Swarm::start() {
        Ok(swarm) => Ok(swarm),
        Err(error) => Err(format!("{error:#}")),
    };
    let mut fall = Fall::start().await?;
    let (mut ours, mut floor, mut fallen, mut theirs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        say(&format!("round {} of {ROUNDS}", round + 1));
        // Whoever comes second finds the engine busy with what the first has left.
        if round % 2 == 1 {
            floor.push(bare(&mut raw)?);
        }
        forward(&mut bench, round).await?;
        ours.push(back(&mut bench, &notes).await?);
        if round % 2 == 0 {
            floor.push(bare(&mut raw)?);
        }
        fallen.push(fall.back().await?);
        let ran = swarm.as_mut().map(|swarm| {
            let back = swarm.back(&mut raw)?;
            anyhow::Ok((back, swarm.fall(&mut raw)?))
        });
        match ran {
            Ok(Ok(took)) => theirs.push(took),
            Ok(Err(error)) => swarm = Err(format!("{error:#}")),
            Err(_) => {}
        }
    }
    let whole = |runs: &[Run]| median(runs.iter().map(|run| run.took).collect());
    report.ratio(
        "decision to old version serving, ms (floor)",
        whole(&ours),
        whole(&floor),
        Some(1.3),
    );
    for on in On::ALL {
        let part = |runs: &[Run]| {
            let spent = |run: &Run| run.spent.get(&on).copied().unwrap_or_default();
            median(runs.iter().map(spent).collect())
        };
        report.part(
            &format!("  of these: {}, ms", on.words()),
            part(&ours),
            part(&floor),
        );
    }
    let (backs, falls): (Vec<_>, Vec<_>) = theirs.into_iter().unzip();
    for (name, ours, theirs) in [
        (
            "decision to old version serving, ms (swarm)",
            median(fallen),
            falls,
        ),
        ("order to old version serving, ms (swarm)", whole(&ours), backs),
    ] {
        match &swarm {
            Ok(_) => report.ratio(name, ours, median(theirs), None),
            Err(why) => report.not_measured(name, Some(ours), why),
        }
    }
    Ok(())
}

/// The bad release is asked for, or tried again, and applied.
async fn forward(bench: &mut Bench, round: usize) -> Result<()> {
    if round == 0 {
        bench.ask_for("bad")?;
    } else {
        order(bench, ActKind::Retry).await?;
    }
    bench.settle(PATIENCE, false).await?;
    until_serves(OURS, "bad", PATIENCE)?;
    Ok(())
}

pub(crate) async fn order(bench: &mut Bench, act: ActKind) -> Result<()> {
    let (answer, answered) = oneshot::channel();
    let order = Order {
        stack: bench.name.clone(),
        act,
        by: Author::Agent,
        reason: None,
        ask: None,
        dump: None,
        database: None,
        env: None,
        answer,
    };
    bench.stack.order(order).await;
    answered
        .await?
        .map_err(|refusal| anyhow!("refused: {}", refusal.why))?;
    Ok(())
}

/// The whole operation of an order to go back, seen from outside: planning and journal included.
async fn back(bench: &mut Bench, notes: &Notes) -> Result<Run> {
    notes.clear();
    let begun = Instant::now();
    let seen = std::thread::spawn(|| until_serves(OURS, "v1", PATIENCE));
    order(bench, ActKind::Rollback { schema_fits: false }).await?;
    let served = seen.join().map_err(|_| anyhow!("the watcher died"))??;
    let record = bench.stack.record();
    anyhow::ensure!(
        record.hold.is_none() && record.operation.is_none(),
        "the rollback did not end well"
    );
    Ok(Run {
        took: served - begun,
        spent: notes.between(begun, served),
    })
}

/// Create, stop, start: nothing less brings the old version back. Same image, network and port.
fn bare(raw: &mut Raw) -> Result<Run> {
    let notes = Notes::default();
    let (label, value) = LABEL.split_once('=').unwrap_or((LABEL, ""));
    let network = format!("{PROJECT}_default");
    let port = json!([{ "HostIp": "127.0.0.1", "HostPort": FLOOR.to_string() }]);
    let body = |tag: &str| {
        json!({
            "Image": format!("{IMAGE}:{tag}"),
            "Labels": { label: value },
            "ExposedPorts": { "8080/tcp": {} },
            "HostConfig": { "NetworkMode": network, "PortBindings": { "8080/tcp": port } },
        })
    };
    let make = |raw: &mut Raw, tag: &str| -> Result<String> {
        let made = raw.must(
            "POST",
            &format!("/containers/create?name=sf-bench-floor-{tag}"),
            Some(&body(tag)),
        )?;
        Ok(made["Id"].as_str().context("no id")?.to_owned())
    };
    let bad = make(raw, "bad")?;
    raw.must("POST", &format!("/containers/{bad}/start"), None)?;
    until_serves(FLOOR, "bad", PATIENCE)?;
    let begun = Instant::now();
    let seen = std::thread::spawn(|| until_serves(FLOOR, "v1", PATIENCE));
    let at = Instant::now();
    let old = make(raw, "v1")?;
    notes.add(On::Create, at);
    let at = Instant::now();
    raw.must("POST", &format!("/containers/{bad}/stop?t=10"), None)?;
    notes.add(On::Stop, at);
    let at = Instant::now();
    raw.must("POST", &format!("/containers/{old}/start"), None)?;
    notes.add(On::Start, at);
    let served = seen.join().map_err(|_| anyhow!("the watcher died"))??;
    for id in [bad, old] {
        raw.must("DELETE", &format!("/containers/{id}?force=1"), None)?;
    }
    Ok(Run {
        took: served - begun,
        spent: notes.between(begun, served),
    })
}
