//! What is told of the stacks as numbers. Every judgement was made before: here it is only counted and named. Nothing of an
//! env file is in it, and no label whose values grow without end.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use state::observed::{ContainerState, DockerHealth, Known};

use super::exposition::{Exposition, Format};
use super::families as of;
use crate::backup::How;
use crate::shared::{Shared, Snapshot};
use crate::tally::{KINDS, Outcome, Tally};
use crate::view::{State, Status};

/// The states of a probe.
const PHASES: [&str; 3] = ["passing", "failing", "undecided"];

/// All that is told, of a daemon that was started at `started`.
pub(super) fn render(
    snapshots: &[Arc<Snapshot>],
    shared: &Shared,
    started: Timestamp,
    format: Format,
) -> String {
    let mut text = Exposition::new(format);
    text.add(&of::BUILD, &[env!("CARGO_PKG_VERSION")], true);
    text.add(&of::STARTED, &[], started);
    for snapshot in snapshots {
        let status = Status::of(snapshot, shared, 0);
        how_it_is(&mut text, &status, snapshot);
        releases(&mut text, &status, snapshot);
        under_way(&mut text, &status);
        probes(&mut text, &status, snapshot);
        containers(&mut text, snapshot);
        backups(&mut text, snapshot);
        let tally = shared.tally(&snapshot.record.stack);
        operations(&mut text, &status.stack, &tally);
    }
    text.finish()
}

fn how_it_is(text: &mut Exposition, status: &Status, snapshot: &Snapshot) {
    let stack = status.stack.as_str();
    for state in State::ALL {
        text.add(&of::STATE, &[stack, state.as_str()], state == status.state);
    }
    let asked = status.approval.as_ref().is_some_and(|a| a.answer.is_none());
    text.add(&of::APPROVAL, &[stack], asked);
    text.add(&of::HELD, &[stack], status.hold.is_some());
    text.add(&of::PAUSED, &[stack], status.pause.is_some());
    text.add(&of::DRIFT, &[stack], status.drift.len());
    text.add(&of::ENGINE, &[stack], status.engine.reachable);
    text.add(&of::PASS, &[stack], status.taken);
    for gravity in ["error", "warning"] {
        let problems = status.problems.iter().filter(|p| p.gravity == gravity);
        text.add(&of::PROBLEMS, &[stack, gravity], problems.count());
    }
    let failing = status.failing.as_ref();
    text.add(&of::FAILING, &[stack], failing.map_or(0, |f| f.seconds));
    text.add(&of::WINDOW, &[stack], snapshot.trial.window);
    if let Some(left) = failing.and_then(|f| f.left_seconds) {
        text.add(&of::ROLLBACK_IN, &[stack], left);
    }
}

fn releases(text: &mut Exposition, status: &Status, snapshot: &Snapshot) {
    let stack = status.stack.as_str();
    let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
    if let Some(asked) = &status.asked {
        text.add(
            &of::DESIRED,
            &[stack, &asked.tag, &number(asked.generation)],
            true,
        );
    }
    let record = &snapshot.record;
    if let Some(target) = snapshot.target.and_then(|n| record.generation(n)) {
        let tag = target.release.tag.as_ref().map(ToString::to_string);
        let labels = [
            stack,
            &tag.unwrap_or_default(),
            &number(Some(target.number.0)),
            &target.verdict.to_string(),
        ];
        text.add(&of::EFFECTIVE, &labels, true);
    }
    text.add(&of::MATCHES, &[stack], status.as_asked);
    text.add(&of::QUARANTINE, &[stack], record.quarantine.len());
    text.add(&of::READY, &[stack], status.rollback.ready);
    if status.rollback.to.is_some() {
        let tag = status.rollback.tag.as_deref().unwrap_or_default();
        text.add(&of::ROLLBACK_TO, &[stack, tag, &number(status.rollback.to)], true);
    }
}

fn under_way(text: &mut Exposition, status: &Status) {
    let stack = status.stack.as_str();
    let operation = status.operation.as_ref();
    for kind in KINDS {
        let runs = operation.is_some_and(|o| o.kind == kind.as_str());
        text.add(&of::OPERATION, &[stack, kind.as_str()], runs);
    }
    let Some(operation) = operation else { return };
    let labels = [stack, operation.kind.as_str()];
    text.add(&of::OPERATION_BEGUN, &labels, operation.begun);
    text.add(&of::OPERATION_STEP, &labels, operation.step);
    text.add(&of::OPERATION_STEPS, &labels, operation.steps);
}

