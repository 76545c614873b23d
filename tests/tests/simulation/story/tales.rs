//! Stories that are told, not drawn: one host without faults, and what happens to it in this order. Every law is
//! asked for as in a drawn one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::reconcile::{Nudge, Wish};
use agent::shared::ActKind;
use agent::view::{State, Status};
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::{Failed, Trial};
use state::ledger::Store as _;
use state::name::{ContainerId, Digest};
use state::record::{Change, Hold};
use state::release::Verdict;

use super::Host;
use crate::edges::lock;
use crate::hand;
use crate::story::Pace;
use crate::world::World;

/// Every tale.
pub(crate) fn all() -> Vec<Trial> {
    vec![
        Trial::test("what_was_let_go_stays_let_go", || told(let_go)),
        Trial::test("what_was_let_go_while_nobody_looked_is_not_touched", || {
            told(let_go_unseen)
        }),
        Trial::test("what_differs_on_first_contact_is_put_right_once_agreed", || {
            told(first_contact)
        }),
        Trial::test(
            "a_hold_for_want_of_answers_is_written_once_and_retry_ends_it",
            || told(unclear),
        ),
        Trial::test("a_frozen_hold_outlasts_the_trial", || told(frozen)),
        Trial::test("health_that_nobody_sees_is_not_steady", || told(silent)),
        Trial::test(
            "a_restart_forgets_no_failure_of_a_service_without_a_probe",
            || told(restarted),
        ),
    ]
}

fn told(tale: impl AsyncFnOnce(&mut Host) -> Result<()>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    runtime.block_on(async {
        let mut host = host();
        let outcome = tale(&mut host).await;
        if let Some(agent) = host.agent.take() {
            agent.task.abort();
        }
        let world = lock(&host.world);
        let trace = || world.trace.join("\n");
        outcome.map_err(|error| Failed::from(format!("{error:#}\n{}", trace())))?;
        match world.laws.broken.first() {
            Some(broken) => Err(Failed::from(format!("{broken}\n{}", trace()))),
            None => Ok(()),
        }
    })
}

/// A host on which v1 is asked for and nothing runs yet.
fn host() -> Host {
    let host = super::host(&Arc::new(Mutex::new(World::new(1, Pace::Real))));
    hand::make_images(&mut lock(&host.world));
    host
}

