//! How healthy what runs is: its trial, its failure, its probes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use state::health::{Overall, Phase, Sample};
use state::release::Verdict;

use super::wall;
use crate::shared::Snapshot;

/// The watch over a generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Trial {
    /// Observed seconds of unbroken health.
    pub healthy_seconds: u64,
    /// How many prove it good.
    pub needed_seconds: u64,
    /// Observed seconds of the whole watch.
    pub watched_seconds: u64,
    /// Seconds that the daemon was there to look.
    pub looked_seconds: u64,
    /// After how many of those an undecided trial ends.
    pub max_seconds: u64,
    /// What has not been said yet.
    pub undecided: Option<String>,
    /// Observed seconds of fails, the longest of any probe, while they are too few for a verdict; none where none fails.
    #[serde(default)]
    pub failing_seconds: Option<u64>,
    /// How many seconds of failure are too many.
    #[serde(default)]
    pub window_seconds: u64,
}

/// A failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Failing {
    /// The first bad sample.
    pub since: Option<Timestamp>,
    /// Observed seconds of it.
    pub seconds: u64,
    /// How many are too many.
    pub window_seconds: u64,
    /// How many are left until it is acted on; none where nothing will be.
    pub left_seconds: Option<u64>,
    /// `critical`, `high`, `medium` or `low`.
    pub severity: String,
    /// The failing probes.
    pub probes: Vec<FailingProbe>,
}

/// One failing probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FailingProbe {
    /// Its name.
    pub probe: String,
    /// Its service.
    pub service: String,
    /// Its last words.
    pub why: String,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Probe {
    /// Its name.
    pub probe: String,
    /// Its service.
    pub service: String,
    /// `passing`, `failing` or `undecided`.
    pub phase: String,
    /// Whether it judges a release.
    pub required: bool,
    /// Why the last sample was no pass.
    pub last: Option<String>,
    /// When the last sample was taken.
    pub at: Option<Timestamp>,
}

pub(super) fn trial(snapshot: &Snapshot, overall: &Overall) -> Option<Trial> {
    let record = &snapshot.record;
    let current = record.current().filter(|g| g.verdict == Verdict::Trial)?;
    current.applied.as_ref()?;
    Some(Trial {
        healthy_seconds: record.health.healthy_for().as_secs(),
        needed_seconds: snapshot.trial.good_after.as_secs(),
        watched_seconds: record.health.watched_for().as_secs(),
        looked_seconds: record.health.looked_for().as_secs(),
        max_seconds: snapshot.trial.trial_max.as_secs(),
        undecided: match overall {
            Overall::Undecided(why) => Some(why.clone()),
            Overall::Healthy | Overall::Failing { .. } => None,
        },
        failing_seconds: begun_to_fail(snapshot, overall),
        window_seconds: snapshot.trial.window.as_secs(),
    })
}

/// For how long required probes have failed of which none has said so often enough; a failure says itself for how long.
fn begun_to_fail(snapshot: &Snapshot, overall: &Overall) -> Option<u64> {
    if matches!(overall, Overall::Failing { .. }) {
        return None;
    }
    let required = snapshot.probes.iter().filter(|policy| policy.required);
    let records = required.filter_map(|policy| snapshot.record.health.probes.get(&policy.name));
    let failing = records.filter(|record| record.failing_since.is_some());
    failing.map(|record| record.seen_failing().as_secs()).max()
}

pub(super) fn failing(snapshot: &Snapshot, overall: &Overall) -> Option<Failing> {
    let Overall::Failing { probes, severity } = overall else {
        return None;
    };
    let health = &snapshot.record.health;
    Some(Failing {
        since: health.failing_since.as_ref().map(wall),
        seconds: health.failing_for().as_secs(),
        window_seconds: snapshot.trial.window.as_secs(),
        left_seconds: snapshot.time_left.map(|left| left.as_secs()),
        severity: severity.to_string(),
        probes: probes
            .iter()
            .map(|(probe, service, why)| FailingProbe {
                probe: probe.to_string(),
                service: service.to_string(),
                why: why.clone(),
            })
            .collect(),
    })
}

/// Whether nobody has known for as long as condemns a release how what runs is.
pub(super) fn is_lost(snapshot: &Snapshot) -> bool {
    let record = &snapshot.record;
    let required = snapshot.probes.iter().filter(|policy| policy.required);
    let mut known = required.filter_map(|policy| {
        let probe = record.health.probes.get(&policy.name)?;
        let at = probe.known_at.as_ref()?;
        probe.is_silent(policy, &snapshot.taken).then_some(at)
    });
    let proven = record.current().is_some_and(|g| g.verdict == Verdict::Good);
    proven && known.any(|at| snapshot.taken.since_or_wall(at) > snapshot.trial.window)
}

pub(super) fn probes(snapshot: &Snapshot) -> Vec<Probe> {
    let of = |policy: &state::policy::ProbePolicy| {
        let record = snapshot.record.health.probes.get(&policy.name);
        let last = record.and_then(|r| r.last.as_ref());
        let silent = record.filter(|r| r.is_silent(policy, &snapshot.taken));
        let since = silent.and_then(|r| r.known_at.as_ref()).map(wall);
        Probe {
            probe: policy.name.to_string(),
            service: policy.service.to_string(),
            phase: match record.map_or(Phase::Undecided, |r| r.phase) {
                _ if silent.is_some() => "undecided",
                Phase::Undecided => "undecided",
                Phase::Passing => "passing",
                Phase::Failing => "failing",
            }
            .into(),
            required: policy.required,
            last: last.and_then(|(_, sample)| match sample {
                Sample::Pass => since.map(|since| format!("not observed since {since:.0}")),
                Sample::Fail(why) | Sample::Unknown(why) | Sample::Starting(why) => Some(match since {
                    Some(since) => format!("not observed since {since:.0}: {why}"),
                    None => why.clone(),
                }),
            }),
            at: last.map(|(at, _)| wall(at)),
        }
    };
    snapshot.probes.iter().map(of).collect()
}