fn operations(text: &mut Exposition, stack: &str, tally: &Tally) {
    for kind in KINDS {
        for outcome in Outcome::ALL {
            let labels = [stack, kind.as_str(), outcome.as_str()];
            text.add(&of::OPERATIONS, &labels, tally.ended(kind, outcome));
        }
        let spent = tally.spent(kind);
        text.add_summary(
            &of::OPERATION_DURATION,
            &[stack, kind.as_str()],
            spent.times,
            spent.whole,
        );
    }
    for (kind, phase, spent) in tally.phases() {
        text.add_summary(
            &of::OPERATION_PHASE,
            &[stack, kind, phase],
            spent.times,
            spent.whole,
        );
    }
}

fn probes(text: &mut Exposition, status: &Status, snapshot: &Snapshot) {
    let stack = status.stack.as_str();
    for probe in &status.probes {
        let required = if probe.required { "true" } else { "false" };
        for phase in PHASES {
            let labels = [stack, &probe.probe, &probe.service, required, phase];
            text.add(&of::PROBE, &labels, probe.phase == phase);
        }
    }
    for policy in snapshot.probes.iter() {
        if let Some(latency) = snapshot.latencies.get(&policy.name) {
            let labels = [stack, policy.name.as_str(), policy.service.as_str()];
            text.add(&of::PROBE_DURATION, &labels, *latency);
        }
    }
}

fn containers(text: &mut Exposition, snapshot: &Snapshot) {
    let mut counted: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for view in &snapshot.services {
        let key = (view.service.as_str(), word(view.state.as_ref()));
        *counted.entry(key).or_default() += 1;
    }
    for ((service, state), count) in counted {
        let labels = [snapshot.record.stack.as_str(), service, state];
        text.add(&of::CONTAINERS, &labels, count);
    }
}

/// A bounded set of words: no exit code is in it.
const fn word(state: Option<&ContainerState>) -> &'static str {
    match state {
        None => "missing",
        Some(ContainerState::Created) => "created",
        Some(ContainerState::Running(None)) => "running",
        Some(ContainerState::Running(Some(DockerHealth::Starting))) => "starting",
        Some(ContainerState::Running(Some(DockerHealth::Healthy))) => "healthy",
        Some(ContainerState::Running(Some(DockerHealth::Unhealthy))) => "unhealthy",
        Some(ContainerState::Restarting) => "restarting",
        Some(ContainerState::Paused) => "paused",
        Some(ContainerState::Exited(Some(0))) => "done",
        Some(ContainerState::Exited(_)) => "failed",
        Some(ContainerState::Gone) => "gone",
    }
}

fn backups(text: &mut Exposition, snapshot: &Snapshot) {
    // Without a database there is nothing to back up, and nothing to miss.
    if snapshot.schema.is_none() {
        return;
    }
    let stack = snapshot.record.stack.as_str();
    if let Some(bytes) = snapshot.database_bytes {
        text.add(&of::DATABASE_SIZE, &[stack], bytes);
    }
    text.add(&of::BACKUP_FAILED, &[stack], snapshot.backup_problem.is_some());
    let Known::Known(listing) = &snapshot.backups else {
        return;
    };
    let all = &listing.backups;
    let is_proven = |how: How| how == How::Restored;
    let proven = all
        .iter()
        .filter(|b| b.verified.as_ref().is_some_and(|v| is_proven(v.how)));
    let count = proven.clone().count();
    for (state, count) in [
        ("proven", count),
        ("not_proven", all.len() - count),
        ("damaged", listing.damaged.len()),
    ] {
        text.add(&of::BACKUPS, &[stack, state], count);
    }
    if let Some(newest) = all.iter().map(|b| b.begun).max() {
        text.add(&of::BACKUP_NEWEST, &[stack], newest);
    }
    if let Some(newest) = proven.map(|b| b.begun).max() {
        text.add(&of::BACKUP_PROVEN, &[stack], newest);
    }
}