impl Host {
    async fn wait(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// v1 runs, and is proven.
    async fn proven(&mut self) -> Result<()> {
        self.start();
        self.wait(600).await;
        let record = self.record();
        ensure!(
            record.current().map(|g| g.verdict) == Some(Verdict::Good),
            "{record:#?}"
        );
        Ok(())
    }

    fn status(&self) -> Result<Status> {
        let agent = self.agent.as_ref().context("no agent")?;
        let snapshot = agent.published.get(&self.stack).context("nothing published")?;
        Ok(Status::of(&snapshot, &agent.published, 0))
    }

    fn container(&self, name: &str) -> Result<ContainerId> {
        lock(&self.world)
            .named(name)
            .with_context(|| format!("no {name}"))
    }

    fn remove(&self, name: &str) -> Result<()> {
        let id = self.container(name)?;
        lock(&self.world).containers.remove(&id);
        if let Some(agent) = &self.agent {
            drop(agent.nudges.give(Nudge::Containers));
        }
        Ok(())
    }

    fn changes(&self) -> u64 {
        lock(&self.world).changes
    }
}

async fn let_go(host: &mut Host) -> Result<()> {
    host.proven().await?;
    host.wish(&Wish::LetGo);
    host.wait(60).await;
    let before = host.changes();
    host.remove("shop-web-1")?;
    host.wait(120).await;
    ensure!(host.changes() == before, "healed though it was let go");
    let waits = host.status()?.waits;
    ensure!(
        waits.iter().any(|w| w.starts_with("an entry in desired.toml")),
        "{waits:?}"
    );

    host.end_agent(true).await;
    host.agent = Some(host.start_as(super::IDENTITY, Arc::clone(&host.kept)));
    host.wish(&Wish::LetGo);
    host.wait(120).await;
    ensure!(host.changes() == before, "healed after a start of the daemon");
    // The file is being written: what the last valid one said is in force, and that was nothing.
    host.wish(&Wish::Unreadable(Vec::new()));
    host.wait(120).await;
    ensure!(
        host.changes() == before,
        "healed because desired.toml is unreadable"
    );

    host.tell_files();
    host.wait(120).await;
    ensure!(host.container("shop-web-1").is_ok(), "it has an entry again");
    ensure!(host.record().let_go.is_none());
    Ok(())
}

async fn let_go_unseen(host: &mut Host) -> Result<()> {
    host.proven().await?;
    host.end_agent(true).await;
    host.remove("shop-web-1")?;
    let before = host.changes();
    host.agent = Some(host.start_as(super::IDENTITY, Arc::clone(&host.kept)));
    host.wish(&Wish::LetGo);
    host.wait(120).await;
    ensure!(host.changes() == before, "touched while it was looked at");
    ensure!(host.record().let_go.is_some());
    Ok(())
}

async fn first_contact(host: &mut Host) -> Result<()> {
    hand::compose_up(&host.world, &host.settings.stacks[&host.stack]);
    let id = host.container("shop-api-1")?;
    let (api, web) = (id.clone(), host.container("shop-web-1")?);
    if let Some(found) = lock(&host.world).containers.get_mut(&id) {
        found.config = Digest::of(b"another environment");
    }
    host.start();
    host.wait(120).await;
    ensure!(
        host.status()?.state == State::AwaitingApproval,
        "{:#?}",
        host.status()?
    );
    ensure!(host.changes() == 0, "touched before anybody agreed");
    host.order(ActKind::Approve);
    host.wait(900).await;
    ensure!(
        host.container("shop-api-1")? != api,
        "approved, and left as it was"
    );
    ensure!(host.container("shop-web-1")? == web, "nothing differed there");
    ensure!(host.status()?.state == State::Steady, "{:#?}", host.status()?);
    Ok(())
}

async fn unclear(host: &mut Host) -> Result<()> {
    lock(&host.world).faults.silent = 1000;
    host.start();
    host.wait(2000).await;
    let hold = host.record().hold.context("not held")?;
    host.wait(600).await;
    ensure!(host.record().hold == Some(hold), "the hold was written anew");
    lock(&host.world).faults.silent = 0;
    host.order(ActKind::Retry);
    host.wait(60).await;
    ensure!(host.status()?.state == State::Trial, "{:#?}", host.status()?);
    host.wait(400).await;
    ensure!(host.status()?.state == State::Steady, "{:#?}", host.status()?);
    Ok(())
}

/// What is half-way about data stays as it is, also when the trial is over and nothing is known.
async fn frozen(host: &mut Host) -> Result<()> {
    host.start();
    host.wait(60).await;
    host.end_agent(true).await;
    let since = host.record().current().context("nothing runs")?.begun.clone();
    let hold = Hold {
        since,
        why: String::from("a deploy stopped half-way"),
        way_out: String::from("look at the data"),
        frozen: true,
        no_way_down: false,
        until: [].into(),
    };
    let frozen = [Change::Hold(Some(hold.clone()))];
    host.kept.commit(&host.stack, &frozen)?;
    let record = host.record();
    lock(&host.world).laws.record = Some(record);
    lock(&host.world).faults.silent = 1000;
    host.start();
    host.remove("shop-web-1")?;
    let before = host.changes();
    host.wait(2400).await;
    ensure!(host.record().hold == Some(hold), "the hold was replaced");
    ensure!(host.changes() == before, "healed though it is frozen");
    Ok(())
}

async fn silent(host: &mut Host) -> Result<()> {
    host.proven().await?;
    ensure!(host.status()?.state == State::Steady, "{:#?}", host.status()?);
    lock(&host.world).faults.silent = 1000;
    host.wait(3600).await;
    let status = host.status()?;
    ensure!(status.state == State::Pending && !status.fine, "{status:#?}");
    ensure!(
        status
            .probes
            .iter()
            .all(|p| p.phase == "undecided" || p.probe.starts_with("service-"))
    );
    ensure!(host.record().hold.is_none(), "silence is no failure");
    lock(&host.world).faults.silent = 0;
    host.wait(60).await;
    let status = host.status()?;
    ensure!(status.state == State::Steady && status.fine, "{status:#?}");
    Ok(())
}

/// Which probes a generation brings is in its content: a restart knows that before it counts.
async fn restarted(host: &mut Host) -> Result<()> {
    host.proven().await?;
    let cache = host.container("shop-cache-1")?;
    hand::squat_on(&mut lock(&host.world), &cache);
    host.wait(120).await;
    let before = host.record().health.failing_for();
    ensure!(before > Duration::from_secs(60), "failing for {before:?} only");
    host.end_agent(true).await;
    host.start();
    host.wait(30).await;
    let after = host.record().health.failing_for();
    ensure!(
        after >= before,
        "it was failing for {before:?}, and for {after:?} after a restart"
    );
    Ok(())
}
