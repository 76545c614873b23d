//! `steadfast plan` where no daemon runs: the plan that a daemon would make, and nothing is changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use agent::view::{Action, PlanView};
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Engine, Lab, Said, is_there};

use super::{Scenario, everywhere, once};

pub(super) const ALL: &[Scenario] = &[
    everywhere("plans_the_same_without_a_daemon", without_a_daemon),
    once("a_plan_says_who_cannot_be_reached", nobody_there),
];

fn plan(lab: &Lab) -> Result<PlanView> {
    let said = lab.run(&["plan", &lab.name, "--json"])?;
    ensure!(said.code == 0, "{said:?}");
    serde_json::from_str(&said.out).with_context(|| format!("not understood: {said:?}"))
}

/// The plan without a daemon, which changed neither the engine nor the state directory.
fn alone(lab: &Lab) -> Result<PlanView> {
    let state = lab.path("state");
    let (files, containers) = (files(&state)?, lab.containers()?);
    lab.proxy.forget();
    let view = plan(lab)?;
    ensure!(!view.daemon && !view.running, "{view:#?}");
    ensure!(!lab.proxy.calls().is_empty(), "the engine was not asked");
    let changes = lab.proxy.changes();
    ensure!(changes.is_empty(), "{changes:#?}");
    ensure!(self::files(&state)? == files, "the state directory was changed");
    ensure!(lab.containers()? == containers, "a container was touched");
    Ok(view)
}

/// Every file below `dir`, with its content.
fn files(dir: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut all = BTreeMap::new();
    if !is_there(dir) {
        return Ok(all);
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(files(&path)?);
        } else {
            let content = fs::read(&path)?;
            all.insert(path, content);
        }
    }
    Ok(all)
}

fn actions(view: &PlanView) -> Vec<(Action, &str)> {
    let containers = view.changes.iter().filter(|c| c.what == "container");
    containers.map(|c| (c.action, c.name.as_str())).collect()
}

fn without_a_daemon(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "alone", "v1")?;
    let first = alone(&lab)?;
    ensure!(
        first.kind.as_deref() == Some("deploy") && first.generation == Some(1),
        "{first:#?}"
    );
    ensure!(actions(&first) == [(Action::Create, "web")], "{first:#?}");
    ensure!(!is_there(&lab.path("state")), "a state directory was made");

    lab.start()?;
    lab.until_runs("v1", "good")?;
    ensure!(
        lab.run(&["pause", &lab.name, "--for", "1h", "--reason", "to see the plan"])?
            .code
            == 0
    );
    lab.ask("v2")?;
    let with = lab.when("the daemon shows what it would do", || {
        let view = plan(&lab)?;
        Ok(view.kind.is_some().then_some(view))
    })?;
    ensure!(with.daemon && with.generation == Some(2), "{with:#?}");
    ensure!(actions(&with) == [(Action::Replace, "web")], "{with:#?}");
    // The newest of the ledger is in its write-ahead log alone.
    lab.kill()?;
    let without = alone(&lab)?;
    ensure!(
        PlanView {
            daemon: true,
            ..without.clone()
        } == with,
        "{without:#?}\n{with:#?}"
    );

    let text = lab.run(&["plan"])?;
    ensure!(
        text.code == 0 && text.out.starts_with("No daemon answers at "),
        "{text:?}"
    );
    first_contact(&lab)?;
    healing(&lab)?;
    lab.end()
}

/// Without the ledger the stack is a stranger.
fn first_contact(lab: &Lab) -> Result<()> {
    fs::rename(lab.path("state"), lab.path("elsewhere"))?;
    let differs = alone(lab)?;
    ensure!(
        differs
            .why
            .as_ref()
            .is_some_and(|why| why.starts_with("first contact")),
        "{differs:#?}"
    );
    ensure!(
        differs
            .approval
            .as_ref()
            .is_some_and(|a| a.ask == "first_contact"),
        "{differs:#?}"
    );
    ensure!(actions(&differs) == [(Action::Replace, "web")], "{differs:#?}");
    lab.ask("v1")?;
    let matches = alone(lab)?;
    ensure!(
        matches.why.is_some() && matches.kind.is_none() && matches.approval.is_none(),
        "{matches:#?}"
    );
    fs::rename(lab.path("elsewhere"), lab.path("state"))?;
    Ok(())
}

/// What went while no daemon ran is what one would mend.
fn healing(lab: &Lab) -> Result<()> {
    lab.engine
        .docker(&["stop", "-t", "0", &lab.container("web")?.id])?;
    let view = alone(lab)?;
    ensure!(
        view.kind.as_deref() == Some("heal") && view.generation == Some(1),
        "{view:#?}"
    );
    ensure!(actions(&view) == [(Action::Update, "web")], "{view:#?}");
    Ok(())
}

fn nobody_there(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "nobody", "v1")?;
    let said = |words: &[&str]| -> Result<Said> { lab.run(words) };
    let unknown = said(&["plan", "no-such-stack"])?;
    ensure!(unknown.code == 2 && unknown.err.contains("help:"), "{unknown:?}");
    lab.proxy.cut()?;
    let away = said(&["plan", &lab.name])?;
    ensure!(away.code == 3, "{away:?}");
    for words in ["the daemon is not reachable", "engine", "help:"] {
        ensure!(away.err.contains(words), "{away:?}");
    }
    lab.proxy.mend()?;
    lab.end()
}
